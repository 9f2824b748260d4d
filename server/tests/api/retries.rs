//! A connection to the database that ends at any moment of a request: on PostgreSQL and MariaDB.
//!
//! The server speaks through a wire that is cut before the n-th thing that is sent, for every n.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use vicar::args;

use crate::support::{Answer, Cast, Server};

/// More than any request here sends.
const MANY: usize = 400;

/// A way to a server of databases.
struct Wire {
    port: u16,
    /// How many more times something is sent; 0 is no limit.
    left: Arc<AtomicUsize>,
}

impl Wire {
    fn to(host: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let left = Arc::new(AtomicUsize::new(0));
        let limit = Arc::clone(&left);
        // Ends with the process: nobody waits for it.
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(&host)) else { return };
                let (from, to) =
                    (server.try_clone().expect("a handle"), client.try_clone().expect("a handle"));
                std::thread::spawn(move || pass(&from, &to, || true));
                let limit = Arc::clone(&limit);
                std::thread::spawn(move || {
                    pass(&client, &server, || {
                        let count = |n: usize| n.checked_sub(1);
                        limit.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count) != Ok(1)
                    });
                });
            }
        });
        Self { port, left }
    }

    /// Cuts whatever connection sends the n-th thing from now on.
    fn cut_before(&self, n: usize) {
        self.left.store(n, Ordering::SeqCst);
    }

    /// Whether it was cut; it is whole again.
    fn was_cut(&self) -> bool {
        self.left.swap(0, Ordering::SeqCst) == 0
    }
}

/// Passes on what comes, until an end or until it may not.
fn pass(mut from: &TcpStream, mut to: &TcpStream, may: impl Fn() -> bool) {
    let mut buffer = [0; 65_536];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        if !may() || to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// A replica of a server that reaches the database by a wire; nothing on SQLite.
fn by_wire(s: &Server) -> Option<(Server, Wire)> {
    let url = s.database_url()?;
    let (_, rest) = url.split_once('@').or_else(|| url.split_once("//")).expect("a host");
    let host = rest.split('/').next().expect("a host").to_owned();
    let wire = Wire::to(host.clone());
    let replica = s.replica_at(&url.replace(&host, &format!("127.0.0.1:{}", wire.port)));
    Some((replica, wire))
}

/// A use that was committed is not taken a second time, and its token is not lost.
fn one_token_for_one_use(c: &Cast, take: impl Fn(&Server, &str) -> Box<dyn FnOnce(&Server) -> Answer>) {
    let Some((replica, wire)) = by_wire(&c.s) else { return };
    let mut unknown = 0;
    for n in 1..MANY {
        // A connection is there when the cut is set.
        replica.unscoped("bob");
        // One for what is needed first, one to be taken, and one left: the token of the last use ends at once.
        let trust = c.trust(json!({"remaining_uses": 3}));
        let take = take(&c.s, &trust);
        let left = || c.s.sql_text("SELECT remaining_uses FROM trust WHERE id = ?", args![&trust]);
        assert_eq!(left().as_deref(), Some("2"));
        wire.cut_before(n);
        let answer = take(&replica);
        let was_cut = wire.was_cut();
        match answer.status {
            200 | 201 => {
                assert_eq!(left().as_deref(), Some("1"), "cut before {n}");
                c.s.validate(&answer.token()).expect(200);
            }
            // When the commit itself is lost nobody knows, and the client is told so.
            503 => unknown += 1,
            status => panic!("cut before {n}: {status} {}", answer.text),
        }
        if !was_cut {
            assert!(n > 5, "nothing was cut");
            assert!(unknown <= 1, "{unknown} answers are unknown");
            return;
        }
    }
    panic!("the request has no end");
}

#[test]
fn a_counted_trust_gives_its_token_wherever_the_connection_ends() {
    let c = Cast::new();
    one_token_for_one_use(&c, |s, trust| {
        s.consume("bob", trust).expect(201);
        let trust = trust.to_owned();
        Box::new(move |replica| replica.consume("bob", &trust))
    });
}

/// The same for a signed request, which must not count as its own replay.
#[test]
fn a_signed_request_gives_its_token_wherever_the_connection_ends() {
    let c = Cast::with("[credential]\nrefuse_replay = true\n");
    let svc = c.svc();
    one_token_for_one_use(&c, |s, trust| {
        let token = s.consume("bob", trust).expect(201).token();
        let keypair = c.keypair(&token, &c.alice, json!({})).expect(201).body["credential"].clone();
        let (signed, svc) = (c.signed(&keypair), svc.clone());
        Box::new(move |replica| replica.post(&svc, "/v3/ec2tokens", signed))
    });
}

/// A list is whole, wherever the connection ends (R3).
#[test]
fn a_list_of_credentials_is_whole_wherever_the_connection_ends() {
    let c = Cast::new();
    let Some((replica, wire)) = by_wire(&c.s) else { return };
    let trust = c.trust(json!({}));
    let bob = c.s.consume("bob", &trust).expect(201).token();
    let alice = c.s.on("alice", &c.p);
    c.keypair(&bob, &c.alice, json!({})).expect(201);
    c.keypair(&alice, &c.alice, json!({})).expect(201);
    c.keypair(&bob, &c.alice, json!({})).expect(201);
    let whole = replica.get(&alice, "/v3/credentials").expect(200).body["credentials"].clone();
    assert_eq!(whole.as_array().map(Vec::len), Some(3));
    for n in 1..MANY {
        replica.unscoped("bob");
        wire.cut_before(n);
        let answer = replica.get(&alice, "/v3/credentials");
        let was_cut = wire.was_cut();
        assert_eq!(answer.status, 200, "cut before {n}: {}", answer.text);
        assert_eq!(answer.body["credentials"], whole, "cut before {n}");
        if !was_cut {
            assert!(n > 5, "nothing was cut");
            return;
        }
    }
    panic!("the request has no end");
}
