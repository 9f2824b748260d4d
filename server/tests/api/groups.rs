//! Groups: making, showing, changing, deleting them, and who is in them.

use serde_json::json;

use crate::support::{Server, domain, id, ids, persona, user_by_api as user};

const SECOND: i64 = 1_000_000;

#[test]
fn a_group_lives_from_creation_to_deletion() {
    let s = Server::start();
    let t = s.admin();
    let made =
        s.post(&t, "/v3/groups", json!({"group": {"name": " crew ", "id": "mine", "bag": null}})).expect(201);
    let crew = id(&made, "group");
    let golden = json!({"group": {
        "bag": null,
        "id": crew,
        "name": "crew",
        "domain_id": "default",
        "description": "",
        "links": {"self": format!("{}/v3/groups/{crew}", s.url)},
    }});
    assert_eq!(made.body, golden);
    let path = format!("/v3/groups/{crew}");
    assert_eq!(s.get(&t, &path).expect(200).body, golden);
    s.head(&t, &path).expect(200);
    let changed = s
        .patch(
            &t,
            &path,
            json!({"group": {"name": "team", "description": "d", "bag": [1], "domain_id": "default"}}),
        )
        .expect(200);
    assert_eq!(changed.body["group"]["name"], "team");
    assert_eq!(changed.body["group"]["description"], "d");
    assert_eq!(changed.body["group"]["bag"], json!([1]));
    let cleared = s.patch(&t, &path, json!({"group": {"description": null}})).expect(200);
    assert_eq!(cleared.body["group"]["description"], json!(null));
    assert_eq!(s.get(&t, &path).expect(200).body, cleared.body);

    let again = s.post(&t, "/v3/groups", json!({"group": {"name": "team"}})).expect(409);
    assert_eq!(
        again.body["error"]["message"],
        "Conflict occurred attempting to store group - Duplicate entry found with name team at domain ID default."
    );
    let other = id(&s.post(&t, "/v3/groups", json!({"group": {"name": "other"}})).expect(201), "group");
    s.patch(&t, &format!("/v3/groups/{other}"), json!({"group": {"name": "team"}})).expect(409);
    s.delete(&t, &path).expect(204);
    s.delete(&t, &path).expect(404);
    s.get(&t, &path).expect(404);
    s.patch(&t, &path, json!({"group": {"name": "x"}})).expect(404);
}

#[test]
fn a_wrong_body_is_refused() {
    let s = Server::start();
    let t = s.admin();
    let crew = id(&s.post(&t, "/v3/groups", json!({"group": {"name": "crew"}})).expect(201), "group");
    for wrong in [
        json!({}),
        json!({"name": " "}),
        json!({"name": null}),
        json!({"name": "x".repeat(65)}),
        json!({"name": "a\u{0}"}),
        json!({"name": "g", "description": 5}),
        json!({"name": "g", "domain_id": null}),
        json!({"name": "g", "domain_id": "a b"}),
    ] {
        s.post(&t, "/v3/groups", json!({"group": wrong})).expect(400);
    }
    s.post(&t, "/v3/groups", json!({"group": {"name": "g", "domain_id": "nowhere"}})).expect(404);
    for wrong in [json!({}), json!({"id": "x"}), json!({"domain_id": "x"}), json!({"name": "x".repeat(65)})] {
        s.patch(&t, &format!("/v3/groups/{crew}"), json!({"group": wrong})).expect(400);
    }
    s.call("POST", "/v3/groups", &[], Some(b"{")).expect(401);
}

