"""Who called the identity server how often, and how long it took: from Vicar's own log."""
import collections
import json
import re

ID = re.compile(r'/(?:[0-9a-f]{64}|[0-9a-f]{32})(?=/|$)')
SERVICES = ('heat', 'aodh', 'heat_domain_admin')


class Calls:
    """The requests in a log of `vicar serve --log-format json`."""

    def __init__(self, log):
        self.log = log

    def all(self):
        found = []
        with open(self.log, errors='replace') as f:
            for line in f:
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue
                fields = entry.get('fields', entry)
                if fields.get('message') == 'request':
                    found.append(fields)
        return found

    def mark(self):
        return len(self.all())

    def since(self, mark):
        return self.all()[mark:]


def report(checks, calls, people):
    """Prints the calls of heat and aodh, and the slowest; none of ours may be a fault of ours."""
    seen = calls.all()
    checks.ok('the identity server took %d calls' % len(seen), seen)
    checks.equal('and answered none with a 5xx', [
        (x['method'], x['path'], x['status']) for x in seen if x['status'] >= 500], [])
    rows = collections.defaultdict(list)
    for x in seen:
        who = people.get(x.get('actor'), '-')
        # Trusts are made and ended with the token of the user whom the service serves.
        if who not in SERVICES and '/OS-TRUST/' in x['path'] and x['method'] != 'GET':
            who = 'a user'
        if who in (*SERVICES, 'a user'):
            rows[who, x['method'], ID.sub('/{id}', x['path']), x['status']].append(x['micros'])
    print('\n%7s %9s %9s  %-17s %s' % ('calls', 'median', 'slowest', 'by', 'call'))
    for (who, method, path, status), times in sorted(rows.items(), key=lambda r: -max(r[1])):
        times.sort()
        print('%7d %6.2f ms %6.2f ms  %-17s %s %s -> %d' % (
            len(times), times[len(times) // 2] / 1000, times[-1] / 1000, who, method, path, status))
