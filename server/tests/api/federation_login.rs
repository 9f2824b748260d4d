//! Logins through identity providers, by what a front server hands on in headers.

use serde_json::{Value, json};
use vicar::args;
use vicar::clock::SECOND;
use vicar::config::Config;

use crate::support::{Answer, Server, count, domain, id, ids, names, scope};

const PROVIDERS: &str = "/v3/OS-FEDERATION/identity_providers";
const AUTH: &str = "/v3/OS-FEDERATION/identity_providers/idp/protocols/mapped/auth";
const FRONT: &str = "[vicar]\nassertion_headers = OIDC-, MELLON_\ntrusted_proxies = 127.0.0.1\n";

/// A server behind a front server, with the provider `idp` of the domain `D`, its protocol `mapped` and the mapping `m`.
struct Cloud {
    s: Server,
    admin: String,
}

/// A user by name, in the groups that their attribute names.
fn rules() -> Value {
    json!([{
        "local": [{"user": {"name": "{0}", "email": "{1}"}}, {"groups": "{2}", "domain": {"id": "D"}}],
        "remote": [{"type": "HTTP_OIDC_SUB"}, {"type": "OIDC-email"}, {"type": "OIDC-groups"}],
    }])
}

fn one_rule(local: Value) -> Value {
    json!([{"local": [local], "remote": [{"type": "OIDC-sub"}]}])
}

impl Cloud {
    fn new() -> Self {
        Self::with("", rules(), "1.0")
    }

    fn with(ini: &str, rules: Value, version: &str) -> Self {
        let s = Server::with(&format!("{FRONT}{ini}"));
        let admin = s.admin();
        let c = Self { s, admin };
        domain(&c.s, "D");
        c.put(&format!("{PROVIDERS}/idp"), json!({"identity_provider": {"enabled": true, "domain_id": "D"}}));
        c.put(
            "/v3/OS-FEDERATION/mappings/m",
            json!({"mapping": {"rules": rules, "schema_version": version}}),
        );
        c.put(&format!("{PROVIDERS}/idp/protocols/mapped"), json!({"protocol": {"mapping_id": "m"}}));
        c
    }

    fn put(&self, path: &str, body: Value) {
        let token = ("X-Auth-Token", self.admin.as_str());
        self.s.call("PUT", path, &[token], Some(body.to_string().as_bytes())).expect(201);
    }

    fn map(&self, rules: Value, version: &str) {
        let body = json!({"mapping": {"rules": rules, "schema_version": version}});
        self.s.patch(&self.admin, "/v3/OS-FEDERATION/mappings/m", body).expect(200);
    }

    fn provider(&self, body: Value) {
        self.s
            .patch(&self.admin, &format!("{PROVIDERS}/idp"), json!({"identity_provider": body}))
            .expect(200);
    }

    fn come(&self, headers: &[(&str, &str)]) -> Answer {
        self.s.call("GET", AUTH, headers, None)
    }

    fn ann(&self, groups: &str) -> Answer {
        self.come(&[("OIDC-sub", "ann"), ("OIDC-email", "a@x"), ("OIDC-groups", groups)])
    }

    fn user_id(answer: &Answer) -> String {
        answer.body["token"]["user"]["id"].as_str().expect("a user").to_owned()
    }

    fn rescope(&self, token: &str, scope: Value) -> Answer {
        self.s.auth(json!({"identity": {"methods": ["token"], "token": {"id": token}}, "scope": scope}))
    }

    fn roles_on(&self, user: &str, project: &str) -> Vec<String> {
        let path = format!("/v3/projects/{project}/users/{user}/roles");
        let answer = self.s.get(&self.admin, &path).expect(200);
        let mut names: Vec<String> = names(&answer.body, "roles");
        names.sort();
        names
    }

    fn project_named(&self, name: &str) -> Vec<String> {
        ids(&self.s.get(&self.admin, &format!("/v3/projects?name={name}")).expect(200), "projects")
    }
}

