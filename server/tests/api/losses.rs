//! A token ends for good when, by an act, its user loses in its place an effective role that it carries, and by
//! nothing else. For a token of a trust the user is the root trustor.

use serde_json::json;
use vicar::clock::SECOND;

use crate::support::{Answer, Cast};

/// Tokens of several kinds that all rest on alice's roles on P.
struct Tokens {
    login: String,
    trust: String,
    third: String,
    exchanged: String,
}

impl Tokens {
    #[track_caller]
    fn of(c: &Cast) -> Self {
        let keypair = c.keypair(&c.s.on("alice", &c.p), &c.alice, json!({})).expect(201);
        let [_, _, third] = c.chain_with(false);
        Self {
            login: c.s.on("alice", &c.p),
            trust: c.s.consume("bob", &c.trust(json!({}))).expect(201).token(),
            third: c.s.consume("dave", &third).expect(201).token(),
            exchanged: c.exchange(c.signed(&keypair.body["credential"])).expect(200).token(),
        }
    }

    /// Which of them are valid: login, trust, end of a chain, keypair.
    fn live(&self, c: &Cast) -> [bool; 4] {
        [&self.login, &self.trust, &self.third, &self.exchanged].map(|t| {
            let status = c.s.validate(t).status;
            assert!([200, 404].contains(&status), "{status}");
            status == 200
        })
    }
}

const ALL: [bool; 4] = [true; 4];
const NONE: [bool; 4] = [false; 4];

#[track_caller]
fn did(answer: Answer) {
    assert!([201, 204].contains(&answer.status), "{}", answer.text);
}

/// Grants a role at a path of grants, and takes it back.
#[track_caller]
fn give_and_take(c: &Cast, place: &str, role: &str) {
    let admin = c.s.admin();
    let (head, tail) = place.split_once("/roles").expect("a path of grants");
    let path = format!("{head}/roles/{}{tail}", c.s.role(role));
    did(c.s.put(&admin, &path));
    c.s.clock.advance(2 * SECOND);
    did(c.s.delete(&admin, &path));
    c.s.clock.advance(2 * SECOND);
}

#[test]
fn what_is_taken_in_another_place_ends_nothing() {
    let c = Cast::new();
    let admin = c.s.admin();
    let other = c.s.domain("other");
    let group = c.s.group("g", "default", &[&c.alice]);
    let tokens = Tokens::of(&c);
    let alice = format!("users/{}", c.alice);
    let group = format!("groups/{group}");
    for role in ["reader", "member", "admin"] {
        for who in [&alice, &group] {
            for place in [
                format!("/v3/domains/default/{who}/roles"),
                format!("/v3/domains/{other}/{who}/roles"),
                format!("/v3/projects/{}/{who}/roles", c.q),
                format!("/v3/system/{who}/roles"),
                format!("/v3/OS-INHERIT/domains/{other}/{who}/roles/inherited_to_projects"),
                format!("/v3/OS-INHERIT/projects/{}/{who}/roles/inherited_to_projects", c.q),
                // Below P, but not P itself.
                format!("/v3/OS-INHERIT/projects/{}/{who}/roles/inherited_to_projects", c.p),
            ] {
                give_and_take(&c, &place, role);
                assert_eq!(tokens.live(&c), ALL, "{role} {place}");
            }
        }
    }
    // Nor do those in the middle of a chain lose anything that it rests on.
    for person in [&c.bob, &c.carol, &c.dave] {
        give_and_take(&c, &format!("/v3/projects/{}/users/{person}/roles", c.p), "member");
    }
    assert_eq!(tokens.live(&c), ALL);
    drop(admin);
}

