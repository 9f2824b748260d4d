//! Users, as far as authority depends on them.

use std::collections::BTreeMap;

use serde_json::Value;
use vicar_rules::Micros;
use vicar_rules::delegation::Presence;
use vicar_rules::policy::{Fact, Facts};

use super::{directories, presence};
use crate::args;
use crate::clock;
use crate::extra;
use crate::store::{CHUNK, Date, DateTime, Id, Result, Row, Select, Tx};

/// A user, as far as authority cares.
#[derive(Debug, Clone)]
pub struct UserFacts {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its domain.
    pub domain_id: String,
    /// Its domain's name.
    pub domain_name: String,
    /// Whether it is there and enabled.
    pub presence: Presence,
    /// Its default project.
    pub default_project_id: Option<String>,
    /// When its password expires.
    pub password_expires_at: Option<Micros>,
    /// Whether they are in a directory that does not say now how they are: for the time being as if they were disabled.
    pub is_unknown: bool,
}

impl UserFacts {
    /// Somebody of whom nothing is known but that they were there.
    pub(super) fn nameless(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            name: String::new(),
            domain_id: String::new(),
            domain_name: String::new(),
            presence: Presence::Disabled,
            default_project_id: None,
            password_expires_at: None,
            is_unknown: true,
        }
    }

    /// What rules of the policy may know of a stored user.
    pub fn policy_facts(&self) -> Facts {
        Facts::none()
            .with(Fact::UserId, &self.id)
            .with(Fact::UserName, &self.name)
            .with(Fact::UserDomain, &self.domain_id)
            .with_opt(Fact::UserDefaultProject, self.default_project_id.as_deref())
            .with_flag(
                Fact::UserEnabled,
                matches!(self.presence, Presence::Active | Presence::DomainDisabled),
            )
    }
}

/// When a user was last seen, and whether inactivity disables them.
#[derive(Debug)]
pub struct Activity {
    last_active: Option<Date>,
    created: Option<DateTime>,
    exempt: bool,
}

/// Reads `last_active_at`, `created_at` and the value of option 1004 (`ignore_user_inactivity`).
pub fn read_activity(r: &mut Row) -> Result<Activity> {
    Ok(Activity {
        last_active: r.take()?,
        created: r.take()?,
        exempt: r.take::<Option<String>>()?.is_some_and(|v| v == "true"),
    })
}

/// Whether a user was inactive for so long that they count as disabled. Without any login, the time counts from
/// their creation.
pub fn is_inactive(since: Option<&Date>, seen: &Activity) -> bool {
    let Some(since) = since.filter(|_| !seen.exempt) else {
        return false;
    };
    match (&seen.last_active, &seen.created) {
        (Some(day), _) => day <= since,
        (None, Some(at)) => clock::date(at.0) <= since.0,
        (None, None) => false,
    }
}

/// The users with these ids; those that do not exist are left out.
pub async fn users<'a>(
    tx: &mut Tx,
    ids: impl IntoIterator<Item = &'a str>,
) -> Result<BTreeMap<String, UserFacts>> {
    let ids: Vec<&str> = ids.into_iter().collect();
    let since = tx.inactive_since().cloned();
    let mut out = BTreeMap::new();
    let mut not_here = Vec::new();
    for part in ids.chunks(CHUNK) {
        let mut q = Select::new(&user_query());
        q.id_in("u.id", part.iter().copied());
        for (user, is_here) in q.map(tx, |r| read_user(r, since.as_ref())).await? {
            if !is_here {
                not_here.push(user.id.clone());
            }
            out.insert(user.id.clone(), user);
        }
    }
    if tx.directories().is_some() && (!not_here.is_empty() || out.len() < ids.len()) {
        directories::settle(tx, &ids, &mut out, &not_here).await?;
    }
    Ok(out)
}

/// When the newest password of the local account `l` expires, for [`read_password_end`].
pub const PASSWORD_END: &str = "
        (SELECT p.expires_at_int FROM password p WHERE p.local_user_id = l.id
          ORDER BY p.created_at_int DESC, p.id DESC LIMIT 1),
        (SELECT p.expires_at FROM password p WHERE p.local_user_id = l.id
          ORDER BY p.created_at_int DESC, p.id DESC LIMIT 1)";

/// Reads a password's `expires_at_int` and `expires_at`; `None`: it never expires. Rows that are older than
/// the exact column have only the other one.
///
/// # Errors
/// When the columns are of another type.
pub fn read_password_end(r: &mut Row) -> Result<Option<Micros>> {
    let (exact, legacy): (Option<i64>, Option<DateTime>) = (r.take()?, r.take()?);
    Ok(exact.filter(|end| *end != 0).or(legacy.map(|end| end.0)))
}

fn user_query() -> String {
    format!(
        "SELECT u.id, COALESCE(l.name, n.name,
                (SELECT MIN(f.display_name) FROM federated_user f WHERE f.user_id = u.id), ''), u.domain_id, d.name, u.enabled, d.enabled,
            u.last_active_at, u.created_at,
            (SELECT o.option_value FROM user_option o WHERE o.user_id = u.id AND o.option_id = '1004'),
            u.default_project_id, {PASSWORD_END}, n.user_id
       FROM \"user\" u
       LEFT JOIN local_user l ON l.user_id = u.id
       LEFT JOIN nonlocal_user n ON n.user_id = u.id
       LEFT JOIN project d ON d.id = u.domain_id"
    )
}

/// A user, and whether their name is this server's own.
fn read_user(r: &mut Row, since: Option<&Date>) -> Result<(UserFacts, bool)> {
    let (id, name, domain_id): (String, String, String) = (r.take()?, r.take()?, r.take()?);
    let domain_name: Option<String> = r.take()?;
    let presence = presence(r.take()?, r.take()?);
    let idle = is_inactive(since, &read_activity(r)?);
    let user = UserFacts {
        id,
        name,
        domain_name: domain_name.unwrap_or_else(|| domain_id.clone()),
        domain_id,
        presence: if idle { Presence::Disabled } else { presence },
        default_project_id: r.take()?,
        password_expires_at: read_password_end(r)?,
        is_unknown: false,
    };
    Ok((user, r.take::<Option<String>>()?.is_none()))
}

/// The address of a user, one of the attributes that this server gives no other meaning.
///
/// # Errors
/// When the database fails.
pub async fn email(tx: &mut Tx, id: &str) -> Result<Option<String>> {
    let sql = "SELECT extra FROM \"user\" WHERE id = ?";
    let extra: Option<Option<String>> = tx.first(sql, args![Id(id)], |r| r.take()).await?;
    match extra::read(extra.flatten()).remove("email") {
        Some(Value::String(email)) => Ok(Some(email)),
        _ => Ok(None),
    }
}

/// One user.
pub async fn user(tx: &mut Tx, id: &str) -> Result<Option<UserFacts>> {
    Ok(users(tx, [id]).await?.remove(id))
}
