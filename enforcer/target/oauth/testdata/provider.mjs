// An authorization server whose tokens the tests revoke. Its argument: the folder with node_modules, and the JWK of the
// client that shows itself by an assertion. It prints its issuer. /mint gives a refresh token as the code flow would,
// without the browser that the flow needs.
import { createServer } from "node:http";
import { pathToFileURL } from "node:url";
import { createRequire } from "node:module";

const [folder, jwk] = process.argv.slice(2);
const require = createRequire(pathToFileURL(`${folder}/package.json`));
const { default: Provider, errors } = await import(pathToFileURL(require.resolve("oidc-provider")).href);

const server = createServer();
await new Promise((done) => server.listen(0, "127.0.0.1", done));
const issuer = `http://127.0.0.1:${server.address().port}`;
const service = (client_id, more = {}) => ({
  client_id,
  client_secret: `secret of ${client_id}: +/%`,
  grant_types: ["client_credentials", "refresh_token", "authorization_code"],
  redirect_uris: ["http://127.0.0.1/nowhere"],
  response_types: ["code"],
  ...more,
});
const provider = new Provider(issuer, {
  clients: [
    service("leastwise"),
    service("leastwise-jwt", { client_secret: undefined, token_endpoint_auth_method: "private_key_jwt", token_endpoint_auth_signing_alg: "ES256", jwks: { keys: [JSON.parse(jwk)] } }),
    service("agent"),
    service("strict"), // whose tokens nobody else may revoke
    service("api"), // a server that accepts tokens and asks
  ],
  scopes: ["openid", "offline_access", "read"],
  rotateRefreshToken: false,
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    revocation: {
      enabled: true,
      allowedPolicy(ctx, client, token) {
        if (client.clientId !== token.clientId && (token.clientId === "strict" || !client.clientId.startsWith("leastwise"))) {
          throw new errors.InvalidRequest("client is not authorized to revoke the presented token");
        }
        return true;
      },
    },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => undefined,
      useGrantedResource: () => true,
      getResourceServerInfo: (_, resource) => ({ scope: "read", audience: resource, accessTokenTTL: 600, accessTokenFormat: "jwt" }),
    },
  },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
});
const answer = provider.callback();

server.on("request", async (req, res) => {
  const url = new URL(req.url, issuer);
  if (url.pathname !== "/mint") {
    answer(req, res);
    return;
  }
  const client = await provider.Client.find(url.searchParams.get("client"));
  const accountId = `user-${Math.random()}`;
  const grant = new provider.Grant({ accountId, clientId: client.clientId });
  grant.addOIDCScope("openid offline_access");
  grant.addResourceScope("https://api.example.org", "read");
  const grantId = await grant.save();
  const token = new provider.RefreshToken({ accountId, client, grantId, gty: "authorization_code", scope: "openid offline_access read", resource: "https://api.example.org", authTime: 1, iiat: Math.floor(Date.now() / 1000) });
  res.end(await token.save());
});
console.log(issuer);
