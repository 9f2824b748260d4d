//! Identity providers, protocols, mappings, service providers, and who comes from them.

use serde_json::{Value, json};

use crate::support::{Answer, Server, domain, id, ids, on_domain, persona, user};

const PROVIDERS: &str = "/v3/OS-FEDERATION/identity_providers";
const MAPPINGS: &str = "/v3/OS-FEDERATION/mappings";
const SERVICE_PROVIDERS: &str = "/v3/OS-FEDERATION/service_providers";

/// A server and its administrator's token.
struct Cloud {
    s: Server,
    admin: String,
}

fn put(s: &Server, token: &str, path: &str, body: Value) -> Answer {
    s.call("PUT", path, &[("X-Auth-Token", token)], Some(body.to_string().as_bytes()))
}

fn rules() -> Value {
    json!([{"local": [{"user": {"name": "{0}"}}], "remote": [{"type": "UserName"}]}])
}

impl Cloud {
    fn new(ini: &str) -> Self {
        let s = Server::with(ini);
        let admin = s.admin();
        Self { s, admin }
    }

    fn provider(&self, id: &str, body: Value) -> Answer {
        put(&self.s, &self.admin, &format!("{PROVIDERS}/{id}"), json!({"identity_provider": body}))
    }

    fn change_provider(&self, id: &str, body: Value) -> Answer {
        self.s.patch(&self.admin, &format!("{PROVIDERS}/{id}"), json!({"identity_provider": body}))
    }

    fn mapping(&self, id: &str, body: Value) -> Answer {
        put(&self.s, &self.admin, &format!("{MAPPINGS}/{id}"), json!({"mapping": body}))
    }

    fn protocol(&self, provider: &str, id: &str, body: Value) -> Answer {
        put(
            &self.s,
            &self.admin,
            &format!("{PROVIDERS}/{provider}/protocols/{id}"),
            json!({"protocol": body}),
        )
    }

    fn service_provider(&self, id: &str, more: Value) -> Answer {
        let mut body = json!({"auth_url": "https://sp/auth", "sp_url": "https://sp/sp"});
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        put(&self.s, &self.admin, &format!("{SERVICE_PROVIDERS}/{id}"), json!({"service_provider": body}))
    }

    /// A provider `idp` of a domain `D` with the protocol `saml2`.
    fn with_protocol(ini: &str) -> Self {
        let c = Self::new(ini);
        domain(&c.s, "D");
        c.provider("idp", json!({"enabled": true, "domain_id": "D"})).expect(201);
        c.mapping("m", json!({"rules": rules()})).expect(201);
        c.protocol("idp", "saml2", json!({"mapping_id": "m"})).expect(201);
        c
    }

    /// A user who came from `idp` by a protocol and has no other name; as a Keystone stores them.
    fn federated(&self, id: &str, protocol: &str) -> String {
        self.s.sql_run(
            "INSERT INTO \"user\" (id, enabled, domain_id, extra) VALUES (?, ?, 'D', '{}')",
            &[id.into(), true.into()],
        );
        self.link(id, "idp", protocol);
        id.to_owned()
    }

    fn link(&self, user: &str, provider: &str, protocol: &str) {
        self.s.sql_run(
            "INSERT INTO federated_user (user_id, idp_id, protocol_id, unique_id, display_name)
             VALUES (?, ?, ?, ?, ?)",
            &[
                user.into(),
                provider.into(),
                protocol.into(),
                format!("u-{user}").into(),
                format!("n-{user}").into(),
            ],
        );
    }
}

