//! Stored things whose absence here lets logins vanish: looked for before a start changes anything.

use super::config::Accept;
use super::failure::Failure;
use crate::config::Ini;
use crate::oslo;
use crate::store::Tx;

/// What is looked for.
struct Left {
    /// The name that `--accept` takes.
    name: &'static str,
    /// Finds what is there, each by its id.
    sql: &'static str,
    /// What is there, and what follows.
    text: &'static str,
    /// The option without which it has no effect.
    only_with: Option<(&'static str, &'static str)>,
    /// The options with one of which it works here.
    unless: &'static [(&'static str, &'static str)],
    /// Whether it can be made here too, so that it is no surprise once this program has served the database.
    is_made_here: bool,
}

const LEFT: [Left; 2] = [
    Left {
        name: "federation",
        sql: "SELECT DISTINCT idp_id FROM federation_protocol ORDER BY idp_id",
        text: "identity providers are stored, and who logs in through one cannot do so here before `[vicar] assertion_headers` or `[oidc.NAME]` says how",
        only_with: None,
        unless: &[("vicar", "assertion_headers"), ("oidc", "issuer")],
        is_made_here: true,
    },
    Left {
        name: "domain-configs",
        sql: "SELECT DISTINCT domain_id FROM whitelisted_config WHERE \"group\" = 'identity' AND \"option\" = 'driver' AND value NOT IN ('\"sql\"', '\"ldap\"') ORDER BY domain_id",
        text: "in stored configurations of domains `[identity] driver` is another than `sql` and `ldap`, and their users cannot log in here",
        only_with: Some(("identity", "domain_configurations_from_database")),
        unless: &[],
        is_made_here: false,
    },
];

/// The names that `--accept` takes for these.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    LEFT.iter().map(|left| left.name)
}

/// What the table of `--accept` in docs/configuration.md says of these.
#[cfg(test)]
pub(super) fn rows() -> impl Iterator<Item = String> {
    LEFT.iter().map(|left| {
        let on = left.only_with.map(|(section, option)| format!(", with `[{section}] {option}`"));
        format!("| `{}` | what is stored{} | {} |\n", left.name, on.unwrap_or_default(), left.text)
    })
}

/// What is stored in a Keystone's tables that logins rely on and that is not there here: what a start refuses.
pub(super) async fn found(
    tx: &mut Tx,
    ini: &Ini,
    accept: &Accept,
    is_ours: bool,
) -> Result<Vec<String>, Failure> {
    let mut out = Vec::new();
    for left in LEFT.iter().filter(|left| !(is_ours && left.is_made_here)) {
        let counts = left
            .only_with
            .is_none_or(|(section, option)| ini.value(section, option).and_then(oslo::boolean) == Some(true));
        let works = ini.names().any(|named| {
            left.unless.iter().any(|(section, option)| {
                named.1 == *option
                    && (named.0 == *section
                        || named.0.strip_prefix(section).is_some_and(|rest| rest.starts_with('.')))
            })
        });
        if !counts || works || accept.has(left.name) {
            continue;
        }
        let ids: Vec<String> = tx.column(left.sql, &[]).await?;
        if !ids.is_empty() {
            let (some, more) = (ids.len().min(5), if ids.len() > 5 { ", …" } else { "" });
            let which = ids.get(..some).unwrap_or_default().join(", ");
            out.push(format!("{} ({which}{more}). To start all the same: --accept {}", left.text, left.name));
        }
    }
    Ok(out)
}

/// Refuses what [`found`] finds.
pub(super) async fn check(tx: &mut Tx, ini: &Ini, accept: &Accept, is_ours: bool) -> Result<(), Failure> {
    let found = found(tx, ini, accept, is_ours).await?;
    if found.is_empty() { Ok(()) } else { Err(Failure::Config(found.join("; "))) }
}
