#!/usr/bin/env python3
"""A real OpenID Connect provider (`provider/`), whose access tokens keystoneauth's own plugins get and show to Vicar.

    openid_connect.py               all of it: three minutes, most of which it waits
    openid_connect.py -k WORD       the parts whose names have the word

First the ways to a token, and tokens that are not for this service; then browsers that Vicar sends there and that come
back, for a dashboard; then the days on which the provider is killed, stands still, has other keys, another name or an
expired certificate.
"""
import datetime
import html.parser
import http.server
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

import harness

harness.run_in('clients')

import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from keystoneauth1 import exceptions as ka
from keystoneauth1 import identity as ka_identity
from keystoneauth1 import session as ka_session
from keystoneauth1.loading import get_plugin_loader

import api
import certificates
import server

SECRET = 'secret-of-the-tool'
PW = 'a password at the provider'
# The shortest that there is, and the time between two questions.
LIFETIME, PAUSE = 60, 10
CALLBACK = '/v3/auth/OS-FEDERATION/oidc/callback'
MAPPING = [
    {'local': [{'user': {'name': '{0}', 'email': '{1}'}}, {'groups': '{2}', 'domain': {'name': 'campus'}}],
     'remote': [{'type': 'OIDC-sub'}, {'type': 'HTTP_OIDC_EMAIL'}, {'type': 'OIDC-groups'}]},
    {'local': [{'user': {'name': '{0}'}}],
     'remote': [{'type': 'OIDC-sub'}, {'type': 'OIDC-kind', 'any_one_of': ['machine']}]}]


class Provider(server.Server):
    """What it is comes from a file that is read at each start."""
    kind = 'provider'

    def __init__(self, authority):
        super().__init__()
        self.root = 'https://127.0.0.1:%d' % self.port
        self.authority, self.keys = authority, 0
        certificate, private = authority.of_server()
        self.told = {
            'modules': os.path.join(harness.CACHE, 'provider', 'node_modules'), 'secret': SECRET, 'port': self.port,
            'issuer': self.root, 'certificate': certificate, 'private': private,
            'users': {'ann': {'password': PW, 'groups': ['staff', 'nowhere']},
                      'bob': {'password': PW, 'groups': ['nowhere']}}}
        self.renew_keys()

    def renew_keys(self):
        self.keys += 1
        self.told['keys'] = os.path.join(self.dir, 'keys-%d.json' % self.keys)

    def command(self):
        path = os.path.join(self.dir, 'options.json')
        with open(path, 'w') as f:
            json.dump(self.told, f)
        return ['node', os.path.join(harness.HERE, 'provider', 'provider.mjs'), path], {}

    def ready(self):
        return server.answers(self.port)

    def restart(self, **told):
        self.halt()
        self.told.update(told)
        self.start()

    def token(self, client='tool', **form):
        """What a client gets, whoever vouches for the provider."""
        form = form or {'grant_type': 'password', 'username': 'ann', 'password': PW}
        answer = requests.post(self.root + '/token', auth=(client, SECRET), verify=False, timeout=60,
                               data=dict(form, scope='openid profile'))
        answer.raise_for_status()
        return answer.json()['access_token']

    def machine(self, client):
        return self.token(client, grant_type='client_credentials')

    def signal(self, number):
        os.killpg(self.process.pid, number)


