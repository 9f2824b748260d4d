#!/usr/bin/env python3
"""Debian's Apache with mod_auth_openidc in front of a Vicar and a Keystone, configured as docs/federation.md has it.

    behind_apache.py                all of it
    behind_apache.py -k WORD        the parts whose names have the word

The provider is the one of openid_connect.py. Clients connect from 127.0.0.9, Apache from 127.0.0.1, which is whom Vicar
believes. Vicar and a Keystone 30.0.0 have one database, and each has such an Apache.
"""
import os
import subprocess
import sys

import harness

harness.run_in('clients')

import requests
from keystoneauth1 import exceptions as ka
from keystoneauth1 import session as ka_session
from keystoneauth1.identity import v3
from keystoneauth1.loading import get_plugin_loader

import api
import browser
import certificates
import httpd
import openid_connect as oidc
import proxies
import server

PAGE = 'federation.md'
IDP = '/OS-FEDERATION/identity_providers/campus'
AUTH = IDP + '/protocols/openid/auth'
# By the names that both servers know.
MAPPING = [
    {'local': [{'user': {'name': '{0}', 'email': '{1}'}}, {'groups': '{2}', 'domain': {'name': 'campus'}}],
     'remote': [{'type': 'HTTP_OIDC_SUB'}, {'type': 'HTTP_OIDC_EMAIL'}, {'type': 'HTTP_OIDC_GROUPS'}]},
    {'local': [{'user': {'name': '{0}'}}],
     'remote': [{'type': 'HTTP_OIDC_SUB'}, {'type': 'HTTP_OIDC_KIND', 'any_one_of': ['machine']}]}]
TEMPLATE = os.path.join(harness.CACHE, 'keystone', 'etc', 'keystone', 'sso_callback_template.html')
FORGED = {'OIDC-iss': None, 'OIDC-sub': 'admin', 'OIDC-email': 'x@example.org', 'OIDC-groups': 'staff'}


class Apache(httpd.Httpd):
    """In front of a server, as the page has it; `more` replaces further words of it."""

    def __init__(self, authority, provider, backend, *more):
        certificate, key = authority.of_server()

        def recipe(at, folder):
            ca = httpd.readable(authority.ca, folder)
            return httpd.replaced(httpd.blocks(PAGE, 'apache')[0], [
                ('*:443', at), ('/etc/apache2/identity.pem', certificate), ('/etc/apache2/identity.key', key),
                ('/etc/ssl/certs/ca-certificates.crt', ca), ('https://id.example', 'https://' + at),
                ('127.0.0.1:5000', '127.0.0.1:%d' % backend.port), ('https://campus.example', provider.root),
                ('OIDCClientID web', 'OIDCClientID vicar'),
                ('OIDCClientSecret secret', 'OIDCClientSecret ' + oidc.SECRET), *more])

        super().__init__(httpd.enabled(PAGE), recipe)
        self.redirect = self.root + '/identity/v3/auth/OS-FEDERATION/websso/openid/redirect'


class Cloud:
    def __init__(self, checks, stack):
        self.c, self.authority = checks, certificates.Authority()
        stack.callback(self.authority.stop)
        self.provider = oidc.Provider(self.authority)
        stack.callback(self.provider.stop)
        self.dashboard = oidc.Dashboard()
        options = httpd.told(httpd.blocks(PAGE, 'ini')[0], self.dashboard)
        ours = {'vicar': options.pop('vicar')}
        options['federation']['sso_callback_template'] = TEMPLATE
        self.k = server.Keystone(settings={'identity': {'password_hash_rounds': 4}, **options})
        stack.callback(self.k.stop)
        self.k.start()
        self.v = server.Vicar(config=self.k.config, store=self.k.store, password=self.k.password, settings=ours)
        stack.callback(self.v.stop)
        self.v.start()
        self.apache = Apache(self.authority, self.provider, self.v)
        stack.callback(self.apache.stop)
        self.beside = Apache(self.authority, self.provider, self.k)
        stack.callback(self.beside.stop)
        self.provider.told['redirect'] = [self.apache.redirect, self.beside.redirect]
        for each in (self.provider, self.apache, self.beside):
            each.start()
        self.scene()

    def scene(self):
        self.a = a = api.Api(self.v.url)
        self.admin = admin = a.admin(self.v.password)
        self.domain, self.project = a.campus(admin, 'openid', MAPPING, self.provider.root)

    def plugin(self, name, at=None, **options):
        """A plugin as the `openstack` command loads it, which comes through Apache."""
        plugin = get_plugin_loader('v3oidc' + name).load_from_options(
            auth_url=(at or self.apache).url, identity_provider='campus', protocol='openid', **options)
        return plugin, ka_session.Session(auth=plugin, verify=self.authority.ca)

    def by_password(self, at=None, **more):
        return self.plugin('password', at, **{
            'client_id': 'tool', 'client_secret': oidc.SECRET, 'username': 'ann', 'password': oidc.PW,
            'discovery_endpoint': self.provider.root + '/.well-known/openid-configuration', **more})

    def client(self, server_or_apache=None):
        """From another address than Apache's; with Apache, through it."""
        at = server_or_apache or self.apache
        of_tls = at.root.startswith('https')
        return proxies.Client(at.url.removesuffix('/v3'), self.authority.ca if of_tls else None)

    def forged(self):
        return {**FORGED, 'OIDC-iss': self.provider.root}

    def show(self, token, **headers):
        return self.client().post(AUTH, headers={'Authorization': 'Bearer ' + token, **headers})


