"""openstacksdk over every identity resource that it knows, and its cloud layer's calls.

    pytest clients_sdk_resources.py                on a Vicar
    pytest clients_sdk_resources.py --keystone     on a Keystone 30.0.0: a test of the tests

The lists of methods and of query parameters are the library's own: one that is not played here fails the test.
"""
import datetime
import inspect
import json

import harness

harness.run_in('clients')

import pytest
from keystoneauth1 import exceptions as ka
from openstack import exceptions as sdk
from openstack import resource
from openstack.cloud import _identity as cloud_layer
from openstack.common import tag
from openstack.identity.v3 import _proxy

import api
import server
from sdk_story import connect

PW = 'a-password-of-the-story'
RULES = [{'local': [{'user': {'name': '{0}'}}], 'remote': [{'type': 'REMOTE_USER'}]}]


def methods_of(of):
    return {name for name, it in vars(of).items() if inspect.isfunction(it) and not name.startswith('_')}


class Played:
    """One of the library's objects, which remembers which of its methods were called."""

    def __init__(self, of, played):
        self._of, self._played = of, played

    def __getattr__(self, name):
        method = getattr(self._of, name)
        if not callable(method):
            return method

        def call(*args, **kwargs):
            got = method(*args, **kwargs)
            # A list is asked for when it is read.
            got = list(got) if inspect.isgenerator(got) else got
            self._played.setdefault(name, set()).update(kwargs)
            return got
        return call


class World:
    def __init__(self, checks, srv):
        self.c, self.server, self.url = checks, srv, srv.url
        self.vicar = srv.kind == 'vicar'
        self.conn = connect(self, username='admin', password=srv.password, user_domain_id='default',
                            project_name='admin', project_domain_id='default')
        self.of_identity, self.of_cloud = {}, {}
        self.i = Played(self.conn.identity, self.of_identity)
        self.cloud = Played(self.conn, self.of_cloud)
        self.me, self.mine = self.conn.current_user_id, self.conn.current_project_id

    def login(self, user, **scope):
        """The identity API as that user."""
        conn = connect(self, user_id=user.id, password=PW, **scope)
        return Played(conn.identity, self.of_identity)

    def life(self, kind, made, changed, plural=None, by=None, find='name', **place):
        """A resource is made, read, found, listed and changed; `by` are the queries that list it alone."""
        c, i = self.c, self.i
        update = getattr(i, 'update_' + kind)
        thing = getattr(i, 'create_' + kind)(**place, **made)
        c.ok('%s: it has an id' % kind, thing.id)

        def read():
            return getattr(i, 'get_' + kind)(thing.id)

        c.equal('%s: what was made is read' % kind, seen(read(), made), made)
        if find:
            word = thing.id if find == 'id' else getattr(thing, find)
            c.equal('%s: it is found' % kind, getattr(i, 'find_' + kind)(word, ignore_missing=False).id, thing.id)
        listing = getattr(i, plural or kind + 's')
        c.ok('%s: it is listed' % kind, thing.id in [x.id for x in listing()])
        for query in by or []:
            c.equal('%s: listed by %s' % (kind, ', '.join(query)), [x.id for x in listing(**query)], [thing.id])
        c.equal('%s: the change is answered' % kind, seen(update(thing, **changed), changed), changed)
        c.equal('%s: the change is read' % kind, seen(read(), made | changed), made | changed)
        return thing

    def end(self, kind, thing, find='name', place=()):
        """It is deleted: nothing finds it, and to delete it again is to miss it."""
        c, i = self.c, self.i
        delete, get = getattr(i, 'delete_' + kind), getattr(i, 'get_' + kind)
        delete(*place, thing, ignore_missing=False)
        c.raises('%s: deleted' % kind, lambda: get(*place, thing.id), sdk.NotFoundException)
        if find:
            word = thing.id if find == 'id' else getattr(thing, find)
            finder = getattr(i, 'find_' + kind)
            c.equal('%s: found no more' % kind, finder(*place, word), None)
            c.raises('%s: missed' % kind, lambda: finder(*place, word, ignore_missing=False), sdk.NotFoundException)
        c.equal('%s: deleted twice' % kind, delete(*place, thing.id), None)
        c.raises('%s: deleted twice, and missed' % kind, lambda: delete(*place, thing.id, ignore_missing=False),
                 sdk.NotFoundException)


    def gone(self, domain):
        """A domain and all that is in it."""
        self.i.update_domain(domain, is_enabled=False)
        self.i.delete_domain(domain)


