// Debian's Chromium, without a window and without a graphics card, watched for what must not happen.
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const found = process.env.CHROMIUM || ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
if (!found) throw new Error("No Chromium: apt-get install chromium, or name it in CHROMIUM.");

export const launch = () => chromium.launch({ executablePath: found, args: ["--no-sandbox", "--use-angle=swiftshader", "--use-gl=angle", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist", "--disable-dev-shm-usage"] });

/** Collects console errors, failed pages and requests to hosts other than the page's own. */
export function watch(page, origin, wrong) {
  page.on("console", (m) => {
    // Chromium remarks on WebGL's speed without a graphics card; nothing of the page's is among that.
    if (m.type() === "error" || (m.type() === "warning" && !/GPU stall|GL Driver|software|swiftshader/i.test(m.text()))) wrong.push(`console: ${m.text()} (${page.url().slice(0, 120)})`);
  });
  page.on("pageerror", (e) => wrong.push(`broke: ${e.stack ?? e} (${page.url().slice(0, 120)})`));
  page.on("request", (r) => {
    const url = new URL(r.url());
    if (!["data:", "blob:"].includes(url.protocol) && url.origin !== origin) wrong.push(`request to another host: ${r.url()}`);
  });
}

/** The page has its data. */
export async function ready(page, timeout = 20_000) {
  await page.waitForSelector("main h1", { state: "attached", timeout });
  await page.waitForFunction(() => !/^\s*Loading/m.test(document.querySelector("main")?.innerText ?? "") && !document.querySelector("main [aria-busy=true]"), null, { timeout });
}

/** The page has its data and has drawn it. */
export async function settled(page) {
  await page.waitForLoadState("load");
  await ready(page);
  await page.waitForTimeout(900);
}

/** axe finds nothing that it calls serious or critical. */
export async function accessible(page) {
  // Handed over by the protocol: the page's own policy would not let a script in.
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
  const bad = violations.filter((v) => v.impact === "serious" || v.impact === "critical");
  assert.deepEqual(bad.map((v) => `${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((n) => `${n.target} ${n.any?.[0]?.message ?? ""}`).join(" | ")}`), []);
}
