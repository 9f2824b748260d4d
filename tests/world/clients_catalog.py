"""Endpoint filters and stored policies, with the clients that people use."""
import json

import harness

harness.run_in('clients')

import pytest
from keystoneauth1 import exceptions as ka
from openstack import connection

import cli_story
import clients

w = clients.w


def catalog(session):
    """{service's id: its endpoints' ids} of a new token."""
    found = session.auth.get_access(session).service_catalog.catalog
    return {s['id']: {e['id'] for e in s['endpoints']} for s in found}


class Place:
    """A service of two endpoints, and a project with somebody on it."""

    def __init__(self, w, name):
        k = w.admin
        self.name = w.name(name)
        self.region = k.regions.create(self.name + '-region')
        self.child = k.regions.create(self.name + '-child', parent_region=self.region)
        self.service = k.services.create(self.name, type=self.name)
        self.public, self.internal = (k.endpoints.create(
            self.service, 'http://%s.example' % interface, interface=interface, region=self.child.id)
            for interface in ('public', 'internal'))
        self.project = k.projects.create(self.name, 'default')
        k.roles.grant(w.ids['member'], user=w.ids['alice'], project=self.project)

    def seen(self, w):
        """What alice is shown on the project by a new token."""
        return catalog(w.session('alice', project=self.project.id))

    def clear(self, w):
        k = w.admin
        for thing, manager in ((self.project, k.projects), (self.service, k.services),
                               (self.region, k.regions)):
            manager.delete(thing)


@pytest.fixture
def place(w, request):
    place = Place(w, request.node.name.split('_')[-1])
    yield place
    place.clear(w)


def test_keystoneclient(w, place):
    """keystoneclient: endpoints of projects, groups of endpoints"""
    c, k = w.c, w.admin
    whole = place.seen(w)
    c.ok('without a filter everything is shown',
         whole[place.service.id] == {place.public.id, place.internal.id} and len(whole) > 1, whole)
    f = k.endpoint_filter
    c.raises('an endpoint that is not named',
             lambda: f.check_endpoint_in_project(place.project, place.public), ka.NotFound)
    f.add_endpoint_to_project(place.project, place.public)
    f.check_endpoint_in_project(place.project, place.public)
    c.raises('named twice', lambda: f.add_endpoint_to_project(place.project, place.public), ka.Conflict)
    c.equal('endpoints of the project', [e.id for e in f.list_endpoints_for_project(place.project)],
            [place.public.id])
    c.equal('projects of the endpoint', [p.id for p in f.list_projects_for_endpoint(place.public)],
            [place.project.id])
    c.equal('the catalog of a token', place.seen(w), {place.service.id: {place.public.id}})

    g = k.endpoint_groups
    group = g.create(place.name, {'service_id': place.service.id, 'interface': 'internal'}, 'some')
    g.check(group)
    c.equal('a group', (group.name, group.description, g.get(group).filters),
            (place.name, 'some', {'service_id': place.service.id, 'interface': 'internal'}))
    c.equal('it is found by its name', [x.id for x in g.list(name=place.name)], [group.id])
    c.raises('a filter by a URL', lambda: g.create('bad', {'url': 'http://h'}), ka.BadRequest)
    f.add_endpoint_group_to_project(group, place.project)
    f.check_endpoint_group_in_project(group, place.project)
    c.equal('groups of the project', [x.id for x in f.list_endpoint_groups_for_project(place.project)],
            [group.id])
    c.equal('projects of the group', [p.id for p in f.list_projects_for_endpoint_group(group)],
            [place.project.id])
    c.equal('endpoints of the project, by either way',
            {e.id for e in f.list_endpoints_for_project(place.project)}, {place.public.id, place.internal.id})
    c.equal('the catalog with a group', place.seen(w), {place.service.id: {place.public.id, place.internal.id}})
    f.delete_endpoint_from_project(place.project, place.public)
    c.equal('the catalog with the group alone', place.seen(w), {place.service.id: {place.internal.id}})
    g.update(group, filters={'service_id': place.service.id, 'interface': 'public'})
    c.equal('the catalog with another filter', place.seen(w), {place.service.id: {place.public.id}})
    f.delete_endpoint_group_from_project(group, place.project)
    c.raises('a group that is not named any more',
             lambda: f.check_endpoint_group_in_project(group, place.project), ka.NotFound)
    c.equal('without a filter everything is shown again', place.seen(w), whole)
    f.add_endpoint_group_to_project(group, place.project)
    g.delete(group)
    c.equal('a group that is deleted is named no more', place.seen(w), whole)
    member = w.as_user('alice', project=place.project.id)
    c.raises('a member names nothing',
             lambda: member.endpoint_filter.add_endpoint_to_project(place.project, place.public), ka.Forbidden)
    c.raises('a member sees no groups', member.endpoint_groups.list, ka.Forbidden)


