//! The JSON schemas of bodies and queries, made from a description.

use serde_json::{Map, Value, json};

use super::field::{Field, Filter, Set};
use super::{Plain, Resource};
use crate::extra;
use crate::http::schema::Schema;

/// The schemas of one resource, compiled.
#[derive(Debug)]
pub(super) struct Schemas {
    pub(super) create: Schema,
    pub(super) create_many: Schema,
    pub(super) update: Schema,
    pub(super) query: Schema,
}

/// The schema of a new object, for `routes.rs`.
pub fn new_schema<R: Plain>() -> &'static Schema {
    &R::of().schemas().create
}

/// The schema of a list of new objects, for `routes.rs`.
pub fn many_schema<R: Plain>() -> &'static Schema {
    &R::of().schemas().create_many
}

/// The schema of a change, for `routes.rs`.
pub fn change_schema<R: Plain>() -> &'static Schema {
    &R::of().schemas().update
}

/// The schema of a list's query, for `routes.rs`.
pub fn query_schema<R: Plain>() -> &'static Schema {
    &R::of().schemas().query
}

/// The schema of an object as clients see it, for `objects.rs`.
pub fn shown_schema<R: Plain>() -> Value {
    R::of().shown_schema()
}

/// In which direction a list is sorted: Keystone takes it and looks no further.
pub fn sort_dir() -> Value {
    json!({"enum": ["asc", "desc"], "description": "Has no effect"})
}

impl Resource {
    pub(super) fn schemas(&self) -> &Schemas {
        self.schemas.get_or_init(|| Schemas {
            create: Schema::new(&self.create_schema()),
            create_many: Schema::new(&json!({
                "type": "array",
                "items": self.create_schema(),
                "minItems": 1,
            })),
            update: Schema::new(&self.update_schema()),
            query: Schema::new(&self.query_schema()),
        })
    }

    fn properties(&self, which: impl Fn(&Field) -> bool) -> Map<String, Value> {
        let fields = self.fields.iter().filter(|f| which(f));
        fields.map(|f| (f.name.to_owned(), f.schema(self.table))).collect()
    }

    fn object(&self, properties: Map<String, Value>) -> Value {
        let mut schema = json!({"type": "object", "properties": properties});
        if !self.has_extra {
            extra::set(&mut schema, "additionalProperties", false);
        }
        schema
    }

    /// The schema of a new object.
    pub fn create_schema(&self) -> Value {
        let mut properties = self.properties(|f| f.set != Set::Server);
        if let Some(id) = properties.get_mut("id") {
            // Without one the server makes it.
            extra::set(id, "type", json!(["string", "null"]));
        }
        let mut schema = self.object(properties);
        let required: Vec<&str> = self.fields.iter().filter(|f| f.is_required()).map(|f| f.name).collect();
        if !required.is_empty() {
            extra::set(&mut schema, "required", required);
        }
        schema
    }

    /// The schema of a change. What is set once can be repeated where attributes are not limited to those
    /// described.
    pub fn update_schema(&self) -> Value {
        let may = |f: &Field| f.set == Set::Always || f.set == Set::Once && self.has_extra && f.name != "id";
        let mut schema = self.object(self.properties(may));
        if !self.takes_no_change {
            extra::set(&mut schema, "minProperties", 1);
        }
        schema
    }

    /// The schema of an object as clients see it.
    pub fn shown_schema(&self) -> Value {
        let mut properties: Map<String, Value> = self
            .fields
            .iter()
            .filter(|f| f.is_shown)
            .map(|f| (f.name.to_owned(), f.shown_schema(self.table)))
            .collect();
        properties.insert("id".into(), json!({"type": "string"}));
        properties.insert("links".into(), json!({"$ref": "#/components/schemas/SelfLink"}));
        let is_always = |name: &&String| self.field(name).is_none_or(Field::is_always_shown);
        let required: Vec<&String> = properties.keys().filter(is_always).collect();
        let required = json!(required);
        let mut schema = self.object(properties);
        extra::set(&mut schema, "required", required);
        schema
    }

    /// The schema of a list's query.
    pub fn query_schema(&self) -> Value {
        let schema = |f: &Field| match f.filter {
            Filter::No => None,
            Filter::Yes => Some(json!({"type": "string"})),
            Filter::Checked => Some(f.query_schema(self.table)),
        };
        let mut properties: Map<String, Value> =
            self.fields.iter().filter_map(|f| Some((f.name.to_owned(), schema(f)?))).collect();
        if self.takes_sort_dir {
            properties.insert("sort_dir".into(), sort_dir());
        }
        json!({"type": "object", "properties": properties})
    }
}
