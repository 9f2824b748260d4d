//! Succession: whoever holds the roles takes over a trust whose trustor leaves. Its id and the name that it shows stay; the authority is
//! the adopter's from then on.

use super::Chain;
use crate::Micros;
use crate::ceiling::{Ceilings, Delegated, depth_below};
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

/// Lets `adopter`, who holds these effective roles on the trust's project, take over the trust that the chain consists of. It may be
/// suspended: that its trustor left is the reason for most. It is within the `ceilings` of the place and the adopter, as a new one is.
///
/// # Errors
///
/// The first rule that forbids it.
pub fn adopt(
    chain: &Chain,
    adopter: &str,
    held: &RoleSet,
    implications: &Implications,
    ceilings: &Ceilings,
    now: Micros,
) -> Result<Adopts, Refusal> {
    if chain.leaf().parent.is_some() {
        return Err(Refusal::NotTheFirst(chain.root().id.clone()));
    }
    // It is the credential's, and ends with that.
    if chain.leaf().credential.is_some() {
        return Err(Refusal::CredentialsTrust);
    }
    // They could go on for themselves in somebody else's name.
    if chain.leaf().trustee == adopter {
        return Err(Refusal::AdoptedByTrustee);
    }
    let wanted = implications.closure(&chain.leaf().roles);
    if let Some(role) = wanted.iter().find(|role| !held.contains(*role)) {
        return Err(Refusal::RoleNotOfAdopter(role.clone()));
    }
    let leaf = chain.leaf();
    let what = Delegated {
        roles: &wanted,
        until: leaf.until,
        impersonation: leaf.impersonation,
        link: Some((&leaf.trustee, depth_below(None))),
    };
    ceilings.check(None, what, now)?;
    Ok(Adopts(adopter.to_owned()))
}
