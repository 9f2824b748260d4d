//! Password logins: proof, lock-out and expiry.
//!
//! Whatever is wrong (no such user, disabled, locked, another password), the answer is the same 401,
//! after the same work: nobody learns here which accounts exist or in which state they are. In a directory that is a login with
//! a name that nobody has; how long its server takes to refuse one and the other is the server's.

use serde_json::{Map, Value};
use vicar_rules::Micros;
use vicar_rules::delegation::Presence;

use super::Parts;
use super::lockout::{Epoch, Failed};
use super::slow::SlowWork;
use super::wrong_password;
use crate::args;
use crate::clock;
use crate::config::Compliance;
use crate::crypto::passwords::{BCRYPT_BYTES, Passwords};
use crate::directory::Login::{Away, Nobody, Right, Wrong};
use crate::directory::Who;
use crate::error::{Error, Result};
use crate::facts;
use crate::facts::directories;
use crate::facts::options::{Options, options};
use crate::line::{Line, Password, Tried, Verdict};
use crate::reason::Reason;
use crate::store::{self, Date, DateTime, Id, Tx, Update, WriteTx};
use crate::system::System;

/// The id of a domain that a body names by id or name. An unknown one fails the login, no more is said.
pub async fn domain_id(tx: &mut Tx, map: &Map<String, Value>, at: &str) -> Result<String> {
    match (map.get("id"), map.get("name")) {
        (Some(Value::String(id)), _) => Ok(id.clone()),
        (None | Some(Value::Null), Some(Value::String(name))) => {
            Ok(facts::domain_named(tx, name).await?.ok_or(Error::Unauthorized(Reason::NoSuchScope))?.id)
        }
        _ => Err(Error::BadRequest(format!("{at}: needs an id or a name, as a string"))),
    }
}

/// What a password login needs.
#[derive(Debug)]
pub struct Login<'a> {
    /// The server's parts.
    pub parts: Parts<'a>,
    /// The instant.
    pub now: Micros,
    /// Where hashes are computed.
    pub slow: &'a mut SlowWork,
    /// What was written of failed logins before the transaction.
    pub epoch: Epoch,
    /// Where it is noted whom the login tried to be.
    pub line: &'a Line,
}

/// Checks `{"user": {…, "password"}}`.
///
/// # Errors
/// 400 that names the field, or 401.
pub async fn password(tx: &mut Tx, mut login: Login<'_>, mut data: Map<String, Value>) -> Result<Passed> {
    let Some(Value::Object(mut user)) = data.remove("user") else {
        return Err(Error::field("auth.identity.password.user", "is required and must be an object"));
    };
    let password = match user.remove("password") {
        Some(Value::String(p)) => p,
        _ => {
            return Err(Error::field(
                "auth.identity.password.user.password",
                "is required and must be a string",
            ));
        }
    };
    if let Some((domain, who)) = in_a_directory(tx, &user).await? {
        return login.by_directory(tx, &domain, who, password).await;
    }
    let account = named(tx, &user, login.line, "password").await?;
    login.slow.claim(&Value::Object(user).to_string());
    let proven = login.check_password(tx, account, &password).await?;
    if proven.expired {
        return Err(Error::PasswordExpired(proven.account.user));
    }
    Ok(Passed { account: proven.account, password, epoch: login.epoch })
}

/// A password that was right. Nothing is written of it yet: something else may still refuse the login.
pub struct Passed {
    account: Account,
    password: String,
    epoch: Epoch,
}

impl std::fmt::Debug for Passed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Passed({})", self.account.user)
    }
}

impl Passed {
    /// The user's id.
    pub fn user(&self) -> &str {
        &self.account.user
    }

    /// The user's options.
    pub fn options(&self) -> &Options {
        &self.account.options
    }

    /// Another hash for the password, where the stored one is not what the configuration asks for. To be asked
    /// for when nothing but the scope can refuse the login any more: the time that it takes shows that the
    /// password was right.
    ///
    /// # Errors
    /// [`Error::Pending`] until it is computed or given up.
    pub fn rehash(&self, passwords: &Passwords, slow: &mut SlowWork) -> Result<Option<String>> {
        // What is longer has no hash of the current kind.
        let fits = self.password.len() <= BCRYPT_BYTES;
        if fits && self.account.hash.as_ref().is_some_and(|hash| !passwords.is_current(hash)) {
            return slow.hash_anew(&self.password);
        }
        Ok(None)
    }

