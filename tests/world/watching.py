#!/usr/bin/env python3
"""What an operator watches: metrics, contrib/prometheus, contrib/grafana, traces.

A real Prometheus scrapes a real server on PostgreSQL, under a load in which something of everything happens: logins,
refusals, trusts, exchanges, a database that is away, a fault. `promtool` checks the rules and tests each alert; every
expression of the alerts and of the dashboard has data from that scrape. Traces go to a collector of OTLP, which
decodes them with OpenTelemetry's own definitions.

    watching.py [--only alerts scrape traces]
"""
import argparse
import base64
import concurrent.futures
import hashlib
import hmac
import http.server
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

import harness

harness.run_in('watching')

import requests
import yaml
from keystoneauth1 import session
from keystoneauth1.identity import v3
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as otlp
from opentelemetry.proto.trace.v1 import trace_pb2

import api
import server
import stores

CONTRIB = os.path.join(harness.REPO, 'contrib')
ALERTS = os.path.join(CONTRIB, 'prometheus', 'alerts.yml')
SCRAPE = os.path.join(CONTRIB, 'prometheus', 'prometheus.yml')
DASHBOARD = os.path.join(CONTRIB, 'grafana', 'vicar.json')
PAGE = os.path.join(harness.REPO, 'docs', 'metrics.md')
HERE = 'vicar.example:9100'
PATIENCE = 60


def eventually(what, seconds=PATIENCE):
    """The first answer of `what()` that is true, or the last one."""
    end = time.monotonic() + seconds
    while not (got := what()) and time.monotonic() < end:
        time.sleep(0.1)
    return got


def alerts():
    """name -> rule"""
    with open(ALERTS) as f:
        rules = [r for g in yaml.safe_load(f)['groups'] for r in g['rules']]
    return {r['alert']: r for r in rules}


# ---- each alert by itself


def series(name, values, **labels):
    labels = {'instance': HERE, 'job': 'vicar', **labels}
    return {'series': '%s{%s}' % (name, ','.join('%s="%s"' % x for x in labels.items())), 'values': values}


def requests_of(values, status, route='/v3/auth/tokens', method='POST'):
    return series('vicar_http_requests_total', values, status=str(status), route=route, method=method)


def durations(slow, fast):
    """A histogram with so many slow and fast requests a minute."""
    bucket = 'vicar_http_request_duration_seconds_bucket'
    return [series(bucket, '0+%dx60' % fast, le='0.1'), series(bucket, '0+%dx60' % (fast + slow), le='1.6'),
            series(bucket, '0+%dx60' % (fast + slow), le='+Inf'),
            series('vicar_http_request_duration_seconds_count', '0+%dx60' % (fast + slow))]


