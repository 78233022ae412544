// A policy's conditions in words.
import type { Policy } from "../../lib/types";
import { metricName, objection, sourceName } from "../credential/words";

const flagged: Record<string, string> = {
  unresolved_identity: "nobody answers for it", issued_but_unused: "it was issued and never used", used_but_unissued: "it is used, but no log shows who issued it",
  usage_contradiction: "logs contradict each other about its use",
};

/** "age is more than 1h (Vault)". */
export function rule(m: Policy["metrics"][number]): string {
  const of = m.source && m.source !== "any" ? ` (${sourceName(m.source)})` : "";
  if (flagged[m.name] && m.threshold === "true" && m.condition === "equals") return flagged[m.name] + of;
  return `${metricName(m.name)} is ${objection(m.condition, m.threshold)}${of}`;
}

const modes: Record<string, string> = { observe: "only recorded", notify: "its owner is told", enforce: "told, then revoked" };
export const modeName = (mode: string): string => modes[mode] ?? mode;
