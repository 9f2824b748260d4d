//! What an empty database needs to be of use: domain Default, the roles with what they imply, an
//! administrator with a project, the region, and the identity service itself.

use serde_json::json;
use vicar_rules::Micros;
use vicar_rules::revocation::Event;

use crate::app::App;
use crate::args;
use crate::clock::SECOND;
use crate::error::Result;
use crate::facts::{self, NO_DOMAIN};
use crate::ids;
use crate::store::migrate::ROOT_DOMAIN;
use crate::store::{DateTime, Tx, WriteTx};
use crate::system::System;

/// Names and addresses of the first objects.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The administrator's name.
    pub username: String,
    /// His password.
    pub password: String,
    /// His project.
    pub project: String,
    /// The role that he gets.
    pub role: String,
    /// The identity service's name.
    pub service: String,
    /// The region.
    pub region: Option<String>,
    /// Endpoints: interface and URL.
    pub endpoints: Vec<(&'static str, String)>,
}

impl Plan {
    /// The usual names, for a server that is reached at `url` (without `/v3`).
    pub fn usual(password: String, url: &str) -> Self {
        let v3 = format!("{url}/v3");
        Self {
            username: "admin".into(),
            password,
            project: "admin".into(),
            role: "admin".into(),
            service: "keystone".into(),
            region: Some("RegionOne".into()),
            endpoints: ["public", "internal", "admin"].map(|i| (i, v3.clone())).into(),
        }
    }
}

/// The roles that Keystone knows by name, and what each implies.
const ROLES: [(&str, Option<&str>); 5] = [
    ("reader", None),
    ("member", Some("reader")),
    ("manager", Some("member")),
    ("admin", Some("manager")),
    ("service", None),
];

/// `role_option` of a role that may be neither changed nor deleted.
const IMMUTABLE: &str = "IMMU";

/// Is there nothing in the database yet?
pub async fn is_needed(tx: &mut Tx) -> Result<bool> {
    Ok(!tx.exists("SELECT id FROM project WHERE id <> ?", args![ROOT_DOMAIN]).await?)
}

/// Creates what is not there; what is there stays, except that the administrator gets the password and
/// is enabled and unlocked, and that the endpoints get the URLs.
pub async fn run(app: &App, plan: &Plan) -> Result<()> {
    let now = app.clock.now();
    let default = app.config.default_domain_id.clone();
    let hash = new_hash(app, plan, &default).await?;
    let mut tx = app.store.write().await?;
    insert_project(&mut tx, &default, "Default", "The default domain", ROOT_DOMAIN, None, true).await?;
    let project = match tx
        .first(
            "SELECT id FROM project WHERE name = ? AND domain_id = ?",
            args![&plan.project, &default],
            |r| r.take::<String>(),
        )
        .await?
    {
        Some(id) => id,
        None => {
            let id = ids::uuid();
            let text = "Bootstrap project for initializing the cloud.";
            insert_project(&mut tx, &id, &plan.project, text, &default, Some(&default), false).await?;
            id
        }
    };
    for (name, implied) in ROLES {
        let id = role(&mut tx, name).await?;
        if let Some(implied) = implied {
            let implied = role(&mut tx, implied).await?;
            insert_once(
                &mut tx,
                "SELECT prior_role_id FROM implied_role WHERE prior_role_id = ? AND implied_role_id = ?",
                "INSERT INTO implied_role (prior_role_id, implied_role_id) VALUES (?, ?)",
                args![&id, implied],
            )
            .await?;
        }
    }
    let user = user(&mut tx, plan, &default, hash.as_deref(), now).await?;
    let role = role(&mut tx, &plan.role).await?;
    insert_once(
        &mut tx,
        "SELECT type FROM assignment WHERE type = ? AND actor_id = ? AND target_id = ? AND role_id = ? AND inherited = ?",
        "INSERT INTO assignment (type, actor_id, target_id, role_id, inherited) VALUES (?, ?, ?, ?, ?)",
        args!["UserProject", &user, &project, &role, false],
    )
    .await?;
    insert_once(
        &mut tx,
        "SELECT type FROM system_assignment
          WHERE type = ? AND actor_id = ? AND target_id = ? AND role_id = ? AND inherited = ?",
        "INSERT INTO system_assignment (type, actor_id, target_id, role_id, inherited) VALUES (?, ?, ?, ?, ?)",
        args!["UserSystem", &user, "system", &role, false],
    )
    .await?;
    catalog(&mut tx, plan).await?;
    tx.commit().await?;
    Ok(())
}

async fn insert_once(tx: &mut WriteTx, look: &str, insert: &str, args: &[crate::store::Value]) -> Result<()> {
    if !tx.exists(look, args).await? {
        tx.run(&System::Bootstrap, insert, args).await?;
    }
    Ok(())
}

async fn insert_project(
    tx: &mut WriteTx,
    id: &str,
    name: &str,
    description: &str,
    domain: &str,
    parent: Option<&str>,
    is_domain: bool,
) -> Result<()> {
    if !tx.exists("SELECT id FROM project WHERE id = ?", args![id]).await? {
        tx.run(
            &System::Bootstrap,
            "INSERT INTO project (id, name, extra, description, enabled, domain_id, parent_id, is_domain)
             VALUES (?, ?, '{}', ?, ?, ?, ?, ?)",
            args![id, name, description, true, domain, parent, is_domain],
        )
        .await?;
    }
    Ok(())
}

