//! Regions, services and endpoints. The catalog that tokens show is read by `facts::catalog`.

pub mod endpoints;
pub mod regions;
pub mod services;

use crate::facts::endpoint_url as url;
