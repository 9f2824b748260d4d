//! Files with secrets: who may read them, copies included.

use super::*;

#[test]
fn a_directory_that_the_program_makes_is_passed_over_by_version_control() {
    for first in [&["keys", "setup"][..], &["db", "sync"], &["bootstrap", "--bootstrap-password", "pw"]] {
        let s = Scratch::new();
        s.config("");
        expect(&run(&s, first), 0, "");
        let ignore = s.data().join(".gitignore");
        assert!(std::fs::read_to_string(&ignore).expect("read").lines().any(|l| l == "*"), "{first:?}");
        assert_eq!(mode(&ignore), 0o600);
    }
    let s = Scratch::new();
    let config = s.config("");
    drop(serve(&s, &["--config-file", &config], &[]));
    assert!(s.data().join(".gitignore").exists());
    // A directory that was there is somebody else's.
    let s = prepared(0o700);
    drop(serve(&s, &["--config-file", &s.path("vicar.conf").display().to_string()], &[]));
    assert!(!s.data().join(".gitignore").exists());
}

/// A process's mask is its own, so the program runs below a shell that has none.
fn unmasked(s: &Scratch, args: &str) -> Output {
    let mut c = Command::new("sh");
    let program = env!("CARGO_BIN_EXE_vicar");
    let (data, config) = (s.data(), s.path("vicar.conf"));
    let script = format!(
        "umask 000; exec {program} {args} --data-dir {} --config-file {}",
        data.display(),
        config.display()
    );
    c.args(["-c", &script]).env_remove("VICAR_CONFIG_FILE").env_remove("OS_BOOTSTRAP_PASSWORD");
    finish(c)
}

#[test]
fn copies_are_for_their_owner_alone_and_can_be_served() {
    let s = Scratch::new();
    let config = s.config("");
    let server = serve(&s, &["--config-file", &config], &[("OS_BOOTSTRAP_PASSWORD", "pw")]);
    assert_eq!(server.login("pw"), 201);
    let (db, keys) = (s.path("copy.db"), s.path("copies/keys"));
    // While it is served.
    expect(&unmasked(&s, &format!("db backup {}", db.display())), 0, "copy.db: a copy of");
    expect(&unmasked(&s, &format!("keys backup {}", keys.display())), 0, "fernet-keys: a copy of the 2 keys");
    assert_eq!(mode(&db), 0o600);
    for dir in ["", "fernet-keys", "credential-keys"] {
        assert_eq!(mode(&keys.join(dir)), 0o700, "{dir}");
    }
    for (file, _) in contents(&keys) {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    // Nothing that is there is overwritten.
    expect(&unmasked(&s, &format!("db backup {}", db.display())), 4, "exists");
    expect(&unmasked(&s, &format!("keys backup {}", keys.display())), 4, "there is something already");
    drop(server);
    // What was copied is an installation.
    let other = prepared(0o700);
    std::fs::copy(&db, other.data().join("vicar.db")).expect("copied");
    for dir in ["fernet-keys", "credential-keys"] {
        std::fs::rename(keys.join(dir), other.data().join(dir)).expect("moved");
    }
    expect(&run(&other, &["doctor"]), 0, "ok    database");
    let config = other.path("vicar.conf").display().to_string();
    assert_eq!(serve(&other, &["--config-file", &config], &[]).login("pw"), 201);
}

#[test]
fn what_cannot_be_copied_is_said_and_leaves_nothing() {
    let s = Scratch::new();
    s.config("");
    let db = s.path("copy.db");
    let copy = ["db", "backup", &db.display().to_string()];
    expect(&run(&s, &copy), 5, "there is no database to copy");
    let keys = s.path("keys");
    expect(&run(&s, &["keys", "backup", &keys.display().to_string()]), 6, "fernet-keys");
    std::fs::create_dir(s.data()).expect("made");
    std::fs::write(s.data().join("vicar.db"), "nothing that SQLite would know").expect("written");
    expect(&run(&s, &copy), 5, "database");
    assert!(!db.exists() && !keys.exists());
    let server = s.file("server.conf", "[database]\nconnection = postgresql://u:hidden@h/k\n");
    let mut c = vicar(&copy);
    c.args(["--config-file", &server]);
    let told = finish(c);
    expect(&told, 2, "umask 077; pg_dump --no-owner k > ");
    assert!(!String::from_utf8_lossy(&told.stderr).contains("hidden"));
}

#[test]
fn files_for_clients_are_for_their_owner_alone_whatever_the_mask() {
    let s = Scratch::new();
    s.config("");
    run(&s, &["keys", "setup"]);
    expect(
        &unmasked(
            &s,
            "bootstrap --bootstrap-password pw --bootstrap-public-url http://a/v3 --bootstrap-region-id R",
        ),
        0,
        "",
    );
    let files =
        [("clouds.yaml", "clouds: {vicar: {auth: {auth_url: x}}}\n"), ("openrc", "export OS_AUTH_URL=x\n")];
    for (name, text) in files {
        std::fs::write(s.data().join(name), text).expect("written");
        chmod(&s.data().join(name), 0o644);
    }
    expect(&unmasked(&s, "bootstrap --bootstrap-public-url http://b/v3"), 0, "openrc: changed");
    for name in ["clouds.yaml", "openrc", "vicar.db", "fernet-keys/0"] {
        assert_eq!(mode(&s.data().join(name)), 0o600, "{name}");
    }
}

/// Those of receipts are made, rotated and copied where they have their own directory; elsewhere they are those of tokens.
#[test]
fn receipts_may_have_keys_of_their_own() {
    let s = Scratch::new();
    let config = s.config("");
    let shared = ["--config-file", &config];
    drop(serve(&s, &shared, &[("OS_BOOTSTRAP_PASSWORD", "pw")]));
    let keys = |s: &Scratch, args: &[&str]| run(s, &[&["keys"][..], args].concat());
    for command in ["setup", "rotate"] {
        expect(&keys(&s, &[command, "--receipt"]), 2, "[fernet_receipts] key_repository");
    }
    let before = contents(&s.data().join("fernet-keys"));
    // An installation that is there already gets them by a command, as it does those of tokens.
    let dir = s.path("receipts");
    s.config(&format!("[fernet_receipts]\nkey_repository = {}\n", dir.display()));
    expect(&run(&s, &FIRST_START), 6, "receipt keys");
    expect(&run(&s, &["doctor"]), 1, "vicar keys setup --receipt");
    expect(&keys(&s, &["setup", "--receipt"]), 0, "made");
    expect(&keys(&s, &["setup"]), 0, "there already");
    assert_eq!(mode(&dir), 0o700);
    expect(&keys(&s, &["rotate", "--receipt"]), 0, "the primary key is 2 now");
    assert_eq!(contents(&s.data().join("fernet-keys")), before, "those of tokens are others");
    expect(&run(&s, &["doctor"]), 0, "ok    receipt keys");
    let copies = s.path("copies");
    expect(&keys(&s, &["backup", &copies.display().to_string()]), 0, "receipt-keys: a copy of the 3 keys");
    assert_eq!(contents(&copies.join("receipt-keys")).len(), 3);
    assert_eq!(serve(&s, &["--config-file", &config], &[]).login("pw"), 201);
    // A new installation makes them itself.
    let s = Scratch::new();
    let dir = s.path("receipts");
    let config = s.config(&format!("[fernet_receipts]\nkey_repository = {}\n", dir.display()));
    assert_eq!(serve(&s, &["--config-file", &config], &[("OS_BOOTSTRAP_PASSWORD", "pw")]).login("pw"), 201);
    assert_eq!(contents(&dir).len(), 2);
}
