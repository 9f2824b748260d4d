//! EC2 keypairs: the two doors that make them, who sees them, and their exchange.

pub mod exchange;
pub mod http;
pub mod sql;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use vicar_rules::Micros;
use vicar_rules::delegation::{Authority, Chain, Until};
use vicar_rules::keypair::{self, KeypairRequest};
use vicar_rules::policy::{Fact, Facts};
use vicar_rules::refusal::Refusal;
use vicar_rules::revocation::Event;
use vicar_rules::roles::{Implications, RoleSet};
use vicar_rules::token::Kind;

use crate::app::App;
use crate::args;
use crate::authority;
use crate::error::{Error, Result};
use crate::http::{Caller, Permit};
use crate::store::Tx;
use crate::tokens::fernet::Payload;
use sql::{BOUND, BoundTo, Credential, PLAIN};

/// Attributes of a blob that tell where a keypair comes from. They are the server's.
pub const MARKERS: [&str; 4] = ["trust_id", "app_cred_id", "access_token_id", "access_id"];

/// The id of a keypair's credential: SHA-256 of its access id, in hex, as in Keystone.
pub fn credential_id(access: &str) -> String {
    hex::encode(Sha256::digest(access.as_bytes()))
}

/// The audit chain of all tokens that a keypair is exchanged for. Derived from the keypair, so that one
/// ordinary revocation event ends them all, here and in a Keystone beside us.
pub fn audit_chain(credential_id: &str) -> String {
    let digest = Sha256::digest(format!("tokens of keypair {credential_id}"));
    URL_SAFE_NO_PAD.encode(&digest[..16])
}

/// Encrypts a blob as Keystone does: text and the hash of the key. Keystone wraps the blobs of its
/// own keypairs into one more layer of JSON.
pub fn encrypt(app: &App, kind: &str, blob: &str) -> Result<(String, String)> {
    let keys = app.credential_keys.current().map_err(Error::Internal)?;
    let seconds = u64::try_from(app.clock.now() / crate::clock::SECOND).unwrap_or(0);
    let plain = if kind == PLAIN { json!(blob).to_string() } else { blob.to_owned() };
    match (keys.encrypt(plain.as_bytes(), seconds), keys.primary_hash()) {
        (Some(text), Some(hash)) => Ok((text, hash.to_owned())),
        _ => Err(Error::Internal("there is no key for credentials".into())),
    }
}

/// Decrypts a blob; nothing when no key fits.
pub fn decrypt(app: &App, credential: &Credential) -> Result<Option<String>> {
    let keys = app.credential_keys.current().map_err(Error::Internal)?;
    let plain = keys.decrypt(&credential.encrypted_blob).and_then(|b| String::from_utf8(b).ok());
    Ok(plain.map(|text| match serde_json::from_str(&text) {
        Ok(Value::String(inner)) if credential.kind == PLAIN => inner,
        _ => text,
    }))
}

/// A blob's object.
pub fn blob_object(text: &str) -> Option<Map<String, Value>> {
    match serde_json::from_str(text) {
        Ok(Value::Object(map)) => Some(map),
        _ => None,
    }
}

/// A keypair that is about to be made.
#[derive(Debug)]
pub struct Draft {
    /// Its owner.
    pub user_id: String,
    /// Its access id.
    pub access: String,
    /// The rest of the blob, the secret included.
    pub blob: Map<String, Value>,
    /// Unknown attributes.
    pub extra: Map<String, Value>,
    /// What it shall carry.
    pub ask: KeypairRequest,
}

/// Makes a keypair in either door. What it is bound to comes from the caller's token alone.
pub async fn create(
    tx: &mut Tx,
    app: &App,
    caller: &Caller,
    draft: Draft,
    permit: &Permit,
) -> Result<Credential> {
    let now = app.clock.now();
    // A trust's bearer makes keypairs for the one whom he speaks for, in either door.
    if caller.kind() == Kind::Trust && caller.user_id() != draft.user_id {
        return Err(Refusal::DelegatedToken("make keypairs for another user").into());
    }
    if authority::user(tx, &draft.user_id).await?.is_none() {
        return Err(Error::NotFound("user", draft.user_id));
    }
    if authority::project(tx, &draft.ask.project).await?.is_none() {
        return Err(Error::NotFound("project", draft.ask.project));
    }
    let implications = authority::implications(tx).await?;
    let judged = match caller.token().and_then(|t| t.trust_id()) {
        None => None,
        Some(id) => {
            let chain = authority::chain(tx, id).await?.ok_or(Error::Unauthorized)?;
            authority::judge_all(tx, vec![chain], now, &implications).await?.pop()
        }
    };
    let parent = judged.as_ref().map(|j| &j.evaluated);
    let bound = keypair::bind(&draft.ask, parent, &implications, now)?;
    let mut blob = draft.blob;
    blob.insert("access".into(), draft.access.clone().into());
    let bound = bound.trust().map(|trust| BoundTo {
        trust_id: trust.to_owned(),
        access: draft.access.clone(),
        roles: bound.roles().cloned(),
        until: bound.until(),
        creator: caller.token().and_then(|t| t.payload.audit_ids.first().cloned()),
    });
    if let Some(b) = &bound {
        blob.insert("trust_id".into(), b.trust_id.clone().into());
    }
    let kind = if bound.is_some() { BOUND } else { PLAIN };
    let (encrypted_blob, key_hash) = encrypt(app, kind, &Value::Object(blob).to_string())?;
    let id = credential_id(&draft.access);
    let credential = Credential {
        user_id: draft.user_id,
        project_id: Some(draft.ask.project),
        kind: kind.to_owned(),
        extra: Some(Value::Object(draft.extra).to_string()),
        key_hash,
        encrypted_blob,
        bound,
        id,
    };
    sql::insert(tx, &credential, &audit_chain(&credential.id), now, permit).await.map_err(|e| match e {
        Error::Conflict(_) => Error::taken("credential", "Duplicate entry found with the same access"),
        other => other,
    })?;
    Ok(credential)
}

