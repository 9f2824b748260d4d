"""The story of delegation, told with the clients that people use.

    pytest clients.py                  starts Vicar and plays everything on it
    pytest clients.py --keystone       the same scenes on a Keystone 30.0.0, as far
                                       as they must hold there: a test of the tests
    --url URL --admin-password SECRET  on a server that runs (.../v3); add --keystone
                                       if it is one

Cast: alice trusts solum, solum hands on to heat, heat to aodh; a service user
exchanges signed requests. All with keystoneauth1 and keystoneclient here; the same
resources with openstacksdk in sdk_story.py and with `openstack` in cli_story.py.
"""
import concurrent.futures
import datetime
import hashlib
import json
import secrets
import subprocess
import time

import harness

harness.run_in('clients')

import pytest
from keystoneauth1 import exceptions as ka
from keystoneauth1 import session as ka_session
from keystoneauth1.identity import v3 as ka_v3
from keystoneclient.v3 import client as ks_client
from oslo_config import cfg as oslo_config
from oslo_limit import exception as oslo_exception
from oslo_limit import limit as oslo_limit

import api
import cli_story
import sdk_story
import server
import sign

GONE = 'gone'                 # see check_forms
PEOPLE = ('alice', 'solum', 'heat', 'aodh', 'svc')


class World:
    """The server, the administrator, and the cast."""

    def __init__(self, checks, srv):
        self.c = checks
        self.server = srv
        self.url = srv.url
        self.vicar = srv.kind == 'vicar'
        self.tag = secrets.token_hex(3)          # a scene can be set again and again
        self.api = api.Api(srv.url)
        self.admin_session = self.session_of(ka_v3.Password(
            auth_url=self.url, username='admin', password=srv.password,
            user_domain_id='default', project_name='admin',
            project_domain_id='default'))
        self.admin = self.client(self.admin_session)
        self.ids, self.passwords, self.names = {}, {}, {}

    def name(self, short):
        return '%s-%s' % (short, self.tag)

    @staticmethod
    def session_of(auth):
        return ka_session.Session(auth=auth)

    def client(self, session):
        # an unscoped token brings no catalog to look the endpoint up in
        place = ({'endpoint_override': self.url} if session.auth.unscoped
                 else {'interface': 'public'})
        return ks_client.Client(session=session, **place)

    def session(self, who, trust=None, project=None, password=None):
        more = {}
        if trust:
            more['trust_id'] = trust
        elif project:
            more['project_id'] = project
        return self.session_of(ka_v3.Password(
            auth_url=self.url, user_id=self.ids[who],
            password=password or self.passwords[who], unscoped=not more, **more))

    def as_user(self, who, **kw):
        return self.client(self.session(who, **kw))

    def exchange(self, door, body, session=None):
        """A signed request at an exchange door, as the service user by default."""
        return (session or self.svc).post(self.url + door, json=body,
                                          raise_exc=False)

    def validate(self, token):
        """Status at validation by the service user."""
        return self.svc.get(self.url + '/auth/tokens', raise_exc=False,
                            headers={'X-Subject-Token': token}).status_code

    def alice_again(self):
        """Alice logs in anew, after something that may have ended her tokens.

        Revocations count in seconds, so a second later.
        """
        time.sleep(1.1)
        self.alice = self.as_user('alice', project=self.ids['p'])

    def raw(self, method, path, token, body=None):
        return self.api.call(method, path, token, body)

    def set_the_scene(self):
        k = self.admin
        for short in ('p', 'q', 'services'):
            self.ids[short] = k.projects.create(self.name(short), 'default').id
        for role in ('heat_stack_owner', 'heat_stack_user', 'private', 'late'):
            self.names[role] = self.name(role)
            self.ids[role] = k.roles.create(self.name(role)).id
        roles = {r.name: r.id for r in k.roles.list()}
        for role in ('member', 'reader', 'service'):
            self.ids[role] = roles[role]
        k.inference_rules.create(self.ids['heat_stack_owner'],
                                 self.ids['heat_stack_user'])
        for who in PEOPLE:
            self.passwords[who] = secrets.token_hex(12)
            self.ids[who] = k.users.create(self.name(who), domain='default',
                                           password=self.passwords[who]).id
        for role in ('member', 'heat_stack_owner', 'private'):
            k.roles.grant(self.ids[role], user=self.ids['alice'],
                          project=self.ids['p'])
        k.roles.grant(self.ids['member'], user=self.ids['alice'],
                      project=self.ids['q'])
        k.roles.grant(self.ids['service'], user=self.ids['svc'],
                      project=self.ids['services'])
        self.svc = self.session('svc', project=self.ids['services'])
        self.alice = self.as_user('alice', project=self.ids['p'])
        # what a trust over these two roles yields, implied roles and all
        self.delegated = [self.names['heat_stack_owner'], 'member']
        self.effective = sorted([self.names['heat_stack_owner'],
                                 self.names['heat_stack_user'], 'member', 'reader'])
        self.all_of_alice = sorted(self.effective + [self.names['private']])
        self.c.ok('the administrator made projects, roles and users', True)

    def access(self, session):
        return session.auth.get_access(session)

    def chain_of(self, impersonation, expires=None):
        """Three trusts from alice to aodh; [(trust, session of its trustee)]."""
        made, maker, trustor = [], self.alice, 'alice'
        for n, trustee in enumerate(('solum', 'heat', 'aodh')):
            more = {} if n == 2 else {'allow_redelegation': True}
            trust = maker.trusts.create(
                self.ids[trustee], self.ids[trustor], role_names=self.delegated,
                project=self.ids['p'], impersonation=impersonation,
                expires_at=expires if n == 0 else None, **more)
            session = self.session(trustee, trust=trust.id)
            made.append((trust, session))
            maker = self.client(session)
            trustor = 'alice' if impersonation else trustee
        return made


