#!/usr/bin/env python3
"""Nova, Placement, Glance, Barbican and Octavia, as released, live on Vicar; Heat starts servers with the user gone.

    nova.py                 starts them all and plays every scenario
    nova.py --keystone      the same with a Keystone 30.0.0
    nova.py --only NAME...  some of: servers credentials limits migrated expired keys balancers scaling
"""
import argparse
import os
import re
import signal
import sys
import time

import harness

if __name__ == '__main__':
    harness.run_in('heat')

import api
import balancers
import heat
import nova_cloud
from heat import resource, template, until

# What Nova wants to know the limit of, with generous defaults.
NOVA_LIMITS = {'servers': 50, 'class:VCPU': 100, 'class:MEMORY_MB': 100000, 'class:DISK_GB': 1000,
               'server_metadata_items': 100, 'server_injected_files': 5,
               'server_injected_file_content_bytes': 10000, 'server_injected_file_path_bytes': 255,
               'server_key_pairs': 100, 'server_groups': 10, 'server_group_members': 10}
GLANCE_LIMITS = {'image_size_total': 1000, 'image_stage_total': 1000, 'image_count_total': 10,
                 'image_count_uploading': 10}
NO_NETWORK = {'X-OpenStack-Nova-API-Version': '2.79', 'OpenStack-API-Version': 'compute 2.79'}


class World(heat.World):
    """The cloud, with an image and a flavor."""

    def __init__(self, checks, cloud, keystone):
        super().__init__(checks, cloud, keystone)
        self.nova, self.glance = api.Api(cloud.url('nova')), api.Api(cloud.url('glance') + '/v2')
        services = self.identity.get('/services', self.admin).want(200).body['services']
        self.services = {s['name']: s['id'] for s in services}
        self.identity.post('/registered_limits', self.admin, {'registered_limits': [
            {'service_id': self.services[service], 'resource_name': name, 'default_limit': n,
             'region_id': 'RegionOne'}
            for service, limits in (('nova', NOVA_LIMITS), ('glance', GLANCE_LIMITS))
            for name, n in limits.items()]}).want(201)
        cloud.discover()
        self.flavor = self.nova.post('/flavors', self.admin, {'flavor': {
            'name': 'tiny', 'ram': 64, 'vcpus': 1, 'disk': 1, 'id': 'tiny'}}).want(200).body['flavor']['id']
        self.image = self.upload(self.admin, 'a system', visibility='public').want(204).image

    def upload(self, token, name, **more):
        """An image with some content; the answer of the upload, or the one that refuses to make it."""
        made = self.glance.post('/images', token, {
            'name': name, 'disk_format': 'raw', 'container_format': 'bare', **more})
        if made.status != 201:
            return made
        image = made.body['id']
        sent = self.glance.call('PUT', '/images/%s/file' % image, token, 'x' * 512, headers={
            'Content-Type': 'application/octet-stream'})
        sent.image = image
        return sent

    def boot(self, token, name, **more):
        return self.nova.post('/servers', token, {'server': {
            'name': name, 'flavorRef': self.flavor, 'imageRef': self.image, 'networks': 'none', **more}},
            headers=NO_NETWORK)

    def active(self, token, server):
        def look():
            a = self.nova.get('/servers/' + server, token, headers=NO_NETWORK).want(200).body['server']
            if a['status'] == 'ERROR':
                raise AssertionError('server %s: %s' % (server, a.get('fault')))
            return a if a['status'] == 'ACTIVE' and not a['OS-EXT-STS:task_state'] else None
        return until('server %s is active' % server, look)

    def servers(self, token):
        return self.nova.get('/servers/detail', token, headers=NO_NETWORK).want(200).body['servers']

    def gone(self, token, *servers):
        for one in servers:
            self.nova.delete('/servers/' + one, token).want(204)
        until('servers are gone', lambda: not [s for s in self.servers(token) if s['id'] in servers])

    def credential(self, owner, token, name, **more):
        """An application credential: its id, and a login with it."""
        made = self.identity.post('/users/%s/application_credentials' % owner.id, token, {
            'application_credential': {'name': name, **more}}).want(201).body['application_credential']
        return made['id'], api.Token(self.identity.post('/auth/tokens', body={'auth': {'identity': {
            'methods': ['application_credential'],
            'application_credential': {'id': made['id'], 'secret': made['secret']}}}}))

    def end_credential(self, owner, token, one):
        self.identity.delete('/users/%s/application_credentials/%s' % (owner.id, one), token).want(204)

    def limit(self, service, name, project, n):
        return self.identity.post('/limits', self.admin, {'limits': [
            {'service_id': self.services[service], 'region_id': 'RegionOne', 'resource_name': name,
             'project_id': project, 'resource_limit': n}]}).want(201).body['limits'][0]['id']


