//! What the program says of files that it may not look at: that, and nothing that could lose data.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;

use super::*;

/// Somebody who owns nothing here.
const NOBODY: u32 = 65_534;

/// Nobody, if we are root; else ourselves, from whom what is to be closed is closed by its mode.
fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0)
}

/// Runs a command as a user who owns nothing.
fn as_nobody(s: &Scratch, args: &[&str]) -> Output {
    let program = s.path("vicar");
    if !program.exists() {
        // Where the tests are built may be closed to others. A child copies: what this process has open for writing,
        // children of other tests have too for a moment, and such a file cannot be run.
        let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_vicar")).arg(&program).status();
        assert!(copied.expect("cp runs").success());
        chmod(&program, 0o755);
    }
    let mut c = Command::new(program);
    c.args(args).env_clear().current_dir("/").stdin(Stdio::null());
    c.arg("--data-dir").arg(s.data());
    if !args.contains(&"--config-file") {
        c.arg("--config-file").arg(s.path("vicar.conf"));
    }
    if is_root() {
        c.uid(NOBODY).gid(NOBODY);
    }
    finish(c)
}

/// Closes something to everybody but root.
fn close(path: &Path) {
    chmod(path, 0o000);
}

/// An installation whose files are all open to everybody, so that what a test closes is closed alone.
fn open_installation(ini: &str) -> Scratch {
    let s = Scratch::new();
    chmod(&s.0, 0o755);
    s.config(ini);
    run(&s, &["keys", "setup"]);
    expect(&run(&s, &["bootstrap", "--bootstrap-password", "pw"]), 0, "");
    for (path, _) in contents(&s.data()) {
        chmod(&path, 0o644);
    }
    for dir in ["", "fernet-keys", "credential-keys"] {
        chmod(&s.data().join(dir), 0o755);
    }
    s
}

#[track_caller]
fn denied(output: &Output, code: i32, path: &Path) {
    let who =
        if is_root() { "permission denied for user nobody (65534)" } else { "permission denied for user" };
    expect(output, code, &format!("{}: {who}", path.display()));
    let said = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    let said = String::from_utf8_lossy(&said);
    for line in said.lines().filter(|l| l.contains("denied")) {
        for advice in ["is not there", "keys setup", "db sync", "restore", "vicar serve", "remove"] {
            assert!(!line.contains(advice), "`{advice}` in: {line}");
        }
    }
}

#[test]
fn the_doctor_says_what_it_may_not_look_at() {
    let s = open_installation("");
    let policy = PathBuf::from(s.file("policy.yaml", "{}"));
    s.config(&format!("[oslo_policy]\npolicy_file = {}\n", policy.display()));
    let db = s.data().join("vicar.db");
    let all = as_nobody(&s, &["doctor"]);
    expect(&all, 0, "ok    database");
    for path in [
        db.clone(),
        s.data().join("fernet-keys"),
        s.data().join("fernet-keys/1"),
        s.data().join("credential-keys"),
        s.data().join("credential-keys/0"),
        policy.clone(),
        s.path("vicar.conf"),
    ] {
        let before = mode(&path);
        close(&path);
        denied(&as_nobody(&s, &["doctor"]), 1, &path);
        denied(&as_nobody(&s, &["doctor", "--adopt"]), 1, &path);
        chmod(&path, before);
    }
    close(&s.data());
    let all = as_nobody(&s, &["doctor"]);
    chmod(&s.data(), 0o755);
    for path in [db, s.data().join("fernet-keys"), s.data().join("credential-keys")] {
        denied(&all, 1, &path);
    }
    expect(&all, 1, &format!("{} belongs to user", s.data().display()));
}

#[test]
fn no_command_takes_what_it_may_not_see_for_missing() {
    let s = open_installation("");
    let before = contents(&s.data());
    let db = s.data().join("vicar.db");
    close(&s.data());
    let start = ["serve", "--metrics-listen", "off", "--listen", "127.0.0.1:0"];
    for args in [
        &start[..],
        &["db", "version"],
        &["db", "sync"],
        &["bootstrap"],
        &["bootstrap", "--bootstrap-password", "pw"],
        &["keys", "migrate"],
        &["trust", "flush"],
        &["trust", "unused"],
    ] {
        let output = as_nobody(&s, args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(4), "{args:?}: {said}");
        assert!(
            said.contains("permission denied for user") && said.contains("belongs to user"),
            "{args:?}: {said}"
        );
    }
    denied(&as_nobody(&s, &["db", "version"]), 4, &db);
    for args in [&["keys", "setup"][..], &["keys", "rotate"]] {
        let output = as_nobody(&s, args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("ermission denied"), "{args:?}: {said}");
    }
    chmod(&s.data(), 0o755);
    assert_eq!(contents(&s.data()), before, "nothing was changed");
    // One file at a time, and a database that may be read but not written.
    let starts = |name: &str, code: i32| {
        let output = as_nobody(&s, &start);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{name}: {said}");
        assert!(said.contains("ermission denied") && said.contains(name), "{name}: {said}");
        assert!(!said.contains("backup"), "{said}");
    };
    if is_root() {
        starts("vicar.db", 4);
        expect(&as_nobody(&s, &["db", "version"]), 0, "(Keystone 29 and 30)");
        std::os::unix::fs::chown(&db, Some(NOBODY), None).expect("root");
        starts("data", 4);
        std::os::unix::fs::chown(s.data(), Some(NOBODY), None).expect("root");
    }
    for (name, code) in [("vicar.db", 4), ("fernet-keys", 4), ("fernet-keys/1", 6), ("credential-keys/1", 6)]
    {
        let path = s.data().join(name);
        let was = mode(&path);
        close(&path);
        starts(name, code);
        chmod(&path, was);
    }
}

#[test]
fn files_of_tls_are_among_them() {
    let s = open_installation("");
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let cert = s.file("cert.pem", made.cert.pem());
    let key = s.file("key.pem", made.signing_key.serialize_pem());
    let tls = ["--tls-cert", &cert, "--tls-key", &key, "--tls-ca", &cert];
    expect(&as_nobody(&s, &[&["doctor"], &tls[..]].concat()), 0, "ok    TLS");
    for path in [&cert, &key] {
        chmod(Path::new(path), 0o000);
        denied(&as_nobody(&s, &[&["doctor"], &tls[..]].concat()), 1, Path::new(path));
        let start = [&["serve", "--metrics-listen", "off", "--listen", "127.0.0.1:0"], &tls[..]].concat();
        denied(&as_nobody(&s, &start), 3, Path::new(path));
        chmod(Path::new(path), 0o644);
    }
    chmod(Path::new(&cert), 0o000);
    let url = format!(
        "[database]\nconnection = postgresql://u@127.0.0.1:1/k?sslrootcert={cert}&sslmode=verify-full\n"
    );
    s.config(&url);
    denied(&as_nobody(&s, &["doctor"]), 1, Path::new(&cert));
}
