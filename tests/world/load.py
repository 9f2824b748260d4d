"""A write load on Vicar that remembers what was acknowledged: what crash.py kills.

A `Thing` is something that was made and may end: a user, a trust, a keypair, a token, and also
the time for which a password or a grant holds. It hangs on others, and is dead when one of them
is. `end` is ALIVE, DEAD (acknowledged), or MAYBE: a change was sent and no answer came, so either
is right. Afterwards `Family.check` looks which it was, and then everything that hangs on it has
to agree: wholly alive or wholly dead.
"""
import http.client
import itertools
import random
import secrets
import threading
import time
import traceback

import api
import sign

ALIVE, MAYBE, DEAD = 0, 1, 2
WORDS = {ALIVE: 'alive', MAYBE: 'unknown', DEAD: 'dead'}
NAMES = itertools.count(1)
# Away, or a proxy before it says so: nobody knows whether it was done.
NO_ANSWER = (502, 503, 504)
LARGE = 45                     # so many things, and a family takes part no more
# What a dead one is answered with. A login that is refused is 401; who is no trustee, 403.
REFUSED = (401, 403, 404)


class Stopped(Exception):
    """The server is away, and this worker's round over."""


class Thing:
    def __init__(self, kind, id, *above, **more):
        self.kind, self.id, self.above = kind, id, above
        self.end = ALIVE
        self.uses = None                # of a counted trust
        self.taken = self.perhaps = 0   # acknowledged; without an answer
        self.busy = threading.Lock()
        vars(self).update(more)

    def own(self):
        if self.uses is not None and self.end != DEAD:
            if self.taken >= self.uses:
                return DEAD
            if self.taken + self.perhaps >= self.uses:
                return MAYBE
        return self.end

    def state(self):
        worst = self.own()
        for t in self.above:
            if worst == DEAD:
                break
            worst = max(worst, t.state())
        return worst

    def __str__(self):
        return '%s %s' % (self.kind, self.id[-8:] if self.kind == 'token' else self.id[:12])


class Load:
    """What all workers share."""

    def __init__(self, urls, seed, password):
        self.apis = [api.Api(u) for u in urls]
        self.seed = seed
        self.stop = threading.Event()
        self.families = []
        self.lock = threading.Lock()
        self.wrong = []                 # (family, text)
        self.counts = {}
        self.unanswered = 0
        self.checked = 0
        a = self.apis[0]
        self.admin = a.admin(password)
        self.roles = a.role_ids(self.admin)
        name = 'service-of-the-load-' + secrets.token_hex(4)
        self.project = a.make(self.admin, 'project', name=name)
        user = a.make(self.admin, 'user', name=name, password='pw')
        a.grant(self.admin, self.roles['service'], user, self.project)
        self.service = a.login(user, 'pw', api.project(self.project))

    def fail(self, family, text):
        with self.lock:
            self.wrong.append((family, text))

    def count(self, what):
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + 1

    def work(self, number, round_):
        """One worker, until it is stopped or the server is away."""
        worker = Worker(self, number, random.Random('%s-%s-%s' % (self.seed, round_, number)))
        try:
            while not self.stop.is_set():
                worker.step()
        except Stopped:
            pass
        except Exception:
            self.fail(None, 'a worker ended: %s' % traceback.format_exc())


