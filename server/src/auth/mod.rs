//! Who somebody is and what a token is worth: logins, tokens, the exchange of keypairs. Knows no handler.

pub mod application_credential;
pub mod begun;
pub mod certificate;
pub mod exchange;
pub mod external;
pub mod factors;
pub mod federated;
pub mod fernet;
pub mod issue;
pub mod keypair;
pub mod lockout;
pub mod login;
pub mod oauth1;
pub mod receipt;
pub mod render;
pub mod slow;
pub mod token;
pub mod totp;
mod wrong_password;

use vicar_rules::delegation::Suspended;

use crate::config::Config;
use crate::crypto::keys::KeyRing;
use crate::reason::Reason;
use crate::store::Store;

/// The parts of the server that logins and tokens need.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// Keys of tokens.
    pub token_keys: &'a KeyRing,
    /// Keys of receipts.
    pub receipt_keys: &'a KeyRing,
    /// Keys of credentials at rest.
    pub credential_keys: &'a KeyRing,
    /// Failed logins that are not written yet.
    pub failures: &'a lockout::Failures,
    /// The database, for what is written behind an answer.
    pub store: &'a Store,
}

/// Why a token is refused that rests on something suspended.
fn suspended(why: &Suspended) -> Reason {
    match why {
        Suspended::Agent(_) => Reason::TokenUser,
        Suspended::Project => Reason::NoSuchScope,
        Suspended::Role(_)
        | Suspended::Early(_)
        | Suspended::Terms(_)
        | Suspended::Held(_)
        | Suspended::Credential(_)
        | Suspended::Ceiling(..) => Reason::NoRoles,
    }
}
