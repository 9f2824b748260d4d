//! The open bag that most resources keep in a column `extra`: attributes that a client sends and this
//! server gives no meaning. They are stored and echoed.

use serde_json::{Map, Value};

/// The object in an `extra` column; anything else in it counts as nothing.
pub fn read(text: Option<String>) -> Map<String, Value> {
    match text.as_deref().map(serde_json::from_str) {
        Some(Ok(Value::Object(map))) => map,
        _ => Map::new(),
    }
}

/// The text for an `extra` column.
pub fn text(bag: &Map<String, Value>) -> String {
    Value::Object(bag.clone()).to_string()
}

/// Puts what is left of a body over what is kept. `own` names attributes that have a place of their
/// own or are the server's; none of them gets into the bag.
pub fn keep(bag: &mut Map<String, Value>, body: Map<String, Value>, own: &[&str]) {
    bag.extend(body.into_iter().filter(|(name, _)| !own.contains(&name.as_str())));
}