#[test]
fn who_comes_gets_an_unscoped_token_and_is_a_user_from_then_on() {
    let c = Cloud::new();
    let (one, two) = (c.s.group("one", "D", &[]), c.s.group("two", "D", &[]));
    c.s.group("one", "default", &[]);
    let first = c.ann("one;two;three").expect(201);
    let token = &first.body["token"];
    // As a Keystone makes it: SHA-256 of `Duserann`.
    let user = Cloud::user_id(&first);
    assert_eq!(user, "41bd37c9e11a0b559fd0c9293911d6a7cda3fde602f9e683456d8591534c1403");
    let mut groups = [one.as_str(), two.as_str()];
    groups.sort_unstable();
    let groups = groups.map(|id| json!({"id": id}));
    assert_eq!(
        token["user"],
        json!({
            "id": user, "name": "ann", "domain": {"id": "D", "name": "D"},
            "OS-FEDERATION": {
                "groups": groups, "identity_provider": {"id": "idp"}, "protocol": {"id": "mapped"},
            },
        })
    );
    assert_eq!(
        (&token["methods"], token.get("project"), token.get("roles")),
        (&json!(["mapped"]), None, None)
    );
    assert_eq!(c.s.validate(&first.token()).expect(200).body, first.body);
    let shown = c.s.get(&c.admin, &format!("/v3/users/{user}")).expect(200).body["user"].clone();
    assert_eq!(
        (&shown["name"], &shown["email"], &shown["enabled"], &shown["domain_id"]),
        (&json!("ann"), &json!("a@x"), &json!(true), &json!("D"))
    );
    let link = json!([{"idp_id": "idp", "protocols": [{"protocol_id": "mapped", "unique_id": "ann"}]}]);
    assert_eq!(shown["federated"], link);
    // By a body, with POST, and by the method of the same name it is the same user.
    let headers = [("OIDC-sub", "ann"), ("OIDC-email", "b@x"), ("OIDC-groups", "one")];
    let posted = c.s.call("POST", AUTH, &headers, None).expect(201);
    assert_eq!(Cloud::user_id(&posted), user);
    let shown = c.s.get(&c.admin, &format!("/v3/users/{user}")).expect(200);
    assert_eq!(shown.body["user"]["email"], "b@x");
    assert_eq!(count(&c.s, "SELECT id FROM federated_user", &[]), 1);
}

#[test]
fn an_unscoped_token_is_exchanged_and_a_login_can_ask_for_a_scope() {
    let c = Cloud::new();
    let (group, p) = (c.s.group("one", "D", &[]), c.s.project("p"));
    c.s.assign("GroupProject", &group, &p, "member", false);
    let first = c.ann("one").expect(201).token();
    let second = c.rescope(&first, scope::on_project(&p)).expect(201);
    assert_eq!(second.body["token"]["project"]["id"], json!(p));
    assert_eq!(second.body["token"]["user"]["OS-FEDERATION"]["groups"], json!([{"id": group}]));
    let body = |scope: Value| {
        let mapped = json!({"identity_provider": "idp", "protocol": "mapped"});
        json!({"auth": {"identity": {"methods": ["mapped"], "mapped": mapped}, "scope": scope}}).to_string()
    };
    let headers = [("OIDC-sub", "ann"), ("OIDC-email", "a@x"), ("OIDC-groups", "one")];
    let login = |scope: Value| c.s.call("POST", "/v3/auth/tokens", &headers, Some(body(scope).as_bytes()));
    let at_once = login(json!({"project": {"id": p}})).expect(201);
    assert_eq!(at_once.body["token"]["roles"], second.body["token"]["roles"]);
    login(json!({"system": {"all": true}})).expect(403);
    login(json!({"project": {"id": "nope"}})).expect(401);
    // The method also takes a token of its own, and no other.
    let with = |id: &str| json!({"identity": {"methods": ["mapped"], "mapped": {"id": id}}, "scope": {"project": {"id": p}}});
    c.s.auth(with(&first)).expect(201);
    c.s.auth(with(&c.admin)).expect(401);
    c.s.auth(json!({"identity": {"methods": ["mapped"], "mapped": {"id": 1}}})).expect(400);
    c.s.auth(json!({"identity": {"methods": ["mapped"], "mapped": {"protocol": "mapped"}}})).expect(400);
    let both = json!({"identity": {"methods": ["mapped", "token"], "token": {"id": first},
        "mapped": {"identity_provider": "idp", "protocol": "mapped"}}});
    let both = json!({"auth": both}).to_string();
    c.s.call("POST", "/v3/auth/tokens", &headers, Some(both.as_bytes())).expect(401);
}

