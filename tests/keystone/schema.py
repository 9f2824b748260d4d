#!/usr/bin/env python3
"""Compare the schema of two databases of one kind: schema.py OURS THEIRS

Each is a file of SQLite, or a URL like postgresql://user@host:port/name or mysql://user@host:port/name.

OURS is one made by this server, THEIRS one made by `keystone-manage db_sync`. What must agree, table by table: columns
with their order, type, nullability, default and place in the primary key; foreign keys; unique constraints and indexes;
the names of constraints; on MariaDB engine and character set, on PostgreSQL the words of enumerations. Besides, the
rows of alembic_version, and that neither has views or triggers the other lacks.

Left out are tables prefixed vicar_ and indexes prefixed ix_vicar_, on either side, and nothing else.
"""

import re
import sqlite3
import sys
from urllib.parse import urlsplit

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


class Sqlite:
    def __init__(self, path):
        # Read-only, so that a mistyped path is an error and not an empty database.
        self.db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)

    def rows(self, sql, *args):
        return self.db.execute(sql, args).fetchall()

    def names(self, kind):
        sql = "SELECT name FROM sqlite_master WHERE type = ? AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
        return {name for (name,) in self.rows(sql, kind) if not name.startswith(OWN_TABLE)}

    def indexes(self, table):
        """Every index of the table but ours: explicit ones by name, those of constraints by what they hold."""
        found = []
        for _, name, unique, origin, partial in self.rows("SELECT * FROM pragma_index_list(?)", table):
            if name.startswith(OWN_INDEX):
                continue
            columns = tuple(
                (column, "desc" if desc else "asc", collation)
                for _, _, column, desc, collation, key in self.rows("SELECT * FROM pragma_index_xinfo(?)", name)
                if key
            )
            shown = name if origin == "c" else {"pk": "(primary key)", "u": "(unique)"}[origin]
            found.append((shown, bool(unique), bool(partial), columns))
        return sorted(found)

    def foreign_keys(self, table):
        """Every foreign key of the table, its columns together."""
        keys = {}
        rows = self.rows("SELECT * FROM pragma_foreign_key_list(?) ORDER BY id, seq", table)
        for number, _, target, column, references, on_update, on_delete, match in rows:
            key = keys.setdefault(number, ([], target, [], on_update, on_delete, match))
            key[0].append(column)
            key[2].append(references)
        return sorted((tuple(f), t, tuple(r), f"on update {u}", f"on delete {d}", m)
                      for f, t, r, u, d, m in keys.values())

    def describe(self, table):
        """What is compared of one table, as {heading: list of facts}."""
        ((sql,),) = self.rows("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?", table)
        return {
            # (position, name, type, not null, default, place in the primary key)
            "column": self.rows("SELECT * FROM pragma_table_info(?)", table),
            "foreign key": self.foreign_keys(table),
            "index": self.indexes(table),
            "named constraint": sorted(
                (name, " ".join(kind.upper().split()), bare(columns)) for name, kind, columns in NAMED.findall(sql)
            ),
        }


class Postgres:
    def __init__(self, url):
        import psycopg2
        self.db = psycopg2.connect(url)

    def rows(self, sql, *args):
        with self.db.cursor() as cursor:
            cursor.execute(sql, args)
            return cursor.fetchall()

    def names(self, kind):
        sql = {
            "table": "SELECT tablename FROM pg_tables WHERE schemaname = 'public'",
            "view": "SELECT viewname FROM pg_views WHERE schemaname = 'public'",
            "trigger": "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal",
        }[kind]
        return {name for (name,) in self.rows(sql) if not name.startswith(OWN_TABLE)}

    def describe(self, table):
        indexes = self.rows("SELECT indexname, indexdef FROM pg_indexes WHERE tablename = %s", table)
        return {
            # (position, name, type, not null, default); a dropped column leaves its position behind
            "column": self.rows(
                """SELECT row_number() OVER (ORDER BY attnum), attname, format_type(atttypid, atttypmod), attnotnull,
                          pg_get_expr(adbin, adrelid)
                     FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
                    WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum""",
                f'public."{table}"',
            ),
            "word": self.rows(
                """SELECT typname, enumlabel, row_number() OVER (PARTITION BY typname ORDER BY enumsortorder)
                     FROM pg_enum JOIN pg_type t ON t.oid = enumtypid JOIN pg_attribute ON atttypid = t.oid
                    WHERE attrelid = %s::regclass""",
                f'public."{table}"',
            ),
            "constraint": sorted(self.rows(
                "SELECT conname, contype, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s::regclass",
                f'public."{table}"',
            )),
            "index": sorted(i for i in indexes if not i[0].startswith(OWN_INDEX)),
        }


class Mysql:
    def __init__(self, url):
        import pymysql
        at = urlsplit(url)
        self.db = pymysql.connect(host=at.hostname, port=at.port or 3306, user=at.username, password=at.password or "",
                                  database=at.path.strip("/"))

    def rows(self, sql, *args):
        with self.db.cursor() as cursor:
            cursor.execute(sql, args)
            return list(cursor.fetchall())

    def names(self, kind):
        column, source = {
            "table": ("table_name", "tables WHERE table_type = 'BASE TABLE' AND table_schema = DATABASE()"),
            "view": ("table_name", "views WHERE table_schema = DATABASE()"),
            "trigger": ("trigger_name", "triggers WHERE trigger_schema = DATABASE()"),
        }[kind]
        found = self.rows(f"SELECT {column} FROM information_schema.{source}")
        return {name for (name,) in found if not name.startswith(OWN_TABLE)}

    def describe(self, table):
        """The server's own words for it, line by line: columns in their order, then keys, then the table's options."""
        ((_, sql),) = self.rows(f"SHOW CREATE TABLE `{table}`")
        columns, others = [], []
        for line in (line.strip().rstrip(",") for line in sql.splitlines()[1:]):
            line = re.sub(r" AUTO_INCREMENT=\d+", "", line)
            if line.startswith("`"):
                columns.append((len(columns), line))
            elif f"KEY `{OWN_INDEX}" not in line:
                # Where Keystone left the name to the server, the number in it tells in which order keys were made.
                others.append(re.sub(r"`\w+_ibfk_\d+`", "(unnamed)", line))
        return {"column": columns, "line": sorted(others)}


def connect(where):
    for prefix, kind in (("postgresql", Postgres), ("mysql", Mysql)):
        if where.startswith(prefix):
            return kind(where)
    return Sqlite(where)


def describe(db, table):
    facts = db.describe(table)
    if table == "alembic_version":
        facts["row"] = sorted(db.rows("SELECT * FROM alembic_version"))
    return facts


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


def compare(ours, theirs):
    """Prints what differs; gives how many tables agree, and how many things do not."""
    passed = failed = 0
    for table in sorted(ours.names("table") | theirs.names("table")):
        problems = []
        if table not in ours.names("table"):
            problems.append("table only theirs")
        elif table not in theirs.names("table"):
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
    for kind in ("view", "trigger"):
        for line in differences(sorted(ours.names(kind)), sorted(theirs.names(kind))):
            print(f"{kind} {line}")
            failed += 1
    return passed, failed


def main(places):
    if len(places) != 2:
        sys.exit("usage: schema.py OURS THEIRS")
    passed, failed = compare(*map(connect, places))
    if not passed + failed:
        print("no tables at all")
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
