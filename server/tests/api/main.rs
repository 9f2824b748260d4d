//! Black-box tests over HTTP: each on its own server with its own database and clock.

mod support;

mod assignments;
mod catalog;
mod concurrency;
mod database;
mod discovery;
mod domains;
mod engines;
mod every_route;
mod grants;
mod groups;
mod keypairs;
mod projects;
mod roles;
mod security;
mod stopping;
mod tokens;
mod trusts;
mod users;
