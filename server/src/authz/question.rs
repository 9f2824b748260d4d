//! What another server is told when the policy asks for its decision.

use serde_json::{Map, Value};
use vicar_rules::policy::{Credential, Fact, Facts, Op, Policy, Said, Subject};

use crate::remote::Question;

/// The question, with what policy knows, and under the names that it has there.
pub(super) fn question(op: Op, url: String, subject: &Subject, facts: &Facts, policy: &Policy) -> Question {
    let target: Map<String, Value> =
        facts.iter().map(|(fact, values)| (fact.key().to_owned(), fact_json(fact, values))).collect();
    let mut credentials = Map::new();
    for key in Credential::keys() {
        let said = Credential::named(key).map(|c| policy.said(subject, c));
        let value = match said {
            None | Some(Said::Nothing) => continue,
            Some(Said::Null) => Value::Null,
            Some(Said::Values(values)) => match (is_list(key), values.as_slice()) {
                (false, [one]) => plain(one),
                (_, many) => many.iter().map(|v| Value::from(*v)).collect(),
            },
        };
        insert(&mut credentials, key, value);
    }
    Question {
        rule: op.row().name,
        url,
        target: Value::Object(target).to_string(),
        credentials: Value::Object(credentials).to_string(),
    }
}

fn fact_json(fact: Fact, values: &[String]) -> Value {
    match values {
        [] => Value::Null,
        [one] if fact.is_flag() => plain(one),
        [one] => Value::from(one.as_str()),
        many => many.iter().map(|v| Value::from(v.as_str())).collect(),
    }
}

fn is_list(key: &str) -> bool {
    matches!(key, "roles" | "token.roles.name" | "token.roles.id" | "token.methods")
}

/// Flags are flags again.
fn plain(text: &str) -> Value {
    match text {
        "True" => Value::Bool(true),
        "False" => Value::Bool(false),
        text => Value::from(text),
    }
}

/// `a.b.c` is nested.
fn insert(map: &mut Map<String, Value>, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            map.insert(key.to_owned(), value);
        }
        Some((first, rest)) => {
            let inner = map.entry(first).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}
