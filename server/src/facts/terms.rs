//! The terms of trusts and keypairs as they are stored: JSON in a table of our own.
//!
//! To a Keystone on the same database a trust with terms is deleted, as it would not keep them: its row says that it was deleted at
//! [`APART`], which never comes. A program that does not know a term that it finds reads none of them, and the trust gives nothing there.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use vicar_rules::Micros;
use vicar_rules::access_rule::{Access, AccessRule};
use vicar_rules::binding::Binding;
use vicar_rules::delegation::{Adoption, Name, Standing, Suspension, Trust};
use vicar_rules::terms::Terms;

use crate::clock::{self, SECOND};
use crate::extra;

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
const BINDING: &str = "trustee_binding";
/// How RFC 8705 calls the thumbprint of a certificate.
pub const THUMBPRINT: &str = "x5t#S256";
const SUSPENSION: &str = "suspension";
const ADOPTION: &str = "adoption";
const CREDENTIAL: &str = "application_credential";

/// What is stored of a trust beyond what its row can say, with times in microseconds since 1970 and spans in microseconds. Nothing when
/// there is nothing to store, unless the trust is below one of which there is, and so is to be apart too.
pub fn write(trust: &Trust, is_below: bool) -> Option<String> {
    let mut out = Map::new();
    let none = Terms::default();
    let terms = trust.terms.as_ref().unwrap_or(&none);
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
    if let Some(id) = &trust.external_id {
        out.insert(EXTERNAL_ID.into(), id.as_str().into());
    }
    if let Some(binding) = &trust.binding {
        out.insert(BINDING.into(), binding_to_json(binding));
    }
    if let Some(s) = &trust.suspension {
        let stored = json!({"at": s.at, "by": s.by, "standing": s.standing.0, "reason": s.reason});
        out.insert(SUSPENSION.into(), stored);
    }
    if let Some(a) = &trust.adoption {
        let name = &a.trustor;
        let stored = json!({
            "at": a.at, "by": a.by, "name": name.name,
            "domain_id": name.domain_id, "domain_name": name.domain_name,
        });
        out.insert(ADOPTION.into(), stored);
    }
    if let Some(id) = &trust.credential {
        out.insert(CREDENTIAL.into(), id.as_str().into());
    }
    (is_below || !out.is_empty()).then(|| Value::Object(out).to_string())
}

/// Reads the stored form into a trust; `None` when not all of it is understood.
pub fn read(text: &str, trust: &mut Trust) -> Option<()> {
    let Ok(Value::Object(stored)) = serde_json::from_str(text) else { return None };
    let mut terms = Terms::default();
    for (name, value) in &stored {
        match name.as_str() {
            ACCESS_RULES => terms.access = Access::stored(rules_of(value)?),
            NOT_BEFORE => terms.not_before = Some(value.as_i64()?),
            MAX_TOKEN_TTL => terms.max_token_ttl = Some(value.as_i64()?),
            MAX_LOGIN_AGE => terms.max_login_age = Some(value.as_i64()?),
            REQUIRED_METHODS => terms.required_methods = serde_json::from_value(value.clone()).ok()?,
            EXTERNAL_ID => trust.external_id = Some(value.as_str()?.to_owned()),
            BINDING => trust.binding = Some(binding(value)?),
            SUSPENSION => trust.suspension = Some(suspension(value)?),
            ADOPTION => trust.adoption = Some(adoption(value)?),
            CREDENTIAL => trust.credential = Some(value.as_str()?.to_owned()),
            _ => return None,
        }
    }
    trust.terms = Some(terms);
    Some(())
}

/// The binding to a workload as clients give it and see it, and as it is stored.
pub fn binding_to_json(binding: &Binding) -> Value {
    match binding {
        Binding::Certificate(thumbprint) => json!({ THUMBPRINT: thumbprint }),
        Binding::Signed { issuer, subject, audience } => {
            let mut out = json!({"issuer": issuer, "subject": subject});
            if let Some(audience) = audience {
                extra::set(&mut out, "audience", audience.as_str());
            }
            out
        }
    }
}

/// Reads it; `None` when it is none.
pub fn binding(stored: &Value) -> Option<Binding> {
    let text = |name: &str| stored[name].as_str().map(str::to_owned);
    if let Some(thumbprint) = text(THUMBPRINT) {
        return (stored.as_object()?.len() == 1).then_some(Binding::Certificate(thumbprint));
    }
    let audience = match &stored["audience"] {
        Value::Null => None,
        audience => Some(audience.as_str()?.to_owned()),
    };
    Some(Binding::Signed { issuer: text("issuer")?, subject: text("subject")?, audience })
}

fn suspension(stored: &Value) -> Option<Suspension> {
    let text = |name: &str| stored[name].as_str().map(str::to_owned);
    Some(Suspension {
        at: stored["at"].as_i64()?,
        by: text("by")?,
        standing: Standing(stored["standing"].as_u64()?.try_into().ok()?),
        reason: text("reason")?,
    })
}

fn adoption(stored: &Value) -> Option<Adoption> {
    let text = |name: &str| stored[name].as_str().map(str::to_owned);
    let trustor =
        Name { name: text("name")?, domain_id: text("domain_id")?, domain_name: text("domain_name")? };
    Some(Adoption { at: stored["at"].as_i64()?, by: text("by")?, trustor })
}

