//! `/v3/OS-FEDERATION/service_providers`: other clouds, which tokens name while they are enabled.

use serde_json::{Map, Value};

use crate::authz::Writing;
use crate::error::{Error, Result};
use crate::resource::{Field, Plain, Record, Resource};

/// Service providers.
#[derive(Debug)]
pub struct ServiceProvider;

const URL: &str = "^[a-zA-Z0-9+.-]+:.+";

static SERVICE_PROVIDER: Resource = Resource::new(
    "service_provider",
    "service_providers",
    &[
        Field::id().filters(),
        Field::of("auth_url").required().at_most(225).matching(URL),
        Field::of("sp_url").required().at_most(225).matching(URL),
        Field::of("description"),
        Field::of("enabled").filters_checked(),
        Field::of("relay_state_prefix"),
    ],
)
.below(super::BELOW)
.closed();

impl Plain for ServiceProvider {
    fn of() -> &'static Resource {
        &SERVICE_PROVIDER
    }

    fn accept(body: &mut Map<String, Value>, before: Option<&Record<Self>>) -> Result<()> {
        match before {
            None => drop(body.entry("enabled").or_insert(false.into())),
            Some(_) if body.is_empty() => return Err(Error::field("service_provider", "must not be empty")),
            Some(_) => {}
        }
        Ok(())
    }

    async fn prepare(
        s: &mut Writing<'_>,
        _before: Option<&Record<Self>>,
        after: &mut Record<Self>,
    ) -> Result<()> {
        if after.text("relay_state_prefix").is_none() {
            after.set("relay_state_prefix", s.app.config.relay_state_prefix.clone());
        }
        Ok(())
    }

    fn taken(provider: &Record<Self>) -> String {
        format!("Duplicate entry found with ID {}", provider.id)
    }
}
