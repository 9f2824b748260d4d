//! Trusts that an application credential makes.

use super::*;
use crate::application_credential::{ApplicationCredential, CredentialFacts, MayDelegate, delegable};

fn credential() -> (ApplicationCredential, Authority) {
    let may = MayDelegate { trustees: ["bob".to_owned()].into(), roles: set(&["member"]), max_depth: 1 };
    let row = ApplicationCredential {
        id: "c".into(),
        user: "alice".into(),
        project: Some("p".into()),
        roles: set(&["member", "reader"]),
        until: Until::At(NOW + 50),
        unrestricted: false,
        access_rules: None,
        may_delegate: Some(may),
    };
    let w = World::default();
    let facts =
        CredentialFacts { now: NOW, held: &w.roles, user: Presence::Active, project: Presence::Active };
    let above = delegable(&row, &w.implications, &facts).live().cloned().expect("live");
    (row, above)
}

#[test]
fn an_application_credential_delegates_what_it_was_allowed_and_no_more() {
    let (w, (row, above)) = (World::default(), credential());
    let made = |ask: &TrustRequest| {
        grant_by_credential(ask, &row, &above, &w.parties("alice"), LIMITS).map(|g| g.trust)
    };
    let trust = made(&ask()).expect("lawful");
    assert_eq!((trust.until, trust.hops, trust.credential.as_deref()), (row.until, 1, Some("c")));
    let asks = |change: fn(&mut TrustRequest)| {
        let mut ask = ask();
        change(&mut ask);
        made(&ask).map(|_| ())
    };
    assert_eq!(asks(|a| a.trustee = "carol".into()), Err(Refusal::TrusteeOfCredential));
    assert_eq!(asks(|a| a.roles = set(&["admin"])), Err(Refusal::RoleOfCredential("admin".into())));
    assert_eq!(asks(|a| a.project = Some("q".into())), Err(Refusal::OtherProject));
    assert_eq!(asks(|a| a.until = Some(NOW + 51)), Err(Refusal::OutlivesCredential));
    assert_eq!(asks(|a| a.count = Some(2)), Err(Refusal::DepthAboveMaximum { asked: 2, maximum: 1 }));
    assert_eq!(asks(|a| a.trustor = "bob".into()), Err(Refusal::NotTheTrustor));
    let other = ApplicationCredential { may_delegate: None, ..row.clone() };
    let refused = grant_by_credential(&ask(), &other, &above, &w.parties("alice"), LIMITS);
    assert_eq!(refused, Err(Refusal::DelegatedToken("manage trusts")));
    // It is the credential's: nobody else's to take over.
    let chain = one(named("t0", trust));
    let held = set(&["member", "reader"]);
    let none = set(&[]);
    assert_eq!(adopt(&chain, [], &succession(&w, &held, &none)), Err(Refusal::CredentialsTrust));
}

#[test]
fn what_an_application_credential_made_ends_and_sleeps_with_it() {
    let (w, (row, above)) = (World::default(), credential());
    let made = grant_by_credential(&ask(), &row, &above, &w.parties("alice"), LIMITS).expect("lawful");
    let chain = one(named("t0", made.trust));
    let status = |credential: Option<&TrustStatus>| w.evaluate_with(&chain, credential).status().clone();
    assert!(status(Some(&TrustStatus::Live(above.clone()))).live().is_some());
    let gone = TrustStatus::Ended(Ended::Broken(Broken::CredentialGone("c".into())));
    assert_eq!(status(None), gone);
    assert_eq!(status(Some(&TrustStatus::Ended(Ended::Expired))), gone);
    let asleep = TrustStatus::Suspended(Suspended::Project);
    assert_eq!(status(Some(&asleep)), TrustStatus::Suspended(Suspended::Credential("c".into())));
    // What the credential has lost, it has lost.
    let less = Authority { roles: set(&["reader"]), ..above };
    assert_eq!(
        status(Some(&TrustStatus::Live(less))),
        TrustStatus::Suspended(Suspended::Role("member".into()))
    );
}
