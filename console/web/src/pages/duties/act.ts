// What a duty's button does, and how near its time is.
import type { Duty } from "../../lib/types";

/** The server names pages by path and query. Anything else is not followed. */
export function inside(href: string | null): { path: string; params: URLSearchParams } | null {
  if (!href || !href.startsWith("/") || href.startsWith("//") || href.startsWith("/\\")) return null;
  const [path, query = ""] = href.split("?", 2);
  return { path, params: new URLSearchParams(query) };
}

export type Group = "now" | "day" | "week" | "later" | "open";
export const groupNames: Record<Group, string> = {
  now: "Now", day: "In the next 24 hours", week: "This week", later: "Later", open: "Without a deadline",
};

export function groupOf(duty: Duty, now: number): Group {
  // What has no deadline because it is happening already does not wait behind what has one.
  if (duty.by === null) return duty.severity === "critical" ? "now" : "open";
  const left = Date.parse(duty.by) - now;
  if (left <= 0) return "now";
  return left <= 86_400_000 ? "day" : left <= 7 * 86_400_000 ? "week" : "later";
}
