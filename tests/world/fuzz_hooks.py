"""What fuzz.py has Schemathesis do around each request: a token of somebody, and ids of objects that exist.

Schemathesis loads this module (SCHEMATHESIS_HOOKS). A request that it made is sent by one of several personas, and most
ids in paths are exchanged for those of real objects, as nothing else would ever be found. Where the request is wrong
on purpose in its path, the path stays. The administrator who makes the objects, and what they stand on, are never
the object of a change.
"""
import atexit
import collections
import hashlib
import json
import os
import random

import api as identity
import schemathesis

URL, PASSWORD = os.environ['FUZZ_URL'], os.environ['FUZZ_PASSWORD']
CHANGES = ('POST', 'PUT', 'PATCH', 'DELETE')
PW = 'a password of a persona'


class World:
    """Objects to name, and people to ask as."""

    def __init__(self):
        self.random = random.Random(int(os.environ['FUZZ_SEED']))
        self.api = identity.Api(URL)
        self.number = 0
        self.counts = collections.Counter()
        self.people = {}
        self.pool = collections.defaultdict(list)
        self.root = self.api.admin(PASSWORD)
        self.roles = self.api.role_ids(self.root)
        self.protected = {self.root.user, self.root.body['project']['id'], 'default', *self.roles.values()}
        self.renew()

    def make(self, kind, **attributes):
        return self.api.make(self.root, kind, **attributes)

    def name(self):
        self.number += 1
        return 'fuzz-%d' % self.number

    def renew(self):
        """New objects in the place of those that may be gone by now."""
        self.root = self.api.admin(PASSWORD)
        domain = self.make('domain', name=self.name())
        project = self.make('project', name=self.name(), domain_id=domain)
        user = self.make('user', name=self.name(), domain_id=domain, password=PW)
        group = self.make('group', name=self.name(), domain_id=domain)
        role = self.make('role', name=self.name())
        region = self.make('region', description=self.name())
        service = self.make('service', type=self.name())
        endpoint = self.make('endpoint', service_id=service, interface='public', url='http://x.example')
        member = self.roles['member']
        self.api.grant(self.root, member, user, project)
        self.api.put('/groups/%s/users/%s' % (group, user), self.root).want(204)
        token = self.api.login(user, PW, identity.project(project))
        trust = self.api.trust(token, user, user, project, ['member'], allow_redelegation=True)['id']
        keypair = self.api.post('/users/%s/credentials/OS-EC2' % user, token, {'tenant_id': project})
        access = keypair.want(201).body['credential']['access']
        policy = self.make('policy', type='x', blob='x', collection='policies')
        filtered = self.make('endpoint_group', name=self.name(), filters={'interface': 'public'},
                             collection='OS-EP-FILTER/endpoint_groups')
        federation, ids = '/OS-FEDERATION', {}
        for name, path, body in (
                ('mapping_id', '/mappings/', {'mapping': {'rules': [
                    {'local': [{'user': {'name': '{0}'}}], 'remote': [{'type': 'UserName'}]}]}}),
                ('idp_id', '/identity_providers/', {'identity_provider': {'domain_id': domain}}),
                ('service_provider_id', '/service_providers/', {'service_provider': {
                    'auth_url': 'https://x.example/auth', 'sp_url': 'https://x.example/sp'}})):
            ids[name] = self.name()
            self.api.put(federation + path + ids[name], self.root, body).want(201)
        ids['protocol_id'] = self.name()
        self.api.put('%s/identity_providers/%s/protocols/%s' % (federation, ids['idp_id'], ids['protocol_id']),
                     self.root, {'protocol': {'mapping_id': ids['mapping_id']}}).want(201)
        ids['consumer_id'] = self.make('consumer', description='x', collection='OS-OAUTH1/consumers')
        credential = self.api.post('/users/%s/application_credentials' % user, token, {'application_credential': {
            'name': self.name(), 'access_rules': [
                {'service': 'identity', 'path': '/v3/' + self.name(), 'method': 'GET'}]}})
        credential = credential.want(201).body['application_credential']
        ids['application_credential_id'] = credential['id']
        ids['access_rule_id'] = credential['access_rules'][0]['id']
        self.api.put('/domains/%s/config' % domain, self.root, {'config': {'identity': {'driver': 'sql'}}}).want(201)
        ids.update(group='identity', option='driver')
        limit = self.api.post('/registered_limits', self.root, {'registered_limits': [
            {'service_id': service, 'resource_name': 'x', 'default_limit': 1}]}).want(201)
        own = self.api.post('/limits', self.root, {'limits': [
            {'service_id': service, 'resource_name': 'x', 'resource_limit': 2, 'project_id': project}]}).want(201)
        for name, id in {
            **ids,
            'domain_id': domain, 'project_id': project, 'user_id': user, 'group_id': group, 'role_id': role,
            'prior_role_id': role, 'implied_role_id': role, 'region_id': region, 'service_id': service,
            'endpoint_id': endpoint, 'trust_id': trust, 'policy_id': policy, 'endpoint_group_id': filtered,
            # Both the keypair's names.
            'credential_id': self.random.choice([access, hashlib.sha256(access.encode()).hexdigest()]),
            'registered_limit_id': limit.body['registered_limits'][0]['id'],
            'limit_id': own.body['limits'][0]['id'],
        }.items():
            self.pool[name] = self.pool[name][-5:] + [id]
        for name in ('role_id', 'implied_role_id'):
            self.pool[name].append(member)
        self.people = {}

    def persona(self, which):
        """A token of one of them; the person is made when they are needed."""
        if which not in self.people:
            self.people[which] = self.new_persona(which)
        return self.people[which]

    def new_persona(self, which):
        domain, project = self.pool['domain_id'][-1], self.pool['project_id'][-1]
        kind, _, role = which.partition(' ')
        if kind == 'trust':
            return self.api.login(self.pool['user_id'][-1], PW, identity.trust(self.pool['trust_id'][-1])).id
        user = self.make('user', name=self.name(), domain_id=domain, password=PW)
        places = {
            'system': ('/system', identity.SYSTEM),
            'domain': ('/domains/' + domain, identity.domain(domain)),
            'project': ('/projects/' + project, identity.project(project)),
        }
        path, scope = places[kind]
        self.api.put('%s/users/%s/roles/%s' % (path, user, self.roles[role]), self.root).want(204)
        return self.api.login(user, PW, scope).id

    def ask_as(self, which):
        try:
            return self.persona(which)
        except AssertionError:
            # Somebody took away what it stands on.
            self.renew()
            return self.persona(which)


