//! Trusts of people who come through an identity provider: what they rest on, and what is said before that ends.

use serde_json::{Value, json};
use vicar::clock::{SECOND, iso};
use vicar::reaper::sweep;

use crate::support::{Answer, START, Server, Teller, count, domain, id};

const MINUTE: i64 = 60 * SECOND;
const FRONT: &str =
    "[vicar]\nassertion_headers = OIDC-\ntrusted_proxies = 127.0.0.1\n[trust]\nallow_redelegation = true\n";

/// Ann comes through the provider `idp`, whose groups count for an hour; the group `one` has `member` on the project.
struct Cloud {
    t: Teller,
    ann: String,
    bob: String,
    carol: String,
    group: String,
    p: String,
}

impl Cloud {
    fn new() -> Self {
        Self::with("")
    }

    fn with(ini: &str) -> Self {
        let t = Teller::with("", &format!("{FRONT}{ini}"));
        domain(&t.s, "D");
        let put = |path: &str, body: Value| {
            let path = format!("/v3/OS-FEDERATION/{path}");
            t.s.call("PUT", &path, &[("X-Auth-Token", &t.admin)], Some(body.to_string().as_bytes()))
                .expect(201);
        };
        let provider = json!({"enabled": true, "domain_id": "D", "authorization_ttl": 60});
        put("identity_providers/idp", json!({ "identity_provider": provider }));
        let rules = json!([{
            "local": [{"user": {"name": "{0}"}}, {"groups": "{1}", "domain": {"id": "D"}}],
            "remote": [{"type": "OIDC-sub"}, {"type": "OIDC-groups"}],
        }]);
        put("mappings/m", json!({"mapping": {"rules": rules}}));
        put("identity_providers/idp/protocols/mapped", json!({"protocol": {"mapping_id": "m"}}));
        let (bob, carol, p) = (t.s.user("bob"), t.s.user("carol"), t.s.project("P"));
        let group = t.s.group("one", "D", &[]);
        t.s.assign("GroupProject", &group, &p, "member", false);
        let mut c = Self { t, ann: String::new(), bob, carol, group, p };
        c.ann = c.come("one").body["token"]["user"]["id"].as_str().expect("an id").to_owned();
        c
    }

    fn s(&self) -> &Server {
        &self.t.s
    }

    fn come(&self, groups: &str) -> Answer {
        let path = "/v3/OS-FEDERATION/identity_providers/idp/protocols/mapped/auth";
        self.s().call("GET", path, &[("OIDC-sub", "ann"), ("OIDC-groups", groups)], None).expect(201)
    }

    fn asked(&self, trustor: &str, trustee: &str, roles: &[&str]) -> Value {
        let roles: Vec<Value> = roles.iter().map(|name| json!({"name": name})).collect();
        json!({"trust": {
            "trustor_user_id": trustor, "trustee_user_id": trustee, "project_id": self.p,
            "impersonation": true, "allow_redelegation": true, "roles": roles,
        }})
    }

    /// A trust of Ann's to Bob.
    fn trust(&self, roles: &[&str]) -> String {
        let token = self.come("one").token();
        id(
            &self
                .s()
                .post(&token, "/v3/OS-TRUST/trusts", self.asked(&self.ann, &self.bob, roles))
                .expect(201),
            "trust",
        )
    }

    fn link(&self, token: &str, trust: &str) -> Value {
        let path = format!("/v3/OS-TRUST/trusts/{trust}/lineage");
        self.s().get(token, &path).expect(200).body["lineage"]["trust"].clone()
    }

    /// How many trusts a round of the reaper tells of.
    fn sweeps(&self) -> usize {
        self.s().runtime.block_on(sweep(&self.s().app)).expect("sweeps").lapsing
    }

    /// What was told of trusts since the last time, with when they lapse.
    fn lapses(&mut self) -> Vec<(String, String)> {
        self.t.admin = self.s().admin();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let told = self.t.told().into_iter().filter(|n| n["event_type"] == "identity.OS-TRUST:trust.lapsing");
        told.map(|n| (text(&n["payload"]["resource_info"]), text(&n["payload"]["lapses_at"]))).collect()
    }
}

