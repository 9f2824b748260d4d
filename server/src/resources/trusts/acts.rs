//! What is done to a trust after it was made, other than to end it: suspending and resuming it, ending its tokens, taking it over.

use axum::response::Response;
use vicar_rules::Micros;
use vicar_rules::ceiling::Ceilings;
use vicar_rules::delegation::{self, Part, Presence, Succession};
use vicar_rules::policy::{Fact, Facts, Op};
use vicar_rules::refusal::Refusal;
use vicar_rules::roles::RoleSet;
use vicar_rules::token::{Act, Kind};

use super::apart;
use super::end::EndsTrusts;
use super::http::{load_living, place, shown};
use crate::authz::{Authorized, Caller, Object, Writing};
use crate::clock;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::facts::{self, EvaluatedTrust, Place, UserFacts};
use crate::http::request::{no_content, one, take_text};
use crate::http::schema::PRINTABLE;
use crate::notifications::{Action, ObjectKind};
use crate::resources::keypairs::EndsKeypairs;
use crate::schema;
use crate::store::WriteTx;

schema!(SUSPENSION, {
    "type": "object",
    "required": ["reason"],
    "properties": {"reason": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": PRINTABLE}},
    "additionalProperties": false,
});

schema!(TOKENS_QUERY, {
    "type": "object",
    "properties": {"before": {"type": "string", "description": "A time in UTC; without it, now"}},
});

/// In which part the caller acts on a trust: a bearer as one, administrators and managers from outside, and all others as a trustor
/// of the chain. A trustee who manages the project does not decide about what binds them. Whom an operator's own rule allows it
/// besides is a manager, unless they are in the chain: a wide rule does not undo what somebody further up has done.
fn part<'a>(s: &Writing<'_>, caller: &'a Caller, trust: &EvaluatedTrust) -> Result<Part<'a>> {
    if let Some(own) = caller.token().and_then(|t| t.trust_id()).filter(|_| caller.kind() == Kind::Trust) {
        return Ok(Part::Bearer(own));
    }
    let user = caller.user_id();
    let chain = trust.chain();
    let is_trustee = chain.links().iter().any(|link| link.trustee == user);
    Ok(if s.holds("admin_required", &Facts::none())? {
        Part::Administrator
    } else if !is_trustee && (!chain.has_trustor(user) || s.holds("trust_manager", &place(trust))?) {
        Part::Manager
    } else {
        Part::Trustor(user)
    })
}

/// Who suspends and resumes: a login, or a bearer of the chain. An application credential is the trustor's, and would resume what they
/// have suspended.
fn pausing<'r>(s: &Writing<'r>) -> Result<&'r Caller> {
    let caller = s.caller()?;
    match caller.kind() {
        Kind::Login | Kind::Trust => Ok(caller),
        _ => Err(Refusal::DelegatedToken("suspend or resume trusts").into()),
    }
}

/// `POST /v3/OS-TRUST/trusts/{id}/suspend`
pub async fn suspend(s: &mut Writing<'_>) -> Result<Response> {
    s.may(Act::Trusts)?;
    let caller = pausing(s)?;
    let trust = load_living(caller, &mut s.tx, s.request, s.now).await?;
    let trust = s.authorize(Op::SuspendTrust, trust)?;
    let reason = take_text(&mut s.body()?, "reason").unwrap_or_default();
    let part = part(s, caller, &trust)?;
    let by = match part {
        // In whose name they act is not who acts.
        Part::Bearer(own) => {
            trust.chain().links().iter().find(|link| link.id == own).map(|link| &*link.trustee)
        }
        Part::Administrator | Part::Manager | Part::Trustor(_) => None,
    };
    let by = by.unwrap_or(caller.user_id());
    let done = delegation::suspend(&trust.evaluated, part, by, &reason, s.now)?;
    if let Some(done) = done {
        apart::suspend(&mut s.tx, &trust, &trust, &done).await?;
    }
    changed(s, trust.chain().leaf()).await
}

