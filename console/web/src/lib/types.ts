// The API's answers, /v1. Times are RFC 3339 in UTC. A field that is null is unknown, and is shown as unknown, never as zero.
// Lists answer {items, next}; next, if not null, is the cursor of the following page (?cursor=…&limit=…, at most 500).
// Errors are application/problem+json: {type, title, status, detail, errors?: [{location, message}]}.
// A credential's key ("vault/prod/token/hmac-sha256:7d…") and a node's name stand in the query (?key=…, ?name=…).

export type Time = string;
export interface Page<T> { items: T[]; next: string | null }

// GET /v1/me. Roles: viewer, owner, approver, security, admin. owners: ids that are this person's; empty unless role owner.
export interface Me { name: string; roles: string[]; owners: string[]; csrf: string; signed_in_by: "link" | "oidc" | "mtls" }

// GET /v1/status, also sent as the live event "status". stores: null error is well.
export interface Status {
  as_of: Time;               // newest row in ClickHouse
  old: boolean;              // newer data should be there by now: say so plainly
  stores: { name: "clickhouse" | "kafka"; error: string | null }[];
  mode: "observe" | "notify" | "enforce"; killed: boolean; killed_by: string | null; killed_why: string | null; killed_at: Time | null;
  version: string;
  demo: string | null;       // one sentence about scaled time, when this is the demonstration
}

export type Severity = "info" | "low" | "medium" | "high" | "critical";
export type State = "active" | "expired" | "revoked" | "unknown";

// The four measures.
export interface Measures {
  seconds_left: number | null; never_expires: boolean; age_seconds: number | null; lifetime_seconds: number | null;
  scope_weight: number | null; scope_permissions: number | null; scope_known: boolean;
  used_permissions: number | null; unused_ratio: number | null;      // 0…1 of the granted permissions
  utilization: number | null;                                        // uses in the last day against what was expected; 1 is as expected
  uses: number; uses_1h: number; uses_24h: number; uses_7d: number; uses_30d: number;
  attempts: number;                                                  // distinct refused permissions
  denied: number;
}
export interface Violation {
  policy: string; metric: string; value: string; threshold: string; condition: string; severity: Severity;
  hint: string; evidence: string; deviation: number | null; title: string;   // title: one plain sentence: "It lives for 90 days; the policy allows 1 hour at most."
}
export interface Credential extends Measures {
  key: string; type: string; source: string; instance: string; state: State;
  agent: string | null; owner: string | null; owner_evidence: string; system_of_record: string | null; principal: string | null;
  issued_at: Time | null; expires_at: Time | null; revoked_at: Time | null; revoked_how: string | null;
  first_seen_at: Time | null; last_seen_at: Time | null; last_used_at: Time | null; last_denied_at: Time | null;
  violations: Violation[]; deviation: number; severity: Severity | null;
  ladder: LadderState | null; exception: Exception | null;
}
// GET /v1/credentials?owner=&source=&policy=&state=&agent=&q=&sort=deviation|seconds_left|scope_weight|attempts|last_used_at&cursor=&limit= → Page<Credential>
// The same with Accept: text/csv is a table (cells that begin with = + - @ tab CR get a leading apostrophe).

// GET /v1/credential?key= → CredentialDetail
export interface CredentialDetail extends Credential {
  parent: string | null; children: string[]; children_total: number; policies: string[]; labels: Record<string, string>;
  ladder_steps: LadderStep[]; collateral: string[];                  // what ends with it
  proposal: Proposal | null; usage_findings: { finding: string; found: boolean | null; reason: string }[];
  history: { at: Time; deviation: number; violated: string[] }[];    // of decisions
  uses_by_hour: { at: Time; uses: number; denied: number }[];        // newest 14 days
}
export type Unit = "seconds" | "count" | "share" | "ratio" | "flag";
// GET /v1/credential/limits?key= → Limits: what policies allow it, and what they measure of it at the end of each of 14 days
export interface Limits { limits: Limit[]; measured: Measured[] }
// One threshold of a policy that applies to a credential. now null: unknown, or without end (endless). past null: unknown.
// match "all": the policy objects only when all its conditions hold.
export interface Limit {
  policy: string; title: string; severity: Severity; mode: string; match: "any" | "all"; metric: string; condition: string; threshold: string; value: number; unit: Unit;
  now: number | null; endless: boolean; past: boolean | null;
}
export interface Measured { metric: string; unit: Unit; points: { at: Time; value: number | null }[] }   // the last point is now
// GET /v1/credential/events?key=&cursor= → Page<Event>, newest first
export interface Event {
  id: string; kind: string; at: Time; observed_at: Time; source: string; instance: string; action: string; permission: string; resource: string;
  outcome: "success" | "failure" | null; error: string; record_id: string; position: string; actor: string | null; remote_address: string;
  labels: Record<string, string>; flag: string;
}
// GET /v1/credential/scope?key= → Scope
export interface Scope {
  known: boolean; why_unknown: string | null; truncated: boolean;
  permissions: { permission: string; level: "read" | "list" | "write" | "permissions" | "tagging" | "sudo" | "unknown"; weight: number; conditional: boolean;
                 used: boolean | null; uses: number; last_used_at: Time | null; granted_by: string }[];
  denied: { permission: string; times: number; last_at: Time | null }[];
}
export interface Proposal { granted: number; proposed: number; artefact: string; language: "hcl" | "json" | "text"; note: string }

