"""A login that one of the two has begun, and the other finishes: receipts, passcodes and their secrets."""
import base64
import secrets

import api
from keystone_beside import PW, fresh, next_second
from totp import passcode


def login(side, methods, receipt=None):
    return side.api.post('/auth/tokens', body={'auth': {'identity': dict(methods=list(methods), **methods)}},
                         headers={'Openstack-Auth-Receipt': receipt} if receipt else {})


def test_receipts(pair):
    c = pair.c
    for here, there in pair.ways():
        user = here.api.make(here.admin, 'user', name=fresh('careful'), domain_id=pair.domain, password=PW,
                             options={'multi_factor_auth_rules': [['password', 'totp']]})
        secret = base64.b32encode(secrets.token_bytes(20)).decode()
        here.api.make(here.admin, 'credential', type='totp', user_id=user, blob=secret)
        next_second()
        by_password = {'password': {'user': {'id': user, 'password': PW}}}

        def by_passcode():
            return {'totp': {'user': {'id': user, 'passcode': passcode(secret)}}}

        begun = login(here, by_password)
        c.status('%s: a password is not enough' % here.label, begun, 401)
        receipt = begun.headers['Openstack-Auth-Receipt']
        other = login(there, by_password)
        c.equal('... on %s neither, and it says the same' % there.label,
                [(x['receipt']['methods'], x['receipt']['user'], [sorted(r) for r in x['required_auth_methods']])
                 for x in (other.body,)],
                [(x['receipt']['methods'], x['receipt']['user'], [sorted(r) for r in x['required_auth_methods']])
                 for x in (begun.body,)])
        whole = login(there, by_passcode(), receipt)
        c.status('its receipt is taken by %s' % there.label, whole, 201)
        token = api.Token(whole.want(201))
        c.equal('the token has both methods', sorted(token.body['methods']), ['password', 'totp'])
        c.status('and is good on %s' % here.label, here.api.validate(here.admin, token), 200)
        c.status('a receipt is no token on %s' % there.label, there.api.validate(there.admin, receipt), 404)
        c.status('nor does it let another user in',
                 login(there, {'password': {'user': {'id': pair.svc, 'password': PW}}}, receipt), 401)