#[test]
fn an_identity_provider_is_made_shown_changed_and_deleted() {
    let c = Cloud::new("");
    let made = c
        .provider("idp", json!({"remote_ids": ["b", "a"], "description": "d", "authorization_ttl": 5}))
        .expect(201);
    let of = made.body["identity_provider"]["domain_id"].as_str().expect("a domain").to_owned();
    let path = format!("{PROVIDERS}/idp");
    let link = format!("{}{path}", c.s.url);
    let mut golden = json!({
        "id": "idp", "domain_id": of, "enabled": false, "description": "d", "authorization_ttl": 5,
        "remote_ids": ["b", "a"], "links": {"self": link, "protocols": format!("{link}/protocols")},
    });
    assert_eq!(made.body["identity_provider"], golden);
    let of_domain = c.s.get(&c.admin, &format!("/v3/domains/{of}")).expect(200);
    let made_for = "Auto generated federated domain for Identity Provider: idp";
    assert_eq!(of_domain.body["domain"]["description"], made_for);
    golden["remote_ids"] = json!(["a", "b"]);
    assert_eq!(c.s.get(&c.admin, &path).expect(200).body["identity_provider"], golden);

    // Nothing of a refused one stays: its domain neither.
    let domains = || ids(&c.s.get(&c.admin, "/v3/domains").expect(200), "domains").len();
    let before = domains();
    c.provider("idp", json!({})).expect(409);
    c.provider("other", json!({"remote_ids": ["a"]})).expect(409);
    c.provider("other", json!({"domain_id": "nope"})).expect(404);
    c.s.get(&c.admin, &format!("{PROVIDERS}/other")).expect(404);
    assert_eq!(domains(), before);
    for bad in [
        json!({"enabled": "true"}),
        json!({"enabled": null}),
        json!({"description": 1}),
        json!({"authorization_ttl": -1}),
        json!({"authorization_ttl": 2_147_483_648_i64}),
        json!({"remote_ids": "a"}),
        json!({"remote_ids": ["x", "x"]}),
        json!({"remote_ids": ["x".repeat(65)]}),
        json!({"id": "other"}),
        json!({"more": 1}),
    ] {
        c.provider("other", bad.clone()).expect(400);
        c.change_provider("idp", bad).expect(400);
    }
    c.provider(&"x".repeat(65), json!({})).expect(400);
    c.change_provider("idp", json!({})).expect(400);
    c.change_provider("idp", json!({"domain_id": of})).expect(400);
    c.change_provider("nope", json!({"enabled": true})).expect(404);

    let changed =
        c.change_provider("idp", json!({"enabled": true, "remote_ids": ["z"], "authorization_ttl": null}));
    golden["enabled"] = json!(true);
    golden["remote_ids"] = json!(["z"]);
    golden["authorization_ttl"] = Value::Null;
    assert_eq!(changed.expect(200).body["identity_provider"], golden);
    c.provider("other", json!({"remote_ids": ["a"], "domain_id": null})).expect(201);
    c.change_provider("other", json!({"remote_ids": ["a", "z"]})).expect(409);
    assert_eq!(c.s.get(&c.admin, &path).expect(200).body["identity_provider"], golden);
    for (name, body) in [("bare", json!({})), ("empty", json!({"identity_provider": {}}))] {
        put(&c.s, &c.admin, &format!("{PROVIDERS}/{name}"), body).expect(201);
    }
    put(&c.s, &c.admin, &format!("{PROVIDERS}/more"), json!({"more": 1})).expect(400);
    let made = c.s.put(&c.admin, &format!("{PROVIDERS}/none")).expect(201);
    assert_eq!(made.body["identity_provider"]["enabled"], json!(false));
    c.s.delete(&c.admin, &format!("{PROVIDERS}/none")).expect(204);

    let list = |query: &str| {
        ids(&c.s.get(&c.admin, &format!("{PROVIDERS}?{query}")).expect(200), "identity_providers")
    };
    assert_eq!(list(""), ["bare", "empty", "idp", "other"]);
    assert_eq!(list("enabled=true"), ["idp"]);
    assert_eq!(list("enabled=0"), ["bare", "empty", "other"]);
    assert_eq!(list("id=other"), ["other"]);
    assert_eq!(list("id__contains=e&enabled=no"), ["bare", "empty", "other"]);
    assert_eq!(list("limit=1&marker=bare"), ["empty"]);
    c.s.get(&c.admin, &format!("{PROVIDERS}?enabled=maybe")).expect(400);
    c.s.delete(&c.admin, &path).expect(204);
    c.s.delete(&c.admin, &path).expect(404);
    c.s.get(&c.admin, &path).expect(404);
    // The domain stays: users may be in it.
    c.s.get(&c.admin, &format!("/v3/domains/{of}")).expect(200);
    c.provider("again", json!({"remote_ids": ["z"]})).expect(201);
}

#[test]
fn a_protocol_is_made_shown_changed_and_deleted() {
    let c = Cloud::new("");
    c.provider("idp", json!({})).expect(201);
    c.protocol("idp", "saml2", json!({"mapping_id": "m"})).expect(400);
    c.mapping("m", json!({"rules": rules()})).expect(201);
    c.mapping("n", json!({"rules": rules()})).expect(201);
    let path = format!("{PROVIDERS}/idp/protocols/saml2");
    let made = c.protocol("idp", "saml2", json!({"mapping_id": "m", "remote_id_attribute": "X"})).expect(201);
    let provider = format!("{}{PROVIDERS}/idp", c.s.url);
    let mut golden = json!({
        "id": "saml2", "mapping_id": "m",
        "links": {"self": format!("{}{path}", c.s.url), "identity_provider": provider},
    });
    assert_eq!(made.body, json!({"protocol": golden}));
    assert_eq!(c.s.get(&c.admin, &path).expect(200).body, json!({"protocol": golden}));
    c.protocol("idp", "saml2", json!({"mapping_id": "m"})).expect(409);
    c.protocol("nope", "saml2", json!({"mapping_id": "m"})).expect(404);
    c.provider("other", json!({})).expect(201);
    c.protocol("other", "saml2", json!({"mapping_id": "n", "remote_id_attribute": null})).expect(201);
    let patch = |body: Value| c.s.patch(&c.admin, &path, json!({"protocol": body}));
    for bad in [
        json!({}),
        json!({"mapping_id": ""}),
        json!({"mapping_id": null}),
        json!({"mapping_id": "nope"}),
        json!({"remote_id_attribute": "Y"}),
        json!({"mapping_id": "m", "remote_id_attribute": "x".repeat(65)}),
        json!({"mapping_id": "m", "id": "saml2"}),
    ] {
        patch(bad.clone()).expect(400);
        c.protocol("idp", "oidc", bad).expect(400);
    }
    c.protocol("idp", &"x".repeat(65), json!({"mapping_id": "m"})).expect(400);
    patch(json!({"mapping_id": "m", "remote_id_attribute": null})).expect(400);
    golden["mapping_id"] = json!("n");
    assert_eq!(patch(json!({"mapping_id": "n"})).expect(200).body["protocol"], golden);
    let listed = c.s.get(&c.admin, &format!("{PROVIDERS}/idp/protocols")).expect(200);
    golden["idp_id"] = json!("idp");
    golden["remote_id_attribute"] = json!("X");
    assert_eq!(listed.body["protocols"], json!([golden]));
    assert_eq!(
        c.s.get(&c.admin, &format!("{PROVIDERS}/nope/protocols")).expect(200).body["protocols"],
        json!([])
    );
    // A mapping that is named goes all the same.
    c.s.delete(&c.admin, &format!("{MAPPINGS}/n")).expect(204);
    c.s.get(&c.admin, &path).expect(200);
    c.s.delete(&c.admin, &path).expect(204);
    c.s.delete(&c.admin, &path).expect(404);
    c.s.get(&c.admin, &path).expect(404);
    c.s.patch(&c.admin, &path, json!({"protocol": {"mapping_id": "m"}})).expect(404);
    c.s.get(&c.admin, &format!("{PROVIDERS}/other/protocols/saml2")).expect(200);
}

