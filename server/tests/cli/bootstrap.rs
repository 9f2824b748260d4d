//! `vicar bootstrap` and `serve --public-url`: they change what they name, and nothing else.

use super::*;

/// Every row of every table, in order.
fn dump(s: &Scratch) -> Vec<String> {
    let db = rusqlite::Connection::open(s.data().join("vicar.db")).expect("opens");
    let names = |sql: &str| -> Vec<String> {
        let mut statement = db.prepare(sql).expect("prepared");
        let rows = statement.query_map([], |r| r.get(0)).expect("runs");
        rows.map(|r| r.expect("a name")).collect()
    };
    let mut all = Vec::new();
    for table in
        names("SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'vicar_change' ORDER BY name")
    {
        let mut statement = db.prepare(&format!("SELECT * FROM \"{table}\"")).expect("prepared");
        let columns = statement.column_count();
        let rows = statement
            .query_map([], |r| {
                let values: Vec<String> = (0..columns)
                    .map(|i| r.get::<_, rusqlite::types::Value>(i).map(|v| format!("{v:?}")))
                    .collect::<Result<_, _>>()?;
                Ok(format!("{table}: {}", values.join(", ")))
            })
            .expect("runs");
        all.extend(rows.map(|r| r.expect("a row")));
    }
    all.sort();
    all
}

/// What is in one list and not in the other.
fn difference(before: &[String], after: &[String]) -> Vec<String> {
    let gone = before.iter().filter(|l| !after.contains(l)).map(|l| format!("- {l}"));
    let new = after.iter().filter(|l| !before.contains(l)).map(|l| format!("+ {l}"));
    gone.chain(new).collect()
}

fn files(s: &Scratch) -> [String; 2] {
    ["clouds.yaml", "openrc"].map(|name| std::fs::read_to_string(s.data().join(name)).expect("read"))
}

/// An installation that a first start has made, with its password.
fn installed(more: &[&str]) -> Scratch {
    let s = Scratch::new();
    let config = s.config("");
    let all = [&["--config-file", &config], more].concat();
    drop(serve(&s, &all, &[("OS_BOOTSTRAP_PASSWORD", "first")]));
    s
}

fn bootstrap(s: &Scratch, more: &[&str]) -> Output {
    run(s, &[&["bootstrap"], more].concat())
}

#[test]
fn a_url_moves_one_endpoint_and_its_files_and_nothing_else_twice() {
    let s = installed(&[]);
    let clouds = s.data().join("clouds.yaml");
    let own = std::fs::read_to_string(&clouds).expect("read");
    let mine = format!("{own}  # mine\n  far: {{auth: {{auth_url: http://far/v3, password: p}}}}\n");
    std::fs::write(&clouds, &mine).expect("written");
    // A locked administrator of another password stays so.
    sql(&s, &[("UPDATE local_user SET failed_auth_count = 3", &[])]);
    let (before, [_, rc]) = (dump(&s), files(&s));
    let old =
        before.iter().find(|l| l.starts_with("endpoint:") && l.contains("public")).expect("an endpoint");
    let old = old.split('"').find(|part| part.starts_with("http")).expect("a URL").to_owned();
    let new = "https://identity.example/v3";
    let moved = bootstrap(&s, &["--bootstrap-public-url", new]);
    expect(&moved, 0, &format!("public endpoint in region RegionOne: {new}, no longer {old}"));
    let after = dump(&s);
    let changed = difference(&before, &after);
    assert_eq!(changed.len(), 2, "{changed:?}");
    assert!(changed.iter().all(|l| l.contains("endpoint: ") && l.contains("\"public\"")), "{changed:?}");
    assert_eq!(files(&s), [mine.replace(&old, new), rc.replace(&old, new)]);
    assert_eq!(mode(&clouds), 0o600);
    // A second time, and a third as it is without a word about URLs.
    let there = contents(&s.data());
    expect(&bootstrap(&s, &["--bootstrap-public-url", new]), 0, &format!("{new} already"));
    expect(&bootstrap(&s, &[]), 0, "user admin has role admin");
    assert_eq!(dump(&s), after);
    let names = |all: &[(PathBuf, Vec<u8>)]| {
        all.iter().filter(|f| !f.0.ends_with("vicar.db")).cloned().collect::<Vec<_>>()
    };
    assert_eq!(names(&contents(&s.data())), names(&there));
    let server = serve(&s, &["--config-file", &s.path("vicar.conf").display().to_string()], &[]);
    assert_eq!(server.login("first"), 201, "the password is the same");
}