class Cloud:
    def __init__(self, checks, stack, dashboard=None):
        self.c, self.authority = checks, certificates.Authority()
        stack.callback(self.authority.stop)
        self.provider, self.dashboard = Provider(self.authority), dashboard or Dashboard()
        stack.callback(self.provider.stop)
        port = server.free_port()
        self.here = 'http://127.0.0.1:%d' % port
        self.callback = server.free_port()
        self.provider.told['redirect'] = self.here + CALLBACK
        self.provider.start()
        self.v = server.Vicar(port=port, settings={
            'DEFAULT': {'public_endpoint': self.here},
            'federation': {'trusted_dashboard': [
                self.dashboard.url, 'http://localhost:%d/auth/websso/' % self.callback]},
            'auth': {'methods': 'password,token,application_credential,openid,totp'},
            'identity': {'password_hash_rounds': 4},
            'oidc.campus': {'issuer': self.provider.root, 'audience': 'cloud', 'cafile': self.authority.ca,
                            'client_id': 'vicar', 'client_secret': SECRET, 'introspection': 'true',
                            'timeout': 2, 'metadata_lifetime': LIFETIME}})
        stack.callback(self.v.stop)
        self.v.start()
        self.a = a = api.Api(self.v.url)
        self.admin = admin = a.admin(self.v.password)
        self.domain, self.project = a.campus(admin, 'openid', MAPPING)

    def plugin(self, name, **options):
        """A plugin as the `openstack` command loads it, with the certificate of the provider's authority."""
        plugin = get_plugin_loader('v3oidc' + name).load_from_options(
            auth_url=self.v.url, identity_provider='campus', protocol='openid', **options)
        return plugin, ka_session.Session(auth=plugin, verify=self.authority.ca)

    def by(self, name, **options):
        options = dict(options, client_id='tool', client_secret=SECRET,
                       discovery_endpoint=self.provider.root + '/.well-known/openid-configuration')
        return self.plugin(name, **options)

    def show(self, token):
        """Vicar's answer to an access token."""
        at = '/OS-FEDERATION/identity_providers/campus/protocols/openid/auth'
        return self.a.post(at, headers={'Authorization': 'Bearer ' + token})

    def until(self, what, status, token, seconds=PAUSE + 10):
        """It is answered so, once the provider may be asked again."""
        end = time.monotonic() + seconds
        answer = self.show(token)
        while answer.status != status and time.monotonic() < end:
            time.sleep(0.5)
            answer = self.show(token)
        self.c.status(what, answer, status)
        return answer

    def away(self, what, token):
        answer = self.until(what, 503, token)
        after = answer.headers.get('Retry-After')
        self.c.ok('with Retry-After', after is not None and 1 <= int(after) <= PAUSE, after)
        self.c.status('others log in', self.a.login_answer(('admin', 'default'), self.v.password), 201)

    def log(self):
        with open(self.v.log) as f:
            return f.read()


def plugins(cloud):
    c = cloud.c
    person = {'username': 'ann', 'password': PW}
    code = requests.get(cloud.provider.root + '/test/code', verify=cloud.authority.ca, timeout=60).text
    ways = {
        'password': cloud.by('password', **person),
        'accesstoken': cloud.plugin('accesstoken', access_token=cloud.provider.token()),
        'authcode': cloud.by('authcode', code=code, redirect_uri='https://tool.example/'),
        'deviceauthz': cloud.by('deviceauthz'),
    }
    users = set()
    for name, (plugin, session) in ways.items():
        got = plugin.get_access(session)
        users.add(got.user_id)
        who = got.username, got.user_domain_id
        c.equal('v3oidc%s: ann, of the provider\'s domain' % name, who, ('ann', cloud.domain))
    c.equal('one user, whatever the way', len(users), 1)
    c.equal('with the address that the provider says',
            cloud.a.get('/users/' + users.copy().pop(), cloud.admin).body['user'].get('email'), 'ann@example.org')
    plugin, session = cloud.by('password', **person, project_id=cloud.project)
    got = plugin.get_access(session)
    c.equal('a token of a project, by a group', (got.project_id, sorted(got.role_names)),
            (cloud.project, ['member', 'reader']))
    c.status('and it is good', cloud.a.get('/projects/' + cloud.project, got.auth_token), 200)
    plugin, session = cloud.by('password', username='bob', password=PW, project_id=cloud.project)
    c.raises('none for who is not in the group', lambda: plugin.get_access(session), ka.Unauthorized)
    plugin, session = cloud.by('clientcredentials')
    c.equal('v3oidcclientcredentials: a program', plugin.get_access(session).username, 'tool')
    plugin, session = cloud.by('password', username='ann', password='another')
    c.raises('a wrong password ends at the provider', lambda: plugin.get_access(session), ka.BadRequest)


