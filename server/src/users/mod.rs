//! Users, their passwords and options.

pub mod login;
