#!/usr/bin/env python3
"""Real proxies in front of a Vicar, with the configuration of docs/proxies.md.

    proxies.py [haproxy] [nginx] [apache] [keystone]      (no name: all)

The recipes are taken from the page as they are; only addresses and paths of files are
replaced. Clients connect from 127.0.0.9, the proxies from 127.0.0.1, which is the one that
the page's configuration trusts.

`keystone` has no proxy: a Vicar and a Keystone 30.0.0 of the same configuration get the same
requests, with headers of proxies and browsers and for health checks, and answer alike.
"""
import http.client
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import time
import urllib.parse
import uuid

import harness

if __name__ == '__main__':
    harness.run_in('clients')

import api
import certificates
import httpd
import keystoneauth1.identity
import keystoneauth1.session
import server
import sign
from httpd import replaced

PAGE = os.path.join(harness.REPO, 'docs', 'proxies.md')
CLIENT = '127.0.0.9'
PATIENCE = 30


def recipes():
    """{language: the first block of it} of the page."""
    with open(PAGE) as f:
        blocks = re.findall(r'^```(\w+)\n(.*?)^```$', f.read(), re.M | re.S)
    return dict(reversed(blocks))


def for_certificates(proxy):
    """What the page's table says a proxy needs for certificates of clients: two lists of lines."""
    with open(PAGE) as f:
        row = re.search(r'^\| %s \| (.*Client-Cert.*) \|$' % proxy, f.read(), re.M).group(1)
    return [re.findall(r'`(.+?)`', cell) for cell in row.split(' | ')]


class Proxy(server.Server):
    """One proxy with its recipe. The kinds say how it is started, and what is replaced."""
    patience = 3

    def __init__(self, vicar):
        super().__init__()
        self.conf = os.path.join(self.dir, 'proxy.conf')
        self.cert, self.key, both = (os.path.join(self.dir, n) for n in ('cert', 'key', 'both'))
        self.run('openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2',
                 '-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1',
                 '-keyout', self.key, '-out', self.cert)
        with open(both, 'w') as f:
            for name in (self.cert, self.key):
                with open(name) as part:
                    f.write(part.read())
        self.at = '127.0.0.1:%d' % self.port
        self.url = 'https://%s/identity' % self.at
        self.authority = certificates.Authority()
        asks, tells = (['    ' + line for line in lines] for lines in for_certificates(self.name))
        whole = self.asking(recipes()[self.language], asks, tells)
        text = replaced(whole, [
            ('127.0.0.1:5000', '127.0.0.1:%d' % vicar.port), (self.authorities, self.authority.ca),
            *self.pairs(both)])
        with open(self.conf, 'w') as f:
            f.write(self.whole(text))

    def pairs(self, both):
        raise NotImplementedError

    def asking(self, text, asks, tells):
        """The recipe with the lines for certificates of clients, after one that it has."""
        return replaced(text, [(self.before, '\n'.join([self.before, *asks, *tells]))])

    def whole(self, text):
        """The file around the recipe."""
        return text

    def stop(self):
        super().stop()
        self.authority.stop()

    def ready(self):
        return server.answers(self.port)


class HaProxy(Proxy):
    kind = language = 'haproxy'
    name, authorities = 'HAProxy', '/etc/haproxy/clients.pem'
    before = '    bind :443 ssl crt /etc/haproxy/identity.pem'

    def asking(self, text, asks, tells):
        more = asks[0].partition('…')[2]
        return replaced(text, [(self.before, '\n'.join([self.before + more, *tells]))])

    def pairs(self, both):
        return [('bind :443', 'bind ' + self.at), ('/etc/haproxy/identity.pem', both),
                ('inter 2s', 'inter 100ms')]

    def command(self):
        return ['haproxy', '-W', '-db', '-f', self.conf], {}


class Nginx(Proxy):
    kind = language = 'nginx'
    name, authorities = 'nginx', '/etc/nginx/clients.pem'
    before = '    ssl_certificate_key /etc/nginx/identity.key;'

    def asking(self, text, asks, tells):
        behind = '        proxy_http_version 1.1;'
        return super().asking(replaced(text, [(behind, '\n'.join([behind, *tells]))]), asks, [])

    def pairs(self, both):
        return [('listen 443', 'listen ' + self.at), ('/etc/nginx/identity.pem', self.cert),
                ('/etc/nginx/identity.key', self.key)]

    def whole(self, text):
        temporary = ''.join('%s_temp_path %s/%s;\n' % (name, self.dir, name) for name in (
            'client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'))
        return '%sdaemon off;\npid %s/pid;\nevents {}\nhttp {\naccess_log off;\n%s%s}\n' % (
            'user root;\n' if os.geteuid() == 0 else '', self.dir, temporary, text)

    def command(self):
        return ['nginx', '-p', self.dir, '-e', 'stderr', '-c', self.conf], {}


