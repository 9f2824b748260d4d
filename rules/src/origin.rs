//! Where a chain of delegations began, in the words of whoever began it: for those who look for the cause of something later. It allows
//! nothing and forbids nothing.
//!
//! What is said once holds for all that is made below, and is never changed, as the source identity of AWS's sessions.

use std::collections::BTreeMap;

use crate::refusal::Refusal;

/// The longest source identity, name of a label and value of one, in characters.
pub const LONGEST: usize = 64;

/// So many labels there may be.
pub const MOST_LABELS: usize = 8;

/// What is said of the beginning of a chain. Nothing by default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// On whose behalf, or from where, it all happens.
    pub source_identity: Option<String>,
    /// Names and values; none when nobody has said any.
    pub labels: BTreeMap<String, String>,
}

impl Origin {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// This, and what `below` says where this says nothing.
    #[must_use]
    pub fn or(&self, below: &Self) -> Self {
        Self {
            source_identity: self.source_identity.clone().or_else(|| below.source_identity.clone()),
            labels: if self.labels.is_empty() { below.labels.clone() } else { self.labels.clone() },
        }
    }

    /// The origin of something new below `above`, which says this itself.
    ///
    /// # Errors
    ///
    /// What it says otherwise than `above`.
    pub fn below(&self, above: &Self) -> Result<Self, Refusal> {
        let all = above.or(self);
        if self.source_identity.is_some() && self.source_identity != all.source_identity {
            return Err(Refusal::OriginIsSet("source_identity"));
        }
        if !self.labels.is_empty() && self.labels != all.labels {
            return Err(Refusal::OriginIsSet("labels"));
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(who: Option<&str>, labels: &[(&str, &str)]) -> Origin {
        Origin {
            source_identity: who.map(str::to_owned),
            labels: labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        }
    }

    #[test]
    fn what_is_said_once_is_never_changed() {
        let (alice, stack) = (of(Some("alice"), &[]), of(None, &[("stack", "s1")]));
        let both = of(Some("alice"), &[("stack", "s1")]);
        assert_eq!(stack.below(&alice), Ok(both.clone()));
        assert_eq!(alice.below(&stack), Ok(both.clone()));
        for same in [Origin::default(), alice.clone(), stack.clone(), both.clone()] {
            assert_eq!(same.below(&both), Ok(both.clone()), "{same:?}");
        }
        assert_eq!(of(Some("bob"), &[]).below(&both), Err(Refusal::OriginIsSet("source_identity")));
        let more = of(None, &[("stack", "s1"), ("more", "m")]);
        assert_eq!(more.below(&both), Err(Refusal::OriginIsSet("labels")));
        assert!(Origin::default().is_empty() && !alice.is_empty() && !stack.is_empty());
    }
}
