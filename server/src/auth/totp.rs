//! Logins with a passcode: time-based one-time passwords (RFC 6238), of the secrets that users keep as credentials of
//! type `totp`. Six digits, windows of 30 seconds, HMAC-SHA1, as in Keystone.
//!
//! A wrong passcode counts as a failed login, and a locked account takes none: six digits are soon guessed.

use data_encoding::{BASE32_NOPAD, Encoding};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::sync::LazyLock;
use subtle::ConstantTimeEq;
use vicar_rules::Micros;
use vicar_rules::delegation::Presence;

use super::Parts;
use super::lockout::Epoch;
use super::login::{self, Account, Lock, Login};
use crate::args;
use crate::clock::SECOND;
use crate::error::{Error, Result};
use crate::facts;
use crate::reason::Reason;
use crate::store::{self, Id, Insert, Tx, WriteTx};
use crate::system::System;

/// How long a passcode is that of the moment.
const WINDOW: Micros = 30 * SECOND;

/// The shortest secret that has passcodes, in bytes, as in Keystone.
const SHORTEST: usize = 16;

/// So many secrets of a user are looked at.
const MOST: usize = 100;

/// Base32 as Keystone reads it: in capital letters, with bits that are left over whatever they are.
static BASE32: LazyLock<Encoding> = LazyLock::new(|| {
    let mut base32 = BASE32_NOPAD.specification();
    base32.check_trailing_bits = false;
    base32.encoding().unwrap_or(BASE32_NOPAD)
});

/// The bytes of a secret, if it is one that has passcodes.
fn secret(text: &str) -> Option<Vec<u8>> {
    let secret = BASE32.decode(text.trim_end_matches('=').as_bytes()).ok()?;
    (secret.len() >= SHORTEST).then_some(secret)
}

/// The passcode of a window, counted from 1970: RFC 4226 over the window's number.
fn passcode(secret: &[u8], window: u64) -> Option<String> {
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(secret).ok()?;
    mac.update(&window.to_be_bytes());
    let hash: [u8; 20] = mac.finalize().into_bytes().into();
    let at = usize::from(hash.last()? & 0xf);
    let four = hash.get(at..at + 4)?.try_into().ok()?;
    Some(format!("{:06}", (u32::from_be_bytes(four) & 0x7fff_ffff) % 1_000_000))
}

/// A passcode that was right. Nothing is written of it yet: something else may still refuse the login.
pub struct Entered {
    user: String,
    account: Option<Account>,
    epoch: Epoch,
    /// What tells this passcode from any other.
    fingerprint: String,
    /// Until when it would be right once more.
    until: Micros,
}

impl std::fmt::Debug for Entered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Entered({})", self.user)
    }
}

/// Checks `{"user": {…, "passcode"}}`.
///
/// # Errors
/// 400 that names the field, or 401.
pub async fn totp(tx: &mut Tx, login: Login<'_>, mut data: Map<String, Value>) -> Result<Entered> {
    let Some(Value::Object(mut user)) = data.remove("user") else {
        return Err(Error::field("auth.identity.totp.user", "is required and must be an object"));
    };
    // Without one it is a wrong one, as in Keystone.
    let entered = match user.remove("passcode") {
        Some(Value::String(passcode)) => passcode,
        _ => String::new(),
    };
    let account = login::named(tx, &user, login.line, "totp").await?;
    // Users whom an identity provider has brought have no account here, but may have credentials.
    let user = match (&account, user.get("id")) {
        (Some(account), _) => Some(account.user().to_owned()),
        (None, Some(Value::String(id))) => Some(id.clone()),
        (None, _) => None,
    };
    let matched = matched(tx, login.parts, user.as_deref().unwrap_or_default(), &entered, login.now).await?;
    let user = facts::user(tx, user.as_deref().unwrap_or_default()).await?;
    let user = user.ok_or(Error::Unauthorized(Reason::NoSuchUser))?;
    let (rules, failures) = (&login.parts.config.compliance, login.parts.failures);
    let lock = match &account {
        Some(account) => account.lock(rules, failures.since(login.epoch, account), login.now),
        None => Lock::Open,
    };
    if lock == Lock::Closed {
        return Err(Error::Unauthorized(Reason::Locked));
    }
    let Some((fingerprint, until)) = matched else {
        if let Some(account) = account.as_ref().filter(|_| rules.lockout_failure_attempts.is_some()) {
            failures.count(login.parts.store, rules, account, login.epoch, login.now);
        }
        return Err(Error::Unauthorized(Reason::WrongPasscode));
    };
    if user.presence != Presence::Active {
        return Err(Error::Unauthorized(Reason::Disabled));
    }
    if login.parts.config.totp_refuse_reuse && is_used(tx, &fingerprint).await? {
        return Err(Error::Unauthorized(Reason::PasscodeUsed));
    }
    Ok(Entered { user: user.id, account, epoch: login.epoch, fingerprint, until })
}

