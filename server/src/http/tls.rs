//! TLS: the certificate, which can be replaced while the server runs, and what is said to clients that do not speak it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::server::TlsStream;

use super::client_certificate::{Authorities, Shown};
use super::layers::Socket;

/// A certificate chain and its key, in the files that they are read from.
#[derive(Debug)]
pub struct Certificate {
    cert: PathBuf,
    key: PathBuf,
    /// Held for the time that it takes to copy the pointer, never over I/O.
    current: RwLock<Arc<CertifiedKey>>,
    /// Whose certificates clients may show.
    clients: Option<Arc<Authorities>>,
}

/// What accepts connections.
#[derive(Clone)]
pub struct Acceptor {
    tls: TlsAcceptor,
    clients: Option<Arc<Authorities>>,
}

impl Acceptor {
    /// The certificate that the client of a connection has shown.
    pub(super) fn shown(&self, stream: &TlsStream<Socket>) -> Option<Shown> {
        Shown::of(stream.get_ref().1.peer_certificates(), self.clients.as_ref())
    }
}

impl Certificate {
    /// Reads the files, both PEM. Other sections in them are passed over.
    ///
    /// # Errors
    /// A sentence for the operator, with the file's name: it cannot be read, is not PEM, holds no certificate or
    /// no private key, or the key is not the certificate's.
    pub fn load(cert: &Path, key: &Path, clients: Option<Arc<Authorities>>) -> Result<Arc<Self>, String> {
        let current = RwLock::new(Arc::new(read(cert, key)?));
        Ok(Arc::new(Self { cert: cert.to_owned(), key: key.to_owned(), current, clients }))
    }

    /// Reads the files again. Connections from now on get what is in them; with an error nothing changes.
    ///
    /// # Errors
    /// As [`Certificate::load`].
    pub fn reload(&self) -> Result<(), String> {
        let read = Arc::new(read(&self.cert, &self.key)?);
        if let Some(clients) = &self.clients {
            clients.reload()?();
        }
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = read;
        Ok(())
    }

    /// The file with the chain.
    pub fn file(&self) -> &Path {
        &self.cert
    }

    /// All files.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        [self.cert.as_path(), &self.key]
            .into_iter()
            .chain(self.clients.as_ref().map(|clients| clients.file()))
    }

    /// What accepts connections with this certificate.
    ///
    /// # Errors
    /// None in practice: the versions of TLS are those that the library supports.
    pub fn acceptor(self: &Arc<Self>) -> Result<Acceptor, String> {
        let provider = Arc::new(ring::default_provider());
        let config = tokio_rustls::rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?;
        let config = match &self.clients {
            Some(clients) => config.with_client_cert_verifier(Arc::clone(clients) as Arc<_>),
            None => config.with_no_client_auth(),
        };
        let config = config.with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        Ok(Acceptor { tls: TlsAcceptor::from(Arc::new(config)), clients: self.clients.clone() })
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn read(cert: &Path, key: &Path) -> Result<CertifiedKey, String> {
    let open = |p: &Path| std::fs::read(p).map_err(|e| format!("{}: {e}", p.display()));
    let certs = CertificateDer::pem_slice_iter(&open(cert)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| format!("{}: {e}", cert.display()))?;
    if certs.is_empty() {
        return Err(format!("{}: holds no certificate", cert.display()));
    }
    let private = PrivateKeyDer::from_pem_slice(&open(key)?).map_err(|e| match e {
        pem::Error::NoItemsFound => format!("{}: holds no private key", key.display()),
        e => format!("{}: {e}", key.display()),
    })?;
    CertifiedKey::from_der(certs, private, &ring::default_provider())
        .map_err(|e| format!("{} with {}: {e}", cert.display(), key.display()))
}

/// How often the same thing is logged.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// Counts what clients do wrong, so that the log has a line of it now and then.
#[derive(Debug, Default)]
struct Seldom(Mutex<(u64, Option<Instant>)>);

impl Seldom {
    /// How many there were since the last line, if it is time for another one.
    fn count(&self) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 += 1;
        if state.1.is_some_and(|at| at.elapsed() < REPORT_EVERY) {
            return None;
        }
        state.1 = Some(Instant::now());
        Some(std::mem::take(&mut state.0))
    }
}

/// What a listener with TLS has seen of clients that did not get far.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    plain: Seldom,
    failed: Seldom,
}

