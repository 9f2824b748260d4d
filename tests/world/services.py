"""Databases, and what OpenStack's services need besides: a message bus.

Debian's packages (`setup.sh services databases`), run from scratch folders on free loopback
ports by whoever runs the tests. Nothing of theirs outlives a test, so nothing is made durable
unless a test that kills them asks for it.
"""
import getpass
import glob
import os
import pwd
import signal
import socket
import subprocess
import time

import server
from server import free_port


class Database(server.Server):
    """A database server. `create` makes a database, and a user of the same name to whom it
    belongs; `url` is what `[database] connection` says of it."""
    patience = 0

    def __init__(self, settings=(), durable=False):
        """`durable`: what it has said yes to survives its own end by SIGKILL."""
        super().__init__()
        del self.url                    # it is the database's here, not the server's
        self.data = os.path.join(self.dir, 'data')
        self.settings = list(settings)
        self.durable = durable
        self.passwords = {}

    def sql(self, text, database=None):
        """Runs it as the database's administrator; the rows as a string, tabs in between."""
        raise NotImplementedError

    def url(self, name):
        return '%s://%s:%s@127.0.0.1:%d/%s' % (
            self.scheme, name, self.passwords[name], self.port, name)

    def freeze(self):
        """All of its processes stand still: connections stay, nothing answers."""
        for pid in self.processes():
            os.kill(pid, signal.SIGSTOP)

    def thaw(self):
        for pid in self.processes():
            os.kill(pid, signal.SIGCONT)

    def processes(self):
        pids = [self.process.pid]
        for pid in pids:
            for path in glob.glob('/proc/%d/task/*/children' % pid):
                with open(path) as f:
                    pids += map(int, f.read().split())
        return pids


class MariaDb(Database):
    """A MariaDB; anybody on this machine who knows a password of `create` may use it."""
    kind = 'mariadb'
    scheme = 'mysql+pymysql'
    account = getpass.getuser()         # whose its processes are

    def __init__(self, settings=(), durable=False):
        super().__init__(settings, durable)
        self.socket = os.path.join(self.dir, 'socket')

    def command(self):
        if not os.path.exists(self.data):
            self.run('mariadb-install-db', '--no-defaults', '--datadir=' + self.data,
                     '--user=' + self.account, '--skip-test-db',
                     '--auth-root-authentication-method=normal')
        haste = ['--innodb-flush-log-at-trx-commit=2', '--skip-innodb-doublewrite']
        return (['mariadbd', '--no-defaults', '--datadir=' + self.data,
                 '--user=' + self.account, '--socket=' + self.socket,
                 '--port=%d' % self.port, '--bind-address=127.0.0.1',
                 '--pid-file=' + os.path.join(self.dir, 'pid'),
                 '--skip-name-resolve', '--max-connections=400',
                 '--character-set-server=utf8mb4', *([] if self.durable else haste),
                 *self.settings], {})

    def ready(self):
        done = subprocess.run(['mariadb-admin', '--no-defaults', '--socket=' + self.socket,
                               '--user=root', 'ping'], capture_output=True)
        return done.returncode == 0

    def sql(self, text, database=None):
        return self.run('mariadb', '--no-defaults', '--socket=' + self.socket,
                        '--user=root', '--batch', '--skip-column-names', '--execute', text,
                        *([database] if database else []))

    def create(self, name, password):
        self.passwords[name] = password
        self.sql(f"CREATE DATABASE `{name}`; CREATE USER `{name}`@`%` IDENTIFIED BY '{password}';"
                 f"GRANT ALL ON `{name}`.* TO `{name}`@`%`")

    def dump(self, name):
        """All of a database while it is in use, as of one instant; SQL."""
        return self.run('mariadb-dump', '--no-defaults', '--socket=' + self.socket,
                        '--user=root', '--single-transaction', name)

    def restore(self, name, dumped):
        self.run('mariadb', '--no-defaults', '--socket=' + self.socket, '--user=root', name,
                 input=dumped)


