//! Registered limits and limits.

use serde_json::{Value, json};

use crate::support::{Answer, Server, domain, id, ids, on_domain, on_project, persona, token, user};

/// A server with a service, a project `p` and its administrator's token.
struct Cloud {
    s: Server,
    admin: String,
    service: String,
    project: String,
}

const REGISTERED: &str = "/v3/registered_limits";
const LIMITS: &str = "/v3/limits";

impl Cloud {
    fn new(ini: &str) -> Self {
        let s = Server::with(ini);
        let admin = s.admin();
        let service = json!({"service": {"type": "compute", "name": "nova"}});
        let service = id(&s.post(&admin, "/v3/services", service).expect(201), "service");
        let project = json!({"project": {"name": "p"}});
        let project = id(&s.post(&admin, "/v3/projects", project).expect(201), "project");
        Self { s, admin, service, project }
    }

    fn register(&self, more: Value) -> Answer {
        self.s.post(&self.admin, REGISTERED, json!({"registered_limits": [self.of_cores(more)]}))
    }

    fn limit(&self, more: Value) -> Answer {
        self.s.post(&self.admin, LIMITS, json!({"limits": [self.of_cores(more)]}))
    }

    /// Attributes of a limit of cores, with more, or without those that are null here.
    fn of_cores(&self, more: Value) -> Value {
        let mut all = json!({"service_id": self.service, "resource_name": "cores"});
        for (name, value) in more.as_object().expect("an object") {
            all[name] = value.clone();
        }
        all
    }

    fn list(&self, who: &str, path: &str, name: &str) -> Vec<String> {
        ids(&self.s.get(who, path).expect(200), name)
    }
}

fn first(answer: &Answer, name: &str) -> Value {
    answer.body[name][0].clone()
}

#[test]
fn a_registered_limit_is_made_shown_changed_and_deleted() {
    let c = Cloud::new("");
    let made = c.register(json!({"default_limit": 10, "region_id": "RegionOne"})).expect(201);
    let shown = first(&made, "registered_limits");
    let of = shown["id"].as_str().expect("an id").to_owned();
    let path = format!("{REGISTERED}/{of}");
    let mut golden = json!({
        "id": of, "service_id": c.service, "region_id": "RegionOne", "resource_name": "cores",
        "default_limit": 10, "description": null, "links": {"self": format!("{}{path}", c.s.url)},
    });
    assert_eq!(made.body, json!({"registered_limits": [golden]}));
    assert_eq!(c.s.get(&c.admin, &path).expect(200).body, json!({"registered_limit": golden}));
    c.register(json!({"default_limit": 1, "region_id": "RegionOne"})).expect(409);
    // Without a region it is another one; but once.
    let other = c.register(json!({"default_limit": -1})).expect(201);
    let other = first(&other, "registered_limits")["id"].as_str().expect("an id").to_owned();
    c.register(json!({"default_limit": 1})).expect(409);

    let patch = |body: Value| c.s.patch(&c.admin, &path, json!({"registered_limit": body}));
    let changed = patch(json!({"default_limit": 0, "description": "few"})).expect(200);
    (golden["default_limit"], golden["description"]) = (json!(0), json!("few"));
    assert_eq!(changed.body["registered_limit"], golden);
    assert_eq!(patch(json!({})).expect(200).body["registered_limit"], golden);
    patch(json!({"region_id": null})).expect(409);
    patch(json!({"resource_name": "ram"})).expect(200);
    patch(json!({"region_id": null})).expect(200);
    patch(json!({"resource_name": "cores"})).expect(409);
    for bad in [
        json!({"id": of}),
        json!({"service_id": "nope"}),
        json!({"region_id": "nope"}),
        json!({"resource_name": ""}),
        json!({"default_limit": -2}),
        json!({"default_limit": 2_147_483_648_i64}),
        json!({"default_limit": "1"}),
        json!({"more": 1}),
    ] {
        patch(bad.clone()).expect(400);
        let mut body = json!({"default_limit": 1, "resource_name": "disk"});
        body.as_object_mut().expect("an object").extend(bad.as_object().expect("an object").clone());
        c.register(body).expect(400);
    }
    for bad in [json!([]), json!({}), json!([{"service_id": c.service}]), json!("x")] {
        c.s.post(&c.admin, REGISTERED, json!({"registered_limits": bad})).expect(400);
    }
    let find = |query: &str| c.list(&c.admin, &format!("{REGISTERED}?{query}"), "registered_limits");
    assert_eq!(find("resource_name=ram"), [&*of]);
    assert_eq!(find(&format!("service_id={}&resource_name=cores", c.service)), [&*other]);
    assert_eq!(find("region_id=RegionOne"), [""; 0]);
    assert_eq!(find("resource_name__contains=r").len(), 2);
    assert_eq!(find("limit=1").len(), 1);
    c.s.get(&c.admin, &format!("{REGISTERED}?resource_name=")).expect(400);
    c.s.delete(&c.admin, &path).expect(204);
    c.s.delete(&c.admin, &path).expect(404);
    c.s.get(&c.admin, &path).expect(404);
    c.s.patch(&c.admin, &path, json!({"registered_limit": {}})).expect(404);
}

