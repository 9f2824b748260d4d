"""A PostgreSQL and a MariaDB of one's own: in a scratch folder, on free ports of the loopback interface.

    with servers.Postgres() as db: ...      db.url is postgresql://vicar@127.0.0.1:<port>
    with servers.Mariadb() as db: ...       db.url is mysql://root@127.0.0.1:<port>

They end with the block, however it is left, and their folders with them. What they hold survives their own end by
SIGKILL, but no power cut: nothing is forced to the disk.
"""
import getpass
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time

PACKAGES = {'initdb': ('postgresql',), 'mariadbd': ('mariadb-server-core', 'mariadb-client-core')}


def program(name):
    """The path of a program, installed if need be."""
    def found():
        places = os.environ['PATH'].split(':') + ['/usr/sbin', '/usr/local/sbin']
        places += sorted(glob.glob('/usr/lib/postgresql/*/bin'), reverse=True)
        return next((p for d in places if os.access(p := os.path.join(d, name), os.X_OK)), None)
    if not found() and name in PACKAGES:
        install(PACKAGES[name])
    path = found()
    if not path:
        raise SystemExit('%s is not here; install %s' % (name, ' '.join(PACKAGES.get(name, [name]))))
    # /usr/local/bin may hold links: the programs beside it are beside the real one.
    return os.path.realpath(path)


def install(packages):
    """Debian's packages, without the server that PostgreSQL's would set up and start."""
    root = [] if os.geteuid() == 0 else ['sudo']
    env = ['env', 'DEBIAN_FRONTEND=noninteractive']
    subprocess.run(root + ['apt-get', 'update', '-qq'], check=True)
    get = root + env + ['apt-get', 'install', '-y', '-qq', '--no-install-recommends']
    if 'postgresql' in packages:
        subprocess.run(get + ['postgresql-common'], check=True)
        subprocess.run(root + ['sed', '-i', 's/^#* *create_main_cluster.*/create_main_cluster = false/',
                               '/etc/postgresql-common/createcluster.conf'], check=True)
    subprocess.run(get + list(packages), check=True)


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


