#!/usr/bin/env python3
"""Heat and Aodh, as released, live on Vicar: services that act for users who have gone.

    heat.py                 sets up docs/heat.md with a Vicar and plays every scenario
    heat.py --keystone      the same with a Keystone 30.0.0, as far as it must hold there
    heat.py --only NAME...  some of: deferred instance chain keypair succession faults

Each scenario has an owner and a project of its own, asserts on both sides, in Heat and in the identity
server, and leaves the identity server as it found it. At the end: what each of them called how often,
and the slowest calls. VICAR_KEEP=1 keeps all logs.
"""
import argparse
import contextlib
import datetime
import json
import os
import re
import signal
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

import harness

if __name__ == '__main__':
    harness.run_in('heat')

import boto3
import botocore.config
import botocore.exceptions
import oslo_messaging
from oslo_config import cfg

import api
import heat_calls
import heat_cloud

ROLE = 'heat_stack_owner'
PATIENCE = 90


def until(what, look, seconds=PATIENCE):
    """The first thing that `look` gives and that counts as true."""
    end = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError('waited %d s in vain: %s' % (seconds, what))
        time.sleep(0.3)


def fetch(url, method='POST', body=b'', headers=None):
    """(status, text) of a call by somebody who has nothing but a URL; no status if the line is cut."""
    request = urllib.request.Request(url, data=body, method=method, headers=dict(
        {'Content-Type': 'application/json'}, **(headers or {})))
    try:
        with urllib.request.urlopen(request, timeout=60) as r:
            return r.status, r.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode(errors='replace')
    except OSError as e:
        return None, str(e)


# --- templates -------------------------------------------------------------------------

def template(resources, **outputs):
    return {'heat_template_version': '2018-08-31', 'resources': resources,
            'outputs': {k: {'value': v} for k, v in outputs.items()}}


def resource(kind, **properties):
    return {'type': kind, 'properties': properties}


# Its members are made, in the owner's name, at a service that wants `member`.
GROUP = {
    'group': resource('OS::Heat::AutoScalingGroup', min_size=1, max_size=9, desired_capacity=1,
                      resource=resource('OS::Swift::Container')),
    'grow': resource('OS::Heat::ScalingPolicy', adjustment_type='change_in_capacity',
                     auto_scaling_group_id={'get_resource': 'group'}, scaling_adjustment=1,
                     cooldown=0),
}
GROUP_OUTPUTS = {'size': {'get_attr': ['group', 'current_size']},
                 'grow_url': {'get_attr': ['grow', 'alarm_url']},
                 'grow_signal': {'get_attr': ['grow', 'signal_url']}}


def wait_for(handle):
    return resource('OS::Heat::WaitCondition', handle={'get_resource': handle}, timeout=300, count=1)


# --- the cast --------------------------------------------------------------------------

class Heat:
    """Heat's own API for one project and one token. Nothing is hidden."""

    def __init__(self, cloud, project, token):
        self.api = api.Api('%s/%s' % (cloud.heat_url, project))
        self.token = token

    def create(self, name, body, want=201):
        a = self.api.post('/stacks', self.token, {
            'stack_name': name, 'template': body, 'timeout_mins': 5, 'disable_rollback': True})
        a.want(want)
        return Stack(self, name, a.body['stack']['id']) if want == 201 else a

    def stack(self, of):
        return Stack(self, of.name, of.id)


class Stack:
    def __init__(self, heat, name, stack_id):
        self.heat, self.name, self.id = heat, name, stack_id
        self.path = '/stacks/%s/%s' % (name, stack_id)

    def show(self, outputs=True):
        a = self.heat.api.get(self.path + ('' if outputs else '?resolve_outputs=False'),
                              self.heat.token)
        return a.want(200).body['stack']

    def outputs(self):
        return {o['output_key']: o.get('output_value') for o in self.show()['outputs']}

    def output(self, name):
        return self.outputs()[name]

    def made(self, *names):
        """Waits until these resources are there: before, their attributes are inventions."""
        until('%s has its %s' % (self.name, ', '.join(names)), lambda: all(
            self.resource(n)['resource_status'] == 'CREATE_COMPLETE' for n in names))

    def status(self):
        a = self.heat.api.get(self.path + '?resolve_outputs=False', self.heat.token)
        return 'GONE' if a.status == 404 else a.want(200).body['stack']['stack_status']

    def reaches(self, *statuses):
        def look():
            s = self.status()
            if s.endswith('_FAILED') and s not in statuses:
                raise AssertionError('%s: %s %s' % (
                    self.name, s, self.show(False).get('stack_status_reason')))
            return s if s in statuses else None
        return until('%s is %s' % (self.name, ' or '.join(statuses)), look)

    def resource(self, name):
        return self.heat.api.get(self.path + '/resources/' + name,
                                 self.heat.token).want(200).body['resource']

    def has_size(self, n):
        """Its group has so many members, and is done with the change."""
        group = self.resource('group')['physical_resource_id']

        def look():
            if self.output('size') != n:
                return False
            a = self.heat.api.get('/stacks/' + group, self.heat.token)
            path = urllib.parse.urlsplit(a.headers['Location']).path
            nested = self.heat.api.get(path[path.index('/stacks/'):], self.heat.token)
            return nested.want(200).body['stack']['stack_status'].endswith('_COMPLETE')

        return until('%s has %d members' % (self.name, n), look)

    def delete(self):
        self.heat.api.delete(self.path, self.heat.token).want(204)

    def deleted(self):
        self.delete()
        return self.reaches('GONE', 'DELETE_COMPLETE')