#[test]
fn a_mapping_is_made_shown_changed_and_deleted() {
    let c = Cloud::new("");
    let path = format!("{MAPPINGS}/m");
    let made = c.mapping("m", json!({"rules": rules(), "more": 1})).expect(201);
    let mut golden = json!({
        "id": "m", "rules": rules(), "schema_version": "1.0", "links": {"self": format!("{}{path}", c.s.url)},
    });
    assert_eq!(made.body, json!({"mapping": golden}));
    assert_eq!(c.s.get(&c.admin, &path).expect(200).body, json!({"mapping": golden}));
    c.mapping("m", json!({"rules": rules()})).expect(409);
    // As a Keystone stores it: JSON in a string of JSON.
    let stored = c.s.sql_text("SELECT rules FROM mapping WHERE id = 'm'", &[]).expect("a row");
    let stored: String = serde_json::from_str(&stored).expect("a string");
    assert_eq!(serde_json::from_str::<Value>(&stored).expect("JSON"), rules());
    let patch = |body: Value| c.s.patch(&c.admin, &path, json!({"mapping": body}));
    let with_regex = |pattern: &str| json!([{"local": [], "remote": [{"type": "x", "any_one_of": [pattern], "regex": true}]}]);
    for bad in [
        json!({}),
        json!({"schema_version": "1.0"}),
        json!({"rules": []}),
        json!({"rules": [{"local": []}]}),
        json!({"rules": [{"local": [{"x": 1}], "remote": [{"type": "x"}]}]}),
        json!({"rules": rules(), "schema_version": "4.0"}),
        json!({"rules": rules(), "schema_version": 1}),
        json!({"rules": with_regex("(")}),
    ] {
        c.mapping("n", bad.clone()).expect(400);
        patch(bad).expect(400);
    }
    // However many and long they are, they are not read, and not repeated.
    let refused = c.mapping("n", json!({"rules": with_regex(&r"\w".repeat(30_000))})).expect(400);
    let message = refused.body["error"]["message"].as_str().expect("words");
    assert!(message.contains("has more than 1,000 characters") && message.len() < 400, "{message}");
    let many = json!([{"local": [], "remote": [{"type": "x", "any_one_of": vec!["a"; 201], "regex": true}]}]);
    let refused = c.mapping("n", json!({"rules": many})).expect(400);
    assert!(refused.text.contains("more than 200 regular expressions"), "{}", refused.text);
    let refused = c.mapping("n", json!({"rules": with_regex("^(?!admin)")})).expect(400);
    assert_eq!(
        refused.body["error"]["message"],
        "mapping.rules[0].remote[0]: \"^(?!admin)\" has a look ahead, which is not done here"
    );
    c.mapping(&"x".repeat(65), json!({"rules": rules()})).expect(400);
    let second = json!([{"local": [{"group": {"id": "g"}}], "remote": [{"type": "Groups", "blacklist": ["^a"], "regex": true}]}]);
    golden["rules"] = second.clone();
    golden["schema_version"] = json!("2.0");
    assert_eq!(patch(json!({"rules": second, "schema_version": "2.0"})).expect(200).body["mapping"], golden);
    golden["schema_version"] = json!("1.0");
    assert_eq!(patch(json!({"rules": second, "schema_version": ""})).expect(200).body["mapping"], golden);
    for (name, version) in [("n2", "2.0"), ("n3", "3.0")] {
        let made = c.mapping(name, json!({"rules": rules(), "schema_version": version})).expect(201);
        assert_eq!(made.body["mapping"]["schema_version"], version);
    }
    assert_eq!(ids(&c.s.get(&c.admin, MAPPINGS).expect(200), "mappings"), ["m", "n2", "n3"]);
    c.s.delete(&c.admin, &path).expect(204);
    c.s.delete(&c.admin, &path).expect(404);
    c.s.get(&c.admin, &path).expect(404);
    c.s.patch(&c.admin, &path, json!({"mapping": {"rules": rules()}})).expect(404);
}

#[test]
fn the_default_version_of_mappings_is_an_option() {
    let c = Cloud::new(
        "[federation]\nattribute_mapping_default_schema_version = 3.0\n[saml]\nrelay_state_prefix = x:",
    );
    let rules = json!([{"local": [{"projects_json": "{0}"}], "remote": [{"type": "p"}]}]);
    let made = c.mapping("m", json!({"rules": rules})).expect(201);
    assert_eq!(made.body["mapping"]["schema_version"], "3.0");
    c.mapping("n", json!({"rules": rules, "schema_version": "2.0"})).expect(400);
    let made = c.service_provider("sp", json!({})).expect(201);
    assert_eq!(made.body["service_provider"]["relay_state_prefix"], "x:");
}

