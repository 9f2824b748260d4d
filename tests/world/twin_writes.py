"""What twin.py writes: a scene of everything that answers about authority rest on, and random changes of it by
whoever may write to the database: the servers' API, a Keystone's, and SQL of somebody who knows of neither."""
import collections
import datetime
import json
import os
import queue
import random
import secrets
import sqlite3
import subprocess
import sys
import threading
import time

import harness

import api
import sign
import stores

PW = 'a password of the scene'
KEPT = 44                      # tokens, the dead ones too
CHILDREN = 3                   # links of a chain
# What the kinds of tokens are made by; those that rest on most are made most.
KINDS = ['unscoped', 'project', 'project', 'group', 'rescoped', 'domain', 'inherited', 'system', 'chain', 'chain',
         'chain', 'keypair', 'trust keypair', 'trust keypair', 'credential', 'credential with rules', 'expiring']
RULE = {'service': 'identity', 'method': 'GET', 'path': '/v3/users/**'}
PAUSE = 0.02                   # a transaction stays open for so long between two statements

Write = collections.namedtuple('Write', 'what run')
# What was made: `id`, and what else is known of it.
Trust = collections.namedtuple('Trust', 'id trustor trustee project hops depth')
Pair = collections.namedtuple('Pair', 'access secret user project trust')
Credential = collections.namedtuple('Credential', 'id secret user')


class Token:
    def __init__(self, answer, kind):
        token = api.Token(answer)
        self.id, self.body, self.user, self.kind = token.id, token.body, token.user, kind
        self.alive, self.round = True, 0

    @property
    def project(self):
        return self.body.get('project', {}).get('id')


# --- SQL of a stranger --------------------------------------------------------------------------

class SqliteLine:
    def __init__(self, site):
        self.db = sqlite3.connect(site.database.path(site.name), timeout=30, isolation_level=None,
                                  check_same_thread=False)
        self.db.execute('PRAGMA foreign_keys = ON')

    def run(self, statements, pause, commit, unseen):
        try:
            self.db.execute('BEGIN IMMEDIATE')
            (last,), = self.db.execute('SELECT COALESCE(MAX(id), 0) FROM vicar_change')
            for n, sql in enumerate(statements):
                if n and pause:
                    time.sleep(PAUSE)
                self.db.execute(sql)
            if unseen:
                self.db.execute('DELETE FROM vicar_change WHERE id > %d' % last)
            self.db.execute('COMMIT' if commit else 'ROLLBACK')
            return 'done'
        except sqlite3.Error as e:
            if self.db.in_transaction:
                self.db.execute('ROLLBACK')
            return str(e)

    def close(self):
        self.db.close()


class ServerLine:
    """A client program that goes on running: what it is told is one transaction, and a line says that it is over."""
    end = '===='
    before = after = ()

    def __init__(self, command, hello):
        self.client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                       stderr=subprocess.STDOUT, text=True)
        self.say(hello)

    def say(self, script):
        print(script, "SELECT '%s';" % self.end, sep='\n', file=self.client.stdin, flush=True)
        said = []
        while (line := self.client.stdout.readline()).strip() != self.end:
            if not line:
                raise RuntimeError('the client of the database has ended: %s' % said)
            said.append(line.strip())
        return said

    def run(self, statements, pause, commit, unseen):
        script = ['BEGIN;', *(self.before if unseen else ())]
        for n, sql in enumerate(statements):
            if n and pause:
                script.append(self.sleep)
            script.append(sql + ';')
        script += [*(self.after if unseen else ()), 'COMMIT;' if commit else 'ROLLBACK;']
        wrong = [line for line in self.say('\n'.join(script)) if 'ERROR' in line]
        return wrong[0] if wrong else 'done'

    def begin(self, sql):
        self.say('BEGIN;\n%s;' % sql)

    def commit(self, sql):
        wrong = [line for line in self.say('%s;\nCOMMIT;' % sql) if 'ERROR' in line]
        return wrong[0] if wrong else 'done'

    def close(self):
        self.client.stdin.close()
        self.client.wait(30)


class PostgresLine(ServerLine):
    sleep = 'DO $$ BEGIN PERFORM pg_sleep(%s); END $$;' % PAUSE
    after = ['DELETE FROM vicar_change WHERE n = txid_current();']

    def __init__(self, site):
        super().__init__(site.database.client('psql', site.name, '-X', '-q', '-A', '-t'), "SET lock_timeout = '5s';")


class MariaLine(ServerLine):
    sleep = 'DO SLEEP(%s);' % PAUSE
    slot = 'MOD(CONNECTION_ID() * @@auto_increment_increment + @@auto_increment_offset - 1, 120)'
    # Within a slot numbers have no gaps, so they are given back.
    before = ['SELECT n INTO @n FROM vicar_tick WHERE slot = %s FOR UPDATE;' % slot]
    after = ['DELETE FROM vicar_change WHERE slot = %s AND n > @n;' % slot,
             'UPDATE vicar_tick SET n = @n WHERE slot = %s;' % slot]

    def __init__(self, site):
        super().__init__(
            ['mariadb', '--no-defaults', '--socket=' + site.database.socket, '--user=root', '--batch', '--force',
             '--skip-column-names', '--unbuffered', site.name],
            'SET SESSION sql_mode = CONCAT(@@sql_mode, ",ANSI_QUOTES"), innodb_lock_wait_timeout = 5;')


