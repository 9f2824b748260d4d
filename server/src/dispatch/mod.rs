//! From a request to the handler that its route declares, in one transaction.

pub mod discovery;
mod home;
pub mod log;
mod route;
mod run;

pub use route::{Auth, Handler, Route};
pub use run::router;
