#!/usr/bin/env python3
"""Serves Horizon: what dashboard.py talks to.

    dashboard_service.py FOLDER PORT     FOLDER has `local/local_settings.py`

This runs in the Python of the environment `dashboard`, with a thread for each request. What looks of a page is left
out: styles and scripts are served nowhere.
"""
import socketserver
import sys
import wsgiref.simple_server

# Horizon looks for `local` among the modules.
sys.path.insert(0, sys.argv[1])

from openstack_dashboard.wsgi import application


class Threads(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    daemon_threads = True


wsgiref.simple_server.make_server('127.0.0.1', int(sys.argv[2]), application, Threads).serve_forever()
