//! Issuing tokens: who is it, for which scope, and what ends the token.

use vicar_rules::Micros;
use vicar_rules::binding::{Binding, Workload};
use vicar_rules::delegation::{self, Narrower, Presence, Presented, Spent, Trust, Until, Use};
use vicar_rules::terms::Login;
use vicar_rules::token::{self, ScopeKind};

use super::Parts;
use super::fernet::{Federated, Payload, PayloadScope, known_methods};
use super::token::{Known, Outcome, Token, ValidateOptions, evaluate, validate};
use crate::clock::SECOND;
use crate::error::{Error, Result};
use crate::facts::workloads::Signed;
use crate::facts::{self, EvaluatedTrust, Place};
use crate::ids;
use crate::line::{Came, Line, Tried};
use crate::living;
use crate::reason::Reason;
use crate::store::{Tx, Update, WriteTx};
use crate::system::System;

/// Who proved to be whom, by which methods.
#[derive(Debug)]
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
    /// What was read for a source token, in this transaction.
    pub known: Known,
    /// Through which identity provider the user came, from a source token.
    pub federated: Option<Federated>,
    /// When the login was, at the latest, that a source token comes from.
    pub logged_in: Option<Micros>,
    /// Which workload it is, where an identity provider has just said so.
    pub workload: Option<Signed>,
    /// The thumbprint of the certificate of the connection, where a trust is asked for.
    pub certificate: Option<String>,
}

impl Identity {
    /// Which workload it is: the one that has just logged in, or the one that a source token comes from.
    async fn workload(&self, tx: &mut Tx) -> Result<Option<Workload>> {
        match (&self.workload, &self.root_audit_id) {
            (Some(signed), _) => Ok(Some(signed.workload.clone())),
            (None, Some(first)) => Ok(facts::workloads::of_chain(tx, first).await?),
            (None, None) => Ok(None),
        }
    }
}

/// A token that is about to be made.
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
    /// The first audit id of those that were exchanged before; its own is made with it.
    pub root: Option<String>,
    /// Through which identity provider the user came.
    pub federated: Option<Federated>,
}

/// What rescoping needs to know of a source token.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    kind: token::Kind,
    scope: ScopeKind,
}

/// The scope that a new token shall have. Names are resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScopeRequest {
    /// Nothing was said: the default project, if that works, else none.
    Default,
    /// None, expressly.
    Unscoped,
    /// A project.
    Project(String),
    /// A domain.
    Domain(String),
    /// The system.
    System,
    /// A trust, what of it, and the external id that is presented.
    Trust(String, Narrower, Option<String>),
    /// An OAuth1 access token's own, which nobody asks for.
    AccessToken {
        /// Its project.
        project: String,
        /// Its id.
        id: String,
    },
    /// A user's default project, bound to a client's certificate, which nobody asks for.
    Certificate {
        /// The project.
        project: String,
        /// The certificate's thumbprint.
        thumbprint: String,
    },
    /// An application credential's own, which nobody asks for.
    ApplicationCredential {
        /// Its project.
        project: String,
        /// Its id.
        id: String,
    },
}

/// The identity behind a token that is presented as a login.
///
/// # Errors
/// 404 when it is not valid.
pub async fn from_token(
    tx: &mut Tx,
    parts: Parts<'_>,
    text: &str,
    line: &Line,
    now: Micros,
) -> Result<Identity> {
    let source = validate(tx, parts, text, Known::default(), now, ValidateOptions::default()).await?;
    // As in Keystone, whose tests ask for it: a token that is not there, not a login that failed.
    let source = source.map_err(|dead| dead.absent(line))?;
    line.tried(Tried {
        user: Some(source.payload.user.clone()),
        audit_ids: Some(source.payload.audit_ids.join(" ")),
        ..Tried::default()
    });
    if let Some(from) = &source.payload.federated {
        let came = |is_let_in| {
            line.came(Came {
                provider: from.provider.clone(),
                user: Some(source.payload.user.clone()),
                groups: from.groups.clone(),
                token: source.payload.audit_ids.first().cloned(),
                is_let_in,
            });
        };
        check_federated(tx, from, || came(false)).await?;
        came(true);
    }
    let mut methods = vec!["token".to_owned()];
    methods.extend(source.payload.methods.iter().filter(|m| *m != "token").cloned());
    Ok(Identity {
        user: source.payload.user.clone(),
        methods,
        until: Until::At(source.payload.expires),
        root_audit_id: Some(source.root_audit_id().to_owned()),
        source: Some(Source { kind: source.kind, scope: source.scope_kind() }),
        known: Known::of_caller(Some(&source)),
        federated: source.payload.federated.clone(),
        logged_in: Some(source.login(parts.config).at),
        workload: None,
        certificate: None,
    })
}

