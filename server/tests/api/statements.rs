//! How many statements and transactions requests take.

use serde_json::json;
use vicar::auth::fernet::PayloadScope;
use vicar::clock::{SECOND, iso};

use crate::support::{Answer, Cast, START};

/// What a request said to the database; printed, so that `--nocapture` shows it.
fn said(c: &Cast, what: &str, work: impl FnOnce() -> Answer) -> Vec<String> {
    let (answer, said) = c.s.app.store.watched(work);
    assert!(answer.status < 300, "{}", answer.text);
    let transactions = said.iter().filter(|sql| *sql == "BEGIN").count();
    println!("{what}: {} statements in {transactions} transactions", said.len() - transactions);
    for sql in &said {
        println!("    {sql}");
    }
    said
}

/// A statement for each kind of fact, by its beginning.
const FACTS: [&str; 4] = [
    "SELECT prior_role_id, implied_role_id FROM implied_role",
    "SELECT t.id, t.trustor_user_id",
    "SELECT trust_id, role_id FROM trust_role",
    "SELECT k.roles, k.expires_at FROM vicar_keypair",
];

/// In each transaction, the facts that a token rests on are read once: of the implied roles once at all, of
/// the rest once for the caller and once for what they ask about.
#[test]
fn each_fact_is_read_once() {
    let c = Cast::with("[cache]\nenabled = false");
    let trust = c.trust(json!({"remaining_uses": 9}));
    let (svc, bob) = (c.svc(), c.s.consume("bob", &trust).expect(201).token());
    let keypair = c.keypair(&bob, &c.alice, json!({})).expect(201).body["credential"].clone();
    let signed = c.signed(&keypair);
    let validate = |caller: &str| {
        let headers = [("X-Auth-Token", caller), ("X-Subject-Token", &bob)];
        c.s.call("GET", "/v3/auth/tokens", &headers, None)
    };
    let (alice, unscoped) = (c.s.on("alice", &c.p), c.s.unscoped("bob"));
    let by_token = json!({"identity": {"methods": ["token"], "token": {"id": unscoped}},
        "scope": {"OS-TRUST:trust": {"id": trust}}});
    let path = format!("/v3/OS-TRUST/trusts/{trust}");
    let requests = [
        ("validation of a trust's token", said(&c, "validation of a trust's token", || validate(&svc)), 1, 2),
        ("validation of one's own", said(&c, "validation of one's own", || validate(&bob)), 1, 1),
        ("login with a trust", said(&c, "login with a trust", || c.s.consume("bob", &trust)), 3, 1),
        ("login by token", said(&c, "login by token", || c.s.auth(by_token.clone())), 2, 2),
        (
            "a trust is made",
            said(&c, "a trust is made", || c.s.post(&alice, "/v3/OS-TRUST/trusts", c.ask(json!({})))),
            2,
            2,
        ),
        ("a trust is read", said(&c, "a trust is read", || c.s.get(&alice, &path)), 1, 2),
        ("a keypair is made", said(&c, "a keypair is made", || c.keypair(&bob, &c.alice, json!({}))), 2, 2),
        ("exchange", said(&c, "exchange", || c.s.post(&svc, "/v3/ec2tokens", signed)), 2, 2),
    ];
    for (what, said, transactions, tokens) in &requests {
        let each: Vec<&[String]> = said.split(|sql| sql == "BEGIN").skip(1).collect();
        assert_eq!(each.len(), *transactions, "{what}");
        for one in each {
            for fact in FACTS {
                assert!(one.iter().filter(|sql| sql.starts_with(fact)).count() <= 1, "{what}: {fact}");
            }
            for fact in
                ["SELECT a.role_id", "SELECT p.parent_id", "SELECT domain_id, project_id", "SELECT act,"]
            {
                let times = one.iter().filter(|sql| sql.starts_with(fact)).count();
                assert!(times <= *tokens, "{what}: {fact} {times}");
            }
        }
    }
}

