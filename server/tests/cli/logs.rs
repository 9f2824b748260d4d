//! What the program logs: levels, the security log, the screen of the start.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;

use super::reload::wait_until_said;
use super::*;

/// The lines of a file that are JSON.
fn json_lines(path: &Path) -> Vec<Value> {
    let said = std::fs::read_to_string(path).expect("a log");
    said.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{l}: {e}"))).collect()
}

#[test]
fn a_level_that_is_misspelt_is_refused_and_the_possible_words_are_said() {
    let s = Scratch::new();
    for bad in [
        "verbose",
        "inf",
        "",
        "3",
        "vicar::http=verbose",
        "vicar::htp=debug",
        "warn,",
        "info;debug",
        "[x]=info",
    ] {
        for by_variable in [false, true] {
            let mut c = vicar(&["serve", "--listen", "127.0.0.1:0", "--metrics-listen", "off"]);
            c.arg("--data-dir").arg(s.data());
            match by_variable {
                true => c.env("VICAR_LOG_LEVEL", bad),
                false => c.args(["--log-level", bad]),
            };
            let refused = finish(c);
            expect(&refused, 2, "--log-level");
            let said = String::from_utf8_lossy(&refused.stderr);
            let words = ["info, debug, trace", "there are vicar, sqlx", "below vicar there are app, auth"];
            assert!(words.iter().any(|words| said.contains(words)), "{bad}: {said}");
        }
    }
    assert!(!s.data().exists(), "nothing was begun");
}

#[test]
fn levels_say_what_is_logged_in_all_and_in_part() {
    for (level, has_requests, has_events) in [
        ("info", true, true),
        ("WARN", false, false),
        ("off", false, false),
        ("warn,vicar::security=info", false, true),
        ("warn,vicar::dispatch=info", true, false),
        ("trace,vicar::security=off", true, false),
    ] {
        let s = Scratch::new();
        let config = s.config("");
        let more = ["--config-file", &config, "--log-format", "json"];
        let mut server = serve(&s, &more, &[("VICAR_LOG_LEVEL", level)]);
        assert_eq!(server.login("wrong"), 401);
        assert_eq!(server.signal("-TERM"), 0);
        let lines = json_lines(&s.path("log"));
        assert_eq!(lines.iter().any(|l| l["message"] == "request"), has_requests, "{level}");
        assert_eq!(lines.iter().any(|l| l["event"] == "login"), has_events, "{level}");
    }
}

#[test]
fn the_security_log_is_a_file_of_its_own_or_off() {
    let s = Scratch::new();
    let config = s.config("");
    let file = s.path("security.log");
    let more =
        ["--config-file", &config, "--log-level", "warn", "--security-log", file.to_str().expect("text")];
    let mut server = serve(&s, &more, &[("VICAR_BOOTSTRAP_PASSWORD", "topsecret")]);
    assert_eq!(server.login("topsecret"), 201);
    assert_eq!(server.login("wrongsecret"), 401);
    assert_eq!(server.signal("-TERM"), 0);
    assert_eq!(mode(&file) & 0o037, 0, "not for everybody");
    let lines = json_lines(&file);
    let events: Vec<&str> = lines.iter().map(|l| l["event"].as_str().expect("an event")).collect();
    assert_eq!(events, ["server.start", "login", "login", "server.stop"]);
    assert_eq!([&lines[1]["outcome"], &lines[2]["outcome"]], ["success", "refused"]);
    assert_eq!(lines[2]["reason"], "wrong-password");
    assert_eq!(lines[2]["tried_name"], "admin");
    for line in &lines {
        assert!(line["timestamp"].is_string() && line.get("target").is_none(), "{line}");
    }
    let said = std::fs::read_to_string(s.path("log")).expect("log");
    assert!(!said.contains("wrong-password"), "{said}");
    // It is appended to.
    drop(serve(&s, &more, &[]));
    assert_eq!(json_lines(&file).len(), lines.len() + 1);

    let other = Scratch::new();
    let config = other.config("");
    let off = ["--config-file", &config, "--log-format", "json", "--security-log", "off"];
    let mut server = serve(&other, &off, &[]);
    assert_eq!(server.login("wrong"), 401);
    assert_eq!(server.signal("-TERM"), 0);
    let lines = json_lines(&other.path("log"));
    assert!(lines.iter().any(|l| l["reason"] == "wrong-password"), "the request's line has it still");
    assert!(lines.iter().all(|l| l["target"] != "vicar::security"));
    // A file that cannot be opened is told before anything is done.
    let nowhere = other.path("no/such/folder/log").display().to_string();
    let mut c =
        vicar(&["serve", "--listen", "127.0.0.1:0", "--metrics-listen", "off", "--security-log", &nowhere]);
    expect(&c.arg("--data-dir").arg(s.path("new")).output().expect("runs"), 4, "no/such/folder/log");
    assert!(!s.path("new").exists());
}

