"""Figures as tables and plots: on the terminal, and in docs/benchmarks.md between markers."""
import html
import os
import re
import statistics

import beside
import harness
from operations import OPERATIONS

PAGE = os.path.join(harness.REPO, 'docs', 'benchmarks.md')
NAMES = {'sqlite': 'SQLite', 'postgresql': 'PostgreSQL', 'mariadb': 'MariaDB'}
ENGINES = list(NAMES)
SERVERS = ENGINES[1:]

# (operation, engines, times Keystone's rate, share of the ceiling in %)
TARGETS = [
    ('discovery', ENGINES, None, 85),
    ('validate-project', ['sqlite'], 150, 60),
    ('validate-project', SERVERS, 100, 40),
    ('validate-depth-3', ['sqlite'], 300, 60),
    ('validate-depth-3', SERVERS, 200, 40),
    ('validate-first', ['sqlite'], 50, 20),
    ('validate-first', SERVERS, 15, 20),
    ('mix', ['sqlite'], 120, 35),
    ('mix', SERVERS, 60, 35),
    ('issue-trust', ENGINES, 190, 25),
    ('ec2tokens', ENGINES, 85, 30),
    ('s3tokens', ENGINES, 85, 30),
    ('trust-create', ['sqlite'], 60, None),
    ('trust-create', SERVERS, 20, None),
    ('trust-redelegate', ['sqlite'], 60, None),
    ('trust-redelegate', SERVERS, 20, None),
    ('issue-password', ENGINES, None, 95),
]
# (what is measured beside, figure, at most, what it is called)
LIMITS = [('half-rate', 'p99', 1, 'validate at half of the highest rate: p99, ms'),
          ('beside-passwords', 'ratio', 2, 'validate while passwords are hashed: p99 against idle'),
          ('beside-wrong-logins', 'ratio', 5, 'the same beside wrong logins'),
          ('beside-lists', 'ratio', 5, 'the same beside long lists'),
          ('beside-deletions', 'ratio', 5, 'the same beside deletions of roles'),
          ('start', 'idle MiB', 25, 'memory, idle, MiB'),
          ('start', 'first answer ms', 100, 'start to the first answer, ms')]
AT_SCALE = [('start', 'warm MiB', 200, 'memory with the scale data, warm, MiB'),
            ('start', 'first answer ms', 100, 'start to the first answer with the scale data, ms')]
SCALE = 80                       # % of the small case


def number(x):
    """Three digits that count."""
    if x is None:
        return '–'
    return f'{x:,.0f}' if x >= 100 else '%.1f' % x if x >= 10 else '%.2f' % x


def figure(row, server, key):
    return row.get(server, {}).get(key)


def against(row, server):
    """Vicar's rate in terms of another's, or None. It is the median over the rounds, in each of which both were
    measured one after the other."""
    pairs = list(zip(figure(row, 'vicar', 'rates') or [], figure(row, server, 'rates') or []))
    return statistics.median(mine / other for mine, other in pairs) if pairs and all(x for _, x in pairs) else None


def share(row):
    x = against(row, 'ceiling')
    return x and 100 * x


def cells(row, scale=False):
    small = against(row, 'small')
    return [number(figure(row, 'vicar', 'rate')), number(figure(row, 'keystone', 'rate')),
            number(figure(row, 'ceiling', 'rate')),
            number(against(row, 'keystone')) + ' ×' if against(row, 'keystone') else '–',
            '%.0f %%' % share(row) if share(row) else '–',
            *('%s / %s' % (number(figure(row, 'vicar', k)), number(figure(row, 'keystone', k)))
              for k in ('p50', 'p99', 'cpu')),
            *(['%.0f %%' % (100 * small) if small else '–'] if scale else [])]


HEAD = ['Vicar /s', 'Keystone /s', 'ceiling /s', 'to Keystone', 'of the ceiling', 'p50 ms', 'p99 ms',
        'CPU ms a request']
SMALL = ['of the small case']        # at scale


def table(name, section):
    scale = 'filled' in section
    widths = [-22, 11, 11, 11, 12, 14, 17, 17, 19] + [18] * scale

    def line(*values):
        print(' '.join('%*s' % x for x in zip(widths, values)))
    print()
    line(name, *HEAD, *SMALL * scale)
    for op, row in section['operations'].items():
        line(op, *cells(row, scale))
    for name, found in section['more'].items():
        for server, figures in found.items():
            print('%-22s %-9s %s' % (name, server, '  '.join('%s %s' % (k, number(x)) for k, x in figures.items())))
    print(flush=True)


def markdown(head, rows):
    return ['| %s |' % ' | '.join(x) for x in [head, ['---'] * len(head), *rows]]


def verdict(goals):
    """`met`, unless one of (measured, whether it is enough) is not."""
    if any(x is None for x, _ in goals):
        return 'not measured'
    return 'met' if all(good for _, good in goals) else 'not met'


def goal_rows(kept):
    for op, engines, times, part in TARGETS:
        for engine in engines:
            row = kept.get(engine, {}).get('operations', {}).get(op)
            if row is None:
                continue
            goals, want, got = [], [], []
            if times:
                x = against(row, 'keystone')
                goals.append((x, x and x >= times))
                want.append('%d × Keystone' % times)
                got.append(number(x) + ' ×')
            if part:
                x = share(row)
                goals.append((x, x and x >= part))
                want.append('%d %% of %s' % (part, 'what the cores hash' if op == 'issue-password' else 'the ceiling'))
                got.append('%s %%' % number(x))
            yield ['`%s`' % op, NAMES[engine], ', '.join(want), ', '.join(got), verdict(goals)]
    for engine in ENGINES:
        for limits, section in ((LIMITS, kept.get(engine, {})), (AT_SCALE, kept.get(engine + ' at scale', {}))):
            for name, key, most, text in limits:
                x = section.get('more', {}).get(name, {}).get('vicar', {}).get(key)
                if x is not None:
                    yield [text, NAMES[engine], 'at most %d' % most, number(x), verdict([(x, x <= most)])]
        yield from scale_rows(kept, engine)


