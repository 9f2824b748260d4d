"""Tokens for a client's certificate that a Keystone made, used here, and back."""
import contextlib
import urllib.parse

import pytest
import requests

import api
import certificates
import server
from keystone_beside import PW, Side, fresh


@pytest.fixture(scope='module')
def sides(pair):
    """Servers on the database of the pair that take a client's certificate from a front server."""
    first, second = pair.first, pair.second
    with contextlib.ExitStack() as stack:
        authority = certificates.Authority()
        stack.callback(authority.stop)
        made = []
        for side in (first, second):
            if side.vicar:
                srv = server.Vicar(config=side.server.config, store=side.server.store,
                                   password=side.server.password, settings={'vicar': certificates.BEHIND})
            else:
                srv = certificates.FrontedKeystone(of=side.server)
            made.append(Side(stack.enter_context(srv), side.label))
        here = made[0]
        here.api.put('/OS-FEDERATION/mappings/oauth2_mapping', here.admin,
                     body={'mapping': {'rules': certificates.RULES}}).want(201)
        yield Sides(pair, made, authority)
        here.api.delete('/OS-FEDERATION/mappings/oauth2_mapping', here.admin).want(204)


class Sides:
    def __init__(self, pair, both, authority):
        self.pair, self.both, self.authority = pair, both, authority
        domain = both[0].api.get('/domains/' + pair.domain, both[0].admin).want(200)
        self.domain = domain.body['domain']

    def ways(self):
        return tuple(self.both), tuple(reversed(self.both))

    def person(self, side, *roles):
        """(user, PEM): with a default project and an address."""
        user = self.pair.person(side, *roles)
        name = side.api.patch('/users/' + user, side.admin, {'user': {
            'default_project_id': self.pair.p, 'email': 'a@example.org'}}).want(200).body['user']['name']
        cert, _ = self.authority.of_user({'id': user, 'name': name}, self.domain, 'a@example.org')
        with open(cert) as f:
            return user, f.read()


def ask(side, user, pem, **more):
    headers = {certificates.HEADER: urllib.parse.quote(pem, safe='')} if pem else {}
    return requests.post(side.server.url + '/OS-OAUTH2/token', timeout=60, headers=headers | more.pop('headers', {}),
                         data={'grant_type': 'client_credentials', 'client_id': user, **more})


def token(side, user, pem):
    answer = ask(side, user, pem)
    assert answer.status_code == 200, answer.text
    return answer.json()['access_token']


def normal(body):
    """Without what is another in each token; a Keystone names a role for each way that leads to it."""
    roles = sorted({r['name'] for r in body['roles']})
    return {k: v for k, v in body.items() if k not in ('catalog', 'audit_ids', 'roles')} | {'roles': roles}


def test_tokens(sides):
    pair, c = sides.pair, sides.pair.c
    for here, there in sides.ways():
        user, pem = sides.person(here, 'member')
        answers = [ask(side, user, pem).json() for side in (here, there)]
        c.equal('the same answer on both', *({k: v for k, v in a.items() if k != 'access_token'} for a in answers))
        tokens = [a['access_token'] for a in answers]
        for side, made in zip((here, there), tokens):
            bodies = [normal(s.body(made)) for s in (here, there)]
            c.equal('a token of %s says the same on both' % side.label, *bodies)
            c.ok('... and is bound', bool(bodies[0].get('oauth2_credential')), bodies[0])
        shown = [here.body(made)['oauth2_credential'] for made in tokens]
        c.equal('both have the same thumbprint', *shown)
        c.equal('both are as long', *(len(made) for made in tokens))
        pair.live('tokens for a certificate', *tokens)
        for made in tokens:
            refused = [s.api.post('/auth/tokens', body={'auth': {'identity': {
                'methods': ['token'], 'token': {'id': made}}, 'scope': api.project(pair.p)}}).status
                for s in (here, there)]
            c.equal('... exchanged for another', refused, [403, 403])
            refused = [s.api.post('/OS-TRUST/trusts', made, {'trust': {
                'trustor_user_id': user, 'trustee_user_id': pair.svc, 'project_id': pair.p,
                'impersonation': True, 'roles': [{'name': 'member'}]}}).status for s in (here, there)]
            c.equal('... for a trust', refused, [403, 403])
            refused = [s.api.post('/users/%s/application_credentials' % user, made, {
                'application_credential': {'name': fresh('x')}}).status for s in (here, there)]
            c.equal('... for an application credential', refused, [403, 403])
            refused = [s.api.post('/users/%s/credentials/OS-EC2' % user, made, {'tenant_id': pair.p}).status
                       for s in (here, there)]
            c.equal('... for a keypair', refused, [403, 403])
        there.api.delete('/projects/%s/users/%s/roles/%s' % (pair.p, user, pair.roles['member']), there.admin).want(204)
        pair.gone('a role taken away on %s' % there.label, *tokens)


def test_ends(sides):
    pair = sides.pair
    for here, there in sides.ways():
        for what, end in (
                ('deleted', lambda user: there.api.delete('/users/' + user, there.admin).want(204)),
                ('disabled', lambda user: there.api.patch('/users/' + user, there.admin, {
                    'user': {'enabled': False}}).want(200))):
            user, pem = sides.person(here, 'member')
            tokens = [token(side, user, pem) for side in (here, there)]
            pair.live('tokens of a user', *tokens)
            end(user)
            pair.gone('a user %s on %s' % (what, there.label), *tokens)
        user, pem = sides.person(here, 'member')
        tokens = [token(side, user, pem) for side in (here, there)]
        for made in tokens:
            there.api.revoke(there.admin, made).want(204)
        pair.gone('revoked on %s' % there.label, *tokens)


def test_refusals_are_alike(sides):
    pair, c = sides.pair, sides.pair.c
    here = sides.both[0]
    user, pem = sides.person(here, 'member')
    other, others_pem = sides.person(here, 'member')
    homeless = pair.person(here, 'member')
    roleless, roleless_pem = sides.person(here)
    credential = here.api.post('/users/%s/application_credentials' % user, here.api.login(
        user, PW, api.project(pair.p)), {'application_credential': {'name': fresh('x')}}).want(201)
    secret = credential.body['application_credential']
    with_equals, _ = sides.authority.issue('/CN=a=b')
    with open(with_equals) as f:
        with_equals = f.read()
    basic = requests.auth._basic_auth_str(secret['id'], secret['secret'])
    for what, args, more in (
            ("another's certificate", (user, others_pem), {}),
            ('of nobody', ('nobody', pem), {}),
            ('without an id', ('', pem), {}),
            ('no default project', (homeless, pem), {}),
            ('no role there', (roleless, roleless_pem), {}),
            ('no certificate', (user, ''), {}),
            ('what is no certificate', (user, 'x'), {}),
            ('a name that is not read', (user, with_equals), {}),
            ('a secret besides, which does not count', (secret['id'], pem), {'client_secret': secret['secret']}),
            ('the same in the header', ('', pem), {'headers': {'Authorization': basic}}),
            ('a secret alone', ('', ''), {'headers': {'Authorization': basic}}),
            ('both, and the id of the user', (user, pem), {'headers': {'Authorization': basic}}),
            ('another grant', (user, pem), {'grant_type': 'password'})):
        seen = []
        for side in sides.both:
            answer = ask(side, *args, **more)
            body = answer.json()
            body.pop('access_token', None)
            if answer.status_code == 400:
                body.pop('error_description', None)
            seen.append((answer.status_code, body))
        c.equal(what, *seen)
