//! Ceilings: how much may be delegated at all, as domains, projects and users set it.
//!
//! A ceiling limits nothing by default. Those of several levels hold together: a trust is within all of them when it is within
//! their [`Ceiling::meet`]. They are judged one by one, so that a refusal says whose ceiling it is, and so that one that is for
//! new trusts alone suspends nothing. Whatever a row says, a ceiling only takes away.

use std::collections::{BTreeMap, BTreeSet};

use crate::Micros;
use crate::delegation::{Chain, Until};
use crate::refusal::Refusal;
use crate::roles::{Implications, RoleSet};

/// The most that may be delegated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ceiling {
    /// The longest life of a trust, in microseconds.
    pub max_life: Option<Micros>,
    /// How many links a chain may have below its root.
    pub max_depth: Option<u32>,
    /// Roles that are never delegated, neither by themselves nor implied.
    pub never_roles: RoleSet,
    /// Who may be a trustee; anybody when it says nothing.
    pub trustees: Option<BTreeSet<String>>,
    /// Whether a trustee may act under the trustor's name.
    pub impersonation: bool,
    /// Whether every trust needs an end.
    pub end_required: bool,
    /// Whether trusts may have EC2 keypairs.
    pub keypairs: bool,
    /// Whether it holds for trusts from before it, too: what is above it gives nothing.
    pub applies_to_existing: bool,
}

impl Default for Ceiling {
    fn default() -> Self {
        Self {
            max_life: None,
            max_depth: None,
            never_roles: RoleSet::new(),
            trustees: None,
            impersonation: true,
            end_required: false,
            keypairs: true,
            applies_to_existing: false,
        }
    }
}

/// What is held against a ceiling: a link of a chain, or a keypair of one.
#[derive(Debug, Clone, Copy)]
pub struct Delegated<'a> {
    /// Its roles, with what they imply.
    pub roles: &'a RoleSet,
    /// Until when it gives them.
    pub until: Until,
    /// Whether it is under the trustor's name.
    pub impersonation: bool,
    /// Of a link, who receives it and how many links are above it; a keypair has neither.
    pub link: Option<(&'a str, u32)>,
}

impl Ceiling {
    /// The lower of each.
    pub fn meet(&self, other: &Self) -> Self {
        Self {
            max_life: lower(self.max_life, other.max_life),
            max_depth: lower(self.max_depth, other.max_depth),
            never_roles: &self.never_roles | &other.never_roles,
            trustees: match (&self.trustees, &other.trustees) {
                (Some(a), Some(b)) => Some(a & b),
                (a, b) => a.as_ref().or(b.as_ref()).cloned(),
            },
            impersonation: self.impersonation && other.impersonation,
            end_required: self.end_required || other.end_required,
            keypairs: self.keypairs && other.keypairs,
            applies_to_existing: self.applies_to_existing || other.applies_to_existing,
        }
    }

    /// Whether it is no higher than `other`, in each by itself.
    pub fn le(&self, other: &Self) -> bool {
        lower(self.max_life, other.max_life) == self.max_life
            && lower(self.max_depth, other.max_depth) == self.max_depth
            && self.never_roles.is_superset(&other.never_roles)
            && match (&self.trustees, &other.trustees) {
                (Some(own), Some(other)) => own.is_subset(other),
                (own, other) => own.is_some() || other.is_none(),
            }
            && self.impersonation <= other.impersonation
            && self.end_required >= other.end_required
            && self.keypairs <= other.keypairs
            && self.applies_to_existing >= other.applies_to_existing
    }

    /// What of this is above the ceiling, if something is. A life is counted from now on: nothing that was within the ceiling
    /// when it was made is above it later.
    pub fn exceeded(&self, what: Delegated<'_>, now: Micros) -> Option<Limit> {
        let life = self.max_life.filter(|longest| what.until > Until::At(now.saturating_add(*longest)));
        if self.end_required && what.until == Until::Never {
            return Some(Limit::End);
        }
        if let Some(longest) = life {
            return Some(Limit::Life(longest));
        }
        if let Some(role) = what.roles.iter().find(|role| self.never_roles.contains(*role)) {
            return Some(Limit::Role(role.clone()));
        }
        if what.impersonation && !self.impersonation {
            return Some(Limit::Impersonation);
        }
        match what.link {
            Some((trustee, _)) if self.trustees.as_ref().is_some_and(|may| !may.contains(trustee)) => {
                Some(Limit::Trustee(trustee.to_owned()))
            }
            Some((_, depth)) => self.max_depth.filter(|deepest| depth > *deepest).map(Limit::Depth),
            None => (!self.keypairs).then_some(Limit::Keypairs),
        }
    }
}