class Worker:
    def __init__(self, load, number, rng):
        self.load, self.number, self.rng = load, number, rng
        self.api = load.apis[number % len(load.apis)]

    def ask(self, family, what, method, path, token=None, body=None, **kw):
        """The answer, or nothing when nobody knows what was done. Stopped comes after that."""
        load = self.load
        if load.stop.is_set():
            raise Stopped
        try:
            r = self.api.call(method, path, token, body, **kw)
        except ConnectionRefusedError:
            family.note(self.number, what, 'refused a connection')
            raise Stopped from None
        except (OSError, http.client.HTTPException) as e:
            family.note(self.number, what, 'NO ANSWER (%s)' % type(e).__name__)
            with load.lock:
                load.unanswered += 1
            return None
        family.note(self.number, what, r.status)
        if r.status in NO_ANSWER:
            with load.lock:
                load.unanswered += 1
            load.stop.wait(0.05)
            return None
        if r.status >= 500:
            load.fail(family, '%s: %s %s' % (what, r.status, r.text[:300]))
            return None
        return r

    # --- what a worker does -------------------------------------------------------------

    def step(self):
        load, rng = self.load, self.rng
        with load.lock:
            mine = [f for f in load.families if not f.retired]
        if len(mine) < 6 or rng.random() < 0.02:
            return self.new_family()
        f = rng.choice(mine)
        f.touched = True
        ops = [(self.root, 6), (self.redelegate, 10), (self.chain, 3), (self.counted, 5),
               (self.consume_any, 10), (self.consume_counted, 12), (self.keypair, 6),
               (self.exchange_any, 8), (self.end_trust, 4), (self.end_keypair, 2),
               (self.revoke, 4), (self.password, 2), (self.ungrant, 1), (self.grant_again, 4),
               (self.end_user, 0.4), (self.plain, 3)]
        op = rng.choices([o for o, _ in ops], [w for _, w in ops])[0]
        try:
            op(f)
        finally:
            if len(f.things) > LARGE:
                f.retired = True
                if rng.random() < 0.3:
                    self.end_whole(f)

    def new_family(self):
        f = Family(self.load)
        name = 'f%d-%s' % (next(NAMES), secrets.token_hex(3))
        load = self.load
        r = self.ask(f, 'make project', 'POST', '/projects', load.admin,
                     {'project': {'name': name}})
        if r is None or r.status != 201:
            return
        f.project = f.add(Thing('project', r.body['project']['id']))
        for i in range(4):
            password = secrets.token_hex(8)
            r = self.ask(f, 'make user', 'POST', '/users', load.admin,
                         {'user': {'name': '%s-%d' % (name, i), 'password': password}})
            if r is None or r.status != 201:
                break
            f.users.append(f.add(Thing('user', r.body['user']['id'], passwords=[password],
                                       since=Thing('password', 'first'), former=None, session=None)))
            load.count('users made')
        else:
            owner = f.users[0]
            r = self.ask(f, 'grant', 'PUT', f.grant_path(), load.admin)
            if r is not None and r.status == 204:
                f.owner = owner
                f.granted = Thing('grant', owner.id)
        with load.lock:
            load.families.append(f)
        f.retired = f.owner is None       # what was made is checked all the same
        f.touched = True

    def quiet(self, things, before):
        """Nothing that these hang on was changed meanwhile."""
        return [t.end for t in things] == before and MAYBE not in before

    def session(self, f, user):
        """A token of a user's own, or nothing."""
        if user.session is not None and user.session.state() == ALIVE:
            return user.session
        if user.state() == DEAD or len(user.passwords) != 1:
            return None
        since, granted = user.since, f.granted
        over = [user, since] + ([granted, f.project] if user is f.owner else [])
        before = [t.end for t in over]
        scope = api.project(f.project.id) if user is f.owner else None
        if user is f.owner and granted.end != ALIVE:
            return None
        r = self.ask(f, 'log in %s' % user, 'POST', '/auth/tokens',
                     body=login(user.id, user.passwords[0], scope))
        if r is None or since is not user.since or not self.quiet(over, before):
            return None
        if r.status != 201:
            if f.granted is granted and not f.granting:
                self.load.fail(f, '%s could not log in: %s %s' % (user, r.status, r.text[:200]))
            return None
        token = f.add(Thing('token', r.headers['X-Subject-Token'], *over))
        user.session = token
        f.note(self.number, '... it is', token)
        return token

    def consume(self, f, trust):
        """A token of the trust, by a password or a login; counted and judged."""
        trustee, owner = trust.trustee, f.owner
        over = [trust, f.granted, owner.since, *sinces(trust)]
        granting = f.granting
        if self.rng.random() < 0.5 and len(trustee.passwords) == 1:
            body = login(trustee.id, trustee.passwords[0], api.trust(trust.id))
        else:
            s = self.session(f, trustee)
            if s is None:
                return None
            over.append(s)
            body = {'auth': {'identity': {'methods': ['token'], 'token': {'id': s.id}},
                             'scope': api.trust(trust.id)}}
        return self.use(f, trust, over, granting, 'consume %s' % trust, 'POST', '/auth/tokens',
                        None, body, 201)

    def use(self, f, trust, over, granting, what, method, path, token, body, good):
        before = [t.state() for t in over]
        with self.load.lock:
            trust.perhaps += 1
        try:
            r = self.ask(f, what, method, path, token, body)
        except Stopped:
            with self.load.lock:
                trust.perhaps -= 1
            raise
        if r is None:
            return None
        with self.load.lock:
            trust.perhaps -= 1
            if r.status == good:
                trust.taken += 1
        after = [t.state() for t in over]
        same = (over[1] is f.granted and over[2] is f.owner.since and not granting
                and not f.granting and all(s in over for s in sinces(trust)))
        self.load.count('uses')
        if r.status == good:
            if trust.uses is not None and trust.taken > trust.uses:
                self.load.fail(f, '%s was used more than %d times' % (trust, trust.uses))
            # What was dead when it was asked stays so; only a grant can come back, and after a
            # password there is the next.
            gone = [t for t, b in zip(over, before) if b == DEAD
                    and t.kind not in ('grant', 'password')]
            if gone:
                self.load.fail(f, '%s: good, but %s was dead' % (what, gone[0]))
            if not same or max(before) or max(after):
                return None
            # The login that it came from may be revoked by itself.
            token = f.add(Thing('token', r.headers['X-Subject-Token'],
                                *[t for t in over if t.kind != 'token']))
            f.note(self.number, '... it is', token)
            return token
        if same and not max(before) and not max(after):
            self.load.fail(f, '%s: %s though all of it lives: %s' % (what, r.status, r.text[:200]))
        return None

    def trust(self, f, token, trustee, parent=None, uses=None):
        """A trust of the owner's, from their login or from a trust's token."""
        depth = parent.depth + 1 if parent else 1
        ends = f.end(self.rng, int(parent.ends if parent else time.time() + 10 ** 6))
        leaf = uses is not None or depth == 3
        body = {'trustor_user_id': f.owner.id, 'trustee_user_id': trustee.id,
                'project_id': f.project.id, 'impersonation': True, 'roles': [{'name': 'member'}],
                'expires_at': api.stamp(ends - time.time()), 'remaining_uses': uses,
                'allow_redelegation': not leaf}
        if parent is None and not leaf:
            body['redelegation_count'] = 2
        r = self.ask(f, '%s to %s%s' % ('redelegate %s' % parent if parent else 'delegate',
                                        trustee, '' if uses is None else ', %d uses' % uses),
                     'POST', '/OS-TRUST/trusts', token.id, {'trust': body})
        if r is None:
            return None
        if r.status != 201:
            if token.state() == ALIVE and trustee.state() == ALIVE:
                self.load.fail(f, 'no trust: %s %s' % (r.status, r.text[:300]))
            return None
        self.load.count('trusts made' if parent is None else 'trusts redelegated')
        above = [parent] if parent else [f.owner, f.project]
        f.note(self.number, '... it is', r.body['trust']['id'][:12])
        return f.add(Thing('trust', r.body['trust']['id'], *above, trustee, uses=uses,
                           parent=parent, trustee=trustee, depth=depth, ends=ends))

    def root(self, f, uses=None):
        s = self.session(f, f.owner)
        return s and self.trust(f, s, self.rng.choice(f.users[1:]), uses=uses)

    def counted(self, f):
        uses = self.rng.randint(1, 6)
        parent = f.pick(self.rng, 'trust', lambda t: t.depth < 3 and t.uses is None)
        if parent is None or self.rng.random() < 0.5:
            return self.root(f, uses)
        token = self.consume(f, parent)
        return token and self.trust(f, token, self.rng.choice(f.users[1:]), parent, uses)

    def redelegate(self, f, parent=None):
        parent = parent or f.pick(self.rng, 'trust', lambda t: t.depth < 3 and t.uses is None)
        token = parent and self.consume(f, parent)
        return token and self.trust(f, token, self.rng.choice(f.users[1:]), parent)

    def chain(self, f):
        t = self.root(f)
        while t and t.depth < 3:
            t = self.redelegate(f, t)

    def consume_any(self, f):
        trust = f.pick(self.rng, 'trust', any_state=self.rng.random() < 0.15)
        return trust and self.consume(f, trust)

    def consume_counted(self, f):
        trust = f.pick(self.rng, 'trust', lambda t: t.uses is not None)
        if trust is None:
            return self.counted(f)
        return self.consume(f, trust)

    def keypair(self, f):
        trust = f.pick(self.rng, 'trust')
        token = trust and self.consume(f, trust)
        if not token:
            return
        r = self.ask(f, 'keypair of %s' % trust, 'POST',
                     '/users/%s/credentials/OS-EC2' % f.owner.id, token.id,
                     {'tenant_id': f.project.id})
        if r is None:
            return
        if r.status == 201:
            self.load.count('keypairs made')
            pair = r.body['credential']
            f.add(Thing('keypair', pair['access'], trust, secret=pair['secret'], trust=trust))
        elif token.state() == ALIVE:
            self.load.fail(f, 'no keypair: %s %s' % (r.status, r.text[:300]))

    def exchange_any(self, f):
        pair = f.pick(self.rng, 'keypair', any_state=self.rng.random() < 0.15)
        if pair is None:
            return
        over = [pair, f.granted, f.owner.since, *sinces(pair.trust)]
        self.use(f, pair.trust, over, f.granting, 'exchange %s' % pair, 'POST', '/ec2tokens',
                 self.load.service, sign.ec2_v2(pair.id, pair.secret), 200)

    def ending(self, f, thing, what, method, path, token, good, **kw):
        """An end that is sent: MAYBE until the answer."""
        if not thing.busy.acquire(blocking=False):
            return None
        try:
            was, thing.end = thing.end, max(thing.end, MAYBE)
            try:
                r = self.ask(f, what, method, path, token, **kw)
            except Stopped:
                thing.end = was
                raise
            if r is None:
                return None
            if r.status == good:
                thing.end = DEAD
                self.load.count('%ss ended' % thing.kind)
                return r
            if was == ALIVE and r.status >= 400:
                thing.end = was         # refused: nothing was done
                if thing.state() == ALIVE and (token is self.load.admin):
                    self.load.fail(f, '%s: %s %s' % (what, r.status, r.text[:200]))
            return None
        finally:
            thing.busy.release()

    def end_trust(self, f):
        trust = f.pick(self.rng, 'trust')
        if trust is None:
            return
        token = self.load.admin
        if self.rng.random() < 0.5:
            s = self.session(f, f.owner)
            token = s.id if s else token
        self.ending(f, trust, 'END %s' % trust, 'DELETE', '/OS-TRUST/trusts/' + trust.id,
                    token, 204)

    def end_keypair(self, f):
        pair = f.pick(self.rng, 'keypair')
        if pair:
            self.ending(f, pair, 'END %s' % pair, 'DELETE', '/users/%s/credentials/OS-EC2/%s' % (
                f.owner.id, pair.id), self.load.admin, 204)

    def revoke(self, f):
        token = f.pick(self.rng, 'token')
        if token:
            self.ending(f, token, 'REVOKE %s' % token, 'DELETE', '/auth/tokens?cascade=false',
                        self.load.admin, 204, headers={'X-Subject-Token': token.id})

    def password(self, f):
        user = self.rng.choice(f.users)
        if user.state() != ALIVE or len(user.passwords) != 1:
            return
        with user.busy:
            if user.state() != ALIVE or len(user.passwords) != 1:
                return
            old, new = user.passwords[0], secrets.token_hex(8)
            since = user.since
            user.passwords.append(new)
            since.end = MAYBE
            try:
                r = self.ask(f, 'PASSWORD of %s' % user, 'POST', '/users/%s/password' % user.id,
                             body={'user': {'original_password': old, 'password': new}})
            except Stopped:
                user.passwords, since.end = [old], ALIVE
                raise
            if r is None:
                return
            if r.status == 204:
                since.end = DEAD
                user.since = Thing('password', 'next')
                user.passwords, user.former = [new], old
                self.load.count('passwords changed')
            else:
                user.passwords, since.end = [old], ALIVE
                if user.state() == ALIVE:
                    self.load.fail(f, 'no new password: %s %s' % (r.status, r.text[:200]))

    def ungrant(self, f):
        if f.granted.end == ALIVE and not f.granting:
            self.ending(f, f.granted, 'UNGRANT', 'DELETE', f.grant_path(), self.load.admin, 204)

    def grant_again(self, f):
        with self.load.lock:
            if f.granting or f.granted.end != DEAD or f.owner.state() or f.project.state():
                return
            f.granting = True
        try:
            r = self.ask(f, 'GRANT again', 'PUT', f.grant_path(), self.load.admin)
        except Stopped:
            f.granting = False
            raise
        if r is not None:
            if r.status == 204:
                f.granted = Thing('grant', f.owner.id)
                self.load.count('grants made')
            f.granting = False

    def end_user(self, f, user=None):
        user = user or self.rng.choice(f.users[1:])
        if user.state() == ALIVE:
            self.ending(f, user, 'END %s' % user, 'DELETE', '/users/' + user.id,
                        self.load.admin, 204)

    def end_whole(self, f):
        if self.rng.random() < 0.5:
            return self.end_user(f, f.owner)
        self.ending(f, f.project, 'END %s' % f.project, 'DELETE', '/projects/' + f.project.id,
                    self.load.admin, 204)

    def plain(self, f):
        """A user and nothing more."""
        password = secrets.token_hex(8)
        r = self.ask(f, 'make user', 'POST', '/users', self.load.admin, {'user': {
            'name': 'plain-%s' % secrets.token_hex(6), 'password': password}})
        if r is not None and r.status == 201:
            self.load.count('users made')
            f.add(Thing('user', r.body['user']['id'], passwords=[password],
                        since=Thing('password', 'first'), former=None, session=None))


