//! What may be given away: the rules that say no when a trust is made, and the only makers of one.

use super::{Authority, Chain, Evaluated, Presence, Presented, Trust, Until};
use crate::Micros;
use crate::application_credential::ApplicationCredential;
use crate::binding::Binding;
use crate::ceiling::{Ceilings, Delegated, depth_below};
use crate::origin::Origin;
use crate::refusal::Refusal;
use crate::roles::{Implications, RoleSet};
use crate::terms::Terms;

/// What a caller asks of a new trust. Roles are ids already; names were resolved before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustRequest {
    /// Who delegates, as the body says.
    pub trustor: String,
    /// Who receives.
    pub trustee: String,
    /// On which project.
    pub project: Option<String>,
    /// Under the trustor's name?
    pub impersonation: bool,
    /// Which roles.
    pub roles: RoleSet,
    /// Until when; absent means "as long as the parent".
    pub until: Option<Micros>,
    /// How many uses.
    pub uses: Option<i64>,
    /// Whether it may be redelegated.
    pub allow_redelegation: bool,
    /// `redelegation_count` as stated.
    pub count: Option<u32>,
    /// What shall narrow it besides.
    pub terms: Terms,
    /// What whoever uses it must present.
    pub external_id: Option<String>,
    /// The workload that alone may use it.
    pub binding: Option<Binding>,
    /// What is said of the beginning of it all.
    pub origin: Origin,
}

/// What the server's configuration limits.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// `[trust] allow_redelegation`
    pub allow_redelegation: bool,
    /// `[trust] max_redelegation_count`
    pub max_redelegation_count: u32,
}

/// Facts about the parties of a new trust.
#[derive(Debug, Clone)]
pub struct Parties<'a> {
    /// The user of the token that delegates.
    pub token_user: &'a str,
    /// Whether the trustee exists. (Disabled is fine.)
    pub trustee_exists: bool,
    /// How the project stands.
    pub project: Presence,
    /// Effective roles that the *root* trustor holds now on the project.
    pub root_roles: &'a RoleSet,
    /// The implied-role relation.
    pub implications: &'a Implications,
    /// The ceilings that hold for it, the trustee's among them.
    pub ceilings: &'a Ceilings,
    /// What the delegator presents besides the token: whoever passes on what a bound trust gives uses it.
    pub presented: Presented<'a>,
    /// The instant.
    pub now: Micros,
}

/// A trust that passed the rules. Only [`grant`] and [`redelegate`] make one, and the store writes
/// nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    pub(super) trust: Trust,
}

impl Granted {
    /// The trust to write; its id is given by the store.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }
}

/// Makes a root trust out of the caller's own authority (rules 3 to 11).
pub fn grant(ask: &TrustRequest, parties: &Parties<'_>, limits: Limits) -> Result<Granted, Refusal> {
    check_shape(ask, parties)?;
    check_project(ask, parties)?;
    let hops = asked_hops(ask, parties, limits, None)?;
    check_uses(ask)?;
    let until = match ask.until {
        Some(t) if t <= parties.now => return Err(Refusal::ExpiryPast),
        other => Until::from_option(other),
    };
    check_terms(&ask.terms, until)?;
    check_ceilings(ask, None, until, parties)?;
    Ok(granted(ask, until, hops, None, (ask.terms.clone(), ask.origin.clone())))
}

