"""OAuth1 with the clients that people use.

    pytest clients_oauth1.py              on Vicar
    pytest clients_oauth1.py --keystone   the same on a Keystone 30.0.0
"""
import harness

harness.run_in('clients')

import pytest
import requests
from keystoneauth1 import exceptions as ka
from keystoneauth1.extras import oauth1 as ka_oauth1
from oauthlib import oauth1

import clients
import server
from cli_story import Cli


@pytest.fixture(scope='module')
def w(checks, options):
    with server.asked_for(options) as srv:
        world = clients.World(checks, srv)
        world.set_the_scene()
        yield world


def plugin(w, consumer, access, **more):
    key, secret = access
    return ka_oauth1.V3OAuth1(w.url, consumer_key=consumer.id, consumer_secret=consumer.secret,
                              access_key=key, access_secret=secret, **more)


def test_keystoneclient_and_keystoneauth(w):
    c, manager = w.c, w.admin.oauth1
    project = w.admin_session.get_project_id()
    consumer = manager.consumers.create(description='a program')
    c.ok('its secret is shown once', bool(consumer.secret)
         and not hasattr(manager.consumers.get(consumer.id), 'secret'))
    manager.consumers.update(consumer.id, description='another')
    c.equal('an update', manager.consumers.get(consumer.id).description, 'another')
    c.ok('list', consumer.id in [x.id for x in manager.consumers.list()])

    c.raises('a request token with another secret', lambda: manager.request_tokens.create(
        consumer.id, 'x', project), ka.Unauthorized)
    asked = manager.request_tokens.create(consumer.id, consumer.secret, project)
    c.raises('nobody has authorized it', lambda: manager.access_tokens.create(
        consumer.id, consumer.secret, asked.key, asked.secret, 'abcdefgh'), ka.Unauthorized)
    roles = {r.name: r.id for r in w.admin.roles.list()}
    verifier = manager.request_tokens.authorize(asked.key, [roles['member'], roles['reader']]).oauth_verifier
    made = manager.access_tokens.create(consumer.id, consumer.secret, asked.key, asked.secret, verifier)
    access = (made.key, made.secret)
    c.raises('it is exchanged once', lambda: manager.access_tokens.create(
        consumer.id, consumer.secret, asked.key, asked.secret, verifier), ka.NotFound)

    session = w.session_of(plugin(w, consumer, access))
    seen = w.access(session)
    c.equal('a login: its roles', sorted(set(seen.role_names)), ['member', 'reader'])
    c.equal('... its project', seen.project_id, project)
    c.equal('... keystoneauth reads of it', (seen.oauth_access_token_id, seen.oauth_consumer_id),
            (made.key, consumer.id))
    c.ok('... without a catalog', w.session_of(plugin(w, consumer, access, include_catalog=False)).get_token())
    c.equal('it validates', w.validate(seen.auth_token), 200)
    c.raises('with another secret', lambda: w.session_of(plugin(w, consumer, (made.key, 'x'))).get_token(),
             ka.Unauthorized)
    c.raises('its token makes no trust', lambda: w.client(session).trusts.create(
        w.ids['solum'], w.admin_session.get_user_id(), role_names=['member'], project=project), ka.Forbidden)
    c.raises('it authorizes nothing', lambda: w.client(session).oauth1.request_tokens.authorize(
        manager.request_tokens.create(consumer.id, consumer.secret, project).key, [roles['member']]),
        ka.Forbidden)
    # keystoneclient has no more of access tokens.
    own = '/users/%s/OS-OAUTH1/access_tokens' % w.admin_session.get_user_id()
    token = w.admin_session.get_token()
    listed = w.api.get(own, token).want(200).body['access_tokens']
    c.ok('list of access tokens', made.key in [x['id'] for x in listed], listed)
    w.api.delete('%s/%s' % (own, made.key), token).want(204)
    c.equal('a token of a deleted one', w.validate(seen.auth_token), 404)
    c.raises('a login with it', lambda: w.session_of(plugin(w, consumer, access)).get_token(),
             ka.Unauthorized, ka.NotFound)
    manager.consumers.delete(consumer.id)
    c.raises('a deleted consumer', lambda: manager.consumers.get(consumer.id), ka.NotFound)


def test_oauthlib(w):
    """Each signature method, and what is signed besides."""
    c, consumer = w.c, w.admin.oauth1.consumers.create()
    project = w.admin_session.get_project_id()

    def ask(query='', form=None, **more):
        signer = oauth1.Client(consumer.id, client_secret=consumer.secret, callback_uri='oob', **more)
        url = w.url + '/OS-OAUTH1/request_token' + query
        headers = {'Requested-Project-Id': project}
        if form:
            headers['Content-Type'] = 'application/x-www-form-urlencoded'
        url, headers, body = signer.sign(url, http_method='POST', headers=headers, body=form)
        answer = requests.post(url, headers=headers, data=body, timeout=60)
        c.equal('%s %s%s: a form' % (signer.signature_method, query, form or ''), (
            answer.status_code, answer.headers.get('Content-Type'), answer.text[:12]),
            (201, 'application/x-www-form-urlencoded', 'oauth_token='))

    for method in (oauth1.SIGNATURE_HMAC_SHA1, oauth1.SIGNATURE_HMAC_SHA256, oauth1.SIGNATURE_HMAC_SHA512,
                   oauth1.SIGNATURE_PLAINTEXT):
        ask(signature_method=method)
    ask('?b=%20c&a=1&a=0')
    if w.vicar:
        # RFC 5849, §3.4.1.3.1; a Keystone takes no form there.
        ask('?b=1', form='x=1+2&y=%2B')
    w.admin.oauth1.consumers.delete(consumer.id)


def test_cli(w):
    c, o = w.c, Cli(w)
    consumer = o.show('consumer create --description', 'a program')
    key, secret = consumer['id'], consumer['secret']
    o('consumer set --description', 'another', key)
    c.equal('consumer show', o.show('consumer show', key)['description'], 'another')
    c.ok('consumer list', key in [x['ID'] for x in o.show('consumer list')])
    asked = o.show('request token create --project admin --consumer-key', key, '--consumer-secret', secret)
    told = o.show('request token authorize --role member --request-key', asked['key'])
    made = o.show('access token create --consumer-key', key, '--consumer-secret', secret, '--request-key',
                  asked['key'], '--request-secret', asked['secret'], '--verifier', told['oauth_verifier'])
    o.cloud('program', consumer_key=key, consumer_secret=secret, access_key=made['key'],
            access_secret=made['secret'])
    o.clouds['program']['auth_type'] = 'v3oauth1'
    o.cloud('again', username='admin')
    c.equal('a login by the command', o.show('token issue', cloud='program')['project_id'],
            w.admin_session.get_project_id())
    o('consumer delete', key)
    c.ok('... not any more', o.run('program', 'token', 'issue').returncode != 0)