@pytest.fixture(scope='module')
def w(checks, options):
    with server.asked_for(options) as srv:
        print('server: %s (%s)' % (srv.url, srv.kind))
        world = World(checks, srv)
        world.set_the_scene()
        yield world


def check_trust_token(w, what, body, trust, user, methods, chain):
    """A token body against the rules: `chain` is [(trust, trustor, trustee)]."""
    c = w.c
    block = body.get('OS-TRUST:trust') or {}
    c.equal('%s: the user' % what, body['user']['id'], w.ids[user])
    c.equal('%s: the project' % what, body['project']['id'], w.ids['p'])
    c.equal('%s: methods' % what, body['methods'], methods)
    c.equal('%s: the roles, each once' % what,
            sorted(r['name'] for r in body['roles']), w.effective)
    c.equal('%s: the trust block' % what,
            (block.get('id'), block.get('impersonation'),
             block.get('trustor_user', {}).get('id'),
             block.get('trustee_user', {}).get('id')),
            (trust.id, trust.impersonation, trust.trustor_user_id,
             trust.trustee_user_id))
    if trust.expires_at:
        c.ok('%s: expires with the trust at the latest' % what,
             api.when(body['expires_at']) <= api.when(trust.expires_at),
             '%s > %s' % (body['expires_at'], trust.expires_at))
    if w.vicar and len(chain) > 1:
        links = [(x.get('trust_id', x.get('id')),
                  x.get('trustor_user_id', (x.get('trustor_user') or {}).get('id')),
                  x.get('trustee_user_id', (x.get('trustee_user') or {}).get('id')),
                  x.get('impersonation'))
                 for x in block.get('chain', [])]
        c.equal('%s: the chain from the root to here' % what, links,
                [(t.id, t.trustor_user_id, t.trustee_user_id, t.impersonation)
                 for t in chain])
        c.equal('%s: its parent and depth' % what,
                (block.get('redelegated_trust_id'), block.get('redelegation_count')),
                (chain[-2].id, trust.redelegation_count))


def check_forms(w, what, pair, status=200, forms=None):
    """Exchange every form of signature; the answers that came with the status. `GONE`: there is no
    such keypair."""
    good = []
    for door, makers in (forms or sign.FORMS).items():
        for name, maker in makers:
            r = w.exchange(door, maker(pair.access, pair.secret))
            if status is GONE:
                gone(w, '%s, %s' % (what, name), door, r)
            elif w.c.ok('%s, %s at %s: %d' % (what, name, door, status),
                      r.status_code == status,
                      '%s %s' % (r.status_code, r.text[:300])) and status == 200:
                good.append((name, door, r))
    return good


def gone(w, what, door, r):
    """How an unknown access id is answered. Ceph's gateway tells it from a wrong signature by 404;
    heat-api-cfn knows 401 alone."""
    wanted = [404] if door == '/s3tokens' or not w.vicar else [401]
    if not w.vicar:
        wanted.append(401)
    w.c.ok('%s at %s: %d' % (what, door, wanted[0]), r.status_code in wanted,
           '%s %s' % (r.status_code, r.text[:300]))


def dead(w, what, token):
    """A dead token is 404 at validation, and 401 as a login."""
    w.c.equal('%s: 404 at validation' % what, w.validate(token), 404)
    # Keystone answers 404 here when the trust is gone
    status = w.raw('GET', '/users/' + w.ids['alice'], token).status
    w.c.ok('%s: 401 as X-Auth-Token' % what,
           status == 401 or (not w.vicar and status == 404), status)


