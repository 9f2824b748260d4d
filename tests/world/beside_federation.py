"""What a Keystone and Vicar keep of federation on one database: made on either, used on the other, and back."""
import json
import os
import subprocess

import harness
from keystone_beside import difference, fresh, next_second, normal

RULES = [{'local': [{'user': {'name': '{0}'}}, {'group_ids': '{1}'}],
          'remote': [{'type': 'UserName'}, {'type': 'Groups', 'whitelist': ['^g'], 'regex': True}]}]
F = '/OS-FEDERATION'


def plain(thing):
    """Without links, which differ on purpose."""
    return {**thing, 'links': None}


def provider_of(side, domain=None, **more):
    """An identity provider with a protocol `mapped`."""
    name, mapping = fresh('idp'), fresh('mapping')
    side.api.put('%s/mappings/%s' % (F, mapping), side.admin, {'mapping': {'rules': RULES}}).want(201)
    body = {'enabled': True, 'remote_ids': [fresh('remote')], **({'domain_id': domain} if domain else {}), **more}
    side.api.put('%s/identity_providers/%s' % (F, name), side.admin, {'identity_provider': body}).want(201)
    side.api.put('%s/identity_providers/%s/protocols/mapped' % (F, name), side.admin,
                 {'protocol': {'mapping_id': mapping, 'remote_id_attribute': 'X'}}).want(201)
    return name, mapping


