// Fetching for a view, again whenever the server says that something changed.
import { live } from "./api";

export interface Loaded<T> {
  readonly data: T | undefined;
  readonly error: unknown;
  readonly loading: boolean;
  /** What is shown is from before the last attempt, which failed or runs. */
  readonly stale: boolean;
  again(): void;
}

/**
 * Call it while a component is made. What the function reads of the reactive state before it first waits (the route's
 * parameters, say) makes it fetch again when that changes; an answer that was overtaken by a newer request is dropped.
 */
export function load<T>(fetch: () => Promise<T>): Loaded<T> {
  let data = $state.raw<T | undefined>(undefined);
  let error = $state.raw<unknown>(undefined);
  let loading = $state(true);
  let stale = $state(false);
  let turn = $state(0);
  let latest = 0;

  $effect(() => {
    void turn;
    const mine = ++latest;
    loading = true;
    stale = true;
    let asked: Promise<T>;
    try {
      asked = fetch();
    } catch (e) {
      asked = Promise.reject(e);
    }
    asked.then(
      (answer) => {
        if (mine !== latest) return;
        data = answer;
        error = undefined;
        loading = false;
        stale = false;
      },
      (e) => {
        if (mine !== latest) return;
        error = e;
        loading = false;
      },
    );
    return () => {
      latest++;
    };
  });

  $effect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const stop = live((event) => {
      if (event !== "changed" || timer) return;
      // Changes come in bursts, and one answer holds all of them.
      timer = setTimeout(() => {
        timer = undefined;
        turn++;
      }, 800);
    });
    return () => {
      clearTimeout(timer);
      stop();
    };
  });

  return {
    get data() { return data; },
    get error() { return error; },
    get loading() { return loading; },
    get stale() { return stale && data !== undefined; },
    again() { turn++; },
  };
}
