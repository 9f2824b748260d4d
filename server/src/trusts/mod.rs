//! Trusts: making, reading and ending them.

pub mod end;
pub mod loss;
