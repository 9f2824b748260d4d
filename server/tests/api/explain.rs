//! Why a token or a trust may do something: what is explained is what is decided, and nobody learns what they may not see.

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};
use tower::ServiceExt;
use vicar::auth::fernet::PayloadScope;
use vicar::clock::{SECOND, iso};
use vicar::dispatch::Auth;
use vicar::routes::{self, ROUTES};

use crate::support::{Answer, Cast, id, scope};

const PATH: &str = "/v3/auth/explain";
const TRUSTS: &str = "/v3/OS-TRUST/trusts";

fn explain(c: &Cast, token: &str, question: Value) -> Answer {
    c.s.post(token, PATH, json!({ "explain": question }))
}

/// The explanation.
#[track_caller]
fn told(c: &Cast, token: &str, question: Value) -> Value {
    explain(c, token, question).expect(200).body["explanation"].clone()
}

#[track_caller]
fn is_allowed(c: &Cast, token: &str, question: Value) -> bool {
    told(c, token, question)["allowed"].as_bool().expect("a verdict")
}

/// The words of the steps about something.
fn texts(explanation: &Value, about: &str) -> Vec<String> {
    let steps = explanation["because"].as_array().expect("steps").iter().filter(|s| s["step"] == about);
    steps.map(|s| s["text"].as_str().expect("words").to_owned()).collect()
}

/// That one of these steps has these words.
#[track_caller]
fn says(explanation: &Value, about: &str, words: &str) {
    let all = texts(explanation, about);
    assert!(all.iter().any(|text| text.contains(words)), "{words}: {all:#?}\n{explanation:#}");
}

/// Whether a request is answered with what somebody lacks.
fn is_refused(status: u16) -> bool {
    matches!(status, 401 | 403 | 404)
}

/// Tokens of all kinds, by what they are of.
fn tokens(c: &Cast) -> Vec<(&'static str, String)> {
    let [first, second, third] = c.chain();
    let bob = c.s.consume("bob", &first).expect(201).token();
    let less = json!({"OS-TRUST:trust": {"id": first, "roles": [{"name": "reader"}]}});
    let keypair = c.keypair(&bob, &c.alice, json!({})).expect(201).body["credential"].clone();
    c.application_credential("ac");
    let of_credential = PayloadScope::ApplicationCredential(c.p.clone(), "ac".into());
    vec![
        ("admin", c.s.admin()),
        ("manager of a domain", c.s.persona("manager", "default", scope::on_domain("default"))),
        ("reader of the system", c.s.persona("reader", "default", scope::on_system())),
        ("reader of the project", c.s.persona("reader", "default", scope::on_project(&c.p))),
        ("alice on P", c.s.on("alice", &c.p)),
        ("bob", c.s.unscoped("bob")),
        ("service", c.svc()),
        ("trust", bob),
        ("less of a trust", c.s.login("bob", "bob-pw", less).expect(201).token()),
        ("trust below", c.s.consume("carol", &second).expect(201).token()),
        ("trust further below", c.s.consume("dave", &third).expect(201).token()),
        ("keypair", c.exchange(c.signed(&keypair)).expect(200).token()),
        ("application credential", c.foreign_token(&c.alice, &["application_credential"], of_credential)),
    ]
}

/// How the server itself would answer, up to the first write: 202.
fn played(c: &Cast, method: &Method, path: &str, token: &str) -> u16 {
    let request = Request::builder().method(method).uri(path).header("X-Auth-Token", token);
    let request = request.body(Body::empty()).expect("a request");
    let router = routes::public(c.s.app.clone());
    let work = async { vicar::authz::watch(router.oneshot(request)).await };
    let (Ok(answer), _) = c.s.runtime.block_on(work);
    answer.status().as_u16()
}

/// A value for each variable part of a path that has objects here.
fn object(c: &Cast, name: &str, trust: &str, role: &str, group: &str) -> String {
    match name {
        "trust_id" => trust.to_owned(),
        "user_id" => c.alice.clone(),
        "project_id" => c.p.clone(),
        "domain_id" => "default".to_owned(),
        "role_id" | "prior_role_id" => role.to_owned(),
        "group_id" => group.to_owned(),
        "region_id" => "RegionOne".to_owned(),
        _ => "missing".to_owned(),
    }
}