/// Which of a user's secrets the passcode is of: what tells it from any other, and until when it is right.
async fn matched(
    tx: &mut Tx,
    parts: Parts<'_>,
    user: &str,
    entered: &str,
    now: Micros,
) -> Result<Option<(String, Micros)>> {
    let stored = tx
        .map(
            &format!("SELECT id, encrypted_blob FROM credential WHERE user_id = ? AND type = ? ORDER BY id LIMIT {MOST}"),
            args![Id(user), Id("totp")],
            |r| Ok((r.take::<String>()?, r.take::<String>()?)),
        )
        .await?;
    let keys = parts.credential_keys.current().map_err(Error::Internal)?;
    let current = u64::try_from(now.div_euclid(WINDOW)).unwrap_or(0);
    let previous = parts.config.totp_previous_windows;
    let mut found = None;
    for (credential, blob) in stored {
        let text = keys.decrypt(&blob).and_then(|blob| String::from_utf8(blob).ok());
        let Some(secret) = text.as_deref().and_then(secret) else { continue };
        for window in (0..=u64::from(previous)).filter_map(|back| current.checked_sub(back)) {
            let right = passcode(&secret, window);
            let fits = right.is_some_and(|right| right.as_bytes().ct_eq(entered.as_bytes()).into());
            if fits && found.is_none() {
                let fingerprint = Sha256::digest(format!("passcode {window} of {credential}"));
                let last = i64::try_from(window).unwrap_or(0).saturating_add(i64::from(previous) + 1);
                found = Some((hex::encode(fingerprint), last.saturating_mul(WINDOW)));
            }
        }
    }
    Ok(found)
}

async fn is_used(tx: &mut Tx, fingerprint: &str) -> Result<bool> {
    let seen = "SELECT fingerprint FROM vicar_replay WHERE fingerprint = ?";
    Ok(tx.exists(seen, args![Id(fingerprint)]).await?)
}

impl Entered {
    /// The user's id.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Marks the passcode as used, where that counts: it opens nothing a second time, on whichever replica.
    ///
    /// # Errors
    /// 401 when another login was first.
    pub async fn use_up(&self, tx: &mut WriteTx, parts: Parts<'_>) -> Result<()> {
        if !parts.config.totp_refuse_reuse {
            return Ok(());
        }
        let used =
            Insert::into("vicar_replay").set("fingerprint", &self.fingerprint).set("seen_until", self.until);
        match tx.execute(&System::Login, &used).await {
            Ok(_) => Ok(()),
            Err(store::Error::Duplicate) => Err(Error::Unauthorized(Reason::PasscodeUsed)),
            Err(e) => Err(e.into()),
        }
    }

    /// Notes the login.
    ///
    /// # Errors
    /// 401 when another login was first with the passcode.
    pub async fn record(&self, tx: &mut WriteTx, parts: Parts<'_>, now: Micros) -> Result<()> {
        self.use_up(tx, parts).await?;
        match &self.account {
            Some(account) => login::succeeded(tx, parts, account, self.epoch, now).await,
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B, of which the last six of eight digits are those of six.
    #[test]
    fn the_vectors_of_the_standard() {
        let key = b"12345678901234567890";
        for (seconds, eight) in [
            (59, "94287082"),
            (1_111_111_109, "07081804"),
            (1_111_111_111, "14050471"),
            (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"),
            (20_000_000_000, "65353130"),
        ] {
            assert_eq!(passcode(key, seconds / 30).as_deref(), eight.get(2..), "{seconds}");
        }
    }

    #[test]
    fn a_secret_is_what_keystone_can_read() {
        let twenty = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
        assert_eq!(secret(twenty).as_deref(), Some(&b"12345678901234567890"[..]));
        // 16 bytes, with and without padding, and with bits that are left over.
        for text in
            ["GEZDGNBVGY3TQOJQGEZDGNBVGY======", "GEZDGNBVGY3TQOJQGEZDGNBVGY", "GEZDGNBVGY3TQOJQGEZDGNBVGZ"]
        {
            assert_eq!(secret(text).map(|s| s.len()), Some(16), "{text}");
        }
        for text in [
            "",
            "=",
            "GEZDGNBVGY3TQOJQ",
            &twenty.to_ascii_lowercase(),
            "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJ!",
            "{}",
        ] {
            assert_eq!(secret(text), None, "{text:?}");
        }
    }
}
