#!/usr/bin/env python3
"""Mappings, as the real Keystone validates and evaluates them and as Vicar does.

    mapping_rules.py [--documents 400] [--seed N]

Documents by hand and random ones: which are refused, and what the others come to with random attributes. Where
Keystone orders the items of a set as they fall, ours are in the order of the attributes; so sets are compared as
sets. What is refused here and taken there is so for a reason that the message names.
"""
import argparse
import ast
import json
import logging
import os
import random
import re
import subprocess
import sys
import tempfile
import warnings

import harness

if __name__ == '__main__':
    harness.run_in('keystone')

import keystone.conf
from keystone.common import cache
from keystone import exception
from keystone.federation import utils

import server

VERSIONS = ['1.0', '2.0', '3.0']
# What Vicar names when it refuses what a Keystone takes.
NOT_HERE = ['which is not done here', 'braces can have a number']


def vicar(folder, document, attributes, version=None):
    """What `vicar mapping test` says: what it comes to, or nothing and why."""
    rules, given = os.path.join(folder, 'rules.json'), os.path.join(folder, 'input.txt')
    with open(rules, 'w') as f:
        json.dump(document, f)
    with open(given, 'w') as f:
        f.writelines('%s: %s\n' % pair for pair in attributes.items())
    more = ['--mapping-schema-version', version] if version else []
    ran = subprocess.run([server.vicar_bin(), 'mapping', 'test', '--rules', rules, '--input', given, *more],
                         capture_output=True, text=True, env={'PATH': os.environ['PATH'], 'HOME': '/nonexistent'})
    assert ran.returncode in (0, 1), ran.stderr
    return (json.loads(ran.stdout), '') if ran.returncode == 0 else (None, ran.stderr)


def is_valid(document, version):
    try:
        utils.validate_mapping_structure({**document, 'schema_version': version})
        return True
    except exception.ValidationError:
        return False


def theirs(document, attributes, version):
    """The same from Keystone's own rules."""
    mapping = json.loads(json.dumps({**document, 'schema_version': version, 'id': 'm'}))
    utils.validate_mapping_structure(mapping)
    # What it prints is JSON.
    return json.loads(json.dumps(utils.create_attribute_mapping_rules_processor(mapping).process(attributes)))


def said(document, attributes, version):
    try:
        return theirs(document, attributes, version), ''
    except Exception as e:
        return None, '%s: %s' % (type(e).__name__, e)


def sorted_lists(text):
    """A string with the items of Python's lists in it in an order of their own."""
    ends = [found.end() for found in re.finditer(']', text)][::-1]
    for start, end in ((found.start(), end) for found in re.finditer(r'\[', text) for end in ends):
        try:
            items = ast.literal_eval(text[start:end])
            return text[:start] + repr(sorted(items)) + sorted_lists(text[end:])
        except (ValueError, SyntaxError, TypeError):
            continue
    return text


def normal(value, is_set=False):
    if isinstance(value, dict):
        return {name: normal(one, name in ('group_ids', 'group_names')) for name, one in value.items()}
    if isinstance(value, list):
        items = [normal(one) for one in value]
        # Two that differ in such an order alone are one.
        return sorted({json.dumps(one, sort_keys=True) for one in items}) if is_set else items
    return sorted_lists(value) if isinstance(value, str) else value


def rule(local, *remote):
    return {'rules': [{'local': local, 'remote': list(remote)}]}


