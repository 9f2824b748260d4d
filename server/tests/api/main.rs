//! Black-box tests over HTTP: each on its own server with its own database and clock.

mod support;

mod assignments;
mod cascade;
mod catalog;
mod concurrency;
mod database;
mod discovery;
mod domains;
mod engines;
mod every_route;
mod grants;
mod groups;
mod hardening;
mod keypairs;
mod keystone;
mod limits;
mod lists;
mod losses;
mod plans;
mod projects;
mod retries;
mod revocations;
mod roles;
mod security;
#[cfg(debug_assertions)]
mod statements;
mod stopping;
mod stored;
mod tokens;
mod trusts;
mod users;