#[test]
fn only_a_front_server_that_is_named_is_believed() {
    let c = Cloud::new();
    let all = [("OIDC-sub", "ann"), ("OIDC-email", "a@x"), ("OIDC-groups", "g")];
    c.come(&all).expect(201);
    c.come(&[]).expect(401);
    c.come(&all[..2]).expect(401);
    // A header that is none of the configured ones says nothing; and none that is there twice.
    c.come(&[("X-OIDC-sub", "ann"), all[1], all[2]]).expect(401);
    c.come(&[all[0], ("OIDC-sub", "bob"), all[1], all[2]]).expect(400);
    // As in WSGI one with an underscore is not `HTTP_OIDC_SUB`.
    c.come(&[("OIDC_sub", "ann"), all[1], all[2]]).expect(401);
    c.come(&[("OIDC-sub", "(null)"), all[1], all[2]]).expect(401);
    let elsewhere = |change: fn(&mut Config)| {
        let mut config = c.s.app.config.clone();
        change(&mut config);
        c.s.replica_with(config).call("GET", AUTH, &all, None).status
    };
    assert_eq!(elsewhere(|_| ()), 201);
    assert_eq!(elsewhere(|config| config.federation.headers.clear()), 401);
    assert_eq!(
        elsewhere(|config| config.federation.from = vicar::peer::Proxies::named(["192.0.2.1"]).expect("one")),
        401
    );
    assert_eq!(elsewhere(|config| config.federation.methods.clear()), 401);
    assert_eq!(elsewhere(|config| config.federation.attributes = "HTTP_".into()), 401);
}

#[test]
fn a_provider_is_known_by_its_own_id() {
    let c = Cloud::with(
        "[federation]\nremote_id_attribute = HTTP_OIDC_ISS\n",
        one_rule(json!({"user": {"name": "{0}"}})),
        "1.0",
    );
    let come = |iss: Option<&str>| {
        let iss = iss.map(|iss| ("OIDC-iss", iss));
        let headers: Vec<(&str, &str)> = [("OIDC-sub", "ann")].into_iter().chain(iss).collect();
        c.come(&headers).status
    };
    // Without ids, any.
    assert_eq!((come(None), come(Some("x"))), (201, 201));
    c.provider(json!({"remote_ids": ["https://a", "https://b"]}));
    assert_eq!((come(None), come(Some("x")), come(Some("https://b"))), (401, 403, 201));
    let protocol = format!("{PROVIDERS}/idp/protocols/mapped");
    let own = json!({"protocol": {"mapping_id": "m", "remote_id_attribute": "OIDC-iss2"}});
    c.s.patch(&c.admin, &protocol, own).expect(200);
    assert_eq!(come(Some("https://b")), 401, "another attribute");
    c.provider(json!({"enabled": false}));
    assert_eq!(come(Some("https://b")), 403);
    let at = |path: &str| c.s.call("GET", path, &[("OIDC-sub", "ann")], None).status;
    assert_eq!(at(&AUTH.replace("/idp/", "/nope/")), 404);
    c.provider(json!({"enabled": true, "remote_ids": []}));
    assert_eq!(at(&AUTH.replace("/mapped/auth", "/saml2/auth")), 401, "no such method");
    assert_eq!(at(AUTH), 201);
    c.s.delete(&c.admin, "/v3/OS-FEDERATION/mappings/m").expect(204);
    assert_eq!(at(AUTH), 404);
    c.s.delete(&c.admin, &protocol).expect(204);
    assert_eq!(at(AUTH), 404);
}

