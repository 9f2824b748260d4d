#!/usr/bin/env python3
"""The files that deployment tools write, given to a real Keystone 30.0.0 and to Vicar alike.

    check.py [CASE...]              all folders beside this file, or some of them
    VICAR_BLESS=1 check.py          writes what `vicar doctor --adopt` says into `adopt.txt` of each folder

Each folder holds the files of one tool from `/` on, made by us with the tool's names, values and habits; what
only a running cloud knows is a <PLACEHOLDER>. Both servers find them under /etc/keystone, in a mount namespace
of their own: nothing of the machine's own /etc is read or changed. Each serves its own copy of one MariaDB
database. They are asked what requests.txt says, and must answer alike, in status and in the length of lists;
what differs on purpose is in `exceptions.py`, with the reason.
"""
import argparse
import concurrent.futures
import contextlib
import difflib
import json
import os
import re
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, '..', 'world')]
import harness

if __name__ == '__main__':
    harness.run_in('clients')

import api
import server
import services
import stores
from exceptions import EXCEPTIONS

PASSWORD = 'Of-The-Scene-1'
DATABASE_PASSWORD = ('k3y/stone%', 'k3y%2Fstone%25')        # as it is, and in a URL
CONF = '/etc/keystone/keystone.conf'
PERSONAS = ['system', 'padmin', 'manager', 'member', 'reader', 'service', 'bearer']

# What Keystone can have of this machine, in place of what the files name: there is no message bus and no
# journal here, and how dear a password is, is tested elsewhere.
LACKING = {'OS_DEFAULT__TRANSPORT_URL': 'fake:', 'OS_OSLO_MESSAGING_NOTIFICATIONS__TRANSPORT_URL': 'fake:',
           'OS_DEFAULT__USE_JOURNAL': 'false', 'OS_DEFAULT__USE_SYSLOG': 'false'}
CHEAP = 'OS_IDENTITY__PASSWORD_HASH_ROUNDS'


class Case:
    """What is to be known of a folder besides its files."""

    def __init__(self, name, refused=(), before=(), keys=('fernet-keys', 'credential-keys'), over=None, more=''):
        """`refused`: {name for --accept: the option}, for which Vicar refuses to start until it is given.
        `before`: commands of Vicar's that the operator runs first, as docs/adopting-tools.md says.
        `keys`: the directories under /etc/keystone that the tool has filled with keys.
        `over`: the folder that this one adds files to, and `more` to its keystone.conf. Such a variant has
        users in a service that is not here, for the Keystone either: only Vicar is looked at."""
        self.name, self.refused, self.before, self.keys = name, dict(refused), before, keys
        self.over, self.more = over, more
        self.folder = os.path.join(HERE, name)


POLICY = {'policy-file': '[oslo_policy] policy_file'}
DRIVERS = {'domain-drivers': '[identity] domain_specific_drivers_enabled'}
LDAP = '\n[identity]\ndomain_specific_drivers_enabled = true\ndomain_config_dir = /etc/keystone/domains\n'
OWN_KEYS = ['keys setup --credential', 'db sync', 'keys migrate']
CASES = [
    Case('kolla-ansible', keys=['fernet-keys'], before=OWN_KEYS),
    Case('kolla-ansible+ldap', over='kolla-ansible', more=LDAP, keys=['fernet-keys'], before=OWN_KEYS),
    Case('openstack-ansible'),
    Case('openstack-ansible+ldap', over='openstack-ansible', more=LDAP),
    Case('openstack-helm'),
    Case('devstack', POLICY),
    Case('devstack+ldap', POLICY, over='devstack', more=LDAP),
    Case('puppet-keystone'),
    Case('puppet-keystone+ldap', over='puppet-keystone', more=LDAP),
    Case('charm-keystone'),
    Case('charm-keystone+ldap', {'identity-driver': '[identity] driver'}, over='charm-keystone',
         more='\n[identity]\ndriver = ldap\n\n[ldap]\nurl = ldap://ldap.example\nsuffix = dc=example,dc=org\n'
              'user_tree_dn = ou=people,dc=example,dc=org\nuser_allow_create = False\n'),
    Case('keystone-k8s'),
    Case('atmosphere', DRIVERS),
    Case('scs-domain-manager'),
    Case('scs-domain-manager-before-2024.2'),
]


# -- a machine with the files

