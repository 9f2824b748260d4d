#!/usr/bin/env python3
"""A tiny service behind OpenStack's middleware: what middleware.py talks to.

    service.py SPEC     SPEC is a file of JSON: {"config_files": [...], "pipelines": [
                        {"port": N, "filters": [["module:factory", {...}], ...],
                         "app": "echo" | "relay" | "bucket" | "containers" |
                         "nothing", "app_conf": {...}}]}

Each pipeline has a port of its own, and a thread for each request. A filter is what a
paste file would name: its factory, and the options of its section. `config_files` are
read into oslo.config's global object, for filters that know no other.

This runs in the Python of whatever environment has the filters, so it imports nothing
but the standard library and what they bring.
"""
import importlib
import json
import logging
import socketserver
import sys
import threading
import wsgiref.simple_server


def answer(start_response, status, body, headers=()):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    start_response(status, [('Content-Type', 'application/json'),
                            ('Content-Length', str(len(data))), *headers])
    return [data]


def told_of(access):
    """What a service learns from keystoneauth's access object."""
    if access is None:
        return None
    names = ('user_id', 'username', 'project_id', 'domain_id', 'system_scoped',
             'scoped', 'trust_scoped', 'trust_id', 'trustor_user_id',
             'trustee_user_id', 'role_names', 'audit_id', 'audit_chain_id',
             'is_admin_project', 'application_credential_id')
    told = {name: getattr(access, name, None) for name in names}
    told['expires'] = access.expires.isoformat()
    return told


def echo(conf):
    """Tells what reached it. /deny is its own 401; /onward?PORT is a call to another
    service in the caller's name, as Nova calls Neutron: with the caller's token and a service
    token beside it."""

    def app(environ, start_response):
        path, auth = environ['PATH_INFO'], environ.get('keystone.token_auth')
        if path == '/deny':
            return answer(start_response, '401 Unauthorized', {})
        if path == '/onward':
            from keystoneauth1 import session
            r = session.Session(auth=auth).get(
                'http://127.0.0.1:%d/' % int(environ['QUERY_STRING']),
                raise_exc=False)
            return answer(start_response, '200 OK',
                          {'status': r.status_code, 'body': r.json()})
        return answer(start_response, '200 OK', {
            'path': path,
            'headers': {k[5:].replace('_', '-').title(): v
                        for k, v in environ.items() if k.startswith('HTTP_')},
            'user': told_of(auth and auth.user),
            'service': told_of(auth and auth.service),
            'token': environ.get('keystone.token_info'),
        })

    return app


def relay(conf):
    """Hands a POST on to the identity service with a login of its own, for filters
    that have none."""
    import requests
    from keystoneauth1 import session
    from keystoneauth1.identity import v3
    login = session.Session(auth=v3.Password(**conf['login']))

    def app(environ, start_response):
        body = environ['wsgi.input'].read(int(environ.get('CONTENT_LENGTH') or 0))
        r = requests.post(conf['to'] + environ['PATH_INFO'], data=body, timeout=60,
                          headers={'Content-Type': 'application/json',
                                   'X-Auth-Token': login.get_token()})
        kept = [(k, v) for k, v in r.headers.items() if k.lower() == 'x-subject-token']
        return answer(start_response, '%d %s' % (r.status_code, r.reason),
                      r.content, kept)

    return app


def bucket(conf):
    """Where Swift's proxy would be: every object is there, and its metadata say whom
    s3token let through to which account."""

    def app(environ, start_response):
        if environ.get('HTTP_X_IDENTITY_STATUS') != 'Confirmed':
            return answer(start_response, '401 Unauthorized', {})
        meta = {'path': environ['PATH_INFO'], 'user': environ['HTTP_X_USER_ID'],
                'project': environ['HTTP_X_PROJECT_ID'],
                'roles': environ['HTTP_X_ROLES']}
        start_response('200 OK', [
            ('Content-Type', 'text/plain'), ('Content-Length', '0'),
            ('ETag', 'd41d8cd98f00b204e9800998ecf8427e'),
            ('Last-Modified', 'Sat, 01 Jan 2000 00:00:00 GMT'),
            *[('X-Object-Meta-' + k.title(), v) for k, v in meta.items()]])
        return [b'']

    return app


def containers(conf):
    """A store of containers, as much of Swift as Heat's `OS::Swift::Container` asks for. Its policy is what
    Nova's and Glance's are by default: whoever changes something must be a `member` of the project."""
    there = set()

    def app(environ, start_response):
        path, verb = environ['PATH_INFO'], environ['REQUEST_METHOD']
        roles = environ.get('HTTP_X_ROLES', '').split(',')
        if not path.startswith('/v1/AUTH_%s/' % environ.get('HTTP_X_PROJECT_ID')):
            return answer(start_response, '403 Forbidden', {})
        if ('reader' if verb in ('GET', 'HEAD') else 'member') not in roles:
            return answer(start_response, '403 Forbidden', {})
        if verb == 'PUT':
            there.add(path)
            return answer(start_response, '201 Created', b'')
        if path not in there:
            return answer(start_response, '404 Not Found', b'')
        if verb == 'DELETE':
            there.discard(path)
            return answer(start_response, '204 No Content', b'')
        return answer(start_response, '200 OK', [] if verb == 'GET' else b'')

    return app


def nothing(conf):
    """A service that has nothing: every list is empty."""

    def app(environ, start_response):
        name = environ['PATH_INFO'].rpartition('/')[2].partition('.')[0].replace('-', '_')
        return answer(start_response, '200 OK', {name: []})

    return app


class Server(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    daemon_threads = True
    request_queue_size = 64

    def setup_environ(self):
        super().setup_environ()
        del self.base_environ['CONTENT_LENGTH']      # absent, not empty


class Handler(wsgiref.simple_server.WSGIRequestHandler):
    def address_string(self):              # no name service
        return self.client_address[0]

    def get_environ(self):
        env = super().get_environ()
        env['RAW_PATH_INFO'] = self.path.partition('?')[0]   # as Swift's server does
        if 'Content-Type' not in self.headers:               # no type is made up
            del env['CONTENT_TYPE']
        return env


def made(pipeline):
    app = globals()[pipeline['app']](pipeline.get('app_conf') or {})
    for factory, conf in reversed(pipeline['filters']):
        module, name = factory.split(':')
        app = getattr(importlib.import_module(module), name)({}, **conf)(app)
    return app


def main():
    with open(sys.argv[1]) as f:
        spec = json.load(f)
    logging.basicConfig(level=logging.INFO)
    if spec.get('config_files'):
        from oslo_config import cfg
        cfg.CONF([], project='tiny', default_config_files=spec['config_files'])
    servers = []
    for pipeline in spec['pipelines']:
        servers.append(wsgiref.simple_server.make_server(
            '127.0.0.1', pipeline['port'], made(pipeline), Server, Handler))
    for s in servers[1:]:
        threading.Thread(target=s.serve_forever, daemon=True).start()
    servers[0].serve_forever()


if __name__ == '__main__':
    main()
