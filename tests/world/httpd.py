"""Apache httpd of Debian with a configuration of a page: what is around it, and recipes of pages."""
import configparser
import os
import re
import shutil

import harness

import server

MODULES = '/usr/lib/apache2/modules/mod_%s.so'


def blocks(page, language):
    """The blocks in this language of a page below docs/."""
    with open(os.path.join(harness.REPO, 'docs', page)) as f:
        return re.findall(r'^```%s\n(.*?)^```$' % language, f.read(), re.M | re.S)


def enabled(page):
    """The modules that a page says to enable."""
    with open(os.path.join(harness.REPO, 'docs', page)) as f:
        return re.search(r'^# a2enmod (.*)$', f.read(), re.M).group(1).split()


def replaced(text, pairs):
    """With other words in the place of the page's, each of which is there."""
    for old, new in pairs:
        if old not in text:
            raise AssertionError('the page does not have %r' % old)
        text = text.replace(old, new)
    return text


def told(block, dashboard):
    """{section: {option: value}} that a page gives the server, with this machine's Apache and this dashboard."""
    parser = configparser.RawConfigParser()
    parser.optionxform = str
    parser.read_string(replaced(block, [
        ('192.0.2.10', '127.0.0.1'), ('https://horizon.example/auth/websso/', dashboard.url)]))
    return {name: dict(parser[name]) for name in parser.sections()}


def whole(folder, at, modules, text):
    """The file around a recipe: everything that it writes is in `folder`, and it listens at `at` alone."""
    lines = ['LoadModule %s_module %s' % (name, MODULES % name) for name in ['mpm_event', 'authz_core', *modules]]
    lines += ['ServerRoot ' + folder, 'ServerName 127.0.0.1', 'DefaultRuntimeDir ' + folder,
              'PidFile %s/pid' % folder, 'ErrorLog %s/error.log' % folder, 'Mutex file:%s default' % folder,
              'Listen ' + at]
    if os.geteuid() == 0:
        lines += ['User nobody', 'Group nogroup']
    return '\n'.join(lines) + '\n' + text


def readable(path, folder):
    """A copy of a file that Apache's processes can read, which are another user's where it is started by root."""
    copy = os.path.join(folder, os.path.basename(path))
    shutil.copyfile(path, copy)
    os.chmod(copy, 0o644)
    return copy


class Httpd(server.Server):
    """Over HTTPS; `recipe` makes the configuration of the port and the path of a folder for its files."""
    kind = 'apache'
    patience = 3

    def __init__(self, modules, recipe):
        super().__init__()
        self.at = '127.0.0.1:%d' % self.port
        self.root = 'https://' + self.at
        self.url = self.root + '/identity/v3'
        self.conf = os.path.join(self.dir, 'httpd.conf')
        os.chmod(self.dir, 0o755)
        with open(self.conf, 'w') as f:
            f.write(whole(self.dir, self.at, modules, recipe(self.at, self.dir)))

    def command(self):
        return ['apache2', '-DFOREGROUND', '-f', self.conf], {}

    def ready(self):
        return server.answers(self.port)

    def errors(self):
        with open(os.path.join(self.dir, 'error.log')) as f:
            return f.read()
