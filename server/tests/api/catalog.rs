//! Regions, services, endpoints, and the catalog made of them.

use serde_json::{Value, json};

use vicar::system::System;

use crate::support::{Answer, Server, in_db, names, on_domain, on_project, token, user};

struct Client<'a>(&'a Server, String);

impl Client<'_> {
    fn post(&self, kind: &str, body: Value) -> Answer {
        self.0.post(&self.1, &format!("/v3/{kind}s"), json!({kind: body}))
    }

    fn patch(&self, kind: &str, id: &str, body: Value) -> Answer {
        self.0.patch(&self.1, &format!("/v3/{kind}s/{id}"), json!({kind: body}))
    }

    #[track_caller]
    fn make(&self, kind: &str, body: Value) -> String {
        let made = self.post(kind, body).expect(201);
        made.body[kind]["id"].as_str().expect("an id").to_owned()
    }

    fn get(&self, path: &str) -> Answer {
        self.0.get(&self.1, path)
    }

    fn delete(&self, path: &str) -> Answer {
        self.0.delete(&self.1, path)
    }
}

#[test]
fn regions_form_trees() {
    let s = Server::start();
    let c = Client(&s, s.admin());
    let made = c.post("region", json!({"id": "r", "description": null, "more": 1})).expect(201);
    let shown = json!({"id": "r", "description": "", "parent_region_id": null, "more": 1,
                       "links": {"self": format!("{}/v3/regions/r", s.url)}});
    assert_eq!(made.body["region"], shown);
    assert_eq!(c.get("/v3/regions/r").expect(200).body["region"], shown);
    c.post("region", json!({"id": "r"})).expect(409);
    assert_eq!(c.make("region", json!({"id": ""})).len(), 32);
    assert_eq!(c.make("region", json!({"id": null})).len(), 32);
    c.make("region", json!({"id": "s", "parent_region_id": "r"}));
    c.make("region", json!({"id": "t", "parent_region_id": "s"}));
    c.post("region", json!({"parent_region_id": "nope"})).expect(404);
    c.post("region", json!({"id": "self", "parent_region_id": "self"})).expect(404);
    for bad in [json!({"id": 5}), json!({"id": "x".repeat(256)}), json!({"description": "x".repeat(256)})] {
        c.post("region", bad).expect(400);
    }
    let put = |id: &str, body: Value| {
        let body = json!({"region": body}).to_string();
        s.call("PUT", &format!("/v3/regions/{id}"), &[("X-Auth-Token", &c.1)], Some(body.as_bytes()))
    };
    put("u", json!({})).expect(201);
    put("u", json!({})).expect(409);
    put("v", json!({"id": "v"})).expect(201);
    put("w", json!({"id": "v"})).expect(400);
    put("w", json!({"id": null})).expect(400);
    put(&"x".repeat(256), json!({})).expect(400);

    c.patch("region", "r", json!({})).expect(400);
    c.patch("region", "r", json!({"id": "x"})).expect(400);
    c.patch("region", "nope", json!({"description": "x"})).expect(404);
    c.patch("region", "u", json!({"parent_region_id": "nope"})).expect(404);
    for below in ["r", "s", "t"] {
        c.patch("region", "r", json!({"parent_region_id": below})).expect(400);
    }
    let moved =
        c.patch("region", "u", json!({"parent_region_id": "r", "more": 2, "description": "d"})).expect(200);
    assert_eq!(
        (&moved.body["region"]["more"], &moved.body["region"]["description"]),
        (&json!(2), &json!("d"))
    );
    assert_eq!(names(&c.get("/v3/regions?parent_region_id=r").expect(200).body, "regions"), ["s", "u"]);
    c.patch("region", "u", json!({"parent_region_id": null})).expect(200);

    let service = c.make("service", json!({"type": "compute"}));
    let endpoint = c.make(
        "endpoint",
        json!({"interface": "public", "service_id": service, "url": "http://h", "region_id": "t"}),
    );
    c.delete("/v3/regions/r").expect(403);
    c.delete(&format!("/v3/endpoints/{endpoint}")).expect(204);
    c.delete("/v3/regions/r").expect(204);
    for gone in ["r", "s", "t"] {
        c.get(&format!("/v3/regions/{gone}")).expect(404);
    }
    c.delete("/v3/regions/r").expect(404);
    c.get("/v3/regions/u").expect(200);
}

