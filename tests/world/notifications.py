#!/usr/bin/env python3
"""Notifications on a real RabbitMQ, for a real listener of oslo.messaging.

    notifications.py [stories|killed|secured]

The same story is played on a Keystone 30.0.0 and on Vicar, in both formats: the listener hears the same events, with
the same keys and the same values but for ids, times and the few that docs/notifications.md names. Then the broker is
killed under load, comes back, speaks TLS, and was told otherwise what an exchange is like.
"""
import atexit
import concurrent.futures
import difflib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import harness

if __name__ == '__main__':
    harness.run_in('keystone')
    subprocess.run([os.path.join(harness.HERE, 'setup.sh'), 'services'], check=True, stdout=subprocess.DEVNULL)

import oslo_messaging
from oslo_config import cfg

import api
import server
import services
from server import free_port

PATIENCE = 60
MEMBER = 'Aa1!' + 'x' * 12
# An id that a client gives to what it does in several services.
GLOBAL = 'req-01234567-89ab-cdef-0123-456789abcdef'
AGENT = 'a-client/1.0'


def until(what, condition, patience=PATIENCE):
    end = time.monotonic() + patience
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError('after %d s: %s' % (patience, what))
        time.sleep(0.05)


class Bus(services.RabbitMq):
    """A RabbitMQ that speaks TLS on a second port."""

    def __init__(self):
        super().__init__()
        self.tls = free_port()
        self.ca = self.at('ca.pem')
        with open(self.at('names'), 'w') as f:
            f.write('subjectAltName = DNS:localhost, IP:127.0.0.1\nbasicConstraints = CA:FALSE\n')
        new = 'req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes '
        for line in (new + '-x509 -subj /CN=authority -keyout ca.key -out ca.pem -days 2',
                     new + '-subj /CN=broker -keyout server.key -out server.csr',
                     'x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile names '
                     '-out server.pem -days 2'):
            subprocess.run(['openssl', *line.split()], cwd=self.dir, check=True, capture_output=True)

    def at(self, name):
        return os.path.join(self.dir, name)

    def command(self):
        command = super().command()
        with open(self.at('rabbitmq.conf'), 'a') as f:
            f.write('listeners.ssl.default = 127.0.0.1:%d\nssl_options.certfile = %s\nssl_options.keyfile = %s\n'
                    'ssl_options.cacertfile = %s\nheartbeat = 10\n' % (
                        self.tls, self.at('server.pem'), self.at('server.key'), self.ca))
        return command

    def ready(self):
        return super().ready() and server.answers(self.tls)

    def address(self, *before):
        hosts = ['guest:guest@127.0.0.1:%d' % port for port in (*before, self.port)]
        return 'rabbit://%s/' % ','.join(hosts)


class Listener:
    """What a service runs that wants to know: oslo.messaging's own listener."""

    def __init__(self, url, topic, **filters):
        self.heard = []
        self.filter_rule = oslo_messaging.NotificationFilter(**filters) if filters else None
        if self.filter_rule is None:
            del self.filter_rule
        conf = cfg.ConfigOpts()
        conf([])
        transport = oslo_messaging.get_notification_transport(conf, url)
        target = oslo_messaging.Target(topic=topic, exchange='keystone')
        self.listener = oslo_messaging.get_notification_listener(
            transport, [target], [self], executor='threading', pool='pool-%d' % id(self) if filters else None)
        self.listener.start()

    def info(self, ctxt, publisher_id, event_type, payload, metadata):
        self.heard.append(dict(event_type=event_type, publisher_id=publisher_id, payload=payload,
                               metadata=metadata, context=ctxt))

    def types(self):
        return [event['event_type'] for event in self.heard]

    def wait_for(self, resource, event_type):
        def found():
            return any(e['event_type'] == event_type and e['payload'].get('resource_info') == resource
                       for e in self.heard)
        until('%s of %s' % (event_type, resource), found)

    def stop(self):
        self.listener.stop()
        self.listener.wait()


SECURITY = {'lockout_failure_attempts': 2, 'lockout_duration': 1800, 'password_regex': '^(?=.*[a-z]).{8,}$',
            'password_regex_description': 'eight or more'}


def settings(form, topic, url):
    return {
        'DEFAULT': {'notification_format': form, 'notification_opt_out': 'identity.authenticate.pending',
                    'default_publisher_id': 'the-host', 'transport_url': url},
        'oslo_messaging_notifications': {'driver': 'messagingv2', 'topics': topic},
        'security_compliance': SECURITY,
        'identity': {'password_hash_rounds': 4},
    }


