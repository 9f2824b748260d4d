"""Options of users, and `immutable` of roles, projects and domains: made there, have their effect here, and back."""
import pathlib

import pytest

import server
from keystone_beside import PW, fresh

FLAGS = ['ignore_change_password_upon_first_use', 'ignore_password_expiry', 'ignore_lockout_failure_attempts',
         'lock_password', 'ignore_user_inactivity', 'multi_factor_auth_enabled']
RULES = 'multi_factor_auth_rules'
COMPLIANCE = {'security_compliance': {
    'lockout_failure_attempts': 2, 'lockout_duration': 3600, 'password_expires_days': 30,
    'change_password_upon_first_use': 'true', 'disable_user_account_days_inactive': 30}}


def each(pair, call):
    """What both answer."""
    return [call(side) for side in (pair.first, pair.second)]


def same(pair, what, call):
    """Both give the same; what it is."""
    one, other = each(pair, call)
    pair.c.ok('%s: the same on both' % what, one == other, (one, other))
    return one


def change(side, path, kind, **attributes):
    return side.api.patch(path, side.admin, {kind: attributes})


def options(side, path, kind):
    return side.api.get(path, side.admin).want(200).body[kind]['options']


def shown(answer):
    return answer.status, answer.status < 400 and answer.body['user']['options']


def test_what_is_an_option(pair):
    """Each value, on a new user and on one that is there."""
    path = '/users/' + pair.person(pair.first)
    for name in [*FLAGS, RULES, 'more']:
        for value in [True, False, None, 'true', 1, [], [[]], {}, [['password']], [['password', 'password']],
                      [['totp'], ['totp']], [['password', 'totp'], ['password']], [['nothing']], [[1]], ['password']]:
            given = {name: value}
            same(pair, 'a new user with %r' % given, lambda side, given=given: shown(side.api.post(
                '/users', side.admin, {'user': {'name': fresh('user'), 'options': given}})))

            def changed(side, given=given):
                change(side, path, 'user', options=dict.fromkeys([*FLAGS, RULES])).want(200)
                return shown(change(side, path, 'user', options=given))

            same(pair, 'a user gets %r' % given, changed)
    for whole in (None, [], 'x'):
        same(pair, 'options = %r' % (whole,), lambda side, whole=whole: change(
            side, path, 'user', options=whole).status)


def test_options_are_kept_and_removed(pair):
    c, wanted = pair.c, dict.fromkeys(FLAGS, True) | {RULES: [['password', 'totp'], ['password']]}
    for here, there in pair.ways():
        path = '/users/' + here.api.make(here.admin, 'user', name=fresh('user'), options=wanted)
        c.equal('options of %s, on %s' % (here.label, there.label), options(there, path, 'user'), wanted)
        left = dict(wanted)
        for side, name in zip([there, here] * 4, [*FLAGS, RULES]):
            change(side, path, 'user', description='x', options={}).want(200)
            change(side, path, 'user', options={name: None}).want(200)
            del left[name]
            c.equal('null removes %s on %s, and nothing else' % (name, side.label),
                    each(pair, lambda s: options(s, path, 'user')), [left, left])
        change(there, path, 'user', options={'lock_password': False}).want(200)
        c.equal('false stays, as set on %s' % there.label, options(here, path, 'user'), {'lock_password': False})


@pytest.fixture(scope='module')
def strict(pair):
    """Both with what the options are exceptions from."""
    servers = [pair.first.server, pair.second.server]
    before = {srv.config: pathlib.Path(srv.config).read_text() for srv in servers}

    def restart(change_file):
        for srv in servers:
            srv.halt()
        for path in before:
            change_file(path)
        for srv in servers:
            srv.start()

    admin = '/users/' + pair.first.admin.user
    # An administrator whom nothing of it meets.
    unmet = dict.fromkeys(FLAGS[:3] + FLAGS[4:5], True)
    change(pair.first, admin, 'user', options=unmet).want(200)
    restart(lambda path: server.change_ini(path, COMPLIANCE))
    yield pair
    restart(lambda path: pathlib.Path(path).write_text(before[path]))
    change(pair.first, admin, 'user', options=dict.fromkeys(unmet)).want(200)


#: What time does by itself, as rows.
LONG_AGO = {
    'password': "UPDATE password SET expires_at = '2020-01-01 00:00:00', expires_at_int = 1577836800000000"
                " WHERE local_user_id IN (SELECT id FROM local_user WHERE user_id = '%s')",
    'activity': "UPDATE {user} SET last_active_at = '2020-01-01', created_at = '2020-01-01 00:00:00' WHERE id = '%s'"}


