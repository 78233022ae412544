import { describe, expect, it } from "vitest";
import type { Issuance } from "../../lib/types";
import { asked, has } from "./words";

const request = (change: Partial<Issuance>): Issuance => ({
  id: "iss-1", state: "waiting", agent: "ingest", owner: "data", asked_by: "spiffe://x/ingest", identity: "", asked_at: null, type: "token", policies: [], rules: [], role: null, name: null,
  lifetime_seconds: 60, reason: "The import", objections: [{ policy: "long", says: [], exception: "ex-1", approved: false }], until: null, decided_by: null, decided_at: null, decided_why: null,
  issued_at: null, ends_at: null, accessor: null, may_approve: false, why_not: null, may_refuse: false, ...change,
});

describe("a request in words", () => {
  it("says what shall be issued", () => {
    expect(asked(request({ policies: ["wide"] }))).toBe("a token with policy wide");
    expect(asked(request({ policies: ["a", "b"], rules: [{ path: "x", capabilities: ["read"] }] }))).toBe("a token with policies a, b and a rule of its own");
    expect(asked(request({ type: "certificate", role: "web", name: "a.example.org" }))).toBe("a certificate for a.example.org by role web");
  });
  it("is found by what stands in it", () => {
    for (const text of ["", "IMPORT", "long", "iss-1"]) expect(has(request({}), text), text).toBe(true);
    expect(has(request({}), "elsewhere")).toBe(false);
  });
});
