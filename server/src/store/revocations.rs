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
    let nobody = "user_id IS NULL AND audit_id IS NULL AND trust_id IS NULL AND audit_chain_id IS NULL";
    if let Some(project) = of.project {
        branch(&format!("project_id = ? AND {nobody}"), &[project]);
    }
    branch(&format!("project_id IS NULL AND {nobody}"), &[]);
    (branches.join(" UNION ALL "), args)
}

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