#[test]
fn regions_in_a_circle_can_be_read_and_deleted() {
    let s = Server::start();
    let c = Client(&s, s.admin());
    c.make("region", json!({"id": "a"}));
    c.make("region", json!({"id": "b", "parent_region_id": "a"}));
    in_db(&s, async |tx| {
        tx.raw(&System::CommandLine, "UPDATE region SET parent_region_id = 'b' WHERE id = 'a'", &[])
            .await
            .expect("a circle");
    });
    c.get("/v3/regions/a").expect(200);
    c.delete("/v3/regions/a").expect(204);
    c.get("/v3/regions/b").expect(404);
}

#[test]
fn services_are_made_read_changed_and_deleted() {
    let s = Server::start();
    let c = Client(&s, s.admin());
    let body = json!({"type": "compute", "name": "nova", "description": null, "foo-bar": 1, "id": "x"});
    let made = c.post("service", body).expect(201).body["service"].clone();
    let id = made["id"].as_str().expect("an id");
    let path = format!("/v3/services/{id}");
    assert_eq!(
        made,
        json!({"id": id, "type": "compute", "name": "nova", "description": null, "foo_bar": 1, "enabled": true,
               "links": {"self": format!("{}{path}", s.url)}})
    );
    assert_eq!(c.get(&path).expect(200).body["service"], made);
    let plain = c.make("service", json!({"type": "image"}));
    assert_eq!(c.get(&format!("/v3/services/{plain}")).expect(200).body["service"]["name"], "");
    for bad in [
        json!({}),
        json!({"type": ""}),
        json!({"type": null}),
        json!({"type": "t".repeat(256)}),
        json!({"type": "t", "name": null}),
        json!({"type": "t", "enabled": "true"}),
    ] {
        c.post("service", bad).expect(400);
    }
    let new = c.patch("service", id, json!({"type": "compute2", "enabled": false, "more": 1})).expect(200);
    assert_eq!(
        (&new.body["service"]["type"], &new.body["service"]["enabled"]),
        (&json!("compute2"), &json!(false))
    );
    c.patch("service", id, json!({})).expect(400);
    c.patch("service", id, json!({"id": "other"})).expect(400);
    c.patch("service", "nope", json!({"name": "x"})).expect(404);
    let list = |q: &str| names(&c.get(&format!("/v3/services?{q}")).expect(200).body, "services");
    assert_eq!(list("type=identity"), ["keystone"]);
    assert_eq!(list("name=nova"), ["nova"]);
    assert_eq!(list("name__contains=ov"), ["nova"]);
    let endpoint = c.make("endpoint", json!({"interface": "public", "service_id": id, "url": "http://h"}));
    c.delete(&path).expect(204);
    c.get(&format!("/v3/endpoints/{endpoint}")).expect(404);
    c.delete(&path).expect(404);
}

