//! Who may suspend a trust, and who may resume it: whoever may end it, but nobody resumes what somebody above them has suspended.

use super::{Chain, Evaluated};
use crate::Micros;
use crate::refusal::Refusal;

/// How far from the top somebody is who has a part in a chain; the less, the further up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Standing(pub u32);

/// In which part somebody acts on a trust.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// Not as one of the chain: an administrator.
    Administrator,
    /// Not as one of the chain: a manager of the project, or of its domain.
    Manager,
    /// With a login of this user, who is a trustor of the chain.
    Trustor(&'a str),
    /// With a token of this trust, which is the trust itself or one above it.
    Bearer(&'a str),
}

impl Chain {
    /// How far from the top that part is. Nothing when the chain does not have it.
    pub fn standing(&self, part: Part<'_>) -> Option<Standing> {
        let at = |found: Option<usize>, below: u32| {
            found.and_then(|link| u32::try_from(link).ok()).map(|link| Standing(link.saturating_add(below)))
        };
        match part {
            Part::Administrator => Some(Standing(0)),
            Part::Manager => Some(Standing(1)),
            Part::Trustor(user) if user == self.holder() => Some(Standing(2)),
            // No more than a name: they may stop what is done in it, and nobody has to ask them.
            Part::Trustor(user) => at(self.trustors().position(|trustor| trustor == Some(user)), 2)
                .or_else(|| self.has_trustor(user).then_some(Standing(u32::MAX))),
            // Who bears a trust is its trustee, or a program of theirs: below its trustor.
            Part::Bearer(trust) => at(self.links().iter().position(|t| t.id == trust), 3),
        }
    }
}

/// That a trust is suspended, by whom, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspension {
    /// Since when.
    pub at: Micros,
    /// The user who did it.
    pub by: String,
    /// How far from the top they were.
    pub standing: Standing,
    /// Why, in their words.
    pub reason: String,
}

/// A suspension that is to be recorded of the last trust of a chain. Only [`suspend`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspends(Suspension);

impl Suspends {
    /// What is recorded.
    pub fn suspension(&self) -> &Suspension {
        &self.0
    }
}

/// That the suspension of the last trust of a chain is to be taken back. Only [`resume`] makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resumes(());

/// Suspends the last trust of a chain. Nothing is to be recorded when it is suspended already, unless by somebody further down.
///
/// # Errors
///
/// [`Refusal::NoPartInChain`] when it has no such part.
pub fn suspend(
    trust: &Evaluated,
    part: Part<'_>,
    by: &str,
    reason: &str,
    now: Micros,
) -> Result<Option<Suspends>, Refusal> {
    let standing = trust.chain().standing(part).ok_or(Refusal::NoPartInChain)?;
    let is_new = trust.chain().leaf().suspension.as_ref().is_none_or(|old| standing < old.standing);
    Ok(is_new
        .then(|| Suspends(Suspension { at: now, by: by.to_owned(), standing, reason: reason.to_owned() })))
}

/// Resumes the last trust of a chain. Nothing is to be done when it is not suspended by itself.
///
/// # Errors
///
/// [`Refusal::NoPartInChain`] when it has no such part, [`Refusal::SuspendedAbove`] when somebody further up has suspended it.
pub fn resume(trust: &Evaluated, part: Part<'_>) -> Result<Option<Resumes>, Refusal> {
    let standing = trust.chain().standing(part).ok_or(Refusal::NoPartInChain)?;
    match &trust.chain().leaf().suspension {
        None => Ok(None),
        Some(own) if standing > own.standing => Err(Refusal::SuspendedAbove),
        Some(_) => Ok(Some(Resumes(()))),
    }
}
