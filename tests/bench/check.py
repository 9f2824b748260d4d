#!/usr/bin/env python3
"""Does the benchmark work, and are the answers that it counts the right ones? Its figures are not looked at.

    check.py [--engine sqlite]

A tiny run of bench.py against Vicar and a Keystone; wrong answers are seen; what fill.py writes is what the server
writes itself, and can be used over the API.
"""
import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'world'))
import harness

if __name__ == '__main__':
    harness.run_in('clients')

import api
import fill
import flame
import generate
import operations
import pace
import report
import sign
import sites
import stores
from cryptography.fernet import Fernet
from operations import Work
from scene import Scene, primary

RUN = 'validate-project,mix'
# Rows of one kind may differ in these.
OWN = {'name', 'description'}


def tiny_run(c):
    ceiling = sites.example('ceiling')
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'figures.json')
        done = subprocess.run(
            [sys.executable, os.path.join(harness.REPO, 'tests', 'bench', 'bench.py'), '--no-build', '--seconds', '2',
             '--rounds', '1', '--connections', '4', '--hash-rounds', '4', '--only', RUN, '--json', path],
            text=True, stdout=subprocess.PIPE)
        print(done.stdout)
        c.equal('a tiny run ends well', (done.returncode, done.stdout.splitlines()[-1]), (0, '2 measured, 0 wrong'))
        with open(path) as f:
            kept = json.load(f)
        section = kept['sqlite']
        for name in RUN.split(','):
            row = section['operations'][name]
            c.ok('%s was measured on both' % name, row['vicar']['rate'] > 0 and row['keystone']['rate'] > 0, row)
            c.ok('and beside the ceiling', 'ceiling' in row or not ceiling, row)
        page = '\n'.join(report.measured(kept, plots=False))
        c.ok('both are in the table of the page', all('| `%s` |' % x in page for x in RUN.split(',')), page)
        c.ok('the page judges the targets', re.search(r'`mix` \| SQLite .*(met|not met|not measured) \|', page), page)


def wrong_answers(c, t):
    good = operations.validate_project(t, 0)
    r = generate.wrk(t, good, 1, 4)
    c.ok('right answers count as such', r['requests'] > 0 and r['bad'] == 0 and r['lost'] == 0, r)
    c.ok('wrk takes the time of the clock', 0.5 < r['seconds'] < 30, r)
    unknown = [r.replace(b'X-Subject-Token: ', b'X-Subject-Token: x') for r in good.requests]
    r = generate.wrk(t, Work(unknown), 1, 4)
    c.equal('wrong answers are counted', r['bad'], r['requests'])
    r = generate.wrk(t, Work(unknown, 404), 1, 4)
    c.ok('where 404 is expected, it is right', r['requests'] > 0 and r['bad'] == 0, r)
    r = generate.wrk(t, Work(good.requests, 404), 1, 4)
    c.equal('and 200 is wrong', r['bad'], r['requests'])
    r = generate.wrk(t, Work(good.requests, once=True), 5, 4)
    c.ok('none is sent twice, and the run is over with the last',
         len(good.requests) - 4 <= r['requests'] <= len(good.requests) + 4 and r['seconds'] < 5, r)
    c.equal('a paced request is counted and none left out', len(pace.paced(t.url, good.requests, 100, 1)[0]), 100)
    c.raises('a wrong answer at a pace', lambda: pace.paced(t.url, unknown, 100, 1), RuntimeError)
    twins = t.scene.twins(t.scene.tokens, 5)
    answers = [t.api.validate(t.scene.service, x) for x in twins]
    c.equal('tokens that the server never saw are valid', [a.status for a in answers], [200] * 5)
    c.equal('each of its own audit id', len({a.body['token']['audit_ids'][0] for a in answers}), 5)


def shape(value):
    """What a value looks like; ids, times and numbers of one kind look alike."""
    if value is None:
        return None
    for pattern, like in ((r'^[A-Za-z0-9_-]{22}$', '<22>'), (r'[0-9a-f]{64}', '<64>'),
                          (r'[0-9a-f]{40}', '<40>'), (r'[0-9a-f]{32}', '<32>'),
                          (r'^\$2b\$\d\d\$.{53}$', 'bcrypt'), (r'^gAAAA.*', 'gAAAA'), (r'(?<!<)\d+(?!>)', '9')):
        value = re.sub(pattern, like, value)
    return value


def like(c, t, table, key, made, filled):
    """The row that the API made, and one that was filled in, by the value of a column."""
    columns = [x for x, in t.store.rows(columns_of(t.store, table))]
    named = ', '.join('"%s"' % x for x in columns)
    rows = []
    for value in (made, filled):
        found = t.store.rows('SELECT %s FROM "%s" WHERE %s = \'%s\'' % (named, table, key, value))
        rows.append({k: shape(x) for k, x in zip(columns, found[0] if found else ()) if k not in OWN})
    c.equal('a row of %s is as the server writes it' % table, rows[1], rows[0])
    c.ok('there is one', rows[0])


def columns_of(store, table):
    if store.engine == 'sqlite':
        return "SELECT name FROM pragma_table_info('%s')" % table
    schema = 'current_schema()' if store.engine == 'postgresql' else 'database()'
    return ("SELECT column_name FROM information_schema.columns WHERE table_name = '%s' AND table_schema = %s "
            'ORDER BY ordinal_position' % (table, schema))


