// Writes every page at three widths, light and dark, into screenshots/. Words given narrow it down: npm run screenshots -- fleet 390
import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { serve } from "../../mock/server.mjs";
import { launch, settled, watch } from "./browser.mjs";

const out = fileURLToPath(new URL("../../screenshots/", import.meta.url));
mkdirSync(out, { recursive: true });
const server = await serve({ n: Number(process.env.N ?? 4000) });
const key = (agent) => encodeURIComponent(server.fleet.named(agent).key);
const pages = {
  fleet: "/fleet", "fleet-grouped": "/fleet?group=owner", "fleet-whole": "/fleet?rows=whole", "fleet-space": "/fleet?view=space", duties: "/duties", credential: `/credential?key=${key("diagnostic")}`,
  "credential-probing": `/credential?key=${key("probing")}`, "credential-hostile": `/credential?key=${encodeURIComponent(server.fleet.list.find((c) => c.key.includes("<img")).key)}`,
  "credential-scope": `/credential?key=${key("diagnostic")}&tab=scope`, approvals: "/enforcement?tab=approvals", identities: "/identities", identity: `/identity?name=${encodeURIComponent("agent/diagnostic")}`, enforcement: "/enforcement", exceptions: "/exceptions", policies: "/policies",
  policy: "/policy?id=long-lived-agent-token", "policy-moved": "/policy?id=long-lived-agent-token&tab=whatif&threshold=72h", "policy-file": "/policy?id=over-broad-agent-token&tab=yaml", "policy-rego": "/policy?id=over-broad-agent-token&tab=rego", sources: "/sources", audit: "/audit",
  leak: `/credential?key=${key("diagnostic")}&tab=leak`, rightsize: `/credential?key=${key("ingest")}&tab=rightsize`, plan: "/enforcement?tab=plan", glass: "/enforcement?tab=back", done: "/enforcement?tab=done", issuance: "/issuance",
};
const words = process.argv.slice(2);
const wrong = [];
const browser = await launch();
for (const [name, path] of Object.entries(pages)) {
  for (const [width, height] of [[1440, 900], [1024, 768], [390, 844]]) {
    for (const scheme of ["light", "dark"]) {
      const file = `${name}-${width}-${scheme}`;
      if (words.length && !words.every((w) => file.split("-").includes(w) || file === w || (w === name))) continue;
      const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, timezoneId: "Europe/Berlin", reducedMotion: "reduce" });
      const page = await context.newPage();
      watch(page, server.url, wrong);
      try {
        await page.goto(server.url + path);
        await settled(page);
        await page.screenshot({ path: `${out}${file}.png`, fullPage: true });
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        if (wide > 0) wrong.push(`${file}: ${wide} px wider than the screen`);
      } catch (e) {
        wrong.push(`${file}: ${e.message}`);
      }
      await context.close();
    }
  }
}
await browser.close();
server.close();
if (wrong.length) {
  console.error([...new Set(wrong)].join("\n"));
  process.exitCode = 1;
} else console.log(`screenshots are in ${out}`);
