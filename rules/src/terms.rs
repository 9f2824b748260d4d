//! What narrows a delegation besides its roles, its project and its end.
//!
//! Each term limits nothing by default. [`Terms::meet`] takes the narrower of each, so a term is a further dimension of
//! [`Authority`](crate::delegation::Authority).

use crate::Micros;
use crate::access_rule::Access;

/// The terms of a delegation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Terms {
    /// Which requests it may be used for.
    pub access: Access,
    /// It gives nothing before this instant.
    pub not_before: Option<Micros>,
    /// The longest life of a token that it gives, in microseconds.
    pub max_token_ttl: Option<Micros>,
}

impl Terms {
    /// The narrower of each.
    pub fn meet(&self, other: &Self) -> Self {
        Self {
            access: self.access.meet(&other.access),
            // Nothing is less than any instant.
            not_before: self.not_before.max(other.not_before),
            max_token_ttl: shorter(self.max_token_ttl, other.max_token_ttl),
        }
    }

    /// Whether they are no wider than `other`, each by itself.
    pub fn le(&self, other: &Self) -> bool {
        self.access.le(&other.access)
            && self.not_before >= other.not_before
            && shorter(self.max_token_ttl, other.max_token_ttl) == self.max_token_ttl
    }

    /// Whether they limit anything.
    pub fn is_limited(&self) -> bool {
        *self != Self::default()
    }

    /// The end of a token that is issued now and would have ended at `end`.
    pub fn token_end(&self, now: Micros, end: Micros) -> Micros {
        self.max_token_ttl.map_or(end, |longest| end.min(now.saturating_add(longest)))
    }

    /// Whether it gives nothing yet.
    pub fn is_early(&self, now: Micros) -> bool {
        self.not_before.is_some_and(|from| now < from)
    }
}

/// The shorter of two spans; nothing is without end.
fn shorter(a: Option<Micros>, b: Option<Micros>) -> Option<Micros> {
    [a, b].into_iter().flatten().min()
}