#[test]
fn a_trust_sleeps_while_its_trustors_membership_is_over_and_lives_with_their_next_login() {
    let c = Cloud::new();
    let trust = c.trust(&["member"]);
    let consumed = || c.s().consume("bob", &trust);
    c.s().clock.advance(40 * MINUTE);
    let token = consumed().expect(201).token();
    c.s().clock.advance(19 * MINUTE);
    c.s().validate(&token).expect(200);
    c.s().clock.advance(MINUTE);
    consumed().expect(401);
    c.s().validate(&token).expect(404);
    let shown = c.link(&c.s().admin(), &trust);
    assert_eq!(
        (&shown["state"], &shown["roles"][0]["basis"]),
        (&json!("suspended"), &Value::Null),
        "{shown}"
    );
    assert_eq!(c.s().runtime.block_on(sweep(&c.s().app)).expect("sweeps").ended, 0);
    c.come("one");
    // As docs/delegation.md has it: time takes nothing away for good.
    c.s().validate(&token).expect(200);
    consumed().expect(201);
    // What the provider says no more is taken away by name.
    c.s().clock.advance(2 * SECOND);
    c.come("two");
    consumed().expect(401);
    c.s().clock.advance(2 * SECOND);
    c.come("one");
    c.s().validate(&token).expect(404);
    consumed().expect(201);
}

#[test]
fn a_lineage_says_what_each_role_rests_on_and_until_when() {
    let c = Cloud::new();
    let (more, above) = (c.s().group("two", "D", &[c.ann.as_str()]), c.s().role("above"));
    let (own, grouped) = (c.s().role("own"), c.s().role("grouped"));
    c.s().grant(&c.ann, &c.p, "own");
    c.s().assign("GroupProject", &more, &c.p, "grouped", false);
    c.s().assign("UserDomain", &c.ann, "default", "above", true);
    let trust = c.trust(&["member", "reader", "own", "grouped", "above"]);
    let login = c.come("one").token();
    let basis = |token: &str, role: &str| {
        let link = c.link(token, &trust);
        let roles = link["roles"].as_array().expect("a list").clone();
        let of = roles.iter().find(|held| held["name"] == role || held["id"] == role);
        of.unwrap_or_else(|| panic!("{role}: {link}"))["basis"].clone()
    };
    let ends = iso(START + 60 * MINUTE);
    let plain =
        json!({"type": "user", "implied_by": null, "is_inherited": false, "membership_expires_at": null});
    let with = |more: Value| {
        let mut all = plain.clone();
        all.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        all
    };
    let nobody = json!({"group_id": null, "identity_provider_id": null, "inherited_from": null});
    let named = |more: Value| {
        with(nobody.clone()).as_object().map(|all| {
            let mut all = all.clone();
            all.extend(more.as_object().expect("an object").clone());
            Value::Object(all)
        })
    };
    let came = json!({"type": "membership", "membership_expires_at": ends});
    let by = json!({"type": "membership", "membership_expires_at": ends, "group_id": c.group, "identity_provider_id": "idp"});
    let member = c.s().role("member");
    // Who holds the roles, and who sees assignments, see all.
    for token in [&login, &c.s().admin()] {
        assert_eq!(Some(basis(token, "member")), named(by.clone()));
        let mut implied = by.clone();
        implied["implied_by"] = json!(member);
        assert_eq!(Some(basis(token, "reader")), named(implied));
        assert_eq!(Some(basis(token, &own)), named(json!({})));
        assert_eq!(Some(basis(token, &grouped)), named(json!({"type": "group", "group_id": more})));
        let from = json!({"is_inherited": true, "inherited_from": {"domain_id": "default"}});
        assert_eq!(Some(basis(token, &above)), named(from));
    }
    // Others see what it is, and until when; so does the trustor's own name in another's hands.
    let acting = c.s().consume("bob", &trust).expect(201).token();
    for token in [&c.s().unscoped("bob"), &acting] {
        assert_eq!(basis(token, "member"), with(came.clone()));
        assert_eq!(basis(token, &above), with(json!({"is_inherited": true})));
    }
    assert_eq!(c.link(&login, &trust)["lapses_at"], ends.as_str());
    // By two providers it is the later one that counts; what does not end by itself comes before both.
    let provider = json!({"identity_provider": {"enabled": true, "domain_id": "D", "authorization_ttl": 90}});
    let path = "/v3/OS-FEDERATION/identity_providers/other";
    c.s()
        .call("PUT", path, &[("X-Auth-Token", &c.t.admin)], Some(provider.to_string().as_bytes()))
        .expect(201);
    c.s().sql_run(
        "INSERT INTO expiring_user_group_membership (user_id, group_id, idp_id, last_verified) VALUES (?, ?, 'other', ?)",
        vicar::args![&c.ann, &c.group, vicar::store::DateTime(START)],
    );
    let later = iso(START + 90 * MINUTE);
    assert_eq!(basis(&login, "member")["membership_expires_at"], later.as_str());
    assert_eq!(c.link(&login, &trust)["lapses_at"], later.as_str());
    c.s().grant(&c.ann, &c.p, "member");
    assert_eq!(Some(basis(&login, "member")), named(json!({})));
    assert_eq!(c.link(&login, &trust).get("lapses_at"), None);
}

