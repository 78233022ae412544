// An OpenID provider with two people. Its arguments: the folder with node_modules, and the redirect address of the client.
// It prints its issuer. /become/NAME chooses who signs in with this browser; no password is asked.
import { createServer } from "node:http";
import { pathToFileURL } from "node:url";
import { createRequire } from "node:module";

const [folder, redirect] = process.argv.slice(2);
const require = createRequire(pathToFileURL(`${folder}/package.json`));
const { default: Provider } = await import(pathToFileURL(require.resolve("oidc-provider")).href);

const people = {
  ada: { sub: "u-1", email: "ada@example.org", email_verified: true, groups: ["sre", "payments"] },
  mallory: { sub: "u-2", email: "ada@example.org", email_verified: false, groups: ["guests"] },
};

const server = createServer();
await new Promise((done) => server.listen(0, "127.0.0.1", done));
const issuer = `http://127.0.0.1:${server.address().port}`;
const provider = new Provider(issuer, {
  clients: [{ client_id: "leastwise", token_endpoint_auth_method: "none", redirect_uris: [redirect], grant_types: ["authorization_code"], response_types: ["code"] }],
  claims: { openid: ["sub"], email: ["email", "email_verified"], groups: ["groups"], profile: ["name"] },
  scopes: ["openid", "profile", "email", "groups"],
  pkce: { required: () => true },
  features: { devInteractions: { enabled: false } },
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  cookies: { keys: ["for tests alone"] },
  findAccount: (_, id) => {
    const one = Object.values(people).find((p) => p.sub === id);
    return one && { accountId: id, claims: () => one };
  },
});
const answer = provider.callback();

server.on("request", async (req, res) => {
  const path = new URL(req.url, issuer).pathname;
  if (path.startsWith("/become/")) {
    res.writeHead(204, { "Set-Cookie": `who=${path.slice("/become/".length)}; Path=/` }).end();
    return;
  }
  if (!path.startsWith("/interaction/")) {
    answer(req, res);
    return;
  }
  const who = people[/who=(\w+)/.exec(req.headers.cookie ?? "")?.[1]];
  if (!who) {
    await provider.interactionFinished(req, res, { error: "access_denied", error_description: "nobody" });
    return;
  }
  const { params } = await provider.interactionDetails(req, res);
  const grant = new provider.Grant({ accountId: who.sub, clientId: params.client_id });
  grant.addOIDCScope(params.scope);
  await provider.interactionFinished(req, res, { login: { accountId: who.sub }, consent: { grantId: await grant.save() } });
});
console.log(issuer);