#[test]
fn a_service_provider_is_made_shown_changed_and_deleted() {
    let c = Cloud::new("");
    let path = format!("{SERVICE_PROVIDERS}/sp");
    let made = c.service_provider("sp", json!({})).expect(201);
    let mut golden = json!({
        "id": "sp", "auth_url": "https://sp/auth", "sp_url": "https://sp/sp", "enabled": false, "description": null,
        "relay_state_prefix": "ss:mem:", "links": {"self": format!("{}{path}", c.s.url)},
    });
    assert_eq!(made.body, json!({"service_provider": golden}));
    assert_eq!(c.s.get(&c.admin, &path).expect(200).body, json!({"service_provider": golden}));
    c.service_provider("sp", json!({})).expect(409);
    let patch = |body: Value| c.s.patch(&c.admin, &path, json!({"service_provider": body}));
    for bad in [
        json!({"auth_url": "nope"}),
        json!({"auth_url": null}),
        json!({"sp_url": format!("https://{}", "x".repeat(220))}),
        json!({"enabled": "true"}),
        json!({"relay_state_prefix": null}),
        json!({"relay_state_prefix": "x".repeat(257)}),
        json!({"id": "sp"}),
        json!({"more": 1}),
    ] {
        c.service_provider("other", bad.clone()).expect(400);
        patch(bad).expect(400);
    }
    patch(json!({})).expect(400);
    c.service_provider(&"x".repeat(65), json!({})).expect(400);
    put(
        &c.s,
        &c.admin,
        &format!("{SERVICE_PROVIDERS}/other"),
        json!({"service_provider": {"sp_url": "a:b"}}),
    )
    .expect(400);
    (golden["enabled"], golden["description"]) = (json!(true), json!("d"));
    assert_eq!(
        patch(json!({"enabled": true, "description": "d"})).expect(200).body["service_provider"],
        golden
    );
    c.service_provider("two", json!({"relay_state_prefix": "", "enabled": false})).expect(201);
    let list = |query: &str| {
        ids(&c.s.get(&c.admin, &format!("{SERVICE_PROVIDERS}?{query}")).expect(200), "service_providers")
    };
    assert_eq!(list(""), ["sp", "two"]);
    assert_eq!(list("enabled=1"), ["sp"]);
    assert_eq!(list("id=two"), ["two"]);
    c.s.get(&c.admin, &format!("{SERVICE_PROVIDERS}?enabled=x")).expect(400);
    c.s.delete(&c.admin, &path).expect(204);
    c.s.delete(&c.admin, &path).expect(404);
    c.s.get(&c.admin, &path).expect(404);
    c.s.patch(&c.admin, &path, json!({"service_provider": {"enabled": true}})).expect(404);
}

#[test]
fn only_administrators_change_them_and_readers_of_the_system_see_them() {
    let c = Cloud::with_protocol("");
    c.service_provider("sp", json!({})).expect(201);
    let (_, reader) = persona(&c.s, "reader", "reader", "system");
    let manager = on_domain(&c.s, "manager", "manager", "D");
    for (path, name, body) in [
        (format!("{PROVIDERS}/idp"), "identity_provider", json!({"enabled": false})),
        (format!("{PROVIDERS}/idp/protocols/saml2"), "protocol", json!({"mapping_id": "m"})),
        (format!("{MAPPINGS}/m"), "mapping", json!({"rules": rules()})),
        (format!("{SERVICE_PROVIDERS}/sp"), "service_provider", json!({"enabled": false})),
    ] {
        let all = path.rsplit_once('/').expect("a list").0;
        for path in [&*path, all] {
            c.s.get(&reader, path).expect(200);
            c.s.get(&manager, path).expect(403);
        }
        let body = json!({ name: body });
        for who in [&reader, &manager] {
            for path in [&path, &format!("{all}/nope")] {
                put(&c.s, who, path, body.clone()).expect(403);
                c.s.patch(who, path, body.clone()).expect(403);
                c.s.delete(who, path).expect(403);
            }
        }
    }
}

/// Users without another name go with the provider, its protocol, or its domain; nobody else does.
#[test]
fn who_is_nobody_without_a_provider_goes_with_it() {
    for gone in ["protocol", "provider", "domain"] {
        let c = Cloud::with_protocol("");
        c.protocol("idp", "oidc", json!({"mapping_id": "m"})).expect(201);
        let (one, both) = (c.federated("one", "saml2"), c.federated("both", "saml2"));
        c.link(&both, "idp", "oidc");
        let local = user(&c.s, "local", "default");
        c.link(&local, "idp", "saml2");
        let token = c.s.login_id(&local, "pw", json!("unscoped")).expect(201).token();
        let is_there = |user: &str| c.s.get(&c.admin, &format!("/v3/users/{user}")).status == 200;
        match gone {
            "protocol" => c.s.delete(&c.admin, &format!("{PROVIDERS}/idp/protocols/saml2")).expect(204),
            "provider" => c.s.delete(&c.admin, &format!("{PROVIDERS}/idp")).expect(204),
            _ => {
                c.s.patch(&c.admin, "/v3/domains/D", json!({"domain": {"enabled": false}})).expect(200);
                c.s.delete(&c.admin, "/v3/domains/D").expect(204)
            }
        };
        assert_eq!(
            (is_there(&one), is_there(&both), is_there(&local)),
            (false, gone == "protocol", true),
            "{gone}"
        );
        assert_eq!(c.s.get(&token, "/v3/auth/projects").status, 401, "{gone}");
        let left = c.s.sql_text("SELECT COUNT(*) FROM federated_user WHERE protocol_id = 'saml2'", &[]);
        assert_eq!(left.as_deref(), Some("0"), "{gone}");
        if gone == "domain" {
            c.s.get(&c.admin, &format!("{PROVIDERS}/idp")).expect(404);
        }
        c.s.get(&c.admin, &format!("{MAPPINGS}/m")).expect(200);
    }
}

