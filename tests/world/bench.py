#!/usr/bin/env python3
"""Requests per second of two identity servers, measured turn by turn.

    bench.py                         starts Vicar, and a Keystone 30.0.0 under uwsgi
                                     with as many processes as there are cores
    bench.py URL_A URL_B --passwords SECRET_A SECRET_B
                                     two servers that run (.../v3), on this machine
                                     if their memory is to be told
    bench.py --keystone              two Keystones: what the ratio 1.00 looks like
    --keystone-cache                 Keystone with a cache in each process's memory:
                                     faster than it may be used (the processes do not
                                     hear of each other's changes), so a kind bound
    --seconds 5 --rounds 3 --connections 4 --only NAME... --json FILE

Both get the same scene and the same requests (by `wrk`, on one thread); within a
round the servers take turns, and the rounds change who begins, so that what else the
machine does falls on both. Figures are medians over the rounds; CPU is what the
server's processes used for a request, memory what they hold at the end. Any answer
that is not the expected success makes the run fail.
"""
import argparse
import contextlib
import json
import os
import re
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import urllib.parse

import harness

harness.run_in('clients')

import api
import server
import sign

PW = 'a password of the bench'
TOKENS = 20                       # different subjects, so that none is special

LUA = '''
local list = {%s}
local n = 0
request = function()
  n = n %% #list + 1
  local r = list[n]
  return wrk.format(r[1], r[2], r[3], r[4])
end
done = function(summary, latency, requests)
  io.write(string.format(
    '\\nRESULT {"requests": %%d, "microseconds": %%d, "bad": %%d, "lost": %%d, ' ..
    '"p50": %%d, "p99": %%d}\\n', summary.requests, summary.duration,
    summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write
    + summary.errors.timeout, latency:percentile(50), latency:percentile(99)))
end
'''


def lua(text):
    """A Lua string."""
    return '"%s"' % re.sub(r'[\\"\n\r]', lambda m: '\\%03d' % ord(m.group()), text)


