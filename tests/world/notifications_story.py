"""What is told by a server whose listeners hear of it: everything that a Keystone tells, each at least once."""
import urllib.parse

from oauthlib import oauth1

import api

MEMBER = 'Aa1!' + 'x' * 12
# An id that a client gives to what it does in several services.
GLOBAL = 'req-01234567-89ab-cdef-0123-456789abcdef'
AGENT = 'a-client/1.0'


class Story:
    """Calls, and what each id is called."""

    def __init__(self, at):
        self.at = api.Api(at.url)
        self.names = {}
        self.admin = self.at.admin(at.password)
        self.headers = {'User-Agent': AGENT}
        self.known(admin=self.admin.user, project=self.admin.body['project']['id'])

    def known(self, **ids):
        self.names.update({id: name for name, id in ids.items()})

    def id_of(self, name):
        return next(id for id, known in self.names.items() if known == name)

    def call(self, method, path, body=None, token=None, want=(200, 201, 204), **headers):
        headers = {name.replace('_', '-'): value for name, value in headers.items()}
        answer = self.at.call(method, path, token or self.admin, body, headers={**self.headers, **headers})
        return answer.want(*want)

    def make(self, called, kind, collection=None, **attributes):
        body = self.call('POST', '/' + (collection or kind + 's'), {kind: attributes}).body[kind]
        self.known(**{called: body['id']})
        return body['id']

    def login(self, who, password, scope=None, want=(201,)):
        user = {'id': who} if isinstance(who, str) else {'name': who[0], 'domain': {'id': who[1]}}
        auth = {'identity': {'methods': ['password'], 'password': {'user': dict(user, password=password)}}}
        if scope:
            auth['scope'] = scope
        return self.at.call('POST', '/auth/tokens', None, {'auth': auth}, headers=self.headers).want(*want)

    def signed(self, path, consumer, token=None, project=None, body=None, **more):
        """What a consumer of OAuth1 signs; the form of the answer."""
        key, secret = token and token['oauth_token'], token and token['oauth_token_secret']
        client = oauth1.Client(consumer['id'], consumer['secret'], key, secret, **more)
        _, headers, _ = client.sign(self.at.url + path, http_method='POST')
        if project:
            headers['Requested-Project-Id'] = project
        answer = self.at.call('POST', path, None, body, headers={**self.headers, **headers}).want(201)
        return dict(urllib.parse.parse_qsl(answer.text))


def application(s, user, token, name, has_rule=True):
    """An application credential, as a rule with an access rule."""
    rules = [{'service': 'compute', 'method': 'GET', 'path': '/' + name}] if has_rule else []
    made = s.call('POST', '/users/%s/application_credentials' % user, {'application_credential': {
        'name': name, 'access_rules': rules}}, token=token).body['application_credential']
    s.known(**{name: made['id']})
    for rule in made.get('access_rules', []):
        s.known(**{name + ' rule': rule['id']})


def program(s, token, project, role, name):
    """A consumer of OAuth1, and an access token that a user lets it have."""
    consumer = s.call('POST', '/OS-OAUTH1/consumers', {'consumer': {'description': name}}).body['consumer']
    s.known(**{name: consumer['id']})
    asked = s.signed('/OS-OAUTH1/request_token', consumer, project=project, callback_uri='oob')
    s.known(**{name + ' asks': asked['oauth_token']})
    told = s.call('PUT', '/OS-OAUTH1/authorize/' + asked['oauth_token'], {'roles': [{'id': role}]}, token=token)
    access = s.signed('/OS-OAUTH1/access_token', consumer, asked, verifier=told.body['token']['oauth_verifier'])
    s.known(**{name + ' may': access['oauth_token']})
    s.signed('/auth/tokens', consumer, access, body={'auth': {'identity': {'methods': ['oauth1'], 'oauth1': {}}}})
    return consumer['id'], access['oauth_token']


def trusted(s, token, trustor, trustee, project, role, name, **more):
    trust = s.call('POST', '/OS-TRUST/trusts', {'trust': {
        'trustor_user_id': trustor, 'trustee_user_id': trustee, 'project_id': project, 'impersonation': True,
        'roles': [{'id': role}], **more}}, token=token).body['trust']['id']
    s.known(**{name: trust})
    return trust