class Apache(Proxy):
    kind = language = 'apache'
    name, authorities = 'Apache', '/etc/apache2/clients.pem'
    before = '    SSLCertificateKeyFile /etc/apache2/identity.key'

    def pairs(self, both):
        return [('*:443', self.at), ('/etc/apache2/identity.pem', self.cert),
                ('/etc/apache2/identity.key', self.key)]

    def whole(self, text):
        return httpd.whole(self.dir, self.at, httpd.enabled('proxies.md'), text)

    def command(self):
        return ['apache2', '-DFOREGROUND', '-f', self.conf], {}


PROXIES = {kind.kind: kind for kind in (HaProxy, Nginx, Apache)}


class Client(api.Api):
    """Calls through a proxy from an address of its own, with any headers."""

    def __init__(self, url, cert=None):
        super().__init__(url + '/v3')
        self.at = self._parts.netloc
        self.trust = ssl.create_default_context(cafile=cert) if cert else None

    def ask(self, method, path, token=None, body=None, headers=()):
        """`path` is below the prefix; `/v3` is not put in front."""
        place = dict(timeout=60, source_address=(CLIENT, 0))
        conn = (http.client.HTTPSConnection(self._parts.netloc, context=self.trust, **place)
                if self.trust else http.client.HTTPConnection(self._parts.netloc, **place))
        head = dict(headers)
        if token:
            head['X-Auth-Token'] = token.id
        if body is not None:
            head['Content-Type'] = 'application/json'
            body = json.dumps(body)
        try:
            conn.request(method, self._parts.path.removesuffix('/v3') + path, body, head)
            r = conn.getresponse()
            return api.Answer(method, path, r.status, r.headers, r.read())
        finally:
            conn.close()

    def form(self, path, fields, headers, trust):
        """A form, by TLS of its own."""
        conn = http.client.HTTPSConnection(self._parts.netloc, context=trust, timeout=60, source_address=(CLIENT, 0))
        head = {'Content-Type': 'application/x-www-form-urlencoded', **headers}
        try:
            conn.request('POST', self._parts.path.removesuffix('/v3') + path, urllib.parse.urlencode(fields), head)
            r = conn.getresponse()
            return api.Answer('POST', path, r.status, r.headers, r.read())
        finally:
            conn.close()

    def call(self, method, path, token=None, body=None, headers=None):
        return self.ask(method, '/v3' + path, token, body, headers or {})


def until(condition):
    """Whether it comes true in time."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def links(client, token, headers=()):
    """What every kind of link begins with, and the statuses on the way there."""
    root = client.ask('GET', '/', headers=headers).want(300)
    v3 = client.ask('GET', '/v3', headers=headers).want(200)
    denied = client.ask('GET', '/v3/users', headers=headers).want(401)
    users = client.ask('GET', '/v3/users?limit=1', token, headers=headers).want(200).body
    return {
        root.headers['Location'].removesuffix('/v3/'),
        v3.body['version']['links'][0]['href'].removesuffix('/v3/'),
        denied.headers['WWW-Authenticate'].removeprefix('Keystone uri="').removesuffix('/v3"'),
        users['users'][0]['links']['self'].split('/v3/users/')[0],
        users['links']['self'].removesuffix('/v3/users?limit=1'),
    }


FORGED = [
    {'X-Forwarded-For': '6.6.6.6'}, {'X-Forwarded-For': '127.0.0.1'},
    {'X-Forwarded-For': '6.6.6.6, 127.0.0.1'}, {'Forwarded': 'for=6.6.6.6'},
    {'Forwarded': 'for=6.6.6.6;host=evil.example;proto=http'}, {'X-Forwarded-Host': 'evil.example'},
    {'X-Forwarded-Proto': 'http'}, {'X-Forwarded-Port': '666'},
    {'X-Forwarded-Prefix': '/evil'}, {'X-Forwarded-Prefix': '//evil.example'},
]


def address_in_log(vicar, client, headers=()):
    """Whom the server's log names for one request."""
    path = '/v3/users/%s' % uuid.uuid4().hex
    client.ask('GET', path, headers=headers).want(401)
    found = []

    def look():
        with open(vicar.log) as f:
            found[:] = [line for line in f if path in line]
        return found

    if not until(look):
        return 'no line'
    line = re.sub(r'\x1b\[[0-9;]*m', '', found[0])
    named = re.search(r'\baddress="?([^" ]+)', line)
    return named.group(1) if named else line


