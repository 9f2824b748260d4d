//! Trusts: making, reading and ending them.

pub mod acts;
pub mod apart;
pub mod end;
pub mod flush;
pub mod http;
pub mod lapse;
pub mod places;
pub mod render;
pub mod sql;
pub mod unused;
pub mod view;
