//! What each option of a `keystone.conf` means here.

use std::path::{Path, PathBuf};

use super::super::installation::Installation;
use super::super::report::{Report, Verdict};
use crate::config::{Config, Ini};
use crate::oslo;

/// What follows from an option that this server does not read.
#[derive(Debug, Clone, Copy)]
enum Support {
    /// Nothing.
    NoEffect,
    /// Nothing with these values; this finding with others.
    Unless(&'static [&'static str], Verdict, &'static str),
    /// This finding, whatever the value.
    Always(Verdict, &'static str),
}

use Support::{Always, NoEffect, Unless};
use Verdict::{Differs, Fail, Todo};

const OFF: &[&str] = &["false", "off"];
const DRIVER: Support =
    Unless(&["sql"], Fail, "is not `sql`: what it keeps is not in the database, and not served here");

/// The first that fits counts; `*` ends a prefix, or stands for any.
#[rustfmt::skip]
const OPTION_SUPPORT: &[(&str, &str, Support)] = &[
    ("token", "provider", Unless(&["fernet"], Fail, "is not `fernet`: tokens of the Keystone are not understood here, nor ours there. Change it there first, and wait for `[token] expiration`")),
    ("credential", "provider", Unless(&["fernet"], Fail, "is not `fernet`: stored credentials cannot be read here")),
    ("identity", "driver", Unless(&["sql"], Fail, "is not `sql`: users whose passwords an LDAP or another service checks cannot log in here")),
    ("identity", "domain_specific_drivers_enabled", Unless(OFF, Todo, "is on: users of domains with a driver of their own cannot log in here; which they are stands below, under Users")),
    ("identity", "domain_configurations_from_database", Unless(OFF, Differs, "is on: configurations of domains are neither read nor served here")),
    ("catalog", "driver", Unless(&["sql"], Fail, "is not `sql`: the catalog is served from the database alone")),
    ("oslo_messaging_notifications", "driver", Unless(&["noop"], Differs, "is set: what is done here is told to nobody. Who follows the Keystone's notifications (metering, audit, cleaners) misses it")),
    ("*", "driver", DRIVER),
    ("auth", "*", Always(Fail, "is a plugin for a login method: it does not run here")),
    ("tokenless_auth", "trusted_issuer", Always(Fail, "is set: requests that a certificate speaks for are not served here")),
    ("tokenless_auth", "*", NoEffect),
    ("oslo_policy", "enforce_new_defaults", Unless(&["true"], Differs, "is off: the old, wider defaults are not among the shipped rules; whoever relies on them is refused. Overrides in policy.yaml can name them")),
    ("oslo_policy", "remote_ssl_verify_server_crt", Unless(&["true"], Differs, "is off: whom a rule asks by `https:` is verified here all the same. Set `remote_ssl_ca_crt_file` if it is not one that the system trusts")),
    ("oslo_policy", "*", NoEffect),
    ("security_compliance", "allow_insecure_admin_trust_cross_project_credentials_access", Unless(OFF, Differs, "is on: a trust's token never sees other credentials here")),
    ("security_compliance", "*", NoEffect),
    ("resource", "*_url_safe", Unless(&["off"], Differs, "is on: names are not checked for it here")),
    ("application_credential", "user_limit", NoEffect),
    ("endpoint_filter", "return_all_endpoints_if_no_filter", Unless(&["true"], Differs, "is off: a project for which no endpoint is named sees all of them here")),
    ("*", "list_limit", Always(Differs, "is not looked at; `[DEFAULT] list_limit` is")),
    ("oslo_middleware", "enable_proxy_headers_parsing", Unless(OFF, Todo, "is on: of the X-Forwarded headers only the client's address is looked at here. Set `[DEFAULT] public_endpoint`, which links then begin with; the Keystone understands it too")),
    ("DEFAULT", "secure_proxy_ssl_header", Always(Todo, "is not looked at here. Set `[DEFAULT] public_endpoint`, which links then begin with")),
    ("oslo_middleware", "*", NoEffect),
    ("cors*", "allowed_origin", Always(Differs, "is set: no CORS headers are sent here; a proxy in front can add them")),
    ("cors*", "*", NoEffect),
    ("federation", "trusted_dashboard", Always(Differs, "is set: single sign-on is not served here")),
    ("saml", "idp_entity_id", Always(Differs, "is set: no assertions are made here for other Keystones")),
    ("database", "slave_connection", Always(Differs, "is not used: everything is read where it is written")),
    ("database", "*", NoEffect),
    ("cache", "enabled", Unless(OFF, Verdict::Ok, "has no meaning here: nothing is remembered between requests. What the Keystone remembers is said below")),
    ("cache", "*", NoEffect),
    ("memcache", "*", NoEffect),
    ("*", "caching", NoEffect),
    ("*", "cache_time", NoEffect),
    ("token", "*", NoEffect),
    ("credential", "*", NoEffect),
    ("identity", "*", NoEffect),
    ("resource", "*", NoEffect),
    ("assignment", "*", NoEffect),
    ("catalog", "*", NoEffect),
    ("trust", "*", NoEffect),
    ("revoke", "*", NoEffect),
    ("role", "*", NoEffect),
    ("policy", "*", NoEffect),
    ("fernet_tokens", "*", NoEffect),
    ("fernet_receipts", "*", NoEffect),
    ("receipt", "*", NoEffect),
    ("jwt_tokens", "*", NoEffect),
    ("ldap", "*", NoEffect),
    ("identity_mapping", "*", NoEffect),
    ("shadow_users", "*", NoEffect),
    ("domain_config", "*", NoEffect),
    ("application_credential", "*", NoEffect),
    ("endpoint_filter", "*", NoEffect),
    ("endpoint_policy", "*", NoEffect),
    ("unified_limit", "*", NoEffect),
    ("federation", "*", NoEffect),
    ("saml", "*", NoEffect),
    ("oauth*", "*", NoEffect),
    ("totp", "*", NoEffect),
    ("api", "*", NoEffect),
    ("wsgi", "*", NoEffect),
    ("healthcheck", "*", NoEffect),
    ("profiler*", "*", NoEffect),
    ("oslo_messaging*", "*", NoEffect),
    ("oslo_concurrency", "*", NoEffect),
    ("eventlet_server*", "*", NoEffect),
    ("paste_deploy", "*", NoEffect),
    ("ssl", "*", NoEffect),
    ("DEFAULT", "config_source", Always(Todo, "names a source of options that is not read here; put them into the file")),
    ("DEFAULT", "debug", NoEffect),
    ("DEFAULT", "verbose", NoEffect),
    ("DEFAULT", "log*", NoEffect),
    ("DEFAULT", "use_*", NoEffect),
    ("DEFAULT", "syslog*", NoEffect),
    ("DEFAULT", "watch_log_file", NoEffect),
    ("DEFAULT", "default_log_levels", NoEffect),
    ("DEFAULT", "publish_errors", NoEffect),
    ("DEFAULT", "instance_*", NoEffect),
    ("DEFAULT", "rate_limit_*", NoEffect),
    ("DEFAULT", "max_logfile*", NoEffect),
    ("DEFAULT", "fatal_deprecations", NoEffect),
    ("DEFAULT", "transport_url", NoEffect),
    ("DEFAULT", "control_exchange", NoEffect),
    ("DEFAULT", "rpc_*", NoEffect),
    ("DEFAULT", "executor_thread_pool_size", NoEffect),
    ("DEFAULT", "notification_*", NoEffect),
    ("DEFAULT", "default_publisher_id", NoEffect),
    ("DEFAULT", "max_param_size", NoEffect),
    ("DEFAULT", "max_token_size", NoEffect),
    ("DEFAULT", "max_db_limit", NoEffect),
    ("DEFAULT", "strict_password_check", NoEffect),
    ("DEFAULT", "insecure_debug", NoEffect),
    ("DEFAULT", "shell_completion", NoEffect),
    ("DEFAULT", "admin_endpoint", NoEffect),
    ("DEFAULT", "tempdir", NoEffect),
];

fn fits(pattern: &str, name: &str) -> bool {
    match (pattern.strip_suffix('*'), pattern.strip_prefix('*')) {
        (Some(start), _) => name.starts_with(start),
        (None, Some(end)) => name.ends_with(end),
        (None, None) => pattern == name,
    }
}

fn support(section: &str, option: &str) -> Option<Support> {
    OPTION_SUPPORT.iter().find(|(s, o, _)| fits(s, section) && fits(o, option)).map(|found| found.2)
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

pub(super) fn judge(r: &mut Report, at: &Installation, ini: &Ini, config: &Config) {
    named(r, ini, config);
    substitutions(r, ini, config);
    directories(r, at, ini);
    absent(r, ini, config);
    methods(r, config);
    meanings(r, ini, config);
    r.group("Policy");
    policy(r, config);
}

/// Every option in the files.
fn named(r: &mut Report, ini: &Ini, config: &Config) {
    let (mut honoured, mut idle, mut strange) = (Vec::new(), Vec::new(), Vec::new());
    let mut spoken = Vec::new();
    for (section, option) in ini.names() {
        let name = format!("[{section}] {option}");
        let Some(value) = ini.value(section, option) else { continue };
        if !config.unknown.contains(&name) {
            honoured.push(name);
            continue;
        }
        match support(section, option) {
            Some(NoEffect) => idle.push(name),
            Some(Unless(values, ..)) if values.contains(&plain(value).as_str()) => idle.push(name),
            Some(Unless(_, verdict, text) | Always(verdict, text)) => spoken.push((verdict, name, text)),
            None => strange.push(name),
        }
    }
    if !honoured.is_empty() {
        r.ok("honoured as they stand", honoured.join(", "));
    }
    if !idle.is_empty() {
        r.ok("ignored without consequence", idle.join(", "));
    }
    for (verdict, name, text) in spoken {
        r.add(verdict, &name, text);
    }
    if !strange.is_empty() {
        let text = "no options of a Keystone 30.0.0 as it ships; if a plugin or a proxy reads them, nothing here does";
        r.todo("unknown", format_args!("{}: {text}", strange.join(", ")));
    }
    for name in config.unknown.iter().filter(|n| n.contains(", parameter ")) {
        r.differs(name, "is not understood; the connection is made without it");
    }
}

/// oslo puts other options' values in the place of `$name`.
fn substitutions(r: &mut Report, ini: &Ini, config: &Config) {
    for (section, option) in ini.names() {
        let name = format!("[{section}] {option}");
        let is_pattern = option.ends_with("regex") || option == "connection" || option == "admin_token";
        if ini.value(section, option).is_some_and(|v| v.contains('$'))
            && !is_pattern
            && !config.unknown.contains(&name)
        {
            r.todo(
                &name,
                "holds a `$`: names of other options are not replaced here; write the value itself",
            );
        }
    }
}

/// What a Keystone reads besides the files that it is given.
fn directories(r: &mut Report, at: &Installation, ini: &Ini) {
    for file in &at.config_files {
        let Some(stem) = file.file_name().and_then(|n| n.to_str()) else { continue };
        let dir = file.with_file_name(format!("{stem}.d"));
        let more = files_of(&dir);
        if !more.is_empty() {
            let list: Vec<String> = more.iter().map(|p| format!("--config-file {}", p.display())).collect();
            r.todo(
                &dir.display().to_string(),
                format_args!(
                    "a Keystone reads it too; give its files in this order, after the first: {}",
                    list.join(" ")
                ),
            );
        }
    }
    let on = ini.value("identity", "domain_specific_drivers_enabled").map(plain);
    if on.as_deref() == Some("true") {
        let dir =
            PathBuf::from(ini.value("identity", "domain_config_dir").unwrap_or("/etc/keystone/domains"));
        let names: Vec<String> = files_of(&dir)
            .iter()
            .filter_map(|p| {
                Some(p.file_name()?.to_str()?.strip_prefix("keystone.")?.strip_suffix(".conf")?.to_owned())
            })
            .collect();
        if !names.is_empty() {
            r.fail(
                "domains with a driver of their own",
                format_args!("{}: their users cannot log in here", names.join(", ")),
            );
        }
    }
}

fn files_of(dir: &Path) -> Vec<PathBuf> {
    let mut out: Vec<PathBuf> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(|e| Some(e.ok()?.path()))
        .filter(|p| p.is_file() && !p.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b".")))
        .collect();
    out.sort();
    out
}

