"""Octavia and Barbican: scenarios of nova.py about load balancers and the keys that they need.

Octavia acts at Barbican with an application credential of its own. It lets itself into a user's secret with the
user's token, and reads it as itself.
"""
import base64
import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12

import api
import heat

BALANCERS = '/v2/lbaas/loadbalancers'
QUOTAS = '/v2/lbaas/quotas'


def certificate():
    """A certificate with its key, as Octavia wants it in a secret."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, 'shop.example')])
    now = datetime.datetime.now(datetime.UTC)
    made = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now)
            .not_valid_after(now + datetime.timedelta(days=1)).sign(key, hashes.SHA256()))
    return pkcs12.serialize_key_and_certificates(b'shop', key, made, None, serialization.NoEncryption())


class Shop:
    """An owner, with what they ask of the two services."""

    def __init__(self, w, name):
        self.w, self.owner = w, heat.Owner(w, name)
        self.octavia = api.Api(w.cloud.url('octavia'))
        self.barbican = api.Api(w.cloud.url('barbican') + '/v1')
        self.token = self.owner.login()

    def secret(self, token=None):
        """A certificate that is kept; the answer."""
        return self.barbican.post('/secrets', token or self.token, {
            'name': 'shop', 'payload': base64.b64encode(certificate()).decode(),
            'payload_content_type': 'application/octet-stream', 'payload_content_encoding': 'base64'})

    def kept(self):
        return self.secret().want(201).body['secret_ref']

    def balancer(self, name, secret=None, token=None):
        """A load balancer, with a listener that shows the certificate."""
        listener = {'name': name, 'protocol': 'TERMINATED_HTTPS', 'protocol_port': 443,
                    'default_tls_container_ref': secret}
        return self.octavia.post(BALANCERS, token or self.token, {'loadbalancer': {
            'name': name, 'vip_network_id': '11111111-2222-3333-4444-555555555555',
            'listeners': [listener] if secret else []}})

    def balancers(self, token=None):
        found = self.octavia.get(BALANCERS, token or self.token).want(200).body['loadbalancers']
        return sorted(x['name'] for x in found)

    def readers(self, secret):
        """The users whom somebody let in."""
        acl = self.barbican.get('/secrets/%s/acl' % secret.rpartition('/')[2], self.token).want(200).body
        return acl['read'].get('users', [])


def balancers(w):
    """Octavia reads a user's certificate with its application credential; access rules, quotas, a trust."""
    c, cloud = w.c, w.cloud
    shop, other = Shop(w, 'shopkeeper'), Shop(w, 'neighbour')
    secret = shop.kept()
    c.equal('nobody else is let in', shop.readers(secret), [])
    made = shop.balancer('first', secret)
    c.status('a load balancer with a certificate', made, 201)
    c.equal("it is in the user's project", made.body['loadbalancer']['project_id'], shop.owner.project)
    c.equal('Octavia let itself in, in the name of the user', shop.readers(secret), [w.ids['octavia']])
    c.status("another's certificate is refused", other.balancer('stolen', secret), 400)
    c.equal('and they see no load balancers', other.balancers(), [])
    c.status('nor can they show it', other.octavia.get(
        '%s/%s' % (BALANCERS, made.body['loadbalancer']['id']), other.token), 403)

    reader = w.identity.make(w.admin, 'user', name='window-shopper', password='reads-only', domain_id='default')
    w.identity.grant(w.admin, w.roles['reader'], reader, shop.owner.project)
    reading = w.identity.login(reader, 'reads-only', api.project(shop.owner.project))
    c.equal('a reader of the project sees it', shop.balancers(reading), ['first'])
    c.status('and makes none', shop.balancer('refused', token=reading), 403)

    whole, acting = w.credential(shop.owner, shop.token, 'whole')
    _, ruled = w.credential(shop.owner, shop.token, 'ruled', access_rules=[
        {'service': 'load-balancer', 'method': 'GET', 'path': BALANCERS}])
    c.status('with an application credential', shop.balancer('second', shop.kept(), acting), 201)
    c.equal('one with an access rule does what the rule says', shop.balancers(ruled), ['first', 'second'])
    c.status('and makes none', shop.balancer('refused', token=ruled), 401)
    c.status('nor reads quotas', shop.octavia.get('%s/%s' % (QUOTAS, shop.owner.project), ruled), 401)
    w.end_credential(shop.owner, shop.token, whole)
    c.status('when it is deleted its token is refused at once', shop.octavia.get(BALANCERS, acting), 401)

    robot, password = w.service_user('balancing-robot')
    trust = w.identity.trust(shop.token, shop.owner.id, robot, shop.owner.project, [heat.ROLE])
    trusted = w.identity.login(robot, password, api.trust(trust['id']))
    secret = shop.kept()
    c.status("with a trust's token", shop.balancer('third', secret, trusted), 201)
    c.equal('Octavia let itself in with it', shop.readers(secret), [w.ids['octavia']])
    w.identity.delete('/OS-TRUST/trusts/' + trust['id'], shop.token).want(204)
    c.status('when the trust ends the token is refused', shop.balancer('refused', token=trusted), 401)

    path = '%s/%s' % (QUOTAS, shop.owner.project)
    c.status('a member changes no quota', shop.octavia.put(path, shop.token, {'quota': {'load_balancer': 9}}), 403)
    shop.octavia.put(path, w.admin, {'quota': {'load_balancer': 3}}).want(202)
    c.equal('a member reads it', shop.octavia.get(path, shop.token).want(200).body['quota']['load_balancer'], 3)
    c.status('a load balancer too many', shop.balancer('fourth'), 403)
    c.equal('there are three', shop.balancers(), ['first', 'second', 'third'])

    # As an operator changes a credential: a new one, Octavia restarted, and the old one deleted.
    shop.octavia.delete(path, w.admin).want(202)
    own = w.identity.login(('octavia', 'default'), cloud.passwords['octavia'], {
        'project': {'name': 'service', 'domain': {'id': 'default'}}})
    credentials = '/users/%s/application_credentials' % own.user

    def in_use():
        return [x['id'] for x in w.identity.get(credentials, own).want(200).body['application_credentials']]

    def end(one):
        w.identity.delete('%s/%s' % (credentials, one), own).want(204)

    for old in in_use():
        end(old)
    c.status("without Octavia's application credential no certificate is read",
             shop.balancer('refused', shop.kept()), 400)
    cloud.new_credential()
    octavia = cloud.services['octavia']
    octavia.halt()
    octavia.start()
    c.status('with a new one they are', shop.balancer('fourth', shop.kept()), 201)