class Database:
    """What both have in common: a folder, a process, an end."""
    stop_with = signal.SIGTERM

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix='vicar-%s-' % self.kind)
        self.port = free_port()
        self.process = None
        # Both refuse to be run by root.
        self.user = 'nobody' if os.geteuid() == 0 else getpass.getuser()
        if os.geteuid() == 0:
            who = pwd.getpwnam(self.user)
            os.chown(self.folder, who.pw_uid, who.pw_gid)
        try:
            self.make()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        # A second ^C must not leave a server behind.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            self.stop()
            shutil.rmtree(self.folder, ignore_errors=True)
        finally:
            signal.signal(signal.SIGINT, before)

    def path(self, name):
        return os.path.join(self.folder, name)

    def as_user(self, *command, **more):
        """Options of subprocess for a command that the database's user runs, away from the terminal's signals."""
        user = {'user': self.user, 'group': pwd.getpwnam(self.user).pw_gid, 'extra_groups': []}
        return dict(args=command, cwd=self.folder, start_new_session=True, stdin=subprocess.DEVNULL,
                    **(user if os.geteuid() == 0 else {}), **more)

    def run(self, *command):
        done = subprocess.run(**self.as_user(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
        if done.returncode:
            raise RuntimeError('%s: %s' % (command[0], done.stdout[-2000:]))

    def start(self):
        with open(self.path('log'), 'a') as log:
            self.process = subprocess.Popen(**self.as_user(*self.command(), stdout=log, stderr=log))
        end = time.monotonic() + 60
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError('%s does not start: %s' % (self.kind, open(self.path('log')).read()[-2000:]))
            time.sleep(0.05)

    def answers(self):
        try:
            socket.create_connection(('127.0.0.1', self.port), 1).close()
        except OSError:
            return False
        return self.ready()

    def stop(self, how=None):
        if self.process and self.process.poll() is None:
            self.process.send_signal(how or self.stop_with)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def encrypt(self):
        """Makes an authority and a certificate for 127.0.0.1, and starts again with them."""
        def openssl(*args):
            self.run('openssl', *args)
        def at(name):
            return self.path(name)
        new = ('req', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=vicar test', '-keyout')
        with open(at('leaf.ext'), 'w') as f:
            f.write('subjectAltName=IP:127.0.0.1\n')
        openssl(*new, at('ca.key'), '-x509', '-days', '2', '-out', at('ca.pem'))
        openssl(*new, at('leaf.key'), '-out', at('leaf.csr'))
        openssl('x509', '-req', '-in', at('leaf.csr'), '-CA', at('ca.pem'), '-CAkey', at('ca.key'), '-days', '2',
                '-CAcreateserial', '-extfile', at('leaf.ext'), '-out', at('leaf.pem'))
        openssl(*new, at('other.key'), '-x509', '-days', '2', '-out', at('other.pem'))
        self.stop()
        self.encrypted = True
        self.start()

    encrypted = False

    def make_database(self, name):
        self.sql('CREATE DATABASE %s %s' % (name, self.options))
        return '%s/%s' % (self.url, name)


class Postgres(Database):
    kind = 'postgresql'
    options = ''
    stop_with = signal.SIGINT          # fast: without waiting for clients

    def make(self):
        self.run(program('initdb'), '-D', self.path('data'), '-A', 'trust', '-U', 'vicar', '-E', 'UTF8',
                 '--locale=C.UTF-8', '--no-sync')

    def command(self):
        tls = ['ssl=on', 'ssl_cert_file=' + self.path('leaf.pem'), 'ssl_key_file=' + self.path('leaf.key')]
        options = (tls if self.encrypted else []) + [
                   'fsync=off', 'full_page_writes=off', 'max_connections=300',
                   'listen_addresses=127.0.0.1', 'port=%d' % self.port, 'unix_socket_directories=' + self.folder]
        return [self.beside('postgres'), '-D', self.path('data')] + [
            w for o in options for w in ('-c', o)]

    @property
    def url(self):
        return 'postgresql://vicar@127.0.0.1:%d' % self.port

    def beside(self, name):
        """What /usr/bin has under such names are wrappers that look for a server of the system's."""
        return os.path.join(os.path.dirname(program('initdb')), name)

    def psql(self, database, *more):
        return [self.beside('psql'), '-X', '-q', '-h', '127.0.0.1', '-p', str(self.port), '-U', 'vicar',
                '-v', 'ON_ERROR_STOP=1', *more, database]

    def ready(self):
        return subprocess.run(self.psql('postgres', '-c', 'SELECT 1'), capture_output=True).returncode == 0

    def sql(self, statement, database='postgres'):
        """Runs a statement; gives its rows, as lists of texts."""
        done = subprocess.run(self.psql(database, '-A', '-t', '-F', '\t', '-c', statement),
                              check=True, capture_output=True, text=True)
        return [line.split('\t') for line in done.stdout.splitlines()]


class Mariadb(Database):
    kind = 'mariadb'
    options = 'CHARACTER SET utf8'     # as Keystone's guides make it

    def make(self):
        # The socket's path has a limit that a folder's easily exceeds; clients here use the port.
        self.run(program('mariadb-install-db'), '--no-defaults', '--datadir=' + self.path('data'),
                 '--auth-root-authentication-method=normal', '--skip-test-db')

    def command(self):
        return [program('mariadbd'), '--no-defaults', '--datadir=' + self.path('data'), '--socket=s',
                '--pid-file=' + self.path('pid'), '--bind-address=127.0.0.1', '--port=%d' % self.port,
                '--innodb-flush-log-at-trx-commit=2', '--skip-innodb-doublewrite', '--debug-no-sync',
                '--max-connections=400', '--skip-name-resolve'] + ([
                    '--ssl-cert=' + self.path('leaf.pem'), '--ssl-key=' + self.path('leaf.key'),
                    '--ssl-ca=' + self.path('ca.pem')] if self.encrypted else [])

    @property
    def url(self):
        return 'mysql://root@127.0.0.1:%d' % self.port

    def client(self, *more):
        return [program('mariadb'), '--no-defaults', '-h', '127.0.0.1', '-P', str(self.port), '-u', 'root',
                '--protocol=tcp', '-N', '-B', *more]

    def ready(self):
        return subprocess.run(self.client('-e', 'SELECT 1'), capture_output=True).returncode == 0

    def sql(self, statement, database='mysql'):
        """Runs a statement; gives its rows, as lists of texts."""
        done = subprocess.run(self.client('-e', statement, database), check=True, capture_output=True, text=True)
        return [line.split('\t') for line in done.stdout.splitlines()]


ENGINES = {'postgresql': Postgres, 'mariadb': Mariadb}
