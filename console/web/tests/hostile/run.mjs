// Opens every view of a real console on a fleet whose every name was chosen by an attacker, and looks for any that acts:
// that runs, asks another host, opens a dialog, or becomes markup. cmd/leastwise/hostile starts it.
//   LINK: a one-time link    SPEC: JSON of what to open, {paths, texts}
import assert from "node:assert/strict";
import { accessible, launch, ready, watch } from "../e2e/browser.mjs";

const { paths, texts } = JSON.parse(process.env.SPEC);
const link = process.env.LINK;
const origin = new URL(link).origin;
const patience = 120_000;
const wrong = [];
const browser = await launch();
const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, reducedMotion: "reduce", acceptDownloads: true });
const page = await context.newPage();
page.setDefaultTimeout(patience);
watch(page, origin, wrong);
let at = "";
context.on("page", (p) => { if (p !== page) wrong.push(`${at}: a window opened: ${p.url()}`); });
page.on("dialog", (d) => { wrong.push(`${at}: a dialog opened: ${d.message()}`); void d.dismiss(); });
page.on("response", (r) => { if (r.status() >= 400) wrong.push(`${at}: ${r.status()} ${r.url()}`); });

/** What of the page's own code never makes, so that a text made it. */
const made = () => {
  const found = [];
  if (window.acted !== undefined) found.push("a script ran");
  for (const e of document.querySelectorAll("main img, main script, main iframe, main object, main embed, main form[action], main base, main meta, main link, main style")) found.push(e.outerHTML.slice(0, 200));
  for (const e of document.querySelectorAll("*")) {
    for (const { name, value } of e.attributes) {
      if (/^on/i.test(name)) found.push(`${e.tagName} ${name}=${value.slice(0, 100)}`);
      if (["href", "src", "action", "formaction", "xlink:href"].includes(name) && new URL(value, location.href).origin !== location.origin) found.push(`${e.tagName} leads to ${value.slice(0, 100)}`);
    }
  }
  return found;
};
async function look() {
  await ready(page, patience);
  for (const what of await page.evaluate(made)) wrong.push(`${at}: ${what}`);
  assert.equal(await page.locator("main [role=alert]").count(), 0, `${at} shows trouble: ${await page.locator("main [role=alert]").allInnerTexts()}`);
}
try {
  await page.goto(link);
  await page.waitForURL((url) => url.origin === origin && !url.pathname.startsWith("/auth/"));
  const opened = new Set();
  for (const path of paths) {
    at = path.slice(0, 120);
    await page.goto(origin + path);
    await look();
    // The tabs of a page once.
    const { pathname } = new URL(path, origin);
    if (!opened.has(pathname)) for (const tab of await page.getByRole("tab").all()) {
      at = `${path.slice(0, 120)}, ${await tab.innerText()}`;
      await tab.click();
      await look();
    }
    opened.add(pathname);
    // What was folded away shows too.
    await page.evaluate(() => document.querySelectorAll("details").forEach((d) => { d.open = true; }));
    await look();
  }
  console.log(`ok   ${paths.length} views and their tabs: no text of the fleet's acted`);

  at = "texts are shown as they are";
  await page.goto(`${origin}/exceptions`);
  await look();
  const shown = await page.locator("main").innerText();
  for (const text of texts) assert.ok(shown.includes(text), `${text} is not to be read`);
  console.log(`ok   ${at}`);

  at = "a hostile credential on a phone";
  await page.setViewportSize({ width: 390, height: 844 });
  for (const path of [paths.find((p) => p.startsWith("/credential")), paths.findLast((p) => p.startsWith("/credential")), "/exceptions", "/duties?owner=*"]) {
    await page.goto(origin + path);
    await look();
    assert.ok((await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)) <= 0, `${path.slice(0, 120)} is wider than the screen`);
  }
  await accessible(page);
  console.log(`ok   ${at} fits`);

  at = "hovering over the bars";
  await page.setViewportSize({ width: 1440, height: 900 });
  await page.goto(`${origin}/fleet`);
  await look();
  const box = await page.locator(".stage").boundingBox();
  for (let y = 12; y < Math.min(box.height, 600); y += 22) {
    await page.mouse.move(box.x + box.width / 2, box.y + y);
    for (const what of await page.evaluate(made)) wrong.push(`${at}: ${what}`);
  }
  console.log(`ok   ${at} shows text alone`);
  assert.deepEqual(wrong, []);
} catch (e) {
  console.log(`FAIL ${at}\n     ${[e.message, ...wrong].join("\n     ")}`);
  process.exitCode = 1;
}
await browser.close();
