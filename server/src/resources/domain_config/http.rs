//! The routes of configurations of domains.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use vicar_rules::policy::Op;

use super::{DomainConfig, Part, Setting, invalid, sql, to_json};
use crate::authz::{Authorized, NoObject, Reading, Session, Writing};
use crate::error::{Error, Result};
use crate::http::Request;
use crate::http::request::{no_content, one};
use crate::resources::domains::http as domains;
use crate::schema;

// As in Keystone, a configuration that is missing is one that is empty.
schema!(CONFIG, of("By group and option: `{\"ldap\": {\"url\": …}}`"));
schema!(GROUP, of("The group that the path names, with options of it: `{\"ldap\": {\"url\": …}}`"));
schema!(OPTION, of("The option that the path names, with its value: `{\"url\": …}`"));

fn of(description: &str) -> Value {
    json!({
        "type": "object",
        "properties": {"config": {"type": ["object", "null"], "description": description}},
    })
}

/// The group of which some options of the server are shown to everybody.
const COMPLIANCE: &str = "security_compliance";

fn part(request: &Request) -> Part<'_> {
    Part { group: request.param_opt("group"), option: request.param_opt("option") }
}

fn options(s: &Session<'_, impl Sized>) -> Result<Map<String, Value>> {
    match s.body()?.remove("config") {
        Some(Value::Object(config)) => Ok(config),
        _ => Ok(Map::new()),
    }
}

/// Asks the policy before anything is looked for; then a domain that is not there is 404.
async fn to_change(s: &mut Writing<'_>, op: Op) -> Result<Authorized<DomainConfig>> {
    let domain_id = s.param("domain_id")?.to_owned();
    let config = s.authorize(op, DomainConfig { domain_id })?;
    domains::require(&mut s.tx, &config.domain_id).await?;
    Ok(config)
}

/// Another driver than those that there are would leave the users of the domain unserved.
fn check_driver(s: &Writing<'_>, settings: &[Setting]) -> Result<()> {
    let other = |setting: &Setting| {
        let is_driver = setting.group == "identity" && setting.option == "driver";
        is_driver && setting.value != json!("sql") && setting.value != json!("ldap")
    };
    if s.app.config.stored_domain_options && settings.iter().any(other) {
        return Err(invalid(
            "[identity] driver: the drivers here are sql and ldap. With domain_configurations_from_database, another one \
             would leave the users of this domain without a login",
        ));
    }
    Ok(())
}

/// `GET /v3/domains/{domain_id}/config`, `…/{group}`, `…/{group}/{option}`
pub async fn get(s: &mut Reading<'_>) -> Result<Response> {
    let (domain, part) = (s.param("domain_id")?, part(s.request));
    if part.group == Some(COMPLIANCE) {
        return compliance(s, domain, part.option).await;
    }
    s.authorize(Op::GetDomainConfig, NoObject)?;
    part.check(&s.app.config.domain_options)?;
    let found = sql::shown(&mut s.tx, domain, part).await?;
    if found.is_empty() {
        return Err(part.missing(domain));
    }
    // Something may be left of a domain that is gone.
    domains::require(&mut s.tx, domain).await?;
    Ok(one("config", to_json(found, part)))
}

/// What a password must look like, which is the same for all domains and told of the default one.
async fn compliance(s: &mut Reading<'_>, domain: &str, option: Option<&str>) -> Result<Response> {
    s.authorize(Op::GetSecurityComplianceDomainConfig, NoObject)?;
    if domain != s.app.config.default_domain_id {
        return Err(invalid("security compliance is told of the default domain only"));
    }
    let compliance = &s.app.config.compliance;
    let all = json!({
        "password_regex": compliance.password_regex,
        "password_regex_description": compliance.password_regex_description,
    });
    let shown = match option {
        None => json!({ COMPLIANCE: all }),
        Some(option) => match all.get(option) {
            Some(value) => json!({ option: value }),
            None => {
                return Err(invalid(
                    "of security compliance, password_regex and password_regex_description are told and no others",
                ));
            }
        },
    };
    domains::require(&mut s.tx, domain).await?;
    Ok(one("config", shown))
}

/// `PUT /v3/domains/{domain_id}/config`: these options and no others.
pub async fn put(s: &mut Writing<'_>) -> Result<Response> {
    let config = to_change(s, Op::CreateDomainConfig).await?;
    let whole = part(s.request);
    let settings = whole.read(&options(s)?, &s.app.config.domain_options)?;
    check_driver(s, &settings)?;
    let status = match sql::exists(&mut s.tx, &config.domain_id, whole).await? {
        true => StatusCode::OK,
        false => StatusCode::CREATED,
    };
    sql::remove(&mut s.tx, &config, whole).await?;
    sql::store(&mut s.tx, &config, &settings).await?;
    let shown = sql::shown(&mut s.tx, &config.domain_id, whole).await?;
    Ok((status, one("config", to_json(shown, whole))).into_response())
}

/// `PATCH` of the whole, of a group or of an option: what is named there is set, and what is not named stays. A group or
/// an option must be there. The answer is the whole.
pub async fn update(s: &mut Writing<'_>) -> Result<Response> {
    let config = to_change(s, Op::UpdateDomainConfig).await?;
    let part = part(s.request);
    let settings = part.read(&options(s)?, &s.app.config.domain_options)?;
    check_driver(s, &settings)?;
    if part.group.is_some() && !sql::exists(&mut s.tx, &config.domain_id, part).await? {
        return Err(part.missing(&config.domain_id));
    }
    sql::store(&mut s.tx, &config, &settings).await?;
    let whole = Part { group: None, option: None };
    let shown = sql::shown(&mut s.tx, &config.domain_id, whole).await?;
    Ok(one("config", to_json(shown, whole)))
}

/// `DELETE` of the whole, of a group or of an option.
pub async fn delete(s: &mut Writing<'_>) -> Result<Response> {
    let config = to_change(s, Op::DeleteDomainConfig).await?;
    let part = part(s.request);
    part.check(&s.app.config.domain_options)?;
    if part.group.is_some() && !sql::exists(&mut s.tx, &config.domain_id, part).await? {
        return Err(part.missing(&config.domain_id));
    }
    sql::remove(&mut s.tx, &config, part).await?;
    Ok(no_content())
}

/// `GET /v3/domains/config/default`, `…/{group}/default`, `…/{group}/{option}/default`
pub async fn defaults(s: &mut Reading<'_>) -> Result<Response> {
    s.authorize(Op::GetDomainConfigDefault, NoObject)?;
    let part = part(s.request);
    part.check(&s.app.config.domain_options)?;
    let mut all = s.app.config.domain_options.defaults();
    let Some(group) = part.group else { return Ok(one("config", all.into())) };
    let of_group = all.remove(group).unwrap_or_else(|| json!({}));
    Ok(one(
        "config",
        match part.option {
            None => json!({ group: of_group }),
            Some(option) => match of_group.get(option) {
                Some(value) => json!({ option: value }),
                None => return Err(secret_default(group, option)),
            },
        },
    ))
}

fn secret_default(group: &str, option: &str) -> Error {
    invalid(&format!("Reading the default for option {option} in group {group} is not supported"))
}
