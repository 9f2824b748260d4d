"""What processes use, and what machine this is."""
import contextlib
import datetime
import glob
import os
import platform
import subprocess

import harness

TICK = os.sysconf('SC_CLK_TCK')


def tree(*pids):
    """These processes with all their descendants."""
    found = list(pids)
    for pid in found:
        for path in glob.glob('/proc/%d/task/*/children' % pid):
            with contextlib.suppress(OSError), open(path) as f:
                found += map(int, f.read().split())
    return found


def cpu(pids):
    """Seconds that these processes have used, with their children that have ended."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError), open('/proc/%d/stat' % pid) as f:
            x = f.read().rpartition(')')[2].split()
            total += sum(map(int, x[11:15]))
    return total / TICK


def memory(pids):
    """MiB that these processes hold; pages that they share count once."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError), open('/proc/%d/smaps_rollup' % pid) as f:
            total += sum(int(line.split()[1]) for line in f if line.startswith('Pss:'))
    return total / 1024


def first(path, key):
    """The value of the first line of a file in /proc that begins so."""
    with open(path) as f:
        for line in f:
            if line.startswith(key):
                return line.partition(':')[2].strip()
    return ''


def describe():
    """What a reader has to know of the machine; not its name."""
    return {'cores': os.cpu_count() or 1, 'processor': first('/proc/cpuinfo', 'model name'),
            'memory': '%.0f GiB' % (int(first('/proc/meminfo', 'MemTotal').split()[0]) / (1 << 20)),
            'system': '%s, Linux %s' % (system(), platform.release().partition('-')[0])}


def system():
    with contextlib.suppress(OSError):
        return platform.freedesktop_os_release().get('PRETTY_NAME', 'Linux')
    return 'Linux'


def now():
    """When this is measured, and what: the date and the commit."""
    def git(*words):
        return subprocess.run(['git', '-C', harness.REPO, *words], capture_output=True, text=True).stdout.strip()
    changed = ' with changes' if git('status', '--porcelain', '--', 'server', 'rules', 'Cargo.lock') else ''
    return {'date': datetime.datetime.now(datetime.UTC).strftime('%Y-%m-%d'),
            'commit': (git('rev-parse', '--short=10', 'HEAD') or 'unknown') + changed}
