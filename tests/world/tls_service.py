#!/usr/bin/env python3
"""A tiny service like service.py's, by HTTPS, that asks its clients for a certificate.

    tls_service.py SPEC     SPEC is a file of JSON: {"port": N, "cert": FILE, "key": FILE,
                            "ca": FILE, "pipeline": one of service.py's}

Filters find the connection where eventlet's server has it: `wsgi.input.get_socket()`.
"""
import json
import logging
import ssl
import sys

import service


class Input:
    def __init__(self, stream, connection):
        self._stream, self._connection = stream, connection

    def get_socket(self):
        return self._connection

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def __iter__(self):
        return iter(self._stream)


class Handler(service.Handler):
    def get_environ(self):
        return super().get_environ() | {'service.connection': self.connection}


class Server(service.Server):
    def finish_request(self, request, client_address):
        with self.ctx.wrap_socket(request, server_side=True) as stream:
            super().finish_request(stream, client_address)

    def handle_error(self, request, client_address):
        logging.info('a connection failed', exc_info=True)


def main():
    with open(sys.argv[1]) as f:
        spec = json.load(f)
    logging.basicConfig(level=logging.INFO)
    app = service.made(spec['pipeline'])

    def with_socket(environ, start_response):
        environ['wsgi.input'] = Input(environ['wsgi.input'], environ.pop('service.connection'))
        return app(environ, start_response)

    served = Server(('127.0.0.1', spec['port']), Handler)
    served.ctx = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=spec['ca'])
    served.ctx.load_cert_chain(spec['cert'], spec['key'])
    served.ctx.verify_mode = ssl.CERT_OPTIONAL
    served.set_app(with_socket)
    served.serve_forever()


if __name__ == '__main__':
    main()
