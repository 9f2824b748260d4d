#![allow(dead_code, reason = "a toolbox: not every test uses every tool")]
//! What the tests share: a server with a client, rows that a test begins with, people, scopes.

mod cast;
mod contract;
mod logged;
mod people;
mod rows;
mod server;
mod told;

use std::path::Path;

use serde_json::{Value, json};

pub use cast::Cast;
pub use logged::{Logged, SECRET};
pub use people::{grant, group_of, on_domain, on_project, persona, token, user, user_by_api};
pub use rows::{count, domain, in_database, in_db, one};
pub use server::{Answer, PASSWORD, START, Server};
pub use told::Teller;

/// JSON as a reviewed file holds it.
pub fn pretty(json: &Value) -> String {
    format!("{json:#}\n")
}

/// Compares what is generated with a reviewed file, named from the repository's root. `VICAR_BLESS=1` writes
/// the file; the difference is then reviewed like code.
#[track_caller]
pub fn reviewed(file: &str, now: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    if std::env::var_os("VICAR_BLESS").is_some() {
        std::fs::write(&path, now).expect("the reviewed file is writable");
    }
    let reviewed = std::fs::read_to_string(&path).unwrap_or_default();
    if let Some((at, (old, new))) =
        reviewed.lines().zip(now.lines()).enumerate().find(|(_, (old, new))| old != new)
    {
        panic!("{file}:{} differs; VICAR_BLESS=1 accepts it:\n- {old}\n+ {new}", at + 1);
    }
    assert!(reviewed == now, "{file} has another length than what is generated; VICAR_BLESS=1 accepts it");
}

/// Scopes of a login.
pub mod scope {
    use serde_json::{Value, json};

    /// A domain.
    pub fn on_domain(id: &str) -> Value {
        json!({"domain": {"id": id}})
    }

    /// A project.
    pub fn on_project(id: &str) -> Value {
        json!({"project": {"id": id}})
    }

    /// The system.
    pub fn on_system() -> Value {
        json!({"system": {"all": true}})
    }
}

/// The `auth` object of a password login by id; a null scope is left out.
pub fn by_password(user: &str, password: &str, scope: Value) -> Value {
    let mut auth = json!({"identity": {"methods": ["password"], "password": {"user": {
        "id": user, "password": password}}}});
    if !scope.is_null() {
        auth["scope"] = scope;
    }
    auth
}

/// The id of the object in an answer.
#[track_caller]
pub fn id(answer: &Answer, kind: &str) -> String {
    answer.body[kind]["id"].as_str().expect("an id").to_owned()
}

/// The ids of a list's items, in their order.
#[track_caller]
pub fn ids(answer: &Answer, list: &str) -> Vec<String> {
    let items = answer.body[list].as_array().expect("a list");
    items.iter().map(|i| i["id"].as_str().expect("an id").to_owned()).collect()
}

/// The names of a list's items (or ids, where there is no name), sorted.
pub fn names(body: &Value, list: &str) -> Vec<String> {
    let mut names: Vec<String> = body[list]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|i| i["name"].as_str().or(i["id"].as_str()))
        .map(str::to_owned)
        .collect();
    names.sort();
    names
}
