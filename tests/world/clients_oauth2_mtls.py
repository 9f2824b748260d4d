"""OAuth 2.0 with clients' certificates (RFC 8705): keystoneauth gets tokens, keystonemiddleware looks at them.

    pytest clients_oauth2_mtls.py              on Vicar: its own TLS, and behind a front server
    pytest clients_oauth2_mtls.py --keystone   a Keystone 30.0.0 behind the front server
"""
import contextlib
import json
import os
import ssl
import urllib.request

import harness

harness.run_in('clients')

import pytest
import requests
from keystoneauth1 import exceptions as ka
from keystoneauth1 import loading
from keystoneauth1 import session as ka_session

import api
import certificates
import server

PASSWORD = 'a password for everybody'


class TlsVicar(server.Vicar):
    """By HTTPS; clients may show certificates of the authority."""

    def __init__(self, authority):
        cert, key = authority.of_server()
        super().__init__(settings={'identity': {'password_hash_rounds': 4}, 'vicar': {
            'tls_cert': cert, 'tls_key': key, 'tls_ca': authority.ca, 'tls_client_ca': authority.ca}})
        self.root = self.root.replace('http:', 'https:')
        self.url = self.root + '/v3'
        self.trust = ssl.create_default_context(cafile=authority.ca)

    def ready(self):
        try:
            return urllib.request.urlopen(self.root + '/healthz', timeout=5, context=self.trust).status == 200
        except OSError:
            return False


class Service(server.Server):
    """A service behind `oauth2_mtls_token`."""
    kind = 'tls-service'

    def __init__(self, authority, options):
        super().__init__()
        self.root = 'https://127.0.0.1:%d' % self.port
        conf, self.spec = os.path.join(self.dir, 'service.conf'), os.path.join(self.dir, 'spec.json')
        server.write_ini(conf, {'keystone_authtoken': options})
        cert, key = authority.of_server()
        with open(self.spec, 'w') as f:
            json.dump({'port': self.port, 'cert': cert, 'key': key, 'ca': authority.ca, 'pipeline': {
                'app': 'echo', 'filters': [['keystonemiddleware.oauth2_mtls_token:filter_factory', {
                    'oslo_config_project': 'tiny', 'oslo_config_file': conf}]]}}, f)

    def command(self):
        return [harness.env_bin('clients', 'python'),
                os.path.join(harness.HERE, 'tls_service.py'), self.spec], {}

    def ready(self):
        return server.answers(self.port)


class World:
    def __init__(self, stack, checks, url, password, authority):
        self.c, self.url, self.authority = checks, url, authority
        self.api = api.Api(url)
        self.admin = self.api.admin(password)

        def make(kind, **kw):
            return self.api.make(self.admin, kind, **kw)

        self.domain = {'id': make('domain', name='widgets'), 'name': 'widgets'}
        self.p = make('project', name='p', domain_id=self.domain['id'])
        self.other = make('project', name='other', domain_id=self.domain['id'])
        roles = self.api.role_ids(self.admin)
        self.people = {}
        for name in ('alice', 'bob'):
            user = make('user', name=name, domain_id=self.domain['id'], password=PASSWORD,
                        default_project_id=self.p, email=name + '@example.org')
            for project in (self.p, self.other):
                self.api.grant(self.admin, roles['member'], user, project)
            self.people[name] = {'id': user, 'name': name}
        self.api.put('/OS-FEDERATION/mappings/oauth2_mapping', self.admin,
                     body={'mapping': {'rules': certificates.RULES}}).want(201)
        self.certs = {name: self.certificate(name) for name in self.people}
        services = make('project', name='services', domain_id='default')
        svc = make('user', name='svc', domain_id='default', password=PASSWORD)
        self.api.grant(self.admin, roles['service'], svc, services)
        self.service = Service(authority, {
            'auth_type': 'password', 'auth_url': url, 'interface': 'public', 'www_authenticate_uri': url,
            'username': 'svc', 'password': PASSWORD, 'user_domain_id': 'default', 'project_id': services,
            'token_cache_time': -1, 'cafile': authority.ca})
        stack.enter_context(self.service)

    def certificate(self, who, **other):
        return self.authority.of_user(self.people[who] | other, self.domain, who + '@example.org')

    def session(self, name, cert, **more):
        plugin = loading.get_plugin_loader('v3oauth2mtlsclientcredential').load_from_options(
            auth_url=self.url, oauth2_endpoint=self.url + '/OS-OAUTH2/token',
            oauth2_client_id=self.people[name]['id'], **more)
        return ka_session.Session(auth=plugin, verify=self.authority.ca, cert=cert)

    def ask(self, cert=None, **form):
        return requests.post(self.url + '/OS-OAUTH2/token', verify=self.authority.ca, cert=cert, timeout=60,
                             data={'grant_type': 'client_credentials', **form})

    def call(self, token, cert=None):
        """The status of the service, for this token on a connection with this certificate."""
        return requests.get(self.service.root + '/', verify=self.authority.ca, cert=cert, timeout=60,
                            headers={'Authorization': 'Bearer ' + token}).status_code


WAYS = ['tls', 'front']


