//! Other servers that a policy asks for their decision: `http:` and `https:` checks of oslo.policy.
//!
//! What they are told is the rule, what is known of the object, and what is known of the caller; the answer is
//! `True`, or it is a refusal. A server that does not answer in time has not answered, and nobody is allowed.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use url::Url;

use crate::config::RemoteOptions;

/// How many are asked at once. Those who come later wait, within the same time.
const AT_ONCE: usize = 64;

/// The longest answer that is read. What is longer is not `True`.
const LONGEST_ANSWER: usize = 4096;

/// What a server is asked.
#[derive(Clone, PartialEq, Eq)]
pub struct Question {
    /// The operation.
    pub rule: &'static str,
    /// Where.
    pub url: String,
    /// What is known of the object, JSON.
    pub target: String,
    /// What is known of the caller, JSON.
    pub credentials: String,
}

impl std::fmt::Debug for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Question").field("rule", &self.rule).finish_non_exhaustive()
    }
}

/// The way to ask.
pub struct Remote {
    timeout: Duration,
    is_json: bool,
    tls: Option<TlsConnector>,
    places: Semaphore,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl Remote {
    /// Reads the certificates, if an `https:` server is going to be asked.
    ///
    /// # Errors
    /// A sentence for the operator, when one cannot be read.
    pub fn new(options: &RemoteOptions, asks_https: bool) -> Result<Self, String> {
        Ok(Self {
            timeout: options.timeout,
            is_json: options.is_json,
            tls: if asks_https { Some(TlsConnector::from(Arc::new(of(options)?))) } else { None },
            places: Semaphore::new(AT_ONCE),
        })
    }

    /// Asks. Nothing when no answer comes; the log says why.
    pub async fn ask(&self, question: &Question) -> Option<bool> {
        let asked = async {
            let _place = self.places.acquire().await.map_err(|e| e.to_string())?;
            self.post(question).await
        };
        let why = match tokio::time::timeout(self.timeout, asked).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(why)) => why,
            Err(_) => "it did not answer in time".to_owned(),
        };
        tracing::warn!(
            rule = question.rule,
            why,
            "policy: a server that the rule asks gave no decision, so it is refused"
        );
        None
    }

    async fn post(&self, question: &Question) -> Result<bool, String> {
        let url = Url::parse(&question.url).map_err(|e| e.to_string())?;
        let host = url.host_str().ok_or("the URL names no host")?;
        let port = url.port_or_known_default().ok_or("the URL names no port")?;
        let address = (host.trim_start_matches('[').trim_end_matches(']'), port);
        let stream = TcpStream::connect(address).await.map_err(|e| e.to_string())?;
        if url.scheme() != "https" {
            return self.exchange(stream, &url, question).await;
        }
        let tls = self.tls.as_ref().ok_or("there are no certificates for https")?;
        let name = ServerName::try_from(address.0.to_owned()).map_err(|e| e.to_string())?;
        let stream = tls.connect(name, stream).await.map_err(|e| e.to_string())?;
        self.exchange(stream, &url, question).await
    }

    async fn exchange<S>(&self, stream: S, url: &Url, question: &Question) -> Result<bool, String>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (kind, body) = self.body(question);
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
        // Ends with the sender.
        let connection = tokio::spawn(connection);
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let host = match url.port() {
            Some(port) => format!("{}:{port}", url.host_str().unwrap_or_default()),
            None => url.host_str().unwrap_or_default().to_owned(),
        };
        let request = hyper::Request::post(path)
            .header(HOST, host)
            .header(CONTENT_TYPE, kind)
            .header(CONTENT_LENGTH, body.len())
            .body(Full::new(Bytes::from(body)))
            .map_err(|e| e.to_string())?;
        let answered = async {
            let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
            if !response.status().is_success() {
                return Err(format!("it answered {}", response.status()));
            }
            let body = Limited::new(response.into_body(), LONGEST_ANSWER).collect().await;
            let body = body.map_err(|e| e.to_string())?.to_bytes();
            // Nothing else is a yes.
            Ok(body.as_ref() == b"True" || body.as_ref() == b"\"True\"")
        }
        .await;
        connection.abort();
        answered
    }

    fn body(&self, q: &Question) -> (&'static str, String) {
        let rule = serde_json::Value::from(q.rule).to_string();
        if self.is_json {
            let body =
                format!("{{\"rule\": {rule}, \"target\": {}, \"credentials\": {}}}", q.target, q.credentials);
            return ("application/json", body);
        }
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("rule", &rule)
            .append_pair("target", &q.target)
            .append_pair("credentials", &q.credentials)
            .finish();
        ("application/x-www-form-urlencoded", body)
    }
}

fn of(options: &RemoteOptions) -> Result<ClientConfig, String> {
    let own = (options.certificate.as_deref(), options.key.as_deref());
    tls(options.ca.as_deref(), own, "[oslo_policy] remote_ssl_client_crt_file and remote_ssl_client_key_file")
}

