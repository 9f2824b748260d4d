"""The few things that every script here shares: environments and checks."""
import argparse
import contextlib
import os
import subprocess
import sys
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
REPO = os.path.dirname(os.path.dirname(HERE))
CACHE = os.environ.get('VICAR_CACHE') or os.path.join(REPO, '.cache')


def env_bin(env, program):
    """The path of a program of one of setup.sh's environments, made if need be."""
    path = os.path.join(CACHE, env, 'bin', program)
    stamp = os.path.join(CACHE, env, '.stamp')
    if not os.path.exists(stamp) or env not in env_bin.ready:
        if not os.path.exists(stamp):
            print('making the environment `%s`' % env, file=sys.stderr)
        subprocess.run([os.path.join(HERE, 'setup.sh'), env], check=True,
                       stdout=subprocess.DEVNULL)
        env_bin.ready.add(env)
    return path


env_bin.ready = set()


def run_in(env):
    """Go on in the Python of that environment (the script starts again in it)."""
    python = env_bin(env, 'python')
    if os.path.realpath(sys.prefix) != os.path.realpath(os.path.join(CACHE, env)):
        os.execv(python, [python] + sys.argv)


class Checks:
    """Prints one line a check, and `N passed, M failed` at the end.

    Nothing stops at a failed check, except that an exception inside a `part`
    ends that part (and counts as one failure).
    """

    def __init__(self):
        self.passed = 0
        self.failures = []
        self.where = ''

    def ok(self, what, condition, detail=''):
        if condition:
            self.passed += 1
            print('ok    %s' % what, flush=True)
        else:
            self.failures.append((self.where, what))
            print('FAIL  %s%s' % (what, ': %s' % (detail,) if detail != '' else ''),
                  flush=True)
        return bool(condition)

    def equal(self, what, got, want):
        return self.ok(what, got == want, 'got %r, want %r' % (got, want))

    def status(self, what, answer, *want):
        """The answer of an `api.Api` call has one of these statuses."""
        good = answer.status in want
        if not good:
            what = '%s [%s %s]' % (what, answer.method, answer.path)
        return self.ok(what, good, 'got %s, want %s: %s' % (
            answer.status, ' or '.join(map(str, want)), answer.text[:300]))

    def raises(self, what, call, *kinds):
        """The call fails with an exception that is one of these classes."""
        try:
            got = call()
        except kinds as e:
            return self.ok('%s (%s)' % (what, type(e).__name__), True)
        except Exception as e:
            return self.ok(what, False, 'raised %s: %s' % (type(e).__name__, e))
        return self.ok(what, False, 'went through: %r' % (got,))

    def skip(self, what, why):
        print('skip  %s: %s' % (what, why), flush=True)

    def part(self, title, function, *args):
        self.where = title
        print('\n== %s' % title, flush=True)
        try:
            return function(*args)
        except Exception as e:
            traceback.print_exc()
            # What is shown at the end of all stages is lines like this one.
            why = 'ended by an exception: %s: %s' % (type(e).__name__, ' '.join(str(e).split())[-200:])
            self.failures.append((title, why))
            print('FAIL  %s: %s' % (title, why), flush=True)

    def close(self):
        if self.failures:
            print('\nfailed:')
            for where, what in self.failures:
                print('  [%s] %s' % (where, what))
        print('\n%d passed, %d failed' % (self.passed, len(self.failures)),
              flush=True)
        return 1 if self.failures else 0


def play(cloud, parts, always=()):
    """A script of parts: those whose names have the word of `-k`, and those of `always`, in one cloud.

    `cloud` makes it of the checks and of an `ExitStack`, which ends it. Returns the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument('-k', default='', help='the parts whose names have this')
    word = parser.parse_args().k
    checks = Checks()
    with contextlib.ExitStack() as stack:
        made = cloud(checks, stack)
        for part in parts:
            if word in part.__name__ or part in always:
                checks.part(part.__name__, part, made)
    return checks.close()
