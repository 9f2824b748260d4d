//! What an operator's rules come to: those that are understood, and those that are not.

// A test that looks past an end fails.
#![allow(clippy::indexing_slicing)]

use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::{collection, sample};
use vicar_rules::policy::{Credential, Decision, Fact, Facts, Op, Policy, Scope, Subject, Trait};

static SHIPPED: LazyLock<Policy> = LazyLock::new(|| Policy::shipped().expect("the table parses"));

const OP: &str = "identity:list_trusts";

fn subject(roles: &[&str], scope: Scope) -> Subject {
    Subject::new("alice", roles.iter().map(|r| (*r).to_owned()).collect(), scope)
}

fn domain(id: &str) -> Scope {
    Scope::Domain(id.to_owned())
}

/// What one rule says.
fn says(rule: &str, who: &Subject, facts: &Facts) -> bool {
    Policy::with_overrides([(OP, rule)]).holds(OP, who, facts)
}

#[test]
fn credentials_of_a_token() {
    let on_project = Subject::new(
        "alice",
        vec!["Member".into(), "reader".into()],
        Scope::Project { id: "p".into(), domain: Some("d".into()) },
    )
    .with(Trait::UserDomain, ["home"])
    .with(Trait::UserName, ["Alice"])
    .with(Trait::ProjectName, ["ops"])
    .with(Trait::Methods, ["password", "token"])
    .with(Trait::RoleIds, ["r1"]);
    let on_system = subject(&["reader"], Scope::System);
    let on_domain = subject(&[], domain("d"));
    let none = &Facts::none();
    for (rule, who, wanted) in [
        ("user_id:alice", &on_project, true),
        ("token.user.id:alice", &on_project, true),
        ("user_id:bob", &on_project, false),
        ("user_domain_id:home", &on_project, true),
        ("token.user.domain.id:home", &on_project, true),
        ("token.user.name:Alice", &on_project, true),
        ("token.user.name:alice", &on_project, false),
        ("project_id:p", &on_project, true),
        ("token.project.id:p", &on_project, true),
        ("project_domain_id:d", &on_project, true),
        ("token.project.domain.id:d", &on_project, true),
        ("token.project.name:ops", &on_project, true),
        ("token.methods:token", &on_project, true),
        ("not token.methods:application_credential", &on_project, true),
        ("token.roles.id:r1", &on_project, true),
        ("role:member", &on_project, true),
        ("roles:member", &on_project, false),
        ("roles:Member", &on_project, true),
        ("token.roles.name:reader", &on_project, true),
        // Null is a value of the first, and the second has no such part.
        ("domain_id:None", &on_project, true),
        ("token.domain.id:None", &on_project, false),
        ("system_scope:None", &on_project, true),
        ("system:None", &on_project, false),
        ("system_scope:all", &on_system, true),
        ("system:all", &on_system, true),
        ("token.system.all:True", &on_system, true),
        ("project_id:None", &on_system, true),
        ("domain_id:d", &on_domain, true),
        ("token.domain.id:d", &on_domain, true),
        ("is_admin_project:True", &on_project, true),
        ("is_admin_project:True", &on_domain, false),
        ("is_admin_project:False", &on_domain, true),
        ("is_admin:1", &on_system, false),
        ("'a':a", &on_system, true),
        ("None:None", &on_system, true),
        ("True:False", &on_system, false),
        ("@", &on_system, true),
        ("", &on_system, true),
        ("!", &on_system, false),
    ] {
        assert_eq!(says(rule, who, none), wanted, "{rule}");
    }
}

