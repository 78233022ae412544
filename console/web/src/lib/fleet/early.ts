// The fleet's feed is the largest thing that the page loads: where it opens on the fleet, the feed is asked for while the
// page's own code is still on its way.
import { getBytes } from "../api";

const ask = () => getBytes("/v1/fleet", { state: "active" });

let early = location.pathname === "/fleet" ? ask() : null;
early?.catch(() => {}); // told by whoever wants it

/** The feed: the first time what was asked for early, if it came, then what is asked for now. */
export function feed(): Promise<ArrayBuffer> {
  const first = early;
  early = null;
  return first ? first.catch(ask) : ask();
}
