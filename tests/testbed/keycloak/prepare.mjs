// Makes the database that every bed's Keycloak starts with, and the secrets
// that belong to it: prepare.mjs DIRECTORY, where build.sh has put the rest.
import { spawn } from 'node:child_process';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { copyFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';

import { setUp } from './realm.mjs';

const [directory] = process.argv.slice(2);
const data = join(directory, 'work');
const secret = () => randomBytes(24).toString('base64url');
const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const secrets = {
  realm: 'corp',
  admin: 'bed-admin',
  adminPassword: secret(),
  clientId: 'oauthclient-operator',
  clientSecret: secret(),
  keyClientId: 'oauthclient-operator-key',
  keyId: 'bed',
};

const url = `http://127.0.0.1:${await freePort()}`;
const server = spawn(
  join(directory, 'run'),
  [data, '--http-enabled=true', `--http-port=${new URL(url).port}`],
  {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: {
      ...process.env,
      KC_BOOTSTRAP_ADMIN_USERNAME: secrets.admin,
      KC_BOOTSTRAP_ADMIN_PASSWORD: secrets.adminPassword,
    },
  },
);
const ended = new Promise((resolve) => server.once('exit', resolve));
process.once('exit', () => server.kill('SIGKILL'));
for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => process.exit(1));

while (!(await answers(`${url}/realms/master`))) {
  if (server.exitCode !== null || server.signalCode !== null) throw new Error('Keycloak ended at its start');
  await wait(200);
}
const jwk = { ...publicKey.export({ format: 'jwk' }), kid: secrets.keyId, use: 'sig', alg: 'ES256' };
await setUp(url, secrets, { keys: [jwk] });
server.kill('SIGTERM');
await ended;

mkdirSync(join(directory, 'database'));
copyFileSync(join(data, 'database', 'keycloak.mv.db'), join(directory, 'database', 'keycloak.mv.db'));
rmSync(data, { recursive: true });
keep('operator.key', privateKey.export({ format: 'pem', type: 'pkcs8' }));
keep('secrets.json', JSON.stringify(secrets, null, 2));

function keep(name, text) {
  writeFileSync(join(directory, name), text, { mode: 0o600 });
}

async function answers(address) {
  try {
    return (await fetch(address)).ok;
  } catch {
    return false;
  }
}

function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer().once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}