#[test]
fn where_the_caller_may_go_has_an_older_path_too() {
    let c = Cloud::new("");
    let project = json!({"project": {"name": "p"}});
    let project = id(&c.s.post(&c.admin, "/v3/projects", project).expect(201), "project");
    let (ann, token) = persona(&c.s, "ann", "member", "domain:default");
    c.s.grant(&ann, &project, "member");
    for what in ["projects", "domains"] {
        let now = ids(&c.s.get(&token, &format!("/v3/auth/{what}")).expect(200), what);
        assert_eq!(ids(&c.s.get(&token, &format!("/v3/OS-FEDERATION/{what}")).expect(200), what), now);
        assert_eq!(now.len(), 1, "{what}");
    }
}

/// No assertions are made here.
#[test]
fn assertions_for_other_clouds_are_not_served() {
    let c = Cloud::with_protocol("");
    for path in ["/v3/OS-FEDERATION/saml2/metadata", "/v3/auth/OS-FEDERATION/saml2"] {
        c.s.get(&c.admin, path).expect(404);
    }
}

#[test]
fn tokens_name_the_service_providers_that_are_enabled() {
    let c = Cloud::new("");
    c.service_provider("off", json!({})).expect(201);
    let body = |answer: Answer| answer.body["token"].clone();
    assert_eq!(body(c.s.validate(&c.admin).expect(200)).get("service_providers"), None);
    c.service_provider("on", json!({"enabled": true})).expect(201);
    let named = json!([{"auth_url": "https://sp/auth", "id": "on", "sp_url": "https://sp/sp"}]);
    assert_eq!(body(c.s.validate(&c.admin).expect(200))["service_providers"], named);
    let ann = user(&c.s, "ann", "default");
    let unscoped = c.s.login_id(&ann, "pw", json!("unscoped")).expect(201);
    assert_eq!(body(unscoped)["service_providers"], named);
    c.s.delete(&c.admin, &format!("{SERVICE_PROVIDERS}/on")).expect(204);
    assert_eq!(body(c.s.validate(&c.admin).expect(200)).get("service_providers"), None);
}

/// Tokens as a Keystone makes them at a login through an identity provider.
mod tokens_of_federated_users {
    use vicar::auth::fernet::{Federated, Payload, PayloadScope};
    use vicar::clock::SECOND;

    use super::*;
    use crate::support::START;

    /// A token of a user who came from `idp` by `saml2` with these groups, as a Keystone makes it.
    fn token(c: &Cloud, user: &str, scope: PayloadScope, groups: &[&str]) -> String {
        let payload = Payload {
            user: user.to_owned(),
            methods: vec!["mapped".into()],
            scope,
            expires: START + 3600 * SECOND,
            issued: START,
            audit_ids: vec![vicar::ids::audit()],
            federated: Some(Federated {
                provider: "idp".into(),
                protocol: "saml2".into(),
                groups: groups.iter().map(|g| (*g).to_owned()).collect(),
            }),
        };
        let keys = c.s.app.token_keys.current().expect("keys");
        payload.encode(&keys, &c.s.app.config.auth_methods).expect("encodes")
    }

    fn project(c: &Cloud, name: &str) -> String {
        id(&c.s.post(&c.admin, "/v3/projects", json!({"project": {"name": name}})).expect(201), "project")
    }

    fn role_names(body: &Value) -> Vec<&str> {
        let mut names: Vec<&str> =
            body["roles"].as_array().into_iter().flatten().filter_map(|r| r["name"].as_str()).collect();
        names.sort_unstable();
        names
    }

    fn rescope(c: &Cloud, token: &str, scope: Value) -> Answer {
        c.s.auth(json!({"identity": {"methods": ["token"], "token": {"id": token}}, "scope": scope}))
    }

    #[test]
    fn they_are_shown_with_the_provider_and_the_groups() {
        let c = Cloud::with_protocol("");
        let (p, user) = (project(&c, "p"), c.federated("f", "saml2"));
        let group = c.s.group("g", "default", &[]);
        c.s.assign("GroupProject", &group, &p, "member", false);
        c.s.assign("GroupDomain", &group, "D", "reader", false);
        let block = json!({
            "groups": [{"id": group}], "identity_provider": {"id": "idp"}, "protocol": {"id": "saml2"},
        });
        let unscoped = token(&c, &user, PayloadScope::Unscoped, &[&group]);
        let body = c.s.validate(&unscoped).expect(200).body["token"].clone();
        assert_eq!(
            body["user"],
            json!({"id": "f", "name": "n-f", "domain": {"id": "D", "name": "D"}, "OS-FEDERATION": block})
        );
        assert_eq!((body["methods"].clone(), body.get("roles")), (json!(["mapped"]), None));
        let scoped = token(&c, &user, PayloadScope::Project(p.clone()), &[&group]);
        let body = c.s.validate(&scoped).expect(200).body["token"].clone();
        assert_eq!(role_names(&body), ["member", "reader"]);
        assert_eq!((&body["user"]["OS-FEDERATION"], &body["project"]["id"]), (&block, &json!(p)));
        assert!(body["roles"][0].get("options").is_some(), "{body}");
        let body = c.s.validate(&token(&c, &user, PayloadScope::Domain("D".into()), &[&group])).expect(200);
        assert_eq!(role_names(&body.body["token"]), ["reader"]);
        // Neither more than the groups hold, nor what others do.
        assert_eq!(c.s.validate(&token(&c, &user, PayloadScope::Project(p.clone()), &[])).status, 404);
        let q = project(&c, "q");
        assert_eq!(c.s.validate(&token(&c, &user, PayloadScope::Project(q), &[&group])).status, 404);
        // What the user holds by themselves counts as well.
        c.s.assign("UserProject", &user, &p, "manager", false);
        let body = c.s.validate(&scoped).expect(200);
        assert_eq!(role_names(&body.body["token"]), ["manager", "member", "reader"]);
        let held = ids(&c.s.get(&unscoped, "/v3/auth/projects").expect(200), "projects");
        assert_eq!(held, [p]);
        assert_eq!(ids(&c.s.get(&unscoped, "/v3/OS-FEDERATION/domains").expect(200), "domains"), ["D"]);
    }

