//! Versions and the JSON home document.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use vicar::operations::ABOUT;
use vicar::routes::ROUTES;

use crate::support::{Answer, Server, pretty, reviewed};

fn get(s: &Server, path: &str, accept: &str) -> Answer {
    let headers: &[(&str, &str)] = if accept.is_empty() { &[] } else { &[("Accept", accept)] };
    s.call("GET", path, headers, None)
}

#[test]
fn the_versions_are_told_without_a_token() {
    let s = Server::start();
    let root = get(&s, "/", "").expect(300);
    assert_eq!(root.header("location"), Some(format!("{}/v3/", s.url).as_str()));
    let version = &root.body["versions"]["values"][0];
    assert_eq!((&version["id"], &version["status"]), (&json!("v3.14"), &json!("stable")));
    for path in ["/v3", "/v3/"] {
        let v3 = get(&s, path, "").expect(200);
        assert_eq!(v3.body["version"], *version);
    }
    assert_eq!(version["links"][0]["href"], format!("{}/v3/", s.url));
}

/// The documents are kept, and each of them is one host's.
#[test]
fn nobody_gets_the_links_of_another_host() {
    let s = Server::start();
    for _ in 0..2 {
        for (host, url) in [
            ("one.example", "http://one.example"),
            ("two.example:5000", "http://two.example:5000"),
            ("one.example:80", "http://one.example"),
            ("ONE.example", "http://ONE.example"),
        ] {
            let ask = |path: &str| s.call("GET", path, &[("Host", host)], None);
            let link = json!(format!("{url}/v3/"));
            assert_eq!(ask("/v3").expect(200).body["version"]["links"][0]["href"], link);
            let root = ask("/").expect(300);
            assert_eq!(root.header("location").map(|at| json!(at)).as_ref(), Some(&link));
            assert_eq!(root.body["versions"]["values"][0]["links"][0]["href"], link);
            assert_eq!(root.header("content-type"), Some("application/json"));
            let head = s.call("HEAD", "/v3", &[("Host", host)], None).expect(200);
            assert_eq!(head.header("content-length"), Some(ask("/v3").text.len().to_string().as_str()));
        }
    }
}

#[test]
fn a_path_that_is_not_utf_8_is_the_clients_fault() {
    let s = Server::start();
    let answer = get(&s, "/v3/users/%ff", "").expect(400);
    assert!(
        answer.body["error"]["message"].as_str().is_some_and(|m| m.contains("user_id")),
        "{}",
        answer.text
    );
}

#[test]
fn a_home_document_is_for_those_who_like_it_best() {
    let s = Server::start();
    let home = get(&s, "/v3", "application/json-home").expect(200);
    assert_eq!(home.header("content-type"), Some("application/json-home"));
    let rel = "https://docs.openstack.org/api/openstack-identity/3/rel/";
    let param = "https://docs.openstack.org/api/openstack-identity/3/param/";
    let resources = &home.body["resources"];
    assert_eq!(resources[format!("{rel}projects")], json!({"href": "/projects"}));
    assert_eq!(
        resources[format!("{rel}project_tags")],
        json!({
            "href-template": "/projects/{project_id}/tags/{value}",
            "href-vars": {"project_id": format!("{param}project_id"), "value": format!("{param}tag_value")},
        })
    );
    let trust = "https://docs.openstack.org/api/openstack-identity/3/ext/OS-TRUST/1.0/";
    assert_eq!(
        resources[format!("{trust}rel/trust")]["href-vars"]["trust_id"],
        format!("{trust}param/trust_id")
    );
    let root = get(&s, "/", "application/json;q=0.2, application/json-home").expect(200);
    assert_eq!(root.body["resources"][format!("{rel}projects")], json!({"href": "/v3/projects"}));
    for plain in [
        "",
        "*/*",
        "application/json",
        "text/html",
        "application/json-home;q=0.5, */*",
        "application/json, application/json-home",
        ";;,q=",
    ] {
        assert!(get(&s, "/v3", plain).expect(200).body.get("version").is_some(), "{plain}");
    }
}

/// Clients read relations and templates, so the whole document is kept.
#[test]
fn the_home_document_is_the_one_that_was_reviewed() {
    let s = Server::start();
    let home = get(&s, "/v3", "application/json-home").expect(200);
    reviewed("server/tests/api/golden/json_home.json", &pretty(&home.body));
    // At the root the same is served with longer paths.
    let longer = pretty(&home.body)
        .replace("\"href\": \"", "\"href\": \"/v3")
        .replace("\"href-template\": \"", "\"href-template\": \"/v3");
    assert_eq!(pretty(&get(&s, "/", "application/json-home").expect(200).body), longer);
}

/// What the document says is compared with every answer that a test gets (`support/contract.rs`), as both come
/// from the list of routes.
#[test]
fn the_openapi_document_is_the_one_that_was_reviewed() {
    let s = Server::start();
    let document = get(&s, "/v3/openapi.json", "").expect(200);
    assert_eq!(document.header("content-type"), Some("application/json"));
    reviewed("docs/openapi.json", &pretty(&document.body));
    let paths = document.body["paths"].as_object().expect("paths");
    let methods = ["get", "head", "put", "post", "patch", "delete"];
    let operations: Vec<&Value> =
        paths.values().flat_map(|item| methods.iter().filter_map(|m| item.get(m))).collect();
    assert_eq!(operations.len(), ROUTES.len());
    let ids: BTreeSet<&str> = operations.iter().filter_map(|o| o["operationId"].as_str()).collect();
    assert_eq!(ids.len(), ROUTES.len(), "each has an id of its own");
}

