//! Grants on projects, domains and the system, inherited or not.

use serde_json::{Value, json};

use crate::support::scope::{on_domain, on_project, on_system};
use crate::support::{Cast, Server};

/// A grant's path; `inherited` chooses the routes below OS-INHERIT.
fn path(target: &str, actor: &str, role: &str, inherited: bool) -> String {
    let role = if role.is_empty() { String::new() } else { format!("/{role}") };
    if inherited {
        format!("/v3/OS-INHERIT/{target}/{actor}/roles{role}/inherited_to_projects")
    } else {
        format!("/v3/{target}/{actor}/roles{role}")
    }
}

#[track_caller]
fn role_in(s: &Server, name: &str, domain: Option<&str>) -> String {
    let role = json!({"role": {"name": name, "domain_id": domain}});
    s.post(&s.admin(), "/v3/roles", role).expect(201).body["role"]["id"].as_str().expect("an id").to_owned()
}

#[test]
fn every_kind_of_grant_is_made_checked_listed_and_taken_back() {
    let s = Server::start();
    let admin = s.admin();
    let (user, project, role) = (s.user("u"), s.project("p"), s.role("member"));
    let group = s.group("g", "default", &[]);
    let targets = [format!("projects/{project}"), "domains/default".to_owned(), "system".to_owned()];
    let actors = [format!("users/{user}"), format!("groups/{group}")];
    let mut kinds = Vec::new();
    for target in &targets {
        for actor in &actors {
            kinds.push((target, actor, false));
            if target != "system" {
                kinds.push((target, actor, true));
            }
        }
    }
    assert_eq!(kinds.len(), 10);
    for (i, (target, actor, inherited)) in kinds.iter().enumerate() {
        let one = path(target, actor, &role, *inherited);
        let all = path(target, actor, "", *inherited);
        let listed = || s.get(&admin, &all).expect(200).body["roles"].clone();
        s.get(&admin, &one).expect(404);
        s.delete(&admin, &one).expect(404);
        assert_eq!(listed(), json!([]), "{all}");
        s.put(&admin, &one).expect(204);
        s.put(&admin, &one).expect(204);
        assert_eq!(s.get(&admin, &one).expect(204).text, "");
        s.head(&admin, &one).expect(204);
        let shown = listed();
        assert_eq!(shown[0], s.get(&admin, &format!("/v3/roles/{role}")).expect(200).body["role"]);
        assert_eq!(shown.as_array().map(Vec::len), Some(1));
        // It is this grant and no other.
        for (other, (target, actor, inherited)) in kinds.iter().enumerate() {
            let there = s.head(&admin, &path(target, actor, &role, *inherited)).status;
            assert_eq!(there, if other == i { 204 } else { 404 }, "{one} {target} {actor} {inherited}");
        }
        s.delete(&admin, &one).expect(204);
        s.head(&admin, &one).expect(404);
    }
}

#[test]
fn what_is_not_there_cannot_be_granted() {
    let s = Server::start();
    let admin = s.admin();
    let (user, project, role) = (s.user("u"), s.project("p"), s.role("member"));
    let nobody = s.unscoped("u");
    for (target, actor, role) in [
        (format!("projects/{project}"), format!("users/{user}"), "unknown"),
        (format!("projects/{project}"), "users/unknown".to_owned(), &*role),
        (format!("projects/{project}"), "groups/unknown".to_owned(), &*role),
        ("projects/unknown".to_owned(), format!("users/{user}"), &*role),
        ("projects/%3C%3Ckeystone.domain.root%3E%3E".to_owned(), format!("users/{user}"), &*role),
        ("domains/unknown".to_owned(), format!("users/{user}"), &*role),
        (format!("domains/{project}"), format!("users/{user}"), &*role),
        ("domains/%3C%3Ckeystone.domain.root%3E%3E".to_owned(), format!("users/{user}"), &*role),
        ("system".to_owned(), "users/unknown".to_owned(), &*role),
        ("system".to_owned(), format!("users/{user}"), "unknown"),
    ] {
        for inherited in [false, true] {
            if inherited && target == "system" {
                continue;
            }
            let one = path(&target, &actor, role, inherited);
            for method in ["PUT", "GET", "HEAD", "DELETE"] {
                s.call(method, &one, &[("X-Auth-Token", &admin)], None).expect(404);
            }
            // Without rights, the inherited routes do not tell what is there.
            let status = s.put(&nobody, &one).status;
            assert_eq!(status, if inherited { 403 } else { 404 }, "{one}");
        }
    }
    // What a deleted user left behind can be cleaned up.
    let one = path(&format!("projects/{project}"), &format!("users/{user}"), &role, false);
    s.put(&admin, &one).expect(204);
    s.sql_run("DELETE FROM \"user\" WHERE id = ?", vicar::args![&user]);
    s.head(&admin, &one).expect(404);
    s.delete(&admin, &one).expect(204);
    s.delete(&admin, &one).expect(404);
}

