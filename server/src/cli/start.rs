//! What `serve` does before it serves: it opens an installation, and initialises an empty one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::failure::Failure;
use super::files;
use super::installation::{self, Installation};
use crate::app::App;
use crate::bootstrap::{self, Plan};
use crate::config::Config;
use crate::crypto::keys;
use crate::ids;
use crate::store::url::{Location, Settings};
use crate::store::{Store, migrate};

/// The variable with the administrator's first password.
pub(super) const PASSWORD: &str = "VICAR_BOOTSTRAP_PASSWORD";

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
}

/// Where a client's configuration lies after the first start.
pub(super) fn clouds(at: &Installation) -> PathBuf {
    files::absolute(&at.data_dir().join("clouds.yaml"))
}

/// Opens the installation; `url` is what the catalog of a new one names.
pub(super) async fn start(at: &Installation, config: Config, url: &str) -> Result<Started, Failure> {
    let clock = installation::clock();
    check_data_directory(at, &config)?;
    if let Location::Sqlite(path) = &config.database.location
        && std::fs::symlink_metadata(path).map_or(true, |m| m.len() == 0)
    {
        check_first_start(&config)?;
    }
    let store = reach(&config.database).await?;
    if migrate::sync(&store, clock.now()).await? {
        tracing::info!(database = %config.database.location, "the schema was brought to the current version");
    }
    let app = App::new(config, store, clock).map_err(Failure::Config)?;
    let first = if is_empty(&app).await? { Some(first_start(at, &app, url).await?) } else { None };
    app.token_keys.current().map_err(|e| Failure::Keys(format!("token keys: {e}")))?;
    app.credential_keys.current().map_err(|e| Failure::Keys(format!("credential keys: {e}")))?;
    Ok(Started { app, first })
}

async fn is_empty(app: &App) -> Result<bool, Failure> {
    Ok(bootstrap::is_needed(&mut app.store.read().await?).await?)
}

/// Checks that the data directory, if anything is kept in it, is not one that other users can write to.
fn check_data_directory(at: &Installation, config: &Config) -> Result<(), Failure> {
    let file = match &config.database.location {
        Location::Sqlite(path) => Some(path),
        Location::Server(_) => None,
    };
    let mut kept = [&config.fernet_keys, &config.credential_keys].into_iter().chain(file);
    if at.data_dir().is_dir() && kept.any(|path| path.starts_with(at.data_dir())) {
        files::check_directory(at.data_dir())?;
    }
    Ok(())
}

