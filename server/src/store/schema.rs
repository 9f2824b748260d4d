//! The database schema, as data.
//!
//! [`KEYSTONE`] describes the tables of Keystone 30.0.0: the same names, types, nullability, keys
//! and indexes, so that a deployment can switch to this server and back on one database. [`OWN`]
//! holds what Keystone has no place for; its tables are prefixed `vicar_`, and Keystone never looks
//! at them. [`OWN_INDEXES`] are extra indexes on Keystone's tables, prefixed `ix_vicar_`.
//! `tests/keystone/schema.py` compares a database made from them with one made by
//! `keystone-manage db_sync`, and leaves out exactly these two prefixes.
//!
//! The places where Keystone's schema differs between databases beyond the spelling of types carry
//! a [`Scope`].

mod keystone;
mod own;
pub mod releases;

use std::collections::HashMap;
use std::sync::LazyLock;

pub use keystone::KEYSTONE;
pub use own::{OWN, OWN_INDEXES};
pub use releases::ALEMBIC_HEADS;

/// A database whose SQL we can write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite 3.
    Sqlite,
    /// PostgreSQL.
    Postgres,
    /// MySQL and MariaDB, with InnoDB.
    Mysql,
}

impl Dialect {
    /// A time that is so many minutes after another, both SQL.
    pub fn later(self, time: &str, minutes: &str) -> String {
        match self {
            Self::Sqlite => format!("strftime('%Y-%m-%d %H:%M:%f', {time}, ({minutes}) || ' minutes')"),
            Self::Postgres => format!("({time} + ({minutes}) * INTERVAL '1 minute')"),
            Self::Mysql => format!("({time} + INTERVAL ({minutes}) MINUTE)"),
        }
    }
}

/// The databases on which a constraint or an index exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// On every database.
    All,
    /// On one only.
    Only(Dialect),
    /// On every one but this.
    Except(Dialect),
}

impl Scope {
    /// Whether this covers `dialect`.
    pub fn covers(self, dialect: Dialect) -> bool {
        match self {
            Scope::All => true,
            Scope::Only(only) => only == dialect,
            Scope::Except(except) => except != dialect,
        }
    }
}

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Characters, at most so many.
    Varchar(u16),
    /// Characters without a limit; JSON is kept in these too.
    Text,
    /// 32 bits (SQLite: as many as it takes).
    Integer,
    /// 64 bits.
    BigInt,
    /// True or false; a number outside PostgreSQL.
    Boolean,
    /// A UTC date and time without a zone.
    DateTime,
    /// A date.
    Date,
    /// An integer the database assigns; always a table's whole primary key.
    Serial,
    /// One of a few words: a named type of its own in PostgreSQL, `ENUM` in MySQL, characters in
    /// SQLite.
    Enum {
        /// The name of PostgreSQL's type.
        name: &'static str,
        /// The words, in their order.
        values: &'static [&'static str],
    },
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub ty: Type,
    /// Whether it may be null.
    pub nullable: bool,
    /// The value the database puts in when none is given, without quotes.
    pub default: Option<&'static str>,
    /// How its strings are compared.
    pub compared: Comparison,
    /// What its values name.
    pub references: [Option<Reference>; 3],
}

/// How two strings of a column are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// When their bytes are, on every database: ids, keys, words.
    Bytes,
    /// When the database's collation says so: names. In MySQL that is what makes them unique.
    Collation,
}

/// What a value of a column names, whether or not there is a foreign key.
#[derive(Clone, Copy, Debug)]
pub struct Reference {
    /// The table, or `domain` for a project that is a domain.
    pub table: &'static str,
    /// The column there.
    pub column: &'static str,
    /// Of which rows it is true, as a condition on this table.
    pub when: Option<&'static str>,
    /// What becomes of the row when the named one is deleted.
    pub on_delete: OnDelete,
}