#[test]
fn roles_of_a_domain_stay_in_it() {
    let s = Server::start();
    let admin = s.admin();
    let (d, e) = (s.domain("d"), s.domain("e"));
    let (p, q) = (s.project_below("p", &d, None), s.project_below("q", &e, None));
    let user = format!("users/{}", s.user("u"));
    let own = role_in(&s, "own", Some(&d));
    for inherited in [false, true] {
        s.put(&admin, &path(&format!("projects/{p}"), &user, &own, inherited)).expect(204);
        s.put(&admin, &path(&format!("projects/{q}"), &user, &own, inherited)).expect(403);
        s.put(&admin, &path(&format!("projects/{d}"), &user, &own, inherited)).expect(403);
        s.put(&admin, &path(&format!("domains/{d}"), &user, &own, inherited)).expect(204);
    }
    s.put(&admin, &path("system", &user, &own, false)).expect(400);
    // No token shows it.
    s.login("u", "u-pw", on_project(&p)).expect(401);
}

/// Where an object of the personas below is.
#[derive(Clone, Copy, PartialEq, Debug)]
enum In {
    Own,
    Other,
}

#[test]
fn who_may_grant_what() {
    use In::{Other, Own};
    let s = Server::start();
    let (d, e) = (s.domain("d"), s.domain("e"));
    let (p, q) = (s.project_below("p", &d, None), s.project_below("q", &e, None));
    let plain = role_in(&s, "plain", None);
    let roles = [
        ("plain", plain.clone()),
        ("member", s.role("member")),
        ("own", role_in(&s, "own", Some(&d))),
        ("other", role_in(&s, "other", Some(&e))),
    ];
    let actors = [
        (Own, format!("users/{}", s.user_in("u", &d))),
        (Own, format!("groups/{}", s.group("g", &d, &[]))),
        (Other, format!("users/{}", s.user_in("v", &e))),
        (Other, format!("groups/{}", s.group("h", &e, &[]))),
    ];
    let targets = [
        (Own, format!("projects/{p}")),
        (Own, format!("domains/{d}")),
        (Other, format!("projects/{q}")),
        (Other, format!("domains/{e}")),
    ];
    let on = |role: &str, scope: Value| s.persona(role, &d, scope);
    let personas = [
        ("all", on("admin", on_system())),
        ("all", on("admin", on_project(&p))),
        ("all", on("admin", on_domain(&d))),
        ("read", on("member", on_system())),
        ("read", on("reader", on_system())),
        ("manage", on("manager", on_domain(&d))),
        ("look", on("member", on_domain(&d))),
        ("look", on("reader", on_domain(&d))),
        ("none", on("manager", on_project(&p))),
        ("none", on("reader", on_project(&p))),
    ];
    for (power, token) in &personas {
        for (target_in, target) in &targets {
            for (actor_in, actor) in &actors {
                let home = *target_in == Own && *actor_in == Own;
                let sees = match *power {
                    "all" | "read" => true,
                    "manage" | "look" => home,
                    _ => false,
                };
                let context = format!("{power} {target} {actor}");
                let listed = s.get(token, &path(target, actor, "", false)).status;
                assert_eq!(listed, if sees { 200 } else { 403 }, "{context}");
                for (name, role) in &roles {
                    let one = path(target, actor, role, false);
                    // Roles of a domain do not fit on projects of another.
                    let fits = match *name {
                        "own" => *target_in == Own || target.starts_with("domains"),
                        "other" => *target_in == Other || target.starts_with("domains"),
                        _ => true,
                    };
                    let may = *power == "all" || (*power == "manage" && home && *name == "member");
                    let made = s.put(token, &one).status;
                    assert_eq!(made, if may && fits { 204 } else { 403 }, "{context} {name}");
                    let foreign = *name == "other" && matches!(*power, "manage" | "look");
                    let checked = s.head(token, &one).status;
                    let there = if made == 204 { 204 } else { 404 };
                    assert_eq!(checked, if sees && !foreign { there } else { 403 }, "{context} {name}");
                    let ended = s.delete(token, &one).status;
                    assert_eq!(ended, if may { there } else { 403 }, "{context} {name}");
                }
            }
        }
        // The system is not a domain's business.
        let one = path("system", &actors[0].1, &plain, false);
        let in_domain = matches!(*power, "manage" | "look") || token == &personas[2].1;
        let status = |yes: u16, may: bool| if may && !in_domain { yes } else { 403 };
        s.put(token, &one).expect(status(204, *power == "all"));
        s.head(token, &one)
            .expect(status(if *power == "all" { 204 } else { 404 }, matches!(*power, "all" | "read")));
        s.delete(token, &one).expect(status(204, *power == "all"));
    }
    s.call("PUT", &path("system", &actors[0].1, &plain, false), &[], None).expect(401);
}

