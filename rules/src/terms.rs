//! What narrows a delegation besides its roles, its project and its end.
//!
//! Each term limits nothing by default. [`Terms::meet`] takes the narrower of each, so a term is a further dimension of
//! [`Authority`](crate::delegation::Authority).

use std::collections::BTreeSet;

use crate::Micros;
use crate::access_rule::Access;
use crate::refusal::Refusal;

/// The terms of a delegation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Terms {
    /// Which requests it may be used for.
    pub access: Access,
    /// It gives nothing before this instant.
    pub not_before: Option<Micros>,
    /// The longest life of a token that it gives, in microseconds.
    pub max_token_ttl: Option<Micros>,
    /// How long ago whoever uses it may have logged in, in microseconds.
    pub max_login_age: Option<Micros>,
    /// Methods that their login must have been by, all of them.
    pub required_methods: BTreeSet<String>,
}

/// How somebody logged in who uses a delegation, or makes one.
#[derive(Debug, Clone, Copy)]
pub struct Login<'a> {
    /// By which methods; those of tokens that were exchanged are among them.
    pub methods: &'a [String],
    /// When: not later than this.
    pub at: Micros,
}

impl Terms {
    /// The narrower of each.
    pub fn meet(&self, other: &Self) -> Self {
        Self {
            access: self.access.meet(&other.access),
            // Nothing is less than any instant.
            not_before: self.not_before.max(other.not_before),
            max_token_ttl: shorter(self.max_token_ttl, other.max_token_ttl),
            max_login_age: shorter(self.max_login_age, other.max_login_age),
            required_methods: self.required_methods.union(&other.required_methods).cloned().collect(),
        }
    }

    /// Whether they are no wider than `other`, each by itself.
    pub fn le(&self, other: &Self) -> bool {
        self.access.le(&other.access)
            && self.not_before >= other.not_before
            && shorter(self.max_token_ttl, other.max_token_ttl) == self.max_token_ttl
            && shorter(self.max_login_age, other.max_login_age) == self.max_login_age
            && self.required_methods.is_superset(&other.required_methods)
    }

    /// Whether they limit anything.
    pub fn is_limited(&self) -> bool {
        *self != Self::default()
    }

    /// The terms of something new below `above`: these where they are asked for, and for the rest those above.
    ///
    /// # Errors
    ///
    /// The term that is wider than the one above.
    pub(crate) fn below(&self, above: &Self) -> Result<Self, Refusal> {
        let is_more = |own: Option<Micros>, longest: Option<Micros>| {
            own.is_some_and(|own| longest.is_some_and(|longest| own > longest))
        };
        if let Some(rule) = self.access.outside(&above.access) {
            return Err(Refusal::RuleOutsideParent(rule.to_string()));
        }
        if self.not_before.is_some() && self.not_before < above.not_before {
            return Err(Refusal::EarlierThanParent);
        }
        if is_more(self.max_token_ttl, above.max_token_ttl) {
            return Err(Refusal::LongerTokensThanParent);
        }
        if is_more(self.max_login_age, above.max_login_age) {
            return Err(Refusal::OlderLoginsThanParent);
        }
        Ok(above.meet(self))
    }

    /// The end of a token that is issued now and would have ended at `end`.
    pub fn token_end(&self, now: Micros, end: Micros) -> Micros {
        self.max_token_ttl.map_or(end, |longest| end.min(now.saturating_add(longest)))
    }

    /// Whether somebody who logged in like this may use it, or make it.
    ///
    /// # Errors
    ///
    /// What the login lacks.
    pub fn admit(&self, login: Login<'_>, now: Micros) -> Result<(), Refusal> {
        if self.max_login_age.is_some_and(|longest| now.saturating_sub(login.at) > longest) {
            return Err(Refusal::LoginTooOld);
        }
        match self.required_methods.iter().find(|wanted| !login.methods.contains(wanted)) {
            Some(method) => Err(Refusal::LoginWithout(method.clone())),
            None => Ok(()),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn methods(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn who_uses_it_must_have_logged_in_lately_and_as_it_is_asked() {
        let terms = Terms {
            max_login_age: Some(60),
            required_methods: methods(&["password", "totp"]).into_iter().collect(),
            ..Terms::default()
        };
        let admit = |names: &[&str], at| terms.admit(Login { methods: &methods(names), at }, 1_000);
        assert_eq!(admit(&["token", "totp", "password"], 940), Ok(()));
        assert_eq!(admit(&["totp", "password"], 939), Err(Refusal::LoginTooOld));
        assert_eq!(admit(&["password"], 1_000), Err(Refusal::LoginWithout("totp".into())));
        assert_eq!(Terms::default().admit(Login { methods: &[], at: Micros::MIN }, 1_000), Ok(()));
    }

    #[test]
    fn a_stricter_login_is_less() {
        let of = |age, names: &[&str]| Terms {
            max_login_age: age,
            required_methods: methods(names).into_iter().collect(),
            ..Terms::default()
        };
        let (hour, mfa) = (of(Some(60), &["password"]), of(None, &["totp"]));
        let both = of(Some(60), &["password", "totp"]);
        assert_eq!(hour.meet(&mfa), both);
        assert!(both.le(&hour) && both.le(&mfa) && !hour.le(&mfa) && !mfa.le(&hour));
        assert!(of(Some(59), &[]).le(&of(Some(60), &[])) && !of(None, &[]).le(&of(Some(60), &[])));
    }
}
