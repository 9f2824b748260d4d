//! A rule covers another: then it allows every request that the other one allows, here and where services read it.

use std::cell::Cell;
use std::collections::BTreeSet;

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::sample::select;
use regex::Regex;
use vicar_rules::access_rule::{Access, AccessRule, path_matches};

use crate::drive::{Cases, drive};

/// What paths and patterns are made of.
const PARTS: &[&str] = &[
    "/", "/", "/", "a", "b", "a", ".", "v2.1", "-", "_", "~", ":", "@", "%2f", "é", "*", "*", "**", "***",
    "{x}", "{}", "{", "}", "{a*", "(", ")", "|", "+", "?", "[^/]", "\\", "$", "^", " ", "\n",
];
/// What a place in a path can be.
const FILLS: &[&str] = &["a", "b", "ab", ".", "a.b", "/", "a/b", "", "é", "a/", "\n", "-1", "*", "{x}"];

/// Parts of which every path has one meaning only.
const PLAIN: &[&str] = &["/", "/", "a", "b", ".", "é", "*", "**", "{x}"];

fn path() -> impl Strategy<Value = String> {
    let parts = prop_oneof![2 => vec(select(PLAIN), 0..8), 1 => vec(select(PARTS), 0..8)];
    parts.prop_map(|parts| format!("/{}", parts.concat()))
}

fn of(service: &str, method: &str, path: String) -> AccessRule {
    AccessRule { service: service.into(), method: method.into(), path }
}

fn rule() -> impl Strategy<Value = AccessRule> {
    let service = prop_oneof![4 => Just("compute"), 1 => Just("image")];
    let method = prop_oneof![4 => Just("GET"), 1 => Just("POST")];
    (service, method, path()).prop_map(|(service, method, path)| of(service, method, path))
}

/// A path in whose places something else appears, as a request of a pattern or a rule below it.
fn filled(pattern: &str, fills: &[&str]) -> String {
    let mut fills = fills.iter().cycle();
    let mut fill = || fills.next().copied().unwrap_or("a");
    let mut out = String::new();
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let taken = match (c, rest.find('}')) {
            ('{', Some(end)) => end + 1,
            ('*', _) if rest.starts_with("**") => 2,
            ('*', _) => 1,
            _ => 0,
        };
        if taken > 0 {
            out.push_str(fill());
        } else {
            out.push(c);
        }
        rest = &rest[taken.max(c.len_utf8())..];
    }
    out
}

/// Whether a path is one of a pattern, read from left to right with every choice tried.
fn naive(pattern: &[char], path: &[char]) -> bool {
    let Some(first) = pattern.first() else { return path.is_empty() };
    let within =
        |rest: &[char]| (1..=path.len()).take_while(|n| path[n - 1] != '/').any(|n| naive(rest, &path[n..]));
    match (first, pattern.iter().position(|c| *c == '}')) {
        ('{', Some(end)) => within(&pattern[end + 1..]),
        ('*', _) if pattern.get(1) == Some(&'*') => {
            (0..=path.len()).any(|n| naive(&pattern[2..], &path[n..]))
        }
        ('*', _) => within(&pattern[1..]),
        (literal, _) => path.first() == Some(literal) && naive(&pattern[1..], &path[1..]),
    }
}

/// A path as keystonemiddleware 13 reads it: a regular expression, of which it escapes nothing.
fn as_services_read(pattern: &str) -> Option<Regex> {
    let mut expression = String::from("^");
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let (text, taken) = match (c, rest.find('}')) {
            ('{', Some(end)) => ("[^/]+".to_owned(), end + 1),
            ('{' | '}', _) => (String::new(), 1),
            ('*', _) if rest.starts_with("**") => (".*".to_owned(), 2),
            ('*', _) => ("[^/]+".to_owned(), 1),
            _ => (c.to_string(), c.len_utf8()),
        };
        expression.push_str(&text);
        rest = &rest[taken..];
    }
    Regex::new(&(expression + "$")).ok()
}

fn chars(text: &str) -> Vec<char> {
    text.chars().collect()
}

#[derive(Debug, Clone)]
struct Case {
    a: AccessRule,
    b: AccessRule,
    c: AccessRule,
    requests: Vec<String>,
    lists: Vec<BTreeSet<AccessRule>>,
}