#[test]
fn nobody_writes_lines_into_the_log() {
    let s = Scratch::new();
    let config = s.config("");
    let mut server = serve(&s, &["--config-file", &config], &[("VICAR_BOOTSTRAP_PASSWORD", "topsecret")]);
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let url = server.url.clone();
    let send = |path: &str, token: &str, body: Value| {
        let request = agent.post(format!("{url}{path}")).header("X-Auth-Token", token);
        request.send(body.to_string().as_bytes()).expect("an answer")
    };
    let login = |name: &str, password: &str| {
        let auth = json!({"auth": {"identity": {"methods": ["password"], "password": {"user": {
            "name": name, "domain": {"id": "default"}, "password": password}}},
            "scope": {"project": {"name": "admin", "domain": {"id": "default"}}}}});
        send("/auth/tokens", "", auth)
    };
    let token = login("admin", "topsecret").headers()["x-subject-token"].to_str().expect("text").to_owned();
    let forged =
        "x\n2026-01-01T00:00:00.000000Z  INFO vicar::security: event=\"login\" outcome=\"success\"\u{1b}[2J";
    // Even where such a name exists.
    send("/users", &token, json!({"user": {"name": forged, "password": "some-password"}}));
    assert_eq!(login(forged, "wrong").status().as_u16(), 401);
    assert_eq!(get(&format!("{url}/users/a%0Ab%1B"), &[("X-Auth-Token", &token)]).0, 404);
    assert_eq!(server.signal("-TERM"), 0);
    let said = std::fs::read_to_string(s.path("log")).expect("log");
    assert!(!said.contains('\u{1b}'), "{said}");
    for line in said.lines() {
        assert!(line.starts_with("20") && line.contains("Z ") && !line.starts_with("2026-01-01"), "{line}");
    }
}

/// A full disk ends neither the server nor a request, and is said.
#[test]
fn a_security_log_that_cannot_be_written_is_said_in_the_other_log() {
    let s = Scratch::new();
    let config = s.config("");
    let more = ["--config-file", &config, "--security-log", "/dev/full"];
    let server = serve(&s, &more, &[("VICAR_BOOTSTRAP_PASSWORD", "topsecret")]);
    assert_eq!(server.login("topsecret"), 201);
    assert_eq!(server.login("wrong"), 401);
    let said = wait_until_said(&s, "the security log cannot be written", 1);
    assert!(said.contains("/dev/full") && said.contains("No space left on device"), "{said}");
}

/// The reaper's work is an event too.
#[test]
fn trusts_that_the_server_ends_by_itself_are_an_event() {
    let s = graveyard("[delegation]\nreap_interval = 1\n");
    let config = s.path("vicar.conf").display().to_string();
    let file = s.path("security.log");
    let _server = serve(&s, &["--config-file", &config, "--security-log", file.to_str().expect("text")], &[]);
    let end = Instant::now() + Duration::from_secs(30);
    while !std::fs::read_to_string(&file).expect("a log").contains("\"trust.reap\"") {
        assert!(Instant::now() < end, "no event");
        std::thread::sleep(Duration::from_millis(20));
    }
    let reaped = json_lines(&file).into_iter().find(|l| l["event"] == "trust.reap").expect("an event");
    assert!(!reaped["detail"].as_str().expect("ids").is_empty(), "{reaped}");
}