def sinces(trust):
    """Whose new passwords end its tokens: every trustee's of its chain."""
    while trust:
        yield trust.trustee.since
        trust = trust.parent


def login(user, password, scope=None):
    auth = {'identity': {'methods': ['password'], 'password': {
        'user': {'id': user, 'password': password}}}}
    if scope:
        auth['scope'] = scope
    return {'auth': auth}


class Family:
    """An owner, three who act for them, one project, and what grew from it."""

    def __init__(self, load):
        self.load = load
        self.things, self.users, self.journal = [], [], []
        self.project = self.owner = None
        self.granted = Thing('grant', '-')
        self.granting = False           # a grant is on its way, or nobody knows
        self.retired = self.touched = False
        self.began = time.monotonic()
        self.ends = set()

    def add(self, thing):
        self.things.append(thing)
        return thing

    def note(self, worker, what, how):
        self.journal.append('%8.3f  w%s  %s -> %s' % (
            time.monotonic() - self.began, worker, what, how))

    def end(self, rng, last):
        """When a trust may end: two alike with one end are refused, and on MariaDB ends are whole
        seconds. In the second half of what its parent leaves, so that there is room below it."""
        first = (int(time.time()) + last) // 2
        with self.load.lock:
            while (ends := rng.randrange(first, last)) in self.ends:
                pass
            self.ends.add(ends)
        return ends

    def grant_path(self):
        return '/projects/%s/users/%s/roles/%s' % (
            self.project.id, (self.owner or self.users[0]).id, self.load.roles['member'])

    def pick(self, rng, kind, fits=lambda t: True, any_state=False):
        found = [t for t in list(self.things) if t.kind == kind and fits(t)
                 and (any_state or t.state() == ALIVE)]
        return rng.choice(found) if found else None

    # --- afterwards -----------------------------------------------------------------------

    def check(self, at, remaining):
        """Nobody works now. What was not answered is looked up, everything else has to be
        as it was acknowledged; `remaining`: {trust id: uses left} from the database."""
        self.at, self.touched = at, False
        self.admin = self.load.admin
        self.look_up(remaining)
        self.compare()

    def call(self, method, path, token=None, body=None, **kw):
        for _ in range(5):
            r = self.at.call(method, path, token, body, **kw)
            if r.status != 503:
                break
            time.sleep(1)               # a revocation of this very second
        return r

    def is_there(self, path):
        r = self.call('GET', path, self.admin)
        if r.status not in (200, 204, 404):
            self.wrong('GET %s: %s %s' % (path, r.status, r.text[:200]))
        return r.status != 404

    def wrong(self, text):
        self.load.fail(self, text)

    def path(self, t):
        return {'user': '/users/' + t.id, 'project': '/projects/' + t.id,
                'trust': '/OS-TRUST/trusts/' + t.id,
                'keypair': self.owner and '/users/%s/credentials/OS-EC2/%s' % (
                    self.owner.id, t.id)}[t.kind]

    def validates(self, token):
        return self.call('GET', '/auth/tokens', self.admin,
                         headers={'X-Subject-Token': token.id}).status

    def log_in(self, user, password, scope=None):
        return self.call('POST', '/auth/tokens', body=login(user.id, password, scope)).status

    def look_up(self, remaining):
        """Makes what is unknown known."""
        for t in self.things:
            if t.uses is not None:
                left = remaining.get(t.id)
                if left is None:
                    if t.state() != DEAD:
                        self.wrong('%s was acknowledged and is not there' % t)
                    continue
                used = t.uses - left
                if not t.taken <= used <= t.taken + t.perhaps:
                    self.wrong('%s of %d uses: %d acknowledged, %d without an answer, %d gone' % (
                        t, t.uses, t.taken, t.perhaps, used))
                t.taken = used
            t.perhaps = 0
        for t in self.things:
            if t.end == MAYBE and t.kind in ('user', 'project', 'trust', 'keypair'):
                # It may be dead because of what is above; then that is the same.
                t.end = ALIVE if self.is_there(self.path(t)) else DEAD
                self.note('-', 'look up %s' % t, WORDS[t.end])
        for u in self.things:
            if u.kind == 'user' and len(u.passwords) == 2 and u.state() == ALIVE:
                works = [self.log_in(u, p) == 201 for p in u.passwords]
                if works.count(True) != 1:
                    self.wrong('%s: old and new password work: %s' % (u, works))
                self.note('-', 'look up the password of %s' % u, 'new' if works[1] else 'old')
                if works[1]:
                    u.since.end = DEAD
                    u.since = Thing('password', 'next')
                else:
                    u.since.end = ALIVE
                u.passwords = [p for p, w in zip(u.passwords, works) if w] or u.passwords[:1]
        if self.owner and (self.granting or self.granted.end == MAYBE):
            there = (self.owner.state() == ALIVE and self.project.state() == ALIVE
                     and self.is_there(self.grant_path()))
            if self.granted.end == MAYBE:
                self.granted.end = ALIVE if there else DEAD
            elif there:
                self.granted = Thing('grant', self.owner.id)
            self.granting = False
            self.note('-', 'look up the grant', there)
        self.adopt()
        for t in self.things:
            if t.end == MAYBE and t.kind == 'token':
                t.end = ALIVE if self.validates(t) == 200 else DEAD
                self.note('-', 'look up %s' % t, WORDS[t.end])

    def adopt(self):
        """Trusts that were made without an answer: whole ones, below what lives."""
        if not self.owner or self.owner.state() != ALIVE:
            return
        known = {t.id: t for t in self.things}
        listed = self.call('GET', '/OS-TRUST/trusts?trustor_user_id=' + self.owner.id,
                           self.admin).want(200).body['trusts']
        users = {u.id: u for u in self.users}
        new = [t for t in listed if t['id'] not in known]
        while new:
            fit = [t for t in new if t['redelegated_trust_id'] in known
                   or t['redelegated_trust_id'] is None]
            if not fit:
                return self.wrong('trusts below nothing: %s' % [t['id'] for t in new])
            for t in fit:
                new.remove(t)
                parent = known.get(t['redelegated_trust_id'])
                trustee = users[t['trustee_user_id']]
                above = [parent] if parent else [self.owner, self.project]
                thing = self.add(Thing(
                    'trust', t['id'], *above, trustee, parent=parent, trustee=trustee,
                    depth=parent.depth + 1 if parent else 1, uses=t['remaining_uses'],
                    ends=api.when(t['expires_at']).timestamp()))
                known[thing.id] = thing
                self.note('-', 'found %s' % thing, 'made without an answer')

    def compare(self):
        expect = self.expect
        for t in self.things:
            state = t.state()
            if state == MAYBE:
                self.wrong('%s is still unknown' % t)
            if t.kind == 'token':
                # A login's needs the grant too, which its `above` says.
                expect(t, state, self.validates(t), (200,), (404,), 'validates')
                continue
            if t.kind == 'keypair' and not self.owner:
                continue
            expect(t, state, 200 if self.is_there(self.path(t)) else 404, (200,), (404,), 'is read')
            if t.kind == 'user':
                expect(t, state, self.log_in(t, t.passwords[0]), (201,), (401,), 'logs in')
                if t.former:
                    expect(t, DEAD, self.log_in(t, t.former), (), (401,), 'logs in as before')
            works = max(state, self.granted.end)
            # A look must not use up what is counted, unless it is dead anyhow.
            if t.kind == 'trust' and (t.uses is None or state == DEAD):
                trustee = t.trustee
                if trustee.state() == ALIVE:
                    got = self.log_in(trustee, trustee.passwords[0], api.trust(t.id))
                    expect(t, works, got, (201,), REFUSED, 'yields a token')
            if t.kind == 'keypair' and (t.trust.uses is None or state == DEAD):
                got = self.call('POST', '/ec2tokens', self.load.service,
                                sign.ec2_v2(t.id, t.secret)).status
                expect(t, works, got, (200,), (401,), 'is exchanged')

    def expect(self, thing, state, got, alive, dead, what):
        with self.load.lock:
            self.load.checked += 1
        if got not in (alive if state == ALIVE else dead):
            # A chain's own story.
            on = ', '.join('%s %s' % (t, WORDS[t.state()]) for t in thing.above)
            self.wrong('%s is %s (on %s), and %s: %d' % (thing, WORDS[state], on, what, got))

    def story(self, lines=60):
        return '\n'.join('      ' + line for line in self.journal[-lines:])
