#!/usr/bin/env python3
"""Databases of several machines under a write load: nodes die, are cut off, come back.

    cluster.py galera          three MariaDB nodes of a Galera cluster, a Vicar on each, clients through
                               HAProxy: a node is killed, one is cut off, all are restarted in turn
    cluster.py postgresql      a primary and its standby: the primary is killed, the standby takes over
    cluster.py --short         shorter pauses between the faults

What load.py says of kills holds here: every acknowledged change is there, nothing that was ended comes
back, uses are exact. And it is reported how many calls failed, and for how long nothing was answered.
"""
import argparse
import collections
import os
import pwd
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import harness

if __name__ == '__main__':
    harness.run_in('clients')

import api
import load
import server
import services
import stores

THREADS = 6
PROVIDER = '/usr/lib/galera/libgalera_smm.so'


class GaleraNode(services.MariaDb):
    """A node of a cluster on this machine: every port of it is its own."""
    kind = 'galera'
    patience = 20
    startup = 240                   # to be let in again can take a minute

    def __init__(self, name):
        super().__init__(durable=True)
        self.name = name
        self.group, self.ist, self.sst = (server.free_port() for _ in range(3))
        self.first = False
        self.others = []
        self.user = {}
        if os.geteuid() == 0:           # rsync, by which a node fills another, gives root's rights away
            who = pwd.getpwnam('nobody')
            self.user = dict(user=who.pw_uid, group=who.pw_gid, extra_groups=[])
            os.chown(self.dir, who.pw_uid, who.pw_gid)
            self.account = 'nobody'

    @property
    def popen(self):
        return self.user

    def command(self):
        args, more = super().command()
        members = ','.join('127.0.0.1:%d' % n.group for n in [self, *self.others])
        more = dict(more, PATH='/usr/sbin:/usr/bin:/sbin:/bin')
        args = args + [
            '--wsrep-on=ON', '--wsrep-provider=' + PROVIDER, '--wsrep-cluster-name=world',
            '--wsrep-cluster-address=gcomm://' + members,
            '--wsrep-node-name=' + self.name,
            '--wsrep-node-address=127.0.0.1:%d' % self.group,
            '--wsrep-sst-method=rsync', '--wsrep-sst-receive-address=127.0.0.1:%d' % self.sst,
            '--wsrep-provider-options=gmcast.listen_addr=tcp://127.0.0.1:%d;'
            'ist.recv_addr=127.0.0.1:%d;gcache.size=64M' % (self.group, self.ist),
            '--binlog-format=ROW', '--innodb-autoinc-lock-mode=2']
        return args + (['--wsrep-new-cluster'] if self.first else []), more

    def status(self, name):
        try:
            return self.sql("SHOW STATUS LIKE 'wsrep_%s'" % name).split('\t')[-1].strip()
        except RuntimeError:
            return None

    def ready(self):
        return self.status('local_state_comment') == 'Synced' and self.status('ready') == 'ON'

    def isolate(self, on):
        self.sql("SET GLOBAL wsrep_provider_options = 'gmcast.isolate=%d'" % on)


class Proxy(server.Server):
    """HAProxy before some servers of this machine."""
    kind = 'haproxy'

    def __init__(self, mode, ports, check, options=''):
        super().__init__()
        self.conf = os.path.join(self.dir, 'haproxy.cfg')
        lines = ['global', '  maxconn 1000', 'defaults', '  mode ' + mode,
                 '  timeout connect 2s', '  timeout client 60s', '  timeout server 60s',
                 '  timeout queue 10s', '  timeout check 2s', '  retries 3', '  option redispatch',
                 'listen all', '  bind 127.0.0.1:%d' % self.port, *check]
        for i, port in enumerate(ports):
            lines.append('  server s%d 127.0.0.1:%d check inter 500ms fall 2 rise 1 %s' % (
                i, port, options if i else ''))
        with open(self.conf, 'w') as f:
            f.write('\n'.join(lines) + '\n')

    def command(self):
        return ['haproxy', '-W', '-db', '-f', self.conf], {}

    def ready(self):
        return server.answers(self.port)


