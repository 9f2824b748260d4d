"""Prints every path that an installed Keystone serves, with its methods.

    .cache/keystone/bin/python tests/keystone/routes.py > server/tests/api/keystone-routes.txt
"""
import re
import warnings

warnings.simplefilter('ignore')

import keystone.conf
from keystone.server.flask import application

keystone.conf.configure()
keystone.conf.CONF([], project='keystone', default_config_files=[], default_config_dirs=[])

for rule in sorted(application.application_factory().url_map.iter_rules(), key=str):
    path = re.sub('<(?:[^:>]*:)?([^>]*)>', r'{\1}', rule.rule)
    if not path.startswith('/static/'):
        print(' '.join(sorted(rule.methods - {'HEAD', 'OPTIONS'})), path, sep='\t')
