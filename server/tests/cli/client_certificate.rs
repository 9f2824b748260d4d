//! Certificates that clients show when they connect.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::reload::{hang_up, started, wait_until_said};
use crate::{Scratch, expect, run};

/// An authority, which makes certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key.
struct Made {
    der: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "the authority");
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    fn issue(&self, name: &str) -> Made {
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("a name");
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let made = params.signed_by(&key, &self.0).expect("a certificate");
        Made { der: made.der().clone(), pem: made.pem(), key }
    }

    fn pem(&self) -> String {
        self.0.pem()
    }
}

struct Answer {
    status: u16,
    token: Option<String>,
    body: Value,
}

/// A connection that is kept.
struct Connection(BufReader<StreamOwned<ClientConnection, TcpStream>>);

impl Connection {
    fn open(address: &str, authority: &Authority, shown: Option<&Made>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(authority.0.der().clone()).expect("a root");
        let client = ClientConfig::builder().with_root_certificates(roots);
        let client = match shown {
            Some(made) => {
                let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.key.serialize_der()));
                client.with_client_auth_cert(vec![made.der.clone()], key).expect("a certificate")
            }
            None => client.with_no_client_auth(),
        };
        let name = "127.0.0.1".try_into().expect("a name");
        let session = ClientConnection::new(Arc::new(client), name).expect("a session");
        let stream = TcpStream::connect(address).expect("connects");
        Self(BufReader::new(StreamOwned::new(session, stream)))
    }

    fn call(&mut self, method: &str, path: &str, headers: &str, body: &str) -> Option<Answer> {
        let length = body.len();
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n{headers}\r\n{body}");
        self.0.get_mut().write_all(request.as_bytes()).ok()?;
        let mut line = String::new();
        self.0.read_line(&mut line).ok()?;
        let status = line.split(' ').nth(1)?.parse().ok()?;
        let (mut length, mut token) = (0, None);
        loop {
            line.clear();
            self.0.read_line(&mut line).ok()?;
            if line.trim().is_empty() {
                break;
            }
            let (name, value) = line.split_once(':')?;
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().ok()?,
                "x-subject-token" => token = Some(value.trim().to_owned()),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).ok()?;
        Some(Answer { status, token, body: serde_json::from_slice(&body).unwrap_or_default() })
    }

    /// Asks for a token for a client; `headers` besides.
    fn ask(&mut self, client: &str, headers: &str) -> Option<u16> {
        let headers = format!("Content-Type: application/x-www-form-urlencoded\r\n{headers}");
        let form = format!("grant_type=client_credentials&client_id={client}");
        self.call("POST", "/v3/OS-OAUTH2/token", &headers, &form).map(|answer| answer.status)
    }
}

