"""Servers for the tests: Vicar or a Keystone 30.0.0, each in a scratch folder.

    with Vicar() as v:            # its own fresh database and keys
        v.url, v.password         # http://127.0.0.1:PORT/v3, the administrator's
    with Keystone() as k: ...     # bootstrapped the same way
    with Keystone(store=v.store): # on a database and keys that are there already
    with Vicar(store=k.store, config=k.config): ...

Whatever happens (an exception, ^C, SIGTERM, the script being killed), the servers
end with the script, and their scratch folders go, unless VICAR_KEEP is set.

    server.py vicar|keystone [--port N]     run one by hand, until ^C
"""
import argparse
import atexit
import collections
import configparser
import contextlib
import fcntl
import glob
import grp
import json
import os
import random
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import harness

# Where Debian has database servers, and users have no path to.
os.environ['PATH'] += ':/usr/sbin:/sbin'
PASSWORD = 'secret-of-the-administrator'
STARTUP_SECONDS = 90
# How dear a password is, is tested elsewhere.
CHEAP = {'identity': {'password_hash_rounds': 4}}

# keystone-manage for several commands: to import Keystone takes seconds, and what it does next to none.
MANAGE = """
import json, os, sys
from keystone.cmd import manage
for command in sys.argv[1:]:
    child = os.fork()
    if not child:
        sys.argv = ['keystone-manage', *json.loads(command)]
        sys.exit(manage.main())
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status:
        sys.exit('%s: status %d' % (command, status))
"""

# database: path of the SQLite file; the two others are folders of Fernet keys
Store = collections.namedtuple('Store', 'database fernet credential')

_running = []


def _end_all():
    while _running:
        _running[-1].stop()


def _end_on_signal(number, _frame):
    sys.exit(128 + number)         # runs the atexit functions


atexit.register(_end_all)
for _s in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(_s, _end_on_signal)


class _Keeper:
    """keeper.py, which ends our servers when we are killed."""
    process = None

    def tell(self, *words):
        if not self.process:
            self.process = subprocess.Popen(
                [sys.executable, os.path.join(harness.HERE, 'keeper.py')], text=True,
                stdin=subprocess.PIPE, start_new_session=True)
        print(*words, file=self.process.stdin, flush=True)


_keeper = _Keeper()


_ports = []                          # open files, one for each port that is ours until this process ends


def free_port():
    """A port that nobody has, nor any other process of these tests until it uses it: some servers take half a minute
    for that. Not one of those that connections are given: such a one may be taken until it is used."""
    folder = os.path.join(tempfile.gettempdir(), 'vicar-world-ports-%d' % os.geteuid())
    os.makedirs(folder, exist_ok=True)
    for _ in range(1000):
        port = random.randrange(20000, 32000)
        mark = open(os.path.join(folder, str(port)), 'w')
        try:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as s:
                s.bind(('127.0.0.1', port))
        except OSError:
            mark.close()
            continue
        _ports.append(mark)
        return port
    raise RuntimeError('no port is free')


def answers(port):
    """Can it be reached? For what does not speak HTTP."""
    with socket.socket() as s:
        s.settimeout(5)
        return s.connect_ex(('127.0.0.1', port)) == 0


def _alive(group):
    """Does a process of the group still run? A killed one does until its last thread has ended: the first may be a
    zombie while another still holds the port."""
    for path in glob.glob('/proc/[0-9]*/stat'):
        if _state(path)[2:] != [str(group)]:
            continue
        if any(_state(thread)[0] not in 'ZX' for thread in glob.glob(path[:-len('stat')] + 'task/*/stat')):
            return True
    return False


def _state(path):
    """State, parent and group of a process, or of a thread; one that has ended is in state X."""
    try:
        with open(path) as f:
            return f.read().rpartition(')')[2].split()[:3]
    except OSError:
        return ['X']


