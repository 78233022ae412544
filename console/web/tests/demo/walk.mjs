// Walks through the page of `leastwise demo`: real servers, agents that really lose their tokens, four people who look on.
// Prints a line for each thing that held; the first that does not ends it with 1. It waits for what the page shows, never
// for time, so a slow machine makes it slow and not wrong.
//   LEASTWISE: the binary (bin/leastwise)    SHOTS: a folder for a picture of every view
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { accessible, launch, ready, watch } from "../e2e/browser.mjs";
import { api, demo } from "./demo.mjs";

const patience = 180_000;
const shots = process.env.SHOTS;
if (shots) mkdirSync(shots, { recursive: true });
const wrong = [];
let at = "the demo starts";
const held = (text) => console.log(`ok   ${text}`);

const browser = await launch();
const show = await demo({ patience }).catch((e) => e);
if (show instanceof Error) {
  console.log(`FAIL ${at}\n     ${show.message.replaceAll("\n", "\n     ")}`);
  await browser.close();
  process.exit(1);
}

/** Somebody with a browser window of their own. Nothing of what it shows may break, and nothing may leave this machine. */
async function person(link) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, timezoneId: "Europe/Berlin", reducedMotion: "reduce" });
  const page = await context.newPage();
  page.setDefaultTimeout(patience);
  watch(page, show.url, wrong);
  page.on("response", (r) => { if (r.status() >= 400) wrong.push(`${r.status()} ${r.url()}`); });
  // A page that is left gives up what it still asks for.
  page.on("requestfailed", (r) => { if (r.failure()?.errorText !== "net::ERR_ABORTED") wrong.push(`${r.failure()?.errorText} ${r.url()}`); });
  await page.goto(link);
  await page.waitForURL((url) => url.origin === show.url && !url.pathname.startsWith("/auth/"));
  await ready(page, patience);
  return page;
}
/** A view as a link to it shows it, without trouble, and usable by everybody. */
async function view(page, path) {
  if (path) {
    await page.goto(show.url + path);
    await ready(page, patience);
  }
  await sound(page);
}
async function sound(page) {
  await ready(page, patience);
  assert.equal(await page.locator("main [role=alert]").count(), 0, `${page.url()} shows trouble`);
  await accessible(page);
  if (shots) await page.screenshot({ path: `${shots}/${String(pictures++).padStart(2, "0")} ${new URL(page.url()).pathname.slice(1)}.png`, fullPage: true });
}
let pictures = 1;
/** The page shows a text by itself, without being loaded anew. */
const see = (page, selector, text) => page.locator(selector).filter({ hasText: text }).first().waitFor();
const stay = (page) => page.evaluate(() => { window.stayed = true; });
const stayed = async (page) => assert.equal(await page.evaluate(() => window.stayed), true, "the page was loaded anew");
/** Once the feed shows the agent's credential beyond policy, its key. */
async function open(page, agent, policy) {
  await page.goto(`${show.url}/fleet`);
  await ready(page, patience);
  await see(page, ".label", new RegExp(`${agent}[\\s\\S]*Beyond ${policy}`));
  await page.keyboard.press("/");
  await page.keyboard.type(agent);
  await page.waitForURL(new RegExp(`q=${agent}`));
  await page.waitForFunction((agent) => [...document.querySelectorAll(".label .agent")].every((e) => e.textContent === agent), agent);
  await see(page, "#lane-0", new RegExp(`Beyond ${policy}`));
}
async function enter(page) {
  await page.locator(".scroller").focus();
  await page.keyboard.press("Home");
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/credential\?key=/);
  await ready(page, patience);
  return new URL(page.url()).searchParams.get("key");
}
/** Presses a button and the one that asks whether one is sure. */
async function switched(page, first, second) {
  await page.getByRole("button", { name: first }).click();
  await page.getByRole("button", { name: second }).click();
}

