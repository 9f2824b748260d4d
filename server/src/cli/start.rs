//! What `serve` does before it serves: it opens an installation, initialises an empty one, and moves one to another
//! address.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::before::{self, Found};
use super::clouds::{self, Change, Login};
use super::config::Accept;
use super::failure::Failure;
use super::installation::{self, Installation};
use super::{doubts, files};
use crate::app::App;
use crate::bootstrap::{self, Plan};
use crate::config::{Config, Ini};
use crate::crypto::keys;
use crate::error::Error;
use crate::ids;
use crate::store::memory::{self, Journal};
use crate::store::url::{Location, Settings};
use crate::store::{Store, migrate};

/// The variables with the administrator's password. The first that is set counts; the second is an older name.
pub(super) const PASSWORDS: [&str; 2] = ["OS_BOOTSTRAP_PASSWORD", "VICAR_BOOTSTRAP_PASSWORD"];

/// The administrator's password, with the variable that it is given in.
pub(super) fn given_password() -> Option<(&'static str, String)> {
    PASSWORDS.into_iter().find_map(|name| {
        let value = std::env::var(name).ok().filter(|p| !p.is_empty())?;
        Some((name, value))
    })
}

/// How clients reach the server.
pub(super) struct Reached {
    /// Without `/v3`.
    pub(super) url: String,
    /// The file with the authority that they must be told of.
    pub(super) cacert: Option<String>,
}

/// A server that can be run.
pub(super) struct Started {
    pub(super) app: Arc<App>,
    /// What was made, when the database was empty.
    pub(super) first: Option<First>,
}

/// What a first start made.
pub(super) struct First {
    /// The administrator's password, unless it was given.
    pub(super) generated: Option<String>,
    /// The variable in which it was given.
    pub(super) given_in: Option<&'static str>,
}

/// Where a client's configuration lies after the first start.
pub(super) fn clouds_file(at: &Installation) -> PathBuf {
    files::absolute(&at.data_dir().join("clouds.yaml"))
}

/// Opens the installation; `reached` is what the catalog of a new one names. Whatever can be refused is, before the
/// database is touched; the schema is last.
pub(super) async fn start(
    at: &Installation,
    (ini, config): (&Ini, Config),
    accept: &Accept,
    reached: &Reached,
) -> Result<Started, Failure> {
    let looked = check(at, (ini, &config), accept, reached).await?;
    let open = async |database: &Settings| installation::open_or_create(at, database).await;
    let store = match looked {
        Some(store) => store,
        None => reach(&config.database, open).await?,
    };
    let app = App::new(config, store, installation::clock()).map_err(Failure::Config)?;
    if migrate::sync(&app.store, app.clock.now()).await? {
        tracing::info!(database = %app.config.database.location, "the schema was brought to the current version");
    }
    if app.config.remembers
        && let Journal::Impossible(why) = memory::install(&app.store).await?
    {
        tracing::warn!(
            why,
            "nothing is remembered between requests: the triggers of the journal cannot be made"
        );
    }
    tell_doubts(&app).await?;
    let first = if is_empty(&app).await? { Some(first_start(at, &app, reached).await?) } else { None };
    app.token_keys.current().map_err(|e| Failure::Keys(format!("token keys: {e}")))?;
    app.credential_keys.current().map_err(|e| Failure::Keys(format!("credential keys: {e}")))?;
    app.receipt_keys
        .current()
        .map_err(|e| Failure::Keys(format!("receipt keys: {e}; `vicar keys setup --receipt` makes them")))?;
    Ok(Started { app, first })
}

/// Checks all that a start needs; returns the database that was looked at, if it is on a server, where a connection is dear.
async fn check(
    at: &Installation,
    (ini, config): (&Ini, &Config),
    accept: &Accept,
    reached: &Reached,
) -> Result<Option<Store>, Failure> {
    check_data_directory(at, config)?;
    before::check_files(config)?;
    let store = match before::is_there(&config.database) {
        true => Some(reach(&config.database, before::look).await?),
        false => None,
    };
    let mut found = match &store {
        Some(store) => Found::of(store).await?,
        None => Found::NOTHING,
    };
    // A file is closed here, before it is opened to serve: locks of SQLite are those of the process, and whoever opens and
    // closes the file beside a connection takes them away from it. Another server on it would then remove the log as one that is not in use.
    let store = store.filter(|_| matches!(config.database.location, Location::Server(_)));
    found.check_left(ini, accept).await?;
    if !found.is_empty {
        before::check_keys(config)?;
        found.end().await;
        return Ok(store);
    }
    check_first_start(config)?;
    if let Some((_, password)) = given_password() {
        let plan = Plan::usual(password, &reached.url);
        found.check_password(config, &plan).await.map_err(of_password)?;
    }
    installation::make_data_directory(at.data_dir())?;
    let clients = ["clouds.yaml", "openrc"].map(|name| at.data_dir().join(name));
    let keys: Vec<_> = config.key_repositories().into_iter().map(|(_, dir)| dir.join("0")).collect();
    clients.iter().chain(&keys).try_for_each(|path| files::check_can_write(path))?;
    found.end().await;
    Ok(store)
}

