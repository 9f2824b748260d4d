"""Endpoint filters and stored policies: made on a Keystone, used here, and back; and the same catalogs in tokens."""
import api
from keystone_beside import PW, fresh, normal


def catalogs(pair, scope, user):
    """The catalogs of one token, as either side shows them in its body and by /auth/catalog."""
    token = pair.first.api.login(user, PW, scope)
    shown = []
    for side in (pair.first, pair.second):
        shown.append(side.body(token)['catalog'])
        listed = side.api.get('/auth/catalog', token).want(200).body['catalog']
        shown.append(normal({'methods': [], 'catalog': listed})['catalog'])
    return shown


def test_endpoint_filters(pair):
    c = pair.c
    for here, there in pair.ways():
        service = here.api.make(here.admin, 'service', name=fresh('nova'), type=fresh('compute'))
        region = here.api.make(here.admin, 'region', id=fresh('region'))
        endpoints = {name: here.api.make(here.admin, 'endpoint', interface=name, service_id=service, region_id=region,
                                         url='http://%s/$(project_id)s' % name, enabled=name != 'admin')
                     for name in ('public', 'internal', 'admin')}
        project = here.api.make(here.admin, 'project', name=fresh('seen'), domain_id=pair.domain)
        user = pair.person(here, 'member', on=project)
        of_project = '/OS-EP-FILTER/projects/%s' % project

        def seen(what, *names):
            """All four catalogs show these endpoints, and are the same."""
            shown = catalogs(pair, api.project(project), user)
            found = {e['id'] for s in shown[0] for e in s['endpoints']}
            c.equal('%s: the endpoints' % what, found, {endpoints[n] for n in names})
            for other in shown[1:]:
                c.equal('%s: the same catalog' % what, other, shown[0])

        def everything(what):
            shown = catalogs(pair, api.project(project), user)
            c.ok('%s: the whole catalog' % what, len(shown[0]) > 1, shown[0])
            c.ok('%s: the same catalog' % what, all(x == shown[0] for x in shown), shown)

        everything('no endpoint named')
        here.api.put(of_project + '/endpoints/' + endpoints['public'], here.admin).want(204)
        seen('an endpoint that %s named' % here.label, 'public')
        c.status('it is named on %s' % there.label,
                 there.api.get(of_project + '/endpoints/' + endpoints['public'], there.admin), 204)
        made = here.api.post('/OS-EP-FILTER/endpoint_groups', here.admin, {'endpoint_group': {
            'name': fresh('group'), 'filters': {'service_id': service, 'interface': 'internal'}}}).want(201)
        group = made.body['endpoint_group']
        path = '/OS-EP-FILTER/endpoint_groups/' + group['id']
        got = there.api.get(path, there.admin).want(200).body['endpoint_group']
        c.equal('a group of %s on %s' % (here.label, there.label), got | {'links': None}, group | {'links': None})
        there.api.put('%s/projects/%s' % (path, project), there.admin).want(204)
        seen('a group that %s named' % there.label, 'public', 'internal')
        there.api.delete(of_project + '/endpoints/' + endpoints['public'], there.admin).want(204)
        seen('the group alone', 'internal')
        for name in ('/endpoints', '/endpoint_groups'):
            lists = [{x['id'] for x in side.api.get(of_project + name, side.admin).want(200).body[name[1:]]}
                     for side in (here, there)]
            c.equal('the same %s' % name[1:], lists[0], lists[1])

        there.api.patch(path, there.admin, {'endpoint_group': {
            'filters': {'service_id': service, 'region_id': region, 'interface': 'admin'}}}).want(200)
        seen('a group of nothing but what is switched off')
        there.api.patch(path, there.admin, {'endpoint_group': {'filters': {'service_id': service}}}).want(200)
        seen('a group that %s changed' % there.label, 'public', 'internal')
        here.api.delete(path, here.admin).want(204)
        c.status('a group that %s deleted' % here.label, there.api.get(path, there.admin), 404)
        everything('the group deleted')

        # What is deleted takes the names with it.
        there.api.put(of_project + '/endpoints/' + endpoints['public'], there.admin).want(204)
        here.api.delete('/endpoints/' + endpoints['public'], here.admin).want(204)
        everything('the endpoint deleted')
        here.api.delete('/services/' + service, here.admin).want(204)


def test_policies(pair):
    c = pair.c
    for here, there in pair.ways():
        service = here.api.make(here.admin, 'service', name=fresh('nova'), type=fresh('compute'))
        above = here.api.make(here.admin, 'region', id=fresh('region'))
        region = here.api.make(here.admin, 'region', id=fresh('region'), parent_region_id=above)
        endpoint = here.api.make(here.admin, 'endpoint', interface='public', service_id=service, region_id=region,
                                 url='http://h')
        places = ('services/' + service, 'services/%s/regions/%s' % (service, above), 'endpoints/' + endpoint)
        policies = []
        for n, place in enumerate(places):
            made = here.api.post('/policies', here.admin, {'policy': {
                'blob': '{"é": "\\u0000"}', 'type': fresh('type'), 'more': [1, None]}}).want(201).body['policy']
            policies.append(made['id'])
            got = there.api.get('/policies/' + made['id'], there.admin).want(200).body['policy']
            c.equal('a policy of %s on %s' % (here.label, there.label), got | {'links': None}, made | {'links': None})
            maker = (here, there)[n % 2]
            path = '/policies/%s/OS-ENDPOINT-POLICY/%s' % (made['id'], place)
            maker.api.put(path, maker.admin).want(204)
            for side in (here, there):
                c.status('an association of %s on %s' % (maker.label, side.label), side.api.get(path, side.admin), 204)
                got = side.api.get('/endpoints/%s/OS-ENDPOINT-POLICY/policy' % endpoint, side.admin).want(200)
                c.equal("the endpoint's policy on %s" % side.label, got.body['policy']['id'], made['id'])
                got = side.api.get('/policies/%s/OS-ENDPOINT-POLICY/endpoints' % made['id'], side.admin).want(200)
                c.equal("the policy's endpoints on %s" % side.label, [e['id'] for e in got.body['endpoints']],
                        [endpoint])
        there.api.patch('/policies/' + policies[0], there.admin, {'policy': {'blob': 'x', 'more': None}}).want(200)
        got = here.api.get('/policies/' + policies[0], here.admin).want(200).body['policy']
        c.equal('a policy that %s changed' % there.label, (got['blob'], got['more']), ('x', None))
        # Another comes into its place, whoever made that.
        path = '/policies/%s/OS-ENDPOINT-POLICY/%s'
        there.api.put(path % (policies[0], places[1]), there.admin).want(204)
        for side in (here, there):
            c.status('the one before on %s' % side.label,
                     side.api.get(path % (policies[1], places[1]), side.admin), 404)
        here.api.delete(path % (policies[2], places[2]), here.admin).want(204)
        for side in (here, there):
            got = side.api.get('/endpoints/%s/OS-ENDPOINT-POLICY/policy' % endpoint, side.admin).want(200)
            c.equal('what is left on %s' % side.label, got.body['policy']['id'], policies[0])
        for policy in policies:
            here.api.delete('/policies/' + policy, here.admin).want(204)
        c.status('policies that %s deleted, on %s' % (here.label, there.label),
                 there.api.get('/endpoints/%s/OS-ENDPOINT-POLICY/policy' % endpoint, there.admin), 404)
        here.api.delete('/services/' + service, here.admin).want(204)
