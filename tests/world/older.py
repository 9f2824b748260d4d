#!/usr/bin/env python3
"""Databases of Keystones before 30, made by these, adopted by Vicar.

    older.py [--engine sqlite postgresql mariadb] [--keystone 27 28 29] [--short]

Each Keystone is the real one from PyPI (setup.sh keystone27 ...), and makes its database by its own `db_sync` and
`bootstrap`. `vicar doctor --adopt` takes it, Vicar serves it, and that Keystone goes on. Nothing of its own tables
changes, until `vicar db sync --keystone-indexes` brings them to Keystone 30's; then a Keystone 30 finds nothing to do.
At the end databases that are not served: older, newer, in the middle of an upgrade. --short leaves out four of the
nine: each engine and each release is there, and what differs between them (SHORT).
"""
import argparse
import concurrent.futures
import contextlib
import os
import sqlite3
import subprocess
import sys

import harness

# It has the drivers of all databases, for schema.py.
harness.run_in('keystone')

sys.path.insert(0, os.path.join(harness.REPO, 'tests', 'keystone'))
import api
import schema
import server
from place import ENGINES, Place

RELEASES = ['27', '28', '29']
# Those of --short, by engine.
SHORT = {'sqlite': ['29'], 'postgresql': ['27', '28'], 'mariadb': ['28', '29']}
# What a Keystone of these releases lacks of 30: docs/adopting.md.
LACKS = ['idx_project_id', 'ix_revocation_event_composite', 'ix_revocation_event_project_id_user_id']
NEWEST = ['742c857f1dfb', 'c88cdce8f248']
OLDER = ['47147121', 'c88cdce8f248']
# (marks, what is said of them)
NOT_SERVED = [
    (['29e87d24a316', 'e25ffa003242'], 'is of Keystone 21 to 23'),
    (['11c3b243b4cb', 'c88cdce8f248'], 'is of Keystone 24'),
    (['742c857f1dfb', '99de3849d860'], 'was begun and is not finished'),
    (['fedcba987654', 'c88cdce8f248'], 'no release of Keystone up to 30'),
]
SERVE = """
import socketserver, sys
from wsgiref import simple_server
port = int(sys.argv.pop())          # Keystone reads the rest
from keystone.wsgi.api import application
class Server(socketserver.ThreadingMixIn, simple_server.WSGIServer):
    daemon_threads = True
class Quiet(simple_server.WSGIRequestHandler):
    def log_message(self, *_): pass
simple_server.make_server('127.0.0.1', port, application, Server, Quiet).serve_forever()
"""


def release(number):
    """A Keystone of that number, which serves without uwsgi."""
    class Older(server.Keystone):
        env = 'keystone' + number
        methods = tuple(m for m in server.Keystone.methods if m != 'ec2credential')

        def create(self):
            self.run(server.vicar_bin(), 'keys', 'setup', '--config-file', self.config)
            self.manage_all(['db_sync'], ['bootstrap', '--bootstrap-password', self.password,
                                          '--bootstrap-public-url', self.url])
            self.made_elsewhere = True

        def command(self):
            return ([harness.env_bin(self.env, 'python'), '-c', SERVE, str(self.port)],
                    {'OS_KEYSTONE_CONFIG_FILES': self.config, 'PYTHONWARNINGS': 'ignore'})

    return Older


