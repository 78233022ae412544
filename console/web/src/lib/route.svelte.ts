// Every view is an address: its path says which page, its query how it is filtered.
import { query, type Params } from "./api";

export const route = $state({ path: location.pathname, params: new URLSearchParams(location.search) });

function read() {
  route.path = location.pathname;
  route.params = new URLSearchParams(location.search);
}

/** The address of a view, safe to stand in href whatever the parameters hold. */
export function link(path: string, params?: Params | URLSearchParams): string {
  // A path that begins with two slashes would lead to another host.
  return "/" + path.replace(/^[/\\]+/, "") + query(params);
}

/** Shows a view. replace: true changes the address without a step in the history, for filters while somebody types. */
export function go(path: string, params?: Params | URLSearchParams, options: { replace?: boolean } = {}) {
  const to = link(path, params);
  const moved = path !== location.pathname;
  if (to !== location.pathname + location.search) history[options.replace ? "replaceState" : "pushState"](null, "", to);
  read();
  if (moved) {
    scrollTo(0, 0);
    // Whoever reads with a screen reader hears that another page is there.
    requestAnimationFrame(() => document.querySelector<HTMLElement>("main")?.focus({ preventScroll: true }));
  }
}

/** Changes some parameters of the view one is on; null takes one away. */
export function refine(changes: Params, options: { replace?: boolean } = { replace: true }) {
  const params = new URLSearchParams(route.params);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === undefined || value === "") params.delete(name);
    else params.set(name, String(value));
  }
  go(route.path, params, options);
}

addEventListener("popstate", read);

// Links within the page do not load it anew.
addEventListener("click", (event) => {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const anchor = (event.target as Element | null)?.closest?.("a");
  if (!anchor || anchor.target || anchor.hasAttribute("download") || anchor.origin !== location.origin) return;
  if (anchor.pathname.startsWith("/v1/") || anchor.pathname.startsWith("/auth/")) return;
  if (anchor.hash && anchor.pathname === location.pathname && anchor.search === location.search) return;
  event.preventDefault();
  go(anchor.pathname, new URLSearchParams(anchor.search));
});
