//! Configuration: an operator's `keystone.conf` (oslo INI, several files), and defaults that need none.
//!
//! Reading an option is what makes it known: what no reader asked for is reported once, never fatal.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use vicar_rules::Micros;

use crate::clock::SECOND;
use crate::store::url::{self, Location, Settings};

/// A configuration that cannot be used; the text names file, section and option.
#[derive(Debug)]
pub struct ConfigError(pub String);

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// What EC2 keypairs a delegated token may have (rule 36).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ec2Keys {
    /// Keypairs bound to the token's trust.
    Bound,
    /// None, as Keystone 30.0.0.
    Refuse,
}

/// `[security_compliance]`; `None` switches a rule off.
#[derive(Debug, Clone)]
pub struct Compliance {
    /// Failed logins after which an account is locked.
    pub lockout_failure_attempts: Option<u32>,
    /// For how long, in microseconds.
    pub lockout_duration: Micros,
    /// Days without a login after which a user counts as disabled.
    pub disable_user_account_days_inactive: Option<u32>,
    /// Days that a password lives.
    pub password_expires_days: Option<u32>,
    /// How many last passwords must differ; 0 counts none.
    pub unique_last_password_count: u32,
    /// Days before a user may change his password again.
    pub minimum_password_age: u32,
    /// What a password must look like.
    pub password_regex: Option<String>,
    /// The same in words.
    pub password_regex_description: Option<String>,
    /// Must a password that an administrator set be changed at first use?
    pub change_password_upon_first_use: bool,
    /// Keystone's opt-in for application credentials on trust routes.
    pub allow_insecure_application_credential_trust_escalation: bool,
}

/// Everything that is configured.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[database]`
    pub database: Settings,
    /// `[fernet_tokens] key_repository`
    pub fernet_keys: PathBuf,
    /// `[fernet_tokens] max_active_keys`
    pub fernet_max_active_keys: usize,
    /// `[credential] key_repository`
    pub credential_keys: PathBuf,
    /// `[credential] auth_ttl`: how old a signed request may be (minutes in the file).
    pub auth_ttl: Micros,
    /// `[credential] refuse_replay`
    pub refuse_replay: bool,
    /// `[credential] allow_untimed_signatures`
    pub allow_untimed_signatures: bool,
    /// `[token] expiration` (seconds in the file)
    pub token_expiration: Micros,
    /// `[token] allow_expired_window` (seconds in the file)
    pub allow_expired_window: Micros,
    /// `[token] allow_rescope_scoped_token`
    pub allow_rescope_scoped_token: bool,
    /// `[trust]`
    pub trust: vicar_rules::delegation::Limits,
    /// `[auth] methods`: their order is the order of the bits in a token.
    pub auth_methods: Vec<String>,
    /// `[auth] additional_primary_auth_methods`
    pub additional_primary: Vec<String>,
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
    /// `[oslo_policy] enforce_scope`
    pub enforce_scope: bool,
    /// `[oslo_policy] policy_file`
    pub policy_file: Option<PathBuf>,
    /// `[DEFAULT] public_endpoint`
    pub public_endpoint: Option<String>,
    /// `[DEFAULT] admin_token`
    pub admin_token: Option<Secret>,
    /// `[DEFAULT] list_limit`
    pub list_limit: Option<u32>,
    /// `[DEFAULT] max_project_tree_depth`
    pub max_project_tree_depth: u32,
    /// `[oslo_middleware] max_request_body_size`
    pub max_body: usize,
    /// `[oslo_middleware] enable_proxy_headers_parsing`: a proxy says who the client is.
    pub proxy_headers: bool,
    /// `[vicar] max_connections`: of the public listener; 0 is as many as there may be file descriptors.
    pub max_connections: usize,
    /// `[vicar] max_connections_per_address`; 0 is no limit.
    pub max_connections_per_address: usize,
    /// `[delegation] ec2_keys`
    pub ec2_keys: Ec2Keys,
    /// `[revoke] expiration_buffer` (seconds in the file)
    pub revoke_buffer: Micros,
    /// `[cache] enabled`: false forbids remembering anything between requests.
    pub cache: bool,
    /// `[delegation] retention`: how long ended trusts are kept (seconds in the file).
    pub retention: Micros,
    /// `[delegation] reap_interval`: pause between rounds of the reaper (seconds in the file; 0 is never).
    pub reap_interval: Micros,
    /// What was in the files and has no meaning here.
    pub unknown: Vec<String>,
}

