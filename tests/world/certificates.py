"""An authority made with openssl, certificates of it, and a front server that asks its clients for one."""
import http.client
import http.server
import os
import shutil
import ssl
import subprocess
import tempfile
import threading
import urllib.parse

import harness

import server

HEADER = 'X-SSL-Client-Cert'

# What Vicar needs behind such a front server.
BEHIND = {'client_certificate_header': HEADER, 'trusted_proxies': '127.0.0.1'}

# The attributes of a user from those of the certificate, as Keystone's guide has it.
RULES = [{
    'local': [{'user': {'name': '{0}', 'id': '{1}', 'email': '{2}',
                        'domain': {'name': '{3}', 'id': '{4}'}}}],
    'remote': [{'type': 'SSL_CLIENT_SUBJECT_DN_CN'}, {'type': 'SSL_CLIENT_SUBJECT_DN_UID'},
               {'type': 'SSL_CLIENT_SUBJECT_DN_EMAILADDRESS'}, {'type': 'SSL_CLIENT_SUBJECT_DN_O'},
               {'type': 'SSL_CLIENT_SUBJECT_DN_DC'},
               {'type': 'SSL_CLIENT_ISSUER_DN_CN', 'any_one_of': ['root.example.org']}]}]


class Authority:
    """`ca` is its certificate; `issue` gives the two files of another one."""

    def __init__(self, name='root.example.org'):
        self.dir = tempfile.mkdtemp(prefix='vicar-world-ca-')
        self.ca, self.key = self.path('ca.pem'), self.path('ca.key')
        self.made = 0
        self.openssl('req', '-x509', *self.new(self.key), '-days', '2', '-subj', '/CN=' + name,
                     '-addext', 'keyUsage=critical,keyCertSign', '-out', self.ca)

    def path(self, name):
        return os.path.join(self.dir, name)

    @staticmethod
    def new(key):
        return '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', key

    @staticmethod
    def openssl(*words):
        subprocess.run(['openssl', *words], check=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def issue(self, subject, usage='clientAuth', more=''):
        """(certificate, key)"""
        self.made += 1
        cert, key, asked, with_these = (self.path('%d.%s' % (self.made, kind))
                                        for kind in ('pem', 'key', 'csr', 'ext'))
        with open(with_these, 'w') as f:
            f.write('basicConstraints=CA:FALSE\nextendedKeyUsage=%s\n%s' % (usage, more))
        self.openssl('req', *self.new(key), '-utf8', '-subj', subject, '-out', asked)
        self.openssl('x509', '-req', '-in', asked, '-CA', self.ca, '-CAkey', self.key, '-CAcreateserial',
                     '-days', '1', '-extfile', with_these, '-out', cert)
        return cert, key

    def of_server(self):
        return self.issue('/CN=127.0.0.1', 'serverAuth', 'subjectAltName=IP:127.0.0.1\n')

    def of_user(self, user, domain, email):
        """Of a user as the API shows them, and the domain of theirs."""
        return self.issue('/DC=%s/O=%s/UID=%s/CN=%s/emailAddress=%s' % (
            domain['id'], domain['name'], user['id'], user['name'], email))

    def stop(self):
        shutil.rmtree(self.dir, ignore_errors=True)


def context(authority, asks=True):
    """Of a server whose clients may show a certificate."""
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.ca)
    made.load_cert_chain(*authority.of_server())
    made.verify_mode = ssl.CERT_OPTIONAL if asks else ssl.CERT_NONE
    return made


class TlsServer(http.server.ThreadingHTTPServer):
    """In this process. The handshake is a matter of the connection's own thread."""
    daemon_threads = True

    def __init__(self, port, handler, ctx):
        self.ctx = ctx
        super().__init__(('127.0.0.1', port), handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def finish_request(self, request, client_address):
        with self.ctx.wrap_socket(request, server_side=True) as stream:
            super().finish_request(stream, client_address)

    def handle_error(self, request, client_address):
        pass                              # a handshake that failed is the client's to tell


class Front:
    """HTTPS in front of a server: what nginx does with `$ssl_client_escaped_cert`."""

    def __init__(self, authority, to):
        self.port = server.free_port()
        self.root = 'https://127.0.0.1:%d' % self.port
        self.url = self.root + '/v3'
        passed = threading.local()

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def handed_on(self):
                data = self.rfile.read(int(self.headers.get('Content-Length') or 0))
                headers = {k: v for k, v in self.headers.items()
                           if k.lower() not in (HEADER.lower(), 'connection')}
                shown = self.connection.getpeercert(binary_form=True)
                if shown:
                    headers[HEADER] = urllib.parse.quote(ssl.DER_cert_to_PEM_cert(shown), safe='')
                passed.to = http.client.HTTPConnection('127.0.0.1', to.port, timeout=60)
                passed.to.request(self.command, self.path, data, headers)
                answer = passed.to.getresponse()
                body = answer.read()
                self.send_response_only(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ('transfer-encoding', 'connection', 'content-length'):
                        self.send_header(name, value)
                self.send_header('Content-Length', str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                passed.to.close()

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handed_on

        self.server = TlsServer(self.port, Handler, context(authority))

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class FrontedKeystone(server.Keystone):
    """A Keystone that takes a client's certificate from the header, as one within Apache does from it."""

    def __init__(self, of=None, **kw):
        """`of`: another Keystone, whose configuration and store it has."""
        super().__init__(store=of and of.store, **kw)
        if of:
            self.config, self.password = of.config, of.password

    def command(self):
        args, more = super().command()
        args[args.index('--module') + 1] = 'with_certificate:application'
        return [*args, '--pythonpath', harness.HERE], more
