#!/usr/bin/env python3
"""What is remembered is exact: two servers that remember, beside one that remembers nothing.

    twin.py [--engine sqlite postgresql mariadb] [--answers N] [--seed S] [--break]

On one database and one set of keys serve A and B with `[cache] enabled = true`, their twin with `false`, and a real
Keystone 30.0.0. In each round some writes are made at once (twin_writes.py): by the API of any of the four, and by
SQL of a stranger. Meanwhile A and B are asked about tokens, so that their memories are filled in the midst of commits.
When all writes are acknowledged, A, B and the twin are asked the same, A and B twice, over several connections at
once: every answer is the twin's, or the one that the twin gives when it is asked again, if time alone has changed it.

At the end somebody writes unseen (the rows of the journal go in the same transaction): that is found. With --break
all of the stranger's writes are like that, and the test fails, which shows that it can. It fails too when fewer than
a third of what A and B read was from memory, since it has proved nothing then.

--answers is for each engine; a long run is `--answers 350000`. The seed chooses what is written and what is asked, as
far as threads let it.
"""
import argparse
import collections
import contextlib
import json
import re
import secrets
import socket
import sys
import threading
import time
import urllib.request

import harness

if __name__ == '__main__':
    harness.run_in('clients')

import api
import server
import sign
import stores
from twin_writes import LINES as LINES_OF
from twin_writes import PW, Member, Scene, Slow, hex_id

LINES = 4                      # connections to each server
TOKENS = 24                    # that are asked about in a round, each three times
OTHERS = 20                    # other things that are asked for
TOLD = 10                      # differences, of which all is printed
# What of an answer's head is of the moment.
OWN_HEAD = re.compile(rb'\r\n(date|x-openstack-request-id):[^\r]*', re.I)
LENGTH = re.compile(rb'\r\ncontent-length: *(\d+)', re.I)
KNOWN = {200, 204, 401, 403, 404}
RULES = {'OpenStack-Identity-Access-Rules': '1.0'}


class Ask:
    """A request, as it goes over the line. `raws` where each server gets one of its own."""

    def __init__(self, method, path, token, headers=None, body=None, loose=None, of=None, raws=None,
                 host='one.example'):
        self.what = '%s %s%s' % (method, path, ' ' + json.dumps(body)[:200] if body else '')
        self.shown, self.head, self.loose, self.of = headers or {}, method == 'HEAD', loose, of
        data = json.dumps(body).encode() if body else b''
        lines = ['%s /v3%s HTTP/1.1' % (method, path), 'Host: ' + host, 'X-Auth-Token: ' + token,
                 *('%s: %s' % x for x in (headers or {}).items())]
        if body:
            lines += ['Content-Type: application/json', 'Content-Length: %d' % len(data)]
        self.raw = '\r\n'.join([*lines, '', '']).encode() + data
        self.raws = raws

    def next(self):
        return self.raws.pop() if self.raws else self.raw


class Line:
    """A connection that is kept. It knows no more of HTTP than these servers use."""

    def __init__(self, port):
        self.port, self.socket, self.sent, self.rest = port, None, b'', b''
        self.connect()

    def connect(self):
        self.socket = socket.create_connection(('127.0.0.1', self.port), 90)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest = b''

    def send(self, raw):
        self.sent = raw
        with contextlib.suppress(OSError):
            self.socket.sendall(raw)

    def read(self, is_head):
        """(head without what is of the moment, body)"""
        data = self.rest or self.begin()
        while (end := data.find(b'\r\n\r\n')) < 0:
            data += self.more()
        head, start = data[:end], end + 4
        length = LENGTH.search(head)
        stop = start + (int(length.group(1)) if length and not is_head else 0)
        while len(data) < stop:
            data += self.more()
        self.rest = data[stop:]
        return OWN_HEAD.sub(b'', head), data[start:stop]

    def begin(self):
        """What a server has closed that was quiet for long is opened again."""
        with contextlib.suppress(ConnectionError):
            return self.more()
        self.socket.close()
        self.connect()
        self.socket.sendall(self.sent)
        return self.more()

    def more(self):
        got = self.socket.recv(1 << 16)
        if not got:
            raise ConnectionError('the server has closed the connection')
        return got

    def ask(self, raw, is_head=False):
        self.send(raw)
        return self.read(is_head)

    def close(self):
        self.socket.close()


