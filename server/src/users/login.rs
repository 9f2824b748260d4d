//! Password logins: proof, lock-out, expiry, and the rules of multi-factor users.
//!
//! Whatever is wrong (no such user, disabled, locked, another password), the answer is the same 401,
//! after the same work: nobody learns here which accounts exist or in which state they are.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, Value};
use vicar_rules::Micros;
use vicar_rules::delegation::Presence;

use super::sql::{self, Options};
use crate::app::App;
use crate::args;
use crate::authority;
use crate::clock;
use crate::error::{Error, Result};
use crate::http::Permit;
use crate::passwords::Origin;
use crate::store::{Date, DateTime, Tx};
use crate::tokens::issue::Identity;

/// The id of a domain that a body names by id or name. An unknown one fails the login, no more is said.
pub async fn domain_id(tx: &mut Tx, map: &Map<String, Value>, at: &str) -> Result<String> {
    match (map.get("id"), map.get("name")) {
        (Some(Value::String(id)), _) => Ok(id.clone()),
        (None | Some(Value::Null), Some(Value::String(name))) => {
            Ok(authority::domain_named(tx, name).await?.ok_or(Error::Unauthorized)?.id)
        }
        _ => Err(Error::BadRequest(format!("{at}: needs an id or a name, as text"))),
    }
}

/// Checks `{"user": {…, "password"}}`; gives the user's id.
pub async fn password(app: &App, mut data: Map<String, Value>) -> Result<String> {
    let began = app.clock.now();
    let Some(Value::Object(mut user)) = data.remove("user") else {
        return Err(Error::field("auth.identity.password.user", "is required and must be an object"));
    };
    let password = match user.remove("password") {
        Some(Value::String(p)) => p,
        _ => {
            return Err(Error::field(
                "auth.identity.password.user.password",
                "is required and must be a text",
            ));
        }
    };
    let account = named(app, &user).await?;
    // As the client wrote it, whether there is such a user or not.
    let claimed = Value::Object(user).to_string();
    let proven = prove(app, account, &claimed, &password, began).await?;
    if proven.expired {
        return Err(Error::PasswordExpired(proven.user));
    }
    Ok(proven.user)
}

/// The account that a login names, if there is one.
async fn named(app: &App, user: &Map<String, Value>) -> Result<Option<Account>> {
    let mut tx = app.store.read().await?;
    match (user.get("id"), user.get("name")) {
        (Some(Value::String(id)), _) => account(&mut tx, id).await,
        (None | Some(Value::Null), Some(Value::String(name))) => {
            let at = "auth.identity.password.user.domain";
            let Some(Value::Object(domain)) = user.get("domain") else {
                return Err(Error::field(at, "is required with a name and must be an object"));
            };
            match domain_id(&mut tx, domain, at).await {
                Ok(domain) => find(&mut tx, "l.name = ? AND l.domain_id = ?", args![name, domain]).await,
                Err(Error::Unauthorized) => Ok(None),
                Err(e) => Err(e),
            }
        }
        _ => Err(Error::field("auth.identity.password.user", "needs an id or a name, as text")),
    }
}

/// An account as a login sees it: the newest password, and what failed lately.
#[derive(Debug)]
pub struct Account {
    user: String,
    local: i64,
    failures: i64,
    failed_at: Option<Micros>,
    password: Option<i64>,
    hash: Option<String>,
    /// When the password was set.
    pub set_at: Micros,
    /// Did the user set it himself?
    pub self_service: bool,
    expires: Option<Micros>,
    last_active: Option<Date>,
    /// The user's options.
    pub options: Options,
}

/// The account of a user.
async fn account(tx: &mut Tx, user: &str) -> Result<Option<Account>> {
    find(tx, "l.user_id = ?", args![user]).await
}

/// The password of a user that counts.
pub async fn password_of(tx: &mut Tx, user: &str) -> Result<Option<i64>> {
    Ok(account(tx, user).await?.and_then(|a| a.password))
}