/// A secret from the configuration; never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Config {
    /// Reads the files in their order (later ones win); `data_dir` is where unset paths lie.
    pub fn load(files: &[PathBuf], data_dir: &Path) -> Result<Self, ConfigError> {
        Self::from_ini(&Ini::of(files)?, data_dir)
    }

    /// Without any file.
    pub fn defaults(data_dir: &Path) -> Result<Self, ConfigError> {
        Self::from_ini(&Ini::default(), data_dir)
    }

    /// From the text of one file.
    pub fn from_text(text: &str, data_dir: &Path) -> Result<Self, ConfigError> {
        let mut ini = Ini::default();
        ini.read(text).map_err(ConfigError)?;
        Self::from_ini(&ini, data_dir)
    }

    /// From files that were read already.
    pub fn from_ini(ini: &Ini, data_dir: &Path) -> Result<Self, ConfigError> {
        let mut r = Reader { ini, asked: BTreeSet::new() };
        let database = r.database(data_dir)?;
        let seconds =
            |r: &mut Reader<'_>, s, o, default: i64| Ok(r.number(s, o, default)?.saturating_mul(SECOND));
        let config = Self {
            database,
            fernet_keys: r.path("fernet_tokens", "key_repository", &data_dir.join("fernet-keys")),
            fernet_max_active_keys: usize::try_from(r.number("fernet_tokens", "max_active_keys", 3)?)
                .unwrap_or(3)
                .max(1),
            credential_keys: r.path("credential", "key_repository", &data_dir.join("credential-keys")),
            auth_ttl: r.number("credential", "auth_ttl", 15)?.saturating_mul(60 * SECOND),
            refuse_replay: r.flag("credential", "refuse_replay", false)?,
            allow_untimed_signatures: r.flag("credential", "allow_untimed_signatures", true)?,
            token_expiration: seconds(&mut r, "token", "expiration", 3600)?,
            allow_expired_window: seconds(&mut r, "token", "allow_expired_window", 172_800)?,
            allow_rescope_scoped_token: r.flag("token", "allow_rescope_scoped_token", true)?,
            trust: vicar_rules::delegation::Limits {
                allow_redelegation: r.flag("trust", "allow_redelegation", true)?,
                max_redelegation_count: u32::try_from(r.number("trust", "max_redelegation_count", 3)?)
                    .unwrap_or(0),
            },
            auth_methods: r.list(
                "auth",
                "methods",
                "external,password,token,oauth1,mapped,application_credential,ec2credential",
            ),
            additional_primary: r.list("auth", "additional_primary_auth_methods", ""),
            default_domain_id: r.text("identity", "default_domain_id").unwrap_or_else(|| "default".into()),
            max_password_length: usize::try_from(r.number("identity", "max_password_length", 4096)?)
                .unwrap_or(4096),
            bcrypt_cost: r.bcrypt_cost()?,
            prohibited_implied_roles: r.list("assignment", "prohibited_implied_role", "admin"),
            compliance: Compliance {
                lockout_failure_attempts: r.optional("security_compliance", "lockout_failure_attempts")?,
                lockout_duration: seconds(&mut r, "security_compliance", "lockout_duration", 1800)?,
                disable_user_account_days_inactive: r
                    .optional("security_compliance", "disable_user_account_days_inactive")?,
                password_expires_days: r.optional("security_compliance", "password_expires_days")?,
                unique_last_password_count: r
                    .optional("security_compliance", "unique_last_password_count")?
                    .unwrap_or(0),
                minimum_password_age: r.optional("security_compliance", "minimum_password_age")?.unwrap_or(0),
                password_regex: r.regex("security_compliance", "password_regex")?,
                password_regex_description: r.text("security_compliance", "password_regex_description"),
                change_password_upon_first_use: r.flag(
                    "security_compliance",
                    "change_password_upon_first_use",
                    false,
                )?,
                allow_insecure_application_credential_trust_escalation: r.flag(
                    "security_compliance",
                    "allow_insecure_application_credential_trust_escalation",
                    false,
                )?,
            },
            enforce_scope: r.flag("oslo_policy", "enforce_scope", true)?,
            policy_file: r.text("oslo_policy", "policy_file").map(PathBuf::from),
            public_endpoint: r
                .text("DEFAULT", "public_endpoint")
                .map(|u| u.trim_end_matches('/').trim_end_matches("/v3").to_owned()),
            admin_token: r.text("DEFAULT", "admin_token").map(Secret),
            list_limit: r.optional("DEFAULT", "list_limit")?,
            max_project_tree_depth: u32::try_from(r.number("DEFAULT", "max_project_tree_depth", 5)?)
                .unwrap_or(5),
            max_body: usize::try_from(r.number("oslo_middleware", "max_request_body_size", 114_688)?)
                .unwrap_or(114_688),
            proxy_headers: r.flag("oslo_middleware", "enable_proxy_headers_parsing", false)?,
            max_connections: r.count("vicar", "max_connections", 8192)?,
            max_connections_per_address: r.count("vicar", "max_connections_per_address", 2048)?,
            ec2_keys: match r.text("delegation", "ec2_keys").as_deref() {
                None | Some("bound") => Ec2Keys::Bound,
                Some("refuse") => Ec2Keys::Refuse,
                Some(other) => {
                    return Err(ConfigError(format!(
                        "[delegation] ec2_keys: `{other}` is neither bound nor refuse"
                    )));
                }
            },
            revoke_buffer: seconds(&mut r, "revoke", "expiration_buffer", 1800)?,
            cache: r.flag("cache", "enabled", true)?,
            retention: seconds(&mut r, "delegation", "retention", 30 * 86_400)?,
            reap_interval: seconds(&mut r, "delegation", "reap_interval", 60)?,
            unknown: Vec::new(),
        };
        let mut unknown = r.unknown();
        if let Location::Server(at) = &config.database.location {
            unknown.extend(at.unknown.iter().map(|name| format!("[database] connection, parameter {name}")));
        }
        Ok(Self { unknown, ..config })
    }
}

