#!/usr/bin/env python3
"""Notifications on a real RabbitMQ, for a real listener of oslo.messaging.

    notifications.py [stories|configured|killed|secured]

The same story is played on a Keystone 30.0.0 and on Vicar, in both formats: the listener hears the same events, with
the same keys and the same values but for ids, times and the few that docs/notifications.md names. A listener with the
same options of the broker hears. Then the broker is killed under load, comes back, speaks TLS, and was told otherwise
what an exchange is like.
"""
import atexit
import base64
import concurrent.futures
import difflib
import hashlib
import json
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

import harness

if __name__ == '__main__':
    harness.run_in('keystone')
    subprocess.run([os.path.join(harness.HERE, 'setup.sh'), 'services'], check=True, stdout=subprocess.DEVNULL)

import oslo_messaging
from oslo_config import cfg

import server
import services
from notifications_story import GLOBAL, Story, play
from server import free_port

PATIENCE = 60
# It has half a page for each message that comes twice, and passes over it.
logging.getLogger('oslo_messaging._drivers.amqpdriver').setLevel(logging.CRITICAL)


def until(what, condition, patience=PATIENCE):
    end = time.monotonic() + patience
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError('after %d s: %s' % (patience, what))
        time.sleep(0.05)


# Of one who is none but by their password or certificate, and where nobody else may.
PROGRAM = ('program', 'p@:%x')
VHOST = 'of programs/one'


def may(user, password, vhost):
    """What makes a user of the broker who may do anything on one virtual host."""
    salt = os.urandom(4)
    hashed = base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
    return {'users': [{'name': user, 'password_hash': hashed, 'hashing_algorithm': 'rabbit_password_hashing_sha256',
                       'tags': ''}],
            'vhosts': [{'name': vhost}],
            'permissions': [dict(user=user, vhost=vhost, configure='.*', write='.*', read='.*')]}


class Bus(services.RabbitMq):
    """A RabbitMQ that speaks TLS on a second port, where a certificate says who somebody is."""

    def __init__(self):
        super().__init__()
        self.tls = free_port()
        self.ca = self.at('ca.pem')
        with open(self.at('names'), 'w') as f:
            f.write('subjectAltName = DNS:localhost, IP:127.0.0.1\nbasicConstraints = CA:FALSE\n')
        new = 'req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes '
        lines = [new + '-x509 -subj /CN=authority -keyout ca.key -out ca.pem -days 2']
        for name in ('server', PROGRAM[0]):
            lines += [new + f'-subj /CN={name} -keyout {name}.key -out {name}.csr',
                      f'x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile names '
                      f'-out {name}.pem -days 2']
        for line in lines:
            subprocess.run(['openssl', *line.split()], cwd=self.dir, check=True, capture_output=True)

    def at(self, name):
        return os.path.join(self.dir, name)

    def command(self):
        command = super().command()
        with open(self.at('plugins'), 'w') as f:
            f.write('[rabbitmq_auth_mechanism_ssl].')
        guest, program = may('guest', 'guest', '/'), may(*PROGRAM, VHOST)
        with open(self.at('definitions.json'), 'w') as f:
            json.dump({kind: guest[kind] + program[kind] for kind in guest}, f)
        options = {
            'listeners.ssl.default': '127.0.0.1:%d' % self.tls, 'ssl_options.certfile': self.at('server.pem'),
            'ssl_options.keyfile': self.at('server.key'), 'ssl_options.cacertfile': self.ca,
            'ssl_options.verify': 'verify_peer', 'ssl_options.fail_if_no_peer_cert': 'false',
            'ssl_cert_login_from': 'common_name', 'auth_mechanisms.1': 'PLAIN', 'auth_mechanisms.2': 'AMQPLAIN',
            'auth_mechanisms.3': 'EXTERNAL', 'load_definitions': self.at('definitions.json'), 'heartbeat': '10'}
        with open(self.at('rabbitmq.conf'), 'a') as f:
            f.writelines('%s = %s\n' % option for option in options.items())
        return command

    def ready(self):
        return super().ready() and server.answers(self.tls)

    def address(self, *before):
        hosts = ['guest:guest@127.0.0.1:%d' % port for port in (*before, self.port)]
        return 'rabbit://%s/' % ','.join(hosts)


