//! Trusts: making, reading and ending them.

pub mod end;
pub mod flush;
pub mod http;
pub mod render;
pub mod sql;
pub mod unused;
pub mod view;
