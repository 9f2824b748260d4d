//! The query for the revocation events that may concern a token.

use vicar_rules::Micros;

use super::{DateTime, Id, Value, placeholders};
use crate::clock::SECOND;

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
    let mut branches = Branches::new(columns, of.issued);
    for (column, values) in [
        ("user_id", &of.users),
        ("audit_id", &of.audit_ids),
        ("audit_chain_id", &of.audit_ids),
        ("trust_id", &of.trusts),
    ] {
        branches.naming(column, values);
    }
    branches.place(of.project);
    branches.joined()
}

/// The same in several queries, one for each that is named but for the audit ids: what they find can be remembered for all tokens that name
/// the same and were issued in the same hour. It has events from the beginning of that hour on.
pub fn shared(columns: &str, of: &RevocationQuery<'_>) -> Vec<(String, Vec<Value>)> {
    let hour = of.issued.div_euclid(HOUR) * HOUR;
    let named = |name: &dyn Fn(&mut Branches<'_>)| {
        let mut branches = Branches::new(columns, hour);
        name(&mut branches);
        branches
    };
    let mut all = vec![
        named(&|b| {
            b.naming("audit_id", &of.audit_ids);
            b.naming("audit_chain_id", &of.audit_ids);
        }),
        named(&|b| b.place(None)),
    ];
    all.extend(of.users.iter().map(|id| named(&|b| b.naming("user_id", &[id]))));
    all.extend(of.trusts.iter().map(|id| named(&|b| b.naming("trust_id", &[id]))));
    if let Some(project) = of.project {
        all.push(named(&|b| b.branch(&format!("project_id = ? AND {NOBODY}"), &[project])));
    }
    all.into_iter().filter(|branches| !branches.texts.is_empty()).map(Branches::joined).collect()
}

const HOUR: Micros = 3600 * SECOND;

/// Branches of a query.
struct Branches<'a> {
    columns: &'a str,
    since: Micros,
    texts: Vec<String>,
    args: Vec<Value>,
}

impl<'a> Branches<'a> {
    fn new(columns: &'a str, since: Micros) -> Self {
        Self { columns, since, texts: Vec::new(), args: Vec::new() }
    }

    fn branch(&mut self, condition: &str, values: &[&str]) {
        let columns = self.columns;
        self.texts
            .push(format!("SELECT {columns} FROM revocation_event WHERE {condition} AND issued_before >= ?"));
        self.args.extend(values.iter().map(|value| Value::from(Id(*value))));
        self.args.push(DateTime(self.since).into());
    }

    fn naming(&mut self, column: &str, values: &[&str]) {
        if !values.is_empty() {
            self.branch(&format!("{column} IN ({})", placeholders(values.len())), values);
        }
    }

    /// A project's events, and those of nobody: a domain's, a role's. What names somebody besides is found by that.
    fn place(&mut self, project: Option<&str>) {
        if let Some(project) = project {
            self.branch(&format!("project_id = ? AND {NOBODY}"), &[project]);
        }
        self.branch(&format!("project_id IS NULL AND {NOBODY}"), &[]);
    }

    fn joined(self) -> (String, Vec<Value>) {
        (self.texts.join(" UNION ALL "), self.args)
    }
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
