use super::*;
use crate::access_rule::tests::{gets as rules, rule};

const NOW: Micros = 1_000;

fn set(roles: &[&str]) -> RoleSet {
    roles.iter().map(|r| (*r).to_owned()).collect()
}

/// member → reader
fn implied() -> Implications {
    Implications::new([("member".to_owned(), "reader".to_owned())])
}

fn credential() -> ApplicationCredential {
    ApplicationCredential {
        id: "c".into(),
        user: "alice".into(),
        project: Some("p".into()),
        roles: set(&["member", "reader"]),
        until: Until::At(NOW + 50),
        unrestricted: true,
        access_rules: None,
        may_delegate: None,
    }
}

fn worth(credential: &ApplicationCredential, held: &[&str]) -> TrustStatus {
    let held = set(held);
    let (user, project) = (Presence::Active, Presence::Active);
    evaluate(credential, &CredentialFacts { now: NOW, held: &held, user, project })
}

#[test]
fn it_gives_what_it_has_and_its_owner_holds() {
    let gives = |held: &[&str]| worth(&credential(), held).live().cloned();
    let authority = gives(&["member", "reader", "admin"]).expect("live");
    assert_eq!(authority.roles, set(&["member", "reader"]));
    assert_eq!((authority.until, authority.project.as_str()), (Until::At(NOW + 50), "p"));
    assert_eq!((authority.impersonate, authority.hops), (true, 0));
    assert_eq!(gives(&["reader"]).map(|a| a.roles), Some(set(&["reader"])));
    assert_eq!(worth(&credential(), &["admin"]), TrustStatus::Suspended(Suspended::Role("member".into())));
    let empty = ApplicationCredential { roles: set(&[]), ..credential() };
    assert!(matches!(worth(&empty, &["admin"]), TrustStatus::Suspended(_)));
}

#[test]
fn it_ends_at_its_end_and_with_its_owner_and_project() {
    let held = set(&["member"]);
    let facts = |now, user, project| CredentialFacts { now, held: &held, user, project };
    let status = |now, user, project| evaluate(&credential(), &facts(now, user, project));
    use Presence::{Active, Disabled, DomainDisabled, Missing};
    let broken = |b| TrustStatus::Ended(Ended::Broken(b));
    assert!(status(NOW + 49, Active, Active).live().is_some());
    assert_eq!(status(NOW + 50, Active, Active), TrustStatus::Ended(Ended::Expired));
    assert_eq!(status(NOW, Missing, Disabled), broken(Broken::AgentGone("alice".into())));
    assert_eq!(status(NOW, Disabled, Missing), broken(Broken::ProjectGone));
    for off in [Disabled, DomainDisabled] {
        assert_eq!(status(NOW, off, Active), TrustStatus::Suspended(Suspended::Agent("alice".into())));
        assert_eq!(status(NOW, Active, off), TrustStatus::Suspended(Suspended::Project));
    }
    let nowhere = ApplicationCredential { project: None, ..credential() };
    assert_eq!(worth(&nowhere, &["member"]), broken(Broken::ProjectGone));
}

fn ask() -> CredentialRequest {
    CredentialRequest {
        roles: RoleSet::new(),
        until: None,
        unrestricted: false,
        access_rules: BTreeSet::new(),
        may_delegate: None,
    }
}

fn of(ask: &CredentialRequest, parent: Option<&ApplicationCredential>) -> Result<GrantedCredential, Refusal> {
    let carried = set(&["member", "reader"]);
    grant(ask, parent, &carried, &carried, &implied(), NOW)
}

#[test]
fn it_has_roles_of_the_token_with_what_they_imply() {
    let roles = |roles: &[&str]| of(&CredentialRequest { roles: set(roles), ..ask() }, None).map(|g| g.roles);
    assert_eq!(roles(&[]), Ok(set(&["member", "reader"])));
    assert_eq!(roles(&["member"]), Ok(set(&["member", "reader"])));
    assert_eq!(roles(&["reader"]), Ok(set(&["reader"])));
    assert_eq!(roles(&["reader", "admin"]), Err(Refusal::RoleNotInToken("admin".into())));
    // A credential may have a role without what that came to imply later; no more is made of it.
    let only = grant(
        &CredentialRequest { roles: set(&["member"]), ..ask() },
        None,
        &set(&["member"]),
        &set(&["member", "reader"]),
        &implied(),
        NOW,
    );
    assert_eq!(only, Err(Refusal::RoleNotInToken("reader".into())));
    assert_eq!(grant(&ask(), None, &set(&[]), &set(&[]), &implied(), NOW), Err(Refusal::NoRoles));
}

#[test]
fn it_has_roles_that_its_owner_holds() {
    let carried = set(&["member", "reader"]);
    let made = |roles: &[&str], held: &[&str]| {
        let ask = CredentialRequest { roles: set(roles), ..ask() };
        grant(&ask, None, &carried, &set(held), &implied(), NOW).map(|g| g.roles)
    };
    let not = |role: &str| Err(Refusal::RoleNotOfOwner(role.into()));
    assert_eq!(made(&[], &["member", "reader", "admin"]), Ok(carried.clone()));
    assert_eq!(made(&[], &["reader"]), not("member"));
    assert_eq!(made(&["member"], &[]), not("member"));
    assert_eq!(made(&["member"], &["member"]), not("reader"));
    assert_eq!(made(&["reader"], &["reader"]), Ok(set(&["reader"])));
}

