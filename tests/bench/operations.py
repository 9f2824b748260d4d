"""What is measured, by name. Each operation makes the requests for one server from its scene.

The documentation of a function is what docs/benchmarks.md says about the operation.
"""
import dataclasses
import itertools
import random
from collections.abc import Callable

import api
import sign
from generate import raw
from scene import PW, TOKENS, end

OPERATIONS = {}
TREE = 100                       # trusts below one that is deleted
SEEN = 10_000                    # tokens in the mix
PAGE = 20
ENDS = itertools.count(86400)    # seconds from now, before those of the trusts that are redelegated


@dataclasses.dataclass
class Work:
    """Requests for one run, and what is expected of their answers."""
    requests: list
    status: int = 200
    once: bool = False               # none may be sent twice
    writes: bool = False             # what they leave is taken away after the run
    after: Callable = lambda: None   # whether what they did was done
    bytes: int = 0                   # of a good answer's body


@dataclasses.dataclass
class Operation:
    name: str
    text: str
    make: Callable                   # (target, how many requests at most) -> Work
    only: tuple = ('vicar', 'keystone')
    # (server, engine) that answers several at once with faults: it gets one at a time, or some faults are passed over
    alone: tuple = ()
    faulty: tuple = ()
    # server -> seconds of a run at least, where an answer takes long
    seconds: dict = dataclasses.field(default_factory=dict)
    scale: bool = False              # it needs what fill.py has written
    first: int = 0                   # requests that are made before the rate is known
    even: bool = True                # all answers are of one length
    hashes: bool = False             # the ceiling is what the cores can hash


def operation(name, **more):
    def note(make):
        OPERATIONS[name] = Operation(name, ' '.join(make.__doc__.split()), make, **more)
        return make
    return note


def call(t, method, path, token=None, body=None, subject=None):
    headers = {'X-Auth-Token': token.id} if token else {}
    if subject:
        headers['X-Subject-Token'] = subject if isinstance(subject, str) else subject.id
    return raw(t.url, method, path, headers, body)


def validations(t, subjects):
    return [call(t, 'GET', '/auth/tokens', t.scene.service, subject=x) for x in subjects]


def logins(t, identity, *scopes):
    return [raw(t.url, 'POST', '/auth/tokens', {}, {'auth': {'identity': identity, 'scope': scope}})
            for scope in scopes]


def by_token(token):
    return {'methods': ['token'], 'token': {'id': token.id}}


def by_password(user):
    return {'methods': ['password'], 'password': {'user': {'id': user, 'password': PW}}}


@operation('discovery')
def discovery(t, _):
    """`GET /v3`: what there is, which nobody has to be known for."""
    return Work([call(t, 'GET', '')])


@operation('validate-project')
def validate_project(t, _):
    """`GET /v3/auth/tokens`: 20 tokens of 10 users on a project, again and again."""
    return Work(validations(t, t.scene.tokens))


@operation('validate-trust')
def validate_trust(t, _):
    """The same with 20 tokens of one trust."""
    return Work(validations(t, t.scene.trusted))


@operation('validate-depth-3')
def validate_deep(t, _):
    """The same with 20 tokens of the third trust of a chain."""
    return Work(validations(t, t.scene.deep))


@operation('validate-revoked')
def validate_revoked(t, _):
    """The same with 20 tokens that were revoked: 404."""
    return Work(validations(t, t.scene.revoked), 404)


@operation('validate-first')
def validate_first(t, amount):
    """The same with project tokens of 10 users that the server has never seen: each is validated once."""
    return Work(validations(t, t.scene.twins(t.scene.tokens, amount)), once=True)


@operation('validate-all-users', scale=True)
def validate_all_users(t, amount):
    """At scale only: the same with tokens each of which is another user's, as far as there are users."""
    return Work(validations(t, t.scene.of_filled_users(amount)), once=True)


@operation('issue-password', seconds={'vicar': 5, 'keystone': 5}, hashes=True)
def issue_password(t, _):
    """`POST /v3/auth/tokens` with a password, for a project. The password is hashed by bcrypt with 12 rounds."""
    return Work(logins(t, by_password(t.scene.alice), api.project(t.scene.project)), 201)


@operation('issue-token')
def issue_token(t, _):
    """The same with a token."""
    return Work(logins(t, by_token(t.scene.own), api.project(t.scene.project)), 201)


@operation('issue-trust')
def issue_trust(t, _):
    """The same with a token, for a trust."""
    return Work(logins(t, by_token(t.scene.agents[0][1]), api.trust(t.scene.chain[0]['id'])), 201)


@operation('issue-counted', alone=('keystone', 'sqlite'), seconds={'keystone': 5})
def issue_counted(t, _):
    """The same for 20 trusts whose uses are counted, so each takes one. On SQLite a Keystone answers several writes
    at once with faults (`database is locked`), so it gets one at a time."""
    return Work(logins(t, by_token(t.scene.agents[0][1]), *(api.trust(x['id']) for x in t.scene.counted)), 201)


def exchanges(t, path, signed):
    pair = t.scene.keypair
    return Work([call(t, 'POST', path, t.scene.service, signed(pair['access'], pair['secret'])) for _ in range(3)])


