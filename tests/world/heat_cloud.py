"""Heat and Aodh as an operator sets them up: by docs/heat.md, word for word.

`Cloud` starts a Vicar (or a Keystone), MariaDB, RabbitMQ and the six services, in scratch folders on
free ports of this machine, with the commands and files of that page; it puts in addresses and passwords
and changes nothing else. Leaving it ends them all.
"""
import concurrent.futures
import json
import os
import re
import secrets
import shlex
import subprocess
import sys
import time

import api
import harness
import server
import services
from amqp.exceptions import NotFound
from kombu import Connection

PAGE = os.path.join(harness.REPO, 'docs', 'heat.md')
# The section's number and the mark of the block, of every block that is used.
BLOCK = re.compile(r'^## (\d+)\.|^```(\w+)\n(.*?)^```', re.M | re.S)


class Page:
    """The blocks of docs/heat.md, with this cloud's addresses and passwords in them."""

    def __init__(self, words):
        self.words = words
        self.blocks = {}
        section = 0
        with open(PAGE) as f:
            for number, mark, text in BLOCK.findall(f.read()):
                section = int(number or section)
                if mark:
                    self.blocks.setdefault((section, mark), []).append(text)

    def text(self, section, mark):
        """All blocks of a section with that mark, one after the other."""
        text = '\n'.join(self.blocks[section, mark])
        for word, value in self.words:
            text = text.replace(word, value)
        left = re.search(r'\b[a-z]+\.example\b|\b[A-Z]+_PASSWORD\b', text)
        assert not left, 'docs/heat.md: %s is not filled in' % left.group()
        return text

    def commands(self, section):
        return self.text(section, 'sh').strip().splitlines()


class Service(server.Server):
    """One of OpenStack's services, started by a line of the page."""
    patience = 1

    def __init__(self, kind, line, home, ready, env):
        """`ready()` tells whether it serves."""
        self.kind = kind
        self.env = env
        super().__init__()
        self.line = line
        self.home = home
        self.ready = ready

    def command(self):
        program, *args = shlex.split(self.line)
        return ([harness.env_bin('heat', program), *args],
                {'HOME': self.home, 'PYTHONWARNINGS': 'ignore', 'PYTHONUNBUFFERED': '1', **self.env})

    def complaints(self):
        """The lines of its log that matter when something failed."""
        with open(self.log, errors='replace') as f:
            lines = f.read().splitlines()
        return [line for line in lines if re.search(r' (ERROR|CRITICAL) |^Traceback|Error: ', line)][-15:]