#[test]
fn endpoints_are_made_read_changed_and_deleted() {
    let s = Server::start();
    let c = Client(&s, s.admin());
    let service = c.make("service", json!({"type": "compute"}));
    let with = |more: Value| {
        let mut body =
            json!({"interface": "public", "service_id": service, "url": "http://h/$(project_id)s"});
        for (k, v) in more.as_object().expect("an object") {
            body[k] = v.clone();
        }
        body
    };
    let made = c.post("endpoint", with(json!({"name": "n", "legacy_endpoint_id": "l"}))).expect(201);
    let id = made.body["endpoint"]["id"].as_str().expect("an id").to_owned();
    let path = format!("/v3/endpoints/{id}");
    assert_eq!(
        made.body["endpoint"],
        json!({"id": id, "interface": "public", "service_id": service, "url": "http://h/$(project_id)s", "name": "n",
               "region_id": null, "region": null, "enabled": true, "links": {"self": format!("{}{path}", s.url)}})
    );
    assert_eq!(c.get(&path).expect(200).body, made.body);
    // `region` is how version 2 named regions: it makes them.
    let old = c.post("endpoint", with(json!({"region": "made", "enabled": false}))).expect(201);
    assert_eq!(
        (&old.body["endpoint"]["region_id"], &old.body["endpoint"]["region"]),
        (&json!("made"), &json!("made"))
    );
    c.get("/v3/regions/made").expect(200);
    let both = c.post("endpoint", with(json!({"region": "other", "region_id": "made"}))).expect(201);
    assert_eq!(both.body["endpoint"]["region"], "made");
    c.get("/v3/regions/other").expect(404);
    for bad in [
        json!({"region_id": "nope"}),
        json!({"region": ""}),
        json!({"service_id": "nope"}),
        json!({"interface": "publicURL"}),
        json!({"enabled": "true"}),
        json!({"name": null}),
        json!({"url": ""}),
        json!({"url": "h"}),
        json!({"url": "http://h/$(secret)s"}),
        json!({"url": "http://h/$(project_id)"}),
        json!({"url": "http://h/%"}),
        json!({"url": format!("h:{}", "x".repeat(224))}),
    ] {
        c.post("endpoint", with(bad.clone())).expect(400);
        c.patch("endpoint", &id, bad).expect(400);
    }
    // What is refused leaves nothing behind.
    c.post("endpoint", with(json!({"region": "never", "service_id": "nope"}))).expect(400);
    c.get("/v3/regions/never").expect(404);

    let new = c
        .patch("endpoint", &id, json!({"url": "http://i", "region_id": "made", "interface": "admin"}))
        .expect(200);
    assert_eq!(
        (&new.body["endpoint"]["url"], &new.body["endpoint"]["name"]),
        (&json!("http://i"), &json!("n"))
    );
    let same = c.patch("endpoint", &id, json!({"region": null})).expect(200);
    assert_eq!(same.body["endpoint"]["region_id"], "made");
    let ids = |q: &str| {
        c.get(&format!("/v3/endpoints?service_id={service}&{q}")).expect(200).body["endpoints"]
            .as_array()
            .map_or(0, Vec::len)
    };
    assert_eq!(ids(""), 3);
    assert_eq!(ids("interface=admin"), 1);
    assert_eq!(ids("region_id=made"), 3);
    assert_eq!(ids("enabled=false"), 1);
    c.get("/v3/endpoints?interface=foo").expect(400);
    let none = c.patch("endpoint", &id, json!({"region_id": null})).expect(200);
    assert_eq!(none.body["endpoint"]["region"], Value::Null);
    c.patch("endpoint", &id, json!({})).expect(400);
    c.patch("endpoint", &id, json!({"id": "x"})).expect(400);
    c.patch("endpoint", "nope", json!({"url": "http://h"})).expect(404);
    c.delete(&path).expect(204);
    c.delete(&path).expect(404);
}

#[test]
fn anybody_reads_regions_and_admins_do_the_rest() {
    let s = Server::start();
    let c = Client(&s, s.admin());
    let p = s.post(&c.1, "/v3/projects", json!({"project": {"name": "p"}})).expect(201);
    let p = p.body["project"]["id"].as_str().expect("an id").to_owned();
    let member = on_project(&s, "m", "manager", &p);
    let of_domain = on_domain(&s, "d", "admin", "default");
    let unscoped = token(&s, &user(&s, "u", "default"), Value::Null);
    s.get("", "/v3/regions").expect(401);
    for who in [&member, &of_domain, &unscoped] {
        s.get(who, "/v3/regions").expect(200);
        s.get(who, "/v3/regions/RegionOne").expect(200);
        for (list, body) in [
            ("regions", json!({"region": {}})),
            ("services", json!({"service": {"type": "t"}})),
            ("endpoints", json!({"endpoint": {"interface": "public", "service_id": "x", "url": "http://h"}})),
        ] {
            s.post(who, &format!("/v3/{list}"), body.clone()).expect(403);
            // Also where nothing is.
            s.patch(who, &format!("/v3/{list}/nope"), body).expect(403);
            s.delete(who, &format!("/v3/{list}/nope")).expect(403);
            if list != "regions" {
                s.get(who, &format!("/v3/{list}")).expect(403);
                s.get(who, &format!("/v3/{list}/nope")).expect(403);
            }
        }
    }
}