async function walk() {
  at = "the brake is pulled before the agents begin, so that none is revoked before somebody looks";
  const brake = await api(await show.link("guard", "security"));
  assert.equal((await brake("/v1/enforcement/kill", { on: true, reason: "until somebody looks" })).status, 200);
  held(at);

  at = "the one-time link signs in, and works once";
  const sid = await person(show.first);
  assert.equal(await sid.locator("h1").innerText(), "Fleet");
  assert.equal((await fetch(show.first, { redirect: "manual" })).status, 403);
  await see(sid, ".status", "Stopped: nothing is revoked");
  held(at);

  at = "the over-broad agent is among the first bars of the fleet";
  await stay(sid);
  await see(sid, ".label", /ingest[\s\S]*Beyond over-broad-agent-token/);
  const labels = await sid.locator(".label").allInnerTexts();
  const first = labels.findIndex((l) => /ingest[\s\S]*Beyond/.test(l));
  assert.ok(first >= 0 && labels.slice(0, first).every((l) => l.includes("Beyond")), `all before it are beyond policy too: ${labels.slice(0, first + 1).join(" | ")}`);
  await stayed(sid);
  await sound(sid);
  held(at);

  at = "its bar opens the credential: whose, why, and what happens next";
  await open(sid, "ingest", "over-broad-agent-token");
  const box = await sid.locator(".stage").boundingBox();
  await sid.mouse.click(box.x + box.width / 2, box.y + 14);
  await sid.waitForURL(/\/credential\?key=/);
  const ingest = new URL(sid.url()).searchParams.get("key");
  await see(sid, "h1", "ingest");
  await see(sid, "[aria-label='Why it stands out']", "over-broad-agent-token");
  await see(sid, "[aria-label='What happens next']", "Everything is stopped by the kill switch");
  await sound(sid);
  for (const tab of ["What it can do", "Whose it is", "If it leaked", "Right size"]) {
    await sid.getByRole("tab", { name: tab }).click();
    await sound(sid);
  }
  held(at);

  at = "its owner finds the duty first, and asks for an exception";
  const dora = await person(await show.link("dora", "owner,approver", "reliability-team"));
  assert.equal(await dora.locator("h1").innerText(), "My duties");
  await see(dora, "[data-duty]", "diagnostic");
  await sound(dora);
  await dora.locator("[data-duty]").filter({ hasText: "diagnostic" }).locator("h3 a").first().click();
  await see(dora, "h1", "diagnostic");
  const diagnostic = new URL(dora.url()).searchParams.get("key");
  assert.ok(diagnostic);
  await dora.getByRole("button", { name: "Ask for an exception" }).click();
  const dialog = dora.locator("dialog[open]");
  await dialog.locator("option[value='long-lived-agent-token']").waitFor({ state: "attached" });
  await accessible(dora);
  await dialog.getByLabel("Why it has to be so").fill("It watches a migration until the end of the month.");
  await dialog.getByRole("button", { name: "Ask", exact: true }).click();
  await see(dora, "dialog[open]", "Asked.");
  await accessible(dora);
  const number = await dialog.locator("dd.mono").innerText();
  await dialog.getByRole("button", { name: "Done" }).click();
  held(at);

  at = "she can not approve her own, neither on the page nor by the API";
  await view(dora, `/exceptions?id=${number}`);
  await see(dora, "article", "You asked for it: somebody else has to approve.");
  assert.equal(await dora.getByRole("button", { name: "Approve" }).count(), 0);
  const her = await api(await show.link("dora", "owner,approver", "reliability-team"));
  const refused = await her(`/v1/exceptions/${number}/approve`, {});
  assert.equal(refused.status, 403);
  assert.match((await refused.json()).detail, /approve/);
  held(at);

  at = "somebody else approves it, and her page shows it by itself";
  await view(dora, `/credential?key=${encodeURIComponent(diagnostic)}`);
  await stay(dora);
  const bob = await person(await show.link("bob", "approver"));
  await view(bob, "/enforcement?tab=approvals");
  await bob.locator("article").filter({ hasText: number }).getByRole("button", { name: "Approve" }).click();
  await see(dora, "[aria-label='What happens next']", "Exception in force");
  await see(dora, "[aria-label='What happens next']", "approved by bob");
  await stayed(dora);
  await sound(dora);
  held(at);

  at = "two clicks release the switch, and the revocation arrives on the open page without a reload";
  await view(sid, `/credential?key=${encodeURIComponent(ingest)}`);
  await stay(sid);
  const sec = await person(await show.link("sec", "security,admin"));
  await view(sec, "/enforcement");
  await switched(sec, "Go on…", "Really go on revoking");
  await see(sid, ".status", "Enforcing");
  await see(sid, ".head", "revoked");
  await see(sid, "[aria-label='What happens next']", /Proof:/);
  await stayed(sid);
  await sound(sid);
  await see(sec, "[role=tab]", /Done\s*[1-9]/);
  await sec.getByRole("tab", { name: "Done" }).click();
  await see(sec, "#list tr", /ingest[\s\S]*revoked and verified/i);
  await sound(sec);
  held(at);

  at = "the excepted one lives meanwhile";
  const alive = await (await her(`/v1/credential?key=${encodeURIComponent(diagnostic)}`)).json();
  assert.deepEqual([alive.state, alive.exception?.state], ["active", "in force"]);
  held(at);

  at = "two clicks pull the switch, on every page at once; what was to be revoked then waits for it";
  await view(dora, "/fleet");
  await stay(dora);
  await view(sec, "/enforcement");
  await switched(sec, "Stop everything…", "Really stop everything");
  await see(dora, ".status", /Stopped: nothing is revoked[\s\S]*by sec/);
  await stayed(dora);
  await sound(sec);
  await view(sid, `/credential?key=${encodeURIComponent(diagnostic)}`);
  await stay(sid);
  await view(bob, `/exceptions?id=${number}`);
  await switched(bob, "End now", "Really end it now");
  await see(bob, "article", "ended by bob");
  await sound(bob);
  await see(sid, "[aria-label='What happens next']", /(Held|Waiting):[\s\S]*kill switch/);
  await sound(sid);
  held(at);

  at = "two clicks release it, and what waited is revoked";
  await switched(sec, "Go on…", "Really go on revoking");
  await see(sid, ".status", "Enforcing");
  await see(sid, ".head", "revoked");
  await stayed(sid);
  held(at);

  for (const [path, shows] of Object.entries({
    "/fleet?group=owner": [".group", "platform-team"], "/fleet?view=space": ["main", "Space"], "/duties": ["h1", "My duties"], "/duties?owner=*": ["[data-duty]", "probing"],
    "/identities": ["main", "steady"], "/enforcement": ["h1", "Enforcement"], "/enforcement?tab=running": ["#list tr", "probing"], "/enforcement?tab=done": ["#list tr", "diagnostic"],
    "/exceptions": ["article", "Ticket ARCH-118"], "/policies": ["main", "over-broad-agent-token"], "/policy?id=long-lived-agent-token": ["main", "age: more than"],
    "/sources": ["main", "vault"], "/audit": ["main", "unbroken"],
  })) {
    at = `${path} shows what it is for`;
    await sid.goto(show.url + path);
    await ready(sid, patience);
    await see(sid, ...shows);
    await sound(sid);
    held(at);
  }

  at = "an identity, with how its names are known to be one";
  await sid.goto(`${show.url}/identities?q=steady`);
  await ready(sid, patience);
  await sid.locator("main a").filter({ hasText: "steady" }).first().click();
  await sid.waitForURL(/\/identity\?name=/);
  await see(sid, "main", "platform-team");
  await see(sid, "main", "spiffe");
  await sound(sid);
  held(at);
}

let failed = false;
try {
  await Promise.race([walk(), show.ended.then((how) => { throw new Error(`leastwise demo ${how} meanwhile. It said:\n${show.said().slice(-4000)}`); })]);
  at = "nothing was on the console, no request failed, none left for another host";
  assert.deepEqual(wrong, []);
  held(at);
} catch (e) {
  failed = true;
  const seen = await Promise.all(browser.contexts().flatMap((c) => c.pages()).map(async (p) => `${p.url()}\n${(await p.locator("main").innerText({ timeout: 5000 }).catch(() => "")).slice(0, 3000)}`));
  console.log(`FAIL ${at}\n     ${[e.message, ...wrong, "The pages then:", ...seen].join("\n").replaceAll("\n", "\n     ")}`);
}
await browser.close();
const how = await show.stop();
if (how !== "ended with 0") {
  failed = true;
  console.log(`FAIL the demo ends when it is told to\n     it ${how}`);
}
console.log(failed ? "failed" : "all well");
process.exitCode = failed ? 1 : 0;