def seen(thing, names):
    return {name: getattr(thing, name) for name in names}


def ids(things):
    return sorted(x.id for x in things)


@pytest.fixture(scope='module')
def w(checks, options):
    kind = server.Keystone if options.keystone else server.Vicar
    with kind() as srv:
        yield World(checks, srv)


def test_domains(w):
    """domains and their configurations"""
    c, i = w.c, w.i
    d = w.life('domain', {'name': 'shop', 'description': 'one'}, {'description': 'two', 'is_enabled': False},
               by=[{'name': 'shop'}])
    c.equal('listed by enabled', ids(i.domains(is_enabled=False)), [d.id])
    made = i.create_domain_config(d, identity={'driver': 'ldap'}, ldap={'url': 'ldap://x', 'user_tree_dn': 'o=x'})
    c.equal('its configuration', (made.identity.driver, made.ldap.url), ('ldap', 'ldap://x'))
    i.update_domain_config(d, ldap={'url': 'ldap://y'})
    got = i.get_domain_config(d)
    c.equal('its changed configuration', (got.ldap.url, got.ldap.user_tree_dn), ('ldap://y', 'o=x'))
    i.delete_domain_config(d, ignore_missing=False)
    c.raises('no configuration', lambda: i.get_domain_config(d), sdk.NotFoundException)
    w.end('domain', d)


def test_projects(w):
    """projects, their tags and what is below them"""
    c, i, session = w.c, w.i, w.conn.identity
    d = i.create_domain(name='house')
    p = w.life('project', {'name': 'till', 'domain_id': d.id, 'description': 'one', 'is_enabled': True},
               {'description': 'two', 'name': 'till-2', 'is_enabled': False},
               by=[{'name': 'till', 'domain_id': d.id}, {'parent_id': d.id}])
    c.equal('listed by enabled', ids(i.projects(is_enabled=False)), [p.id])
    c.equal('domains are projects too', ids(i.projects(is_domain=True, name='house')), [d.id])
    c.equal('found in a domain', i.find_project('till-2', domain_id=d.id).id, p.id)
    c.equal('and not in another', i.find_project('till-2', domain_id='default'), None)

    tagged = Played(i.get_project(p.id), played := {})
    tagged.add_tag(session, 'red')
    tagged.set_tags(session, ['green', 'blue'])
    c.equal('tags', sorted(i.get_project(p.id).tags), ['blue', 'green'])
    tagged.add_tag(session, 'red')
    tagged.remove_tag(session, 'green')
    c.equal('tags that are read', sorted(tagged.fetch_tags(session).tags), ['blue', 'red'])
    tagged.check_tag(session, 'red')
    c.raises('no such tag', lambda: tagged.check_tag(session, 'green'), sdk.NotFoundException)
    other = i.create_project(name='plain', domain_id=d.id, tags=['blue'])
    for query, want in (({'tags': 'blue,red'}, [p]), ({'any_tags': 'red,blue'}, [p, other]),
                        ({'not_tags': 'blue,red'}, [other]), ({'not_any_tags': 'red'}, [other])):
        c.equal('listed by %s' % query, ids(i.projects(domain_id=d.id, **query)), ids(want))
    tagged.remove_all_tags(session)
    c.equal('no tags', i.get_project(p.id).tags, [])
    c.equal('calls of tags that were not played', sorted(methods_of(tag.TagMixin) - set(played)), [])

    i.update_project(p, is_enabled=True)
    child = i.create_project(name='below', domain_id=d.id, parent_id=p.id)
    c.raises('what has projects below it stays', lambda: i.delete_project(p), sdk.ForbiddenException)
    i.delete_project(child)
    w.end('project', i.get_project(p.id))
    i.delete_project(other)
    w.gone(d)


