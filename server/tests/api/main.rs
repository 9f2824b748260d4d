//! Black-box tests over HTTP: each on its own server with its own database and clock.

mod support;

mod concurrency;
mod every_route;
mod groups;
mod keypairs;
mod security;
mod tokens;
mod trusts;
mod users;
