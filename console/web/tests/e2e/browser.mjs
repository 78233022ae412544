// Debian's Chromium, without a window and without a graphics card, watched for what must not happen.
import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const found = process.env.CHROMIUM ?? ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
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

/** The page has its data and has drawn it. */
export async function settled(page) {
  await page.waitForLoadState("load");
  await page.waitForSelector("main h1", { timeout: 20_000 });
  await page.waitForFunction(() => !/^\s*Loading/m.test(document.querySelector("main")?.innerText ?? "") && !document.querySelector("main [aria-busy=true]"), null, { timeout: 20_000 });
  await page.waitForTimeout(900);
}
