#!/usr/bin/env python3
"""arrows.py [--print]: does the server's code keep to the arrows that ARCHITECTURE.md allows?

A module is a file or a folder directly in server/src; an arrow goes from a module to one that it names by
`crate::`. The block ```arrows in ARCHITECTURE.md holds lines `from -> to, to`; a `#` begins a comment. What fails:

- an arrow that is not there, and a line that allows what is not in the code any more;
- a circle of modules, whatever the block says;
- a circle of what is directly in server/src/resources, without the arrows of the block ```back, and an arrow there
  without need;
- words of the block ```only-in (`words: file, file`) in a file that is not named there, and a name without need;
- a resource's `sql.rs` that names `http`.

Unit tests are not looked at. --print writes today's arrows. The last line is `N passed, M failed`.
"""
import collections
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCE = ROOT / 'server' / 'src'
NOT_CODE = re.compile(r'''//[^\n]*|'(?:\\.|[^'\\])'|r#".*?"#|r?"(?:\\.|[^"\\])*"''', re.S)
PATH = r'\b%s::(\{|\w+\b(?!!))'


def named(code, below='crate'):
    """The modules that a piece of code names: `crate::a::b`, `crate::{a, b::{c, d}}`."""
    for match in re.finditer(PATH % below, code):
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


def sources():
    """Each file's path below server/src, and its code without comments, strings and unit tests."""
    for file in sorted(SOURCE.rglob('*.rs')):
        code = re.split(r'#\[cfg\(test\)\]\s*mod tests', file.read_text())[0]
        yield file.relative_to(SOURCE), NOT_CODE.sub('', code)


def arrows():
    """Today's: from -> the set of to."""
    top = {p.stem for p in SOURCE.iterdir()} - {'lib', 'main'}
    found = collections.defaultdict(set)
    for path, code in sources():
        module = path.parts[0].removesuffix('.rs')
        found[module] |= set(named(code)) & top - {module}
    return {module: targets for module, targets in found.items() if targets}


def arrows_of_resources():
    """The same between what is directly in resources/."""
    found = collections.defaultdict(set)
    for path, code in sources():
        if path.parts[0] == 'resources' and len(path.parts) > 1 and path.parts[1] != 'mod.rs':
            module = path.parts[1].removesuffix('.rs')
            # Seen from a folder's own mod.rs, `super` is resources/.
            above = 'super' if path.name == 'mod.rs' or len(path.parts) == 2 else 'super::super'
            found[module] |= set(named(code, 'crate::resources')) | set(named(code, above))
    return {module: (targets & found.keys()) - {module} for module, targets in found.items()}


def circles_of_resources(back):
    """Prints what is wrong with them; returns how many arrows lead back as allowed, and how many things are wrong."""
    today = arrows_of_resources()
    without = {a: targets - back.get(a, set()) for a, targets in today.items()}
    circle = in_circles(without)
    if circle:
        print('FAIL  in resources/, arrows lead back to', ', '.join(circle))
    idle = {(a, b) for a, b in pairs(back)
            if b not in today.get(a, ()) or not in_circles({**without, a: without[a] | {b}})}
    for a, b in sorted(idle):
        print('FAIL  %s -> %s: in the block `back` of ARCHITECTURE.md, without need' % (a, b))
    return len(pairs(back) - idle), len(idle) + bool(circle)


def block(name, between):
    """The lines of a block of ARCHITECTURE.md: the part before `between` -> the set of the parts after it."""
    text = re.search(r'```%s\n(.*?)```' % name, (ROOT / 'ARCHITECTURE.md').read_text(), re.S)
    found = collections.defaultdict(set)
    for line in text.group(1).splitlines():
        line = line.split('#')[0].strip()
        if line:
            source, targets = line.split(between)
            found[source.strip()] |= {t.strip() for t in targets.split(',')}
    return found


def in_circles(found):
    """The modules from which arrows lead back to themselves."""
    def reach(module):
        seen, next_ = set(), [module]
        while next_:
            new = found.get(next_.pop(), set()) - seen
            seen |= new
            next_ += new
        return seen
    return sorted(module for module in found if module in reach(module))


def compare(what, real, allow):
    """Prints what differs; returns how many agree and how many do not."""
    for a, b in sorted(real - allow):
        print('FAIL  %s %s %s: ARCHITECTURE.md does not allow this' % (a, what, b))
    for a, b in sorted(allow - real):
        print('FAIL  %s %s %s: allowed in ARCHITECTURE.md, but not in the code any more' % (a, what, b))
    return len(real & allow), len(real ^ allow)


def pairs(found):
    return {(a, b) for a, targets in found.items() for b in targets}


def main():
    today = arrows()
    if '--print' in sys.argv:
        for module, targets in sorted(today.items()):
            print(module, '->', ', '.join(sorted(targets)))
        return 0
    passed, failed = compare('->', pairs(today), pairs(block('arrows', '->')))
    circle = in_circles(today)
    if circle:
        print('FAIL  arrows lead back to', ', '.join(circle))
    good, bad = circles_of_resources(block('back', '->'))
    passed, failed = passed + good, failed + bad
    only_in = block('only-in', ': ')
    users = {(words, str(path)) for words in only_in for path, code in sources() if words in code}
    good, bad = compare('in', users, pairs(only_in))
    passed, failed = passed + good, failed + bad + bool(circle)
    for path, code in sources():
        if path.parts[0] == 'resources' and path.name == 'sql.rs':
            if 'http' in named(code):
                failed += 1
                print('FAIL  %s names http: requests and JSON have no place in it' % path)
            else:
                passed += 1
    print('%d passed, %d failed' % (passed, failed))
    return int(failed > 0)


if __name__ == '__main__':
    sys.exit(main())
