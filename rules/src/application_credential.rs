//! Application credentials: what one may carry, and what it is worth now.

use std::collections::BTreeSet;

use crate::Micros;
use crate::access_rule::{Access, AccessRule};
use crate::delegation::{Authority, Broken, Ended, Presence, Suspended, TrustStatus, Until};
use crate::refusal::Refusal;
use crate::roles::{Implications, RoleSet};
use crate::terms::Terms;

/// One stored application credential, as plain data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplicationCredential {
    /// Its id.
    pub id: String,
    /// Its owner.
    pub user: String,
    /// Its project; Keystone's table may hold some without one, which give nothing.
    pub project: Option<String>,
    /// Its roles. What they implied when it was made is among them.
    pub roles: RoleSet,
    /// Its own end.
    pub until: Until,
    /// Whether its tokens may make and delete further ones.
    pub unrestricted: bool,
    /// What its tokens may be used for; nothing when that is not limited.
    pub access_rules: Option<BTreeSet<AccessRule>>,
    /// What its tokens may delegate by trusts; nothing when they may not.
    pub may_delegate: Option<MayDelegate>,
}

/// What the tokens of an application credential may delegate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MayDelegate {
    /// To whom.
    pub trustees: BTreeSet<String>,
    /// Which of its roles.
    pub roles: RoleSet,
    /// How many redelegations may follow.
    pub max_depth: u32,
}

/// The facts of this instant that an application credential is judged by.
#[derive(Debug, Clone)]
pub struct CredentialFacts<'a> {
    /// The instant.
    pub now: Micros,
    /// Effective roles of the owner on the project.
    pub held: &'a RoleSet,
    /// The owner.
    pub user: Presence,
    /// The project.
    pub project: Presence,
}

/// What an application credential is worth at `facts.now`: the owner's authority on the project, met with the
/// credential's own. As in Keystone, roles that are not held any more are left out, and what a role came to imply
/// later is not added.
pub fn evaluate(credential: &ApplicationCredential, facts: &CredentialFacts<'_>) -> TrustStatus {
    let broken = |b| TrustStatus::Ended(Ended::Broken(b));
    if credential.until.passed(facts.now) {
        return TrustStatus::Ended(Ended::Expired);
    }
    let project = match (&credential.project, facts.project) {
        (None, _) | (_, Presence::Missing) => return broken(Broken::ProjectGone),
        (Some(project), _) => project,
    };
    match facts.user {
        Presence::Missing => return broken(Broken::AgentGone(credential.user.clone())),
        Presence::Disabled | Presence::DomainDisabled => {
            return TrustStatus::Suspended(Suspended::Agent(credential.user.clone()));
        }
        Presence::Active => {}
    }
    if facts.project != Presence::Active {
        return TrustStatus::Suspended(Suspended::Project);
    }
    let authority = |until, roles: &RoleSet, hops, access| Authority {
        until,
        roles: roles.clone(),
        project: project.clone(),
        // It acts as its owner.
        impersonate: true,
        hops,
        keypairs: true,
        terms: Terms { access, ..Terms::default() },
    };
    let owners = authority(Until::Never, facts.held, u32::MAX, Access::default());
    let access = credential.access_rules.as_ref().map_or_else(Access::default, Access::only);
    match owners.meet(&authority(credential.until, &credential.roles, 0, access)) {
        Some(a) if !a.roles.is_empty() => TrustStatus::Live(a),
        _ => {
            let first = credential.roles.first().cloned().unwrap_or_default();
            TrustStatus::Suspended(Suspended::Role(first))
        }
    }
}

/// What an application credential may delegate at `facts.now`: what it is worth, met with what it was allowed. As of a trust, all of
/// its roles that it may delegate are delegated or none. It has ended when it may delegate nothing.
pub fn delegable(
    credential: &ApplicationCredential,
    implications: &Implications,
    facts: &CredentialFacts<'_>,
) -> TrustStatus {
    let gone = || TrustStatus::Ended(Ended::Broken(Broken::CredentialGone(credential.id.clone())));
    let Some(may) = &credential.may_delegate else { return gone() };
    match evaluate(credential, facts) {
        TrustStatus::Live(worth) => {
            let roles = implications.closure(&may.roles);
            let own = Authority { roles, hops: may.max_depth, ..worth.clone() };
            // A credential itself makes none that follow.
            let worth = Authority { hops: u32::MAX, ..worth };
            worth.meet(&own).map_or_else(gone, TrustStatus::Live)
        }
        other => other,
    }
}

