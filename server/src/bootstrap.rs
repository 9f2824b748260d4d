//! What an empty database needs to be of use: domain Default, the roles with what they imply, an
//! administrator with a project, the region, and the identity service itself.

use serde_json::json;
use vicar_rules::Micros;
use vicar_rules::revocation::Event;

use crate::app::App;
use crate::args;
use crate::clock::SECOND;
use crate::error::{Error, Result};
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
    /// Their password. Without one, the administrator must be there, and stays as they are.
    pub password: Option<String>,
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
    /// Whether roles that are made here may be neither changed nor deleted.
    pub immutable_roles: bool,
    /// Whether region and endpoints are all that this is about.
    pub only_catalog: bool,
}

/// An endpoint of the identity service, as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The interface.
    pub interface: &'static str,
    /// The URL.
    pub url: String,
    /// The region.
    pub region: Option<String>,
    /// Where it was before; nothing if there was none.
    pub before: Option<String>,
}

/// What the catalog has after a run.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// The endpoints that were asked for.
    pub endpoints: Vec<Placed>,
    /// The regions of all public endpoints of the identity service.
    pub regions: Vec<Option<String>>,
}

impl Plan {
    /// The usual names, for a server that is reached at `url` (without `/v3`).
    pub fn usual(password: String, url: &str) -> Self {
        let v3 = format!("{url}/v3");
        Self {
            username: "admin".into(),
            password: Some(password),
            project: "admin".into(),
            role: "admin".into(),
            service: "keystone".into(),
            region: Some("RegionOne".into()),
            endpoints: ["public", "internal", "admin"].map(|i| (i, v3.clone())).into(),
            immutable_roles: true,
            only_catalog: false,
        }
    }
}

/// The roles that Keystone knows by name, and what each implies; `None` is the administrator's.
const ROLES: [(Option<&str>, Option<&str>); 5] = [
    (Some("reader"), None),
    (Some("member"), Some("reader")),
    (Some("manager"), Some("member")),
    (None, Some("manager")),
    (Some("service"), None),
];

/// `role_option` of a role that may be neither changed nor deleted.
const IMMUTABLE: &str = "IMMU";

/// Whether there is nothing in the database yet.
pub async fn is_needed(tx: &mut Tx) -> Result<bool> {
    Ok(!tx.exists("SELECT id FROM project WHERE id <> ?", args![Id(ROOT_DOMAIN)]).await?)
}

/// Creates what is not there; what is there stays, except that endpoints get the URLs, and that an administrator for
/// whom there is a password gets it, and is enabled and unlocked.
///
/// # Errors
/// 400 with a sentence for the operator when it is not clear what is meant; nothing has changed then.
pub async fn run(app: &App, plan: &Plan) -> Result<Outcome> {
    let hash = new_hash(app, plan, &app.config.default_domain_id).await?;
    let mut tx = app.store.write().await?;
    if !plan.only_catalog {
        objects(&mut tx, app, plan, hash.as_deref()).await?;
    }
    let outcome = catalog(&mut tx, plan).await?;
    tx.commit().await?;
    Ok(outcome)
}

/// Moves the identity service's public endpoint to `url`, and with it those of other interfaces that were the same.
/// Returns nothing if it is there already.
///
/// # Errors
/// As [`run`]: there are several regions.
pub async fn move_to(app: &App, url: &str) -> Result<Option<Outcome>> {
    let found = {
        let mut tx = app.store.read().await?;
        let Some(service) = identity_service(&mut tx).await? else { return Ok(None) };
        endpoints(&mut tx, &service).await?
    };
    let public: Vec<&Endpoint> = found.iter().filter(|e| e.interface == "public").collect();
    let place = |url: &str| {
        let whole = url.trim_end_matches('/');
        whole.strip_suffix("/v3").unwrap_or(whole).to_owned()
    };
    if public.iter().any(|e| place(&e.url) == place(url)) {
        return Ok(None);
    }
    let same = |interface: &str| {
        let mut of = found.iter().filter(|e| e.interface == interface);
        interface == "public" || of.any(|e| public.iter().any(|p| p.url == e.url))
    };
    let moved = ["public", "internal", "admin"].into_iter().filter(|interface| same(interface));
    let plan = Plan {
        password: None,
        region: None,
        endpoints: moved.map(|interface| (interface, url.to_owned())).collect(),
        only_catalog: true,
        ..Plan::usual(String::new(), url)
    };
    run(app, &plan).await.map(Some)
}