/// Every request that needs no body, by tokens of all kinds, on objects that are there and on others.
#[test]
fn what_is_explained_is_what_a_request_is_answered() {
    let c = Cast::new();
    let all = tokens(&c);
    let trust = c.trust(json!({}));
    let (role, group) = (c.s.role("member"), c.s.group("crew", "default", &[&c.bob]));
    let (mut cases, mut allowed) = (0, 0);
    for route in ROUTES {
        let is_plain = route.declared.body.is_none() && route.form.is_none() && route.header.is_none();
        // As many of the same kind say no more.
        let is_odd = ["OS-INHERIT", "OS-ENDPOINT-POLICY", "OS-EP-FILTER", "OS-FEDERATION"]
            .iter()
            .any(|p| route.path.contains(p));
        if route.auth != Auth::Required || !is_plain || is_odd {
            continue;
        }
        for is_there in [true, false] {
            if !is_there && route.params().count() == 0 {
                continue;
            }
            let path = route.params().fold(route.path.to_owned(), |path, name| {
                let id =
                    if is_there { object(&c, name, &trust, &role, &group) } else { "missing".to_owned() };
                path.replace(&format!("{{{name}}}"), &id)
            });
            for (kind, token) in &all {
                // A leaf does nothing here, whatever it asks for.
                if *kind == "keypair" {
                    explain(&c, token, json!({})).expect(403);
                    continue;
                }
                let method = route.method.as_str();
                let question = json!({"method": method, "path": path});
                let explained = is_allowed(&c, token, question);
                let reads = route.method == Method::GET || route.method == Method::HEAD;
                let status = match explained && !reads {
                    true => played(&c, &route.method, &path, token),
                    false => c.s.call(method, &path, &[("X-Auth-Token", token)], None).status,
                };
                assert_eq!(explained, !is_refused(status), "{kind}: {route:?} as {path}: {status}");
                cases += 1;
                allowed += usize::from(explained);
            }
        }
    }
    assert!(cases > 1_000 && allowed > 300 && cases - allowed > 500, "{allowed} of {cases}");
}

/// What needs a body, really done: the operation and ids in the question, the same in the request.
#[test]
fn what_is_explained_of_making_trusts_and_keypairs_is_what_happens() {
    let c = Cast::new();
    let all = tokens(&c);
    let admin = c.s.admin();
    let mut verdicts = Vec::new();
    for (kind, token) in &all {
        if *kind == "keypair" {
            continue;
        }
        // The same trust with the same end is made once.
        c.s.clock.advance(SECOND);
        let shown =
            c.s.call("GET", "/v3/auth/tokens", &[("X-Auth-Token", &admin), ("X-Subject-Token", token)], None);
        let own = shown.expect(200).body["token"].clone();
        let user = own["user"]["id"].as_str().expect("an id");
        let roles: Vec<Value> =
            own["roles"].as_array().into_iter().flatten().map(|r| json!({"id": r["id"]})).collect();
        let project = own["project"]["id"].as_str().unwrap_or(&c.p).to_owned();
        let roles = if roles.is_empty() { vec![json!({"id": c.s.role("member")})] } else { roles };
        let question = json!({
            "operation": "identity:create_trust",
            "target": {"project_id": project, "role_id": roles[0]["id"]},
        });
        let explained = is_allowed(&c, token, question);
        let body = json!({"trust": {
            "trustor_user_id": user, "trustee_user_id": user, "project_id": project, "impersonation": false,
            "roles": [roles[0]], "expires_at": iso(c.s.clock.now() + SECOND),
        }});
        let status = c.s.post(token, TRUSTS, body).status;
        assert_eq!(explained, status == 201, "{kind}: {status}");
        let path = format!("/v3/users/{user}/credentials/OS-EC2");
        let question =
            json!({"operation": "identity:ec2_create_credential", "target": {"project_id": project}});
        let of_keypair = is_allowed(&c, token, question);
        let status = c.s.post(token, &path, json!({"tenant_id": project})).status;
        assert_eq!(of_keypair, status == 201, "{kind}: a keypair: {status}");
        verdicts.push((explained, of_keypair));
    }
    for wanted in [true, false] {
        assert!(
            verdicts.iter().any(|v| v.0 == wanted) && verdicts.iter().any(|v| v.1 == wanted),
            "{verdicts:?}"
        );
    }
    // Nobody makes a trust that is longer, or goes further, than a ceiling lets it.
    let alice = c.s.on("alice", &c.p);
    let ceiling = |what: Value| {
        let path = format!("/v3/projects/{}/delegation_policy", c.p);
        let body = json!({"delegation_policy": what}).to_string();
        c.s.call("PUT", &path, &[("X-Auth-Token", &admin)], Some(body.as_bytes())).expect(200);
    };
    ceiling(json!({"never_roles": [{"name": "member"}]}));
    let why = told(&c, &alice, json!({"operation": "identity:create_trust"}));
    assert_eq!(why["allowed"], false);
    says(&why, "rule", &format!("is among never_roles of project {}", c.p));
    ceiling(json!({"expiry_required": true, "max_lifetime": 1}));
    assert!(is_allowed(&c, &alice, json!({"operation": "identity:create_trust"})));
}

