//! A signed request for a token: what `POST /v3/ec2tokens` and `/v3/s3tokens` do.
//!
//! The caller is a service; the signer is whoever holds the keypair. Everything that is wrong with the
//! signer's side is 401: consumers renew and retry on 401 and on nothing else.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use vicar_rules::Micros;
use vicar_rules::access_rule::Access;
use vicar_rules::delegation::Until;
use vicar_rules::origin::Origin;
use vicar_rules::signature::{self, DerivedKey, S3Request, SignatureVersion, SignedRequest};
use vicar_rules::token::EC2_METHOD;

use super::Parts;
use super::fernet::PayloadScope;
use super::issue::{self, Draft};
use super::keypair::{audit_chain, blob_object, credential_id, decrypt};
use super::token::{Known, Token};
use crate::args;
use crate::clock::SECOND;
use crate::config::Config;
use crate::crypto::keys::Keys;
use crate::error::{Error, Result};
use crate::facts;
use crate::facts::access_tokens;
use crate::facts::application_credentials;
use crate::facts::credentials::{self, BOUND, BoundTo, Credential, PLAIN, RecordsBinding};
use crate::line::{Line, Tried};
use crate::reason::Reason;
use crate::store::memory::AnswerKey;
use crate::store::{self, Id, Insert, Tx, WriteTx};
use crate::system::System;

/// How far ahead a signer's clock may be.
const AHEAD: Micros = 5 * 60 * SECOND;

/// The signature does not fit.
pub const BAD_SIGNATURE: Error =
    Error::UnauthorizedBecause(Reason::WrongSignature, "The signature does not fit the request.");
const UNTIMED: Error =
    Error::UnauthorizedBecause(Reason::SignatureTime, "The signed request states no time.");
const TOO_OLD: Error = Error::UnauthorizedBecause(Reason::SignatureTime, "The signed request is too old.");
const TOO_NEW: Error =
    Error::UnauthorizedBecause(Reason::SignatureTime, "The signed request's time lies in the future.");
const VERSION_REFUSED: Error = Error::UnauthorizedBecause(
    Reason::WrongSignature,
    "S3 signatures of version 2 are not accepted here; use version 4.",
);
const REPLAYED: Error =
    Error::UnauthorizedBecause(Reason::SignatureUsed, "The signed request was used already.");

/// What the blob of an older Keystone tells is recorded at the first exchange.
impl RecordsBinding for System {}

/// A signed request of either kind.
#[derive(Debug)]
pub enum Signed {
    /// Of `/v3/ec2tokens`.
    Ec2(SignedRequest),
    /// Of `/v3/s3tokens`.
    S3(S3Request),
}

impl Signed {
    /// The access id of its keypair.
    pub fn access(&self) -> &str {
        match self {
            Self::Ec2(r) => &r.access,
            Self::S3(r) => &r.access,
        }
    }

    /// Checks the signature, then the time that it covers.
    fn verify(
        &self,
        secret: &str,
        derived: &mut Option<DerivedKey>,
        config: &Config,
        now: Micros,
    ) -> Result<()> {
        match self {
            Self::Ec2(r) => {
                let version = signature::verify_ec2_again(secret, derived, r).map_err(|_| BAD_SIGNATURE)?;
                if let Some(end) = signature::expires_at(r).map_err(|_| BAD_SIGNATURE)?
                    && end <= now
                {
                    return Err(TOO_OLD);
                }
                match signature::stated_time(r).map_err(|_| BAD_SIGNATURE)? {
                    Some(at) if at.saturating_add(config.auth_ttl) < now => Err(TOO_OLD),
                    Some(at) if at > now.saturating_add(AHEAD) => Err(TOO_NEW),
                    Some(_) => Ok(()),
                    // Heat's stored URLs are of version 2 and state none.
                    None if version == SignatureVersion::V2 && config.allow_untimed_signatures => Ok(()),
                    None => Err(UNTIMED),
                }
            }
            Self::S3(r) => {
                let version = signature::verify_s3_again(secret, derived, r).map_err(|_| BAD_SIGNATURE)?;
                if version == SignatureVersion::V2 && !config.allow_s3_version_2 {
                    return Err(VERSION_REFUSED);
                }
                if let Some(end) = signature::expires_at_s3(r).map_err(|_| BAD_SIGNATURE)?
                    && end <= now
                {
                    return Err(TOO_OLD);
                }
                // The gateway judges the age: only it knows how long a presigned URL was meant to live.
                match signature::stated_time_s3(r).map_err(|_| BAD_SIGNATURE)? {
                    Some(at) if at > now.saturating_add(AHEAD) => Err(TOO_NEW),
                    _ => Ok(()),
                }
            }
        }
    }