#[test]
fn groups_count_for_their_time_and_a_login_renews_them() {
    let c = Cloud::new();
    c.provider(json!({"authorization_ttl": 60}));
    let (group, p) = (c.s.group("one", "D", &[]), c.s.project("p"));
    c.s.assign("GroupProject", &group, &p, "member", false);
    let user = Cloud::user_id(&c.ann("one").expect(201));
    let is_member = || {
        let admin = c.s.admin();
        c.s.get(&admin, &format!("/v3/groups/{group}/users/{user}")).status == 204
    };
    assert!(is_member());
    c.s.clock.advance(50 * 60 * SECOND);
    c.ann("one").expect(201);
    c.s.clock.advance(50 * 60 * SECOND);
    assert!(is_member(), "renewed");
    c.s.clock.advance(11 * 60 * SECOND);
    assert!(!is_member(), "over");
    c.ann("one").expect(201);
    assert!(is_member(), "renewed after its end");
}

/// What the provider does not say any more is gone at once, with the tokens that named it.
#[test]
fn a_group_that_is_said_no_more_is_left() {
    for minutes in [0, 60] {
        let c = Cloud::new();
        c.provider(json!({"authorization_ttl": minutes}));
        let p = c.s.project("p");
        for name in ["one", "two"] {
            let group = c.s.group(name, "D", &[]);
            c.s.assign("GroupProject", &group, &p, if name == "one" { "member" } else { "manager" }, false);
        }
        let first = c.ann("one;two").expect(201);
        let user = Cloud::user_id(&first);
        let scoped = c.rescope(&first.token(), json!({"project": {"id": p}})).expect(201).token();
        c.s.clock.advance(2 * SECOND);
        // The same groups end nothing.
        c.ann("two;one").expect(201);
        c.s.validate(&scoped).expect(200);
        c.s.clock.advance(2 * SECOND);
        let later = c.ann("one").expect(201).token();
        assert_eq!((c.s.validate(&scoped).status, c.s.validate(&first.token()).status), (404, 404));
        let now = c.rescope(&later, json!({"project": {"id": p}})).expect(201);
        assert!(!now.text.contains("manager"), "{}", now.text);
        let left = "SELECT group_id FROM expiring_user_group_membership WHERE user_id = ?";
        assert_eq!(count(&c.s, left, &[user.as_str().into()]), 1);
        // The token of the login that takes something away lives, of whichever scope it is.
        c.s.clock.advance(2 * SECOND);
        let mapped = json!({"identity_provider": "idp", "protocol": "mapped"});
        let both = c.ann("one;two").expect(201).token();
        c.s.clock.advance(2 * SECOND);
        let body = json!({"auth": {"identity": {"methods": ["mapped"], "mapped": mapped}, "scope": {"project": {"id": p}}}});
        let headers = [("OIDC-sub", "ann"), ("OIDC-email", "a@x"), ("OIDC-groups", "one")];
        let now =
            c.s.call("POST", "/v3/auth/tokens", &headers, Some(body.to_string().as_bytes())).expect(201);
        assert_eq!((c.s.validate(&now.token()).status, c.s.validate(&both).status), (200, 404));
        let later = c.ann("one").expect(201).token();
        // One more ends none.
        c.s.clock.advance(2 * SECOND);
        c.ann("one;two").expect(201);
        c.s.validate(&later).expect(200);
    }
}