#[test]
fn what_a_ceiling_is_is_told_to_those_whom_it_refuses_and_who_may_read_it() {
    let c = Cast::new();
    let [first, second, _] = c.chain();
    let admin = c.s.admin();
    let path = format!("/v3/users/{}/delegation_policy", c.alice);
    let body = json!({"delegation_policy": {"max_depth": 1}}).to_string();
    c.s.call("PUT", &path, &[("X-Auth-Token", &admin)], Some(body.as_bytes())).expect(200);
    let on = |trust: &str| json!({"subject": {"trust_id": trust}, "operation": "identity:create_trust"});
    let depth = format!("max_depth of user {} is 1", c.alice);
    for (asker, of) in [("carol", &second), ("alice", &second)] {
        says(&told(&c, &c.s.unscoped(asker), on(of)), "rule", &depth);
    }
    says(&told(&c, &admin, on(&second)), "rule", &depth);
    let manager = c.s.user("erin");
    c.s.grant(&manager, &c.p, "manager");
    let manager = c.s.on("erin", &c.p);
    let why = told(&c, &manager, on(&second));
    assert_eq!(why["allowed"], false);
    says(&why, "rule", "a delegation policy refuses it");
    assert!(!why.to_string().contains("max_depth"), "{why:#}");
    assert!(is_allowed(&c, &manager, on(&first)));
}

#[test]
fn what_a_body_has_to_name_is_ones_own_unless_the_target_names_it() {
    let c = Cast::new();
    let alice = c.s.on("alice", &c.p);
    let made = |token: &str| json!({"operation": "identity:create_credential", "target": {"user_id": token}});
    assert!(is_allowed(&c, &alice, json!({"operation": "identity:create_credential"})));
    assert!(is_allowed(&c, &alice, made(&c.alice)));
    assert!(!is_allowed(&c, &alice, made(&c.bob)));
    let of_domain = c.s.persona("manager", "default", json!({"domain": {"id": "default"}}));
    let of_project = c.s.persona("manager", "default", json!({"project": {"id": c.p}}));
    for kind in ["user", "group", "project"] {
        let question = json!({"method": "POST", "path": format!("/v3/{kind}s")});
        assert!(is_allowed(&c, &of_domain, question.clone()), "{kind}");
        assert!(!is_allowed(&c, &of_project, question), "{kind}");
        let body = json!({kind: {"name": format!("a {kind}"), "domain_id": "default"}});
        c.s.post(&of_domain, &format!("/v3/{kind}s"), body.clone()).expect(201);
        c.s.post(&of_project, &format!("/v3/{kind}s"), body).expect(403);
    }
}

#[test]
fn a_name_that_the_request_does_not_have_is_refused() {
    let c = Cast::new();
    let admin = c.s.admin();
    for (question, told) in [
        (json!({"operation": "identity:delete_user", "target": {"userid": c.bob}}), "userid"),
        (json!({"operation": "identity:get_user", "target": {"nope": "x"}}), "names: user_id"),
        (json!({"operation": "identity:create_trust", "target": {"trustee": c.bob}}), "trustee_user_id"),
        (json!({"method": "GET", "path": "/v3/users", "target": {"user_id": c.bob}}), "user_id"),
    ] {
        let answer = explain(&c, &admin, question).expect(400);
        assert!(answer.text.contains("explain.target") && answer.text.contains(told), "{}", answer.text);
    }
}

#[test]
fn a_suspended_trust_is_told_by_what_suspends_it() {
    let c = Cast::new();
    let trust = c.trust(json!({}));
    let path = format!("{TRUSTS}/{trust}/suspend");
    c.s.post(&c.s.unscoped("alice"), &path, json!({"suspension": {"reason": "a look"}})).expect(200);
    let question = json!({"method": "POST", "path": "/v3/auth/tokens", "target": {"trust_id": trust}});
    let why = told(&c, &c.s.unscoped("bob"), question);
    says(&why, "target", "was suspended");
    assert!(texts(&why, "rule").is_empty(), "{why:#}");
}

#[test]
fn where_nobody_may_be_a_trustee_an_explanation_says_that_not_everybody_may() {
    let c = Cast::new();
    let path = format!("/v3/projects/{}/delegation_policy", c.p);
    let body = json!({"delegation_policy": {"allowed_trustees": []}}).to_string();
    c.s.call("PUT", &path, &[("X-Auth-Token", &c.s.admin())], Some(body.as_bytes())).expect(200);
    let alice = c.s.on("alice", &c.p);
    let why = told(&c, &alice, json!({"operation": "identity:create_trust"}));
    says(&why, "trustee", "not everybody may be a trustee");
    let own = json!({"operation": "identity:create_trust", "target": {"trustee_user_id": c.alice}});
    assert!(!is_allowed(&c, &alice, own));
}

#[test]
fn the_domain_of_the_project_of_a_trust_is_not_told_to_its_trustee() {
    let c = Cast::new();
    let trust = c.trust(json!({}));
    let question = json!({"operation": "vicar:suspend_trust", "target": {"trust_id": trust}});
    let facts = |token: &str| told(&c, token, question.clone()).to_string().contains("\"facts\":");
    assert_eq!([facts(&c.s.unscoped("bob")), facts(&c.s.admin())], [false, true]);
}

#[test]
fn a_change_of_what_is_immutable_is_explained_as_refused() {
    let c = Cast::new();
    let admin = c.s.admin();
    let role = c.s.role("heat_stack_owner");
    let question = json!({"operation": "identity:update_role", "target": {"role_id": role}});
    assert!(is_allowed(&c, &admin, question.clone()));
    let path = format!("/v3/roles/{role}");
    c.s.patch(&admin, &path, json!({"role": {"options": {"immutable": true}}})).expect(200);
    let why = told(&c, &admin, question);
    c.s.patch(&admin, &path, json!({"role": {"description": "another"}})).expect(403);
    assert_eq!(why["allowed"], false);
    says(&why, "rule", "immutable");
}

