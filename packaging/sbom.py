#!/usr/bin/env python3
"""sbom.py FORMAT OUT: what is linked into vicar and vicar-demo, on this machine's target.

cyclonedx  a CycloneDX 1.6 document, JSON
notices    the licence texts of these crates, as their licences want them to be passed on
list       one line for each: name, version, licence

What is linked follows from `cargo metadata`: the dependencies of both programs, without those of tests, of build
scripts and of macros, which run at the build only. SOURCE_DATE_EPOCH is the document's time.
"""
import collections
import datetime
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tomllib
import uuid

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAMS = ('vicar', 'vicar-demo')
TEXTS = re.compile(r'(?i)^(licen[cs]e|copying|copyright|notice|unlicense)([-_.].*)?$')


def run(*command):
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def compiler():
    """The facts of `rustc -vV`."""
    return dict(line.split(': ', 1) for line in run('rustc', '-vV').splitlines() if ': ' in line)


def is_macro(package):
    return any('proc-macro' in target['kind'] for target in package['targets'])


class Linked:
    """The packages that are linked, and who needs whom: id -> package, id -> ids."""

    def __init__(self, target):
        data = json.loads(run('cargo', 'metadata', '--locked', '--format-version', '1', '--filter-platform', target))
        packages = {p['id']: p for p in data['packages']}
        nodes = {n['id']: n for n in data['resolve']['nodes']}
        todo = [p['id'] for p in packages.values() if p['name'] in PROGRAMS and p['source'] is None]
        self.programs = sorted(todo)
        self.needs = {}
        while todo:
            one = todo.pop()
            if one in self.needs:
                continue
            self.needs[one] = sorted(
                d['pkg'] for d in nodes[one]['deps']
                if any(k['kind'] is None for k in d['dep_kinds']) and not is_macro(packages[d['pkg']]))
            todo += self.needs[one]
        self.packages = {i: packages[i] for i in sorted(self.needs, key=lambda i: self.key(packages[i]))}

    @staticmethod
    def key(package):
        return package['name'], package['version']

    def folder(self, package):
        return pathlib.Path(package['manifest_path']).parent


def licence(package):
    """Its SPDX expression. Older crates separate alternatives by a slash."""
    return re.sub(r'\s*/\s*', ' OR ', package['license'] or '')


def purl(package):
    return f'pkg:cargo/{package["name"]}@{package["version"].replace("+", "%2B")}'


def sqlite(linked):
    """The version of the SQLite that is part of libsqlite3-sys."""
    for package in linked.packages.values():
        if package['name'] == 'libsqlite3-sys':
            header = (linked.folder(package) / 'sqlite3' / 'sqlite3.h').read_text()
            return re.search(r'^#define SQLITE_VERSION\s+"([^"]+)"', header, re.M).group(1), package['id']
    raise SystemExit('sbom.py: no libsqlite3-sys')


def cyclonedx(linked, rustc):
    with open(ROOT / 'Cargo.lock', 'rb') as f:
        sums = {(p['name'], p['version']): p.get('checksum') for p in tomllib.load(f)['package']}
    refs = {i: purl(p) for i, p in linked.packages.items()}
    components = []
    for i, package in linked.packages.items():
        entry = {
            'type': 'application' if i in linked.programs else 'library',
            'bom-ref': refs[i], 'name': package['name'], 'version': package['version'], 'purl': refs[i],
            'licenses': [{'expression': licence(package)}],
        }
        if checksum := sums[Linked.key(package)]:
            entry['hashes'] = [{'alg': 'SHA-256', 'content': checksum}]
        if package['description']:
            entry['description'] = ' '.join(package['description'].split())
        if package['repository']:
            entry['externalReferences'] = [{'type': 'vcs', 'url': package['repository']}]
        components.append(entry)
    version, bindings = sqlite(linked)
    c_library = f'pkg:generic/sqlite@{version}'
    std = f'pkg:generic/rust-std@{rustc["release"]}'
    components += [
        {'type': 'library', 'bom-ref': c_library, 'name': 'sqlite', 'version': version, 'purl': c_library,
         'cpe': f'cpe:2.3:a:sqlite:sqlite:{version}:*:*:*:*:*:*:*', 'licenses': [{'license': {'id': 'blessing'}}]},
        {'type': 'library', 'bom-ref': std, 'name': 'rust-std', 'version': rustc['release'], 'purl': std,
         'licenses': [{'expression': 'MIT OR Apache-2.0'}]},
    ]
    needs = {refs[i]: sorted({refs[d] for d in ds}) for i, ds in linked.needs.items()}
    needs[refs[bindings]] = sorted([*needs[refs[bindings]], c_library])
    for program in linked.programs:
        needs[refs[program]] = sorted([*needs[refs[program]], std])
    main = next(p for i, p in linked.packages.items() if i in linked.programs and p['name'] == 'vicar')
    time = datetime.datetime.fromtimestamp(int(os.environ.get('SOURCE_DATE_EPOCH', '0')), datetime.UTC)
    document = {
        'bomFormat': 'CycloneDX', 'specVersion': '1.6', 'version': 1,
        'metadata': {
            'timestamp': time.strftime('%Y-%m-%dT%H:%M:%SZ'),
            'component': {'type': 'application', 'bom-ref': 'vicar-release', 'name': 'vicar',
                          'version': main['version'], 'licenses': [{'expression': licence(main)}]},
            'properties': [{'name': 'target', 'value': rustc['host']}],
        },
        'components': components,
        'dependencies': [{'ref': 'vicar-release', 'dependsOn': sorted(refs[p] for p in linked.programs)}]
        + [{'ref': r, 'dependsOn': needs[r]} for r in sorted(needs)],
    }
    content = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    document['serialNumber'] = f'urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}'
    return json.dumps(document, indent=1) + '\n'


def notices(linked):
    """Each text once, after the crates that bring it."""
    texts = collections.defaultdict(set)
    without = []
    for package in linked.packages.values():
        if package['source'] is None:
            continue
        name = f'{package["name"]} {package["version"]}'
        files = [f for f in sorted(linked.folder(package).iterdir()) if f.is_file() and TEXTS.match(f.name)]
        if not files:
            authors = ', '.join(re.sub(r'\s*<.*?>', '', a) for a in package['authors']) or 'its authors'
            without.append(f'  {name}, by {authors}: {licence(package)}\n')
        for file in files:
            texts['\n'.join(s.rstrip() for s in file.read_text(errors='replace').strip().splitlines())].add(name)
    parts = ['Vicar contains these libraries, under these licences. SQLite, another one, is in the public domain.\n']
    for text, names in sorted(texts.items(), key=lambda item: (sorted(item[1]), item[0])):
        parts.append('-' * 79 + '\n' + ', '.join(sorted(names)) + '\n\n' + text + '\n')
    if without:
        parts.append('-' * 79 + '\nThese come without a text of their own:\n\n' + ''.join(without))
    return '\n'.join(parts)


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in ('cyclonedx', 'notices', 'list'):
        raise SystemExit(__doc__)
    rustc = compiler()
    linked = Linked(rustc['host'])
    bare = [p['name'] for p in linked.packages.values() if not licence(p)]
    if bare:
        raise SystemExit(f'sbom.py: crates without a licence: {", ".join(bare)}')
    if sys.argv[1] == 'cyclonedx':
        out = cyclonedx(linked, rustc)
    elif sys.argv[1] == 'notices':
        out = notices(linked)
    else:
        out = ''.join(f'{p["name"]} {p["version"]} {licence(p)}\n' for p in linked.packages.values())
    pathlib.Path(sys.argv[2]).write_text(out)


if __name__ == '__main__':
    main()
