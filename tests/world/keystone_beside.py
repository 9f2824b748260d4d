"""Vicar and a Keystone 30.0.0 on one database and one set of keys, at the same time.

    pytest keystone_beside.py                     both of:
    pytest keystone_beside.py -k vicar-first      Vicar makes the store, Keystone serves it too
    pytest keystone_beside.py -k keystone-first   Keystone makes it, Vicar serves it with
                                                  --config-file of that Keystone
    pytest keystone_beside.py --keystone          two Keystones: a test of the tests

Everything is done on one server and looked at on the other, and the other way round.
"""
import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import time

import harness

harness.run_in('clients')

import pytest

import api
import server
import sign

PW = 'a password of the scene'


class Side:
    """One of the two servers, with its administrator."""

    def __init__(self, srv, label):
        self.server, self.kind, self.label = srv, srv.kind, label
        self.api = api.Api(srv.url)
        self.renew()

    def renew(self):
        self.admin = self.api.admin(self.server.password)

    @property
    def vicar(self):
        return self.kind == 'vicar'

    def status(self, token):
        """Of the token's validation."""
        return self.api.validate(self.admin, token).status

    def body(self, token):
        return normal(self.api.validate(self.admin, token).want(200).body['token'])


class Beside:
    """Both sides, and a scene that lives in their common store."""

    def __init__(self, checks, first, second, pristine):
        self.c, self.first, self.second = checks, first, second
        self.pristine = pristine        # a database that Keystone alone has made, to compare with
        a, t = first.api, first.admin
        self.roles = a.role_ids(t)
        self.domain = a.make(t, 'domain', name=fresh('domain'))
        self.p = a.make(t, 'project', name=fresh('p'), domain_id=self.domain)
        self.low = a.make(t, 'role', name=fresh('low'))
        self.low_name = a.get('/roles/' + self.low, t).body['role']['name']
        self.svc = self.person(first, 'service')

    def ways(self):
        """(where it is done, where it is looked at), both ways round."""
        return (self.first, self.second), (self.second, self.first)

    def person(self, side, *roles, on=None, password=PW, domain=None):
        """A new user with these roles on the project."""
        user = side.api.make(side.admin, 'user', name=fresh('user'),
                             domain_id=domain or self.domain, password=password)
        for role in roles:
            side.api.grant(side.admin, self.roles.get(role, role), user,
                           on or self.p)
        return user

    def exchange(self, side, door, body):
        svc = side.api.login(self.svc, PW, api.project(self.p))
        return side.api.post(door, svc, body)

    def gone(self, what, *tokens):
        """These tokens validate nowhere. (Keystone says 403 of a trust token whose
        trustor is disabled; Vicar always says 404.)"""
        got = {s: [s.status(t) for t in tokens] for s in (self.first, self.second)}
        self.c.ok('%s: its tokens are dead on both' % what, all(
            x == 404 or (x == 403 and not s.vicar)
            for s, v in got.items() for x in v),
            {s.label: v for s, v in got.items()})

    def live(self, what, *tokens):
        got = {s.label: [s.status(t) for t in tokens] for s in
               (self.first, self.second)}
        return self.c.ok('%s: alive on both before' % what,
                         all(x == 200 for v in got.values() for x in v), got)


def fresh(name):
    return '%s-%s' % (name, secrets.token_hex(4))


def normal(body):
    """A token body without what Vicar tells besides, and without a list's order."""
    body = json.loads(json.dumps(body))
    trust = body.get('OS-TRUST:trust')
    if trust:
        for extra in ('redelegated_trust_id', 'redelegation_count', 'chain', 'source_identity', 'labels'):
            trust.pop(extra, None)
        for extra in ('act', 'delegation_chain'):
            body.pop(extra, None)
    if 'roles' in body:
        body['roles'].sort(key=lambda r: r['id'])
    for s in body.get('catalog', []):
        s['endpoints'].sort(key=lambda e: e['id'])
    body['methods'].sort()
    body.get('catalog', []).sort(key=lambda s: s['id'])
    return body


def difference(a, b):
    return {k: (a.get(k), b.get(k)) for k in sorted({*a, *b})
            if a.get(k) != b.get(k)}


def next_second():
    """Revocations count in seconds: what comes after one must be a second later."""
    time.sleep(1.1)


def eventually(call, seconds=30):
    """Whether it comes true in time, and after how long."""
    begin = time.monotonic()
    while not call():
        if time.monotonic() - begin > seconds:
            return False
        time.sleep(0.2)
    return True


def trust_of(b, side, trustor, trustee, token=None, roles=('member',), **more):
    token = token or side.api.login(trustor, PW, api.project(b.p))
    return side.api.trust(token, trustor, trustee, b.p, roles, **more)


def pytest_generate_tests(metafunc):
    if 'b' in metafunc.fixturenames:
        two = metafunc.config.getoption('--keystone')
        metafunc.parametrize('b', ['two Keystones'] if two else ['vicar-first', 'keystone-first'],
                             indirect=True, scope='module')