/// What becomes of a row when a row that it names is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDelete {
    /// It is deleted first.
    Goes,
    /// It is deleted, and before it the row that this other column of it names.
    Takes(&'static str),
    /// The column becomes null.
    Forgets,
    /// While it is there, the other is not deleted.
    Refuses,
    /// Code decides, for this reason; nothing is generated.
    ByRules(&'static str),
    /// It stays as it is, for this reason.
    Kept(&'static str),
    /// This other column of it names the same owner, and says what happens.
    Follows(&'static str),
}

/// A foreign key.
#[derive(Clone, Copy, Debug)]
pub struct ForeignKey {
    /// Its name, where it is not left to the database.
    pub name: Option<&'static str>,
    /// The columns that refer.
    pub columns: &'static [&'static str],
    /// The table referred to.
    pub table: &'static str,
    /// The columns referred to.
    pub references: &'static [&'static str],
    /// Whether rows go when the row they refer to goes.
    pub on_delete_cascade: bool,
    /// Whether rows follow when the row they refer to changes its key.
    pub on_update_cascade: bool,
    /// Where it exists.
    pub scope: Scope,
}

/// A unique constraint.
#[derive(Clone, Copy, Debug)]
pub struct Unique {
    /// Its name, where it is not left to the database.
    pub name: Option<&'static str>,
    /// Its columns.
    pub columns: &'static [&'static str],
    /// Where it exists.
    pub scope: Scope,
}

/// An index.
#[derive(Clone, Copy, Debug)]
pub struct Index {
    /// Its name.
    pub name: &'static str,
    /// Its columns.
    pub columns: &'static [&'static str],
    /// Whether no two rows may agree in the columns.
    pub unique: bool,
    /// The condition of the rows that are in it, where it is not all. MySQL has no such indexes.
    pub only: Option<&'static str>,
    /// Where it exists.
    pub scope: Scope,
}

/// A table.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Its columns, in order.
    pub columns: &'static [Column],
    /// The columns of its primary key.
    pub primary_key: &'static [&'static str],
    /// The name of the primary key, where it is not left to the database.
    pub primary_key_name: Option<&'static str>,
    /// Its unique constraints.
    pub uniques: &'static [Unique],
    /// Its foreign keys.
    pub foreign_keys: &'static [ForeignKey],
    /// Its indexes.
    pub indexes: &'static [Index],
}

impl Table {
    /// What a table has unless it says otherwise.
    const EMPTY: Table = Table {
        name: "",
        columns: &[],
        primary_key: &[],
        primary_key_name: None,
        uniques: &[],
        foreign_keys: &[],
        indexes: &[],
    };
}

impl Column {
    const fn null(mut self) -> Column {
        self.nullable = true;
        self
    }

    const fn default_to(mut self, value: &'static str) -> Column {
        self.default = Some(value);
        self
    }

    const fn collated(mut self) -> Column {
        self.compared = Comparison::Collation;
        self
    }

    /// Adds what the column names. A fourth reference does not compile.
    const fn refers(mut self, table: &'static str, on_delete: OnDelete) -> Column {
        let new = Some(Reference { table, column: "id", when: None, on_delete });
        self.references = match self.references {
            [None, ..] => [new, None, None],
            [first, None, _] => [first, new, None],
            [first, second, None] => [first, second, new],
            [Some(_), Some(_), Some(_)] => panic!("a column has three references at most"),
        };
        self
    }

    /// The row is deleted with the one that the column names.
    const fn goes_with(self, table: &'static str) -> Column {
        self.refers(table, OnDelete::Goes)
    }

    /// So is the row that `other`, a column of this table, names.
    const fn takes(self, table: &'static str, other: &'static str) -> Column {
        self.refers(table, OnDelete::Takes(other))
    }

    /// The column becomes null when the row that it names is deleted.
    const fn forgets(self, table: &'static str) -> Column {
        self.refers(table, OnDelete::Forgets)
    }

    /// The row that the column names is not deleted while there is one that names it.
    const fn refuses(self, table: &'static str) -> Column {
        self.refers(table, OnDelete::Refuses)
    }

    /// Code decides what becomes of the row.
    const fn by_rules(self, table: &'static str, why: &'static str) -> Column {
        self.refers(table, OnDelete::ByRules(why))
    }

    /// The row stays when what the column names is deleted.
    const fn kept(self, table: &'static str, why: &'static str) -> Column {
        self.refers(table, OnDelete::Kept(why))
    }

    /// The column repeats what the row that `other` names says.
    const fn follows(self, table: &'static str, other: &'static str) -> Column {
        self.refers(table, OnDelete::Follows(other))
    }

    const fn last_reference(&mut self) -> Option<&mut Reference> {
        match &mut self.references {
            [_, _, Some(last)] | [_, Some(last), None] | [Some(last), None, None] => Some(last),
            [None, None, None] => None,
        }
    }

    /// The last reference is one to this column instead of `id`.
    const fn by(mut self, column: &'static str) -> Column {
        if let Some(last) = self.last_reference() {
            last.column = column;
        }
        self
    }

