#!/usr/bin/env python3
"""A large cloud in the database: rows as the server itself writes them, a million in a minute.

    fill.py --config-file FILE [--factor 1]       into the database that [database] connection names

It writes, times `--factor`: 100,000 users with a password each, 20,000 projects, a million assignments (each user
holds `member` on ten projects), a million trusts (of ten, four are a chain and six are single; every second one ends
in a year), 100,000 EC2 keypairs, encrypted with the site's credential key, and 100,000 revocations of tokens. The
password of user `fill-user-N` is `a password of the fill`: all have the same hash. Ids are MD5 of the kind and the
number, so they can be told: `name_of('user', 7)`.
"""
import argparse
import base64
import configparser
import datetime
import hashlib
import json
import os
import sys
import time

sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'world'))
import harness

if __name__ == '__main__':
    harness.run_in('clients')

from cryptography.fernet import Fernet

import bulk

PW = 'a password of the fill'
# bcrypt of it, with the 12 rounds that both servers take
HASH = '$2b$12$iHb1w1FODEIzLNcxcFleEODhEi8dVznbuxcuXhob79vt2pmZ1iGbS'
YEAR = 365 * 86400
HOLDS = 10                       # projects of a user
GROUP, CHAIN = 10, 4             # of so many trusts, so many are one chain
DEPTH = 3                        # redelegations that the first of a chain allows


def name_of(kind, n):
    """An id that is spread like a random one, and the same in every run."""
    return hashlib.md5(b'%s %d' % (kind.encode(), n)).hexdigest()


def place(user, n, projects):
    """The project that a user has as their number `n`; both by number."""
    return (3 * user + n % HOLDS) % projects


def audit_id(n):
    return base64.urlsafe_b64encode(bytes.fromhex(name_of('audit', n))).decode().rstrip('=')