/// `POST /v3/OS-TRUST/trusts/{id}/resume`
pub async fn resume(s: &mut Writing<'_>) -> Result<Response> {
    s.may(Act::Trusts)?;
    let caller = pausing(s)?;
    let trust = load_living(caller, &mut s.tx, s.request, s.now).await?;
    let trust = s.authorize(Op::ResumeTrust, trust)?;
    let part = part(s, caller, &trust)?;
    if let Some(done) = delegation::resume(&trust.evaluated, part)? {
        apart::resume(&mut s.tx, &trust, &trust, done).await?;
    }
    changed(s, trust.chain().leaf()).await
}

/// The trust as it is now, and that it was changed, for whoever listens.
async fn changed(s: &mut Writing<'_>, was: &delegation::Trust) -> Result<Response> {
    let id = was.id.as_str();
    s.tell(ObjectKind::Trust, Action::Updated, id);
    let links = &s.request.links;
    let chain = facts::chain(&mut s.tx, id).await?.ok_or_else(|| Error::NotFound("trust", id.to_owned()))?;
    Ok(one("trust", shown(&mut s.tx, links, chain.leaf()).await?))
}

/// `DELETE /v3/OS-TRUST/trusts/{id}/tokens`, with `?before=`: ends the tokens of a trust and of all below it that were issued until
/// then, and nothing else.
pub async fn end_tokens(s: &mut Writing<'_>) -> Result<Response> {
    s.may(Act::Trusts)?;
    let query = s.query()?;
    let trust = load_living(s.caller()?, &mut s.tx, s.request, s.now).await?;
    let trust = s.authorize(Op::EndTrustTokens, trust)?;
    // A misspelt one would end all.
    query.has_only(&["before"])?;
    let before = match query.get("before") {
        None => None,
        Some(text) => Some(clock::from_client(text).filter(|at| *at <= s.now).ok_or_else(|| {
            Error::field("before", "must be a UTC time that has passed, without an offset")
        })?),
    };
    let below = facts::subtree(&mut s.tx, &trust.chain().leaf().id).await?;
    let ids: Vec<String> = below.into_iter().filter(|t| t.deleted_at.is_none()).map(|t| t.id).collect();
    match before {
        None => facts::revoke_trusts(&mut s.tx, &trust, &ids)?,
        // There is no such token.
        Some(before) if before < s.now.saturating_sub(s.app.config.oldest_token()) => {}
        Some(before) => facts::revoke_trusts_before(&mut s.tx, &trust, &ids, before).await?,
    }
    Ok(no_content())
}

/// A trust as who adopts it sees it: by its place alone.
#[derive(Debug)]
pub struct Orphan(EvaluatedTrust);

impl Object for Orphan {
    fn facts(&self, caller: &Caller) -> Result<Facts> {
        if caller.kind() != Kind::Login {
            return Err(Refusal::DelegatedToken("adopt trusts").into());
        }
        Ok(place(&self.0).with(Fact::TrustId, &self.0.chain().leaf().id))
    }
}

impl EndsTrusts for Authorized<Orphan> {}
impl EndsKeypairs for Authorized<Orphan> {}

/// `POST /v3/OS-TRUST/trusts/{id}/adopt`
pub async fn adopt(s: &mut Writing<'_>) -> Result<Response> {
    s.may(Act::Trusts)?;
    let caller = s.caller()?;
    let trust = load_living(caller, &mut s.tx, s.request, s.now).await?;
    let trust = s.authorize(Op::AdoptTrust, Orphan(trust))?;
    // It lasts, as one that is made.
    if let Some(token) = caller.token() {
        s.app.config.trust_login.admit(token.login(&s.app.config), s.now)?;
    }
    let heir = Heir {
        user: caller.user_id(),
        is_decided: s.allows(Op::AdoptAnyTrust, &place(&trust.0))?,
        config: &s.app.config,
        now: s.now,
    };
    heir.take_over(&mut s.tx, &trust, &trust.0).await?;
    changed(s, trust.0.chain().leaf()).await
}

