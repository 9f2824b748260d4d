"""What both servers get before they are measured: people, trusts, keypairs, tokens, made over the API alike.

What has to be there by the thousand (tokens that are each used once, trusts to delete) is made from what the server
itself has made: a token by another audit id in its payload, encrypted with the site's own keys; a trust by a row that
differs in its id.
"""
import base64
import itertools
import os
import secrets

from cryptography.fernet import Fernet

import api
import fill

PW = 'a password of the bench'
TOKENS = 20                      # different ones, so that none is special
PEOPLE = 10
YEARS = 3000 * 86400
ENDS = itertools.count(YEARS)    # so that no two trusts are alike


class Scene:
    def __init__(self, target):
        self.target, self.kept = target, []
        self.filled = None           # the fill.Size of what is there besides
        a = self.api = target.api
        self.admin = a.admin(target.password)
        self.roles = a.role_ids(self.admin)
        self.tag = secrets.token_hex(3)
        self.project = a.make(self.admin, 'project', name='bench-' + self.tag, domain_id='default')
        at = api.project(self.project)

        def person(name, *roles):
            user = a.make(self.admin, 'user', name='%s-%s' % (name, self.tag), domain_id='default', password=PW)
            for role in roles:
                a.grant(self.admin, self.roles[role], user, self.project)
            return user
        self.service = a.login(person('service', 'service'), PW, at)
        self.alice = person('alice', 'member')
        self.own = a.login(self.alice, PW, at)
        self.agents = [(user, a.login(user, PW)) for user in map(person, ('bob', 'carol', 'dave'))]
        self.people = [a.login(person('person-%d' % n, 'member'), PW, at) for n in range(PEOPLE)]
        self.tokens = [a.exchange(self.people[n % PEOPLE], at) for n in range(TOKENS)]
        self.chain = self.chained(3)
        self.trusted = [self.by_trust(0) for _ in range(TOKENS)]
        self.deep = [self.by_trust(2) for _ in range(TOKENS)]
        self.counted = [self.trust(self.own, self.agents[0][0], remaining_uses=100_000_000)
                        for _ in range(TOKENS)]
        self.keypair = a.post('/users/%s/credentials/OS-EC2' % self.alice, self.own,
                              {'tenant_id': self.project}).want(201).body['credential']
        self.lister = a.login(person('lister', 'member'), PW, at)
        for _ in range(TOKENS):
            self.trust(self.lister, self.agents[0][0])
        # The last: a revocation within the second of a token's issue would end it in a Keystone.
        self.revoked = [a.exchange(self.own, at) for _ in range(TOKENS)]
        for token in self.revoked:
            a.revoke(self.admin, token).want(204)

    def trust(self, token, trustee, ends=None, **more):
        """A trust of the project, of the token's user, which remains when a run is over."""
        self.kept.append(self.api.trust(token, token.user, trustee, self.project, ['member'],
                                        expires_at=ends or end(next(ENDS)), **more))
        return self.kept[-1]

    def chained(self, depth):
        """A chain of trusts: alice's for the first agent, from which they made one for the second, and so on."""
        made = [self.trust(self.own, self.agents[0][0], allow_redelegation=True)]
        for n in range(1, depth):
            bearer = self.api.exchange(self.agents[n - 1][1], api.trust(made[-1]['id']))
            made.append(self.trust(bearer, self.agents[n][0], made[-1]['expires_at'],
                                   allow_redelegation=n < depth - 1))
        return made

    def by_trust(self, n):
        """A token of the chain's trust with that number."""
        return self.api.exchange(self.agents[n][1], api.trust(self.chain[n]['id']))

    def twins(self, tokens, count):
        """So many tokens like these, none of which the server has seen: each has an audit id of its own."""
        key = Fernet(primary(self.target.fernet))
        parts = []
        for token in tokens:
            audit = base64.urlsafe_b64decode(token.body['audit_ids'][0] + '==')
            before, found, after = key.decrypt(padded(token.id)).partition(audit)
            assert found
            parts.append((before, after))
        return [key.encrypt(audit.join(parts[n % len(parts)])).decode().rstrip('=')
                for n, audit in enumerate(secrets.token_bytes(16) for _ in range(count))]

    def of_filled_users(self, count):
        """So many tokens, each of another user of fill.py on one of their projects, as far as there are users."""
        key, like, size = Fernet(primary(self.target.fernet)), self.people[0], self.filled
        payload = key.decrypt(padded(like.id))
        audit = base64.urlsafe_b64decode(like.body['audit_ids'][0] + '==')
        user, project = bytes.fromhex(like.user), bytes.fromhex(self.project)
        assert audit in payload and user in payload and project in payload
        for n in range(count):
            who = n % size.users
            at = fill.name_of('project', fill.place(who, n, size.projects))
            yield key.encrypt(payload.replace(audit, secrets.token_bytes(16)).replace(
                user, bytes.fromhex(fill.name_of('user', who))).replace(
                project, bytes.fromhex(at))).decode().rstrip('=')

    def trusts_to_delete(self, count, below=0):
        """Ids of so many trusts of alice's for bob, each with so many redelegated below it, in three levels."""
        like = self.chain[0]
        rows, ids = [], []
        for _ in range(count):
            levels = [[(secrets.token_hex(16), None)]]
            for width in (below // 10, below - below // 10):
                above = levels[-1]
                levels.append([(secrets.token_hex(16), above[n % len(above)][0]) for n in range(width)])
            ids.append(levels[0][0][0])
            rows += [(id, self.alice, self.agents[depth][0], self.project, True, '{}', 3 - depth, parent)
                     for depth, level in enumerate(levels) for id, parent in level]
        store, role = self.target.store, like['roles'][0]['id']
        store.load('trust', 'id trustor_user_id trustee_user_id project_id impersonation extra redelegation_count '
                   'redelegated_trust_id', rows)
        store.load('trust_role', 'trust_id role_id', [(row[0], role) for row in rows])
        return ids, rows

    def clean(self):
        """Takes away what a run made or ended, so that the next finds what this one found."""
        keep = {x['id'] for x in self.kept}
        some = "project_id = '%s' AND id NOT IN (%s)" % (self.project, ', '.join("'%s'" % x for x in sorted(keep)))
        trusts = '(SELECT id FROM trust WHERE %s)' % some
        own = ['vicar_trust_state'] if 'vicar_trust_state' in self.target.store.tables() else []
        self.target.store.change(
            ['DELETE FROM %s WHERE trust_id IN %s' % (table, trusts) for table in ('trust_role', *own)]
            + ['DELETE FROM revocation_event WHERE trust_id IN ' + trusts, 'DELETE FROM trust WHERE ' + some])
        self.target.forget()

    def services(self, count):
        """So many services with three endpoints each in the catalog."""
        region = self.api.make(self.admin, 'region', id='bench')
        for n in range(count):
            service = self.api.make(self.admin, 'service', type='kind-%d' % n, name='service-%d' % n)
            for interface in ('public', 'internal', 'admin'):
                self.api.make(self.admin, 'endpoint', service_id=service, interface=interface, region_id=region,
                              url='http://service-%d.example.org/%s/v1' % (n, interface))


def end(seconds):
    """A time of the API, in whole seconds."""
    return api.stamp(seconds)[:19] + 'Z'


def primary(folder):
    """The key that a key repository encrypts with."""
    with open(os.path.join(folder, max(os.listdir(folder), key=int)), 'rb') as f:
        return f.read().strip()


def padded(token):
    return token + '=' * (-len(token) % 4)