#[test]
fn grants_work_in_tokens_at_once() {
    let s = Server::start();
    let admin = s.admin();
    let d = s.domain("d");
    let top = s.project_below("top", &d, None);
    let leaf = s.project_below("leaf", &d, Some(&top));
    let user = s.user("u");
    let group = s.group("g", "default", &[&user]);
    let reader = s.role("reader");
    for (target, actor, inherited, scope, elsewhere) in [
        (format!("projects/{leaf}"), format!("users/{user}"), false, on_project(&leaf), on_project(&top)),
        (format!("projects/{top}"), format!("groups/{group}"), true, on_project(&leaf), on_project(&top)),
        (format!("domains/{d}"), format!("users/{user}"), true, on_project(&top), on_domain(&d)),
        (format!("domains/{d}"), format!("groups/{group}"), false, on_domain(&d), on_project(&top)),
        ("system".to_owned(), format!("groups/{group}"), false, on_system(), on_domain(&d)),
    ] {
        let one = path(&target, &actor, &reader, inherited);
        s.login("u", "u-pw", scope.clone()).expect(401);
        s.put(&admin, &one).expect(204);
        let token = s.login("u", "u-pw", scope.clone()).expect(201).token();
        s.login("u", "u-pw", elsewhere).expect(401);
        s.delete(&admin, &one).expect(204);
        s.validate(&token).expect(404);
        s.login("u", "u-pw", scope).expect(401);
        s.clock.advance(1_000_000);
    }
}

#[test]
fn a_grant_that_is_taken_back_takes_the_tokens_of_trusts_with_it() {
    let c = Cast::new();
    let admin = c.s.admin();
    let group = c.s.group("g", "default", &[&c.alice]);
    let role = role_in(&c.s, "viewer", None);
    for (target, actor, inherited) in [
        (format!("projects/{}", c.p), format!("users/{}", c.alice), false),
        (format!("projects/{}", c.p), format!("groups/{group}"), false),
        ("domains/default".to_owned(), format!("users/{}", c.alice), true),
        ("domains/default".to_owned(), format!("groups/{group}"), true),
    ] {
        let one = path(&target, &actor, &role, inherited);
        c.s.put(&admin, &one).expect(204);
        let trust = c.trust(json!({"roles": [{"name": "viewer"}]}));
        let other = c.trust(json!({}));
        let token = c.s.consume("bob", &trust).expect(201).token();
        let kept = c.s.consume("bob", &other).expect(201).token();
        c.s.delete(&admin, &one).expect(204);
        c.s.validate(&token).expect(404);
        c.s.consume("bob", &trust).expect(401);
        c.s.clock.advance(1_000_000);
        c.s.put(&admin, &one).expect(204);
        c.s.validate(&token).expect(404);
        c.s.consume("bob", &trust).expect(201);
        c.s.validate(&kept).expect(200);
        c.s.delete(&admin, &one).expect(204);
        c.s.clock.advance(1_000_000);
    }
}

/// A token that stands on a delegation cannot hand out more than its policy allows, and a trust is no way
/// to grant roles on another project.
#[test]
fn a_trust_token_grants_nothing() {
    let c = Cast::new();
    let trust = c.trust(json!({}));
    let token = c.s.consume("bob", &trust).expect(201).token();
    let one = path(&format!("projects/{}", c.q), &format!("users/{}", c.bob), &c.s.role("member"), false);
    for method in ["PUT", "GET", "DELETE"] {
        c.s.call(method, &one, &[("X-Auth-Token", &token)], None).expect(403);
    }
}
