#!/usr/bin/env python3
"""Instructions that the release build runs for a request, counted by valgrind, against the committed figures.

    counts.py [NAME]...              all, or those whose names have one of these words
    VICAR_BLESS=1 counts.py          writes counts.txt, whose difference is then reviewed like code

A path may take 10 % more than its figure in counts.txt; one that takes 10 % less is told, so that its figure is made
anew. Instructions do not hang on the clock, nor on what else the machine does. They do on the compiler and on the
kind of processor, which counts.txt names: when these are others, small differences mean nothing.

A server serves each path N times and, begun anew on a copy of the same data, 3 N times; the difference is what 2 N
requests took, without its start and its end. The functions of the rules are called in a program of their own.
"""
import concurrent.futures
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'world'))
import harness

harness.run_in('clients')

import api
import server
import sign

FIGURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'counts.txt')
MARGIN = 0.10
MARGIN_ELSEWHERE = 0.25
PW = 'a password of the counts'
TRUSTS = 3                        # links of the chain
WARM = 10                         # requests before it is counted, of each path


def counted(command, to):
    """The command that runs one and writes how many instructions it took."""
    return ['valgrind', '--quiet', '--tool=cachegrind', '--cache-sim=no', '--cachegrind-out-file=' + to, *command]


def instructions(path):
    with open(path) as f:
        return int(re.search(r'^summary: (\d+)', f.read(), re.M).group(1))


class Counted(server.Vicar):
    """A server under valgrind, on a copy of another's data."""
    startup = 120
    patience = 60

    def __init__(self, of):
        super().__init__()
        shutil.copytree(of.data, self.data)
        self.out = os.path.join(self.dir, 'counts')

    def command(self):
        command, more = super().command()
        return counted(command, self.out), more

    def count(self, requests):
        """How many instructions it takes to start, to serve these, and to end."""
        with self:
            connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=120)
            for method, path, headers, body, wanted in requests:
                connection.request(method, path, body, headers)
                answer = connection.getresponse()
                text = answer.read()
                if answer.status != wanted:
                    raise RuntimeError('%s %s: %d %s' % (method, path, answer.status, text[:300]))
            connection.close()
            self.halt()
            return instructions(self.out)


class Scene:
    """What is there before it is counted, and the requests of each path."""

    def __init__(self, vicar):
        a = self.api = api.Api(vicar.url)
        t = a.admin(vicar.password)
        roles = a.role_ids(t)
        p = self.project = a.make(t, 'project', name='counted', domain_id='default')

        def person(name, *grants):
            user = a.make(t, 'user', name=name, domain_id='default', password=PW)
            for role in grants:
                a.grant(t, roles[role], user, p)
            return user

        people = [person('alice', 'member')] + [person('agent-%d' % n) for n in range(TRUSTS)]
        self.people = people
        self.service = a.login(person('svc', 'service'), PW, api.project(p))
        self.own = bearer = a.login(people[0], PW, api.project(p))
        for n in range(TRUSTS):
            more = {'allow_redelegation': True}
            if n == 0:
                more['redelegation_count'] = TRUSTS
            trust = a.trust(bearer, people[0], people[n + 1], p, ['member'], **more)
            last = a.login(people[n + 1], PW)
            bearer = a.exchange(last, api.trust(trust['id']))
        self.trust, self.last, self.trusted = trust['id'], last, bearer
        self.pair = a.post('/users/%s/credentials/OS-EC2' % people[0], self.own,
                           {'tenant_id': p}).want(201).body['credential']

    def fresh(self, n):
        """Tokens that nobody has seen."""
        return [self.api.exchange(self.own, api.project(self.project)) for _ in range(n)]

    def requests(self):
        """Of each path: its name, how many are counted, and what makes one of them."""
        def get(path, wanted=200, **headers):
            return 'GET', path, {'Accept': 'application/json', **headers}, None, wanted

        def post(path, body, wanted, token=None):
            headers = {'Accept': 'application/json', 'Content-Type': 'application/json'}
            if token:
                headers['X-Auth-Token'] = token.id
            return 'POST', path, headers, json.dumps(body), wanted

        def validate(subject):
            return get('/v3/auth/tokens', **{'X-Auth-Token': self.service.id, 'X-Subject-Token': subject.id})

        fresh = self.fresh(3 * 100 + WARM)
        pair = self.pair['access'], self.pair['secret']
        by_token = {'auth': {'identity': {'methods': ['token'], 'token': {'id': self.last.id}},
                             'scope': api.trust(self.trust)}}
        trust = {'trust': {'trustor_user_id': self.people[0], 'trustee_user_id': self.people[1],
                           'project_id': self.project, 'impersonation': True, 'roles': [{'name': 'member'}]}}
        return [
            ('GET /v3', 5000, lambda _: get('/v3')),
            ('validate, project token', 200, lambda _: validate(self.own)),
            ('validate, trust token at depth 3', 200, lambda _: validate(self.trusted)),
            ('validate, first sight', 100, lambda n: validate(fresh[n])),
            ('issue trust-scoped by token', 200, lambda _: post('/v3/auth/tokens', by_token, 201)),
            ('ec2tokens', 200, lambda _: post('/v3/ec2tokens', sign.ec2_v4_header(*pair), 200, self.service)),
            ('s3tokens', 200, lambda _: post('/v3/s3tokens', sign.s3_v4(*pair), 200, self.service)),
            ('trust create', 100, lambda _: post('/v3/OS-TRUST/trusts', trust, 201, self.own)),
        ]


