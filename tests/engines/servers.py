"""The databases of tests/world/services.py, with an account for everything, and with encryption.

    with servers.Postgres() as db: ...      db.at is postgresql://all:all@127.0.0.1:<port>
    with servers.Mariadb() as db: ...       db.at is mysql://all:all@127.0.0.1:<port>
"""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'world'))
import harness
import services

subprocess.run([os.path.join(harness.HERE, 'setup.sh'), 'databases'], check=True, stdout=subprocess.DEVNULL)


class Engine:
    """What both have in common."""

    def __enter__(self):
        super().__enter__()
        # For keys: the server's own folder belongs to the server's account, which Vicar does not trust.
        self.home = tempfile.TemporaryDirectory(prefix='vicar-world-')
        self.sql(self.everybody)
        return self

    def __exit__(self, *error):
        self.home.cleanup()
        return super().__exit__(*error)

    def path(self, name):
        return os.path.join(self.dir, name)

    @property
    def at(self):
        return '%s://all:all@127.0.0.1:%d' % (self.short, self.port)

    def make_database(self, name):
        self.sql('CREATE DATABASE %s %s' % (name, self.options))
        return '%s/%s' % (self.at, name)

    def encrypt(self):
        """Makes an authority and a certificate for 127.0.0.1, and starts again with them."""
        at = self.path
        new = ('openssl', 'req', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=vicar test', '-keyout')
        with open(at('leaf.ext'), 'w') as f:
            f.write('subjectAltName=IP:127.0.0.1\n')
        self.run(*new, at('ca.key'), '-x509', '-days', '2', '-out', at('ca.pem'))
        self.run(*new, at('leaf.key'), '-out', at('leaf.csr'))
        self.run('openssl', 'x509', '-req', '-in', at('leaf.csr'), '-CA', at('ca.pem'), '-CAkey', at('ca.key'),
                 '-days', '2', '-CAcreateserial', '-extfile', at('leaf.ext'), '-out', at('leaf.pem'))
        self.run(*new, at('other.key'), '-x509', '-days', '2', '-out', at('other.pem'))
        self.halt()
        self.settings += [word.format(ca=at('ca.pem'), leaf=at('leaf.pem'), key=at('leaf.key'))
                          for word in self.encryption]
        self.start()


class Postgres(Engine, services.PostgreSql):
    short = 'postgresql'
    options = ''
    everybody = 'CREATE ROLE "all" SUPERUSER LOGIN PASSWORD \'all\''
    encryption = ['ssl=on', 'ssl_cert_file={leaf}', 'ssl_key_file={key}']


class Mariadb(Engine, services.MariaDb):
    short = 'mysql'
    options = 'CHARACTER SET utf8'     # as Keystone's guides make it
    everybody = "CREATE USER `all`@`%` IDENTIFIED BY 'all'; GRANT ALL ON *.* TO `all`@`%` WITH GRANT OPTION"
    encryption = ['--ssl-cert={leaf}', '--ssl-key={key}', '--ssl-ca={ca}']


ENGINES = {'postgresql': Postgres, 'mariadb': Mariadb}