#[test]
fn projects_and_roles_are_provided_for() {
    let provide = |roles: &[&str]| {
        let roles: Vec<Value> = roles.iter().map(|name| json!({"name": name})).collect();
        let projects = json!([{"name": "{0}'s place", "roles": roles}]);
        one_rule(json!({"user": {"name": "{0}"}, "projects": projects}))
    };
    let c = Cloud::with("", rules(), "1.0");
    // None that another implies.
    for name in ["blue", "red", "green"] {
        c.s.role(name);
    }
    c.map(provide(&["blue", "red"]), "1.0");
    let ann = |name: &str| c.come(&[("OIDC-sub", name)]);
    let first = ann("ann").expect(201);
    let user = Cloud::user_id(&first);
    let made = c.project_named("ann%27s%20place");
    let [project] = made.as_slice() else { panic!("{made:?}") };
    let shown = c.s.get(&c.admin, &format!("/v3/projects/{project}")).expect(200).body["project"].clone();
    assert_eq!(
        (&shown["domain_id"], &shown["parent_id"], &shown["enabled"]),
        (&json!("D"), &json!("D"), &json!(true))
    );
    assert_eq!(c.roles_on(&user, project), ["blue", "red"]);
    let scoped = c.rescope(&first.token(), json!({"project": {"id": project}})).expect(201).token();
    // Once more: nothing is made twice, and what is said no more stays.
    c.map(provide(&["green"]), "2.0");
    ann("ann").expect(201);
    assert_eq!(c.project_named("ann%27s%20place").len(), 1);
    assert_eq!(c.roles_on(&user, project), ["blue", "green", "red"]);
    // From version 3.0 on the mapping alone decides, about other projects too.
    let other = c.s.project("other");
    c.s.grant(&user, &other, "member");
    c.s.clock.advance(2 * SECOND);
    c.map(provide(&["green"]), "3.0");
    ann("ann").expect(201);
    assert_eq!(c.roles_on(&user, project), ["green"]);
    assert_eq!(c.roles_on(&user, &other), [""; 0]);
    c.s.validate(&scoped).expect(404);
    // A role that is not there, and one of another domain: nothing of it is stored.
    c.map(provide(&["blue", "nope"]), "1.0");
    ann("bob").expect(404);
    let role = |name: &str, domain: &str| {
        let body = json!({"role": {"name": name, "domain_id": domain}});
        id(&c.s.post(&c.admin, "/v3/roles", body).expect(201), "role")
    };
    role("elsewhere", "default");
    c.map(provide(&["elsewhere"]), "1.0");
    ann("bob").expect(403);
    assert!(c.project_named("bob%27s%20place").is_empty());
    assert_eq!(count(&c.s, "SELECT id FROM federated_user", &[]), 1);
    role("local", "D");
    c.map(provide(&["local"]), "1.0");
    let bob = Cloud::user_id(&ann("bob").expect(201));
    let made = c.project_named("bob%27s%20place");
    assert_eq!(c.roles_on(&bob, &made[0]), ["local"]);
}

#[test]
fn a_local_user_logs_in_as_themselves() {
    let local = |user: Value| one_rule(json!({"user": user}));
    let c =
        Cloud::with("", local(json!({"name": "{0}", "type": "local", "domain": {"id": "default"}})), "1.0");
    let (ann, p) = (c.s.user("ann"), c.s.project("p"));
    c.s.grant(&ann, &p, "member");
    let come = |name: &str| c.come(&[("OIDC-sub", name)]);
    let answer = come("ann").expect(201);
    let token = &answer.body["token"];
    assert_eq!((&token["user"]["id"], token["user"].get("OS-FEDERATION")), (&json!(ann), None));
    assert_eq!(token["methods"], json!(["mapped"]));
    c.rescope(&answer.token(), json!({"project": {"id": p}})).expect(201);
    come("nobody").expect(401);
    c.map(local(json!({"name": "{0}", "type": "local"})), "1.0");
    come("ann").expect(401);
    c.map(local(json!({"id": "{0}", "type": "local"})), "1.0");
    come(&ann).expect(201);
    c.s.patch(&c.admin, &format!("/v3/users/{ann}"), json!({"user": {"enabled": false}})).expect(200);
    come(&ann).expect(401);
    assert_eq!(count(&c.s, "SELECT id FROM federated_user", &[]), 0);
}