BY_HAND = [
    (rule([{'user': {'name': '{0} {1}', 'email': '{2}'}}, {'group': {'id': '0cd5e9'}}],
          {'type': 'First'}, {'type': 'Last'}, {'type': 'Email'}),
     {'First': 'Ann', 'Last': 'O\'Hara', 'Email': 'ann@x'}),
    (rule([{'user': {'name': '{0}'}}, {'groups': '{1}', 'domain': {'name': 'D'}}],
          {'type': 'Name'}, {'type': 'Groups', 'blacklist': ['a', 'b']}), {'Name': 'x', 'Groups': 'a;b;c;d'}),
    (rule([{'groups': '{0}', 'domain': {'id': 'd'}}], {'type': 'Groups', 'whitelist': ['^a', 'b$'], 'regex': True}),
     {'Groups': 'ab;ba;ca;cb;ab'}),
    (rule([{'group_ids': '{0}'}], {'type': 'Ids', 'whitelist': ['1', '2']}), {'Ids': '1;2;3'}),
    (rule([{'group_ids': '{0}'}], {'type': 'Ids', 'whitelist': ['1', '2']}), {'Ids': '4'}),
    (rule([{'group_ids': '{0}'}], {'type': 'Ids'}), {'Ids': "['a', 'b']"}),
    (rule([{'group_ids': '{0}'}], {'type': 'Ids'}), {'Ids': "[['a']]"}),
    (rule([{'groups': '{0}'}], {'type': 'g'}),
     {'g': 'JSON:{"name":"g1","domain":{"name":"D"}};JSON:{"name":"g2","domain":{"id":"x"}}'}),
    (rule([{'groups': '{0}'}], {'type': 'g'}), {'g': 'JSON:{"name":"g1"}'}),
    (rule([{'groups': '{0}'}], {'type': 'g'}), {'g': 'plain'}),
    (rule([{'groups': 'x', 'domain': {'id': 'd'}}], {'type': 'g'}), {'g': ''}),
    (rule([{'group': {'name': 'a', 'domain': {'id': 'd'}}}, {'group': {'name': 'b', 'domain': {'name': 'e'}}},
           {'group': {'name': 'a', 'domain': {'name': 'd'}}}], {'type': 'g'}), {'g': ''}),
    (rule([{'user': {'name': 'n', 'type': 'local', 'domain': {'id': 'd'}}}], {'type': 'g', 'not_any_of': ['x']}),
     {'g': 'y'}),
    (rule([{'user': {'name': 'n'}}], {'type': 'g', 'not_any_of': ['x']}), {'g': 'y;x'}),
    (rule([{'user': {'name': 'n'}}], {'type': 'g', 'any_one_of': ['x', 1, None]}), {'g': 'y;1'}),
    (rule([{'user': {'name': 'n'}}], {'type': 'g', 'any_one_of': [{}]}), {'g': 'y'}),
    (rule([{'user': {'name': '{1}'}}], {'type': 'g'}), {'g': 'y'}),
    (rule([{'user': {'name': '{}-{}'}}], {'type': 'g'}, {'type': 'h'}), {'g': 'y', 'h': 'a;\'b"'}),
    (rule([{'user': {'name': '{{0}}'}}], {'type': 'g'}), {'g': 'y'}),
    (rule([{'user': {'name': '{0'}}], {'type': 'g'}), {'g': 'y'}),
    (rule([{'user': {'name': '{name}'}}], {'type': 'g'}), {'g': 'y'}),
    (rule([{'user': {'name': 'n'}, 'domain': {'name': 'D'},
            'projects': [{'name': 'of {0}', 'roles': [{'name': 'member'}]}]}], {'type': 'g'}), {'g': 'y'}),
    (rule([{'user': {'name': 'n'}, 'projects': [{'name': 'p', 'roles': [], 'domain': {'id': 'x'}}]}], {'type': 'g'}),
     {'g': 'y'}),
    (rule([{'projects_json': '{0}', 'domain': {'id': 'd'}}], {'type': 'p'}),
     {'p': '[{"name": "p", "roles": [{"name": "r"}]}, {"name": "q", "domain": {"name": "E"}, "roles": []}]'}),
    (rule([{'projects_json': '0'}], {'type': 'p'}), {'p': '[]'}),
    (rule([{'projects_json': 'x'}], {'type': 'p'}), {'p': '[]'}),
    (rule([{'projects_json': '{1}'}], {'type': 'p'}), {'p': '[]'}),
    (rule([{'projects_json': '{0}'}], {'type': 'p'}), {'p': '{"name": 1}'}),
    (rule([], {'type': 'p'}), {'p': 'x'}),
    (rule([{}], {'type': 'p'}), {'p': 'x'}),
    (rule([{'user': {}}, {'user': {'name': 'second'}}], {'type': 'p'}), {'p': 'x'}),
]
WORDS = ['a', 'b', 'ab', 'admin', 'x y', "it's", 'é', 'surname', 'domain', '1', '[1]', "['a', 'b']", '', '"', '\\']
NAMES = ['A', 'B', 'C']
PATTERNS = ['a', '^a', 'b$', '^a.*b$', '[ab]+', '(?i)A', r'\d', r'\w\s\w', 'x|y', '^$', r'\'', 'a{2}', '(a|b)(b)', '.',
            r'[^\W\d]', r'\Aa\Z', 'é', '[[a]', 'a{,1}x', r'\x61', '(?:ab)+?', 'a{x}']


