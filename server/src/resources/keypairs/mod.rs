//! EC2 keypairs: the two routes that make them, and who sees them.

pub mod http;
pub mod sql;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use vicar_rules::Micros;
use vicar_rules::ceiling::Ceilings;
use vicar_rules::delegation::Chain;
use vicar_rules::keypair::{self, KeypairRequest};
use vicar_rules::policy::{Fact, Facts};
use vicar_rules::refusal::Refusal;
use vicar_rules::revocation::Event;
use vicar_rules::token;

use crate::app::App;
use crate::auth::keypair::audit_chain;
pub use crate::auth::keypair::{blob_object, credential_id, decrypt};
use crate::authz::{Authorized, Caller, Object, Proposed};
use crate::error::{Error, Result};
use crate::facts::evidence::{Evidence, Evidences, Kind};
use crate::facts::{self, EvaluatedTrust};
use crate::resources::limits::{self, Counted};
use crate::store::{Tx, WriteTx};
use sql::{BOUND, BoundTo, Credential, PLAIN};

pub use sql::EndsKeypairs;

/// Attributes of a blob that tell where a keypair comes from. They are the server's.
pub const MARKERS: [&str; 4] = ["trust_id", "app_cred_id", "access_token_id", "access_id"];

/// Whether a blob's object names none of the server's markers; null is none.
///
/// # Errors
/// 400 that names the marker.
pub fn refuse_markers(blob: &Map<String, Value>) -> Result<()> {
    match MARKERS.iter().find(|m| blob.get(**m).is_some_and(|v| !v.is_null())) {
        Some(marker) => Err(Error::field(&format!("blob.{marker}"), "is set by the server only")),
        None => Ok(()),
    }
}

/// Encrypts a blob as Keystone does; returns it with the hash of the key. Keystone wraps the blobs of its
/// own keypairs into one more layer of JSON.
///
/// # Errors
/// When there is no key.
pub fn encrypt(app: &App, kind: &str, blob: &str) -> Result<(String, String)> {
    let keys = app.credential_keys.current().map_err(Error::Internal)?;
    let seconds = u64::try_from(app.clock.now() / crate::clock::SECOND).unwrap_or(0);
    let plain = if kind == PLAIN { json!(blob).to_string() } else { blob.to_owned() };
    match (keys.encrypt(plain.as_bytes(), seconds), keys.primary_hash()) {
        (Some(text), Some(hash)) => Ok((text, hash.to_owned())),
        _ => Err(Error::Internal("there is no key for credentials".into())),
    }
}

/// A credential that a request proposes, as far as the policy cares: whose it will be.
#[derive(Debug, Clone)]
pub struct NewCredential {
    /// Its owner.
    pub user_id: String,
}

impl Object for Proposed<NewCredential> {
    fn facts(&self, _caller: &Caller) -> Result<Facts> {
        Ok(Facts::none().with(Fact::CredentialUser, &self.user_id))
    }
}

/// What a new keypair is made of, beside its owner.
#[derive(Debug)]
pub struct Draft {
    /// Its access id.
    pub access: String,
    /// The rest of the blob, the secret included.
    pub blob: Map<String, Value>,
    /// Unknown attributes.
    pub extra: Map<String, Value>,
    /// What it shall carry.
    pub ask: KeypairRequest,
}

/// A credential with what decides who may see it and whether it is alive: of a trust's keypair, the trust.
#[derive(Debug)]
pub struct CredentialView {
    /// The credential as stored.
    pub credential: Credential,
    /// The trust that a keypair is bound to, with its worth at the instant of the request; none when its row
    /// is gone.
    trust: Option<EvaluatedTrust>,
    /// The evidence of a keypair's use, as clients see it; of other credentials null.
    pub evidence: Value,
}

impl CredentialView {
    /// The trustee of the trust that a keypair is bound to.
    pub fn trustee(&self) -> Option<&str> {
        self.trust.as_ref().map(|t| t.chain().leaf().trustee.as_str())
    }

    /// What rules may know of it besides who has a part in it.
    fn own_facts(&self) -> Facts {
        Facts::none()
            .with(Fact::CredentialId, &self.credential.id)
            .with(
                Fact::CredentialType,
                if self.credential.is_keypair() { "ec2" } else { &self.credential.kind },
            )
            .with_opt(Fact::CredentialProject, self.credential.project_id.as_deref())
    }

