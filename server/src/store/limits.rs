//! What a column can hold, checked before the engine is asked: SQLite would keep anything, the others refuse
//! in words of their own. So the answer is one, and names the column.

use std::borrow::Cow;

use super::schema::{self, Column, Dialect, Type};
use super::{Error, Result, Value};

/// What is asked for with a NUL is nowhere, and PostgreSQL would not even look: null is equal to nothing.
pub(super) fn findable(args: &[Value]) -> Cow<'_, [Value]> {
    let odd = |arg: &Value| arg.characters().is_some_and(|t| t.contains('\0'));
    if !args.iter().any(odd) {
        return Cow::Borrowed(args);
    }
    args.iter().map(|arg| if odd(arg) { Value::Null } else { arg.clone() }).collect()
}

/// PostgreSQL keeps no NUL, so nothing of ours does.
pub(super) fn characters(args: &[Value]) -> Result<()> {
    for arg in args {
        if arg.characters().is_some_and(|t| t.contains('\0')) {
            return Err(Error::Refused("a text has a NUL character, which the database cannot keep".into()));
        }
    }
    Ok(())
}

/// Checks the values that a statement writes: those of `INSERT INTO t (…) VALUES (…)` and `UPDATE t SET …`
/// that are arguments by themselves.
pub(super) fn written(dialect: Dialect, sql: &str, args: &[Value]) -> Result<()> {
    let Some((table, columns)) = targets(sql) else { return Ok(()) };
    let Some(table) = schema::table(table) else { return Ok(()) };
    for (name, value) in columns.iter().zip(args) {
        if let Some(column) = name.and_then(|n| table.columns.iter().find(|c| c.name == n)) {
            fits(dialect, column, value)?;
        }
    }
    Ok(())
}

fn fits(dialect: Dialect, column: &Column, value: &Value) -> Result<()> {
    let refuse = |what: String| Err(Error::Refused(format!("{}: {what}", column.name)));
    match (column.ty, value) {
        (Type::Varchar(limit), Value::Text(t) | Value::Id(t))
            if t.len() > usize::from(limit) && t.chars().count() > usize::from(limit) =>
        {
            refuse(format!("must not be longer than {limit} characters"))
        }
        // TEXT is two bytes' worth there.
        (Type::Text, Value::Text(t) | Value::Id(t)) if dialect == Dialect::Mysql && t.len() > 65_535 => {
            refuse("must not be longer than 65535 bytes".into())
        }
        (Type::Integer | Type::Serial, Value::Int(n)) if i32::try_from(*n).is_err() => {
            refuse("the number is out of range".into())
        }
        _ => Ok(()),
    }
}

/// The table that is written, and for each argument in turn the column that takes it as it is.
fn targets(sql: &str) -> Option<(&str, Vec<Option<&str>>)> {
    let sql = sql.trim_start();
    if let Some(rest) = sql.strip_prefix("INSERT INTO ") {
        let (table, rest) = rest.split_once('(')?;
        let (columns, rest) = rest.split_once(')')?;
        let (_, values) = rest.split_once('(')?;
        let names = columns.split(',').map(bare);
        let places = names.zip(values.split([',', ')'])).filter(|(_, value)| value.contains('?'));
        return Some((bare(table), places.map(|(n, v)| (v.trim() == "?").then_some(n)).collect()));
    }
    let (table, rest) = sql.strip_prefix("UPDATE ")?.split_once(" SET ")?;
    let set = rest.split(" WHERE ").next().unwrap_or(rest);
    let mut out = Vec::new();
    for part in set.split(',') {
        match part.split_once('=') {
            Some((name, value)) if value.trim() == "?" => out.push(Some(bare(name))),
            _ => out.extend(std::iter::repeat_n(None, part.matches('?').count())),
        }
    }
    Some((bare(table), out))
}

fn bare(name: &str) -> &str {
    name.trim().trim_matches('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_columns_of_arguments() {
        let sql = "INSERT INTO \"user\" (id, extra, enabled, domain_id)\n VALUES (?, '{}', ?, ?)";
        assert_eq!(targets(sql), Some(("user", vec![Some("id"), Some("enabled"), Some("domain_id")])));
        let sql =
            "UPDATE trust SET remaining_uses = remaining_uses - 1, \"x\" = ?, y = y + ?, z = ? WHERE id = ?";
        assert_eq!(targets(sql), Some(("trust", vec![Some("x"), None, Some("z")])));
        assert_eq!(targets("DELETE FROM trust WHERE id = ?"), None);
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let sql = "INSERT INTO role (id, name, extra) VALUES (?, ?, ?)";
        let check = |dialect, name: &str, extra: &str| {
            written(dialect, sql, &["x".into(), name.into(), extra.into()])
        };
        let (long, text) = ("ö".repeat(256), "x".repeat(65_536));
        for dialect in [Dialect::Sqlite, Dialect::Postgres, Dialect::Mysql] {
            assert!(check(dialect, &"ö".repeat(255), "").is_ok());
            let Err(Error::Refused(why)) = check(dialect, &long, "") else { panic!("{dialect:?}") };
            assert!(why.starts_with("name: "), "{why}");
            assert_eq!(check(dialect, "", &text).is_err(), dialect == Dialect::Mysql);
        }
        assert!(characters(&["a\0".into()]).is_err() && characters(&["a".into()]).is_ok());
        let uses = "UPDATE trust SET remaining_uses = ? WHERE id = ?";
        assert!(written(Dialect::Sqlite, uses, &[Value::Int(1 << 40), "x".into()]).is_err());
    }
}
