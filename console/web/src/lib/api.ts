// Asking the server. Everything goes to this page's own origin, under /v1.
import type { Me } from "./types";

export type Params = Record<string, string | number | null | undefined>;

/** One thing that the server objects to, and where it stands in what was sent: "body.until". */
export interface FieldError { location: string; message: string }

/** What went wrong, in words that may be shown. status 0: the server was not reached. */
export class ApiError extends Error {
  constructor(readonly status: number, readonly title: string, readonly detail: string, readonly errors: FieldError[] = []) {
    super(detail ? `${title}: ${detail}` : title);
    this.name = "ApiError";
  }
}

/** The query of a request or of a link, without what is null, undefined or empty. */
export function query(params?: Params | URLSearchParams): string {
  if (!params) return "";
  const out = params instanceof URLSearchParams ? params : new URLSearchParams();
  if (!(params instanceof URLSearchParams)) {
    for (const [name, value] of Object.entries(params)) {
      if (value !== null && value !== undefined && value !== "") out.set(name, String(value));
    }
  }
  const text = out.toString();
  return text ? `?${text}` : "";
}

async function failed(response: Response): Promise<ApiError> {
  if (response.status === 401) signedOut.forEach((f) => f());
  try {
    const problem = await response.json();
    return new ApiError(response.status, String(problem.title ?? response.statusText), String(problem.detail ?? ""), Array.isArray(problem.errors) ? problem.errors : []);
  } catch {
    return new ApiError(response.status, `The server answered ${response.status}`, response.statusText);
  }
}

async function send(path: string, init?: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, { credentials: "same-origin", ...init });
  } catch (e) {
    if (e instanceof DOMException && e.name === "AbortError") throw e;
    throw new ApiError(0, "The server can not be reached", "Look whether leastwise runs, and whether this machine reaches it.");
  }
  if (!response.ok) throw await failed(response);
  return response;
}

export async function get<T>(path: string, params?: Params): Promise<T> {
  const response = await send(path + query(params), { headers: { Accept: "application/json" } });
  return (await response.json()) as T;
}

export async function getBytes(path: string, params?: Params): Promise<ArrayBuffer> {
  return (await send(path + query(params), { headers: { Accept: "application/octet-stream" } })).arrayBuffer();
}

let csrf: Promise<string> | null = null;

export async function post<T>(path: string, body: unknown): Promise<T> {
  csrf ??= get<Me>("/v1/me").then((me) => me.csrf);
  let token: string;
  try {
    token = await csrf;
  } catch (e) {
    csrf = null;
    throw e;
  }
  try {
    const response = await send(path, {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "application/json", "X-CSRF-Token": token },
      body: JSON.stringify(body ?? {}),
    });
    return (await response.json()) as T;
  } catch (e) {
    // The session may have been renewed: ask for its token again next time.
    if (e instanceof ApiError && (e.status === 401 || e.status === 403)) csrf = null;
    throw e;
  }
}

const signedOut = new Set<() => void>();

/** Calls f whenever the server says that one has to sign in. */
export function onSignedOut(f: () => void): () => void {
  signedOut.add(f);
  return () => signedOut.delete(f);
}

type LiveEvent = "status" | "changed";
type LiveListener = (event: LiveEvent, data: any) => void;

const listeners = new Set<LiveListener>();
let source: EventSource | null = null;
let retry: ReturnType<typeof setTimeout> | undefined;
let wait = 1000;

function open() {
  source = new EventSource("/v1/live");
  const tell = (event: LiveEvent) => (message: MessageEvent) => {
    wait = 1000;
    let data: unknown;
    try {
      data = JSON.parse(message.data);
    } catch {
      return;
    }
    listeners.forEach((f) => f(event, data));
  };
  source.addEventListener("status", tell("status"));
  source.addEventListener("changed", tell("changed"));
  source.onerror = () => {
    // The browser's own attempts come every few seconds for ever; these become rarer, up to once a minute.
    source?.close();
    source = null;
    if (listeners.size === 0) return;
    clearTimeout(retry);
    retry = setTimeout(open, wait * (0.75 + Math.random() / 2));
    wait = Math.min(wait * 2, 60_000);
  };
}

/** Listens to what happens on the server; all listeners share one connection. What it returns ends it. */
export function live(on: LiveListener): () => void {
  listeners.add(on);
  if (!source && listeners.size === 1) open();
  return () => {
    listeners.delete(on);
    if (listeners.size === 0) {
      clearTimeout(retry);
      source?.close();
      source = null;
    }
  };
}
