//! Users whom a front server has authenticated: the methods `external` and `kerberos`, Keystone's `REMOTE_USER`. Who is
//! a front server is decided where requests arrive; here its word is taken.

use vicar_rules::Micros;

use super::Parts;
use super::login::{self, Account, Called};
use super::slow::SlowWork;
use crate::error::{Error, Result};
use crate::facts;
use crate::line::Line;
use crate::reason::Reason;
use crate::store::{Tx, WriteTx};

/// What a front server says of a request.
#[derive(Debug, Clone)]
pub struct Remote {
    /// The user's name.
    pub user: String,
    /// The name of their domain, where `[auth] external = Domain` asks for it.
    pub domain: Option<String>,
    /// The same for `kerberos`, which always asks for it.
    pub kerberos_domain: Option<String>,
    /// Whether they were authenticated by Kerberos.
    pub is_negotiated: bool,
}

/// A user whom a front server has authenticated.
#[derive(Debug)]
pub struct Shown(Account);

/// The user whom the front server has authenticated, for one of the two methods.
///
/// # Errors
/// 401 when there is none, 503 when they are in a directory that is away; [`Error::Pending`] until that is asked.
pub async fn shown(
    tx: &mut Tx,
    parts: Parts<'_>,
    slow: &mut SlowWork,
    remote: Option<&Remote>,
    method: &str,
    line: &Line,
) -> Result<Shown> {
    let nobody = || Error::Unauthorized(Reason::NoRemoteUser);
    let is_kerberos = method == "kerberos";
    let remote = remote.filter(|r| !is_kerberos || r.is_negotiated).ok_or_else(nobody)?;
    let domain = if is_kerberos { &remote.kerberos_domain } else { &remote.domain };
    let domain = match domain {
        Some(name) => {
            let found = facts::domain_named(tx, name).await?;
            found.filter(|domain| domain.name == *name).ok_or_else(nobody)?.id
        }
        None => parts.config.default_domain_id.clone(),
    };
    let account = login::let_in(tx, slow, Called::Name(&remote.user, &domain)).await?;
    let account = account.ok_or_else(nobody)?;
    line.tried(login::tried(Some(&account), Some(&remote.user), Some(domain)));
    Ok(Shown(account))
}

impl Shown {
    /// The user's id.
    pub fn user(&self) -> &str {
        self.0.user()
    }

    /// Notes the login. What failed before was the guessing of others, and still counts.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn record(&self, tx: &mut WriteTx, parts: Parts<'_>, now: Micros) -> Result<()> {
        login::seen(tx, parts, &self.0, now).await
    }
}
