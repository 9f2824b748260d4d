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
CLOSE = re.compile(rb'\r\nconnection: *close\r', re.I)
PR_SET_TIMERSLACK = 29


class Connection:
    """One that is kept, and what has arrived on it of an answer."""

    def __init__(self, where, poll):
        self.where, self.poll, self.socket = where, poll, None

    def send(self, request, due):
        if self.socket is None:
            self.socket = socket.create_connection(self.where)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.poll.register(self.socket, select.EPOLLIN)
        self.got, self.due = b'', due
        self.socket.sendall(request)

    def read(self):
        """The status when the answer is whole."""
        part = self.socket.recv(1 << 16)
        self.got += part
        end = self.got.find(b'\r\n\r\n')
        if end < 0:
            if not part:
                raise RuntimeError('a connection ended within an answer: %r' % self.got[:200])
            return None
        length = LENGTH.search(self.got, 0, end)
        if part and len(self.got) < end + 4 + (int(length.group(1)) if length else 1):
            return None
        if not part or CLOSE.search(self.got, 0, end + 2):
            self.close()
        return int(self.got[9:12])

    def close(self):
        if self.socket:
            self.poll.unregister(self.socket)
            self.socket.close()
            self.socket = None


def paced(url, requests, rate, seconds, connections=64, status=200):
    """(milliseconds of each request; how much later than it was due each was looked at, by the generator's own fault)

    A request that is not answered in the end took as long as it waited.
    """
    at = urllib.parse.urlsplit(url)
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0)     # moments are kept to a microsecond
    poll = select.epoll()
    free = [Connection((at.hostname, at.port), poll) for _ in range(connections)]
    busy, queue, times, late = {}, deque(), [], []
    total, clock = int(rate * seconds), time.perf_counter
    gc.disable()
    try:
        begin = clock()
        while len(times) < total:
            now = clock()
            if now > begin + seconds + AFTERWARDS:
                break
            while len(late) < total and begin + len(late) / rate <= now:
                queue.append(begin + len(late) / rate)
                late.append(1e3 * (now - queue[-1]))
            while queue and free:
                one = free.pop()
                one.send(requests[(len(late) - len(queue)) % len(requests)], queue.popleft())
                busy[one.socket.fileno()] = one
            wait = begin + len(late) / rate - clock() if len(late) < total else 1
            # epoll waits whole milliseconds, select as long as it is told to.
            if not select.select([poll], [], [], max(0, wait))[0]:
                continue
            for number, _ in poll.poll(0):
                one = busy.get(number)
                got = one and one.read()
                if got is None:
                    continue
                if got != status:
                    raise RuntimeError('answered with %d, not %d' % (got, status))
                times.append(1e3 * (clock() - one.due))
                free.append(busy.pop(number))
        now = clock()
        times += [1e3 * (now - due) for due in [one.due for one in busy.values()] + list(queue)]
    finally:
        gc.enable()
        for one in [*free, *busy.values()]:
            one.close()
        poll.close()
    return times, late


def figures(times, late):
    """p50 and p99; `late` is the 99th percentile of the generator's own delay, which is in both."""
    cuts = statistics.quantiles(times, n=100)
    return {'p50': cuts[49], 'p99': cuts[98], 'late': statistics.quantiles(late, n=100)[98]}