async fn role(tx: &mut WriteTx, name: &str) -> Result<String> {
    let found = tx
        .first("SELECT id FROM role WHERE name = ? AND domain_id = ?", args![name, NO_DOMAIN], |r| r.take())
        .await?;
    if let Some(id) = found {
        return Ok(id);
    }
    let id = ids::uuid();
    tx.run(
        &System::Bootstrap,
        "INSERT INTO role (id, name, extra, domain_id, description) VALUES (?, ?, '{}', ?, NULL)",
        args![&id, name, NO_DOMAIN],
    )
    .await?;
    tx.run(
        &System::Bootstrap,
        "INSERT INTO role_option (role_id, option_id, option_value) VALUES (?, ?, 'true')",
        args![&id, IMMUTABLE],
    )
    .await?;
    Ok(id)
}

/// The password's hash; nothing when it is the administrator's already. Doing it all again shall not end
/// his sessions.
async fn new_hash(app: &App, plan: &Plan, domain: &str) -> Result<Option<String>> {
    let mut tx = app.store.read().await?;
    let current: Option<String> = tx
        .first(
            "SELECT p.password_hash FROM password p JOIN local_user l ON l.id = p.local_user_id
              WHERE l.name = ? AND l.domain_id = ? ORDER BY p.created_at_int DESC, p.id DESC",
            args![&plan.username, domain],
            |r| r.take::<Option<String>>(),
        )
        .await?
        .flatten();
    drop(tx);
    if let Some(current) = current
        && app.passwords.verify(&plan.password, Some(&current)).await?
    {
        return Ok(None);
    }
    app.passwords.hash(&plan.password).await.map(Some)
}

async fn user(
    tx: &mut WriteTx,
    plan: &Plan,
    domain: &str,
    hash: Option<&str>,
    now: Micros,
) -> Result<String> {
    let found: Option<(String, i64)> = tx
        .first(
            "SELECT user_id, id FROM local_user WHERE name = ? AND domain_id = ?",
            args![&plan.username, domain],
            |r| Ok((r.take()?, r.take()?)),
        )
        .await?;
    let (id, local) = match found {
        Some((id, local)) => {
            // The way back in for an operator who locked himself out.
            tx.run(&System::Bootstrap, "UPDATE \"user\" SET enabled = ? WHERE id = ?", args![true, &id])
                .await?;
            tx.run(
                &System::Bootstrap,
                "UPDATE local_user SET failed_auth_count = 0, failed_auth_at = NULL WHERE id = ?",
                args![local],
            )
            .await?;
            if hash.is_some() {
                // What the old password opened is shut.
                let event = Event { user: Some(id.clone()), issued_before: now, ..Event::default() };
                facts::revoke(tx, &System::Bootstrap, event).await?;
            }
            (id, local)
        }
        None => {
            let id = ids::uuid();
            tx.run(
                &System::Bootstrap,
                "INSERT INTO \"user\" (id, extra, enabled, default_project_id, created_at, domain_id)
                 VALUES (?, '{}', ?, NULL, ?, ?)",
                args![&id, true, DateTime(now), domain],
            )
            .await?;
            tx.run(
                &System::Bootstrap,
                "INSERT INTO local_user (user_id, domain_id, name, failed_auth_count) VALUES (?, ?, ?, 0)",
                args![&id, domain, &plan.username],
            )
            .await?;
            let local = tx
                .first("SELECT id FROM local_user WHERE user_id = ?", args![&id], |r| r.take::<i64>())
                .await?
                .unwrap_or_default();
            (id, local)
        }
    };
    let Some(hash) = hash else {
        return Ok(id);
    };
    tx.run(&System::Bootstrap, "DELETE FROM password WHERE local_user_id = ?", args![local]).await?;
    tx.run(
        &System::Bootstrap,
        "INSERT INTO password (local_user_id, self_service, password_hash, created_at_int, created_at)
         VALUES (?, ?, ?, ?, ?)",
        args![local, false, hash, now, DateTime(now / SECOND * SECOND)],
    )
    .await?;
    Ok(id)
}

async fn catalog(tx: &mut WriteTx, plan: &Plan) -> Result<()> {
    if let Some(region) = &plan.region {
        insert_once(
            tx,
            "SELECT id FROM region WHERE id = ?",
            "INSERT INTO region (id, description, parent_region_id, extra) VALUES (?, '', NULL, '{}')",
            args![region],
        )
        .await?;
    }
    if plan.endpoints.is_empty() {
        return Ok(());
    }
    let service = match tx.first("SELECT id FROM service WHERE type = 'identity'", &[], |r| r.take()).await? {
        Some(id) => id,
        None => {
            let id = ids::uuid();
            tx.run(
                &System::Bootstrap,
                "INSERT INTO service (id, type, enabled, extra) VALUES (?, 'identity', ?, ?)",
                args![&id, true, json!({"name": plan.service}).to_string()],
            )
            .await?;
            id
        }
    };
    for (interface, url) in &plan.endpoints {
        let found: Option<String> = tx
            .first(
                "SELECT id FROM endpoint WHERE service_id = ? AND interface = ? AND COALESCE(region_id, '') = ?",
                args![&service, *interface, plan.region.clone().unwrap_or_default()],
                |r| r.take(),
            )
            .await?;
        match found {
            Some(id) => {
                tx.run(&System::Bootstrap, "UPDATE endpoint SET url = ? WHERE id = ?", args![url, id])
                    .await?;
            }
            None => {
                tx.run(
                    &System::Bootstrap,
                    "INSERT INTO endpoint (id, interface, service_id, url, extra, enabled, region_id)
                     VALUES (?, ?, ?, ?, '{}', ?, ?)",
                    args![ids::uuid(), *interface, &service, url, true, plan.region.as_deref()],
                )
                .await?;
            }
        }
    }
    Ok(())
}