def test_chain(w):
    """Alice trusts solum, who hands on to heat, who hands on to aodh."""
    c = w.c
    expires = (datetime.datetime.now(datetime.UTC)
               .replace(tzinfo=None) + datetime.timedelta(minutes=30))
    links = w.chain_of(True, expires)
    trusts = [t for t, _ in links]
    c.equal('redelegation counts', [t.redelegation_count for t in trusts], [3, 2, 0])
    c.equal('each link names its parent',
            [getattr(t, 'redelegated_trust_id', None) for t in trusts],
            [None, trusts[0].id, trusts[1].id])
    c.equal('an expiry that is not said is the parent\'s',
            {t.expires_at for t in trusts}, {trusts[0].expires_at})
    c.equal('the trustor of each link is alice',
            {t.trustor_user_id for t in trusts}, {w.ids['alice']})
    if w.vicar:
        c.equal('allow_redelegation is told', [getattr(t, 'allow_redelegation', None)
                                               for t in trusts], [True, True, False])
    tokens = []
    for n, (trust, session) in enumerate(links):
        access = w.access(session)
        c.ok('keystoneauth: trust-scoped, trust id, trustor and trustee',
             access.trust_scoped and access.trust_id == trust.id
             and access.trustor_user_id == w.ids['alice']
             and access.trustee_user_id == trust.trustee_user_id)
        data = w.client(w.svc).tokens.get_token_data(access.auth_token)['token']
        check_trust_token(w, 'token %d' % n, data, trust, 'alice', ['password'],
                          trusts[:n + 1])
        tokens.append(access.auth_token)

    solum, heat, aodh = (w.client(s) for _, s in links)
    refuse = dict(project=w.ids['p'], impersonation=True)
    c.raises('a leaf has no children', lambda: aodh.trusts.create(
        w.ids['svc'], w.ids['alice'], role_names=['member'], **refuse), ka.Forbidden)
    c.raises('no role from outside the parent', lambda: heat.trusts.create(
        w.ids['svc'], w.ids['alice'], role_ids=[w.ids['private']], **refuse),
        ka.Forbidden)
    if w.vicar:                                 # Keystone lets this through
        c.raises('no other project', lambda: heat.trusts.create(
            w.ids['svc'], w.ids['alice'], role_names=['member'],
            project=w.ids['q'], impersonation=True), ka.Forbidden)
    c.raises('no later expiry', lambda: heat.trusts.create(
        w.ids['svc'], w.ids['alice'], role_names=['member'],
        expires_at=expires + datetime.timedelta(hours=1), **refuse), ka.Forbidden)
    c.raises('somebody else cannot consume it',
             lambda: w.access(w.session('heat', trust=trusts[0].id)), ka.Forbidden)
    c.raises('nor can the trustor',
             lambda: w.access(w.session('alice', trust=trusts[0].id)), ka.Forbidden)
    r = w.api.exchange_answer(tokens[2], api.project(w.ids['p']))
    c.status('a trust token rescopes to nothing', r, 403)
    c.status('its bearer cannot list alice\'s trusts',
             w.raw('GET', '/OS-TRUST/trusts', tokens[2]), 403)
    if w.vicar:                                 # and this
        c.status('nor change her password',
                 w.raw('POST', '/users/%s/password' % w.ids['alice'], tokens[2],
                       {'user': {'password': 'x', 'original_password':
                                 w.passwords['alice']}}), 403)
    c.ok('alice reads every link', all(
        w.alice.trusts.get(t.id).id == t.id for t in trusts))
    mine = {t.id for t in w.alice.trusts.list(trustor_user=w.ids['alice'])}
    c.ok('alice lists every link', mine >= {t.id for t in trusts})
    held = {t.id for t in w.as_user('aodh').trusts.list(trustee_user=w.ids['aodh'])}
    c.ok('aodh lists what it was given', trusts[2].id in held)

    pairs = keypairs(w, links) if w.vicar else refused_keypairs(w, links)
    if w.vicar:
        plan = w.raw('DELETE', '/OS-TRUST/trusts/%s?dry_run=true' % trusts[0].id,
                     w.alice.session.get_token())
        c.status('a dry run tells what would end', plan, 200)
        c.ok('... all links and keypairs of it', all(
            x in plan.text for x in [t.id for t in trusts]
            + [p.access for p in pairs]), plan.text[:600])
        c.ok('... and no secret', not any(p.secret in plan.text for p in pairs))
        tree = w.raw('GET', '/OS-TRUST/trusts/%s/lineage' % trusts[0].id,
                     w.alice.session.get_token())
        c.status('the lineage', tree, 200)
        c.ok('... holds all links and keypairs', all(
            x in tree.text for x in [t.id for t in trusts]
            + [p.access for p in pairs]), tree.text[:600])
    minted = []
    for pair in pairs:
        r = w.exchange('/ec2tokens', sign.ec2_v2(pair.access, pair.secret))
        c.equal('a keypair still exchanges before the end', r.status_code, 200)
        minted.append(r.headers.get('X-Subject-Token'))

    w.alice.trusts.delete(trusts[0].id)
    for n, trust in enumerate(trusts):
        c.raises('after the first trust\'s end: trust %d is gone' % n,
                 lambda: w.alice.trusts.get(trust.id), ka.NotFound)
        dead(w, 'token of trust %d' % n, tokens[n])
        c.raises('trust %d yields no token' % n,
                 lambda: w.access(w.session(('solum', 'heat', 'aodh')[n],
                                            trust=trust.id)),
                 ka.Unauthorized, *(() if w.vicar else (ka.NotFound, ka.Forbidden)))
    for pair, token in zip(pairs, minted):
        check_forms(w, 'keypair of a dead trust', pair, GONE)
        dead(w, 'token of a keypair of a dead trust', token)
        c.raises('the keypair is gone for alice',
                 lambda: w.alice.ec2.get(w.ids['alice'], pair.access), ka.NotFound)
    c.raises('a second delete is 404', lambda: w.alice.trusts.delete(trusts[0].id),
             ka.NotFound)