class PostgreSql(Database):
    """A PostgreSQL; anybody on this machine who knows a password of `create` may use it."""
    kind = 'postgresql'
    scheme = 'postgresql'

    def __init__(self, settings=(), durable=False):
        super().__init__(settings, durable)
        self.user = None
        if os.geteuid() == 0:           # it refuses to be run by root
            who = pwd.getpwnam('nobody')
            self.user = dict(user=who.pw_uid, group=who.pw_gid, extra_groups=[])
            os.chown(self.dir, who.pw_uid, who.pw_gid)

    @property
    def popen(self):
        return self.user or {}

    @staticmethod
    def program(name):
        """The newest one's. What /usr/bin has under such names looks for a server of the
        system's."""
        return sorted(glob.glob('/usr/lib/postgresql/*/bin/' + name))[-1]

    def command(self):
        if not os.path.exists(self.data):
            self.run(self.program('initdb'), '-D', self.data, '-U', 'root', '-A', 'trust',
                     '-E', 'UTF8', '--locale=C.UTF-8', *([] if self.durable else ['--no-sync']))
            with open(os.path.join(self.data, 'pg_hba.conf'), 'w') as f:
                f.write('local all,replication all trust\nhost all all 127.0.0.1/32 scram-sha-256\n')
        haste = ['fsync=off', 'full_page_writes=off']
        options = ['listen_addresses=127.0.0.1', 'port=%d' % self.port, 'max_connections=300',
                   'unix_socket_directories=' + self.dir, 'shared_buffers=64MB',
                   *([] if self.durable else haste), *self.settings]
        return ([self.program('postgres'), '-D', self.data]
                + [word for o in options for word in ('-c', o)], {})

    def start(self):
        for _ in range(100):             # what was killed has children that still end
            try:
                return super().start()
            except RuntimeError as e:
                if 'still in use' not in str(e) and 'is still running' not in str(e):
                    raise
                time.sleep(0.1)
        raise RuntimeError('it does not start again')

    def ready(self):
        return subprocess.run(self.client('psql', 'postgres', '-c', 'SELECT 1'),
                              capture_output=True).returncode == 0

    def client(self, program, name, *more):
        return [self.program(program), '-h', self.dir, '-p', str(self.port), '-U', 'root',
                *more, name]

    def sql(self, text, database=None):
        return self.run(*self.client('psql', database or 'postgres', '-X', '-q', '-A', '-t',
                                     '-F', '\t', '-v', 'ON_ERROR_STOP=1'), input=text)

    def create(self, name, password):
        self.passwords[name] = password
        self.sql(f'CREATE ROLE "{name}" LOGIN PASSWORD \'{password}\';\n'
                 f'CREATE DATABASE "{name}" OWNER "{name}";')

    def dump(self, name):
        """All of a database while it is in use, as of one instant; SQL."""
        return self.run(*self.client('pg_dump', name, '--no-owner'))

    def restore(self, name, dumped):
        # Whoever serves it shall own it.
        self.sql('SET ROLE "%s";\n%s' % (name, dumped), name)


class RabbitMq(server.Server):
    """A RabbitMQ node with a port mapper of its own."""
    kind = 'rabbitmq'
    patience = 0
    login = 'guest:guest'

    def __init__(self):
        super().__init__()
        self.mapper = None

    def launch(self):
        self.mapper = PortMapper().start()
        super().launch()

    def stop(self):
        super().stop()
        if self.mapper:
            self.mapper.stop()

    def command(self):
        def at(name):
            return os.path.join(self.dir, name)

        with open(at('plugins'), 'w') as f:
            f.write('[].')
        with open(at('rabbitmq.conf'), 'w') as f:
            f.write('log.console = true\nlog.console.level = warning\n'
                    'disk_free_limit.absolute = 1MB\n')
        return (['/usr/lib/rabbitmq/bin/rabbitmq-server'], {
            'HOME': self.dir,
            'RABBITMQ_NODENAME': 'world@localhost',
            'RABBITMQ_NODE_IP_ADDRESS': '127.0.0.1',
            'RABBITMQ_NODE_PORT': str(self.port),
            'RABBITMQ_DIST_PORT': str(free_port()),
            'RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS':
                '-kernel inet_dist_use_interface {127,0,0,1} +S 1:1',
            'RABBITMQ_CONF_ENV_FILE': at('none'),
            'RABBITMQ_CONFIG_FILE': at('rabbitmq.conf'),
            'RABBITMQ_ENABLED_PLUGINS_FILE': at('plugins'),
            'RABBITMQ_MNESIA_BASE': at('mnesia'),
            'RABBITMQ_LOG_BASE': at('logs'),
            'RABBITMQ_LOGS': '-',
            'ERL_EPMD_PORT': str(self.mapper.port),
            'ERL_EPMD_ADDRESS': '127.0.0.1',
            # Its start script becomes the server instead of watching over it.
            'RUNNING_UNDER_SYSTEMD': 'true',
        })

    def ready(self):
        """It answers a wrong version with the one that it speaks."""
        try:
            with socket.create_connection(('127.0.0.1', self.port), 5) as s:
                s.sendall(b'AMQP\0\0\0\0')
                return s.recv(8).startswith(b'AMQP')
        except OSError:
            return False


class PortMapper(server.Server):
    """Erlang's epmd. Without one of its own, a node would leave a daemon behind."""
    kind = 'epmd'
    patience = 0

    def command(self):
        return ['epmd', '-address', '127.0.0.1', '-port', str(self.port)], {}

    def ready(self):
        return server.answers(self.port)