@pytest.fixture(scope='module', params=WAYS)
def w(request, checks, options, tmp_path_factory):
    if options.keystone and request.param == 'tls':
        pytest.skip('a Keystone has no TLS of its own')
    with contextlib.ExitStack() as stack:
        authority = certificates.Authority()
        stack.callback(authority.stop)
        if request.param == 'tls':
            srv = stack.enter_context(TlsVicar(authority))
            url = srv.url
        else:
            srv = stack.enter_context(
                certificates.FrontedKeystone(settings={'identity': {'password_hash_rounds': 4}})
                if options.keystone else server.Vicar(settings={
                    'identity': {'password_hash_rounds': 4}, 'vicar': certificates.BEHIND}))
            front = certificates.Front(authority, srv)
            stack.callback(front.stop)
            url = front.url
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv('SSL_CERT_FILE', authority.ca)          # api.py's
        yield World(stack, checks, url, srv.password, authority)


def test_keystoneauth_gets_a_token(w):
    c = w.c
    session = w.session('alice', w.certs['alice'])
    seen = session.auth.get_access(session)
    c.equal('its user, its project', (seen.user_id, seen.project_id), (w.people['alice']['id'], w.p))
    c.equal('its roles', sorted(set(seen.role_names)), ['member', 'reader'])
    headers = session.get_auth_headers()
    c.equal('it is sent to services', headers['Authorization'], 'Bearer ' + headers['X-Auth-Token'])
    told = w.api.validate(w.admin, headers['X-Auth-Token']).want(200).body['token']
    c.equal('it names no method', told['methods'], [])
    c.ok('it is bound', bool(told.get('oauth2_credential', {}).get('x5t#S256')), told)
    for what, name, cert in (
            ("another's certificate", 'alice', w.certs['bob']),
            ('a certificate with another name', 'alice', w.certificate('alice', name='bob')),
            ('a certificate with another id', 'alice', w.certificate('alice', id='x')),
            ('no certificate', 'alice', None)):
        session = w.session(name, cert)
        c.raises(what, session.get_token, ka.ClientException)


def test_the_endpoint(w):
    c, alice = w.c, w.people['alice']['id']
    given = w.ask(w.certs['alice'], client_id=alice)
    c.equal('a token', (given.status_code, given.json()['token_type'], given.json()['expires_in']),
            (200, 'Bearer', 3600))
    for what, cert, form in (("another's certificate", w.certs['bob'], {'client_id': alice}),
                             ('no certificate', None, {'client_id': alice}),
                             ('nobody', w.certs['alice'], {'client_id': 'nobody'}),
                             ('no id', w.certs['alice'], {})):
        refused = w.ask(cert, **form)
        c.equal(what, (refused.status_code, refused.json()),
                (401, {'error': 'invalid_client', 'error_description': 'Client authentication failed.'}))
    stranger = certificates.Authority()              # of the same name, which proves nothing
    cert = stranger.of_user(w.people['alice'], w.domain, 'alice@example.org')
    try:
        w.ask(cert, client_id=alice)
        c.ok("another authority's certificate ends the connection", False)
    except requests.ConnectionError:
        c.ok("another authority's certificate ends the connection", True)
    stranger.stop()
    # A client that writes the header itself.
    with open(w.certs['alice'][0]) as f:
        lines = f.read().replace('\n', ' ')
    sent = requests.post(w.url + '/OS-OAUTH2/token', verify=w.authority.ca, timeout=60,
                         headers={certificates.HEADER: lines, 'SSL_CLIENT_CERT': lines},
                         data={'grant_type': 'client_credentials', 'client_id': alice})
    c.equal("a client's own header is nothing", sent.status_code, 401)


def test_the_token_stays_bound(w):
    c = w.c
    session = w.session('alice', w.certs['alice'])
    token = session.get_token()

    def call(path, body):
        return w.api.post(path, token, body)

    body = {'auth': {'identity': {'methods': ['token'], 'token': {'id': token}}}}
    c.status('it is exchanged for no other', call('/auth/tokens', body), 403)
    body['auth']['scope'] = api.project(w.other)
    c.status('... of another project', call('/auth/tokens', body), 403)
    users = '/users/%s' % w.people['alice']['id']
    c.status('it makes no application credential', call(
        users + '/application_credentials', {'application_credential': {'name': 'x'}}), 403)
    c.status('it makes no trust', call('/OS-TRUST/trusts', {'trust': {
        'trustor_user_id': w.people['alice']['id'], 'trustee_user_id': w.people['bob']['id'],
        'project_id': w.p, 'impersonation': True, 'roles': [{'name': 'member'}]}}), 403)
    c.status('it makes no keypair', call(users + '/credentials/OS-EC2', {'tenant_id': w.p}), 403)
    c.status('it lists projects', w.api.get('/auth/projects', token), 200)


def test_keystonemiddleware_wants_the_certificate(w):
    c = w.c
    tokens = {name: w.session(name, w.certs[name]).get_token() for name in w.people}
    for name, token in tokens.items():
        other = next(n for n in tokens if n != name)
        c.equal("%s's token with their certificate" % name, w.call(token, w.certs[name]), 200)
        c.equal("... with another's", w.call(token, w.certs[other]), 401)
        c.equal('... without one', w.call(token), 401)
    c.equal('... with a new one of the same names', w.call(tokens['alice'], w.certificate('alice')), 401)
    login = w.api.login(w.people['alice']['id'], PASSWORD, api.project(w.p))
    c.equal('a token of a password is bound to none', w.call(login.id, w.certs['alice']), 401)
    w.api.revoke(w.admin, tokens['alice']).want(204)
    c.equal('a token that was revoked', w.call(tokens['alice'], w.certs['alice']), 401)
