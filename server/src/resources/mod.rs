//! What the API is about: one folder or file for each resource.

pub mod access_rules;
pub mod application_credentials;
pub mod catalog;
pub mod credentials;
pub mod delegation_policies;
pub mod domain_config;
pub mod domains;
pub mod endpoint_filter;
pub mod federation;
pub mod grants;
pub mod groups;
pub mod keypairs;
pub mod limits;
pub mod oauth1;
pub mod pki;
pub mod policies;
pub mod projects;
pub mod roles;
pub mod tokens;
pub mod trusts;
pub mod unused_since;
pub mod users;
