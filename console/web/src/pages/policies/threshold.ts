// Reads and writes thresholds the way policy files do: "90s", "1h30m", "30d", "80%", "5".
const units: [string, number][] = [["w", 604800], ["d", 86400], ["h", 3600], ["m", 60], ["s", 1], ["ms", 0.001]];

// Seconds, or null if it is no duration. A bare number is refused: nobody can tell seconds from hours in it.
export function parseDuration(text: string): number | null {
  const parts = [...text.trim().matchAll(/(\d+(?:\.\d+)?)(ms|[smhdw])/gy)];
  if (parts.length === 0 || parts.map(p => p[0]).join("") !== text.trim()) return null;
  let total = 0, last = Infinity;
  for (const [, digits, unit] of parts) {
    const size = units.find(u => u[0] === unit)![1];
    if (size >= last) return null;
    last = size;
    total += Number(digits) * size;
  }
  return total;
}

// "30d", "1h30m": at most two units, as a person writes it.
export function writeDuration(seconds: number): string {
  let rest = Math.max(0, Math.round(seconds)), text = "", parts = 0;
  for (const [unit, size] of units) {
    if (unit === "w" || unit === "ms" || parts === 2) continue;
    const n = Math.floor(rest / size);
    if (n > 0) { text += `${n}${unit}`; rest -= n * size; parts++; } else if (parts > 0) break;
  }
  return text || "0s";
}

export type Unit = "duration" | "share" | "ratio" | "count" | "flag";
const durations = ["credential_age", "lifetime", "remaining_validity", "idle_time", "rotation_age"];
const flags = ["unresolved_identity", "issued_but_unused", "used_but_unissued", "usage_contradiction"];
export function unitOf(metric: string): Unit {
  if (durations.includes(metric)) return "duration";
  if (flags.includes(metric)) return "flag";
  if (metric === "unused_permission_ratio") return "share";
  return metric === "utilization_ratio" ? "ratio" : "count";
}

export function parse(unit: Unit, text: string): number | null {
  const t = text.trim();
  if (unit === "duration") return parseDuration(t);
  if (unit === "flag") return t === "true" ? 1 : t === "false" ? 0 : null;
  const match = /^(\d+(?:\.\d+)?)(%?)$/.exec(t);
  if (!match || (unit === "count" && match[2])) return null;
  const value = Number(match[1]) / (match[2] ? 100 : 1);
  return unit === "share" && value > 1 ? null : value;
}

export function write(unit: Unit, value: number): string {
  if (unit === "duration") return writeDuration(value);
  if (unit === "flag") return value ? "true" : "false";
  return unit === "count" ? String(Math.round(value)) : `${Math.round(value * 100)}%`;
}

export const expected: Record<Unit, string> = {
  duration: "A time such as 90s, 15m, 1h or 30d.", share: "A share such as 80%.", ratio: "A ratio such as 80% or 150%.", count: "A number such as 5.", flag: "true or false.",
};

// Where the slider's ends are, around the threshold in force. Times and counts move by factors, shares in a line.
export function scale(unit: Unit, now: number): { at(position: number): number; of(value: number): number } {
  if (unit === "share" || unit === "ratio") {
    const top = unit === "share" ? 1 : Math.max(2, now * 2);
    return { at: p => p * top, of: v => Math.min(1, v / top) };
  }
  const low = unit === "duration" ? Math.min(60, Math.max(1, now / 10)) : 1;
  const high = unit === "duration" ? Math.max(90 * 86400, now * 4) : Math.max(500, now * 10);
  const span = Math.log(high / low);
  return { at: p => round(unit, low * Math.exp(p * span)), of: v => (v <= low ? 0 : Math.min(1, Math.log(v / low) / span)) };
}

// A slider that stops at 23h41m would be of no use: it stops at what people write.
function round(unit: Unit, value: number): number {
  if (unit !== "duration") return value < 20 ? Math.round(value) : Math.round(value / 5) * 5;
  const step = value < 600 ? 60 : value < 7200 ? 300 : value < 172800 ? 3600 : 86400;
  return Math.max(step === 60 ? 1 : step, Math.round(value / step) * step);
}