def status(answer):
    return int(answer[0][9:12])


def sorted_all(x):
    """Lists without an order: some have none."""
    if isinstance(x, list):
        return sorted((sorted_all(i) for i in x), key=lambda i: json.dumps(i, sort_keys=True))
    if isinstance(x, dict):
        return {k: sorted_all(v) for k, v in x.items()}
    return x


def logged_in(answer):
    """Of a login: all but what each token has of its own."""
    if status(answer) not in (200, 201):
        return status(answer), answer[1]
    token = json.loads(answer[1])['token']
    for own in ('audit_ids', 'issued_at', 'expires_at'):
        token.pop(own)
    return status(answer), sorted_all(token)


def same(ask, one, other):
    if one == other:
        return True
    if ask.loose:
        return ask.loose(one) == ask.loose(other)
    if status(one) != status(other) or ask.head:
        return False
    try:
        return sorted_all(json.loads(one[1])) == sorted_all(json.loads(other[1]))
    except ValueError:
        return False


Difference = collections.namedtuple('Difference', 'round ask who got right')


class World:
    def __init__(self, c, engine, options, stack):
        self.c, self.engine, self.options = c, engine, options
        site = stores.Site(engine, replicas=0, settings={
            'fernet_tokens': {'max_active_keys': 3},
            # No server writes of its own accord between two answers that are compared.
            'delegation': {'evidence_interval': 0}}, durable=False)
        self.site = stack.enter_context(site)
        for remembers in (True, True, False):
            v = Member(site.conf, remembers)
            site.vicars.append(v)
            v.start()
        self.keystone = stack.enter_context(self.beside())
        self.scene = Scene(site, self.keystone, options.seed, getattr(options, 'break'))
        stack.callback(self.scene.stranger.close)
        self.slow = Slow(self.scene)
        stack.callback(self.slow.line.close)
        self.lines = [[Line(v.port) for v in site.vicars] for _ in range(LINES)]
        self.readers = [Line(v.port) for v in site.vicars[:2]]
        self.answers, self.later, self.differences = 0, 0, []
        self.lock, self.round, self.writes = threading.Lock(), 0, []
        self.told, self.writing = 0, 0.0
        self.there, self.busy = collections.Counter(), collections.Counter()
        self.odd, self.asked_meanwhile = collections.Counter(), 0
        self.kinds = collections.Counter()
        self.seen, self.reads = collections.Counter(), collections.Counter()

    def beside(self):
        """A Keystone on the same database, with the same keys."""
        url = self.site.database.url(self.site.name).replace('postgresql://', 'postgresql+psycopg2://')
        file = self.site.database.path(self.site.name) if self.engine == 'sqlite' else ''
        return server.Keystone(
            store=server.Store(file, self.site.fernet, self.site.credential), processes=2,
            settings={'database': {'connection': url}, 'identity': {'password_hash_rounds': 4},
                      'cache': {'enabled': 'false'}})

    # --- what is asked

    def asks(self):
        s = self.scene
        rng, admin, out = s.rng, s.admin, []

        def get(path, token=admin, **more):
            # Links begin with what the client asked for: the same answer must not be given to who asked for another.
            out.append(Ask('GET', path, token, host=rng.choice(['one.example', 'two.example']), **more))

        some = [self.slow.token, *rng.sample(s.tokens, min(len(s.tokens), TOKENS))]
        for t in some:
            subject = {'X-Subject-Token': t.id}
            get('/auth/tokens', headers=subject | RULES, of=t)
            get('/auth/tokens', headers=subject)
            extra = rng.randrange(5)
            if extra == 0:
                out.append(Ask('HEAD', '/auth/tokens', admin, headers=subject))
            elif extra == 1:
                get('/auth/tokens?nocatalog', headers=subject | RULES)
            elif extra == 2:
                get('/auth/tokens', t.id, headers=subject)
            elif extra == 3:
                get(rng.choice(['/auth/projects', '/auth/domains', '/auth/system', '/auth/catalog']), t.id)
            else:
                get('/users/' + t.user, t.id)
        user, project, group = rng.choice(s.users), rng.choice(s.projects), rng.choice(s.groups)
        domain = rng.choice(s.domains)
        pool = [
            '/users/' + user, '/users/%s/groups' % user, '/users/%s/projects' % user, '/users/%s/delegations' % user,
            '/users/%s/application_credentials' % user, '/users/%s/access_rules' % user, '/users?domain_id=' + domain,
            '/users/%s/credentials/OS-EC2' % user, '/projects/' + project, '/projects/%s?parents_as_list' % project,
            '/projects/%s?subtree_as_ids' % project, '/projects?domain_id=' + domain, '/domains/' + domain,
            '/role_assignments?effective&user.id=' + user, '/role_assignments?effective&scope.project.id=' + project,
            '/role_assignments?include_names&scope.project.id=' + project, '/role_assignments?group.id=' + group,
            '/role_assignments?scope.system', '/groups/%s/users' % group, '/groups/' + group, '/roles',
            '/role_inferences', '/services', '/endpoints', '/regions', '/OS-FEDERATION/service_providers',
            '/OS-FEDERATION/identity_providers/' + s.idp, '/OS-EP-FILTER/projects/%s/endpoints' % project,
            '/OS-EP-FILTER/projects/%s/endpoint_groups' % project, '/OS-TRUST/trusts', '/credentials?user_id=' + user,
            '/OS-TRUST/trusts?trustor_user_id=' + user, '/projects/%s/users/%s/roles' % (project, user),
            '/projects/%s/groups/%s/roles' % (project, group), '/system/users/%s/roles' % user]
        for trust in rng.sample(s.trusts, min(3, len(s.trusts))):
            of = '/OS-TRUST/trusts/' + trust.id
            pool += [of, of + '/lineage', of + '/roles']
        for path in rng.sample(pool, OTHERS):
            get(path)
        rng.shuffle(out)
        return out

    def logins(self):
        """New tokens for old ones, and for signatures; what they leave behind is asked for no more in this round."""
        s = self.scene
        out = []
        base = s.token_of(kinds=('unscoped', 'project'))
        scopes = [api.project(s.any(s.projects)), api.domain(s.any(s.domains)), None]
        mine = [t for t in s.trusts if base and t.trustee == base.user and not self.counts_uses(t.id)]
        scopes += [api.trust(t.id) for t in mine[-2:]]
        for scope in scopes if base else ():
            identity = {'methods': ['token'], 'token': {'id': base.id}}
            auth = {'identity': identity, **({'scope': scope} if scope else {})}
            out.append(Ask('POST', '/auth/tokens', s.admin, body={'auth': auth}, loose=logged_in))
        pair = s.any(s.pairs) if s.pairs else None
        if pair and not self.counts_uses(pair.trust):
            signed = [Ask('POST', '/ec2tokens', s.admin, body=sign.ec2_v2(pair.access, pair.secret, Nonce=hex_id())).raw
                      for _ in range(6)]
            ask = Ask('POST', '/ec2tokens', s.admin, loose=status, raws=signed)
            ask.what = 'POST /ec2tokens, keypair %s' % pair.access
            out.append(ask)
        return out

    def counts_uses(self, trust):
        """Does a login with it use something up? Then the next one is right to be answered otherwise."""
        while trust:
            r = self.scene.vicars[2].get('/OS-TRUST/trusts/' + trust, self.scene.admin)
            if r.status != 200:
                return False
            if r.body['trust']['remaining_uses'] is not None:
                return True
            trust = r.body['trust'].get('redelegated_trust_id')
        return False

    # --- asking

    def compare(self, asks):
        """Asks all of it. Returns what is different."""
        found, todo, errors = [], iter(asks), []

        def work(lines):
            try:
                while True:
                    with self.lock:
                        ask = next(todo, None)
                    if ask is None:
                        return
                    found.extend(self.one(ask, lines))
            except Exception as e:
                errors.append(e)
                raise

        threads = [threading.Thread(target=work, args=(lines,)) for lines in self.lines]
        for t in threads:
            t.start()
        for t in threads:
            t.join(300)
        if errors:
            raise errors[0]
        return found

    def one(self, ask, lines):
        a, b, twin = lines
        for line in (twin, a, b):
            line.send(ask.next())
        right = twin.read(ask.head)
        got = [('A', a.read(ask.head)), ('B', b.read(ask.head))]
        for line in (a, b):
            line.send(ask.next())
        got += [('A, again', a.read(ask.head)), ('B, again', b.read(ask.head))]
        found, anew = [], None
        for who, answer in got:
            if answer == right or same(ask, answer, right):
                continue
            anew = anew or twin.ask(ask.raw if not ask.raws else ask.next(), ask.head)
            if same(ask, answer, anew):
                self.later += 1
            else:
                found.append(Difference(self.round, ask, who, answer, right))
        said = status(right)
        if ask.of:
            ask.of.alive = said == 200
        with self.lock:
            self.answers += len(got)
            self.seen[said] += len(got)
            if said >= 500:
                self.odd['the twin: %d' % said] += 1
        return found

    # --- a round

    def meanwhile(self, line, over, tokens):
        """Asks one server about tokens until the writes are over."""
        raws = [Ask('GET', '/auth/tokens', self.scene.admin, headers={'X-Subject-Token': t.id} | RULES).raw
                for t in tokens]
        n = 0
        while raws and not over.is_set():
            said = status(line.ask(raws[n % len(raws)]))
            n += 1
            # Others want to run, too.
            time.sleep(0.004)
            if said not in KNOWN:
                with self.lock:
                    self.odd['meanwhile: %d' % said] += 1
        with self.lock:
            self.asked_meanwhile += n

    def plan(self):
        s = self.scene
        s.round, s.with_keystone = self.round, s.chance(0.35)
        if not self.slow.token.alive:
            self.slow.log_in()
        s.replace()
        missing = s.drop()
        writes = [s.write() for _ in range(s.any([1, 2, 3, 4, 6, 8]))]
        # A login may have to wait for the next second, so it is not for each round.
        if self.round % 3 == 1:
            writes += [s.make_token() for _ in range(min(missing, 12))]
        if sum(t.alive for t in s.tokens) < 0.6 * len(s.tokens):
            writes.append(s.heal())
        if self.slow.is_open:
            writes.append(self.slow.commit())
        return writes

    def turn(self):
        """One round. Returns what was different."""
        self.round += 1
        writes, s = self.plan(), self.scene
        said = [None] * len(writes)
        gate, over = threading.Barrier(len(writes)), threading.Event()

        def do(n):
            gate.wait(60)
            try:
                said[n] = writes[n].run()
            except Exception as e:
                said[n] = '%s: %s' % (type(e).__name__, e)

        readers = [threading.Thread(target=self.meanwhile, args=(line, over, s.rng.sample(
            s.tokens, min(len(s.tokens), 12)))) for line in self.readers]
        writers = [threading.Thread(target=do, args=(n,)) for n in range(len(writes))]
        began = time.monotonic()
        for t in readers + writers:
            t.start()
        for t in writers:
            t.join(300)
        self.writing += time.monotonic() - began
        over.set()
        for t in readers:
            t.join(60)
        self.writes = list(zip((w.what for w in writes), said))
        # A Keystone may see the end of more than the servers here, by an event.
        if s.vicars[2].validate(s.admin, s.admin).status != 200 or any(
                what.startswith('k: ') and outcome == 401 for what, outcome in self.writes):
            s.log_in()
        is_slow = self.round % 2 == 0
        if is_slow:
            self.slow.begin()
        if self.round % 40 == 39:
            self.writes.append((s.rotate(), 'done'))
            if self.round % 80 == 79:
                s.federated_tokens()
        for what, outcome in self.writes:
            who = what.partition(':')[0]
            good = outcome == 'done' or (isinstance(outcome, int) and outcome < 400)
            self.kinds['%s %s' % (who, 'done' if good else 'refused')] += 1
            if isinstance(outcome, str) and outcome != 'done' and who not in ('sql', 'k'):
                self.odd['%s: %s' % (who, outcome[:120])] += 1
            if who == 'k':
                self.there[outcome if isinstance(outcome, int) else outcome.partition(':')[0]] += 1
            elif outcome == 503:
                self.busy[what[:100]] += 1
            elif isinstance(outcome, int) and outcome >= 500:
                self.odd['%s: %d to %s' % (who, outcome, what[:100])] += 1
        counts = self.round % 10 == 0
        before = self.counted() if counts else None
        found = self.compare(self.asks())
        if self.round % 3 == 0 and not is_slow:
            found += self.compare(self.logins())
        if counts:
            now = self.counted()
            self.reads.update({k: now[k] - before[k] for k in now})
        for f in found:
            self.tell(f)
        self.differences += found
        return found

    def tell(self, f):
        self.told += 1
        if self.told > TOLD:
            return
        print('DIFFERENCE in round %d, seed %d: %s %s\n  %s: %s\n  the twin: %s\n  written in the round:' % (
            f.round, self.options.seed, f.ask.what, {k: v[:24] for k, v in f.ask.shown.items()}, f.who,
            shown(f.got), shown(f.right)))
        if f.ask.of:
            print('  of the token: %s' % json.dumps(f.ask.of.body)[:1500])
        for what, said in self.writes:
            print('    %s -> %s' % (what, said))
        sys.stdout.flush()

    # --- at the end

    def counted(self):
        """What the memories of A and B have counted."""
        sums = collections.Counter()
        for v in self.site.vicars[:2]:
            with urllib.request.urlopen('http://127.0.0.1:%d/metrics' % v.metrics, timeout=10) as r:
                for line in r.read().decode().splitlines():
                    if line.startswith('vicar_memory_'):
                        name, value = line.split()
                        sums[name.removeprefix('vicar_memory_').removesuffix('_total')] += int(float(value))
        return sums

    def unseen(self):
        """Somebody writes, and no row of the journal tells of it. Returns the different answers of A and of B."""
        s = self.scene
        a = s.vicars[2]
        project = a.make(s.admin, 'project', name='seen-' + hex_id(), domain_id='default')
        user = a.make(s.admin, 'user', name='seen-' + hex_id(), password=PW, domain_id='default')
        a.grant(s.admin, s.role['member'], user, project)
        token = a.login(user, PW, api.project(project))
        asks = [Ask('GET', '/auth/tokens', s.admin, headers={'X-Subject-Token': token.id}) for _ in range(8)]
        sql = "UPDATE project SET name = '%s' WHERE id = '" + project + "'"

        def differ():
            return collections.Counter(f.who[0] for f in self.compare(asks))

        before = differ()
        said = s.stranger.run(sql % 'unseen', unseen=True)
        unseen = differ()
        s.stranger.run(sql % 'seen again')
        return said, before, unseen, differ()


