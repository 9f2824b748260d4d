//! `vicar-demo` as a newcomer runs it: the real programs, on a server of their own and on a running one.
//!
//! The server's program is `$VICAR_BIN`, or is built with cargo from the sources beside these.

// A test that looks past an end fails.
#![allow(clippy::indexing_slicing)]

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

const PASSWORD: &str = "the-admins-password";

/// A folder that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("vicar-demo-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir(&dir).expect("scratch folder");
        Self(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The server's program.
fn server() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        if let Some(given) = std::env::var_os("VICAR_BIN") {
            return given.into();
        }
        let program = Path::new(env!("CARGO_BIN_EXE_vicar-demo")).with_file_name("vicar");
        let profile = program.parent().expect("a profile's folder");
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--locked", "--package", "vicar", "--bin", "vicar", "--target-dir"]);
        build.arg(profile.parent().expect("the target folder"));
        if profile.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().expect("cargo runs").success(), "the server cannot be built");
        program
    })
}

/// A program, with a folder of its own for temporary files and nothing else of our environment.
fn program(path: &Path, tmp: &Path, args: &[&str]) -> Command {
    let mut c = Command::new(path);
    c.args(args).env_clear().env("TMPDIR", tmp).env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    c
}

fn demo(tmp: &Path, args: &[&str]) -> Command {
    program(Path::new(env!("CARGO_BIN_EXE_vicar-demo")), tmp, args)
}

/// The demo on a server of its own.
fn alone(tmp: &Path) -> Command {
    let mut c = demo(tmp, &["--server"]);
    c.arg(server());
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
        "act aodh, heat, solum; links told 3; source_identity order 4711",
        "roles reader; for GET /v1/orchard/stacks/web; for 30 seconds",
        "resumes what alice suspended ",
        "alice    makes a trust for two hours ",
        "adopted_by erin; id ",
        "user alice; rests on erin",
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
    // A server of its own has a password of its own.
    let out = told(&alone(&tmp.0).env("OS_BOOTSTRAP_PASSWORD", "another").output().expect("runs"), 0);
    assert_whole(&out);
    assert_eq!(std::fs::read_dir(&tmp.0).expect("the folder").count(), 0);
}

#[test]
fn a_terminal_without_unicode_gets_ascii() {
    let tmp = Scratch::new();
    let out = told(&alone(&tmp.0).env("LC_ALL", "C").output().expect("runs"), 0);
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
        Self::start_with(tmp, ini, &[])
    }

    fn start_with(tmp: &Scratch, ini: &str, more: &[&Path]) -> Self {
        let config = tmp.0.join("vicar.conf");
        std::fs::write(&config, format!("[identity]\npassword_hash_rounds = 4\n{ini}")).expect("written");
        let mut c =
            program(server(), &tmp.0, &["serve", "--listen", "127.0.0.1:0", "--metrics-listen", "off"]);
        c.arg("--data-dir").arg(tmp.0.join("data")).arg("--config-file").arg(config).args(more);
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
    let play = |password: &str| {
        let mut c = demo(&tmp.0, &["--url", &server.url]);
        c.env("VICAR_DEMO_PASSWORD", password);
        c.output().expect("runs")
    };
    assert_whole(&told(&play(PASSWORD), 0));
    assert_eq!(server.everything(), before);
    let refused = play("wrong");
    told(&refused, 1);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("cannot log in with this password"));
}

#[test]
fn a_running_server_is_played_on_through_the_servers_program_too() {
    let tmp = Scratch::new();
    let server = Running::start(&tmp, "");
    // `vicar demo` says where the server's program is, which is for other stories.
    let play = |variables: &[(&str, &str)]| {
        let mut c = demo(&tmp.0, &["--url", &server.url]);
        c.env("VICAR_DEMO_SERVER", "/nowhere").envs(variables.iter().copied()).output().expect("runs")
    };
    let names = ["OS_BOOTSTRAP_PASSWORD", "VICAR_BOOTSTRAP_PASSWORD", "VICAR_DEMO_PASSWORD"];
    // Each name is read, and an earlier one counts.
    for (i, name) in names.iter().enumerate() {
        let later = names.iter().skip(i + 1).map(|name| (*name, PASSWORD));
        let variables: Vec<_> = std::iter::once((*name, "wrong")).chain(later).collect();
        let refused = play(&variables);
        told(&refused, 1);
        assert!(String::from_utf8_lossy(&refused.stderr).contains("cannot log in"), "{name}: {refused:?}");
    }
    assert_whole(&told(&play(&[("OS_BOOTSTRAP_PASSWORD", PASSWORD), ("VICAR_DEMO_PASSWORD", "wrong")]), 0));
}

