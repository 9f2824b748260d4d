//! Rules of an operator's: what they may look at on each route, and what other servers say.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};
use vicar::config::PolicyOptions;

use crate::support::{Server, id, on_project, token};

/// A server with some objects, and alice, who is a member of the project `p` and may do nothing.
struct Cloud {
    s: Server,
    admin: String,
    alice: String,
    project: String,
    bob: String,
    group: String,
    role: String,
}

impl Cloud {
    fn new() -> Self {
        let s = Server::start();
        let admin = s.admin();
        let project = s.project("p");
        let alice = on_project(&s, "alice", "tester", &project);
        let bob = s.user("bob");
        let (group, role) = (s.group("ops", "default", &[&bob]), s.role("tester"));
        Self { s, admin, alice, project, bob, group, role }
    }

    fn with(&self, rules: &[(&str, &str)]) -> Server {
        self.s.replica_with_rules(rules, |_| {})
    }
}

#[test]
fn rules_see_the_objects_of_their_routes() {
    let c = Cloud::new();
    let Cloud { s, admin, alice, project, bob, group, role } = &c;
    let domain = s.domain("d");
    let one = |kind: &str, path: &str, body: Value| id(&s.post(admin, path, body).expect(201), kind);
    let service = one("service", "/v3/services", json!({"service": {"type": "compute", "name": "nova"}}));
    let endpoint = one(
        "endpoint",
        "/v3/endpoints",
        json!({"endpoint": {"service_id": service, "interface": "public", "url": "http://h", "region_id": "RegionOne"}}),
    );
    let credential = one(
        "credential",
        "/v3/credentials",
        json!({"credential": {"user_id": bob, "type": "cert", "blob": "x"}}),
    );
    let registered =
        json!({"registered_limits": [{"service_id": service, "resource_name": "cores", "default_limit": 1}]});
    s.post(admin, "/v3/registered_limits", registered).expect(201);
    let limit = json!({"limits": [{"service_id": service, "resource_name": "cores", "resource_limit": 1, "project_id": project}]});
    let limit = s.post(admin, "/v3/limits", limit).expect(201).body["limits"][0]["id"].clone();
    let limit = limit.as_str().expect("an id");
    let implied = s.role("implied");
    s.put(admin, &format!("/v3/roles/{role}/implies/{implied}")).expect(201);
    let trust = {
        let carol = s.user("carol");
        s.grant(&carol, project, "tester");
        let body = json!({"trust": {"trustor_user_id": carol, "trustee_user_id": bob, "project_id": project,
            "impersonation": false, "roles": [{"name": "tester"}]}});
        one_of(&s.post(&s.on("carol", project), "/v3/OS-TRUST/trusts", body).expect(201).body["trust"]["id"])
    };
    let user = format!(
        "'{bob}':%(target.user.id)s and 'bob':%(target.user.name)s and 'default':%(target.user.domain_id)s and True:%(target.user.enabled)s and None:%(target.user.default_project_id)s"
    );
    let of_user = format!("{user} and '{bob}':%(user_id)s");
    let of_group = format!(
        "'{group}':%(target.group.id)s and 'ops':%(target.group.name)s and 'default':%(target.group.domain_id)s and '{group}':%(group_id)s"
    );
    let of_project = format!(
        "'{project}':%(target.project.id)s and 'p':%(target.project.name)s and 'default':%(target.project.domain_id)s and False:%(target.project.is_domain)s and '{project}':%(project_id)s"
    );
    let of_role = format!(
        "'{role}':%(target.role.id)s and 'tester':%(target.role.name)s and None:%(target.role.domain_id)s and '{role}':%(role_id)s"
    );
    let cases: Vec<(&str, String, String)> = vec![
        ("identity:get_user", of_user.clone(), format!("/v3/users/{bob}")),
        ("identity:list_user_projects", of_user.clone(), format!("/v3/users/{bob}/projects")),
        ("identity:list_groups_for_user", of_user.clone(), format!("/v3/users/{bob}/groups")),
        ("identity:get_group", of_group.clone(), format!("/v3/groups/{group}")),
        ("identity:list_users_in_group", of_group.clone(), format!("/v3/groups/{group}/users")),
        (
            "identity:get_project",
            format!(
                "{of_project} and True:%(target.project.enabled)s and 'default':%(target.project.parent_id)s"
            ),
            format!("/v3/projects/{project}"),
        ),
        ("identity:list_project_tags", of_project.clone(), format!("/v3/projects/{project}/tags")),
        (
            "identity:get_domain",
            format!(
                "'{domain}':%(target.domain.id)s and 'd':%(target.domain.name)s and True:%(target.domain.enabled)s and '{domain}':%(domain_id)s"
            ),
            format!("/v3/domains/{domain}"),
        ),
        ("identity:get_role", of_role, format!("/v3/roles/{role}")),
        (
            "identity:list_grants",
            format!("{of_user} and {of_project}"),
            format!("/v3/projects/{project}/users/{bob}/roles"),
        ),
        (
            "identity:list_system_grants_for_group",
            of_group.clone(),
            format!("/v3/system/groups/{group}/roles"),
        ),
        (
            "identity:get_implied_role",
            format!(
                "'tester':%(target.prior_role.name)s and '{role}':%(target.prior_role.id)s and 'implied':%(target.implied_role.name)s and None:%(target.implied_role.domain_id)s and '{implied}':%(implied_role_id)s and '{role}':%(prior_role_id)s"
            ),
            format!("/v3/roles/{role}/implies/{implied}"),
        ),
        (
            "identity:get_credential",
            format!(
                "'{credential}':%(target.credential.id)s and 'cert':%(target.credential.type)s and '{bob}':%(target.credential.user_id)s and None:%(target.credential.project_id)s and '{credential}':%(credential_id)s"
            ),
            format!("/v3/credentials/{credential}"),
        ),
        (
            "identity:get_trust",
            format!(
                "'{trust}':%(target.trust.id)s and '{bob}':%(target.trust.trustee_user_id)s and '{project}':%(target.trust.project_id)s and False:%(target.trust.impersonation)s and None:%(target.trust.redelegated_trust_id)s and '{trust}':%(trust_id)s"
            ),
            format!("/v3/OS-TRUST/trusts/{trust}"),
        ),
        (
            "identity:get_endpoint",
            format!(
                "'{endpoint}':%(target.endpoint.id)s and 'public':%(target.endpoint.interface)s and '{service}':%(target.endpoint.service_id)s and 'RegionOne':%(target.endpoint.region_id)s and True:%(target.endpoint.enabled)s and '{endpoint}':%(endpoint_id)s"
            ),
            format!("/v3/endpoints/{endpoint}"),
        ),
        (
            "identity:get_limit",
            format!(
                "'{limit}':%(target.limit.id)s and '{project}':%(target.limit.project_id)s and '{project}':%(target.limit.project.id)s and 'default':%(target.limit.project.domain_id)s and None:%(target.limit.domain_id)s and not 'x':%(target.limit.domain.id)s and 'cores':%(target.limit.resource_name)s and '{service}':%(target.limit.service_id)s and None:%(target.limit.region_id)s and '{limit}':%(limit_id)s"
            ),
            format!("/v3/limits/{limit}"),
        ),
        ("identity:get_service", format!("'{service}':%(service_id)s"), format!("/v3/services/{service}")),
        ("identity:get_region", "'RegionOne':%(region_id)s".into(), "/v3/regions/RegionOne".into()),
    ];
    let rules: Vec<(&str, &str)> = cases.iter().map(|(op, rule, _)| (*op, rule.as_str())).collect();
    let open = c.with(&rules);
    let opposite: Vec<(&str, String)> =
        cases.iter().map(|(op, rule, _)| (*op, format!("not ({rule})"))).collect();
    let opposite: Vec<(&str, &str)> = opposite.iter().map(|(op, rule)| (*op, rule.as_str())).collect();
    let closed = c.with(&opposite);
    for (op, _, path) in &cases {
        let status = open.get(alice, path).status;
        assert_eq!(status, 200, "{op}");
        assert_eq!(closed.get(alice, path).status, 403, "{op}, its opposite");
    }
    // Of a membership both ends, and a role that is granted.
    let both = format!("{of_user} and {of_group}");
    let granted = format!("{of_user} and {of_project} and 'tester':%(target.role.name)s");
    let open = c.with(&[("identity:check_user_in_group", &both), ("identity:create_grant", &granted)]);
    open.head(alice, &format!("/v3/groups/{group}/users/{bob}")).expect(204);
    open.put(alice, &format!("/v3/projects/{project}/users/{bob}/roles/{role}")).expect(204);
    open.put(alice, &format!("/v3/projects/{project}/users/{bob}/roles/{implied}")).expect(403);
}

