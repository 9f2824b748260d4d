//! From a request to the handler that its route declares, in one transaction.

pub mod discovery;
pub mod events;
mod follows;
mod health;
mod home;
pub mod log;
mod notices;
pub mod openapi;
mod rehearse;
mod route;
mod run;
mod site;

pub use rehearse::{End, Stage, rehearse};
pub use route::{Answer, Auth, Handler, Relation, Route, Shape, find};
pub use site::router;
