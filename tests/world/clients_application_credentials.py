"""Application credentials with the clients that people use.

    pytest clients_application_credentials.py              on Vicar
    pytest clients_application_credentials.py --keystone   the same on a Keystone 30.0.0
"""
import datetime

import harness

harness.run_in('clients')

import openstack
import pytest
from keystoneauth1 import exceptions as ka
from keystoneauth1.identity import v3 as ka_v3
from openstack import exceptions as sdk

import clients
import server
from cli_story import Cli

RULE = {'service': 'compute', 'method': 'GET', 'path': '/v2.1/servers'}


@pytest.fixture(scope='module')
def w(checks, options):
    with server.asked_for(options) as srv:
        world = clients.World(checks, srv)
        world.set_the_scene()
        yield world


def session(w, **auth):
    return w.session_of(ka_v3.ApplicationCredential(auth_url=w.url, **auth))


def test_keystoneclient_and_keystoneauth(w):
    c, manager = w.c, w.alice.application_credentials
    end = datetime.datetime.now(datetime.UTC).replace(tzinfo=None) + datetime.timedelta(hours=1)
    made = manager.create(w.name('kc'), description='one', expires_at=end, roles=[{'name': 'member'}])
    c.equal('its end', made.expires_at, end.isoformat(timespec='microseconds'))
    c.equal('its roles', sorted(r['name'] for r in made.roles), ['member', 'reader'])
    c.equal('it is restricted', made.unrestricted, False)
    c.equal('get', manager.get(made.id).name, made.name)
    c.ok('its secret is not shown again', not hasattr(manager.get(made.id), 'secret'))
    c.ok('find', manager.find(name=made.name).id == made.id)
    c.equal('list', [x.id for x in manager.list(name=made.name)], [made.id])
    for auth in ({'application_credential_id': made.id},
                 {'application_credential_name': made.name, 'user_id': w.ids['alice']},
                 {'application_credential_name': made.name, 'username': w.name('alice'),
                  'user_domain_name': 'Default'}):
        s = session(w, application_credential_secret=made.secret, **auth)
        access = w.access(s)
        c.equal('a login by %s' % ', '.join(sorted(auth)), sorted(access.role_names), ['member', 'reader'])
        c.equal('... its project', access.project_id, w.ids['p'])
    c.equal('keystoneauth reads of it', (access.application_credential_id, access.application_credential.get('name')),
            (made.id, made.name))
    c.equal('it validates', w.validate(access.auth_token), 200)
    c.raises('a wrong secret', lambda: w.access(session(
        w, application_credential_id=made.id, application_credential_secret='x')), ka.Unauthorized)
    c.raises('a restricted one makes none', lambda: w.client(s).application_credentials.create(
        w.name('no'), user=w.ids['alice']), ka.Forbidden)
    c.raises('and no trust', lambda: w.client(s).trusts.create(
        w.ids['solum'], w.ids['alice'], role_names=['member'], project=w.ids['p']), ka.Forbidden)

    free = manager.create(w.name('free'), unrestricted=True, secret='of my own')
    c.equal('a secret of one\'s own', free.secret, 'of my own')
    free_client = w.client(session(w, application_credential_id=free.id, application_credential_secret='of my own'))
    child = free_client.application_credentials.create(w.name('child'), user=w.ids['alice'])
    c.equal('an unrestricted one makes another', child.project_id, w.ids['p'])
    free_client.application_credentials.delete(child.id, user=w.ids['alice'])
    c.raises('... and deletes it', lambda: manager.get(child.id), ka.NotFound)
    ruled = manager.create(w.name('ruled'), access_rules=[RULE])
    rules = w.alice.access_rules
    c.equal('access rules', [(x.service, x.method, x.path) for x in rules.list()],
            [(RULE['service'], RULE['method'], RULE['path'])])
    rule = rules.list()[0]
    c.equal('get of one', rules.get(rule.id).path, RULE['path'])
    c.raises('one in use', lambda: rules.delete(rule.id), ka.Forbidden)
    for x in (ruled, free, made):
        manager.delete(x.id)
    rules.delete(rule.id)
    c.equal('all gone', (manager.list(), rules.list()), ([], []))
    c.equal('a token of a deleted one', w.validate(access.auth_token), 404)


