//! The people of the story that most tests of delegation tell.

use serde_json::{Value, json};
use vicar::auth::fernet::{Federated, Payload, PayloadScope};
use vicar::clock::SECOND;

use super::{Answer, START, Server};

/// The story's people on one server: alice holds `member` and `heat_stack_owner` on project P; the others
/// hold nothing anywhere; svc holds `service` on project service.
pub struct Cast {
    pub s: Server,
    pub alice: String,
    pub bob: String,
    pub carol: String,
    pub dave: String,
    pub p: String,
    pub q: String,
}

impl Cast {
    pub fn new() -> Self {
        Self::with("")
    }

    pub fn with(ini: &str) -> Self {
        Self::on(Server::with(ini))
    }

    fn on(s: Server) -> Self {
        let (alice, bob, carol, dave) = (s.user("alice"), s.user("bob"), s.user("carol"), s.user("dave"));
        let (p, q, service) = (s.project("P"), s.project("Q"), s.project("service"));
        s.grant(&alice, &p, "member");
        s.grant(&alice, &p, "heat_stack_owner");
        s.grant(&alice, &q, "member");
        let svc = s.user("svc");
        s.grant(&svc, &service, "service");
        Self { s, alice, bob, carol, dave, p, q }
    }

    /// A trust alice → bob on P over `member`, changed by `with`.
    pub fn ask(&self, with: Value) -> Value {
        let mut trust = json!({
            "trustor_user_id": self.alice, "trustee_user_id": self.bob, "project_id": self.p,
            "impersonation": true, "roles": [{"name": "member"}],
        });
        for (k, v) in with.as_object().expect("an object") {
            trust[k] = v.clone();
        }
        json!({"trust": trust})
    }

    /// Makes it with alice's token.
    pub fn make(&self, with: Value) -> Answer {
        self.s.post(&self.s.on("alice", &self.p), "/v3/OS-TRUST/trusts", self.ask(with))
    }

    /// Its id.
    #[track_caller]
    pub fn trust(&self, with: Value) -> String {
        self.make(with).expect(201).body["trust"]["id"].as_str().expect("an id").to_owned()
    }

    /// A redelegable chain alice → bob → carol → dave with impersonation; the ids, root first.
    #[track_caller]
    pub fn chain(&self) -> [String; 3] {
        self.chain_with(true)
    }

    #[track_caller]
    pub fn chain_with(&self, impersonation: bool) -> [String; 3] {
        let first = self.trust(json!({"allow_redelegation": true, "impersonation": impersonation}));
        let second = self.below("bob", &first, &self.carol, impersonation);
        let third = self.below("carol", &second, &self.dave, impersonation);
        [first, second, third]
    }

    /// `user` consumes `parent` and redelegates to `trustee`.
    #[track_caller]
    pub fn below(&self, user: &str, parent: &str, trustee: &str, impersonation: bool) -> String {
        let login = self.s.consume(user, parent).expect(201);
        let trustor = login.body["token"]["user"]["id"].clone();
        let ask = self.ask(json!({
            "trustor_user_id": trustor, "trustee_user_id": trustee,
            "impersonation": impersonation, "allow_redelegation": true,
        }));
        let made = self.s.post(&login.token(), "/v3/OS-TRUST/trusts", ask).expect(201);
        made.body["trust"]["id"].as_str().expect("an id").to_owned()
    }

    /// The token of a service that may exchange keypairs and validate tokens.
    #[track_caller]
    pub fn svc(&self) -> String {
        let scope = json!({"project": {"name": "service", "domain": {"id": "default"}}});
        self.s.login("svc", "svc-pw", scope).expect(201).token()
    }

    /// A keypair from a token, on P, for a user.
    pub fn keypair(&self, token: &str, user: &str, with: Value) -> Answer {
        let mut body = json!({"tenant_id": self.p});
        for (k, v) in with.as_object().expect("an object") {
            body[k] = v.clone();
        }
        self.s.post(token, &format!("/v3/users/{user}/credentials/OS-EC2"), body)
    }

    /// An application credential of alice's on P over `member`, which a Keystone beside us made.
    pub fn application_credential(&self, id: &str) {
        self.s.sql_run(
            "INSERT INTO application_credential (internal_id, id, name, secret_hash, user_id, project_id, unrestricted)
             VALUES (1, ?, 'a', 'x', ?, ?, ?)",
            vicar::args![id, &self.alice, &self.p, true],
        );
        self.s.sql_run(
            "INSERT INTO application_credential_role (application_credential_id, role_id) VALUES (1, ?)",
            vicar::args![self.s.role("member")],
        );
    }

    /// A token of the server's own keys with any methods and scope, as a Keystone beside it could issue.
    pub fn foreign_token(&self, user: &str, methods: &[&str], scope: PayloadScope) -> String {
        self.token_from(user, methods, scope, None)
    }

    /// The same of a user who came through an identity provider, if one is given.
    pub fn token_from(
        &self,
        user: &str,
        methods: &[&str],
        scope: PayloadScope,
        federated: Option<Federated>,
    ) -> String {
        let payload = Payload {
            user: user.to_owned(),
            methods: methods.iter().map(|m| (*m).to_owned()).collect(),
            scope,
            expires: START + 3600 * SECOND,
            issued: START,
            audit_ids: vec![vicar::ids::audit()],
            federated,
        };
        let keys = self.s.app.token_keys.current().expect("keys");
        payload.encode(&keys, &self.s.app.config.auth_methods).expect("a token")
    }

    /// A request signed now with version 2, as the body of an exchange.
    pub fn signed(&self, keypair: &Value) -> Value {
        self.signed_at(keypair, Some(self.s.clock.now()))
    }

    /// The same, stating another time or none.
    pub fn signed_at(&self, keypair: &Value, at: Option<i64>) -> Value {
        use vicar_rules::signature::{SignedRequest, sign_v2};
        let text = |name: &str| keypair[name].as_str().expect(name).to_owned();
        let mut params: std::collections::BTreeMap<String, String> =
            [("Action", "DescribeStacks"), ("SignatureVersion", "2"), ("SignatureMethod", "HmacSHA256")]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .into();
        params.insert("AWSAccessKeyId".into(), text("access"));
        if let Some(at) = at {
            params.insert("Timestamp".into(), vicar::clock::iso(at)[..19].to_owned() + "Z");
        }
        let mut r = SignedRequest {
            access: text("access"),
            host: "heat.example:8000".into(),
            verb: "GET".into(),
            path: "/v1".into(),
            params,
            ..SignedRequest::default()
        };
        r.signature = sign_v2(&text("secret"), &r).expect("signs");
        json!({"credentials": {
            "access": r.access, "signature": r.signature, "host": r.host, "verb": r.verb, "path": r.path,
            "params": r.params, "headers": {}, "body_hash": null,
        }})
    }

    /// Exchanges a signed request with the service's token.
    pub fn exchange(&self, signed: Value) -> Answer {
        self.s.post(&self.svc(), "/v3/ec2tokens", signed)
    }
}
