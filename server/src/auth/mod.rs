//! Login, tokens and their keys, the exchange of keypairs: who somebody is and what a token is worth.

mod application_credential;
pub mod exchange;
pub mod fernet;
pub mod issue;
pub mod login;
pub mod render;
pub mod token;