# For each alert: what happens, after how many minutes, and whether it fires: then with which labels and value.
# The series have a value a minute.
CASES = {
    'VicarDown': [
        ([series('up', '1x5 0x20')], 9, [({'job': 'vicar'}, '')]),
        ([series('up', '1x5 0 1x20')], 9, []),
        ([series('up', '0x20', job='other')], 9, [])],
    'VicarFaults': [
        ([requests_of('0x10 1x40', 500)], 12, [({'route': '/v3/auth/tokens'}, '')]),
        # The first one of a process.
        ([requests_of('_x20 1x40', 500)], 22, [({'route': '/v3/auth/tokens'}, '')]),
        # Long ago, and what is none.
        ([requests_of('1x80', 500)], 60, []),
        ([requests_of('0+10x40', 503), requests_of('0+10x40', 401)], 20, [])],
    'VicarUnavailable': [
        ([requests_of('0+10x40', 503), requests_of('0+10x40', 201)], 20, [({}, '50%')]),
        ([requests_of('0+10x5 50x40', 503), requests_of('0+10x60', 201)], 30, []),
        ([requests_of('0+1x40', 503), requests_of('0+1000x40', 201)], 20, [])],
    'VicarDatabaseAway': [
        ([series('vicar_database_connections_refused_total', '0x5 1+1x20')], 10, [({}, '')]),
        ([series('vicar_database_connections_refused_total', '5x40')], 20, [])],
    'VicarDatabaseConnectionsLost': [
        ([series('vicar_database_connections_lost_total', '0x10 0+1x30')], 35, [({}, '15')]),
        ([series('vicar_database_connections_lost_total', '0x10 5x30')], 15, [])],
    'VicarDatabaseCrowded': [
        ([series('vicar_database_waiting', '0x5 3x30')], 20, [({'job': 'vicar'}, '')]),
        ([series('vicar_database_waiting', '3 0 3 3 0 3 0 3 3 0 3 0 3 3 0 3 0 3 3 0 3')], 20, [])],
    'VicarSlow': [
        (durations(100, 10), 30, [({}, '775ms')]),
        (durations(10, 100), 30, []),
        (durations(20, 1), 30, [])],        # too few to say
    'VicarPasswordsWait': [
        ([series('vicar_passwords_waiting', '0x5 3x30')], 20, [({'job': 'vicar'}, '')]),
        ([series('vicar_passwords_waiting', '3 0 3 3 0 3 0 3 3 0 3 0 3 3 0 3 0 3 3 0 3')], 20, [])],
    'VicarQueueFull': [
        ([series('vicar_passwords_refused_total', '0x5 1x20')], 7, [({}, '')]),
        ([series('vicar_long_reads_refused_total', '0x5 1x20')], 7, [({}, '')]),
        ([series('vicar_http_connections_refused_total', '0x5 1x20')], 7, [({}, '')]),
        ([series('vicar_passwords_refused_total', '1x30'), series('vicar_long_reads_refused_total', '1x30'),
          series('vicar_http_connections_refused_total', '1x30')], 20, [])],
    'VicarLoginsRefused': [
        ([requests_of('0+60x60', 401), requests_of('0+6x60', 201)], 40, [({}, '')]),
        ([requests_of('0+60x60', 401)], 40, [({}, '')]),
        ([requests_of('0+60x60', 401), requests_of('0+600x60', 201)], 40, []),
        ([requests_of('0+6x60', 401)], 40, []),
        ([requests_of('0+60x60', 401, route='/v3/users', method='GET'), requests_of('0+1x60', 201)], 40, [])],
    'VicarReaperStands': [
        ([series('vicar_reaper_sweep_timestamp_seconds', '60x60')], 31, [({'job': 'vicar'}, '30m 0s')]),
        ([series('vicar_reaper_sweep_timestamp_seconds', '0+60x60')], 31, []),
        ([series('vicar_reaper_sweep_timestamp_seconds', '0x60')], 31, [])],
    'VicarNotificationsDropped': [
        ([series('vicar_notifications_dropped_total', '0x5 0+9x30')], 12, [({}, '')]),
        ([series('vicar_notifications_dropped_total', '9x60')], 30, [])],
    'VicarNotificationsWait': [
        ([series('vicar_notifications_waiting', '0x5 3x30')], 20, [({'job': 'vicar'}, '')]),
        ([series('vicar_notifications_waiting', '3 0 3 3 0 3 0 3 3 0 3 0 3 3 0 3 0 3 3 0 3')], 20, [])],
    'VicarTracesDropped': [
        ([series('vicar_spans_dropped_total', '0x5 0+9x60')], 30, [({}, '')]),
        ([series('vicar_spans_dropped_total', '0x5 9x60')], 45, [])],
    'VicarLogDropped': [
        ([series('vicar_log_lines_dropped_total', '0x5 0+9x30')], 12, [({}, '')]),
        ([series('vicar_log_lines_dropped_total', '9x60')], 30, [])],
}


def written(template, labels, value):
    """An annotation with its labels and value put in."""
    text = re.sub(r'\{\{ \$labels\.(\w+) \}\}', lambda m: labels[m.group(1)], template)
    return re.sub(r'\{\{ \$value [^}]*\}\}', value, text)


def unit_tests(rules):
    """What `promtool test rules` runs."""
    tests = []
    for name, cases in CASES.items():
        rule = rules[name]
        for inputs, minutes, fires in cases:
            expected = []
            for labels, value in fires:
                labels = {'instance': HERE, **labels, **rule['labels']}
                expected.append({'exp_labels': labels, 'exp_annotations': {
                    key: written(text, labels, value) for key, text in rule['annotations'].items()}})
            tests.append({'interval': '1m', 'input_series': inputs, 'alert_rule_test': [
                {'eval_time': '%dm' % minutes, 'alertname': name, 'exp_alerts': expected}]})
    return {'rule_files': [ALERTS], 'evaluation_interval': '1m', 'tests': tests}