#[test]
fn a_mapping_that_leads_nowhere_lets_nobody_in() {
    let c = Cloud::new();
    let come = |local: Value| {
        c.map(one_rule(local), "1.0");
        c.come(&[("OIDC-sub", "ann")]).status
    };
    assert_eq!(come(json!({"group": {"id": "nope"}, "user": {"name": "{0}"}})), 401);
    assert_eq!(
        come(json!({"group": {"name": "n", "domain": {"name": "nope"}}, "user": {"name": "{0}"}})),
        404
    );
    assert_eq!(come(json!({"group": {"name": "n", "domain": {"id": "D"}}, "user": {"name": "{0}"}})), 201);
    assert_eq!(come(json!({"user": {"name": "{0}", "domain": {"name": "nope"}}})), 404);
    assert_eq!(come(json!({"user": {"email": "{0}"}})), 401);
    assert_eq!(come(json!({"user": {"name": "{1}"}})), 401);
    assert_eq!(come(json!({"user": {"id": "x".repeat(256)}})), 400);
    let many: Vec<Value> =
        (0..201).map(|n| json!({"group": {"name": n.to_string(), "domain": {"id": "D"}}})).collect();
    let mut rules = one_rule(json!({"user": {"name": "{0}"}}));
    rules[0]["local"].as_array_mut().expect("a list").extend(many);
    c.map(rules, "1.0");
    c.come(&[("OIDC-sub", "ann")]).expect(403);
}

#[test]
fn who_is_disabled_or_came_another_way_stays_out() {
    let c = Cloud::with(
        "[auth]\nmethods = password,token,mapped,saml2\n",
        one_rule(json!({"user": {"name": "{0}"}})),
        "1.0",
    );
    let come = |path: &str| c.s.call("GET", path, &[("OIDC-sub", "ann")], None);
    let user = Cloud::user_id(&come(AUTH).expect(201));
    c.put(&format!("{PROVIDERS}/idp/protocols/saml2"), json!({"protocol": {"mapping_id": "m"}}));
    // The id is the same, whichever protocol it is: a Keystone makes no second user of them.
    come(&AUTH.replace("/mapped/auth", "/saml2/auth")).expect(409);
    c.s.patch(&c.admin, &format!("/v3/users/{user}"), json!({"user": {"enabled": false}})).expect(200);
    come(AUTH).expect(401);
    // Whoever is deleted comes anew; nothing of before is theirs.
    let p = c.s.project("p");
    c.s.grant(&user, &p, "member");
    c.s.delete(&c.admin, &format!("/v3/users/{user}")).expect(204);
    c.s.clock.advance(2 * SECOND);
    let again = come(AUTH).expect(201);
    assert_eq!(Cloud::user_id(&again), user);
    c.rescope(&again.token(), json!({"project": {"id": p}})).expect(401);
}

#[test]
fn values_may_be_in_any_letters() {
    let c = Cloud::with("", one_rule(json!({"user": {"name": "{0}"}})), "1.0");
    let name = |answer: Answer| answer.expect(201).body["token"]["user"]["name"].clone();
    assert_eq!(name(c.come(&[("OIDC-sub", "Zoë Łuk")])), "Zoë Łuk");
    let unique = c.s.sql_text("SELECT unique_id FROM federated_user", &[]);
    assert_eq!(unique.as_deref(), Some("Zo%C3%AB%20%C5%81uk"));
}

/// The domain `L` has a directory, which nobody reaches.
fn with_a_directory(c: &Cloud) {
    domain(&c.s, "L");
    for (group, option, value) in
        [("identity", "driver", "\"ldap\""), ("ldap", "url", "\"ldap://127.0.0.1:1\"")]
    {
        c.s.sql_run(
            "INSERT INTO whitelisted_config (domain_id, \"group\", \"option\", value) VALUES ('L', ?, ?, ?)",
            args![group, option, value],
        );
    }
}

