"""A database and keys for one Vicar or for several, on each engine alike.

    with Site('postgresql', replicas=3) as site:
        site.vicars, site.vicars[0].url        # running, bootstrapped
        site.rows('SELECT id FROM trust')      # what the API does not show
        site.database.kill()                     # SIGKILL; .start(), .freeze(), .thaw()

The engines: `sqlite` (a file; its "server" is nothing), `postgresql`, `mariadb` (real servers of
services.py, durable, in scratch folders).
"""
import glob
import os
import shutil
import sqlite3
import subprocess
import tempfile
import time

import harness
import server
import services

ENGINES = ['sqlite', 'postgresql', 'mariadb']
NAME = 'vicar'


def available(engine):
    """Can it be run here, and by this Vicar?"""
    if engine == 'sqlite':
        return True
    has = {'postgresql': bool(glob.glob('/usr/lib/postgresql/*/bin/postgres')),
           'mariadb': bool(shutil.which('mariadbd', path=os.environ['PATH'] + ':/usr/sbin'))}
    if not has[engine]:
        subprocess.run([os.path.join(harness.HERE, 'setup.sh'), 'databases'], check=True,
                       stdout=subprocess.DEVNULL)
    return True


class File:
    """SQLite behind the interface of a database server."""
    kind = 'sqlite'

    def __init__(self, settings=(), durable=True):
        self.dir = tempfile.mkdtemp(prefix='vicar-world-sqlite-')
        self.process = None

    def start(self):
        return self

    def stop(self):
        shutil.rmtree(self.dir, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.dir, name + '.db')

    def create(self, name, password):
        pass

    def url(self, name):
        return 'sqlite:///' + self.path(name)

    def dump(self, name):
        """What `sqlite3 FILE ".backup COPY"` does, while it is in use."""
        copy = self.path(name + '-copy')
        with sqlite3.connect(self.path(name)) as a, sqlite3.connect(copy) as b:
            a.backup(b)
        b.close()
        return copy

    def restore(self, name, dumped):
        shutil.copyfile(dumped, self.path(name))
        os.chmod(self.path(name), 0o600)


SERVERS = {'sqlite': File, 'postgresql': services.PostgreSql, 'mariadb': services.MariaDb}


class Site:
    """One database, one set of keys, and the Vicars that share them."""

    def __init__(self, engine, replicas=1, settings=None, fresh=True, durable=True):
        """`fresh`: bootstrapped. Otherwise the caller fills database and keys. `durable`: what
        the database has said yes to survives its SIGKILL."""
        self.engine, self.name, self.fresh = engine, NAME, fresh
        self.database = SERVERS[engine](durable=durable)
        self.dir = tempfile.mkdtemp(prefix='vicar-world-site-')
        self.conf = os.path.join(self.dir, 'vicar.conf')
        self.fernet = os.path.join(self.dir, 'fernet-keys')
        self.credential = os.path.join(self.dir, 'credential-keys')
        self.settings = settings or {}
        self.vicars = []
        self.count = replicas

    def begin(self):
        self.database.start()
        self.database.create(self.name, 'p%s4ss' % self.name)
        sections = {
            'database': {'connection': self.database.url(self.name)},
            'fernet_tokens': {'key_repository': self.fernet, 'max_active_keys': 6},
            'credential': {'key_repository': self.credential},
            # How dear a password is, is tested elsewhere.
            'identity': {'password_hash_rounds': 4},
            'delegation': {'reap_interval': 2},
        }
        for section, options in self.settings.items():
            sections.setdefault(section, {}).update(options)
        server.write_ini(self.conf, sections)
        if self.fresh:
            self.command('db', 'sync')
            self.command('keys', 'setup')
            self.command('bootstrap')
        for _ in range(self.count):
            self.add()
        for v in self.vicars:
            v.launch()
        for v in self.vicars:
            v.wait()
        return self

    def add(self):
        """One more Vicar, which is not started yet."""
        v = Replica(config=self.conf)
        self.vicars.append(v)
        return v

    def command(self, *words, want=(0,)):
        """A command of Vicar's own; what it says."""
        done = subprocess.run([server.vicar_bin(), *words, '--config-file', self.conf],
                              cwd=self.dir, stdin=subprocess.DEVNULL, text=True, timeout=120,
                              env=dict(os.environ, OS_BOOTSTRAP_PASSWORD=server.PASSWORD),
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if want is not None and done.returncode not in want:
            raise RuntimeError('%s: status %d\n%s' % (
                ' '.join(words), done.returncode, done.stdout[-4000:]))
        return done.stdout

    def rows(self, sql):
        """Rows as lists of texts; nothing is None."""
        return self.answers([sql])[0]

    def change(self, statements):
        """Does what a program of another version might do to the database."""
        if self.engine != 'sqlite':
            self.database.sql(''.join(x + ';\n' for x in statements), self.name)
            return
        at = sqlite3.connect(self.database.path(self.name), timeout=30)
        try:
            with at:
                for x in statements:
                    at.execute(x)
        finally:
            at.close()

    def answers(self, queries):
        """The rows of each of these queries."""
        if self.engine == 'sqlite':
            at = sqlite3.connect('file:%s?mode=ro' % self.database.path(self.name), uri=True,
                                 timeout=30)
            try:
                return [[[None if x is None else str(x) for x in row] for row in at.execute(q)]
                        for q in queries]
            finally:
                at.close()
        # One client for all of them: a line between two answers.
        script = ''.join("%s;\nSELECT '====';\n" % q for q in queries)
        if self.engine == 'mariadb':
            script = 'SET SESSION sql_mode = CONCAT(@@sql_mode, ",ANSI_QUOTES");\n' + script
        answers = [[]]
        for line in self.database.sql(script, self.name).splitlines():
            if line == '====':
                answers.append([])
            else:
                answers[-1].append([None if x in ('NULL', '') else x for x in line.split('\t')])
        return answers[:-1]

    def stop(self):
        for v in self.vicars:
            v.stop()
        self.database.stop()
        if not os.environ.get('VICAR_KEEP'):
            shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        try:
            return self.begin()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_):
        self.stop()