export interface LadderState {
  id: string; state: string; label: string; since: Time; next: string | null; next_at: Time | null; waiting: string | null; mode: string;
  awaited: boolean;                                                  // a person's word is all that is missing
  needs_approval: boolean; approved_by: string | null; may_approve: boolean; why_not: string | null;   // of the revocation; approved_by once enough have; the last two for who asks
  approvals: ActApprovals[];                                         // of each act that asks for any
  revoked_at: Time | null; exposed_until: Time | null;               // exposed: revoked, and works until then where nobody asks the issuer
  moved: string | null;                                              // why the revocation comes later than the grace period ends
  collateral: { count: number; others: number; first: string[]; unknown: string | null } | null;
  reissue: { policy: string; granted_before: number; granted_after: number; done: boolean; undone: boolean; undoing: boolean } | null;
  restoration: { asked_by: string; reason: string; asked_at: Time | null; approved_by: string[]; refused: string | null; done_at: Time | null } | null;
  may_restore: boolean; why_not_restore: string | null; may_roll_back: boolean;   // for who asks
}
export type Act = "revoke" | "narrow" | "finish" | "restore";
export interface ActApprovals { act: Act; needed: number; missing: number; by: { name: string; at: Time }[]; may_approve: boolean; why_not: string | null }   // needed: different people; the last two for who asks
// label is the state in words: "told, waiting until …", "held: nobody is known who could be told", "revoked and verified"
export interface LadderStep { at: Time; state: string; label: string; reason: string; proof: string | null; error: string | null; told: string[] }

// GET /v1/identities?q=&status=owned|unowned|conflict&cursor= → Page<IdentitySummary>
export interface IdentitySummary { name: string; names: string[]; agents: string[]; owners: string[]; systems: string[]; status: "owned" | "unowned" | "conflict"; credentials: number }
// GET /v1/identity?name=&as_of= → Identity
export interface Identity extends IdentitySummary {
  as_of: Time; nodes: { name: string; kind: string; label: string }[];
  links: { from: string; to: string; kind: string; confidence: "proven" | "asserted" | "inferred"; at: Time; evidence: string; retracted: boolean }[];
  conflicts: { kind: string; detail: string; sides: { claim: string; evidence: string[] }[] }[];
  held: Credential[]; held_total: number;
}

// GET /v1/duties?owner= (default: mine) → {items: Duty[], others: number}. Most urgent first.
export interface Duty {
  credential: string; agent: string | null; owner: string | null; severity: Severity; title: string;   // what, in a few words
  why: string;                                                       // one sentence
  by: Time | null; what_happens: string;                             // "revoked at …", "nothing by itself"
  action: { kind: "exception" | "rotate" | "claim" | "narrow" | "look"; label: string; command: string | null; href: string | null };
  ladder: LadderState | null;
}