/// Options that are not in the files, and whose defaults are not the same here and there.
fn absent(r: &mut Report, ini: &Ini, config: &Config) {
    if ini.value("database", "connection").is_none() {
        r.fail(
            "[database] connection",
            format_args!("is not set, so {} would be used, which is no Keystone's", config.database.location),
        );
    }
    for (section, usual) in
        [("fernet_tokens", "/etc/keystone/fernet-keys"), ("credential", "/etc/keystone/credential-keys")]
    {
        if ini.value(section, "key_repository").is_none() {
            let at = match section {
                "credential" => &config.credential_keys,
                _ => &config.fernet_keys,
            };
            r.todo(
                &format!("[{section}] key_repository"),
                format_args!(
                    "is not set: a Keystone then uses {usual}, this server {}. Say it: `[{section}] key_repository = {usual}`",
                    at.display()
                ),
            );
        }
    }
}

/// Logins that are served here.
const SERVED: &[&str] = &["password", "token", "ec2credential"];

fn methods(r: &mut Report, config: &Config) {
    let others: Vec<&str> =
        config.auth_methods.iter().map(String::as_str).filter(|m| !SERVED.contains(m)).collect();
    if others.is_empty() {
        r.ok("[auth] methods", "all of them are served");
    } else {
        r.differs(
            "[auth] methods",
            format_args!(
                "{}: keep their place in the list, which is part of every token, but nobody logs in with them here",
                others.join(", ")
            ),
        );
    }
    if !config.auth_methods.iter().any(|m| m == "ec2credential") {
        r.todo("[auth] methods", "ec2credential is missing, so ec2tokens and s3tokens answer 503; add it at the end of the list, in the Keystone's file too");
    }
}