def refused_keypairs(w, links):
    """Keystone 30.0.0 gives delegated tokens nothing on the credentials APIs."""
    aodh = w.client(links[2][1])
    w.c.raises('Keystone: no keypair from a trust token',
               lambda: aodh.ec2.create(w.ids['alice'], w.ids['p']), ka.Forbidden)
    w.c.raises('Keystone: nor a list',
               lambda: aodh.ec2.list(w.ids['alice']), ka.Forbidden)
    return []


def keypairs(w, links):
    """Keypairs born from the last trust; gives those that live at the end."""
    c = w.c
    trusts = [t for t, _ in links]
    last = trusts[2]
    solum, heat, aodh = (w.client(s) for _, s in links)
    alice_id, p = w.ids['alice'], w.ids['p']
    aodh_token = links[2][1].get_token()

    pair = aodh.ec2.create(alice_id, p)
    c.equal('the keypair: owner, project, trust',
            (pair.user_id, pair.tenant_id, getattr(pair, 'trust_id', None)),
            (alice_id, p, last.id))
    c.ok('... with a secret', bool(pair.secret))
    minted = []
    for name, door, r in check_forms(w, 'trust keypair', pair):
        body = r.json()['token']
        check_trust_token(w, '%s at %s' % (name, door), body, last, 'alice',
                          ['ec2credential'], trusts)
        token = r.headers.get('X-Subject-Token')
        if door == '/s3tokens':
            c.equal('%s: no token in the header' % name, token, None)
        else:
            c.ok('%s: a token in the header' % name, bool(token))
            minted.append(token)
    for name, maker in sign.OLD_FORMS:
        r = w.exchange('/ec2tokens', maker(pair.access, pair.secret))
        c.equal('trust keypair, %s' % name, r.status_code, 200)
    refusals(w, pair)

    token = minted[0]
    c.equal('its token validates for a service', w.validate(token), 200)
    shown = w.client(w.svc).tokens.get_token_data(token)['token']
    check_trust_token(w, 'validated', shown, last, 'alice', ['ec2credential'], trusts)
    for what, method, path, body in (
            ('reads nothing', 'GET', '/users/' + alice_id, None),
            ('lists no credentials', 'GET', '/credentials', None),
            ('creates no keypair', 'POST',
             '/users/%s/credentials/OS-EC2' % alice_id, {'tenant_id': p}),
            ('creates no trust', 'POST', '/OS-TRUST/trusts', {'trust': {
                'trustor_user_id': alice_id, 'trustee_user_id': w.ids['svc'],
                'impersonation': True, 'project_id': p,
                'roles': [{'name': 'member'}]}}),
            ('ends no trust', 'DELETE', '/OS-TRUST/trusts/' + last.id, None)):
        c.status('its token %s' % what, w.raw(method, path, token, body), 403)
    for scope in (None, api.project(p), api.trust(last.id), api.SYSTEM):
        c.status('its token rescopes to nothing (%s)' % (
            next(iter(scope)) if scope else 'unscoped'),
            w.api.exchange_answer(token, scope), 403)

    # who sees it, and who does not
    path = '/users/%s/credentials/OS-EC2' % alice_id
    c.equal('alice reads it', w.alice.ec2.get(alice_id, pair.access).access,
            pair.access)
    own = w.as_user('aodh')
    c.ok('aodh finds it under its own id', pair.access in
         {e.access for e in own.ec2.list(w.ids['aodh'])})
    c.ok('the administrator finds it', pair.access in
         {e.access for e in w.admin.ec2.list(alice_id)})
    c.equal('the trust token lists its own trust\'s keypairs only',
            {e.access for e in aodh.ec2.list(alice_id)}, {pair.access})
    c.ok('the trust token above does not', pair.access not in
         w.raw('GET', path, links[1][1].get_token()).text)
    c.status('nor reads it', w.raw('GET', '%s/%s' % (path, pair.access),
                                   links[1][1].get_token()), 403, 404)
    c.status('nor does svc', w.raw('GET', '%s/%s' % (path, pair.access),
                                   w.svc.get_token()), 403, 404)

    # what cannot be made
    for what, where, body, statuses in (
            ('on another project', path, {'tenant_id': w.ids['q']}, (403,)),
            ('for aodh itself', '/users/%s/credentials/OS-EC2' % w.ids['aodh'],
             {'tenant_id': p}, (403,)),
            ('without a project', path, {}, (400,)),
            ('with a trust named by the client', path,
             {'tenant_id': p, 'trust_id': trusts[0].id}, (400,)),
            ('with a role from outside', path,
             {'tenant_id': p, 'roles': [{'id': w.ids['private']}]}, (403,)),
            ('that outlives the trust', path,
             {'tenant_id': p, 'expires_at': api.stamp(7200)}, (403, 400))):
        c.status('no keypair %s' % what,
                 w.raw('POST', where, aodh_token, body), *statuses)
    for kind in ('totp', 'cert'):
        c.status('no credential of type %s' % kind,
                 w.raw('POST', '/credentials', aodh_token, {'credential': {
                     'type': kind, 'blob': 'x', 'user_id': alice_id,
                     'project_id': p}}), 403)

    # the other door makes the same thing
    access, secret = secrets.token_hex(16), secrets.token_hex(16)
    r = w.raw('POST', '/credentials', aodh_token, {'credential': {
        'type': 'ec2', 'user_id': alice_id, 'project_id': p,
        'blob': json.dumps({'access': access, 'secret': secret})}})
    if c.status('POST /v3/credentials of type ec2', r, 201):
        credential = r.body['credential']
        c.equal('... its id is the digest of the access id', credential['id'],
                hashlib.sha256(access.encode()).hexdigest())
        blob = json.loads(credential['blob'])
        c.equal('... its blob', (blob['access'], blob['trust_id']),
                (access, last.id))
        r = w.exchange('/ec2tokens', sign.ec2_v4_header(access, secret))
        c.equal('... and it exchanges', r.status_code, 200)
        again = w.raw('POST', '/credentials', aodh_token, {'credential': {
            'type': 'ec2', 'user_id': alice_id, 'project_id': p,
            'blob': json.dumps({'access': access, 'secret': secret})}})
        c.status('... the same access id again', again, 409)
        for marker in ('trust_id', 'app_cred_id', 'access_token_id'):
            c.status('... no %s from the client' % marker, w.raw(
                'POST', '/credentials', aodh_token, {'credential': {
                    'type': 'ec2', 'user_id': alice_id, 'project_id': p,
                    'blob': json.dumps({'access': access + 'x', 'secret': secret,
                                        marker: trusts[0].id})}}), 400)

    # narrowed, and ended alone
    r = w.raw('POST', path, aodh_token, {
        'tenant_id': p, 'roles': [{'name': w.names['heat_stack_user']}],
        'expires_at': api.stamp(600)})
    if c.status('a narrower keypair', r, 201):
        small = r.body['credential']
        r = w.exchange('/ec2tokens', sign.ec2_v4_query(small['access'],
                                                       small['secret']))
        c.equal('... exchanges', r.status_code, 200)
        body = r.json()['token']
        c.equal('... for its role only', [x['name'] for x in body['roles']],
                [w.names['heat_stack_user']])
        c.ok('... for its time only',
             api.when(body['expires_at']) <= api.when(api.stamp(601)))
        child = r.headers['X-Subject-Token']
        c.equal('... and validates', w.validate(child), 200)
        aodh.ec2.delete(alice_id, small['access'])
        dead(w, 'the token of a deleted keypair', child)
        r = w.exchange('/ec2tokens', sign.ec2_v2(small['access'], small['secret']))
        c.equal('a deleted keypair is 401', r.status_code, 401)
        c.equal('its trust lives', w.alice.trusts.get(last.id).id, last.id)
        r = w.exchange('/ec2tokens', sign.ec2_v2(pair.access, pair.secret))
        c.equal('so does its sister', r.status_code, 200)

    # alice may come to more; the keypair does not
    w.admin.roles.grant(w.ids['late'], user=alice_id, project=p)
    r = w.exchange('/ec2tokens', sign.ec2_v2(pair.access, pair.secret))
    c.equal('a role that alice got later is not in it',
            sorted(x['name'] for x in r.json()['token']['roles']), w.effective)
    w.admin.roles.revoke(w.ids['late'], user=alice_id, project=p)
    w.alice_again()
    return [pair]