class Old:
    """A Keystone's database, as it is and as Vicar finds it."""

    def __init__(self, place):
        self.place, self.keystone = place, place.keystone

    def connect(self):
        if not self.place.database:
            return schema.connect(self.keystone.store.database)
        return schema.connect(self.place.database.url('keystone').replace('mysql+pymysql', 'mysql'))

    def tables(self):
        """Keystone's own tables, and which of its rows say how old they are."""
        at = self.connect()
        try:
            return {name: schema.describe(at, name) for name in at.names('table')}
        finally:
            at.db.close()

    def marks(self):
        return sorted(mark for (mark,) in self.tables()['alembic_version']['row'])

    def lacks(self):
        text = str(self.tables())
        return [name for name in LACKS if "'%s'" % name not in text and '`%s`' % name not in text
                and ' %s ' % name not in text]

    def set_marks(self, marks):
        self.change('DELETE FROM alembic_version', *(
            "INSERT INTO alembic_version (version_num) VALUES ('%s')" % mark for mark in marks))

    def change(self, *statements):
        if self.place.database:
            self.place.database.sql(''.join(s + ';\n' for s in statements), 'keystone')
            return
        with contextlib.closing(sqlite3.connect(self.keystone.store.database)) as at, at:
            for s in statements:
                at.execute(s)

    def vicar(self, *words):
        """(exit code, what it says)"""
        done = subprocess.run([server.vicar_bin(), *words, '--config-file', self.keystone.config],
                              cwd=self.keystone.dir, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=120)
        return done.returncode, done.stdout

    def check(self, env):
        """`keystone-manage db_sync --check` of a Keystone: its exit code, and its last words."""
        done = subprocess.run([harness.env_bin(env, 'keystone-manage'), '--config-file', self.keystone.config,
                               'db_sync', '--check'], cwd=self.keystone.dir, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, timeout=120)
        return done.returncode, done.stdout.strip()


def adopted(c, old, number):
    place, keystone = old.place, old.keystone
    is_old = number != '29'
    marks, lacks = (OLDER, LACKS) if is_old else (NEWEST, [])
    c.equal('its marks, and which indexes of 30 it lacks', (old.marks(), old.lacks()), (marks, lacks))
    before, whole = old.tables(), place.state()
    code, said = old.vicar('doctor', '--adopt')
    c.ok('doctor --adopt takes it', code == 0 and 'ok       schema: ' in said, said)
    c.equal('and says what is missing', 'differs  indexes: 3 of Keystone 30 are not there' in said, is_old)
    code, said = old.vicar('db', 'version')
    named = '(Keystone 25 to 28)' if is_old else '(Keystone 29 and 30)'
    c.ok('db version names it', code == 5 and named in said, said)
    c.ok('database and keys are what they were', place.state() == whole)

    place.adopt()
    c.ok("Vicar serves, and Keystone's tables are as before", old.tables() == before)
    code, said = old.vicar('db', 'version')
    c.ok('db version says what is missing', code == 0 and ('indexes: 3 of Keystone 30' in said) == is_old, said)
    code, said = old.vicar('doctor')
    c.ok('doctor finds it good', code == 0 and ('ok    indexes: 3 of Keystone 30' in said) == is_old, said)
    code, said = old.check(keystone.env)
    c.ok('db_sync --check there has nothing to do, as before', code == 0, said)
    both(c, place)


def both(c, place, prefix=''):
    """What one does, the other knows."""
    v, k = api.Api(place.vicar.url), api.Api(place.keystone.url)
    for name, here, there in (('Keystone', k, v), ('Vicar', v, k)):
        admin = here.admin(place.keystone.password)
        other = there.admin(place.keystone.password)
        c.status('a token of %s is good on the other' % name, there.validate(other, admin), 200)
        user = here.make(admin, 'user', name=prefix + name, domain_id='default', password='x')
        token = there.login(user, 'x')
        c.status('a user of %s logs in on the other' % name, here.validate(admin, token), 200)
        project = here.make(admin, 'project', name=prefix + name, domain_id='default')
        here.grant(admin, here.role_ids(admin)['member'], user, project)
        token = here.login(user, 'x', api.project(project))
        c.status('their project there too', there.validate(other, token), 200)
        there.delete('/users/' + user, other).want(204)
        c.status('and when they are deleted there, their token is dead here', here.validate(admin, token), 404)