// GET /v1/enforcement → Enforcement
export interface Enforcement {
  mode: string; killed: boolean; killed_by: string | null; killed_why: string | null;
  budget: { limit: number; used: number; window_seconds: number } | null;
  coming: { credential: string; agent: string | null; owner: string | null; at: Time; collateral: number; policies: string[] }[];  // calendar, soonest first
  running: { credential: string; agent: string | null; owner: string | null; ladder: LadderState; policies: string[] }[];
  done: { credential: string; agent: string | null; owner: string | null; at: Time; label: string; proof: string; reissued: string | null; granted_before: number | null; granted_after: number | null; ladder: LadderState }[];
  given_back: { credential: string; agent: string | null; owner: string | null; ladder: LadderState }[];   // what somebody asked to have back, newest first
  approvals: Exception[];                                            // waiting for somebody
}
// POST /v1/enforcement/kill {on: boolean, reason: string} → Status (works while ClickHouse is away). Roles security, admin.
// POST /v1/enforcement/approve {ladder, act?: Act, reason} → LadderState: one person's word for an act, default revoke. Roles approver, security; not who answers for it, not twice, not for one's own wish.
// POST /v1/enforcement/restore {ladder, reason} → LadderState: asks for what was taken. POST /v1/enforcement/rollback {ladder, reason} → LadderState: for the scope that a re-issue replaced. Roles approver, security.
// POST /v1/enforcement/resume {reason} → Status: what was revoked until now counts in no budget any more. Role security.
// POST /v1/enforcement/mode {mode: string, reason: string} → Status. Role admin.

// GET /v1/plan → Plan: what the enforcer would do. Who is but an owner is shown theirs; others counts the rest.
export interface Plan { at: Time; mode: string; kill_switch: string; frozen: string; budget: string; ladders: PlannedStep[]; others: number }
export interface PlannedStep {
  credential: string; agent: string; owner: string; ladder: string; state: string; target: string; act: string; at: Time | null; moved: string; sighting: string;
  collateral: { count: number; others: number; first: string[]; children: number; unknown: string } | null;
  refused: { guard: string; reason: string; text: string }[]; budget_left: number; given_back: string; exposed_until: Time | null; standing: LadderState | null;
}

// GET /v1/compromise?key=&after=rightsize|revoke → Compromise: what could be done with it in the wrong hands. Owners ask of theirs alone.
export interface Compromise { at: Time; leaks: Leak[]; known: { sensitive: number; principals: number; rules: number } }
export interface Leak {
  credential: string; principal: string; state: string; until: Time | null; never_expires: boolean; hours: number | null; before: Reached; after: Reached | null;
  after_what: string; after_hours: number | null; refused: string | null; granted: number | null; left: number | null;   // refused: why there is no after
}
export type Certainty = "proven" | "allowed" | "suggested";
export interface Reached { start: Place; paths: Way[] }
export interface Place { key: string; kind: string; name: string; partly: string | null }
export interface Way { to: Place; certainty: Certainty; steps: WayPoint[]; stays: boolean }   // stays: something on it outlives the credential
export interface WayPoint { from: Place; to: Place; certainty: Certainty; rule: string; does: string; evidence: string; sources: string[]; stays: boolean }   // "it can " + does

// GET /v1/rightsize?key=&days=30&replay=30 → Rightsize: which scope its use justifies, and what that would have refused
export interface Rightsize {
  name: string; credentials: string[]; observed_from: Time; observed_until: Time; gaps: string[]; granted: number | null; used: number; proposed: number; uses: PermissionUse[];
  proposal: { system: string; rules: { resource: string; capabilities: string[] }[]; unjustified: PermissionUse[] } | null;
  replay_days: number; replayed: number; would_have_refused: PermissionUse[]; artifact: { kind: string; text: string; apply: string; loses: string } | null; refused: string | null;
}
export interface PermissionUse { permission: string; resource: string; count: number; last_at: Time }

export interface Exception {
  id: string; credential: string | null; identity: string | null; policy: string; reason: string; ticket: string;
  until: Time | null; requested_by: string; requested_at: Time | null; approved_by: string | null; approved_at: Time | null;
  revoked_by: string | null; revoked_at: Time | null; state: "waiting" | "in force" | "ended" | "revoked";
  may_approve: boolean; why_not: string | null;                      // for who asks
}
// GET /v1/exceptions?state=&cursor= → Page<Exception>
// POST /v1/exceptions {credential? identity? policy, reason, ticket?, until} → Exception
// POST /v1/exceptions/{id}/approve → Exception     POST /v1/exceptions/{id}/revoke → Exception

