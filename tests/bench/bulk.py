"""Rows into a database, a million of them in seconds, by each engine's own way of loading."""
import itertools
import os
import sqlite3
import subprocess
import tempfile
import urllib.parse


def text(x):
    """A value in the form that COPY and LOAD DATA share."""
    if x is None:
        return '\\N'
    if isinstance(x, bool):
        return '1' if x else '0'
    return str(x).replace('\\', '\\\\').replace('\t', '\\t').replace('\n', '\\n')


class Store:
    """A database of one of `stores.SERVERS`, by name."""

    def __init__(self, database, name):
        self.database, self.name, self.engine = database, name, database.kind

    def load(self, table, columns, rows):
        """Inserts all rows, on servers some at a time: the triggers write each row down, and what one transaction
        has written grows. `rows` may be a generator."""
        columns = columns.split()
        if self.engine == 'sqlite':
            return self._sqlite(table, columns, rows)
        rows = iter(rows)
        while some := list(itertools.islice(rows, 100_000)):
            self._load(table, columns, some)

    def _load(self, table, columns, rows):
        with tempfile.NamedTemporaryFile('w', prefix='vicar-rows-', suffix='.tsv') as f:
            for row in rows:
                f.write('\t'.join(map(text, row)) + '\n')
            f.flush()
            os.chmod(f.name, 0o644)
            if self.engine == 'postgresql':
                self.database.sql('\\copy "%s" (%s) FROM \'%s\'' % (
                    table, ', '.join('"%s"' % c for c in columns), f.name), self.name)
            else:
                self.database.sql("LOAD DATA LOCAL INFILE '%s' INTO TABLE `%s` CHARACTER SET utf8mb4 (%s)" % (
                    f.name, table, ', '.join('`%s`' % c for c in columns)), self.name)

    def _sqlite(self, table, columns, rows):
        at = sqlite3.connect(self.database.path(self.name), timeout=60)
        try:
            with at:
                at.executemany('INSERT INTO "%s" (%s) VALUES (%s)' % (
                    table, ', '.join('"%s"' % c for c in columns), ', '.join('?' * len(columns))), rows)
        finally:
            at.close()

    def change(self, statements):
        """Runs these in one transaction."""
        if self.engine == 'sqlite':
            at = sqlite3.connect(self.database.path(self.name), timeout=60)
            try:
                with at:
                    for x in statements:
                        at.execute(x)
            finally:
                at.close()
        else:
            self.database.sql('BEGIN; %s; COMMIT;' % '; '.join(statements), self.name)

    def settle(self):
        """What the engine does by itself some time after so many rows came."""
        if self.engine == 'postgresql':
            self.database.sql('ANALYZE', self.name)
        elif self.engine == 'sqlite':
            at = sqlite3.connect(self.database.path(self.name), timeout=60, isolation_level=None)
            at.execute('PRAGMA wal_checkpoint(TRUNCATE)')
            at.close()

    def rows(self, sql):
        """Rows as lists of strings; None for NULL."""
        if self.engine == 'sqlite':
            at = sqlite3.connect('file:%s?mode=ro' % self.database.path(self.name), uri=True, timeout=60)
            try:
                return [[None if x is None else str(x) for x in row] for row in at.execute(sql)]
            finally:
                at.close()
        if self.engine == 'mariadb':
            sql = "SET SESSION sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES'); " + sql
        return [[None if x in ('NULL', '') else x for x in line.split('\t')]
                for line in self.database.sql(sql, self.name).splitlines()]

    def tables(self):
        if self.engine == 'sqlite':
            return {x for x, in self.rows("SELECT name FROM sqlite_master WHERE type = 'table'")}
        return {x for x, in self.rows('SELECT table_name FROM information_schema.tables WHERE table_schema = %s' % (
            'current_schema()' if self.engine == 'postgresql' else 'database()'))}


class Named:
    """A database by its URL, behind the interface of services.Database."""

    def __init__(self, url):
        self.url = urllib.parse.urlsplit(url)
        self.kind = {'sqlite': 'sqlite', 'postgresql': 'postgresql', 'mysql': 'mariadb',
                     'mariadb': 'mariadb'}[self.url.scheme.partition('+')[0]]

    def path(self, _):
        return self.url.path.removeprefix('/')

    def sql(self, script, _):
        u = self.url
        word = urllib.parse.unquote(u.password or '')
        if self.kind == 'postgresql':
            args = ['psql', '-X', '-q', '-A', '-t', '-F', '\t', '-v', 'ON_ERROR_STOP=1',
                    u._replace(scheme='postgresql', netloc=u.netloc.replace(':%s@' % u.password, '@')).geturl()]
            env = {'PGPASSWORD': word}
        else:
            args = ['mariadb', '--no-defaults', '--batch', '--skip-column-names', '--local-infile=1',
                    '--host=' + u.hostname, '--port=%d' % (u.port or 3306), '--user=' + u.username,
                    u.path.lstrip('/')]
            env = {'MYSQL_PWD': word}
        done = subprocess.run(args, input=script, env=dict(os.environ, **env), text=True, stdout=subprocess.PIPE)
        if done.returncode:
            raise SystemExit(done.returncode)
        return done.stdout


def named(url):
    return Store(Named(url), None)
