//! Issuing tokens: who is it, where does he want to go, and what ends the token.

use vicar_rules::Micros;
use vicar_rules::delegation::Until;
use vicar_rules::token::{self, ScopeKind};

use super::fernet::{Payload, PayloadScope};
use super::model::{Asked, Outcome, Token, establish, validate};
use crate::app::App;
use crate::args;
use crate::authority::{self, Place};
use crate::clock::SECOND;
use crate::error::{Error, Result};
use crate::ids;
use crate::store::Tx;

/// Who proved to be whom, by which methods.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The user.
    pub user: String,
    /// Login methods, those of a source token included.
    pub methods: Vec<String>,
    /// The latest end that the new token may have, from a source token.
    pub until: Until,
    /// The root of the audit chain, from a source token.
    pub root_audit_id: Option<String>,
    /// The scope of a source token.
    pub source: Option<Source>,
    /// When the proof began. What was revoked since then ends the new token too: a password that is
    /// changed while it is being checked opens nothing.
    pub proved_at: Micros,
}

/// A token that is about to be sealed.
#[derive(Debug)]
pub struct Draft {
    /// The user that authenticated.
    pub user: String,
    /// Login methods.
    pub methods: Vec<String>,
    /// The scope.
    pub scope: PayloadScope,
    /// When it ends.
    pub until: Until,
    /// Its audit ids.
    pub audit_ids: Vec<String>,
    /// When the proof began that it rests on.
    pub proved_at: Micros,
}

/// What rescoping needs to know of a source token.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    kind: token::Kind,
    scope: ScopeKind,
}

/// Where a new token shall be scoped. Names are resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Nothing was said: the default project, if that works, else nowhere.
    Default,
    /// Nowhere, expressly.
    Unscoped,
    /// On a project.
    Project(String),
    /// On a domain.
    Domain(String),
    /// On the system.
    System,
    /// On a trust.
    Trust(String),
}

/// The identity behind a token that is presented as a login.
pub async fn from_token(tx: &mut Tx, app: &App, text: &str) -> Result<Identity> {
    let source = validate(tx, app, text, Asked::default()).await?;
    // Keystone says 404 here; a login that fails is 401 for every client that tries again.
    let source = source.ok_or(Error::Unauthorized)?;
    let mut methods = vec!["token".to_owned()];
    methods.extend(source.payload.methods.iter().filter(|m| *m != "token").cloned());
    Ok(Identity {
        user: source.payload.user.clone(),
        methods,
        until: Until::At(source.payload.expires),
        root_audit_id: Some(source.root_audit_id().to_owned()),
        source: Some(Source { kind: source.kind, scope: source.scope_kind() }),
        proved_at: app.clock.now(),
    })
}

/// May this identity get a token there? Only a source token limits it.
pub fn may_rescope(app: &App, who: &Identity, wanted: &Wanted) -> Result<()> {
    let Some(source) = who.source else {
        return Ok(());
    };
    let to = match wanted {
        Wanted::Default | Wanted::Unscoped => ScopeKind::Unscoped,
        Wanted::Project(_) => ScopeKind::Project,
        Wanted::Domain(_) => ScopeKind::Domain,
        Wanted::System => ScopeKind::System,
        Wanted::Trust(_) => ScopeKind::Trust,
    };
    Ok(token::rescope(source.kind, source.scope, to, app.config.allow_rescope_scoped_token)?)
}

/// Issues a token. `tx` is a writing one when a counted trust may be consumed; nothing is consumed
/// unless the token comes out.
pub async fn issue(tx: &mut Tx, app: &App, who: &Identity, wanted: &Wanted) -> Result<(String, Token)> {
    may_rescope(app, who, wanted)?;
    let now = app.clock.now();
    let mut until = who.until.min(Until::At(now.saturating_add(app.config.token_expiration)));
    let scope = match wanted {
        Wanted::Unscoped => PayloadScope::Unscoped,
        Wanted::Default => default_scope(tx, &who.user).await?,
        Wanted::Project(id) => PayloadScope::Project(id.clone()),
        Wanted::Domain(id) => PayloadScope::Domain(id.clone()),
        Wanted::System => PayloadScope::System("all".into()),
        Wanted::Trust(id) => {
            let chain = authority::chain(tx, id).await?.ok_or(Error::Unauthorized)?;
            // A dead trust is 401 for everybody, before anything else is said of it.
            let judged = authority::judge(tx, chain.clone(), now).await?;
            if judged.is_none_or(|j| j.status().ended()) {
                return Err(Error::Unauthorized);
            }
            let leaf = chain.leaf();
            if leaf.trustee != who.user {
                return Err(Error::Forbidden("User is not a trustee.".into()));
            }
            until = until.min(chain.until());
            let project = leaf.project.clone().ok_or(Error::Unauthorized)?;
            PayloadScope::Trust(project, leaf.id.clone())
        }
    };
    let audit_ids = std::iter::once(ids::audit()).chain(who.root_audit_id.clone()).collect();
    let draft = Draft {
        user: who.user.clone(),
        methods: who.methods.clone(),
        scope,
        until,
        audit_ids,
        proved_at: who.proved_at,
    };
    let (text, token) = seal(tx, app, draft).await?;
    if let Wanted::Trust(id) = wanted {
        consume(tx, id).await?;
    }
    Ok((text, token))
}