#[test]
fn what_is_still_held_by_another_way_ends_nothing() {
    let c = Cast::new();
    let admin = c.s.admin();
    let group = c.s.group("g", "default", &[&c.alice]);
    let tokens = Tokens::of(&c);
    // `member` is granted to her, and `reader` follows from it.
    for role in ["member", "reader"] {
        for place in [
            format!("/v3/projects/{}/groups/{group}/roles", c.p),
            format!("/v3/OS-INHERIT/domains/default/users/{}/roles/inherited_to_projects", c.alice),
            format!("/v3/OS-INHERIT/domains/default/groups/{group}/roles/inherited_to_projects"),
        ] {
            give_and_take(&c, &place, role);
            assert_eq!(tokens.live(&c), ALL, "{role} {place}");
        }
    }
    // By a membership, and by a whole group.
    c.s.assign("GroupProject", &group, &c.p, "member", false);
    did(c.s.delete(&admin, &format!("/v3/groups/{group}/users/{}", c.alice)));
    c.s.clock.advance(2 * SECOND);
    assert_eq!(tokens.live(&c), ALL);
    let group = c.s.group("h", "default", &[&c.alice]);
    c.s.assign("GroupProject", &group, &c.p, "member", false);
    did(c.s.delete(&admin, &format!("/v3/groups/{group}")));
    c.s.clock.advance(2 * SECOND);
    assert_eq!(tokens.live(&c), ALL);
    // The other way round: the direct grant goes, the group's stays.
    let group = c.s.group("i", "default", &[&c.alice]);
    c.s.assign("GroupProject", &group, &c.p, "member", false);
    did(c.s.delete(&admin, &format!("/v3/projects/{}/users/{}/roles/{}", c.p, c.alice, c.s.role("member"))));
    c.s.clock.advance(2 * SECOND);
    assert_eq!(tokens.live(&c), ALL);
}

#[test]
fn a_delegation_ends_with_its_own_roles_and_a_login_with_any() {
    let c = Cast::new();
    let tokens = Tokens::of(&c);
    // The trusts delegate `member`; she loses the other role.
    let owner = c.s.role("heat_stack_owner");
    let path = format!("/v3/projects/{}/users/{}/roles/{owner}", c.p, c.alice);
    did(c.s.delete(&c.s.admin(), &path));
    assert_eq!(tokens.live(&c), [false, true, true, false]);
    c.s.clock.advance(2 * SECOND);
    did(c.s.put(&c.s.admin(), &path));
    assert_eq!(tokens.live(&c), [false, true, true, false]);
}

/// A token that was dead stays dead, whatever is given later.
#[test]
fn what_is_given_later_is_for_new_tokens() {
    type Ways = [(&'static str, &'static str, bool); 4];
    const WAYS: Ways = [
        ("UserProject", "/v3/projects/{p}/users/{alice}/roles/{role}", false),
        ("GroupProject", "/v3/projects/{p}/groups/{group}/roles/{role}", false),
        (
            "UserDomain",
            "/v3/OS-INHERIT/domains/default/users/{alice}/roles/{role}/inherited_to_projects",
            true,
        ),
        (
            "GroupDomain",
            "/v3/OS-INHERIT/domains/default/groups/{group}/roles/{role}/inherited_to_projects",
            true,
        ),
    ];
    for (kind, path, inherited) in WAYS {
        let c = Cast::new();
        let group = c.s.group("g", "default", &[&c.alice]);
        let role = c.s.role("member");
        c.s.sql_run("DELETE FROM assignment WHERE actor_id = ?", vicar::args![&c.alice]);
        let actor = if kind.starts_with("User") { &c.alice } else { &group };
        let target = if kind.ends_with("Project") { c.p.as_str() } else { "default" };
        c.s.assign(kind, actor, target, "member", inherited);
        let tokens = Tokens::of(&c);
        assert_eq!(tokens.live(&c), ALL, "{kind}");
        let fill = |path: &str, role: &str| {
            let parts = [("{p}", c.p.as_str()), ("{alice}", &c.alice), ("{group}", &group), ("{role}", role)];
            parts.iter().fold(path.to_owned(), |path, (name, id)| path.replace(name, id))
        };
        did(c.s.delete(&c.s.admin(), &fill(path, &role)));
        assert_eq!(tokens.live(&c), NONE, "{kind}");
        c.s.clock.advance(2 * SECOND);
        // Something else, then the same again, and an administrator's role.
        for given in ["service", "member", "admin"] {
            did(c.s.put(&c.s.admin(), &fill(WAYS[0].1, &c.s.role(given))));
            assert_eq!(tokens.live(&c), NONE, "{kind} {given}");
        }
        did(c.s.put(&c.s.admin(), &fill(path, &role)));
        assert_eq!(tokens.live(&c), NONE, "{kind}");
        assert_eq!(Tokens::of(&c).live(&c), ALL, "{kind}");
    }
}

