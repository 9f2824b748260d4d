//! Receipts, byte for byte as Keystone 30.0.0 packs them: who has proven to be whom by which methods, where their
//! multi-factor rules ask for more. With a receipt, a login brings the methods that are missing.
//!
//! A receipt is no token, and opens nothing: it begins with an id where a token has the number of its version.

use rmpv::Value as Pack;
use vicar_rules::Micros;
use vicar_rules::revocation::{self, Claims};
use vicar_rules::token;

use super::Parts;
use super::fernet::{
    encrypted, from_bits, issued, pack_id, pack_time, padded, to_bits, unpack_id, unpack_time,
};
use crate::crypto::keys::Keys;
use crate::error::{Error, Result};
use crate::facts::{self, RevocationQuery};
use crate::reason::Reason;
use crate::store::Tx;

/// Longest receipt that is looked at. Keystone's stay below 255 characters.
const LONGEST: usize = 1024;

/// What a receipt says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The user.
    pub user: String,
    /// The methods that were right.
    pub methods: Vec<String>,
    /// When it ends.
    pub expires: Micros,
    /// When it was issued, in whole seconds.
    pub issued: Micros,
}

impl Receipt {
    /// Packs and encrypts. Nothing when there is no key.
    pub fn encode(&self, keys: &Keys, configured: &[String]) -> Option<String> {
        let bits = Pack::from(to_bits(&self.methods, configured));
        encrypted(vec![pack_id(&self.user), bits, pack_time(self.expires)], keys, self.issued)
    }

    /// Decrypts and unpacks. Whatever is not a receipt of these keys is nothing; no more is said.
    pub fn decode(text: &str, keys: &Keys, configured: &[String]) -> Option<Self> {
        if text.len() > LONGEST || !text.is_ascii() {
            return None;
        }
        let plain = keys.decrypt(&padded(text))?;
        let mut rest = plain.as_slice();
        let value = rmpv::decode::read_value_with_max_depth(&mut rest, 8).ok()?;
        let [user, methods, expires] = value.as_array()?.as_slice() else { return None };
        Some(Self {
            user: unpack_id(user)?,
            methods: from_bits(methods.as_u64()?, configured),
            expires: unpack_time(expires)?,
            issued: issued(text)?,
        })
    }
}

/// The methods of a receipt that comes with a login of this user.
///
/// # Errors
/// 401 when it is none, is over, is another user's, is of methods that nothing can be added to, or was issued before all
/// that the user had was revoked.
pub async fn accept(
    tx: &mut Tx,
    parts: Parts<'_>,
    text: &str,
    user: &str,
    now: Micros,
) -> Result<Vec<String>> {
    let keys = parts.receipt_keys.current().map_err(Error::Internal)?;
    let receipt = Receipt::decode(text, &keys, &parts.config.auth_methods);
    let receipt = receipt.ok_or(Error::Unauthorized(Reason::NotAReceipt))?;
    if receipt.expires <= now {
        return Err(Error::Unauthorized(Reason::ReceiptOver));
    }
    if receipt.user != user {
        return Err(Error::Unauthorized(Reason::OtherUser));
    }
    let is_factor = |m: &String| token::is_factor(m, &parts.config.additional_primary);
    if receipt.methods.is_empty() || !receipt.methods.iter().all(is_factor) {
        return Err(Error::Unauthorized(Reason::NotAReceipt));
    }
    if is_revoked(tx, user, receipt.issued).await? {
        return Err(Error::Unauthorized(Reason::ReceiptOver));
    }
    Ok(receipt.methods)
}