/// Makes a root trust with the token of an application credential that may delegate: no more than `above`, which is what the credential
/// may delegate now, and for one of its trustees. The trust ends with the credential.
///
/// # Errors
///
/// The first rule that forbids it.
pub fn grant_by_credential(
    ask: &TrustRequest,
    credential: &ApplicationCredential,
    above: &Authority,
    parties: &Parties<'_>,
    limits: Limits,
) -> Result<Granted, Refusal> {
    let Some(may) = credential.may_delegate.as_ref().filter(|_| credential.user == parties.token_user) else {
        return Err(Refusal::DelegatedToken("manage trusts"));
    };
    if ask.project.as_deref() != Some(&above.project) {
        return Err(Refusal::OtherProject);
    }
    if !may.trustees.contains(&ask.trustee) {
        return Err(Refusal::TrusteeOfCredential);
    }
    let asked = TrustRequest {
        until: ask.until.or(above.until.to_option()),
        terms: ask.terms.below(&above.terms)?,
        ..ask.clone()
    };
    // Nothing said is as much as it may.
    let most = if ask.count.is_none() { above.hops } else { u32::MAX };
    let limits = Limits { max_redelegation_count: limits.max_redelegation_count.min(most), ..limits };
    let mut granted = grant(&asked, parties, limits)?;
    let wanted = parties.implications.closure(&ask.roles);
    if let Some(role) = wanted.iter().find(|role| !above.roles.contains(*role)) {
        return Err(Refusal::RoleOfCredential(role.clone()));
    }
    if granted.trust.until > above.until {
        return Err(Refusal::OutlivesCredential);
    }
    if granted.trust.hops > above.hops {
        return Err(Refusal::DepthAboveMaximum { asked: granted.trust.hops, maximum: above.hops });
    }
    granted.trust.credential = Some(credential.id.clone());
    Ok(granted)
}

/// Makes a child below the last trust of `parent` (rules 30 to 35), which is the chain of the presented
/// token and nothing else. Nothing can be made below a chain that gives nothing.
///
/// # Errors
///
/// The first rule that forbids it.
pub fn redelegate(
    ask: &TrustRequest,
    parent: &Evaluated,
    parties: &Parties<'_>,
    limits: Limits,
) -> Result<Granted, Refusal> {
    // First of all: below what is dead, whatever else is wrong does not matter.
    let above = parent.above()?;
    let chain = parent.chain();
    let said = parent.origin();
    let parent = chain.leaf();
    if let Some(binding) = &parent.binding {
        binding.admit(parties.presented.workload, parties.presented.certificate)?;
    }
    if ask.trustor != parties.token_user || ask.trustor != chain.speaks_for() {
        return Err(Refusal::NotTheTrustor);
    }
    // Same place: "no project" is another project too.
    if ask.project != parent.project {
        return Err(Refusal::OtherProject);
    }
    check_shape(ask, parties)?;
    check_project(ask, parties)?;
    if !limits.allow_redelegation {
        return Err(Refusal::RedelegationOff);
    }
    // The maximum was applied when the parent was made; lowering it later breaks no living chain.
    let possible = parent.hops.checked_sub(1).ok_or(Refusal::DepthExhausted)?;
    let hops = asked_hops(ask, parties, limits, Some((chain, possible)))?;
    check_uses(ask)?;
    // Rule 33: a child may not outlive its parent. Without an end of its own it has the parent's.
    let until = match ask.until {
        Some(t) if t <= parties.now => return Err(Refusal::ExpiryPast),
        Some(t) if Until::At(t) > above.until => return Err(Refusal::OutlivesParent),
        Some(t) => Until::At(t),
        None => above.until,
    };
    if let Some(role) = ask.roles.iter().find(|r| !above.roles.contains(*r)) {
        return Err(Refusal::RoleOutsideParent(role.clone()));
    }
    if ask.impersonation && !above.impersonate {
        return Err(Refusal::ImpersonationGained);
    }
    // Whom a chain rests on that was adopted does not act by it in somebody else's name.
    if ask.impersonation && chain.shows_name() && ask.trustee == chain.holder() {
        return Err(Refusal::AdoptedByTrustee);
    }
    // What it has no term of its own for is as above.
    let terms = ask.terms.below(&above.terms)?;
    check_terms(&terms, until)?;
    let origin = ask.origin.below(said)?;
    check_ceilings(ask, Some(chain), until, parties)?;
    Ok(granted(ask, until, hops, Some(parent.id.clone()), (terms, origin)))
}

fn check_ceilings(
    ask: &TrustRequest,
    above: Option<&Chain>,
    until: Until,
    parties: &Parties<'_>,
) -> Result<(), Refusal> {
    let what = Delegated {
        roles: &parties.implications.closure(&ask.roles),
        until,
        impersonation: ask.impersonation,
        link: Some((&ask.trustee, depth_below(above))),
    };
    parties.ceilings.check(above, what, parties.now)
}

