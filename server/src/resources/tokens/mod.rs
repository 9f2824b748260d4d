//! `/v3/auth`, `/v3/OS-REVOKE`, `/v3/ec2tokens` and `/v3/s3tokens`.

pub mod browser;
pub mod exchange;
pub mod federated;
pub mod http;
pub mod oauth2;
mod scope;
pub mod websso;
