"""OpenStack's middleware in front of a tiny service: what services see of tokens.

    pytest middleware.py              starts Vicar, memcached and the services (service.py)
    pytest middleware.py --keystone   the same on a Keystone 30.0.0, as far as it must hold
                                      there: a test of the tests

auth_token is keystonemiddleware's newest. Its ec2_token and s3_token ended with 11.0.0,
so they run from an environment of their own, and beside them Swift's s3api and s3token,
where the latter lives on.
"""
import base64
import concurrent.futures
import contextlib
import hashlib
import hmac
import json
import os
import re
import time
import urllib.parse

import harness

harness.run_in('clients')

import boto3
import botocore.auth
import botocore.config
import pytest
import requests
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

import api
import server
import sign

PASSWORD = 'a password for everybody'
SHORT = 6                  # seconds that the first tokens live
WHOLE = 1                  # caches count in whole seconds


class Services(server.Server):
    """A process with some of the services, in one of the environments."""
    kind = 'services'
    ready_path = '/'
    ready_statuses = (200, 400, 401, 403, 503)

    def __init__(self, env, config_files=(), **pipelines):
        super().__init__()
        self.env = env
        self.ports = {name: server.free_port() for name in pipelines}
        self.port = next(iter(self.ports.values()))
        self.root = 'http://127.0.0.1:%d' % self.port
        self.spec = os.path.join(self.dir, 'spec.json')
        with open(self.spec, 'w') as f:
            json.dump({'config_files': list(config_files), 'pipelines': [
                dict(p, port=self.ports[name]) for name, p in pipelines.items()]}, f)

    def command(self):
        return ([harness.env_bin(self.env, 'python'),
                 os.path.join(harness.HERE, 'service.py'), self.spec], {})


class World:
    """The identity service, those who use it, and the services in between."""

    def __init__(self, checks, srv):
        self.c, self.server, self.url = checks, srv, srv.url
        self.vicar = srv.kind == 'vicar'
        self.kept = 3 if self.vicar else 6      # seconds that the caches keep
        self.api = api.Api(srv.url)
        self.ports, self.processes, self.families = {}, [], 0
        self._root = None

    def root(self):
        """The administrator's token, never an old one."""
        if not self._root or time.monotonic() > self._root_until:
            self._root = self.api.admin(self.server.password)
            self._root_until = time.monotonic() + SHORT / 3
        return self._root

    def user(self, name, domain='default'):
        return self.api.make(self.root(), 'user', name=name, domain_id=domain,
                             password=PASSWORD)

    def grant(self, role, user, project):
        self.api.grant(self.root(), self.roles[role], user, project)

    def login(self, who, scope=None):
        return self.api.login(who, PASSWORD, scope)

    def svc_token(self):
        return self.login(self.svc, api.project(self.services))

    def keypair(self, token, project):
        """(access, secret) of a new keypair of the token's user."""
        made = self.api.post('/users/%s/credentials/OS-EC2' % token.user, token,
                             {'tenant_id': project}).want(201).body['credential']
        return made['access'], made['secret']

    def exchanged(self, pair):
        """The token that a signed request yields."""
        return api.Token(self.api.post('/ec2tokens', self.svc_token(),
                                       sign.ec2_v2(*pair)).want(200))

    def application_credential(self, token, name, **more):
        return self.api.post(
            '/users/%s/application_credentials' % token.user, token,
            {'application_credential': dict(more, name=name)}
        ).want(201).body['application_credential']

    def by_application_credential(self, made):
        return api.Token(self.api.post('/auth/tokens', body={'auth': {'identity': {
            'methods': ['application_credential'], 'application_credential': {
                'id': made['id'], 'secret': made['secret']}}}}))

    # calls to the services

    def call(self, token=None, service='plain', path='/', serving=None, headers=None):
        """An Answer of that service; `serving` is a service token."""
        head = dict(headers or {})
        if serving is not None:
            head['X-Service-Token'] = getattr(serving, 'id', serving)
        return api.Api('http://127.0.0.1:%d' % self.ports[service]).call(
            'GET', path, token, headers=head)

    def statuses(self, tokens, service='plain', **kw):
        """{kind: status} of a dict of tokens."""
        return {kind: self.call(t, service, **kw).status for kind, t in tokens.items()}

    def say(self, what, got, want):
        """One check over a dict of statuses; names those that differ."""
        wrong = {k: '%s, want %s' % (v, want.get(k)) for k, v in got.items()
                 if v != want.get(k)}
        return self.c.ok(what, not wrong, wrong)

    # the scene

    def set_the_scene(self):
        for name in ('stack_owner', 'late'):
            self.api.make(self.root(), 'role', name=name)
        self.roles = self.api.role_ids(self.root())
        self.services = self.api.make(self.root(), 'project', name='services',
                                      domain_id='default')
        self.svc, self.svc2 = self.user('svc'), self.user('svc2')
        self.reader = self.user('s3reader')
        for who in (self.svc, self.svc2):
            self.grant('service', who, self.services)
        self.grant('admin', self.reader, self.services)
        tiny = self.api.make(self.root(), 'service', type='tiny', name='tiny')
        self.api.make(self.root(), 'endpoint', service_id=tiny, interface='public',
                      url='http://tiny.example.org/v1')
        self.own_credential = self.application_credential(self.svc_token(), 'of the middleware')
        # tokens that will soon be over
        ed = self.user('ed')
        self.ed = ed
        self.short = Family(self, 'short')
        self.grant('member', ed, self.short.p)
        self.short_of_ed = self.login(ed, api.project(self.short.p))
        self.short_service = self.svc_token()
        revoked = self.login(self.short.alice, api.project(self.short.p))
        self.api.revoke(revoked, revoked).want(204)
        self.short_revoked = revoked
        self.c.ok('projects, users, roles, and tokens that live %d s' % SHORT, True)

    def again(self, **token_settings):
        """Restart the identity service with other settings of [token]."""
        self.server.halt()
        server.change_ini(self.server.settings, {'token': token_settings})
        self.server.start()

    def serve(self, memcached):
        """Start the services."""
        folder = self.server.dir

        def auth_token(name, filter='auth_token', **more):
            options = {
                'auth_type': 'password', 'auth_url': self.url, 'interface': 'public',
                'www_authenticate_uri': self.url, 'username': 'svc',
                'password': PASSWORD, 'user_domain_id': 'default',
                'project_id': self.services, 'token_cache_time': -1,
                'http_request_max_retries': 1, 'service_token_roles': 'service',
                'service_token_roles_required': True}
            options.update(more)
            path = os.path.join(folder, 'service-%s.conf' % name)
            server.write_ini(path, {'keystone_authtoken': {
                k: v for k, v in options.items() if v is not None}})
            return ['keystonemiddleware.%s:filter_factory' % filter,
                    {'oslo_config_project': 'tiny', 'oslo_config_file': path}]

        def echo(name, **more):
            return {'app': 'echo', 'filters': [auth_token(name, **more)]}

        cache = '127.0.0.1:%d' % memcached.port
        new = Services(
            'clients',
            plain=echo('plain'),
            appcred=echo(
                'appcred', auth_type='v3applicationcredential', username=None,
                password=None, user_domain_id=None, project_id=None,
                application_credential_id=self.own_credential['id'],
                application_credential_secret=self.own_credential['secret']),
            oauth2=echo('oauth2', filter='oauth2_token', service_type='tiny'),
            lenient=echo('lenient', service_token_roles_required=False),
            delayed=echo('delayed', delay_auth_decision=True),
            cached=echo('cached', token_cache_time=self.kept),
            memcached=echo('memcached', token_cache_time=self.kept,
                           memcached_servers=cache,
                           memcache_security_strategy='ENCRYPT',
                           memcache_secret_key='the key of the cache'),
            long=echo('long', token_cache_time=300),
            own=echo('own', username='svc2'),
            lean=echo('lean', include_service_catalog=False,
                      enforce_token_bind='strict', service_type='tiny'),
            typed=echo('typed', service_type='tiny'),
            typed_cached=echo('typed_cached', service_type='tiny', token_cache_time=self.kept),
            typed_memcached=echo('typed_memcached', service_type='tiny', token_cache_time=self.kept,
                                 memcached_servers=cache))

        def gateway(url, name):
            path = os.path.join(folder, 'gateway-%s.conf' % name)
            server.write_ini(path, {'keystone_ec2_token': {'url': url}})
            return path

        def s3(**conf):
            return {'app': 'bucket', 'filters': [
                ['swift.common.middleware.memcache:filter_factory',
                 {'memcache_servers': cache}],
                ['swift.common.middleware.s3api.s3api:filter_factory',
                 {'location': 'us-east-1', 'allow_multipart_uploads': 'false'}],
                ['swift.common.middleware.s3api.s3token:filter_factory', dict({
                    'auth_uri': self.url, 'auth_type': 'password',
                    'auth_url': self.url, 'username': 'svc', 'password': PASSWORD,
                    'user_domain_id': 'default', 'project_id': self.services,
                    'http_timeout': '20'}, **conf)]]}

        def old_s3(uri):
            return {'app': 'echo', 'filters': [
                ['keystonemiddleware.s3_token:filter_factory',
                 {'www_authenticate_uri': uri}]]}

        ec2 = ['keystonemiddleware.ec2_token:filter_factory', {}]
        direct = Services(
            'gateways', [gateway(self.url + '/ec2tokens', 'direct')],
            ec2_direct={'app': 'echo', 'filters': [ec2, auth_token('ec2')]},
            old_s3_direct=old_s3(self.server.root),
            s3=s3(secret_cache_duration='0'),
            s3_caching=s3(secret_cache_duration=str(self.kept)),
            s3_caching_as_admin=s3(secret_cache_duration=str(self.kept),
                                   username='s3reader'),
            relay={'app': 'relay', 'filters': [], 'app_conf': {
                'to': self.server.root, 'login': {
                    'auth_url': self.url, 'username': 'svc', 'password': PASSWORD,
                    'user_domain_id': 'default', 'project_id': self.services}}})
        relay = 'http://127.0.0.1:%d' % direct.ports['relay']
        relayed = Services(
            'gateways', [gateway(relay + '/v3/ec2tokens', 'relayed')],
            ec2={'app': 'echo', 'filters': [ec2, auth_token('ec2')]},
            ec2_typed={'app': 'echo', 'filters': [ec2, auth_token('ec2_typed', service_type='tiny')]},
            old_s3=old_s3(relay))
        self.processes = [new, direct, relayed]
        for p in self.processes:
            self.ports.update(p.ports)
            p.launch()
        return self.processes