    /// What tells this signed request from any other. S3's are shown again and again by design.
    fn once(&self) -> Option<String> {
        match self {
            Self::Ec2(r) => Some(r.identity()),
            Self::S3(_) => None,
        }
    }
}

/// A keypair with its secret, as read.
struct Keypair {
    credential: Credential,
    secret: String,
    application_credential: Option<String>,
    access_token: Option<String>,
    /// The key that was derived last from the secret: mostly a client signs many requests of a day.
    derived: Mutex<Option<DerivedKey>>,
}

impl Keypair {
    /// About how many bytes it takes: whatever of it a client can make long is counted.
    fn size(&self) -> usize {
        let others = [&self.application_credential, &self.access_token].into_iter().flatten();
        let bound = self.credential.bound.as_ref();
        let roles = bound.and_then(|bound| bound.roles.as_ref()).map_or(0, |roles| roles.len());
        let texts =
            others.map(String::len).sum::<usize>() + bound.map_or(0, |b| b.access.len() + b.trust_id.len());
        let rules = bound.map_or(0, |bound| facts::terms::size(&bound.access_rules));
        2_000 + self.secret.len() + texts + 100 * roles + rules
    }
}

/// Finds the keypair of a signed request. It is remembered under a hash that is keyed with the reading of the keys that have
/// decrypted it.
async fn find(
    tx: &mut Tx,
    parts: Parts<'_>,
    signed: &Signed,
    line: &Line,
    now: Micros,
) -> Result<Arc<Keypair>> {
    let keys = parts.credential_keys.current().map_err(Error::Internal)?;
    let key = AnswerKey::new("keypair", keys.seal(signed.access(), 0));
    if let Some(known) = tx.known::<Keypair>(&key, now).await? {
        note(&known.credential, line);
        return Ok(known);
    }
    let mark = tx.begin_answer();
    let read = Arc::new(read(tx, &keys, signed, line).await?);
    tx.remember(mark, key, (&read, read.size()));
    Ok(read)
}

/// What the log tells of a keypair, whatever becomes of it.
fn note(credential: &Credential, line: &Line) {
    line.credential(&credential.id);
    line.tried(Tried { user: Some(credential.user_id.clone()), ..Tried::default() });
}

async fn read(tx: &mut Tx, keys: &Keys, signed: &Signed, line: &Line) -> Result<Keypair> {
    let access = signed.access();
    let unknown = || match signed {
        Signed::Ec2(_) => Error::UnauthorizedBecause(Reason::NoSuchKeypair, "EC2 access key not found."),
        // Ceph's gateway tells a wrong key id from a wrong signature by the status.
        Signed::S3(_) => Error::RefusedAsAbsent(Reason::NoSuchKeypair, "EC2 access key not found."),
    };
    let credential = credentials::get(tx, &credential_id(access)).await?;
    // Exactly the types that this server and Keystone exchange.
    let mut credential = credential.filter(|c| c.kind == PLAIN || c.kind == BOUND).ok_or_else(unknown)?;
    note(&credential, line);
    let blob = decrypt(keys, &credential).ok_or_else(unknown)?;
    let blob = blob_object(&blob).ok_or_else(unknown)?;
    let text = |name: &str| blob.get(name).and_then(Value::as_str).map(str::to_owned);
    let secret = text("secret").filter(|s| !s.is_empty()).ok_or_else(unknown)?;
    // Without its record a trust's keypair is worth nothing.
    if credential.kind == BOUND && credential.bound.is_none() {
        return Err(Error::Unauthorized(Reason::CredentialOver));
    }
    if credential.bound.is_none()
        && let Some(trust_id) = text("trust_id")
    {
        // Made by an older Keystone, which wrote the trust into the blob: bound all the same.
        credential.bound = Some(BoundTo {
            trust_id,
            access: access.to_owned(),
            roles: None,
            until: Until::Never,
            access_rules: Access::default(),
            origin: Origin::default(),
            creator: None,
        });
    }
    // What the exchange has no use for, and may be long.
    (credential.extra, credential.encrypted_blob) = (None, String::new());
    Ok(Keypair {
        application_credential: text("app_cred_id"),
        access_token: text("access_token_id"),
        credential,
        secret,
        derived: Mutex::default(),
    })
}

