#!/usr/bin/env python3
"""Vicar is killed with SIGKILL at random moments of a write load, again and again.

    crash.py [--engine sqlite|postgresql|mariadb]... [--kills N] [--kill WHOM] [--seed S]
    crash.py --kills 200               the long run

WHOM is `vicar`, `database` (the server of the engine), `both`, or `mixed` (any of these, by chance;
SQLite has no server, so there it is always `vicar`).

After each restart everything that was acknowledged since the one before has to be so: what was
made is there, what was ended is dead with all below it, uses are exact. What was sent and not
answered may have been done or not, but wholly. The database is searched for halves (stores.WHOLE),
and `vicar doctor` must find nothing broken. At the end everything is looked at once more.
"""
import argparse
import random
import statistics
import sys
import threading
import time

import harness

if __name__ == '__main__':
    harness.run_in('clients')

import api
import load
import server
import stores

THREADS = 6
SETTINGS = {'database': {'connect_timeout': 2, 'pool_timeout': 5, 'statement_timeout': 10}}


class Run:
    def __init__(self, c, site, options, seed):
        self.c, self.site, self.options = c, site, options
        self.rng = random.Random(seed)
        self.vicar = site.vicars[0]
        self.load = load.Load([self.vicar.url], seed, server.PASSWORD)
        self.at = api.Api(self.vicar.url)
        self.times = {'vicar': [], 'database': [], 'both': [], 'after': []}
        self.found = []                 # (round, text, family)
        self.killed_starting = 0

    def whom(self):
        if self.site.engine == 'sqlite':
            return 'vicar'
        if self.options.kill != 'mixed':
            return self.options.kill
        return self.rng.choices(['vicar', 'database', 'both'], [60, 25, 15])[0]

    def round(self, number):
        self.load.stop.clear()
        workers = [threading.Thread(target=self.load.work, args=(i, number))
                   for i in range(THREADS)]
        for w in workers:
            w.start()
        time.sleep(self.rng.uniform(0.1, self.options.longest))
        whom = self.whom()
        began = time.monotonic()
        if whom != 'database':
            self.vicar.kill()
        if whom != 'vicar':
            self.site.database.kill()
        self.load.stop.set()
        if whom != 'vicar':
            self.site.database.start()
        back = time.monotonic()
        if whom != 'database':
            self.vicar.launch()
            # Now and then it dies again while it starts.
            if self.rng.random() < 0.1:
                time.sleep(self.rng.uniform(0, 0.03))
                self.vicar.kill()
                self.killed_starting += 1
                began = time.monotonic()
                self.vicar.launch()
        self.vicar.until_ready()
        self.times[whom].append(time.monotonic() - began)
        if whom == 'database':
            self.times['after'].append(time.monotonic() - back)
        for w in workers:
            w.join(90)
            if w.is_alive():
                self.load.fail(None, 'a call got no end within 90 s')
        self.look(number, whom, [f for f in self.load.families if f.touched])

    def look(self, number, whom, families):
        """Everything of these families, by several at once."""
        remaining = {r[0]: int(r[1]) for r in self.site.rows(
            'SELECT id, remaining_uses FROM trust WHERE remaining_uses IS NOT NULL')}
        queue = list(families)

        def some():
            while True:
                try:
                    family = queue.pop()
                except IndexError:
                    return
                try:
                    family.check(self.at, remaining)
                except Exception as e:
                    self.load.fail(family, 'the look ended: %s: %s' % (type(e).__name__, e))

        lookers = [threading.Thread(target=some) for _ in range(4)]
        for t in lookers:
            t.start()
        for t in lookers:
            t.join()
        for what, ids in stores.halves(self.site):
            self.load.fail(None, '%s: %s' % (what, ', '.join(ids)))
        said = self.site.command('doctor', want=None)
        if any(line.startswith('FAIL') for line in said.splitlines()):
            self.load.fail(None, 'doctor: ' + said)
        for family, text in self.load.wrong:
            self.found.append((number, whom, text))
            print('  round %s (%s): %s' % (number, whom, text), flush=True)
            if family is not None and len(self.found) <= 20:
                print(family.story(), flush=True)
        self.load.wrong.clear()

    def play(self):
        began = time.monotonic()
        for number in range(1, self.options.kills + 1):
            before = len(self.found)
            self.round(number)
            if len(self.found) > before or number % 25 == 0:
                print('  ... %d kills, %d s, %d things, %d looks' % (
                    number, time.monotonic() - began,
                    sum(len(f.things) for f in self.load.families), self.load.checked), flush=True)
            if len(self.found) > 60:
                print('  enough')
                break
        in_rounds = len(self.found)
        self.c.ok('%d kills: all that was acknowledged is so, and all is whole' % number,
                  not in_rounds, '%d findings' % in_rounds)
        self.look('last', '-', self.load.families)
        self.c.ok('in the end still, all %d things of it' %
                  sum(len(f.things) for f in self.load.families),
                  len(self.found) == in_rounds, '%d findings' % (len(self.found) - in_rounds))
        counts = self.load.counts
        told = ', '.join('%s %d' % (k, v) for k, v in sorted(counts.items()))
        self.c.ok('there was a load: %s' % told, all(counts.get(k) for k in (
            'users made', 'trusts made', 'trusts redelegated', 'keypairs made', 'uses',
            'trusts ended')), counts)
        self.c.ok('and it was cut off: %d calls without an answer' % self.load.unanswered,
                  self.load.unanswered > 0)
        print('      %d looks; %d times killed once more while starting' % (
            self.load.checked, self.killed_starting))
        said = {'after': 'with a database that is back after %d kills: to the first answer'}
        for whom, times in self.times.items():
            if times:
                text = said.get(whom, whom + ' killed %d times; from the kill to the first answer')
                print('      %s: min %.0f ms, median %.0f ms, max %.0f ms' % (
                    text % len(times), 1000 * min(times), 1000 * statistics.median(times),
                    1000 * max(times)))


def play(c, engine, options, seed):
    with stores.Site(engine, settings=SETTINGS) as site:
        Run(c, site, options, seed).play()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--engine', nargs='+', choices=stores.ENGINES, default=['sqlite'])
    parser.add_argument('--kills', type=int, default=15)
    parser.add_argument('--kill', choices=['vicar', 'database', 'both', 'mixed'], default='mixed')
    parser.add_argument('--longest', type=float, default=0.9, help='seconds from start to kill')
    parser.add_argument('--seed', default=None)
    options = parser.parse_args()
    seed = options.seed or '%08x' % random.getrandbits(32)
    print('seed %s' % seed)
    c = harness.Checks()
    for engine in options.engine:
        stores.available(engine)
        c.part('%d kills on %s' % (options.kills, engine), play, c, engine, options, seed)
    return c.close()


if __name__ == '__main__':
    sys.exit(main())
