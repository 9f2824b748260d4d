"""Registered limits and limits that a Keystone made, used here, and back."""
import itertools

import api
from keystone_beside import PW, fresh


def test_limits(pair):
    c = pair.c
    for here, there in pair.ways():
        service = here.api.make(here.admin, 'service', name=fresh('compute'), type=fresh('compute'))
        made = here.api.post('/registered_limits', here.admin, {'registered_limits': [
            {'service_id': service, 'resource_name': 'cores', 'default_limit': 5}]}).want(201)
        registered = made.body['registered_limits'][0]
        seen = there.api.get('/registered_limits/' + registered['id'], there.admin).want(200)
        c.equal('a registered limit of %s, on %s' % (here.label, there.label),
                seen.body['registered_limit'] | {'links': None}, registered | {'links': None})
        limit = there.api.post('/limits', there.admin, {'limits': [
            {'service_id': service, 'resource_name': 'cores', 'resource_limit': 7, 'project_id': pair.p}]})
        limit = limit.want(201).body['limits'][0]
        seen = here.api.get('/limits/' + limit['id'], here.admin).want(200).body['limit']
        c.equal('a limit of %s, on %s' % (there.label, here.label), seen | {'links': None},
                limit | {'links': None})
        c.status('%s: a registered limit with limits stays' % here.label,
                 here.api.delete('/registered_limits/' + registered['id'], here.admin), 403)
        here.api.delete('/limits/' + limit['id'], here.admin).want(204)
        c.status('a limit that %s deleted, on %s' % (here.label, there.label),
                 there.api.get('/limits/' + limit['id'], there.admin), 404)
        there.api.delete('/registered_limits/' + registered['id'], there.admin).want(204)
        c.status('a registered limit that %s deleted, on %s' % (there.label, here.label),
                 here.api.get('/registered_limits/' + registered['id'], here.admin), 404)


def test_hierarchies_with_limits(pair):
    """Every way to ask for what is above and below a project, and for the limits there, of who holds roles there."""
    c, options = pair.c, ['parents_as_list', 'parents_as_ids', 'subtree_as_list', 'subtree_as_ids', 'include_limits']
    side = pair.first
    a, t = side.api, side.admin
    above = a.make(t, 'project', name=fresh('above'), domain_id=pair.domain)
    mid = a.make(t, 'project', name=fresh('mid'), domain_id=pair.domain, parent_id=above)
    below, hidden = (a.make(t, 'project', name=fresh('below'), domain_id=pair.domain, parent_id=mid) for _ in range(2))
    service = a.make(t, 'service', name=fresh('compute'), type=fresh('compute'))
    a.post('/registered_limits', t, {'registered_limits': [
        {'service_id': service, 'resource_name': name, 'default_limit': 5} for name in ('cores', 'disks')]}).want(201)
    a.post('/limits', t, {'limits': [
        {'service_id': service, 'resource_name': name, 'resource_limit': 7, 'project_id': project}
        for name in ('cores', 'disks') for project in (above, below, hidden)]}).want(201)
    user = pair.person(side, 'reader', on=mid)
    for project in (above, below):
        a.grant(t, pair.roles['reader'], user, project)
    reader = a.login(user, PW, api.project(mid))
    differ = []
    for n in range(len(options) + 1):
        for asked in itertools.combinations(options, n):
            for project, token in itertools.product((above, mid, below), (reader, t)):
                path = '/projects/%s?%s' % (project, '&'.join(asked))
                seen = [shown(s.api.get(path, token)) for s in (pair.first, pair.second)]
                if seen[0] != seen[1]:
                    differ.append((path, *seen))
    c.ok('what is above and below a project, in every way', not differ, differ[:2])
    found = shown(pair.second.api.get('/projects/%s?subtree_as_list&include_limits' % mid, reader))
    c.equal('... with two limits of the one project below that is seen',
            [len(p['project']['limits']) for p in found[1]['subtree']], [2])


def shown(answer):
    """The status and what is shown, without links and the order of lists."""
    if answer.status != 200:
        return answer.status, answer.body['error']['message']
    project = answer.body['project']
    for name in ('parents', 'subtree'):
        if isinstance(project.get(name), list):
            for of in project[name]:
                del of['project']['links']
                of['project'].get('limits', []).sort(key=lambda limit: limit['id'])
            project[name].sort(key=lambda of: of['project']['id'])
    del project['links']
    return answer.status, project