/// Found by Schemathesis: `10.0` fits the schema, and was no number for the database.
#[test]
fn a_whole_number_may_be_written_with_a_point() {
    let c = Cloud::new("");
    let made = first(&c.register(json!({"default_limit": 10.0})).expect(201), "registered_limits");
    assert_eq!(made["default_limit"], json!(10));
    let path = format!("{REGISTERED}/{}", made["id"].as_str().expect("an id"));
    let change = json!({"registered_limit": {"default_limit": -1.0}});
    let changed = c.s.patch(&c.admin, &path, change).expect(200);
    assert_eq!(changed.body["registered_limit"]["default_limit"], json!(-1));
    let limit =
        first(&c.limit(json!({"project_id": c.project, "resource_limit": 4.0})).expect(201), "limits");
    assert_eq!(limit["resource_limit"], json!(4));
    c.register(json!({"resource_name": "ram", "default_limit": 1.5})).expect(400);
}

#[test]
fn what_one_request_registers_is_all_there_or_nothing() {
    let c = Cloud::new("");
    let of = |name: &str| c.of_cores(json!({"resource_name": name, "default_limit": 1}));
    let post = |all: Value| c.s.post(&c.admin, REGISTERED, json!({"registered_limits": all}));
    post(json!([of("a"), of("b"), of("a")])).expect(409);
    post(json!([of("a"), c.of_cores(json!({"service_id": "nope", "default_limit": 1}))])).expect(400);
    assert_eq!(c.list(&c.admin, REGISTERED, "registered_limits"), [""; 0]);
    let made = post(json!([of("a"), of("b")])).expect(201);
    assert_eq!(made.body["registered_limits"].as_array().map(Vec::len), Some(2));
    post(json!([of("c"), of("b")])).expect(409);
    assert_eq!(c.list(&c.admin, REGISTERED, "registered_limits").len(), 2);
}

