// Two OpenID-certified authorization servers (npm's oidc-provider) at the paths that Okta uses:
// `default` knows DPoP and demands a nonce in each proof, `bearer` has never heard of it.
//
//   node server.mjs CERTIFICATE.pem KEY.pem CLIENTS.json < a-pipe-that-stays-open
//
// Prints {"port": …} when it listens and lives until its standard input closes, so that it cannot
// outlive whoever started it. `GET /requests` tells what reached a token or revocation endpoint, and
// `POST /orders` takes {"ahead": seconds} for its clock, and {"instead": [status, …]} for what the
// next answers are to say in the place of their own.

import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { json } from 'node:stream/consumers';

// The provider warns about what suits a test and no deployment: keys of its own, memory as its store.
console.info = () => {};
console.warn = () => {};
const { default: Provider, errors } = await import('oidc-provider');

const SERVERS = { default: true, bearer: false }; // Whether each knows DPoP.
const LIFETIMES = { shortLived: 5, twoMinutes: 120 }; // As Okta's access rules do it: by the scopes.
const GRANTED = ['customScope', 'orders:read', ...Object.keys(LIFETIMES)];
const REFUSED = ['orders:delete']; // The servers know it, and grant it to no client.
const PUBLIC_KEY_ALGORITHMS = ['RS256', 'RS384', 'RS512', 'ES256', 'ES384', 'ES512'];
const RECORDED = ['token', 'revocation'];

const [certificate, key, clients] = process.argv.slice(2).map((path) => readFileSync(path));
const requests = [];
const instead = [];
let ahead = 0;

// What an instant means to the provider (how long a nonce, an assertion, a token lives) it asks here.
const realNow = Date.now;
Date.now = () => realNow() + ahead * 1000;

function authorizationServer(origin, name, knowsDPoP) {
  const base = `/oauth2/${name}`;
  const provider = new Provider(`${origin}${base}`, {
    // The provider takes the token endpoint and the issuer for any endpoint's audience; Okta does not.
    assertJwtClientAuthClaimsAndHeader: async ({ oidc }, claims) => {
      if (claims.aud !== oidc.urlFor(oidc.route)) {
        throw new errors.InvalidClientAuth('the audience must be the endpoint that is invoked');
      }
    },
    clients: JSON.parse(clients).map((client) => ({
      ...client,
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
      scope: GRANTED.join(' '),
    })),
    enabledJWA: {
      clientAuthSigningAlgValues: ['HS256', 'HS384', 'HS512', ...PUBLIC_KEY_ALGORITHMS],
      dPoPSigningAlgValues: PUBLIC_KEY_ALGORITHMS,
    },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      // A nonce is good for some three minutes, and each answer brings that of the next minute.
      dPoP: knowsDPoP
        ? { enabled: true, nonceSecret: randomBytes(32), requireNonce: () => true }
        : { enabled: false },
      introspection: { enabled: true },
      resourceIndicators: { enabled: false },
      revocation: { enabled: true },
    },
    routes: {
      introspection: `${base}/v1/introspect`,
      jwks: `${base}/v1/keys`,
      revocation: `${base}/v1/revoke`,
      token: `${base}/v1/token`,
      userinfo: `${base}/v1/userinfo`,
    },
    scopes: [...GRANTED, ...REFUSED],
    ttl: {
      ClientCredentials: (_context, token) => {
        const scopes = token.scope?.split(' ') ?? [];
        return Math.min(...scopes.map((scope) => LIFETIMES[scope] ?? 3600), 3600);
      },
    },
  });
  provider.use(async (context, next) => {
    await next();
    context.set('date', new Date(Date.now()).toUTCString());
    if (!RECORDED.includes(context.oidc?.route)) {
      return;
    }
    if (instead.length) {
      context.status = instead.shift();
      context.body = { error: 'temporarily_unavailable' };
      context.set('x-rate-limit-reset', String(Math.floor(Date.now() / 1000) + 1));
    }
    requests.push({
      url: context.href,
      form: context.oidc.body ?? {},
      proof: context.get('dpop') || null,
      status: context.status,
      error: context.body?.error ?? null,
    });
  });
  return provider.callback();
}

function answerAsJson(response, answer) {
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(answer));
}

const server = createServer({ cert: certificate, key });
server.listen(0, 'localhost', () => {
  const { port } = server.address();
  const callbacks = Object.fromEntries(
    Object.entries(SERVERS).map(([name, knowsDPoP]) => [
      name,
      authorizationServer(`https://localhost:${port}`, name, knowsDPoP),
    ]),
  );
  server.on('request', async (request, response) => {
    if (request.url === '/requests') {
      answerAsJson(response, requests);
      return;
    }
    if (request.url === '/orders') {
      const orders = await json(request);
      ahead = orders.ahead ?? ahead;
      instead.push(...(orders.instead ?? []));
      answerAsJson(response, {});
      return;
    }
    // A proxy that hides from the server behind it under which URL it was asked.
    request.url = request.url.replace('/oauth2/rewritten/', '/oauth2/default/');
    const name = request.url.split('/')[2];
    (callbacks[name] ?? callbacks.default)(request, response);
  });
  process.stdout.write(`${JSON.stringify({ port })}\n`);
});

process.stdin.on('close', () => process.exit(0)).resume();
