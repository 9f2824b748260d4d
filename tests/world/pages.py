#!/usr/bin/env python3
"""The pages of docs/ as a site, and the commands on them.

The site is built by MkDocs without a warning; every link and anchor in it leads somewhere, and a page fetches nothing
from elsewhere. Pages look on it as they look on a git host: the same lists, tables, blocks and headings.

Every ```console block of the pages in RUN is run: `$ ` begins a command, `> ` goes on with it, the rest is what it
prints. The commands of a page run in one shell, from top to bottom, in an empty folder, against a server that the page
starts itself. What is printed must be as on the page, but for ids, times, tokens and the port. A command whose comment
begins with `refused` must fail, every other one must not.

Every ```sh block of delegation.md that calls curl is run by itself, with people of its own; each of its calls must be
answered without an error.

    pages.py                          everything
    pages.py --only build
    VICAR_BLESS=1 pages.py --only run      writes what the commands print into the pages
"""
import argparse
import collections
import html.parser
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.parse
import urllib.request
import uuid

import harness

harness.run_in('site')

import markdown_it

import server

DOCS = os.path.join(harness.REPO, 'docs')
RUN = ['tour.md', 'by-example.md', 'logins.md']
BLOCK = re.compile(r'^```console\n(.*?)^```$', re.M | re.S)
PORT = '127.0.0.1:5000'
# Installs what VICAR_BIN is already.
NOT_RUN = 'cargo install --locked --path server'
SECONDS = 300


def read(name):
    with open(os.path.join(DOCS, name)) as f:
        return f.read()


# ---- the commands


