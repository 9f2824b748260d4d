"""openstacksdk's conn.identity over the resources of the identity API."""
import json
import secrets

import openstack
from keystoneauth1 import exceptions as ka
from openstack import exceptions as sdk

import api
import sign


def connect(w, auth_type='password', **auth):
    return openstack.connection.Connection(
        auth_type=auth_type, auth=dict(auth_url=w.url, **auth), region_name='RegionOne',
        identity_api_version='3', identity_interface='public',
        app_name='vicar-tests')


def listed(items, **want):
    """The only one of the items with these attributes."""
    found = [x for x in items if all(getattr(x, k) == v for k, v in want.items())]
    return found[0] if len(found) == 1 else None


def play(w):
    conn = connect(w, username='admin', password=w.server.password,
                   user_domain_id='default', project_name='admin',
                   project_domain_id='default')
    i = conn.identity
    for story in (_domains, _projects, _users_and_groups, _roles, _catalog,
                  _credentials):
        w.c.part('openstacksdk: %s' % story.__name__.strip('_').replace('_', ' '),
                 story, w, i)
    w.c.part('openstacksdk: trusts', _trusts, w, conn)


def _domains(w, i):
    c = w.c
    d = i.create_domain(name=w.name('sdk-domain'), description='one', is_enabled=True)
    c.equal('get', i.get_domain(d.id).description, 'one')
    c.ok('find', i.find_domain(d.name).id == d.id)
    c.ok('list by name', listed(i.domains(name=d.name), id=d.id))
    d = i.update_domain(d.id, description='two', is_enabled=False)
    c.equal('update', (d.description, d.is_enabled), ('two', False))
    c.ok('list by enabled', listed(i.domains(enabled=False), id=d.id))
    i.delete_domain(d.id)
    c.equal('deleted', i.find_domain(d.name), None)
    c.raises('get of a deleted one', lambda: i.get_domain(d.id),
             sdk.NotFoundException)


def _projects(w, i):
    c = w.c
    p = i.create_project(name=w.name('sdk-project'), domain_id='default',
                         description='one', tags=['blue'])
    child = i.create_project(name=w.name('sdk-child'), domain_id='default',
                             parent_id=p.id)
    c.equal('parent', i.get_project(child.id).parent_id, p.id)
    c.ok('find', i.find_project(p.name, domain_id='default').id == p.id)
    c.ok('list by parent', listed(i.projects(parent_id=p.id), id=child.id))
    c.ok('list by tag', listed(i.projects(tags='blue', name=p.name), id=p.id))
    c.raises('a parent with children is not disabled', lambda: i.update_project(
        p.id, is_enabled=False), sdk.ForbiddenException)
    c.raises('nor deleted', lambda: i.delete_project(p.id), sdk.ForbiddenException)
    i.delete_project(child.id)
    p = i.update_project(p.id, description='two', is_enabled=False)
    c.equal('update', (p.description, p.is_enabled), ('two', False))
    i.delete_project(p.id)
    c.equal('deleted', i.find_project(p.name), None)
    c.raises('the same name twice', lambda: [i.create_project(
        name=w.name('sdk-twice'), domain_id='default') for _ in range(2)],
        sdk.ConflictException)


def _users_and_groups(w, i):
    c = w.c
    u = i.create_user(name=w.name('sdk-user'), domain_id='default', password='one',
                      email='u@example.org', description='d')
    c.equal('get', (i.get_user(u.id).email, i.get_user(u.id).is_enabled),
            ('u@example.org', True))
    c.ok('no password comes back', 'password' not in w.raw(
        'GET', '/users/' + u.id, w.admin_session.get_token()).body['user'])
    c.ok('find', i.find_user(u.name).id == u.id)
    c.ok('list by name', listed(i.users(name=u.name), id=u.id))
    u = i.update_user(u.id, email='v@example.org')
    c.equal('update', u.email, 'v@example.org')
    g = i.create_group(name=w.name('sdk-group'), domain_id='default')
    i.add_user_to_group(u.id, g.id)
    c.equal('membership', i.check_user_in_group(u.id, g.id), True)
    c.ok('users of the group', listed(i.group_users(g.id), id=u.id))
    c.ok('groups of the user', listed(i.user_groups(u.id), id=g.id))
    i.remove_user_from_group(u.id, g.id)
    c.equal('no membership', i.check_user_in_group(u.id, g.id), False)
    g = i.update_group(g.id, description='two')
    c.equal('update of the group', i.get_group(g.id).description, 'two')
    c.ok('list of groups', listed(i.groups(name=g.name), id=g.id))
    i.delete_group(g.id)
    i.delete_user(u.id)
    c.equal('deleted', (i.find_group(g.name), i.find_user(u.name)), (None, None))


