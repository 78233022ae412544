// How the credentials in view were used, bucket by bucket. Asked for when one has stopped moving, kept while the time shown
// stays the same.
import type { Rows } from "../../../lib/fleet/arrange";
import type { Fleet } from "../../../lib/fleet/feed";

type Bucket = [at: number, uses: number, denied: number];
const nice = [60e3, 300e3, 900e3, 1800e3, 3600e3, 3 * 3600e3, 6 * 3600e3, 12 * 3600e3, 86400e3, 2 * 86400e3, 7 * 86400e3, 30 * 86400e3];

export class UseInView {
  version = $state(0);
  bucket = 0;
  #window = "";
  #known = new Map<number, Bucket[]>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #abort: AbortController | undefined;

  of(i: number): Bucket[] | undefined {
    return this.#known.get(i);
  }

  want(f: Fleet, rows: Rows, first: number, last: number, from: number, to: number, width: number) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#ask(f, rows, first, last, from, to, width), 180);
  }

  end() {
    clearTimeout(this.#timer);
    this.#abort?.abort();
  }

  async #ask(f: Fleet, rows: Rows, first: number, last: number, from: number, to: number, width: number) {
    const bucket = nice.find((x) => x >= ((to - from) / width) * 7) ?? nice[nice.length - 1];
    const window = `${f.now} ${from} ${to} ${bucket}`;
    if (window !== this.#window) {
      this.#known = new Map();
      this.#window = window;
      this.bucket = bucket;
    }
    const these = [...rows.order.slice(first, last + 1)].filter((i) => !this.#known.has(i)).slice(0, 120);
    if (these.length === 0) return;
    this.#abort?.abort();
    this.#abort = new AbortController();
    const params = new URLSearchParams({ from: String(Math.round(from)), to: String(Math.round(to)), bucket: String(bucket) });
    const byKey = new Map(these.map((i) => [f.key(i), i]));
    for (const key of byKey.keys()) params.append("key", key);
    try {
      const answer = await fetch(`/v1/fleet/use?${params}`, { credentials: "same-origin", signal: this.#abort.signal });
      if (!answer.ok) return; // The bars show the last day's use as a whole then.
      const { items } = (await answer.json()) as { items: { key: string; buckets: Bucket[] }[] };
      if (this.#window !== window) return;
      for (const { key, buckets } of items) {
        const i = byKey.get(key);
        if (i !== undefined) this.#known.set(i, buckets);
      }
      this.version++;
    } catch {
      // Overtaken by a newer one, or away: the bars stand without it.
    }
  }
}
