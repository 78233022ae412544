// A request at the broker in words.
import type { Issuance } from "../../lib/types";

/** What shall be issued: "a token with policy wide and 2 rules". */
export function asked(x: Issuance): string {
  if (x.type === "certificate") return `a certificate for ${x.name ?? "an unknown name"} by role ${x.role ?? "unknown"}`;
  const parts = [];
  if (x.policies.length) parts.push(`${x.policies.length === 1 ? "policy" : "policies"} ${x.policies.join(", ")}`);
  if (x.rules.length) parts.push(`${x.rules.length === 1 ? "a rule of its own" : `${x.rules.length} rules of its own`}`);
  return `a token${parts.length ? ` with ${parts.join(" and ")}` : ""}`;
}

const order: [Issuance["state"], string, string][] = [
  ["waiting", "Waiting for a decision", "Nothing is issued until somebody else approves it."],
  ["approved", "Approved, not fetched yet", "The broker issues it when the agent asks again."],
  ["issued", "Issued", ""],
  ["refused", "Refused", ""],
  ["ended", "Ended without being issued", "Nobody decided, or the agent did not come back, in time."],
];
export const states = order.map(([id, title, note]) => ({ id, title, note }));

export const has = (x: Issuance, text: string) =>
  !text || `${x.id} ${x.agent} ${x.owner} ${x.asked_by} ${x.reason} ${x.policies.join(" ")} ${x.role ?? ""} ${x.name ?? ""} ${x.objections.map((o) => o.policy).join(" ")}`.toLowerCase().includes(text.toLowerCase());