def servers(w):
    """a member starts a server, others do not see it."""
    c = w.c
    alice, mallory = heat.Owner(w, 'alice'), heat.Owner(w, 'mallory')
    token = alice.login()
    a = w.boot(token, 'first')
    c.status('a member of the project starts a server', a, 202)
    server = w.active(token, a.body['server']['id'])
    c.equal('it is in the project and of the user', (server['tenant_id'], server['user_id']),
            (alice.project, alice.id))
    other = mallory.login()
    c.equal('another project has none', w.servers(other), [])
    c.status('and cannot see it', w.nova.get('/servers/' + server['id'], other), 404)
    reader = w.identity.make(w.admin, 'user', name='reader', password='reads-only', domain_id='default')
    w.identity.grant(w.admin, w.roles['reader'], reader, alice.project)
    reading = w.identity.login(reader, 'reads-only', api.project(alice.project))
    c.equal('a reader of the project sees it', [s['id'] for s in w.servers(reading)], [server['id']])
    c.status('and starts none', w.boot(reading, 'refused'), 403)
    everywhere = w.nova.get('/servers/detail?all_tenants=1', w.admin, headers=NO_NETWORK)
    c.ok('an administrator sees it among all', server['id'] in everywhere.text)
    w.identity.revoke(token, token).want(204)
    c.status('a revoked token is refused by Nova', w.nova.get('/servers', token), 401)
    c.status('and by Glance', w.glance.get('/images', token), 401)
    w.gone(alice.login(), server['id'])
    c.ok('the server is deleted', True)


def credentials(w):
    """An application credential starts servers; one that is limited to a rule does that and nothing else."""
    c = w.c
    owner = heat.Owner(w, 'automated')
    token = owner.login()

    whole, acting = w.credential(owner, token, 'whole')
    _, reading = w.credential(owner, token, 'reads', access_rules=[
        {'service': 'compute', 'method': 'GET', 'path': '/v2.1/servers/detail'}])
    a = w.boot(acting, 'automatic')
    c.status('a server is started with an application credential', a, 202)
    server = w.active(acting, a.body['server']['id'])
    c.equal("it is its user's, in the project", (server['user_id'], server['tenant_id']), (owner.id, owner.project))
    c.equal('one with an access rule may do what the rule says', [s['id'] for s in w.servers(reading)], [server['id']])
    c.status('and not start a server', w.boot(reading, 'refused'), 401)
    c.status('nor look at one', w.nova.get('/servers/' + server['id'], reading), 401)
    c.status('and a service that does not ask for rules refuses it', w.glance.get('/images', reading), 401)
    w.end_credential(owner, token, whole)
    c.status('when it is deleted its token is refused at once', w.nova.get('/servers', acting), 401)
    w.gone(token, server['id'])


def limits(w):
    """Nova and Glance count against the limits that are kept here."""
    c = w.c
    owner = heat.Owner(w, 'counted')
    token = owner.login()
    limit = w.limit('nova', 'servers', owner.project, 1)
    a = w.boot(token, 'one')
    c.status('one server is within the limit', a, 202)
    one = a.body['server']['id']
    w.active(token, one)
    a = w.boot(token, 'two')
    c.status('another is not', a, 403)
    c.ok('and the answer says which limit it is', 'servers is over limit of 1' in a.text, a.text[:200])
    w.identity.patch('/limits/' + limit, w.admin, {'limit': {'resource_limit': 2}}).want(200)
    a = w.boot(token, 'two')
    c.status('when the limit is raised it is', a, 202)
    two = a.body['server']['id']
    w.active(token, two)
    w.identity.delete('/limits/' + limit, w.admin).want(204)
    a = w.boot(token, 'three')
    c.status('without a limit the registered one counts', a, 202)
    three = a.body['server']['id']
    w.active(token, three)
    shown = w.nova.get('/limits', token).want(200).body['limits']['absolute']
    c.equal("Nova shows the registered limit as the project's", shown['maxTotalInstances'],
            NOVA_LIMITS['servers'])
    w.limit('nova', 'class:MEMORY_MB', owner.project, 64 * 3)
    a = w.boot(token, 'four')
    c.status('memory is counted too, by Placement', a, 403)
    w.gone(token, one, two, three)
    w.limit('glance', 'image_count_total', owner.project, 1)
    c.status('an image is within the limit of Glance', w.upload(token, 'mine'), 204)
    c.status('another is not', w.upload(token, 'more'), 413)


