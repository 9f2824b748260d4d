//! What each option of a `keystone.conf` means here.

use std::path::Path;

use super::super::config::unknown;
use super::super::report::{Report, Verdict};
use crate::config::foreign::{self, Effect};
use crate::config::{Config, Ini, options};
use crate::oslo;

pub(super) fn judge(r: &mut Report, ini: &Ini, config: &Config) {
    let files: Vec<String> = ini.files().iter().map(|f| f.display().to_string()).collect();
    r.ok("files", files.join(", "));
    named(r, ini, config);
    absent(r, ini, config);
    receipts(r, ini, config);
    methods(r, config);
    meanings(r, ini, config);
    r.group("Policy");
    policy(r, config);
}

/// Every option in the files.
fn named(r: &mut Report, ini: &Ini, config: &Config) {
    let found = foreign::judge(ini, config);
    let honoured: Vec<String> = ini
        .names()
        .filter(|(section, option)| options::find(section, option).is_some())
        .map(|(section, option)| format!("[{section}] {option}"))
        .filter(|name| found.foreign.iter().all(|f| f.option != *name))
        .collect();
    if !honoured.is_empty() {
        r.ok("honoured as they stand", honoured.join(", "));
    }
    if !found.idle.is_empty() {
        r.ok("ignored without consequence", found.idle.join(", "));
    }
    for f in &found.foreign {
        match f.effect {
            Effect::Refused(name, _) => {
                r.fail(&f.option, format_args!("{}. The server starts with --accept {name} only", f.text))
            }
            Effect::Todo(_) => r.todo(&f.option, &f.text),
            Effect::Differs(_) | Effect::Nothing => r.differs(&f.option, &f.text),
        }
    }
    for (option, meant) in &found.unknown {
        r.todo(option, unknown(meant.as_deref()));
    }
    for name in &config.unknown {
        r.differs(name, "is not understood, and left out");
    }
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
        [("fernet_tokens", "/etc/keystone/fernet-keys/"), ("credential", "/etc/keystone/credential-keys/")]
    {
        let at = match section {
            "credential" => &config.credential_keys,
            _ => &config.fernet_keys,
        };
        if ini.value(section, "key_repository").is_none() && at != Path::new(usual) {
            r.todo(
                &format!("[{section}] key_repository"),
                format_args!(
                    "is not set: a Keystone then uses {usual}, this server {}, as a data directory is named. Leave out --data-dir, or say it: `[{section}] key_repository = {usual}`",
                    at.display()
                ),
            );
        }
    }
}

/// Where receipts have their keys, which only matters for users with multi-factor rules.
fn receipts(r: &mut Report, ini: &Ini, config: &Config) {
    let usual = "/etc/keystone/fernet-keys/";
    if ini.value("fernet_receipts", "key_repository").is_none() && config.receipt_keys != Path::new(usual) {
        r.differs(
            "[fernet_receipts] key_repository",
            format_args!(
                "is not set: a Keystone then makes receipts with the keys in {usual}, this server with those of tokens in {}. Where both serve users with multi-factor rules, say the same in both",
                config.receipt_keys.display()
            ),
        );
    }
}

/// Logins that are served here.
const SERVED: &[&str] = &["password", "token", "totp", "oauth1", "application_credential", "ec2credential"];

/// Logins that are served where a front server is believed.
const BY_A_FRONT_SERVER: &[&str] = &["external", "kerberos"];

fn methods(r: &mut Report, config: &Config) {
    let is_served =
        |m: &str| SERVED.contains(&m) || config.remote_user.is_some() && BY_A_FRONT_SERVER.contains(&m);
    let others: Vec<&str> =
        config.auth_methods.iter().map(String::as_str).filter(|m| !is_served(m)).collect();
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
    front(r, ini, config);
    if config.compliance.lockout_failure_attempts.is_none() {
        r.differs("failed logins", "are not counted here, as no lock-out is configured");
    }
}

/// Proxies, and browsers.
fn front(r: &mut Report, ini: &Ini, config: &Config) {
    let name = "[oslo_middleware] enable_proxy_headers_parsing";
    let is_on =
        ini.value("oslo_middleware", "enable_proxy_headers_parsing").and_then(oslo::boolean) == Some(true);
    match (is_on, config.proxies.are_named()) {
        (true, true) => {}
        (true, false) => r.differs(name, "is on: a Keystone believes the X-Forwarded headers of everybody. Here they are believed of whoever connects from this machine or a private network; name the proxies in `[vicar] trusted_proxies`"),
        (false, _) if config.public_endpoint.is_none() => r.differs("[DEFAULT] public_endpoint", format_args!("is not set: links begin with the Host that the client sent, and with `http` unless TLS ends here. A Keystone believes X-Forwarded-Proto without being told; here turn on `{name}`")),
        (false, _) => {}
    }
    if ini.names().any(|(section, option)| section.starts_with("cors.") && option == "allowed_origin") {
        r.differs("[cors.*] allowed_origin", "is honoured: a Keystone 30.0.0 reads no section but [cors]");
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
