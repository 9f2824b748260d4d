//! The configuration of a domain.

use serde_json::{Value, json};

use crate::support::{Answer, Server, count, on_domain, on_project, persona, token, user};

/// A server with a domain `d` and its administrator's token.
struct Domain {
    s: Server,
    admin: String,
    id: String,
}

impl Domain {
    fn new(ini: &str) -> Self {
        let s = Server::with(ini);
        let (admin, id) = (s.admin(), s.domain("d"));
        Self { s, admin, id }
    }

    fn path(&self, more: &str) -> String {
        format!("/v3/domains/{}/config{more}", self.id)
    }

    fn put(&self, config: Value) -> Answer {
        self.send("PUT", &self.path(""), config)
    }

    fn patch(&self, more: &str, config: Value) -> Answer {
        self.send("PATCH", &self.path(more), config)
    }

    fn send(&self, method: &str, path: &str, config: Value) -> Answer {
        let body = json!({ "config": config }).to_string();
        self.s.call(method, path, &[("X-Auth-Token", &self.admin)], Some(body.as_bytes()))
    }

    fn get(&self, more: &str) -> Answer {
        self.s.get(&self.admin, &self.path(more))
    }

    fn delete(&self, more: &str) -> Answer {
        self.s.delete(&self.admin, &self.path(more))
    }

    fn shown(&self) -> Value {
        self.get("").expect(200).body["config"].clone()
    }
}

fn message(answer: &Answer) -> &str {
    answer.body["error"]["message"].as_str().expect("a message")
}

#[test]
fn a_configuration_is_made_shown_changed_and_deleted() {
    let d = Domain::new("");
    let none = d.get("").expect(404);
    assert_eq!(
        message(&none),
        format!("Could not find any options in domain configuration for domain {}.", d.id)
    );
    let ldap = json!({"url": "ldap://h", "use_tls": false, "page_size": 3, "user_attribute_ignore": ["a"]});
    let mut secret = ldap.clone();
    secret["password"] = json!("s3cret-of-ldap");
    let made = d.put(json!({"identity": {"driver": "ldap"}, "ldap": secret})).expect(201);
    let mut golden = json!({"identity": {"driver": "ldap"}, "ldap": ldap});
    assert_eq!(made.body, json!({"config": golden}));
    assert_eq!(d.shown(), golden);
    assert_eq!(d.get("/ldap").expect(200).body, json!({"config": {"ldap": golden["ldap"]}}));
    assert_eq!(d.get("/ldap/use_tls").expect(200).body, json!({"config": {"use_tls": false}}));
    assert!(d.s.head(&d.admin, &d.path("/ldap")).expect(200).text.is_empty());
    d.get("/ldap/suffix").expect(404);

    let changed = d.patch("", json!({"ldap": {"suffix": "o=x", "url": null}})).expect(200);
    (golden["ldap"]["suffix"], golden["ldap"]["url"]) = (json!("o=x"), json!(null));
    assert_eq!(changed.body["config"], golden);
    golden["ldap"]["page_size"] = json!(4);
    assert_eq!(d.patch("/ldap", json!({"ldap": {"page_size": 4}})).expect(200).body["config"], golden);
    golden["ldap"]["url"] = json!({"a": 1});
    assert_eq!(d.patch("/ldap/url", json!({"url": {"a": 1}})).expect(200).body["config"], golden);
    // What is not there is not changed, but is made with the whole.
    d.patch("/ldap/user", json!({"user": "u"})).expect(404);
    assert_eq!(d.shown(), golden);

    d.delete("/ldap/use_tls").expect(204);
    d.delete("/ldap/use_tls").expect(404);
    d.get("/ldap/use_tls").expect(404);
    d.delete("/ldap").expect(204);
    d.delete("/ldap").expect(404);
    d.patch("/ldap", json!({"ldap": {"url": "x"}})).expect(404);
    assert_eq!(d.shown(), json!({"identity": {"driver": "ldap"}}));
    // These and no others.
    let again = d.put(json!({"ldap": {"url": "x"}})).expect(200);
    assert_eq!(again.body["config"], json!({"ldap": {"url": "x"}}));
    assert_eq!(d.shown(), json!({"ldap": {"url": "x"}}));
    d.delete("").expect(204);
    d.delete("").expect(204);
    d.get("").expect(404);
    d.patch("", json!({"ldap": {"url": "y"}})).expect(200);
    assert_eq!(d.shown(), json!({"ldap": {"url": "y"}}));
}

