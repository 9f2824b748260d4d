//! What is told of what is done. tests/world/notifications.py compares it with a Keystone, on a real broker.

use serde_json::{Value, json};
use vicar::store::Value as Stored;

use crate::hardening::until;
use crate::support::{Server, Teller, by_password, id};

fn types(told: &[(&str, &str)]) -> Vec<(String, String)> {
    told.iter().map(|(event, id)| (format!("identity.{event}"), (*id).to_owned())).collect()
}

#[test]
fn what_is_done_is_told_with_who_did_it() {
    let mut t = Teller::with("", "");
    let service = t.s.sql_text("SELECT id FROM service WHERE type = 'identity'", &[]).expect("one");
    let global = "req-01234567-89ab-cdef-0123-456789abcdef";
    let headers =
        [("X-Auth-Token", t.admin.as_str()), ("X-OpenStack-Request-ID", global), ("User-Agent", "someone/1")];
    let body = json!({"project": {"name": "p", "domain_id": "default"}}).to_string();
    let made = t.s.call("POST", "/v3/projects", &headers, Some(body.as_bytes())).expect(201);
    let told = t.told();
    assert_eq!(told.len(), 1, "{told:?}");
    let (event, project) = (&told[0], id(&made, "project"));
    assert_eq!(event["event_type"], "identity.project.created");
    assert_eq!(event["timestamp"], "2027-01-15 08:00:00.000000");
    let payload = &event["payload"];
    assert_eq!(payload["eventTime"], "2027-01-15T08:00:00.000000+0000");
    assert_eq!(payload["target"], json!({"typeURI": "data/security/project", "id": project}));
    assert_eq!(payload["resource_info"], project);
    assert_eq!((&payload["action"], &payload["outcome"]), (&"created.project".into(), &"success".into()));
    assert_eq!(payload["observer"]["id"], service);
    let me = t.s.sql_text("SELECT user_id FROM local_user WHERE name = 'admin'", &[]).expect("one");
    let own = t.s.sql_text("SELECT id FROM project WHERE name = 'admin'", &[]).expect("one");
    assert_eq!(
        payload["initiator"],
        json!({
            "typeURI": "service/security/account/user", "id": me, "user_id": me, "name": "admin", "username": "admin",
            "project_id": own, "host": {"agent": "someone/1", "address": "127.0.0.1"},
            "request_id": made.header("x-openstack-request-id"), "global_request_id": global,
        })
    );
}

#[test]
fn what_a_trusts_token_does_is_told_with_who_acts() {
    let mut t = Teller::with("", "");
    let (s, admin) = (&t.s, t.admin.clone());
    let (alice, bob, p) = (s.user("alice"), s.user("bob"), s.project("P"));
    s.grant(&alice, &p, "member");
    let ask = json!({"trust": {"trustor_user_id": alice, "trustee_user_id": bob, "project_id": p,
        "impersonation": true, "roles": [{"name": "member"}], "source_identity": "a job"}});
    let trust = id(&s.post(&s.on("alice", &p), "/v3/OS-TRUST/trusts", ask).expect(201), "trust");
    let token = s.consume("bob", &trust).expect(201).token();
    s.delete(&token, &format!("/v3/OS-TRUST/trusts/{trust}")).expect(204);
    s.delete(&admin, &format!("/v3/users/{bob}")).expect(204);
    let told = t.told();
    let of = |event: &str| {
        told.iter().rfind(|e| e["event_type"] == event).unwrap_or_else(|| panic!("{event}: {told:?}"))
    };
    let ended = &of("identity.OS-TRUST:trust.deleted")["payload"];
    assert_eq!(ended["initiator"]["user_id"], alice.as_str(), "as a Keystone tells it");
    let attached = &ended["attachments"][0];
    assert_eq!(attached["name"], "delegation");
    let content = &attached["content"];
    assert_eq!((&content["act"], &content["source_identity"]), (&json!({"sub": bob}), &json!("a job")));
    assert_eq!(content["delegation_chain"][0]["trust_id"], trust.as_str());
    assert!(of("identity.user.deleted")["payload"].get("attachments").is_none());
}