def filled_rows(c, t):
    size = fill.Size(0)
    made = fill.fill(t.store, size, t.credential)
    c.ok('all was written', made['trusts'] == size.trusts, made)
    s, a = t.scene, t.api
    user, chain = fill.name_of('user', 1), [fill.name_of('trust', n) for n in range(fill.GROUP, fill.GROUP + 4)]
    like(c, t, 'user', 'id', s.alice, user)
    like(c, t, 'local_user', 'user_id', s.alice, user)
    local = [t.store.rows("SELECT id FROM local_user WHERE user_id = '%s'" % x)[0][0] for x in (s.alice, user)]
    like(c, t, 'password', 'local_user_id', *local)
    project = t.store.rows("SELECT project_id FROM trust WHERE id = '%s'" % chain[0])[0][0]
    like(c, t, 'project', 'id', s.project, project)
    like(c, t, 'assignment', 'actor_id', s.alice, user)
    like(c, t, 'trust', 'id', s.chain[0]['id'], chain[0])
    like(c, t, 'trust', 'id', s.chain[1]['id'], chain[1])
    like(c, t, 'trust_role', 'trust_id', s.chain[0]['id'], chain[0])
    access = fill.name_of('access', 1)
    like(c, t, 'credential', 'user_id', s.alice, user)
    key = Fernet(primary(t.credential))
    blobs = [json.loads(key.decrypt(t.store.rows(
        "SELECT encrypted_blob FROM credential WHERE user_id = '%s'" % x)[0][0])) for x in (s.alice, user)]
    c.equal('a secret is kept in the same form', *(shape(json.dumps(x)) for x in blobs))
    like(c, t, 'revocation_event', 'audit_id', s.revoked[0].body['audit_ids'][0], fill.audit_id(1))
    # What was filled in is used.
    own = a.login(('fill-user-1', 'default'), fill.PW, api.project(project))
    c.equal('a filled user logs in and holds the role', own.roles, ['member', 'reader'])
    trustee = t.store.rows("SELECT trustee_user_id FROM trust WHERE id = '%s'" % chain[2])[0][0]
    number = next(n for n in range(size.users) if fill.name_of('user', n) == trustee)
    bearer = a.exchange(a.login(('fill-user-%d' % number, 'default'), fill.PW), api.trust(chain[2]))
    c.equal('the third trust of a chain gives a token', (bearer.user, bearer.roles), (user, ['member', 'reader']))
    c.status('which is valid', a.validate(s.service, bearer), 200)
    below = a.trust(bearer, user, s.alice, project, ['member'],
                    expires_at=bearer.body['expires_at'], allow_redelegation=False)
    c.equal('and is passed on', below['redelegated_trust_id'], chain[2])
    c.status('the chain ends from its first', a.delete('/OS-TRUST/trusts/' + chain[0], own), 204)
    c.status('with its last', a.get('/OS-TRUST/trusts/' + chain[3], s.admin), 404)
    c.status('a filled keypair signs', a.post('/ec2tokens', s.service, sign.ec2_v4_header(
        access, fill.name_of('secret', 1))), 200)
    s.filled = size
    tokens = [a.validate(s.service, x) for x in s.of_filled_users(size.users)]
    c.equal('tokens of all filled users are valid', [x.status for x in tokens], [200] * size.users)
    c.equal('each is of another user', len({x.body['token']['user']['id'] for x in tokens}), size.users)
    events = a.get('/OS-REVOKE/events', s.service).want(200).body['events']
    c.ok('the revocations are told', fill.audit_id(1) in {e.get('audit_id') for e in events})
    c.status('a user is made after all these', a.post('/users', s.admin, {'user': {'name': 'one-more'}}), 201)


def flames(c):
    c.equal('a function is named without its types', flame.short('<a::B<C, D<E>> as f::G>::h::{{closure}}+0x1f'),
            'a::B::h')
    found = {('a', 'b'): 90, ('a', '*c'): 9, ('d',): 1, ('a', 'e'): 0.5}
    svg = flame.drawn(flame.tree(found), 'a title')
    shares = re.findall(r'<title>(.*?): ([\d.]+) %</title>', svg)
    c.equal('what has a hundredth is drawn, with all below it', dict(shares), {'a': '99.0', 'b': '89.6', 'c': '9.0'})


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--engine', choices=stores.ENGINES, default='sqlite')
    options = p.parse_args()
    sites.needed()
    stores.available(options.engine)
    if not sites.example('pace'):
        # Those of the tests' build will do.
        os.environ['VICAR_EXAMPLES'] = os.path.join(harness.REPO, 'target', 'debug', 'examples')
    c = harness.Checks()
    c.part('a tiny run', tiny_run, c)
    c.part('a flame graph', flames, c)
    with contextlib.ExitStack() as stack:
        t = sites.start(stack, options.engine, ['vicar'], rounds=4, durable=False)[0]
        t.scene = Scene(t)
        c.part('what counts as wrong', wrong_answers, c, t)
        c.part('rows by the thousand', filled_rows, c, t)
    return c.close()


if __name__ == '__main__':
    sys.exit(main())