def method():
    """The login by which the body names the provider, on the path of all logins."""
    of = {'identity_provider': 'campus', 'protocol': 'openid'}
    return {'auth': {'identity': {'methods': ['openid'], 'openid': of}}}


def bearer(cloud):
    c, provider = cloud.c, cloud.provider
    users = set()
    ways = {'password': cloud.by_password(), 'accesstoken': cloud.plugin('accesstoken', access_token=provider.token())}
    for name, (plugin, session) in ways.items():
        got = plugin.get_access(session)
        users.add(got.user_id)
        c.equal('v3oidc%s: ann, of the provider\'s domain' % name, (got.username, got.user_domain_id),
                ('ann', cloud.domain))
    c.equal('one user, whatever the way', len(users), 1)
    c.equal('with the address that the provider says',
            cloud.a.get('/users/' + users.copy().pop(), cloud.admin).body['user'].get('email'), 'ann@example.org')
    plugin, session = cloud.by_password(project_id=cloud.project)
    got = plugin.get_access(session)
    c.equal('a token of a project, by a group', (got.project_id, sorted(got.role_names)),
            (cloud.project, ['member', 'reader']))
    c.equal('it is good through Apache', session.get('%s/projects/%s' % (cloud.apache.url, cloud.project)).status_code,
            200)
    plugin, session = cloud.by_password(username='bob', project_id=cloud.project)
    c.raises('none for who is not in the group', lambda: plugin.get_access(session), ka.Unauthorized)
    c.equal('links lead to Apache', cloud.client().ask('GET', '/v3').body['version']['links'][0]['href'],
            cloud.apache.url + '/')
    c.status('a program', cloud.show(provider.machine('RS256')), 201)


def bad_tokens(cloud):
    """Apache refuses them: nothing comes to Vicar."""
    c, provider = cloud.c, cloud.provider
    good = provider.token()
    head, claims, signature = good.split('.')
    other = provider.token(grant_type='password', username='bob', password=oidc.PW).split('.')
    before = requests_in(cloud.v)
    for what, token in (
            ('for another service', provider.machine('elsewhere')), ('no JWT', provider.machine('opaque')),
            ('with the claims of another', '.'.join((head, other[1], signature))),
            ('without a signature', '.'.join((head, claims, ''))),
            ('that says it has none', '.'.join(('eyJhbGciOiJub25lIn0', claims, '')))):
        c.status('a token %s' % what, cloud.show(token), 401)
    c.status('none', cloud.client().post(AUTH), 401)
    c.equal('none of them came to Vicar', requests_in(cloud.v), before)
    c.status('while a good one does', cloud.show(good), 201)
    c.ok('and is seen there', requests_in(cloud.v) > before)


def requests_in(vicar):
    """How many requests of the federated path its log has."""
    return vicar.whole_log().count(AUTH)


def paths(cloud):
    """(method, path, body) of all logins by what headers say."""
    found = [('GET', AUTH, None), ('POST', AUTH, None), ('POST', '/auth/tokens', method())]
    for at in ('/auth/OS-FEDERATION/websso/openid', '/auth' + IDP + '/protocols/openid/websso'):
        found += [(verb, '%s?origin=%s' % (at, cloud.dashboard.url), None) for verb in ('GET', 'POST')]
    return found


def is_login(answer):
    """Has somebody logged in by it: is there a token, in a header or in a form for the dashboard?"""
    return 'X-Subject-Token' in answer.headers or (answer.status == 200 and 'name="token"' in answer.text)