@pytest.fixture(scope='module')
def w(checks, options):
    kind = server.Keystone if options.keystone else server.Vicar
    settings = {'identity': {'password_hash_rounds': 4}, 'delegation': {'evidence_interval': 1},
                'token': {'expiration': SHORT, 'allow_expired_window': 600}}
    harness.env_bin('gateways', 'python')
    with contextlib.ExitStack() as stack:
        memcached = server.Memcached()
        memcached.launch()
        stack.enter_context(memcached)
        srv = stack.enter_context(kind(settings=settings))
        print('server: %s (%s)' % (srv.url, srv.kind))
        world = World(checks, srv)
        world.set_the_scene()
        for process in world.serve(memcached):
            stack.callback(process.stop)
        world.again(expiration=3600)
        for process in world.processes:
            process.wait()
        yield world


class Family:
    """Alice, in a domain of her own, what she delegated, and a token of each kind.

    alice -> bob -> carl -> dave is a chain with impersonation; bob holds another trust
    of hers without. `unowned` of these are shared with another family.
    """

    def __init__(self, w, what):
        w.families += 1
        call, name = w.api, lambda x: '%s-%d' % (x, w.families)
        self.w, self.what = w, what
        self.domain = call.make(w.root(), 'domain', name=name('d'))
        self.p = call.make(w.root(), 'project', name=name('p'), domain_id=self.domain)
        self.alice = w.user(name('alice'), self.domain)
        self.bob, self.carl, self.dave = (w.user(name(x)) for x in
                                          ('bob', 'carl', 'dave'))
        for role in ('stack_owner', 'reader', 'member'):
            w.grant(role, self.alice, self.p)
        login = w.login(self.alice, api.project(self.p))

        def trust(token, trustee, more=True, impersonation=True, **kw):
            if more:
                kw['allow_redelegation'] = True
            made = call.trust(token, self.alice, trustee, self.p, ['stack_owner'],
                              impersonation=impersonation, **kw)
            return made['id'], w.login(trustee, api.trust(made['id']))

        self.trust, t1 = trust(login, self.bob)
        self.child, t2 = trust(t1, self.carl)
        self.leaf, t3 = trust(t2, self.dave, more=False)
        self.own_name, t4 = trust(login, self.bob, False, False)
        self.pair = w.keypair(login, self.p)
        self.tokens = {
            'login': login, 'trust': t1, 'child': t2, 'leaf': t3,
            'no impersonation': t4, 'keypair': w.exchanged(self.pair),
            "bob's login": w.login(self.bob)}
        self.appcred = w.application_credential(login, 'app')
        self.tokens['application credential'] = w.by_application_credential(self.appcred)
        if w.vicar:
            self.trust_pair = w.keypair(t1, self.p)
            self.leaf_pair = w.keypair(t3, self.p)
            self.tokens.update({
                "trust's keypair": w.exchanged(self.trust_pair),
                "leaf's keypair": w.exchanged(self.leaf_pair)})

    def alive(self, *dead):
        """{kind: status} when these are dead; `dead` may name the kind `all`."""
        return {k: 401 if k in dead or ('all' in dead and k != "bob's login") else 200
                for k in self.tokens}


