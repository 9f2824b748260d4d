//! Credentials and keypairs as stored, and what a trust's keypair is bound to.

use serde_json::{Value, json};
use vicar_rules::Micros;
use vicar_rules::access_rule::Access;
use vicar_rules::delegation::Until;
use vicar_rules::roles::RoleSet;

use super::terms;
use crate::args;
use crate::store::{CHUNK, Id, Insert, Proof, Result, Row, Select, Tx, WriteTx};

/// A credential's type for keypairs that follow their owner's roles, as Keystone has it.
pub const PLAIN: &str = "ec2";

/// The type in storage of keypairs that are bound to a trust. A Keystone on the same database exchanges
/// `ec2` only, so it refuses these; it would neither count uses nor know a narrowing. Clients see `ec2`.
pub const BOUND: &str = "ec2-trust";

/// A stored credential.
#[derive(Clone)]
pub struct Credential {
    /// Its id; of a keypair the SHA-256 of the access id, in hex.
    pub id: String,
    /// Its owner.
    pub user_id: String,
    /// Its project.
    pub project_id: Option<String>,
    /// Its type in storage.
    pub kind: String,
    /// Unknown attributes, JSON.
    pub extra: Option<String>,
    /// SHA-1 of the key that the blob is encrypted with.
    pub key_hash: String,
    /// The blob, in Fernet.
    pub encrypted_blob: String,
    /// What a keypair is bound to.
    pub bound: Option<BoundTo>,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "credential {} of {}", self.id, self.user_id)
    }
}

/// Where a trust's keypair comes from, taken from the token that made it. It is kept in a table that no
/// client and no Keystone writes.
#[derive(Debug, Clone)]
pub struct BoundTo {
    /// The trust.
    pub trust_id: String,
    /// Its access id.
    pub access: String,
    /// Its narrowed roles.
    pub roles: Option<RoleSet>,
    /// Its own end.
    pub until: Until,
    /// The requests that it is limited to.
    pub access_rules: Access,
    /// The audit id of the token that made it.
    pub creator: Option<String>,
}

impl BoundTo {
    /// Whether it has roles or access rules of its own, which a Keystone would not look at.
    pub fn is_narrowed(&self) -> bool {
        self.roles.is_some() || self.access_rules.is_limited()
    }
}

impl Credential {
    /// The type that clients see.
    pub fn shown_kind(&self) -> &str {
        if self.kind == BOUND { PLAIN } else { &self.kind }
    }

    /// Whether it is a keypair of either form.
    pub fn is_keypair(&self) -> bool {
        self.kind.eq_ignore_ascii_case(PLAIN) || self.kind == BOUND
    }
}

const COLUMNS: &str = "SELECT c.id, c.user_id, c.project_id, c.type, c.extra, c.key_hash, c.encrypted_blob,
        k.trust_id, k.access, k.roles, k.expires_at, k.creator_audit_id
   FROM credential c LEFT JOIN vicar_keypair k ON k.credential_id = c.id";

fn read(r: &mut Row) -> Result<Credential> {
    let mut c = Credential {
        id: r.take()?,
        user_id: r.take()?,
        project_id: r.take()?,
        kind: r.take()?,
        extra: r.take()?,
        key_hash: r.take()?,
        encrypted_blob: r.take()?,
        bound: None,
    };
    let trust: Option<String> = r.take()?;
    let access: Option<String> = r.take()?;
    let roles: Option<String> = r.take()?;
    let until: Option<Micros> = r.take()?;
    let creator: Option<String> = r.take()?;
    if let (Some(trust_id), Some(access)) = (trust, access) {
        let (roles, access_rules) = read_narrowing(roles.as_deref());
        c.bound = Some(BoundTo {
            trust_id,
            access,
            roles,
            until: Until::from_option(until),
            access_rules,
            creator,
        });
    }
    Ok(c)
}

/// One credential.
///
/// # Errors
/// When the database fails.
pub async fn get(tx: &mut Tx, id: &str) -> Result<Option<Credential>> {
    tx.first(&format!("{COLUMNS} WHERE c.id = ?"), args![Id(id)], read).await
}

/// Credentials that fit a condition on `c` and `k`, by id.
///
/// # Errors
/// When the database fails.
pub async fn find(tx: &mut Tx, build: impl FnOnce(&mut Select)) -> Result<Vec<Credential>> {
    let mut q = Select::new(COLUMNS);
    build(&mut q);
    q.end("ORDER BY c.id");
    q.map(tx, read).await
}

