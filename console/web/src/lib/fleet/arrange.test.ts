import { describe, expect, it } from "vitest";
// @ts-expect-error: plain JavaScript without types
import { feed } from "../../../mock/feed.mjs";
// @ts-expect-error: plain JavaScript without types
import { fleet } from "../../../mock/fleet.mjs";
import { arrange, choose, rowAt, span, thickness } from "./arrange";
import { named, parse } from "./feed";
import { standsOut } from "./stands";

const now = Date.UTC(2026, 10, 21);
const made = fleet({ n: 1500, seed: 3, now });
const bytes: Buffer = feed(made.list, now);
const f = parse(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer);
const all = choose(f, {});

describe("rows", () => {
  it("begin with the one farthest from policy", () => {
    const rows = arrange(f, all, "deviation", "");
    for (let r = 1; r < rows.order.length; r++) expect(f.deviation[rows.order[r]]).toBeLessThanOrEqual(f.deviation[rows.order[r - 1]]);
  });
  it("do not overlap and are found by their height", () => {
    const rows = arrange(f, all, "scope_weight", "owner");
    for (let r = 1; r < rows.order.length; r++) expect(rows.y[r]).toBeGreaterThanOrEqual(rows.y[r - 1] + rows.h[r - 1] - 0.01);
    for (const r of [0, 1, 700, rows.order.length - 1]) expect(rowAt(rows, rows.y[r] + rows.h[r] / 2)).toBe(r);
  });
  it("put what is unknown last, whichever way they are sorted", () => {
    for (const [sort, column] of [["scope_weight", f.weight], ["utilization", f.utilization], ["seconds_left", f.expiresAt]] as const) {
      const rows = arrange(f, all, sort, "");
      const firstUnknown = rows.order.findIndex((i) => Number.isNaN(column[i]));
      expect(firstUnknown).toBeGreaterThan(0);
      for (let r = firstUnknown; r < rows.order.length; r++) expect(column[rows.order[r]]).toBeNaN();
    }
  });
  it("hold every chosen credential once, in groups too", () => {
    for (const g of ["", "owner", "source", "agent", "policy"] as const) expect([...arrange(f, all, "deviation", g).order].sort((a, b) => a - b)).toEqual([...all]);
  });
  it("are found by any policy that they stand past, not by the worst alone", () => {
    const two = made.list.find((c: any) => new Set(c.violations.map((v: any) => v.policy)).size > 1);
    for (const v of two.violations) expect([...choose(f, { policy: v.policy })].map((i) => f.key(i))).toContain(two.key);
    expect([...choose(f, { policy: "nonesuch" })]).toEqual([]);
    const some = choose(f, { policy: "probing-agent" });
    expect(some.length).toBe(made.list.filter((c: any) => c.violations.some((v: any) => v.policy === "probing-agent")).length);
  });
  it("are the thicker, the broader", () => {
    expect(thickness(790)).toBeGreaterThan(3 * thickness(6));
    expect(thickness(NaN)).toBeGreaterThan(0);
  });
});

describe("choosing", () => {
  it("keeps only what it was asked for", () => {
    for (const i of choose(f, { owner: "data-team", q: "vault" })) expect(named(f, "owner", i)).toBe("data-team");
    expect(choose(f, { owner: "nobody-of-that-name" })).toHaveLength(0);
    const unowned = choose(f, { owner: "unknown" });
    expect(unowned.length).toBeGreaterThan(0);
    for (const i of unowned) expect(named(f, "owner", i)).toBeNull();
  });
});

describe("the time shown", () => {
  it("has now inside", () => {
    const [from, to] = span(f, all);
    expect(from).toBeLessThan(f.now);
    expect(to).toBeGreaterThan(f.now);
  });
});

describe("what stands out", () => {
  it("names what the selected ones share and the others do not", () => {
    const some = all.filter((i) => named(f, "type", i) === "x509_svid").slice(0, 30);
    // All of that type come from one source, so that both stand first.
    expect(standsOut(f, all, some).slice(0, 2).map((s) => s.name).sort()).toEqual(["spire/prod", "x509_svid"]);
  });
  it("says nothing about a fair sample", () => {
    const sample = all.filter((_, n) => n % 3 === 0);
    expect(standsOut(f, all, sample).length).toBeLessThanOrEqual(2);
  });
  it("says nothing when there is nothing to compare", () => {
    expect(standsOut(f, all, all)).toEqual([]);
    expect(standsOut(f, all, new Uint32Array())).toEqual([]);
  });
});
