//! `/v3/domains`. A domain is a project that acts as one; its rules are those of `projects`.

pub mod contents;
pub mod http;
