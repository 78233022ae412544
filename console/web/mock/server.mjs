// Answers the contract of src/lib/types.ts with an invented fleet, and serves the built page with the headers that the real
// server sends. For looking at pages and for their tests; nothing that it says is true.
//   PORT (8391), N credentials (4000), SEED (7), MOCK_ROLE ("owner": whoever opens the page is an owner), DIST (../dist)
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { fault, world } from "./answers.mjs";
import { feed } from "./feed.mjs";
import { fleet } from "./fleet.mjs";

const dist = process.env.DIST ?? fileURLToPath(new URL("../dist", import.meta.url));
const kinds = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".json": "application/json" };
const headers = {
  "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
  "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
};

export async function serve({ port = 0, n = 4000, seed = 7 } = {}) {
  const f = fleet({ n, seed });
  const w = world(f);
  const bytes = feed(f.list, f.now);
  const listeners = new Set();
  const tell = (event, data) => listeners.forEach((l) => l.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`));
  const timer = setInterval(() => tell("status", w.get["/v1/status"]()), 10_000);
  timer.unref();

  const json = (res, body, status = 200, type = "application/json") => {
    res.writeHead(status, { ...headers, "Content-Type": type, "Cache-Control": "no-store" });
    res.end(JSON.stringify(body));
  };
  const cell = (v) => { let s = v === null || v === undefined ? "" : typeof v === "object" ? JSON.stringify(v) : String(v); if (/^[=+\-@\t\r]/.test(s)) s = `'${s}`; return `"${s.replaceAll('"', '""')}"`; };

  async function answer(req, res, url) {
    const path = url.pathname;
    if (req.method === "POST") {
      let body = "";
      for await (const chunk of req) body += chunk;
      for (const [pattern, f, what] of w.post) {
        const m = path.match(pattern);
        if (!m) continue;
        const out = f(JSON.parse(body || "{}"), ...m.slice(1).map(decodeURIComponent));
        json(res, out);
        tell("changed", { what, keys: [] });
        tell("status", w.get["/v1/status"]());
        return;
      }
      throw fault(404, "There is no such address", path);
    }
    if (path === "/v1/live") {
      res.writeHead(200, { ...headers, "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
      res.write(`event: status\ndata: ${JSON.stringify(w.get["/v1/status"]())}\n\n`);
      listeners.add(res);
      req.on("close", () => listeners.delete(res));
      return;
    }
    if (path === "/v1/fleet") {
      res.writeHead(200, { ...headers, "Content-Type": "application/octet-stream", "Content-Length": bytes.length });
      res.end(bytes);
      return;
    }
    const policy = path.match(/^\/v1\/policies\/([^/]+)(\/whatif)?$/);
    if (policy) return json(res, policy[2] ? w.whatif(decodeURIComponent(policy[1]), url.searchParams) : w.policyDetail(decodeURIComponent(policy[1])));
    if (w.get[path]) {
      const out = w.get[path](url.searchParams);
      if (req.headers.accept === "text/csv" && out.items) {
        const names = Object.keys(out.items[0] ?? {});
        res.writeHead(200, { ...headers, "Content-Type": "text/csv" });
        return res.end([names, ...out.items.map((i) => names.map((k) => i[k]))].map((r) => r.map(cell).join(",")).join("\r\n"));
      }
      return json(res, out);
    }
    if (path.startsWith("/v1/")) throw fault(404, "There is no such address", path);
    const file = normalize(join(dist, path));
    const isFile = extname(path) !== "" && file.startsWith(dist);
    const content = await readFile(isFile ? file : join(dist, "index.html")).catch(() => { throw fault(404, "Not there", isFile ? path : "Build the page first: npm run build"); });
    res.writeHead(200, { ...headers, "Content-Type": kinds[isFile ? extname(file) : ".html"] ?? "application/octet-stream", "Cache-Control": isFile && path.startsWith("/assets/") ? "max-age=31536000, immutable" : "no-store" });
    res.end(content);
  }

  const server = createServer((req, res) => {
    answer(req, res, new URL(req.url, "http://mock")).catch((e) => {
      const problem = e.problem ?? { type: "about:blank", status: 500, title: "The mock broke", detail: String(e.stack) };
      json(res, problem, problem.status, "application/problem+json");
    });
  });
  await new Promise((ok, no) => server.once("error", no).listen(port, "127.0.0.1", ok));
  return { url: `http://127.0.0.1:${server.address().port}`, fleet: f, tell, close: () => { clearInterval(timer); listeners.forEach((l) => l.end()); server.close(); server.closeAllConnections(); } };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { url } = await serve({ port: Number(process.env.PORT ?? 8391), n: Number(process.env.N ?? 4000), seed: Number(process.env.SEED ?? 7) });
  console.log(`mock of Leastwise on ${url}`);
}
