//! The query for the revocation events that may concern a token.

use vicar_rules::Micros;

use super::{DateTime, Id, Value, placeholders};

/// The names that an event must carry to concern a token; used to find events by index.
#[derive(Debug, Default)]
pub struct RevocationQuery<'a> {
    /// Users that take part in the token.
    pub users: Vec<&'a str>,
    /// Its trusts.
    pub trusts: Vec<&'a str>,
    /// Its project.
    pub project: Option<&'a str>,
    /// Its audit ids.
    pub audit_ids: Vec<&'a str>,
    /// Events of this time or later, in microseconds since 1970.
    pub issued: Micros,
}

/// The text and arguments of the query, which gives `columns` of each event.
///
/// Each branch is one seek by an index that ends with the time (`ix_vicar_revocation_event_…`), so that the
/// number of events of others does not matter, nor that of older ones.
pub fn query(columns: &str, of: &RevocationQuery<'_>) -> (String, Vec<Value>) {
    let mut branches = Vec::new();
    let mut args = Vec::new();
    let mut branch = |condition: &str, values: &[&str]| {
        branches
            .push(format!("SELECT {columns} FROM revocation_event WHERE {condition} AND issued_before >= ?"));
        args.extend(values.iter().map(|value| Value::from(Id(*value))));
        args.push(DateTime(of.issued).into());
    };
    for (column, values) in [
        ("user_id", &of.users),
        ("audit_id", &of.audit_ids),
        ("audit_chain_id", &of.audit_ids),
        ("trust_id", &of.trusts),
    ] {
        if !values.is_empty() {
            branch(&format!("{column} IN ({})", placeholders(values.len())), values);
        }
    }
    // A project's events, and those of nobody: a domain's, a role's. What names somebody besides is found above.
    if let Some(project) = of.project {
        branch(&format!("project_id = ? AND {NOBODY}"), &[project]);
    }
    branch(&format!("project_id IS NULL AND {NOBODY}"), &[]);
    (branches.join(" UNION ALL "), args)
}

/// So many of the newest events of one name are read, and remembered.
pub const NEWEST: usize = 100;

/// The queries for the newest events of each that is named, one by one, and for those of nobody: what they find can be remembered
/// for all that name the same. What is found by one that gives less than [`NEWEST`] is all there is. Of an audit id there is
/// never more than a few: the first ends all that could have another.
pub fn newest(columns: &str, of: &RevocationQuery<'_>) -> Vec<(String, Vec<Value>)> {
    let newest = |condition: &str, values: &[&str]| {
        let sql = format!(
            "SELECT {columns} FROM revocation_event WHERE {condition} ORDER BY issued_before DESC LIMIT {NEWEST}"
        );
        (sql, values.iter().map(|value| Value::from(Id(*value))).collect())
    };
    let mut queries = Vec::new();
    queries.extend(of.users.iter().map(|id| newest("user_id = ?", &[id])));
    queries.extend(of.trusts.iter().map(|id| newest("trust_id = ?", &[id])));
    if !of.audit_ids.is_empty() {
        let ids = placeholders(of.audit_ids.len());
        let select = format!("SELECT {columns} FROM revocation_event WHERE");
        let sql = format!("{select} audit_id IN ({ids}) UNION ALL {select} audit_chain_id IN ({ids})");
        let both = of.audit_ids.iter().chain(&of.audit_ids);
        queries.push((sql, both.map(|id| Value::from(Id(*id))).collect()));
    }
    queries.extend(of.project.map(|id| newest(&format!("project_id = ? AND {NOBODY}"), &[id])));
    queries.push(newest(&format!("project_id IS NULL AND {NOBODY}"), &[]));
    queries
}

/// What names nobody.
const NOBODY: &str = "user_id IS NULL AND audit_id IS NULL AND trust_id IS NULL AND audit_chain_id IS NULL";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_for_each_that_is_named_and_one_for_nobody() {
        let (sql, args) = query("id", &RevocationQuery::default());
        assert_eq!((sql.matches("SELECT").count(), args.len()), (1, 1));
        let of = RevocationQuery {
            users: vec!["u", "v"],
            trusts: vec!["t"],
            project: Some("p"),
            audit_ids: vec!["a"],
            issued: 1,
        };
        let (sql, args) = query("id", &of);
        assert_eq!(sql.matches(" UNION ALL ").count(), 5);
        assert_eq!(sql.matches('?').count(), args.len());
        assert_eq!(args[0], Value::Id("u".into()));
    }
}
