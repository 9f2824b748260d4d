#!/usr/bin/env python3
"""Several Vicars on one database and one set of keys.

    replicas.py [--engine sqlite|postgresql|mariadb]... [--replicas N] [--only PART...]

Parts: ends      what one has ended no other honours; how long one still did, measured under load
       uses      a trust with k uses yields k tokens, over all replicas and both doors
       chains    children and deletions from different replicas: no living child of a dead parent
       twins     the same thing made everywhere at once is made once
       rotation  new token keys under load: no good token is refused anywhere
       rolling   the replicas restart one after the other: no request fails
       backup    dumped while in use, restored into another server: tokens, trusts, keypairs work
       away      the database stands still, or is killed: 503, nothing from memory, and back again
"""
import argparse
import collections
import concurrent.futures
import http.client
import json
import os
import random
import secrets
import shutil
import sqlite3
import sys
import threading
import time

import harness

if __name__ == '__main__':
    harness.run_in('clients')

import api
import load
import server
import sign
import stores

PW = 'a password of the scene'
# What bounds an answer without a database: a connection, a statement, a turn to write.
LIMITS = {'connect_timeout': 2, 'pool_timeout': 3, 'statement_timeout': 4, 'lock_timeout': 3}
AWAY_SECONDS = 6               # an answer comes within this, with these limits
BACK_SECONDS = 5               # and a good one within this, once the database is back
Act = collections.namedtuple('Act', 'kind token end at_once also')


class Scene:
    def __init__(self, c, site):
        self.c, self.site = c, site
        self.apis = [api.Api(v.url) for v in site.vicars]
        self.rng = random.Random(7)
        a = self.apis[0]
        self.admin = a.admin(server.PASSWORD)
        self.roles = a.role_ids(self.admin)
        self.p = a.make(self.admin, 'project', name=fresh('p'))
        self.svc = self.person('service')
        self.service = a.login(self.svc, PW, api.project(self.p))
        self.pool = concurrent.futures.ThreadPoolExecutor(16)

    def any(self):
        return self.rng.choice(self.apis)

    def person(self, *roles):
        a = self.any()
        user = a.make(self.admin, 'user', name=fresh('user'), password=PW)
        for role in roles:
            a.grant(self.admin, self.roles[role], user, self.p)
        return user

    def pair(self):
        """A user, their token, and another who shall act for them."""
        owner, actor = self.person('member'), self.person()
        return owner, self.any().login(owner, PW, api.project(self.p)), actor

    def trust(self, token, owner, actor, **more):
        return self.any().trust(token, owner, actor, self.p, ['member'], **more)['id']

    def keypair(self, token, owner):
        return self.any().post('/users/%s/credentials/OS-EC2' % owner, token,
                               {'tenant_id': self.p}).want(201).body['credential']

    def exchange(self, at, pair):
        return at.post('/ec2tokens', self.service, sign.ec2_v2(pair['access'], pair['secret']))

    def together(self, calls):
        """All at once; their answers."""
        gate = threading.Barrier(len(calls))

        def one(call):
            gate.wait(30)
            return call()

        return [f.result(120) for f in [self.pool.submit(one, c) for c in calls]]


def fresh(name):
    return '%s-%s' % (name, secrets.token_hex(4))


class Background:
    """crash.py's load, while something else is measured."""

    def __init__(self, scene, threads=3):
        self.load = load.Load([v.url for v in scene.site.vicars], 'replicas', server.PASSWORD)
        self.workers = [threading.Thread(target=self.load.work, args=(i, 0), daemon=True)
                        for i in range(threads)]

    def __enter__(self):
        for w in self.workers:
            w.start()
        return self

    def __exit__(self, *_):
        self.load.stop.set()
        for w in self.workers:
            w.join(60)

    def judge(self, scene, what):
        """What the load saw, and whether it is so on every replica."""
        c, bg = scene.c, self.load
        for at in scene.apis:
            remaining = {r[0]: int(r[1]) for r in scene.site.rows(
                'SELECT id, remaining_uses FROM trust WHERE remaining_uses IS NOT NULL')}
            for family in bg.families:
                if len(family.things) > 5:
                    family.check(at, remaining)
        halves = stores.halves(scene.site)
        c.ok('%s: %d uses and %d ends by the load beside it, looked at on every replica' % (
            what, bg.counts.get('uses', 0), bg.counts.get('trusts ended', 0)),
            not bg.wrong and not halves, [t for _, t in bg.wrong[:5]] + halves)
        for family, text in bg.wrong[:3]:
            print('   %s\n%s' % (text, family.story() if family else ''))


