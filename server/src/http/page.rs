//! Queries: filters and pages.

use serde_json::Value;

use super::schema::Schema;
use crate::error::{Error, Result};

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
    /// Was it cut by the server's own limit?
    pub truncated: bool,
}

impl Query {
    /// Decodes; invalid UTF-8 is the client's fault.
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

    /// Is the name there, with whatever value?
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// A switch: there without a value, or with a word that means yes.
    pub fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|v| {
            !matches!(v.to_ascii_lowercase().as_str(), "0" | "false" | "no" | "off" | "f" | "n")
        })
    }

    /// Checks the query against a schema: each name's first value, all of them texts.
    pub fn check(&self, schema: &Schema) -> Result<()> {
        let mut values = serde_json::Map::new();
        for (name, value) in &self.pairs {
            values.entry(name.clone()).or_insert_with(|| value.clone().into());
        }
        schema.check("the query", &Value::Object(values))
    }

    /// Without anything in it?
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// The query again, with another marker.
    pub fn with_marker(&self, marker: &str) -> String {
        let mut parts: Vec<&str> =
            self.raw.split('&').filter(|p| !p.is_empty() && !p.starts_with("marker=")).collect();
        let last = format!("marker={marker}");
        parts.push(&last);
        parts.join("&")
    }

    /// Filters and cuts a list. `filters` names the attributes that may be filtered; `name__contains`
    /// and its like compare as Keystone's.
    ///
    /// # Errors
    /// 400 for a marker or a limit that cannot be.
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
            let at = at.ok_or_else(|| Error::field("marker", "no item of this list has that id"))?;
            items.drain(..=at);
        }
        let asked = match self.get("limit") {
            None => None,
            Some(text) => Some(
                text.parse::<u32>()
                    .ok()
                    .filter(|n| *n > 0)
                    .ok_or_else(|| Error::field("limit", "must be a positive integer"))?,
            ),
        };
        let limit = match (asked, server_limit) {
            (Some(a), Some(s)) => Some(a.min(s)),
            (a, s) => a.or(s),
        };
        let mut page = Page { items, next: None, truncated: false };
        if let Some(limit) = limit.map(|l| l as usize)
            && page.items.len() > limit
        {
            page.items.truncate(limit);
            page.truncated = asked.is_none();
            page.next = page.items.last().and_then(|i| i["id"].as_str()).map(str::to_owned);
        }
        Ok(page)
    }
}

fn fits(item: &Value, name: &str, how: &str, wanted: &str) -> bool {
    let found = match &item[name] {
        Value::String(s) => s.clone(),
        Value::Bool(b) => {
            let wanted =
                !matches!(wanted.to_ascii_lowercase().as_str(), "0" | "false" | "no" | "off" | "f" | "n");
            return *b == wanted;
        }
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

/// Percent-decoding, `+` as a space.
pub fn decode(text: &str) -> Result<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        match b {
            b'+' => out.push(b' '),
            b'%' => {
                let digit = |d: Option<u8>| d.and_then(|d| char::from(d).to_digit(16));
                match (digit(bytes.next()), digit(bytes.next())) {
                    (Some(hi), Some(lo)) => out.push((hi * 16 + lo) as u8),
                    _ => {
                        return Err(Error::BadRequest("the query is not properly encoded".into()));
                    }
                }
            }
            other => out.push(other),
        }
    }
    String::from_utf8(out).map_err(|_| Error::BadRequest("the query is not UTF-8".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
        assert!(Query::parse("a=%ff").is_err());
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
