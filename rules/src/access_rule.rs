//! Access rules: which requests a delegation may be used for.
//!
//! The form is that of Keystone's application credentials (its spec "Capabilities for application credentials"), and services
//! enforce them with keystonemiddleware. What is narrower is found by the text of two rules alone: one covers another if they are
//! equal, or the other is a literal path that the first one's pattern stands for. Of two different patterns nothing is said, and so
//! neither covers the other.

use std::collections::BTreeSet;

/// The service type of this server, as access rules name it.
pub const IDENTITY: &str = "identity";

/// One kind of request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AccessRule {
    /// The type of the service.
    pub service: String,
    /// The method, in capital letters.
    pub method: String,
    /// The path: `{name}` and `*` match at least one character, none of which is `/`; `**` matches anything.
    pub path: String,
}

impl AccessRule {
    /// Whether it allows a request.
    pub fn allows(&self, service: &str, method: &str, path: &str) -> bool {
        self.service == service && self.method == method && path_matches(&self.path, path)
    }

    /// Whether it allows all that another one does. Of two different patterns nothing is said.
    ///
    /// Services take a path for a regular expression (keystonemiddleware encodes none of its characters), so a path of
    /// others than these is a pattern, and a full stop stands for any character.
    pub fn covers(&self, other: &Self) -> bool {
        if self == other {
            return true;
        }
        // Most pairs are told apart by what comes before the first part that stands for something.
        let Some(first) = self.path.find(['*', '{']) else { return false };
        let prefix = self.path.get(..first).unwrap_or_default();
        let same_kind = self.service == other.service && self.method == other.method;
        let is_literal = || other.path.chars().all(|c| c.is_alphanumeric() || "/-_.~:@%".contains(c));
        same_kind
            && other.path.starts_with(prefix)
            && is_literal()
            && walk(&parts(&self.path), &other.path, |c| !matches!(c, '/' | '.'))
    }
}

/// A part of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Exactly(char),
    /// At least one character other than `/`.
    Within,
    Anything,
}

fn parts(pattern: &str) -> Vec<Part> {
    let mut out = Vec::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        let (part, taken) = match first {
            '{' => match rest.find('}') {
                Some(end) => (Part::Within, end + 1),
                None => (Part::Exactly('{'), 1),
            },
            '*' if rest.starts_with("**") => (Part::Anything, 2),
            '*' => (Part::Within, 1),
            other => (Part::Exactly(other), other.len_utf8()),
        };
        out.push(part);
        rest = rest.get(taken..).unwrap_or_default();
    }
    // Each state of the walk below is a place between parts; one `**` is as good as many.
    out.dedup_by(|a, b| *a == Part::Anything && *b == Part::Anything);
    out
}

/// Whether a path is one that a pattern stands for. It takes time for the product of both lengths, and no more.
pub fn path_matches(pattern: &str, path: &str) -> bool {
    walk(&parts(pattern), path, |c| c != '/')
}

/// The same, with the characters of which one place of `*` can consist.
fn walk(parts: &[Part], path: &str, within: impl Fn(char) -> bool) -> bool {
    // Whether the path up to here may end before the n-th part.
    let mut before = vec![false; parts.len() + 1];
    let mut after = before.clone();
    if let Some(start) = before.first_mut() {
        *start = true;
    }
    skip_empty(parts, &mut before);
    for c in path.chars() {
        after.fill(false);
        for (n, part) in parts.iter().enumerate().filter(|(n, _)| before.get(*n) == Some(&true)) {
            let (stays, goes_on) = match part {
                Part::Exactly(wanted) => (false, c == *wanted),
                Part::Within => (within(c), within(c)),
                Part::Anything => (true, false),
            };
            for at in [stays.then_some(n), goes_on.then_some(n + 1)].into_iter().flatten() {
                if let Some(reached) = after.get_mut(at) {
                    *reached = true;
                }
            }
        }
        skip_empty(parts, &mut after);
        std::mem::swap(&mut before, &mut after);
        if !before.contains(&true) {
            return false;
        }
    }
    before.last() == Some(&true)
}

