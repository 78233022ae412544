// Which credentials are shown, in what order, under which headings, and where each one's row lies.
import { named, type Dictionary, type Fleet } from "./feed";

export interface Choice { q?: string; owner?: string; source?: string; policy?: string; agent?: string; type?: string; attempts?: string }
export type Sort = "deviation" | "seconds_left" | "scope_weight" | "utilization" | "attempts";
export type Grouping = "" | "owner" | "source" | "agent" | "policy";

/** How "unknown" stands in the address. */
export const unknownName = "unknown";

export function choose(f: Fleet, c: Choice): Uint32Array {
  const out = new Uint32Array(f.count);
  let n = 0;
  if (!Object.values(c).some(Boolean)) return out.map((_, i) => i);
  const only: [Uint32Array, number][] = [];
  const past = c.policy ? f.names.policy.indexOf(c.policy) : -1;
  for (const d of ["owner", "source", "agent", "type"] as Dictionary[]) {
    const want = c[d as keyof Choice];
    if (!want) continue;
    only.push([f[d], want === unknownName && !f.names[d].includes(want) ? 0xffffffff : f.names[d].indexOf(want)]);
  }
  const q = c.q?.trim().toLowerCase() ?? "";
  // The names are looked through once, not once a credential.
  const hits = q ? (["owner", "source", "agent", "type", "policy"] as Dictionary[]).map((d) => [f[d], new Set(f.names[d].flatMap((name, i) => (name.toLowerCase().includes(q) ? [i] : [])))] as const) : [];
  for (let i = 0; i < f.count; i++) {
    if (only.some(([column, id]) => column[i] !== id)) continue;
    if (c.policy && !stands(f, i, past)) continue;
    if (c.attempts && f.attempts[i] === 0) continue;
    if (q && !hits.some(([column, ids]) => ids.has(column[i])) && !f.key(i).toLowerCase().includes(q)) continue;
    out[n++] = i;
  }
  return out.slice(0, n);
}

/** Whether it stands past a policy, the worst of its own or another. */
function stands(f: Fleet, i: number, policy: number): boolean {
  for (let at = f.policiesAt[i]; at < f.policiesAt[i + 1]; at++) if (f.policies[at] === policy) return true;
  return false;
}

/** Scope as a share of the broadest that is drawn, 0…1; NaN unknown. The logarithm is bent so that the broad stand out. */
export function breadth(weight: number): number {
  return Number.isNaN(weight) ? NaN : Math.min(1, Math.log1p(Math.max(0, weight)) / Math.log1p(800)) ** 1.7;
}
export const thickness = (weight: number): number => (Number.isNaN(weight) ? 8 : 3 + 21 * breadth(weight));

/** Milliseconds for which a credential can still be used; unknown counts as none when sorting, never as a figure to show. */
export const left = (f: Fleet, i: number): number => f.expiresAt[i] - f.now;

function sorted(f: Fleet, chosen: Uint32Array, sort: Sort): Uint32Array {
  if (sort === "deviation") return chosen; // the feed's own order
  const value: (i: number) => number = {
    seconds_left: (i: number) => left(f, i),
    scope_weight: (i: number) => f.weight[i],
    utilization: (i: number) => -f.utilization[i],
    attempts: (i: number) => f.attempts[i],
  }[sort];
  const by = Float64Array.from(chosen, value);
  const order = Uint32Array.from(chosen, (_, n) => n);
  // What is unknown stands last; equal ones keep the order of deviation.
  order.sort((a, b) => {
    const x = by[a], y = by[b];
    if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) === Number.isNaN(y) ? a - b : Number.isNaN(x) ? 1 : -1;
    return x === y ? a - b : y > x ? 1 : -1;
  });
  return Uint32Array.from(order, (n) => chosen[n]);
}

export interface Group { name: string | null; y: number; count: number; beyond: number; first: number }
export interface Rows {
  /** Credentials in the order of rows. */
  order: Uint32Array;
  /** Where a row begins and how high it is, by row. */
  y: Float32Array;
  h: Float32Array;
  groups: Group[];
  height: number;
}
export const headHeight = 26;
export const rowGap = 5;
export const rowMin = 17;

function beyondPolicy(f: Fleet, rows: Iterable<number>): number {
  let n = 0;
  for (const i of rows) if (f.severity[i]) n++;
  return n;
}

export function arrange(f: Fleet, chosen: Uint32Array, sort: Sort, grouping: Grouping): Rows {
  let order = sorted(f, chosen, sort);
  const parts: { name: string | null; rows: number[] | Uint32Array }[] = [];
  if (grouping) {
    const by = new Map<string | null, number[]>();
    for (const i of order) {
      const name = named(f, grouping, i);
      let list = by.get(name);
      if (!list) by.set(name, (list = []));
      list.push(i);
    }
    // The group that holds the worst comes first, as the order has it.
    for (const [name, rows] of by) parts.push({ name, rows });
    order = new Uint32Array(order.length);
  } else parts.push({ name: null, rows: order });

  const y = new Float32Array(order.length);
  const h = new Float32Array(order.length);
  const groups: Group[] = [];
  let top = 0;
  let n = 0;
  for (const part of parts) {
    if (grouping) {
      groups.push({ name: part.name, y: top, count: part.rows.length, beyond: beyondPolicy(f, part.rows), first: n });
      top += headHeight;
    }
    for (const i of part.rows) {
      order[n] = i;
      y[n] = top;
      h[n] = Math.max(rowMin, thickness(f.weight[i]) + rowGap);
      top += h[n];
      n++;
    }
  }
  return { order, y, h, groups, height: top };
}

/** The row at a height, or the nearest one. */
export function rowAt(rows: Rows, y: number): number {
  let low = 0, high = rows.y.length - 1;
  while (low < high) {
    const mid = (low + high + 1) >> 1;
    if (rows.y[mid] <= y) low = mid;
    else high = mid - 1;
  }
  return low;
}

/** The time that shows the worst whole: what 98 of 100 of them span, and now inside it. */
export function span(f: Fleet, chosen: Uint32Array): [number, number] {
  const day = 86_400_000;
  let these: Uint32Array = chosen.filter((i) => f.severity[i] > 0);
  if (these.length < 3) these = chosen;
  const before = Float64Array.from(these, (i) => f.now - f.issuedAt[i]).filter((x) => x > 0 && Number.isFinite(x)).sort();
  const after = Float64Array.from(these, (i) => left(f, i)).filter((x) => x > 0 && Number.isFinite(x)).sort();
  const at = (list: Float64Array, share: number, otherwise: number) => (list.length ? list[Math.min(list.length - 1, Math.floor(list.length * share))] : otherwise);
  const b = Math.max(60_000, at(before, 0.9, day));
  const a = Math.max(60_000, at(after, 0.95, day));
  // Neither side is pressed against the edge, however lopsided the fleet is.
  return [f.now - Math.max(b, a * 0.25) * 1.04, f.now + Math.max(a, b * 0.25) * 1.04];
}
