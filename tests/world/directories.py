#!/usr/bin/env python3
"""Domains whose users are in a directory: a real slapd, a Keystone 30.0.0 and Vicar beside it, on one database.

    directories.py                  all of it
    directories.py -k WORD          the parts whose titles have the word

First both are asked the same, and answer the same: lists, filters, single users and groups, logins, roles by groups,
refused writes; ids that the one made the other has. Then the days on which a directory is away, slow, wrong or another,
on Vicar alone.
"""
import concurrent.futures
import hashlib
import json
import os
import signal
import socket
import sqlite3
import sys
import time

import harness

harness.run_in('clients')

import api
import server
import sign

SUFFIX = 'dc=example,dc=org'
ROOT, ROOT_PW = 'cn=admin,' + SUFFIX, 'secret-of-the-directory'
READER, READER_PW = 'cn=reader,' + SUFFIX, 'secret-of-the-reader'
PW = 'a password of the directory'
MAX_AGE = 2           # seconds: [vicar] directory_max_age

SLAPD = '''
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {dir}/slapd.pid
TLSCertificateFile {dir}/leaf.pem
TLSCertificateKeyFile {dir}/leaf.key
database mdb
suffix "{suffix}"
rootdn "{root}"
rootpw {root_pw}
directory {dir}/db
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{reader}" read by * none
'''


