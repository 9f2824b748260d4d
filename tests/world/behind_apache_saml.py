#!/usr/bin/env python3
"""Debian's Apache with mod_auth_mellon in front of a Vicar, with the configuration of docs/saml.md.

    behind_apache_saml.py               all of it
    behind_apache_saml.py -k WORD       the parts whose names have the word

The identity provider is SimpleSAMLphp. Clients connect from 127.0.0.9, Apache from 127.0.0.1, which is whom Vicar
believes.
"""
import base64
import copy
import json
import os
import subprocess
import sys
import urllib.parse

import harness

harness.run_in('clients')

import requests
from keystoneauth1 import exceptions as ka
from keystoneauth1 import session as ka_session
from keystoneauth1.identity import v3
from keystoneauth1.loading import get_plugin_loader
from lxml import etree

import api
import browser
import certificates
import httpd
import openid_connect
import proxies
import saml_provider
import server

PAGE = 'saml.md'
IDP = '/OS-FEDERATION/identity_providers/campus'
AUTH = IDP + '/protocols/saml2/auth'
SAML = '{urn:oasis:names:tc:SAML:2.0:assertion}'
DS = '{http://www.w3.org/2000/09/xmldsig#}'


class Cloud:
    def __init__(self, checks, stack):
        self.c, self.authority = checks, certificates.Authority()
        stack.callback(self.authority.stop)
        self.provider = saml_provider.Provider()
        stack.callback(self.provider.stop)
        self.provider.know('https://nobody.example', 'https://nobody.example')
        self.provider.start()
        self.dashboard = openid_connect.Dashboard()
        self.v = server.Vicar(settings={
            'identity': {'password_hash_rounds': 4}, **httpd.told(httpd.blocks(PAGE, 'ini')[0], self.dashboard)})
        stack.callback(self.v.stop)
        self.v.start()
        self.apache = httpd.Httpd(httpd.enabled(PAGE), self.recipe)
        stack.callback(self.apache.stop)
        self.entity, self.mellon = self.apache.root + '/mellon/metadata', self.apache.root + '/mellon'
        self.provider.know(self.entity, self.mellon)
        self.apache.start()
        self.scene()

    def recipe(self, at, folder):
        """The page's configuration, with the files that it names."""
        certificate, key = self.authority.of_server()
        metadata = requests.get(self.provider.root + '/saml2/idp/metadata.php', timeout=60)
        metadata.raise_for_status()
        own = {name: '%s/%s' % (folder, name) for name in ('campus.xml', 'mellon.key', 'mellon.pem')}
        with open(own['campus.xml'], 'w') as f:
            f.write(metadata.text)
        self.provider.run('openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=sp',
                          '-keyout', own['mellon.key'], '-out', own['mellon.pem'])
        return httpd.replaced(httpd.blocks(PAGE, 'apache')[0], [
            ('*:443', at), ('/etc/apache2/identity.pem', certificate), ('/etc/apache2/identity.key', key),
            ('https://id.example', 'https://' + at), ('127.0.0.1:5000', '127.0.0.1:%d' % self.v.port),
            *(('/etc/apache2/' + name, path) for name, path in own.items())])

    def scene(self):
        self.a = a = api.Api(self.v.url)
        self.admin = admin = a.admin(self.v.password)
        rules = json.loads(httpd.blocks(PAGE, 'json')[0])
        self.domain, self.project = a.campus(admin, 'saml2', rules, self.provider.entity)

    def browser(self):
        return browser.Browser(self.authority.ca)

    def answered(self, who, user, at=None):
        """The page with which the provider sends a browser back, that has come from `at` and logged in."""
        page = who.get(at or self.apache.url + AUTH, timeout=60)
        return who.submit(page, username=user, password=saml_provider.PASSWORD)

    def asked(self):
        """How many requests of the federated address Vicar's log has."""
        return self.v.whole_log().count(AUTH)

    def by_ecp(self, user='ann', password=saml_provider.PASSWORD, **more):
        plugin = get_plugin_loader('v3samlpassword').load_from_options(
            auth_url=self.apache.url, identity_provider='campus', protocol='saml2', username=user, password=password,
            identity_provider_url=self.provider.sso, **more)
        return plugin, ka_session.Session(auth=plugin, verify=self.authority.ca)

    def scoped(self, token):
        """keystoneauth's exchange of a token for one of the project."""
        plugin = v3.Token(self.apache.url, token, project_id=self.project)
        return plugin.get_access(ka_session.Session(verify=self.authority.ca))

    def client(self, server_or_apache=None):
        """From another address than Apache's; with Apache, through it."""
        at = server_or_apache or self.apache
        of_tls = at.root.startswith('https')
        return proxies.Client(at.url.removesuffix('/v3'), self.authority.ca if of_tls else None)


