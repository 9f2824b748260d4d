"""What pytest needs for clients*.py, install.py, middleware.py, keystone_beside.py and beside_*.py.

    pytest clients.py                     in the environment `clients` (./test clients does that)
    pytest clients.py -k chain            one test
    pytest clients.py --keystone          a Keystone 30.0.0 in Vicar's place: a test of the tests

A test makes many checks (`harness.Checks`) and goes on after one that failed. It fails when one of its checks
did. The last line but pytest's own counts the checks: `N passed, M failed`.
"""
import contextlib

import harness
import pytest

import server

CHECKS = harness.Checks()
PAIRED = ['postgresql', 'mariadb']


def pytest_addoption(parser):
    parser.addoption('--keystone', action='store_true',
                     help="put a Keystone 30.0.0 in Vicar's place, and run what must hold there too")
    parser.addoption('--by-turns', action='store_true', help='each file of pairs on one engine only, by turns')
    parser.addoption('--url', help='.../v3 of a running server; without it a server is started')
    parser.addoption('--admin-password', help="the administrator's, for a running server")


def pytest_collection_modifyitems(config, items):
    if not config.getoption('--by-turns'):
        return
    files = sorted({item.path for item in items})
    engine = {path: PAIRED[place % len(PAIRED)] for place, path in enumerate(files)}
    items[:] = [item for item in items
                if not hasattr(item, 'callspec') or item.callspec.params.get('pair') in (None, engine[item.path])]


class ChecksFailed(Exception):
    """Checks of a test failed; each has been counted and printed."""


def title(item):
    """The first line of the test's documentation, or its name."""
    doc = (item.function.__doc__ or item.name).strip().splitlines()[0].rstrip('.')
    params = getattr(item, 'callspec', None)
    return '%s (%s)' % (doc, params.id) if params else doc


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    before = len(CHECKS.failures)
    CHECKS.where = title(item)
    print('\n== %s' % CHECKS.where, flush=True)
    result = yield
    if new := CHECKS.failures[before:]:
        raise ChecksFailed('; '.join(what for _, what in new))
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    # An exception in the scene, in a test or at its end is one failure.
    if report.failed and not call.excinfo.errisinstance(ChecksFailed):
        CHECKS.failures.append((title(item), 'ended by an exception in its %s' % report.when))
    return report


def pytest_collectreport(report):
    if report.failed:
        CHECKS.failures.append((report.nodeid, 'cannot be collected'))


def pytest_terminal_summary(terminalreporter):
    terminalreporter.ensure_newline()
    for where, what in CHECKS.failures:
        terminalreporter.write_line('failed: [%s] %s' % (where, what))
    terminalreporter.write_line('%d passed, %d failed' % (CHECKS.passed, len(CHECKS.failures)))


@pytest.fixture(scope='session')
def checks():
    return CHECKS


@pytest.fixture(scope='session')
def options(request):
    """`.keystone`, `.url`, `.password`"""

    class Options:
        keystone = request.config.getoption('--keystone')
        url = request.config.getoption('--url')
        password = request.config.getoption('--admin-password')

    return Options


@pytest.fixture(scope='session', params=PAIRED)
def pair(request, checks):
    """A database of a Keystone 30.0.0 on each engine, which Vicar has adopted and both serve: a `Beside`.

    `pair.first` is the Keystone, `pair.second` is Vicar; `for here, there in pair.ways()` gives both ways round.
    """
    from keystone_beside import Beside, Side
    from place import Place
    with contextlib.ExitStack() as stack:
        place = Place(stack, request.param)
        if request.config.getoption('--keystone'):
            other = stack.enter_context(server.Keystone(
                store=place.keystone.store, settings=place.settings))
        else:
            place.adopt()
            other = place.vicar
        other.password = place.keystone.password
        labels = ('the first', 'the second') if other.kind == 'keystone' else ('Keystone', 'Vicar')
        both = Beside(checks, Side(place.keystone, labels[0]), Side(other, labels[1]), None)
        both.place = place
        yield both