@operation('ec2tokens')
def ec2tokens(t, _):
    """`POST /v3/ec2tokens` with a signature of version 4 of a keypair."""
    return exchanges(t, '/ec2tokens', sign.ec2_v4_header)


@operation('s3tokens')
def s3tokens(t, _):
    """`POST /v3/s3tokens` with a signature of version 4 of a keypair."""
    return exchanges(t, '/s3tokens', sign.s3_v4)


def new_trusts(t, tokens, trustee, amount):
    """No two of them are alike: they differ in their ends."""
    for n in range(amount):
        token = tokens[n % len(tokens)]
        yield call(t, 'POST', '/OS-TRUST/trusts', token, {'trust': {
            'trustor_user_id': token.user, 'trustee_user_id': trustee, 'project_id': t.scene.project,
            'impersonation': True, 'roles': [{'name': 'member'}], 'expires_at': end(next(ENDS))}})


@operation('trust-create')
def trust_create(t, amount):
    """`POST /v3/OS-TRUST/trusts` by 10 users, durable."""
    return Work(list(new_trusts(t, t.scene.people, t.scene.agents[1][0], amount)), 201, once=True, writes=True)


@operation('trust-redelegate')
def trust_redelegate(t, amount):
    """The same with a token of a trust: a second link."""
    return Work(list(new_trusts(t, t.scene.trusted, t.scene.agents[2][0], amount)), 201, once=True, writes=True)


@operation('trust-delete-100', alone=('keystone', 'sqlite'), seconds={'keystone': 15}, first=20)
def trust_delete(t, amount):
    """`DELETE /v3/OS-TRUST/trusts/{id}` of trusts with 100 redelegated ones below each, durable. On SQLite a Keystone
    gets one at a time here too."""
    ids, rows = t.scene.trusts_to_delete(amount, TREE)
    below = rows[TREE][0]

    def after():
        t.api.get('/OS-TRUST/trusts/' + ids[0], t.scene.own).want(404)
        t.api.get('/OS-TRUST/trusts/' + below, t.scene.own).want(404)
    return Work([call(t, 'DELETE', '/OS-TRUST/trusts/' + id, t.scene.own) for id in ids], 204, once=True,
                writes=True, after=after)


@operation('trust-list')
def trust_list(t, _):
    """`GET /v3/OS-TRUST/trusts?trustor_user_id=…&limit=20` of a user who has 20."""
    return Work([call(t, 'GET', '/OS-TRUST/trusts?trustor_user_id=%s&limit=%d' % (t.scene.lister.user, PAGE),
                      t.scene.lister)])


@operation('trust-lineage', only=('vicar',))
def lineage(t, _):
    """`GET /v3/OS-TRUST/trusts/{id}/lineage` of a chain of three. Keystone has no such call."""
    return Work([call(t, 'GET', '/OS-TRUST/trusts/%s/lineage' % t.scene.chain[2]['id'], t.scene.own)])


@operation('role-assignments')
def role_assignments(t, _):
    """`GET /v3/role_assignments?effective&scope.project.id=…` of a project with a dozen users."""
    return Work([call(t, 'GET', '/role_assignments?effective&scope.project.id=' + t.scene.project, t.scene.admin)])


@operation('mix', faulty=('keystone', 'sqlite'), even=False)
def mix(t, amount):
    """94 % validations of 10,000 tokens (four fifths project tokens, a tenth each of a trust and of a chain of three),
    3 % tokens for trusts, half of them counted, 2 % new trusts, half of them redelegated, 1 % deletions of trusts.
    Some faults of a Keystone on SQLite (5 %, and three) are passed over, and are no answers."""
    s = t.scene
    if not hasattr(s, 'seen'):
        s.seen = (s.twins(s.tokens, SEEN * 8 // 10) + s.twins(s.trusted, SEEN // 10) + s.twins(s.deep, SEEN // 10))
    amount = max(amount, 100) // 100 * 100
    seen = validations(t, random.sample(s.seen, len(s.seen)))
    taken = issue_trust(t, 0).requests * TOKENS + issue_counted(t, 0).requests
    made = [*new_trusts(t, s.people, s.agents[1][0], amount // 100),
            *new_trusts(t, s.trusted, s.agents[2][0], amount // 100)]
    ended = [call(t, 'DELETE', '/OS-TRUST/trusts/' + id, s.own) for id in s.trusts_to_delete(amount // 100)[0]]
    out = [seen[n % len(seen)] for n in range(amount * 94 // 100)]
    out += [random.choice(taken) for _ in range(amount * 3 // 100)]
    out += made + ended
    random.shuffle(out)
    out.insert(0, seen[0])
    return Work(out, once=True, writes=True)


@operation('validate-catalog-100')
def validate_catalog(t, _):
    """`GET /v3/auth/tokens` as in `validate-project`, but with 100 services of three endpoints each in the catalog.
    Measured last, since the services remain."""
    if not hasattr(t.scene, 'large'):
        t.scene.services(100)
        t.scene.large = True
    return Work(validations(t, t.scene.tokens))
