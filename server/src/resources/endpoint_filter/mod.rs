//! `/v3/OS-EP-FILTER`: which endpoints a project sees in its catalog, named one by one or in groups. The catalog
//! itself is read by `facts::catalog`.

pub mod http;
mod sql;

use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::facts::endpoint_filter::Filters;
use crate::resource::{Field, Plain, Record, Resource};

/// Groups of endpoints: those that have what the filters say.
#[derive(Debug)]
pub struct EndpointGroup;

static ENDPOINT_GROUP: Resource = Resource::new(
    "endpoint_group",
    "endpoint_groups",
    &[
        Field::of("name").required().not_empty().matching(r"\S").filters_checked(),
        Field::of("description"),
        Field::of("filters").required().as_json(filters_schema),
    ],
)
.below("OS-EP-FILTER")
.closed()
.changes_something();

fn filters_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "interface": {"enum": ["admin", "internal", "public"]},
            "service_id": {"type": "string", "maxLength": 64},
            "region_id": {"type": ["string", "null"], "maxLength": 255},
        },
        "additionalProperties": false,
    })
}

impl Plain for EndpointGroup {
    fn of() -> &'static Resource {
        &ENDPOINT_GROUP
    }

    /// A group of all endpoints can be made by a change only, as in Keystone.
    fn accept(body: &mut Map<String, Value>, before: Option<&Record<Self>>) -> Result<()> {
        let is_empty = body.get("filters").and_then(Value::as_object).is_none_or(Map::is_empty);
        if before.is_none() && is_empty {
            return Err(Error::field("filters", "cannot be empty"));
        }
        Ok(())
    }
}

impl Record<EndpointGroup> {
    /// What its endpoints have in common.
    fn filters(&self) -> Filters {
        Filters::of(self.get("filters").as_object().cloned().unwrap_or_default())
    }
}