    /// Who has what part in it, for the policy: its owner and, of a trust's keypair, the trustee and every
    /// trustor above. A trust-scoped caller has a part in its own trust's keypairs only.
    ///
    /// # Errors
    /// The refusal when it is out of reach for the caller's token.
    pub fn facts_for(&self, caller: &Caller) -> Result<Facts, Refusal> {
        if caller.kind() == token::Kind::Trust {
            let own = caller.token().and_then(|t| t.trust_id());
            return match &self.credential.bound {
                Some(b) if own == Some(b.trust_id.as_str()) => {
                    Ok(self.own_facts().with(Fact::CredentialUser, caller.user_id()))
                }
                _ => Err(Refusal::DelegatedToken("access credentials other than its own keypairs")),
            };
        }
        let facts = self.own_facts().with(Fact::CredentialUser, &self.credential.user_id);
        Ok(match &self.trust {
            None => facts,
            Some(trust) => facts
                .with(Fact::CredentialDelegators, &trust.chain().leaf().trustee)
                .with_all(Fact::CredentialDelegators, trust.chain().delegators()),
        })
    }

    /// Whether a keypair is over, by its own end or with its trust. Its row may still be there for a moment,
    /// when a Keystone on the same database or time ended the trust.
    pub fn is_dead(&self, now: Micros) -> bool {
        match (&self.credential.bound, &self.trust) {
            (None, _) => false,
            (Some(b), Some(trust)) => b.until.passed(now) || trust.status().ended(),
            (Some(_), None) => true,
        }
    }

    /// Whether this caller may see the secret. Of a trust's keypair: whoever created it and, with their own
    /// login, its owner and the trust's trustee; never a trust token that did not create it.
    pub fn shows_secret(&self, caller: &Caller) -> bool {
        let Some(b) = &self.credential.bound else { return true };
        let own = caller.token().and_then(|t| t.payload.audit_ids.first());
        if own.is_some() && own == b.creator.as_ref() {
            return true;
        }
        // Of an adopted trust it acts in the name of one and is owned by another: neither sees it.
        let chain = self.trust.as_ref().map(|t| t.chain()).filter(|chain| !chain.shows_name());
        let user = Some(caller.user_id());
        caller.kind() == token::Kind::Login
            && (user == chain.map(Chain::speaks_for) || user == self.trustee())
    }

    /// The blob as this caller may see it; nothing when no key fits.
    ///
    /// # Errors
    /// When the keys cannot be read.
    pub fn blob_for(&self, app: &App, caller: &Caller) -> Result<Option<String>> {
        let keys = app.credential_keys.current().map_err(Error::Internal)?;
        let Some(blob) = decrypt(&keys, &self.credential) else { return Ok(None) };
        if !self.credential.is_keypair() || self.shows_secret(caller) {
            return Ok(Some(blob));
        }
        let mut object = blob_object(&blob).unwrap_or_default();
        object.remove("secret");
        Ok(Some(Value::Object(object).to_string()))
    }
}

impl Object for CredentialView {
    fn facts(&self, caller: &Caller) -> Result<Facts> {
        Ok(self.facts_for(caller)?)
    }
}

/// Adds to each credential the trust that it is bound to, and the evidence of its use. What they share is read once.
///
/// # Errors
/// When the database fails.
pub async fn with_trusts(tx: &mut Tx, all: Vec<Credential>, now: Micros) -> Result<Vec<CredentialView>> {
    let ids: BTreeSet<&str> =
        all.iter().filter_map(|c| c.bound.as_ref()).map(|b| b.trust_id.as_str()).collect();
    let mut trusts: BTreeMap<String, EvaluatedTrust> = BTreeMap::new();
    if !ids.is_empty() {
        let chains = facts::chains(tx, &ids.into_iter().collect::<Vec<_>>()).await?;
        let implications = facts::implications(tx).await?;
        let evaluated = facts::evaluate_all(tx, chains, now, &implications).await?;
        trusts.extend(evaluated.into_iter().map(|t| (t.chain().leaf().id.clone(), t)));
    }
    let keypairs = all.iter().filter(|c| c.is_keypair()).map(|c| &c.id);
    let evidence = Evidences::of(tx, Kind::Keypair, keypairs).await?;
    let view = |credential: Credential| {
        let trust = credential.bound.as_ref().and_then(|b| trusts.get(&b.trust_id).cloned());
        let is_keypair = credential.is_keypair();
        let evidence = if is_keypair { evidence.to_json(&credential.id) } else { Value::Null };
        CredentialView { credential, trust, evidence }
    };
    Ok(all.into_iter().map(view).collect())
}

/// A credential with the trust that it is bound to.
///
/// # Errors
/// When the database fails.
pub async fn find(tx: &mut Tx, id: &str, now: Micros) -> Result<Option<CredentialView>> {
    let found: Vec<Credential> = sql::get(tx, id).await?.into_iter().collect();
    Ok(with_trusts(tx, found, now).await?.pop())
}

