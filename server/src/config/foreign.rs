//! What follows from options of a Keystone that are not read here: the table, and the judgement of what is set.

use std::path::{Path, PathBuf};

use super::federation::REMOTE_ID;
use super::{Config, Ini, known, options};
use crate::oslo;

/// What follows from an option that is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Nothing,
    /// Something is not as it is there.
    Differs(&'static str),
    /// Something is to be done.
    Todo(&'static str),
    /// Logins or rules that somebody relies on are not there. The server does not start unless `--accept` has this name.
    Refused(&'static str, &'static str),
}

use Effect::{Differs, Nothing, Refused, Todo};

/// With which values it follows.
#[derive(Debug, Clone, Copy)]
enum When {
    Always,
    /// With others than these.
    Unless(&'static [&'static str]),
}

use When::{Always, Unless};

const OFF: &[&str] = &["false", "off"];
const ON: &[&str] = &["true", "on"];
const SQL: &[&str] = &["sql"];

/// Keystone's own plugins for login methods.
const PLUGINS: &[&str] = &[
    "default",
    "domain",
    "defaultdomain",
    "password",
    "token",
    "external",
    "oauth1",
    "mapped",
    "totp",
    "application_credential",
    "ec2credential",
    "keystone.auth.plugins.password.password",
    "keystone.auth.plugins.token.token",
    "keystone.auth.plugins.external.domain",
    "keystone.auth.plugins.external.defaultdomain",
    "keystone.auth.plugins.oauth1.oauth",
    "keystone.auth.plugins.mapped.mapped",
    "keystone.auth.plugins.totp.totp",
    "keystone.auth.plugins.application_credential.applicationcredential",
    "keystone.auth.plugins.ec2credential.plugin",
];

/// The first that fits counts; `*` begins or ends a part of a name, or stands for any.
#[rustfmt::skip]
const EFFECTS: &[(&str, &str, When, Effect)] = &[
    ("token", "provider", Unless(&["fernet"]), Refused("token-provider", "tokens of the Keystone are not understood here, nor ours there. Change it there to `fernet` first, and wait for `[token] expiration`")),
    ("credential", "provider", Unless(&["fernet"]), Refused("credential-provider", "stored credentials cannot be read here")),
    ("receipt", "provider", Unless(&["fernet"]), Differs("receipts are made here as `fernet` makes them")),
    ("identity", "driver", Unless(SQL), Refused("identity-driver", "a driver for all domains other than `sql`: its users cannot log in here. An LDAP is served for a domain of its own, by `domain_specific_drivers_enabled`")),
    ("catalog", "driver", Unless(SQL), Refused("catalog-driver", "the catalog is served from the database alone")),
    ("oslo_messaging_rabbit", "kombu_compression", Always, Differs("notifications are sent as they are, without compression")),
    ("oslo_messaging_rabbit", "ssl_version", Unless(&["", "sslv23", "tlsv1_2"]), Differs("connections are TLS 1.2 or 1.3 here, whichever the broker has")),
    // What a Keystone declares with `rabbit_transient_quorum_queue` are queues for replies: it has none.
    ("oslo_messaging*", "*", Always, Nothing),
    ("cache", "*", Always, Nothing),
    ("unified_limit", "driver", Unless(SQL), Refused("other-driver", "what it keeps is not in the database, and not served here")),
    // With `rules` a Keystone keeps no policies; what it has kept is served.
    ("policy", "driver", Unless(&["sql", "rules"]), Refused("other-driver", "what it keeps is not in the database, and not served here")),
    ("endpoint_filter", "driver", Unless(&["sql", "catalog.sql"]), Refused("other-driver", "what it keeps is not in the database, and not served here")),
    ("*", "driver", Unless(SQL), Refused("other-driver", "what it keeps is not in the database, and not served here")),
    ("auth", "*", Unless(PLUGINS), Refused("auth-plugins", "a plugin for a login method that does not run here: who logs in with it cannot, and a check that it adds is not made")),
    ("tokenless_auth", "trusted_issuer", Always, Refused("tokenless-auth", "requests that a certificate speaks for are not served here")),
    ("tokenless_auth", "*", Always, Nothing),
    ("oslo_policy", "enforce_scope", Unless(ON), Differs("the kind of scope that an operation wants is always enforced, as in Keystone 30.0.0")),
    ("oslo_policy", "enforce_new_defaults", Unless(ON), Differs("the old, wider defaults are not among the shipped rules: who relies on them is refused. Overrides in policy.yaml can name them")),
    ("security_compliance", "allow_insecure_admin_trust_cross_project_credentials_access", Unless(OFF), Differs("a trust's token never sees other credentials here")),
    ("DEFAULT", "strict_password_check", Unless(ON), Differs("a password that is too long is always refused, never cut")),
    ("resource", "*_url_safe", Unless(&["off"]), Refused("url-safe-names", "names are not checked here for what cannot be part of a URL")),
    ("application_credential", "*", Always, Nothing),
    ("DEFAULT", "secure_proxy_ssl_header", Always, Todo("it is not looked at here. Set `[DEFAULT] public_endpoint`, which links then begin with")),
    ("oslo_middleware", "*", Always, Nothing),
    ("saml", "idp_entity_id", Always, Differs("no assertions are made here for other Keystones")),
    ("database", "slave_connection", Always, Differs("everything is read where it is written")),
    ("database", "mysql_sql_mode", Unless(&["traditional"]), Differs("every connection here is in TRADITIONAL mode")),
    ("database", "backend", Unless(&["sqlalchemy"]), Nothing),
    ("DEFAULT", "config_source", Always, Refused("config-source", "a source of options that is not read here; put them into a file")),
    ("paste_deploy", "*", Always, Differs("pipelines of middleware are not read here: a filter that they add does not run")),
];

