// The contract's answers, made of the mock's fleet.
import { createHash } from "node:crypto";
import { DAY, HOUR, hostile, MIN, owners, policies, sources } from "./fleet.mjs";

const iso = (ms) => (ms === null || ms === undefined || Number.isNaN(ms) ? null : new Date(ms).toISOString());
const hash = (s) => createHash("sha256").update(s).digest("hex");
// A figure that is always the same for the same text.
const dice = (s) => parseInt(hash(s).slice(0, 8), 16) / 0xffffffff;
export const fault = (status, title, detail) => Object.assign(new Error(title), { problem: { type: "about:blank", status, title, detail } });

const levels = [["read", 2], ["list", 1], ["write", 4], ["permissions", 10], ["tagging", 2], ["sudo", 10]];

export function world(f) {
  const { list, byKey, named, now } = f;
  const mine = ["reliability-team", "data-team"];
  const status = { mode: "enforce", killed: false, killed_by: null, killed_why: null, killed_at: null };
  const day = (n) => iso(now + n * DAY * 1000);
  const credentialOf = (agent) => named(agent)?.key ?? null;
  const exceptions = [
    { id: "ex-0001", credential: credentialOf("excepted"), identity: null, policy: "long-lived-agent-token", reason: "The archive is read once a quarter through this token, and its reader can not log in by itself yet. The replacement is planned for February.", ticket: "REC-218", until: day(41), requested_by: "mara@records.example.org", requested_at: day(-20), approved_by: "jon@security.example.org", approved_at: day(-19), revoked_by: null, revoked_at: null, state: "in force" },
    { id: "ex-0002", credential: credentialOf("ingest"), identity: null, policy: "over-broad-agent-token", reason: "The yearly re-import runs until Thursday and needs to write.", ticket: "DATA-77", until: day(6), requested_by: "lena@data.example.org", requested_at: day(-0.3), approved_by: null, approved_at: null, revoked_by: null, revoked_at: null, state: "waiting" },
    { id: "ex-0003", credential: credentialOf("diagnostic"), identity: null, policy: "over-broad-agent-token", reason: hostile[0], ticket: "", until: day(2), requested_by: "demo", requested_at: day(-0.1), approved_by: null, approved_at: null, revoked_by: null, revoked_at: null, state: "waiting" },
    { id: "ex-0004", credential: null, identity: "agent/forecaster-8", policy: "long-lived-agent-token", reason: "Load test of the new forecaster.", ticket: "ML-9", until: day(-3), requested_by: "ari@ml.example.org", requested_at: day(-30), approved_by: "jon@security.example.org", approved_at: day(-29), revoked_by: null, revoked_at: null, state: "ended" },
    { id: "ex-0005", credential: list[9].key, identity: null, policy: "probing-agent", reason: "Known noise of the scanner.", ticket: "SEC-4", until: day(9), requested_by: "kim@search.example.org", requested_at: day(-12), approved_by: "jon@security.example.org", approved_at: day(-12), revoked_by: "jon@security.example.org", revoked_at: day(-5), state: "revoked" },
  ];
  const exceptionFor = (e) => ({ ...e, may_approve: e.state === "waiting" && e.requested_by !== "demo", why_not: e.state !== "waiting" ? "It does not wait for anybody." : e.requested_by === "demo" ? "You asked for it yourself; somebody else has to approve it." : null });

  const request = (n, state, change = {}) => ({
    id: `iss-${hash(`request ${n}`).slice(0, 24)}`, state, agent: "ingest", owner: "data-team", asked_by: "spiffe://example.org/agents/ingest", identity: "spire/default/spiffe_id/spiffe://example.org/agents/ingest", asked_at: day(-0.1 * n),
    type: "token", policies: ["warehouse-write"], rules: [], role: null, name: null, lifetime_seconds: 48 * HOUR, reason: "The yearly re-import writes to the warehouse for two days, DATA-77.",
    objections: [{ policy: "long-lived-agent-token", says: ["lifetime is 2d; past the policy: greater than 1h"], exception: `ex-2${n}`, approved: false }], until: day(3), decided_by: null, decided_at: null, decided_why: null, issued_at: null, ends_at: null, accessor: null, ...change,
  });
  const approved = { decided_by: "jon@security.example.org", decided_at: day(-0.2), decided_why: "Planned with the data team, CHG-1180." };
  const issuances = [
    request(1, "waiting", { objections: [{ policy: "long-lived-agent-token", says: ["lifetime is 2d; past the policy: greater than 1h"], exception: "ex-21", approved: false }, { policy: "over-broad-agent-token", says: ["permission scope complexity is 41; past the policy: greater than 20"], exception: "ex-22", approved: false }] }),
    request(2, "waiting", { agent: "reporter", owner: "reliability-team", asked_by: "reporter-client", policies: [], rules: [{ path: "secret/data/reports/*", capabilities: ["read", "list"] }, { path: hostile[0], capabilities: ["read"] }], reason: hostile[1], lifetime_seconds: 9 * 86_400 }),
    request(3, "approved", approved), request(4, "issued", { ...approved, type: "certificate", policies: [], role: "web", name: "ingest.example.org", issued_at: day(-0.1), ends_at: day(1.9) }),
    request(5, "issued", { ...approved, issued_at: day(-0.1), ends_at: day(1.9), accessor: hash("accessor").slice(0, 24) }),
    request(6, "refused", { ...approved, decided_why: "Read access is enough for a report." }), request(7, "ended", { until: day(-1) }),
  ];
  const issuanceFor = (x) => ({ ...x, may_approve: x.state === "waiting" && x.asked_by !== "demo", why_not: x.state === "waiting" ? null : "It does not wait for anybody.", may_refuse: x.state === "waiting" || x.state === "approved" });

  const enforced = list.filter((c) => c.violations.some((v) => policies.find((p) => p.id === v.policy).mode === "enforce"));
  const ladders = new Map();
  const still = { awaited: false, needs_approval: false, approved_by: null, may_approve: false, why_not: null, mode: "enforce", approvals: [], revoked_at: null, exposed_until: null, moved: null, collateral: null, reissue: null, restoration: null, may_restore: false, why_not_restore: null, may_roll_back: false };
  let asking = 2;
  enforced.forEach((c, i) => {
    const d = dice(c.key);
    if (c.agent === "excepted") return;
    const ladder = { id: `ld-${hash(c.key).slice(0, 12)}`, ...still };
    if (c.owner === null) ladders.set(c.key, { ...ladder, state: "held", label: "held: nobody is known who could be told", since: iso(now - 2 * DAY * 1000), next: null, next_at: null, waiting: "an owner" });
    else if (!["diagnostic", "diagnostic/child", "ingest"].includes(c.agent) && asking-- > 0) ladders.set(c.key, { ...ladder, state: "held", label: "held until somebody approves it", since: iso(now - 5 * HOUR * 1000), next: "revoked, once nothing holds it", next_at: null, waiting: "somebody has to approve it", awaited: true, needs_approval: true, may_approve: true,
      approvals: [{ act: "revoke", needed: asking ? 2 : 1, missing: 1, by: asking ? [{ name: "jon@security.example.org", at: iso(now - HOUR * 1000) }] : [], may_approve: true, why_not: null }] });
    else {
      const at = now + (c.agent === "diagnostic" ? 7 * HOUR : c.agent === "ingest" ? 2.2 * DAY : d * 4 * DAY + HOUR) * 1000;
      ladders.set(c.key, { ...ladder, state: "notified", label: "told, waiting until the grace period ends", since: iso(at - 4 * DAY * 1000), next: "revoked", next_at: iso(at), waiting: null, moved: c.agent === "ingest" ? "from Saturday 03:00 to Monday 09:00: business hours of the policy" : null });
    }
    void i;
  });

  // What was done: the first still works for a while, the last was asked back and given.
  const done = list.slice(40, 46).map((c, i) => {
    const proven = `Vault answers 403 to a look-up of it; audit.log:${70210 + i}`, at = iso(now - (i * 5 + 2) * HOUR * 1000);
    const ladder = { id: `ld-${hash(c.key).slice(0, 12)}`, ...still, state: "revoked", label: i === 0 ? "revoked, and still works for a while where nobody asks the issuer" : i === 5 ? "given back: mara@records.example.org asked for it" : i % 2 ? "revoked and verified" : "revoked and verified, a narrower one was issued", since: at, next: null, next_at: null, waiting: null,
      revoked_at: at, exposed_until: i === 0 ? iso(now + 5 * HOUR * 1000) : null, may_restore: i < 4, why_not_restore: i === 4 ? "jon@security.example.org has asked for it already." : null,
      reissue: i === 2 ? { policy: `rightsized-${c.agent ?? "x"}`, granted_before: c.permissions ?? 40, granted_after: c.used ?? 3, done: true, undone: false, undoing: false } : null, may_roll_back: i === 2,
      approvals: i === 4 ? [{ act: "restore", needed: 1, missing: 1, by: [], may_approve: true, why_not: null }] : [],
      restoration: i === 5 ? { asked_by: "mara@records.example.org", reason: "The quarterly export stands still, INC-204.", asked_at: at, approved_by: ["jon@security.example.org"], refused: null, done_at: iso(now - HOUR * 1000) } : i === 4 ? { asked_by: "jon@security.example.org", reason: hostile[0], asked_at: at, approved_by: [], refused: null, done_at: null } : null };
    ladders.set(c.key, ladder);
    return { credential: c.key, agent: c.agent, owner: c.owner, at, label: ladder.label, proof: proven, reissued: i % 2 ? null : `vault/prod/token/hmac-sha256:${hash(String(i)).slice(0, 40)}`, granted_before: c.permissions, granted_after: i % 2 ? null : c.used, ladder };
  });
  const summary = (c) => ({
    key: c.key, type: c.type, source: c.source, instance: c.instance, state: c.state, agent: c.agent, owner: c.owner,
    owner_evidence: c.owner ? `The catalog says that agent ${c.agent} is ${c.owner}'s.` : "No catalog entry, no label and no register names an owner.",
    system_of_record: c.owner ? "deployments" : null, principal: c.agent ? `vault/prod/entity/${hash(c.agent).slice(0, 12)}` : null,
    issued_at: iso(c.issued), expires_at: iso(c.expires), revoked_at: null, revoked_how: null, first_seen_at: iso(c.issued ?? now - 3 * DAY * 1000), last_seen_at: iso(now - 60e3),
    last_used_at: c.uses24 || c.uses ? iso(c.lastUsed) : null, last_denied_at: c.attempts ? iso(now - dice(c.key) * DAY * 1000) : null,
    seconds_left: c.never || c.expires === null ? null : (c.expires - now) / 1000, never_expires: c.never, age_seconds: c.issued === null ? null : (now - c.issued) / 1000,
    lifetime_seconds: c.issued === null || c.expires === null ? null : (c.expires - c.issued) / 1000,
    scope_weight: c.weight, scope_permissions: c.permissions, scope_known: c.scopeKnown, used_permissions: c.used, unused_ratio: c.permissions === null ? null : 1 - c.used / c.permissions,
    utilization: c.utilization, uses: c.uses, uses_1h: Math.round(c.uses24 / 24), uses_24h: c.uses24, uses_7d: Math.min(c.uses, c.uses24 * 7), uses_30d: c.uses, attempts: c.attempts, denied: c.denied || c.attempts * 3,
    violations: c.violations, deviation: c.deviation, severity: c.severity, ladder: ladders.get(c.key) ?? null,
    exception: (() => { const e = exceptions.find((x) => x.credential === c.key && x.state === "in force"); return e ? exceptionFor(e) : null; })(),
  });

  const page = (items, q, map = (x) => x) => {
    const from = Number(q.get("cursor") ?? 0) || 0;
    const limit = Math.min(500, Number(q.get("limit")) || 50);
    return { items: items.slice(from, from + limit).map(map), next: from + limit < items.length ? String(from + limit) : null };
  };
  const need = (q) => byKey.get(q.get("key") ?? "") ?? (() => { throw fault(404, "There is no such credential", `Nothing is known of ${(q.get("key") ?? "").slice(0, 120)}.`); })();

  const hours = (c) => Array.from({ length: 336 }, (_, i) => {
    const at = now - (336 - i) * HOUR * 1000;
    const lived = c.issued === null || at >= c.issued - HOUR * 1000;
    const early = c.agent === "ingest" && at < now - 10 * DAY * 1000 ? 9 : 1;
    const uses = lived ? Math.round((c.uses24 / 24) * early * (0.3 + 1.4 * dice(`${c.key}${i}`))) : 0;
    return { at: iso(Math.floor(at / 3600e3) * 3600e3), uses, denied: lived && c.attempts && dice(`d${c.key}${i}`) < 0.05 + c.attempts / 400 ? 1 + Math.round(3 * dice(`e${c.key}${i}`)) : 0 };
  });
  const permissions = (c) => Array.from({ length: Math.min(c.permissions ?? 0, 260) }, (_, i) => {
    const [level, weight] = levels[Math.floor(dice(`${c.key}p${i}`) * (c.permissions > 20 ? 6 : 3))];
    const used = i < c.used;
    return { permission: `${level} secret/data/${["reports", "ingest", "billing", "team", "shared"][i % 5]}/${i}${c.permissions > 20 ? "/*" : ""}`, level, weight, conditional: i % 11 === 5, used, uses: used ? 1 + Math.floor(c.uses / (c.used || 1)) : 0, last_used_at: used ? iso(now - dice(`u${i}`) * DAY * 1000) : null, granted_by: `policy ${c.agent ?? "default"}` };
  });

  const get = {
    "/v1/me": () => ({ name: "demo", roles: process.env.MOCK_ROLE ? process.env.MOCK_ROLE.split(",") : ["security", "approver", "viewer"], owners: process.env.MOCK_ROLE?.includes("owner") ? mine : [], csrf: "mock", signed_in_by: "link" }),
    "/v1/status": () => ({ as_of: iso(Date.now() - 4000), old: false, stores: [{ name: "clickhouse", error: null }, { name: "kafka", error: null }], ...status, version: "0.0.0-mock", demo: "invented agents; a day passes in 1.5 seconds." }),
    "/v1/credentials": (q) => {
      const text = (q.get("q") ?? "").toLowerCase();
      let items = list.filter((c) => (!q.get("owner") || (c.owner ?? "unknown") === q.get("owner")) && (!q.get("source") || c.source === q.get("source")) && (!q.get("agent") || c.agent === q.get("agent"))
        && (!q.get("state") || c.state === q.get("state")) && (!q.get("policy") || c.violations.some((v) => v.policy === q.get("policy"))) && (!text || `${c.key} ${c.agent} ${c.owner}`.toLowerCase().includes(text)));
      const by = { seconds_left: (c) => -(c.never ? Infinity : c.expires ?? Infinity), scope_weight: (c) => c.weight ?? -1, attempts: (c) => c.attempts, last_used_at: (c) => c.lastUsed ?? 0 }[q.get("sort")];
      if (by) items = [...items].sort((a, b) => by(b) - by(a));
      return page(items, q, summary);
    },
    "/v1/credential": (q) => {
      const c = need(q);
      const child = named("diagnostic/child");
      const isParent = c.agent === "diagnostic";
      const ladder = ladders.get(c.key);
      const worst = c.permissions > 10;
      return {
        ...summary(c), parent: c === child ? credentialOf("diagnostic") : null, children: isParent ? [child.key] : [], children_total: isParent ? 1 : 0, policies: [c.agent ?? "default", "default"], labels: { mount: "auth/approle/", role: c.agent ?? "" },
        ladder_steps: ladder ? [
          { at: ladder.since, state: "noticed", label: "violation noticed", reason: c.violations[0]?.title ?? "", proof: null, error: null, told: [] },
          ...(c.owner ? [{ at: iso(Date.parse(ladder.since) + 9000), state: "told", label: "owner told", reason: "the policy asks for it", proof: "message accepted by the owners' channel", error: null, told: [c.owner] }] : []),
          { at: iso(Date.parse(ladder.since) + 12000), state: ladder.state, label: ladder.label, reason: ladder.waiting ? `waiting for ${ladder.waiting}` : "grace period of 4 days", proof: null, error: null, told: [] },
        ] : [],
        collateral: isParent ? [child.key] : [],
        proposal: worst && c.used > 0 ? { granted: c.permissions, proposed: c.used, language: "hcl", note: "What was used within 30 days, and nothing else.", artefact: permissions(c).filter((p) => p.used).map((p) => `path "${p.permission.split(" ")[1]}" {\n  capabilities = ["${p.level === "list" ? "list" : "read"}"]\n}`).join("\n") } : null,
        usage_findings: [{ finding: "issued but unused", found: c.uses === 0, reason: c.uses === 0 ? "The issuer's log was read without a gap and shows no use." : "It was used." }, { finding: "used but unissued", found: c.issued === null ? null : false, reason: c.issued === null ? "The time of issuance lies before what was read." : "Its issuance was seen." }],
        history: Array.from({ length: 14 }, (_, i) => ({ at: iso(now - (13 - i) * DAY * 1000), deviation: c.deviation * Math.max(0, 1 - (13 - i) * 0.07), violated: i > 6 ? c.violations.map((v) => v.policy) : [] })),
        uses_by_hour: hours(c),
      };
    },
    "/v1/credential/events": (q) => {
      const c = need(q);
      const kinds = [["used", "read", "success"], ["used", "list", "success"], ["renewed", "auth/token/renew-self", "success"], ...(c.attempts ? [["denied", "sys/policies", "failure"]] : [])];
      const all = Array.from({ length: 120 }, (_, i) => {
        const [kind, action, outcome] = i === 119 ? ["issued", "auth/approle/login", "success"] : kinds[Math.floor(dice(`${c.key}k${i}`) * kinds.length)];
        const at = i === 119 ? (c.issued ?? now - DAY * 1000) : now - (i + 1) * 7 * MIN * 1000;
        return { id: hash(`${c.key}${i}`).slice(0, 20), kind, at: iso(at), observed_at: iso(at + 900), source: c.source, instance: c.instance, action, permission: kind === "used" ? `${action} secret/data/reports/${i % 9}` : kind === "denied" ? "write sys/policies/acl/root" : "", resource: `secret/data/reports/${i % 9}`, outcome, error: kind === "denied" ? "permission denied" : "", record_id: hash(`r${i}`).slice(0, 16), position: `audit.log:${81000 - i * 37}`, actor: c.agent, remote_address: `10.3.${i % 7}.${(i * 13) % 250}`, labels: i % 30 === 4 ? { user_agent: hostile[0] } : {}, flag: kind === "denied" ? "elevation" : "" };
      });
      return page(all, q);
    },
    "/v1/credential/scope": (q) => {
      const c = need(q);
      return { known: c.scopeKnown, why_unknown: c.scopeKnown ? null : "Its policies could not be read: the collector has no permission for sys/policies.", truncated: (c.permissions ?? 0) > 260, permissions: permissions(c), denied: Array.from({ length: c.attempts }, (_, i) => ({ permission: `${["write", "delete", "sudo"][i % 3]} sys/${["policies/acl", "auth", "mounts", "raw"][i % 4]}/${i}`, times: 1 + (i % 6), last_at: iso(now - i * 41 * MIN * 1000) })) };
    },
    "/v1/compromise": (q) => leak(need(q), q.get("after")),
    "/v1/rightsize": (q) => {
      const c = need(q), days = Number(q.get("days")) || 30;
      const ps = permissions(c).filter((p) => p.used).map((p) => ({ permission: p.level === "list" ? "list" : "read", resource: p.permission.split(" ")[1], count: p.uses, last_at: p.last_used_at }));
      const base = { name: c.key, credentials: [c.key], observed_from: iso(now - days * DAY * 1000), observed_until: iso(now), gaps: c.agent === "diagnostic" ? ["the log of vault/prod was silent for 2h10m from 2026-11-14T03:00:00Z"] : [], granted: c.permissions, used: ps.length, uses: ps, replay_days: days, replayed: 0, would_have_refused: [], proposal: null, artifact: null, refused: null, proposed: 0 };
      if (c.permissions === null) return { ...base, refused: "what it is granted is not known: its policies could not be read" };
      if (!ps.length) return { ...base, refused: `no use was seen within ${days} days, so no scope is justified: end the credential, or look for a longer time (--days)` };
      return { ...base, proposed: ps.length, replayed: c.uses, proposal: { system: c.source, rules: ps.map((p) => ({ resource: p.resource, capabilities: [p.permission] })), unjustified: [] }, would_have_refused: c.agent === "ingest" ? [{ permission: "update", resource: "secret/data/ingest/2025", count: 3, last_at: iso(now - 9 * DAY * 1000) }, { permission: "read", resource: hostile[0], count: 1, last_at: iso(now - 11 * DAY * 1000) }] : [],
        artifact: { kind: "vault-policy", text: ps.map((p) => `path "${p.resource}" { capabilities = ["${p.permission}"] }`).join("\n") + "\n", apply: `vault policy write rightsized-${(c.agent ?? "x").replaceAll(/[^\w-]/g, "-")} FILE`, loses: "" } };
    },
    "/v1/plan": () => ({
      at: iso(Date.now()), mode: status.mode, kill_switch: status.killed ? "demo" : "", frozen: "", budget: "20/h 5%", others: 0,
      ladders: enforced.filter((c) => ladders.has(c.key)).slice(0, 40).map((c, i) => {
        const l = ladders.get(c.key);
        return { credential: c.key, agent: c.agent ?? "", owner: c.owner ?? "", ladder: l.id, state: l.state, target: `${c.source}/${c.instance}`, act: l.next_at || l.needs_approval ? "revoke" : "nothing: its owner is not told yet", at: l.next_at ?? (l.needs_approval ? iso(now - HOUR * 1000) : null), moved: l.moved ?? "", sighting: i % 9 === 4 ? "unknown: the issuer does not answer within 30s" : "alive",
          collateral: c.agent === "diagnostic" ? { count: 3, others: 2, children: 1, first: ["vault/prod/lease/database/creds/reader/8fQ lease of a database", `vault/prod/token/${hostile[0]}`], unknown: "" } : i % 9 === 4 ? { count: 0, others: 0, children: 0, first: [], unknown: "the issuer does not answer" } : { count: 0, others: 0, children: 0, first: [], unknown: "" },
          refused: [...(status.killed ? [{ guard: "kill_switch", reason: "switched on by demo", text: "everything is stopped by the kill switch (demo switched it on)" }] : []), ...(l.needs_approval && l.approvals[0].missing ? [{ guard: "approval", reason: "waiting", text: "somebody has to approve it" }] : []), ...(c.owner ? [] : [{ guard: "told", reason: "the owner could not be told", text: "its owner could not be told" }]), ...(c.agent === "diagnostic" ? [{ guard: "collateral", reason: "it hits 2 others besides its children, 0 are allowed", text: "it would hit others too (it hits 2 others besides its children, 0 are allowed)" }] : [])],
          budget_left: 14, given_back: c.used ? `policy rightsized-${c.agent} with ${c.used} permissions, before ${c.permissions}` : "", exposed_until: null, standing: l };
      }),
    }),
    "/v1/credential/limits": (q) => judged(need(q)),
    "/v1/identities": (q) => page(identities.filter((i) => (!q.get("status") || i.status === q.get("status")) && (!q.get("q") || i.name.toLowerCase().includes(q.get("q").toLowerCase()))), q),
    "/v1/identity": (q) => {
      const i = identities.find((x) => x.name === q.get("name") || x.names.includes(q.get("name")));
      if (!i) throw fault(404, "There is no such identity", "It may have been known by another name.");
      const held = list.filter((c) => c.agent === i.agents[0]);
      const [a, ...rest] = i.names;
      const nodes = [{ name: a, kind: "agent", label: i.agents[0] }, ...rest.map((n) => ({ name: n, kind: n.split("/")[0], label: n.split("/").pop() })), ...i.owners.map((o) => ({ name: `owner/${o}`, kind: "owner", label: o })), ...held.slice(0, 4).map((c) => ({ name: c.key, kind: "credential", label: c.key.slice(0, 40) }))];
      const links = [...rest.map((n, k) => ({ from: a, to: n, kind: "same_as", confidence: ["proven", "asserted", "inferred"][k % 3], at: iso(now - k * DAY * 1000), evidence: ["the issuer's audit log, line 4711", "the catalog of agents", "the session's own name"][k % 3], retracted: false })), ...i.owners.map((o) => ({ from: a, to: `owner/${o}`, kind: "owned_by", confidence: "asserted", at: iso(now - 40 * DAY * 1000), evidence: "the catalog of agents", retracted: false })), ...held.slice(0, 4).map((c) => ({ from: a, to: c.key, kind: "issued_to", confidence: "proven", at: iso(c.issued ?? now), evidence: "issuance in the audit log", retracted: false }))];
      return { ...i, as_of: q.get("as_of") || iso(now), nodes, links, conflicts: i.status === "conflict" ? [{ kind: "owner", detail: "Two sources name different owners.", sides: [{ claim: i.owners[0] ?? "data-team", evidence: ["catalog.yaml: owner"] }, { claim: "research-team", evidence: ["label team=research on the service account"] }] }] : [], held: held.slice(0, 50).map(summary), held_total: held.length };
    },
    "/v1/duties": (q) => {
      const who = q.get("owner") ? [q.get("owner")] : mine;
      const items = list.filter((c) => c.violations.length && who.includes(c.owner)).slice(0, 14).map((c) => {
        const l = ladders.get(c.key);
        const broad = c.violations[0].policy === "over-broad-agent-token";
        return { credential: c.key, agent: c.agent, owner: c.owner, severity: c.severity, title: broad ? "Far broader than what is used" : c.attempts >= 4 ? "Tries what it may not do" : "Serves for too long", why: c.violations[0].title, by: l?.next_at ?? null, what_happens: l?.next_at ? (c.agent === "diagnostic" ? "It is revoked then, and one credential made with it ends too." : "It is revoked then.") : "Nothing happens by itself.",
          action: broad ? { kind: "narrow", label: "Look at the narrower scope", command: null, href: `/credential?key=${encodeURIComponent(c.key)}` } : c.attempts >= 4 ? { kind: "look", label: "See what it tried", command: null, href: `/credential?key=${encodeURIComponent(c.key)}` } : { kind: "rotate", label: "Log in anew", command: `vault write auth/approle/login role_id=${(c.agent ?? "").replaceAll(/[^\w/-]/g, "")} secret_id=@secret`, href: null }, ladder: l ?? null };
      }).sort((a, b) => (a.by ?? "9").localeCompare(b.by ?? "9"));
      return { items, others: 128 };
    },
    "/v1/enforcement": () => {
      const some = enforced.filter((c) => ladders.get(c.key)?.next_at);
      return {
        mode: status.mode, killed: status.killed, killed_by: status.killed_by, killed_why: status.killed_why, budget: { limit: 20, used: 6, window_seconds: 3600 },
        coming: some.map((c) => ({ credential: c.key, agent: c.agent, owner: c.owner, at: ladders.get(c.key).next_at, collateral: c.agent === "diagnostic" ? 1 : 0, policies: c.violations.map((v) => v.policy) })).sort((a, b) => a.at.localeCompare(b.at)),
        running: enforced.filter((c) => ladders.has(c.key)).sort((a, b) => Number(ladders.get(b.key).needs_approval) - Number(ladders.get(a.key).needs_approval)).slice(0, 60).map((c) => ({ credential: c.key, agent: c.agent, owner: c.owner, ladder: ladders.get(c.key), policies: c.violations.map((v) => v.policy) })),
        done: done.filter((d) => !d.ladder.restoration?.done_at),
        given_back: done.filter((d) => d.ladder.restoration).map(({ credential, agent, owner, ladder }) => ({ credential, agent, owner, ladder })),
        approvals: exceptions.filter((e) => e.state === "waiting").map(exceptionFor),
      };
    },
    "/v1/exceptions": (q) => page(exceptions.filter((e) => !q.get("state") || e.state === q.get("state")).map(exceptionFor), q),
    "/v1/issuance": (q) => ({ items: issuances.filter((x) => !q.get("state") || x.state === q.get("state")).map(issuanceFor) }),
    "/v1/policies": () => ({ items: policies.map(policyOf) }),
    "/v1/sources": () => ({ items: [...new Map(sources.map((s) => [`${s.source}/${s.instance}`, s])).values()].map((s, i) => ({ source: s.source, instance: s.instance, state: i === 1 ? "trouble" : i === 3 ? "silent" : "well", trouble: i === 1 ? "permission denied: sys/policies/acl can not be read; scopes of its tokens stay unknown" : null, last_heartbeat_at: iso(now - (i === 3 ? 5 * HOUR : 9) * 1000), last_record_at: iso(now - (i === 3 ? 6 * HOUR : 20 + i) * 1000), silent_seconds: i === 3 ? 6 * HOUR : 20 + i, records: 481_233 * (i + 1), events: 230_118 * (i + 1), dead_letters: i === 1 ? 17 : 0, unknown: i * 3, findings: i === 0 ? [{ kind: "log rewrote its history", subject: "audit.log", detail: "Lines 812 to 840 differ from what was read yesterday.", since: iso(now - 7 * HOUR * 1000) }] : [] })) }),
    "/v1/dead-letters": (q) => page(Array.from({ length: 17 }, (_, i) => ({ id: `dl-${i}`, source: "vault", instance: "staging", position: `audit.log:${4400 + i * 91}`, reason: i % 3 ? "not JSON" : "too long", detail: i % 3 ? "unexpected end of the line" : "the line is longer than 1 MiB", length: 300 + i * 771, excerpt: i === 2 ? hostile[1] : `{"time":"2026-11-20T1${i % 10}:00:00Z","type":"request","auth":{"acce`, observed_at: iso(now - i * HOUR * 1000), replay: `leastwise replay --dead-letter dl-${i}` })).filter((d) => (!q.get("source") || d.source === q.get("source")) && (!q.get("reason") || d.reason === q.get("reason"))), q),
    "/v1/audit": (q) => {
      const topics = ["leastwise.control", "leastwise.exceptions", "leastwise.enforcement"];
      const whats = ["Exception approved", "Exception asked for", "Ladder: owner told", "Ladder: revoked and verified", "Signed in", "Mode set to enforce"];
      const all = Array.from({ length: 140 }, (_, i) => ({ topic: topics[[1, 1, 2, 2, 0, 0][i % 6]], at: iso(now - i * 47 * MIN * 1000), who: i % 4 === 2 ? null : ["jon@security.example.org", "mara@records.example.org", "enforcer"][i % 3], what: whats[i % 6], key: list[i % 30].key, hash: hash(`a${i}`) })).filter((e) => !q.get("topic") || e.topic === q.get("topic"));
      return { ...page(all, q), verified: topics.map((t, i) => ({ topic: t, entries: 3120 - i * 881, unbroken: true, broken_at: null, checked_at: iso(now - 5 * MIN * 1000) })) };
    },
    "/v1/fleet/use": (q) => {
      const from = Number(q.get("from")), to = Number(q.get("to"));
      const bucket = Math.max(Number(q.get("bucket")) || 3600e3, (to - from) / 2000, 1000);
      return { items: q.getAll("key").slice(0, 300).map((key) => {
        const c = byKey.get(key);
        const buckets = [];
        if (c) {
          const start = Math.max(from, c.issued ?? from), end = Math.min(to, now, c.expires ?? Infinity);
          for (let at = Math.floor(start / bucket) * bucket; at < end; at += bucket) {
            const early = c.agent === "ingest" && at < now - 10 * DAY * 1000 ? 9 : 1;
            const d = dice(`${key}${at}`);
            const uses = Math.round(c.uses24 * (bucket / 86400e3) * early * (0.2 + 1.6 * d));
            const denied = c.attempts && dice(`x${key}${at}`) < Math.min(0.6, (c.attempts * bucket) / (end - start)) ? 1 + Math.round(2 * d) : 0;
            if (uses || denied) buckets.push([at, uses, denied]);
          }
        }
        return { key, buckets };
      }) };
    },
  };

  // What a leak leads to: the more it may do, the further.
  const leak = (c, after) => {
    const start = { key: c.key, kind: "credential", name: c.key.slice(0, 60), partly: c.scopeKnown ? null : "its policies could not be read" };
    const place = (key, kind, name) => ({ key, kind, name, partly: null });
    const deploy = place("vault/prod/approle/deploy", "vault_role", "auth/approle/role/deploy"), build = place("vault/prod/entity/build", "principal", `builder of ${hostile[0]}`);
    const aws = place("arn:aws:iam::123456789012:role/backup", "role", "arn:aws:iam::123456789012:role/backup"), all = place("vault/prod/everything", "everything", "everything in vault/prod");
    const prod = place("sensitive/prod", "sensitive", "Production database"), bucket = place("sensitive/customers", "sensitive", "Customers' files");
    const step = (from, to, certainty, does, rule = "", evidence = "", stays = false) => ({ from, to, certainty, does, rule, evidence, sources: [], stays });
    const a = step(start, deploy, "proven", "make itself a secret id of auth/approle/role/deploy and log in", "vault-approle-secret-id", "audit.log:70211, 3 Nov 2026", true);
    const b = step(deploy, prod, "allowed", "read secret/data/prod/*"), d = step(deploy, aws, "allowed", "take credentials of aws/creds/backup", "vault-aws-creds"), e = step(aws, bucket, "suggested", "read s3://customers/*", "", "a condition of the role's policy could not be judged");
    const f = step(start, build, "suggested", "log in as the builder by its role", "vault-token-role");
    const ways = [{ to: prod, certainty: "allowed", steps: [a, b], stays: true }, { to: bucket, certainty: "suggested", steps: [a, d, e], stays: true }, { to: all, certainty: "suggested", steps: [f, step(build, all, "suggested", "write policies, and so give itself everything", "vault-policy-write", "", true)], stays: true }, { to: deploy, certainty: "proven", steps: [a], stays: true }, { to: aws, certainty: "allowed", steps: [a, d], stays: true }, { to: build, certainty: "suggested", steps: [f], stays: false }];
    const broad = (c.permissions ?? 0) > 20, hours = c.never || c.expires === null ? null : Math.max(0, (c.expires - now) / 3600e3);
    const left = { start, paths: after === "revoke" || !broad ? [] : [{ to: build, certainty: "suggested", steps: [f], stays: false }] };
    const refused = after === "rightsize" && c.permissions === null ? "no narrower scope can be proposed: its policies could not be read" : null;
    return { at: iso(now), leaks: [{ credential: c.key, principal: c.agent ?? "", state: c.state, until: iso(c.never ? null : c.expires), never_expires: c.never, hours, before: { start, paths: broad ? ways : [] }, after: !after || refused ? null : left, after_what: after ?? "", after_hours: after === "revoke" ? 0 : hours, refused, granted: c.permissions, left: after === "revoke" ? 0 : c.used }], known: { sensitive: 2, principals: 131, rules: 61 } };
  };
  const policyOf = (p) => {
    const violators = list.filter((c) => c.violations.some((v) => v.policy === p.id)).length;
    return { id: p.id, title: p.title, rationale: p.rationale, severity: p.severity, mode: p.mode, grace_seconds: p.grace, metrics: p.metrics.map(([name, source, condition, threshold, unit]) => ({ name, source, condition, threshold, unit })), violators, trend: Array.from({ length: 30 }, (_, i) => ({ at: iso(now - (29 - i) * DAY * 1000), violators: Math.round(violators * (1.5 - i / 58 + 0.12 * (dice(p.id + i) - 0.5))) })), match: p.match ?? "any", revision: hash("policies").slice(0, 12) };
  };
  const policyDetail = (id) => {
    const p = policies.find((x) => x.id === id);
    if (!p) throw fault(404, "There is no such policy", "It may have been removed from the policies' folder.");
    const hit = list.filter((c) => c.violations.some((v) => v.policy === id));
    const count = new Map();
    hit.forEach((c) => count.set(c.owner, (count.get(c.owner) ?? 0) + 1));
    return { ...policyOf(p), yaml: `policy_id: "${id}"\ndescription: "${p.title}"\nmetrics:\n${p.metrics.map(([n, s, c, t]) => `  - name: "${n}"\n    source: "${s}"\n    threshold: "${t}"\n    condition: "${c}"`).join("\n")}\nenforcement:\n  mode: ${p.mode}\n`, file: `policies/${id}.yaml`, line: 1, rego, owners: [...count].map(([owner, violators]) => ({ owner, violators })).sort((a, b) => b.violators - a.violators) };
  };
  const whatif = (id, q) => {
    const p = policies.find((x) => x.id === id) ?? (() => { throw fault(404, "There is no such policy", ""); })();
    const metric = q.get("metric") || p.metrics[0][0];
    const m = p.metrics.find((x) => x[0] === metric) ?? p.metrics[0];
    const raw = q.get("threshold") || m[3];
    if (!worth[metric] || Number.isNaN(number(raw))) throw fault(422, "This threshold can not be read", `${metric}: write a duration such as 168h, a share such as 50% or a number.`);
    const days = Number(q.get("days")) || 14;
    const judge = (c, at, limit) => {
      let unknown = false;
      for (const x of p.metrics) {
        if (!speaks(x[1], c.source)) return p.match === "all" ? false : undefined;
        const v = worth[x[0]](c, at);
        const t = number(x[0] === metric ? limit : x[3]);
        if (v === null || v === undefined || Number.isNaN(v)) unknown = true;
        else if (x[2] === "greater_or_equal" ? v >= t : v > t) { if (p.match !== "all") return true; } else if (p.match === "all") return false;
      }
      return unknown ? null : p.match === "all";
    };
    const at = (i) => (i === days - 1 ? now : Math.floor(now / 86400e3 - (days - 2 - i)) * 86400e3);
    const alive = (c, t) => c.issued === null || c.issued <= t;
    const series = Array.from({ length: days }, (_, i) => ({ at: iso(at(i)), in_force: 0, then: 0, unknown: 0, alive: 0 }));
    const spans = new Map();
    let everNow = 0, everThen = 0;
    for (const c of list) {
      const s = { days_past: 0, days_unknown: 0, days_alive: 0 };
      let ever = false;
      series.forEach((d, i) => {
        if (!alive(c, at(i)) || judge(c, at(i), m[3]) === undefined) return;
        d.alive++; s.days_alive++;
        // Before yesterday the scope of some was told by no decision.
        const told = !metric.includes("permission") || i > days - 4 || dice(c.key) > 0.35;
        const before = told ? judge(c, at(i), m[3]) : null, after = told ? judge(c, at(i), raw) : null;
        if (before) { d.in_force++; ever = true; }
        if (after) { d.then++; s.days_past++; } else if (after === null) { d.unknown++; s.days_unknown++; }
      });
      if (ever) everNow++;
      if (s.days_past) everThen++;
      spans.set(c, s);
    }
    const a = list.filter((c) => judge(c, now, m[3])), b = list.filter((c) => judge(c, now, raw));
    const as = new Set(a), bs = new Set(b);
    const fallen = (c) => ({ ...summary(c), ...spans.get(c) });
    return { metric, threshold: raw, now: a.length, then: b.length, unknown: series[days - 1].unknown, days: series, no_days: null, ever_now: everNow, ever_then: everThen, would_fall: b.filter((c) => !as.has(c)).slice(0, 50).map(fallen), would_be_free: a.filter((c) => !bs.has(c)).slice(0, 50).map(fallen) };
  };
  // What a policy measures, at a time.
  const worth = {
    credential_age: (c, t) => (c.issued === null ? null : (t - c.issued) / 1000), lifetime: (c) => (c.never ? Infinity : c.expires === null || c.issued === null ? null : (c.expires - c.issued) / 1000),
    permission_scope_complexity: (c) => c.permissions, unused_permission_ratio: (c) => (c.permissions === null ? null : 1 - c.used / c.permissions),
    elevation_attempts: (c, t) => (c.issued === null ? c.attempts : Math.round(c.attempts * Math.min(1, Math.max(0, (t - c.issued) / (now - c.issued))))), idle_time: (c, t) => (c.lastUsed === null ? null : Math.max(0, (t - Math.min(t, c.lastUsed)) / 1000)),
    unresolved_identity: (c) => (c.owner === null ? 1 : 0), remaining_validity: (c, t) => (c.never ? Infinity : c.expires === null ? null : (c.expires - t) / 1000),
  };
  const speaks = (of, source) => of === "any" || of === source || (of === "iam" && ["cloudtrail", "gcpaudit"].includes(source));
  const number = (t) => { if (t === "true") return 0.5; const x = parseFloat(t); return t.endsWith("d") ? x * DAY : t.endsWith("h") ? x * HOUR : t.endsWith("m") ? x * MIN : t.endsWith("%") ? x / 100 : x; };
  const units = { credential_age: "seconds", lifetime: "seconds", idle_time: "seconds", remaining_validity: "seconds", unused_permission_ratio: "share", unresolved_identity: "flag" };
  const judged = (c) => {
    const limits = policies.filter((p) => p.match !== "all" || p.metrics.every((m) => speaks(m[1], c.source))).flatMap((p) => p.metrics.filter((m) => speaks(m[1], c.source)).map(([metric, , condition, threshold]) => {
      const v = worth[metric](c, now), unit = units[metric] ?? "count";
      return { policy: p.id, title: p.title, severity: p.severity, mode: p.mode, match: p.match ?? "any", metric, condition, threshold, value: unit === "flag" ? 1 : number(threshold), unit, now: v === null || v === Infinity ? null : v, endless: v === Infinity, past: v === null ? null : condition === "greater_or_equal" ? v >= number(threshold) : v > number(threshold) };
    }));
    const names = [...new Set([...limits.filter((l) => l.unit !== "flag").map((l) => l.metric), "credential_age", "permission_scope_complexity", "idle_time", "elevation_attempts"])];
    return { limits, measured: names.map((metric) => ({ metric, unit: units[metric] ?? "count", points: Array.from({ length: 14 }, (_, i) => {
      const t = i === 13 ? now : Math.floor(now / 86400e3 - (12 - i)) * 86400e3;
      const v = c.issued !== null && c.issued > t ? null : metric.includes("permission") && i < 3 ? null : worth[metric](c, t);
      return { at: iso(t), value: v === Infinity ? null : v };
    }) })) };
  };
  const rego = [
    { file: "admission.rego", text: "# What a change may be let in with.\npackage leastwise.admission\n\nallow if count(data.leastwise.decision.violations) == 0\n" },
    { file: "decision.rego", text: "# A policy is violated when as many of its conditions hold as it needs: one, or all.\npackage leastwise.decision\n\nviolations contains v if {\n\tsome policy in input.policies\n\tcount({i | some i; holds(policy.conditions[i])}) >= policy.needed\n\tv := {\"policy_id\": policy.policy_id}\n}\n" },
  ];
  const held = new Map();
  list.forEach((c) => c.agent && held.set(c.agent, (held.get(c.agent) ?? 0) + 1));
  const identities = [...new Map(list.filter((c) => c.agent).map((c) => [c.agent, c])).values()].map((c, i) => ({ name: `agent/${c.agent}`, names: [`agent/${c.agent}`, `vault/prod/entity/${hash(c.agent).slice(0, 12)}`, ...(i % 3 ? [] : [`spiffe/example.org/ns/agents/sa/${c.agent}`])], agents: [c.agent], owners: c.owner ? [c.owner] : [], systems: c.owner ? ["deployments"] : [], status: i === 11 ? "conflict" : c.owner ? "owned" : "unowned", credentials: held.get(c.agent) }));

  const reason = (b) => { if (!b.reason || b.reason.trim().length < 3) throw fault(422, "A reason is missing", "Say in a few words why; it is kept in the audit log."); };
  const ladder = (id) => [...ladders.values()].find((x) => x.id === id) ?? (() => { throw fault(404, "There is no such ladder", "It may be over by now."); })();
  const post = [
    [/^\/v1\/enforcement\/kill$/, (b) => { reason(b); Object.assign(status, b.on ? { killed: true, killed_by: "demo", killed_why: b.reason, killed_at: iso(Date.now()) } : { killed: false, killed_by: null, killed_why: null, killed_at: null }); return get["/v1/status"](); }, "control"],
    [/^\/v1\/enforcement\/mode$/, (b) => { reason(b); status.mode = b.mode; return get["/v1/status"](); }, "control"],
    [/^\/v1\/enforcement\/approve$/, (b) => {
      reason(b);
      const l = ladder(b.ladder), a = l.approvals.find((x) => x.act === (b.act ?? "revoke")) ?? (() => { throw fault(422, "Its policy asks for no approval of this", ""); })();
      if (!a.may_approve) throw fault(403, a.why_not, "");
      a.by.push({ name: "demo", at: iso(Date.now()) });
      a.missing = Math.max(0, a.missing - 1);
      Object.assign(a, { may_approve: false, why_not: a.missing ? "You have approved it: one more person has to." : "It is approved already." });
      if (a.act === "revoke" && !a.missing) Object.assign(l, { approved_by: a.by.map((x) => x.name).join(", "), may_approve: false, awaited: false, label: "being revoked", waiting: null });
      return l;
    }, "ladders"],
    [/^\/v1\/enforcement\/restore$/, (b) => {
      reason(b);
      return Object.assign(ladder(b.ladder), { may_restore: false, why_not_restore: "demo has asked for it already.", restoration: { asked_by: "demo", reason: b.reason, asked_at: iso(Date.now()), approved_by: [], refused: null, done_at: null } });
    }, "ladders"],
    [/^\/v1\/enforcement\/rollback$/, (b) => { reason(b); const l = ladder(b.ladder); l.reissue.undoing = true; l.may_roll_back = false; return l; }, "ladders"],
    [/^\/v1\/enforcement\/resume$/, (b) => { reason(b); return get["/v1/status"](); }, "control"],
    [/^\/v1\/exceptions$/, (b) => {
      if (!b.policy || !b.reason || !b.until) throw fault(422, "Something is missing", "An exception needs a policy, a reason and an end.");
      const e = { id: `ex-${1000 + exceptions.length}`, credential: b.credential ?? null, identity: b.identity ?? null, policy: b.policy, reason: b.reason, ticket: b.ticket ?? "", until: b.until, requested_by: "demo", requested_at: iso(Date.now()), approved_by: null, approved_at: null, revoked_by: null, revoked_at: null, state: "waiting" };
      exceptions.unshift(e);
      return exceptionFor(e);
    }, "exceptions"],
    [/^\/v1\/exceptions\/([^/]+)\/(approve|revoke)$/, (b, id, what) => {
      const e = exceptions.find((x) => x.id === id) ?? (() => { throw fault(404, "There is no such exception", ""); })();
      if (what === "approve") {
        if (e.requested_by === "demo") throw fault(403, "Nobody approves their own exception", "Ask somebody else who may approve.");
        Object.assign(e, { state: "in force", approved_by: "demo", approved_at: iso(Date.now()) });
      } else Object.assign(e, { state: "revoked", revoked_by: "demo", revoked_at: iso(Date.now()) });
      return exceptionFor(e);
    }, "exceptions"],
    [/^\/v1\/issuance\/([^/]+)\/(approve|refuse)$/, (b, id, what) => {
      reason(b);
      const x = issuances.find((x) => x.id === id) ?? (() => { throw fault(404, "There is no such request", ""); })();
      Object.assign(x, { state: what === "approve" ? "approved" : "refused", decided_by: "demo", decided_at: iso(Date.now()), decided_why: b.reason });
      x.objections.forEach((o) => (o.approved = what === "approve"));
      return issuanceFor(x);
    }, "exceptions"],
  ];
  return { get, post, policyDetail, whatif };
}