#[test]
fn several_regions_are_a_question_and_one_that_is_named_is_moved_alone() {
    let s = installed(&[]);
    let named = ["--bootstrap-region-id", "West", "--bootstrap-public-url", "http://west/v3"];
    let files_before = files(&s);
    expect(&bootstrap(&s, &named), 0, "public endpoint in region West: http://west/v3, new");
    assert_eq!(files(&s), files_before, "they are about RegionOne");
    let before = dump(&s);
    let asked = bootstrap(&s, &["--bootstrap-public-url", "http://new/v3"]);
    expect(&asked, 1, "public endpoints in several regions (RegionOne, West)");
    expect(&asked, 1, "--bootstrap-region-id");
    assert_eq!(dump(&s), before);
    expect(
        &bootstrap(&s, &["--bootstrap-internal-url", "http://new/v3"]),
        0,
        "internal endpoint in region RegionOne",
    );
    expect(
        &bootstrap(&s, &["--bootstrap-region-id", "RegionOne", "--bootstrap-public-url", "http://new/v3"]),
        0,
        "",
    );
    let changed = difference(&before, &dump(&s));
    assert_eq!(changed.len(), 4, "{changed:?}");
    assert!(!changed.iter().any(|l| l.contains("West")), "{changed:?}");
    assert!(files(&s).iter().all(|text| text.contains("http://new/v3")));
}

#[test]
fn a_new_endpoint_gets_the_one_region_that_there_is() {
    for (region, made) in [("x", "in region x: http://a/v3, new"), ("", "public endpoint: http://a/v3, new")]
    {
        let s = Scratch::new();
        s.config("");
        run(&s, &["keys", "setup"]);
        expect(&bootstrap(&s, &["--bootstrap-password", "pw", "--bootstrap-region-id", region]), 0, "");
        expect(&bootstrap(&s, &["--bootstrap-public-url", "http://a/v3"]), 0, made);
        assert_eq!(count(&s, "SELECT COUNT(*) FROM endpoint"), 1);
    }
}

#[test]
fn without_a_password_only_what_is_there_is_changed() {
    let s = Scratch::new();
    s.config("");
    // Nothing is made for a bootstrap that lacks its password.
    for more in [&[][..], &["--bootstrap-public-url", "http://a/v3"]] {
        expect(&bootstrap(&s, more), 2, "needs a password: --bootstrap-password");
        assert!(!s.data().exists());
    }
    expect(&run(&s, &["db", "sync"]), 0, "");
    expect(&bootstrap(&s, &[]), 2, "is empty");
    expect(&bootstrap(&s, &["--bootstrap-password", ""]), 1, "password is empty");
    expect(&bootstrap(&s, &["--bootstrap-public-url", "identity.example"]), 2, "--bootstrap-public-url");
    run(&s, &["keys", "setup"]);
    expect(&bootstrap(&s, &["--bootstrap-password", "pw"]), 0, "");
    let before = dump(&s);
    expect(&bootstrap(&s, &["--bootstrap-username", "root"]), 1, "there is no user root");
    assert_eq!(dump(&s), before);
    // A missing role is made again, the administrator is left alone.
    sql(&s, &[("DELETE FROM role WHERE name = 'service'", &[]), ("UPDATE \"user\" SET enabled = 0", &[])]);
    expect(&bootstrap(&s, &[]), 0, "");
    assert_eq!(count(&s, "SELECT COUNT(*) FROM role WHERE name = 'service'"), 1);
    assert_eq!(count(&s, "SELECT COUNT(*) FROM \"user\" WHERE enabled = 1"), 0);
    sql(&s, &[("DELETE FROM role WHERE name = 'service'", &[])]);
    expect(&bootstrap(&s, &["--bootstrap-admin-url", "http://a/v3"]), 0, "admin endpoint");
    assert_eq!(count(&s, "SELECT COUNT(*) FROM role WHERE name = 'service'"), 0, "it was not named");
    // A Keystone's schema is not changed by a move.
    sql(&s, &[("DROP TABLE vicar_schema", &[])]);
    expect(&bootstrap(&s, &["--bootstrap-admin-url", "http://b/v3"]), 5, "`vicar db sync`");
}