    #[test]
    fn they_are_exchanged_for_those_of_another_scope() {
        let c = Cloud::with_protocol("");
        let (p, user) = (project(&c, "p"), c.federated("f", "saml2"));
        let group = c.s.group("g", "default", &[]);
        c.s.assign("GroupProject", &group, &p, "member", false);
        let first = token(&c, &user, PayloadScope::Unscoped, &[&group]);
        let scope = || json!({"project": {"id": p}});
        let second = rescope(&c, &first, scope()).expect(201);
        let body = &second.body["token"];
        assert_eq!(role_names(body), ["member", "reader"]);
        assert_eq!(body["methods"], json!(["mapped", "token"]));
        assert_eq!(body["user"]["OS-FEDERATION"]["groups"], json!([{"id": group}]));
        assert_eq!(body["expires_at"], c.s.validate(&first).expect(200).body["token"]["expires_at"]);
        assert_eq!(body["audit_ids"].as_array().map(Vec::len), Some(2));
        assert_eq!(c.s.validate(&second.token()).expect(200).body, second.body);
        rescope(&c, &second.token(), json!("unscoped")).expect(201);
        rescope(&c, &first, json!({"system": {"all": true}})).expect(403);
        rescope(&c, &first, json!({"domain": {"id": "D"}})).expect(401);

        // As long as the user would still come in that way.
        c.change_provider("idp", json!({"enabled": false})).expect(200);
        rescope(&c, &first, scope()).expect(403);
        c.s.validate(&first).expect(200);
        c.change_provider("idp", json!({"enabled": true})).expect(200);
        c.s.delete(&c.admin, &format!("{MAPPINGS}/m")).expect(204);
        rescope(&c, &first, scope()).expect(401);
        c.mapping("m", json!({"rules": rules()})).expect(201);
        rescope(&c, &first, scope()).expect(201);
        c.s.delete(&c.admin, &format!("/v3/groups/{group}")).expect(204);
        rescope(&c, &first, scope()).expect(401);
        assert_eq!(c.s.validate(&second.token()).status, 404);
    }

    /// What a token carries by its groups alone, its user does not hold: nothing that outlives it is made of that.
    #[test]
    fn an_application_credential_has_no_roles_of_the_tokens_groups() {
        let c = Cloud::with_protocol("");
        let (p, user) = (project(&c, "p"), c.federated("f", "saml2"));
        let group = c.s.group("g", "default", &[]);
        c.s.assign("GroupProject", &group, &p, "member", false);
        let scoped = token(&c, &user, PayloadScope::Project(p.clone()), &[&group]);
        let path = format!("/v3/users/{user}/application_credentials");
        let make = |name: &str, roles: Value| {
            let mut body = json!({"name": name, "secret": "s"});
            if !roles.is_null() {
                body["roles"] = roles;
            }
            c.s.post(&scoped, &path, json!({"application_credential": body}))
        };
        let refused = make("all", Value::Null).expect(400);
        assert!(refused.text.contains("does not hold role"), "{}", refused.text);
        make("member", json!([{"name": "member"}])).expect(400);
        assert_eq!(ids(&c.s.get(&scoped, &path).expect(200), "application_credentials"), [""; 0]);
        // What the user holds by themselves they may give, and no more.
        c.s.assign("UserProject", &user, &p, "reader", false);
        let id = id(&make("reader", json!([{"name": "reader"}])).expect(201), "application_credential");
        make("again", Value::Null).expect(400);
        c.s.assign("UserProject", &user, &p, "member", false);
        let by = json!({"id": id, "secret": "s"});
        let auth = json!({"identity": {"methods": ["application_credential"], "application_credential": by}});
        assert_eq!(role_names(&c.s.auth(auth).expect(201).body["token"]), ["reader"]);
        make("all", Value::Null).expect(201);
    }

    #[test]
    fn they_end_with_the_provider_and_with_what_a_group_loses() {
        let c = Cloud::with_protocol("");
        let (p, local) = (project(&c, "p"), user(&c.s, "local", "default"));
        c.link(&local, "idp", "saml2");
        let group = c.s.group("g", "default", &[]);
        c.s.assign("GroupProject", &group, &p, "member", false);
        c.s.assign("GroupProject", &group, &p, "manager", false);
        let scoped = token(&c, &local, PayloadScope::Project(p.clone()), &[&group]);
        let unscoped = token(&c, &local, PayloadScope::Unscoped, &[&group]);
        c.s.validate(&scoped).expect(200);
        let roles = c.s.get(&c.admin, "/v3/roles?name=manager").expect(200).body["roles"][0]["id"].clone();
        let path = format!("/v3/projects/{p}/groups/{group}/roles/{}", roles.as_str().expect("a role"));
        c.s.delete(&c.admin, &path).expect(204);
        c.s.validate(&scoped).expect(404);
        // Giving it back revives nothing.
        c.s.put(&c.admin, &path).expect(204);
        c.s.validate(&scoped).expect(404);
        c.s.validate(&unscoped).expect(200);
        c.s.delete(&c.admin, &format!("{PROVIDERS}/idp")).expect(204);
        c.s.validate(&unscoped).expect(404);
        let gone = c.s.get(&unscoped, "/v3/auth/projects").expect(401);
        assert_eq!(gone.logged.request["reason"], "provider-gone");
        c.provider("idp", json!({"domain_id": "D"})).expect(201);
        c.protocol("idp", "saml2", json!({"mapping_id": "m"})).expect(201);
        c.s.validate(&unscoped).expect(404);
        let other = c.federated("other", "saml2");
        c.s.validate(&token(&c, &other, PayloadScope::Unscoped, &[])).expect(200);
    }
}