/// Checks that who came through an identity provider would still come in that way. As in a Keystone, it is told that they would not
/// unless the provider is disabled.
async fn check_federated(tx: &mut Tx, from: &Federated, tell_if_not: impl FnOnce()) -> Result<()> {
    if !facts::federation::is_provider_enabled(tx, &from.provider).await? {
        return Err(Error::Forbidden(format!("Identity Provider {} is disabled", from.provider)));
    }
    tell_if_not();
    let leads_in = facts::federation::has_mapping(tx, &from.provider, &from.protocol).await?
        && facts::federation::are_groups(tx, &from.groups).await?;
    if leads_in { Ok(()) } else { Err(Error::Unauthorized(Reason::ProviderGone)) }
}

/// Whether this identity may get a token for that scope. Only a source token and an identity provider limit it.
///
/// # Errors
/// 403 when it may not.
pub fn may_rescope(allow_rescope: bool, who: &Identity, wanted: &ScopeRequest) -> Result<()> {
    if *wanted == ScopeRequest::System && who.federated.is_some() {
        return Err(Error::Forbidden("A token of a federated user cannot be one of the system.".into()));
    }
    let Some(source) = who.source else {
        return Ok(());
    };
    let to = match wanted {
        ScopeRequest::Default | ScopeRequest::Unscoped => ScopeKind::Unscoped,
        ScopeRequest::Project(_)
        | ScopeRequest::AccessToken { .. }
        | ScopeRequest::Certificate { .. }
        | ScopeRequest::ApplicationCredential { .. } => ScopeKind::Project,
        ScopeRequest::Domain(_) => ScopeKind::Domain,
        ScopeRequest::System => ScopeKind::System,
        ScopeRequest::Trust(..) => ScopeKind::Trust,
    };
    Ok(token::rescope(source.kind, source.scope, to, allow_rescope)?)
}

/// Issues a token. A use of a counted trust is consumed in the same transaction, once the token is made.
///
/// # Errors
/// 401 when the scope gives nothing, 403 for somebody else's trust.
pub async fn issue(
    tx: &mut WriteTx,
    parts: Parts<'_>,
    mut who: Identity,
    wanted: &ScopeRequest,
    now: Micros,
) -> Result<(String, Token)> {
    may_rescope(parts.config.allow_rescope_scoped_token, &who, wanted)?;
    let mut until = who.until.min(Until::At(now.saturating_add(parts.config.token_expiration)));
    let mut known = std::mem::take(&mut who.known);
    let scope = match wanted {
        ScopeRequest::Unscoped => PayloadScope::Unscoped,
        // Who came through an identity provider says where to.
        ScopeRequest::Default if who.federated.is_some() => PayloadScope::Unscoped,
        ScopeRequest::Default => default_scope(tx, &who.user, &mut known).await?,
        ScopeRequest::Project(id) => PayloadScope::Project(id.clone()),
        ScopeRequest::Domain(id) => PayloadScope::Domain(id.clone()),
        ScopeRequest::System => PayloadScope::System("all".into()),
        ScopeRequest::AccessToken { project, id } => PayloadScope::AccessToken(project.clone(), id.clone()),
        ScopeRequest::Certificate { project, thumbprint } => {
            PayloadScope::Certificate(project.clone(), thumbprint.clone())
        }
        ScopeRequest::ApplicationCredential { project, id } => {
            PayloadScope::ApplicationCredential(project.clone(), id.clone())
        }
        ScopeRequest::Trust(id, own, external_id) => {
            let implications = known.implications(tx).await?;
            let trust = facts::evaluated_trust(tx, id, now, &implications).await?;
            // A dead trust is 401 for everybody, before anything else is said of it.
            let trust =
                trust.filter(|t| !t.status().ended()).ok_or(Error::Unauthorized(Reason::TrustOver))?;
            let leaf = trust.chain().leaf();
            if leaf.trustee != who.user {
                return Err(Error::Forbidden("User is not a trustee.".into()));
            }
            if trust.status().live().is_some() {
                let login = Login { methods: &who.methods, at: who.logged_in.unwrap_or(now) };
                let workload = match leaf.binding {
                    Some(Binding::Signed { .. }) => who.workload(tx).await?,
                    Some(Binding::Certificate(_)) | None => None,
                };
                let presented = Presented {
                    external_id: external_id.as_deref(),
                    workload: workload.as_ref(),
                    certificate: who.certificate.as_deref(),
                };
                delegation::admit(&trust.evaluated, login, presented, now)?;
                own.check(&trust.evaluated, &implications)?;
            }
            until = until.min(trust.chain().until()).min(longest(&trust, now));
            if let Some(life) = own.life {
                until = until.min(Until::At(now.saturating_add(life)));
            }
            let project = leaf.project.clone().ok_or(Error::Unauthorized(Reason::NoSuchScope))?;
            let id = leaf.id.clone();
            // What the trust says itself needs no place in the token.
            let says = trust.evaluated.origin().or(&own.origin) != *trust.evaluated.origin();
            let scope = if own.is_limited() || says {
                PayloadScope::Less(project, id, Box::new(Narrower { life: None, ..own.clone() }))
            } else {
                PayloadScope::Trust(project, id)
            };
            known.trust = Some(trust);
            scope
        }
    };
    // A trust is the trustor's matter.
    let federated =
        who.federated.filter(|_| !matches!(scope, PayloadScope::Trust(..) | PayloadScope::Less(..)));
    let root = who.root_audit_id;
    let begins = root.is_none();
    let workload = who.workload;
    let draft = Draft { user: who.user, methods: who.methods, scope, until, root, federated };
    let (text, token) = mint(tx, parts, draft, known, now).await?;
    // Others come of the chain of a credential as well.
    if let Some(workload) = workload.filter(|_| begins) {
        facts::workloads::keep(tx, &System::Login, token.root_audit_id(), &workload, token.payload.expires)
            .await?;
    }
    Ok((text, token))
}

