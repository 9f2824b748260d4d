//! Credentials and keypairs as stored, and what a trust's keypair is bound to.

use serde_json::{Map, Value, json};
use vicar_rules::Micros;
use vicar_rules::access_rule::Access;
use vicar_rules::delegation::Until;
use vicar_rules::origin::Origin;
use vicar_rules::roles::RoleSet;

use super::{origin, terms};
use crate::args;
use crate::extra;
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
    /// What the token that made it said of the beginning of it all, and its trust does not.
    pub origin: Origin,
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
        let Own { roles, access_rules, origin } = read_own(roles.as_deref());
        c.bound = Some(BoundTo {
            trust_id,
            access,
            roles,
            until: Until::from_option(until),
            access_rules,
            origin,
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

/// What a keypair has of its own besides its end, as stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Own {
    /// The roles that it is narrowed to.
    pub roles: Option<RoleSet>,
    /// The requests that it is limited to.
    pub access_rules: Access,
    /// What it says of the beginning of it all.
    pub origin: Origin,
}

/// Reads a list of role ids, or an object when there is more than roles, so that a program that does not know of that finds no roles.
/// What cannot be read gives nothing rather than everything.
pub fn read_own(text: Option<&str>) -> Own {
    let Some(text) = text else { return Own::default() };
    let own = match serde_json::from_str(text) {
        Ok(list @ Value::Array(_)) => {
            serde_json::from_value(list).ok().map(|roles| Own { roles, ..Own::default() })
        }
        Ok(Value::Object(all)) => read_object(&all),
        _ => None,
    };
    own.unwrap_or_else(|| Own { roles: Some(RoleSet::new()), ..Own::default() })
}

fn read_object(all: &Map<String, Value>) -> Option<Own> {
    let mut own = Own { roles: serde_json::from_value(all.get(ROLES)?.clone()).ok()?, ..Own::default() };
    for (name, value) in all {
        match name.as_str() {
            ROLES => {}
            ACCESS_RULES => own.access_rules = Access::stored(terms::rules_of(value)?),
            ORIGIN => own.origin = origin::read(value.as_object()?),
            _ => return None,
        }
    }
    (all.len() > 1).then_some(own)
}

const ROLES: &str = "roles";
const ACCESS_RULES: &str = "access_rules";
const ORIGIN: &str = "origin";

/// The stored form of what a keypair has of its own.
fn write_own(b: &BoundTo) -> Option<String> {
    let rules = terms::rules_to_json(&b.access_rules);
    if rules.is_none() && b.origin.is_empty() {
        return Some(json!(b.roles.as_ref()?).to_string());
    }
    let mut stored = json!({ROLES: b.roles});
    if let Some(rules) = rules {
        extra::set(&mut stored, ACCESS_RULES, rules);
    }
    if !b.origin.is_empty() {
        extra::set(&mut stored, ORIGIN, origin::to_json(&b.origin));
    }
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
        .set("roles", write_own(b))
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
    fn what_a_keypair_has_of_its_own_is_read_as_it_was_written() {
        let roles = || Some(RoleSet::from(["r".to_owned(), "s".to_owned()]));
        let rule = AccessRule { service: "compute".into(), method: "GET".into(), path: "/a/*".into() };
        let rules = || Access::only(&[rule.clone()].into());
        let said = || Origin { source_identity: Some("alice".into()), ..Origin::default() };
        for roles in [None, roles()] {
            for access_rules in [Access::default(), rules()] {
                for origin in [Origin::default(), said()] {
                    let own = Own { roles: roles.clone(), access_rules: access_rules.clone(), origin };
                    let bound = BoundTo {
                        trust_id: "t".into(),
                        access: "a".into(),
                        roles: own.roles.clone(),
                        until: Until::Never,
                        access_rules: own.access_rules.clone(),
                        origin: own.origin.clone(),
                        creator: None,
                    };
                    assert_eq!(read_own(write_own(&bound).as_deref()), own);
                }
            }
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
            assert_eq!(read_own(Some(&text)).roles, Some(RoleSet::new()), "{text}");
        }
    }
}
