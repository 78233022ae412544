// A policy's conditions in words.
import { duration } from "../../lib/format";
import type { Policy } from "../../lib/types";
import { metricName, objection, sourceName } from "../credential/words";
import { parseDuration } from "./threshold";

const flagged: Record<string, string> = {
  unresolved_identity: "nobody answers for it", issued_but_unused: "it was issued and never used", used_but_unissued: "it is used, but no log shows who issued it",
  usage_contradiction: "logs contradict each other about its use",
};

/** "age: more than 7 d (Vault)". */
export function rule(m: Policy["metrics"][number]): string {
  const of = m.source && m.source !== "any" ? ` (${sourceName(m.source)})` : "";
  if (flagged[m.name] && m.threshold === "true" && m.condition === "equals") return flagged[m.name] + of;
  const seconds = parseDuration(m.threshold);
  return `${metricName(m.name)}: ${objection(m.condition, seconds === null ? m.threshold : duration(seconds))}${of}`;
}

const modes: Record<string, string> = { observe: "only recorded", notify: "its owner is told", enforce: "told, then revoked" };
export const modeName = (mode: string): string => modes[mode] ?? mode;