TRUSTS = ('trust', 'child', 'leaf', 'no impersonation', "trust's keypair",
          "leaf's keypair")
CHAIN = ('trust', 'child', 'leaf', "trust's keypair", "leaf's keypair")
BELOW = ('child', 'leaf', "leaf's keypair")


# what a service sees

def told(w, what, token, service='plain', trust=None, user=None, roles=None, **scope):
    """The headers and the environment behind auth_token are those of the token."""
    c, r = w.c, w.call(token, service)
    if not c.status('%s goes through' % what, r, 200):
        return None
    seen, head, body = r.body, r.body['headers'], token.body
    place = body.get('project') or {}
    want = {
        'X-Identity-Status': 'Confirmed',
        'X-User-Id': user, 'X-User-Name': body['user']['name'],
        'X-User-Domain-Id': body['user']['domain']['id'],
        'X-User-Domain-Name': body['user']['domain']['name'],
        'X-Project-Id': scope.get('project'), 'X-Project-Name': place.get('name'),
        'X-Project-Domain-Id': place.get('domain', {}).get('id'),
        'X-Domain-Id': scope.get('domain'),
        'Openstack-System-Scope': scope.get('system'),
        'X-Tenant-Id': scope.get('project')}
    got = {k: head.get(k) for k in want}
    c.equal('%s: its headers' % what, got, want)
    c.equal('%s: its roles' % what,
            sorted(filter(None, head.get('X-Roles', '').split(','))), sorted(roles))
    c.equal('%s: audit ids, end, trust' % what,
            [seen['user']['audit_id'], seen['user']['expires'][:19],
             seen['user']['trust_id'], seen['user']['trust_scoped']],
            [body['audit_ids'][0], body['expires_at'][:19], trust, trust is not None])
    c.ok('%s: no service' % what, seen['service'] is None and not any(
        k.startswith('X-Service-') and k != 'X-Service-Catalog' for k in head), head)
    return seen


def test_scopes(w):
    """Valid tokens of every scope and kind."""
    c, f = w.c, Family(w, 'scopes')
    p, t, alice = f.p, f.tokens, f.alice
    mine = ['stack_owner', 'member', 'reader']
    seen = told(w, 'a project token', t['login'], user=alice, project=p, roles=mine)
    catalog = json.loads(seen['headers']['X-Service-Catalog'])
    c.ok('the catalog, in its old form', any(
        s['type'] == 'identity' and s['endpoints'][0].get('publicURL')
        for s in catalog), catalog)
    c.equal('is_admin_project', seen['headers']['X-Is-Admin-Project'], 'True')
    told(w, 'an unscoped token', w.login(alice), user=alice, roles=[])
    w.api.put('/domains/%s/users/%s/roles/%s' % (f.domain, alice, w.roles['member']),
              w.root()).want(204)
    told(w, 'a domain token', w.login(alice, api.domain(f.domain)), user=alice,
         domain=f.domain, roles=['member', 'reader'])
    w.api.put('/system/users/%s/roles/%s' % (alice, w.roles['reader']),
              w.root()).want(204)
    told(w, 'a system token', w.login(alice, api.SYSTEM), user=alice, system='all',
         roles=['reader'])
    told(w, 'an application credential\'s', t['application credential'],
         user=alice, project=p, roles=mine)
    told(w, 'a keypair\'s', t['keypair'], user=alice, project=p, roles=mine)
    for kind, trust, who, parties in (
            ('trust', f.trust, alice, (alice, f.bob)),
            ('child', f.child, alice, (alice, f.carl)),
            ('leaf', f.leaf, alice, (alice, f.dave)),
            ('no impersonation', f.own_name, f.bob, (alice, f.bob)),
            ("trust's keypair", f.trust, alice, (alice, f.bob)),
            ("leaf's keypair", f.leaf, alice, (alice, f.dave))):
        if kind not in t:
            continue
        seen = told(w, 'a token of the kind `%s`' % kind, t[kind], user=who, project=p,
                    trust=trust, roles=['stack_owner'])
        if seen:
            c.equal('%s: trustor and trustee' % kind,
                    (seen['user']['trustor_user_id'], seen['user']['trustee_user_id']),
                    parties)
        if seen and w.vicar and kind == "leaf's keypair":
            c.equal('... and the whole chain for who asks', [
                x['trust_id'] for x in seen['token']['token']['OS-TRUST:trust']['chain']],
                [f.trust, f.child, f.leaf])
    if w.vicar:
        # The service that validated is the last one that the evidence of the trust tells of, once that is written.
        path, end = '/OS-TRUST/trusts/' + f.leaf, time.monotonic() + 60
        service = {'id': w.svc, 'name': 'svc'}

        def last():
            w.call(t['leaf'])
            return w.api.get(path, w.root()).want(200).body['trust']['evidence']['last_validated_by']
        while (seen := last()) != service and time.monotonic() < end:
            time.sleep(0.1)
        c.equal('the leaf trust tells which service validated last', seen, service)
    forged = w.call(t['trust'], headers={'X-Roles': 'admin', 'X-User-Id': 'x',
                                         'X-Service-Roles': 'service'}).body['headers']
    c.equal('headers that the client made up are not believed',
            (forged['X-Roles'], forged['X-User-Id'], forged.get('X-Service-Roles')),
            ('stack_owner', alice, None))


def test_refused(w):
    """No token, none that is one, and delay_auth_decision."""
    c = w.c
    good = w.svc_token()
    cut = good.id[:-1]
    wrong = {'none': None, 'empty': '', 'a word': 'nonsense', 'a space': ' ',
             'a Fernet beginning': 'gAAAAABnonsense', 'cut': cut,
             'twice': good.id + good.id, 'a path': '../../users', 'percent': '%00%zz',
             'bytes above 127': '\xe9\xff' * 20, '4 KB': 'gAAAAAB' + 'x' * 4096,
             '30 KB': 'x' * 30000, '60 KB': 'gAAAAAB' + 'A' * 60000}
    for kind, token in wrong.items():
        r = w.call(token)
        c.ok('%s: 401, and where to go' % kind, r.status == 401 and r.headers.get(
            'WWW-Authenticate') == 'Keystone uri="%s"' % w.url,
            (r.status, r.headers.get('WWW-Authenticate'), r.text[:100]))
    c.status('a valid token with spaces around it', w.call(' %s ' % good.id), 200)
    got = {kind: w.call(token, 'delayed') for kind, token in wrong.items()}
    c.equal('delay_auth_decision: the service decides over all of these',
            {(r.status, r.body['headers']['X-Identity-Status']) for r in got.values()},
            {(200, 'Invalid')})
    c.ok('... and learns nothing else', not any(
        h in r.body['headers'] for r in got.values()
        for h in ('X-User-Id', 'X-Roles', 'X-Project-Id')))
    r = w.call(None, 'delayed', '/deny')
    c.ok('... and its own 401 tells where to go', r.status == 401 and
         'Keystone uri=' in r.headers.get('WWW-Authenticate', ''))
    r = w.call(good, 'delayed')
    c.equal('... a good token is confirmed', (r.status, r.body['headers'][
        'X-Identity-Status']), (200, 'Confirmed'))