def test_one_that_may_delegate(w):
    """Automation makes trusts with a credential that may, by keystoneclient as it is; they end with the credential."""
    c = w.c
    if not w.vicar:
        c.skip('may_delegate', 'a Keystone has none')
        return
    path = '/users/%s/application_credentials' % w.ids['alice']
    may = {'trustees': [w.ids['solum']], 'roles': [{'name': 'member'}]}
    answer = w.session('alice', project=w.ids['p']).post(w.url + path, json={'application_credential': {
        'name': w.name('stacks'), 'may_delegate': may}})
    made = answer.json()['application_credential']
    c.equal('keystoneclient shows it', w.alice.application_credentials.get(made['id']).may_delegate['trustees'],
            [w.ids['solum']])
    stacks = w.client(session(w, application_credential_id=made['id'], application_credential_secret=made['secret']))

    def trust(**more):
        return stacks.trusts.create(**dict({
            'trustee_user': w.ids['solum'], 'trustor_user': w.ids['alice'], 'role_names': ['member'],
            'project': w.ids['p'], 'impersonation': True}, **more))

    own = trust()
    c.equal('it sees what it made', [t.id for t in stacks.trusts.list(trustor_user=w.ids['alice'])], [own.id])
    c.raises('another trustee', lambda: trust(trustee_user=w.ids['alice']), ka.Forbidden)
    access = w.access(w.session('solum', trust=own.id))
    c.equal('the trustee acts for alice', (access.user_id, sorted(access.role_names)),
            (w.ids['alice'], ['member', 'reader']))
    w.alice.application_credentials.delete(made['id'])
    c.equal('it ends with the credential', w.validate(access.auth_token), 404)


def test_oauth2_client_credentials(w):
    """keystoneauth's v3oauth2clientcredential: the application credential is an OAuth 2.0 client."""
    c = w.c
    made = w.alice.application_credentials.create(w.name('oauth2'))
    endpoint = w.url + '/OS-OAUTH2/token'

    def of(secret):
        return w.session_of(ka_v3.OAuth2ClientCredential(
            auth_url=w.url, oauth2_endpoint=endpoint, oauth2_client_id=made.id, oauth2_client_secret=secret))

    s = of(made.secret)
    header = s.get_auth_headers()['Authorization']
    c.ok('an access token', header.startswith('Bearer '), header[:20])
    c.equal('it is a token that validates', w.validate(header.split(' ')[1]), 200)
    c.equal('of the project', w.access(s).project_id, w.ids['p'])
    c.raises('a wrong secret', lambda: of('x').get_auth_headers(), ka.ClientException)
    w.alice.application_credentials.delete(made.id)
    c.equal('it ends with the credential', w.validate(header.split(' ')[1]), 404)


def connect(w, **auth):
    return openstack.connection.Connection(
        auth_type=auth.pop('auth_type', 'password'), auth=dict(auth_url=w.url, **auth), region_name='RegionOne',
        identity_api_version='3', identity_interface='public', app_name='vicar-tests')


