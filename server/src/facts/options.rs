//! Users' options: what lock-out, expiry and multi-factor rules ask of a user.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::store::{Result, Select, Tx};

/// Ids of options in `user_option`, with their names.
pub const OPTIONS: [(&str, &str); 7] = [
    ("1000", "ignore_change_password_upon_first_use"),
    ("1001", "ignore_password_expiry"),
    ("1002", "ignore_lockout_failure_attempts"),
    ("1003", "lock_password"),
    ("1004", "ignore_user_inactivity"),
    ("MFAR", "multi_factor_auth_rules"),
    ("MFAE", "multi_factor_auth_enabled"),
];

/// A user's options by name.
#[derive(Debug, Clone, Default)]
pub struct Options(Map<String, Value>);

impl Options {
    /// Whether this one is set to true.
    pub fn is_on(&self, name: &str) -> bool {
        self.0.get(name) == Some(&Value::Bool(true))
    }

    /// The value of one.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// All of them.
    pub fn all(&self) -> &Map<String, Value> {
        &self.0
    }

    /// The options with changes applied: null removes an option, one that is not named stays.
    #[must_use]
    pub fn changed(mut self, by: &Map<String, Value>) -> Self {
        for (name, value) in by {
            if value.is_null() {
                self.0.remove(name);
            } else {
                self.0.insert(name.clone(), value.clone());
            }
        }
        self
    }
}

/// The options of several users, by user; users without any are left out.
///
/// # Errors
/// When the database fails.
pub async fn options_of<'a>(
    tx: &mut Tx,
    users: impl Iterator<Item = &'a str>,
) -> Result<BTreeMap<String, Options>> {
    let mut q = Select::new("SELECT user_id, option_id, option_value FROM user_option");
    q.id_in("user_id", users);
    let rows =
        q.map(tx, |r| Ok((r.take::<String>()?, r.take::<String>()?, r.take::<Option<String>>()?))).await?;
    let mut out: BTreeMap<String, Options> = BTreeMap::new();
    for (user, id, text) in rows {
        let name = OPTIONS.iter().find(|o| o.0 == id).map(|o| o.1);
        let value = text.and_then(|t| serde_json::from_str(&t).ok());
        if let (Some(name), Some(value)) = (name, value) {
            out.entry(user).or_default().0.insert(name.into(), value);
        }
    }
    Ok(out)
}

/// The options of one user.
///
/// # Errors
/// When the database fails.
pub async fn options(tx: &mut Tx, user: &str) -> Result<Options> {
    Ok(options_of(tx, std::iter::once(user)).await?.remove(user).unwrap_or_default())
}
