//! Stored policies, and which policy is for which endpoint.

use serde_json::{Value, json};
use vicar::args;

use crate::support::{Answer, Server, count, domain, id, ids, on_domain, on_project, persona};

const POLICIES: &str = "/v3/policies";

/// Regions `a`, `b` below it and `c` below that, a service, and an endpoint of it in `c`.
struct Cloud {
    s: Server,
    admin: String,
    service: String,
    endpoint: String,
}

impl Cloud {
    fn new() -> Self {
        let s = Server::start();
        let admin = s.admin();
        for (region, parent) in [("a", Value::Null), ("b", json!("a")), ("c", json!("b"))] {
            let body = json!({"region": {"id": region, "parent_region_id": parent}});
            s.post(&admin, "/v3/regions", body).expect(201);
        }
        let service = json!({"service": {"type": "compute"}});
        let service = id(&s.post(&admin, "/v3/services", service).expect(201), "service");
        let mut c = Self { s, admin, service, endpoint: String::new() };
        c.endpoint = c.endpoint("c");
        c
    }

    fn endpoint(&self, region: &str) -> String {
        let body = json!({"interface": "public", "service_id": self.service, "region_id": region, "url": "http://h"});
        id(&self.s.post(&self.admin, "/v3/endpoints", json!({"endpoint": body})).expect(201), "endpoint")
    }

    fn policy(&self, kind: &str) -> String {
        let body = json!({"policy": {"blob": "{}", "type": kind}});
        id(&self.s.post(&self.admin, POLICIES, body).expect(201), "policy")
    }

    /// The paths of a policy's associations: with the endpoint, the service in a region, the service.
    fn paths(&self, policy: &str, region: &str) -> [String; 3] {
        let below = format!("{POLICIES}/{policy}/OS-ENDPOINT-POLICY");
        let service = format!("{below}/services/{}", self.service);
        [format!("{below}/endpoints/{}", self.endpoint), format!("{service}/regions/{region}"), service]
    }

    fn put(&self, path: &str) -> Answer {
        self.s.put(&self.admin, path)
    }

    fn get(&self, path: &str) -> Answer {
        self.s.get(&self.admin, path)
    }

    /// The type of the policy that the endpoint has.
    fn has(&self) -> Option<String> {
        let answer = self.get(&format!("/v3/endpoints/{}/OS-ENDPOINT-POLICY/policy", self.endpoint));
        match answer.status {
            200 => answer.body["policy"]["type"].as_str().map(str::to_owned),
            _ => {
                answer.expect(404);
                None
            }
        }
    }

    /// The endpoints that a policy is for.
    fn endpoints(&self, policy: &str) -> Vec<String> {
        ids(&self.get(&format!("{POLICIES}/{policy}/OS-ENDPOINT-POLICY/endpoints")).expect(200), "endpoints")
    }
}

#[test]
fn a_policy_is_made_shown_changed_and_deleted() {
    let c = Cloud::new();
    let blob = json!({"a": "\u{0}\"é"}).to_string();
    let body = json!({"blob": blob, "type": "application/json", "foo-bar": 1, "id": "x", "links": {}});
    let made = c.s.post(&c.admin, POLICIES, json!({"policy": body})).expect(201);
    let of = id(&made, "policy");
    assert_eq!(of.len(), 32);
    let path = format!("{POLICIES}/{of}");
    let mut golden = json!({
        "id": of, "blob": blob, "type": "application/json", "foo_bar": 1,
        "links": {"self": format!("{}{path}", c.s.url)},
    });
    assert_eq!(made.body["policy"], golden);
    assert_eq!(c.get(&path).expect(200).body["policy"], golden);
    // As a Keystone keeps it: JSON, of a string.
    let kept = c.s.sql_text("SELECT \"blob\" FROM policy", &[]).expect("a row");
    assert_eq!(serde_json::from_str::<Value>(&kept).expect("JSON"), json!(blob));

    let patch = |body: Value| c.s.patch(&c.admin, &path, json!({"policy": body}));
    let changed = patch(json!({"type": "t", "id": of, "more": null, "foo_bar": 2})).expect(200);
    (golden["type"], golden["more"], golden["foo_bar"]) = (json!("t"), Value::Null, json!(2));
    assert_eq!(changed.body["policy"], golden);
    for bad in [json!({}), json!({"id": "y"}), json!({"blob": 7}), json!({"type": null})] {
        patch(bad).expect(400);
    }
    for bad in [
        json!({}),
        json!({"blob": "x"}),
        json!({"type": "x"}),
        json!({"blob": {"a": 1}, "type": "x"}),
        json!({"blob": "x", "type": "x".repeat(256)}),
    ] {
        c.s.post(&c.admin, POLICIES, json!({"policy": bad})).expect(400);
    }
    let empty = c.s.post(&c.admin, POLICIES, json!({"policy": {"blob": "", "type": ""}})).expect(201);
    let list = |query: &str| ids(&c.get(&format!("{POLICIES}?{query}")).expect(200), "policies");
    assert_eq!(list("type=t"), [of.as_str()]);
    assert_eq!(list("type=T"), Vec::<String>::new());
    assert_eq!(list("type="), [id(&empty, "policy")]);
    assert_eq!(list("").len(), 2);
    assert_eq!(list("limit=1").len(), 1);
    c.s.patch(&c.admin, "/v3/policies/nope", json!({"policy": {"type": "t"}})).expect(404);
    c.s.delete(&c.admin, &path).expect(204);
    c.s.delete(&c.admin, &path).expect(404);
    c.get(&path).expect(404);
}

