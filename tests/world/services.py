"""What OpenStack's services need besides an identity server: a database, a message bus.

Debian's packages (`setup.sh services`), run from scratch folders on free loopback ports by
whoever runs the tests. Nothing of theirs outlives a test, so nothing is made durable.
"""
import getpass
import os
import socket
import subprocess

import server
from server import free_port


class MariaDb(server.Server):
    """A MariaDB; anybody on this machine who knows a password of `create` may use it."""
    kind = 'mariadb'
    patience = 0

    def __init__(self, settings=()):
        super().__init__()
        self.socket = os.path.join(self.dir, 'socket')
        self.data = os.path.join(self.dir, 'data')
        self.settings = list(settings)

    def command(self):
        if not os.path.exists(self.data):
            self.run('mariadb-install-db', '--no-defaults', '--datadir=' + self.data,
                     '--user=' + getpass.getuser(), '--skip-test-db',
                     '--auth-root-authentication-method=normal')
        return (['mariadbd', '--no-defaults', '--datadir=' + self.data,
                 '--user=' + getpass.getuser(), '--socket=' + self.socket,
                 '--port=%d' % self.port, '--bind-address=127.0.0.1',
                 '--pid-file=' + os.path.join(self.dir, 'pid'),
                 '--skip-name-resolve', '--max-connections=400',
                 '--innodb-flush-log-at-trx-commit=0', '--skip-innodb-doublewrite',
                 '--character-set-server=utf8mb4', *self.settings], {})

    def ready(self):
        done = subprocess.run(['mariadb-admin', '--no-defaults', '--socket=' + self.socket,
                               '--user=root', 'ping'], capture_output=True)
        return done.returncode == 0

    def sql(self, text):
        """Runs it as the database's administrator; the rows as text."""
        return self.run('mariadb', '--no-defaults', '--socket=' + self.socket,
                        '--user=root', '--batch', '--skip-column-names', '--execute', text)

    def create(self, name, password):
        """A database, and a user of the same name to whom it belongs."""
        self.sql("CREATE DATABASE `{0}`; CREATE USER `{0}`@`%` IDENTIFIED BY '{1}';"
                 "GRANT ALL ON `{0}`.* TO `{0}`@`%`".format(name, password))


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
        at = lambda name: os.path.join(self.dir, name)
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
