import { expect, test } from "vitest";
import type { Credential, Measures } from "../../lib/types";
import { allowed, fine, life, reach, shown } from "./words";

const measures = (m: Partial<Measures>) => ({ scope_known: true, scope_permissions: 212, used_permissions: 3, ...m }) as Measures;

test("scope is told as what it can do and what it did", () => {
  expect(reach(measures({}))).toBe("It can do 212 things and has used 3.");
  expect(reach(measures({ scope_permissions: 1, used_permissions: 1 }))).toBe("It can do 1 thing and has used it.");
  expect(reach(measures({ used_permissions: 0 }))).toBe("It can do 212 things and has used none of them.");
});

test("what is unknown is never told as nothing", () => {
  expect(reach(measures({ scope_known: false }))).toContain("unknown");
  expect(reach(measures({ scope_permissions: null }))).toContain("unknown");
  expect(reach(measures({ used_permissions: null }))).toContain("unknown");
  expect(life({ state: "active", never_expires: false, seconds_left: null } as Credential)).toContain("unknown");
});

test("a limit is told as what it lets pass", () => {
  expect(allowed("greater_than", "1h")).toBe("at most 1h");
  expect(allowed("greater_or_equal", "5")).toBe("less than 5");
  expect(allowed("less_than", "10%")).toBe("at least 10%");
});

test("measured values are told in the units of policies", () => {
  expect(shown("seconds", 30 * 86400)).toBe("30 d");
  expect(shown("share", 0.5)).toBe("50%");
  expect(shown("count", 212)).toBe("212");
});

test("what a policy has nothing to object to is told as it is", () => {
  expect(fine("unresolved_identity")).toBe("somebody answers for it");
});