#[test]
fn what_is_sensitive_is_kept_and_never_shown() {
    let d = Domain::new("");
    let stored = |d: &Domain| {
        d.s.sql_text("SELECT value FROM sensitive_config WHERE domain_id = ?", &[d.id.as_str().into()])
    };
    assert_eq!(d.put(json!({"ldap": {"password": "p-one"}})).expect(201).body, json!({"config": {}}));
    assert_eq!(stored(&d).as_deref(), Some("\"p-one\""));
    for path in ["", "/ldap", "/ldap/password"] {
        d.get(path).expect(404);
    }
    // It is there, though.
    let changed = d.patch("/ldap/password", json!({"password": "p-two"})).expect(200);
    assert_eq!((changed.body, stored(&d).as_deref()), (json!({"config": {}}), Some("\"p-two\"")));
    let made = d.put(json!({"ldap": {"url": "ldap://u:%(password)s@h", "password": "p-three"}})).expect(200);
    assert_eq!(made.body["config"], json!({"ldap": {"url": "ldap://u:%(password)s@h"}}));
    assert_eq!(d.shown(), made.body["config"]);
    d.s.get(&d.admin, "/v3/domains/config/ldap/password/default").expect(403);
    d.delete("/ldap/password").expect(204);
    d.delete("/ldap/password").expect(404);
    assert_eq!((stored(&d), d.shown()), (None, made.body["config"].clone()));
    d.put(json!({"ldap": {"password": "p"}})).expect(200);
    d.delete("/ldap").expect(204);
    assert_eq!(stored(&d), None);
}

#[test]
fn what_no_domain_can_have_is_refused() {
    let d = Domain::new("");
    for (body, says) in [
        (json!(null), "No options specified"),
        (json!({}), "No options specified"),
        (json!({"ldap": {}}), "the group ldap must be an object"),
        (json!({"ldap": 3}), "the group ldap must be an object"),
        (json!({"ldap": null}), "the group ldap must be an object"),
        (json!({"odd": {"a": 1}}), "Group odd is not supported"),
        (json!({"ldap": {"odd": 1}}), "Option odd in group ldap is not supported"),
        (json!({"ldap": {"url": "x"}, "odd": {"a": 1}}), "Group odd is not supported"),
        (json!({"security_compliance": {"password_regex": "x"}}), "is not supported"),
    ] {
        for refused in [d.put(body.clone()), d.patch("", body.clone())] {
            let refused = refused.expect(403);
            assert!(message(&refused).starts_with("Invalid domain specific configuration: "), "{body}");
            assert!(message(&refused).contains(says), "{body}: {}", message(&refused));
        }
    }
    for body in [json!("x"), json!([1]), json!(1)] {
        d.put(body.clone()).expect(400);
        d.patch("", body).expect(400);
    }
    for path in ["/odd", "/ldap/odd", "/odd/url", "/security_compliance"] {
        d.get(path).expect(403);
        d.delete(path).expect(403);
        d.patch(path, json!({"ldap": {"url": "x"}})).expect(403);
    }
    d.put(json!({"ldap": {"url": "x"}, "identity": {"list_limit": 5}})).expect(201);
    for (path, body) in [
        ("/ldap", json!({"identity": {"list_limit": 6}})),
        ("/ldap", json!({"identity": {"list_limit": 6}, "ldap": {"url": "y"}})),
        ("/ldap", json!({"url": "y"})),
        ("/ldap", json!({"ldap": {}})),
        ("/ldap/url", json!({"ldap": {"url": "y"}})),
        ("/ldap/url", json!({"url": "y", "user": "u"})),
        ("/ldap/url", json!({"user": "u"})),
        ("/ldap/url", json!({})),
    ] {
        d.patch(path, body).expect(403);
    }
    assert_eq!(d.shown(), json!({"ldap": {"url": "x"}, "identity": {"list_limit": 5}}));
    // Longer than every engine stores, and as long as that.
    let long = |n: usize| d.put(json!({"ldap": {"url": "x".repeat(n)}}));
    assert!(message(&long(70_000).expect(400)).starts_with("config.ldap.url: "));
    long(60_000).expect(200);
    for (method, path) in [("PUT", "/ldap"), ("PUT", "/ldap/url"), ("POST", "")] {
        d.send(method, &d.path(path), json!({"ldap": {"url": "x"}})).expect(405);
    }
}