class Target:
    """One server with the scene, and the requests to send."""

    def __init__(self, url, password, name, kind):
        self.url, self.name, self.kind = url, name, kind
        a = self.api = api.Api(url)
        t = a.admin(password)
        roles, tag = a.role_ids(t), secrets.token_hex(3)
        p = a.make(t, 'project', name='bench-' + tag, domain_id='default')

        def person(name, *grants):
            user = a.make(t, 'user', name='%s-%s' % (name, tag),
                          domain_id='default', password=PW)
            for role in grants:
                a.grant(t, roles[role], user, p)
            return user

        alice, bob = person('alice', 'member'), person('bob')
        svc = person('svc', 'service')
        service = a.login(svc, PW, api.project(p))
        own = a.login(alice, PW, api.project(p))
        trust = a.trust(own, alice, bob, p, ['member'], allow_redelegation=True)
        bobs = a.login(bob, PW)
        pair = a.post('/users/%s/credentials/OS-EC2' % alice, own,
                      {'tenant_id': p}).want(201).body['credential']
        plain = [a.exchange(own, api.project(p)) for _ in range(TOKENS)]
        trusted = [a.exchange(bobs, api.trust(trust['id'])) for _ in range(TOKENS)]

        def validations(subjects):
            return [('GET', '/auth/tokens', {'X-Auth-Token': service.id,
                                             'X-Subject-Token': s.id}, None)
                    for s in subjects]

        def login(identity):
            return [('POST', '/auth/tokens', {}, {'auth': {
                'identity': identity, 'scope': api.trust(trust['id'])}})]

        def exchanges(pair, door, maker):
            return [('POST', door, {'X-Auth-Token': service.id},
                     maker(pair['access'], pair['secret'])) for _ in range(3)]

        self.work = {
            'validate a project token': validations(plain),
            'validate a trust token': validations(trusted),
            'trust token by token': login({'methods': ['token'],
                                           'token': {'id': bobs.id}}),
            'trust token by password': login({'methods': ['password'], 'password': {
                'user': {'id': bob, 'password': PW}}}),
            'ec2tokens, version 4': exchanges(pair, '/ec2tokens',
                                              sign.ec2_v4_header),
            's3tokens, version 4': exchanges(pair, '/s3tokens', sign.s3_v4),
        }
        if kind == 'vicar':
            bound = a.post('/users/%s/credentials/OS-EC2' % alice, trusted[0],
                           {'tenant_id': p}).want(201).body['credential']
            self.work['ec2tokens, trust keypair'] = exchanges(
                bound, '/ec2tokens', sign.ec2_v4_header)
        for requests in self.work.values():
            for method, path, headers, body in requests:      # each works at all
                a.call(method, path, None, body, headers).want(200, 201)

    def script(self, name):
        base = urllib.parse.urlsplit(self.url).path
        rows = []
        for method, path, headers, body in self.work[name]:
            headers = dict(headers, Accept='application/json')
            if body is not None:
                headers['Content-Type'] = 'application/json'
            rows.append('{%s, %s, {%s}, %s}' % (
                lua(method), lua(base + path),
                ', '.join('[%s] = %s' % (lua(k), lua(v)) for k, v in headers.items()),
                'nil' if body is None else lua(json.dumps(body))))
        return LUA % ',\n'.join(rows)

    def run(self, name, seconds, connections):
        with tempfile.NamedTemporaryFile('w', suffix='.lua') as f:
            f.write(self.script(name))
            f.flush()
            before = cpu(self.processes())
            done = subprocess.run(
                ['wrk', '-t1', '-c%d' % connections, '-d%gs' % seconds,
                 '--timeout', '30s', '-s', f.name, self.url],
                text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            after = cpu(self.processes())
        found = re.search(r'^RESULT (.*)$', done.stdout, re.M)
        if not found:
            raise RuntimeError('wrk: ' + done.stdout)
        r = json.loads(found.group(1))
        r['rate'] = r['requests'] / (r['microseconds'] / 1e6)
        r['cpu'] = ((after - before) / r['requests']
                    if r['requests'] and before else None)
        return r

    def processes(self):
        return tree_behind(urllib.parse.urlsplit(self.url).port)


def tree_behind(port):
    """Process ids of who listens on that port of this machine, with descendants."""
    sockets = set()
    for table in ('/proc/net/tcp', '/proc/net/tcp6'):
        with contextlib.suppress(OSError), open(table) as f:
            for line in list(f)[1:]:
                x = line.split()
                if x[3] == '0A' and int(x[1].rpartition(':')[2], 16) == port:
                    sockets.add('socket:[%s]' % x[9])
    found, parents = set(), {}
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open('/proc/%s/stat' % pid) as f:
                parents[pid] = f.read().rpartition(')')[2].split()[1]
            for fd in os.listdir('/proc/%s/fd' % pid):
                if os.readlink('/proc/%s/fd/%s' % (pid, fd)) in sockets:
                    found.add(pid)
                    break
        except OSError:
            continue
    grown = True
    while grown:
        more = {p for p, parent in parents.items() if parent in found} - found
        found |= more
        grown = bool(more)
    return sorted(found, key=int)


def cpu(pids):
    """Seconds that these processes have used."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError), open('/proc/%s/stat' % pid) as f:
            x = f.read().rpartition(')')[2].split()
            total += int(x[11]) + int(x[12])
    return total / os.sysconf('SC_CLK_TCK')


def memory(pids):
    """(resident, proportional) in MB: the second counts shared pages once."""
    sums = {'Rss': 0, 'Pss': 0}
    for pid in pids:
        with contextlib.suppress(OSError), open('/proc/%s/smaps_rollup' % pid) as f:
            for line in f:
                key = line.partition(':')[0]
                if key in sums:
                    sums[key] += int(line.split()[1])
    return sums['Rss'] / 1024, sums['Pss'] / 1024


def need_wrk():
    if shutil.which('wrk'):
        return
    root = [] if os.getuid() == 0 else ['sudo']
    subprocess.run(root + ['apt-get', 'install', '-y', '-qq', 'wrk'], check=True,
                   env=dict(os.environ, DEBIAN_FRONTEND='noninteractive'),
                   stdout=subprocess.DEVNULL)


def measure(targets, options):
    names = [n for n in targets[0].work if not options.only or any(
        x in n for x in options.only)]
    results = {(t.name, n): [] for t in targets for n in names}
    for turn in range(options.rounds):
        for n in names:
            order = targets if turn % 2 == 0 else targets[::-1]
            for t in order:
                if n not in t.work:
                    continue
                r = t.run(n, options.seconds, options.connections)
                results[t.name, n].append(r)
                print('round %d  %-26s %-10s %9.1f /s  p50 %7.2f ms  p99 %8.2f ms%s'
                      % (turn + 1, n, t.name, r['rate'], r['p50'] / 1e3,
                         r['p99'] / 1e3, '  BAD %d, LOST %d' % (r['bad'], r['lost'])
                         if r['bad'] or r['lost'] else ''), flush=True)
    return names, results


def table(targets, names, results):
    """The ratio table; gives it as data too."""
    a, b = targets

    def median(t, n, key):
        values = [r[key] for r in results[t.name, n] if r[key] is not None]
        return statistics.median(values) if values else None

    def show(x, form):
        return '-' if x is None else form % x

    rows = []
    print('\n%-26s %10s %10s %7s   %s' % (
        'requests per second', a.name, b.name, 'ratio', 'CPU ms a request; p99 ms'))
    for n in names:
        x, y = median(a, n, 'rate'), median(b, n, 'rate')
        row = {'name': n, 'ratio': x / y if x and y else None}
        for t in targets:
            row[t.name] = {k: median(t, n, k) for k in ('rate', 'cpu', 'p50', 'p99')}
        rows.append(row)
        print('%-26s %10s %10s %7s   %s / %s; %s / %s' % (
            n, show(x, '%.1f'), show(y, '%.1f'), show(row['ratio'], '%.2f'),
            *(show(v and v * 1e3, '%.3f') for v in (median(a, n, 'cpu'),
                                                    median(b, n, 'cpu'))),
            *(show(v and v / 1e3, '%.1f') for v in (median(a, n, 'p99'),
                                                    median(b, n, 'p99')))))
    held = {}
    for t in targets:
        pids = t.processes()
        rss, pss = memory(pids)
        held[t.name] = {'processes': len(pids), 'rss': rss, 'pss': pss}
        print('memory of %-10s %d processes, RSS %.1f MB, proportional %.1f MB' % (
            t.name, len(pids), rss, pss))
    return {'rows': rows, 'memory': held}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('urls', nargs='*', help='none, or two')
    parser.add_argument('--passwords', nargs=2, default=[server.PASSWORD] * 2)
    parser.add_argument('--keystone', action='store_true')
    parser.add_argument('--keystone-cache', action='store_true')
    parser.add_argument('--seconds', type=float, default=5)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--connections', type=int, default=4)
    parser.add_argument('--only', nargs='+', metavar='NAME')
    parser.add_argument('--json', metavar='FILE')
    options = parser.parse_args()
    if len(options.urls) not in (0, 2):
        parser.error('two URLs, or none')
    need_wrk()
    cores = os.cpu_count() or 1
    with contextlib.ExitStack() as stack:
        if options.urls:
            kinds = ['keystone' if options.keystone else 'vicar', 'keystone']
            places = list(zip(options.urls, options.passwords, kinds))
        else:
            more = {'cache': {'enabled': 'true', 'backend': 'dogpile.cache.memory'}}
            settings = more if options.keystone_cache else None
            first = (server.Keystone(processes=cores) if options.keystone
                     else server.Vicar())
            places = [(s.url, s.password, s.kind) for s in (
                stack.enter_context(first), stack.enter_context(
                    server.Keystone(processes=cores, settings=settings)))]
        names = ('vicar', 'keystone') if places[0][2] == 'vicar' else ('a', 'b')
        targets = [Target(url, password, name, kind)
                   for (url, password, kind), name in zip(places, names)]
        print('%d cores, %d connections, %d rounds of %g s each' % (
            cores, options.connections, options.rounds, options.seconds))
        done, results = measure(targets, options)
        data = table(targets, done, results)
    if options.json:
        with open(options.json, 'w') as f:
            json.dump(data, f, indent=1)
    bad = sum(r['bad'] + r['lost'] for rs in results.values() for r in rs)
    runs = sum(len(rs) for rs in results.values())
    failed = sum(1 for rs in results.values() for r in rs if r['bad'] or r['lost'])
    if bad:
        print('%d answers were not the expected ones' % bad)
    print('%d passed, %d failed' % (runs - failed, failed))
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
