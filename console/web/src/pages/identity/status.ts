// Whether somebody answers for an identity, in words.
import type { IdentitySummary } from "../../lib/types";

export const statuses: Record<IdentitySummary["status"], { word: string; mark: string }> = {
  owned: { word: "one owner", mark: "●" }, unowned: { word: "nobody answers", mark: "○" }, conflict: { word: "claims contradict", mark: "▲" },
};
export const confidences: Record<string, string> = { proven: "proven", asserted: "said by the catalog", inferred: "only claimed or guessed" };
export const kinds: Record<string, string> = {
  same_as: "is the same as", issued_to: "was issued to", derived_from: "was derived from", owned_by: "is answered for by", recorded_in: "is recorded in",
};
export const kindName = (kind: string): string => kinds[kind.toLowerCase()] ?? kind.replaceAll("_", " ");
