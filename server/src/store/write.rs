//! Statements that write: a table, its columns, their values.
//!
//! A statement knows the schema. So a value that a column cannot hold is refused before the engine is asked, in
//! the same words on every engine, and a condition on an id compares bytes on every engine.
//!
//! Names of tables and columns come from this program, never from a client. One that is not in the schema makes
//! the statement fail when it is checked.

use super::schema::{self, Column, Comparison, Dialect, Table, Type};
use super::{Error, Result, Value, placeholders};

/// A statement that writes.
pub trait Statement: Send + Sync {
    /// Its SQL, with `?` for each argument in turn.
    fn text_and_args(&self) -> (String, Vec<Value>);

    /// Checks it against the schema.
    ///
    /// # Errors
    /// [`Error::Refused`] names the column that cannot hold its value, for the client. [`Error::Broken`] is a
    /// mistake of this program.
    fn check(&self, dialect: Dialect) -> Result<()>;
}

/// `INSERT INTO … VALUES …`, of one row or several.
#[derive(Debug, Clone)]
#[must_use]
pub struct Insert {
    head: Head,
    rows: Vec<Vec<(&'static str, Value)>>,
}

impl Insert {
    /// Into a table.
    pub fn into(table: &'static str) -> Self {
        Self { head: Head::of(table), rows: Vec::new() }
    }

    /// Begins a row. The first [`set`](Self::set) of a statement does so too. All rows set the same columns
    /// in the same order.
    pub fn row(mut self) -> Self {
        self.rows.push(Vec::new());
        self
    }

    /// The value of a column in the row that was begun last.
    pub fn set(mut self, column: &'static str, value: impl Into<Value>) -> Self {
        if self.rows.is_empty() {
            self.rows.push(Vec::new());
        }
        if let Some(row) = self.rows.last_mut() {
            row.push((column, value.into()));
        }
        self
    }

    /// Whether there is no row. Such a statement cannot be run.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl Statement for Insert {
    fn text_and_args(&self) -> (String, Vec<Value>) {
        let first = self.rows.first().map(Vec::as_slice).unwrap_or_default();
        let names: Vec<String> = first.iter().map(|(name, _)| quoted(name)).collect();
        let row = format!("({})", placeholders(first.len()));
        let text = format!(
            "INSERT INTO {} ({}) VALUES {}",
            quoted(self.head.name),
            names.join(", "),
            vec![row; self.rows.len()].join(", ")
        );
        (text, self.rows.iter().flatten().map(|(_, value)| value.clone()).collect())
    }

    fn check(&self, dialect: Dialect) -> Result<()> {
        let Some(first) = self.rows.first().filter(|row| !row.is_empty()) else {
            return Err(self.head.broken("a row without a value"));
        };
        for row in &self.rows {
            if !row.iter().map(|(name, _)| name).eq(first.iter().map(|(name, _)| name)) {
                return Err(self.head.broken("rows with different columns"));
            }
            for (name, value) in row {
                fits(dialect, self.head.column(name)?, value)?;
            }
        }
        Ok(())
    }
}

/// A statement on the rows for which all conditions hold, and what it does to them.
#[derive(Debug, Clone)]
#[must_use]
pub struct Conditional<What> {
    head: Head,
    what: What,
    conditions: Conditions,
}

impl<What> Conditional<What> {
    fn on(table: &'static str, what: What) -> Self {
        Self { head: Head::of(table), what, conditions: Conditions::default() }
    }

    /// `AND column = value`. Null is equal to nothing.
    pub fn key(mut self, column: &'static str, value: impl Into<Value>) -> Self {
        self.conditions.key(&self.head, column, value.into());
        self
    }

    /// `AND column IN (values)`. An empty list matches nothing.
    pub fn key_in<V: Into<Value>>(
        mut self,
        column: &'static str,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        self.conditions.key_in(&self.head, column, values.into_iter().map(Into::into).collect());
        self
    }

