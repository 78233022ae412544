// The axis of time, and what lies over the bars: use in windows, attempts.
import { thickness, type Rows } from "../../../lib/fleet/arrange";
import type { Tick } from "../../../lib/fleet/axis";
import type { Fleet } from "../../../lib/fleet/feed";
import { type Palette, type Rgb } from "../colors";
import type { View } from "./LanesLayer";
import type { UseInView } from "./use.svelte";

interface Size { width: number; height: number; labels: number }

export function fit(canvas: HTMLCanvasElement, width: number, height: number): CanvasRenderingContext2D | null {
  const ratio = Math.min(2, devicePixelRatio || 1);
  const w = Math.round(width * ratio), h = Math.round(height * ratio);
  if (canvas.width !== w || canvas.height !== h) {
    canvas.width = w;
    canvas.height = h;
  }
  const context = canvas.getContext("2d");
  context?.setTransform(ratio, 0, 0, ratio, 0, 0);
  context?.clearRect(0, 0, width, height);
  return context;
}

export const font = (px: number) => `${px}px system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", "DejaVu Sans", sans-serif`;
const mix = (a: Rgb, b: Rgb, t: number) => `rgb(${a.map((x, k) => Math.round(x + (b[k] - x) * t)).join(" ")})`;

export function drawAxis(axis: HTMLCanvasElement, o: { width: number; from: number; to: number; now: number; colors: Palette; ticks: Tick[] }) {
  const a = fit(axis, o.width, 26);
  if (!a) return;
  const x = (t: number) => ((t - o.from) / (o.to - o.from)) * o.width;
  a.fillStyle = o.colors.muted;
  a.font = font(11);
  a.textBaseline = "middle";
  const nowX = x(o.now);
  let last = -100;
  for (const t of o.ticks) {
    const at = Math.round(x(t.at)) + 0.5;
    const width = a.measureText(t.label).width;
    // A label gives way to "now" and to the edge.
    if (at - width / 2 < 2 || at + width / 2 > o.width - 2 || Math.abs(at - nowX) < width / 2 + 24 || at - width / 2 < last + 8) continue;
    a.fillText(t.label, at - width / 2, 13);
    last = at + width / 2;
  }
  if (nowX >= 0 && nowX <= o.width) {
    a.font = `600 ${font(11)}`;
    const width = a.measureText("now").width + 10;
    const left = Math.max(0, Math.min(o.width - width, nowX - width / 2));
    a.fillStyle = o.colors.text;
    a.beginPath();
    a.roundRect(left, 5, width, 16, 3);
    a.fill();
    a.fillStyle = o.colors.groundCss;
    a.fillText("now", left + 5, 13);
  }
}

/** Whether there was anything to draw. */
export function drawUse(
  over: HTMLCanvasElement,
  o: {
    fleet: Fleet; rows: Rows; view: View; size: Size; colors: Palette; use: UseInView | null; firstRow: number; lastRow: number;
  },
): boolean {
  const { fleet: f, rows, view, size, colors, use } = o;
  const g = fit(over, view.width, size.height);
  let drawn = false;
  if (!g) return drawn;
  const hour = 3_600_000;
  const x = (t: number) => ((t - f.now) / hour - view.from) * view.perHour;
  const nowX = x(f.now);
  if (use) {
    const step = (use.bucket / hour) * view.perHour;
    for (let row = o.firstRow; row <= o.lastRow; row++) {
      const i = rows.order[row];
      const buckets = use.of(i);
      if (!buckets) continue;
      drawn = true;
      const issued = f.issuedAt[i], expires = f.expiresAt[i];
      const left = Math.max(Number.isNaN(issued) ? nowX - 90 : x(issued), -2);
      const right = Math.min(nowX, Number.isFinite(expires) ? x(expires) : nowX);
      const thick = Math.max(1, thickness(f.weight[i]));
      const top = Math.floor(rows.y[row] - view.scroll + 0.5 * (rows.h[row] - thick) + 0.5);
      const width = right - left;
      const color = colors.severity[f.severity[i]];
      if (width > 12 && !Number.isNaN(f.weight[i]) && !Number.isNaN(f.utilization[i]) && !Number.isNaN(issued)) {
        g.fillStyle = mix(colors.ground, color, 0.42);
        g.fillRect(left, top, width, thick);
        g.fillStyle = mix(colors.ground, color, 1);
        const perDay = f.utilization[i] > 0 ? f.uses24h[i] / f.utilization[i] : 0;
        const most = Math.max(1, ...buckets.map((b) => b[1]));
        const expected = perDay > 0 ? (perDay * use.bucket) / (24 * hour) : most;
        for (const [at, uses] of buckets) {
          if (uses === 0) continue;
          const b0 = Math.max(left, x(at)), b1 = Math.min(right, x(at) + Math.max(1, step - 1));
          if (b1 <= b0) continue;
          const filled = Math.max(1, thick * Math.min(1, uses / expected));
          g.fillRect(b0, top + thick - filled, b1 - b0, filled);
          if (uses > expected * 1.5) {
            // More than expected: a line over the full bar.
            g.fillStyle = colors.text;
            g.fillRect(b0, top, b1 - b0, Math.min(2, thick / 2));
            g.fillStyle = mix(colors.ground, color, 1);
          }
        }
      }
      for (const [at, , denied] of buckets) {
        if (denied === 0) continue;
        const mid = Math.max(left + 1, Math.min(right, x(at) + step / 2));
        g.fillStyle = colors.signalCss;
        const y0 = rows.y[row] - view.scroll + 1, y1 = rows.y[row] + rows.h[row] - view.scroll - 1;
        g.fillRect(mid - 0.75, y0, 1.5, y1 - y0);
        g.beginPath();
        g.moveTo(mid - 3.5, y0);
        g.lineTo(mid + 3.5, y0);
        g.lineTo(mid, y0 + 5);
        g.fill();
      }
    }
  }
  return drawn;
}