    /// The last reference is one of the rows of this condition only.
    const fn when(mut self, condition: &'static str) -> Column {
        if let Some(last) = self.last_reference() {
            last.when = Some(condition);
        }
        self
    }

    /// What its values name.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        self.references.iter().flatten()
    }
}

impl ForeignKey {
    const fn named(mut self, name: &'static str) -> ForeignKey {
        self.name = Some(name);
        self
    }

    const fn on_delete_cascade(mut self) -> ForeignKey {
        self.on_delete_cascade = true;
        self
    }

    const fn on_update_cascade(mut self) -> ForeignKey {
        self.on_update_cascade = true;
        self
    }

    const fn on(mut self, scope: Scope) -> ForeignKey {
        self.scope = scope;
        self
    }
}

impl Unique {
    const fn named(mut self, name: &'static str) -> Unique {
        self.name = Some(name);
        self
    }

    const fn on(mut self, scope: Scope) -> Unique {
        self.scope = scope;
        self
    }
}

impl Index {
    const fn only(mut self, condition: &'static str) -> Index {
        self.only = Some(condition);
        self
    }

    const fn on(mut self, scope: Scope) -> Index {
        self.scope = scope;
        self
    }
}

const fn column(name: &'static str, ty: Type) -> Column {
    Column {
        name,
        ty,
        nullable: false,
        default: None,
        compared: Comparison::Bytes,
        references: [None, None, None],
    }
}

const fn varchar(name: &'static str, length: u16) -> Column {
    column(name, Type::Varchar(length))
}

const fn text(name: &'static str) -> Column {
    column(name, Type::Text)
}

const fn integer(name: &'static str) -> Column {
    column(name, Type::Integer)
}

const fn bigint(name: &'static str) -> Column {
    column(name, Type::BigInt)
}

const fn boolean(name: &'static str) -> Column {
    column(name, Type::Boolean)
}

const fn datetime(name: &'static str) -> Column {
    column(name, Type::DateTime)
}

const fn date(name: &'static str) -> Column {
    column(name, Type::Date)
}

const fn serial(name: &'static str) -> Column {
    column(name, Type::Serial)
}

const fn enumeration(name: &'static str, ty: &'static str, values: &'static [&'static str]) -> Column {
    column(name, Type::Enum { name: ty, values })
}

const fn unique(columns: &'static [&'static str]) -> Unique {
    Unique { name: None, columns, scope: Scope::All }
}

const fn references(
    columns: &'static [&'static str],
    table: &'static str,
    referred: &'static [&'static str],
) -> ForeignKey {
    ForeignKey {
        name: None,
        columns,
        table,
        references: referred,
        on_delete_cascade: false,
        on_update_cascade: false,
        scope: Scope::All,
    }
}

const fn index(name: &'static str, columns: &'static [&'static str]) -> Index {
    Index { name, columns, unique: false, only: None, scope: Scope::All }
}

/// The table of that name, Keystone's or ours.
pub fn table(name: &str) -> Option<&'static Table> {
    static BY_NAME: LazyLock<HashMap<&'static str, &'static Table>> =
        LazyLock::new(|| KEYSTONE.iter().chain(OWN).map(|table| (table.name, table)).collect());
    BY_NAME.get(name).copied()
}

/// The statements that create `table`: in PostgreSQL the types it needs, then the table, then its
/// indexes. None ends with a semicolon.
pub fn ddl(table: &Table, dialect: Dialect) -> Vec<String> {
    let mut statements = Vec::new();
    let mut lines = Vec::new();
    for column in table.columns {
        if let (Dialect::Postgres, Type::Enum { name, values }) = (dialect, column.ty) {
            statements.push(format!("CREATE TYPE {} AS ENUM ({})", quoted(name, dialect), literals(values)));
        }
        lines.push(column_line(column, dialect));
    }
    lines.push(format!(
        "{}PRIMARY KEY ({})",
        constraint(table.primary_key_name, dialect),
        list(table.primary_key, dialect)
    ));
    for unique in table.uniques.iter().filter(|unique| unique.scope.covers(dialect)) {
        lines.push(format!("{}UNIQUE ({})", constraint(unique.name, dialect), list(unique.columns, dialect)));
    }
    for key in table.foreign_keys.iter().filter(|key| key.scope.covers(dialect)) {
        lines.push(format!(
            "{}FOREIGN KEY ({}) REFERENCES {} ({}){}{}",
            constraint(key.name, dialect),
            list(key.columns, dialect),
            quoted(key.table, dialect),
            list(key.references, dialect),
            if key.on_delete_cascade { " ON DELETE CASCADE" } else { "" },
            if key.on_update_cascade { " ON UPDATE CASCADE" } else { "" },
        ));
    }
    // Keystone names the character set on most tables and makes it the database's default for the
    // rest. Foreign keys need both sides to agree, so we name it on all.
    let options = if dialect == Dialect::Mysql { " ENGINE=InnoDB CHARSET=utf8" } else { "" };
    statements.push(format!(
        "CREATE TABLE {} (\n    {}\n){options}",
        quoted(table.name, dialect),
        lines.join(",\n    ")
    ));
    let indexes = table.indexes.iter().filter(|index| index.scope.covers(dialect));
    statements.extend(indexes.map(|index| index_ddl(table.name, index, dialect)));
    statements
}