#[test]
fn memberships_that_came_with_a_login_count_until_they_expire() {
    let c = Cloud::with_protocol("[federation]\ndefault_authorization_ttl = 10");
    let ann = user(&c.s, "ann", "default");
    let project = json!({"project": {"name": "p"}});
    let p = id(&c.s.post(&c.admin, "/v3/projects", project).expect(201), "project");
    let (group, other) = (c.s.group("g", "default", &[]), c.s.group("h", "default", &[&ann]));
    for (kind, target) in [("GroupProject", &*p), ("GroupDomain", "D"), ("GroupSystem", "system")] {
        c.s.assign(kind, &group, target, "member", false);
    }
    let minute = 60 * vicar::clock::SECOND;
    c.s.sql_run(
        "INSERT INTO expiring_user_group_membership (user_id, group_id, idp_id, last_verified) VALUES (?, ?, 'idp', ?)",
        &[(&*ann).into(), (&*group).into(), vicar::store::DateTime(crate::support::START).into()],
    );
    let on = |scope: Value| c.s.login_id(&ann, "pw", scope);
    let scopes =
        || [json!({"project": {"id": p}}), json!({"domain": {"id": "D"}}), json!({"system": {"all": true}})];
    let tokens: Vec<String> = scopes().map(|scope| on(scope).expect(201).token()).to_vec();
    let path = format!("/v3/users/{ann}/groups");
    let ends = |name: &str| {
        let listed = c.s.get(&c.admin, &path).expect(200).body["groups"].clone();
        let found = listed.as_array().expect("a list").iter().find(|g| g["name"] == name).cloned();
        found.map(|g| g["membership_expires_at"].clone())
    };
    assert_eq!(ends("g"), Some(json!("2027-01-15T08:10:00.000000")));
    assert_eq!(ends("h"), Some(Value::Null));
    assert_eq!(ids(&c.s.get(&c.admin, &format!("{path}?name=g")).expect(200), "groups"), [&*group]);
    let member = format!("/v3/groups/{group}/users/{ann}");
    c.s.get(&c.admin, &member).expect(204);
    assert_eq!(ids(&c.s.get(&tokens[0], "/v3/auth/projects").expect(200), "projects"), [&*p]);
    let effective = format!("/v3/role_assignments?effective&user.id={ann}&scope.project.id={p}");
    let assigned =
        || c.s.get(&c.admin, &effective).expect(200).body["role_assignments"].as_array().map(Vec::len);
    assert_eq!(assigned(), Some(2));
    // The provider's own time counts before the default.
    c.change_provider("idp", json!({"authorization_ttl": 20})).expect(200);
    c.s.clock.advance(19 * minute);
    let admin = c.s.admin();
    assert!(tokens.iter().all(|token| c.s.validate(token).status == 200));
    c.s.clock.advance(minute);
    assert!(tokens.iter().all(|token| c.s.validate(token).status == 404));
    assert!(scopes().into_iter().all(|scope| on(scope).status == 401));
    assert_eq!(ends("g"), None);
    assert_eq!(assigned(), Some(0));
    c.s.get(&admin, &member).expect(404);
    let _ = other;
}

#[test]
fn a_membership_that_is_taken_away_ends_tokens_for_good() {
    let c = Cloud::with_protocol("");
    c.change_provider("idp", json!({"authorization_ttl": 60})).expect(200);
    let ann = user(&c.s, "ann", "default");
    let group = c.s.group("g", "default", &[]);
    c.s.assign("GroupDomain", &group, "D", "member", false);
    let join = || {
        c.s.sql_run(
            "INSERT INTO expiring_user_group_membership (user_id, group_id, idp_id, last_verified)
             VALUES (?, ?, 'idp', ?)",
            &[(&*ann).into(), (&*group).into(), vicar::store::DateTime(crate::support::START).into()],
        );
    };
    join();
    let token = c.s.login_id(&ann, "pw", json!({"domain": {"id": "D"}})).expect(201).token();
    c.s.validate(&token).expect(200);
    c.s.delete(&c.admin, &format!("{PROVIDERS}/idp")).expect(204);
    c.s.validate(&token).expect(404);
    c.provider("idp", json!({"domain_id": "D", "authorization_ttl": 60})).expect(201);
    join();
    c.s.validate(&token).expect(404);
}

