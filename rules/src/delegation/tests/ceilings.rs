//! Ceilings over what is made and what exists.

use super::*;

#[test]
fn a_trust_is_within_the_ceilings_of_its_place_and_its_root_trustor() {
    let holder = || Holder::Project("p".into());
    let none = Ceiling::default();
    for (ceiling, limit, within) in [
        (
            Ceiling { max_life: Some(60), ..none.clone() },
            Limit::Life(60),
            TrustRequest { until: Some(NOW + 60), ..ask() },
        ),
        (
            Ceiling { end_required: true, ..none.clone() },
            Limit::End,
            TrustRequest { until: Some(NOW + 60), ..ask() },
        ),
        (
            // Implied by what was asked for.
            Ceiling { never_roles: set(&["reader"]), ..none.clone() },
            Limit::Role("reader".into()),
            TrustRequest { roles: set(&["other"]), ..ask() },
        ),
        (
            Ceiling { trustees: Some(set(&["carol"])), ..none.clone() },
            Limit::Trustee("bob".into()),
            TrustRequest { trustee: "carol".into(), ..ask() },
        ),
        (Ceiling { impersonation: false, ..none.clone() }, Limit::Impersonation, without_impersonation()),
    ] {
        let mut w = under(holder(), ceiling.clone());
        w.roles.insert("other".into());
        assert_eq!(w.grant(&ask()), Err(refusal(limit.clone(), holder())));
        assert!(w.grant(&within).is_ok(), "{within:?}");
        // Below what was made before it, too.
        let child = TrustRequest { until: within.until, ..child() };
        let below = TrustRequest { trustee: "dave".into(), ..child };
        let before = World { roles: w.roles.clone(), ..World::default() };
        let chain = one(before.grant(&ask()).expect("lawful"));
        if !matches!(limit, Limit::Life(_) | Limit::End | Limit::Trustee(_)) {
            assert_eq!(w.redelegate(&below, &chain), Err(refusal(limit, holder())));
        }
    }
    // One that cannot be read lets nothing be made.
    let ceilings = Ceilings { levels: vec![(holder(), None)], ..Ceilings::default() };
    let w = World { ceilings, ..World::default() };
    assert_eq!(w.grant(&ask()), Err(refusal(Limit::Unread, holder())));
}

#[test]
fn a_chain_is_no_deeper_than_a_ceiling_lets_it() {
    let holder = || Holder::User("alice".into());
    let deepest = |max_depth| under(holder(), Ceiling { max_depth: Some(max_depth), ..Ceiling::default() });
    let counts = |n| TrustRequest { count: Some(n), ..ask() };
    // What is not stated is the most that there can be; what is stated is that or refused.
    assert_eq!(deepest(2).grant(&ask()).map(|t| t.hops), Ok(2));
    assert_eq!(deepest(0).grant(&ask()).map(|t| t.hops), Ok(0));
    assert_eq!(deepest(9).grant(&ask()).map(|t| t.hops), Ok(3));
    assert_eq!(deepest(2).grant(&counts(1)).map(|t| t.hops), Ok(1));
    assert_eq!(deepest(2).grant(&counts(3)), Err(refusal(Limit::Depth(2), holder())));
    assert_eq!(deepest(2).grant(&counts(4)), Err(Refusal::DepthAboveMaximum { asked: 4, maximum: 3 }));
    // Below a root that was made when more was allowed.
    let top = root(&ask());
    let below = |n: Option<u32>| TrustRequest { count: n, ..child() };
    assert_eq!(deepest(2).redelegate(&below(None), &top).map(|t| t.hops), Ok(1));
    assert_eq!(deepest(2).redelegate(&below(Some(1)), &top).map(|t| t.hops), Ok(1));
    assert_eq!(deepest(2).redelegate(&below(Some(2)), &top), Err(refusal(Limit::Depth(2), holder())));
    assert_eq!(
        deepest(3).redelegate(&below(Some(1)), &top),
        Err(Refusal::DepthStated { possible: 2 }),
        "the ceiling is not what forbids it"
    );
    let leaf = TrustRequest { allow_redelegation: false, ..child() };
    assert_eq!(deepest(0).redelegate(&leaf, &top), Err(refusal(Limit::Depth(0), holder())));
    assert!(deepest(1).redelegate(&leaf, &top).is_ok());
    let third = TrustRequest { trustee: "dave".into(), ..leaf };
    assert_eq!(deepest(1).redelegate(&third, &pair()), Err(refusal(Limit::Depth(1), holder())));
    assert!(deepest(2).redelegate(&third, &pair()).is_ok());
}