async fn find(tx: &mut Tx, condition: &str, args: &[crate::store::Value]) -> Result<Option<Account>> {
    let found = tx
        .first(
            &format!(
                "SELECT l.user_id, l.id, l.failed_auth_count, l.failed_auth_at, p.id, p.password_hash,
                        p.created_at_int, p.self_service, p.expires_at_int, p.expires_at, u.last_active_at
                   FROM local_user l
                   JOIN \"user\" u ON u.id = l.user_id
                   LEFT JOIN password p ON p.local_user_id = l.id
                  WHERE {condition} ORDER BY p.created_at_int DESC, p.id DESC LIMIT 1"
            ),
            args,
            |r| {
                let (user, local) = (r.take()?, r.take()?);
                let failures = r.take::<Option<i64>>()?.unwrap_or(0);
                let failed_at = r.take::<Option<DateTime>>()?.map(|d| d.0);
                let (password, hash) = (r.take()?, r.take()?);
                let set_at = r.take::<Option<i64>>()?.unwrap_or(0);
                let self_service = r.take::<Option<bool>>()?.unwrap_or(false);
                let exact: Option<i64> = r.take()?;
                // Rows from before the exact column hold the older one only.
                let legacy = r.take::<Option<DateTime>>()?.map(|d| d.0);
                Ok(Account {
                    user,
                    local,
                    failures,
                    failed_at,
                    password,
                    hash,
                    set_at,
                    self_service,
                    expires: exact.filter(|e| *e != 0).or(legacy),
                    last_active: r.take()?,
                    options: Options::default(),
                })
            },
        )
        .await?;
    match found {
        Some(mut account) => {
            account.options = sql::options(tx, &account.user).await?;
            Ok(Some(account))
        }
        None => Ok(None),
    }
}

/// What failed logins did to an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lock {
    /// Nothing.
    Open,
    /// It was locked; the time is over, and counting begins anew.
    Lapsed,
    /// It is locked.
    Closed,
}

impl Account {
    fn lock(&self, app: &App, now: Micros) -> Lock {
        let rules = &app.config.compliance;
        let Some(limit) = rules.lockout_failure_attempts.filter(|n| *n > 0) else {
            return Lock::Open;
        };
        if self.failures < i64::from(limit) || self.options.is_on("ignore_lockout_failure_attempts") {
            return Lock::Open;
        }
        match self.failed_at {
            Some(at) if rules.lockout_duration > 0 && at.saturating_add(rules.lockout_duration) <= now => {
                Lock::Lapsed
            }
            // No duration is for ever, and so is a lock of unknown age.
            Some(_) | None => Lock::Closed,
        }
    }

    fn expired(&self, now: Micros) -> bool {
        self.expires.is_some_and(|e| e <= now) && !self.options.is_on("ignore_password_expiry")
    }

    /// The key of the local account; passwords hang on it.
    pub fn local(&self) -> i64 {
        self.local
    }

    /// The password that counts.
    pub fn password(&self) -> Option<i64> {
        self.password
    }
}

/// Somebody who knows the password of an account that is open and active.
#[derive(Debug)]
pub struct Proven {
    /// His user id.
    pub user: String,
    /// Is the password's time over? Then it is good for one thing: being changed.
    pub expired: bool,
    /// The account, as it was right after the proof.
    pub account: Account,
}

/// Checks the password of a user whom a path names. `began` is when the request's work began.
pub async fn prove_user(app: &App, user: &str, password: &str, began: Micros) -> Result<Proven> {
    let account = {
        let mut tx = app.store.read().await?;
        account(&mut tx, user).await?
    };
    prove(app, account, user, password, began).await
}

/// `claimed` is who the client says they are; logins of one user share in the queue of hashing.
async fn prove(
    app: &App,
    account: Option<Account>,
    claimed: &str,
    password: &str,
    began: Micros,
) -> Result<Proven> {
    let outcome = weigh(app, account, claimed, password).await;
    if matches!(outcome, Err(Error::Unauthorized)) {
        level(app, began).await;
    }
    outcome
}

async fn weigh(app: &App, account: Option<Account>, claimed: &str, password: &str) -> Result<Proven> {
    let hash = account.as_ref().and_then(|a| a.hash.as_deref());
    let too_long = password.len() > app.config.max_password_length;
    // Nothing longer than the limit was ever hashed; it costs what any other wrong password does.
    let origin = Origin::here(claimed);
    let fits = app.passwords.verify_from(origin, if too_long { "" } else { password }, hash).await?;
    // An empty password is no proof of anything, whatever hash it may fit.
    let fits = fits && !too_long && !password.is_empty();
    let before = account.ok_or(Error::Unauthorized)?;
    let now = app.clock.now();
    if !fits {
        record_failure(app, &before.user, now).await?;
        return Err(Error::Unauthorized);
    }
    // Looked at again: hashing takes long, and what happened meanwhile counts.
    let mut tx = app.store.read().await?;
    let active =
        authority::user(&mut tx, &before.user).await?.is_some_and(|u| u.presence == Presence::Active);
    let after = self::account(&mut tx, &before.user).await?.ok_or(Error::Unauthorized)?;
    drop(tx);
    let same = after.password == before.password;
    if !active || !same || after.lock(app, now) == Lock::Closed {
        return Err(Error::Unauthorized);
    }
    let expired = after.expired(now);
    if !expired {
        record_success(app, &after, now).await?;
    }
    Ok(Proven { user: after.user.clone(), expired, account: after })
}