#[test]
fn of_what_lapses_soon_it_is_told_once_for_each_login() {
    let mut c = Cloud::new();
    let first = c.trust(&["member"]);
    let token = c.s().consume("bob", &first).expect(201).token();
    let asked = c.asked(&c.ann, &c.carol, &["member"]);
    let second = id(&c.s().post(&token, "/v3/OS-TRUST/trusts", asked).expect(201), "trust");
    // Not of what does not rest on it.
    c.s().grant(&c.bob, &c.p, "member");
    let bobs = c.asked(&c.bob, &c.carol, &["member"]);
    c.s().post(&c.s().on("bob", &c.p), "/v3/OS-TRUST/trusts", bobs).expect(201);
    // An hour is shorter than the notice, so that it is told at half time.
    c.s().clock.advance(30 * MINUTE - SECOND);
    assert_eq!((c.sweeps(), c.lapses()), (0, vec![]));
    c.s().clock.advance(SECOND);
    // One of two servers tells it, of the trust and of what is below.
    let (s, other) = (c.s(), c.s().replica());
    let both = s.runtime.block_on(async { tokio::join!(sweep(&s.app), sweep(&other.app)) });
    assert_eq!(both.0.expect("sweeps").lapsing + both.1.expect("sweeps").lapsing, 2);
    let ends = iso(START + 60 * MINUTE);
    let mut told = c.lapses();
    told.sort();
    let mut wanted = vec![(first.clone(), ends.clone()), (second.clone(), ends)];
    wanted.sort();
    assert_eq!(told, wanted);
    c.s().clock.advance(5 * MINUTE);
    assert_eq!((c.sweeps(), c.lapses()), (0, vec![]));
    // A login renews it, and its half time comes anew.
    c.come("one");
    c.s().clock.advance(29 * MINUTE);
    assert_eq!((c.sweeps(), c.lapses()), (0, vec![]));
    c.s().clock.advance(MINUTE);
    assert_eq!(c.sweeps(), 2);
    assert_eq!(c.lapses().first().map(|(_, at)| at.clone()), Some(iso(START + 95 * MINUTE)));
    // What is over is told no more.
    c.s().clock.advance(31 * MINUTE);
    assert_eq!((c.sweeps(), c.lapses()), (0, vec![]));
    // What goes takes along what was noted of it.
    assert_eq!(count(c.s(), "SELECT trust_id FROM vicar_lapse", &[]), 1);
    c.come("one");
    c.s().delete(&c.s().admin(), &format!("/v3/OS-TRUST/trusts/{first}")).expect(204);
    c.s().clock.advance(31 * 24 * 60 * MINUTE);
    c.sweeps();
    assert_eq!(count(c.s(), "SELECT trust_id FROM vicar_lapse", &[]), 0);
}

