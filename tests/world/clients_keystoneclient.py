"""keystoneclient: every method of every manager of its v3 client, and every parameter.

    pytest clients_keystoneclient.py                on a Vicar
    pytest clients_keystoneclient.py --keystone     on a Keystone 30.0.0: a test of the tests

The list is the client's own: a method or a parameter that is not played here fails the test.
"""
import datetime
import inspect
import warnings

import harness

harness.run_in('clients')

import pytest
from keystoneauth1 import exceptions as ka
from keystoneauth1 import session as ka_session
from keystoneauth1.identity import v3 as ka_v3
from keystoneclient import base
from keystoneclient import exceptions as kc
from keystoneclient.v3 import client as ks_client

import server

PW = 'a-password-of-the-story'
RULES = [{'local': [{'user': {'name': '{0}'}}], 'remote': [{'type': 'REMOTE_USER'}]}]
OURS = 'keystoneclient.v3'
# Why a method or a parameter is not played.
LEFT_OUT = {
    'federation.saml.create_saml_assertion': 'nobody logs in elsewhere through federation here',
    'federation.saml.create_ecp_assertion': 'nobody logs in elsewhere through federation here',
    'regions.create(enabled)': 'regions have no such thing: the client warns of it',
    'regions.update(enabled)': 'regions have no such thing: the client warns of it',
    'users.create(project)': 'the old name of default_project',
    'users.list(project)': 'the old name of default_project',
    'users.update(project)': 'the old name of default_project',
}


def methods_of(of):
    """{name: function} of what the client's own classes add."""
    return {name: it for kind in reversed(of.__mro__) if kind.__module__.startswith(OURS)
            for name, it in vars(kind).items() if inspect.isfunction(it) and not name.startswith('_')}


def parameters(function):
    return [p.name for p in inspect.signature(function).parameters.values()
            if p.kind == p.POSITIONAL_OR_KEYWORD and p.name != 'self']


class Played:
    """A manager, or what managers return: remembers what was called with which parameters."""

    def __init__(self, of, name, played):
        self._of, self._name, self._played = of, name, played

    def __getattr__(self, name):
        it = getattr(self._of, name)
        if type(it).__module__.startswith(OURS) and not isinstance(it, base.Resource):
            return Played(it, self._name + name + '.', self._played)
        if not inspect.ismethod(it):
            return it

        def call(*args, **kwargs):
            self._played.add(self._name + name)
            given = inspect.signature(it).bind(*args, **kwargs).arguments
            self._played.update('%s%s(%s)' % (self._name, name, p) for p in given)
            return it(*args, **kwargs)
        return call


class World:
    def __init__(self, checks, srv):
        self.c, self.server, self.url, self.vicar = checks, srv, srv.url, srv.kind == 'vicar'
        self.played = set()
        self.k = self.login(username='admin', password=srv.password, user_domain_id='default', project_name='admin',
                            project_domain_id='default')
        self.me, self.mine = self.k.session.get_user_id(), self.k.session.get_project_id()
        self.roles = {r.name: r.id for r in self.k.roles.list()}

    def login(self, **auth):
        session = ka_session.Session(auth=ka_v3.Password(auth_url=self.url, **auth))
        return Played(ks_client.Client(session=session, endpoint_override=self.url), '', self.played)

    def of(self, thing):
        """A resource, with its own methods."""
        return Played(thing, type(thing).__name__ + '.', self.played)

    def missed(self, what, call):
        self.c.raises('%s: deleted' % what, call, ka.NotFound)

    def gone(self, domain):
        """A domain and all that is in it."""
        self.k.domains.update(domain, enabled=False)
        self.k.domains.delete(domain)


def seen(thing, *names):
    return tuple(getattr(thing, name, None) for name in names)


def ids(things):
    return sorted(x.id for x in things)


@pytest.fixture(scope='module')
def w(checks, options):
    kind = server.Keystone if options.keystone else server.Vicar
    with kind() as srv:
        yield World(checks, srv)