class Owner:
    """A user with a project, their own or another's, who may own stacks."""

    def __init__(self, world, name, project=None):
        self.world, self.name = world, name
        self.password = 'password-of-%s-%s' % (name, uuid.uuid4().hex)
        identity, admin = world.identity, world.admin
        self.project = project or identity.make(admin, 'project', name='project-of-' + name)
        self.id = identity.make(admin, 'user', name=name, password=self.password,
                                domain_id='default')
        world.people[self.id] = name
        identity.grant(admin, world.roles[ROLE], self.id, self.project)

    def login(self):
        return self.world.identity.login(self.id, self.password, api.project(self.project))

    def heat(self, token=None):
        return Heat(self.world.cloud, self.project, token or self.login())

    def trusts(self):
        """All living trusts that they gave, as an administrator sees them."""
        a = self.world.identity.get('/OS-TRUST/trusts?trustor_user_id=' + self.id, self.world.admin)
        return a.want(200).body['trusts']


class World:
    """The cloud and its administrator; what scenarios have in common."""

    def __init__(self, checks, cloud, keystone):
        self.c = checks
        self.cloud = cloud
        self.vicar = not keystone
        # A Keystone answers 404 there, and heat-api-cfn drops the line.
        self.unknown_key = (botocore.exceptions.ClientError,) + (
            (botocore.exceptions.ConnectionClosedError,) if keystone else ())
        self.identity, self.admin = cloud.admin()
        self.roles = self.identity.role_ids(self.admin)
        users = self.identity.get('/users', self.admin).want(200).body['users']
        self.ids = {u['name']: u['id'] for u in users}
        self.people = {u['id']: u['name'] for u in users}
        self.stack_domain = self.identity.get('/domains?name=heat', self.admin).body['domains'][0]['id']

    def service_user(self, name):
        password = uuid.uuid4().hex
        user = self.identity.make(self.admin, 'user', name=name, password=password,
                                  domain_id='default')
        self.people[user] = name
        return user, password

    def trust_login(self, user, password, trust_id):
        return self.identity.login_answer(user, password, api.trust(trust_id))

    def holdings(self):
        """What stacks leave in the identity server, by kind."""
        found = {}
        for kind, path in (('trusts', '/OS-TRUST/trusts'), ('credentials', '/credentials'),
                           ('users', '/users?domain_id=' + self.stack_domain),
                           ('projects', '/projects?domain_id=' + self.stack_domain),
                           ('grants', '/role_assignments')):
            rows = self.identity.get(path, self.admin).want(200).body[kind if kind != 'grants'
                                                                     else 'role_assignments']
            if not self.vicar:          # a Keystone keeps the expired ones until `trust_flush`
                rows = [r for r in rows if (r.get('expires_at') or '9') > time.strftime(
                    '%Y-%m-%dT%H:%M:%S', time.gmtime())]
            found[kind] = {r.get('id') or json.dumps(r, sort_keys=True) for r in rows}
        return found

    @contextlib.contextmanager
    def leaves_nothing(self, *kinds):
        """Whatever stacks made meanwhile is gone at the end."""
        kinds = kinds or ('trusts', 'credentials', 'users', 'projects')
        before = self.holdings()

        def left():
            after = self.holdings()
            return {kind: after[kind] - before[kind] for kind in kinds}

        yield
        # Heat calls a stack deleted before it takes back the trust and the project.
        with contextlib.suppress(AssertionError):
            until('nothing is left behind', lambda: not any(left().values()), 20)
        for kind, found in left().items():
            self.c.equal('nothing is left behind: %s' % kind, found, set())

    def engine_log(self):
        with open(self.cloud.services['heat-engine'].log, errors='replace') as f:
            return len(re.findall('AuthorizationFailure|Forbidden|Unauthorized', f.read()))

    def refused_in_engine(self, what, mark):
        """Heat takes a signal first and acts on it later: whether it may shows in its log."""
        until('%s: Heat is refused' % what, lambda: self.engine_log() > mark, 20)
        self.c.ok('%s: Heat is refused when it acts' % what, True)

    def keypairs_of(self, user):
        a = self.identity.get('/credentials?user_id=' + user, self.admin).want(200)
        return a.body['credentials']

    def event(self, kind, project):
        """A service of the cloud tells that something happened."""
        conf = cfg.ConfigOpts()
        conf([])
        transport = oslo_messaging.get_notification_transport(
            conf, 'rabbit://%s@127.0.0.1:%d/' % (self.cloud.bus.login, self.cloud.bus.port))
        try:
            oslo_messaging.Notifier(transport, 'a-service', driver='messagingv2',
                                    topics=['alarm.all']).sample({}, 'event', [{
                                        'event_type': kind, 'message_id': uuid.uuid4().hex,
                                        'generated': datetime.datetime.now().isoformat(),
                                        'traits': [['project_id', 1, project]]}])
        finally:
            transport.cleanup()

    def boto(self, access, secret):
        return boto3.client('cloudformation', endpoint_url=self.cloud.cfn_url + '/',
                            region_name='RegionOne', aws_access_key_id=access,
                            aws_secret_access_key=secret,
                            config=botocore.config.Config(retries={'max_attempts': 1}))


