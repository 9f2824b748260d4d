use proptest::prelude::*;

use super::*;

pub(crate) fn rule(service: &str, method: &str, path: &str) -> AccessRule {
    AccessRule { service: service.into(), method: method.into(), path: path.into() }
}

/// Rules for reading these paths of compute.
pub(crate) fn gets(paths: &[&str]) -> BTreeSet<AccessRule> {
    paths.iter().map(|path| rule("compute", "GET", path)).collect()
}

/// The same as a limit.
pub(crate) fn limited(paths: &[&str]) -> Access {
    Access::only(&gets(paths))
}

#[test]
fn patterns_of_paths() {
    for (pattern, fits, not) in [
        ("/v3/users", &["/v3/users"][..], &["/v3/users/", "/v3/user", "/v3/usersx", "", "/V3/users"][..]),
        ("/v3/*", &["/v3/a", "/v3/a.b"], &["/v3/", "/v3", "/v3/a/b"]),
        ("/v3/*/x", &["/v3/a/x"], &["/v3//x", "/v3/a/b/x", "/v3/a/xx"]),
        ("/v3/{user_id}/x", &["/v3/a/x"], &["/v3//x", "/v3/a/b/x"]),
        ("/v3/**", &["/v3/", "/v3/a", "/v3/a/b"], &["/v3", "/v4/a"]),
        ("/**/x", &["//x", "/a/x", "/a/b/x", "/x/x"], &["/x", "/a/y"]),
        ("**", &["", "/", "/a/b"], &[]),
        ("/a*b", &["/axb", "/abb"], &["/ab", "/a/b"]),
        ("/a***", &["/ab", "/ab/c", "/a/b"], &["/a", "/a/"]),
        ("/{a", &["/{a"], &["/a", "/x"]),
        ("/a}", &["/a}"], &["/a"]),
        // Nothing else stands for something.
        ("/a.b", &["/a.b"], &["/axb"]),
        ("/(a|b)", &["/(a|b)"], &["/a", "/b"]),
        ("/ü*", &["/üö"], &["/u", "/ü"]),
    ] {
        for path in fits {
            assert!(path_matches(pattern, path), "{pattern} {path}");
        }
        for path in not {
            assert!(!path_matches(pattern, path), "{pattern} {path}");
        }
    }
    let identity = rule(IDENTITY, "GET", "/v3/*");
    assert!(identity.allows(IDENTITY, "GET", "/v3/users"));
    assert!(!identity.allows(IDENTITY, "HEAD", "/v3/users"));
    assert!(!identity.allows("compute", "GET", "/v3/users"));
}

#[test]
fn a_hostile_pattern_takes_no_longer_than_its_length() {
    let pattern = "/*a**".repeat(25);
    assert!(!path_matches(&pattern, &"/a".repeat(1_000)));
}

/// Patterns and literals of which some cover others.
const PATHS: [&str; 9] = ["/a", "/b", "/a/b", "/*", "/a/*", "/*/b", "/{x}", "/**", "/a.b"];

fn list() -> impl Strategy<Value = BTreeSet<AccessRule>> {
    let one = (0..PATHS.len(), prop_oneof![4 => Just("GET"), 1 => Just("PUT")])
        .prop_map(|(path, method)| rule("compute", method, PATHS[path]));
    proptest::collection::btree_set(one, 0..5)
}

fn access() -> impl Strategy<Value = Access> {
    proptest::collection::vec(list(), 0..4)
        .prop_map(|lists| lists.iter().fold(Access::default(), |all, list| all.meet(&Access::only(list))))
}

/// Requests that the paths above tell apart.
fn requests() -> impl Iterator<Item = (&'static str, &'static str)> {
    let paths = ["/a", "/b", "/c", "/a/b", "/a/c", "/c/b", "/a/b/c", "/a.b", "/"];
    paths.into_iter().flat_map(|path| [("GET", path), ("PUT", path)])
}

proptest! {
    #[test]
    fn access_is_a_meet_semilattice(a in access(), b in access(), c in access()) {
        prop_assert_eq!(a.meet(&b), b.meet(&a));
        prop_assert_eq!(a.meet(&a), a.clone());
        prop_assert_eq!(a.meet(&b).meet(&c), a.meet(&b.meet(&c)));
        prop_assert_eq!(a.meet(&Access::default()), a.clone());
        let m = a.meet(&b);
        prop_assert!(m.le(&a) && m.le(&b));
        prop_assert_eq!(c.le(&a) && c.le(&b), c.le(&m));
        prop_assert_eq!(a.le(&b), m == a);
        prop_assert!(!(a.le(&b) && b.le(&a)) || a == b);
        prop_assert!(!a.le(&b) || !b.is_limited() || a.is_limited());
    }

    /// The order and the meet say the truth about requests.
    #[test]
    fn less_access_allows_no_more_requests(a in access(), b in access()) {
        let (m, le) = (a.meet(&b), a.le(&b));
        for (method, path) in requests() {
            let allows = |x: &Access| x.allows("compute", method, path);
            prop_assert_eq!(allows(&m), allows(&a) && allows(&b));
            prop_assert!(!le || !allows(&a) || allows(&b));
        }
    }

    /// What services enforce is no more than what is allowed.
    #[test]
    fn one_list_allows_no_more_than_all(a in access()) {
        let one = a.rules();
        prop_assert_eq!(one.is_some(), a.is_limited());
        let Some(rules) = one else { return Ok(()) };
        prop_assert!(Access::only(&rules).le(&a));
        for (method, path) in requests() {
            let allowed = rules.iter().any(|rule| rule.allows("compute", method, path));
            prop_assert!(!allowed || a.allows("compute", method, path));
        }
    }
}

#[test]
fn a_narrower_list_takes_the_place_of_a_wider_one() {
    let of = limited;
    let (wide, narrow) = (of(&["/a/*", "/b"]), of(&["/a/x"]));
    assert_eq!(wide.meet(&narrow), narrow);
    assert!(narrow.le(&wide) && !wide.le(&narrow));
    assert_eq!(wide.outside(&narrow).map(ToString::to_string), Some("GET /a/* of compute".into()));
    assert_eq!(of(&["/a/*", "/a/x"]), of(&["/a/*"]));
    // Of two that cannot be compared, what both have.
    let beside = wide.meet(&of(&["/b", "/c"]));
    assert_eq!(beside.rules(), of(&["/b"]).rules());
    assert!(beside.allows("compute", "GET", "/b") && !beside.allows("compute", "GET", "/a/x"));
    // An empty list allows nothing; no list, everything.
    assert!(!of(&[]).allows("compute", "GET", "/b") && Access::default().allows("compute", "GET", "/b"));
    assert_eq!(of(&[]).rules(), Some(BTreeSet::new()));
}

/// Two lists are compared rule by rule: as many and as long ones as there can be, of the worst kind, are no matter.
#[test]
fn hostile_lists_are_compared_with_few_walks() {
    let literals: BTreeSet<_> =
        (0..32).map(|n| rule("compute", "GET", &format!("/{}{n:02}", "a".repeat(120)))).collect();
    // Of two literals none covers the other, and no walk tells so.
    let list = Access::only(&literals);
    assert_eq!(list.rules(), Some(literals.clone()));
    assert!(list.le(&Access::stored(literals)));
    let patterns: BTreeSet<_> =
        (0..32).map(|n| rule("compute", "GET", &format!("/{n:02}/{}b", "*a**".repeat(28)))).collect();
    assert_eq!(Access::only(&patterns).meet(&list).rules(), Some(BTreeSet::new()));
}