#[test]
fn a_new_password_is_in_the_files_too() {
    let s = installed(&[]);
    let mut c = vicar(&["bootstrap", "--config-file", &s.path("vicar.conf").display().to_string()]);
    c.arg("--data-dir")
        .arg(s.data())
        .env("VICAR_BOOTSTRAP_PASSWORD", "older")
        .env("OS_BOOTSTRAP_PASSWORD", "new'est");
    let done = finish(c);
    expect(&done, 0, "clouds.yaml: changed");
    assert!(!String::from_utf8_lossy(&done.stdout).contains("est"), "the password is shown nowhere");
    let [clouds, _] = files(&s);
    assert_eq!(clouds.matches("password: \"new'est\"").count(), 2, "{clouds}");
    let server = serve(&s, &["--config-file", &s.path("vicar.conf").display().to_string()], &[]);
    assert_eq!(server.login("new'est"), 201);
    let script = format!(". {}/openrc; printf %s \"$OS_PASSWORD\"", s.data().display());
    let shell = Command::new("sh").args(["-c", &script]).output().expect("sh");
    assert_eq!(String::from_utf8_lossy(&shell.stdout), "new'est");
}

#[test]
fn a_planted_file_learns_no_new_password() {
    let s = installed(&[]);
    let clouds = s.data().join("clouds.yaml");
    let reset = |password: &str| bootstrap(&s, &["--bootstrap-password", password]);
    // A link, which leads to where others can read.
    let elsewhere = s.path("elsewhere");
    std::fs::rename(&clouds, &elsewhere).expect("moved");
    symlink(&elsewhere, &clouds).expect("linked");
    expect(&reset("second"), 0, "clouds.yaml: it is not a regular file, so no secret is put there");
    std::fs::remove_file(&clouds).expect("removed");
    std::fs::copy(&elsewhere, &clouds).expect("copied");
    chmod(&s.data(), 0o777);
    expect(&reset("third"), 0, "clouds.yaml: other users can write to it");
    chmod(&s.data(), 0o700);
    expect(&reset("last"), 0, "clouds.yaml: changed");
    let text = std::fs::read_to_string(&elsewhere).expect("read");
    assert!(!text.contains("second") && !text.contains("third"), "{text}");
    // Of somebody else, whom root can make it of.
    if std::os::unix::fs::chown(&clouds, Some(65_534), None).is_ok() {
        expect(&reset("fourth"), 0, "clouds.yaml: it belongs to user 65534");
        assert!(!std::fs::read_to_string(&clouds).expect("read").contains("fourth"));
        // Root works for the owner of the directory, whose files stay theirs.
        std::os::unix::fs::chown(s.data(), Some(65_534), None).expect("root");
        expect(&reset("fifth"), 0, "clouds.yaml: changed");
        let found = std::fs::metadata(&clouds).expect("there");
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&found), 65_534);
    }
}