class Machine:
    """A root of its own for /etc/keystone and /var/log, with one case's files in it."""

    def __init__(self, case, home, values, keys):
        self.root = home
        self.etc = os.path.join(home, 'etc', 'keystone')
        for folder in ([case.over] if case.over else []) + [case.name]:
            files = os.path.join(HERE, folder, 'etc', 'keystone')
            if os.path.isdir(files):
                shutil.copytree(files, self.etc, dirs_exist_ok=True)
        with open(os.path.join(self.etc, 'keystone.conf'), 'a') as f:
            f.write(case.more)
        for at, _, names in os.walk(self.etc):
            for name in names:
                fill(os.path.join(at, name), values)
        os.makedirs(os.path.join(self.etc, 'domains'), exist_ok=True)
        for name in case.keys:
            shutil.copytree(keys[name], os.path.join(self.etc, name))
        with open(os.path.join(self.etc, 'keystone.conf')) as f:
            self.cheap = {} if 'password_hash_rounds' in f.read() else {CHEAP: '4'}
        for name in ('keystone', 'kolla/keystone', 'apache2'):
            os.makedirs(os.path.join(home, 'log', name))

    def command(self, args):
        """The same command with this machine's files in the place of the real one's."""
        script = ('mount -t overlay overlay -o lowerdir="$0/etc:/etc" /etc && '
                  'mount --bind "$0/etc/keystone" /etc/keystone && mount --bind "$0/log" /var/log && exec "$@"')
        user = [] if os.geteuid() == 0 else ['--map-root-user']
        return ['unshare', *user, '--mount', 'sh', '-c', script, self.root, *args]


def fill(path, values):
    with open(path) as f:
        text = f.read()
    for name, value in values.items():
        text = text.replace('<%s>' % name, str(value))
    left = re.search(r'<[A-Z_]+>', text)
    if left:
        raise ValueError('%s: nothing to fill %s with' % (path, left[0]))
    with open(path, 'w') as f:
        f.write(text)


class Keystone(server.Keystone):
    """A Keystone that finds its files by itself."""

    def __init__(self, machine, python):
        server.Server.__init__(self)
        self.machine, self.python = machine, python
        self.made_elsewhere = True
        self.processes = 1

    def command(self):
        self.config = ''
        args, more = super().command()
        del more['OS_KEYSTONE_CONFIG_FILES']
        return self.machine.command(args), dict(
            more, **LACKING, **self.machine.cheap, HOME=self.machine.root, PYTHONPATH=self.python)