/// What the keypairs of some trusts are bound to.
///
/// # Errors
/// When the database fails.
pub async fn of_trusts(tx: &mut Tx, trusts: &[&str]) -> Result<Vec<BoundTo>> {
    let mut out = Vec::new();
    for part in trusts.chunks(CHUNK) {
        let found = find(tx, |q| {
            q.id_in("k.trust_id", part.iter().copied());
        })
        .await?;
        out.extend(found.into_iter().filter_map(|c| c.bound));
    }
    Ok(out)
}

/// What a keypair is narrowed to, as stored: a list of role ids, or an object when it is limited to access rules, so that a program
/// that does not know these finds no roles. What cannot be read gives nothing rather than everything.
pub fn read_narrowing(text: Option<&str>) -> (Option<RoleSet>, Access) {
    let Some(text) = text else { return (None, Access::default()) };
    let nothing = || (Some(RoleSet::new()), Access::default());
    let roles = |list: &Value| serde_json::from_value::<RoleSet>(list.clone()).ok();
    match serde_json::from_str(text) {
        Ok(list @ Value::Array(_)) => roles(&list).map_or_else(nothing, |own| (Some(own), Access::default())),
        Ok(Value::Object(both)) => {
            let rules = both.get("access_rules").and_then(terms::rules_of);
            let own =
                both.get("roles").map(|list| if list.is_null() { Some(None) } else { roles(list).map(Some) });
            match (own, rules) {
                (Some(Some(roles)), Some(rules)) if both.len() == 2 => (roles, Access::stored(rules)),
                _ => nothing(),
            }
        }
        _ => nothing(),
    }
}

/// The stored form of what a keypair is narrowed to.
fn write_narrowing(b: &BoundTo) -> Option<String> {
    let stored = match terms::rules_to_json(&b.access_rules) {
        Some(rules) => json!({"roles": b.roles, "access_rules": rules}),
        None => json!(b.roles.as_ref()?),
    };
    Some(stored.to_string())
}

/// Proofs that cover the record of what a keypair is bound to: its creation, and the first use of one that an
/// older Keystone made, by the server itself.
pub trait RecordsBinding: Proof {}

/// Records what a keypair is bound to, unless that is recorded already.
///
/// # Errors
/// When the database fails.
pub async fn record(
    tx: &mut WriteTx,
    proof: &impl RecordsBinding,
    credential: &str,
    b: &BoundTo,
    audit_chain: &str,
    now: Micros,
) -> Result<()> {
    if tx.exists("SELECT trust_id FROM vicar_keypair WHERE credential_id = ?", args![Id(credential)]).await? {
        return Ok(());
    }
    let row = Insert::into("vicar_keypair")
        .set("credential_id", credential)
        .set("access", &b.access)
        .set("trust_id", &b.trust_id)
        .set("audit_chain_id", audit_chain)
        .set("roles", write_narrowing(b))
        .set("expires_at", b.until.to_option())
        .set("created_at", now)
        .set("creator_audit_id", &b.creator);
    tx.execute(proof, &row).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use vicar_rules::access_rule::AccessRule;

    use super::*;

    #[test]
    fn what_a_keypair_is_narrowed_to_is_read_as_it_was_written() {
        let roles = || Some(RoleSet::from(["r".to_owned(), "s".to_owned()]));
        let rule = AccessRule { service: "compute".into(), method: "GET".into(), path: "/a/*".into() };
        let rules = || Access::only(&[rule.clone()].into());
        for (roles, access_rules) in
            [(None, Access::default()), (roles(), Access::default()), (None, rules()), (roles(), rules())]
        {
            let bound = BoundTo {
                trust_id: "t".into(),
                access: "a".into(),
                roles: roles.clone(),
                until: Until::Never,
                access_rules: access_rules.clone(),
                creator: None,
            };
            let text = write_narrowing(&bound);
            assert_eq!(read_narrowing(text.as_deref()), (roles, access_rules));
        }
    }

    #[test]
    fn what_cannot_be_read_gives_nothing() {
        let rules = r#"[{"service": "s", "method": "GET", "path": "/"}]"#;
        for text in [
            String::new(),
            "null".into(),
            "[1]".into(),
            "{}".into(),
            r#"{"roles": null}"#.into(),
            format!(r#"{{"access_rules": {rules}}}"#),
            format!(r#"{{"roles": 1, "access_rules": {rules}}}"#),
            format!(r#"{{"roles": null, "access_rules": {rules}, "only_on_mondays": true}}"#),
            r#"{"roles": null, "access_rules": [{"service": "s"}]}"#.into(),
        ] {
            assert_eq!(read_narrowing(Some(&text)).0, Some(RoleSet::new()), "{text}");
        }
    }
}