    /// Notes the login, when there is anything to note: most logins write nothing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn record(
        &self,
        tx: &mut WriteTx,
        parts: Parts<'_>,
        rehash: Option<String>,
        now: Micros,
    ) -> Result<()> {
        let account = &self.account;
        if let (Some(password), Some(old), Some(new)) = (account.password, &account.hash, rehash) {
            // The same password: when it was set and when it ends stay.
            let anew = Update::of("password")
                .set("password_hash", new)
                .key("id", password)
                .key("password_hash", old);
            tx.execute(&System::Login, &anew).await?;
        }
        succeeded(tx, parts, account, self.epoch, now).await
    }
}

/// Notes that somebody has logged in: what failed before is forgotten, and they were seen today.
///
/// # Errors
/// When the database fails.
pub(super) async fn succeeded(
    tx: &mut WriteTx,
    parts: Parts<'_>,
    account: &Account,
    epoch: Epoch,
    now: Micros,
) -> Result<()> {
    let unwritten = parts.failures.since(epoch, account);
    if account.failures != 0 || unwritten.count != 0 {
        let none_failed = Update::of("local_user")
            .set("failed_auth_count", 0_i64)
            .set("failed_auth_at", store::Value::Null)
            .key("id", account.local);
        tx.execute(&System::Login, &none_failed).await?;
        parts.failures.forget(&account.user);
    }
    seen(tx, parts, account, now).await
}

/// Notes that somebody was here today.
///
/// # Errors
/// When the database fails.
pub async fn seen(tx: &mut WriteTx, parts: Parts<'_>, account: &Account, now: Micros) -> Result<()> {
    let today = clock::date(now);
    let counts_days = parts.config.compliance.disable_user_account_days_inactive.is_some();
    if counts_days && account.last_active.as_ref().is_none_or(|d| d.0 != today) {
        let seen = Update::of("user").set("last_active_at", Date(today)).key("id", &account.user);
        tx.execute(&System::Login, &seen).await?;
    }
    Ok(())
}

/// Whom somebody names who is believed: a front server, or a mapping.
#[derive(Debug, Clone, Copy)]
pub enum Called<'a> {
    /// By the id.
    Id(&'a str),
    /// By the name, in the domain with an id.
    Name(&'a str, &'a str),
}

/// The account of whom somebody else has let in; a name is that of whose name is exactly this. Of a domain with a directory it
/// is the directory that says who that is.
///
/// # Errors
/// 401 for a user of a directory who is disabled, 503 when a directory is away; [`Error::Pending`] until it is asked.
pub async fn let_in(tx: &mut Tx, slow: &mut SlowWork, called: Called<'_>) -> Result<Option<Account>> {
    let there = match called {
        _ if tx.directories().is_none() => None,
        Called::Id(id) => directories::mapped(tx, &[id]).await?.remove(id),
        Called::Name(name, domain) => Some((domain.to_owned(), name.to_owned())),
    };
    if let Some((domain, word)) = there
        && directories::is_served(tx, &domain).await?
    {
        let who = if matches!(called, Called::Id(_)) { Who::Local(word) } else { Who::Named(word) };
        return match slow.log_in(&domain, who, None)? {
            Right(id) => in_rows(tx, id).await.map(Some),
            Wrong(_) | Nobody => Ok(None),
            Away => Err(Error::DirectoryAway),
        };
    }
    match called {
        Called::Id(id) => account(tx, id).await,
        // As an id: to some databases `ädmin` is `admin`, and there is no password that only one of them knows.
        Called::Name(name, domain) => {
            find(tx, "l.name = ? AND l.domain_id = ?", args![Id(name), Id(domain)]).await
        }
    }
}

/// The account of a user of a directory, which has just said how they are.
async fn in_rows(tx: &mut Tx, id: String) -> Result<Account> {
    let user = facts::user(tx, &id).await?;
    if user.as_ref().is_some_and(|user| user.is_unknown) {
        return Err(Error::DirectoryAway);
    }
    if !user.is_some_and(|user| user.presence == Presence::Active) {
        return Err(Error::Unauthorized(Reason::Disabled));
    }
    let sql = "SELECT last_active_at FROM \"user\" WHERE id = ?";
    let last_active: Option<Option<Date>> = tx.first(sql, args![Id(&id)], |r| r.take()).await?;
    let options = options(tx, &id).await?;
    Ok(Account { options, ..Account::elsewhere(id, last_active.flatten()) })
}

