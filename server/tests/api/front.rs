//! What is in front of the server: health checks, proxies, pages of other origins.

use serde_json::json;

use crate::support::{Answer, Cast, PASSWORD, Server};

fn get(s: &Server, path: &str, headers: &[(&str, &str)]) -> Answer {
    s.call("GET", path, headers, None)
}

fn scratch() -> std::path::PathBuf {
    std::env::temp_dir().join(format!("vicar-test-{}", vicar::ids::uuid()))
}

/// The status, the kind and the body of each of these were compared with a Keystone's.
#[test]
fn health_is_told_in_the_form_that_is_asked_for() {
    let s = Server::with("[healthcheck]\nbackends = disable_by_file\ndisable_by_file_path = /no/such/file\n");
    for (accept, kind, body) in [
        ("", "text/plain; charset=UTF-8", "OK"),
        ("*/*", "text/plain; charset=UTF-8", "OK"),
        ("application/xml", "text/plain; charset=UTF-8", "OK"),
        ("text/html", "text/html; charset=UTF-8", "<td>OK</td>"),
        ("application/json", "application/json", "\"OK\""),
        ("*/*;q=0.1,application/json", "application/json", "\"OK\""),
    ] {
        let headers = [("Accept", accept)];
        let headers = if accept.is_empty() { &[][..] } else { &headers };
        let answer = get(&s, "/healthcheck", headers).expect(200);
        assert_eq!(answer.header("content-type"), Some(kind), "{accept}");
        assert!(answer.text.contains(body), "{accept}: {}", answer.text);
        assert!(answer.header("x-openstack-request-id").is_some());
    }
    let json = get(&s, "/healthcheck", &[("Accept", "application/json")]);
    assert_eq!(json.body, json!({"detailed": false, "reasons": ["OK"]}));
    assert_eq!(get(&s, "/healthcheck", &[]).text, "OK");
    let head = s.call("HEAD", "/healthcheck", &[], None).expect(204);
    assert_eq!(head.text, "");
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        s.call(method, "/healthcheck", &[], None).expect(200);
    }
    for path in ["/healthcheck/", "/healthcheck/any", "/healthcheck?x=1"] {
        get(&s, path, &[("X-Auth-Token", "nonsense")]).expect(200);
    }
    for path in ["/healthcheckx", "/v3/healthcheck"] {
        get(&s, path, &[]).expect(404);
    }
}

#[test]
fn without_backends_health_has_nothing_to_say() {
    let s = Server::start();
    assert_eq!(get(&s, "/healthcheck", &[]).expect(200).text, "");
    let json = get(&s, "/healthcheck", &[("Accept", "application/json")]).expect(200);
    assert_eq!(json.body, json!({"detailed": false, "reasons": []}));
}

#[test]
fn a_file_takes_the_server_out_of_service() {
    let file = scratch();
    let by_file = format!("backends = disable_by_file\ndisable_by_file_path = {}", file.display());
    let missing = format!("backends = enable_by_files\nenable_by_file_paths = /,{}", file.display());
    for (ini, is_well_without, reason) in
        [(&by_file, true, "DISABLED BY FILE"), (&missing, false, "FILE PATH MISSING")]
    {
        let s = Server::with(&format!("[healthcheck]\ndetailed = true\n{ini}\n"));
        for is_there in [false, true, false] {
            if is_there {
                std::fs::write(&file, "").expect("written");
            } else {
                let _ = std::fs::remove_file(&file);
            }
            let is_well = is_there != is_well_without;
            let (status, head) = if is_well { (200, 204) } else { (503, 503) };
            let answer = get(&s, "/healthcheck", &[]).expect(status);
            assert_eq!(answer.text, if is_well { "OK" } else { reason });
            s.call("HEAD", "/healthcheck", &[], None).expect(head);
            let json = get(&s, "/healthcheck", &[("Accept", "application/json")]).expect(status).body;
            assert_eq!(
                (&json["detailed"], &json["reasons"][0]["reason"]),
                (&json!(true), &answer.text.into())
            );
            let page = get(&s, "/healthcheck", &[("Accept", "text/html")]).expect(status).text;
            assert!(json["now"].is_string() && page.contains("Server status"), "{json} {page}");
        }
    }
    let s = Server::with("[healthcheck]\nbackends = disable_by_file,disable_by_files_ports\n");
    assert_eq!(get(&s, "/healthcheck", &[]).expect(200).text, "OK\nOK", "no file is configured");
}