# --- scenarios -------------------------------------------------------------------------

def deferred(w):
    """alice goes; Heat goes on for her, by one trust and no password."""
    c = w.c
    alice = Owner(w, 'alice')
    token = alice.login()
    heat = alice.heat(token)
    with w.leaves_nothing():
        stack = heat.create('deferred', template(
            dict(GROUP,
                 cfn=resource('OS::Heat::WaitConditionHandle', signal_transport='CFN_SIGNAL'),
                 cfn_done=wait_for('cfn'),
                 token=resource('OS::Heat::WaitConditionHandle', signal_transport='TOKEN_SIGNAL'),
                 token_done=wait_for('token'),
                 heat=resource('OS::Heat::WaitConditionHandle', signal_transport='HEAT_SIGNAL'),
                 heat_done=wait_for('heat')),
            cfn_signal={'get_attr': ['cfn', 'signal']},
            token_url={'get_attr': ['token', 'endpoint']}, token_id={'get_attr': ['token', 'token']},
            heat_signal={'get_attr': ['heat', 'signal']}, **GROUP_OUTPUTS))
        trusts = alice.trusts()
        c.equal('the identity server holds exactly one trust of hers', len(trusts), 1)
        trust = trusts[0]
        c.equal('its trustee is heat', trust['trustee_user_id'], w.ids['heat'])
        c.ok('it impersonates her', trust['impersonation'])
        c.equal('it is for her project', trust['project_id'], alice.project)
        roles = w.identity.get('/OS-TRUST/trusts/%s/roles' % trust['id'], w.admin).body['roles']
        c.equal('and delegates the one role', [r['name'] for r in roles], [ROLE])
        if w.vicar:
            seen = w.identity.get('/users/%s/delegations' % alice.id, token).want(200).body
            c.ok('she can see it herself', trust['id'] in json.dumps(seen))

        stack.made('cfn', 'token', 'heat')
        outputs = stack.outputs()
        c.equal('the stack waits', stack.status(), 'CREATE_IN_PROGRESS')
        url = json.loads(outputs['cfn_signal'])['alarm_url']
        done = json.dumps({'status': 'SUCCESS', 'reason': 'up', 'id': '1', 'data': 'x'}).encode()
        # The stack's users stand for programs inside instances; they have logins of their own.
        status, text = fetch(url, 'PUT', done)
        c.equal('a wait condition is signalled by its pre-signed URL', (status, text[:80]), (200, text[:80]))
        status, _ = fetch(outputs['token_url'], 'POST', done, {
            'X-Auth-Token': outputs['token_id']})
        c.equal('another by a token that Heat gave to its stack user', status, 200)
        login = json.loads(outputs['heat_signal'])
        inside = w.identity.login(login['user_id'], login['password'], api.project(login['project_id']))
        c.equal('a third by a stack user who logs in alone, with one role', inside.roles,
                ['heat_stack_user'])
        a = Heat(w.cloud, login['project_id'], inside).api.post(
            '/stacks/%s/%s/resources/heat/signal' % (stack.name, stack.id), inside,
            json.loads(done))
        c.status('and signals through the API', a, 200)
        stack.reaches('CREATE_COMPLETE')
        c.ok('the stack is complete', True)
        refused_without_member(w, alice)

        grow = stack.output('grow_url')
        w.identity.revoke(token, token).want(204)
        c.status('her token is gone', w.identity.validate(w.admin, token), 404)
        a = heat.api.get('/stacks', token)
        c.status('and Heat takes it no longer', a, 401)
        status, text = fetch(grow)
        c.ok("the policy's signed URL is taken", status == 200, text[:300])
        again = heat_of(alice, stack)
        again.has_size(2)
        c.ok('and the group has grown, without her', True)
        c.equal('still by the same one trust', [t['id'] for t in alice.trusts()], [trust['id']])
        nowhere_stored(w, alice)
        stack = again
        stack.deleted()
        c.ok('the stack is deleted, and its trust with it', until('its trust is gone', lambda: not alice.trusts()))