class Counting(api.Api):
    """Counts what became of every call, and when."""

    def __init__(self, url):
        super().__init__(url)
        self.seen = []

    def call(self, *args, **kw):
        began = time.monotonic()
        try:
            a = super().call(*args, **kw)
        except Exception:
            self.seen.append((began, time.monotonic(), None))
            raise
        self.seen.append((began, time.monotonic(), a.status))
        return a


class Cluster:
    """Databases, Vicars, proxies, and the load on them. The kinds say `databases` and `faults`."""

    def __init__(self, c, options, seed):
        self.c, self.options, self.seed = c, options, seed
        self.pause = 3 if options.short else 10
        self.dir = tempfile.mkdtemp(prefix='vicar-world-cluster-')
        self.parts, self.vicars, self.events = [], [], []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for part in reversed(self.parts):
            part.stop()
        if not os.environ.get('VICAR_KEEP'):
            shutil.rmtree(self.dir, ignore_errors=True)

    def own(self, part):
        self.parts.append(part)
        return part

    def configure(self, number, url):
        conf = os.path.join(self.dir, 'vicar-%d.conf' % number)
        server.write_ini(conf, {
            'database': {'connection': url, 'connect_timeout': 2, 'pool_timeout': 5,
                         'statement_timeout': 10},
            'fernet_tokens': {'key_repository': os.path.join(self.dir, 'fernet-keys')},
            'credential': {'key_repository': os.path.join(self.dir, 'credential-keys')},
            'identity': {'password_hash_rounds': 4}, 'delegation': {'reap_interval': 2}})
        return conf

    def begin(self, urls):
        """A Vicar for each URL of the database, and a proxy before them."""
        confs = [self.configure(i, url) for i, url in enumerate(urls)]
        for words in (('db', 'sync'), ('keys', 'setup'), ('bootstrap',)):
            subprocess.run([server.vicar_bin(), *words, '--config-file', confs[0]], check=True,
                           env=dict(os.environ, OS_BOOTSTRAP_PASSWORD=server.PASSWORD),
                           stdout=subprocess.DEVNULL)
        for conf in confs:
            self.vicars.append(self.own(stores.Replica(config=conf)))
        for v in self.vicars:
            v.start()
        self.front = self.own(Proxy('http', [v.port for v in self.vicars], [
            '  balance roundrobin', '  option httpchk GET /readyz', '  http-check expect status 200',
        ])).start()
        self.front.url = self.front.root + '/v3'

    def under_load(self):
        self.load = load.Load([self.front.url], self.seed, server.PASSWORD)
        self.counting = self.load.apis[0] = Counting(self.front.url)
        workers = [threading.Thread(target=self.load.work, args=(i, 1)) for i in range(THREADS)]
        watch = threading.Thread(target=self.watch)
        for w in [*workers, watch]:
            w.start()
        self.began = time.monotonic()
        try:
            self.stay('quiet')
            self.faults()
        finally:
            self.load.stop.set()
            for w in [*workers, watch]:
                w.join(90)
        self.c.ok('every call got an end', not any(w.is_alive() for w in workers))

    def watch(self):
        """A login by trust and its validation, all the time: what somebody outside sees."""
        a = api.Api(self.front.url)
        self.looks = []
        while not self.load.stop.is_set():
            began = time.monotonic()
            try:
                t = a.login_answer(('admin', 'default'), server.PASSWORD, {
                    'project': {'name': 'admin', 'domain': {'id': 'default'}}})
                good = t.status == 201 and a.validate(
                    t.headers['X-Subject-Token'], t.headers['X-Subject-Token']).status == 200
            except Exception:
                good = False
            self.looks.append((began, time.monotonic(), good))
            self.load.stop.wait(0.05)

    def event(self, what):
        self.events.append((time.monotonic(), what))
        print('      %5.1f s  %s' % (time.monotonic() - self.began, what), flush=True)

    def stay(self, what):
        self.event(what)
        time.sleep(self.pause)

    def report(self):
        """By event: calls, failed ones, and the longest time without a good answer."""
        times = [t for t, _ in self.events] + [time.monotonic()]
        for (start, what), end in zip(self.events, times[1:]):
            seen = [s for b, _, s in self.counting.seen if start <= b < end]
            bad = collections.Counter(s for s in seen if s is None or s >= 500)
            gap, last = 0, start
            for _, at, good in self.looks:
                if start <= at < end and good:
                    gap, last = max(gap, at - last), at
            gap = max(gap, end - last)
            print('      %-44s %5.1f s  %5d calls, %4d without success (%.1f %%)%s; longest time '
                  'without a good answer %.1f s' % (
                      what, end - start, len(seen), sum(bad.values()),
                      100 * sum(bad.values()) / max(1, len(seen)),
                      ''.join(' %s: %d' % b for b in bad.items()), gap))
        seen = [s for _, _, s in self.counting.seen]
        bad = sum(s is None or s >= 500 for s in seen)
        self.c.ok('%d calls, of which %d (%.2f %%) had no success' % (
            len(seen), bad, 100 * bad / len(seen)), seen)
        unclean = collections.Counter(s for s in seen if s in (500, 501))
        self.c.equal('no 500 among them', dict(unclean), {})
        for v in self.vicars if unclean else []:
            with open(v.log, errors='replace') as f:
                print(''.join('      ' + line for line in f if 'status=500' in line), flush=True)
        counts = self.load.counts
        self.c.ok('there was a load: ' + ', '.join('%s %d' % k for k in sorted(counts.items())),
                  all(counts.get(k) for k in ('users made', 'trusts made', 'trusts redelegated',
                                              'keypairs made', 'uses', 'trusts ended')), counts)

    def look(self, database, at):
        """All that was acknowledged is so, and all is whole: as seen at one of the Vicars."""
        site = Seen(database)
        remaining = {r[0]: int(r[1]) for r in site.rows(
            'SELECT id, remaining_uses FROM trust WHERE remaining_uses IS NOT NULL')}
        for family in self.load.families:
            try:
                family.check(api.Api(at.url), remaining)
            except Exception as e:
                self.load.fail(family, 'the look ended: %s: %s' % (type(e).__name__, e))
        for what, ids in stores.halves(site):
            self.load.fail(None, '%s: %s' % (what, ', '.join(ids)))
        for family, text in self.load.wrong[:20]:
            print('      %s' % text)
            if family is not None:
                print(family.story())
        self.c.ok('%d things: what was acknowledged is so, what was ended is dead, uses are exact' % sum(
            len(f.things) for f in self.load.families), not self.load.wrong, len(self.load.wrong))
        self.load.wrong.clear()


