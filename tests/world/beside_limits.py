"""Registered limits and limits that a Keystone made, used here, and back."""
from keystone_beside import fresh


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
