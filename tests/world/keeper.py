"""Ends what a script started, when the script is gone, however it went.

`server.py` runs it beside itself and tells it, a line each: `+ GROUP FOLDER` for a process group and its
scratch folder, `- GROUP` once the script has ended it. When the lines end, it kills what is left.
"""
import os
import shutil
import signal
import sys

signal.signal(signal.SIGINT, signal.SIG_IGN)
left = {}
for line in sys.stdin:
    sign, group, *folder = line.rstrip('\n').split(' ', 2)
    if sign == '+':
        left[int(group)] = folder[0]
    else:
        left.pop(int(group), None)
for group, folder in left.items():
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass
    if not os.environ.get('VICAR_KEEP'):
        shutil.rmtree(folder, ignore_errors=True)
