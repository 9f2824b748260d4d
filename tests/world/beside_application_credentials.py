"""Application credentials that a Keystone made, used here, and back."""
import api
from keystone_beside import PW, fresh, next_second

IDENTITY = {'service': 'identity', 'method': 'GET', 'path': '/v3/users/**'}


def make(pair, side, user, **more):
    token = side.api.login(user, PW, api.project(pair.p))
    path = '/users/%s/application_credentials' % user
    body = {'application_credential': dict(more, name=fresh('credential'))}
    return side.api.post(path, token, body).want(201).body['application_credential']


def answer(side, made, **more):
    named = dict({'id': made['id']}, **more)
    return side.api.post('/auth/tokens', body={'auth': {'identity': {
        'methods': ['application_credential'],
        'application_credential': dict(named, secret=made['secret'])}}})


def login(side, made, **more):
    return api.Token(answer(side, made, **more))


def bare(made):
    """Without what is shown once, and the link, which leads nowhere on a Keystone."""
    out = {k: v for k, v in made.items() if k not in ('secret', 'links', 'evidence')}
    out['roles'] = sorted(out['roles'], key=lambda r: r['id'])
    return out


def test_application_credentials(pair):
    c = pair.c
    for here, there in pair.ways():
        user = pair.person(here, 'member')
        made = make(pair, here, user, expires_at=api.stamp(3600), description='one')
        path = '/users/%s/application_credentials/%s' % (user, made['id'])
        mine = there.api.login(user, PW, api.project(pair.p))
        seen = there.api.get(path, mine).want(200).body['application_credential']
        c.equal('one of %s, on %s' % (here.label, there.label), bare(seen), bare(made))
        token = login(there, made)
        c.equal('a login with it on %s: its roles' % there.label, token.roles, ['member', 'reader'])
        c.equal('... by its name', login(there, made, id=None, name=made['name'], user={'id': user}).roles,
                token.roles)
        c.status('... with another secret', answer(there, dict(made, secret='x')), 401)
        pair.live('a token of it from %s' % there.label, token)
        other = login(here, made)
        pair.live('a token of it from %s' % here.label, other)
        bodies = [side.body(other)['application_credential'] for side in (here, there)]
        c.equal('its token says the same on both', *bodies)
        there.api.delete(path, mine).want(204)
        pair.gone('deleted on %s' % there.label, token, other)
        for side in (here, there):
            c.ok('... a login with it on %s' % side.label, answer(side, made).status in (401, 404))


def test_access_rules(pair):
    c = pair.c
    headers = {'OpenStack-Identity-Access-Rules': '1.0'}
    for here, there in pair.ways():
        user = pair.person(here, 'member')
        made = make(pair, here, user, access_rules=[IDENTITY], unrestricted=True)
        rule = made['access_rules'][0]
        mine = there.api.login(user, PW, api.project(pair.p))
        rules = '/users/%s/access_rules' % user
        listed = there.api.get(rules, mine).want(200).body['access_rules']
        c.equal('rules of %s, on %s' % (here.label, there.label),
                [{k: v for k, v in x.items() if k != 'links'} for x in listed], [rule])
        again = make(pair, there, user, access_rules=[{'id': rule['id']}])
        c.equal('one of %s, by the id of a rule of %s' % (there.label, here.label), again['access_rules'], [rule])
        for token in (login(here, made), login(there, made)):
            for side in (here, there):
                c.status('a token with rules on %s, without the header' % side.label,
                         side.api.validate(side.admin, token), 404)
                shown = side.api.get('/auth/tokens', side.admin, headers=dict(
                    headers, **{'X-Subject-Token': token.id}))
                c.equal('... with it', shown.want(200).body['token']['application_credential']['access_rules'],
                        [rule])
                c.status('... what a rule allows', side.api.get('/users/' + user, token), 200)
                c.status('... what none allows', side.api.get('/auth/projects', token), 401)
        for side in (here, there):
            c.status('a rule in use, on %s' % side.label,
                     side.api.delete('%s/%s' % (rules, rule['id']), mine), 403)
        for credential in (made, again):
            there.api.delete('/users/%s/application_credentials/%s' % (user, credential['id']), mine).want(204)
        there.api.delete('%s/%s' % (rules, rule['id']), mine).want(204)
        c.status('a rule that %s deleted, on %s' % (there.label, here.label),
                 here.api.get('%s/%s' % (rules, rule['id']), mine), 404)


def test_roles_and_owners(pair):
    c = pair.c
    for here, there in pair.ways():
        user = pair.person(here, 'member', pair.low)
        made = make(pair, here, user)
        token = login(there, made)
        grant = '/projects/%s/users/%s/roles/%s' % (pair.p, user, pair.low)
        here.api.delete(grant, here.admin).want(204)
        next_second()
        for side in (here, there):
            c.equal('a role that was taken on %s, on %s' % (here.label, side.label), login(side, made).roles,
                    ['member', 'reader'])
        here.api.patch('/users/' + user, here.admin, {'user': {'enabled': False}}).want(200)
        pair.gone('its owner is disabled on %s' % here.label, token)
        for side in (here, there):
            c.status('... a login with it on %s' % side.label, answer(side, made), 401)
        there.api.delete('/users/' + user, there.admin).want(204)
        for side in (here, there):
            c.ok('its owner is deleted on %s: a login on %s' % (there.label, side.label),
                 answer(side, made).status in (401, 404))


def test_what_one_makes(pair):
    """Made with a token of one: a Keystone lets it live longer than its maker."""
    c = pair.c
    for here, there in pair.ways():
        user = pair.person(here, 'member')
        parent = make(pair, here, user, unrestricted=True, expires_at=api.stamp(1800))
        token = login(there, parent)
        path = '/users/%s/application_credentials' % user
        child = there.api.post(path, token, {'application_credential': {'name': fresh('child')}}).want(201)
        child = child.body['application_credential']
        c.equal('what %s makes of one of %s: its end' % (there.label, here.label), child['expires_at'],
                parent['expires_at'] if there.vicar else None)
        for side in (here, there):
            c.equal('... a login with it on %s' % side.label, login(side, child).roles, ['member', 'reader'])
        restricted = make(pair, here, user)
        for side in (here, there):
            c.status('a restricted one makes none on %s' % side.label, side.api.post(
                path, login(side, restricted), {'application_credential': {'name': fresh('child')}}), 403)
