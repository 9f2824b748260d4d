//! The query for the revocation events that may concern a token.

use std::borrow::Cow;
use std::sync::LazyLock;

use vicar_rules::Micros;

use super::{DateTime, Id, Value, placeholders};
use crate::clock;

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

/// Columns of an event, in the order in which they are read.
pub const COLUMNS: &str = "domain_id, project_id, user_id, role_id, trust_id, consumer_id, access_token_id,
                       audit_id, audit_chain_id, expires_at, issued_before";

/// What names nobody.
const NOBODY: &str = "user_id IS NULL AND audit_id IS NULL AND trust_id IS NULL AND audit_chain_id IS NULL";

/// The text and arguments of the query, which gives [`COLUMNS`] of each event.
///
/// Each branch is one seek by an index that ends with the time (`ix_vicar_revocation_event_…`), so that the
/// number of events of others does not matter, nor that of older ones.
pub fn query(of: &RevocationQuery<'_>) -> (String, Vec<Value>) {
    let (texts, args): (Vec<String>, Vec<Vec<Value>>) = [
        naming("user_id", &of.users, of.issued),
        naming("audit_id", &of.audit_ids, of.issued),
        naming("audit_chain_id", &of.audit_ids, of.issued),
        naming("trust_id", &of.trusts, of.issued),
        of.project.map(|project| (TEXTS.project.clone(), args(&[project], of.issued))),
        Some((TEXTS.nobody.clone(), args(&[], of.issued))),
    ]
    .into_iter()
    .flatten()
    .unzip();
    (texts.join(" UNION ALL "), args.concat())
}

/// The same in several queries, one for each that is named but for the audit ids: what they find can be remembered for all
/// tokens that name the same and were issued in the same hour. It has events from the beginning of that hour on.
pub fn shared(of: &RevocationQuery<'_>) -> Vec<(Cow<'static, str>, Vec<Value>)> {
    let hour = clock::hour(of.issued);
    let one = |text: &'static String, id: &str| (Cow::from(text.as_str()), args(&[id], hour));
    let mut all = vec![(Cow::from(TEXTS.nobody.as_str()), args(&[], hour))];
    let audits = |column| naming(column, &of.audit_ids, hour);
    if let (Some((id, of_id)), Some((chain, of_chain))) = (audits("audit_id"), audits("audit_chain_id")) {
        all.push((format!("{id} UNION ALL {chain}").into(), [of_id, of_chain].concat()));
    }
    all.extend(of.users.iter().map(|id| one(&TEXTS.user, id)));
    all.extend(of.trusts.iter().map(|id| one(&TEXTS.trust, id)));
    all.extend(of.project.map(|id| one(&TEXTS.project, id)));
    all
}

/// Branches that every token has. Written once: each validation that is not remembered asks with them.
struct Texts {
    user: String,
    trust: String,
    project: String,
    nobody: String,
}

static TEXTS: LazyLock<Texts> = LazyLock::new(|| Texts {
    user: branch("user_id IN (?)"),
    trust: branch("trust_id IN (?)"),
    // A project's events, and those of nobody: a domain's, a role's. What names somebody besides is found by that.
    project: branch(&format!("project_id = ? AND {NOBODY}")),
    nobody: branch(&format!("project_id IS NULL AND {NOBODY}")),
});

fn branch(condition: &str) -> String {
    format!("SELECT {COLUMNS} FROM revocation_event WHERE {condition} AND issued_before >= ?")
}

fn args(values: &[&str], since: Micros) -> Vec<Value> {
    values.iter().map(|value| Id(*value).into()).chain([DateTime(since).into()]).collect()
}

/// The branch for events that name one of these, if there are any.
fn naming(column: &str, values: &[&str], since: Micros) -> Option<(String, Vec<Value>)> {
    let any =
        (!values.is_empty()).then(|| branch(&format!("{column} IN ({})", placeholders(values.len()))))?;
    Some((any, args(values, since)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_for_each_that_is_named_and_one_for_nobody() {
        let (sql, args) = query(&RevocationQuery::default());
        assert_eq!((sql.matches("SELECT").count(), args.len()), (1, 1));
        let of = RevocationQuery {
            users: vec!["u", "v"],
            trusts: vec!["t"],
            project: Some("p"),
            audit_ids: vec!["a"],
            issued: 1,
        };
        let (sql, args) = query(&of);
        assert_eq!(sql.matches(" UNION ALL ").count(), 5);
        assert_eq!(sql.matches('?').count(), args.len());
        assert_eq!(args[0], Value::Id("u".into()));
    }
}