def completed(c, old, number):
    place, keystone = old.place, old.keystone
    if number != '29':                 # as after an end in the middle
        old.change('CREATE INDEX idx_project_id ON project_endpoint_group (project_id)')
    code, said = old.vicar('db', 'sync', '--keystone-indexes')
    if number == '29':
        c.ok('Keystone 29 has them all', code == 0 and 'none is missing' in said, said)
        return
    c.ok('the indexes are made when they are asked for, but for one that is there',
         code == 0 and NEWEST[0] in said, said)
    c.equal('the marks and indexes are 30\'s', (old.marks(), old.lacks()), (NEWEST, []))
    code, said = old.check('keystone')
    c.ok('db_sync --check of a Keystone 30 finds nothing to do', code == 0, said)
    if place.engine == 'sqlite':
        c.ok('that of this Keystone does not know the version', old.check(keystone.env)[0] != 0)
    keystone.halt()
    keystone.start()
    both(c, place, 'completed-')


def upgraded(c, old):
    """What comes of the upgrade of Keystone itself, beside Vicar."""
    old.place.adopt()
    manage = [harness.env_bin('keystone', 'keystone-manage'), '--config-file', old.keystone.config, 'db_sync']
    done = subprocess.run(manage, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    c.ok('a Keystone 30 upgrades what Vicar serves', done.returncode == 0, done.stdout[-2000:])
    c.equal('the marks and indexes are 30\'s', (old.marks(), old.lacks()), (NEWEST, []))
    code, said = old.vicar('db', 'version')
    c.ok('Vicar knows', code == 0 and '(Keystone 29 and 30)' in said, said)
    v = api.Api(old.place.vicar.url)
    c.status('and serves on', v.validate(v.admin(old.keystone.password), v.admin(old.keystone.password)), 200)


def refused(c, old):
    """Marks as a Keystone leaves them that is not served."""
    old.place.vicar.halt()
    served = old.marks()
    for marks, says in NOT_SERVED:
        old.set_marks(marks)
        before = old.place.state()
        for words in ('doctor --adopt', 'db sync', 'serve --listen 127.0.0.1:0 --metrics-listen off'):
            code, said = old.vicar(*words.split())
            wanted = 1 if 'doctor' in words else 5
            c.ok('%s: %s says so' % (marks[0], words), code == wanted and says in said, said)
        c.ok('and the database is what it was', old.place.state() == before)
    old.set_marks(served)


def play(c, stack, engine, number, place, last):
    place = c.part('a Keystone %s on %s' % (number, engine), place.result)
    if not place:
        return
    stack.push(place.stack)
    old = Old(place)
    c.part('adopted (%s, %s)' % (number, engine), adopted, c, old, number)
    if number == '28':
        c.part('upgraded beside us (%s, %s)' % (number, engine), upgraded, c, old)
    else:
        c.part('completed (%s, %s)' % (number, engine), completed, c, old, number)
    if last:
        c.part('not served (%s)' % engine, refused, c, old)


def made(engine, number):
    with contextlib.ExitStack() as stack:
        place = Place(stack, engine, release(number))
        place.stack = stack.pop_all()
        return place


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--engine', nargs='+', choices=ENGINES, default=ENGINES)
    parser.add_argument('--keystone', nargs='+', choices=RELEASES, default=RELEASES)
    parser.add_argument('--short', action='store_true')
    options = parser.parse_args()
    c = harness.Checks()
    for engine in options.engine:
        if engine != 'sqlite':
            subprocess.run([os.path.join(harness.HERE, 'setup.sh'), 'databases'], check=True, stdout=subprocess.DEVNULL)
    for number in options.keystone:
        harness.env_bin('keystone' + number, 'python')
    wanted = [(e, n) for e in options.engine for n in options.keystone if not options.short or n in SHORT[e]]
    last = dict(wanted)
    # Most of the time goes by while Keystones import themselves: the next ones are made meanwhile.
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        places = {(e, n): pool.submit(made, e, n) for e, n in wanted}
        for (engine, number), place in places.items():
            with contextlib.ExitStack() as stack:
                play(c, stack, engine, number, place, number == last[engine])
    return c.close()


if __name__ == '__main__':
    sys.exit(main())
