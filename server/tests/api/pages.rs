//! What the pages claim of Keystone's routes, compared with the routes.

use std::collections::BTreeSet;

use fancy_regex::Regex;
use vicar::routes::ROUTES;

/// The paths of a Keystone 30.0.0 that are not served here.
fn missing() -> BTreeSet<String> {
    let plain =
        |path: &str| Regex::new(r"\{[^}]*\}").expect("a pattern").replace_all(path, "{}").into_owned();
    let served: BTreeSet<String> = ROUTES.iter().map(|r| plain(r.path)).collect();
    include_str!("keystone-routes.txt")
        .lines()
        .filter_map(|line| line.split('\t').nth(1))
        .filter(|path| !served.contains(&plain(path)))
        .map(str::to_owned)
        .collect()
}

fn page(name: &str) -> String {
    let path = format!("{}/../docs/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).expect("the page")
}

#[test]
fn what_adopting_sends_to_the_keystone_is_what_is_not_served_here() {
    let page = page("adopting.md");
    let rules = page.lines().filter_map(|l| l.trim().strip_prefix("acl keystone_only "));
    let patterns: Vec<Regex> = rules
        .flat_map(|rule| match rule.strip_prefix("path_beg ") {
            Some(starts) => starts.split(' ').map(|s| format!("^{s}")).collect(),
            None => vec![rule.strip_prefix("path_reg ").unwrap_or_else(|| panic!("{rule}")).to_owned()],
        })
        .map(|pattern| Regex::new(&pattern).expect("a pattern"))
        .collect();
    assert!(!patterns.is_empty());
    let is_theirs = |path: &str| {
        let path = path.replace(['{', '}'], "");
        patterns.iter().any(|p| p.is_match(&path).expect("matches or not"))
    };
    for path in missing() {
        assert!(is_theirs(&path), "{path} is not served here, and not sent to the Keystone");
    }
    for route in ROUTES {
        assert!(!is_theirs(route.path), "{} is served here", route.path);
    }
}

#[test]
fn what_compatibility_lists_as_not_served_is_not_and_nothing_else() {
    let page = page("compatibility.md");
    let section = page.split("## Not served yet").nth(1).expect("the section");
    let listed: Vec<&str> = section
        .lines()
        .filter(|line| line.starts_with("| `"))
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .filter(|word| word.starts_with("/v3"))
        .collect();
    let missing = missing();
    for path in &missing {
        assert!(listed.iter().any(|l| path.starts_with(l)), "{path} is not served, and not listed");
    }
    for path in listed {
        assert!(missing.iter().any(|m| m.starts_with(path)), "{path} is listed, and not missing");
        assert!(!ROUTES.iter().any(|r| r.path.starts_with(path)), "{path} is listed, and served");
    }
}
