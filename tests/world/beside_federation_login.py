"""Logins through an identity provider, on a Keystone and on Vicar with one database: who came to one is the same user
on the other. What the provider says is in headers, which WSGI shows to the Keystone as a web server around it would."""
import contextlib
import html.parser
import os
import urllib.parse

import pytest

import harness
import server
from keystone_beside import Side, difference, fresh, next_second, normal

F = '/OS-FEDERATION'
BEHIND = {'assertion_headers': 'OIDC-', 'trusted_proxies': '127.0.0.1'}
DASHBOARD = 'https://dash.example/auth/websso/'
# The page of the release, which a Keystone wants to be there.
PAGE = os.path.join(harness.CACHE, 'keystone', 'etc', 'keystone', 'sso_callback_template.html')
SSO = {'federation': {'trusted_dashboard': 'https://DASH.example/auth/websso/\ntrusted_dashboard = http://b/',
                      'sso_callback_template': PAGE},
       'mapped': {'remote_id_attribute': 'HTTP_OIDC_ISS'}}


@pytest.fixture(scope='module')
def sides(pair):
    """The servers of the pair; the Vicar is behind a front server."""
    with contextlib.ExitStack() as stack:
        made = []
        for side in (pair.first, pair.second):
            if side.vicar:
                srv = server.Vicar(config=side.server.config, store=side.server.store,
                                   password=side.server.password, settings={'vicar': BEHIND, **SSO})
            else:
                srv = server.Keystone(store=side.server.store, settings={**pair.place.settings, **SSO})
                srv.password = side.server.password
            made.append(Side(stack.enter_context(srv), side.label))
        yield Sides(pair, made)


class Sides:
    def __init__(self, pair, both):
        self.pair, self.c, self.both = pair, pair.c, both

    def ways(self):
        return tuple(self.both), tuple(reversed(self.both))

    def provider(self, rules, version='1.0', **more):
        """A provider of the pair's domain with a protocol `mapped`."""
        side, name = self.both[0], fresh('idp')
        side.api.put('%s/mappings/%s' % (F, name), side.admin,
                     {'mapping': {'rules': rules, 'schema_version': version}}).want(201)
        body = {'enabled': True, 'domain_id': self.pair.domain, **more}
        side.api.put('%s/identity_providers/%s' % (F, name), side.admin, {'identity_provider': body}).want(201)
        side.api.put('%s/identity_providers/%s/protocols/mapped' % (F, name), side.admin,
                     {'protocol': {'mapping_id': name}}).want(201)
        return name

    def drop(self, provider):
        side = self.both[1]
        side.api.delete('%s/identity_providers/%s' % (F, provider), side.admin).want(204)

    def group(self, role=None):
        """(id, name)"""
        side, name = self.both[0], fresh('group')
        made = side.api.make(side.admin, 'group', name=name, domain_id=self.pair.domain)
        if role:
            side.api.put('/projects/%s/groups/%s/roles/%s' % (self.pair.p, made, self.pair.roles[role]),
                         side.admin).want(204)
        return made, name


def come(side, provider, method='GET', **said):
    """`sub` becomes the header `OIDC-sub`."""
    headers = {'OIDC-' + name.replace('_', '-'): value for name, value in said.items()}
    path = '%s/identity_providers/%s/protocols/mapped/auth' % (F, provider)
    return side.api.call(method, path, headers=headers)


def plain(body):
    """A token's body without what is another in each, and without the order of its groups."""
    body = {k: v for k, v in normal(body).items() if k not in ('audit_ids', 'expires_at', 'issued_at')}
    if 'OS-FEDERATION' in body['user']:
        body['user']['OS-FEDERATION']['groups'].sort(key=lambda g: g['id'])
    return body


def shown(side, user):
    body = side.api.get('/users/' + user, side.admin).want(200).body['user']
    return {**body, 'links': None}


