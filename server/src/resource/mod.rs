//! Plain resources: each is a description of its fields, and code for what is special to it.
//!
//! A type implements [`Plain`]: [`Plain::of`] returns the description, a [`Resource`], and the other functions are
//! hooks with defaults. From the description come the JSON schemas, the SQL, what clients see, filters and pages.
//! `routes.rs` names the handlers: `read resource::list::<Region>`.
//!
//! What a column holds (type, length, null, how it is compared, what it refers to) is in
//! [`store::schema`](crate::store::schema) and nowhere else; what falls with an object, and what keeps it from
//! being deleted, in [`store::cascade`](crate::store::cascade).

mod field;
mod handlers;
mod record;
mod schemas;
mod sql;

use std::sync::OnceLock;

use serde_json::{Map, Value};
use vicar_rules::policy::{Facts, Op};

use crate::authz::{Authorized, Caller, NoObject, Proposed, Reading, Writing};
use crate::error::Result;
use crate::store::Select;

pub use field::Field;
pub use handlers::{create, create_from, create_many, delete, get, list, list_those, new_body, put, update};
pub use record::Record;
pub use schemas::{change_schema, many_schema, new_schema, query_schema, shown_schema, sort_dir};
pub use sql::{Creates, Deletes};

/// The description of a plain resource.
#[derive(Debug)]
pub struct Resource {
    /// The name of one, under which bodies hold it; with `_id`, also the part of its path.
    pub one: &'static str,
    /// The name of several.
    pub many: &'static str,
    /// Its fields, besides `links`.
    pub fields: &'static [Field],
    table: &'static str,
    below: Option<&'static str>,
    has_extra: bool,
    takes_no_change: bool,
    reserved: &'static [&'static str],
    order: Order,
    sorted_by: Option<&'static str>,
    takes_sort_dir: bool,
    schemas: OnceLock<schemas::Schemas>,
}

/// When a handler looks for the object: it decides which of 400, 403 and 404 a client sees first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// After the policy and the body. For policies that do not look at the object.
    Last,
    /// Before the policy: an object that does not exist is 404 for anybody with a token.
    First,
    /// Before the policy, which is asked before it is said that there is none.
    Quietly,
}

/// When the handlers of one object look for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// `POST`, where there is none yet: [`Look::Last`] asks the policy before the body is read, too.
    pub create: Look,
    /// `GET`
    pub get: Look,
    /// `PATCH`
    pub update: Look,
    /// `DELETE`
    pub delete: Look,
}

impl Order {
    /// The same in all of them.
    pub const fn always(look: Look) -> Self {
        Self { create: look, get: look, update: look, delete: look }
    }
}

impl Resource {
    /// A resource whose table is named like one of its objects. They keep what nobody knows in a column `extra`,
    /// are sorted by id, and are looked for last.
    pub const fn new(one: &'static str, many: &'static str, fields: &'static [Field]) -> Self {
        Self {
            one,
            many,
            fields,
            table: one,
            below: None,
            has_extra: true,
            takes_no_change: false,
            reserved: &[],
            order: Order::always(Look::Last),
            sorted_by: None,
            takes_sort_dir: false,
            schemas: OnceLock::new(),
        }
    }

    /// The table, where its name is another one: those of our own begin with `vicar_`.
    #[must_use]
    pub const fn table(mut self, name: &'static str) -> Self {
        self.table = name;
        self
    }

    /// The part of the path between the version and the resource's name.
    #[must_use]
    pub const fn below(mut self, part: &'static str) -> Self {
        self.below = Some(part);
        self
    }

    /// There is no column `extra`: an attribute that is not described is 400. A change may change nothing.
    #[must_use]
    pub const fn closed(mut self) -> Self {
        self.has_extra = false;
        self.takes_no_change = true;
        self
    }

    /// A change names what changes: otherwise 400.
    #[must_use]
    pub const fn changes_something(mut self) -> Self {
        self.takes_no_change = false;
        self
    }