#[test]
fn everything_that_a_server_is_started_with_has_a_variable() {
    let s = Scratch::new();
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let config = s.config("[DEFAULT]\nlist_limit = 7\n");
    let mut c = vicar(&["serve"]);
    c.envs([
        ("VICAR_DATA_DIR", s.data().display().to_string()),
        ("VICAR_CONFIG_FILE", config),
        ("VICAR_LISTEN", "127.0.0.1:0".to_owned()),
        ("VICAR_METRICS_LISTEN", "127.0.0.1:0".to_owned()),
        ("VICAR_PUBLIC_URL", "https://id.example".to_owned()),
        ("VICAR_TLS_CERT", s.file("cert.pem", made.cert.pem())),
        ("VICAR_TLS_KEY", s.file("key.pem", made.signing_key.serialize_pem())),
        ("VICAR_TLS_CA", s.path("cert.pem").display().to_string()),
        ("OS_BOOTSTRAP_PASSWORD", "pw".to_owned()),
    ]);
    let mut child = c.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("starts");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let screen: Vec<String> = lines.take_while(|l| !l.contains("openstack ")).collect();
    drop(Running { child, screen: Vec::new(), url: String::new() });
    let screen = screen.join("\n");
    for part in [
        "serves https://id.example/v3",
        "listens on     127.0.0.1:",
        "http://127.0.0.1:",
        "given in OS_BOOTSTRAP_PASSWORD",
    ] {
        assert!(screen.contains(part), "no `{part}` in {screen}");
    }
    assert!(files(&s)[1].contains("OS_CACERT="));
}

#[test]
fn roles_and_names_are_those_of_a_keystones_bootstrap() {
    let s = Scratch::new();
    s.config("");
    run(&s, &["keys", "setup"]);
    let all = ["--bootstrap-password", "pw", "--bootstrap-role-name", "boss", "--no-immutable-roles"];
    expect(&bootstrap(&s, &all), 0, "user admin has role boss");
    assert_eq!(count(&s, "SELECT COUNT(*) FROM role WHERE name = 'admin'"), 0);
    assert_eq!(count(&s, "SELECT COUNT(*) FROM role_option"), 0);
    let implies = "SELECT COUNT(*) FROM implied_role i JOIN role p ON p.id = i.prior_role_id
                   JOIN role r ON r.id = i.implied_role_id WHERE p.name = 'boss' AND r.name = 'manager'";
    assert_eq!(count(&s, implies), 1);
}

#[test]
fn a_server_for_everybody_says_where_it_listens_and_asks_for_its_address() {
    let s = Scratch::new();
    let config = s.config("");
    let start = |more: &[&str], env: &[(&str, &str)]| {
        let _ = std::fs::remove_file(s.path("log"));
        let listen = ["--config-file", &config, "--listen", "0.0.0.0:0"];
        let server = serve(&s, &[&listen[..], more].concat(), env);
        (server, std::fs::read_to_string(s.path("log")).expect("log"))
    };
    let (server, said) = start(&[], &[]);
    assert!(said.contains("--public-url"), "{said}");
    assert!(server.screen.iter().any(|l| l.contains("listens on     0.0.0.0:")), "{:?}", server.screen);
    assert!(server.url.starts_with("http://127.0.0.1:"));
    drop(server);
    assert!(start(&[], &[]).1.contains("--public-url"), "a later start too");
    // Later, and by a variable: catalog, files and links follow, once.
    let public = [("VICAR_PUBLIC_URL", "https://id.example/v3/")];
    let (server, said) = start(&[], &public);
    assert_eq!(server.url, "https://id.example/v3");
    assert!(server.screen.iter().any(|l| l.contains("listens on     0.0.0.0:")), "{:?}", server.screen);
    assert!(said.contains("the endpoint was moved") && said.contains("clouds.yaml"), "{said}");
    drop(server);
    assert_eq!(count(&s, "SELECT COUNT(*) FROM endpoint WHERE url = 'https://id.example/v3'"), 3);
    assert!(files(&s).iter().all(|text| text.contains("https://id.example/v3")));
    let (server, said) = start(&[], &public);
    assert!(!said.contains("moved") && !said.contains("changed"), "{said}");
    drop(server);
    assert!(!start(&[], &[]).1.contains("--public-url"), "the catalog names it");
    for wrong in ["id.example", "ftp://id.example", "http://"] {
        expect(&run(&s, &["serve", "--public-url", wrong]), 2, "--public-url");
    }
    // At a first start there is nothing to complain about.
    let s = Scratch::new();
    let config = s.config("");
    let more = ["--config-file", &config, "--listen", "0.0.0.0:0", "--public-url", "http://id.example:5000"];
    drop(serve(&s, &more, &[]));
    assert!(!std::fs::read_to_string(s.path("log")).expect("log").contains("WARN"));
    assert!(files(&s).iter().all(|text| text.contains("http://id.example:5000/v3")));
}

