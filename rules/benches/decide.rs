//! `decide PATH N`: one of the rules' functions, so often, for tests/bench/counts.py to count its instructions.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::ExitCode;

use vicar_rules::ceiling::Ceilings;
use vicar_rules::delegation::{Chain, ChainFacts, Presence, Trust, Until, evaluate};
use vicar_rules::origin::Origin;
use vicar_rules::policy::{Fact, Facts, Op, Policy, Scope, Subject};
use vicar_rules::roles::{Implications, RoleSet};
use vicar_rules::terms::Terms;

/// Links of the chain.
const DEPTH: u32 = 4;

fn set(roles: &[&str]) -> RoleSet {
    roles.iter().map(|role| (*role).to_owned()).collect()
}

/// What user 0 delegates to user 1, who passes it on to 2, …
fn trusts() -> Vec<Trust> {
    (0..DEPTH)
        .map(|n| Trust {
            id: format!("trust-{n}"),
            trustor: "user-0".into(),
            trustee: format!("user-{}", n + 1),
            project: Some("project".into()),
            impersonation: true,
            roles: set(&["member", "reader"]),
            until: Until::At(2_000),
            remaining_uses: None,
            hops: DEPTH - n,
            parent: n.checked_sub(1).map(|above| format!("trust-{above}")),
            deleted_at: None,
            terms: Some(Terms::default()),
            external_id: None,
            binding: None,
            origin: Origin::default(),
            suspension: None,
            adoption: None,
            credential: None,
        })
        .collect()
}

fn chain(n: u32) -> Option<()> {
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    let implications = Implications::new([pair("admin", "member"), pair("member", "reader")]);
    let root_roles = set(&["admin", "member", "reader"]);
    let agents: BTreeMap<String, Presence> =
        (0..=DEPTH).map(|n| (format!("user-{n}"), Presence::Active)).collect();
    let facts = ChainFacts {
        now: 1_000,
        implications: &implications,
        root_roles: &root_roles,
        agents: &agents,
        project: Presence::Active,
        credential: None,
        ceilings: &Ceilings::default(),
    };
    let (leaf, rows) = (format!("trust-{}", DEPTH - 1), trusts());
    for _ in 0..n {
        let chain = Chain::assemble(&leaf, black_box(rows.clone()))?;
        evaluate(chain, black_box(&facts)).live()?;
    }
    Some(())
}

fn policy(n: u32) -> Option<()> {
    let policy = Policy::shipped().ok()?;
    let scope = Scope::Project { id: "project".into(), domain: Some("default".into()) };
    let subject = Subject::new("user", vec!["service".into()], scope);
    let facts = Facts::none().with(Fact::UserId, "another");
    for _ in 0..n {
        if !policy.allows(Op::ValidateToken, black_box(&subject), black_box(&facts)) {
            return None;
        }
    }
    Some(())
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let done = match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [_, "chain", n] => n.parse().ok().and_then(chain),
        [_, "policy", n] => n.parse().ok().and_then(policy),
        _ => None,
    };
    if done.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