#[test]
fn a_limit_is_of_a_project_or_a_domain_and_goes_by_a_registered_one() {
    let c = Cloud::new("");
    let project = json!({"project_id": c.project, "resource_limit": 5});
    c.limit(project.clone()).expect(403);
    let registered = c.register(json!({"default_limit": 10})).expect(201);
    let registered = first(&registered, "registered_limits")["id"].as_str().expect("an id").to_owned();
    let made = c.limit(project.clone()).expect(201);
    let of = first(&made, "limits")["id"].as_str().expect("an id").to_owned();
    let path = format!("{LIMITS}/{of}");
    let golden = json!({
        "id": of, "project_id": c.project, "domain_id": null, "service_id": c.service, "region_id": null,
        "resource_name": "cores", "resource_limit": 5, "description": null,
        "links": {"self": format!("{}{path}", c.s.url)},
    });
    assert_eq!(made.body, json!({"limits": [golden]}));
    assert_eq!(c.s.get(&c.admin, &path).expect(200).body, json!({"limit": golden}));
    c.limit(project).expect(409);
    // A domain by either name.
    let made = c.limit(json!({"project_id": "default", "resource_limit": 7})).expect(201);
    assert_eq!(
        (&made.body["limits"][0]["project_id"], &made.body["limits"][0]["domain_id"]),
        (&Value::Null, &json!("default"))
    );
    c.limit(json!({"domain_id": "default", "resource_limit": 7})).expect(409);
    for bad in [
        json!({"resource_limit": 1}),
        json!({"project_id": null, "resource_limit": 1}),
        json!({"project_id": c.project, "domain_id": "default", "resource_limit": 1}),
        json!({"project_id": "nope", "resource_limit": 1}),
        json!({"domain_id": "nope", "resource_limit": 1}),
        json!({"domain_id": c.project, "resource_limit": 1}),
        json!({"project_id": c.project}),
        json!({"project_id": c.project, "resource_limit": -2}),
        json!({"project_id": c.project, "resource_limit": 1, "service_id": "nope"}),
        json!({"project_id": c.project, "resource_limit": 1, "region_id": "nope"}),
        json!({"project_id": c.project, "resource_limit": 1, "more": 1}),
    ] {
        c.limit(bad).expect(400);
    }
    c.limit(json!({"project_id": c.project, "resource_limit": 1, "region_id": "RegionOne"})).expect(403);
    c.limit(json!({"project_id": c.project, "resource_limit": 1, "resource_name": "ram"})).expect(403);

    let patch = |body: Value| c.s.patch(&c.admin, &path, json!({"limit": body}));
    let changed = patch(json!({"resource_limit": 0, "description": "none"})).expect(200);
    assert_eq!(
        (&changed.body["limit"]["resource_limit"], &changed.body["limit"]["description"]),
        (&json!(0), &json!("none"))
    );
    assert_eq!(c.s.get(&c.admin, &path).expect(200).body, changed.body);
    for fixed in ["id", "project_id", "domain_id", "service_id", "region_id", "resource_name"] {
        patch(json!({ fixed: golden[fixed] })).expect(400);
    }
    let find = |query: &str| c.list(&c.admin, &format!("{LIMITS}?{query}"), "limits");
    for query in [
        format!("project_id={}", c.project),
        format!("service_id={}&resource_name=cores&project_id={}", c.service, c.project),
        format!("project_id={}&resource_name__startswith=co", c.project),
    ] {
        assert_eq!(find(&query), [&*of], "{query}");
    }
    assert_eq!(find("domain_id=default").len(), 1);
    assert_eq!(find("service_id=nope").len(), 0);
    assert_eq!(find("region_id=RegionOne").len(), 0);

    // What limits go by stays, and stays as it is.
    let by = format!("{REGISTERED}/{registered}");
    c.s.patch(&c.admin, &by, json!({"registered_limit": {"default_limit": 1}})).expect(403);
    c.s.delete(&c.admin, &by).expect(403);
    c.s.delete(&c.admin, &path).expect(204);
    c.s.delete(&c.admin, &path).expect(404);
    c.s.delete(&c.admin, &by).expect(403);
    for of in find("") {
        c.s.delete(&c.admin, &format!("{LIMITS}/{of}")).expect(204);
    }
    c.s.delete(&c.admin, &by).expect(204);
}

#[test]
fn limits_go_with_their_project() {
    let c = Cloud::new("");
    c.register(json!({"default_limit": 10})).expect(201);
    c.limit(json!({"project_id": c.project, "resource_limit": 5})).expect(201);
    c.s.delete(&c.admin, &format!("/v3/projects/{}", c.project)).expect(204);
    assert_eq!(c.list(&c.admin, LIMITS, "limits"), [""; 0]);
}