def test_service(w):
    """Service tokens."""
    c, f = w.c, Family(w, 'service')
    t, serving = f.tokens, w.svc_token()
    for kind in ('login', 'trust', "trust's keypair"):
        if kind in t:
            r = w.call(t[kind], serving=serving)
            head = r.body['headers'] if r.status == 200 else {}
            c.equal('%s with a service token' % kind,
                    [r.status, head.get('X-User-Id'), head.get('X-Service-User-Id'),
                     head.get('X-Service-Project-Id'), head.get('X-Service-Roles'),
                     head.get('X-Service-Identity-Status')],
                    [200, f.alice, w.svc, w.services, 'service', 'Confirmed'])
    c.status('a service token that is none', w.call(t['login'], serving='x'), 401)
    r = w.call(t['login'], 'delayed', serving='x')
    c.equal('... where the service decides', (
        r.status, r.body['headers']['X-Identity-Status'],
        r.body['headers']['X-Service-Identity-Status']),
        (200, 'Confirmed', 'Invalid'))
    c.status('a user\'s token as service token', w.call(
        t['login'], serving=t['login']), 401)
    c.status('... goes where the role is not required', w.call(
        t['login'], 'lenient', serving=t['login']), 200)
    c.status('a service token alone', w.call(None, serving=serving), 401)
    dead = w.svc_token()
    w.api.revoke(w.root(), dead).want(204)
    c.status('a revoked service token', w.call(t['login'], serving=dead), 401)
    for kind in t:
        r = w.call(t[kind], path='/onward?%d' % w.ports['plain'])
        onward = r.body.get('body', {}) if r.status == 200 else {}
        c.equal('%s: handed on to the next service' % kind,
                [r.status, r.body.get('status'),
                 onward.get('headers', {}).get('X-User-Id'),
                 onward.get('headers', {}).get('X-Service-User-Id'),
                 (onward.get('user') or {}).get('trust_id')],
                [200, 200, t[kind].user, w.svc,
                 (t[kind].body.get('OS-TRUST:trust') or {}).get('id')])


def ends(f):
    """Every way in which authority ends: [(what, do, undo, what is dead then)]."""
    w, call = f.w, f.w.api

    def change(kind, id, **attributes):
        return lambda: call.patch('/%ss/%s' % (kind, id), w.root(),
                                  {kind: attributes}).want(200)

    def delete(path, token=None):
        return lambda: call.delete(path, token or w.root()).want(204)

    alices = f.tokens['login']
    grant = '/projects/%s/users/%s/roles/%s' % (f.p, f.alice, w.roles['stack_owner'])
    appcred = '/users/%s/application_credentials/%s' % (f.alice, f.appcred['id'])

    def trustor_gone():
        delete(appcred, alices)()       # on SQLite a Keystone forgets the rows below it
        delete('/users/' + f.alice)()

    domain_off = change('domain', f.domain, enabled=False)
    every = [
        ('a trust\'s token is revoked',
         lambda: call.revoke(w.root(), f.tokens['trust']).want(204), None, ['trust']),
        ('a login is revoked by itself',
         lambda: call.revoke(alices, alices).want(204), None, ['login']),
        ('the trustor is disabled', change('user', f.alice, enabled=False),
         change('user', f.alice, enabled=True), ['all']),
        ('the trustee is disabled', change('user', f.bob, enabled=False),
         change('user', f.bob, enabled=True), [*TRUSTS, "bob's login"]),
        ('one in the middle of the chain is disabled',
         change('user', f.carl, enabled=False), change('user', f.carl, enabled=True),
         BELOW),
        ('the project is disabled', change('project', f.p, enabled=False),
         change('project', f.p, enabled=True), ['all']),
        ('the domain is disabled', domain_off,
         change('domain', f.domain, enabled=True), ['all']),
        ('the delegated role is taken away', delete(grant),
         lambda: call.put(grant, w.root()).want(204),
         [*TRUSTS, 'application credential', 'login', 'keypair']),
        ('the trust is deleted', delete('/OS-TRUST/trusts/' + f.trust, alices), None,
         CHAIN),
        ('a trust in the middle is deleted',
         delete('/OS-TRUST/trusts/' + f.child, alices), None, BELOW),
        ('the trustor\'s password is changed',
         change('user', f.alice, password='another'), None, ['all']),
        ('the trustee\'s password is changed',
         change('user', f.bob, password='another'), None, [*TRUSTS, "bob's login"]),
        ('the trustor is deleted', trustor_gone, None, ['all']),
        ('the trustee is deleted', delete('/users/' + f.bob), None,
         [*TRUSTS, "bob's login"]),
        ('the project is deleted', delete('/projects/' + f.p), None, ['all']),
    ]
    every.append(('the application credential is deleted',
                  delete(appcred, alices), None, ['application credential']))
    if w.vicar:
        path = '/users/%s/credentials/OS-EC2/' % f.alice
        every += [
            ('the trust is given back by its trustee', delete(
                '/OS-TRUST/trusts/%s?renounce=true' % f.trust, w.login(f.bob)), None,
             CHAIN),
            ('the trust\'s keypair is deleted',
             delete(path + f.trust_pair[0], alices), None, ["trust's keypair"]),
            ('a login\'s keypair is deleted',
             delete(path + f.pair[0], alices), None, ['keypair'])]
    return every


def test_ended(w):
    """Authority that ended is 401 at the next request, never 503, without a cache."""
    n, count = 0, 1
    while n < count:
        f = Family(w, n)
        causes = ends(f)
        what, do, undo, dead = causes[n]
        n, count = n + 1, len(causes)
        w.say('before %s' % what, w.statuses(f.tokens), f.alive())
        do()
        want = f.alive(*dead)
        if not w.vicar:
            want.update(KEYSTONE.get(what, {}))
        w.say('%s: 401 for %s' % (what, ', '.join(dead)), w.statuses(f.tokens), want)
        if 'role' in what and not w.vicar:
            roles = w.call(f.tokens['login']).body['headers']['X-Roles']
            w.c.equal('... and the login is without it', sorted(roles.split(',')),
                      ['member', 'reader'])
        if undo and w.vicar:          # Keystone's come back to life
            undo()
            w.say('... and that is taken back: they stay dead',
                  w.statuses(f.tokens), want)
    f = Family(w, 'uses')
    t = w.api.trust(f.tokens['login'], f.alice, f.dave, f.p, ['stack_owner'],
                    remaining_uses=2)
    tokens = [w.login(f.dave, api.trust(t['id'])) for _ in range(2)]
    w.c.status('a third use of two', w.api.login_answer(
        f.dave, PASSWORD, api.trust(t['id'])), 401, *(() if w.vicar else (403, 404)))
    w.c.equal('a used up trust\'s tokens are dead', [
        w.call(x).status for x in tokens], [401, 401])