def refusals(w, pair):
    """What every keypair's exchange refuses."""
    c = w.c
    good = sign.ec2_v2(pair.access, pair.secret)
    for door in ('/ec2tokens', '/s3tokens'):
        name, maker = sign.FORMS[door][0]
        body = maker(pair.access, pair.secret)
        c.equal('%s: a bad signature' % door,
                w.exchange(door, sign.spoilt(body)).status_code, 401)
        unsigned = {'credentials': {k: v for k, v in body['credentials'].items()
                                    if k != 'signature'}}
        if w.vicar:                             # Keystone: s3tokens answers 500
            c.equal('%s: no signature' % door,
                    w.exchange(door, unsigned).status_code, 401)
        c.status('%s: no token' % door, w.raw('POST', door, None, body), 401)
        c.status('%s: the token of a member' % door,
                 w.raw('POST', door, w.alice.session.get_token(), body), 403)
        c.equal('%s: an administrator may' % door, w.exchange(
            door, body, w.admin_session).status_code, 200)
        c.status('%s: GET' % door, w.raw('GET', door, w.svc.get_token()), 405)
        c.status('%s: an empty body' % door,
                 w.raw('POST', door, w.svc.get_token(), {}), 400)
        unknown = maker(secrets.token_hex(16), pair.secret)
        gone(w, 'an unknown access id', door, w.exchange(door, unknown))
    for name, maker in (('version 2', sign.ec2_v2),
                        ('version 4, header', sign.ec2_v4_header),
                        ('version 4, query', sign.ec2_v4_query)):
        r = w.exchange('/ec2tokens', maker(pair.access, pair.secret, age=16 * 60))
        c.equal('%s, 16 minutes old' % name, r.status_code, 401)
        if w.vicar:                             # Keystone looks at the past only
            r = w.exchange('/ec2tokens', maker(pair.access, pair.secret, age=-6 * 60))
            c.equal('%s, 6 minutes ahead' % name, r.status_code, 401)
    r = w.exchange('/ec2tokens', sign.ec2_v2(pair.access, pair.secret, timed=False))
    c.equal('version 2 without a time, as Heat stores it', r.status_code, 200)
    c.equal('the name `credential` for the body', w.exchange(
        '/ec2tokens', {'credential': good['credentials']}).status_code, 200)
    c.equal('the name `ec2Credentials` for the body', w.exchange(
        '/ec2tokens', {'ec2Credentials': good['credentials']}).status_code, 200)


