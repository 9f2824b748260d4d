#!/usr/bin/env python3
"""A real Horizon before this server, with the settings of docs/oidc.md, and a browser that fills in its forms.

    dashboard.py               all of it
    dashboard.py -k WORD       the parts whose names have the word

People log in with a password, with a passcode besides, and at a real OpenID Connect provider, whose user then makes an
application credential there; an administrator makes users, projects and providers.
"""
import html
import os
import re
import sys

import harness

harness.run_in('clients')

import requests
from keystoneauth1 import exceptions as ka
from keystoneauth1 import identity as ka_identity
from keystoneauth1 import session as ka_session

import openid_connect
import server
import totp

PW = openid_connect.PW
PAGE = os.path.join(harness.REPO, 'docs', 'oidc.md')
# What a deployment has besides; the first four are about the identity server.
MORE = """
OPENSTACK_KEYSTONE_MULTIDOMAIN_SUPPORT = True
OPENSTACK_KEYSTONE_FEDERATION_MANAGEMENT = True
OPENSTACK_KEYSTONE_MFA_TOTP_ENABLED = True
AUTHENTICATION_PLUGINS = ['openstack_auth.plugin.%s' % each for each in (
    'totp.TotpPlugin', 'password.PasswordPlugin', 'token.TokenPlugin')]
ALLOWED_HOSTS = ['127.0.0.1', 'localhost']
SECRET_KEY = 'of these tests alone'
SESSION_ENGINE = 'django.contrib.sessions.backends.cache'
CACHES = {'default': {'BACKEND': 'django.core.cache.backends.locmem.LocMemCache'}}
COMPRESS_ENABLED = False
COMPRESS_PRECOMPILERS = ()
"""


def settings_of_the_page():
    with open(PAGE) as f:
        [block] = re.findall(r'^```python\n(OPENSTACK_KEYSTONE_URL .*?)^```$', f.read(), re.M | re.S)
    return block


class Horizon(server.Server):
    kind = 'horizon'
    ready_path = '/auth/login/'
    ready_statuses = (200,)

    def __init__(self):
        super().__init__()
        self.url = self.root + '/auth/websso/'

    def configure(self, identity):
        os.mkdir(os.path.join(self.dir, 'local'))
        open(os.path.join(self.dir, 'local', '__init__.py'), 'w').close()
        with open(os.path.join(self.dir, 'local', 'local_settings.py'), 'w') as f:
            f.write(settings_of_the_page().replace('https://identity.example', identity) + MORE)

    def command(self):
        return [harness.env_bin('dashboard', 'python'), os.path.join(harness.HERE, 'dashboard_service.py'), self.dir,
                str(self.port)], {'PYTHONWARNINGS': 'ignore'}


class Cloud(openid_connect.Cloud):
    def __init__(self, checks, stack):
        super().__init__(checks, stack, Horizon())
        stack.callback(self.dashboard.stop)
        self.dashboard.configure(self.here)
        self.dashboard.start()


class Browser(openid_connect.Browser):
    """One person's, in Horizon."""

    def __init__(self, cloud):
        super().__init__(cloud)
        self.root = cloud.dashboard.root

    def page(self, path):
        """A page of Horizon, wherever it leads."""
        return self.get(self.root + path)

    def send(self, path, **fields):
        """Fills in the form of a page."""
        return self.fill(self.page(path), **fields)

    def fill(self, page, **fields):
        form = Form(page)
        if form.action is None:
            raise AssertionError('no form at %s: %s' % (page.url, page.status_code))
        return self.session.post(form.action, data={**form.fields, **fields}, headers={'Referer': page.url}, timeout=60)

    def log_in(self, name, password, domain='Default'):
        return self.send('/auth/login/?next=/identity/', auth_type='credentials', username=name, password=password,
                         domain=domain)


class Logout(openid_connect.Page):
    """The menu's form for logging out, which has nothing but its token."""

    def handle_starttag(self, tag, attrs):
        if dict(attrs).get('name') == 'csrfmiddlewaretoken':
            super().handle_starttag(tag, attrs)


class Form(openid_connect.Page):
    """The last form of a page that is posted, as a browser sends it; that for logging out is in the menu before it."""

    def __init__(self, answer):
        self.inside = self.select = None
        super().__init__(answer)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == 'form':
            self.inside = attrs.get('method', '').lower() == 'post' and not attrs.get('action', '').endswith('/logout/')
            if self.inside:
                self.fields = {}
        is_box = attrs.get('type') in ('checkbox', 'radio')
        if not self.inside or is_box and 'checked' not in attrs:
            return
        if tag == 'select':
            self.select = attrs.get('name')
        elif tag == 'option' and self.select and 'selected' in attrs:
            self.fields[self.select] = attrs.get('value', '')
        else:
            super().handle_starttag(tag, ({'value': 'on', **attrs} if is_box else attrs).items())


