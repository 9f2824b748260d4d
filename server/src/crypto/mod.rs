//! Keys at rest and password hashes: slow or secret things that know nothing of users and tokens.

pub mod keys;
pub mod passwords;
