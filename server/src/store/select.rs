//! Queries whose conditions depend on what is asked for.

use std::collections::BTreeSet;
use std::ops::Bound;

use super::{CHUNK, Id, Result, Row, Tx, Value, placeholders};

/// The rows of a list that are read at once, in the order of their ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    from: Start,
    rows: usize,
}

/// Where a batch begins.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Start {
    First,
    After(String),
    Only(String),
}

impl Batch {
    /// So many rows, at most, after the one with this id, or from the first on. Never more than [`CHUNK`].
    pub fn after(id: Option<String>, rows: usize) -> Self {
        let from = id.map_or(Start::First, Start::After);
        Self { from, rows: rows.clamp(1, CHUNK) }
    }

    /// The row with this id.
    pub fn only(id: String) -> Self {
        Self { from: Start::Only(id), rows: 1 }
    }

    /// Whether it is [`Batch::only`].
    pub fn is_one(&self) -> bool {
        matches!(self.from, Start::Only(_))
    }

    /// How many rows it has at most; with fewer, there are no more after them.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The row that it follows, if it follows one.
    pub fn follows(&self) -> Option<&str> {
        match &self.from {
            Start::After(id) => Some(id),
            Start::First | Start::Only(_) => None,
        }
    }

    /// The ids that it has of a set.
    pub fn of<'a>(&self, ids: &'a BTreeSet<String>) -> Vec<&'a String> {
        match &self.from {
            Start::First => ids.iter().take(self.rows).collect(),
            Start::After(id) => {
                let after = (Bound::Excluded(id.as_str()), Bound::Unbounded);
                ids.range::<str, _>(after).take(self.rows).collect()
            }
            Start::Only(id) => ids.get(id).into_iter().collect(),
        }
    }
}

/// How a string is like another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alike {
    /// It has the other in it.
    Contains,
    /// It begins with the other.
    Starts,
    /// It ends with the other.
    Ends,
}

impl Alike {
    /// A pattern for `LOWER(…) LIKE ? ESCAPE '!'` that each such string fits, whatever its case: letters that are not
    /// ASCII stand for any, as engines differ in what they take for the same letter, and so do those that have a
    /// capital beyond ASCII (the signs for kelvin, and the Turkish I).
    fn pattern(self, value: &str) -> String {
        let part: String = match self {
            Self::Contains | Self::Starts => value.chars().take(LONGEST_PATTERN).collect(),
            Self::Ends => {
                let skipped = value.chars().count().saturating_sub(LONGEST_PATTERN);
                value.chars().skip(skipped).collect()
            }
        };
        let mut pattern = String::new();
        if self != Self::Starts {
            pattern.push('%');
        }
        for c in part.chars() {
            match c.to_ascii_lowercase() {
                'i' | 'k' => pattern.push('_'),
                c @ ('%' | '_' | '!') => pattern.extend(['!', c]),
                c if c.is_ascii() => pattern.push(c),
                _ => pattern.push('%'),
            }
        }
        if self != Self::Ends {
            pattern.push('%');
        }
        pattern
    }
}

/// So many characters of a string are looked for by the database.
const LONGEST_PATTERN: usize = 64;

/// Builds the variable part of a query: conditions, order, page.
#[derive(Debug, Clone)]
pub struct Select {
    sql: String,
    args: Vec<Value>,
    has_where: bool,
}

impl Select {
    /// From the constant part, up to but without `WHERE`.
    pub fn new(sql: &str) -> Self {
        Self { sql: sql.to_owned(), args: Vec::new(), has_where: false }
    }

    /// The same with arguments in the constant part.
    pub fn with(sql: &str, args: &[Value]) -> Self {
        Self { args: args.to_vec(), ..Self::new(sql) }
    }

    fn condition(&mut self) {
        self.sql.push_str(if self.has_where { " AND " } else { " WHERE " });
        self.has_where = true;
    }

    /// `AND <condition>` with its arguments.
    pub fn and(&mut self, condition: &str, args: &[Value]) -> &mut Self {
        self.condition();
        self.sql.push_str(condition);
        self.args.extend_from_slice(args);
        self
    }

