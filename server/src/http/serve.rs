//! Listening, with TLS or without, until told to stop.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Body as _;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tower::ServiceExt;

use super::client_certificate::Shown;
use super::front::Arrival;
use super::layers::{self, Socket, TimedBody};
use super::limits::{Door, Limits, Place};
use super::tls::{Acceptor, Strangers};
use crate::error::Error;
use crate::peer::Peer;

/// Serves until `stop` is done, then lets requests under way finish.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Acceptor>,
    router: Router,
    stop: impl Future<Output = ()>,
) {
    serve_within(Limits::default(), listener, tls, router, stop).await;
}

/// The same with other limits than the usual ones.
pub async fn serve_within(
    limits: Limits,
    listener: TcpListener,
    tls: Option<Acceptor>,
    router: Router,
    stop: impl Future<Output = ()>,
) {
    // Every connection holds a receiver: it hears of the end there, and is over when it has dropped it.
    let (tell, told) = watch::channel(false);
    let door = Door::new(limits);
    let tls = tls.map(|acceptor| Arc::new((acceptor, Strangers::default())));
    let begin = |stream: TcpStream| {
        let _ = stream.set_nodelay(true);
        // A peer that has no address any more has gone.
        let Ok(peer) = stream.peer_addr() else { return };
        let Some(place) = door.admit(peer.ip()) else { return };
        let (router, tls, told, door) = (router.clone(), tls.clone(), told.clone(), Arc::clone(&door));
        tokio::spawn(connection(stream, peer.ip(), tls, router, told, door, place));
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
        () = tokio::time::sleep(door.limits().grace) => tracing::warn!("requests under way were cut off"),
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
    address: IpAddr,
    tls: Option<Arc<(Acceptor, Strangers)>>,
    router: Router,
    told: watch::Receiver<bool>,
    door: Arc<Door>,
    mut place: Place,
) {
    let limits = door.limits();
    let stream = Arc::new(stream);
    let mut talk = Talk {
        router,
        told,
        limits,
        peer: Peer::new(address, Arc::downgrade(&stream)),
        arrival: Arrival { encrypted: tls.is_some(), local: stream.local_addr().ok() },
        only_health: place.is_reserved(),
        shown: None,
    };
    let socket = Socket::new(Arc::clone(&stream), limits.answer);
    let work = async {
        match tls {
            None => {
                drop(stream);
                talk.converse(socket).await;
            }
            Some(tls) => {
                let (acceptor, strangers) = &*tls;
                let greeting = strangers.greet(acceptor, stream, socket, address);
                if let Ok(Some(stream)) = tokio::time::timeout(talk.head(), greeting).await {
                    talk.shown = acceptor.shown(&stream);
                    talk.converse(stream).await;
                }
            }
        }
    };
    tokio::select! {
        () = work => {}
        () = place.taken() => {}
    }
}

/// One connection's conversation.
struct Talk<'a> {
    router: Router,
    told: watch::Receiver<bool>,
    limits: &'a Limits,
    peer: Peer,
    arrival: Arrival,
    only_health: bool,
    shown: Option<Shown>,
}

impl Talk<'_> {
    fn head(&self) -> Duration {
        if self.only_health { self.limits.reserved_head } else { self.limits.head }
    }

    /// Answers what the connection asks, until it ends or the server does.
    async fn converse(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let has_asked = AtomicBool::new(false);
        let service = hyper::service::service_fn(|request: hyper::Request<hyper::body::Incoming>| {
            has_asked.store(true, Ordering::Relaxed);
            self.answer(request)
        });
        // HTTP/1.1 alone, as any Keystone speaks: its clients know no other, and what is not there needs no
        // limits.
        let mut builder = Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(self.head())
            .half_close(true)
            .keep_alive(!self.only_health);
        let mut talk = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
        let mut told = self.told.clone();
        let stopping = async {
            // An error means that the server is gone altogether.
            let _ = told.wait_for(|stopped| *stopped).await;
            if !has_asked.load(Ordering::Relaxed) {
                tokio::time::sleep(self.limits.first).await;
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
            tracing::debug!(address = %self.peer.address, error = %e, "a connection ended early");
        }
    }

    /// Answers one request. Handlers have no deadline: one that fired after a transaction had committed would
    /// tell the client that nothing was done. What can take long in them (the database, the queue of hashing)
    /// has deadlines of its own.
    async fn answer(&self, request: hyper::Request<hyper::body::Incoming>) -> Result<Response, Infallible> {
        let Limits { body, body_total, .. } = *self.limits;
        let peer = self.peer.clone().through(&self.limits.proxies, request.headers());
        if self.only_health && !self.limits.front.asks_health(request.uri().path(), request.headers(), &peer)
        {
            let rest = layers::discard(request.into_body(), REFUSED_BODY);
            let _ = tokio::time::timeout(self.limits.reserved_head, rest).await;
            return Ok(busy());
        }
        let mut request = request.map(|incoming| match incoming.is_end_stream() {
            true => Body::empty(),
            false => Body::new(TimedBody::new(incoming, body, body_total)),
        });
        request.extensions_mut().insert(self.arrival);
        request.extensions_mut().insert(peer.clone());
        if let Some(shown) = &self.shown {
            request.extensions_mut().insert(shown.clone());
        }
        let answer = layers::caught(peer.scope(self.router.clone().oneshot(request)));
        let Ok(answer) = answer.await.unwrap_or_else(|| Ok(layers::panicked()));
        Ok(answer)
    }
}

/// How much of a refused request's body is taken in, so that its sender comes to read the answer.
const REFUSED_BODY: usize = 128 << 10;

/// 503 for one who is beyond the limits.
fn busy() -> Response {
    let mut response = Error::Busy.into_response();
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
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