def migrated(w):
    """nova-manage makes limits of the quotas that Nova kept itself."""
    c, region, project = w.c, 'north', heat.Owner(w, 'of-old').project
    w.identity.put('/regions/' + region, w.admin, {'region': {}}).want(201)
    # What it does not make: it tells that it is missing.
    w.identity.post('/registered_limits', w.admin, {'registered_limits': [
        {'service_id': w.services['nova'], 'region_id': region, 'resource_name': 'class:DISK_GB',
         'default_limit': 1000}]}).want(201)
    w.cloud.database.sql("INSERT INTO quotas (project_id, resource, hard_limit) VALUES ('%s', 'instances', 7), "
                         "('%s', 'cores', 33)" % (project, project), 'nova_api')

    def there():
        where = '?service_id=%s&region_id=%s' % (w.services['nova'], region)
        registered = w.identity.get('/registered_limits' + where, w.admin).want(200).body['registered_limits']
        limits = w.identity.get('/limits%s&project_id=%s' % (where, project), w.admin).want(200).body['limits']
        return ({x['resource_name']: x['default_limit'] for x in registered},
                {x['resource_name']: x['resource_limit'] for x in limits})

    command = '--region-id', region, '--project-id', project
    told = w.cloud.migrate_quotas(*command, '--dry-run', '--no-embedded-flavor-scan', statuses=(3,))
    c.ok('a dry run tells what is missing', re.search(r'class:VCPU +\| missing', told), told[-600:])
    c.equal('a dry run makes none', there(), ({'class:DISK_GB': 1000}, {}))
    w.cloud.migrate_quotas(*command)
    registered, limits = there()
    c.equal('what Nova has a limit of is registered', sorted(registered), sorted([*NOVA_LIMITS, 'class:PCPU']))
    c.equal("with Nova's own defaults", (registered['servers'], registered['class:MEMORY_MB']), (10, 51200))
    wanted = {'servers': 7, 'class:VCPU': 33, 'class:PCPU': 33}
    c.equal("and the project's quotas are its limits", limits, wanted)
    again = w.cloud.migrate_quotas(*command, '--verbose')
    c.ok('a second time all of it is found', 'already exists' in again and 'Creating project limit:' not in again)
    c.equal('and nothing is changed', there(), (registered, wanted))


def expired(w):
    """A backup that takes longer than the user's token is finished: Nova shows a service token."""
    c = w.c
    owner = heat.Owner(w, 'patient')
    token = owner.login()
    server = w.boot(token, 'saved').want(202).body['server']['id']
    w.active(token, server)

    def backups(by):
        return w.glance.get('/images?image_type=backup', by).want(200).body['images']

    def backup(by, name):
        return w.nova.post('/servers/%s/action' % server, by, {'createBackup': {
            'name': name, 'backup_type': 'daily', 'rotation': 1}})

    backup(token, 'older').want(202)
    w.active(token, server)
    c.equal('there is a backup', [b['name'] for b in backups(token)], ['older'])
    # A token that ends soon: the server's setting, while this one login happens.
    with w.cloud.tokens_of(12):
        soon = owner.login()
    hypervisor = w.cloud.services['nova-compute'].process.pid
    os.killpg(hypervisor, signal.SIGSTOP)
    try:
        c.status('Nova takes the order', backup(soon, 'newer'), 202)
        until('the token has expired', lambda: w.identity.validate(w.admin, soon).status == 404)
        c.status('Glance refuses the token by itself', w.glance.get('/images', soon), 401)
    finally:
        os.killpg(hypervisor, signal.SIGCONT)
    token = owner.login()
    until('the older backup is rotated away', lambda: [b['name'] for b in backups(token)] == ['newer'])
    c.ok('the hypervisor finished it in the name of the user, at Glance, with the expired token', True)
    w.active(token, server)
    # What was revoked is not expired: nobody finishes anything with it.
    other = owner.login()
    os.killpg(hypervisor, signal.SIGSTOP)
    try:
        c.status('Nova takes another order', backup(other, 'newest'), 202)
        w.identity.revoke(other, other).want(204)
    finally:
        os.killpg(hypervisor, signal.SIGCONT)
    until('Nova is done with it', lambda: not w.nova.get(
        '/servers/' + server, token).body['server']['OS-EXT-STS:task_state'])
    c.equal('with a revoked token the rotation does not happen',
            sorted(b['name'] for b in backups(token)), ['newer', 'newest'])
    w.gone(token, server)


