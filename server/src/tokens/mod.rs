//! Tokens: keys, payloads, what they stand for, how they are issued and shown.

mod application_credential;
pub mod body;
pub mod fernet;
pub mod http;
pub mod issue;
pub mod keys;
pub mod model;
