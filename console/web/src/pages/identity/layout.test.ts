import { expect, test } from "vitest";
import type { Identity } from "../../lib/types";
import { fit, layout } from "./layout";

const nodes: Identity["nodes"] = [{ name: "a", kind: "agent", label: "a" }, { name: "v", kind: "vault", label: "v" }, { name: "s", kind: "spiffe", label: "s" }, { name: "o", kind: "owner", label: "o" }];
const link = (from: string, to: string): Identity["links"][number] => ({ from, to, kind: "same_as", confidence: "proven", at: "2026-01-01T00:00:00Z", evidence: "", retracted: false });

test("boxes never overlap and stay within the width", () => {
  for (const width of [320, 700, 1200]) {
    const { boxes } = layout(nodes, [link("a", "v"), link("v", "s"), link("a", "o")], width);
    for (const b of boxes) expect(b.x + b.w).toBeLessThanOrEqual(width + 0.001);
    for (const [i, b] of boxes.entries()) for (const c of boxes.slice(i + 1)) {
      const apart = b.x + b.w <= c.x || c.x + c.w <= b.x || b.y + b.h <= c.y || c.y + c.h <= b.y;
      expect(apart, `${width}: ${b.name} and ${c.name}`).toBe(true);
    }
  }
});

test("a link to a name that was not told still has both its ends", () => {
  const { boxes, lines } = layout(nodes, [link("a", "stranger")], 800);
  expect(boxes.map((b) => b.name)).toContain("stranger");
  expect(lines).toHaveLength(1);
});

test("a long name keeps its beginning and its end", () => {
  expect(fit("abcdefghijklmnopqrstuvwxyz", 100, 10)).toBe("abcdef…xyz");
  expect(fit("short", 100, 10)).toBe("short");
});
