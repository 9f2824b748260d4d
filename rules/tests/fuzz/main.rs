//! Random input for what reads what others send: rules of policies, signed requests, access rules.
//!
//! Nothing panics, and what is read is judged as a plain reading in the test judges it. Each target runs some hundred
//! cases in the normal tests; the long form and how to repeat a failure are in CONTRIBUTING.md. Tokens and request bodies
//! are tried by the server's tests (`server/tests/api/fuzz.rs`), with the same [`drive`].

// A test that looks past an end fails; what it prints repeats a run.
#![allow(clippy::indexing_slicing, clippy::print_stdout)]

mod access_rules;
mod drive;
mod policy;
mod signatures;