/// What is no JSON in a row is shown as it is.
#[test]
fn a_blob_that_somebody_wrote_by_hand_is_shown() {
    let c = Cloud::new();
    c.s.sql_run("INSERT INTO policy (id, type, \"blob\") VALUES ('p', 't', '{not json')", &[]);
    assert_eq!(c.get("/v3/policies/p").expect(200).body["policy"]["blob"], "{not json");
    assert_eq!(ids(&c.get(POLICIES).expect(200), "policies"), ["p"]);
}

#[test]
fn a_policy_is_for_an_endpoint_a_service_or_a_service_in_a_region() {
    let c = Cloud::new();
    let (one, two) = (c.policy("one"), c.policy("two"));
    for (path, others) in c.paths(&one, "b").iter().zip(c.paths(&two, "b")) {
        c.get(path).expect(404);
        c.put(path).expect(204);
        c.put(path).expect(204);
        c.get(path).expect(204);
        c.s.head(&c.admin, path).expect(204);
        // Another policy takes the place.
        c.put(&others).expect(204);
        c.get(path).expect(404);
        assert_eq!(c.has().as_deref(), Some("two"));
        // Nothing of the other's is deleted.
        c.s.delete(&c.admin, path).expect(204);
        c.get(&others).expect(204);
        c.s.delete(&c.admin, &others).expect(204);
        c.get(&others).expect(404);
        assert_eq!(c.has(), None);
    }
    assert_eq!(count(&c.s, "SELECT id FROM policy_association", &[]), 0);
    let nowhere = c.paths("nope", "b");
    let paths = c.paths(&one, "nope");
    let service = paths[2].replace(&c.service, "nope");
    for path in nowhere.iter().chain([&paths[1], &service, &paths[0].replace(&c.endpoint, "nope")]) {
        c.get(path).expect(404);
        c.put(path).expect(404);
        c.s.delete(&c.admin, path).expect(404);
    }
    c.get("/v3/endpoints/nope/OS-ENDPOINT-POLICY/policy").expect(404);
    c.get("/v3/policies/nope/OS-ENDPOINT-POLICY/endpoints").expect(404);
}

#[test]
fn the_nearest_policy_is_an_endpoints() {
    let c = Cloud::new();
    let service = c.policy("service");
    c.put(&c.paths(&service, "a")[2]).expect(204);
    assert_eq!(c.has().as_deref(), Some("service"));
    for region in ["a", "b", "c"] {
        let policy = c.policy(region);
        c.put(&c.paths(&policy, region)[1]).expect(204);
        assert_eq!(c.has().as_deref(), Some(region));
    }
    let own = c.policy("own");
    c.put(&c.paths(&own, "a")[0]).expect(204);
    assert_eq!(c.has().as_deref(), Some("own"));
    // Of another service it says nothing.
    let other = json!({"service": {"type": "image"}});
    let other = id(&c.s.post(&c.admin, "/v3/services", other).expect(201), "service");
    c.s.patch(&c.admin, &format!("/v3/endpoints/{}", c.endpoint), json!({"endpoint": {"service_id": other}}))
        .expect(200);
    c.s.delete(&c.admin, &c.paths(&own, "a")[0]).expect(204);
    assert_eq!(c.has(), None);
}

#[test]
fn the_endpoints_of_a_policy_are_in_its_regions_and_all_below() {
    let c = Cloud::new();
    let (in_a, in_b) = (c.endpoint("a"), c.endpoint("b"));
    let policy = c.policy("t");
    let sorted = |ids: &[&String]| {
        let mut ids: Vec<String> = ids.iter().map(|id| (*id).clone()).collect();
        ids.sort();
        ids
    };
    assert_eq!(c.endpoints(&policy), Vec::<String>::new());
    c.put(&c.paths(&policy, "c")[1]).expect(204);
    assert_eq!(c.endpoints(&policy), sorted(&[&c.endpoint]));
    c.put(&c.paths(&policy, "b")[1]).expect(204);
    assert_eq!(c.endpoints(&policy), sorted(&[&c.endpoint, &in_b]));
    let [own, of_region, of_service] = c.paths(&policy, "a");
    c.put(&of_region).expect(204);
    let all = sorted(&[&c.endpoint, &in_a, &in_b]);
    // Each once, by however many ways.
    assert_eq!(c.endpoints(&policy), all);
    c.put(&own).expect(204);
    c.put(&of_service).expect(204);
    assert_eq!(c.endpoints(&policy), all);
    let first = c.get(&format!("{POLICIES}/{policy}/OS-ENDPOINT-POLICY/endpoints?limit=1")).expect(200);
    let shown = &first.body["endpoints"];
    assert_eq!(shown.as_array().map(Vec::len), Some(1));
    let same = c.get(&format!("/v3/endpoints/{}", all[0])).expect(200).body["endpoint"].clone();
    assert_eq!(shown[0], same);
    assert!(first.body["links"]["next"].is_string());
}

