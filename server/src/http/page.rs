//! Queries: filters and pages.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::schema::Schema;
use crate::error::{Error, Result};
use crate::oslo;

/// A parsed query.
#[derive(Debug, Clone, Default)]
pub struct Query {
    raw: String,
    pairs: Vec<(String, String)>,
}

/// A page of a list.
#[derive(Debug)]
pub struct Page {
    /// The items.
    pub items: Vec<Value>,
    /// The marker of the next page, if there is one.
    pub next: Option<String>,
    /// Whether the server's own limit cut it.
    pub truncated: bool,
}

/// How many items an answer has at most.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// The number, if there is a limit.
    pub items: Option<usize>,
    /// Whether the client named one.
    is_asked_for: bool,
}

impl Query {
    /// Decodes.
    ///
    /// # Errors
    /// 400 for a `%` that encodes nothing, and for what is not UTF-8.
    pub fn parse(raw: &str) -> Result<Self> {
        let pairs = raw
            .split('&')
            .filter(|p| !p.is_empty())
            .map(|pair| {
                let (k, v) = pair.split_once('=').unwrap_or((pair, ""));
                Ok((decode(k)?, decode(v)?))
            })
            .collect::<Result<_>>()?;
        Ok(Self { raw: raw.to_owned(), pairs })
    }

    /// As the client wrote it.
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// The first value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
    }

    /// Every value of a name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(k, _)| k == name).map(|(_, v)| v.as_str())
    }

    /// Whether the name appears, with whatever value.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// A switch: on without a value, and with each that does not mean no.
    pub fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(is_on)
    }

    /// Checks the query against a schema: each name's first value, all of them strings.
    ///
    /// # Errors
    /// 400 as [`Schema::check`].
    pub fn check(&self, schema: &Schema) -> Result<()> {
        let mut values = serde_json::Map::new();
        for (name, value) in &self.pairs {
            values.entry(name.clone()).or_insert_with(|| value.clone().into());
        }
        schema.check("the query", &Value::Object(values))
    }

    /// Names and values, in their order.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }

    /// How many items the answer has at most.
    ///
    /// # Errors
    /// 400 for a limit that is no positive integer.
    pub fn limit(&self, server_limit: Option<u32>) -> Result<Limit> {
        let asked = match self.get("limit") {
            None => None,
            Some(text) => Some(
                text.parse::<u32>()
                    .ok()
                    .filter(|n| *n > 0)
                    .ok_or_else(|| Error::field("limit", "must be a positive integer"))?,
            ),
        };
        let least = match (asked, server_limit) {
            (Some(a), Some(s)) => Some(a.min(s)),
            (a, s) => a.or(s),
        };
        Ok(Limit { items: least.map(|n| n as usize), is_asked_for: asked.is_some() })
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// The query again, with another marker.
    pub fn with_marker(&self, marker: &str) -> String {
        let others = self.pairs.iter().filter(|(name, _)| name != "marker");
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs(others)
            .append_pair("marker", marker)
            .finish()
    }

    /// Filters and cuts a list. `filters` names the attributes that may be filtered; `name__contains`
    /// and its like compare as Keystone's.
    ///
    /// # Errors
    /// 400 for a limit that is no positive integer, and for a marker that is no item's id.
    pub fn page(&self, items: Vec<Value>, filters: &[&str], server_limit: Option<u32>) -> Result<Page> {
        self.page_queried(items, &[], filters, server_limit)
    }

    /// The same for items that the database has filtered already: by equality of the attributes `queried`.
    /// They are not compared again, since some databases compare without case, as they do for Keystone.
    ///
    /// # Errors
    /// As [`Query::page`].
    pub fn page_queried(
        &self,
        items: Vec<Value>,
        queried: &[&str],
        filters: &[&str],
        server_limit: Option<u32>,
    ) -> Result<Page> {
        let tests: Vec<(&str, &str, &str)> = self
            .pairs
            .iter()
            .filter_map(|(k, v)| {
                let (name, how) = k.split_once("__").unwrap_or((k, "equals"));
                let is_tested = filters.contains(&name) || (queried.contains(&name) && name != k);
                is_tested.then_some((name, how, v.as_str()))
            })
            .collect();
        let mut items: Vec<Value> =
            items.into_iter().filter(|item| tests.iter().all(|t| fits(item, t.0, t.1, t.2))).collect();
        if let Some(marker) = self.get("marker") {
            let at = items.iter().position(|i| i["id"] == *marker);
            let at = at.ok_or_else(unknown_marker)?;
            items.drain(..=at);
        }
        Ok(self.limit(server_limit)?.cut(items))
    }
}