/// Verifies a signed request and issues the token that its keypair is worth now.
///
/// # Errors
/// 401 for everything that is wrong on the signer's side, except an unknown key id of S3: 404.
pub async fn exchange(
    tx: &mut WriteTx,
    parts: Parts<'_>,
    signed: &Signed,
    mut known: Known,
    line: &Line,
    now: Micros,
) -> Result<(String, Token)> {
    let found = find(tx, parts, signed, line, now).await?;
    let mut derived = found.derived.lock().unwrap_or_else(PoisonError::into_inner).clone();
    signed.verify(&found.secret, &mut derived, parts.config, now)?;
    *found.derived.lock().unwrap_or_else(PoisonError::into_inner) = derived.filter(DerivedKey::is_small);
    let c = &found.credential;
    let project = c.project_id.clone().ok_or(Error::Unauthorized(Reason::NoSuchScope))?;
    let mut until = Until::At(now.saturating_add(parts.config.token_expiration));
    let mut user = c.user_id.clone();
    let scope = match (&c.bound, &found.application_credential, &found.access_token) {
        (Some(b), ..) => {
            let implications = known.implications(tx).await?;
            let trust = facts::evaluated_trust(tx, &b.trust_id, now, &implications).await?;
            let trust = trust.ok_or(Error::Unauthorized(Reason::TrustOver))?;
            let leaf = trust.chain().leaf();
            if leaf.project.as_ref() != Some(&project) || trust.chain().keypair_owner() != c.user_id {
                return Err(Error::Unauthorized(Reason::TrustOver));
            }
            user.clone_from(&leaf.trustee);
            until = until.min(trust.chain().until()).min(b.until).min(issue::longest(&trust, now));
            let id = leaf.id.clone();
            known.trust = Some(trust);
            if b.is_narrowed() {
                PayloadScope::Narrowed(project, id)
            } else {
                PayloadScope::Trust(project, id)
            }
        }
        (None, Some(a), _) => {
            let stored = application_credentials::get(tx, a).await?;
            until = until.min(stored.map_or(Until::Never, |stored| stored.credential.until));
            PayloadScope::ApplicationCredential(project, a.clone())
        }
        (None, None, Some(a)) => {
            let stored = access_tokens::access_token(tx, a).await?;
            until = until.min(stored.map_or(Until::Never, |stored| stored.until));
            PayloadScope::AccessToken(project, a.clone())
        }
        (None, None, None) => PayloadScope::Project(project),
    };
    if let Some(b) = c.bound.as_ref().filter(|_| c.kind == PLAIN) {
        // Made by an older Keystone, whose blob tells the trust: its binding has still to be recorded.
        credentials::record(tx, &System::Login, &c.id, b, &audit_chain(&c.id), now).await?;
    }
    if let Some(fingerprint) = signed.once().filter(|_| parts.config.refuse_replay) {
        let until = now.saturating_add(parts.config.auth_ttl).saturating_add(AHEAD);
        use_once(tx, &fingerprint, until).await?;
    }
    let root = Some(audit_chain(&c.id));
    let draft = Draft { user, methods: vec![EC2_METHOD.to_owned()], scope, until, root, federated: None };
    issue::mint(tx, parts, draft, known, now).await
}

