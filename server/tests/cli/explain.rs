//! `vicar policy show`, `explain` and what `check` compares.

use super::*;

/// Answers of a server: the token in the header, and the body.
pub(super) fn post(server: &Running, path: &str, token: &str, body: Value) -> (String, Value) {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let request = agent.post(format!("{}{path}", server.url)).header("X-Auth-Token", token);
    let mut answer =
        request.content_type("application/json").send(body.to_string().as_bytes()).expect("an answer");
    let token =
        answer.headers().get("x-subject-token").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let body = answer.body_mut().read_to_string().expect("text");
    assert!(answer.status().is_success(), "{path}: {body}");
    (token, serde_json::from_str(&body).expect("JSON"))
}

pub(super) fn login(server: &Running, user: &str, scope: Value) -> (String, String) {
    let auth = json!({"auth": {
        "identity": {"methods": ["password"], "password": {"user": {
            "name": user, "domain": {"id": "default"}, "password": "pw"}}},
        "scope": scope,
    }});
    let (token, body) = post(server, "/auth/tokens", "", auth);
    (token, body["token"]["user"]["id"].as_str().expect("an id").to_owned())
}

fn explain(s: &Scratch, token: &str, args: &[&str]) -> Output {
    let config = s.path("vicar.conf").display().to_string();
    let mut c = vicar(&["policy", "explain", "--config-file", &config, "--token", token]);
    c.arg("--data-dir").arg(s.data()).args(args);
    finish(c)
}

#[test]
fn a_decision_is_explained_by_what_is_stored_and_nothing_is_written() {
    let s = Scratch::new();
    let config = s.config("");
    let server = serve(&s, &["--config-file", &config], &[("VICAR_BOOTSTRAP_PASSWORD", "pw")]);
    let (admin, admin_id) =
        login(&server, "admin", json!({"project": {"name": "admin", "domain": {"id": "default"}}}));
    let new = json!({"user": {"name": "bob", "password": "pw"}});
    let (_, made) = post(&server, "/users", &admin, new);
    let bob_id = made["user"]["id"].as_str().expect("an id").to_owned();
    let (bob, _) = login(&server, "bob", json!("unscoped"));
    let users = || count(&s, "SELECT COUNT(*) FROM \"user\"");
    let before = users();

    // By a request, and by an operation with the id of its object.
    let path = format!("DELETE /v3/users/{bob_id}");
    let object = format!("user_id={bob_id}");
    for what in [&[path.as_str()][..], &["identity:delete_user", "--object", &object]] {
        let told = explain(&s, &bob, what);
        for line in [
            "identity:delete_user: refused",
            "fact  target.user.name = bob",
            "no  rule:identity:delete_user (shipped)",
            "no  role:admin: the token has no role",
            "the request is answered with 403",
        ] {
            expect(&told, 0, line);
        }
        let told = explain(&s, &admin, what);
        for line in [
            "identity:delete_user: allowed",
            "yes role:admin",
            "the request is allowed; it was ended before it wrote",
        ] {
            expect(&told, 0, line);
        }
    }
    assert_eq!(users(), before, "nobody is deleted");

    // By facts that are given.
    let own = format!("target.trust.trustor_user_id={bob_id}");
    let trust = ["identity:create_trust", "--target", &own];
    expect(&explain(&s, &bob, &trust), 0, "identity:create_trust: allowed");
    expect(
        &explain(&s, &admin, &trust),
        0,
        &format!("the token says `{admin_id}`; target.trust.trustor_user_id is `{bob_id}`"),
    );

    // For programs, and by an operator's file.
    let rules =
        s.file("rules.yaml", "\"identity:get_user\": \"role:ops or not user_id:%(target.user.id)s\"\n");
    let json = explain(&s, &bob, &[&format!("/v3/users/{admin_id}"), "--json", "--file", &rules]);
    let json: Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(json["answer"]["status"], 200, "{json:#}");
    let decision = &json["decisions"][0];
    assert_eq!((&decision["operation"], &decision["allowed"]), (&json!("identity:get_user"), &json!(true)));
    assert_eq!(decision["rule"]["source"], rules.as_str());
    let any = &decision["rule"]["of"][0]["of"];
    assert_eq!((&any[0]["check"], &any[0]["holds"]), (&json!("role:ops"), &json!(false)));
    assert_eq!((&any[1]["check"], &any[1]["holds"]), (&json!("not"), &json!(true)));

    // The token from a file, from standard input, and what is no token.
    let file = s.file("token", format!("{bob}\n"));
    let mut c = vicar(&[
        "policy",
        "explain",
        "--config-file",
        &config,
        "--token-file",
        &file,
        "identity:list_regions",
    ]);
    c.arg("--data-dir").arg(s.data());
    expect(&finish(c), 0, "identity:list_regions: allowed");
    let mut c = vicar(&["policy", "explain", "--config-file", &config, "identity:list_regions"]);
    c.arg("--data-dir").arg(s.data()).stdin(std::fs::File::open(&file).expect("opens"));
    expect(&finish(c), 0, "identity:list_regions: allowed");
    expect(&explain(&s, "gAAAA", &["identity:get_user"]), 1, "the token is not valid: ");

    // What cannot be asked.
    expect(&explain(&s, &bob, &["identity:get_usr"]), 2, "did you mean identity:get_user?");
    expect(&explain(&s, &bob, &["GET /v3/nowhere"]), 2, "no route has this path: /v3/nowhere");
    expect(
        &explain(&s, &bob, &["identity:get_user", "--object", "id=x"]),
        2,
        "names not all that is in a path",
    );
    expect(&explain(&s, &bob, &["identity:get_user", "--target", "target.secret=x"]), 2, "is no fact");
    expect(&explain(&s, &bob, &["GET /v3/OS-TRUST/trusts/x"]), 0, "the policy is not asked: 404");
    drop(server);
}