#[test]
fn the_authority_of_a_certificate_is_named_to_clients() {
    let s = Scratch::new();
    let config = s.config("");
    let pair = |params: rcgen::CertificateParams| (rcgen::KeyPair::generate().expect("a key"), params);
    let (ca_key, mut ca) = pair(rcgen::CertificateParams::new(Vec::new()).expect("params"));
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.distinguished_name.push(rcgen::DnType::CommonName, "a private authority");
    let ca_file = s.file("ca.pem", ca.self_signed(&ca_key).expect("signed").pem());
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let (key, params) = pair(rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("params"));
    let cert_file = s.file("cert.pem", params.signed_by(&key, &issuer).expect("signed").pem());
    let key_file = s.file("key.pem", key.serialize_pem());
    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let own_file = s.file("own.pem", own.cert.pem());
    let own_key = s.file("own-key.pem", own.signing_key.serialize_pem());

    let tls = ["--tls-cert", &cert_file, "--tls-key", &key_file];
    let wrong = [&["serve"], &tls[..], &["--tls-ca", &own_file]].concat();
    expect(&run(&s, &wrong), 3, "is not signed by any certificate in it");
    expect(&run(&s, &[&["serve"], &tls[..], &["--tls-ca", &key_file]].concat()), 3, "holds no certificate");
    assert!(!s.data().exists());
    let named = |text: &[String; 2], file: &str| {
        text[0].matches(&format!("cacert: \"{file}\"")).count() == 2
            && text[1].contains(&format!("export OS_CACERT='{file}'"))
    };
    // It cannot be guessed, so it is asked for.
    drop(serve(&s, &[&["--config-file", &config], &tls[..]].concat(), &[]));
    assert!(std::fs::read_to_string(s.path("log")).expect("log").contains("--tls-ca"));
    assert!(!files(&s)[0].contains("cacert"));
    // Told later, it is added.
    drop(serve(&s, &[&["--config-file", &config], &tls[..], &["--tls-ca", &ca_file]].concat(), &[]));
    assert!(named(&files(&s), &ca_file), "{:?}", files(&s));
    // Told at once, and what signed itself.
    for (more, file) in [
        (vec!["--tls-cert", &cert_file, "--tls-key", &key_file, "--tls-ca", &ca_file], &ca_file),
        (vec!["--tls-cert", &own_file, "--tls-key", &own_key], &own_file),
    ] {
        std::fs::remove_dir_all(s.data()).expect("removed");
        drop(serve(&s, &[&["--config-file", &config], &more[..]].concat(), &[]));
        assert!(named(&files(&s), file), "{:?}", files(&s));
    }
    let doctor = |more: &[&str]| run(&s, &[&["doctor"], more].concat());
    expect(&doctor(&["--tls-cert", &cert_file, "--tls-key", &own_key]), 1, "FAIL  TLS: ");
    expect(&doctor(&tls), 0, "warn  TLS: ");
    expect(&doctor(&["--tls-cert", &own_file, "--tls-key", &own_key]), 0, "ok    TLS, time");
}
