//! What is said of the beginning, suspension and succession.

use super::*;

fn said(who: &str) -> Origin {
    Origin { source_identity: Some(who.into()), ..Origin::default() }
}

#[test]
fn what_is_said_of_the_beginning_is_copied_down_and_never_changed() {
    let w = World::default();
    let of = |who: &str| TrustRequest { origin: said(who), ..child() };
    let chain = root(&TrustRequest { origin: said("alice"), ..ask() });
    assert_eq!(w.redelegate(&child(), &chain).map(|t| t.origin), Ok(said("alice")));
    assert_eq!(w.redelegate(&of("bob"), &chain), Err(Refusal::OriginIsSet("source_identity")));
    // Whoever says it first says it for all below, also with one token only.
    let chain = root(&ask());
    assert_eq!(w.redelegate(&of("bob"), &chain).map(|t| t.origin), Ok(said("bob")));
    let token = Narrower { origin: said("bob"), ..Narrower::default() };
    let worth = w.evaluate(&chain).narrowed(&token, &w.implications).expect("something is left");
    assert!(!worth.is_narrowed() && worth.live() == w.evaluate(&chain).live());
    let of_token = redelegate(&child(), &worth, &w.parties("alice"), LIMITS).map(|g| g.trust.origin);
    assert_eq!(of_token, Ok(said("bob")));
    let other = redelegate(&of("carol"), &worth, &w.parties("alice"), LIMITS);
    assert_eq!(other, Err(Refusal::OriginIsSet("source_identity")));
    assert_eq!(token.check(&worth, &w.implications), Ok(()));
    let other = Narrower { origin: said("carol"), ..Narrower::default() };
    assert_eq!(other.check(&worth, &w.implications), Err(Refusal::OriginIsSet("source_identity")));
    // What a row says otherwise is not what the chain says.
    let rows = [("t0", "alice", None), ("t1", "bob", Some("t0"))].map(|(id, who, parent)| Trust {
        origin: said(who),
        parent: parent.map(str::to_owned),
        ..named(id, w.grant(&ask()).expect("lawful"))
    });
    assert_eq!(Chain::assemble("t1", rows).expect("it is there").origin(), said("alice"));
}

/// A chain of two whose links were suspended by these, and the part's attempt to resume the last.
fn suspended_by(part: Part<'_>) -> Chain {
    let w = World::default();
    let suspends = suspend(&w.evaluate(&pair()), part, "somebody", "why", NOW).expect("a part");
    let suspension = suspends.map(|s| s.suspension().clone());
    let links = pair().links().to_vec();
    let rows =
        links.into_iter().map(|t| Trust { suspension: suspension.clone().filter(|_| t.id == "t1"), ..t });
    Chain::assemble("t1", rows).expect("it is there")
}

#[test]
fn whoever_may_end_a_trust_suspends_it_and_nobody_below_them_resumes_it() {
    let w = World::default();
    let parts =
        [Part::Administrator, Part::Manager, Part::Trustor("alice"), Part::Bearer("t0"), Part::Bearer("t1")];
    for (n, by) in parts.into_iter().enumerate() {
        let chain = suspended_by(by);
        assert_eq!(w.status(&chain), TrustStatus::Suspended(Suspended::Held("t1".into())));
        let held = w.evaluate(&chain);
        for (m, other) in parts.into_iter().enumerate() {
            let may = m <= n;
            assert_eq!(
                resume(&held, other).map(|r| r.is_some()).ok(),
                may.then_some(true),
                "{by:?}, {other:?}"
            );
            // Further up it is taken over.
            let again = suspend(&held, other, "other", "why", NOW).map(|s| s.is_some());
            assert_eq!(again, Ok(m < n), "{by:?}, {other:?}");
        }
    }
    let live = w.evaluate(&pair());
    assert_eq!(resume(&live, Part::Administrator), Ok(None));
    for stranger in [Part::Trustor("dave"), Part::Bearer("t9")] {
        assert_eq!(suspend(&live, stranger, "dave", "why", NOW), Err(Refusal::NoPartInChain));
        assert_eq!(resume(&live, stranger), Err(Refusal::NoPartInChain));
    }
}

#[test]
fn what_is_below_a_suspended_trust_gives_nothing() {
    let w = World::default();
    let suspension =
        suspend(&w.evaluate(&root(&ask())), Part::Administrator, "o", "why", NOW).expect("a part");
    let suspension = suspension.map(|s| s.suspension().clone());
    let links = pair().links().to_vec();
    let rows =
        links.into_iter().map(|t| Trust { suspension: suspension.clone().filter(|_| t.id == "t0"), ..t });
    let chain = Chain::assemble("t1", rows).expect("it is there");
    let status = w.status(&chain);
    assert_eq!(status, TrustStatus::Suspended(Suspended::Held("t0".into())));
    assert_eq!(status.reason().as_deref(), Some("trust t0 was suspended"));
}

