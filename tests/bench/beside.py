"""What is measured at a steady pace, while something else keeps the server busy, or while it starts."""
import contextlib
import dataclasses
import json
import multiprocessing
import os
import secrets
import statistics
import subprocess
import threading
import time
from collections.abc import Callable

import api
import generate
import harness
import machine
import operations
import pace
from operations import Work

PACE = 200                       # validations a second
STARTS = 5
OWN = 5000                       # trusts of the member who reads long lists

MORE = {}


@dataclasses.dataclass
class More:
    name: str
    text: str
    measure: Callable                # (target, options, what the operations measured) -> {what: figure}
    only: tuple


def more(name, only=('vicar',)):
    def note(measure):
        MORE[name] = More(name, ' '.join(measure.__doc__.split()), measure, only)
        return measure
    return note


def validations(t):
    return operations.validations(t, t.scene.tokens)


@more('half-rate', only=('vicar', 'keystone'))
def half_rate(t, options, measured):
    """Validations as in `validate-project` at half of the rate that was measured there, each timed from the moment at
    which it was due. `late` is the 99th percentile of the generator's own delay: where it is not far below the p99,
    this says nothing of the server."""
    rate = (measured.get('validate-project') or {}).get(t.name, {}).get('rate')
    if not rate:
        rate = generate.wrk(t, Work(validations(t)), options.seconds, options.connections)['rate']
    runs = [pace.figures(*pace.paced(t.url, validations(t), rate / 2, options.seconds)) for _ in range(options.rounds)]
    return {'rate': rate / 2, **{k: statistics.median(r[k] for r in runs) for k in ('p50', 'p99', 'late')}}


def compared(t, options, load):
    """The same at a fixed pace, idle and while the load lasts, turn by turn."""
    idle, busy, done = [], [], 0
    for _ in range(options.rounds):
        idle.append(pace.figures(*pace.paced(t.url, validations(t), PACE, options.seconds)))
        with load(options.seconds + 3) as count:
            time.sleep(1)                         # it has begun
            busy.append(pace.figures(*pace.paced(t.url, validations(t), PACE, options.seconds)))
        done += count()
    figure = {'idle p99': statistics.median(r['p99'] for r in idle),
              'p99': statistics.median(r['p99'] for r in busy),
              'ratio': statistics.median(b['p99'] / i['p99'] for b, i in zip(busy, idle)),
              'late': statistics.median(r['late'] for r in busy),
              'load': done / options.rounds / (options.seconds + 3)}
    if not done:
        raise RuntimeError('there was no load')
    return figure


@contextlib.contextmanager
def flood(t, work, connections, seconds):
    """wrk in the background; how many were answered well."""
    got = {}
    thread = threading.Thread(target=lambda: got.update(generate.wrk(t, work, seconds, connections)))
    thread.start()
    try:
        yield lambda: got['requests'] - got['bad']
    finally:
        thread.join()


@contextlib.contextmanager
def process(work, *args):
    """A function in a process of its own until the end; what it returns is how often it did its work."""
    stop, results = multiprocessing.Event(), multiprocessing.Queue()
    child = multiprocessing.Process(target=lambda: results.put(work(stop, *args)))
    child.start()
    counted = []
    try:
        yield lambda: counted[0]
    finally:
        stop.set()
        counted.append(results.get(timeout=60))
        child.join()


@more('beside-passwords')
def passwords(t, options, _):
    """200 validations a second, idle and while right passwords arrive on twice as many connections as there are
    cores; `load` is how many were answered a second."""
    work = operations.issue_password(t, 0)
    return compared(t, options, lambda seconds: flood(t, work, 2 * os.cpu_count(), seconds))


@more('beside-wrong-logins')
def wrong_logins(t, options, _):
    """The same while wrong passwords arrive on 32 connections, of users that there are and of others."""
    users = [{'id': t.scene.alice}, {'name': 'nobody', 'domain': {'id': 'default'}}]
    work = Work([generate.raw(t.url, 'POST', '/auth/tokens', {}, {'auth': {'identity': {
        'methods': ['password'], 'password': {'user': dict(user, password='wrong')}}}}) for user in users], 401)
    return compared(t, options, lambda seconds: flood(t, work, 32, seconds))


@more('beside-lists')
def lists(t, options, _):
    """The same while a user with 5,000 trusts reads long lists of them, six at a time."""
    s = t.scene
    if not hasattr(s, 'member'):
        s.member = s.people[0]
        rows = [(secrets.token_hex(16), s.member.user, s.agents[0][0], s.project, True, '{}', 0) for _ in range(OWN)]
        t.store.load('trust', 'id trustor_user_id trustee_user_id project_id impersonation extra redelegation_count',
                     rows)
        t.store.load('trust_role', 'trust_id role_id', [(row[0], s.roles['member']) for row in rows])
    paths = ('/OS-TRUST/trusts?trustor_user_id=' + s.member.user,
             '/OS-TRUST/trusts?limit=1&trustor_user_id=' + s.member.user, '/users/%s/delegations' % s.member.user)
    work = Work([operations.call(t, 'GET', path, s.member) for path in paths])
    return compared(t, options, lambda seconds: flood(t, work, 6, seconds))


def make_and_delete(stop, url, token):
    a, count = api.Api(url), 0
    while not stop.is_set():
        role = a.make(token, 'role', name='role-' + secrets.token_hex(6))
        a.delete('/roles/' + role, token).want(204)
        count += 1
        time.sleep(0.05)
    return count


@more('beside-deletions')
def deletions(t, options, _):
    """The same while roles are made and deleted, one after the other."""
    return compared(t, options, lambda seconds: process(make_and_delete, t.url, t.scene.admin.id))


@more('start', only=('vicar', 'keystone'))
def start(t, options, _):
    """Memory after all of the above (MiB, pages that processes share counted once), milliseconds from a start on this
    database to the first answer, and memory a second after it."""
    warm = machine.memory(t.own())
    times = [t.restart() for _ in range(STARTS if t.name == 'vicar' else 2)]
    time.sleep(1)
    return {'warm MiB': warm, 'first answer ms': statistics.median(times), 'idle MiB': machine.memory(t.own())}


HASH = '''
import bcrypt, json, os, sys, time
from concurrent.futures import ProcessPoolExecutor
def work(seconds):
    salt, end, count = bcrypt.gensalt(int(sys.argv[2])), time.perf_counter() + seconds, 0
    began = time.perf_counter()
    while time.perf_counter() < end:
        bcrypt.hashpw(b'a password of the bench', salt)
        count += 1
    return count / (time.perf_counter() - began)
cores = os.cpu_count() or 1
with ProcessPoolExecutor(cores) as pool:
    print(json.dumps(sum(pool.map(work, [float(sys.argv[1])] * cores))))
'''


def hashes(seconds, rounds):
    """How many passwords all cores hash in a second: the ceiling of logins."""
    done = subprocess.run([harness.env_bin('keystone', 'python'), '-c', HASH, str(seconds), str(rounds)], check=True,
                          capture_output=True, text=True)
    rate = json.loads(done.stdout)
    return {'rate': rate, 'p50': 1e3 / rate, 'p99': 1e3 / rate, 'cpu': 0}
