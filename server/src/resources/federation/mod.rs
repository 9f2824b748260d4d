//! `/v3/OS-FEDERATION`: identity providers, their protocols, mappings, and service providers. And who comes
//! through them.

pub mod arrivals;
pub mod identity_providers;
pub mod mappings;
pub mod protocols;
pub mod service_providers;
mod sql;

pub use sql::delete_of_domain;

use crate::error::{Error, Result};
use crate::http::Links;

/// The extension's place below `/v3`.
const BELOW: &str = "OS-FEDERATION";

/// The longest id, in characters.
const LONGEST_ID: usize = 64;

fn check_id(name: &str, id: &str) -> Result<()> {
    if id.chars().count() > LONGEST_ID {
        return Err(Error::field(name, &format!("is longer than {LONGEST_ID} characters")));
    }
    Ok(())
}

fn link(links: &Links, below: &[&str]) -> String {
    let path: Vec<&str> = [BELOW].into_iter().chain(below.iter().copied()).collect();
    links.of(&path)
}
