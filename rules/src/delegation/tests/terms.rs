//! Terms: for which requests, from when, how long tokens live, and tokens that ask for less.

use super::*;

#[test]
fn a_trust_is_good_for_the_requests_that_it_names() {
    let w = World::default();
    let chain = one(named("t0", w.grant(&only(&["/a/*", "/b"])).expect("lawful")));
    let live = w.status(&chain).live().cloned().expect("live");
    assert!(live.terms.access.allows("compute", "GET", "/a/x"));
    assert!(!live.terms.access.allows("compute", "GET", "/c"));
    assert_eq!(w.grant(&only(&[])), Err(Refusal::NoAccessRules));
}

#[test]
fn a_child_is_good_for_no_more_requests_than_its_parent() {
    let w = World::default();
    let chain = one(named("t0", w.grant(&only(&["/a/*", "/b"])).expect("lawful")));
    let child = |paths: &[&str]| {
        let ask = TrustRequest { trustee: "carol".into(), ..only(paths) };
        w.redelegate(&ask, &chain).map(|t| t.terms.unwrap_or_default().access)
    };
    assert_eq!(child(&["/a/x"]), Ok(rules(&["/a/x"])));
    assert_eq!(child(&["/a/*"]), Ok(rules(&["/a/*"])));
    for outside in ["/c", "/a/x/y", "/a/{id}", "/**"] {
        let rule = format!("GET {outside} of compute");
        assert_eq!(child(&["/b", outside]), Err(Refusal::RuleOutsideParent(rule)));
    }
    assert_eq!(child(&[]), Err(Refusal::NoAccessRules));
    // Without rules of its own it has the parent's.
    let ask = TrustRequest { trustee: "carol".into(), ..ask() };
    let inherits = w.redelegate(&ask, &chain).expect("lawful");
    assert_eq!(inherits.terms.unwrap_or_default().access, rules(&["/a/*", "/b"]));
}

#[test]
fn a_trust_gives_nothing_before_it_begins() {
    let w = World::default();
    let from = |not_before, until| TrustRequest {
        until,
        terms: Terms { not_before: Some(not_before), ..Terms::default() },
        ..ask()
    };
    let chain = one(named("t0", w.grant(&from(NOW + 5, None)).expect("lawful")));
    assert_eq!(w.status(&chain), TrustStatus::Suspended(Suspended::Early("t0".into())));
    let refused = w.redelegate(&child(), &chain).expect_err("it gives nothing");
    assert!(matches!(refused, Refusal::ParentNotLive(_)));
    let later = World { now: NOW + 5, ..World::default() };
    assert!(later.status(&chain).live().is_some());
    let below = |not_before| {
        let ask = TrustRequest { trustee: "carol".into(), ..from(not_before, None) };
        later.redelegate(&ask, &chain).map(|t| t.terms.unwrap_or_default().not_before)
    };
    assert_eq!(below(NOW + 9), Ok(Some(NOW + 9)));
    assert_eq!(below(NOW + 4), Err(Refusal::EarlierThanParent));
    assert_eq!(w.grant(&from(NOW + 5, Some(NOW + 5))), Err(Refusal::NeverBegins));
    assert!(w.grant(&from(NOW + 4, Some(NOW + 5))).is_ok());
}

#[test]
fn tokens_live_no_longer_than_the_trust_lets_them() {
    let w = World::default();
    let ask = |max_token_ttl| TrustRequest {
        trustee: "carol".into(),
        terms: Terms { max_token_ttl, ..Terms::default() },
        ..ask()
    };
    let chain =
        one(named("t0", w.grant(&TrustRequest { trustee: "bob".into(), ..ask(Some(30)) }).expect("lawful")));
    let live = w.status(&chain).live().cloned().expect("live");
    assert_eq!(live.terms.token_end(NOW, NOW + 100), NOW + 30);
    assert_eq!(live.terms.token_end(NOW, NOW + 20), NOW + 20);
    let below = |ttl| w.redelegate(&ask(ttl), &chain).map(|t| t.terms.unwrap_or_default().max_token_ttl);
    assert_eq!(below(None), Ok(Some(30)));
    assert_eq!(below(Some(20)), Ok(Some(20)));
    assert_eq!(below(Some(31)), Err(Refusal::LongerTokensThanParent));
}

