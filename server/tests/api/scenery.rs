//! Domains, groups, and users and projects elsewhere than in the default domain, for tests of roles.

use serde_json::{Value, json};

use crate::support::{Answer, Server};

impl Server {
    /// Makes something as the administrator; gives its id.
    #[track_caller]
    fn made(&self, kind: &str, body: Value) -> String {
        let answer = self.post(&self.admin(), &format!("/v3/{kind}s"), json!({kind: body})).expect(201);
        answer.body[kind]["id"].as_str().expect("an id").to_owned()
    }

    /// A domain.
    #[track_caller]
    pub fn domain(&self, name: &str) -> String {
        self.made("domain", json!({"name": name}))
    }

    /// A project in a domain, below another or below the domain.
    #[track_caller]
    pub fn project_below(&self, name: &str, domain: &str, parent: Option<&str>) -> String {
        self.made(
            "project",
            json!({"name": name, "domain_id": domain, "parent_id": parent.unwrap_or(domain)}),
        )
    }

    /// A user in a domain; his password is his name with `-pw`.
    #[track_caller]
    pub fn user_in(&self, name: &str, domain: &str) -> String {
        self.made("user", json!({"name": name, "domain_id": domain, "password": format!("{name}-pw")}))
    }

    /// A group in a domain, with members.
    #[track_caller]
    pub fn group(&self, name: &str, domain: &str, members: &[&str]) -> String {
        let id = self.made("group", json!({"name": name, "domain_id": domain}));
        for user in members {
            self.put(&self.admin(), &format!("/v3/groups/{id}/users/{user}")).expect(204);
        }
        id
    }

    /// A login by id.
    pub fn login_id(&self, user: &str, password: &str, scope: Value) -> Answer {
        self.auth(json!({
            "identity": {"methods": ["password"], "password": {"user": {"id": user, "password": password}}},
            "scope": scope,
        }))
    }

    /// A new user of a domain who holds a role in a scope; his token there.
    #[track_caller]
    pub fn persona(&self, role: &str, domain: &str, scope: Value) -> String {
        let name = format!("{role}-{}", vicar::ids::uuid());
        let id = self.user_in(&name, domain);
        let place = match (scope["project"]["id"].as_str(), scope["domain"]["id"].as_str()) {
            (Some(project), _) => format!("projects/{project}"),
            (None, Some(domain)) => format!("domains/{domain}"),
            (None, None) => "system".to_owned(),
        };
        let path = format!("/v3/{place}/users/{id}/roles/{}", self.role(role));
        self.put(&self.admin(), &path).expect(204);
        self.login_id(&id, &format!("{name}-pw"), scope).expect(201).token()
    }
}

/// The scope of a domain.
pub fn on_domain(id: &str) -> Value {
    json!({"domain": {"id": id}})
}

/// The scope of a project.
pub fn on_project(id: &str) -> Value {
    json!({"project": {"id": id}})
}

/// The system as a scope.
pub fn on_system() -> Value {
    json!({"system": {"all": true}})
}