def arrives(s, domain, group, project):
    """Logins through an identity provider, and tokens of such a login that are exchanged."""
    at = '/OS-FEDERATION/'
    provider = at + 'identity_providers/campus'
    rules = [{'local': [{'user': {'name': '{0}'}}, {'group': {'id': group}}], 'remote': [{'type': 'HTTP_OIDC_SUB'}]}]
    s.call('PUT', at + 'mappings/arrivals', {'mapping': {'rules': rules}})
    s.call('PUT', provider, {'identity_provider': {'enabled': True, 'domain_id': domain}})
    s.call('PUT', provider + '/protocols/mapped', {'protocol': {'mapping_id': 'arrivals'}})

    def come(want, to=provider, **said):
        return s.at.call('GET', to + '/protocols/mapped/auth', headers={**s.headers, **said}).want(want)
    token = come(201, **{'OIDC-sub': 'ann'}).headers['X-Subject-Token']
    come(401)
    come(404, at + 'identity_providers/none', **{'OIDC-sub': 'ann'})

    def exchanged(want):
        identity = {'methods': ['token'], 'token': {'id': token}}
        body = {'auth': {'identity': identity, 'scope': api.project(project)}}
        s.at.call('POST', '/auth/tokens', None, body, headers=s.headers).want(want)
    exchanged(201)
    s.call('PATCH', provider, {'identity_provider': {'enabled': False}})
    exchanged(403)
    come(403, **{'OIDC-sub': 'ann'})
    s.call('DELETE', provider)
    s.call('DELETE', at + 'mappings/arrivals')


def quiet(s, user, group, domain, project, role):
    """What changes something, and is told by neither."""
    def first(kind, **attributes):
        return s.call('POST', '/' + kind, {kind: [attributes]}).body[kind][0]['id']

    member, policy = s.id_of('member'), s.make('quiet policy', 'policy', 'policies', blob='{}', type='text/plain')
    identity = s.call('GET', '/services?type=identity').body['services'][0]['id']
    endpoint = s.call('GET', '/endpoints').body['endpoints'][0]
    registered = first('registered_limits', service_id=identity, resource_name='x', default_limit=1)
    s.call('PATCH', '/registered_limits/' + registered, {'registered_limit': {'default_limit': 2}})
    limit = first('limits', service_id=identity, resource_name='x', project_id=project, resource_limit=1)
    filtered = s.call('POST', '/OS-EP-FILTER/endpoint_groups', {'endpoint_group': {
        'name': 'f', 'filters': {'interface': 'public'}}}).body['endpoint_group']['id']
    limit, registered = '/limits/' + limit, '/registered_limits/' + registered
    filters, config = '/OS-EP-FILTER/endpoint_groups/' + filtered, '/domains/%s/config' % domain
    federation, rules = '/OS-FEDERATION', [{'local': [{'user': {'name': '{0}'}}], 'remote': [{'type': 'UserName'}]}]
    provider, protocol = federation + '/identity_providers/idp', federation + '/identity_providers/idp/protocols/mapped'
    mapping, service_provider = federation + '/mappings/m', federation + '/service_providers/sp'
    # What a PUT makes, and with which body; then what changes it.
    made = [
        ('/system/users/%s/roles/%s' % (user, role), None, None),
        ('/system/groups/%s/roles/%s' % (group, role), None, None),
        ('/roles/%s/implies/%s' % (role, member), None, None),
        (config, {'config': {'identity': {'list_limit': 9}}}, {'config': {'identity': {'list_limit': 8}}}),
        (filters + '/projects/' + project, None, None),
        ('/OS-EP-FILTER/projects/%s/endpoints/%s' % (project, endpoint['id']), None, None),
        ('/policies/%s/OS-ENDPOINT-POLICY/endpoints/%s' % (policy, endpoint['id']), None, None),
        ('/policies/%s/OS-ENDPOINT-POLICY/services/%s' % (policy, identity), None, None),
        ('/policies/%s/OS-ENDPOINT-POLICY/services/%s/regions/%s' % (policy, identity, endpoint['region_id']),
         None, None),
        (mapping, {'mapping': {'rules': rules}}, {'mapping': {'rules': rules}}),
        (provider, {'identity_provider': {'domain_id': domain}}, {'identity_provider': {'description': 'x'}}),
        (protocol, {'protocol': {'mapping_id': 'm'}}, {'protocol': {'mapping_id': 'm'}}),
        (service_provider, {'service_provider': {'auth_url': 'https://x/auth', 'sp_url': 'https://x/sp'}},
         {'service_provider': {'description': 'x'}}),
    ]
    for path, body, change in made:
        s.call('PUT', path, body)
        if change:
            s.call('PATCH', path, change)
    s.call('PATCH', limit, {'limit': {'resource_limit': 2}})
    s.call('PATCH', filters, {'endpoint_group': {'description': 'x'}})
    for path in [path for path, *_ in reversed(made)] + [limit, registered, filters]:
        s.call('DELETE', path)
    token = api.Token(s.login(user, MEMBER))
    s.call('DELETE', '/auth/tokens', X_Subject_Token=token.id)
    s.call('DELETE', '/policies/' + policy)


