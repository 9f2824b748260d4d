"""Nova, Placement, Glance, Barbican, Octavia and Heat, as released, on Vicar (or a Keystone).

`Cloud` is heat_cloud.Cloud without Aodh and with these: real services with a real message bus and a real
database. Nova's hypervisor is its own fake driver, and there is no network: servers are made with
`networks: none`. Octavia's API keeps what it is told; behind it are its own drivers that do nothing.
"""
import base64
import concurrent.futures
import contextlib
import http.client
import json
import os
import shutil
import subprocess
import time

import harness
import heat_cloud
import server

SERVICES = {'nova': ('compute', '/v2.1'), 'placement': ('placement', ''), 'glance': ('image', ''),
            'neutron': ('network', ''), 'barbican': ('key-manager', ''), 'octavia': ('load-balancer', '')}


def serves(port):
    """Does it answer a request?"""
    connection = http.client.HTTPConnection('127.0.0.1', port, timeout=60)
    try:
        connection.request('GET', '/')
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class Cloud(heat_cloud.Cloud):
    sections = (2,)

    def __init__(self, **kw):
        super().__init__(**kw)
        self.at = {name: server.free_port() for name in SERVICES}
        self.passwords = {name: 'password-of-' + name for name in SERVICES}
        self.endpoints = {}
        # What happens here is told on the bus.
        server.change_ini(self.identity.settings, {
            'DEFAULT': {'transport_url': self._bus()},
            'oslo_messaging_notifications': {'driver': 'messagingv2'}})

    def url(self, name):
        return 'http://127.0.0.1:%d%s' % (self.at[name], SERVICES[name][1])

    def login_options(self, name, **more):
        """A section's options for a service that logs in as itself."""
        return {'auth_type': 'password', 'auth_url': self.identity.root, 'username': name,
                'password': self.passwords[name], 'user_domain_id': 'default',
                'project_name': 'service', 'project_domain_id': 'default', **more}

    # --- files -------------------------------------------------------------------------

    def _folder(self, name):
        path = os.path.join(self.dir, 'etc', name)
        os.makedirs(path, exist_ok=True)
        return path

    def _conf(self, name, sections, file=None):
        path = os.path.join(self._folder(name), file or name + '.conf')
        server.write_ini(path, sections)
        return path

    def _connection(self, name):
        return {'connection': self.database.url(name)}

    def _services_files(self):
        token = {'www_authenticate_uri': self.identity.root, 'token_cache_time': -1,
                 'service_token_roles_required': 'true'}
        locks = {'lock_path': self._folder('locks')}
        packaged = os.path.join(harness.CACHE, 'heat', 'etc')
        self._conf('placement', {
            'DEFAULT': {},
            'placement_database': self._connection('placement'),
            'keystone_authtoken': self.login_options('placement', **token),
        })
        images = self._folder('images')
        shutil.copy(os.path.join(packaged, 'glance', 'glance-api-paste.ini'), self._folder('glance'))
        self._conf('glance', {
            'DEFAULT': {'enabled_backends': 'files:file', 'use_keystone_limits': 'true',
                        'node_staging_uri': 'file://' + self._folder('staging'), 'bind_port': self.at['glance']},
            'database': self._connection('glance'),
            'files': {'filesystem_store_datadir': images},
            'glance_store': {'default_backend': 'files'},
            'os_glance_tasks_store': {'filesystem_store_datadir': self._folder('tasks')},
            'os_glance_staging_store': {'filesystem_store_datadir': self._folder('staging')},
            'paste_deploy': {'flavor': 'keystone', 'config_file': os.path.join(
                self._folder('glance'), 'glance-api-paste.ini')},
            'keystone_authtoken': self.login_options('glance', **token),
            'oslo_limit': self._limits('glance'),
            'oslo_concurrency': locks,
        }, 'glance-api.conf')
        shutil.copy(os.path.join(packaged, 'nova', 'api-paste.ini'), self._folder('nova'))
        nova = {
            'DEFAULT': {'transport_url': self._bus(), 'compute_driver': 'fake.FakeDriver',
                        'state_path': self._folder('state'), 'my_ip': '127.0.0.1', 'host': 'hypervisor',
                        'service_down_time': 600},
            'api_database': self._connection('nova_api'),
            'database': self._connection('nova'),
            # The type is what access rules name.
            'keystone_authtoken': self.login_options('nova', service_type='compute', **token),
            'service_user': self.login_options('nova', send_service_user_token='true'),
            'placement': self.login_options('nova', region_name='RegionOne'),
            'glance': {'region_name': 'RegionOne'},
            'neutron': self.login_options('nova', region_name='RegionOne'),
            'oslo_limit': self._limits('nova'),
            'quota': {'driver': 'nova.quota.UnifiedLimitsDriver', 'count_usage_from_placement': 'true'},
            'conductor': {'workers': 1},
            'scheduler': {'workers': 1, 'discover_hosts_in_cells_interval': -1},
            'vnc': {'enabled': 'false'},
            'oslo_concurrency': locks,
        }
        self._conf('nova', nova)
        # A hypervisor reaches no database.
        self._conf('nova', {name: options for name, options in nova.items() if 'database' not in name},
                   'nova-compute.conf')
        # Who moves quotas to limits is an administrator, and looks at the quotas of before.
        admin = {'username': 'admin', 'password': self.identity.password, 'project_name': 'admin'}
        self._conf('nova', {**nova, 'quota': {}, 'keystone_authtoken': self.login_options('nova', **admin)},
                   'nova-migration.conf')

        self._barbican_files(token)
        self._octavia_files(token)

    def _barbican_files(self, token):
        conf = self._conf('barbican', {
            'DEFAULT': {'transport_url': self._bus(), 'host_href': self.url('barbican')},
            'database': self._connection('barbican'),
            'keystone_authtoken': self.login_options('barbican', service_type='key-manager', **token),
            'keystone_notifications': {'enable': 'true', 'pool_name': 'barbican'},
            'simple_crypto_plugin': {'kek': base64.urlsafe_b64encode(os.urandom(32)).decode()},
        })
        # Its programs look there.
        os.symlink(os.path.dirname(conf), os.path.join(self.dir, '.barbican'))
        shutil.copy(os.path.join(harness.CACHE, 'heat', 'etc', 'barbican', 'barbican-api-paste.ini'),
                    self._folder('barbican'))

    def _octavia_files(self, token):
        conf = self._conf('octavia', {
            'DEFAULT': {'transport_url': self._bus()},
            'api_settings': {'default_provider_driver': 'noop_driver',
                             'enabled_provider_drivers': 'noop_driver:does nothing'},
            'controller_worker': {'network_driver': 'network_noop_driver'},
            'database': self._connection('octavia'),
            'keystone_authtoken': self.login_options('octavia', service_type='load-balancer', **token),
        })
        self.new_credential()
        os.symlink(os.path.dirname(conf), os.path.join(self.dir, '.octavia'))

    def new_credential(self):
        """Octavia acts at other services with an application credential: a new one, whose id this is."""
        a, _ = self.admin()
        token = a.login(('octavia', 'default'), self.passwords['octavia'], {
            'project': {'name': 'service', 'domain': {'id': 'default'}}})
        made = a.post('/users/%s/application_credentials' % token.user, token, {'application_credential': {
            'name': 'at-%d' % time.monotonic_ns()}}).want(201).body['application_credential']
        server.change_ini(os.path.join(self._folder('octavia'), 'octavia.conf'), {'service_auth': {
            'auth_type': 'v3applicationcredential', 'auth_url': self.identity.url,
            'application_credential_id': made['id'], 'application_credential_secret': made['secret']}})
        return made['id']

    def _limits(self, name):
        """Who asks for limits, and of which endpoint: a reader of the system."""
        login = self.login_options(name, system_scope='all', endpoint_id=self.endpoints[name])
        del login['project_name'], login['project_domain_id']
        return login

    def _bus(self):
        return 'rabbit://%s@127.0.0.1:%d/' % (self.bus.login, self.bus.port)

    # --- what they stand on ------------------------------------------------------------

    def _users(self):
        super()._users()
        a, admin = self.admin()
        roles = a.role_ids(admin)
        project = a.get('/projects?name=service', admin).want(200).body['projects'][0]['id']
        for name, (kind, _) in SERVICES.items():
            user = a.make(admin, 'user', name=name, password=self.passwords[name], domain_id='default')
            a.grant(admin, roles['service'], user, project)
            # Limits are asked for on the system.
            a.put('/system/users/%s/roles/%s' % (user, roles['reader']), admin).want(204)
            service = a.make(admin, 'service', name=name, type=kind)
            self.endpoints[name] = a.make(admin, 'endpoint', service_id=service, interface='public',
                                          region_id='RegionOne', url=self.url(name))

    def _databases(self):
        for name in ('nova', 'nova_api', 'nova_cell0', 'placement', 'glance', 'barbican', 'octavia'):
            self.database.create(name, 'secret-of-' + name)
        super()._databases()

    def _command(self, program, *args, env='heat', statuses=(0,)):
        done = subprocess.run(
            [harness.env_bin(env, program), *args], cwd=self.dir, text=True, timeout=300,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=dict(os.environ, HOME=self.dir, PYTHONWARNINGS='ignore'))
        if done.returncode not in statuses:
            raise RuntimeError('%s %s: status %d\n%s' % (
                program, ' '.join(args), done.returncode, done.stdout[-3000:]))
        return done.stdout

    def _nova_manage(self, *words, file='nova.conf', **more):
        conf = os.path.join(self._folder('nova'), file)
        return self._command('nova-manage', '--config-file', conf, *words, **more)

    def _sync_nova(self):
        cell0 = self.database.url('nova_cell0')
        self._nova_manage('api_db', 'sync')
        self._nova_manage('cell_v2', 'map_cell0', '--database_connection', cell0)
        self._nova_manage('cell_v2', 'create_cell', '--name', 'one')
        self._nova_manage('db', 'sync')

    def _sync_others(self):
        self._command('glance-manage', '--config-file', os.path.join(self._folder('glance'), 'glance-api.conf'),
                      'db_sync')
        self._command('placement-manage', '--config-file',
                      os.path.join(self._folder('placement'), 'placement.conf'), 'db', 'sync')
        self._command('barbican-manage', 'db', 'upgrade', '--db-url', self.database.url('barbican'))
        self._command('octavia-db-manage', '--config-file', os.path.join(self._folder('octavia'), 'octavia.conf'),
                      'upgrade', 'head', env='octavia')

    # --- programs ----------------------------------------------------------------------

    def _wsgi(self, name, app, threads=4, packages='heat', **env):
        """A service behind uwsgi, with the packages of an environment."""
        line = ' '.join([
            'uwsgi --master --die-on-term --need-app --lazy-apps --enable-threads --disable-logging',
            '--buffer-size 65535 --processes 1 --threads %d' % threads,
            '--http-socket 127.0.0.1:%d' % self.at[name], "--add-header 'Connection: close'",
            '--virtualenv %s' % os.path.join(harness.CACHE, packages), app])
        self._add(name, line, self.at[name], **env)
        # The port is open before the program behind it is loaded.
        self.services[name].ready = lambda: serves(self.at[name])

    def _more(self):
        self._services_files()
        # The two chains of migrations do not need each other.
        with concurrent.futures.ThreadPoolExecutor() as pool:
            for done in [pool.submit(self._sync_nova), pool.submit(self._sync_others)]:
                done.result()
        self._network()
        self._wsgi('placement', '--module placement.wsgi.api:application',
                   OS_PLACEMENT_CONFIG_DIR=self._folder('placement'))
        self._wsgi('glance', '--module glance.wsgi.api:application', OS_GLANCE_CONFIG_DIR=self._folder('glance'))
        self._wsgi('nova', '--module nova.wsgi.osapi_compute:application', OS_NOVA_CONFIG_DIR=self._folder('nova'))
        self._wsgi('barbican', '--paste config:' + os.path.join(
            self._folder('barbican'), 'barbican-api-paste.ini'))
        self._wsgi('octavia', '--module octavia.wsgi.api:application', packages='octavia')
        self._add('barbican-keystone-listener', 'barbican-keystone-listener', 'barbican')
        for name, queue, file in (('nova-conductor', 'conductor', 'nova.conf'),
                                  ('nova-scheduler', 'scheduler', 'nova.conf'),
                                  ('nova-compute', 'compute', 'nova-compute.conf')):
            self._add(name, '%s --config-file %s' % (name, os.path.join(self._folder('nova'), file)), queue)

    def _network(self):
        """Nova asks which ports a server has; nobody has any here."""
        spec = os.path.join(self.dir, 'network.json')
        with open(spec, 'w') as f:
            json.dump({'pipelines': [{'port': self.at['neutron'], 'app': 'nothing', 'filters': [
                ['keystonemiddleware.auth_token:filter_factory', {
                    'oslo_config_project': 'nova',
                    'oslo_config_file': os.path.join(self._folder('nova'), 'nova.conf')}]]}]}, f)
        self._add('network', 'python %s %s' % (os.path.join(harness.HERE, 'service.py'), spec),
                  self.at['neutron'])

    def migrate_quotas(self, *words, statuses=(0,)):
        """Nova's own program copies quotas from its database to the identity server."""
        return self._nova_manage('limits', 'migrate_to_unified_limits', *words, file='nova-migration.conf',
                                 statuses=statuses)

    def discover(self):
        """Nova learns of its hypervisor."""
        self._nova_manage('cell_v2', 'discover_hosts')

    @contextlib.contextmanager
    def tokens_of(self, seconds):
        """Tokens that are made meanwhile live so long."""
        for lifetime in (seconds, None):
            self.identity.halt()
            server.change_ini(self.identity.settings, {'token': {'expiration': lifetime or 3600}})
            self.identity.start()
            if lifetime:
                yield
