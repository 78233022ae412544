// Walks through the pages in Chromium against the mock: nothing may break, speak to another host or lock anybody out.
//   DIST: the built page (dist)
import assert from "node:assert/strict";
import { serve } from "../../mock/server.mjs";
import { accessible, launch, settled, watch } from "./browser.mjs";

const server = await serve({ n: 3000 });
const browser = await launch();
const key = (agent) => encodeURIComponent(server.fleet.named(agent).key);
const hostileKey = encodeURIComponent(server.fleet.list.find((c) => c.key.includes("<img")).key);
const all = {
  fleet: "/fleet", space: "/fleet?view=space", grouped: "/fleet?group=owner&rows=small", duties: "/duties", credential: `/credential?key=${key("diagnostic")}`, "hostile credential": `/credential?key=${hostileKey}`,
  identities: "/identities", identity: `/identity?name=${encodeURIComponent("agent/diagnostic")}`, enforcement: "/enforcement", exceptions: "/exceptions", policies: "/policies", policy: "/policy?id=long-lived-agent-token",
  "policy moved": "/policy?id=over-broad-agent-token&tab=whatif&threshold=20", approvals: "/enforcement?tab=approvals", sources: "/sources", audit: "/audit",
  "if it leaked": `/credential?key=${key("diagnostic")}&tab=leak`, "if it leaked and were revoked": `/credential?key=${key("diagnostic")}&tab=leak&after=revoke`, "right size": `/credential?key=${key("ingest")}&tab=rightsize`,
  plan: "/enforcement?tab=plan", "broken glass": "/enforcement?tab=back", "done": "/enforcement?tab=done", issuance: "/issuance",
};
let failed = 0;
const words = process.argv.slice(2);

async function test(name, f, options = {}) {
  if (words.length && !words.some((w) => name.includes(w))) return;
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, timezoneId: "Europe/Berlin", reducedMotion: "reduce", ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  const wrong = [];
  watch(page, server.url, wrong);
  try {
    await f(page, wrong);
    assert.deepEqual(wrong, [], "nothing is on the console, no request leaves");
    assert.equal(await page.evaluate(() => window.acted), undefined, "no text of the fleet's acted");
    console.log(`ok   ${name}`);
  } catch (e) {
    failed++;
    console.log(`FAIL ${name}\n     ${String(e.message).replaceAll("\n", "\n     ")}${wrong.length ? `\n     ${wrong.join("\n     ")}` : ""}`);
  }
  await context.close();
}
const open = async (page, path) => {
  await page.goto(server.url + path);
  await settled(page);
};
/** How many pixels of an element have nearly this colour. */
async function pixels(page, selector, rgb) {
  const shot = await page.locator(selector).screenshot();
  return page.evaluate(async ([bytes, rgb]) => {
    const image = await createImageBitmap(new Blob([new Uint8Array(bytes)]));
    const canvas = new OffscreenCanvas(image.width, image.height);
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    const { data } = context.getImageData(0, 0, image.width, image.height);
    let n = 0;
    for (let i = 0; i < data.length; i += 4) if (Math.abs(data[i] - rgb[0]) + Math.abs(data[i + 1] - rgb[1]) + Math.abs(data[i + 2] - rgb[2]) < 24) n++;
    return n;
  }, [[...shot], rgb]);
}

for (const [name, path] of Object.entries(all)) {
  for (const colorScheme of ["light", "dark"]) await test(`${name} is accessible, ${colorScheme}`, async (page) => { await open(page, path); await accessible(page); }, { colorScheme });
  await test(`${name} fits a phone`, async (page) => {
    await open(page, path);
    assert.ok((await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)) <= 0, "nothing is wider than the screen");
    await accessible(page);
  }, { viewport: { width: 390, height: 844 } });
}

