// Where the boxes and lines of one identity's graph stand. The same facts give the same picture.
import type { Identity } from "../../lib/types";

export interface Box { name: string; kind: string; label: string; x: number; y: number; w: number; h: number }
export interface Line { link: Identity["links"][number]; d: string; midX: number; midY: number }
export interface Picture { boxes: Box[]; lines: Line[]; width: number; height: number }

const height = 40, gap = 14;

// Names in sources stand left, the agent in the middle, who answers and where it is recorded right.
function rank(kind: string): number {
  const k = kind.toLowerCase();
  if (k === "owner" || k === "system" || k === "system_of_record" || k === "team" || k === "person") return 2;
  return k === "agent" || k === "identity" ? 1 : 0;
}

export function layout(nodes: Identity["nodes"], links: Identity["links"], width: number): Picture {
  const known = new Set(nodes.map(n => n.name));
  const all = [...nodes];
  for (const l of links) for (const end of [l.from, l.to]) if (!known.has(end)) { known.add(end); all.push({ name: end, kind: "", label: end }); }

  const degree = new Map<string, number>();
  for (const l of links) for (const end of [l.from, l.to]) degree.set(end, (degree.get(end) ?? 0) + 1);
  const narrow = width < 620;
  const columns: (typeof all)[] = [[], [], []];
  for (const n of all) columns[narrow ? 0 : rank(n.kind)].push(n);
  if (narrow) columns[0].sort((a, b) => rank(b.kind) - rank(a.kind));
  const filled = columns.filter(c => c.length > 0);
  for (const c of filled) if (!narrow) c.sort((a, b) => (degree.get(b.name) ?? 0) - (degree.get(a.name) ?? 0) || (a.name < b.name ? -1 : 1));

  const column = new Map<string, number>();
  filled.forEach((names, i) => names.forEach((n) => column.set(n.name, i)));
  const left = links.some((l) => column.get(l.from) === 0 && column.get(l.to) === 0) ? 36 : 0; // room for arcs within the first column
  const between = 70;
  const w = Math.min(300, (width - left - between * (filled.length - 1)) / Math.max(1, filled.length));
  const rows = Math.max(1, ...filled.map(c => c.length));
  const tall = rows * (height + gap) - gap;
  const step = filled.length > 1 ? (width - left - w) / (filled.length - 1) : 0;

  const at = new Map<string, Box>();
  filled.forEach((names, i) => {
    const top = (tall - (names.length * (height + gap) - gap)) / 2;
    names.forEach((n, j) => at.set(n.name, { ...n, x: left + i * step, y: top + j * (height + gap), w: narrow ? width - left : w, h: height }));
  });

  let arcs = 0;
  const lines: Line[] = links.map(link => {
    const a = at.get(link.from)!, b = at.get(link.to)!;
    const ay = a.y + a.h / 2, by = b.y + b.h / 2;
    if (a.x === b.x) {
      const bulge = 10 + (arcs++ % 4) * 7;
      return { link, d: `M ${a.x} ${ay} C ${a.x - bulge} ${ay}, ${b.x - bulge} ${by}, ${b.x} ${by}`, midX: a.x - bulge * 0.75, midY: (ay + by) / 2 };
    }
    const [l, r] = a.x < b.x ? [a, b] : [b, a];
    const x1 = l.x + l.w, y1 = l.y + l.h / 2, x2 = r.x, y2 = r.y + r.h / 2, bend = Math.min(60, (x2 - x1) / 2);
    return { link, d: `M ${x1} ${y1} C ${x1 + bend} ${y1}, ${x2 - bend} ${y2}, ${x2} ${y2}`, midX: (x1 + x2) / 2, midY: (y1 + y2) / 2 };
  });
  return { boxes: [...at.values()], lines, width, height: tall };
}

// A label that fits: shortened in the middle, where keys differ least.
export function fit(text: string, pixels: number, perLetter = 7.2): string {
  const room = Math.max(6, Math.floor(pixels / perLetter));
  if (text.length <= room) return text;
  const head = Math.ceil((room - 1) * 0.6);
  return `${text.slice(0, head)}…${text.slice(text.length - (room - 1 - head))}`;
}
