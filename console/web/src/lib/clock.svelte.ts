// The time by which "in 3 h" is told. It moves every fifteen seconds, so that nothing on the page is older than that.
export const clock = $state({ now: Date.now() });
setInterval(() => (clock.now = Date.now()), 15_000);