def test_domains(w):
    """domains and their configurations"""
    c, k = w.c, w.k
    d = k.domains.create('shop', description='one', enabled=True)
    c.equal('made', seen(k.domains.get(d), 'name', 'description', 'enabled'), ('shop', 'one', True))
    d = k.domains.update(d, name='shop-2', description='two', enabled=False)
    c.equal('changed', seen(k.domains.get(d), 'name', 'description', 'enabled'), ('shop-2', 'two', False))
    c.equal('listed', (ids(k.domains.list(name='shop-2')), ids(k.domains.list(enabled=False))), ([d.id], [d.id]))
    k.domain_configs.create(d, {'identity': {'driver': 'ldap'}, 'ldap': {'url': 'ldap://x', 'suffix': 'o=x'}})
    k.domain_configs.update(d, {'ldap': {'url': 'ldap://y'}})
    c.equal('its configuration', k.domain_configs.get(d).ldap, {'url': 'ldap://y', 'suffix': 'o=x'})
    k.domain_configs.delete(d)
    w.missed('its configuration', lambda: k.domain_configs.get(d))
    k.domains.delete(d)
    w.missed('a domain', lambda: k.domains.get(d))


def test_projects(w):
    """projects, what is above and below them, and tags"""
    c, k = w.c, w.k
    d = k.domains.create('house')
    top = k.projects.create('top', d, description='one', enabled=True)
    mid = k.projects.create('mid', d, parent=top)
    low = k.projects.create('low', d, parent=mid)
    c.equal('made', seen(k.projects.get(top), 'name', 'domain_id', 'description', 'enabled', 'parent_id'),
            ('top', d.id, 'one', True, d.id))
    c.equal('listed', (ids(k.projects.list(domain=d)), ids(k.projects.list(parent=top))),
            (ids([top, mid, low]), [mid.id]))
    c.equal('found', k.projects.find(name='low', domain_id=d.id).id, low.id)
    ann = k.users.create('ann', domain=d)
    # What is above and below is shown to who has a role there.
    for who in ann, w.me:
        for project in top, mid, low:
            k.roles.grant(w.roles['member'], user=who, project=project)
    c.equal('projects of a user', ids(k.projects.list(user=ann)), ids([top, mid, low]))
    c.equal('below, as a list', sorted(x['project']['name'] for x in k.projects.get(
        top, subtree_as_list=True).subtree), ['low', 'mid'])
    c.equal('above, as a list', sorted(x['project']['name'] for x in k.projects.get(
        low, parents_as_list=True).parents), ['mid', 'top'])
    c.equal('below, as ids', k.projects.get(top, subtree_as_ids=True).subtree, {mid.id: {low.id: None}})
    c.equal('above, as ids', k.projects.get(low, parents_as_ids=True).parents, {mid.id: {top.id: {d.id: None}}})
    k.projects.update(low, name='low-2', domain=d, description='two', enabled=False)
    c.equal('changed', seen(k.projects.get(low), 'name', 'description', 'enabled'), ('low-2', 'two', False))
    w.of(low).update(name='low-3', description='three', enabled=True)
    c.equal('changed by itself', seen(k.projects.get(low), 'name', 'description', 'enabled'),
            ('low-3', 'three', True))

    k.projects.update_tags(low, ['red', 'green'])
    k.projects.add_tag(low, 'blue')
    k.projects.delete_tag(low, 'green')
    c.equal('tags', sorted(k.projects.list_tags(low)), ['blue', 'red'])
    c.equal('a tag', (k.projects.check_tag(low, 'blue'), k.projects.check_tag(low, 'green')), (True, False))
    c.equal('listed by tags', [ids(k.projects.list(domain=d, **query)) for query in (
        {'tags': 'red,blue'}, {'tags_any': 'red,other'}, {'not_tags': 'red,blue'}, {'not_tags_any': 'red'})],
        [[low.id], [low.id], ids([top, mid]), ids([top, mid])])
    tagged = w.of(low)
    tagged.update_tags(['one', 'two'])
    tagged.add_tag('three')
    tagged.delete_tag('one')
    c.equal('tags by itself', (sorted(tagged.list_tags()), tagged.check_tag('two'), tagged.check_tag('one')),
            (['three', 'two'], True, False))
    tagged.delete_all_tags()
    c.equal('no tags', k.projects.get(low).tags, [])
    k.projects.delete(low)
    w.missed('a project', lambda: k.projects.get(low))
    w.gone(d)


