// `leastwise demo` as a process: started, asked for links, and ended with everything that it started.
import { execFile, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const binary = process.env.LEASTWISE ?? fileURLToPath(new URL("../../../../bin/leastwise", import.meta.url));

/** Resolves when the page answers; the servers that the demo runs on have to start first. */
export async function demo({ patience }) {
  const dir = mkdtempSync(join(tmpdir(), "leastwise-walk-"));
  const config = join(dir, "link.yaml");
  writeFileSync(config, `data_dir: ${join(dir, "data")}\nkafka: embedded\nclickhouse: embedded\n`);
  const child = spawn(binary, ["demo", "--dir", dir, "--page", "127.0.0.1:0", "--listen", "none"], { stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  const ended = new Promise((resolve) => {
    child.once("error", (e) => resolve(`could not be started: ${e.message}`));
    child.once("exit", (code, signal) => resolve(`ended with ${signal ?? code}`));
  });
  const stop = async () => {
    child.kill("SIGTERM");
    const late = setTimeout(() => child.kill("SIGKILL"), 60_000);
    const how = await ended;
    clearTimeout(late);
    rmSync(dir, { recursive: true, force: true });
    return how;
  };
  const opened = new Promise((resolve) => {
    const listen = (chunk) => {
      said += chunk;
      const found = /\(the link works once\): (\S+)/.exec(said);
      if (found) resolve(found[1]);
    };
    child.stdout.on("data", listen);
    child.stderr.on("data", listen);
  });
  let timer;
  const late = new Promise((resolve) => { timer = setTimeout(resolve, patience, "was not ready in time"); });
  const first = await Promise.race([opened, ended, late]);
  clearTimeout(timer);
  if (!first.startsWith("http")) {
    await stop();
    throw new Error(`leastwise demo ${first}. It said:\n${said}`);
  }
  return {
    first, url: new URL(first).origin, ended, stop, said: () => said,
    /** Another one-time link, as `leastwise link` prints it. */
    async link(name, roles, owner) {
      const args = ["link", "--config", config, "--name", name, "--role", roles, ...(owner ? ["--owner", owner] : [])];
      return (await promisify(execFile)(binary, args)).stdout.trim();
    },
  };
}

/** Signs in without a browser, for what has to be quick. */
export async function api(link) {
  const entered = await fetch(link, { redirect: "manual" });
  if (entered.status !== 200) throw new Error(`the link answered ${entered.status}`);
  const cookie = entered.headers.getSetCookie().map((c) => c.split(";")[0]).join("; ");
  const base = new URL(link).origin;
  const me = await (await fetch(`${base}/v1/me`, { headers: { cookie } })).json();
  return (path, body) => fetch(base + path, body === undefined ? { headers: { cookie } } : { method: "POST", headers: { cookie, "X-CSRF-Token": me.csrf, "Content-Type": "application/json" }, body: JSON.stringify(body) });
}