def test_plain_keypair(w):
    """A keypair of a plain login follows its owner's roles."""
    c, p = w.c, w.ids['p']
    pair = w.alice.ec2.create(w.ids['alice'], p)
    c.equal('owner, project, trust', (pair.user_id, pair.tenant_id,
                                      getattr(pair, 'trust_id', None)),
            (w.ids['alice'], p, None))
    for name, door, r in check_forms(w, 'plain keypair', pair):
        body = r.json()['token']
        c.equal('%s: methods' % name, body['methods'], ['ec2credential'])
        c.equal('%s: roles' % name, sorted(x['name'] for x in body['roles']),
                w.all_of_alice)
        c.equal('%s: no trust' % name, body.get('OS-TRUST:trust'), None)
        c.equal('%s: a token in the header' % name,
                'X-Subject-Token' in r.headers, door == '/ec2tokens')
    refusals(w, pair)
    token = w.exchange('/ec2tokens', sign.ec2_v2(pair.access, pair.secret)
                       ).headers['X-Subject-Token']
    c.equal('its token validates for a service', w.validate(token), 200)
    c.status('and is of no use here', w.raw('GET', '/users/' + w.ids['alice'],
                                            token), 403)
    c.status('nor for another token', w.api.exchange_answer(token), 403)
    w.admin.roles.revoke(w.ids['heat_stack_owner'], user=w.ids['alice'], project=p)
    r = w.exchange('/ec2tokens', sign.ec2_v2(pair.access, pair.secret))
    c.equal('one role less', sorted(x['name'] for x in r.json()['token']['roles']),
            sorted(['member', w.names['private'], 'reader']))
    w.admin.roles.grant(w.ids['heat_stack_owner'], user=w.ids['alice'], project=p)
    w.admin.users.update(w.ids['alice'], enabled=False)
    check_forms(w, 'keypair of a disabled owner', pair, 401,
                {d: m[:1] for d, m in sign.FORMS.items()})
    c.equal('and its token is dead', w.validate(token), 404)
    w.admin.users.update(w.ids['alice'], enabled=True)
    c.equal('enabling brings no token back', w.validate(token), 404)
    w.alice_again()
    token = w.exchange('/ec2tokens', sign.ec2_v2(pair.access, pair.secret)
                       ).headers.get('X-Subject-Token')
    w.alice.ec2.delete(w.ids['alice'], pair.access)
    status = w.exchange('/ec2tokens', sign.ec2_v2(pair.access, pair.secret)
                        ).status_code
    c.ok('a deleted keypair', status == 401 or (not w.vicar and status == 404),
         status)
    if w.vicar and token:
        dead(w, 'the token of a deleted keypair', token)


