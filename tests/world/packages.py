#!/usr/bin/env python3
"""The packages as a machine meets them: a clean Debian 12 under its own systemd, in a container of systemd-nspawn.

    packages.py                 everything; needs root
    packages.py --keep          and leaves what was made in target/dist

An older package is installed, objects are made, it is upgraded, reloaded, broken, mended, removed and purged; what each
of these must leave is looked at. Commands that docs/install.md shows are run as they are there. The rest is about what
else a release has: the unit's exposure, pages, completions, the container image, the list of what is linked.
The Debian is made by debootstrap from this machine's own sources and kept in the cache.
"""
import argparse
import contextlib
import fcntl
import glob
import hashlib
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import tomllib

import harness

if __name__ == '__main__':
    harness.run_in('packages')

import server

SUITE = 'bookworm'
# What the package depends on, and what its pages and completions are for.
INCLUDED = 'systemd,systemd-sysv,debconf,ca-certificates,curl,procps,man-db,bash-completion,zsh,fish'
REPO = pathlib.Path(harness.REPO)
PAGE = (REPO / 'docs' / 'install.md').read_text()
OLDER = '0.0.9-1'
UNIT = '/lib/systemd/system/vicar.service'
URL = 'http://127.0.0.1:5000'
QUIET = dict(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def run(*command, **more):
    """A program on this machine, to its end; its output."""
    done = subprocess.run(command, **{**QUIET, 'timeout': 900, **more})
    if done.returncode:
        raise RuntimeError('%s: status %d\n%s' % (shlex.join(map(str, command)), done.returncode, done.stdout[-4000:]))
    return done.stdout


def debian():
    """The root of a small Debian, from the cache or made. Nothing is written to it any more."""
    wanted = hashlib.sha256(('%s %s' % (SUITE, INCLUDED)).encode()).hexdigest()[:12]
    path = pathlib.Path(harness.CACHE) / 'packages-debian' / ('%s-%s' % (SUITE, wanted))
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.parent / '.lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)    # whoever comes second finds it made
        if not path.exists():
            make_debian(path)
    return path


def make_debian(path):
    ask = ('apt-get', 'indextargets', '--format', '$(REPO_URI)', 'Codename: ' + SUITE, 'Created-By: Packages')
    mirrors = run(*ask).split()
    if not mirrors:                     # apt knows its sources by what it has fetched
        run('apt-get', '-qq', 'update')
        mirrors = run(*ask).split()
    if not mirrors:
        raise RuntimeError('apt has no source of %s' % SUITE)
    environment = dict(os.environ)
    for line in run('apt-config', 'shell', 'http_proxy', 'Acquire::http::Proxy').splitlines():
        name, value = line.split('=', 1)
        environment[name] = shlex.split(value)[0]
    with tempfile.TemporaryDirectory(prefix='new-', dir=path.parent) as folder:
        root = pathlib.Path(folder) / 'root'
        run('debootstrap', '--variant=minbase', '--include=' + INCLUDED, SUITE, str(root), mirrors[0],
            env=environment)
        run('chroot', str(root), 'apt-get', 'clean')
        # The images of containers have this, and it is why their packages start nothing.
        (root / 'usr/sbin/policy-rc.d').unlink(missing_ok=True)
        (root / 'etc/apt/apt.conf.d/90test').write_text(
            'APT::Get::Assume-Yes "true";\nDpkg::Options {"--force-confold";};\n')
        (root / 'etc/dpkg/dpkg.cfg.d/90test').write_text('force-unsafe-io\n')
        root.rename(path)


def container(*options):
    """systemd-nspawn on that root: what is written is in memory, and gone with it."""
    # Where systemd runs, it gives the container a scope; elsewhere there is none to be had.
    scope = [] if os.path.isdir('/run/systemd/system') else ['--keep-unit']
    return ['env', 'SYSTEMD_NSPAWN_LOCK=0', 'systemd-nspawn', '--quiet', '--directory', str(debian()),
            '--volatile=overlay', '--register=no', *scope, '--private-network', *options]


class Machine(server.Server):
    """A Debian that boots."""
    kind = 'machine'
    patience = 20

    def path(self, inside):
        """A path in the machine, seen from here. Links in it would lead elsewhere."""
        return pathlib.Path('/proc/%s/root' % self.first) / inside.lstrip('/')

    def command(self):
        return container('--machine', 'vicar-world-%d' % os.getpid(), '--console=read-only', '--boot'), {}

    def first_process(self):
        """The machine's systemd, seen from here."""
        for task in glob.glob('/proc/%d/task/*/children' % self.process.pid):
            for child in pathlib.Path(task).read_text().split():
                if os.path.exists('/proc/%s/root/run/systemd/system' % child):
                    return child
        return None

    def ready(self):
        self.first = self.first_process()
        if not self.first:
            return False
        self.inside = ['nsenter', '--target', self.first, '--mount', '--uts', '--ipc', '--net', '--pid',
                       '--root', '--wd']
        return self.try_('systemctl is-system-running')[1].strip() in ('running', 'degraded')

    def try_(self, command, env=None):
        """A shell's command in the machine: its status and output."""
        clean = ['env', '-i', 'PATH=/usr/sbin:/usr/bin:/sbin:/bin', 'HOME=/root', 'LC_ALL=C.UTF-8', 'TERM=dumb',
                 'DEBIAN_FRONTEND=noninteractive', *('%s=%s' % v for v in (env or {}).items())]
        done = subprocess.run([*self.inside, *clean, 'bash', '-c', 'cd /root; ' + command], timeout=300, **QUIET)
        return done.returncode, done.stdout

    def sh(self, command, env=None):
        status, output = self.try_(command, env)
        if status:
            raise RuntimeError('%s: status %d\n%s' % (command, status, output[-4000:]))
        return output

    def documented(self, command):
        """A command of docs/install.md."""
        if '$ sudo %s\n' % command not in PAGE:
            raise RuntimeError('docs/install.md does not have: %s' % command)
        return self.sh(command)

    def show(self, name):
        return self.sh('systemctl show --value -p %s vicar.service' % name).strip()

    def is_active(self):
        return self.try_('systemctl is-active vicar.service')[1].strip()

    def api(self, method, path, body=None, token=None):
        """Status, headers in lower case, parsed body."""
        command = ['curl', '-sS', '-i', '-X', method, URL + path, '-H', 'Content-Type: application/json']
        if token:
            command += ['-H', 'X-Auth-Token: ' + token]
        if body is not None:
            command += ['-d', json.dumps(body)]
        head, _, text = self.sh(shlex.join(command)).replace('\r', '').partition('\n\n')
        first, *lines = head.splitlines()
        headers = {n.lower(): v for n, v in (line.split(': ', 1) for line in lines)}
        return int(first.split()[1]), headers, json.loads(text) if text.strip() else None

    def login(self, user, password, project=None):
        domain = {'id': 'default'}
        auth = {'identity': {'methods': ['password'], 'password': {
            'user': {'name': user, 'domain': domain, 'password': password}}}}
        if project:
            auth['scope'] = {'project': {'name': project, 'domain': domain}}
        status, headers, _ = self.api('POST', '/v3/auth/tokens', {'auth': auth})
        return headers.get('x-subject-token') if status == 201 else None

    def serves(self):
        return self.api('GET', '/v3')[0] == 200

    def stat(self, path):
        """Mode, owner and group as the machine names them; nothing if it is not there."""
        return self.try_('stat -c "%%a %%U %%G" %s' % path)[1].strip()

    def until(self, condition, seconds=90):
        """Waits for it. Whether it came true."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                return False
            time.sleep(0.1)
        return True


def older(package, folder):
    """The same as an older version, with a configuration that has changed since."""
    tree = os.path.join(folder, 'tree')
    run('dpkg-deb', '-R', package, tree)
    control = pathlib.Path(tree, 'DEBIAN/control')
    control.write_text(re.sub(r'(?m)^Version: .*', 'Version: ' + OLDER, control.read_text()))
    conf = pathlib.Path(tree, 'etc/vicar/vicar.conf')
    conf.write_text('# An older file.\n' + conf.read_text())
    pathlib.Path(tree, 'usr/share/doc/vicar/gone').write_text('Only in the older version.\n')
    path = os.path.join(folder, 'vicar_%s_%s.deb' % (OLDER, run('dpkg', '--print-architecture').strip()))
    run('dpkg-deb', '--root-owner-group', '-Znone', '-b', tree, path)
    shutil.rmtree(tree)
    return path


def put(machine, package):
    """The one package in the machine's /root."""
    for old in machine.path('/root').glob('vicar_*.deb'):
        old.unlink()
    shutil.copy(package, machine.path('/root'))


BASH_COMPLETES = """
. /usr/share/bash-completion/bash_completion
_completion_loader $NAME
COMP_WORDS=($NAME "$BEGIN") COMP_CWORD=1
$(complete -p $NAME | sed -E 's/.*-F ([^ ]+).*/\\1/') $NAME "$BEGIN" $NAME
echo "${COMPREPLY[@]}"
"""


class Life:
    """The package in a machine, from its installation to its end."""

    def __init__(self, checks, machine, package):
        self.c, self.m, self.package = checks, machine, package

    def install(self):
        c, m = self.c, self.m
        with tempfile.TemporaryDirectory(prefix='vicar-world-older-') as folder:
            put(m, older(self.package, folder))
        m.documented('apt install ./vicar_*.deb')
        # dpkg has returned, so systemd has heard READY=1.
        c.ok('the server is ready when the installation is', m.serves())
        c.equal('it runs', m.is_active(), 'active')
        c.equal('it starts with the machine', m.sh('systemctl is-enabled vicar').strip(), 'enabled')
        c.equal('nothing else has failed', m.sh('systemctl --failed --plain --no-legend').strip(), '')
        for path, want in (('/etc/vicar', '750 root vicar'), ('/etc/vicar/vicar.conf', '640 root vicar'),
                           ('/etc/default/vicar', '644 root root'), ('/var/lib/vicar', '700 vicar vicar'),
                           ('/var/lib/vicar/vicar.db', '600 vicar vicar'), ('/usr/bin/vicar', '755 root root'),
                           ('/var/lib/vicar/fernet-keys', '700 vicar vicar')):
            c.equal('%s is %s' % (path, want), m.stat(path), want)
        c.equal('the account opens no shell', m.sh('getent passwd vicar').split(':')[5:],
                ['/var/lib/vicar', '/usr/sbin/nologin\n'])
        first = self.first_password()
        for command in ('systemctl stop vicar', 'find /var/lib/vicar -mindepth 1 -delete', 'systemctl start vicar'):
            m.documented(command)
        self.password = self.first_password()
        c.ok('what the first start made can be removed', m.serves() and self.password != first)
        journal = m.sh('journalctl -u vicar --no-pager')
        c.ok('the journal has the server\'s lines', 'Vicar %s serves' % version() in journal, journal)
        c.ok('and not the password', first not in journal and self.password not in journal)

    def first_password(self):
        clouds = self.m.documented('cat /var/lib/vicar/clouds.yaml')
        return json.loads(re.search(r'password: (".*")', clouds).group(1))

    def by_hand(self):
        """The files for the account and its directory, as somebody without the package uses them."""
        c, bare = self.c, self.m.path('/srv/bare')
        (bare / 'var/lib').mkdir(parents=True)
        run('dpkg-deb', '-x', self.package, str(bare))
        self.m.sh('systemd-sysusers --root=/srv/bare vicar.conf')
        self.m.sh('systemd-tmpfiles --root=/srv/bare --create vicar.conf')
        accounts = (bare / 'etc/passwd').read_text()
        user = re.search(r'^vicar:[^:]*:(\d+):', accounts, re.M)
        c.ok('sysusers makes the account', user, accounts)
        made = (bare / 'var/lib/vicar').stat()
        c.equal('tmpfiles makes its directory', (made.st_uid, made.st_mode & 0o7777), (int(user.group(1)), 0o700))

    def confined(self):
        c, m = self.c, self.m
        facts = dict(line.split(':\t', 1) for line in
                     m.sh('cat /proc/%s/status' % m.show('MainPID')).splitlines() if ':\t' in line)
        c.ok('it is not root', '0' not in facts['Uid'].split(), facts['Uid'])
        for name in ('CapEff', 'CapPrm', 'CapBnd', 'CapAmb'):
            c.equal('it has no capabilities (%s)' % name, int(facts[name], 16), 0)
        c.equal('and gets none', facts['NoNewPrivs'], '1')
        c.equal('its system calls are filtered', facts['Seccomp'], '2')
        files = re.search(r'Max open files +(\d+) +(\d+)', m.sh('cat /proc/%s/limits' % m.show('MainPID')))
        c.equal('it may raise its limit of file descriptors', *files.groups())
        status, output = m.try_('systemd-analyze verify %s' % UNIT)
        c.ok('systemd finds nothing wrong with the unit', status == 0 and not output, output)
        status, output = m.try_('systemd-analyze security --offline=yes --root=/ --threshold=20 --no-pager %s' % UNIT)
        c.ok('its exposure is at most 2.0', status == 0, output[-300:])
        print('      ' + output.strip().splitlines()[-1])

    def objects(self):
        c, m = self.c, self.m
        self.admin = m.login('admin', self.password, 'admin')
        c.ok('the administrator logs in', self.admin)
        alice = {'name': 'alice', 'password': 'alices', 'domain_id': 'default'}
        status, _, body = m.api('POST', '/v3/users', {'user': alice}, self.admin)
        c.equal('they make a user', status, 201)
        self.alice = body['user']['id']
        status, _, body = m.api('POST', '/v3/credentials', {'credential': {
            'type': 'cert', 'blob': 'a secret', 'user_id': self.alice}}, self.admin)
        c.equal('and a credential', status, 201)
        self.credential = body['credential']['id']
        output = m.documented('env OS_CLIENT_CONFIG_FILE=/var/lib/vicar/clouds.yaml vicar-demo --os-cloud vicar')
        c.ok('the story of delegation is told on it', 'vicar-demo' in output and 'FAIL' not in output, output[-500:])
        m.sh("sed -i 's/^#expiration = 3600/expiration = 1800/' /etc/vicar/vicar.conf")

    def same_as_before(self, when):
        c, m = self.c, self.m
        status, _, _ = m.api('GET', '/v3/users/' + self.alice, token=self.admin)
        c.equal('%s the token from before is good' % when, status, 200)
        c.ok('%s the user logs in' % when, m.login('alice', 'alices'))
        status, _, body = m.api('GET', '/v3/credentials/' + self.credential, token=self.admin)
        c.equal('%s the credential is decrypted' % when, status == 200 and body['credential']['blob'], 'a secret')

    def upgrade(self):
        c, m = self.c, self.m
        before = m.show('MainPID')
        put(m, self.package)
        m.documented('apt install ./vicar_*.deb')
        c.ok('it is ready when the upgrade is', m.serves())
        c.ok('it is the new program', m.show('MainPID') not in (before, '0'))
        c.ok('what is not in the new version is gone', not m.path('/usr/share/doc/vicar/gone').exists())
        c.ok('the edited configuration stays', 'expiration = 1800' in m.path('/etc/vicar/vicar.conf').read_text())
        c.equal('for the same readers', m.stat('/etc/vicar/vicar.conf'), '640 root vicar')
        c.ok('the shipped one lies beside it', m.path('/etc/vicar/vicar.conf.dpkg-dist').exists())
        self.same_as_before('after the upgrade')
        m.sh('systemctl disable --now vicar')
        m.sh('apt install --reinstall ./vicar_*.deb')
        c.equal('a service that was disabled is not started by an upgrade', m.is_active(), 'inactive')
        m.sh('systemctl enable --now vicar')

    def reload(self):
        c, m = self.c, self.m
        before = m.show('MainPID')
        status, output = m.try_('systemctl reload vicar')
        c.ok('it reloads', status == 0, output)
        c.ok('and serves', m.until(m.serves, 10))
        c.equal('without a restart', (m.show('MainPID'), m.is_active()), (before, 'active'))

    def broken(self):
        c, m = self.c, self.m
        good = m.path('/etc/vicar/vicar.conf').read_text()
        m.path('/etc/vicar/vicar.conf').write_text(good + '\n[token]\nexpiration = soon\n')
        status, _ = m.try_('systemctl restart vicar')
        c.ok('with a wrong configuration a restart fails', status != 0)
        c.equal('and is not tried again', (m.show('ActiveState'), m.show('ExecMainStatus')), ('failed', '3'))
        c.ok('the journal says why', 'expiration' in m.documented('journalctl -u vicar -n 20'))
        m.path('/etc/vicar/vicar.conf').write_text(good)
        m.documented('systemctl restart vicar')
        c.ok('with the right one it serves again', m.serves())
        doctor = m.documented('runuser -u vicar -- vicar doctor --data-dir /var/lib/vicar '
                              '--config-file /etc/vicar/vicar.conf')
        c.ok('doctor finds nothing', 'FAIL' not in doctor, doctor)

        m.path('/etc/default/vicar').write_text('VICAR_OPTIONS="--listen 127.0.0.1:5001"\nVICAR_LOG_FORMAT=json\n')
        m.sh('systemctl restart vicar')
        status = m.sh('curl -s -o /dev/null -w "%{http_code}" http://127.0.0.1:5001/v3')
        c.equal('options come from /etc/default/vicar', status, '200')
        m.sh('dpkg --force-confask --force-confnew -i /root/vicar_*.deb')

        self.drop_in('CapabilityBoundingSet=CAP_NET_BIND_SERVICE', 'AmbientCapabilities=CAP_NET_BIND_SERVICE',
                     'PrivateUsers=no', 'Environment="VICAR_OPTIONS=--listen 127.0.0.1:80"')
        status = m.sh('curl -s -o /dev/null -w "%{http_code}" http://127.0.0.1/v3')
        c.equal('a drop-in opens a port below 1024', status, '200')
        self.no_drop_in()

    def drop_in(self, *lines):
        text = shlex.quote('\n'.join(['[Service]', *lines, '']))
        self.m.sh('mkdir -p {0} && printf %s {1} > {0}/test.conf'.format('/run/systemd/system/vicar.service.d', text))
        self.m.sh('systemctl daemon-reload && systemctl restart vicar')

    def no_drop_in(self):
        self.m.sh('rm -r /run/systemd/system/vicar.service.d && systemctl daemon-reload && systemctl restart vicar')

    def watchdog(self):
        c, m = self.c, self.m
        self.drop_in('WatchdogSec=1', 'TimeoutAbortSec=1', 'RestartSec=0')
        stuck = m.show('MainPID')
        m.sh('kill -STOP %s' % stuck)
        c.ok('a server that is stuck is replaced', m.until(
            lambda: m.show('MainPID') not in (stuck, '0') and m.is_active() == 'active', 60))
        c.ok('and the new one serves', m.serves())
        self.no_drop_in()
        m.sh('systemctl stop vicar')
        c.equal('it stops in order', (m.show('Result'), m.show('ExecMainStatus')), ('success', '0'))

    def pages(self):
        c, m = self.c, self.m
        pages = sorted(p.name.removesuffix('.1.gz') for p in m.path('/usr/share/man/man1').glob('vicar*.1.gz'))
        c.ok('there are pages of both programs', {'vicar', 'vicar-serve', 'vicar-demo'} <= set(pages), pages)
        for page in pages:
            status, output = m.try_('man --warnings=w -P cat %s 2>/tmp/warnings | col -b; cat /tmp/warnings >&2; '
                                    'test ! -s /tmp/warnings' % page)
            c.ok('man %s' % page, status == 0 and 'SYNOPSIS' in output, output[-300:])
        words = ' '.join(m.sh('man -P cat vicar-serve | col -b').split())
        c.ok('options and variables are in them', '--metrics-listen' in words and 'VICAR_DATA_DIR' in words)
        c.ok('the page of vicar-demo is its own', '--os-cloud' in m.sh('man -P cat vicar-demo | col -b'))
        for name, begin, want in (('vicar', 'doc', 'doctor'), ('vicar-demo', '--os', '--os-cloud')):
            output = m.sh(BASH_COMPLETES, env={'NAME': name, 'BEGIN': begin})
            c.equal('bash completes %s %s' % (name, begin), output.split(), [want])
        for name in ('vicar', 'vicar-demo'):
            output = m.sh("zsh -fc 'autoload -U compinit; compinit -u -d /tmp/zcompdump; print $_comps[%s]; "
                          "autoload +X _%s && print loaded'" % (name, name))
            c.ok('zsh knows and loads the completion of %s' % name, output.split() == ['_' + name, 'loaded'], output)
        c.ok('fish completes', 'doctor' in m.sh("fish -c 'complete -C \"vicar doc\"'"))

    def end(self):
        c, m = self.c, self.m
        m.sh('systemctl start vicar')
        m.documented('apt remove vicar')
        c.equal('removed, it runs no more', m.is_active(), 'inactive')
        c.ok('no process of it is left', m.try_('pgrep -u vicar')[0] == 1)
        c.ok('the program is gone', not m.path('/usr/bin/vicar').exists())
        c.ok('configuration and data stay',
             m.path('/etc/vicar/vicar.conf').exists() and m.path('/var/lib/vicar/vicar.db').exists())
        m.documented('apt install ./vicar_*.deb')
        self.same_as_before('installed again,')
        output = m.documented('apt purge vicar')
        c.equal('purged, the configuration is gone', m.sh('find /etc -name "vicar*"'), '')
        c.ok('and says that the data stays', 'kept in /var/lib/vicar' in output, output[-500:])
        c.ok('so do database and keys', m.path('/var/lib/vicar/vicar.db').exists()
             and list(m.path('/var/lib/vicar/credential-keys').iterdir()))
        links = m.sh('find /etc/systemd /var/lib/systemd -name "vicar*"').split()
        c.equal('nothing of the service is left behind', links, [])
        m.documented('apt install ./vicar_*.deb')
        self.same_as_before('after a purge,')
        m.documented('debconf-set-selections <<< "vicar vicar/purge-data boolean true"')
        m.documented('apt purge vicar')
        c.ok('a purge removes the data if the administrator says so', not m.path('/var/lib/vicar').exists())
        c.ok('the account stays', m.try_('getent passwd vicar')[0] == 0)
        c.equal('nothing has failed', m.sh('systemctl --failed --plain --no-legend').strip(), '')


def version():
    return tomllib.loads((REPO / 'Cargo.toml').read_text())['workspace']['package']['version']


WITHOUT_SYSTEMD = """
set -e
link=/etc/systemd/system/multi-user.target.wants/vicar.service
dpkg -i /package.deb
test -L $link && echo 'it will start with the machine'
test ! -e /var/lib/vicar/vicar.db && echo 'and does not run now'
dpkg -P vicar
test ! -e /var/lib/vicar && echo 'purged, its empty directory is gone'
test ! -L $link && echo 'and the link'
"""


def without_systemd(c, package):
    """In a root where no systemd runs, as an image is made."""
    command = container('--pipe', '--bind-ro=%s:/package.deb' % package, '--setenv=DEBIAN_FRONTEND=noninteractive',
                        'bash', '-c', WITHOUT_SYSTEMD)
    done = subprocess.run(command, timeout=300, **QUIET)
    c.ok('it can be installed and purged', done.returncode == 0, done.stdout[-2000:])
    for fact in re.findall("echo '(.*)'", WITHOUT_SYSTEMD):
        c.ok(fact, fact in done.stdout.splitlines())


def configuration(c):
    """The example has options that there are, with the defaults that they have."""
    table = {}
    page = (REPO / 'docs/configuration.md').read_text()
    for row in re.finditer(r'^\| `\[(\w+)\] (\w+)` \| .*? \| (.*?) \|', page, re.M):
        table[row.group(1), row.group(2)] = row.group(3)
    section = None
    seen = 0
    for line in (REPO / 'packaging/vicar.conf').read_text().splitlines():
        if line.startswith('['):
            section = line.strip('[]')
        elif found := re.match(r'#(\w+) = (.*)', line):
            seen += 1
            name, value = found.groups()
            default = table.get((section, name))
            c.ok('[%s] %s is an option' % (section, name), default is not None)
            if default and re.fullmatch(r'\d+( s)?', default):
                c.equal('and its default is right', value, default.removesuffix(' s'))
    c.ok('the example has options', seen > 10)


def linked(c, folder, programs):
    """Every crate whose code is in the programs is in the list, with its licence."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator
    text = next(folder.glob('*.cdx.json')).read_text()
    wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    c.ok('the list is a CycloneDX document', wrong is None, wrong)
    parts = json.loads(text)['components']
    names = {'%s-%s' % (p['name'], p['version']) for p in parts}
    found = set()
    for program in programs:
        code = pathlib.Path(program).read_bytes()
        found |= {m.decode() for m in re.findall(rb'registry/src/[^/\0]*/([A-Za-z0-9_.+-]+)/', code)}
    c.ok('the programs name the crates that they are made of', len(found) > 50, len(found))
    c.equal('all of these are in it', sorted(found - names), [])
    c.equal('each with a licence', [p['name'] for p in parts if not p.get('licenses')], [])
    locked = tomllib.loads((REPO / 'Cargo.lock').read_text())['package']
    sums = {p['checksum'] for p in locked if 'checksum' in p}
    c.ok('with the sums of Cargo.lock', all(h['content'] in sums for p in parts for h in p.get('hashes', [])))
    notices = run('zcat', glob.glob(str(folder / 'deb' / 'usr/share/doc/vicar/third-party*'))[0])
    missing = [p['name'] for p in parts if p.get('hashes') and '%s %s' % (p['name'], p['version']) not in notices]
    c.equal('the package passes the licence of each on', missing, [])


def release(c, out, programs):
    package = next(out.glob('*.deb'))
    run('sha256sum', '--check', 'SHA256SUMS', cwd=out)
    with tempfile.TemporaryDirectory(prefix='vicar-world-again-') as folder:
        again = run(str(REPO / 'packaging/deb.sh'), folder, env=packager()).split()[-1]
        c.ok('the package is made the same again', pathlib.Path(again).read_bytes() == package.read_bytes())
    judged = subprocess.run(['lintian', '--allow-root', '--fail-on', 'error,warning', str(package)], **QUIET)
    c.ok('lintian finds no errors and nothing to warn of', judged.returncode == 0, judged.stdout)
    needs = run('dpkg-deb', '-f', str(package), 'Depends')
    c.ok('it depends on the C library that it was linked with', re.search(r'libc6 \(>= 2\.\d+\)', needs), needs)
    with tempfile.TemporaryDirectory(prefix='vicar-world-tar-') as folder:
        run('tar', '-C', folder, '-xf', str(next(out.glob('*.tar.xz'))))
        top, = pathlib.Path(folder).iterdir()
        said = run(str(top / 'bin/vicar'), '--version')
        c.equal('the tar file has the program', said.strip(), 'vicar ' + version())
        for name in ('LICENSE', 'README.md', 'docs/install.md', 'man/man1/vicar-serve.1', 'completions/vicar.bash',
                     'packaging/vicar.service', 'THIRD-PARTY-LICENCES'):
            c.ok('and %s' % name, (top / name).is_file())
    run('dpkg-deb', '-x', str(package), str(out / 'deb'))
    linked(c, out, programs)
    shutil.rmtree(out / 'deb')


# Podman wants one kind of control groups; where both are mounted, it sees the old ones only.
PODMAN = r"""
set -eu
! mountpoint -q /sys/fs/cgroup/unified || umount /sys/fs/cgroup/unified
podman load --quiet -i "$1" > /dev/null
podman run --detach --name vicar --network none --read-only --cap-drop all --security-opt no-new-privileges \
  --health-interval=disable --cgroups=disabled --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 \
  --env VICAR_BOOTSTRAP_PASSWORD=given "vicar:$2" > /dev/null
pid=$(podman inspect vicar --format '{{.State.Pid}}')
get() {
  nsenter --target "$pid" --net python3 -c 'import urllib.request as u
print(u.urlopen("http://127.0.0.1:5000/readyz").status)'
}
for _ in $(seq 300); do ! get > /dev/null 2>&1 || break; sleep 0.1; done
echo "ready $(get)"
grep -E '^(Uid|CapEff|CapBnd|NoNewPrivs)' "/proc/$pid/status"
grep -E '^[^ ]+ / ' "/proc/$pid/mounts" | cut -d' ' -f2,4
echo "doctor $(podman exec vicar /usr/bin/vicar doctor > /dev/null && echo fine)"
echo "health $(podman healthcheck run vicar > /dev/null && echo healthy)"
echo "shell $(podman exec vicar /bin/sh -c true 2> /dev/null && echo there)"
podman stop vicar > /dev/null
echo "exit $(podman inspect vicar --format '{{.State.ExitCode}}')"
podman rm -v vicar > /dev/null
"""


@contextlib.contextmanager
def storage():
    """A place for podman's images that is nobody else's: the variables that name it."""
    with tempfile.TemporaryDirectory(prefix='vicar-world-images-') as folder:
        path = os.path.join(folder, 'storage.conf')
        pathlib.Path(path).write_text(
            '[storage]\ndriver = "vfs"\ngraphroot = "%s/graph"\nrunroot = "%s/run"\n' % (folder, folder))
        yield dict(CONTAINERS_STORAGE_CONF=path)


def image(c, out):
    """The container image, run by podman with a file system that cannot be written."""
    with storage() as place:
        done = subprocess.run(['unshare', '--mount', 'bash', '-c', PODMAN, 'podman', str(next(out.glob('*.image.tar'))),
                               version()], env={**os.environ, **place}, timeout=300, **QUIET)
        facts = dict(line.split(None, 1) for line in done.stdout.splitlines() if len(line.split(None, 1)) == 2)
        print(done.stdout)
        c.equal('it serves', facts.get('ready'), '200')
        c.equal('as nobody that the machine knows', set((facts.get('Uid:') or '').split()), {'10101'})
        for name in ('CapEff:', 'CapBnd:'):
            c.equal('without capabilities (%s)' % name, (facts.get(name) or '').strip('0'), '')
        c.ok('on a file system that is read only', (facts.get('/') or '').startswith('ro'), facts.get('/'))
        c.equal('doctor runs inside', facts.get('doctor'), 'fine')
        c.equal('its health check passes', facts.get('health'), 'healthy')
        c.ok('there is no shell in it', 'shell' not in facts)
        c.equal('it stops in order', facts.get('exit'), '0')


def packager():
    """The environment of the packaging scripts: which programs."""
    return dict(os.environ, VICAR_BIN=server.vicar_bin())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--keep', action='store_true')
    options = parser.parse_args()
    if os.geteuid():
        raise SystemExit('packages.py: root is needed, for a Debian of its own')
    c = harness.Checks()
    began = time.monotonic()

    def part(title, *what):
        c.part('%s (after %d s)' % (title, time.monotonic() - began), *what)
    out = REPO / 'target' / 'dist'
    with contextlib.ExitStack() as stack:
        if not options.keep:
            out = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix='vicar-world-dist-')))
        # The one waits for mirrors, the other computes.
        threading.Thread(target=debian, daemon=True).start()
        with storage() as place:
            run(str(REPO / 'packaging/release.sh'), str(out), env={**packager(), **place})
        programs = [pathlib.Path(server.vicar_bin()).parent / name for name in ('vicar', 'vicar-demo')]
        package = str(next(out.glob('*.deb')))
        part('the release', release, c, out, programs)
        part('the example of a configuration', configuration, c)
        part('the image', image, c, out)
        part('without systemd', without_systemd, c, package)
        with Machine() as machine:
            life = Life(c, machine, package)
            for title, step in (('by hand', life.by_hand), ('installed', life.install), ('confined', life.confined),
                                ('used', life.objects), ('upgraded', life.upgrade),
                                ('pages and completions', life.pages), ('wrongly configured', life.broken),
                                ('reloaded', life.reload), ('stuck', life.watchdog), ('removed and purged', life.end)):
                part(title, step)
    return c.close()


if __name__ == '__main__':
    sys.exit(main())
