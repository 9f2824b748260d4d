//! Black-box tests over HTTP: each on its own server with its own database and clock.

// A test that looks past an end fails; it may print, and write rows that no statement would.
#![allow(clippy::disallowed_methods, clippy::indexing_slicing, clippy::print_stdout)]

mod support;

/// Random cases, as the rules have them.
#[path = "../../../rules/tests/fuzz/drive.rs"]
mod drive;

mod acts;
mod application_credentials;
mod assignments;
mod cascade;
mod catalog;
mod ceilings;
mod concurrency;
mod database;
mod delegating;
mod deletions;
mod directories;
mod discovery;
mod domain_config;
mod domains;
mod endpoint_filter;
mod engines;
mod every_route;
mod evidence;
mod explain;
mod federation;
mod federation_login;
mod federation_oidc;
mod front;
mod fuzz;
mod grants;
mod groups;
mod hardening;
mod keypairs;
mod keystone;
mod limits;
mod lists;
mod logs;
mod losses;
mod memory;
mod metrics;
mod mfa;
mod notifications;
mod oauth1;
mod oauth2;
mod oauth2_mtls;
mod oidc_browser;
mod pages;
mod personas;
mod plans;
mod policies;
mod policy;
mod projects;
mod retries;
mod revocations;
mod roles;
mod security;
#[cfg(debug_assertions)]
mod statements;
mod stopping;
mod stored;
mod terms;
mod tokens;
mod trusts;
mod users;
mod websso;
mod workloads;