# --- ends ---------------------------------------------------------------------------------

class Watcher(threading.Thread):
    """Asks one replica about a token, over one connection, again and again."""

    def __init__(self, at, admin, token):
        super().__init__(daemon=True)
        self.at, self.admin, self.token = at, admin.id, token
        self.seen = []                  # (asked, answered, status)
        self.over = threading.Event()

    def run(self):
        parts = self.at._parts
        line = http.client.HTTPConnection(parts.netloc, timeout=30)
        while not self.over.is_set():
            asked = time.monotonic()
            line.request('GET', parts.path + '/auth/tokens', headers={
                'X-Auth-Token': self.admin, 'X-Subject-Token': self.token})
            r = line.getresponse()
            r.read()
            self.seen.append((asked, time.monotonic(), r.status))
        line.close()


def acts(s):
    """Every way in which authority ends: (its name, a token of it, the ending, what is refused
    afterwards, and what else must be refused)."""
    def trust_deleted():
        owner, own, actor = s.pair()
        t = s.trust(own, owner, actor)
        token = s.any().login(actor, PW, api.trust(t))
        return Act('trust deleted', token, lambda a: a.delete('/OS-TRUST/trusts/' + t, own),
                   204, lambda a: a.login_answer(actor, PW, api.trust(t)))

    def top_deleted():
        owner, own, actor = s.pair()
        t = s.trust(own, owner, actor, allow_redelegation=True)
        last = s.person()
        up = s.any().login(actor, PW, api.trust(t))
        t2 = s.trust(up, owner, last, allow_redelegation=True)
        leaf = s.person()
        t3 = s.trust(s.any().login(last, PW, api.trust(t2)), owner, leaf)
        token = s.any().login(leaf, PW, api.trust(t3))
        return Act('trust above deleted', token,
                   lambda a: a.delete('/OS-TRUST/trusts/' + t, own), 204,
                   lambda a: a.login_answer(leaf, PW, api.trust(t3)))

    def revoked():
        user = s.person('member')
        token = s.any().login(user, PW, api.project(s.p))
        return Act('token revoked', token, lambda a: a.revoke(token, token), 204,
                   lambda a: a.exchange_answer(token, api.project(s.p)))

    def disabled():
        user = s.person('member')
        token = s.any().login(user, PW, api.project(s.p))
        return Act('user disabled', token, lambda a: a.patch(
            '/users/' + user, s.admin, {'user': {'enabled': False}}), 200,
            lambda a: a.login_answer(user, PW))

    def ungranted():
        user = s.person('member')
        token = s.any().login(user, PW, api.project(s.p))
        return Act('grant removed', token, lambda a: a.delete(
            '/projects/%s/users/%s/roles/%s' % (s.p, user, s.roles['member']), s.admin), 204,
            lambda a: a.login_answer(user, PW, api.project(s.p)))

    def keypair_deleted():
        owner, own, actor = s.pair()
        t = s.trust(own, owner, actor)
        pair = s.keypair(s.any().login(actor, PW, api.trust(t)), owner)
        token = api.Token(s.exchange(s.any(), pair))
        return Act('keypair deleted', token, lambda a: a.delete(
            '/users/%s/credentials/OS-EC2/%s' % (owner, pair['access']), own), 204,
            lambda a: s.exchange(a, pair))

    def new_password():
        user = s.person('member')
        token = s.any().login(user, PW, api.project(s.p))
        return Act('password changed', token, lambda a: a.post(
            '/users/%s/password' % user, None,
            {'user': {'original_password': PW, 'password': 'next'}}), 204,
            lambda a: a.login_answer(user, PW))

    return [trust_deleted, top_deleted, revoked, disabled, ungranted, keypair_deleted,
            new_password]


