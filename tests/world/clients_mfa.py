"""Logins of several methods, with keystoneauth and with `openstack`."""
import base64
import os
import secrets
import subprocess

import harness

harness.run_in('clients')

import pytest
from keystoneauth1 import exceptions as ka
from keystoneauth1.identity import v3 as ka_v3

import clients
import server
from totp import passcode



@pytest.fixture(scope='module')
def w(checks, options):
    kind = server.Keystone if options.keystone else server.Vicar
    with kind(settings={'auth': {'methods': 'password,token,totp'}}) as srv:
        yield clients.World(checks, srv)


class Careful:
    """A user with a secret, and the rules that their logins have to follow."""

    def __init__(self, w, name, rules=()):
        self.w, self.password = w, secrets.token_hex(12)
        self.user = w.admin.users.create(w.name(name), domain='default', password=self.password,
                                         options={'multi_factor_auth_rules': list(rules)})
        self.secrets = []

    def secret(self):
        """A new one: a passcode is good once."""
        secret = base64.b32encode(secrets.token_bytes(20)).decode()
        self.w.admin.credentials.create(self.user, 'totp', secret)
        return secret

    def by_password(self):
        return ka_v3.PasswordMethod(user_id=self.user.id, password=self.password)

    def by_passcode(self, secret):
        return ka_v3.TOTPMethod(user_id=self.user.id, passcode=passcode(secret))

    def access(self, *methods):
        auth = ka_v3.Auth(self.w.url, list(methods), unscoped=True)
        return auth.get_access(self.w.session_of(auth))


def test_totp(w):
    """v3totp: a passcode alone"""
    one = Careful(w, 'totp')
    secret = one.secret()
    auth = ka_v3.TOTP(w.url, user_id=one.user.id, passcode=passcode(secret), unscoped=True)
    access = auth.get_access(w.session_of(auth))
    w.c.equal('the token is the user\'s', access.user_id, one.user.id)
    wrong = ka_v3.TOTP(w.url, user_id=one.user.id, passcode='000000', unscoped=True)
    w.c.raises('another passcode is refused', lambda: wrong.get_access(w.session_of(wrong)), ka.Unauthorized)
    named = ka_v3.TOTP(w.url, username=one.user.name, user_domain_id='default',
                       passcode=passcode(one.secret()), unscoped=True)
    w.c.equal('by a name too', named.get_access(w.session_of(named)).user_id, one.user.id)


def test_multifactor(w):
    """v3multifactor, and its receipts"""
    one = Careful(w, 'multifactor', [['password', 'totp']])
    try:
        one.access(one.by_password())
        w.c.ok('a password alone is not enough', False)
    except ka.MissingAuthMethods as e:
        w.c.equal('what is missing is told', [sorted(r) for r in e.required_auth_methods], [['password', 'totp']])
        w.c.equal('and what was right', e.methods, ['password'])
        receipt = ka_v3.ReceiptMethod(receipt=e.receipt)
        access = one.access(receipt, one.by_passcode(one.secret()))
        w.c.equal('with its receipt the passcode is', access.user_id, one.user.id)
    both = ka_v3.MultiFactor(w.url, auth_methods=['v3password', 'v3totp'], user_id=one.user.id,
                             password=one.password, passcode=passcode(one.secret()), unscoped=True)
    access = both.get_access(w.session_of(both))
    w.c.equal('both at once are enough', access.user_id, one.user.id)


def test_openstack(w):
    """`openstack` with a passcode, alone and behind a password"""
    one = Careful(w, 'openstack')
    env = {k: v for k, v in os.environ.items() if not k.startswith('OS_')}

    def whose(kind, *more):
        done = subprocess.run(
            [harness.env_bin('clients', 'openstack'), '--os-auth-type', kind, '--os-auth-url', w.url,
             '--os-identity-api-version', '3', '--os-user-id', one.user.id, *more,
             'token', 'issue', '-f', 'value', '-c', 'user_id'],
            env=env, capture_output=True, text=True, timeout=120)
        return done.stdout.strip() or done.stderr

    w.c.equal('v3totp', whose('v3totp', '--os-passcode', passcode(one.secret())), one.user.id)
    w.admin.users.update(one.user, options={'multi_factor_auth_rules': [['password', 'totp']]})
    both = ('--os-auth-methods', 'v3password,v3totp', '--os-password', one.password)
    w.c.equal('v3multifactor', whose('v3multifactor', *both, '--os-passcode', passcode(one.secret())), one.user.id)
