//! What most resources keep in a column `extra`: attributes that a client sends and this server gives no meaning. They
//! are stored and echoed.

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// The object in an `extra` column. Anything else counts as an empty one.
pub fn read(text: Option<String>) -> Map<String, Value> {
    match text.as_deref().map(serde_json::from_str) {
        Some(Ok(Value::Object(map))) => map,
        _ => Map::new(),
    }
}

/// The string for an `extra` column.
pub fn to_column(extra: &Map<String, Value>) -> String {
    Value::Object(extra.clone()).to_string()
}

/// Puts what is left of a body over what is kept. `own` names attributes that have a place of their
/// own or are the server's; none of them gets in.
pub fn merge(extra: &mut Map<String, Value>, body: Map<String, Value>, own: &[&str]) {
    extra.extend(body.into_iter().filter(|(name, _)| !own.contains(&name.as_str())));
}

/// What is left of a new object's body once the known attributes are taken out. As in Keystone, `a-b`
/// and `a:b` are stored as `a_b`; a name that would turn into a known one is dropped, so that it
/// cannot get around a check of that one.
pub fn from_body(body: Map<String, Value>, known: &[&str]) -> Map<String, Value> {
    body.into_iter()
        .map(|(k, v)| (k.replace([':', '-'], "_"), v))
        .filter(|(k, _)| !known.contains(&k.as_str()))
        .collect()
}

/// An object for a client: what `extra` holds, then the known attributes, which win.
pub fn overlay(extra: &Map<String, Value>, known: Value) -> Value {
    let mut out = extra.clone();
    if let Value::Object(known) = known {
        out.extend(known);
    }
    Value::Object(out)
}

/// Adds attributes to an object for a client.
pub fn add(object: &mut Value, more: Map<String, Value>) {
    if let Some(map) = object.as_object_mut() {
        map.extend(more);
    }
}

/// Sets an attribute of an object for a client.
pub fn set(object: &mut Value, name: &str, value: impl Into<Value>) {
    if let Value::Object(attributes) = object {
        attributes.insert(name.to_owned(), value.into());
    }
}

/// `"id"` in the body of a change may only repeat the id.
///
/// # Errors
/// 400 for another one.
pub fn same_id(body: &Map<String, Value>, id: &str) -> Result<()> {
    match body.get("id") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(given)) if given == id => Ok(()),
        Some(_) => Err(Error::BadRequest("id: cannot be changed".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_spelling_never_reaches_a_known_attribute() {
        let Value::Object(body) = json!({"a-b": 1, "domain-id": "x", "c:d": 2}) else { return };
        assert_eq!(Value::Object(from_body(body, &["domain_id"])), json!({"a_b": 1, "c_d": 2}));
    }

    #[test]
    fn known_attributes_win() {
        let extra = read(Some(r#"{"id": "forged", "more": 1}"#.into()));
        assert_eq!(overlay(&extra, json!({"id": "true"})), json!({"id": "true", "more": 1}));
        assert!(read(Some("no json".into())).is_empty());
    }
}
