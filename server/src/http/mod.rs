//! HTTP around the resources: the request with its caller, answers, links, pages, the log line.

pub mod bag;
pub mod caller;
pub mod discovery;
mod home;
pub mod layers;
pub mod limits;
pub mod log;
pub mod page;
pub mod peer;
pub mod request;
pub mod schema;
pub mod serve;

pub use caller::{Caller, Permit};
pub use request::Req;
