//! Users, their passwords and options.

pub mod http;
pub mod login;
pub mod password;
pub mod sql;