def health(c, vicar, proxy, client):
    c.status('a health check passes', client.ask('GET', '/healthcheck'), 200)
    c.equal('it says OK', client.ask('GET', '/healthcheck').text, 'OK')
    with open(vicar.out_of_service, 'w'):
        pass
    if proxy.kind == 'haproxy':
        c.ok('a server out of service is left out', until(
            lambda: client.ask('GET', '/v3').status == 503))
    else:
        c.equal('a server out of service says so',
                client.ask('GET', '/healthcheck').text, 'DISABLED BY FILE')
    os.unlink(vicar.out_of_service)
    c.ok('it comes back', until(lambda: client.ask('GET', '/healthcheck').status == 200))
    if proxy.kind == 'haproxy':
        c.status('and serves', client.ask('GET', '/v3'), 200)


def through(c, vicar, proxy):
    client = Client(proxy.url, proxy.cert)
    c.ok('it serves', until(lambda: client.ask('GET', '/v3').status == 200))
    c.part('%s: health' % proxy.kind, health, c, vicar, proxy, client)
    admin = {'project': {'name': 'admin', 'domain': {'id': 'default'}}}
    token = client.login(('admin', 'default'), vicar.password, admin)

    def what_is_told():
        c.equal('every link leads to the proxy', links(client, token), {proxy.url})
        c.equal("the log has the client's address", address_in_log(vicar, client), CLIENT)
        for headers in FORGED:
            c.equal('forged %s: links' % headers, links(client, token, headers), {proxy.url})
            c.equal('forged %s: address' % headers, address_in_log(vicar, client, headers), CLIENT)
        direct = Client(vicar.root)
        for headers in FORGED:
            c.equal('past the proxy, %s: links' % headers, links(direct, token, headers), {vicar.root})
            c.equal('past the proxy, %s: address' % headers,
                    address_in_log(vicar, direct, headers), CLIENT)

    def paths():
        for name in ('a/b', 'a b', '%2F', 'ä'):
            path = '/regions/' + urllib.parse.quote(name, safe='')
            c.status('a region %s' % name, client.put(path, token, {'region': {}}), 201)
            found = client.get(path, token).want(200).body['region']
            c.equal('is found under its id', found['id'], name)
            c.equal('and its link', found['links']['self'], proxy.url + '/v3' + path)
            c.status('and goes', client.delete(path, token), 204)

    def clients():
        vicar.run(server.vicar_bin(), 'bootstrap', *vicar.place(), '--bootstrap-region-id', 'RegionOne',
                  '--bootstrap-public-url', proxy.url + '/v3', OS_BOOTSTRAP_PASSWORD=vicar.password)
        login = dict(auth_url=proxy.url + '/v3', username='admin', password=vicar.password,
                     user_domain_id='default', project_name='admin', project_domain_id='default')
        session = keystoneauth1.session.Session(
            keystoneauth1.identity.v3.Password(**login), verify=proxy.cert)
        found = session.get_endpoint(service_type='identity', interface='public', version='3')
        c.equal('keystoneauth finds the way', found.rstrip('/'), proxy.url + '/v3')
        users = session.get('/users', endpoint_filter={'service_type': 'identity', 'interface': 'public'})
        c.ok('and uses it', users.json()['users'])
        unversioned = keystoneauth1.identity.Password(**dict(login, auth_url=proxy.url))
        c.ok('it finds the version itself',
             keystoneauth1.session.Session(unversioned, verify=proxy.cert).get_token())
        variables = {'OS_' + name.upper(): value for name, value in login.items()}
        out = vicar.run(harness.env_bin('clients', 'openstack'), 'user', 'list', '-f', 'json',
                        '--debug', OS_CACERT=proxy.cert, OS_IDENTITY_API_VERSION='3',
                        OS_INTERFACE='public', **variables)
        c.ok('openstack user list goes through the proxy', proxy.url + '/v3/users' in out
             and '"admin"' in out, out[-300:])

    def signatures():
        path = '/users/%s/credentials/OS-EC2' % token.user
        made = client.post(path, token, {'tenant_id': token.body['project']['id']}).want(201)
        pair = made.body['credential']
        for version in (sign.ec2_v2, sign.ec2_v4_header):
            signed = version(pair['access'], pair['secret'])
            answer = client.post('/ec2tokens', token, signed)
            c.status('a signed request (%s)' % version.__name__, answer, 200)
        c.equal('whose link', pair['links']['self'].split('/v3/')[0], proxy.url)

    def client_certificates():
        admin = client.get('/users/' + token.user, token).want(200).body['user']
        client.patch('/users/' + token.user, token, {'user': {
            'default_project_id': token.body['project']['id'], 'email': 'a@example.org'}}).want(200)
        rules = {'mapping': {'rules': certificates.RULES}}
        client.put('/OS-FEDERATION/mappings/oauth2_mapping', token, rules).want(201)
        domain = token.body['user']['domain']
        own = proxy.authority.of_user(admin, domain, 'a@example.org')
        other = proxy.authority.of_user(admin | {'name': 'other'}, domain, 'a@example.org')
        with open(own[0]) as f:
            forged = {certificates.HEADER: f.read().replace('\n', ' ')}
        for what, shown, headers, want in (
                ('a certificate', own, {}, 200), ("another's", other, {}, 401), ('none', None, {}, 401),
                ("a client's own header", None, forged, 401), ('both', other, forged, 401),
                ('both, the right one shown', own, {certificates.HEADER: 'x'}, 200)):
            trust = ssl.create_default_context(cafile=proxy.cert)
            if shown:
                trust.load_cert_chain(*shown)
            c.status(what, client.form('/v3/OS-OAUTH2/token', {
                'grant_type': 'client_credentials', 'client_id': token.user}, headers, trust), want)

    for part in (what_is_told, paths, clients, signatures, client_certificates):
        c.part('%s: %s' % (proxy.kind, part.__name__.replace('_', ' ')), part)


