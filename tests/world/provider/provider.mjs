// An OpenID Connect provider with the users and clients of openid_connect.py: `oidc-provider`, with access tokens that are
// JWTs. Its one argument is a JSON file: where it listens, who it says it is, its certificate and its keys. What a person
// does in a browser is done here, but for a login with a name and a password: whoever asks for a device code is ann a moment later, and `/test/code` has an
// authorization code of hers.
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { pathToFileURL } from 'node:url';

const options = JSON.parse(readFileSync(process.argv[2]));
const { Provider, errors } = await import(pathToFileURL(`${options.modules}/oidc-provider/lib/index.js`));

const DEVICE = 'urn:ietf:params:oauth:grant-type:device_code';
const CLOUD = 'urn:cloud';
const REDIRECT = 'https://tool.example/';

// Keys live in a file: without it there are new ones.
if (!existsSync(options.keys)) {
  const made = [
    ['rsa', { modulusLength: 2048 }], ['ec', { namedCurve: 'P-256' }], ['ec', { namedCurve: 'P-384' }], ['ed25519', {}],
  ].map(([kind, more]) => ({
    ...generateKeyPairSync(kind, more).privateKey.export({ format: 'jwk' }), kid: randomUUID(), use: 'sig',
  }));
  writeFileSync(options.keys, JSON.stringify({ keys: made }));
}

const client = (id, grants, more = {}) => ({
  client_id: id, client_secret: options.secret, grant_types: grants, redirect_uris: [], response_types: [], ...more,
});
const SCOPES = 'openid profile email';
const machines = ['elsewhere', 'opaque', 'RS256', 'PS256', 'ES256', 'ES384', 'EdDSA'];

// The form of a client's access tokens: what its service is called, and how they are signed.
const service = ({ clientId }) => ({
  scope: 'openid profile',
  audience: clientId === 'elsewhere' ? 'another' : 'cloud',
  accessTokenFormat: clientId === 'opaque' ? 'opaque' : 'jwt',
  accessTokenTTL: 300,
  jwt: { sign: { alg: machines.slice(2).includes(clientId) ? clientId : 'RS256' } },
});

const provider = new Provider(options.issuer, {
  jwks: JSON.parse(readFileSync(options.keys)),
  clients: [
    client('tool', ['password', 'client_credentials', 'authorization_code', DEVICE], {
      redirect_uris: [REDIRECT], response_types: ['code'],
    }),
    client('vicar', ['authorization_code'], { redirect_uris: [options.redirect].flat(), response_types: ['code'] }),
    ...machines.map((id) => client(id, ['client_credentials', 'password'])),
  ],
  scopes: SCOPES.split(' '),
  // Into the ID token.
  conformIdTokenClaims: false,
  claims: { profile: ['groups'], email: ['email'] },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, email: `${id}@example.org`, groups: options.users[id]?.groups }),
  }),
  interactions: { url: (_, { uid }) => `/login/${uid}` },
  extraTokenClaims: (_, { accountId }) => (
    accountId ? { email: `${accountId}@example.org`, groups: options.users[accountId].groups } : { kind: 'machine' }
  ),
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    deviceFlow: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => CLOUD,
      useGrantedResource: () => true,
      getResourceServerInfo: (_, __, of) => service(of),
    },
  },
});

async function granted(clientId, accountId) {
  const grant = new provider.Grant({ clientId, accountId });
  grant.addOIDCScope(SCOPES);
  grant.addResourceScope(CLOUD, 'openid profile');
  return grant.save();
}

provider.registerGrantType('password', async (ctx) => {
  const { client: by, params: { username, password, scope } } = ctx.oidc;
  const user = Object.hasOwn(options.users, username) ? options.users[username] : undefined;
  if (user?.password !== password) {
    throw new errors.InvalidGrant('wrong name or password');
  }
  const grantId = await granted(by.clientId, username);
  const token = new provider.AccessToken({ accountId: username, client: by, grantId, gty: 'password', scope });
  token.resourceServer = { identifier: () => CLOUD, scopes: new Set(scope.split(' ')), ...service(by) };
  ctx.oidc.entity('AccessToken', token);
  ctx.body = { access_token: await token.save(), expires_in: token.expiration, token_type: 'Bearer', scope };
}, ['username', 'password', 'scope']);

provider.on('server_error', (_, error) => console.error(error));

provider.on('device_code.saved', (code) => {
  if (!code.accountId) {
    setTimeout(async () => {
      const grantId = await granted(code.clientId, 'ann');
      Object.assign(code, { accountId: 'ann', grantId, scope: 'openid profile', resource: CLOUD });
      await code.save();
    }, 1000);
  }
});

async function code() {
  const of = await provider.Client.find('tool');
  const made = new provider.AuthorizationCode({
    client: of, accountId: 'ann', grantId: await granted('tool', 'ann'), redirectUri: REDIRECT, scope: 'openid profile',
    resource: CLOUD,
  });
  return made.save();
}

// The form of a login, and what it is good for.
async function login(request, response) {
  const { params: { client_id: by } } = await provider.interactionDetails(request, response);
  let body = '';
  for await (const part of request) {
    body += part;
  }
  const form = new URLSearchParams(body);
  const accountId = form.get('username');
  if (!accountId || options.users[accountId]?.password !== form.get('password')) {
    response.setHeader('content-type', 'text/html');
    response.end('<form method="post"><input type="text" name="username"><input type="password" name="password"></form>');
    return;
  }
  const result = { login: { accountId }, consent: { grantId: await granted(by, accountId) } };
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
}

const serve = provider.callback();
createServer({ cert: readFileSync(options.certificate), key: readFileSync(options.private) }, async (request, response) => {
  if (request.url === '/test/code') {
    response.end(await code());
  } else if (request.url.startsWith('/login/')) {
    login(request, response).catch((error) => {
      response.statusCode = 400;
      response.end(String(error));
    });
  } else {
    serve(request, response);
  }
}).listen(options.port, '127.0.0.1');
