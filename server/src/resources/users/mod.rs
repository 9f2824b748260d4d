//! Users, their passwords and options.

pub mod http;
pub mod password;
pub mod render;
pub mod sql;