class Size:
    """How much of each there will be."""

    def __init__(self, factor=1):
        self.users = max(20, round(100_000 * factor))
        self.projects = max(HOLDS, self.users // 5)
        self.assignments = self.users * HOLDS
        self.trusts = max(2 * GROUP, round(1_000_000 * factor) // GROUP * GROUP)
        self.keypairs = max(10, round(100_000 * factor))
        self.revocations = max(10, round(100_000 * factor))
        self.names = 0               # domains, roles, roles of a domain, groups, members of one group


class Rows:
    """All rows of each table, in an order in which they can be written."""

    def __init__(self, store, size, credential_key):
        self.store, self.size = store, size
        self.now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
        self.key, self.key_hash = Fernet(credential_key), hashlib.sha1(credential_key).hexdigest()
        self.member = store.rows("SELECT id FROM role WHERE name = 'member' AND domain_id = '<<null>>'")[0][0]
        self.first_local = int(store.rows('SELECT COALESCE(MAX(id), 0) + 1 FROM local_user')[0][0])
        self.user = [name_of('user', n) for n in range(size.users)]
        self.project = [name_of('project', n) for n in range(size.projects)]

    def when(self, seconds=0):
        """A time as the engines' columns have it: SQLite keeps strings with microseconds."""
        at = (self.now + datetime.timedelta(seconds=seconds)).replace(microsecond=0)
        return at.strftime('%Y-%m-%d %H:%M:%S') + ('.000000' if self.store.engine == 'sqlite' else '')

    def micros(self, seconds=0):
        return int((self.now.replace(tzinfo=datetime.UTC, microsecond=0).timestamp() + seconds) * 1_000_000)

    def place(self, user, n):
        return self.project[place(user, n, self.size.projects)]

    def write(self):
        """{what: how many rows}"""
        for table, columns, rows in (
                ('user', 'id extra enabled created_at domain_id', self.users()),
                ('local_user', 'id user_id domain_id name', self.names()),
                ('password', 'local_user_id self_service password_hash created_at_int created_at', self.passwords()),
                ('project', 'id name extra description enabled domain_id parent_id is_domain', self.projects()),
                ('assignment', 'type actor_id target_id role_id inherited', self.assignments()),
                ('trust', 'id trustor_user_id trustee_user_id project_id impersonation expires_at expires_at_int '
                 'extra redelegated_trust_id redelegation_count', self.trusts()),
                ('trust_role', 'trust_id role_id', self.trust_roles()),
                ('credential', 'id user_id project_id type extra key_hash encrypted_blob', self.keypairs()),
                ('revocation_event', 'issued_before revoked_at audit_id', self.revocations())):
            self.store.load(table, columns, rows)
        if self.size.names:
            self.write_names()
        if self.store.engine == 'postgresql':
            self.store.change(["SELECT setval(pg_get_serial_sequence('local_user', 'id'), (SELECT MAX(id) FROM "
                               'local_user))'])
        self.store.settle()
        return vars(self.size)

    def users(self):
        return ((id, '{}', True, self.when(), 'default') for id in self.user)

    def names(self):
        return ((self.first_local + n, id, 'default', 'fill-user-%d' % n) for n, id in enumerate(self.user))

    def passwords(self):
        return ((self.first_local + n, False, HASH, self.micros(), self.when()) for n in range(len(self.user)))

    def projects(self):
        return ((id, 'fill-project-%d' % n, '{}', '', True, 'default', 'default', False)
                for n, id in enumerate(self.project))

    def assignments(self):
        return (('UserProject', id, self.place(n, k), self.member, False)
                for n, id in enumerate(self.user) for k in range(HOLDS))

    def trusts(self):
        for n in range(self.size.trusts):
            group, link = divmod(n, GROUP)
            chained = link < CHAIN
            owner = (group if chained else n) % len(self.user)
            trustee = (owner + 1 + (link if chained else n // len(self.user))) % len(self.user)
            ends = YEAR + n - link * chained if (group if chained else n) % 2 else None
            yield (name_of('trust', n), self.user[owner], self.user[trustee],
                   self.place(owner, group if chained else n), True, ends and self.when(ends),
                   ends and self.micros(ends), '{}', name_of('trust', n - 1) if chained and link else None,
                   DEPTH - link if chained else 0)

    def trust_roles(self):
        return ((name_of('trust', n), self.member) for n in range(self.size.trusts))

    def keypairs(self):
        for n in range(self.size.keypairs):
            owner = n % len(self.user)
            blob = json.dumps({'secret': name_of('secret', n), 'access': name_of('access', n)}, separators=(',', ':'))
            yield (hashlib.sha256(name_of('access', n).encode()).hexdigest(), self.user[owner], self.place(owner, n),
                   'ec2', '{}', self.key_hash, self.key.encrypt(json.dumps(blob).encode()).decode())

    def revocations(self):
        return ((self.when(), self.when(), audit_id(n)) for n in range(self.size.revocations))

    def write_names(self):
        """Names by the thousand: domains, roles (of the first domain too, few of the second), groups, tags, and users
        of whom one is in all groups and all are in one."""
        def ids(kind):
            return [name_of(kind, n) for n in range(self.size.names)]
        load, domain, few = self.store.load, name_of('domain', 0), name_of('domain', 1)
        root, members, groups = '<<keystone.domain.root>>', ids('in all groups'), ids('group')
        load('project_tag', 'project_id name', ((id, 'common' if n < 40 else 'tag-%d' % (n % 50))
                                                for n, id in enumerate(self.project)))
        load('project', 'id name extra description enabled domain_id is_domain',
             ((id, 'domain-%d' % n, '{}', '', True, root, True) for n, id in enumerate(ids('domain'))))
        roles = ((name_of('role' + of, n), 'role-%d' % n, '{}', of)
                 for of in ('<<null>>', domain) for n in range(self.size.names))
        load('role', 'id name extra domain_id', roles)
        load('role', 'id name extra domain_id', ((name_of('few', n), 'few-%d' % n, '{}', few) for n in range(5)))
        load('group', 'id name extra domain_id',
             ((id, 'group-%d' % n, '{}', domain) for n, id in enumerate(groups)))
        load('user', 'id extra enabled domain_id', ((id, '{}', True, domain) for id in members))
        load('local_user', 'id user_id domain_id name',
             ((self.first_local + self.size.users + n, id, domain, 'member-%d' % n) for n, id in enumerate(members)))
        load('user_group_membership', 'user_id group_id',
             [(id, groups[0]) for id in members] + [(members[0], id) for id in groups[1:]])


def fill(store, size, credential_folder):
    """Writes it all; {what: how many}, and the seconds that it took."""
    began = time.perf_counter()
    with open(os.path.join(credential_folder, max(os.listdir(credential_folder), key=int)), 'rb') as f:
        made = Rows(store, size, f.read().strip()).write()
    return dict({k: n for k, n in made.items() if n}, seconds=time.perf_counter() - began)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--config-file', required=True)
    p.add_argument('--factor', type=float, default=1)
    options = p.parse_args()
    ini = configparser.RawConfigParser(strict=False)
    ini.read(options.config_file)
    store = bulk.named(ini['database']['connection'])
    for what, n in fill(store, Size(options.factor), ini['credential']['key_repository']).items():
        print('%-12s %s' % (what, n))


if __name__ == '__main__':
    main()