#[test]
fn a_fact_that_is_null_and_one_that_is_not_there() {
    let who = subject(&[], domain("d"));
    let role =
        |domain: Option<&str>| Facts::none().with(Fact::RoleName, "x").with_opt(Fact::RoleDomain, domain);
    let (global, own) = (role(None), role(Some("d")));
    for (rule, facts, wanted) in [
        ("None:%(target.role.domain_id)s", &global, true),
        ("None:%(target.role.domain_id)s", &own, false),
        ("None:%(target.role.domain_id)s", &Facts::none(), false),
        ("not None:%(target.role.domain_id)s", &own, true),
        ("not None:%(target.role.domain_id)s", &global, false),
        ("not None:%(target.role.domain_id)s", &Facts::none(), true),
        ("domain_id:%(target.role.domain_id)s", &own, true),
        ("domain_id:%(target.role.domain_id)s", &global, false),
        ("not domain_id:%(target.role.domain_id)s", &global, true),
        // Both null: neither a match nor a mismatch.
        ("project_id:%(target.role.domain_id)s", &global, false),
        ("not project_id:%(target.role.domain_id)s", &global, false),
        // The role is there, but its id was not told.
        ("'r':%(target.role.id)s", &own, false),
        ("not 'r':%(target.role.id)s", &own, false),
        ("not 'r':%(target.role.id)s or domain_id:%(target.role.domain_id)s", &own, true),
    ] {
        assert_eq!(says(rule, &who, facts), wanted, "{rule} {facts:?}");
    }
}

#[test]
fn an_unknown_part_refuses_its_rule_and_those_that_refer_to_it() {
    let rules = [
        (OP, "role:admin"),
        ("identity:get_trust", "rule:above or role:admin"),
        ("above", "not rule:below"),
        ("below", "group:ops"),
        ("identity:list_users", "role:admin or not user_name:x"),
    ];
    let policy = Policy::with_overrides(rules);
    let admin = subject(&["admin"], Scope::System);
    assert!(policy.allows(Op::ListTrusts, &admin, &Facts::none()));
    assert!(!policy.allows(Op::GetTrust, &admin, &Facts::none()));
    assert!(!policy.allows(Op::ListUsers, &admin, &Facts::none()));
    assert!(policy.allows(Op::GetUser, &admin, &Facts::none()), "others are as they were");
    assert!(policy.allows(Op::GetTrust, &Subject::admin_token(), &Facts::none()));
    let unknown: Vec<(String, Vec<&str>)> = policy
        .unknown()
        .map(|(what, rules)| (what.check.clone(), rules.iter().map(String::as_str).collect()))
        .collect();
    assert_eq!(
        unknown,
        [("group:ops".into(), vec!["below"]), ("user_name:x".into(), vec!["identity:list_users"])]
    );
    let refusing: Vec<&str> =
        policy.effective().into_iter().filter(|rule| rule.refuses).map(|rule| rule.name).collect();
    assert_eq!(refusing, ["above", "below", "identity:get_trust", "identity:list_users"]);
}

#[test]
fn rules_that_are_not_there() {
    let admin = subject(&["admin"], Scope::System);
    let holds = |rules: &[(&str, &str)]| {
        Policy::with_overrides(rules.iter().copied()).holds(OP, &admin, &Facts::none())
    };
    assert!(holds(&[(OP, "rule:nowhere or role:admin")]));
    assert!(!holds(&[(OP, "rule:nowhere")]));
    // It is false, so its opposite would be true; nobody meant that.
    assert!(!holds(&[(OP, "not rule:nowhere")]));
    assert!(!holds(&[(OP, "not rule:a"), ("a", "role:x and rule:b"), ("b", "rule:nowhere")]));
    // Unless there is the rule for all that is not there.
    assert!(holds(&[(OP, "rule:nowhere"), ("default", "role:admin")]));
    assert!(!holds(&[(OP, "not rule:nowhere"), ("default", "role:admin")]));
    assert!(!holds(&[(OP, "not rule:a"), ("a", "rule:b"), ("b", "rule:a")]));
    assert!(!holds(&[(OP, "not rule:identity:list_trusts")]));
}