class Vicar(server.Vicar):
    """Vicar with the command line that docs/adopting-tools.md has."""

    def __init__(self, case, machine):
        super().__init__(config=CONF)
        self.machine = machine
        self.accepted = list(case.refused)

    def place(self):
        return ['--config-file', CONF]

    def command(self):
        args, more = super().command()
        return (self.machine.command(args + ['--metrics-listen', 'off', '--log-level', 'warn']),
                dict(more, **self.machine.cheap))

    def say(self, *words):
        """A command of the program: its code, and what it said."""
        done = subprocess.run(self.machine.command([server.vicar_bin(), *words, *self.place()]),
                              cwd=self.machine.root, stdin=subprocess.DEVNULL,
                              text=True, timeout=120, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.returncode, done.stdout


# -- the scene

class Scene:
    """A database with the people of requests.txt in it, made once by a plain Keystone."""

    def __init__(self, database):
        self.database, self.home = database, os.path.join(database.dir, 'machines')
        database.create('scene', 'p4ss')
        settings = {'database': {'connection': database.url('scene')}, 'identity': {'password_hash_rounds': 4}}
        with server.Keystone(settings=settings) as keystone:
            self.ids = people(api.Api(keystone.url), keystone.password)
            self.admin_password = keystone.password
            keystone.halt()
            self.dump = database.dump('scene')
            self.keys = {}
            for folder in (keystone.store.fernet, keystone.store.credential):
                name = os.path.basename(folder)
                self.keys[name] = shutil.copytree(folder, os.path.join(self.home, name))
        user, password = 'keystone', DATABASE_PASSWORD[0]
        database.sql("CREATE USER `%s`@`%%` IDENTIFIED BY '%s'" % (user, password))

    def copy(self, name, dumped):
        """A database of that name, with this in it."""
        self.database.sql(f'DROP DATABASE IF EXISTS `{name}`; CREATE DATABASE `{name}`;'
                          f'GRANT ALL ON `{name}`.* TO keystone@`%`')
        self.database.restore(name, dumped)


def people(a, password):
    t = a.admin(password)
    made = {'nothing': '0' * 32}

    def make(key, kind, **attributes):
        made[key] = a.make(t, kind, **attributes)

    make('domain', 'domain', name='Customers')
    make('elsewhere', 'domain', name='Elsewhere')
    make('project', 'project', name='shop', domain_id=made['domain'])
    make('sub', 'project', name='shelf', domain_id=made['domain'], parent_id=made['project'])
    make('farproject', 'project', name='far', domain_id=made['elsewhere'])
    make('services', 'project', name='service', domain_id='default')
    for name in ('padmin', 'manager', 'member', 'reader', 'agent', 'victim'):
        make(name, 'user', name=name, domain_id=made['domain'], password=PASSWORD)
    make('far', 'user', name='far', domain_id=made['elsewhere'], password=PASSWORD)
    make('service', 'user', name='nova', domain_id='default', password=PASSWORD)
    make('group', 'group', name='staff', domain_id=made['domain'])
    a.put('/groups/%s/users/%s' % (made['group'], made['member']), t).want(204)
    roles = a.role_ids(t)
    made.update(('role_' + name, id) for name, id in roles.items())
    for role, user, project in (('admin', 'padmin', 'project'), ('member', 'member', 'project'),
                                ('reader', 'reader', 'project'), ('member', 'victim', 'project'),
                                ('service', 'service', 'services'), ('member', 'far', 'farproject')):
        a.grant(t, roles[role], made[user], made[project])
    a.put('/domains/%s/users/%s/roles/%s' % (made['domain'], made['manager'], roles['manager']), t).want(204)
    a.put('/projects/%s/groups/%s/roles/%s' % (made['sub'], made['group'], roles['member']), t).want(204)
    make('compute', 'service', type='compute', name='nova')
    a.post('/endpoints', t, {'endpoint': {'interface': 'public', 'url': 'http://127.0.0.1:8774/v2.1',
                                          'service_id': made['compute'], 'region_id': 'RegionOne'}}).want(201)
    system = a.admin(password, api.SYSTEM)
    of = {'service_id': made['compute'], 'resource_name': 'servers'}
    a.post('/registered_limits', system, {'registered_limits': [dict(of, default_limit=10)]}).want(201)
    a.post('/limits', system, {'limits': [
        dict(of, resource_limit=5, project_id=made['project'])]}).want(201)
    member = a.login(made['member'], PASSWORD, api.project(made['project']))
    made['trust'] = a.trust(member, made['member'], made['agent'], made['project'], ['member'])['id']
    made['admin'] = t.user
    return made


# -- requests

class Request:
    pattern = re.compile(r'(?P<who>\S+) +(?P<method>[A-Z]+) +(?P<path>\S+)(?: +subject=(?P<subject>\w+))?'
                         r'(?: +(?P<body>\{.*\}))?(?: +as (?P<kept>\w+))?$')

    def __init__(self, who, found):
        self.who = who
        self.method, self.path, self.subject, self.body, self.kept = (
            found[x] for x in ('method', 'path', 'subject', 'body', 'kept'))

    def __str__(self):
        subject = ' subject=' + self.subject if self.subject else ''
        return '%s %s %s%s' % (self.who, self.method, self.path, subject)


def requests():
    out = []
    with open(os.path.join(HERE, 'requests.txt')) as f:
        for number, line in enumerate(f, 1):
            line = line.strip()
            if not line or line.startswith('#'):
                continue
            found = Request.pattern.match(line)
            if not found:
                raise ValueError('requests.txt, line %d: not understood' % number)
            for who in PERSONAS if found['who'] == '*' else found['who'].split(','):
                out.append(Request(who, found))
    return out


class Client:
    """Asks one of the two servers everything, in turn."""

    def __init__(self, srv, ids, admin_password):
        self.root = srv.root
        self.api = api.Api(srv.root)
        self.ids = dict(ids, PASSWORD=PASSWORD)
        self.admin_password = admin_password
        self.tokens = {'nobody': None}

    def logins(self):
        """{persona: status}"""
        v3 = api.Api(self.root + '/v3')
        at = {'padmin': api.project(self.ids['project']), 'manager': api.domain(self.ids['domain']),
              'member': api.project(self.ids['project']), 'reader': api.project(self.ids['project']),
              'service': api.project(self.ids['services']), 'agent': None}
        answers = {'system': v3.login_answer(('admin', 'default'), self.admin_password, api.SYSTEM)}
        for name, scope in at.items():
            answers[name] = v3.login_answer(self.ids[name], PASSWORD, scope)
        answers['bearer'] = v3.login_answer(self.ids['agent'], PASSWORD, api.trust(self.ids['trust']))
        for name, answer in answers.items():
            self.tokens[name] = answer.headers.get('X-Subject-Token') or 'none'
        return {name: answer.status for name, answer in answers.items()}

    def filled(self, text):
        def value(found):
            kind, _, name = found[1].rpartition(' ')
            return self.tokens.get(name, 'none') if kind == 'token' else self.ids.get(name, 'not-made')
        return re.sub(r'<((?:token )?\w+)>', value, text)

    def ask(self, request):
        """(status, the length of the list in the answer)"""
        head = {'X-Subject-Token': self.tokens.get(request.subject, 'none')} if request.subject else None
        body = json.loads(self.filled(request.body)) if request.body else None
        answer = self.api.call(request.method, self.filled(request.path), self.tokens.get(request.who, 'none'),
                               body, head)
        said = answer.body if answer.raw and 'json' in answer.headers.get('Content-Type', '') else {}
        if request.kept and answer.status == 201:
            self.tokens[request.kept] = answer.headers.get('X-Subject-Token')
            self.ids[request.kept] = next((x.get('id') for x in said.values() if isinstance(x, dict)), None)
        is_list = answer.status == 200 and request.path.startswith('/v3/')
        lists = [len(x) for x in said.values() if isinstance(x, list)] if is_list else []
        return answer.status, lists[0] if lists else None

    def everything(self, asked):
        began = time.monotonic()
        answers = self.logins(), [self.ask(r) for r in asked]
        return *answers, time.monotonic() - began


def compare(c, case, mine, theirs, asked):
    known = dict(EXCEPTIONS.get('*', {}), **EXCEPTIONS.get(case.name, {}))
    for name, status in theirs[0].items():
        c.equal('%s: login of %s' % (case.name, name), mine[0][name], status)
    missing = [str(r) for r, (status, _) in zip(asked, theirs[1])
               if r.kept and r.kept != 'refused' and status != 201]
    c.ok('%s: what later requests are about was made' % case.name, not missing, missing)
    for request, here, there in zip(asked, mine[1], theirs[1]):
        what = '%s: %s' % (case.name, request)
        differs = known.get(str(request))
        if differs:
            c.ok('%s (differs: %s)' % (what, differs[2]), (there, here) == differs[:2],
                 'Keystone %s, Vicar %s; the exception says %s' % (there, here, differs[:2]))
        else:
            c.ok(what, here == there, 'Keystone %s, Vicar %s' % (there, here))


# -- one case

def normal(text):
    """Without what changes from run to run."""
    text = re.sub(r'127\.0\.0\.1:\d+', '127.0.0.1:<PORT>', text)
    text = re.sub(r'\d{4}-\d\d-\d\dT[0-9:.]+Z', '<TIME>', text)
    return text.replace(os.environ.get('HOME', '/root') + '/', '~/')


def golden(c, case, said):
    path = os.path.join(case.folder, 'adopt.txt')
    said = normal(said)
    if os.environ.get('VICAR_BLESS'):
        with open(path, 'w') as f:
            f.write(said)
    want = ''
    if os.path.exists(path):
        with open(path) as f:
            want = f.read()
    c.ok('%s: `vicar doctor --adopt` says what was reviewed' % case.name, said == want, '\n' + difference(want, said))


def difference(want, got):
    return '\n'.join(difflib.unified_diff(want.splitlines(), got.splitlines(), 'reviewed', 'said', lineterm='', n=0))


def play(c, case, scene, values, python, asked):
    began = time.monotonic()
    home = os.path.join(scene.home, case.name)
    os.makedirs(home)
    # What one Keystone remembers is not the next one's.
    with contextlib.ExitStack() as stack:
        values = dict(values, MEMCACHED='127.0.0.1:%d' % stack.enter_context(server.Memcached()).port)

        def machine(kind):
            return Machine(case, os.path.join(home, kind), dict(values, DB_NAME=kind + '_here'), scene.keys)

        ids, dump, keystone = dict(scene.ids), scene.dump, None
        if not case.over:
            scene.copy('keystone_here', dump)
            keystone = stack.enter_context(Keystone(machine('keystone'), python))
            furnish(api.Api(keystone.url), ids)
            dump = scene.database.dump('keystone_here')
        scene.copy('vicar_here', dump)
        vicar = Vicar(case, machine('vicar'))
        stack.callback(vicar.stop)
        golden(c, case, vicar.say('doctor', '--adopt')[1])
        if started(c, case, vicar) and keystone:
            with concurrent.futures.ThreadPoolExecutor() as both:
                mine, theirs = (both.submit(Client(s, ids, scene.admin_password).everything, asked)
                                for s in (vicar, keystone))
            compare(c, case, mine.result(), theirs.result(), asked)
            print('      answered in %.1f s by Keystone, %.1f s by Vicar' % (theirs.result()[2], mine.result()[2]))
    print('      %s: %.1f s' % (case.name, time.monotonic() - began), flush=True)


def furnish(a, ids):
    """What is encrypted with this Keystone's own keys."""
    member = a.login(ids['member'], PASSWORD, api.project(ids['project']))
    ids['credential'] = a.make(member, 'credential', type='cert', blob='kept', user_id=ids['member'])
    a.post('/users/%s/credentials/OS-EC2' % ids['member'], member, {'tenant_id': ids['project']}).want(201)


def started(c, case, vicar):
    """Whether Vicar serves. What it refuses at first must be what is foreseen."""
    for command in [*case.before, 'db sync']:
        code, said = vicar.say(*command.split())
        if not c.ok('%s: vicar %s' % (case.name, command), code == 0, said):
            return False
    if case.refused:
        start = ('serve', '--listen', '127.0.0.1:%d' % vicar.port, '--metrics-listen', 'off')
        first = vicar.say(*start)
        for name, option in case.refused.items():
            # Files are looked at once the options are accepted.
            others = [word for other in case.refused if other not in POLICY for word in ('--accept', other)]
            code, said = vicar.say(*start, *others) if name in POLICY else first
            c.ok('%s: the start is refused for %s' % (case.name, option),
                 code == 3 and option in said and '--accept ' + name in said, 'status %s: %s' % (code, said))
    try:
        vicar.start()
    except RuntimeError as e:
        return c.ok('%s: Vicar starts' % case.name, False, e)
    return c.ok('%s: Vicar starts' % case.name, True)


def keystone_python(home):
    """Where Keystone finds the client of memcached that the tools install beside it."""
    found = os.path.join(home, 'python')
    os.makedirs(found)
    client = subprocess.run([harness.env_bin('clients', 'python'), '-c', 'import memcache; print(memcache.__file__)'],
                            check=True, capture_output=True, text=True).stdout.strip()
    os.symlink(client, os.path.join(found, 'memcache.py'))
    # devstack has its databases' calls counted by a plugin of its own.
    with open(os.path.join(found, 'dbcounter.py'), 'w') as f:
        f.write('from sqlalchemy.engine import CreateEnginePlugin\n\n\n'
                'class Counter(CreateEnginePlugin):\n    def update_url(self, url):\n        return url\n')
    about = os.path.join(found, 'dbcounter-1.dist-info')
    os.mkdir(about)
    for name, text in (('METADATA', 'Metadata-Version: 2.1\nName: dbcounter\nVersion: 1\n'),
                       ('entry_points.txt', '[sqlalchemy.plugins]\ndbcounter = dbcounter:Counter\n')):
        with open(os.path.join(about, name), 'w') as f:
            f.write(text)
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('cases', nargs='*', metavar='CASE')
    options = parser.parse_args()
    cases = [x for x in CASES if not options.cases or x.name in options.cases]
    unknown = set(options.cases) - {x.name for x in cases}
    if unknown:
        parser.error('no such case: ' + ', '.join(sorted(unknown)))
    user = [] if os.geteuid() == 0 else ['--map-root-user']
    if subprocess.run(['unshare', *user, '--mount', 'true'], capture_output=True).returncode:
        raise SystemExit('unshare --mount makes no mount namespace here, and the files belong under /etc/keystone')
    if not shutil.which('memcached'):
        harness.env_bin('gateways', 'python')
    stores.available('mariadb')
    c = harness.Checks()
    asked = requests()
    strange = {x for known in EXCEPTIONS.values() for x in known} - {str(x) for x in asked}
    c.ok('each exception is one of a request', not strange, strange)
    with services.MariaDb() as database:
        began = time.monotonic()
        scene = Scene(database)
        print('      the scene: %.1f s' % (time.monotonic() - began), flush=True)
        python = keystone_python(scene.home)
        values = {'DB_HOST': '127.0.0.1', 'DB_PORT': database.port, 'DB_PASSWORD': DATABASE_PASSWORD[1],
                  'RABBIT': '127.0.0.1:%d' % server.free_port()}
        for case in cases:
            c.part(case.name, play, c, case, scene, values, python, asked)
    return c.close()


if __name__ == '__main__':
    sys.exit(main())
