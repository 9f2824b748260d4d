"""A real SAML 2.0 identity provider: Debian's SimpleSAMLphp, with a folder of its own, under PHP's own server."""
import json
import os

import server

WWW = '/usr/share/simplesamlphp/www'
PASSWORD = 'a password at the provider'
CONFIG = """<?php
$config = json_decode(file_get_contents(__DIR__ . '/config.json'), true);
"""
SOURCES = """<?php
$config = json_decode(file_get_contents(__DIR__ . '/sources.json'), true);
"""
METADATA = """<?php
$metadata = json_decode(file_get_contents(__DIR__ . '/%s.json'), true);
"""
POST = 'urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST'
PAOS = 'urn:oasis:names:tc:SAML:2.0:bindings:PAOS'
USERS = {
    'ann': {'uid': ['ann'], 'mail': ['ann@example.org'], 'groups': ['staff', 'nowhere']},
    'bob': {'uid': ['bob'], 'mail': ['bob@example.org'], 'groups': ['nowhere']},
    'zoë': {'uid': ['zoë'], 'mail': ['zoe@example.org'], 'groups': ['staff']}}


class Provider(server.Server):
    """Its services are given by `know`."""
    kind = 'saml'

    def __init__(self):
        super().__init__()
        self.entity = self.root + '/idp'
        self.sso = self.root + '/saml2/idp/SSOService.php'
        self.services = {}
        for name, text in (('config', CONFIG), ('authsources', SOURCES), ('saml20-idp-hosted', METADATA % 'hosted'),
                           ('saml20-sp-remote', METADATA % 'services')):
            self.write(name + '.php', text)
        for folder in ('sessions', 'data', 'temporary'):
            os.mkdir(self.path(folder))
        self.write('config.json', {
            'baseurlpath': self.root + '/', 'certdir': self.dir + '/', 'loggingdir': self.dir + '/',
            'datadir': self.path('data/'), 'tempdir': self.path('temporary'), 'metadatadir': self.dir + '/',
            'secretsalt': 'salt of a test', 'auth.adminpassword': PASSWORD, 'timezone': 'UTC',
            'technicalcontact_email': 'na@example.org', 'enable.saml20-idp': True,
            'module.enable': {'exampleauth': True, 'core': True, 'saml': True},
            'logging.handler': 'errorlog', 'logging.level': 6, 'errors.reporting': False, 'showerrors': True,
            'store.type': 'phpsession', 'session.phpsession.savepath': self.path('sessions'),
            'session.cookie.secure': False, 'session.cookie.samesite': None, 'language.default': 'en',
            'metadata.sources': [{'type': 'flatfile', 'directory': self.dir + '/'}]})
        self.write('sources.json', {'users': {
            0: 'exampleauth:UserPass', **{'%s:%s' % (name, PASSWORD): said for name, said in USERS.items()}}})
        self.sign_as('first')

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, what):
        with open(self.path(name), 'w') as f:
            f.write(what if isinstance(what, str) else json.dumps(what))

    def sign_as(self, key):
        """Which of its keys it signs by, made when it is new."""
        private, certificate = key + '.key', key + '.pem'
        if not os.path.exists(self.path(private)):
            self.run('openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=idp',
                     '-keyout', private, '-out', certificate)
        self.write('hosted.json', {self.entity: {
            'host': '__DEFAULT__', 'privatekey': private, 'certificate': certificate, 'auth': 'users',
            'saml20.ecp': True}})

    def know(self, entity, endpoint, **more):
        """A service provider of this entity id, whose addresses are Mellon's below `endpoint`."""
        self.services[entity] = {
            'AssertionConsumerService': [
                {'Binding': POST, 'Location': endpoint + '/postResponse', 'index': 0, 'isDefault': True},
                {'Binding': PAOS, 'Location': endpoint + '/paosResponse', 'index': 1}], **more}
        self.write('services.json', self.services)

    def command(self):
        return (['php', '-d', 'opcache.enable=0', '-S', '127.0.0.1:%d' % self.port, '-t', WWW],
                {'SIMPLESAMLPHP_CONFIG_DIR': self.dir})

    def ready(self):
        return server.answers(self.port)
