#!/usr/bin/env python3
"""Policy files of a Keystone, as the real oslo.policy reads them and as Vicar does.

    policy_files.py [--questions 20000] [--seed N]

What `oslopolicy-sample-generator` writes is accepted whole and decides as Keystone's own defaults do; what
PyYAML dumps means the same whatever its form; and random rules are judged alike over random tokens and
objects. Vicar may refuse where oslo.policy allows, for reasons that are listed here; never the other way round.
"""
import argparse
import collections
import json
import os
import random
import re
import subprocess
import sys
import tempfile

import harness

if __name__ == '__main__':
    harness.run_in('keystone')

import yaml
from keystone.common import policies
from oslo_config import cfg
from oslo_policy import policy

import server

# Whose shipped rules say more or less than Keystone's, as docs/compatibility.md and docs/delegation.md tell:
# a trust's keypair is a matter of its trustee and trustors too, and making one needs another role than `reader`.
OWN_RULES = {
    'identity:get_credential', 'identity:delete_credential', 'identity:ec2_get_credential',
    'identity:ec2_create_credential', 'identity:ec2_delete_credential',
}
FACTS = open(os.path.join(harness.REPO, 'rules/src/policy/facts.rs')).read()
FACTS = re.findall(r'^    \w+, "([^"]+)";$', FACTS, re.M)
FLAGS = ('enabled', 'is_domain', 'impersonation')
VALUES = ['u', 'd', 'p', 'x', 'member']
ROLES = ['admin', 'manager', 'member', 'reader', 'service', 'x']


def vicar(*args, **more):
    return subprocess.run([server.vicar_bin(), 'policy', *args], capture_output=True, text=True,
                          env={'PATH': os.environ['PATH'], 'HOME': '/nonexistent'}, **more)


def write(folder, name, text):
    path = os.path.join(folder, name)
    with open(path, 'w') as f:
        f.write(text)
    return path


def effective(path):
    answer = vicar('list', '--json', path)
    assert answer.returncode == 0, answer.stderr
    return {rule['name']: rule for rule in json.loads(answer.stdout)}


def decide(path, questions):
    """What Vicar says to these."""
    lines = ''.join(json.dumps(q) + '\n' for q in questions)
    answer = vicar('ask', *([path] if path else []), input=lines)
    assert answer.returncode == 0, answer.stderr
    said = [line == 'true' for line in answer.stdout.splitlines()]
    assert len(said) == len(questions)
    return said


def sample():
    text = subprocess.run([harness.env_bin('keystone', 'oslopolicy-sample-generator'), '--namespace', 'keystone'],
                          capture_output=True, text=True, check=True).stdout
    return re.sub(r'^#"', '"', text, flags=re.M)


class Oslo:
    """oslo.policy with rules, and the kinds of scope of Keystone's operations."""

    def __init__(self, text=None):
        self.enforcer = policy.Enforcer(cfg.ConfigOpts(), use_conf=False)
        self.enforcer.conf([])
        self.enforcer.register_defaults(policies.list_rules())
        rules = {rule.name: rule.check for rule in policies.list_rules()}
        if text is not None:
            rules.update(policy.Rules.load(text))
        self.enforcer.set_rules(rules)

    def says(self, question):
        token = question['token']
        creds = {
            'user_id': token['user']['id'],
            'user_domain_id': token['user']['domain']['id'],
            'system_scope': 'all' if 'system' in token else None,
            'domain_id': token.get('domain', {}).get('id'),
            'project_id': token.get('project', {}).get('id'),
            'project_domain_id': token.get('project', {}).get('domain', {}).get('id'),
            'roles': [role['name'] for role in token['roles']],
            'is_admin_project': 'domain' not in token,
            'token': token,
        }
        return bool(self.enforcer.enforce(question['rule'], dict(question['target']), creds))


def some_token(rng):
    token = {
        'user': {'id': rng.choice(VALUES), 'name': rng.choice(VALUES),
                 'domain': {'id': rng.choice(VALUES), 'name': rng.choice(VALUES)}},
        'methods': ['password'],
        'roles': [{'id': name, 'name': name} for name in rng.sample(ROLES, rng.randrange(4))],
    }
    kind = rng.choice(['project', 'domain', 'system', 'none'])
    if kind == 'project':
        token['project'] = {'id': rng.choice(VALUES), 'name': rng.choice(VALUES),
                            'domain': {'id': rng.choice(VALUES), 'name': rng.choice(VALUES)}}
        token['is_domain'] = rng.random() < .5
    elif kind == 'domain':
        token['domain'] = {'id': rng.choice(VALUES), 'name': rng.choice(VALUES)}
    elif kind == 'system':
        token['system'] = {'all': True}
    return token