def play(s, form):
    """Everything that a Keystone tells, each at least once."""
    # The catalog.
    region = 'here'
    s.make('region', 'region', id=region)
    s.call('PATCH', '/regions/' + region, {'region': {'description': 'x'}})
    service = s.make('service', 'service', type='compute', name='nova')
    s.call('PATCH', '/services/' + service, {'service': {'name': 'nova2'}})
    endpoint = s.make('endpoint', 'endpoint', service_id=service, interface='public', url='http://x', region_id=region)
    s.call('PATCH', '/endpoints/' + endpoint, {'endpoint': {'url': 'http://y'}})
    s.make('old endpoint', 'endpoint', service_id=service, interface='admin', url='http://x', region='there')
    s.call('DELETE', '/endpoints/' + endpoint, X_Openstack_Request_Id=GLOBAL)
    s.call('DELETE', '/services/' + service)
    s.call('DELETE', '/regions/' + region)
    policy = s.make('policy', 'policy', 'policies', blob='{}', type='application/json')
    s.call('PATCH', '/policies/' + policy, {'policy': {'blob': '{"a": ""}'}})
    s.call('DELETE', '/policies/' + policy)
    # Domains, projects, tags.
    domain = s.make('domain', 'domain', name='d')
    s.call('PATCH', '/domains/' + domain, {'domain': {'description': 'x'}})
    project = s.make('p', 'project', name='p', domain_id=domain)
    s.call('PATCH', '/projects/' + project, {'project': {'description': 'x'}}, X_Openstack_Request_Id=GLOBAL)
    s.call('PUT', '/projects/%s/tags/blue' % project)
    s.call('PUT', '/projects/%s/tags' % project, {'tags': ['red', 'green']})
    s.call('DELETE', '/projects/%s/tags/red' % project)
    s.call('DELETE', '/projects/%s/tags' % project)
    s.make('acting', 'project', name='acting', is_domain=True)
    below = s.make('below', 'project', name='below', domain_id=domain, parent_id=project)
    member, me = s.at.role_ids(s.admin)['member'], s.admin.user
    s.known(member=member)
    s.call('PUT', '/projects/%s/users/%s/roles/%s' % (below, me, member))
    trusted(s, s.at.exchange(s.admin, api.project(below)), me, me, below, member, 'trust below')
    s.call('POST', '/credentials', {'credential': {'type': 'cert', 'blob': 'x', 'user_id': me, 'project_id': below}})
    s.call('DELETE', '/projects/' + below, X_Openstack_Request_Id='odd')
    # People.
    user = s.make('user', 'user', name='u', domain_id=domain, password=MEMBER, default_project_id=project)
    other = s.make('other', 'user', name='v', domain_id=domain, password=MEMBER)
    s.call('PATCH', '/users/' + user, {'user': {'description': 'x'}})
    group = s.make('group', 'group', name='g', domain_id=domain)
    s.call('PATCH', '/groups/' + group, {'group': {'description': 'x'}})
    s.call('PUT', '/groups/%s/users/%s' % (group, user))
    s.call('DELETE', '/groups/%s/users/%s' % (group, user))
    # Roles.
    role = s.make('role', 'role', name='r')
    own = s.make('own role', 'role', name='own', domain_id=domain)
    s.call('PATCH', '/roles/' + role, {'role': {'description': 'x'}})
    s.call('PUT', '/roles/%s/implies/%s' % (role, own), want=(201, 403))
    for on in ('/projects/' + project, '/domains/' + domain):
        for who in ('/users/' + user, '/groups/' + group):
            s.call('PUT', '%s%s/roles/%s' % (on, who, role))
    s.call('PUT', '/OS-INHERIT/domains/%s/users/%s/roles/%s/inherited_to_projects' % (domain, user, role))
    s.call('DELETE', '/OS-INHERIT/domains/%s/users/%s/roles/%s/inherited_to_projects' % (domain, user, role))
    s.call('DELETE', '/domains/%s/users/%s/roles/%s' % (domain, user, role))
    s.call('DELETE', '/domains/%s/users/%s/roles/%s' % (domain, user, role), want=(404,))
    # Logins.
    s.call('PUT', '/projects/%s/users/%s/roles/%s' % (project, user, member))
    token = api.Token(s.login(user, MEMBER, api.project(project)))
    s.login(('u', domain), MEMBER, api.project(project))
    s.login(('u', domain), 'wrong', want=(401,))
    s.login(('nobody', domain), 'wrong', want=(401,))
    s.login(other, 'wrong', want=(401,))
    s.login(other, 'wrong', want=(401,))
    s.login(other, MEMBER, want=(401,))
    arrives(s, domain, group, project)
    s.call('POST', '/auth/tokens', {'auth': {'identity': {'methods': ['token'], 'token': {'id': token.id}}}})
    # Their own.
    s.call('PATCH', '/users/' + other, {'user': {'enabled': True, 'password': MEMBER}})
    if form == 'cadf':                  # in the other one, a Keystone says that it was changed
        change = {'user': {'original_password': MEMBER, 'password': 'short'}}
        s.at.call('POST', '/users/%s/password' % other, None, change, headers=s.headers).want(400)
    change = {'user': {'original_password': MEMBER, 'password': MEMBER + 'y'}}
    s.at.call('POST', '/users/%s/password' % other, None, change, headers=s.headers).want(204)
    change = {'user': {'original_password': 'wrong-one', 'password': MEMBER + 'z'}}
    s.at.call('POST', '/users/%s/password' % other, None, change, headers=s.headers).want(401)
    credential = s.call('POST', '/credentials', {'credential': {
        'type': 'cert', 'blob': 'x', 'user_id': user, 'project_id': project}}).body['credential']['id']
    s.known(credential=credential)
    s.call('PATCH', '/credentials/' + credential, {'credential': {'blob': 'y'}})
    s.call('DELETE', '/credentials/' + credential)
    pair = s.call('POST', '/users/%s/credentials/OS-EC2' % user, {'tenant_id': project}, token=token).body['credential']
    s.call('DELETE', '/users/%s/credentials/OS-EC2/%s' % (user, pair['access']), token=token)
    trust = trusted(s, token, user, other, project, member, 'trust', allow_redelegation=True)
    s.call('DELETE', '/OS-TRUST/trusts/' + trust, token=token)
    application(s, user, token, 'first')
    s.call('DELETE', '/users/%s/application_credentials/%s' % (user, s.id_of('first')), token=token)
    s.call('DELETE', '/users/%s/access_rules/%s' % (user, s.id_of('first rule')), token=token)
    # Programs.
    own_project = s.id_of('project')
    consumer, access = program(s, s.admin, own_project, member, 'program')
    s.call('PATCH', '/OS-OAUTH1/consumers/' + consumer, {'consumer': {'description': 'x'}})
    s.call('DELETE', '/users/%s/OS-OAUTH1/access_tokens/%s' % (s.admin.user, access))
    s.call('DELETE', '/OS-OAUTH1/consumers/' + consumer)
    consumer, _ = program(s, s.admin, own_project, member, 'other program')
    s.call('DELETE', '/OS-OAUTH1/consumers/' + consumer)
    quiet(s, user, group, domain, project, role)
    # Reading tells nothing, and neither does what is refused.
    s.call('GET', '/users/' + user)
    s.call('PATCH', '/users/' + user, {'user': {'enabled': 'x'}}, want=(400,))
    s.call('DELETE', '/users/nobody', want=(404,))
    s.call('DELETE', '/users/' + user, token=token, want=(403,))
    # What goes with something else: with a role, what needs it.
    application(s, user, token, 'ended', has_rule=False)
    # A Keystone on SQLite would give the number of the one that ended to the next.
    application(s, s.admin.user, s.admin, 'kept', has_rule=False)
    s.call('DELETE', '/roles/' + role)
    s.call('DELETE', '/roles/' + own)
    s.call('PUT', '/projects/%s/users/%s/roles/%s' % (project, user, s.at.role_ids(s.admin)['admin']))
    token = api.Token(s.login(user, MEMBER, api.project(project)))
    application(s, user, token, 'second')
    trusted(s, token, user, other, project, member, 'second trust')
    program(s, token, project, member, 'last program')
    s.call('POST', '/credentials', {'credential': {'type': 'cert', 'blob': 'x', 'user_id': user}})
    s.call('DELETE', '/users/' + user)
    s.call('DELETE', '/groups/' + group)
    # One project and one user are left: of several, the order is any.
    s.call('PATCH', '/domains/' + domain, {'domain': {'enabled': False}})
    s.call('DELETE', '/domains/' + domain)
    s.make('the end', 'region', id='the-end')