def heat_of(owner, stack):
    """The same stack, by a new login: only to look, and to delete."""
    return owner.heat().stack(stack)


def refused_without_member(w, owner):
    """The service that the groups' members are made at is one that would refuse."""
    identity, admin = w.identity, w.admin
    role = identity.make(admin, 'role', name='stack-owner-and-no-member')
    user, password = w.service_user('nobody-s-member')
    for given in (role, w.roles['reader']):
        identity.grant(admin, given, user, owner.project)
    token = identity.login(user, password, api.project(owner.project))
    store = api.Api('%s/AUTH_%s' % (w.cloud.store_url, owner.project))
    w.c.status('the service of the members refuses who is no member', store.put('/mine', token), 403)
    w.c.status('and takes the owner', store.put('/mine', owner.login()), 201)
    w.c.status('who can delete it', store.delete('/mine', owner.login()), 204)
    identity.delete('/roles/' + role, admin).want(204)


def nowhere_stored(w, owner):
    """Her password is in no table of Heat's, and in no file of ours."""
    secret = owner.password
    dump = w.cloud.database.run('mariadb-dump', '--no-defaults', '--socket=' + w.cloud.database.socket,
                                '--user=root', '--skip-extended-insert', 'heat')
    w.c.ok("Heat's database was read", owner.project in dump)
    w.c.ok('no password of hers in it', secret not in dump)
    rows = w.cloud.database.sql("SELECT COUNT(*) FROM heat.user_creds WHERE password IS NOT NULL "
                                "AND password <> ''").strip()
    w.c.equal('nor an encrypted one', rows, '0')
    found = []
    for place in (w.cloud.identity.dir, w.cloud.dir):
        for folder, _, files in os.walk(place):
            for file in files:
                with contextlib.suppress(OSError), open(os.path.join(folder, file), 'rb') as f:
                    if secret.encode() in f.read():
                        found.append(file)
    w.c.equal('nor in any file of the identity server or the bus', found, [])


def instance(w):
    """A program inside an instance, with a keypair that Heat made for it."""
    c = w.c
    owner = Owner(w, 'irene')
    with w.leaves_nothing():
        stack = owner.heat().create('instance', template({
            'user': resource('AWS::IAM::User', Policies=[{'get_resource': 'access'}]),
            'access': resource('OS::Heat::AccessPolicy', AllowedResources=['machine']),
            'key': resource('AWS::IAM::AccessKey', UserName={'get_resource': 'user'}),
            'machine': dict(resource('OS::Heat::TestResource', value='v'),
                            metadata={'files': {'/etc/motd': 'hello'}}),
            'handle': resource('AWS::CloudFormation::WaitConditionHandle'),
            'done': resource('AWS::CloudFormation::WaitCondition', Handle={'get_resource': 'handle'},
                             Timeout=300, Count=1),
        }, access={'get_resource': 'key'}, secret={'get_attr': ['key', 'SecretAccessKey']},
            handle={'get_resource': 'handle'}))
        stack.made('key', 'machine', 'handle')
        # A moment longer the handle's reference is its name.
        pair = until('the handle is a signed URL', lambda: (
            lambda found: 'Signature=' in (found['handle'] or '') and found)(stack.outputs()))
        mine = [k for k in w.identity.get('/credentials', w.admin).body['credentials']
                if json.loads(k['blob']).get('access') == pair['access']]
        c.equal('the keypair is in the identity server', len(mine), 1)
        user = w.identity.get('/users/' + mine[0]['user_id'], w.admin).want(200).body['user']
        c.equal("its user lives in the stacks' domain", user['domain_id'], w.stack_domain)
        c.ok('and is no user of the owner', mine[0]['user_id'] != owner.id)

        program = w.boto(pair['access'], pair['secret'])
        ask = {'StackName': stack.name, 'LogicalResourceId': 'machine'}
        detail = program.describe_stack_resource(**ask)['StackResourceDetail']
        c.equal('it reads its metadata with a signed request', json.loads(detail['Metadata']),
                {'files': {'/etc/motd': 'hello'}})
        c.raises('it may read nothing else', lambda: program.describe_stack_resource(
            StackName=stack.name, LogicalResourceId='handle'), botocore.exceptions.ClientError)
        c.raises('nor list the stacks', program.list_stacks, botocore.exceptions.ClientError)
        c.raises('a wrong secret is refused', lambda: w.boto(
            pair['access'], 'x' * 40).describe_stack_resource(**ask), botocore.exceptions.ClientError)
        c.raises('and so is an unknown key', lambda: w.boto(
            uuid.uuid4().hex, pair['secret']).describe_stack_resource(**ask), *w.unknown_key)
        with clock_of_the_signer(-3600):
            c.raises('and a signature of an hour ago', lambda: w.boto(
                pair['access'], pair['secret']).describe_stack_resource(**ask),
                botocore.exceptions.ClientError)
        detail = w.boto(pair['access'], pair['secret']).describe_stack_resource(**ask)
        c.ok('a fresh one is good again', detail['StackResourceDetail'])

        done = json.dumps({'Status': 'SUCCESS', 'Reason': 'up', 'UniqueId': '1', 'Data': 'x'}).encode()
        url = pair['handle']
        c.equal('the stack waits', stack.status(), 'CREATE_IN_PROGRESS')
        for what, wrong in (('a signature with a letter changed', tamper(url)),
                            ('the signature of another path', url.replace('/handle', '/done', 1)
                             if '/handle?' not in url else url.replace('/handle?', '/done?')),
                            ('one without a signature', without(url, 'Signature'))):
            status, text = fetch(wrong, 'PUT', done)
            c.ok('%s is refused (%s)' % (what, status), status in (400, 401, 403), text[:300])
        c.equal('the stack still waits', stack.status(), 'CREATE_IN_PROGRESS')
        status, text = fetch(url, 'PUT', done)
        c.equal('the pre-signed URL itself is taken', (status, text[:60]), (200, text[:60]))
        stack.reaches('CREATE_COMPLETE')
        c.ok('and the stack is complete', True)

        stack = heat_of(owner, stack)
        stack.deleted()
        c.status('with the stack its user is gone',
                 w.identity.get('/users/' + mine[0]['user_id'], w.admin), 404)
        c.raises('and its keypair is refused', lambda: w.boto(
            pair['access'], pair['secret']).describe_stack_resource(**ask), *w.unknown_key)