/// Makes a keypair for the user whom the proof names. What it is bound to comes from the caller's token alone.
///
/// # Errors
/// 403 or 400 when the rules refuse it, 404 for a user or project that is not there, 409 for an access id
/// that is taken.
pub async fn create(
    tx: &mut WriteTx,
    proof: &Authorized<Proposed<NewCredential>>,
    app: &App,
    caller: &Caller,
    draft: Draft,
    now: Micros,
) -> Result<CredentialView> {
    let user_id = &proof.user_id;
    // A trust's bearer makes keypairs for the one whom they speak for, on either route.
    if caller.kind() == token::Kind::Trust && caller.user_id() != user_id {
        return Err(Refusal::DelegatedToken("make keypairs for another user").into());
    }
    // Evaluated with the token, in this very transaction.
    let trust = caller.token().and_then(|t| t.trust.as_ref());
    // Whom an adopted chain names may be deleted: its keypairs are the adopter's.
    let owner = trust.map_or(user_id.as_str(), |t| t.chain().keypair_owner()).to_owned();
    if facts::user(tx, &owner).await?.is_none() {
        return Err(Error::NotFound("user", user_id.clone()));
    }
    let Some(project) = facts::project(tx, &draft.ask.project).await? else {
        return Err(Error::NotFound("project", draft.ask.project));
    };
    let implications = caller.implications(tx).await?;
    let root = trust.map_or(user_id.as_str(), |t| t.chain().holder());
    let ceilings = match trust {
        Some(above) => facts::ceilings::over_new(tx, Some(&project), root, above.users.values()).await?,
        None => Ceilings::default(),
    };
    let bound = keypair::bind(&draft.ask, trust.map(|t| &t.evaluated), &implications, &ceilings, now)?;
    limits::check_room(tx, &project.id, Counted::Keypairs, now).await?;
    let mut blob = draft.blob;
    blob.insert("access".into(), draft.access.clone().into());
    let bound = bound.trust().map(|trust| BoundTo {
        trust_id: trust.to_owned(),
        access: draft.access.clone(),
        roles: bound.roles().cloned(),
        until: bound.until(),
        access_rules: bound.access().clone(),
        origin: bound.origin().clone(),
        creator: caller.token().and_then(|t| t.payload.audit_ids.first().cloned()),
    });
    if let Some(b) = &bound {
        blob.insert("trust_id".into(), b.trust_id.clone().into());
    }
    let kind = if bound.is_some() { BOUND } else { PLAIN };
    let (encrypted_blob, key_hash) = encrypt(app, kind, &Value::Object(blob).to_string())?;
    let id = credential_id(&draft.access);
    let credential = Credential {
        user_id: owner,
        project_id: Some(draft.ask.project),
        kind: kind.to_owned(),
        extra: Some(Value::Object(draft.extra).to_string()),
        key_hash,
        encrypted_blob,
        bound,
        id,
    };
    let audit_ids = caller.token().map(|token| &*token.payload.audit_ids);
    let view = CredentialView {
        evidence: Evidence::new(audit_ids, None, now).to_json(None),
        trust: trust.filter(|_| credential.bound.is_some()).map(|t| EvaluatedTrust::clone(t)),
        credential,
    };
    insert(tx, proof, app, &view.credential, audit_ids, now).await?;
    Ok(view)
}

/// Makes a credential that is no keypair, for the user whom the proof names.
///
/// # Errors
/// 403 when the user has too many, otherwise when the database fails.
pub async fn create_other(
    tx: &mut WriteTx,
    proof: &Authorized<Proposed<NewCredential>>,
    app: &App,
    credential: Credential,
    now: Micros,
) -> Result<CredentialView> {
    insert(tx, proof, app, &credential, None, now).await?;
    Ok(CredentialView { credential, trust: None, evidence: Value::Null })
}

/// Stores a credential, unless its owner has as many as `[credential] user_limit` or our own ceiling allows. As in Keystone, all
/// of a user's credentials count, of whatever type.
async fn insert(
    tx: &mut WriteTx,
    proof: &Authorized<Proposed<NewCredential>>,
    app: &App,
    credential: &Credential,
    audit_ids: Option<&[String]>,
    now: Micros,
) -> Result<()> {
    if let Some(limit) = app.config.credential_user_limit
        && sql::count_of_user(tx, &credential.user_id).await? >= limit.into()
    {
        return Err(Error::Forbidden(format!(
            "Unable to create additional credentials, maximum of {limit} already exceeded for user."
        )));
    }
    if let Some(limit) = app.config.max_credentials_per_user
        && sql::count_of_user(tx, &credential.user_id).await? >= limit.into()
    {
        return Err(Error::Forbidden(format!(
            "The user has {limit} credentials, and may have no more ([delegation] max_credentials_per_user)."
        )));
    }
    sql::insert(tx, proof, credential, audit_ids, now).await
}

/// Deletes a credential. Of a keypair the trust stays, and the tokens end.
///
/// # Errors
/// When the database fails.
pub async fn end(tx: &mut WriteTx, proof: &impl EndsKeypairs, credential: &Credential) -> Result<()> {
    sql::delete(tx, proof, &credential.id).await?;
    if credential.is_keypair() {
        let event = Event { audit_chain: Some(audit_chain(&credential.id)), ..Event::default() };
        facts::revoke(tx, proof, event).await?;
    }
    Ok(())
}