def promtool(c, what, *args):
    done = subprocess.run(['promtool', *args], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    c.ok(what, done.returncode == 0, done.stdout[-3000:])


def check_alerts(c):
    """promtool's checks, and a test of each alert"""
    rules = alerts()
    promtool(c, 'promtool check rules', 'check', 'rules', ALERTS)
    promtool(c, 'promtool check config', 'check', 'config', SCRAPE)
    c.equal('each alert has cases', sorted(CASES), sorted(rules))
    for name, cases in CASES.items():
        c.ok('%s: a case in which it fires, and one in which it does not' % name,
             {bool(fires) for _, _, fires in cases} == {True, False})
    with tempfile.NamedTemporaryFile('w', suffix='.yml') as f:
        yaml.safe_dump(unit_tests(rules), f)
        f.flush()
        promtool(c, 'promtool test rules: %d cases' % sum(map(len, CASES.values())), 'test', 'rules', f.name)


# ---- a Prometheus that scrapes a Vicar


class Watched(server.Vicar):
    """A Vicar whose metrics are served."""
    more = ()
    env = {}

    def command(self):
        self.metrics = server.free_port()
        args, env = super().command()
        return args + ['--metrics-listen', '127.0.0.1:%d' % self.metrics, *self.more], dict(env, **self.env)

    def exposed(self):
        with urllib.request.urlopen('http://127.0.0.1:%d/metrics' % self.metrics, timeout=10) as r:
            return r.read().decode()

    def value(self, name):
        return float(re.search(r'^%s (\S+)$' % name, self.exposed(), re.M).group(1))


class Prometheus(server.Server):
    """With contrib/prometheus, but for addresses and intervals."""
    kind = 'prometheus'
    ready_path = '/-/ready'
    ready_statuses = (200,)

    def __init__(self, target):
        super().__init__()
        with open(SCRAPE) as f:
            config = yaml.safe_load(f)
        for job in config['scrape_configs']:
            job['scrape_interval'] = '1s'
            job['static_configs'] = [{'targets': [target]}]
        config['global'] = {'evaluation_interval': '1s'}
        shutil.copy(ALERTS, self.dir)
        self.config = os.path.join(self.dir, 'prometheus.yml')
        with open(self.config, 'w') as f:
            yaml.safe_dump(config, f)

    def command(self):
        return (['prometheus', '--config.file', self.config, '--storage.tsdb.path', os.path.join(self.dir, 'data'),
                 '--web.listen-address', '127.0.0.1:%d' % self.port], {})

    def ask(self, path, **query):
        r = requests.get('%s/api/v1/%s' % (self.root, path), params=query, timeout=30)
        body = r.json()
        if body['status'] != 'success':
            raise RuntimeError('%s: %s' % (query, body.get('error')))
        return body['data']

    def query(self, expression):
        """Series of a query, with their values."""
        return [(s['metric'], float(s['value'][1])) for s in self.ask('query', query=expression)['result']]


def signed(access, secret):
    """What Heat sends for a request that was signed with a keypair."""
    params = {'AWSAccessKeyId': access, 'Action': 'Wait', 'SignatureMethod': 'HmacSHA256', 'SignatureVersion': '2',
              'Timestamp': time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}
    query = '&'.join('%s=%s' % (k, urllib.parse.quote(v, safe='-_~')) for k, v in sorted(params.items()))
    mac = hmac.new(secret.encode(), ('GET\nheat.example\n/v1/\n' + query).encode(), hashlib.sha256).digest()
    return {'credentials': {'access': access, 'host': 'heat.example', 'verb': 'GET', 'path': '/v1/',
                            'params': params, 'headers': {}, 'body_hash': '',
                            'signature': base64.b64encode(mac).decode()}}


def load(site, vicar):
    """Something of everything that is counted."""
    a = api.Api(vicar.url)
    root = a.admin(vicar.password)
    project = a.make(root, 'project', name='watched', domain_id='default')
    alice, bob = (a.make(root, 'user', name=n, domain_id='default', password=n) for n in ('alice', 'bob'))
    a.grant(root, a.role_ids(root)['member'], alice, project)
    hers = a.login(alice, 'alice', api.project(project))
    trust = a.trust(hers, alice, bob, project, ['member'])
    theirs = a.login(bob, 'bob', api.trust(trust['id']))
    pair = a.post('/users/%s/credentials/OS-EC2' % alice, theirs, {'tenant_id': project}).want(201).body['credential']
    service = a.admin(vicar.password)
    a.post('/ec2tokens', service, signed(pair['access'], pair['secret'])).want(200)
    a.post('/ec2tokens', service, signed(pair['access'], 'no secret')).want(401)
    a.validate(root, hers).want(200)
    for answer, status in [
            (a.get('/users', hers), 403), (a.get('/projects/none', root), 404), (a.get('/nothing/here'), 404),
            (a.post('/users', root, {'user': {}}), 400), (a.get('/users', 'no token'), 401)]:
        answer.want(status)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        wrong = [pool.submit(a.login_answer, alice, 'wrong') for _ in range(60)]
        for w in wrong:
            w.result().want(401)
    a.delete('/OS-TRUST/trusts/' + trust['id'], hers).want(204)
    # A fault: somebody changed the schema beneath it.
    site.change(['ALTER TABLE region RENAME TO region_elsewhere'])
    a.get('/regions', root).want(500)
    site.change(['ALTER TABLE region_elsewhere RENAME TO region'])
    a.get('/regions', root).want(200)
    # The database is away.
    site.database.kill()
    for _ in range(5):
        a.get('/regions', root).want(503)
    site.database.start()


def always(expression):
    """An alert's expression that has a value whether it fires or not."""
    return re.sub(r'(==|>|<) *([\d.]+)', r'\1 bool \2', expression)


def alternatives(expression):
    """What `or` and `and` are between, on the outermost level: one could hide that another has no data."""
    parts, depth, last = [], 0, 0
    for m in re.finditer(r'[()]|\b(?:or|and)\b', expression):
        word = m.group()
        depth += (word == '(') - (word == ')')
        if depth == 0 and word in ('or', 'and'):
            parts.append(expression[last:m.start()])
            last = m.end()
    return [p.strip() for p in [*parts, expression[last:]]]


def names(expression):
    return set(re.findall(r'\bvicar_\w+', expression))


def panels(dashboard):
    for panel in dashboard['panels']:
        yield panel
        yield from panel.get('panels', [])


def check_dashboard(c, dashboard):
    """Is it one that Grafana can draw?"""
    shown = list(panels(dashboard))
    c.ok('each panel has an id of its own', len({p['id'] for p in shown}) == len(shown))
    taken, clash = {}, []
    for p in shown:
        at = p['gridPos']
        for cell in ((x, y) for x in range(at['x'], at['x'] + at['w']) for y in range(at['y'], at['y'] + at['h'])):
            if cell in taken or cell[0] >= 24:
                clash.append((p['title'], taken.get(cell)))
            taken[cell] = p['title']
    c.ok('no two are in one place', not clash, clash[:3])
    source = {p.get('datasource', {}).get('uid') for p in shown if p['type'] != 'row'}
    c.equal('all ask the source that is chosen above', source, {'${datasource}'})
    variables = {v['name'] for v in dashboard['templating']['list']}
    text = json.dumps([p.get('targets') for p in shown])
    used = set(re.findall(r'\$\{?(\w+)', text)) - {'__rate_interval', '__range'}
    c.ok('variables are defined', used | {'datasource'} <= variables, used - variables)


def check_scrape(c):
    """the scrape, the alerts and the dashboard on it"""
    with open(DASHBOARD) as f:
        dashboard = json.load(f)
    check_dashboard(c, dashboard)
    with open(PAGE) as f:
        documented = set(re.findall(r'^\| `(vicar_\w+)` \|', f.read(), re.M))
    stores.available('postgresql')
    away = {'cache': {'enabled': True}, 'oslo_messaging_notifications': {
        'driver': 'messagingv2', 'transport_url': 'rabbit://127.0.0.1:%d' % server.free_port()}}
    with stores.Site('postgresql', replicas=0) as site, Watched(config=site.conf, settings=away) as vicar, \
            Prometheus('127.0.0.1:%d' % vicar.metrics) as prometheus:
        c.ok('it is scraped', eventually(lambda: [v for _, v in prometheus.query('up') if v == 1]))
        load(site, vicar)
        a = api.Api(vicar.url)
        c.ok('Vicar goes on when the database is back', eventually(
            lambda: a.login_answer(('admin', 'default'), vicar.password).status == 201))
        c.ok('the reaper has swept', eventually(
            lambda: [v for _, v in prometheus.query('vicar_reaper_sweep_timestamp_seconds') if v > 0]))

        def exposed():
            """What Prometheus has, by the names that metrics.md uses."""
            found = set(prometheus.ask('label/__name__/values', **{'match[]': '{job="vicar"}'}))
            return {re.sub(r'^(vicar_http_request_duration_seconds)_\w+$', r'\1', n)
                    for n in found if n.startswith('vicar_')}

        c.ok('the page has every metric, and no other', eventually(lambda: exposed() == documented, 10),
             exposed() ^ documented)
        targets = prometheus.ask('targets')['activeTargets']
        c.equal('nothing was odd about the scrape', [t['lastError'] for t in targets], [''])
        metadata = prometheus.ask('metadata')
        c.equal('it has the unit of the durations',
                [m['unit'] for m in metadata['vicar_http_request_duration_seconds']], ['seconds'])

        def has_data(what, expression):
            try:
                good = eventually(lambda: prometheus.query(expression), 10)
            except RuntimeError as e:
                good = None
                expression = str(e)
            c.ok('%s has data' % what, good, expression)

        known = {n for n in prometheus.ask('label/__name__/values') if n.startswith('vicar_')}
        for name, rule in alerts().items():
            c.ok('%s: its metrics exist' % name, names(rule['expr']) <= known, names(rule['expr']) - known)
            parts = alternatives(rule['expr'])
            for n, part in enumerate(parts):
                has_data('alert %s%s' % (name, ', part %d' % (n + 1) if len(parts) > 1 else ''), always(part))
        for panel in panels(dashboard):
            for target in panel.get('targets', []):
                expression = (target['expr'].replace('$__rate_interval', '1m').replace('$__range', '1h')
                              .replace('"$instance"', '".*"'))
                c.ok('%s: its metrics exist' % panel['title'], names(expression) <= known, names(expression) - known)
                for part in alternatives(expression):
                    if part != 'vector(0)':
                        has_data('panel %s, %s' % (panel['title'], target['refId']), part)
        for variable in dashboard['templating']['list']:
            if variable['type'] == 'query':
                metric, label = re.fullmatch(r'label_values\((\w+), (\w+)\)', variable['query']['query']).groups()
                c.ok('the variable %s has values' % variable['name'],
                     prometheus.ask('label/%s/values' % label, **{'match[]': metric}))

        def firing():
            return {x['labels']['alertname']: x for x in prometheus.ask('alerts')['alerts'] if x['state'] == 'firing'}

        c.ok('VicarFaults fires, and names the route', eventually(
            lambda: firing().get('VicarFaults', {}).get('labels', {}).get('route') == '/v3/regions'), firing())
        active = {x['labels']['alertname'] for x in prometheus.ask('alerts')['alerts']}
        c.ok('the alerts of a database that was away are active or on their way',
             {'VicarDatabaseAway'} <= active, active)
        c.ok('notifications wait for a broker that is away', prometheus.query(
            'vicar_notifications_waiting > 0 and vicar_notifications_connected == 0'))
        c.ok('and those of what did not happen are not', not active & {
            'VicarDown', 'VicarReaperStands', 'VicarTracesDropped', 'VicarQueueFull', 'VicarPasswordsWait'}, active)
        vicar.halt()
        c.ok('VicarDown is on its way when it is stopped', eventually(lambda: [
            x for x in prometheus.ask('alerts')['alerts'] if x['labels']['alertname'] == 'VicarDown']))


# ---- traces


class Collector(http.server.ThreadingHTTPServer):
    """Takes OTLP over HTTP, and keeps what came."""
    daemon_threads = True

    def __init__(self, tls=None):
        super().__init__(('127.0.0.1', 0), Receiver)
        self.url = '%s://127.0.0.1:%d' % ('https' if tls else 'http', self.server_port)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.spans, self.resources, self.raw, self.headers, self.paths = [], [], b'', [], set()
        self.status = 200
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        """A client that does not trust us is no news."""

    def named(self, **attributes):
        """Spans with these attributes, and the attributes of each."""
        return [s for s in self.spans if attributes.items() <= s.at.items()]

    def below(self, span):
        return [s for s in self.spans if s.parent == span.id]


class Span:
    def __init__(self, span):
        self.name, self.kind, self.status = span.name, span.kind, span.status.code
        self.trace, self.id, self.parent = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
        self.start, self.end = span.start_time_unix_nano, span.end_time_unix_nano
        self.state = span.trace_state
        self.at = {a.key: plain(a.value) for a in span.attributes}


def plain(value):
    kind = value.WhichOneof('value')
    return [plain(v) for v in value.array_value.values] if kind == 'array_value' else getattr(value, kind)


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length']))
        to = self.server
        if to.status == 200:
            to.raw += body
            to.headers.append({name.lower(): value for name, value in self.headers.items()})
            to.paths.add(self.path)
            for part in otlp.ExportTraceServiceRequest.FromString(body).resource_spans:
                to.resources.append({a.key: plain(a.value) for a in part.resource.attributes})
                for scope in part.scope_spans:
                    to.spans += [Span(s) for s in scope.spans]
        answer = otlp.ExportTraceServiceResponse().SerializeToString()
        self.send_response(to.status)
        self.send_header('Content-Type', 'application/x-protobuf')
        self.send_header('Content-Length', str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


TRACE, ABOVE = '4bf92f3577b34da6a3ce929d0e0e4736', '00f067aa0ba902b7'
PARENT = '00-%s-%s-01' % (TRACE, ABOVE)


def log_lines(vicar):
    with open(vicar.log) as f:
        return [json.loads(x) for x in f if x.startswith('{')]


def line_of(vicar, request_id):
    return eventually(lambda: [x for x in log_lines(vicar) if x.get('request_id') == request_id])[0]


def as_admin(vicar, password=None, **headers):
    """keystoneauth, with headers for each request."""
    auth = v3.Password(vicar.url, username='admin', password=password or vicar.password, user_domain_id='default',
                       project_name='admin', project_domain_id='default')
    return session.Session(auth, additional_headers=headers)


def check_traces(c):
    """traces arrive, with the ids that clients sent and with nothing secret"""
    collector = Collector()
    with Watched(log_format='json', settings={'vicar': {'otlp_endpoint': collector.url + '/'}}) as vicar:
        s = as_admin(vicar, traceparent=PARENT, tracestate='vendor=of-the-client')
        answer = s.get(vicar.url + '/projects?name=a-name-to-search')
        request_id = answer.headers['x-openstack-request-id']
        c.equal('a list with traceparent', answer.status_code, 200)
        c.equal("the log line has the client's trace", line_of(vicar, request_id).get('trace_id'), TRACE)
        found = eventually(lambda: collector.named(**{'vicar.request_id': request_id}))
        c.equal('one span for the request', len(found), 1)
        span = found[0]
        c.equal('its name and kind', (span.name, span.kind), ('GET /v3/projects', trace_pb2.Span.SPAN_KIND_SERVER))
        c.equal('its trace and what it is below', (span.trace, span.parent), (TRACE, ABOVE))
        c.equal('its attributes', span.at, {
            'http.request.method': 'GET', 'http.route': '/v3/projects', 'http.response.status_code': 200,
            'vicar.operations': ['identity:list_projects'], 'vicar.request_id': request_id})
        c.ok('its times', 0 < span.start <= span.end)
        c.equal("nothing of the client's but ids", span.state, '')
        parts = collector.below(span)
        c.equal('its one run', [(p.name, p.at) for p in parts], [('read', {'vicar.outcome': 'done'})])
        c.ok('within it', span.start <= parts[0].start <= parts[0].end <= span.end)

        login = eventually(lambda: collector.named(**{'http.route': '/v3/auth/tokens'}))[0]
        c.equal('the parts of a login: the hash is outside of the transactions', [
            (p.name, p.at['vicar.outcome']) for p in sorted(collector.below(login), key=lambda p: p.start)], [
            ('rehearsal', 'needs slow work'), ('slow work', 'done'), ('rehearsal', 'done')])
        made = s.post(vicar.url + '/projects', json={'project': {'name': 'traced', 'domain_id': 'default'}})
        request_id = made.headers['x-openstack-request-id']
        span = eventually(lambda: collector.named(**{'vicar.request_id': request_id}))[0]
        c.equal('those of a write', [
            (p.name, p.at['vicar.outcome']) for p in sorted(collector.below(span), key=lambda p: p.start)], [
            ('rehearsal', 'needs the writer'), ('write', 'done')])

        without = requests.get(vicar.url + '/users', headers={'X-Auth-Token': 'a-token-that-is-none'}, timeout=30)
        request_id = without.headers['x-openstack-request-id']
        span = eventually(lambda: collector.named(**{'vicar.request_id': request_id}))[0]
        c.equal('a refusal', (span.at['http.response.status_code'], span.status, span.parent), (401, 0, ''))
        c.equal('without traceparent it is a trace of its own, which the log has too',
                line_of(vicar, request_id).get('trace_id'), span.trace)
        for bad in ('00-%s-%s-01' % ('0' * 32, ABOVE), 'ff-%s-%s-01' % (TRACE, ABOVE), '', 'x' * 2000,
                    '00-%s-01' % TRACE, '00-%s-%s-01-more' % (TRACE, ABOVE), 'é-%s-%s-01' % (TRACE, ABOVE)):
            got = requests.get(vicar.url, headers={'traceparent': bad.encode()}, timeout=30)
            line = line_of(vicar, got.headers['x-openstack-request-id'])
            c.ok('a traceparent that is none is answered and not used (%s)' % bad[:20],
                 got.status_code == 200 and line['trace_id'] not in (TRACE, '0' * 32), line)
        quiet = requests.get(vicar.url, headers={'traceparent': PARENT[:-1] + '0'}, timeout=30)
        request_id = quiet.headers['x-openstack-request-id']
        c.equal('what the client does not sample is in the log', line_of(vicar, request_id)['trace_id'], TRACE)

        odd = requests.request('BREW', vicar.url + '/a/path/that-is-private?secret=of-a-query', timeout=30)
        request_id = odd.headers['x-openstack-request-id']
        span = eventually(lambda: collector.named(**{'vicar.request_id': request_id}))[0]
        c.equal('a method and a path that are none', (span.name, span.at['http.request.method']),
                ('other unmatched', '_OTHER'))
        c.ok('and is not sent', not collector.named(**{'vicar.request_id': quiet.headers['x-openstack-request-id']}))
        as_admin(vicar, password='a-wrong-password-of-a-client')
        try:
            as_admin(vicar, password='a-wrong-password-of-a-client').get_token()
        except Exception as e:
            c.equal('a wrong password', type(e).__name__, 'Unauthorized')
        token = s.get_token()
        service = [(r['service.name'], 'service.version' in r) for r in collector.resources]
        c.equal('who sends', set(service), {('vicar', True)})
        c.equal('where', collector.paths, {'/v1/traces'})
        c.equal('as', {h['content-type'] for h in collector.headers}, {'application/x-protobuf'})

        # The collector goes away and comes back.
        collector.status = 503
        a = api.Api(vicar.url)
        before = vicar.value('vicar_spans_dropped_total')
        a.get('/').want(200)
        c.ok('what a collector refuses is counted', eventually(
            lambda: vicar.value('vicar_spans_dropped_total') > before))
        c.ok('with one warning', eventually(
            lambda: len([x for x in log_lines(vicar) if 'traces cannot be sent' in x.get('message', '')]) == 1))
        collector.status = 200
        sent = vicar.value('vicar_spans_sent_total')
        a.get('/').want(200)
        c.ok('and it goes on', eventually(lambda: vicar.value('vicar_spans_sent_total') > sent))
        last = a.get('/').headers['x-openstack-request-id']
        vicar.halt()
        c.ok('what waits when the server stops is sent', collector.named(**{'vicar.request_id': last}))
        for secret in (vicar.password, token, 'a-name-to-search', 'a-token-that-is-none', 'that-is-private',
                       'of-a-query', 'a-wrong-password', 'traced', 'of-the-client', 'admin'):
            c.ok('no span has `%s`' % secret[:24], secret.encode() not in collector.raw)
    collector.shutdown()
    collector.server_close()


def check_variables(c):
    """OpenTelemetry's own variables"""
    collector = Collector()
    with Watched(log_format='json') as vicar:
        told = requests.get(vicar.url, headers={'traceparent': PARENT}, timeout=30)
        c.equal("off by default: the log has a client's trace all the same",
                line_of(vicar, told.headers['x-openstack-request-id']).get('trace_id'), TRACE)
        quiet = requests.get(vicar.url, timeout=30)
        line = line_of(vicar, quiet.headers['x-openstack-request-id'])
        c.ok('and no other', 'trace_id' not in line, line)
        c.equal('nothing is sent', (vicar.value('vicar_spans_sent_total'), vicar.value('vicar_spans_dropped_total')),
                (0, 0))
    names = {'OTEL_EXPORTER_OTLP_ENDPOINT': collector.url, 'OTEL_SERVICE_NAME': 'identity-of-tests',
             'OTEL_RESOURCE_ATTRIBUTES': 'deployment.environment=world',
             'OTEL_EXPORTER_OTLP_HEADERS': 'x-tenant=a-secret-of-the-collector'}
    vicar = Watched(log_format='json')
    vicar.env = names
    with vicar:
        requests.get(vicar.url, timeout=30)
        c.ok('spans arrive', eventually(lambda: collector.spans))
        c.equal('their service, and what else was said', {
            k: collector.resources[0].get(k) for k in ('service.name', 'deployment.environment')},
            {'service.name': 'identity-of-tests', 'deployment.environment': 'world'})
        c.equal('the headers for the collector', collector.headers[0].get('x-tenant'), 'a-secret-of-the-collector')
        with open(vicar.log) as f:
            c.ok('which are in no log', 'a-secret-of-the-collector' not in f.read())
    seen = len(collector.spans)
    vicar = Watched(log_format='json')
    vicar.env = dict(names, OTEL_TRACES_SAMPLER='parentbased_always_off')
    with vicar:
        requests.get(vicar.url, timeout=30)
        requests.get(vicar.url, headers={'traceparent': PARENT}, timeout=30)
    c.equal('a sampler: only what the client asked for', {s.trace for s in collector.spans[seen:]}, {TRACE})
    collector.shutdown()
    collector.server_close()

    # Nobody listens there, at start and later.
    vicar = Watched(log_format='json', settings={'vicar': {'otlp_endpoint': 'http://127.0.0.1:%d' %
                                                           server.free_port()}})
    with vicar:
        c.equal('without a collector it serves', requests.get(vicar.url, timeout=30).status_code, 200)
        c.ok('and counts', eventually(lambda: vicar.value('vicar_spans_dropped_total') > 0))
    vicar = Watched(settings={'vicar': {'otlp_endpoint': 'grpc://collector:4317'}})
    try:
        vicar.start()
        c.ok('an endpoint that is none is an error', False)
    except RuntimeError as e:
        c.ok('an endpoint that is none is an error of the configuration',
             'status 3' in str(e) and '[vicar] otlp_endpoint' in str(e), e)
    vicar.stop()


def certificates(folder):
    """An authority, and a context with a certificate of it for 127.0.0.1: (the authority's file, the context)"""
    def openssl(line):
        subprocess.run(['openssl', *line.split()], cwd=folder, check=True, capture_output=True)

    new = 'req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
    openssl(new + ' -x509 -subj /CN=authority -keyout authority.key -out authority.pem -days 2')
    openssl(new + ' -subj /CN=collector -keyout own.key -out own.csr')
    with open(os.path.join(folder, 'own.ext'), 'w') as f:
        f.write('subjectAltName=IP:127.0.0.1\n')
    openssl('x509 -req -in own.csr -CA authority.pem -CAkey authority.key -CAcreateserial -extfile own.ext '
            '-out own.pem -days 2')
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.path.join(folder, 'own.pem'), os.path.join(folder, 'own.key'))
    return os.path.join(folder, 'authority.pem'), context


def check_tls(c):
    """a collector with TLS"""
    prefix = 'vicar-world-tls-'
    with tempfile.TemporaryDirectory(prefix=prefix) as folder, tempfile.TemporaryDirectory(prefix=prefix) as other:
        authority, context = certificates(folder)
        another, _ = certificates(other)
        collector = Collector(context)
        for trusted in (True, False):
            vicar = Watched(settings={'vicar': {'otlp_endpoint': collector.url}})
            vicar.env = {'SSL_CERT_FILE': authority if trusted else another}
            with vicar:
                requests.get(vicar.url, timeout=30)
                if trusted:
                    c.ok('one whose certificate the machine trusts gets spans', eventually(lambda: collector.spans))
                else:
                    before = len(collector.spans)
                    c.ok('another gets none', eventually(lambda v=vicar: v.value('vicar_spans_dropped_total') > 0)
                         and len(collector.spans) == before)
        collector.shutdown()
        collector.server_close()


PARTS = {'alerts': [check_alerts], 'scrape': [check_scrape], 'traces': [check_traces, check_variables, check_tls]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--only', nargs='*', choices=PARTS, default=list(PARTS))
    options = parser.parse_args()
    checks = harness.Checks()
    for name in options.only:
        for function in PARTS[name]:
            checks.part('%s: %s' % (name, function.__doc__), function, checks)
    return checks.close()


if __name__ == '__main__':
    sys.exit(main())