/// Whether the owner of a password is in a directory, which has to know it as theirs.
///
/// # Errors
/// 401 when it is not, or [`Error::Pending`] until the directory is asked.
pub async fn is_in_a_directory(tx: &mut Tx, login: Login<'_>, id: &str, password: &str) -> Result<bool> {
    let who = Map::from_iter([("id".to_owned(), Value::from(id))]);
    let Some((domain, who)) = in_a_directory(tx, &who).await? else { return Ok(false) };
    login.by_directory(tx, &domain, who, password.to_owned()).await?;
    Ok(true)
}

/// The domain in whose directory the user of a login is looked for, and as whom; nothing for others.
async fn in_a_directory(tx: &mut Tx, user: &Map<String, Value>) -> Result<Option<(String, Who)>> {
    if tx.directories().is_none() {
        return Ok(None);
    }
    let (domain, who) = match (user.get("id"), user.get("name"), user.get("domain")) {
        (Some(Value::String(id)), ..) => match directories::mapped(tx, &[id]).await?.remove(id) {
            Some((domain, local)) => (domain, Who::Local(local)),
            None => return Ok(None),
        },
        (None | Some(Value::Null), Some(Value::String(name)), Some(Value::Object(domain))) => {
            match domain_id(tx, domain, "").await {
                Ok(domain) => (domain, Who::Named(name.clone())),
                // It is said elsewhere what is wrong.
                Err(Error::BadRequest(_) | Error::Unauthorized(_)) => return Ok(None),
                Err(e) => return Err(e),
            }
        }
        _ => return Ok(None),
    };
    Ok(directories::is_served(tx, &domain).await?.then_some((domain, who)))
}

/// The account that a login with this method names, if there is one; then the line has its name.
pub(super) async fn named(
    tx: &mut Tx,
    user: &Map<String, Value>,
    line: &Line,
    method: &str,
) -> Result<Option<Account>> {
    match (user.get("id"), user.get("name")) {
        (Some(Value::String(id)), _) => {
            let account = account(tx, id).await?;
            line.tried(tried(account.as_ref(), None, None));
            if account.is_none() {
                line.looked_at(nobodys(None));
            }
            Ok(account)
        }
        (None | Some(Value::Null), Some(Value::String(name))) => {
            let at = &format!("auth.identity.{method}.user.domain");
            let Some(Value::Object(domain)) = user.get("domain") else {
                return Err(Error::field(at, "is required with a name and must be an object"));
            };
            let domain = match domain_id(tx, domain, at).await {
                Err(Error::Unauthorized(_)) => return Ok(None),
                found => found?,
            };
            let account = find_account(tx, name, &domain).await?;
            if account.is_none() {
                line.looked_at(nobodys(Some(domain.clone())));
            }
            line.tried(tried(account.as_ref(), Some(name), Some(domain)));
            Ok(account)
        }
        _ => Err(Error::field(&format!("auth.identity.{method}.user"), "needs an id or a name, as a string")),
    }
}

/// What the log may have of whom a login named: nothing unless it is a user. People type passwords into the wrong
/// field.
pub fn tried(account: Option<&Account>, name: Option<&String>, domain: Option<String>) -> Tried {
    match account {
        Some(a) => Tried { user: Some(a.user.clone()), name: name.cloned(), domain, ..Tried::default() },
        None => Tried::default(),
    }
}

/// The password of nobody, in a domain that exists.
pub fn nobodys(domain: Option<String>) -> Password {
    Password { user: None, domain, verdict: Verdict::NoSuchUser }
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
    /// Whether the user set it.
    pub self_service: bool,
    expires: Option<Micros>,
    last_active: Option<Date>,
    /// The user's options.
    pub options: Options,
}

/// The account of a user.
///
/// # Errors
/// When the database fails.
pub async fn account(tx: &mut Tx, user: &str) -> Result<Option<Account>> {
    find(tx, "l.user_id = ?", args![Id(user)]).await
}

/// The account of this name in a domain.
///
/// # Errors
/// When the database fails.
pub async fn find_account(tx: &mut Tx, name: &str, domain: &str) -> Result<Option<Account>> {
    find(tx, "l.name = ? AND l.domain_id = ?", args![name, Id(domain)]).await
}

async fn find(tx: &mut Tx, condition: &str, args: &[store::Value]) -> Result<Option<Account>> {
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
                let expires = facts::read_password_end(r)?;
                Ok(Account {
                    user,
                    local,
                    failures,
                    failed_at,
                    password,
                    hash,
                    set_at,
                    self_service,
                    expires,
                    last_active: r.take()?,
                    options: Options::default(),
                })
            },
        )
        .await?;
    match found {
        Some(mut account) => {
            account.options = options(tx, &account.user).await?;
            Ok(Some(account))
        }
        None => Ok(None),
    }
}

