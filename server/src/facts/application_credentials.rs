//! Application credentials and access rules as stored.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use vicar_rules::access_rule::AccessRule;
use vicar_rules::application_credential::{ApplicationCredential, MayDelegate};
use vicar_rules::delegation::Until;
use vicar_rules::roles::RoleSet;

use crate::store::{CHUNK, Result, Row, Select, Tx};

/// A stored application credential.
#[derive(Debug, Clone)]
pub struct StoredCredential {
    /// The key of its row, which other tables refer to.
    pub internal: i64,
    /// Its name, one of its owner's.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Whether it is unrestricted, as stored: null is no.
    pub unrestricted: Option<bool>,
    /// Its access rules, if it is limited to some.
    pub access_rules: Vec<StoredRule>,
    /// What authority is judged by.
    pub credential: ApplicationCredential,
}

impl StoredCredential {
    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        // Each rule is there twice.
        let rule =
            |r: &StoredRule| 500 + 2 * (r.rule.service.len() + r.rule.method.len() + r.rule.path.len());
        self.name.len()
            + self.description.as_ref().map_or(0, String::len)
            + self.access_rules.iter().map(rule).sum::<usize>()
            + 100 * self.credential.roles.len()
            + self
                .credential
                .may_delegate
                .as_ref()
                .map_or(0, |may| 100 * (may.roles.len() + may.trustees.len()))
    }
}

/// A stored access rule.
#[derive(Debug, Clone)]
pub struct StoredRule {
    /// The key of its row.
    pub internal: i64,
    /// Its id.
    pub id: String,
    /// Its owner.
    pub user: String,
    /// What it allows.
    pub rule: AccessRule,
}

impl StoredRule {
    /// As clients see it.
    pub fn to_json(&self) -> Value {
        json!({
            "id": self.id, "service": self.rule.service, "path": self.rule.path, "method": self.rule.method,
        })
    }
}

const CREDENTIALS: &str =
    "SELECT c.internal_id, c.id, c.name, c.description, c.user_id, c.project_id, c.expires_at,
        c.unrestricted, m.terms
   FROM application_credential c LEFT JOIN vicar_may_delegate m ON m.application_credential_id = c.id";

fn read(r: &mut Row) -> Result<StoredCredential> {
    let (internal, id, name, description) = (r.take()?, r.take()?, r.take()?, r.take()?);
    let (user, project, until) = (r.take()?, r.take()?, r.take::<Option<i64>>()?);
    let unrestricted: Option<bool> = r.take()?;
    let credential = ApplicationCredential {
        id,
        user,
        project,
        roles: RoleSet::new(),
        until: Until::from_option(until),
        unrestricted: unrestricted == Some(true),
        access_rules: None,
        may_delegate: r.take::<Option<String>>()?.map(|text| read_may_delegate(&text)),
    };
    Ok(StoredCredential { internal, name, description, unrestricted, access_rules: Vec::new(), credential })
}

/// What an application credential may delegate, from the stored form. What cannot be read gives nothing for now, and ends nothing.
fn read_may_delegate(text: &str) -> MayDelegate {
    let read = || {
        let stored: Value = serde_json::from_str(text).ok()?;
        let object = stored.as_object().filter(|all| all.len() == 3)?;
        let list = |name: &str| serde_json::from_value::<BTreeSet<String>>(object.get(name)?.clone()).ok();
        let max_depth = object.get("max_depth")?.as_u64()?.try_into().ok()?;
        Some(MayDelegate { trustees: list("trustees")?, roles: list("roles")?, max_depth })
    };
    let nothing = || MayDelegate { trustees: BTreeSet::new(), roles: RoleSet::new(), max_depth: 0 };
    read().unwrap_or_else(nothing)
}

/// The stored form.
pub fn write_may_delegate(may: &MayDelegate) -> String {
    json!({"trustees": may.trustees, "roles": may.roles, "max_depth": may.max_depth}).to_string()
}

const RULES: &str = "SELECT a.id, a.external_id, a.user_id, a.service, a.path, a.method FROM access_rule a";

fn read_rule(r: &mut Row) -> Result<StoredRule> {
    let internal = r.take()?;
    // What is null allows nothing.
    let mut text = || Ok(r.take::<Option<String>>()?.unwrap_or_default());
    let (id, user, service, path, method) = (text()?, text()?, text()?, text()?, text()?);
    Ok(StoredRule { internal, id, user, rule: AccessRule { service, path, method } })
}