def test_people(w):
    """users, groups and passwords"""
    c, k = w.c, w.k
    d = k.domains.create('people')
    p = k.projects.create('home', d)
    u = k.users.create('ann', domain=d, password=PW, email='a@x', description='one', enabled=True,
                       default_project=p)
    fields = 'name', 'domain_id', 'email', 'description', 'enabled', 'default_project_id'
    c.equal('made', seen(k.users.get(u), *fields), ('ann', d.id, 'a@x', 'one', True, p.id))
    g = k.groups.create('clerks', domain=d, description='one')
    c.equal('a group', seen(k.groups.get(g), 'name', 'domain_id', 'description'), ('clerks', d.id, 'one'))
    k.groups.update(g, name='clerks-2', description='two')
    c.equal('it is changed', seen(k.groups.get(g), 'name', 'description'), ('clerks-2', 'two'))
    w.of(g).update(name='clerks-3', description='three')
    c.equal('changed by itself', seen(k.groups.get(g), 'name', 'description'), ('clerks-3', 'three'))
    c.raises('not a member', lambda: k.users.check_in_group(u, g), ka.NotFound)
    k.users.add_to_group(u, g)
    k.users.check_in_group(u, g)
    c.equal('lists', (ids(k.users.list(group=g)), ids(k.users.list(domain=d, name='ann')),
                      ids(k.groups.list(user=u)), ids(k.groups.list(domain=d))), ([u.id], [u.id], [g.id], [g.id]))
    k.users.list(default_project=p)
    ann = w.login(user_id=u.id, password=PW)
    ann.users.update_password(PW, PW + '2')
    c.raises('the password of before', w.login(user_id=u.id, password=PW).auth.projects, ka.Unauthorized)
    k.users.update(u, name='ann-2', domain=d, password=PW, email='b@x', description='two', enabled=True,
                   default_project=w.mine)
    c.equal('changed', seen(k.users.get(u), *fields), ('ann-2', d.id, 'b@x', 'two', True, w.mine))
    c.equal('the new password', ids(w.login(user_id=u.id, password=PW).auth.projects()), [])
    k.users.remove_from_group(u, g)
    c.equal('a member no more', ids(k.users.list(group=g)), [])
    k.groups.delete(g)
    k.users.delete(u)
    w.missed('a group', lambda: k.groups.get(g))
    w.missed('a user', lambda: k.users.get(u))
    w.gone(d)


def test_roles(w):
    """roles, who has them where, what they imply"""
    c, k = w.c, w.k
    d = k.domains.create('market')
    p, u, g = k.projects.create('stall', d), k.users.create('ann', domain=d), k.groups.create('clerks', domain=d)
    r, other = k.roles.create('seller'), k.roles.create('seller', domain=d)
    k.roles.update(r, name='vendor')
    c.equal('roles', (k.roles.get(r).name, ids(k.roles.list(domain_id=d.id)), ids(k.roles.list(name='vendor'))),
            ('vendor', [other.id], [r.id]))
    for who, agent in (('user', u), ('group', g)):
        for place in ({'project': p}, {'domain': d}, {'system': 'all'},
                      {'project': p, 'os_inherit_extension_inherited': True},
                      {'domain': d, 'os_inherit_extension_inherited': True}):
            what = '%s, %s' % (who, ', '.join(place))
            args = {who: agent, **place}
            query = {k: v for k, v in args.items() if k != 'os_inherit_extension_inherited'}
            if len(place) > 1:
                query['os_inherit_extension_inherited_to'] = 'projects'
            c.raises('%s: not there' % what, lambda: k.roles.check(r, **args), ka.NotFound)
            k.roles.grant(r, **args)
            k.roles.check(r, **args)
            assigned = k.role_assignments.list(role=r, include_names=True, **query)
            c.equal('%s: assigned' % what, [x.role['name'] for x in assigned], ['vendor'])
            if w.vicar or query != {who: agent, 'project': p, 'os_inherit_extension_inherited_to': 'projects'}:
                c.equal('%s: listed' % what, ids(k.roles.list(**args)), [r.id])
            else:
                c.raises('%s: not listed by a Keystone' % what, lambda: k.roles.list(**args), ka.NotFound)
            k.roles.revoke(r, **args)
            c.equal('%s: no more' % what, k.role_assignments.list(role=r, **query), [])
    k.roles.grant(r, group=g, project=p)
    k.users.add_to_group(u, g)
    effective = k.role_assignments.list(user=u, effective=True)
    c.equal('in effect', [(x.role['id'], x.scope['project']['id']) for x in effective], [(r.id, p.id)])
    below = k.role_assignments.list(project=p, include_subtree=True)
    c.equal('below a project', [(x.role['id'], x.group['id']) for x in below], [(r.id, g.id)])

    rules = k.inference_rules
    made = rules.create(r, w.roles['reader'])
    c.equal('implied', (made.prior_role['id'], made.implies['id']), (r.id, w.roles['reader']))
    c.equal('read', rules.get(r, w.roles['reader']).implies['name'], 'reader')
    c.equal('there', rules.check(r, w.roles['reader']), True)
    c.equal('listed', [x['id'] for x in rules.list(r).implies], [w.roles['reader']])
    c.ok('among all', r.id in [x.prior_role['id'] for x in rules.list_inference_roles()])
    rules.delete(r, w.roles['reader'])
    c.raises('no more', lambda: rules.get(r, w.roles['reader']), ka.NotFound)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')         # the older names of the same
        k.roles.create_implied(r, w.roles['reader'])
        k.roles.check_implied(r, w.roles['reader'])
        c.equal('by the older names', k.roles.get_implied(r, w.roles['reader']).implies['name'], 'reader')
        c.ok('all of them', r.id in [x.prior_role['id'] for x in k.roles.list_role_inferences()])
        k.roles.delete_implied(r, w.roles['reader'])
    k.roles.delete(r)
    w.missed('a role', lambda: k.roles.get(r))
    c.equal('a deleted role is assigned no more', k.role_assignments.list(role=r), [])
    w.gone(d)