/// What failed logins did to an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// Nothing.
    Open,
    /// It was locked; the time is over, and counting begins anew.
    Lapsed,
    /// It is locked.
    Closed,
}

impl Account {
    /// What the failures do to the account, those included that its row does not show yet.
    pub fn lock(&self, rules: &Compliance, unwritten: Failed, now: Micros) -> Lock {
        let Some(limit) = rules.lockout_failure_attempts.filter(|n| *n > 0) else {
            return Lock::Open;
        };
        let limit = i64::from(limit);
        let lapsed = |at: Option<Micros>, now: Micros| {
            rules.lockout_duration > 0
                && at.is_some_and(|at| at.saturating_add(rules.lockout_duration) <= now)
        };
        // While an account is locked, no failure is counted: what was counted after the lock began anew.
        let began_anew =
            unwritten.count > 0 && self.failures >= limit && lapsed(self.failed_at, unwritten.first);
        let stored = if began_anew { 0 } else { self.failures };
        let failures = stored.saturating_add(i64::from(unwritten.count));
        if failures < limit || self.options.is_on("ignore_lockout_failure_attempts") {
            return Lock::Open;
        }
        let last = self.failed_at.max((unwritten.count > 0).then_some(unwritten.at));
        // Without a duration a lock never lapses, and neither does one of unknown age.
        if lapsed(last, now) { Lock::Lapsed } else { Lock::Closed }
    }

    /// That of somebody whose password is not kept here.
    fn elsewhere(user: String, last_active: Option<Date>) -> Self {
        Self {
            user,
            local: 0,
            failures: 0,
            failed_at: None,
            password: None,
            hash: None,
            set_at: 0,
            self_service: false,
            expires: None,
            last_active,
            options: Options::default(),
        }
    }

    fn expired(&self, now: Micros) -> bool {
        self.expires.is_some_and(|e| e <= now) && !self.options.is_on("ignore_password_expiry")
    }

    /// How many logins have failed, and when the last one did.
    pub fn failed(&self) -> (i64, Option<Micros>) {
        (self.failures, self.failed_at)
    }

    /// An account of which nothing else matters.
    #[cfg(test)]
    pub(super) fn with_failures(user: &str, failures: i64, failed_at: Option<Micros>) -> Self {
        Self { local: 1, failures, failed_at, ..Self::elsewhere(user.to_owned(), None) }
    }

