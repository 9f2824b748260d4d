//! A token with everything that follows from it now, and its validation.

use vicar_rules::Micros;
use vicar_rules::delegation::Presence;
use vicar_rules::policy::{Scope, Subject};
use vicar_rules::revocation::{self, Claims};
use vicar_rules::roles::RoleSet;
use vicar_rules::token::{self, Kind, ScopeKind, TokenTraits};

use super::fernet::{Payload, PayloadScope};
use crate::app::App;
use crate::authority::{self, Concerned, Judged, Place, ProjectFacts, RoleRef, UserFacts};
use crate::error::{Error, Result};
use crate::store::Tx;

/// Where a valid token is scoped.
#[derive(Debug, Clone)]
pub enum TokenScope {
    /// Nowhere.
    Unscoped,
    /// On a project.
    Project(ProjectFacts),
    /// On a domain.
    Domain(ProjectFacts),
    /// On the system.
    System,
}

/// A valid token. Only [`validate`] and the issuing of tokens make one.
#[derive(Debug, Clone)]
pub struct Token {
    /// What it says of itself.
    pub payload: Payload,
    /// What it stands on.
    pub kind: Kind,
    /// Whom it speaks for: with impersonation the trustor.
    pub user: UserFacts,
    /// Where.
    pub scope: TokenScope,
    /// Its roles, now.
    pub roles: Vec<RoleRef>,
    /// Its trust with all above, if it stands on one.
    pub trust: Option<Judged>,
    /// Its application credential.
    pub application_credential: Option<ApplicationCredential>,
}

/// What a token shows of its application credential.
#[derive(Debug, Clone)]
pub struct ApplicationCredential {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// May it make further delegations?
    pub unrestricted: bool,
    /// Its access rules, if it is limited to some.
    pub access_rules: Option<serde_json::Value>,
}

impl Token {
    /// The trust's id, if it stands on one.
    pub fn trust_id(&self) -> Option<&str> {
        self.trust.as_ref().map(|j| j.chain().leaf().id.as_str())
    }

    /// The project, if it has one.
    pub fn project(&self) -> Option<&ProjectFacts> {
        match &self.scope {
            TokenScope::Project(p) => Some(p),
            TokenScope::Unscoped | TokenScope::Domain(_) | TokenScope::System => None,
        }
    }

    /// The scope, as rescoping cares.
    pub fn scope_kind(&self) -> ScopeKind {
        match &self.scope {
            _ if self.trust.is_some() => ScopeKind::Trust,
            TokenScope::Unscoped => ScopeKind::Unscoped,
            TokenScope::Project(_) => ScopeKind::Project,
            TokenScope::Domain(_) => ScopeKind::Domain,
            TokenScope::System => ScopeKind::System,
        }
    }

    /// The caller, as policy sees him.
    pub fn subject(&self) -> Subject {
        Subject {
            user: self.user.id.clone(),
            roles: self.roles.iter().map(|r| r.name.clone()).collect(),
            scope: match &self.scope {
                TokenScope::Unscoped => Scope::Unscoped,
                TokenScope::Project(p) => Scope::Project { id: p.id.clone(), domain: p.domain_id.clone() },
                TokenScope::Domain(d) => Scope::Domain(d.id.clone()),
                TokenScope::System => Scope::System,
            },
            admin_token: false,
        }
    }

    /// The audit id that descends through exchanges: the root's.
    pub fn root_audit_id(&self) -> &str {
        self.payload.audit_ids.last().map_or("", String::as_str)
    }
}

/// How [`validate`] is asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked {
    /// How long after its end a token is still shown (`allow_expired`), if all that it stands on lives.
    pub window: Micros,
    /// Does the asker understand access rules?
    pub understands_access_rules: bool,
}

/// The token behind a text, if it is valid at this instant. Nothing is said about why one is not.
pub async fn validate(tx: &mut Tx, app: &App, text: &str, asked: Asked) -> Result<Option<Token>> {
    let keys = app.token_keys.current().map_err(Error::Internal)?;
    let Some(payload) = Payload::decode(text, &keys, &app.config.auth_methods) else {
        return Ok(None);
    };
    match establish(tx, app, payload, asked).await? {
        Outcome::Valid(token) => Ok(Some(*token)),
        Outcome::Dead | Outcome::Revoked(_) => Ok(None),
    }
}

/// What a payload turns out to be.
#[derive(Debug)]
pub enum Outcome {
    /// All that it stands on holds.
    Valid(Box<Token>),
    /// Something that it stands on is over, off or gone.
    Dead,
    /// A revocation of this instant or later ends it.
    Revoked(Micros),
}

/// Looks up everything that a payload stands on, and whether it holds now.
pub async fn establish(tx: &mut Tx, app: &App, payload: Payload, asked: Asked) -> Result<Outcome> {
    let now = app.clock.now();
    let trust_id = match &payload.scope {
        PayloadScope::Trust(_, t) | PayloadScope::Narrowed(_, t) => Some(t.as_str()),
        _ => None,
    };
    let kind = token::kind(TokenTraits {
        methods: &payload.methods,
        trust: trust_id.is_some(),
        application_credential: matches!(payload.scope, PayloadScope::ApplicationCredential(..)),
        access_token: false,
        additional_primary: &app.config.additional_primary,
    });
    if token::shown_until(kind, payload.expires, asked.window, []) <= now {
        return Ok(Outcome::Dead);
    }
    let Some(token) = stand(tx, payload, kind, now, asked).await? else {
        return Ok(Outcome::Dead);
    };
    if token.user.presence != Presence::Active {
        return Ok(Outcome::Dead);
    }
    Ok(match revoked_at(tx, &token).await? {
        Some(at) => Outcome::Revoked(at),
        None => Outcome::Valid(Box::new(token)),
    })
}

