//! The program as an operator meets it: the real binary in a scratch folder.

// A test that looks past an end fails; it may write rows that no statement would.
#![allow(clippy::disallowed_methods, clippy::indexing_slicing)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vicar::args;
use vicar::clock::{Clock, SECOND};
use vicar::store::{DateTime, Store};
use vicar::system::System;

#[path = "cli/bootstrap.rs"]
mod bootstrap;
#[path = "cli/client_certificate.rs"]
mod client_certificate;
#[path = "cli/denied.rs"]
mod denied;
#[path = "cli/explain.rs"]
mod explain;
#[path = "cli/logs.rs"]
mod logs;
#[path = "cli/reload.rs"]
mod reload;
#[path = "cli/secrets.rs"]
mod secrets;
#[path = "cli/status.rs"]
mod status;
#[path = "cli/stores.rs"]
mod stores;
#[path = "cli/terminal.rs"]
mod terminal;
#[path = "cli/why.rs"]
mod why;

/// A folder that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("vicar-cli-{}", vicar::ids::uuid()));
        std::fs::create_dir_all(&dir).expect("scratch folder");
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Writes a file, gives its path as an argument.
    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        std::fs::write(self.path(name), text).expect("written");
        self.path(name).display().to_string()
    }

    /// A configuration that makes passwords cheap, with more lines.
    fn config(&self, ini: &str) -> String {
        self.file("vicar.conf", format!("[identity]\npassword_hash_rounds = 4\n{ini}"))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The program with nothing of our own environment that it would listen to.
fn vicar(args: &[&str]) -> Command {
    let mut c = Command::new(env!("CARGO_BIN_EXE_vicar"));
    c.args(args).stdin(Stdio::null());
    for (name, _) in std::env::vars() {
        if ["VICAR_", "OS_", "OTEL_"].iter().any(|ours| name.starts_with(ours)) {
            c.env_remove(name);
        }
    }
    c
}

/// Runs a command on a data folder to its end.
fn run(s: &Scratch, args: &[&str]) -> Output {
    let config = s.path("vicar.conf");
    let mut c = vicar(args);
    c.arg("--data-dir").arg(s.data());
    if config.exists() {
        c.arg("--config-file").arg(config);
    }
    finish(c)
}

/// Runs to the end. A server that starts although it must not is stopped after a minute.
fn finish(mut c: Command) -> Output {
    let child = c.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("runs");
    let id = child.id().to_string();
    let (done, ended) = std::sync::mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        if ended.recv_timeout(Duration::from_secs(60)).is_err_and(|e| e == RecvTimeoutError::Timeout) {
            let _ = Command::new("kill").arg(id).status();
        }
    });
    let output = child.wait_with_output().expect("ends");
    drop(done);
    watch.join().expect("watched");
    output
}

#[track_caller]
fn expect(output: &Output, code: i32, says: &str) {
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{out}{err}");
    assert!(out.contains(says) || err.contains(says), "no `{says}` in: {out}{err}");
    if code > 2 {
        let complaints = err.lines().filter(|l| l.starts_with("vicar: ")).count();
        assert_eq!(complaints, 1, "one line: {err}");
    }
}

/// A server that runs; killed with the test.
struct Running {
    child: Child,
    screen: Vec<String>,
    url: String,
}

