import { expect, test } from "vitest";
import type { Place, Reached, WayPoint } from "../../../lib/types";
import { counted, drawn, exposure, picture } from "./picture";

const place = (key: string, kind = "role"): Place => ({ key, kind, name: key, partly: null });
const step = (from: string, to: string, kind = "role"): WayPoint => ({ from: place(from), to: place(to, kind), certainty: "allowed", rule: "", does: "become it", evidence: "", sources: [], stays: false });
const reached: Reached = {
  start: place("token", "credential"),
  paths: [
    { to: place("prod", "sensitive"), certainty: "allowed", stays: false, steps: [step("token", "deploy"), step("deploy", "prod", "sensitive")] },
    { to: place("deploy"), certainty: "allowed", stays: false, steps: [step("token", "deploy")] },
  ],
};

test("each place stands once, further steps further right, and nothing overlaps", () => {
  const p = picture(reached, 900);
  expect(p.boxes.map((b) => b.place.key)).toEqual(["token", "deploy", "prod"]);
  expect(p.boxes[0].x).toBeLessThan(p.boxes[1].x);
  expect(p.boxes[1].x + p.boxes[1].w).toBeLessThan(p.boxes[2].x);
  expect(p.lines).toHaveLength(2);
  expect(p.width).toBeLessThanOrEqual(900);
});
test("where there is no room it is read from above and is no wider than the room", () => {
  const p = picture(reached, 320);
  expect(p.width).toBeLessThanOrEqual(320);
  expect(p.boxes.map((b) => b.y)).toEqual([...p.boxes.map((b) => b.y)].sort((a, b) => a - b));
});
test("many ways are not all drawn, and a way back to the start breaks nothing", () => {
  const many: Reached = { start: reached.start, paths: Array.from({ length: 40 }, (_, i) => ({ to: place(`p${i}`), certainty: "suggested", stays: false, steps: [step("token", `p${i}`), step(`p${i}`, "token")] })) };
  const p = picture(many, 900);
  expect(p.boxes).toHaveLength(drawn + 1);
  expect(p.left).toBe(40 - drawn);
});
test("nothing reached is one box", () => {
  expect(picture({ start: place("token"), paths: [] }, 500).boxes).toHaveLength(1);
});
test("counts and hours in words; unknown is never zero", () => {
  expect(counted(reached)).toEqual({ sensitive: 1, issuers: 0, secrets: 0, others: 1 });
  expect([exposure(null, false), exposure(null, true), exposure(0, false), exposure(0.5, false), exposure(47, false), exposure(240, false)]).toEqual(["unknown", "without end", "not at all", "30 min", "47 h", "10 days"]);
});