#[test]
fn a_certificate_that_a_client_shows_is_a_client() {
    let s = Scratch::new();
    let (authority, other) = (Authority::new(), Authority::new());
    let (server, admin) = (authority.issue("server"), authority.issue("admin"));
    let cert = s.file("cert.pem", &server.pem);
    let key = s.file("key.pem", server.key.serialize_pem());
    let ca = s.file("ca.pem", authority.pem());
    let config = s.config(&format!("[vicar]\ntls_client_ca = {ca}\ntrusted_proxies = 192.0.2.1\n"));
    expect(&run(&s, &["serve", "--config-file", &config]), 3, "tls_client_ca needs tls_cert");
    let config = s.config("[vicar]\ntrusted_proxies = 192.0.2.1\n");
    let mut running = started(&s, &config, &["--tls-cert", &cert, "--tls-key", &key, "--tls-client-ca", &ca]);
    let at = running.address();
    let open = |shown: Option<&Made>| Connection::open(&at, &authority, shown);

    // Nobody has to have one.
    let mut plain = open(None);
    let auth = json!({"auth": {"identity": {"methods": ["password"], "password": {"user": {
        "name": "admin", "domain": {"id": "default"}, "password": "topsecret"}}},
        "scope": {"project": {"name": "admin", "domain": {"id": "default"}}}}});
    let login = plain.call("POST", "/v3/auth/tokens", "", &auth.to_string()).expect("an answer");
    assert_eq!(login.status, 201, "{}", login.body);
    let (token, login) = (login.token.expect("a token"), login.body);
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let (user, project) = (text(&login["token"]["user"]["id"]), text(&login["token"]["project"]["id"]));
    let headers = format!("X-Auth-Token: {token}\r\n");
    let default = json!({"user": {"default_project_id": project}}).to_string();
    let path = format!("/v3/users/{user}");
    assert_eq!(plain.call("PATCH", &path, &headers, &default).expect("an answer").status, 200);
    let rules = json!({"mapping": {"rules": [{"local": [{"user": {"name": "{0}"}}],
        "remote": [{"type": "SSL_CLIENT_SUBJECT_DN_CN"}]}]}});
    let path = "/v3/OS-FEDERATION/mappings/oauth2_mapping";
    assert_eq!(plain.call("PUT", path, &headers, &rules.to_string()).expect("an answer").status, 201);
    assert_eq!(plain.ask(&user, ""), Some(401));

    let mut shown = open(Some(&admin));
    assert_eq!(shown.ask(&user, ""), Some(200));
    assert_eq!(open(Some(&authority.issue("another"))).ask(&user, ""), Some(401));
    // Of another authority of the same name: no connection at all.
    assert_eq!(open(Some(&other.issue("admin"))).ask(&user, ""), None);
    // A proxy, named or not, shows its own certificate and not that of whoever asks it.
    for header in ["X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: https", "Forwarded: for=192.0.2.7"] {
        assert_eq!(open(Some(&admin)).ask(&user, &format!("{header}\r\n")), Some(401), "{header}");
    }
    // A header is nothing where none is configured.
    let der = admin.pem.replace(['\r', '\n'], " ");
    assert_eq!(
        plain.ask(&user, &format!("X-SSL-Client-Cert: {der}\r\nSSL_CLIENT_CERT: {der}\r\n")),
        Some(401)
    );

    // A trust that is bound to a certificate asks for it on the connection, whatever the headers say.
    let pem = admin.pem.replace('\r', "");
    let binding = json!({"x5t#S256": URL_SAFE.encode(Sha256::digest(&pem))});
    let trust = json!({"trust": {"trustor_user_id": user, "trustee_user_id": user, "project_id": project,
        "impersonation": true, "roles": [{"name": "admin"}], "trustee_binding": binding}});
    let made = plain.call("POST", "/v3/OS-TRUST/trusts", &headers, &trust.to_string()).expect("an answer");
    assert_eq!(made.status, 201, "{}", made.body);
    let mut auth = auth;
    auth["auth"]["scope"] = json!({"OS-TRUST:trust": {"id": made.body["trust"]["id"]}});
    let uses = |connection: &mut Connection, headers: &str| {
        connection.call("POST", "/v3/auth/tokens", headers, &auth.to_string()).expect("an answer")
    };
    let used = uses(&mut shown, "");
    assert_eq!((used.status, &used.body["token"]["oauth2_credential"]), (201, &binding), "{}", used.body);
    // A header beside the certificate is nothing.
    let strange = authority.issue("another").pem.replace(['\r', '\n'], " ");
    assert_eq!(uses(&mut shown, &format!("X-SSL-Client-Cert: {strange}\r\n")).status, 201);
    let header = format!("X-SSL-Client-Cert: {der}\r\nSSL_CLIENT_CERT: {der}\r\n");
    assert_eq!(uses(&mut plain, &header).status, 403);
    let mut another = open(Some(&authority.issue("admin")));
    for headers in ["", header.as_str()] {
        assert_eq!(uses(&mut another, headers).status, 403);
    }
    assert_eq!(uses(&mut shown, "X-Forwarded-For: 192.0.2.7\r\n").status, 403);

    // Authorities change while the server runs. A connection is as good as its certificate is now.
    let again = "the TLS certificate was read again";
    s.file("ca.pem", "nothing");
    hang_up(&running);
    wait_until_said(&s, "ca.pem: holds no certificate", 1);
    assert_eq!(shown.ask(&user, ""), Some(200), "the old ones are in force");
    s.file("ca.pem", other.pem());
    wait_until_said(&s, again, 1);
    assert_eq!(shown.ask(&user, ""), Some(401));
    assert_eq!(open(Some(&admin)).ask(&user, ""), None);
    assert_eq!(open(Some(&other.issue("admin"))).ask(&user, ""), Some(200));
    s.file("ca.pem", format!("{}{}", authority.pem(), other.pem()));
    wait_until_said(&s, again, 2);
    assert_eq!(shown.ask(&user, ""), Some(200));
    assert_eq!(open(Some(&other.issue("admin"))).ask(&user, ""), Some(200));
    assert_eq!(running.signal("-TERM"), 0);
}
