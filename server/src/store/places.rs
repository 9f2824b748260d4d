//! The places of arguments in a statement's text, and what each argument is compared with.

use super::Value;

/// A place for arguments: one `?`, or the whole list of an `IN`.
#[derive(Debug)]
pub(super) struct Place<'a> {
    /// The text since the place before.
    pub(super) before: &'a str,
    /// The place itself: `?`, or `?, ?)`.
    pub(super) list: &'a str,
    /// Its arguments.
    pub(super) args: &'a [Value],
    /// What the arguments are compared with, if they are.
    pub(super) compared: Option<Compared<'a>>,
}

/// The end of the text before a place: `… column = `.
#[derive(Debug)]
pub(super) struct Compared<'a> {
    /// What is before the column.
    pub(super) head: &'a str,
    /// The column, with its table and quoted or not; empty for anything else, as a function is.
    pub(super) column: &'a str,
    /// ` = `, ` <> ` or ` IN (`.
    pub(super) how: &'static str,
}

/// All places in turn, and at the end the rest of the text.
pub(super) struct Places<'a> {
    sql: &'a str,
    args: &'a [Value],
    /// Up to here values are assigned, not compared.
    assigned: usize,
    at: usize,
}

impl<'a> Places<'a> {
    pub(super) fn of(sql: &'a str, args: &'a [Value]) -> Self {
        let assigned = sql.find(" SET ").and_then(|set| Some(set + sql.get(set..)?.find(" WHERE ")?));
        Self { sql, args, assigned: assigned.unwrap_or(0), at: 0 }
    }

    /// The text after the last place.
    pub(super) fn rest(&self) -> &'a str {
        self.sql.get(self.at..).unwrap_or_default()
    }
}

impl<'a> Iterator for Places<'a> {
    type Item = Place<'a>;

    fn next(&mut self) -> Option<Place<'a>> {
        let (before, after) = self.rest().split_at_checked(self.rest().find('?')?)?;
        let length =
            if before.ends_with(" IN (") { after.find(')').map_or(after.len(), |end| end + 1) } else { 1 };
        let list = after.get(..length)?;
        let (args, left) = self.args.split_at(list.matches('?').count().min(self.args.len()));
        let is_condition = self.at + before.len() >= self.assigned;
        let compared = if is_condition { Compared::at_end(before) } else { None };
        self.at += before.len() + length;
        self.args = left;
        Some(Place { before, list, args, compared })
    }
}

/// `?` becomes `$1`, `$2`, … outside of quotes.
pub(super) fn numbered(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len() + 16);
    let (mut quote, mut n) = (None, 0);
    for c in sql.chars() {
        match (quote, c) {
            (None, '?') => {
                n += 1;
                out.push('$');
                out.push_str(&n.to_string());
                continue;
            }
            (None, '\'' | '"') => quote = Some(c),
            (Some(q), c) if q == c => quote = None,
            _ => {}
        }
        out.push(c);
    }
    out
}

impl<'a> Compared<'a> {
    fn at_end(before: &'a str) -> Option<Self> {
        let operators = [" = ", " IN (", " <> "];
        let (text, how) = operators.iter().find_map(|how| Some((before.strip_suffix(how)?, *how)))?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || "_.\"".contains(c);
        let (head, column) = text.split_at(text.trim_end_matches(is_name).len());
        Some(Self { head, column, how })
    }
}

/// The first column whose bytes count that a plain string is compared with: an id that was not given as one. On
/// MariaDB it would find what is merely similar.
#[cfg(debug_assertions)]
pub(super) fn untyped<'a>(sql: &'a str, args: &'a [Value]) -> Option<&'a str> {
    let plain = |place: &Place<'_>| place.args.iter().any(|arg| matches!(arg, Value::Text(_)));
    let columns = Places::of(sql, args).filter(plain).filter_map(|place| Some(place.compared?.column));
    let tables = tables(sql);
    columns.into_iter().find(|column| is_compared_by_bytes(&tables, column))
}

#[cfg(debug_assertions)]
type Aliases = Vec<(String, &'static super::schema::Table)>;

/// The tables that a statement names, each by its alias and by its name.
#[cfg(debug_assertions)]
fn tables(sql: &str) -> Aliases {
    let words: Vec<String> =
        sql.split_whitespace().map(|word| word.trim_matches(|c| "(),\"".contains(c)).to_owned()).collect();
    let mut found = Vec::new();
    for (i, word) in words.iter().enumerate() {
        let Some(table) = words.get(i + 1).and_then(|name| super::schema::table(name)) else { continue };
        if ["FROM", "JOIN", "UPDATE"].contains(&word.as_str()) {
            found.push((table.name.to_owned(), table));
            found.extend(words.get(i + 2).map(|alias| (alias.clone(), table)));
        }
    }
    found
}

#[cfg(debug_assertions)]
fn is_compared_by_bytes(tables: &Aliases, column: &str) -> bool {
    use super::schema::{Comparison, Type};
    let column = column.replace('"', "");
    let (of, name) = match column.split_once('.') {
        Some((of, name)) => (Some(of), name),
        None => (None, column.as_str()),
    };
    let tables = tables.iter().filter(|(alias, _)| of.is_none_or(|of| of == alias));
    let mut columns =
        tables.filter_map(|(_, table)| table.columns.iter().find(|c| c.name == name)).peekable();
    columns.peek().is_some()
        && columns.all(|c| c.compared == Comparison::Bytes && !matches!(c.ty, Type::Enum { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args;
    use crate::store::Id;

    #[test]
    fn an_id_that_is_a_plain_string_is_found() {
        let plain = |sql: &str, args: &[Value]| untyped(sql, args).map(str::to_owned);
        let by_id = "SELECT 1 FROM role r WHERE r.name = ? AND r.id = ?";
        assert_eq!(plain(by_id, args!["n", "i"]).as_deref(), Some("r.id"));
        assert_eq!(plain(by_id, args!["n", Id("i")]), None);
        let many =
            "SELECT 1 FROM \"user\" u JOIN trust t ON t.trustor_user_id = u.id WHERE \"domain_id\" IN (?, ?)";
        assert_eq!(plain(many, args![Id("a"), "b"]).as_deref(), Some("\"domain_id\""));
        // Words of an enumeration are no ids.
        let words = "SELECT 1 FROM assignment a WHERE a.type = ? AND a.inherited = ?";
        assert_eq!(plain(words, args!["UserProject", true]), None);
        let set = "UPDATE trust SET project_id = ? WHERE id = ?";
        assert_eq!(plain(set, args!["p", Id("t")]), None);
        assert_eq!(plain(set, args!["p", "t"]).as_deref(), Some("id"));
        assert_eq!(plain("DELETE FROM trust WHERE id <> ?", args!["t"]).as_deref(), Some("id"));
    }

    #[test]
    fn arguments_are_numbered_outside_of_quotes() {
        let sql = numbered("SELECT '?', \"a?\" FROM t WHERE a = ? AND b IN (?, ?)");
        assert_eq!(sql, "SELECT '?', \"a?\" FROM t WHERE a = $1 AND b IN ($2, $3)");
    }
}