/// The end of a membership's time is no act: what was not held meanwhile is held again with the next login
/// through the provider, as there. A shorter time is an act.
#[test]
fn a_membership_that_passes_takes_nothing_away_and_a_shorter_time_does() {
    let c = Cloud::with_protocol("");
    c.change_provider("idp", json!({"authorization_ttl": 20})).expect(200);
    let (ann, bob) = (user(&c.s, "ann", "default"), user(&c.s, "bob", "default"));
    let group = c.s.group("g", "default", &[]);
    c.s.assign("GroupDomain", &group, "D", "member", false);
    let minute = 60 * vicar::clock::SECOND;
    // A Keystone on the same database writes these at a login.
    let verified = |user: &str, at: i64| {
        c.s.sql_run("DELETE FROM expiring_user_group_membership WHERE user_id = ?", &[user.into()]);
        c.s.sql_run(
            "INSERT INTO expiring_user_group_membership (user_id, group_id, idp_id, last_verified)
             VALUES (?, ?, 'idp', ?)",
            &[user.into(), (&*group).into(), vicar::store::DateTime(crate::support::START + at).into()],
        );
    };
    verified(&ann, 0);
    verified(&bob, 8 * minute);
    let login = |user: &str| c.s.login_id(user, "pw", json!({"domain": {"id": "D"}})).expect(201).token();
    let (of_ann, of_bob) = (login(&ann), login(&bob));
    c.s.clock.advance(21 * minute);
    c.s.validate(&of_ann).expect(404);
    c.s.validate(&of_bob).expect(200);
    verified(&ann, 21 * minute);
    c.s.validate(&of_ann).expect(200);

    // The time of Bob's is over by it, and Ann's is not.
    c.change_provider("idp", json!({"authorization_ttl": 10})).expect(200);
    c.s.validate(&of_ann).expect(200);
    c.s.validate(&of_bob).expect(404);
    c.change_provider("idp", json!({"authorization_ttl": 20})).expect(200);
    c.s.validate(&of_bob).expect(404);
    verified(&bob, 21 * minute);
    c.s.validate(&of_bob).expect(404);
    c.s.clock.advance(vicar::clock::SECOND);
    c.s.validate(&login(&bob)).expect(200);
}

#[test]
fn a_link_to_a_provider_of_another_domain_is_for_whoever_may_change_that() {
    let c = Cloud::with_protocol("");
    domain(&c.s, "A");
    let manager = |domain: &str| c.s.persona("manager", domain, json!({"domain": {"id": domain}}));
    let token = manager("A");
    let links = |unique: &str| json!([{"idp_id": "idp", "protocols": [{"protocol_id": "saml2", "unique_id": unique}]}]);
    let make_in = |domain: &str, token: &str, name: &str, links: Value| {
        let user = json!({"name": name, "domain_id": domain, "federated": links});
        c.s.post(token, "/v3/users", json!({ "user": user }))
    };
    let make = |token: &str, name: &str, links: Value| make_in("A", token, name, links);
    // Whoever logs in as `boss` would be this user, whose password the manager knows.
    let refused = make(&token, "trap", links("boss")).expect(403);
    assert!(refused.text.contains("user.federated"), "{}", refused.text);
    let trap = id(&make(&token, "trap", json!([])).expect(201), "user");
    let path = format!("/v3/users/{trap}");
    let change = |token: &str| c.s.patch(token, &path, json!({"user": {"federated": links("boss")}}));
    change(&token).expect(403);
    change(&c.admin).expect(200);
    // In the provider's own domain it is its manager's matter.
    make_in("D", &manager("D"), "ann", links("ann")).expect(201);
}

#[test]
fn a_user_is_linked_to_identity_providers() {
    let c = Cloud::with_protocol("");
    let links = |unique: &str| json!([{"idp_id": "idp", "protocols": [{"protocol_id": "saml2", "unique_id": unique}]}]);
    let make = |name: &str, links: Value| {
        c.s.post(
            &c.admin,
            "/v3/users",
            json!({"user": {"name": name, "domain_id": "default", "federated": links}}),
        )
    };
    let made = make("ann", links("a")).expect(201);
    assert_eq!(made.body["user"]["federated"], links("a"));
    let ann = id(&made, "user");
    let path = format!("/v3/users/{ann}");
    assert_eq!(c.s.get(&c.admin, &path).expect(200).body["user"]["federated"], links("a"));
    for query in ["idp_id=idp", "protocol_id=saml2", "unique_id=a", "idp_id=idp&unique_id=a"] {
        assert_eq!(
            ids(&c.s.get(&c.admin, &format!("/v3/users?{query}")).expect(200), "users"),
            [&*ann],
            "{query}"
        );
    }
    assert!(ids(&c.s.get(&c.admin, "/v3/users?unique_id=b").expect(200), "users").is_empty());
    make("bob", links("a")).expect(409);
    for bad in [
        json!("x"),
        Value::Null,
        json!([{}]),
        json!([{"idp_id": "idp", "protocols": []}]),
        json!([{"idp_id": "idp", "protocols": [{"protocol_id": "saml2"}]}]),
        json!([{"idp_id": "nope", "protocols": [{"protocol_id": "saml2", "unique_id": "u"}]}]),
        json!([{"idp_id": "idp", "protocols": [{"protocol_id": "nope", "unique_id": "u"}]}]),
    ] {
        make("bob", bad.clone()).expect(400);
        c.s.patch(&c.admin, &path, json!({"user": {"federated": bad}})).expect(400);
    }
    let change = |body: Value| c.s.patch(&c.admin, &path, json!({"user": body}));
    assert_eq!(change(json!({"federated": []})).expect(200).body["user"]["federated"], links("a"));
    assert_eq!(change(json!({"federated": links("b")})).expect(200).body["user"]["federated"], links("b"));
    make("bob", links("a")).expect(201);
    change(json!({"federated": links("a")})).expect(409);
    c.s.delete(&c.admin, &format!("{PROVIDERS}/idp")).expect(204);
    assert_eq!(c.s.get(&c.admin, &path).expect(200).body["user"].get("federated"), None);
}