def test_catalog(w):
    """regions, services, endpoints, their groups, filters and policies"""
    c, k = w.c, w.k
    region = k.regions.create(id='north', description='one', parent_region='RegionOne')
    k.regions.update(region, description='two', parent_region='RegionOne')
    c.equal('a region', seen(k.regions.get(region), 'description', 'parent_region_id'), ('two', 'RegionOne'))
    c.equal('regions', ids(k.regions.list(parent_region_id='RegionOne')), ['north'])
    s = k.services.create('rain', type='weather', enabled=True, description='one')
    k.services.update(s, name='rain-2', type='weather-2', enabled=True, description='two')
    c.equal('a service', seen(k.services.get(s), 'name', 'type', 'enabled', 'description'),
            ('rain-2', 'weather-2', True, 'two'))
    c.equal('services', (ids(k.services.list(name='rain-2')), ids(k.services.list(type='weather-2'))), ([s.id],) * 2)
    e = k.endpoints.create(s, 'http://one', interface='public', region='north', enabled=True)
    k.endpoints.update(e, service=s, url='http://two', interface='internal', region='north', enabled=True)
    c.equal('an endpoint', seen(k.endpoints.get(e), 'service_id', 'url', 'interface', 'region', 'region_id', 'enabled'),
            (s.id, 'http://two', 'internal', 'north', 'north', True))
    for query in {'service': s}, {'interface': 'internal', 'service': s}, {'region': 'north'}, {'region_id': 'north'}:
        c.equal('endpoints by %s' % ', '.join(query), ids(k.endpoints.list(**query)), [e.id])
    c.ok('endpoints that are in use', e.id in ids(k.endpoints.list(enabled=True)))

    p = k.projects.create('dry', 'default')
    groups, filters = k.endpoint_groups, k.endpoint_filter
    eg = groups.create('open', {'service_id': s.id}, description='one')
    groups.update(eg, name='open-2', filters={'service_id': s.id, 'interface': 'internal'}, description='two')
    groups.check(eg)
    c.equal('an endpoint group', seen(groups.get(eg), 'name', 'filters', 'description'),
            ('open-2', {'service_id': s.id, 'interface': 'internal'}, 'two'))
    c.equal('endpoint groups', ids(groups.list(name='open-2')), [eg.id])
    filters.add_endpoint_group_to_project(eg, p)
    filters.check_endpoint_group_in_project(eg, p)
    c.equal('of the project', ids(filters.list_endpoint_groups_for_project(p)), [eg.id])
    c.equal('of the group', ids(filters.list_projects_for_endpoint_group(eg)), [p.id])
    filters.delete_endpoint_group_from_project(eg, p)
    filters.add_endpoint_to_project(p, e)
    filters.check_endpoint_in_project(p, e)
    c.equal('endpoints of the project', ids(filters.list_endpoints_for_project(p)), [e.id])
    c.equal('projects of the endpoint', ids(filters.list_projects_for_endpoint(e)), [p.id])
    filters.delete_endpoint_from_project(p, e)
    c.equal('nothing is left', (filters.list_projects_for_endpoint(e), filters.list_endpoint_groups_for_project(p)),
            ([], []))
    groups.delete(eg)
    w.missed('an endpoint group', lambda: groups.get(eg))

    policy = k.policies.create('{"a": 1}', type='application/json')
    k.policies.update(policy, blob='{"b": 1}', type='text/plain')
    c.equal('a policy', seen(k.policies.get(policy), 'blob', 'type'), ('{"b": 1}', 'text/plain'))
    w.of(policy).update(blob='{"c": 1}', type='text/html')
    c.equal('policies', [(x.id, x.blob) for x in k.policies.list(type='text/html')], [(policy.id, '{"c": 1}')])
    of = k.endpoint_policy
    for name, args in (('endpoint', (e,)), ('service', (s,)), ('region_and_service', (region, s))):
        create, check, delete = (getattr(of, '%s_policy_association_for_%s' % (verb, name))
                                 for verb in ('create', 'check', 'delete'))
        create(policy, *args)
        check(policy, *args)
        c.equal('the policy by %s' % name, (of.get_policy_for_endpoint(e).id,
                                            ids(of.list_endpoints_for_policy(policy))), (policy.id, [e.id]))
        delete(policy, *args)
        c.raises('none by %s' % name, lambda: check(policy, *args), ka.NotFound)
    k.policies.delete(policy)
    w.missed('a policy', lambda: k.policies.get(policy))

    registered = k.registered_limits.create(s, 'drops', 5, description='one', region='north')
    k.registered_limits.update(registered, service=s, resource_name='buckets', default_limit=6, description='two')
    # It sends a name that the API does not know.
    c.raises('of a registered limit the region is not changed',
             lambda: k.registered_limits.update(registered, region='RegionOne'), ka.BadRequest)
    fields = 'service_id', 'resource_name', 'default_limit', 'description', 'region_id'
    c.equal('a registered limit', seen(k.registered_limits.get(registered), *fields),
            (s.id, 'buckets', 6, 'two', 'north'))
    limit = k.limits.create(p, s, 'buckets', 8, description='one', region='north')
    k.limits.update(limit, resource_limit=9, description='two')
    c.equal('a limit', seen(k.limits.get(limit), 'project_id', 'service_id', 'resource_name', 'resource_limit',
                            'description', 'region_id'), (p.id, s.id, 'buckets', 9, 'two', 'north'))
    for query in {'service': s}, {'region': 'north'}, {'resource_name': 'buckets'}:
        c.equal('by %s' % ', '.join(query), (ids(k.limits.list(**query)), ids(k.registered_limits.list(**query))),
                ([limit.id], [registered.id]))
    for what in {'project': w.mine}, {'service': s}, {'resource_name': 'other'}:
        c.raises('of a limit %s is not changed' % ', '.join(what), lambda: k.limits.update(limit, **what),
                 ka.BadRequest)
    k.limits.delete(limit)
    k.registered_limits.delete(registered)
    w.missed('a limit', lambda: k.limits.get(limit))
    w.missed('a registered limit', lambda: k.registered_limits.get(registered))
    k.projects.delete(p)
    k.endpoints.delete(e)
    w.missed('an endpoint', lambda: k.endpoints.get(e))
    k.services.delete(service=s)
    k.services.delete(id=k.services.create('other', type='other').id)
    w.missed('a service', lambda: k.services.get(s))
    k.regions.delete(region)
    w.missed('a region', lambda: k.regions.get(region))