# where Keystone 30.0.0 answers otherwise: a chain is looked at in its last link only,
# and what suspends it is 403 at validation, which the middleware takes for an outage
KEYSTONE = {
    'the trustor is disabled': dict.fromkeys(TRUSTS, 503),
    'the trustee is disabled': dict.fromkeys(('child', 'leaf'), 503),
    'one in the middle of the chain is disabled': {'leaf': 503},
    'the delegated role is taken away': dict(
        dict.fromkeys(TRUSTS, 503), **{'application credential': 200, 'login': 200, 'keypair': 200}),
    'the trustee\'s password is changed': dict.fromkeys(('child', 'leaf'), 200),
}


def test_expired(w):
    """Tokens whose time is over, alone and with a service token."""
    c, t = w.c, dict(w.short.tokens, ed=w.short_of_ed, service=w.short_service)
    over = max(x.expires.timestamp() for x in [*t.values(), w.short_revoked])
    time.sleep(max(0, over + 1 - time.time()))
    w.say('expired tokens', w.statuses(t), dict.fromkeys(t, 401))
    r = w.call(t['login'], 'delayed')
    c.equal('... where the service decides', (
        r.status, r.body['headers']['X-Identity-Status']), (200, 'Invalid'))
    serving = w.svc_token()
    w.say('with a service token all go on', w.statuses(t, serving=serving), dict.fromkeys(t, 200))
    r = w.call(t['login'], serving=serving)
    c.equal('... as whom it was', (r.body['headers']['X-User-Id'],
                                   r.body['headers']['X-Service-User-Id']),
            (w.short.alice, w.svc))
    w.say('with an expired service token', w.statuses(t, serving=t['service']),
          dict.fromkeys(t, 401))
    now = w.login(w.short.alice, api.project(w.short.p))
    w.say('with a user\'s token as service token', w.statuses(t, serving=now),
          dict.fromkeys(t, 401))
    w.say('... also where it need not have the role',
          w.statuses(t, 'lenient', serving=now), dict.fromkeys(t, 401))
    c.status('revoked, then expired', w.call(w.short_revoked, serving=serving), 401)
    w.api.patch('/users/' + w.ed, w.root(), {'user': {'enabled': False}}).want(200)
    c.status('expired, and the user is disabled', w.call(t['ed'], serving=serving), 401)
    w.api.patch('/users/' + w.ed, w.root(), {'user': {'enabled': True}}).want(200)
    c.status('... and enabled again', w.call(t['ed'], serving=serving), 401)
    if w.vicar:                   # Keystone lends them out, however dead the trust may be by now
        trusts = '/OS-TRUST/trusts/'
        w.api.delete(trusts + w.short.leaf, now).want(204)
        w.say('expired, and the end of the chain is deleted', w.statuses(t, serving=serving), {
            k: 401 if k.startswith(('leaf', 'ed')) else 200 for k in t})
        w.api.delete(trusts + w.short.trust, now).want(204)
        w.say('expired, and the whole chain is deleted', w.statuses(t, serving=serving), {
            k: 401 if k in CHAIN or k == 'ed' else 200 for k in t})
    for cache in ('cached', 'memcached'):
        c.equal('%s: what a service token fetched helps nobody else' % cache,
                [w.call(t['login'], cache, serving=serving).status,
                 w.call(t['login'], cache).status], [200, 401])


def last_good(w, tokens, services, patience):
    """{(kind, service): when it was last let through}, asked until none is."""
    seen, left = {}, {(k, s) for k in tokens for s in services}
    end = time.monotonic() + patience
    while left and time.monotonic() < end:
        for kind, name in sorted(left):
            asked = time.monotonic()
            if w.call(tokens[kind], name).status == 200:
                seen[kind, name] = asked
            else:
                left.discard((kind, name))
        time.sleep(0.05)
    return seen, left


def test_caches(w):
    """How long a cache keeps alive what has ended."""
    c, f = w.c, Family(w, 'caches')
    expires = api.stamp(w.kept + 2)
    timed = w.api.trust(f.tokens['login'], f.alice, f.dave, f.p, ['stack_owner'],
                        expires_at=expires)
    timed = w.login(f.dave, api.trust(timed['id']))
    services = ('plain', 'cached', 'memcached')
    kinds = ('login', 'trust', 'leaf', "leaf's keypair")
    tokens = {k: f.tokens[k] for k in kinds if k in f.tokens}
    for name in (*services, 'long'):
        c.status('%s: a token of a trust that will soon end' % name,
                 w.call(timed, name), 200)
    began = time.monotonic()
    for name in services:
        w.say('%s: tokens go through' % name, w.statuses(tokens, name),
              dict.fromkeys(tokens, 200))
    primed = time.monotonic()
    w.api.delete('/OS-TRUST/trusts/' + f.trust, f.tokens['login']).want(204)
    w.api.revoke(w.root(), f.tokens['login']).want(204)
    over = time.monotonic()
    w.say('without a cache all are dead at once', w.statuses(tokens),
          dict.fromkeys(tokens, 401))
    for name in services[1:]:
        got = w.statuses(tokens, name)
        if time.monotonic() - began < w.kept - WHOLE:
            w.say('%s: still let through' % name, got, dict.fromkeys(tokens, 200))
        else:
            c.skip('%s: still let through' % name, 'this machine is too slow')
    seen, left = last_good(w, tokens, services[1:], w.kept + WHOLE + 5)
    c.ok('and then no more', not left, left)
    for name in services[1:]:
        last = max((t for (_, s), t in seen.items() if s == name), default=over)
        c.ok('%s: let through for %.1f s after the end, and %.1f s after the first '
             'time; token_cache_time is %d s' % (
                 name, last - over, last - began, w.kept),
             last - primed <= w.kept + WHOLE)
    time.sleep(max(0, api.when(expires).timestamp() + 0.1 - time.time()))
    for name in (*services, 'long'):
        c.status('%s: a cached token ends with its trust\'s time' % name,
                 w.call(timed, name), 401)