/// Checks what is there before a database without contents is filled: keys mean that there was a database, and
/// a file that other users can open is not one for secrets.
fn check_first_start(config: &Config) -> Result<(), Failure> {
    for dir in [&config.fernet_keys, &config.credential_keys] {
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

async fn first_start(at: &Installation, app: &App, url: &str) -> Result<First, Failure> {
    check_first_start(&app.config)?;
    make_keys(&app.config)?;
    let first = initialise(at, app, url).await;
    if first.is_err() && is_empty(app).await.is_ok_and(|empty| empty) {
        // They would stop the next start, and nothing was encrypted with them.
        remove_keys(&app.config);
    }
    first
}

/// New keys are for an empty database only. Beside one that is in use, they would hide that the right ones are
/// missing.
fn make_keys(config: &Config) -> Result<(), Failure> {
    for dir in [&config.fernet_keys, &config.credential_keys] {
        files::make_directory(dir)?;
        if !keys::setup(dir).map_err(Failure::Io)? {
            return Err(keys_without_database(dir, config));
        }
    }
    Ok(())
}

/// Removes the keys of a first start that failed, as far as that is possible.
fn remove_keys(config: &Config) {
    for dir in [&config.fernet_keys, &config.credential_keys] {
        for (_, file) in keys::files(dir).unwrap_or_default() {
            let _ = std::fs::remove_file(file);
        }
        let _ = std::fs::remove_dir(dir);
    }
}

async fn initialise(at: &Installation, app: &App, url: &str) -> Result<First, Failure> {
    let given = std::env::var(PASSWORD).ok().filter(|p| !p.is_empty());
    let generated = given.is_none().then(ids::password);
    let password = given.or_else(|| generated.clone()).unwrap_or_default();
    let plan = Plan::usual(password, url);
    // The files first: once the password is in the database, its only copy must not get lost.
    files::make_directory(at.data_dir())?;
    files::check_directory(at.data_dir())?;
    let domain = &app.config.default_domain_id;
    files::write_private(&at.data_dir().join("clouds.yaml"), &clouds_yaml(&plan, url, domain))?;
    files::write_private(&at.data_dir().join("openrc"), &openrc(&plan, url, domain))?;
    bootstrap::run(app, &plan).await.map_err(|e| Failure::Failed(format!("{PASSWORD}: {}", e.message())))?;
    Ok(First { generated })
}

fn clouds_yaml(plan: &Plan, url: &str, domain: &str) -> String {
    // A JSON text is a YAML text.
    let quoted = |s: &str| serde_json::Value::from(s).to_string();
    let (url, user, password) =
        (quoted(&format!("{url}/v3")), quoted(&plan.username), quoted(&plan.password));
    let (project, domain) = (quoted(&plan.project), quoted(domain));
    let region = quoted(plan.region.as_deref().unwrap_or_default());
    let cloud = |name: &str, scope: &str| {
        format!(
            "  {name}:
    auth:
      auth_url: {url}
      username: {user}
      password: {password}
      user_domain_id: {domain}
{scope}    region_name: {region}
    interface: public
    identity_api_version: 3
"
        )
    };
    format!(
        "# The administrator on their project, and on the whole system. Not read by the server.\nclouds:\n{}{}",
        cloud("vicar", &format!("      project_name: {project}\n      project_domain_id: {domain}\n")),
        cloud("vicar-system", "      system_scope: all\n"),
    )
}

fn openrc(plan: &Plan, url: &str, domain: &str) -> String {
    let url = format!("{url}/v3");
    let variables = [
        ("OS_AUTH_URL", url.as_str()),
        ("OS_USERNAME", &plan.username),
        ("OS_PASSWORD", &plan.password),
        ("OS_USER_DOMAIN_ID", domain),
        ("OS_PROJECT_NAME", &plan.project),
        ("OS_PROJECT_DOMAIN_ID", domain),
        ("OS_REGION_NAME", plan.region.as_deref().unwrap_or_default()),
        ("OS_IDENTITY_API_VERSION", "3"),
        ("OS_INTERFACE", "public"),
    ];
    let line = |(name, value): (&str, &str)| format!("export {name}='{}'\n", value.replace('\'', r"'\''"));
    variables.into_iter().map(line).collect()
}

/// The identity service's public URLs in the catalog that lead to this machine, but not to `url`. Clients
/// take the catalog's word: they would not find a server that moved to another port.
pub(super) async fn stale_endpoints(app: &App, url: &str) -> Result<Vec<String>, Failure> {
    let mut tx = app.store.read().await?;
    let urls: Vec<String> = tx
        .column(
            "SELECT e.url FROM endpoint e JOIN service s ON s.id = e.service_id
              WHERE s.type = 'identity' AND e.interface = 'public'",
            &[],
        )
        .await?;
    if urls.iter().any(|u| u.starts_with(url)) {
        return Ok(Vec::new());
    }
    Ok(urls.into_iter().filter(|u| u.contains("://127.0.0.1") || u.contains("://localhost")).collect())
}

/// How the server is reached: as configured, or by the address that it listens on.
pub(super) fn url(config: &Config, address: std::net::SocketAddr, encrypted: bool) -> String {
    if let Some(public) = &config.public_endpoint {
        return public.clone();
    }
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            std::net::SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
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
async fn reach(database: &Settings) -> Result<Store, Failure> {
    let mut tries: u32 = 0;
    loop {
        let failure = match installation::open_or_create(database).await {
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
    fn quotes_cannot_break_out_of_the_client_files() {
        let plan = Plan::usual("it's \"q\" $HOME\\".into(), "http://h:1");
        assert!(openrc(&plan, "http://h:1", "default").contains(r#"OS_PASSWORD='it'\''s "q" $HOME\'"#));
        assert!(clouds_yaml(&plan, "http://h:1", "default").contains(r#"password: "it's \"q\" $HOME\\""#));
    }

    #[test]
    fn an_address_for_everybody_is_reached_here() {
        let config = Config::defaults(std::path::Path::new("/d")).expect("defaults");
        let at = |a: &str| url(&config, a.parse().expect("an address"), false);
        assert_eq!(at("0.0.0.0:5000"), "http://127.0.0.1:5000");
        assert_eq!(at("[::]:5000"), "http://[::1]:5000");
        assert_eq!(at("192.0.2.7:80"), "http://192.0.2.7:80");
    }
}
