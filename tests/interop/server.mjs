// Two OpenID-certified authorization servers (npm's oidc-provider) at the paths that Okta uses:
// `default` supports DPoP and requires a nonce in each proof, `bearer` does not support DPoP.
//
//   node server.mjs CERTIFICATE.pem KEY.pem CLIENTS.json < a-pipe-that-stays-open
//
// Prints {"port": …} when it listens, and exits when its standard input closes, so that it never
// runs longer than its parent process. `GET /requests` returns the requests to the token and
// revocation endpoints. `POST /control` sets the clock with {"ahead": seconds}, and replaces the
// next responses with {"replacements": [status, …]}.

import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { json } from 'node:stream/consumers';

// The provider warns about settings that are only for tests: its own keys, and a store in memory.
console.info = () => {};
console.warn = () => {};
const { default: Provider, errors } = await import('oidc-provider');

const SERVERS = { default: true, bearer: false }; // Whether each supports DPoP.
const LIFETIMES = { shortLived: 5, twoMinutes: 120 }; // By scope, as in Okta's access rules.
const GRANTED = ['customScope', 'orders:read', ...Object.keys(LIFETIMES)];
const REFUSED = ['orders:delete']; // A scope that exists, and that no client may have.
const PUBLIC_KEY_ALGORITHMS = ['RS256', 'RS384', 'RS512', 'ES256', 'ES384', 'ES512'];
const RECORDED = ['token', 'revocation'];

const [certificate, key, clients] = process.argv.slice(2).map((path) => readFileSync(path));
const requests = [];
const replacements = [];
let ahead = 0;

// The provider uses Date.now for the lifetimes of nonces, assertions and tokens.
const realNow = Date.now;
Date.now = () => realNow() + ahead * 1000;

function authorizationServer(origin, name, supportsDPoP) {
  const base = `/oauth2/${name}`;
  const provider = new Provider(`${origin}${base}`, {
    // By default the provider also accepts the token endpoint and the issuer as audience. Okta does not.
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
      // A nonce is valid for about three minutes; each response has the nonce of the next minute.
      dPoP: supportsDPoP
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
    if (replacements.length) {
      context.status = replacements.shift();
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

function sendJson(response, body) {
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(body));
}

const server = createServer({ cert: certificate, key });
server.listen(0, 'localhost', () => {
  const { port } = server.address();
  const callbacks = Object.fromEntries(
    Object.entries(SERVERS).map(([name, supportsDPoP]) => [
      name,
      authorizationServer(`https://localhost:${port}`, name, supportsDPoP),
    ]),
  );
  server.on('request', async (request, response) => {
    if (request.url === '/requests') {
      sendJson(response, requests);
      return;
    }
    if (request.url === '/control') {
      const settings = await json(request);
      ahead = settings.ahead ?? ahead;
      replacements.push(...(settings.replacements ?? []));
      sendJson(response, {});
      return;
    }
    // A proxy that rewrites the URL, so that the server does not see the URL that the client used.
    request.url = request.url.replace('/oauth2/rewritten/', '/oauth2/default/');
    const name = request.url.split('/')[2];
    (callbacks[name] ?? callbacks.default)(request, response);
  });
  process.stdout.write(`${JSON.stringify({ port })}\n`);
});

process.stdin.on('close', () => process.exit(0)).resume();