#[test]
fn other_servers_are_asked_only_when_it_depends_on_them() {
    let facts = Facts::none().with(Fact::UserId, "u/../x?").with_all(Fact::TrustTrustor, ["a", "b"]);
    let decide = |rule: &str, roles: &[&str], answers: &dyn Fn(&str) -> Option<Option<bool>>| {
        let policy = Policy::with_overrides([("identity:get_region", rule)]);
        assert_eq!(policy.unknown().count(), 0, "{rule}");
        policy.decide(Op::GetRegion, &subject(roles, Scope::System), &facts, answers)
    };
    let ask = |url: &str| Decision::Ask(url.to_owned());
    let never = |url: &str| panic!("{url} is asked");
    let silent = |_: &str| None;
    assert_eq!(decide("role:admin or http://h/", &["admin"], &never), Decision::Allowed);
    assert_eq!(decide("role:admin and http://h/", &[], &never), Decision::Refused);
    assert_eq!(decide("http://h/ or role:admin", &["admin"], &silent), Decision::Allowed);
    assert_eq!(decide("http://h/ and role:admin", &[], &silent), Decision::Refused);
    assert_eq!(decide("http://h/", &[], &silent), ask("http://h/"));
    assert_eq!(decide("not https://h/a", &[], &silent), ask("https://h/a"));
    let url = "http://h:8080/%(target.user.id)s/";
    assert_eq!(decide(url, &[], &silent), ask("http://h:8080/u%2F..%2Fx%3F/"), "it cannot lead elsewhere");
    // Of what is not known, or is several things, no question can be made.
    assert_eq!(decide("not http://h/%(target.user.name)s", &[], &never), Decision::Refused);
    assert_eq!(decide("not http://h/%(target.group.name)s", &[], &never), Decision::Refused);
    assert_eq!(decide("not http://h/%(target.trust.trustor_user_id)s", &[], &never), Decision::Refused);
    for (rule, answer, wanted) in [
        ("http://h/", Some(true), Decision::Allowed),
        ("http://h/", Some(false), Decision::Refused),
        ("http://h/", None, Decision::Refused),
        ("not http://h/", Some(true), Decision::Refused),
        ("not http://h/", Some(false), Decision::Allowed),
        ("not http://h/", None, Decision::Refused),
    ] {
        assert_eq!(decide(rule, &[], &|_| Some(answer)), wanted, "{rule} {answer:?}");
    }
    let first = |url: &str| (url == "http://a/").then_some(Some(true));
    assert_eq!(decide("http://a/ and http://b/", &[], &first), ask("http://b/"));
    // Where nobody can be asked, nobody is allowed.
    let policy = Policy::with_overrides([("identity:get_region", "not http://h/")]);
    assert!(!policy.allows(Op::GetRegion, &subject(&["admin"], Scope::System), &facts));
}

#[test]
fn what_guards_nothing_is_known() {
    let policy = Policy::with_overrides([
        ("identity:get_something", "role:x"),
        ("mine", "role:y"),
        ("other", "rule:nowhere"),
        ("identity:get_user", "rule:mine"),
        ("admin_required", "role:boss"),
    ]);
    let asked = |name: &str| {
        let all = policy.effective();
        let found = all.iter().find(|rule| rule.name == name).expect(name);
        (found.asked, found.overridden, found.text.to_owned())
    };
    assert_eq!(asked("identity:get_something"), (false, true, "role:x".into()));
    assert_eq!(asked("mine"), (true, true, "role:y".into()));
    assert_eq!(asked("other"), (false, true, "rule:nowhere".into()));
    assert_eq!(asked("admin_required"), (true, true, "role:boss".into()));
    assert_eq!(asked("identity:list_regions"), (true, false, "@".into()));
}