#[test]
fn a_trustees_ceiling_holds_for_trusts_to_them_and_below() {
    let ceiling = Ceiling { max_depth: Some(1), never_roles: set(&["admin"]), ..Ceiling::default() };
    let ceilings = Ceilings { trustees: [("bob".to_owned(), Some(ceiling))].into(), ..Ceilings::default() };
    let w = World { ceilings, ..World::default() };
    let holder = || Holder::Trustee("bob".into());
    let admin = |trustee: &str| TrustRequest { trustee: trustee.into(), roles: set(&["admin"]), ..ask() };
    assert_eq!(w.grant(&admin("bob")), Err(refusal(Limit::Role("admin".into()), holder())));
    assert!(w.grant(&admin("carol")).is_ok());
    assert_eq!(w.grant(&ask()).map(|t| t.hops), Ok(1));
    let third = TrustRequest { trustee: "dave".into(), allow_redelegation: false, ..ask() };
    assert_eq!(w.redelegate(&third, &pair()), Err(refusal(Limit::Depth(1), holder())));
    // Where trusts are for the registered, nobody else gets one, at any depth.
    let ceilings = Ceilings { registered_only: true, ..w.ceilings.clone() };
    let only = World { ceilings, ..World::default() };
    assert!(only.grant(&ask()).is_ok());
    assert_eq!(only.grant(&admin("carol")), Err(Refusal::TrusteeNotRegistered("carol".into())));
    assert_eq!(only.redelegate(&child(), &root(&ask())), Err(Refusal::TrusteeNotRegistered("carol".into())));
    // It says nothing of what exists.
    assert!(only.status(&pair()).live().is_some());
}

#[test]
fn what_exists_is_suspended_by_a_ceiling_that_is_for_it_and_by_no_other() {
    let chain = two(&ask(), &TrustRequest { impersonation: false, ..child() });
    let holder = || Holder::Domain("d".into());
    let suspended = |link: &str, limit| {
        TrustStatus::Suspended(Suspended::Ceiling(link.into(), Above { limit, holder: holder() }))
    };
    let old = Ceiling { applies_to_existing: true, ..Ceiling::default() };
    for (ceiling, link, limit) in [
        (Ceiling { impersonation: false, ..old.clone() }, "t0", Limit::Impersonation),
        (Ceiling { max_depth: Some(0), ..old.clone() }, "t1", Limit::Depth(0)),
        (Ceiling { trustees: Some(set(&["bob"])), ..old.clone() }, "t1", Limit::Trustee("carol".into())),
        (Ceiling { end_required: true, ..old.clone() }, "t0", Limit::End),
        (Ceiling { max_life: Some(60), ..old.clone() }, "t0", Limit::Life(60)),
        (Ceiling { never_roles: set(&["reader"]), ..old.clone() }, "t0", Limit::Role("reader".into())),
    ] {
        let status = under(holder(), ceiling.clone()).status(&chain);
        assert_eq!(status, suspended(link, limit));
        assert!(status.reason().is_some_and(|why| why.contains("domain d")));
        let new = Ceiling { applies_to_existing: false, ..ceiling };
        assert!(under(holder(), new).status(&chain).live().is_some());
    }
    let unread = Ceilings { levels: vec![(holder(), None)], ..Ceilings::default() };
    let w = World { ceilings: unread, ..World::default() };
    assert_eq!(w.status(&chain), suspended("t0", Limit::Unread));
    // A life is counted from now on, so it comes back for the last part of it.
    let ends =
        one(World::default().grant(&TrustRequest { until: Some(NOW + 100), ..ask() }).expect("lawful"));
    let life = Ceiling { max_life: Some(60), ..old.clone() };
    assert_eq!(under(holder(), life.clone()).status(&ends), suspended("t0", Limit::Life(60)));
    let later = World { now: NOW + 40, ..under(holder(), life) };
    assert!(later.status(&ends).live().is_some());
    // Keypairs are all that is taken by this.
    let w = under(holder(), Ceiling { keypairs: false, ..old });
    assert_eq!(w.status(&chain).live().map(|a| a.keypairs), Some(false));
}