def test_own(w):
    """The middleware's own login dies, and it helps itself."""
    c = w.c
    token = w.svc_token()

    def own_token():
        r = w.call(token, 'own', '/onward?%d' % w.ports['plain'])
        return r.body['body']['headers']['X-Service-Token'] if r.status == 200 else None

    first = own_token()
    c.ok('the middleware has a token', bool(first))
    w.api.revoke(w.root(), first).want(204)
    c.status('it is revoked: the next request goes through all the same',
             w.call(token, 'own'), 200)
    c.status('... and a bad token is 401, not 503', w.call('nonsense', 'own'), 401)
    c.ok('... with another login', own_token() not in (None, first))
    path = '/users/' + w.svc2
    w.api.patch(path, w.root(), {'user': {'enabled': False}}).want(200)
    c.status('its user is disabled: 503, for it is not the client\'s fault',
             w.call(token, 'own'), 503)
    w.api.patch(path, w.root(), {'user': {'enabled': True}}).want(200)
    if not w.vicar:
        time.sleep(1.1)                    # else the new login would be dead at birth
    c.status('... enabled: it goes on', w.call(token, 'own'), 200)
    w.api.patch(path, w.root(), {'user': {'password': 'another'}}).want(200)
    c.status('its password is another: 503', w.call(token, 'own'), 503)
    w.api.patch(path, w.root(), {'user': {'password': PASSWORD}}).want(200)
    if not w.vicar:
        time.sleep(1.1)
    c.status('... the old one again', w.call(token, 'own'), 200)
    role = '/projects/%s/users/%s/roles/%s' % (w.services, w.svc2, w.roles['service'])
    w.api.delete(role, w.root()).want(204)
    c.status('it has lost its role: 503', w.call(token, 'own'), 503)
    w.api.put(role, w.root()).want(204)
    if not w.vicar:
        time.sleep(1.1)
    c.status('... and has it again', w.call(token, 'own'), 200)


def test_interplay(w):
    """Options of [keystone_authtoken] that change what is asked of the server."""
    c, f = w.c, Family(w, 'interplay')
    t = f.tokens
    for kind in ('login', 'trust', 'keypair'):
        r = w.call(t[kind], 'lean')
        c.ok('include_service_catalog = false, %s: no catalog anywhere' % kind,
             r.status == 200 and 'X-Service-Catalog' not in r.body['headers']
             and 'catalog' not in r.body['token']['token'], r.text[:300])
    for kind in ('login', 'trust', 'keypair'):
        c.status('auth_type = v3applicationcredential, %s' % kind,
                 w.call(t[kind], 'appcred'), 200)
    c.status('... a bad one', w.call('nonsense', 'appcred'), 401)
    ruled = w.by_application_credential(w.application_credential(
        t['login'], 'ruled', access_rules=[
            {'service': 'tiny', 'method': 'GET', 'path': '/v1/things/*'}]))
    c.status('access rules: what they allow', w.call(ruled, 'typed', '/v1/things/1'), 200)
    c.status('... what they do not', w.call(ruled, 'typed', '/v1/others/1'), 401)
    c.status('... at a service that is not said which it is',
             w.call(ruled, 'plain', '/v1/things/1'), 401)
    c.status('... with a service token', w.call(
        ruled, 'typed', '/v1/others/1', serving=w.svc_token()), 200)
    client = w.application_credential(t['login'], 'an OAuth 2.0 client')
    given = requests.post(w.url + '/OS-OAUTH2/token', data={'grant_type': 'client_credentials'},
                          auth=(client['id'], client['secret']), timeout=60)
    bearer = {'Authorization': 'Bearer ' + given.json().get('access_token', '')}
    r = w.call(None, 'oauth2', headers=bearer)
    c.ok('oauth2_token: an access token', r.status == 200
         and r.body['token']['token']['application_credential']['id'] == client['id'], r.text[:300])
    c.status('... a token of access rules, elsewhere', w.call(
        None, 'oauth2', '/v1/others/1', headers={'Authorization': 'Bearer ' + ruled.id}), 401)
    c.status('... nonsense', w.call(None, 'oauth2', headers={'Authorization': 'Bearer x'}), 401)
    c.status('... no such header', w.call(t['login'], 'oauth2'), 401)
    w.api.delete('/users/%s/application_credentials/%s' % (f.alice, client['id']), t['login']).want(204)
    c.status('... its credential is deleted', w.call(None, 'oauth2', headers=bearer), 401)
    w.api.delete('/users/%s/application_credentials/%s' % (
        w.svc, w.own_credential['id']), w.svc_token()).want(204)
    # Keystone answers 404 to the dead login, and the middleware blames the client
    c.status('the middleware\'s application credential is deleted: 503',
             w.call(t['login'], 'appcred'), 503 if w.vicar else 401)


# signed requests

def ec2_request(port, pair, version, age=0, secret=None):
    """A signed request as a client makes it, ready to be sent."""
    keys = Credentials(pair[0], secret or pair[1])
    url, params = 'http://127.0.0.1:%d/' % port, dict(sign.ACTION)
    if version == 'v2 GET':
        request = {'host': '127.0.0.1:%d' % port, 'verb': 'GET', 'path': '/',
                   'params': dict(params, AWSAccessKeyId=keys.access_key,
                                  SignatureVersion='2', SignatureMethod='HmacSHA256',
                                  Timestamp=api.stamp(-age)[:19] + 'Z')}
        params = dict(request['params'], Signature=sign.Ec2Signer(
            keys.secret_key).generate(request))
        return requests.Request('GET', url + '?' + urllib.parse.urlencode(params))
    request = AWSRequest(method='POST', url=url, data=params)
    if version == 'v4':
        request.data = urllib.parse.urlencode(params)
        request.headers['Content-Type'] = 'application/x-www-form-urlencoded'
        signer = botocore.auth.SigV4Auth(keys, 'ec2', 'RegionOne')
        with sign._botocore_time(age):
            signer.add_auth(request)
    else:
        signer = botocore.auth.SigV2Auth(keys)
        signer.add_auth(request)
        params['Timestamp'] = api.stamp(-age)[:19] + 'Z'
        params['Signature'] = signer.calc_signature(request, params)[1]
    return requests.Request('POST', url, data=request.data,
                            headers=dict(request.headers.items()))


def send(request):
    return requests.Session().send(request.prepare(), timeout=60)


def ec2_refused(w, what, request):
    r = send(request)
    w.c.ok('%s: a clean AuthFailure' % what, r.status_code == 400 and
           r.headers.get('Content-Type', '').startswith('text/xml') and
           '<Code>AuthFailure</Code>' in r.text, (r.status_code, r.text[:200]))


VERSIONS = ('v2 GET', 'v2 POST', 'v4')


