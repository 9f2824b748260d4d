//! Sets of roles and what follows from them.

use std::collections::{BTreeMap, BTreeSet};

/// A set of role ids.
pub type RoleSet = BTreeSet<String>;

/// The implied-role relation: prior role → roles that it implies directly.
#[derive(Debug, Clone, Default)]
pub struct Implications(BTreeMap<String, Vec<String>>);

impl Implications {
    /// Builds the relation from `(prior, implied)` pairs.
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut map: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (prior, implied) in pairs {
            map.entry(prior).or_default().push(implied);
        }
        Self(map)
    }

    /// The roles that `role` implies directly.
    pub fn of(&self, role: &str) -> &[String] {
        self.0.get(role).map(Vec::as_slice).unwrap_or_default()
    }

    /// The effective closure: the given roles and everything that they imply, directly or not.
    /// Safe on cycles, which Keystone's table may hold.
    pub fn closure<'a>(&self, roles: impl IntoIterator<Item = &'a String>) -> RoleSet {
        let mut seen = RoleSet::new();
        let mut todo: Vec<&String> = roles.into_iter().collect();
        while let Some(role) = todo.pop() {
            if seen.insert(role.clone()) {
                todo.extend(self.of(role));
            }
        }
        seen
    }

    /// The given roles and every role that implies one of them, directly or not. Safe on cycles.
    pub fn with_priors<'a>(&self, roles: impl IntoIterator<Item = &'a String>) -> RoleSet {
        let mut found: RoleSet = roles.into_iter().cloned().collect();
        loop {
            let more: Vec<&String> = self
                .pairs()
                .filter(|(prior, implied)| found.contains(*implied) && !found.contains(*prior))
                .map(|(prior, _)| prior)
                .collect();
            if more.is_empty() {
                return found;
            }
            found.extend(more.into_iter().cloned());
        }
    }

    /// Every `(prior, implied)` pair.
    pub fn pairs(&self) -> impl Iterator<Item = (&String, &String)> {
        self.0.iter().flat_map(|(prior, implied)| implied.iter().map(move |i| (prior, i)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closure_follows_chains_and_survives_cycles() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        let imp =
            Implications::new([pair("admin", "member"), pair("member", "reader"), pair("reader", "admin")]);
        let all: RoleSet = ["admin", "member", "reader"].map(String::from).into();
        assert_eq!(imp.closure(&["member".to_owned()]), all);
        assert_eq!(imp.closure(&["other".to_owned()]), RoleSet::from(["other".to_owned()]));
    }

    #[test]
    fn priors_are_all_that_imply_a_role() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        let imp = Implications::new([
            pair("admin", "member"),
            pair("member", "reader"),
            pair("heat", "heat"),
            pair("reader", "other"),
        ]);
        let of = |role: &str| imp.with_priors(&[role.to_owned()]);
        assert_eq!(of("reader"), ["admin", "member", "reader"].map(String::from).into());
        assert_eq!(of("heat"), RoleSet::from(["heat".to_owned()]));
        assert_eq!(of("unknown"), RoleSet::from(["unknown".to_owned()]));
        let circle = Implications::new([pair("a", "b"), pair("b", "a")]);
        assert_eq!(circle.with_priors(&["a".to_owned()]), ["a", "b"].map(String::from).into());
    }
}
