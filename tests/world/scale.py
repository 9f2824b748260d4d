#!/usr/bin/env python3
"""Does what a request costs grow with what others have stored?

    scale.py [--engine sqlite postgresql mariadb] [--trusts 100000] [--rounds 25] [--only WORD...]

Two databases on each engine: one with 1,000 trusts, one with `--trusts`. Each tenth of the trusts hangs on
another; there is a user for each ten trusts, a project for each twenty, a keypair of a trust and a credential
for each ten. As many domains, global roles, roles of one domain and groups as trusts; one user is in all
groups, and all users are in one group, with as many more as make it as many as the trusts. A few more people
with a handful of trusts, keypairs and projects are the ones who ask.

Over HTTP, one request after the other, all of them in every round: a page of each list, what somebody delegated,
a validation, and the end of what nobody uses. A figure is the first quartile of the rounds: what else the machine
does counts less so. A page is good when the larger database takes no more than five times what the smaller one takes;
the end of a role that nobody has, when it takes no more than 20 ms. The exit status is 1 when one is not good.
"""
import argparse
import functools
import hashlib
import http.client
import json
import statistics
import sys
import time
import urllib.parse

import api
import stores

SMALL = 1000
TIMES = 5                        # so much longer may a request take in the larger database
ROLE_MS = 20
PW = 'a password of the people who ask'
LIMITS = (1, 100)


def name_of(kind, n):
    """An id that is spread like a random one, and the same in every run."""
    return hashlib.md5(b'%s %d' % (kind.encode(), n)).hexdigest()


def sql(*row):
    def one(x):
        if x is None or isinstance(x, bool):
            return {None: 'NULL', True: 'true', False: 'false'}[x]
        return str(x) if isinstance(x, int) else "'%s'" % x
    return '(%s)' % ', '.join(map(one, row))


