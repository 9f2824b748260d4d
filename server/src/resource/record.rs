//! An object of a plain resource.

use std::marker::PhantomData;

use serde_json::{Map, Value, json};

use super::field::{Default, Home, Set};
use super::{Field, Plain};
use crate::authz::{Caller, Object, Proposed};
use crate::error::{Error, Result};
use crate::extra;
use crate::http::Links;
use crate::ids;
use vicar_rules::policy::Facts;

/// An object of the plain resource `R`, stored or proposed.
pub struct Record<R> {
    /// The id.
    pub id: String,
    /// The fields' values by name, without the id and what is in `extra`.
    pub(super) values: Map<String, Value>,
    /// All other attributes.
    pub extra: Map<String, Value>,
    of: PhantomData<fn() -> R>,
}

impl<R> Clone for Record<R> {
    fn clone(&self) -> Self {
        Self { id: self.id.clone(), values: self.values.clone(), extra: self.extra.clone(), of: PhantomData }
    }
}

impl<R> std::fmt::Debug for Record<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record").field("id", &self.id).finish_non_exhaustive()
    }
}

impl<R> AsRef<Record<R>> for Record<R> {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl<R> AsRef<Record<R>> for Proposed<Record<R>> {
    fn as_ref(&self) -> &Record<R> {
        self
    }
}

impl<R: Plain> Object for Record<R> {
    fn facts(&self, caller: &Caller) -> Result<Facts> {
        R::facts(self, caller)
    }
}

impl<R: Plain> Object for Proposed<Record<R>> {
    /// Whose it shall be, and nothing else that the request says of it.
    fn facts(&self, caller: &Caller) -> Result<Facts> {
        Ok(R::facts(self, caller)?.of_place())
    }
}

impl<R: Plain> Record<R> {
    pub(super) fn with(id: String, values: Map<String, Value>, extra: Map<String, Value>) -> Self {
        Self { id, values, extra, of: PhantomData }
    }

    /// A new object with the fields' defaults.
    pub fn new(id: String) -> Self {
        let mut new = Self::with(id, Map::new(), Map::new());
        for field in R::of().fields {
            let value = match field.default {
                Default::Absent => continue,
                Default::Null => Value::Null,
                Default::Text(text) => text.into(),
                Default::True => true.into(),
            };
            new.take(field, value);
        }
        new
    }

    /// A new object from a body that fits its schema. As in Keystone, `a-b` and `a:b` become `a_b` among the
    /// attributes that nobody knows.
    pub(super) fn of_body(mut body: Map<String, Value>) -> Self {
        let of = R::of();
        let chosen = of.field("id").filter(|f| f.set == Set::Once).and_then(|_| body.remove("id"));
        let chosen = chosen.and_then(|id| id.as_str().filter(|id| !id.is_empty()).map(str::to_owned));
        let mut new = Self::new(chosen.unwrap_or_else(ids::uuid));
        for field in of.fields.iter().filter(|f| f.set != Set::Server) {
            if let Some(value) = body.remove(field.name) {
                new.take(field, value);
            }
        }
        new.extra.extend(extra::from_body(body, &Self::known()));
        new
    }

    /// Takes over what a change names.
    pub(super) fn apply(&mut self, mut body: Map<String, Value>) {
        for field in R::of().fields.iter().filter(|f| f.set == Set::Always) {
            if let Some(value) = body.remove(field.name) {
                self.take(field, value);
            }
        }
        extra::merge(&mut self.extra, body, &Self::known());
    }

    fn take(&mut self, field: &Field, value: Value) {
        let name = field.name.to_owned();
        match (field.home, field.null_means) {
            _ if name == "id" => {}
            (Home::Extra, _) => drop(self.extra.insert(name, value)),
            (Home::Options, _) => match value.get("immutable") {
                Some(Value::Null) => drop(self.values.insert(name, json!({}))),
                Some(immutable) => drop(self.values.insert(name, json!({"immutable": immutable}))),
                None => drop(self.values.entry(name).or_insert(json!({}))),
            },
            (_, Some(text)) if value.is_null() => drop(self.values.insert(name, text.into())),
            _ => drop(self.values.insert(name, field.whole(R::of().table, value))),
        }
    }

    /// The names that are not kept in `extra`.
    fn known() -> Vec<&'static str> {
        let of = R::of();
        let fields = of.fields.iter().filter(|f| f.home != Home::Extra).map(|f| f.name);
        fields.chain(["id", "links"]).chain(of.reserved.iter().copied()).collect()
    }

    /// A field's value; null when it has none.
    pub fn get(&self, name: &str) -> &Value {
        self.values.get(name).unwrap_or(&Value::Null)
    }

    /// A field's string.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).as_str()
    }

    /// A field's number.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.get(name).as_i64()
    }

    /// Whether a field is true.
    pub fn flag(&self, name: &str) -> bool {
        self.get(name) == true
    }

    /// Sets a field.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.values.insert(name.to_owned(), value.into());
    }

    /// Whether the option `immutable` is set.
    pub fn is_immutable(&self) -> bool {
        self.get("options")["immutable"] == true
    }

    /// The object as clients see it.
    pub fn to_json(&self, links: &Links) -> Value {
        let mut shown = self.shown();
        shown.insert("links".into(), json!({"self": self.link(links)}));
        R::show(self, &mut shown);
        shown.into()
    }

    /// The same without its links.
    pub fn shown(&self) -> Map<String, Value> {
        let of = R::of();
        let mut shown = self.extra.clone();
        for field in of.fields.iter().filter(|f| f.is_shown && f.home != Home::Extra) {
            shown.insert(field.name.to_owned(), self.get(field.name).clone());
        }
        shown.insert("id".into(), self.id.as_str().into());
        shown
    }

    /// The link to it.
    pub fn link(&self, links: &Links) -> String {
        let of = R::of();
        match of.below {
            Some(part) => links.of(&[part, of.many, &self.id]),
            None => links.of(&[of.many, &self.id]),
        }
    }

    /// 404 for an id.
    pub fn missing(id: &str) -> Error {
        Error::NotFound(R::of().one, id.to_owned())
    }
}
