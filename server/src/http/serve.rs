//! Listening, with TLS or without, until told to stop.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tower::ServiceExt;

use super::request::Encrypted;

/// How long requests under way may take once the server stops.
const GRACE: Duration = Duration::from_secs(10);
/// How long one who has connected, and has not asked for anything yet, may take to begin once the server
/// stops: his request may be on its way.
const FIRST: Duration = Duration::from_millis(500);
/// How long a client may take for its request's head.
const HEAD: Duration = Duration::from_secs(20);

/// Reads a certificate chain and its key, both PEM. Other sections of the files are passed over.
///
/// # Errors
/// A sentence for the operator, with the file's name: it cannot be read, is not PEM, holds no certificate or
/// no private key, or the key is not the certificate's.
pub fn tls(cert: &Path, key: &Path) -> Result<TlsAcceptor, String> {
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
    let config = tokio_rustls::rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(certs, private)
        .map_err(|e| format!("{}: {e}", cert.display()))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves until `stop` is done, then lets requests under way finish.
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    stop: impl Future<Output = ()>,
) {
    // Every connection holds a receiver: it hears of the end there, and is over when it has dropped it.
    let (tell, told) = watch::channel(false);
    let begin = |stream: TcpStream| {
        let _ = stream.set_nodelay(true);
        let (router, tls, told) = (router.clone(), tls.clone(), told.clone());
        tokio::spawn(async move { connection(stream, tls, router, told).await });
    };
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => begin(stream),
                // Out of file descriptors, or the peer is gone already: neither ends the server.
                Err(e) => {
                    tracing::warn!(error = %e, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            },
            () = &mut stop => break,
        }
    }
    // Who waits in the kernel's queue has connected, and would be cut off. Whoever comes later shall be
    // refused, and try elsewhere.
    waiting(listener).into_iter().for_each(begin);
    drop(told);
    let _ = tell.send(true);
    tokio::select! {
        () = tell.closed() => {}
        () = tokio::time::sleep(GRACE) => tracing::warn!("requests under way were cut off"),
    }
}

/// Closes the port; gives the connections that nobody had accepted.
fn waiting(listener: TcpListener) -> Vec<TcpStream> {
    // The runtime hears of connections late, the kernel knows of them now.
    let Ok(listener) = listener.into_std() else { return Vec::new() };
    std::iter::from_fn(|| listener.accept().ok())
        .filter_map(|(stream, _)| {
            stream.set_nonblocking(true).ok()?;
            TcpStream::from_std(stream).ok()
        })
        .collect()
}

async fn connection(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    router: Router,
    told: watch::Receiver<bool>,
) {
    match tls {
        None => converse(stream, Encrypted(false), router, told).await,
        Some(acceptor) => {
            if let Ok(Ok(stream)) = tokio::time::timeout(HEAD, acceptor.accept(stream)).await {
                converse(stream, Encrypted(true), router, told).await;
            }
        }
    }
}

/// Answers what one connection asks, until it ends or the server does.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    encrypted: Encrypted,
    router: Router,
    mut told: watch::Receiver<bool>,
) {
    let asked = Arc::new(AtomicBool::new(false));
    let has_asked = Arc::clone(&asked);
    let service = hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        asked.store(true, Ordering::Relaxed);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(encrypted);
        router.clone().oneshot(request)
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD).half_close(true);
    let mut talk = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let stopping = async {
        // An error means that the server is gone altogether.
        let _ = told.wait_for(|stopped| *stopped).await;
        if !has_asked.load(Ordering::Relaxed) {
            tokio::time::sleep(FIRST).await;
        }
    };
    let done = tokio::select! {
        done = talk.as_mut() => done,
        () = stopping => {
            talk.as_mut().graceful_shutdown();
            talk.await
        }
    };
    if let Err(e) = done {
        tracing::debug!(error = %e, "a connection ended early");
    }
}

/// Binds a port.
///
/// # Errors
/// A sentence for the operator, which says what to do when the port is in use.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|e| match e.kind() {
        std::io::ErrorKind::AddrInUse => {
            format!("{address} is in use already; choose another port with --listen")
        }
        _ => format!("{address}: {e}"),
    })
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
        let words = |cert: &Path, key: &Path| tls(cert, key).err().unwrap_or_default();
        assert_eq!(words(&cert, &key), "");
        assert_eq!(words(&both, &both), "");
        assert!(words(&key, &key).ends_with("key.pem: holds no certificate"));
        assert!(words(&cert, &cert).ends_with("cert.pem: holds no private key"));
        assert!(words(&cert, &dir.join("none.pem")).contains("none.pem: "));
        let cut = file("cut.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n");
        assert!(words(&cert, &cut).contains("cut.pem: "));
        assert!(!words(&cert, &file("other.pem", &other.signing_key.serialize_pem())).is_empty());
        std::fs::remove_dir_all(&dir).expect("removed");
    }
}
