// Who is signed in, and how the server does. Kept by the shell, read by every page.
import { ApiError, get, live, onSignedOut } from "../lib/api";
import type { Me, Status } from "../lib/types";

export const session = $state<{ me: Me | null; status: Status | null; away: boolean; signedOut: boolean; error: unknown }>({
  me: null, status: null, away: false, signedOut: false, error: undefined,
});

export const may = (...roles: string[]) => session.me !== null && session.me.roles.some((r) => roles.includes(r) || r === "admin");

async function askStatus() {
  try {
    session.status = await get<Status>("/v1/status");
    session.away = false;
  } catch (e) {
    session.away = !(e instanceof ApiError && e.status === 401);
  }
}

export async function start() {
  session.error = undefined;
  try {
    session.me = await get<Me>("/v1/me");
    session.signedOut = false;
    void askStatus();
  } catch (e) {
    if (e instanceof ApiError && e.status === 401) session.signedOut = true;
    else session.error = e;
  }
}

/** Begins to keep the session; what it returns ends that. */
export function keep(): () => void {
  void start();
  const stopSignedOut = onSignedOut(() => (session.signedOut = true));
  const stopLive = live((event, data) => {
    if (event !== "status") return;
    session.status = data as Status;
    session.away = false;
  });
  // Live events may be cut off by a proxy; the state of the server is asked for all the same.
  const timer = setInterval(() => {
    if (session.error) void start();
    else if (!session.signedOut) void askStatus();
  }, 30_000);
  return () => {
    stopSignedOut();
    stopLive();
    clearInterval(timer);
  };
}
