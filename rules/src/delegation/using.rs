//! Who may use a trust, how much of it, and how a use is counted.

use super::{Evaluated, Trust};
use crate::Micros;
use crate::access_rule::Access;
use crate::binding::Workload;
use crate::origin::Origin;
use crate::refusal::Refusal;
use crate::roles::{Implications, RoleSet};
use crate::terms::{Login, Terms};

/// What somebody presents who uses a trust, besides their login.
#[derive(Debug, Clone, Copy, Default)]
pub struct Presented<'a> {
    /// The external id.
    pub external_id: Option<&'a str>,
    /// Who they are by the word of an identity provider.
    pub workload: Option<&'a Workload>,
    /// The thumbprint of the certificate of their connection.
    pub certificate: Option<&'a str>,
}

/// Whether somebody may use the trust: they logged in as all links ask, and present what the last one asks for.
///
/// # Errors
///
/// What they lack.
pub fn admit(
    trust: &Evaluated,
    login: Login<'_>,
    presented: Presented<'_>,
    now: Micros,
) -> Result<(), Refusal> {
    let leaf = trust.chain().leaf();
    let asked = leaf.external_id.as_deref();
    if asked.is_some() && asked != presented.external_id {
        return Err(Refusal::ExternalId);
    }
    if let Some(binding) = &leaf.binding {
        binding.admit(presented.workload, presented.certificate)?;
    }
    trust.above()?.terms.admit(login, now)
}

/// Less than a trust gives, as somebody asks who uses it: for one token, and for what is made with that.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Narrower {
    /// Only these of its roles, and what they imply.
    pub roles: Option<RoleSet>,
    /// For these requests only.
    pub access: Access,
    /// The life of the token, in microseconds.
    pub life: Option<Micros>,
    /// What is said of the beginning of the chain, where the trust says nothing.
    pub origin: Origin,
}

impl Narrower {
    /// Whether the token's worth is less, apart from its end.
    pub fn is_limited(&self) -> bool {
        self.roles.is_some() || self.access.is_limited()
    }

    /// Whether it is less than the trust gives, in everything that it names.
    ///
    /// # Errors
    ///
    /// What is more.
    pub fn check(&self, trust: &Evaluated, implications: &Implications) -> Result<(), Refusal> {
        let above = trust.above()?;
        if let Some(roles) = &self.roles {
            let wanted = implications.closure(roles);
            if let Some(role) = wanted.iter().find(|r| !above.roles.contains(*r)) {
                return Err(Refusal::RoleOutsideParent(role.clone()));
            }
            if roles.is_empty() {
                return Err(Refusal::NoRoles);
            }
        }
        if self.access.allows_nothing() {
            return Err(Refusal::NoAccessRules);
        }
        self.origin.below(trust.origin())?;
        let terms = Terms { access: self.access.clone(), max_token_ttl: self.life, ..Terms::default() };
        terms.below(&above.terms).map(|_| ())
    }
}

/// How one use of a trust is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Use {
    /// The uses are not counted: nothing is written.
    Uncounted,
    /// The store sets the uses left to `after` if they are still `before`, in one statement. When they
    /// are not, somebody else took a use in between: the row is read and [`consume`] is asked again.
    Counted {
        /// The uses left before.
        before: u32,
        /// The uses left after; one fewer.
        after: u32,
    },
}

/// No use is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent;

/// Takes one use of a trust, as it was read. Only the success of what the trust is used for takes one.
///
/// # Errors
///
/// [`Spent`] when no use is left.
pub fn consume(trust: &Trust) -> Result<Use, Spent> {
    match trust.remaining_uses {
        None => Ok(Use::Uncounted),
        Some(before) => before.checked_sub(1).map(|after| Use::Counted { before, after }).ok_or(Spent),
    }
}