/// Rows that this server does not make.
#[test]
fn what_is_broken_among_the_rows_is_passed_over() {
    let c = Cloud::new();
    let policy = c.policy("t");
    let row = |n: &str, policy: &str, [endpoint, service, region]: [Option<&str>; 3]| {
        c.s.sql_run(
            "INSERT INTO policy_association (id, policy_id, endpoint_id, service_id, region_id) VALUES (?, ?, ?, ?, ?)",
            args![n, policy, endpoint, service, region],
        );
    };
    let service = Some(c.service.as_str());
    // A Keystone leaves these behind when it deletes a policy, or what it is for.
    row("1", "gone", [Some(&c.endpoint), None, None]);
    row("2", "gone", [None, service, Some("c")]);
    row("3", &policy, [Some("gone"), None, None]);
    row("4", &policy, [None, Some("gone"), None]);
    row("5", &policy, [None, service, Some("gone")]);
    row("6", &policy, [None, None, Some("a")]);
    assert_eq!(c.has(), None);
    assert_eq!(c.endpoints(&policy), Vec::<String>::new());
    row("7", &policy, [None, service, Some("a")]);
    assert_eq!(c.has().as_deref(), Some("t"));
    // Regions in a circle end.
    c.s.sql_run("UPDATE region SET parent_region_id = 'c' WHERE id = 'a'", &[]);
    assert_eq!(c.has().as_deref(), Some("t"));
    assert_eq!(c.endpoints(&policy), [c.endpoint.as_str()]);
    c.s.sql_run("UPDATE policy_association SET region_id = 'elsewhere' WHERE id = '7'", &[]);
    assert_eq!(c.has(), None);
}

#[test]
fn associations_go_with_what_they_name() {
    let c = Cloud::new();
    let left = || count(&c.s, "SELECT id FROM policy_association", &[]);
    let all = |policy: &str| {
        for path in c.paths(policy, "c") {
            c.put(&path).expect(204);
        }
        assert_eq!(left(), 3);
    };
    let delete = |path: &str| c.s.delete(&c.admin, path).expect(204);
    let policy = c.policy("t");
    all(&policy);
    delete(&format!("{POLICIES}/{policy}"));
    assert_eq!((left(), c.has()), (0, None));
    let policy = c.policy("t");
    all(&policy);
    delete(&format!("/v3/endpoints/{}", c.endpoint));
    assert_eq!(left(), 2);
    delete("/v3/regions/b");
    assert_eq!(left(), 1);
    delete(&format!("/v3/services/{}", c.service));
    assert_eq!(left(), 0);
    assert_eq!(c.endpoints(&policy), Vec::<String>::new());
}

#[test]
fn administrators_write_and_readers_of_the_system_read() {
    let c = Cloud::new();
    domain(&c.s, "d");
    let project = c.s.project("p");
    let (_, reader) = persona(&c.s, "reader", "reader", "system");
    let policy = c.policy("t");
    let path = format!("{POLICIES}/{policy}");
    let associations = c.paths(&policy, "a");
    for association in &associations {
        c.put(association).expect(204);
    }
    let mut to_read = vec![
        POLICIES.to_owned(),
        path.clone(),
        format!("{path}/OS-ENDPOINT-POLICY/endpoints"),
        format!("/v3/endpoints/{}/OS-ENDPOINT-POLICY/policy", c.endpoint),
    ];
    to_read.extend(associations.clone());
    for path in &to_read {
        assert!(c.s.get(&reader, path).status < 300, "{path}");
        assert!(c.s.head(&reader, path).status < 300, "{path}");
    }
    let others =
        [on_project(&c.s, "m", "manager", &project), on_domain(&c.s, "a", "admin", "d"), c.s.admin()];
    let [manager, of_domain, _] = &others;
    let body = json!({"policy": {"blob": "x", "type": "x"}});
    for who in [manager, of_domain, &reader] {
        c.s.post(who, POLICIES, body.clone()).expect(403);
        // Nobody is told whether it is there.
        for path in [&path, "/v3/policies/nope"] {
            c.s.patch(who, path, body.clone()).expect(403);
            c.s.delete(who, path).expect(403);
        }
        for association in associations.iter().chain(&c.paths("nope", "nope")) {
            c.s.put(who, association).expect(403);
            c.s.delete(who, association).expect(403);
        }
    }
    for who in [manager, of_domain] {
        for path in &to_read {
            c.s.get(who, path).expect(403);
        }
        c.s.get(who, "/v3/policies/nope").expect(403);
        c.s.get(who, "/v3/endpoints/nope/OS-ENDPOINT-POLICY/policy").expect(403);
    }
}