def delegate(cloud):
    """Who came by a token goes on as everybody else."""
    c, a = cloud.c, cloud.a
    plugin, session = cloud.by('password', username='ann', password=PW, project_id=cloud.project)
    ann = plugin.get_access(session)
    bob = api.Token(cloud.show(cloud.provider.token(grant_type='password', username='bob', password=PW)))
    trust = a.trust(ann.auth_token, ann.user_id, bob.user, cloud.project, ['member'])
    used = a.post('/auth/tokens', body={'auth': {
        'identity': {'methods': ['token'], 'token': {'id': bob.id}}, 'scope': api.trust(trust['id'])}})
    c.status('ann delegates to bob', used, 201)
    c.equal('as ann', used.body['token']['user']['id'], ann.user_id)


def tokens(cloud):
    c, provider = cloud.c, cloud.provider
    for client in ('RS256', 'PS256', 'ES256', 'ES384', 'EdDSA'):
        c.status('signed by %s' % client, cloud.show(provider.machine(client)), 201)
    c.status('for another service', cloud.show(provider.machine('elsewhere')), 401)
    good = provider.token()
    head, claims, signature = good.split('.')
    other = provider.token(grant_type='password', username='bob', password=PW).split('.')
    c.status('with the claims of another', cloud.show('.'.join((head, other[1], signature))), 401)
    c.status('without a signature', cloud.show('.'.join((head, claims, ''))), 401)
    c.ok('the log says why', 'it is for somebody else' in cloud.log(), cloud.log()[-2000:])
    c.ok('and has no token', good not in cloud.log() and signature not in cloud.log())


def opaque(cloud):
    """Tokens that only the provider can read: it is asked each time."""
    c, provider = cloud.c, cloud.provider
    person = {'grant_type': 'password', 'username': 'ann', 'password': PW}
    token = provider.token('opaque', **person)
    c.ok('no JWT', '.' not in token, token[:10])
    answer = cloud.show(token)
    c.status('the provider knows it', answer, 201)
    c.equal('ann', answer.body['token']['user']['name'], 'ann')
    c.status('of nobody', cloud.show(provider.machine('opaque')), 401)
    c.status('of nowhere', cloud.show('x' * 43), 401)
    requests.post(provider.root + '/token/revocation', auth=('opaque', SECRET), verify=cloud.authority.ca, timeout=60,
                  data={'token': token}).raise_for_status()
    c.status('not when it is revoked', cloud.show(token), 401)
    token = provider.token('opaque', **person)
    provider.signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        answer = cloud.show(token)
        c.status('standing still', answer, 503)
        c.ok('with Retry-After, in time', answer.headers.get('Retry-After') and time.monotonic() - began < 10)
    finally:
        provider.signal(signal.SIGCONT)
    c.status('it goes on', cloud.show(token), 201)
    c.ok('the log has no token', token not in cloud.log())


class Page(html.parser.HTMLParser):
    """The form of a page: where it is sent, and what it has."""

    def __init__(self, answer):
        super().__init__()
        self.action, self.fields, self.at = None, {}, answer.url
        self.feed(answer.text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == 'form':
            self.action = urllib.parse.urljoin(self.at, attrs.get('action', ''))
        if tag == 'input' and 'name' in attrs:
            self.fields[attrs['name']] = attrs.get('value', '')


class Dashboard:
    """The page of a dashboard that takes tokens."""

    def __init__(self):
        self.tokens = tokens = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                form = self.rfile.read(int(self.headers['Content-Length'])).decode()
                tokens.extend(urllib.parse.parse_qs(form).get('token', []))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.url = 'http://127.0.0.1:%d/auth/websso/' % self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Browser:
    """One person's, with its cookies."""

    def __init__(self, cloud):
        self.cloud, self.session = cloud, requests.Session()
        # The authorities in the environment would go before.
        self.session.trust_env, self.session.verify = False, cloud.authority.ca

    def get(self, url, **more):
        return self.session.get(url, timeout=60, **more)

    def begin(self, path='identity_providers/campus/protocols/openid/websso', origin=None, **more):
        at = '%s/auth/OS-FEDERATION/%s' % (self.cloud.v.url, path)
        # The provider shall remember nobody, and ask again.
        for cookie in [k for k in self.session.cookies if k.name != 'vicar-oidc']:
            self.session.cookies.clear(cookie.domain, cookie.path, cookie.name)
        return self.get(at, params={'origin': origin or self.cloud.dashboard.url}, **more)

    def way_back(self, page, username='ann', password=PW):
        """Logs in at the provider, and stops at the door of Vicar."""
        answer = self.session.post(page.url, data={'username': username, 'password': password}, timeout=60,
                                   allow_redirects=False)
        while answer.is_redirect:
            to = urllib.parse.urljoin(answer.url, answer.headers['Location'])
            if to.startswith(self.cloud.here):
                return to
            answer = self.get(to, allow_redirects=False)
        raise AssertionError('no way back: %s %s' % (answer.status_code, answer.text[:500]))

    def cookie(self):
        return {'Cookie': 'vicar-oidc=' + next(k.value for k in self.session.cookies if k.name == 'vicar-oidc')}


def replaced(url, **parts):
    """With other parts of its query."""
    cut = urllib.parse.urlsplit(url)
    query = dict(urllib.parse.parse_qsl(cut.query), **parts)
    return cut._replace(query=urllib.parse.urlencode(query)).geturl()


def part(url, name):
    return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))[name]


