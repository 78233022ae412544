// What stands out: owners, sources, agents and policies that are over-represented among some credentials against the rest.
import { none, type Dictionary, type Fleet } from "./feed";

export interface Standing { of: Dictionary; name: string | null; inside: number; outside: number; shareInside: number; shareOutside: number; times: number; score: number }

export const dimensions: Dictionary[] = ["agent", "owner", "source", "policy", "type"];

/**
 * Compares `some` with the other members of `all`. Ranked by how much of `some` a name explains beyond its usual share;
 * `besides` is what the choice itself was made by. Names that hold fewer than two of `some`, or hold no more of it than of the rest, are left out.
 */
export function standsOut(f: Fleet, all: Uint32Array, some: Uint32Array, top = 8, besides: Dictionary[] = []): Standing[] {
  const rest = all.length - some.length;
  if (some.length === 0 || rest <= 0) return [];
  const out: Standing[] = [];
  for (const of of dimensions.filter((d) => !besides.includes(d))) {
    const n = f.names[of].length;
    const total = new Uint32Array(n + 1);
    const inside = new Uint32Array(n + 1);
    const column = f[of];
    for (const i of all) total[column[i] === none ? n : column[i]]++;
    for (const i of some) inside[column[i] === none ? n : column[i]]++;
    for (let id = 0; id <= n; id++) {
      // "No policy is violated" is no finding, and everybody shares it.
      if (inside[id] < 2 || (of === "policy" && id === n)) continue;
      const outside = total[id] - inside[id];
      const a = inside[id] / some.length;
      // Half a credential is added to the rest: a share of nothing would be infinitely many times over.
      const b = (outside + 0.5) / (rest + 1);
      const spread = Math.sqrt((a * (1 - a)) / some.length + (b * (1 - b)) / rest);
      const score = (a - b) * Math.log2(a / b);
      if (a <= b * 1.3 || a - b < 2 * spread) continue;
      out.push({ of, name: id === n ? null : f.names[of][id], inside: inside[id], outside, shareInside: a, shareOutside: outside / rest, times: a / b, score });
    }
  }
  return out.sort((x, y) => y.score - x.score).slice(0, top);
}