/// The manager of a domain as a sovereign cloud's standard has them: a role of their own, and rules of the
/// operator's that name what it may be given.
const DOMAIN_MANAGER: &[(&str, &str)] = &[
    ("is_domain_manager", "role:domain-manager"),
    (
        "is_domain_managed_role",
        "'member':%(target.role.name)s or 'load-balancer_member':%(target.role.name)s",
    ),
    (
        "is_own_grant",
        "(token.domain.id:%(target.user.domain_id)s or token.domain.id:%(target.group.domain_id)s) and \
         (token.domain.id:%(target.project.domain_id)s or token.domain.id:%(target.domain.id)s)",
    ),
    ("identity:list_domains", "rule:admin_required or rule:is_domain_manager"),
    (
        "identity:list_projects",
        "rule:admin_required or (rule:is_domain_manager and token.domain.id:%(target.domain_id)s)",
    ),
    (
        "identity:create_project",
        "rule:admin_required or (rule:is_domain_manager and token.domain.id:%(target.project.domain_id)s)",
    ),
    (
        "identity:list_users",
        "rule:admin_required or (rule:is_domain_manager and token.domain.id:%(target.domain_id)s)",
    ),
    (
        "identity:create_user",
        "rule:admin_required or (rule:is_domain_manager and token.domain.id:%(target.user.domain_id)s)",
    ),
    (
        "identity:create_group",
        "rule:admin_required or (rule:is_domain_manager and token.domain.id:%(target.group.domain_id)s)",
    ),
    ("identity:list_roles", "rule:admin_required or rule:is_domain_manager"),
    ("identity:get_role", "rule:admin_required or (rule:is_domain_manager and rule:is_domain_managed_role)"),
    (
        "identity:create_grant",
        "rule:admin_required or (rule:is_domain_manager and rule:is_own_grant and rule:is_domain_managed_role)",
    ),
    (
        "identity:list_role_assignments",
        "rule:admin_required or (rule:is_domain_manager and token.domain.id:%(target.domain_id)s)",
    ),
];

#[test]
fn the_manager_of_a_domain() {
    let policy = Policy::with_overrides(DOMAIN_MANAGER.iter().copied());
    assert_eq!(policy.unknown().count(), 0);
    let manager = subject(&["domain-manager"], domain("d"));
    let on_project =
        subject(&["domain-manager"], Scope::Project { id: "p".into(), domain: Some("d".into()) });
    let member = subject(&["member"], domain("d"));
    let none = Facts::none;
    let role = |name: &str| none().with(Fact::RoleName, name).with_opt(Fact::RoleDomain, None::<&str>);
    let grant = |user: &str, project: &str, name: &str| {
        role(name).with(Fact::UserDomain, user).with(Fact::ProjectDomain, project)
    };
    for (op, facts, wanted) in [
        (Op::ListDomains, none(), true),
        (Op::ListProjects, none().with(Fact::ListDomain, "d"), true),
        (Op::ListProjects, none().with(Fact::ListDomain, "e"), false),
        (Op::CreateProject, none().with(Fact::ProjectDomain, "d"), true),
        (Op::CreateProject, none().with(Fact::ProjectDomain, "e"), false),
        (Op::CreateProject, none().with_opt(Fact::ProjectDomain, None::<&str>), false),
        (Op::ListUsers, none().with(Fact::ListDomain, "d"), true),
        (Op::CreateUser, none().with(Fact::UserDomain, "d"), true),
        (Op::CreateUser, none().with(Fact::UserDomain, "e"), false),
        (Op::CreateGroup, none().with(Fact::GroupDomain, "d"), true),
        (Op::ListRoles, none(), true),
        (Op::GetRole, role("member"), true),
        (Op::GetRole, role("admin"), false),
        (Op::CreateGrant, grant("d", "d", "member"), true),
        (Op::CreateGrant, grant("d", "d", "load-balancer_member"), true),
        (Op::CreateGrant, grant("d", "d", "domain-manager"), false),
        (Op::CreateGrant, grant("d", "d", "admin"), false),
        (Op::CreateGrant, grant("e", "d", "member"), false),
        (Op::CreateGrant, grant("d", "e", "member"), false),
        (Op::CreateGrant, role("member").with(Fact::GroupDomain, "d").with(Fact::DomainId, "d"), true),
        (Op::CreateGrant, role("member").with(Fact::GroupDomain, "d").with(Fact::DomainId, "e"), false),
        (Op::ListRoleAssignments, none().with(Fact::ListDomain, "d"), true),
        (Op::DeleteDomain, none().with(Fact::DomainId, "d"), false),
    ] {
        assert_eq!(policy.allows(op, &manager, &facts), wanted, "{op:?} {facts:?}");
        assert!(!policy.allows(op, &member, &facts), "a member: {op:?} {facts:?}");
    }
    // A token on a project names no domain to manage.
    assert!(!policy.allows(Op::CreateUser, &on_project, &none().with(Fact::UserDomain, "d")));
    assert!(!policy.allows(Op::CreateGrant, &on_project, &grant("d", "d", "member")));
}

