//! Black-box tests over HTTP: each on its own server with its own database and clock.

mod support;

mod catalog;
mod concurrency;
mod discovery;
mod domains;
mod every_route;
mod groups;
mod keypairs;
mod people;
mod projects;
mod security;
mod tokens;
mod trusts;
mod users;