#[test]
fn a_trust_is_explained_as_the_token_that_it_would_give() {
    let c = Cast::new();
    let [first, second, third] = c.chain();
    let alice = c.s.on("alice", &c.p);
    let mut seen = [false, false];
    for (user, trust) in [("bob", &first), ("carol", &second), ("dave", &third)] {
        let token = c.s.consume(user, trust).expect(201).token();
        for question in [
            json!({"operation": "identity:create_trust"}),
            json!({"operation": "identity:get_trust", "target": {"trust_id": first}}),
            json!({"operation": "identity:delete_trust", "target": {"trust_id": second}}),
            json!({"operation": "vicar:suspend_trust", "target": {"trust_id": third}}),
            json!({"operation": "identity:ec2_create_credential"}),
            json!({"operation": "identity:create_application_credential"}),
            json!({"operation": "identity:get_project", "target": {"project_id": c.p}}),
            json!({"operation": "identity:update_project", "target": {"project_id": c.p}}),
            json!({"operation": "identity:get_auth_catalog"}),
            json!({"method": "GET", "path": "/v3/auth/projects"}),
        ] {
            let mut of_trust = question.clone();
            of_trust["subject"] = json!({"trust_id": trust});
            let (own, of_trust) =
                (is_allowed(&c, &token, question.clone()), is_allowed(&c, &alice, of_trust));
            assert_eq!(own, of_trust, "{user}: {question}");
            seen[usize::from(own)] = true;
        }
    }
    assert_eq!(seen, [true, true]);
}

#[test]
fn it_says_which_link_took_a_role_and_what_ends_or_pauses_a_trust() {
    let c = Cast::new();
    let [first, second, third] = c.chain();
    let alice = c.s.unscoped("alice");
    let why = |trust: &str| told(&c, &alice, json!({"subject": {"trust_id": trust}}));
    let whole = why(&third);
    assert_eq!(whole["allowed"], true);
    assert_eq!(texts(&whole, "link").len(), 3);
    says(
        &whole,
        "link",
        &format!("link 2, trust {third}: user {} delegates member to user {}", c.alice, c.dave),
    );
    says(&whole, "condition", &format!("user {} uses it", c.dave));
    // Somebody suspends the one in the middle.
    let path = format!("{TRUSTS}/{second}/suspend");
    c.s.post(&alice, &path, json!({"suspension": {"reason": "lost laptop"}})).expect(200);
    let paused = why(&third);
    assert_eq!(paused["allowed"], false);
    says(&paused, "trust", &format!("is suspended: trust {second} was suspended"));
    says(&paused, "link", &format!("user {} suspended it: lost laptop", c.alice));
    c.s.call("POST", &format!("{TRUSTS}/{second}/resume"), &[("X-Auth-Token", &alice)], None).expect(200);
    // The first trustor loses the role.
    let grant = format!("/v3/projects/{}/users/{}/roles/{}", c.p, c.alice, c.s.role("member"));
    c.s.delete(&c.s.admin(), &grant).expect(204);
    c.s.clock.advance(SECOND);
    let alice = c.s.unscoped("alice");
    let why = |trust: &str| told(&c, &alice, json!({"subject": {"trust_id": trust}}));
    let lost = why(&third);
    says(
        &lost,
        "link",
        &format!("user {} does not have reader, member", c.alice).replace("reader, member", ""),
    );
    let links: Vec<&Value> =
        lost["because"].as_array().expect("steps").iter().filter(|s| s["step"] == "link").collect();
    assert_eq!(
        links.iter().map(|l| &l["allows"]).collect::<Vec<_>>(),
        [&json!(false), &json!(null), &json!(null)]
    );
    // A ceiling for what exists, and an end.
    let admin = c.s.admin();
    let put = format!("/v3/users/{}/delegation_policy", c.alice);
    let body = json!({"delegation_policy": {"max_depth": 1, "applies_to_existing": true}}).to_string();
    c.s.call("PUT", &put, &[("X-Auth-Token", &admin)], Some(body.as_bytes())).expect(200);
    says(
        &why(&third),
        "trust",
        &format!("is above a ceiling: redelegation_count: max_depth of user {} is 1", c.alice),
    );
    c.s.delete(&alice, &format!("{TRUSTS}/{first}")).expect(204);
    says(&why(&third), "trust", "is deleted");
    assert_eq!(why(&third)["allowed"], false);
}