    /// `AND condition`, with its arguments.
    pub fn and(mut self, condition: &str, args: &[Value]) -> Self {
        self.conditions.and(condition, args);
        self
    }
}

/// `UPDATE … SET … WHERE …`.
pub type Update = Conditional<Sets>;

/// `DELETE FROM … WHERE …`.
pub type Delete = Conditional<Removed>;

/// The columns that an [`Update`] sets.
#[derive(Debug, Clone, Default)]
pub struct Sets(Vec<(&'static str, Set)>);

/// What a [`Delete`] does to its rows.
#[derive(Debug, Clone)]
pub struct Removed(());

#[derive(Debug, Clone)]
enum Set {
    To(Value),
    Expression(&'static str, Vec<Value>),
}

impl Update {
    /// Rows of a table.
    pub fn of(table: &'static str) -> Self {
        Self::on(table, Sets::default())
    }

    /// Sets a column.
    pub fn set(mut self, column: &'static str, value: impl Into<Value>) -> Self {
        self.what.0.push((column, Set::To(value.into())));
        self
    }

    /// Sets a column to what the engine computes.
    pub fn set_expr(self, column: &'static str, expression: &'static str) -> Self {
        self.set_expr_with(column, expression, &[])
    }

    /// The same of an expression with arguments.
    pub fn set_expr_with(mut self, column: &'static str, expression: &'static str, args: &[Value]) -> Self {
        self.what.0.push((column, Set::Expression(expression, args.to_vec())));
        self
    }

    /// Whether nothing is set. Such a statement cannot be run.
    pub fn is_empty(&self) -> bool {
        self.what.0.is_empty()
    }
}

impl Statement for Update {
    fn text_and_args(&self) -> (String, Vec<Value>) {
        let mut args = Vec::new();
        let mut sets = Vec::new();
        for (name, set) in &self.what.0 {
            match set {
                Set::To(value) => {
                    sets.push(format!("{} = ?", quoted(name)));
                    args.push(value.clone());
                }
                Set::Expression(expression, values) => {
                    sets.push(format!("{} = {expression}", quoted(name)));
                    args.extend_from_slice(values);
                }
            }
        }
        let text =
            format!("UPDATE {} SET {}{}", quoted(self.head.name), sets.join(", "), self.conditions.text);
        args.extend_from_slice(&self.conditions.args);
        (text, args)
    }

    fn check(&self, dialect: Dialect) -> Result<()> {
        if self.what.0.is_empty() {
            return Err(self.head.broken("nothing is set"));
        }
        for (name, set) in &self.what.0 {
            let column = self.head.column(name)?;
            match set {
                Set::To(value) => fits(dialect, column, value)?,
                // What comes of it is the engine's; but no engine is given a NUL.
                Set::Expression(_, values) => values.iter().try_for_each(|value| no_nul(column, value))?,
            }
        }
        self.conditions.check(&self.head)
    }
}

impl Delete {
    /// Rows of a table.
    pub fn from(table: &'static str) -> Self {
        Self::on(table, Removed(()))
    }
}

impl Statement for Delete {
    fn text_and_args(&self) -> (String, Vec<Value>) {
        let text = format!("DELETE FROM {}{}", quoted(self.head.name), self.conditions.text);
        (text, self.conditions.args.clone())
    }

    fn check(&self, _dialect: Dialect) -> Result<()> {
        self.conditions.check(&self.head)
    }
}

/// The table that is written.
#[derive(Debug, Clone)]
struct Head {
    name: &'static str,
    table: Option<&'static Table>,
}

impl Head {
    fn of(name: &'static str) -> Self {
        Self { name, table: schema::table(name) }
    }

    fn broken(&self, what: &str) -> Error {
        Error::Broken(format!("a statement on {}: {what}", self.name))
    }

    fn column(&self, name: &str) -> Result<&'static Column> {
        let table = self.table.ok_or_else(|| self.broken("no such table"))?;
        let found = table.columns.iter().find(|column| column.name == name);
        found.ok_or_else(|| self.broken(&format!("no column {name}")))
    }
}

/// What comes after `WHERE`.
#[derive(Debug, Clone, Default)]
struct Conditions {
    text: String,
    args: Vec<Value>,
    columns: Vec<&'static str>,
}

impl Conditions {
    fn and(&mut self, condition: &str, args: &[Value]) {
        self.text.push_str(if self.text.is_empty() { " WHERE " } else { " AND " });
        self.text.push_str(condition);
        self.args.extend_from_slice(args);
    }

    fn key(&mut self, head: &Head, column: &'static str, value: Value) {
        let value = sought(head, column, value);
        self.columns.push(column);
        self.and(&format!("{} = ?", quoted(column)), &[value]);
    }

    fn key_in(&mut self, head: &Head, column: &'static str, values: Vec<Value>) {
        self.columns.push(column);
        if values.is_empty() {
            return self.and("1 = 0", &[]);
        }
        let values: Vec<Value> = values.into_iter().map(|value| sought(head, column, value)).collect();
        self.and(&format!("{} IN ({})", quoted(column), placeholders(values.len())), &values);
    }

    fn check(&self, head: &Head) -> Result<()> {
        if self.text.is_empty() {
            return Err(head.broken("no condition: it would change every row"));
        }
        self.columns.iter().try_for_each(|name| head.column(name).map(drop))
    }
}

/// A value as it is looked for in a column: as an id where bytes are compared, and as null, which is equal to
/// nothing, where it has a NUL and so is in no row.
fn sought(head: &Head, column: &str, value: Value) -> Value {
    match value {
        Value::Text(text) | Value::Id(text) if text.contains('\0') => Value::Null,
        Value::Text(text) => match head.column(column) {
            Ok(column) if column.compared == Comparison::Bytes => Value::Id(text),
            _ => Value::Text(text),
        },
        other => other,
    }
}

/// Names of tables and columns hold no quotes.
fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

/// PostgreSQL keeps no NUL, so nothing of ours does.
fn no_nul(column: &Column, value: &Value) -> Result<()> {
    if value.characters().is_some_and(|text| text.contains('\0')) {
        let what = "has a NUL character, which the database cannot keep";
        return Err(Error::Refused(format!("{}: {what}", column.name)));
    }
    Ok(())
}

/// Checks that a column can hold a value. SQLite would keep anything, the others refuse in words of their own.
pub(super) fn fits(dialect: Dialect, column: &Column, value: &Value) -> Result<()> {
    let refuse = |what: String| Err(Error::Refused(format!("{}: {what}", column.name)));
    let odd = || Err(Error::Broken(format!("a value of another type than that of {}", column.name)));
    no_nul(column, value)?;
    match (column.ty, value) {
        (_, Value::Null) if column.nullable => Ok(()),
        (_, Value::Null) => Err(Error::Broken(format!("{} does not take null", column.name))),
        (Type::Varchar(limit), Value::Text(text) | Value::Id(text))
            if text.len() > usize::from(limit) && text.chars().count() > usize::from(limit) =>
        {
            refuse(format!("must not be longer than {limit} characters"))
        }
        // TEXT is two bytes' worth there.
        (Type::Text, Value::Text(text) | Value::Id(text))
            if dialect == Dialect::Mysql && text.len() > 65_535 =>
        {
            refuse("must not be longer than 65535 bytes".into())
        }
        (Type::Integer | Type::Serial, Value::Int(n)) if i32::try_from(*n).is_err() => {
            refuse("the number is out of range".into())
        }
        (Type::Enum { values, .. }, Value::Text(word) | Value::Id(word)) => {
            if values.contains(&word.as_str()) { Ok(()) } else { odd() }
        }
        (Type::Varchar(_) | Type::Text, Value::Text(_) | Value::Id(_))
        | (Type::Integer | Type::Serial | Type::BigInt, Value::Int(_))
        | (Type::Boolean, Value::Bool(_))
        | (Type::DateTime, Value::DateTime(_))
        | (Type::Date, Value::Date(_)) => Ok(()),
        _ => odd(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args;

    const DIALECTS: [Dialect; 3] = [Dialect::Sqlite, Dialect::Postgres, Dialect::Mysql];

    fn refused(statement: &dyn Statement, dialect: Dialect) -> String {
        match statement.check(dialect) {
            Err(Error::Refused(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    fn broken(statement: &dyn Statement) -> String {
        match statement.check(Dialect::Sqlite) {
            Err(Error::Broken(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_insert_reads_as_expected() {
        let one = Insert::into("user").set("id", "u").set("enabled", true).set("domain_id", "d");
        let (text, args) = one.text_and_args();
        assert_eq!(text, r#"INSERT INTO "user" ("id", "enabled", "domain_id") VALUES (?, ?, ?)"#);
        assert_eq!(args, args!["u", true, "d"]);
        one.check(Dialect::Sqlite).expect("fits");
        let mut many = Insert::into("project_tag");
        assert!(many.is_empty());
        for tag in ["a", "b"] {
            many = many.row().set("project_id", "p").set("name", tag);
        }
        let (text, args) = many.text_and_args();
        assert_eq!(text, r#"INSERT INTO "project_tag" ("project_id", "name") VALUES (?, ?), (?, ?)"#);
        assert_eq!(args, args!["p", "a", "p", "b"]);
        many.check(Dialect::Mysql).expect("fits");
    }

    #[test]
    fn an_update_reads_as_expected() {
        let update = Update::of("local_user")
            .set("name", "n")
            .set_expr("failed_auth_count", "COALESCE(failed_auth_count, 0) + 1")
            .set_expr_with("failed_auth_at", "COALESCE(?, failed_auth_at)", args![Value::Null])
            .key("user_id", "u")
            .key("name", "m")
            .and("failed_auth_count < ?", args![5_i64]);
        let (text, args) = update.text_and_args();
        assert_eq!(
            text,
            r#"UPDATE "local_user" SET "name" = ?, "failed_auth_count" = COALESCE(failed_auth_count, 0) + 1, "failed_auth_at" = COALESCE(?, failed_auth_at) WHERE "user_id" = ? AND "name" = ? AND failed_auth_count < ?"#
        );
        let id = Value::Id("u".into());
        assert_eq!(args, ["n".into(), Value::Null, id, "m".into(), Value::Int(5)]);
        update.check(Dialect::Postgres).expect("fits");
    }

    #[test]
    fn a_delete_reads_as_expected() {
        let delete = Delete::from("assignment").key("role_id", "r").key_in("actor_id", ["a", "b"]);
        let (text, args) = delete.text_and_args();
        assert_eq!(text, r#"DELETE FROM "assignment" WHERE "role_id" = ? AND "actor_id" IN (?, ?)"#);
        assert_eq!(args, ["r", "a", "b"].map(|id| Value::Id(id.into())));
        delete.check(Dialect::Sqlite).expect("fits");
        let (text, _) = Delete::from("role").key_in("id", Vec::<String>::new()).text_and_args();
        assert_eq!(text, r#"DELETE FROM "role" WHERE 1 = 0"#);
    }

    #[test]
    fn what_a_column_cannot_hold_is_refused_and_named() {
        let (long, text) = ("ö".repeat(256), "x".repeat(65_536));
        for dialect in DIALECTS {
            let role = |name: &str| Insert::into("role").set("id", "r").set("name", name);
            assert!(role(&"ö".repeat(255)).check(dialect).is_ok());
            assert_eq!(refused(&role(&long), dialect), "name: must not be longer than 255 characters");
            assert!(refused(&role("a\0"), dialect).starts_with("name: has a NUL"));
            let computed = Update::of("role").set_expr_with("extra", "COALESCE(extra, ?)", args!["a\0"]);
            assert!(refused(&computed.key("id", "r"), dialect).starts_with("extra: has a NUL"));
            // Every row of several, not the first alone.
            assert!(
                refused(&role("a").row().set("id", "s").set("name", &*long), dialect).starts_with("name")
            );
            let extra = Update::of("role").set("extra", &*text).key("id", "r");
            assert_eq!(extra.check(dialect).is_err(), dialect == Dialect::Mysql);
            let uses = Update::of("trust").set("remaining_uses", 1_i64 << 40).key("id", "t");
            assert_eq!(refused(&uses, dialect), "remaining_uses: the number is out of range");
            // An expression does not shift the columns.
            let shifted = Update::of("role").set_expr("extra", "COALESCE(extra, '')").set("name", &*long);
            assert!(refused(&shifted.key("id", "r"), dialect).starts_with("name: "));
        }
    }

    #[test]
    fn a_mistake_of_the_program_is_found_before_the_engine_is_asked() {
        assert!(broken(&Insert::into("user")).contains("without a value"));
        assert!(broken(&Insert::into("no_table").set("id", "x")).contains("no such table"));
        assert!(broken(&Insert::into("user").set("ID", "x")).contains("no column ID"));
        assert!(broken(&Insert::into("user").set("enabled", "yes")).contains("another type"));
        assert!(broken(&Insert::into("user").set("domain_id", Value::Null)).contains("null"));
        let uneven = Insert::into("role").set("id", "a").set("name", "a").row().set("id", "b");
        assert!(broken(&uneven).contains("different columns"));
        assert!(broken(&Update::of("user").set("enabled", true)).contains("every row"));
        assert!(broken(&Update::of("user").key("id", "x")).contains("nothing is set"));
        assert!(broken(&Delete::from("user")).contains("every row"));
        assert!(broken(&Delete::from("user").key("name", "x")).contains("no column name"));
        let word = Insert::into("assignment").set("type", "UserMoon");
        assert!(broken(&word).contains("another type"));
    }

    #[test]
    fn what_no_row_can_hold_is_looked_for_in_vain() {
        let (_, args) = Delete::from("role").key("id", "r\0").text_and_args();
        assert_eq!(args, [Value::Null]);
    }
}
