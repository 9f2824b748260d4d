//! Configuration: an operator's `keystone.conf`, in one or several files, and defaults that need none.
//!
//! `ini` reads the files, `options` is the table of what has a meaning here, `known` has every other option of a
//! Keystone, and `foreign` says what follows from those.

pub mod client_certificate;
mod compliance;
pub mod directory;
pub mod domain;
pub mod federation;
pub mod foreign;
pub mod front;
mod ini;
pub mod known;
pub mod messaging;
pub mod oidc;
pub mod options;
mod policy;
mod reader;
mod remote_user;
mod substitute;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use vicar_rules::Micros;
use vicar_rules::terms::Terms;

use self::client_certificate::ClientCertificates;
use self::directory::Directories;
use self::domain::DomainOptions;
use self::federation::Federation;
use self::front::{Cors, Health};
use self::messaging::Messaging;
use self::oidc::Oidc;
use self::reader::{Reader, wrong};
use crate::clock;
use crate::peer::Proxies;
use crate::secret::Secret;
use crate::store::url::{self, Location, Settings};

pub use self::compliance::{Compliance, HashFunction, WrongPasswords};
pub use self::ini::{Ini, Source};
pub use self::policy::{PolicyOptions, RemoteOptions};
pub use self::remote_user::RemoteUser;

/// A configuration that cannot be used. The message names file, section and option.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

type Result<T> = std::result::Result<T, ConfigError>;

/// What EC2 keypairs a delegated token may have (rule 36).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ec2Keys {
    /// Keypairs bound to the token's trust.
    Bound,
    /// None, as Keystone 30.0.0.
    Refuse,
}

/// How long lists are, at most: each by the option `list_limit` of a section, or else by that of `[DEFAULT]`.
#[derive(Debug, Clone, Copy, Default)]
pub struct ListLimits {
    /// `[DEFAULT]`
    pub default: Option<u32>,
    /// `[DEFAULT] max_db_limit`, above which none of them goes.
    pub most: Option<u32>,
    identity: Option<u32>,
    resource: Option<u32>,
    role: Option<u32>,
    catalog: Option<u32>,
    policy: Option<u32>,
    unified_limit: Option<u32>,
}

impl ListLimits {
    /// That of a collection, by its name in the API.
    pub fn of(&self, collection: &str) -> Option<u32> {
        let own = match collection {
            "users" | "groups" => self.identity,
            "projects" | "domains" => self.resource,
            "roles" => self.role,
            "regions" | "services" | "endpoints" => self.catalog,
            "policies" => self.policy,
            "limits" | "registered_limits" => self.unified_limit,
            _ => None,
        };
        match (own.or(self.default), self.most) {
            (Some(limit), Some(most)) => Some(limit.min(most)),
            (limit, most) => limit.or(most),
        }
    }
}

/// `[vicar]`: what `serve` is told where neither the command line nor a variable says it. Each is read as it is there.
#[derive(Debug, Clone, Default)]
pub struct Serving {
    /// `listen`
    pub listen: Option<String>,
    /// `metrics_listen`
    pub metrics_listen: Option<String>,
    /// `tls_cert`
    pub tls_cert: Option<PathBuf>,
    /// `tls_key`
    pub tls_key: Option<PathBuf>,
    /// `tls_ca`
    pub tls_ca: Option<PathBuf>,
    /// `tls_client_ca`
    pub tls_client_ca: Option<PathBuf>,
    /// `log_format`
    pub log_format: Option<String>,
    /// `log_level`
    pub log_level: Option<String>,
    /// `security_log`
    pub security_log: Option<PathBuf>,
}

/// What limits of a project mean for those around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitModel {
    /// Nothing.
    Flat,
    /// A project may use no more than its domain.
    StrictTwoLevel,
}

/// What is wrong with a URL that [`is_collector`] does not take.
pub const NO_COLLECTOR: &str = "not the URL of a collector, like http://127.0.0.1:4318";

/// Whether traces could be sent there.
pub fn is_collector(url: &str) -> bool {
    ::url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
}