def of_server(vicar, n, one):
    """The instructions of a request."""
    def count(n):
        counting = Counted(vicar)
        try:
            return counting.count([one(i) for i in range(n)])
        finally:
            counting.stop()
    return (count(3 * n + WARM) - count(n + WARM)) / (2 * n)


def of_rules(program, path, n=2000):
    """The instructions of a call."""
    def count(n):
        with tempfile.NamedTemporaryFile() as f:
            # What valgrind says of the machine's caches is of no use here.
            done = subprocess.run(counted([program, path, str(n)], f.name), stderr=subprocess.PIPE, text=True)
            if done.returncode:
                raise RuntimeError('decide %s: status %d\n%s' % (path, done.returncode, done.stderr))
            return instructions(f.name)
    return (count(3 * n) - count(n)) / (2 * n)


def built():
    """The program that calls the rules."""
    made = subprocess.run(['cargo', 'build', '--locked', '--release', '-p', 'vicar-rules', '--bench', 'decide',
                           '--message-format=json'], cwd=harness.REPO, check=True, stdout=subprocess.PIPE, text=True)
    for line in made.stdout.splitlines():
        about = json.loads(line)
        if about.get('executable') and about['target']['name'] == 'decide':
            return about['executable']
    raise RuntimeError('cargo made no `decide`')


def made_by():
    """The compiler and the processor."""
    rustc = subprocess.run(['rustc', '--version'], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    with open('/proc/cpuinfo') as f:
        model = re.search(r'^model name\s*: (.*)', f.read(), re.M)
    return '%s; %s' % (rustc, model.group(1) if model else os.uname().machine)


def read():
    """The committed figures, by their names, and what they were made with."""
    figures, where = {}, None
    with open(FIGURES) as f:
        for line in f:
            if line.startswith('# made with '):
                where = line[len('# made with '):].strip()
            elif not line.startswith('#') and line.strip():
                name, _, figure = line.rpartition(' ')
                figures[name.strip()] = int(figure.replace(',', ''))
    return figures, where


def write(found):
    with open(FIGURES, 'w') as f:
        f.write('# Instructions of a request or a call, as tests/bench/counts.py counts them.\n')
        f.write('# made with %s\n' % made_by())
        for name, count in found.items():
            f.write('%-40s %15s\n' % (name, f'{round(count):,}'))


def compare(checks, found):
    figures, where = read()
    margin = MARGIN
    if where != made_by():
        # Another compiler, or a processor for which the C library takes other ways.
        margin = MARGIN_ELSEWHERE
        print('The figures were made with %s; this is %s: %d %% more are let pass.' % (where, made_by(), 100 * margin))
    for name, count in found.items():
        figure = figures.get(name)
        if figure is None:
            checks.ok('%s has a figure' % name, False, 'VICAR_BLESS=1 writes one')
            continue
        change = count / figure - 1
        checks.ok('%-35s %12s, %+.1f %%' % (name, f'{round(count):,}', 100 * change), change <= margin,
                  'more than %d %% above %s' % (100 * margin, f'{figure:,}'))
        if change < -MARGIN:
            print('      it became less: VICAR_BLESS=1 writes the new figure')
    if len(sys.argv) == 1:
        checks.equal('counts.txt has no others', sorted(set(figures) - set(found)), [])


def main():
    subprocess.run([os.path.join(harness.HERE, 'setup.sh'), 'counts'], check=True, stdout=subprocess.DEVNULL)
    words = sys.argv[1:]
    program = built()
    checks = harness.Checks()
    with server.Vicar() as vicar:
        paths = Scene(vicar).requests()
        vicar.halt()
        calls = {name: (of_server, vicar, n, one) for name, n, one in paths}
        calls['rules: a chain of depth 4'] = (of_rules, program, 'chain')
        calls['rules: a decision of the policy'] = (of_rules, program, 'policy')
        chosen = {name: call for name, call in calls.items() if not words or any(w in name for w in words)}
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            under_way = {name: pool.submit(*call) for name, call in chosen.items()}
            found = {name: future.result() for name, future in under_way.items()}
    if os.environ.get('VICAR_BLESS'):
        write({**(read()[0] if words else {}), **found})
        for name, count in found.items():
            checks.ok('%s: %s' % (name, f'{round(count):,}'), True)
    else:
        compare(checks, found)
    return checks.close()


if __name__ == '__main__':
    sys.exit(main())
