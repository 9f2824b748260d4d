#!/usr/bin/env python3
"""arrows.py [--print]: does the server's code keep to the arrows that ARCHITECTURE.md allows?

A module is a file or a folder directly in server/src; an arrow goes from a module to one that it names by
`crate::`. The block ```arrows in ARCHITECTURE.md holds lines `from -> to, to`; a `#` begins a comment. An arrow
that is not there fails, and so does a line that allows what is not in the code any more. Unit tests are not
looked at. --print writes today's arrows. The last line is `N passed, M failed`.
"""
import collections
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCE = ROOT / 'server' / 'src'
NOT_CODE = re.compile(r'''//[^\n]*|'(?:\\.|[^'\\])'|r#".*?"#|r?"(?:\\.|[^"\\])*"''', re.S)
PATH = re.compile(r'\bcrate::(\{|\w+)')


def named(code):
    """The modules that a piece of code names: `crate::a::b`, `crate::{a, b::{c, d}}`."""
    for match in PATH.finditer(code):
        if match.group(1) != '{':
            yield match.group(1)
            continue
        depth, item, at = 1, '', match.end()
        while depth:
            c, at = code[at], at + 1
            depth += (c == '{') - (c == '}')
            if depth == 0 or (c == ',' and depth == 1):
                yield re.match(r'\w*', item.strip()).group()
                item = ''
            else:
                item += c


def arrows():
    """Today's: from -> the set of to."""
    top = {p.stem for p in SOURCE.iterdir()} - {'lib', 'main'}
    found = collections.defaultdict(set)
    for file in sorted(SOURCE.rglob('*.rs')):
        module = file.relative_to(SOURCE).parts[0].removesuffix('.rs')
        code = re.split(r'#\[cfg\(test\)\]\s*mod tests', file.read_text())[0]
        found[module] |= set(named(NOT_CODE.sub('', code))) & top - {module}
    return {module: targets for module, targets in found.items() if targets}


def allowed():
    """What the block allows, in the same form."""
    block = re.search(r'```arrows\n(.*?)```', (ROOT / 'ARCHITECTURE.md').read_text(), re.S)
    found = collections.defaultdict(set)
    for line in block.group(1).splitlines():
        line = line.split('#')[0].strip()
        if line:
            source, targets = line.split('->')
            found[source.strip()] |= {t.strip() for t in targets.split(',')}
    return found


def main():
    real = {(a, b) for a, targets in arrows().items() for b in targets}
    if '--print' in sys.argv:
        for module, targets in sorted(arrows().items()):
            print(module, '->', ', '.join(sorted(targets)))
        return 0
    allow = {(a, b) for a, targets in allowed().items() for b in targets}
    for a, b in sorted(real - allow):
        print('FAIL  %s -> %s: ARCHITECTURE.md does not allow this arrow' % (a, b))
    for a, b in sorted(allow - real):
        print('FAIL  %s -> %s: allowed in ARCHITECTURE.md, but not in the code any more' % (a, b))
    print('%d passed, %d failed' % (len(real & allow), len(real ^ allow)))
    return int(real != allow)


if __name__ == '__main__':
    sys.exit(main())
