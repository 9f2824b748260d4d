//! Logins of several methods: passcodes, multi-factor rules and their receipts, users whom a front server knows.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use vicar::args;
use vicar::clock::SECOND;

use crate::support::{Answer, Server, by_password, id, user};

/// 20 bytes in base32, as applications that make passcodes take them.
pub const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
const OTHER: &str = "MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43U";

const METHODS: &str =
    "[auth]\nmethods = password,token,totp,external,kerberos,application_credential,ec2credential\n";

fn with(ini: &str) -> Server {
    Server::with(&format!("{METHODS}{ini}"))
}

/// The passcode of a secret, so many windows from that of the server's clock.
fn code_at(s: &Server, secret: &str, windows: i64) -> String {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let digit = |b| letters.iter().position(|l| *l == b).expect("base32") as u64;
    let mut bytes = Vec::new();
    for eight in secret.as_bytes().chunks(8) {
        let bits = eight.iter().fold(0_u64, |bits, b| bits << 5 | digit(*b));
        bytes.extend(&bits.to_be_bytes()[3..]);
    }
    let window = u64::try_from(s.clock.now() / (30 * SECOND) + windows).expect("after 1970");
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(&bytes).expect("any length");
    mac.update(&window.to_be_bytes());
    let hash = mac.finalize().into_bytes();
    let at = usize::from(hash[19] & 15);
    let four = u32::from_be_bytes(hash[at..at + 4].try_into().expect("four"));
    format!("{:06}", (four & 0x7fff_ffff) % 1_000_000)
}

/// That of [`SECRET`] now.
pub fn code(s: &Server) -> String {
    code_at(s, SECRET, 0)
}

/// Keeps a secret for a user, who makes it themselves.
pub fn keep(s: &Server, owner: &str, password: &str, secret: &str) -> String {
    let own = s.login_id(owner, password, json!("unscoped")).expect(201).token();
    let body = json!({"credential": {"type": "totp", "user_id": owner, "blob": secret}});
    id(&s.post(&own, "/v3/credentials", body).expect(201), "credential")
}

/// A user whose rules are these, and who has a secret.
fn careful(s: &Server, rules: Value) -> String {
    let ann = user(s, "ann", "default");
    keep(s, &ann, "pw", SECRET);
    set_rules(s, &ann, rules);
    ann
}

fn set_rules(s: &Server, user: &str, rules: Value) {
    let body = json!({"user": {"options": {"multi_factor_auth_rules": rules}}});
    s.patch(&s.admin(), &format!("/v3/users/{user}"), body).expect(200);
}

/// A login with these methods.
pub fn identity(methods: &[(&str, Value)]) -> Value {
    let mut identity = json!({"methods": methods.iter().map(|(m, _)| *m).collect::<Vec<_>>()});
    for (method, data) in methods {
        identity[*method] = data.clone();
    }
    json!({"identity": identity})
}

/// A passcode of a user.
pub fn totp(user: &str, code: &str) -> (&'static str, Value) {
    ("totp", json!({"user": {"id": user, "passcode": code}}))
}

fn password(user: &str) -> (&'static str, Value) {
    ("password", json!({"user": {"id": user, "password": "pw"}}))
}

/// A login with headers.
pub fn auth_with(s: &Server, headers: &[(&str, &str)], auth: &Value) -> Answer {
    s.call("POST", "/v3/auth/tokens", headers, Some(json!({"auth": auth}).to_string().as_bytes()))
}

fn with_receipt(s: &Server, receipt: &str, methods: &[(&str, Value)]) -> Answer {
    auth_with(s, &[("Openstack-Auth-Receipt", receipt)], &identity(methods))
}

/// The receipt of an answer.
#[track_caller]
pub fn receipt(answer: Answer) -> String {
    let answer = answer.expect(401);
    assert!(answer.body["receipt"].is_object(), "{}", answer.text);
    answer.header("openstack-auth-receipt").expect("a receipt").to_owned()
}

/// Refused, and without a receipt.
#[track_caller]
fn refused(answer: Answer, reason: &str) {
    let answer = answer.expect(401);
    assert_eq!(answer.header("openstack-auth-receipt"), None);
    assert_eq!(answer.body["error"]["message"], "The request you have made requires authentication.");
    assert_eq!(answer.logged.request["reason"], reason);
}