def test_people(w):
    """users, groups and passwords"""
    c, i = w.c, w.i
    d = i.create_domain(name='people')
    home = i.create_project(name='home', domain_id=d.id)
    u = w.life('user', {'name': 'ann', 'domain_id': d.id, 'email': 'a@x', 'description': 'one', 'is_enabled': True},
               {'description': 'two', 'default_project_id': home.id, 'is_enabled': False,
                'options': {'ignore_password_expiry': True}}, by=[{'name': 'ann', 'domain_id': d.id}])
    c.equal('listed by enabled', ids(i.users(is_enabled=False)), [u.id])
    i.update_user(u, password=PW, is_enabled=True)
    c.equal('found in a domain', i.find_user('ann', domain_id=d.id).id, u.id)
    c.equal('and not in another', i.find_user('ann', domain_id='default'), None)
    c.equal('listed by when the password expires', ids(i.users(password_expires_at='lt:2001-01-01T00:00:00Z')), [])
    ann = w.login(u)
    ann.update_password(u, PW, PW + '2')
    c.raises('the password of before', lambda: w.login(u).user_projects(u), sdk.SDKException, ka.Unauthorized)
    i.update_user(u, password=PW)

    i.create_mapping(id='names', rules=RULES)
    i.create_identity_provider(id='campus')
    i.create_federation_protocol('campus', id='mapped', mapping_id='names')
    linked = [{'idp_id': 'campus', 'protocols': [{'protocol_id': 'mapped', 'unique_id': 'bob@x'}]}]
    bob = i.create_user(name='bob', domain_id=d.id, federated=linked)
    c.equal('who comes from a provider', i.get_user(bob.id).federated, linked)
    c.equal('listed by where they come from',
            ids(i.users(idp_id='campus', protocol_id='mapped', unique_id='bob@x')), [bob.id])
    i.delete_federation_protocol('campus', 'mapped')
    i.delete_identity_provider('campus')
    i.delete_mapping('names')

    g = w.life('group', {'name': 'clerks', 'domain_id': d.id, 'description': 'one'}, {'description': 'two'},
               by=[{'name': 'clerks', 'domain_id': d.id}])
    c.equal('found in a domain', i.find_group('clerks', domain_id=d.id).id, g.id)
    c.equal('not a member', i.check_user_in_group(u, g), False)
    i.add_user_to_group(u, g)
    c.equal('a member', i.check_user_in_group(u, g), True)
    c.equal('members', ids(i.group_users(g)), [u.id])
    c.equal('members by name', ids(i.group_users(g, name='nobody')), [])
    c.equal('groups of the user', ids(i.user_groups(u)), [g.id])
    i.remove_user_from_group(u, g)
    c.equal('not a member any more', (i.check_user_in_group(u, g), ids(i.group_users(g))), (False, []))

    for listing, all_of_them in (
            (i.users, [u, bob, i.create_user(name='carl', domain_id=d.id)]),
            (i.groups, [g, i.create_group(name='porters', domain_id=d.id)]),
            (i.projects, [home, i.create_project(name='office', domain_id=d.id)])):
        c.equal('a page of one', len(listing(domain_id=d.id, limit=1, paginated=False)), 1)
        c.equal('the whole list in pages', ids(listing(domain_id=d.id, limit=1)), ids(all_of_them))
    i.wait_for_status(u, 'two', attribute='description', interval=0.1, wait=10)
    w.end('group', g)
    w.end('user', u)
    i.wait_for_delete(u, interval=0.1, wait=10)
    w.gone(d)