/// Application credentials that fit a condition on `c`, with their roles and access rules.
///
/// # Errors
/// When the database fails.
pub async fn find(tx: &mut Tx, build: impl FnOnce(&mut Select)) -> Result<Vec<StoredCredential>> {
    let mut q = Select::new(CREDENTIALS);
    build(&mut q);
    let mut found = q.map(tx, read).await?;
    let keys: Vec<i64> = found.iter().map(|c| c.internal).collect();
    let mut roles: BTreeMap<i64, RoleSet> = BTreeMap::new();
    let mut rules: BTreeMap<i64, Vec<StoredRule>> = BTreeMap::new();
    for part in keys.chunks(CHUNK) {
        let mut q =
            Select::new("SELECT r.application_credential_id, r.role_id FROM application_credential_role r");
        q.is_in("r.application_credential_id", part.iter().copied());
        for (of, role) in q.map(tx, |r| Ok((r.take::<i64>()?, r.take::<String>()?))).await? {
            roles.entry(of).or_default().insert(role);
        }
        let mut q = Select::new(
            "SELECT x.application_credential_id, a.id, a.external_id, a.user_id, a.service, a.path, a.method
               FROM application_credential_access_rule x JOIN access_rule a ON a.id = x.access_rule_id",
        );
        q.is_in("x.application_credential_id", part.iter().copied());
        for (of, rule) in q.map(tx, |r| Ok((r.take::<i64>()?, read_rule(r)?))).await? {
            rules.entry(of).or_default().push(rule);
        }
    }
    for stored in &mut found {
        stored.credential.roles = roles.remove(&stored.internal).unwrap_or_default();
        stored.access_rules = rules.remove(&stored.internal).unwrap_or_default();
        stored.access_rules.sort_by_key(|rule| rule.internal);
        if !stored.access_rules.is_empty() {
            let all: BTreeSet<AccessRule> = stored.access_rules.iter().map(|r| r.rule.clone()).collect();
            stored.credential.access_rules = Some(all);
        }
    }
    Ok(found)
}

/// One application credential.
///
/// # Errors
/// When the database fails.
pub async fn get(tx: &mut Tx, id: &str) -> Result<Option<StoredCredential>> {
    let mut found = find(tx, |q| {
        q.id("c.id", Some(id));
    })
    .await?;
    Ok(found.pop())
}

/// Access rules that fit a condition on `a`.
///
/// # Errors
/// When the database fails.
pub async fn find_rules(tx: &mut Tx, build: impl FnOnce(&mut Select)) -> Result<Vec<StoredRule>> {
    let mut q = Select::new(RULES);
    build(&mut q);
    q.map(tx, read_rule).await
}

/// What a login compares with.
#[derive(Clone)]
pub struct Secret {
    /// The id of the application credential.
    pub id: String,
    /// Its owner.
    pub user: String,
    /// The hash of its secret.
    pub hash: String,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the secret of application credential {}", self.id)
    }
}

/// How a login names its application credential.
#[derive(Debug, Clone, Copy)]
pub enum Named<'a> {
    /// By its id.
    Id(&'a str),
    /// By its owner's id, and its name.
    OfUser(&'a str, &'a str),
}

/// The secret of the application credential that a login names.
///
/// # Errors
/// When the database fails.
pub async fn secret(tx: &mut Tx, named: Named<'_>) -> Result<Option<Secret>> {
    let mut q = Select::new("SELECT c.id, c.user_id, c.secret_hash FROM application_credential c");
    match named {
        Named::Id(id) => q.id("c.id", Some(id)),
        Named::OfUser(user, name) => q.id("c.user_id", Some(user)).eq("c.name", Some(name)),
    };
    let found = q.map(tx, |r| Ok(Secret { id: r.take()?, user: r.take()?, hash: r.take()? })).await?;
    Ok(found.into_iter().next())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use vicar_rules::delegation::Until;
    use vicar_rules::roles::RoleSet;

    use super::*;

    #[test]
    fn what_it_may_delegate_is_read_as_it_was_written() {
        let set = |all: &[&str]| all.iter().map(|id| (*id).to_owned()).collect::<BTreeSet<_>>();
        let may = MayDelegate { trustees: set(&["bob"]), roles: set(&["r", "s"]), max_depth: 2 };
        assert_eq!(read_may_delegate(&write_may_delegate(&may)), may);
        for text in ["", "{}", "[]", r#"{"trustees": ["bob"], "roles": ["r"], "max_depth": -1}"#] {
            assert!(read_may_delegate(text).trustees.is_empty(), "{text}");
        }
        let more = r#"{"trustees": ["bob"], "roles": ["r"], "max_depth": 0, "moon": 1}"#;
        assert!(read_may_delegate(more).roles.is_empty());
    }

    /// What is remembered of it is bounded by what it says that it takes.
    #[test]
    fn what_a_client_makes_long_is_counted() {
        let rule = AccessRule { service: "s".repeat(60), method: "GET".into(), path: "/p".repeat(60) };
        let stored = |rules: usize, description: usize| StoredCredential {
            internal: 1,
            name: "n".into(),
            description: Some("d".repeat(description)),
            unrestricted: None,
            access_rules: vec![
                StoredRule {
                    internal: 1,
                    id: "i".into(),
                    user: "u".into(),
                    rule: rule.clone()
                };
                rules
            ],
            credential: ApplicationCredential {
                id: "i".into(),
                user: "u".into(),
                project: None,
                roles: RoleSet::new(),
                until: Until::Never,
                unrestricted: false,
                access_rules: Some(BTreeSet::from([rule.clone()])),
                may_delegate: None,
            },
        };
        let empty = stored(0, 0).size();
        assert_eq!(stored(0, 60_000).size() - empty, 60_000);
        assert!(stored(200, 0).size() - empty >= 200 * 2 * 183);
    }
}