/// `**` matches the empty string too.
fn skip_empty(parts: &[Part], reached: &mut [bool]) {
    for (n, part) in parts.iter().enumerate() {
        if *part == Part::Anything
            && reached.get(n) == Some(&true)
            && let Some(next) = reached.get_mut(n + 1)
        {
            *next = true;
        }
    }
}

/// The requests that an authority may be used for: those that each of its lists allows. Without a list, all.
///
/// A delegation adds its own list to those above it, so that what is left is what all of them allow. Lists are kept without rules
/// that another one of the same list covers, and without lists that a narrower one makes superfluous; two of these that
/// allow the same by their rules are equal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Access {
    lists: BTreeSet<BTreeSet<AccessRule>>,
}

impl Access {
    /// What one list of rules allows. An empty one allows nothing.
    pub fn only(rules: &BTreeSet<AccessRule>) -> Self {
        let covered = |rule: &&AccessRule| rules.iter().any(|other| other != *rule && other.covers(rule));
        let least: BTreeSet<AccessRule> = rules.iter().filter(|rule| !covered(rule)).cloned().collect();
        Self { lists: BTreeSet::from([least]) }
    }

    /// A list that [`rules`](Self::rules) made: it has no rule that another one covers, and is not looked through for such.
    pub fn stored(rules: BTreeSet<AccessRule>) -> Self {
        Self { lists: BTreeSet::from([rules]) }
    }

    /// Whether it is limited at all.
    pub fn is_limited(&self) -> bool {
        !self.lists.is_empty()
    }

    /// Whether it is a list without rules.
    pub fn allows_nothing(&self) -> bool {
        self.lists.iter().any(BTreeSet::is_empty)
    }

    /// What both allow.
    pub fn meet(&self, other: &Self) -> Self {
        let all: BTreeSet<&BTreeSet<AccessRule>> = self.lists.iter().chain(&other.lists).collect();
        let superfluous = |list: &BTreeSet<AccessRule>| all.iter().any(|l| *l != list && covered_by(l, list));
        Self { lists: all.iter().filter(|list| !superfluous(list)).map(|list| (*list).clone()).collect() }
    }

    /// Whether it is provably no more than `other`.
    pub fn le(&self, other: &Self) -> bool {
        other.lists.iter().all(|wider| self.lists.iter().any(|list| covered_by(list, wider)))
    }

    /// Whether all that a rule allows is provably allowed.
    fn covers(&self, rule: &AccessRule) -> bool {
        self.lists.iter().all(|list| list.contains(rule) || list.iter().any(|own| own.covers(rule)))
    }

    /// The first rule that is not provably within `wider`.
    pub fn outside(&self, wider: &Self) -> Option<&AccessRule> {
        self.lists.iter().flatten().find(|rule| !wider.covers(rule))
    }

    /// Whether it allows a request.
    pub fn allows(&self, service: &str, method: &str, path: &str) -> bool {
        self.lists.iter().all(|list| list.iter().any(|rule| rule.allows(service, method, path)))
    }

    /// As one list, for services that enforce one: the rules that all lists provably allow; nothing when it is not limited.
    /// Of a lawful chain it is the last list.
    pub fn rules(&self) -> Option<BTreeSet<AccessRule>> {
        let all = self.lists.iter().flatten();
        self.is_limited().then(|| all.filter(|rule| self.covers(rule)).cloned().collect())
    }
}

/// Whether each rule is covered by one of a list.
fn covered_by(rules: &BTreeSet<AccessRule>, list: &BTreeSet<AccessRule>) -> bool {
    rules.iter().all(|rule| list.contains(rule) || list.iter().any(|wide| wide.covers(rule)))
}

impl std::fmt::Display for AccessRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} of {}", self.method, self.path, self.service)
    }
}

#[cfg(test)]
pub(crate) mod tests;
