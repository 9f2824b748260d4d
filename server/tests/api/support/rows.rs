//! Rows written straight to the database, so that a test of one area does not depend on the HTTP of
//! another, and looks at what is stored.

use vicar::args;
use vicar::store::{DateTime, Value, WriteTx};
use vicar::system::System;

use super::{START, Server};

/// Runs something in a writing transaction and commits it.
pub fn in_db<T>(s: &Server, work: impl AsyncFnOnce(&mut WriteTx) -> T) -> T {
    s.runtime.block_on(async {
        let mut tx = s.app.store.write().await.expect("a transaction");
        let out = work(&mut tx).await;
        tx.commit().await.expect("a commit");
        out
    })
}

/// Runs several statements in one transaction.
pub fn in_database(s: &Server, statements: &[(&str, &[Value])]) {
    in_db(s, async |tx| {
        for (sql, args) in statements {
            tx.raw(&System::CommandLine, sql, args).await.expect(sql);
        }
    });
}

/// The first column of the first row.
pub fn one(s: &Server, sql: &str) -> Option<String> {
    s.sql_text(sql, &[])
}

/// Arguments that are compared byte by byte on every engine.
fn exact(args: &[Value]) -> Vec<Value> {
    args.iter().cloned().map(Value::into_id).collect()
}

/// How many rows a query finds.
pub fn count(s: &Server, sql: &str, args: &[Value]) -> usize {
    s.runtime.block_on(async {
        let mut tx = s.app.store.read().await.expect("a transaction");
        tx.all(sql, &exact(args)).await.expect(sql).len()
    })
}

/// An enabled domain with this id, which is its name too.
pub fn domain(s: &Server, id: &str) {
    s.insert_project(id, id, "<<keystone.domain.root>>", None, true);
}

impl Server {
    /// Changes rows behind the server's back.
    pub fn sql_run(&self, sql: &str, args: &[Value]) {
        in_database(self, &[(sql, args)]);
    }

    /// The first column of the first row, as a string.
    pub fn sql_text(&self, sql: &str, args: &[Value]) -> Option<String> {
        self.runtime.block_on(async {
            let mut tx = self.app.store.read().await.expect("a transaction");
            match tx.first(sql, &exact(args), |r| r.take::<Value>()).await.expect(sql)? {
                Value::Null => None,
                Value::Int(n) => Some(n.to_string()),
                Value::Bool(b) => Some(u8::from(b).to_string()),
                Value::DateTime(at) => Some(vicar::clock::sql_datetime(at)),
                Value::Text(t) | Value::Id(t) | Value::Date(t) => Some(t),
            }
        })
    }

    fn insert_project(&self, id: &str, name: &str, domain: &str, parent: Option<&str>, is_domain: bool) {
        self.sql_run(
            "INSERT INTO project (id, name, extra, description, enabled, domain_id, parent_id, is_domain)
             VALUES (?, ?, '{}', '', ?, ?, ?, ?)",
            args![id, name, true, domain, parent, is_domain],
        );
    }

    /// A domain; returns its id.
    pub fn domain(&self, name: &str) -> String {
        let id = vicar::ids::uuid();
        self.insert_project(&id, name, "<<keystone.domain.root>>", None, true);
        id
    }

    /// A project in a domain, below another or below the domain.
    pub fn project_below(&self, name: &str, domain: &str, parent: Option<&str>) -> String {
        let id = vicar::ids::uuid();
        self.insert_project(&id, name, domain, Some(parent.unwrap_or(domain)), false);
        id
    }

    /// A project in the default domain.
    pub fn project(&self, name: &str) -> String {
        self.project_below(name, "default", None)
    }

    /// A user in a domain, who has had this password since 2026.
    pub fn user_with(&self, name: &str, domain: &str, password: &str) -> String {
        let id = vicar::ids::uuid();
        let hash = bcrypt::hash(password, 4).expect("a hash");
        in_database(
            self,
            &[
                (
                    "INSERT INTO \"user\" (id, extra, enabled, default_project_id, created_at, domain_id)
                     VALUES (?, '{}', ?, NULL, ?, ?)",
                    args![&id, true, DateTime(START), domain],
                ),
                (
                    "INSERT INTO local_user (user_id, domain_id, name, failed_auth_count) VALUES (?, ?, ?, 0)",
                    args![&id, domain, name],
                ),
                (
                    "INSERT INTO password (local_user_id, self_service, password_hash, created_at_int, created_at)
                     SELECT id, ?, ?, 1, '2026-01-01 00:00:00' FROM local_user WHERE user_id = ?",
                    args![false, hash, &id],
                ),
            ],
        );
        id
    }

    /// A user in a domain, whose password is the name with `-pw`.
    pub fn user_in(&self, name: &str, domain: &str) -> String {
        self.user_with(name, domain, &format!("{name}-pw"))
    }

    /// The same in the default domain.
    pub fn user(&self, name: &str) -> String {
        self.user_in(name, "default")
    }

    /// A group in a domain, with members.
    pub fn group(&self, name: &str, domain: &str, members: &[&str]) -> String {
        let id = vicar::ids::uuid();
        self.sql_run(
            "INSERT INTO \"group\" (id, domain_id, name, description, extra) VALUES (?, ?, ?, '', '{}')",
            args![&id, domain, name],
        );
        for user in members {
            self.sql_run(
                "INSERT INTO user_group_membership (user_id, group_id) VALUES (?, ?)",
                args![*user, &id],
            );
        }
        id
    }

    /// A role's id by name; it is made when it is not there.
    pub fn role(&self, name: &str) -> String {
        let find = || self.sql_text("SELECT id FROM role WHERE name = ?", args![name]);
        find().unwrap_or_else(|| {
            self.sql_run(
                "INSERT INTO role (id, name, extra, domain_id) VALUES (?, ?, '{}', '<<null>>')",
                args![vicar::ids::uuid(), name],
            );
            find().expect("just made")
        })
    }

    /// A grant of any kind: as in the tables (`UserProject`, `GroupDomain`, `UserSystem`, …).
    pub fn assign(&self, kind: &str, actor: &str, target: &str, role: &str, inherited: bool) {
        let table = if kind.ends_with("System") { "system_assignment" } else { "assignment" };
        self.sql_run(
            &format!(
                "INSERT INTO {table} (type, actor_id, target_id, role_id, inherited) VALUES (?, ?, ?, ?, ?)"
            ),
            args![kind, actor, target, self.role(role), inherited],
        );
    }

    /// A role of a user on a project.
    pub fn grant(&self, user: &str, project: &str, role: &str) {
        self.assign("UserProject", user, project, role, false);
    }
}

/// The turn to write, held as another replica would: every write of the server waits for it.
pub struct Writer {
    tx: WriteTx,
    runtime: tokio::runtime::Handle,
}

impl Server {
    /// Takes the turn to write.
    pub fn hold_writer(&self) -> Writer {
        let other = self.another_store();
        let tx = self.runtime.block_on(other.write()).expect("nobody else writes");
        Writer { tx, runtime: self.runtime.clone() }
    }
}

impl Writer {
    /// Changes rows in the transaction that is held.
    pub fn run(&mut self, sql: &str, args: &[Value]) {
        self.runtime.block_on(self.tx.raw(&System::CommandLine, sql, args)).expect(sql);
    }

    /// Commits, and lets the server write.
    pub fn release(self) {
        self.runtime.block_on(self.tx.commit()).expect("a commit");
    }
}