class Replica(server.Vicar):
    """One of several Vicars: without metrics, since they would all want one port."""

    def command(self):
        args, more = super().command()
        return args + ['--metrics-listen', 'off', '--log-level', 'warn'], more

    def until_ready(self, seconds=60, path='/readyz'):
        """From now to the first good answer, in seconds; it may be starting."""
        self.ready_path, before = path, self.ready_path
        try:
            began = time.monotonic()
            while not self.ready():
                if self.process.poll() is not None:
                    self._fail('ended with status %s' % self.process.returncode)
                if time.monotonic() - began > seconds:
                    self._fail('not ready after %d s' % seconds)
                time.sleep(0.003)
            return time.monotonic() - began
        finally:
            self.ready_path = before


# What no interrupted change may leave behind: a text, and a query that finds nothing.
WHOLE = [
    ('a trust without roles',
     'SELECT t.id FROM trust t WHERE NOT EXISTS '
     '(SELECT 1 FROM trust_role r WHERE r.trust_id = t.id)'),
    ('roles of a trust that is not there',
     'SELECT r.trust_id FROM trust_role r WHERE NOT EXISTS '
     '(SELECT 1 FROM trust t WHERE t.id = r.trust_id)'),
    ('a living trust below a dead one',
     'SELECT t.id FROM trust t WHERE t.deleted_at IS NULL AND t.redelegated_trust_id IS NOT NULL '
     'AND NOT EXISTS (SELECT 1 FROM trust p WHERE p.id = t.redelegated_trust_id '
     'AND p.deleted_at IS NULL)'),
    ('a dead trust without a reason',
     'SELECT t.id FROM trust t WHERE t.deleted_at IS NOT NULL AND NOT EXISTS '
     '(SELECT 1 FROM vicar_trust_state s WHERE s.trust_id = t.id AND s.ended_at IS NOT NULL '
     'AND s.reason IS NOT NULL)'),
    ('an end recorded of a living trust',
     'SELECT s.trust_id FROM vicar_trust_state s JOIN trust t ON t.id = s.trust_id '
     'WHERE s.ended_at IS NOT NULL AND t.deleted_at IS NULL'),
    ('a dead trust whose tokens were not revoked',
     'SELECT t.id FROM trust t WHERE t.deleted_at IS NOT NULL AND NOT EXISTS '
     '(SELECT 1 FROM revocation_event e WHERE e.trust_id = t.id)'),
    ('a keypair without its credential',
     'SELECT k.credential_id FROM vicar_keypair k WHERE NOT EXISTS '
     '(SELECT 1 FROM credential c WHERE c.id = k.credential_id)'),
    ("a trust's credential without its keypair",
     "SELECT c.id FROM credential c WHERE c.type = 'ec2-trust' AND NOT EXISTS "
     '(SELECT 1 FROM vicar_keypair k WHERE k.credential_id = c.id)'),
    ('a keypair of a dead trust',
     'SELECT k.credential_id FROM vicar_keypair k WHERE NOT EXISTS '
     '(SELECT 1 FROM trust t WHERE t.id = k.trust_id AND t.deleted_at IS NULL)'),
    ('a counted trust with less than nothing left',
     'SELECT id FROM trust WHERE remaining_uses < 0'),
    ('a user without a login',
     'SELECT u.id FROM "user" u WHERE NOT EXISTS '
     '(SELECT 1 FROM local_user l JOIN password p ON p.local_user_id = l.id '
     'WHERE l.user_id = u.id)'),
    ('a login without a user',
     'SELECT l.user_id FROM local_user l WHERE NOT EXISTS '
     '(SELECT 1 FROM "user" u WHERE u.id = l.user_id)'),
    ('a password without a login',
     'SELECT p.id FROM password p WHERE NOT EXISTS '
     '(SELECT 1 FROM local_user l WHERE l.id = p.local_user_id)'),
    ('two passwords in force',
     'SELECT p.local_user_id FROM password p WHERE p.expires_at_int IS NULL '
     'GROUP BY p.local_user_id HAVING COUNT(*) > 1'),
    ('a grant to nobody',
     "SELECT a.actor_id FROM assignment a WHERE a.type = 'UserProject' AND NOT EXISTS "
     '(SELECT 1 FROM "user" u WHERE u.id = a.actor_id)'),
    ('a grant on nothing',
     "SELECT a.target_id FROM assignment a WHERE a.type = 'UserProject' AND NOT EXISTS "
     '(SELECT 1 FROM project p WHERE p.id = a.target_id)'),
    ('a credential of nobody',
     'SELECT c.id FROM credential c WHERE NOT EXISTS '
     '(SELECT 1 FROM "user" u WHERE u.id = c.user_id)'),
    ('a live trust of or for nobody',
     'SELECT t.id FROM trust t WHERE t.deleted_at IS NULL AND (NOT EXISTS '
     '(SELECT 1 FROM "user" u WHERE u.id = t.trustor_user_id) OR NOT EXISTS '
     '(SELECT 1 FROM "user" u WHERE u.id = t.trustee_user_id))'),
]


def halves(site):
    """[(what, ids)] of everything that an interrupted change left in between."""
    answers = site.answers([sql for _, sql in WHOLE])
    return [(what, [r[0] for r in rows[:5]])
            for (what, _), rows in zip(WHOLE, answers) if rows]
