//! People, what they hold, and their tokens.

use serde_json::{Value, json};

use super::{Answer, Server, by_password, id};

/// A user whose password is `pw`.
pub fn user(s: &Server, name: &str, domain: &str) -> String {
    s.user_with(name, domain, "pw")
}

/// The same made by the API, for the tests of what the API makes.
#[track_caller]
pub fn user_by_api(s: &Server, admin: &str, name: &str, domain: &str, password: &str) -> String {
    let body = json!({"user": {"name": name, "domain_id": domain, "password": password}});
    id(&s.post(admin, "/v3/users", body).expect(201), "user")
}

/// A grant: kind as in the table (`UserProject`, `GroupDomain`, …).
pub fn grant(s: &Server, kind: &str, actor: &str, target: &str, role: &str, inherited: bool) {
    s.assign(kind, actor, target, role, inherited);
}

/// A group with one member.
pub fn group_of(s: &Server, member: &str, domain: &str) -> String {
    s.group(&vicar::ids::uuid(), domain, &[member])
}

/// The token of a login by id with `pw`.
#[track_caller]
pub fn token(s: &Server, user: &str, scope: Value) -> String {
    s.login_id(user, "pw", scope).expect(201).token()
}

/// A user who holds a role on a domain, and the token there.
#[track_caller]
pub fn on_domain(s: &Server, name: &str, role: &str, domain: &str) -> String {
    named(s, name, role, domain, json!({"domain": {"id": domain}})).1
}

/// A user of the default domain who holds a role on a project, and the token there.
#[track_caller]
pub fn on_project(s: &Server, name: &str, role: &str, project: &str) -> String {
    named(s, name, role, "default", json!({"project": {"id": project}})).1
}

/// A user with one role somewhere (`domain:ID`, or the system), and the token there.
#[track_caller]
pub fn persona(s: &Server, name: &str, role: &str, place: &str) -> (String, String) {
    match place.strip_prefix("domain:") {
        Some(d) => named(s, name, role, d, json!({"domain": {"id": d}})),
        None => named(s, name, role, "default", json!({"system": {"all": true}})),
    }
}

/// A new user of a domain with one role in a scope; the id and the token there.
#[track_caller]
fn named(s: &Server, name: &str, role: &str, domain: &str, scope: Value) -> (String, String) {
    let id = user(s, name, domain);
    let (kind, target) = match (scope["project"]["id"].as_str(), scope["domain"]["id"].as_str()) {
        (Some(project), _) => ("UserProject", project),
        (None, Some(domain)) => ("UserDomain", domain),
        (None, None) => ("UserSystem", "system"),
    };
    s.assign(kind, &id, target, role, false);
    let token = token(s, &id, scope);
    (id, token)
}

impl Server {
    /// A login by id.
    pub fn login_id(&self, user: &str, password: &str, scope: Value) -> Answer {
        self.auth(by_password(user, password, scope))
    }

    /// A new user of a domain who holds a role in a scope; the token there.
    #[track_caller]
    pub fn persona(&self, role: &str, domain: &str, scope: Value) -> String {
        named(self, &format!("{role}-{}", vicar::ids::uuid()), role, domain, scope).1
    }

    /// A login on a project by id.
    #[track_caller]
    pub fn on(&self, user: &str, project: &str) -> String {
        self.login(user, &format!("{user}-pw"), json!({"project": {"id": project}})).expect(201).token()
    }

    /// A login without a scope.
    #[track_caller]
    pub fn unscoped(&self, user: &str) -> String {
        self.login(user, &format!("{user}-pw"), json!("unscoped")).expect(201).token()
    }

    /// A login that consumes a trust.
    pub fn consume(&self, user: &str, trust: &str) -> Answer {
        self.login(user, &format!("{user}-pw"), json!({"OS-TRUST:trust": {"id": trust}}))
    }
}