def vicar_bin():
    named = os.environ.get('VICAR_BIN')
    if named:
        return os.path.abspath(named)
    for kind in ('release', 'debug'):
        path = os.path.join(os.environ.get('CARGO_TARGET_DIR') or
                            os.path.join(harness.REPO, 'target'), kind, 'vicar')
        if os.path.exists(path):
            return path
    raise SystemExit('no vicar binary: cargo build --release, or set VICAR_BIN')


class Server:
    """One running server. `start` and `stop` may be called again and again."""
    kind = None
    ready_path = None                # below the root of the server
    ready_statuses = ()
    startup = STARTUP_SECONDS        # seconds to begin to serve in
    patience = 10                    # seconds to end in; 0: it is killed at once
    settings = None                  # the file that `change_ini` may change
    popen = {}                       # options for its processes: their owner

    def __init__(self, port=None, password=PASSWORD):
        self.port = port or free_port()
        self.root = 'http://127.0.0.1:%d' % self.port
        self.url = self.root + '/v3'
        self.password = password
        self.process = None
        self.dir = tempfile.mkdtemp(prefix='vicar-world-%s-' % self.kind)
        self.log = os.path.join(self.dir, 'output.log')
        _running.append(self)

    def command(self):
        """(arguments, additions to the environment)"""
        raise NotImplementedError

    def start(self):
        self.launch()
        return self.wait()

    def launch(self):
        """Start it without waiting."""
        args, more = self.command()
        with open(self.log, 'ab') as log:
            self.process = subprocess.Popen(
                args, env=dict(os.environ, **more), stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, cwd=self.dir, start_new_session=True,
                **self.popen)
        _keeper.tell('+', self.process.pid, self.dir)

    def wait(self):
        """Until it serves."""
        end = time.monotonic() + self.startup
        while not self.ready():
            if self.process.poll() is not None:
                self._fail('ended with status %s' % self.process.returncode)
            if time.monotonic() > end:
                self._fail('not ready after %d s' % self.startup)
            time.sleep(0.1)
        return self

    def ready(self):
        """Does it serve?"""
        try:
            status = urllib.request.urlopen(self.root + self.ready_path,
                                            timeout=5).status
        except urllib.error.HTTPError as e:
            status = e.code
        except OSError:
            return False
        return status in self.ready_statuses

    def _fail(self, why):
        with open(self.log, errors='replace') as f:
            tail = ''.join(f.readlines()[-40:])
        raise RuntimeError('%s: %s\n%s' % (self.kind, why, tail))

    def halt(self):
        """End the process only; the store stays and `start` brings it back."""
        p, self.process = self.process, None
        if p is None:
            return
        for number, patience in ((signal.SIGTERM, self.patience), (signal.SIGKILL, 10)):
            if not patience:
                continue
            try:
                os.killpg(p.pid, number)
            except ProcessLookupError:
                pass
            try:
                p.wait(patience)
            except subprocess.TimeoutExpired:
                continue
            break
        try:                            # children that outlived their parent
            os.killpg(p.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        # Until the last has ended its port is not free.
        end = time.monotonic() + 10
        while _alive(p.pid) and time.monotonic() < end:
            time.sleep(0.02)
        _keeper.tell('-', p.pid)

    def kill(self):
        """SIGKILL, as the kernel does it to who uses too much; `start` brings it back."""
        p, self.process = self.process, None
        p.kill()
        p.wait()
        _keeper.tell('-', p.pid)

    def stop(self):
        self.halt()
        if self in _running:
            _running.remove(self)
        if os.environ.get('VICAR_KEEP'):
            print('kept: %s' % self.dir, file=sys.stderr)
        else:
            shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self if self.process else self.start()

    def __exit__(self, *_):
        self.stop()

    def run(self, *args, input='', **more):
        """A command of the same program on the same store, to its end."""
        done = subprocess.run(args, cwd=self.dir, env=dict(os.environ, **more),
                              input=input, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=300,
                              **self.popen)
        if done.returncode:
            raise RuntimeError('%s: status %d\n%s' % (
                ' '.join(args), done.returncode, done.stdout[-4000:]))
        return done.stdout


class Vicar(Server):
    """Vicar with a data folder of its own, or with an operator's keystone.conf."""
    kind = 'vicar'
    ready_path = '/healthz'
    ready_statuses = (200,)

    def __init__(self, config=None, store=None, settings=None, log_format='text', **kw):
        """`config`, `store`: the keystone.conf to serve, and what it points to.

        `settings` {section: {option: value}} are written into a vicar.conf of
        the same form, and given with --config-file.
        """
        super().__init__(**kw)
        self.config = config
        self.log_format = log_format
        data = os.path.join(self.dir, 'data')
        self.data = None if config else data
        self.store = store or Store(os.path.join(data, 'vicar.db'),
                                    os.path.join(data, 'fernet-keys'),
                                    os.path.join(data, 'credential-keys'))
        # What is known to be missing: names that --accept takes.
        self.accepted = ()
        self.extra = []
        if settings:
            self.settings = os.path.join(self.dir, 'vicar.conf')
            write_ini(self.settings, settings)
            self.extra = ['--config-file', self.settings]

    def place(self):
        """The arguments that tell every command which store is meant."""
        where = (['--config-file', self.config] if self.config
                 else ['--data-dir', self.data])
        return where + self.extra

    def command(self):
        return ([vicar_bin(), 'serve', *self.place(),
                 '--listen', '127.0.0.1:%d' % self.port,
                 '--log-format', self.log_format],
                {'VICAR_BOOTSTRAP_PASSWORD': self.password, 'VICAR_ACCEPT': ','.join(self.accepted)})

    def whole_log(self):
        """What it has written, once all that was answered until now is in it: lines are written a moment later."""
        mark = secrets.token_hex(16)
        with contextlib.suppress(urllib.error.HTTPError):
            urllib.request.urlopen('%s/users/%s' % (self.url, mark), timeout=30)
        end = time.monotonic() + 30
        while True:
            with open(self.log) as f:
                text = f.read()
            if mark in text:
                return text
            if time.monotonic() > end:
                self._fail('its log does not go on')
            time.sleep(0.02)

    def rotate_fernet(self):
        return self.run(vicar_bin(), 'keys', 'rotate', *self.place())


class Memcached(Server):
    """A cache for the services."""
    kind = 'memcached'
    ready_path = ''

    def command(self):
        return (['memcached', '-l', '127.0.0.1', '-p', str(self.port), '-m', '16',
                 '-u', pwd.getpwuid(os.getuid()).pw_name], {})

    def ready(self):
        return answers(self.port)


class Keystone(Server):
    """A Keystone 30.0.0 under uwsgi."""
    kind = env = 'keystone'
    methods = ('external', 'password', 'token', 'oauth1', 'mapped', 'application_credential', 'ec2credential', 'totp')
    ready_path = '/v3'
    ready_statuses = (200,)

    def __init__(self, store=None, processes=1, settings=None, **kw):
        """With a `store`: serve what is there. Without: make and bootstrap one."""
        super().__init__(**kw)
        self.processes = processes
        self.made_elsewhere = store is not None
        self.store = store or Store(os.path.join(self.dir, 'keystone.db'),
                                    os.path.join(self.dir, 'fernet-keys'),
                                    os.path.join(self.dir, 'credential-keys'))
        self.config = self.settings = os.path.join(self.dir, 'keystone.conf')
        sections = {
            'DEFAULT': {'log_file': os.path.join(self.dir, 'keystone.log')},
            'database': {'connection': 'sqlite:///' + self.store.database},
            'fernet_tokens': {'key_repository': self.store.fernet},
            'fernet_receipts': {'key_repository': self.store.fernet},
            'credential': {'key_repository': self.store.credential},
        }
        for section, options in (settings or {}).items():
            sections.setdefault(section, {}).update(options)
        write_ini(self.config, sections)

    def manage(self, *args):
        return self.run(harness.env_bin(self.env, 'keystone-manage'),
                        '--config-file', self.config, *args)

    def manage_all(self, *commands):
        """Several of these, one after another, each in a process of its own."""
        return self.run(harness.env_bin(self.env, 'python'), '-c', MANAGE,
                        *(json.dumps(['--config-file', self.config, *command]) for command in commands))

    @staticmethod
    def owner():
        return ['--keystone-user', pwd.getpwuid(os.getuid()).pw_name,
                '--keystone-group', grp.getgrgid(os.getgid()).gr_name]

    def create(self):
        """An empty store, with what `keystone-manage bootstrap` puts into it."""
        for folder in (self.store.fernet, self.store.credential):
            os.makedirs(folder, mode=0o700, exist_ok=True)
        self.manage_all(
            ['db_sync'], ['fernet_setup', *self.owner()], ['credential_setup', *self.owner()],
            ['bootstrap', '--bootstrap-password', self.password,
             '--bootstrap-region-id', 'RegionOne',
             '--bootstrap-public-url', self.url,
             '--bootstrap-internal-url', self.url,
             '--bootstrap-admin-url', self.url])
        self.made_elsewhere = True

    def start(self):
        if not self.made_elsewhere:
            self.create()
        return super().start()

    def command(self):
        return ([harness.env_bin('keystone', 'uwsgi'), '--master', '--die-on-term',
                 '--need-app', '--lazy-apps', '--enable-threads',
                 '--disable-logging', '--buffer-size', '65535',
                 '--processes', str(self.processes),
                 '--http-socket', '127.0.0.1:%d' % self.port,
                 '--add-header', 'Connection: close',
                 '--virtualenv', os.path.join(harness.CACHE, 'keystone'),
                 '--module', 'keystone.wsgi.api:application'],
                {'OS_KEYSTONE_CONFIG_FILES': self.config,
                 'PYTHONWARNINGS': 'ignore'})

    def rotate_fernet(self):
        return self.manage('fernet_rotate', *self.owner())

    def rotate_credential(self):
        """As an operator does: migrate, so that no key in use is dropped."""
        self.manage_all(['credential_migrate', *self.owner()], ['credential_rotate', *self.owner()],
                        ['credential_migrate', *self.owner()])


def change_ini(path, sections):
    """Some options anew, the others as they are."""
    now = configparser.RawConfigParser(default_section='')
    now.read(path)
    now.read_dict(sections)
    write_ini(path, {name: dict(now[name]) for name in now.sections()})


def write_ini(path, sections):
    """An option with a list is there several times."""
    with open(path, 'w') as f:
        for section, options in sections.items():
            f.write('[%s]\n' % section)
            for name, value in options.items():
                f.writelines('%s = %s\n' % (name, one) for one in (value if isinstance(value, list) else [value]))


def add_arguments(parser):
    """What the scripts here have in common."""
    parser.add_argument('url', nargs='?', help='.../v3 of a running server; '
                        'without it a server is started')
    parser.add_argument('--password', default=None,
                        help="the administrator's, for a running server")
    parser.add_argument('--keystone', action='store_true',
                        help='the server is (or shall be) a Keystone 30.0.0: '
                        'run what must hold there too')


class Running:
    """A server that somebody else runs; looks like one of ours."""

    def __init__(self, url, password, kind):
        self.url, self.password, self.kind = url.rstrip('/'), password, kind
        self.dir = tempfile.mkdtemp(prefix='vicar-world-')
        self.data = None
        atexit.register(shutil.rmtree, self.dir, True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def asked_for(options):
    """The server that the arguments name, as a context manager."""
    if options.url:
        return Running(options.url, options.password or PASSWORD,
                       'keystone' if options.keystone else 'vicar')
    return (Keystone if options.keystone else Vicar)(settings=CHEAP)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('kind', choices=['vicar', 'keystone'])
    parser.add_argument('--port', type=int)
    options = parser.parse_args()
    kind = Vicar if options.kind == 'vicar' else Keystone
    with kind(port=options.port) as s:
        print('%s\nadmin password: %s\nlog: %s' % (s.url, s.password, s.log),
              flush=True)
        try:
            s.process.wait()
        except KeyboardInterrupt:
            pass


if __name__ == '__main__':
    main()