/// What was seen before is not read again: the database is asked whether anything has changed, and no more.
#[test]
fn memory_spares_the_database_what_has_not_changed() {
    let c = Cast::new();
    let [_, second, _] = c.chain();
    let (svc, of_carol) = (c.svc(), c.s.consume("carol", &second).expect(201).token());
    let keypair = c.keypair(&of_carol, &c.alice, json!({})).expect(201).body["credential"].clone();
    let (alice, unscoped) = (c.s.on("alice", &c.p), c.s.unscoped("carol"));
    let of_keypair = c.exchange(c.signed(&keypair)).expect(200).token();
    let by_token = json!({"identity": {"methods": ["token"], "token": {"id": unscoped}},
        "scope": {"OS-TRUST:trust": {"id": second}}});
    let tokens = [&alice, &unscoped, &of_carol, &of_keypair, &svc];
    let ask = |n: usize| {
        let headers = [("X-Auth-Token", &*svc), ("X-Subject-Token", tokens[n].as_str())];
        c.s.call("GET", "/v3/auth/tokens", &headers, None)
    };
    for round in 0..2 {
        for n in 0..tokens.len() {
            let said = said(&c, "a validation", || ask(n));
            assert!(round == 0 || said.is_empty(), "{n}: {said:#?}");
        }
        let login = said(&c, "a login with a trust", || c.s.auth(by_token.clone()));
        let exchange = said(&c, "an exchange", || c.s.post(&svc, "/v3/ec2tokens", c.signed(&keypair)));
        assert!(round == 0 || login.is_empty() && exchange.is_empty(), "{login:#?} {exchange:#?}");
    }
    // All that a writer reads was read in the rehearsal, and is remembered when it is the writer's turn.
    for round in 0..2 {
        let ask = c.ask(json!({"expires_at": iso(START + (3600 + round) * SECOND)}));
        let made = said(&c, "a trust is made", || c.s.post(&alice, "/v3/OS-TRUST/trusts", ask));
        let turn = made.rsplit(|sql| sql == "BEGIN").next().expect("the writer's");
        let reads = turn.iter().filter(|sql| sql.starts_with("SELECT") || sql.starts_with("WITH"));
        assert_eq!((reads.count(), turn.len()), (0, 4), "{made:#?}");
    }
    // One that the server has not seen, of somebody whom it knows: who begins, asks; and then what names this token.
    let fresh = c.foreign_token(&c.alice, &["password"], PayloadScope::Project(c.p.clone()));
    let headers = [("X-Auth-Token", &*svc), ("X-Subject-Token", &*fresh)];
    let first = said(&c, "first sight", || c.s.call("GET", "/v3/auth/tokens", &headers, None));
    assert_eq!(first.len(), 2, "{first:#?}");
}

/// While a writer has its turn all others wait, over all replicas. So what it reads it reads before it writes, from
/// where that costs least, and it says no more to the engine than these numbers.
#[test]
fn a_writer_holds_up_others_for_few_statements() {
    let c = Cast::with("[cache]\nenabled = false");
    let [first, second, _] = c.chain_with(true);
    let counted = c.trust(json!({"remaining_uses": 9}));
    let (alice, carol) = (c.s.on("alice", &c.p), c.s.consume("carol", &second).expect(201).token());
    let unscoped = c.s.unscoped("bob");
    let consume = json!({"identity": {"methods": ["token"], "token": {"id": unscoped}},
        "scope": {"OS-TRUST:trust": {"id": counted}}});
    let again = json!({"trust": {"trustor_user_id": c.alice, "trustee_user_id": c.bob, "project_id": c.p,
        "impersonation": true, "roles": [{"name": "member"}]}});
    let end = |trust: &str| c.s.delete(&alice, &format!("/v3/OS-TRUST/trusts/{trust}"));
    let lonely = c.trust(json!({}));
    let ask = c.ask(json!({"expires_at": iso(START + 3600 * SECOND)}));
    let made = said(&c, "a trust is made", || c.s.post(&alice, "/v3/OS-TRUST/trusts", ask));
    let passed_on = said(&c, "it is passed on", || c.s.post(&carol, "/v3/OS-TRUST/trusts", again));
    let consumed = said(&c, "a use is consumed", || c.s.auth(consume));
    let one_ends = said(&c, "a trust ends", || end(&lonely));
    let many_end = said(&c, "a trust ends with two below it", || end(&first));
    for (what, said, reads, writes) in [
        ("made", made, 17, 4),
        ("passed on", passed_on, 22, 3),
        ("consumed", consumed, 19, 1),
        ("ended", one_ends, 18, 4),
        ("ended with those below", many_end, 18, 4),
    ] {
        let mut turns = said.split(|sql| sql == "BEGIN");
        let turn = turns.next_back().expect("the writer's");
        let is_read = |sql: &String| sql.starts_with("SELECT") || sql.starts_with("WITH");
        let (before, after) = turn.split_at(turn.iter().take_while(|sql| is_read(sql)).count());
        assert!(!after.iter().any(is_read), "{what}: {turn:#?}");
        assert!(before.len() <= reads, "{what}: {} reads {turn:#?}", before.len());
        assert_eq!(after.len(), writes, "{what}: {turn:#?}");
    }
}
