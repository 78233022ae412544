import { describe, expect, it } from "vitest";
import { leftAt, neverAt, scopeAt, unknownAt, useAt } from "../../pages/fleet/space/axes";

describe("the space", () => {
  it("has what is unknown on a plane outside of every axis", () => {
    for (const at of [leftAt, scopeAt, useAt]) {
      expect(at(NaN)).toBe(unknownAt);
      expect(at(0)).toBe(0);
      expect(at(1e12)).toBe(100);
    }
    expect(unknownAt).toBeLessThan(0);
  });
  it("has what never expires beyond the longest", () => {
    expect(leftAt(Infinity)).toBe(neverAt);
    expect(neverAt).toBeGreaterThan(leftAt(1e12));
  });
});