def long_ago(pair, what, user):
    name = {'postgresql': '"user"', 'mariadb': '`user`'}[pair.place.engine]
    pair.place.database.sql(LONG_AGO[what].format(user=name) % user, 'keystone')


def login(side, user, password=PW):
    return side.api.login_answer(user, password).status


def person(side, **given):
    """With a password that they have set themselves, unless they may go on with the first."""
    user = side.api.make(side.admin, 'user', name=fresh('user'), password='the first', options=given)
    side.api.post('/users/%s/password' % user, body={'user': {
        'original_password': 'the first', 'password': PW}}).want(204)
    return user


def test_change_password_upon_first_use(strict):
    name = 'ignore_change_password_upon_first_use'
    for here, there in strict.ways():
        # A Keystone looks before it has stored the options of a new user.
        for value, status in [(None, 401), (False, 401), (True, 201 if here.vicar else 401)]:
            user = here.api.make(here.admin, 'user', name=fresh('user'), password=PW, options={name: value})
            strict.c.equal('%s = %r, set on %s: a first login' % (name, value, here.label),
                           each(strict, lambda s: login(s, user)), [status] * 2)
            change(there, '/users/' + user, 'user', options={name: not value}).want(200)
            same(strict, '... and when it is set to the contrary', lambda s: login(s, user))
            change(here, '/users/' + user, 'user', password=PW + '2').want(200)
            strict.c.equal('... and after an administrator has set another password',
                           each(strict, lambda s: login(s, user, PW + '2')), [401 if value else 201] * 2)


def test_password_expiry(strict):
    name = 'ignore_password_expiry'
    for here, there in strict.ways():
        for value in (None, False, True):
            user = person(here, **{name: value})
            ends = same(strict, '%s = %r, set on %s: when it expires' % (name, value, here.label), lambda s: s.api.get(
                '/users/' + user, s.admin).want(200).body['user']['password_expires_at'])
            strict.c.equal('... it does', ends is not None, value is not True)
            long_ago(strict, 'password', user)
            strict.c.equal('... a login when it has expired', each(strict, lambda s: login(s, user)),
                           [201 if value else 401] * 2)
            change(there, '/users/' + user, 'user', options={name: True}).want(200)
            strict.c.equal('... and when %s has set the option' % there.label,
                           each(strict, lambda s: login(s, user)), [201] * 2)


def test_lockout(strict):
    name = 'ignore_lockout_failure_attempts'
    for here, there in strict.ways():
        for value in (None, False, True):
            user = person(here, **{name: value})
            for side in (here, there, here):
                login(side, user, 'wrong')
            strict.c.equal('%s = %r, set on %s: after wrong passwords' % (name, value, here.label),
                           each(strict, lambda s: login(s, user)), [201 if value else 401] * 2)
            change(there, '/users/' + user, 'user', options={name: True}).want(200)
            strict.c.equal('... and when %s has set it' % there.label,
                           each(strict, lambda s: login(s, user)), [201] * 2)


def test_lock_password(strict):
    for here, there in strict.ways():
        user = person(here, ignore_lockout_failure_attempts=True)
        for value in (True, False, None):
            change(there, '/users/' + user, 'user', options={'lock_password': value}).want(200)
            same(strict, 'lock_password = %r, set on %s: a change with the wrong password' % (value, there.label),
                 lambda s: s.api.post('/users/%s/password' % user, body={'user': {
                     'original_password': 'wrong', 'password': PW + '3'}}).status)
            answer = here.api.post('/users/%s/password' % user, body={'user': {
                'original_password': PW, 'password': PW + '3'}})
            strict.c.status('... a change on %s' % here.label, answer, 400 if value else 204)
            change(there, '/users/' + user, 'user', password=PW, options={
                'ignore_change_password_upon_first_use': True}).want(200)
            strict.c.equal('... an administrator sets it all the same',
                           each(strict, lambda s: login(s, user)), [201] * 2)


def test_inactivity(strict):
    name = 'ignore_user_inactivity'
    for here, there in strict.ways():
        for value in (None, False, True):
            user = person(here, **{name: value})
            here.api.login(user, PW)
            long_ago(strict, 'activity', user)
            strict.c.equal('%s = %r, set on %s: enabled after a long time' % (name, value, here.label), each(
                strict, lambda s: s.api.get('/users/' + user, s.admin).want(200).body['user']['enabled']),
                [value is True] * 2)
            strict.c.equal('... a login', each(strict, lambda s: login(s, user)), [201 if value else 401] * 2)
            if not value:
                change(there, '/users/' + user, 'user', options={name: True}).want(200)
                same(strict, '... and when %s has set it' % there.label, lambda s: login(s, user))