class Node:
    """A way to the broker that can be cut, as if it were one of several."""

    def __init__(self, to):
        self.to, self.port = to, free_port()
        self.open()

    def open(self):
        self.ends = []
        self.door = socket.create_server(('127.0.0.1', self.port))
        threading.Thread(target=self.serve, args=(self.door,), daemon=True).start()

    def serve(self, door):
        while True:
            try:
                here = door.accept()[0]
                there = socket.create_connection(('127.0.0.1', self.to))
            except OSError:
                return
            self.ends += [here, there]
            for ends in ((here, there), (there, here)):
                threading.Thread(target=self.pass_on, args=ends, daemon=True).start()

    @staticmethod
    def pass_on(here, there):
        try:
            while data := here.recv(65536):
                there.sendall(data)
        except OSError:
            pass
        here.close()
        there.close()

    def cut(self):
        for end in (self.door, *self.ends):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()


class Listener:
    """What a service runs that wants to know: oslo.messaging's own listener."""

    def __init__(self, url, topic, options=None, exchange='keystone', **filters):
        self.heard = []
        self.filter_rule = oslo_messaging.NotificationFilter(**filters) if filters else None
        if self.filter_rule is None:
            del self.filter_rule
        conf = cfg.ConfigOpts()
        with tempfile.NamedTemporaryFile(suffix='.conf') as f:
            server.write_ini(f.name, {'oslo_messaging_rabbit': options or {}})
            conf(['--config-file', f.name])
        transport = oslo_messaging.get_notification_transport(conf, url)
        target = oslo_messaging.Target(topic=topic, exchange=exchange)
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


def settings(form, topic, url, options=None, exchange='keystone'):
    return {
        'DEFAULT': {'notification_format': form, 'notification_opt_out': 'identity.authenticate.pending',
                    'default_publisher_id': 'the-host', 'transport_url': url, 'control_exchange': exchange},
        'oslo_messaging_rabbit': options or {},
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


UUID = re.compile(r'[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}')


def plain(value, names):
    """A payload without what is another one each time."""
    if isinstance(value, dict):
        return {key: plain(inner, names) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner, names) for inner in value]
    if not isinstance(value, str):
        return value
    for id, name in names.items():
        value = value.replace(id, '<%s>' % name)
    value = re.sub(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+0000', '<time>', value)
    # An eighth of a token's audit id at each end.
    value = re.sub(r'\S{3} x{8} \S{3}', '<masked>', value)
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
        front = {'vicar': {'assertion_headers': 'OIDC-', 'trusted_proxies': '127.0.0.1'}}
        vicar = Vicar(settings={**settings(form, 'vicar_' + form, bus.address(free_port())), **front})
        return [heard_of(c, bus, form, at) for at in (keystone, vicar)]

    # A Keystone takes longer to make one.
    made = Vicar()
    made.start()
    made.halt()
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


def configured(c, bus):
    """options of the broker"""
    tls = {'ssl': 'true', 'ssl_ca_file': bus.ca}
    own = {'ssl_cert_file': bus.at('program.pem'), 'ssl_key_file': bus.at('program.key')}
    with open(bus.at('both.pem'), 'w') as both:
        for name in own.values():
            with open(name) as f:
                both.write(f.read())
    vhost, password = (urllib.parse.quote(text, '') for text in (VHOST, PROGRAM[1]))
    external = 'rabbit://localhost:%d/%s' % (bus.tls, vhost)
    cases = {
        'quorum': (bus.address(), {
            'rabbit_quorum_queue': 'true', 'rabbit_quorum_delivery_limit': 5, 'rabbit_quorum_max_memory_length': 1000,
            'rabbit_quorum_max_memory_bytes': 1000000}),
        'quorum in the URL': (bus.address() + '?rabbit_quorum_queue=true&rabbit_quorum_delivery_limit=5', {}),
        'durable, transient quorum': (bus.address(), {
            'amqp_durable_queues': 'true', 'rabbit_transient_quorum_queue': 'true'}),
        'auto delete': (bus.address(), {'amqp_auto_delete': 'true'}),
        'virtual host': ('rabbit://%s:%s@127.0.0.1:%d/%s' % (PROGRAM[0], password, bus.port, vhost), {
            'rabbit_login_method': 'PLAIN'}),
        'certificate': (external, {**tls, **own, 'rabbit_login_method': 'EXTERNAL'}),
        'certificate and key in one file': (external, {
            **tls, 'ssl_cert_file': both.name, 'rabbit_login_method': 'EXTERNAL'}),
    }

    def hears(name):
        url, options = cases[name]
        topic = name.replace(' ', '_').replace(',', '')
        with Vicar(settings=settings('basic', topic, url, options, topic)) as v:
            s = Story(v)
            s.make('before', 'region', id='before')
            until('%s: it is sent' % name, lambda: v.count('sent') == 2)
            # The queue is there, and must be as the listener wants it.
            listener = Listener(url, topic, options, topic)
            s.make('after', 'region', id='after')
            for region in ('before', 'after'):
                listener.wait_for(region, 'identity.region.created')
            listener.stop()
            with open(v.log) as f:
                c.ok('%s: a listener with the same options hears' % name, 'declared otherwise' not in f.read())

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(hears, name) for name in cases] + [pool.submit(several, c, bus)]:
            done.result()


