"""What a newcomer does, from the files that the program gives them.

    pytest install.py                  in the environment `clients`

An openstack client that knows of a server only what the first start wrote, with certificates of private authorities
too, and after the server has moved.
"""
import datetime
import ipaddress
import os
import subprocess

import harness

harness.run_in('clients')

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import server

PEM = serialization.Encoding.PEM


class Installation(server.Vicar):
    """A server in an empty directory, with the options of its first start only."""

    def __init__(self, *more):
        super().__init__()
        self.more = list(more)
        self.data = os.path.join(self.dir, 'vicar-data')

    def command(self):
        config = os.path.join(self.dir, 'vicar.conf')
        server.write_ini(config, {'identity': {'password_hash_rounds': '4'}})
        return ([server.vicar_bin(), 'serve', '--listen', '127.0.0.1:%d' % self.port,
                 '--metrics-listen', 'off', '--config-file', config, *self.more], {})

    def ready(self):
        return server.answers(self.port)

    def bootstrap(self, *args):
        return self.run(server.vicar_bin(), 'bootstrap', *args)

    def shell(self, script, **more):
        """Bash in the server's directory, with the clients before everything else."""
        env = {k: v for k, v in os.environ.items() if not k.startswith('OS_')}
        env['PATH'] = os.path.dirname(harness.env_bin('clients', 'openstack')) + ':' + env['PATH']
        env['PYTHONWARNINGS'] = 'ignore'
        return subprocess.run(['bash', '-c', script], cwd=self.dir, env=dict(env, **more), text=True,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=300)

    def by_clouds_yaml(self, cloud='vicar'):
        return self.shell('openstack token issue -f value -c id', OS_CLOUD=cloud,
                          OS_CLIENT_CONFIG_FILE=os.path.join(self.data, 'clouds.yaml'))

    def by_openrc(self):
        return self.shell('. vicar-data/openrc && openstack catalog list')


def logs_in(c, srv):
    """The client needs nothing but the files."""
    for what, done in (('clouds.yaml', srv.by_clouds_yaml()), ('the whole system', srv.by_clouds_yaml('vicar-system')),
                       ('openrc', srv.by_openrc())):
        c.ok('a login with %s' % what, done.returncode == 0, done.stderr[-600:])


@pytest.fixture
def scratch(tmp_path):
    return str(tmp_path)


class Certificates:
    """Files of a private authority, of one below it, and of who signed for themselves."""

    def __init__(self, folder):
        self.folder = folder
        root = self.make('root', ca=True)
        middle = self.make('middle', by=root, ca=True)
        self.signed = self.files('signed', self.make('localhost', by=root))
        chain = self.make('localhost', by=middle)
        self.chained = self.files('chained', chain, middle)
        self.whole = self.files('whole', self.make('localhost', by=middle), middle, root)
        self.own = self.files('own', self.make('localhost'))
        # As `openssl req -x509` makes them.
        self.own_ca = self.files('own-ca', self.make('localhost', ca=True))
        self.root = self.write('root.pem', root[0].public_bytes(PEM))

    @staticmethod
    def make(name, by=None, ca=False):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.UTC)
        issuer, signer = (by[0].subject, by[1]) if by else (subject, key)
        builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer)
                   .public_key(key.public_key()).serial_number(x509.random_serial_number())
                   .not_valid_before(now - datetime.timedelta(days=1))
                   .not_valid_after(now + datetime.timedelta(days=30))
                   .add_extension(x509.BasicConstraints(ca, None), critical=True))
        if name == 'localhost':
            names = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address('127.0.0.1'))]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(signer, hashes.SHA256()), key

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, 'wb') as f:
            f.write(text)
        return path

    def files(self, name, *chain):
        key = chain[0][1].private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        certs = b''.join(cert.public_bytes(PEM) for cert, _ in chain)
        return ['--tls-cert', self.write(name + '.pem', certs), '--tls-key', self.write(name + '.key', key)]


def test_plain(checks):
    """Without encryption, and after a move"""
    with Installation() as srv:
        logs_in(checks, srv)
        srv.halt()
        srv.port = server.free_port()
        url = 'http://localhost:%d/v3' % srv.port
        said = srv.bootstrap('--bootstrap-public-url', url)
        checks.ok('what was changed is said', url in said and 'clouds.yaml: changed' in said, said)
        srv.start()
        logs_in(checks, srv)
        with open(os.path.join(srv.data, 'clouds.yaml')) as f:
            clouds = yaml.safe_load(f)['clouds']
        checks.equal('where they go', {c['auth']['auth_url'] for c in clouds.values()}, {url})


@pytest.mark.parametrize('kind', ['signed', 'chained', 'whole', 'own', 'own_ca'])
def test_tls(checks, scratch, kind):
    """A certificate of a private authority"""
    made = Certificates(scratch)
    ca = ['--tls-ca', made.root] if kind in ('signed', 'chained') else []
    with Installation(*getattr(made, kind), *ca) as srv:
        logs_in(checks, srv)


def test_tls_later(checks, scratch):
    """Encrypted later, under a new address"""
    made = Certificates(scratch)
    with Installation() as srv:
        logs_in(checks, srv)
        srv.halt()
        srv.more = [*made.signed, '--tls-ca', made.root, '--public-url', 'https://localhost:%d' % srv.port]
        srv.start()
        logs_in(checks, srv)
