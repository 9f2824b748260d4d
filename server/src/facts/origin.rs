//! What is said of the beginning of a chain, in JSON: as clients send and see it, and as it is stored among a trust's other attributes,
//! where a Keystone keeps it too.

use serde_json::{Map, Value, json};
use vicar_rules::origin::{LONGEST, MOST_LABELS, Origin};

/// The names of the attributes.
pub const NAMES: [&str; 2] = [SOURCE_IDENTITY, LABELS];
const SOURCE_IDENTITY: &str = "source_identity";
const LABELS: &str = "labels";

/// What a body says, which fits the schema (`PRINTABLE` is the same as here), or a stored trust, which need not: then it says nothing.
pub fn read(attributes: &Map<String, Value>) -> Origin {
    let fits = |text: &str| {
        !text.trim().is_empty() && text.chars().count() <= LONGEST && !text.chars().any(char::is_control)
    };
    let text = |value: &Value| value.as_str().filter(|text| fits(text)).map(str::to_owned);
    let labels = attributes.get(LABELS).and_then(Value::as_object).filter(|all| all.len() <= MOST_LABELS);
    let label = |(name, value): (&String, &Value)| Some((name.clone(), text(value).filter(|_| fits(name))?));
    Origin {
        source_identity: attributes.get(SOURCE_IDENTITY).and_then(text),
        labels: labels.and_then(|all| all.iter().map(label).collect()).unwrap_or_default(),
    }
}

/// The attributes of what is said; none when nothing is.
pub fn to_json(origin: &Origin) -> Map<String, Value> {
    let mut out = Map::new();
    if let Some(who) = &origin.source_identity {
        out.insert(SOURCE_IDENTITY.into(), who.as_str().into());
    }
    if !origin.labels.is_empty() {
        out.insert(LABELS.into(), json!(origin.labels));
    }
    out
}

/// The same for a log line, where no label can look like a source identity. None when nothing is said.
pub fn in_a_line(origin: &Origin) -> Option<String> {
    (!origin.is_empty()).then(|| Value::Object(to_json(origin)).to_string())
}

/// What the `extra` column of a trust says.
pub fn of_column(extra: Option<&str>) -> Origin {
    // Few say anything, and those alone are parsed.
    let extra = extra.filter(|text| NAMES.iter().any(|name| text.contains(name)));
    match extra.map(serde_json::from_str) {
        Some(Ok(Value::Object(all))) => read(&all),
        _ => Origin::default(),
    }
}

/// About how many bytes it takes.
pub fn size(origin: &Origin) -> usize {
    let labels = origin.labels.iter().map(|(name, value)| 100 + name.len() + value.len());
    labels.sum::<usize>() + origin.source_identity.as_ref().map_or(0, String::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_was_written_and_nothing_else_is() {
        let labels = || [("stack".to_owned(), "s1".to_owned())].into();
        for origin in [
            Origin::default(),
            Origin { source_identity: Some("alice".into()), labels: labels() },
            Origin { source_identity: None, labels: labels() },
        ] {
            let column = Value::Object(to_json(&origin)).to_string();
            assert_eq!(of_column(Some(&column)), origin);
        }
        let long = "x".repeat(LONGEST + 1);
        for wrong in [
            json!({"source_identity": 1}),
            json!({"source_identity": ""}),
            json!({"source_identity": "a\nb"}),
            json!({"source_identity": long}),
            json!({"labels": "all"}),
            json!({"labels": {"n": 1}}),
            json!({"labels": {"": "v"}}),
            json!({"labels": {long: "v"}}),
            json!({"labels": (0..9).map(|n| (n.to_string(), "v".into())).collect::<Map<_, _>>()}),
            json!(["labels"]),
        ] {
            assert_eq!(of_column(Some(&wrong.to_string())), Origin::default(), "{wrong}");
        }
        assert_eq!(of_column(None), Origin::default());
    }
}