/// Options that older Keystones had and 30.0.0 ignores, and sections that others read. They are no mistakes, and do nothing.
const OTHERS: &[(&str, &str)] = &[
    ("oslo_messaging*", "*"),
    ("oslo_concurrency", "*"),
    ("oslo_reports", "*"),
    ("eventlet_server*", "*"),
    ("profiler*", "*"),
    ("memcache", "*"),
    ("ssl", "*"),
    ("ldap", "*"),
    ("kvs", "*"),
    ("signing", "*"),
    ("oslo_policy", "enforce_scope"),
    ("os_inherit", "enabled"),
    ("endpoint_policy", "enabled"),
    ("trust", "enabled"),
    ("token", "driver"),
    ("token", "bind"),
    ("token", "enforce_token_bind"),
    ("token", "hash_algorithm"),
    ("token", "infer_roles"),
    ("identity", "crypt_strength"),
    ("catalog", "template_file"),
    ("database", "idle_timeout"),
    ("database", "min_pool_size"),
    ("database", "mysql_enable_ndb"),
    ("database", "use_tpool"),
    ("database", "sqlite_db"),
    ("paste_deploy", "config_file"),
    ("DEFAULT", "config_source"),
    ("DEFAULT", "secure_proxy_ssl_header"),
    ("DEFAULT", "admin_endpoint"),
    ("DEFAULT", "verbose"),
    ("DEFAULT", "rpc_backend"),
    ("DEFAULT", "rpc_*"),
    ("DEFAULT", "notification_*"),
    ("DEFAULT", "use_syslog_rfc_format"),
    ("DEFAULT", "watch_log_file"),
    ("DEFAULT", "logging_*"),
    ("DEFAULT", "tempdir"),
    ("DEFAULT", "host"),
    ("DEFAULT", "member_role_*"),
    ("DEFAULT", "shell_completion"),
    ("DEFAULT", "domain_id_immutable"),
    ("oslo_middleware", "secure_proxy_ssl_header"),
];

fn fits(pattern: &str, name: &str) -> bool {
    match (pattern.strip_suffix('*'), pattern.strip_prefix('*')) {
        (Some(start), _) => name.starts_with(start),
        (None, Some(end)) => name.ends_with(end),
        (None, None) => pattern == name,
    }
}