#[test]
fn files_are_for_the_port_that_was_asked() {
    // The port is known only once the server runs: one server with files for all ports but one.
    let (file, spare) = (scratch(), scratch());
    std::fs::write(&file, "").expect("written");
    let all: Vec<String> = (1024..=65535).map(|port: u32| format!("{port}:{}", file.display())).collect();
    let s = Server::with(&format!(
        "[healthcheck]\nbackends = disable_by_files_ports\ndisable_by_file_paths = {},80:{}\n",
        all.join(","),
        spare.display()
    ));
    assert_eq!(get(&s, "/healthcheck", &[]).expect(503).text, "DISABLED BY FILE");
    std::fs::remove_file(&file).expect("removed");
    std::fs::write(&spare, "").expect("written");
    get(&s, "/healthcheck", &[]).expect(200);
    std::fs::remove_file(&spare).expect("removed");
}

#[test]
fn health_says_nothing_of_the_database() {
    let s = Server::start();
    s.change("ALTER TABLE vicar_schema RENAME COLUMN serves_from TO gone");
    let statuses = ["/healthcheck", "/readyz"].map(|path| get(&s, path, &[]).status);
    // The next test may get this database.
    s.change("ALTER TABLE vicar_schema RENAME COLUMN gone TO serves_from");
    assert_eq!(statuses, [200, 500]);
}

#[test]
fn health_may_be_for_some_only() {
    let ranges = "[healthcheck]\nallowed_source_ranges = 192.0.2.0/24,2001:db8::/32\n";
    let on = format!("{ranges}[oslo_middleware]\nenable_proxy_headers_parsing = true\n");
    let told = |s: &Server, address: &str| get(s, "/healthcheck", &[("X-Forwarded-For", address)]).status;
    let s = Server::with(&on);
    assert_eq!([told(&s, "192.0.2.9"), told(&s, "2001:db8::1"), told(&s, "192.0.3.9")], [200, 200, 404]);
    // Nobody is a proxy here: what it says is not believed.
    assert_eq!(told(&Server::with(ranges), "192.0.2.9"), 404);
    let s = Server::with("[healthcheck]\nignore_proxied_requests = true\n");
    get(&s, "/healthcheck", &[]).expect(200);
    for name in ["Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Prefix"] {
        get(&s, "/healthcheck", &[(name, "x")]).expect(404);
    }
}

/// As the tools ask: kolla's `healthcheck_curl` and HAProxy's `httpchk` take any 2xx, a probe of Kubernetes
/// everything below 400.
#[test]
fn probes_of_deployment_tools_pass() {
    let s = Server::start();
    for (method, path, agent) in [
        ("GET", "/healthcheck", "haproxy"),
        ("OPTIONS", "/healthcheck", "haproxy"),
        ("HEAD", "/healthcheck", "curl"),
        ("GET", "/v3/", "kube-probe/1.30"),
        ("GET", "/v3", "healthcheck-curl"),
        ("OPTIONS", "/", "haproxy"),
        ("GET", "/", "healthcheck-curl"),
    ] {
        let answer = s.call(method, path, &[("User-Agent", agent)], None);
        assert!((200..400).contains(&answer.status), "{method} {path}: {}", answer.status);
    }
}

const ON: &str = "[oslo_middleware]\nenable_proxy_headers_parsing = true\n";