@pytest.fixture(scope='module')
def b(request, checks):
    direction = request.param
    with contextlib.ExitStack() as stack:
        # The administrator's password costs what it does by default, all others little.
        if direction == 'vicar-first':
            first = stack.enter_context(server.Vicar(settings={'identity': {}}))
            first.halt()
            server.change_ini(first.settings, server.CHEAP)
            first.start()
            second = stack.enter_context(server.Keystone(store=first.store, settings=server.CHEAP))
            bare = server.Keystone()
            stack.callback(bare.stop)
            bare.manage('db_sync')
            pristine = bare.store.database
        else:
            first = server.Keystone()
            stack.callback(first.stop)
            first.create()
            server.change_ini(first.config, server.CHEAP)
            first.start()
            pristine = first.store.database + '.before'
            shutil.copy(first.store.database, pristine)
            if direction == 'keystone-first':
                second = server.Vicar(config=first.config, store=first.store)
            else:
                second = server.Keystone(store=first.store, settings=server.CHEAP)
            stack.enter_context(second)
        second.password = first.password
        labels = ('the first', 'the second') if first.kind == second.kind else (
            first.kind.capitalize(), second.kind.capitalize())
        yield Beside(checks, Side(first, labels[0]), Side(second, labels[1]), pristine)


def test_tokens(b):
    c = b.c
    for here, there in b.ways():
        a = here.api
        alice = b.person(here, 'member', b.low)
        solum, heat = b.person(here), b.person(here)
        a.put('/domains/%s/users/%s/roles/%s' % (b.domain, alice, b.roles['reader']),
              here.admin).want(204)
        a.put('/system/users/%s/roles/%s' % (alice, b.roles['reader']),
              here.admin).want(204)
        imp = trust_of(b, here, alice, solum, roles=('member', b.low_name),
                       allow_redelegation=True, expires_at=api.stamp(1200))
        non = trust_of(b, here, alice, heat, impersonation=False)
        made = {
            'unscoped': a.login(alice, PW),
            'project': a.login(alice, PW, api.project(b.p)),
            'domain': a.login(alice, PW, api.domain(b.domain)),
            'system': a.login(alice, PW, api.SYSTEM),
            'trust': a.login(solum, PW, api.trust(imp['id'])),
            'trust, no impersonation': a.login(heat, PW, api.trust(non['id'])),
        }
        made['rescoped'] = a.exchange(made['unscoped'], api.project(b.p))
        made['trust by token'] = a.exchange(a.login(solum, PW), api.trust(imp['id']))
        child = trust_of(b, here, alice, heat, made['trust'])
        made['redelegated trust'] = a.login(heat, PW, api.trust(child['id']))
        pair = a.post('/users/%s/credentials/OS-EC2' % alice, made['project'],
                      {'tenant_id': b.p}).want(201).body['credential']
        made['ec2'] = api.Token(b.exchange(here, '/ec2tokens', sign.ec2_v2(
            pair['access'], pair['secret'])))
        for kind, token in made.items():
            what = 'a token of %s, %s' % (here.label, kind)
            x = here.api.validate(here.admin, token)
            y = there.api.validate(there.admin, token)
            if c.equal('%s: validates on both' % what, (x.status, y.status),
                       (200, 200)):
                x, y = (normal(r.body['token']) for r in (x, y))
                c.ok('%s: the same body' % what, x == y, difference(x, y))
                c.ok('%s: the body that was issued' % what,
                     normal(token.body) == y, difference(normal(token.body), y))
            r = there.api.get('/auth/projects', token)
            want = 403 if kind == 'ec2' else 200
            c.status('%s: as X-Auth-Token' % what, r, want)
        # on from here: a token of the one changed into a token of the other
        moved = there.api.exchange(made['unscoped'], api.project(b.p))
        c.equal('exchanged on %s: the audit chain' % there.label,
                moved.body['audit_ids'][1:], made['unscoped'].body['audit_ids'])
        c.equal('exchanged on %s: the expiry' % there.label,
                moved.body['expires_at'], made['unscoped'].body['expires_at'])
        c.equal('exchanged on %s: methods' % there.label,
                sorted(moved.body['methods']), ['password', 'token'])
        for kind in ('trust', 'redelegated trust', 'ec2'):
            c.status('%s token of %s: no exchange on %s' % (
                kind, here.label, there.label),
                there.api.exchange_answer(made[kind], api.project(b.p)), 403)


def test_passwords(b):
    c = b.c
    samples = {
        'short': 'k7', 'of 72 bytes': 'x' * 72, 'of 73 bytes': 'y' * 73,
        'of 200 bytes': ''.join(chr(97 + n % 26) for n in range(200)),
        'of 120 bytes in 40 letters': '\u20ac' * 40,
        'with a cut letter at byte 72': 'z' * 71 + '\u20ac\u20ac',
    }
    for here, there in b.ways():
        for kind, password in samples.items():
            if here.vicar and len(password.encode()) > 72:
                # Keystone keeps 72 bytes of it without a word; Vicar says no.
                answer = here.api.post('/users', here.admin, {'user': {
                    'name': fresh('user'), 'password': password}})
                c.status('a password %s is refused by Vicar' % kind, answer, 400)
                continue
            user = b.person(here, 'member', password=password)
            c.status('%s sets a password %s, %s takes it' % (
                here.label, kind, there.label),
                there.api.login_answer(user, password), 201)
            c.status('... and no other', there.api.login_answer(
                user, 'n' + password), 401)
        old, new = samples['of 72 bytes'], samples['short'] + ' and longer'
        user = b.person(here, 'member', password=old)
        there.api.post('/users/%s/password' % user, there.api.login(user, old),
                       {'user': {'original_password': old,
                                 'password': new}}).want(204)
        next_second()
        for side in (here, there):
            c.status('changed on %s: the new one on %s' % (there.label, side.label),
                     side.api.login_answer(user, new), 201)
            c.status('changed on %s: the old one on %s' % (there.label, side.label),
                     side.api.login_answer(user, old), 401)
        here.api.patch('/users/' + user, here.admin,
                       {'user': {'password': 'reset'}}).want(200)
        next_second()
        c.status('reset on %s: the new one on %s' % (here.label, there.label),
                 there.api.login_answer(user, 'reset'), 201)