def test_factors(strict):
    user, rules = person(strict.first), [['password', 'totp']]
    for given, status in [({RULES: rules}, 401), ({'multi_factor_auth_enabled': False}, 201),
                          ({'multi_factor_auth_enabled': True}, 401), ({RULES: [['nothing']]}, 201),
                          ({RULES: [*rules, ['password']]}, 201), ({RULES: rules}, 401), ({RULES: []}, 201)]:
        for here, _ in strict.ways():
            change(here, '/users/' + user, 'user', options={'multi_factor_auth_enabled': None}).want(200)
            change(here, '/users/' + user, 'user', options=given).want(200)
            strict.c.equal('%r, set on %s: a password alone' % (given, here.label),
                           each(strict, lambda s: login(s, user)), [status] * 2)


def immutables(side):
    """A role, a project and a domain that cannot change, with what is below them."""
    a, t = side.api, side.admin
    on = {'options': {'immutable': True}}
    domain = a.make(t, 'domain', name=fresh('fixed'), **on)
    return {'role': a.make(t, 'role', name=fresh('fixed'), **on),
            'project': a.make(t, 'project', name=fresh('fixed'), domain_id=domain, tags=['a'], **on), 'domain': domain}


def test_immutable(pair):
    c = pair.c
    changes = [{'name': 'n'}, {'description': 'd'}, {'options': {}}, {'options': {'immutable': True}}, {'more': 1}, {},
               {'options': {'immutable': False}, 'description': 'd'}, {'options': {'immutable': None}, 'name': 'n'},
               {'options': {'immutable': False, 'other': 1}}, {'options': None}]
    for here, there in pair.ways():
        made = immutables(here)
        for kind, id in made.items():
            path = '/%ss/%s' % (kind, id)
            c.equal('a %s of %s, on %s' % (kind, here.label, there.label),
                    options(there, path, kind), {'immutable': True})
            for given in [*changes, {'enabled': False}, {'enabled': True}]:
                same(pair, 'an immutable %s of %s: %r' % (kind, here.label, given), lambda s, given=given: (
                    change(s, path, kind, **given).status))
            c.equal('... nobody deletes it', each(pair, lambda s: s.api.delete(path, s.admin).status), [403] * 2)
        project, role, domain = made['project'], made['role'], made['domain']
        user = pair.person(here)
        for what, method, path, body in [
                ('a tag is added', 'PUT', '/projects/%s/tags/b' % project, None),
                ('its tags are replaced', 'PUT', '/projects/%s/tags' % project, {'tags': ['c']}),
                ('a tag is removed', 'DELETE', '/projects/%s/tags/a' % project, None),
                ('its tags are removed', 'DELETE', '/projects/%s/tags' % project, None),
                ('a role is given there', 'PUT', '/projects/%s/users/%s/roles/%s' % (project, user, role), None),
                ('a role is given in the domain', 'PUT', '/domains/%s/users/%s/roles/%s' % (domain, user, role), None),
                ('a role is taken', 'DELETE', '/projects/%s/users/%s/roles/%s' % (project, user, role), None),
                ('it implies another', 'PUT', '/roles/%s/implies/%s' % (role, pair.low), None),
                ('it does so no more', 'DELETE', '/roles/%s/implies/%s' % (role, pair.low), None),
                ('the domain is configured', 'PUT', '/domains/%s/config' % domain, {
                    'config': {'identity': {'list_limit': 3}}}),
                ('the domain is configured no more', 'DELETE', '/domains/%s/config' % domain, None)]:
            # What the one has done the other repeats.
            answers = [side.api.call(method, path, side.admin, body).status for side in (here, there)]
            c.ok('immutable, %s: %s' % (what, answers), answers[0] == answers[1] or answers in (
                [204, 404] if method == 'DELETE' else [201, 200], [201, 409]), answers)
        below = each(pair, lambda s: s.api.post('/projects', s.admin, {'project': {
            'name': fresh('below'), 'parent_id': project, 'domain_id': domain}}).status)
        c.equal('a project is made below it', below, [201] * 2)
        for kind, id in made.items():
            path = '/%ss/%s' % (kind, id)
            for value in (False, None):
                change(there, path, kind, options={'immutable': True}).want(200, 403)
                c.status('a %s is freed by %r on %s' % (kind, value, there.label),
                         change(there, path, kind, options={'immutable': value}), 200)
                c.equal('... on both', each(pair, lambda s: options(s, path, kind)),
                        [{} if value is None else {'immutable': False}] * 2)
        c.status('... and can be changed', change(here, '/roles/' + role, 'role', description='d'), 200)
