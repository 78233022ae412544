import { expect, test } from "vitest";
import type { Event, LadderStep } from "../../lib/types";
import { keyed } from "./keyed";
import { daily, story } from "./story";

const event = (id: string, kind: string, at: string, permission: string): Event => ({
  id, kind, at, observed_at: at, source: "vault", instance: "prod", action: "read", permission, resource: "", outcome: "success", error: "", record_id: id, position: "", actor: null, remote_address: "", labels: {}, flag: "",
});
const step = (at: string): LadderStep => ({ at, state: "notified", label: "owner told", reason: "", proof: null, error: null, told: [] });

test("the same use again and again within an hour is one line that still holds every record", () => {
  const moments = story([event("4", "used", "2026-01-01T03:40:00Z", "read a"), event("3", "used", "2026-01-01T03:30:00Z", "read b"), event("2", "used", "2026-01-01T03:20:00Z", "read a"), event("1", "used", "2026-01-01T02:50:00Z", "read a")], [], true);
  expect(moments.map((m) => [m.title, m.times])).toEqual([["Used: read a", 2], ["Used: read b", 1], ["Used: read a", 1]]);
  expect(moments[0].events.map((e) => e.id)).toEqual(["4", "2"]);
  expect(moments[0].since).toBe("2026-01-01T03:20:00Z");
});

test("issues and revocations never fold into one line", () => {
  expect(story([event("2", "issued", "2026-01-01T02:10:00Z", ""), event("1", "issued", "2026-01-01T02:00:00Z", "")], [], true)).toHaveLength(2);
});

test("what Leastwise did stands where it happened, and waits for the page of events that belongs to its time", () => {
  const events = [event("2", "used", "2026-01-03T00:00:00Z", "a"), event("1", "used", "2026-01-02T00:00:00Z", "b")];
  const steps = [step("2026-01-02T12:00:00Z"), step("2026-01-01T00:00:00Z")];
  expect(story(events, steps, false).map((m) => m.kind)).toEqual(["used", "step", "used"]);
  expect(story(events, steps, true).map((m) => m.kind)).toEqual(["used", "step", "used", "step"]);
});

test("a day's uses and refusals are summed", () => {
  const hours = [{ at: "2026-01-01T01:00:00Z", uses: 2, denied: 0 }, { at: "2026-01-02T01:00:00Z", uses: 5, denied: 1 }, { at: "2026-01-01T02:00:00Z", uses: 3, denied: 4 }];
  expect(daily(hours)).toEqual({ uses: [5, 5], denied: [4, 1] });
});

test("rows that share a name get keys of their own", () => {
  const rows = [{ n: "a" }, { n: "a" }, { n: "b" }];
  const key = keyed(rows, (r) => r.n);
  expect(new Set(rows.map(key)).size).toBe(3);
  expect(key(rows[0])).toBe("a");
});
