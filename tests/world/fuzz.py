#!/usr/bin/env python3
"""The OpenAPI document, driven by Schemathesis against a real server.

    fuzz.py [--requests N] [--seed N]

Requests are made from docs/openapi.json, right ones and wrong ones, and sent by personas of every kind (fuzz_hooks.py).
No answer is a 5xx, each has a status and a body that the document has for it, and what the document does not allow
is refused. The same seed makes the same requests. The short form of ./test is what is sent without --requests; the
long one, of which a release is made:

    fuzz.py --requests 50000
"""
import argparse
import json
import os
import subprocess
import tempfile
import xml.etree.ElementTree

import harness

if __name__ == '__main__':
    harness.run_in('fuzz')

import server

DOCUMENT = os.path.join(harness.REPO, 'docs/openapi.json')
CHECKS = ('not_a_server_error', 'status_code_conformance', 'content_type_conformance', 'response_headers_conformance',
          'response_schema_conformance', 'negative_data_rejection', 'missing_required_header', 'unsupported_method')
SHORT = 1500                      # requests


def run(v, folder, requests, seed):
    """(status, counts, report, output) of one run of about so many requests."""
    with open(DOCUMENT) as f:
        operations = sum(len(set(item) & {'get', 'head', 'put', 'post', 'patch', 'delete'})
                         for item in json.load(f)['paths'].values())
    counts, report = os.path.join(folder, 'counts.json'), os.path.join(folder, 'report.xml')
    more = {'FUZZ_URL': v.url, 'FUZZ_PASSWORD': v.password, 'FUZZ_SEED': str(seed), 'FUZZ_COUNTS': counts,
            'SCHEMATHESIS_HOOKS': 'fuzz_hooks', 'PYTHONPATH': harness.HERE}
    done = subprocess.run(
        [harness.env_bin('fuzz', 'schemathesis'), '--no-color', 'run', DOCUMENT, '--url', v.root,
         '--checks', ','.join(CHECKS), '--phases', 'fuzzing', '--max-examples', str(max(1, requests // operations)),
         '--seed', str(seed), '--generation-database', 'none', '--continue-on-failure', '--no-shrink',
         '--generation-with-security-parameters', 'false', '--suppress-health-check', 'all',
         '--warnings', 'off', '--report', 'junit', '--report-junit-path', report],
        cwd=folder, env=dict(os.environ, **more), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    with open(counts) as f:
        counts = json.load(f)
    return done.returncode, counts, xml.etree.ElementTree.parse(report), done.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--requests', type=int, default=SHORT)
    parser.add_argument('--seed', type=int, default=1)
    args = parser.parse_args()
    checks = harness.Checks()
    settings = {'identity': {'password_hash_rounds': '4'}}
    with server.Vicar(settings=settings) as v, tempfile.TemporaryDirectory() as folder:
        sent, seed = 0, args.seed
        # Some operations have few requests that differ: what is missing then is sent with the next seeds.
        while sent < args.requests:
            status, counts, report, output = run(v, folder, args.requests - sent, seed)
            print(output)
            for case in report.iter('testcase'):
                wrong = [e for kind in ('failure', 'error') for e in case.iter(kind)]
                checks.ok(case.get('name'), not wrong, '; '.join(e.get('type') or '' for e in wrong))
            print('seed %d: %s' % (seed, ', '.join('%s %s' % (n, name) for name, n in sorted(counts.items()))))
            checks.equal('an answer that says that the server failed', sum(
                n for name, n in counts.items() if name.startswith('status 5')), 0)
            checks.ok('Schemathesis found nothing', status == 0, 'status %d' % status)
            sent, seed = sent + counts['requests'], seed + 1
            if args.requests <= SHORT or not counts['requests']:
                break
        checks.ok('%d requests were answered' % sent, sent >= min(args.requests, SHORT) / 2)
        checks.ok('the server lives', v.ready())
    return checks.close()


if __name__ == '__main__':
    raise SystemExit(main())
