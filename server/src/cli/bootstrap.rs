//! `vicar bootstrap`, with the options and variables of `keystone-manage bootstrap`.

use clap::Args;

use super::before;
use super::failure::Failure;
use super::installation::{self, Installation};
use super::print;
use crate::app::App;
use crate::bootstrap::{self, Plan};
use crate::store::migrate;

#[derive(Debug, Args)]
pub(super) struct Bootstrap {
    #[command(flatten)]
    at: Installation,
    /// The administrator's password (better in the variable: a command line can be read by others)
    #[arg(long = "bootstrap-password", env = "OS_BOOTSTRAP_PASSWORD", hide_env_values = true)]
    password: String,
    /// The administrator's name, in the default domain
    #[arg(long = "bootstrap-username", env = "OS_BOOTSTRAP_USERNAME", default_value = "admin")]
    username: String,
    /// The administrator's project
    #[arg(long = "bootstrap-project-name", env = "OS_BOOTSTRAP_PROJECT_NAME", default_value = "admin")]
    project: String,
    /// The role that the administrator gets on the project and on the system
    #[arg(long = "bootstrap-role-name", env = "OS_BOOTSTRAP_ROLE_NAME", default_value = "admin")]
    role: String,
    /// The identity service's name in the catalog
    #[arg(long = "bootstrap-service-name", env = "OS_BOOTSTRAP_SERVICE_NAME", default_value = "keystone")]
    service: String,
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
}

impl Bootstrap {
    pub(super) async fn run(self) -> Result<(), Failure> {
        if self.password.is_empty() {
            return Err(Failure::Failed("the administrator's password is empty".into()));
        }
        let config = self.at.config()?;
        let endpoints =
            [("public", self.public_url), ("internal", self.internal_url), ("admin", self.admin_url)]
                .into_iter()
                .filter_map(|(interface, url)| Some((interface, url?)))
                .collect();
        let plan = Plan {
            username: self.username,
            password: self.password,
            project: self.project,
            role: self.role,
            service: self.service,
            region: self.region,
            endpoints,
        };
        before::check_files(&config)?;
        before::found(&config.database).await?.check_password(&config, &plan).await?;
        let store = installation::open_or_create(&config.database).await?;
        let app = App::new(config, store, installation::clock()).map_err(Failure::Config)?;
        migrate::sync(&app.store, app.clock.now()).await?;
        bootstrap::run(&app, &plan).await?;
        print(format_args!(
            "user {} has role {} on project {} and on the system",
            plan.username, plan.role, plan.project
        ));
        Ok(())
    }
}
