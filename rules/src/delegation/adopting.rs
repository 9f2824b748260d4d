//! Succession: whoever holds the roles takes over a trust whose trustor leaves. Its id and the name that it shows stay; the authority is
//! the adopter's from then on.

use super::{Chain, Presence};
use crate::Micros;
use crate::ceiling::Ceilings;
use crate::refusal::Refusal;
use crate::roles::{Implications, RoleSet};

/// That a trust was taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adoption {
    /// By whom; it rests on their roles.
    pub by: String,
    /// When.
    pub at: Micros,
    /// How its trustor is shown, who may be deleted.
    pub trustor: Name,
}

/// A user as others are shown them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// Their name.
    pub name: String,
    /// The id of their domain.
    pub domain_id: String,
    /// The name of their domain.
    pub domain_name: String,
}

/// That the first trust of a chain rests on somebody else from now on. Only [`adopt`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopts(String);

impl Adopts {
    /// On whom.
    pub fn adopter(&self) -> &str {
        &self.0
    }
}

/// Who takes over, and from whom.
#[derive(Debug, Clone, Copy)]
pub struct Succession<'a> {
    /// Who takes over.
    pub adopter: &'a str,
    /// Effective roles of theirs on the trust's project.
    pub held: &'a RoleSet,
    /// Whether somebody decides it who decides about the place: a manager, an administrator.
    pub is_decided: bool,
    /// How the present holder stands.
    pub holder: Presence,
    /// Effective roles of the present holder on the trust's project.
    pub holder_roles: &'a RoleSet,
    /// The implied-role relation.
    pub implications: &'a Implications,
    /// The ceilings of the place, of the adopter, and of the trustees at any depth.
    pub ceilings: &'a Ceilings,
    /// The instant.
    pub now: Micros,
}

/// Lets somebody take over a first trust. `below` are the chains of all that lives below it.
///
/// By themselves they take over what was left behind: its holder is disabled, or does not hold its roles any more. What somebody has
/// suspended, and what its holder still stands for, is taken over by those who decide about the place. All of it has to be within the
/// ceilings, as if the adopter made it now.
///
/// # Errors
///
/// The first rule that forbids it.
pub fn adopt<'a>(
    chain: &Chain,
    below: impl IntoIterator<Item = &'a Chain>,
    by: &Succession<'_>,
) -> Result<Adopts, Refusal> {
    let leaf = chain.leaf();
    if leaf.parent.is_some() {
        return Err(Refusal::NotTheFirst(chain.root().id.clone()));
    }
    // It is the credential's, and ends with that.
    if leaf.credential.is_some() {
        return Err(Refusal::CredentialsTrust);
    }
    let wanted = by.implications.closure(&leaf.roles);
    if let Some(role) = wanted.iter().find(|role| !by.held.contains(*role)) {
        return Err(Refusal::RoleNotOfAdopter(role.clone()));
    }
    if !by.is_decided {
        if by.holder == Presence::Active && wanted.is_subset(by.holder_roles) {
            return Err(Refusal::HolderIsThere);
        }
        if leaf.suspension.is_some() {
            return Err(Refusal::SuspendedAbove);
        }
    }
    if leaf.trustee == by.adopter {
        return Err(Refusal::AdoptedByTrustee);
    }
    by.ceilings.check_last(chain, by.implications, by.now)?;
    for chain in below {
        // They could go on for themselves in somebody else's name.
        if chain.is_in_one_name() && chain.leaf().trustee == by.adopter {
            return Err(Refusal::AdoptedByTrustee);
        }
        by.ceilings.check_last(chain, by.implications, by.now)?;
    }
    Ok(Adopts(by.adopter.to_owned()))
}
