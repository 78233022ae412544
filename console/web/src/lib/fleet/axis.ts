// Ticks of a time axis at times that people use, in the reader's zone.
const s = 1000, m = 60 * s, h = 60 * m, d = 24 * h;
const steps = [s, 5 * s, 15 * s, 30 * s, m, 5 * m, 15 * m, 30 * m, h, 3 * h, 6 * h, 12 * h, d, 2 * d, 7 * d, 14 * d];

const minutes = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const seconds = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const days = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const monthsOf = new Intl.DateTimeFormat("en-GB", { month: "short", year: "numeric" });
const years = new Intl.DateTimeFormat("en-GB", { year: "numeric" });

export interface Tick { at: number; label: string }

export function ticks(from: number, to: number, most: number): Tick[] {
  const wanted = (to - from) / Math.max(1, most);
  const out: Tick[] = [];
  const step = steps.find((x) => x >= wanted);
  if (step && step < d) {
    const begin = new Date(from);
    begin.setHours(0, 0, 0, 0);
    const first = begin.getTime() + Math.ceil((from - begin.getTime()) / step) * step;
    for (let at = first; at <= to; at += step) {
      const midnight = new Date(at).getHours() === 0 && new Date(at).getMinutes() === 0 && new Date(at).getSeconds() === 0;
      out.push({ at, label: (midnight ? days : step < m ? seconds : minutes).format(at) });
    }
    return out;
  }
  if (step) {
    const at = new Date(from);
    at.setHours(0, 0, 0, 0);
    const every = step / d;
    // By calendar day: a day on which the clocks change has not 24 hours.
    while (at.getTime() <= to) {
      if (at.getTime() >= from) out.push({ at: at.getTime(), label: days.format(at) });
      at.setDate(at.getDate() + every);
    }
    return out;
  }
  const months = [1, 2, 3, 6, 12, 24, 60, 120].find((x) => x * 30.4 * d >= wanted) ?? 120;
  const at = new Date(from);
  at.setHours(0, 0, 0, 0);
  at.setDate(1);
  at.setMonth(Math.floor(at.getMonth() / Math.min(months, 12)) * Math.min(months, 12));
  while (at.getTime() <= to) {
    if (at.getTime() >= from) out.push({ at: at.getTime(), label: (months >= 12 ? years : monthsOf).format(at) });
    at.setMonth(at.getMonth() + months);
  }
  return out;
}