/// Every place where an answer has a URL of this server's.
fn urls(s: &Server, prefix: &str, headers: &[(&str, &str)]) -> Vec<String> {
    let path = |path: &str| format!("{prefix}{path}");
    let with = |token: &str| -> Vec<(String, String)> {
        let mut all: Vec<_> = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        all.push(("X-Auth-Token".to_owned(), token.to_owned()));
        all
    };
    let token = s.admin();
    let with = with(&token);
    let with: Vec<(&str, &str)> = with.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let root = get(s, &path("/"), headers).expect(300);
    let v3 = get(s, &path("/v3"), headers).expect(200);
    let denied = get(s, &path("/v3/users"), headers).expect(401);
    let challenge = denied.header("www-authenticate").expect("a challenge");
    let challenge = challenge.strip_prefix("Keystone uri=\"").and_then(|rest| rest.strip_suffix('"'));
    let users = get(s, &path("/v3/users?limit=1"), &with).expect(200).body;
    let of = |json: &serde_json::Value| json.as_str().expect("a link").to_owned();
    vec![
        root.header("location").expect("a header").trim_end_matches("/v3/").to_owned(),
        of(&v3.body["version"]["links"][0]["href"]).trim_end_matches("/v3/").to_owned(),
        challenge.expect("a URI").trim_end_matches("/v3").to_owned(),
        of(&users["users"][0]["links"]["self"]).split("/v3/users/").next().expect("a part").to_owned(),
        of(&users["links"]["self"]).trim_end_matches("/v3/users?limit=1").to_owned(),
        of(&users["links"]["next"]).split("/v3/users?").next().expect("a part").to_owned(),
    ]
}

#[test]
fn every_link_is_below_what_the_client_asked_for() {
    let told = [
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "id.example:8443"),
        ("X-Forwarded-Prefix", "/identity"),
    ];
    let s = Server::with(ON);
    s.user("ann");
    for prefix in ["", "/identity"] {
        for url in urls(&s, prefix, &told) {
            assert_eq!(url, "https://id.example:8443/identity");
        }
    }
    for url in urls(&s, "", &[("Forwarded", "for=192.0.2.1;proto=https;host=id.example")]) {
        assert_eq!(url, "https://id.example");
    }
    // A public endpoint is what counts, whatever is asked for.
    let s = Server::with(&format!("{ON}[DEFAULT]\npublic_endpoint = https://public.example/keystone/v3/\n"));
    s.user("ann");
    for prefix in ["", "/keystone", "/identity"] {
        for url in urls(&s, prefix, &told) {
            assert_eq!(url, "https://public.example/keystone");
        }
    }
}

#[test]
fn whoever_is_not_named_is_not_believed() {
    let told = [
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded-Prefix", "/evil"),
        ("Forwarded", "proto=https;host=evil.example"),
    ];
    for ini in
        ["", "[oslo_middleware]\nenable_proxy_headers_parsing = true\n[vicar]\ntrusted_proxies = 192.0.2.1\n"]
    {
        let s = Server::with(ini);
        s.user("ann");
        for url in urls(&s, "", &told) {
            assert_eq!(url, s.url, "{ini}");
        }
        get(&s, "/evil/v3", &told).expect(404);
    }
}

#[test]
fn no_host_and_no_prefix_gets_out_of_its_place() {
    let s = Server::with(ON);
    s.user("ann");
    for header in [
        ("X-Forwarded-Host", "evil.example/path"),
        ("X-Forwarded-Host", "user@evil.example"),
        ("X-Forwarded-Host", "evil.example\", x=\""),
        ("X-Forwarded-Host", "evil.example?"),
        ("X-Forwarded-Host", "evil.example#"),
        ("X-Forwarded-Host", "evil.example\\"),
        ("X-Forwarded-Prefix", "//evil.example"),
        ("X-Forwarded-Prefix", "@evil.example"),
        ("X-Forwarded-Prefix", ".evil.example"),
        ("X-Forwarded-Prefix", "/a\"b"),
        ("X-Forwarded-Prefix", "/../x"),
        ("X-Forwarded-Proto", "javascript"),
        ("X-Forwarded-Proto", "https://evil.example/"),
        ("X-Forwarded-Port", "80@evil.example"),
        ("Forwarded", "host=\"evil.example/path\""),
        ("Forwarded", "host=evil.example, host=\"x"),
    ] {
        for url in urls(&s, "", &[header]) {
            assert_eq!(url, s.url, "{header:?}");
        }
    }
}