def some_target(rng):
    """Some objects, each with all that can be known of it."""
    objects = collections.defaultdict(list)
    for key in FACTS:
        objects[key.rpartition('.')[0] if key.count('.') > 1 else key].append(key)
    target = {}
    for keys in objects.values():
        if rng.random() < .6:
            for key in keys:
                if key.endswith(FLAGS):
                    target[key] = rng.random() < .5
                else:
                    target[key] = None if rng.random() < .1 else rng.choice(VALUES)
    return target


def some_rule(rng, depth=0):
    if depth < 4 and rng.random() < .6:
        parts = [some_rule(rng, depth + 1) for _ in range(rng.choice([1, 2, 2, 3]))]
        if len(parts) == 1:
            return 'not %s' % parts[0] if rng.random() < .5 else '(not (%s))' % parts[0]
        text = rng.choice([' and ', ' or ', ' AND  ', ' Or ']).join(parts)
        # Without parentheses it is for the precedence to say.
        return text if depth == 0 and not any('not' in p for p in parts) else '(%s)' % text
    left = ['user_id', 'user_domain_id', 'project_id', 'project_domain_id', 'domain_id', 'system_scope', 'roles',
            'is_admin_project', 'token.user.id', 'token.user.name', 'token.user.domain.id', 'token.domain.id',
            'token.project.id', 'token.project.domain.name', 'token.roles.name', 'token.system.all',
            'token.is_domain', "'member'", '"x"', 'None', 'True', 'False', '0']
    right = ['%%(%s)s' % rng.choice(FACTS)] * 6 + ['None', 'True', 'all', 'x', 'u%%', 'x-%%(%s)s' % FACTS[0]]
    return rng.choice([
        '%s:%s' % (rng.choice(left), rng.choice(right)),
        'role:%s' % rng.choice(ROLES + ['MEMBER', '%(target.role.name)s']),
        rng.choice(['@', '!', 'rule:admin_required', 'rule:owner', 'rule:other', 'rule:nowhere', 'is_admin:1'])])


def has_null(question):
    return any(value is None for value in question['target'].values())


def compare(c, what, oslo, path, questions, strict):
    """Vicar never allows more, and what differs at all is what `strict` names."""
    more, less, allowed = [], [], 0
    for question, ours in zip(questions, decide(path, questions)):
        theirs = oslo.says(question)
        allowed += ours
        if ours and not theirs:
            more.append(question)
        if theirs and not ours and not strict(question):
            less.append(question)
    c.ok('%s: %d questions, nothing is allowed that oslo.policy refuses' % (what, len(questions)), not more, more[:1])
    c.ok('%s: it is allowed now and then' % what, .1 < allowed / len(questions) < .9, allowed)
    c.ok('%s: the reason is known wherever something is refused that oslo.policy allows' % what, not less, less[:1])


def the_sample(c, folder, rng, count):
    text = sample()
    path = write(folder, 'sample.yaml', text)
    answer = vicar('check', path)
    c.ok('the generated sample is understood', answer.returncode == 0, answer.stdout[-300:] + answer.stderr)
    names = {rule.name for rule in policies.list_rules()}
    rules = effective(path)
    c.ok('all of its rules are there', names <= set(rules), names - set(rules))
    served = sorted(name for name in names if rules[name]['asked'] and ':' in name)
    c.ok('many of them are asked for', len(served) > 100, len(served))
    c.equal('none refuses', [name for name in names if rules[name]['refuses']], [])
    questions = [{'rule': rng.choice(served), 'token': some_token(rng), 'target': some_target(rng)}
                 for _ in range(count)]
    compare(c, 'the sample', Oslo(), path, questions, has_null)
    compare(c, 'the shipped rules', Oslo(), None, [q for q in questions if q['rule'] not in OWN_RULES], has_null)