@contextlib.contextmanager
def clock_of_the_signer(offset):
    """botocore asks its own clock; let it be wrong by that many seconds."""
    import botocore.auth
    real = botocore.auth.get_current_datetime
    botocore.auth.get_current_datetime = lambda *a, **kw: (
        real(*a, **kw) + datetime.timedelta(seconds=offset))
    try:
        yield
    finally:
        botocore.auth.get_current_datetime = real


def tamper(url):
    parts = urllib.parse.urlsplit(url)
    query = dict(urllib.parse.parse_qsl(parts.query))
    first = query['Signature'][0]
    query['Signature'] = ('A' if first != 'A' else 'B') + query['Signature'][1:]
    return parts._replace(query=urllib.parse.urlencode(query)).geturl()


def without(url, name):
    parts = urllib.parse.urlsplit(url)
    query = [(k, v) for k, v in urllib.parse.parse_qsl(parts.query) if k != name]
    return parts._replace(query=urllib.parse.urlencode(query)).geturl()


def chain(w):
    """alice > builder > heat > aodh: three links, ended in one stroke."""
    c = w.c
    owner = Owner(w, 'carol')
    builder, password = w.service_user('builder')
    with w.leaves_nothing():
        mine = owner.login()
        first = w.identity.trust(mine, owner.id, builder, owner.project, [ROLE],
                                 allow_redelegation=True, redelegation_count=3)
        acting = api.Token(w.trust_login(builder, password, first['id']).want(201))
        kind = 'something.happened.%s' % uuid.uuid4().hex
        stack = owner.heat(acting).create('chain', template(
            dict(GROUP, alarm=resource(
                'OS::Aodh::EventAlarm', event_type=kind, repeat_actions=True,
                alarm_actions=[{'str_replace': {'template': 'trust+url', 'params': {
                    'url': {'get_attr': ['grow', 'signal_url']}}}}])),
            **GROUP_OUTPUTS))
        stack.reaches('CREATE_COMPLETE')
        links = {t['id']: t for t in owner.trusts()}
        by = {t['trustee_user_id']: t for t in links.values()}
        c.equal('there are three trusts of hers', len(links), 3)
        c.equal('builder, heat and aodh hold them', set(by), {builder, w.ids['heat'], w.ids['aodh']})
        to_heat, to_aodh = by[w.ids['heat']], by[w.ids['aodh']]
        c.equal('heat has its from builder', to_heat['redelegated_trust_id'], first['id'])
        c.equal('aodh has its from heat', to_aodh['redelegated_trust_id'], to_heat['id'])
        c.ok('each link may be handed on less often than the one before',
             first['redelegation_count'] > to_heat['redelegation_count'] > to_aodh['redelegation_count'],
             [t['redelegation_count'] for t in (first, to_heat, to_aodh)])
        # Aodh hands on all that its token has: what the role implies as well.
        for t, wanted in ((to_heat, [ROLE]), (to_aodh, [ROLE, 'member', 'reader'])):
            roles = w.identity.get('/OS-TRUST/trusts/%s/roles' % t['id'], w.admin).body['roles']
            c.equal('and carries %s' % ', '.join(wanted), sorted(r['name'] for r in roles), wanted)
        if w.vicar:
            seen = json.dumps(w.identity.get('/users/%s/delegations' % owner.id, mine).body)
            c.ok('the owner sees all three', all(i in seen for i in links))
        w.identity.revoke(mine, mine).want(204)

        looking = heat_of(owner, stack)
        c.equal('the group has one member', looking.output('size'), 1)
        alarm = looking.resource('alarm')['physical_resource_id']
        w.event(kind, owner.project)
        looking.has_size(2)
        c.ok('the alarm fires and scales the stack through the chain of three', True)
        grow = looking.output('grow_url')
        status, text = fetch(grow)
        c.ok('heat scales it through its link of two', status == 200, text[:200])
        looking.has_size(3)

        before = w.cloud.calls.mark() if w.vicar else 0
        mark = w.engine_log()
        w.identity.delete('/OS-TRUST/trusts/' + first['id'], owner.login()).want(204)
        c.equal('deleting the first ends all three', owner.trusts(), [])
        w.event(kind, owner.project)
        fetch(grow)
        w.refused_in_engine('after that', mark)
        if w.vicar:
            refusals = until("aodh's next action is refused", lambda: [
                x for x in w.cloud.calls.since(before)
                if x['path'] == '/v3/auth/tokens' and x['status'] in (401, 403, 404)
                and to_aodh['id'] in x.get('scope', to_aodh['id'])])
            c.ok("aodh's is as well: the identity server gives no token for a cut link", refusals)
        time.sleep(3)
        looking = heat_of(owner, stack)
        c.equal('the group is as it was', looking.output('size'), 3)
        c.status('the trust-scoped token of builder is dead', w.identity.validate(w.admin, acting), 404)
        c.status('and gets no other', w.trust_login(builder, password, first['id']), 401, 403, 404)
        looking.deleted()
        c.ok('the owner can delete the stack', True)
        a = api.Api(w.cloud.aodh_url).get('/v2/alarms/' + alarm, owner.login())
        c.status('the alarm is gone from aodh', a, 404)