/// Counts a failed login, where failures lock. A locked account stays locked no longer for it.
async fn record_failure(app: &App, user: &str, now: Micros) -> Result<()> {
    if app.config.compliance.lockout_failure_attempts.is_none() {
        return Ok(());
    }
    let mut tx = app.store.write().await?;
    let Some(account) = account(&mut tx, user).await? else {
        return Ok(());
    };
    let count = match account.lock(app, now) {
        Lock::Closed => return Ok(()),
        Lock::Lapsed => "1",
        Lock::Open => "COALESCE(failed_auth_count, 0) + 1",
    };
    tx.run(
        &format!("UPDATE local_user SET failed_auth_count = {count}, failed_auth_at = ? WHERE id = ?"),
        args![DateTime(now), account.local],
    )
    .await?;
    tx.commit().await?;
    Ok(())
}

/// Notes a login, when there is anything to note: most logins write nothing.
async fn record_success(app: &App, account: &Account, now: Micros) -> Result<()> {
    let counts_days = app.config.compliance.disable_user_account_days_inactive.is_some();
    let first_today = counts_days && account.last_active.as_ref().is_none_or(|d| d.0 != clock::date(now));
    if account.failures == 0 && !first_today {
        return Ok(());
    }
    let permit = Permit::own("the consequence of a login");
    let mut tx = app.store.write().await?;
    sql::forget_failures(&mut tx, &account.user, &permit).await?;
    if first_today {
        sql::seen_today(&mut tx, &account.user, now, &permit).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Failed logins are answered in steps of this length.
const STEP: Micros = 50_000;

/// Waits for the end of the step: what an attempt cost beyond the hash (a row to read, a failure to
/// count) is less than a step, and so does not show.
async fn level(app: &App, began: Micros) {
    let spent = app.clock.now().saturating_sub(began);
    let rest = (STEP - spent.rem_euclid(STEP)) % STEP;
    tokio::time::sleep(Duration::from_micros(u64::try_from(rest).unwrap_or(0))).await;
}

/// Do the methods satisfy the user's multi-factor rules?
pub async fn satisfies_mfa(app: &App, who: &Identity) -> Result<()> {
    let mut tx = app.store.read().await?;
    satisfies_mfa_in(&mut tx, app, who).await
}

/// The same in a transaction that is open already.
pub async fn satisfies_mfa_in(tx: &mut Tx, app: &App, who: &Identity) -> Result<()> {
    let options = sql::options(tx, &who.user).await?;
    if options.get("multi_factor_auth_enabled") == Some(&Value::Bool(false)) {
        return Ok(());
    }
    if options
        .get("multi_factor_auth_rules")
        .is_none_or(|rules| fit(rules, &who.methods, &app.config.auth_methods))
    {
        Ok(())
    } else {
        Err(Error::Unauthorized)
    }
}

/// Is one of the rules, each a list of methods, satisfied? Methods that this server does not know are
/// left out of a rule, and a rule of nothing else counts for nothing, so that a change of the
/// configuration locks nobody out. No rule at all is satisfied by anything.
pub fn fit(rules: &Value, proven: &[String], known: &[String]) -> bool {
    let rules: Vec<BTreeSet<&str>> = rules
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|rule| rule.as_array()?.iter().map(Value::as_str).collect::<Option<BTreeSet<_>>>())
        .map(|rule| rule.into_iter().filter(|m| known.iter().any(|k| k == m)).collect())
        .filter(|rule: &BTreeSet<&str>| !rule.is_empty())
        .collect();
    rules.is_empty() || rules.iter().any(|rule| rule.iter().all(|m| proven.iter().any(|p| p == m)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rules_of_multi_factor_users() {
        let words = |w: &[&str]| w.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let known = words(&["password", "totp", "token"]);
        let fits = |rules: Value, proven: &[&str]| fit(&rules, &words(proven), &known);
        assert!(fits(json!([]), &["password"]));
        assert!(fits(json!("damaged"), &["password"]));
        assert!(fits(json!([["password", "totp"], ["password"]]), &["password"]));
        assert!(!fits(json!([["password", "totp"]]), &["password"]));
        assert!(fits(json!([["password", "totp"]]), &["totp", "password", "token"]));
        assert!(fits(json!([["retina"]]), &["password"]));
        assert!(fits(json!([["password", "retina"]]), &["password"]));
        assert!(!fits(json!([["retina"], ["totp"]]), &["password"]));
        assert!(!fits(json!([["totp"], [7]]), &["password"]));
    }
}