/// Removes a keypair: its trust stays, its tokens die.
pub async fn end(tx: &mut Tx, app: &App, credential: &Credential, permit: &Permit) -> Result<()> {
    sql::delete(tx, &credential.id, permit).await?;
    if credential.is_keypair() {
        let now = app.clock.now();
        let event =
            Event { audit_chain: Some(audit_chain(&credential.id)), issued_before: now, ..Event::default() };
        authority::revoke(tx, &event, now).await?;
    }
    Ok(())
}

/// Who has what part in a credential, for the policy: its owner and, of a trust's keypair, the trustee
/// and every trustor above. A trust-scoped caller has a part in its own trust's keypairs only.
pub async fn facts(tx: &mut Tx, caller: &Caller, credential: &Credential) -> Result<Facts> {
    if caller.kind() == Kind::Trust {
        let own = caller.token().and_then(|t| t.trust_id());
        return match &credential.bound {
            Some(b) if own == Some(b.trust_id.as_str()) => {
                Ok(Facts::none().with(Fact::CredentialUser, caller.user_id()))
            }
            _ => Err(Refusal::DelegatedToken("access credentials other than its own keypairs").into()),
        };
    }
    let mut facts = Facts::none().with(Fact::CredentialUser, &credential.user_id);
    if let Some(b) = &credential.bound
        && let Some(chain) = authority::chain(tx, &b.trust_id).await?
    {
        facts = facts
            .with(Fact::CredentialDelegators, &chain.leaf().trustee)
            .with_all(Fact::CredentialDelegators, chain.links().iter().map(|t| t.trustor.as_str()));
    }
    Ok(facts)
}

/// May this caller see the secret? Of a trust's keypair: whoever created it and, with their own login,
/// its owner and the trust's trustee; never a trust token that did not create it.
pub async fn shows_secret(tx: &mut Tx, caller: &Caller, credential: &Credential) -> Result<bool> {
    let Some(b) = &credential.bound else { return Ok(true) };
    let own = caller.token().and_then(|t| t.payload.audit_ids.first());
    if own.is_some() && own == b.creator.as_ref() {
        return Ok(true);
    }
    if caller.kind() != Kind::Login {
        return Ok(false);
    }
    let trustee = authority::chain(tx, &b.trust_id).await?.map(|c| c.leaf().trustee.clone());
    Ok(caller.user_id() == credential.user_id || Some(caller.user_id()) == trustee.as_deref())
}

/// The blob as this caller may see it.
pub async fn shown_blob(
    tx: &mut Tx,
    app: &App,
    caller: &Caller,
    credential: &Credential,
) -> Result<Option<String>> {
    let Some(blob) = decrypt(app, credential)? else { return Ok(None) };
    if !credential.is_keypair() || shows_secret(tx, caller, credential).await? {
        return Ok(Some(blob));
    }
    let mut object = blob_object(&blob).unwrap_or_default();
    object.remove("secret");
    Ok(Some(json!(object).to_string()))
}

/// Has the trust ended that the keypair is bound to? Its row may still be there for a moment, when a
/// Keystone on the same database ended the trust or time did; it is as dead as the trust.
pub async fn is_dead(tx: &mut Tx, app: &App, credential: &Credential) -> Result<bool> {
    let Some(b) = &credential.bound else { return Ok(false) };
    let now = app.clock.now();
    if b.until.passed(now) {
        return Ok(true);
    }
    let Some(chain) = authority::chain(tx, &b.trust_id).await? else { return Ok(true) };
    Ok(authority::judge(tx, chain, now).await?.is_none_or(|j| j.status().ended()))
}

/// What a token of a trust's keypair is worth: the trust's worth, narrowed as the keypair is. Nothing
/// when the keypair is gone. Which keypair it was follows from the audit chain.
pub async fn narrow(
    tx: &mut Tx,
    payload: &Payload,
    chain: &Chain,
    worth: &Authority,
    implications: &Implications,
    now: Micros,
) -> Result<Option<Authority>> {
    let Some(root) = payload.audit_ids.get(1) else { return Ok(None) };
    let bound = tx
        .first(
            "SELECT k.roles, k.expires_at FROM vicar_keypair k JOIN credential c ON c.id = k.credential_id
              WHERE k.audit_chain_id = ? AND k.trust_id = ?",
            args![root, &chain.leaf().id],
            |r| Ok((r.take::<Option<String>>()?, r.take::<Option<i64>>()?)),
        )
        .await?;
    let Some((roles, until)) = bound else { return Ok(None) };
    let roles: Option<RoleSet> = roles.map(sql::read_roles);
    Ok(keypair::exchange(worth, roles.as_ref(), Until::from_option(until), implications, now))
}