def test_openstacksdk(w):
    c, alice = w.c, w.ids['alice']
    i = connect(w, user_id=alice, password=w.passwords['alice'], project_id=w.ids['p']).identity
    made = i.create_application_credential(alice, w.name('sdk'), roles=[{'name': 'reader'}], access_rules=[RULE])
    c.equal('its roles', [r['name'] for r in made.roles], ['reader'])
    c.equal('get', i.get_application_credential(alice, made.id).name, made.name)
    c.equal('find', i.find_application_credential(alice, made.name).id, made.id)
    c.ok('list', made.id in [x.id for x in i.application_credentials(alice)])
    rules = list(i.access_rules(alice))
    c.equal('access rules', [(x.service, x.method, x.path) for x in rules],
            [(RULE['service'], RULE['method'], RULE['path'])])
    c.equal('get of one', i.get_access_rule(alice, rules[0].id).path, RULE['path'])
    own = i.create_application_credential(alice, w.name('sdk-2'))
    conn = connect(w, auth_type='v3applicationcredential', application_credential_id=own.id,
                   application_credential_secret=own.secret)
    c.equal('a connection with it', (conn.current_user_id, conn.current_project_id), (alice, w.ids['p']))
    c.ok('... lists them', own.id in [x.id for x in conn.identity.application_credentials(alice)])
    for x in (made, own):
        i.delete_application_credential(alice, x)
    i.delete_access_rule(alice, rules[0])
    c.raises('a deleted one', lambda: i.get_application_credential(alice, made.id), sdk.NotFoundException)


def test_openstack_command(w):
    """openstack application credential, access rule, and clouds.yaml with v3applicationcredential."""
    c, o = w.c, Cli(w)
    o.cloud('alice', user_id=w.ids['alice'], password=w.passwords['alice'], project_id=w.ids['p'])
    name = w.name('cli')
    made = o.show('application credential create --role member --unrestricted --description one', name, cloud='alice')
    made = {k.lower().replace(' ', '_'): v for k, v in made.items()}
    c.equal('its name', made['name'], name)
    c.ok('it is unrestricted', made['unrestricted'] in (True, 'True'), made)
    rules = '[{"service": "compute", "method": "GET", "path": "/v2.1/servers"}]'
    ruled = o.show('application credential create --access-rules', rules, w.name('cli-ruled'), cloud='alice')
    shown = o.show('application credential show', name, cloud='alice')
    c.ok('shown', made['id'] in [shown.get('ID'), shown.get('id')], shown)
    listed = o.show('application credential list', cloud='alice')
    c.ok('listed', {name, w.name('cli-ruled')} <= {r['Name'] for r in listed}, listed)
    listed = o.show('access rule list', cloud='alice')
    c.equal('access rules', [(r['Service'], r['Method'], r['Path']) for r in listed],
            [('compute', 'GET', '/v2.1/servers')])
    rule = listed[0]['ID']
    c.ok('one', '/v2.1/servers' in o.show('access rule show', rule, cloud='alice').values())
    o.fails('access rule delete', rule, cloud='alice')
    o.cloud('automation', application_credential_id=made['id'], application_credential_secret=made['secret'])
    o.clouds['automation']['auth_type'] = 'v3applicationcredential'
    o.cloud('by-name', application_credential_name=name, application_credential_secret=made['secret'],
            username=w.name('alice'), user_domain_name='Default')
    o.clouds['by-name']['auth_type'] = 'v3applicationcredential'
    o.cloud('wrong', application_credential_id=made['id'], application_credential_secret='x')
    o.clouds['wrong']['auth_type'] = 'v3applicationcredential'
    o.cloud('last')                         # writes them all
    for cloud in ('automation', 'by-name'):
        token = o.show('token issue', cloud=cloud)
        c.equal('a token by clouds.yaml (%s)' % cloud, (token['user_id'], token['project_id']),
                (w.ids['alice'], w.ids['p']))
        c.equal('... validates', w.validate(token['id']), 200)
    o.fails('token issue', cloud='wrong')
    child = w.name('cli-child')
    o('application credential create', child, cloud='automation')
    o('application credential delete', child, cloud='automation')
    for x in (name, w.name('cli-ruled')):
        o('application credential delete', x, cloud='alice')
    o('access rule delete', rule, cloud='alice')
    c.equal('all gone', o.show('application credential list', cloud='alice'), [])
    c.equal('... the token too', w.validate(token['id']), 404)
    c.ok('the ruled one had an id', bool(ruled))
