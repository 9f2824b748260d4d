//! Groups and who is in them.

pub mod http;
pub mod sql;
