#!/usr/bin/env python3
"""Compare the schema of two SQLite databases: schema.py OURS.db THEIRS.db

OURS is one made by this server, THEIRS one made by `keystone-manage db_sync`. What must agree, table by table: columns
with their order, type, nullability, default and place in the primary key; foreign keys; unique constraints and indexes;
the names of constraints. Besides, the rows of alembic_version, and that neither has views or triggers the other lacks.

Left out are tables prefixed vicar_ and indexes prefixed ix_vicar_, on either side, and nothing else.
"""

import re
import sqlite3
import sys

OWN_TABLE = "vicar_"
OWN_INDEX = "ix_vicar_"

NAMED = re.compile(
    r"""\bCONSTRAINT\s+["`\[]?(\w+)["`\]]?\s+
        (PRIMARY\s+KEY|UNIQUE|FOREIGN\s+KEY|CHECK)\s*\(([^)]*)\)""",
    re.IGNORECASE | re.VERBOSE,
)


def bare(text):
    """SQL names without their quotes and blanks."""
    return tuple(part.strip().strip('"`[]') for part in text.split(","))


def indexes(db, table):
    """Every index of the table but ours: explicit ones by name, those of constraints by what they hold."""
    found = []
    for _, name, unique, origin, partial in db.execute("SELECT * FROM pragma_index_list(?)", (table,)).fetchall():
        if name.startswith(OWN_INDEX):
            continue
        columns = tuple(
            (column, "desc" if desc else "asc", collation)
            for _, _, column, desc, collation, key in db.execute("SELECT * FROM pragma_index_xinfo(?)", (name,))
            if key
        )
        shown = name if origin == "c" else {"pk": "(primary key)", "u": "(unique)"}[origin]
        found.append((shown, bool(unique), bool(partial), columns))
    return sorted(found)


def foreign_keys(db, table):
    """Every foreign key of the table, its columns together."""
    keys = {}
    rows = db.execute("SELECT * FROM pragma_foreign_key_list(?) ORDER BY id, seq", (table,))
    for number, _, target, column, references, on_update, on_delete, match in rows:
        key = keys.setdefault(number, ([], target, [], on_update, on_delete, match))
        key[0].append(column)
        key[2].append(references)
    return sorted((tuple(f), t, tuple(r), f"on update {u}", f"on delete {d}", m) for f, t, r, u, d, m in keys.values())


def describe(db, table):
    """What is compared of one table, as {heading: list of facts}."""
    (sql,) = db.execute("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)).fetchone()
    facts = {
        # (position, name, type, not null, default, place in the primary key)
        "column": db.execute("SELECT * FROM pragma_table_info(?)", (table,)).fetchall(),
        "foreign key": foreign_keys(db, table),
        "index": indexes(db, table),
        "named constraint": sorted(
            (name, " ".join(kind.upper().split()), bare(columns)) for name, kind, columns in NAMED.findall(sql)
        ),
    }
    if table == "alembic_version":
        facts["row"] = sorted(db.execute("SELECT * FROM alembic_version").fetchall())
    return facts


def names(db, kind):
    rows = db.execute("SELECT name FROM sqlite_master WHERE type = ? AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'", (kind,))
    return {name for (name,) in rows if not name.startswith(OWN_TABLE)}


def differences(ours, theirs):
    """Lines that say what is on one side only; counts repeats."""
    left = list(theirs)
    for fact in ours:
        if fact in left:
            left.remove(fact)
        else:
            yield f"only ours:   {fact}"
    for fact in left:
        yield f"only theirs: {fact}"


def main(paths):
    if len(paths) != 2:
        sys.exit("usage: schema.py OURS.db THEIRS.db")
    # Read-only, so that a mistyped path is an error and not an empty database.
    ours, theirs = (sqlite3.connect(f"file:{path}?mode=ro", uri=True) for path in paths)
    passed = failed = 0
    for table in sorted(names(ours, "table") | names(theirs, "table")):
        problems = []
        if table not in names(ours, "table"):
            problems.append("table only theirs")
        elif table not in names(theirs, "table"):
            problems.append("table only ours")
        else:
            mine, wanted = describe(ours, table), describe(theirs, table)
            for heading in mine:
                problems += [f"{heading} {line}" for line in differences(mine[heading], wanted[heading])]
        for problem in problems:
            print(f"{table}: {problem}")
        if problems:
            failed += 1
        else:
            passed += 1
    others = []
    for kind in ("view", "trigger"):
        others += [f"{kind} {line}" for line in differences(sorted(names(ours, kind)), sorted(names(theirs, kind)))]
    for problem in others:
        print(problem)
    if not passed + failed:
        print("no tables at all")
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed or others or not passed else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
