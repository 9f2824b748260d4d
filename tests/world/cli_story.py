"""The `openstack` command over the resources of the identity API.

Each line is a run of the real command with a clouds.yaml; where the server wrote a
clouds.yaml (and an openrc) itself, the administrator's runs use that one.
"""
import json
import os
import subprocess
import sys
import tempfile
import traceback

import yaml
from openstackclient import shell

import harness
import sign


def openstack(words, **variables):
    """The command, in a child of this process: most of the time of a command is that of loading Python."""
    with tempfile.TemporaryFile('w+') as out, tempfile.TemporaryFile('w+') as err:
        child = os.fork()
        if child == 0:
            status = 70
            try:
                for name in [name for name in os.environ if name.startswith('OS_')]:
                    del os.environ[name]
                os.environ.update(variables)
                sys.stdin, sys.stdout, sys.stderr = open(os.devnull), out, err
                status = shell.OpenStackShell().run(list(words))
            except SystemExit as e:
                status = e.code
            except BaseException:
                traceback.print_exc()
            finally:
                out.flush()
                err.flush()
                # One of them returns what it shows where the others return nothing.
                os._exit(status if isinstance(status, int) else 0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(words, status, out.read(), err.read())


class Cli:
    def __init__(self, w):
        self.w, self.c = w, w.c
        os.makedirs(w.server.dir, exist_ok=True)
        self.file = os.path.join(w.server.dir, 'clouds-of-the-tests.yaml')
        self.clouds = {}
        self.cloud('admin', username='admin', password=w.server.password,
                   user_domain_id='default', project_name='admin',
                   project_domain_id='default')
        self.own = None                    # (file, cloud) that the server wrote
        data = getattr(w.server, 'data', None)
        if data and os.path.exists(os.path.join(data, 'clouds.yaml')):
            path = os.path.join(data, 'clouds.yaml')
            with open(path) as f:
                self.own = path, next(iter(yaml.safe_load(f)['clouds']))

    def cloud(self, name, **auth):
        self.clouds[name] = {
            'auth': dict(auth_url=self.w.url, **auth), 'region_name': 'RegionOne',
            'interface': 'public', 'identity_api_version': 3}
        with open(self.file, 'w') as f:
            yaml.safe_dump({'clouds': self.clouds}, f)

    def run(self, cloud, *args):
        path, name = (self.own if cloud == 'admin' and self.own
                      else (self.file, cloud))
        return openstack(args, OS_CLIENT_CONFIG_FILE=path, OS_CLOUD=name)

    def __call__(self, line, *more, cloud='admin', data=False):
        """Run and check; `data`: the command prints a table, give it as data."""
        args = line.split() + list(more)
        done = self.run(cloud, *args, *(['-f', 'json'] if data else []))
        ok = self.c.ok('openstack ' + ' '.join(args[:4]), done.returncode == 0,
                       '%s: %s' % (' '.join(args), done.stderr[-600:]))
        if not ok:
            raise RuntimeError('cannot go on without: ' + ' '.join(args))
        return json.loads(done.stdout) if data else done.stdout

    def show(self, line, *more, cloud='admin'):
        """The printed table: a dictionary, or a list of them."""
        return self(line, *more, cloud=cloud, data=True)

    def fails(self, line, *more, cloud='admin', saying=''):
        args = line.split() + list(more)
        done = self.run(cloud, *args)
        return self.c.ok('openstack %s: refused' % ' '.join(args[:4]),
                         done.returncode != 0 and saying in done.stdout + done.stderr,
                         (done.stdout + done.stderr)[-600:])


def play(w):
    o = Cli(w)
    for who in ('alice', 'heat'):
        o.cloud(who, user_id=w.ids[who], password=w.passwords[who],
                **({'project_id': w.ids['p']} if who == 'alice' else {}))
    for story in (_tokens, _domains_and_projects, _users_and_groups, _roles, _catalog,
                  _credentials, _trusts):
        w.c.part('openstack: %s' % story.__name__.strip('_').replace('_', ' '),
                 story, w, o)


def _names(rows, column='Name'):
    return {r[column] for r in rows}


def _tokens(w, o):
    c = w.c
    t = o.show('token issue')
    c.ok('token issue: id, expiry, project and user', all(
        t.get(k) for k in ('id', 'expires', 'project_id', 'user_id')), t)
    c.equal('the token validates', w.validate(t['id']), 200)
    o('token revoke', t['id'])
    c.equal('a revoked token', w.validate(t['id']), 404)
    t = o.show('token issue', cloud='alice')
    c.equal('alice\'s', (t['user_id'], t['project_id']),
            (w.ids['alice'], w.ids['p']))
    rc = os.path.join(getattr(w.server, 'data', None) or '', 'openrc')
    if o.own:
        done = subprocess.run(
            ['bash', '-c', '. "$0" && exec "$1" token issue -f value -c id', rc,
             harness.env_bin('clients', 'openstack')], text=True, capture_output=True,
            stdin=subprocess.DEVNULL, env={k: v for k, v in os.environ.items() if not k.startswith('OS_')})
        c.ok('token issue with openrc', done.returncode == 0
             and w.validate(done.stdout.strip()) == 200, done.stderr[-400:])


def _domains_and_projects(w, o):
    c, name = w.c, w.name
    d = o.show('domain create --description one', name('cli-domain'))
    c.equal('its name', d['name'], name('cli-domain'))
    c.ok('in the list', d['id'] in _names(o.show('domain list'), 'ID'))
    o('domain set --description two --disable', d['id'])
    got = o.show('domain show', name('cli-domain'))
    c.equal('changed', (got['description'], got['enabled']), ('two', False))
    p = o.show('project create --domain default --tag blue --description one',
               name('cli-project'))
    c.equal('its domain and tags', (p['domain_id'], p['tags']), ('default', ['blue']))
    child = o.show('project create --domain default --parent', p['id'],
                   name('cli-child'))
    c.equal('its parent', child['parent_id'], p['id'])
    c.ok('by tag', p['id'] in _names(o.show('project list --tags blue'), 'ID'))
    o('project set --description two --tag red --property shade=dark', p['id'])
    got = o.show('project show', name('cli-project'))
    c.equal('changed', (got['description'], sorted(got['tags'])),
            ('two', ['blue', 'red']))
    o.fails('project set --disable', p['id'], saying='403')     # it has a child
    o('project delete', child['id'])
    o('project set --disable', p['id'])
    c.equal('disabled', o.show('project show', p['id'])['enabled'], False)
    o('project delete', p['id'])
    o('domain delete', d['id'])
    o.fails('project show', p['id'])
    o.fails('domain show', d['id'])
    c.ok('alice lists her projects', {w.ids['p'], w.ids['q']} <= _names(
        o.show('project list --my-projects', cloud='alice'), 'ID'))


def _users_and_groups(w, o):
    c, name = w.c, w.name
    u = o.show('user create --domain default --password pass-one --email a@b.c '
               '--description text', name('cli-user'))
    c.equal('its mail', u['email'], 'a@b.c')
    c.ok('in the list', u['id'] in _names(o.show('user list'), 'ID'))
    o('user set --email d@e.f --password pass-two', u['id'])
    got = o.show('user show', name('cli-user'))
    c.equal('changed', (got['email'], got['enabled']), ('d@e.f', True))
    o.cloud('someone', user_id=u['id'], password='pass-two')
    c.equal('logs in with the new password',
            o.show('token issue', cloud='someone')['user_id'], u['id'])
    o('user password set --original-password pass-two --password pass-three',
      cloud='someone')
    o.fails('token issue', cloud='someone', saying='401')
    o.cloud('someone', user_id=u['id'], password='pass-three')
    o.show('token issue', cloud='someone')
    g = o.show('group create --domain default --description one', name('cli-group'))
    o('group add user', g['id'], u['id'])
    c.ok('contains', 'in group' in o('group contains user', g['id'], u['id']))
    c.ok('users of the group', u['id'] in _names(
        o.show('user list --group', g['id']), 'ID'))
    c.ok('groups of the user', g['id'] in _names(
        o.show('group list --user', u['id']), 'ID'))
    o('group set --description two', g['id'])
    c.equal('changed', o.show('group show', name('cli-group'))['description'], 'two')
    o('group remove user', g['id'], u['id'])
    c.ok('nobody left', not o.show('user list --group', g['id']))
    o('user set --disable', u['id'])
    o.fails('token issue', cloud='someone', saying='401')
    o('group delete', g['id'])
    o('user delete', u['id'])
    o.fails('user show', u['id'])
    o.fails('user create --domain default', name('x'), cloud='alice', saying='403')


def _roles(w, o):
    c, name = w.c, w.name
    r = o.show('role create --description one', name('cli-role'))
    below = o.show('role create', name('cli-below'))
    c.ok('in the list', {r['id'], below['id']} <= _names(o.show('role list'), 'ID'))
    o('role set --description two', r['id'])
    c.equal('changed', o.show('role show', name('cli-role'))['description'], 'two')
    o('implied role create --implied-role', below['id'], r['id'])
    c.ok('implied', [x for x in o.show('implied role list')
                     if x['Prior Role ID'] == r['id']
                     and x['Implied Role ID'] == below['id']])
    o('role add --project', w.ids['p'], '--user', w.ids['heat'], r['id'])
    rows = o.show('role assignment list --names --user', w.ids['heat'],
                  '--project', w.ids['p'])
    c.equal('assigned', _names(rows, 'Role'), {name('cli-role')})
    rows = o.show('role assignment list --effective --user', w.ids['heat'],
                  '--project', w.ids['p'])
    c.equal('effective', _names(rows, 'Role'), {r['id'], below['id']})
    o('role remove --project', w.ids['p'], '--user', w.ids['heat'], r['id'])
    for place in (['--domain', 'default'], ['--system', 'all'],
                  ['--project', w.ids['p'], '--inherited']):
        o('role add', *place, '--user', w.ids['heat'], r['id'])
        rows = o.show('role assignment list --role', r['id'], '--user',
                      w.ids['heat'], *place[:2])
        c.equal('assigned: %s' % ' '.join(place[:1] + place[2:]), len(rows), 1)
        o('role remove', *place, '--user', w.ids['heat'], r['id'])
    c.equal('nothing left', o.show('role assignment list --role', r['id']), [])
    o('implied role delete --implied-role', below['id'], r['id'])
    o('role delete', r['id'], below['id'])
    o.fails('role show', r['id'])
    c.ok('the administrator\'s own', 'admin' in _names(o.show(
        'role assignment list --auth-user --auth-project --names'), 'Role'))
    o.fails('role assignment list --auth-user', cloud='alice', saying='403')


def _catalog(w, o):
    c, name = w.c, w.name
    region = o.show('region create --description one', name('cli-region'))
    c.equal('its id', region['region'], name('cli-region'))
    o('region create --parent-region', name('cli-region'), name('cli-sub'))
    o('region set --description two', name('cli-region'))
    c.equal('changed', o.show('region show', name('cli-region'))['description'],
            'two')
    c.ok('in the list', {name('cli-region'), name('cli-sub')} <= _names(
        o.show('region list'), 'Region'))
    s = o.show('service create --description one --name', name('cli-service'),
               name('cli-type'))
    o('service set --description two', s['id'])
    c.equal('changed', o.show('service show', name('cli-service'))['description'],
            'two')
    c.ok('in the list', s['id'] in _names(o.show('service list'), 'ID'))
    e = o.show('endpoint create --region', name('cli-region'), s['id'], 'public',
               'http://127.0.0.1:1/v1')
    c.equal('its url', e['url'], 'http://127.0.0.1:1/v1')
    o('endpoint set --url http://127.0.0.1:1/v2', e['id'])
    c.equal('changed', o.show('endpoint show', e['id'])['url'],
            'http://127.0.0.1:1/v2')
    c.ok('in the list', e['id'] in _names(
        o.show('endpoint list --service', s['id']), 'ID'))
    c.ok('in the catalog', name('cli-service') in _names(o.show('catalog list')))
    got = o.show('catalog show', name('cli-service'))
    c.ok('shown in the catalog', 'http://127.0.0.1:1/v2' in json.dumps(got), got)
    c.ok('identity is in the catalog', 'identity' in _names(
        o.show('catalog list', cloud='alice'), 'Type'))
    o('endpoint delete', e['id'])
    o('service delete', s['id'])
    o('region delete', name('cli-sub'))
    o('region delete', name('cli-region'))
    o.fails('endpoint show', e['id'])
    o.fails('service show', s['id'])
    o.fails('region show', name('cli-region'))


def _credentials(w, o):
    c = w.c
    x = o.show('credential create --type cert --project', w.ids['p'],
               w.ids['alice'], 'a certificate')
    c.equal('the blob', o.show('credential show', x['id'])['blob'], 'a certificate')
    c.ok('in the list', x['id'] in _names(
        o.show('credential list --type cert --user', w.ids['alice']), 'ID'))
    # The command sends type and blob, and Identity takes a new blob only
    o.fails('credential set --type cert --data another --user', w.ids['alice'],
            x['id'], saying='400')
    o('credential delete', x['id'])
    o.fails('credential show', x['id'])
    pair = o.show('ec2 credentials create', cloud='alice')
    c.equal('the keypair\'s project and user',
            (pair['project_id'], pair['user_id']), (w.ids['p'], w.ids['alice']))
    r = w.exchange('/ec2tokens', sign.ec2_v2(pair['access'], pair['secret']))
    c.equal('it exchanges', r.status_code, 200)
    c.ok('in the list', pair['access'] in _names(
        o.show('ec2 credentials list', cloud='alice'), 'Access'))
    c.equal('shown', o.show('ec2 credentials show', pair['access'],
                            cloud='alice')['access'], pair['access'])
    o('ec2 credentials delete', pair['access'], cloud='alice')
    o.fails('ec2 credentials show', pair['access'], cloud='alice')
    pair = o.show('ec2 credentials create --user', w.ids['alice'], '--project',
                  w.ids['q'])
    c.ok('the administrator finds it', pair['access'] in _names(
        o.show('ec2 credentials list --user', w.ids['alice']), 'Access'))
    o('ec2 credentials delete --user', w.ids['alice'], pair['access'])


def _trusts(w, o):
    c = w.c
    t = o.show('trust create --impersonate --expiration 2099-01-01T00:00:00 '
               '--project', w.ids['p'], '--role', w.ids['member'], w.ids['alice'],
               w.ids['heat'], cloud='alice')
    c.equal('trustor and trustee', (t['trustor_user_id'], t['trustee_user_id']),
            (w.ids['alice'], w.ids['heat']))
    shown = o.show('trust show', t['id'], cloud='alice')
    c.equal('shown', shown['id'], t['id'])
    c.ok('alice\'s list', t['id'] in _names(o.show('trust list --auth-user',
                                                    cloud='alice'), 'ID'))
    c.ok('heat\'s list', t['id'] in _names(o.show('trust list --auth-user',
                                                   cloud='heat'), 'ID'))
    c.ok('the administrator\'s list by trustor', t['id'] in _names(
        o.show('trust list --trustor', w.ids['alice']), 'ID'))
    o.cloud('heat-for-alice', user_id=w.ids['heat'], password=w.passwords['heat'],
            trust_id=t['id'])
    token = o.show('token issue', cloud='heat-for-alice')
    c.equal('a trust token is alice\'s, on her project',
            (token['user_id'], token['project_id']), (w.ids['alice'], w.ids['p']))
    if w.vicar:
        pair = o.show('ec2 credentials create', cloud='heat-for-alice')
        r = w.exchange('/ec2tokens', sign.ec2_v4_header(pair['access'],
                                                        pair['secret']))
        c.equal('a keypair from the trust exchanges', r.status_code, 200)
    else:
        o.fails('ec2 credentials create', cloud='heat-for-alice', saying='403')
    o('trust delete', t['id'], cloud='alice')
    o.fails('trust show', t['id'], cloud='alice')
    o.fails('token issue', cloud='heat-for-alice')
    if w.vicar:
        r = w.exchange('/ec2tokens', sign.ec2_v2(pair['access'], pair['secret']))
        c.equal('nor does its keypair', r.status_code, 401)
        o.fails('ec2 credentials show', pair['access'], cloud='alice')
        policy = '%s/projects/%s/delegation_policy' % (w.url, w.ids['p'])
        w.admin_session.put(policy, json={'delegation_policy': {'expiry_required': True, 'max_depth': 0}})
        ask = ['trust create --impersonate --project', w.ids['p'], '--role', w.ids['member'],
               w.ids['alice'], w.ids['heat']]
        o.fails(*ask, cloud='alice', saying='expires_at: expiry_required is set for project %s' % w.ids['p'])
        t = o.show('trust create --impersonate --expiration 2099-01-01T00:00:00 --project', *ask[1:], cloud='alice')
        o('trust delete', t['id'], cloud='alice')
        w.admin_session.delete(policy)
