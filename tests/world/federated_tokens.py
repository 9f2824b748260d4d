#!/usr/bin/env python3
"""Tokens of a user who logs in through an identity provider, made by a Keystone's own code.

    federated_tokens.py KEYSTONE_CONF < ASKED

ASKED is JSON: `idp`, `protocol`, `unique_id`, `name`, `domain`, `groups` and `scopes`, each of which is `{}`,
`{"project_id": …}` or `{"domain_id": …}`. What is printed: `{"user": id, "tokens": […]}`. No web server and no
identity provider is needed for it: the mapping has said what is in ASKED.
"""
import json
import sys

import harness

if __name__ == '__main__':
    harness.run_in('keystone')

from keystone import server
from keystone.common import provider_api
from keystone.federation import constants


def main():
    asked = json.load(sys.stdin)
    # Keystone would read the command line itself.
    server.configure(config_files=[sys.argv.pop(1)])
    server.setup_backends()
    api = provider_api.ProviderAPIs
    user = api.identity_api.shadow_federated_user(
        asked['idp'], asked['protocol'],
        {'id': asked['unique_id'], 'name': asked['name'], 'domain': {'id': asked['domain']}},
        group_ids=asked['groups'])
    context = {'user_id': user['id'], 'group_ids': asked['groups'], constants.IDENTITY_PROVIDER: asked['idp'],
               constants.PROTOCOL: asked['protocol']}
    tokens = [api.token_provider_api.issue_token(user['id'], ['mapped'], auth_context=context, **scope).id
              for scope in asked['scopes']]
    print(json.dumps({'user': user['id'], 'tokens': tokens}))


if __name__ == '__main__':
    main()
