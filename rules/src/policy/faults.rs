//! What in a set of rules has no meaning here, and which rules allow nothing because of it.

use std::collections::{BTreeMap, BTreeSet};

use super::check::{Check, Unknown};

/// So many rules may not refer to each other in a row.
const DEEPEST: usize = 16;

/// What has no meaning, with the rules in which it is written.
pub(super) type Faults = BTreeMap<Unknown, BTreeSet<String>>;

/// Looks through all rules. `of` is the rule that a name refers to; a name without one is a check that is false,
/// as with oslo.policy, unless a `not` would make it true.
pub(super) fn find<'a>(
    checks: &'a BTreeMap<String, Check>,
    of: impl Fn(&'a str) -> Option<&'a str>,
) -> (Faults, BTreeSet<String>) {
    let mut faults = Faults::new();
    let references: BTreeMap<&str, Vec<&str>> =
        checks.iter().map(|(name, check)| (name.as_str(), references(check))).collect();
    let refers: BTreeMap<&str, Vec<&str>> =
        references.iter().map(|(name, to)| (*name, to.iter().filter_map(|to| of(to)).collect())).collect();
    for (name, check) in checks {
        check.visit(&mut |part| match part {
            Check::Unknown(unknown) => {
                faults.entry(unknown.clone()).or_default().insert(name.clone());
            }
            Check::Not(inner) => {
                for to in self::references(inner) {
                    if let Some(missing) = missing(&references, &of, to) {
                        let why = format!("it is denied, but refers to a rule that is not there: {missing}");
                        let unknown = Unknown { check: format!("not rule:{to}"), why };
                        faults.entry(unknown).or_default().insert(name.clone());
                    }
                }
            }
            _ => {}
        });
    }
    for name in too_deep(&refers) {
        let why = format!("it refers to itself, or through {DEEPEST} rules or more in a row");
        let unknown = Unknown { check: format!("rule:{name}"), why };
        faults.entry(unknown).or_default().insert(name.to_owned());
    }
    let with_faults: BTreeSet<&String> = faults.values().flatten().collect();
    let refusing = upwards(&refers, |name| with_faults.contains(&name.to_owned()));
    let refusing = refusing.into_iter().map(str::to_owned).collect();
    (faults, refusing)
}

/// A name without a rule that a name leads to, itself or through rules; there it is false.
fn missing<'a>(
    references: &BTreeMap<&'a str, Vec<&'a str>>,
    of: impl Fn(&'a str) -> Option<&'a str>,
    name: &'a str,
) -> Option<&'a str> {
    let mut todo = vec![name];
    let mut seen = BTreeSet::new();
    while let Some(name) = todo.pop() {
        let Some(rule) = of(name) else { return Some(name) };
        if seen.insert(rule) {
            todo.extend(references.get(rule).into_iter().flatten());
        }
    }
    None
}

fn references(check: &Check) -> Vec<&str> {
    let mut found = Vec::new();
    check.visit(&mut |part| {
        if let Check::Rule(name) = part {
            found.push(name.as_str());
        }
    });
    found
}

/// Those for which something holds, and those that refer to one of them, at whatever distance.
fn upwards<'a>(refers: &BTreeMap<&'a str, Vec<&'a str>>, holds: impl Fn(&str) -> bool) -> BTreeSet<&'a str> {
    let mut from: BTreeMap<&str, Vec<&'a str>> = BTreeMap::new();
    for (name, to) in refers {
        to.iter().for_each(|to| from.entry(to).or_default().push(name));
    }
    let mut todo: Vec<&str> = refers.keys().copied().filter(|name| holds(name)).collect();
    let mut found = BTreeSet::new();
    while let Some(name) = todo.pop() {
        if found.insert(name) {
            todo.extend(from.get(name).into_iter().flatten());
        }
    }
    found
}

/// Rules with [`DEEPEST`] or more below them in a row; in a circle there is no end to it.
fn too_deep<'a>(refers: &BTreeMap<&'a str, Vec<&'a str>>) -> BTreeSet<&'a str> {
    let mut left: BTreeSet<&str> = refers.keys().copied().collect();
    for _ in 0..DEEPEST {
        // Each round takes away those with nothing left below.
        let ends = |name: &&str| refers.get(name).is_none_or(|to| !to.iter().any(|to| left.contains(to)));
        let done: Vec<&str> = left.iter().copied().filter(ends).collect();
        done.iter().for_each(|name| {
            left.remove(name);
        });
    }
    left
}