class Shell:
    """A bash in an empty folder. It and what it started end with it."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix='vicar-world-page-')
        self.home = os.path.join(self.dir, 'work')
        tools = os.path.join(self.dir, 'bin')
        os.mkdir(self.home)
        os.mkdir(tools)
        os.symlink(server.vicar_bin(), os.path.join(tools, 'vicar'))
        keep = {k: v for k, v in os.environ.items() if not k.startswith(('OS_', 'VICAR_'))}
        self.process = subprocess.Popen(
            ['bash', '--noprofile', '--norc'], cwd=self.home, text=True, bufsize=1, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=dict(keep, PATH=tools + ':' + os.environ['PATH'], LC_ALL='C.UTF-8', COLUMNS='120',
                     PYTHONWARNINGS='ignore',
                     # The versions that the other tests have.
                     PIP_CONSTRAINT=os.path.join(harness.HERE, 'requirements-clients.txt')))
        server._keeper.tell('+', self.process.pid, self.dir)

    def run(self, command):
        """(what it prints, its status)"""
        script = os.path.join(self.dir, 'command')
        with open(script, 'w') as f:
            f.write(command + '\n')
        end = '==== end of the command '
        self.process.stdin.write('source %s < /dev/null; status_of_it=$?; echo; echo "%s$status_of_it"\n'
                                 % (script, end))
        timer = threading.Timer(SECONDS, self.stop)
        timer.start()
        lines = []
        try:
            for line in self.process.stdout:
                if line.startswith(end):
                    # The empty line is ours, unless the output did not end its last one.
                    text = ''.join(lines)[:-1]
                    return text.rstrip('\n'), int(line[len(end):])
                lines.append(line)
        finally:
            timer.cancel()
        raise RuntimeError('the shell ended in: %s\n%s' % (command, ''.join(lines)))

    def stop(self):
        try:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait(15)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        server._keeper.tell('-', self.process.pid)
        shutil.rmtree(self.dir, ignore_errors=True)


def steps(block):
    """The commands of a block, each with the lines that it prints."""
    found = []
    for line in block.splitlines():
        if line.startswith('$ '):
            found.append(([line], []))
        elif line.startswith('> '):
            found[-1][0].append(line)
        else:
            found[-1][1].append(line)
    return found


def same(text):
    """A text without what is another at each run."""
    for pattern, word in [
            (r'gAAAA[\w-]+=*', 'TOKEN'), (r'\b[0-9a-f]{32}\b', 'ID'),
            (r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+0000)?', 'TIME'),
            (r'req-[0-9a-f-]{36}', 'REQUEST'), (r' +$', '')]:
        text = re.sub(pattern, word, text, flags=re.M)
    return text


def run_page(c, name):
    """the commands of a page, run from top to bottom"""
    text = read(name)
    here = '127.0.0.1:%d' % server.free_port()
    bless = os.environ.get('VICAR_BLESS')
    shell = Shell()
    done = []
    try:
        for block in BLOCK.findall(text):
            out = []
            for lines, printed in steps(block):
                command = '\n'.join(line[2:] for line in lines)
                shown = '%s: %s' % (name, lines[0])
                if command == NOT_RUN:
                    c.skip(shown, 'the tests have built it')
                    out += lines + printed
                    continue
                command = command.replace('vicar serve', 'vicar serve --listen %s --metrics-listen off' % here)
                got, status = shell.run(command.replace(PORT, here))
                got = got.replace(here, PORT).replace(shell.home, '/home/you')
                refused = re.search(r'  # refused\b', lines[-1]) is not None
                c.ok('%s: %s' % (shown, 'is refused' if refused else 'runs'), (status != 0) == refused,
                     'status %d: %s' % (status, got[-600:]))
                if not bless:
                    c.ok('%s: prints what the page says' % shown, same(got) == same('\n'.join(printed)),
                         '\n%s\n---- the page:\n%s' % (got, '\n'.join(printed)))
                # What has not changed keeps its ids and times.
                is_same = same(got) == same('\n'.join(printed))
                out += lines + (printed if is_same else got.splitlines())
            done.append('\n'.join(out) + '\n')
    finally:
        shell.stop()
    if bless and len(done) == len(BLOCK.findall(text)):
        blocks = iter(done)
        with open(os.path.join(DOCS, name), 'w') as f:
            f.write(BLOCK.sub(lambda _: '```console\n%s```' % next(blocks), text))


# ---- examples


class Stage:
    """A server, and for each example the people that it speaks of."""

    def __init__(self, v):
        self.v = v
        scope = {'project': {'name': 'admin', 'domain': {'id': 'default'}}}
        self.admin = self.login({'name': 'admin', 'domain': {'id': 'default'}, 'password': v.password}, scope)
        self.member = self.call('GET', '/roles?name=member', self.admin)['roles'][0]['id']

    def call(self, method, path, token=None, body=None, whole=False):
        headers = {'Content-Type': 'application/json', 'X-Auth-Token': token or ''}
        data = json.dumps(body).encode() if body else None
        request = urllib.request.Request(self.v.url + path, method=method, data=data, headers=headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
            return answer.headers if whole else json.loads(text or '{}')

    def login(self, user, scope):
        methods = {'methods': ['password'], 'password': {'user': user}}
        body = {'auth': {'identity': methods, 'scope': scope}}
        return self.call('POST', '/auth/tokens', body=body, whole=True)['X-Subject-Token']

    def make(self, kind, name):
        body = {kind: dict({'name': name + uuid.uuid4().hex, 'domain_id': 'default'},
                           **({'password': 'pw'} if kind == 'user' else {}))}
        return self.call('POST', '/%ss' % kind, self.admin, body)[kind]['id']

    def variables(self, section):
        """What the page says of its variables, as an environment."""
        env = {name.upper(): self.make('user', name) for name in ('alice', 'bob', 'carol', 'erin', 'heat')}
        env['DEMO'] = demo = self.make('project', 'demo')
        for name in ('ALICE', 'ERIN'):
            self.call('PUT', '/projects/%s/users/%s/roles/%s' % (demo, env[name], self.member), self.admin)

        def login(name, scope):
            return self.login({'id': env[name], 'password': 'pw'}, scope)

        env['ADMIN_TOKEN'] = self.admin
        env['ALICES_TOKEN'] = login('ALICE', {'project': {'id': demo}})
        env['ERINS_TOKEN'] = login('ERIN', {'project': {'id': demo}})
        env['BOBS_TOKEN'] = login('BOB', 'unscoped')
        env['TRUST'] = self.call('POST', '/OS-TRUST/trusts', env['ALICES_TOKEN'], {'trust': {
            'trustor_user_id': env['ALICE'], 'trustee_user_id': env['BOB'], 'project_id': demo, 'impersonation': True,
            'roles': [{'name': 'member'}], 'allow_redelegation': True}})['trust']['id']
        env['TOKEN'] = login('BOB', {'OS-TRUST:trust': {'id': env['TRUST']}})
        return dict(env, OS_AUTH_URL=self.v.url)


# An answer that is an error ends the block.
PRELUDE = 'set -eu -o pipefail\ncurl() { command curl -sS --fail-with-body "$@"; echo; }\n'


def run_examples(c):
    """the examples of delegation.md, each by itself"""
    text = read('delegation.md')
    found = [(m.start(), m.group(1)) for m in re.finditer(r'^##+ (.+)$', text, re.M)]
    blocks = [m for m in re.finditer(r'^```sh\n(.*?)^```$', text, re.M | re.S) if 'curl ' in m.group(1)]
    c.ok('there are %d examples' % len(blocks), len(blocks) > 10)
    with server.Vicar() as v:
        stage = Stage(v)
        for block in blocks:
            section = [title for at, title in found if at < block.start()][-1]
            # An end that has come makes an example wrong, and nothing else.
            script = re.sub(r'("expires_at": ")20\d\d', r'\g<1>2199', block.group(1))
            done = subprocess.run(['bash', '-c', PRELUDE + script], env=dict(os.environ, **stage.variables(section)),
                                  text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS)
            c.ok('delegation.md, %s: %s' % (section, block.group(1).splitlines()[0][:70]), done.returncode == 0,
                 done.stdout[-900:])


def check_commands(c):
    """what is run, and what is not"""
    known = {command for name in RUN for block in BLOCK.findall(read(name)) for lines, _ in steps(block)
             for command in lines}
    for block in BLOCK.findall(read('index.md')):
        for lines, _ in steps(block):
            c.ok('index.md: %s is a command of the tour' % lines[0],
                 any(k.startswith(lines[0]) for k in known))


def vicar_help(*words):
    """The help of a command of Vicar's, or None if there is none."""
    done = subprocess.run([server.vicar_bin(), *words, '--help'], text=True, capture_output=True)
    return done.stdout if done.returncode == 0 else None