def _roles(w, i):
    c = w.c
    r = i.create_role(name=w.name('sdk-role'), description='one')
    c.equal('get', i.get_role(r.id).description, 'one')
    c.ok('find and list', i.find_role(r.name).id == r.id
         and listed(i.roles(name=r.name), id=r.id))
    r = i.update_role(r.id, description='two')
    c.equal('update', r.description, 'two')
    u = i.create_user(name=w.name('sdk-user2'), domain_id='default')
    g = i.create_group(name=w.name('sdk-group2'), domain_id='default')
    p, d = w.ids['p'], 'default'
    for place, target, who, agent in (
            ('project', p, 'user', u), ('project', p, 'group', g),
            ('domain', d, 'user', u), ('domain', d, 'group', g),
            ('system', 'all', 'user', u), ('system', 'all', 'group', g)):
        if place == 'system':
            args = (agent, r, 'all')
            check = args
        else:
            args = check = (target, agent, r)
        label = '%s role to a %s' % (place, who)
        getattr(i, 'assign_%s_role_to_%s' % (place, who))(*args)
        c.ok('%s: given' % label,
             getattr(i, 'validate_%s_has_%s_role' % (who, place))(*check))
        c.ok('%s: in the assignments' % label, list(
            i.role_assignments(**{'role_id': r.id, who + '_id': agent.id})))
        getattr(i, 'unassign_%s_role_from_%s' % (place, who))(*args)
        c.ok('%s: taken' % label, not getattr(
            i, 'validate_%s_has_%s_role' % (who, place))(*check))
    i.assign_project_role_to_group(p, g, r)
    i.add_user_to_group(u, g)
    effective = list(i.role_assignments(user_id=u.id, effective=True,
                                        include_names=True))
    c.equal('effective, with names', [(x.role['name'], x.scope['project']['id'])
                                      for x in effective], [(r.name, p)])
    i.delete_role(r.id)
    c.equal('a deleted role takes its assignments along',
            list(i.role_assignments(user_id=u.id, effective=True)), [])
    i.delete_user(u.id)
    i.delete_group(g.id)


def _catalog(w, i):
    c = w.c
    region = i.create_region(id=w.name('sdk-region'), description='one')
    sub = i.create_region(id=w.name('sdk-sub'), parent_region_id=region.id)
    c.equal('region', i.get_region(region.id).description, 'one')
    c.ok('regions by parent', listed(i.regions(parent_region_id=region.id),
                                     id=sub.id))
    c.equal('region: update', i.update_region(region.id, description='two'
                                              ).description, 'two')
    s = i.create_service(type=w.name('sdk-type'), name=w.name('sdk-service'))
    c.ok('service: find and list', i.find_service(s.name).id == s.id
         and listed(i.services(type=s.type), id=s.id))
    c.equal('service: update', i.update_service(s.id, description='d'
                                                ).description, 'd')
    e = i.create_endpoint(service_id=s.id, interface='public', region_id=region.id,
                          url='http://127.0.0.1:1/$(project_id)s')
    c.equal('endpoint', i.get_endpoint(e.id).url, e.url)
    c.ok('endpoints by service and interface', listed(
        i.endpoints(service_id=s.id, interface='public'), id=e.id))
    catalog = w.api.admin(w.server.password).body['catalog']
    mine = [x for x in catalog if x['id'] == s.id]
    c.ok('the catalog has it, with the project in the url', mine
         and '$' not in mine[0]['endpoints'][0]['url'], mine)
    c.equal('endpoint: update', i.update_endpoint(e.id, is_enabled=False
                                                  ).is_enabled, False)
    catalog = w.api.admin(w.server.password).body['catalog']
    c.ok('a disabled endpoint is in no catalog', not [
        x for s2 in catalog for x in s2['endpoints'] if x['id'] == e.id])
    i.delete_endpoint(e.id)
    i.delete_service(s.id)
    i.delete_region(region.id)
    for gone in (region, sub):
        c.raises('a deleted region takes those below along',
                 lambda: i.get_region(gone.id), sdk.NotFoundException)


