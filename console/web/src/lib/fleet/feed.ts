// Reads the columnar feed /v1/fleet (see types.ts): a header, then columns as typed arrays that are handed to the pictures as
// they are. Columns that stand at an offset which their type can not have are copied.

type Kind = "f64" | "f32" | "u32" | "u16" | "u8";
type Column = Float64Array | Float32Array | Uint32Array | Uint16Array | Uint8Array;

export const none = 0xffffffff;
export const severities = [null, "info", "low", "medium", "high", "critical"] as const;
export type Dictionary = "owner" | "source" | "agent" | "type" | "policy";

export interface Fleet {
  asOf: string;
  now: number;
  count: number;
  /** How many there are on the server; more than count when the feed was cut off. */
  total: number;
  issuedAt: Float64Array;
  expiresAt: Float64Array;
  lastUsedAt: Float64Array;
  weight: Float32Array;
  permissions: Float32Array;
  unused: Float32Array;
  utilization: Float32Array;
  deviation: Float32Array;
  attempts: Uint32Array;
  uses24h: Uint32Array;
  severity: Uint8Array;
  owner: Uint32Array;
  source: Uint32Array;
  agent: Uint32Array;
  type: Uint32Array;
  /** The worst one that it stands past. */
  policy: Uint32Array;
  /** All that it stands past: of credential i those from policiesAt[i] to policiesAt[i + 1]. */
  policiesAt: Uint32Array;
  policies: Uint32Array;
  names: Record<Dictionary, string[]>;
  key(i: number): string;
}

export class FeedError extends Error {}

const sizes: Record<Kind, number> = { f64: 8, f32: 4, u32: 4, u16: 2, u8: 1 };
const made: Record<Kind, new (b: ArrayBuffer, at: number, n: number) => Column> = {
  f64: Float64Array, f32: Float32Array, u32: Uint32Array, u16: Uint16Array, u8: Uint8Array,
};
const wanted: [keyof Fleet, string, Kind][] = [
  ["issuedAt", "issued_at", "f64"], ["expiresAt", "expires_at", "f64"], ["lastUsedAt", "last_used_at", "f64"],
  ["weight", "scope_weight", "f32"], ["permissions", "scope_permissions", "f32"], ["unused", "unused_ratio", "f32"],
  ["utilization", "utilization", "f32"], ["deviation", "deviation", "f32"], ["attempts", "attempts", "u32"], ["uses24h", "uses_24h", "u32"],
  ["severity", "severity", "u8"], ["owner", "owner", "u32"], ["source", "source", "u32"], ["agent", "agent", "u32"], ["type", "type", "u32"],
  ["policy", "worst_policy", "u32"],
];

export function parse(buffer: ArrayBuffer): Fleet {
  if (buffer.byteLength < 4) throw new FeedError("The fleet's data is empty.");
  const length = new DataView(buffer).getUint32(0, true);
  if (4 + length > buffer.byteLength) throw new FeedError("The fleet's data is cut off in its header.");
  let header: any;
  try {
    header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  } catch {
    throw new FeedError("The fleet's data has a header that can not be read.");
  }
  const body = 4 + length;
  const count = Number(header.count);
  const columns = new Map<string, { type: Kind; offset: number }>(header.columns.map((c: any) => [c.name, c]));

  function column(name: string, kind: Kind, n: number): Column {
    const c = columns.get(name);
    if (!c) throw new FeedError(`The fleet's data lacks the column ${name}.`);
    if (c.type !== kind) throw new FeedError(`The fleet's column ${name} is ${c.type}; this page reads ${kind}.`);
    const at = body + c.offset;
    const bytes = n * sizes[kind];
    if (at + bytes > buffer.byteLength) throw new FeedError(`The fleet's data is cut off in the column ${name}.`);
    if (at % sizes[kind] === 0) return new made[kind](buffer, at, n);
    return new made[kind](buffer.slice(at, at + bytes), 0, n);
  }

  const out: any = { asOf: header.as_of, now: Date.parse(header.now), count, total: header.total ?? count };
  for (const [field, name, kind] of wanted) out[field] = column(name, kind, count);
  const names: Record<Dictionary, string[]> = { owner: [], source: [], agent: [], type: [], policy: [], ...header.dictionaries };
  for (const [field, list] of [["owner", names.owner], ["source", names.source], ["agent", names.agent], ["type", names.type], ["policy", names.policy]] as const) {
    for (const id of out[field] as Uint32Array) if (id !== none && id >= list.length) throw new FeedError(`The fleet's data names an ${field} that it does not tell.`);
  }
  const at = column("key_at", "u32", count + 1) as Uint32Array;
  out.policiesAt = column("policies_at", "u32", count + 1);
  out.policies = column("policies", "u32", out.policiesAt[count]);
  const keys = column("keys", "u8", at[count]) as Uint8Array;
  const text = new TextDecoder();
  out.names = names;
  out.key = (i: number) => text.decode(keys.subarray(at[i], at[i + 1]));
  return out;
}

/** The name behind an id of a dictionary; null: unknown. */
export function named(f: Fleet, of: Dictionary, i: number): string | null {
  const id = f[of][i];
  return id === none ? null : f.names[of][id];
}