/// What a name does not say is said, of routes that are there.
#[test]
fn the_openapi_document_says_what_operations_do_and_which_headers_they_take() {
    let lost: Vec<_> = ABOUT.iter().filter(|about| !ROUTES.iter().any(|route| about.is_of(route))).collect();
    assert!(lost.is_empty(), "{lost:?}");
    let document = vicar::routes::document();
    let operation = |method: &str, path: &str| document["paths"][path][method].clone();
    let takes = |method: &str, path: &str| -> Vec<String> {
        let operation = operation(method, path);
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let headers = parameters.filter(|given| given["in"] == "header").map(|given| given["name"].clone());
        let schemes = operation["security"].as_array().into_iter().flatten();
        let schemes =
            schemes.filter_map(|way| way.as_object()?.keys().next().map(|k| Value::from(k.as_str())));
        headers.chain(schemes).filter_map(|name| name.as_str().map(str::to_owned)).collect()
    };
    assert_eq!(takes("post", "/v3/auth/tokens"), ["Openstack-Auth-Receipt", "OAuth"]);
    for method in ["get", "head"] {
        let all = takes(method, "/v3/auth/tokens");
        for name in ["X-Subject-Token", "OpenStack-Identity-Access-Rules", "X-Service-Token", "token"] {
            assert!(all.iter().any(|one| one == name), "{method}: {name}");
        }
    }
    assert_eq!(takes("post", "/v3/OS-OAUTH1/access_token"), ["OAuth"]);
    assert_eq!(takes("post", "/v3/OS-OAUTH2/token"), ["Basic"]);
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let reads = operation["summary"] == "Read the document";
            assert!(!reads || !path.contains("OS-") && method == "get", "{method} {path}");
        }
    }
}

#[test]
fn the_openapi_document_describes_the_bodies_that_are_forms() {
    let s = Server::start();
    let document = get(&s, "/v3/openapi.json", "").expect(200).body;
    let body = |path: &str| document["paths"][path]["post"]["requestBody"].clone();
    let form = "application/x-www-form-urlencoded";
    for path in ["/v3/OS-OAUTH1/request_token", "/v3/OS-OAUTH1/access_token"] {
        assert_eq!(body(path)["required"], json!(false), "{path}");
        assert_eq!(body(path)["content"][form]["schema"]["type"], json!("object"), "{path}");
    }
    let of_client = body("/v3/OS-OAUTH2/token");
    assert_eq!(of_client["required"], json!(true));
    assert_eq!(of_client["content"][form]["schema"]["required"], json!(["grant_type"]));
    let parts = of_client["content"][form]["schema"]["properties"].as_object().expect("parts");
    assert!(["grant_type", "client_id", "client_secret"].iter().all(|part| parts.contains_key(*part)));
}

#[test]
fn every_answer_of_a_route_is_described_in_objects_rs() {
    let missing = vicar::dispatch::openapi::undescribed(ROUTES, vicar::objects::OBJECTS);
    assert!(missing.is_empty(), "these have no line in server/src/objects.rs: {missing:#?}");
    let names: BTreeSet<&str> = vicar::objects::OBJECTS.iter().map(|o| o.name).collect();
    assert_eq!(names.len(), vicar::objects::OBJECTS.len(), "each has a name of its own");
}

#[test]
fn everything_in_the_home_document_is_served() {
    let s = Server::start();
    let home = get(&s, "/", "application/json-home").expect(200);
    for (relation, resource) in home.body["resources"].as_object().expect("a map") {
        let path = resource["href"].as_str().or(resource["href-template"].as_str()).expect("a path");
        let path = path.replace(['{', '}'], "");
        let answer = s.get("", &path);
        assert!(!answer.text.contains("requested URL was not found"), "{relation}: {path}");
    }
}

#[test]
fn a_slash_at_the_end_of_a_path_does_not_matter() {
    let s = Server::start();
    let t = s.admin();
    let list = s.get(&t, "/v3/projects/?name=admin").expect(200);
    assert_eq!(list.body["projects"].as_array().map(Vec::len), Some(1));
    assert_eq!(list.body["links"]["self"], format!("{}/v3/projects?name=admin", s.url));
    s.get(&t, "/v3/regions/RegionOne/").expect(200);
    s.get(&t, "//v3//regions//").expect(200);
}

#[test]
fn the_challenge_of_a_401_names_this_server() {
    let s = Server::start();
    let challenge = |s: &Server, path: &str, token: &str| {
        let answer = s.get(token, path).expect(401);
        answer.header("www-authenticate").unwrap_or_default().to_owned()
    };
    let own = format!("Keystone uri=\"{}/v3\"", s.url);
    assert_eq!(challenge(&s, "/v3/users", "no-token"), own);
    let login = s.login("nobody", "x", json!("unscoped")).expect(401);
    assert_eq!(login.header("www-authenticate"), Some(own.as_str()));
    let s = Server::with("[DEFAULT]\npublic_endpoint = https://id.example:5000/v3/\n");
    assert_eq!(challenge(&s, "/v3/users", "no-token"), "Keystone uri=\"https://id.example:5000/v3\"");
}
