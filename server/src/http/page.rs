//! Queries: filters and pages.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::schema::Schema;
use crate::error::{Error, Result};
use crate::oslo;
use crate::store::{Alike, Batch, CHUNK, Select};

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
    /// Whether it was cut: there is more.
    pub truncated: bool,
}

/// A list that is read in batches, in the order of its items' ids, until its page is full: so a page costs what
/// is on it, whatever else there is.
///
/// ```text
/// while let Some(batch) = s.next_batch(&mut paging).await? {
///     let rows = read(batch);
///     paging.read(&batch, rows.last().id, rows.len());
///     for row in rows that the caller may see { paging.push(row.to_json()) }
/// }
/// ```
#[derive(Debug)]
pub struct Paging<'q> {
    tests: Vec<Test<'q>>,
    marker: Option<&'q str>,
    limit: Option<usize>,
    asked: Option<u32>,
    at: Progress,
    batches: usize,
    items: Vec<Value>,
    /// How long the items are in an answer.
    bytes: usize,
    /// Whether there is an item that would have made the answer too long.
    is_long_enough: bool,
}

/// How far a list was read.
#[derive(Debug)]
enum Progress {
    /// The marker is still to be looked for.
    Marker,
    /// Everything up to this id was read; nothing was yet, without one.
    After(Option<String>),
    /// Everything was.
    End,
}

/// A filter: an attribute, how it is compared, and with what.
type Test<'q> = (&'q str, &'q str, &'q str);

impl Paging<'_> {
    /// What is to be read next; nothing when the page is full, or there is no more.
    ///
    /// # Errors
    /// 400 when the marker is no item of this list.
    pub fn next_batch(&mut self) -> Result<Option<Batch>> {
        if let Progress::Marker = self.at
            && let Some(marker) = self.marker.take()
        {
            return Ok(Some(Batch::only(marker.to_owned())));
        }
        if let Progress::Marker = self.at {
            let found = self.items.pop().as_ref().and_then(|i| i["id"].as_str()).map(str::to_owned);
            self.at = Progress::After(Some(found.ok_or_else(no_marker)?));
            self.bytes = 0;
        }
        let Progress::After(id) = &self.at else { return Ok(None) };
        if self.is_full() {
            return Ok(None);
        }
        // One more than the page holds says whether there is another page. What the rules or filters took out
        // of the first batch they may take out of the next, which is larger for that.
        let rows = match (self.limit, self.batches) {
            (Some(limit), 0) => (limit + 1).min(BATCH),
            _ => BATCH,
        };
        self.batches += 1;
        Ok(Some(Batch::after(id.clone(), rows)))
    }

    /// Whether more than one batch was asked for.
    pub fn is_long(&self) -> bool {
        self.batches > 1
    }

    /// Notes how many rows a batch had, and the id of the last.
    pub fn read(&mut self, batch: &Batch, rows: usize, last: Option<&str>) {
        if let Progress::After(_) = self.at {
            self.at = match last {
                Some(last) if rows >= batch.rows() => Progress::After(Some(last.to_owned())),
                _ => Progress::End,
            };
        }
    }

    /// Adds an item that the caller may see, when it fits the filters.
    pub fn push(&mut self, item: Value) {
        if !self.is_full() && self.tests.iter().all(|t| fits(&item, t.0, t.1, t.2)) {
            let bytes = self.bytes.saturating_add(rendered(&item));
            // The marker of the next page is an item's id.
            self.is_long_enough = bytes > LONGEST && self.items.last().is_some_and(|i| i["id"].is_string());
            if !self.is_long_enough {
                self.bytes = bytes;
                self.items.push(item);
            }
        }
    }

    fn is_full(&self) -> bool {
        self.is_long_enough || self.limit.is_some_and(|limit| self.items.len() > limit)
    }

    /// Limits it by another number than the server's usual one.
    pub fn limit_to(&mut self, server_limit: u32) {
        self.limit = smaller(self.asked, Some(server_limit));
    }

    /// The page.
    pub fn into_page(self) -> Page {
        let limit = if self.is_long_enough { Some(self.items.len()) } else { self.limit };
        cut(self.items, limit, self.is_long_enough)
    }
}

/// The rows of a batch, when the page is not smaller. Others' requests are served between two batches.
const BATCH: usize = 200;
const _: () = assert!(BATCH <= CHUNK);

/// The bytes of a page that is read in batches, unless one item alone is longer. What clients do not read is kept in
/// memory, and items can be as long as a request.
const LONGEST: usize = 16 << 20;

/// How many bytes an item has in an answer.
fn rendered(item: &Value) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self.0.saturating_add(bytes.len());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // Nothing that fails is written to.
    let _ = serde_json::to_writer(&mut count, item);
    count.0
}