def browser(cloud):
    """The whole way of a browser from a dashboard and back, and what the dashboard does with the token."""
    c, dashboard = cloud.c, cloud.dashboard
    users = set()
    for path in ('identity_providers/campus/protocols/openid/websso', 'websso/openid'):
        b = Browser(cloud)
        page = b.begin(path)
        c.ok('%s: at the provider' % path, page.url.startswith(cloud.provider.root + '/login/'), page.url)
        ways = [a.headers['Location'] for a in page.history]
        sent = next(way for way in ways if way.startswith(cloud.provider.root))
        c.equal('with PKCE', part(sent, 'code_challenge_method'), 'S256')
        again = b.session.post(page.url, data={'username': 'ann', 'password': 'another'}, timeout=60)
        c.equal('a wrong password stays there', Page(again).fields, {'username': '', 'password': ''})
        answer = b.get(b.way_back(page))
        c.equal('back at Vicar', answer.status_code, 200)
        form = Page(answer)
        c.equal('which has a form for the dashboard', (form.action, list(form.fields)), (dashboard.url, ['token']))
        c.ok('and no cookie any more', not [k for k in b.session.cookies if k.name == 'vicar-oidc'])
        b.session.post(form.action, data=form.fields, timeout=60).raise_for_status()
        token = dashboard.tokens.pop()
        # As Horizon does: the projects of the token, and a token of one of them.
        unscoped = ka_session.Session(ka_identity.V3Token(cloud.v.url, token, unscoped=True))
        users.add(unscoped.get_user_id())
        projects = unscoped.get(cloud.v.url + '/auth/projects').json()['projects']
        c.equal('the projects of the token', [p['id'] for p in projects], [cloud.project])
        scoped = ka_session.Session(ka_identity.V3Token(cloud.v.url, token, project_id=projects[0]['id']))
        c.status('a token of one', cloud.a.get('/projects/' + cloud.project, scoped.get_token()), 200)
    shown = cloud.a.get('/users/' + users.copy().pop(), cloud.admin).body['user']
    c.equal('one user, with what the ID token says', (len(users), shown['name'], shown.get('email')),
            (1, 'ann', 'ann@example.org'))