class Seen(stores.Site):
    """The rows of a database that somebody else made."""

    def __init__(self, database):
        self.engine = 'postgresql' if isinstance(database, services.PostgreSql) else 'mariadb'
        self.database, self.name = database, stores.NAME


class Galera(Cluster):
    def databases(self):
        self.nodes = [self.own(GaleraNode('n%d' % i)) for i in range(1, 4)]
        for n in self.nodes:
            n.others = [o for o in self.nodes if o is not n]
        self.nodes[0].first = True
        for n in self.nodes:
            n.start()
        self.nodes[0].first = False
        self.nodes[0].create(stores.NAME, 'pw')
        for n in self.nodes:
            n.passwords = self.nodes[0].passwords
        self.c.equal('three nodes are one cluster', self.nodes[2].status('cluster_size'), '3')
        return [n.url(stores.NAME) for n in self.nodes]

    def faults(self):
        one, two, three = self.nodes
        os.killpg(two.process.pid, signal.SIGKILL)
        two.process.wait()
        self.stay('n2 is killed')
        self.event('n2 comes back')
        two.start()
        self.stay('n2 is back')

        three.isolate(True)
        self.event('n3 is cut off')
        time.sleep(max(8, self.pause))      # until all have noticed: 5 s
        for _ in range(20):
            if three.status('cluster_status') != 'Primary':
                break
            time.sleep(1)
        self.cut_off(three, self.vicars[2])
        three.isolate(False)
        self.event('n3 is let in again')
        three.wait()
        self.stay('n3 is back')

        for node, vicar in zip(self.nodes, self.vicars):
            self.event('%s and its Vicar are restarted' % node.name)
            vicar.halt()
            node.halt()
            node.start()
            vicar.start()
        self.stay('all were restarted')

    def cut_off(self, node, vicar):
        """Nothing there is served from memory."""
        self.c.ok('the node that is cut off is no part of the cluster (%s)' % node.status('cluster_status'),
                  node.status('cluster_status') != 'Primary')
        a = api.Api(vicar.url)
        for what, answer in (
                ('a token', lambda: a.validate(self.load.admin, self.load.admin)),
                ('a login', lambda: a.login_answer(('admin', 'default'), server.PASSWORD))):
            got = answer()
            self.c.ok('its Vicar answers %s with 503 and Retry-After' % what, got.status == 503 and
                      got.headers.get('Retry-After'), '%s %s' % (got.status, got.text[:200]))

    def play(self):
        self.begin(self.databases())
        self.under_load()
        self.report()
        for n in self.nodes:
            n.wait()
        self.look(self.nodes[0], self.vicars[0])
        same = []
        for table in ('trust', 'user', 'assignment', 'credential', 'vicar_trust_state', 'revocation_event'):
            sums = {n.sql('CHECKSUM TABLE `%s`' % table, stores.NAME) for n in self.nodes}
            same.append(len(sums) == 1)
        self.c.ok('the three nodes hold the same rows', all(same), same)