def whole(stamp):
    return stamp and stamp[:19] + '.000000Z'


def test_trusts(b):
    c = b.c

    def seen(side, id):
        t = side.api.get('/OS-TRUST/trusts/' + id, side.admin).want(200).body['trust']
        for own in ('links', 'roles_links', 'allow_redelegation', 'evidence'):
            t.pop(own, None)
        t['roles'] = sorted(r['name'] for r in t['roles'])
        # Keystone stores microseconds and shows none.
        t['expires_at'] = whole(t['expires_at'])
        return t

    for here, there in b.ways():
        alice = b.person(here, 'member', b.low)
        solum, heat, aodh = (b.person(here) for _ in range(3))
        first = trust_of(b, here, alice, solum, roles=('member', b.low_name),
                         allow_redelegation=True, expires_at=api.stamp(1800),
                         purpose='a test')
        x, y = seen(here, first['id']), seen(there, first['id'])
        c.ok('a trust of %s reads the same on both' % here.label, x == y,
             difference(x, y))
        t1 = there.api.login(solum, PW, api.trust(first['id']))
        c.equal('%s consumes it: user and roles' % there.label,
                (t1.user, t1.roles),
                (alice, sorted(['member', 'reader', b.low_name])))
        second = trust_of(b, there, alice, heat, t1, allow_redelegation=True)
        c.equal('%s redelegates it' % there.label,
                (second['redelegated_trust_id'], second['redelegation_count'],
                 whole(second['expires_at'])), (first['id'], 2, whole(first['expires_at'])))
        x, y = seen(here, second['id']), seen(there, second['id'])
        c.ok('... and it reads the same on both', x == y, difference(x, y))
        t2 = here.api.login(heat, PW, api.trust(second['id']))
        third = trust_of(b, here, alice, aodh, t2)
        c.equal('%s redelegates that' % here.label, third['redelegation_count'], 0)
        t3 = there.api.login(aodh, PW, api.trust(third['id']))
        c.ok('expiries', max(t1.expires, t2.expires, t3.expires)
             <= api.when(first['expires_at']))
        for side in (here, there):
            own = side.api.login(alice, PW, api.project(b.p))
            ids = {t['id'] for t in side.api.get(
                '/OS-TRUST/trusts?trustor_user_id=' + alice, own).want(200
                                                                     ).body['trusts']}
            c.equal('alice lists all of them on %s' % side.label, ids,
                    {first['id'], second['id'], third['id']})
        b.live('the chain', t1, t2, t3)
        own = there.api.login(alice, PW, api.project(b.p))
        c.status('alice ends the first on %s' % there.label, there.api.delete(
            '/OS-TRUST/trusts/' + first['id'], own), 204)
        b.gone('the chain', t1, t2, t3)
        for side in (here, there):
            c.equal('all of them are 404 on %s' % side.label, {
                side.api.get('/OS-TRUST/trusts/' + t['id'], side.admin).status
                for t in (first, second, third)}, {404})
            c.status('the last yields nothing on %s' % side.label,
                     side.api.login_answer(aodh, PW, api.trust(third['id'])),
                     401, *(() if side.vicar else (404,)))
        counted = trust_of(b, here, alice, solum, remaining_uses=2)
        got = [side.api.login_answer(solum, PW, api.trust(counted['id'])).status
               for side in (here, there, here, there)]
        c.equal('two uses, taken from both sides', got, [201, 201, 401, 401])