fn check_terms(terms: &Terms, until: Until) -> Result<(), Refusal> {
    if terms.access.allows_nothing() {
        return Err(Refusal::NoAccessRules);
    }
    match terms.not_before {
        Some(from) if until.passed(from) => Err(Refusal::NeverBegins),
        _ => Ok(()),
    }
}

fn granted(
    ask: &TrustRequest,
    until: Until,
    hops: u32,
    parent: Option<String>,
    (terms, origin): (Terms, Origin),
) -> Granted {
    Granted {
        trust: Trust {
            id: String::new(),
            trustor: ask.trustor.clone(),
            trustee: ask.trustee.clone(),
            project: ask.project.clone(),
            impersonation: ask.impersonation,
            roles: ask.roles.clone(),
            until,
            remaining_uses: ask.uses.and_then(|u| u32::try_from(u).ok()),
            hops,
            parent,
            deleted_at: None,
            terms: Some(terms),
            external_id: ask.external_id.clone(),
            binding: ask.binding.clone(),
            origin,
            suspension: None,
            adoption: None,
            credential: None,
        },
    }
}

fn check_shape(ask: &TrustRequest, parties: &Parties<'_>) -> Result<(), Refusal> {
    if ask.project.is_some() && ask.roles.is_empty() {
        return Err(Refusal::NoRoles);
    }
    if ask.trustor != parties.token_user {
        return Err(Refusal::NotTheTrustor);
    }
    if !parties.trustee_exists {
        return Err(Refusal::TrusteeUnknown(ask.trustee.clone()));
    }
    match (&ask.project, ask.roles.is_empty()) {
        (None, true) => Err(Refusal::NothingDelegated),
        (None, false) => Err(Refusal::RolesWithoutProject),
        (Some(_), _) => Ok(()),
    }
}

fn check_project(ask: &TrustRequest, parties: &Parties<'_>) -> Result<(), Refusal> {
    if parties.project == Presence::Missing {
        return Err(Refusal::ProjectUnknown(ask.project.clone().unwrap_or_default()));
    }
    // The closure counts: what a delegated role implies is delegated with it.
    let wanted = parties.implications.closure(&ask.roles);
    match wanted.iter().find(|r| !parties.root_roles.contains(*r)) {
        Some(role) => Err(Refusal::RoleNotHeld(role.clone())),
        None => Ok(()),
    }
}

/// The redelegations that the new link may have: `below` a parent one fewer than the parent, at a root
/// the maximum; and no more than ceilings leave.
fn asked_hops(
    ask: &TrustRequest,
    parties: &Parties<'_>,
    limits: Limits,
    below: Option<(&Chain, u32)>,
) -> Result<u32, Refusal> {
    if !ask.allow_redelegation || ask.count == Some(0) {
        return Ok(0);
    }
    if !limits.allow_redelegation {
        return Err(Refusal::RedelegationOff);
    }
    let maximum = match (below, ask.count) {
        (None, Some(n)) if n > limits.max_redelegation_count => {
            return Err(Refusal::DepthAboveMaximum { asked: n, maximum: limits.max_redelegation_count });
        }
        (None, _) => limits.max_redelegation_count,
        (Some((_, possible)), _) => possible,
    };
    let (most, ceiling) = match parties.ceilings.room(below.map(|(chain, _)| chain), &ask.trustee) {
        Some((left, above)) if left < maximum => (left, Some(above)),
        _ => (maximum, None),
    };
    match (ask.count, ceiling) {
        // What is not stated is the most that there can be.
        (None, _) => Ok(most),
        (Some(n), _) if n == most || (below.is_none() && n < most) => Ok(n),
        (Some(n), Some(above)) if n > most && n <= maximum => Err(Refusal::AboveCeiling(above)),
        (Some(_), _) => Err(Refusal::DepthStated { possible: most }),
    }
}

fn check_uses(ask: &TrustRequest) -> Result<(), Refusal> {
    match ask.uses {
        None => Ok(()),
        // What does not fit Keystone's signed 32-bit column could not be counted exactly.
        Some(n) if n < 1 || n > i64::from(i32::MAX) => Err(Refusal::UsesNotPositive),
        Some(_) if ask.allow_redelegation && ask.count != Some(0) => Err(Refusal::UsesOnRedelegable),
        Some(_) => Ok(()),
    }
}