/// Starts `serve` on a free port. The screen is read up to its last line: then the server can be used.
fn serve(s: &Scratch, more: &[&str], env: &[(&str, &str)]) -> Running {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(s.path("log")).expect("log");
    let mut c = vicar(&["serve"]);
    c.arg("--data-dir").arg(s.data()).args(more);
    if !more.contains(&"--listen") {
        c.args(["--listen", "127.0.0.1:0"]);
    }
    if !more.contains(&"--metrics-listen") {
        c.args(["--metrics-listen", "off"]);
    }
    c.envs(env.iter().copied()).stdout(Stdio::piped()).stderr(log);
    let mut child = c.spawn().expect("starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut screen = Vec::new();
    for line in lines.by_ref() {
        let line = line.expect("text");
        let is_last = line.trim_start().starts_with("openstack ")
            || line.contains("  database ") && {
                // Without clouds.yaml the database is the last line.
                !s.data().join("clouds.yaml").exists()
            };
        screen.push(line);
        if is_last {
            break;
        }
    }
    let said = std::fs::read_to_string(s.path("log")).unwrap_or_default();
    let url = screen.first().and_then(|l| l.rsplit_once(" serves ")).map(|l| l.1.to_owned());
    Running { child, url: url.unwrap_or_else(|| panic!("no server: {said}")), screen }
}

impl Running {
    fn address(&self) -> String {
        let rest = self.url.split_once("://").expect("a URL").1;
        rest.trim_end_matches("/v3").to_owned()
    }

    /// Sends a signal and waits for the end.
    fn signal(&mut self, name: &str) -> i32 {
        let done = Command::new("kill").args([name, &self.child.id().to_string()]).status().expect("kill");
        assert!(done.success());
        self.child.wait().expect("ends").code().unwrap_or(-1)
    }

    fn login(&self, password: &str) -> u16 {
        let auth = json!({"auth": {"identity": {"methods": ["password"], "password": {"user": {
            "name": "admin", "domain": {"id": "default"}, "password": password}}}}});
        ureq::Agent::config_builder()
            .http_status_as_error(false)
            .build()
            .new_agent()
            .post(format!("{}/auth/tokens", self.url))
            .send(auth.to_string().as_bytes())
            .expect("an answer")
            .status()
            .as_u16()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn get(url: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let mut request = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent().get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = request.call().expect("an answer");
    (response.status().as_u16(), response.body_mut().read_to_string().expect("text"))
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).permissions().mode() & 0o777
}

/// Everything below a folder, with what is in it.
fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(dir).expect("listed").flatten() {
        let path = entry.path();
        if path.is_dir() {
            out.extend(contents(&path));
        } else if !path.to_string_lossy().ends_with("-shm") {
            out.push((path.clone(), std::fs::read(&path).expect("read")));
        }
    }
    out.sort();
    out
}

/// Runs statements on the database of a server that is down.
fn sql(s: &Scratch, statements: &[(&str, &[vicar::store::Value])]) {
    let rt = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
    rt.block_on(async {
        let mut tx = Store::sqlite(&s.data().join("vicar.db")).expect("opens").write().await.expect("begins");
        for (text, args) in statements {
            tx.raw(&System::CommandLine, text, args).await.expect("runs");
        }
        tx.commit().await.expect("commits");
    });
}

fn count(s: &Scratch, query: &str) -> i64 {
    let rt = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
    rt.block_on(async {
        let mut tx = Store::sqlite(&s.data().join("vicar.db")).expect("opens").read().await.expect("begins");
        tx.column::<i64>(query, &[]).await.expect("runs").first().copied().unwrap_or(-1)
    })
}

#[test]
fn the_first_start_furnishes_an_empty_folder_and_the_second_changes_nothing() {
    let s = Scratch::new();
    let config = s.config("");
    let begun = Instant::now();
    let mut first = serve(&s, &["--config-file", &config], &[]);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let password = first
        .screen
        .iter()
        .find_map(|l| l.trim().strip_prefix("password "))
        .and_then(|l| l.split_whitespace().next())
        .expect("a password is shown")
        .to_owned();
    assert_eq!(first.login(&password), 201);
    assert_eq!(first.login("guess"), 401);
    assert!(first.screen.iter().any(|l| l.contains("export OS_CLIENT_CONFIG_FILE=")));
    for dir in ["", "fernet-keys", "credential-keys"] {
        assert_eq!(mode(&s.data().join(dir)), 0o700, "{dir}");
    }
    for file in ["vicar.db", "clouds.yaml", "openrc", "fernet-keys/0", "fernet-keys/1", "credential-keys/1"] {
        assert_eq!(mode(&s.data().join(file)), 0o600, "{file}");
    }
    let clouds = std::fs::read_to_string(s.data().join("clouds.yaml")).expect("clouds.yaml");
    assert!(clouds.contains(&password) && clouds.contains(&first.url), "{clouds}");
    assert_eq!(first.signal("-TERM"), 0);
    let said = std::fs::read_to_string(s.path("log")).expect("log");
    assert!(!said.contains(&password), "a password in the log");

    let before = contents(&s.data());
    let mut second = serve(&s, &["--config-file", &config], &[("VICAR_BOOTSTRAP_PASSWORD", "another")]);
    assert!(!second.screen.iter().any(|l| l.contains("password")), "{:?}", second.screen);
    assert_eq!(second.login(&password), 201);
    assert_eq!(second.login("another"), 401);
    assert_eq!(second.signal("-INT"), 0);
    let after = contents(&s.data());
    let names = |c: &[(PathBuf, Vec<u8>)]| c.iter().map(|f| f.0.clone()).collect::<Vec<_>>();
    assert_eq!(names(&before), names(&after));
    for (old, new) in before.iter().zip(&after).filter(|f| !f.0.0.to_string_lossy().contains("vicar.db")) {
        assert!(old == new, "{} changed", old.0.display());
    }
}

#[test]
fn the_first_password_can_be_given_and_is_not_shown_then() {
    let s = Scratch::new();
    let config = s.config("");
    let given = "it's \"mine\" $HOME";
    let first = serve(&s, &["--config-file", &config], &[("VICAR_BOOTSTRAP_PASSWORD", given)]);
    assert!(!first.screen.join("\n").contains("mine"), "{:?}", first.screen);
    assert_eq!(first.login(given), 201);
    // A shell reads the same password out of openrc.
    let script = format!(". {}/openrc; printf %s \"$OS_PASSWORD\"", s.data().display());
    let shell = Command::new("sh").args(["-c", &script]).output().expect("sh");
    assert_eq!(String::from_utf8_lossy(&shell.stdout), given);
}

#[test]
fn what_logins_or_rules_rely_on_refuses_the_start_unless_it_is_accepted() {
    let s = Scratch::new();
    let more = ["--metrics-listen", "off", "--listen", "127.0.0.1:0"];
    let domains = s.path("domains");
    std::fs::create_dir(&domains).expect("made");
    std::fs::write(domains.join("keystone.People.conf"), "[identity]\ndriver = mine\n").expect("written");
    let own = format!("domain_specific_drivers_enabled = true\ndomain_config_dir = {}\n", domains.display());
    for (ini, option, name) in [
        ("[token]\nprovider = jws\n", "[token] provider", "token-provider"),
        ("[credential]\nprovider = other\n", "[credential] provider", "credential-provider"),
        ("driver = ldap\n", "[identity] driver", "identity-driver"),
        (own.as_str(), "[identity] domain_specific_drivers_enabled", "domain-drivers"),
        ("[assignment]\ndriver = ldap\n", "[assignment] driver", "other-driver"),
        ("[catalog]\ndriver = templated\n", "[catalog] driver", "catalog-driver"),
        ("[auth]\npassword = my.own.plugin\n", "[auth] password", "auth-plugins"),
        ("[auth]\nmethods = password,token,kerberos\n", "[auth] methods", "auth-methods"),
        ("[tokenless_auth]\ntrusted_issuer = CN=x\n", "[tokenless_auth] trusted_issuer", "tokenless-auth"),
        (
            "[resource]\nproject_name_url_safe = strict\n",
            "[resource] project_name_url_safe",
            "url-safe-names",
        ),
        ("[DEFAULT]\nconfig_source = remote\n", "[DEFAULT] config_source", "config-source"),
    ] {
        s.config(ini);
        let refused = run(&s, &[&["serve"], &more[..]].concat());
        expect(&refused, 3, option);
        expect(&refused, 3, &format!("--accept {name}"));
        assert!(!s.data().exists(), "{option}: nothing was made");
        expect(&run(&s, &["config", "check"]), 3, &format!("--accept {name}"));
        expect(&run(&s, &["config", "check", "--accept", name]), 0, &format!("accepted {option}"));
    }
    let config = s.config("[token]\nprovider = jws\n[resource]\ndomain_name_url_safe = new\n");
    let accepted = ["--config-file", &config, "--accept", "token-provider,url-safe-names"];
    drop(serve(&s, &accepted, &[]));
    let said = std::fs::read_to_string(s.path("log")).expect("log");
    assert!(said.contains("[token] provider") && said.contains("tokens of the Keystone"), "{said}");
    expect(&run(&s, &["serve", "--accept", "everything"]), 2, "token-provider");
}

#[test]
fn what_serve_is_told_may_be_in_the_configuration() {
    let s = Scratch::new();
    let events = s.path("events");
    let config = s.config(&format!(
        "[vicar]\nlisten = 127.0.0.1:0\nmetrics_listen = off\nlog_format = json\nlog_level = warn\nsecurity_log = {}\n",
        events.display()
    ));
    let mut c = vicar(&["serve", "--config-file", &config, "--log-level", "info"]);
    c.arg("--data-dir").arg(s.data());
    let log = std::fs::File::create(s.path("log")).expect("log");
    let mut child = c.stdout(Stdio::piped()).stderr(log).spawn().expect("starts");
    let mut screen = BufReader::new(child.stdout.take().expect("piped")).lines();
    let first = screen.next().expect("a line").expect("text");
    child.kill().expect("ended");
    child.wait().expect("ended");
    assert!(first.contains("serves http://127.0.0.1:") && !first.contains(":5000"), "{first}");
    let said = std::fs::read_to_string(s.path("log")).expect("log");
    let lines: Vec<Value> = said.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    assert!(lines.iter().any(|l| l["level"] == "INFO"), "the command line counts more: {said}");
    assert!(std::fs::read_to_string(events).expect("events").contains("server.start"));
    for (ini, says) in [
        ("listen = here", "[vicar] listen: "),
        ("metrics_listen = here", "[vicar] metrics_listen: "),
        ("log_level = verbose", "[vicar] log_level: `verbose` is no level"),
        ("log_format = xml", "[vicar] log_format: "),
        ("tls_cert = /nowhere", "[vicar] tls_cert and tls_key"),
        ("tls_cert = /nowhere\ntls_key = /nowhere", "/nowhere"),
    ] {
        s.config(&format!("[vicar]\n{ini}\n"));
        expect(&run(&s, &["serve"]), 3, says);
    }
}

#[test]
fn options_are_read_as_oslo_reads_them() {
    let s = Scratch::new();
    let etc = s.path("etc");
    std::fs::create_dir(&etc).expect("made");
    let write = |name: &str, text: &str| {
        let path = etc.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let base = write(
        "keystone.conf",
        "[DEFAULT]\nstate_path = /nowhere\n[database]\nconnection = mysql://k:top$$secret@h/k\nmax_retries = $trust.max_redelegation_count\n\
         [token]\nexpiration = 10\nallow_expired_window = 10\n[trust]\nmax_redelegation_count = 7\n",
    );
    write("keystone.conf.d/20.conf", "[token]\nexpiration = 20\n");
    write("keystone.conf.d/10.conf", "[token]\nexpiration = 15\nallow_expired_window = 15\n");
    write("keystone.conf.d/ignored.txt", "[token]\nexpiration = soon\n");
    write("other.d/a.conf", "[token]\nexpiration = 30\n");
    let other = etc.join("other.d").display().to_string();
    let show = |args: &[&str], env: &[(&str, &str)]| -> Vec<Value> {
        let mut c = vicar(&[&["config", "show", "--json"], args].concat());
        c.envs(env.iter().copied()).current_dir(&s.0);
        let out = finish(c);
        assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
        assert!(!String::from_utf8_lossy(&out.stdout).contains("$secret"), "no password is shown");
        serde_json::from_slice::<Value>(&out.stdout).expect("JSON").as_array().expect("a list").clone()
    };
    let of = |rows: &[Value], name: &str| {
        let row = rows.iter().find(|r| r["option"] == name).unwrap_or_else(|| panic!("{name}"));
        (
            row["value"].as_str().unwrap_or_default().to_owned(),
            row["from"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let rows = show(&["--config-file", &base], &[]);
    let (value, from) = of(&rows, "[token] expiration");
    assert!(value == "20" && from.ends_with("keystone.conf.d/20.conf:2"), "{value} {from}");
    assert_eq!(of(&rows, "[token] allow_expired_window").0, "15");
    assert_eq!(of(&rows, "[database] max_retries").0, "7");
    assert_eq!(of(&rows, "[database] connection").0, "mysql://k@h/k");
    assert_eq!(
        of(&rows, "[fernet_tokens] key_repository"),
        ("/etc/keystone/fernet-keys/".into(), "default".into())
    );
    assert_eq!(of(&rows, "[credential] key_repository").0, "/etc/keystone/credential-keys/");
    // A directory that is named is read instead, and a data directory is where unset paths lie.
    let rows = show(&["--config-file", &base, "--config-dir", &other, "--data-dir", "/data"], &[]);
    assert_eq!(of(&rows, "[token] expiration").0, "30");
    assert_eq!(of(&rows, "[fernet_tokens] key_repository").0, "/data/fernet-keys");
    // The environment is over the files, and can name them.
    let env = [("OS_TOKEN__EXPIRATION", "40"), ("VICAR_CONFIG_FILE", base.as_str())];
    assert_eq!(of(&show(&[], &env), "[token] expiration"), ("40".into(), "OS_TOKEN__EXPIRATION".into()));
    let rows = show(&["--set", "--config-file", &base], &[]);
    assert!(rows.iter().all(|r| r["from"] != "default") && rows.len() == 5, "{rows:?}");
    // Each section of a provider is shown, with what is said for all.
    let providers = write(
        "providers.conf",
        "[oidc]\naudience = all\ntimeout = 2\n[oidc.b]\nissuer = https://b\nclient_id = v\nclient_secret = top$$secret\n\
         [oidc.a]\nissuer = https://a\ntimeout = 3\njwks = keys.json\n",
    );
    let rows = show(&["--config-file", &providers], &[]);
    for (name, value, from) in [
        ("[oidc.a] timeout", "3", "providers.conf:10"),
        ("[oidc.b] timeout", "2", "providers.conf:3"),
        ("[oidc.b] audience", "all", "providers.conf:2"),
        ("[oidc.b] client_secret", "(set, not shown)", "providers.conf:7"),
        ("[oidc.b] protocol", "openid", "default"),
    ] {
        let (shown, whence) = of(&rows, name);
        assert!(shown == value && whence.ends_with(from), "{name}: {shown} {whence}");
    }
    let rows = show(&["--set", "--config-file", &providers], &[]);
    assert_eq!(rows.len(), 8, "{rows:?}");
    let check = ["config", "check", "--config-file", &providers];
    expect(&run(&s, &check), 3, "keys.json: No such file");

    std::os::unix::fs::symlink("/nowhere/at/all", etc.join("other.d/z.conf")).expect("a link");
    let dangling = ["config", "check", "--config-file", &base, "--config-dir", &other];
    expect(&finish(vicar(&dangling)), 3, "other.d/z.conf");
    let broken = write("broken.conf", "[database]\nconnection = mysql://k:pa$word@h/k\n");
    expect(
        &finish(vicar(&["config", "show", "--config-file", &broken])),
        3,
        "`$word` is the name of no option",
    );
    expect(
        &finish(vicar(&["config", "check", "--config-file", &base, "--config-dir", "/nowhere"])),
        3,
        "--config-dir /nowhere",
    );
    let none = write("none.conf", "[token]\nexpiration = 60\n");
    // Without a database, everything is as without a configuration.
    assert_eq!(
        of(&show(&["--config-file", &none], &[]), "[credential] key_repository").0,
        "./vicar-data/credential-keys"
    );
}

#[test]
fn what_cannot_work_is_one_clear_line_and_a_code_of_its_own() {
    let s = Scratch::new();
    let off = ["--metrics-listen", "off", "--listen", "127.0.0.1:0"];
    let serve = |more: &[&str]| run(&s, &[&["serve"], &off[..], more].concat());
    let missing = s.path("nowhere").display().to_string();

    expect(&serve(&["--nonsense"]), 2, "--nonsense");
    expect(&serve(&["--listen", "here"]), 2, "--listen");
    expect(&serve(&["--tls-cert", &missing]), 2, "--tls-key");
    // 3: configuration, policy, TLS.
    expect(&serve(&["--config-file", &missing]), 3, "nowhere");
    let bad = s.file("bad.conf", "[token]\nexpiration = soon\n");
    expect(&serve(&["--config-file", &bad]), 3, "[token] expiration");
    let odd = s.file("odd.conf", "[database]\nconnection = oracle+x://u:hidden@h/k\n");
    let refused = serve(&["--config-file", &odd]);
    expect(&refused, 3, "oracle+x");
    assert!(!String::from_utf8_lossy(&refused.stderr).contains("hidden"));
    // 5: a server of databases that is not there, tried as often as is configured. Nobody listens on port 1.
    for scheme in ["mysql+pymysql", "postgresql"] {
        let away = format!(
            "[database]\nconnection = {scheme}://u:hidden@127.0.0.1:1/k\nmax_retries = 1\nretry_interval = 0\n"
        );
        let away = s.file("away.conf", away);
        let failed = serve(&["--config-file", &away]);
        expect(&failed, 5, "@127.0.0.1:1/k");
        let said = String::from_utf8_lossy(&failed.stderr);
        assert!(said.contains("tries=1") && !said.contains("tries=2") && !said.contains("hidden"), "{said}");
    }
    expect(&serve(&["--tls-cert", &missing, "--tls-key", &missing]), 3, "nowhere");
    assert!(!s.data().exists(), "nothing of this touches the data folder");
    let rules = s.file("policy.yaml", "\"identity:get_user\": \"role:\n");
    let policy = s.file("policy.conf", format!("[oslo_policy]\npolicy_file = {rules}\n"));
    expect(&serve(&["--config-file", &policy]), 3, "policy.yaml");
    // 7: the port; nothing is touched either.
    let other = Scratch::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    expect(&run(&other, &["serve", "--metrics-listen", "off", "--listen", &address]), 7, "in use");
    let busy = ["serve", "--listen", "127.0.0.1:0", "--metrics-listen", &address];
    expect(&run(&other, &busy), 7, "metrics");
    expect(&run(&other, &busy), 7, "choose another port with --metrics-listen");
    assert!(!other.data().exists());
    // 4: no folder can be made below a file.
    let file = s.file("file", "");
    let mut below = vicar(&["serve", "--data-dir", &format!("{file}/data")]);
    expect(&below.args(off).output().expect("runs"), 4, "file/data");
}

/// Where the locks are lost, whoever stops last beside it removes the log that it writes to.
#[test]
fn a_server_beside_another_one_has_its_own_locks_on_the_file() {
    let s = Scratch::new();
    let env = [("OS_BOOTSTRAP_PASSWORD", "pw")];
    let (first, second) = (serve(&s, &[], &env), serve(&s, &[], &env));
    let inode = format!(":{} ", std::fs::metadata(s.data().join("vicar.db")).expect("there").ino());
    let locks = std::fs::read_to_string("/proc/locks").expect("Linux");
    for one in [&first, &second] {
        let holder = format!(" {} ", one.child.id());
        assert!(
            locks.lines().any(|line| line.contains(&holder) && line.contains(&inode)),
            "{holder}{inode}{locks}"
        );
    }
}

#[test]
fn damage_and_missing_keys_are_named_and_nothing_is_made_anew_beside_them() {
    let s = Scratch::new();
    s.config("");
    let start = ["serve", "--metrics-listen", "off", "--listen", "127.0.0.1:0"];
    expect(&run(&s, &["db", "sync"]), 0, "the schema is there now");
    expect(&run(&s, &["keys", "setup"]), 0, "made");
    let bootstrap = ["bootstrap", "--bootstrap-password", "secret"];
    let done = run(&s, &bootstrap);
    expect(&done, 0, "user admin has role admin");
    assert!(!String::from_utf8_lossy(&done.stdout).contains("secret"));

    let keys = s.data().join("fernet-keys");
    let good = std::fs::read(keys.join("1")).expect("a key");
    std::fs::write(keys.join("1"), "not a key").expect("written");
    expect(&run(&s, &start), 6, "fernet-keys/1");
    std::fs::remove_file(keys.join("1")).expect("removed");
    std::fs::create_dir(keys.join("1")).expect("unreadable, even for root");
    expect(&run(&s, &start), 6, "fernet-keys/1");
    std::fs::remove_dir(keys.join("1")).expect("removed");
    std::fs::rename(&keys, s.path("away")).expect("moved");
    expect(&run(&s, &start), 6, "fernet-keys");
    expect(&run(&s, &["doctor"]), 1, "FAIL  token keys");
    assert!(!keys.exists(), "no new keys beside a database in use");
    std::fs::rename(s.path("away"), &keys).expect("moved back");
    std::fs::write(keys.join("1"), good).expect("written");
    expect(&run(&s, &["doctor"]), 0, "ok    database");

    let db = s.data().join("vicar.db");
    let whole = std::fs::read(&db).expect("read");
    let mut holed = whole.clone();
    for byte in &mut holed[20_000..60_000] {
        *byte = 0x5a;
    }
    std::fs::write(&db, &holed).expect("written");
    expect(&run(&s, &start), 5, "vicar.db");
    expect(&run(&s, &["doctor"]), 1, "FAIL  database");
    std::fs::write(&db, "nothing that SQLite would know").expect("written");
    expect(&run(&s, &start), 5, "vicar.db");
    expect(&run(&s, &["db", "version"]), 5, "vicar.db");
    std::fs::write(&db, whole).expect("written");
    expect(&run(&s, &["db", "version"]), 0, "(Keystone 29 and 30)");
    // Another Keystone's schema is left untouched.
    sql(&s, &[("UPDATE alembic_version SET version_num = 'older' WHERE version_num = 'c88cdce8f248'", &[])]);
    expect(&run(&s, &start), 5, "no release of Keystone up to 30");
}

const FIRST_START: [&str; 5] = ["serve", "--metrics-listen", "off", "--listen", "127.0.0.1:0"];

/// A data folder that is there before the first start, with a mode.
fn prepared(mode: u32) -> Scratch {
    let s = Scratch::new();
    s.config("");
    std::fs::create_dir(s.data()).expect("made");
    chmod(&s.data(), mode);
    s
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("chmod");
}

#[test]
fn a_first_start_is_refused_where_other_users_can_write() {
    for mode in [0o777, 0o1777, 0o702] {
        let s = prepared(mode);
        expect(&run(&s, &FIRST_START), 4, "other users can write to it");
        assert_eq!(contents(&s.data()), [], "nothing is made there");
        expect(&run(&s, &["db", "sync"]), 4, "other users can write to it");
        expect(&run(&s, &["bootstrap", "--bootstrap-password", "pw"]), 4, "other users can write to it");
    }
    // A directory above it, in which everybody could exchange it.
    let s = prepared(0o700);
    chmod(&s.0, 0o777);
    expect(&run(&s, &FIRST_START), 4, &format!("{}: other users", s.0.display()));
    std::fs::remove_dir(s.data()).expect("removed");
    expect(&run(&s, &FIRST_START), 4, &format!("{}: other users", s.0.display()));
    expect(&run(&s, &["keys", "setup"]), 4, &format!("{}: other users", s.0.display()));
    assert!(!s.data().exists());
    // A link of which nobody knows who put it there is as good as its directory, and where it leads to counts too.
    chmod(&s.0, 0o700);
    let open = prepared(0o777);
    symlink(open.data(), s.data()).expect("linked");
    expect(&run(&s, &FIRST_START), 4, &format!("{}: other users", open.data().display()));
}

#[test]
fn a_first_start_is_refused_in_a_folder_of_another_user() {
    let s = prepared(0o755);
    if std::os::unix::fs::chown(s.data(), Some(65_534), Some(65_534)).is_err() {
        // Only root can give a folder away, and nobody else can start in one that is not theirs.
        assert_ne!(
            std::fs::metadata("/proc/self").map(|m| std::os::unix::fs::MetadataExt::uid(&m)).ok(),
            Some(0)
        );
        return;
    }
    expect(&run(&s, &FIRST_START), 4, "it belongs to user 65534");
    assert_eq!(contents(&s.data()), []);
    // Nor what somebody has put there as their own.
    let s = prepared(0o700);
    std::fs::write(s.data().join("vicar.db"), "").expect("written");
    chmod(&s.data().join("vicar.db"), 0o600);
    std::os::unix::fs::chown(s.data().join("vicar.db"), Some(65_534), None).expect("root");
    expect(&run(&s, &FIRST_START), 4, "vicar.db: it belongs to user 65534");
}

#[test]
fn what_somebody_planted_neither_learns_the_password_nor_is_written_through() {
    let s = prepared(0o700);
    let config = s.path("vicar.conf").display().to_string();
    let data = s.data();
    std::fs::write(data.join("clouds.tmp"), "").expect("written");
    chmod(&data.join("clouds.tmp"), 0o666);
    let mut planted = std::fs::File::open(data.join("clouds.tmp")).expect("opened");
    for name in ["openrc", "openrc.tmp"] {
        let victim = s.file(&format!("victim-{name}"), "untouched");
        symlink(victim, data.join(name)).expect("linked");
    }
    // Keys are made in folders that are there and empty. A left-over of a rotation is not written to.
    std::fs::create_dir(data.join("fernet-keys")).expect("made");
    chmod(&data.join("fernet-keys"), 0o700);
    symlink(s.file("victim-key", "untouched"), data.join("fernet-keys/0.tmp")).expect("linked");
    let server = serve(&s, &["--config-file", &config], &[("VICAR_BOOTSTRAP_PASSWORD", "topsecret")]);
    assert_eq!(server.login("topsecret"), 201);
    let mut read = String::new();
    planted.read_to_string(&mut read).expect("read");
    assert_eq!(read, "", "whoever holds the planted file open sees nothing");
    for name in ["victim-openrc", "victim-openrc.tmp", "victim-key"] {
        assert_eq!(std::fs::read_to_string(s.path(name)).expect("read"), "untouched", "{name}");
    }
    for name in ["clouds.yaml", "openrc", "vicar.db", "fernet-keys/0", "fernet-keys/1", "credential-keys/0"] {
        let found = std::fs::symlink_metadata(data.join(name)).expect("there");
        assert!(found.is_file(), "{name} is a file of its own");
        assert_eq!(found.permissions().mode() & 0o777, 0o600, "{name}");
    }
}

#[test]
fn a_first_start_fills_no_database_that_others_can_open() {
    let s = prepared(0o700);
    let db = s.data().join("vicar.db");
    std::fs::write(&db, "").expect("written");
    chmod(&db, 0o666);
    expect(&run(&s, &FIRST_START), 4, "vicar.db: other users can open it (mode 0666)");
    assert_eq!(std::fs::read(&db).expect("read"), b"", "nothing is put into it");
    // One with a schema is still empty.
    chmod(&db, 0o600);
    expect(&run(&s, &["db", "sync"]), 0, "the schema is there now");
    chmod(&db, 0o644);
    expect(&run(&s, &FIRST_START), 4, "vicar.db: other users can open it (mode 0644)");
    assert!(!s.data().join("fernet-keys").exists());
    // A link leads to a file that may have any owner.
    std::fs::rename(&db, s.path("elsewhere")).expect("moved");
    symlink(s.path("elsewhere"), &db).expect("linked");
    expect(&run(&s, &FIRST_START), 4, "vicar.db: it is not a regular file");
    // What SQLite would read into a new database.
    std::fs::remove_file(&db).expect("removed");
    std::fs::write(s.data().join("vicar.db-wal"), "planted").expect("written");
    expect(&run(&s, &FIRST_START), 4, "vicar.db-wal: this belongs to a database that is not there");
    std::fs::remove_file(s.data().join("vicar.db-wal")).expect("removed");
    drop(serve(&s, &["--config-file", &s.path("vicar.conf").display().to_string()], &[]));
}

#[test]
fn keys_without_a_database_are_a_question_for_the_operator() {
    let ways = ["bring it back", "run `vicar bootstrap`"];
    let s = prepared(0o700);
    let db = s.data().join("vicar.db");
    expect(&run(&s, &["keys", "setup"]), 0, "made");
    let keys = contents(&s.data());
    for way in ways {
        expect(&run(&s, &FIRST_START), 5, way);
    }
    expect(&run(&s, &FIRST_START), 5, "is not there");
    assert_eq!(contents(&s.data()), keys, "nothing is made beside them");
    // A database of no bytes, as a full disk or a mistaken copy leaves it.
    std::fs::write(&db, "").expect("written");
    chmod(&db, 0o600);
    expect(&run(&s, &FIRST_START), 5, "is empty");
    assert_eq!(std::fs::read(&db).expect("read"), b"");
    // One with a schema and nothing else.
    expect(&run(&s, &["db", "sync"]), 0, "the schema is there now");
    expect(&run(&s, &FIRST_START), 5, "is empty");
    // The way out that keeps the keys.
    let bootstrap = ["bootstrap", "--bootstrap-password", "pw"];
    expect(&run(&s, &bootstrap), 0, "user admin has role admin");
    let config = s.path("vicar.conf").display().to_string();
    let server = serve(&s, &["--config-file", &config], &[]);
    assert_eq!(server.login("pw"), 201);
    assert_eq!(contents(&s.data().join("fernet-keys")), keys_of(&keys, "fernet-keys"));
}

fn keys_of(all: &[(PathBuf, Vec<u8>)], folder: &str) -> Vec<(PathBuf, Vec<u8>)> {
    all.iter().filter(|f| f.0.parent().is_some_and(|p| p.ends_with(folder))).cloned().collect()
}

#[test]
fn a_first_start_that_fails_can_be_done_again() {
    let s = prepared(0o700);
    let config = s.path("vicar.conf").display().to_string();
    let mut c = vicar(&FIRST_START);
    c.arg("--data-dir").arg(s.data()).args(["--config-file", &config]);
    let too_long = "x".repeat(5000);
    c.env("VICAR_BOOTSTRAP_PASSWORD", too_long);
    expect(&finish(c), 1, "PASSWORD");
    let server = serve(&s, &["--config-file", &config], &[("VICAR_BOOTSTRAP_PASSWORD", "short")]);
    assert_eq!(server.login("short"), 201);
}

#[test]
fn bootstrap_gives_the_administrator_a_new_password_once() {
    let s = Scratch::new();
    let config = s.config("");
    run(&s, &["keys", "setup"]);
    expect(&run(&s, &["bootstrap"]), 2, "--bootstrap-password");
    let url = "http://identity.test/v3";
    let all = [
        "bootstrap",
        "--bootstrap-password",
        "one",
        "--bootstrap-region-id",
        "R",
        "--bootstrap-public-url",
        url,
    ];
    expect(&run(&s, &all), 0, "");
    expect(&run(&s, &all), 0, "");
    assert_eq!(count(&s, "SELECT COUNT(*) FROM revocation_event"), 0, "the same password ends no session");
    assert_eq!(count(&s, "SELECT COUNT(*) FROM endpoint"), 1);
    let mut by_variable = vicar(&["bootstrap", "--config-file", &config]);
    by_variable.arg("--data-dir").arg(s.data()).env("OS_BOOTSTRAP_PASSWORD", "two");
    expect(&by_variable.output().expect("runs"), 0, "");
    assert_eq!(count(&s, "SELECT COUNT(DISTINCT user_id) FROM revocation_event"), 1);
    let server = serve(&s, &["--config-file", &config], &[]);
    assert_eq!(server.login("one"), 401);
    assert_eq!(server.login("two"), 201);
    assert!(!s.data().join("clouds.yaml").exists(), "only a first start writes it");
}

#[test]
fn a_configuration_names_database_and_keys_and_what_does_nothing_is_named() {
    let s = Scratch::new();
    let elsewhere = s.path("etc");
    let config = s.config(&format!(
        "[database]\nconnection = sqlite:///{0}/k.db\n[fernet_tokens]\nkey_repository = {0}/f\n\
         [credential]\nkey_repository = {0}/c\n[DEFAULT]\npublic_endpoint = https://id.example.org/\n\
         use_stderr = true\n[memcache]\ndead_retry = 5\n[saml]\nidp_entity_id = https://x/\n\
         [security_compliance]\nlockout_failure_attempt = 5\n[nova]\nthing = x\n",
        elsewhere.display()
    ));
    let mut c = vicar(&["bootstrap", "--config-file", &config, "--bootstrap-password", "pw"]);
    expect(&c.current_dir(&s.0).output().expect("runs"), 0, "");
    let mut c = vicar(&["keys", "setup", "--config-file", &config]);
    expect(&c.current_dir(&s.0).output().expect("runs"), 0, "");
    let server = serve(&s, &["--config-file", &config], &[]);
    assert!(elsewhere.join("k.db").exists() && elsewhere.join("f/1").exists());
    assert!(!s.data().exists(), "nothing is left to put there");
    let said = std::fs::read_to_string(s.path("log")).expect("log");
    let line = |part: &str| {
        let lines: Vec<&str> = said.lines().filter(|l| l.contains(part)).collect();
        assert_eq!(lines.len(), 1, "{part}: {said}");
        lines[0].to_owned()
    };
    let idle = line("nothing follows from these");
    assert!(idle.contains("[memcache] dead_retry") && idle.contains("[DEFAULT] use_stderr"), "{idle}");
    assert!(line("idp_entity_id").contains("no assertions are made here"));
    assert!(
        line("lockout_failure_attempt\"")
            .contains("is [security_compliance] lockout_failure_attempts meant?")
    );
    assert!(line("[nova] thing").contains("there is no such option"));
    assert_eq!(server.url, "https://id.example.org/v3");
}

#[test]
fn links_name_the_host_that_the_client_called_or_the_configured_one() {
    let s = Scratch::new();
    let config = s.config("");
    let mut server = serve(&s, &["--config-file", &config], &[]);
    let link = |body: &str| {
        let body: Value = serde_json::from_str(body).expect("JSON");
        body["version"]["links"][0]["href"].as_str().expect("a link").to_owned()
    };
    assert_eq!(link(&get(&server.url, &[]).1), format!("{}/", server.url));
    assert_eq!(
        link(&get(&server.url, &[("Host", "id.example.org:5000")]).1),
        "http://id.example.org:5000/v3/"
    );
    let forged = get(&server.url, &[("Host", "evil\"><b>")]);
    assert!(!forged.1.contains("evil"), "{}", forged.1);
    let old = server.url.clone();
    server.signal("-TERM");
    // The catalog still names the old port: said once.
    drop(serve(&s, &["--config-file", &config], &[]));
    let said = std::fs::read_to_string(s.path("log")).expect("log");
    assert_eq!(said.lines().filter(|l| l.contains("sends clients elsewhere") && l.contains(&old)).count(), 1);
    let public = s.config("[DEFAULT]\npublic_endpoint = https://id.example.org/identity\n");
    let log = std::fs::File::create(s.path("log")).expect("log");
    let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").to_string();
    let mut c = vicar(&["serve", "--metrics-listen", "off", "--config-file", &public, "--listen", &port]);
    let child = c.arg("--data-dir").arg(s.data()).stdout(log).spawn().expect("starts");
    let direct = Running { child, screen: Vec::new(), url: format!("http://{port}/v3") };
    wait_for(&port);
    assert_eq!(link(&get(&direct.url, &[]).1), "https://id.example.org/identity/v3/");
}

fn wait_for(address: &str) {
    let end = Instant::now() + Duration::from_secs(20);
    while get_raw(address, "GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").is_none() {
        assert!(Instant::now() < end, "no server at {address}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn get_raw(address: &str, request: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut out = String::new();
    stream.read_to_string(&mut out).ok()?;
    (!out.is_empty()).then_some(out)
}

#[test]
fn the_log_has_the_trace_of_a_client() {
    let s = Scratch::new();
    let server = serve(&s, &["--log-format", "json"], &[]);
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    get(&format!("{}/users/one", server.url), &[("traceparent", &parent)]);
    get(
        &format!("{}/users/two", server.url),
        &[("traceparent", &format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)))],
    );
    get(&format!("{}/users/three", server.url), &[]);
    let end = Instant::now() + Duration::from_secs(10);
    let line = |path: &str| loop {
        let log = std::fs::read_to_string(s.path("log")).expect("log");
        if let Some(line) = log.lines().find(|l| l.contains(path) && l.ends_with('}')) {
            break serde_json::from_str::<serde_json::Value>(line).expect("JSON");
        }
        assert!(Instant::now() < end, "{log}");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(line("/users/one")["trace_id"], trace);
    assert!(line("/users/two").get("trace_id").is_none());
    assert!(line("/users/three").get("trace_id").is_none());
    s.config("[vicar]\notlp_endpoint = grpc://collector:4317\n");
    expect(&run(&s, &["doctor"]), 1, "[vicar] otlp_endpoint");
    expect(&run(&s, &["serve", "--listen", "127.0.0.1:0"]), 3, "[vicar] otlp_endpoint");
}

#[test]
fn metrics_have_a_listener_of_their_own() {
    let s = Scratch::new();
    let config = s.config("");
    let at = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").to_string();
    let server = serve(&s, &["--config-file", &config, "--metrics-listen", &at], &[]);
    assert!(server.screen.iter().any(|l| l.contains(&format!("http://{at}/metrics"))));
    get(&format!("{}/users/0123456789abcdef", server.url), &[]);
    let (status, text) = get(&format!("http://{at}/metrics"), &[]);
    assert_eq!(status, 200);
    assert!(text.contains("vicar_http_requests_total{") && text.contains("vicar_dead_trusts 0"), "{text}");
    assert!(!text.contains("0123456789abcdef"), "ids are no labels: {text}");
    assert_eq!(get(&format!("http://{at}/healthz"), &[]), (200, "ok\n".to_owned()));
    assert_eq!(get(&format!("http://{at}/readyz"), &[]), (200, "ready\n".to_owned()));
    assert_eq!(get(&format!("http://{at}/v3"), &[]).0, 404, "nothing else is there");
    assert_eq!(get(&server.url.replace("/v3", "/metrics"), &[]).0, 404, "and metrics are not public");
    // Ready means that keys and database can be used.
    std::fs::rename(s.data().join("vicar.db"), s.path("away")).expect("moved");
    assert_eq!(get(&format!("http://{at}/healthz"), &[]).0, 200);
}

#[test]
fn logs_are_json_when_asked_and_hold_no_secret() {
    let s = Scratch::new();
    let config = s.config("");
    let more = ["--config-file", &config, "--log-format", "json"];
    let mut server = serve(&s, &more, &[("VICAR_BOOTSTRAP_PASSWORD", "topsecret")]);
    assert_eq!(server.login("topsecret"), 201);
    assert_eq!(server.signal("-TERM"), 0);
    let said = std::fs::read_to_string(s.path("log")).expect("log");
    let lines: Vec<Value> = said.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    let request = lines.iter().find(|l| l["message"] == "request").expect("the request's line");
    assert_eq!(request["path"], "/v3/auth/tokens");
    assert_eq!(request["status"], 201);
    assert!(!said.contains("topsecret"));
}

/// OSSA-2014-021 and its like: at the loudest level, with good requests and broken ones.
#[test]
fn not_even_the_loudest_log_holds_a_secret() {
    let s = Scratch::new();
    let config = s.config("");
    let events = s.path("security.log");
    let events_at = events.display().to_string();
    let more = ["--config-file", &config, "--log-level", "trace", "--security-log", &events_at];
    let mut server = serve(&s, &more, &[("VICAR_BOOTSTRAP_PASSWORD", "topsecret")]);
    let (agent, url) =
        (ureq::Agent::config_builder().http_status_as_error(false).build().new_agent(), server.url.clone());
    let send = |path: &str, token: &str, body: String| {
        let request = agent.post(format!("{url}{path}")).header("X-Auth-Token", token);
        request.send(body.as_bytes()).expect("an answer")
    };
    let password = |secret: &str| {
        json!({"auth": {"identity": {"methods": ["password"], "password": {"user": {
            "name": "admin", "domain": {"id": "default"}, "password": secret}}},
            "scope": {"project": {"name": "admin", "domain": {"id": "default"}}}}})
        .to_string()
    };
    let mut login = send("/auth/tokens", "", password("topsecret"));
    let token = login.headers()["x-subject-token"].to_str().expect("text").to_owned();
    let body: Value = serde_json::from_str(&login.body_mut().read_to_string().expect("text")).expect("JSON");
    let (user, project) = (&body["token"]["user"]["id"], &body["token"]["project"]["id"]);
    let path = format!("/users/{}/credentials/OS-EC2", user.as_str().expect("an id"));
    let mut made = send(&path, &token, json!({"tenant_id": project}).to_string());
    let made: Value = serde_json::from_str(&made.body_mut().read_to_string().expect("text")).expect("JSON");
    let secret = made["credential"]["secret"].as_str().expect("a secret").to_owned();
    let blob = "{\"access\": \"a\", \"secret\": \"blobsecret\"}";
    for (path, body) in [
        ("/auth/tokens", password("wrongsecret")),
        ("/auth/tokens", "{\"auth\": {\"password\": \"brokensecret".to_owned()),
        ("/users", json!({"user": {"name": 5, "password": "schemasecret"}}).to_string()),
        ("/users", json!({"user": {"name": "n", "password": ["listsecret"]}}).to_string()),
        ("/credentials", json!({"credential": {"type": "ec2", "user_id": 5, "blob": blob}}).to_string()),
        (
            "/credentials",
            json!({"credential": {"type": "ec2", "user_id": user, "project_id": project,
            "blob": blob}})
            .to_string(),
        ),
        (
            "/ec2tokens",
            json!({"credentials": {"access": "a", "signature": "signsecret", "params": 5}}).to_string(),
        ),
        (
            "/auth/tokens",
            json!({"auth": {"identity": {"methods": ["token"], "token": {"id": "tokensecret"}}}}).to_string(),
        ),
    ] {
        let answer = send(path, &token, body).body_mut().read_to_string().expect("text");
        assert!(!answer.contains("secret\"]") && !answer.contains("schemasecret"), "{answer}");
    }
    // Whoever types a password into another field.
    for name in ["namesecret", "domainsecret"] {
        let user = json!({"name": name, "domain": {"name": name}, "password": "x", "id": null});
        let auth = json!({"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}});
        send("/auth/tokens", "", auth.to_string());
    }
    assert_eq!(server.signal("-TERM"), 0);
    let said = std::fs::read_to_string(s.path("log")).expect("log");
    assert!(said.contains("POST"), "something was logged");
    let events = std::fs::read_to_string(&events).expect("a security log");
    assert!(events.contains("\"credential.create\"") || events.contains("\"keypair.create\""), "{events}");
    let said = said + &events;
    for hidden in [
        "topsecret",
        "wrongsecret",
        "brokensecret",
        "schemasecret",
        "listsecret",
        "blobsecret",
        "signsecret",
        "tokensecret",
        "namesecret",
        "domainsecret",
        &token,
        &secret,
    ] {
        assert!(!said.contains(hidden), "{hidden} is in the log");
    }
}

#[test]
fn with_a_certificate_everything_is_encrypted_and_links_say_so() {
    let s = Scratch::new();
    let config = s.config("");
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let cert = s.file("cert.pem", made.cert.pem());
    let key = s.file("key.pem", made.signing_key.serialize_pem());
    expect(&run(&s, &["serve", "--tls-cert", &key, "--tls-key", &key]), 3, "TLS");
    let server = serve(&s, &["--config-file", &config, "--tls-cert", &cert, "--tls-key", &key], &[]);
    assert!(server.url.starts_with("https://"), "{}", server.url);
    let mut roots = tokio_rustls::rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a root");
    let client =
        tokio_rustls::rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = "127.0.0.1".try_into().expect("a name");
    let session = tokio_rustls::rustls::ClientConnection::new(Arc::new(client), name).expect("a session");
    let stream = TcpStream::connect(server.address()).expect("connects");
    let mut tls = tokio_rustls::rustls::StreamOwned::new(session, stream);
    let host = server.address();
    write!(tls, "GET /v3 HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    let _ = tls.read_to_string(&mut answer);
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains(&format!("https://{host}/v3/")),
        "{answer}"
    );
    let plain = get_raw(&host, "GET /v3 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert!(plain.is_none_or(|a| !a.contains("version")), "no plain HTTP on this port");
}

#[test]
fn a_stop_finishes_the_request_under_way() {
    let s = Scratch::new();
    let config = s.config("");
    let mut server = serve(&s, &["--config-file", &config], &[("VICAR_BOOTSTRAP_PASSWORD", "pw")]);
    let body = json!({"auth": {"identity": {"methods": ["password"], "password": {"user": {
        "name": "admin", "domain": {"id": "default"}, "password": "pw"}}}}})
    .to_string();
    let mut stream = TcpStream::connect(server.address()).expect("connects");
    let (now, later) = body.split_at(10);
    write!(stream, "POST /v3/auth/tokens HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{now}", body.len())
        .expect("sent");
    std::thread::sleep(Duration::from_millis(200));
    let pid = server.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
    std::thread::sleep(Duration::from_millis(200));
    assert!(TcpStream::connect(server.address()).is_err(), "no new connections");
    stream.write_all(later.as_bytes()).expect("sent");
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert_eq!(server.child.wait().expect("ends").code(), Some(0));
}

/// A trust's row; `more` are further columns with their values.
fn trust(
    id: &str,
    expires: Option<i64>,
    more: &[(&str, vicar::store::Value)],
) -> (String, Vec<vicar::store::Value>) {
    let mut columns =
        "id, trustor_user_id, trustee_user_id, project_id, impersonation, expires_at_int".to_owned();
    let mut values = args![id, "alice", id, "p", true, expires].to_vec();
    for (column, value) in more {
        columns.push_str(", ");
        columns.push_str(column);
        values.push(value.clone());
    }
    let marks = vec!["?"; values.len()].join(", ");
    (format!("INSERT INTO trust ({columns}) VALUES ({marks})"), values)
}

/// A furnished folder with trusts in every state of death, one that lives, and what belongs to them.
fn graveyard(ini: &str) -> Scratch {
    let s = Scratch::new();
    s.config(ini);
    run(&s, &["keys", "setup"]);
    expect(&run(&s, &["bootstrap", "--bootstrap-password", "pw"]), 0, "");
    let now = Clock::system().now();
    let day = 86_400 * SECOND;
    let rows = [
        trust("live", Some(now + day), &[("remaining_uses", 1i64.into())]),
        trust("expired", Some(now - day), &[("redelegation_count", 1i64.into())]),
        trust("below-expired", None, &[("redelegated_trust_id", "expired".into())]),
        trust("exhausted", None, &[("remaining_uses", 0i64.into())]),
        trust("orphan", None, &[("redelegated_trust_id", "gone".into())]),
        trust(
            "deleted-now",
            None,
            &[("deleted_at", DateTime(now - SECOND).into()), ("redelegation_count", 1i64.into())],
        ),
        trust("deleted-long-ago", None, &[("deleted_at", DateTime(now - 40 * day).into())]),
        trust("below-deleted", None, &[("redelegated_trust_id", "deleted-now".into())]),
    ];
    let mut all: Vec<(&str, Vec<vicar::store::Value>)> =
        rows.iter().map(|(text, values)| (text.as_str(), values.clone())).collect();
    let user = "INSERT INTO \"user\" (id, extra, enabled, domain_id) VALUES (?, '{}', ?, 'default')";
    all.push((user, args!["alice", true].to_vec()));
    for (_, values) in &rows {
        all.push((user, args![values[0].clone(), true].to_vec()));
    }
    let project = "INSERT INTO project (id, name, extra, enabled, domain_id, parent_id, is_domain)
                   VALUES ('p', 'p', '{}', ?, 'default', 'default', ?)";
    all.push((project, args![true, false].to_vec()));
    let role = "INSERT INTO trust_role (trust_id, role_id) VALUES (?, 'r')";
    let credential = "INSERT INTO credential (id, user_id, project_id, type, key_hash, encrypted_blob)
                      VALUES (?, 'alice', 'p', ?, 'h', 'b')";
    let keypair = "INSERT INTO vicar_keypair (credential_id, access, trust_id, audit_chain_id, created_at)
                   VALUES (?, ?, ?, ?, 0)";
    for id in ["live", "expired", "below-expired", "deleted-now", "deleted-long-ago", "removed-by-keystone"] {
        all.push((role, args![id].to_vec()));
        all.push((credential, args![id, "ec2-trust"].to_vec()));
        all.push((keypair, args![id, id, id, id].to_vec()));
    }
    all.push((credential, args!["plain", "ec2"].to_vec()));
    let event = "INSERT INTO revocation_event (user_id, issued_before, revoked_at) VALUES (?, ?, ?)";
    for (user, at) in [("recent", now - 30 * 3600 * SECOND), ("forgotten", now - 3 * day)] {
        all.push((event, args![user, DateTime(at), DateTime(at)].to_vec()));
    }
    let seen = "INSERT INTO vicar_replay (fingerprint, seen_until) VALUES (?, ?)";
    all.push((seen, args!["old", now - SECOND].to_vec()));
    all.push((seen, args!["young", now + day].to_vec()));
    let all: Vec<(&str, &[vicar::store::Value])> = all.iter().map(|(t, v)| (*t, v.as_slice())).collect();
    sql(&s, &all);
    s
}

#[test]
fn the_reaper_ends_what_is_over_and_removes_what_ended_long_ago() {
    let s = graveyard("");
    let config = s.path("vicar.conf").display().to_string();
    let at = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").to_string();
    let mut server = serve(&s, &["--config-file", &config, "--metrics-listen", &at], &[]);
    let end = Instant::now() + Duration::from_secs(20);
    // Six of the eight died and are kept; the seventh died too long ago.
    while !get(&format!("http://{at}/metrics"), &[]).1.contains("vicar_dead_trusts 6") {
        assert!(Instant::now() < end, "{}", get(&format!("http://{at}/metrics"), &[]).1);
        std::thread::sleep(Duration::from_millis(50));
    }
    server.signal("-TERM");
    assert_eq!(count(&s, "SELECT COUNT(*) FROM trust"), 7);
    assert_eq!(count(&s, "SELECT COUNT(*) FROM trust WHERE deleted_at IS NULL"), 1, "only the live one");
    assert_eq!(count(&s, "SELECT COUNT(*) FROM vicar_keypair"), 1);
    assert_eq!(count(&s, "SELECT COUNT(*) FROM credential"), 2, "the live trust's and the plain one");
    assert_eq!(count(&s, "SELECT COUNT(*) FROM trust_role"), 4, "no role of a trust that is not stored");
    // What a token could still be asked about is remembered; the ends are revocations of their own.
    assert_eq!(count(&s, "SELECT COUNT(*) FROM revocation_event WHERE user_id = 'recent'"), 1);
    assert_eq!(count(&s, "SELECT COUNT(*) FROM revocation_event WHERE user_id = 'forgotten'"), 0);
    // An event is written once more when its commit ends in another second than it began.
    let ends = "SELECT COUNT(DISTINCT trust_id) FROM revocation_event WHERE trust_id = 'below-expired'";
    assert_eq!(count(&s, ends), 1);
    assert_eq!(count(&s, "SELECT COUNT(*) FROM vicar_replay"), 1);
}

#[test]
fn trust_flush_removes_ended_trusts_with_all_that_speaks_of_them() {
    let s = graveyard("");
    expect(&run(&s, &["doctor"]), 1, "warn  dead delegations: 1 trusts expired, 1 used up, 2 without");
    expect(&run(&s, &["trust", "flush", "--date", "soon"]), 2, "soon");
    expect(&run(&s, &["trust", "flush", "--trustee-user-id", "deleted-now"]), 0, "1 trusts removed");
    expect(&run(&s, &["trust", "flush", "--date", "01-01-2020"]), 0, "0 trusts removed");
    assert_eq!(count(&s, "SELECT COUNT(*) FROM trust"), 7, "what ended today is not before that day");
    expect(&run(&s, &["trust", "flush"]), 0, "6 trusts removed");
    assert_eq!(count(&s, "SELECT COUNT(*) FROM trust"), 1);
    assert_eq!(count(&s, "SELECT COUNT(*) FROM trust_role"), 1);
    assert_eq!(count(&s, "SELECT COUNT(*) FROM vicar_trust_state"), 0);
    assert_eq!(count(&s, "SELECT COUNT(*) FROM vicar_keypair"), 1);
    expect(&run(&s, &["doctor"]), 1, "ok    dead delegations");
}

#[test]
fn trust_unused_lists_what_lives_and_nobody_uses_and_changes_nothing() {
    let s = graveyard("");
    let now = Clock::system().now();
    let day = 86_400 * SECOND;
    let credential = "INSERT INTO application_credential (internal_id, id, name, secret_hash, user_id, project_id, expires_at)
                      VALUES (?, ?, ?, 'h', 'alice', 'p', ?)";
    let seen = "INSERT INTO vicar_use (id, type, created_at, last_used_at, use_count) VALUES (?, ?, ?, ?, ?)";
    sql(
        &s,
        &[
            (credential, args![1i64, "robot", "robot", vicar::store::Value::Null]),
            (credential, args![2i64, "over", "over", now - day]),
            (seen, args!["live", "trust", now - 200 * day, now - 100 * day, 7i64]),
            (seen, args!["live", "keypair", now - 200 * day, now - 10 * day, 3i64]),
            (seen, args!["robot", "application_credential", now - 95 * day, vicar::store::Value::Null, 0i64]),
        ],
    );
    let before = contents(&s.0);
    let list = |more: &[&str]| {
        let done = run(&s, &[&["trust", "unused"], more].concat());
        expect(&done, 0, "");
        String::from_utf8(done.stdout).expect("text")
    };
    let found = |more: &[&str]| {
        let told: Value = serde_json::from_str(&list(&[more, &["--json"]].concat())).expect("JSON");
        told["unused"].as_array().expect("a list").clone()
    };
    let named = |more: &[&str]| -> Vec<String> {
        let text = |one: &Value, name: &str| one[name].as_str().expect("text").to_owned();
        found(more).iter().map(|one| format!("{} {}", text(one, "type"), text(one, "id"))).collect()
    };
    // What is over is not listed, and of the plain keypair nothing is known.
    let unused = ["trust live", "keypair plain", "application_credential robot"];
    assert_eq!(named(&[]), unused);
    assert_eq!(named(&["--since", "90d"]), unused);
    assert_eq!(named(&["--since", "99d"]), ["trust live", "keypair plain"]);
    assert_eq!(named(&["--since", "101d"]), ["keypair plain"]);
    let at = vicar::clock::iso(now - 5 * day);
    assert_eq!(named(&["--since", &at]).len(), 4);
    let trust = &found(&[])[0];
    assert_eq!((&trust["trustor_user_id"], &trust["trustee_user_id"]), (&json!("alice"), &json!("live")));
    assert_eq!((&trust["project_id"], &trust["use_count"]), (&json!("p"), &json!(7)));
    let lines = list(&[]);
    let line = lines.lines().find(|line| line.starts_with("trust ")).expect("a line");
    let cells: Vec<&str> = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    assert_eq!(cells, ["trust", "live", "alice", "live", "p", "200 d", "100 d"]);
    assert!(lines.contains("95 d") && lines.contains("never") && lines.contains("unknown"), "{lines}");
    assert!(lines.contains("3 that were neither used nor made since 20"), "{lines}");
    expect(&run(&s, &["trust", "unused", "--since", "lately"]), 2, "not a span like 90d");
    assert_eq!(contents(&s.0), before);
}

#[test]
fn a_stop_writes_who_used_delegations() {
    let s = Scratch::new();
    let config = s.config("");
    let mut server = serve(&s, &["--config-file", &config], &[("VICAR_BOOTSTRAP_PASSWORD", "pw")]);
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let post = |path: &str, token: &str, body: Value| {
        let request = agent.post(format!("{}{path}", server.url)).header("X-Auth-Token", token);
        let mut answer = request.send(body.to_string().as_bytes()).expect("an answer");
        assert_eq!(answer.status().as_u16(), 201);
        let token = answer.headers().get("x-subject-token").map(|t| t.to_str().expect("text").to_owned());
        let body: Value = answer.body_mut().read_to_string().expect("text").parse().expect("JSON");
        (token.unwrap_or_default(), body)
    };
    let (token, admin) = post(
        "/auth/tokens",
        "",
        json!({"auth": {
        "identity": {"methods": ["password"], "password": {"user": {
            "name": "admin", "domain": {"id": "default"}, "password": "pw"}}},
        "scope": {"project": {"name": "admin", "domain": {"id": "default"}}}}}),
    );
    let user = admin["token"]["user"]["id"].as_str().expect("an id");
    let path = format!("/users/{user}/application_credentials");
    let (_, made) = post(&path, &token, json!({"application_credential": {"name": "a"}}));
    let own = &made["application_credential"];
    let login = json!({"auth": {"identity": {"methods": ["application_credential"],
        "application_credential": {"id": own["id"], "secret": own["secret"]}}}});
    for _ in 0..2 {
        post("/auth/tokens", "", login.clone());
    }
    assert_eq!(server.signal("-TERM"), 0);
    assert_eq!(count(&s, "SELECT use_count FROM vicar_use WHERE type = 'application_credential'"), 2);
}

#[test]
fn credential_keys_rotate_only_when_nothing_gets_lost() {
    let s = Scratch::new();
    s.config("");
    run(&s, &["keys", "setup"]);
    expect(&run(&s, &["bootstrap", "--bootstrap-password", "pw"]), 0, "");
    let dir = s.data().join("credential-keys");
    let ring = || vicar::crypto::keys::KeyRing::new(dir.clone(), true).current().expect("keys");
    let blob = ring().encrypt(b"{\"secret\": 1}", 5).expect("encrypts");
    let hash = ring().primary_hash().expect("a key").to_owned();
    let insert = "INSERT INTO credential (id, user_id, type, key_hash, encrypted_blob) VALUES ('c', 'u', 'totp', ?, ?)";
    sql(&s, &[(insert, args![hash, blob])]);
    expect(&run(&s, &["keys", "rotate", "--credential"]), 0, "the primary key is 2 now");
    expect(&run(&s, &["doctor"]), 0, "warn  credentials: 1 are encrypted with an older key");
    expect(&run(&s, &["keys", "rotate", "--credential"]), 1, "keys migrate");
    expect(&run(&s, &["keys", "migrate"]), 0, "1 credentials encrypted anew");
    expect(&run(&s, &["keys", "rotate", "--credential"]), 0, "the primary key is 3 now");
    expect(&run(&s, &["keys", "migrate"]), 0, "1 credentials");
    for n in 2..6 {
        expect(&run(&s, &["keys", "rotate"]), 0, &format!("the primary key is {n} now"));
    }
    let mut left: Vec<String> = std::fs::read_dir(s.data().join("fernet-keys"))
        .expect("listed")
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    left.sort();
    assert_eq!(left, ["0", "4", "5"]);
    // A key that is gone is told, and its credential is left as it is.
    sql(&s, &[("UPDATE credential SET encrypted_blob = 'gAAAAA', key_hash = 'lost'", &[])]);
    expect(&run(&s, &["keys", "migrate"]), 6, "fit none of the keys");
    expect(&run(&s, &["doctor"]), 1, "FAIL  credentials: 1 fit none of the keys");
}

#[test]
fn the_doctor_finds_what_is_wrong() {
    let s = Scratch::new();
    expect(&run(&s, &["doctor"]), 1, "is not there");
    assert!(!s.data().exists(), "looking makes nothing");
    s.config("[auth]\nmethods = password,token\n[oslo_policy]\npolicy_file = rules.yaml\n[x]\ny = z\n");
    expect(&run(&s, &["doctor"]), 1, "FAIL  policy: [oslo_policy] policy_file: rules.yaml is not there");
    let rules =
        s.file("rules.yaml", "\"identity:get_user\": \"group:ops\"\n\"identity:revocation_list\": \"!\"\n");
    run(&s, &["keys", "setup"]);
    expect(&run(&s, &["bootstrap", "--bootstrap-password", "pw"]), 0, "");
    let all = run(&s, &["doctor"]);
    for line in [
        "warn  [x] y: there is no such option",
        "warn  [auth] methods: ec2credential is missing",
        &format!("ok    policy: read from {rules}; 1 of the rules there are asked for"),
        "ok    policy: nothing here asks for identity:revocation_list",
        "warn  policy: identity:get_user refuse everybody, with all that refer to them, because of `group:ops`",
        "ok    token keys: 2 keys",
        "ok    schema: Keystone 29 and 30",
        "ok    rows from the future",
        "ok    terms of trusts",
        "ok    delegation policies: 0",
        "ok    credentials",
    ] {
        expect(&all, 0, line);
    }
    let open = |path: &str, mode| {
        std::fs::set_permissions(s.data().join(path), std::fs::Permissions::from_mode(mode)).expect("chmod");
    };
    open("vicar.db", 0o644);
    open("fernet-keys/1", 0o640);
    let later = Clock::system().now() + 3600 * SECOND;
    sql(
        &s,
        &[(
            "INSERT INTO revocation_event (user_id, issued_before, revoked_at) VALUES ('u', ?, ?)",
            args![DateTime(later), DateTime(later)],
        )],
    );
    sql(
        &s,
        &[
            (
                "INSERT INTO trust (id, trustor_user_id, trustee_user_id, impersonation) VALUES ('t', 'u', 'u', ?)",
                args![true],
            ),
            ("INSERT INTO vicar_trust_terms (trust_id, terms) VALUES ('t', '{}')", args![]),
            (
                "INSERT INTO vicar_delegation_policy (holder_id, kind, policy) VALUES ('d', 'domain', '{\"newer\": 1}')",
                args![],
            ),
        ],
    );
    let all = run(&s, &["doctor"]);
    expect(&all, 1, "FAIL  terms of trusts: not looked at");
    expect(
        &all,
        1,
        "FAIL  delegation policies: cannot be read, so that nothing can be delegated below these: domain d",
    );
    expect(&all, 1, "warn  database, permissions");
    expect(&all, 1, "warn  token keys, permissions");
    expect(&all, 1, "FAIL  rows from the future: 1 revocations");
    s.config("[token]\nexpiration = soon\n");
    expect(&run(&s, &["doctor"]), 1, "FAIL  configuration");
    // One file for each of two providers.
    let provider = |name: &str, keys: &str| {
        format!("[oidc.{name}]\nissuer = https://{name}.example\naudience = a\njwks = {keys}\n")
    };
    let coordinates =
        "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\", \"y\": \"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
    let key = format!(r#"{{"keys": [{{"kty": "EC", "crv": "P-256", "x": "{coordinates}"}}]}}"#);
    let (good, bad) = (s.file("good.json", &key), s.file("bad.json", "{}"));
    s.config(&format!(
        "{}{}[oidc.c]\nissuer = https://c.example\naudience = a\nclient_id = v\n",
        provider("a", &good),
        provider("b", &bad)
    ));
    let all = run(&s, &["doctor"]);
    expect(&all, 1, "ok    [oidc.a]: the keys of https://a.example are pinned, and can be used");
    expect(&all, 1, &format!("FAIL  [oidc.b]: {bad}: "));
    expect(&all, 1, "warn  [oidc.c]: client_id is set and does nothing");
    expect(
        &all,
        1,
        "warn  [oidc.c]: nobody comes by it yet: no identity provider with this id has the protocol openid",
    );
    expect(&all, 1, "ok    [oidc.c]: https://c.example is asked for its keys when somebody comes");
    // Directories that are hardly meant so.
    let domains = s.path("domains");
    let at = |name: &str| domains.join(name);
    let directories = |set: &str| {
        s.config(&format!(
            "[identity]\ndomain_specific_drivers_enabled = {set}\ndomain_config_dir = {}\n",
            domains.display()
        ));
        run(&s, &["doctor"])
    };
    expect(&directories("true"), 1, "warn  [identity] domain_config_dir: ");
    std::fs::create_dir(&domains).expect("made");
    let ldap = "[identity]\ndriver = ldap\n[ldap]\nurl = ldaps://d\ntls_cacertfile = /nowhere.pem\n";
    for (name, text) in [
        ("People.conf", ldap),
        ("keystone.default.conf", ldap),
        ("keystone.Default.conf", ldap),
        ("keystone.Bare.conf", "[ldap]\nurl = ldaps://d\n"),
        ("keystone.Odd.conf", "[identty]\ndriver = ldap\n"),
        ("keystone.Loose.conf", "driver = ldap\n"),
    ] {
        std::fs::write(at(name), text).expect("written");
    }
    let all = directories("true");
    for doubt in [
        "People.conf is not read",
        "keystone.default.conf: there is no domain default; capital letters count",
        "keystone.Default.conf: is of the default domain",
        "keystone.Default.conf: nobody logs in: tls_cacertfile is no file, /nowhere.pem",
        "keystone.Bare.conf: has no `driver = ldap` in [identity]",
        "keystone.Odd.conf: [identty] driver: is not understood",
        "keystone.Loose.conf: ",
    ] {
        expect(&all, 1, doubt);
    }
    let checked = run(&s, &["config", "check"]);
    expect(&checked, 0, "todo    keystone.Bare.conf: has no `driver = ldap` in [identity]");
    let all = directories("false");
    assert!(!String::from_utf8_lossy(&all.stdout).contains("keystone.Bare.conf"), "they are not asked");
}

/// What a Keystone left: a database without our tables, in its mode of journalling, and its keys.
fn keystones(ini: &str) -> Scratch {
    let s = graveyard(ini);
    let ours = [
        "vicar_schema",
        "vicar_guard",
        "vicar_keypair",
        "vicar_trust_state",
        "vicar_replay",
        "vicar_role_loss",
    ];
    let drops: Vec<String> = ours.iter().map(|t| format!("DROP TABLE {t}")).collect();
    let mut all: Vec<(&str, &[vicar::store::Value])> =
        drops.iter().map(|d| (d.as_str(), [].as_slice())).collect();
    all.push(("DELETE FROM credential", &[]));
    // Those who take part in the trusts that tests add.
    let default =
        "INSERT INTO \"user\" (id, domain_id, enabled) SELECT ?, id, 1 FROM project WHERE id = 'default'";
    let people = ["wide", "narrow", "late", "stolen", "ghostly"];
    let people = people.map(|id| args![id].to_vec());
    all.extend(people.iter().map(|id| (default, id.as_slice())));
    all.push(("INSERT INTO role (id, name, domain_id) VALUES ('r', 'r', '<<null>>')", &[]));
    all.push((
        "INSERT INTO assignment (type, actor_id, target_id, role_id, inherited) VALUES ('UserProject', 'alice', 'p', 'r', 0)",
        &[],
    ));
    sql(&s, &all);
    let at = |name: &str| s.data().join(name).display().to_string();
    s.config(&format!(
        "{ini}\n[database]\nconnection = sqlite:///{}\n[fernet_tokens]\nkey_repository = {}\n[credential]\nkey_repository = {}\n",
        at("vicar.db"),
        at("fernet-keys"),
        at("credential-keys")
    ));
    s
}

#[test]
fn adopting_is_thought_through_before_anything_is_changed() {
    let s = Scratch::new();
    expect(&run(&s, &["doctor", "--adopt"]), 1, "FAIL     files: none: name the Keystone's");
    expect(&run(&s, &["doctor", "--json"]), 2, "--adopt");
    let s = keystones("");
    let insert = "INSERT INTO credential (id, user_id, type, key_hash, encrypted_blob) VALUES ('lost', 'u', 'cert', 'h', 'b')";
    sql(&s, &[(insert, &[])]);
    let before = contents(&s.0);
    let all = run(&s, &["doctor", "--adopt"]);
    assert_eq!(contents(&s.0), before, "nothing is made, nothing is changed");
    for line in [
        "ok       honoured as they stand: [credential] key_repository, [database] connection, [fernet_tokens] key_repository, [identity] password_hash_rounds",
        "differs  [auth] methods: external, mapped: ",
        "ok       token keys: 2 keys in",
        "todo     our own tables: are not there; `vicar db sync` adds",
        "ok       passwords: 1 bcrypt",
        "FAIL     keys: 1 fit none of the credential keys",
        "ok       trusts: 1 live, 0 of them made from others",
        "differs  broken chains: 3 trusts hang on one that is deleted, gone or over",
        "differs  dead trusts: 2 deleted and 2 over",
        "ok       caches there: off",
        "1 failed; nothing was changed",
    ] {
        expect(&all, 1, line);
    }
    sql(&s, &[("DELETE FROM credential", &[])]);
    expect(&run(&s, &["doctor", "--adopt"]), 0, "0 failed");
}

#[test]
fn adopting_says_what_each_option_of_a_keystone_means() {
    let s = keystones("");
    let base = std::fs::read_to_string(s.path("vicar.conf")).expect("read");
    let says = |ini: &str, code: i32, lines: &[&str]| {
        s.file("vicar.conf", format!("{base}\n{ini}"));
        let all = run(&s, &["doctor", "--adopt"]);
        for line in lines {
            expect(&all, code, line);
        }
    };
    says("[token]\nprovider = jws\n", 1, &["FAIL     [token] provider: is `jws`: tokens of the Keystone"]);
    says(
        "[identity]\ndriver = ldap\npassword_hash_algorithm = scrypt\n[assignment]\ndriver = sql\n[catalog]\ndriver = templated\n",
        1,
        &[
            "FAIL     [identity] driver: is `ldap`",
            "differs  [identity] password_hash_algorithm",
            "FAIL     [catalog] driver: is `templated`",
            "ok       ignored without consequence: [assignment] driver",
        ],
    );
    says(
        "[cache]\nenabled = true\nbackend = dogpile.cache.pymemcache\nexpiration_time = 60\n[token]\ncaching = false\n[identity]\ncache_time = 90\n",
        0,
        &[
            "ok       caches here: nothing is cached here",
            "ok       caches there: [token] caching is off",
            "todo     caches there: users, projects, roles and credentials are remembered for 90 s",
        ],
    );
    says(
        "[DEFAULT]\nadmin_token = s3cret\nlog_dir = /var/log/$name\npublic_endpoint = http://${DEFAULT.control_exchange}:5000\n[trust]\nallow_redelegation = no\n[odd]\nthing = s3cret\n[oslo_policy]\nenforce_new_defaults = 0\n[tokenless_auth]\ntrusted_issuer = CN=x\n",
        1,
        &[
            "todo     [DEFAULT] admin_token",
            "differs  [trust] allow_redelegation: is off",
            "todo     [odd] thing: there is no such option",
            "differs  [oslo_policy] enforce_new_defaults",
            "FAIL     [tokenless_auth] trusted_issuer: is set: requests that a certificate speaks for",
        ],
    );
    let proxied = "[oslo_middleware]\nenable_proxy_headers_parsing = yes\n";
    let found = "differs  [oslo_middleware] enable_proxy_headers_parsing: is on";
    says(proxied, 0, &[found]);
    s.file("vicar.conf", format!("{base}\n{proxied}[vicar]\ntrusted_proxies = 192.0.2.1\n"));
    let named = run(&s, &["doctor", "--adopt"]);
    assert!(!String::from_utf8_lossy(&named.stdout).contains(found), "the proxies are named");
    says(
        "[healthcheck]\nbackends = disable_by_file,odd\n[cors]\nallowed_origin = https://a.example\n[cors.b]\nallowed_origin = https://b.example\n",
        0,
        &[
            "differs  [DEFAULT] public_endpoint: is not set",
            "differs  [healthcheck] backends, odd: is not understood",
            "differs  [cors.*] allowed_origin: is honoured",
            "[healthcheck] backends",
        ],
    );
    says(
        "[vicar]\ntrusted_proxies = proxy.example\n",
        1,
        &["`proxy.example` is neither an address nor a network"],
    );
    says("[DEFAULT]\nadmin_token = s3cret\n", 0, &["todo     [DEFAULT] admin_token"]);
    let all = run(&s, &["doctor", "--adopt"]);
    assert!(!String::from_utf8_lossy(&all.stdout).contains("s3cret"), "values are not shown");
    says("[token]\nexpiration = soon\n", 1, &["FAIL     files: configuration: [token] expiration"]);

    // What a Keystone finds by itself: beside its file, and in its defaults.
    let policy =
        s.file("policy.yaml", "\"identity:get_user\": \"role:x\"\n\"identity:revocation_list\": \"!\"\n");
    says(
        "",
        0,
        &[
            &format!("ok       rules: read from {policy}; 1 of the rules there are asked for"),
            "differs  rules: nothing here asks for identity:revocation_list",
        ],
    );
    std::fs::create_dir(s.path("vicar.conf.d")).expect("made");
    std::fs::write(s.path("vicar.conf.d/10-more.conf"), "[token]\nexpiration = 60\n").expect("written");
    says("", 0, &["vicar.conf.d/10-more.conf", "[token] expiration"]);
    s.file("policy.yaml", "\"identity:get_user\": \"role:x or (\"\n");
    says("", 0, &["todo     rules: identity:get_user refuse everybody", "it ends too early"]);
    s.file("policy.yaml", "a: role:x\nb: \"\n");
    says("", 1, &["FAIL     rules: ", "policy.yaml: line 2: "]);
    s.file("policy.yaml", "");
    s.config("");
    expect(&run(&s, &["doctor", "--adopt"]), 1, "FAIL     [database] connection: is not set");
    expect(
        &run(&s, &["doctor", "--adopt"]),
        1,
        "todo     [fernet_tokens] key_repository: is not set: a Keystone then uses /etc/keystone/fernet-keys",
    );
}

#[test]
fn adopting_counts_who_and_what_would_be_left_behind() {
    let s = keystones("");
    let domain = "INSERT INTO project (id, name, domain_id, is_domain, enabled) VALUES ('acme', 'Acme', '<<keystone.domain.root>>', 1, 1)";
    let user = "INSERT INTO \"user\" (id, domain_id, enabled) VALUES (?, 'acme', 1)";
    let trusts = "UPDATE trust SET impersonation = 1, project_id = 'p', redelegation_count = 2";
    let wide =
        trust("wide", None, &[("redelegated_trust_id", "live".into()), ("redelegation_count", 2i64.into())]);
    let narrow = trust("narrow", Some(1), &[("redelegated_trust_id", "live".into())]);
    // Longer than what it was made from: it ends with that.
    let late = trust("late", None, &[("redelegated_trust_id", "live".into())]);
    // Of somebody whom no token of the trust above speaks for.
    let stolen = trust("stolen", None, &[("redelegated_trust_id", "live".into())]);
    // With a trustee who is gone.
    let ghost = trust("ghost", None, &[]);
    let ghostly = trust("ghostly", None, &[("redelegated_trust_id", "ghost".into())]);
    sql(
        &s,
        &[
            (domain, &[]),
            (user, args!["ldap"]),
            (user, args!["saml"]),
            (user, args!["old"]),
            (user, args!["careful"]),
            ("INSERT INTO id_mapping VALUES ('ldap', 'acme', 'cn=l', 'user')", &[]),
            ("INSERT INTO federated_user (user_id, idp_id, protocol_id, unique_id) VALUES ('saml', 'i', 'saml2', 'x')", &[]),
            ("INSERT INTO local_user (id, user_id, domain_id, name) VALUES (77, 'old', 'acme', 'old')", &[]),
            ("INSERT INTO password (local_user_id, password_hash, created_at, created_at_int, self_service)
               VALUES (77, '$scrypt$ln=1$a$b', '2020-01-01 00:00:00', 1, 0)", &[]),
            ("INSERT INTO password (local_user_id, password_hash, created_at, created_at_int, self_service)
               VALUES (77, '$6$rounds=1$a$b', '2020-01-01 00:00:00', 2, 0)", &[]),
            ("INSERT INTO user_option VALUES ('careful', 'MFAR', '[[\"password\", \"external\"]]')", &[]),
            ("INSERT INTO user_option VALUES ('old', 'MFAR', '[[\"password\", \"topt\"]]')", &[]),
            (trusts, &[]),
            (&wide.0, &wide.1),
            (&narrow.0, &narrow.1),
            (&late.0, &late.1),
            (&stolen.0, &stolen.1),
            ("UPDATE trust SET trustor_user_id = 'old' WHERE id = 'stolen'", &[]),
            (&ghost.0, &ghost.1),
            ("UPDATE trust SET redelegation_count = 1 WHERE id = 'ghost'", &[]),
            (&ghostly.0, &ghostly.1),
            ("INSERT INTO revocation_event (user_id, issued_before, revoked_at) VALUES ('u', '2126-01-01 00:00:00', '2126-01-01 00:00:00')", &[]),
        ],
    );
    let before = contents(&s.0);
    let all = run(&s, &["doctor", "--adopt"]);
    assert_eq!(contents(&s.0), before);
    for line in [
        "FAIL     users of LDAP: 1 in the domain Acme",
        "FAIL     federated users: 1: ",
        "FAIL     passwords: 1 with a hash that neither",
        "FAIL     users who need a second factor: 1: ",
        "differs  multi-factor rules: 1 users have rules with a method that is not among [auth] methods",
        "ok       trusts: 2 live, 1 of them made from others; the longest chain has 2 links",
        "differs  wider than their parent: 2 trusts contradict",
        "differs  later than their parent: 1 trusts",
        "differs  trusts without a user: 2 trusts",
        "FAIL     revocations from the future: 1: ",
    ] {
        expect(&all, 1, line);
    }
    let json: Value =
        serde_json::from_slice(&run(&s, &["doctor", "--adopt", "--json"]).stdout).expect("JSON");
    let failed =
        json["findings"].as_array().expect("a list").iter().filter(|f| f["verdict"] == "FAIL").count();
    assert_eq!(json["failed"], json!(failed));
    sql(
        &s,
        &[(
            "UPDATE alembic_version SET version_num = 'x' WHERE version_num = (SELECT MAX(version_num) FROM alembic_version)",
            &[],
        )],
    );
    expect(
        &run(&s, &["doctor", "--adopt"]),
        1,
        "FAIL     schema: the database is at 742c857f1dfb, x, which is no",
    );
    for key in ["0", "1"] {
        std::fs::remove_file(s.data().join("fernet-keys").join(key)).expect("removed");
    }
    expect(&run(&s, &["doctor", "--adopt"]), 1, "FAIL     token keys: ");
}

#[test]
fn every_command_explains_itself() {
    for command in ["serve", "bootstrap", "db", "keys", "doctor", "status", "trust", "why"] {
        let help = vicar(&[command, "--help"]).output().expect("runs");
        expect(&help, 0, "Usage: vicar");
    }
    expect(&vicar(&["--help"]).output().expect("runs"), 0, "Exit codes:");
    expect(&vicar(&["--version"]).output().expect("runs"), 0, "vicar ");
    assert_eq!(vicar(&[]).output().expect("runs").status.code(), Some(2));
}

#[test]
fn the_demo_is_another_program_which_is_handed_everything() {
    let s = Scratch::new();
    let own = s.path("vicar");
    std::fs::copy(env!("CARGO_BIN_EXE_vicar"), &own).expect("copied");
    let demo = |path: &Path| {
        let mut c = Command::new(&own);
        c.args(["demo", "--url", "http://h", "--help"]).env_remove("VICAR_DEMO_SERVER").env("PATH", path);
        c.output().expect("runs")
    };
    let without = demo(&s.path("nowhere"));
    expect(&without, 1, "install `vicar-demo` beside this program");
    let script = "#!/bin/sh\necho \"$* for $VICAR_DEMO_SERVER\"\nexit 9\n";
    let executable = |path: PathBuf| {
        std::fs::write(&path, script).expect("written");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("chmod");
    };
    std::fs::create_dir(s.path("bin")).expect("made");
    executable(s.path("bin/vicar-demo"));
    let handed = demo(&s.path("bin"));
    assert_eq!(handed.status.code(), Some(9), "its exit code is the demo's");
    assert_eq!(
        String::from_utf8_lossy(&handed.stdout),
        format!("--url http://h --help for {}\n", own.display())
    );
    executable(s.path("vicar-demo"));
    assert_eq!(demo(&s.path("nowhere")).status.code(), Some(9), "one beside it is found first");
}

/// Policy files as Keystone's operators have them.
mod policy {
    use super::*;

    /// Everybody may look at the list of roles.
    const OPEN: &str = "\"identity:list_roles\": \"@\"\n";

    /// A folder of its own beside which nothing is found by accident.
    fn command(s: &Scratch, args: &[&str]) -> Command {
        let mut c = vicar(args);
        c.arg("--data-dir").arg(s.data()).env("HOME", s.path("home")).current_dir(s.path("elsewhere"));
        c.env_remove("SNAP").env_remove("SNAP_COMMON");
        c
    }

    fn scratch() -> Scratch {
        let s = Scratch::new();
        for dir in ["home/.keystone", "elsewhere", "etc/policy.d", "etc/more.d/below", "other"] {
            std::fs::create_dir_all(s.path(dir)).expect("made");
        }
        s
    }

    /// The rule `identity:list_roles` and where it is from, as `policy list` says.
    #[track_caller]
    fn list_roles(s: &Scratch, more: &[&str]) -> (String, String) {
        let mut c = command(s, &["policy", "list", "--json"]);
        c.args(more);
        let output = finish(c);
        expect(&output, 0, "identity:list_roles");
        let rules: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let rule = rules.as_array().expect("a list").iter().find(|r| r["name"] == "identity:list_roles");
        let text = |field: &str| rule.expect("it is there")[field].as_str().expect("text").to_owned();
        (text("rule"), text("source"))
    }

    fn config(s: &Scratch, name: &str, ini: &str) -> String {
        s.file(name, format!("[identity]\npassword_hash_rounds = 4\n[oslo_policy]\n{ini}\n"))
    }

    #[test]
    fn it_is_found_where_a_keystone_finds_it() {
        let s = scratch();
        let conf = config(&s, "etc/keystone.conf", "");
        let second = config(&s, "other/more.conf", "");
        let named = config(&s, "etc/named.conf", "policy_file = policy.yaml");
        let from = |file: &str| ("@".to_owned(), s.path(file).display().to_string());
        let shipped = list_roles(&s, &[]);
        assert_eq!(shipped.1, "shipped");
        assert_eq!(list_roles(&s, &["--config-file", &conf]), shipped);
        // Each of these is found before those above it, by name and without one.
        for place in ["home", "home/.keystone", "etc", "other"] {
            s.file(&format!("{place}/policy.yaml"), OPEN);
            let file = format!("{place}/policy.yaml");
            assert_eq!(list_roles(&s, &["--config-file", &named, "--config-file", &second]), from(&file));
            assert_eq!(list_roles(&s, &["--config-file", &conf, "--config-file", &second]), from(&file));
        }
        // The last configuration file is the first to look beside.
        assert_eq!(
            list_roles(&s, &["--config-file", &second, "--config-file", &conf]),
            from("etc/policy.yaml")
        );
        // A relative configuration file lies where the command is started.
        let mut c = command(&s, &["policy", "check", "--config-file", "named.conf"]);
        c.current_dir(s.path("etc"));
        expect(&finish(c), 0, &s.path("etc/policy.yaml").display().to_string());
        // With a data directory alone nothing is looked for, the working directory included.
        s.file("elsewhere/policy.yaml", OPEN);
        assert_eq!(list_roles(&s, &[]), shipped);
    }

    #[test]
    fn the_form_of_older_releases_is_found_too() {
        let s = scratch();
        let conf = config(&s, "etc/keystone.conf", "");
        s.file("etc/policy.json", "{\"identity:list_roles\": \"@\"}");
        let at = |file: &str| ("@".to_owned(), s.path(file).display().to_string());
        assert_eq!(list_roles(&s, &["--config-file", &conf]), at("etc/policy.json"));
        s.file("home/policy.yaml", OPEN);
        assert_eq!(list_roles(&s, &["--config-file", &conf]), at("home/policy.yaml"));
        let named = config(&s, "etc/named.conf", "policy_file = rules.yaml");
        let mut c = command(&s, &["policy", "list", "--config-file", &named]);
        c.arg("--json");
        expect(&finish(c), 3, "rules.yaml is not there");
    }

    #[test]
    fn directories_lie_over_the_file_in_their_order() {
        let s = scratch();
        let rule = |role: &str| format!("\"identity:list_roles\": \"role:{role}\"\n");
        let now = |conf: &str, role: &str, file: &str| {
            let wanted = (format!("role:{role}"), s.path(file).display().to_string());
            assert_eq!(list_roles(&s, &["--config-file", conf]), wanted);
        };
        let conf = config(&s, "etc/keystone.conf", "");
        s.file("etc/policy.d/50.yaml", rule("a"));
        now(&conf, "a", "etc/policy.d/50.yaml");
        s.file("etc/policy.yaml", rule("file"));
        now(&conf, "a", "etc/policy.d/50.yaml");
        s.file("etc/policy.d/60.json", "{\"identity:list_roles\": \"role:b\"}");
        s.file("etc/policy.d/.70.yaml", rule("hidden"));
        s.file("etc/more.d/below/90.yaml", rule("below"));
        now(&conf, "b", "etc/policy.d/60.json");
        // Several are read one after the other; they take the place of the usual one.
        let more = config(&s, "etc/more.conf", "policy_dirs = policy.d\npolicy_dirs = more.d");
        s.file("etc/more.d/10.yaml", rule("c"));
        now(&more, "c", "etc/more.d/10.yaml");
        let one = config(&s, "etc/one.conf", "policy_dirs = other.d");
        let mut c = command(&s, &["policy", "check", "--config-file", &one]);
        expect(&finish(c), 0, "policy_dirs: other.d is not there");
        now(&one, "file", "etc/policy.yaml");
        s.file("etc/other.d", "no directory");
        c = command(&s, &["policy", "check", "--config-file", &one]);
        expect(&finish(c), 3, "[oslo_policy] policy_dirs: ");
    }

    /// A server with this configuration, and what it logged until it was ready.
    fn log_of(s: &Scratch, conf: &str) -> String {
        let env = [("HOME", s.path("home").display().to_string())];
        let env: Vec<(&str, &str)> = env.iter().map(|(k, v)| (*k, v.as_str())).collect();
        drop(serve(s, &["--config-file", conf], &env));
        std::fs::read_to_string(s.path("log")).expect("a log")
    }

    #[test]
    fn the_start_says_what_holds() {
        let s = scratch();
        let conf = config(&s, "etc/keystone.conf", "");
        let log = log_of(&s, &conf);
        let line = log.lines().find(|l| l.contains("policy: the shipped rules")).expect(&log);
        assert!(
            line.contains("looked_for=\"policy.yaml\"")
                && line.contains(&s.path("etc").display().to_string())
        );
        let rules = "\"identity:list_roles\": \"role:x or group:ops\"\n\"a\": \"not group:ops\"\n\"identity:get_user\": null\n";
        let file = s.file("etc/policy.yaml", rules);
        let log = log_of(&s, &conf);
        assert!(
            log.contains(&format!("policy: these files hold an operator's rules files=\"{file}\"")),
            "{log}"
        );
        let warned: Vec<&str> = log.lines().filter(|l| l.contains("refuse everybody")).collect();
        assert_eq!(warned.len(), 2, "{log}");
        assert!(
            warned[0].contains("group:ops") && warned[0].contains("rules=\"a, identity:list_roles\""),
            "{log}"
        );
        assert!(warned[1].contains("rules=\"identity:get_user\"") && warned[1].contains("WARN"), "{log}");
    }

    #[test]
    fn a_named_file_that_is_missing_or_broken_stops_the_start() {
        let s = scratch();
        let start = |conf: &str| {
            finish(command(
                &s,
                &["serve", "--listen", "127.0.0.1:0", "--metrics-listen", "off", "--config-file", conf],
            ))
        };
        let relative = config(&s, "etc/keystone.conf", "policy_file = policy.yaml");
        let output = start(&relative);
        expect(&output, 3, "[oslo_policy] policy_file: policy.yaml is not there; it was looked for in ");
        expect(&output, 3, &s.path("etc").display().to_string());
        expect(&output, 3, &s.path("home/.keystone").display().to_string());
        s.file("elsewhere/policy.yaml", OPEN);
        expect(&start(&relative), 3, "policy.yaml is not there");
        let absolute = config(&s, "etc/absolute.conf", "policy_file = /nowhere/policy.yaml");
        expect(&start(&absolute), 3, "[oslo_policy] policy_file: /nowhere/policy.yaml is not there");
        for (broken, line) in
            [("a: @\n", 1), ("# c\na: \"x\n", 2), ("a: role:x\n- b\n", 2), ("a: [x\n", 2), ("role:x\n", 1)]
        {
            let file = s.file("etc/policy.yaml", broken);
            expect(&start(&relative), 3, &format!("{file}: line {line}: "));
        }
        std::fs::remove_file(s.path("etc/policy.yaml")).expect("removed");
        // Also one that nobody named, when it leads nowhere.
        symlink(s.path("nowhere"), s.path("etc/policy.yaml")).expect("linked");
        let unnamed = config(&s, "etc/unnamed.conf", "");
        expect(&start(&unnamed), 3, "etc/policy.yaml: ");
        std::fs::remove_file(s.path("etc/policy.yaml")).expect("removed");
        std::fs::create_dir(s.path("etc/policy.yaml")).expect("made");
        expect(&start(&relative), 3, "etc/policy.yaml: ");
        for odd in ["remote_timeout = soon", "remote_timeout = -1", "remote_content_type = text/plain"] {
            let option = odd.split(' ').next().expect("a name");
            expect(&start(&config(&s, "etc/odd.conf", odd)), 3, &format!("[oslo_policy] {option}: "));
        }
        let asks = s.file("etc/asks.yaml", "\"identity:get_user\": \"https://h/\"\n");
        let asks = config(
            &s,
            "etc/asks.conf",
            &format!("policy_file = {asks}\nremote_ssl_ca_crt_file = /nowhere/ca.pem"),
        );
        expect(&start(&asks), 3, "/nowhere/ca.pem");
    }

    #[test]
    fn check_says_what_each_rule_comes_to() {
        let s = scratch();
        let file = s.file(
            "rules.yaml",
            "\"identity:list_roles\": \"role:x\"\n\"identity:get_nothing\": \"role:x\"\n\"mine\": \"role:y\"\n",
        );
        let output = finish(command(&s, &["policy", "check", &file]));
        expect(
            &output,
            0,
            "ok       identity:list_roles: it allows what the shipped rule refuses, for example with role:x",
        );
        expect(&output, 0, "idle     identity:get_nothing: nothing here asks for it");
        expect(&output, 0, "idle     mine: ");
        expect(&output, 0, &format!("{file}: 1 understood, 2 guard nothing, 0 refuse everybody"));
        let file = s.file("rules.yaml", "\"identity:list_roles\": \"rule:a\"\n\"a\": \"not user_name:x\"\n");
        let output = finish(command(&s, &["policy", "check", &file]));
        expect(
            &output,
            1,
            "refuses  a: `user_name:x`: `user_name` is nothing that policy knows of a token here",
        );
        expect(&output, 1, "refuses  identity:list_roles: it refers to a rule that refuses everybody");
        // A rule that others rest on takes them with it.
        let file = s.file("rules.yaml", "\"admin_required\": \"role:x or (\"\n");
        expect(&finish(command(&s, &["policy", "check", &file])), 1, "refuses  identity:create_user: ");
        expect(&finish(command(&s, &["policy", "check"])), 0, "no policy file: the shipped rules hold");
        expect(&finish(command(&s, &["policy", "check", "/nowhere.yaml"])), 3, "/nowhere.yaml: ");
    }

    #[test]
    fn the_list_is_a_policy_file() {
        let s = scratch();
        let file = s.file(
            "rules.yaml",
            "\"identity:list_roles\": [[\"role:x\", \"role:y\"], [\"@\"]]\nnull_rule: null\nodd: \"a: 'b' # c\"\n",
        );
        let first = finish(command(&s, &["policy", "list", &file]));
        expect(&first, 0, "\"identity:list_users\": ");
        let text = String::from_utf8(first.stdout).expect("text");
        assert!(
            text.lines()
                .any(|l| l.starts_with("\"identity:list_roles\": ") && l.ends_with(&format!("# {file}")))
        );
        let again = s.file("again.yaml", &text);
        let second = finish(command(&s, &["policy", "list", &again]));
        let meanings = |file: &str| -> Vec<Value> {
            let output = finish(command(&s, &["policy", "list", "--json", file]));
            let rules: Vec<Value> = serde_json::from_slice(&output.stdout).expect("JSON");
            rules.iter().map(|rule| json!([rule["name"], rule["rule"], rule["meaning"]])).collect()
        };
        assert_eq!(meanings(&file), meanings(&again));
        let rules = |text: &str| -> Vec<String> {
            text.lines().map(|l| l.rsplit_once("  # ").expect("a source").0.to_owned()).collect()
        };
        assert_eq!(rules(&text), rules(&String::from_utf8(second.stdout).expect("text")));
    }

    #[test]
    fn questions_are_decided() {
        let s = scratch();
        let file = s.file(
            "rules.yaml",
            "\"identity:get_user\": \"'ops':%(target.user.name)s and token.user.domain.id:d and roles:Ops\"\n",
        );
        let ask = |line: &Value| {
            let mut c = command(&s, &["policy", "ask", &file]);
            c.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = c.spawn().expect("runs");
            writeln!(child.stdin.take().expect("piped"), "{line}").expect("written");
            child.wait_with_output().expect("ends")
        };
        let token = json!({"user": {"id": "u", "domain": {"id": "d"}}, "roles": [{"name": "Ops"}], "system": {"all": true}});
        let question = |target: Value| json!({"rule": "identity:get_user", "token": token, "target": target});
        expect(&ask(&question(json!({"target.user.name": "ops"}))), 0, "true");
        expect(&ask(&question(json!({"target.user.name": "dev"}))), 0, "false");
        expect(&ask(&question(json!({"target.user.name": null, "user_id": "u"}))), 0, "false");
        expect(
            &ask(&question(json!({"target.user.email": "e"}))),
            1,
            "question 1: `target.user.email` is no fact",
        );
        expect(&ask(&json!({"rule": "x"})), 1, "question 1: `token.user.id` is missing");
        expect(&ask(&json!("x")), 1, "question 1: `rule` is missing");
    }
}
