#!/usr/bin/env python3
"""Does a validation stay quick while somebody keeps the server busy?

    latency.py [--rounds 3] [--seconds 10] [--engine sqlite|postgresql|mariadb]
               [--trusts 100000] [--logins 200] [--only NAME...]

A database with many trusts. Validations come at a steady pace on connections that are kept, and each is
timed from the moment at which it was due, so that a wait of the whole server is seen in all of those that
came due meanwhile. Their 99th percentile is measured while nothing else happens, and then while

    logins      so many wrong logins a second arrive, of users that there are and of others
    lists       a member with 5,000 trusts reads long lists of them, six at a time
    deletion    roles are deleted one after the other

Each is measured once a round, always next to an idle one. A figure is the median of the rounds, and good
when it is less than five times the idle one of its own round. The exit status is 1 when one is not.

The load has processes of its own, on the same machine: with two cores it takes its share of them.
"""
import argparse
import asyncio
import collections
import json
import multiprocessing
import secrets
import statistics
import sys
import time
import urllib.parse

import harness

if __name__ == '__main__':
    harness.run_in('clients')

import api
import stores

PACE = 100                       # validations a second
PROBES = 4                       # connections that they come on
READERS, OWN = 6, 5000           # of the member with many trusts
AFTERWARDS = 10                  # seconds that late answers are waited for
TIMES = 5                        # so much longer may a validation take
PW = 'a password of the load'


def request(method, path, headers, body=b''):
    head = ['%s /v3%s HTTP/1.1' % (method, path), 'Host: here',
            'Content-Length: %d' % len(body)]
    head += ['%s: %s' % h for h in headers.items()]
    return ('\r\n'.join(head) + '\r\n\r\n').encode() + body


async def answer(reader):
    """(status, length of the body) of one answer."""
    head = (await reader.readuntil(b'\r\n\r\n')).decode('latin-1').lower()
    length = int(head.partition('content-length:')[2].split()[0]) if 'content-length:' in head else 0
    body = await reader.readexactly(length)
    return int(head.split()[1]), len(body)


def at_pace(pace, until):
    """Moments, evenly spaced."""
    due, end = time.monotonic(), time.monotonic() + until
    while due < end:
        yield due
        due += 1 / pace


async def probe(where, what, seconds):
    """Milliseconds of each validation; of one that is not answered in the end, as long as it waited."""
    free = asyncio.Queue()
    for _ in range(PROBES):
        free.put_nowait(await asyncio.open_connection(*where))
    times, tasks, waiting = [], [], set()

    async def one(due):
        waiting.add(due)
        reader, writer = await free.get()
        writer.write(what)
        status, _ = await answer(reader)
        if status != 200:
            raise RuntimeError('a validation was answered with %d' % status)
        times.append(1000 * (time.monotonic() - due))
        waiting.discard(due)
        free.put_nowait((reader, writer))

    for due in at_pace(PACE, seconds):
        await asyncio.sleep(max(0, due - time.monotonic()))
        tasks.append(asyncio.create_task(one(due)))
    done, late = await asyncio.wait(tasks, timeout=AFTERWARDS)
    for task in done:
        task.result()
    for task in late:
        task.cancel()
    now = time.monotonic()
    return times + [1000 * (now - due) for due in waiting]


async def logins(where, users, pace, stop):
    seen, tasks = collections.Counter(), set()

    async def one(n):
        user = ({'id': users[n % len(users)]} if n % 2 else
                {'name': 'nobody-%d' % n, 'domain': {'id': 'default'}})
        body = json.dumps({'auth': {'identity': {'methods': ['password'], 'password': {
            'user': dict(user, password='wrong')}}}}).encode()
        try:
            reader, writer = await asyncio.open_connection(*where)
            writer.write(request('POST', '/auth/tokens', {'Connection': 'close'}, body))
            seen[(await answer(reader))[0]] += 1
            writer.close()
        except (OSError, asyncio.IncompleteReadError) as e:
            seen[type(e).__name__] += 1

    for n, due in enumerate(at_pace(pace, 3600)):
        if stop.is_set():
            break
        await asyncio.sleep(max(0, due - time.monotonic()))
        task = asyncio.create_task(one(n))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    for task in tasks:
        task.cancel()
    return seen


async def lists(where, user, token, stop):
    paths = ['/OS-TRUST/trusts?trustor_user_id=%s' % user,
             '/OS-TRUST/trusts?trustor_user_id=%s&limit=1' % user,
             '/users/%s/delegations' % user]
    seen = collections.Counter()

    async def reads(n):
        reader, writer = await asyncio.open_connection(*where, limit=1 << 26)
        while not stop.is_set():
            writer.write(request('GET', paths[n % len(paths)], {'X-Auth-Token': token}))
            seen[(await answer(reader))[0]] += 1
        writer.close()
    await asyncio.gather(*(reads(n) for n in range(READERS)))
    return seen


async def deletion(where, token, stop):
    seen, longest = collections.Counter(), 0.0
    reader, writer = await asyncio.open_connection(*where)
    while not stop.is_set():
        name = 'role-%s' % secrets.token_hex(6)
        writer.write(request('POST', '/roles', {'X-Auth-Token': token},
                             json.dumps({'role': {'name': name}}).encode()))
        head = (await reader.readuntil(b'\r\n\r\n')).decode('latin-1').lower()
        length = int(head.partition('content-length:')[2].split()[0])
        role = json.loads(await reader.readexactly(length))['role']['id']
        began = time.monotonic()
        writer.write(request('DELETE', '/roles/' + role, {'X-Auth-Token': token}))
        seen[(await answer(reader))[0]] += 1
        longest = max(longest, time.monotonic() - began)
        await asyncio.sleep(0.05)
    seen['longest, ms'] = round(1000 * longest)
    return seen


