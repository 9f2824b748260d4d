#!/usr/bin/env python3
"""A real Samba as a domain controller of an Active Directory, with the options of docs/ldap.md: a Keystone 30.0.0 and
Vicar beside it, on one database. It needs root, for the port of LDAP.

    active_directory.py             all of it
    active_directory.py -k WORD     the parts whose titles have the word
"""
import base64
import os
import re
import sys
import time

import harness

harness.run_in('clients')

import api
import directories
import server

PAGE = os.path.join(harness.REPO, 'docs', 'ldap.md')
SUFFIX = 'DC=example,DC=org'
ROOT, PW = 'CN=Administrator,CN=Users,' + SUFFIX, 'Secret-of-the-forest-1'
READER = 'CN=reader,OU=Services,' + SUFFIX
MANY = 1100                # more than a page has


class Samba(directories.Slapd):
    """A forest of its own. It serves what is asked here alone, LDAP, on this machine."""
    kind = 'samba'
    startup = 60

    def __init__(self):
        server.Server.__init__(self, port=389)
        self.plain, self.tls = 'ldap://127.0.0.1', 'ldaps://127.0.0.1'
        self.ca = self.path('ca.pem')
        self.certificates()
        os.chmod(self.path('leaf.key'), 0o600)
        self.forest = self.path('forest')
        self.run('samba-tool', 'domain', 'provision', '--server-role=dc', '--dns-backend=NONE', '--host-name=dc1',
                 '--host-ip=127.0.0.1', '--domain=EXAMPLE', '--realm=EXAMPLE.ORG', '--adminpass=' + PW,
                 '--targetdir=' + self.forest)

    def command(self):
        options = {
            'server services': 'ldap', 'interfaces': 'lo', 'bind interfaces only': 'yes',
            'pid directory': self.dir, 'ncalrpc dir': self.path('ncalrpc'), 'log file': self.path('samba.log'),
            'tls certfile': self.path('leaf.pem'), 'tls keyfile': self.path('leaf.key'), 'tls cafile': self.ca}
        return (['samba', '-i', '-M', 'single', '-s', os.path.join(self.forest, 'etc', 'smb.conf'),
                 *('--option=%s=%s' % option for option in options.items())], {})

    def ready(self):
        return server.answers(389) and server.answers(636)

    def change(self, ldif, tool='ldapmodify'):
        self.run(tool, '-x', '-H', self.tls, '-D', ROOT, '-w', PW, input=ldif, LDAPTLS_CACERT=self.ca)

    def remove(self, dn):
        self.run('ldapdelete', '-x', '-H', self.tls, '-D', ROOT, '-w', PW, dn, LDAPTLS_CACERT=self.ca)


def entry(dn, classes, **values):
    return directories.entry(dn + ',' + SUFFIX, classes, **values)


def person(cn, unit, name, control=512, password=PW, **more):
    lines = [entry('CN=%s,OU=%s' % (cn, unit), 'user', sAMAccountName=name, userAccountControl=control, **more)]
    if password:
        # As it wants them: in quotation marks, and in UTF-16.
        lines.append('unicodePwd:: ' + base64.b64encode(('"%s"' % password).encode('utf-16-le')).decode())
    return '\n'.join(lines)


def dn(cn, unit='People'):
    return 'CN=%s,OU=%s,%s' % (cn, unit, SUFFIX)


def group(name, *members):
    return entry('CN=%s,OU=Groups' % name, 'group', sAMAccountName=name, member=members)


def unit(name):
    return entry('OU=' + name, 'organizationalUnit')


def belong(samba, inner, outer, verb='add'):
    """Puts a group into another one, or takes it out."""
    lines = 'dn: ' + dn(outer, 'Groups'), 'changetype: modify', verb + ': member', 'member: ' + dn(inner, 'Groups')
    samba.change('\n'.join(lines) + '\n')


def fill(samba):
    samba.add(
        *[unit(name) for name in ('People', 'Inner,OU=People', 'Groups', 'Services', 'Many')],
        person('reader', 'Services', 'reader'),
        person('Alice Liddell', 'People', 'alice', mail='alice@example.org', description='first of all'),
        person('Bob', 'People', 'bob', control=514),
        person('Carol', 'Inner,OU=People', 'carol'),
        person('Dora', 'People', 'dora', pwdLastSet=0),
        person('Jürgen Groß', 'People', 'jürgen'),
        person('Eve (x)', 'People', 'eve'),
        entry('CN=PC,OU=People', 'computer', sAMAccountName='PC$', userAccountControl=4096),
        entry('CN=Somebody else,OU=People', 'contact', mail='somebody@example.com'),
        group('engineers', dn('Alice Liddell'), dn('Eve (x)')),
        group('staff', dn('engineers', 'Groups'), dn('Carol', 'Inner,OU=People')),
        group('all', dn('staff', 'Groups'), dn('Bob'), dn('PC')),
        group('empty'),
        *[person('User %d' % n, 'Many', 'user%d' % n, control=514, password=None) for n in range(MANY)],
    )
    # A circle.
    belong(samba, 'all', 'engineers')


def files(samba):
    """The options of the page, which every domain has here, and those that the test needs."""
    with open(PAGE) as f:
        [block] = re.findall(r'^```ini\n(url = ldaps://dc1.*?)^```$', f.read(), re.M | re.S)
    common = dict(line.split(' = ', 1) for line in block.splitlines())
    common |= {'url': samba.tls, 'tls_cacertfile': samba.ca, 'user': READER, 'password': PW, 'suffix': SUFFIX}
    return {
        'People': common,
        # From the top there are references to what lies elsewhere.
        'Whole': dict(common, user_tree_dn=SUFFIX, group_tree_dn=SUFFIX, user_id_attribute='sAMAccountName',
                      group_id_attribute='sAMAccountName', url=samba.plain, use_tls='true'),
        'Guid': dict(common, user_id_attribute='objectGUID', group_id_attribute='objectGUID'),
    }