#[test]
fn a_domain_that_is_not_there_has_none() {
    let d = Domain::new("");
    d.s.sql_run("INSERT INTO whitelisted_config VALUES ('gone', 'ldap', 'url', '\"x\"')", &[]);
    let project = d.s.project("p");
    for id in ["gone", "nope", &project] {
        let path = format!("/v3/domains/{id}/config");
        for more in ["", "/ldap", "/ldap/url"] {
            d.s.get(&d.admin, &format!("{path}{more}")).expect(404);
            d.s.delete(&d.admin, &format!("{path}{more}")).expect(404);
            let body = if more == "/ldap/url" { json!({"url": "x"}) } else { json!({"ldap": {"url": "x"}}) };
            d.send("PATCH", &format!("{path}{more}"), body).expect(404);
        }
        d.send("PUT", &path, json!({"odd": 1})).expect(404);
    }
}

#[test]
fn defaults_are_told() {
    let d = Domain::new("[ldap]\nurl = ldap://all\npassword = hidden-default\n[identity]\nlist_limit = 7\n");
    let get = |more: &str| d.s.get(&d.admin, &format!("/v3/domains/config{more}/default"));
    let all = get("").expect(200);
    assert!(!all.text.contains("hidden-default"));
    let all = &all.body["config"];
    assert_eq!(all["identity"], json!({"driver": "sql", "list_limit": 7}));
    assert_eq!((&all["ldap"]["url"], &all["ldap"]["pool_size"]), (&json!("ldap://all"), &json!(10)));
    assert_eq!(get("/ldap").expect(200).body["config"], json!({"ldap": all["ldap"]}));
    assert_eq!(get("/ldap/url").expect(200).body["config"], json!({"url": "ldap://all"}));
    assert_eq!(get("/ldap/user").expect(200).body["config"], json!({"user": null}));
    for path in ["/odd", "/odd/x", "/ldap/odd", "/ldap/password", "/security_compliance"] {
        get(path).expect(403);
    }
}

#[test]
fn what_a_password_must_look_like_is_told_to_everybody() {
    let ini = "[security_compliance]\npassword_regex = ^.{4,}$\npassword_regex_description = four letters\n";
    let d = Domain::new(ini);
    let nobody = user(&d.s, "nobody", "default");
    let token = token(&d.s, &nobody, Value::Null);
    let path = "/v3/domains/default/config/security_compliance";
    let both = json!({"password_regex": "^.{4,}$", "password_regex_description": "four letters"});
    let all = d.s.get(&token, path).expect(200);
    assert_eq!(all.body, json!({"config": {"security_compliance": both}}));
    let one = d.s.get(&token, &format!("{path}/password_regex_description")).expect(200);
    assert_eq!(one.body, json!({"config": {"password_regex_description": "four letters"}}));
    d.s.get(&token, &format!("{path}/lockout_duration")).expect(403);
    d.s.get(&token, &d.path("/security_compliance")).expect(403);
    d.s.get(&token, "/v3/domains/default/config").expect(403);
    d.s.call("GET", path, &[], None).expect(401);
    for method in ["PATCH", "DELETE"] {
        let body = json!({"config": {"security_compliance": {"password_regex": "x"}}}).to_string();
        d.s.call(method, path, &[("X-Auth-Token", &d.admin)], Some(body.as_bytes())).expect(403);
    }
}

