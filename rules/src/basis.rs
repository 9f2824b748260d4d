//! On what a role rests that somebody holds: which grant gives it, and for how long a membership lasts that came with a login.
//!
//! Several ways may lead to a role. It rests on the one that lasts longest, since the others can go without it.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::Micros;
use crate::delegation::Until;
use crate::loss::Place;
use crate::roles::{Implications, RoleSet};

/// By what somebody has a grant. What lasts longer, and is simpler, comes first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum By {
    /// It is their own.
    User,
    /// It is one of a group that they are in.
    Group(String),
    /// It is one of a group that an identity provider said at a login.
    Membership {
        /// The group.
        group: String,
        /// The identity provider.
        provider: String,
        /// The time of that membership.
        term: Term,
    },
}

/// The time of a membership: from the last login on, until its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Term {
    /// When the provider said it last.
    pub since: Micros,
    /// From when on it counts no more.
    pub until: Micros,
}

impl Term {
    /// When it is to be said that it ends: `notice` before, or at half its time where it is no longer than that.
    pub fn notice_at(self, notice: Micros) -> Micros {
        let length = self.until.saturating_sub(self.since);
        self.until.saturating_sub(if length > notice { notice } else { length / 2 })
    }
}

/// One grant of a role that counts in a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// The role.
    pub role: String,
    /// By what they have it.
    pub by: By,
    /// The project or domain above that passes it on.
    pub inherited_from: Option<Place>,
}

/// What a role rests on. The order is that of preference: what lasts longer, what is granted itself, in the place itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Basis {
    lasts: Reverse<Until>,
    /// The role that is granted and implies it, if it is not granted itself.
    pub implied_by: Option<String>,
    /// The project or domain above that passes it on.
    pub inherited_from: Option<Place>,
    /// By what the grant is theirs.
    pub by: By,
}

impl Basis {
    fn of(way: &Way, role: &str) -> Self {
        let until = match &way.by {
            By::User | By::Group(_) => Until::Never,
            By::Membership { term, .. } => Until::At(term.until),
        };
        Self {
            lasts: Reverse(until),
            implied_by: (way.role != role).then(|| way.role.clone()),
            inherited_from: way.inherited_from.clone(),
            by: way.by.clone(),
        }
    }

    /// The time of the membership on which it rests alone; nothing if it rests on what does not end by itself.
    pub fn term(&self) -> Option<Term> {
        match &self.by {
            By::User | By::Group(_) => None,
            By::Membership { term, .. } => Some(*term),
        }
    }
}

/// What each of some roles rests on. A role to which no way leads is left out: it is not held.
pub fn bases(roles: &RoleSet, ways: &[Way], implied: &Implications) -> BTreeMap<String, Basis> {
    let of = |role: &String| {
        let priors = implied.with_priors([role]);
        let leading = ways.iter().filter(|way| priors.contains(&way.role));
        let best = leading.map(|way| Basis::of(way, role)).min()?;
        Some((role.clone(), best))
    };
    roles.iter().filter_map(of).collect()
}

/// The time of the membership with whose end the first of some roles is lost; nothing if none is lost by time. What is not
/// held is lost already.
pub fn lapse(bases: &BTreeMap<String, Basis>, roles: &RoleSet) -> Option<Term> {
    roles.iter().filter_map(|role| bases.get(role)?.term()).min_by_key(|term| term.until)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(role: &str, by: By) -> Way {
        Way { role: role.into(), by, inherited_from: None }
    }

    fn came(group: &str, since: Micros, until: Micros) -> By {
        By::Membership { group: group.into(), provider: "idp".into(), term: Term { since, until } }
    }

    fn roles(names: &[&str]) -> RoleSet {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn implied() -> Implications {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        Implications::new([pair("admin", "member"), pair("member", "reader"), pair("reader", "admin")])
    }

    #[test]
    fn a_role_rests_on_what_lasts_longest_and_is_simplest() {
        let below = |from: &str| Some(Place::Domain(from.to_owned()));
        let inherited = Way { inherited_from: below("d"), ..way("member", By::User) };
        let all = [
            way("member", came("late", 0, 9)),
            way("member", came("early", 0, 5)),
            inherited.clone(),
            way("admin", By::User),
            way("member", By::Group("g".into())),
            way("member", By::User),
        ];
        // From the last one on, each is the best of those that are left.
        let best = |left: usize| {
            let found = bases(&roles(&["member"]), &all[..left], &Implications::default());
            found.get("member").map(|basis| (basis.by.clone(), basis.inherited_from.clone()))
        };
        assert_eq!(best(6), Some((By::User, None)));
        assert_eq!(best(5), Some((By::Group("g".into()), None)));
        assert_eq!(best(4), Some((By::User, below("d"))));
        assert_eq!(best(2), Some((came("late", 0, 9), None)));
        assert_eq!(best(0), None);
        // What another role implies is held as long as that.
        let found = bases(&roles(&["reader", "member"]), &all[..4], &implied());
        let of = |role: &str| found.get(role).map(|b| (b.implied_by.as_deref(), b.inherited_from.is_some()));
        assert_eq!((of("member"), of("reader")), (Some((None, true)), Some((Some("admin"), false))));
        assert_eq!(lapse(&found, &roles(&["reader", "member"])), None);
    }

    #[test]
    fn what_lapses_first_ends_all() {
        let ways = [
            way("a", came("g", 1, 8)),
            way("a", came("h", 2, 9)),
            way("b", came("g", 1, 8)),
            way("c", By::User),
        ];
        let all = bases(&roles(&["a", "b", "c"]), &ways, &Implications::default());
        let of = |names: &[&str]| lapse(&all, &roles(names));
        assert_eq!(of(&["a"]), Some(Term { since: 2, until: 9 }));
        assert_eq!(of(&["a", "b", "c"]), Some(Term { since: 1, until: 8 }));
        assert_eq!((of(&["c"]), of(&["unknown"])), (None, None));
    }

    #[test]
    fn it_is_said_in_time_and_not_with_the_login() {
        let term = |until| Term { since: 100, until };
        assert_eq!(term(200).notice_at(10), 190);
        assert_eq!(term(111).notice_at(10), 101);
        assert_eq!(term(110).notice_at(10), 105);
        assert_eq!(term(101).notice_at(10), 101);
    }
}
