// The layer's attributes out of the feed's columns.
import { thickness, type Rows } from "../../../lib/fleet/arrange";
import type { Fleet } from "../../../lib/fleet/feed";
import type { Palette } from "../colors";
import { attempted, corners, never, noEnd, noScope, noStart, noUse } from "./LanesLayer";

/** Where the bar of the row r stands: its top and its height. */
type Place = (r: number) => [top: number, height: number];

/**
 * The bars of some rows, each corner with its bar's attributes. Times are hours from now, which 32 bits hold to the second
 * where it matters.
 */
function bars(f: Fleet, rows: Rows, p: Palette, n: number, rowOf: (k: number) => number, place: Place) {
  const times = new Float32Array(n * corners * 2), places = new Float32Array(n * corners * 2), looks = new Float32Array(n * corners * 3), colors = new Uint8ClampedArray(n * corners * 4);
  const hour = 3_600_000;
  for (let k = 0; k < n; k++) {
    const r = rowOf(k), i = rows.order[r];
    let bits = 0;
    const a = f.issuedAt[i], e = f.expiresAt[i], u = f.utilization[i];
    if (Number.isNaN(a)) bits |= noStart;
    if (Number.isNaN(e)) bits |= noEnd;
    if (e === Infinity) bits |= never;
    if (Number.isNaN(f.weight[i])) bits |= noScope;
    if (Number.isNaN(u)) bits |= noUse;
    if (f.attempts[i] > 0) bits |= attempted;
    const begin = Number.isNaN(a) ? 0 : (a - f.now) / hour, end = Number.isFinite(e) ? (e - f.now) / hour : 0;
    const thick = thickness(f.weight[i]), filled = Number.isNaN(u) ? 0 : u;
    const [top, height] = place(r);
    const [red, green, blue] = p.severity[f.severity[i]] ?? p.severity[0];
    for (let c = k * corners; c < (k + 1) * corners; c++) {
      times[c * 2] = begin;
      times[c * 2 + 1] = end;
      places[c * 2] = top;
      places[c * 2 + 1] = height;
      looks[c * 3] = thick;
      looks[c * 3 + 1] = filled;
      looks[c * 3 + 2] = bits;
      colors[c * 4] = red;
      colors[c * 4 + 1] = green;
      colors[c * 4 + 2] = blue;
      colors[c * 4 + 3] = 255;
    }
  }
  return {
    length: n * corners,
    attributes: { getTimes: { value: times, size: 2 }, getLooks: { value: looks, size: 3 }, getColors: { value: colors, size: 4 }, getRows: { value: places, size: 2 } },
  };
}

/** What is drawn of rows first to last (exclusive): they alone go to the graphics card. */
export const stretch = (f: Fleet, rows: Rows, p: Palette, first: number, last: number) => bars(f, rows, p, last - first, (k) => first + k, (r) => [rows.y[r], rows.h[r]]);

/**
 * What is drawn when many rows fall on one line of the screen: of each line the one that began first, the one that ends last and,
 * on top, the worst. The others would lie under these.
 */
export function condensed(f: Fleet, rows: Rows, p: Palette, place: (y: number) => number) {
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
  return bars(f, rows, p, picked.length, (k) => picked[k], (r) => [place(rows.y[r]), Math.max(1, place(rows.y[r] + rows.h[r]) - place(rows.y[r]))]);
}