    /// The user's id.
    pub fn user(&self) -> &str {
        &self.user
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

/// A user who knows the password of an account that is open and active.
#[derive(Debug)]
pub struct Proven {
    /// Whether the password has expired. Then it is good for one thing: being changed.
    pub expired: bool,
    /// The account.
    pub account: Account,
}

impl Login<'_> {
    /// Has a directory check the password.
    async fn by_directory(self, tx: &mut Tx, domain: &str, who: Who, password: String) -> Result<Passed> {
        let verdict = |user: Option<String>, verdict| {
            let domain = user.is_none().then(|| domain.to_owned());
            self.line.looked_at(Password { user, domain, verdict });
        };
        // Nobody has an empty one; and a server would take it for no login at all.
        let fits = !password.is_empty() && password.len() <= self.parts.config.max_password_length;
        let said = if fits { self.slow.log_in(domain, who.clone(), Some(&password))? } else { Nobody };
        let id = match said {
            Right(id) => id,
            Wrong(id) => {
                self.line.tried(Tried { user: Some(id.clone()), ..Tried::default() });
                verdict(Some(id), Verdict::Wrong);
                return Err(Error::Unauthorized(Reason::WrongPassword));
            }
            Nobody => {
                verdict(None, Verdict::NoSuchUser);
                return Err(Error::Unauthorized(Reason::NoSuchUser));
            }
            Away => return Err(Error::DirectoryAway),
        };
        let name = match who {
            Who::Named(name) => Some(name),
            Who::Local(_) => None,
        };
        let in_domain = name.as_ref().map(|_| domain.to_owned());
        self.line.tried(Tried { user: Some(id.clone()), name, domain: in_domain, ..Tried::default() });
        let account = in_rows(tx, id.clone()).await?;
        verdict(Some(id), Verdict::Right);
        Ok(Passed { account, password, epoch: self.epoch })
    }

    /// Checks a password. The hash is computed between two runs of the handler; what it is compared with is
    /// read anew in each.
    ///
    /// # Errors
    /// 401, or [`Error::Pending`] until the hash is computed.
    pub async fn check_password(
        &mut self,
        tx: &mut Tx,
        account: Option<Account>,
        password: &str,
    ) -> Result<Proven> {
        let rules = &self.parts.config.compliance;
        let hash = account.as_ref().and_then(|a| a.hash.as_deref());
        let too_long = password.len() > self.parts.config.max_password_length;
        // Nothing longer than the limit was ever hashed; it costs what any other wrong password does.
        let fits = self.slow.verify(if too_long { "" } else { password }, hash)?;
        // An empty password is no proof of anything, whatever hash it may fit.
        let fits = fits && !too_long && !password.is_empty();
        let account = account.ok_or(Error::Unauthorized(Reason::NoSuchUser))?;
        let unwritten = self.parts.failures.since(self.epoch, &account);
        let lock = account.lock(rules, unwritten, self.now);
        if !fits {
            if rules.lockout_failure_attempts.is_some() {
                self.parts.failures.count(self.parts.store, rules, &account, self.epoch, self.now);
            }
            let locked = lock == Lock::Closed;
            self.looked_at(&account, if locked { Verdict::Locked } else { Verdict::Wrong });
            if let Some(report) = rules.wrong_passwords.as_ref().filter(|_| !locked) {
                self.line.wrong_password(wrong_password::hash(report, password));
            }
            return Err(Error::Unauthorized(if locked { Reason::Locked } else { Reason::WrongPassword }));
        }
        let user = facts::user(tx, &account.user).await?;
        if lock == Lock::Closed {
            self.looked_at(&account, Verdict::Locked);
            return Err(Error::Unauthorized(Reason::Locked));
        }
        if !user.is_some_and(|u| u.presence == Presence::Active) {
            return Err(Error::Unauthorized(Reason::Disabled));
        }
        let expired = account.expired(self.now);
        self.looked_at(&account, if expired { Verdict::Expired } else { Verdict::Right });
        Ok(Proven { expired, account })
    }

    fn looked_at(&self, account: &Account, verdict: Verdict) {
        let user = Some(account.user.clone());
        self.line.looked_at(Password { user, domain: None, verdict });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_that_are_not_written_yet_count_as_written_ones_will() {
        let rules = Compliance {
            lockout_failure_attempts: Some(3),
            lockout_duration: 60,
            ..crate::config::Config::from_text("", std::path::Path::new("/d")).expect("reads").compliance
        };
        let lock = |failures: i64, failed_at: Micros, count: u32, at: Micros, now: Micros| {
            let account = Account::with_failures("u", failures, Some(failed_at));
            account.lock(&rules, Failed { count, first: at, at }, now)
        };
        assert_eq!(lock(2, 0, 0, 0, 1), Lock::Open);
        assert_eq!(lock(3, 0, 0, 0, 59), Lock::Closed);
        assert_eq!(lock(3, 0, 0, 0, 60), Lock::Lapsed);
        assert_eq!(lock(2, 0, 1, 10, 60), Lock::Closed);
        assert_eq!(lock(2, 0, 1, 10, 70), Lock::Lapsed);
        // The first failure after a lock has lapsed locks nothing, written or not.
        assert_eq!(lock(1, 60, 0, 0, 61), Lock::Open);
        assert_eq!(lock(3, 0, 1, 60, 61), Lock::Open);
        assert_eq!(lock(3, 0, 3, 62, 63), Lock::Closed);
        assert_eq!(lock(3, 0, 3, 62, 122), Lock::Lapsed);
        // None that is not written has no instant either.
        assert_eq!(lock(3, 0, 0, 100, 59), Lock::Closed);
    }

    #[test]
    fn a_lock_lapses_only_where_its_age_and_its_duration_are_known() {
        let shipped =
            crate::config::Config::from_text("", std::path::Path::new("/d")).expect("reads").compliance;
        let lock = |attempts, duration, failed_at| {
            let rules = Compliance {
                lockout_failure_attempts: attempts,
                lockout_duration: duration,
                ..shipped.clone()
            };
            Account::with_failures("u", 3, failed_at).lock(&rules, Failed::default(), 1_000)
        };
        assert_eq!(lock(Some(3), 60, Some(0)), Lock::Lapsed);
        assert_eq!(lock(Some(3), 0, Some(0)), Lock::Closed);
        assert_eq!(lock(Some(3), 60, None), Lock::Closed);
        assert_eq!(lock(Some(0), 60, None), Lock::Open);
        assert_eq!(lock(None, 60, None), Lock::Open);
    }
}