#[test]
fn the_rules_in_force_are_shown_with_where_they_are_from() {
    let s = Scratch::new();
    let rules = s.file("rules.yaml", "\"identity:list_roles\": \"@\"\n");
    let show = |more: &[&str]| {
        let mut c = vicar(&["policy", "show", "--file", &rules]);
        c.args(more);
        finish(c)
    };
    let shown = show(&["list_roles"]);
    for line in [
        "identity:list_roles\n  rule    @\n  scopes  system, domain, project or none\n",
        &format!("  from    {rules}\n  routes  GET /v3/roles\n"),
        "identity:list_roles_for_trust\n",
    ] {
        expect(&shown, 0, line);
    }
    let shown = show(&["DELETE /v3/OS-TRUST/trusts/8f1c"]);
    for line in ["identity:delete_trust\n", "vicar:renounce_trust\n", "  from    shipped\n"] {
        expect(&shown, 0, line);
    }
    assert!(!String::from_utf8_lossy(&shown.stdout).contains("identity:get_trust"));
    let json: Value = serde_json::from_slice(&show(&["--json"]).stdout).expect("JSON");
    assert_eq!(json.as_array().map(Vec::len), Some(vicar_rules::policy::OPERATIONS.len()));
    expect(&show(&["identity:list_rolls"]), 2, "did you mean identity:list_roles?");
    expect(&show(&["/v3/nowhere"]), 2, "no route has this path");
    expect(&show(&["PUT /v3/users?x=y"]), 2, "/v3/users is served with GET, HEAD, POST, and not with PUT");
    expect(&show(&["POST /v3/auth/tokens"]), 2, "no operation is asked for by POST /v3/auth/tokens");
}

#[test]
fn rules_that_are_referred_to_and_not_there_are_named() {
    let s = Scratch::new();
    let rules = s.file(
        "rules.yaml",
        "\"identity:get_region\": \"rule:nope or role:x\"\n\"identity:get_user\": \"not rule:mid\"\n\
         \"mid\": \"rule:gone\"\n",
    );
    let checked = finish(vicar(&["policy", "check", &rules]));
    for line in [
        "ok       identity:get_region: `rule:nope` holds for nobody, as there is no such rule\n",
        "refuses  identity:get_user: `not rule:mid`: it is denied, but refers to a rule that is not there: gone\n",
        "ok       mid: `rule:gone` holds for nobody, as there is no such rule\n",
    ] {
        let out = String::from_utf8_lossy(&checked.stdout);
        assert!(out.contains(line), "no `{line}` in {out}");
    }
    let json = finish(vicar(&["policy", "check", "--json", &rules]));
    let json: Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(json["rules"][0]["missing"], json!(["nope"]));
    let with_default = s.file("more.yaml", "\"default\": \"@\"\n\"identity:get_region\": \"rule:nope\"\n");
    let checked = finish(vicar(&["policy", "check", &with_default]));
    assert!(
        !String::from_utf8_lossy(&checked.stdout).contains("no such rule"),
        "the default takes its place"
    );
}

#[test]
fn rules_that_are_wider_misspelt_or_for_nobody_are_named() {
    let s = Scratch::new();
    let rules = s.file(
        "rules.yaml",
        "\"identity:create_region\": \"role:admin or role:ops\"\n\"identity:list_roles\": \"@\"\n\
         \"identity:get_region\": \"role:a and not role:a\"\n\"identity:get_usr\": \"role:admin\"\n\
         \"identity:delete_region\": \"role:admin and system_scope:all\"\n\"service_role\": \"role:service or role:x\"\n",
    );
    let checked = finish(vicar(&["policy", "check", &rules]));
    for line in [
        "ok       identity:create_region: it allows what the shipped rule refuses, for example with role:ops\n",
        "ok       identity:list_roles: it allows what the shipped rule refuses, with any token\n",
        "ok       identity:get_region: nobody can pass it\n",
        "idle     identity:get_usr: nothing here asks for it, so it guards nothing; did you mean identity:get_user?\n",
        "ok       identity:delete_region: understood\n",
        // It is wider because of a rule that it refers to.
        "ok       identity:ec2tokens_validate: it allows what the shipped rule refuses, for example with role:x\n",
        " allow more than the shipped rules, 1 can be passed by nobody\n",
    ] {
        let out = String::from_utf8_lossy(&checked.stdout);
        assert!(out.contains(line), "no `{line}` in {out}");
    }
    assert_eq!(checked.status.code(), Some(0));
    let json = finish(vicar(&["policy", "check", "--json", &rules]));
    let json: Value = serde_json::from_slice(&json.stdout).expect("JSON");
    let rule = |name: &str| {
        json["rules"].as_array().and_then(|all| all.iter().find(|r| r["name"] == name)).expect(name)
    };
    assert_eq!(rule("identity:create_region")["wider"], json!(["role:ops"]));
    assert_eq!(rule("identity:get_region")["nobody"], true);
    assert_eq!(rule("identity:get_usr")["nearest"], "identity:get_user");
    assert_eq!(rule("identity:delete_region")["wider"], Value::Null);
}