/// Options that are honoured here, and mean more or less than there.
fn meanings(r: &mut Report, ini: &Ini, config: &Config) {
    let allowed = config.trust.allow_redelegation;
    if !allowed {
        r.differs("[trust] allow_redelegation", "is off, which a Keystone never looks at: here it refuses further redelegation. Existing chains go on");
    } else if ini.value("trust", "allow_redelegation").is_none() {
        r.ok(
            "[trust] allow_redelegation",
            "redelegation is on, as in a Keystone, which never looks at this option",
        );
    }
    if config.admin_token.is_some() {
        r.todo("[DEFAULT] admin_token", "is set: whoever knows it is an administrator, here too; remove it");
    }
    if config.token_expiration <= 0 || config.auth_ttl <= 0 {
        r.fail("lifetimes", "[token] expiration and [credential] auth_ttl must be greater than 0");
    }
    if ini.value("identity", "password_hash_algorithm").is_some_and(|a| a != "bcrypt") {
        r.differs("[identity] password_hash_algorithm", "is not `bcrypt`: its hashes are verified here, and new passwords are stored as bcrypt, which a Keystone verifies whatever it says");
    }
    if config.max_password_length > crate::crypto::passwords::BCRYPT_BYTES {
        r.differs(
            "passwords",
            "longer ones than 72 bytes cannot be set here; those that the Keystone cut go on working",
        );
    }
    if ini.value("DEFAULT", "public_endpoint").is_none() {
        r.ok("[DEFAULT] public_endpoint", "is not set: links begin with the Host that the client sent");
    }
    if config.compliance.lockout_failure_attempts.is_none() {
        r.differs("failed logins", "are not counted here, as no lock-out is configured");
    }
}

