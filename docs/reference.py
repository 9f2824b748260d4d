#!/usr/bin/env python3
"""Makes docs/api.md, the reference for users, from docs/openapi.json.

    reference.py            write it
    reference.py --check    is it the one that the document makes?
"""
import json
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
METHODS = ('get', 'head', 'post', 'put', 'patch', 'delete')

HEAD = '''# Reference of the API

Every call with what it takes and what it answers, made from [openapi.json](openapi.json) by `docs/reference.py`. What
is said here is what the tests compare every answer with.

- A token goes into the header `X-Auth-Token`; a call that needs none says so. [policy.md](policy.md) has the rule of
  each operation.
- Each `GET` serves `HEAD` too, with the same status and headers and no body.
- Lists in pages take `limit` and `marker`, the id of the last item of the page before; `links.next` leads to the next
  page, and `truncated` says that there is one. A list is filtered by the parameters that it names.
- Errors have the body `{"error": {"code": …, "message": …, "title": …}}`. Any call can be answered with 400 (the
  request is wrong; the message names the field), 408, 413 and 503 (try again after `Retry-After` seconds); a call
  with a token also with 401, 403 and 404.
- Where an answer differs from a Keystone's is in [compatibility.md](compatibility.md).

## Delegation by example

What no Keystone has is shown with commands and what they print in [by-example.md](by-example.md), which the tests
run:

| What | Calls |
| --- | --- |
%s

Terms, suspension, succession, evidence, ceilings and credentials that delegate have their examples in
[delegation.md](delegation.md), which the tests run too:

| What | Calls |
| --- | --- |
%s
'''


CALL = r'(?:call|status) (GET|POST|DELETE|PUT|PATCH) "?(/(?:OS-TRUST|users|credentials|ec2tokens)[^ "]*)'
EVERYWHERE = ('400', '401', '403', '404', '408', '413', '503')


def anchor(title):
    return re.sub(r'[^a-z0-9 _-]', '', title.lower()).replace(' ', '-')


def examples():
    """The sections of by-example.md, with the calls of ours in each."""
    with open(os.path.join(HERE, 'by-example.md')) as f:
        parts = re.split(r'^## (.+)$', f.read(), flags=re.M)[1:]
    rows = []
    for title, text in zip(parts[::2], parts[1::2]):
        calls = re.findall(CALL, text)
        shown = list(dict.fromkeys('`%s /v3%s`' % (m, re.sub(r'\$\{?(\w+)\}?', r'{\1}', p)) for m, p in calls))
        if shown and not title.startswith('A server'):
            rows.append('| [%s](by-example.md#%s) | %s |' % (title, anchor(title), ', '.join(shown)))
    return '\n'.join(rows)


def delegation():
    """The sections of delegation.md that have calls, with these."""
    with open(os.path.join(HERE, 'delegation.md')) as f:
        parts = re.split(r'^##+ (.+)$', f.read(), flags=re.M)[1:]
    rows = []
    for title, text in zip(parts[::2], parts[1::2]):
        calls = [call for block in re.findall(r'^```sh\n(.*?)^```', text, re.M | re.S)
                 for call in re.findall(r'curl (?:-X (\w+) )?"\$OS_AUTH_URL(/[^"]+)"([^|]*?)(?=curl|\Z)', block, re.S)]
        # Without a method curl sends what it has a body for as POST.
        shown = list(dict.fromkeys('`%s /v3%s`' % (method or ('POST' if ' -d ' in rest else 'GET'),
                                                   re.sub(r'\$(\w+)', lambda m: '{%s}' % m.group(1).lower(), path))
                                   for method, path, rest in calls))
        if shown:
            rows.append('| [%s](delegation.md#%s) | %s |' % (title, anchor(title), ', '.join(shown)))
    return '\n'.join(rows)


def kind(schema):
    """A schema in a few words."""
    if not isinstance(schema, dict) or not schema:
        return 'any'
    if '$ref' in schema:
        name = schema['$ref'].rsplit('/', 1)[1]
        return '[%s](#%s)' % (name, name.lower())
    if 'anyOf' in schema:
        return ' or '.join(kind(s) for s in schema['anyOf'])
    if 'const' in schema:
        return '`%s`' % json.dumps(schema['const'])
    if 'enum' in schema:
        words = schema['enum']
        return ', '.join('`%s`' % json.dumps(w) for w in words)
    types = schema.get('type', 'any')
    types = [types] if isinstance(types, str) else list(types)
    words = []
    for each in types:
        if each == 'array':
            words.append('list of ' + kind(schema.get('items', {})))
        elif each == 'string' and schema.get('format') == 'date-time':
            words.append('time')
        else:
            words.append(each)
    limits = []
    if schema.get('maxLength'):
        limits.append('at most %d characters' % schema['maxLength'])
    if schema.get('minimum') is not None and schema['minimum'] > -2 ** 31:
        limits.append('at least %s' % schema['minimum'])
    return ' or '.join(words) + (' (%s)' % ', '.join(limits) if limits else '')


