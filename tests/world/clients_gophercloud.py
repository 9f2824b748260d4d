"""The story of gophercloud/main.go: what Terraform's provider, Cluster API and others in Go do.

    pytest clients_gophercloud.py                on a Vicar
    pytest clients_gophercloud.py --keystone     on a Keystone 30.0.0
"""
import os
import subprocess

import harness

harness.run_in('clients')

import server

# What a Keystone 30.0.0 does not do.
OURS = ('and is the trustor', 'makes a keypair of the trust', 'then nobody logs in with it')
METHODS = {'auth': {'methods': 'password,token,oauth1,application_credential,totp'}}


def test_gophercloud(checks, options, tmp_path):
    """gophercloud"""
    subprocess.run([os.path.join(harness.HERE, 'setup.sh'), 'gophercloud'], check=True, stdout=subprocess.DEVNULL)
    program = str(tmp_path / 'story')
    subprocess.run(['go', 'build', '-o', program, os.path.join(harness.HERE, 'gophercloud', 'main.go')],
                   check=True, env=dict(os.environ, GO111MODULE='off', GOPATH='/usr/share/gocode',
                                        GOCACHE=str(tmp_path / 'cache'), GOFLAGS='-trimpath'))
    with (server.Keystone if options.keystone else server.Vicar)(settings=METHODS) as srv:
        done = subprocess.run([program, srv.url, srv.password], capture_output=True, text=True, timeout=300)
    for line in done.stdout.splitlines():
        mark, _, what = line.partition(' ')
        if mark in ('ok', 'FAIL'):
            what, _, why = what.strip().partition(': ')
            if not (options.keystone and what in OURS):
                checks.ok('Go: ' + what, mark == 'ok', why)
        elif line:
            print(line)
    checks.equal('Go: the story is told to its end', (done.returncode, done.stderr[-2000:]), (0, ''))