#[test]
fn a_challenge_names_a_whole_url_even_without_a_host() {
    use std::io::{Read, Write};
    let s = Server::start();
    let at = s.url.trim_start_matches("http://");
    for (head, wanted) in [
        ("GET /v3/users HTTP/1.0\r\n\r\n", format!("http://{at}/v3")),
        ("GET /v3/users HTTP/1.1\r\nHost: foo bar\r\nConnection: close\r\n\r\n", format!("http://{at}/v3")),
        ("GET /v3/users HTTP/1.1\r\nHost: \r\nConnection: close\r\n\r\n", format!("http://{at}/v3")),
        ("GET /v3/users HTTP/1.1\r\nHost: h:80\r\nConnection: close\r\n\r\n", "http://h/v3".to_owned()),
        (
            "GET http://id.example:1/v3/users HTTP/1.1\r\nHost: id.example:1\r\nConnection: close\r\n\r\n",
            "http://id.example:1/v3".to_owned(),
        ),
    ] {
        let mut stream = std::net::TcpStream::connect(at).expect("connects");
        stream.write_all(head.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let wanted = format!("www-authenticate: Keystone uri=\"{wanted}\"");
        assert!(answer.lines().any(|line| line.eq_ignore_ascii_case(&wanted)), "{head}: {answer}");
    }
}

/// The signature covers the host that the client asked the other service for: what a proxy tells this one has no
/// part in it.
#[test]
fn signed_requests_are_exchanged_behind_a_proxy() {
    let c = Cast::with(ON);
    let keypair =
        c.keypair(&c.s.on("alice", &c.p), &c.alice, json!({})).expect(201).body["credential"].clone();
    let body = c.signed(&keypair).to_string();
    let svc = c.svc();
    let headers = [
        ("X-Auth-Token", svc.as_str()),
        ("X-Forwarded-Host", "id.example"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Prefix", "/identity"),
        ("X-Forwarded-For", "198.51.100.7"),
    ];
    let token = c.s.call("POST", "/identity/v3/ec2tokens", &headers, Some(body.as_bytes())).expect(200);
    assert_eq!(token.body["token"]["user"]["id"], c.alice.as_str());
}

const CORS: &str = "[cors]\nallowed_origin = https://horizon.example,http://other.example:8080\n";
const EXPOSED: &str = "X-Auth-Token,X-Openstack-Request-Id,X-Subject-Token,Openstack-Auth-Receipt";

/// All headers of an answer that are about origins, in a fixed order.
fn cors_of(answer: &Answer) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = answer
        .headers
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("access-control-") || *name == "vary")
        .map(|(name, value)| (name.to_string(), value.to_str().expect("a string").to_owned()))
        .collect();
    all.sort();
    all
}

fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
}

/// What is wanted here is what a Keystone 30.0.0 answered.
#[test]
fn pages_of_other_origins_are_told_what_they_may_read() {
    let s = Server::with(CORS);
    let allowed = |origin: &'static str| {
        pairs(&[
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-origin", origin),
            ("access-control-expose-headers", EXPOSED),
            ("vary", "X-Auth-Token,Origin"),
        ])
    };
    let horizon = "https://horizon.example";
    for (method, path, status) in [
        ("GET", "/v3", 200),
        ("HEAD", "/v3", 200),
        ("GET", "/v3/projects", 401),
        ("GET", "/nothing", 404),
        ("POST", "/v3/auth/tokens", 400),
        ("GET", "/healthcheck", 200),
    ] {
        let answer = s.call(method, path, &[("Origin", horizon)], None).expect(status);
        assert_eq!(cors_of(&answer), allowed(horizon), "{method} {path}");
    }
    let other = "http://other.example:8080";
    assert_eq!(cors_of(&get(&s, "/v3", &[("Origin", other)])), allowed(other));
    let none = pairs(&[("vary", "X-Auth-Token")]);
    for origin in
        ["https://evil.example", "http://horizon.example", "https://horizon.example:443", "null", "*"]
    {
        assert_eq!(cors_of(&get(&s, "/v3", &[("Origin", origin)])), none, "{origin}");
    }
    assert_eq!(cors_of(&get(&s, "/v3", &[])), none);
    let token = s.admin();
    let with = [("Origin", horizon), ("X-Auth-Token", token.as_str())];
    assert_eq!(cors_of(&get(&s, "/v3/projects", &with).expect(200)), allowed(horizon));
}

