"""Requests at a steady pace.

wrk sends the next request when the last one is answered. Here one is due at each moment of a timetable, whether the
last one is answered or not, and its time counts from that moment: so a wait of the whole server is seen in all
requests that came due meanwhile.
"""
import ctypes
import gc
import re
import select
import socket
import statistics
import time
import urllib.parse
from collections import deque

AFTERWARDS = 20                  # seconds that late answers are waited for
LENGTH = re.compile(rb'\r\ncontent-length: *(\d+)', re.I)
PR_SET_TIMERSLACK = 29


class Answers:
    """A connection, and what has arrived on it of one answer."""

    def __init__(self, where):
        self.where, self.socket = where, None

    def send(self, request, due):
        if self.socket is None:
            self.socket = socket.create_connection(self.where)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.got, self.due = b'', due
        self.socket.sendall(request)

    def fileno(self):
        return self.socket.fileno()

    def read(self):
        """The status when the answer is whole."""
        part = self.socket.recv(1 << 16)
        self.got += part
        head, found, body = self.got.partition(b'\r\n\r\n')
        if not part and not found:
            raise RuntimeError('a connection ended within an answer: %r' % self.got[:200])
        length = LENGTH.search(head)
        if not found or (len(body) < int(length.group(1)) if length else part and b'204' not in head[:13]):
            return None
        if not part or b'\r\nconnection: close' in head.lower():
            self.socket.close()
            self.socket = None
        return int(head[9:12])


def paced(url, requests, rate, seconds, connections=64, status=200):
    """Milliseconds of each request; of one that is not answered in the end, as long as it waited."""
    at = urllib.parse.urlsplit(url)
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0)     # moments are kept to a microsecond
    free = [Answers((at.hostname, at.port)) for _ in range(connections)]
    busy, queue, times = [], deque(), []
    total, sent = int(rate * seconds), 0
    gc.disable()
    try:
        begin = time.perf_counter()
        while len(times) < total:
            now = time.perf_counter()
            while sent < total and begin + sent / rate <= now:
                queue.append(begin + sent / rate)
                sent += 1
            while queue and free:
                one = free.pop()
                one.send(requests[(sent - len(queue)) % len(requests)], queue.popleft())
                busy.append(one)
            if now > begin + seconds + AFTERWARDS:
                break
            wait = max(0, begin + sent / rate - time.perf_counter()) if sent < total else 1
            for one in select.select(busy, [], [], wait)[0]:
                got = one.read()
                if got is None:
                    continue
                if got != status:
                    raise RuntimeError('answered with %d, not %d' % (got, status))
                times.append(1e3 * (time.perf_counter() - one.due))
                busy.remove(one)
                free.append(one)
    finally:
        gc.enable()
    now = time.perf_counter()
    times += [1e3 * (now - due) for due in [one.due for one in busy] + list(queue)]
    for one in free + busy:
        if one.socket:
            one.socket.close()
    return times


def figures(times):
    cuts = statistics.quantiles(times, n=1000)
    return {'p50': cuts[499], 'p99': cuts[989], 'most': max(times), 'requests': len(times)}