# Most are the one who may do most: what others send ends at the policy.
PERSONAS = ['system admin'] * 8 + [
    'domain admin', 'domain manager', 'project admin', 'project member', 'project reader', 'system reader', 'trust',
    'nobody']
world = World()


def is_wrong_in(case, where):
    """Whether Schemathesis made that part of a request wrong on purpose."""
    parts = case.meta.components if case.meta else {}
    return any(str(getattr(name, 'value', name)) == where and part.mode.is_negative for name, part in parts.items())


@schemathesis.hook
def before_call(context, case, kwargs):
    world.counts['requests'] += 1
    if world.counts['requests'] % 300 == 0:
        world.renew()
    who = world.random.choice(PERSONAS)
    # Somebody else would be refused before what is wrong is seen.
    if case.meta and case.meta.generation.mode.is_negative:
        who = 'system admin'
    world.counts[who] += 1
    headers = case.headers
    if who != 'nobody' and case.path != '/v3/auth/tokens' or case.method != 'POST':
        headers['X-Auth-Token'] = '' if who == 'nobody' else world.ask_as(who)
    if 'X-Subject-Token' in headers and not is_wrong_in(case, 'headers'):
        headers['X-Subject-Token'] = world.ask_as(world.random.choice(PERSONAS[8:-1]))
    if not is_wrong_in(case, 'path'):
        for name, value in (case.path_parameters or {}).items():
            known = world.pool.get(name)
            is_kept = case.method in CHANGES and value in world.protected
            if known and (is_kept or world.random.random() < 0.8):
                case.path_parameters[name] = world.random.choice(known)
    # What is taken away from a role of everybody is missed by everybody.
    if case.method in ('PATCH', 'DELETE') and case.path == '/v3/roles/{role_id}':
        if case.path_parameters.get('role_id') in world.protected:
            case.path_parameters['role_id'] = world.pool['prior_role_id'][-1]


@schemathesis.hook
def after_call(context, case, response):
    world.counts['status %d' % response.status_code] += 1
    if response.status_code == 401:
        # Ended by a request before.
        world.people = {}


@atexit.register
def tell():
    with open(os.environ['FUZZ_COUNTS'], 'w') as f:
        json.dump(world.counts, f)
