//! `vicar why`, with a server that runs and without one.

use super::explain::{login, post};
use super::*;

fn why(s: &Scratch, args: &[&str]) -> Output {
    let mut all = vec!["why"];
    all.extend(args);
    run(s, &all)
}

#[test]
fn a_verdict_is_explained_at_the_machine_and_nothing_is_written() {
    let s = Scratch::new();
    let config = s.config("");
    let server = serve(&s, &["--config-file", &config], &[("VICAR_BOOTSTRAP_PASSWORD", "pw")]);
    let on_admin = json!({"project": {"name": "admin", "domain": {"id": "default"}}});
    let (admin, admin_id) = login(&server, "admin", on_admin.clone());
    let (_, made) = post(&server, "/users", &admin, json!({"user": {"name": "bob", "password": "pw"}}));
    let bob_id = made["user"]["id"].as_str().expect("an id").to_owned();
    let (bob, _) = login(&server, "bob", json!("unscoped"));
    let token = server_token(&server, &admin);
    let project = token["token"]["project"]["id"].as_str().expect("an id").to_owned();
    let trust = json!({"trust": {
        "trustor_user_id": admin_id, "trustee_user_id": bob_id, "project_id": project, "impersonation": true,
        "roles": [{"name": "reader"}],
    }});
    let (_, made) = post(&server, "/OS-TRUST/trusts", &admin, trust);
    let trust = made["trust"]["id"].as_str().expect("an id").to_owned();
    let file = format!("@{}", s.file("token", format!("{admin}\n")));
    let target = format!("user_id={bob_id}");

    let whole = why(&s, &[&file, "identity:delete_user", "--target", &target]);
    for line in [
        "allowed",
        "yes token: it is valid until",
        "yes policy: identity:delete_user is allowed: rule:admin_required holds",
        "yes role:admin: the token has",
        &format!("request: DELETE /v3/users/{bob_id} is allowed"),
    ] {
        expect(&whole, 0, line);
    }
    let no = why(&s, &[&trust, "identity:delete_user", "--target", &target]);
    for line in [
        "refused",
        &format!("yes trust: trust {trust} is live"),
        &format!("link: link 0, trust {trust}: user {admin_id} delegates reader to user {bob_id}"),
        "no  role:admin: the token has reader",
        "vicar: it is refused, as said above",
    ] {
        expect(&no, 1, line);
    }
    expect(&why(&s, &[&trust]), 0, "yes trust:");
    expect(&why(&s, &[&trust, "POST /v2.1/servers", "--service", "compute"]), 0, "the service decides");

    // For programs; and by standard input, of a token that is dead.
    let json = why(&s, &[&file, "GET /v3/users", "--json"]);
    let json: Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!((&json["allowed"], &json["because"][0]["step"]), (&json!(true), &json!("token")));
    let revoked = delete(&server, &format!("/users/{bob_id}/tokens"), &admin);
    assert_eq!(revoked, 204);
    let stdin = s.file("bob", &bob);
    let mut c = vicar(&["why", "-", "identity:create_trust", "--config-file", &config]);
    c.arg("--data-dir").arg(s.data()).stdin(std::fs::File::open(stdin).expect("opens"));
    expect(&finish(c), 1, &format!("a revocation of the tokens of user {bob_id}"));

    // What cannot be asked, and what is not there.
    expect(&why(&s, &[&trust, "identity:delete_usr"]), 2, "did you mean identity:delete_user?");
    expect(&why(&s, &[&trust, "identity:get_group"]), 2, "target: must name group_id for identity:get_group");
    expect(&why(&s, &[&trust, "GET /v3/nowhere"]), 2, "path: no route of this API has this path");
    expect(&why(&s, &["missing", "identity:get_trust"]), 1, "Could not find trust: missing.");
    expect(&why(&s, &["@/nowhere/token"]), 4, "/nowhere/token");

    // All the same when the server is away.
    drop(server);
    expect(&why(&s, &[&file, "identity:delete_user", "--target", &target]), 0, "allowed");
    assert_eq!(count(&s, "SELECT COUNT(*) FROM \"user\" WHERE enabled"), 2, "nobody is deleted");
}

/// A token as the server shows it.
fn server_token(server: &Running, token: &str) -> Value {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let url = format!("{}/auth/tokens", server.url);
    let request = agent.get(url).header("X-Auth-Token", token).header("X-Subject-Token", token);
    let text = request.call().expect("an answer").body_mut().read_to_string().expect("text");
    serde_json::from_str(&text).expect("JSON")
}

fn delete(server: &Running, path: &str, token: &str) -> u16 {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let request = agent.delete(format!("{}{path}", server.url)).header("X-Auth-Token", token);
    request.call().expect("an answer").status().as_u16()
}
