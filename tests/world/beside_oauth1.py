"""OAuth1's consumers and access tokens that a Keystone made, used here, and back."""
from urllib.parse import parse_qsl

import requests
from oauthlib import oauth1

import api
from keystone_beside import PW


def signed(side, path, consumer, token=None, headers=None, body=None, **more):
    client = oauth1.Client(consumer['id'], client_secret=consumer['secret'], signature_method='HMAC-SHA1',
                           resource_owner_key=token and token['oauth_token'],
                           resource_owner_secret=token and token['oauth_token_secret'], **more)
    url, signs, _ = client.sign(side.server.url + path, http_method='POST')
    return requests.post(url, headers=signs | (headers or {}), json=body, timeout=60)


def form(answer):
    assert answer.status_code == 201, answer.text
    return dict(parse_qsl(answer.text))


def login(side, consumer, access):
    return signed(side, '/auth/tokens', consumer, access, body={'auth': {'identity': {
        'methods': ['oauth1'], 'oauth1': {}}}})


class Made:
    """A consumer, what it asked for and what was authorized, each step on the other server."""

    def __init__(self, pair, here, there, *roles):
        self.user = pair.person(here, 'admin', 'member')
        consumer = here.api.post('/OS-OAUTH1/consumers', here.admin, {'consumer': {'description': 'd'}})
        self.consumer = consumer.want(201).body['consumer']
        asked = form(signed(there, '/OS-OAUTH1/request_token', self.consumer, callback_uri='oob',
                            headers={'Requested-Project-Id': pair.p}))
        self.mine = here.api.login(self.user, PW, api.project(pair.p))
        told = here.api.put('/OS-OAUTH1/authorize/' + asked['oauth_token'], self.mine,
                            body={'roles': [{'id': pair.roles[r]} for r in roles]}).want(200)
        self.access = form(signed(there, '/OS-OAUTH1/access_token', self.consumer, asked,
                                  verifier=told.body['token']['oauth_verifier']))
        self.path = '/users/%s/OS-OAUTH1/access_tokens/%s' % (self.user, self.access['oauth_token'])

    def token(self, side):
        answer = login(side, self.consumer, self.access)
        assert answer.status_code == 201, answer.text
        return answer.headers['X-Subject-Token'], answer.json()['token']


def normal(body):
    """A Keystone names a role for each way that leads to it."""
    roles = sorted({r['name'] for r in body['roles']})
    return {k: v for k, v in body.items() if k not in ('catalog', 'audit_ids', 'roles')} | {'roles': roles}


def test_access_tokens(pair):
    c = pair.c
    for here, there in pair.ways():
        made = Made(pair, here, there, 'member')
        seen = [side.api.get('/OS-OAUTH1/consumers/' + made.consumer['id'], side.admin).want(200).body
                ['consumer'] | {'links': None} for side in (here, there)]
        c.equal('a consumer of %s, on both' % here.label, *seen)
        seen = [side.api.get(made.path, side.admin).want(200).body['access_token'] | {'links': None}
                for side in (here, there)]
        c.equal('an access token, on both', *seen)
        tokens = []
        for side in (here, there):
            token, body = made.token(side)
            tokens.append(token)
            c.equal('a login on %s' % side.label, (body['methods'], normal(body)['roles']),
                    (['oauth1'], ['member', 'reader']))
            both = [normal(s.body(token)) for s in (here, there)]
            c.equal('... its token says the same on both', *both)
        pair.live('tokens of it', *tokens)
        there.api.delete(made.path, there.admin).want(204)
        pair.gone('an access token deleted on %s' % there.label, *tokens)
        # A Keystone takes an event that names an access token alone for one that ends all tokens.
        pair.live("... others' tokens", here.admin, there.admin, made.mine)
        for side in (here, there):
            c.ok('... a login on %s' % side.label,
                 login(side, made.consumer, made.access).status_code in (401, 404))


def test_a_consumer_goes(pair):
    c = pair.c
    for here, there in pair.ways():
        made = Made(pair, here, there, 'member')
        tokens = [made.token(side)[0] for side in (here, there)]
        pair.live('tokens of a consumer', *tokens)
        there.api.delete('/OS-OAUTH1/consumers/' + made.consumer['id'], there.admin).want(204)
        pair.gone('a consumer deleted on %s' % there.label, *tokens)
        events = here.api.get('/OS-REVOKE/events', here.admin).want(200).body['events']
        c.ok('... its event is on %s' % here.label,
             made.consumer['id'] in [e.get('OS-OAUTH1:consumer_id') for e in events])
        c.status('... and its access token is not', here.api.get(made.path, here.admin), 404)


def test_a_user_goes(pair):
    for here, there in pair.ways():
        made = Made(pair, here, there, 'member')
        tokens = [made.token(side)[0] for side in (here, there)]
        pair.live('tokens of a user', *tokens)
        there.api.delete('/users/' + made.user, there.admin).want(204)
        pair.gone('a user deleted on %s' % there.label, *tokens)
