//! `/v3/OS-OAUTH1/consumers`

use serde_json::{Map, Value};
use vicar_rules::revocation::Event;

use crate::authz::{Authorized, Writing};
use crate::error::{Error, Result};
use crate::facts;
use crate::ids;
use crate::resource::{Field, Plain, Record, Resource};

/// Consumers: programs that act for users who authorized them.
#[derive(Debug)]
pub struct Consumer;

static CONSUMER: Resource =
    Resource::new("consumer", "consumers", &[Field::of("description"), Field::of("secret").hidden()])
        .below("OS-OAUTH1");

/// Set on a consumer that was just made: then its secret is shown, and never again.
const NEW: &str = "is_new";

impl Plain for Consumer {
    fn of() -> &'static Resource {
        &CONSUMER
    }

    fn accept(body: &mut Map<String, Value>, before: Option<&Record<Self>>) -> Result<()> {
        if before.is_some() && body.contains_key("secret") {
            return Err(Error::field("consumer.secret", "cannot be changed"));
        }
        Ok(())
    }

    async fn prepare(
        _s: &mut Writing<'_>,
        before: Option<&Record<Self>>,
        after: &mut Record<Self>,
    ) -> Result<()> {
        if before.is_none() {
            after.set("secret", ids::secret());
            after.set(NEW, true);
        }
        Ok(())
    }

    /// With the tokens that it asked for and got.
    async fn delete(s: &mut Writing<'_>, consumer: &Authorized<Record<Self>>) -> Result<()> {
        Record::<Self>::delete(&mut s.tx, consumer, &consumer.id).await?;
        let event = Event { consumer: Some(consumer.id.clone()), ..Event::default() };
        Ok(facts::revoke(&mut s.tx, consumer, event).await?)
    }

    fn show(consumer: &Record<Self>, shown: &mut Map<String, Value>) {
        if consumer.flag(NEW) {
            shown.insert("secret".into(), consumer.get("secret").clone());
        }
    }
}