def probes(c, vicar):
    """The words of deployment tools, on the server's own port."""
    for name, words in [
        ('kolla', ['--fail', '-o', '/dev/null', '--user-agent', 'healthcheck-curl', vicar.root]),
        ('charm', ['--fail', '-o', '/dev/null', vicar.root + '/healthcheck']),
        ('helm', ['--fail', '-o', '/dev/null', vicar.root + '/v3/']),
        ('HEAD', ['--fail', '-I', '-o', '/dev/null', vicar.root + '/healthcheck']),
    ]:
        done = subprocess.run(['curl', '-g', '-k', '-q', '-s', '-S', '--max-time', '30', *words],
                              capture_output=True, text=True)
        c.equal("%s's probe" % name, (done.returncode, done.stderr), (0, ''))


class AsConfigured(server.Keystone):
    """Its health checks and CORS read the configuration only where a Keystone finds it by itself."""

    def command(self):
        home = os.path.join(self.dir, 'home', '.keystone')
        os.makedirs(home, exist_ok=True)
        shutil.copy(self.config, home)
        args, more = super().command()
        return args, dict(more, HOME=os.path.dirname(home))


ORIGIN = {'Origin': 'https://horizon.example'}
METHOD, NAMES = 'Access-Control-Request-Method', 'Access-Control-Request-Headers'
SAME = [
    *[(method, '/healthcheck', {'Accept': accept}) for method in ('GET', 'HEAD', 'POST', 'OPTIONS')
      for accept in ('*/*', 'text/html', 'application/json', 'application/xml',
                     '*/*;q=0.1,application/json', 'text/plain;q=0.5, text/html')],
    *[('GET', path, {}) for path in (
        '/healthcheck', '/healthcheck/', '/healthcheck/any', '/healthcheckx', '/v3/healthcheck',
        '/', '/v3', '/v3/users')],
    *[('GET', path, headers) for path in ('/', '/v3', '/v3/users') for headers in (
        {'X-Forwarded-Proto': 'https'}, {'X-Forwarded-Host': 'id.example'},
        {'X-Forwarded-Host': 'id.example:8443', 'X-Forwarded-Proto': 'https'},
        {'X-Forwarded-Prefix': '/identity'}, {'X-Forwarded-Prefix': '/identity/v3'},
        {'Forwarded': 'for=198.51.100.7;proto=https;host=id.example'},
        {'Forwarded': 'Proto=https; Host=id.example'}, {'Host': 'id.example:80'},
        {'Host': 'id.example:443'}, {'Host': 'id.example:443', 'X-Forwarded-Proto': 'https'})],
    *[(method, path, headers) for path in ('/v3', '/v3/users', '/nothing', '/healthcheck')
      for method in ('GET', 'HEAD') for headers in (
          ORIGIN, {'Origin': 'http://other.example:8080'}, {'Origin': 'https://evil.example'},
          {'Origin': 'null'}, {'Origin': 'https://horizon.example:443'})],
    *[('OPTIONS', path, headers) for path in ('/v3', '/v3/users', '/nothing', '/healthcheck')
      for headers in (
          {}, ORIGIN, dict(ORIGIN, **{METHOD: 'GET'}), dict(ORIGIN, **{METHOD: 'OPTIONS'}),
          dict(ORIGIN, **{METHOD: 'patch'}), {METHOD: 'GET'},
          {'Origin': 'https://evil.example', METHOD: 'GET'},
          dict(ORIGIN, **{METHOD: 'PATCH', NAMES: 'x-auth-token, Content-Type'}),
          dict(ORIGIN, **{METHOD: 'PATCH', NAMES: 'x-auth-token, x-evil'}),
          dict(ORIGIN, **{METHOD: 'DELETE', NAMES: ' , X-AUTH-TOKEN,,'}))],
]


