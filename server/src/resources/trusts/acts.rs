//! What is done to a trust after it was made, other than to end it: suspending and resuming it, ending its tokens, taking it over.

use axum::response::Response;
use vicar_rules::Micros;
use vicar_rules::delegation::{self, Part};
use vicar_rules::policy::{Fact, Facts, Op};
use vicar_rules::refusal::Refusal;
use vicar_rules::token::{Act, Kind};

use super::apart;
use super::end::EndsTrusts;
use super::http::{load_living, place, shown};
use crate::authz::{Authorized, Caller, Object, Writing};
use crate::clock;
use crate::error::{Error, Result};
use crate::facts::{self, EvaluatedTrust, Place};
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

/// In which part the caller acts on a trust: a bearer as one, whoever may do it to any trust on the project from outside, and all
/// others as a trustor of the chain.
fn part<'a>(s: &Writing<'_>, op: Op, caller: &'a Caller, trust: &EvaluatedTrust) -> Result<Part<'a>> {
    if let Some(own) = caller.token().and_then(|t| t.trust_id()).filter(|_| caller.kind() == Kind::Trust) {
        return Ok(Part::Bearer(own));
    }
    let outside = s.allows(op, &place(trust))?;
    Ok(if outside { Part::Outside } else { Part::Trustor(caller.user_id()) })
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
    let part = part(s, Op::SuspendTrust, caller, &trust)?;
    let done = delegation::suspend(&trust.evaluated, part, caller.user_id(), &reason, s.now)?;
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
    let part = part(s, Op::ResumeTrust, caller, &trust)?;
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
    take_over(&mut s.tx, &trust, &trust.0, caller.user_id(), s.now).await?;
    changed(s, trust.0.chain().leaf()).await
}

/// Lets a user take over a trust, if the rules let them.
///
/// # Errors
/// 403 when they do not, otherwise when the database fails.
pub async fn take_over(
    tx: &mut WriteTx,
    proof: &impl EndsTrusts,
    trust: &EvaluatedTrust,
    adopter: &str,
    now: Micros,
) -> Result<()> {
    let implications = facts::implications(tx).await?;
    let held = match &trust.chain().leaf().project {
        Some(project) => facts::effective_roles(tx, adopter, Place::Project(project), &implications).await?,
        None => Default::default(),
    };
    let trustee = trust.users.get(&trust.chain().leaf().trustee);
    let ceilings = facts::ceilings::over_new(tx, None, trust.project.as_ref(), adopter, trustee).await?;
    let done = delegation::adopt(trust.chain(), adopter, &held, &implications, &ceilings, now)?;
    apart::adopt(tx, proof, trust, &done, now).await
}

/// Lets a user take over every first trust that rests on another one, who is about to be deleted. Returns the ids.
///
/// # Errors
/// 403 that names the first trust which the rules do not let them take over, otherwise when the database fails.
pub async fn hand_over(
    tx: &mut WriteTx,
    proof: &impl EndsTrusts,
    from: &str,
    to: &str,
    now: Micros,
) -> Result<Vec<String>> {
    let ids = super::sql::resting_on(tx, from).await?;
    let mut done = Vec::new();
    for some in ids.chunks(super::flush::BATCH) {
        let some: Vec<&str> = some.iter().map(String::as_str).collect();
        let chains = facts::chains(tx, &some).await?;
        let implications = facts::implications(tx).await?;
        for trust in facts::evaluate_all(tx, chains, now, &implications).await? {
            if trust.status().ended() {
                continue;
            }
            let id = trust.chain().leaf().id.clone();
            take_over(tx, proof, &trust, to, now).await.map_err(|error| match error {
                Error::Forbidden(why) => Error::Forbidden(format!("trust {id} cannot be handed over: {why}")),
                other => other,
            })?;
            done.push(id);
        }
    }
    Ok(done)
}