def test_roles(w):
    """roles and who has them where"""
    c, i = w.c, w.i
    r = w.life('role', {'name': 'seller', 'description': 'one'}, {'description': 'two'}, by=[{'name': 'seller'}])
    d = i.create_domain(name='market')
    p = i.create_project(name='stall', domain_id=d.id)
    u, g = i.create_user(name='ann', domain_id=d.id), i.create_group(name='clerks', domain_id=d.id)
    of_domain = i.create_role(name='seller', domain_id=d.id)
    c.equal('roles of a domain', ids(i.roles(domain_id=d.id)), [of_domain.id])
    c.equal('found in a domain', i.find_role('seller', domain_id=d.id).id, of_domain.id)
    i.delete_role(of_domain)
    for place, at in (('domain', d), ('project', p), ('system', 'all')):
        for who, agent in (('user', u), ('group', g)):
            if place == 'system':
                args, kinds = (agent, r, at), ({},)
            else:
                args, kinds = (at, agent, r), ({}, {'inherited': True})
            for kind in kinds:
                what = '%s, %s, %s' % (place, who, kind)
                give, take = (getattr(i, '%s_%s_role_%s_%s' % (verb, place, way, who))
                              for verb, way in (('assign', 'to'), ('unassign', 'from')))
                has = getattr(i, 'validate_%s_has_%s_role' % (who, place))
                scope = {'scope_%s%s' % (place, '_id' if kinds[1:] else ''): getattr(at, 'id', at)}

                def assigned(**query):
                    return [x.role['id'] for x in i.role_assignments(
                        **{who + '_id': agent.id}, **scope, **query)]

                c.equal('%s: not there' % what, has(*args, **kind), False)
                give(*args, **kind)
                c.equal('%s: given' % what, has(*args, **kind), True)
                c.equal('%s: assigned' % what, assigned(role_id=r.id), [r.id])
                if not kind:
                    found = i.role_assignments_filter(**{place: at, who: agent})
                    c.equal('%s: listed' % what, ids(found), [r.id])
                else:
                    c.equal('%s: found by that it is inherited' % what, assigned(inherited_to='projects'), [r.id])
                take(*args, **kind)
                c.equal('%s: taken' % what, (has(*args, **kind), assigned()), (False, []))
    i.assign_domain_role_to_group(d, g, r, inherited=True)
    i.add_user_to_group(u, g)
    named = i.role_assignments(user_id=u.id, effective=True, include_names=True)
    c.equal('in effect, with names', [(x.role['name'], x.scope['project']['name'], x.user['name']) for x in named],
            [('seller', 'stall', 'ann')])
    i.assign_project_role_to_user(p, u, r)
    below = i.role_assignments(scope_project_id=p.id, include_subtree=True)
    c.equal('below a project', [(x.user['id'], x.role['id']) for x in below], [(u.id, r.id)])
    c.equal('projects of a user', ids(i.user_projects(u)), [p.id])
    w.end('role', r)
    c.equal('a deleted role is assigned no more', list(i.role_assignments(role_id=r.id)), [])
    w.gone(d)


