//! Regions, services and endpoints. The catalog that tokens show is read by `facts::catalog`.

pub mod endpoints;
pub mod regions;
pub mod services;
mod sql;

use crate::facts::endpoint_url as url;