#[test]
fn a_logins_credential_ends_when_it_is_asked_to() {
    let until = |until| of(&CredentialRequest { until, ..ask() }, None).map(|g| g.until);
    assert_eq!(until(None), Ok(Until::Never));
    assert_eq!(until(Some(NOW + 1)), Ok(Until::At(NOW + 1)));
    assert_eq!(until(Some(NOW)), Err(Refusal::ExpiryPast));
}

#[test]
fn one_made_with_another_ends_no_later() {
    let until = |until| of(&CredentialRequest { until, ..ask() }, Some(&credential())).map(|g| g.until);
    assert_eq!(until(None), Ok(Until::At(NOW + 50)));
    assert_eq!(until(Some(NOW + 50)), Ok(Until::At(NOW + 50)));
    assert_eq!(until(Some(NOW + 51)), Err(Refusal::CredentialOutlives));
    assert_eq!(until(Some(NOW)), Err(Refusal::ExpiryPast));
}

#[test]
fn one_made_with_another_is_good_for_no_more_requests() {
    let parent =
        ApplicationCredential { access_rules: Some(rules(&["/a", "/b/*", "/c/**"])), ..credential() };
    let kept = |paths: &[&str]| {
        of(&CredentialRequest { access_rules: rules(paths), ..ask() }, Some(&parent)).map(|g| g.access_rules)
    };
    assert_eq!(kept(&[]), Ok(rules(&["/a", "/b/*", "/c/**"])));
    for inside in [&["/a"][..], &["/b/*"], &["/b/x", "/c/x/y"], &["/c/**", "/a"]] {
        assert_eq!(kept(inside), Ok(rules(inside)));
    }
    for outside in [&["/d"][..], &["/b/x/y"], &["/a", "/**"], &["/b/{id}"], &["/c/*"], &["/b/x}"]] {
        assert_eq!(kept(outside), Err(Refusal::AccessRuleOutside), "{outside:?}");
    }
    // What is a pattern to a service that takes paths for regular expressions.
    for pattern in ["/b/x|.+", "/b/.+", "/b/[^q]+", "/b/x.y", "/b/x$", "/b/(x)", "/c/\\w", "/b/x?"] {
        assert_eq!(kept(&[pattern]), Err(Refusal::AccessRuleOutside), "{pattern}");
    }
    assert!(kept(&["/c/v2.1/x-y_z"]).is_ok());
    let other = |service, method| {
        let access_rules = [rule(service, method, "/a")].into();
        of(&CredentialRequest { access_rules, ..ask() }, Some(&parent)).is_ok()
    };
    assert!(other("compute", "GET"));
    assert!(!other("compute", "POST") && !other("image", "GET"));
}

#[test]
fn only_an_unrestricted_one_makes_another() {
    let no = ApplicationCredential { unrestricted: false, ..credential() };
    assert!(matches!(of(&ask(), Some(&no)), Err(Refusal::DelegatedToken(_))));
    for unrestricted in [true, false] {
        let made = of(&CredentialRequest { unrestricted, ..ask() }, Some(&credential())).expect("lawful");
        assert_eq!(made.unrestricted(), unrestricted);
    }
}

fn may_delegate(roles: &[&str]) -> MayDelegate {
    MayDelegate { trustees: ["bob".to_owned()].into(), roles: set(roles), max_depth: 2 }
}

#[test]
fn only_a_login_lets_one_delegate_and_only_what_it_has() {
    let asks = |roles: &[&str]| CredentialRequest { may_delegate: Some(may_delegate(roles)), ..ask() };
    let granted = |roles: &[&str], parent| of(&asks(roles), parent).map(|g| g.may_delegate().cloned());
    assert_eq!(granted(&["reader"], None), Ok(Some(may_delegate(&["reader"]))));
    assert_eq!(granted(&[], None), Ok(Some(may_delegate(&["member", "reader"]))));
    assert_eq!(granted(&["admin"], None), Err(Refusal::RoleOfCredential("admin".into())));
    assert_eq!(granted(&["reader"], Some(&credential())), Err(Refusal::MayNotLetDelegate));
    assert_eq!(of(&ask(), None).map(|g| g.may_delegate().cloned()), Ok(None));
}

#[test]
fn it_may_delegate_what_it_is_worth_of_what_it_was_allowed() {
    let one = ApplicationCredential { may_delegate: Some(may_delegate(&["member"])), ..credential() };
    let delegable = |one: &ApplicationCredential, held: &[&str], now| {
        let held = set(held);
        let (user, project) = (Presence::Active, Presence::Active);
        super::delegable(one, &implied(), &CredentialFacts { now, held: &held, user, project })
    };
    let status = delegable(&one, &["member", "reader", "admin"], NOW);
    let authority = status.live().expect("live");
    assert_eq!((&authority.roles, authority.hops), (&set(&["member", "reader"]), 2));
    assert_eq!((authority.until, authority.impersonate), (one.until, true));
    assert_eq!(delegable(&one, &["reader"], NOW).live().map(|a| a.roles.clone()), Some(set(&["reader"])));
    assert!(matches!(delegable(&one, &[], NOW), TrustStatus::Suspended(Suspended::Role(_))));
    assert_eq!(delegable(&one, &["member"], NOW + 50), TrustStatus::Ended(Ended::Expired));
    let gone = TrustStatus::Ended(Ended::Broken(Broken::CredentialGone("c".into())));
    assert_eq!(delegable(&credential(), &["member"], NOW), gone);
}