#[test]
fn memberships_groups_roles_and_implications_are_ways_too() {
    let setup = || {
        let c = Cast::new();
        c.s.sql_run("DELETE FROM assignment WHERE actor_id = ?", vicar::args![&c.alice]);
        let group = c.s.group("g", "default", &[&c.alice, &c.carol]);
        c.s.assign("GroupProject", &group, &c.p, "manager", false);
        let tokens = Tokens::of(&c);
        (c, group, tokens)
    };
    // A membership.
    let (c, group, tokens) = setup();
    let member = format!("/v3/groups/{group}/users/{}", c.alice);
    let carol = c.s.on("carol", &c.p);
    did(c.s.delete(&c.s.admin(), &member));
    assert_eq!(tokens.live(&c), NONE);
    c.s.clock.advance(2 * SECOND);
    did(c.s.put(&c.s.admin(), &member));
    assert_eq!(tokens.live(&c), NONE);
    c.s.validate(&carol).expect(200);
    // The group.
    let (c, group, tokens) = setup();
    did(c.s.delete(&c.s.admin(), &format!("/v3/groups/{group}")));
    c.s.clock.advance(2 * SECOND);
    c.s.grant(&c.alice, &c.p, "manager");
    assert_eq!(tokens.live(&c), NONE);
    // The implication of what the trusts delegate.
    let (c, _, tokens) = setup();
    let implied = format!("/v3/roles/{}/implies/{}", c.s.role("manager"), c.s.role("member"));
    did(c.s.delete(&c.s.admin(), &implied));
    // The administrator lost it, too: a login of this second would wait for the next.
    c.s.clock.advance(2 * SECOND);
    assert_eq!(tokens.live(&c), NONE);
    did(c.s.put(&c.s.admin(), &implied));
    assert_eq!(tokens.live(&c), NONE);
    // The role itself.
    let (c, _, tokens) = setup();
    let role = c.s.role("manager");
    c.s.sql_run("DELETE FROM role_option WHERE role_id = ?", vicar::args![&role]);
    did(c.s.delete(&c.s.admin(), &format!("/v3/roles/{role}")));
    c.s.clock.advance(2 * SECOND);
    c.s.grant(&c.alice, &c.p, "member");
    assert_eq!(tokens.live(&c), NONE);
}

#[test]
fn domains_and_the_system_are_places_too() {
    let c = Cast::new();
    let role = c.s.role("reader");
    let admin = c.s.admin();
    for (kind, target, scope, path) in [
        ("UserDomain", "default", json!({"domain": {"id": "default"}}), "domains/default"),
        ("UserSystem", "system", json!({"system": {"all": true}}), "system"),
    ] {
        c.s.assign(kind, &c.dave, target, "reader", false);
        let token = c.s.login("dave", "dave-pw", scope).expect(201).token();
        let elsewhere = c.s.unscoped("dave");
        let path = format!("/v3/{path}/users/{}/roles/{role}", c.dave);
        did(c.s.delete(&admin, &path));
        c.s.validate(&token).expect(404);
        c.s.clock.advance(2 * SECOND);
        did(c.s.put(&admin, &path));
        c.s.validate(&token).expect(404);
        c.s.validate(&elsewhere).expect(200);
        did(c.s.delete(&admin, &path));
        c.s.clock.advance(2 * SECOND);
    }
}