def test_credentials(w):
    """credentials, keypairs, application credentials"""
    c, k = w.c, w.k
    x = k.credentials.create(w.me, 'cert', 'one', project=w.mine)
    # It sends the owner always, whom no Keystone since 2025 lets anybody change.
    for more in {'blob': 'two'}, {'type': 'other'}, {'project': w.mine}:
        c.raises('its owner is not changed', lambda: k.credentials.update(x, w.me, **more), ka.BadRequest)
    c.equal('a credential', seen(k.credentials.get(x), 'type', 'blob', 'user_id', 'project_id'),
            ('cert', 'one', w.me, w.mine))
    c.equal('credentials', (ids(k.credentials.list(type='cert')), ids(k.credentials.list(user_id=w.me))), ([x.id],) * 2)
    k.credentials.delete(x)
    w.missed('a credential', lambda: k.credentials.get(x))
    pair = k.ec2.create(w.me, w.mine)
    c.equal('a keypair', k.ec2.get(w.me, pair.access).secret, pair.secret)
    c.equal('keypairs', [x.access for x in k.ec2.list(w.me)], [pair.access])
    k.ec2.delete(w.me, pair.access)
    w.missed('a keypair', lambda: k.ec2.get(w.me, pair.access))

    rule = {'service': 'compute', 'method': 'GET', 'path': '/v2.1/servers'}
    end = datetime.datetime.now(datetime.UTC).replace(tzinfo=None) + datetime.timedelta(hours=1)
    manager, rules = k.application_credentials, k.access_rules
    a = manager.create('robot', user=w.me, secret=PW, description='one', expires_at=end,
                       roles=[{'name': 'reader'}], unrestricted=True, access_rules=[rule])
    c.equal('made', (*seen(manager.get(a, user=w.me), 'name', 'description', 'unrestricted', 'project_id', 'secret'),
                     [r['name'] for r in a.roles]), ('robot', 'one', True, w.mine, None, ['reader']))
    c.equal('found', (manager.find(user=w.me, name='robot').id, ids(manager.list(user=w.me))), (a.id, [a.id]))
    one = rules.list(user=w.me)[0]
    c.equal('an access rule', seen(rules.get(one, user=w.me), *rule), tuple(rule.values()))
    c.equal('it is found', rules.find(user=w.me, service='compute').id, one.id)
    manager.delete(a, user=w.me)
    rules.delete(one, user=w.me)
    w.missed('an application credential', lambda: manager.get(a))
    w.missed('an access rule', lambda: rules.get(one))