def ends(s, times):
    c = s.c
    with Background(s) as bg:
        for make in acts(s):
            stale, own, others, asked = [], [], [], 0
            for _ in range(times):
                act = make()
                doer = s.rng.choice(s.apis)
                rest = [a for a in s.apis if a is not doer]
                watchers = [Watcher(a, s.admin, act.token.id) for a in rest]
                for w in watchers:
                    w.start()
                while not all(w.seen for w in watchers):
                    time.sleep(0.01)
                answer = act.end(doer)
                at = time.monotonic()
                answer.want(act.at_once)
                own.append(doer.validate(s.admin, act.token).status)
                others += [act.also(a).status for a in s.apis]
                time.sleep(0.15)
                for w in watchers:
                    w.over.set()
                    w.join(30)
                    # Honoured: asked after the acknowledgement, and answered with 200.
                    stale += [asked_at - at for asked_at, _, status in w.seen
                              if status == 200 and asked_at > at]
                    before = [x for x in w.seen if x[0] < at]
                    asked += len(w.seen)
                    if not before or before[0][2] != 200 or w.seen[-1][2] != 404:
                        others.append('the watcher saw %s' % sorted({x[2] for x in w.seen}))
            name = act.kind
            c.ok('%s %d times: the replica that answered honours nothing any more' % (
                name, times), set(own) == {404}, own)
            c.ok('... nor any other: longest %.0f ms, asked %d times meanwhile' % (
                1000 * max(stale, default=0), asked), max(stale, default=0) <= 1, stale)
            c.ok('... and what would give a new token is refused everywhere',
                 all(x in (401, 403, 404) for x in others), others)
            s.stalest = max(s.stalest, max(stale, default=0))
    bg.judge(s, 'ends')


# --- uses, chains, twins --------------------------------------------------------------------

def uses(s, times):
    c = s.c
    for _ in range(times):
        k = 12
        owner, own, actor = s.pair()
        # The keypair takes a use of its own to be made.
        t = s.trust(own, owner, actor, remaining_uses=k + 1)
        pair = s.keypair(s.any().login(actor, PW, api.trust(t)), owner)
        base = s.any().login(actor, PW)

        def attempt(j):
            at = s.apis[j % len(s.apis)]
            door = j // len(s.apis) % 3
            if door == 0:
                return at.exchange_answer(base, api.trust(t)).status
            if door == 1:
                return at.login_answer(actor, PW, api.trust(t)).status
            return s.exchange(at, pair).status

        got = collections.Counter()
        lock = threading.Lock()
        jobs = iter(range(3 * k))

        def worker():
            while True:
                with lock:
                    j = next(jobs, None)
                if j is None:
                    return
                status = attempt(j)
                with lock:
                    got[status] += 1

        s.together([worker] * 6)
        good = got[200] + got[201]
        c.ok('a trust with %d uses, %d attempts by three doors at %d replicas: %d good' % (
            k, 3 * k, len(s.apis), good), good == k and set(got) <= {200, 201, 401}, dict(got))
        left = s.rows_of('SELECT remaining_uses FROM trust WHERE id = \'%s\'' % t)
        c.equal('... and nothing left', left, [['0']])


def chains(s, times):
    c = s.c
    seen = collections.Counter()
    alive, odd = [], []
    for i in range(times):
        owner, own, actor = s.pair()
        t = s.trust(own, owner, actor, allow_redelegation=True)
        up = s.any().login(actor, PW, api.trust(t))
        below = s.person()
        n = len(s.apis)

        def grow(at):
            r = at.trust_answer(up, owner, below, s.p, ['member'], expires_at=api.stamp(
                600 + 60 * s.apis.index(at)))
            if r.status != 201:
                return r.status, None, None
            child = r.body['trust']['id']
            got = at.login_answer(below, PW, api.trust(child))
            return 201, child, got.headers.get('X-Subject-Token')

        def cut(at):
            time.sleep(s.rng.random() * 0.006)
            return at.delete('/OS-TRUST/trusts/' + t, own).status, None, None

        jobs = [lambda a=s.apis[(i + j) % n]: grow(a) for j in range(1, n + 1)]
        answers = s.together(jobs + [lambda: cut(s.apis[i % n])])
        if answers[-1][0] != 204:
            odd.append(answers[-1])
        for status, child, token in answers[:-1]:
            seen[status] += 1
            if status not in (201, 401, 403, 404):
                odd.append(status)
            for a in s.apis:
                if child and a.get('/OS-TRUST/trusts/' + child, s.admin).status != 404:
                    alive.append(child)
                if child and a.login_answer(below, PW, api.trust(child)).status != 401:
                    alive.append('login ' + child)
                if token and a.validate(s.admin, token).status != 404:
                    alive.append('token of ' + child)
    c.ok('%d parents deleted while children are made at every replica (%s): none lives on' % (
        times, dict(seen)), not alive, alive[:5])
    c.ok('... and nobody got an answer that no client understands', not odd, odd[:5])
    c.equal('... nor is anything in between in the database', stores.halves(s.site), [])