/// Writes to the log what is configured and does not fit what is stored.
async fn tell_doubts(app: &App) -> Result<(), Failure> {
    let mut tx = app.store.read().await?;
    for (about, text) in doubts::stored(&mut tx, &app.config).await? {
        tracing::warn!(about, "configuration: {text}");
    }
    tx.end().await;
    Ok(())
}

async fn is_empty(app: &App) -> Result<bool, Failure> {
    let mut tx = app.store.read().await?;
    let is_needed = bootstrap::is_needed(&mut tx).await?;
    tx.end().await;
    Ok(is_needed)
}

/// Checks that the data directory, if anything is kept in it, is not one that other users can write to.
fn check_data_directory(at: &Installation, config: &Config) -> Result<(), Failure> {
    let file = match &config.database.location {
        Location::Sqlite(path) => Some(path),
        Location::Server(_) => None,
    };
    let mut kept = config.key_repositories().into_iter().map(|(_, dir)| dir).chain(file);
    for path in kept.clone() {
        // What we may not look at must not pass for what is not there.
        files::is_there(path)?;
        files::check_readable(path).map_err(Failure::Io)?;
    }
    if at.data_dir().is_dir() && kept.any(|path| path.starts_with(at.data_dir())) {
        files::check_directory(at.data_dir())?;
    }
    Ok(())
}

/// Checks what is there before a database without contents is filled: keys mean that there was a database, and
/// a file that other users can open is not one for secrets.
fn check_first_start(config: &Config) -> Result<(), Failure> {
    for (_, dir) in config.key_repositories() {
        files::is_there(dir)?;
        files::check_readable(dir).map_err(Failure::Io)?;
        if keys::files(dir).is_ok_and(|files| !files.is_empty()) {
            return Err(keys_without_database(dir, config));
        }
        if dir.is_dir() {
            files::check_directory(dir)?;
        }
    }
    match &config.database.location {
        Location::Sqlite(path) if files::is_taken(path) => files::check_private_file(path),
        _ => Ok(()),
    }
}

fn keys_without_database(dir: &Path, config: &Config) -> Failure {
    let database = &config.database.location;
    let state = match database {
        Location::Sqlite(path) if !path.exists() => "is not there",
        _ => "is empty",
    };
    Failure::Database(format!(
        "{}: there are keys, but the database {database} {state}; if it was lost or lies elsewhere, bring it back or correct `[database] connection`; if this is a new installation, run `vicar bootstrap` to use these keys, or remove them if nobody needs them",
        dir.display()
    ))
}

async fn first_start(at: &Installation, app: &App, reached: &Reached) -> Result<First, Failure> {
    check_first_start(&app.config)?;
    make_keys(at, &app.config)?;
    let first = initialise(at, app, reached).await;
    if first.is_err() && is_empty(app).await.is_ok_and(|empty| empty) {
        // They would stop the next start, and nothing was encrypted with them.
        remove_keys(&app.config);
    }
    first
}

/// New keys are for an empty database only. Beside one that is in use, they would hide that the right ones are
/// missing.
fn make_keys(at: &Installation, config: &Config) -> Result<(), Failure> {
    for (_, dir) in config.key_repositories() {
        at.make_key_directory(dir)?;
        if !keys::setup(dir).map_err(Failure::Io)? {
            return Err(keys_without_database(dir, config));
        }
    }
    Ok(())
}

/// Removes the keys of a first start that failed, as far as that is possible.
fn remove_keys(config: &Config) {
    for (_, dir) in config.key_repositories() {
        for (_, file) in keys::files(dir).unwrap_or_default() {
            let _ = std::fs::remove_file(file);
        }
        let _ = std::fs::remove_dir(dir);
    }
}

/// Names where the password comes from.
fn of_password(failure: Failure) -> Failure {
    match failure {
        Failure::Failed(text) => {
            let (name, _) = given_password().unwrap_or(("the password", String::new()));
            Failure::Failed(format!("{name}: {text}"))
        }
        other => other,
    }
}

async fn initialise(at: &Installation, app: &App, reached: &Reached) -> Result<First, Failure> {
    let (given_in, given) = given_password().unzip();
    let generated = given.is_none().then(ids::password);
    let password = given.or_else(|| generated.clone()).unwrap_or_default();
    let plan = Plan::usual(password, &reached.url);
    let auth_url = format!("{}/v3", reached.url);
    // The files first: once the password is in the database, its only copy must not get lost.
    installation::make_data_directory(at.data_dir())?;
    files::check_directory(at.data_dir())?;
    let domain = &app.config.default_domain_id;
    let cacert = reached.cacert.as_deref();
    clouds::write(at.data_dir(), &Login { plan: &plan, auth_url: &auth_url, domain, cacert })?;
    bootstrap::run(app, &plan).await.map_err(Failure::from).map_err(of_password)?;
    Ok(First { generated, given_in })
}