/// What a caller asks of a new application credential. Roles are ids already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialRequest {
    /// Some roles; all of the token's when none is named.
    pub roles: RoleSet,
    /// Its end.
    pub until: Option<Micros>,
    /// Whether its tokens may make and delete further ones.
    pub unrestricted: bool,
    /// What its tokens may be used for; an empty set limits nothing.
    pub access_rules: BTreeSet<AccessRule>,
    /// What its tokens may delegate by trusts. No role named is all of them.
    pub may_delegate: Option<MayDelegate>,
}

/// An application credential that passed the rules; only [`grant`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantedCredential {
    roles: RoleSet,
    until: Until,
    unrestricted: bool,
    access_rules: BTreeSet<AccessRule>,
    may_delegate: Option<MayDelegate>,
}

impl GrantedCredential {
    /// What its tokens may delegate by trusts; nothing when they may not.
    pub fn may_delegate(&self) -> Option<&MayDelegate> {
        self.may_delegate.as_ref()
    }

    /// Its roles, with what they imply.
    pub fn roles(&self) -> &RoleSet {
        &self.roles
    }

    /// Its end.
    pub fn until(&self) -> Until {
        self.until
    }

    /// Whether its tokens may make and delete further ones.
    pub fn unrestricted(&self) -> bool {
        self.unrestricted
    }

    /// What its tokens may be used for; an empty set limits nothing.
    pub fn access_rules(&self) -> &BTreeSet<AccessRule> {
        &self.access_rules
    }
}

/// Makes an application credential for the user of a token, on its project. `token_roles` are the roles that the
/// token carries, `held` those that the user holds there now, `parent` the credential that the token is of. What is
/// made below a credential is never more than it: it ends no later, and may be used for nothing else.
///
/// # Errors
///
/// The first rule that forbids it.
pub fn grant(
    ask: &CredentialRequest,
    parent: Option<&ApplicationCredential>,
    token_roles: &RoleSet,
    held: &RoleSet,
    implications: &Implications,
    now: Micros,
) -> Result<GrantedCredential, Refusal> {
    if parent.is_some_and(|p| !p.unrestricted) {
        return Err(Refusal::DelegatedToken("make application credentials"));
    }
    let roles = match ask.roles.is_empty() {
        true => token_roles.clone(),
        false => implications.closure(&ask.roles),
    };
    if let Some(role) = roles.iter().find(|r| !token_roles.contains(*r)) {
        return Err(Refusal::RoleNotInToken(role.clone()));
    }
    // A token can carry what its user does not hold. That is worth nothing now, and must not become so later.
    if let Some(role) = roles.iter().find(|r| !held.contains(*r)) {
        return Err(Refusal::RoleNotOfOwner(role.clone()));
    }
    if roles.is_empty() {
        return Err(Refusal::NoRoles);
    }
    let above = parent.map_or(Until::Never, |p| p.until);
    let until = match ask.until {
        Some(t) if t <= now => return Err(Refusal::ExpiryPast),
        Some(t) if Until::At(t) > above => return Err(Refusal::CredentialOutlives),
        Some(t) => Until::At(t),
        None => above,
    };
    let access_rules = match parent.and_then(|p| p.access_rules.as_ref()) {
        None => ask.access_rules.clone(),
        Some(own) if ask.access_rules.is_empty() => own.clone(),
        Some(own) => {
            let outside = ask.access_rules.iter().any(|rule| !own.iter().any(|o| o.covers(rule)));
            if outside {
                return Err(Refusal::AccessRuleOutside);
            }
            ask.access_rules.clone()
        }
    };
    let may_delegate = match &ask.may_delegate {
        None => None,
        // What automation has may not let more automation delegate.
        Some(_) if parent.is_some() => return Err(Refusal::MayNotLetDelegate),
        Some(may) if may.roles.is_empty() => Some(MayDelegate { roles: roles.clone(), ..may.clone() }),
        Some(may) => {
            let wanted = implications.closure(&may.roles);
            match wanted.iter().find(|role| !roles.contains(*role)) {
                Some(role) => return Err(Refusal::RoleOfCredential(role.clone())),
                None => Some(may.clone()),
            }
        }
    };
    Ok(GrantedCredential { roles, until, unrestricted: ask.unrestricted, access_rules, may_delegate })
}

#[cfg(test)]
mod tests;