/// Someone of that directory has this id.
fn in_the_directory(c: &Cloud, id: &str, kind: &str) {
    c.s.sql_run(
        "INSERT INTO id_mapping (public_id, domain_id, local_id, entity_type) VALUES (?, 'L', ?, ?)",
        args![id, id, kind],
    );
}

const STORED: &str =
    "[identity]\ndomain_specific_drivers_enabled = true\ndomain_configurations_from_database = true\n";

#[test]
fn a_local_user_of_a_directory_is_who_the_directory_says() {
    let local = json!({"user": {"name": "{0}", "type": "local", "domain": {"id": "L"}}});
    let c = Cloud::with(STORED, one_rule(local), "1.0");
    with_a_directory(&c);
    let away = |answer: Answer| assert_eq!(answer.expect(503).header("Retry-After"), Some("5"));
    away(c.come(&[("OIDC-sub", "ann")]));
    in_the_directory(&c, "someone", "user");
    c.map(one_rule(json!({"user": {"id": "someone", "type": "local"}})), "1.0");
    away(c.come(&[("OIDC-sub", "ann")]));
    // Who is in none does not wait for one.
    let bob = c.s.user("bob");
    c.map(one_rule(json!({"user": {"id": bob, "type": "local"}})), "1.0");
    assert_eq!(Cloud::user_id(&c.come(&[("OIDC-sub", "ann")]).expect(201)), bob);
    c.map(one_rule(json!({"user": {"name": "{0}", "type": "local", "domain": {"id": "D"}}})), "1.0");
    c.come(&[("OIDC-sub", "ann")]).expect(401);
}

#[test]
fn whoever_shows_no_password_is_who_is_called_exactly_so() {
    let by_name = |domain: &str| {
        one_rule(json!({"user": {"name": "{0}", "type": "local", "domain": {"name": domain}}}))
    };
    let c = Cloud::with("", by_name("Default"), "1.0");
    let bob = c.s.user("bob");
    assert_eq!(Cloud::user_id(&c.come(&[("OIDC-sub", "bob")]).expect(201)), bob);
    for other in ["BOB", "b\u{f6}b", "\u{ff42}ob"] {
        c.come(&[("OIDC-sub", other)]).expect(401);
    }
    c.map(by_name("d\u{e9}fault"), "1.0");
    c.come(&[("OIDC-sub", "bob")]).expect(401);
    // Groups likewise.
    let staff = c.s.group("staff", "D", &[]);
    let group = |name: &str| {
        one_rule(json!({"user": {"name": "{0}"}, "group": {"name": name, "domain": {"id": "D"}}}))
    };
    for (name, groups) in [("staff", json!([{"id": staff}])), ("STAFF", json!([]))] {
        c.map(group(name), "1.0");
        let came = c.come(&[("OIDC-sub", "ann")]).expect(201);
        assert_eq!(came.body["token"]["user"]["OS-FEDERATION"]["groups"], groups, "{name}");
    }
}

#[test]
fn a_mapping_puts_nobody_into_a_group_of_a_directory() {
    let by_name = |domain: &str| {
        one_rule(json!({"user": {"name": "{0}"}, "group": {"name": "staff", "domain": {"id": domain}}}))
    };
    let c = Cloud::with(STORED, by_name("L"), "1.0");
    let (theirs, own) = (c.s.group("staff", "default", &[]), c.s.group("staff", "D", &[]));
    with_a_directory(&c);
    c.s.sql_run("UPDATE \"group\" SET domain_id = 'L' WHERE id = ?", args![&theirs]);
    in_the_directory(&c, &theirs, "group");
    let by_id = one_rule(json!({"user": {"name": "{0}"}, "group": {"id": theirs}}));
    for rules in [by_name("L"), by_id] {
        c.map(rules, "1.0");
        let refused = c.come(&[("OIDC-sub", "ann")]).expect(403);
        assert!(refused.text.contains("one of a directory"), "{}", refused.text);
    }
    for table in ["federated_user", "expiring_user_group_membership"] {
        assert_eq!(count(&c.s, &format!("SELECT 1 FROM {table}"), &[]), 0, "{table}");
    }
    c.map(by_name("D"), "1.0");
    let groups = &c.come(&[("OIDC-sub", "ann")]).expect(201).body["token"]["user"]["OS-FEDERATION"]["groups"];
    assert_eq!(*groups, json!([{"id": own}]));
}

