import { describe, expect, it } from "vitest";
import { few, fewFirst } from "./few";

const all = Uint32Array.from({ length: 60_000 }, (_, i) => i);

describe("what is drawn while the space moves", () => {
  it("leaves a small fleet as it is", () => {
    const small = all.subarray(0, few);
    expect(fewFirst(small, null)).toBe(small);
  });
  it("loses none and doubles none", () => {
    expect([...fewFirst(all, null)].sort((a, b) => a - b)).toEqual([...all]);
  });
  it("holds the farthest from policy, and the others evenly", () => {
    const first = fewFirst(all, null).subarray(0, few);
    expect([...first.subarray(0, few / 2)]).toEqual([...all.subarray(0, few / 2)]);
    for (let part = 0; part < 5; part++) {
      const n = first.filter((i) => i >= 10_000 * (part + 1) && i < 10_000 * (part + 2)).length;
      const even = (few / 2) / 6;
      expect(n).toBeGreaterThan(0.8 * even);
      expect(n).toBeLessThan(1.2 * even);
    }
  });
  it("is always the same", () => expect(fewFirst(all, null)).toEqual(fewFirst(all, null)));
  it("holds what is selected", () => {
    const selected = new Uint8Array(all.length);
    const some = few / 10;
    for (let i = 50_000; i < 50_000 + some; i++) selected[i] = 1;
    const first = new Set(fewFirst(all, selected).subarray(0, few));
    for (let i = 50_000; i < 50_000 + some; i++) expect(first.has(i)).toBe(true);
  });
});