/// Everything that is configured. Lengths of time are [`Micros`]: microseconds, whatever unit the files have.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[database]`
    pub database: Settings,
    /// `[fernet_tokens] key_repository`
    pub fernet_keys: PathBuf,
    /// `[fernet_tokens] max_active_keys`
    pub fernet_max_active_keys: usize,
    /// `[fernet_receipts] key_repository`
    pub receipt_keys: PathBuf,
    /// `[fernet_receipts] max_active_keys`
    pub receipt_max_active_keys: usize,
    /// `[receipt] expiration`
    pub receipt_expiration: Micros,
    /// `[credential] key_repository`
    pub credential_keys: PathBuf,
    /// `[credential] auth_ttl`: how old a signed request may be.
    pub auth_ttl: Micros,
    /// `[credential] user_limit`: how many credentials a user may have (negative in the file: any number).
    pub credential_user_limit: Option<u32>,
    /// `[application_credential] user_limit`: how many application credentials a user may have.
    pub application_credential_user_limit: Option<u32>,
    /// `[credential] refuse_replay`
    pub refuse_replay: bool,
    /// `[credential] allow_untimed_signatures`
    pub allow_untimed_signatures: bool,
    /// `[credential] allow_s3_version_2`: S3 signatures of HMAC-SHA1, which state no time that is judged here.
    pub allow_s3_version_2: bool,
    /// `[token] expiration`
    pub token_expiration: Micros,
    /// `[token] allow_expired_window`
    pub allow_expired_window: Micros,
    /// `[token] allow_rescope_scoped_token`
    pub allow_rescope_scoped_token: bool,
    /// `[trust]`
    pub trust: vicar_rules::delegation::Limits,
    /// `[auth] methods`: their order is the order of the bits in a token.
    pub auth_methods: Vec<String>,
    /// `[oauth2] oauth2_authn_methods`: how clients of OAuth 2.0 authenticate.
    pub oauth2_authn_methods: Vec<String>,
    /// `[oauth2] oauth2_cert_dn_mapping_id`: the mapping that says whose a client's certificate is.
    pub oauth2_mapping: String,
    /// Where certificates of clients come from.
    pub client_certificates: ClientCertificates,
    /// `[auth] additional_primary_auth_methods`
    pub additional_primary: Vec<String>,
    /// `[totp] included_previous_windows`
    pub totp_previous_windows: u32,
    /// `[totp] refuse_reuse`
    pub totp_refuse_reuse: bool,
    /// Whose word counts for whom a front server has authenticated.
    pub remote_user: Option<RemoteUser>,
    /// `[identity] domain_specific_drivers_enabled`
    pub domain_specific_drivers: bool,
    /// `[identity] default_domain_id`
    pub default_domain_id: String,
    /// `[identity] max_password_length`
    pub max_password_length: usize,
    /// `[identity] password_hash_rounds`, bcrypt's cost.
    pub bcrypt_cost: u32,
    /// `[assignment] prohibited_implied_role`: names of roles that no role may imply.
    pub prohibited_implied_roles: Vec<String>,
    /// `[security_compliance]`
    pub compliance: Compliance,
    /// `[oslo_policy]`
    pub policy: PolicyOptions,
    /// `[DEFAULT] debug`: log more.
    pub debug: bool,
    /// `[DEFAULT] public_endpoint`
    pub public_endpoint: Option<String>,
    /// The path below which all others are, such as `/identity`: of `[vicar] path_prefix`, or of `public_endpoint`.
    pub path_prefix: String,
    /// `[DEFAULT] admin_token`
    pub admin_token: Option<Secret>,
    /// Directories that the files of domains name.
    pub directories: Directories,
    /// What domains can have otherwise.
    pub domain_options: DomainOptions,
    /// `[identity] domain_configurations_from_database`, with drivers of domains: what is stored for domains has an effect.
    pub stored_domain_options: bool,
    /// `list_limit` of `[DEFAULT]` and of the sections that have one.
    pub list_limits: ListLimits,
    /// Providers of OpenID Connect that are asked by this server itself.
    pub oidc: Vec<Oidc>,
    /// Logins through identity providers.
    pub federation: Federation,
    /// `[federation] attribute_mapping_default_schema_version`
    pub mapping_version: vicar_rules::mapping::Version,
    /// `[federation] default_authorization_ttl`
    pub authorization_ttl: Micros,
    /// `[saml] relay_state_prefix`
    pub relay_state_prefix: String,
    /// `[DEFAULT] max_project_tree_depth`
    pub max_project_tree_depth: u32,
    /// `[endpoint_filter] return_all_endpoints_if_no_filter`: what a project sees for which no endpoint is named.
    pub all_endpoints_unless_named: bool,
    /// `[token] revoke_by_id`: it says which error the list of revoked PKI tokens is.
    pub revoke_by_id: bool,
    /// `[unified_limit] enforcement_model`
    pub limit_model: LimitModel,
    /// `[oslo_middleware] max_request_body_size`
    pub max_body: usize,
    /// `[oslo_middleware] enable_proxy_headers_parsing` and `[vicar] trusted_proxies`: whose headers are believed.
    pub proxies: Proxies,
    /// `[healthcheck]`
    pub health: Health,
    /// `[cors]`: one for each origin.
    pub cors: Vec<Cors>,
    /// `[vicar]`, as far as the command line has it too.
    pub serving: Serving,
    /// `[vicar] max_connections`: of the public listener; 0 is as many as there may be file descriptors.
    pub max_connections: usize,
    /// `[vicar] max_connections_per_address`; 0 is no limit.
    pub max_connections_per_address: usize,
    /// `[vicar] otlp_endpoint`: where traces are sent.
    pub otlp_endpoint: Option<String>,
    /// `[delegation] ec2_keys`
    pub ec2_keys: Ec2Keys,
    /// Whom to tell of what was done.
    pub messaging: Messaging,
    /// `[revoke] expiration_buffer`
    pub revoke_buffer: Micros,
    /// `[delegation] trust_max_login_age`, `trust_required_methods`: how whoever makes a trust must have logged in.
    pub trust_login: Terms,
    /// `[delegation] trustees`: whether new trusts are for registered trustees only.
    pub registered_trustees_only: bool,
    /// `[delegation] max_trusts_per_user`: how many living trusts a user may have given (0 in the file: any number).
    pub max_trusts_per_user: Option<u32>,
    /// `[delegation] max_credentials_per_user`: how many credentials a user may have (0 in the file: any number).
    pub max_credentials_per_user: Option<u32>,
    /// `[delegation] max_oauth1_tokens`: how many request tokens a consumer, and access tokens a user, may have (0 in
    /// the file: any number).
    pub max_oauth1_tokens: Option<u32>,
    /// `[oauth1] request_token_duration`; 0 is without end.
    pub request_token_duration: Micros,
    /// `[oauth1] access_token_duration`; 0 is without end.
    pub access_token_duration: Micros,
    /// `[delegation] retention`: how long ended trusts are kept.
    pub retention: Micros,
    /// `[cache] enabled`: whether anything is remembered between requests.
    pub remembers: bool,
    /// `[delegation] reap_interval`: the pause between rounds of the reaper; 0 is never.
    pub reap_interval: Micros,
    /// `[delegation] lapse_notice`: how long before a membership ends its trusts are told of; 0 is never.
    pub lapse_notice: Micros,
    /// `[delegation] evidence_interval`: the pause between writes of what was seen of the use of delegations; 0: nothing is noted.
    pub evidence_interval: Micros,
    /// Words in values that are not understood: parameters of the connection, kinds of health checks.
    pub unknown: Vec<String>,
}