#[test]
fn terms_that_cannot_be_read_suspend() {
    let w = World::default();
    let unread = Trust { terms: None, ..named("t0", w.grant(&ask()).expect("lawful")) };
    assert_eq!(w.status(&one(unread)), TrustStatus::Suspended(Suspended::Terms("t0".into())));
}

fn narrower(roles: &[&str], paths: &[&str]) -> Narrower {
    Narrower {
        roles: (!roles.is_empty()).then(|| set(roles)),
        access: if paths.is_empty() { Access::default() } else { rules(paths) },
        ..Narrower::default()
    }
}

#[test]
fn a_token_may_ask_for_less_than_its_trust_gives() {
    let w = World::default();
    let chain = one(named("t0", w.grant(&only(&["/a/*", "/b"])).expect("lawful")));
    let trust = w.evaluate(&chain);
    let checked = |own: &Narrower| own.check(&trust, &w.implications);
    let less = narrower(&["reader"], &["/a/x"]);
    assert_eq!(checked(&less), Ok(()));
    assert_eq!(checked(&narrower(&["admin"], &[])), Err(Refusal::RoleOutsideParent("admin".into())));
    let outside = Refusal::RuleOutsideParent("GET /c of compute".into());
    assert_eq!(checked(&narrower(&[], &["/c"])), Err(outside));
    assert_eq!(checked(&Narrower { roles: Some(set(&[])), ..less.clone() }), Err(Refusal::NoRoles));
    assert_eq!(checked(&Narrower { access: rules(&[]), ..less.clone() }), Err(Refusal::NoAccessRules));
    let worth = trust.narrowed(&less, &w.implications).expect("something is left");
    let gives = worth.live().expect("live");
    assert!(worth.is_narrowed() && gives.le(trust.live().expect("live")));
    assert_eq!((&gives.roles, &gives.terms.access), (&set(&["reader"]), &rules(&["/a/x"])));
    // Whatever a token says, it is not worth more.
    let more = trust.narrowed(&narrower(&["admin"], &["/c"]), &w.implications).expect("something is left");
    assert!(more.live().expect("live").le(trust.live().expect("live")));
    assert_eq!(trust.narrowed(&narrower(&["other"], &[]), &w.implications), None);
    // What is made with it is below it.
    let parties = w.parties("alice");
    let ask = |roles: &[&str]| TrustRequest { trustee: "carol".into(), roles: set(roles), ..ask() };
    let refused = redelegate(&ask(&["member"]), &worth, &parties, LIMITS).map(|g| g.trust);
    assert_eq!(refused, Err(Refusal::RoleOutsideParent("member".into())));
    let child = redelegate(&ask(&["reader"]), &worth, &parties, LIMITS).expect("lawful");
    assert_eq!(child.trust().terms.clone().unwrap_or_default().access, rules(&["/a/x"]));
}

#[test]
fn a_token_lives_no_longer_than_asked_nor_longer_than_the_trust_lets_it() {
    let w = World::default();
    let terms = Terms { max_token_ttl: Some(30), ..Terms::default() };
    let chain = one(named("t0", w.grant(&TrustRequest { terms, ..ask() }).expect("lawful")));
    let trust = w.evaluate(&chain);
    let asked = |life| Narrower { life: Some(life), ..Narrower::default() }.check(&trust, &w.implications);
    assert_eq!(asked(30), Ok(()));
    assert_eq!(asked(31), Err(Refusal::LongerTokensThanParent));
}
