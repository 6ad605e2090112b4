// What tests of the operator rely on in this server. Run where node_modules
// is: the script selftest does so.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const TOKEN = 'initial-access-token';
const FULL = {
  client_name: 'reports job',
  grant_types: ['client_credentials'],
  redirect_uris: [],
  response_types: [],
  scope: 'reports.read',
  token_endpoint_auth_method: 'client_secret_basic',
};
const folder = mkdtempSync(join(tmpdir(), 'oidc-provider-'));

let server;

async function start(env = {}) {
  const child = spawn(process.execPath, [fileURLToPath(new URL('server.mjs', import.meta.url))], {
    env: { PATH: process.env.PATH, INITIAL_ACCESS_TOKEN: TOKEN, ...env },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const [, issuer, port] = await new Promise((ready, failed) => {
    child.stdout.on('data', (line) => ready(/^ready (\S+) on \S+:(\d+)/.exec(line)));
    child.on('exit', failed);
  });
  const stop = (signal = 'SIGTERM') => new Promise((ended) => {
    child.on('exit', ended);
    child.kill(signal);
  });
  return { issuer, port, stop };
}

async function call(method, path, { token, body, form, basic, headers = {}, at = server } = {}) {
  if (token) headers.authorization = `Bearer ${token}`;
  if (basic) headers.authorization = `Basic ${Buffer.from(basic.map(encodeURIComponent).join(':')).toString('base64')}`;
  if (body) headers['content-type'] = 'application/json';
  const response = await fetch(`http://127.0.0.1:${at.port}${path}`, {
    method,
    headers,
    body: form ? new URLSearchParams(form) : body && JSON.stringify(body),
  });
  const text = await response.text();
  let json;
  try {
    json = JSON.parse(text);
  } catch {
    json = undefined;
  }
  return { status: response.status, json };
}

const register = (extra = {}, at = server) => call('POST', '/reg', { token: TOKEN, body: { ...FULL, ...extra }, at });
const probe = (credential) => call('POST', '/token/revocation', { ...credential, form: { token: 'made-up', ...credential.form } });
const secretOf = ({ client_id, client_secret }) => ({ basic: [client_id, client_secret] });
const without = (object, ...names) => Object.fromEntries(Object.entries(object).filter(([name]) => !names.includes(name)));
const managed = (client) => without(
  client, 'registration_access_token', 'registration_client_uri', 'client_secret_expires_at', 'client_id_issued_at', 'client_secret',
);

function assertion(clientId, audience, key, alg) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const now = Math.floor(Date.now() / 1000);
  const signed = `${part({ alg })}.${part({ iss: clientId, sub: clientId, aud: audience, jti: randomUUID(), iat: now, exp: now + 60 })}`;
  const signature = sign('sha256', Buffer.from(signed), { key, dsaEncoding: 'ieee-p1363' });
  return `${signed}.${signature.toString('base64url')}`;
}

before(async () => {
  server = await start();
});
after(async () => {
  await server.stop();
  rmSync(folder, { recursive: true });
});

test('registration needs the initial access token and redirect_uris', async () => {
  assert.equal((await call('POST', '/reg', { body: FULL })).status, 401);
  assert.equal((await call('POST', '/reg', { token: 'wrong', body: FULL })).status, 401);
  assert.equal((await call('POST', '/reg', { token: TOKEN, body: without(FULL, 'redirect_uris', 'response_types') })).status, 400);
  assert.equal((await register({ scope: 'no.such.scope' })).status, 400);
  assert.equal((await register()).status, 201);
});

test('PUT rotates the registration access token and replaces all metadata', async () => {
  const { json: client } = await register();
  const path = `/reg/${client.client_id}`;
  assert.equal(client.registration_client_uri, `${server.issuer}${path}`);
  const read = await call('GET', path, { token: client.registration_access_token });
  assert.equal(read.json.registration_access_token, client.registration_access_token);
  const { status, json } = await call('PUT', path, {
    token: client.registration_access_token,
    body: { ...managed(client), client_name: 'renamed' },
  });
  assert.equal(status, 200);
  assert.notEqual(json.registration_access_token, client.registration_access_token);
  assert.equal(json.client_secret, client.client_secret);
  assert.equal((await call('GET', path, { token: client.registration_access_token })).status, 401);
  assert.equal((await call('DELETE', path, { token: json.registration_access_token })).status, 204);
  assert.equal((await call('DELETE', path, { token: json.registration_access_token })).status, 401);
});

test('a registration access token used at another client is destroyed', async () => {
  const { json: one } = await register();
  const { json: other } = await register();
  const token = one.registration_access_token;
  assert.equal((await call('GET', `/reg/${other.client_id}`, { token })).status, 401);
  assert.equal((await call('GET', `/reg/${one.client_id}`, { token })).status, 401);
});

test('rotation can be switched off', async () => {
  const steady = await start({ ROTATE_REGISTRATION_ACCESS_TOKEN: 'false' });
  const { json: client } = await register({}, steady);
  const { json } = await call('PUT', `/reg/${client.client_id}`, {
    token: client.registration_access_token, body: managed(client), at: steady,
  });
  assert.equal(json.registration_access_token, client.registration_access_token);
  await steady.stop();
});

for (const method of ['client_secret_basic', 'client_secret_post', 'none']) {
  test(`revocation tells a live ${method} client from a deleted one`, async () => {
    const { status, json: client } = await register({
      token_endpoint_auth_method: method,
      ...(method === 'none' && {
        grant_types: ['authorization_code'], response_types: ['code'], redirect_uris: ['https://app.example/cb'], scope: 'openid',
      }),
    });
    assert.equal(status, 201);
    const { client_id, client_secret } = client;
    const credential = {
      client_secret_basic: secretOf(client),
      client_secret_post: { form: { client_id, client_secret } },
      none: { form: { client_id } },
    }[method];
    assert.equal((await probe(credential)).status, 200);
    await call('DELETE', `/reg/${client_id}`, { token: client.registration_access_token });
    assert.equal((await probe(credential)).status, 401);
  });
}

for (const [alg, type, options] of [['ES256', 'ec', { namedCurve: 'P-256' }], ['RS256', 'rsa', { modulusLength: 2048 }]]) {
  test(`private_key_jwt with ${alg}`, async () => {
    const { privateKey, publicKey } = generateKeyPairSync(type, options);
    const { status, json: client } = await register({
      token_endpoint_auth_method: 'private_key_jwt',
      token_endpoint_auth_signing_alg: alg,
      jwks: { keys: [{ ...publicKey.export({ format: 'jwk' }), use: 'sig', alg }] },
    });
    assert.equal(status, 201);
    assert.equal(client.client_secret, undefined);
    for (const audience of [server.issuer, `${server.issuer}/token`]) {
      const form = {
        client_id: client.client_id,
        client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
        client_assertion: assertion(client.client_id, audience, privateKey, alg),
      };
      assert.equal((await call('POST', '/token', { form: { ...form, grant_type: 'client_credentials' } })).status, 200);
      form.client_assertion = assertion(client.client_id, audience, privateKey, alg);
      assert.equal((await probe({ form })).status, 200);
    }
  });
}

test('scopes: unknown ones are left out, unregistered ones refused, none registered is any', async () => {
  const { json: client } = await register();
  const { json: wide } = await register({ scope: undefined });
  const ask = (who, scope) => call('POST', '/token', { ...secretOf(who), form: { grant_type: 'client_credentials', scope } });
  const unknown = await ask(client, 'no.such.scope');
  assert.deepEqual([unknown.status, unknown.json.scope], [200, undefined]);
  assert.equal((await ask(client, 'openid')).status, 400);
  assert.equal((await ask(wide, 'partner.read')).json.scope, 'partner.read');
});

test('tokens: client_credentials, introspection, resources, and life after deletion', async () => {
  const { json: client } = await register();
  const { json: watcher } = await register();
  const grant = { grant_type: 'client_credentials', scope: 'reports.read' };
  const { status, json } = await call('POST', '/token', { ...secretOf(client), form: grant });
  assert.equal(status, 200);
  assert.equal(json.scope, 'reports.read');
  const { json: jwt } = await call('POST', '/token', {
    ...secretOf(client), form: { ...grant, resource: 'https://api.example' },
  });
  assert.equal(jwt.access_token.split('.').length, 3);
  await call('DELETE', `/reg/${client.client_id}`, { token: client.registration_access_token });
  const introspected = await call('POST', '/token/introspection', { ...secretOf(watcher), form: { token: json.access_token } });
  assert.equal(introspected.json.active, true);
});

test('the test pages list live clients without secrets, and count requests', async () => {
  const { json: client } = await register({ client_name: 'listed' });
  const { json: clients } = await call('GET', '/test/clients');
  const listed = clients.find(({ client_id }) => client_id === client.client_id);
  assert.equal(listed.client_name, 'listed');
  assert.doesNotMatch(JSON.stringify(clients), /client_secret"|registration_access_token/);
  assert.equal((await call('POST', '/test/reset-requests')).status, 204);
  await call('GET', `/reg/${client.client_id}`, { token: client.registration_access_token });
  await call('DELETE', `/reg/${client.client_id}`, { token: client.registration_access_token });
  assert.deepEqual((await call('GET', '/test/requests')).json, { 'GET /reg/:id': 1, 'DELETE /reg/:id': 1 });
  assert.equal((await call('GET', '/test/clients')).json.some(({ client_id }) => client_id === client.client_id), false);
});

test('clients and their tokens outlive a restart when there is a file', async () => {
  const file = { STORE_FILE: join(folder, 'clients') };
  const first = await start(file);
  const { json: client } = await register({}, first);
  const { json: gone } = await register({}, first);
  await call('DELETE', `/reg/${gone.client_id}`, { token: gone.registration_access_token, at: first });
  await first.stop('SIGKILL');
  const second = await start(file);
  const read = (c) => call('GET', `/reg/${c.client_id}`, { token: c.registration_access_token, at: second });
  assert.equal((await read(client)).status, 200);
  assert.equal((await read(gone)).status, 401);
  await second.stop();
});

test('behind a proxy, addresses are those of the issuer', async () => {
  const behind = await start({ ISSUER: 'https://login.example:8443/tenant-a' });
  const paths = ['/tenant-a/.well-known/openid-configuration', '/.well-known/oauth-authorization-server/tenant-a'];
  for (const path of paths) {
    const { json } = await call('GET', path, { at: behind });
    assert.equal(json.issuer, 'https://login.example:8443/tenant-a');
    assert.equal(json.registration_endpoint, 'https://login.example:8443/tenant-a/reg');
  }
  const { json: client } = await call('POST', '/tenant-a/reg', { token: TOKEN, body: FULL, at: behind });
  assert.equal(client.registration_client_uri, `https://login.example:8443/tenant-a/reg/${client.client_id}`);
  const { json } = await call('GET', paths[0], {
    at: behind, headers: { 'x-forwarded-host': 'other.example', 'x-forwarded-proto': 'http' },
  });
  assert.equal(json.registration_endpoint, 'http://other.example/tenant-a/reg');
  await behind.stop();
});