def test_non_impersonating(w):
    """Bob stays Bob: the token's user is the trustee, the authority alice's."""
    c, p = w.c, w.ids['p']
    first = w.alice.trusts.create(
        w.ids['solum'], w.ids['alice'], role_names=w.delegated, project=p,
        impersonation=False, allow_redelegation=True)
    session = w.session('solum', trust=first.id)
    data = w.client(w.svc).tokens.get_token_data(session.get_token())['token']
    check_trust_token(w, 'first token', data, first, 'solum', ['password'], [first])
    solum = w.client(session)
    c.raises('no impersonation below', lambda: solum.trusts.create(
        w.ids['heat'], w.ids['solum'], role_names=w.delegated, project=p,
        impersonation=True), ka.Forbidden, *(() if w.vicar else (ka.NotFound,)))
    c.raises('the trustor below is solum', lambda: solum.trusts.create(
        w.ids['heat'], w.ids['alice'], role_names=w.delegated, project=p,
        impersonation=False), ka.Forbidden)
    w.alice.trusts.delete(first.id)
    dead(w, 'the token of a deleted trust', session.get_token())
    if not w.vicar:
        # Keystone asks the middleman for roles of their own, so its chain ends here
        return
    links = w.chain_of(False)
    trusts = [t for t, _ in links]
    c.equal('trustors', [t.trustor_user_id for t in trusts],
            [w.ids[x] for x in ('alice', 'solum', 'heat')])
    tokens = []
    for n, (who, (trust, session)) in enumerate(zip(('solum', 'heat', 'aodh'),
                                                    links)):
        tokens.append(session.get_token())
        data = w.client(w.svc).tokens.get_token_data(tokens[-1])['token']
        check_trust_token(w, 'token of %s' % who, data, trust, who, ['password'],
                          trusts[:n + 1])
    pair = w.client(links[2][1]).ec2.create(w.ids['aodh'], p)
    c.equal('the keypair is aodh\'s', pair.user_id, w.ids['aodh'])
    minted = []
    for name, _door, r in check_forms(w, 'keypair', pair):
        check_trust_token(w, name, r.json()['token'], trusts[2], 'aodh',
                          ['ec2credential'], trusts)
        minted.append(r.headers.get('X-Subject-Token'))
    c.ok('every trustor above reads and alice ends it', all(
        w.as_user(x, project=None).trusts.get(trusts[2].id).id == trusts[2].id
        for x in ('alice', 'solum', 'heat')))
    # one role of the root's gone: the chain yields nothing, its tokens stay dead
    w.admin.roles.revoke(w.ids['member'], user=w.ids['alice'], project=p)
    for n, token in enumerate(tokens):
        c.equal('a role of alice\'s gone: token %d' % n, w.validate(token), 404)
    c.raises('... no new one', lambda: w.access(w.session('aodh',
                                                          trust=trusts[2].id)),
             ka.Unauthorized)
    r = w.exchange('/ec2tokens', sign.ec2_v2(pair.access, pair.secret))
    c.equal('... nor by the keypair', r.status_code, 401)
    w.admin.roles.grant(w.ids['member'], user=w.ids['alice'], project=p)
    c.equal('given back: the old token stays dead', w.validate(tokens[2]), 404)
    r = w.exchange('/ec2tokens', sign.ec2_v2(pair.access, pair.secret))
    c.equal('... but the keypair works again', r.status_code, 200)
    w.alice_again()
    w.alice.trusts.delete(trusts[0].id)
    for n, trust in enumerate(trusts):
        c.raises('after the root\'s end: trust %d' % n,
                 lambda: w.admin.trusts.get(trust.id), ka.NotFound)
    check_forms(w, 'keypair of a dead chain', pair, GONE)
    for token in minted:
        if token:
            dead(w, 'token of a dead chain', token)


def test_counted(w):
    """A trust with k uses yields exactly k successes."""
    c, p = w.c, w.ids['p']
    make = dict(role_names=w.delegated, project=p, impersonation=True)

    def trust(uses):
        return w.alice.trusts.create(w.ids['solum'], w.ids['alice'],
                                     remaining_uses=uses, **make)

    def use(t):
        try:
            return w.session('solum', trust=t.id).get_token() and True
        except ka.Unauthorized:
            return False

    t = trust(2)
    c.raises('a wrong password', lambda: w.session(
        'solum', trust=t.id, password='wrong').get_token(), ka.Unauthorized)
    c.equal('costs nothing', w.alice.trusts.get(t.id).remaining_uses, 2)
    c.raises('somebody else', lambda: w.session('heat', trust=t.id).get_token(),
             ka.Forbidden)
    c.equal('costs nothing either', w.alice.trusts.get(t.id).remaining_uses, 2)
    c.equal('three attempts on two uses', [use(t), use(t), use(t)],
            [True, True, False])
    c.raises('a used up trust is 404', lambda: w.alice.trusts.get(t.id), ka.NotFound)
    for bad in (0, -1, '2', 1.5):
        c.status('remaining_uses %r' % (bad,), w.raw(
            'POST', '/OS-TRUST/trusts', w.alice.session.get_token(), {'trust': {
                'trustor_user_id': w.ids['alice'], 'trustee_user_id': w.ids['heat'],
                'impersonation': True, 'project_id': p, 'remaining_uses': bad,
                'roles': [{'name': 'member'}]}}), 400)
    t = trust(3)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        won = sum(pool.map(lambda _: use(t), range(8)))
    c.equal('eight at once on three uses', won, 3)
    if not w.vicar:
        return
    t = trust(4)
    session = w.session('solum', trust=t.id)
    pair = w.client(session).ec2.create(w.ids['alice'], p)      # first use: the login
    body = sign.ec2_v2(pair.access, pair.secret)
    c.equal('a bad signature', w.exchange('/ec2tokens', sign.spoilt(body)
                                          ).status_code, 401)
    c.equal('costs nothing', w.alice.trusts.get(t.id).remaining_uses, 3)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        doors = [('/ec2tokens', sign.ec2_v2), ('/s3tokens', sign.s3_v4)] * 4
        got = list(pool.map(lambda d: w.exchange(
            d[0], d[1](pair.access, pair.secret)).status_code, doors))
    c.equal('eight exchanges at once on three uses, over both doors',
            sorted(got), [200] * 3 + [401] * 5)
    c.equal('and no login is left', use(t), False)