fn case() -> impl Strategy<Value = Case> {
    let fills = || vec(select(FILLS), 1..4);
    (rule(), rule(), rule(), fills(), fills(), any::<[bool; 2]>(), vec(path(), 3), vec(fills(), 4))
        .prop_flat_map(|(a, other, third, fill_b, fill_c, [b_below, c_below], paths, fills)| {
            let below = |rule: &AccessRule, fills: &[&str]| AccessRule {
                path: filled(&rule.path, fills),
                ..rule.clone()
            };
            let b = if b_below { below(&a, &fill_b) } else { other };
            let c = if c_below { below(&b, &fill_c) } else { third };
            let mut requests = paths;
            for rule in [&a, &b, &c] {
                requests.push(rule.path.clone());
                requests.extend(fills.iter().map(|fills| filled(&rule.path, fills)));
            }
            let all = [a.clone(), b.clone(), c.clone()];
            let lists = vec(btree_set(select(all.to_vec()), 0..4), 2..4);
            lists.prop_map(move |lists| {
                let [a, b, c] = all.clone();
                Case { a, b, c, requests: requests.clone(), lists }
            })
        })
}

fn check(case: Case, covered: &Cell<u64>) -> Result<(), TestCaseError> {
    let Case { a, b, c, requests, lists } = case;
    for rule in [&a, &b, &c] {
        prop_assert!(rule.covers(rule), "{} does not cover itself", rule);
        let pattern = chars(&rule.path);
        for path in &requests {
            prop_assert_eq!(path_matches(&rule.path, path), naive(&pattern, &chars(path)), "{:?}", path);
            prop_assert_eq!(
                rule.allows("compute", "GET", path),
                rule.service == "compute" && rule.method == "GET" && naive(&pattern, &chars(path))
            );
        }
    }
    prop_assert!(!(a.covers(&b) && b.covers(&c)) || a.covers(&c), "{} covers {} covers {}", a, b, c);
    for (wide, narrow) in [(&a, &b), (&b, &c), (&a, &c), (&b, &a)] {
        if !wide.covers(narrow) || wide == narrow {
            continue;
        }
        covered.set(covered.get() + 1);
        prop_assert_eq!((&wide.service, &wide.method), (&narrow.service, &narrow.method));
        let (here, below) = (chars(&wide.path), chars(&narrow.path));
        let services = as_services_read(&wide.path).zip(as_services_read(&narrow.path));
        for path in &requests {
            prop_assert!(
                !naive(&below, &chars(path)) || naive(&here, &chars(path)),
                "{} {} {:?}",
                wide,
                narrow,
                path
            );
            if let Some((wide, narrow)) = &services {
                prop_assert!(!narrow.is_match(path) || wide.is_match(path), "{} {} {:?}", wide, narrow, path);
            }
        }
    }
    let limits: Vec<Access> = lists.iter().map(Access::only).collect();
    let all = limits.iter().fold(Access::default(), |all, one| all.meet(one));
    let rules = all.rules().unwrap_or_default();
    for path in &requests {
        for (service, method) in [("compute", "GET"), ("compute", "POST"), ("image", "GET")] {
            let by = |rules: &BTreeSet<AccessRule>| {
                rules.iter().any(|rule| {
                    rule.service == service
                        && rule.method == method
                        && naive(&chars(&rule.path), &chars(path))
                })
            };
            let allowed = lists.iter().all(by);
            prop_assert_eq!(all.allows(service, method, path), allowed, "{:?}", path);
            prop_assert!(!by(&rules) || allowed, "services allow more: {:?}", path);
            for wider in &limits {
                prop_assert!(all.le(wider));
            }
        }
    }
    for (one, other) in [(&limits[0], &limits[1]), (&limits[1], &limits[0])] {
        if one.le(other) {
            prop_assert!(one.outside(other).is_none());
            for path in &requests {
                prop_assert!(!one.allows("compute", "GET", path) || other.allows("compute", "GET", path));
            }
        }
    }
    Ok(())
}

#[test]
fn access_rules() {
    let covered = Cell::new(0);
    let cases = Cases { short: 1_500, batch: 1_000 };
    let done = drive("access_rules", cases, &case(), || (), |(), case| check(case, &covered));
    assert!(covered.get() > done / 20, "{} of {done} cover another", covered.get());
}