def test_catalog(w):
    """regions, services, endpoints, groups of endpoints"""
    c, i = w.c, w.i
    region = w.life('region', {'id': 'north', 'description': 'one'}, {'description': 'two'}, find='id')
    part = i.create_region(id='part', parent_region_id='north')
    c.equal('regions in a region', ids(i.regions(parent_region_id='north')), ['part'])
    s = w.life('service', {'name': 'rain', 'type': 'weather', 'description': 'one', 'is_enabled': True},
               {'description': 'two', 'is_enabled': False, 'type': 'weather2'},
               by=[{'name': 'rain'}, {'type': 'weather'}])
    i.update_service(s, is_enabled=True)
    e = w.life('endpoint', {'service_id': s.id, 'interface': 'public', 'url': 'http://one', 'region_id': 'part'},
               {'url': 'http://two', 'is_enabled': False}, find='id',
               by=[{'service_id': s.id}, {'region_id': 'part'}, {'interface': 'public', 'service_id': s.id}])
    i.update_endpoint(e, is_enabled=True)
    group = w.life('endpoint_group', {'name': 'open', 'description': 'one', 'filters': {'service_id': s.id}},
                   {'description': 'two', 'filters': {'service_id': s.id, 'interface': 'public'}},
                   by=[{'name': 'open'}])
    p = i.create_project(name='dry')
    c.equal('endpoints of the group', ids(i.endpoint_group_endpoints(group)), [e.id])
    i.associate_project_with_endpoint_group(group, p)
    c.equal('projects of the group', ids(i.endpoint_group_projects(group)), [p.id])
    c.equal('groups of the project', ids(i.project_endpoint_groups(p)), [group.id])
    c.equal('endpoints of the project by the group', ids(i.project_endpoints(p)), [e.id])
    i.disassociate_project_from_endpoint_group(group, p)
    c.equal('without the group', ids(i.endpoint_group_projects(group)), [])
    i.associate_endpoint_with_project(p, e)
    c.equal('projects of the endpoint', ids(i.endpoint_projects(e)), [p.id])
    c.equal('endpoints of the project', ids(i.project_endpoints(p)), [e.id])
    i.disassociate_endpoint_from_project(p, e)
    c.equal('without the endpoint', ids(i.endpoint_projects(e)), [])
    i.delete_project(p)
    w.end('endpoint_group', group)
    w.end('endpoint', e, find='id')
    w.end('service', s)
    w.end('region', region, find='id')
    c.equal('the regions in it went too', i.find_region(part.id), None)


def test_policies(w):
    """policies"""
    p = w.life('policy', {'blob': '{"a": 1}', 'type': 'application/json'}, {'blob': '{}', 'type': 'text/plain'},
               plural='policies', find='id')
    w.end('policy', p, find='id')


def test_limits(w):
    """registered limits and limits"""
    c, i = w.c, w.i
    i.create_region(id='tank')
    s = i.create_service(name='water', type='water')
    r = w.life('registered_limit', {'service_id': s.id, 'region_id': 'tank', 'resource_name': 'drops',
                                    'default_limit': 5, 'description': 'one'},
               {'default_limit': 6, 'description': 'two'}, find=None,
               by=[{'service_id': s.id}, {'region_id': 'tank'}, {'resource_name': 'drops'}])
    p = i.create_project(name='counted')
    limit = w.life('limit', {'service_id': s.id, 'region_id': 'tank', 'resource_name': 'drops',
                             'resource_limit': 8, 'project_id': p.id, 'description': 'one'},
                   {'resource_limit': 9, 'description': 'two'}, find=None,
                   by=[{'service_id': s.id}, {'region_id': 'tank'}, {'resource_name': 'drops'}, {'project_id': p.id}])
    c.raises('what has limits stays', lambda: i.delete_registered_limit(r), sdk.ForbiddenException)
    w.end('limit', limit, find=None)
    w.end('registered_limit', r, find=None)
    i.delete_project(p)
    i.delete_service(s)
    i.delete_region('tank')


def test_credentials(w):
    """credentials"""
    c, i = w.c, w.i
    made = {'type': 'cert', 'blob': 'one', 'user_id': w.me, 'project_id': w.mine}
    x = w.life('credential', made, {'blob': 'two'}, find='id', by=[{'type': 'cert'}, {'user_id': w.me}])
    pair = i.create_credential(type='ec2', blob=json.dumps({'access': 'a', 'secret': 's'}), user_id=w.me,
                               project_id=w.mine)
    c.equal('listed by type', ids(i.credentials(type='ec2')), [pair.id])
    i.delete_credential(pair)
    w.end('credential', x, find='id')