def twins(s, times):
    c = s.c
    owner, own, actor = s.pair()
    kinds = {
        'user': lambda a, n: a.post('/users', s.admin, {'user': {'name': n, 'password': PW}}),
        'project': lambda a, n: a.post('/projects', s.admin, {'project': {'name': n}}),
        'domain': lambda a, n: a.post('/domains', s.admin, {'domain': {'name': n}}),
        'role': lambda a, n: a.post('/roles', s.admin, {'role': {'name': n}}),
        'group': lambda a, n: a.post('/groups', s.admin, {'group': {'name': n}}),
        'region': lambda a, n: a.post('/regions', s.admin, {'region': {'id': n}}),
        'trust': lambda a, n: a.trust_answer(own, owner, actor, s.p, ['member'], expires_at=n),
        'credential': lambda a, n: a.post('/credentials', s.admin, {'credential': {
            'type': 'ec2', 'user_id': owner, 'project_id': s.p,
            'blob': json.dumps({'access': n, 'secret': 'x'})}}),
    }
    for kind, make in kinds.items():
        bad = []
        for i in range(times):
            name = fresh(kind)
            if kind == 'trust':
                name = api.stamp(3600 + 10 * i)
            got = sorted(r.status for r in s.together(
                [lambda a=a: make(a, name) for a in s.apis] * 2))
            if got != [201] + [409] * (len(got) - 1):
                bad.append(got)
        c.ok('the same %s %d times at every replica at once: one is made, the others are told' % (
            kind, times), not bad, bad[:4])


# --- keys, restarts -------------------------------------------------------------------------