    /// Names that never get into `extra`.
    #[must_use]
    pub const fn reserves(mut self, names: &'static [&'static str]) -> Self {
        self.reserved = names;
        self
    }

    /// When an object is looked for.
    #[must_use]
    pub const fn looks(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// Lists are sorted by this field, which has a column and is never null, and then by id. An index that has the
    /// rows of a list in this order makes a page cost what is on it.
    #[must_use]
    pub const fn sorted_by(mut self, field: &'static str) -> Self {
        self.sorted_by = Some(field);
        self
    }

    /// The query of lists may have a `sort_dir`, which has no effect, as in Keystone: another than its two values
    /// is 400.
    #[must_use]
    pub const fn takes_sort_dir(mut self) -> Self {
        self.takes_sort_dir = true;
        self
    }

    /// The field of this name.
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|f| f.name == name)
    }

    /// The variable part of the path that is the object's id.
    fn param(&self) -> String {
        format!("{}_id", self.one)
    }
}

/// A plain resource: its description, and hooks for what is special to it. `Self` stands for the resource; an
/// object is a [`Record`] of it.
pub trait Plain: Send + Sync + Sized + 'static {
    /// The description.
    fn of() -> &'static Resource;

    /// What policy may know of an object.
    ///
    /// # Errors
    /// 403 when it is out of reach for this kind of token, whatever the policy says.
    fn facts(_object: &Record<Self>, _caller: &Caller) -> Result<Facts> {
        Ok(Facts::none())
    }

    /// The operation that an object is judged by, of those that the route declares. The first, unless there are
    /// objects of several kinds.
    fn op(ops: &'static [Op], _object: &Record<Self>) -> Option<Op> {
        ops.first().copied()
    }

    /// Asks the policy for a list, and limits it to what the caller may see.
    ///
    /// # Errors
    /// 403 when the list is not allowed.
    fn narrow(s: &Reading<'_>, _found: &mut Select) -> Result<()> {
        s.authorize(s.op()?, NoObject)?;
        Ok(())
    }

    /// The longest list, where it is another one than the server's usual.
    fn longest(_s: &mut Reading<'_>) -> impl Future<Output = Result<Option<u32>>> + Send {
        async { Ok(None) }
    }

    /// Changes a body that fits its schema before it is taken over. `before` is the stored object of a change.
    ///
    /// # Errors
    /// 400 for what no schema says.
    fn accept(_body: &mut Map<String, Value>, _before: Option<&Record<Self>>) -> Result<()> {
        Ok(())
    }

    /// Completes a new or changed object, and refuses what cannot be stored, before anything is written. The
    /// policy is asked about a new one before this, and again after.
    fn prepare(
        _s: &mut Writing<'_>,
        _before: Option<&Record<Self>>,
        _after: &mut Record<Self>,
    ) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }

    /// Refuses what the new objects of one request cannot be together, before any of them is written. Asked where
    /// one request can create several.
    fn together(
        _s: &mut Writing<'_>,
        _all: &[Authorized<Proposed<Record<Self>>>],
    ) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }

    /// Stores a new object.
    fn insert(
        s: &mut Writing<'_>,
        new: &Authorized<Proposed<Record<Self>>>,
    ) -> impl Future<Output = Result<()>> + Send {
        async move { new.insert(&mut s.tx, new).await }
    }

    /// Stores a changed object.
    fn save(
        s: &mut Writing<'_>,
        stored: &Authorized<Record<Self>>,
        new: &Record<Self>,
    ) -> impl Future<Output = Result<()>> + Send {
        async move { new.save(&mut s.tx, stored).await }
    }

    /// Deletes an object with all that falls with it; 403 when something keeps it from going.
    fn delete(
        s: &mut Writing<'_>,
        stored: &Authorized<Record<Self>>,
    ) -> impl Future<Output = Result<()>> + Send {
        async move {
            stored.check_unused(&mut s.tx).await?;
            Record::<Self>::delete(&mut s.tx, stored, &stored.id).await
        }
    }

    /// Why there cannot be two of them, for a 409.
    fn taken(object: &Record<Self>) -> String {
        format!("there is a {} {}", Self::of().one, object.id)
    }

    /// Adds to what clients see of an object.
    fn show(_object: &Record<Self>, _shown: &mut Map<String, Value>) {}
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::{Field, Plain, Record, Resource};
    use crate::http::Links;
    use crate::store::{Batch, Select, Store, migrate, schema};

    /// Something to look at, in a table that is there.
    struct Thing;

    static THING: Resource = Resource::new(
        "thing",
        "things",
        &[
            Field::id().set_once(),
            Field::of("name").required().not_empty().filters_checked(),
            Field::of("description").null_means("none").filters(),
            Field::of("domain_id").null_kept_as("<<null>>").set_once().filters(),
            Field::options(),
            Field::in_extra("colour").at_most(7).default_text("red").filters(),
            Field::elsewhere("domain_name", "SELECT p.name FROM project p WHERE p.id = t.domain_id")
                .by_server(),
            Field::in_requests("password"),
        ],
    )
    .table("role")
    .reserves(&["secret"])
    .sorted_by("name");

    impl Plain for Thing {
        fn of() -> &'static Resource {
            &THING
        }
    }

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().expect("an object").clone()
    }

    fn links() -> Links {
        Links::to_base("http://h".to_owned())
    }

    #[test]
    fn what_a_column_holds_is_not_said_twice() {
        let create = THING.create_schema();
        assert_eq!(create["required"], json!(["name"]));
        let properties = &create["properties"];
        assert_eq!(properties["id"], json!({"type": ["string", "null"], "maxLength": 64}));
        assert_eq!(properties["name"], json!({"type": "string", "minLength": 1, "maxLength": 255}));
        assert_eq!(properties["domain_id"], json!({"type": ["string", "null"], "maxLength": 64}));
        assert_eq!(properties["colour"], json!({"type": "string", "maxLength": 7}));
        assert_eq!(properties.get("domain_name"), None);
        assert_eq!(create.get("additionalProperties"), None);
        let update = THING.update_schema();
        assert_eq!(
            (update["minProperties"].as_u64(), update.get("required"), update["properties"].get("id")),
            (Some(1), None, None)
        );
        let query = THING.query_schema();
        assert_eq!(query["properties"]["name"], json!({"minLength": 1, "maxLength": 255}));
        assert_eq!(query["properties"]["colour"], json!({"type": "string"}));
        assert_eq!(query["properties"].get("id"), None);
        static CLOSED: Resource =
            Resource::new("limit", "limits", &[Field::of("resource_limit").at_least(-1)]).closed();
        assert_eq!(
            CLOSED.create_schema(),
            json!({
                "type": "object",
                "properties": {"resource_limit": {"type": "integer", "minimum": -1, "maximum": 2_147_483_647}},
                "additionalProperties": false,
            })
        );
    }

    #[test]
    fn a_body_becomes_an_object() {
        let new = Record::<Thing>::of_body(object(json!({
            "id": "x", "name": "n", "description": null, "domain_name": "forged", "secret": 1, "a-b": 2,
            "links": {}, "password": "p", "options": {"immutable": false},
        })));
        assert_eq!(
            new.to_json(&links()),
            json!({
                "id": "x", "name": "n", "description": "none", "domain_id": null, "domain_name": null,
                "options": {"immutable": false}, "colour": "red", "a_b": 2,
                "links": {"self": "http://h/v3/things/x"},
            })
        );
        assert_eq!(new.text("password"), Some("p"));
        for body in [json!({}), json!({"id": null}), json!({"id": ""})] {
            assert_eq!(Record::<Thing>::of_body(object(body)).id.len(), 32);
        }
    }

    #[test]
    fn a_change_names_what_changes() {
        let mut thing = Record::<Thing>::of_body(object(json!({
            "id": "x", "name": "n", "description": "d", "domain_id": "a", "options": {"immutable": true}, "more": 1,
        })));
        thing.apply(object(
            json!({"id": "y", "name": "m", "domain_id": "b", "options": {}, "colour": "blue"}),
        ));
        assert_eq!(
            (thing.id.as_str(), thing.text("name"), thing.text("domain_id")),
            ("x", Some("m"), Some("a"))
        );
        assert!(thing.is_immutable());
        thing.apply(object(json!({"options": {"immutable": null}, "description": null, "secret": 1})));
        assert!(!thing.is_immutable());
        assert_eq!(
            (thing.get("options"), thing.get("description"), &thing.extra),
            (&json!({}), &json!("none"), &object(json!({"colour": "blue", "more": 1})))
        );
    }

    #[tokio::test]
    async fn what_is_written_is_read_in_the_order_of_lists() {
        let store = Store::memory().expect("opens");
        migrate::sync(&store, 0).await.expect("makes it");
        let mut tx = store.write().await.expect("begins");
        for (id, name, domain) in [("3", "a", Value::Null), ("1", "b", Value::Null), ("2", "b", json!("d"))] {
            let mut thing = Record::<Thing>::new(id.to_owned());
            thing.set("name", name);
            thing.set("domain_id", domain);
            thing.set("options", json!({"immutable": id == "2"}));
            thing.insert(&mut tx, &crate::system::System::CommandLine).await.expect("inserts");
            let read = Record::<Thing>::require(&mut tx, id).await.expect("is there");
            assert_eq!(read.to_json(&links()), thing.to_json(&links()));
        }
        let all = Record::<Thing>::find(&mut tx, |_| {}).await.expect("reads");
        assert_eq!(all.iter().map(|t| t.id.as_str()).collect::<Vec<_>>(), ["3", "1", "2"]);
        // One after the other, two of the same name among them.
        let (mut last, mut read) = (None, Vec::new());
        for _ in 0..4 {
            let mut q = Select::new(&THING.select());
            THING.batch(&mut tx, &mut q, &Batch::after(last.clone(), 1)).await.expect("looks");
            let found = q.map(&mut tx, Record::<Thing>::read).await.expect("reads");
            last = found.last().map(|t| t.id.clone()).or(last);
            read.extend(found.into_iter().map(|t| t.id));
        }
        assert_eq!(read, ["3", "1", "2"]);
        let mut again = Record::<Thing>::new("1".to_owned());
        again.set("name", "c");
        let refused = again.insert(&mut tx, &crate::system::System::CommandLine).await.expect_err("is taken");
        assert_eq!(refused.status(), 409);
    }

    impl super::Creates<Thing> for crate::system::System {}

    /// Every field has its column, and every expression is one.
    async fn fits_its_table<R: Plain>() {
        let of = R::of();
        let table = schema::table(of.table).unwrap_or_else(|| panic!("no table {}", of.table));
        let has = |name: &str| table.columns.iter().any(|c| c.name == name);
        assert_eq!(of.has_extra, has("extra"), "{}", of.one);
        for field in of.fields.iter().filter(|f| f.home == super::field::Home::Column) {
            let column =
                field.column(of.table).unwrap_or_else(|| panic!("{}: no column {}", of.one, field.name));
            let refers = column.references().next().is_some();
            assert!(refers || !field.must_exist, "{}.{} refers to nothing", of.one, field.name);
        }
        if let Some(name) = of.sorted_by {
            assert!(
                of.field(name).and_then(|f| f.column(of.table)).is_some_and(|c| !c.nullable),
                "{}",
                of.one
            );
        }
        let store = Store::memory().expect("opens");
        migrate::sync(&store, 0).await.expect("makes it");
        let mut tx = store.read().await.expect("begins");
        for field in of.fields {
            let found = Record::<R>::find(&mut tx, |q| field.add_condition(of.table, "x", true, q)).await;
            found.unwrap_or_else(|e| panic!("{}.{}: {:?}", of.one, field.name, e.detail()));
        }
        for schema in [of.create_schema(), of.update_schema(), of.query_schema()] {
            jsonschema::draft7::new(&schema).expect("a schema");
        }
    }

    #[tokio::test]
    async fn descriptions_fit_their_tables() {
        use crate::resources::catalog::{endpoints::Endpoint, regions::Region, services::Service};
        use crate::resources::endpoint_filter::EndpointGroup;
        use crate::resources::federation::service_providers::ServiceProvider;
        use crate::resources::groups::Group;
        use crate::resources::limits::{Limit, RegisteredLimit};
        use crate::resources::policies::Policy;
        use crate::resources::roles::Role;
        fits_its_table::<Thing>().await;
        fits_its_table::<Region>().await;
        fits_its_table::<Service>().await;
        fits_its_table::<Endpoint>().await;
        fits_its_table::<Role>().await;
        fits_its_table::<Group>().await;
        fits_its_table::<RegisteredLimit>().await;
        fits_its_table::<Limit>().await;
        fits_its_table::<EndpointGroup>().await;
        fits_its_table::<Policy>().await;
        fits_its_table::<ServiceProvider>().await;
    }
}
