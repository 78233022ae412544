// A credential of the feed in words.
import { count, duration, percent } from "../../lib/format";
import { named, severities, type Fleet } from "../../lib/fleet/feed";

export function who(f: Fleet, i: number): { agent: string; owner: string; source: string; type: string } {
  return {
    agent: named(f, "agent", i) ?? "unknown agent",
    owner: named(f, "owner", i) ?? "owner unknown",
    source: named(f, "source", i) ?? "unknown source",
    type: (named(f, "type", i) ?? "credential").replaceAll("_", " "),
  };
}

export function lifeOf(f: Fleet, i: number): string {
  const a = f.issuedAt[i], e = f.expiresAt[i];
  const age = Number.isNaN(a) ? "its age is unknown" : `it is ${duration((f.now - a) / 1000)} old`;
  if (e === Infinity) return `It never expires; ${age}.`;
  if (Number.isNaN(e)) return `When it expires is unknown; ${age}.`;
  return e > f.now ? `It works for another ${duration((e - f.now) / 1000)}; ${age}.` : `It has expired; ${age}.`;
}

export function scopeOf(f: Fleet, i: number): string {
  const n = f.permissions[i];
  if (Number.isNaN(n)) return "What it may do is unknown.";
  const unused = f.unused[i];
  return `It may do ${count(n)} ${n === 1 ? "thing" : "things"}${Number.isNaN(unused) ? "; which of them it uses is unknown" : unused === 0 ? " and uses all of them" : `, ${percent(unused)} of them never used`}.`;
}

export function useOf(f: Fleet, i: number): string {
  const u = f.utilization[i];
  const uses = `${count(f.uses24h[i])} ${f.uses24h[i] === 1 ? "use" : "uses"} in the last day`;
  return Number.isNaN(u) ? `${uses}; what to expect is unknown.` : `${uses}, ${percent(u)} of what is expected.`;
}

export const attemptsOf = (f: Fleet, i: number): string => (f.attempts[i] ? `Tried ${count(f.attempts[i])} ${f.attempts[i] === 1 ? "thing" : "things"} it was not granted.` : "");

/** One sentence: why it stands where it stands. */
export function why(f: Fleet, i: number): string {
  if (f.severity[i] === 0) return "Within policy.";
  const policy = named(f, "policy", i);
  const far = f.deviation[i];
  const distance = Number.isNaN(far) || far === 0 ? "" : far < 1 ? `, ${percent(far)} over its limit` : `, ${count(Math.round(far + 1))} times its limit`;
  return `Beyond ${policy ?? "a policy"}${distance} (${severities[f.severity[i]]}).`;
}

/** The mark of attempts in text: the shape that the pictures draw. */
export const attemptMark = (n: number): string => (n >= 4 ? "▲" : n > 0 ? "◆" : "");