def keypair(w):
    """A program with a keypair from a trust token, on heat-api-cfn, with boto3."""
    c = w.c
    owner = Owner(w, 'kate')
    worker, password = w.service_user('worker')
    with w.leaves_nothing():
        stack = owner.heat().create('keypair', template({
            'thing': resource('OS::Heat::RandomString', length=8)}))
        stack.reaches('CREATE_COMPLETE')
        trust = w.identity.trust(owner.login(), owner.id, worker, owner.project, [ROLE])
        acting = api.Token(w.trust_login(worker, password, trust['id']).want(201))
        made = w.identity.post('/users/%s/credentials/OS-EC2' % acting.user, acting,
                               {'tenant_id': owner.project})
        if not w.vicar:
            c.status('Keystone gives delegated tokens no keypairs', made, 403)
            stack.deleted()
            w.identity.delete('/OS-TRUST/trusts/' + trust['id'], owner.login()).want(204)
            return
        pair = made.want(201).body['credential']
        program = w.boto(pair['access'], pair['secret'])
        ask = {'StackName': stack.name, 'LogicalResourceId': 'thing'}
        seen = program.describe_stack_resource(**ask)['StackResourceDetail']
        c.equal("boto3 sees the owner's stack with it", seen['StackId'].rsplit('/')[-1], stack.id)
        c.raises('a wrong secret is refused', lambda: w.boto(
            pair['access'], 'x' * 40).describe_stack_resource(**ask), botocore.exceptions.ClientError)
        c.raises('a keypair can hand on nothing: Heat gets no trust from it', lambda:
                 program.create_stack(StackName='more', TemplateBody=json.dumps(
                     template({'thing': resource('OS::Heat::RandomString', length=8)}))),
                 botocore.exceptions.ClientError)
        c.equal('and none was made', [t['id'] for t in owner.trusts()
                                      if t['trustee_user_id'] != w.ids['heat']], [trust['id']])
        w.identity.delete('/OS-TRUST/trusts/' + trust['id'], owner.login()).want(204)
        c.raises('with the trust it is refused', lambda: program.describe_stack_resource(**ask),
                 botocore.exceptions.ClientError)
        left = [k for k in w.keypairs_of(owner.id) + w.keypairs_of(worker)
                if pair['access'] in k['blob']]
        c.equal('and gone', left, [])
        heat_of(owner, stack).deleted()