fn policy(r: &mut Report, config: &Config) {
    let loaded = match crate::policy_file::load(&config.policy) {
        Ok(loaded) => loaded,
        Err(e) => return r.fail("rules", format_args!("{e}; the server will not start")),
    };
    if loaded.files.is_empty() {
        r.ok(
            "rules",
            "no policy file, as for a Keystone; the shipped ones are the Keystone's, with what docs/compatibility.md lists",
        );
    }
    for (good, text) in super::super::policy::findings(&loaded) {
        if !good {
            r.todo("rules", text);
        } else if !loaded.files.is_empty() {
            r.add(if text.starts_with("nothing") { Verdict::Differs } else { Verdict::Ok }, "rules", text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_finds_the_first_line_that_fits() {
        let says = |s: &str, o: &str| format!("{:?}", support(s, o));
        assert!(says("token", "provider").contains("fernet"));
        assert!(says("assignment", "driver").contains("sql"));
        assert!(says("token", "cache_time").contains("NoEffect"));
        assert!(says("resource", "name_url_safe").contains("off"));
        assert!(says("auth", "password").contains("plugin"));
        assert!(support("DEFAULT", "log_file").is_some() && support("DEFAULT", "odd").is_none());
        assert!(support("odd", "odd").is_none());
        assert_eq!(
            (plain("Yes"), plain("off"), plain("No"), plain("SQL")),
            ("true".into(), "off".into(), "false".into(), "sql".into())
        );
    }
}