fn one_of(value: &Value) -> String {
    value.as_str().expect("an id").to_owned()
}

#[test]
fn what_a_request_says_is_no_fact() {
    let c = Cloud::new();
    let body = json!({"user": {"name": "x", "domain_id": "default", "description": "x"}});
    let query = "/v3/users?name=x&user_id=x&filter_attr.name=x";
    for (op, rule) in [
        ("identity:create_user", "'x':%(target.user.name)s"),
        // What is proposed is not known, so nothing follows from its opposite either.
        ("identity:create_user", "not 'y':%(target.user.name)s"),
        ("identity:create_user", "'x':%(request_body.user.name)s"),
        ("identity:create_user", "not 'y':%(request_body.user.name)s"),
        ("identity:create_group", "'x':%(target.group.name)s"),
        ("identity:create_group", "not 'y':%(target.group.name)s"),
        ("identity:list_users", "'x':%(filter_attr.name)s"),
        ("identity:list_users", "not 'y':%(filter_attr.name)s"),
        ("identity:list_users", "'x':%(user_id)s"),
    ] {
        let s = c.with(&[(op, rule)]);
        match op {
            "identity:list_users" => s.get(&c.alice, query).expect(403),
            "identity:create_user" => s.post(&c.alice, "/v3/users", body.clone()).expect(403),
            _ => {
                let group = json!({"group": {"name": "x", "domain_id": "default"}});
                s.post(&c.alice, "/v3/groups", group).expect(403)
            }
        };
    }
    // Whose it shall be is known.
    let s = c.with(&[("identity:create_user", "'default':%(target.user.domain_id)s")]);
    s.post(&c.alice, "/v3/users", body).expect(201);
}