class Scene:
    def __init__(self, site, trusts):
        self.site = site
        v = site.vicars[0]
        self.url = urllib.parse.urlsplit(v.url)
        self.conn = http.client.HTTPConnection(self.url.netloc, timeout=300)
        a = self.api = api.Api(v.url)
        self.admin = a.admin(v.password)
        self.roles = a.role_ids(self.admin)
        self.fill(trusts)
        self.people()

    def rows(self, into, rows):
        """Rows as the API would write them."""
        part = 400
        for first in range(0, len(rows), part):
            some = ['INSERT INTO %s VALUES %s' % (into, ', '.join(rows[first:first + part]))]
            if self.site.engine == 'mariadb':
                some.insert(0, "SET SESSION sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES')")
            self.site.change(some)

    def fill(self, trusts):
        users, projects = trusts // 10, trusts // 20
        user = [name_of('user', n) for n in range(users)]
        project = [name_of('project', n) for n in range(projects)]
        trust = [name_of('trust', n) for n in range(trusts)]
        member = self.roles['member']
        self.rows('"user" (id, extra, enabled, domain_id)',
                  [sql(id, '{}', True, 'default') for id in user])
        self.rows('local_user (user_id, domain_id, name)',
                  [sql(id, 'default', 'user-%d' % n) for n, id in enumerate(user)])
        self.rows('project (id, name, extra, description, enabled, domain_id, parent_id, is_domain)',
                  [sql(id, 'project-%d' % n, '{}', '', True, 'default', 'default', False)
                   for n, id in enumerate(project)])
        self.rows('project_tag (project_id, name)',
                  [sql(id, 'common' if n < 40 else 'tag-%d' % (n % 50)) for n, id in enumerate(project)])
        on = [project[n % projects] for n in range(users)]       # whose is where
        self.rows('assignment (type, actor_id, target_id, role_id, inherited)',
                  [sql('UserProject', id, on[n], member, False) for n, id in enumerate(user)])
        rows = []
        for n, id in enumerate(trust):
            # Each tenth hangs on the one before.
            above = trust[n - 1] if n % 10 == 9 else None
            owner = (n - 1 if above else n) % users
            rows.append(sql(id, user[owner], user[(n * 7 + 1) % users], on[owner], True, '{}',
                            0 if above else 1, above))
        self.rows('trust (id, trustor_user_id, trustee_user_id, project_id, impersonation, extra, '
                  'redelegation_count, redelegated_trust_id)', rows)
        self.rows('trust_role (trust_id, role_id)', [sql(id, member) for id in trust])
        for kind, with_trust in [('ec2-trust', True), ('totp', False)]:
            made = [(name_of(kind, n), n) for n in range(trusts // 10)]
            self.rows('credential (id, user_id, project_id, type, extra, key_hash, encrypted_blob)',
                      [sql(id, user[n * 10 % users], None, kind, '{}', 'x', 'x') for id, n in made])
            if with_trust:
                self.rows('vicar_keypair (credential_id, access, trust_id, audit_chain_id, created_at)',
                          [sql(id, id, trust[n * 10], 'x', 0) for id, n in made])
        self.names(trusts)
        if self.site.engine == 'postgresql':
            self.site.change(['ANALYZE'])         # which it does by itself after a minute

    def names(self, count):
        """Domains, roles, groups and members."""
        def ids(kind):
            return [name_of(kind, n) for n in range(count)]
        root = '<<keystone.domain.root>>'
        self.rows('project (id, name, extra, description, enabled, domain_id, is_domain)',
                  [sql(id, 'domain-%d' % n, '{}', '', True, root, True)
                   for n, id in enumerate(ids('domain'))])
        self.domain = name_of('domain', 0)
        for domain in ('<<null>>', self.domain):
            self.rows('role (id, name, extra, domain_id)',
                      [sql(id, 'role-%d' % n, '{}', domain) for n, id in enumerate(ids('role' + domain))])
        self.few = name_of('domain', 1)
        self.rows('role (id, name, extra, domain_id)',
                  [sql(name_of('few', n), 'few-%d' % n, '{}', self.few) for n in range(5)])
        groups, members = ids('group'), ids('member')
        self.rows('"group" (id, name, extra, domain_id)',
                  [sql(id, 'group-%d' % n, '{}', self.domain) for n, id in enumerate(groups)])
        self.rows('"user" (id, extra, enabled, domain_id)',
                  [sql(id, '{}', True, self.domain) for id in members])
        self.rows('local_user (user_id, domain_id, name)',
                  [sql(id, self.domain, 'member-%d' % n) for n, id in enumerate(members)])
        self.joiner, self.crowd = members[0], groups[0]
        self.rows('user_group_membership (user_id, group_id)',
                  [sql(id, self.crowd) for id in members] + [sql(self.joiner, id) for id in groups[1:]])

    def people(self):
        a, admin = self.api, self.admin
        self.project = a.make(admin, 'project', name='small', tags=['rare'])
        role = self.roles['member']

        def person(name, role):
            user = a.make(admin, 'user', name=name, password=PW)
            a.grant(admin, role, user, self.project)
            return user
        self.owner, self.trustee = person('owner', role), person('trustee', role)
        service = person('service', self.roles['service'])
        at = api.project(self.project)
        self.own = a.login(self.owner, PW, at)
        self.service = a.login(service, PW, at)
        made = [a.trust(self.own, self.owner, self.trustee, self.project, ['member'],
                        expires_at=api.stamp(86400 + n), allow_redelegation=True)['id']
                for n in range(5)]
        self.trust = made[0]
        trustee = a.login(self.trustee, PW)
        for n in range(3):
            bearer = a.exchange(trustee, api.trust(made[n]))
            for token in (self.own, bearer):
                a.post('/users/%s/credentials/OS-EC2' % self.owner, token,
                       {'tenant_id': self.project}).want(201)
        self.group = a.make(admin, 'group', name='people')
        a.put('/groups/%s/users/%s' % (self.group, self.owner), admin).want(204)

    def timed(self, method, path, token, want, subject=None):
        """Milliseconds of one request."""
        head = {'X-Auth-Token': token.id}
        if subject:
            head['X-Subject-Token'] = subject.id
        began = time.perf_counter()
        self.conn.request(method, self.url.path + path, None, head)
        answer = self.conn.getresponse()
        body = answer.read()
        took = 1000 * (time.perf_counter() - began)
        if answer.status != want:
            raise RuntimeError('%s %s: %d %s' % (method, path, answer.status, body[:300]))
        return took

    def lists(self):
        """[(what, path, token)] of lists that have pages."""
        o, t = self.owner, self.own
        return [
            ('trusts, everybody\'s', '/OS-TRUST/trusts', self.admin),
            ('trusts, everybody\'s, all states', '/OS-TRUST/trusts?state=all', self.admin),
            ('trusts of a trustor', '/OS-TRUST/trusts?trustor_user_id=' + o, t),
            ('trusts of a trustor, all states', '/OS-TRUST/trusts?state=all&trustor_user_id=' + o, t),
            ('trusts for a trustee', '/OS-TRUST/trusts?trustee_user_id=' + self.trustee, self.admin),
            ('credentials, everybody\'s', '/credentials', self.admin),
            ('credentials of a user', '/credentials?user_id=' + o, self.admin),
            ('credentials, one\'s own', '/credentials', t),
            ('keypairs of a user', '/users/%s/credentials/OS-EC2' % o, t),
            ('users', '/users', self.admin),
            ('users of a domain', '/users?domain_id=default', self.admin),
            ('users of a name', '/users?name=owner', self.admin),
            ('users of a group', '/groups/%s/users' % self.group, self.admin),
            ('projects', '/projects', self.admin),
            ('projects of a domain', '/projects?domain_id=default', self.admin),
            ('projects below a project', '/projects?parent_id=' + self.project, self.admin),
            ('projects with a common tag', '/projects?tags=common', self.admin),
            ('projects with a rare tag', '/projects?tags=rare', self.admin),
            ('projects of a user', '/users/%s/projects' % o, t),
            ('projects to log in to', '/auth/projects', t),
            ('groups of a user', '/users/%s/groups' % o, t),
            ('groups of a user who is in all', '/users/%s/groups' % self.joiner, self.admin),
            ('users of a group of all', '/groups/%s/users' % self.crowd, self.admin),
            ('users of a group, of a name', '/groups/%s/users?name=member-7' % self.crowd, self.admin),
            ('groups', '/groups', self.admin),
            ('groups of a domain', '/groups?domain_id=' + self.domain, self.admin),
            ('groups of a domain with few', '/groups?domain_id=default', self.admin),
            ('groups of a name', '/groups?name=group-7', self.admin),
            ('roles', '/roles', self.admin),
            ('roles of a domain', '/roles?domain_id=' + self.domain, self.admin),
            ('roles of a domain with few', '/roles?domain_id=' + self.few, self.admin),
            ('roles of a name', '/roles?name=role-7', self.admin),
            ('domains', '/domains', self.admin),
            ('domains of a name', '/domains?name=domain-7', self.admin),
            ('projects of a name', '/projects?name=small', self.admin),
        ]

    def reads(self):
        """The same of what has no pages."""
        o = self.owner
        return [
            ('delegations of a user', '/users/%s/delegations' % o, self.own),
            ('lineage of a trust', '/OS-TRUST/trusts/%s/lineage' % self.trust, self.own),
            ('role assignments of a user', '/role_assignments?user.id=' + o, self.admin),
            ('role assignments, effective', '/role_assignments?effective&user.id=' + o, self.admin),
            ('role assignments of a project, names',
             '/role_assignments?include_names&scope.project.id=' + self.project, self.admin),
        ]

    def measure(self, rounds, wanted):
        """{what: milliseconds}"""
        figures = {}

        def note(what, one):
            if wanted(what):
                figures[what] = one
        for what, path, token in self.lists():
            for limit in LIMITS:
                page = '%s%slimit=%d' % (path, '&' if '?' in path else '?', limit)
                note('%s, limit=%d' % (what, limit),
                     functools.partial(self.timed, 'GET', page, token, 200))
        for what, path, token in self.reads():
            note(what, functools.partial(self.timed, 'GET', path, token, 200))
        note('a validation', lambda: self.timed('GET', '/auth/tokens', self.service, 200, self.own))
        count = iter(range(1 << 30))

        def role():
            made = self.api.make(self.admin, 'role', name='unused-%d' % next(count))
            return self.timed('DELETE', '/roles/' + made, self.admin, 204)
        note('the end of a role that nobody has', role)

        def group():
            made = self.api.make(self.admin, 'group', name='unused-%d' % next(count))
            return self.timed('DELETE', '/groups/' + made, self.admin, 204)
        note('the end of an empty group', group)

        def domain():
            made = self.api.make(self.admin, 'domain', name='unused-%d' % next(count), enabled=False)
            return self.timed('DELETE', '/domains/' + made, self.admin, 204)
        note('the end of an empty domain', domain)
        none = '/roles/%s/implies/%s' % (self.roles['reader'], self.roles['admin'])
        note('an implication that there is not', lambda: self.timed('DELETE', none, self.admin, 404))
        grant = '/projects/%s/users/%s/roles/%s' % (self.project, self.owner, self.roles['reader'])

        def revoke():
            self.timed('PUT', grant, self.admin, 204)
            return self.timed('DELETE', grant, self.admin, 204)
        note('the end of a grant', revoke)

        def trust():
            made = self.api.trust(self.own, self.owner, self.trustee, self.project, ['member'],
                                  expires_at=api.stamp(200000 + next(count)))['id']
            return self.timed('DELETE', '/OS-TRUST/trusts/' + made, self.own, 204)
        note('the end of a trust', trust)
        times = {what: [] for what in figures}
        for n in range(rounds + 1):
            for what, one in figures.items():
                took = one()
                if n:                             # before that statements are prepared
                    times[what].append(took)
        return {what: statistics.quantiles(all_, n=4)[0] for what, all_ in times.items()}


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--engine', nargs='+', choices=stores.ENGINES, default=['sqlite'])
    p.add_argument('--trusts', type=int, default=100_000)
    p.add_argument('--rounds', type=int, default=25)
    p.add_argument('--only', nargs='+', metavar='WORD', help='figures whose name has one of these words')
    p.add_argument('--json', help='a file for the figures')
    options = p.parse_args()
    everything, bad = {}, 0
    for engine in options.engine:
        stores.available(engine)
        found = []
        for trusts in (SMALL, options.trusts):
            began = time.monotonic()
            # The reaper's rounds are no request.
            settings = {'delegation': {'reap_interval': 3600}}
            with stores.Site(engine, settings=settings, durable=False) as site:
                scene = Scene(site, trusts)
                print('%s with %d trusts, filled in %d s' % (engine, trusts, time.monotonic() - began),
                      flush=True)
                found.append(scene.measure(options.rounds, lambda what: not options.only or any(
                    word in what for word in options.only)))
        print('\n%-50s %9s %9s %7s' % (engine + ', ms', '%d' % SMALL, '%d' % options.trusts, 'ratio'))
        for what, small in found[0].items():
            large = found[1][what]
            ratio = large / small
            good = large <= ROLE_MS if 'role that nobody has' in what else ratio <= TIMES
            bad += not good
            print('%-50s %9.1f %9.1f %7.1f   %s' % (
                what, small, large, ratio, 'ok' if good else 'TOO MUCH'), flush=True)
        print()
        everything[engine] = found
    if options.json:
        with open(options.json, 'w') as f:
            json.dump(everything, f, indent=1)
    sys.exit(1 if bad else 0)


if __name__ == '__main__':
    main()
