// A list that the server gives page by page: the first page is kept current, further pages are added on demand.
import { load } from "../../lib/load.svelte";
import type { Page } from "../../lib/types";

/**
 * Call it while a component is made. about says what the list depends on; when it changes, the pages that were added go.
 */
export function paged<T, P extends Page<T>>(about: () => string, key: (item: T) => string, fetch: (cursor: string | null) => Promise<P>) {
  let added = $state.raw<{ about: string; items: T[]; next: string | null } | null>(null);
  let adding = $state(false);
  let trouble = $state.raw<unknown>(undefined);
  const first = load(() => {
    void about();
    return fetch(null);
  });
  const current = $derived(added && added.about === about() ? added : null);
  const items = $derived.by(() => {
    // What moved up into the first page since the others were added is not shown twice.
    const seen = new Map<string, T>();
    for (const item of [...(first.data?.items ?? []), ...(current?.items ?? [])]) if (!seen.has(key(item))) seen.set(key(item), item);
    return [...seen.values()];
  });
  const next = $derived(current ? current.next : (first.data?.next ?? null));

  async function more() {
    if (next === null || adding) return;
    const of = about();
    adding = true;
    trouble = undefined;
    try {
      const page = await fetch(next);
      if (of === about()) added = { about: of, items: [...(current?.items ?? []), ...page.items], next: page.next };
    } catch (e) {
      trouble = e;
    } finally {
      adding = false;
    }
  }

  return {
    get items() { return items; },
    get first() { return first.data; },
    get next() { return next; },
    get error() { return first.error ?? trouble; },
    get loading() { return first.loading || adding; },
    get stale() { return first.stale; },
    more: () => void more(),
    again: () => first.again(),
  };
}