async fn objects(tx: &mut WriteTx, app: &App, plan: &Plan, hash: Option<&str>) -> Result<()> {
    let now = app.clock.now();
    let default = app.config.default_domain_id.clone();
    insert_project(tx, &default, "Default", "The default domain", ROOT_DOMAIN, None, true).await?;
    let user = user(tx, plan, &default, hash, now).await?;
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
            insert_project(tx, &id, &plan.project, text, &default, Some(&default), false).await?;
            id
        }
    };
    for (name, implied) in ROLES {
        let id = role(tx, plan, name.unwrap_or(&plan.role)).await?;
        if let Some(implied) = implied {
            let implied = role(tx, plan, implied).await?;
            insert_once(
                tx,
                "SELECT prior_role_id FROM implied_role WHERE prior_role_id = ? AND implied_role_id = ?",
                args![Id(&id), Id(&implied)],
                Insert::into("implied_role").set("prior_role_id", &id).set("implied_role_id", &implied),
            )
            .await?;
        }
    }
    let role = role(tx, plan, &plan.role).await?;
    for (table, kind, target) in
        [("assignment", "UserProject", project.as_str()), ("system_assignment", "UserSystem", "system")]
    {
        insert_once(
            tx,
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

async fn role(tx: &mut WriteTx, plan: &Plan, name: &str) -> Result<String> {
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
    if !plan.immutable_roles {
        return Ok(id);
    }
    let immutable = Insert::into("role_option")
        .set("role_id", &id)
        .set("option_id", IMMUTABLE)
        .set("option_value", "true");
    tx.execute(&System::Bootstrap, &immutable).await?;
    Ok(id)
}

/// The password's hash; nothing when there is none, or when it is the administrator's already. Doing it all again shall
/// not end their sessions.
async fn new_hash(app: &App, plan: &Plan, domain: &str) -> Result<Option<String>> {
    let Some(password) = &plan.password else { return Ok(None) };
    let mut tx = app.store.read().await?;
    let current = current_hash(&mut tx, plan, domain).await?;
    drop(tx);
    if let Some(current) = current
        && app.passwords.verify(password, Some(&current)).await?
    {
        return Ok(None);
    }
    app.passwords.hash(password).await.map(Some)
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
        Some((id, _)) if plan.password.is_none() => return Ok(id),
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
        None if plan.password.is_none() => {
            return Err(Error::BadRequest(format!(
                "there is no user {} in the default domain; a new administrator needs a password",
                plan.username
            )));
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

/// An endpoint of the identity service.
struct Endpoint {
    id: String,
    interface: String,
    url: String,
    region: Option<String>,
}

async fn identity_service(tx: &mut Tx) -> Result<Option<String>> {
    Ok(tx.first("SELECT id FROM service WHERE type = 'identity' ORDER BY id", &[], |r| r.take()).await?)
}

async fn endpoints(tx: &mut Tx, service: &str) -> Result<Vec<Endpoint>> {
    Ok(tx
        .map(
            "SELECT id, interface, url, region_id FROM endpoint WHERE service_id = ? ORDER BY id",
            args![Id(service)],
            |r| Ok(Endpoint { id: r.take()?, interface: r.take()?, url: r.take()?, region: r.take()? }),
        )
        .await?)
}

async fn catalog(tx: &mut WriteTx, plan: &Plan) -> Result<Outcome> {
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
        return Ok(Outcome::default());
    }
    let service = match identity_service(tx).await? {
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
    let found = endpoints(tx, &service).await?;
    let mut outcome = Outcome::default();
    for (interface, url) in &plan.endpoints {
        outcome.endpoints.extend(place(tx, plan, &service, &found, interface, url).await?);
    }
    let public = endpoints(tx, &service).await?.into_iter().filter(|e| e.interface == "public");
    outcome.regions = public.map(|e| e.region).collect();
    Ok(outcome)
}

/// Sets the URL of an interface's endpoint, or creates one.
async fn place(
    tx: &mut WriteTx,
    plan: &Plan,
    service: &str,
    found: &[Endpoint],
    interface: &'static str,
    url: &str,
) -> Result<Vec<Placed>> {
    let named = plan.region.as_deref();
    let here = |e: &&Endpoint| named.is_none() || e.region.as_deref() == named;
    let these: Vec<&Endpoint> = found.iter().filter(|e| e.interface == interface).filter(here).collect();
    let mut regions: Vec<Option<&str>> = these.iter().map(|e| e.region.as_deref()).collect();
    regions.sort_unstable();
    regions.dedup();
    if regions.len() > 1 {
        return Err(which_region(&format!("the catalog has {interface} endpoints in"), &regions));
    }
    let mut placed = Vec::new();
    for endpoint in these {
        if endpoint.url != url {
            let moved = Update::of("endpoint").set("url", url).key("id", &endpoint.id);
            tx.execute(&System::Bootstrap, &moved).await?;
        }
        placed.push(Placed {
            interface,
            url: url.to_owned(),
            region: endpoint.region.clone(),
            before: Some(endpoint.url.clone()),
        });
    }
    if placed.is_empty() {
        let region = match named {
            Some(region) => Some(region.to_owned()),
            None => only_region(tx, found).await?,
        };
        let endpoint = Insert::into("endpoint")
            .set("id", ids::uuid())
            .set("interface", interface)
            .set("service_id", service)
            .set("url", url)
            .set("extra", "{}")
            .set("enabled", true)
            .set("region_id", region.as_deref());
        tx.execute(&System::Bootstrap, &endpoint).await?;
        placed.push(Placed { interface, url: url.to_owned(), region, before: None });
    }
    Ok(placed)
}

/// The region of a new endpoint when none is named: that of the service's other endpoints, else the only one there is.
async fn only_region(tx: &mut Tx, found: &[Endpoint]) -> Result<Option<String>> {
    let mut regions: Vec<Option<String>> = found.iter().map(|e| e.region.clone()).collect();
    if regions.is_empty() {
        regions = tx.column("SELECT id FROM region ORDER BY id", &[]).await?.into_iter().map(Some).collect();
    }
    regions.sort_unstable();
    regions.dedup();
    match regions.as_slice() {
        [] => Ok(None),
        [one] => Ok(one.clone()),
        several => {
            let several: Vec<Option<&str>> = several.iter().map(Option::as_deref).collect();
            Err(which_region("there are", &several))
        }
    }
}

fn which_region(there_are: &str, regions: &[Option<&str>]) -> Error {
    let names: Vec<&str> = regions.iter().map(|r| r.unwrap_or("(no region)")).collect();
    Error::BadRequest(format!(
        "{there_are} several regions ({}): say which one is meant with --bootstrap-region-id",
        names.join(", ")
    ))
}