#[test]
fn the_conditions_of_a_trust_are_looked_at_for_who_would_use_it() {
    let c = Cast::with("[auth]\nmethods = password,token,totp\n");
    let bob = c.s.unscoped("bob");
    let may_use = |token: &str, trust: &str, with: Value| {
        let mut target = json!({"trust_id": trust});
        for (name, value) in with.as_object().expect("an object") {
            target[name] = value.clone();
        }
        told(&c, token, json!({"method": "POST", "path": "/v3/auth/tokens", "target": target}))
    };
    let plain = c.trust(json!({"remaining_uses": 1}));
    assert_eq!(may_use(&bob, &plain, json!({}))["allowed"], true);
    says(&may_use(&c.s.unscoped("alice"), &plain, json!({})), "rule", "not a trustee");
    // Asking takes no use.
    c.s.consume("bob", &plain).expect(201);
    assert_eq!(may_use(&bob, &plain, json!({}))["allowed"], false);
    let asked = c.trust(json!({
        "max_login_age": 60, "required_methods": ["totp"], "external_id": "tenant 7", "expires_at": iso(START_END),
    }));
    says(&may_use(&bob, &asked, json!({})), "rule", "external_id");
    says(&may_use(&bob, &asked, json!({"external_id": "tenant 8"})), "rule", "external_id");
    says(&may_use(&bob, &asked, json!({"external_id": "tenant 7"})), "rule", "totp");
    let why = told(&c, &c.s.unscoped("alice"), json!({"subject": {"trust_id": asked}}));
    for words in ["at most 60 seconds ago", "by totp", "present its external_id"] {
        says(&why, "condition", words);
    }
    assert!(!why.to_string().contains("tenant 7"), "{why}");
    let later = c.trust(json!({"not_before": iso(c.s.clock.now() + 5 * SECOND)}));
    let early = may_use(&bob, &later, json!({}));
    says(&early, "target", &format!("suspended: trust {later} gives nothing yet"));
}

/// An end after all that a test does.
const START_END: i64 = crate::support::START + 9_000 * SECOND;

#[test]
fn access_rules_are_looked_at_here_and_for_other_services() {
    let c = Cast::new();
    let admin = c.s.admin();
    c.s.post(&admin, "/v3/services", json!({"service": {"type": "identity", "name": "keystone"}}))
        .expect(201);
    let rules = json!([
        {"service": "compute", "method": "GET", "path": "/v2.1/servers/*"},
        {"service": "identity", "method": "GET", "path": "/v3/auth/projects"},
    ]);
    let trust = c.trust(json!({"access_rules": rules}));
    let token = c.s.consume("bob", &trust).expect(201).token();
    let ask = |service: &str, method: &str, path: &str| {
        told(&c, &token, json!({"service": service, "method": method, "path": path}))
    };
    assert_eq!(ask("compute", "GET", "/v2.1/servers/7")["allowed"], true);
    let no = ask("compute", "POST", "/v2.1/servers");
    assert_eq!(no["allowed"], false);
    says(&no, "access_rules", "the access rules do not allow it: POST /v2.1/servers of compute");
    for (path, allowed) in [("/v3/auth/projects", true), ("/v3/auth/catalog", false)] {
        assert_eq!(ask("identity", "GET", path)["allowed"], allowed, "{path}");
        let status = c.s.get(&token, path).status;
        assert_eq!(status == 200, allowed, "{path}");
    }
    // A login is limited by nothing of the kind, and the service decides.
    let login = told(&c, &admin, json!({"service": "compute", "method": "POST", "path": "/v2.1/servers"}));
    assert_eq!(login["allowed"], true);
    says(&login, "request", "the service decides");
}

/// What a stranger is told of two objects is the same but for the ids that they gave.
#[track_caller]
fn assert_same(c: &Cast, token: &str, of: impl Fn(&str) -> Value, there: &str, missing: &str) {
    let ask = |id: &str| {
        let answer = explain(c, token, of(id));
        (answer.status, answer.text.replace(id, "ID"))
    };
    let (one, other) = (ask(there), ask(missing));
    assert_eq!(one, other, "{}", of("ID"));
    assert!(!one.1.contains("\"allowed\":true"), "{}", one.1);
}