/// TLS with another server, whose certificate is always verified: against an authority's, or those that the system
/// trusts. What is shown to it is a certificate with its key; `names` are those of the two options.
///
/// # Errors
/// A sentence for the operator, when a file cannot be used.
pub fn tls(
    ca: Option<&Path>,
    own: (Option<&Path>, Option<&Path>),
    names: &str,
) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(file) => {
            for certificate in certificates(file)? {
                roots.add(certificate).map_err(|e| format!("{}: {e}", file.display()))?;
            }
            if roots.is_empty() {
                return Err(format!("{}: holds no certificate", file.display()));
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let config = ClientConfig::builder().with_root_certificates(roots);
    match own {
        (Some(certificate), Some(key)) => {
            let private = PrivateKeyDer::from_pem_file(key).map_err(|e| format!("{}: {e}", key.display()))?;
            config
                .with_client_auth_cert(certificates(certificate)?, private)
                .map_err(|e| format!("{}: {e}", certificate.display()))
        }
        (None, None) => Ok(config.with_no_client_auth()),
        _ => Err(format!("{names} go together")),
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    // Whoever opens a pipe waits for somebody to write, and a device may have no end.
    match std::fs::metadata(file) {
        Ok(found) if !found.is_file() => return Err(format!("{}: is not a file", file.display())),
        Ok(_) => {}
        Err(e) => return Err(format!("{}: {e}", file.display())),
    }
    CertificateDer::pem_file_iter(file)
        .and_then(|found| found.collect())
        .map_err(|e| format!("{}: {e}", file.display()))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::server::WebPkiClientVerifier;

    use super::*;

    /// A certificate in files, which go with the test.
    struct Made {
        certificate: PathBuf,
        key: PathBuf,
        made: rcgen::CertifiedKey<rcgen::KeyPair>,
    }

    impl Made {
        fn new(name: &str) -> Self {
            let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
            let file = |text: String| {
                let file = std::env::temp_dir().join(format!("vicar-remote-{}.pem", crate::ids::uuid()));
                std::fs::write(&file, text).expect("written");
                file
            };
            Self { certificate: file(made.cert.pem()), key: file(made.signing_key.serialize_pem()), made }
        }

        fn roots(&self) -> RootCertStore {
            let mut roots = RootCertStore::empty();
            roots.add(self.made.cert.der().clone()).expect("a root");
            roots
        }
    }

    impl Drop for Made {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.certificate);
            let _ = std::fs::remove_file(&self.key);
        }
    }

    /// A server that says yes to whoever shows the certificate; its port.
    async fn yes(server: &Made, client: &Made) -> u16 {
        let verifier = WebPkiClientVerifier::builder(Arc::new(client.roots())).build().expect("a verifier");
        let key = PrivateKeyDer::from_pem_file(&server.key).expect("a key");
        let config = ServerConfig::builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![server.made.cert.der().clone()], key)
            .expect("a configuration");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut start = [0; 4];
                if stream.read_exact(&mut start).await.is_ok() && &start == b"POST" {
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nTrue";
                    let _ = stream.write_all(answer).await;
                    let _ = stream.read_to_end(&mut Vec::new()).await;
                }
            }
        });
        port
    }

    #[tokio::test]
    async fn by_https_both_sides_are_verified() {
        let (server, client, other) = (Made::new("127.0.0.1"), Made::new("c"), Made::new("127.0.0.1"));
        let port = yes(&server, &client).await;
        let question = Question {
            rule: "identity:get_user",
            url: format!("https://127.0.0.1:{port}/"),
            target: "{}".into(),
            credentials: "{}".into(),
        };
        let ask = async |ca: &Made, shown: Option<&Made>| {
            let options = RemoteOptions {
                timeout: Duration::from_secs(30),
                is_json: false,
                ca: Some(ca.certificate.clone()),
                certificate: shown.map(|s| s.certificate.clone()),
                key: shown.map(|s| s.key.clone()),
            };
            Remote::new(&options, true).expect("reads").ask(&question).await
        };
        assert_eq!(ask(&server, Some(&client)).await, Some(true));
        assert_eq!(ask(&other, Some(&client)).await, None, "another server");
        assert_eq!(ask(&server, Some(&other)).await, None, "another client");
        assert_eq!(ask(&server, None).await, None, "nobody in particular");
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let with = |certificate: Option<&str>, ca: Option<&str>| RemoteOptions {
            timeout: Duration::from_secs(1),
            is_json: false,
            ca: ca.map(PathBuf::from),
            certificate: certificate.map(PathBuf::from),
            key: None,
        };
        let fault = |options: &RemoteOptions| Remote::new(options, true).expect_err("cannot be used");
        assert!(fault(&with(None, Some("/nowhere"))).starts_with("/nowhere: "));
        assert!(fault(&with(None, Some("/dev/null"))).starts_with("/dev/null: is not a file"));
        assert!(fault(&with(None, Some("Cargo.toml"))).starts_with("Cargo.toml: holds no certificate"));
        assert!(fault(&with(Some("/x"), None)).contains("go together"));
        assert!(Remote::new(&with(None, Some("/nowhere")), false).is_ok(), "nobody asks by https");
    }
}