def test_credentials(b):
    c = b.c
    made = []
    for here, there in b.ways():
        alice = b.person(here, 'member')
        token = here.api.login(alice, PW, api.project(b.p))
        for kind, blob in (
                ('ec2', json.dumps({'access': secrets.token_hex(16),
                                    'secret': secrets.token_hex(16)})),
                ('totp', 'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ'),
                ('cert', '-----BEGIN \u20ac-----\n' + 'x' * 3000)):
            x = here.api.post('/credentials', token, {'credential': {
                'type': kind, 'blob': blob, 'user_id': alice,
                'project_id': b.p}}).want(201).body['credential']
            made.append((x['id'], kind, x['blob'], here, alice))
            y = there.api.get('/credentials/' + x['id'], there.admin)
            if c.status('%s of %s on %s' % (kind, here.label, there.label), y, 200):
                y = y.body['credential']
                same = (json.loads(y['blob']) == json.loads(x['blob'])
                        if kind == 'ec2' else y['blob'] == x['blob'])
                c.ok('... reads the same', same and all(
                    x[k] == y[k] for k in ('id', 'type', 'user_id', 'project_id')),
                    (x, y))
            if kind == 'ec2':
                b_ = json.loads(blob)
                for side in (here, there):
                    r = b.exchange(side, '/ec2tokens',
                                   sign.ec2_v4_header(b_['access'], b_['secret']))
                    c.status('... exchanges on %s' % side.label, r, 200)
                    r = b.exchange(side, '/s3tokens',
                                   sign.s3_v4(b_['access'], b_['secret']))
                    c.status('... for S3 on %s' % side.label, r, 200)
            else:
                there.api.patch('/credentials/' + x['id'], there.admin, {
                    'credential': {'blob': 'new ' + kind}}).want(200)
                y = here.api.get('/credentials/' + x['id'], here.admin)
                c.equal('... changed on %s' % there.label,
                        y.want(200).body['credential']['blob'], 'new ' + kind)
                made[-1] = (x['id'], kind, 'new ' + kind, here, alice)
        pair = there.api.post(
            '/users/%s/credentials/OS-EC2' % alice,
            there.api.login(alice, PW, api.project(b.p)),
            {'tenant_id': b.p}).want(201).body['credential']
        r = b.exchange(here, '/ec2tokens', sign.ec2_v2(pair['access'],
                                                       pair['secret']))
        c.status('an OS-EC2 keypair of %s on %s' % (there.label, here.label), r, 200)
        dead = api.Token(r)
        here.api.delete('/users/%s/credentials/OS-EC2/%s' % (alice, pair['access']),
                        here.api.login(alice, PW, api.project(b.p))).want(204)
        r = b.exchange(there, '/ec2tokens', sign.ec2_v2(pair['access'],
                                                        pair['secret']))
        c.status('... deleted on %s' % here.label, r, 401,
                 *(() if there.vicar else (404,)))
        if here.vicar:                 # where it was minted, and where it was deleted
            b.gone('a keypair that Vicar deleted', dead)
    k = next(s.server for s in (b.second, b.first) if not s.vicar)
    k.rotate_credential()
    k.rotate_credential()
    for id, kind, blob, here, _alice in made:
        for side in (b.first, b.second):
            got = side.api.get('/credentials/' + id, side.admin)
            c.ok('after new credential keys: %s of %s on %s' % (
                kind, here.label, side.label), got.status == 200 and (
                json.loads(got.body['credential']['blob']) == json.loads(blob)
                if kind == 'ec2' else got.body['credential']['blob'] == blob),
                got.text[:300])
    for here, there in b.ways():
        x = here.api.post('/credentials', here.admin, {'credential': {
            'type': 'cert', 'blob': 'after', 'user_id': b.svc,
            'project_id': b.p}}).want(201).body['credential']
        y = there.api.get('/credentials/' + x['id'], there.admin)
        c.ok('after new credential keys: new ones of %s on %s' % (
            here.label, there.label), y.status == 200
            and y.body['credential']['blob'] == 'after', y.text[:300])


