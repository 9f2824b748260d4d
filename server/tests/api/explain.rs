//! Why a token or a trust may do something: what is explained is what is decided, and nobody learns what they may not see.

use serde_json::{Value, json};

use crate::support::{Answer, Cast, pretty};

const PATH: &str = "/v3/auth/explain";

fn explain(c: &Cast, token: &str, question: Value) -> Answer {
    c.s.post(token, PATH, json!({ "explain": question }))
}

/// The explanation.
#[track_caller]
fn told(c: &Cast, token: &str, question: Value) -> Value {
    explain(c, token, question).expect(200).body["explanation"].clone()
}

#[test]
fn look() {
    let c = Cast::new();
    let [first, second, _] = c.chain();
    let alice = c.s.on("alice", &c.p);
    let bob = c.s.consume("bob", &first).expect(201).token();
    for (token, question) in [
        (&alice, json!({"operation": "identity:create_trust"})),
        (&alice, json!({"subject": {"trust_id": second}, "operation": "identity:create_trust"})),
        (&bob, json!({"operation": "identity:delete_trust"})),
        (&bob, json!({"operation": "identity:delete_user", "target": {"user_id": c.carol}})),
        (&bob, json!({"operation": "identity:ec2_create_credential"})),
        (&bob, json!({"service": "compute", "method": "GET", "path": "/v2.1/servers"})),
        (&c.s.admin(), json!({"subject": {"token": bob}, "operation": "identity:create_application_credential"})),
        (&c.s.admin(), json!({"method": "DELETE", "path": format!("/v3/users/{}", c.carol)})),
        (&c.s.admin(), json!({"operation": "identity:create_user"})),
        (&c.s.admin(), json!({"operation": "identity:create_endpoint"})),
    ] {
        println!("{question}\n{}", pretty(&told(&c, token, question.clone())));
    }
}
