#!/usr/bin/env python3
"""Where the time of a request goes: a flame graph of the server while an operation of the benchmark runs.

    VICAR_BIN=target/release/vicar flame.py OPERATION FILE.svg [--engine sqlite] [--seconds 6] [--without-memory]

It needs `perf` (Debian's linux-perf) and a program whose symbols are there:

    cargo rustc --release -p vicar --bin vicar -- -C strip=none

Width is the share of the samples, height the depth of the calls from the connection on; what has less than a hundredth
is not drawn. The kernel's functions are drawn in another colour.
"""
import argparse
import collections
import contextlib
import html
import os
import re
import subprocess
import sys
import tempfile
import threading

sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'world'))
import harness

if __name__ == '__main__':
    harness.run_in('clients')

import generate
import server
import sites
import stores
from operations import OPERATIONS
from scene import Scene

BEGIN = 'vicar::http::serve::connection'      # what is above this is the runtime's
LEAST = 0.01
WIDE, ROW = 1000, 15


def short(symbol):
    """A function's name without its types and the parts that the compiler adds."""
    name, before = re.sub(r'\+0x[0-9a-f]+$', '', symbol), None
    while name != before:
        before = name
        name = re.sub(r'^<([^<>]*) as [^<>]*>', r'\1', name)
        name = re.sub(r'(?:::)?(?<!^)<[^<>]*>', '', name)
    return re.sub(r'::\{\{closure\}\}|\.isra\.\d+|\.constprop\.\d+|\.part\.\d+', '', name) or symbol


def stacks(data):
    """{(function, ...) from the outermost on: samples}; the kernel's have a `*` before them."""
    text = subprocess.run(['perf', 'script', '-i', data, '-F', 'ip,sym,dso'], check=True, capture_output=True,
                          text=True).stdout
    found = collections.Counter()
    for sample in text.split('\n\n'):
        names = []
        for line in sample.splitlines():
            m = re.match(r'\s*[0-9a-f]+ (.*) \((.*)\)$', line)
            if m:
                name = short(m.group(1))
                names.append('*' + name if 'kernel' in m.group(2) else name)
        names.reverse()
        if BEGIN in names:
            names = names[names.index(BEGIN):]
            found[tuple(n for n, before in zip(names, [None, *names]) if n != before)] += 1
        elif names:
            found['other threads and the runtime',] += 1
    return found


def tree(found):
    root = {}
    for stack, count in found.items():
        level = root
        for name in stack:
            node = level.setdefault(name, [0, {}])
            node[0] += count
            level = node[1]
    return root


def drawn(root, title):
    total = sum(node[0] for node in root.values())
    boxes = []

    def place(level, left, depth):
        for name, (count, below) in sorted(level.items(), key=lambda x: x[0].lstrip('*')):
            share = count / total
            if share >= LEAST:
                boxes.append((left, depth, share, name))
                place(below, left, depth + 1)
            left += share
    place(root, 0, 0)
    deepest = max(depth for _, depth, _, _ in boxes) + 1
    high = deepest * ROW + 24
    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="monospace" font-size="10">'
           % (WIDE, high), '<text x="4" y="14" font-size="12">%s</text>' % html.escape(title)]
    for left, depth, share, name in boxes:
        x, y, width = left * WIDE, high - (depth + 1) * ROW, share * WIDE
        plain = html.escape(name.lstrip('*'))
        colour = '#9db8d2' if name.startswith('*') else '#f0b37e'
        out.append('<g><title>%s: %.1f %%</title><rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s" '
                   'stroke="#fff" stroke-width=".4"/>' % (plain, 100 * share, x, y, width, ROW, colour))
        fits = int(width / 6.1) - 1
        if fits > 2:
            label = name.lstrip('*')
            label = label if len(label) <= fits else '…' + label[1 - fits:]
            out.append('<text x="%.1f" y="%d">%s</text>' % (x + 2, y + 11, html.escape(label)))
        out.append('</g>')
    return '\n'.join([*out, '</svg>', ''])


def sampled(target, op, seconds):
    """The stacks of the server's threads while the operation runs."""
    work = op.make(target, 30_000)
    driver = threading.Thread(target=generate.wrk, args=(target, work, seconds + 3, 8))
    driver.start()
    with tempfile.NamedTemporaryFile() as data:
        subprocess.run(['perf', 'record', '--call-graph', 'dwarf,65528', '-F', '299', '-o', data.name,
                        '-p', str(target.server.process.pid), '--', 'sleep', str(seconds)], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        driver.join()
        return stacks(data.name)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('operation', choices=OPERATIONS)
    p.add_argument('file')
    p.add_argument('--engine', choices=stores.ENGINES, default='sqlite')
    p.add_argument('--seconds', type=int, default=6)
    p.add_argument('--without-memory', action='store_true')
    options = p.parse_args()
    sites.needed()
    stores.available(options.engine)
    with contextlib.ExitStack() as stack:
        t = sites.start(stack, options.engine, ['vicar'], rounds=4)[0]
        if options.without_memory:
            t.server.halt()
            server.change_ini(t.server.config, {'cache': {'enabled': 'false'}})
            t.server.start()
        t.scene = Scene(t)
        found = sampled(t, OPERATIONS[options.operation], options.seconds)
    title = '%s on %s, %s memory: %d samples' % (
        options.operation, options.engine, 'without' if options.without_memory else 'with', sum(found.values()))
    with open(options.file, 'w') as f:
        f.write(drawn(tree(found), title))
    print(title)
    return 0 if found else 1


if __name__ == '__main__':
    sys.exit(main())