def test_revocations(b):
    c = b.c
    for here, there in b.ways():
        a = here.api
        say = 'on %s: %s' % (here.label, '%s')

        def project_token(user, side=there):
            return side.api.login(user, PW, api.project(b.p))

        # one token; with what came from it, or without
        alice = b.person(here, 'member')
        root = there.api.login(alice, PW)
        child = there.api.exchange(root, api.project(b.p))
        other = project_token(alice)
        b.live(say % 'a token is revoked', root, child, other)
        a.revoke(here.admin, root).want(204)
        b.gone(say % 'a token is revoked', root, child)
        c.equal('... another login lives', there.status(other), 200)
        root = there.api.login(alice, PW)
        child = there.api.exchange(root, api.project(b.p))
        a.delete('/auth/tokens?cascade=false', here.admin,
                 headers={'X-Subject-Token': child.id}).want(204)
        b.gone(say % 'one token without its kin', child)
        c.equal('... its source lives', there.status(root), 200)
        a.revoke(other, other).want(204)
        b.gone(say % 'a token revokes itself', other)

        # all tokens of a user
        root, scoped = there.api.login(alice, PW), project_token(alice)
        b.live(say % 'all tokens of a user', root, scoped)
        next_second()
        a.delete('/users/%s/tokens' % alice, here.admin).want(204)
        b.gone(say % 'all tokens of a user', root, scoped)

        # a user: disabled, back, password, deleted; and a trust with each
        for what, act, back in (
                ('user disabled', {'enabled': False}, {'enabled': True}),
                ('password reset', {'password': 'else'}, {'password': PW})):
            for whom in ('trustor', 'trustee'):
                trustor, trustee = b.person(here, 'member'), b.person(here)
                trust = trust_of(b, there, trustor, trustee)
                who = trustor if whom == 'trustor' else trustee
                login = there.api.login(who, PW)
                used = there.api.login(trustee, PW, api.trust(trust['id']))
                label = say % '%s, the %s' % (what, whom)
                b.live(label, login, used)
                next_second()
                a.patch('/users/' + who, here.admin, {'user': act}).want(200)
                b.gone(label, login, used)
                a.patch('/users/' + who, here.admin, {'user': back}).want(200)
                next_second()
                b.gone(label + ', and back', login, used)
                r = there.api.login_answer(trustee, PW, api.trust(trust['id']))
                c.status(label + ': the trust lives on', r, 201)
        trustor, trustee = b.person(here, 'member'), b.person(here)
        trust = trust_of(b, there, trustor, trustee)
        used = there.api.login(trustee, PW, api.trust(trust['id']))
        a.delete('/users/' + trustor, here.admin).want(204)
        b.gone(say % 'the trustor deleted', used)
        c.equal(say % 'the trustor deleted: the trust', [
            s.api.get('/OS-TRUST/trusts/' + trust['id'], s.admin).status
            for s in (here, there)], [404, 404])

        # the password, changed by its owner
        alice = b.person(here, 'member')
        old = project_token(alice)
        next_second()
        a.post('/users/%s/password' % alice, old, {'user': {
            'original_password': PW, 'password': 'else'}}).want(204)
        b.gone(say % 'a password changed by its owner', old)

        # a trust
        alice, solum, heat = b.person(here, 'member'), b.person(here), b.person(here)
        trust = trust_of(b, there, alice, solum, allow_redelegation=True)
        used = there.api.login(solum, PW, api.trust(trust['id']))
        below = trust_of(b, there, alice, heat, used)
        lower = there.api.login(heat, PW, api.trust(below['id']))
        b.live(say % 'a trust deleted', used, lower)
        a.delete('/OS-TRUST/trusts/' + trust['id'],
                 a.login(alice, PW, api.project(b.p))).want(204)
        b.gone(say % 'a trust deleted', used, lower)

        # roles: a grant, a membership, the role itself
        alice, solum = b.person(here, 'member', b.low), b.person(here)
        trust = trust_of(b, there, alice, solum, roles=(b.low_name,))
        used = there.api.login(solum, PW, api.trust(trust['id']))
        plain = project_token(alice)
        grant = '/projects/%s/users/%s/roles/%s' % (b.p, alice, b.low)
        next_second()
        a.delete(grant, here.admin).want(204)
        for side in (here, there):
            if here.vicar and side.vicar:
                # What a login loses in its place ends it.
                c.equal(say % 'a grant taken: the login', side.status(plain), 404)
            elif c.equal(say % 'a grant taken: the login, with what is left', side.status(plain), 200):
                c.ok(say % 'a grant taken: not in the token any more', b.low_name not in [
                    r['name'] for r in side.body(plain)['roles']])
        c.status(say % 'a grant taken: the trust yields nothing',
                 there.api.login_answer(solum, PW, api.trust(trust['id'])),
                 401, *(() if there.vicar else (403,)))
        dead = {404} if here.vicar and there.vicar else {404, 403}
        c.ok(say % 'a grant taken: the trust\'s token',
             {here.status(used), there.status(used)} <= dead,
             (here.status(used), there.status(used)))
        if here.vicar:
            a.put(grant, here.admin).want(204)
            c.equal(say % 'and given back: the old token', here.status(used), 404)
            c.equal('... beside it', there.status(used), 404)
        group = a.make(here.admin, 'group', name=fresh('group'), domain_id=b.domain)
        a.put('/projects/%s/groups/%s/roles/%s' % (b.p, group, b.roles['member']),
              here.admin).want(204)
        alice = b.person(here)
        a.put('/groups/%s/users/%s' % (group, alice), here.admin).want(204)
        token = project_token(alice)
        b.live(say % 'a membership taken', token)
        next_second()
        a.delete('/groups/%s/users/%s' % (group, alice), here.admin).want(204)
        b.gone(say % 'a membership taken', token)
        role = a.make(here.admin, 'role', name=fresh('role'))
        alice = b.person(here, role)
        token = project_token(alice)
        a.delete('/roles/' + role, here.admin).want(204)
        b.gone(say % 'the only role deleted', token)

        # places
        for kind in ('project', 'domain'):
            d = a.make(here.admin, 'domain', name=fresh('d'))
            p = a.make(here.admin, 'project', name=fresh('p'), domain_id=d)
            alice = b.person(here, 'member', on=p, domain=d)
            solum = b.person(here)
            token = there.api.login(alice, PW, api.project(p))
            trust = there.api.trust(token, alice, solum, p, ['member'])
            used = there.api.login(solum, PW, api.trust(trust['id']))
            b.live(say % (kind + ' disabled'), token, used)
            path = '/%ss/%s' % (kind, p if kind == 'project' else d)
            next_second()
            a.patch(path, here.admin, {kind: {'enabled': False}}).want(200)
            b.gone(say % (kind + ' disabled'), token, used)
            a.patch(path, here.admin, {kind: {'enabled': True}}).want(200)
            next_second()
            if here.vicar:             # Keystone keeps no record of it
                b.gone(say % (kind + ' disabled, and back'), token, used)
            c.status(say % (kind + ' back: a login'),
                     there.api.login_answer(alice, PW, api.project(p)), 201)
            a.delete('/projects/' + p, here.admin).want(204)
            c.equal(say % 'project deleted: the trust', [
                s.api.get('/OS-TRUST/trusts/' + trust['id'], s.admin).status
                for s in (here, there)], [404, 404])