class Cloud(directories.Cloud):
    directory, fill, files = Samba, staticmethod(fill), staticmethod(files)


def lists(cloud):
    c = cloud.c
    for name, domain in cloud.domains.items():
        users = cloud.same('users of ' + name, '/users?domain_id=' + domain)['users']
        groups = cloud.same('groups of ' + name, '/groups?domain_id=' + domain)['groups']
        people = [u for u in users if not u['name'].startswith('user')]
        if name != 'Whole':
            c.equal('people alone', sorted(u['name'] for u in users),
                    sorted(['alice', 'bob', 'carol', 'dora', 'eve', 'jürgen']))
        else:
            c.equal('all of many', len(users) - len(people), MANY)
        c.ok('there are groups', {'engineers', 'staff', 'all', 'empty'} <= {g['name'] for g in groups})
        for user in people:
            cloud.same('user ' + user['name'], '/users/' + user['id'])
            cloud.same('groups of ' + user['name'], '/users/%s/groups' % user['id'])
        for each in groups:
            if each['name'] in ('engineers', 'staff', 'all', 'empty'):
                cloud.same('group ' + each['name'], '/groups/' + each['id'])
                cloud.same('members of ' + each['name'], '/groups/%s/users' % each['id'])


LOGINS = [('alice', PW, 201), ('ALICE', PW, 201), ('alice', 'wrong', 401), ('alice', '', 401), ('bob', PW, 401),
          ('carol', PW, 201), ('dora', PW, 401), ('jürgen', PW, 201), ('eve', PW, 201), ('PC$', PW, 401),
          ('nobody', PW, 401), ('alice)(cn=*', PW, 401)]


def logins(cloud):
    c = cloud.c
    for domain in cloud.domains:
        for name, password, want in LOGINS:
            answers = [a.login_answer((name, cloud.domains[domain]), password) for _, a in cloud.both()]
            c.equal('%s of %s with %r' % (name, domain, password), [a.status for a in answers], [want, want])
            if want == 201:
                bodies = [directories.normal(a.body) for a in answers]
                c.equal('the tokens say the same', bodies[1], bodies[0])


def nested(cloud):
    """A role of a group reaches the members of groups in it, for as long as these are in it."""
    c, va, admin = cloud.c, cloud.va, cloud.admin
    people = cloud.domains['People']
    ids = va.role_ids(admin)
    found = va.get('/groups?domain_id=%s&name=all' % people, admin).body['groups']
    project = va.make(admin, 'project', name='forest', domain_id='default')
    va.put('/projects/%s/groups/%s/roles/%s' % (project, found[0]['id'], ids['member']), admin).want(204)

    def on(name, a=va):
        return a.login_answer((name, people), PW, api.project(project))

    for name in ('alice', 'carol', 'eve'):
        for label, a in cloud.both():
            c.status('%s is of all, by %s' % (name, label), on(name, a), 201)
    c.status('jürgen is not', on('jürgen'), 401)
    cloud.same('assignments', '/role_assignments?effective&scope.project.id=' + project)
    cloud.project, cloud.alice, cloud.carol = project, cloud.user('alice'), cloud.user('carol')
    alice = va.login(('alice', people), PW, api.project(project))
    trust = va.trust(alice, cloud.alice, cloud.carol, project, ['member'])['id']
    c.equal('alice delegates to carol', directories.by_trust(cloud, trust, PW), 201)
    belong(cloud.slapd, 'engineers', 'staff', 'delete')
    time.sleep(directories.MAX_AGE + 0.5)
    c.status('a group of hers is out of the middle one', on('alice'), 401)
    c.status('her token', va.validate(cloud.admin, alice), 404)
    c.ok('what she delegated', directories.by_trust(cloud, trust, PW) in (401, 403))
    c.status('carol is in it still', on('carol'), 201)
    belong(cloud.slapd, 'engineers', 'staff')
    time.sleep(directories.MAX_AGE + 0.5)
    c.equal('it is back, and so is the trust', directories.by_trust(cloud, trust, PW), 201)
    cloud.slapd.set(dn('Alice Liddell'), 'userAccountControl', 514)
    time.sleep(directories.MAX_AGE + 0.5)
    c.status('disabled', va.login_answer(('alice', people), PW), 401)
    c.ok('and the trust gives nothing', directories.by_trust(cloud, trust, PW) in (401, 403))
    cloud.slapd.set(dn('Alice Liddell'), 'userAccountControl', 512)
    time.sleep(directories.MAX_AGE + 0.5)
    c.equal('enabled', directories.by_trust(cloud, trust, PW), 201)
    cloud.slapd.remove(dn('Alice Liddell'))
    time.sleep(directories.MAX_AGE + 0.5)
    c.ok('she is gone', directories.by_trust(cloud, trust, PW) in (401, 403, 404))
    c.status('and is not shown', va.get('/users/' + cloud.alice, cloud.admin), 404)


PARTS = [lists, logins, nested]


if __name__ == '__main__':
    if os.geteuid():
        sys.exit('active_directory.py needs root')
    sys.exit(harness.play(Cloud, PARTS))
