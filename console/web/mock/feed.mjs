// The columnar feed /v1/fleet as types.ts says it.
const severities = { info: 1, low: 2, medium: 3, high: 4, critical: 5 };
const states = { unknown: 0, active: 1, expired: 2, revoked: 3 };

export function feed(list, now) {
  const n = list.length;
  const dictionaries = { owner: [], source: [], agent: [], type: [], policy: [] };
  const index = Object.fromEntries(Object.keys(dictionaries).map((d) => [d, new Map()]));
  const id = (d, value) => {
    if (value === null || value === undefined) return 0xffffffff;
    if (!index[d].has(value)) index[d].set(value, dictionaries[d].push(value) - 1);
    return index[d].get(value);
  };
  const num = (x) => (x === null || x === undefined ? NaN : x);
  const keys = list.map((c) => Buffer.from(c.key));
  const at = new Uint32Array(n + 1);
  const policiesOf = (c) => [...new Set(c.violations.map((v) => v.policy))];
  const past = new Uint32Array(n + 1);
  list.forEach((c, i) => (past[i + 1] = past[i] + policiesOf(c).length));
  keys.forEach((k, i) => (at[i + 1] = at[i] + k.length));
  const columns = [
    ["issued_at", "f64", Float64Array.from(list, (c) => num(c.issued))],
    ["expires_at", "f64", Float64Array.from(list, (c) => (c.never ? Infinity : num(c.expires)))],
    ["last_used_at", "f64", Float64Array.from(list, (c) => num(c.lastUsed))],
    ["scope_weight", "f32", Float32Array.from(list, (c) => num(c.weight))],
    ["scope_permissions", "f32", Float32Array.from(list, (c) => num(c.permissions))],
    ["unused_ratio", "f32", Float32Array.from(list, (c) => num(c.unused))],
    ["utilization", "f32", Float32Array.from(list, (c) => num(c.utilization))],
    ["deviation", "f32", Float32Array.from(list, (c) => num(c.deviation))],
    ["attempts", "u32", Uint32Array.from(list, (c) => c.attempts)],
    ["uses_24h", "u32", Uint32Array.from(list, (c) => c.uses24)],
    ["owner", "u32", Uint32Array.from(list, (c) => id("owner", c.owner))],
    ["source", "u32", Uint32Array.from(list, (c) => id("source", `${c.source}/${c.instance}`))],
    ["agent", "u32", Uint32Array.from(list, (c) => id("agent", c.agent))],
    ["type", "u32", Uint32Array.from(list, (c) => id("type", c.type))],
    ["worst_policy", "u32", Uint32Array.from(list, (c) => id("policy", c.violations[0]?.policy ?? null))],
    ["policies_at", "u32", past],
    ["policies", "u32", Uint32Array.from(list.flatMap((c) => policiesOf(c)), (p) => id("policy", p))],
    ["key_at", "u32", at],
    ["state", "u8", Uint8Array.from(list, (c) => states[c.state])],
    ["severity", "u8", Uint8Array.from(list, (c) => (c.severity ? severities[c.severity] : 0))],
    ["keys", "u8", new Uint8Array(Buffer.concat(keys))],
  ];
  let offset = 0;
  const described = columns.map(([name, type, data]) => {
    const column = { name, type, offset, length: data.length };
    offset += Math.ceil(data.byteLength / 8) * 8;
    return column;
  });
  let header = Buffer.from(JSON.stringify({ as_of: new Date(now - 4000).toISOString(), now: new Date(now).toISOString(), count: n, total: n, columns: described, dictionaries }));
  const pad = (8 - ((4 + header.length) % 8)) % 8;
  header = Buffer.concat([header, Buffer.alloc(pad, " ")]);
  const out = Buffer.alloc(4 + header.length + offset);
  out.writeUInt32LE(header.length, 0);
  header.copy(out, 4);
  columns.forEach(([, , data], i) => Buffer.from(data.buffer, data.byteOffset, data.byteLength).copy(out, 4 + header.length + described[i].offset));
  return out;
}