await test("the long-lived broad credential is the first bar and is drawn", async (page) => {
  await open(page, "/fleet");
  assert.match(await page.locator("#lane-0").innerText(), /diagnostic/);
  assert.ok((await pixels(page, ".stage", [217, 89, 11])) > 2000, "bars are drawn in their colour");
});
await test("lanes: arrows move, Enter opens, / filters", async (page) => {
  await open(page, "/fleet");
  await page.locator(".scroller").focus();
  for (let n = 0; n < 3; n++) await page.keyboard.press("ArrowDown");
  assert.equal(await page.locator(".scroller").getAttribute("aria-activedescendant"), "lane-3");
  await page.keyboard.press("End");
  await page.waitForFunction(() => document.querySelector(".scroller").scrollTop > 1000);
  assert.equal(await page.locator("#lane-2999").count(), 1);
  await page.keyboard.press("Home");
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/credential\?key=/);
  assert.ok(page.url().includes(key("diagnostic")));
  await page.goBack();
  await settled(page);
  await page.keyboard.press("/");
  await page.keyboard.type("diagnostic");
  await page.waitForURL(/q=diagnostic/);
  await page.waitForFunction(() => document.querySelectorAll(".label").length === 2);
});
await test("lanes: hovering tells who and why, a click opens the credential", async (page) => {
  await open(page, "/fleet");
  const box = await page.locator(".stage").boundingBox();
  await page.mouse.move(box.x + 700, box.y + 14);
  assert.match(await page.locator(".hover").innerText(), /diagnostic[\s\S]*reliability-team[\s\S]*Beyond/);
  await page.mouse.click(box.x + 700, box.y + 14);
  await page.waitForURL(/\/credential/);
});
await test("lanes: dragging zooms in time, Shift and dragging selects, Escape clears", async (page) => {
  await open(page, "/fleet");
  const box = await page.locator(".stage").boundingBox();
  const drag = async (x0, y0, x1, y1) => {
    await page.mouse.move(box.x + x0, box.y + y0);
    await page.mouse.down();
    await page.mouse.move(box.x + (x0 + x1) / 2, box.y + (y0 + y1) / 2);
    await page.mouse.move(box.x + x1, box.y + y1);
    await page.mouse.up();
  };
  await page.keyboard.down("Shift");
  await drag(300, 20, 800, 200);
  await page.keyboard.up("Shift");
  await page.getByText("Clear selection").waitFor();
  assert.match(await page.locator(".side").innerText(), /The \d+ selected, against/);
  await page.keyboard.press("Escape");
  await page.getByText("Clear selection").waitFor({ state: "detached" });
  await drag(300, 50, 500, 52);
  await page.waitForURL(/from=\d+&to=\d+/);
  await page.getByRole("button", { name: "all time" }).click();
  await page.waitForFunction(() => !location.search.includes("from="));
});
await test("lanes: zooming in time keeps the row one is at", async (page) => {
  await open(page, "/fleet");
  await page.locator(".scroller").focus();
  await page.evaluate(() => (document.querySelector(".scroller").scrollTop = 3000));
  await page.keyboard.press("+");
  await page.waitForURL(/from=\d+/);
  await page.waitForTimeout(300);
  assert.equal(await page.evaluate(() => document.querySelector(".scroller").scrollTop), 3000);
});
await test("space: a box fills the list beside it", async (page) => {
  await open(page, "/fleet?view=space");
  await page.getByRole("button", { name: "select", exact: true }).click();
  const box = await page.locator(".holder").boundingBox();
  await page.mouse.move(box.x + box.width * 0.2, box.y + box.height * 0.2);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.6, box.y + box.height * 0.6);
  await page.mouse.move(box.x + box.width * 0.9, box.y + box.height * 0.9);
  await page.mouse.up();
  await page.getByText("Clear selection").waitFor();
  assert.match(await page.locator(".side").innerText(), /The [\d,]+ selected/);
  assert.ok((await page.locator(".listed li").count()) > 5);
});
await test("what stands out narrows the view down", async (page) => {
  await open(page, "/fleet");
  await page.locator(".standing button").first().click();
  await page.waitForURL(/\?(source|owner|agent|type)=/);
});
await test("a server that is away is told, and the page comes back", async (page, wrong) => {
  let away = true;
  await page.route("**/v1/fleet?*", (r) => (away ? r.fulfill({ status: 503, contentType: "application/problem+json", body: JSON.stringify({ title: "The database is away", status: 503, detail: "ClickHouse can not be reached." }) }) : r.fallback()));
  await page.goto(`${server.url}/fleet`);
  await page.getByRole("alert").waitFor();
  assert.match(await page.getByRole("alert").innerText(), /database is away/);
  away = false;
  await page.getByRole("button", { name: "Try again" }).click();
  await page.locator("#lane-0").waitFor();
  wrong.splice(0, wrong.length, ...wrong.filter((w) => !w.includes("503")));
});
await test("who is not signed in is asked to", async (page, wrong) => {
  await page.route("**/v1/me", (r) => r.fulfill({ status: 401, contentType: "application/problem+json", body: JSON.stringify({ title: "Sign in", status: 401, detail: "" }) }));
  await page.goto(`${server.url}/fleet`);
  await page.getByRole("link", { name: "Sign in" }).waitFor();
  await accessible(page);
  wrong.splice(0, wrong.length, ...wrong.filter((w) => !w.includes("401")));
});
await test("a revocation that waits for a person's word is approved in two steps", async (page) => {
  await open(page, "/enforcement?tab=approvals");
  const item = page.locator(".asking li").first();
  await item.getByRole("button", { name: "Approve…" }).click();
  const sure = item.getByRole("button", { name: "Approve the revocation" });
  assert.ok(await sure.isDisabled(), "without a reason nothing is approved");
  await accessible(page);
  const asked = page.waitForRequest((r) => r.method() === "POST" && r.url().endsWith("/v1/enforcement/approve"));
  await item.getByRole("textbox").fill("Its owner agreed");
  await sure.click();
  assert.match((await asked).postData(), /"ladder":"ld-[0-9a-f]+","act":"revoke","reason":"Its owner agreed"/);
  await page.waitForFunction(() => document.querySelectorAll(".asking > li").length === 2);
});
await test("what a leak leads to stands as a picture and in words, beside what would be left", async (page) => {
  await open(page, `/credential?key=${key("diagnostic")}&tab=leak`);
  await page.getByRole("img", { name: /Where it leads now/ }).waitFor();
  assert.ok((await page.locator(".graph svg path.proven").count()) >= 1 && (await page.locator(".graph svg path.suggested").count()) >= 1, "certainty is drawn");
  await page.locator(".leaked ol").getByText("make itself a secret id").first().waitFor();
  assert.match(await page.getByRole("region", { name: "Before and after" }).innerText(), /Sensitive things within reach\s+2\s+0/);
  await page.getByRole("button", { name: "revoked", exact: true }).focus();
  await page.keyboard.press("Enter");
  await page.waitForURL(/after=revoke/);
  await page.getByText("Nothing is left: nobody can use it.").waitFor();
});
await test("the right size shows what it would have refused, and is copied", async (page) => {
  await open(page, `/credential?key=${key("ingest")}&tab=rightsize`);
  await page.getByText(/it would have refused these/).waitFor();
  await page.getByText("vault policy write rightsized-ingest FILE").waitFor();
  await page.getByLabel("Judged by the use of the last").selectOption("7");
  await page.waitForURL(/days=7/);
  await page.getByRole("button", { name: "Copy", exact: true }).first().click();
  await page.getByText(/^(Copied|Selected: press)/).first().waitFor();
});
await test("the plan names the guards that refuse, and what else is hit", async (page) => {
  await open(page, "/enforcement?tab=plan");
  const step = page.locator(".panel > li", { hasText: "diagnostic" }).first();
  await step.getByText("it would hit others too").waitFor();
  assert.match(await step.innerText(), /guard “collateral”/);
  assert.match(await step.innerText(), /2 others, 1 made with it/);
  await page.getByText(/Moved: from Saturday/).waitFor();
});
await test("the glass is broken with a reason, in two steps", async (page) => {
  await open(page, "/enforcement?tab=back");
  await page.getByText("Revoked, and still works until").waitFor();
  const item = page.locator(".panel > li", { hasText: "still works until" });
  await item.getByRole("button", { name: "Give it back…" }).click();
  const sure = page.getByRole("button", { name: "Really give it back" });
  assert.ok(await sure.isDisabled(), "without a reason nothing is given back");
  await accessible(page);
  const asked = page.waitForRequest((r) => r.method() === "POST" && r.url().endsWith("/v1/enforcement/restore"));
  await page.getByLabel(/Why does it have to work again/).fill("Production stands still");
  await sure.click();
  assert.match((await asked).postData(), /"ladder":"ld-[0-9a-f]+","reason":"Production stands still"/);
  await page.getByText("“Production stands still”").waitFor();
});
await test("what an agent asks for is approved and refused with a reason, in two steps", async (page) => {
  await open(page, "/issuance");
  const waiting = page.getByRole("region", { name: "Waiting for a decision" });
  const one = waiting.getByRole("article").filter({ hasText: "DATA-77" });
  assert.match(await one.innerText(), /Agent ingest of data-team asks for a token with policy warehouse-write, for 2 d/);
  assert.match(await one.getByLabel("What admission says").innerText(), /long-lived-agent-token: lifetime is 2d[\s\S]*over-broad-agent-token: permission scope complexity is 41/);
  await one.getByRole("button", { name: "Approve…" }).click();
  const sure = one.getByRole("button", { name: "Approve it" });
  assert.ok(await sure.isDisabled(), "without a reason nothing is approved");
  await accessible(page);
  const asked = page.waitForRequest((r) => r.method() === "POST" && /\/v1\/issuance\/iss-[0-9a-f]+\/approve$/.test(r.url()));
  await one.getByLabel(/Why may it be issued/).fill("Planned, CHG-7");
  await sure.click();
  assert.equal((await asked).postData(), '{"reason":"Planned, CHG-7"}');
  await page.getByRole("region", { name: "Approved, not fetched yet" }).getByText("Planned, CHG-7").waitFor();
  const other = waiting.getByRole("article").first();
  await other.getByRole("button", { name: "Refuse…" }).click();
  await other.getByLabel(/Why not/).fill("Read access is enough");
  await other.getByRole("button", { name: "Refuse it" }).click();
  await page.getByRole("region", { name: "Refused" }).getByText("Read access is enough", { exact: true }).waitFor();
  await page.getByText("ends by itself").first().waitFor();
  await page.getByLabel("Show").selectOption("issued");
  await page.waitForURL(/state=issued/);
  assert.equal(await page.getByRole("article").count(), 2);
});
await test("where no agent asked, the page of issuance says what to do", async (page) => {
  await page.route("**/v1/issuance", (route) => route.fulfill({ json: { items: [] } }));
  await open(page, "/issuance");
  await page.getByText("No agent has asked for more than policy allows").waitFor();
  await page.getByText("leastwise broker").waitFor();
  await accessible(page);
});
await test("a narrower one is rolled back from the credential's page", async (page) => {
  await open(page, `/credential?key=${encodeURIComponent(server.fleet.list[42].key)}&tab=rightsize`);
  await page.getByRole("button", { name: "Put the former scope back…" }).click();
  await page.getByLabel(/Why is the narrower one too narrow/).fill("It refuses the report");
  await page.getByRole("button", { name: "Really put it back" }).click();
  await page.getByText("it is being put back").waitFor();
});
await test("moving a limit shows who would fall under it now and on the days before", async (page) => {
  await open(page, "/policy?id=long-lived-agent-token&tab=whatif");
  await page.getByLabel("The exact limit").fill("72h");
  await page.waitForURL(/threshold=72h/);
  await page.getByText(/with 168h, as it is/).waitFor();
  await page.getByRole("columnheader", { name: "Days past it" }).first().waitFor();
  assert.match(await page.locator(".past svg").getAttribute("aria-label"), /From \d+ on .* to \d+ now with 72h; with 168h, from \d+/);
  await page.getByLabel("Look back").selectOption("30");
  await page.waitForURL(/days=30/);
  await page.getByRole("heading", { name: "The last 30 days" }).waitFor();
  await accessible(page);
});
await test("a policy tells how its conditions belong together, where it is written and what decides", async (page) => {
  await open(page, "/policy?id=over-broad-agent-token");
  await page.getByRole("heading", { name: "It objects when all of these hold" }).waitFor();
  await page.getByRole("tab", { name: "Its file" }).click();
  await page.getByText("policies/over-broad-agent-token.yaml:1").waitFor();
  await page.getByRole("tab", { name: "What decides" }).click();
  await page.getByText("package leastwise.decision").waitFor();
  await page.getByLabel("File").selectOption("admission.rego");
  await page.getByText("package leastwise.admission").waitFor();
  assert.match(page.url(), /file=admission\.rego/);
});
await test("a credential shows every threshold that holds for it beside its last days", async (page) => {
  await open(page, `/credential?key=${key("diagnostic")}`);
  const four = page.getByLabel("The four measures");
  await four.getByText("allowed: at most 30 d").waitFor();
  assert.ok((await four.locator("svg path.limit").count()) >= 3, "limits are drawn");
});
await test("the order of a table stands in the address", async (page) => {
  await open(page, "/policies");
  await page.getByRole("button", { name: "Severity" }).click();
  await page.waitForURL(/by=severity/);
  const first = await page.locator("tbody tr").first().innerText();
  await page.reload();
  await settled(page);
  assert.equal(await page.locator("tbody tr").first().innerText(), first);
  assert.match(first, /idle-cloud-key/);
});
await test("the kill switch shows on every page at once", async (page) => {
  await open(page, "/fleet");
  const post = (on) => page.evaluate((on) => fetch("/v1/enforcement/kill", { method: "POST", body: JSON.stringify({ on, reason: "a test" }) }).then((r) => r.status), on);
  assert.equal(await post(true), 200);
  await page.getByText("Stopped: nothing is revoked").waitFor();
  await post(false);
  await page.getByText("Stopped: nothing is revoked").waitFor({ state: "detached" });
});
await browser.close();
server.close();

