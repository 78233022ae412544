import { expect, test } from "vitest";
import { parse, parseDuration, scale, unitOf, write, writeDuration } from "./threshold";

test("durations are read the way policy files write them", () => {
  expect(parseDuration("90s")).toBe(90);
  expect(parseDuration("1h30m")).toBe(5400);
  expect(parseDuration("30d")).toBe(30 * 86400);
  expect(parseDuration("2w")).toBe(14 * 86400);
  expect(parseDuration("500ms")).toBe(0.5);
});

test("what policy files refuse is refused here", () => {
  for (const text of ["", "90", "soon", "1m1h", "1h 30m", "-1h", "1h1h", "h"]) expect(parseDuration(text), text).toBeNull();
  expect(parse("share", "120%")).toBeNull();
  expect(parse("count", "80%")).toBeNull();
  expect(parse("flag", "yes")).toBeNull();
});

test("a written threshold is read back as the same value", () => {
  for (const seconds of [60, 5400, 86400, 129600, 7 * 86400]) expect(parseDuration(writeDuration(seconds))).toBe(seconds);
  expect(parse("share", write("share", 0.8))).toBeCloseTo(0.8);
  expect(parse("count", write("count", 12))).toBe(12);
});

test("the slider reaches the threshold in force, and its ends lie on both sides of it", () => {
  for (const [metric, now] of [["credential_age", 3600], ["lifetime", 604800], ["permission_scope_complexity", 10], ["unused_permission_ratio", 0.5], ["utilization_ratio", 1.5]] as const) {
    const ruler = scale(unitOf(metric), now);
    const position = ruler.of(now);
    expect(position, metric).toBeGreaterThan(0);
    expect(position, metric).toBeLessThan(1);
    expect(Math.abs(ruler.at(position) - now) / now, metric).toBeLessThan(0.05);
    expect(ruler.at(0), metric).toBeLessThan(now);
    expect(ruler.at(1), metric).toBeGreaterThan(now);
  }
});
