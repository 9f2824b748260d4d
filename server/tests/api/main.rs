//! Black-box tests over HTTP: each on its own server with its own database and clock.

mod people;
mod scenery;
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
mod plans;
mod projects;
mod roles;
mod security;
mod stopping;
mod tokens;
mod trusts;
mod users;