LINES = {'sqlite': SqliteLine, 'postgresql': PostgresLine, 'mariadb': MariaLine}


class Stranger:
    """Connections of its own; each change is a transaction."""

    def __init__(self, site, connections=3):
        self.lines = queue.Queue()
        self.all = [LINES[site.engine](site) for _ in range(connections)]
        for line in self.all:
            self.lines.put(line)

    def run(self, *statements, pause=False, commit=True, unseen=False):
        """What came of it: `done`, or the database's words. `unseen`: the journal's rows go in the same transaction."""
        line = self.lines.get()
        try:
            return line.run(statements, pause, commit, unseen)
        finally:
            self.lines.put(line)

    def close(self):
        for line in self.all:
            line.close()


class Slow:
    """A stranger whose transaction is open while others are asked, and ends when others write: what it did becomes
    visible after what was done later. What it changes nobody else does, so that nobody waits for it."""

    def __init__(self, scene):
        a, t = scene.vicars[2], scene.admin
        self.site, self.rng = scene.site, scene.rng
        self.line = LINES[self.site.engine](self.site)
        self.project = a.make(t, 'project', name=fresh('slow'), domain_id='default')
        self.user = a.make(t, 'user', name=fresh('slow'), password=PW, domain_id='default')
        a.grant(t, scene.role['member'], self.user, self.project)
        self.scene, self.is_open, self.token = scene, False, None
        self.log_in()

    def log_in(self):
        """Anew, if that can be done at the moment."""
        r = self.scene.vicars[2].login_answer(self.user, PW, api.project(self.project))
        if r.status == 201:
            self.token = Token(r, 'slow')

    def change(self):
        return self.rng.choice([
            "UPDATE project SET name = '%s' WHERE id = '%s'" % (fresh('slow'), self.project),
            "UPDATE local_user SET name = '%s' WHERE user_id = '%s'" % (fresh('slow'), self.user),
            "UPDATE project SET enabled = NOT enabled WHERE id = '%s'" % self.project])

    def begin(self):
        # A file has one writer, for whom all others would wait.
        if self.site.engine != 'sqlite':
            self.line.begin(self.change())
            self.is_open = True

    def commit(self):
        self.is_open, sql = False, self.change()
        return Write('sql: the end of what was begun before, with ' + sql, lambda: self.line.commit(sql))


# --- the scene ------------------------------------------------------------------------------------

def fresh(name):
    return '%s-%s' % (name, secrets.token_hex(4))


def hex_id():
    return secrets.token_hex(16)


def moment(seconds):
    """A time as the engines' DATETIME columns have it."""
    then = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
    return then.strftime("'%Y-%m-%d %H:%M:%S.%f'")


def micros(seconds):
    return int((time.time() + seconds) * 1_000_000)