def browsers(cloud):
    c, who = cloud.c, cloud.browser()
    wrong = who.submit(who.get(cloud.apache.url + AUTH, timeout=60), username='ann', password='another')
    c.ok('a wrong password ends at the provider', wrong.url.startswith(cloud.provider.root), wrong.url)
    got = who.submit(cloud.answered(who, 'ann'))
    c.equal('ann logs in', got.status_code, 201)
    token, user = got.headers['X-Subject-Token'], got.json()['token']['user']
    c.equal('of the provider\'s domain', (user['name'], user['domain']['id']), ('ann', cloud.domain))
    c.equal('with the address that the provider says',
            cloud.a.get('/users/' + user['id'], cloud.admin).body['user'].get('email'), 'ann@example.org')
    c.equal('in the group that is here', len(user['OS-FEDERATION']['groups']), 1)
    scoped = cloud.scoped(token)
    c.equal('exchanged for a token of a project', (scoped.user_id, scoped.project_id, sorted(scoped.role_names)),
            (user['id'], cloud.project, ['member', 'reader']))
    c.equal('again, without the provider', who.get(cloud.apache.url + AUTH, timeout=60).json()['token']['user']['id'],
            user['id'])
    c.equal('links lead to Apache', cloud.client().ask('GET', '/v3').body['version']['links'][0]['href'],
            cloud.apache.url + '/')
    other = cloud.browser()
    bob = other.submit(cloud.answered(other, 'bob'))
    c.raises('none of the project for who is not in the group',
             lambda: cloud.scoped(bob.headers['X-Subject-Token']), ka.Unauthorized)
    other = cloud.browser()
    c.equal('a name in UTF-8', other.submit(cloud.answered(other, 'zoë')).json()['token']['user']['name'], 'zoë')


def dashboards(cloud):
    """A browser comes from a dashboard, logs in at the provider, and goes back with a token."""
    c = cloud.c
    for path in ('/auth/OS-FEDERATION/websso/saml2', '/auth%s/protocols/saml2/websso' % IDP):
        who = cloud.browser()
        at = '%s%s?origin=' % (cloud.apache.url, path)
        page = who.submit(cloud.answered(who, 'ann', at + cloud.dashboard.url))
        c.equal('%s: a page' % path, page.status_code, 200)
        page = who.submit(page)
        c.ok('which leads to the dashboard', page.url == cloud.dashboard.url, page.url)
        scoped = cloud.scoped(cloud.dashboard.tokens.pop())
        c.equal('where ann goes on', (scoped.username, sorted(scoped.role_names)), ('ann', ['member', 'reader']))
        page = who.get(at + 'https://evil.example/', timeout=60)
        c.equal('none for another dashboard', (page.status_code, 'name="token"' in page.text), (401, False))


def command_lines(cloud):
    c, provider = cloud.c, cloud.provider
    plugin, session = cloud.by_ecp()
    got = plugin.get_access(session)
    c.equal('v3samlpassword: ann', (got.username, got.user_domain_id), ('ann', cloud.domain))
    plugin, session = cloud.by_ecp(project_id=cloud.project)
    got = plugin.get_access(session)
    c.equal('with a project', (got.project_id, sorted(got.role_names)), (cloud.project, ['member', 'reader']))
    plugin, session = cloud.by_ecp('bob', project_id=cloud.project)
    c.raises('none for who is not in the group', lambda: plugin.get_access(session), ka.Unauthorized)
    told = dict(auth_type='v3samlpassword', auth_url=cloud.apache.url, identity_provider='campus', protocol='saml2',
                identity_provider_url=provider.sso, username='ann', password=saml_provider.PASSWORD,
                cacert=cloud.authority.ca)
    out = provider.run(
        harness.env_bin('clients', 'openstack'), '--os-project-name', 'lab', '--os-project-domain-name', 'campus',
        'token', 'issue', '-f', 'json', **{'OS_' + name.upper(): value for name, value in told.items()})
    c.equal('openstack token issue', json.loads(out)['project_id'], cloud.project)
    plugin, session = cloud.by_ecp(password='another')
    c.raises('none for a wrong password', lambda: plugin.get_access(session), ka.BadRequest)


def changed(page, change):
    """The provider's answer in a page, changed."""
    response = etree.fromstring(base64.b64decode(openid_connect.Page(page).fields['SAMLResponse']))
    change(response)
    return base64.b64encode(etree.tostring(response)).decode()


def of_bob(element):
    for value in element.iter(SAML + 'AttributeValue'):
        if value.text == 'ann':
            value.text = 'bob'


def unsigned(response):
    for signature in list(response.iter(DS + 'Signature')):
        signature.getparent().remove(signature)


def beside(response):
    """An assertion of the sender's own before the one that is signed."""
    response.remove(response.find(DS + 'Signature'))
    signed = response.find(SAML + 'Assertion')
    own = copy.deepcopy(signed)
    own.set('ID', '_own')
    own.remove(own.find(DS + 'Signature'))
    of_bob(own)
    signed.addprevious(own)


