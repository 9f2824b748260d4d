//! Rows that nobody could have made: one wrong cell, or a missing row.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{TestCaseError, TestRunner};

use vicar_rules::Micros;
use vicar_rules::access_rule::Access;
use vicar_rules::binding::{Binding, Workload};
use vicar_rules::ceiling::Ceilings;
use vicar_rules::delegation::{
    Chain, ChainFacts, Presence, Presented, Trust, TrustStatus, Until, admit, evaluate, subtree,
};
use vicar_rules::keypair::{KeypairRequest, Narrowing, bind, exchange};
use vicar_rules::origin::Origin;
use vicar_rules::terms::{Login, Terms};

use crate::names::*;
use crate::{Verdict, config};

/// One wrong cell, or a missing row.
#[derive(Debug, Clone)]
enum Tamper {
    Ends(Option<Micros>),
    Roles(Mask),
    Project(Option<usize>),
    Imp(bool),
    Hops(u32),
    Trustor(usize),
    Trustee(usize),
    Parent(Option<usize>),
    Uses(Option<u32>),
    Deleted,
    Lost,
    /// A list of access rules, a beginning, the life of tokens; or terms that cannot be read.
    Terms(Option<(Mask, Option<Micros>, Option<Micros>)>),
    /// Another workload of [`bindings`].
    Binding(usize),
}