    /// `AND <column> = ?`, when there is a value.
    pub fn eq(&mut self, column: &str, value: Option<impl Into<Value>>) -> &mut Self {
        if let Some(v) = value {
            self.condition();
            self.sql.push_str(column);
            self.sql.push_str(" = ?");
            self.args.push(v.into());
        }
        self
    }

    /// `AND <column> = ?`, compared byte by byte on every engine, when there is a value: for ids.
    pub fn id(&mut self, column: &str, value: Option<impl Into<Value>>) -> &mut Self {
        self.eq(column, value.map(|v| v.into().into_id()))
    }

    /// `AND` a condition that holds for each row in which the column is like a value, with or without case, and for
    /// few others. The rows that are read are to be compared again, as only this program compares alike on every
    /// engine.
    pub fn alike(&mut self, column: &str, how: Alike, value: &str) -> &mut Self {
        if value.contains('\0') {
            return self.and("1 = 0", &[]);
        }
        self.and(&format!("LOWER({column}) LIKE ? ESCAPE '!'"), &[how.pattern(value).into()])
    }

    /// `AND <column> IN (…)`; an empty list matches nothing.
    pub fn is_in<V: Into<Value>>(&mut self, column: &str, values: impl IntoIterator<Item = V>) -> &mut Self {
        let values: Vec<Value> = values.into_iter().map(Into::into).collect();
        self.condition();
        if values.is_empty() {
            self.sql.push_str("1 = 0");
        } else {
            self.sql.push_str(column);
            self.sql.push_str(" IN (");
            self.sql.push_str(&placeholders(values.len()));
            self.sql.push(')');
            self.args.extend(values);
        }
        self
    }

    /// The same of ids, compared byte by byte on every engine.
    pub fn id_in<V: Into<Value>>(&mut self, column: &str, ids: impl IntoIterator<Item = V>) -> &mut Self {
        self.is_in(column, ids.into_iter().map(|id| id.into().into_id()))
    }

    /// The rows of a batch, by the table's key: the last condition, the order and the limit.
    ///
    /// The comparison and the order are the same one, the column's own, which the key's index has: by it no two
    /// ids are equal, whatever the engine's collation is.
    pub fn batch(&mut self, key: &str, batch: &Batch) -> &mut Self {
        match &batch.from {
            // It holds for every id. Without it, SQLite would read and sort all rows for the first few.
            Start::First => {
                self.and(&format!("{key} > ?"), &[Id("").into()]);
            }
            Start::After(id) => {
                self.and(&format!("{key} > ?"), &[Id(id).into()]);
            }
            Start::Only(id) => {
                self.id(key, Some(id.as_str()));
            }
        }
        self.end(&format!("ORDER BY {key} LIMIT {}", batch.rows))
    }

    /// The rows of a batch in the order of a column, which is never null, and then of the key. `last` is the stored
    /// value of the column in the row that the batch follows.
    ///
    /// Every comparison is the column's own, as the order is: two different strings may be equal by it.
    pub fn batch_sorted(&mut self, column: &str, key: &str, last: &str, batch: &Batch) -> &mut Self {
        match &batch.from {
            Start::First => {}
            Start::After(id) => {
                // The first condition is what an index finds by.
                self.and(&format!("{column} >= ?"), &[last.into()]);
                self.and(&format!("({column} > ? OR {key} > ?)"), &[last.into(), Id(id).into()]);
            }
            Start::Only(id) => {
                self.id(key, Some(id.as_str()));
            }
        }
        self.end(&format!("ORDER BY {column}, {key} LIMIT {}", batch.rows))
    }

    /// What comes last: order, limit.
    pub fn end(&mut self, tail: &str) -> &mut Self {
        self.sql.push(' ');
        self.sql.push_str(tail);
        self
    }

    /// Its text and arguments.
    pub fn parts(&self) -> (&str, &[Value]) {
        (&self.sql, &self.args)
    }

