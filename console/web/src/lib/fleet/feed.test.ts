import { describe, expect, it } from "vitest";
// @ts-expect-error: plain JavaScript without types
import { feed } from "../../../mock/feed.mjs";
import { FeedError, named, none, parse } from "./feed";

const c = (o: object) => ({
  key: "k", source: "vault", instance: "prod", type: "token", agent: "a", owner: "o", issued: 1000, expires: 2000, never: false, lastUsed: 1500, weight: 4, permissions: 2,
  unused: 0.5, utilization: 1, deviation: 0, attempts: 0, uses24: 3, state: "active", severity: null, violations: [], ...o,
});
const buffer = (list: object[]) => {
  const b: Buffer = feed(list, 1_700_000_000_000);
  return b.buffer.slice(b.byteOffset, b.byteOffset + b.byteLength) as ArrayBuffer;
};

describe("the fleet's feed", () => {
  it("gives each column's values and each key", () => {
    const f = parse(buffer([c({ key: "vault/prod/token/é", severity: "critical", attempts: 7, violations: [{ policy: "p" }] }), c({ key: "b", agent: "other" })]));
    expect(f.count).toBe(2);
    expect(f.now).toBe(1_700_000_000_000);
    expect([f.key(0), f.key(1)]).toEqual(["vault/prod/token/é", "b"]);
    expect(named(f, "agent", 1)).toBe("other");
    expect(named(f, "policy", 0)).toBe("p");
    expect([...f.attempts]).toEqual([7, 0]);
    expect([...f.severity]).toEqual([5, 0]);
  });
  it("tells unknown from zero and from never", () => {
    const f = parse(buffer([c({ issued: null, expires: null, owner: null, utilization: null, weight: null }), c({ never: true, utilization: 0 })]));
    expect(f.issuedAt[0]).toBeNaN();
    expect(f.expiresAt[0]).toBeNaN();
    expect(f.utilization[0]).toBeNaN();
    expect(f.weight[0]).toBeNaN();
    expect(f.owner[0]).toBe(none);
    expect(named(f, "owner", 0)).toBeNull();
    expect(f.expiresAt[1]).toBe(Infinity);
    expect(f.utilization[1]).toBe(0);
  });
  it("reads an empty fleet", () => {
    expect(parse(buffer([])).count).toBe(0);
  });
  it("reads columns at offsets that their type can not have", () => {
    const whole = buffer([c({}), c({ weight: 9 })]);
    // The header grows by one byte, so that nothing is aligned any more.
    const length = new DataView(whole).getUint32(0, true);
    const shifted = new Uint8Array(whole.byteLength + 1);
    shifted.set(new Uint8Array(whole, 0, 4 + length));
    shifted[4 + length] = 32;
    shifted.set(new Uint8Array(whole, 4 + length), 5 + length);
    new DataView(shifted.buffer).setUint32(0, length + 1, true);
    expect([...parse(shifted.buffer).weight]).toEqual([4, 9]);
  });
  it("refuses what is cut off, and what lacks a column", () => {
    const whole = buffer([c({}), c({})]);
    expect(() => parse(whole.slice(0, whole.byteLength - 20))).toThrow(FeedError);
    expect(() => parse(whole.slice(0, 60))).toThrow(FeedError);
    expect(() => parse(new ArrayBuffer(0))).toThrow(FeedError);
    const broken = new TextDecoder("latin1").decode(whole).replace('"issued_at"', '"issuad_at"');
    expect(() => parse(Uint8Array.from(broken, (x) => x.charCodeAt(0)).buffer)).toThrow(/issued_at/);
  });
});