def succession(w):
    """gina leaves and is deleted; the stack scales on, by the same trust, which a colleague took over."""
    c = w.c
    if not w.vicar:
        c.skip('succession', 'a Keystone has none')
        return
    gina = Owner(w, 'gina')
    hank = Owner(w, 'hank', gina.project)
    with w.leaves_nothing():
        stack = gina.heat().create('succession', template(GROUP, **GROUP_OUTPUTS))
        stack.reaches('CREATE_COMPLETE')
        grow = stack.output('grow_url')
        trust = gina.trusts()[0]['id']
        w.identity.delete('/users/%s?hand_over_to=%s' % (gina.id, hank.id), w.admin).want(204)
        c.status('gina is deleted', w.identity.get('/users/' + gina.id, w.admin), 404)
        time.sleep(1.1)                   # tokens of the second of an end are ended
        status, text = fetch(grow)
        c.ok("the policy's signed URL is taken", status == 200, text[:300])
        again = heat_of(hank, stack)
        again.has_size(2)
        c.ok('and the group has grown, without gina', True)
        shown = w.identity.get('/OS-TRUST/trusts/' + trust, w.admin).want(200).body['trust']
        c.equal('by the same trust, in the name of gina, resting on hank',
                [shown['trustor_user_id'], shown['adopted_by']['user_id'],
                 [t['id'] for t in gina.trusts()]], [gina.id, hank.id, [trust]])
        seen = w.identity.get('/users/%s/delegations' % hank.id, hank.login()).want(200).body['delegations']
        c.equal('which hank sees', [t['id'] for t in seen['acting_for_user']], [trust])
        c.status('and suspends', w.identity.post('/OS-TRUST/trusts/%s/suspend' % trust, hank.login(), {
            'suspension': {'reason': 'a look at it'}}), 200)
        mark = w.engine_log()
        fetch(grow)
        w.refused_in_engine('while it is suspended', mark)
        c.status('and resumes it', w.identity.post('/OS-TRUST/trusts/%s/resume' % trust, hank.login()), 200)
        time.sleep(1.1)
        status, text = fetch(grow)
        c.ok('the policy is taken again', status == 200, text[:300])
        again = heat_of(hank, stack)
        again.has_size(3)
        c.ok('and the group grows on', True)
        again.deleted()
        c.ok('the stack is deleted, and the trust with it', until('the trust is gone', lambda: not gina.trusts()))


def faults(w):
    """What Heat meets when a delegation, its people or the identity server fail."""
    c = w.c
    owner = Owner(w, 'frank')
    grant = '/projects/%s/users/%s/roles/%s' % (owner.project, owner.id, w.roles[ROLE])
    with w.leaves_nothing():
        stack = owner.heat().create('faults', template(GROUP, **GROUP_OUTPUTS))
        stack.reaches('CREATE_COMPLETE')
        grow = stack.output('grow_url')
        size = 1

        def grows(what):
            nonlocal size
            status, text = fetch(grow)
            c.ok('%s: the policy is taken' % what, status == 200, '%s %s' % (status, text[:200]))
            size += 1
            heat_of(owner, stack).has_size(size)
            c.ok('%s: the group grows to %d' % (what, size), True)

        def refuses(what):
            mark = w.engine_log()
            status, text = fetch(grow)
            if status == 200:
                w.refused_in_engine(what, mark)
            else:
                c.ok('%s: heat-api-cfn refuses (%s)' % (what, status), status in (None, 401, 403, 500, 503),
                     text[:200])

        grows('all is well')

        w.identity.delete(grant, w.admin).want(204)
        refuses('the delegated role is taken away')
        w.identity.put(grant, w.admin).want(204)
        grows('it is given back')

        w.identity.patch('/users/' + owner.id, w.admin, {'user': {'enabled': False}}).want(200)
        refuses('the trustor is disabled')
        w.identity.patch('/users/' + owner.id, w.admin, {'user': {'enabled': True}}).want(200)
        grows('the user is enabled')

        w.cloud.identity.halt()
        refuses('the identity server is away')
        w.cloud.identity.start()
        grows('it is back')

        if w.vicar:
            with slow(w.cloud.identity, hang=1.5, breath=0.2):
                grows('it answers slowly')
        c.equal('the group has what was asked for, no more',
                heat_of(owner, stack).output('size'), size)
        heat_of(owner, stack).deleted()

        restarted(w, owner)
        expired(w, owner)


