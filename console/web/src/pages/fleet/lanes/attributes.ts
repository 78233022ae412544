// The layer's attributes out of the feed's columns.
import { thickness, type Rows } from "../../../lib/fleet/arrange";
import type { Fleet } from "../../../lib/fleet/feed";
import type { Palette } from "../colors";
import { attempted, never, noEnd, noScope, noStart, noUse } from "./LanesLayer";

export interface Bars { times: Float32Array; looks: Float32Array; colors: Uint8ClampedArray }

/** What does not depend on the order. Times are hours from now, which 32 bits hold to the second where it matters. */
export function barData(f: Fleet, p: Palette): Bars {
  const n = f.count;
  const times = new Float32Array(n * 2), looks = new Float32Array(n * 4), colors = new Uint8ClampedArray(n * 4);
  const hour = 3_600_000;
  for (let i = 0; i < n; i++) {
    let bits = 0;
    const a = f.issuedAt[i], e = f.expiresAt[i], u = f.utilization[i];
    if (Number.isNaN(a)) bits |= noStart;
    if (Number.isNaN(e)) bits |= noEnd;
    if (e === Infinity) bits |= never;
    if (Number.isNaN(f.weight[i])) bits |= noScope;
    if (Number.isNaN(u)) bits |= noUse;
    if (f.attempts[i] > 0) bits |= attempted;
    times[i * 2] = Number.isNaN(a) ? 0 : (a - f.now) / hour;
    times[i * 2 + 1] = Number.isFinite(e) ? (e - f.now) / hour : 0;
    looks[i * 4] = thickness(f.weight[i]);
    looks[i * 4 + 1] = Number.isNaN(u) ? 0 : u;
    looks[i * 4 + 2] = bits;
    const c = p.severity[f.severity[i]] ?? p.severity[0];
    colors.set(c, i * 4);
    colors[i * 4 + 3] = 255;
  }
  return { times, looks, colors };
}

/** The same in the order of the rows, so that a stretch of rows is a stretch of each array. */
export interface RowBars extends Bars { places: Float32Array }

export function rowBars(rows: Rows, bars: Bars): RowBars {
  return gather(rows, bars, null);
}

function gather(rows: Rows, bars: Bars, these: ArrayLike<number> | null): RowBars {
  const n = these ? these.length : rows.order.length;
  const out = { times: new Float32Array(n * 2), looks: new Float32Array(n * 4), colors: new Uint8ClampedArray(n * 4), places: new Float32Array(n * 2) };
  for (let k = 0; k < n; k++) {
    const r = these ? these[k] : k;
    const i = rows.order[r];
    out.times[k * 2] = bars.times[i * 2];
    out.times[k * 2 + 1] = bars.times[i * 2 + 1];
    for (let c = 0; c < 4; c++) {
      out.looks[k * 4 + c] = bars.looks[i * 4 + c];
      out.colors[k * 4 + c] = bars.colors[i * 4 + c];
    }
    out.places[k * 2] = rows.y[r];
    out.places[k * 2 + 1] = rows.h[r];
  }
  return out;
}

const asData = (length: number, b: RowBars) => ({
  length,
  attributes: { getTimes: { value: b.times, size: 2 }, getLooks: { value: b.looks, size: 4 }, getColors: { value: b.colors, size: 4 }, getRows: { value: b.places, size: 2 } },
});

/** What is drawn of rows first to last (exclusive): they alone go to the graphics card. */
export function stretch(b: RowBars, first: number, last: number) {
  return asData(last - first, {
    times: b.times.subarray(first * 2, last * 2), looks: b.looks.subarray(first * 4, last * 4), colors: b.colors.subarray(first * 4, last * 4), places: b.places.subarray(first * 2, last * 2),
  });
}

/**
 * What is drawn when many rows fall on one line of the screen: of each line the one that began first, the one that ends last and,
 * on top, the worst. The others would lie under these.
 */
export function condensed(f: Fleet, rows: Rows, bars: Bars, place: (y: number) => number) {
  const picked: number[] = [];
  let line = -1, early = 0, late = 0, worst = 0;
  const flush = () => {
    if (line < 0) return;
    if (early !== worst) picked.push(early);
    if (late !== worst && late !== early) picked.push(late);
    picked.push(worst);
  };
  const end = (i: number) => (Number.isNaN(f.expiresAt[i]) ? f.now : f.expiresAt[i]);
  const begin = (i: number) => (Number.isNaN(f.issuedAt[i]) ? f.now : f.issuedAt[i]);
  for (let r = 0; r < rows.order.length; r++) {
    const at = Math.floor(place(rows.y[r]));
    const i = rows.order[r];
    if (at !== line) {
      flush();
      line = at;
      early = late = worst = r;
      continue;
    }
    if (begin(i) < begin(rows.order[early])) early = r;
    if (end(i) > end(rows.order[late])) late = r;
    if (f.severity[i] > f.severity[rows.order[worst]]) worst = r;
  }
  flush();
  const out = gather(rows, bars, picked);
  picked.forEach((r, k) => {
    out.places[k * 2] = place(rows.y[r]);
    out.places[k * 2 + 1] = Math.max(1, place(rows.y[r] + rows.h[r]) - out.places[k * 2]);
  });
  return asData(picked.length, out);
}