def test_ec2(w):
    """keystonemiddleware's ec2_token before auth_token."""
    c, f = w.c, Family(w, 'ec2')
    port = w.ports['ec2']
    pairs = {'keypair': (f.pair, None, f.tokens['login'].roles)}
    if w.vicar:
        pairs.update({"trust's keypair": (f.trust_pair, f.trust, ['stack_owner']),
                      "leaf's keypair": (f.leaf_pair, f.leaf, ['stack_owner'])})
    for kind, (pair, trust, roles) in pairs.items():
        for version in VERSIONS:
            r = send(ec2_request(port, pair, version))
            seen = r.json() if r.status_code == 200 else {}
            c.equal('%s, %s: as whom it goes through' % (kind, version),
                    [r.status_code, seen.get('user', {}).get('user_id'),
                     seen.get('user', {}).get('project_id'),
                     seen.get('user', {}).get('trust_id'),
                     sorted(seen.get('user', {}).get('role_names', [])),
                     seen.get('token', {}).get('token', {}).get('methods')],
                    [200, f.alice, f.p, trust, sorted(roles), ['ec2credential']])
            ec2_refused(w, '%s, %s, tampered' % (kind, version), ec2_request(
                port, pair, version, secret='not the secret'))
            ec2_refused(w, '%s, %s, 16 minutes old' % (kind, version), ec2_request(
                port, pair, version, age=16 * 60))
    unknown = ('0' * 32, f.pair[1])
    for version in VERSIONS:
        ec2_refused(w, 'unknown access id, %s' % version,
                    ec2_request(port, unknown, version))
        # it has no login of its own, and the door wants one
        ec2_refused(w, 'straight to the door, %s' % version, ec2_request(
            w.ports['ec2_direct'], f.pair, version))
    for what, request in (
            ('no signature', requests.Request('GET', 'http://127.0.0.1:%d/' % port)),
            ('a long access id', ec2_request(port, ('a' * 5000, 'x'), 'v2 POST')),
            ('an access id of other letters', ec2_request(
                port, ('\u00e9\u4e2d\x00', 'x'), 'v2 POST'))):
        ec2_refused(w, what, request)
    w.api.delete('/OS-TRUST/trusts/' + f.trust, f.tokens['login']).want(204)
    for kind in pairs:
        if pairs[kind][1]:
            for version in VERSIONS:
                ec2_refused(w, '%s of a dead trust, %s' % (kind, version),
                            ec2_request(port, pairs[kind][0], version))
    c.equal('the plain keypair lives', send(
        ec2_request(port, f.pair, 'v4')).status_code, 200)
    w.api.patch('/users/' + f.alice, w.root(), {'user': {'enabled': False}}).want(200)
    ec2_refused(w, 'its owner is disabled', ec2_request(port, f.pair, 'v4'))


def tiny(method, path):
    return {'service': 'tiny', 'method': method, 'path': path}


def identity(method, path):
    return {'service': 'identity', 'method': method, 'path': path}


def test_access_rules(w):
    """Access rules of trusts and keypairs, in front of a service that knows nothing of trusts."""
    c, f = w.c, Family(w, 'rules')
    if not w.vicar:
        c.skip('access rules of trusts', 'a Keystone has none')
        return
    login, call = f.tokens['login'], w.api
    doors = [identity('POST', '/v3/OS-TRUST/trusts'),
             identity('POST', '/v3/users/*/credentials/OS-EC2')]
    more = {'allow_redelegation': True, 'access_rules': doors + [
        tiny('GET', '/v1/things/*'), tiny('GET', '/'), tiny('POST', '/')]}
    trust = call.trust(login, f.alice, f.bob, f.p, ['stack_owner'], **more)
    token = w.login(f.bob, api.trust(trust['id']))
    child = call.trust(token, f.alice, f.carl, f.p, ['stack_owner'],
                       access_rules=[tiny('GET', '/v1/things/1')])
    below = w.login(f.carl, api.trust(child['id']))
    typed = ('typed', 'typed_cached', 'typed_memcached')
    for name in typed:
        for again in ('', ', again'):
            c.equal('%s%s: what the rules allow, and what they do not' % (name, again),
                    [w.call(token, name, path).status for path in (
                        '/v1/things/1', '/v1/things/2', '/v1/others/1', '/v1/things/1/2')],
                    [200, 200, 401, 401])
            c.equal('... of a child, fewer', [w.call(below, name, path).status for path in (
                '/v1/things/1', '/v1/things/2', '/')], [200, 401, 401])
    seen = w.call(token, 'typed', '/v1/things/1').body
    c.equal('as whom it goes through', [seen['user']['user_id'], seen['user']['trust_id']],
            [f.alice, trust['id']])
    c.status('a service that does not say which it is', w.call(token, path='/v1/things/1'), 401)
    c.status('with a service token', w.call(
        token, 'typed', '/v1/others/1', serving=w.svc_token()), 200)

    def keypair(rules=None):
        made = call.post('/users/%s/credentials/OS-EC2' % f.alice, token, {
            'tenant_id': f.p, **({'access_rules': rules} if rules else {})})
        made = made.want(201).body['credential']
        return made['access'], made['secret']

    port = w.ports['ec2_typed']
    whole, posts = keypair(), keypair([tiny('POST', '/')])
    for what, pair, want in (('with the rules of its trust', whole, [200, 200, 200]),
                             ('with fewer', posts, [401, 200, 200])):
        c.equal('a keypair %s, through ec2tokens' % what, [
            send(ec2_request(port, pair, version)).status_code for version in VERSIONS], want)
    c.equal('... at a service that does not say which it is', send(
        ec2_request(w.ports['ec2'], whole, 'v4')).status_code, 401)
    c.equal('... through s3tokens, where nobody would enforce them', s3_get(w, whole)[0], 403)
    began = time.monotonic()
    for name in typed:
        c.status('%s: before its end' % name, w.call(token, name, '/v1/things/1'), 200)
    call.delete('/OS-TRUST/trusts/' + trust['id'], login).want(204)
    c.equal('it ends: without a cache at once', [
        w.call(x, 'typed', '/v1/things/1').status for x in (token, below)], [401, 401])
    time.sleep(max(0, began + w.kept + WHOLE + 1 - time.monotonic()))
    for name in typed[1:]:
        c.status('%s: after the time that it caches' % name,
                 w.call(token, name, '/v1/things/1'), 401)
    c.equal('its keypair', send(ec2_request(port, whole, 'v4')).status_code, 400)


S3_VERSIONS = ('s3', 's3v4')


def s3_get(w, pair, version='s3v4', name='s3', secret=None):
    """(status, error code or metadata) of boto3's get_object."""
    client = boto3.client(
        's3', endpoint_url='http://127.0.0.1:%d' % w.ports[name],
        aws_access_key_id=pair[0], aws_secret_access_key=secret or pair[1],
        region_name='us-east-1', config=botocore.config.Config(
            signature_version=version, retries={'max_attempts': 1},
            s3={'addressing_style': 'path'}))
    try:
        return 200, client.get_object(Bucket='bucket', Key='an object')['Metadata']
    except ClientError as e:
        return (e.response['ResponseMetadata']['HTTPStatusCode'],
                e.response['Error']['Code'])