/// What who speaks HTTP here reads.
const PLAIN: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 55\r\n\
Connection: close\r\n\r\nThis port speaks HTTPS: URLs of it begin with https://\n";

/// How much of a plain request is taken in, and for how long, so that its sender comes to read the answer.
const DISCARDED: u64 = 64 << 10;
const LINGER: Duration = Duration::from_secs(1);

impl Strangers {
    /// The handshake. `None` when there is none: a client that speaks plain HTTP is told so.
    pub(super) async fn greet(
        &self,
        acceptor: &Acceptor,
        stream: Arc<TcpStream>,
        mut socket: Socket,
        address: IpAddr,
    ) -> Option<TlsStream<Socket>> {
        // A request begins with the letters of its method, a handshake with byte 22.
        let mut first = [0; 1];
        let seen = stream.peek(&mut first).await;
        drop(stream);
        if !matches!(seen, Ok(1)) {
            // Connected and gone, as load balancers do to see whether somebody listens.
            return None;
        }
        if first.first().is_some_and(u8::is_ascii_alphabetic) {
            if let Some(count) = self.plain.count() {
                tracing::warn!(%address, count, "plain HTTP on the TLS port");
            }
            if socket.write_all(PLAIN).await.is_ok() && socket.shutdown().await.is_ok() {
                let (mut rest, mut nowhere) = (socket.take(DISCARDED), tokio::io::sink());
                let _ = tokio::time::timeout(LINGER, tokio::io::copy(&mut rest, &mut nowhere)).await;
            }
            return None;
        }
        match acceptor.tls.accept(socket).await {
            Ok(stream) => Some(stream),
            Err(error) => {
                match self.failed.count() {
                    Some(count) => tracing::info!(%address, count, %error, "a TLS handshake failed"),
                    None => tracing::debug!(%address, %error, "a TLS handshake failed"),
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_and_keys_are_found_among_other_sections() {
        let made = rcgen::generate_simple_self_signed(["h".to_owned()]).expect("a certificate");
        let other = rcgen::generate_simple_self_signed(["h".to_owned()]).expect("a certificate");
        let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let dir = std::env::temp_dir().join(format!("vicar-tls-{}", crate::ids::uuid()));
        std::fs::create_dir(&dir).expect("a directory");
        let file = |name: &str, text: &str| {
            let path = dir.join(name);
            std::fs::write(&path, text).expect("written");
            path
        };
        let both = file("both.pem", &format!("A bag of things\n{key}{cert}{cert}"));
        let (cert, key) = (file("cert.pem", &cert), file("key.pem", &key));
        let words = |cert: &Path, key: &Path| Certificate::load(cert, key, None).err().unwrap_or_default();
        assert_eq!(words(&cert, &key), "");
        assert_eq!(words(&both, &both), "");
        assert!(words(&key, &key).ends_with("key.pem: holds no certificate"));
        assert!(words(&cert, &cert).ends_with("cert.pem: holds no private key"));
        assert!(words(&cert, &dir.join("none.pem")).contains("none.pem: "));
        let cut = file("cut.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n");
        assert!(words(&cert, &cut).contains("cut.pem: "));
        let loaded = Certificate::load(&cert, &key, None).expect("loads");
        let served = || loaded.current.read().expect("a lock").cert.clone();
        let before = served();
        file("key.pem", &other.signing_key.serialize_pem());
        let mixed = loaded.reload().expect_err("another key");
        assert!(mixed.contains("cert.pem with ") && mixed.contains("key.pem: "), "{mixed}");
        assert_eq!(served(), before);
        file("cert.pem", &other.cert.pem());
        loaded.reload().expect("both are new");
        assert_ne!(served(), before);
        std::fs::remove_dir_all(&dir).expect("removed");
    }

    #[test]
    fn the_answer_to_plain_http_is_as_long_as_it_says() {
        let text = std::str::from_utf8(PLAIN).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{}", body.len());
    }

    #[test]
    fn what_happens_often_is_said_seldom() {
        let seldom = Seldom::default();
        assert_eq!(seldom.count(), Some(1));
        assert_eq!((seldom.count(), seldom.count()), (None, None));
        seldom.0.lock().expect("a lock").1 = None;
        assert_eq!(seldom.count(), Some(3));
    }
}
