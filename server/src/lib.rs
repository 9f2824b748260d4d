//! Vicar: an identity service whose heart is delegated authority. It speaks OpenStack Identity v3.
//!
//! A request comes in by [`routes`], is read and answered by a resource's `http` file, judged by
//! `vicar_rules` over facts that [`authority`] reads, and stored by the resource's `sql` file through
//! [`store`].

pub mod app;
pub mod authority;
pub mod bootstrap;
pub mod catalog;
pub mod cli;
pub mod clock;
pub mod config;
pub mod credentials;
pub mod demo;
pub mod domains;
pub mod error;
pub mod grants;
pub mod groups;
pub mod http;
pub mod ids;
pub mod keypairs;
pub mod metrics;
mod oslo;
pub mod passwords;
mod pattern;
mod policy_file;
pub mod projects;
pub mod reaper;
pub mod roles;
pub mod routes;
pub mod secret;
pub mod store;
pub mod tokens;
pub mod trusts;
pub mod users;