/// The statement that creates `index` on the table of that name.
pub fn index_ddl(table: &str, index: &Index, dialect: Dialect) -> String {
    format!(
        "CREATE {}INDEX {} ON {} ({}){}",
        if index.unique { "UNIQUE " } else { "" },
        quoted(index.name, dialect),
        quoted(table, dialect),
        list(index.columns, dialect),
        index.only.map(|condition| format!(" WHERE {condition}")).unwrap_or_default()
    )
}

/// The same for one that may be there already. MySQL has no words for that: there the statement fails.
pub fn missing_index_ddl(table: &str, index: &Index, dialect: Dialect) -> String {
    let statement = index_ddl(table, index, dialect);
    match dialect {
        Dialect::Mysql => statement,
        Dialect::Sqlite | Dialect::Postgres => statement.replacen("INDEX ", "INDEX IF NOT EXISTS ", 1),
    }
}

fn column_line(column: &Column, dialect: Dialect) -> String {
    let mut line = format!("{} {}", quoted(column.name, dialect), type_name(column.ty, dialect));
    if let Some(default) = column.default {
        line += &format!(" DEFAULT {}", literals(&[default]));
    }
    if !column.nullable {
        line += " NOT NULL";
    }
    if column.ty == Type::Serial && dialect == Dialect::Mysql {
        line += " AUTO_INCREMENT";
    }
    line
}

fn type_name(ty: Type, dialect: Dialect) -> String {
    match (ty, dialect) {
        (Type::Varchar(length), _) => format!("VARCHAR({length})"),
        (Type::Text, _) => "TEXT".to_owned(),
        (Type::Serial, Dialect::Postgres) => "SERIAL".to_owned(),
        // In SQLite a primary key of exactly this type is the row id, which it assigns.
        (Type::Integer | Type::Serial, _) => "INTEGER".to_owned(),
        (Type::BigInt, _) => "BIGINT".to_owned(),
        (Type::Boolean, Dialect::Mysql) => "BOOL".to_owned(),
        (Type::Boolean, _) => "BOOLEAN".to_owned(),
        (Type::DateTime, Dialect::Postgres) => "TIMESTAMP WITHOUT TIME ZONE".to_owned(),
        (Type::DateTime, _) => "DATETIME".to_owned(),
        (Type::Date, _) => "DATE".to_owned(),
        (Type::Enum { values, .. }, Dialect::Sqlite) => {
            format!("VARCHAR({})", values.iter().map(|value| value.len()).max().unwrap_or(0))
        }
        (Type::Enum { name, .. }, Dialect::Postgres) => quoted(name, dialect),
        (Type::Enum { values, .. }, Dialect::Mysql) => format!("ENUM({})", literals(values)),
    }
}

fn constraint(name: Option<&str>, dialect: Dialect) -> String {
    name.map(|name| format!("CONSTRAINT {} ", quoted(name, dialect))).unwrap_or_default()
}

/// A name as an identifier. Names in this file hold no quotes.
fn quoted(name: &str, dialect: Dialect) -> String {
    match dialect {
        Dialect::Mysql => format!("`{name}`"),
        Dialect::Sqlite | Dialect::Postgres => format!("\"{name}\""),
    }
}

fn list(names: &[&str], dialect: Dialect) -> String {
    names.iter().map(|name| quoted(name, dialect)).collect::<Vec<_>>().join(", ")
}