def some_local(rng, version):
    def text():
        return rng.choice(['{0}', '{1}', '{0}-{1}', 'fixed', '{2}', '{}', 'g{0}', '{{x}}'])

    def domain():
        return rng.choice([{'id': 'd'}, {'name': 'D'}, {}, {'id': 'd', 'name': text()}])

    local = {}
    if rng.random() < .5:
        local['user'] = {name: text() for name in ['name', 'id', 'email'] if rng.random() < .5}
        if rng.random() < .3:
            local['user']['type'] = rng.choice(['local', 'ephemeral'])
        if rng.random() < .3:
            local['user']['domain'] = domain()
    if rng.random() < .3:
        local['group'] = rng.choice([{'id': text()}, {'name': text(), 'domain': domain()}])
    if rng.random() < .3:
        local['groups'] = text()
    if rng.random() < .3:
        local['group_ids'] = text()
    if rng.random() < .5:
        local['domain'] = domain()
    if rng.random() < .3:
        project = {'name': text(), 'roles': [{'name': text()}] * rng.randrange(3)}
        if version != '1.0' and rng.random() < .5:
            project['domain'] = domain()
        local['projects'] = [project] * rng.randrange(3)
    if version == '3.0' and rng.random() < .2:
        local['projects_json'] = rng.choice(['{0}', '1', '{5}', 'x'])
    return local


def some_remote(rng):
    remote = {'type': rng.choice(NAMES)}
    kind = rng.choice([None, None, 'any_one_of', 'not_any_of', 'blacklist', 'whitelist'])
    if kind:
        regex = rng.random() < .5
        remote[kind] = [rng.choice(PATTERNS if regex else WORDS) for _ in range(rng.randrange(4))]
        if regex or rng.random() < .2:
            remote['regex'] = regex
    return remote


def some_document(rng, version):
    return {'rules': [{'local': [some_local(rng, version) for _ in range(rng.randrange(4))],
                       'remote': [some_remote(rng) for _ in range(rng.randrange(1, 4))]}
                      for _ in range(rng.randrange(1, 4))]}


def some_attributes(rng):
    project = '[{"name": "p", "roles": [{"name": "r"}]}]'

    def some():
        return ';'.join(rng.choice(WORDS) for _ in range(rng.randrange(1, 4))).strip()
    return {name: project if rng.random() < .1 else some() for name in NAMES if rng.random() < .9}


def broken(rng, document):
    """The same document with something in it changed, taken away or added."""
    document = json.loads(json.dumps(document))
    places = []

    def walk(value):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            places.append((value, key))
            if isinstance(value[key], (dict, list)):
                walk(value[key])
        places.append((value, None))
    walk(document)
    at, key = rng.choice(places)
    other = rng.choice([None, 1, True, '', 'x', [], {}, ['x'], {'id': 'x'}, {'name': 'x'}, {'type': 'x'}])
    if key is None and isinstance(at, dict):
        at[rng.choice(['id', 'name', 'type', 'regex', 'whitelist', 'roles', 'domain', 'more', 'projects_json'])] = other
    elif key is None:
        at.append(other)
    elif rng.random() < .4 and isinstance(at, dict):
        del at[key]
    else:
        at[key] = other
    return document


def compare(c, what, folder, cases):
    wrong, mapped = [], 0
    for document, attributes, version in cases:
        ours, why = vicar(folder, document, attributes, version)
        those, because = said(document, attributes, version)
        mapped += those is not None
        named = ours is None and any(text in why for text in NOT_HERE)
        if normal(ours) != normal(those) and not named:
            wrong.append((version, document, attributes, ours, why, those, because))
    c.ok('%s: %d come to the same' % (what, len(cases)), not wrong, wrong[:1])
    return mapped


def refusals(c, what, folder, cases):
    wrong, refused = [], 0
    for document, version in cases:
        ours, why = vicar(folder, document, {'A': 'x'}, version)
        # A document that is one may come to nothing all the same.
        malformed = ours is None and re.search(r'rules\.json: (rules|mapping)', why) is not None
        valid = is_valid(document, version)
        refused += not valid
        named = 'regular expression' in why or 'which is not done here' in why
        if malformed == valid and not (malformed and named):
            wrong.append((version, document, why, valid))
    c.ok('%s: the same of %d documents are refused' % (what, len(cases)), not wrong, wrong[:1])
    c.ok('%s: many, and not all' % what, .1 < refused / len(cases) < .95, refused)