def test_keystoneclient_policies(w, place):
    """keystoneclient: policies and their endpoints"""
    c, k = w.c, w.admin
    blob = json.dumps({'compute:create': 'role:member'})
    one, two, three = (k.policies.create(blob, type=kind) for kind in ('application/json', 'two', 'three'))
    c.equal('a policy', (k.policies.get(one).blob, one.type), (blob, 'application/json'))
    c.equal('it is found by its type', [p.id for p in k.policies.list(type='two')], [two.id])
    k.policies.update(one, blob='other', type='one')
    c.equal('a changed policy', (k.policies.get(one).blob, k.policies.get(one).type), ('other', 'one'))

    e = k.endpoint_policy

    def of_endpoint():
        try:
            return e.get_policy_for_endpoint(place.public).id
        except ka.NotFound:
            return None

    c.equal('no policy', of_endpoint(), None)
    e.create_policy_association_for_service(one, place.service)
    c.equal("the service's policy", of_endpoint(), one.id)
    e.create_policy_association_for_region_and_service(two, place.region, place.service)
    c.equal("that of the service in a region above the endpoint's", of_endpoint(), two.id)
    e.create_policy_association_for_endpoint(three, place.public)
    c.equal("the endpoint's own", of_endpoint(), three.id)
    both = {place.public.id, place.internal.id}
    for policy, endpoints in ((one, both), (two, both), (three, {place.public.id})):
        c.equal('endpoints of a policy', {x.id for x in e.list_endpoints_for_policy(policy)}, endpoints)
    e.check_policy_association_for_endpoint(three, place.public)
    e.check_policy_association_for_service(one, place.service)
    e.check_policy_association_for_region_and_service(two, place.region, place.service)
    e.create_policy_association_for_service(two, place.service)
    c.raises('the policy in whose place another came',
             lambda: e.check_policy_association_for_service(one, place.service), ka.NotFound)
    e.delete_policy_association_for_endpoint(three, place.public)
    c.equal('without its own', of_endpoint(), two.id)
    e.delete_policy_association_for_region_and_service(two, place.region, place.service)
    e.delete_policy_association_for_service(two, place.service)
    c.equal('without any', of_endpoint(), None)
    e.create_policy_association_for_endpoint(three, place.public)
    for policy in (one, two, three):
        k.policies.delete(policy)
    c.equal('a policy that is deleted is for nothing', of_endpoint(), None)
    c.raises('a deleted policy', lambda: k.policies.get(one), ka.NotFound)


def test_certificates(w):
    """keystoneclient: what there was with PKI tokens"""
    c, k = w.c, w.admin
    for what in (k.simple_cert.get_ca_certificates, k.simple_cert.get_certificates):
        c.raises('certificates', what, ka.Gone)
    c.raises('revoked PKI tokens', k.tokens.get_revoked, ka.Forbidden)