#[test]
fn whoever_holds_the_roles_adopts_a_first_trust_unless_they_act_by_it() {
    let w = World::default();
    let (first, below) = (root(&ask()), pair());
    let (held, less, none) = (set(&["member", "reader"]), set(&["member"]), set(&[]));
    let dave = || succession(&w, &held, &none);
    let who = |chain: &Chain, by: Succession<'_>| adopt(chain, [], &by).map(|a| a.adopter().to_owned());
    assert_eq!(who(&first, dave()), Ok("dave".into()));
    let lacks = Refusal::RoleNotOfAdopter("reader".into());
    assert_eq!(who(&first, Succession { held: &less, ..dave() }), Err(lacks));
    assert_eq!(who(&first, Succession { adopter: "bob", ..dave() }), Err(Refusal::AdoptedByTrustee));
    assert_eq!(who(&below, dave()), Err(Refusal::NotTheFirst("t0".into())));
    // Nor by what is below, in the same name.
    let carol = Succession { adopter: "carol", ..dave() };
    assert_eq!(adopt(&first, [&below], &carol), Err(Refusal::AdoptedByTrustee));
    let own_name = two(&ask(), &TrustRequest { impersonation: false, ..child() });
    assert!(adopt(&first, [&own_name], &carol).is_ok());
    // And nobody passes it on to its adopter afterwards.
    let chain = adopted("carol");
    let (top, third) = (Chain::assemble("t0", [chain.root().clone()]), child());
    let top = top.expect("it is there");
    assert_eq!(w.redelegate(&third, &top), Err(Refusal::AdoptedByTrustee));
    assert!(w.redelegate(&TrustRequest { impersonation: false, ..third }, &top).is_ok());
}

#[test]
fn what_its_holder_stands_for_or_somebody_suspended_is_adopted_by_who_decides_about_the_place() {
    let w = World::default();
    let (held, none) = (set(&["member", "reader"]), set(&[]));
    let there = Succession { holder_roles: &held, ..succession(&w, &held, &none) };
    let first = root(&ask());
    assert_eq!(adopt(&first, [], &there), Err(Refusal::HolderIsThere));
    for holder in [Presence::Disabled, Presence::DomainDisabled] {
        assert!(adopt(&first, [], &Succession { holder, ..there }).is_ok());
    }
    assert!(adopt(&first, [], &Succession { is_decided: true, ..there }).is_ok());
    let suspension =
        suspend(&w.evaluate(&first), Part::Trustor("alice"), "alice", "why", NOW).expect("a part");
    let held_up = Trust { suspension: suspension.map(|s| s.suspension().clone()), ..first.root().clone() };
    let left = succession(&w, &held, &none);
    assert_eq!(adopt(&one(held_up.clone()), [], &left), Err(Refusal::SuspendedAbove));
    assert!(adopt(&one(held_up), [], &Succession { is_decided: true, ..left }).is_ok());
}

#[test]
fn what_is_adopted_is_within_the_ceilings_at_any_depth() {
    let holder = || Holder::User("dave".into());
    let (held, none) = (set(&["member", "reader"]), set(&[]));
    let adopts = |ceiling: Ceiling, below: &[&Chain]| {
        let w = under(holder(), ceiling);
        adopt(&root(&ask()), below.iter().copied(), &succession(&w, &held, &none)).map(|_| ())
    };
    let refused = |limit| Err(refusal(limit, holder()));
    let none = Ceiling::default;
    assert_eq!(adopts(Ceiling { impersonation: false, ..none() }, &[]), refused(Limit::Impersonation));
    // As it was made with three more.
    assert_eq!(adopts(Ceiling { max_depth: Some(2), ..none() }, &[]), refused(Limit::Depth(2)));
    assert_eq!(adopts(Ceiling { max_depth: Some(3), ..none() }, &[&pair()]), Ok(()));
    let only_bob = Ceiling { trustees: Some(set(&["bob"])), ..none() };
    assert_eq!(adopts(only_bob.clone(), &[]), Ok(()));
    assert_eq!(adopts(only_bob, &[&pair()]), refused(Limit::Trustee("carol".into())));
    let w = World { ceilings: Ceilings { registered_only: true, ..Ceilings::default() }, ..World::default() };
    let unknown = Refusal::TrusteeNotRegistered("bob".into());
    let held = set(&["member", "reader"]);
    let none = set(&[]);
    assert_eq!(adopt(&root(&ask()), [], &succession(&w, &held, &none)), Err(unknown));
}

#[test]
fn an_adopted_chain_rests_on_its_adopter_and_keeps_its_name() {
    let chain = adopted("dave");
    assert_eq!((chain.holder(), chain.speaks_for(), chain.named()), ("dave", "alice", Some("alice")));
    assert_eq!(chain.agents(), ["bob", "carol", "dave"].into());
    assert!(chain.has_trustor("dave") && chain.has_trustor("alice"));
    assert_eq!(chain.standing(Part::Trustor("dave")), Some(Standing(2)));
    // A name stops what is done in it, and decides nothing more.
    assert_eq!(chain.standing(Part::Trustor("alice")), Some(Standing(u32::MAX)));
    // Whatever becomes of Alice, and nothing without Dave.
    for gone in [Presence::Disabled, Presence::Missing] {
        let w = World { away: vec![("alice", gone)], ..World::default() };
        assert!(w.evaluate(&chain).live().is_some());
    }
    let w = World { away: vec![("dave", Presence::Missing)], ..World::default() };
    assert_eq!(w.status(&chain), TrustStatus::Ended(Ended::Broken(Broken::AgentGone("dave".into()))));
    // Where Alice has a part of her own she counts.
    let back = Trust { trustee: "alice".into(), ..chain.leaf().clone() };
    let rows = [chain.root().clone(), back];
    let chain = Chain::assemble("t1", rows).expect("it is there");
    assert_eq!((chain.named(), chain.agents().contains("alice")), (None, true));
    // As a trustee, by a token of that trust; as a trustor Alice is still no more than a name.
    assert_eq!(chain.standing(Part::Trustor("alice")), Some(Standing(u32::MAX)));
}