def the_forms(c, folder, rng):
    texts = {'identity:%d %s' % (n, 'long ' * (n % 40)): some_rule(rng) for n in range(300)}
    texts.update({'n%d' % n: text for n, text in enumerate(
        ['', '!', '@', "it's", '"', 'a: b', '# c', ' x ', 'x\ty', 'role:ä', 'a\nb', '~', 'null', 'yes', '1', '1.5',
         '2001-01-01', '- a', '[', '{', '%(x)s', '&a', '*a', '|', '>', '!!str', '? a', 'role:x ' * 60])})
    for style in (None, '"', "'", '|', '>'):
        for flow in (False, True):
            for width in (20, 80, 10000):
                dumped = yaml.safe_dump(texts, default_style=style, default_flow_style=flow, width=width,
                                        allow_unicode=width == 80)
                rules = effective(write(folder, 'dumped.yaml', dumped))
                wrong = [name for name, text in texts.items() if rules[name]['rule'] != text]
                c.equal('dumped by PyYAML, style %s, flow %s, width %d' % (style, flow, width), wrong[:3], [])
    rules = effective(write(folder, 'dumped.json', json.dumps(texts, indent=1)))
    c.equal('as JSON', [name for name, text in texts.items() if rules[name]['rule'] != text], [])


def the_values(c, folder, rng):
    """What is no string: where oslo.policy allows everybody, here nobody is allowed."""
    token = {'user': {'id': 'u', 'domain': {'id': 'd'}}, 'roles': [{'id': 'x', 'name': 'x'}], 'methods': []}
    values = [None, [], {}, False, 0, True, 1, 1.5, {'a': 'b'}, [1], [[1]], [[]], [['@']], ['@'], ['!'], [['!'], ['@']],
              [['role:x'], ['role:y']], [['role:x', 'role:y']], [['role:x', '@']], ['role:x', None], [None, []],
              ['', 'role:x'], [['role:y or role:x']], ['role:x or role:y'], [['not role:y']]]
    for value in values:
        path = write(folder, 'value.yaml', yaml.safe_dump({'a': value}))
        ours = decide(path, [{'rule': 'a', 'token': token, 'target': {}}])[0]
        try:
            theirs = Oslo(yaml.safe_dump({'a': value})).says({'rule': 'a', 'token': token, 'target': {}})
        except Exception as e:
            theirs = type(e).__name__
        is_list = isinstance(value, list) and bool(value) and not isinstance(theirs, str)
        c.ok('%r is %s here, %s there' % (value, ours, theirs), ours == theirs if is_list else not ours)


def the_rules(c, folder, rng, count):
    for turn in range(max(count // 500, 1)):
        texts = {'identity:r%d' % n: some_rule(rng) for n in range(100)}
        texts.update({'other': some_rule(rng, 3)})
        if turn % 2:
            texts['default'] = 'role:x'
        text = yaml.safe_dump(texts)
        path = write(folder, 'random.yaml', text)
        known = effective(path)
        # A name that leads nowhere must not be denied here.
        names = [name for name in texts if not known[name]['refuses'] and ':' in name]
        oslo = Oslo(text)
        more, less, allowed = [], [], 0
        questions = [{'rule': rng.choice(names), 'token': some_token(rng), 'target': some_target(rng)}
                     for _ in range(500)]
        for question, ours in zip(questions, decide(path, questions)):
            theirs = oslo.says(question)
            allowed += ours
            if ours != theirs and not has_null(question):
                more.append((texts[question['rule']], question))
            elif ours and not theirs:
                less.append((texts[question['rule']], question))
        refused = sum(known[name]['refuses'] for name in texts)
        c.ok('100 random rules, of which %d refuse: judged alike' % refused, not more, more[:1])
        c.ok('it is allowed now and then', 50 < allowed < 450, allowed)
        c.ok('with nulls nothing more is allowed', not less, less[:1])


def main():
    args = argparse.ArgumentParser()
    args.add_argument('--questions', type=int, default=20000)
    args.add_argument('--seed', type=int, default=random.randrange(1 << 32))
    args = args.parse_args()
    print('seed %d' % args.seed)
    rng = random.Random(args.seed)
    c = harness.Checks()
    with tempfile.TemporaryDirectory(prefix='vicar-policy-') as folder:
        c.part('the sample of a Keystone', the_sample, c, folder, rng, args.questions)
        c.part('forms of YAML', the_forms, c, folder, rng)
        c.part('values that are no strings', the_values, c, folder, rng)
        c.part('random rules', the_rules, c, folder, rng, args.questions)
    sys.exit(c.close())


if __name__ == '__main__':
    main()
