//! `?unused_since=` of the lists of trusts, keypairs and application credentials.

use serde_json::{Value, json};
use vicar_rules::Micros;

use crate::clock;
use crate::error::{Error, Result};
use crate::http::page::Query;

/// Its name.
const NAME: &str = "unused_since";

/// Its schema.
pub fn schema() -> Value {
    json!({"type": "string", "description": "A UTC time without an offset: only what is alive and was neither used nor made since"})
}

/// The time that a query names.
///
/// # Errors
/// 400 when it is none.
pub fn of(query: &Query) -> Result<Option<Micros>> {
    let wrong = || Error::field(NAME, "must be a UTC time like 2027-01-31T12:00:00Z, without an offset");
    query.get(NAME).map(|text| clock::from_client(text).ok_or_else(wrong)).transpose()
}
