//! HTTP around the resources: the request, answers, links, pages, the log line. Knows no resource.

pub mod accept;
pub mod client_certificate;
pub mod cors;
pub mod front;
pub mod layers;
pub mod limits;
pub mod link;
pub mod links;
pub mod oauth2;
pub mod page;
pub mod request;
pub mod schema;
pub mod serve;
pub mod sso;
pub mod tls;

pub use link::{link_path, path_segment};
pub use links::Links;
pub use request::Request;
