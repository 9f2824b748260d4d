"""Requests at a steady pace, by the example `pace`, which says what that is (server/examples/pace.rs)."""
import json
import statistics
import subprocess
import urllib.parse

import sites


def paced(url, requests, rate, seconds, status=200):
    """(milliseconds of each request; how much later than it was due each was sent, by the generator's own fault)"""
    text = b''.join(b'%d\n%s' % (len(request), request) for request in requests)
    done = subprocess.run([sites.example('pace'), '--connect', urllib.parse.urlsplit(url).netloc, '--rate', str(rate),
                           '--seconds', str(seconds), '--status', str(status)], input=text, capture_output=True)
    if done.returncode:
        raise RuntimeError('pace: ' + done.stderr.decode()[-300:])
    found = json.loads(done.stdout)
    return [[micros / 1e3 for micros in found[name]] for name in ('times', 'late')]


def figures(times, late):
    """p50 and p99; `late` is the 99th percentile of the generator's own delay, which is in both."""
    cuts = statistics.quantiles(times, n=100)
    return {'p50': cuts[49], 'p99': cuts[98], 'late': statistics.quantiles(late, n=100)[98]}