/// Encodes a token, and establishes it as validation will: what would not validate is not issued.
pub async fn seal(tx: &mut Tx, app: &App, draft: Draft) -> Result<(String, Token)> {
    let Until::At(expires) = draft.until else {
        return Err(Error::Internal("a token without an end was about to be issued".into()));
    };
    let payload = Payload {
        user: draft.user,
        methods: draft.methods,
        scope: draft.scope,
        // Whole seconds, as Keystone reads them out of the payload; never later than asked.
        expires: expires.div_euclid(SECOND) * SECOND,
        // Fernet's own time; whole seconds, so that every validation shows the same.
        issued: draft.proved_at.min(app.clock.now()).div_euclid(SECOND) * SECOND,
        audit_ids: draft.audit_ids,
    };
    let keys = app.token_keys.current().map_err(Error::Internal)?;
    let text = payload
        .encode(&keys, &app.config.auth_methods)
        .ok_or_else(|| Error::Internal("a token could not be encoded".into()))?;
    let decoded = Payload::decode(&text, &keys, &app.config.auth_methods)
        .ok_or_else(|| Error::Internal("a token did not survive its encoding".into()))?;
    let asked = Asked { window: 0, understands_access_rules: true };
    match establish(tx, app, decoded, asked).await? {
        Outcome::Valid(token) => {
            app.metrics.tokens_issued.inc();
            Ok((text, *token))
        }
        // Events and tokens know whole seconds: a token of the same second would be born dead. Nor
        // does it outlive what was revoked since its proof: that is to be given anew.
        Outcome::Revoked(_) => Err(Error::Settling),
        Outcome::Dead => Err(Error::Unauthorized),
    }
}

/// Does the trust count its uses? That never changes, so it can be asked before the transaction.
pub async fn is_counted(tx: &mut Tx, trust: &str) -> Result<bool> {
    Ok(tx.exists("SELECT id FROM trust WHERE id = ? AND remaining_uses IS NOT NULL", args![trust]).await?)
}

/// One use of a counted trust, exactly: a conditional update, in the transaction of the token.
pub async fn consume(tx: &mut Tx, trust: &str) -> Result<()> {
    if !is_counted(tx, trust).await? {
        return Ok(());
    }
    let taken = tx
        .run(
            "UPDATE trust SET remaining_uses = remaining_uses - 1
              WHERE id = ? AND remaining_uses > 0 AND deleted_at IS NULL",
            args![trust],
        )
        .await?;
    if taken == 1 { Ok(()) } else { Err(Error::Unauthorized) }
}

/// The default project, when it exists, is on, and the user holds a role there.
async fn default_scope(tx: &mut Tx, user: &str) -> Result<PayloadScope> {
    let Some(user) = authority::user(tx, user).await? else {
        return Err(Error::Unauthorized);
    };
    let Some(id) = user.default_project_id else {
        return Ok(PayloadScope::Unscoped);
    };
    let active = authority::project(tx, &id)
        .await?
        .is_some_and(|p| p.presence == vicar_rules::delegation::Presence::Active);
    let implications = authority::implications(tx).await?;
    if active
        && !authority::effective_roles(tx, &user.id, Place::Project(&id), &implications).await?.is_empty()
    {
        Ok(PayloadScope::Project(id))
    } else {
        Ok(PayloadScope::Unscoped)
    }
}

/// Runs `attempt`, the proof included; when a revocation of this very second stands against the new
/// token, waits for the next second and tries once more, from the proof on. Nothing is held meanwhile.
pub async fn settled<T, F>(app: &App, attempt: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    match attempt().await {
        Err(Error::Settling) => {
            let rest = SECOND - app.clock.now().rem_euclid(SECOND);
            tokio::time::sleep(std::time::Duration::from_micros(u64::try_from(rest).unwrap_or(0) + 1000))
                .await;
            attempt().await
        }
        other => other,
    }
}
