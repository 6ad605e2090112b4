// An authorization server for tests: oidc-provider with dynamic registration
// (RFC 7591) and its management (RFC 7592), configured by the environment.
//
// It listens on loopback only, and everybody on this machine may read the
// /test/… pages: never put it anywhere else.
import { createServer as createHttpServer } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { readFileSync } from 'node:fs';

import { makeProvider } from './provider.mjs';
import { RequestCounters } from './requests.mjs';
import { Store } from './store.mjs';

const { PORT = '0', TLS_CERT, TLS_KEY, STORE_FILE } = process.env;

const store = new Store(STORE_FILE);
const requests = new RequestCounters();

const server = TLS_CERT
  ? createHttpsServer({ cert: readFileSync(TLS_CERT), key: readFileSync(TLS_KEY ?? TLS_CERT) })
  : createHttpServer();

function answer(res, status, body) {
  res.writeHead(status, { 'content-type': 'application/json' });
  res.end(body === undefined ? undefined : `${JSON.stringify(body)}\n`);
}

const testPages = {
  'GET /test/clients': (res) => answer(res, 200, store.clients()),
  'GET /test/requests': (res) => answer(res, 200, requests.counted()),
  'POST /test/reset-requests': (res) => {
    requests.reset();
    answer(res, 204);
  },
};

server.listen(Number(PORT), '127.0.0.1', () => {
  const scheme = TLS_CERT ? 'https' : 'http';
  const issuer = new URL(process.env.ISSUER ?? `${scheme}://localhost:${server.address().port}`);
  const mount = issuer.pathname === '/' ? '' : issuer.pathname;
  const handle = makeProvider(issuer, store).callback();

  server.on('request', (req, res) => {
    const path = req.url.split('?')[0];
    if (path.startsWith('/test/')) {
      const page = testPages[`${req.method} ${path}`];
      return page ? page(res) : answer(res, 404, { error: 'no such test page' });
    }
    requests.count(req.method, path);

    // A proxy that says nothing of itself must not change the addresses that
    // the server names: they are the issuer's, whatever port was connected to.
    req.headers['x-forwarded-proto'] ??= issuer.protocol.slice(0, -1);
    req.headers['x-forwarded-host'] ??= issuer.host;

    // An issuer with a path is served below that path. RFC 8414 puts its
    // well-known part before the path, OpenID Connect after it.
    if (mount) {
      const before = `/.well-known/oauth-authorization-server${mount}`;
      if (path === before) {
        req.url = `${mount}/.well-known/oauth-authorization-server`;
      } else if (!path.startsWith(`${mount}/`)) {
        return answer(res, 404, { error: `this server is at ${issuer.href}` });
      }
      req.originalUrl = req.url;
      req.url = req.url.slice(mount.length);
    }
    return handle(req, res);
  });
  console.log(`ready ${issuer.href.replace(/\/$/, '')} on 127.0.0.1:${server.address().port}`);
});

for (const signal of ['SIGTERM', 'SIGINT']) {
  process.on(signal, () => process.exit(0));
}