#[test]
fn users_come_and_go() {
    let s = Server::start();
    let t = s.admin();
    let ann = user(&s, &t, "ann", "default", "pw");
    let bob = user(&s, &t, "bob", "default", "pw");
    let crew = id(&s.post(&t, "/v3/groups", json!({"group": {"name": "crew"}})).expect(201), "group");
    let member = |u: &str| format!("/v3/groups/{crew}/users/{u}");
    s.get(&t, &member(&ann)).expect(404);
    s.put(&t, &member(&ann)).expect(204);
    s.put(&t, &member(&ann)).expect(204);
    s.put(&t, &member(&bob)).expect(204);
    s.get(&t, &member(&ann)).expect(204);
    s.head(&t, &member(&ann)).expect(204);
    let users = s.get(&t, &format!("/v3/groups/{crew}/users?name=ann")).expect(200);
    assert_eq!(ids(&users, "users"), std::slice::from_ref(&ann));
    assert_eq!(users.body["users"][0], s.get(&t, &format!("/v3/users/{ann}")).body["user"]);
    assert_eq!(ids(&s.get(&t, &format!("/v3/groups/{crew}/users")).expect(200), "users").len(), 2);
    let groups = s.get(&t, &format!("/v3/users/{ann}/groups")).expect(200);
    let mut golden = s.get(&t, &format!("/v3/groups/{crew}")).body["group"].clone();
    golden["membership_expires_at"] = json!(null);
    assert_eq!(groups.body["groups"], json!([golden]));
    assert!(ids(&s.get(&t, &format!("/v3/users/{ann}/groups?name=x")).expect(200), "groups").is_empty());
    s.delete(&t, &member(&ann)).expect(204);
    let gone = s.delete(&t, &member(&ann)).expect(404);
    assert_eq!(gone.body["error"]["message"], format!("User '{ann}' not found in group '{crew}'"));
    s.get(&t, &member(&ann)).expect(404);
    for path in [member("missing"), format!("/v3/groups/missing/users/{ann}")] {
        s.put(&t, &path).expect(404);
        s.get(&t, &path).expect(404);
        s.delete(&t, &path).expect(404);
        s.post(&t, &path, json!({})).expect(405);
    }
    s.get(&t, "/v3/groups/missing/users").expect(404);
    s.get(&t, "/v3/users/missing/groups").expect(404);
}

#[test]
fn what_a_group_gave_ends_with_the_membership() {
    let s = Server::start();
    let t = s.admin();
    let project = s.validate(&t).body["token"]["project"]["id"].as_str().expect("an id").to_owned();
    let ann = user(&s, &t, "ann", "default", "pw");
    let bob = user(&s, &t, "bob", "default", "pw");
    let crew = id(&s.post(&t, "/v3/groups", json!({"group": {"name": "crew"}})).expect(201), "group");
    s.assign("GroupProject", &crew, &project, "member", false);
    let member = format!("/v3/groups/{crew}/users/{ann}");
    s.put(&t, &member).expect(204);
    let scope = json!({"project": {"id": project}});
    let token = s.login("ann", "pw", scope.clone()).expect(201).token();
    let trust = json!({"trust": {"trustor_user_id": ann, "trustee_user_id": bob, "impersonation": false,
        "project_id": project, "roles": [{"name": "member"}]}});
    let trust = id(&s.post(&token, "/v3/OS-TRUST/trusts", trust).expect(201), "trust");
    let consume = || s.login("bob", "pw", json!({"OS-TRUST:trust": {"id": trust}}));
    let chained = consume().expect(201).token();
    s.delete(&t, &member).expect(204);
    s.validate(&token).expect(404);
    s.validate(&chained).expect(404);
    s.clock.advance(SECOND);
    consume().expect(401);
    // Back in the group the trust works again; no token from before does.
    s.put(&t, &member).expect(204);
    s.validate(&token).expect(404);
    s.validate(&chained).expect(404);
    let token = s.login("ann", "pw", scope.clone()).expect(201).token();
    let chained = consume().expect(201).token();
    s.delete(&t, &format!("/v3/groups/{crew}")).expect(204);
    s.validate(&token).expect(404);
    s.validate(&chained).expect(404);
    s.clock.advance(SECOND);
    s.login("ann", "pw", scope).expect(401);
    // A group that gave nothing takes nothing with it.
    let idle = id(&s.post(&t, "/v3/groups", json!({"group": {"name": "idle"}})).expect(201), "group");
    s.put(&t, &format!("/v3/groups/{idle}/users/{ann}")).expect(204);
    let token = s.login("ann", "pw", json!(null)).expect(201).token();
    s.delete(&t, &format!("/v3/groups/{idle}")).expect(204);
    s.validate(&token).expect(200);
}

