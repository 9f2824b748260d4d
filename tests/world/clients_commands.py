"""Every identity command of the `openstack` command line, once at least.

    pytest clients_commands.py                on a Vicar
    pytest clients_commands.py --keystone     on a Keystone 30.0.0: a test of the tests

The list of commands is the client's own: one that is not played here fails the test.
"""
import importlib.metadata
import json
import os

import harness

harness.run_in('clients')

import pytest

import api
import server
from cli_story import openstack

COMMANDS = {e.name.replace('_', ' ') for e in importlib.metadata.entry_points(group='openstack.identity.v3')}
# Who logs in through federation alone can ask: nobody does here.
ELSEWHERE = {'federation domain list', 'federation project list'}
METHODS = {'auth': {'methods': 'password,token,oauth1,application_credential'}}
PW = 'a-password-of-the-story'


class Openstack:
    """The command, as somebody."""

    def __init__(self, checks, url, **auth):
        self.c, self.played = checks, set()
        self.options = ['--os-auth-url', url, '--os-identity-api-version', '3', '--os-region-name', 'RegionOne']
        for name, value in auth.items():
            self.options += ['--os-' + name.replace('_', '-'), value]

    def __call__(self, line, *more, want=0):
        """What it prints; `more` are words with blanks or of another alphabet."""
        words = [*line.split(), *more]
        name = max((c for c in COMMANDS if (line + ' ').startswith(c + ' ')), key=len)
        self.played.add(name)
        done = openstack([*self.options, *words])
        status = done.returncode
        self.c.equal('openstack %s' % ' '.join(words[:5]), (status, '' if status == want else done.stderr[-500:]),
                     (want, ''))
        return done.stdout

    def data(self, line, *more):
        """The table that it prints."""
        text = self(line, *more, '-f', 'json')
        return json.loads(text) if text else {}


@pytest.fixture(scope='module')
def w(checks, options):
    """The server, with `admin` as its administrator."""
    kind = server.Keystone if options.keystone else server.Vicar
    with kind(settings=METHODS) as srv:
        o = Openstack(checks, srv.url, username='admin', password=srv.password, user_domain_id='default',
                      project_name='admin', project_domain_id='default')
        o.server = srv
        yield o


def test_people(w):
    """domains, projects, users, groups, roles"""
    w('domain create shop --description', 'a domain')
    w('domain set shop --description', 'another text')
    w.c.equal('the domain has its text', w.data('domain show shop')['description'], 'another text')
    w.c.ok('domains are listed', 'shop' in [d['Name'] for d in w.data('domain list')])
    w('project create till --domain shop --tag one --property floor=2')
    w('project set till --domain shop --tag two')
    w.c.equal('the project has its tags', sorted(w.data('project show till --domain shop')['tags']), ['one', 'two'])
    w.c.equal('projects are listed', [p['Name'] for p in w.data('project list --domain shop')], ['till'])
    w('user create ann --domain shop --email ann@example --password', PW)
    w('user set ann --domain shop --ignore-password-expiry --description', 'a person')
    shown = w.data('user show ann --domain shop')
    w.c.equal('the user has what was set', (
        shown['description'], shown['email'], shown['options']['ignore_password_expiry']),
        ('a person', 'ann@example', True))
    w.c.equal('users are listed', [u['Name'] for u in w.data('user list --domain shop')], ['ann'])
    w('group create clerks --domain shop')
    w('group set clerks --domain shop --description', 'who sells')
    w.c.equal('the group has its text', w.data('group show clerks --domain shop')['description'], 'who sells')
    w('group add user clerks ann --group-domain shop --user-domain shop')
    w.c.ok('the user is in the group', 'ann in group clerks' in w(
        'group contains user clerks ann --group-domain shop --user-domain shop'))
    w.c.equal('groups of a user are listed', [g['Name'] for g in w.data(
        'group list --user ann --user-domain shop --domain shop')], ['clerks'])
    w('role create seller')
    w('role set seller --description', 'sells')
    w.c.equal('the role has its text', w.data('role show seller')['description'], 'sells')
    w.c.ok('roles are listed', 'seller' in [r['Name'] for r in w.data('role list')])
    w('implied role create seller --implied-role reader')
    w.c.ok('implied roles are listed', ['seller', 'reader'] in [
        [r['Prior Role Name'], r['Implied Role Name']] for r in w.data('implied role list')])
    w('role add seller --group clerks --group-domain shop --project till --project-domain shop')
    found = w.data('role assignment list --names --effective --user ann --user-domain shop')
    w.c.equal('the member has both roles', sorted(a['Role'].split('@')[0] for a in found), ['reader', 'seller'])
    ann = Openstack(w.c, w.server.url, username='ann', password=PW, user_domain_name='shop', project_name='till',
                    project_domain_name='shop')
    ann('user password set --original-password', PW, '--password', PW + '2')
    w('role remove seller --group clerks --group-domain shop --project till --project-domain shop')
    w('implied role delete seller --implied-role reader')
    w('group remove user clerks ann --group-domain shop --user-domain shop')
    w('role delete seller')
    w('group delete clerks --domain shop')
    w('user delete ann --domain shop')
    w('project delete till --domain shop')
    w('domain set shop --disable')
    w('domain delete shop')
    w.played |= ann.played