def command(cloud):
    """`openstack` with keystoneauth-websso: it opens a browser, and is the dashboard."""
    c = cloud.c
    with tempfile.TemporaryDirectory(prefix='vicar-world-browser-') as folder:
        opener, told = (os.path.join(folder, name) for name in ('browser', 'url'))
        with open(opener, 'w') as f:
            f.write('#!/bin/sh\nprintf %%s "$1" > %s.new && mv %s.new %s\n' % (told, told, told))
        os.chmod(opener, 0o755)
        args = {'auth-type': 'v3websso', 'auth-url': cloud.v.url, 'identity-provider': 'campus', 'protocol': 'openid',
                'redirect-port': cloud.callback, 'project-id': cloud.project, 'cacert': cloud.authority.ca}
        run = subprocess.Popen(
            [harness.env_bin('clients', 'openstack'), *('--os-%s=%s' % each for each in args.items()), 'token', 'issue',
             '-f', 'json'], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=dict(os.environ, BROWSER=opener + ' %s', XDG_CACHE_HOME=folder))
        end = time.monotonic() + 60
        while not os.path.exists(told) and run.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        if not os.path.exists(told):
            run.kill()
            raise AssertionError('no browser is opened: %s' % (run.communicate(),))
        with open(told) as f:
            url = f.read()
        b = Browser(cloud)
        form = Page(b.get(b.way_back(b.get(url))))
        while True:                 # it listens a moment later
            try:
                b.session.post(form.action, data=form.fields, timeout=60).raise_for_status()
                break
            except requests.ConnectionError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
        said, complaints = run.communicate(timeout=60)
    c.ok('it ends well', run.returncode == 0, complaints)
    issued = json.loads(said)
    c.equal('with a token of the project', issued['project_id'], cloud.project)
    shown = cloud.a.get('/users/' + issued['user_id'], cloud.admin).body['user']
    c.equal('of ann', shown['name'], 'ann')


def astray(cloud):
    """What a browser brings that is not of its own login."""
    c = cloud.c
    one, two = Browser(cloud), Browser(cloud)
    c.equal('to no other page', one.begin(origin='https://elsewhere/').status_code, 401)
    mine = one.way_back(one.begin())
    theirs = two.way_back(two.begin(), 'bob')
    c.equal("another's answer", one.get(theirs).status_code, 401)
    c.equal("another's code with my state", one.get(replaced(mine, code=part(theirs, 'code'))).status_code, 401)
    c.equal('an answer without a login', Browser(cloud).get(mine).status_code, 401)
    cookie = one.cookie()
    c.equal('my own', one.get(mine).status_code, 200)
    c.equal('a second time', one.get(mine).status_code, 401)
    again = requests.get(mine, headers=cookie, timeout=60)
    c.equal('a second time with the cookie: the code is used', again.status_code, 401)
    page = one.begin()
    back = one.way_back(page)
    tools = requests.get(cloud.provider.root + '/test/code', verify=cloud.authority.ca, timeout=60).text
    c.equal('a code of another client', one.get(replaced(back, code=tools)).status_code, 401)
    c.equal("another provider's answer", one.get(replaced(back, iss='https://elsewhere')).status_code, 401)
    three = Browser(cloud)
    first = three.way_back(three.begin())
    kept = three.cookie()
    second = three.way_back(three.begin())
    c.equal('the earlier of two logins at once', three.get(first).status_code, 401)
    swapped = requests.get(replaced(first, code=part(second, 'code')), headers=kept, timeout=60)
    c.equal('the code of the later with the earlier', swapped.status_code, 401)
    refused = Browser(cloud)
    sent = refused.begin(allow_redirects=False)
    state = part(sent.headers['Location'], 'state')
    denied = refused.get('%s%s?error=access_denied&state=%s' % (cloud.here, CALLBACK, state))
    c.equal('who gives up', denied.status_code, 401)
    log = cloud.log()
    c.ok('codes and states are not logged', not [s for s in (part(mine, 'code'), part(mine, 'state')) if s in log])


def halfway(cloud):
    """The provider stands still or is killed before the browser is back; another replica takes the answer."""
    c, provider = cloud.c, cloud.provider
    b = Browser(cloud)
    back = b.way_back(b.begin())
    provider.signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        answer = b.get(back)
        c.equal('standing still', answer.status_code, 503)
        c.ok('with Retry-After, in time', answer.headers.get('Retry-After') and time.monotonic() - began < 10)
    finally:
        provider.signal(signal.SIGCONT)
    # It may have taken the code in the meantime, which is good once.
    c.ok('loaded again', b.get(back).status_code in (200, 401))
    back = b.way_back(b.begin())
    provider.kill()
    answer = b.get(back)
    c.equal('killed', answer.status_code, 503)
    c.ok('with Retry-After', answer.headers.get('Retry-After'))
    c.status('others log in', cloud.a.login_answer(('admin', 'default'), cloud.v.password), 201)
    provider.start()
    c.equal('it is back, and knows the code no more', b.get(back).status_code, 401)
    cloud.until('it is back', 201, provider.token())
    replica = server.Vicar(settings={})
    replica.data, replica.extra, replica.store = cloud.v.data, cloud.v.extra, cloud.v.store
    replica.start()
    back = b.way_back(b.begin())
    c.equal('on another replica', b.get(back.replace(cloud.here, replica.root)).status_code, 200)
    replica.stop()


