// The realm of the bed: what an administrator would set up for the operator,
// as docs/keycloak.md says, and what tests need besides.

// DCR takes only scopes that are the realm's defaults; the admin API takes any.
const scopes = { 'reports.read': true, 'reports.write': true, 'partner.read': false };

export async function setUp(url, { realm, admin, adminPassword, ...operator }, jwks) {
  const token = await login(url, admin, adminPassword);
  const call = (method, path, body) => request(method, `${url}/admin/realms${path}`, token, body);

  await call('POST', '', {
    realm,
    enabled: true,
    accessTokenLifespan: 60,
    // A test that counts the locked finds out who sends wrong passwords.
    bruteForceProtected: true,
    failureFactor: 3,
  });
  for (const [name, ofRealm] of Object.entries(scopes)) {
    const id = await call('POST', `/${realm}/client-scopes`, {
      name,
      protocol: 'openid-connect',
      attributes: { 'include.in.token.scope': 'true', 'display.on.consent.screen': 'true' },
    });
    if (ofRealm) await call('PUT', `/${realm}/default-optional-client-scopes/${id}`);
  }

  const client = {
    protocol: 'openid-connect',
    publicClient: false,
    serviceAccountsEnabled: true,
    standardFlowEnabled: false,
    directAccessGrantsEnabled: false,
  };
  await operatorClient(call, realm, { ...client, clientId: operator.clientId, secret: operator.clientSecret });
  await operatorClient(call, realm, {
    ...client,
    clientId: operator.keyClientId,
    clientAuthenticatorType: 'client-jwt',
    attributes: {
      'use.jwks.string': 'true',
      'jwks.string': JSON.stringify(jwks),
      'token.endpoint.auth.signing.alg': 'ES256',
    },
  });
}

async function operatorClient(call, realm, client) {
  const id = await call('POST', `/${realm}/clients`, client);
  const user = await call('GET', `/${realm}/clients/${id}/service-account-user`);
  const [management] = await call('GET', `/${realm}/clients?clientId=realm-management`);
  const role = await call('GET', `/${realm}/clients/${management.id}/roles/manage-clients`);
  await call('POST', `/${realm}/users/${user.id}/role-mappings/clients/${management.id}`, [role]);
}

async function login(url, username, password) {
  const form = new URLSearchParams({ grant_type: 'password', client_id: 'admin-cli', username, password });
  const answer = await fetch(`${url}/realms/master/protocol/openid-connect/token`, { method: 'POST', body: form });
  if (!answer.ok) throw new Error(`login: ${answer.status} ${await answer.text()}`);
  return (await answer.json()).access_token;
}

// The answer's body or, of what was created, the id.
async function request(method, address, token, body) {
  const answer = await fetch(address, {
    method,
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: body && JSON.stringify(body),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${method} ${address}: ${answer.status} ${text}`);
  return text ? JSON.parse(text) : answer.headers.get('location')?.split('/').pop();
}