def test_catalog(w):
    """regions, services, endpoints and their groups, policies, limits"""
    w('region create north --description', 'up there')
    w('region set north --description', 'far up')
    w.c.equal('the region has its text', w.data('region show north')['description'], 'far up')
    w.c.ok('regions are listed', 'north' in [r['Region'] for r in w.data('region list')])
    service = w.data('service create weather --name rain')['id']
    w('service set rain --description', 'it falls')
    w.c.equal('the service has its text', w.data('service show rain')['description'], 'it falls')
    w.c.ok('services are listed', 'rain' in [s['Name'] for s in w.data('service list')])
    end = w.data('endpoint create rain public http://rain.example/ --region north')['id']
    w('endpoint set %s --url http://rain.example/v2' % end)
    w.c.equal('the endpoint has its URL', w.data('endpoint show %s' % end)['url'], 'http://rain.example/v2')
    w.c.equal('endpoints are listed', [e['ID'] for e in w.data('endpoint list --service rain')], [end])
    w.c.ok('the catalog has it', 'rain' in [s['Name'] for s in w.data('catalog list')])
    w.c.equal('the catalog shows it', w.data('catalog show rain')['id'], service)
    w('project create dry')
    w('endpoint add project %s dry' % end)
    w.c.equal('endpoints of a project are listed', [e['ID'] for e in w.data('endpoint list --project dry')], [end])
    w('endpoint remove project %s dry' % end)
    path = os.path.join(w.server.dir, 'filters.json')
    with open(path, 'w') as f:
        json.dump({'interface': 'public'}, f)
    w('endpoint group create open %s' % path)
    w('endpoint group set open --name open --filters %s --description' % path, 'that is public')
    w.c.equal('the endpoint group has its text', w.data('endpoint group show open')['description'], 'that is public')
    w('endpoint group add project open dry')
    found = w.data('endpoint group list --project dry')
    w.c.equal('endpoint groups of a project are listed', [g['Name'] for g in found], ['open'])
    w('endpoint group remove project open dry')
    w('endpoint group delete open')
    with open(path, 'w') as f:
        f.write('{"rules": []}')
    policy = w.data('policy create %s --type application/json' % path)['id']
    w('policy set %s --type text/plain' % policy)
    w.c.equal('the policy has its type', w.data('policy show %s' % policy)['type'], 'text/plain')
    w.c.equal('policies are listed', [p['ID'] for p in w.data('policy list')], [policy])
    w('policy delete %s' % policy)
    registered = w.data('registered limit create drops --service rain --default-limit 5 --region north')['id']
    w('registered limit set %s --default-limit 6' % registered)
    w.c.equal('the registered limit is changed', w.data('registered limit show %s' % registered)['default_limit'], 6)
    w.c.equal('registered limits are listed', [x['ID'] for x in w.data('registered limit list')], [registered])
    limit = w.data('limit create drops --service rain --region north --project dry --resource-limit 9')['id']
    w('limit set %s --resource-limit 10' % limit)
    w.c.equal('the limit is changed', w.data('limit show %s' % limit)['resource_limit'], 10)
    w.c.equal('limits are listed', [x['ID'] for x in w.data('limit list')], [limit])
    w('limit delete %s' % limit)
    w('registered limit delete %s' % registered)
    w('project delete dry')
    w('endpoint delete %s' % end)
    w('service delete rain')
    w('region delete north')