fn no_marker() -> Error {
    Error::field("marker", "no item of this list has that id")
}

/// The smaller of two limits.
fn smaller(asked: Option<u32>, server_limit: Option<u32>) -> Option<usize> {
    let smaller = match (asked, server_limit) {
        (Some(a), Some(s)) => Some(a.min(s)),
        (a, s) => a.or(s),
    };
    smaller.map(|limit| limit as usize)
}

/// Cuts a list to its page. `has_more` says that there are items beyond these.
fn cut(items: Vec<Value>, limit: Option<usize>, has_more: bool) -> Page {
    let mut page = Page { items, next: None, truncated: false };
    if let Some(limit) = limit
        && (has_more || page.items.len() > limit)
    {
        page.items.truncate(limit);
        page.truncated = true;
        page.next = page.items.last().and_then(|i| i["id"].as_str()).map(str::to_owned);
    }
    page
}

/// How many parameters a query can have. Each can be a condition that is looked at for every row of a list.
const MOST_PARAMS: usize = 32;

impl Query {
    /// A list that is read in batches: the database filters by equality of the attributes `queried`, which are not
    /// compared again, since some databases compare without case, as they do for Keystone. Each item is compared
    /// with the other filters, as by [`Query::page`].
    ///
    /// # Errors
    /// 400 for a limit that is no positive integer.
    pub fn paging<'q>(
        &'q self,
        queried: &[&str],
        filters: &[&str],
        server_limit: Option<u32>,
    ) -> Result<Paging<'q>> {
        let asked = self.asked_limit()?;
        let limit = smaller(asked, server_limit);
        let marker = self.get("marker");
        let at = if marker.is_some() { Progress::Marker } else { Progress::After(None) };
        let tests = self.tests(queried, filters);
        let (items, bytes) = (Vec::new(), 0);
        Ok(Paging { tests, marker, limit, asked, at, batches: 0, items, bytes, is_long_enough: false })
    }

    /// Refuses other names, and the same twice: where what is misspelt would ask for something else.
    ///
    /// # Errors
    /// 400 that names it.
    pub fn has_only(&self, known: &[&str]) -> Result<()> {
        for (n, (name, _)) in self.pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                return Err(Error::field(
                    name,
                    &format!("is no parameter of this request; it has {}", known.join(", ")),
                ));
            }
            if self.pairs.iter().take(n).any(|(earlier, _)| earlier == name) {
                return Err(Error::field(name, "is given twice"));
            }
        }
        Ok(())
    }

    /// How long a page is that the client wants.
    fn asked_limit(&self) -> Result<Option<u32>> {
        let wrong = || Error::field("limit", "must be a positive integer");
        let read = |text: &str| text.parse::<u32>().ok().filter(|n| *n > 0).ok_or_else(wrong);
        self.get("limit").map(read).transpose()
    }

    fn tests<'q>(&'q self, queried: &[&str], filters: &[&str]) -> Vec<Test<'q>> {
        self.pairs
            .iter()
            .filter_map(|(k, v)| {
                let (name, how) = k.split_once("__").unwrap_or((k, "equals"));
                let is_tested = filters.contains(&name) || (queried.contains(&name) && name != k);
                is_tested.then_some((name, how, v.as_str()))
            })
            .collect()
    }

    /// Decodes.
    ///
    /// # Errors
    /// 400 for a `%` that encodes nothing, for what is not UTF-8, and for more than [`MOST_PARAMS`].
    pub fn parse(raw: &str) -> Result<Self> {
        // A link to the next page adds a marker.
        let marker = usize::from(raw.split('&').any(|p| p.starts_with("marker=")));
        if raw.split('&').filter(|p| !p.is_empty()).count() > MOST_PARAMS + marker {
            return Err(Error::BadRequest(format!("the query has more than {MOST_PARAMS} parameters")));
        }
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

    /// Limits what the database reads to rows in which a column can fit the comparisons with an attribute, such as
    /// `name__contains`. Each item is compared again, as by [`Query::paging`].
    pub fn narrow(&self, name: &str, column: &str, found: &mut Select) {
        let word = |key: &str| Some(key.strip_prefix(name)?.strip_prefix("__")?.to_owned());
        for (word, value) in self.pairs.iter().filter_map(|(k, v)| Some((word(k)?, v))) {
            let how = match word.as_str() {
                "contains" | "icontains" => Alike::Contains,
                "startswith" | "istartswith" => Alike::Starts,
                "endswith" | "iendswith" => Alike::Ends,
                _ => continue,
            };
            found.alike(column, how, value);
        }
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
        let tests = self.tests(&[], filters);
        let mut items: Vec<Value> =
            items.into_iter().filter(|item| tests.iter().all(|t| fits(item, t.0, t.1, t.2))).collect();
        if let Some(marker) = self.get("marker") {
            let at = items.iter().position(|i| i["id"] == *marker);
            items.drain(..=at.ok_or_else(no_marker)?);
        }
        Ok(cut(items, smaller(self.asked_limit()?, server_limit), false))
    }
}

