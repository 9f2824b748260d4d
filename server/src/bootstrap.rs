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
use crate::store::{DateTime, Delete, Id, Insert, Tx, Update, Value, WriteTx};
use crate::system::System;

/// Names and addresses of the first objects.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The administrator's name.
    pub username: String,
    /// Their password.
    pub password: String,
    /// Their project.
    pub project: String,
    /// The role that they get.
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

/// Whether there is nothing in the database yet.
pub async fn is_needed(tx: &mut Tx) -> Result<bool> {
    Ok(!tx.exists("SELECT id FROM project WHERE id <> ?", args![Id(ROOT_DOMAIN)]).await?)
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
            args![&plan.project, Id(&default)],
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
                args![Id(&id), Id(&implied)],
                Insert::into("implied_role").set("prior_role_id", &id).set("implied_role_id", &implied),
            )
            .await?;
        }
    }
    let user = user(&mut tx, plan, &default, hash.as_deref(), now).await?;
    let role = role(&mut tx, &plan.role).await?;
    for (table, kind, target) in
        [("assignment", "UserProject", project.as_str()), ("system_assignment", "UserSystem", "system")]
    {
        insert_once(
            &mut tx,
            &format!(
                "SELECT type FROM {table}
                  WHERE type = ? AND actor_id = ? AND target_id = ? AND role_id = ? AND inherited = ?"
            ),
            args![Id(kind), Id(&user), Id(target), Id(&role), false],
            Insert::into(table)
                .set("type", kind)
                .set("actor_id", &user)
                .set("target_id", target)
                .set("role_id", &role)
                .set("inherited", false),
        )
        .await?;
    }
    catalog(&mut tx, plan).await?;
    tx.commit().await?;
    Ok(())
}