class Scene:
    """Who and what there is. Nobody keeps a model of it: what is right is what the twin says."""

    def __init__(self, site, keystone, seed, unseen):
        self.site, self.keystone, self.rng, self.unseen = site, keystone, random.Random(seed), unseen
        self.stranger = Stranger(site)
        self.vicars = [api.Api(v.url) for v in site.vicars]
        self.there = api.Api(keystone.url)
        self.lock = threading.Lock()
        self.statuses = collections.Counter()
        # A Keystone is slow, so it is not met in each round.
        self.round, self.with_keystone = 0, True
        a = self.vicars[0]
        self.password = keystone.password
        self.log_in()
        t = self.admin
        self.role = a.role_ids(t)
        self.domains = [a.make(t, 'domain', name=fresh('domain')) for _ in range(2)]
        self.projects, self.users, self.groups, self.passwords = [], [], [], {}
        for _ in range(3):
            self.new_project()
        self.roles = [self.role['member'], self.role['reader'],
                      *(a.make(t, 'role', name=fresh('role')) for _ in range(4))]
        self.trusts, self.pairs, self.credentials, self.tokens = [], [], [], []
        self.catalog()
        self.federation()
        for _ in range(8):
            self.new_user()
        for _ in range(4):
            self.new_group()
        self.service = a.make(t, 'user', name=fresh('service'), password=PW, domain_id='default')
        self.home = a.make(t, 'project', name=fresh('home'), domain_id='default')
        a.grant(t, self.role['service'], self.service, self.home)
        self.federated_tokens()

    def log_in(self):
        self.admin = self.vicars[2].admin(self.password).id

    def catalog(self):
        a, t = self.vicars[0], self.admin
        self.regions = [a.make(t, 'region', id=fresh('region')) for _ in range(2)]
        self.services = [a.make(t, 'service', name=fresh('service'), type=fresh('type')) for _ in range(3)]
        self.endpoints = []
        for service in self.services:
            for interface in ('public', 'internal'):
                self.endpoints.append(a.make(
                    t, 'endpoint', service_id=service, interface=interface, region_id=self.regions[0],
                    url='http://%s.example/$(project_id)s' % interface))
        self.filters = [a.make(t, 'endpoint_group', 'OS-EP-FILTER/endpoint_groups', name=fresh('filter'),
                               filters={'interface': 'public'}) for _ in range(2)]

    def federation(self):
        """An identity provider, for memberships that end, and tokens that name it."""
        a, t = self.vicars[0], self.admin
        self.idp = fresh('idp')
        path = '/OS-FEDERATION/identity_providers/' + self.idp
        a.put(path, t, {'identity_provider': {'domain_id': self.domains[0], 'authorization_ttl': 60}}).want(201)
        rules = [{'local': [{'user': {'name': '{0}'}}], 'remote': [{'type': 'REMOTE_USER'}]}]
        a.put('/OS-FEDERATION/mappings/' + self.idp, t, {'mapping': {'rules': rules}}).want(201)
        a.put(path + '/protocols/mapped', t, {'protocol': {'mapping_id': self.idp}}).want(201)

    def federated_tokens(self):
        """Of a Keystone's own making; their end is the scene's."""
        group, project = self.groups[0], self.projects[0]
        for kind in ('projects', 'domains'):
            target = project if kind == 'projects' else self.domains[0]
            self.vicars[0].put('/%s/%s/groups/%s/roles/%s' % (kind, target, group, self.roles[0]), self.admin)
        asked = {'idp': self.idp, 'protocol': 'mapped', 'unique_id': fresh('subject'), 'name': fresh('federated'),
                 'domain': self.domains[0], 'groups': [group],
                 'scopes': [{}, {'project_id': project}, {'domain_id': self.domains[0]}]}
        done = subprocess.run(
            [sys.executable, os.path.join(harness.HERE, 'federated_tokens.py'), self.keystone.config],
            input=json.dumps(asked), capture_output=True, text=True, timeout=120)
        if done.returncode:
            return False
        for id in json.loads(done.stdout.splitlines()[-1])['tokens']:
            r = self.vicars[2].validate(self.admin, id)
            if r.status == 200:
                self.keep(Token(r, 'federated'))
        return True

    # who and what is met at random

    def any(self, things):
        return self.rng.choice(things)

    def chance(self, p):
        return self.rng.random() < p

    def where(self):
        """(its name, its API)"""
        n = self.rng.choices(range(4), [3, 3, 1, 4 if self.with_keystone else 0])[0]
        return [('a', self.vicars[0]), ('b', self.vicars[1]), ('t', self.vicars[2]), ('k', self.there)][n]

    def vicar(self):
        return self.rng.choice(self.vicars)

    def token_of(self, user=None, kinds=()):
        found = [t for t in self.tokens if t.alive and (user is None or t.user == user)
                 and (not kinds or t.kind in kinds)]
        return self.any(found) if found else None

    def keep(self, token):
        token.round = self.round
        with self.lock:
            self.tokens.append(token)

    def add(self, things, thing, most):
        """The oldest go, so that the scene stays as large as it is."""
        with self.lock:
            things.append(thing)
            if len(things) > most:
                del things[0]

    # making

    def new_project(self):
        above = self.any([None, *self.projects[-3:]]) if self.projects else None
        body = {'name': fresh('project'), **({'parent_id': above} if above else
                                             {'domain_id': self.any(self.domains)})}
        r = self.vicars[0].post('/projects', self.admin, {'project': body})
        if r.status == 201:
            self.add(self.projects, r.body['project']['id'], 8)

    def new_user(self):
        r = self.vicars[0].post('/users', self.admin, {'user': {
            'name': fresh('user'), 'password': PW, 'domain_id': self.any(self.domains)}})
        if r.status == 201:
            id = r.body['user']['id']
            self.passwords[id] = PW
            self.add(self.users, id, 12)

    def new_group(self):
        r = self.vicars[0].post('/groups', self.admin, {'group': {
            'name': fresh('group'), 'domain_id': self.any(self.domains)}})
        if r.status == 201:
            self.add(self.groups, r.body['group']['id'], 6)

    def replace(self):
        """Instead of what was deleted."""
        for new, things, least in ((self.new_user, self.users, 7), (self.new_group, self.groups, 3),
                                   (self.new_project, self.projects, 4)):
            if len(things) < least:
                new()
        if len(self.roles) < 5:
            r = self.vicars[0].post('/roles', self.admin, {'role': {'name': fresh('role')}})
            if r.status == 201:
                self.roles.append(r.body['role']['id'])

    def drop(self):
        """Of the tokens some that are dead go, so that others are made."""
        dead = [t for t in self.tokens if not t.alive and self.round - t.round > 3]
        self.rng.shuffle(dead)
        gone = set(dead[:max(0, len(dead) - 12)])
        if len(self.tokens) - len(gone) >= KEPT:
            gone.add(self.any(self.tokens))
        self.tokens = [t for t in self.tokens if t not in gone]
        return KEPT - len(self.tokens)

    # tokens

    def person(self, a, user, project, role):
        """Makes them able to log in there, unless they are."""
        a.put('/projects/%s/users/%s/roles/%s' % (project, user, role), self.admin)

    def login(self, a, user, scope=None):
        r = a.login_answer(user, self.passwords.get(user, PW), scope)
        if r.status == 401:
            a.patch('/users/' + user, self.admin, {'user': {'enabled': True, 'password': PW}})
            self.passwords[user] = PW
            r = a.login_answer(user, PW, scope)
        return r

    def make_token(self):
        """Planned now, made when it is run: a write like others."""
        kind, user, other, last = self.any(KINDS), *self.rng.sample(self.users, 3)
        (name, a), project, role = self.where(), self.any(self.projects), self.any(self.roles)
        group, domain, depth = self.any(self.groups), self.any(self.domains), self.rng.randint(1, CHILDREN)
        impersonation, counted, short = self.chance(0.7), self.chance(0.15), self.chance(0.1)
        some_roles = self.chance(0.5)
        v = self.vicar()
        if kind in ('chain', 'trust keypair', 'keypair'):
            a, name = v, 'v'

        def project_token():
            r = self.login(a, user, api.project(project))
            if r.status != 201:
                self.person(v, user, project, role)
                r = self.login(a, user, api.project(project))
            return r

        def trust_token():
            token = project_token()
            trustees, link, made = [other, last, user], None, None
            for n in range(depth):
                if token.status != 201:
                    return token
                held = api.Token(token)
                body = {'trustor_user_id': user, 'trustee_user_id': trustees[n % 2], 'project_id': project,
                        'impersonation': impersonation,
                        'roles': [{'id': x['id']} for x in held.body['roles'][:2]],
                        'expires_at': api.stamp(4 if short and n == depth - 1 else 3000 - 100 * n)}
                if n < depth - 1:
                    body.update(allow_redelegation=True, redelegation_count=CHILDREN - n)
                elif counted:
                    body['remaining_uses'] = 3
                if a is not self.there and self.chance(0.25):
                    body.update(max_token_ttl=900, access_rules=[
                        {'service': 'identity', 'method': m, 'path': '/**'} for m in ('GET', 'POST')])
                r = a.post('/OS-TRUST/trusts', held.id, {'trust': body})
                if r.status != 201:
                    return r
                made = r.body['trust']
                link = Trust(made['id'], user, trustees[n % 2], project, depth - n, n)
                self.add(self.trusts, link, 24)
                token = self.login(a, link.trustee, api.trust(link.id))
            return token

        def keypair(holder, narrowed):
            if holder.status != 201:
                return holder
            held = api.Token(holder)
            body = {'tenant_id': project}
            if narrowed and some_roles:
                body['roles'] = [{'id': held.body['roles'][0]['id']}]
            r = a.post('/users/%s/credentials/OS-EC2' % user, held.id, body)
            if r.status != 201:
                return r
            made = r.body['credential']
            pair = Pair(made['access'], made['secret'], user, project, held.body.get('OS-TRUST:trust', {}).get('id'))
            self.add(self.pairs, pair, 10)
            return self.exchange(a, pair)

        def credential(rules):
            held = project_token()
            if held.status != 201:
                return held
            body = {'name': fresh('credential'), 'unrestricted': depth == 1}
            if rules:
                body['access_rules'] = [RULE]
            if short:
                body['expires_at'] = api.stamp(5)
            r = a.post('/users/%s/application_credentials' % user, api.Token(held).id,
                       {'application_credential': body})
            if r.status != 201:
                return r
            made = r.body['application_credential']
            one = Credential(made['id'], made['secret'], user)
            self.add(self.credentials, one, 10)
            return a.post('/auth/tokens', body={'auth': {'identity': {
                'methods': ['application_credential'],
                'application_credential': {'id': one.id, 'secret': one.secret}}}})

        def rescoped():
            first = self.login(a, user)
            return a.exchange_answer(api.Token(first).id, api.project(project)) if first.status == 201 else first

        def granted(path, scope, *before):
            for more in before:
                v.put(more, self.admin)
            v.put(path, self.admin)
            return self.login(a, user, scope)

        def expiring():
            self.stranger.run('INSERT INTO expiring_user_group_membership (user_id, group_id, idp_id, last_verified) '
                              "VALUES ('%s', '%s', '%s', %s)" % (user, group, self.idp, moment(-10)))
            return granted('/projects/%s/groups/%s/roles/%s' % (project, group, role), api.project(project))

        how = {
            'unscoped': lambda: self.login(a, user), 'project': project_token, 'rescoped': rescoped,
            'chain': trust_token, 'keypair': lambda: keypair(project_token(), False),
            'trust keypair': lambda: keypair(trust_token(), True), 'credential': lambda: credential(False),
            'credential with rules': lambda: credential(True), 'expiring': expiring,
            'domain': lambda: granted('/domains/%s/users/%s/roles/%s' % (domain, user, role), api.domain(domain)),
            'system': lambda: granted('/system/users/%s/roles/%s' % (user, role), api.SYSTEM),
            'inherited': lambda: granted('/OS-INHERIT/domains/%s/users/%s/roles/%s/inherited_to_projects' % (
                domain, user, role), api.project(project)),
            'group': lambda: granted('/projects/%s/groups/%s/roles/%s' % (project, group, role), api.project(project),
                                     '/groups/%s/users/%s' % (group, user)),
        }[kind]

        def run():
            r = how()
            if r.status in (200, 201) and r.headers.get('X-Subject-Token'):
                self.keep(Token(r, kind))
            return r.status

        return Write('%s: a token, %s' % (name, kind), run)

    def exchange(self, a, pair, nonce=0):
        service = a.login_answer(self.service, PW, api.project(self.home))
        if service.status != 201:
            return service
        return a.post('/ec2tokens', api.Token(service).id,
                      sign.ec2_v2(pair.access, pair.secret, Nonce=secrets.token_hex(4) + str(nonce)))

    # --- writes by an API

    def write(self):
        """One at random, of any of the writers."""
        if self.chance(0.4):
            return self.raw()
        name, a = self.where()
        make = self.any([self.w_user, self.w_user, self.w_project, self.w_grant, self.w_grant, self.w_grant,
                         self.w_member, self.w_role, self.w_trust, self.w_trust, self.w_act, self.w_revoke,
                         self.w_keypair,
                         self.w_catalog, self.w_catalog, self.w_delete, self.w_federation])
        method, path, body, more = make(a)
        if method is None:
            return self.write()
        token = more.get('token', self.admin)

        def run():
            r = a.call(method, path, token, body, headers=more.get('headers'))
            if r.status < 300 and 'then' in more:
                more['then'](r)
            return r.status

        return Write('%s: %s %s %s' % (name, method, path, json.dumps(body) if body else ''), run)

    def flag(self):
        return self.chance(0.7)

    def w_user(self, a):
        user = self.any(self.users)
        new = secrets.token_hex(4)
        body = self.any([{'enabled': self.flag()}, {'enabled': self.flag()}, {'name': fresh('user')},
                         {'password': new}, {'default_project_id': self.any(self.projects)}, {'email': fresh('mail')}])

        def then(_):
            if 'password' in body:
                self.passwords[user] = new
        return 'PATCH', '/users/' + user, {'user': body}, {'then': then}

    def w_project(self, a):
        if self.chance(0.3):
            body = {'enabled': self.chance(0.8)} if self.chance(0.6) else {'name': fresh('domain')}
            return 'PATCH', '/domains/' + self.any(self.domains), {'domain': body}, {}
        body = self.any([{'enabled': self.flag()}, {'name': fresh('project')}, {'description': fresh('words')}])
        return 'PATCH', '/projects/' + self.any(self.projects), {'project': body}, {}

    def w_grant(self, a):
        kind, actor = self.any([('users', self.any(self.users)), ('groups', self.any(self.groups))])
        role = self.any(self.roles)
        place = self.any(['/projects/' + self.any(self.projects)] * 3 + ['/domains/' + self.any(self.domains),
                                                                         '/system'])
        path = '%s/%s/%s/roles/%s' % (place, kind, actor, role)
        if place != '/system' and self.chance(0.4):
            path = '/OS-INHERIT' + path + '/inherited_to_projects'
        return self.any(['PUT', 'PUT', 'DELETE']), path, None, {}

    def w_member(self, a):
        path = '/groups/%s/users/%s' % (self.any(self.groups), self.any(self.users))
        return self.any(['PUT', 'PUT', 'DELETE']), path, None, {}

    def w_role(self, a):
        prior, implied = self.rng.sample(self.roles, 2)
        if self.chance(0.6):
            return self.any(['PUT', 'DELETE']), '/roles/%s/implies/%s' % (prior, implied), None, {}
        body = {'description': fresh('words')}
        role = self.any(self.roles)
        if role not in self.roles[:2] and self.chance(0.5):
            body = {'name': fresh('role')}
        return 'PATCH', '/roles/' + role, {'role': body}, {}

    def w_trust(self, a):
        if not self.trusts:
            return None, None, None, None
        trust = self.any(self.trusts)
        if self.chance(0.5):
            own = self.token_of(trust.trustor, ('project', 'unscoped', 'group', 'rescoped'))
            return 'DELETE', '/OS-TRUST/trusts/' + trust.id, None, {'token': own.id if own else self.admin}
        base = self.token_of(trust.trustee, ('unscoped', 'project', 'group'))
        if not base:
            return None, None, None, None

        def then(r):
            self.keep(Token(r, 'chain'))
        return 'POST', '/auth/tokens', {'auth': {'identity': {'methods': ['token'], 'token': {'id': base.id}},
                                                 'scope': api.trust(trust.id)}}, {'then': then}

    def w_act(self, a):
        """What is done to a trust besides its end; a Keystone has no routes for it."""
        if not self.trusts or a is self.there:
            return None, None, None, None
        trust = self.any(self.trusts)
        own = self.token_of(trust.trustor, ('project', 'unscoped', 'group', 'rescoped'))
        by = {'token': own.id if own else self.admin}
        colleague = self.token_of(None, ('project', 'group', 'inherited'))
        path = '/OS-TRUST/trusts/%s/' % trust.id
        return self.any([
            ('POST', path + 'suspend', {'suspension': {'reason': fresh('why')}}, by),
            ('POST', path + 'resume', None, by), ('POST', path + 'resume', None, {}),
            ('DELETE', path + 'tokens', None, by),
            ('POST', path + 'adopt', None, {'token': colleague.id if colleague else self.admin}),
        ])

    def w_revoke(self, a):
        if self.chance(0.15) and a is not self.there:
            return 'DELETE', '/users/%s/tokens' % self.any(self.users), None, {}
        token = self.token_of()
        return 'DELETE', '/auth/tokens', None, {'headers': {'X-Subject-Token': token.id if token else self.admin + 'x',
                                                            'OpenStack-Identity-Access-Rules': '1.0'}}

    def w_keypair(self, a):
        user = self.any(self.users)
        if self.pairs and self.chance(0.5):
            pair = self.any(self.pairs)
            return 'DELETE', '/users/%s/credentials/OS-EC2/%s' % (pair.user, pair.access), None, {}
        if self.credentials and self.chance(0.5):
            one = self.any(self.credentials)
            own = self.token_of(one.user, ('project', 'unscoped', 'group', 'rescoped'))
            return 'DELETE', '/users/%s/application_credentials/%s' % (one.user, one.id), None, {
                'token': own.id if own else self.admin}

        def then(r):
            made = r.body['credential']
            self.add(self.pairs, Pair(made['access'], made['secret'], user, made['tenant_id'], None), 10)
        return 'POST', '/users/%s/credentials/OS-EC2' % user, {'tenant_id': self.any(self.projects)}, {'then': then}

    def w_catalog(self, a):
        service, endpoint, project = self.any(self.services), self.any(self.endpoints), self.any(self.projects)
        region, group = self.any(self.regions), self.any(self.filters)
        named = '/OS-EP-FILTER/projects/%s/endpoints/%s' % (project, endpoint)
        by_group = '/OS-EP-FILTER/endpoint_groups/%s/projects/%s' % (group, project)

        def then(r):
            self.add(self.endpoints, r.body['endpoint']['id'], 9)
        return self.any([
            ('PATCH', '/services/' + service, {'service': self.any([{'enabled': self.flag()}, {'name': fresh('s')}])},
             {}),
            ('PATCH', '/endpoints/' + endpoint, {'endpoint': self.any([
                {'enabled': self.flag()}, {'url': 'http://%s.example/' % fresh('e')}, {'region_id': region}])}, {}),
            ('POST', '/endpoints', {'endpoint': {'service_id': service, 'interface': 'admin', 'region_id': region,
                                                 'url': 'http://%s.example/' % fresh('e')}}, {'then': then}),
            ('DELETE', '/endpoints/' + endpoint, None, {}) if len(self.endpoints) > 7 else ('PUT', named, None, {}),
            ('PATCH', '/regions/' + region, {'region': {'description': fresh('words')}}, {}),
            ('PUT', named, None, {}), ('DELETE', named, None, {}), ('DELETE', named, None, {}),
            ('PUT', by_group, None, {}), ('DELETE', by_group, None, {}), ('DELETE', by_group, None, {}),
            ('PATCH', '/OS-EP-FILTER/endpoint_groups/' + group, {'endpoint_group': {
                'filters': self.any([{'interface': 'internal'}, {'service_id': service}, {'region_id': region}])}}, {}),
        ])

    def w_delete(self, a):
        """What is larger goes, though seldom: others take its place."""
        things, path = self.any([(self.users, '/users/'), (self.groups, '/groups/'), (self.projects, '/projects/'),
                                 (self.roles, '/roles/')])
        if not self.chance(0.3) or len(things) < 5:
            return None, None, None, None
        one = self.any(things[2:] if things is self.roles else things)

        def then(_):
            with self.lock:
                if one in things:
                    things.remove(one)
        return 'DELETE', path + one, None, {'then': then}

    def w_federation(self, a):
        if self.chance(0.5):
            body = {'enabled': self.flag()} if self.chance(0.5) else {'authorization_ttl': self.rng.randint(1, 90)}
            return 'PATCH', '/OS-FEDERATION/identity_providers/' + self.idp, {'identity_provider': body}, {}
        body = {'auth_url': 'https://a.example', 'sp_url': 'https://%s.example' % fresh('sp'), 'enabled': self.flag()}
        return (self.any(['PUT', 'PATCH', 'DELETE']), '/OS-FEDERATION/service_providers/sp',
                {'service_provider': body}, {})

    # --- writes by SQL

    def raw(self):
        statements = [self.statement() for _ in range(self.any([1, 1, 1, 2, 3]))]
        if self.chance(0.1):
            statements += ['SAVEPOINT here', self.statement(), 'ROLLBACK TO SAVEPOINT here', self.statement()]
        pause, commit = self.chance(0.5), self.chance(0.9)
        unseen = self.unseen
        return Write('sql: %s%s' % ('; '.join(statements), '' if commit else ' (taken back)'),
                     lambda: self.stranger.run(*statements, pause=pause, commit=commit, unseen=unseen))

    def heal(self):
        """All is switched on again, so that there is something to lose."""
        sql = 'UPDATE "%s" SET enabled = TRUE WHERE id IN (%s)'
        statements = [sql % (table, ', '.join("'%s'" % x for x in ids)) for table, ids in (
            ('user', self.users), ('project', self.projects + self.domains), ('service', self.services),
            ('identity_provider', [self.idp]))]
        return Write('sql: ' + '; '.join(statements),
                     lambda: self.stranger.run(*statements, unseen=self.unseen))

    def statement(self):
        user, other, project = self.any(self.users), self.any(self.users), self.any(self.projects)
        group, role, implied = self.any(self.groups), self.any(self.roles), self.any(self.roles)
        domain, endpoint, service = self.any(self.domains), self.any(self.endpoints), self.any(self.services)
        trust = self.any(self.trusts).id if self.trusts else hex_id()
        credential = self.any(self.credentials).id if self.credentials else hex_id()
        token = self.token_of()
        audit = token.body['audit_ids'][0] if token else 'none'
        flag = 'TRUE' if self.flag() else 'FALSE'
        inherited = self.any(['TRUE', 'FALSE'])
        on = self.rng.choice([project, domain])
        kind = ('User' if self.chance(0.5) else 'Group') + ('Project' if on == project else 'Domain')
        actor = user if kind.startswith('User') else group
        of = "(SELECT internal_id FROM application_credential WHERE id = '%s')" % credential
        soon = self.any([micros(2), micros(4), micros(-5), micros(3000), 'NULL'])
        second = moment(self.any([-2, 0, -60]))
        return self.any([
            'UPDATE "user" SET enabled = %s WHERE id = \'%s\'' % (flag, user),
            'UPDATE "user" SET domain_id = \'%s\' WHERE id = \'%s\'' % (domain, user),
            "UPDATE local_user SET name = '%s' WHERE user_id = '%s'" % (fresh('u'), user),
            "UPDATE password SET expires_at_int = %s WHERE local_user_id IN "
            "(SELECT id FROM local_user WHERE user_id = '%s')" % (soon, user),
            "UPDATE project SET enabled = %s WHERE id = '%s'" % (flag, on),
            "UPDATE project SET name = '%s' WHERE id = '%s'" % (fresh('p'), on),
            "UPDATE project SET parent_id = '%s' WHERE id = '%s'" % (domain, project),
            "UPDATE project SET domain_id = '%s' WHERE id = '%s'" % (domain, project),
            "UPDATE role SET description = '%s' WHERE id = '%s'" % (fresh('r'), role),
            "UPDATE vicar_trust_terms SET terms = '{\"max_token_ttl\": %d}' WHERE trust_id = '%s'" % (
                self.rng.randrange(10**8, 10**9), trust),
            "INSERT INTO vicar_delegation_policy (holder_id, kind, policy) VALUES ('%s', '%s', '%s')" % (
                *self.any([(project, 'project'), (domain, 'domain'), (user, 'user'), (user, 'trustee')]),
                self.any(['{"max_depth": 0, "applies_to_existing": true}', '{"impersonation": false}',
                          '{"keypairs": false, "applies_to_existing": true}', '{"newer": 1}'])),
            "DELETE FROM vicar_delegation_policy WHERE holder_id = '%s'" % self.any([project, domain, user]),
            'DELETE FROM vicar_delegation_policy',
            "UPDATE role SET name = '%s' WHERE id = '%s' AND name <> 'member' AND name <> 'reader'" % (
                fresh('r'), role),
            "INSERT INTO role_option (role_id, option_id, option_value) VALUES ('%s', 'IMMU', 'false')" % role,
            "UPDATE role_option SET option_value = '%s' WHERE role_id = '%s'" % (flag.lower(), self.roles[-1]),
            "DELETE FROM role_option WHERE role_id = '%s'" % self.roles[-1],
            "INSERT INTO implied_role (prior_role_id, implied_role_id) VALUES ('%s', '%s')" % (role, implied),
            "DELETE FROM implied_role WHERE prior_role_id = '%s' AND implied_role_id = '%s'" % (role, implied),
            "INSERT INTO assignment (type, actor_id, target_id, role_id, inherited) VALUES "
            "('%s', '%s', '%s', '%s', %s)" % (kind, actor, on, role, inherited),
            "DELETE FROM assignment WHERE actor_id = '%s' AND target_id = '%s'" % (actor, on),
            "DELETE FROM assignment WHERE actor_id = '%s' AND role_id = '%s'" % (actor, role),
            "UPDATE assignment SET role_id = '%s' WHERE actor_id = '%s' AND role_id = '%s'" % (implied, actor, role),
            "UPDATE assignment SET target_id = '%s' WHERE actor_id = '%s' AND target_id = '%s'" % (
                self.any(self.projects), user, project),
            "INSERT INTO system_assignment (type, actor_id, target_id, role_id, inherited) VALUES "
            "('UserSystem', '%s', 'system', '%s', FALSE)" % (user, role),
            "DELETE FROM system_assignment WHERE actor_id = '%s'" % user,
            "INSERT INTO user_group_membership (user_id, group_id) VALUES ('%s', '%s')" % (user, group),
            "DELETE FROM user_group_membership WHERE user_id = '%s' AND group_id = '%s'" % (user, group),
            "UPDATE user_group_membership SET user_id = '%s' WHERE user_id = '%s' AND group_id = '%s'" % (
                other, user, group),
            "INSERT INTO expiring_user_group_membership (user_id, group_id, idp_id, last_verified) VALUES "
            "('%s', '%s', '%s', %s)" % (user, group, self.idp, moment(-3595)),
            "UPDATE expiring_user_group_membership SET last_verified = %s WHERE group_id = '%s'" % (
                self.any([moment(-10), moment(-3597), moment(-9000)]), group),
            "DELETE FROM expiring_user_group_membership WHERE user_id = '%s'" % user,
            "UPDATE identity_provider SET authorization_ttl = %s WHERE id = '%s'" % (
                self.any(['0', '1', '60', 'NULL']), self.idp),
            "UPDATE trust SET expires_at_int = %s WHERE id = '%s'" % (soon, trust),
            "UPDATE trust SET remaining_uses = %s WHERE id = '%s'" % (self.any(['0', '2', 'NULL', 'NULL']), trust),
            "UPDATE trust SET deleted_at = %s WHERE id = '%s'" % (self.any([moment(-1), 'NULL', 'NULL']), trust),
            "UPDATE trust SET impersonation = %s WHERE id = '%s'" % (flag, trust),
            "UPDATE trust SET trustor_user_id = '%s' WHERE id = '%s'" % (other, trust),
            "UPDATE trust SET redelegated_trust_id = NULL WHERE id = '%s'" % trust,
            "INSERT INTO trust_role (trust_id, role_id) VALUES ('%s', '%s')" % (trust, role),
            "DELETE FROM trust_role WHERE trust_id = '%s' AND role_id = '%s'" % (trust, role),
            "UPDATE trust_role SET role_id = '%s' WHERE trust_id = '%s' AND role_id = '%s'" % (implied, trust, role),
            "UPDATE vicar_keypair SET expires_at = %s WHERE trust_id = '%s'" % (soon, trust),
            "UPDATE vicar_keypair SET roles = NULL WHERE trust_id = '%s'" % trust,
            "DELETE FROM credential WHERE user_id = '%s'" % user,
            "UPDATE application_credential SET expires_at = %s WHERE id = '%s'" % (soon, credential),
            "UPDATE application_credential SET project_id = '%s' WHERE id = '%s'" % (project, credential),
            "UPDATE application_credential SET unrestricted = %s WHERE id = '%s'" % (flag, credential),
            "DELETE FROM application_credential_role WHERE application_credential_id = %s AND role_id = '%s'" % (
                of, role),
            "INSERT INTO application_credential_role (application_credential_id, role_id) SELECT internal_id, '%s' "
            "FROM application_credential WHERE id = '%s'" % (role, credential),
            "DELETE FROM application_credential_access_rule WHERE application_credential_id = %s" % of,
            "UPDATE access_rule SET path = '/%s' WHERE user_id = '%s'" % (fresh('x'), user),
            "INSERT INTO revocation_event (user_id, project_id, issued_before, revoked_at) VALUES "
            "('%s', '%s', %s, %s)" % (user, project, second, second),
            "INSERT INTO revocation_event (audit_id, issued_before, revoked_at) VALUES ('%s', %s, %s)" % (
                audit, moment(0), moment(0)),
            "INSERT INTO revocation_event (%s, issued_before, revoked_at) VALUES ('%s', %s, %s)" % (
                *self.any([('domain_id', domain), ('project_id', project), ('trust_id', trust), ('role_id', role),
                           ('audit_chain_id', audit)]), second, second),
            "DELETE FROM revocation_event WHERE user_id = '%s'" % user,
            "DELETE FROM revocation_event WHERE audit_id IS NOT NULL OR trust_id IS NOT NULL",
            "DELETE FROM revocation_event WHERE user_id IS NULL AND audit_id IS NULL",
            "UPDATE revocation_event SET user_id = '%s' WHERE user_id = '%s'" % (other, user),
            "DELETE FROM vicar_role_loss WHERE user_id = '%s'" % user,
            "UPDATE vicar_role_loss SET user_id = '%s' WHERE user_id = '%s'" % (other, user),
            "UPDATE service SET enabled = %s WHERE id = '%s'" % (flag, service),
            "UPDATE endpoint SET url = 'http://%s.example/' WHERE id = '%s'" % (fresh('e'), endpoint),
            "UPDATE endpoint SET enabled = %s WHERE id = '%s'" % (flag, endpoint),
            "INSERT INTO project_endpoint (endpoint_id, project_id) VALUES ('%s', '%s')" % (endpoint, project),
            "DELETE FROM project_endpoint WHERE project_id = '%s'" % project,
            "DELETE FROM project_endpoint WHERE endpoint_id = '%s'" % endpoint,
            "INSERT INTO service_provider (id, auth_url, sp_url, enabled, relay_state_prefix) VALUES "
            "('sp', 'https://a.example', 'https://b.example', %s, 'ss')" % flag,
            "DELETE FROM service_provider WHERE id = 'sp'",
            *self.rare(user, project, credential, trust),
        ])

    def rare(self, user, project, credential, trust):
        """Rows that take others with them, of which MariaDB's triggers hear nothing."""
        if not self.chance(0.06):
            return []
        if self.site.engine == 'postgresql' and self.chance(0.3):
            return 70 * ['TRUNCATE revocation_event', 'TRUNCATE system_assignment']
        with_user = "DELETE FROM user_group_membership WHERE user_id = '%s'" % user
        return 6 * [
            with_user, "DELETE FROM application_credential WHERE id = '%s'" % credential,
            'DELETE FROM "user" WHERE id = \'%s\'' % user, "DELETE FROM trust WHERE id = '%s'" % trust,
            "DELETE FROM vicar_trust_terms WHERE trust_id = '%s'" % trust,
            "DELETE FROM local_user WHERE user_id = '%s'" % user,
            "DELETE FROM role WHERE id = '%s'" % self.any(self.roles[2:]),
            "DELETE FROM project WHERE id = '%s'" % project,
            "DELETE FROM access_rule WHERE user_id = '%s'" % user]

    # --- keys

    def rotate(self):
        """Now and then a key goes that tokens are of."""
        if self.chance(0.5):
            self.site.command('keys', 'rotate')
            what = 'the token keys are rotated'
        else:
            names = sorted(int(x) for x in os.listdir(self.site.fernet))
            if len(names) > 2:
                os.unlink(os.path.join(self.site.fernet, str(names[1])))
            what = 'an old token key is removed'
        # What a server reads of them is half a second old at most.
        time.sleep(1.1)
        self.log_in()
        return what


class Member(stores.Replica):
    """One of those that are compared."""

    def __init__(self, config, remembers):
        super().__init__(config=config, settings={'cache': {'enabled': str(remembers).lower()}})
        self.metrics = stores.server.free_port()

    def command(self):
        args, more = super().command()
        args[args.index('--metrics-listen') + 1] = '127.0.0.1:%d' % self.metrics
        return args, more