/// Whoever reads the log and stands still holds up no request; in the end all lines are there.
#[test]
fn a_log_that_nobody_reads_holds_up_no_request() {
    let s = Scratch::new();
    let config = s.config("");
    let mut c =
        vicar(&["serve", "--listen", "127.0.0.1:0", "--metrics-listen", "off", "--log-format", "json"]);
    c.args(["--config-file", &config]).arg("--data-dir").arg(s.data());
    let mut child = c.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let mut log = child.stderr.take().expect("piped");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let first = lines.next().expect("a line").expect("text");
    let url = first.rsplit_once(" serves ").expect("a URL").1.to_owned();
    let mut server = Running { child, screen: Vec::new(), url };
    let patient = Some(Duration::from_secs(60));
    let agent = ureq::Agent::config_builder().timeout_global(patient).build().new_agent();
    // Several times what a pipe holds.
    const REQUESTS: usize = 1500;
    for _ in 0..REQUESTS {
        assert_eq!(agent.get(&server.url).call().expect("an answer").status().as_u16(), 200);
    }
    assert_eq!(server.login("wrong"), 401);
    let reading = std::thread::spawn(move || {
        let mut said = String::new();
        log.read_to_string(&mut said).map(|_| said)
    });
    assert_eq!(server.signal("-TERM"), 0);
    let said = reading.join().expect("read").expect("text");
    let lines: Vec<Value> = said.lines().map(|l| serde_json::from_str(l).expect("whole lines")).collect();
    let asked = lines.iter().filter(|l| l["message"] == "request" && l["path"] == "/v3");
    assert_eq!(asked.count(), REQUESTS);
    assert!(said.len() > 200_000, "it is longer than a pipe");
    let at = |wanted: &dyn Fn(&Value) -> bool| lines.iter().position(wanted).expect("a line");
    let login = at(&|l| l["event"] == "login" && l["reason"] == "wrong-password");
    assert!(
        login < at(&|l| l["event"] == "server.stop") && at(&|l| l["message"] == "stopped") == lines.len() - 1
    );
}

/// Standard output and standard error on one terminal: each message is one write, and so are log lines that come together.
#[test]
fn the_screen_of_the_start_is_one_write_after_the_log_lines() {
    let s = Scratch::new();
    let config = s.config("[odd]\nthing = 1\n");
    let (ours, theirs) = UnixDatagram::pair().expect("a pair");
    ours.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
    let mut c =
        vicar(&["serve", "--listen", "127.0.0.1:0", "--metrics-listen", "off", "--config-file", &config]);
    c.arg("--data-dir").arg(s.data());
    c.stdout(OwnedFd::from(theirs.try_clone().expect("a copy"))).stderr(OwnedFd::from(theirs));
    let child = c.spawn().expect("starts");
    let _running = Running { child, screen: Vec::new(), url: String::new() };
    let mut written = Vec::new();
    let screen = loop {
        let mut buffer = [0; 64 << 10];
        let length = ours.recv(&mut buffer).expect("a write");
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if text.contains(" serves ") && !text.contains("INFO") {
            break text;
        }
        written.push(text);
    };
    let lines: Vec<&str> = screen.lines().collect();
    assert!(
        lines[0].starts_with("Vicar ") && lines[lines.len() - 1].ends_with("vicar token issue"),
        "{screen}"
    );
    assert!(screen.contains("  password ") && screen.contains("  database "), "{screen}");
    assert!(screen.ends_with('\n'));
    assert!(written.iter().any(|line| line.contains("there is no such option")), "{written:?}");
    let is_line = |line: &str| line.starts_with("20") && line.contains("Z ");
    let are_whole = |text: &String| text.ends_with('\n') && text.lines().all(is_line);
    assert!(written.iter().all(are_whole), "{written:?}");
}
