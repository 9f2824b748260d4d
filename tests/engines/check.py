#!/usr/bin/env python3
"""Vicar on PostgreSQL and MariaDB: real servers, installed if need be, started in scratch folders.

    check.py [postgresql|mariadb]... [--only PART...] [-- ARGUMENTS OF THE SUITE...]

Parts: suite     the black-box tests of the API (server/tests/api), each on a database of the server
       schema    what `vicar db sync` makes is what `keystone-manage db_sync` makes; what that made is adopted
       program   the commands, and what clients see when the database goes away and comes back
       tls       the connection to the database, encrypted
"""
import argparse
import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, '..', 'world'), os.path.join(HERE, '..', 'keystone')]
import harness

harness.run_in('keystone')

import schema
import server
import servers

DRIVERS = {'postgresql': 'postgresql+psycopg2', 'mariadb': 'mysql+pymysql'}
PASSWORD = 'geheim-und-lang'
# Of the whole workspace, as `./test rust` builds it: of one package alone dependencies have other features.
SUITE = ['test', '--locked', '--workspace', '--test', 'api']


def cargo(*args, **env):
    return subprocess.run(['cargo', *args], cwd=harness.REPO, env={**os.environ, **env}, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def vicar(db, *args, database='vicar', more='', query='', who=''):
    """Runs a command of the program on a database; gives the code and what was said."""
    done = subprocess.run([binary(), *args, *configured(db, database, more, query, who)], text=True, cwd=db.dir,
                          env={**os.environ, 'OS_BOOTSTRAP_PASSWORD': PASSWORD}, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    return done.returncode, done.stdout


def binary():
    return os.environ.get('VICAR_BIN') or os.path.join(
        os.environ.get('CARGO_TARGET_DIR') or os.path.join(harness.REPO, 'target'), 'debug', 'vicar')


def configured(db, database, more='', query='', who=''):
    """Options for a configuration that names the database, with a password in the URL."""
    conf = db.path(database + '.conf')
    url = with_driver(db, database)
    if database == 'vicar':
        who = 'vicar:' + PASSWORD
    if who:
        url = re.sub('//[a-z:]+@', '//%s@' % who, url)
    if query:
        url += '?' + query
    with open(conf, 'w') as f:
        f.write('[identity]\npassword_hash_rounds = 4\n[database]\nconnection = %s\n%s\n' % (url, more))
    return '--config-file', conf, '--data-dir', os.path.join(db.home.name, database)


def with_driver(db, database):
    return '%s/%s' % (db.at.replace(db.at.split(':')[0], DRIVERS[db.kind], 1), database)


# What asks no more of a database than others do, and holds on SQLite: not again on the servers.
NOT_OF_AN_ENGINE = ('discovery::', 'every_route::', 'front::', 'hardening::', 'logs::', 'metrics::',
                    'personas::', 'policies::', 'policy::', 'stopping::')


def suite(c, db, args):
    began = time.monotonic()
    if not args:
        args = ['--', *(x for name in NOT_OF_AN_ENGINE for x in ('--skip', name))]
    done = cargo(*SUITE, *args, VICAR_TEST_DATABASE=db.at + '/')
    result = re.search(r'test result: .* (\d+) passed; (\d+) failed', done.stdout)
    passed, failed = map(int, result.groups()) if result else (0, 0)
    c.passed += passed
    name = 'the suite on %s: %d passed, %d failed (%d s)' % (db.kind, passed, failed, time.monotonic() - began)
    c.ok(name, done.returncode == 0 and passed and not failed, done.stdout[-8000:])


def keystone_schema(db):
    """A database that Keystone's own migrations made."""
    name = 'keystone'
    db.make_database(name)
    conf = db.path('keystone.conf')
    with open(conf, 'w') as f:
        f.write('[database]\nconnection = %s\n' % with_driver(db, name))
    subprocess.run([harness.env_bin('keystone', 'keystone-manage'), '--config-file', conf, 'db_sync'], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return '%s/%s' % (db.at, name)


def schemas(c, db):
    theirs = keystone_schema(db)
    ours = db.make_database('ours')
    c.equal('%s: db sync makes the schema' % db.kind, vicar(db, 'db', 'sync', database='ours')[0], 0)
    passed, failed = schema.compare(schema.connect(ours), schema.connect(theirs))
    c.passed += passed
    c.ok("%s: %d tables are Keystone's, %d are not" % (db.kind, passed, failed), passed > 40 and not failed)
    before = contents(db, 'keystone')
    code, said = vicar(db, 'db', 'sync', database='keystone')
    c.ok('%s: a database of Keystone is adopted' % db.kind, code == 0, said)
    c.equal('%s: and nothing in it was rewritten' % db.kind, contents(db, 'keystone'), before)
    passed, failed = schema.compare(schema.connect(theirs), schema.connect(ours))
    c.ok('%s: its tables are as before' % db.kind, passed > 40 and not failed)
    c.equal('%s: Keystone finds it current' % db.kind, subprocess.run(
        [harness.env_bin('keystone', 'keystone-manage'), '--config-file', db.path('keystone.conf'), 'db_sync',
         '--check'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode, 0)
    db.make_database('odd')
    db.sql('CREATE TABLE project (id INTEGER)', 'odd')
    code, said = vicar(db, 'db', 'sync', database='odd')
    c.ok("%s: somebody else's tables are left alone" % db.kind, code == 5 and 'project' in said, said)


def contents(db, name):
    at = schema.connect('%s/%s' % (db.at, name))
    quote = '`' if db.kind == 'mariadb' else '"'
    return {t: sorted(map(str, at.rows('SELECT * FROM %s%s%s' % (quote, t, quote)))) for t in at.names('table')}


def program(c, db):
    kind = db.kind
    db.make_database('vicar')
    db.sql({'mariadb': "CREATE USER vicar IDENTIFIED BY '%s'; GRANT ALL ON vicar.* TO vicar",
            'postgresql': "CREATE ROLE vicar LOGIN PASSWORD '%s'; ALTER DATABASE vicar OWNER TO vicar",
            }[kind] % PASSWORD)
    code, said = vicar(db, 'db', 'version')
    c.ok('%s: db version of an empty database is 5' % kind, code == 5 and 'keystone: none' in said, said)
    together = [subprocess.Popen([binary(), 'db', 'sync', *configured(db, 'vicar')], stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True) for _ in range(3)]
    said = [p.communicate()[0] for p in together]
    c.ok('%s: three make the schema at once, and it is made once' % kind,
         all(p.returncode == 0 for p in together) and sum('is there now' in s for s in said) >= 1, said)
    code, said = vicar(db, 'db', 'version')
    c.ok('%s: db version' % kind, code == 0 and '(Keystone 29 and 30)' in said, said)
    for args in (['keys', 'setup'], ['bootstrap'], ['bootstrap'], ['doctor'], ['trust', 'flush']):
        code, said = vicar(db, *args)
        c.ok('%s: %s' % (kind, ' '.join(args)), code == 0 and PASSWORD not in said, said)
    for expected in ('new', 'already', 'already'):
        code, said = vicar(db, 'bootstrap', '--bootstrap-public-url', 'http://id.example/v3')
        c.ok('%s: a public URL, %s' % (kind, expected),
             code == 0 and 'public endpoint: http://id.example/v3' in said and expected in said, said)
    port = server.free_port()
    url = 'http://127.0.0.1:%d' % port
    more = 'connect_timeout = 2\npool_timeout = 2'
    with open(db.path('served'), 'w') as log:
        served = subprocess.Popen([binary(), 'serve', '--listen', '127.0.0.1:%d' % port, '--metrics-listen', 'off',
                                   '--log-level', 'debug', *configured(db, 'vicar', more)], stdout=log, stderr=log)
    try:
        c.equal('%s: a login' % kind, until(lambda: login(url)[0], 201), 201)
        db.kill()
        status, headers, _ = login(url)
        c.ok('%s: without the database 503, and when to come back' % kind,
             status == 503 and headers.get('Retry-After'), (status, dict(headers)))
        code, said = vicar(db, 'doctor', more=more)
        c.ok('%s: doctor says so' % kind, code == 1 and 'cannot connect' in said and PASSWORD not in said, said)
        db.start()
        c.equal('%s: and with it the next login is good' % kind, login(url)[0], 201)
    finally:
        served.terminate()
        served.wait(20)
    said = open(db.path('served')).read()
    c.ok('%s: no log line shows the password of the URL' % kind, PASSWORD not in said)


def tls(c, db):
    db.make_database('secure')
    db.encrypt()
    good, other = db.path('ca.pem'), db.path('other.pem')
    verify, without = {
        'postgresql': ('sslmode=verify-full&sslrootcert=%s', 'sslmode=disable'),
        'mariadb': ('ssl_verify_identity=true&ssl_ca=%s', 'ssl_disabled=true')}[db.kind]
    for what, query, code in (('of the right authority', verify % good, 0), ('of another', verify % other, 5),
                              ('that nobody asks for', '', 0), ('switched off', without, 0)):
        got, said = vicar(db, 'db', 'sync', database='secure', query=query)
        c.ok('%s, a certificate %s: %d' % (db.kind, what, code), got == code, said)
    if db.kind == 'mariadb':
        db.sql('CREATE USER only IDENTIFIED BY "x" REQUIRE SSL;'
               'GRANT ALL ON secure.* TO only')
        for query, code in (('ssl_ca=' + good, 0), (without, 5)):
            got, said = vicar(db, 'db', 'version', database='secure', query=query, who='only:x')
            c.ok('mariadb, an account that must be encrypted: %d' % code, got == code, said)


def login(url):
    body = {'auth': {'identity': {'methods': ['password'], 'password': {'user': {
        'name': 'admin', 'domain': {'id': 'default'}, 'password': PASSWORD}}}}}
    request = urllib.request.Request(url + '/v3/auth/tokens', json.dumps(body).encode(),
                                     {'Content-Type': 'application/json'})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as e:
        return e.code, e.headers, e.read()
    except OSError as e:
        return 0, {}, str(e)


def until(ask, wanted):
    end = time.monotonic() + 20
    while (got := ask()) != wanted and time.monotonic() < end:
        time.sleep(0.1)
    return got


def play(c, kind, only, args):
    with servers.ENGINES[kind]() as db:
        if 'suite' in only:
            c.part('the suite (%s)' % kind, suite, c, db, args)
        if 'schema' in only:
            c.part('the schema (%s)' % kind, schemas, c, db)
        if 'program' in only:
            c.part('the program (%s)' % kind, program, c, db)
        if 'tls' in only:
            c.part('encryption (%s)' % kind, tls, c, db)


def main():
    parts = ['suite', 'schema', 'program', 'tls']
    mine, _, rest = ' '.join(sys.argv[1:]).partition(' -- ')
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('engine', nargs='*', choices=[*servers.ENGINES, []])
    parser.add_argument('--only', nargs='+', choices=parts, default=parts)
    options = parser.parse_args(mine.split())
    c = harness.Checks()
    built = cargo(*SUITE, '--no-run')
    if c.ok('the program builds', built.returncode == 0, built.stdout[-3000:]):
        for kind in options.engine or servers.ENGINES:
            c.part('servers (%s)' % kind, play, c, kind, options.only, rest.split())
    sys.exit(c.close())


if __name__ == '__main__':
    main()
