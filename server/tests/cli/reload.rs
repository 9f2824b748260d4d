//! What a running server reads again, at SIGHUP and by itself.

use super::*;

/// Waits until the log says something so many times.
#[track_caller]
pub(super) fn wait_until_said(s: &Scratch, what: &str, times: usize) -> String {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let said = std::fs::read_to_string(s.path("log")).unwrap_or_default();
        if said.lines().filter(|l| l.contains(what)).count() >= times {
            return said;
        }
        assert!(Instant::now() < end, "never said `{what}` {times} times: {said}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(super) fn hang_up(server: &Running) {
    let done = Command::new("kill").args(["-HUP", &server.child.id().to_string()]).status().expect("kill");
    assert!(done.success());
}

/// Sends what is no HTTP; the server says so at the level `debug`.
fn nonsense(server: &Running) {
    let mut stream = TcpStream::connect(server.address()).expect("connects");
    stream.write_all(b"no such protocol\r\n\r\n").expect("sent");
    let _ = stream.read_to_end(&mut Vec::new());
}

/// The administrator's token.
fn token(server: &Running) -> String {
    let auth = json!({"auth": {"identity": {"methods": ["password"], "password": {"user": {
        "name": "admin", "domain": {"id": "default"}, "password": "topsecret"}}},
        "scope": {"project": {"name": "admin", "domain": {"id": "default"}}}}});
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let answer = agent.post(format!("{}/auth/tokens", server.url)).send(auth.to_string().as_bytes());
    answer.expect("an answer").headers()["x-subject-token"].to_str().expect("text").to_owned()
}

pub(super) fn started(s: &Scratch, config: &str, more: &[&str]) -> Running {
    let more = [&["--config-file", config, "--log-format", "json"], more].concat();
    serve(s, &more, &[("VICAR_BOOTSTRAP_PASSWORD", "topsecret")])
}

const AGAIN: &str = "the policy was read again";
const BROKEN: &str = "the policy cannot be read; the old rules stay in force";
const NOBODY: &str = "\"identity:list_users\": \"!\"\n";
const EVERYBODY: &str = "\"identity:list_users\": \"@\"\n";

#[test]
fn a_policy_file_that_changes_is_in_force_however_it_was_changed() {
    let s = Scratch::new();
    // As Kubernetes mounts it: a link to a file behind a link to a folder, which is exchanged.
    for (version, rules) in [("one", NOBODY), ("two", EVERYBODY)] {
        std::fs::create_dir(s.path(version)).expect("a folder");
        s.file(&format!("{version}/policy.yaml"), rules);
    }
    symlink("one", s.path("..data")).expect("a link");
    symlink("..data/policy.yaml", s.path("policy.yaml")).expect("a link");
    let file = s.path("policy.yaml");
    let config = s.config(&format!("[oslo_policy]\npolicy_file = {}\n", file.display()));
    let mut server = started(&s, &config, &[]);
    let token = token(&server);
    let listed = || get(&format!("{}/users", server.url), &[("X-Auth-Token", &token)]).0;
    assert_eq!(listed(), 403);
    symlink("two", s.path("..next")).expect("a link");
    std::fs::rename(s.path("..next"), s.path("..data")).expect("exchanged");
    wait_until_said(&s, AGAIN, 1);
    assert_eq!(listed(), 200);
    // Renamed over.
    s.file("new", NOBODY);
    std::fs::rename(s.path("new"), &file).expect("renamed");
    wait_until_said(&s, AGAIN, 2);
    assert_eq!(listed(), 403);
    // Written in place.
    std::fs::write(&file, EVERYBODY).expect("written");
    wait_until_said(&s, AGAIN, 3);
    assert_eq!(listed(), 200);
    // Broken: said once, with file and line, and nothing changes.
    std::fs::write(&file, "# rules\n\"identity:list_users\": \"!\n").expect("written");
    let said = wait_until_said(&s, BROKEN, 1);
    let line = said.lines().find(|l| l.contains(BROKEN)).expect("a line");
    assert!(line.contains("policy.yaml: line ") && line.contains("ERROR"), "{line}");
    let said = wait_until_said(&s, "\"failed\"", 1);
    assert!(said.lines().any(|l| l.contains("\"policy.reload\"") && l.contains("\"failed\"")), "{said}");
    assert_eq!(listed(), 200);
    hang_up(&server);
    wait_until_said(&s, BROKEN, 2);
    assert_eq!(listed(), 200);
    // Gone: rules are not taken back because a file was lost.
    std::fs::write(&file, NOBODY).expect("written");
    wait_until_said(&s, AGAIN, 4);
    std::fs::remove_file(&file).expect("removed");
    wait_until_said(&s, "the policy file is gone or empty; all rules stay", 1);
    assert_eq!(listed(), 403);
    // Empty is no better.
    std::fs::write(&file, "").expect("written");
    wait_until_said(&s, "the policy file is gone or empty; all rules stay", 2);
    assert_eq!(listed(), 403);
    std::fs::write(&file, EVERYBODY).expect("written");
    wait_until_said(&s, AGAIN, 5);
    assert_eq!(listed(), 200);
    assert_eq!(server.signal("-TERM"), 0);
}

#[test]
fn sighup_takes_over_what_can_be_and_names_what_cannot() {
    let s = Scratch::new();
    let config = s.config("[token]\nexpiration = 3600\n");
    let mut server = started(&s, &config, &[]);
    let token = token(&server);
    let listed = || get(&format!("{}/users", server.url), &[("X-Auth-Token", &token)]).0;
    assert_eq!(listed(), 200);
    let rules = s.file("rules.yaml", NOBODY);
    s.config(&format!(
        "[token]\nexpiration = 60\n[oslo_policy]\npolicy_file = {rules}\n[odd]\nthing = 1\n\
         [DEFAULT]\ndebug = true\nadmin_token = topsecret-token\n[database]\nconnection = sqlite:///other.db\n"
    ));
    hang_up(&server);
    let said = wait_until_said(&s, AGAIN, 1);
    let kept: Vec<&str> = said.lines().filter(|l| l.contains("from the next start on")).collect();
    let [kept] = kept[..] else { panic!("{said}") };
    assert!(kept.contains("\"[DEFAULT] admin_token, [database] connection, [token] expiration\""), "{kept}");
    assert!(!said.contains("topsecret"), "values are not shown");
    assert_eq!(listed(), 403, "the policy file that is named now");
    // The level is lower now, and then as before.
    nonsense(&server);
    wait_until_said(&s, "DEBUG", 1);
    s.config("");
    hang_up(&server);
    wait_until_said(&s, AGAIN, 2);
    assert_eq!(listed(), 200, "no policy file is named any more");
    // A file that cannot be read changes nothing and ends nothing.
    std::fs::write(&config, "[token]\nallow_rescope_scoped_token = perhaps\n").expect("written");
    hang_up(&server);
    let said = wait_until_said(&s, "the configuration cannot be read", 1);
    assert!(said.contains("[token] allow_rescope_scoped_token"), "{said}");
    std::fs::write(&config, "[oslo_policy]\n\nenforce scope\n").expect("written");
    hang_up(&server);
    let said = wait_until_said(&s, "the configuration cannot be read", 2);
    assert!(said.contains("vicar.conf: line 3: "), "{said}");
    std::fs::remove_file(&config).expect("removed");
    hang_up(&server);
    wait_until_said(&s, "the configuration cannot be read", 3);
    assert_eq!(listed(), 200);
    assert_eq!(server.signal("-TERM"), 0);
}

#[test]
fn a_level_that_was_given_is_not_changed_by_the_configuration() {
    let s = Scratch::new();
    let config = s.config("[DEFAULT]\ndebug = true\n");
    let mut server = started(&s, &config, &["--log-level", "info"]);
    hang_up(&server);
    wait_until_said(&s, AGAIN, 1);
    nonsense(&server);
    assert_eq!(server.login("topsecret"), 201);
    assert_eq!(server.signal("-TERM"), 0);
    let said = std::fs::read_to_string(s.path("log")).expect("log");
    assert!(!said.contains("DEBUG"), "{said}");
    // And without one it counts from the start on.
    let s = Scratch::new();
    let config = s.config("[DEFAULT]\ndebug = true\n");
    let server = started(&s, &config, &[]);
    nonsense(&server);
    wait_until_said(&s, "DEBUG", 1);
}

#[test]
fn the_security_log_is_opened_again_at_sighup() {
    let s = Scratch::new();
    let config = s.config("");
    let (file, old) = (s.path("security.log"), s.path("security.log.1"));
    let server = started(&s, &config, &["--security-log", file.to_str().expect("text")]);
    assert_eq!(server.login("wrong"), 401);
    std::fs::rename(&file, &old).expect("renamed");
    assert_eq!(server.login("wrong"), 401);
    hang_up(&server);
    wait_until_said(&s, AGAIN, 1);
    assert_eq!(server.login("wrong"), 401);
    let logins = |path: &Path| {
        let said = std::fs::read_to_string(path).expect("a log");
        said.lines().filter(|l| l.contains("\"login\"")).count()
    };
    let end = Instant::now() + Duration::from_secs(30);
    while logins(&file) == 0 {
        assert!(Instant::now() < end, "no event");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!((logins(&old), logins(&file)), (2, 1), "nothing is lost");
    // New keys are an event too.
    expect(&run(&s, &["keys", "rotate"]), 0, "");
    let end = Instant::now() + Duration::from_secs(30);
    while !std::fs::read_to_string(&file).expect("a log").contains("\"keys.reload\"") {
        assert!(Instant::now() < end, "no event");
        std::thread::sleep(Duration::from_millis(20));
    }
    // Where it cannot be opened, the old file is written on.
    std::fs::remove_file(&file).expect("removed");
    std::fs::create_dir(&file).expect("a folder in its place");
    hang_up(&server);
    wait_until_said(&s, "the security log cannot be opened again", 1);
    assert_eq!(server.login("topsecret"), 201);
}

/// A certificate for this machine, as its files.
struct Made(rcgen::CertifiedKey<rcgen::KeyPair>);

impl Made {
    fn new() -> Self {
        Self(rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate"))
    }

    /// Whether a new connection gets this one.
    fn is_served(&self, address: &str) -> bool {
        let mut roots = tokio_rustls::rustls::RootCertStore::empty();
        roots.add(self.0.cert.der().clone()).expect("a root");
        let client =
            tokio_rustls::rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = "127.0.0.1".try_into().expect("a name");
        let mut session =
            tokio_rustls::rustls::ClientConnection::new(Arc::new(client), name).expect("a session");
        let mut stream = TcpStream::connect(address).expect("connects");
        while session.is_handshaking() {
            if session.complete_io(&mut stream).is_err() {
                return false;
            }
        }
        true
    }
}

#[test]
fn a_certificate_that_changes_is_served_to_new_connections() {
    let s = Scratch::new();
    let config = s.config("");
    let (first, second, third) = (Made::new(), Made::new(), Made::new());
    let cert = s.file("cert.pem", first.0.cert.pem());
    let key = s.file("key.pem", first.0.signing_key.serialize_pem());
    let mut server = started(&s, &config, &["--tls-cert", &cert, "--tls-key", &key]);
    let at = server.address();
    assert!(first.is_served(&at) && !second.is_served(&at));
    let again = "the TLS certificate was read again";
    let broken = "the TLS certificate cannot be read; the old one is served on";
    // By rename, as certbot's hooks and cert-manager do.
    for (name, text) in [("cert.pem", second.0.cert.pem()), ("key.pem", second.0.signing_key.serialize_pem())]
    {
        s.file("new.pem", text);
        std::fs::rename(s.path("new.pem"), s.path(name)).expect("renamed");
    }
    wait_until_said(&s, again, 1);
    assert!(second.is_served(&at) && !first.is_served(&at));
    // One of two, for longer than a moment: the pair does not fit.
    s.file("cert.pem", third.0.cert.pem());
    let said = wait_until_said(&s, broken, 1);
    assert!(
        said.lines().any(|l| l.contains(broken) && l.contains("cert.pem") && l.contains("key.pem")),
        "{said}"
    );
    assert!(second.is_served(&at));
    s.file("key.pem", third.0.signing_key.serialize_pem());
    let said = wait_until_said(&s, again, 2);
    assert!(third.is_served(&at), "{said}");
    s.file("cert.pem", "nothing");
    hang_up(&server);
    wait_until_said(&s, "holds no certificate", 1);
    assert!(third.is_served(&at));
    s.file("cert.pem", first.0.cert.pem());
    s.file("key.pem", first.0.signing_key.serialize_pem());
    hang_up(&server);
    wait_until_said(&s, again, 3);
    assert!(first.is_served(&at));
    assert_eq!(server.signal("-TERM"), 0);
}

#[test]
fn plain_http_on_the_tls_port_is_answered_and_logged_seldom() {
    let s = Scratch::new();
    let config = s.config("");
    let made = Made::new();
    let cert = s.file("cert.pem", made.0.cert.pem());
    let key = s.file("key.pem", made.0.signing_key.serialize_pem());
    let server = started(&s, &config, &["--tls-cert", &cert, "--tls-key", &key]);
    let at = server.address();
    let body = "x".repeat(20_000);
    for request in [
        "GET /v3 HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        format!("POST /v3/auth/tokens HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
        "PUT".to_owned(),
    ] {
        let mut stream = TcpStream::connect(&at).expect("connects");
        stream.write_all(request.as_bytes()).expect("sent");
        stream.shutdown(Shutdown::Write).expect("no more");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(
            answer.starts_with("HTTP/1.1 400 Bad Request\r\n") && answer.contains("https://"),
            "{answer}"
        );
    }
    // Nothing at all, and nonsense.
    drop(TcpStream::connect(&at).expect("connects"));
    let mut stream = TcpStream::connect(&at).expect("connects");
    stream.write_all(&[0x16, 3, 1, 0, 5, 1, 2, 3, 4, 5]).expect("sent");
    let _ = stream.read_to_end(&mut Vec::new());
    let said = wait_until_said(&s, "a TLS handshake failed", 1);
    let plain: Vec<&str> = said.lines().filter(|l| l.contains("plain HTTP on the TLS port")).collect();
    let [plain] = plain[..] else { panic!("once: {said}") };
    assert!(plain.contains("127.0.0.1") && plain.contains("\"count\":1"), "{plain}");
    let failed = said.lines().find(|l| l.contains("a TLS handshake failed")).expect("a line");
    assert!(failed.contains("\"address\":\"127.0.0.1\"") && failed.contains("\"error\":"), "{failed}");
    assert!(made.is_served(&at));
}
