#!/usr/bin/env python3
"""Keystone 30.0.0, Vicar and the ceiling of the machine, measured turn by turn.

    bench.py [--engine sqlite postgresql mariadb] [--only NAME...] [--seconds 5] [--rounds 3] [--connections 8]
             [--json FILE] [--page]
    bench.py --list                  the operations, and what each is
    bench.py --scale [--scale-factor 0.01]
                                     the same beside 100,000 users and a million trusts (fill.py), and a second
                                     Vicar without them
    bench.py --growth [--engine ...] [--scale-factor 0.1]
                                     whether what a request costs grows with what others have stored (growth.py)
    bench.py --json FILE --page --render
                                     docs/benchmarks.md anew from measured figures

Both servers get the same people, trusts and keypairs over the API, and then the same requests by the same generator
(wrk on one thread). Operation by operation each is measured in every round, and the rounds change who begins, so that
what else the machine does falls on all. Figures are medians over the rounds. The ceiling is Vicar's HTTP stack with
a constant body of the length of Vicar's answer. A wrong answer makes the run fail.
"""
import argparse
import contextlib
import json
import os
import statistics
import sys
import traceback

sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'world'))
import harness

if __name__ == '__main__':
    harness.run_in('clients')

import beside
import fill
import generate
import growth
import machine
import report
import sites
import stores
from operations import OPERATIONS, Work
from scene import Scene

SERVERS = ('vicar', 'keystone', 'ceiling')
FIRST = {'vicar': 2000, 'keystone': 200}      # requests a second, before it is known
KEYS = ('rate', 'p50', 'p99', 'cpu')


class Failures(list):
    def note(self, where, what):
        self.append('%s: %s' % (where, what))
        print('WRONG  %s: %s' % (where, what), flush=True)


def median(runs):
    return {**{k: statistics.median(r[k] for r in runs) for k in KEYS}, 'rates': [r['rate'] for r in runs]}


def prepared(op, target, amount, failures):
    """The work for one run; its first request has been answered as it should be."""
    work = op.make(target, int(amount) + 1)
    status, body = generate.once(target.url, work.requests[0])
    if status != work.status:
        failures.note('%s, %s' % (op.name, target.name), 'answered with %d, not %d: %s' % (
            status, work.status, body[:300]))
    work.bytes = len(body)
    if work.once:
        del work.requests[0]
    return work


def run(op, target, work, seconds, connections, failures, least=1):
    """Drives the target; anything but at least so many right answers is noted."""
    kind = (target.kind, target.store and target.store.engine)
    seconds = max(seconds, op.seconds.get(target.kind, 0))
    if kind == op.alone:
        connections = 1
    r = generate.wrk(target, work, seconds, connections)
    target.quiet()
    where = '%s, %s' % (op.name, target.name)
    if kind == op.faulty and r['requests'] and r['bad'] + r['lost'] <= 3 + 0.05 * r['requests']:
        r['rate'] *= 1 - r['bad'] / r['requests']
    elif r['bad'] or r['lost'] or r['requests'] < least:
        failures.note(where, '%(requests)d answers, %(bad)d of them not the expected ones, %(lost)d lost' % r)
    # Answers of one kind are of one length: short ones are not what they should be.
    elif op.even and r['bytes'] < work.bytes * r['requests']:
        failures.note(where, 'answers of %d bytes in all, the first of which had %d' % (r['bytes'], work.bytes))
    try:
        work.after()
    except AssertionError as e:
        failures.note(where, e)
    if work.writes:
        target.scene.clean()
    return r


def constant(work):
    """The same requests for the ceiling, which knows `GET /v3` alone."""
    out = []
    for request in work.requests[:1000]:
        head = request.partition(b'\r\n\r\n')[0].split(b'\r\n')[1:]
        head = [line for line in head if not line.startswith(b'Content-')]
        out.append(b'\r\n'.join([b'GET /v3 HTTP/1.1', *head]) + b'\r\n\r\n')
    return Work(out)


def measure(op, targets, options, failures):
    """{name of the target: its medians}"""
    targets = [t for t in targets if t.kind in op.only and (t.scene.filled or not op.scale)]
    rates, size, like = {}, 0, None
    for t in targets:                             # statements are prepared, caches filled, and the rate guessed
        work = prepared(op, t, op.first or FIRST[t.kind], failures)
        rates[t.name] = run(op, t, work, 1, options.connections, failures, least=0)['rate']
        if like is None or t.name == 'vicar':
            size, like = work.bytes, work
    runs = {t.name: [] for t in targets}
    with contextlib.ExitStack() as stack:
        if op.hashes:
            runs['ceiling'] = []
        elif options.ceiling and like:
            server = stack.enter_context(sites.Ceiling(options.ceiling, size))
            targets = [*targets, sites.Target('ceiling', server)]
            runs['ceiling'] = []
        for turn in range(options.rounds):
            first = turn % len(targets)
            for t in targets[first:] + targets[:first]:
                if t.name == 'ceiling':
                    r = run(op, t, constant(like), options.seconds, options.connections, failures)
                else:
                    work = prepared(op, t, max(50, 1.6 * rates[t.name] * options.seconds), failures)
                    r = run(op, t, work, options.seconds, options.connections, failures)
                runs[t.name].append(r)
                print('  %d  %-20s %-9s %9.1f /s  p50 %8.2f ms  p99 %8.2f ms' % (
                    turn + 1, op.name, t.name, r['rate'], r['p50'], r['p99']), flush=True)
            if op.hashes:
                runs['ceiling'].append(beside.hashes(options.seconds, options.hash_rounds))
    found = {name: median(some) for name, some in runs.items() if some}
    for name in found:
        if name != 'ceiling' and any(r['requests'] < 20 for r in runs[name]):
            print('     few answers of %s: its figures say little' % name)
    return found