class Standby(services.PostgreSql):
    """Follows a primary, and takes no connections before it takes over."""

    def __init__(self, primary):
        super().__init__(durable=True, settings=['hot_standby=off'])
        self.primary = primary
        self.passwords = primary.passwords

    def command(self):
        if not os.path.exists(self.data):
            self.run(self.program('pg_basebackup'), '-h', self.primary.dir, '-p', str(self.primary.port),
                     '-U', 'root', '-D', self.data, '-R', '-X', 'stream', '--no-sync',
                     '--checkpoint=fast')
        return super().command()

    def ready(self):
        return 'streaming' in self.primary.sql('SELECT state FROM pg_stat_replication')

    def promote(self):
        self.run(self.program('pg_ctl'), 'promote', '-w', '-D', self.data)


class Failover(Cluster):
    def databases(self):
        # What is acknowledged is on the standby as well.
        self.primary = self.own(services.PostgreSql(durable=True, settings=['wal_level=replica'])).start()
        self.primary.create(stores.NAME, 'pw')
        self.standby = self.own(Standby(self.primary)).start()
        self.primary.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.primary.sql('SELECT pg_reload_conf()')
        self.back = self.own(Proxy('tcp', [self.primary.port, self.standby.port], [], 'backup')).start()
        url = self.primary.url(stores.NAME).replace(':%d/' % self.primary.port, ':%d/' % self.back.port)
        return [url] * 3

    def faults(self):
        self.primary.process.send_signal(signal.SIGKILL)
        self.primary.process.wait()
        self.event('the primary is killed')
        time.sleep(2)
        a = api.Api(self.vicars[0].url)
        got = a.validate(self.load.admin, self.load.admin)
        self.c.ok('without a database it is 503 with Retry-After', got.status == 503 and
                  got.headers.get('Retry-After'), '%s %s' % (got.status, got.text[:200]))
        self.standby.promote()
        self.stay('the standby has taken over')

    def play(self):
        self.begin(self.databases())
        self.under_load()
        self.report()
        self.look(self.standby, self.vicars[0])


KINDS = {'galera': Galera, 'postgresql': Failover}


def play(c, kind, options, seed):
    with KINDS[kind](c, options, seed) as cluster:
        cluster.play()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('kinds', nargs='*', metavar='KIND', default=list(KINDS))
    parser.add_argument('--short', action='store_true')
    parser.add_argument('--seed', default=None)
    options = parser.parse_args()
    seed = options.seed or '%08x' % random.getrandbits(32)
    print('seed %s' % seed)
    subprocess.run([os.path.join(harness.HERE, 'setup.sh'), 'databases', 'cluster'], check=True,
                   stdout=subprocess.DEVNULL)
    c = harness.Checks()
    for kind in options.kinds:
        c.part('%s, %s' % (kind, 'short' if options.short else 'long'), play, c, kind, options, seed)
    return c.close()


if __name__ == '__main__':
    sys.exit(main())
