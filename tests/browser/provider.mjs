// The strict provider of the browser tests: panva's certified oidc-provider, with three people and their groups.
import Provider from "oidc-provider";

const [port, redirect, secret] = process.argv.slice(2);
const groups = { ana: ["team-payments", "sec"], ben: ["team-payments"], dana: ["team-payments"] };
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{ client_id: "approvals-cli", token_endpoint_auth_method: "none", grant_types: ["urn:ietf:params:oauth:grant-type:device_code"], response_types: [], redirect_uris: [] }, { client_id: "approvals", client_secret: secret, redirect_uris: [redirect], grant_types: ["authorization_code"], response_types: ["code"] }],
  claims: { openid: ["sub"], profile: ["name"], email: ["email"], groups: ["groups"] },
  scopes: ["openid", "profile", "email", "groups"],
  conformIdTokenClaims: false,
  pkce: { required: () => true },
  features: { devInteractions: { enabled: true }, deviceFlow: { enabled: true } },
  cookies: { keys: ["only-for-tests"] },
  findAccount: async (_, id) => ({ accountId: id, claims: async () => ({ sub: id, name: id, email: `${id}@example.com`, groups: groups[id] ?? [] }) }),
});
provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