fn fits(item: &Value, name: &str, how: &str, wanted: &str) -> bool {
    let found = match &item[name] {
        Value::String(s) => s.clone(),
        Value::Bool(b) => return *b == is_on(wanted),
        // A filter without a value asks for what has none.
        Value::Null => {
            return match how {
                "equals" | "iequals" => wanted.is_empty() || wanted.eq_ignore_ascii_case("none"),
                "contains" | "icontains" | "startswith" | "istartswith" | "endswith" | "iendswith" => false,
                _ => true,
            };
        }
        other => other.to_string(),
    };
    let lower = |s: &str| s.to_lowercase();
    match how {
        // Without case by its name, but not in Keystone.
        "equals" | "iequals" => found == wanted,
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

/// As Keystone: all that does not mean no is yes.
fn is_on(value: &str) -> bool {
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
    fn a_query_has_so_many_parameters_and_no_more() {
        let of = |n: usize| Query::parse(&"name__contains=a&".repeat(n));
        let full = of(MOST_PARAMS).expect("so many");
        assert!(Query::parse(&full.with_marker("x")).is_ok(), "links lead somewhere");
        assert!(matches!(of(MOST_PARAMS + 1), Err(Error::BadRequest(text)) if text.contains("32")));
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

    /// The ids of the page that is put together from batches of these items, and how many batches it took.
    fn paged(q: &str, ids: &[&str]) -> Result<(Vec<String>, Option<String>, usize)> {
        let q = Query::parse(q)?;
        let all: std::collections::BTreeSet<String> = ids.iter().map(|i| (*i).to_owned()).collect();
        let mut paging = q.paging(&[], &["kind"], None)?;
        while let Some(batch) = paging.next_batch()? {
            let rows = batch.of(&all);
            paging.read(&batch, rows.len(), rows.last().map(|id| id.as_str()));
            for id in rows {
                paging.push(json!({"id": id, "kind": if id.starts_with('x') { "x" } else { "other" }}));
            }
        }
        let batches = paging.batches;
        let page = paging.into_page();
        let ids = page.items.iter().map(|i| i["id"].as_str().unwrap_or_default().to_owned()).collect();
        Ok((ids, page.next, batches))
    }

    #[test]
    fn a_page_is_read_in_batches_until_it_is_full() {
        let many: Vec<String> = (0..1000).map(|n| format!("{n:04}")).collect();
        let mut many: Vec<&str> = many.iter().map(String::as_str).collect();
        let of = |q: &str, all: &[&str]| paged(q, all).map_err(|e| e.to_string());
        let page = |ids: &[&str], next: Option<&str>, n| {
            Ok((ids.iter().map(|i| (*i).to_owned()).collect(), next.map(str::to_owned), n))
        };
        assert_eq!(of("limit=2", &many), page(&["0000", "0001"], Some("0001"), 1));
        assert_eq!(of("limit=2&marker=0997", &many), page(&["0998", "0999"], None, 1));
        assert_eq!(of("limit=1&marker=0999", &many), page(&[], None, 1));
        assert_eq!(of("", &many), page(&many, None, 6));
        assert_eq!(of("limit=2", &[]), page(&[], None, 1));
        assert!(of("marker=nope", &many).is_err_and(|e| e.starts_with("marker: ")));
        // What the filter leaves out is no item of the list.
        many.extend(["x1", "x2", "x3"]);
        assert_eq!(of("limit=2&kind=x", &many), page(&["x1", "x2"], Some("x2"), 6));
        assert!(of("marker=0001&kind=x", &many).is_err());
        assert!(paged("limit=0", &many).is_err());
    }

    #[test]
    fn what_the_database_found_is_not_compared_again() {
        let found = |q: &str| {
            let q = Query::parse(q).expect("parses");
            let mut paging = q.paging(&["name"], &["enabled"], None).expect("pages");
            paging.push(json!({"id": "1", "name": "Ann", "enabled": true}));
            paging.into_page().items.len()
        };
        assert_eq!(found("name=ANN"), 1);
        assert_eq!(found("name=ANN&enabled=no"), 0);
        assert_eq!(found("name__equals=ANN"), 0);
        assert_eq!(found("name=ANN&name__startswith=B"), 0);
    }
}
