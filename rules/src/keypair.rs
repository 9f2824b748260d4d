//! EC2 keypairs: where they come from, what they may carry, what an exchange yields.

use crate::Micros;
use crate::delegation::{Authority, Chain, Standing, Until};
use crate::refusal::Refusal;
use crate::roles::{Implications, RoleSet};

/// What a caller asks of a new keypair. Roles are ids already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeypairAsk {
    /// The project that it is for (`tenant_id`).
    pub project: String,
    /// Only these of the trust's roles.
    pub roles: Option<RoleSet>,
    /// Not as long as the trust.
    pub until: Option<Micros>,
}

/// A keypair that passed the rules; only [`bind`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    trust: Option<String>,
    roles: Option<RoleSet>,
    until: Until,
}

impl Bound {
    /// The trust that it is bound to for life, taken from the presented token alone.
    pub fn trust(&self) -> Option<&str> {
        self.trust.as_deref()
    }

    /// Its narrowed roles, when it was narrowed.
    pub fn roles(&self) -> Option<&RoleSet> {
        self.roles.as_ref()
    }

    /// Its own end.
    pub fn until(&self) -> Until {
        self.until
    }
}

/// Binds a new keypair to what the presented token stands on (rule 38): a trust chain with its
/// standing, or nothing for a plain login, whose keypair follows its owner's current roles.
pub fn bind(
    ask: &KeypairAsk,
    chain: Option<(&Chain, &Standing)>,
    implications: &Implications,
    now: Micros,
) -> Result<Bound, Refusal> {
    let Some((chain, worth)) = chain else {
        // Narrowing of one's own keypair would need a record that Keystone honours too; it has none.
        return if ask.roles.is_some() || ask.until.is_some() {
            Err(Refusal::NarrowingNeedsTrust)
        } else {
            Ok(Bound {
                trust: None,
                roles: None,
                until: Until::Never,
            })
        };
    };
    if chain.leaf().project.as_deref() != Some(&ask.project) {
        return Err(Refusal::KeypairOtherProject);
    }
    let Some(above) = worth.live() else {
        return Err(Refusal::ParentNotLive(
            worth.reason().unwrap_or_else(|| worth.word().to_owned()),
        ));
    };
    if let Some(roles) = &ask.roles {
        let wanted = implications.closure(roles);
        if let Some(role) = wanted.iter().find(|r| !above.roles.contains(*r)) {
            return Err(Refusal::KeypairRoleOutside(role.clone()));
        }
        if roles.is_empty() {
            return Err(Refusal::NoRoles);
        }
    }
    let until = match ask.until {
        Some(t) if t <= now => return Err(Refusal::ExpiryPast),
        Some(t) if Until::At(t) > above.until => return Err(Refusal::KeypairOutlives),
        other => Until::from_option(other),
    };
    Ok(Bound {
        trust: Some(chain.leaf().id.clone()),
        roles: ask.roles.clone(),
        until,
    })
}

/// What an exchange of a trust's keypair yields now: the trust's worth, met with the keypair's own
/// narrowing. Nothing when the keypair's time is over or no role is left.
pub fn exchange(
    worth: &Authority,
    roles: Option<&RoleSet>,
    until: Until,
    implications: &Implications,
    now: Micros,
) -> Option<Authority> {
    if until.passed(now) {
        return None;
    }
    let own = Authority {
        until,
        roles: roles.map_or_else(|| worth.roles.clone(), |r| implications.closure(r)),
        project: worth.project.clone(),
        impersonate: worth.impersonate,
        // A leaf is a leaf: a keypair creates nothing.
        hops: 0,
    };
    worth.meet(&own).filter(|a| !a.roles.is_empty())
}