def test_sdk(w, place):
    """openstacksdk: endpoint filters and policies"""
    c = w.c
    o = connection.Connection(session=w.admin_session, identity_interface='public',
                              region_name='RegionOne').identity
    group = o.create_endpoint_group(name=place.name, filters={'interface': 'internal',
                                                              'service_id': place.service.id})
    c.equal('a group', o.get_endpoint_group(group.id).filters,
            {'interface': 'internal', 'service_id': place.service.id})
    c.equal('it is found by its name', o.find_endpoint_group(place.name).id, group.id)
    c.equal('its endpoints', [e.id for e in o.endpoint_group_endpoints(group)], [place.internal.id])
    o.associate_project_with_endpoint_group(group.id, place.project.id)
    c.equal('its projects', [p.id for p in o.endpoint_group_projects(group)], [place.project.id])
    c.equal('groups of the project', [g.id for g in o.project_endpoint_groups(place.project.id)], [group.id])
    c.equal('the catalog with it', place.seen(w), {place.service.id: {place.internal.id}})
    o.associate_endpoint_with_project(place.project.id, place.public.id)
    c.equal('the catalog with an endpoint besides', place.seen(w),
            {place.service.id: {place.internal.id, place.public.id}})
    o.disassociate_endpoint_from_project(place.project.id, place.public.id)
    o.update_endpoint_group(group, name='other', description='d')
    c.equal('a changed group', o.get_endpoint_group(group.id).description, 'd')
    o.disassociate_project_from_endpoint_group(group.id, place.project.id)
    o.delete_endpoint_group(group)
    c.equal('no groups', [g.id for g in o.endpoint_groups() if g.id == group.id], [])

    policy = o.create_policy(blob='{"a": 1}', type='application/json')
    c.equal('a policy', o.get_policy(policy.id).blob, '{"a": 1}')
    o.update_policy(policy, type='t')
    c.equal('a changed policy', [p.id for p in o.policies() if p.type == 't'], [policy.id])
    o.delete_policy(policy)
    c.equal('no such policy', o.find_policy(policy.id), None)


def test_cli(w, place, tmp_path):
    """the openstack command: endpoint group, endpoint add project, policy"""
    c, o = w.c, cli_story.Cli(w)
    o('endpoint add project', place.public.id, place.name)
    c.equal('endpoint list --endpoint',
            [row['ID'] for row in o.show('endpoint list --endpoint', place.public.id)], [place.project.id])
    c.equal('endpoint list --project',
            [row['ID'] for row in o.show('endpoint list --project', place.name)], [place.public.id])
    c.equal('the catalog of a token', place.seen(w), {place.service.id: {place.public.id}})
    o('endpoint remove project', place.public.id, place.name)

    filters = tmp_path / 'filters.json'
    filters.write_text(json.dumps({'service_id': place.service.id, 'interface': 'internal'}))
    group = o.show('endpoint group create', '--description', 'd', place.name, str(filters))
    c.equal('endpoint group show',
            {k: v for k, v in o.show('endpoint group show', place.name).items() if k != 'filters'},
            {k: v for k, v in group.items() if k != 'filters'})
    o('endpoint group add project', place.name, place.name)
    c.equal('endpoint group list --endpointgroup',
            [row['ID'] for row in o.show('endpoint group list --endpointgroup', place.name)],
            [place.project.id])
    c.equal('endpoint group list --project',
            [row['ID'] for row in o.show('endpoint group list --project', place.name)], [group['id']])
    c.equal('the catalog with the group', place.seen(w), {place.service.id: {place.internal.id}})
    filters.write_text(json.dumps({'service_id': place.service.id}))
    o('endpoint group set', '--filters', str(filters), '--name', place.name + '2', group['id'])
    c.equal('the catalog with other filters', place.seen(w),
            {place.service.id: {place.internal.id, place.public.id}})
    o('endpoint group remove project', group['id'], place.name)
    o('endpoint group delete', group['id'])
    o.fails('endpoint group show', group['id'])

    rules = tmp_path / 'rules.json'
    rules.write_text('{"a": "role:member"}')
    policy = o.show('policy create', str(rules))
    c.equal('policy show', o.show('policy show', policy['id'])['rules'], rules.read_text())
    o('policy set', '--type', 'other', policy['id'])
    c.equal('policy list', [row['Type'] for row in o.show('policy list') if row['ID'] == policy['id']],
            ['other'])
    o('policy delete', policy['id'])
    o.fails('policy show', policy['id'])