def by_hand(c, folder):
    cases = [(document, attributes, version) for document, attributes in BY_HAND for version in VERSIONS]
    compare(c, 'by hand', folder, [case for case in cases if is_valid(case[0], case[2])])


def the_tool(c, folder):
    """`keystone-manage mapping_engine`, which knows version 1.0 alone, on the same files."""
    for n, (document, attributes) in enumerate(BY_HAND[:6]):
        ours, why = vicar(folder, document, attributes)
        conf = os.path.join(folder, 'keystone.conf')
        with open(conf, 'w') as f:
            f.write('[DEFAULT]\nlog_file = %s\n' % os.path.join(folder, 'keystone.log'))
        ran = subprocess.run([harness.env_bin('keystone', 'keystone-manage'), '--config-file', conf, 'mapping_engine',
                              '--rules', os.path.join(folder, 'rules.json'),
                              '--input', os.path.join(folder, 'input.txt')], capture_output=True, text=True)
        c.equal('keystone-manage mapping_engine %d' % n, normal(ours), normal(json.loads(ran.stdout)))


def at_random(c, folder, rng, count):
    cases = []
    for _ in range(count):
        version = rng.choice(VERSIONS)
        cases.append((some_document(rng, version), some_attributes(rng), version))
    mapped = compare(c, 'random documents', folder, cases)
    c.ok('random documents: many come to something', mapped > count / 10, mapped)


def random_refusals(c, folder, rng, count):
    cases = []
    for _ in range(count):
        version = rng.choice(VERSIONS)
        cases.append((broken(rng, some_document(rng, rng.choice(VERSIONS))), version))
    refusals(c, 'broken documents', folder, cases)


def expressions(c, folder, rng, count):
    """Random regular expressions: found where Python finds them, unless they are refused by name."""
    parts = ['a', 'b', '.', '^', '$', '*', '+', '?', '|', '(', ')', '[', ']', '-', '{2}', '{1,}', '{', '}', '\\d',
             '\\w', '\\s', '\\b', '\\W', '\\.', '\\A', '\\Z', '(?:', '(?i)', '(?=', '(?!', '(?P<n>', '\\1', '^', '\\',
             'é', ' ']
    texts = ['', 'a', 'b', 'ab', 'aab', 'a b', 'A', '.', 'éa', '11', 'a-b', '{2}', 'ba_']
    wrong, both, refused = [], 0, 0
    for _ in range(count):
        pattern = ''.join(rng.choice(parts) for _ in range(rng.randrange(1, 7)))
        document = rule([{'groups': '{0}', 'domain': {'id': 'd'}}],
                        {'type': 'A', 'whitelist': [pattern], 'regex': True})
        attributes = {'A': ';'.join(texts)}
        ours, why = vicar(folder, document, attributes)
        try:
            re.compile(pattern)
            valid = True
        except re.error:
            valid = False
        if ours is None:
            refused += 1
            if valid and 'which is not done here' not in why:
                wrong.append((pattern, why, valid))
            continue
        both += 1
        if not valid or normal(ours) != normal(said(document, attributes, '1.0')[0]):
            wrong.append((pattern, ours, said(document, attributes, '1.0')))
    c.ok('%d random expressions find the same, %d are refused' % (both, refused), not wrong, wrong[:3])
    c.ok('many are taken', both > count / 10, both)


def main():
    args = argparse.ArgumentParser()
    args.add_argument('--documents', type=int, default=400)
    args.add_argument('--seed', type=int, default=random.randrange(1 << 32))
    args = args.parse_args()
    print('seed %d' % args.seed)
    rng = random.Random(args.seed)
    keystone.conf.configure()
    keystone.conf.CONF([], project='keystone', default_config_files=[], default_config_dirs=[])
    cache.configure_cache()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter('ignore')
    c = harness.Checks()
    with tempfile.TemporaryDirectory(prefix='vicar-mapping-') as folder:
        c.part('by hand', by_hand, c, folder)
        c.part("Keystone's tool", the_tool, c, folder)
        c.part('random documents', at_random, c, folder, rng, args.documents)
        c.part('broken documents', random_refusals, c, folder, rng, args.documents)
        c.part('regular expressions', expressions, c, folder, rng, args.documents)
    sys.exit(c.close())


if __name__ == '__main__':
    main()