#[test]
fn the_page_names_all_that_rules_may_name() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/policy-files.md");
    let page = std::fs::read_to_string(page).expect("the page");
    for key in Fact::ALL.iter().map(|(key, _)| *key).chain(Credential::keys()) {
        assert!(page.contains(&format!("`{key}`")), "docs/policy-files.md does not name {key}");
    }
}

/// Atoms that are understood.
fn atom() -> impl Strategy<Value = String> {
    let keys: Vec<&str> = Credential::keys().collect();
    let facts: Vec<&str> = Fact::ALL.iter().map(|(key, _)| *key).collect();
    prop_oneof![
        Just("@".to_owned()),
        Just("!".to_owned()),
        sample::select(&["rule:a", "rule:b", "role:x", "role:y", "any_role:True", "user_id:alice"][..])
            .prop_map(str::to_owned),
        (sample::select(keys), sample::select(facts.clone())).prop_map(|(c, f)| format!("{c}:%({f})s")),
        (sample::select(&["'x'", "None", "True"][..]), sample::select(facts))
            .prop_map(|(l, f)| format!("{l}:%({f})s")),
    ]
}

/// What means nothing here.
const UNKNOWN: &[&str] = &[
    "group:ops",
    "foo",
    "http://h/%(target.secret)s",
    "user_id:%(target.secret)s",
    "role:%(request_body.role)s",
    "user_name:alice",
    "'x':%(target.user.email)s",
    "not-a-check:%(user_id)s",
];

/// A rule with holes `{}` for its atoms.
fn shape() -> impl Strategy<Value = String> {
    Just("{}".to_owned()).prop_recursive(5, 24, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|c| format!("not {c}")),
            inner.clone().prop_map(|c| format!("(not ({c}))")),
            collection::vec(inner.clone(), 2..4).prop_map(|c| format!("({})", c.join(" and "))),
            collection::vec(inner, 2..4).prop_map(|c| format!("({})", c.join(" or "))),
        ]
    })
}

/// The shape with these atoms in its holes, in turn.
fn rule(shape: &str, atoms: &[String]) -> String {
    let parts: Vec<&str> = shape.split("{}").collect();
    let mut out = parts[0].to_owned();
    for (i, part) in parts[1..].iter().enumerate() {
        out.push_str(&atoms[i % atoms.len()]);
        out.push_str(part);
    }
    out
}

fn someone() -> impl Strategy<Value = Subject> {
    let scope = prop_oneof![
        Just(Scope::Unscoped),
        Just(Scope::System),
        Just(domain("x")),
        Just(Scope::Project { id: "p".into(), domain: Some("x".into()) }),
    ];
    (sample::subsequence(vec!["x", "y", "reader"], 0..3), scope)
        .prop_map(|(roles, scope)| subject(&roles, scope))
}

