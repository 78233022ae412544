// Where a credential stands in the space of remaining time, scope and use, and the scales along its edges.
import type { Fleet } from "../../../lib/fleet/feed";

/** Each axis goes from 0 to 100. What is unknown stands on a plane of its own outside of it, never at zero. */
export const unknownAt = -22, neverAt = 116;

const clamp = (x: number) => Math.max(0, Math.min(100, x));
const minute = 60, year = 31_557_600;
export const leftAt = (seconds: number): number => {
  if (seconds === Infinity) return neverAt;
  if (Number.isNaN(seconds)) return unknownAt;
  return seconds <= minute ? 0 : clamp((100 * Math.log(seconds / minute)) / Math.log((3 * year) / minute));
};
export const scopeAt = (weight: number): number => (Number.isNaN(weight) ? unknownAt : clamp((100 * Math.log1p(weight)) / Math.log1p(1000)));
export const useAt = (ratio: number): number => (Number.isNaN(ratio) ? unknownAt : ratio <= 0.01 ? 0 : clamp((100 * Math.log(ratio / 0.01)) / Math.log(10 / 0.01)));

export const marks = {
  left: [[60, "1 min"], [3600, "1 h"], [86400, "1 d"], [7 * 86400, "7 d"], [30 * 86400, "30 d"], [year, "1 year"]].map(([s, label]) => ({ at: leftAt(s as number), label: label as string })),
  scope: [1, 10, 100, 1000].map((w) => ({ at: scopeAt(w), label: String(w) })),
  use: [[0.01, "1% or less"], [0.1, "10%"], [1, "100%"], [10, "1000%"]].map(([u, label]) => ({ at: useAt(u as number), label: label as string })),
};

export function positions(f: Fleet): Float32Array {
  const out = new Float32Array(f.count * 3);
  for (let i = 0; i < f.count; i++) {
    out[i * 3] = leftAt((f.expiresAt[i] - f.now) / 1000);
    out[i * 3 + 1] = scopeAt(f.weight[i]);
    out[i * 3 + 2] = useAt(f.utilization[i]);
  }
  return out;
}