def old_s3(w, pair, name):
    """A request as swift3 handed it to keystonemiddleware's s3_token."""
    text = b'GET\n\n\nSat, 01 Jan 2000 00:00:00 GMT\n/bucket/object'
    mac = base64.b64encode(hmac.new(pair[1].encode(), text, hashlib.sha1).digest())
    return requests.get(
        'http://127.0.0.1:%d/v1/AUTH_x/bucket/object' % w.ports[name], timeout=60,
        headers={'X-Auth-Token': base64.urlsafe_b64encode(text).decode(),
                 'Authorization': 'AWS %s:%s' % (pair[0], mac.decode())})


def test_s3(w):
    """Swift's s3api and s3token, and keystonemiddleware's s3_token."""
    c, f = w.c, Family(w, 's3')
    pairs = {'keypair': (f.pair, f.tokens['login'].roles)}
    if w.vicar:
        pairs.update({"trust's keypair": (f.trust_pair, ['stack_owner']),
                      "leaf's keypair": (f.leaf_pair, ['stack_owner'])})
    for kind, (pair, roles) in pairs.items():
        for version in S3_VERSIONS:
            status, meta = s3_get(w, pair, version)
            c.equal('%s, %s: as whom, to which account' % (kind, version),
                    [status, meta if status != 200 else
                     [meta['user'], meta['project'], meta['path'],
                      sorted(meta['roles'].split(','))]],
                    [200, [f.alice, f.p, '/v1/AUTH_%s/bucket/an object' % f.p,
                           sorted(roles)]])
            c.equal('%s, %s, tampered' % (kind, version),
                    s3_get(w, pair, version, secret='not the secret'),
                    (403, 'SignatureDoesNotMatch'))
    for version in S3_VERSIONS:
        c.equal('unknown access id, %s' % version,
                s3_get(w, ('0' * 32, 'x'), version), (403, 'SignatureDoesNotMatch'))
    r = old_s3(w, f.pair, 'old_s3_direct')
    c.ok('keystonemiddleware\'s s3_token has no login: a clean refusal', (
        r.status_code, '<Code>AccessDenied</Code>' in r.text) == (401, True), r.text)
    r = old_s3(w, f.pair, 'old_s3')
    c.ok('... and cannot read a token of version 3', (
        r.status_code, '<Code>InvalidURI</Code>' in r.text) == (400, True), r.text)
    s3_secrets(w, f, pairs)


def s3_secrets(w, f, pairs):
    """s3token keeps secrets: what ended lives on in its cache, or does not.

    It reads them with its own login, which a service's alone may not.
    """
    c, login = w.c, f.tokens['login']
    mine = {'s3_caching': w.keypair(login, f.p), 's3_caching_as_admin': f.pair}
    asked = {(name, kind): mine.get(name, pair) if kind == 'keypair' else pair
             for name in ('s3', 's3_caching', 's3_caching_as_admin')
             for kind, (pair, _) in pairs.items()}

    def answers():
        return {k: s3_get(w, pair, name=k[0])[0] for k, pair in asked.items()}

    began = time.monotonic()
    w.say('s3token with a cache: all go through', answers(), dict.fromkeys(asked, 200))
    primed = time.monotonic()
    w.api.delete('/OS-TRUST/trusts/' + f.trust, login).want(204)
    for access, _ in mine.values():
        w.api.delete('/users/%s/credentials/OS-EC2/%s' % (f.alice, access),
                     login).want(204)
    want = dict.fromkeys(asked, 403)
    want['s3_caching_as_admin', 'keypair'] = 200
    got = answers()
    if time.monotonic() - began > w.kept - WHOLE:
        c.skip('a login\'s keypair is still kept', 'this machine is too slow')
        del got['s3_caching_as_admin', 'keypair']
    w.say('after the end: a trust\'s keypair is never kept, a login\'s only where an '
          'administrator\'s login fetches it', got, want)
    last = primed
    while time.monotonic() < primed + w.kept + WHOLE + 5:
        asked = time.monotonic()
        if s3_get(w, f.pair, name='s3_caching_as_admin')[0] != 200:
            break
        last = asked
    c.ok('... for %.1f s, secret_cache_duration is %d' % (last - primed, w.kept),
         last - primed <= w.kept + WHOLE)


def test_away(w):
    """The identity service is restarted, is away, and comes back."""
    c, f = w.c, Family(w, 'away')
    kept, other = f.tokens['trust'], f.tokens['login']
    serving = w.svc_token()
    c.status('a cached token', w.call(kept, 'long'), 200)
    c.status('an expired token with a service token, so far', w.call(
        w.short.tokens['login'], serving=serving), 200)
    got, stop = [], []

    def ask(kind):
        while not stop:
            got.append((kind, w.call(f.tokens[kind]).status))
            time.sleep(0.02)

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        kinds = ('login', 'trust', "trust's keypair" if w.vicar else 'leaf')
        asking = [pool.submit(ask, kind) for kind in kinds]
        time.sleep(0.3)
        w.server.halt()
        try:
            c.status('away: 503, and not 401', w.call(other), 503)
            c.status('... a cached token goes on', w.call(kept, 'long'), 200)
            r = w.call(other, 'delayed')
            c.equal('... where the service decides', (
                r.status, r.body['headers']['X-Identity-Status']), (200, 'Invalid'))
            status, code = s3_get(w, f.pair)
            c.ok('... S3: a clean refusal (%s, %s)' % (status, code),
                 400 <= status < 500 or status == 503, (status, code))
            server.change_ini(w.server.settings, {'token': {'allow_expired_window': 0}})
        finally:
            w.server.start()
            back = time.monotonic()
            while w.call(other).status != 200 and time.monotonic() < back + 10:
                time.sleep(0.05)
            time.sleep(0.3)
            stop.append(True)
        for x in asking:
            x.result()
    c.equal('clients all the while saw', {s for _, s in got}, {200, 503})
    c.ok('... and good tokens at the end, %d requests in all' % len(got),
         [s for _, s in got[-3:]] == [200] * 3)
    w.say('back: every token goes on', w.statuses(f.tokens), f.alive())
    c.equal('... and signed requests', [
        s3_get(w, f.pair)[0], send(ec2_request(w.ports['ec2'], f.pair, 'v4')
                                   ).status_code], [200, 200])
    c.status('expired, and allow_expired_window is over', w.call(
        w.short.tokens['login'], serving=w.svc_token()), 401)


def test_our_fault(w):
    """Nothing that was asked of Vicar was answered with a 5xx."""
    if not w.vicar:
        pytest.skip("a Keystone's log is another")
    with open(w.server.log, errors='replace') as f:
        lines = f.readlines()
    answers = sum(' status=' in line for line in lines)
    bad = [line for line in lines if re.search(r' status=5\d\d|panicked', line)]
    w.c.ok('no 5xx in %d answers' % answers, answers and not bad, bad[:5])