class Cloud:
    """Everything, running."""
    sections = (2, 3)           # of the page: Heat, Aodh

    def __init__(self, keystone=False, say=print):
        self.say = say
        harness.env_bin('heat', 'python')
        harness.env_bin('clients', 'python')
        subprocess.run([os.path.join(harness.HERE, 'setup.sh'), 'services'], check=True,
                       stdout=subprocess.DEVNULL)
        # A token cannot outlive what the tests wait for: Heat must take new ones.
        self.identity = (server.Keystone(processes=2) if keystone else
                         server.Vicar(settings={'identity': {'password_hash_rounds': 4}},
                                      log_format='json'))
        self.database = services.MariaDb()
        self.bus = services.RabbitMq()
        self.dir = self.bus.dir
        self.ports = {name: server.free_port() for name in ('heat', 'cfn', 'aodh', 'store')}
        self.heat_url = 'http://127.0.0.1:%d/v1' % self.ports['heat']
        self.cfn_url = 'http://127.0.0.1:%d/v1' % self.ports['cfn']
        self.store_url = 'http://127.0.0.1:%d/v1' % self.ports['store']
        self.aodh_url = 'http://127.0.0.1:%d' % self.ports['aodh']
        self.secrets = {word: secrets.token_hex(16) for word in (
            'HEAT_PASSWORD', 'AODH_PASSWORD', 'HEAT_DOMAIN_PASSWORD',
            'HEAT_DB_PASSWORD', 'AODH_DB_PASSWORD', 'HEAT_ENCRYPTION_KEY')}
        self.etc = {name: os.path.join(self.dir, 'etc', name) for name in ('heat', 'aodh')}
        self.page = Page([
            ('http://identity.example:5000', self.identity.root),
            ('heat.example:8004', '127.0.0.1:%d' % self.ports['heat']),
            ('heat.example:8000', '127.0.0.1:%d' % self.ports['cfn']),
            ('alarming.example:8042', '127.0.0.1:%d' % self.ports['aodh']),
            ('services.example:5672', '127.0.0.1:%d' % self.bus.port),
            ('services.example:3306', '127.0.0.1:%d' % self.database.port),
            ('/etc/heat', self.etc['heat']), ('/etc/aodh', self.etc['aodh']),
            ('RABBIT_LOGIN', self.bus.login), *self.secrets.items()])
        self.services = {}

    def __enter__(self):
        began = time.monotonic()
        try:
            self._start()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        self.say('started in %.0f s' % (time.monotonic() - began))
        return self

    def __exit__(self, kind, *_):
        for one in [*self.services.values(), self.identity, self.database, self.bus]:
            one.stop()

    def _start(self):
        self.bus.launch()
        self.database.launch()
        self.identity.start()
        self.say('identity: %s' % self.identity.url)
        self._files()
        self.database.wait()
        with concurrent.futures.ThreadPoolExecutor() as pool:
            for done in [pool.submit(self._users), pool.submit(self._databases)]:
                done.result()
        self.bus.wait()
        self.say('users, roles, endpoints, databases and message bus are there')
        # What tells that a service is ready: its port, or the queue that it takes messages from.
        marks = {'heat-engine': 'engine', 'aodh-listener': 'alarm.all.sample',
                 'aodh-notifier': 'alarming.sample', 'heat.wsgi.api': self.ports['heat'],
                 'heat.wsgi.cfn': self.ports['cfn'], 'aodh.wsgi.api': self.ports['aodh']}
        lines = [line for section in self.sections for line in self.page.commands(section)[1:]]
        for line in lines:
            mark = next(m for m in marks if m in line)
            self._add(mark.replace('.wsgi.cfn', '-api-cfn').replace('.wsgi.', '-'), line,
                      marks.pop(mark))
        marks = {m for m in marks if 3 in self.sections or 'aodh' not in m}
        assert not marks, 'docs/heat.md starts no %s' % ', '.join(marks)
        self._more()
        for one in self.services.values():
            one.launch()
        for one in self.services.values():
            one.wait()
        self.say('running: %s' % ', '.join(self.services))

    def _add(self, kind, line, sign, **env):
        self.services[kind] = Service(
            kind, line, self.dir, (lambda: server.answers(sign)) if isinstance(sign, int)
            else (lambda: self._has_queue(sign)), env)

    def _more(self):
        """What is no part of the page."""
        self._store()

    def _store(self):
        """A service that stacks are made of, and that wants `member`, as Nova and Glance do."""
        identity, admin = self.admin()
        service = identity.make(admin, 'service', type='object-store', name='store')
        identity.make(admin, 'endpoint', service_id=service, interface='public', region_id='RegionOne',
                      url=self.store_url + '/AUTH_%(tenant_id)s')
        spec = os.path.join(self.dir, 'store.json')
        with open(spec, 'w') as f:
            json.dump({'pipelines': [{'port': self.ports['store'], 'app': 'containers', 'filters': [
                ['keystonemiddleware.auth_token:filter_factory', {
                    'oslo_config_project': 'store',
                    'oslo_config_file': os.path.join(self.etc['heat'], 'heat.conf')}]]}]}, f)
        self._add('store', 'python %s %s' % (os.path.join(harness.HERE, 'service.py'), spec),
                  self.ports['store'])

    def _has_queue(self, name):
        with Connection('amqp://%s@127.0.0.1:%d//' % (self.bus.login, self.bus.port)) as bus:
            try:
                return bus.default_channel.queue_declare(name, passive=True).consumer_count > 0
            except NotFound:
                return False

    def _files(self):
        for section, name in ((2, 'heat'), (3, 'aodh')):
            os.makedirs(self.etc[name])
            for mark, file in (('ini', name + '.conf'), ('yaml', 'policy.yaml')):
                if (section, mark) not in self.page.blocks:
                    continue
                with open(os.path.join(self.etc[name], file), 'w') as f:
                    f.write(self.page.text(section, mark))
        packaged = os.path.join(harness.CACHE, 'heat')
        with open(os.path.join(packaged, 'etc', 'heat', 'api-paste.ini')) as f:
            self._write('heat', 'api-paste.ini', f.read())
        # What follows replaces /etc/aodh, where Aodh would look by itself.
        aodh = os.path.join(packaged, 'lib', 'python%d.%d' % sys.version_info[:2],
                            'site-packages', 'aodh', 'api', 'api-paste.ini')
        with open(aodh) as f:
            paste = f.read().replace('[filter:authtoken]\n', '[filter:authtoken]\noslo_config_file = %s\n'
                                     % os.path.join(self.etc['aodh'], 'aodh.conf'))
        self._write('aodh', 'api-paste.ini', paste)
        conf = os.path.join(self.etc['aodh'], 'aodh.conf')
        with open(conf) as f:
            text = f.read().replace('[api]\n', '[api]\npaste_config = %s\n' % os.path.join(
                self.etc['aodh'], 'api-paste.ini'))
        self._write('aodh', 'aodh.conf', text)
        os.symlink(self.etc['aodh'], os.path.join(self.dir, '.aodh'))

    def _write(self, name, file, text):
        with open(os.path.join(self.etc[name], file), 'w') as f:
            f.write(text)

    def _databases(self):
        for section in self.sections:
            name = {2: 'heat', 3: 'aodh'}[section]
            self.database.create(name, self.secrets[name.upper() + '_DB_PASSWORD'])

        def sync(section):
            program, *args = shlex.split(self.page.commands(section)[0])
            self.database.run(harness.env_bin('heat', program), *args, PYTHONWARNINGS='ignore')

        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(sync, self.sections))

    def _users(self):
        """Section 1 of the page, by the real client: one process for all lines."""
        lines = self.page.commands(1)
        assert all(line.startswith('openstack ') for line in lines)
        done = subprocess.run(
            [harness.env_bin('clients', 'openstack')], text=True, capture_output=True, timeout=300,
            input='\n'.join(line.removeprefix('openstack ') for line in lines),
            env=dict(os.environ, OS_AUTH_URL=self.identity.url, OS_USERNAME='admin',
                     OS_PASSWORD=self.identity.password, OS_PROJECT_NAME='admin',
                     OS_USER_DOMAIN_ID='default', OS_PROJECT_DOMAIN_ID='default',
                     OS_IDENTITY_API_VERSION='3', HOME=self.dir))
        complaints = [line for line in done.stderr.splitlines() if line.strip()]
        if complaints:          # it ends with 1 when the lines end
            raise RuntimeError('section 1 of docs/heat.md: %s' % '\n'.join(complaints))

    def admin(self):
        a = api.Api(self.identity.url)
        return a, a.admin(self.identity.password)

    def show_complaints(self):
        """The lines of the logs that matter."""
        for one in self.services.values():
            complaints = one.complaints()
            self.say('-- %s: %s' % (one.kind, one.log if complaints else 'nothing to complain of'))
            for line in complaints:
                self.say('   ' + line[:400])
