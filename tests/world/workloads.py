#!/usr/bin/env python3
"""Programs without a secret, as docs/workloads.md has them: its examples are run, with tokens in exactly the form of
Kubernetes' that a key of this test signs, and with keystoneauth, requests and keystonemiddleware as they are.

    workloads.py                all of it: a minute
    workloads.py -k WORD        the parts whose names have the word
"""
import base64
import configparser
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import uuid

import harness

harness.run_in('clients')

import requests
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from keystoneauth1 import exceptions as ka
from keystoneauth1 import session as ka_session
from keystoneauth1.identity import V3OidcAccessToken

import api
import certificates
import clients_oauth2_mtls as mtls
import server

PASSWORD = 'a password for Alice'
PAGE = os.path.join(harness.REPO, 'docs', 'workloads.md')
TOKEN_FILE = '/var/run/secrets/vicar/token'
ISSUER = 'https://kubernetes.default.svc.cluster.local'


def blocks(mark):
    """The blocks of the page with that mark."""
    with open(PAGE) as f:
        return re.findall(r'^```%s\n(.*?)^```' % mark, f.read(), re.M | re.S)


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b'=').decode()


class Cluster:
    """What a cluster's API server does: it signs tokens, and shows its public key."""

    def __init__(self, path):
        self.path = path
        self.rotate()

    def rotate(self):
        self.key = rsa.generate_private_key(65537, 2048)
        numbers = self.key.public_key().public_numbers()

        def number(n):
            return b64(n.to_bytes((n.bit_length() + 7) // 8, 'big'))

        self.kid = b64(os.urandom(32))
        self.jwks = {'keys': [{'use': 'sig', 'kty': 'RSA', 'kid': self.kid, 'alg': 'RS256',
                               'n': number(numbers.n), 'e': number(numbers.e)}]}

    def publish(self):
        with open(self.path + '.new', 'w') as f:
            json.dump(self.jwks, f)
        os.rename(self.path + '.new', self.path)

    def token(self, account='web', namespace='keepers', **more):
        """As TokenRequest gives it for a projected volume."""
        now = int(time.time())

        def named(name):
            return {'name': name, 'uid': str(uuid.uuid4())}

        claims = {
            'aud': ['vicar'], 'exp': now + 3600, 'iat': now, 'iss': ISSUER, 'jti': str(uuid.uuid4()),
            'kubernetes.io': {'namespace': namespace, 'node': named('worker-1'), 'pod': named(account + '-0'),
                              'serviceaccount': named(account), 'warnafter': now + 3607},
            'nbf': now, 'sub': 'system:serviceaccount:%s:%s' % (namespace, account), **more}
        signed = '.'.join(b64(json.dumps(part, separators=(',', ':')).encode())
                          for part in ({'alg': 'RS256', 'kid': self.kid}, claims))
        return signed + '.' + b64(self.key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))


class Cloud:
    def __init__(self, checks, stack):
        self.c = checks
        self.authority = certificates.Authority()
        stack.callback(self.authority.stop)
        # Who vouches for the server, for every client of this process and below.
        for name in ('SSL_CERT_FILE', 'REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE', 'OS_CACERT'):
            os.environ[name] = self.authority.ca
        self.dir = tempfile.mkdtemp(prefix='vicar-world-pods-', dir=self.authority.dir)
        self.cluster = Cluster(os.path.join(self.dir, 'cluster-keys.json'))
        self.cluster.publish()
        self.v = mtls.TlsVicar(self.authority)
        stack.callback(self.v.stop)
        ini = configparser.RawConfigParser()
        ini.read_string(blocks('ini')[0].replace('/etc/vicar', self.dir))
        server.change_ini(self.v.settings, {name: dict(ini[name]) for name in ini.sections()})
        self.v.start()
        self.a = a = api.Api(self.v.url)
        self.admin = admin = a.admin(self.v.password)
        self.project = a.make(admin, 'project', name='lab', domain_id='default')
        self.alice = a.make(admin, 'user', name='alice', domain_id='default', password=PASSWORD)
        a.grant(admin, a.role_ids(admin)['member'], self.alice, self.project)
        self.commands()
        users = a.get('/users?name=stack-keeper', admin).want(200).body['users']
        self.keeper = users[0]['id']
        self.session_of = self.program()

    def file(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, 'w') as f:
            f.write(text)
        return path

    def commands(self):
        """The administrator's commands, as they are."""
        self.file('rules.json', blocks('json')[0])
        env = dict(os.environ, OS_AUTH_URL=self.v.url, OS_USERNAME='admin', OS_PASSWORD=self.v.password,
                   OS_PROJECT_NAME='admin', OS_USER_DOMAIN_ID='default', OS_PROJECT_DOMAIN_ID='default',
                   OS_IDENTITY_API_VERSION='3',
                   PATH=os.path.dirname(harness.env_bin('clients', 'openstack')) + ':' + os.environ['PATH'])
        lines = re.findall(r'^\$ (openstack .*)$', '\n'.join(blocks('console')), re.M)
        for line in lines:
            done = subprocess.run(line, shell=True, env=env, cwd=self.dir, text=True, timeout=120,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            self.c.ok(line, done.returncode == 0, done.stdout[-500:])
        self.c.equal('all commands of the page', len(lines), 5)

    def program(self):
        """The pod's program: the page's, with the token in another place."""
        text, = blocks('python')
        self.token_file = os.path.join(self.dir, 'token')
        self.c.ok('the program reads the token', TOKEN_FILE in text)
        names = {}
        exec(compile(text.replace(TOKEN_FILE, self.token_file), PAGE, 'exec'), names)
        return names['alice']

    def logged_in(self):
        return self.a.login(self.alice, PASSWORD, api.project(self.project))

    def trust(self, example, **words):
        """Alice makes the trust of an example."""
        words.update({'ALICE': self.alice, 'STACK-KEEPER': self.keeper, 'PROJECT': self.project})
        for word, value in words.items():
            example = example.replace('"%s"' % word, '"%s"' % value)
        made = self.a.post('/OS-TRUST/trusts', self.logged_in(), json.loads(example))
        self.c.status('Alice makes a trust', made, 201)
        return made.body['trust']['id']

    def shown(self, token):
        """What the pod has, from now on."""
        self.file('token', token + '\n')

    def shell(self, text, **env):
        text = text.replace(TOKEN_FILE, self.token_file)
        done = subprocess.run(['bash', '-c', text], env=dict(os.environ, **env), cwd=self.dir, text=True,
                              timeout=60, capture_output=True)
        return done.stdout.strip()


def pod(cloud):
    """A pod acts for Alice until she ends it."""
    c, a = cloud.c, cloud.a
    trust = cloud.trust(blocks('json')[1])

    def access():
        session = cloud.session_of(cloud.v.url, trust)
        return session, session.auth.get_access(session)

    cloud.shown(cloud.cluster.token())
    session, got = access()
    c.equal('it is Alice', (got.user_id, got.trust_id, got.project_id), (cloud.alice, trust, cloud.project))
    c.equal('with the role of the trust', sorted(got.role_names), ['member', 'reader'])
    answer = session.get(cloud.v.url + '/projects/' + cloud.project)
    c.equal('it does something for her', (answer.status_code, answer.json()['project']['name']), (200, 'lab'))
    by_hand = json.loads(cloud.shell(blocks('sh')[0], OS_AUTH_URL=cloud.v.url, TRUST=trust))
    c.equal('by hand', by_hand['token']['user']['id'], cloud.alice)
    for what, token, error in (
            ('another pod of the namespace', cloud.cluster.token('other'), ka.Forbidden),
            ('a pod of another namespace', cloud.cluster.token(namespace='default'), ka.Unauthorized),
            ('a token for the cluster itself', cloud.cluster.token(aud=[ISSUER]), ka.Unauthorized),
            ('one of another cluster', Cluster('').token(), ka.Unauthorized),
            ('one that has ended', cloud.cluster.token(exp=int(time.time()) - 61), ka.Unauthorized)):
        cloud.shown(token)
        c.raises(what, access, error)
    # The cluster has another key. The file is followed.
    cloud.cluster.rotate()
    cloud.shown(cloud.cluster.token())
    c.raises('a key that is not there yet', access, ka.Unauthorized)
    cloud.cluster.publish()
    end = time.monotonic() + 30
    while True:
        try:
            session, got = access()
            break
        except ka.Unauthorized:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)
    c.equal('the new key', got.user_id, cloud.alice)
    used = a.get('/OS-TRUST/trusts/' + trust, cloud.logged_in()).want(200).body['trust']
    c.equal('the binding is shown', used['trustee_binding']['subject'], 'system:serviceaccount:keepers:web')
    c.status('Alice ends it', a.delete('/OS-TRUST/trusts/' + trust, cloud.logged_in()), 204)
    c.status('its token is over', a.get('/projects/' + cloud.project, got.auth_token), 401)
    c.raises('and there is no other', access, ka.Unauthorized)


class Plain(mtls.Service):
    """A service behind `auth_token`."""

    def __init__(self, authority, options):
        super().__init__(authority, options)
        with open(self.spec) as f:
            spec = json.load(f)
        spec['pipeline']['filters'][0][0] = 'keystonemiddleware.auth_token:filter_factory'
        with open(self.spec, 'w') as f:
            json.dump(spec, f)


def certificate(cloud):
    """A trust that is bound to a certificate, and services that ask for it."""
    c, a, authority = cloud.c, cloud.a, cloud.authority
    own, other = authority.issue('/CN=pod'), authority.issue('/CN=pod')
    with open(own[0]) as f:
        cloud.file('pod.pem', f.read())
    thumbprint = cloud.shell(blocks('sh')[1])
    trust = cloud.trust(blocks('json')[2], THUMBPRINT=thumbprint)
    token = cloud.cluster.token()

    def access(cert):
        auth = V3OidcAccessToken(auth_url=cloud.v.url, identity_provider='cluster', protocol='openid',
                                 access_token=token, trust_id=trust)
        session = ka_session.Session(auth=auth, cert=cert)
        return auth.get_access(session)

    got = access(own)
    c.equal('keystoneauth, with the certificate', (got.user_id, got.trust_id), (cloud.alice, trust))
    c.raises('with another of the same name', lambda: access(other), ka.Forbidden)
    c.raises('without one', lambda: access(None), ka.Forbidden)
    body = {'auth': {'identity': {'methods': ['openid'], 'openid': {
        'identity_provider': 'cluster', 'protocol': 'openid'}}, 'scope': api.trust(trust)}}

    def by_requests(cert):
        return requests.post(cloud.v.url + '/auth/tokens', json=body, cert=cert, timeout=60,
                             headers={'Authorization': 'Bearer ' + token})

    answer = by_requests(own)
    c.equal('requests, with the certificate', answer.status_code, 201)
    c.equal('the token says it', answer.json()['token'].get('oauth2_credential'), {'x5t#S256': thumbprint})
    refused = by_requests(other)
    c.equal('with another', (refused.status_code, 'trustee_binding' in refused.text), (403, True))
    with open(own[0]) as f:
        line = f.read().replace('\n', ' ')
    forged = requests.post(cloud.v.url + '/auth/tokens', json=body, timeout=60, headers={
        'Authorization': 'Bearer ' + token, certificates.HEADER: line, 'SSL_CLIENT_CERT': line})
    c.equal('in a header that the client writes', forged.status_code, 403)
    stranger = certificates.Authority()
    try:
        by_requests(stranger.issue('/CN=pod'))
        c.ok("one of another authority's ends the connection", False)
    except requests.ConnectionError:
        c.ok("one of another authority's ends the connection", True)
    stranger.stop()
    services = a.make(cloud.admin, 'project', name='services', domain_id='default')
    svc = a.make(cloud.admin, 'user', name='svc', domain_id='default', password=PASSWORD)
    a.grant(cloud.admin, a.role_ids(cloud.admin)['service'], svc, services)
    options = {
        'auth_type': 'password', 'auth_url': cloud.v.url, 'interface': 'public', 'www_authenticate_uri': cloud.v.url,
        'username': 'svc', 'password': PASSWORD, 'user_domain_id': 'default', 'project_id': services,
        'token_cache_time': -1, 'cafile': authority.ca}
    bearer = {'Authorization': 'Bearer ' + got.auth_token}
    with mtls.Service(authority, options) as service:
        for what, cert, status in (('with the certificate', own, 200), ('with another', other, 401),
                                   ('without one', None, 401)):
            seen = requests.get(service.root + '/', cert=cert, headers=bearer, timeout=60).status_code
            c.equal('oauth2_mtls_token, ' + what, seen, status)
        c.status('Alice suspends the trust', a.post(
            '/OS-TRUST/trusts/%s/suspend' % trust, cloud.logged_in(), {'suspension': {'reason': 'a look'}}), 200, 204)
        seen = requests.get(service.root + '/', cert=own, headers=bearer, timeout=60).status_code
        c.equal('it gives nothing then', seen, 401)
        a.post('/OS-TRUST/trusts/%s/resume' % trust, cloud.logged_in())
    with Plain(authority, options) as service:
        seen = requests.get(service.root + '/', headers={'X-Auth-Token': access(own).auth_token}, timeout=60)
        c.equal('auth_token takes it as any other', seen.status_code, 200)


PARTS = (pod, certificate)


if __name__ == '__main__':
    sys.exit(harness.play(Cloud, PARTS))