def test_who_came_to_one_is_the_same_on_the_other(sides):
    c, pair = sides.c, sides.pair
    rules = [{'local': [{'user': {'name': '{0}', 'email': '{1}'}}, {'groups': '{2}', 'domain': {'id': pair.domain}}],
              'remote': [{'type': 'HTTP_OIDC_SUB'}, {'type': 'HTTP_OIDC_EMAIL'}, {'type': 'HTTP_OIDC_GROUPS'}]}]
    (one, one_name), (two, two_name) = sides.group('member'), sides.group('reader')
    for here, there in sides.ways():
        provider = sides.provider(rules, authorization_ttl=60)
        name = fresh('ann é')
        said = {'sub': name.encode().decode('latin-1'), 'email': 'a@x', 'groups': one_name + ';' + two_name}
        first, second = (come(side, provider, **said).want(201) for side in (here, there))
        c.equal('the same body, first on %s' % here.label,
                difference(*(plain(a.body['token']) for a in (first, second))), {})
        user = first.body['token']['user']['id']
        users = [shown(side, user) for side in (here, there)]
        c.equal('the same user', difference(*users), {})
        c.equal('with the name', users[0]['name'], name)
        for side in (here, there):
            for token in (first, second):
                body = side.api.validate(side.admin, token.headers['X-Subject-Token']).want(200).body['token']
                c.equal('a token of either, on %s' % side.label,
                        difference(plain(body), plain(first.body['token'])), {})
        groups = [[{**g, 'links': None} for g in side.api.get('/users/%s/groups' % user, side.admin)
                   .want(200).body['groups']] for side in (here, there)]
        c.equal('the same groups for the same time', groups[0], groups[1])
        c.equal('both of them', sorted(g['id'] for g in groups[0]), sorted([one, two]))
        scoped = [side.api.exchange(t.headers['X-Subject-Token'], {'project': {'id': pair.p}})
                  for side, t in ((here, second), (there, first))]
        c.equal('exchanged for one of a project', difference(*(plain(t.body) for t in scoped)), {})
        roles = [sorted(a['role']['id'] for a in side.api.get(
            '/role_assignments?effective&user.id=%s' % user, side.admin).want(200).body['role_assignments'])
            for side in (here, there)]
        c.equal('the same roles', roles[0], roles[1])
        # What is said no more is gone, and the tokens of before with it.
        next_second()
        next_second()
        come(there, provider, **{**said, 'groups': two_name, 'email': 'b@x'}).want(201)
        pair.gone('a group that is said no more on %s' % there.label, first.headers['X-Subject-Token'], scoped[0].id)
        left = [[g['id'] for g in side.api.get('/users/%s/groups' % user, side.admin).want(200).body['groups']]
                for side in (here, there)]
        c.equal('the other stays', left, [[two], [two]])
        c.equal('the new address', [shown(side, user)['email'] for side in (here, there)], ['b@x', 'b@x'])
        sides.drop(provider)


def test_what_is_provided_for(sides):
    c, pair = sides.c, sides.pair
    for here, there in sides.ways():
        for version in ('1.0', '2.0', '3.0'):
            place = fresh('place')

            def rules(*roles, place=place):
                projects = [{'name': place, 'roles': [{'name': r} for r in roles]}]
                return [{'local': [{'user': {'name': '{0}'}, 'projects': projects, 'domain': {'id': pair.domain}}],
                         'remote': [{'type': 'HTTP_OIDC_SUB'}]}]

            provider, name = sides.provider(rules('member', pair.low_name), version), fresh('bob')
            token = come(here, provider, sub=name).want(201)
            user = token.body['token']['user']['id']
            path = '/projects?name=%s&domain_id=%s' % (place, pair.domain)
            made = [side.api.get(path, side.admin).want(200).body['projects'] for side in (here, there)]
            c.equal('%s: a project is made on %s' % (version, here.label), len(made[0]), 1)
            c.equal('... with these attributes', {k: made[0][0][k] for k in (
                'description', 'domain_id', 'enabled', 'is_domain', 'parent_id', 'tags', 'options')}, {
                'description': '', 'domain_id': pair.domain, 'enabled': True, 'is_domain': False,
                'parent_id': pair.domain, 'tags': [], 'options': {}})

            def held(side, user=user):
                found = side.api.get('/role_assignments?user.id=%s' % user, side.admin).want(200).body
                return sorted((a['scope']['project']['id'], a['role']['id']) for a in found['role_assignments'])

            c.equal('... and roles', held(here), held(there))
            other = here.api.make(here.admin, 'project', name=fresh('other'), domain_id=pair.domain)
            here.api.grant(here.admin, pair.roles['reader'], user, other)
            there.api.patch('%s/mappings/%s' % (F, provider), there.admin,
                            {'mapping': {'rules': rules('manager'), 'schema_version': version}}).want(200)
            come(there, provider, sub=name).want(201)
            mine = made[0][0]['id']
            wanted = [(mine, pair.roles['manager'])]
            if version != '3.0':
                wanted += [(mine, pair.roles['member']), (mine, pair.low), (other, pair.roles['reader'])]
            c.equal('%s: what is held after a login on %s' % (version, there.label), held(here), sorted(wanted))
            sides.drop(provider)