def told(page):
    """What Horizon says of what was done, good and bad."""
    text = re.sub(r'<script.*?</script>', '', page.text, flags=re.S)
    found = re.findall(r'<div class="alert alert-(?:success|danger|error|warning)[^"]*">(.*?)</div>', text, re.S)
    said = [' '.join(html.unescape(re.sub(r'<[^>]*>', ' ', one)).split()) for one in found]
    return [one for one in said if 'JavaScript' not in one]


def rows(page):
    """The names in the table of a page."""
    return sorted(html.unescape(name) for name in re.findall(r'<tr[^>]*\bdata-display="([^"]*)"', page.text))


def user(cloud, name, roles=('member',), **more):
    """A user on two projects of the default domain; the user's and the projects' ids."""
    made = cloud.a.make(cloud.admin, 'user', name=name, password=PW, **more)
    projects = [cloud.a.make(cloud.admin, 'project', name='%s-%d' % (name, n)) for n in (1, 2)]
    ids = cloud.a.role_ids(cloud.admin)
    for project in projects:
        for role in roles:
            cloud.a.put('/projects/%s/users/%s/roles/%s' % (project, made, ids[role]), cloud.admin).want(204)
    return made, projects


def passwords(cloud):
    c = cloud.c
    user(cloud, 'dora')
    for name, password in (('dora', 'another'), ('nobody', PW)):
        c.equal('%s with %s' % (name, password), told(Browser(cloud).log_in(name, password)), ['Invalid credentials.'])
    b = Browser(cloud)
    page = b.log_in('dora', PW)
    c.equal('logged in', (page.url, rows(page)), (b.root + '/identity/', ['dora-1', 'dora-2']))
    new = {'new_password': 'a new one', 'confirm_password': 'a new one'}
    after = b.send('/settings/password/', current_password='another', **new)
    c.ok('not with another current one', any('Unable to change password' in one for one in told(after)), told(after))
    b.send('/settings/password/', current_password=PW, **new)
    c.equal('the old one is none', told(Browser(cloud).log_in('dora', PW)), ['Invalid credentials.'])
    b = Browser(cloud)
    c.equal('the new one is', rows(b.log_in('dora', 'a new one')), ['dora-1', 'dora-2'])
    b.session.post(b.root + '/auth/logout/', data=Logout(b.page('/identity/')).fields, timeout=60)
    c.ok('logged out', '/auth/login/' in b.page('/identity/').url)


def switch(cloud):
    """From one project to the other, by the token that has none."""
    c = cloud.c
    made, projects = user(cloud, 'emil')
    b = Browser(cloud)
    b.log_in('emil', PW)
    for project in (*projects, projects[0]):
        b.page('/auth/switch/%s/?next=/identity/' % project)
        file = b.page('/project/api_access/clouds.yaml/').text
        c.equal('on %s' % project, re.findall(r'project_id: (\w+)', file), [project])
    other = cloud.a.make(cloud.admin, 'project', name='of-nobody')
    c.ok('not to another', 'failed' in ' '.join(told(b.page('/auth/switch/%s/?next=/identity/' % other))))


def passcodes(cloud):
    """A user whose rules ask for a passcode too: Horizon adds it to the receipt."""
    c = cloud.c
    secret = 'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ'
    made, _ = user(cloud, 'fritz', options={
        'multi_factor_auth_enabled': True, 'multi_factor_auth_rules': [['password', 'totp']]})
    cloud.a.post('/credentials', cloud.admin, {'credential': {
        'type': 'totp', 'blob': secret, 'user_id': made}}).want(201)
    b = Browser(cloud)
    page = b.log_in('fritz', PW)
    c.equal('asked for the passcode', page.url, b.root + '/auth/totp/fritz/')
    wrong = b.fill(page, totp='000000')
    c.ok('not with another', '/identity/' not in wrong.url and told(wrong), (wrong.url, told(wrong)))
    page = b.log_in('fritz', PW)
    b.fill(page, totp=totp.passcode(secret))
    c.equal('logged in', rows(b.page('/identity/')), ['fritz-1', 'fritz-2'])


