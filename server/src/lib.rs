//! Vicar: an identity service whose heart is delegated authority. It speaks OpenStack Identity v3.
//!
//! A request comes in by [`routes`], is read and answered by a resource's `http` file, judged by
//! `vicar_rules` over facts that [`facts`] reads, and stored by the resource's `sql` file through
//! [`store`].

pub mod app;
pub mod auth;
pub mod authz;
pub mod bootstrap;
pub mod cli;
pub mod clock;
pub mod config;
pub mod crypto;
pub mod directory;
pub mod dispatch;
pub mod error;
pub mod evidence;
pub mod explain;
pub mod extra;
pub mod facts;
pub mod http;
pub mod ids;
pub mod line;
pub mod metrics;
pub mod notifications;
pub mod notify;
pub mod objects;
pub mod oidc;
pub mod operations;
mod oslo;
mod pattern;
pub mod peer;
mod policy_file;
pub mod queue;
pub mod reaper;
pub mod reason;
pub mod remote;
pub mod resource;
pub mod resources;
pub mod routes;
pub mod secret;
pub mod security;
pub mod store;
pub mod system;
pub mod traces;
pub mod unsent;