/// oslo's many words for yes and no as one each; other words in small letters.
fn plain(value: &str) -> String {
    let word = value.trim().to_ascii_lowercase();
    match oslo::boolean(&word) {
        Some(true) => "true".to_owned(),
        // Some options have `off` as a word of their own.
        Some(false) if word != "off" => "false".to_owned(),
        _ => word,
    }
}

/// Where an option of a Keystone stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is read here.
    Read,
    /// It is not, and this follows.
    Foreign(Effect),
    /// No Keystone has it; this one has nearly its name.
    Unknown(Option<(&'static str, &'static str)>),
}

/// Where an option with a value stands.
pub fn standing(section: &str, name: &str, value: &str) -> Standing {
    // A section may also have the name of a protocol.
    if options::find(section, name).is_some() || name == REMOTE_ID {
        return Standing::Read;
    }
    let other = || OTHERS.iter().any(|(s, o)| fits(s, section) && fits(o, name));
    // Plugins of login methods have the methods' names.
    if !known::is_keystones(section, name) && section != "auth" && !other() {
        return Standing::Unknown(known::nearest(section, name));
    }
    let found = EFFECTS.iter().find(|(s, o, ..)| fits(s, section) && fits(o, name));
    Standing::Foreign(match found {
        Some((_, _, Unless(values), _)) if values.contains(&plain(value).as_str()) => Nothing,
        Some((.., effect)) => *effect,
        None => Nothing,
    })
}

/// One finding about what is configured.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The option, as `[section] name`.
    pub option: String,
    /// What follows.
    pub effect: Effect,
    /// The same in words, with the value where that is no secret.
    pub text: String,
}

/// All that is to be said of what is configured and not read.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// What follows from options that are not read.
    pub foreign: Vec<Finding>,
    /// Options that do nothing here, and whose absence changes nothing.
    pub idle: Vec<String>,
    /// Options that no Keystone has, with the one that may be meant.
    pub unknown: Vec<(String, Option<String>)>,
}

impl Findings {
    /// Judges an option with a value.
    fn add(&mut self, option: String, (section, name, value): (&str, &str, &str)) {
        match standing(section, name, value) {
            Standing::Read => {}
            Standing::Foreign(Nothing) => self.idle.push(option),
            Standing::Foreign(effect @ (Refused(_, text) | Differs(text) | Todo(text))) => {
                let value = shown(name, value).map_or("set".to_owned(), |v| format!("`{v}`"));
                self.foreign.push(Finding { option, effect, text: format!("is {value}: {text}") });
            }
            Standing::Unknown(meant) => {
                self.unknown.push((option, meant.map(|(section, name)| written(section, name))));
            }
        }
    }

    /// What keeps the server from starting, but for what was accepted by name.
    pub fn refused<'a>(
        &'a self,
        accepted: &'a [String],
    ) -> impl Iterator<Item = (&'static str, &'a Finding)> {
        self.foreign.iter().filter_map(|f| match f.effect {
            Refused(name, _) if !accepted.iter().any(|a| a == name) => Some((name, f)),
            _ => None,
        })
    }
}

fn written(section: &str, name: &str) -> String {
    format!("[{section}] {name}")
}

/// Judges every option that is set, and what some of them lead to.
pub fn judge(ini: &Ini, config: &Config) -> Findings {
    let mut all = Findings::default();
    for (section, name) in ini.names() {
        let Some(value) = ini.value(section, name) else { continue };
        all.add(written(section, name), (section, name, value));
    }
    for (name, value) in config.messaging.broker.iter().flat_map(|broker| &broker.query) {
        let option = format!("{}: {name}", written("oslo_messaging_notifications", "transport_url"));
        all.add(option, ("oslo_messaging_rabbit", name, value));
    }
    methods(&mut all, config);
    transport(&mut all, config);
    external(&mut all, ini, config);
    client_certificates(&mut all, ini, config);
    domains(&mut all, ini, config);
    all
}

