"""Configurations of domains with the clients that people use.

    pytest clients_domain_config.py              starts Vicar
    pytest clients_domain_config.py --keystone   a Keystone 30.0.0: a test of the tests

The `openstack` command has none of it.
"""
import secrets

import harness

harness.run_in('clients')

import openstack
import pytest
from keystoneauth1 import exceptions as ka
from keystoneauth1 import session as ka_session
from keystoneauth1.identity import v3 as ka_v3
from keystoneclient.v3 import client as ks_client
from openstack import exceptions as sdk

import server

LDAP = {'url': 'ldap://directory', 'user_tree_dn': 'ou=Users,o=x', 'use_tls': False}


@pytest.fixture(scope='module')
def srv(options):
    with server.asked_for(options) as srv:
        yield srv


def credentials(srv):
    return {'auth_url': srv.url, 'username': 'admin', 'password': srv.password, 'user_domain_id': 'default',
            'project_name': 'admin', 'project_domain_id': 'default'}


def test_keystoneclient(srv, checks):
    """keystoneclient's domain_configs."""
    c = checks
    k = ks_client.Client(session=ka_session.Session(auth=ka_v3.Password(**credentials(srv))), interface='public')
    domain = k.domains.create('config-%s' % secrets.token_hex(4))
    configs = k.domain_configs
    c.raises('a domain without one', lambda: configs.get(domain), ka.NotFound)
    config = {'identity': {'driver': 'ldap'}, 'ldap': LDAP | {'password': 'hidden'}}
    made = configs.create(domain, config)
    c.equal('made, without its secret', (made.identity, made.ldap), (config['identity'], LDAP))
    c.equal('got', configs.get(domain).ldap, LDAP)
    changed = configs.update(domain, {'ldap': {'suffix': 'o=y'}})
    c.equal('changed', changed.ldap, LDAP | {'suffix': 'o=y'})
    c.raises('an option that no domain has', lambda: configs.update(domain, {'ldap': {'odd': 1}}), ka.Forbidden)
    configs.delete(domain)
    c.raises('deleted', lambda: configs.get(domain), ka.NotFound)
    k.domains.update(domain, enabled=False)
    k.domains.delete(domain)


def test_openstacksdk(srv, checks):
    """openstacksdk's domain_config."""
    c = checks
    identity = openstack.connection.Connection(
        auth=credentials(srv), identity_api_version='3', identity_interface='public').identity
    domain = identity.create_domain(name='config-%s' % secrets.token_hex(4))
    made = identity.create_domain_config(domain, identity={'driver': 'ldap'}, ldap=LDAP)
    c.equal('made', (made.identity.driver, made.ldap.url), ('ldap', LDAP['url']))
    got = identity.get_domain_config(domain)
    c.equal('got', (got.identity.driver, got.ldap.user_tree_dn), ('ldap', LDAP['user_tree_dn']))
    changed = identity.update_domain_config(domain, ldap={'url': 'ldap://other'})
    c.equal('changed', changed.ldap.url, 'ldap://other')
    identity.delete_domain_config(domain)
    c.raises('deleted', lambda: identity.get_domain_config(domain), sdk.NotFoundException)
    identity.update_domain(domain, is_enabled=False)
    identity.delete_domain(domain)