def test_trusts(w):
    """trusts"""
    c, k = w.c, w.k
    u = k.users.create('trustee', domain='default', password=PW)
    end = datetime.datetime.now(datetime.UTC).replace(tzinfo=None) + datetime.timedelta(hours=1)
    t = k.trusts.create(u, w.me, role_names=['reader'], role_ids=[w.roles['member']], project=w.mine,
                        impersonation=True, expires_at=end, remaining_uses=3)
    got = k.trusts.get(t)
    c.equal('made', (*seen(got, 'trustee_user_id', 'trustor_user_id', 'project_id', 'impersonation',
                           'remaining_uses'), sorted(r['name'] for r in got.roles)),
            (u.id, w.me, w.mine, True, 3, ['member', 'reader']))
    c.equal('listed', (ids(k.trusts.list(trustee_user=u)), ids(k.trusts.list(trustor_user=w.me))), ([t.id],) * 2)
    acting = w.login(user_id=u.id, password=PW, trust_id=t.id)
    c.equal('a login with it', acting.session.get_user_id(), w.me)
    k.trusts.delete(t)
    w.missed('a trust', lambda: k.trusts.get(t))
    k.users.delete(u)


def test_logins(w):
    """tokens, where one may go, and the certificates of old"""
    c, k = w.c, w.k
    c.ok('projects', w.mine in ids(k.auth.projects()) and w.mine in ids(k.federation.projects.list()))
    c.equal('domains', (ids(k.auth.domains()), ids(k.federation.domains.list())),
            (ids(k.federation.domains.list()), ids(k.auth.domains())))
    c.equal('the system', [x.all for x in k.auth.systems()], [True])
    token = w.login(user_id=w.me, password=w.server.password, project_id=w.mine).session.get_token()
    of, more = k.tokens, {'allow_expired': True, 'access_rules_support': '1'}
    data = of.get_token_data(token, include_catalog=False, **more)['token']
    c.equal('a token', (data['user']['id'], data['project']['id'], 'catalog' in data), (w.me, w.mine, False))
    access = of.validate(token, include_catalog=True, **more)
    c.equal('as an object', (access.user_id, access.project_id, access.has_service_catalog()), (w.me, w.mine, True))
    of.revoke_token(token)
    c.raises('it is revoked', lambda: of.validate(token), ka.NotFound)
    for call, error in ((k.simple_cert.get_ca_certificates, ka.Gone), (k.simple_cert.get_certificates, ka.Gone),
                        (lambda: of.get_revoked(audit_id_only=True), ka.Forbidden)):
        c.raises('there are no certificates any more', call, error)


