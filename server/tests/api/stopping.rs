//! What clients see of a server that stops: connected clients are served.

use std::future::Future;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use std::io::Write;
use vicar::http::limits::Limits;
use vicar::http::serve;

use crate::hardening::{REQUEST, connect, first_line, until};

/// A server on a runtime of its own, until `stop`. Returns once the server has ended.
fn served(
    limits: Limits,
    stop: impl Future<Output = ()> + Send + 'static,
    meanwhile: impl FnOnce(SocketAddr),
) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let listener = runtime.block_on(serve::bind(SocketAddr::from(([127, 0, 0, 1], 0)))).expect("a port");
    let at = listener.local_addr().expect("an address");
    // These wait in the kernel's queue before the server looks for the first time.
    let mut early: Vec<TcpStream> = (0..20).map(|_| connect(at)).collect();
    for stream in &mut early {
        stream.write_all(REQUEST).expect("a request");
    }
    let router = axum::Router::new().route("/", axum::routing::get(|| async { "here" }));
    let server = runtime.spawn(serve::serve_within(limits, listener, None, router, stop));
    for stream in &mut early {
        assert_eq!(first_line(stream), "HTTP/1.1 200 OK");
    }
    drop(early);
    meanwhile(at);
    until("the server has ended", || server.is_finished());
    runtime.block_on(server).expect("an end");
}

/// Deadlines so long that a test would fail before one of them is over.
fn patient() -> Limits {
    let never = Duration::from_secs(3600);
    Limits { grace: never, first: never, head: never, ..Limits::default() }
}

#[test]
fn connections_that_wait_when_the_server_stops_are_served() {
    served(patient(), std::future::ready(()), |_| {});
}

#[test]
fn a_request_that_is_on_its_way_when_the_server_stops_is_served() {
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let limits = patient();
    let open = limits.gauges.open.clone();
    served(limits, async move { drop(stopped.await) }, |at| {
        until("the early ones are gone", || open.get() == 0);
        let (mut late, silent) = (connect(at), connect(at));
        until("both are accepted", || open.get() == 2);
        stop.send(()).expect("a server");
        until("nobody else is let in", || TcpStream::connect(at).is_err());
        late.write_all(REQUEST).expect("a request");
        assert_eq!(first_line(&mut late), "HTTP/1.1 200 OK");
        drop(silent);
    });
}

#[test]
fn who_connects_and_asks_nothing_does_not_hold_up_the_end() {
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let mut silent = Vec::new();
    let limits = Limits { first: Duration::from_millis(50), ..patient() };
    let open = limits.gauges.open.clone();
    served(limits, async move { drop(stopped.await) }, |at| {
        until("the early ones are gone", || open.get() == 0);
        silent.push(connect(at));
        until("it is accepted", || open.get() == 1);
        stop.send(()).expect("a server");
    });
}
