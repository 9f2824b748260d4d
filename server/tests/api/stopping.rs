//! What clients see of a server that stops: who has connected is served.

use std::future::Future;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use vicar::http::serve;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n";

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
    stream
}

/// The first line of an answer, or why there was none.
fn answer(stream: &mut TcpStream) -> String {
    let mut text = [0; 512];
    match stream.read(&mut text) {
        Ok(n) => String::from_utf8_lossy(&text[..n]).lines().next().unwrap_or("nothing").to_owned(),
        Err(e) => e.to_string(),
    }
}

/// A server on a runtime of its own, until `stop`.
fn served(stop: impl Future<Output = ()> + Send + 'static, meanwhile: impl FnOnce(SocketAddr)) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let listener = runtime.block_on(serve::bind(SocketAddr::from(([127, 0, 0, 1], 0)))).expect("a port");
    let at = listener.local_addr().expect("an address");
    // These wait in the kernel's queue before the server looks for the first time.
    let mut early: Vec<TcpStream> = (0..20).map(|_| connect(at)).collect();
    for stream in &mut early {
        stream.write_all(REQUEST).expect("a request");
    }
    let router = axum::Router::new().route("/", axum::routing::get(|| async { "here" }));
    let server = runtime.spawn(serve::serve(listener, None, router, stop));
    for stream in &mut early {
        assert_eq!(answer(stream), "HTTP/1.1 200 OK");
    }
    meanwhile(at);
    drop(early);
    runtime.block_on(server).expect("an end");
}

#[test]
fn connections_that_wait_when_the_server_stops_are_served() {
    served(std::future::ready(()), |_| {});
}

#[test]
fn a_request_that_is_on_its_way_when_the_server_stops_is_served() {
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let began = Instant::now();
    served(async move { drop(stopped.await) }, |at| {
        let (mut late, silent) = (connect(at), connect(at));
        std::thread::sleep(Duration::from_millis(100));
        stop.send(()).expect("a server");
        std::thread::sleep(Duration::from_millis(100));
        assert!(TcpStream::connect(at).is_err(), "nobody else is let in");
        late.write_all(REQUEST).expect("a request");
        assert_eq!(answer(&mut late), "HTTP/1.1 200 OK");
        drop(silent);
    });
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn who_connects_and_asks_nothing_does_not_hold_up_the_end() {
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let mut silent = Vec::new();
    let began = Instant::now();
    served(async move { drop(stopped.await) }, |at| {
        silent.push(connect(at));
        std::thread::sleep(Duration::from_millis(100));
        stop.send(()).expect("a server");
    });
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