#[test]
fn a_rule_with_an_unknown_part_refuses_and_others_hold() {
    let c = Cloud::new();
    let s = c.with(&[
        ("identity:list_users", "not group:ops"),
        ("identity:get_user", "rule:mine or role:admin"),
        ("mine", "not user_id:%(target.secret)s"),
        ("identity:list_groups", "role:tester"),
    ]);
    let user = format!("/v3/users/{}", c.bob);
    for who in [&c.alice, &c.admin] {
        s.get(who, "/v3/users").expect(403);
        s.get(who, &user).expect(403);
    }
    s.get(&c.alice, "/v3/groups").expect(200);
    s.get(&c.admin, "/v3/roles").expect(200);
}

#[test]
fn credentials_of_the_caller() {
    let c = Cloud::new();
    for (rule, status) in [
        ("token.user.name:alice and user_domain_id:default and token.user.domain.name:Default", 200),
        ("token.project.name:p and token.project.domain.name:Default and token.is_domain:False", 200),
        ("token.methods:password and not token.methods:application_credential", 200),
        ("roles:tester and is_admin_project:True", 200),
        ("not token.user.name:alice", 403),
    ] {
        c.with(&[("identity:list_users", rule)]).get(&c.alice, "/v3/users").expect(status);
    }
    let special =
        |options: &mut PolicyOptions| options.admin_project = Some(("admin".into(), "Default".into()));
    let s = c.s.replica_with_rules(&[("identity:list_users", "is_admin_project:True")], special);
    s.get(&c.alice, "/v3/users").expect(403);
    s.get(&c.admin, "/v3/users").expect(200);
}

/// A server that decides, or is told to wait.
struct Judge {
    url: String,
    asked: mpsc::Receiver<String>,
    answers: mpsc::Sender<Option<&'static str>>,
}

