//! Who gets what on each route: every route is called by everybody, and what they get is compared with a reviewed
//! table. It is the policy, the rules of delegation and the code as one.
//!
//! Everybody names the same: what belongs to `owner`, a user of the domain and a member of the project in which the
//! staff of domain and project is.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;

use serde_json::{Value, json};
use vicar::args;
use vicar::auth::fernet::PayloadScope;
use vicar::dispatch::{Auth, Handler, Route};
use vicar::routes::ROUTES;

use crate::support::{Cast, Server, by_password, id, reviewed, scope};

/// The role of a persona, and where they hold it.
#[derive(Clone, Copy, PartialEq)]
enum Who {
    System(&'static str),
    Domain(&'static str),
    OtherDomain(&'static str),
    Project(&'static str),
    Owner,
    OwnerUnscoped,
    Trust,
    Keypair,
    ApplicationCredential,
    Nobody,
}

const PERSONAS: [(&str, Who); 20] = [
    ("system admin", Who::System("admin")),
    ("system member", Who::System("member")),
    ("system reader", Who::System("reader")),
    ("domain admin", Who::Domain("admin")),
    ("domain manager", Who::Domain("manager")),
    ("domain member", Who::Domain("member")),
    ("domain reader", Who::Domain("reader")),
    ("admin of another domain", Who::OtherDomain("admin")),
    ("project admin", Who::Project("admin")),
    ("project manager", Who::Project("manager")),
    ("project member", Who::Project("member")),
    ("project reader", Who::Project("reader")),
    ("service", Who::Project("service")),
    ("no role", Who::Project("a role of no meaning")),
    ("owner", Who::Owner),
    ("owner unscoped", Who::OwnerUnscoped),
    ("trust token", Who::Trust),
    ("keypair token", Who::Keypair),
    ("application credential token", Who::ApplicationCredential),
    ("no token", Who::Nobody),
];

/// Of a mapping.
fn rules() -> Value {
    json!([{"local": [{"user": {"name": "{0}"}}], "remote": [{"type": "X"}]}])
}

/// A server, and on it the objects that the calls name.
struct Scene {
    c: Cast,
    who: Who,
    made: i64,
    names: Vec<(&'static str, String)>,
    token: String,
    subject: String,
    signed: Value,
}

impl Scene {
    fn new(who: Who) -> Self {
        let s = Server::start();
        let none = String::new;
        let c = Cast { s, alice: none(), bob: none(), carol: none(), dave: none(), p: none(), q: none() };
        let mut scene =
            Self { c, who, made: 0, names: Vec::new(), token: none(), subject: none(), signed: Value::Null };
        scene.renew();
        scene
    }

    /// New objects, so that what a call before has changed does not matter.
    fn renew(&mut self) {
        self.made += 1;
        // Far apart: what calls make has the numbers between.
        let n = self.made * 100;
        let s = &self.c.s;
        let named = |what: &str| format!("{what}-{n}");
        let domain = s.domain(&named("domain"));
        let (project, parent) = {
            let parent = s.project_below(&named("parent"), &domain, None);
            (s.project_below(&named("project"), &domain, Some(&parent)), parent)
        };
        let user = |name: &str| s.user_with(&named(name), &domain, "pw");
        let (owner, trustee) = (user("owner"), user("trustee"));
        let group = s.group(&named("group"), &domain, &[&owner]);
        let [role, implied] = ["role", "implied"].map(|what| s.role(&named(what)));
        for (role, project) in [("member", &project), (named("role").as_str(), &project), ("member", &parent)]
        {
            s.grant(&owner, project, role);
        }
        for (actor, is) in [(&owner, "User"), (&group, "Group")] {
            for (target, place) in [(&project, "Project"), (&domain, "Domain")] {
                for inherited in [false, true].iter().filter(|i| **i || (is, place) != ("User", "Project")) {
                    s.assign(&format!("{is}{place}"), actor, target, &named("role"), *inherited);
                }
            }
            s.assign(&format!("{is}System"), actor, "system", &named("role"), false);
        }
        s.sql_run(
            "INSERT INTO implied_role (prior_role_id, implied_role_id) VALUES (?, ?)",
            args![&role, &implied],
        );
        s.sql_run("INSERT INTO project_tag (project_id, name) VALUES (?, 'tag')", args![&project]);
        let region = named("region");
        s.sql_run("INSERT INTO region (id, description, extra) VALUES (?, '', '{}')", args![&region]);
        let [service, endpoint, registered, limit] =
            ["service", "endpoint", "registered", "limit"].map(named);
        s.sql_run(
            "INSERT INTO service (id, type, enabled, extra) VALUES (?, 'x', ?, '{}')",
            args![&service, true],
        );
        s.sql_run(
            "INSERT INTO endpoint (id, interface, service_id, url, extra, enabled) VALUES (?, 'public', ?, 'http://x', '{}', ?)",
            args![&endpoint, &service, true],
        );
        s.sql_run(
            "INSERT INTO registered_limit (id, service_id, resource_name, default_limit) VALUES (?, ?, 'x', 1)",
            args![&registered, &service],
        );
        s.sql_run(
            "INSERT INTO \"limit\" (id, project_id, resource_limit, registered_limit_id) VALUES (?, ?, 2, ?)",
            args![&limit, &project, &registered],
        );
        let credential = named("application-credential");
        s.sql_run(
            "INSERT INTO application_credential (internal_id, id, name, secret_hash, user_id, project_id, unrestricted)
             VALUES (?, ?, 'a', 'x', ?, ?, ?)",
            args![n, &credential, &owner, &project, false],
        );
        s.sql_run(
            "INSERT INTO application_credential_role (application_credential_id, role_id) VALUES (?, ?)",
            args![n, s.role("member")],
        );
        let rule = named("rule");
        s.sql_run(
            "INSERT INTO access_rule (id, external_id, user_id, service, path, method) VALUES (?, ?, ?, 'x', '/', 'GET')",
            args![n, &rule, &owner],
        );
        s.sql_run(
            "INSERT INTO whitelisted_config (domain_id, \"group\", \"option\", value) VALUES (?, 'identity', 'driver', '\"sql\"')",
            args![&domain],
        );
        let [endpoint_group, policy] = ["endpoint-group", "policy"].map(named);
        s.sql_run(
            "INSERT INTO endpoint_group (id, name, filters) VALUES (?, ?, '{}')",
            args![&endpoint_group, &endpoint_group],
        );
        s.sql_run(
            "INSERT INTO policy (id, type, \"blob\", extra) VALUES (?, 'x', '\"x\"', '{}')",
            args![&policy],
        );
        for (column, id) in [("endpoint_id", &endpoint), ("endpoint_group_id", &endpoint_group)] {
            let table = if column == "endpoint_id" { "project_endpoint" } else { "project_endpoint_group" };
            let sql = format!("INSERT INTO {table} (project_id, {column}) VALUES (?, ?)");
            s.sql_run(&sql, args![&project, id]);
        }
        for (place, endpoint, service, region) in [
            ("endpoint", Some(&endpoint), None, None),
            ("service", None, Some(&service), None),
            ("region", None, Some(&service), Some(&region)),
        ] {
            s.sql_run(
                "INSERT INTO policy_association (id, policy_id, endpoint_id, service_id, region_id) VALUES (?, ?, ?, ?, ?)",
                args![named(place), &policy, endpoint.cloned(), service.cloned(), region.cloned()],
            );
        }
        let [consumer, request_token, access_token] =
            ["consumer", "request-token", "access-token"].map(named);
        s.sql_run(
            "INSERT INTO consumer (id, description, secret, extra) VALUES (?, '', 'x', '{}')",
            args![&consumer],
        );
        s.sql_run(
            "INSERT INTO request_token (id, request_secret, requested_project_id, consumer_id) VALUES (?, 'x', ?, ?)",
            args![&request_token, &project, &consumer],
        );
        s.sql_run(
            "INSERT INTO access_token (id, access_secret, authorizing_user_id, project_id, role_ids, consumer_id)
             VALUES (?, 'x', ?, ?, ?, ?)",
            args![&access_token, &owner, &project, json!([role]).to_string(), &consumer],
        );
        let [provider, protocol, mapping, service_provider] =
            ["idp", "protocol", "mapping", "service-provider"].map(named);
        s.sql_run(
            "INSERT INTO mapping (id, rules, schema_version) VALUES (?, ?, '1.0')",
            args![&mapping, rules().to_string()],
        );
        s.sql_run(
            "INSERT INTO identity_provider (id, enabled, domain_id) VALUES (?, ?, ?)",
            args![&provider, true, &domain],
        );
        s.sql_run(
            "INSERT INTO federation_protocol (id, idp_id, mapping_id) VALUES (?, ?, ?)",
            args![&protocol, &provider, &mapping],
        );
        s.sql_run(
            "INSERT INTO service_provider (id, enabled, auth_url, sp_url, relay_state_prefix)
             VALUES (?, ?, 'http://x', 'http://x', 'x')",
            args![&service_provider, true],
        );
        let login = |user: &str, scope: Value| s.auth(by_password(user, "pw", scope)).expect(201).token();
        let own = login(&owner, scope::on_project(&project));
        let trust = json!({"trust": {
            "trustor_user_id": owner, "trustee_user_id": trustee, "project_id": project, "impersonation": true,
            "roles": [{"name": "member"}], "allow_redelegation": true}});
        let trust = id(&s.post(&own, "/v3/OS-TRUST/trusts", trust).expect(201), "trust");
        let keypair = json!({"tenant_id": project});
        let keypair = s.post(&own, &format!("/v3/users/{owner}/credentials/OS-EC2"), keypair).expect(201);
        let keypair = keypair.body["credential"].clone();
        let signed = self.c.signed(&keypair);
        let staff = |kind: &str, target: &str, role: &str, scope: Value| {
            let member = user("staff");
            s.assign(kind, &member, target, role, false);
            login(&member, scope)
        };
        self.token = match self.who {
            Who::System(role) => staff("UserSystem", "system", role, scope::on_system()),
            Who::OtherDomain(role) => {
                let other = s.domain(&named("other-domain"));
                staff("UserDomain", &other, role, scope::on_domain(&other))
            }
            Who::Domain(role) => staff("UserDomain", &domain, role, scope::on_domain(&domain)),
            Who::Project(role) => staff("UserProject", &project, role, scope::on_project(&project)),
            Who::Owner => own.clone(),
            Who::OwnerUnscoped => login(&owner, json!("unscoped")),
            Who::Trust => login(&trustee, json!({"OS-TRUST:trust": {"id": trust}})),
            Who::Keypair => {
                let service = staff("UserProject", &project, "service", scope::on_project(&project));
                s.post(&service, "/v3/ec2tokens", signed.clone()).expect(200).token()
            }
            Who::ApplicationCredential => self.c.foreign_token(
                &owner,
                &["application_credential"],
                PayloadScope::ApplicationCredential(project.clone(), credential.clone()),
            ),
            Who::Nobody => String::new(),
        };
        self.subject = own;
        self.signed = signed;
        let access = keypair["access"].as_str().expect("an access id").to_owned();
        self.names = vec![
            ("{credential_id}", access),
            ("{user_id}", owner),
            ("{group_id}", group),
            ("{project_id}", project),
            ("{domain_id}", domain),
            ("{trust_id}", trust),
            ("{role_id}", role.clone()),
            ("{prior_role_id}", role),
            ("{implied_role_id}", implied),
            ("{region_id}", region),
            ("{service_id}", service),
            ("{endpoint_id}", endpoint),
            ("{registered_limit_id}", registered),
            ("{limit_id}", limit),
            ("{application_credential_id}", credential),
            ("{endpoint_group_id}", endpoint_group),
            ("{policy_id}", policy),
            ("{access_rule_id}", rule),
            ("{consumer_id}", consumer),
            ("{request_token_id}", request_token),
            ("{access_token_id}", access_token),
            ("{idp_id}", provider),
            ("{protocol_id}", protocol),
            ("{mapping_id}", mapping),
            ("{service_provider_id}", service_provider),
            ("{group}", "identity".to_owned()),
            ("{option}", "driver".to_owned()),
            ("{value}", "tag".to_owned()),
        ];
    }

    fn name(&self, of: &str) -> &str {
        self.names.iter().find(|(name, _)| *name == of).map_or("unknown", |(_, id)| id)
    }

    /// The path, with the ids of what is there. A keypair's other name is a hash of the one that is used here.
    fn path(&self, route: &Route) -> String {
        let mut path = self.names.iter().fold(route.path.to_owned(), |path, (name, id)| {
            match route.path.starts_with("/v3/credentials") && *name == "{credential_id}" {
                true => path.replace(name, &sha256(id)),
                false => path.replace(name, id),
            }
        });
        // The user is in the group, and has the tag, already.
        let is_made = route.path.ends_with("{value}") || route.path.starts_with("/v3/OS-FEDERATION");
        if route.method == "PUT" && is_made {
            path.push_str("-new");
        }
        path
    }

    /// A body that the route takes.
    fn body(&self, route: &Route) -> Option<Value> {
        let member = route.declared.body.as_ref()?.member;
        let is_new = route.method == "POST";
        let name = format!("new-{}-{}", self.made, route.path.len());
        let (domain, project) = (self.name("{domain_id}"), self.name("{project_id}"));
        let owner = self.name("{user_id}");
        let inner = match (member, is_new) {
            (Some("auth"), _) => by_password(owner, "pw", json!("unscoped")),
            (Some("trust"), _) => json!({
                "trustor_user_id": owner, "trustee_user_id": owner, "project_id": project, "impersonation": true,
                "roles": [{"name": "member"}]}),
            (Some("credential"), true) => json!({"user_id": owner, "type": "cert", "blob": "x"}),
            (Some("credential"), false) => {
                json!({"blob": json!({"access": self.name("{credential_id}"), "secret": "x"}).to_string()})
            }
            (Some("user"), true) if route.path.ends_with("/password") => {
                json!({"original_password": "pw", "password": "another"})
            }
            (Some("user" | "group"), true) => json!({"name": name, "domain_id": domain}),
            (Some("project"), true) => json!({"name": name, "domain_id": domain}),
            (Some("domain" | "role" | "application_credential"), true) => json!({"name": name}),
            (Some("service"), true) => json!({"type": name}),
            (Some("endpoint_group"), true) => json!({"name": name, "filters": {"interface": "public"}}),
            (Some("policy"), true) => json!({"type": "x", "blob": "x"}),
            (Some("endpoint"), true) => {
                json!({"service_id": self.name("{service_id}"), "interface": "public", "url": "http://x"})
            }
            (Some("registered_limits"), _) => {
                json!([{"service_id": self.name("{service_id}"), "resource_name": name, "default_limit": 1}])
            }
            (Some("limits"), _) => json!([{"service_id": self.name("{service_id}"), "resource_name": "x",
                "resource_limit": 1, "domain_id": domain}]),
            (Some("limit"), _) => json!({"resource_limit": 1}),
            (Some("registered_limit"), _) => json!({"default_limit": 1}),
            (Some("tags"), _) => json!(["a"]),
            (Some("mapping"), _) => json!({"rules": rules()}),
            (Some("protocol"), _) => json!({"mapping_id": self.name("{mapping_id}")}),
            (Some("service_provider"), _) if route.method == "PUT" => {
                json!({"auth_url": "http://x", "sp_url": "http://x"})
            }
            (Some(_), _) => json!({"description": "x"}),
            (None, _) if route.path.ends_with("{option}") => {
                return Some(json!({"config": {"driver": "sql"}}));
            }
            (None, _) if route.path.contains("/config") => {
                return Some(json!({"config": {"identity": {"driver": "sql"}}}));
            }
            (None, _) if route.path.contains("/authorize/") => {
                return Some(json!({"roles": [{"name": "member"}]}));
            }
            (None, _) if route.path.starts_with("/v3/OS-FEDERATION") => return None,
            (None, _) if route.path.ends_with("tokens") => return Some(self.signed.clone()),
            (None, _) => return Some(json!({"tenant_id": project})),
        };
        member.map(|member| json!({member: inner}))
    }

    /// The status that this persona gets.
    fn call(&mut self, route: &Route) -> u16 {
        let body = self.body(route).map(|body| body.to_string());
        let mut headers = vec![("X-Subject-Token", &*self.subject)];
        // A login proves who it is itself.
        if !self.token.is_empty() && route.auth != Auth::Login {
            headers.push(("X-Auth-Token", &self.token));
        }
        let body = body.as_deref().map(str::as_bytes);
        let answer = self.c.s.call(route.method.as_str(), &self.path(route), &headers, body);
        assert!(answer.status < 500, "{route:?}: {}", answer.text);
        if answer.status < 400 && matches!(route.handler, Handler::Write(_)) {
            self.renew();
        }
        answer.status
    }
}

fn sha256(text: &str) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(text).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[test]
fn who_gets_what_on_each_route() {
    let all: Mutex<BTreeMap<(usize, u16), Vec<usize>>> = Mutex::default();
    let next = Mutex::new(0..PERSONAS.len());
    // A server for each persona, a few at a time.
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                loop {
                    let Some(persona) = next.lock().expect("no panic").next() else { return };
                    let mut scene = Scene::new(PERSONAS[persona].1);
                    for (n, route) in ROUTES.iter().enumerate() {
                        let status = scene.call(route);
                        all.lock().expect("no panic").entry((n, status)).or_default().push(persona);
                    }
                }
            });
        }
    });
    let mut all = all.into_inner().expect("no panic");
    let mut page = String::from(
        "Who gets what on each route. Everybody names what belongs to `owner`, in the domain and the project of the staff.\n\
         Made by server/tests/api/personas.rs; VICAR_BLESS=1 cargo test -p vicar --test api -- who_gets_what\n",
    );
    for (n, route) in ROUTES.iter().enumerate() {
        let _ = writeln!(page, "\n{route:?}");
        let of_route: Vec<(u16, &mut Vec<usize>)> =
            all.range_mut((n, 0)..(n + 1, 0)).map(|((_, status), personas)| (*status, personas)).collect();
        let most = of_route.iter().max_by_key(|(_, personas)| personas.len()).map(|(status, _)| *status);
        for (status, personas) in of_route {
            personas.sort_unstable();
            let names: Vec<&str> = personas.iter().map(|p| PERSONAS[*p].0).collect();
            let names = match names.len() {
                all if all == PERSONAS.len() => "everybody".to_owned(),
                _ if most == Some(status) && status >= 400 => "everybody else".to_owned(),
                _ => names.join(", "),
            };
            let _ = writeln!(page, "  {status}  {names}");
        }
    }
    reviewed("server/tests/api/golden/personas.txt", &page);
}