def table(schema, head):
    """The properties of an object, and of those in it that have no name."""
    rows = ['| %s | |' % head, '| --- | --- |']

    def add(schema, before, depth):
        required = schema.get('required', [])
        for name, inner in schema.get('properties', {}).items():
            what = kind(inner)
            if inner.get('description'):
                what += ': ' + inner['description'][:1].lower() + inner['description'][1:]
            always = '' if name in required else ', optional'
            rows.append('| `%s%s` | %s%s |' % (before, name, what.replace('|', '\\|'), always))
            for below in (inner, inner.get('items', {})):
                if isinstance(below, dict) and below.get('properties') and depth < 4:
                    add(below, before + name + ('[].' if below is not inner else '.'), depth + 1)
    add(schema, '', 0)
    return '\n'.join(rows) if len(rows) > 2 else ''


def parameters(document, item, operation):
    rows = []
    for scheme in (name for way in operation['security'] for name in way if name != 'token'):
        about = document['components']['securitySchemes'][scheme]['description']
        rows.append('| `Authorization` (header) | %s |' % about)
    for given in operation.get('parameters', []):
        if '$ref' in given:
            given = document['components']['parameters'][given['$ref'].rsplit('/', 1)[1]]
        if given['name'] in ('limit', 'marker'):
            continue
        what = kind(given.get('schema', {}))
        about = given.get('description') or given.get('schema', {}).get('description')
        rows.append('| `%s` (%s) | %s%s |' % (given['name'], given['in'], what, ': ' + about if about else ''))
    return '\n'.join(['| Parameter | |', '| --- | --- |'] + rows) if rows else ''


def answers(operation):
    lines = []
    for status, response in operation['responses'].items():
        if '$ref' in response:
            continue
        content = response.get('content', {})
        bodies = []
        for media, body in content.items():
            schema = body['schema']
            members = schema.get('properties', {})
            if media == 'text/html':
                bodies.append('a page')
            elif media != 'application/json':
                bodies.append('%s as `%s`' % (kind(schema), media))
            elif members:
                bodies.append(', '.join('`%s`: %s' % (name, kind(inner)) for name, inner in members.items()
                                        if name not in ('links', 'truncated')))
            else:
                bodies.append(kind(schema))
        headers = ', '.join('`%s`' % name for name in response.get('headers', {}))
        text = '; or '.join(bodies) or 'no body'
        lines.append('- %s: %s%s' % (status, text, ', header %s' % headers if headers else ''))
    other = [s for s, r in operation['responses'].items() if '$ref' in r and s not in EVERYWHERE]
    if other:
        lines.append('- also %s' % ', '.join(sorted(other)))
    return '\n'.join(lines)


def page(document):
    out = [HEAD % (examples(), delegation())]
    by_tag = {}
    for path, item in document['paths'].items():
        for method in METHODS:
            if method in item:
                by_tag.setdefault(item[method]['tags'][0], []).append((method.upper(), path, item, item[method]))
    for tag, operations in by_tag.items():
        out.append('## %s\n' % tag)
        for method, path, item, operation in operations:
            out.append('### `%s %s`\n' % (method, path))
            rules = ', '.join('[%s](policy.md#%s)' % (op, anchor(op)) for op in operation.get('x-policy', []))
            text = operation['summary'] + '.'
            if 'description' in operation:
                text += ' %s.' % operation['description']
            if rules:
                text += ' Policy: %s.' % rules
            if not any('token' in way for way in operation['security']):
                text += ' No token is needed.'
            elif {} in operation['security']:
                text += ' A token is not needed.'
            out.append(text + '\n')
            out += [t + '\n' for t in [parameters(document, item, operation)] if t]
            if 'requestBody' in operation:
                for media, body in operation['requestBody']['content'].items():
                    head = 'In the body' if media == 'application/json' else 'In the form'
                    about = body['schema'].get('description')
                    out += [t + '\n' for t in [about and about + '.', table(body['schema'], head)] if t]
            out.append(answers(operation) + '\n')
    out.append('## Objects\n\n'
               'An object has other attributes besides where a client gave it some, unless it says that it has none.\n')
    for name, schema in sorted(document['components']['schemas'].items()):
        out.append('### %s\n' % name)
        if schema.get('additionalProperties') is False:
            out.append('There are no other attributes.\n')
        if 'description' in schema:
            out.append(schema['description'] + '.\n')
        out.append((table(schema, 'Attribute') or 'A value: %s.' % kind(schema)) + '\n')
    return '\n'.join(out).rstrip() + '\n'


def main():
    with open(os.path.join(HERE, 'openapi.json')) as f:
        made = page(json.load(f))
    path = os.path.join(HERE, 'api.md')
    if '--check' not in sys.argv:
        with open(path, 'w') as f:
            f.write(made)
        return 0
    with open(path) as f:
        is_fresh = f.read() == made
    if not is_fresh:
        print('docs/api.md is not what docs/openapi.json makes; python3 docs/reference.py writes it')
    return int(not is_fresh)


if __name__ == '__main__':
    sys.exit(main())
