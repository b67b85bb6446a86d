// An OpenID-certified authorization server (npm's oidc-provider) at the paths that Okta uses.
//
//   node server.mjs CERTIFICATE.pem KEY.pem < a-pipe-that-stays-open
//
// Prints {"port": …} when it listens and lives until its standard input closes, so that it cannot
// outlive whoever started it.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';

// The provider warns about what suits a test and no deployment: keys of its own, memory as its store.
console.info = () => {};
console.warn = () => {};
const { default: Provider } = await import('oidc-provider');

const BASE = '/oauth2/default';
const SHORT_LIVED = 'shortLived';
const GRANTED = ['customScope', 'orders:read', SHORT_LIVED];
const REFUSED = ['orders:delete']; // The server knows it, and grants it to no client.

// Every character of these secrets is URL-safe, on purpose. The provider form-decodes Basic
// credentials (RFC 6749 section 2.3.1) and Okta documents the plain RFC 7617 form; secrets
// without `%`, `+` and the like are the ones on which both agree.
const CLIENTS = [
  ['basic-client', 'Basic-secret_1234567890', 'client_secret_basic'],
  ['post-client', 'Post-secret_1234567890', 'client_secret_post'],
];

const configuration = {
  clients: CLIENTS.map(([id, secret, method]) => ({
    client_id: id,
    client_secret: secret,
    token_endpoint_auth_method: method,
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
    scope: GRANTED.join(' '),
  })),
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    introspection: { enabled: true },
    resourceIndicators: { enabled: false },
    revocation: { enabled: true },
  },
  routes: {
    introspection: `${BASE}/v1/introspect`,
    jwks: `${BASE}/v1/keys`,
    revocation: `${BASE}/v1/revoke`,
    token: `${BASE}/v1/token`,
  },
  scopes: [...GRANTED, ...REFUSED],
  ttl: {
    // As with Okta's access rules, the scopes decide how long a token lives.
    ClientCredentials: (_context, token) => (token.scope?.split(' ').includes(SHORT_LIVED) ? 5 : 3600),
  },
};

const [certificate, key] = process.argv.slice(2);
const server = createServer({ cert: readFileSync(certificate), key: readFileSync(key) });
let tokenRequests = 0;

server.listen(0, 'localhost', () => {
  const { port } = server.address();
  const answer = new Provider(`https://localhost:${port}${BASE}`, configuration).callback();
  server.on('request', (request, response) => {
    if (request.url === '/count') {
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ token_requests: tokenRequests }));
      return;
    }
    if (request.url === configuration.routes.token) {
      tokenRequests += 1;
    }
    answer(request, response);
  });
  process.stdout.write(`${JSON.stringify({ port })}\n`);
});

process.stdin.on('close', () => process.exit(0)).resume();