def test_keypairs(b):
    """Keypairs that Vicar made from trusts, at the Keystone beside it."""
    c = b.c
    v = next((s for s in (b.first, b.second) if s.vicar), None)
    k = next((s for s in (b.first, b.second) if not s.vicar), None)
    if not v:
        c.skip('keypairs of trusts', 'Keystone makes none')
        return

    def born(impersonation=True, uses=None, **more):
        alice, solum = b.person(v, 'member', b.low), b.person(v)
        trust = trust_of(b, v, alice, solum, roles=('member',),
                         impersonation=impersonation, expires_at=api.stamp(1200))
        token = v.api.login(solum, PW, api.trust(trust['id']))
        owner = alice if impersonation else solum
        pair = v.api.post('/users/%s/credentials/OS-EC2' % owner, token,
                          dict(tenant_id=b.p, **more)).want(201).body['credential']
        return alice, solum, trust, pair

    def at_keystone(what, trust, pair, roles):
        """Refused, or no more than Vicar would give; the token if there is one."""
        found = None
        for door, forms in sign.FORMS.items():
            for form, maker in forms:
                r = b.exchange(k, door, maker(pair['access'], pair['secret']))
                label = '%s, %s at Keystone' % (what, form)
                if r.status != 200:
                    c.status(label + ': refused', r, 401, 403, 404)
                    continue
                body = r.body['token']
                block = body.get('OS-TRUST:trust', {})
                c.ok(label + ': no more than the trust', block.get('id') == trust['id']
                     and {x['name'] for x in body['roles']} <= set(roles)
                     and api.when(body['expires_at'])
                     <= api.when(trust['expires_at'])
                     and body['project']['id'] == b.p,
                     (block, body['roles'], body['expires_at']))
                found = r.headers.get('X-Subject-Token') or found
        return found

    for impersonation in (True, False):
        how = 'impersonating' if impersonation else 'not impersonating'
        alice, solum, trust, pair = born(impersonation)
        r = b.exchange(v, '/ec2tokens', sign.ec2_v2(pair['access'], pair['secret']))
        ours = api.Token(r)
        x, y = v.api.validate(v.admin, ours), k.api.validate(k.admin, ours)
        if c.equal('%s: Vicar\'s token validates on both' % how,
                   (x.status, y.status), (200, 200)):
            x, y = (normal(z.body['token']) for z in (x, y))
            c.ok('%s: the same body' % how, x == y, difference(x, y))
        c.status('%s: it does nothing on Keystone' % how,
                 k.api.get('/users/' + alice, ours), 403)
        c.status('%s: nor changes into another there' % how,
                 k.api.exchange_answer(ours, api.project(b.p)), 403)
        theirs = at_keystone(how, trust, pair, {'member', 'reader'})
        # ended over there
        owner = k.api.login(alice, PW, api.project(b.p))
        k.api.delete('/OS-TRUST/trusts/' + trust['id'], owner).want(204)
        b.gone('%s: the trust ended on Keystone' % how,
               *[t for t in (ours, theirs) if t])
        for side in (v, k):
            r = b.exchange(side, '/ec2tokens', sign.ec2_v2(pair['access'],
                                                           pair['secret']))
            c.status('%s: and its keypair on %s' % (how, side.label), r,
                     401, *(() if side.vicar else (403, 404)))
        c.status('%s: which is gone on Vicar' % how, v.api.get(
            '/users/%s/credentials/OS-EC2/%s' % (
                alice if impersonation else solum, pair['access']), v.admin), 404)

    alice, solum, trust, pair = born(roles=[{'name': 'reader'}])
    at_keystone('narrowed to a role', trust, pair, {'reader'})
    r = b.exchange(v, '/ec2tokens', sign.ec2_v2(pair['access'], pair['secret']))
    ours = api.Token(r)
    # Keystone knows no narrowing: it must refuse the token rather than give it all.
    c.equal('narrowed: roles of Vicar\'s token, refused by Keystone', [
        [x['name'] for x in s.body(ours)['roles']] if s.status(ours) == 200
        else s.status(ours) for s in (v, k)], [['reader'], 404])
    v.api.delete('/users/%s/credentials/OS-EC2/%s' % (alice, pair['access']),
                 v.api.login(alice, PW, api.project(b.p))).want(204)
    b.gone('a keypair deleted on Vicar', ours)

    alice, solum, trust, pair = born(expires_at=api.stamp(3))
    time.sleep(4)
    for side in (v, k):
        r = b.exchange(side, '/ec2tokens', sign.ec2_v2(pair['access'],
                                                       pair['secret']))
        c.status('an expired keypair on %s' % side.label, r, 401,
                 *(() if side.vicar else (403, 404)))

    # Keystone's hands on a keypair of Vicar's
    alice, solum, trust, pair = born()
    id = next((x['id'] for x in k.api.get('/credentials?type=ec2&user_id=' + alice,
                                          k.admin).want(200).body['credentials']
               if pair['access'] in x['blob']), None)
    if id:
        bare = json.dumps({'access': pair['access'], 'secret': pair['secret']})
        r = k.api.patch('/credentials/' + id, k.api.login(
            alice, PW, api.project(b.p)), {'credential': {'blob': bare}})
        for side in (v, k):
            r = b.exchange(side, '/ec2tokens', sign.ec2_v2(pair['access'],
                                                           pair['secret']))
            ok = r.status in (401, 403, 404) or (
                r.status == 200 and {x['name'] for x in r.body['token']['roles']}
                <= {'member', 'reader'} and r.body['token'].get(
                    'OS-TRUST:trust', {}).get('id') == trust['id'])
            c.ok('its blob rewritten on Keystone: no more on %s' % side.label, ok,
                 r.text[:300])
        k.api.delete('/credentials/' + id, k.admin).want(204)
        r = b.exchange(v, '/ec2tokens', sign.ec2_v2(pair['access'], pair['secret']))
        c.status('deleted on Keystone: refused on Vicar', r, 401)
    else:
        c.skip('rewriting the blob on Keystone', 'Keystone does not see the row')


