//! The terms of trusts and keypairs as they are stored: JSON in a table of our own.
//!
//! To a Keystone on the same database a trust with terms is deleted, as it would not keep them: its row says that it was deleted at
//! [`APART`], which never comes. A program that does not know a term that it finds reads none of them, and the trust gives nothing there.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use vicar_rules::Micros;
use vicar_rules::access_rule::{Access, AccessRule};
use vicar_rules::terms::Terms;

use crate::clock::SECOND;

/// When a living trust with terms was deleted, as its row has it for Keystones: the last day of the year 9999.
pub const APART: Micros = 253_402_214_400 * SECOND;

/// The condition that nobody has deleted the trust with this alias, for a query.
#[macro_export]
macro_rules! living {
    ($alias:literal) => {
        concat!(
            "(",
            $alias,
            ".deleted_at IS NULL OR ",
            $alias,
            ".deleted_at >= '9999-12-31 00:00:00.000000')"
        )
    };
}

/// The condition that the trust with this alias was deleted.
#[macro_export]
macro_rules! deleted {
    ($alias:literal) => {
        concat!("(", $alias, ".deleted_at < '9999-12-31 00:00:00.000000')")
    };
}

const ACCESS_RULES: &str = "access_rules";
const NOT_BEFORE: &str = "not_before";
const MAX_TOKEN_TTL: &str = "max_token_ttl";
const MAX_LOGIN_AGE: &str = "max_login_age";
const REQUIRED_METHODS: &str = "required_methods";
const EXTERNAL_ID: &str = "external_id";

/// As stored: times in microseconds since 1970, spans in microseconds. Nothing when there is nothing to store, unless the trust
/// is below one with terms, and so is to be apart too.
pub fn write(terms: &Terms, external_id: Option<&str>, is_below: bool) -> Option<String> {
    let mut out = Map::new();
    if let Some(rules) = rules_to_json(&terms.access) {
        out.insert(ACCESS_RULES.into(), rules);
    }
    for (name, value) in [
        (NOT_BEFORE, terms.not_before),
        (MAX_TOKEN_TTL, terms.max_token_ttl),
        (MAX_LOGIN_AGE, terms.max_login_age),
    ] {
        if let Some(value) = value {
            out.insert(name.into(), value.into());
        }
    }
    if !terms.required_methods.is_empty() {
        out.insert(REQUIRED_METHODS.into(), json!(terms.required_methods));
    }
    if let Some(id) = external_id {
        out.insert(EXTERNAL_ID.into(), id.into());
    }
    (is_below || !out.is_empty()).then(|| Value::Object(out).to_string())
}

/// From the stored form, with the external id; nothing when not all of it is understood.
pub fn read(text: &str) -> Option<(Terms, Option<String>)> {
    let Ok(Value::Object(stored)) = serde_json::from_str(text) else { return None };
    let (mut terms, mut external_id) = (Terms::default(), None);
    for (name, value) in &stored {
        match name.as_str() {
            ACCESS_RULES => terms.access = Access::stored(rules_of(value)?),
            NOT_BEFORE => terms.not_before = Some(value.as_i64()?),
            MAX_TOKEN_TTL => terms.max_token_ttl = Some(value.as_i64()?),
            MAX_LOGIN_AGE => terms.max_login_age = Some(value.as_i64()?),
            REQUIRED_METHODS => terms.required_methods = serde_json::from_value(value.clone()).ok()?,
            EXTERNAL_ID => external_id = Some(value.as_str()?.to_owned()),
            _ => return None,
        }
    }
    Some((terms, external_id))
}

/// A list of access rules, if it is one.
pub fn rules_of(list: &Value) -> Option<BTreeSet<AccessRule>> {
    let rule = |rule: &Value| {
        let text = |name: &str| rule[name].as_str().map(str::to_owned);
        Some(AccessRule { service: text("service")?, method: text("method")?, path: text("path")? })
    };
    list.as_array()?.iter().map(rule).collect()
}

/// The bytes of what some rules say.
pub fn length(rules: &BTreeSet<AccessRule>) -> usize {
    rules.iter().map(|rule| rule.service.len() + rule.method.len() + rule.path.len()).sum()
}

/// Access rules as clients see them and as they are stored; nothing when there are none.
pub fn rules_to_json(access: &Access) -> Option<Value> {
    let rules = access.rules()?;
    let shown =
        rules.iter().map(|rule| json!({"service": rule.service, "method": rule.method, "path": rule.path}));
    Some(shown.collect())
}

/// About how many bytes they take.
pub fn size(access: &Access) -> usize {
    let rules = access.rules().unwrap_or_default();
    rules.iter().map(|rule| 200 + rule.service.len() + rule.method.len() + rule.path.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_read_as_they_were_written() {
        let rule =
            |path: &str| AccessRule { service: "compute".into(), method: "GET".into(), path: path.into() };
        let whole = Terms {
            access: Access::only(&[rule("/a"), rule("/b/*")].into()),
            not_before: Some(1_700_000_000_000_001),
            max_token_ttl: Some(60 * SECOND),
            max_login_age: Some(90 * SECOND),
            required_methods: ["password".to_owned(), "totp".to_owned()].into(),
        };
        for terms in [
            whole.clone(),
            Terms { access: Access::default(), ..whole.clone() },
            Terms { not_before: None, max_token_ttl: None, ..whole.clone() },
            Terms { max_login_age: None, required_methods: BTreeSet::new(), ..whole.clone() },
        ] {
            for id in [None, Some("a customer")] {
                let text = write(&terms, id, false).expect("something to store");
                assert_eq!(read(&text), Some((terms.clone(), id.map(str::to_owned))));
            }
        }
        assert_eq!(write(&Terms::default(), None, false), None);
        assert!(write(&Terms::default(), Some("x"), false).is_some());
        let below = write(&Terms::default(), None, true).expect("something to store");
        assert_eq!(read(&below), Some((Terms::default(), None)));
    }

    #[test]
    fn what_is_not_understood_gives_nothing() {
        for text in [
            "",
            "[]",
            r#"{"not_before": 1, "only_on_mondays": true}"#,
            r#"{"not_before": "1"}"#,
            r#"{"access_rules": [{"service": "compute", "method": "GET"}]}"#,
            r#"{"access_rules": "all"}"#,
            r#"{"required_methods": "password"}"#,
            r#"{"external_id": 1}"#,
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn the_queries_mean_the_same_instant() {
        let text = crate::clock::sql_datetime(APART);
        assert!(living!("t").contains(&text) && deleted!("t").contains(&text), "{text}");
    }
}