#[test]
fn a_catalog_shows_what_is_enabled_with_its_gaps_filled() {
    let s = Server::start();
    let c = Client(&s, s.admin());
    let project = s.validate(&c.1).body["token"]["project"]["id"].as_str().expect("an id").to_owned();
    let on = c.make("service", json!({"type": "compute"}));
    let off = c.make("service", json!({"type": "image", "enabled": false}));
    let endpoint = |service: &str, url: &str, enabled: bool| {
        let body = json!({"interface": "public", "service_id": service, "url": url, "enabled": enabled, "name": "n"});
        c.make("endpoint", body)
    };
    let shown = endpoint(&on, "http://h/$(project_id)s/%%", true);
    endpoint(&on, "http://off", false);
    let plain = endpoint(&on, "http://plain", true);
    endpoint(&off, "http://h", true);
    let catalog = |token: &str| {
        let all = s.get(token, "/v3/auth/catalog").expect(200).body["catalog"].clone();
        all.as_array().into_iter().flatten().find(|s| s["type"] == "compute").cloned()
    };
    let compute = catalog(&c.1).expect("the service");
    assert_eq!((&compute["id"], &compute["name"]), (&json!(on), &json!("")));
    let mut wanted = vec![
        json!({"id": shown, "interface": "public", "region": null, "region_id": null, "name": "n",
               "url": format!("http://h/{project}/%")}),
        json!({"id": plain, "interface": "public", "region": null, "region_id": null, "name": "n",
               "url": "http://plain"}),
    ];
    wanted.sort_by_key(|e| e["id"].to_string());
    assert_eq!(compute["endpoints"], json!(wanted));
    let all = s.get(&c.1, "/v3/auth/catalog").body["catalog"].to_string();
    assert!(!all.contains("image"), "{all}");
    // On a domain there is no project to fill in.
    let of_domain = on_domain(&s, "d", "reader", "default");
    assert_eq!(catalog(&of_domain).expect("the service")["endpoints"].as_array().map(Vec::len), Some(1));

    // Endpoints that are named for the project leave the others out.
    in_db(&s, async |tx| {
        tx.raw(
            &System::CommandLine,
            "INSERT INTO project_endpoint (endpoint_id, project_id) VALUES (?, ?)",
            vicar::args![&plain, &project],
        )
        .await
        .expect("an association");
    });
    assert_eq!(catalog(&c.1).expect("the service")["endpoints"].as_array().map(Vec::len), Some(1));
    let all = s.get(&c.1, "/v3/auth/catalog").body["catalog"].as_array().map(Vec::len);
    assert_eq!(all, Some(1));
    in_db(&s, async |tx| {
        for sql in [
            "INSERT INTO endpoint_group (id, name, filters) VALUES ('g', 'g', '{\"interface\": \"internal\"}')",
            "INSERT INTO project_endpoint_group (endpoint_group_id, project_id) SELECT 'g', project_id FROM project_endpoint",
        ] {
            tx.raw(&vicar::system::System::CommandLine, sql, &[]).await.expect("a group");
        }
    });
    let all = s.get(&c.1, "/v3/auth/catalog").body["catalog"].as_array().map(Vec::len);
    assert_eq!(all, Some(2), "the identity service's internal endpoint");
}

#[test]
fn links_to_next_pages_work_for_any_id() {
    let s = Server::start();
    let c = Client(&s, s.admin());
    let ids = ["a&b", "a+b %41", "a=b#c", "é/?"];
    for id in ids {
        c.make("region", json!({"id": id}));
    }
    let mut found = Vec::new();
    let mut next = Some(format!("{}/v3/regions?limit=1&description=", s.url));
    while let Some(link) = next {
        let page = c.get(link.strip_prefix(&s.url).expect("a link to this server")).expect(200);
        found.extend(page.body["regions"].as_array().expect("regions").iter().map(|r| r["id"].clone()));
        assert!(found.len() <= 10, "{link}");
        next = page.body["links"]["next"].as_str().map(str::to_owned);
    }
    for id in ids {
        assert_eq!(found.iter().filter(|f| **f == id).count(), 1, "{id}: {found:?}");
    }
}
