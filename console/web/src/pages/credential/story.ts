// The events of a credential's life and what Leastwise did, as one list in which repetitions are one line.
import type { CredentialDetail, Event, LadderStep, Time } from "../../lib/types";
import { happened, sourceName } from "./words";

export interface Moment {
  key: string; at: Time; since: Time; kind: string; source: string; title: string; times: number;
  events: Event[]; step: LadderStep | null;
}

const repeats = ["used", "denied", "noted", "renewed"];

/** Newest first. Steps older than the oldest event that is loaded wait until its page is there. */
export function story(events: Event[], steps: LadderStep[], complete: boolean): Moment[] {
  const moments: Moment[] = [];
  const open = new Map<string, Moment>();
  for (const e of events) {
    const title = happened(e);
    const of = e.kind.toLowerCase();
    // A thousand reads of one path within an hour are one line that opens, whatever else was read between them.
    const name = `${e.at.slice(0, 13)} ${e.source} ${title}`;
    const same = repeats.includes(of) ? open.get(name) : undefined;
    if (same) {
      same.events.push(e);
      same.times++;
      same.since = e.at;
      continue;
    }
    const moment: Moment = { key: e.id, at: e.at, since: e.at, kind: of, source: sourceName(e.source), title, times: 1, events: [e], step: null };
    open.set(name, moment);
    moments.push(moment);
  }
  const oldest = events.at(-1)?.at;
  for (const [i, s] of steps.entries()) {
    if (!complete && oldest && Date.parse(s.at) < Date.parse(oldest)) continue;
    moments.push({ key: `step ${i}`, at: s.at, since: s.at, kind: "step", source: "Leastwise", title: sentence(s.label), times: 1, events: [], step: s });
  }
  return moments.sort((a, b) => Date.parse(b.at) - Date.parse(a.at));
}

export const sentence = (text: string): string => (text ? text[0].toUpperCase() + text.slice(1) : text);

/** Every field of the record that says something, for whoever wants the raw evidence. */
export function evidence(e: Event): [string, string][] {
  const rows: [string, string | null][] = [
    ["happened", e.at], ["came in", e.observed_at], ["source", `${e.source}, ${e.instance}`], ["action", e.action], ["permission needed", e.permission], ["on", e.resource],
    ["outcome", e.outcome], ["error", e.error], ["done by", e.actor], ["from address", e.remote_address], ["record", e.record_id], ["where it stands", e.position],
    ["flag", e.flag === "none" || e.flag === "NONE" ? "" : e.flag], ["event", e.id],
  ];
  return [...rows.filter((r): r is [string, string] => !!r[1]), ...Object.entries(e.labels).map(([k, v]): [string, string] => [`label ${k}`, v])];
}

/** Days of use and of refusals, oldest first, for small trends. */
export function daily(hours: CredentialDetail["uses_by_hour"]): { uses: number[]; denied: number[] } {
  const days = new Map<string, { uses: number; denied: number }>();
  for (const h of hours) {
    const day = days.get(h.at.slice(0, 10)) ?? { uses: 0, denied: 0 };
    day.uses += h.uses;
    day.denied += h.denied;
    days.set(h.at.slice(0, 10), day);
  }
  const sorted = [...days.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, d]) => d);
  return { uses: sorted.map((d) => d.uses), denied: sorted.map((d) => d.denied) };
}