def logins(pair, provider, groups, scopes, unique_id=None):
    """The user and the tokens of a login through a provider, by Keystone's own code."""
    asked = {'idp': provider, 'protocol': 'mapped', 'unique_id': unique_id or fresh('ann'), 'name': 'Ann',
             'domain': pair.domain, 'groups': groups, 'scopes': scopes}
    ran = subprocess.run([harness.env_bin('keystone', 'python'),
                          os.path.join(harness.HERE, 'federated_tokens.py'), pair.first.server.config],
                         input=json.dumps(asked), capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr[-2000:]
    made = json.loads(ran.stdout)
    return made['user'], made['tokens']


def test_resources(pair):
    c = pair.c
    for here, there in pair.ways():
        what = 'of %s, on %s' % (here.label, there.label)
        provider, mapping = provider_of(here)
        sp = fresh('sp')
        here.api.put('%s/service_providers/%s' % (F, sp), here.admin, {'service_provider': {
            'auth_url': 'https://sp/auth', 'sp_url': 'https://sp/sp', 'enabled': True}}).want(201)
        for path, name in [('identity_providers/' + provider, 'identity_provider'),
                           ('identity_providers/%s/protocols/mapped' % provider, 'protocol'),
                           ('mappings/' + mapping, 'mapping'), ('service_providers/' + sp, 'service_provider')]:
            seen = [plain(side.api.get('%s/%s' % (F, path), side.admin).want(200).body[name])
                    for side in (here, there)]
            c.equal('a %s %s' % (name, what), seen[1], seen[0])
        listed = [[plain(p) for p in side.api.get('%s/identity_providers/%s/protocols' % (F, provider), side.admin)
                   .want(200).body['protocols']] for side in (here, there)]
        c.equal('its protocols %s' % what, listed[1], listed[0])
        there.api.patch('%s/identity_providers/%s' % (F, provider), there.admin,
                        {'identity_provider': {'enabled': False, 'authorization_ttl': 7}}).want(200)
        back = here.api.get('%s/identity_providers/%s' % (F, provider), here.admin).body['identity_provider']
        c.equal('changed on %s' % there.label, (back['enabled'], back['authorization_ttl']), (False, 7))
        taken = there.api.put('%s/identity_providers/%s' % (F, fresh('x')), there.admin,
                              {'identity_provider': {'remote_ids': back['remote_ids']}})
        c.status('a remote id %s is taken' % what, taken, 409)
        there.api.delete('%s/identity_providers/%s' % (F, provider), there.admin).want(204)
        there.api.delete('%s/mappings/%s' % (F, mapping), there.admin).want(204)
        there.api.delete('%s/service_providers/%s' % (F, sp), there.admin).want(204)
        for path in ['identity_providers/' + provider, 'identity_providers/%s/protocols/mapped' % provider,
                     'mappings/' + mapping]:
            c.status('what %s deleted' % there.label, here.api.get('%s/%s' % (F, path), here.admin), 404)


def test_tokens(pair):
    c, (keystone, vicar) = pair.c, (pair.first, pair.second)
    provider, _ = provider_of(keystone, pair.domain)
    group = keystone.api.make(keystone.admin, 'group', name=fresh('group'), domain_id=pair.domain)
    for place, role in [('projects/' + pair.p, 'member'), ('domains/' + pair.domain, 'reader')]:
        keystone.api.put('/%s/groups/%s/roles/%s' % (place, group, pair.roles[role]), keystone.admin).want(204)
    user, tokens = logins(pair, provider, [group], [{}, {'project_id': pair.p}, {'domain_id': pair.domain}])
    for what, token in zip(['unscoped', 'of a project', 'of a domain'], tokens):
        theirs = keystone.api.validate(keystone.admin, token).want(200).body['token']
        ours = vicar.api.validate(vicar.admin, token).want(200).body['token']
        c.equal('a federated token %s: the same body' % what, difference(normal(ours), normal(theirs)), {})
        theirs, ours = [sorted(p['id'] for p in side.api.get('/auth/projects', token).want(200).body['projects'])
                        for side in (keystone, vicar)]
        c.equal('a federated token %s: the same projects' % what, ours, theirs)
    for here, there in pair.ways():
        made = here.api.exchange(tokens[0], {'project': {'id': pair.p}})
        bodies = [normal(side.api.validate(side.admin, made.id).want(200).body['token']) for side in (here, there)]
        c.equal('exchanged on %s, the same body on %s' % (here.label, there.label), difference(*bodies), {})
    shown = [side.api.get('/users/' + user, side.admin).want(200).body['user'] for side in (keystone, vicar)]
    c.equal('the user', shown[1], {**shown[0], 'links': shown[1]['links']})
    found = vicar.api.get('/users?idp_id=%s' % provider, vicar.admin).want(200).body['users']
    c.equal('the user is found by the provider', [u['id'] for u in found], [user])
    next_second()
    vicar.api.delete('%s/identity_providers/%s' % (F, provider), vicar.admin).want(204)
    pair.gone('the provider is deleted on %s' % vicar.label, *tokens)
    c.status('the user went with it', keystone.api.get('/users/' + user, keystone.admin), 404)


def test_memberships(pair):
    c, (keystone, vicar) = pair.c, (pair.first, pair.second)
    provider, _ = provider_of(keystone, pair.domain, authorization_ttl=60)
    group = keystone.api.make(keystone.admin, 'group', name=fresh('group'), domain_id=pair.domain)
    keystone.api.put('/projects/%s/groups/%s/roles/%s' % (pair.p, group, pair.roles['member']),
                     keystone.admin).want(204)
    user, tokens = logins(pair, provider, [group], [{}])
    listed = [[plain(g) for g in side.api.get('/users/%s/groups' % user, side.admin).want(200).body['groups']]
              for side in (keystone, vicar)]
    c.equal('groups for a time', listed[1], listed[0])
    c.ok('with an end', listed[1] and listed[1][0]['membership_expires_at'])
    path = '/groups/%s/users/%s' % (group, user)
    for side in (keystone, vicar):
        c.status('is a member on %s' % side.label, side.api.get(path, side.admin), 204)
        found = side.api.get('/role_assignments?effective&user.id=%s' % user, side.admin).want(200)
        c.equal('effective roles on %s' % side.label,
                sorted(a['role']['id'] for a in found.body['role_assignments']),
                sorted([pair.roles['member'], pair.roles['reader']]))
    for side in (keystone, vicar):
        side.api.patch('%s/identity_providers/%s' % (F, provider), side.admin,
                       {'identity_provider': {'authorization_ttl': 0}}).want(200)
        c.status('no member any more on %s' % side.label, side.api.get(path, side.admin), 404)
    vicar.api.delete('%s/identity_providers/%s' % (F, provider), vicar.admin).want(204)
    pair.gone('the provider is deleted', *tokens)


def test_links(pair):
    c = pair.c
    for here, there in pair.ways():
        provider, _ = provider_of(here)
        links = [{'idp_id': provider, 'protocols': [{'protocol_id': 'mapped', 'unique_id': fresh('u')}]}]
        user = here.api.make(here.admin, 'user', name=fresh('ann'), domain_id=pair.domain, federated=links)
        seen = there.api.get('/users/' + user, there.admin).want(200).body['user']
        c.equal('a link of %s, on %s' % (here.label, there.label), seen.get('federated'), links)
        here.api.delete('%s/identity_providers/%s' % (F, provider), here.admin).want(204)
        seen = there.api.get('/users/' + user, there.admin).want(200).body['user']
        c.equal('and it goes with the provider', seen.get('federated'), None)