def keys(w):
    """Barbican's quotas, application credentials and access rules; it hears that a project is gone."""
    c = w.c
    alice, bob = Shop(w, 'keeper'), Shop(w, 'another-keeper')
    barbican = alice.barbican

    def kept(of):
        return w.cloud.database.sql(
            "SELECT s.deleted FROM secrets s JOIN projects p ON p.id = s.project_id WHERE p.external_id = '%s'"
            % of.owner.project, 'barbican').split()

    def total(token):
        return barbican.get('/secrets', token).want(200).body['total']

    for one in (alice, bob):
        c.status('%s keeps a secret' % one.owner.name, one.secret(), 201)
        c.equal('and sees it', total(one.token), 1)
    whole, acting = w.credential(alice.owner, alice.token, 'whole')
    _, ruled = w.credential(alice.owner, alice.token, 'ruled', access_rules=[
        {'service': 'key-manager', 'method': 'POST', 'path': '/v1/secrets'}])
    c.status('with an application credential', alice.secret(acting), 201)
    c.status('with one that has a rule for it', alice.secret(ruled), 201)
    c.status('which reads none', barbican.get('/secrets', ruled), 401)
    w.end_credential(alice.owner, alice.token, whole)
    c.status('with one that is deleted', alice.secret(acting), 401)
    c.equal('three are kept', total(alice.token), 3)

    path, quota = '/project-quotas/' + alice.owner.project, {'project_quotas': {'secrets': 4}}
    c.status('a member changes no quota', barbican.put(path, alice.token, quota), 403)
    barbican.put(path, w.admin, quota).want(204)
    c.equal('a member reads it', barbican.get('/quotas', alice.token).want(200).body['quotas']['secrets'], 4)
    c.status('a secret within the quota', alice.secret(), 201)
    c.status('and one too many', alice.secret(), 403)
    w.identity.delete('/projects/' + alice.owner.project, w.admin).want(204)
    heat.until('Barbican heard of it', lambda: '0' not in kept(alice))
    c.ok("the project's secrets are destroyed", set(kept(alice)) <= {'1'}, kept(alice))
    c.equal("another project's is not", kept(bob), ['0'])