/// oslo's INI: sections, `key = value`, continuation lines, comments; the last of a key wins.
#[derive(Default)]
pub struct Ini {
    values: BTreeMap<(String, String), String>,
}

/// Names only: values may be secrets.
impl std::fmt::Debug for Ini {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

impl Ini {
    /// Reads files in their order; later ones win.
    pub fn of(files: &[PathBuf]) -> Result<Self, ConfigError> {
        let mut ini = Self::default();
        for file in files {
            let wrong = |e: String| ConfigError(format!("{}: {e}", file.display()));
            let text = std::fs::read_to_string(file).map_err(|e| wrong(e.to_string()))?;
            ini.read(&text).map_err(wrong)?;
        }
        Ok(ini)
    }

    /// What an option was set to; nothing, as in oslo, when that is empty.
    pub fn value(&self, section: &str, option: &str) -> Option<&str> {
        let value = self.values.get(&(section.to_owned(), option.to_owned()))?;
        Some(value.as_str()).filter(|v| !v.is_empty())
    }

    /// All that is set, as section and option.
    pub fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.keys().map(|(section, option)| (section.as_str(), option.as_str()))
    }

    fn read(&mut self, text: &str) -> Result<(), String> {
        let mut section = String::from("DEFAULT");
        let mut last: Option<(String, String)> = None;
        for (i, raw) in text.lines().enumerate() {
            let line = raw.trim_end();
            if line.trim().is_empty() || line.starts_with('#') || line.starts_with(';') {
                continue;
            }
            if line.starts_with(char::is_whitespace) {
                // A continuation of the value above.
                let key = last.as_ref().ok_or_else(|| format!("line {}: nothing to continue", i + 1))?;
                let value = self.values.entry(key.clone()).or_default();
                value.push('\n');
                value.push_str(line.trim());
            } else if let Some(name) = line.strip_prefix('[') {
                section = name
                    .strip_suffix(']')
                    .ok_or_else(|| format!("line {}: the section's bracket is not closed", i + 1))?
                    .trim()
                    .to_owned();
                last = None;
            } else {
                let (key, value) = line
                    .split_once(['=', ':'])
                    .ok_or_else(|| format!("line {}: neither a section nor `key = value`", i + 1))?;
                let value = value.trim();
                let value = ['"', '\'']
                    .iter()
                    .find_map(|q| value.strip_prefix(*q)?.strip_suffix(*q))
                    .unwrap_or(value);
                let key = (section.clone(), key.trim().replace('-', "_"));
                self.values.insert(key.clone(), value.to_owned());
                last = Some(key);
            }
        }
        Ok(())
    }
}

struct Reader<'a> {
    ini: &'a Ini,
    asked: BTreeSet<(String, String)>,
}