def test_refusals(sides):
    """Alike, but where a Keystone fails with an error of its own."""
    c, pair = sides.c, sides.pair

    def rules(local, **remote):
        more = [{'type': 'HTTP_OIDC_SUB', **remote}] if remote else []
        return [{'local': [local], 'remote': [{'type': 'HTTP_OIDC_SUB'}, *more]}]

    user, domain = {'name': '{0}'}, {'id': pair.domain}
    here = pair.person(sides.both[0])
    name = sides.both[0].api.get('/users/' + here, sides.both[0].admin).body['user']['name']
    cases = [
        ('an allowed one', rules({'user': user}, any_one_of=['ann']), 'ann'),
        ('another', rules({'user': user}, any_one_of=['ann']), 'bob'),
        ('nobody', rules({'user': user}), None),
        ('no user', rules({'group': {'name': 'x', 'domain': domain}}), 'ann'),
        ('more values than there are', rules({'user': {'name': '{1}'}}), 'ann'),
        ('a group that is not there', rules({'user': user, 'group': {'name': 'nope', 'domain': domain}}), 'ann'),
        ('a domain that is not there', rules({'user': {**user, 'domain': {'name': 'nope'}}}), 'ann'),
        ('a role that is not there', rules({'user': user, 'projects': [
            {'name': 'p', 'roles': [{'name': fresh('nope')}]}]}), 'ann'),
        ('a local user', rules({'user': {'name': '{0}', 'type': 'local', 'domain': domain}}), name),
        ('a local user by id', rules({'user': {'id': '{0}', 'type': 'local'}}), here),
        ('a local user who is not there', rules({'user': {'name': '{0}', 'type': 'local', 'domain': domain}}), 'nope'),
        ('by id and name', rules({'user': {'name': '{0}', 'id': 'the id of {0}'}}), fresh('ann')),
        ('an id alone', rules({'user': {'id': '{0}'}}), fresh('ann')),
    ]
    for what, mapping, sub in cases:
        provider = sides.provider(mapping)
        said = {'sub': sub} if sub else {}
        answers = [come(side, provider, **said) for side in sides.both]
        wanted = 401 if answers[0].status == 500 else answers[0].status
        c.equal('%s: %s' % (what, answers[0].status), answers[1].status, wanted)
        if answers[0].status == 201:
            c.equal('... the same body', difference(*(plain(a.body['token']) for a in answers)), {})
        sides.drop(provider)
    provider = sides.provider(rules({'user': user}), remote_ids=[fresh('https://a')])
    side = sides.both[0]
    told = side.api.get('%s/identity_providers/%s' % (F, provider), side.admin).body['identity_provider']
    mine = told['remote_ids'][0]
    side.api.patch('%s/identity_providers/%s/protocols/mapped' % (F, provider), side.admin, {'protocol': {
        'mapping_id': provider, 'remote_id_attribute': 'HTTP_OIDC_ISS'}})
    side.api.delete('%s/identity_providers/%s/protocols/mapped' % (F, provider), side.admin).want(204)
    side.api.put('%s/identity_providers/%s/protocols/mapped' % (F, provider), side.admin, {'protocol': {
        'mapping_id': provider, 'remote_id_attribute': 'HTTP_OIDC_ISS'}}).want(201)
    for what, said in [('its own id', {'iss': mine}), ("another's", {'iss': 'https://b'}), ('none', {})]:
        answers = [come(side, provider, method='POST', sub='ann', **said).status for side in sides.both]
        c.equal('a provider with %s: %d' % (what, answers[0]), answers[1], answers[0])
    side.api.patch('%s/identity_providers/%s' % (F, provider), side.admin,
                   {'identity_provider': {'enabled': False}}).want(200)
    answers = [come(side, provider, sub='ann', iss=mine).status for side in sides.both]
    c.equal('a provider that is disabled: %d' % answers[0], answers[1], answers[0])
    sides.drop(provider)
    answers = [come(side, provider, sub='ann').status for side in sides.both]
    c.equal('no provider: %d' % answers[0], answers[1], answers[0])


class Form(html.parser.HTMLParser):
    """The form of a page: where it is sent, how, and its fields."""

    def __init__(self, page):
        super().__init__()
        self.forms, self.fields = [], {}
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == 'form':
            self.forms.append((attrs['action'], attrs['method']))
        if tag == 'input' and attrs['type'] == 'hidden':
            self.fields[attrs['name']] = attrs['value']


