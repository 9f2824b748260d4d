"""A database of one engine for a Keystone, and what runs on it."""
import hashlib
import os
import subprocess

import server
import services

ENGINES = ['sqlite', 'postgresql', 'mariadb']


class Place:
    """`kind` makes the Keystone: server.Keystone, or one like it."""

    def __init__(self, stack, engine, kind=server.Keystone):
        self.engine, self.stack = engine, stack
        self.database = None
        self.accepted = ()          # what Vicar is to start without: names that --accept takes
        # Keystone's default, and passcodes.
        settings = {'identity': {'password_hash_rounds': 4}, 'auth': {'methods': ','.join(kind.methods)}}
        if engine != 'sqlite':
            engines = {'postgresql': services.PostgreSql, 'mariadb': services.MariaDb}
            self.database = stack.enter_context(engines[engine]())
            self.database.create('keystone', 'keystone-pw')
            url = self.database.url('keystone')
            settings['database'] = {'connection': url.replace(
                'postgresql://', 'postgresql+psycopg2://')}
        self.settings = settings
        self.keystone = kind(processes=2, settings=settings)
        stack.callback(self.keystone.stop)
        self.keystone.start()
        self.vicar = None

    def doctor(self, *more):
        """(exit code, what it says)"""
        done = subprocess.run(
            [server.vicar_bin(), 'doctor', '--adopt', '--config-file', self.keystone.config,
             *more], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=120, cwd=self.keystone.dir)
        return done.returncode, done.stdout

    def state(self):
        """All of the database and of the keys."""
        out = {}
        if self.database:
            lines = self.database.dump('keystone').splitlines()
            out['rows'] = [x for x in lines if not x.startswith(('--', '\\'))]
        else:
            folder, name = os.path.split(self.keystone.store.database)
            for found in os.listdir(folder):
                if found.startswith(name):
                    with open(os.path.join(folder, found), 'rb') as f:
                        out[found] = hashlib.sha256(f.read()).hexdigest()
        for folder in (self.keystone.store.fernet, self.keystone.store.credential):
            for found in sorted(os.listdir(folder)):
                path = os.path.join(folder, found)
                with open(path, 'rb') as f:
                    out[path] = (f.read(), os.stat(path).st_mtime_ns)
        return out

    def poor(self, poor):
        """Takes the right to make tables from the database's user, or gives it back."""
        self.database.sql({
            'postgresql': 'ALTER DATABASE keystone OWNER TO %s' % ('root' if poor else 'keystone'),
            'mariadb': '%s CREATE, INDEX ON keystone.* %s keystone' % (
                ('REVOKE', 'FROM') if poor else ('GRANT', 'TO'))}[self.engine])

    def adopt(self):
        self.keystone.run(server.vicar_bin(), 'db', 'sync', '--config-file',
                          self.keystone.config)
        self.vicar = server.Vicar(config=self.keystone.config, store=self.keystone.store,
                                  password=self.keystone.password)
        self.vicar.accepted = self.accepted
        self.stack.callback(self.vicar.stop)
        self.vicar.start()

    def restart_keystone(self, sections, processes):
        self.keystone.halt()
        server.change_ini(self.keystone.config, sections)
        self.keystone.processes = processes
        self.keystone.start()