class Vicar(server.Vicar):
    """One whose metrics are served."""

    def __init__(self, **kw):
        super().__init__(**kw)
        self.metrics = free_port()

    def command(self):
        args, env = super().command()
        return args + ['--metrics-listen', '127.0.0.1:%d' % self.metrics], env

    def count(self, name):
        with urllib.request.urlopen('http://127.0.0.1:%d/metrics' % self.metrics, timeout=10) as r:
            text = r.read().decode()
        return int(re.search(r'^vicar_notifications_%s(?:_total)? (\d+)' % name, text, re.M).group(1))


class Story:
    """Calls, and what each id is called."""

    def __init__(self, at):
        self.at = api.Api(at.url)
        self.names = {}
        self.admin = self.at.admin(at.password)
        self.headers = {'User-Agent': AGENT}
        self.known(admin=self.admin.user, project=self.admin.body['project']['id'])

    def known(self, **ids):
        self.names.update({id: name for name, id in ids.items()})

    def id_of(self, name):
        return next(id for id, known in self.names.items() if known == name)

    def call(self, method, path, body=None, token=None, want=(200, 201, 204), **headers):
        headers = {name.replace('_', '-'): value for name, value in headers.items()}
        answer = self.at.call(method, path, token or self.admin, body, headers={**self.headers, **headers})
        return answer.want(*want)

    def make(self, called, kind, collection=None, **attributes):
        body = self.call('POST', '/' + (collection or kind + 's'), {kind: attributes}).body[kind]
        self.known(**{called: body['id']})
        return body['id']

    def login(self, who, password, scope=None, want=(201,)):
        user = {'id': who} if isinstance(who, str) else {'name': who[0], 'domain': {'id': who[1]}}
        auth = {'identity': {'methods': ['password'], 'password': {'user': dict(user, password=password)}}}
        if scope:
            auth['scope'] = scope
        return self.at.call('POST', '/auth/tokens', None, {'auth': auth}, headers=self.headers).want(*want)


def application(s, user, token, name):
    """An application credential with an access rule."""
    rule = {'service': 'compute', 'method': 'GET', 'path': '/' + name}
    made = s.call('POST', '/users/%s/application_credentials' % user, {'application_credential': {
        'name': name, 'access_rules': [rule]}}, token=token).body['application_credential']
    s.known(**{name: made['id'], name + ' rule': made['access_rules'][0]['id']})