#[test]
fn the_operator_says_how_long_before_it_is_told() {
    for (notice, told) in [("600", [0, 1]), ("0", [0, 0])] {
        let mut c = Cloud::with(&format!("[delegation]\nlapse_notice = {notice}\n"));
        let trust = c.trust(&["member"]);
        let paused = c.trust(&["reader"]);
        // What ends by itself before that does not lapse.
        let mut brief = c.asked(&c.ann, &c.bob, &["member"]);
        brief["trust"]["expires_at"] = json!(iso(START + 60 * MINUTE - SECOND));
        c.s().post(&c.come("one").token(), "/v3/OS-TRUST/trusts", brief).expect(201);
        let suspend = format!("/v3/OS-TRUST/trusts/{paused}/suspend");
        c.s().post(&c.s().admin(), &suspend, json!({"suspension": {"reason": "x"}})).expect(200);
        c.s().clock.advance(50 * MINUTE - SECOND);
        let before = c.sweeps();
        c.s().clock.advance(SECOND);
        assert_eq!([before, c.sweeps()], told, "{notice}");
        let all: Vec<String> = c.lapses().into_iter().map(|(trust, _)| trust).collect();
        assert_eq!(all, vec![trust; told[1]]);
        // What gives something again is told of late.
        let resume = format!("/v3/OS-TRUST/trusts/{paused}/resume");
        c.s().call("POST", &resume, &[("X-Auth-Token", &c.t.admin)], None).expect(200);
        assert_eq!(c.sweeps(), told[1], "{notice}");
    }
}

#[test]
fn a_lapse_is_told_with_whom_it_rests_on_and_nobody_did_it() {
    for format in ["cadf", "basic"] {
        let mut c = Cloud::with(&format!("[DEFAULT]\nnotification_format = {format}\n"));
        let trust = c.trust(&["member"]);
        c.t.told();
        c.s().clock.advance(30 * MINUTE);
        assert_eq!(c.sweeps(), 1);
        c.t.admin = c.s().admin();
        let told = c.t.told();
        let [event] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!(event["event_type"], "identity.OS-TRUST:trust.lapsing");
        let payload = &event["payload"];
        let own = json!({"resource_info": trust, "user_id": c.ann, "project_id": c.p, "lapses_at": iso(START + 60 * MINUTE)});
        for (name, value) in own.as_object().expect("an object") {
            assert_eq!(payload[name], *value, "{format}: {event}");
        }
        if format == "basic" {
            assert_eq!(*payload, own);
        } else {
            assert_eq!(payload["target"], json!({"typeURI": "data/security/trust", "id": trust}));
            assert_eq!(
                (&payload["action"], payload.get("initiator")),
                (&json!("lapsing.OS-TRUST:trust"), None)
            );
        }
    }
}

