// A real OpenID provider (oidc-provider), plain HTTP behind a proxy, as Authelia runs.
// node identity.mjs MODULE ISSUER ADDRESS PORT
import { generateKeyPairSync } from "node:crypto";
import { pathToFileURL } from "node:url";

const [module, issuer, address, port] = process.argv.slice(2);
const { Provider } = await import(pathToFileURL(module));
const key = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ format: "jwk" });
const provider = new Provider(issuer, {
  clients: [{ client_id: "mas", client_secret: "mas", redirect_uris: ["https://auth.example/upstream/callback/0"] }],
  cookies: { keys: ["a key for a test"] },
  features: { devInteractions: { enabled: false } },
  jwks: { keys: [{ ...key, use: "sig", alg: "RS256" }] },
});
// It believes X-Forwarded-Proto and -Host: its endpoints are those of the public name.
provider.proxy = true;
provider.listen(Number(port), address);