/// Terms as clients see them: those that there are, without the external id.
pub fn shown(terms: Option<&Terms>) -> Map<String, Value> {
    let mut out = Map::new();
    let Some(own) = terms else { return out };
    if let Some(rules) = rules_to_json(&own.access) {
        out.insert(ACCESS_RULES.into(), rules);
    }
    if let Some(from) = own.not_before {
        out.insert(NOT_BEFORE.into(), clock::iso(from).into());
    }
    for (name, span) in [(MAX_TOKEN_TTL, own.max_token_ttl), (MAX_LOGIN_AGE, own.max_login_age)] {
        if let Some(span) = span {
            out.insert(name.into(), (span / SECOND).into());
        }
    }
    if !own.required_methods.is_empty() {
        out.insert(REQUIRED_METHODS.into(), json!(own.required_methods));
    }
    out
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
    use vicar_rules::delegation::Until;
    use vicar_rules::origin::Origin;

    use super::*;

    fn trust() -> Trust {
        Trust {
            id: "t".into(),
            trustor: "alice".into(),
            trustee: "bob".into(),
            project: None,
            impersonation: true,
            roles: BTreeSet::new(),
            until: Until::Never,
            remaining_uses: None,
            hops: 0,
            parent: None,
            deleted_at: None,
            terms: Some(Terms::default()),
            external_id: None,
            binding: None,
            origin: Origin::default(),
            suspension: None,
            adoption: None,
            credential: None,
        }
    }

    #[test]
    fn terms_are_read_as_they_were_written() {
        let rule =
            |path: &str| AccessRule { service: "compute".into(), method: "GET".into(), path: path.into() };
        let terms = Terms {
            access: Access::only(&[rule("/a"), rule("/b/*")].into()),
            not_before: Some(1_700_000_000_000_001),
            max_token_ttl: Some(60 * SECOND),
            max_login_age: Some(90 * SECOND),
            required_methods: ["password".to_owned(), "totp".to_owned()].into(),
        };
        let suspension =
            Suspension { at: 7, by: "carol".into(), standing: Standing(2), reason: "\"why\"".into() };
        let trustor = Name { name: "Alice".into(), domain_id: "d".into(), domain_name: "D".into() };
        let adoption = Adoption { by: "dave".into(), at: 8, trustor };
        let whole = Trust {
            terms: Some(terms.clone()),
            external_id: Some("a customer".into()),
            binding: Some(Binding::Signed {
                issuer: "i".into(),
                subject: "s".into(),
                audience: Some("a".into()),
            }),
            suspension: Some(suspension),
            adoption: Some(adoption),
            credential: Some("c".into()),
            ..trust()
        };
        let with = |terms: Terms| Trust { terms: Some(terms), ..whole.clone() };
        for trust in [
            whole.clone(),
            with(Terms { access: Access::default(), ..terms.clone() }),
            with(Terms { not_before: None, max_token_ttl: None, ..terms.clone() }),
            with(Terms { max_login_age: None, required_methods: BTreeSet::new(), ..terms.clone() }),
            Trust { external_id: None, suspension: None, ..whole.clone() },
            Trust {
                binding: Some(Binding::Signed { issuer: "i".into(), subject: "s".into(), audience: None }),
                ..whole.clone()
            },
            Trust { binding: Some(Binding::Certificate("t".into())), ..whole.clone() },
            Trust { terms: trust().terms, adoption: None, ..whole.clone() },
        ] {
            let text = write(&trust, false).expect("something to store");
            let bare = || self::trust();
            let mut found = bare();
            assert_eq!((read(&text, &mut found), &found), (Some(()), &trust), "{text}");
        }
        assert_eq!(write(&trust(), false), None);
        for some in [
            Trust { external_id: whole.external_id.clone(), ..trust() },
            Trust { binding: whole.binding.clone(), ..trust() },
            Trust { suspension: whole.suspension.clone(), ..trust() },
            Trust { adoption: whole.adoption.clone(), ..trust() },
            Trust { credential: whole.credential.clone(), ..trust() },
        ] {
            assert!(write(&some, false).is_some());
        }
        let below = write(&trust(), true).expect("something to store");
        let mut found = trust();
        assert_eq!((read(&below, &mut found), found), (Some(()), trust()));
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
            r#"{"trustee_binding": {"issuer": "i"}}"#,
            r#"{"trustee_binding": {"issuer": "i", "subject": "s", "audience": 1}}"#,
            r#"{"trustee_binding": {"x5t#S256": 1}}"#,
            r#"{"trustee_binding": {"x5t#S256": "t", "issuer": "i"}}"#,
            r#"{"suspension": {"at": 1, "by": "carol", "standing": -1, "reason": ""}}"#,
            r#"{"suspension": {"at": 1}}"#,
            r#"{"adoption": {"at": 1, "by": "dave"}}"#,
        ] {
            assert_eq!(read(text, &mut trust()), None, "{text}");
        }
    }

    #[test]
    fn the_queries_mean_the_same_instant() {
        let text = crate::clock::sql_datetime(APART);
        assert!(living!("t").contains(&text) && deleted!("t").contains(&text), "{text}");
    }
}
