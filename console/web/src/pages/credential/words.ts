// What a credential is and does, said in sentences for somebody who has never seen the product.
import type { Credential, Event, Measures, State, Unit, Violation } from "../../lib/types";
import { count, duration, percent } from "../../lib/format";

const types: Record<string, string> = {
  token: "token", lease: "lease", certificate: "certificate", cert: "certificate", access_key: "access key", sts_session: "session",
  session: "session", service_account_key: "service-account key", x509_svid: "X.509 identity document", jwt_svid: "JWT identity document", jwt: "JWT",
};
const sources: Record<string, string> = {
  vault: "Vault", aws: "AWS", cloudtrail: "AWS CloudTrail", gcp: "Google Cloud", gcpaudit: "Google Cloud audit log", spire: "SPIRE",
  certlog: "certificate transparency log", jwt: "JWT registry", jwtregistry: "JWT registry", agentusage: "agents' own logs", iam: "AWS and Google Cloud", leastwise: "Leastwise",
};

export const sourceName = (source: string): string => sources[source] ?? source;
export const typeName = (type: string): string => types[type] ?? type.replaceAll("_", " ");

const states: Record<State, string> = { active: "in force", expired: "expired", revoked: "revoked", unknown: "unknown whether in force" };
export const stateName = (state: State): string => states[state] ?? state;

export const plural = (n: number, one: string, many = one + "s"): string => `${count(n)} ${n === 1 ? one : many}`;

// "It can do 212 things and has used 3."
export function reach(m: Measures): string {
  if (!m.scope_known || m.scope_permissions === null) return "What it can do is unknown.";
  const granted = plural(m.scope_permissions, "thing");
  if (m.used_permissions === null) return `It can do ${granted}; which of them it has used is unknown.`;
  if (m.used_permissions === 0 && m.uses > 0) return `It can do ${granted}. It is used, but no record tells which of them it was used for.`;
  if (m.used_permissions === 0) return `It can do ${granted} and has used none of them.`;
  if (m.used_permissions >= m.scope_permissions) return `It can do ${granted} and has used ${m.scope_permissions === 1 ? "it" : "all of them"}.`;
  return `It can do ${granted} and has used ${count(m.used_permissions)}.`;
}

// "It works for 12 more days." Never a zero for what is not known.
export function life(c: Credential): string {
  if (c.state === "revoked") return "It was revoked and works no more.";
  if (c.state === "expired") return "It has expired and works no more.";
  if (c.never_expires) return "It never expires.";
  if (c.seconds_left === null) return "When it expires is unknown.";
  return c.seconds_left > 0 ? `It works for another ${duration(c.seconds_left)}.` : "Its time is over.";
}

export function use(m: Measures): string {
  if (m.uses_24h > 0) return `It was used ${plural(m.uses_24h, "time")} in the last day.`;
  if (m.uses_30d > 0) return `It was not used in the last day, but ${plural(m.uses_30d, "time")} in the last 30.`;
  return m.uses > 0 ? "It was not used in the last 30 days." : "No use of it was seen.";
}

export function refusals(m: Measures): string {
  if (m.attempts === 0) return "It has not tried anything it may not do.";
  return `It tried ${plural(m.attempts, "thing")} it may not do, ${plural(m.denied, "time")} in all.`;
}

/** A measured value as a person reads it. */
export const shown = (unit: Unit, value: number): string => (unit === "seconds" ? duration(value) : unit === "share" || unit === "ratio" ? percent(value) : count(value));

/** What is so or not so, and has no measure. */
export const isFlag = (threshold: string): boolean => ["true", "false", "yes", "no"].includes(threshold);

// What a policy lets pass, told from the condition under which it objects: "at most 1h".
const allowedBy: Record<string, string> = {
  greater_than: "at most", greater_or_equal: "less than", less_than: "at least", less_or_equal: "more than", equals: "anything but", not_equals: "exactly",
};
export function allowed(condition: string, threshold: string): string {
  return `${allowedBy[condition] ?? condition.replaceAll("_", " ")} ${threshold}`;
}
const objects: Record<string, string> = {
  greater_than: "more than", greater_or_equal: "at least", less_than: "less than", less_or_equal: "at most", equals: "exactly", not_equals: "anything but",
};
// The same from the other side: the policy objects when it is "more than 1h".
export function objection(condition: string, threshold: string): string {
  return `${objects[condition] ?? condition.replaceAll("_", " ")} ${threshold}`;
}

const metrics: Record<string, string> = {
  credential_age: "age", lifetime: "time from issue to expiry", remaining_validity: "time left", permission_scope_complexity: "things it can do",
  scope_weight: "weight of what it can do", unused_permission_ratio: "share never used", idle_time: "time since last use",
  utilization_ratio: "use against what is expected", elevation_attempts: "things tried without permission", novelty: "kinds of use seen for the first time",
  rotation_age: "time since last rotation", unresolved_identity: "nobody answers for it", issued_but_unused: "issued, never seen in use",
  used_but_unissued: "used, but no log shows who issued it", usage_contradiction: "logs contradict each other about its use",
};
export const metricName = (metric: string): string => metrics[metric] ?? metric.replaceAll("_", " ");

// What is so when the policy has nothing to object to.
const contrary: Record<string, string> = {
  unresolved_identity: "somebody answers for it", issued_but_unused: "it has been used", used_but_unissued: "a log shows who issued it", usage_contradiction: "logs agree about its use",
};
export const fine = (metric: string): string => contrary[metric] ?? `not so: ${metricName(metric)}`;

// The four measures, and which metrics of policies speak of each.
export const measureOf: Record<"life" | "scope" | "use" | "attempts", string[]> = {
  life: ["credential_age", "lifetime", "remaining_validity", "rotation_age"],
  scope: ["permission_scope_complexity", "scope_weight", "unused_permission_ratio"],
  use: ["utilization_ratio", "idle_time", "issued_but_unused", "used_but_unissued", "usage_contradiction"],
  attempts: ["elevation_attempts", "novelty"],
};
export const violationsOf = (all: Violation[], measure: keyof typeof measureOf): Violation[] => all.filter(v => measureOf[measure].includes(v.metric));

const kinds: Record<string, string> = {
  issued: "Issued", renewed: "Renewed", rotated: "Rotated", used: "Used", denied: "Refused", revoked: "Revoked", expired: "Expired",
  observed: "Seen in an inventory", linked: "Issued another credential", noted: "Looked at itself", unknown: "Something this release does not know",
  step: "Leastwise",
};
export const kindName = (kind: string): string => kinds[kind.toLowerCase()] ?? kind;

// What happened, in one line: the verb, on what.
export function happened(e: Event): string {
  const what = e.permission || [e.action, e.resource].filter(Boolean).join(" ");
  const kind = e.kind.toLowerCase();
  if (kind === "denied") return what ? `Refused: ${what}` : "Refused";
  if (kind === "used") return (what ? `Used: ${what}` : "Used") + (e.outcome === "failure" ? " (allowed, but failed)" : "");
  return what ? `${kindName(kind)}: ${what}` : kindName(kind);
}