/// Marks a signed request as used, until it is too old anyway; a second use is refused.
pub(super) async fn use_once(tx: &mut WriteTx, fingerprint: &str, until: Micros) -> Result<()> {
    let seen = "SELECT fingerprint FROM vicar_replay WHERE fingerprint = ?";
    if tx.exists(seen, args![Id(fingerprint)]).await? {
        return Err(REPLAYED);
    }
    let insert = Insert::into("vicar_replay").set("fingerprint", fingerprint).set("seen_until", until);
    match tx.execute(&System::Login, &insert).await {
        Ok(_) => Ok(()),
        Err(store::Error::Duplicate) => Err(REPLAYED),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use hmac::{Hmac, KeyInit, Mac};
    use vicar_rules::signature::{amz_date, presign_v4, sign_s3, sign_v2};

    use super::*;

    const NOW: Micros = 1_772_600_767 * SECOND;

    fn config(text: &str) -> Config {
        Config::from_text(&format!("[credential]\n{text}"), std::path::Path::new("/d")).expect("reads")
    }

    /// A request of version 2 that states these times, if any.
    fn v2(stated: Option<Micros>, expires: Option<Micros>) -> Signed {
        let mut r = SignedRequest {
            access: "a".into(),
            host: "h".into(),
            verb: "GET".into(),
            ..SignedRequest::default()
        };
        r.params.insert("SignatureVersion".into(), "2".into());
        r.params.extend(stated.map(|at| ("Timestamp".into(), amz_date(at))));
        r.params.extend(expires.map(|at| ("Expires".into(), amz_date(at))));
        r.signature = sign_v2("s", &r).expect("signs");
        Signed::Ec2(r)
    }

    fn s3(string_to_sign: &str) -> Signed {
        let string_to_sign = string_to_sign.as_bytes().to_vec();
        let signature = sign_s3("s", &string_to_sign).expect("signs");
        Signed::S3(S3Request { access: "a".into(), signature, string_to_sign })
    }

    fn verdict(signed: &Signed, config: &Config) -> Result<(), String> {
        signed.verify("s", &mut None, config, NOW).map_err(|e| e.to_string())
    }

    fn refused(with: Error) -> Result<(), String> {
        Err(with.to_string())
    }

    #[test]
    fn a_signed_request_is_good_for_its_time() {
        let config = config("auth_ttl = 15");
        let verdict = |signed: Signed| verdict(&signed, &config);
        let (ttl, ahead) = (15 * 60 * SECOND, 300 * SECOND);
        assert_eq!(verdict(v2(Some(NOW), None)), Ok(()));
        assert_eq!(verdict(v2(Some(NOW - ttl), None)), Ok(()));
        assert_eq!(verdict(v2(Some(NOW - ttl - SECOND), None)), refused(TOO_OLD));
        assert_eq!(verdict(v2(Some(NOW + ahead), None)), Ok(()));
        assert_eq!(verdict(v2(Some(NOW + ahead + SECOND), None)), refused(TOO_NEW));
        assert_eq!(verdict(v2(Some(NOW), Some(NOW + SECOND))), Ok(()));
        assert_eq!(verdict(v2(Some(NOW), Some(NOW))), refused(TOO_OLD));
        let Signed::Ec2(mut altered) = v2(Some(NOW), None) else { panic!("one of EC2") };
        altered.path.push('x');
        assert_eq!(verdict(Signed::Ec2(altered)), refused(BAD_SIGNATURE));

        let mut presigned = SignedRequest {
            access: "a".into(),
            host: "h".into(),
            verb: "GET".into(),
            ..SignedRequest::default()
        };
        presign_v4("s", &mut presigned, &amz_date(NOW - 60 * SECOND), "r", "ec2", 60).expect("signs");
        assert_eq!(verdict(Signed::Ec2(presigned.clone())), refused(TOO_OLD));
        presign_v4("s", &mut presigned, &amz_date(NOW - 60 * SECOND), "r", "ec2", 61).expect("signs");
        assert_eq!(verdict(Signed::Ec2(presigned)), Ok(()));
    }

    #[test]
    fn a_request_without_a_time_is_of_version_2_and_of_who_allows_it() {
        let (allowed, not) =
            (config("allow_untimed_signatures = true"), config("allow_untimed_signatures = false"));
        assert_eq!(verdict(&v2(None, None), &allowed), Ok(()));
        assert_eq!(verdict(&v2(None, None), &not), refused(UNTIMED));
        assert_eq!(verdict(&v2(None, Some(NOW + SECOND)), &not), refused(UNTIMED));
        // Version 1 must state a time; an end is none.
        let mut r = SignedRequest { access: "a".into(), ..SignedRequest::default() };
        let end = amz_date(NOW + SECOND);
        r.params.insert("Expires".into(), end.clone());
        r.params.insert("SignatureVersion".into(), "1".into());
        let mut mac = Hmac::<sha1::Sha1>::new_from_slice(b"s").expect("any length");
        mac.update(format!("Expires{end}SignatureVersion1").as_bytes());
        r.signature = STANDARD.encode(mac.finalize().into_bytes());
        for config in [allowed, not] {
            assert_eq!(verdict(&Signed::Ec2(r.clone()), &config), refused(UNTIMED));
        }
    }

    #[test]
    fn of_s3_the_gateway_judges_the_age() {
        let (both, four) = (config("allow_s3_version_2 = true"), config("allow_s3_version_2 = false"));
        let ahead = 300 * SECOND;
        let v4 = |at: Micros| {
            let at = amz_date(at);
            s3(&format!("AWS4-HMAC-SHA256\n{at}\n{}/r/s3/aws4_request\n00", &at[..8]))
        };
        let v2 = |line: &str| s3(&format!("GET\n\n\n{line}\n/b/k"));
        for config in [&both, &four] {
            assert_eq!(verdict(&v4(NOW - 86_400 * SECOND), config), Ok(()));
            assert_eq!(verdict(&v4(NOW + ahead), config), Ok(()));
            assert_eq!(verdict(&v4(NOW + ahead + SECOND), config), refused(TOO_NEW));
        }
        assert_eq!(verdict(&v2(""), &both), Ok(()));
        assert_eq!(verdict(&v2(""), &four), refused(VERSION_REFUSED));
        let end = |at: Micros| v2(&(at / SECOND).to_string());
        assert_eq!(verdict(&end(NOW), &both), refused(TOO_OLD));
        assert_eq!(verdict(&end(NOW + SECOND), &both), Ok(()));
    }

    #[test]
    fn a_request_of_ec2_is_one_that_can_be_told_from_others() {
        let of = |at| v2(Some(at), None).once().expect("an identity");
        assert_eq!(of(NOW), of(NOW));
        assert_ne!(of(NOW), of(NOW + SECOND));
        assert_eq!(s3("GET\n\n\n\n/b/k").once(), None);
        assert_eq!((v2(None, None).access(), s3("x").access()), ("a", "a"));
    }

    #[test]
    fn of_a_keypair_that_is_remembered_all_is_counted_that_may_be_long() {
        let keypair = |secret: usize, trust: usize| Keypair {
            credential: Credential {
                id: "i".into(),
                user_id: "u".into(),
                project_id: None,
                kind: PLAIN.into(),
                extra: None,
                key_hash: String::new(),
                encrypted_blob: String::new(),
                bound: Some(BoundTo {
                    trust_id: "t".repeat(trust),
                    access: "a".into(),
                    roles: None,
                    until: Until::Never,
                    access_rules: Access::default(),
                    origin: Origin::default(),
                    creator: None,
                }),
            },
            secret: "s".repeat(secret),
            application_credential: None,
            access_token: None,
            derived: Mutex::default(),
        };
        assert_eq!(keypair(50_000, 70_000).size() - keypair(0, 0).size(), 120_000);
        let mut derived = None;
        let long =
            format!("AWS4-HMAC-SHA256\n20260302T050607Z\n20260302/{}/s3/aws4_request\n00", "r".repeat(200));
        let request = S3Request { access: "a".into(), signature: "00".into(), string_to_sign: long.into() };
        assert!(signature::verify_s3_again("s", &mut derived, &request).is_err());
        assert!(derived.is_some_and(|derived| !derived.is_small()));
    }
}