if (!words.length || words.includes("large")) {
const large = await serve({ n: 100_000 });
const second = await launch();
const page = await second.newPage({ viewport: { width: 1440, height: 900 } });
try {
  const begun = Date.now();
  await page.goto(`${large.url}/fleet`);
  await page.locator("#lane-0").waitFor({ timeout: 30_000 });
  console.log(`     100,000 credentials: first labels after ${Date.now() - begun} ms`);
  const nodes = await page.evaluate(() => document.querySelectorAll("*").length);
  assert.ok(nodes < 2500, `${nodes} elements`);
  const frames = await page.evaluate(async () => {
    const s = document.querySelector(".scroller");
    const times = [];
    let last = performance.now();
    for (let n = 0; n < 90; n++) {
      s.scrollTop += 400;
      await new Promise(requestAnimationFrame);
      const now = performance.now();
      times.push(now - last);
      last = now;
    }
    return times.sort((a, b) => a - b);
  });
  console.log(`ok   100,000 credentials: ${nodes} elements; frames while scrolling: median ${frames[45].toFixed(0)} ms, 95th ${frames[85].toFixed(0)} ms`);
} catch (e) {
  failed++;
  console.log(`FAIL 100,000 credentials\n     ${e.message}`);
}
await second.close();
large.close();
}
console.log(failed ? `${failed} failed` : "all well");
process.exitCode = failed ? 1 : 0;