def scale_rows(kept, engine):
    rows = kept.get(engine + ' at scale', {}).get('operations', {})
    found = {op: 100 * x for op, x in ((op, against(row, 'small')) for op, row in rows.items()) if x}
    if found:
        worst = min(found, key=found.get)
        yield ['everything at scale', NAMES[engine], '%d %% of the small case' % SCALE,
               'least: %.0f %%, `%s`' % (found[worst], worst), verdict([(1, found[worst] >= SCALE)])]


def title(name):
    engine, _, scale = name.partition(' ')
    return NAMES[engine] + (', ' + scale if scale else '')


def order(name):
    return ENGINES.index(name.partition(' ')[0]), name


def measured(kept, plots=True):
    """All that depends on measured figures, as lines; the plots are files beside the page."""
    out = ['### Targets', '']
    out += markdown(['operation', 'database', 'target', 'measured', ''], goal_rows(kept))
    for name in sorted(kept, key=order):
        section = kept[name]
        m = section['machine']
        out += ['', '### ' + title(name), '',
                '%s, commit `%s`; %d cores (%s), %s, %s; %d rounds of %g s, %d connections.' % (
                    section['date'], section['commit'], m['cores'], m['processor'], m['memory'], m['system'],
                    section['rounds'], section['seconds'], section['connections'])]
        if 'filled' in section:
            out += ['', 'With %s; written in %s s.' % (
                ', '.join('%s %s' % (number(n), what) for what, n in section['filled']['vicar'].items()
                          if what != 'seconds'), number(section['filled']['vicar']['seconds']))]
        if plots:
            out += ['', '![Requests a second](%s)' % plot(name, section)]
        out.append('')
        scale = 'filled' in section
        out += markdown(['operation', *HEAD, *SMALL * scale], [['`%s`' % op, *cells(row, scale)]
                                                               for op, row in section['operations'].items()])
        rows = [['`%s`' % what, server, ', '.join('%s %s' % (k, number(x)) for k, x in figures.items())]
                for what, found in section['more'].items() for server, figures in found.items()]
        if rows:
            out += ['', *markdown(['beside', '', 'measured'], rows)]
    return out


BAR, GAP, LEFT, WIDTH = 9, 9, 150, 760
COLOURS = {'ceiling': '#b8c4ce', 'vicar': '#2f6f8f', 'keystone': '#c46a3c'}


def plot(name, section):
    """Writes bars on a logarithmic scale into docs/; the name of the file."""
    file = 'benchmarks-%s.svg' % name.replace(' ', '-')
    rows = list(section['operations'].items())
    most = max((x['rate'] for _, row in rows for x in row.values()), default=1)
    scale = 1
    while scale < most:
        scale *= 10
    digits = len(str(scale))                     # from a tenth of a request a second to `scale`

    def width(rate):
        x = 0
        while 10 ** x < 10 * rate:
            x += 0.01
        return (WIDTH - LEFT - 70) * x / digits
    high = 40 + len(rows) * (3 * BAR + GAP)
    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">' % (
        WIDTH, high), '<rect width="100%" height="100%" fill="#ffffff"/>',
        '<text x="10" y="16" font-size="13">%s: requests a second, logarithmic</text>' % html.escape(title(name))]
    for n, (server, colour) in enumerate(COLOURS.items()):
        at = 420 + 90 * n
        out.append('<rect x="%d" y="8" width="10" height="10" fill="%s"/><text x="%d" y="17">%s</text>' % (
            at, colour, at + 14, server))
    for n, (op, row) in enumerate(rows):
        y = 34 + n * (3 * BAR + GAP)
        out.append('<text x="%d" y="%d" text-anchor="end">%s</text>' % (LEFT - 8, y + 2 * BAR, op))
        for k, (server, colour) in enumerate(COLOURS.items()):
            rate = figure(row, server, 'rate')
            if rate:
                out.append('<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>' % (
                    LEFT, y + k * BAR, width(rate), BAR - 1, colour))
                out.append('<text x="%.1f" y="%d" font-size="8">%s</text>' % (
                    LEFT + width(rate) + 3, y + k * BAR + BAR - 2, number(rate)))
    out.append('</svg>\n')
    with open(os.path.join(os.path.dirname(PAGE), file), 'w') as f:
        f.write('\n'.join(out))
    return file


def between(text, name, lines):
    """The page with other lines between the markers of that name."""
    begin, end = '<!-- %s: written by tests/bench/bench.py -->' % name, '<!-- end of %s -->' % name
    whole = re.compile(re.escape(begin) + '.*?' + re.escape(end), re.S)
    if not whole.search(text):
        raise SystemExit('%s has no markers for `%s`' % (PAGE, name))
    return whole.sub(lambda _: '\n'.join([begin, '', *lines, '', end]), text)


def page(kept):
    with open(PAGE) as f:
        text = f.read()
    text = between(text, 'figures', measured(kept))
    text = between(text, 'operations', markdown(['name', 'what it is'], [
        ['`%s`' % x.name, x.text.replace('|', '\\|')] for x in (OPERATIONS | beside.MORE).values()]))
    with open(PAGE, 'w') as f:
        f.write(text)