impl Limit {
    /// The page of items that may be more than the limit.
    pub fn cut(self, mut items: Vec<Value>) -> Page {
        let (mut next, mut truncated) = (None, false);
        if let Some(limit) = self.items
            && items.len() > limit
        {
            items.truncate(limit);
            truncated = !self.is_asked_for;
            next = items.last().and_then(|i| i["id"].as_str()).map(str::to_owned);
        }
        Page { items, next, truncated }
    }
}

fn fits(item: &Value, name: &str, how: &str, wanted: &str) -> bool {
    let found = match &item[name] {
        Value::String(s) => s.clone(),
        Value::Bool(b) => return *b == is_on(wanted),
        // A filter without a value asks for what has none.
        Value::Null => return wanted.is_empty() || wanted.eq_ignore_ascii_case("none"),
        other => other.to_string(),
    };
    let lower = |s: &str| s.to_lowercase();
    match how {
        "equals" => found == wanted,
        "contains" => found.contains(wanted),
        "icontains" => lower(&found).contains(&lower(wanted)),
        "startswith" => found.starts_with(wanted),
        "istartswith" => lower(&found).starts_with(&lower(wanted)),
        "endswith" => found.ends_with(wanted),
        "iendswith" => lower(&found).ends_with(&lower(wanted)),
        // Comparisons with numbers and other words are ignored, as in Keystone.
        _ => true,
    }
}

/// 400 for a marker that is no item's id.
pub fn unknown_marker() -> Error {
    Error::field("marker", "no item of this list has that id")
}

/// Whether a query's value means yes. As Keystone: all that does not mean no is yes.
pub fn is_on(value: &str) -> bool {
    oslo::boolean(value) != Some(false)
}

/// Percent-decoding, `+` as a space. The crate passes a `%` over that nothing was encoded with; such a query
/// is refused here.
fn decode(text: &str) -> Result<String> {
    let encoded =
        |rest: &str| matches!(rest.as_bytes(), [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit());
    if !text.split('%').skip(1).all(encoded) {
        return Err(Error::BadRequest("the query is not properly encoded".into()));
    }
    percent_decode_str(&text.replace('+', " "))
        .decode_utf8()
        .map(Cow::into_owned)
        .map_err(|_| Error::BadRequest("the query is not UTF-8".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn own((name, value): (&str, &str)) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn filters_and_pages() {
        let items = || {
            vec![
                json!({"id": "1", "name": "Ann", "enabled": true}),
                json!({"id": "2", "name": "bob", "enabled": false}),
                json!({"id": "3", "name": "anna", "enabled": true}),
            ]
        };
        let ids = |q: &str| -> Vec<String> {
            let q = Query::parse(q).expect("parses");
            let page = q.page(items(), &["name", "enabled"], None).expect("pages");
            page.items.iter().map(|i| i["id"].as_str().unwrap_or_default().to_owned()).collect()
        };
        assert_eq!(ids("name=bob"), ["2"]);
        assert_eq!(ids("name__icontains=an"), ["1", "3"]);
        assert_eq!(ids("enabled=False"), ["2"]);
        assert_eq!(ids("enabled"), ["1", "3"]);
        assert_eq!(ids("foo=bar"), ["1", "2", "3"]);
        assert_eq!(ids("limit=1&marker=1"), ["2"]);
        let q = Query::parse("limit=0").expect("parses");
        assert!(q.page(items(), &[], None).is_err());
        for bad in ["a=%ff", "a=%", "a=%4", "a=%zz", "%=1", "a=%+1"] {
            assert!(Query::parse(bad).is_err(), "{bad}");
        }
        let q = Query::parse("a=%25+x%2By&%6darker=old&b").expect("parses");
        assert_eq!(q.get("a"), Some("% x+y"));
        let again = q.with_marker("a&b=c#d é+%");
        let read = Query::parse(&again).expect("parses");
        assert_eq!(read.pairs, [("a", "% x+y"), ("b", ""), ("marker", "a&b=c#d é+%")].map(own));
    }

    #[test]
    fn what_the_database_found_is_not_compared_again() {
        let found = |q: &str| {
            let items = vec![json!({"id": "1", "name": "Ann", "enabled": true})];
            let q = Query::parse(q).expect("parses");
            q.page_queried(items, &["name"], &["enabled"], None).expect("pages").items.len()
        };
        assert_eq!(found("name=ANN"), 1);
        assert_eq!(found("name=ANN&enabled=no"), 0);
        assert_eq!(found("name__equals=ANN"), 0);
        assert_eq!(found("name=ANN&name__startswith=B"), 0);
    }
}