def scaling(w):
    """alice goes; Heat starts servers for her through the trust, and stops when it ends."""
    c = w.c
    owner = heat.Owner(w, 'gone')
    token = owner.login()
    with w.leaves_nothing():
        stack = owner.heat(token).create('group', template({
            'group': resource('OS::Heat::AutoScalingGroup', min_size=1, max_size=9, desired_capacity=1,
                              resource=resource('OS::Nova::Server', flavor=w.flavor, image=w.image,
                                                networks=[{'allocate_network': 'none'}])),
            'grow': resource('OS::Heat::ScalingPolicy', adjustment_type='change_in_capacity',
                             auto_scaling_group_id={'get_resource': 'group'}, scaling_adjustment=1,
                             cooldown=0)}, **heat.GROUP_OUTPUTS))
        stack.reaches('CREATE_COMPLETE')
        c.equal('the stack has a server', len(w.servers(token)), 1)
        trusts = owner.trusts()
        c.equal('and the identity server one trust of hers', len(trusts), 1)
        grow = stack.output('grow_url')
        w.identity.revoke(token, token).want(204)
        c.status('her token is gone', w.nova.get('/servers', token), 401)
        status, text = heat.fetch(grow)
        c.ok("the policy's signed URL is taken", status == 200, text[:300])
        again = heat.heat_of(owner, stack)
        again.has_size(2)
        mine = owner.login()
        found = w.servers(mine)
        c.equal('Heat started a server with her gone', len(found), 2)
        c.equal('it is hers, in her project', {(s['user_id'], s['tenant_id']) for s in found},
                {(owner.id, owner.project)})
        c.ok('both run', all(s['status'] == 'ACTIVE' for s in found), [s['status'] for s in found])
        w.identity.delete('/OS-TRUST/trusts/' + trusts[0]['id'], mine).want(204)
        mark = w.engine_log()
        heat.fetch(grow)
        w.refused_in_engine('when she ends the trust', mark)
        c.equal('and no server is started', len(w.servers(mine)), 2)
        heat.heat_of(owner, stack).deleted()
        until('her servers are gone', lambda: not w.servers(owner.login()))
        c.ok('she deletes the stack, and its servers go', True)


SCENARIOS = {'servers': servers, 'credentials': credentials, 'limits': limits, 'migrated': migrated,
             'expired': expired, 'keys': balancers.keys, 'balancers': balancers.balancers, 'scaling': scaling}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--keystone', action='store_true')
    parser.add_argument('--only', nargs='*', choices=SCENARIOS, default=list(SCENARIOS))
    options = parser.parse_args()
    checks = harness.Checks()
    began = time.monotonic()

    def say(text):
        print('      %s' % text, flush=True)

    with nova_cloud.Cloud(keystone=options.keystone, say=say) as cloud:
        w = World(checks, cloud, options.keystone)
        for name in options.only:
            failures = len(checks.failures)
            checks.part('%s: %s' % (name, SCENARIOS[name].__doc__), SCENARIOS[name], w)
            if len(checks.failures) > failures:
                cloud.show_complaints()
    print('\nall in all %.0f s' % (time.monotonic() - began))
    return checks.close()


if __name__ == '__main__':
    sys.exit(main())
