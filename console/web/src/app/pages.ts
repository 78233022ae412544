// Which page an address shows. Each page is fetched when it is first opened.
import type { Component } from "svelte";

const files = import.meta.glob<{ default: Component }>([
  "../pages/fleet/Fleet.svelte",
  "../pages/duties/Duties.svelte",
  "../pages/enforcement/Enforcement.svelte",
  "../pages/exceptions/Exceptions.svelte",
  "../pages/issuance/Issuance.svelte",
  "../pages/policies/Policies.svelte",
  "../pages/policies/Policy.svelte",
  "../pages/identity/Identities.svelte",
  "../pages/identity/Identity.svelte",
  "../pages/sources/Sources.svelte",
  "../pages/audit/Audit.svelte",
  "../pages/credential/Credential.svelte",
]);

interface Page { path: string; file: string; title: string; nav?: string }

const pages: Page[] = [
  { path: "/fleet", file: "fleet/Fleet", title: "Fleet", nav: "Fleet" },
  { path: "/duties", file: "duties/Duties", title: "My duties", nav: "My duties" },
  { path: "/enforcement", file: "enforcement/Enforcement", title: "Enforcement", nav: "Enforcement" },
  { path: "/exceptions", file: "exceptions/Exceptions", title: "Exceptions", nav: "Exceptions" },
  { path: "/issuance", file: "issuance/Issuance", title: "Issuance", nav: "Issuance" },
  { path: "/policies", file: "policies/Policies", title: "Policies", nav: "Policies" },
  { path: "/policy", file: "policies/Policy", title: "Policy" },
  { path: "/identities", file: "identity/Identities", title: "Identities", nav: "Identities" },
  { path: "/identity", file: "identity/Identity", title: "Identity" },
  { path: "/sources", file: "sources/Sources", title: "Sources", nav: "Sources" },
  { path: "/audit", file: "audit/Audit", title: "Audit log", nav: "Audit log" },
  { path: "/credential", file: "credential/Credential", title: "Credential" },
];

export const navigation = pages.filter((p) => p.nav).map((p) => ({ path: p.path, label: p.nav! }));
/** The page of the navigation under which a page stands that is not in it. */
export const under: Record<string, string> = { "/policy": "/policies", "/identity": "/identities", "/credential": "/fleet" };

export function find(path: string, home: string): Page | undefined {
  const wanted = path === "/" ? home : path.replace(/\/+$/, "");
  return pages.find((p) => p.path === wanted);
}

export async function open(page: Page): Promise<Component> {
  const file = files[`../pages/${page.file}.svelte`];
  if (!file) throw new Error(`This build has no page ${page.path}.`);
  return (await file()).default;
}