/// Moves an installation that was there already to the address that the operator names now: the catalog, and the files
/// for clients. What cannot be moved is said, and served as it is.
pub(super) async fn move_to(at: &Installation, app: &App, url: &str) -> Result<(), Failure> {
    let url = format!("{url}/v3");
    match bootstrap::move_to(app, &url).await {
        Ok(None) => Ok(()),
        Ok(Some(outcome)) => {
            for e in &outcome.endpoints {
                tracing::info!(
                    interface = e.interface,
                    before = e.before,
                    now = e.url,
                    "the endpoint was moved"
                );
            }
            let regions = &outcome.regions;
            let public = outcome.endpoints.iter().find(|e| e.interface == "public");
            let endpoint = public.map(|e| (e.url.as_str(), e.region.as_deref()));
            change_files(at, &Change { endpoint, regions, ..Change::default() });
            Ok(())
        }
        Err(Error::BadRequest(why)) => {
            tracing::warn!("the catalog stays as it is: {why} of `vicar bootstrap`");
            Ok(())
        }
        Err(e) => Err(e.into()),
    }
}

/// Changes what clients read. It is no reason not to serve when that is impossible.
pub(super) fn change_files(at: &Installation, change: &Change<'_>) {
    let followed = clouds::follow(at.data_dir(), change);
    for file in followed.changed {
        tracing::info!(file = %file.display(), "the file for clients was changed");
    }
    for e in followed.complaints {
        tracing::warn!("a file for clients stays as it is: {e}");
    }
}

/// The identity service's public URLs in the catalog. Clients take its word.
async fn public_urls(app: &App) -> Result<Vec<String>, Failure> {
    let mut tx = app.store.read().await?;
    let urls = tx
        .column(
            "SELECT e.url FROM endpoint e JOIN service s ON s.id = e.service_id
              WHERE s.type = 'identity' AND e.interface = 'public'",
            &[],
        )
        .await?;
    Ok(urls)
}

fn leads_to_this_machine(url: &str) -> bool {
    ["://127.0.0.1", "://localhost", "://[::1]"].iter().any(|here| url.contains(here))
}

/// Public URLs that lead to this machine, but not to `url`: clients would not find a server that moved to another port.
pub(super) async fn stale_endpoints(app: &App, url: &str) -> Result<Vec<String>, Failure> {
    let urls = public_urls(app).await?;
    if urls.iter().any(|u| u.starts_with(url)) {
        return Ok(Vec::new());
    }
    Ok(urls.into_iter().filter(|url| leads_to_this_machine(url)).collect())
}

/// A public URL that only clients on this machine can use, if there is no other one.
pub(super) async fn only_local(app: &App) -> Result<Option<String>, Failure> {
    let urls = public_urls(app).await?;
    Ok(if urls.iter().all(|url| leads_to_this_machine(url)) { urls.into_iter().next() } else { None })
}

/// How the server is reached: as configured, or by the address that it listens on.
pub(super) fn url(config: &Config, address: std::net::SocketAddr, encrypted: bool) -> String {
    if let Some(public) = &config.public_endpoint {
        return public.clone();
    }
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(super::serve::loopback(address));
    }
    format!("{}://{address}", if encrypted { "https" } else { "http" })
}

/// The database as an operator wants to read it.
pub(super) fn shown(database: &Location) -> String {
    match database {
        Location::Sqlite(path) => files::absolute(path).display().to_string(),
        Location::Server(_) => database.to_string(),
    }
}

/// Opens the database. A server of it that starts at the same time as this one is waited for, as long as
/// `[database] max_retries` and `retry_interval` say.
async fn reach(
    database: &Settings,
    open: impl AsyncFn(&Settings) -> Result<Store, Failure>,
) -> Result<Store, Failure> {
    let mut tries: u32 = 0;
    loop {
        let failure = match open(database).await {
            Err(failure @ Failure::Database(_)) if matches!(database.location, Location::Server(_)) => {
                failure
            }
            other => return other,
        };
        if database.max_retries.is_some_and(|limit| tries >= limit) {
            return Err(failure);
        }
        tries += 1;
        tracing::warn!(tries, "the database cannot be reached yet: {failure}");
        tokio::time::sleep(database.retry_interval).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_for_everybody_is_reached_here() {
        let config = Config::defaults(std::path::Path::new("/d")).expect("defaults");
        let at = |a: &str| url(&config, a.parse().expect("an address"), false);
        assert_eq!(at("0.0.0.0:5000"), "http://127.0.0.1:5000");
        assert_eq!(at("[::]:5000"), "http://[::1]:5000");
        assert_eq!(at("192.0.2.7:80"), "http://192.0.2.7:80");
    }
}