#[test]
fn a_stranger_does_not_learn_what_exists() {
    let c = Cast::new();
    let admin = c.s.admin();
    let trust = c.trust(json!({"allow_redelegation": true}));
    // One that they do not hold themselves.
    let (role, group) = (c.s.role("heat_stack_owner"), c.s.group("crew", "default", &[&c.alice]));
    let keypair = c.keypair(&c.s.on("alice", &c.p), &c.alice, json!({})).expect(201);
    let access = keypair.body["credential"]["access"].as_str().expect("an id").to_owned();
    let stranger = c.s.user("mallory");
    let elsewhere = c.s.project("elsewhere");
    c.s.grant(&stranger, &elsewhere, "member");
    let dead = c.s.consume("bob", &trust).expect(201).token();
    c.s.call("DELETE", "/v3/auth/tokens", &[("X-Auth-Token", &admin), ("X-Subject-Token", &dead)], None)
        .expect(204);
    let missing = "0123456789abcdef0123456789abcdef";
    let own_trust = {
        let on = c.s.on("mallory", &elsewhere);
        let body = json!({"trust": {
            "trustor_user_id": stranger, "trustee_user_id": c.bob, "project_id": elsewhere, "impersonation": true,
            "roles": [{"name": "member"}], "allow_redelegation": true,
        }});
        id(&c.s.post(&on, TRUSTS, body).expect(201), "trust")
    };
    let of_trust = c.s.consume("bob", &own_trust).expect(201).token();
    for token in [c.s.unscoped("mallory"), c.s.on("mallory", &elsewhere), of_trust] {
        let operation = |name: &str, key: &str| {
            let (name, key) = (name.to_owned(), key.to_owned());
            move |id: &str| json!({"operation": name, "target": {key.as_str(): id}})
        };
        for (name, key, there) in [
            ("identity:get_user", "user_id", &c.alice),
            ("identity:delete_user", "user_id", &c.alice),
            ("identity:update_user", "user_id", &c.alice),
            ("identity:revoke_tokens_for_user", "user_id", &c.alice),
            ("vicar:list_user_delegations", "user_id", &c.alice),
            ("identity:ec2_create_credential", "user_id", &c.alice),
            ("identity:ec2_create_credential", "project_id", &c.p),
            ("identity:create_trust", "project_id", &c.p),
            ("identity:create_trust", "role_id", &c.s.role("admin")),
            ("identity:get_project", "project_id", &c.p),
            ("identity:delete_project", "project_id", &c.p),
            ("vicar:list_project_delegations", "project_id", &c.p),
            ("identity:create_project", "parent_id", &c.p),
            ("identity:get_role", "role_id", &role),
            ("identity:delete_role", "role_id", &role),
            ("identity:get_group", "group_id", &group),
            ("identity:list_users_in_group", "group_id", &group),
            ("identity:get_trust", "trust_id", &trust),
            ("identity:delete_trust", "trust_id", &trust),
            ("vicar:renounce_trust", "trust_id", &trust),
            ("vicar:get_trust_lineage", "trust_id", &trust),
            ("vicar:suspend_trust", "trust_id", &trust),
            ("vicar:resume_trust", "trust_id", &trust),
            ("vicar:adopt_trust", "trust_id", &trust),
            ("vicar:end_trust_tokens", "trust_id", &trust),
            ("vicar:set_trust_service", "user_id", &c.alice),
            ("vicar:set_user_delegation_policy", "user_id", &c.alice),
        ] {
            assert_same(&c, &token, operation(name, key), there, missing);
        }
        let paths: [(&str, &str); 7] = [
            ("GET", "/v3/users/ID"),
            ("DELETE", "/v3/users/ID"),
            ("GET", "/v3/users/ID/application_credentials"),
            ("PATCH", "/v3/users/ID"),
            ("GET", "/v3/users/ID/projects"),
            ("GET", "/v3/users/ID/delegation_policy"),
            ("DELETE", "/v3/users/ID/tokens"),
        ];
        for (method, path) in paths {
            let of = |id: &str| json!({"method": method, "path": path.replace("ID", id)});
            assert_same(&c, &token, of, &c.alice, missing);
        }
        let of = |id: &str| json!({"method": "DELETE", "path": format!("/v3/users/{}/credentials/OS-EC2/{id}", c.alice)});
        assert_same(&c, &token, of, &access, missing);
        let of = |id: &str| json!({"method": "PUT", "path": format!("/v3/projects/{elsewhere}/users/{id}/roles/{role}")});
        assert_same(&c, &token, of, &c.alice, missing);
        // Whose trust, and whose token.
        let of = |id: &str| json!({"subject": {"trust_id": id}, "operation": "identity:create_trust"});
        assert_same(&c, &token, of, &trust, missing);
        let of = |text: &str| json!({"subject": {"token": text}});
        assert_same(&c, &token, of, &admin, "gAAAAABnonsense");
        assert_same(&c, &token, of, &dead, "gAAAAABnonsense");
        for method in ["GET", "HEAD", "DELETE"] {
            let of =
                |text: &str| json!({"method": method, "path": "/v3/auth/tokens", "target": {"token": text}});
            assert_same(&c, &token, of, &admin, "gAAAAABnonsense");
            assert_same(&c, &token, of, &dead, "gAAAAABnonsense");
        }
        let of = |text: &str| operation("identity:revoke_token", "token")(text);
        assert_same(&c, &token, of, &dead, "gAAAAABnonsense");
    }
    // A trust that may be used by somebody else is not there either, and neither is its trustee's name.
    let mallory = c.s.on("mallory", &elsewhere);
    let of = |id: &str| json!({"method": "POST", "path": "/v3/auth/tokens", "target": {"trust_id": id}});
    assert_same(&c, &mallory, of, &trust, missing);
    let of = |id: &str| json!({"operation": "identity:create_trust", "target": {"trustee_user_id": id}});
    let (there, missing_one) = (explain(&c, &mallory, of(&c.carol)), explain(&c, &mallory, of(missing)));
    assert_eq!(there.text.replace(&c.carol, "ID"), missing_one.text.replace(missing, "ID"));
    says(&there.body["explanation"], "trustee", "is not looked at");
}