/// Where paths lie that are not set.
#[derive(Debug, Clone, Copy)]
pub enum Base<'a> {
    /// In a directory of ours.
    Data(&'a Path),
    /// Where a Keystone has them.
    Keystone,
}

impl<'a> From<&'a Path> for Base<'a> {
    fn from(dir: &'a Path) -> Self {
        Self::Data(dir)
    }
}

impl Config {
    /// The age of the oldest token that anybody may ask about. Keystone forgets a revocation once tokens from before it have
    /// expired; but for `[token] allow_expired_window` longer a service may still ask about such a token, and a revoked one
    /// must be refused then too.
    pub fn oldest_token(&self) -> Micros {
        self.token_expiration
            .saturating_add(self.allow_expired_window.max(0))
            .saturating_add(self.revoke_buffer.max(0))
    }

    /// Without any file.
    ///
    /// # Errors
    /// None in practice: the defaults are values that their options can have.
    pub fn defaults(data_dir: &Path) -> Result<Self> {
        Self::from_ini(&Ini::default(), data_dir)
    }

    /// From the text of one file.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn from_text(text: &str, data_dir: &Path) -> Result<Self> {
        let mut ini = Ini::default();
        ini.read(text).map_err(ConfigError)?;
        Self::from_ini(&ini, data_dir)
    }

    /// Every key repository, by what its keys are of.
    pub fn key_repositories(&self) -> Vec<(&'static str, &PathBuf)> {
        let receipts = self.has_receipt_keys().then_some(("receipt", &self.receipt_keys));
        [("token", &self.fernet_keys), ("credential", &self.credential_keys)]
            .into_iter()
            .chain(receipts)
            .collect()
    }

    /// Whether receipts have keys of their own.
    pub fn has_receipt_keys(&self) -> bool {
        self.receipt_keys != self.fernet_keys
    }

    /// From files that were read already.
    ///
    /// # Errors
    /// An option has a value that it cannot have.
    pub fn from_ini<'a>(ini: &Ini, base: impl Into<Base<'a>>) -> Result<Self> {
        let r = Reader { ini, base: base.into() };
        if let Some(o) = options::OPTIONS.iter().find(|o| ini.trouble(o.section, o.name).is_some()) {
            return wrong(o.section, o.name, ini.trouble(o.section, o.name).unwrap_or_default());
        }
        let database = r.database()?;
        let mut unknown = Vec::new();
        if let Location::Server(at) = &database.location {
            unknown.extend(at.unknown.iter().map(|name| format!("[database] connection, parameter {name}")));
        }
        let public_endpoint = r.public_endpoint()?;
        let fernet_keys = r.path("fernet_tokens", "key_repository")?;
        let receipt_keys = r.text("fernet_receipts", "key_repository")?.map(PathBuf::from);
        let auth_methods = r.list("auth", "methods")?;
        let directories = r.directories()?;
        unknown.extend(directories.unknown.iter().cloned());
        Ok(Self {
            database,
            receipt_keys: receipt_keys.unwrap_or_else(|| fernet_keys.clone()),
            receipt_max_active_keys: r.size::<usize>("fernet_receipts", "max_active_keys")?.max(1),
            receipt_expiration: r.duration("receipt", "expiration")?.clamp(0, crate::clock::DAY),
            fernet_keys,
            fernet_max_active_keys: r.size::<usize>("fernet_tokens", "max_active_keys")?.max(1),
            credential_keys: r.path("credential", "key_repository")?,
            auth_ttl: r.duration("credential", "auth_ttl")?,
            credential_user_limit: u32::try_from(r.number("credential", "user_limit")?).ok(),
            application_credential_user_limit: u32::try_from(
                r.number("application_credential", "user_limit")?,
            )
            .ok(),
            refuse_replay: r.flag("credential", "refuse_replay")?,
            allow_untimed_signatures: r.flag("credential", "allow_untimed_signatures")?,
            allow_s3_version_2: r.flag("credential", "allow_s3_version_2")?,
            token_expiration: r.duration("token", "expiration")?,
            allow_expired_window: r.duration("token", "allow_expired_window")?,
            allow_rescope_scoped_token: r.flag("token", "allow_rescope_scoped_token")?,
            request_token_duration: r.duration("oauth1", "request_token_duration")?,
            access_token_duration: r.duration("oauth1", "access_token_duration")?,
            trust: vicar_rules::delegation::Limits {
                allow_redelegation: r.flag("trust", "allow_redelegation")?,
                max_redelegation_count: u32::try_from(r.number("trust", "max_redelegation_count")?)
                    .unwrap_or(0),
            },
            oauth2_authn_methods: r.list("oauth2", "oauth2_authn_methods")?,
            oauth2_mapping: r.text("oauth2", "oauth2_cert_dn_mapping_id")?.unwrap_or_default(),
            client_certificates: r.client_certificates()?,
            additional_primary: r.list("auth", "additional_primary_auth_methods")?,
            totp_previous_windows: r.size::<u32>("totp", "included_previous_windows")?.min(10),
            totp_refuse_reuse: r.flag("totp", "refuse_reuse")?,
            remote_user: r.remote_user()?,
            domain_specific_drivers: r.flag("identity", "domain_specific_drivers_enabled")?,
            default_domain_id: r.text("identity", "default_domain_id")?.unwrap_or_default(),
            max_password_length: r.size("identity", "max_password_length")?,
            bcrypt_cost: r.bcrypt_cost()?,
            prohibited_implied_roles: r.list("assignment", "prohibited_implied_role")?,
            compliance: r.compliance()?,
            policy: r.policy()?,
            debug: r.flag("DEFAULT", "debug")?,
            path_prefix: r.path_prefix(public_endpoint.as_deref())?,
            public_endpoint,
            admin_token: r.text("DEFAULT", "admin_token")?.map(Secret),
            domain_options: DomainOptions::read(ini)?,
            directories,
            stored_domain_options: r.flag("identity", "domain_configurations_from_database")?
                && r.flag("identity", "domain_specific_drivers_enabled")?,
            list_limits: r.list_limits()?,
            oidc: r.oidc()?,
            federation: r.federation(&auth_methods)?,
            mapping_version: r
                .text("federation", "attribute_mapping_default_schema_version")?
                .and_then(|name| vicar_rules::mapping::Version::named(&name))
                .unwrap_or(vicar_rules::mapping::Version::V1),
            authorization_ttl: r.duration("federation", "default_authorization_ttl")?,
            relay_state_prefix: r.text("saml", "relay_state_prefix")?.unwrap_or_default(),
            max_project_tree_depth: r.size("DEFAULT", "max_project_tree_depth")?,
            all_endpoints_unless_named: r.flag("endpoint_filter", "return_all_endpoints_if_no_filter")?,
            revoke_by_id: r.flag("token", "revoke_by_id")?,
            limit_model: match r.text("unified_limit", "enforcement_model")?.as_deref() {
                Some("strict_two_level") => LimitModel::StrictTwoLevel,
                _ => LimitModel::Flat,
            },
            proxies: r.proxies()?,
            health: r.health(&mut unknown)?,
            cors: r.cors()?,
            serving: r.serving()?,
            max_connections: r.connections("max_connections")?,
            max_connections_per_address: r.connections("max_connections_per_address")?,
            otlp_endpoint: r.collector()?,
            max_body: r.size("oslo_middleware", "max_request_body_size")?,
            ec2_keys: match r.text("delegation", "ec2_keys")?.as_deref() {
                Some("refuse") => Ec2Keys::Refuse,
                _ => Ec2Keys::Bound,
            },
            messaging: r.messaging(&mut unknown)?,
            revoke_buffer: r.duration("revoke", "expiration_buffer")?,
            remembers: r.flag("cache", "enabled")?,
            retention: r.duration("delegation", "retention")?,
            reap_interval: r.pause("delegation", "reap_interval")?,
            lapse_notice: r.pause("delegation", "lapse_notice")?,
            evidence_interval: r.pause("delegation", "evidence_interval")?,
            trust_login: r.trust_login(&auth_methods)?,
            auth_methods,
            registered_trustees_only: r.text("delegation", "trustees")?.as_deref() == Some("registered"),
            max_trusts_per_user: r.count("delegation", "max_trusts_per_user")?.filter(|n| *n > 0),
            max_credentials_per_user: r.count("delegation", "max_credentials_per_user")?.filter(|n| *n > 0),
            max_oauth1_tokens: r.count("delegation", "max_oauth1_tokens")?.filter(|n| *n > 0),
            unknown,
        })
    }
}