#[test]
fn what_is_refused_or_only_asked_is_not_told() {
    let mut t = Teller::with("", "");
    let (s, admin) = (&t.s, t.admin.as_str());
    let (alice, bob, p) = (s.user("alice"), s.user("bob"), s.project("P"));
    s.grant(&alice, &p, "member");
    let token = s.on("alice", &p);
    s.post(&token, "/v3/users", json!({"user": {"name": "x", "domain_id": "default"}})).expect(403);
    s.post(admin, "/v3/users", json!({"user": {"name": "alice", "domain_id": "default"}})).expect(409);
    s.patch(admin, &format!("/v3/users/{alice}"), json!({"user": {"enabled": "x"}})).expect(400);
    s.delete(admin, "/v3/projects/none").expect(404);
    s.get(admin, &format!("/v3/users/{alice}")).expect(200);
    let ask = json!({"trust": {"trustor_user_id": alice, "trustee_user_id": bob, "project_id": p,
        "impersonation": true, "roles": [{"name": "member"}]}});
    let trust = id(&s.post(&token, "/v3/OS-TRUST/trusts", ask).expect(201), "trust");
    s.delete(&token, &format!("/v3/OS-TRUST/trusts/{trust}?dry_run=true")).expect(200);
    assert_eq!(t.types(), types(&[("OS-TRUST:trust.created", &trust)]));
    t.s.delete(&token, &format!("/v3/OS-TRUST/trusts/{trust}")).expect(204);
    assert_eq!(t.types(), types(&[("OS-TRUST:trust.deleted", &trust)]));
}

#[test]
fn a_domain_takes_what_it_contains_along() {
    let mut t = Teller::with("notification_format = basic", "");
    let (s, admin) = (&t.s, t.admin.as_str());
    let make = |kind: &str, body: Value| {
        id(&s.post(admin, &format!("/v3/{kind}s"), json!({kind: body})).expect(201), kind)
    };
    let domain = make("domain", json!({"name": "d"}));
    let project = make("project", json!({"name": "p", "domain_id": domain}));
    let below = make("project", json!({"name": "q", "domain_id": domain, "parent_id": project}));
    let user = make("user", json!({"name": "u", "domain_id": domain}));
    let group = make("group", json!({"name": "g", "domain_id": domain}));
    let role = make("role", json!({"name": "r", "domain_id": domain}));
    // As a Keystone stores them. Those on a project of the domain would go with it, and are not told of.
    let elsewhere = s.project("elsewhere");
    s.sql_run(
        "INSERT INTO application_credential (id, name, secret_hash, user_id, project_id)
         VALUES ('credential', 'c', 'x', ?, ?)",
        &[Stored::from(user.as_str()), Stored::from(elsewhere.as_str())],
    );
    s.sql_run(
        "INSERT INTO access_rule (external_id, user_id, service, path, method) VALUES ('rule', ?, 's', '/p', 'GET')",
        &[Stored::from(user.as_str())],
    );
    s.patch(admin, &format!("/v3/domains/{domain}"), json!({"domain": {"enabled": false}})).expect(200);
    t.told();
    let gone = t.s.delete(&t.admin, &format!("/v3/domains/{domain}")).expect(204);
    let told = t.told();
    let heard: Vec<(String, String)> = told
        .iter()
        .map(|n| {
            (
                n["event_type"].as_str().unwrap_or_default().into(),
                n["payload"]["resource_info"].as_str().unwrap_or_default().into(),
            )
        })
        .collect();
    let wanted = types(&[
        ("project.deleted", &below),
        ("project.deleted", &project),
        ("application_credential.deleted", "credential"),
        ("access_rule.deleted", "rule"),
        ("user.deleted", &user),
        ("group.deleted", &group),
        ("role.deleted", &role),
        ("project.deleted", &domain),
        ("domain.deleted", &domain),
    ]);
    assert_eq!(heard, wanted);
    // Only the domain itself is the caller's doing.
    for (n, event) in told.iter().enumerate() {
        let request = event["payload"].get("request_id").and_then(Value::as_str);
        assert_eq!(request, gone.header("x-openstack-request-id").filter(|_| n >= 7), "{event}");
    }
}

