//! Tokens: login, validation, revocation.

use serde_json::json;

use crate::support::Server;

#[test]
fn a_password_login_gives_a_token_that_validates() {
    let s = Server::start();
    let token = s.admin();
    let shown = s.validate(&token).expect(200);
    assert_eq!(shown.body["token"]["methods"], json!(["password"]));
    assert_eq!(shown.body["token"]["project"]["name"], "admin");
    assert_eq!(shown.body["token"]["catalog"][0]["type"], "identity");
    s.login("admin", "wrong", json!(null)).expect(401);
    s.login("nobody", "wrong", json!(null)).expect(401);
    assert_eq!(shown.header("vary"), Some("X-Auth-Token"));
}

#[test]
fn a_revoked_token_is_dead_and_a_new_one_lives() {
    let s = Server::start();
    let token = s.admin();
    s.clock.advance(1_000_000);
    let other = s.admin();
    let revoke = |t: &str| {
        s.call("DELETE", "/v3/auth/tokens", &[("X-Auth-Token", &other), ("X-Subject-Token", t)], None)
    };
    revoke(&token).expect(204);
    s.validate(&token).expect(404);
    s.get(&token, "/v3/auth/catalog").expect(401);
    s.validate(&other).expect(200);
    revoke(&token).expect(404);
}
