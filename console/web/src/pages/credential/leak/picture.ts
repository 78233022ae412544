// Where the places and steps of a leak stand: from the credential on the left to what it leads to on the right; on a phone
// from top to bottom, each step moved in a little. The same answer gives the same picture.
import type { Certainty, Place, Reached } from "../../../lib/types";

export interface Box { place: Place; x: number; y: number; w: number; h: number; goal: boolean }
export interface Line { certainty: Certainty; stays: boolean; d: string; x: number; y: number; title: string }
export interface Picture { boxes: Box[]; lines: Line[]; width: number; height: number; left: number }

const h = 40, gap = 14, between = 64;
/** More ways than that are read as a list, not seen. */
export const drawn = 8;

export function picture(r: Reached, width: number): Picture {
  const ways = r.paths.slice(0, drawn);
  const depth = new Map<string, number>([[r.start.key, 0]]);
  const places = new Map<string, Place>([[r.start.key, r.start]]);
  const parent = new Map<string, string>();
  const goals = new Set(ways.map((w) => w.to.key));
  for (const way of ways) {
    way.steps.forEach((s, i) => {
      if (places.has(s.to.key)) return;
      places.set(s.to.key, s.to);
      parent.set(s.to.key, places.has(s.from.key) ? s.from.key : r.start.key);
      depth.set(s.to.key, i + 1);
    });
  }
  const columns = Math.max(...depth.values()) + 1;
  const narrow = width < columns * 130 + (columns - 1) * between;
  const at = new Map<string, Box>();
  let height = h;
  if (narrow) {
    // A tree, read from above.
    let row = 0;
    const place = (key: string) => {
      const in_ = depth.get(key)! * 20;
      at.set(key, { place: places.get(key)!, x: in_, y: row++ * (h + gap), w: Math.max(60, width - in_), h, goal: goals.has(key) });
      for (const [child, from] of parent) if (from === key && !at.has(child)) place(child);
    };
    place(r.start.key);
    height = row * (h + gap) - gap;
  } else {
    const rows: string[][] = Array.from({ length: columns }, () => []);
    for (const [key, d] of depth) rows[d].push(key);
    const tall = Math.max(...rows.map((c) => c.length));
    height = tall * (h + gap) - gap;
    const w = Math.min(240, (width - (columns - 1) * between) / columns);
    rows.forEach((keys, column) => {
      const top = (height - (keys.length * (h + gap) - gap)) / 2;
      keys.forEach((key, row) => at.set(key, { place: places.get(key)!, x: column * (w + between), y: top + row * (h + gap), w, h, goal: goals.has(key) }));
    });
  }
  const lines: Line[] = [];
  const seen = new Set<string>();
  for (const way of ways) {
    for (const s of way.steps) {
      const a = at.get(s.from.key) ?? at.get(r.start.key)!, b = at.get(s.to.key)!;
      const name = `${s.from.key}\n${s.to.key}\n${s.certainty}`;
      if (seen.has(name) || a === b) continue;
      seen.add(name);
      const title = `it can ${s.does} (${s.certainty})`;
      if (narrow) {
        const x = a.x + 9, y = b.y + h / 2;
        lines.push({ certainty: s.certainty, stays: s.stays, d: `M ${x} ${a.y + h} V ${y} H ${b.x}`, x, y: y - 12, title });
      } else {
        const x1 = a.x + a.w, y1 = a.y + h / 2, x2 = b.x, y2 = b.y + h / 2, bend = Math.min(30, Math.abs(x2 - x1) / 2);
        lines.push({ certainty: s.certainty, stays: s.stays, d: `M ${x1} ${y1} C ${x1 + bend} ${y1}, ${x2 - bend} ${y2}, ${x2} ${y2}`, x: (x1 + x2) / 2, y: (y1 + y2) / 2, title });
      }
    }
  }
  const boxes = [...at.values()];
  return { boxes, lines, width: Math.max(...boxes.map((b) => b.x + b.w)), height, left: r.paths.length - ways.length };
}

const kinds: Record<string, string> = {
  credential: "this credential", principal: "somebody else", role: "role", user: "user", service_account: "service account", vault_role: "Vault role",
  everything: "everything at an issuer", secrets: "all secrets of an issuer", sensitive: "sensitive",
};
export const kindOf = (kind: string): string => kinds[kind] ?? kind.replaceAll("_", " ");

/** What each certainty means, in the words of somebody who has never seen the product. */
export const certainties: Record<Certainty, string> = {
  proven: "a log shows that it did this", allowed: "its permissions allow it", suggested: "it may be possible; not all is known",
};

export interface Counted { sensitive: number; issuers: number; secrets: number; others: number }

/** How many places of each kind are reached. */
export function counted(r: Reached): Counted {
  const n: Counted = { sensitive: 0, issuers: 0, secrets: 0, others: 0 };
  for (const { to } of r.paths) n[to.kind === "sensitive" ? "sensitive" : to.kind === "everything" ? "issuers" : to.kind === "secrets" ? "secrets" : "others"]++;
  return n;
}

/** "47 hours", "2 d 6 h": how long it stays open. */
export function exposure(hours: number | null, never: boolean): string {
  if (hours === null) return never ? "without end" : "unknown";
  if (hours === 0) return "not at all";
  if (hours < 1) return `${Math.max(1, Math.round(hours * 60))} min`;
  return hours < 72 ? `${Number(hours.toFixed(1))} h` : `${Number((hours / 24).toFixed(1))} days`;
}