def several(c, bus):
    nodes = [Node(bus.port), Node(bus.port)]
    url = 'rabbit://' + ','.join('guest:guest@127.0.0.1:%d' % node.port for node in nodes) + '/'
    options = {'kombu_failover_strategy': 'shuffle', 'kombu_reconnect_delay': 0.1}
    with Vicar(settings=settings('basic', 'several', url, options)) as v:
        s = Story(v)
        listener = Listener(url, 'several', options)
        for n, node in enumerate(nodes):
            s.make('through any', 'region', id='before-%d' % n)
            listener.wait_for('before-%d' % n, 'identity.region.created')
            node.cut()
            s.make('through the other', 'region', id='after-%d' % n)
            listener.wait_for('after-%d' % n, 'identity.region.created')
            node.open()
        c.ok('several hosts: one that goes is left for another', True)
        listener.stop()


def load(s, stop, statuses):
    while not stop.is_set():
        answer = s.at.call('POST', '/regions', s.admin, {'region': {}})
        statuses.append(answer.status)


def killed(c, bus):
    """a broker that dies under load, and comes back"""
    durable = {'amqp_durable_queues': 'true'}
    mine = settings('cadf', 'load', bus.address(), durable, 'load')
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
        listener = Listener(bus.address(), 'load', durable, 'load')
        try:
            until('connected again', lambda: v.count('connected') == 1)
            until('what waited is sent', lambda: v.count('waiting') == 0)
            s.make('after', 'region', id='after')
            listener.wait_for('after', 'identity.region.created')
            until('it is counted', lambda: v.count('waiting') == 0)
            # One login that failed nowhere; the story's own is opted in.
            c.equal('each event was sent or counted as dropped', v.count('sent') + v.count('dropped'),
                    len(statuses) + 2)
            until('what was sent before it died is heard too', lambda: v.count('sent') == len(
                {e['metadata']['message_id'] for e in listener.heard}))
        finally:
            listener.stop()


def secured(c, bus):
    """TLS, an exchange that is there already, a cleaner, the end"""
    url = 'rabbit://guest:guest@localhost:%d/?ssl=1&ssl_ca_file=%s' % (bus.tls, bus.ca)
    # The exchange is there, and none that lasts.
    mine = settings('basic', 'secured', url, {'amqp_durable_queues': 'true'})
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
    with Vicar(settings=settings('basic', 'secured', url.split('&')[0])) as v:
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
        for part in (stories, configured, killed, secured):
            if sys.argv[1:] in ([], [part.__name__]):
                c.part(part.__doc__, part, c, bus)
    return c.close()


if __name__ == '__main__':
    sys.exit(main())