WAITING = {'mariadb': "SELECT COUNT(*) FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT'",
           'postgresql': "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"}


def apart(c, w):
    """The triggers make no transaction wait that would not wait without them: one changes the second row and then the
    third, another the first and the second; the other waits for the one, and neither is taken back."""
    s = w.scene
    # Rows are changed in the order of their ids.
    first, second, third = sorted(s.vicars[2].make(s.admin, 'project', name='apart-' + hex_id(), domain_id='default')
                                  for _ in range(3))
    change = "UPDATE project SET description = 'other' WHERE id IN ('%s')"
    lines = [LINES_OF[w.engine](w.site) for _ in range(2)]
    try:
        lines[0].begin(change % second)
        said = []
        waits = threading.Thread(target=lambda: said.append(lines[1].run(
            [change % "', '".join((first, second))], False, True, False)))
        waits.start()
        end = time.monotonic() + 4
        while w.site.rows(WAITING[w.engine]) == [['0']] and time.monotonic() < end:
            time.sleep(0.02)
        said.append(lines[0].commit(change % third))
        waits.join(60)
        c.equal('%s: two who change other rows, and one in common, do not meet in a deadlock' % w.engine,
                said, ['done', 'done'])
    finally:
        for line in lines:
            line.close()


def shown(answer):
    return '%s\n    %s' % (answer[0].decode().replace('\r\n', ' | ')[:300], answer[1].decode()[:2500])


