//! `vicar bootstrap`, with the options and variables of `keystone-manage bootstrap`.

use clap::Args;

use super::before;
use super::clouds::{self, Change};
use super::failure::Failure;
use super::files;
use super::installation::{self, Installation};
use super::{print, print_error, start};
use crate::app::App;
use crate::bootstrap::{self, Outcome, Placed, Plan};
use crate::config::Config;
use crate::store::url::Location;
use crate::store::{Store, migrate};

#[derive(Debug, Args)]
#[command(after_help = format!("\
With a password, what is missing of the first objects is made, and the administrator gets the password and is
enabled. Without one, they stay as they are: options about URLs and the region change the catalog alone, and with
none of these, only what is missing is made. An endpoint is moved in the region that it has; where there are
several, --bootstrap-region-id says which. clouds.yaml and openrc in the data directory follow.

An option counts more than its variable. The password is also read from {}, after {}.

{}", start::PASSWORDS[1], start::PASSWORDS[0], super::EXIT_CODES))]
pub(super) struct Bootstrap {
    #[command(flatten)]
    at: Installation,
    /// The administrator's password (better in the variable: a command line can be read by others)
    #[arg(long = "bootstrap-password", env = "OS_BOOTSTRAP_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// The administrator's name, in the default domain [default: admin]
    #[arg(long = "bootstrap-username", env = "OS_BOOTSTRAP_USERNAME", value_name = "NAME")]
    username: Option<String>,
    /// The administrator's project [default: admin]
    #[arg(long = "bootstrap-project-name", env = "OS_BOOTSTRAP_PROJECT_NAME", value_name = "NAME")]
    project: Option<String>,
    /// The role that the administrator gets on the project and on the system [default: admin]
    #[arg(long = "bootstrap-role-name", env = "OS_BOOTSTRAP_ROLE_NAME", value_name = "NAME")]
    role: Option<String>,
    /// The identity service's name in the catalog, if it is made now [default: keystone]
    #[arg(long = "bootstrap-service-name", env = "OS_BOOTSTRAP_SERVICE_NAME", value_name = "NAME")]
    service: Option<String>,
    /// URL of the identity service's admin endpoint; without it, none is made or changed
    #[arg(long = "bootstrap-admin-url", env = "OS_BOOTSTRAP_ADMIN_URL", value_name = "URL")]
    admin_url: Option<String>,
    /// URL of the public endpoint
    #[arg(long = "bootstrap-public-url", env = "OS_BOOTSTRAP_PUBLIC_URL", value_name = "URL")]
    public_url: Option<String>,
    /// URL of the internal endpoint
    #[arg(long = "bootstrap-internal-url", env = "OS_BOOTSTRAP_INTERNAL_URL", value_name = "URL")]
    internal_url: Option<String>,
    /// The region of the endpoints
    #[arg(long = "bootstrap-region-id", env = "OS_BOOTSTRAP_REGION_ID", value_name = "REGION")]
    region: Option<String>,
    /// Roles that are made now may be neither changed nor deleted; the default
    #[arg(long, conflicts_with = "no_immutable_roles")]
    immutable_roles: bool,
    /// Roles that are made now may be changed and deleted
    #[arg(long)]
    no_immutable_roles: bool,
}

/// As in Keystone, what is empty is not given.
fn given(value: &Option<String>) -> Option<String> {
    value.clone().filter(|v| !v.is_empty())
}