def play(s, form):
    """Everything that a Keystone tells, each at least once."""
    # The catalog.
    region = 'here'
    s.make('region', 'region', id=region)
    s.call('PATCH', '/regions/' + region, {'region': {'description': 'x'}})
    service = s.make('service', 'service', type='compute', name='nova')
    s.call('PATCH', '/services/' + service, {'service': {'name': 'nova2'}})
    endpoint = s.make('endpoint', 'endpoint', service_id=service, interface='public', url='http://x', region_id=region)
    s.call('PATCH', '/endpoints/' + endpoint, {'endpoint': {'url': 'http://y'}})
    s.make('old endpoint', 'endpoint', service_id=service, interface='admin', url='http://x', region='there')
    s.call('DELETE', '/endpoints/' + endpoint, X_Openstack_Request_Id=GLOBAL)
    s.call('DELETE', '/services/' + service)
    s.call('DELETE', '/regions/' + region)
    policy = s.make('policy', 'policy', 'policies', blob='{}', type='application/json')
    s.call('PATCH', '/policies/' + policy, {'policy': {'blob': '{"a": ""}'}})
    s.call('DELETE', '/policies/' + policy)
    # Domains, projects, tags.
    domain = s.make('domain', 'domain', name='d')
    s.call('PATCH', '/domains/' + domain, {'domain': {'description': 'x'}})
    project = s.make('p', 'project', name='p', domain_id=domain)
    s.call('PATCH', '/projects/' + project, {'project': {'description': 'x'}}, X_Openstack_Request_Id=GLOBAL)
    s.call('PUT', '/projects/%s/tags/blue' % project)
    s.call('PUT', '/projects/%s/tags' % project, {'tags': ['red', 'green']})
    s.call('DELETE', '/projects/%s/tags/red' % project)
    s.call('DELETE', '/projects/%s/tags' % project)
    s.make('acting', 'project', name='acting', is_domain=True)
    below = s.make('below', 'project', name='below', domain_id=domain, parent_id=project)
    s.call('DELETE', '/projects/' + below, X_Openstack_Request_Id='odd')
    # People.
    user = s.make('user', 'user', name='u', domain_id=domain, password=MEMBER, default_project_id=project)
    other = s.make('other', 'user', name='v', domain_id=domain, password=MEMBER)
    s.call('PATCH', '/users/' + user, {'user': {'description': 'x'}})
    group = s.make('group', 'group', name='g', domain_id=domain)
    s.call('PATCH', '/groups/' + group, {'group': {'description': 'x'}})
    s.call('PUT', '/groups/%s/users/%s' % (group, user))
    s.call('DELETE', '/groups/%s/users/%s' % (group, user))
    # Roles.
    member = s.at.role_ids(s.admin)['member']
    s.known(member=member)
    role = s.make('role', 'role', name='r')
    own = s.make('own role', 'role', name='own', domain_id=domain)
    s.call('PATCH', '/roles/' + role, {'role': {'description': 'x'}})
    s.call('PUT', '/roles/%s/implies/%s' % (role, own), want=(201, 403))
    for on in ('/projects/' + project, '/domains/' + domain):
        for who in ('/users/' + user, '/groups/' + group):
            s.call('PUT', '%s%s/roles/%s' % (on, who, role))
    s.call('PUT', '/OS-INHERIT/domains/%s/users/%s/roles/%s/inherited_to_projects' % (domain, user, role))
    s.call('DELETE', '/OS-INHERIT/domains/%s/users/%s/roles/%s/inherited_to_projects' % (domain, user, role))
    s.call('DELETE', '/domains/%s/users/%s/roles/%s' % (domain, user, role))
    s.call('DELETE', '/domains/%s/users/%s/roles/%s' % (domain, user, role), want=(404,))
    s.call('PUT', '/system/users/%s/roles/%s' % (user, role))
    # Logins.
    s.call('PUT', '/projects/%s/users/%s/roles/%s' % (project, user, member))
    token = api.Token(s.login(user, MEMBER, api.project(project)))
    s.login(('u', domain), MEMBER, api.project(project))
    s.login(('u', domain), 'wrong', want=(401,))
    s.login(('nobody', domain), 'wrong', want=(401,))
    s.login(other, 'wrong', want=(401,))
    s.login(other, 'wrong', want=(401,))
    s.login(other, MEMBER, want=(401,))
    s.call('POST', '/auth/tokens', {'auth': {'identity': {'methods': ['token'], 'token': {'id': token.id}}}})
    # Their own.
    s.call('PATCH', '/users/' + other, {'user': {'enabled': True, 'password': MEMBER}})
    if form == 'cadf':                  # in the other one, a Keystone says that it was changed
        change = {'user': {'original_password': MEMBER, 'password': 'short'}}
        s.at.call('POST', '/users/%s/password' % other, None, change, headers=s.headers).want(400)
    change = {'user': {'original_password': MEMBER, 'password': MEMBER + 'y'}}
    s.at.call('POST', '/users/%s/password' % other, None, change, headers=s.headers).want(204)
    change = {'user': {'original_password': 'wrong-one', 'password': MEMBER + 'z'}}
    s.at.call('POST', '/users/%s/password' % other, None, change, headers=s.headers).want(401)
    credential = s.call('POST', '/credentials', {'credential': {
        'type': 'cert', 'blob': 'x', 'user_id': user, 'project_id': project}}).body['credential']['id']
    s.known(credential=credential)
    s.call('PATCH', '/credentials/' + credential, {'credential': {'blob': 'y'}})
    s.call('DELETE', '/credentials/' + credential)
    pair = s.call('POST', '/users/%s/credentials/OS-EC2' % user, {'tenant_id': project}, token=token).body['credential']
    s.call('DELETE', '/users/%s/credentials/OS-EC2/%s' % (user, pair['access']), token=token)
    trust = s.call('POST', '/OS-TRUST/trusts', {'trust': {
        'trustor_user_id': user, 'trustee_user_id': other, 'project_id': project, 'impersonation': True,
        'allow_redelegation': True, 'roles': [{'id': member}]}}, token=token).body['trust']['id']
    s.known(trust=trust)
    s.call('DELETE', '/OS-TRUST/trusts/' + trust, token=token)
    application(s, user, token, 'first')
    s.call('DELETE', '/users/%s/application_credentials/%s' % (user, s.id_of('first')), token=token)
    s.call('DELETE', '/users/%s/access_rules/%s' % (user, s.id_of('first rule')), token=token)
    # Reading tells nothing, and neither does what is refused.
    s.call('GET', '/users/' + user)
    s.call('PATCH', '/users/' + user, {'user': {'enabled': 'x'}}, want=(400,))
    s.call('DELETE', '/users/nobody', want=(404,))
    s.call('DELETE', '/users/' + user, token=token, want=(403,))
    # What goes with something else.
    s.call('DELETE', '/roles/' + role)
    s.call('DELETE', '/roles/' + own)
    application(s, user, api.Token(s.login(user, MEMBER, api.project(project))), 'second')
    s.call('DELETE', '/users/' + user)
    s.call('DELETE', '/groups/' + group)
    # One project and one user are left: of several, the order is any.
    s.call('PATCH', '/domains/' + domain, {'domain': {'enabled': False}})
    s.call('DELETE', '/domains/' + domain)
    s.make('the end', 'region', id='the-end')