def browse(side, path, origin, method='GET', **said):
    headers = {'OIDC-' + name: value for name, value in said.items()}
    query = '' if origin is None else '?' + '&'.join('origin=' + urllib.parse.quote(one) for one in origin.split())
    return side.api.call(method, '/auth' + F + path + query, headers=headers)


def test_a_browser_takes_the_token_to_the_dashboard(sides):
    c = sides.c
    rules = [{'local': [{'user': {'name': '{0}'}}], 'remote': [{'type': 'HTTP_OIDC_SUB'}]}]
    mine, other = fresh('https://a'), fresh('https://b')
    provider = sides.provider(rules, remote_ids=[mine])
    second = sides.provider(rules, remote_ids=[other])
    direct = '/identity_providers/%s/protocols/mapped/websso' % provider
    for path in (direct, '/websso/mapped'):
        for method in ('GET', 'POST'):
            answers = [browse(side, path, DASHBOARD, method, sub='ann', iss=mine).want(200) for side in sides.both]
            forms = [Form(a.text) for a in answers]
            c.equal('%s %s: the form' % (method, path), forms[1].forms, forms[0].forms)
            c.equal('... to the dashboard', forms[1].forms, [(DASHBOARD, 'post')])
            c.equal('... with a token', (list(forms[0].fields), list(forms[1].fields)), (['token'], ['token']))
            kinds = [a.headers['Content-Type'].split(';')[0] for a in answers]
            c.equal('... in a page', kinds, ['text/html'] * 2)
            bodies = [plain(side.api.validate(side.admin, form.fields['token']).want(200).body['token'])
                      for side in sides.both for form in forms]
            c.equal('... which both accept alike', [difference(bodies[0], b) for b in bodies], [{}] * 4)
    cases = [
        ('no origin', direct, None, {'sub': 'ann', 'iss': mine}),
        ('an empty one', direct, '', {'sub': 'ann', 'iss': mine}),
        ('another', direct, 'https://elsewhere/', {'sub': 'ann', 'iss': mine}),
        ('in other letters', direct, 'https://DASH.example/auth/websso/', {'sub': 'ann', 'iss': mine}),
        ('without the slash', direct, DASHBOARD[:-1], {'sub': 'ann', 'iss': mine}),
        ('two, the first trusted', direct, DASHBOARD + ' https://elsewhere/', {'sub': 'ann', 'iss': mine}),
        ('two, the second trusted', direct, 'https://elsewhere/ ' + DASHBOARD, {'sub': 'ann', 'iss': mine}),
        ('quoted twice', direct, urllib.parse.quote(DASHBOARD, safe=''), {'sub': 'ann', 'iss': mine}),
        ('nobody', direct, DASHBOARD, {'iss': mine}),
        ("another provider's", direct, DASHBOARD, {'sub': 'ann', 'iss': other}),
        ('no provider', '/identity_providers/nope/protocols/mapped/websso', DASHBOARD, {'sub': 'ann', 'iss': mine}),
        ('no protocol', '/identity_providers/%s/protocols/nope/websso' % provider, DASHBOARD, {'sub': 'ann'}),
        ('no origin, found', '/websso/mapped', None, {'sub': 'ann', 'iss': mine}),
        ('another, found', '/websso/mapped', 'https://elsewhere/', {'sub': 'ann', 'iss': mine}),
        ('an unknown one', '/websso/mapped', DASHBOARD, {'sub': 'ann', 'iss': 'https://nowhere'}),
        ('an unknown one, no origin', '/websso/mapped', None, {'sub': 'ann', 'iss': 'https://nowhere'}),
        ('no provider says who it is', '/websso/mapped', DASHBOARD, {'sub': 'ann'}),
        ('and no origin', '/websso/mapped', None, {'sub': 'ann'}),
        ('a protocol that nobody has', '/websso/nope', DASHBOARD, {'sub': 'ann', 'iss': mine}),
        ('the other provider', '/websso/mapped', DASHBOARD, {'sub': 'ann', 'iss': other}),
    ]
    for what, path, origin, said in cases:
        answers = [browse(side, path, origin, **said) for side in sides.both]
        c.equal('%s: %d' % (what, answers[0].status), answers[1].status, answers[0].status)
    sides.drop(provider)
    sides.drop(second)