impl Judge {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let (tell, asked) = mpsc::channel();
        let (answers, told) = mpsc::channel();
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if tell.send(read(&stream)).is_err() {
                    return;
                }
                // Without an answer the connection is kept until the other side gives up.
                match told.recv() {
                    Ok(Some(answer)) => write(stream, answer),
                    Ok(None) => drop((&stream).read(&mut [0])),
                    Err(_) => return,
                }
            }
        });
        Self { url, asked, answers }
    }

    fn says(&self, answer: &'static str) {
        self.answers.send(Some(answer)).expect("it listens");
    }

    fn question(&self) -> String {
        self.asked.recv_timeout(Duration::from_secs(60)).expect("it is asked")
    }
}

/// The head and the body of a request.
fn read(stream: &TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a line");
        if let Some(n) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = n.trim().parse().expect("a number");
        }
        if line.trim().is_empty() {
            break;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    format!("{head}\n{}", String::from_utf8(body).expect("text"))
}

fn write(mut stream: TcpStream, answer: &str) {
    let (status, body) = answer.split_once(' ').expect("a status");
    let _ = write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
}

#[test]
fn another_server_decides() {
    let c = Cloud::new();
    let judge = Judge::new();
    let url = format!("role:nobody or {}/users/%(target.user.id)s?of=%(target.user.domain_id)s", judge.url);
    let s = c.with(&[("identity:get_user", &url)]);
    let user = format!("/v3/users/{}", c.bob);
    for (answer, status) in [
        ("200 True", 200),
        ("200 \"True\"", 200),
        ("200 False", 403),
        ("200 true", 403),
        ("200 True ", 403),
        ("200 ", 403),
        ("500 True", 403),
        ("302 True", 403),
    ] {
        judge.says(answer);
        s.get(&c.alice, &user).expect(status);
        let asked = judge.question();
        assert!(asked.starts_with(&format!("POST /users/{}?of=default HTTP/1.1\r\n", c.bob)), "{asked}");
        assert!(asked.contains("application/x-www-form-urlencoded"), "{asked}");
        let body = asked.rsplit('\n').next().expect("a body");
        let fields: Vec<(String, String)> = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
        let field = |name: &str| -> Value {
            let found = fields.iter().find(|(n, _)| n == name).expect(name);
            serde_json::from_str(&found.1).expect("JSON")
        };
        assert_eq!(field("rule"), "identity:get_user");
        assert_eq!(field("target")["target.user.name"], "bob");
        assert_eq!(field("target")["target.user.enabled"], true);
        assert_eq!(field("target")["target.user.default_project_id"], Value::Null);
        assert_eq!(field("target")["user_id"], c.bob.as_str());
        let credentials = field("credentials");
        assert_eq!(credentials["project_id"], c.project.as_str());
        assert_eq!(credentials["roles"], json!(["tester"]));
        assert_eq!(credentials["domain_id"], Value::Null);
        assert_eq!(credentials["is_admin_project"], true);
        assert_eq!(credentials["token"]["user"]["domain"]["id"], "default");
        assert!(!asked.contains(&c.alice), "the token itself is told to nobody");
    }
    let in_json = |options: &mut PolicyOptions| options.remote.is_json = true;
    let s = c.s.replica_with_rules(&[("identity:get_user", &url)], in_json);
    judge.says("200 True");
    s.get(&c.alice, &user).expect(200);
    let asked = judge.question();
    let body: Value = serde_json::from_str(asked.rsplit('\n').next().expect("a body")).expect("JSON");
    assert_eq!(body["rule"], "identity:get_user");
    assert_eq!(body["credentials"]["user_id"], body["credentials"]["token"]["user"]["id"]);
}

#[test]
fn nothing_is_held_while_another_server_is_asked() {
    let c = Cloud::new();
    let judge = Judge::new();
    let url = format!("{}/", judge.url);
    let s = c.with(&[("identity:create_region", &url)]);
    let region = json!({"region": {"id": "r"}});
    let create = || s.post(&c.alice, "/v3/regions", region.clone());
    std::thread::scope(|scope| {
        let made = scope.spawn(create);
        judge.question();
        // Others read and write meanwhile, over the same few connections.
        s.get(&c.alice, "/v3/regions").expect(200);
        s.post(&c.admin, "/v3/services", json!({"service": {"type": "x", "name": "x"}})).expect(201);
        judge.says("200 True");
        made.join().expect("answered").expect(201);
    });
    // One answer is for one request.
    judge.says("200 False");
    s.delete(&c.admin, "/v3/regions/r").expect(204);
    create().expect(403);
}