impl Reader<'_> {
    /// How whoever makes a trust must have logged in: by methods that there are, or nobody could make one.
    fn trust_login(&self, methods: &[String]) -> Result<Terms> {
        let (section, name) = ("delegation", "trust_required_methods");
        let required: BTreeSet<String> = self.list(section, name)?.into_iter().collect();
        if let Some(unknown) = required.iter().find(|method| !methods.contains(method)) {
            return wrong(section, name, format_args!("{unknown} is not among [auth] methods"));
        }
        let age = self.count(section, "trust_max_login_age")?.filter(|seconds| *seconds > 0);
        Ok(Terms {
            max_login_age: age.map(|seconds| i64::from(seconds).saturating_mul(clock::SECOND)),
            required_methods: required,
            ..Terms::default()
        })
    }

    fn directories(&self) -> Result<Directories> {
        let span = self.duration("vicar", "directory_max_age")?;
        let dir = self.text("identity", "domain_config_dir")?.unwrap_or_default();
        let by_files = self.flag("identity", "domain_specific_drivers_enabled")?
            && !self.flag("identity", "domain_configurations_from_database")?;
        Ok(directory::of_files(by_files.then_some(Path::new(&dir)), span))
    }

    fn list_limits(&self) -> Result<ListLimits> {
        // As in Keystone, 0 is none.
        let of = |section| Ok(self.count(section, "list_limit")?.filter(|n| *n > 0));
        Ok(ListLimits {
            default: of("DEFAULT")?,
            most: self.count("DEFAULT", "max_db_limit")?.filter(|n| *n > 0),
            identity: of("identity")?,
            resource: of("resource")?,
            role: of("role")?,
            catalog: of("catalog")?,
            policy: of("policy")?,
            unified_limit: of("unified_limit")?,
        })
    }

    fn policy(&self) -> Result<PolicyOptions> {
        let dirs = self.ini.values("oslo_policy", "policy_dirs");
        let default = self.text("oslo_policy", "policy_dirs")?;
        Ok(PolicyOptions {
            may_be_absent: false,
            file: self.text("oslo_policy", "policy_file")?,
            dirs_named: !dirs.is_empty(),
            dirs: if dirs.is_empty() { default.into_iter().collect() } else { dirs },
            config_files: self.ini.files().to_vec(),
            default_rule: self.text("oslo_policy", "policy_default_rule")?.unwrap_or_default(),
            admin_project: self
                .text("resource", "admin_project_name")?
                .zip(self.text("resource", "admin_project_domain_name")?),
            remote: self.remote_policy()?,
        })
    }

    fn remote_policy(&self) -> Result<RemoteOptions> {
        const SECTION: &str = "oslo_policy";
        const LONGEST: f64 = 60.0;
        let file = |name| Ok(self.text(SECTION, name)?.map(PathBuf::from));
        let timeout = self.text(SECTION, "remote_timeout")?.unwrap_or_default();
        let seconds = match timeout.parse::<f64>() {
            Ok(seconds) if seconds >= 0.0 => seconds.min(LONGEST),
            _ => {
                return wrong(SECTION, "remote_timeout", format_args!("`{timeout}` is no number of seconds"));
            }
        };
        Ok(RemoteOptions {
            timeout: Duration::from_secs_f64(seconds),
            is_json: self.text(SECTION, "remote_content_type")?.is_some_and(|t| t == "application/json"),
            ca: file("remote_ssl_ca_crt_file")?,
            certificate: file("remote_ssl_client_crt_file")?,
            key: file("remote_ssl_client_key_file")?,
        })
    }

    fn serving(&self) -> Result<Serving> {
        let text = |name| self.text("vicar", name);
        let file = |name| Ok(text(name)?.map(PathBuf::from));
        Ok(Serving {
            listen: text("listen")?,
            metrics_listen: text("metrics_listen")?,
            tls_cert: file("tls_cert")?,
            tls_key: file("tls_key")?,
            tls_ca: file("tls_ca")?,
            tls_client_ca: file("tls_client_ca")?,
            log_format: text("log_format")?,
            log_level: text("log_level")?,
            security_log: file("security_log")?,
        })
    }

    fn connections(&self, name: &str) -> Result<usize> {
        Ok(usize::try_from(self.count("vicar", name)?.unwrap_or_default()).unwrap_or(usize::MAX))
    }

    fn collector(&self) -> Result<Option<String>> {
        match self.text("vicar", "otlp_endpoint")?.filter(|url| !url.is_empty()) {
            Some(url) if !is_collector(&url) => wrong("vicar", "otlp_endpoint", NO_COLLECTOR),
            url => Ok(url),
        }
    }

    fn database(&self) -> Result<Settings> {
        let location = match self.ini.value("database", "connection") {
            None => Location::Sqlite(self.path("database", "connection")?),
            Some(url) => {
                let more = self.text("database", "connection_parameters")?.unwrap_or_default();
                let separator = match (more.is_empty(), url.contains('?')) {
                    (true, _) => "",
                    (false, true) => "&",
                    (false, false) => "?",
                };
                url::parse(&format!("{url}{separator}{more}"))
                    .or_else(|e| wrong("database", "connection", e))?
            }
        };
        let connections = |name| {
            let n = self.count("database", name)?.unwrap_or_default();
            Ok(usize::try_from(n).unwrap_or(usize::MAX))
        };
        let seconds = |name| match u64::try_from(self.number("database", name)?) {
            Ok(n) => Ok(Duration::from_secs(n.min(u32::MAX.into()))),
            Err(_) => wrong("database", name, "must not be negative"),
        };
        Ok(Settings {
            location,
            max_pool_size: connections("max_pool_size")?,
            max_overflow: connections("max_overflow")?,
            pool_timeout: seconds("pool_timeout")?,
            // oslo: -1 means without end.
            max_retries: u32::try_from(self.number("database", "max_retries")?).ok(),
            retry_interval: seconds("retry_interval")?,
            recycle: seconds("connection_recycle_time")?,
            connect_timeout: seconds("connect_timeout")?,
            statement_timeout: seconds("statement_timeout")?,
            lock_timeout: seconds("lock_timeout")?,
        })
    }

    /// Rounds of another algorithm than bcrypt are counted otherwise: as a cost of bcrypt's, they would make a
    /// login last for years.
    fn bcrypt_cost(&self) -> Result<u32> {
        let algorithm = self.text("identity", "password_hash_algorithm")?;
        let rounds = self.number("identity", "password_hash_rounds")?;
        let rounds = if algorithm.is_none_or(|a| a.starts_with("bcrypt")) { rounds } else { 12 };
        match u32::try_from(rounds) {
            Ok(cost @ 4..=20) => Ok(cost),
            // Each one more takes twice the time: 20 takes a minute, 31 a day.
            _ => wrong("identity", "password_hash_rounds", format_args!("`{rounds}` is not from 4 to 20")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::options::Kind;
    use super::*;
    use crate::clock::SECOND;

    #[test]
    fn who_makes_a_trust_is_asked_for_methods_that_there_are() {
        let read = |text: &str| Config::from_text(text, Path::new("/data")).map(|c| c.trust_login);
        let some = "[auth]\nmethods = password,totp\n[delegation]\ntrust_required_methods = ";
        let login = read(&format!("{some}password, totp\ntrust_max_login_age = 60\n")).expect("reads");
        assert_eq!(login.max_login_age, Some(60 * SECOND));
        assert_eq!(login.required_methods.into_iter().collect::<Vec<_>>(), ["password", "totp"]);
        let wrong = read(&format!("{some}password, retina\n")).expect_err("nobody could log in so");
        assert!(wrong.to_string().contains("trust_required_methods: retina"), "{wrong}");
        assert_eq!(read("[delegation]\ntrust_max_login_age = 0\n").expect("reads"), Terms::default());
    }

    #[test]
    fn reads_what_oslo_writes() {
        let text = "\
admin_token = s3cret
[database]
connection = sqlite:////var/lib/keystone/keystone.db
[auth]
methods = password,token,
    ec2credential
[token]
# a comment
expiration=60
[nothing]
like = this
";
        let c = Config::from_text(text, Path::new("/data")).expect("reads");
        assert_eq!(c.database.location.to_string(), "/var/lib/keystone/keystone.db");
        assert_eq!(c.auth_methods, ["password", "token", "ec2credential"]);
        assert_eq!(c.token_expiration, 60 * SECOND);
        assert_eq!(c.fernet_keys, Path::new("/data/fernet-keys"));
        assert!(!format!("{c:?}").contains("s3cret"));
    }

    #[test]
    fn paths_that_are_not_set() {
        let mut ini = Ini::default();
        ini.read("[token]\nexpiration = 60\n").expect("reads");
        let e = Config::from_ini(&ini, Base::Keystone).expect_err("no database");
        assert!(e.0.starts_with("[database] connection: is not set"), "{e}");
        ini.read(
            "[database]\nconnection = mysql://k:p@h/k?charset=utf8\nconnection_parameters = odd=1&even=2\n",
        )
        .expect("reads");
        let c = Config::from_ini(&ini, Base::Keystone).expect("reads");
        assert_eq!(c.fernet_keys, Path::new("/etc/keystone/fernet-keys"));
        assert_eq!(c.credential_keys, Path::new("/etc/keystone/credential-keys"));
        assert_eq!(
            c.unknown,
            ["[database] connection, parameter odd", "[database] connection, parameter even"]
        );
    }

    #[test]
    fn a_reference_to_nothing_names_its_option() {
        let text = "[database]\nconnection = mysql://k:pa$word@h/k\n";
        let e = Config::from_text(text, Path::new("/d")).expect_err("refused");
        assert!(e.0.starts_with("[database] connection: `$word` is the name of no option"), "{e}");
        let text = "[database]\nconnection = mysql://k:pa$$word@h/k\n[trust]\nmax_redelegation_count = $s.n\n[s]\nn = 7\n";
        let c = Config::from_text(text, Path::new("/d")).expect("reads");
        assert_eq!(c.trust.max_redelegation_count, 7);
    }

    #[test]
    fn rounds_of_another_hash_are_not_bcrypts() {
        let cost = |ini: &str| {
            let text = format!("[identity]\n{ini}");
            Config::from_text(&text, Path::new("/d")).expect("reads").bcrypt_cost
        };
        assert_eq!(cost("password_hash_rounds = 10"), 10);
        assert_eq!(cost("password_hash_algorithm = bcrypt_sha256\npassword_hash_rounds = 11"), 11);
        // Keystone's own words for the others: iterations, and a power of two.
        assert_eq!(cost("password_hash_algorithm = pbkdf2_sha512\npassword_hash_rounds = 25000"), 12);
        assert_eq!(cost("password_hash_algorithm = scrypt\npassword_hash_rounds = 16"), 12);
        for odd in [-1, 3, 21, 31, 99] {
            let text = format!("[identity]\npassword_hash_rounds = {odd}\n");
            assert!(Config::from_text(&text, Path::new("/d")).is_err(), "{odd}");
        }
    }

    #[test]
    fn says_what_is_wrong_without_the_password() {
        let e = Config::from_text("[database]\nconnection = oracle+x://k:topsecret@h/k\n", Path::new("/d"))
            .expect_err("not served");
        assert!(e.0.contains("oracle+x") && !e.0.contains("topsecret"), "{e}");
        let text = "[database]\nconnection = mysql://k:topsecret@h/k?odd=1\nmax_retries = -1\n";
        let c = Config::from_text(text, Path::new("/d")).expect("reads");
        assert!(!format!("{c:?}").contains("topsecret"));
        assert_eq!((c.unknown.len(), c.database.max_retries), (1, None));
        assert!(Config::from_text("[token]\nexpiration = soon\n", Path::new("/d")).is_err());
    }

    #[test]
    fn a_collector_has_a_url() {
        let of = |url: &str| Config::from_text(&format!("[vicar]\notlp_endpoint = {url}\n"), Path::new("/d"));
        for good in ["http://127.0.0.1:4318", "https://collector.example/base/"] {
            assert_eq!(of(good).expect("reads").otlp_endpoint.as_deref(), Some(good));
        }
        assert_eq!(of("").expect("reads").otlp_endpoint, None);
        for bad in ["collector:4318", "grpc://h:4317", "http://", "127.0.0.1:4318"] {
            let e = of(bad).expect_err(bad);
            assert!(e.0.starts_with("[vicar] otlp_endpoint: "), "{e}");
        }
    }

    #[test]
    fn the_defaults_are_one() {
        let c = Config::defaults(Path::new("/d")).expect("each option is read as the table has it");
        let usual = Settings::of(Location::Sqlite("/d/vicar.db".into()));
        assert_eq!(format!("{:?}", c.database), format!("{usual:?}"));
        assert_eq!((c.auth_ttl, c.reap_interval), (15 * 60 * SECOND, 60 * SECOND));
        for name in ["reap_interval", "lapse_notice", "evidence_interval"] {
            let text = format!("[delegation]\n{name} = -1\n");
            assert!(Config::from_text(&text, Path::new("/d")).is_err());
        }
    }

    #[test]
    fn each_option_of_the_table_is_read() {
        for o in options::OPTIONS {
            // A value that options of this kind cannot have.
            let bad = match o.kind {
                Kind::Text(_) | Kind::InData(..) | Kind::List(_) => continue,
                Kind::Regex => "(",
                _ => "odd",
            };
            let text = format!("[{}]\n{} = {bad}\n", o.section, o.name);
            let e = Config::from_text(&text, Path::new("/d")).expect_err(o.name);
            assert!(e.0.starts_with(&format!("[{}] {}: ", o.section, o.name)), "{e}");
        }
        for (value, kept) in [("0", 0), ("60", 60), ("-1", -1)] {
            let c = Config::from_text(&format!("[token]\nexpiration = {value}\n"), Path::new("/d"));
            assert_eq!(c.expect("reads").token_expiration, kept * SECOND);
        }
    }

    #[test]
    fn receipts_have_the_keys_of_tokens_unless_they_have_their_own() {
        let of = |text: &str| Config::from_text(text, Path::new("/d")).expect("reads");
        assert_eq!(of("").receipt_keys, Path::new("/d/fernet-keys"));
        assert_eq!(of("[fernet_tokens]\nkey_repository = /t\n").receipt_keys, Path::new("/t"));
        assert_eq!(of("[fernet_receipts]\nkey_repository = /r\n").receipt_keys, Path::new("/r"));
        assert_eq!(of("[receipt]\nexpiration = 100000\n").receipt_expiration, crate::clock::DAY);
        assert_eq!(of("[totp]\nincluded_previous_windows = 99\n").totp_previous_windows, 10);
        assert_eq!(of("[totp]\nincluded_previous_windows = -1\n").totp_previous_windows, 1);
    }
}