// What an agent asks the broker for beyond policy; its objections are exceptions, decided together.
export interface Issuance {
  id: string; state: "waiting" | "approved" | "issued" | "refused" | "ended"; agent: string; owner: string; asked_by: string; identity: string; asked_at: Time | null;
  type: "token" | "certificate"; policies: string[]; rules: { path: string; capabilities: string[] }[]; role: string | null; name: string | null;
  lifetime_seconds: number; reason: string; objections: { policy: string; says: string[]; exception: string; approved: boolean }[];
  until: Time | null; decided_by: string | null; decided_at: Time | null; decided_why: string | null; issued_at: Time | null; ends_at: Time | null; accessor: string | null;
  may_approve: boolean; why_not: string | null; may_refuse: boolean;   // for who asks
}
// GET /v1/issuance?state= → {items: Issuance[]}
// POST /v1/issuance/{id}/approve {reason} → Issuance, role approver, not who asked    POST /v1/issuance/{id}/refuse {reason} → Issuance, roles approver, security

// GET /v1/policies → {items: Policy[]}   GET /v1/policies/{id} → PolicyDetail
export interface Policy {
  id: string; title: string; rationale: string; severity: Severity; mode: string; grace_seconds: number | null;
  match: "any" | "all";                                              // any: one condition is enough; all: it objects only when all hold
  metrics: { name: string; source: string; condition: string; threshold: string; unit: string }[];
  violators: number; trend: { at: Time; violators: number }[]; revision: string;
}
export interface PolicyDetail extends Policy { yaml: string; file: string; line: number; rego: { file: string; text: string }[]; owners: { owner: string | null; violators: number }[] }
// GET /v1/policies/{id}/whatif?metric=&threshold=&days=14 → WhatIf: now by today's measures, and on each of the last days as far as ClickHouse still knows
export interface WhatIf {
  metric: string; threshold: string; now: number; then: number; unknown: number; days: Day[]; no_days: string | null;   // no_days: why there are none
  ever_now: number; ever_then: number;                               // credentials past it on some of the days: with the threshold in force, with the other
  would_fall: Fallen[]; would_be_free: Fallen[];
}
export interface Day { at: Time; in_force: number; then: number; unknown: number; alive: number }   // oldest first, the last is now
export interface Fallen extends Credential { days_past: number; days_unknown: number; days_alive: number }

// GET /v1/sources → {items: Source[]}
export interface Source {
  source: string; instance: string; state: "well" | "trouble" | "silent"; trouble: string | null; last_heartbeat_at: Time; last_record_at: Time | null;
  silent_seconds: number; records: number; events: number; dead_letters: number; unknown: number; findings: { kind: string; subject: string; detail: string; since: Time }[];
}
// GET /v1/dead-letters?source=&reason=&cursor= → Page<DeadLetter>
export interface DeadLetter { id: string; source: string; instance: string; position: string; reason: string; detail: string; length: number; excerpt: string; observed_at: Time; replay: string }
// replay: the command that reads the record again

// GET /v1/audit?topic=&cursor= → {items: AuditEntry[], next, verified: {topic, entries, unbroken, broken_at: string|null, checked_at}[]}
export interface AuditEntry { topic: string; at: Time; who: string | null; what: string; key: string; hash: string }

// GET /v1/live: server-sent events. "status" (Status), "changed" ({what: "fleet" | "ladders" | "exceptions" | "sources" | "control", keys: string[]}): fetch again.

// GET /v1/fleet?state=active → application/octet-stream, little-endian, for pictures:
//   u32 header length, header (JSON, padded with spaces so that the body begins at a multiple of 8), body.
//   header: {as_of, now, count, total, columns: [{name, type: "f64"|"f32"|"u32"|"u16"|"u8", offset, length}], dictionaries: {owner: string[], source: string[], agent: string[], type: string[], policy: string[]}}
//   columns of `count` values: issued_at, expires_at (f64, unix ms; NaN unknown, +Infinity never), last_used_at (f64), scope_weight, scope_permissions,
//   unused_ratio, utilization, deviation (f32, NaN unknown), attempts (u32), uses_24h (u32), state, severity (u8: 0 none … 5 critical), owner, source, agent, type (u32 into dictionaries; 0xffffffff none),
//   worst_policy (u32), policies_at (u32 × count+1 into policies), policies (u32: all policies that each stands past), key_at (u32 × count+1 into the last column), keys (u8: all keys, UTF-8, one after another). Sorted by deviation, worst first.
// GET /v1/fleet/use?from=&to=&bucket= with repeated key= (at most 300) → {items: {key, buckets: [at ms, uses, denied][]}[]}: what the lanes show of what is in view.