#[test]
fn browsers_ask_before_a_request() {
    let s = Server::with(CORS);
    let ask = |path: &str, origin: &str, method: &str, names: &str| {
        let mut headers = vec![("Origin", origin)];
        if !method.is_empty() {
            headers.push(("Access-Control-Request-Method", method));
        }
        if !names.is_empty() {
            headers.push(("Access-Control-Request-Headers", names));
        }
        cors_of(&s.call("OPTIONS", path, &headers, None).expect(200))
    };
    let horizon = "https://horizon.example";
    let allowed = |method: &'static str, names: &'static str| {
        let mut all = pairs(&[
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-methods", method),
            ("access-control-allow-origin", horizon),
            ("access-control-max-age", "3600"),
            ("vary", "Origin"),
        ]);
        if !names.is_empty() {
            all.push(("access-control-allow-headers".to_owned(), names.to_owned()));
        }
        all.sort();
        all
    };
    let projects = "/v3/projects";
    assert_eq!(ask(projects, horizon, "GET", ""), allowed("GET", ""));
    assert_eq!(ask("/healthcheck", horizon, "GET", ""), allowed("GET", ""));
    assert_eq!(ask("/nothing", horizon, "GET", ""), allowed("GET", ""));
    let names = "x-auth-token, Content-Type";
    assert_eq!(ask(projects, horizon, "PATCH", names), allowed("PATCH", "x-auth-token,Content-Type"));
    assert_eq!(ask(projects, horizon, "GET", " , x-auth-token,,"), allowed("GET", "x-auth-token"));
    let none = pairs(&[("vary", "X-Auth-Token")]);
    for (origin, method, names) in [
        (horizon, "", ""),
        (horizon, "OPTIONS", ""),
        (horizon, "patch", ""),
        (horizon, "PATCH", "x-evil"),
        (horizon, "PATCH", "x-auth-token, x-evil"),
        ("https://evil.example", "GET", ""),
    ] {
        assert_eq!(ask(projects, origin, method, names), none, "{origin} {method} {names}");
    }
    // Without a question it is as before.
    let plain = s.call("OPTIONS", projects, &[], None).expect(200);
    assert_eq!((plain.header("allow"), cors_of(&plain)), (Some("GET, HEAD, OPTIONS, POST"), none));
}

#[test]
fn origins_may_differ_and_be_all() {
    let s = Server::with(
        "[cors]\nallowed_origin = *\nallow_credentials = false\nmax_age = 0\n\
         [cors.dashboard]\nallowed_origin = https://dashboard.example\nallow_credentials = true\nallow_methods = GET\n",
    );
    let ask = |origin: &str, method: &str| {
        let headers = [("Origin", origin), ("Access-Control-Request-Method", method)];
        cors_of(&s.call("OPTIONS", "/v3/users", &headers, None).expect(200))
    };
    assert_eq!(
        ask("https://any.example", "DELETE"),
        pairs(&[
            ("access-control-allow-methods", "DELETE"),
            ("access-control-allow-origin", "*"),
            ("vary", "Origin")
        ])
    );
    assert_eq!(
        ask("https://dashboard.example", "GET"),
        pairs(&[
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-methods", "GET"),
            ("access-control-allow-origin", "https://dashboard.example"),
            ("vary", "Origin")
        ])
    );
    assert_eq!(ask("https://dashboard.example", "DELETE"), pairs(&[("vary", "X-Auth-Token")]));
}

#[test]
fn nothing_of_this_is_needed_to_log_in_through_a_prefix() {
    let s = Server::with("[vicar]\npath_prefix = /identity\n");
    let auth = json!({"auth": {"identity": {"methods": ["password"], "password": {"user": {
        "name": "admin", "domain": {"id": "default"}, "password": PASSWORD}}}}});
    for path in ["/v3/auth/tokens", "/identity/v3/auth/tokens"] {
        s.call("POST", path, &[], Some(auth.to_string().as_bytes())).expect(201);
    }
    assert_eq!(
        get(&s, "/identity", &[]).expect(300).header("location"),
        Some(&*format!("{}/identity/v3/", s.url))
    );
}