def check_vicar(c):
    """what the pages call `vicar` with"""
    found = collections.defaultdict(set)
    for folder, _, files in os.walk(DOCS):
        for name in files:
            if name.endswith('.md'):
                text = read(os.path.join(folder, name))
                code = re.findall(r'^```\w+\n(.*?)^```', text, re.M | re.S) + re.findall(r'`([^`\n]+)`', text)
                for line in '\n'.join(code).splitlines():
                    if line.strip().startswith('use_backend '):      # HAProxy's own language
                        continue
                    for words in re.findall(r'(?:^|[\s=/])vicar ((?:[a-z]+(?= |$) ?){1,2})([^|&;#]*)', line):
                        found[tuple(words[0].split())] |= set(re.findall(r'--[a-z][a-z-]*', words[1]))
    c.ok('they call %d commands' % len(found), len(found) > 5)
    for words, options in sorted(found.items()):
        text = vicar_help(*words)
        c.ok('vicar %s: a command, with all of these options' % ' '.join(words),
             text and all(re.search(re.escape(o) + r'\b(?!-)', text) for o in options), sorted(options))


# ---- the site


class Page(html.parser.HTMLParser):
    """Of a built page: its anchors, its links, what it fetches, and how many of each kind of block it has."""
    FETCHED = {'script': 'src', 'img': 'src', 'source': 'src', 'iframe': 'src', 'object': 'data'}

    def __init__(self, text, only=None):
        super().__init__()
        self.ids, self.links, self.fetched = set(), [], []
        self.kinds = collections.Counter()
        self.only, self.inside = only, only is None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        at = dict(attrs)
        if at.get('id'):
            self.ids.add(at['id'])
        if tag == self.only:
            self.inside = True
        if tag == 'a' and at.get('href'):
            self.links.append(at['href'])
        elif tag == 'link' and set((at.get('rel') or '').split()) & {'stylesheet', 'icon', 'preload', 'preconnect',
                                                                     'modulepreload', 'dns-prefetch'}:
            self.fetched.append(at.get('href') or '')
        elif self.FETCHED.get(tag) in at:
            self.fetched.append(at[self.FETCHED[tag]])
        if self.inside and tag in ('li', 'table', 'tr', 'td', 'pre', 'img', 'h1', 'h2', 'h3', 'h4', 'blockquote'):
            self.kinds[tag] += 1

    def handle_endtag(self, tag):
        if tag == self.only:
            self.inside = False