def administration(cloud):
    c, a, admin = cloud.c, cloud.a, cloud.admin
    b = Browser(cloud)
    b.log_in('admin', cloud.v.password)
    member = a.role_ids(admin)['member']
    project = a.make(admin, 'project', name='workshop')
    page = b.send('/identity/users/create/', name='gerda', password=PW, confirm_password=PW, project=project,
                  role_id=member, email='gerda@example.org')
    c.equal('a user is made', told(page), ['Success: User "gerda" was successfully created.'])
    c.ok('and is in the list', 'gerda' in rows(page), rows(page))
    gerda = a.login_answer(('gerda', 'default'), PW, {'project': {'id': project}})
    c.status('gerda logs in, with the role', gerda, 201)
    made = gerda.body['token']['user']['id']
    again = b.send('/identity/users/create/', name='gerda', password=PW, confirm_password=PW)
    c.ok('a second one is none', any('already used' in one for one in told(again)), told(again))
    page = b.send('/identity/groups/create', name='choir', description='')
    c.ok('a group', 'choir' in rows(b.page('/identity/groups/')), told(page))
    b.send('/identity/users/%s/update/' % made, name='gerda', email='g@example.org', description='sings')
    shown = a.get('/users/' + made, admin).body['user']
    c.equal('the user is changed', (shown['email'], shown['description']), ('g@example.org', 'sings'))
    listed = b.page('/identity/users/')
    off = b.session.post(listed.url, headers={'Referer': listed.url}, timeout=60, data={
        'csrfmiddlewaretoken': Form(listed).fields['csrfmiddlewaretoken'], 'action': 'users__toggle__' + made})
    c.equal('disabled', told(off), ['Success: Disabled User: gerda'])
    c.status('gerda logs in no more', a.login_answer(('gerda', 'default'), PW), 401)
    c.equal('whom users come from', rows(b.page('/identity/identity_providers/')), ['campus'])
    listed = b.page('/identity/mappings/').text
    c.equal('by which rules', re.findall(r'<tr[^>]* id="idp_mappings__row__(\w+)"', listed), ['campus'])
    b.send('/identity/identity_providers/register/', id='elsewhere', remote_ids='https://a.example, https://b.example',
           description='', domain_id='', enabled='on')
    made = a.get('/OS-FEDERATION/identity_providers/elsewhere', admin).want(200).body['identity_provider']
    c.equal('another provider', sorted(made['remote_ids']), ['https://a.example', 'https://b.example'])


def provider(cloud):
    """Who comes from the provider lets a program act for them, and ends that."""
    c = cloud.c
    b = Browser(cloud)
    page = b.send('/auth/login/', auth_type='campus')
    c.ok('at the provider', page.url.startswith(cloud.provider.root + '/login/'), page.url)
    form = openid_connect.Page(b.get(b.way_back(page)))
    c.equal('back with a form for Horizon', (form.action, list(form.fields)), (cloud.dashboard.url, ['token']))
    b.session.post(form.action, data=form.fields, timeout=60)
    page = b.page('/identity/')
    c.equal('ann, on her project', rows(page), ['lab'])
    c.ok('by her name', re.search(r'<span class="user-name">\s*ann', page.text), page.url)
    made = b.send('/identity/application_credentials/create/', name='nightly', roles=['reader'], unrestricted='')
    file = b.page('/identity/application_credentials/download_clouds_yaml/').text
    [secret] = re.findall(r'application_credential_secret: "(.*)"', file)
    of = Form(made).fields['app_cred_id']

    def act():
        plugin = ka_identity.V3ApplicationCredential(
            cloud.v.url, application_credential_id=of, application_credential_secret=secret)
        return plugin.get_access(ka_session.Session())

    access = act()
    c.equal('a program acts as ann', (access.username, access.project_id, access.role_names),
            ('ann', cloud.project, ['reader']))
    listed = b.page('/identity/application_credentials/')
    c.equal('she sees it', rows(listed), ['nightly'])
    b.session.post(listed.url, headers={'Referer': listed.url}, timeout=60, data={
        'csrfmiddlewaretoken': Form(listed).fields['csrfmiddlewaretoken'],
        'action': 'application_credentials__delete__' + of})
    c.equal('and ends it', rows(b.page('/identity/application_credentials/')), [])
    c.status('at once', cloud.a.get('/auth/projects', access.auth_token), 401)
    c.raises('for good', act, ka.Unauthorized)


def strangers(cloud):
    """Who is in no group of hers, and a Horizon that is reached by another name than the trusted one."""
    c = cloud.c
    b = Browser(cloud)
    form = openid_connect.Page(b.get(b.way_back(b.send('/auth/login/', auth_type='campus'), 'bob')))
    after = b.session.post(form.action, data=form.fields, timeout=60)
    is_refused = '/auth/login/' in after.url and 'not authorized for any projects' in after.text
    c.ok('no project, no login', is_refused, after.url)
    b = Browser(cloud)
    b.root = b.root.replace('127.0.0.1', 'localhost')
    page = b.send('/auth/login/', auth_type='campus')
    c.ok('another name: 401 of ours', page.status_code == 401 and page.url.startswith(cloud.here), page.url)


PARTS = (passwords, switch, passcodes, administration, provider, strangers)


def main():
    requests.packages.urllib3.disable_warnings()
    for env, program in (('provider', 'node'), ('dashboard', 'python')):
        harness.env_bin(env, program)
    return harness.play(Cloud, PARTS)


if __name__ == '__main__':
    sys.exit(main())