def play(c, engine, options):
    broken = getattr(options, 'break')
    with contextlib.ExitStack() as stack:
        w = World(c, engine, options, stack)
        began, told = time.monotonic(), time.monotonic()
        while w.answers < options.answers:
            w.turn()
            if time.monotonic() > told + 60:
                told = time.monotonic()
                print('      %s: round %d, %d answers, %d differences, %.0f s' % (
                    engine, w.round, w.answers, len(w.differences), told - began), flush=True)
        seconds, counts = time.monotonic() - began, w.reads
        c.ok('%s: %d answers of two servers that remember, after %d rounds of %d writes: %d are not the twin\'s' % (
            engine, w.answers, w.round, sum(w.kinds.values()), len(w.differences)), not w.differences,
            'seed %d' % options.seed)
        print('      %.0f s, for %.0f of them it was written; %d were another after time had passed; asked %d times '
              'meanwhile\n      writes by (a, b, the twin, the Keystone, SQL): %s\n      answers by status: %s' % (
                  seconds, w.writing, w.later, w.asked_meanwhile, dict(sorted(w.kinds.items())),
                  dict(sorted(w.seen.items()))))
        reads = counts['hits'] + counts['misses']
        c.ok('%s: of %d reads in every tenth comparison %d were from memory (%d %%), %d questions' % (
            engine, reads, counts['hits'], 100 * counts['hits'] // max(reads, 1), counts['questions']),
            3 * counts['hits'] > reads)
        print('      the Keystone answered %s' % dict(w.there))
        c.ok('%s: nobody answered what is no answer' % engine, not w.odd, dict(w.odd.most_common(8)))
        # Who waited for others for longer than is allowed.
        c.ok('%s: %d writes were put off' % (engine, w.busy.total()),
             300 * w.busy.total() <= 300 + sum(w.kinds.values()), dict(w.busy.most_common(8)))
        c.ok('%s: the tokens are of both kinds' % engine, w.seen[200] > w.answers / 4 and w.seen[404] > w.answers / 50,
             dict(w.seen))
        if engine in WAITING:
            apart(c, w)
        if not broken:
            said, before, unseen, after = w.unseen()
            c.ok('%s: what is written unseen is found, at A and at B' % engine,
                 said == 'done' and not before and unseen['A'] and unseen['B'] and not after,
                 (said, dict(before), dict(unseen), dict(after)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--engine', nargs='+', choices=stores.ENGINES, default=stores.ENGINES)
    parser.add_argument('--answers', type=int, default=8_000, help='to compare on each engine')
    parser.add_argument('--seed', type=int, default=secrets.randbelow(10 ** 6))
    parser.add_argument('--break', action='store_true', help="the stranger's writes are in no journal")
    options = parser.parse_args()
    print('seed %d' % options.seed)
    c = harness.Checks()
    for engine in options.engine:
        stores.available(engine)
        c.part('a twin on %s' % engine, play, c, engine, options)
    return c.close()


if __name__ == '__main__':
    sys.exit(main())
