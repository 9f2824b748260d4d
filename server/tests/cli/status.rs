//! `vicar status`: what a running server says of itself.

use super::*;

fn free_port() -> String {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").to_string()
}

fn status(at: &str, more: &[&str]) -> Output {
    let mut c = vicar(&["status", "--metrics-listen", at]);
    c.args(more);
    finish(c)
}

#[test]
fn a_running_server_is_shown() {
    let s = Scratch::new();
    let config = s.config("");
    let at = free_port();
    let all = ["--config-file", &config, "--metrics-listen", &at, "--public-url", "http://id.example"];
    let server = serve(&s, &all, &[("OS_BOOTSTRAP_PASSWORD", "pw")]);
    let listens = server.screen.iter().find_map(|l| l.trim().strip_prefix("listens on     ")).expect("said");
    // The reaper's first round may not be over yet.
    let end = Instant::now() + Duration::from_secs(20);
    while String::from_utf8_lossy(&status(&at, &[]).stdout).contains("has not run") {
        assert!(Instant::now() < end, "the reaper never ran");
    }
    let shown = status(&at, &[]);
    for line in [
        "Vicar ",
        " at http://id.example/v3: ready",
        "  running since    2",
        &format!("  listens on       {listens}, answers"),
        "  database         SQLite, it and the keys can be used",
        "  schema           Keystone's, and ours in version ",
        "  connections      ",
        "  requests         ",
        "  token keys       2, rotated 2",
        "  credential keys  2, rotated 2",
        "  reaper           ran 2",
    ] {
        expect(&shown, 0, line);
    }
    assert!(!shown.stdout.contains(&0x1b), "no colour in a pipe");
    let json = status(&at, &["--json"]);
    let json: Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(json["ready"], true, "{json}");
    assert_eq!((&json["url"], &json["address"]), (&json!("http://id.example"), &json!(listens)));
    assert_eq!(json["keys"]["fernet"]["count"], json!(2));
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
    let rotated = json["keys"]["fernet"]["rotated_at"].clone();
    expect(&run(&s, &["keys", "rotate"]), 0, "is 2 now");
    let json: Value = serde_json::from_slice(&status(&at, &["--json"]).stdout).expect("JSON");
    assert_eq!(json["keys"]["fernet"]["count"], json!(3), "as it is now, not as it was");
    assert!(json["keys"]["fernet"]["rotated_at"].as_str() >= rotated.as_str());
    // By the variable that the server itself reads.
    let mut c = vicar(&["status"]);
    c.env("VICAR_METRICS_LISTEN", &at);
    expect(&finish(c), 0, ": ready");
    drop(server);
    expect(&status(&at, &[]), 1, "is the server running");
    expect(&status("off", &[]), 1, "metrics are off");
    expect(&status("here", &[]), 2, "--metrics-listen");
}

#[test]
fn a_server_that_encrypts_is_shown_whoever_signed_it() {
    let s = Scratch::new();
    let config = s.config("");
    let made = rcgen::generate_simple_self_signed(["id.example".to_owned()]).expect("a certificate");
    let cert = s.file("cert.pem", made.cert.pem());
    let key = s.file("key.pem", made.signing_key.serialize_pem());
    let at = free_port();
    let all = ["--config-file", &config, "--metrics-listen", &at, "--tls-cert", &cert, "--tls-key", &key];
    let _server = serve(&s, &all, &[]);
    expect(&status(&at, &[]), 0, ", answers");
}

/// Something that answers on a port of its own, by path.
fn fake(answers: &'static [(&'static str, u16, &'static str)]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("an address").to_string();
    let own = at.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { break };
            let mut line = String::new();
            let mut reader = BufReader::new(stream.try_clone().expect("a copy"));
            let _ = reader.read_line(&mut line);
            let mut rest = String::new();
            while reader.read_line(&mut rest).is_ok_and(|n| n > 2) {
                rest.clear();
            }
            let path = line.split(' ').nth(1).unwrap_or_default();
            let (_, status, body) = answers.iter().find(|a| a.0 == path).unwrap_or(&("", 404, ""));
            let body = body.replace("ADDRESS", &own);
            let _ = write!(
                stream,
                "HTTP/1.1 {status} x\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    at
}

const METRICS: &str = "vicar_build_info{version=\"1\"} 1\nvicar_server_info{address=\"ADDRESS\",url=\"http://h\",tls=\"false\",engine=\"SQLite\",schema=\"5\"} 1\n";

#[test]
fn one_that_is_not_ready_is_said_to_be_so() {
    let away = fake(&[("/metrics", 200, METRICS), ("/readyz", 503, ""), ("/", 300, ""), ("/v3", 200, "")]);
    expect(&status(&away, &[]), 1, ": NOT READY");
    expect(&status(&away, &[]), 1, "can NOT be used");
    let json: Value = serde_json::from_slice(&status(&away, &["--json"]).stdout).expect("JSON");
    assert_eq!((&json["ready"], &json["database_and_keys"]), (&json!(false), &json!(false)));
    let mute = fake(&[("/metrics", 200, METRICS), ("/readyz", 200, ""), ("/", 300, ""), ("/v3", 500, "")]);
    expect(&status(&mute, &[]), 1, "does NOT answer: /v3 is answered with 500");
    let other = fake(&[("/metrics", 200, "up 1\n"), ("/readyz", 200, "")]);
    expect(&status(&other, &[]), 1, "another program");
    let none = fake(&[]);
    expect(&status(&none, &[]), 1, "/metrics is answered with 404");
    let ready = fake(&[("/metrics", 200, METRICS), ("/readyz", 200, ""), ("/", 300, ""), ("/v3", 200, "")]);
    expect(&status(&ready, &[]), 0, ": ready");
}