def removed(cloud):
    """What a client sends in such headers does not reach Vicar by Apache."""
    c, forged = cloud.c, cloud.forged()
    for verb, path, body in paths(cloud):
        for headers in (forged, {name.lower(): value for name, value in forged.items()},
                        {name.replace('-', '_'): value for name, value in forged.items()}):
            answer = cloud.client().call(verb, path, body=body, headers=headers)
            c.ok('%s %s, with %s: nobody' % (verb, path, ', '.join(headers)),
                 answer.status in (302, 401, 404) and not is_login(answer), (answer.status, answer.text[:300]))
    for path in ('//v3/auth/tokens', '/../v3/auth/tokens', '/%2e%2e/v3/auth/tokens', '/../identity/v3/auth/tokens',
                 '/v3/%61uth/tokens', '/v3/x/../auth/tokens', '/v3/x/%2e%2e/auth/tokens', '/v3/auth/tokens/',
                 '/v3/auth%2Ftokens'):
        answer = cloud.client().ask('POST', path, body=method(), headers=forged)
        c.ok('%s: nobody' % path, answer.status in (400, 401, 404) and not is_login(answer), answer.status)
    good = cloud.provider.token()
    answer = cloud.show(good, **{**forged, 'OIDC-sub': 'bob', 'OIDC-email': 'x@example.org'})
    c.status('with a good token of ann', answer, 201)
    c.equal('it is ann', answer.body['token']['user']['name'], 'ann')
    user = cloud.a.get('/users/' + answer.body['token']['user']['id'], cloud.admin).body['user']
    c.equal('with ann\'s own address', user['email'], 'ann@example.org')
    cut = ('AuthType openid-connect\n        OIDCUnAuthAction pass\n        Require valid-user', 'Require all granted')
    with Apache(cloud.authority, cloud.provider, cloud.v, cut) as careless:
        answer = cloud.client(careless).post('/auth/tokens', body=method(), headers=forged)
        c.status('an Apache that is active on the address of the protocol alone lets anybody in', answer, 201)
        c.status('and not there', cloud.client(careless).post(AUTH, headers=forged), 401)


def believed(cloud):
    """What is sent to Vicar itself counts from Apache's address alone."""
    c, forged = cloud.c, cloud.forged()
    for verb, path, body in paths(cloud):
        for more in ({}, {'X-Forwarded-For': '127.0.0.1'}, {'Forwarded': 'for=127.0.0.1'}):
            answer = cloud.client(cloud.v).call(verb, path, body=body, headers={**forged, **more})
            c.ok('%s %s from another address%s: nobody' % (verb, path, ''.join(' with ' + name for name in more)),
                 answer.status in (401, 404) and not is_login(answer), (answer.status, answer.text[:300]))
    answer = cloud.a.post('/auth/tokens', body=method(), headers=forged)
    c.status('the same from Apache\'s address', answer, 201)
    c.equal('is whom they name', answer.body['token']['user']['name'], 'admin')
    answer = cloud.a.post(AUTH, headers={**forged, 'OIDC-iss': 'https://another.example'})
    c.status('another provider than this one\'s', answer, 403)


def keystone(cloud):
    """A Keystone on the same database behind the same configuration."""
    c, got = cloud.c, {}
    for name, at in (('vicar', cloud.apache), ('keystone', cloud.beside)):
        plugin, session = cloud.by_password(at)
        scoped, of_scoped = cloud.by_password(at, project_id=cloud.project)
        got[name] = (plugin.get_access(session), scoped.get_access(of_scoped))
    ours, theirs = got['vicar'], got['keystone']
    for what, key in (('user', lambda t: (t.user_id, t.username, t.user_domain_id)),
                      ('roles', lambda t: sorted(t.role_ids))):
        for of, mine, other in zip(('unscoped', 'of a project'), ours, theirs, strict=True):
            c.equal('%s of the token, %s' % (what, of), key(mine), key(other))
    bodies = [shown(a._data['token']) for a in (ours[0], theirs[0])]
    c.equal('the same body', *bodies)
    for label, srv in (('vicar', cloud.v), ('keystone', cloud.k)):
        each = api.Api(srv.url)
        for of, (token, _) in got.items():
            c.status('a token of %s, on %s' % (of, label), each.validate(cloud.admin, token.auth_token), 200)
    groups = [{g['id'] for g in api.Api(srv.url).get('/users/%s/groups' % ours[0].user_id, cloud.admin).want(
        200).body['groups']} for srv in (cloud.v, cloud.k)]
    c.equal('the same groups', *groups)
    for what, token in (('for another service', cloud.provider.machine('elsewhere')),
                        ('no JWT', cloud.provider.machine('opaque'))):
        c.status('a token %s comes to neither' % what,
                 cloud.client(cloud.beside).post(AUTH, headers={'Authorization': 'Bearer ' + token}), 401)


