//! Nobody holds the door shut: clients that are silent, slow, many, or gone; and handlers that panic.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use serde_json::{Value, json};
use tower::ServiceExt;
use vicar::authz::Reading;
use vicar::config::Config;
use vicar::http::front::Front;
use vicar::http::limits::{Limits, Rate};
use vicar::http::serve;
use vicar::peer::{Peer, Proxies};
use vicar::queue::Origin;

use crate::support::{PASSWORD, Server};

pub const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n";

/// Long enough for the slowest machine: only a test that fails waits for so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for a condition.
#[track_caller]
pub fn until(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
    stream
}

/// The first line of an answer, or why there was none.
pub fn first_line(stream: &mut TcpStream) -> String {
    let mut text = [0; 512];
    match stream.read(&mut text) {
        Ok(n) => String::from_utf8_lossy(&text[..n]).lines().next().unwrap_or("nothing").to_owned(),
        Err(e) => e.to_string(),
    }
}

/// Everything that comes until the server closes the connection.
#[track_caller]
fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Ok(_) => {}
        Err(e) if matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {}
        Err(e) => panic!("the connection is still open: {e}"),
    }
    all
}

fn text(stream: TcpStream) -> String {
    String::from_utf8(rest(stream)).expect("text")
}

/// A listener with these limits, on a runtime of its own.
struct Listener {
    at: SocketAddr,
    limits: Limits,
    // Dropped last: it ends the server.
    _runtime: tokio::runtime::Runtime,
}

impl Listener {
    fn new(limits: Limits, router: Router) -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let listener = runtime.block_on(serve::bind(SocketAddr::from(([127, 0, 0, 1], 0)))).expect("a port");
        let at = listener.local_addr().expect("an address");
        runtime.spawn(serve::serve_within(limits.clone(), listener, None, router, std::future::pending()));
        Self { at, limits, _runtime: runtime }
    }

    fn open(&self) -> i64 {
        self.limits.gauges.open.get()
    }
}

fn small() -> Router {
    let here = get(|| async { "here" });
    let router = Router::new().route("/", here.clone()).route("/healthz", here.clone());
    router.route("/healthcheck", here.clone()).route("/identity/healthcheck/", here)
}

/// Deadlines that no test lives to see.
fn patient() -> Limits {
    let rate = Rate { window: PATIENCE * 10, bytes: 1 };
    let long = PATIENCE * 10;
    Limits {
        head: long,
        reserved_head: long,
        body: rate,
        body_total: long,
        answer: rate,
        ..Limits::default()
    }
}

const SHORT: Duration = Duration::from_millis(100);

#[test]
fn silence_and_halves_of_a_head_do_not_hold_a_connection() {
    let listener = Listener::new(Limits { head: SHORT, ..patient() }, small());
    let beginnings: [&[u8]; 5] = [
        b"",
        b"G",
        b"PRI * HTTP/2.0\r\n\r\nSM",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        b"GET / HTTP/1.1\r\nHost: vi",
    ];
    for beginning in beginnings {
        let mut stream = connect(listener.at);
        stream.write_all(beginning).expect("sent");
        rest(stream);
    }
    until("no connection is open", || listener.open() == 0);
}

#[test]
fn an_idle_connection_is_closed_after_its_answer() {
    let listener = Listener::new(Limits { head: SHORT, ..patient() }, small());
    let mut stream = connect(listener.at);
    stream.write_all(REQUEST).expect("sent");
    assert!(text(stream).ends_with("here"));
}

#[test]
fn a_client_that_closes_its_sending_side_reads_its_answer() {
    let listener = Listener::new(patient(), small());
    let mut stream = connect(listener.at);
    stream.write_all(REQUEST).expect("sent");
    stream.shutdown(Shutdown::Write).expect("half closed");
    assert!(text(stream).ends_with("here"));
}