def test_application_credentials(w):
    """application credentials and access rules"""
    c, i = w.c, w.i
    rule = {'service': 'compute', 'method': 'GET', 'path': '/v2.1/servers'}
    end = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)).strftime('%Y-%m-%dT%H:%M:%S.000000')
    a = i.create_application_credential(w.me, 'robot', description='one', expires_at=end, unrestricted=True,
                                        roles=[{'name': 'reader'}], access_rules=[rule], secret=PW)
    c.equal('its secret', a.secret, PW)
    got = i.get_application_credential(w.me, a.id)
    c.equal('what was made is read', (got.name, got.description, got.expires_at, got.unrestricted, got.project_id,
                                      [r['name'] for r in got.roles], got.secret),
            ('robot', 'one', end, True, w.mine, ['reader'], None))
    c.equal('found', i.find_application_credential(w.me, 'robot').id, a.id)
    c.equal('listed', ids(i.application_credentials(w.me)), [a.id])
    c.equal('found by its name', ids(i.application_credentials(w.me, name='other')), [])
    conn = connect(w, auth_type='v3applicationcredential', application_credential_id=a.id,
                   application_credential_secret=PW)
    c.equal('a login with it', (conn.current_user_id, conn.current_project_id), (w.me, w.mine))
    rules = i.access_rules(w.me)
    c.equal('access rules', [(x.service, x.method, x.path) for x in rules], [tuple(rule.values())])
    c.equal('an access rule', i.get_access_rule(w.me, rules[0]).path, rule['path'])
    c.raises('a rule that is in use stays', lambda: i.delete_access_rule(w.me, rules[0]), sdk.ForbiddenException)
    w.end('application_credential', a, place=[w.me])
    w.end('access_rule', rules[0], place=[w.me], find=None)


def test_trusts(w):
    """trusts"""
    c, i = w.c, w.i
    u = i.create_user(name='trustee', domain_id='default', password=PW)
    t = i.create_trust(trustor_user_id=w.me, trustee_user_id=u.id, project_id=w.mine, is_impersonation=True,
                       allow_redelegation=True, redelegation_count=2, expires_at=api.stamp(600),
                       roles=[{'name': 'reader'}])
    got = i.get_trust(t.id)
    c.equal('what was made is read', (got.trustor_user_id, got.trustee_user_id, got.project_id, got.is_impersonation,
                                      got.redelegation_count, [r['name'] for r in got.roles]),
            (w.me, u.id, w.mine, True, 2, ['reader']))
    c.equal('found', i.find_trust(t.id).id, t.id)
    for query in {'trustor_user_id': w.me}, {'trustee_user_id': u.id}:
        c.equal('listed by %s' % query, ids(i.trusts(**query)), [t.id])
    acting = connect(w, user_id=u.id, password=PW, trust_id=t.id)
    c.equal('a login with it', (acting.current_user_id, acting.current_project_id), (w.me, w.mine))
    w.end('trust', t, find='id')
    i.delete_user(u)


def test_tokens(w):
    """tokens"""
    c, i = w.c, w.i
    u = i.create_user(name='passer', domain_id='default', password=PW)
    i.assign_project_role_to_user(w.mine, u, i.find_role('member'))
    token = connect(w, user_id=u.id, password=PW, project_id=w.mine).auth_token
    got = i.validate_token(token)
    c.equal('its user, project and methods', (got.user['id'], got.project['id'], got.methods),
            (u.id, w.mine, ['password']))
    c.ok('its roles and catalog', {'member'} <= {r['name'] for r in got.roles} and got.catalog and got.audit_ids)
    got = i.validate_token(token, nocatalog=True, allow_expired=True)
    c.equal('without the catalog', (got.user['id'], got.catalog), (u.id, None))
    c.equal('it is good', (i.check_token(token), i.check_token(token, allow_expired=True)), (True, True))
    i.revoke_token(token)
    c.equal('it is not', (i.check_token(token), i.check_token(token, allow_expired=True)), (False, False))
    c.raises('nobody knows it', lambda: i.validate_token(token), sdk.NotFoundException)
    i.delete_user(u)


