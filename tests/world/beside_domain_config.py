"""Configurations of domains that a Keystone made, used here, and back."""
from keystone_beside import fresh

LDAP = {'url': 'ldap://u:%(password)s@directory', 'use_tls': False, 'page_size': 3, 'user_attribute_ignore': ['a']}


def test_domain_config(pair):
    c = pair.c
    for here, there in pair.ways():
        domain = here.api.make(here.admin, 'domain', name=fresh('domain'))
        path = '/domains/%s/config' % domain

        def seen(side, want, what):
            answer = side.api.get(path, side.admin)
            c.equal('%s, on %s' % (what, side.label), answer.status == 200 and answer.body['config'], want)

        secret = LDAP | {'password': 'hidden-%s' % here.kind}
        here.api.put(path, here.admin, {'config': {'identity': {'driver': 'ldap'}, 'ldap': secret}}).want(201)
        seen(there, {'identity': {'driver': 'ldap'}, 'ldap': LDAP}, 'what %s made' % here.label)
        c.status('%s: the secret is there, and not shown' % there.label,
                 there.api.get(path + '/ldap/password', there.admin), 404)
        there.api.patch(path + '/ldap/password', there.admin, {'config': {'password': 'other'}}).want(200)
        there.api.patch(path + '/ldap', there.admin, {'config': {'ldap': {'page_size': 4, 'suffix': 'ä'}}}).want(200)
        seen(here, {'identity': {'driver': 'ldap'}, 'ldap': LDAP | {'page_size': 4, 'suffix': 'ä'}},
             'what %s changed' % there.label)
        here.api.delete(path + '/ldap/password', here.admin).want(204)
        c.status('a secret that %s deleted, on %s' % (here.label, there.label),
                 there.api.delete(path + '/ldap/password', there.admin), 404)
        there.api.delete(path + '/identity', there.admin).want(204)
        seen(here, {'ldap': LDAP | {'page_size': 4, 'suffix': 'ä'}}, 'what %s left' % there.label)
        there.api.put(path, there.admin, {'config': {'ldap': {'url': 'x'}}}).want(200)
        seen(here, {'ldap': {'url': 'x'}}, 'what %s put there instead' % there.label)
        here.api.patch('/domains/' + domain, here.admin, {'domain': {'enabled': False}}).want(200)
        here.api.delete('/domains/' + domain, here.admin).want(204)
        c.status('it goes with its domain', there.api.get(path, there.admin), 404)
    both = [s.api.get('/domains/config/default', s.admin).want(200).body for s in (pair.first, pair.second)]
    c.equal('the defaults are the same', both[0], both[1])