class Slapd(server.Server):
    """An OpenLDAP server with plain connections, StartTLS and TLS."""
    kind = 'slapd'

    def __init__(self):
        super().__init__()
        self.tls_port = server.free_port()
        self.plain, self.tls = 'ldap://127.0.0.1:%d' % self.port, 'ldaps://127.0.0.1:%d' % self.tls_port
        self.ca = self.path('ca.pem')
        os.makedirs(self.path('db'))
        with open(self.path('slapd.conf'), 'w') as f:
            f.write(SLAPD.format(dir=self.dir, suffix=SUFFIX, root=ROOT, root_pw=ROOT_PW, reader=READER))
        self.certificates()

    def path(self, name):
        return os.path.join(self.dir, name)

    def certificates(self):
        new = ('openssl', 'req', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=vicar test', '-keyout')
        with open(self.path('leaf.ext'), 'w') as f:
            f.write('subjectAltName=IP:127.0.0.1\n')
        self.run(*new, self.path('ca.key'), '-x509', '-days', '2', '-out', self.ca)
        self.run(*new, self.path('leaf.key'), '-out', self.path('leaf.csr'))
        self.run('openssl', 'x509', '-req', '-in', self.path('leaf.csr'), '-CA', self.ca, '-CAkey', self.path('ca.key'),
                 '-days', '2', '-CAcreateserial', '-extfile', self.path('leaf.ext'), '-out', self.path('leaf.pem'))
        self.run(*new, self.path('other.key'), '-x509', '-days', '2', '-out', self.path('other.pem'))

    def command(self):
        return (['slapd', '-f', self.path('slapd.conf'), '-h', self.plain + ' ' + self.tls, '-d', '0'], {})

    def ready(self):
        return server.answers(self.port) and server.answers(self.tls_port)

    def change(self, ldif, tool='ldapmodify'):
        self.run(tool, '-x', '-H', self.plain, '-D', ROOT, '-w', ROOT_PW, input=ldif)

    def add(self, *entries):
        self.change('\n\n'.join(entries) + '\n', 'ldapadd')

    def remove(self, dn):
        self.run('ldapdelete', '-x', '-H', self.plain, '-D', ROOT, '-w', ROOT_PW, dn)

    def set(self, dn, attribute, *values):
        lines = ['dn: ' + dn, 'changetype: modify', 'replace: ' + attribute]
        self.change('\n'.join(lines + ['%s: %s' % (attribute, v) for v in values]) + '\n')

    def signal(self, number):
        os.killpg(self.process.pid, number)


def entry(dn, classes, **values):
    lines = ['dn: ' + dn] + ['objectClass: ' + c for c in classes.split()]
    for name, given in values.items():
        for value in given if isinstance(given, (list, tuple)) else [given]:
            lines.append('%s: %s' % (name, value))
    return '\n'.join(lines)


def unit(name):
    return entry('ou=%s,%s' % (name, SUFFIX), 'organizationalUnit', ou=name)


def dn(uid, tree):
    return 'uid=%s,ou=%s,%s' % (uid, tree, SUFFIX)


def person(uid, tree, **more):
    values = {'uid': uid, 'cn': uid.title(), 'sn': uid.title(), 'userPassword': PW, 'mail': uid + '@example.org'}
    return entry(dn(uid, tree), 'inetOrgPerson', **dict(values, **more))


def group(cn, tree, members, **more):
    return entry('cn=%s,ou=%s,%s' % (cn, tree, SUFFIX), 'groupOfNames', cn=cn, member=members, **more)


def fill(slapd):
    units = ['People', 'Groups', 'Masked', 'Staff', 'Emulated', 'Inverted']
    slapd.add(
        entry(SUFFIX, 'dcObject organization', dc='example', o='Example'),
        entry(READER, 'simpleSecurityObject organizationalRole', cn='reader', userPassword=READER_PW),
        *[unit(name) for name in units],
        person('alice', 'People', employeeType='TRUE', description='first of all'),
        person('bob', 'People', employeeType='FALSE'),
        person('carol', 'People'),
        person('dave', 'People', employeeType='true'),
        person('jürgen', 'People', cn='Jürgen Groß', mail='juergen@example.org'),
        entry(dn('noname', 'People'), 'account simpleSecurityObject', uid='noname', userPassword=PW),
        group('team', 'Groups', [dn('alice', 'People'), 'UID=Carol, OU=people,' + SUFFIX, 'uid=nobody,' + SUFFIX],
              description='those who do it'),
        group('ops', 'Groups', [dn('alice', 'People')]),
        group('empty', 'Groups', ['uid=nobody,' + SUFFIX]),
        # One level further down, and with numbers for flags.
        entry('ou=Inner,ou=Masked,' + SUFFIX, 'organizationalUnit', ou='Inner'),
        *[person('m%d' % n, 'Masked', employeeNumber='512' if n % 2 else '514') for n in range(5)],
        entry('uid=deep,ou=Inner,ou=Masked,' + SUFFIX, 'inetOrgPerson', uid='deep', cn='Deep', sn='D', userPassword=PW),
        person('ghost', 'Masked', title='hidden'),
        entry('cn=numbers,ou=Staff,' + SUFFIX, 'posixGroup', cn='numbers', gidNumber='7',
              memberUid=['m1', 'deep', 'ghost']),
        person('on', 'Emulated'), person('off', 'Emulated'),
        group('enabled_users', 'Emulated', [dn('on', 'Emulated')]),
        person('locked', 'Inverted', carLicense='TRUE'), person('open', 'Inverted', carLicense='FALSE'),
        person('unsaid', 'Inverted'),
    )


def files(slapd):
    """The options of each domain."""
    common = {'url': slapd.plain, 'suffix': SUFFIX, 'user': READER, 'password': READER_PW, 'user_id_attribute': 'uid',
              'user_name_attribute': 'uid', 'group_id_attribute': 'cn', 'group_name_attribute': 'cn'}
    people = dict(common, user_tree_dn='ou=People,' + SUFFIX, group_tree_dn='ou=Groups,' + SUFFIX,
                  user_enabled_attribute='employeeType')
    return {
        'People': people,
        'Masked': dict(common, user_tree_dn='ou=Masked,' + SUFFIX, query_scope='sub', user_name_attribute='cn',
                       page_size='2', user_filter='(!(title=hidden))', user_enabled_attribute='employeeNumber',
                       user_enabled_mask='2',
                       user_enabled_default='512', use_tls='true', tls_cacertfile=slapd.ca,
                       group_tree_dn='ou=Staff,' + SUFFIX, group_objectclass='posixGroup',
                       group_member_attribute='memberUid', group_members_are_ids='true'),
        'Emulated': dict(common, url=slapd.tls, tls_cacertfile=slapd.ca, user_tree_dn='ou=Emulated,' + SUFFIX,
                         user_enabled_emulation='true', group_tree_dn='ou=Nowhere,' + SUFFIX),
        'Inverted': dict(common, url='ldap://127.0.0.1:1,' + slapd.plain, user_tree_dn='ou=Inverted,' + SUFFIX,
                         user_enabled_attribute='carLicense', user_enabled_invert='true', user_enabled_default='False',
                         user_attribute_ignore='email,description'),
    }


class Keystone(server.Keystone):
    """With python-ldap."""
    env = 'ldap'

    def command(self):
        words, more = super().command()
        old, new = os.path.join(harness.CACHE, 'keystone'), os.path.join(harness.CACHE, 'ldap')
        return [word.replace(old + '/', new + '/') if word != old else new for word in words], more


class Cloud:
    """Everything, with what is in it."""
    directory, fill, files = Slapd, staticmethod(fill), staticmethod(files)

    def __init__(self, checks, stack):
        self.c, self.slapd = checks, stack.enter_context(self.directory())
        slapd = self.slapd
        self.fill(slapd)
        self.domains_dir = slapd.path('domains')
        os.makedirs(self.domains_dir)
        self.k = Keystone(settings={
            'identity': {'domain_specific_drivers_enabled': 'true', 'domain_config_dir': self.domains_dir},
            'vicar': {'directory_max_age': str(MAX_AGE), 'trusted_proxies': '127.0.0.1', 'assertion_headers': 'OIDC-',
                      'remote_user_header': 'X-User', 'remote_domain_header': 'X-Domain'},
            'auth': {'external': 'Domain'},
        })
        stack.callback(self.k.stop)
        self.k.start()
        ka = api.Api(self.k.url)
        admin = ka.admin(self.k.password)
        self.domains = {}
        for name, options in self.files(slapd).items():
            self.domains[name] = ka.make(admin, 'domain', name=name)
            self.file(name, options)
        # A Keystone looks for the domains of the files when it starts.
        self.k.halt()
        self.k.start()
        self.v = server.Vicar(config=self.k.config, store=self.k.store)
        stack.callback(self.v.stop)
        self.v.start()
        self.ka, self.va = ka, api.Api(self.v.url)
        self.renew()

    def file(self, name, options, driver='ldap'):
        path = os.path.join(self.domains_dir, 'keystone.%s.conf' % name)
        server.write_ini(path, {'identity': {'driver': driver}, 'ldap': options})

    def renew(self):
        self.admin = self.va.admin(self.v.password)

    def both(self):
        return [('Keystone', self.ka), ('Vicar', self.va)]

    def restart(self):
        self.v.halt()
        self.v.start()

    def user(self, name, domain='People'):
        found = self.va.get('/users?domain_id=%s&name=%s' % (self.domains[domain], name), self.admin).want(200)
        return found.body['users'][0]['id']

    def same(self, what, path, token=None):
        """Both answer this alike."""
        answers = [a.get(path, token or self.admin) for _, a in self.both()]
        got = [(a.status, normal(a.body) if a.status == 200 else None) for a in answers]
        shown = 'Keystone %r\n      Vicar    %r' % tuple(got)
        self.c.ok('%s: the same (%s)' % (what, got[0][0]), got[0] == got[1], shown)
        return got[1][1]


def normal(body):
    """Without hosts and times, and lists in one order."""
    if isinstance(body, dict):
        gone = ('links', 'audit_ids', 'expires_at', 'issued_at', 'catalog')
        # Every group has a description here: docs/compatibility.md.
        return {k: normal(v) for k, v in body.items() if k not in gone and (k, v) != ('description', '')}
    if isinstance(body, list):
        return sorted((normal(each) for each in body), key=lambda each: json.dumps(each, sort_keys=True))
    return body


def lists(cloud):
    c = cloud.c
    for name, domain in cloud.domains.items():
        # Half of the ids are made here first, half there.
        order = cloud.both() if name in ('People', 'Emulated') else cloud.both()[::-1]
        for _, a in order:
            a.get('/users?domain_id=' + domain, cloud.admin).want(200)
            a.get('/groups?domain_id=' + domain, cloud.admin).want(200)
        users = cloud.same('users of ' + name, '/users?domain_id=' + domain)['users']
        groups = cloud.same('groups of ' + name, '/groups?domain_id=' + domain)['groups']
        c.ok('%s has users' % name, len(users) >= 2)
        for user in users:
            cloud.same('user ' + user['name'], '/users/' + user['id'])
            cloud.same('groups of ' + user['name'], '/users/%s/groups' % user['id'])
        for each in groups:
            cloud.same('group ' + each['name'], '/groups/' + each['id'])
            members = cloud.same('members of ' + each['name'], '/groups/%s/users' % each['id'])['users']
            for user in users:
                paths = '/groups/%s/users/%s' % (each['id'], user['id'])
                got = [a.call('HEAD', paths, cloud.admin).status for _, a in cloud.both()]
                want = 204 if any(m['id'] == user['id'] for m in members) else 404
                # A Keystone that is asked for one member minds the case of letters: docs/compatibility.md.
                theirs = 404 if (user['name'], each['name']) == ('carol', 'team') else want
                c.equal('%s in %s' % (user['name'], each['name']), got, [theirs, want])
    people = cloud.domains['People']
    for query in ('name=alice', 'name=nobody', 'name=*', 'enabled=true', 'enabled=false', 'name__contains=li',
                  'name=alice)(uid=*', 'name__startswith=a'):
        cloud.same('users by ' + query, '/users?domain_id=%s&%s' % (people, query))
    for query in ('name=team', 'name=nobody', 'name=*'):
        cloud.same('groups by ' + query, '/groups?domain_id=%s&%s' % (people, query))
    cloud.same('nobody', '/users/' + '0' * 64)
    cloud.same('no group', '/groups/' + '0' * 64)


LOGINS = [
    ('alice', 'People', PW, 201), ('alice', 'People', 'wrong', 401), ('alice', 'People', '', 401),
    ('ALICE', 'People', PW, 201), ('bob', 'People', PW, 401), ('carol', 'People', PW, 201),
    ('dave', 'People', PW, 201), ('jürgen', 'People', PW, 201), ('nobody', 'People', PW, 401),
    ('*', 'People', PW, 401), ('alic*', 'People', PW, 401),
    ('alice)(uid=*', 'People', PW, 401), ('*)(uid=*))(|(uid=*', 'People', PW, 401), ('\\61lice', 'People', PW, 401),
    ('al\\ice', 'People', PW, 401), ('M1', 'Masked', PW, 201), ('M2', 'Masked', PW, 401), ('Deep', 'Masked', PW, 201),
    ('Ghost', 'Masked', PW, 401), ('on', 'Emulated', PW, 201), ('off', 'Emulated', PW, 401),
    ('open', 'Inverted', PW, 201), ('locked', 'Inverted', PW, 401), ('unsaid', 'Inverted', PW, 201),
    ('noname', 'People', PW, 401),
]


def logins(cloud):
    c = cloud.c
    for name, domain, password, want in LOGINS:
        answers = [a.login_answer((name, cloud.domains[domain]), password) for _, a in cloud.both()]
        c.equal('%s of %s with %r' % (name, domain, password), [a.status for a in answers], [want, want])
        if want == 201:
            bodies = [normal(a.body) for a in answers]
            c.equal('the tokens say the same', bodies[1], bodies[0])
            by_id = [a.login_answer(answers[0].body['token']['user']['id'], password).status for _, a in cloud.both()]
            c.equal('and by id', by_id, [201, 201])
    by_name = {'name': 'alice', 'domain': {'name': 'People'}, 'password': PW}
    body = {'auth': {'identity': {'methods': ['password'], 'password': {'user': by_name}}}}
    got = [a.post('/auth/tokens', body=body).status for _, a in cloud.both()]
    c.equal('by the name of the domain', got, [201, 201])


def roles(cloud):
    c, va, admin = cloud.c, cloud.va, cloud.admin
    alice, carol = cloud.user('alice'), cloud.user('carol')
    team = va.get('/groups?domain_id=%s&name=team' % cloud.domains['People'], admin).body['groups'][0]['id']
    project = va.make(admin, 'project', name='directory', domain_id='default')
    ids = va.role_ids(admin)
    va.grant(admin, ids['member'], alice, project)
    va.put('/projects/%s/groups/%s/roles/%s' % (project, team, ids['reader']), admin).want(204)
    for name, want in (('alice', ['member', 'reader']), ('carol', ['reader'])):
        for label, a in cloud.both():
            token = a.login((name, cloud.domains['People']), PW, api.project(project))
            c.equal('%s holds, by %s' % (name, label), token.roles, want)
            for other, b in cloud.both():
                c.status('%s takes it' % other, b.validate(cloud.admin, token), 200)
    for path in ('/role_assignments?effective&user.id=' + alice, '/role_assignments?group.id=' + team,
                 '/role_assignments?effective&scope.project.id=' + project):
        cloud.same('assignments ' + path, path)
    cloud.project, cloud.alice, cloud.carol, cloud.team = project, alice, carol, team


def writes(cloud):
    c, people = cloud.c, cloud.domains['People']
    calls = [
        ('POST', '/users', {'user': {'name': 'new', 'domain_id': people}}),
        ('PATCH', '/users/' + cloud.alice, {'user': {'description': 'x'}}),
        ('PATCH', '/users/' + cloud.alice, {'user': {'enabled': False}}),
        ('DELETE', '/users/' + cloud.alice, None),
        ('POST', '/groups', {'group': {'name': 'new', 'domain_id': people}}),
        ('PATCH', '/groups/' + cloud.team, {'group': {'description': 'x'}}),
        ('DELETE', '/groups/' + cloud.team, None),
        ('PUT', '/groups/%s/users/%s' % (cloud.team, cloud.alice), None),
        ('DELETE', '/groups/%s/users/%s' % (cloud.team, cloud.alice), None),
        ('POST', '/users/%s/password' % cloud.alice, {'user': {'original_password': PW, 'password': 'another'}}),
    ]
    for method, path, body in calls:
        token = cloud.admin if 'password' not in path else None
        got = [a.call(method, path, token, body).status for _, a in cloud.both()]
        shown = path.replace(cloud.alice, 'alice').replace(cloud.team, 'team')
        c.equal('%s %s is refused' % (method, shown), got, [403, 403])
    wrong = {'user': {'original_password': 'wrong', 'password': 'another'}}
    got = [a.post('/users/%s/password' % cloud.alice, None, wrong).status for _, a in cloud.both()]
    c.equal('with another password', got, [401, 401])


def rows(cloud):
    """What a Keystone reads is as a Keystone writes it."""
    db = sqlite3.connect(cloud.k.store.database)
    count = db.execute('SELECT COUNT(*) FROM id_mapping').fetchone()[0]
    made = db.execute('SELECT public_id, domain_id, local_id, entity_type FROM id_mapping').fetchall()
    for public, domain, local, kind in made:
        want = hashlib.sha256((domain + kind + local).encode()).hexdigest()
        cloud.c.equal('the id of ' + local, public, want)
    for domain in cloud.domains.values():
        for _, a in cloud.both():
            a.get('/users?domain_id=' + domain, cloud.admin).want(200)
    cloud.c.equal('nobody has two ids', db.execute('SELECT COUNT(*) FROM id_mapping').fetchone()[0], count)


def delegate(cloud):
    """Alice of the directory delegates to carol of it, and has credentials."""
    va, people = cloud.va, cloud.domains['People']
    alice = va.login(('alice', people), PW, api.project(cloud.project))
    trust = va.trust(alice, cloud.alice, cloud.carol, cloud.project, ['member'])
    body = {'application_credential': {'name': 'of alice', 'roles': [{'name': 'reader'}]}}
    made = va.post('/users/%s/application_credentials' % cloud.alice, alice, body).want(201)
    made = made.body['application_credential']
    key = va.post('/users/%s/credentials/OS-EC2' % cloud.alice, alice, {'tenant_id': cloud.project}).want(201)
    return trust['id'], made, key.body['credential']


def by_trust(cloud, trust, password=PW):
    carol = cloud.va.login_answer(('carol', cloud.domains['People']), password)
    if carol.status != 201:
        return carol.status
    return cloud.va.exchange_answer(api.Token(carol), api.trust(trust)).status


def by_credential(cloud, made):
    auth = {'identity': {'methods': ['application_credential'],
                         'application_credential': {'id': made['id'], 'secret': made['secret']}}}
    return cloud.va.post('/auth/tokens', body={'auth': auth}).status


def by_key(cloud, key):
    signed = sign.ec2_v2(key['access'], key['secret'])
    return cloud.va.post('/ec2tokens', cloud.va.admin(cloud.v.password), signed).status


def delegation(cloud):
    c = cloud.c
    trust, made, key = delegate(cloud)
    c.equal('a trust', by_trust(cloud, trust), 201)
    c.equal('an application credential', by_credential(cloud, made), 201)
    c.equal('a keypair', by_key(cloud, key), 200)
    cloud.trust, cloud.made, cloud.key = trust, made, key


def leaves(cloud):
    """A user leaves the directory, and comes back."""
    c, slapd, people = cloud.c, cloud.slapd, cloud.domains['People']
    token = cloud.va.login(('alice', people), PW, api.project(cloud.project))
    entry_of = person('alice', 'People', employeeType='TRUE', description='first of all')
    slapd.remove(dn('alice', 'People'))
    c.status('no login at once', cloud.va.login_answer(('alice', people), PW), 401)
    time.sleep(MAX_AGE + 0.5)
    c.status('no token any more', cloud.va.validate(cloud.admin, token), 404)
    c.equal('no trust', by_trust(cloud, cloud.trust) in (401, 403, 404), True)
    c.equal('no application credential', by_credential(cloud, cloud.made), 401)
    c.equal('no keypair', by_key(cloud, cloud.key), 401)
    c.status('nobody to look at', cloud.va.get('/users/' + cloud.alice, cloud.admin), 404)
    shown = cloud.va.get('/users?domain_id=' + people, cloud.admin).want(200).body['users']
    c.ok('in no list', all(user['id'] != cloud.alice for user in shown))
    slapd.add(entry_of)
    time.sleep(MAX_AGE + 0.5)
    c.status('back: a login', cloud.va.login_answer(('alice', people), PW), 201)
    c.equal('with the same id', cloud.user('alice'), cloud.alice)
    c.status('the old token is dead for good', cloud.va.validate(cloud.admin, token), 404)
    c.equal('the trust', by_trust(cloud, cloud.trust), 201)
    c.equal('the application credential', by_credential(cloud, cloud.made), 201)
    c.equal('the keypair', by_key(cloud, cloud.key), 200)


def groups_change(cloud):
    c, slapd, people = cloud.c, cloud.slapd, cloud.domains['People']
    scope = api.project(cloud.project)
    token = cloud.va.login(('carol', people), PW, scope)
    at = 'cn=team,ou=Groups,' + SUFFIX
    slapd.set(at, 'member', dn('alice', 'People'))
    time.sleep(MAX_AGE + 0.5)
    c.status('out of the group, the token is dead', cloud.va.validate(cloud.admin, token), 404)
    c.status('and no other is to be had', cloud.va.login_answer(('carol', people), PW, scope), 401)
    slapd.set(at, 'member', dn('alice', 'People'), dn('carol', 'People'))
    c.status('in again, at the next login', cloud.va.login_answer(('carol', people), PW, scope), 201)


def disabled(cloud):
    c, slapd, people = cloud.c, cloud.slapd, cloud.domains['People']
    token = cloud.va.login(('dave', people), PW)
    slapd.set(dn('dave', 'People'), 'employeeType', 'FALSE')
    time.sleep(MAX_AGE + 0.5)
    c.status('disabled: the token is dead', cloud.va.validate(cloud.admin, token), 404)
    c.status('and there is no login', cloud.va.login_answer(('dave', people), PW), 401)
    slapd.set(dn('dave', 'People'), 'employeeType', 'TRUE')
    c.status('enabled again', cloud.va.login_answer(('dave', people), PW), 201)


def renamed(cloud):
    c, slapd, people = cloud.c, cloud.slapd, cloud.domains['People']
    before = cloud.user('dave')
    token = cloud.va.login(('dave', people), PW)
    slapd.change('dn: %s\nchangetype: modrdn\nnewrdn: uid=david\ndeleteoldrdn: 1\n' % dn('dave', 'People'))
    time.sleep(MAX_AGE + 0.5)
    c.status('the old name is nobody', cloud.va.login_answer(('dave', people), PW), 401)
    c.status('the token of the old id is dead', cloud.va.validate(cloud.admin, token), 404)
    c.status('the new name logs in', cloud.va.login_answer(('david', people), PW), 201)
    c.ok('with another id', cloud.user('david') != before)
    cloud.same('users after a change of a name', '/users?domain_id=' + people)


def named(cloud):
    """Users of the directory whom a front server names, or the mapping of an identity provider."""
    c, va, slapd, admin, people = cloud.c, cloud.va, cloud.slapd, cloud.admin, cloud.domains['People']
    at = '/OS-FEDERATION/identity_providers/named'
    domain = va.make(admin, 'domain', name='named')

    def mapping(call, *local):
        rules = [{'local': list(local), 'remote': [{'type': 'OIDC-sub'}]}]
        return call('/OS-FEDERATION/mappings/named', admin, {'mapping': {'rules': rules}})

    def by_mapping(name):
        return va.get(at + '/protocols/mapped/auth', headers={'OIDC-sub': name})

    def by_server(name):
        body = {'auth': {'identity': {'methods': ['external'], 'external': {}}}}
        return va.post('/auth/tokens', body=body, headers={'X-User': name, 'X-Domain': 'People'})

    mapping(va.put, {'user': {'name': '{0}', 'type': 'local', 'domain': {'id': people}}}).want(201)
    va.put(at, admin, {'identity_provider': {'enabled': True, 'domain_id': domain}}).want(201)
    va.put(at + '/protocols/mapped', admin, {'protocol': {'mapping_id': 'named'}}).want(201)
    for how, call, name in (('a mapping', by_mapping, 'newcomer'), ('a front server', by_server, 'latecomer')):
        c.status('%s names nobody' % how, call(name), 401)
        slapd.add(person(name, 'People', employeeType='TRUE'))
        # No list and no login has shown them.
        token = call(name)
        c.status('%s names somebody who is new' % how, token, 201)
        c.equal('with the id of the directory', token.body['token']['user']['id'],
                hashlib.sha256((people + 'user' + name).encode()).hexdigest())
        slapd.set(dn(name, 'People'), 'employeeType', 'FALSE')
        c.status('not when they are disabled', call(name), 401)
        slapd.remove(dn(name, 'People'))
        c.status('not when they are gone', call(name), 401)
        time.sleep(MAX_AGE + 0.5)
        c.status('and the token is dead', va.validate(admin, token.headers['X-Subject-Token']), 404)
    mapping(va.patch, {'user': {'name': '{0}'}}, {'group': {'name': 'team', 'domain': {'id': people}}}).want(200)
    c.status('a mapping says no group of the directory', by_mapping('visitor'), 403)
    # A Keystone on this database has put somebody into one all the same, and then it is gone.
    mapping(va.patch, {'user': {'name': '{0}'}}).want(200)
    visitor = by_mapping('visitor').want(201).body['token']['user']['id']
    slapd.add(group('brief', 'Groups', ['uid=nobody,' + SUFFIX]))
    time.sleep(MAX_AGE + 0.5)
    shown = va.get('/groups?domain_id=' + people, admin).want(200).body['groups']
    brief = [each['id'] for each in shown if each['name'] == 'brief']
    db = sqlite3.connect(cloud.k.store.database, timeout=30)
    with db:
        db.execute("INSERT INTO expiring_user_group_membership VALUES (?, ?, 'named', '2026-01-01 00:00:00')",
                   (visitor, *brief))
    db.close()
    slapd.remove('cn=brief,ou=Groups,' + SUFFIX)
    time.sleep(MAX_AGE + 0.5)
    answer = va.get('/groups?domain_id=' + people, admin)
    c.status('groups without it', answer, 200)
    c.ok('it is gone', answer.status == 200 and all(each['name'] != 'brief' for each in answer.body['groups']))


def away(cloud):
    """The directory is away, and comes back."""
    c, slapd, people = cloud.c, cloud.slapd, cloud.domains['People']
    token = cloud.va.login(('alice', people), PW, api.project(cloud.project))
    admin = cloud.va.admin(cloud.v.password)
    slapd.halt()
    time.sleep(MAX_AGE + 0.5)

    def unavailable(what, answer):
        c.status(what, answer, 503)
        c.ok('it says when to come back', answer.headers.get('Retry-After'))
    unavailable('away: a login', cloud.va.login_answer(('alice', people), PW))
    unavailable('a login by id', cloud.va.login_answer(cloud.alice, PW))
    unavailable('a validation', cloud.va.validate(admin, token))
    unavailable('a call with the token', cloud.va.get('/users/' + cloud.alice, token))
    unavailable('a list', cloud.va.get('/users?domain_id=' + people, admin))
    unavailable('the user', cloud.va.get('/users/' + cloud.alice, admin))
    c.equal('the application credential', by_credential(cloud, cloud.made), 503)
    c.equal('the keypair', by_key(cloud, cloud.key), 503)
    local = cloud.va.get('/OS-TRUST/trusts/' + cloud.trust, admin)
    c.ok('the trust is not ended', local.status == 200 and not local.body['trust'].get('deleted_at'), local.text)
    c.status('others are served', cloud.va.get('/users?domain_id=default', admin), 200)
    slapd.start()
    # Whoever asks all the time does not keep it away.
    until = time.monotonic() + 10
    while cloud.va.validate(admin, token).status == 503 and time.monotonic() < until:
        time.sleep(0.05)
    c.status('back: a login', cloud.va.login_answer(('alice', people), PW), 201)
    c.status('the token lives', cloud.va.validate(admin, token), 200)
    c.equal('the trust lives', by_trust(cloud, cloud.trust), 201)
    c.equal('the application credential lives', by_credential(cloud, cloud.made), 201)


def slow(cloud):
    c, slapd, people = cloud.c, cloud.slapd, cloud.domains['People']
    slapd.signal(signal.SIGSTOP)
    try:
        answer = cloud.va.login_answer(('alice', people), PW)
        c.status('a directory that does not answer', answer, 503)
        c.status('others are served meanwhile', cloud.va.get('/users?domain_id=default', cloud.admin), 200)
    finally:
        slapd.signal(signal.SIGCONT)
    time.sleep(1.5)
    c.status('it answers again', cloud.va.login_answer(('alice', people), PW), 201)


def wrong(cloud):
    """What is configured does not fit."""
    c, slapd, people = cloud.c, cloud.slapd, cloud.domains['People']
    right = files(slapd)['People']
    for what, options in (
        ('another password of the reader', {'password': 'wrong'}),
        ('a reader who is not there', {'user': 'cn=nobody,' + SUFFIX}),
        ('a tree that is not there', {'user_tree_dn': 'ou=Nowhere,' + SUFFIX}),
        ('another authority', {'url': slapd.tls, 'tls_cacertfile': slapd.path('other.pem')}),
        ('the authorities of the system', {'url': slapd.tls}),
        ('another name', {'url': slapd.tls.replace('127.0.0.1', 'localhost'), 'tls_cacertfile': slapd.ca}),
        ('TLS on a plain port', {'url': slapd.plain.replace('ldap:', 'ldaps:'), 'tls_cacertfile': slapd.ca}),
    ):
        cloud.file('People', dict(right, **options))
        cloud.restart()
        c.status(what + ': nobody is let in', cloud.va.login_answer(('alice', people), PW), 503)
    # A filter that shows nobody makes nobody gone.
    cloud.file('People', right)
    cloud.restart()
    token = cloud.va.login(('alice', people), PW)
    cloud.file('People', dict(right, user_filter='(title=none)'))
    cloud.restart()
    time.sleep(MAX_AGE + 0.5)
    c.status('a filter that shows nobody: no login', cloud.va.login_answer(('alice', people), PW), 401)
    c.status('a filter that shows nobody: a token', cloud.va.validate(cloud.admin, token), 503)
    c.status('a filter that shows nobody: no list', cloud.va.get('/users?domain_id=' + people, cloud.admin), 503)
    cloud.file('People', right)
    cloud.restart()
    c.status('as before', cloud.va.login_answer(('alice', people), PW), 201)
    c.status('the token, too', cloud.va.validate(cloud.admin, token), 200)
    log = open(cloud.v.log, errors='replace').read()
    for secret in (PW, READER_PW, ROOT_PW):
        c.ok('nothing secret in the log', secret not in log)


def referral(cloud):
    c, slapd, people = cloud.c, cloud.slapd, cloud.domains['People']
    elsewhere = 'ldap://127.0.0.1:1/ou=Elsewhere,dc=other'
    slapd.change('dn: ou=away,ou=People,%s\nchangetype: add\nobjectClass: referral\nobjectClass: extensibleObject\n'
                 'ou: away\nref: %s\n' % (SUFFIX, elsewhere), 'ldapmodify')
    c.status('a referral among the users is not followed', cloud.va.login_answer(('alice', people), PW), 201)
    cloud.same('users beside a referral', '/users?domain_id=' + people)


def own_server():
    return server.Vicar(settings={
        'identity': {'domain_specific_drivers_enabled': 'true', 'domain_configurations_from_database': 'true'},
        'vicar': {'directory_max_age': str(MAX_AGE)}})


def configured(a, admin, name, options):
    domain = a.make(admin, 'domain', name=name)
    config = {'identity': {'driver': 'ldap'}, 'ldap': options}
    a.put('/domains/%s/config' % domain, admin, {'config': config}).want(201)
    return domain


def stored(cloud):
    """The same by what is stored for a domain, on Vicar with a database of its own."""
    c, slapd = cloud.c, cloud.slapd
    with own_server() as v:
        a = api.Api(v.url)
        admin = a.admin(v.password)
        domain = a.make(admin, 'domain', name='Stored')
        c.status('before', a.login_answer(('alice', domain), PW), 401)
        config = {'identity': {'driver': 'ldap'}, 'ldap': files(slapd)['People']}
        a.put('/domains/%s/config' % domain, admin, {'config': config}).want(201)
        c.status('at once', a.login_answer(('alice', domain), PW), 201)
        token = a.login(('alice', domain), PW)
        c.equal('all users', len(a.get('/users?domain_id=' + domain, admin).want(200).body['users']), 5)
        a.patch('/domains/%s/config/ldap' % domain, admin, {'config': {'ldap': {'url': 'ldap://127.0.0.1:1'}}}).want(200)
        c.status('another server: at once', a.login_answer(('alice', domain), PW), 503)
        a.delete('/domains/%s/config' % domain, admin).want(204)
        c.status('without one', a.login_answer(('alice', domain), PW), 401)
        time.sleep(MAX_AGE + 0.5)
        c.status('the token', a.validate(admin, token), 404)
        c.status('the user can be deleted', a.delete('/users/' + token.user, admin), 204)


def twins(cloud):
    """Two entries have one id, on Vicar alone: a Keystone takes the first for both."""
    c, slapd = cloud.c, cloud.slapd
    with own_server() as v:
        a = api.Api(v.url)
        admin = a.admin(v.password)
        options = dict(files(slapd)['People'], user_id_attribute='sn', user_name_attribute='cn')
        domain = configured(a, admin, 'Twins', options)
        def twin(uid):
            slapd.add(person(uid, 'People', sn='Twin', employeeType='TRUE'))
        def logins():
            return [a.login_answer((name, domain), PW).status for name in ('Twin1', 'Twin2')]
        def names():
            return {u['name'] for u in a.get('/users?domain_id=' + domain, admin).want(200).body['users']}
        twin('twin1')
        c.equal('one alone', logins(), [201, 401])
        token = a.login(('Twin1', domain), PW)
        twin('twin2')
        c.equal('of two with one id neither logs in', logins(), [401, 401])
        time.sleep(MAX_AGE + 0.5)
        shown = names()
        c.ok('others are in the list, and they are not', 'Alice' in shown and not shown & {'Twin1', 'Twin2'}, shown)
        c.status('the token of the first', a.validate(admin, token), 404)
        slapd.remove(dn('twin1', 'People'))
        c.equal('the other one alone', logins(), [401, 201])
        slapd.remove(dn('twin2', 'People'))


def silent(cloud):
    """The first of two servers takes connections, and says nothing."""
    c, slapd = cloud.c, cloud.slapd
    with own_server() as v, socket.socket() as mute:
        mute.bind(('127.0.0.1', 0))
        mute.listen(50)
        a = api.Api(v.url)
        admin = a.admin(v.password)
        url = 'ldap://127.0.0.1:%d,%s' % (mute.getsockname()[1], slapd.plain)
        domain = configured(a, admin, 'Silent', dict(files(slapd)['People'], url=url))
        c.equal('the second is asked', [a.login_answer(('alice', domain), PW).status for _ in range(2)], [201, 201])
        domain = configured(a, admin, 'Silent again', dict(files(slapd)['People'], url=url))
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            at_once = [pool.submit(a.login_answer, ('alice', domain), PW) for _ in range(4)]
        c.equal('by several at once', [done.result().status for done in at_once], [201] * 4)
        c.status('for lists, too', a.get('/users?domain_id=' + domain, admin), 200)


PARTS = [lists, logins, roles, rows, writes, delegation, leaves, groups_change, disabled, renamed, named, away, slow,
         referral, wrong, stored, twins, silent]


if __name__ == '__main__':
    # Two of them make what others need.
    sys.exit(harness.play(Cloud, PARTS, (roles, delegation)))
