//! `/v3/policies`: policies that services can fetch. Here they are only kept; what this server goes by is its own
//! policy file.

pub mod associations;
mod sql;

use serde_json::json;

use crate::resource::{Field, Plain, Resource};

/// Stored policies.
#[derive(Debug)]
pub struct Policy;

static POLICY: Resource = Resource::new(
    "policy",
    "policies",
    &[
        Field::of("blob").required().as_json(|| json!({"type": "string"})),
        Field::of("type").required().filters(),
    ],
);

impl Plain for Policy {
    fn of() -> &'static Resource {
        &POLICY
    }
}
