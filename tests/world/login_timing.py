#!/usr/bin/env python3
"""Can the time of a failed login tell whether a user exists, and how their password is stored?

    login_timing.py [--rounds 15] [--cost 12]

A fresh Vicar with users whose hashes are of every kind that a Keystone writes. In each round one login
with a wrong password is tried for each of them and for a user that does not exist, in a random order.
A kind is told apart when its median differs from the unknown user's by more than the noise (the larger
one of both median absolute deviations, scaled to a standard deviation, and 1 % of the median), or when
the ranks of its times differ from the unknown user's by more than 3.3 standard deviations (the test of
Mann and Whitney): answers come in steps of 50 ms, so that a small difference shows in few of them.

Run it on a machine that does nothing else. The exit status is 1 when a kind is told apart.
"""
import argparse
import base64
import os
import random
import secrets
import sqlite3
import statistics
import string
import sys
import time

import harness

if __name__ == '__main__':
    harness.run_in('clients')

import api
import server

UNKNOWN = 'unknown user'


def bcrypt_text(n):
    # The last character of salt and digest has fewer bits: `.`, `O`, `e`, `u` are always right.
    return ''.join(random.choices(string.ascii_letters + string.digits, k=n - 1)) + '.'


def b64(n, dot=False):
    text = base64.b64encode(os.urandom(n)).decode().rstrip('=')
    return text.replace('+', '.') if dot else text


def kinds(cost):
    """Hashes that no password fits, as none needs to."""
    def bcrypt(c):
        return '$2b$%02d$%s%s' % (c, bcrypt_text(22), bcrypt_text(31))
    return {
        'bcrypt, cost %d' % cost: bcrypt(cost),
        'bcrypt, cost %d' % (cost - 2): bcrypt(cost - 2),
        'bcrypt, cost %d' % (cost + 1): bcrypt(cost + 1),
        'bcrypt_sha256': '$bcrypt-sha256$v=2,t=2b,r=%d$%s$%s' % (
            cost, bcrypt_text(22), bcrypt_text(31)),
        'scrypt': '$scrypt$ln=16,r=8,p=1$%s$%s' % (b64(16), b64(32)),
        'pbkdf2_sha512': '$pbkdf2-sha512$25000$%s$%s' % (b64(16, True), b64(64, True)),
        'no password': None,
    }


def spread(times):
    middle = statistics.median(times)
    return middle, 1.4826 * statistics.median(abs(t - middle) for t in times)


def ranks_differ(a, b):
    """How far the ranks are from those of equals, in standard deviations."""
    above = sum((x > y) + (x == y) / 2 for x in a for y in b)
    n = len(a) * len(b)
    return (above - n / 2) / (n * (len(a) + len(b) + 1) / 12) ** 0.5


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--rounds', type=int, default=15)
    p.add_argument('--cost', type=int, default=12)
    options = p.parse_args()
    with server.Vicar(settings={'identity': {'password_hash_rounds': options.cost}}) as v:
        a = api.Api(v.url)
        admin = a.admin(v.password)
        stored = kinds(options.cost)
        users = {kind: a.make(admin, 'user', name=kind, password=secrets.token_hex(8))
                 for kind in stored}
        v.halt()
        with sqlite3.connect(v.store.database) as db:
            for kind, hash_ in stored.items():
                changed = db.execute(
                    'UPDATE password SET password_hash = ? WHERE local_user_id IN '
                    '(SELECT id FROM local_user WHERE user_id = ?)', (hash_, users[kind]))
                assert changed.rowcount == 1, kind
        db.close()
        v.start()
        time.sleep(len(stored))               # the kinds are looked up at the start
        users[UNKNOWN] = secrets.token_hex(16)
        times = {kind: [] for kind in users}
        for round_ in range(options.rounds + 1):
            for kind in random.sample(sorted(users), len(users)):
                began = time.perf_counter()
                a.login_answer(users[kind], 'wrong').want(401)
                if round_:                    # the first only warms up
                    times[kind].append(1000 * (time.perf_counter() - began))
    others = times.pop(UNKNOWN)
    unknown, deviation = spread(others)
    print('%-16s %8s %8s %8s %8s' % ('', 'median', 'MAD', 'differs', 'ranks'))
    print('%-16s %8.1f %8.1f' % (UNKNOWN, unknown, deviation))
    apart = []
    for kind, seen in times.items():
        middle, mad = spread(seen)
        noise = max(mad, deviation, 0.01 * unknown)
        differs = middle - unknown
        ranks = ranks_differ(seen, others)
        told = abs(differs) > noise or abs(ranks) > 3.3
        print('%-16s %8.1f %8.1f %+8.1f %+8.1f  %s' % (
            kind, middle, mad, differs, ranks, 'TOLD APART' if told else 'ok'))
        if told:
            apart.append(kind)
    print('milliseconds, %d rounds; told apart: %s' % (
        options.rounds, ', '.join(apart) or 'none'))
    sys.exit(1 if apart else 0)


if __name__ == '__main__':
    main()
