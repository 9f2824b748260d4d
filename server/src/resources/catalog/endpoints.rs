//! `/v3/endpoints`

use serde_json::{Map, Value};
use vicar_rules::policy::{Fact, Facts};

use super::regions::{self, Region};
use super::url;
use crate::authz::{Authorized, Caller, Proposed, Writing};
use crate::error::{Error, Result};
use crate::http::request::take_text;
use crate::notifications::{Action, ObjectKind};
use crate::resource::{Creates, Field, Look, Order, Plain, Record, Resource};

/// Endpoints.
#[derive(Debug)]
pub struct Endpoint;

static ENDPOINT: Resource = Resource::new(
    "endpoint",
    "endpoints",
    &[
        Field::of("interface").required().one_of(&["admin", "internal", "public"]).filters_checked(),
        Field::of("service_id").required().must_exist().filters(),
        Field::of("url").required().at_most(225).matching("^[a-zA-Z0-9+.-]+:."),
        Field::of("region_id").filters(),
        // How version 2 named a region, which is created when it is not there.
        Field::in_requests("region").not_empty().at_most(255),
        Field::of("enabled").default_true().filters(),
        Field::in_extra("name"),
        Field::in_extra("description").or_null(),
    ],
)
// The id that three endpoints had in common in version 2; it is never shown.
.reserves(&["legacy_endpoint_id"])
.looks(Order { create: Look::Last, ..Order::always(Look::Quietly) });

impl Creates<Region> for Authorized<Proposed<Record<Endpoint>>> {}
impl Creates<Region> for Authorized<Record<Endpoint>> {}

impl Plain for Endpoint {
    fn of() -> &'static Resource {
        &ENDPOINT
    }

    fn facts(endpoint: &Record<Self>, _caller: &Caller) -> Result<Facts> {
        Ok(Facts::none()
            .with(Fact::EndpointId, &endpoint.id)
            .with_known(Fact::EndpointInterface, endpoint.text("interface"))
            .with_opt(Fact::EndpointRegion, endpoint.text("region_id"))
            .with_known(Fact::EndpointService, endpoint.text("service_id"))
            .with_flag(Fact::EndpointEnabled, *endpoint.get("enabled") == Value::Bool(true)))
    }

    /// `region_id` wins over `region`.
    fn accept(body: &mut Map<String, Value>, _before: Option<&Record<Self>>) -> Result<()> {
        let old = take_text(body, "region");
        if let Some(old) = old.filter(|_| !body.get("region_id").is_some_and(Value::is_string)) {
            body.insert("region_id".into(), old.clone().into());
            body.insert("region".into(), old.into());
        }
        Ok(())
    }

    /// Its URL can be filled in, and its region is there, unless it is created with it.
    async fn prepare(
        s: &mut Writing<'_>,
        _before: Option<&Record<Self>>,
        after: &mut Record<Self>,
    ) -> Result<()> {
        if !after.text("url").is_some_and(url::is_sound) {
            return Err(Error::field("url", "has a variable part that cannot be filled in"));
        }
        match after.text("region_id") {
            Some(id) if after.text("region").is_none() && !regions::exists(&mut s.tx, id).await? => {
                Err(Error::field("region_id", "there is no such region"))
            }
            _ => Ok(()),
        }
    }

    async fn insert(s: &mut Writing<'_>, new: &Authorized<Proposed<Record<Self>>>) -> Result<()> {
        if let Some(id) = new.text("region")
            && regions::ensure(&mut s.tx, new, id).await?
        {
            s.tell(ObjectKind::Region, Action::Created, id);
        }
        new.insert(&mut s.tx, new).await
    }

    async fn save(s: &mut Writing<'_>, stored: &Authorized<Record<Self>>, new: &Record<Self>) -> Result<()> {
        if let Some(id) = new.text("region")
            && regions::ensure(&mut s.tx, stored, id).await?
        {
            s.tell(ObjectKind::Region, Action::Created, id);
        }
        new.save(&mut s.tx, stored).await
    }

    fn show(endpoint: &Record<Self>, shown: &mut Map<String, Value>) {
        shown.insert("region".into(), endpoint.get("region_id").clone());
    }
}