def on(engine, options, failures):
    """All that is measured on one engine: a section of the results."""
    section = dict(options.now, seconds=options.seconds, rounds=options.rounds, connections=options.connections,
                   machine=machine.describe(), operations={}, more={})
    with contextlib.ExitStack() as stack:
        names = [n for n in options.servers if n != 'ceiling'] + ['small'] * options.scale
        targets = sites.start(stack, engine, names, rounds=options.hash_rounds)
        if options.scale:
            size = fill.Size(options.scale_factor)
            section['filled'] = {t.name: fill.fill(t.store, size, t.credential) for t in targets if t.name != 'small'}
        for t in targets:
            t.scene = Scene(t)
            if options.scale and t.name != 'small':
                t.scene.filled = size
        for name, op in OPERATIONS.items():
            if name in options.only and (options.scale or not op.scale):
                with told(name, failures):
                    section['operations'][name] = measure(op, targets, options, failures)
        for name, one in beside.MORE.items():
            if name in options.only:
                for t in targets:
                    if t.name in one.only:
                        with told('%s, %s' % (name, t.name), failures):
                            section['more'].setdefault(name, {})[t.name] = beside_all(one, t, options, section)
    return section


def beside_all(one, t, options, section):
    got = one.measure(t, options, section['operations'])
    print('     %-20s %-9s %s' % (one.name, t.name, '  '.join('%s %.2f' % x for x in got.items())), flush=True)
    return got


@contextlib.contextmanager
def told(where, failures):
    """What cannot be measured is a failure, and the next operation is measured."""
    try:
        yield
    except Exception as e:
        traceback.print_exc()
        failures.note(where, repr(e))


def keep(path, results):
    """Adds sections to the file; one of a part of the operations changes these alone."""
    old = {}
    with contextlib.suppress(OSError), open(path) as f:
        old = json.load(f)
    for name, new in results.items():
        if name in old and (set(old[name]['operations']) - set(new['operations'])
                            or set(old[name]['more']) - set(new['more'])):
            new['operations'] = old[name]['operations'] | new['operations']
            new['more'] = old[name]['more'] | new['more']
        old[name] = new
    with open(path, 'w') as f:
        json.dump(old, f, indent=1)
        f.write('\n')
    return old


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    everything = [*OPERATIONS, *beside.MORE]
    p.add_argument('--engine', nargs='+', choices=stores.ENGINES, default=['sqlite'])
    p.add_argument('--only', default=','.join(everything), help='names of operations, with commas')
    p.add_argument('--servers', default=','.join(SERVERS), help='which of vicar,keystone,ceiling')
    p.add_argument('--seconds', type=float, default=5)
    p.add_argument('--rounds', type=int, default=3)
    p.add_argument('--connections', type=int, default=8)
    p.add_argument('--hash-rounds', type=int, default=12, help='of bcrypt; fewer make the start shorter')
    p.add_argument('--scale', action='store_true')
    p.add_argument('--scale-factor', type=float, default=1)
    p.add_argument('--growth', action='store_true')
    p.add_argument('--json', metavar='FILE', help='where figures are kept; those of other engines in it remain')
    p.add_argument('--page', action='store_true', help='write docs/benchmarks.md and its plots')
    p.add_argument('--render', action='store_true', help='measure nothing')
    p.add_argument('--list', action='store_true')
    p.add_argument('--no-build', action='store_true', help='measure the programs that are there')
    options = p.parse_args()
    options.only, options.servers = options.only.split(','), options.servers.split(',')
    unknown = set(options.only) - set(everything) | set(options.servers) - set(SERVERS)
    if unknown:
        p.error('there is no %s; these are there: %s' % (', '.join(sorted(unknown)), ', '.join(everything)))
    if options.page and not options.json:
        p.error('--page is made from --json FILE')
    return options


def main():
    options = arguments()
    if options.list:
        for one in (OPERATIONS | beside.MORE).values():
            print('%-22s %s' % (one.name, one.text))
        return 0
    failures, results, measured = Failures(), {}, 0
    if not options.render:
        options.now = machine.now()
        sites.needed()
        if not options.no_build:
            sites.build()
        options.ceiling = sites.example('ceiling') if 'ceiling' in options.servers else None
        for engine in options.engine:
            stores.available(engine)
            if options.growth:
                failures += growth.report(engine, growth.measure(engine, options.scale_factor))
                continue
            name = engine + (' at scale' if options.scale else '')
            print('== %s: %d rounds of %g s, %d connections' % (
                name, options.rounds, options.seconds, options.connections), flush=True)
            results[name] = on(engine, options, failures)
            report.table(name, results[name])
            measured += len(results[name]['operations']) + len(results[name]['more'])
            if options.json:
                kept = keep(options.json, {name: results[name]})
    if options.page:
        if options.render:
            with open(options.json) as f:
                kept = json.load(f)
        report.page(kept)
    if options.growth:
        return 1 if failures else 0
    for what in failures:
        print('wrong: ' + what)
    print('%d measured, %d wrong' % (measured, len(failures)))
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())