def killed(cloud):
    """The provider is killed: what it said counts to its end and no longer."""
    c, provider = cloud.c, cloud.provider
    good = provider.token()
    cloud.until('before', 201, good)
    provider.kill()
    c.status('killed: a token is verified by the keys that are known', cloud.show(good), 201)
    time.sleep(LIFETIME + 1)
    cloud.away('not when these are too old', good)
    provider.start()
    cloud.until('it is back', 201, good)


def still(cloud):
    """The provider takes connections and does not answer."""
    c, provider = cloud.c, cloud.provider
    provider.renew_keys()
    provider.restart()
    new = provider.token()
    provider.signal(signal.SIGSTOP)
    try:
        # A key that is not known: the provider has to be asked.
        time.sleep(PAUSE)
        began = time.monotonic()
        cloud.away('standing still', new)
        c.ok('told in time', time.monotonic() - began < 10)
    finally:
        provider.signal(signal.SIGCONT)
    cloud.until('it goes on', 201, new)


def rotated(cloud):
    provider = cloud.provider
    old = provider.token()
    cloud.until('before', 201, old)
    provider.renew_keys()
    provider.restart()
    cloud.until('new keys are found', 201, provider.token())
    cloud.c.status('and the old ones do not count any more', cloud.show(old), 401)


def renamed(cloud):
    """At the same address there is another issuer."""
    c, provider = cloud.c, cloud.provider
    old = provider.token()
    cloud.until('before', 201, old)
    is_there = provider.told['issuer']
    provider.restart(issuer=provider.root + '/another')
    c.status('another issuer, with the same keys', cloud.show(provider.token()), 401)
    provider.renew_keys()
    provider.restart()
    cloud.away('with other keys', provider.token())
    c.ok('the log says why', "it is another issuer's" in cloud.log())
    provider.restart(issuer=is_there)
    cloud.until('itself again', 201, provider.token())


def expired(cloud):
    """The provider's certificate has expired, and is that of a stranger."""
    c, provider = cloud.c, cloud.provider
    good = provider.told['certificate'], provider.told['private']
    stranger = certificates.Authority('stranger.example.org')
    for what, bad in (('expired', outdated(cloud.authority)), ('of a stranger', stranger.of_server())):
        provider.renew_keys()
        provider.restart(certificate=bad[0], private=bad[1])
        before = len(cloud.log())
        cloud.away('a certificate that is %s' % what, provider.token())
        said = cloud.log()[before:]
        c.ok('the log says why', 'certificate' in said, said[-1000:])
        provider.restart(certificate=good[0], private=good[1])
        cloud.until('another certificate', 201, provider.token())
    stranger.stop()


def outdated(authority):
    """A certificate of the authority's that ended an hour ago."""
    certificate, key = authority.of_server()
    with open(certificate, 'rb') as f:
        of = x509.load_pem_x509_certificate(f.read())
    with open(authority.key, 'rb') as f:
        signer = serialization.load_pem_private_key(f.read(), None)
    now = datetime.datetime.now(datetime.UTC)
    times = now - datetime.timedelta(days=2), now - datetime.timedelta(hours=1)
    number = x509.random_serial_number()
    made = x509.CertificateBuilder(of.issuer, of.subject, of.public_key(), number, *times, list(of.extensions))
    path = authority.path('outdated.pem')
    with open(path, 'wb') as f:
        f.write(made.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return path, key


PARTS = (plugins, delegate, tokens, opaque, browser, command, astray, halfway, killed, still, rotated, renamed, expired)


def main():
    requests.packages.urllib3.disable_warnings()
    harness.env_bin('provider', 'node')
    return harness.play(Cloud, PARTS)


if __name__ == '__main__':
    sys.exit(main())