impl Bootstrap {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let password = match &self.password {
            // Somebody wanted to set one.
            Some(empty) if empty.is_empty() => {
                return Err(Failure::Failed("the administrator's password is empty".into()));
            }
            Some(password) => Some(password.clone()),
            None => start::given_password().map(|(_, password)| password),
        };
        let plan = self.plan(password)?;
        let config = self.at.config()?;
        before::check_files(&config)?;
        before::found(&config.database).await?.check_password(&config, &plan).await?;
        let store = self.open(&config, &plan).await?;
        let app = App::new(config, store, installation::clock()).map_err(Failure::Config)?;
        if plan.password.is_some() {
            migrate::sync(&app.store, app.clock.now()).await?;
        }
        if plan.password.is_none() && bootstrap::is_needed(&mut app.store.read().await?).await? {
            return Err(no_password("is empty", &app.config));
        }
        let outcome = bootstrap::run(&app, &plan).await?;
        self.report(&plan, &outcome);
        Ok(())
    }

    fn plan(&self, password: Option<String>) -> Result<Plan, Failure> {
        let urls = [
            ("public", "--bootstrap-public-url", &self.public_url),
            ("internal", "--bootstrap-internal-url", &self.internal_url),
            ("admin", "--bootstrap-admin-url", &self.admin_url),
        ];
        let mut endpoints = Vec::new();
        for (interface, option, url) in urls {
            let Some(url) = given(url) else { continue };
            if !url.starts_with("http://") && !url.starts_with("https://") {
                return Err(Failure::Usage(format!(
                    "{option}: {url} is not a URL like https://identity.example/v3"
                )));
            }
            endpoints.push((interface, url));
        }
        let (username, project, role) = (given(&self.username), given(&self.project), given(&self.role));
        let region = given(&self.region);
        let names_catalog = region.is_some() || !endpoints.is_empty();
        let names_others = username.is_some() || project.is_some() || role.is_some();
        let or_admin = |name: Option<String>| name.unwrap_or_else(|| "admin".into());
        Ok(Plan {
            only_catalog: password.is_none() && names_catalog && !names_others,
            password,
            username: or_admin(username),
            project: or_admin(project),
            role: or_admin(role),
            service: given(&self.service).unwrap_or_else(|| "keystone".into()),
            region,
            endpoints,
            immutable_roles: !self.no_immutable_roles,
        })
    }

    /// Opens the database. Only with a password may it be made.
    async fn open(&self, config: &Config, plan: &Plan) -> Result<Store, Failure> {
        if plan.password.is_some() {
            return installation::open_or_create(&self.at, &config.database).await;
        }
        if let Location::Sqlite(path) = &config.database.location
            && !files::is_there(path)?
        {
            return Err(no_password("is not there", config));
        }
        installation::open_current(&config.database).await
    }

    fn report(&self, plan: &Plan, outcome: &Outcome) {
        if !plan.only_catalog {
            print(format_args!(
                "user {} has role {} on project {} and on the system",
                plan.username, plan.role, plan.project
            ));
        }
        for Placed { interface, url, region, before } in &outcome.endpoints {
            let place = region.as_ref().map(|r| format!(" in region {r}")).unwrap_or_default();
            match before {
                None => print(format_args!("{interface} endpoint{place}: {url}, new")),
                Some(before) if before == url => {
                    print(format_args!("{interface} endpoint{place}: {url} already"))
                }
                Some(before) => print(format_args!("{interface} endpoint{place}: {url}, no longer {before}")),
            }
        }
        if let (Some(region), true) = (&plan.region, plan.endpoints.is_empty()) {
            print(format_args!("region {region} is there"));
        }
        let public = outcome.endpoints.iter().find(|e| e.interface == "public");
        let change = Change {
            endpoint: public.map(|e| (e.url.as_str(), e.region.as_deref())),
            regions: &outcome.regions,
            password: plan.password.as_deref().map(|password| (plan.username.as_str(), password)),
            cacert: None,
        };
        let followed = clouds::follow(self.at.data_dir(), &change);
        followed.changed.iter().for_each(|file| print(format_args!("{}: changed", file.display())));
        for e in followed.complaints {
            print_error(format_args!("vicar: a file for clients stays as it is: {e}"));
        }
    }
}

fn no_password(state: &str, config: &Config) -> Failure {
    Failure::Usage(format!(
        "the database {} {state}, so the administrator needs a password: --bootstrap-password, or better the variable {}",
        start::shown(&config.database.location),
        start::PASSWORDS[0]
    ))
}