def rotation(s, seconds):
    """max_active_keys is 6 here, so tokens outlive four rotations."""
    c = s.c
    user = s.person('member')
    over = threading.Event()
    refused, counts = [], collections.Counter()
    kept = []

    def turn(i):
        rng = random.Random(i)
        while not over.is_set():
            at = rng.choice(s.apis)
            r = at.login_answer(user, PW, api.project(s.p))
            if r.status != 201:
                refused.append(('login', r.status, r.text[:100]))
                continue
            token = api.Token(r)
            counts['tokens'] += 1
            kept.append(token)
            for other in s.apis:
                for subject in (token, rng.choice(kept)):
                    got = other.validate(s.admin, subject).status
                    counts['validations'] += 1
                    if got != 200:
                        refused.append(('validation', got))
            pair_ok = other.get('/users/' + user, s.admin).status
            if pair_ok != 200:
                refused.append(('use', pair_ok))

    threads = [threading.Thread(target=turn, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for _ in range(3):
        time.sleep(seconds / 4)
        s.site.command('keys', 'rotate')
    time.sleep(seconds / 4)
    over.set()
    for t in threads:
        t.join(60)
    c.ok('three rotations of the token keys, %d tokens, %d validations at every replica: none '
         'refused' % (counts['tokens'], counts['validations']),
         not refused and counts['tokens'] > 20, refused[:5])
    s.site.command('keys', 'rotate', '--credential')
    s.site.command('keys', 'migrate')
    owner, own, actor = s.pair()
    pair = s.keypair(s.any().login(actor, PW, api.trust(s.trust(own, owner, actor))), owner)
    got = [s.exchange(a, pair).status for a in s.apis]
    c.equal('new keys of credentials: a keypair is good at every replica', set(got), {200})


def expand(s):
    """What the next version may do while this one serves (decision 0009): every kind of change that a step
    can have. Replicas that start afterwards find a schema that is newer than their own."""
    (version,), = s.site.rows('SELECT MAX(version) FROM vicar_schema')
    s.site.change([
        'CREATE TABLE vicar_next (id INTEGER NOT NULL PRIMARY KEY)',
        'ALTER TABLE vicar_trust_state ADD COLUMN next_note VARCHAR(16)',
        'ALTER TABLE vicar_keypair ADD COLUMN next_count INTEGER DEFAULT 0 NOT NULL',
        'CREATE INDEX ix_vicar_next_external ON vicar_trust_state (external)',
        'CREATE INDEX ix_vicar_next_deleted_at ON trust (deleted_at)',
        'INSERT INTO vicar_schema (version, applied_at, serves_from) '
        "VALUES (%d, '2026-01-01 00:00:00', %s)" % (int(version) + 1, version)])


def rolling(s):
    """A client as a load balancer is: one replica after the other, the next one when a
    connection is refused, and nothing else is forgiven."""
    c = s.c
    user, owner = s.person('member'), None
    owner, own, actor = s.pair()
    t = s.trust(own, owner, actor)
    over = threading.Event()
    failed, counts = [], collections.Counter()

    def request(turn, call):
        for i in range(3 * len(s.apis)):
            at = s.apis[(turn + i) % len(s.apis)]
            try:
                r = call(at)
            except ConnectionRefusedError:
                counts['refused connections'] += 1
                if i >= len(s.apis) - 1:
                    time.sleep(0.02)
                continue
            except (OSError, http.client.HTTPException) as e:
                failed.append('%s from replica %d' % (type(e).__name__, s.apis.index(at)))
                return None
            counts['requests'] += 1
            if r.status >= 400:
                failed.append('%s %s -> %s %s' % (r.method, r.path, r.status, r.text[:200]))
            return r
        failed.append('no replica listened')
        return None

    def client(i):
        turn = i
        while not over.is_set():
            turn += 1
            r = request(turn, lambda a: a.login_answer(user, PW, api.project(s.p)))
            if r is None or r.status != 201:
                continue
            token = api.Token(r)
            request(turn + 1, lambda a: a.validate(s.admin, token))
            request(turn + 2, lambda a: a.login_answer(actor, PW, api.trust(t)))
            request(turn + 3, lambda a: a.patch('/users/' + user, s.admin, {
                'user': {'description': str(turn)}}))

    threads = [threading.Thread(target=client, args=(i,)) for i in range(4)]
    for x in threads:
        x.start()
    took = []
    for turn in range(2):
        if turn:
            expand(s)
        for v in s.site.vicars:
            began = time.monotonic()
            v.halt()
            v.launch()
            v.until_ready()
            took.append(time.monotonic() - began)
            time.sleep(0.2)
    over.set()
    for x in threads:
        x.join(60)
    c.ok('two rolling restarts of %d replicas, in between a step of the next version\'s schema: '
         '%d requests, %d refused connections, no request failed' % (
             len(s.apis), counts['requests'], counts['refused connections']),
         not failed and counts['requests'] > 100, '%d: %s' % (len(failed), failed[:5]))
    print('      a restart took at most %.0f ms' % (1000 * max(took)))


# --- the database ---------------------------------------------------------------------------

def answer(at, method, path, patience=60, **kw):
    """(status, seconds, headers); status is a word when there was none."""
    line = http.client.HTTPConnection(at._parts.netloc, timeout=patience)
    began = time.monotonic()
    try:
        line.request(method, path, **kw)
        r = line.getresponse()
        r.read()
        return r.status, time.monotonic() - began, r.headers
    except OSError as e:
        return type(e).__name__, time.monotonic() - began, {}
    finally:
        line.close()


def away(s):
    if s.site.engine == 'sqlite':
        return locked(s)
    c = s.c
    user = s.person('member')
    token = s.any().login(user, PW, api.project(s.p))
    db = s.site.database
    body = json.dumps({'auth': {'identity': {'methods': ['password'], 'password': {
        'user': {'id': user, 'password': PW}}}}})
    rename = json.dumps({'user': {'description': 'x'}})
    head = {'X-Auth-Token': s.admin.id, 'X-Subject-Token': token.id}
    js = dict(head, **{'Content-Type': 'application/json'})
    asks = [('GET', '/v3/auth/tokens', dict(headers=head)),
            ('POST', '/v3/auth/tokens', dict(body=body, headers=js)),
            ('PATCH', '/v3/users/' + user, dict(body=rename, headers=js)),
            ('GET', '/readyz', {})]

    def everywhere():
        jobs = [(lambda a=a, x=x: answer(a, x[0], x[1], **x[2])) for a in s.apis for x in asks]
        return s.together(jobs[:16])

    def without(what, stop, back):
        everywhere()                     # all of them have connections
        stop()
        began = time.monotonic()
        rounds = []
        while time.monotonic() - began < 4 or len(rounds) < 2:
            rounds.append(everywhere())
            alive = [answer(a, 'GET', '/healthz') for a in s.apis]
            c.ok('%s: /healthz is good everywhere, after at most %.0f ms' % (
                what, 1000 * max(x[1] for x in alive)),
                all(x[0] == 200 and x[1] < 1 for x in alive), alive) if len(rounds) == 1 else None
            time.sleep(0.2)
        flat = [x for r in rounds for x in r]
        c.ok('%s: %d answers, all of them 503' % (what, len(flat)),
             all(x[0] == 503 for x in flat), collections.Counter(x[0] for x in flat))
        c.ok('... with Retry-After', all(x[2].get('Retry-After') for x in flat if x[0] == 503))
        slowest = [max(x[1] for x in r) for r in rounds]
        c.ok('... within %.1f s (%.1f s at first)' % (max(slowest), slowest[0]),
             max(slowest) < AWAY_SECONDS, slowest)
        back()
        began = time.monotonic()
        while True:
            got = everywhere()
            if all(x[0] == 200 or x[0] == 201 for x in got):
                break
            if time.monotonic() - began > 4 * BACK_SECONDS:
                break
            time.sleep(0.02)
        took = time.monotonic() - began
        c.ok('... and %.0f ms after it is back everything is good everywhere' % (1000 * took),
             took < BACK_SECONDS, [x[0] for x in got])

    without('the database stands still', db.freeze, db.thaw)
    without('the database is killed', db.kill, db.start)
    gone = s.any().login(user, PW, api.project(s.p))
    db.freeze()
    threads = [threading.Thread(target=lambda: answer(s.apis[0], 'DELETE', '/v3/auth/tokens',
                                                      headers=dict(head, **{
                                                          'X-Subject-Token': gone.id})))]
    threads[0].start()
    time.sleep(0.5)
    s.site.vicars[0].kill()
    db.thaw()
    threads[0].join()
    got = {a.validate(s.admin, gone).status for a in s.apis[1:]}
    c.ok('a replica killed with a write under way: the others answer, and agree',
         len(got) == 1 and got <= {200, 404}, got)
    s.site.vicars[0].launch()
    s.site.vicars[0].until_ready()


def locked(s):
    """SQLite: somebody else writes for a second. Reads go on, writes wait for it."""
    c = s.c
    user = s.person('member')
    token = s.any().login(user, PW, api.project(s.p))
    at = sqlite3.connect(s.site.database.path(s.site.name), timeout=30, isolation_level=None)
    at.execute('BEGIN IMMEDIATE')
    began = time.monotonic()
    jobs = [lambda a=a: (a.patch('/users/' + user, s.admin, {'user': {'description': 'x'}}),
                         time.monotonic() - began) for a in s.apis]
    waiting = [s.pool.submit(j) for j in jobs]
    time.sleep(0.1)
    reads = []
    while time.monotonic() - began < 1.5:
        for a in s.apis:
            start = time.monotonic()
            a.validate(s.admin, token).want(200)
            reads.append(time.monotonic() - start)
    at.execute('ROLLBACK')
    at.close()
    c.ok('while another process writes: %d reads, none longer than %.0f ms' % (
        len(reads), 1000 * max(reads)), max(reads) < 1 and len(reads) > 20, max(reads))
    got = [w.result(60) for w in waiting]
    c.ok('... and writes are done when it is over', all(
        r.status == 200 and t >= 1.5 for r, t in got), [(r.status, t) for r, t in got])


def backup(s):
    """Everything that docs/backup.md tells to keep, taken while there is a load."""
    c, site = s.c, s.site
    owner, own, actor = s.pair()
    t = s.trust(own, owner, actor, allow_redelegation=True)
    token = s.any().login(actor, PW, api.trust(t))
    pair = s.keypair(token, owner)
    dead = s.trust(own, owner, actor, expires_at=api.stamp(5000))
    dead_token = s.any().login(actor, PW, api.trust(dead))
    s.any().delete('/OS-TRUST/trusts/' + dead, own).want(204)
    with Background(s, 2):
        time.sleep(0.4)
        dumped = site.database.dump(site.name)
    later = s.trust(own, owner, actor, expires_at=api.stamp(4000))
    other = stores.Site(site.engine, replicas=0, fresh=False, durable=False)
    try:
        other.begin()
        other.database.restore(other.name, dumped)
        for keys in ('fernet', 'credential'):
            shutil.copytree(getattr(site, keys), getattr(other, keys))
        c.equal('restored: nothing is in between', stores.halves(other), [])
        said = other.command('doctor', want=None)
        c.ok('... and doctor finds nothing broken', 'FAIL' not in said, said)
        v = other.add().start()
        b = api.Api(v.url)
        c.equal('... a token from before is good', b.validate(s.admin, token).status, 200)
        c.equal('... its trust yields another', b.login_answer(
            actor, PW, api.trust(t)).status, 201)
        c.equal('... its keypair is exchanged', s.exchange(b, pair).status, 200)
        below = b.trust_answer(b.login(actor, PW, api.trust(t)), owner, s.svc, s.p, ['member'])
        c.status('... it is redelegated', below, 201)
        c.equal('... what was dead is dead', (
            b.validate(s.admin, dead_token).status,
            b.login_answer(actor, PW, api.trust(dead)).status), (404, 401))
        c.equal('... what was made after the dump is not there',
                b.get('/OS-TRUST/trusts/' + later, s.admin).status, 404)
        v.halt()
        shutil.rmtree(other.fernet)
        other.command('keys', 'setup')
        v.start()
        c.equal('... with new token keys no token of before is good',
                b.get('/auth/tokens', s.admin, headers={'X-Subject-Token': token.id}).status, 401)
        c.equal('... and the trust yields one to who logs in', b.login_answer(
            actor, PW, api.trust(t)).status, 201)
    finally:
        other.stop()
        if site.engine == 'sqlite':
            os.unlink(dumped)


PARTS = ['ends', 'uses', 'chains', 'twins', 'rotation', 'rolling', 'backup', 'away']


def play(c, engine, options):
    limits = {} if engine == 'sqlite' else {'database': LIMITS}
    with stores.Site(engine, replicas=options.replicas, settings=limits,
                     durable=False) as site:
        s = Scene(c, site)
        s.stalest, s.rows_of = 0, site.rows
        n = options.times
        run = {'ends': lambda: ends(s, 2 * n), 'uses': lambda: uses(s, 2 * n),
               'chains': lambda: chains(s, 12 * n), 'twins': lambda: twins(s, 3 * n),
               'rotation': lambda: rotation(s, 4 * n), 'rolling': lambda: rolling(s),
               'backup': lambda: backup(s), 'away': lambda: away(s)}
        for part in options.only:
            began = time.monotonic()
            c.part('%s: %s, %d replicas' % (engine, part, options.replicas), run[part])
            print('      (%.0f s)' % (time.monotonic() - began))
        print('\n%s: the longest that anything ended was still honoured: %.0f ms' % (
            engine, 1000 * s.stalest))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--engine', nargs='+', choices=stores.ENGINES, default=['sqlite'])
    parser.add_argument('--replicas', type=int, default=3)
    parser.add_argument('--times', type=int, default=1, help='so many times the usual trouble')
    parser.add_argument('--only', nargs='+', choices=PARTS, default=PARTS)
    options = parser.parse_args()
    c = harness.Checks()
    for engine in options.engine:
        stores.available(engine)
        c.part('replicas on %s' % engine, play, c, engine, options)
    return c.close()


if __name__ == '__main__':
    sys.exit(main())