/// The latest end that a trust's terms let a token have that is issued now.
pub fn longest(trust: &EvaluatedTrust, now: Micros) -> Until {
    let terms = trust.status().live().map(|authority| &authority.terms);
    let end = terms.map_or(Micros::MAX, |terms| terms.token_end(now, Micros::MAX));
    Until::At(end)
}

/// Makes a token: what would not validate is not issued. A counted trust loses one use.
///
/// # Errors
/// 401 when it would be dead, [`Error::RevokedThisSecond`] when a revocation of this second would end it at its birth.
pub async fn mint(
    tx: &mut WriteTx,
    parts: Parts<'_>,
    draft: Draft,
    known: Known,
    now: Micros,
) -> Result<(String, Token)> {
    // Its audit id is made below.
    let known = Known { is_new: true, ..known };
    let Until::At(expires) = draft.until else {
        return Err(Error::Internal("a token without an end was about to be issued".into()));
    };
    let payload = Payload {
        user: draft.user,
        methods: known_methods(&draft.methods, &parts.config.auth_methods),
        scope: draft.scope,
        // Whole seconds, as Keystone reads them out of the payload; never later than asked.
        expires: expires.div_euclid(SECOND) * SECOND,
        // Fernet's own time; whole seconds, so that every validation shows the same.
        issued: now.div_euclid(SECOND) * SECOND,
        audit_ids: std::iter::once(ids::audit()).chain(draft.root).collect(),
        federated: draft.federated,
    };
    let options = ValidateOptions { window: 0, understands_access_rules: true };
    let token = match evaluate(tx, parts, payload, known, now, options).await? {
        Outcome::Valid(token) => *token,
        // Events and tokens know whole seconds: a token of the same second would be born dead.
        Outcome::Revoked(_) => return Err(Error::RevokedThisSecond),
        Outcome::Dead(reason) => return Err(Error::Unauthorized(reason)),
    };
    let keys = parts.token_keys.current().map_err(Error::Internal)?;
    let text = token
        .payload
        .encode(&keys, &parts.config.auth_methods)
        .ok_or_else(|| Error::Internal("a token could not be encoded".into()))?;
    if let Some(trust) = &token.trust {
        consume(tx, trust.chain().leaf())?;
    }
    Ok((text, token))
}

/// Takes one use of a counted trust, at the end of the transaction of the token.
fn consume(tx: &mut WriteTx, trust: &Trust) -> Result<()> {
    let (before, after) = match delegation::consume(trust) {
        Err(Spent) => return Err(Error::Unauthorized(Reason::TrustOver)),
        Ok(Use::Uncounted) => return Ok(()),
        Ok(Use::Counted { before, after }) => (before, after),
    };
    let one_less = Update::of("trust")
        .set("remaining_uses", after)
        .key("id", &trust.id)
        .key("remaining_uses", before)
        .and(living!("trust"), &[]);
    // A Keystone on the same database may take one in between.
    Ok(tx.last(&System::Login, one_less, 1)?)
}

/// The default project, when it exists, is enabled, and the user holds a role there.
async fn default_scope(tx: &mut Tx, user: &str, known: &mut Known) -> Result<PayloadScope> {
    let Some(user) = facts::user(tx, user).await? else {
        return Err(Error::Unauthorized(Reason::NoSuchUser));
    };
    let Some(id) = user.default_project_id else {
        return Ok(PayloadScope::Unscoped);
    };
    let active = facts::project(tx, &id).await?.is_some_and(|p| p.presence == Presence::Active);
    let implications = known.implications(tx).await?;
    if active && !facts::effective_roles(tx, &user.id, Place::Project(&id), &implications).await?.is_empty() {
        Ok(PayloadScope::Project(id))
    } else {
        Ok(PayloadScope::Unscoped)
    }
}