def test_terms(b):
    """Trusts with terms, which Keystone has no place for: to it they are deleted."""
    c = b.c
    v = next((s for s in (b.first, b.second) if s.vicar), None)
    k = next((s for s in (b.first, b.second) if not s.vicar), None)
    if not v or not k:
        c.skip('terms of trusts', 'this wants both')
        return
    anything = [{'service': 'tiny', 'method': 'GET', 'path': '/**'},
                {'service': 'identity', 'method': 'POST', 'path': '/**'}]
    for what, terms in (('access rules', {'access_rules': anything}),
                        ('a beginning', {'not_before': api.stamp(-5)}),
                        ('a longest life of tokens', {'max_token_ttl': 600}),
                        ('a recent login', {'max_login_age': 600, 'required_methods': ['password']})
                        )[:4 if b.first.vicar else 1]:
        alice, solum, heat = b.person(v, 'member'), b.person(v), b.person(v)
        trust = trust_of(b, v, alice, solum, allow_redelegation=True,
                         expires_at=api.stamp(1200), **terms)
        id = trust['id']
        token = v.api.login(solum, PW, api.trust(id))
        # A child has its parent's terms, though it asks for none.
        child = trust_of(b, v, alice, heat, token)
        below = v.api.login(heat, PW, api.trust(child['id']))
        own = {s: s.api.login(alice, PW, api.project(b.p)) for s in (v, k)}
        pair = v.api.post('/users/%s/credentials/OS-EC2' % alice, token, {
            'tenant_id': b.p}).want(201).body['credential']
        signed = sign.ec2_v2(pair['access'], pair['secret'])
        header = {'OpenStack-Identity-Access-Rules': '1.0', 'X-Subject-Token': token.id}
        c.equal('%s: Vicar lists them, and shows their tokens to who enforces rules' % what, [
            {t['id'] for t in v.api.get('/OS-TRUST/trusts?trustor_user_id=' + alice,
                                        own[v]).want(200).body['trusts']},
            v.api.call('GET', '/auth/tokens', v.admin, headers=header).status],
            [{id, child['id']}, 200])
        c.equal('%s: Keystone has none, and gives nothing' % what, [
            k.api.get('/OS-TRUST/trusts?trustor_user_id=' + alice,
                      own[k]).want(200).body['trusts'],
            [k.api.get('/OS-TRUST/trusts/' + x, k.admin).status for x in (id, child['id'])],
            [k.api.login_answer(who, PW, api.trust(x)).status in (401, 403, 404)
             for who, x in ((solum, id), (heat, child['id']))],
            [k.api.call('GET', '/auth/tokens', k.admin, headers=dict(
                header, **{'X-Subject-Token': t.id})).status for t in (token, below)],
            k.api.trust_answer(token, alice, heat, b.p, ['member']).status in (401, 404),
            b.exchange(k, '/ec2tokens', signed).status in (401, 403, 404),
            k.api.delete('/OS-TRUST/trusts/' + id, own[k]).status],
            [[], [404, 404], [True, True], [404, 404], True, True, 404])
        c.status('%s: on Vicar all that changed nothing' % what,
                 v.api.login_answer(heat, PW, api.trust(child['id'])), 201)
        # What suspends a trust there, and ends it, holds here.
        grant = '/projects/%s/users/%s/roles/%s' % (b.p, alice, b.roles['member'])
        k.api.delete(grant, k.admin).want(204)
        c.status('%s: its role is taken on Keystone' % what,
                 v.api.login_answer(heat, PW, api.trust(child['id'])), 401)
        k.api.put(grant, k.admin).want(204)
        next_second()
        c.status('... and given back', v.api.login_answer(heat, PW, api.trust(child['id'])), 201)
        k.api.delete('/users/' + solum, k.admin).want(204)
        c.status('%s: its trustee is deleted on Keystone' % what,
                 v.api.login_answer(heat, PW, api.trust(child['id'])), 401)
    alice, solum = b.person(v, 'member'), b.person(v)
    trust = trust_of(b, v, alice, solum, max_token_ttl=600)
    token = v.api.login(solum, PW, api.trust(trust['id']))
    k.server.manage('trust_flush')
    c.equal('keystone-manage trust_flush removes what it takes for deleted',
            [v.api.login_answer(solum, PW, api.trust(trust['id'])).status, v.status(token)], [401, 404])