/// Persona by persona, as Keystone 30.0.0's defaults have it.
#[test]
fn administrators_change_it_and_readers_of_the_system_see_it() {
    let d = Domain::new("");
    let project = d.s.project("p");
    d.put(json!({"ldap": {"url": "x"}})).expect(201);
    let people = [
        ("as", "admin", "system", true, true),
        ("rs", "reader", "system", true, false),
        ("ms", "member", "system", true, false),
        ("ad", "admin", "domain", false, false),
        ("rd", "reader", "domain", false, false),
        ("ap", "admin", "project", true, true),
        ("mp", "member", "project", false, false),
    ];
    for (name, role, place, reads, writes) in people {
        let token = match place {
            "system" => persona(&d.s, name, role, "system").1,
            "domain" => on_domain(&d.s, name, role, &d.id),
            _ => on_project(&d.s, name, role, &project),
        };
        let (read, write) = (if reads { 200 } else { 403 }, |ok| if writes { ok } else { 403 });
        for path in
            [d.path(""), d.path("/ldap"), d.path("/ldap/url"), "/v3/domains/config/default".to_owned()]
        {
            d.s.get(&token, &path).expect(read);
        }
        // A refusal does not tell whether there is such a domain.
        d.s.get(&token, "/v3/domains/nope/config").expect(if reads { 404 } else { 403 });
        let body = json!({"config": {"ldap": {"url": "x"}}});
        d.s.patch(&token, &d.path(""), body.clone()).expect(write(200));
        let put =
            d.s.call("PUT", &d.path(""), &[("X-Auth-Token", &token)], Some(body.to_string().as_bytes()));
        put.expect(write(200));
        d.s.patch(&token, "/v3/domains/nope/config", body).expect(write(404));
        d.s.delete(&token, "/v3/domains/nope/config").expect(write(404));
        d.s.delete(&token, &d.path("/ldap/user")).expect(write(404));
        d.s.get(&token, "/v3/domains/default/config/security_compliance").expect(200);
    }
}

#[test]
fn it_goes_with_its_domain() {
    let d = Domain::new("");
    d.put(json!({"ldap": {"url": "x", "password": "p"}})).expect(201);
    let off = json!({"domain": {"enabled": false}});
    d.s.patch(&d.admin, &format!("/v3/domains/{}", d.id), off).expect(200);
    d.s.delete(&d.admin, &format!("/v3/domains/{}", d.id)).expect(204);
    for table in ["whitelisted_config", "sensitive_config"] {
        assert_eq!(count(&d.s, &format!("SELECT 1 FROM {table}"), &[]), 0, "{table}");
    }
}

#[test]
fn another_driver_is_refused_where_it_would_have_an_effect() {
    let on = "[identity]\ndomain_specific_drivers_enabled = true\n";
    let both = format!("{on}domain_configurations_from_database = true\n");
    Domain::new(on).put(json!({"identity": {"driver": "ldap"}})).expect(201);
    let d = Domain::new(&both);
    let refused = d.put(json!({"identity": {"driver": "mine"}})).expect(403);
    assert!(message(&refused).contains("[identity] driver"), "{}", refused.text);
    d.put(json!({"identity": {"driver": "sql"}, "ldap": {"url": "x"}})).expect(201);
    d.patch("/identity/driver", json!({"driver": "mine"})).expect(403);
    d.patch("", json!({"identity": {"driver": null}})).expect(403);
    assert_eq!(d.shown()["identity"], json!({"driver": "sql"}));
    d.patch("/identity/driver", json!({"driver": "ldap"})).expect(200);
}