#[test]
fn a_trust_that_one_may_see_does_not_lend_its_eyes() {
    let c = Cast::new();
    let admin_user = {
        let shown = c.s.login(
            "admin",
            crate::support::PASSWORD,
            json!({"project": {"name": "admin", "domain": {"id": "default"}}}),
        );
        shown.expect(201).body["token"]["user"]["id"].as_str().expect("an id").to_owned()
    };
    // An administrator delegates their role on P to bob; a reader of P sees the trust.
    c.s.grant(&admin_user, &c.p, "admin");
    let on_p =
        c.s.login_id(&admin_user, crate::support::PASSWORD, scope::on_project(&c.p)).expect(201).token();
    let body = json!({"trust": {
        "trustor_user_id": admin_user, "trustee_user_id": c.bob, "project_id": c.p, "impersonation": true,
        "roles": [{"name": "admin"}],
    }});
    let trust = id(&c.s.post(&on_p, TRUSTS, body).expect(201), "trust");
    let reader = c.s.persona("reader", "default", scope::on_project(&c.p));
    let missing = "0123456789abcdef0123456789abcdef";
    for name in ["identity:get_user", "identity:delete_user", "vicar:list_user_delegations"] {
        let of =
            |id: &str| json!({"subject": {"trust_id": trust}, "operation": name, "target": {"user_id": id}});
        assert_same(&c, &reader, of, &c.alice, missing);
        let own = c.s.consume("bob", &trust).expect(201).token();
        let question = json!({"operation": name, "target": {"user_id": c.alice}});
        assert_eq!(is_allowed(&c, &own, question), name != "vicar:list_user_delegations");
    }
}

#[test]
fn who_may_ask_about_whom() {
    let c = Cast::new();
    let [first, second, _] = c.chain();
    let admin = c.s.admin();
    let (alice, bob) = (c.s.on("alice", &c.p), c.s.consume("bob", &first).expect(201).token());
    c.s.call("POST", PATH, &[], Some(b"{\"explain\": {}}")).expect(401);
    // Oneself, by whatever token.
    for token in [&alice, &bob, &admin] {
        assert!(is_allowed(&c, token, json!({})));
        assert!(is_allowed(&c, token, json!({"subject": {"token": token}})));
    }
    // A login, about other tokens that are of the same user or speak for them, and trusts that it sees.
    assert!(is_allowed(&c, &alice, json!({"subject": {"token": c.s.unscoped("alice")}})));
    assert!(is_allowed(&c, &alice, json!({"subject": {"token": bob}})));
    assert!(is_allowed(&c, &c.s.unscoped("bob"), json!({"subject": {"token": bob}})));
    assert!(is_allowed(&c, &alice, json!({"subject": {"trust_id": second}})));
    explain(&c, &c.s.unscoped("dave"), json!({"subject": {"token": bob}})).expect(404);
    explain(&c, &c.s.unscoped("dave"), json!({"subject": {"trust_id": first}})).expect(404);
    // A delegated token only itself, whoever it speaks for.
    explain(&c, &bob, json!({"subject": {"token": alice}})).expect(403);
    explain(&c, &bob, json!({"subject": {"trust_id": first}})).expect(403);
    explain(&c, &bob, json!({"subject": {"trust_id": "missing"}})).expect(403);
    // An operator learns of others, and what a token died of.
    assert!(is_allowed(&c, &admin, json!({"subject": {"token": bob}})));
    says(
        &told(&c, &admin, json!({"subject": {"token": "gAAAA"}})),
        "token",
        "no key of this server decrypts it",
    );
    c.s.delete(&alice, &format!("{TRUSTS}/{first}")).expect(204);
    let dead = told(&c, &admin, json!({"subject": {"token": bob}, "operation": "identity:create_trust"}));
    assert_eq!(dead["allowed"], false);
    says(&dead, "token", "the trust has ended");
    says(&dead, "trust", &format!("trust {first} is deleted"));
    explain(&c, &c.s.unscoped("bob"), json!({"subject": {"token": bob}})).expect(404);
    let gone = c.s.unscoped("carol");
    c.s.delete(&admin, &format!("/v3/users/{}/tokens", c.carol)).expect(204);
    let revoked = told(&c, &admin, json!({"subject": {"token": gone}}));
    says(&revoked, "token", &format!("a revocation of the tokens of user {}", c.carol));
}

#[test]
fn what_is_not_there_is_changed_by_nobody() {
    let c = Cast::new();
    let admin = c.s.admin();
    for (method, path) in [
        ("PATCH", "/v3/users/ID"),
        ("PATCH", "/v3/projects/ID"),
        ("PATCH", "/v3/groups/ID"),
        ("PATCH", "/v3/credentials/ID"),
        ("PATCH", "/v3/limits/ID"),
        ("PATCH", "/v3/endpoints/ID"),
        ("PUT", "/v3/projects/ID/delegation_policy"),
        ("PUT", "/v3/users/ID/delegation_policy"),
        ("PUT", "/v3/OS-TRUST/services/ID"),
        ("PUT", "/v3/domains/ID/config"),
        ("PUT", "/v3/projects/ID/tags"),
    ] {
        let path = path.replace("ID", "0123456789abcdef0123456789abcdef");
        assert!(!is_allowed(&c, &admin, json!({"method": method, "path": path})), "{method} {path}");
    }
    for (path, id) in [("/v3/users/", &c.alice), ("/v3/projects/", &c.p)] {
        assert!(is_allowed(&c, &admin, json!({"method": "PATCH", "path": format!("{path}{id}")})));
    }
}