    /// Runs it.
    pub async fn map<T>(&self, tx: &mut Tx, read: impl Fn(&mut Row) -> Result<T>) -> Result<Vec<T>> {
        tx.map(&self.sql, &self.args, read).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_read_by_its_key() {
        let sql = |batch: &Batch| {
            let mut q = Select::new("SELECT 1 FROM t");
            q.eq("t.x", Some("x")).batch("t.id", batch);
            (q.sql, q.args.len())
        };
        let of = |how: &str, args| (format!("SELECT 1 FROM t WHERE t.x = ?{how}"), args);
        assert_eq!(sql(&Batch::after(None, 7)), of(" AND t.id > ? ORDER BY t.id LIMIT 7", 2));
        let after = Batch::after(Some("b".into()), usize::MAX);
        assert_eq!(sql(&after), of(&format!(" AND t.id > ? ORDER BY t.id LIMIT {CHUNK}"), 2));
        assert_eq!(sql(&Batch::only("b".into())), of(" AND t.id = ? ORDER BY t.id LIMIT 1", 2));
        let ids: BTreeSet<String> = ["a", "b", "c", "d"].map(str::to_owned).into();
        assert_eq!(Batch::after(None, 2).of(&ids), ["a", "b"]);
        assert_eq!(after.of(&ids), ["c", "d"]);
        assert_eq!(Batch::only("c".into()).of(&ids), ["c"]);
        assert!(Batch::only("e".into()).of(&ids).is_empty());
    }

    #[test]
    fn a_batch_in_another_order_goes_on_where_the_last_one_ended() {
        let sql = |batch: &Batch| {
            let mut q = Select::new("SELECT 1 FROM t");
            q.eq("t.x", Some("x")).batch_sorted("t.name", "t.id", "n", batch);
            (q.sql, q.args)
        };
        let of = |how: &str, args: &[Value]| {
            let sql = format!("SELECT 1 FROM t WHERE t.x = ?{how} ORDER BY t.name, t.id LIMIT ");
            (sql, [&["x".into()], args].concat())
        };
        let with = |(sql, args): (String, Vec<Value>), limit: &str| (sql + limit, args);
        let id = || Value::Id("b".into());
        assert_eq!(sql(&Batch::after(None, 7)), with(of("", &[]), "7"));
        assert_eq!(sql(&Batch::only("b".into())), with(of(" AND t.id = ?", &[id()]), "1"));
        let after = " AND t.name >= ? AND (t.name > ? OR t.id > ?)";
        let args = ["n".into(), "n".into(), id()];
        assert_eq!(sql(&Batch::after(Some("b".into()), 7)), with(of(after, &args), "7"));
    }

    #[test]
    fn what_is_alike_is_found_by_a_pattern() {
        let pattern = |how: Alike, value: &str| how.pattern(value);
        assert_eq!(pattern(Alike::Contains, "aB"), "%ab%");
        assert_eq!(pattern(Alike::Starts, "50%_!"), "50!%!_!!%");
        assert_eq!(pattern(Alike::Ends, "x\\'"), "%x\\'");
        assert_eq!(pattern(Alike::Starts, "Ki\u{e9}"), "__%%");
        let long = "ab".repeat(LONGEST_PATTERN);
        assert_eq!(pattern(Alike::Starts, &long).len(), LONGEST_PATTERN + 1);
        assert_eq!(pattern(Alike::Ends, &long), format!("%{}", "ab".repeat(LONGEST_PATTERN / 2)));
        let mut q = Select::new("SELECT 1 FROM t");
        q.alike("t.x", Alike::Ends, "a").alike("t.y", Alike::Ends, "\0");
        assert_eq!(q.parts().0, "SELECT 1 FROM t WHERE LOWER(t.x) LIKE ? ESCAPE '!' AND 1 = 0");
    }

    #[test]
    fn an_id_is_told_from_a_name() {
        let mut q = Select::new("SELECT 1 FROM t");
        q.id("t.id", Some("i")).eq("t.name", Some("n")).id("t.other", None::<&str>).id_in("t.x", ["a"]);
        assert_eq!(q.sql, "SELECT 1 FROM t WHERE t.id = ? AND t.name = ? AND t.x IN (?)");
        assert_eq!(q.args, [Value::Id("i".into()), "n".into(), Value::Id("a".into())]);
    }
}