/// Who takes over trusts.
#[derive(Debug, Clone, Copy)]
pub struct Heir<'a> {
    /// Their id.
    pub user: &'a str,
    /// Whether somebody decides it who may decide about any trust there.
    pub is_decided: bool,
    /// The configuration.
    pub config: &'a Config,
    /// The instant.
    pub now: Micros,
}

impl Heir<'_> {
    /// Lets them take over a trust, if the rules do.
    ///
    /// # Errors
    /// 403 when they do not, otherwise when the database fails.
    async fn take_over(
        self,
        tx: &mut WriteTx,
        proof: &impl EndsTrusts,
        trust: &EvaluatedTrust,
    ) -> Result<()> {
        let (chain, now) = (trust.chain(), self.now);
        let implications = facts::implications(tx).await?;
        let (mut held, mut holder_roles) = (RoleSet::new(), RoleSet::new());
        if let Some(project) = &chain.leaf().project {
            let place = Place::Project(project);
            held = facts::effective_roles(tx, self.user, place, &implications).await?;
            holder_roles = facts::effective_roles(tx, chain.holder(), place, &implications).await?;
        }
        // Nobody has left because nobody can say whether they have; and the name that stays has to be known.
        let is_open = |user: &UserFacts| user.is_unknown && (!self.is_decided || user.name.is_empty());
        if trust.users.get(chain.holder()).is_some_and(is_open) {
            return Err(Error::DirectoryAway);
        }
        let below = facts::subtree(tx, &chain.leaf().id).await?;
        let below: Vec<&str> = below.iter().skip(1).map(|t| t.id.as_str()).collect();
        let below = facts::chains(tx, &below).await?;
        let mut below = facts::evaluate_all(tx, below, now, &implications).await?;
        below.retain(|trust| !trust.status().ended());
        let others = below.iter().chain([trust]).flat_map(|trust| trust.users.values());
        let ceilings = facts::ceilings::over_new(tx, trust.project.as_ref(), self.user, others).await?;
        let succession = Succession {
            adopter: self.user,
            held: &held,
            is_decided: self.is_decided,
            holder: trust.users.get(chain.holder()).map_or(Presence::Missing, |user| user.presence),
            holder_roles: &holder_roles,
            implications: &implications,
            ceilings: &Ceilings { registered_only: self.config.registered_trustees_only, ..ceilings },
            now,
        };
        let done = delegation::adopt(chain, below.iter().map(EvaluatedTrust::chain), &succession)?;
        apart::adopt(tx, proof, trust, &done, now).await
    }
}

/// Lets a user take over every first trust that rests on another one, who is about to be deleted. Returns the ids.
///
/// # Errors
/// 403 that names the first trust which the rules do not let them take over, otherwise when the database fails.
pub async fn hand_over(
    tx: &mut WriteTx,
    proof: &impl EndsTrusts,
    from: &str,
    to: Heir<'_>,
) -> Result<Vec<String>> {
    let ids = super::sql::resting_on(tx, from).await?;
    let mut done = Vec::new();
    for some in ids.chunks(super::flush::BATCH) {
        let some: Vec<&str> = some.iter().map(String::as_str).collect();
        let chains = facts::chains(tx, &some).await?;
        let implications = facts::implications(tx).await?;
        for trust in facts::evaluate_all(tx, chains, to.now, &implications).await? {
            if trust.status().ended() {
                continue;
            }
            let id = trust.chain().leaf().id.clone();
            to.take_over(tx, proof, &trust).await.map_err(|error| match error {
                refused @ (Error::Forbidden(_) | Error::AboveCeiling(_)) => {
                    Error::Forbidden(format!("trust {id} cannot be handed over: {refused}"))
                }
                other => other,
            })?;
            done.push(id);
        }
    }
    Ok(done)
}
