// How the provider is set up: every kind of client that the operator can ask
// for, and the strict choices where the library leaves one.
import { generateKeyPairSync, randomBytes } from 'node:crypto';

import { Provider } from 'oidc-provider';

const {
  INITIAL_ACCESS_TOKEN,
  ROTATE_REGISTRATION_ACCESS_TOKEN = 'true',
  SCOPES = 'openid offline_access reports.read reports.write partner.read',
  ACCESS_TOKEN_SECONDS = '600',
} = process.env;

function signingKey(alg, type, options) {
  const { privateKey } = generateKeyPairSync(type, options);
  return { ...privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid: alg };
}

export function makeProvider(issuer, store) {
  const scopes = SCOPES.split(/[\s,]+/).filter(Boolean);
  const accessTokenSeconds = Number(ACCESS_TOKEN_SECONDS);

  const provider = new Provider(issuer.href.replace(/\/$/, ''), {
    adapter: store.adapter(),
    scopes,
    clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none'],
    enabledJWA: {
      clientAuthSigningAlgValues: ['ES256', 'RS256', 'PS256', 'EdDSA'],
      idTokenSigningAlgValues: ['RS256', 'ES256'],
    },
    features: {
      clientCredentials: { enabled: true },
      introspection: { enabled: true },
      revocation: { enabled: true },
      registration: {
        enabled: true,
        // A constant that is never used up; without one, anybody may register.
        initialAccessToken: INITIAL_ACCESS_TOKEN || false,
      },
      registrationManagement: {
        enabled: true,
        rotateRegistrationAccessToken: ROTATE_REGISTRATION_ACCESS_TOKEN !== 'false',
      },
      resourceIndicators: {
        enabled: true,
        // Any absolute URI is a resource of this server; its tokens are JWTs.
        getResourceServerInfo: (ctx, resource) => ({
          scope: scopes.join(' '),
          audience: resource,
          accessTokenFormat: 'jwt',
          accessTokenTTL: accessTokenSeconds,
        }),
      },
    },
    ttl: {
      AccessToken: accessTokenSeconds,
      ClientCredentials: accessTokenSeconds,
      IdToken: accessTokenSeconds,
      RefreshToken: 24 * 3600,
      AuthorizationCode: 60,
      Grant: 24 * 3600,
      Interaction: 3600,
      Session: 24 * 3600,
    },
    // Fresh for each process: nothing signed by a test server is worth keeping.
    jwks: {
      keys: [
        signingKey('RS256', 'rsa', { modulusLength: 2048 }),
        signingKey('ES256', 'ec', { namedCurve: 'P-256' }),
      ],
    },
    // The library's dispatcher refuses loopback addresses, and here everything
    // is on loopback: a client's jwks_uri could never be read.
    fetch: (url, { dispatcher, ...options }) => globalThis.fetch(url, options),
    cookies: { keys: [randomBytes(32).toString('hex')] },
  });

  // A fault proxy may stand in front; addresses come from X-Forwarded-*.
  provider.proxy = true;
  provider.on('server_error', (ctx, error) => console.error(error));
  return provider;
}
