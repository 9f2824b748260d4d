//! Multi-factor rules: lists of methods, one of which a login has to have whole. Where it has not, and what it has can
//! wait for the rest, it gets a receipt.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use vicar_rules::delegation::Presence;
use vicar_rules::token;

use super::Parts;
use super::fernet::known_methods;
use super::issue::Identity;
use super::receipt::{self, Receipt};
use crate::clock::{self, SECOND};
use crate::error::{Error, Result, Started};
use crate::facts;
use crate::facts::options::{Options, options};
use crate::reason::Reason;
use crate::secret::Secret;
use crate::store::Tx;
use vicar_rules::Micros;

/// Checks that the methods satisfy the user's multi-factor rules. `known` are the user's options, where they were read.
///
/// # Errors
/// 401 when they do not, with a receipt for what was right.
pub async fn check(
    tx: &mut Tx,
    parts: Parts<'_>,
    who: &Identity,
    known: Option<&Options>,
    now: Micros,
) -> Result<()> {
    let read;
    let options = match known {
        Some(known) => known,
        None => {
            read = options(tx, &who.user).await?;
            &read
        }
    };
    if options.get("multi_factor_auth_enabled") == Some(&Value::Bool(false)) {
        return Ok(());
    }
    let Some(rules) = options.get("multi_factor_auth_rules") else { return Ok(()) };
    let rules = applicable(rules, &parts.config.auth_methods);
    if is_satisfied(&rules, &who.methods) {
        return Ok(());
    }
    // What rests on a token or on a delegation has an end and bounds, of which a receipt tells nothing.
    if !who.methods.iter().all(|m| token::is_factor(m, &parts.config.additional_primary)) {
        return Err(Error::Unauthorized(Reason::MissingFactor));
    }
    Err(started(tx, parts, who, &rules, now).await?)
}

/// A receipt for a login that has to go on, and what it is told.
async fn started(
    tx: &mut Tx,
    parts: Parts<'_>,
    who: &Identity,
    rules: &[Vec<&str>],
    now: Micros,
) -> Result<Error> {
    let user = facts::user(tx, &who.user).await?.filter(|u| u.presence == Presence::Active);
    let user = user.ok_or(Error::Unauthorized(Reason::Disabled))?;
    let issued = now.div_euclid(SECOND) * SECOND;
    let expires = now.saturating_add(parts.config.receipt_expiration).div_euclid(SECOND) * SECOND;
    if receipt::is_revoked(tx, &who.user, issued).await? {
        return Err(Error::RevokedThisSecond);
    }
    let methods = known_methods(&who.methods, &parts.config.auth_methods);
    let begun = rules.iter().filter(|rule| rule.iter().any(|m| methods.iter().any(|has| has == m)));
    let body = json!({
        "receipt": {
            "methods": methods,
            "user": {
                "id": user.id,
                "name": user.name,
                "domain": {"id": user.domain_id, "name": user.domain_name},
            },
            "expires_at": clock::iso(expires),
            "issued_at": clock::iso(issued),
        },
        "required_auth_methods": begun.collect::<Vec<_>>(),
    });
    let keys = parts.receipt_keys.current().map_err(Error::Internal)?;
    let receipt = Receipt { user: user.id, methods, expires, issued };
    let text = receipt
        .encode(&keys, &parts.config.auth_methods)
        .ok_or_else(|| Error::Internal("a receipt could not be encoded".into()))?;
    Ok(Error::Started(Box::new(Started { receipt: Secret(text), body })))
}

/// The rules that count. Methods that this server does not know are left out of a rule, and a rule of nothing else
/// counts for nothing, so that a change of the configuration locks nobody out. What is no list of names is no rule.
fn applicable<'a>(rules: &'a Value, known: &[String]) -> Vec<Vec<&'a str>> {
    rules
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|rule| rule.as_array()?.iter().map(Value::as_str).collect::<Option<Vec<_>>>())
        .map(|rule| {
            let mut seen = BTreeSet::new();
            rule.into_iter().filter(|m| known.iter().any(|k| k == m) && seen.insert(*m)).collect()
        })
        .filter(|rule: &Vec<&str>| !rule.is_empty())
        .collect()
}

/// Whether stored rules would be satisfied by these methods.
pub fn satisfies(rules: &Value, proven: &[String], known: &[String]) -> bool {
    is_satisfied(&applicable(rules, known), proven)
}

/// Whether stored rules ask for less than they say: a method that is not known is left out of them.
pub fn is_weakened(rules: &Value, known: &[String]) -> bool {
    let words = rules.as_array().into_iter().flatten().filter_map(Value::as_array).flatten();
    words.filter_map(Value::as_str).any(|word| !known.iter().any(|k| k == word))
}

/// Whether one of the rules is satisfied. No rule at all is satisfied by anything.
fn is_satisfied(rules: &[Vec<&str>], proven: &[String]) -> bool {
    rules.is_empty() || rules.iter().any(|rule| rule.iter().all(|m| proven.iter().any(|p| p == m)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_multi_factor_users() {
        let words = |w: &[&str]| w.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let known = words(&["password", "totp", "token"]);
        let fits = |rules: Value, proven: &[&str]| satisfies(&rules, &words(proven), &known);
        assert!(fits(json!([]), &["password"]));
        assert!(fits(json!("damaged"), &["password"]));
        assert!(fits(json!([["password", "totp"], ["password"]]), &["password"]));
        assert!(!fits(json!([["password", "totp"]]), &["password"]));
        assert!(fits(json!([["password", "totp"]]), &["totp", "password", "token"]));
        assert!(fits(json!([["retina"]]), &["password"]));
        assert!(fits(json!([["password", "retina"]]), &["password"]));
        assert!(!fits(json!([["retina"], ["totp"]]), &["password"]));
        assert!(!fits(json!([["totp"], [7]]), &["password"]));
        assert!(is_weakened(&json!([["password"], ["password", "topt"]]), &known));
        assert!(
            !is_weakened(&json!([["password", "totp"]]), &known) && !is_weakened(&json!("damaged"), &known)
        );
        assert_eq!(applicable(&json!([["totp", "retina", "totp"], [], ["retina"]]), &known), [["totp"]]);
    }
}
