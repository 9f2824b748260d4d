//! `/v3/services`

use crate::resource::{Field, Plain, Resource};

/// Services.
#[derive(Debug)]
pub struct Service;

/// Keystone keeps the name, and a description, among the other attributes.
static SERVICE: Resource = Resource::new(
    "service",
    "services",
    &[
        Field::of("type").required().not_empty().filters(),
        Field::in_extra("name").not_empty().at_most(255).default_text("").filters(),
        Field::of("enabled").default_true(),
    ],
);

impl Plain for Service {
    fn of() -> &'static Resource {
        &SERVICE
    }
}