#[test]
fn a_body_that_never_comes_is_given_up() {
    let s = Server::start();
    let rate = Rate { window: SHORT, bytes: 1000 };
    let limits = Limits { body: rate, ..patient() };
    let listener = Listener::new(limits, vicar::routes::public(Arc::clone(&s.app)));
    for body in ["Content-Length: 100\r\n\r\n{", "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"a"] {
        let mut stream = connect(listener.at);
        write!(stream, "POST /v3/auth/tokens HTTP/1.1\r\nHost: here\r\n{body}").expect("sent");
        let answer = text(stream);
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(answer.contains(r#""code":408"#), "{answer}");
    }
    until("no connection is open", || listener.open() == 0);
}

#[test]
fn a_body_that_drips_is_given_up_in_the_end() {
    let s = Server::start();
    // Any trickle is fast enough; only the whole takes too long.
    let limits = Limits { body: Rate { window: SHORT, bytes: 0 }, body_total: SHORT * 3, ..patient() };
    let listener = Listener::new(limits, vicar::routes::public(Arc::clone(&s.app)));
    let mut stream = connect(listener.at);
    write!(stream, "POST /v3/auth/tokens HTTP/1.1\r\nHost: here\r\nContent-Length: 100000\r\n\r\n")
        .expect("sent");
    let mut drip = stream.try_clone().expect("a second handle");
    let dripping = std::thread::spawn(move || {
        let began = Instant::now();
        while drip.write_all(b" ").is_ok() {
            assert!(began.elapsed() < PATIENCE, "the body is still read");
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    let answer = first_line(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    drop(stream);
    dripping.join().expect("the server stopped reading");
}

#[test]
fn an_answer_that_nobody_reads_is_given_up() {
    const LARGE: usize = 64 << 20;
    let limits = Limits { answer: Rate { window: SHORT * 5, bytes: 1 }, ..patient() };
    let router = Router::new().route("/", get(|| async { vec![0_u8; LARGE] }));
    let listener = Listener::new(limits, router);
    let mut unread = connect(listener.at);
    unread.write_all(REQUEST).expect("sent");
    until("the request has arrived", || listener.open() == 1);
    until("no connection is open", || listener.open() == 0);
    assert!(rest(unread).len() < LARGE);
    // Whoever reads gets all of it.
    let mut read = connect(listener.at);
    write!(read, "GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n").expect("sent");
    assert!(rest(read).len() > LARGE);
}

#[test]
fn beyond_the_limits_only_health_checks_are_answered() {
    for limits in [
        Limits { connections: 2, reserved: 2, ..patient() },
        Limits { connections: 0, per_address: 2, reserved: 2, ..patient() },
    ] {
        let config = Config::from_text("[vicar]\npath_prefix = /identity\n", Path::new("/d")).expect("reads");
        let listener = Listener::new(Limits { front: Front::new(&config), ..limits }, small());
        let held: Vec<TcpStream> = (0..2)
            .map(|_| {
                let mut stream = connect(listener.at);
                stream.write_all(REQUEST).expect("sent");
                assert_eq!(first_line(&mut stream), "HTTP/1.1 200 OK");
                stream
            })
            .collect();
        // Any number of silent ones; the oldest go.
        let silent: Vec<TcpStream> = (0..5).map(|_| connect(listener.at)).collect();
        until("the reserved places are taken", || listener.limits.gauges.refused.get() == 5);
        let ask = |request: &str| {
            let mut stream = connect(listener.at);
            write!(
                stream,
                "{request} HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{{}}"
            )
            .expect("sent");
            text(stream)
        };
        for path in ["/healthz", "/healthcheck", "/identity/healthcheck/"] {
            assert!(ask(&format!("GET {path}")).starts_with("HTTP/1.1 200 OK"), "{path}");
        }
        let refused = ask("POST /").to_ascii_lowercase();
        assert!(refused.starts_with("http/1.1 503 "), "{refused}");
        assert!(refused.contains("retry-after: 1\r\n") && refused.contains(r#""code":503"#), "{refused}");
        drop((held, silent));
        until("all have gone", || listener.open() == 0);
        assert!(ask("GET /").ends_with("here"));
    }
}

#[test]
fn the_address_is_the_proxys_word_only_where_a_proxy_is_trusted() {
    for (proxies, address) in [(Proxies::default(), "127.0.0.1"), (Proxies::private(), "198.51.100.7")] {
        let known = || async { Peer::current().expect("a peer").address.to_string() };
        let router = Router::new().route("/", get(known));
        let listener = Listener::new(Limits { proxies, head: SHORT, ..patient() }, router);
        let mut stream = connect(listener.at);
        write!(stream, "GET / HTTP/1.1\r\nHost: here\r\nX-Forwarded-For: 10.0.0.1, 198.51.100.7\r\n\r\n")
            .expect("sent");
        let answer = text(stream);
        assert!(answer.ends_with(address), "{answer}");
    }
}

/// A crowd of wrong logins. Whoever is not part of it is served before it.
#[test]
fn a_crowd_of_wrong_logins_holds_nobody_up() {
    let s = Server::with("password_hash_rounds = 10\n");
    s.user("ann");
    let at: SocketAddr = s.url.trim_start_matches("http://").parse().expect("an address");
    let waiting = s.app.passwords.gauges().waiting.clone();
    let crowd = |user: &str| -> Vec<TcpStream> {
        let body = json!({"auth": {"identity": {"methods": ["password"], "password": {"user": {
            "name": user, "domain": {"id": "default"}, "password": "wrong"}}}}});
        let body = body.to_string();
        let request = format!(
            "POST /v3/auth/tokens HTTP/1.1\r\nHost: here\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        (0..60)
            .map(|_| {
                let mut stream = connect(at);
                stream.write_all(request.as_bytes()).expect("sent");
                stream
            })
            .collect()
    };
    let (first, admin) = (crowd("nobody"), || s.login("admin", PASSWORD, json!("unscoped")));
    until("the crowd waits", || waiting.get() > 40);
    admin().expect(201);
    assert!(waiting.get() > 20, "the crowd was served first: {} wait", waiting.get());
    drop(first);
    until("all are gone", || waiting.get() == 0);
    // The same in her own name, by clients that have hung up.
    let second = crowd("ann");
    until("the crowd waits", || waiting.get() > 40);
    drop(second);
    s.login("ann", "ann-pw", json!("unscoped")).expect(201);
    assert!(waiting.get() > 20, "the crowd was served first: {} wait", waiting.get());
}

async fn panics() -> &'static str {
    panic!("the handler's secret")
}

async fn panics_later(s: &mut Reading<'_>) -> vicar::error::Result<axum::response::Response> {
    tokio::task::yield_now().await;
    panic!("the handler's secret, {}", s.request.path)
}

/// With each kind of a handler.
static PANICKING: &[vicar::dispatch::Route] = vicar::routes! {
    GET "/at-once" [] public: plain |_| panic!("the handler's secret"), answers 200 any;
    GET "/later" [] public: read panics_later, answers 200 any;
};

/// What a test logs on its own thread.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("lines").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_panic_is_a_500_and_a_line_with_the_request_id() {
    let s = Server::start();
    for path in ["/at-once", "/later"] {
        let router = vicar::dispatch::router(Arc::clone(&s.app), PANICKING);
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber =
            tracing_subscriber::fmt().json().flatten_event(true).with_writer(move || writer.clone());
        let (status, id, body) = tracing::subscriber::with_default(subscriber.finish(), || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let request =
                    axum::extract::Request::get(path).body(axum::body::Body::empty()).expect("a request");
                let answer = router.oneshot(request).await.expect("an answer");
                let id = answer.headers()["x-openstack-request-id"].to_str().expect("text").to_owned();
                let status = answer.status().as_u16();
                let body = axum::body::to_bytes(answer.into_body(), 1000).await.expect("a body");
                (status, id, serde_json::from_slice::<Value>(&body).expect("JSON"))
            })
        });
        assert_eq!((status, &body["error"]["code"]), (500, &Value::from(500)), "{body}");
        let logged = String::from_utf8(lines.0.lock().expect("lines").clone()).expect("text");
        let line =
            logged.lines().find(|line| line.contains(&id)).unwrap_or_else(|| panic!("no line: {logged}"));
        let line: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!((&line["status"], &line["path"]), (&json!(500), &json!(path)));
        assert!(!logged.contains("secret"), "{logged}");
    }
}

#[test]
fn a_panic_outside_of_the_routes_is_a_500_too() {
    let listener = Listener::new(patient(), Router::new().route("/", get(panics)));
    let mut stream = connect(listener.at);
    stream.write_all(REQUEST).expect("sent");
    assert_eq!(first_line(&mut stream), "HTTP/1.1 500 Internal Server Error");
    // The connection lives on.
    stream.write_all(REQUEST).expect("sent");
    assert_eq!(first_line(&mut stream), "HTTP/1.1 500 Internal Server Error");
}

/// A client that does not read keeps so much in memory, and no more; others are served.
#[test]
fn answers_that_nobody_reads_are_bounded() {
    let s = Server::start();
    let (admin, bob) = (s.admin(), s.user("bob"));
    crate::lists::long_regions(&s, 300);
    let listener = Listener::new(patient(), vicar::routes::public(Arc::clone(&s.app)));
    let ask = |token: &str| {
        let mut stream = connect(listener.at);
        let head = "GET /v3/regions HTTP/1.1\r\nHost: here\r\nConnection: close\r\n";
        write!(stream, "{head}X-Auth-Token: {token}\r\n\r\n").expect("sent");
        stream
    };
    let mut unread = Vec::new();
    for n in 1..=4 {
        unread.push(ask(&admin));
        until("its answer is made", || s.app.unsent.bytes() > n * (15 << 20));
    }
    assert!(text(ask(&admin)).starts_with("HTTP/1.1 503 "), "that is one user's share");
    s.grant(&bob, &s.project("P"), "reader");
    assert!(text(ask(&s.unscoped("bob"))).starts_with("HTTP/1.1 200 "));
    // One that is read is whole.
    let read = text(unread.remove(0));
    let (_, body) = read.split_once("\r\n\r\n").expect("a head and a body");
    let body: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(body["truncated"], true);
    assert!(text(ask(&admin)).starts_with("HTTP/1.1 200 "));
    drop(unread);
    until("nothing is kept", || s.app.unsent.bytes() == 0);
}

/// Long reads wait in a queue of a bounded length. Of those who have hung up, none holds up one who has not, and
/// none keeps its connection.
#[test]
fn long_reads_of_those_who_have_hung_up_come_last() {
    let s = Server::start();
    let admin = s.admin();
    let listener = Listener::new(patient(), vicar::routes::public(Arc::clone(&s.app)));
    let ask = || {
        let mut stream = connect(listener.at);
        let head = "GET /v3/role_assignments HTTP/1.1\r\nHost: here\r\nConnection: close\r\n";
        write!(stream, "{head}X-Auth-Token: {admin}\r\n\r\n").expect("sent");
        stream
    };
    let gauges = &s.app.long_reads.gauges;
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let places = (vicar::app::threads() / 2).max(1);
    let take = || runtime.block_on(s.app.long_reads.enter(Origin::here("somebody"))).expect("a place");
    let taken: Vec<_> = (0..places).map(|_| take()).collect();
    for n in 1..=4 {
        drop(ask());
        until("it waits", || gauges.waiting.get() == n);
    }
    let honest = ask();
    until("it waits too", || gauges.waiting.get() == 5);
    for _ in 0..64 * places {
        drop(ask());
    }
    until("some are refused", || gauges.refused.get() == 5);
    drop(taken);
    assert!(text(honest).starts_with("HTTP/1.1 200 "));
    until("nobody waits", || gauges.waiting.get() == 0);
    until("no connection is open", || listener.open() == 0);
}