/// A value, where it can be no secret.
fn shown<'a>(name: &str, value: &'a str) -> Option<&'a str> {
    let is_word = oslo::boolean(value).is_some() || matches!(value, "new" | "strict");
    (matches!(name, "provider" | "driver") || is_word).then_some(value)
}

/// Login methods that are served here, or whose users are known by what is stored: see `cli/left_behind.rs`.
const METHODS: &[&str] = &[
    "external",
    "password",
    "token",
    "oauth1",
    "mapped",
    "openid",
    "saml2",
    "x509",
    "application_credential",
    "ec2credential",
    "totp",
];

const OTHER_METHODS: &str = "nobody logs in here with what a plugin adds";

fn methods(all: &mut Findings, config: &Config) {
    let has_kerberos = config.remote_user.as_ref().is_some_and(|remote| remote.auth_type.is_some());
    let is_known = |m: &str| METHODS.contains(&m) || has_kerberos && m == "kerberos";
    let others: Vec<&str> = config.auth_methods.iter().map(String::as_str).filter(|m| !is_known(m)).collect();
    if !others.is_empty() {
        all.foreign.push(Finding {
            option: written("auth", "methods"),
            effect: Refused("auth-methods", OTHER_METHODS),
            text: format!("has {}: {OTHER_METHODS}", others.join(", ")),
        });
    }
}

const OTHER_TRANSPORT: &str =
    "notifications go to a RabbitMQ or to the log here: what is done is told to nobody";

fn transport(all: &mut Findings, config: &Config) {
    if let Some(scheme) = &config.messaging.other_transport {
        all.foreign.push(Finding {
            option: written("oslo_messaging_notifications", "transport_url"),
            effect: Differs(OTHER_TRANSPORT),
            text: format!("begins with `{scheme}:`: {OTHER_TRANSPORT}"),
        });
    }
}

/// `[auth] external`, which is read, and can name a plugin; and what it needs here.
fn external(all: &mut Findings, ini: &Ini, config: &Config) {
    let option = written("auth", "external");
    let Some(plugin) = ini.value("auth", "external") else { return };
    if !PLUGINS.contains(&plain(plugin).as_str()) {
        let text = "is set: a plugin for a login method that does not run here".to_owned();
        all.foreign.push(Finding { option, effect: Refused("auth-plugins", OTHER_METHODS), text });
    } else if config.remote_user.is_none() && config.auth_methods.iter().any(|m| m == "external") {
        let text =
            "nobody is known by a front server here before `[vicar] remote_user_header` names its header";
        all.foreign.push(Finding { option, effect: Todo(text), text: format!("is set: {text}") });
    }
}

/// Certificates of clients of OAuth 2.0, where they were set up.
fn client_certificates(all: &mut Findings, ini: &Ini, config: &Config) {
    let names = ["oauth2_authn_methods", "oauth2_cert_dn_mapping_id"];
    let set = names.into_iter().find(|name| ini.value("oauth2", name).is_some());
    let come = config.client_certificates.header.is_some() || config.serving.tls_client_ca.is_some();
    let Some(name) =
        set.filter(|_| !come && config.oauth2_authn_methods.iter().any(|m| m == "tls_client_auth"))
    else {
        return;
    };
    let text = "no client has a certificate here before `[vicar] client_certificate_header` or `tls_client_ca` says where it comes from";
    all.foreign.push(Finding {
        option: written("oauth2", name),
        effect: Todo(text),
        text: format!("is set: {text}"),
    });
}

const OTHER_DOMAINS: &str = "their users cannot log in here";