def in_process(work, args, stop, results):
    try:
        results.put(dict(asyncio.run(work(*args, stop))))
    except Exception as e:
        results.put({'ended by %r' % e: 1})


def p99(times):
    return statistics.quantiles(times, n=100)[98]


class Scene:
    def __init__(self, site, trusts):
        self.site = site
        v = site.vicars[0]
        self.where = (urllib.parse.urlsplit(v.url).hostname, v.port)
        a = self.api = api.Api(v.url)
        self.admin = a.admin(v.password)
        roles = a.role_ids(self.admin)
        self.project = a.make(self.admin, 'project', name='latency')

        def person(name, role):
            user = a.make(self.admin, 'user', name=name, password=PW)
            a.grant(self.admin, roles[role], user, self.project)
            return user
        self.member, service = person('owner', 'member'), person('service', 'service')
        self.others = [person('other-%d' % n, 'member') for n in range(20)]
        at = api.project(self.project)
        self.own = a.login(self.member, PW, at)
        subject, service = a.login(self.others[0], PW, at), a.login(service, PW, at)
        self.validation = request('GET', '/auth/tokens', {
            'X-Auth-Token': service.id, 'X-Subject-Token': subject.id})
        self.fill(roles['member'], trusts)

    def fill(self, role, trusts):
        """Rows as the API would write them."""
        def values(rows):
            return ', '.join('(%s)' % ', '.join(row) for row in rows)
        for first in range(0, trusts, 500):
            ids = [secrets.token_hex(16) for _ in range(min(500, trusts - first))]
            rows = [("'%s'" % id, "'%s'" % (self.member if first + n < OWN
                                            else self.others[n % len(self.others)]),
                     "'%s'" % self.others[(n + 1) % len(self.others)],
                     "'%s'" % self.project, 'true', "'{}'", '0')
                    for n, id in enumerate(ids)]
            self.site.change([
                'INSERT INTO trust (id, trustor_user_id, trustee_user_id, project_id, '
                'impersonation, extra, redelegation_count) VALUES ' + values(rows),
                'INSERT INTO trust_role (trust_id, role_id) VALUES '
                + values([("'%s'" % id, "'%s'" % role) for id in ids])])

    def measure(self, seconds, disturb=None):
        """(milliseconds of validations, what the disturber saw)"""
        if not disturb:
            return asyncio.run(probe(self.where, self.validation, seconds)), {}
        work, args = disturb
        stop, results = multiprocessing.Event(), multiprocessing.Queue()
        process = multiprocessing.Process(
            target=in_process, args=(work, (self.where, *args), stop, results))
        process.start()
        try:
            time.sleep(1)                         # it has begun
            times = asyncio.run(probe(self.where, self.validation, seconds))
        finally:
            stop.set()
            seen = results.get(timeout=120)
            process.join(30)
            if process.is_alive():
                process.kill()
        return times, seen


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--rounds', type=int, default=3)
    p.add_argument('--seconds', type=float, default=10)
    p.add_argument('--engine', choices=stores.ENGINES, default='sqlite')
    p.add_argument('--trusts', type=int, default=100_000)
    p.add_argument('--logins', type=int, default=200)
    p.add_argument('--only', nargs='+', choices=['logins', 'lists', 'deletion'])
    options = p.parse_args()
    stores.available(options.engine)
    settings = {'identity': {'password_hash_rounds': 12}}
    with stores.Site(options.engine, settings=settings) as site:
        scene = Scene(site, options.trusts)
        disturbers = {
            'logins': (logins, ([scene.member, *scene.others], options.logins)),
            'lists': (lists, (scene.member, scene.own.id)),
            'deletion': (deletion, (scene.admin.id,)),
        }
        scene.measure(1)                          # warm
        found = {name: [] for name in options.only or disturbers}
        for round_ in range(options.rounds):
            for name in found:
                idle, _ = scene.measure(options.seconds)
                busy, seen = scene.measure(options.seconds, disturbers[name])
                found[name].append((p99(idle), p99(busy)))
                print('round %d  %-9s idle p99 %7.1f ms   p50 %7.1f  p99 %8.1f  most %8.1f   %s' % (
                    round_ + 1, name, p99(idle), statistics.median(busy), p99(busy), max(busy),
                    ', '.join('%s: %s' % x for x in sorted(seen.items(), key=str))), flush=True)
    print('\np99 of a validation, %s, %d trusts' % (options.engine, options.trusts))
    bad = 0
    for name, rounds in found.items():
        idle, busy = (statistics.median(x) for x in zip(*rounds))
        ratio = statistics.median(b / i for i, b in rounds)
        bad += ratio >= TIMES
        print('%-9s idle %7.1f ms   busy %8.1f ms   ratio %6.1f   %s' % (
            name, idle, busy, ratio, 'ok' if ratio < TIMES else 'TOO MUCH'))
    sys.exit(1 if bad else 0)


if __name__ == '__main__':
    main()