/// Runs a statement unless a query finds a row.
async fn insert_once(tx: &mut WriteTx, found_by: &str, args: &[Value], insert: Insert) -> Result<()> {
    if !tx.exists(found_by, args).await? {
        tx.execute(&System::Bootstrap, &insert).await?;
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
    let project = Insert::into("project")
        .set("id", id)
        .set("name", name)
        .set("extra", "{}")
        .set("description", description)
        .set("enabled", true)
        .set("domain_id", domain)
        .set("parent_id", parent)
        .set("is_domain", is_domain);
    insert_once(tx, "SELECT id FROM project WHERE id = ?", args![Id(id)], project).await
}

async fn role(tx: &mut WriteTx, name: &str) -> Result<String> {
    let found = tx
        .first("SELECT id FROM role WHERE name = ? AND domain_id = ?", args![name, Id(NO_DOMAIN)], |r| {
            r.take()
        })
        .await?;
    if let Some(id) = found {
        return Ok(id);
    }
    let id = ids::uuid();
    let role = Insert::into("role")
        .set("id", &id)
        .set("name", name)
        .set("extra", "{}")
        .set("domain_id", NO_DOMAIN)
        .set("description", Value::Null);
    tx.execute(&System::Bootstrap, &role).await?;
    let immutable = Insert::into("role_option")
        .set("role_id", &id)
        .set("option_id", IMMUTABLE)
        .set("option_value", "true");
    tx.execute(&System::Bootstrap, &immutable).await?;
    Ok(id)
}

/// The password's hash; nothing when it is the administrator's already. Doing it all again shall not end
/// their sessions.
async fn new_hash(app: &App, plan: &Plan, domain: &str) -> Result<Option<String>> {
    let mut tx = app.store.read().await?;
    let current = current_hash(&mut tx, plan, domain).await?;
    drop(tx);
    if let Some(current) = current
        && app.passwords.verify(&plan.password, Some(&current)).await?
    {
        return Ok(None);
    }
    app.passwords.hash(&plan.password).await.map(Some)
}

/// The hash of the administrator's password, if they have one.
///
/// # Errors
/// When the database is away.
pub async fn current_hash(tx: &mut Tx, plan: &Plan, domain: &str) -> Result<Option<String>> {
    Ok(tx
        .first(
            "SELECT p.password_hash FROM password p JOIN local_user l ON l.id = p.local_user_id
              WHERE l.name = ? AND l.domain_id = ? ORDER BY p.created_at_int DESC, p.id DESC",
            args![&plan.username, Id(domain)],
            |r| r.take::<Option<String>>(),
        )
        .await?
        .flatten())
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
            args![&plan.username, Id(domain)],
            |r| Ok((r.take()?, r.take()?)),
        )
        .await?;
    let (id, local) = match found {
        Some((id, local)) => {
            // The way back in for an operator who is locked out.
            tx.execute(&System::Bootstrap, &Update::of("user").set("enabled", true).key("id", &id)).await?;
            let unlocked = Update::of("local_user")
                .set("failed_auth_count", 0_i64)
                .set("failed_auth_at", Value::Null)
                .key("id", local);
            tx.execute(&System::Bootstrap, &unlocked).await?;
            if hash.is_some() {
                // What the old password opened is shut.
                let event = Event { user: Some(id.clone()), issued_before: now, ..Event::default() };
                facts::revoke(tx, &System::Bootstrap, event).await?;
            }
            (id, local)
        }
        None => {
            let id = ids::uuid();
            let user = Insert::into("user")
                .set("id", &id)
                .set("extra", "{}")
                .set("enabled", true)
                .set("default_project_id", Value::Null)
                .set("created_at", DateTime(now))
                .set("domain_id", domain);
            tx.execute(&System::Bootstrap, &user).await?;
            let name = Insert::into("local_user")
                .set("user_id", &id)
                .set("domain_id", domain)
                .set("name", &plan.username)
                .set("failed_auth_count", 0_i64);
            tx.execute(&System::Bootstrap, &name).await?;
            let local = tx
                .first("SELECT id FROM local_user WHERE user_id = ?", args![Id(&id)], |r| r.take::<i64>())
                .await?
                .unwrap_or_default();
            (id, local)
        }
    };
    let Some(hash) = hash else {
        return Ok(id);
    };
    tx.execute(&System::Bootstrap, &Delete::from("password").key("local_user_id", local)).await?;
    let password = Insert::into("password")
        .set("local_user_id", local)
        .set("self_service", false)
        .set("password_hash", hash)
        .set("created_at_int", now)
        .set("created_at", DateTime(now / SECOND * SECOND));
    tx.execute(&System::Bootstrap, &password).await?;
    Ok(id)
}

async fn catalog(tx: &mut WriteTx, plan: &Plan) -> Result<()> {
    if let Some(region) = &plan.region {
        insert_once(
            tx,
            "SELECT id FROM region WHERE id = ?",
            args![Id(region)],
            Insert::into("region")
                .set("id", region)
                .set("description", "")
                .set("parent_region_id", Value::Null)
                .set("extra", "{}"),
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
            let service = Insert::into("service")
                .set("id", &id)
                .set("type", "identity")
                .set("enabled", true)
                .set("extra", json!({"name": plan.service}).to_string());
            tx.execute(&System::Bootstrap, &service).await?;
            id
        }
    };
    for (interface, url) in &plan.endpoints {
        let found: Option<String> = tx
            .first(
                "SELECT id FROM endpoint WHERE service_id = ? AND interface = ? AND COALESCE(region_id, '') = ?",
                args![Id(&service), Id(*interface), Id(plan.region.clone().unwrap_or_default())],
                |r| r.take(),
            )
            .await?;
        match found {
            Some(id) => {
                let moved = Update::of("endpoint").set("url", url).key("id", id);
                tx.execute(&System::Bootstrap, &moved).await?;
            }
            None => {
                let endpoint = Insert::into("endpoint")
                    .set("id", ids::uuid())
                    .set("interface", *interface)
                    .set("service_id", &service)
                    .set("url", url)
                    .set("extra", "{}")
                    .set("enabled", true)
                    .set("region_id", plan.region.as_deref());
                tx.execute(&System::Bootstrap, &endpoint).await?;
            }
        }
    }
    Ok(())
}
