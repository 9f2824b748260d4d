"""Requests as bytes, and wrk, which sends them."""
import http.client
import json
import re
import socket
import subprocess
import tempfile
import urllib.parse

import machine

# Requests come from a file, with a zero byte after each. With ONCE none is sent twice: when the last has been sent the
# run is over, however early, and its time is what it took until then.
LUA = '''
local ffi = require 'ffi'
ffi.cdef 'typedef struct { long s; long n; } moment; int clock_gettime(int, moment *);'
local function now()
  local m = ffi.new 'moment'
  ffi.C.clock_gettime(1, m)
  return tonumber(m.s) + tonumber(m.n) / 1e9
end
local list, n = {}, 0
local threads = {}
began, ended, other = 0, 0, 0
function setup(thread) table.insert(threads, thread) end
function init()
  for r in io.open('FILE', 'rb'):read('*a'):gmatch('[^%z]+') do list[#list + 1] = r end
end
function request()
  if n == 0 then began = now() end
  n = n + 1
  if n > #list then
    if ONCE then
      if ended == 0 then ended = now() end
      wrk.thread:stop()
    end
    n = 1
  end
  return list[n]
end
RESPONSE
function done(summary, latency)
  local took = summary.duration / 1e6
  local thread = threads[1]
  if thread:get('ended') > 0 then took = thread:get('ended') - thread:get('began') end
  local e = summary.errors
  io.write(string.format(
    '\\nRESULT {"requests": %d, "seconds": %.6f, "bad": %d, "lost": %d, "bytes": %.0f, "p50": %d, "p99": %d}\\n',
    summary.requests, took, STATUS and thread:get('other') or e.status, e.connect + e.read + e.write + e.timeout,
    summary.bytes, latency:percentile(50), latency:percentile(99)))
end
'''
# Where an error is what is expected, each answer is looked at; otherwise wrk counts those from 400 on itself.
RESPONSE = 'function response(status) if status ~= %d then other = other + 1 end end'


def raw(url, method, path, headers, body=None):
    """A request to a server's .../v3 as it goes over the wire."""
    at = urllib.parse.urlsplit(url)
    data = b'' if body is None else json.dumps(body).encode()
    lines = ['%s %s%s HTTP/1.1' % (method, at.path, path), 'Host: ' + at.netloc, 'Accept: application/json']
    lines += ['%s: %s' % h for h in headers.items()]
    if body is not None:
        lines += ['Content-Type: application/json', 'Content-Length: %d' % len(data)]
    return ('\r\n'.join(lines) + '\r\n\r\n').encode() + data


def once(url, request):
    """(status, body) of one request of `raw`."""
    at = urllib.parse.urlsplit(url)
    with socket.create_connection((at.hostname, at.port), 120) as s:
        s.sendall(request)
        answer = http.client.HTTPResponse(s)
        answer.begin()
        return answer.status, answer.read()


def wrk(target, work, seconds, connections):
    """Sends a `Work` as fast as the server answers; {requests, seconds, rate, p50, p99, bad, lost, bytes, cpu}.

    Milliseconds; `cpu` is what a request took of the server and of its database.
    """
    with tempfile.NamedTemporaryFile(suffix='.requests') as file, \
            tempfile.NamedTemporaryFile('w', suffix='.lua') as script:
        file.write(b'\0'.join(work.requests))
        file.flush()
        script.write(LUA.replace('FILE', file.name).replace('ONCE', 'true' if work.once else 'false')
                     .replace('RESPONSE', RESPONSE % work.status if work.status >= 400 else '')
                     .replace('STATUS', 'true' if work.status >= 400 else 'false'))
        script.flush()
        before = machine.cpu(target.processes())
        done = subprocess.run(
            ['wrk', '-t1', '-c%d' % connections, '-d%d' % max(1, round(seconds)), '--timeout', '60s', '-s', script.name,
             target.url], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        after = machine.cpu(target.processes())
    found = re.search(r'^RESULT (.*)$', done.stdout, re.M)
    if not found:
        raise RuntimeError('wrk: ' + done.stdout)
    r = json.loads(found.group(1))
    r['rate'] = r['requests'] / r['seconds'] if r['seconds'] else 0
    r['cpu'] = 1e3 * (after - before) / r['requests'] if r['requests'] else 0
    r['p50'], r['p99'] = r['p50'] / 1e3, r['p99'] / 1e3
    return r
