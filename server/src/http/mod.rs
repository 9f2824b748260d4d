//! HTTP around the resources: the request with its caller, answers, links, pages, the log line.

pub mod bag;
pub mod caller;
pub mod discovery;
mod home;
pub mod link;
pub mod log;
pub mod page;
pub mod request;
pub mod schema;
pub mod serve;

pub use caller::{Caller, Permit};
pub use link::{link_path, path_segment};
pub use request::Req;