/// Resolves the scope and the roles in it.
async fn stand(
    tx: &mut Tx,
    payload: Payload,
    kind: Kind,
    now: Micros,
    asked: Asked,
) -> Result<Option<Token>> {
    let implications = authority::implications(tx).await?;
    let mut application_credential = None;
    let mut trust = None;
    let (scope, roles) = match &payload.scope {
        PayloadScope::Unscoped => (TokenScope::Unscoped, RoleSet::new()),
        PayloadScope::System(_) => {
            let roles = authority::effective_roles(tx, &payload.user, Place::System, &implications).await?;
            (TokenScope::System, roles)
        }
        PayloadScope::Domain(id) => {
            let Some(domain) = active(authority::domain(tx, id).await?) else {
                return Ok(None);
            };
            let roles =
                authority::effective_roles(tx, &payload.user, Place::Domain(id), &implications).await?;
            (TokenScope::Domain(domain), roles)
        }
        PayloadScope::Project(id) => {
            let Some(project) = active(authority::project(tx, id).await?) else {
                return Ok(None);
            };
            let roles =
                authority::effective_roles(tx, &payload.user, Place::Project(id), &implications).await?;
            (TokenScope::Project(project), roles)
        }
        PayloadScope::ApplicationCredential(id, credential) => {
            let Some(project) = active(authority::project(tx, id).await?) else {
                return Ok(None);
            };
            let held =
                authority::effective_roles(tx, &payload.user, Place::Project(id), &implications).await?;
            let Some((shown, given)) =
                super::application_credential::load(tx, credential, &payload.user, id, now).await?
            else {
                return Ok(None);
            };
            // One that is limited to access rules may be shown only to who enforces them.
            if shown.access_rules.is_some() && !asked.understands_access_rules {
                return Ok(None);
            }
            application_credential = Some(shown);
            (TokenScope::Project(project), given.intersection(&held).cloned().collect())
        }
        PayloadScope::Trust(project, id) | PayloadScope::Narrowed(project, id) => {
            let Some(chain) = authority::chain(tx, id).await? else {
                return Ok(None);
            };
            let leaf = chain.leaf();
            if leaf.trustee != payload.user || leaf.project.as_ref() != Some(project) {
                return Ok(None);
            }
            let judged = authority::judge_all(tx, vec![chain], now, &implications).await?.pop();
            let Some(mut judged) = judged else { return Ok(None) };
            let Some(mut worth) = judged.status().live().cloned() else {
                return Ok(None);
            };
            if kind == Kind::Ec2 {
                match crate::keypairs::narrow(tx, &payload, judged.chain(), &worth, &implications, now)
                    .await?
                {
                    Some(narrowed) => worth = narrowed,
                    None => return Ok(None),
                }
            }
            if token::shown_until(kind, payload.expires, asked.window, [worth.until]) <= now {
                return Ok(None);
            }
            let Some(project) = active(judged.project.take()) else {
                return Ok(None);
            };
            trust = Some(judged);
            (TokenScope::Project(project), worth.roles)
        }
    };
    let roles = authority::token_roles(tx, &roles).await?;
    // A scope in which nothing is held gives no token, and ends those that were given.
    if roles.is_empty() && !matches!(scope, TokenScope::Unscoped) {
        return Ok(None);
    }
    let user = match &trust {
        Some(judged) => judged.users.get(judged.chain().speaks_for()).cloned(),
        None => authority::user(tx, &payload.user).await?,
    };
    let Some(user) = user else { return Ok(None) };
    Ok(Some(Token { payload, kind, user, scope, roles, trust, application_credential }))
}

fn active(project: Option<ProjectFacts>) -> Option<ProjectFacts> {
    project.filter(|p| p.presence == Presence::Active)
}

/// The latest revocation event that ends the token, if there is one.
async fn revoked_at(tx: &mut Tx, token: &Token) -> Result<Option<Micros>> {
    let mut users = vec![token.user.id.as_str()];
    let mut domains = vec![token.user.domain_id.as_str()];
    let mut trusts = Vec::new();
    if let Some(judged) = &token.trust {
        users.extend(judged.chain().agents());
        domains.extend(judged.users.values().map(|u| u.domain_id.as_str()));
        trusts.extend(judged.chain().links().iter().map(|t| t.id.as_str()));
    }
    users.sort_unstable();
    users.dedup();
    let domain_scope = match &token.scope {
        TokenScope::Domain(d) => Some(d.id.as_str()),
        _ => None,
    };
    domains.extend(domain_scope);
    domains.extend(token.project().and_then(|p| p.domain_id.as_deref()));
    let audit_ids: Vec<&str> = token.payload.audit_ids.iter().map(String::as_str).collect();
    let project = token.project().map(|p| p.id.as_str());
    let events = authority::events(
        tx,
        &Concerned {
            users: users.clone(),
            trusts: trusts.clone(),
            project,
            audit_ids: audit_ids.clone(),
            issued: token.payload.issued,
        },
    )
    .await?;
    if events.is_empty() {
        return Ok(None);
    }
    let root = token.trust.as_ref().map(|judged| judged.chain().root().trustor.as_str());
    let claims = Claims {
        users,
        holder: root.unwrap_or(&token.user.id),
        domains,
        domain_scope,
        project,
        roles: token.roles.iter().map(|r| r.id.as_str()).collect(),
        trusts,
        access_token: None,
        audit: audit_ids[0],
        audit_chain: audit_ids.get(1).copied(),
        expires: token.payload.expires,
        issued: token.payload.issued,
    };
    Ok(events.iter().filter(|e| revocation::ends(e, &claims)).map(|e| e.issued_before).max())
}
