"""Where Vicar answers a request of requests.txt otherwise than Keystone, on purpose.

{folder, or `*` for all: {request: (Keystone's answer, Vicar's, why)}}, an answer being its status and the length of
the list in it. What docs/compatibility.md says is named by its words there. An exception that no longer holds fails.
"""

CATALOG = 'a token of a domain or of the system shows here the catalog that is in its body'

EXCEPTIONS = {
    '*': {
        'system GET /v3/auth/catalog': ((403, None), (200, 2), CATALOG),
        'manager GET /v3/auth/catalog': ((403, None), (200, 2), CATALOG),
        'bearer GET /v3/auth/projects': ((200, 2), (200, 1), 'of a trust token: its own project only'),
        'bearer GET /v3/users/<member>/credentials/OS-EC2': (
            (403, None), (200, 0), 'rule 36: a trust token sees the keypairs that are bound to its trust'),
        'bearer POST /v3/users/<member>/password': ((401, None), (403, None), 'a delegated token sets no password'),
        'bearer GET /v3/auth/domains': ((404, None), (401, None), 'rule 29: a dead trust token is 401'),
        'system GET /v3/auth/domains': (
            (200, 0), (401, None), 'a token ends when its user loses, in its place, a role that it carries'),
    },
}