#[test]
fn who_may_do_what_with_limits() {
    let c = Cloud::new("");
    let s = &c.s;
    domain(s, "d");
    let inside = json!({"project": {"name": "inside", "domain_id": "d"}});
    let inside = id(&s.post(&c.admin, "/v3/projects", inside).expect(201), "project");
    let registered = first(&c.register(json!({"default_limit": 10})).expect(201), "registered_limits");
    let registered = registered["id"].as_str().expect("an id").to_owned();
    let limit = |owner: Value| {
        let made = c.limit(owner).expect(201);
        first(&made, "limits")["id"].as_str().expect("an id").to_owned()
    };
    let of_p = limit(json!({"project_id": c.project, "resource_limit": 1}));
    let of_inside = limit(json!({"project_id": inside, "resource_limit": 2}));
    let of_d = limit(json!({"domain_id": "d", "resource_limit": 3}));
    let all = [&of_p, &of_inside, &of_d];
    // Token; which of the three they list and get.
    let table = [
        ("admin of the project", on_project(s, "a", "admin", &c.project), all.to_vec(), all.to_vec()),
        ("member of the project", on_project(s, "m", "member", &c.project), vec![&of_p], vec![&of_p]),
        ("service on the project", on_project(s, "v", "service", &c.project), all.to_vec(), vec![&of_p]),
        ("reader of the system", persona(s, "r", "reader", "system").1, all.to_vec(), all.to_vec()),
        (
            "reader of the domain",
            on_domain(s, "o", "reader", "d"),
            vec![&of_inside, &of_d],
            vec![&of_inside, &of_d],
        ),
        ("unscoped", token(s, &user(s, "u", "default"), Value::Null), vec![], vec![]),
    ];
    for (who, token, listed, shown) in &table {
        let mut found = c.list(token, LIMITS, "limits");
        let mut wanted: Vec<String> = listed.iter().map(|id| (*id).clone()).collect();
        found.sort();
        wanted.sort();
        assert_eq!(found, wanted, "{who}");
        for id in all {
            let status = s.get(token, &format!("{LIMITS}/{id}")).status;
            assert_eq!(status, if shown.contains(&id) { 200 } else { 403 }, "{who} {id}");
        }
        let may = who.starts_with("admin");
        assert_eq!(
            s.get(token, &format!("{LIMITS}/nope")).status == 404,
            may || who.ends_with("system"),
            "{who}"
        );
        assert_eq!(c.list(token, REGISTERED, "registered_limits"), [&*registered], "{who}");
        s.get(token, &format!("{REGISTERED}/{registered}")).expect(200);
        s.get(token, "/v3/limits/model").expect(200);
        if may {
            continue;
        }
        s.post(token, REGISTERED, json!({"registered_limits": []})).expect(403);
        s.post(token, LIMITS, json!({"limits": []})).expect(403);
        for path in
            [format!("{REGISTERED}/{registered}"), format!("{LIMITS}/{of_p}"), format!("{LIMITS}/nope")]
        {
            s.patch(token, &path, json!({})).expect(403);
            s.delete(token, &path).expect(403);
        }
    }
}

#[test]
fn the_model_says_what_it_is() {
    let c = Cloud::new("");
    let model = c.s.get(&c.admin, "/v3/limits/model").expect(200).body["model"].clone();
    assert_eq!(
        model,
        json!({"name": "flat", "description":
            "Limit enforcement and validation does not take project hierarchy into consideration."})
    );
    // Nothing is compared.
    c.register(json!({"default_limit": 1})).expect(201);
    c.limit(json!({"project_id": c.project, "resource_limit": 100})).expect(201);
    c.s.head(&c.admin, "/v3/limits/model").expect(200);
    c.s.get("", "/v3/limits/model").expect(401);
}

#[test]
fn with_two_levels_no_project_is_above_its_domain() {
    let c = Cloud::new("[unified_limit]\nenforcement_model = strict_two_level\n");
    let model = c.s.get(&c.admin, "/v3/limits/model").expect(200).body["model"]["name"].clone();
    assert_eq!(model, "strict_two_level");
    c.register(json!({"default_limit": 10})).expect(201);
    let of = |owner: &str, id: &str, limit: i64| c.of_cores(json!({owner: id, "resource_limit": limit}));
    let post = |all: Value| c.s.post(&c.admin, LIMITS, json!({"limits": all}));
    // The default of the domain counts until it has a limit, which may come in the same request.
    let refused = |answer: Answer, bound: &str| {
        let message = answer.expect(403).body["error"]["message"].as_str().expect("a message").to_owned();
        let (of, why) = message.split_once("doesn't satisfy current hierarchy model").expect(&message);
        assert!(of.starts_with("Invalid resource limit: The resource limit ("), "{message}");
        assert_eq!(why, bound);
    };
    let default = ": the registered limit is 10, and the domain has none of its own.";
    refused(post(json!([of("project_id", &c.project, 11)])), default);
    let both = post(json!([of("project_id", &c.project, 21), of("domain_id", "default", 20)]));
    refused(both, ": the limit of the domain is 20.");
    let made = post(json!([of("project_id", &c.project, 20), of("domain_id", "default", 20)])).expect(201);
    let path = |at: usize| format!("{LIMITS}/{}", made.body["limits"][at]["id"].as_str().expect("an id"));
    let set =
        |at: usize, limit: i64| c.s.patch(&c.admin, &path(at), json!({"limit": {"resource_limit": limit}}));
    refused(set(0, 21), ": the limit of the domain is 20.");
    refused(set(1, 19), &format!(": the limit of project {} is 20.", c.project));
    set(0, 15).expect(200);
    set(1, 15).expect(200);
    set(1, 14).expect(403);
}
