// The calendar of coming revocations: days, or hours and minutes when all of them are near.
import type { Enforcement } from "../../lib/types";

export interface Bucket { from: number; to: number; label: string; items: Enforcement["coming"] }

const minute = 60_000, hour = 60 * minute, day = 24 * hour;
const dayName = new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric", month: "short" });
const hourName = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });

/** Empty buckets stay, so that the eye sees when nothing happens; what is overdue is in the first. */
export function buckets(coming: Enforcement["coming"], now: number): Bucket[] {
  if (coming.length === 0) return [];
  const times = coming.map((c) => Date.parse(c.at));
  const last = Math.max(...times);
  const ahead = last - now;
  const size = ahead <= 12 * minute ? minute : ahead <= 2 * hour ? 10 * minute : ahead <= 24 * hour ? 2 * hour : day;
  const start = new Date(now);
  if (size === day) start.setHours(0, 0, 0, 0);
  else start.setTime(Math.floor(now / size) * size);
  const list: Bucket[] = [];
  // A day that is 23 or 25 hours long is one day all the same.
  for (let i = 0, from = start.getTime(); (from <= last || i < 7) && i < 60; i++) {
    const next = new Date(from);
    if (size === day) next.setDate(next.getDate() + 1);
    else next.setTime(from + size);
    list.push({ from, to: next.getTime(), label: size === day ? dayName.format(from) : hourName.format(from), items: [] });
    from = next.getTime();
  }
  for (const c of coming) {
    const at = Date.parse(c.at);
    (list.find((b) => at < b.to) ?? list[list.length - 1]).items.push(c);
  }
  return list;
}