/// Domains whose configuration file names a driver of their own.
fn domains(all: &mut Findings, ini: &Ini, config: &Config) {
    let is_on = |option| ini.value("identity", option).and_then(oslo::boolean) == Some(true);
    // With those in the database, a Keystone does not look at files.
    if !is_on("domain_specific_drivers_enabled") || is_on("domain_configurations_from_database") {
        return;
    }
    let dir = PathBuf::from(ini.value("identity", "domain_config_dir").unwrap_or("/etc/keystone/domains"));
    let option = written("identity", "domain_specific_drivers_enabled");
    let found = match domain_files(&dir) {
        Ok(found) => found,
        Err(e) => {
            // There may be any.
            let effect = Refused("domain-drivers", OTHER_DOMAINS);
            let text = format!("{} cannot be read: {e}", dir.display());
            all.foreign.push(Finding { option, effect, text });
            return;
        }
    };
    let mut others = Vec::new();
    for (domain, file) in found {
        // A file that cannot be read may name any.
        let driver = match Ini::of(std::slice::from_ref(&file)) {
            Ok(ini) => ini.value("identity", "driver").map_or_else(|| "sql".to_owned(), plain),
            Err(_) => String::new(),
        };
        match (driver.as_str(), config.directories.by_name.get(&domain)) {
            ("sql", _) => {}
            ("ldap", Some(Ok(directory))) if directory.is_open() => {
                let effect = Differs(OPEN);
                all.foreign.push(Finding {
                    option: option.clone(),
                    effect,
                    text: format!("the domain {domain}: {OPEN}"),
                });
            }
            ("ldap", Some(Ok(_))) => {}
            ("ldap", Some(Err(fault))) => others.push(format!("{domain} ({fault})")),
            _ => others.push(domain),
        }
    }
    if others.is_empty() {
        return;
    }
    let effect = Refused("domain-drivers", OTHER_DOMAINS);
    let text = format!(
        "domains with a driver or options that are not served in {}: {}; {OTHER_DOMAINS}",
        dir.display(),
        others.join(", ")
    );
    all.foreign.push(Finding { option, effect, text });
}

const OPEN: &str =
    "`ldap://` without `use_tls`: passwords are sent to the directory as they are, here as by a Keystone";

/// The files with options of domains, by the domains' names.
///
/// # Errors
/// The directory cannot be read.
pub fn domain_files(dir: &Path) -> std::io::Result<Vec<(String, PathBuf)>> {
    let name = |file: &PathBuf| {
        let name = file.file_name()?.to_str()?;
        Some(name.strip_prefix("keystone.")?.strip_suffix(".conf")?.to_owned())
    };
    let found = files_in(dir, |name| name.starts_with("keystone.") && name.ends_with(".conf"))?;
    Ok(found.into_iter().filter_map(|file| Some((name(&file)?, file))).collect())
}

/// The files of a directory whose names `wanted` takes, in their order. Hidden ones are passed over; a directory that is
/// not there has none. One that leads nowhere is among them: whoever reads it will say so.
///
/// # Errors
/// The directory cannot be read.
pub fn files_in(dir: &Path, wanted: impl Fn(&str) -> bool) -> std::io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut out = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|n| n.to_str());
        let is_wanted = name.is_some_and(|name| !name.starts_with('.') && wanted(name));
        if is_wanted && std::fs::metadata(&path).map_or(true, |m| !m.is_dir()) {
            out.push(path);
        }
    }
    out.sort();
    Ok(out)
}

/// The name for a policy file that is named and not there.
pub const POLICY_FILE: &str = "policy-file";

/// Every name that `--accept` takes.
pub fn acceptable() -> Vec<&'static str> {
    let of_table = EFFECTS.iter().filter_map(|(.., effect)| match effect {
        Refused(name, _) => Some(*name),
        _ => None,
    });
    let mut all: Vec<&str> = of_table.chain(["auth-methods", "domain-drivers", POLICY_FILE]).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Rows for the page: the names that `--accept` takes, with the options that lead to them.