#[test]
fn without_an_answer_nobody_is_allowed() {
    let c = Cloud::new();
    let judge = Judge::new();
    let user = format!("/v3/users/{}", c.bob);
    let short = |options: &mut PolicyOptions| options.remote.timeout = Duration::from_millis(100);
    for rule in ["{}/", "not {}/"] {
        let rule = rule.replace("{}", &judge.url);
        judge.answers.send(None).expect("it listens");
        let s = c.s.replica_with_rules(&[("identity:get_user", &rule)], short);
        s.get(&c.alice, &user).expect(403);
    }
    // Nobody listens there.
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
    for rule in
        [format!("http://{closed}/"), format!("not http://{closed}/"), "http:///".into(), "http:x".into()]
    {
        c.with(&[("identity:get_user", &rule)]).get(&c.alice, &user).expect(403);
    }
}

#[test]
fn a_request_asks_so_many_questions_and_no_more() {
    let c = Cloud::new();
    let judge = Judge::new();
    let all: Vec<String> = (0..40).map(|n| format!("{}/{n}", judge.url)).collect();
    let s = c.with(&[("identity:list_users", &all.join(" and "))]);
    (0..40).for_each(|_| judge.says("200 True"));
    s.get(&c.alice, "/v3/users").expect(403);
    assert_eq!(judge.asked.try_iter().count(), 16);
}

#[test]
fn the_manager_of_a_domain_is_an_operators_rule() {
    let c = Cloud::new();
    let domain = c.s.domain("d");
    let manager = {
        let user = c.s.user_with("boss", &domain, "pw");
        c.s.assign("UserDomain", &user, &domain, "domain-manager", false);
        token(&c.s, &user, json!({"domain": {"id": domain}}))
    };
    let s = c.with(&[
        ("is_domain_manager", "role:domain-manager"),
        ("is_domain_managed_role", "'member':%(target.role.name)s or 'reader':%(target.role.name)s"),
        (
            "identity:list_projects",
            "rule:admin_required or (rule:is_domain_manager and token.domain.id:%(target.domain_id)s)",
        ),
        (
            "identity:create_project",
            "rule:admin_required or (rule:is_domain_manager and token.domain.id:%(target.project.domain_id)s)",
        ),
        (
            "identity:create_user",
            "rule:admin_required or (rule:is_domain_manager and token.domain.id:%(target.user.domain_id)s)",
        ),
        (
            "identity:create_grant",
            "rule:admin_required or (rule:is_domain_manager and token.domain.id:%(target.user.domain_id)s and token.domain.id:%(target.project.domain_id)s and rule:is_domain_managed_role)",
        ),
    ]);
    let project = |domain: &str| json!({"project": {"name": "q", "domain_id": domain}});
    let user = |domain: &str| json!({"user": {"name": "u", "domain_id": domain}});
    let made = id(&s.post(&manager, "/v3/projects", project(&domain)).expect(201), "project");
    s.post(&manager, "/v3/projects", project("default")).expect(403);
    let member = id(&s.post(&manager, "/v3/users", user(&domain)).expect(201), "user");
    s.post(&manager, "/v3/users", user("default")).expect(403);
    s.get(&manager, "/v3/projects").expect(200);
    let grant = |user: &str, project: &str, role: &str| {
        let role = c.s.role(role);
        s.put(&manager, &format!("/v3/projects/{project}/users/{user}/roles/{role}")).status
    };
    assert_eq!(grant(&member, &made, "member"), 204);
    assert_eq!(grant(&member, &made, "admin"), 403);
    assert_eq!(grant(&member, &made, "domain-manager"), 403);
    assert_eq!(grant(&c.bob, &made, "member"), 403);
    assert_eq!(grant(&member, &c.project, "member"), 403);
}