/// Values as string literals; every database reads numbers and booleans from these too.
fn literals(values: &[&str]) -> String {
    values.iter().map(|value| format!("'{}'", value.replace('\'', "''"))).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const DIALECTS: [Dialect; 3] = [Dialect::Sqlite, Dialect::Postgres, Dialect::Mysql];

    fn all() -> impl Iterator<Item = &'static Table> {
        KEYSTONE.iter().chain(OWN)
    }

    fn find(name: &str) -> &'static Table {
        all().find(|table| table.name == name).unwrap_or_else(|| panic!("no table {name}"))
    }

    fn has_columns(table: &Table, names: &[&str]) -> bool {
        !names.is_empty() && names.iter().all(|name| table.columns.iter().any(|column| column.name == *name))
    }

    #[test]
    fn every_table_renders_for_every_dialect() {
        for dialect in DIALECTS {
            for table in all() {
                let statements = ddl(table, dialect);
                let create = format!("CREATE TABLE {} (", quoted(table.name, dialect));
                let at =
                    statements.iter().position(|statement| statement.starts_with(&create)).expect("creates");
                assert!(statements[..at].iter().all(|statement| statement.starts_with("CREATE TYPE ")));
                assert!(statements[at + 1..].iter().all(|statement| statement.starts_with("CREATE INDEX ")));
                for column in table.columns {
                    assert!(statements[at].contains(&format!("\n    {} ", quoted(column.name, dialect))));
                }
                for statement in &statements {
                    assert_eq!(statement.matches('(').count(), statement.matches(')').count(), "{statement}");
                    assert_eq!(statement.contains('`'), dialect == Dialect::Mysql, "{statement}");
                    assert_eq!(statement.contains('"'), dialect != Dialect::Mysql, "{statement}");
                }
            }
        }
    }

    #[test]
    fn tables_read_as_expected() {
        let sqlite = ddl(find("assignment"), Dialect::Sqlite);
        let lines = [
            r#"CREATE TABLE "assignment" ("#,
            r#"    "type" VARCHAR(12) NOT NULL,"#,
            r#"    "actor_id" VARCHAR(64) NOT NULL,"#,
            r#"    "target_id" VARCHAR(64) NOT NULL,"#,
            r#"    "role_id" VARCHAR(64) NOT NULL,"#,
            r#"    "inherited" BOOLEAN NOT NULL,"#,
            r#"    PRIMARY KEY ("type", "actor_id", "target_id", "role_id", "inherited"),"#,
            r#"    CONSTRAINT "fk_assignment_role_id" FOREIGN KEY ("role_id") REFERENCES "role" ("id")"#,
            r#")"#,
        ];
        assert_eq!(sqlite[0], lines.join("\n"));
        assert_eq!(sqlite[1..], [r#"CREATE INDEX "ix_actor_id" ON "assignment" ("actor_id")"#]);
        let postgres = ddl(find("assignment"), Dialect::Postgres);
        assert!(postgres[0].starts_with(r#"CREATE TYPE "type" AS ENUM ('UserProject', 'Group"#));
        assert!(postgres[1].contains(r#""type" "type" NOT NULL"#));
        assert!(!postgres[1].contains("FOREIGN KEY"));
        let mysql = ddl(find("password"), Dialect::Mysql);
        assert!(mysql[0].contains("`id` INTEGER NOT NULL AUTO_INCREMENT,"));
        assert!(mysql[0].contains("`self_service` BOOL DEFAULT '0' NOT NULL,"));
        assert!(mysql[0].ends_with(") ENGINE=InnoDB CHARSET=utf8"));
    }

    #[test]
    fn names_are_unique() {
        for dialect in DIALECTS {
            // What shares one name space: in SQLite tables and indexes; in PostgreSQL constraints
            // that have an index too, and types; in MySQL tables, and by themselves foreign keys.
            let mut relations = HashSet::new();
            let mut keys = HashSet::new();
            for table in all() {
                assert!(relations.insert(table.name), "{}", table.name);
                let mut columns = HashSet::new();
                assert!(table.columns.iter().all(|column| columns.insert(column.name)), "{}", table.name);
                let mut local = HashSet::new();
                let indexes =
                    table.indexes.iter().filter(|index| index.scope.covers(dialect)).map(|index| index.name);
                let own = OWN_INDEXES.iter().filter(|own| own.0 == table.name).map(|own| own.1.name);
                let uniques = table.uniques.iter().filter(|unique| unique.scope.covers(dialect));
                for name in indexes.chain(own).chain(uniques.filter_map(|unique| unique.name)) {
                    let names = if dialect == Dialect::Mysql { &mut local } else { &mut relations };
                    assert!(names.insert(name), "{name} on {dialect:?}");
                }
                for name in table.foreign_keys.iter().filter_map(|key| key.name) {
                    assert!(keys.insert(name), "{name}");
                }
            }
        }
        let types = all().flat_map(|table| table.columns).filter_map(|column| match column.ty {
            Type::Enum { name, .. } => Some(name),
            _ => None,
        });
        let mut seen: HashSet<&str> = all().map(|table| table.name).collect();
        assert!(types.into_iter().all(|name| seen.insert(name)));
    }

    #[test]
    fn names_fit_every_database() {
        let fits = |name: &str| {
            let plain =
                name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
            assert!(plain && (1..=63).contains(&name.len()), "{name}");
        };
        for table in all() {
            fits(table.name);
            table.columns.iter().for_each(|column| fits(column.name));
            table.indexes.iter().for_each(|index| fits(index.name));
            table.uniques.iter().filter_map(|unique| unique.name).for_each(fits);
            table.foreign_keys.iter().filter_map(|key| key.name).for_each(fits);
            table.primary_key_name.into_iter().for_each(fits);
        }
        OWN_INDEXES.iter().for_each(|own| fits(own.1.name));
    }

    #[test]
    fn keys_and_indexes_name_columns() {
        for table in all() {
            assert!(has_columns(table, table.primary_key), "{}", table.name);
            assert!(table.uniques.iter().all(|unique| has_columns(table, unique.columns)), "{}", table.name);
            assert!(table.indexes.iter().all(|index| has_columns(table, index.columns)), "{}", table.name);
            for column in table.columns {
                let key = table.primary_key.contains(&column.name);
                assert!(!(key && column.nullable), "{}.{}", table.name, column.name);
                if column.ty == Type::Serial {
                    assert_eq!(table.primary_key, [column.name], "{}", table.name);
                }
                // MySQL neither indexes a text column as a whole nor gives it a default.
                if column.ty == Type::Text {
                    let uniques = table.uniques.iter().map(|unique| unique.columns);
                    let indexes = table.indexes.iter().map(|index| index.columns);
                    assert!(!key && column.default.is_none(), "{}.{}", table.name, column.name);
                    assert!(
                        uniques.chain(indexes).all(|columns| !columns.contains(&column.name)),
                        "{}",
                        table.name
                    );
                }
            }
        }
    }

    #[test]
    fn foreign_keys_refer_to_keys_of_earlier_tables() {
        let mut created = HashSet::new();
        for table in all() {
            created.insert(table.name);
            for key in table.foreign_keys {
                assert!(created.contains(key.table), "{} refers to {}", table.name, key.table);
                let target = find(key.table);
                assert!(has_columns(table, key.columns) && key.columns.len() == key.references.len());
                let unique = target.uniques.iter().any(|unique| unique.columns == key.references);
                assert!(target.primary_key == key.references || unique, "{} to {}", table.name, key.table);
                for (from, to) in key.columns.iter().zip(key.references) {
                    let ty = |table: &Table, name: &str| {
                        let column =
                            table.columns.iter().find(|column| column.name == name).expect("a column");
                        if column.ty == Type::Serial { Type::Integer } else { column.ty }
                    };
                    assert_eq!(ty(table, from), ty(target, to), "{}.{from}", table.name);
                }
            }
        }
    }

    #[test]
    fn our_own_is_told_by_its_prefix() {
        assert!(KEYSTONE.iter().all(|table| !table.name.starts_with("vicar_")));
        let theirs = KEYSTONE.iter().flat_map(|table| table.indexes);
        assert!(theirs.into_iter().all(|index| !index.name.starts_with("ix_vicar_")));
        assert!(OWN.iter().all(|table| table.name.starts_with("vicar_")));
        for (table, index) in OWN_INDEXES {
            assert!(index.name.starts_with("ix_vicar_") && !index.unique);
            assert!(index.only.is_none() || !index.scope.covers(Dialect::Mysql), "{}", index.name);
            assert!(
                KEYSTONE.iter().any(|theirs| theirs.name == *table)
                    && has_columns(find(table), index.columns)
            );
        }
    }

    #[test]
    fn counts_are_keystone_s() {
        assert_eq!(KEYSTONE.len(), 49);
        assert!(has_columns(find("alembic_version"), &["version_num"]));
        assert!(ALEMBIC_HEADS.iter().all(|head| head.len() <= 32));
    }
}