def test_federation(w):
    """mappings, identity providers, protocols, service providers"""
    c, f = w.c, w.k.federation
    f.mappings.create('names', rules=RULES)
    f.mappings.update('names', rules=RULES * 2)
    c.equal('a mapping', (f.mappings.get('names').rules, ids(f.mappings.list())), (RULES * 2, ['names']))
    f.identity_providers.create('campus', enabled=True, description='one', remote_ids=['x'])
    f.identity_providers.update('campus', enabled=False, description='two')
    c.equal('an identity provider', (seen(f.identity_providers.get('campus'), 'enabled', 'description', 'remote_ids'),
                                     ids(f.identity_providers.list())), ((False, 'two', ['x']), ['campus']))
    f.protocols.create('mapped', identity_provider='campus', mapping='names')
    f.mappings.create('others', rules=RULES)
    f.protocols.update(identity_provider='campus', protocol='mapped', mapping='others')
    c.equal('a protocol', (f.protocols.get(identity_provider='campus', protocol='mapped').mapping_id,
                           ids(f.protocols.list(identity_provider='campus'))), ('others', ['mapped']))
    f.protocols.delete(identity_provider='campus', protocol='mapped')
    w.missed('a protocol', lambda: f.protocols.get('campus', 'mapped'))
    f.identity_providers.delete('campus')
    w.missed('an identity provider', lambda: f.identity_providers.get('campus'))
    for mapping in 'names', 'others':
        f.mappings.delete(mapping)
        w.missed('a mapping', lambda: f.mappings.get(mapping))
    f.service_providers.create('other', auth_url='https://o/a', sp_url='https://o/s', enabled=True)
    f.service_providers.update('other', description='two', enabled=False)
    c.equal('a service provider', (seen(f.service_providers.get('other'), 'auth_url', 'description', 'enabled'),
                                   ids(f.service_providers.list())), (('https://o/a', 'two', False), ['other']))
    f.service_providers.delete('other')
    w.missed('a service provider', lambda: f.service_providers.get('other'))


def test_oauth1(w):
    """OAuth1"""
    c, o = w.c, w.k.oauth1
    consumer = o.consumers.create(description='one')
    o.consumers.update(consumer, description='two')
    c.equal('a consumer', (o.consumers.get(consumer).description, ids(o.consumers.list())), ('two', [consumer.id]))
    for by_itself in False, True:
        asked = o.request_tokens.create(consumer.id, consumer.secret, w.mine)
        roles = [w.roles['reader']]
        verifier = (w.of(asked).authorize(roles) if by_itself else
                    o.request_tokens.authorize(asked.key, roles)).oauth_verifier
        given = o.access_tokens.create(consumer.id, consumer.secret, asked.key, asked.secret, verifier)
        c.ok('an access token', given.key and given.secret)
    o.consumers.delete(consumer)
    w.missed('a consumer', lambda: o.consumers.get(consumer))


def managers(of, name=''):
    """(name, manager) of all that there are"""
    for key, it in sorted(vars(of).items()):
        if key.startswith('_') or not type(it).__module__.startswith(OURS):
            continue
        yield name + key, it
        yield from managers(it, name + key + '.')


def resources():
    found = base.Resource.__subclasses__()
    for kind in found:
        found += kind.__subclasses__()
    return [kind for kind in found if kind.__module__.startswith(OURS)]


def test_all_of_them(w):
    """no method is left out, and no parameter"""
    c, there = w.c, set()
    kinds = [(name, type(it)) for name, it in managers(w.k._of)]
    c.ok('there are managers', len(kinds) > 30, kinds)
    for name, kind in kinds + [(kind.__name__, kind) for kind in resources()]:
        for method, function in methods_of(kind).items():
            what = '%s.%s' % (name, method)
            if method == 'build_url':           # no request
                continue
            if refused(function):
                c.raises('the client itself refuses %s' % what, getattr(kind(None), method),
                         kc.MethodNotImplemented)
                continue
            there |= {what} | {'%s(%s)' % (what, p) for p in parameters(function)}
    c.equal('what was not played', sorted(x for x in there - w.played - set(LEFT_OUT)
                                          if x.partition('(')[0] not in LEFT_OUT), [])
    c.equal('what was left out and need not be', sorted(
        x for x in LEFT_OUT if x not in there or x in w.played), [])


def refused(function):
    """Does the client refuse it without asking the server?"""
    return 'MethodNotImplemented' in inspect.unwrap(function).__code__.co_names
