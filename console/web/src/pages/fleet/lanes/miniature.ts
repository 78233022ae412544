// The whole sorted fleet in a strip: what a picture of all rows would be, made small. Where many rows fall on one line the worst
// of them gives the colour, so that it is never averaged away.
import { breadth, type Rows } from "../../../lib/fleet/arrange";
import type { Fleet } from "../../../lib/fleet/feed";
import type { Palette } from "../colors";

const cells = 36;

// The worst are few: rows that are not grouped get the more room in the strip, the farther up they stand.
const bend = 0.5;
/** Where something stands in the strip, 0…1, and back. */
export const toStrip = (share: number, grouped: boolean) => (grouped ? share : Math.max(0, share) ** bend);
export const fromStrip = (share: number, grouped: boolean) => (grouped ? share : Math.max(0, share) ** (1 / bend));

export function miniature(canvas: HTMLCanvasElement, f: Fleet, rows: Rows, from: number, to: number, p: Palette, height: number) {
  const lines = Math.max(1, Math.floor(height));
  canvas.width = cells;
  canvas.height = lines;
  const context = canvas.getContext("2d");
  if (!context) return;
  const worst = new Uint8Array(lines * cells);
  const broad = new Float32Array(lines * cells);
  const many = new Uint32Array(lines * cells);
  const perLine = new Uint32Array(lines);
  const whole = Math.max(rows.height, height), grouped = rows.groups.length > 0;
  const line = (y: number) => Math.floor(toStrip(y / whole, grouped) * lines);
  for (let r = 0; r < rows.order.length; r++) {
    const i = rows.order[r];
    const line0 = Math.min(lines - 1, line(rows.y[r]));
    const line1 = Math.max(line0 + 1, Math.min(lines, line(rows.y[r] + rows.h[r])));
    const a = Number.isNaN(f.issuedAt[i]) ? f.now : f.issuedAt[i];
    const e = Number.isNaN(f.expiresAt[i]) ? f.now : f.expiresAt[i];
    const c0 = Math.max(0, Math.floor(((a - from) / (to - from)) * cells));
    const c1 = Math.min(cells - 1, Math.floor(((Math.min(e, to) - from) / (to - from)) * cells));
    const b = Number.isNaN(f.weight[i]) ? 0.2 : breadth(f.weight[i]);
    for (let at0 = line0; at0 < line1; at0++) {
      perLine[at0]++;
      for (let c = c0; c <= c1; c++) {
        const at = at0 * cells + c;
        many[at]++;
        if (f.severity[i] > worst[at]) worst[at] = f.severity[i];
        if (b > broad[at]) broad[at] = b;
      }
    }
  }
  const image = context.createImageData(cells, lines);
  for (let at = 0; at < many.length; at++) {
    if (!many[at]) continue;
    const share = many[at] / perLine[Math.floor(at / cells)];
    const [r, g, b] = p.severity[worst[at]] ?? p.severity[0];
    image.data.set([r, g, b, 255 * Math.min(1, 0.18 + 0.35 * share + 0.6 * broad[at])], at * 4);
  }
  context.putImageData(image, 0, 0);
}