def shown(token):
    """A token's body without what is another in each."""
    kept = {k: v for k, v in token.items() if k not in ('audit_ids', 'expires_at', 'issued_at')}
    kept['user']['OS-FEDERATION']['groups'].sort(key=lambda g: g['id'])
    return kept


def introspection(cloud):
    """Tokens that are no JWT, for which Apache asks the provider."""
    c, provider = cloud.c, cloud.provider
    name, secret = 'OIDCOAuthClientID ', 'OIDCOAuthClientSecret '
    cut = ('    OIDCOAuthVerifyJwksUri %s/jwks\n' % provider.root, httpd.replaced(httpd.blocks(PAGE, 'apache')[1], [
        ('https://campus.example', provider.root), (name + 'web', name + 'vicar'),
        (secret + 'secret', secret + oidc.SECRET)]))
    with Apache(cloud.authority, provider, cloud.v, cut) as apache:
        token = provider.token('opaque', grant_type='password', username='ann', password=oidc.PW)
        answer = cloud.client(apache).post(AUTH, headers={'Authorization': 'Bearer ' + token})
        c.status('a token that is no JWT', answer, 201)
        c.equal('is ann\'s', answer.body['token']['user']['name'], 'ann')
        for what, bad in (('that nobody knows', token[::-1]), ('that is empty', '')):
            c.status('one %s' % what, cloud.client(apache).post(AUTH, headers={'Authorization': 'Bearer ' + bad}), 401)


def websso(cloud):
    """A browser comes from a dashboard, logs in at the provider, and goes back with a token."""
    c = cloud.c
    for label, at in (('vicar', cloud.apache), ('keystone', cloud.beside)):
        for path in ('/auth/OS-FEDERATION/websso/openid', '/auth%s/protocols/openid/websso' % IDP):
            who = browser.Browser(cloud.authority.ca)
            page = who.get('%s%s?origin=%s' % (at.url, path, cloud.dashboard.url), timeout=60)
            c.ok('%s%s sends to the provider' % (label, path), page.url.startswith(cloud.provider.root), page.url)
            page = who.submit(page, username='ann', password=oidc.PW)
            c.equal('%s%s has a page' % (label, path), page.status_code, 200)
            page = who.submit(page)
            c.ok('which leads to the dashboard', page.url == cloud.dashboard.url, page.url)
            shown_to_it(cloud, at)
        answer = who.post(at.url + '/auth/tokens', json=method(), headers=cloud.forged(), cookies=dict(who.cookies))
        c.equal('%s: after a login, headers of a client make nobody else of them' % label,
                (answer.status_code, answer.json().get('token', {}).get('user', {}).get('name')), (201, 'ann'))
        # The session is there: no login is needed, nor is one from elsewhere.
        page = who.get('%s%s?origin=https://evil.example/' % (at.url, path), timeout=60)
        c.equal('%s: another dashboard' % label, (page.status_code, 'name="token"' in page.text), (401, False))


def shown_to_it(cloud, at):
    """What the dashboard does with the token."""
    c, token = cloud.c, cloud.dashboard.tokens.pop()
    session = ka_session.Session(verify=cloud.authority.ca)
    plugin = v3.Token(at.url, token, project_id=cloud.project)
    got = plugin.get_access(session)
    c.equal('it goes on as ann', (got.username, got.user_domain_id, sorted(got.role_names)),
            ('ann', cloud.domain, ['member', 'reader']))
    places = session.get(at.url + '/auth/projects', headers={'X-Auth-Token': token}).json()['projects']
    c.equal('and is told where ann may go', [p['id'] for p in places], [cloud.project])


PARTS = (bearer, bad_tokens, removed, believed, keystone, introspection, websso)


def main():
    requests.packages.urllib3.disable_warnings()
    harness.env_bin('provider', 'node')
    subprocess.run([os.path.join(harness.HERE, 'setup.sh'), 'federation'], check=True, stdout=subprocess.DEVNULL)
    return harness.play(Cloud, PARTS)


if __name__ == '__main__':
    sys.exit(main())