@contextlib.contextmanager
def slow(identity, hang, breath):
    """The server does nothing for `hang` seconds, works for `breath` seconds, and so on."""
    stop = threading.Event()

    def hold():
        while not stop.is_set():
            os.killpg(identity.process.pid, signal.SIGSTOP)
            stop.wait(hang)
            os.killpg(identity.process.pid, signal.SIGCONT)
            stop.wait(breath)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def restarted(w, owner):
    """The identity server restarts while a stack is being made and waits for a signal."""
    c = w.c
    stack = owner.heat().create('restarted', template(
        {'handle': resource('OS::Heat::WaitConditionHandle', signal_transport='CFN_SIGNAL'),
         'done': wait_for('handle'),
         'after': dict(resource('OS::Heat::AutoScalingGroup', min_size=1, max_size=2,
                                resource=resource('OS::Heat::RandomString', length=8)),
                       depends_on='done'),
         'late': dict(resource('OS::Heat::WaitConditionHandle', signal_transport='CFN_SIGNAL'),
                      depends_on='after')},
        signal={'get_attr': ['handle', 'signal']}))
    stack.made('handle')
    url = json.loads(stack.output('signal'))['alarm_url']
    w.cloud.identity.halt()
    w.cloud.identity.start()
    status, text = fetch(url, 'PUT', json.dumps({
        'status': 'SUCCESS', 'reason': 'up', 'id': '1', 'data': 'x'}).encode())
    c.ok('after a restart the pre-signed URL is good', status == 200, '%s %s' % (status, text[:200]))
    stack = heat_of(owner, stack)
    stack.reaches('CREATE_COMPLETE')
    c.ok('and Heat goes on making the stack: groups, users, keypairs', True)
    stack.deleted()


def expired(w, owner):
    """A stack made through a trust with an end: when it comes, Heat's link ends too."""
    c = w.c
    builder, password = w.service_user('short-lived')
    seconds = 20
    trust = w.identity.trust(owner.login(), owner.id, builder, owner.project, [ROLE],
                             allow_redelegation=True, redelegation_count=2,
                             expires_at=api.stamp(seconds))
    ends = time.monotonic() + seconds
    acting = api.Token(w.trust_login(builder, password, trust['id']).want(201))
    stack = owner.heat(acting).create('expired', template(GROUP, **GROUP_OUTPUTS))
    stack.reaches('CREATE_COMPLETE')
    grow = stack.output('grow_url')
    status, text = fetch(grow)
    c.ok("before its end, Heat's link works", status == 200, text[:200])
    heat_of(owner, stack).has_size(2)
    below = [t for t in owner.trusts() if t['trustee_user_id'] == w.ids['heat']]
    c.equal("Heat's link ends with its parent", [t['expires_at'] for t in below],
            [trust['expires_at']])
    time.sleep(max(0, ends - time.monotonic()) + 1)
    mark = w.engine_log()
    fetch(grow)
    w.refused_in_engine('after it', mark)
    c.status('and the service gets no token', w.trust_login(builder, password, trust['id']), 401, 403, 404)
    mine = heat_of(owner, stack)
    c.equal('nothing grew', mine.output('size'), 2)

    mine.deleted()
    c.ok('the owner can delete the stack', True)
    w.identity.delete('/OS-TRUST/trusts/' + trust['id'], owner.login()).want(204, 404)

    trust = w.identity.trust(owner.login(), owner.id, builder, owner.project, [ROLE],
                             allow_redelegation=True, redelegation_count=2)
    acting = api.Token(w.trust_login(builder, password, trust['id']).want(201))
    stack = owner.heat(acting).create('renewed', template(GROUP, **GROUP_OUTPUTS))
    stack.reaches('CREATE_COMPLETE')
    status, text = fetch(stack.output('grow_url'))
    c.ok('with a new trust the service makes a stack that works', status == 200, text[:200])
    heat_of(owner, stack).has_size(2)
    heat_of(owner, stack).deleted()
    w.identity.delete('/OS-TRUST/trusts/' + trust['id'], owner.login()).want(204)


SCENARIOS = {'deferred': deferred, 'instance': instance, 'chain': chain, 'keypair': keypair,
             'succession': succession, 'faults': faults}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--keystone', action='store_true')
    parser.add_argument('--only', nargs='*', choices=SCENARIOS, default=list(SCENARIOS))
    options = parser.parse_args()
    checks = harness.Checks()
    began = time.monotonic()
    took = {}

    def say(text):
        print('      %s' % text, flush=True)

    with heat_cloud.Cloud(keystone=options.keystone, say=say) as cloud:
        w = World(checks, cloud, options.keystone)
        if w.vicar:
            cloud.calls = heat_calls.Calls(cloud.identity.log)
        for name in options.only:
            start, failures = time.monotonic(), len(checks.failures)
            checks.part('%s: %s' % (name, SCENARIOS[name].__doc__), SCENARIOS[name], w)
            took[name] = (time.monotonic() - start, len(checks.failures) - failures)
            if took[name][1]:
                cloud.show_complaints()
        if w.vicar:
            checks.part('calls', heat_calls.report, checks, cloud.calls, w.people)
    print()
    for name, (seconds, bad) in took.items():
        print('%-10s %5.1f s  %s' % (name, seconds, 'FAILED' if bad else 'passed'))
    print('all in all %.0f s' % (time.monotonic() - began))
    return checks.close()


if __name__ == '__main__':
    sys.exit(main())