/// What trusts are bound to, each with those of [`comers`] that it is for.
fn bindings() -> [(Binding, &'static [usize]); 5] {
    let signed = |issuer: &str, audience: Option<&str>| Binding::Signed {
        issuer: issuer.into(),
        subject: "web".into(),
        audience: audience.map(str::to_owned),
    };
    [
        (signed("cluster", None), &[1, 2, 6]),
        (signed("cluster", Some("vicar")), &[1, 6]),
        (signed("other", None), &[4, 7]),
        (Binding::Certificate("A".into()), &[5, 6]),
        (Binding::Certificate("B".into()), &[7]),
    ]
}

/// Who comes to use one: by the word of a provider, and with a certificate.
fn comers() -> [(Option<Workload>, Option<&'static str>); 8] {
    let of = |issuer: &str, subject: &str, audience: &str| {
        Some(Workload {
            issuer: issuer.into(),
            subject: subject.into(),
            audiences: BTreeSet::from([audience.into(), "cluster".into()]),
        })
    };
    [
        (None, None),
        (of("cluster", "web", "vicar"), None),
        (of("cluster", "web", "heat"), None),
        (of("cluster", "db", "vicar"), None),
        (of("other", "web", "vicar"), None),
        (None, Some("A")),
        (of("cluster", "web", "vicar"), Some("A")),
        (of("other", "web", "A"), Some("B")),
    ]
}

#[derive(Debug, Clone)]
struct Ruin {
    length: usize,
    imp: usize,
    tampers: Vec<(usize, Tamper)>,
    pairs: Vec<(usize, usize)>,
    root_roles: Mask,
    absent: Vec<(usize, Presence)>,
    project: Presence,
    keypair: (Option<Mask>, Option<Micros>, Mask),
}

const NOW: Micros = 100;

fn ruin() -> impl Strategy<Value = Ruin> {
    let not_there = select(&[Presence::Disabled, Presence::DomainDisabled, Presence::Missing][..]);
    let ends = prop::option::of(NOW - 2..NOW + 8);
    let begins = prop::option::of(NOW - 3..NOW + 2);
    let tamper = prop_oneof![
        3 => ends.clone().prop_map(Tamper::Ends),
        3 => (0..=ALL).prop_map(Tamper::Roles),
        1 => prop::option::of(0..PROJECTS.len()).prop_map(Tamper::Project),
        1 => any::<bool>().prop_map(Tamper::Imp),
        1 => (0..6_u32).prop_map(Tamper::Hops),
        1 => (0..USERS.len()).prop_map(Tamper::Trustor),
        1 => (0..USERS.len()).prop_map(Tamper::Trustee),
        2 => prop::option::of(0..6_usize).prop_map(Tamper::Parent),
        1 => prop::option::of(0..3_u32).prop_map(Tamper::Uses),
        1 => Just(Tamper::Deleted),
        1 => Just(Tamper::Lost),
        3 => prop::option::weighted(0.9, (0..1_u8 << RULES.len(), begins, prop::option::of(0..9_i64)))
            .prop_map(Tamper::Terms),
        2 => (0..bindings().len()).prop_map(Tamper::Binding),
    ];
    (
        (1..=4_usize, 0..=4_usize),
        vec((0..4_usize, tamper), 0..4),
        vec((0..ROLES.len(), 0..ROLES.len()), 0..3),
        prop_oneof![2 => Just(ALL), 1 => 0..=ALL],
        vec((0..USERS.len(), not_there.clone()), 0..2),
        prop_oneof![9 => Just(Presence::Active), 1 => not_there],
        (prop::option::of(0..=ALL), ends, 0..1_u8 << RULES.len()),
    )
        .prop_map(|((length, imp), tampers, pairs, root_roles, absent, project, keypair)| Ruin {
            length,
            imp,
            tampers,
            pairs,
            root_roles,
            absent,
            project,
            keypair,
        })
}

/// A lawful chain, then the wrong cells.
fn ruined(r: &Ruin) -> Vec<Trust> {
    let mut rows: Vec<Trust> = Vec::new();
    for n in 0..r.length {
        let above = rows.last();
        let imp = n < r.imp;
        rows.push(Trust {
            id: format!("t{n}"),
            trustor: above.map_or(USERS[0].to_owned(), |a| {
                let speaks = if a.impersonation { &a.trustor } else { &a.trustee };
                speaks.clone()
            }),
            trustee: USERS[n + 1].to_owned(),
            project: Some(PROJECTS[0].to_owned()),
            impersonation: imp,
            roles: set(ALL >> n).clone(),
            until: Until::At(NOW + 6 - n as Micros),
            remaining_uses: None,
            hops: 4 - n as u32,
            parent: above.map(|a| a.id.clone()),
            deleted_at: None,
            terms: Some(Terms::default()),
            external_id: None,
            binding: None,
            origin: Origin::default(),
            suspension: None,
            adoption: None,
            credential: None,
        });
    }
    let mut lost = BTreeSet::new();
    for (n, tamper) in &r.tampers {
        let n = n % r.length;
        let row = &mut rows[n];
        match tamper {
            Tamper::Ends(at) => row.until = Until::from_option(*at),
            Tamper::Roles(m) => row.roles = set(*m).clone(),
            Tamper::Project(p) => row.project = p.map(|p| PROJECTS[p].to_owned()),
            Tamper::Imp(imp) => row.impersonation = *imp,
            Tamper::Hops(hops) => row.hops = *hops,
            Tamper::Trustor(u) => row.trustor = USERS[*u].to_owned(),
            Tamper::Trustee(u) => row.trustee = USERS[*u].to_owned(),
            Tamper::Parent(p) => row.parent = p.map(|p| format!("t{p}")),
            Tamper::Uses(n) => row.remaining_uses = *n,
            Tamper::Terms(None) => row.terms = None,
            Tamper::Terms(Some((rules, not_before, max_token_ttl))) => {
                row.terms = Some(Terms {
                    access: access(*rules),
                    not_before: *not_before,
                    max_token_ttl: *max_token_ttl,
                    ..Terms::default()
                });
            }
            Tamper::Binding(which) => row.binding = Some(bindings()[*which].0.clone()),
            Tamper::Deleted => row.deleted_at = Some(NOW - 1),
            Tamper::Lost => {
                lost.insert(format!("t{n}"));
            }
        }
    }
    rows.retain(|row| !lost.contains(&row.id));
    rows
}

/// The links above and with `leaf`, leaf first; nothing on a circle or when one is missing.
fn walk<'a>(leaf: &'a Trust, rows: &'a [Trust]) -> Option<Vec<&'a Trust>> {
    let mut up = vec![leaf];
    while let Some(id) = &up[up.len() - 1].parent {
        let above = rows.iter().find(|r| r.id == *id)?;
        if up.iter().any(|l| l.id == *id) {
            return None;
        }
        up.push(above);
    }
    Some(up)
}

/// Whatever the rows say, they can only narrow: what a chain gives is no more than the root holds
/// now and no more than each link gives ("No escalation" … "No upgrade", without trusting the
/// store), and looking at it never fails ("Owners see all").
fn wrong_rows_only_narrow(r: &Ruin, note: &dyn Fn(&str)) -> Verdict {
    let pairs: BTreeSet<(usize, usize)> = r.pairs.iter().copied().collect();
    let implications = implications(&pairs);
    let agents: BTreeMap<String, Presence> = USERS
        .iter()
        .enumerate()
        .map(|(u, name)| {
            let absent = r.absent.iter().find(|(a, _)| *a == u);
            ((*name).to_owned(), absent.map_or(Presence::Active, |a| a.1))
        })
        .collect();
    let rows = ruined(r);
    let facts = ChainFacts {
        now: NOW,
        implications: &implications,
        // Not even closed under implication.
        root_roles: set(r.root_roles),
        agents: &agents,
        project: r.project,
        credential: None,
        ceilings: &Ceilings::default(),
    };
    for leaf in &rows {
        let chain = Chain::assemble(&leaf.id, rows.iter().cloned()).expect("the leaf is there");
        let evaluated = evaluate(chain, &facts);
        let (chain, said) = (evaluated.chain(), evaluated.status());
        let (_, _) = (said.word(), said.reason());
        let falls = subtree(&leaf.id, &rows);
        let once: BTreeSet<&str> = falls.iter().map(|t| t.id.as_str()).collect();
        must!(falls.first() == Some(&leaf), "{} survives itself", leaf.id);
        must!(once.len() == falls.len(), "a row below {} comes twice", leaf.id);
        for (n, t) in falls.iter().enumerate().skip(1) {
            let above = falls[..n].iter().any(|a| Some(&a.id) == t.parent.as_ref());
            must!(above, "{} comes before its parent", t.id);
        }
        let up = walk(leaf, &rows);
        for link in up.iter().flatten() {
            must!(chain.has_trustor(&link.trustor), "an owner is overlooked");
            must!(subtree(&link.id, &rows).contains(&leaf), "{} would survive {}", leaf.id, link.id);
        }
        let TrustStatus::Live(a) = said else {
            note(said.word());
            if up.is_none() {
                note("circle or missing link");
            }
            continue;
        };
        let Some(up) = up else {
            return Err(format!("{} stands on a broken chain", leaf.id));
        };
        note("live");
        // Otherwise its token would speak for a trustor who never let it.
        must!(a.impersonate == leaf.impersonation, "{} speaks for another", leaf.id);
        must!(within(mask(&a.roles), r.root_roles), "more than the root");
        must!(r.project == Presence::Active, "on no active project");
        for link in &up {
            let own = mask(&link.roles);
            must!(within(mask(&a.roles), close(&pairs, own)), "more roles than {}", link.id);
            must!(a.until <= link.until && !link.until.passed(NOW), "{} ends earlier", link.id);
            must!(a.impersonate <= link.impersonation, "{} does not impersonate", link.id);
            must!(a.hops <= link.hops, "deeper than {}", link.id);
            let Some(terms) = &link.terms else {
                return Err(format!("the terms of {} are not known", link.id));
            };
            let allowed = requests(&a.terms.access);
            must!(within(allowed, requests(&terms.access)), "more requests than {}", link.id);
            must!(terms.not_before.is_none_or(|from| from <= NOW), "{} has not begun", link.id);
            let longest = terms.max_token_ttl.unwrap_or(Micros::MAX);
            must!(a.terms.token_end(NOW, Micros::MAX) - NOW <= longest, "longer tokens than {}", link.id);
            // What services are told is one list.
            let told = a.terms.access.rules();
            must!(told.is_some() == a.terms.access.is_limited(), "{} is not told to be limited", leaf.id);
            let told = told.iter().flatten().map(|rule| &rule.path);
            let told = told.map(|path| RULES.iter().find(|(p, _)| p == path).map_or(ALL, |(_, mask)| *mask));
            must!(within(told.fold(0, |all, mask| all | mask), allowed), "{} tells more", leaf.id);
            must!(link.project.as_deref() == Some(a.project.as_str()), "{} is elsewhere", link.id);
            must!(link.deleted_at.is_none() && link.remaining_uses != Some(0), "{} has ended", link.id);
            for user in chain.agents() {
                must!(agents.get(user) == Some(&Presence::Active), "{user} of {} is not active", link.id);
            }
        }
        for pair in up.windows(2) {
            let (below, above) = (pair[0], pair[1]);
            if below.until > above.until {
                note("live although a row outlives its parent");
            }
            let speaks = if above.impersonation { &above.trustor } else { &above.trustee };
            must!(below.trustor == *speaks, "{} is in a foreign name", below.id);
            must!(below.hops < above.hops, "{} gained depth", below.id);
        }
        // The last link's binding alone says who uses it, and one that has a binding has no keypairs.
        let own = leaf.binding.as_ref();
        let lets_in =
            own.map(|own| bindings().into_iter().find(|(b, _)| b == own).map_or(&[][..], |(_, who)| who));
        for (n, (workload, certificate)) in comers().iter().enumerate() {
            let login = Login { methods: &[], at: NOW };
            let presented =
                Presented { external_id: None, workload: workload.as_ref(), certificate: *certificate };
            let admitted = admit(&evaluated, login, presented, NOW).is_ok();
            must!(admitted == lets_in.is_none_or(|who| who.contains(&n)), "{} lets {n} in, or not", leaf.id);
        }
        let wanted = KeypairRequest {
            project: a.project.clone(),
            roles: None,
            until: None,
            access: Access::default(),
        };
        let bound = bind(&wanted, Some(&evaluated), &implications, &Ceilings::default(), NOW);
        must!(bound.is_ok() == own.is_none(), "a keypair of {}: {bound:?}", leaf.id);
        if own.is_some() {
            note("bound");
        }
        // A keypair row may be as wrong.
        let (roles, until) = (r.keypair.0.map(set), Until::from_option(r.keypair.1));
        let list = access(r.keypair.2);
        let own = Narrowing { roles, until, access: &list };
        let yielded = exchange(a, own, &implications, NOW);
        if let Some(y) = &yielded {
            note("keypair of a wrong row yields");
            let narrowed = r.keypair.0.map_or(ALL, |m| close(&pairs, m));
            must!(y.le(a) && y.until <= until && y.hops == 0 && !y.roles.is_empty(), "a keypair widens");
            must!(within(mask(&y.roles), narrowed), "a keypair ignores its roles");
            must!(!until.passed(NOW), "a keypair outlives itself");
            let allowed = requests(&y.terms.access);
            must!(within(allowed, requests(&list)), "a keypair ignores its access rules");
        }
    }
    Ok(())
}

#[test]
fn corrupt_rows() {
    let seen = RefCell::new(BTreeMap::<String, usize>::new());
    let note = |what: &str| *seen.borrow_mut().entry(what.to_owned()).or_default() += 1;
    let mut runner = TestRunner::new(config(20_000));
    let run = runner.run(&ruin(), |r| {
        wrong_rows_only_narrow(&r, &note).map_err(|why| {
            let rows = ruined(&r);
            TestCaseError::fail(format!("{why}\n{rows:#?}"))
        })
    });
    if let Err(why) = run {
        panic!("{why}");
    }
    let seen = seen.into_inner();
    println!("corrupt rows: {seen:?}");
    for (what, least) in [
        ("live", 5_000),
        ("suspended", 1_000),
        ("broken", 1_000),
        ("circle or missing link", 1_000),
        ("live although a row outlives its parent", 100),
        ("keypair of a wrong row yields", 1_000),
        ("bound", 500),
    ] {
        assert!(seen.get(what).copied().unwrap_or_default() >= least, "too few: {what}");
    }
}