def assertions(cloud):
    """Those that are not the provider's word for this service end at mellon."""
    c, provider = cloud.c, cloud.provider

    def refused(what, why, got, said):
        c.equal('%s: refused' % what, got.status_code, 400)
        c.ok('because: %s' % why, why in cloud.apache.errors()[said:], cloud.apache.errors()[said:])

    def comes(what, why=None, page=None, change=None, **know):
        who, before = cloud.browser(), cloud.asked()
        if know:
            provider.know(cloud.entity, cloud.mellon, **know)
        page = cloud.answered(who, 'ann', page)
        provider.know(cloud.entity, cloud.mellon)
        said = len(cloud.apache.errors())
        got = who.submit(page, **({'SAMLResponse': changed(page, change)} if change else {}))
        if not why:
            c.ok(what, got.status_code == 201 and got.json()['token']['user']['name'] == 'ann', got.status_code)
            return page
        refused(what, why, got, said)
        again = who.get(cloud.apache.url + AUTH, allow_redirects=False, timeout=60)
        c.ok('and sent to the provider again', again.status_code in (302, 303), again.status_code)
        c.equal('nothing came to Vicar', cloud.asked(), before)
        return page

    changes, none = 'Failed to verify signature', 'Signature element not found'
    page, said = comes('one as it is'), len(cloud.apache.errors())
    refused('the same by another browser', 'has already been used', cloud.browser().submit(page), said)
    comes('one that is written anew', change=lambda response: None)
    comes('with another user\'s name', changes, change=of_bob)
    comes('unsigned', none, change=unsigned)
    comes('another beside the signed one', none, change=beside)
    comes('expired', 'NotOnOrAfter in SubjectConfirmationData was in the past', **{'assertion.lifetime': -3600})
    back = '&RelayState=' + urllib.parse.quote(cloud.apache.url + AUTH)
    to = provider.sso + '?spentityid='
    comes('one that was not asked for', page=to + urllib.parse.quote(cloud.entity) + back)
    provider.know('https://elsewhere.example', cloud.mellon)
    comes('of another audience', 'Invalid Audience', to + 'https://elsewhere.example' + back)
    provider.sign_as('second')
    comes('signed by another key', changes)
    provider.sign_as('first')
    comes('the right one again')


def method():
    """The login by which the body names the provider, on the path of all logins."""
    of = {'identity_provider': 'campus', 'protocol': 'saml2'}
    return {'auth': {'identity': {'methods': ['saml2'], 'saml2': of}}}


def headers(cloud):
    """What a client sends does not count, by Apache or to Vicar itself."""
    c = cloud.c
    forged = {'MELLON_IDP': cloud.provider.entity, 'MELLON_uid': 'admin', 'MELLON_mail': 'x@example.org',
              'MELLON_groups': 'staff'}
    ways = [('GET', AUTH, None), ('POST', AUTH, None), ('POST', '/auth/tokens', method())]
    for at in ('/auth/OS-FEDERATION/websso/saml2', '/auth' + IDP + '/protocols/saml2/websso'):
        ways += [(verb, '%s?origin=%s' % (at, cloud.dashboard.url), None) for verb in ('GET', 'POST')]
    for verb, path, body in ways:
        for kind in (forged, {k.lower(): v for k, v in forged.items()},
                     {k.replace('_', '-'): v for k, v in forged.items()}):
            for at, client, wanted in (('Apache', cloud.client(), (302, 303, 401, 404)),
                                       ('Vicar', cloud.client(cloud.v), (401, 404))):
                answer = client.call(verb, path, body=body, headers=kind)
                there = 'X-Subject-Token' in answer.headers or answer.status == 200
                c.ok('%s %s to %s with %s: nobody' % (verb, path, at, ', '.join(kind)),
                     answer.status in wanted and not there, (answer.status, answer.text[:300]))
    answer = cloud.a.post('/auth/tokens', body=method(), headers=forged)
    c.status('the same to Vicar from Apache\'s address', answer, 201)
    lines = [('    RequestHeader unset %s early\n' % name, '') for name in forged]

    def without(at, folder):
        return httpd.replaced(cloud.recipe(at, folder), lines)

    with httpd.Httpd(httpd.enabled(PAGE), without) as careless:
        answer = cloud.client(careless).post('/auth/tokens', body=method(), headers=forged)
        c.status('an Apache that does not remove them lets anybody in', answer, 201)
    who = cloud.browser()
    who.headers.update(forged)
    got = who.submit(cloud.answered(who, 'bob'))
    c.equal('who logs in as bob with them is bob', got.json()['token']['user']['name'], 'bob')
    user = cloud.a.get('/users/' + got.json()['token']['user']['id'], cloud.admin).body['user']
    c.equal('with bob\'s own address', user['email'], 'bob@example.org')
    c.equal('and in no group of theirs', got.json()['token']['user']['OS-FEDERATION']['groups'], [])


PARTS = (browsers, dashboards, command_lines, assertions, headers)


def main():
    requests.packages.urllib3.disable_warnings()
    subprocess.run([os.path.join(harness.HERE, 'setup.sh'), 'federation'], check=True, stdout=subprocess.DEVNULL)
    return harness.play(Cloud, PARTS)


if __name__ == '__main__':
    sys.exit(main())
