//! What must hold when many do the same at once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Cast, Server};

/// Consumers at once.
const PARALLEL: usize = 64;

#[test]
fn k_uses_yield_exactly_k_over_both_doors() {
    const USES: usize = 23;
    let c = Cast::new();
    // One more use than is measured: it makes the keypair.
    let id = c.trust(json!({"remaining_uses": USES + 1}));
    let token = c.s.consume("bob", &id).expect(201).token();
    let keypair = c.keypair(&token, &c.alice, json!({})).expect(201).body["credential"].clone();
    let (signed, svc) = (c.signed(&keypair), c.svc());
    let won = AtomicUsize::new(0);
    let lost = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for i in 0..PARALLEL {
            let (c, id, won, lost, signed, svc) = (&c, &id, &won, &lost, &signed, &svc);
            scope.spawn(move || {
                for _ in 0..3 {
                    let answer = if i % 2 == 0 {
                        c.s.consume("bob", id)
                    } else {
                        c.s.post(svc, "/v3/ec2tokens", signed.clone())
                    };
                    match answer.status {
                        200 | 201 => won.fetch_add(1, Ordering::SeqCst),
                        401 => lost.fetch_add(1, Ordering::SeqCst),
                        other => panic!("{other}: {}", answer.text),
                    };
                }
            });
        }
    });
    assert_eq!(won.into_inner(), USES);
    assert_eq!(lost.into_inner(), PARALLEL * 3 - USES);
    let left = c.s.sql_text("SELECT remaining_uses FROM trust", vicar::args![]);
    assert_eq!(left.as_deref(), Some("0"));
}

#[test]
fn a_chain_deleted_while_its_leaves_are_consumed_leaves_no_token_that_validates() {
    for round in 0..3 {
        let c = Cast::new();
        let [first, second, third] = c.chain_with(round % 2 == 0);
        let last = c.s.consume("dave", &third).expect(201);
        let owner = last.body["token"]["user"]["id"].as_str().expect("an id").to_owned();
        let keypair = c.keypair(&last.token(), &owner, json!({})).expect(201).body["credential"].clone();
        let (signed, svc, alice) = (c.signed(&keypair), c.svc(), c.s.unscoped("alice"));
        let gone = AtomicBool::new(false);
        let tokens = std::sync::Mutex::new(vec![last.token()]);
        std::thread::scope(|scope| {
            for i in 0..16 {
                let (c, gone, tokens, signed, svc) = (&c, &gone, &tokens, &signed, &svc);
                let (second, third) = (&second, &third);
                scope.spawn(move || {
                    loop {
                        let after = gone.load(Ordering::SeqCst);
                        let answer = match i % 3 {
                            0 => c.s.consume("dave", third),
                            1 => c.s.consume("carol", second),
                            _ => c.s.post(svc, "/v3/ec2tokens", signed.clone()),
                        };
                        match answer.status {
                            200 | 201 => {
                                assert!(!after, "consumed after the deletion was acknowledged");
                                tokens.lock().expect("the list").push(answer.token());
                            }
                            401 => {}
                            other => panic!("{other}: {}", answer.text),
                        }
                        if after {
                            break;
                        }
                    }
                });
            }
            while tokens.lock().expect("the list").len() < 40 {
                std::thread::yield_now();
            }
            c.s.delete(&alice, &format!("/v3/OS-TRUST/trusts/{first}")).expect(204);
            gone.store(true, Ordering::SeqCst);
        });
        let tokens = tokens.into_inner().expect("the list");
        assert!(tokens.len() >= 40);
        let admin = c.s.admin();
        for token in tokens {
            let headers = [("X-Auth-Token", &*admin), ("X-Subject-Token", &*token)];
            c.s.call("GET", "/v3/auth/tokens", &headers, None).expect(404);
        }
    }
}

#[test]
fn interleaved_users_never_get_each_others_answers() {
    let c = Cast::new();
    let users: Vec<(String, String)> =
        (0..200).map(|i| format!("user{i}")).map(|n| (c.s.user(&n), n)).collect();
    std::thread::scope(|scope| {
        for part in users.chunks(25) {
            let c = &c;
            scope.spawn(move || {
                for (id, name) in part {
                    let login = c.s.login(name, &format!("{name}-pw"), json!("unscoped")).expect(201);
                    assert_eq!(login.body["token"]["user"]["id"], id.as_str());
                    let token = login.token();
                    let headers = [("X-Auth-Token", &*token), ("X-Subject-Token", &*token)];
                    let shown = c.s.call("GET", "/v3/auth/tokens", &headers, None).expect(200);
                    assert_eq!(shown.body["token"]["user"]["name"], name.as_str());
                }
            });
        }
    });
}

#[test]
fn reads_go_on_while_another_process_writes() {
    let s = Server::start();
    let (admin, alice) = (s.admin(), s.user("alice"));
    let path = format!("/v3/users/{alice}");
    let writer = s.hold_writer();
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..4)
            .map(|i| {
                let body = json!({"user": {"description": i.to_string()}});
                scope.spawn(|| s.patch(&admin, &path, body))
            })
            .collect();
        // A read that waited for the writer would not come back: it is released after the last of them, and before the
        // writes give up.
        let held = Instant::now();
        for _ in (0..50).take_while(|i| *i == 0 || held.elapsed() < Duration::from_secs(5)) {
            s.validate(&admin).expect(200);
            let shown = s.get(&admin, &path).expect(200);
            assert_eq!(shown.body["user"].get("description"), None);
        }
        assert!(waiting.iter().all(|w| !w.is_finished()), "a write went past the writer");
        writer.release();
        for write in waiting {
            write.join().expect("an answer").expect(200);
        }
    });
    assert!(s.get(&admin, &path).expect(200).body["user"]["description"].is_string());
}
