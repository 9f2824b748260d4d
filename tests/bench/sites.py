"""The servers that are compared, each with a database of its own on one engine.

Keystone 30.0.0 runs under uwsgi with a process for each core and memcached behind its caches; Vicar is the release
build with its options as they are shipped; the ceiling is Vicar's HTTP stack with a constant body. Both databases are
on one durable database server, which serves whichever is asked.
"""
import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time

import api
import bulk
import harness
import machine
import server
import stores

# More than the databases of the tests have: a million rows are to fit.
ROOM = {'sqlite': [], 'postgresql': ['shared_buffers=512MB', 'max_wal_size=4GB'],
        'mariadb': ['--innodb-buffer-pool-size=512M', '--innodb-log-file-size=512M', '--local-infile=1']}


class Target:
    """A running server: where, what it consists of, and what is in its database."""

    def __init__(self, name, server, database=None, store=None, keys=None, more=()):
        self.name, self.server = name, server
        self.kind = server.kind      # of two Vicars, one is called `small`
        self.url, self.password = server.url, server.password
        self.api = api.Api(self.url)
        self.database, self.store, self.more = database, store, more
        self.fernet, self.credential = keys or (None, None)
        self.scene = None

    def own(self):
        """Its processes, without those of the database."""
        return machine.tree(self.server.process.pid, *(x.process.pid for x in self.more))

    def processes(self):
        return self.own() + (machine.tree(self.database.process.pid) if self.database and self.database.process
                             else [])

    def quiet(self):
        """Log lines of a million requests need not be kept."""
        for path in (self.server.log, os.path.join(self.server.dir, 'keystone.log')):
            with contextlib.suppress(OSError):
                os.truncate(path, 0)

    def forget(self):
        """Empties the cache, after its database was changed without it."""
        for one in self.more:
            with socket.create_connection(('127.0.0.1', one.port), 5) as s:
                s.sendall(b'flush_all\r\n')
                s.recv(100)

    def restart(self):
        """Ends and starts it; milliseconds until the first answer."""
        self.server.halt()
        began = time.perf_counter()
        self.server.launch()
        while True:
            try:
                if self.api.get('').status == 200:
                    return 1e3 * (time.perf_counter() - began)
            except OSError:
                time.sleep(0.001)
            if self.server.process.poll() is not None or time.perf_counter() - began > server.STARTUP_SECONDS:
                self.server.wait()             # says why


class Vicar(server.Vicar):
    def command(self):
        args, more = super().command()
        return [*args, '--metrics-listen', '127.0.0.1:%d' % server.free_port()], more


class Site(stores.Site):
    def add(self):
        v = Vicar(config=self.conf)
        self.vicars.append(v)
        return v


class Memcached(server.Memcached):
    def command(self):
        args, more = super().command()
        args[args.index('-m') + 1] = '256'
        return args, more


class Keystone(server.Keystone):
    python = ''                      # a folder with modules that its environment lacks

    def run(self, *args, **more):
        return super().run(*args, **more, PYTHONPATH=self.python)

    def command(self):
        args, more = super().command()
        return args, dict(more, PYTHONPATH=self.python)


class Ceiling(server.Server):
    """The example `ceiling`: answers GET /v3 with so many bytes."""
    kind = 'ceiling'
    ready_path = '/v3'
    ready_statuses = (200,)

    def __init__(self, program, size):
        super().__init__()
        self.program, self.size = program, size

    def command(self):
        return [self.program, '--listen', '127.0.0.1:%d' % self.port, '--size', str(self.size)], {}


def example(name):
    """A program of server/examples, built beside the one that is measured; None where it was not."""
    folder = os.environ.get('VICAR_EXAMPLES') or os.path.join(os.path.dirname(server.vicar_bin()), 'examples')
    path = os.path.join(folder, name)
    return path if os.path.exists(path) else None


def build():
    """The release build of what is measured, with `cargo`, unless VICAR_BIN names one."""
    if os.environ.get('VICAR_BIN'):
        return
    subprocess.run(['cargo', 'build', '--locked', '--release', '-p', 'vicar', '--bins', '--example', 'ceiling',
                    '--example', 'pace'], cwd=harness.REPO, check=True)


def start(stack, engine, names, rounds=12, durable=True):
    """The targets of these names, in this order, each running on an empty store.

    `small` is a second Vicar, for a comparison with one whose database is full.
    """
    settings = {'identity': {'password_hash_rounds': rounds}, 'delegation': {'reap_interval': 60}}
    found = {}
    for name in ('vicar', 'small'):
        if name in names:
            found[name] = vicar(stack, name, engine, settings, durable)
    if 'keystone' in names:
        database = found['vicar'].database if 'vicar' in found else started(stack, engine, durable)
        found['keystone'] = keystone(stack, database, settings)
    return [found[name] for name in names]


def vicar(stack, name, engine, settings, durable):
    site = Site(engine, settings=settings, durable=durable)
    site.database.settings = ROOM[engine]
    stack.enter_context(site)
    return Target(name, site.vicars[0], site.database, bulk.Store(site.database, site.name),
                  (site.fernet, site.credential))


def started(stack, engine, durable):
    database = stores.SERVERS[engine](settings=ROOM[engine], durable=durable)
    stack.callback(database.stop)
    return database.start()


def keystone(stack, database, settings):
    cache = stack.enter_context(Memcached())
    name = 'keystone'
    database.create(name, 'p%s4ss' % name)
    settings = {'identity': settings['identity'],
                'database': {'connection': database.url(name).replace('postgresql://', 'postgresql+psycopg2://')},
                'cache': {'enabled': 'true', 'backend': 'oslo_cache.memcache_pool',
                          'memcache_servers': '127.0.0.1:%d' % cache.port}}
    k = Keystone(processes=os.cpu_count() or 1, settings=settings)
    stack.callback(k.stop)
    k.python = memcache_client(stack)
    k.start()
    return Target(name, k, database, bulk.Store(database, name), (k.store.fernet, k.store.credential), (cache,))


def memcache_client(stack):
    """A folder with the client of memcached, which deployments install beside Keystone."""
    folder = tempfile.mkdtemp(prefix='vicar-world-memcache-')
    stack.callback(shutil.rmtree, folder, True)
    client = subprocess.run([harness.env_bin('clients', 'python'), '-c', 'import memcache; print(memcache.__file__)'],
                            check=True, capture_output=True, text=True).stdout.strip()
    os.symlink(client, os.path.join(folder, 'memcache.py'))
    return folder


def needed():
    """Programs of Debian's that are used besides those that the tests have."""
    if not all(map(shutil.which, ('wrk', 'memcached'))):
        subprocess.run([os.path.join(harness.HERE, 'setup.sh'), 'bench'], check=True, stdout=subprocess.DEVNULL)
