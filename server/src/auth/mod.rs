//! Who somebody is and what a token is worth: logins, tokens, the exchange of keypairs. Knows no handler.

mod application_credential;
pub mod exchange;
pub mod fernet;
pub mod issue;
pub mod keypair;
pub mod lockout;
pub mod login;
pub mod render;
pub mod slow;
pub mod token;