def build(c, to):
    done = subprocess.run([harness.env_bin('site', 'mkdocs'), 'build', '--strict', '--clean', '-f',
                           os.path.join(harness.REPO, 'mkdocs.yml'), '-d', to], text=True,
                          env=dict(os.environ, NO_MKDOCS_2_WARNING='1', PYTHONDONTWRITEBYTECODE='1'),
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return c.ok('mkdocs build --strict', done.returncode == 0 and 'WARNING' not in done.stdout, done.stdout[-4000:])


def check_site(c):
    """the site is built, and nothing on it leads nowhere"""
    with tempfile.TemporaryDirectory(prefix='vicar-world-site-') as to:
        if not build(c, to):
            return
        pages = {}
        for folder, _, files in os.walk(to):
            for name in files:
                path = os.path.join(folder, name)
                if name.endswith('.html') and name != '404.html':
                    with open(path) as f:
                        pages[path] = Page(f.read())
        c.ok('it has a page for each of docs/', len(pages) == sum(
            name.endswith('.md') for _, _, files in os.walk(DOCS) for name in files), len(pages))
        lost, foreign, seen = [], [], 0
        for path, page in pages.items():
            for link in page.links + page.fetched:
                url = urllib.parse.urlsplit(link)
                if url.scheme or url.netloc:
                    if link in page.fetched and url.scheme != 'data':
                        foreign.append((path, link))
                    continue
                seen += 1
                target = os.path.normpath(os.path.join(os.path.dirname(path), urllib.parse.unquote(url.path)))
                target = path if not url.path else target
                if os.path.isdir(target):
                    target = os.path.join(target, 'index.html')
                anchor = urllib.parse.unquote(url.fragment)
                if not os.path.isfile(target) or anchor and target in pages and anchor not in pages[target].ids | {
                        '__codelineno'} and not anchor.startswith('__'):
                    lost.append((os.path.relpath(path, to), link))
        c.ok('%d links and files lead somewhere' % seen, seen > 500 and not lost, lost[:10])
        c.ok('no page fetches anything from elsewhere', not foreign, foreign[:10])
        sheets = []
        for folder, _, files in os.walk(to):
            for name in files:
                if name.endswith('.css'):
                    with open(os.path.join(folder, name)) as f:
                        sheets += re.findall(r'(?:url\(|@import )["\']?((?:https?:)?//[^"\')]+)', f.read())
        c.ok('nor does a style sheet', not sheets, sheets[:10])
        compare(c, to)


def compare(c, to):
    """Does a page have the same blocks here as by the rules that git hosts read it by?"""
    parser = markdown_it.MarkdownIt('commonmark').enable('table')
    for folder, _, files in os.walk(DOCS):
        for name in sorted(files):
            path = os.path.relpath(os.path.join(folder, name), DOCS)
            if not name.endswith('.md'):
                continue
            built = re.sub(r'(^|/)index/', r'\1', path.removesuffix('.md') + '/') + 'index.html'
            with open(os.path.join(to, built)) as f:
                site = Page(f.read(), 'article').kinds
            git = Page(parser.render(read(path))).kinds
            if '<!-- routes -->' in read(path):
                for kind in ('table', 'tr', 'td'):
                    site[kind] = git[kind]
            c.equal('%s looks the same on a git host' % path, site, git)


PARTS = {'build': [check_site, check_commands, check_vicar], 'examples': [run_examples], 'run': []}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--only', nargs='*', choices=PARTS, default=list(PARTS))
    parser.add_argument('--page', nargs='*', choices=RUN, default=RUN)
    options = parser.parse_args()
    checks = harness.Checks()
    for name in options.only:
        for function in PARTS[name]:
            checks.part('%s: %s' % (name, function.__doc__), function, checks)
    if 'run' in options.only:
        for page in options.page:
            checks.part('%s: %s' % (page, run_page.__doc__), run_page, checks, page)
    return checks.close()


if __name__ == '__main__':
    sys.exit(main())