fn something() -> impl Strategy<Value = Vec<(Fact, Option<&'static str>)>> {
    let fact = sample::select(Fact::ALL).prop_map(|(_, fact)| fact);
    let value =
        prop_oneof![Just(None), sample::select(&["x", "alice", "p", "True", "None"][..]).prop_map(Some)];
    collection::vec((fact, value), 0..24)
}

/// Facts, each with another one about the same object.
fn siblings() -> Vec<(Fact, Fact)> {
    let object = |f: Fact| f.key().rsplit_once('.').map(|(object, _)| object).filter(|o| o.contains('.'));
    let all = || Fact::ALL.iter().map(|(_, fact)| *fact);
    all()
        .flat_map(|one| all().map(move |other| (one, other)))
        .filter(|(one, other)| one != other && object(*one).is_some() && object(*one) == object(*other))
        .collect()
}

fn facts(of: &[(Fact, Option<&'static str>)]) -> Facts {
    of.iter().fold(Facts::none(), |facts, (fact, value)| facts.with_opt(*fact, *value))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    /// An unknown in the place of any atom, at whatever depth and below whatever `not`: nobody is allowed, by the
    /// rule itself or by one that refers to it.
    #[test]
    fn an_unknown_atom_never_allows(
        shape in shape(),
        atoms in collection::vec(atom(), 1..6),
        place in any::<sample::Index>(),
        unknown in sample::select(UNKNOWN),
        around in shape(),
        who in someone(),
        what in something(),
    ) {
        let holes = shape.matches("{}").count();
        let mut all: Vec<String> = (0..holes).map(|i| atoms[i % atoms.len()].clone()).collect();
        all[place.index(holes)] = unknown.to_owned();
        let (bad, outer) = (rule(&shape, &all), rule(&around, &["rule:bad".to_owned()]));
        let policy = Policy::with_overrides([("bad", bad.as_str()), (OP, outer.as_str())]);
        let facts = facts(&what);
        prop_assert!(!policy.holds("bad", &who, &facts), "{}", bad);
        prop_assert!(!policy.holds(OP, &who, &facts), "{} of {}", outer, bad);
        prop_assert!(policy.unknown().any(|(_, rules)| rules.contains("bad")));
        // What does not refer to it is as it was.
        prop_assert_eq!(
            policy.allows(Op::GetUser, &who, &facts), SHIPPED.allows(Op::GetUser, &who, &facts));
    }

    /// What is allowed while something is not told of an object is allowed whatever that is.
    #[test]
    fn what_is_untold_never_allows_more(
        shape in shape(),
        atoms in collection::vec(atom(), 1..6),
        who in someone(),
        what in something(),
        (fact, sibling) in sample::select(siblings()),
        value in prop_oneof![Just(None), sample::select(&["x", "alice", "p", "True"][..]).prop_map(Some)],
    ) {
        let rule = rule(&shape, &atoms);
        let mut what: Vec<_> = what.into_iter().filter(|(f, _)| *f != fact).collect();
        what.push((sibling, Some("x")));
        if says(&rule, &who, &facts(&what)) {
            what.push((fact, value));
            prop_assert!(says(&rule, &who, &facts(&what)), "{} without {:?}", rule, fact);
        }
    }

    /// Whatever the rules are, also those that refer to themselves, judging them ends.
    #[test]
    fn rules_may_refer_to_each_other(
        rules in collection::btree_map(sample::select(&["a", "b", "c", OP][..]), (shape(), sample::select(
            &["rule:a", "rule:b", "rule:c", "rule:nowhere", "role:x"][..])), 0..4),
        who in someone(),
    ) {
        let rules: Vec<(&str, String)> =
            rules.iter().map(|(name, (shape, atom))| (*name, rule(shape, &[(*atom).to_owned()]))).collect();
        let policy = Policy::with_overrides(rules.iter().map(|(name, rule)| (*name, rule.as_str())));
        for (name, _) in &rules {
            let _ = policy.holds(name, &who, &Facts::none());
        }
    }
}