/// The lower of two; nothing is higher than any.
fn lower<T: Ord + Copy>(a: Option<T>, b: Option<T>) -> Option<T> {
    [a, b].into_iter().flatten().min()
}

/// Whose a ceiling is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// A domain's, for all projects and all users in it.
    Domain(String),
    /// A project's, for itself and those below it.
    Project(String),
    /// A user's, for what they delegate.
    User(String),
    /// A registered trustee's, for trusts to them and all below these.
    Trustee(String),
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Domain(id) => write!(f, "domain {id}"),
            Self::Project(id) => write!(f, "project {id}"),
            Self::User(id) => write!(f, "user {id}"),
            Self::Trustee(id) => write!(f, "trustee {id}"),
        }
    }
}

/// What is above a ceiling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Limit {
    /// It lives longer than this, in microseconds.
    Life(Micros),
    /// A chain has, or asks for, more links below its root.
    Depth(u32),
    /// This role is never delegated.
    Role(String),
    /// This user is none of the trustees.
    Trustee(String),
    /// It is under the trustor's name.
    Impersonation,
    /// It has no end.
    End,
    /// It is a keypair.
    Keypairs,
    /// Nobody knows: the ceiling is of a newer version, or spoilt.
    Unread,
}

/// What is above whose ceiling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Above {
    /// What.
    pub limit: Limit,
    /// Whose ceiling.
    pub holder: Holder,
}

impl std::fmt::Display for Above {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let of = &self.holder;
        match &self.limit {
            Limit::Life(longest) => {
                let seconds = longest / 1_000_000;
                write!(f, "expires_at: max_lifetime of {of} is {seconds} seconds")
            }
            Limit::Depth(deepest) => write!(f, "redelegation_count: max_depth of {of} is {deepest}"),
            Limit::Role(id) => write!(f, "roles: {id} is among never_roles of {of}"),
            Limit::Trustee(id) => {
                write!(f, "trustee_user_id: {id} is not among allowed_trustees of {of}")
            }
            Limit::Impersonation => write!(f, "impersonation is not allowed by {of}"),
            Limit::End => write!(f, "expires_at: expiry_required is set for {of}"),
            Limit::Keypairs => write!(f, "keypairs of trusts are not allowed by {of}"),
            Limit::Unread => write!(f, "the delegation policy of {of} cannot be read"),
        }
    }
}

/// The ceilings that hold for a chain, and those of trustees. One that is nothing cannot be read: under it nothing may be made,
/// and what is there gives nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ceilings {
    /// Those of its place and of its root trustor.
    pub levels: Vec<(Holder, Option<Ceiling>)>,
    /// Those of the trustees who are registered, by their ids.
    pub trustees: BTreeMap<String, Option<Ceiling>>,
    /// Whether new trusts go to registered trustees only.
    pub registered_only: bool,
}

impl Ceilings {
    /// Whether nothing is limited for what exists.
    fn are_none(&self) -> bool {
        self.levels.is_empty() && self.trustees.is_empty()
    }