#[test]
fn logins_that_fail_are_told_and_those_that_succeed_if_wanted() {
    let strict = "[security_compliance]\nlockout_failure_attempts = 2\npassword_expires_days = 1\n\
                  password_regex = ^.{8,}$\npassword_regex_description = longer\n\
                  report_invalid_password_hash = event\ninvalid_password_hash_secret_key = a-key-for-hashes\n";
    let fail = |t: &mut Teller, auth: Value| {
        t.s.auth(auth).expect(401);
        let told = t.told();
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0]["event_type"], "identity.authenticate");
        assert_eq!(told[0]["payload"]["outcome"], "failure");
        told[0]["payload"].clone()
    };
    let mut t = Teller::with("", strict);
    let alice = t.s.user("alice");
    t.s.login("alice", "alice-pw", Value::Null).expect(201);
    assert_eq!(t.types(), types(&[]), "as shipped, what succeeds is not told");
    let named = |name: &str, password: &str| {
        json!({"identity": {"methods": ["password"], "password": {"user": {
            "name": name, "domain": {"name": "Default"}, "password": password}}}})
    };
    let nobody = fail(&mut t, named("hunter22-secret", "pw"));
    assert_eq!(nobody["reason"], json!({"reasonType": "Could not find user.", "reasonCode": "404"}));
    assert_eq!(
        (&nobody["initiator"]["domain_id"], &nobody["initiator"]["domain_name"]),
        (&"default".into(), &"Default".into())
    );
    assert!(!nobody.to_string().contains("hunter22"), "{nobody}");
    let nobody = fail(&mut t, by_password("hunter22-secret", "pw", Value::Null));
    assert!(!nobody.to_string().contains("hunter22"), "{nobody}");
    for _ in 0..2 {
        let wrong = fail(&mut t, by_password(&alice, "hunter22", Value::Null));
        assert_eq!(
            (&wrong["initiator"]["user_id"], &wrong["initiator"]["username"]),
            (&json!(alice), &"alice".into())
        );
        assert_eq!(wrong["attachments"][0]["name"], "partial_password_hash");
        assert!(wrong.get("reason").is_none() && !wrong.to_string().contains("hunter22"), "{wrong}");
    }
    let locked = fail(&mut t, named("alice", "alice-pw"));
    let why = format!("The account is locked for user: {alice}.");
    assert_eq!(locked["reason"], json!({"reasonType": why, "reasonCode": "401"}));

    let mut t = Teller::with("notification_opt_out = identity.user.created", strict);
    t.told();
    let bob = t.s.user("bob");
    t.s.login("bob", "bob-pw", Value::Null).expect(201);
    let told = t.told();
    assert_eq!(told[0]["payload"]["outcome"], "success");
    assert_eq!(told[0]["payload"]["initiator"]["username"], "bob");
    // The password was right; it is the scope that was not.
    t.s.login("bob", "bob-pw", json!({"project": {"id": "none"}})).expect(401);
    assert_eq!(t.told()[0]["payload"]["outcome"], "success");
    let change = |t: &Teller, new: &str, status: u16| {
        let body = json!({"user": {"original_password": "bob-pw", "password": new}}).to_string();
        t.s.call("POST", &format!("/v3/users/{bob}/password"), &[], Some(body.as_bytes())).expect(status);
    };
    change(&t, "short", 400);
    let told = t.told();
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(
        (&told[1]["event_type"], &told[1]["payload"]["outcome"]),
        (&"identity.user.updated".into(), &"failure".into())
    );
    assert_eq!(told[1]["payload"]["reason"]["reasonCode"], "400");
    change(&t, "long-enough", 204);
    assert_eq!(t.types(), types(&[("authenticate", ""), ("user.updated", &bob)]));
    t.s.post(&t.admin, "/v3/users", json!({"user": {"name": "opted", "domain_id": "default"}})).expect(201);
    assert_eq!(t.types(), types(&[]), "it is opted out");
}

#[test]
fn grants_are_told_with_their_parts_also_when_they_fail() {
    let mut t = Teller::with("notification_format = basic", "");
    let (alice, p) = (t.s.user("alice"), t.s.project("P"));
    let role = t.s.sql_text("SELECT id FROM role WHERE name = 'member'", &[]).expect("one");
    let direct = format!("/v3/projects/{p}/users/{alice}/roles/{role}");
    let inherited =
        format!("/v3/OS-INHERIT/domains/default/users/{alice}/roles/{role}/inherited_to_projects");
    t.s.put(&t.admin, &direct).expect(204);
    t.s.put(&t.admin, &inherited).expect(204);
    t.s.delete(&t.admin, &direct).expect(204);
    t.s.delete(&t.admin, &direct).expect(404);
    t.s.delete(&t.admin, &format!("{direct}x")).expect(404);
    let told = t.told();
    let seen: Vec<Value> = told
        .iter()
        .map(|n| {
            let p = &n["payload"];
            json!([
                n["event_type"],
                p["outcome"],
                p["user"],
                p["project"],
                p["domain"],
                p["role"],
                p["inherited_to_projects"]
            ])
        })
        .collect();
    let event = |what: &str| format!("identity.role_assignment.{what}");
    assert_eq!(
        seen,
        [
            json!([event("created"), "success", alice, p, null, role, false]),
            json!([event("created"), "success", alice, null, "default", role, true]),
            json!([event("deleted"), "success", alice, p, null, role, false]),
            json!([event("deleted"), "failure", alice, p, null, role, false]),
        ]
    );
}