def seen(client, method, path, headers):
    """What shall be the same of an answer: the status, and what is about health, origins and URLs."""
    answer = client.ask(method, path, headers=headers)
    of = {name.lower(): value.replace(client.at, 'HERE') for name, value in answer.headers.items()}
    kept = {name: value for name, value in of.items()
            if name.startswith('access-control-') or name in ('location', 'www-authenticate', 'vary')}
    if path.startswith('/healthcheck'):
        # Ours says that answers differ by token, as everywhere.
        kept['vary'] = of.get('vary', '').replace('X-Auth-Token', '').strip(',')
        if method != 'HEAD' and answer.status != 404:
            kept['type'] = of['content-type'].lower()
            kept['text'] = (answer.body if 'json' in of['content-type']
                            else '<TD>OK</TD>' in answer.text.upper() if 'html' in of['content-type']
                            else answer.text)
    kept['links'] = [link.replace(client.at, 'HERE')
                     for link in re.findall(r'"href": ?"([^"]*)"', answer.text)]
    return answer.status, kept


def alike(c):
    settings = {
        'oslo_middleware': {'enable_proxy_headers_parsing': 'true'},
        'cors': {'allowed_origin': 'https://horizon.example,http://other.example:8080'},
        'healthcheck': {'backends': 'disable_by_file', 'disable_by_file_path': '/no/such/file'},
    }
    with server.Vicar(settings=settings) as vicar, AsConfigured(settings=settings) as keystone:
        clients = [Client(s.root) for s in (vicar, keystone)]
        for method, path, headers in SAME:
            ours, theirs = (seen(client, method, path, headers) for client in clients)
            c.equal('%s %s %s' % (method, path, headers), ours, theirs)


def main():
    names = sys.argv[1:] or [*PROXIES, 'keystone']
    subprocess.run([os.path.join(harness.HERE, 'setup.sh'), 'proxies'], check=True,
                   stdout=subprocess.DEVNULL)
    c = harness.Checks()
    for name in names:
        if name == 'keystone':
            c.part('as a Keystone answers', alike, c)
            continue
        vicar = server.Vicar()
        vicar.out_of_service = os.path.join(vicar.dir, 'out-of-service')
        vicar.settings = os.path.join(vicar.dir, 'vicar.conf')
        with open(vicar.settings, 'w') as f:
            f.write(replaced(recipes()['ini'], [
                ('/var/lib/vicar/out-of-service', vicar.out_of_service),
                ('trusted_proxies = 127.0.0.1', 'trusted_proxies = 127.0.0.1\nclient_certificate_header = ' +
                 certificates.HEADER)]))
        vicar.extra = ['--config-file', vicar.settings]
        with vicar, PROXIES[name](vicar) as proxy:
            c.part(name, through, c, vicar, proxy)
            if name == names[0]:
                c.part('probes', probes, c, vicar)
    return c.close()


if __name__ == '__main__':
    sys.exit(main())