impl Reader<'_> {
    fn text(&mut self, section: &str, option: &str) -> Option<String> {
        let key = (section.to_owned(), option.to_owned());
        let found = self.ini.values.get(&key).filter(|v| !v.is_empty()).cloned();
        self.asked.insert(key);
        found
    }

    fn database(&mut self, data_dir: &Path) -> Result<Settings, ConfigError> {
        let location = match self.text("database", "connection") {
            None => Location::Sqlite(data_dir.join("vicar.db")),
            Some(url) => url::parse(&url).map_err(|e| ConfigError(format!("[database] connection: {e}")))?,
        };
        let usual = Settings::of(location);
        let count = |r: &mut Self, option, usual: usize| {
            let n = r.optional("database", option)?;
            Ok::<_, ConfigError>(n.map_or(usual, |n| usize::try_from(n).unwrap_or(usual)))
        };
        let seconds = |r: &mut Self, option, usual: Duration| {
            let n = r.optional("database", option)?;
            Ok::<_, ConfigError>(n.map_or(usual, |n| Duration::from_secs(n.into())))
        };
        Ok(Settings {
            max_pool_size: count(self, "max_pool_size", usual.max_pool_size)?,
            max_overflow: count(self, "max_overflow", usual.max_overflow)?,
            pool_timeout: seconds(self, "pool_timeout", usual.pool_timeout)?,
            // oslo: -1 is for ever.
            max_retries: u32::try_from(self.number("database", "max_retries", 10)?).ok(),
            retry_interval: seconds(self, "retry_interval", usual.retry_interval)?,
            recycle: seconds(self, "connection_recycle_time", usual.recycle)?,
            connect_timeout: seconds(self, "connect_timeout", usual.connect_timeout)?,
            statement_timeout: seconds(self, "statement_timeout", usual.statement_timeout)?,
            lock_timeout: seconds(self, "lock_timeout", usual.lock_timeout)?,
            location: usual.location,
        })
    }

    /// Rounds of another algorithm than bcrypt are counted otherwise: as a cost of bcrypt's, they would make a
    /// login last for years.
    fn bcrypt_cost(&mut self) -> Result<u32, ConfigError> {
        let algorithm = self.text("identity", "password_hash_algorithm");
        let rounds = self.number("identity", "password_hash_rounds", 12)?;
        let rounds = if algorithm.is_none_or(|a| a.starts_with("bcrypt")) { rounds } else { 12 };
        Ok(u32::try_from(rounds).unwrap_or(12).clamp(4, 31))
    }

    fn path(&mut self, section: &str, option: &str, default: &Path) -> PathBuf {
        self.text(section, option).map_or_else(|| default.to_owned(), PathBuf::from)
    }

    fn number(&mut self, section: &str, option: &str, default: i64) -> Result<i64, ConfigError> {
        match self.text(section, option) {
            None => Ok(default),
            Some(t) => {
                t.trim().parse().map_err(|_| ConfigError(format!("[{section}] {option}: `{t}` is no number")))
            }
        }
    }

    fn count(&mut self, section: &str, option: &str, default: u32) -> Result<usize, ConfigError> {
        let n = self.optional(section, option)?.unwrap_or(default);
        Ok(usize::try_from(n).unwrap_or(usize::MAX))
    }

    fn regex(&mut self, section: &str, option: &str) -> Result<Option<String>, ConfigError> {
        let text = self.text(section, option);
        if let Some(Err(e)) = text.as_deref().map(crate::passwords::compile) {
            return Err(ConfigError(format!("[{section}] {option}: {e}")));
        }
        Ok(text)
    }

    fn optional(&mut self, section: &str, option: &str) -> Result<Option<u32>, ConfigError> {
        match self.text(section, option) {
            None => Ok(None),
            Some(t) => t
                .trim()
                .parse()
                .map(Some)
                .map_err(|_| ConfigError(format!("[{section}] {option}: `{t}` is no number"))),
        }
    }

    fn flag(&mut self, section: &str, option: &str, default: bool) -> Result<bool, ConfigError> {
        match self.text(section, option) {
            None => Ok(default),
            Some(t) => match t.to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" | "t" | "y" => Ok(true),
                "false" | "0" | "no" | "off" | "f" | "n" => Ok(false),
                _ => Err(ConfigError(format!("[{section}] {option}: `{t}` is neither true nor false"))),
            },
        }
    }

    fn list(&mut self, section: &str, option: &str, default: &str) -> Vec<String> {
        let text = self.text(section, option).unwrap_or_else(|| default.to_owned());
        text.split([',', '\n']).map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect()
    }

    fn unknown(&self) -> Vec<String> {
        self.ini
            .values
            .keys()
            .filter(|k| !self.asked.contains(*k))
            .map(|(s, o)| format!("[{s}] {o}"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(c.unknown, ["[nothing] like"]);
        assert!(!format!("{c:?}").contains("s3cret"));
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
}