#[test]
fn nobody_comes_as_a_user_of_a_directory() {
    let local = json!({"user": {"name": "{0}", "domain": {"id": "L"}}});
    let c = Cloud::with(STORED, one_rule(local), "1.0");
    with_a_directory(&c);
    // Neither who is not known there yet, nor, below, who came before the domain had a directory.
    c.come(&[("OIDC-sub", "ann")]).expect(409);
    let driver = |value: &str| {
        c.s.sql_run("UPDATE whitelisted_config SET value = ? WHERE \"option\" = 'driver'", args![value]);
    };
    driver("\"sql\"");
    c.come(&[("OIDC-sub", "ann")]).expect(201);
    driver("\"ldap\"");
    c.come(&[("OIDC-sub", "ann")]).expect(409);
    c.map(one_rule(json!({"user": {"name": "{0}"}})), "1.0");
    c.come(&[("OIDC-sub", "ann")]).expect(409);
    c.come(&[("OIDC-sub", "bob")]).expect(201);
    assert_eq!(count(&c.s, "SELECT id FROM federated_user", &[]), 2);
}

#[test]
fn whom_a_front_server_names_the_directory_is_asked_for() {
    let ini = format!("{STORED}[auth]\nexternal = Domain\n");
    let front =
        FRONT.replace("[vicar]", "[vicar]\nremote_user_header = X-User\nremote_domain_header = X-Domain");
    let s = Server::with(&format!("{front}{ini}"));
    let c = Cloud { admin: s.admin(), s };
    with_a_directory(&c);
    let login = |domain: &str, identity: Value| {
        let body = json!({"auth": {"identity": identity}}).to_string();
        let headers = [("X-User", "ann"), ("X-Domain", domain)];
        c.s.call("POST", "/v3/auth/tokens", &headers, Some(body.as_bytes()))
    };
    let external = json!({"methods": ["external"], "external": {}});
    login("L", external.clone()).expect(503);
    login("L", json!({"methods": []})).expect(503);
    // Whoever shows something else does not wait for it, and has no method by the word of the front server.
    c.s.user("bob");
    let proof = |password: &str| {
        let user = json!({"name": "bob", "domain": {"id": "default"}, "password": password});
        json!({"methods": ["password"], "password": {"user": user}})
    };
    let own = login("L", proof("bob-pw")).expect(201);
    assert_eq!(own.body["token"]["methods"], json!(["password"]));
    login("L", proof("x")).expect(401);
    login("L", json!({"methods": ["token"], "token": {"id": own.token()}})).expect(201);
    let both =
        json!({"methods": ["password", "external"], "password": proof("bob-pw")["password"], "external": {}});
    login("L", both).expect(503);
    // Whose rules ask for what the front server says waits, too.
    let rules = json!({"user": {"options": {"multi_factor_auth_enabled": true, "multi_factor_auth_rules": [["password", "external"]]}}});
    let bob = c.s.sql_text("SELECT user_id FROM local_user WHERE name = 'bob'", &[]).expect("one");
    c.s.patch(&c.admin, &format!("/v3/users/{bob}"), rules).expect(200);
    login("L", proof("bob-pw")).expect(503);
    login("Default", external).expect(401);
}