#[test]
fn what_is_not_as_it_must_be_is_told_and_the_exit_code_says_so() {
    let tmp = Scratch::new();
    // A server that takes old signatures.
    let server = Running::start(&tmp, "[credential]\nauth_ttl = 60\n");
    let played = demo(&tmp.0, &["--url", &server.url, "--password", PASSWORD]).output().expect("runs");
    let out = told(&played, 1);
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
    let played = demo(&tmp.0, &["--url", &server.url, "--password", PASSWORD]).output().expect("runs");
    let out = told(&played, 1);
    assert!(out.contains("✗ aodh     makes an EC2 keypair"), "{out}");
    assert!(out.contains("status: expected 201, got 403"), "{out}");
    assert!(out.contains("The story breaks off here. "), "{out}");
    assert_eq!(server.everything(), before);
}

#[test]
fn addresses_that_cannot_be_spoken_to_are_named() {
    let tmp = Scratch::new();
    for (url, says) in [
        ("127.0.0.1:5000", "not a URL like http://"),
        ("http://127.0.0.1:1", "cannot be reached"),
        ("https://127.0.0.1:1", "cannot be reached"),
    ] {
        let played = demo(&tmp.0, &["--url", url, "--password", PASSWORD]).output().expect("runs");
        told(&played, 1);
        let out = String::from_utf8_lossy(&played.stdout).into_owned();
        assert!(out.contains("Nothing was checked.") && !out.contains(" checks"), "{out}");
        let err = String::from_utf8_lossy(&played.stderr).into_owned();
        assert!(err.contains(says) && !err.contains(PASSWORD), "{err}");
    }
    let without = demo(&tmp.0, &["--url", "http://127.0.0.1:1"]).output().expect("runs");
    told(&without, 2);
    assert!(String::from_utf8_lossy(&without.stderr).contains("--password"));
}

#[test]
fn a_cloud_of_clouds_yaml_is_played_on_with_its_own_administrator() {
    let tmp = Scratch::new();
    let server = Running::start(&tmp, "");
    let before = server.everything();
    let clouds = tmp.0.join("data/clouds.yaml");
    let play = |cloud: &str| {
        let mut c = demo(&tmp.0, &["--os-cloud", cloud]);
        c.env("OS_CLIENT_CONFIG_FILE", &clouds).output().expect("runs")
    };
    assert_whole(&told(&play("vicar"), 0));
    assert_eq!(server.everything(), before);
    let played = play("other");
    told(&played, 1);
    assert!(String::from_utf8_lossy(&played.stderr).contains("there is no cloud `other`"));
}

#[test]
fn a_server_that_encrypts_must_prove_who_it_is() {
    let tmp = Scratch::new();
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let (cert, key) = (tmp.0.join("cert.pem"), tmp.0.join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).expect("written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    let tls = [Path::new("--tls-cert"), &cert, Path::new("--tls-key"), &key];
    let server = Running::start_with(&tmp, "", &tls);
    assert!(server.url.starts_with("https://"), "{}", server.url);
    let clouds = tmp.0.join("data/clouds.yaml");
    let play = || {
        let mut c = demo(&tmp.0, &["--os-cloud", "vicar"]);
        c.env("OS_CLIENT_CONFIG_FILE", &clouds).output().expect("runs")
    };
    // The first start names the certificate, which nobody else vouches for.
    assert_whole(&told(&play(), 0));
    let text = std::fs::read_to_string(&clouds).expect("read");
    let without: Vec<&str> = text.lines().filter(|line| !line.trim().starts_with("cacert:")).collect();
    assert_eq!(without.len() + 2, text.lines().count(), "{text}");
    std::fs::write(&clouds, without.join("\n")).expect("written");
    let refused = play();
    told(&refused, 1);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("certificate"), "{refused:?}");
}

#[test]
fn a_server_that_cannot_be_started_is_told_with_its_own_words() {
    let tmp = Scratch::new();
    let played = demo(&tmp.0, &["--server", "/nowhere/vicar"]).output().expect("runs");
    told(&played, 1);
    assert!(String::from_utf8_lossy(&played.stderr).contains("/nowhere/vicar: "), "{played:?}");
    let refuses = tmp.0.join("refuses");
    std::fs::write(&refuses, "#!/bin/sh\necho 'vicar: no place left' >&2\nexit 4\n").expect("written");
    std::fs::set_permissions(&refuses, std::fs::Permissions::from_mode(0o755)).expect("chmod");
    let played = demo(&tmp.0, &["--server"]).arg(&refuses).output().expect("runs");
    told(&played, 1);
    assert!(String::from_utf8_lossy(&played.stderr).contains("vicar: no place left"), "{played:?}");
    assert_eq!(std::fs::read_dir(&tmp.0).expect("the folder").count(), 1, "nothing is left but the script");
}
