//! Passwords as rows: the newest counts, older ones are kept as long as the history asks.

use vicar_rules::Micros;

use super::sql::{SetsPassword, User, local_id_or_new};
use crate::app::App;
use crate::args;
use crate::authz::SlowWork;
use crate::clock::{DAY, SECOND};
use crate::error::{Error, Result};
use crate::facts;
use crate::facts::options::Options;
use crate::store::{DateTime, Delete, Insert, Tx, Update, WriteTx};

/// Who sets a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Its owner.
    Owner,
    /// Somebody who administers users.
    Administrator,
}

/// A password that may be stored: acceptable and hashed.
pub struct New(Option<String>);

impl std::fmt::Debug for New {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("New")
    }
}

impl New {
    /// No password: a login with one fails.
    pub fn none() -> Self {
        Self(None)
    }

    /// Checks a password against the configured rules, and hashes it.
    ///
    /// # Errors
    /// 400 when it is not acceptable; [`Error::Pending`] until the hash is computed.
    pub fn from(app: &App, slow: &mut SlowWork, password: &str) -> Result<Self> {
        app.passwords.acceptable(password)?;
        Ok(Self(Some(slow.hash(password)?)))
    }
}

/// A stored password.
struct Stored {
    id: i64,
    hash: Option<String>,
    created: Micros,
    expires: Option<Micros>,
}

async fn stored(tx: &mut Tx, local: i64) -> Result<Vec<Stored>> {
    Ok(tx
        .map(
            "SELECT id, password_hash, created_at_int, expires_at_int, expires_at FROM password
              WHERE local_user_id = ? ORDER BY created_at_int, id",
            args![local],
            |r| {
                let (id, hash, created) = (r.take()?, r.take()?, r.take()?);
                Ok(Stored { id, hash, created, expires: facts::read_password_end(r)? })
            },
        )
        .await?)
}

/// The hashes that a new password must not match, newest first.
///
/// # Errors
/// When the database fails.
pub async fn history(tx: &mut Tx, app: &App, local: i64) -> Result<Vec<String>> {
    let count = app.config.compliance.unique_last_password_count as usize;
    let all = stored(tx, local).await?;
    Ok(all.into_iter().rev().take(count).filter_map(|p| p.hash).collect())
}

/// When a password that is set now expires.
fn expiry(app: &App, options: &Options, by: By, now: Micros) -> Option<Micros> {
    let rules = &app.config.compliance;
    let first_use = by == By::Administrator
        && rules.change_password_upon_first_use
        && !options.is_on("ignore_change_password_upon_first_use");
    if first_use {
        return Some(now);
    }
    let days = rules.password_expires_days.filter(|d| *d > 0 && !options.is_on("ignore_password_expiry"))?;
    Some(now.saturating_add(DAY.saturating_mul(days.into())) / SECOND * SECOND)
}

/// Makes this the user's password. Older ones end now.
///
/// # Errors
/// When the database fails.
pub async fn set(
    tx: &mut WriteTx,
    proof: &impl SetsPassword,
    app: &App,
    user: &User,
    new: &New,
    by: By,
    now: Micros,
) -> Result<()> {
    let local = local_id_or_new(tx, proof, user).await?;
    let old = stored(tx, local).await?;
    let kept = (app.config.compliance.unique_last_password_count as usize).max(1);
    let (over, kept) = old.split_at(old.len().saturating_sub(kept));
    if !over.is_empty() {
        tx.execute(proof, &Delete::from("password").key_in("id", over.iter().map(|p| p.id))).await?;
    }
    for p in kept.iter().filter(|p| p.expires.is_none_or(|e| e > now)) {
        let ended =
            Update::of("password").set("expires_at_int", now).set("expires_at", legacy(now)).key("id", p.id);
        tx.execute(proof, &ended).await?;
    }
    // The newest is found by this time alone, so no two may be equal.
    let created = now.max(kept.last().map_or(0, |p| p.created.saturating_add(1)));
    let expires = expiry(app, &user.options, by, now);
    let row = Insert::into("password")
        .set("local_user_id", local)
        .set("self_service", by == By::Owner)
        .set("password_hash", new.0.as_deref())
        .set("created_at_int", created)
        .set("created_at", legacy(created))
        .set("expires_at_int", expires)
        .set("expires_at", expires.map(legacy));
    tx.execute(proof, &row).await?;
    Ok(())
}

/// The older columns beside the exact ones hold whole seconds on some engines, which would round up.
fn legacy(at: Micros) -> DateTime {
    DateTime(at / SECOND * SECOND)
}

/// Checks that a password which its owner set is old enough to be changed by them.
///
/// # Errors
/// 400 when it is not.
pub fn old_enough(app: &App, set_at: Micros, now: Micros) -> Result<()> {
    let days = app.config.compliance.minimum_password_age;
    let from = set_at.saturating_add(DAY.saturating_mul(days.into()));
    if now >= from {
        return Ok(());
    }
    let left = (from - now) / DAY;
    Err(Error::BadRequest(format!(
        "You cannot change your password at this time: it must be used for {days} day(s) first. \
         Please try again in {left} day(s), or ask an administrator to reset it."
    )))
}
