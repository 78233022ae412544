import { expect, test } from "vitest";
import type { Duty } from "../../lib/types";
import { groupOf, inside } from "./act";

const now = Date.parse("2026-03-10T10:00:00Z");
const duty = (by: string | null, severity: Duty["severity"] = "high") => ({ by, severity }) as Duty;

test("only addresses of this page are followed", () => {
  for (const href of ["https://evil.example", "//evil.example/x", "/\\evil.example", "javascript:alert(1)", "", null]) expect(inside(href), String(href)).toBeNull();
  const to = inside("/credential?key=vault%2Fprod%2Ftoken%2Fa&tab=scope");
  expect(to?.path).toBe("/credential");
  expect(to?.params.get("key")).toBe("vault/prod/token/a");
});

test("duties are grouped by how near their time is", () => {
  expect(groupOf(duty("2026-03-10T09:00:00Z"), now)).toBe("now");
  expect(groupOf(duty("2026-03-10T20:00:00Z"), now)).toBe("day");
  expect(groupOf(duty("2026-03-14T20:00:00Z"), now)).toBe("week");
  expect(groupOf(duty("2026-05-14T20:00:00Z"), now)).toBe("later");
  expect(groupOf(duty(null), now)).toBe("open");
});

test("what is critical and without a deadline does not wait behind what has one", () => {
  expect(groupOf(duty(null, "critical"), now)).toBe("now");
});