#[cfg(test)]
pub(super) fn refusals() -> Vec<String> {
    let of_table = EFFECTS.iter().filter_map(|(section, option, _, effect)| match effect {
        Refused(name, text) => Some((*name, format!("`[{section}] {option}`"), *text)),
        _ => None,
    });
    let more = [
        ("auth-methods", "`[auth] methods`".to_owned(), OTHER_METHODS),
        (POLICY_FILE, "`[oslo_policy] policy_file`".to_owned(), "the file that it names is not there"),
        ("domain-drivers", "`[identity] domain_specific_drivers_enabled`".to_owned(), OTHER_DOMAINS),
    ];
    let mut all: Vec<_> = of_table.chain(more).collect();
    all.sort_by_key(|(name, ..)| *name);
    all.into_iter().map(|(name, option, text)| format!("| `{name}` | {option} | {text} |\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effect(section: &str, name: &str, value: &str) -> Effect {
        match standing(section, name, value) {
            Standing::Foreign(effect) => effect,
            other => panic!("[{section}] {name}: {other:?}"),
        }
    }

    #[test]
    fn the_first_line_that_fits_counts() {
        assert!(matches!(effect("token", "provider", "jws"), Refused("token-provider", _)));
        assert_eq!(effect("token", "provider", "Fernet"), Nothing);
        assert_eq!(effect("assignment", "driver", "sql"), Nothing);
        assert!(matches!(effect("assignment", "driver", "ldap"), Refused("other-driver", _)));
        assert_eq!(effect("token", "cache_time", "5"), Nothing);
        assert!(matches!(effect("auth", "saml2", "my.plugin"), Refused("auth-plugins", _)));
        assert_eq!(effect("auth", "password", "keystone.auth.plugins.password.Password"), Nothing);
        assert_eq!(effect("DEFAULT", "log_file", "x"), Nothing);
        assert_eq!(effect("DEFAULT", "max_param_size", "32"), Nothing);
        assert_eq!(effect("DEFAULT", "strict_password_check", "true"), Nothing);
        assert!(matches!(effect("DEFAULT", "strict_password_check", "false"), Differs(_)));
        assert_eq!(effect("oslo_policy", "enforce_scope", "Yes"), Nothing);
        assert!(matches!(effect("oslo_policy", "enforce_scope", "no"), Differs(_)));
        assert_eq!(standing("openid", "remote_id_attribute", "HTTP_OIDC_ISS"), Standing::Read);
    }

    #[test]
    fn what_no_keystone_has() {
        let unknown = |s: &str, o: &str| match standing(s, o, "x") {
            Standing::Unknown(meant) => meant,
            other => panic!("[{s}] {o}: {other:?}"),
        };
        assert_eq!(unknown("identity", "defualt_domain_id"), Some(("identity", "default_domain_id")));
        assert_eq!(unknown("odd", "nothing_like_it"), None);
        assert_eq!(standing("token", "expiration", "x"), Standing::Read);
    }

    #[test]
    fn each_option_of_keystone_is_read_or_judged() {
        for (section, name) in known::all() {
            assert!(!matches!(standing(section, name, "x"), Standing::Unknown(_)), "[{section}] {name}");
        }
    }

    #[test]
    fn certificates_of_clients_come_from_somewhere() {
        let found = |text: &str| {
            let mut ini = Ini::default();
            ini.read(text).expect("reads");
            let config = Config::from_ini(&ini, Path::new("/d")).expect("reads");
            let all = judge(&ini, &config).foreign;
            all.iter()
                .filter(|f| f.option.starts_with("[oauth2]"))
                .map(|f| f.option.clone())
                .collect::<Vec<_>>()
        };
        let mapping = "[oauth2]\noauth2_cert_dn_mapping_id = m\n";
        assert_eq!(found(mapping), ["[oauth2] oauth2_cert_dn_mapping_id"]);
        assert_eq!(
            found("[oauth2]\noauth2_authn_methods = tls_client_auth\n"),
            ["[oauth2] oauth2_authn_methods"]
        );
        let header = "client_certificate_header = X-Cert\ntrusted_proxies = ::1";
        for fine in [
            String::new(),
            "[oauth2]\noauth2_authn_methods = client_secret_basic\n".to_owned(),
            format!("{mapping}[vicar]\ntls_client_ca = /ca\n"),
            format!("{mapping}[vicar]\n{header}\n"),
        ] {
            assert!(found(&fine).is_empty(), "{fine}");
        }
    }

    #[test]
    fn domains_with_another_driver() {
        let dir = std::env::temp_dir().join(format!("vicar-domains-{}", crate::ids::uuid()));
        std::fs::create_dir(&dir).expect("made");
        let text = format!(
            "[identity]\ndomain_specific_drivers_enabled = true\ndomain_config_dir = {}\n",
            dir.display()
        );
        let mut ini = Ini::default();
        ini.read(&text).expect("reads");
        let judged = || judge(&ini, &Config::from_ini(&ini, Path::new("/d")).expect("reads"));
        let refused = || judged().refused(&[]).map(|(name, f)| (name, f.text.clone())).collect::<Vec<_>>();
        let file = |name: &str, text: &str| std::fs::write(dir.join(name), text).expect("written");
        file("keystone.Own.conf", "[identity]\ndriver = sql\n");
        file("other.conf", "[identity]\ndriver = mine\n");
        file("keystone.Safe.conf", "[identity]\ndriver = ldap\n[ldap]\nurl = ldaps://h\n");
        assert!(judged().foreign.is_empty() && refused().is_empty());
        file("keystone.Open.conf", "[identity]\ndriver = ldap\n[ldap]\nurl = ldap://h\n");
        assert!(judged().foreign.iter().any(|f| f.effect == Differs(OPEN) && f.text.contains("Open")));
        assert!(refused().is_empty());
        file("keystone.People.conf", "[identity]\ndriver = mine\n");
        file("keystone.Away.conf", "[identity]\ndriver = ldap\n[ldap]\nchase_referrals = true\n");
        let found = refused();
        let [("domain-drivers", text)] = found.as_slice() else { panic!("{found:?}") };
        assert!(
            text.contains("People")
                && text.contains("Away ([ldap] chase_referrals: ")
                && !text.contains("Own")
        );
        std::fs::remove_dir_all(&dir).expect("removed");
    }

    #[test]
    fn options_of_a_broker_that_do_nothing_are_said() {
        let judged = |text: &str| {
            let mut ini = Ini::default();
            ini.read(&format!("[oslo_messaging_notifications]\ndriver = messagingv2\n{text}"))
                .expect("reads");
            let all = judge(&ini, &Config::from_ini(&ini, Path::new("/d")).expect("reads"));
            let said = all.foreign.into_iter().map(|f| f.option).collect::<Vec<_>>();
            (said.join(" "), all.idle.join(" "))
        };
        let url = "[oslo_messaging_notifications] transport_url:";
        let (said, idle) =
            judged("transport_url = rabbit://h/?ssl=1&kombu_compression=gzip&rabbit_stream_fanout=1\n");
        assert_eq!(said, format!("{url} kombu_compression"));
        assert_eq!(idle, format!("{url} rabbit_stream_fanout"));
        let rabbit = "[oslo_messaging_rabbit]";
        let (said, idle) =
            judged(&format!("{rabbit}\nssl_version = TLSv1\nrabbit_transient_quorum_queue = true\n"));
        assert_eq!(said, format!("{rabbit} ssl_version"));
        assert_eq!(idle, format!("{rabbit} rabbit_transient_quorum_queue"));
        assert_eq!(judged(&format!("{rabbit}\nssl_version = TLSv1_2\n")).0, "");
    }

    #[test]
    fn what_is_accepted_by_name_is_not_refused() {
        let mut ini = Ini::default();
        ini.read("[token]\nprovider = jws\n[auth]\nmethods = password,kerberos\n").expect("reads");
        let config = Config::from_ini(&ini, Path::new("/d")).expect("reads");
        let all = judge(&ini, &config);
        let names = |accepted: &[&str]| {
            let accepted: Vec<String> = accepted.iter().map(|a| (*a).to_owned()).collect();
            all.refused(&accepted).map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(names(&[]), ["token-provider", "auth-methods"]);
        assert_eq!(names(&["token-provider"]), ["auth-methods"]);
        assert!(names(&["token-provider", "auth-methods"]).is_empty());
        assert!(all.foreign.iter().any(|f| f.text.contains("`jws`")));
    }
}
