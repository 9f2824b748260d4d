//! People and what they hold, put straight into the database: tests of other areas need them, and not
//! their API.

use serde_json::{Value, json};
use vicar::args;
use vicar::store::{DateTime, WriteTx};
use vicar::system::System;

use crate::support::{START, Server};

/// Runs something in a transaction and keeps it.
pub fn in_db<T>(s: &Server, work: impl AsyncFnOnce(&mut WriteTx) -> T) -> T {
    s.runtime.block_on(async {
        let mut tx = s.app.store.write().await.expect("a transaction");
        let out = work(&mut tx).await;
        tx.commit().await.expect("commit");
        out
    })
}

/// One text out of the database.
pub fn one(s: &Server, sql: &str) -> Option<String> {
    in_db(s, async |tx| tx.first(sql, &[], |r| r.take::<String>()).await.expect("a query"))
}

/// How many rows a table holds under a condition.
pub fn count(s: &Server, from: &str) -> usize {
    in_db(s, async |tx| tx.all(&format!("SELECT 1 FROM {from}"), &[]).await.expect("a query").len())
}

/// A user whose password is `pw`.
pub fn user(s: &Server, name: &str, domain: &str) -> String {
    let id = vicar::ids::uuid();
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    let hash = rt.block_on(s.app.passwords.hash("pw")).expect("a hash");
    in_db(s, async |tx| {
        tx.run(
            &System::CommandLine,
            "INSERT INTO \"user\" (id, extra, enabled, default_project_id, created_at, domain_id)
             VALUES (?, '{}', ?, NULL, ?, ?)",
            args![&id, true, DateTime(START), domain],
        )
        .await
        .expect("user");
        tx.run(
            &System::CommandLine,
            "INSERT INTO local_user (user_id, domain_id, name, failed_auth_count) VALUES (?, ?, ?, 0)",
            args![&id, domain, name],
        )
        .await
        .expect("local user");
        let local: Vec<i64> =
            tx.column("SELECT id FROM local_user WHERE user_id = ?", args![&id]).await.expect("its id");
        tx.run(
            &System::CommandLine,
            "INSERT INTO password (local_user_id, self_service, password_hash, created_at_int, created_at)
             VALUES (?, ?, ?, ?, ?)",
            args![local[0], false, &hash, START, DateTime(START)],
        )
        .await
        .expect("password");
    });
    id
}

/// A grant: kind as in the table (`UserProject`, `GroupDomain`, …).
pub fn grant(s: &Server, kind: &str, actor: &str, target: &str, role: &str, inherited: bool) {
    in_db(s, async |tx| {
        tx.run(
            &System::CommandLine,
            "INSERT INTO assignment (type, actor_id, target_id, role_id, inherited)
             SELECT ?, ?, ?, id, ? FROM role WHERE name = ?",
            args![kind, actor, target, inherited, role],
        )
        .await
        .expect("grant");
    });
}

/// A group with one member.
pub fn group_of(s: &Server, member: &str, domain: &str) -> String {
    let id = vicar::ids::uuid();
    in_db(s, async |tx| {
        tx.run(
            &System::CommandLine,
            "INSERT INTO \"group\" (id, domain_id, name, description, extra) VALUES (?, ?, ?, '', '{}')",
            args![&id, domain, &id],
        )
        .await
        .expect("group");
        tx.run(
            &System::CommandLine,
            "INSERT INTO user_group_membership (user_id, group_id) VALUES (?, ?)",
            args![member, &id],
        )
        .await
        .expect("membership");
    });
    id
}

/// A login by id with `pw`.
#[track_caller]
pub fn token(s: &Server, user: &str, scope: Value) -> String {
    let mut auth =
        json!({"identity": {"methods": ["password"], "password": {"user": {"id": user, "password": "pw"}}}});
    if !scope.is_null() {
        auth["scope"] = scope;
    }
    s.auth(auth).expect(201).token()
}

/// A user who holds a role on a domain, and his token there.
#[track_caller]
pub fn on_domain(s: &Server, name: &str, role: &str, domain: &str) -> String {
    let id = user(s, name, domain);
    grant(s, "UserDomain", &id, domain, role, false);
    token(s, &id, json!({"domain": {"id": domain}}))
}

/// A user who holds a role on a project, and his token there.
#[track_caller]
pub fn on_project(s: &Server, name: &str, role: &str, project: &str) -> String {
    let id = user(s, name, "default");
    grant(s, "UserProject", &id, project, role, false);
    token(s, &id, json!({"project": {"id": project}}))
}

/// The names of a list's items.
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