    /// Those that hold for a link with this trustee, below links with these.
    fn of<'a>(
        &'a self,
        trustees: impl IntoIterator<Item = &'a str>,
    ) -> impl Iterator<Item = (Holder, Option<&'a Ceiling>)> {
        let own = self.levels.iter().map(|(holder, ceiling)| (holder.clone(), ceiling.as_ref()));
        let registered = trustees.into_iter().filter_map(|trustee| {
            Some((Holder::Trustee(trustee.to_owned()), self.trustees.get(trustee)?.as_ref()))
        });
        own.chain(registered)
    }

    /// How many redelegations a new link may be given that has so many above it, by all ceilings for it.
    pub(crate) fn room(&self, above: Option<&Chain>, trustee: &str) -> Option<(u32, Above)> {
        let depth = depth_below(above);
        self.of(trustees_of(above).chain([trustee]))
            .filter_map(|(holder, ceiling)| {
                let deepest = ceiling?.max_depth?;
                Some((deepest.saturating_sub(depth), Above { limit: Limit::Depth(deepest), holder }))
            })
            .min_by_key(|(left, _)| *left)
    }

    /// Whether this may be made below `above`, or as a root when there is nothing above it.
    ///
    /// # Errors
    ///
    /// The first thing that is above a ceiling, and whose.
    pub(crate) fn check(
        &self,
        above: Option<&Chain>,
        what: Delegated<'_>,
        now: Micros,
    ) -> Result<(), Refusal> {
        self.check_registered(what)?;
        let own = what.link.map(|(trustee, _)| trustee);
        self.check_under(trustees_of(above).chain(own), what, now)
    }

    /// The same of the last link of a chain, with the redelegations that it has left, as if it were made now.
    ///
    /// # Errors
    ///
    /// As [`Self::check`].
    pub(crate) fn check_last(
        &self,
        chain: &Chain,
        implications: &Implications,
        now: Micros,
    ) -> Result<(), Refusal> {
        let leaf = chain.leaf();
        let depth = depth_below(Some(chain)).saturating_sub(1);
        let what = Delegated {
            roles: &implications.closure(&leaf.roles),
            until: leaf.until,
            impersonation: leaf.impersonation,
            link: Some((&leaf.trustee, depth)),
        };
        self.check_registered(what)?;
        self.check_under(trustees_of(Some(chain)), what, now)?;
        let below = self.of(trustees_of(Some(chain))).filter_map(|(holder, ceiling)| {
            let deepest = ceiling?.max_depth?;
            (depth.saturating_add(leaf.hops) > deepest)
                .then_some(Above { limit: Limit::Depth(deepest), holder })
        });
        match below.into_iter().next() {
            Some(above) => Err(Refusal::AboveCeiling(above)),
            None => Ok(()),
        }
    }

    fn check_registered(&self, what: Delegated<'_>) -> Result<(), Refusal> {
        match what.link {
            Some((trustee, _)) if self.registered_only && !self.trustees.contains_key(trustee) => {
                Err(Refusal::TrusteeNotRegistered(trustee.to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// Whether this is within the ceilings of the place and of these trustees.
    fn check_under<'a>(
        &'a self,
        trustees: impl IntoIterator<Item = &'a str>,
        what: Delegated<'_>,
        now: Micros,
    ) -> Result<(), Refusal> {
        for (holder, ceiling) in self.of(trustees) {
            let limit = match ceiling {
                None => Some(Limit::Unread),
                Some(ceiling) => ceiling.exceeded(what, now),
            };
            if let Some(limit) = limit {
                return Err(Refusal::AboveCeiling(Above { limit, holder }));
            }
        }
        Ok(())
    }

    /// The first link of a chain that is above a ceiling which holds for what exists, and what of it is.
    pub(crate) fn suspends(
        &self,
        chain: &Chain,
        implications: &Implications,
        now: Micros,
    ) -> Option<(String, Above)> {
        if self.are_none() {
            return None;
        }
        for (depth, link) in (0..).zip(chain.links()) {
            let roles = implications.closure(&link.roles);
            let what = Delegated {
                roles: &roles,
                until: link.until,
                impersonation: link.impersonation,
                link: Some((&link.trustee, depth)),
            };
            let so_far = chain.links().iter().take(depth as usize + 1).map(|link| link.trustee.as_str());
            for (holder, ceiling) in self.of(so_far) {
                let limit = match ceiling {
                    None => Some(Limit::Unread),
                    Some(ceiling) if ceiling.applies_to_existing => ceiling.exceeded(what, now),
                    Some(_) => None,
                };
                if let Some(limit) = limit {
                    return Some((link.id.clone(), Above { limit, holder }));
                }
            }
        }
        None
    }

    /// Whether the keypairs of a chain give something, as far as ceilings for what exists go.
    pub(crate) fn let_keypairs(&self, chain: &Chain) -> bool {
        self.are_none()
            || self
                .of(trustees_of(Some(chain)))
                .all(|(_, ceiling)| ceiling.is_some_and(|c| c.keypairs || !c.applies_to_existing))
    }
}

/// How many links are above something new below a chain.
pub(crate) fn depth_below(above: Option<&Chain>) -> u32 {
    above.map_or(0, |chain| u32::try_from(chain.links().len()).unwrap_or(u32::MAX))
}

fn trustees_of(chain: Option<&Chain>) -> impl Iterator<Item = &str> {
    chain.map(Chain::links).unwrap_or_default().iter().map(|link| link.trustee.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Micros = 1_000;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn each_limit_refuses_what_is_above_it_and_nothing_else() {
        let roles = set(&["member", "reader"]);
        let link = |until, impersonation, depth| Delegated {
            roles: &roles,
            until,
            impersonation,
            link: Some(("bob", depth)),
        };
        let plain = link(Until::Never, true, 2);
        let none = Ceiling::default();
        assert_eq!(none.exceeded(plain, NOW), None);
        let life = Ceiling { max_life: Some(60), ..none.clone() };
        assert_eq!(life.exceeded(plain, NOW), Some(Limit::Life(60)));
        assert_eq!(life.exceeded(link(Until::At(NOW + 61), true, 2), NOW), Some(Limit::Life(60)));
        assert_eq!(life.exceeded(link(Until::At(NOW + 60), true, 2), NOW), None);
        let depth = |max_depth| Ceiling { max_depth: Some(max_depth), ..none.clone() };
        assert_eq!(depth(1).exceeded(plain, NOW), Some(Limit::Depth(1)));
        assert_eq!(depth(2).exceeded(plain, NOW), None);
        let never = |role: &str| Ceiling { never_roles: set(&[role]), ..none.clone() };
        assert_eq!(never("reader").exceeded(plain, NOW), Some(Limit::Role("reader".into())));
        assert_eq!(never("admin").exceeded(plain, NOW), None);
        let only = |users: &[&str]| Ceiling { trustees: Some(set(users)), ..none.clone() };
        assert_eq!(only(&["carol"]).exceeded(plain, NOW), Some(Limit::Trustee("bob".into())));
        assert_eq!(only(&[]).exceeded(plain, NOW), Some(Limit::Trustee("bob".into())));
        assert_eq!(only(&["bob", "carol"]).exceeded(plain, NOW), None);
        let own_name = Ceiling { impersonation: false, ..none.clone() };
        assert_eq!(own_name.exceeded(plain, NOW), Some(Limit::Impersonation));
        assert_eq!(own_name.exceeded(link(Until::Never, false, 2), NOW), None);
        let end = Ceiling { end_required: true, ..none.clone() };
        assert_eq!(end.exceeded(plain, NOW), Some(Limit::End));
        assert_eq!(end.exceeded(link(Until::At(Micros::MAX), true, 2), NOW), None);
        // A keypair has no trustee and no depth of its own.
        let keypair = Delegated { link: None, ..plain };
        let keypairs = Ceiling { keypairs: false, ..none.clone() };
        assert_eq!(
            (keypairs.exceeded(keypair, NOW), keypairs.exceeded(plain, NOW)),
            (Some(Limit::Keypairs), None)
        );
        assert_eq!(never("member").exceeded(keypair, NOW), Some(Limit::Role("member".into())));
        for other in [depth(0), only(&[])] {
            assert_eq!(other.exceeded(keypair, NOW), None);
        }
    }

    #[test]
    fn what_is_above_a_ceiling_is_said_in_words() {
        let holder = || Holder::Project("p".into());
        let id = || "x".to_owned();
        for (limit, holder, words) in [
            (Limit::Life(60_000_000), holder(), "expires_at: max_lifetime of project p is 60 seconds"),
            (Limit::Depth(2), Holder::Domain(id()), "redelegation_count: max_depth of domain x is 2"),
            (Limit::Role(id()), Holder::User(id()), "roles: x is among never_roles of user x"),
            (Limit::Trustee(id()), holder(), "trustee_user_id: x is not among allowed_trustees of project p"),
            (Limit::Impersonation, Holder::Trustee(id()), "impersonation is not allowed by trustee x"),
            (Limit::End, holder(), "expires_at: expiry_required is set for project p"),
            (Limit::Keypairs, holder(), "keypairs of trusts are not allowed by project p"),
            (Limit::Unread, holder(), "the delegation policy of project p cannot be read"),
        ] {
            assert_eq!(Above { limit, holder }.to_string(), words);
        }
    }
}