#[test]
fn an_operators_own_rule_is_shown_to_operators_alone() {
    let c = Cast::new();
    let rule = "role:admin or user_id:7c1b-the-auditor";
    let s = c.s.replica_with_rules(&[("identity:get_project", rule)], |_| {});
    let ask = |token: &str| {
        let question =
            json!({"explain": {"operation": "identity:get_project", "target": {"project_id": c.p}}});
        s.post(token, PATH, question).expect(200)
    };
    let (own, operators) = (ask(&c.s.on("alice", &c.p)), ask(&c.s.admin()));
    assert_eq!(own.body["explanation"]["allowed"], false);
    says(&own.body["explanation"], "policy", "by the operator's own rule");
    assert!(!own.text.contains("auditor"), "{}", own.text);
    assert!(operators.text.contains("auditor"), "{}", operators.text);
}

#[test]
fn what_is_wrong_with_a_question_is_named() {
    let c = Cast::new();
    let alice = c.s.on("alice", &c.p);
    for (question, words) in [
        (json!({"operation": "identity:fly"}), "explain.operation"),
        (
            json!({"operation": "identity:get_user", "method": "GET", "path": "/v3/users/x"}),
            "explain.operation",
        ),
        (json!({"method": "GET"}), "explain.path"),
        (json!({"path": "/v3/users"}), "explain.method"),
        (json!({"service": "compute"}), "explain.method"),
        (json!({"method": "FLY", "path": "/v3/users"}), "explain.method"),
        (json!({"method": "GET", "path": "/v3/nowhere"}), "explain.path"),
        (json!({"method": "GET", "path": "http://elsewhere/v3/users"}), "explain.path"),
        (json!({"method": "GET", "path": "/v3/users/%ff"}), "explain.path"),
        (json!({"method": "POST", "path": "/v3/users/x/password"}), "explain.path"),
        (json!({"method": "POST", "path": "/v3/OS-OAUTH2/token"}), "explain.path"),
        (json!({"operation": "identity:get_group"}), "explain.target"),
        (json!({"operation": "identity:get_user", "target": {"user_id": 7}}), "explain.target.user_id"),
        (json!({"operation": "identity:get_user", "target": {"user_id": ""}}), "explain.target.user_id"),
        (json!({"target": {"User": "x"}}), "explain.target"),
        (json!({"subject": {}}), "explain.subject"),
        (json!({"subject": {"token": "a", "trust_id": "b"}}), "explain.subject"),
        (json!({"subject": {"trust_id": "x".repeat(65)}}), "explain.subject.trust_id"),
        (json!({"body": {}}), "explain"),
        (json!({"method": "GET", "path": format!("/v3/users/{}", "x".repeat(2_048))}), "explain.path"),
    ] {
        let refused = explain(&c, &alice, question.clone()).expect(400);
        assert!(refused.text.contains(words), "{question}: {}", refused.text);
    }
    let many: serde_json::Map<String, Value> =
        ('a'..='q').map(|name| (name.to_string(), Value::from("x"))).collect();
    explain(&c, &alice, json!({"target": many})).expect(400);
    c.s.call("POST", PATH, &[("X-Auth-Token", &alice)], Some(b"[]")).expect(400);
}

/// Whatever operation somebody asks about, with whatever ids, there is an answer.
#[test]
fn every_operation_can_be_asked_about() {
    let c = Cast::new();
    let trust = c.trust(json!({"allow_redelegation": true}));
    let bob = c.s.consume("bob", &trust).expect(201).token();
    let (role, group) = (c.s.role("member"), c.s.group("crew", "default", &[&c.bob]));
    let names = [
        "trust_id",
        "user_id",
        "project_id",
        "domain_id",
        "role_id",
        "prior_role_id",
        "group_id",
        "region_id",
    ];
    for row in vicar_rules::policy::OPERATIONS {
        for token in [&c.s.admin(), &bob] {
            for is_there in [true, false] {
                let target: serde_json::Map<String, Value> = names
                    .iter()
                    .map(|name| {
                        let id =
                            if is_there { object(&c, name, &trust, &role, &group) } else { "missing".into() };
                        ((*name).to_owned(), id.into())
                    })
                    .collect();
                let answer = explain(&c, token, json!({"operation": row.name, "target": target}));
                assert!(matches!(answer.status, 200 | 400), "{}: {}", row.name, answer.text);
            }
        }
    }
    // What it asked has changed nothing.
    c.s.get(&bob, &format!("{TRUSTS}/{trust}")).expect(200);
    let evidence = c.s.get(&c.s.unscoped("alice"), &format!("{TRUSTS}/{trust}")).expect(200);
    assert_eq!(evidence.body["trust"]["evidence"]["last_validated_at"], Value::Null);
}