/// Whether what a user proved at that time was ended with all their tokens: a password that has been changed since
/// proves nothing any more.
///
/// # Errors
/// When the database fails.
pub(super) async fn is_revoked(tx: &mut Tx, user: &str, issued: Micros) -> Result<bool> {
    let Some(facts) = facts::user(tx, user).await? else { return Ok(true) };
    let query =
        RevocationQuery { users: vec![user], trusts: vec![], project: None, audit_ids: vec![], issued };
    let events = facts::events(tx, &query).await?;
    let claims = Claims {
        users: vec![user],
        holder: user,
        domains: vec![&facts.domain_id],
        domain_scope: None,
        project: None,
        roles: vec![],
        trusts: vec![],
        consumer: None,
        access_token: None,
        audit: "",
        audit_chain: None,
        // That of no token: an event that means the tokens of one end is not of this.
        expires: 0,
        issued,
    };
    Ok(events.iter().any(|event| revocation::ends(event, &claims)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::SECOND;
    use crate::crypto::keys::KeyRing;

    /// The primary key that a Keystone 30.0.0 made the receipts below with.
    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn keys() -> Arc<Keys> {
        let dir = std::env::temp_dir().join(format!("vicar-receipts-{}", crate::ids::uuid()));
        std::fs::create_dir(&dir).expect("made");
        std::fs::write(dir.join("1"), KEY).expect("written");
        let keys = KeyRing::new(dir.clone(), false).current().expect("keys");
        let _ = std::fs::remove_dir_all(dir);
        keys
    }

    fn names(of: &[&str]) -> Vec<String> {
        of.iter().map(|m| (*m).to_owned()).collect()
    }

    #[test]
    fn a_keystones_receipts_are_read_and_packed_byte_for_byte() {
        let (keys, configured) = (keys(), names(&["external", "password", "token", "totp"]));
        let uuid = "75c07766a09d4f14b1b18721d54f329b";
        let (november, january) = (1_795_686_453 * SECOND, 1_800_000_000 * SECOND);
        for (text, user, methods, expires) in [
            (
                "gAAAAABrCANGw9e16ghjJI2zAlzbTLqUWPbuJl4nSefWqHbv7pXCTyIHuLvgyBzZwuNhRG546m1iikcd0Q4L-HRCauNR05Lu4TsNg8wH9UMd_WrwSzhlZ94",
                uuid,
                &["password"][..],
                november,
            ),
            (
                "gAAAAABrCANGw7UmnrSpXia-iCP9Dpa4Y9mhAQlNb4nu3BkJVH4coyw6_jOfpBTq8BHhQsY_SCe2qoRShg0NpWSHFtiAX3nRaekACL3ZQDvqElXHCLkXW6M",
                "ann@idp",
                &["totp", "password"],
                november,
            ),
            (
                "gAAAAABrCANGtpZsRYzFWZWnr7yrm9pq7lrKjwjcETeUqsnCSanMe22pueWFjGZz9zOZohf6hiYLgh4G5LAEmJ9kWIHibTKBKuJXMfwPaUQgFMtMcBD03E4",
                uuid,
                &["totp", "external"],
                january,
            ),
        ] {
            let read = Receipt::decode(text, &keys, &configured).expect("a receipt");
            let issued = 1_795_687_238 * SECOND;
            assert_eq!(read, Receipt { user: user.into(), methods: names(methods), expires, issued });
            let ours = read.encode(&keys, &configured).expect("encodes");
            assert_eq!(keys.decrypt(&padded(&ours)), keys.decrypt(&padded(text)));
            assert_eq!(
                (ours.len(), ours.get(..12)),
                (text.len(), text.get(..12)),
                "the same time, no padding"
            );
        }
    }

    #[test]
    fn what_is_no_receipt_is_nothing() {
        let (keys, configured) = (keys(), names(&["password", "totp"]));
        let packed = |parts| encrypted(parts, &keys, 5 * SECOND).expect("encrypts");
        let user = || pack_id("ann");
        let decode = |text: &str| Receipt::decode(text, &keys, &configured);
        assert!(decode(&packed(vec![user(), Pack::from(1), Pack::from(7)])).is_some());
        // A token has its version first, and more behind it.
        let audit = || Pack::Array(vec![Pack::Binary(vec![1; 16])]);
        for parts in [
            vec![Pack::from(0), user(), Pack::from(1), Pack::from(7), audit()],
            vec![user(), Pack::from(1), Pack::from(7), audit()],
            vec![user(), Pack::from(1)],
            vec![user(), Pack::from(-1), Pack::from(7)],
            vec![user(), Pack::from(1), Pack::F64(f64::NAN)],
            vec![Pack::from("ann"), Pack::from(1), Pack::from(7)],
        ] {
            assert_eq!(decode(&packed(parts.clone())), None, "{parts:?}");
        }
        for text in ["", "gAAAA", "é", &"A".repeat(2000)] {
            assert_eq!(decode(text), None);
        }
    }
}