/// As a Keystone 30.0.0 tells them: tests/world/notifications.py compares both.
#[test]
fn a_login_through_a_provider_is_told_with_its_groups() {
    let mut t = Cloud::with("[DEFAULT]\nnotification_opt_out = none\n");
    t.t.told();
    let login = t.come("one");
    let audit = login.body["token"]["audit_ids"][0].as_str().expect("an id").to_owned();
    let exchange = json!({"identity": {"methods": ["token"], "token": {"id": login.token()}}, "scope": {"project": {"id": t.p}}});
    t.s().auth(exchange.clone()).expect(201);
    let path = "/v3/OS-FEDERATION/identity_providers/idp/protocols/mapped/auth";
    t.s().call("GET", path, &[("OIDC-sub", "ann")], None).expect(401);
    t.s().call("GET", &path.replace("/idp/", "/none/"), &[("OIDC-sub", "ann")], None).expect(404);
    // A group that the token names is gone.
    t.s().delete(&t.t.admin, &format!("/v3/groups/{}", t.group)).expect(204);
    t.s().auth(exchange).expect(401);
    let mut told = t.t.told();
    assert!(told.iter().any(|n| n["event_type"] == "identity.group.deleted"), "{told:?}");
    told.retain(|n| n["event_type"] != "identity.group.deleted");
    let seen: Vec<(&Value, &Value)> =
        told.iter().map(|n| (&n["payload"]["outcome"], &n["payload"]["initiator"]["credential"])).collect();
    let credential = |token: &str, user: &str, groups: &[&str]| {
        json!({
            "type": "http://docs.oasis-open.org/security/saml/v2.0", "token": token, "identity_provider": "idp",
            "user": user, "groups": groups,
        })
    };
    let masked = format!("{} xxxxxxxx {}", &audit[..3], &audit[audit.len() - 3..]);
    let (ann, group) = (t.ann.as_str(), [t.group.as_str()]);
    assert_eq!(
        seen,
        [
            (&json!("success"), &credential("u xxxxxxxx n", ann, &group)),
            (&json!("success"), &credential(&masked, ann, &group)),
            (&json!("failure"), &credential("u xxxxxxxx n", "unknown", &[])),
            (&json!("failure"), &credential(&masked, ann, &group)),
        ]
    );
    for event in &told {
        assert_eq!(event["event_type"], "identity.authenticate");
        let by = &event["payload"]["initiator"];
        assert!(by.get("user_id").is_none() && by["request_id"].is_string(), "{event}");
    }
}

/// Whoever is called alike elsewhere has nothing of theirs.
#[test]
fn a_subject_of_another_provider_is_somebody_else() {
    let c = Cloud::new();
    let trust = c.trust(&["member"]);
    let put = |path: &str, body: Value| {
        let path = format!("/v3/OS-FEDERATION/identity_providers/{path}");
        c.s()
            .call("PUT", &path, &[("X-Auth-Token", &c.t.admin)], Some(body.to_string().as_bytes()))
            .expect(201);
    };
    domain(c.s(), "E");
    for (provider, its) in [("same", "D"), ("other", "E")] {
        put(provider, json!({"identity_provider": {"enabled": true, "domain_id": its}}));
        put(&format!("{provider}/protocols/mapped"), json!({"protocol": {"mapping_id": "m"}}));
    }
    let come = |provider: &str| {
        let path = format!("/v3/OS-FEDERATION/identity_providers/{provider}/protocols/mapped/auth");
        c.s().call("GET", &path, &[("OIDC-sub", "ann"), ("OIDC-groups", "none")], None)
    };
    // In one domain they would have one id.
    come("same").expect(409);
    let other = come("other").expect(201);
    assert_ne!(other.body["token"]["user"]["id"], c.ann.as_str());
    c.s().get(&other.token(), &format!("/v3/OS-TRUST/trusts/{trust}")).expect(403);
    let projects = c.s().get(&other.token(), "/v3/auth/projects").expect(200);
    assert_eq!(projects.body["projects"], json!([]));
}

#[test]
fn a_group_that_vanishes_here_takes_along_what_rests_on_it() {
    let c = Cloud::new();
    let trust = c.trust(&["member"]);
    let login = c.come("one").token();
    let token = c.s().consume("bob", &trust).expect(201).token();
    c.s().clock.advance(2 * SECOND);
    c.s().delete(&c.s().admin(), &format!("/v3/groups/{}", c.group)).expect(204);
    c.s().validate(&token).expect(404);
    let exchange = json!({"identity": {"methods": ["token"], "token": {"id": login}}, "scope": {"project": {"id": c.p}}});
    c.s().auth(exchange).expect(401);
    c.s().consume("bob", &trust).expect(401);
    // The provider goes on to say it. Another one of the name gives what it holds itself.
    let anew = c.s().group("one", "D", &[]);
    c.come("one");
    c.s().consume("bob", &trust).expect(401);
    c.s().assign("GroupProject", &anew, &c.p, "member", false);
    c.s().clock.advance(2 * SECOND);
    c.s().consume("bob", &trust).expect(201);
    c.s().validate(&token).expect(404);
}
