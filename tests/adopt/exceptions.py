"""Where Vicar answers a request of requests.txt otherwise than Keystone, on purpose.

{folder, or `*` for all: {request: (Keystone's status, Vicar's, why)}}. An exception that no longer holds fails.
"""

EXCEPTIONS = {
    '*': {},
}