def test_federation(w):
    """mappings, identity providers, protocols, service providers"""
    c, i = w.c, w.i
    others = [{'local': [{'user': {'name': '{0}'}}], 'remote': [{'type': 'MAIL'}]}]
    m = w.life('mapping', {'id': 'names', 'rules': RULES}, {'rules': others}, find='id')
    idp = w.life('identity_provider', {'id': 'campus', 'description': 'one', 'is_enabled': True, 'remote_ids': ['x'],
                                       'domain_id': 'default'},
                 {'description': 'two', 'is_enabled': False, 'remote_ids': ['y'], 'authorization_ttl': 5}, find='id',
                 by=[{'id': 'campus'}])
    c.equal('listed by enabled', ids(i.identity_providers(is_enabled=False)), ['campus'])
    p = i.create_federation_protocol(idp, id='mapped', mapping_id=m.id)
    c.equal('the protocol', (i.get_federation_protocol(idp, 'mapped').mapping_id, p.name), ('names', 'mapped'))
    c.equal('found', i.find_federation_protocol(idp, 'mapped').id, 'mapped')
    c.equal('listed', ids(i.federation_protocols('campus')), ['mapped'])
    c.equal('listed by its id', ids(i.federation_protocols('campus', id='mapped')), ['mapped'])
    i.create_mapping(id='others', rules=others)
    i.update_federation_protocol(idp, 'mapped', mapping_id='others')
    c.equal('changed', i.get_federation_protocol(idp, 'mapped').mapping_id, 'others')
    i.delete_federation_protocol(idp, 'mapped', ignore_missing=False)
    c.raises('deleted', lambda: i.get_federation_protocol(idp, 'mapped'), sdk.NotFoundException)
    sp = w.life('service_provider', {'id': 'other', 'description': 'one', 'is_enabled': True,
                                     'auth_url': 'https://o/a', 'sp_url': 'https://o/s'},
                {'description': 'two', 'is_enabled': False, 'relay_state_prefix': 'x:'}, find='id',
                by=[{'id': 'other'}])
    c.equal('listed by enabled', ids(i.service_providers(is_enabled=False)), ['other'])
    w.end('service_provider', sp, find='id')
    w.end('identity_provider', idp, find='id')
    w.end('mapping', m, find='id')
    i.delete_mapping('others')


