"""Does what a request costs grow with what others have stored? `bench.py --growth`

Two databases on each engine: one filled (fill.py) with 1,000 trusts, one with 100,000 (times --scale-factor), and with
as many domains, global roles, roles of one domain and groups as trusts; one user is in all groups, and as many users
are in one group. A few more people with a handful of trusts, keypairs and projects are the ones who ask.

Over HTTP, one request after the other, all of them in every round: a page of each list, what somebody delegated,
a validation, and the end of what nobody uses. A figure is the first quartile of the rounds: what else the machine
does counts less so. A page is good when the larger database takes no more than five times what the smaller one takes;
the end of a role that nobody has, when it takes no more than 20 ms.
"""
import functools
import http.client
import statistics
import time
import urllib.parse

import api
import bulk
import fill
import stores
from fill import name_of

SMALL, LARGE = 1000, 100_000     # trusts
TIMES = 5                        # so much longer may a request take in the larger database
ROLE_MS = 20
ROUNDS = 25
PW = 'a password of the people who ask'
LIMITS = (1, 100)


class Scene:
    def __init__(self, site, trusts):
        self.site = site
        v = site.vicars[0]
        self.url = urllib.parse.urlsplit(v.url)
        self.conn = http.client.HTTPConnection(self.url.netloc, timeout=300)
        a = self.api = api.Api(v.url)
        self.admin = a.admin(v.password)
        self.roles = a.role_ids(self.admin)
        size = fill.Size(trusts / 1_000_000)
        size.names = trusts
        fill.fill(bulk.Store(site.database, site.name), size, site.credential)
        self.domain, self.few = name_of('domain', 0), name_of('domain', 1)
        self.joiner, self.crowd = name_of('in all groups', 0), name_of('group', 0)
        self.people()

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

    def measure(self, rounds):
        """{what: milliseconds}"""
        figures = {}

        def note(what, one):
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


def measure(engine, factor):
    """{what: (milliseconds in the small database, in the large one)}"""
    found = []
    for trusts in (SMALL, round(LARGE * factor)):
        began = time.monotonic()
        # The reaper's rounds are no request.
        settings = {'delegation': {'reap_interval': 3600}}
        with stores.Site(engine, settings=settings, durable=False) as site:
            scene = Scene(site, trusts)
            print('%s with %d trusts, filled in %d s' % (engine, trusts, time.monotonic() - began), flush=True)
            found.append(scene.measure(ROUNDS))
    return {what: (small, found[1][what]) for what, small in found[0].items()}


def report(engine, found):
    """Prints them; what takes too long."""
    bad = []
    print('\n%-50s %9s %9s %7s' % (engine + ', ms', 'small', 'large', 'ratio'))
    for what, (small, large) in found.items():
        good = large <= ROLE_MS if 'role that nobody has' in what else large / small <= TIMES
        if not good:
            bad.append('%s, %s: %.1f ms, %.1f ms' % (engine, what, small, large))
        print('%-50s %9.1f %9.1f %7.1f   %s' % (what, small, large, large / small, 'ok' if good else 'TOO MUCH'))
    print(flush=True)
    return bad