def test_explain(w):
    """Why a trust gives what it gives, by keystoneauth's session, and at the machine by `vicar why`."""
    if not w.vicar:
        return
    c = w.c
    links = w.chain_of(True)
    first, (last, session) = links[0][0], links[-1]

    def ask(asker, **question):
        return asker.post(w.url + '/auth/explain', json={'explain': question}).json()['explanation']

    def texts(told, step):
        return ' '.join(s['text'] for s in told['because'] if s['step'] == step)

    own = ask(session, operation='identity:create_trust')
    c.equal('the last of a chain passes nothing on', own['allowed'], False)
    c.ok('... and says why', 'redelegation' in texts(own, 'rule'), own)
    c.equal('... with each link', texts(own, 'link').count('link '), 3)
    c.equal('its bearer makes a keypair', ask(session, operation='identity:ec2_create_credential')['allowed'], True)
    w.client(session).ec2.create(w.ids['alice'], w.ids['p'])
    w.raw('POST', '/OS-TRUST/trusts/%s/suspend' % first.id, w.alice.session.get_token(),
          {'suspension': {'reason': 'a look at it'}})
    paused = ask(w.alice.session, subject={'trust_id': last.id}, operation='identity:ec2_create_credential')
    c.equal('a suspended chain gives nothing', paused['allowed'], False)
    c.ok('... and says who suspended which link', 'a look at it' in texts(paused, 'link'), paused)
    c.raises('nobody else is told', lambda: ask(w.svc, subject={'trust_id': last.id}), ka.NotFound)
    place = getattr(w.server, 'place', None)
    if not place:
        return
    why = subprocess.run([server.vicar_bin(), 'why', last.id, 'identity:ec2_create_credential', *place()],
                         capture_output=True, text=True, timeout=60)
    c.equal('`vicar why` refuses, too', why.returncode, 1)
    c.ok('... for the same reason', 'a look at it' in why.stdout and 'suspended' in why.stdout, why.stdout + why.stderr)


def test_oslo_limit(w, tmp_path):
    """Quotas as Nova, Glance and others enforce them: oslo.limit asks as a reader of the system."""
    c, k = w.c, w.admin
    service = k.services.create(w.name('nova'), type=w.name('compute'))
    endpoint = k.endpoints.create(service, 'http://nova', interface='public',
                                  region='RegionOne')
    cores, ram = (k.registered_limits.create(service, name, default, region='RegionOne')
                  for name, default in (('cores', 4), ('ram', 100)))
    own = k.limits.create(w.ids['p'], service, 'cores', 8, region='RegionOne')
    c.raises('twice the same limit', lambda: k.limits.create(
        w.ids['p'], service, 'cores', 9, region='RegionOne'), ka.Conflict)
    c.raises('a limit of what is not registered', lambda: k.limits.create(
        w.ids['p'], service, 'disk', 9, region='RegionOne'), ka.Forbidden)
    c.raises('a registered limit that is used', lambda: k.registered_limits.delete(cores),
             ka.Forbidden)
    password = secrets.token_hex(12)
    user = k.users.create(w.name('quota'), domain='default', password=password)
    k.roles.grant(w.ids['reader'], user=user, system='all')

    (tmp_path / 'nova.conf').write_text('''
[oslo_limit]
auth_type = password
auth_url = %s
user_id = %s
password = %s
system_scope = all
endpoint_id = %s
''' % (w.url, user.id, password, endpoint.id))
    oslo_config.CONF(['--config-file', str(tmp_path / 'nova.conf')], project='nova')
    used = {'cores': 3, 'ram': 50}
    enforcer = oslo_limit.Enforcer(
        lambda project, names: {name: used[name] for name in names}, cache=False)

    def refused(project, **deltas):
        try:
            enforcer.enforce(project, deltas)
        except oslo_exception.ProjectOverLimit as e:
            return [(o.resource_name, o.limit) for o in e.over_limit_info_list]
        return None

    p, q = w.ids['p'], w.ids['q']
    c.equal('within the default', refused(q, cores=1, ram=50), None)
    c.equal('above the default', refused(q, cores=2, ram=50), [('cores', 4)])
    c.equal('within the limit of the project', refused(p, cores=5, ram=50), None)
    c.equal('above it', refused(p, cores=6), [('cores', 8)])
    k.limits.update(own, resource_limit=3)
    c.equal('a lowered limit', refused(p, cores=1), [('cores', 3)])
    k.limits.delete(own)
    c.equal('without it the default', refused(p, cores=1), None)
    c.equal('all that is registered', sorted(enforcer.get_registered_limits(['cores', 'ram'])),
            [('cores', 4), ('ram', 100)])
    member = w.session('alice', project=p).get_token()
    c.equal('a member sees none of others', w.raw('GET', '/limits', member).body['limits'], [])
    for limit in (cores, ram):
        k.registered_limits.delete(limit)
    k.services.delete(service)


def test_sdk(w):
    """openstacksdk"""
    sdk_story.play(w)


def test_cli(w):
    """the openstack command"""
    cli_story.play(w)