def test_acts(b):
    """Trusts that are suspended or adopted: to a Keystone they are deleted, and come back when they are resumed."""
    c = b.c
    v = next((s for s in (b.first, b.second) if s.vicar), None)
    k = next((s for s in (b.first, b.second) if not s.vicar), None)
    if not v or not k:
        c.skip('acts on trusts', 'this wants both')
        return
    alice, solum, heat = b.person(v, 'member'), b.person(v), b.person(v)
    erin = b.person(v, 'member', 'manager')  # who decides about the trusts of others
    said = {'source_identity': 'a pipeline', 'labels': {'run': '7'}}
    trust = trust_of(b, v, alice, solum, allow_redelegation=True, **said)['id']
    child = trust_of(b, v, alice, heat, v.api.login(solum, PW, api.trust(trust)))['id']

    def gives(side):
        return [side.api.login_answer(who, PW, api.trust(x)).status for who, x in ((solum, trust), (heat, child))]

    def own(side, who=alice):
        return side.api.login(who, PW, api.project(b.p))

    def act(what, token, body=None):
        return v.api.post('/OS-TRUST/trusts/%s/%s' % (trust, what), token, body)

    shown = k.api.get('/OS-TRUST/trusts/' + child, own(k)).want(200).body['trust']
    c.equal('a Keystone shows what is said of the origin', {n: shown.get(n) for n in said}, said)
    c.equal('both give the trust and the one below', [gives(v), gives(k)], [[201, 201]] * 2)
    tokens = [s.api.login(heat, PW, api.trust(child)) for s in (v, k)]
    act('suspend', own(v), {'suspension': {'reason': 'a look at it'}}).want(200)
    refused = [status in (401, 403, 404) for s in (v, k) for status in gives(s)]
    c.equal('suspended: neither gives anything', refused, [True] * 4)
    c.equal('suspended: the tokens of both are dead on both',
            [s.status(t) for s in (v, k) for t in tokens], [404] * 4)
    c.status('suspended: a Keystone has it no more', k.api.get('/OS-TRUST/trusts/' + trust, k.admin), 404)
    act('resume', own(v)).want(200)
    next_second()
    c.equal('resumed: both give it again', [gives(v), gives(k)], [[201, 201]] * 2)
    c.equal('resumed: tokens of before stay dead', [s.status(t) for s in (v, k) for t in tokens], [404] * 4)
    v.api.delete('/OS-TRUST/trusts/%s/tokens' % trust, own(v)).want(204)
    token = k.api.login(heat, PW, api.trust(child))
    next_second()
    late = k.api.login(heat, PW, api.trust(child))
    v.api.delete('/OS-TRUST/trusts/%s/tokens' % trust, own(v)).want(204)
    c.equal('the end of its tokens holds on both', [s.status(t) for s in (v, k) for t in (token, late)], [404] * 4)
    next_second()
    act('adopt', own(v, erin)).want(200)
    next_second()
    c.equal('adopted: it gives here, and not on a Keystone',
            [gives(v), [status in (401, 403, 404) for status in gives(k)]], [[201, 201], [True, True]])
    token = v.api.login(heat, PW, api.trust(child))
    k.api.delete('/users/' + alice, k.admin).want(204)
    c.equal('adopted: its trustor is deleted on Keystone, and it goes on',
            [gives(v), v.status(token)], [[201, 201], 200])
    c.status('adopted: a Keystone shows no token of it', k.api.validate(k.admin, token), 404)
    k.api.delete('/users/' + erin, k.admin).want(204)
    c.equal('adopted: its adopter is deleted on Keystone, and it ends', [gives(v), v.status(token)], [[401, 401], 404])


def test_rotation(b):
    """New Fernet keys by either one's command, while both run."""
    c = b.c
    made = []                             # tokens, oldest first, one round a list
    user = b.person(b.first, 'member')

    def issue():
        return [s.api.login(user, PW, api.project(b.p)) for s in (b.first, b.second)]

    made.append(issue())
    for n, rotator in enumerate((b.first, b.second, b.second, b.first)):
        rotator.server.rotate_fernet()
        time.sleep(0.5)
        what = 'rotation %d, by %s' % (n + 1, rotator.label)
        made.append(issue())
        for side in (b.first, b.second):
            side.renew()
        for side in (b.first, b.second):
            for age, tokens_ in (('before', made[-2]), ('after', made[-1])):
                for who, token in zip((b.first, b.second), tokens_):
                    begin = time.monotonic()
                    ok = eventually(lambda: side.status(token) == 200)
                    late = time.monotonic() - begin
                    c.ok('%s: a token of %s from %s, on %s%s' % (
                        what, who.label, age, side.label,
                        ' (after %.0f s)' % late if late > 2 else ''), ok,
                        side.status(token))
            if len(made) > 2:
                c.ok('%s: tokens of the keys that went, on %s' % (what, side.label),
                     eventually(lambda: all(side.status(t) == 404
                                            for t in made[-3])),
                     [side.status(t) for t in made[-3]])
    # Its store ages as any other: Keystone's own housekeeping finds nothing odd
    k = next(s.server for s in (b.second, b.first) if not s.vicar)
    c.ok('keystone-manage trust_flush', k.manage('trust_flush') is not None)
    c.ok('keystone-manage db_sync --check', k.manage('db_sync', '--check') is not None)


def test_schema(b):
    script = os.path.join(harness.REPO, 'tests', 'keystone', 'schema.py')
    v = next((s for s in (b.first, b.second) if s.vicar), b.first)
    if not b.c.ok('tests/keystone/schema.py is there', os.path.exists(script)):
        return
    done = subprocess.run([sys.executable, script, v.server.store.database, b.pristine],
                          text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    b.c.ok('the schema that %s serves is Keystone\'s' % v.label, done.returncode == 0,
           done.stdout[-3000:])


@pytest.mark.parametrize('script, file', [
    ('options.py', 'server/src/config/keystone.txt'),
    ('routes.py', 'server/tests/api/keystone-routes.txt'),
])
def test_facts(b, script, file):
    python, script = harness.env_bin('keystone', 'python'), os.path.join(harness.REPO, 'tests', 'keystone', script)
    done = subprocess.run([python, script], text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    with open(os.path.join(harness.REPO, file)) as f:
        b.c.ok('%s is what this Keystone has' % file, done.stdout == f.read())
