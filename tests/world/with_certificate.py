"""Keystone as a WSGI application whose server puts the client's certificate into the environment, as Apache does with
`SSLOptions +ExportCertData`. Here it is in a header, percent-encoded."""
import urllib.parse

from keystone.wsgi.api import application as keystone


def application(environ, start_response):
    shown = environ.pop('HTTP_X_SSL_CLIENT_CERT', '')
    if shown:
        environ['SSL_CLIENT_CERT'] = urllib.parse.unquote(shown)
    return keystone(environ, start_response)
