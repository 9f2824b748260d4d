//! Who and what there is, and sets of roles as bits.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use vicar_rules::Micros;
use vicar_rules::access_rule::{Access, AccessRule};
use vicar_rules::origin::Origin;
use vicar_rules::policy::Policy;
use vicar_rules::roles::{Implications, RoleSet};

pub const SECOND: Micros = 1_000_000;
/// How long a token lives if nothing that it came from ends earlier: now this, now that.
pub const TOKEN_LIVES: [Micros; 3] = [40 * SECOND, 5 * SECOND, 40 * SECOND];
/// How long after its end a service may see a token (`allow_expired`).
pub const WINDOW: Micros = 25 * SECOND;

pub const USERS: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];
pub const PROJECTS: [&str; 3] = ["p", "q", "r"];
pub const DOMAINS: [&str; 2] = ["d0", "d1"];
pub const GROUPS: usize = 2;
/// Whoever can be given a role: the users, then the groups.
pub const ACTORS: usize = USERS.len() + GROUPS;
pub const ROLES: [&str; 5] = ["admin", "heat", "manager", "member", "reader"];

/// A set of roles as bits, so that the laws have a closure of their own.
pub type Mask = u8;
pub const ALL: Mask = (1 << ROLES.len()) - 1;

pub static SETS: LazyLock<Vec<RoleSet>> = LazyLock::new(|| {
    (0..=ALL)
        .map(|m| (0..ROLES.len()).filter(|r| m >> r & 1 == 1).map(|r| ROLES[r].to_owned()).collect())
        .collect()
});

pub static POLICY: LazyLock<Policy> = LazyLock::new(|| Policy::shipped().expect("the table parses"));

pub fn set(mask: Mask) -> &'static RoleSet {
    &SETS[usize::from(mask & ALL)]
}

pub fn mask(roles: &RoleSet) -> Mask {
    roles.iter().filter_map(|r| ROLES.iter().position(|x| x == r)).fold(0, |m, r| m | 1 << r)
}

/// Paths of access rules, and the requests of [`REQUESTS`] that each stands for.
pub const RULES: [(&str, Mask); 5] =
    [("/s/1", 0b001), ("/s/2", 0b010), ("/s/*", 0b011), ("/t", 0b100), ("/*/2", 0b010)];
pub const REQUESTS: [&str; 3] = ["/s/1", "/s/2", "/t"];
pub const EVERY_REQUEST: Mask = (1 << REQUESTS.len()) - 1;

/// One list of some of [`RULES`].
pub fn access(rules: Mask) -> Access {
    let some = RULES.iter().enumerate().filter(|(n, _)| rules >> n & 1 == 1);
    Access::only(&some.map(|(_, (path, _))| rule(path)).collect())
}

fn rule(path: &str) -> AccessRule {
    AccessRule { service: "compute".into(), method: "GET".into(), path: path.into() }
}

/// The requests that some of [`RULES`] stand for.
pub fn stand_for(rules: Mask) -> Mask {
    RULES.iter().enumerate().filter(|(n, _)| rules >> n & 1 == 1).fold(0, |all, (_, (_, mask))| all | mask)
}

/// The requests that are allowed, by the rules under test.
pub fn requests(access: &Access) -> Mask {
    let allowed = |n: &usize| access.allows("compute", "GET", REQUESTS[*n]);
    (0..REQUESTS.len()).filter(allowed).fold(0, |all, n| all | 1 << n)
}

/// What somebody says of the beginning of a chain: who, and now and then more.
pub fn origin(n: usize) -> Origin {
    let labels = (n % 2 == 1).then(|| ("n".to_owned(), n.to_string()));
    Origin { source_identity: Some(n.to_string()), labels: labels.into_iter().collect() }
}

pub fn within(inner: Mask, outer: Mask) -> bool {
    inner & !outer == 0
}

pub fn close(pairs: &BTreeSet<(usize, usize)>, mut roles: Mask) -> Mask {
    loop {
        let more = pairs
            .iter()
            .filter(|(prior, _)| roles >> prior & 1 == 1)
            .fold(roles, |m, (_, implied)| m | 1 << implied);
        if more == roles {
            return roles;
        }
        roles = more;
    }
}

pub fn implications(pairs: &BTreeSet<(usize, usize)>) -> Implications {
    Implications::new(pairs.iter().map(|(a, b)| (ROLES[*a].to_owned(), ROLES[*b].to_owned())))
}

pub fn domain_of(user_or_project: usize) -> usize {
    user_or_project % DOMAINS.len()
}