UUID = re.compile(r'[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}')


def plain(value, names):
    """A payload without what is another one each time."""
    if isinstance(value, dict):
        return {key: plain(inner, names) for key, inner in value.items()}
    if not isinstance(value, str):
        return value
    for id, name in names.items():
        value = value.replace(id, '<%s>' % name)
    value = re.sub(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+0000', '<time>', value)
    # A keypair's credential is a hash of what is public of it.
    value = re.sub(r'[0-9a-f]{64}', '<hash>', value)
    value = re.sub('req-' + UUID.pattern, lambda m: m.group() if m.group() == GLOBAL else '<request>', value)
    return re.sub('(?<!req-)' + UUID.pattern, '<uuid>', value)


# What docs/notifications.md says to be otherwise here.
def alike(event):
    payload = event['payload']
    reason, initiator = payload.get('reason'), payload.get('initiator', {})
    if reason and reason['reasonCode'] == '404':
        reason['reasonType'] = reason['reasonType'].replace(': nobody', '')
        initiator.pop('user_name', None)
    if reason and event['event_type'] == 'identity.user.updated':
        payload['outcome'] = 'failure'
        reason['reasonType'] = '<why>'
    if payload.get('inherited_to_projects'):
        payload.pop('initiator', None)
    return event


def told(listener, names):
    lines = []
    for event in listener.heard:
        event = alike({'event_type': event['event_type'], 'publisher_id': event['publisher_id'],
                       'payload': plain(event['payload'], names), 'context': event['context'],
                       'metadata': sorted(event['metadata'])})
        lines += json.dumps(event, indent=1, sort_keys=True).splitlines()
    return lines


def compared(c, form, theirs, ours):
    """Two lists of lines."""
    difference = list(difflib.unified_diff(theirs, ours, 'Keystone', 'Vicar', lineterm='', n=12))
    c.ok('%s: the same events, keys and values' % form, not difference, '\n' + '\n'.join(difference[:150]))


def heard_of(c, bus, form, at):
    """What a listener hears of the story on a server that has begun."""
    listener = Listener(bus.address(), '%s_%s' % (at.kind, form))
    with at:
        s = Story(at)
        # What bootstrap and the login have told is before it.
        s.make('begin', 'region', id='begin')
        listener.wait_for('begin', 'identity.region.created')
        listener.heard.clear()
        play(s, form)
        listener.wait_for('the-end', 'identity.region.created')
        c.ok('%s: %s tells %d events' % (form, at.kind, len(listener.heard)), len(listener.heard) > 60)
        with open(at.log) as f:
            c.ok('%s: no password of the broker in the log of %s' % (form, at.kind), 'guest:guest' not in f.read())
    listener.stop()
    return told(listener, s.names)


def stories(c, bus):
    """the same as a Keystone"""
    def both(form):
        keystone = server.Keystone(store=copied(made.store), settings=settings(form, 'keystone_' + form, bus.address()))
        # Nothing listens on the first port.
        vicar = Vicar(settings=settings(form, 'vicar_' + form, bus.address(free_port())))
        return [heard_of(c, bus, form, at) for at in (keystone, vicar)]

    made = server.Keystone()
    made.create()
    forms = ('cadf', 'basic')
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for form, (theirs, ours) in zip(forms, pool.map(both, forms)):
            compared(c, form, theirs, ours)
    made.stop()


def copied(store):
    """Another store of the same content."""
    folder = tempfile.mkdtemp(prefix='vicar-world-store-')
    atexit.register(shutil.rmtree, folder, True)
    for path in (store.fernet, store.credential):
        shutil.copytree(path, os.path.join(folder, os.path.basename(path)))
    shutil.copy(store.database, folder)
    return server.Store(*(os.path.join(folder, os.path.basename(path))
                          for path in (store.database, store.fernet, store.credential)))


def load(s, stop, statuses):
    while not stop.is_set():
        answer = s.at.call('POST', '/regions', s.admin, {'region': {}})
        statuses.append(answer.status)


def killed(c, bus):
    """a broker that dies under load, and comes back"""
    mine = settings('cadf', 'load', bus.address())
    mine['vicar'] = {'max_waiting_notifications': 50}
    with Vicar(settings=mine) as v:
        s = Story(v)
        until('connected', lambda: v.count('connected') == 1)
        stop, statuses = threading.Event(), []
        threads = [threading.Thread(target=load, args=(s, stop, statuses)) for _ in range(2)]
        for t in threads:
            t.start()
        until('events', lambda: v.count('sent') > 20)
        bus.kill()
        bus.mapper.stop()
        try:
            until('drops', lambda: v.count('dropped') > 100)
        finally:
            stop.set()
            for t in threads:
                t.join()
        c.ok('%d requests went on without the broker' % len(statuses), set(statuses) == {201}, set(statuses))
        c.equal('it is away in the metrics', v.count('connected'), 0)
        c.ok('what waits is bounded', v.count('waiting') <= 50 + 64, v.count('waiting'))
        with open(v.log) as f:
            c.equal('drops are said once', f.read().count('are dropped, as too many wait'), 1)
        bus.start()
        listener = Listener(bus.address(), 'load')
        try:
            until('connected again', lambda: v.count('connected') == 1)
            until('what waited is sent', lambda: v.count('waiting') == 0)
            s.make('after', 'region', id='after')
            listener.wait_for('after', 'identity.region.created')
            until('it is counted', lambda: v.count('waiting') == 0)
            # One login that failed nowhere; the story's own is opted in.
            c.equal('each event was sent or counted as dropped', v.count('sent') + v.count('dropped'),
                    len(statuses) + 2)
        finally:
            listener.stop()


def secured(c, bus):
    """TLS, an exchange that is there already, a cleaner, the end"""
    url = 'rabbit://guest:guest@localhost:%d/?ssl=1&ssl_ca_file=%s' % (bus.tls, bus.ca)
    mine = settings('basic', 'secured', url)
    # The exchange is there, and none that lasts.
    mine['oslo_messaging_rabbit'] = {'amqp_durable_queues': 'true'}
    listener = Listener(bus.address(), 'secured')
    # As a key manager does it, which wants nothing else.
    cleaner = Listener(bus.address(), 'secured', event_type=r'identity\.project\.deleted')
    with Vicar(settings=mine) as v:
        s = Story(v)
        project = s.make('p', 'project', name='p', domain_id='default')
        s.call('DELETE', '/projects/' + project)
        cleaner.wait_for(project, 'identity.project.deleted')
        c.equal('a cleaner hears of the project alone',
                [e['payload']['resource_info'] for e in cleaner.heard], [project])
        for _ in range(200):
            s.at.call('POST', '/regions', s.admin, {'region': {}}).want(201)
        v.halt()
        until('all', lambda: listener.types().count('identity.region.created') == 200)
        c.ok('a server that stops sends what waits', True)
    listener.stop()
    cleaner.stop()
    mine = settings('basic', 'secured', url.split('&')[0])
    mine['oslo_messaging_rabbit'] = {}
    with Vicar(settings=mine) as v:
        s = Story(v)
        s.make('r', 'region', id='r')

        def refused():
            with open(v.log) as f:
                return 'no broker for notifications' in f.read()
        until('the certificate is refused', refused)
        c.equal('whoever is not to be trusted is not connected to', v.count('connected'), 0)
        began = time.monotonic()
        v.halt()
        c.ok('a server stops without its broker', time.monotonic() - began < v.patience)


def main():
    c = harness.Checks()
    with Bus() as bus:
        for part in (stories, killed, secured):
            if sys.argv[1:] in ([], [part.__name__]):
                c.part(part.__doc__, part, c, bus)
    return c.close()


if __name__ == '__main__':
    sys.exit(main())