def test_delegations(w):
    """application credentials, trusts, OAuth, keypairs, tokens"""
    token = w.data('token issue')
    w.c.ok('a token is issued', token.get('user_id'))
    w('token revoke %s' % token['id'])
    rules = json.dumps([{'path': '/v2.1/servers', 'method': 'GET', 'service': 'compute'}])
    made = w.data('application credential create robot --role reader --access-rules', rules)
    w.c.ok('it has its secret', made.get('Secret'))
    w.c.equal('the application credential is shown', w.data('application credential show robot')['Name'], 'robot')
    found = w.data('application credential list')
    w.c.equal('application credentials are listed', [a['Name'] for a in found], ['robot'])
    rule = w.data('access rule list')[0]['ID']
    w.c.equal('the access rule is shown', w.data('access rule show %s' % rule)['Path'], '/v2.1/servers')
    w('application credential delete robot')
    w('access rule delete %s' % rule)
    full = w.data('application credential create robot')
    robot = Openstack(w.c, w.server.url, auth_type='v3applicationcredential', application_credential_id=full['ID'],
                      application_credential_secret=full['Secret'])
    w.c.ok('a login with one', robot.data('token issue').get('project_id'))
    w('application credential delete robot')

    w('user create trustee --password', PW)
    trust = w.data('trust create admin trustee --project admin --role reader --impersonate')['id']
    w.c.equal('the trust is shown', w.data('trust show %s' % trust)['id'], trust)
    w.c.equal('trusts are listed', [t['ID'] for t in w.data('trust list')], [trust])
    acting = Openstack(w.c, w.server.url, username='trustee', password=PW, user_domain_id='default', trust_id=trust)
    w.c.equal('a login with it', acting.data('token issue').get('user_id'), w.data('user show admin')['id'])
    w('trust delete %s' % trust)

    pair = w.data('ec2 credentials create --project admin')
    w.c.equal('the keypair is shown', w.data('ec2 credentials show %s' % pair['access'])['secret'], pair['secret'])
    w.c.equal('keypairs are listed', [p['Access'] for p in w.data('ec2 credentials list')], [pair['access']])
    w('ec2 credentials delete %s' % pair['access'])

    path = os.path.join(w.server.dir, 'blob')
    with open(path, 'w') as f:
        f.write('a text')
    credential = w.data('credential create admin %s --type cert' % path)['id']
    # It sends the type, which no Keystone since 2025 lets anybody change.
    w('credential set %s --user admin --type cert --data' % credential, path, want=1)
    w.c.equal('the credential is shown', w.data('credential show %s' % credential)['type'], 'cert')
    w.c.equal('credentials are listed', [x['ID'] for x in w.data('credential list --type cert')], [credential])
    w('credential delete %s' % credential)

    consumer = w.data('consumer create --description', 'reads')
    w('consumer set %s --description' % consumer['id'], 'reads more')
    w.c.equal('the consumer has its text', w.data('consumer show %s' % consumer['id'])['description'], 'reads more')
    w.c.equal('consumers are listed', [x['ID'] for x in w.data('consumer list')], [consumer['id']])
    asked = w.data('request token create --consumer-key %s --consumer-secret %s --project admin' % (
        consumer['id'], consumer['secret']))
    verifier = w.data('request token authorize --request-key %s --role admin' % asked['id'])['oauth_verifier']
    given = w.data('access token create --consumer-key %s --consumer-secret %s --request-key %s --request-secret %s'
                   ' --verifier %s' % (consumer['id'], consumer['secret'], asked['id'], asked['secret'], verifier))
    w.c.ok('there is an access token', given.get('id'))
    w('consumer delete %s' % consumer['id'])


def test_federation(w):
    """identity providers, protocols, mappings, service providers"""
    path = os.path.join(w.server.dir, 'rules.json')
    with open(path, 'w') as f:
        json.dump([{'local': [{'user': {'name': '{0}'}}], 'remote': [{'type': 'REMOTE_USER'}]}], f)
    w('mapping create names --rules %s' % path)
    w('mapping set names --rules %s' % path)
    w.c.equal('the mapping is shown', w.data('mapping show names')['id'], 'names')
    w.c.equal('mappings are listed', [m['ID'] for m in w.data('mapping list')], ['names'])
    w('identity provider create campus --remote-id https://idp.example/')
    w('identity provider set campus --description', 'of the university')
    w.c.equal('the identity provider has its text', w.data('identity provider show campus')['description'],
              'of the university')
    w.c.equal('identity providers are listed', [i['ID'] for i in w.data('identity provider list')], ['campus'])
    w('federation protocol create openid --identity-provider campus --mapping names')
    w('federation protocol set openid --identity-provider campus --mapping names')
    w.c.equal('the protocol is shown', w.data('federation protocol show openid --identity-provider campus')['mapping'],
              'names')
    w.c.equal('protocols are listed', [p['id'] for p in w.data('federation protocol list --identity-provider campus')],
              ['openid'])
    w('federation protocol delete openid --identity-provider campus')
    w('identity provider delete campus')
    w('mapping delete names')
    w('service provider create other --auth-url https://other.example/auth'
      ' --service-provider-url https://other.example/sp')
    w('service provider set other --description', 'a cloud')
    w.c.equal('the service provider has its text', w.data('service provider show other')['description'], 'a cloud')
    w.c.equal('service providers are listed', [s['ID'] for s in w.data('service provider list')], ['other'])
    w('service provider delete other')


def test_all_of_them(w):
    """no command is left out"""
    w.c.equal('commands that were not played', sorted(COMMANDS - w.played - ELSEWHERE), [])
    w.c.equal('nothing is left behind', [t['id'] for t in api.Api(w.server.url).get(
        '/OS-TRUST/trusts', api.Api(w.server.url).admin(w.server.password)).body['trusts']], [])