#[test]
fn a_group_tells_who_came_and_left() {
    let mut t = Teller::with("notification_format = basic", "");
    let (alice, group) = (t.s.user("alice"), t.s.group("g", "default", &[]));
    let path = format!("/v3/groups/{group}/users/{alice}");
    t.s.put(&t.admin, &path).expect(204);
    t.s.delete(&t.admin, &path).expect(204);
    let told = t.told();
    for (event, what) in told.iter().zip(["added", "removed"]) {
        let mut payload = event["payload"].clone();
        payload.as_object_mut().expect("an object").remove("request_id");
        let wanted =
            json!({"resource_info": group, "actor_id": alice, "actor_type": "user", "actor_operation": what});
        assert_eq!((&event["event_type"], payload), (&"identity.group.updated".into(), wanted));
    }
    assert_eq!(told.len(), 2);
}

#[test]
fn tags_regions_and_keypairs_are_told_as_a_keystone_does() {
    let mut t = Teller::with("", "");
    let p = t.s.project("P");
    t.s.put(&t.admin, &format!("/v3/projects/{p}/tags/blue")).expect(201);
    t.s.delete(&t.admin, &format!("/v3/projects/{p}/tags/blue")).expect(204);
    assert_eq!(
        t.types(),
        types(&[
            ("project.updated", &p),
            ("project tag.created", "blue"),
            ("project.updated", &p),
            ("project tag.deleted", "blue")
        ])
    );
    let service = t.s.sql_text("SELECT id FROM service WHERE type = 'identity'", &[]).expect("one");
    let endpoint = json!({"endpoint": {"service_id": service, "interface": "public", "url": "http://x", "region": "new"}});
    let endpoint = id(&t.s.post(&t.admin, "/v3/endpoints", endpoint).expect(201), "endpoint");
    assert_eq!(t.types(), types(&[("region.created", "new"), ("endpoint.created", &endpoint)]));
    let me = t.s.sql_text("SELECT user_id FROM local_user WHERE name = 'admin'", &[]).expect("one");
    let path = format!("/v3/users/{me}/credentials/OS-EC2");
    let own = t.s.sql_text("SELECT id FROM project WHERE name = 'admin'", &[]).expect("one");
    let made = t.s.post(&t.admin, &path, json!({"tenant_id": own})).expect(201);
    let access = made.body["credential"]["access"].as_str().expect("an access id");
    let stored = t.s.sql_text("SELECT id FROM credential", &[]).expect("one");
    t.s.delete(&t.admin, &format!("{path}/{access}")).expect(204);
    let told = t.told();
    let secret = made.body["credential"]["secret"].as_str().expect("a secret");
    assert!(told.iter().all(|n| !n.to_string().contains(secret)), "{told:?}");
    let heard: Vec<&Value> = told.iter().map(|n| &n["payload"]["resource_info"]).collect();
    assert_eq!(heard, [&json!(stored), &json!(stored)]);
}

/// With a broker that is not there, and room for one event.
#[test]
fn a_broker_that_is_away_costs_no_request() {
    let s = Server::with(
        "[oslo_messaging_notifications]\ndriver = messagingv2\ntransport_url = rabbit://u:topsecret@127.0.0.1:1/\nretry = 0\n\
         [vicar]\nmax_waiting_notifications = 1\n",
    );
    let admin = s.admin();
    for _ in 0..20 {
        s.post(&admin, "/v3/regions", json!({"region": {}})).expect(201);
    }
    let counts = &s.app.metrics.notifications;
    until("all are dropped", || counts.dropped.get() == 20);
    assert_eq!((counts.waiting.get(), counts.sent.get(), counts.connected.get()), (0, 0, 0));
}