fn methods(answer: &Answer) -> Vec<String> {
    let methods = answer.body["token"]["methods"].as_array().expect("methods");
    let mut names: Vec<String> = methods.iter().map(|m| m.as_str().expect("a name").to_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_passcode_logs_in() {
    let s = with("");
    let ann = user(&s, "ann", "default");
    refused(s.auth(identity(&[totp(&ann, &code(&s))])), "wrong-passcode");
    keep(&s, &ann, "pw", OTHER);
    keep(&s, &ann, "pw", SECRET);
    let token = s.auth(identity(&[totp(&ann, &code(&s))])).expect(201);
    assert_eq!(methods(&token), ["totp"]);
    assert_eq!(methods(&s.validate(&token.token())), ["totp"]);
    // Each secret counts, by a name too.
    let named =
        json!({"user": {"name": "ann", "domain": {"name": "Default"}, "passcode": code_at(&s, OTHER, 0)}});
    s.auth(identity(&[("totp", named)])).expect(201);
    // Of the window before, not of others.
    s.clock.advance(60 * SECOND);
    s.auth(identity(&[totp(&ann, &code_at(&s, SECRET, -1))])).expect(201);
    for windows in [-2, 1] {
        refused(s.auth(identity(&[totp(&ann, &code_at(&s, SECRET, windows))])), "wrong-passcode");
    }
    // Only its owner's.
    let bob = user(&s, "bob", "default");
    refused(s.auth(identity(&[totp(&bob, &code(&s))])), "wrong-passcode");
    refused(s.auth(identity(&[totp("nobody", &code(&s))])), "no-such-user");
    for (data, reason) in [
        (json!({"user": {"id": ann}}), "wrong-passcode"),
        (json!({"user": {"id": ann, "passcode": 123_456}}), "wrong-passcode"),
        (json!({"user": {"id": ann, "passcode": ""}}), "wrong-passcode"),
        (
            json!({"user": {"name": "ann", "domain": {"name": "nowhere"}, "passcode": code(&s)}}),
            "no-such-user",
        ),
    ] {
        refused(s.auth(identity(&[("totp", data)])), reason);
    }
    for data in
        [json!({}), json!({"user": {}}), json!({"user": "ann"}), json!({"user": {"name": "ann"}}), json!(7)]
    {
        s.auth(identity(&[("totp", data)])).expect(400);
    }
    // A deleted secret is none, and a disabled user no user.
    let admin = s.admin();
    s.patch(&admin, &format!("/v3/users/{ann}"), json!({"user": {"enabled": false}})).expect(200);
    refused(s.auth(identity(&[totp(&ann, &code(&s))])), "disabled");
    s.clock.advance(SECOND);
    s.patch(&admin, &format!("/v3/users/{ann}"), json!({"user": {"enabled": true}})).expect(200);
    s.auth(identity(&[totp(&ann, &code(&s))])).expect(201);
    for credential in
        s.get(&admin, &format!("/v3/credentials?user_id={ann}")).body["credentials"].as_array().expect("some")
    {
        s.delete(&admin, &format!("/v3/credentials/{}", credential["id"].as_str().expect("an id")))
            .expect(204);
    }
    s.clock.advance(30 * SECOND);
    refused(s.auth(identity(&[totp(&ann, &code(&s))])), "wrong-passcode");
}

#[test]
fn as_many_windows_count_as_are_configured() {
    for (windows, right, wrong) in [(0, &[0][..], &[-1, 1][..]), (3, &[0, -1, -2, -3], &[-4, 1])] {
        let s = with(&format!("[totp]\nincluded_previous_windows = {windows}\n"));
        let ann = user(&s, "ann", "default");
        keep(&s, &ann, "pw", SECRET);
        for at in wrong {
            refused(s.auth(identity(&[totp(&ann, &code_at(&s, SECRET, *at))])), "wrong-passcode");
        }
        for at in right {
            s.auth(identity(&[totp(&ann, &code_at(&s, SECRET, *at))])).expect(201);
        }
    }
    let s = Server::start();
    let ann = user(&s, "ann", "default");
    refused_message(
        s.auth(identity(&[totp(&ann, "123456")])),
        "Attempted to authenticate with an unsupported method.",
    );
}

#[track_caller]
fn refused_message(answer: Answer, message: &str) {
    assert_eq!(answer.expect(401).body["error"]["message"], message);
}

#[test]
fn a_passcode_opens_one_door_on_all_replicas() {
    let s = with("");
    let replica = s.replica();
    let ann = user(&s, "ann", "default");
    keep(&s, &ann, "pw", SECRET);
    let body = identity(&[totp(&ann, &code(&s))]);
    // Refused for another reason, it is not used up.
    let lost = json!({"project": {"id": "nowhere"}});
    let mut scoped = body.clone();
    scoped["scope"] = lost;
    refused(s.auth(scoped), "no-such-scope");
    s.auth(body.clone()).expect(201);
    refused(replica.auth(body.clone()), "passcode-used");
    // That of the window before is another one, and so is that of another secret.
    s.auth(identity(&[totp(&ann, &code_at(&s, SECRET, -1))])).expect(201);
    s.clock.advance(30 * SECOND);
    refused(s.auth(body), "passcode-used");
    s.auth(identity(&[totp(&ann, &code(&s))])).expect(201);

    let s = with("[totp]\nrefuse_reuse = false\n");
    let ann = user(&s, "ann", "default");
    keep(&s, &ann, "pw", SECRET);
    for _ in 0..2 {
        s.auth(identity(&[totp(&ann, &code(&s))])).expect(201);
    }
    assert_eq!(crate::support::count(&s, "SELECT fingerprint FROM vicar_replay", args![]), 0);
}

#[test]
fn at_the_same_time_a_passcode_opens_one_door_too() {
    let s = with("");
    let replica = s.replica();
    let ann = user(&s, "ann", "default");
    keep(&s, &ann, "pw", SECRET);
    let body = identity(&[totp(&ann, &code(&s))]);
    let won = std::thread::scope(|scope| {
        let all: Vec<_> = [&s, &replica, &s, &replica]
            .map(|s| scope.spawn(|| s.auth(body.clone()).status))
            .into_iter()
            .collect();
        all.into_iter().map(|t| t.join().expect("answered")).filter(|status| *status == 201).count()
    });
    assert_eq!(won, 1);
}

#[test]
fn wrong_passcodes_lock_an_account_as_wrong_passwords_do() {
    let s = with("[security_compliance]\nlockout_failure_attempts = 3\nlockout_duration = 600\n");
    let ann = user(&s, "ann", "default");
    keep(&s, &ann, "pw", SECRET);
    let right = || identity(&[totp(&ann, &code(&s))]);
    for _ in 0..2 {
        refused(s.auth(identity(&[totp(&ann, "000000")])), "wrong-passcode");
    }
    // A login begins anew.
    s.auth(right()).expect(201);
    s.clock.advance(30 * SECOND);
    refused(s.auth(identity(&[totp(&ann, "000000")])), "wrong-passcode");
    // With a right password, a wrong passcode counts just so.
    refused(s.auth(identity(&[password(&ann), totp(&ann, "000000")])), "wrong-passcode");
    refused(s.auth(by_password(&ann, "wrong", json!(null))), "wrong-password");
    for locked in [right(), by_password(&ann, "pw", json!(null)), identity(&[totp(&ann, "000000")])] {
        refused(s.auth(locked), "locked");
    }
    s.clock.advance(601 * SECOND);
    s.auth(right()).expect(201);
}

/// A right password starts a login where the rules want more, and a receipt lets it go on.
#[test]
fn a_receipt_is_for_what_was_right() {
    let s = with("");
    let ann =
        careful(&s, json!([["password", "totp"], ["totp", "token"], ["retina"], ["retina", "external"]]));
    let first = s.auth(identity(&[password(&ann)])).expect(401);
    let issued = vicar::clock::iso(s.clock.now());
    let end = vicar::clock::iso(s.clock.now() + 300 * SECOND);
    assert_eq!(
        first.body,
        json!({
            "receipt": {
                "methods": ["password"],
                "user": {"id": ann, "name": "ann", "domain": {"id": "default", "name": "Default"}},
                "expires_at": end,
                "issued_at": issued,
            },
            "required_auth_methods": [["password", "totp"]],
        })
    );
    assert_eq!(first.logged.request["reason"], "missing-factor");
    let text = receipt(first);
    let whole = with_receipt(&s, &text, &[totp(&ann, &code(&s))]).expect(201);
    assert_eq!(methods(&whole), ["password", "totp"]);
    assert_eq!(methods(&s.validate(&whole.token())), ["password", "totp"]);
    assert_eq!(whole.body["token"]["audit_ids"].as_array().map(Vec::len), Some(1));

    // The other way round, on another replica, with a scope.
    s.clock.advance(30 * SECOND);
    let p = s.project("p");
    s.grant(&ann, &p, "member");
    let text = receipt(s.replica().auth(identity(&[totp(&ann, &code(&s))])));
    let mut auth = identity(&[password(&ann)]);
    auth["scope"] = json!({"project": {"id": p}});
    let whole = auth_with(&s, &[("Openstack-Auth-Receipt", &text)], &auth).expect(201);
    assert_eq!(whole.body["token"]["project"]["id"], p);
    // Both at once need none, and an empty one is none.
    s.clock.advance(30 * SECOND);
    let both = [password(&ann), totp(&ann, &code(&s))];
    assert_eq!(methods(&with_receipt(&s, "", &both).expect(201)), ["password", "totp"]);
    // It adds to a token too, whose chain and end stay.
    let rescoped = with_receipt(&s, &text, &[("token", json!({"id": whole.token()}))]).expect(201);
    assert_eq!(methods(&rescoped), ["password", "token", "totp"]);
    assert_eq!(rescoped.body["token"]["expires_at"], whole.body["token"]["expires_at"]);
    assert_eq!(rescoped.body["token"]["audit_ids"][1], whole.body["token"]["audit_ids"][0]);
}

#[test]
fn three_methods_take_two_receipts() {
    let s = with(FRONT);
    let ann = careful(&s, json!([["password", "totp", "external"]]));
    let first = receipt(s.auth(identity(&[password(&ann)])));
    let second = with_receipt(&s, &first, &[totp(&ann, &code(&s))]).expect(401);
    assert_eq!(second.body["receipt"]["methods"], json!(["totp", "password"]));
    let second = receipt(second);
    let headers = [("Openstack-Auth-Receipt", &*second), ("X-Remote-User", "ann")];
    let whole = auth_with(&s, &headers, &identity(&[("external", json!({}))])).expect(201);
    assert_eq!(methods(&whole), ["external", "password", "totp"]);
}

#[test]
fn a_receipt_opens_nothing_but_its_own_login() {
    let s = with("");
    let ann = careful(&s, json!([["password", "totp"]]));
    let bob = user(&s, "bob", "default");
    keep(&s, &bob, "pw", OTHER);
    let text = receipt(s.auth(identity(&[password(&ann)])));
    // It is no token, of any kind.
    s.get(&text, "/v3/auth/projects").expect(401);
    s.validate(&text).expect(404);
    s.auth(json!({"identity": {"methods": ["token"], "token": {"id": text}}})).expect(404);
    // Nor is a token a receipt.
    let token = s.login_id(&bob, "pw", json!(null)).expect(201).token();
    for none in [&token, "abc", "gAAAAA"] {
        refused(with_receipt(&s, none, &[totp(&ann, &code(&s))]), "not-a-receipt");
    }
    with_receipt(&s, "\u{e4}", &[totp(&ann, &code(&s))]).expect(400);
    // Alone, or with what is wrong, it is nothing.
    refused(
        with_receipt(&s, &text, &[("password", json!({"user": {"id": ann, "password": "x"}}))]),
        "wrong-password",
    );
    with_receipt(&s, &text, &[]).expect(401);
    assert!(with_receipt(&s, &text, &[password(&ann)]).expect(401).body["receipt"].is_object());
    // It is one user's.
    refused(with_receipt(&s, &text, &[totp(&bob, &code_at(&s, OTHER, 0))]), "other-user");
    refused(with_receipt(&s, &text, &[password(&bob)]), "other-user");
    // Two of them are ambiguous.
    let headers = [("Openstack-Auth-Receipt", &*text), ("Openstack-Auth-Receipt", &*text)];
    auth_with(&s, &headers, &identity(&[totp(&ann, &code(&s))])).expect(400);
    // It has an end.
    s.clock.advance(300 * SECOND);
    refused(with_receipt(&s, &text, &[totp(&ann, &code(&s))]), "receipt-over");
}

#[test]
fn a_receipt_ends_with_all_tokens_of_its_user() {
    let s = with("");
    let ann = careful(&s, json!([["password", "totp"]]));
    let text = receipt(s.auth(identity(&[password(&ann)])));
    // Somebody who knew the password may have got it.
    let change = json!({"user": {"original_password": "pw", "password": "another"}});
    s.call("POST", &format!("/v3/users/{ann}/password"), &[], Some(change.to_string().as_bytes()))
        .expect(204);
    refused(with_receipt(&s, &text, &[totp(&ann, &code(&s))]), "receipt-over");
    s.clock.advance(SECOND);
    let another = ("password", json!({"user": {"id": ann, "password": "another"}}));
    let text = receipt(s.auth(identity(&[another])));
    with_receipt(&s, &text, &[totp(&ann, &code(&s))]).expect(201);
    s.patch(&s.admin(), &format!("/v3/users/{ann}"), json!({"user": {"enabled": false}})).expect(200);
    s.clock.advance(30 * SECOND);
    refused(with_receipt(&s, &text, &[totp(&ann, &code(&s))]), "disabled");
}

/// What rests on a token or on a delegation has bounds of which a receipt tells nothing: there is none for it.
#[test]
fn what_is_delegated_or_has_an_end_gets_no_receipt() {
    let s = with("");
    let ann = user(&s, "ann", "default");
    keep(&s, &ann, "pw", SECRET);
    let token = s.login_id(&ann, "pw", json!(null)).expect(201).token();
    set_rules(&s, &ann, json!([["password", "totp"]]));
    let by_token = || ("token", json!({"id": token}));
    refused(s.auth(identity(&[by_token()])), "missing-factor");
    refused(s.auth(identity(&[by_token(), password(&ann)])), "missing-factor");
    s.auth(identity(&[by_token(), totp(&ann, &code(&s))])).expect(201);
    // A Keystone beside gives such receipts. Here they add nothing.
    let keys = s.app.token_keys.current().expect("keys");
    for methods in [
        &["token", "password"][..],
        &["application_credential"],
        &["ec2credential", "password"],
        &["mapped"],
        &[],
    ] {
        let receipt = vicar::auth::receipt::Receipt {
            user: ann.clone(),
            methods: methods.iter().map(|m| (*m).to_owned()).collect(),
            expires: s.clock.now() + 60 * SECOND,
            issued: s.clock.now(),
        };
        let text = receipt.encode(&keys, &s.app.config.auth_methods).expect("encodes");
        s.clock.advance(30 * SECOND);
        refused(with_receipt(&s, &text, &[totp(&ann, &code(&s))]), "not-a-receipt");
    }
}

#[test]
fn a_passcode_that_got_a_receipt_is_used_up() {
    let s = with("");
    let ann = careful(&s, json!([["password", "totp"]]));
    let text = receipt(s.auth(identity(&[totp(&ann, &code(&s))])));
    refused(s.auth(identity(&[password(&ann), totp(&ann, &code(&s))])), "passcode-used");
    with_receipt(&s, &text, &[password(&ann)]).expect(201);
}

/// Which rules count is compared with a Keystone's answers.
#[test]
fn rules_of_methods_that_are_not_there_lock_nobody_out() {
    let s = with("");
    let ann = user(&s, "ann", "default");
    for (rules, is_in) in [
        (json!([["retina"]]), true),
        (json!([["password", "retina"], ["password", "totp"]]), true),
        (json!([["retina"], ["totp"]]), false),
        (json!([["totp"]]), false),
        (json!([]), true),
    ] {
        set_rules(&s, &ann, rules.clone());
        let answer = s.auth(identity(&[password(&ann)])).expect(if is_in { 201 } else { 401 });
        if !is_in {
            assert_eq!(answer.body["required_auth_methods"], json!([]), "{rules}");
        }
    }
    let off = json!({"user": {"options": {"multi_factor_auth_enabled": false}}});
    s.patch(&s.admin(), &format!("/v3/users/{ann}"), off).expect(200);
    set_rules(&s, &ann, json!([["totp"]]));
    s.auth(identity(&[password(&ann)])).expect(201);
}

#[test]
fn receipts_have_their_own_keys_where_that_is_configured() {
    let dir = std::env::temp_dir().join(format!("vicar-receipt-keys-{}", vicar::ids::uuid()));
    let s =
        with(&format!("[fernet_receipts]\nkey_repository = {}\n[receipt]\nexpiration = 60\n", dir.display()));
    let ann = careful(&s, json!([["password", "totp"]]));
    let text = receipt(s.auth(identity(&[password(&ann)])));
    let read = |ring: &vicar::crypto::keys::KeyRing| {
        let keys = ring.current().expect("keys");
        vicar::auth::receipt::Receipt::decode(&text, &keys, &s.app.config.auth_methods)
    };
    assert_eq!(read(&s.app.token_keys), None);
    assert_eq!(read(&s.app.receipt_keys).map(|r| r.expires), Some(s.clock.now() + 60 * SECOND));
    with_receipt(&s, &text, &[totp(&ann, &code(&s))]).expect(201);
    std::fs::remove_dir_all(dir).expect("removed");
}

const FRONT: &str = "external = DefaultDomain\n\
    [vicar]\nremote_user_header = X-Remote-User\nremote_domain_header = X-Remote-Domain\n\
    auth_type_header = X-Auth-Type\ntrusted_proxies = 127.0.0.1\n";

fn shown(s: &Server, headers: &[(&str, &str)]) -> Answer {
    auth_with(s, headers, &identity(&[("external", json!({}))]))
}

#[test]
fn a_front_server_says_whom_it_has_authenticated() {
    let s = with(FRONT);
    let ann = user(&s, "ann", "default");
    let there = s.domain("there");
    let other = user(&s, "ann", &there);
    let token = shown(&s, &[("X-Remote-User", "ann")]).expect(201);
    assert_eq!(
        (methods(&token), &token.body["token"]["user"]["id"]),
        (vec!["external".to_owned()], &json!(ann))
    );
    // Of the default domain, whatever the domain's header says.
    let told = [("X-Remote-User", "ann"), ("X-Remote-Domain", "there")];
    assert_eq!(shown(&s, &told).expect(201).body["token"]["user"]["id"], json!(ann));
    refused(shown(&s, &[]), "no-remote-user");
    refused(shown(&s, &[("X-Remote-User", "")]), "no-remote-user");
    refused(shown(&s, &[("X-Remote-User", "nobody")]), "no-remote-user");
    // As in Keystone, they need not ask for it, and everything is of one user.
    assert_eq!(
        methods(
            &auth_with(&s, &[("X-Remote-User", "ann")], &json!({"identity": {"methods": []}})).expect(201)
        ),
        ["external"]
    );
    let with_password = auth_with(&s, &[("X-Remote-User", "ann")], &identity(&[password(&ann)])).expect(201);
    assert_eq!(methods(&with_password), ["external", "password"]);
    refused(auth_with(&s, &[("X-Remote-User", "ann")], &identity(&[password(&other)])), "other-user");
    auth_with(&s, &[("X-Remote-User", "nobody")], &identity(&[password(&other)])).expect(201);
    // One of two may be the client's.
    shown(&s, &[("X-Remote-User", "ann"), ("X-Remote-User", "bob")]).expect(400);
    refused(shown(&s, &[("X-Remote-User", "ann, bob")]), "no-remote-user");
    auth_with(&s, &[("X-Remote-User", "ann")], &json!({"identity": {"methods": ["external"]}})).expect(400);
    s.patch(&s.admin(), &format!("/v3/users/{ann}"), json!({"user": {"enabled": false}})).expect(200);
    refused(shown(&s, &[("X-Remote-User", "ann")]), "token-user");

    let s = with(&FRONT.replace("DefaultDomain", "Domain"));
    let ann = user(&s, "ann", "default");
    let there = s.domain("there");
    let other = user(&s, "ann", &there);
    assert_eq!(shown(&s, &told).expect(201).body["token"]["user"]["id"], json!(other));
    assert_eq!(shown(&s, &told[..1]).expect(201).body["token"]["user"]["id"], json!(ann));
    refused(shown(&s, &[("X-Remote-User", "ann"), ("X-Remote-Domain", "nowhere")]), "no-remote-user");
    // Kerberos is the same, when it was that.
    let kerberos = |headers: &[(&str, &str)]| auth_with(&s, headers, &identity(&[("kerberos", json!({}))]));
    let negotiated = [told[0], told[1], ("X-Auth-Type", "Negotiate")];
    assert_eq!(methods(&kerberos(&negotiated).expect(201)), ["external", "kerberos"]);
    refused(kerberos(&told), "no-remote-user");
    refused(kerberos(&[told[0], ("X-Auth-Type", "Basic")]), "no-remote-user");
}

/// No other client can say it, and none at all where no front server is configured.
#[test]
fn whoever_is_no_front_server_names_nobody() {
    let spoofed: &[(&str, &str)] = &[
        ("X-Remote-User", "admin"),
        ("Remote-User", "admin"),
        ("REMOTE_USER", "admin"),
        ("X-Forwarded-User", "admin"),
        ("X-Forwarded-For", "192.0.2.1"),
        ("Forwarded", "for=192.0.2.1"),
    ];
    let front = |ini: &str| FRONT.replace("trusted_proxies = 127.0.0.1\n", ini);
    let guessing = "enable_proxy_headers_parsing = true\n";
    for ini in [
        METHODS.to_owned(),
        // Believed in what they say of URLs and clients, and not in this.
        format!("{METHODS}[oslo_middleware]\n{guessing}"),
        format!("{METHODS}{}", front("trusted_proxies = 192.0.2.1\n")),
        format!("{METHODS}{}[oslo_middleware]\n{guessing}", front("trusted_proxies = 192.0.2.0/24, ::1\n")),
    ] {
        let s = Server::with(&ini);
        refused(shown(&s, spoofed), "no-remote-user");
        let admin = json!({"identity": {"methods": []}});
        refused(auth_with(&s, spoofed, &admin), "no-such-method");
        let ann = user(&s, "ann", "default");
        assert_eq!(methods(&auth_with(&s, spoofed, &identity(&[password(&ann)])).expect(201)), ["password"]);
    }
    // The method has to be there, too.
    let s = Server::with(&format!("[auth]\nmethods = password,token\n{FRONT}"));
    refused_message(shown(&s, &spoofed[..1]), "Attempted to authenticate with an unsupported method.");
    let ann = user(&s, "ann", "default");
    assert_eq!(
        methods(&auth_with(&s, &spoofed[..1], &identity(&[password(&ann)])).expect(201)),
        ["password"]
    );
}

#[test]
fn of_a_wrong_password_the_log_has_a_keyed_hash_where_that_is_wanted() {
    let s = with(
        "[security_compliance]\nlockout_failure_attempts = 3\nreport_invalid_password_hash = event\n\
         invalid_password_hash_secret_key = s3cret\ninvalid_password_hash_max_chars = 5\n",
    );
    let ann = user(&s, "ann", "default");
    let hash = |answer: Answer| answer.logged.event.expect("an event")["tried_password_hash"].clone();
    let wrong = |password: &str| s.auth(by_password(&ann, password, json!(null))).expect(401);
    let first = hash(wrong("one"));
    assert_eq!(first.as_str().map(str::len), Some(5));
    assert_eq!(hash(wrong("one")), first);
    assert_ne!(hash(wrong("two")), first);
    assert_eq!(hash(wrong("three")), Value::Null, "locked");
    assert_eq!(hash(s.auth(by_password("nobody", "one", json!(null)))), Value::Null);
}