#[test]
fn who_may_do_what_with_groups() {
    let s = Server::start();
    let t = s.admin();
    domain(&s, "d1");
    domain(&s, "d2");
    let group = |d: &str| {
        let body = json!({"group": {"name": "crew", "domain_id": d}});
        id(&s.post(&t, "/v3/groups", body).expect(201), "group")
    };
    let (near, far) = (group("d1"), group("d2"));
    let (ann, zoe) = (user(&s, &t, "ann", "d1", "pw"), user(&s, &t, "zoe", "d2", "pw"));
    for g in [&near, &far] {
        for u in [&ann, &zoe] {
            s.put(&t, &format!("/v3/groups/{g}/users/{u}")).expect(204);
        }
    }
    // create in d1, in d2, without a domain; get near, far, missing; update near, far, missing; add ann
    // to near, zoe to near, ann to far, nobody to near; check ann in near, ann in far, nobody in near;
    // groups of ann, of zoe, of nobody; users of near, of far, of nothing.
    #[rustfmt::skip]
    let table: [(&str, &str, [u16; 22]); 6] = [
        ("admin",   "system",    [201, 201, 201, 200, 200, 404, 200, 200, 404, 204, 204, 204, 404, 204, 204, 404, 200, 200, 404, 200, 200, 404]),
        ("reader",  "system",    [403, 403, 403, 200, 200, 404, 403, 403, 403, 403, 403, 403, 403, 204, 204, 404, 200, 200, 404, 200, 200, 404]),
        ("admin",   "domain:d1", [201, 201, 201, 200, 200, 404, 200, 200, 404, 204, 204, 204, 404, 204, 204, 404, 200, 200, 404, 200, 200, 404]),
        ("manager", "domain:d1", [201, 403, 403, 200, 403, 403, 200, 403, 403, 204, 403, 403, 403, 204, 403, 403, 200, 403, 403, 200, 403, 403]),
        ("member",  "domain:d1", [403, 403, 403, 200, 403, 403, 403, 403, 403, 403, 403, 403, 403, 204, 403, 403, 200, 403, 403, 200, 403, 403]),
        ("service", "system",    [403, 403, 403, 403, 403, 403, 403, 403, 403, 403, 403, 403, 403, 403, 403, 403, 403, 403, 403, 403, 403, 403]),
    ];
    for (role, place, expected) in table {
        let who = format!("{role}-{}", place.replace(':', "-"));
        let (_, token) = persona(&s, &who, role, place);
        let create = |domain: Option<&str>| {
            let mut body = json!({"group": {"name": format!("{who}-{domain:?}")}});
            if let Some(d) = domain {
                body["group"]["domain_id"] = json!(d);
            }
            s.post(&token, "/v3/groups", body).status
        };
        let get = |path: String| s.get(&token, &path).status;
        let update =
            |g: &str| s.patch(&token, &format!("/v3/groups/{g}"), json!({"group": {"note": 1}})).status;
        let add = |g: &str, u: &str| s.put(&token, &format!("/v3/groups/{g}/users/{u}")).status;
        let got = [
            create(Some("d1")),
            create(Some("d2")),
            create(None),
            get(format!("/v3/groups/{near}")),
            get(format!("/v3/groups/{far}")),
            get("/v3/groups/missing".into()),
            update(&near),
            update(&far),
            update("missing"),
            add(&near, &ann),
            add(&near, &zoe),
            add(&far, &ann),
            add(&near, "nobody"),
            get(format!("/v3/groups/{near}/users/{ann}")),
            get(format!("/v3/groups/{far}/users/{ann}")),
            get(format!("/v3/groups/{near}/users/nobody")),
            get(format!("/v3/users/{ann}/groups")),
            get(format!("/v3/users/{zoe}/groups")),
            get("/v3/users/nobody/groups".into()),
            get(format!("/v3/groups/{near}/users")),
            get(format!("/v3/groups/{far}/users")),
            get("/v3/groups/missing/users".into()),
        ];
        assert_eq!(got, expected, "{who}");
        s.delete(&token, "/v3/groups/missing").expect(404);
        let removed = s.delete(&token, &format!("/v3/groups/{near}/users/nobody")).status;
        assert_eq!(removed, if role == "admin" { 404 } else { 403 }, "{who}");
        if place == "domain:d1" {
            // A domain's token sees that domain alone, on every list.
            let all = s.get(&token, "/v3/groups").expect(200);
            assert!(ids(&all, "groups").contains(&near) && !ids(&all, "groups").contains(&far));
            let users = s.get(&token, &format!("/v3/groups/{near}/users")).expect(200);
            assert_eq!(ids(&users, "users"), std::slice::from_ref(&ann));
            let groups = s.get(&token, &format!("/v3/users/{ann}/groups")).expect(200);
            assert_eq!(ids(&groups, "groups"), std::slice::from_ref(&near));
        }
    }
    assert_eq!(ids(&s.get(&t, "/v3/groups?name=crew&domain_id=d2").expect(200), "groups"), [far]);
    assert!(ids(&s.get(&t, "/v3/groups?name__contains=manager").expect(200), "groups").len() == 1);
}
