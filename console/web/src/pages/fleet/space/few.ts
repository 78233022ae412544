// Which points are drawn while the space turns: without a graphics card a hundred thousand take longer than a frame may.

/** How many at most while it moves; half of them the first of the feed, which stand farthest from policy. */
export const few = 3_000;

/**
 * The same credentials in another order: the first `few` are those that stand for all while it moves. They are always the
 * same: what is selected and what stands farthest from policy, then every so-manieth of the others.
 */
export function fewFirst(chosen: Uint32Array, selected: Uint8Array | null): Uint32Array {
  if (chosen.length <= few) return chosen;
  const out = new Uint32Array(chosen.length);
  const taken = new Uint8Array(chosen.length);
  let n = 0;
  const take = (k: number) => {
    if (taken[k]) return;
    taken[k] = 1;
    out[n++] = chosen[k];
  };
  if (selected) for (let k = 0; k < chosen.length && n < few / 4; k++) if (selected[chosen[k]]) take(k);
  for (let k = 0; n < few / 2; k++) take(k);
  const step = chosen.length / (few - n);
  for (let at = 0; at < chosen.length && n < few; at += step) take(Math.floor(at));
  for (let k = 0; k < chosen.length; k++) take(k);
  return out;
}
