// Figures and times in words. null is unknown and never zero.
import type { Time } from "./types";

export const unknown = "unknown";

const known = (n: number | null | undefined): n is number => n !== null && n !== undefined && Number.isFinite(n);

/** "30 d", "2 h 5 min", "1.5 s". Two units at most. */
export function duration(seconds: number | null | undefined): string {
  if (seconds === Infinity) return "for ever";
  if (!known(seconds)) return unknown;
  const sign = seconds < 0 ? "−" : "";
  let s = Math.abs(seconds);
  if (s < 10) return `${sign}${Number(s.toFixed(1))} s`;
  s = Math.round(s);
  if (s < 60) return `${sign}${s} s`;
  if (s < 3600) return sign + two(s, 60, "min", 1, "s", 10);
  if (s < 86_400) return sign + two(s, 3600, "h", 60, "min", 10);
  if (s < 86_400 * 730) return sign + two(s, 86_400, "d", 3600, "h", 10);
  return `${sign}${Number((s / 31_557_600).toFixed(1))} years`;
}

function two(s: number, big: number, bigName: string, small: number, smallName: string, upTo: number): string {
  const a = Math.floor(s / big);
  const b = Math.floor((s - a * big) / small);
  return b === 0 || a >= upTo ? `${count(Math.round(s / big))} ${bigName}` : `${a} ${bigName} ${b} ${smallName}`;
}

const inZone = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" });
const inUtc = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", timeZone: "UTC" });

/** In the reader's zone. Put utc() into the title beside it. */
export function when(t: Time | null | undefined): string {
  const ms = t ? Date.parse(t) : NaN;
  return Number.isNaN(ms) ? unknown : inZone.format(ms);
}

export function utc(t: Time | null | undefined): string {
  const ms = t ? Date.parse(t) : NaN;
  return Number.isNaN(ms) ? unknown : `${inUtc.format(ms)} UTC`;
}

/** "in 3 h", "5 d ago". */
export function relative(t: Time | null | undefined, now: number = Date.now()): string {
  const ms = t ? Date.parse(t) : NaN;
  if (Number.isNaN(ms)) return unknown;
  const s = (ms - now) / 1000;
  if (Math.abs(s) < 5) return "now";
  return s > 0 ? `in ${duration(s)}` : `${duration(-s)} ago`;
}

const whole = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en-GB", { maximumSignificantDigits: 3 });

export function count(n: number | null | undefined): string {
  if (!known(n)) return unknown;
  return Number.isInteger(n) ? whole.format(n) : short.format(n);
}

/** 0.5 is "50%". */
export function percent(ratio: number | null | undefined): string {
  if (!known(ratio)) return unknown;
  const p = ratio * 100;
  if (p !== 0 && Math.abs(p) < 1) return "under 1%";
  return `${whole.format(p)}%`;
}