def test_cloud_layer(w):
    """the cloud layer's calls"""
    c, o = w.c, w.cloud
    d = o.create_domain('town', 'one')
    c.equal('a domain', (o.get_domain(d.id).name, o.get_domain(name_or_id='town').description), ('town', 'one'))
    o.update_domain(d.id, description='two')
    c.equal('domains', ([x.description for x in o.list_domains(name='town')], ids(o.search_domains(name_or_id='town')),
                        ids(o.search_domains({'name': 'town'}))), (['two'], [d.id], [d.id]))
    p = o.create_project('well', d.id, 'one', depth=7)
    c.equal('a project', (o.get_project('well', domain_id=d.id).id, o.get_project(p.id).description), (p.id, 'one'))
    o.update_project('well', domain_id=d.id, description='two', enabled=False)
    c.equal('projects', (ids(o.list_projects(domain_id=d.id)), [x.is_enabled for x in o.search_projects(
        'well', domain_id=d.id)]), ([p.id], [False]))
    u = o.create_user('ann', password=PW, email='a@x', default_project=p.id, domain_id=d.id, description='one')
    c.equal('a user', (o.get_user('ann', domain_id=d.id).id, o.get_user_by_id(u.id).email), (u.id, 'a@x'))
    o.update_user('ann', domain_id=d.id, email='b@x', enabled=True)
    c.equal('users', ([x.email for x in o.list_users(domain_id=d.id)], ids(o.search_users('ann', domain_id=d.id))),
            (['b@x'], [u.id]))
    g = o.create_group('clerks', 'one', d.id)
    c.equal('a group', (o.get_group('clerks', domain_id=d.id).id, o.get_group(g.id).description), (g.id, 'one'))
    o.update_group(g.id, description='two')
    c.equal('groups', ([x.description for x in o.list_groups(domain_id=d.id)], ids(o.search_groups(
        'clerks', domain_id=d.id))), (['two'], [g.id]))
    o.add_user_to_group(u.id, g.id)
    c.equal('a member', o.is_user_in_group(u.id, g.id), True)
    o.remove_user_from_group(u.id, g.id)
    c.equal('not a member', o.is_user_in_group(u.id, g.id), False)

    r = o.create_role('digger')
    o.update_role('digger', 'driller')
    c.equal('a role', (o.get_role('driller').id, r.id in ids(o.list_roles()), ids(o.search_roles('driller'))),
            (r.id, True, [r.id]))
    for who, agent in (('user', u), ('group', g)):
        for place in ({'project': p.id}, {'domain': d.id}, {'system': 'all'},
                      {'project': p.id, 'inherited': True}, {'domain': d.id, 'inherited': True}):
            what = '%s, %s' % (who, ', '.join(place))
            args = {who: agent.id, **place}
            c.equal('%s: granted, once' % what, (o.grant_role(r.id, **args), o.grant_role(r.id, **args)),
                    (True, False))
            filters = {k: v for k, v in args.items() if k != 'inherited'} | {'role': r.id}
            c.equal('%s: listed' % what, len(o.list_role_assignments(filters)), 1)
            c.equal('%s: revoked, once' % what, (o.revoke_role(r.id, **args), o.revoke_role(r.id, **args)),
                    (True, False))
    c.equal('no assignments', o.list_role_assignments({'role': r.id}), [])

    s = o.create_service('rain', type='weather', description='one')
    o.update_service('rain', description='two', enabled=True)
    c.equal('a service', (o.get_service('rain').description, s.id in ids(o.list_services()),
                          ids(o.search_services('rain'))), ('two', True, [s.id]))
    made = o.create_endpoint('rain', public_url='http://p', internal_url='http://i', admin_url='http://a',
                             region='RegionOne')
    c.equal('endpoints', sorted(e.interface for e in made), ['admin', 'internal', 'public'])
    e = made[0]
    o.update_endpoint(e.id, url='http://other', enabled=False)
    c.equal('an endpoint', (o.get_endpoint(e.id).url, ids(o.search_endpoints(e.id)), e.id in ids(o.list_endpoints())),
            ('http://other', [e.id], True))
    eg = o.create_endpoint_group('open', {'service_id': s.id}, 'one')
    o.update_endpoint_group(eg.id, description='two')
    c.equal('an endpoint group', (o.get_endpoint_group(eg.id).description, ids(o.list_endpoint_groups(name='open')),
                                  ids(o.search_endpoint_groups('open'))), ('two', [eg.id], [eg.id]))
    c.equal('all of it is deleted', [
        o.delete_endpoint_group(eg.id), [o.delete_endpoint(x.id) for x in made], o.delete_service('rain'),
        o.delete_role('driller'), o.delete_group(g.id), o.delete_user(u.id),
        o.delete_project('well', domain_id=d.id), o.delete_domain(d.id)],
        [True, [True] * 3, True, True, True, True, True, True])
    c.equal('and missed', [o.delete_endpoint_group(eg.id), o.delete_service('rain'), o.delete_role('driller'),
                           o.delete_user(u.id), o.get_domain(name_or_id='town')], [False] * 4 + [None])


def lists():
    """{method: the resource that it lists}"""
    found = {}
    for name in methods_of(_proxy.Proxy):
        for kind in vars(_proxy).values():
            for it in vars(kind).values() if inspect.ismodule(kind) else ():
                if inspect.isclass(it) and issubclass(it, resource.Resource) and it.resources_key == name:
                    if it.__module__ == kind.__name__ and it.base_path and '%' not in it.base_path:
                        found[name] = it
    return found


def test_all_of_them(w):
    """no method is left out, and no query"""
    c = w.c
    c.equal('methods that were not played', sorted(methods_of(_proxy.Proxy) - set(w.of_identity)), [])
    c.equal('calls of the cloud layer that were not played',
            sorted(methods_of(cloud_layer.IdentityCloudMixin) - set(w.of_cloud)), [])
    found = lists()
    c.ok('lists have queries', len(found) > 15, sorted(found))
    queries = {(name, query) for name, it in found.items()
               for query in it._query_mapping._mapping if query not in ('limit', 'marker')}
    c.equal('queries that were not played', sorted(
        (name, query) for name, query in queries if query not in w.of_identity.get(name, ())), [])
