//! `vicar demo` as a newcomer runs it: the real binary, on a server of its own and on a running one.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

const PASSWORD: &str = "the-admins-password";

/// A folder that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("vicar-demo-test-{}", vicar::ids::uuid()));
        std::fs::create_dir_all(&dir).expect("scratch folder");
        Self(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The program, with a folder of its own for temporary files and nothing else of our environment.
fn vicar(tmp: &Path, args: &[&str]) -> Command {
    let mut c = Command::new(env!("CARGO_BIN_EXE_vicar"));
    c.args(args).env_clear().env("TMPDIR", tmp).env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    c
}

/// What it printed, once its exit code is this.
#[track_caller]
fn told(output: &Output, code: i32) -> String {
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{out}\n{err}");
    out
}

/// The story as it must be, wherever it is played.
#[track_caller]
fn assert_whole(out: &str) {
    for part in [
        "\nalice, on orchard\n└─ solum              live    0     alice ",
        "\n   ├─ heat            live    1     alice ",
        "\n   │  └─ aodh         live    2     alice ",
        "\n   │     └─ key ",
        "\n   └─ mistral         live    1     mistral ",
        "asks what a deletion would end (dry_run)",
        "deletes her trust for solum",
        "\nalice, on orchard\n└─ solum              deleted 0     alice   deleted ",
        "\n   │  └─ aodh         deleted 2     alice   ended above member\n   └─ mistral ",
    ] {
        assert!(out.contains(part), "no `{part}` in\n{out}");
    }
    assert!(!out.lines().any(|line| line.starts_with('✗')), "{out}");
    let last = out.lines().last().unwrap_or_default();
    assert!(last.ends_with(" checks, all as it must be."), "{last}");
    for line in out.lines() {
        assert!(line.chars().count() <= 80, "wider than a terminal: {line}");
    }
}

#[test]
fn the_story_is_told_on_a_server_of_its_own_which_leaves_nothing_behind() {
    let tmp = Scratch::new();
    let out = told(&vicar(&tmp.0, &["demo"]).output().expect("runs"), 0);
    assert_whole(&out);
    assert_eq!(std::fs::read_dir(&tmp.0).expect("the folder").count(), 0);
}

#[test]
fn a_terminal_without_unicode_gets_ascii() {
    let tmp = Scratch::new();
    let out = told(&vicar(&tmp.0, &["demo"]).env("LC_ALL", "C").output().expect("runs"), 0);
    assert!(out.is_ascii(), "{out}");
    assert!(out.contains("\n   `- mistral"), "{out}");
}

/// A server that runs; killed with the test.
struct Running {
    child: Child,
    url: String,
}

impl Running {
    fn start(tmp: &Scratch, ini: &str) -> Self {
        let config = tmp.0.join("vicar.conf");
        std::fs::write(&config, format!("[identity]\npassword_hash_rounds = 4\n{ini}")).expect("written");
        let mut c = vicar(&tmp.0, &["serve", "--listen", "127.0.0.1:0", "--metrics-listen", "off"]);
        c.arg("--data-dir").arg(tmp.0.join("data")).arg("--config-file").arg(config);
        c.env("VICAR_BOOTSTRAP_PASSWORD", PASSWORD).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = c.spawn().expect("starts");
        let mut first = String::new();
        let mut screen = BufReader::new(child.stdout.take().expect("piped"));
        screen.read_line(&mut first).expect("text");
        // Read on, so that the server is never stopped by a full or closed pipe.
        std::thread::spawn(move || screen.read_to_end(&mut Vec::new()));
        let url = first.trim_end().rsplit_once(" serves ").expect("an address").1.to_owned();
        Self { child, url }
    }

    /// Names of all objects of a kind.
    fn names(&self, kind: &str) -> Vec<String> {
        let domain = json!({"id": "default"});
        let auth = json!({"auth": {
            "identity": {"methods": ["password"], "password": {"user":
                {"name": "admin", "domain": domain, "password": PASSWORD}}},
            "scope": {"project": {"name": "admin", "domain": domain}},
        }});
        let login = ureq::post(format!("{}/auth/tokens", self.url)).send_json(auth).expect("a login");
        let token = login.headers().get("x-subject-token").expect("a token").clone();
        let mut answer =
            ureq::get(format!("{}/{kind}", self.url)).header("X-Auth-Token", token).call().expect("a list");
        let body: Value = answer.body_mut().read_json().expect("JSON");
        let all = body[kind].as_array().expect("a list").iter();
        let mut names: Vec<String> = all.map(|o| o["name"].as_str().expect("a name").to_owned()).collect();
        names.sort();
        names
    }

    fn everything(&self) -> Vec<Vec<String>> {
        ["users", "projects", "roles"].iter().map(|kind| self.names(kind)).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn on_a_running_server_it_cleans_up_after_itself() {
    let tmp = Scratch::new();
    let server = Running::start(&tmp, "");
    let before = server.everything();
    let demo = |password: &str| {
        let mut c = vicar(&tmp.0, &["demo", "--url", &server.url]);
        c.env("VICAR_DEMO_PASSWORD", password);
        c.output().expect("runs")
    };
    assert_whole(&told(&demo(PASSWORD), 0));
    assert_eq!(server.everything(), before);
    let refused = demo("wrong");
    told(&refused, 1);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("cannot log in with this password"));
}

#[test]
fn what_is_not_as_it_must_be_is_told_and_the_exit_code_says_so() {
    let tmp = Scratch::new();
    // A server that takes old signatures.
    let server = Running::start(&tmp, "[credential]\nauth_ttl = 60\n");
    let demo = vicar(&tmp.0, &["demo", "--url", &server.url, "--password", PASSWORD]).output().expect("runs");
    let out = told(&demo, 1);
    let wrong: Vec<&str> = out.lines().filter(|line| line.starts_with('✗')).collect();
    assert_eq!(wrong.len(), 1, "{out}");
    assert!(wrong[0].contains("was signed 20 minutes ago") && wrong[0].ends_with("allowed 200"), "{out}");
    assert!(out.contains("status: expected 401, got 200"), "{out}");
    assert!(out.ends_with(" checks, 1 NOT as it must be.\n"), "{out}");
}

#[test]
fn a_story_that_breaks_off_cleans_up_too() {
    let tmp = Scratch::new();
    // Keystone's way: no keypairs from delegated tokens. The story cannot go on without one.
    let server = Running::start(&tmp, "[delegation]\nec2_keys = refuse\n");
    let before = server.everything();
    let demo = vicar(&tmp.0, &["demo", "--url", &server.url, "--password", PASSWORD]).output().expect("runs");
    let out = told(&demo, 1);
    assert!(out.contains("✗ aodh     makes an EC2 keypair"), "{out}");
    assert!(out.contains("status: expected 201, got 403"), "{out}");
    assert!(out.contains("The story breaks off here. "), "{out}");
    assert_eq!(server.everything(), before);
}

#[test]
fn addresses_that_cannot_be_spoken_to_are_named() {
    let tmp = Scratch::new();
    for (url, says) in [
        ("https://127.0.0.1:5000", "plain http only"),
        ("127.0.0.1:5000", "no address like http://"),
        ("http://127.0.0.1:1", "cannot be reached"),
    ] {
        let demo = vicar(&tmp.0, &["demo", "--url", url, "--password", PASSWORD]).output().expect("runs");
        told(&demo, 1);
        let err = String::from_utf8_lossy(&demo.stderr).into_owned();
        assert!(err.contains(says) && !err.contains(PASSWORD), "{err}");
    }
    let without = vicar(&tmp.0, &["demo", "--url", "http://127.0.0.1:1"]).output().expect("runs");
    told(&without, 2);
    assert!(String::from_utf8_lossy(&without.stderr).contains("--password"));
}
