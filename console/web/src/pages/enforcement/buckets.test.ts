import { expect, test } from "vitest";
import type { Enforcement } from "../../lib/types";
import { buckets } from "./buckets";

const now = Date.parse("2026-03-10T10:05:00Z");
const coming = (...minutes: number[]) => minutes.map((m): Enforcement["coming"][number] => ({ credential: `c${m}`, agent: null, owner: null, at: new Date(now + m * 60_000).toISOString(), collateral: 0, policies: [] }));

test("no revocation is lost or counted twice, whatever the distance", () => {
  for (const list of [coming(1, 2, 3), coming(5, 70, 110), coming(5, 600, 1300), coming(60, 1500, 20_000), coming(-30, 0, 500_000)]) {
    expect(buckets(list, now).flatMap((b) => b.items)).toHaveLength(list.length);
  }
});

test("what is near is told in minutes, what is far in days", () => {
  const size = (b: { from: number; to: number }) => (b.to - b.from) / 60_000;
  expect(size(buckets(coming(3, 9), now)[0])).toBe(1);
  expect(size(buckets(coming(30, 100), now)[0])).toBe(10);
  expect(size(buckets(coming(30, 4000), now)[1])).toBe(1440);
});

test("what is overdue stands first", () => {
  expect(buckets(coming(-60, 5), now)[0].items.map((c) => c.credential)).toContain("c-60");
});
