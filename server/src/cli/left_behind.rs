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
    /// Finds a row if there is one.
    sql: &'static str,
    /// What is there, and what follows.
    text: &'static str,
    /// The option without which it has no effect.
    only_with: Option<(&'static str, &'static str)>,
    /// Whether it can be made here too, so that it is no surprise once this program has served the database.
    is_made_here: bool,
}

const LEFT: [Left; 2] = [
    Left {
        name: "federation",
        sql: "SELECT id FROM federation_protocol",
        text: "identity providers are stored: who logs in through one cannot do so here",
        only_with: None,
        is_made_here: true,
    },
    Left {
        name: "domain-configs",
        sql: "SELECT domain_id FROM whitelisted_config WHERE \"group\" = 'identity' AND \"option\" = 'driver' AND value <> '\"sql\"'",
        text: "a domain's stored configuration names another driver than `sql`: its users cannot log in here",
        only_with: Some(("identity", "domain_configurations_from_database")),
        is_made_here: false,
    },
];

/// The names that `--accept` takes for these.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    LEFT.iter().map(|left| left.name)
}

/// Refuses a Keystone's tables in which something is stored that logins rely on and that is not there here.
pub(super) async fn check(tx: &mut Tx, ini: &Ini, accept: &Accept, is_ours: bool) -> Result<(), Failure> {
    for left in LEFT.iter().filter(|left| !(is_ours && left.is_made_here)) {
        let counts = left
            .only_with
            .is_none_or(|(section, option)| ini.value(section, option).and_then(oslo::boolean) == Some(true));
        if counts && !accept.has(left.name) && tx.exists(left.sql, &[]).await? {
            let text = format!("{}. To start all the same: --accept {}", left.text, left.name);
            return Err(Failure::Config(text));
        }
    }
    Ok(())
}