def _credentials(w, i):
    c = w.c
    alice, p = w.ids['alice'], w.ids['p']
    made = []
    for kind, blob in (('cert', 'a certificate'), ('totp', 'GEZDGNBVGY3TQOJQ'),
                       ('ec2', json.dumps({'access': secrets.token_hex(8),
                                           'secret': 'not so secret'}))):
        x = i.create_credential(type=kind, blob=blob, user_id=alice, project_id=p)
        got = i.get_credential(x.id)
        same = (json.loads(got.blob) == json.loads(blob) if kind == 'ec2'
                else got.blob == blob)
        c.ok('%s: the blob comes back' % kind, same, got.blob)
        c.ok('%s: list by type and user' % kind,
             listed(i.credentials(type=kind, user_id=alice), id=x.id))
        made.append(x)
    x = i.update_credential(made[0].id, blob='another')
    c.equal('update', i.get_credential(made[0].id).blob, 'another')
    c.raises('a new owner is refused', lambda: i.update_credential(
        made[0].id, user_id=w.ids['heat']), sdk.BadRequestException)
    for x in made:
        i.delete_credential(x.id)
    c.raises('deleted', lambda: i.get_credential(made[0].id), sdk.NotFoundException)


def _trusts(w, conn):
    c = w.c
    alice = connect(w, user_id=w.ids['alice'], password=w.passwords['alice'],
                    project_id=w.ids['p'])
    t = alice.identity.create_trust(
        trustor_user_id=w.ids['alice'], trustee_user_id=w.ids['heat'],
        project_id=w.ids['p'], is_impersonation=True, allow_redelegation=True,
        expires_at=api.stamp(900), roles=[{'name': 'member'}])
    c.equal('create', (t.redelegation_count, t.is_impersonation,
                       [r['name'] for r in t.roles]), (3, True, ['member']))
    c.equal('get', alice.identity.get_trust(t.id).id, t.id)
    c.ok('list by trustor', listed(alice.identity.trusts(
        trustor_user_id=w.ids['alice']), id=t.id))
    heat = connect(w, user_id=w.ids['heat'], password=w.passwords['heat'],
                   trust_id=t.id)
    c.equal('the trustee is alice on her project',
            (heat.current_user_id, heat.current_project_id),
            (w.ids['alice'], w.ids['p']))
    child = heat.identity.create_trust(
        trustor_user_id=w.ids['alice'], trustee_user_id=w.ids['aodh'],
        project_id=w.ids['p'], is_impersonation=True, roles=[{'name': 'member'}])
    c.equal('redelegation', child.redelegated_trust_id, t.id)
    if w.vicar:
        pair = heat.identity.post(
            '/users/%s/credentials/OS-EC2' % w.ids['alice'],
            json={'tenant_id': w.ids['p']})
        c.equal('a keypair over the sdk\'s session', pair.status_code, 201)
        pair = pair.json()['credential']
        r = w.exchange('/ec2tokens', sign.ec2_v4_header(pair['access'],
                                                        pair['secret']))
        c.equal('... exchanges', r.status_code, 200)
    heat.identity.delete_trust(t.id)          # as Magnum does, with its trust token
    c.raises('its own trust\'s end took the child along',
             lambda: alice.identity.get_trust(child.id), sdk.NotFoundException)
    heat = connect(w, user_id=w.ids['heat'], password=w.passwords['heat'],
                   trust_id=t.id)
    c.raises('and yields no token', heat.authorize,
             sdk.SDKException, ka.Unauthorized)
