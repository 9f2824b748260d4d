//! What somebody wants to do: the request that an operation and ids come to. Clients give ids alone; a body is made up here.

use std::str::FromStr;

use axum::http::{Method, Uri};
use serde_json::{Map, Value, json};
use vicar_rules::policy::Operation;

use super::subject::Subject;
use super::{Desk, Question, Target};
use crate::auth::token::{Token, TokenScope};
use crate::clock;
use crate::dispatch::{Auth, Route, find as find_route};
use crate::error::{Error, Result};
use crate::extra;
use crate::http::link::path_segment;

/// What is asked about.
#[derive(Debug)]
pub enum Ask {
    /// Nothing besides whether it is alive.
    Nothing,
    /// An operation of the policy.
    Operation(&'static Operation),
    /// A request to this server; the path may have a query.
    Request(Method, String),
    /// A request to another service, or to this one if it is named.
    Elsewhere {
        /// The service's type.
        service: String,
        /// The method.
        method: String,
        /// The path.
        path: String,
    },
}

/// The path of logins.
const TOKENS: &str = "/v3/auth/tokens";
const TRUSTS: &str = "/v3/OS-TRUST/trusts";
const KEYPAIRS: &str = "/v3/users/{user_id}/credentials/OS-EC2";

/// A request that is to be played.
#[derive(Debug, Clone)]
pub(super) struct Act {
    pub(super) route: &'static Route,
    pub(super) operation: Option<&'static Operation>,
    pub(super) method: Method,
    /// The variable parts of the path, decoded.
    pub(super) params: Vec<(&'static str, String)>,
    /// The path as it was written, if it was.
    pub(super) written: Option<String>,
    pub(super) query: String,
    /// Ids that are in no path.
    pub(super) target: Target,
}

impl Act {
    /// The path, with a query if there is one.
    pub(super) fn uri(&self) -> String {
        let path = match &self.written {
            Some(path) => path.clone(),
            None => self.params.iter().fold(self.route.path.to_owned(), |path, (name, id)| {
                path.replace(&format!("{{{name}}}"), &path_segment(id).to_string())
            }),
        };
        if self.query.is_empty() { path } else { format!("{path}?{}", self.query) }
    }

    /// The ids of objects that it names, each under its name.
    pub(super) fn named(&self) -> impl Iterator<Item = (&str, &str)> {
        let of_path = self.params.iter().map(|(name, id)| (*name, id.as_str()));
        let others = self
            .target
            .iter()
            .filter(|(name, _)| name.ends_with("_id") && *name != TRUSTEE && *name != EXTERNAL);
        of_path.chain(others.map(|(name, id)| (name.as_str(), id.as_str())))
    }

    /// The same with another id in the place of each of these.
    pub(super) fn with_others(&self, ids: &[String], other: impl Fn() -> String) -> Self {
        let mut act = Self { written: None, ..self.clone() };
        let values = act.params.iter_mut().map(|(_, id)| id).chain(act.target.values_mut());
        for id in values.filter(|id| ids.contains(id)) {
            *id = other();
        }
        act
    }

    /// Whether what is missing in the end may be something that a real body would name.
    pub(super) fn has_made_up_body(&self) -> bool {
        self.route.declared.body.is_some() && !matches!(self.route.path, TOKENS | TRUSTS | KEYPAIRS)
    }

    /// Whether what is missing is an object that the path names.
    pub(super) fn path_names(&self, missing: &Error) -> bool {
        matches!(missing, Error::NotFound(_, id) if self.params.iter().any(|(_, named)| named == id))
    }

    /// The names of ids that may be told for it.
    fn names(&self) -> impl Iterator<Item = String> {
        let fixed: &[&str] = match self.route.path {
            TOKENS if self.method == Method::POST => &["trust_id", "project_id", "domain_id", EXTERNAL],
            TRUSTS if self.method == Method::POST => &["project_id", "role_id", TRUSTEE],
            KEYPAIRS if self.method == Method::POST => &["project_id"],
            _ => &[],
        };
        let properties = |schema: Option<&Value>| -> Vec<String> {
            let known = schema.and_then(|schema| schema["properties"].as_object());
            known.into_iter().flat_map(Map::keys).filter(|name| name.ends_with("_id")).cloned().collect()
        };
        let declared = &self.route.declared;
        let of_body = match fixed {
            [] => properties(declared.body.as_ref().map(|body| (body.schema)().json())),
            _ => Vec::new(),
        };
        let of_query = properties(declared.query.map(|schema| schema().json()));
        let all = self.route.params().chain(fixed.iter().copied()).map(str::to_owned);
        all.chain(of_body).chain(of_query).chain(self.route.header.map(|_| "token".to_owned()))
    }

    fn knows(&self, name: &str) -> bool {
        self.names().any(|known| known == name)
    }

    /// Whether it makes a trust.
    pub(super) fn is_trust(&self) -> bool {
        self.route.path == TRUSTS && self.method == Method::POST
    }
}

/// The name of who shall be a trustee, and of what is presented at the use of a trust.
pub(super) const TRUSTEE: &str = "trustee_user_id";
const EXTERNAL: &str = "external_id";

fn wrong(field: &str, problem: &str) -> Error {
    Error::field(&format!("explain.{field}"), problem)
}

/// The request that a question is about.
///
/// # Errors
/// 400 that names the field.
pub(super) fn find(desk: Desk<'_>, subject: &Subject, question: &Question) -> Result<Act> {
    let act = match &question.ask {
        Ask::Operation(operation) => of_operation(desk, subject, operation, &question.target)?,
        Ask::Request(method, path) => of_path(desk, method, path, &question.target)?,
        Ask::Elsewhere { method, path, .. } => {
            let method = Method::from_str(method).map_err(|_| wrong("method", "is no method"))?;
            of_path(desk, &method, path, &question.target)?
        }
        Ask::Nothing => return Err(wrong("operation", "is required")),
    };
    if let Some(name) = question.target.keys().find(|name| !act.knows(name)) {
        let known = act.names().collect::<Vec<_>>().join(", ");
        let problem = format!("{name} is nothing that {} {} names: {known}", act.method, act.route.path);
        return Err(wrong("target", &problem));
    }
    if act.written.is_some() && !act.query.is_empty() && !subject.is_held && !desk.is_operator {
        return Err(wrong("path", "may have a query when the question is about your own token alone"));
    }
    match act.route.auth {
        Auth::Required => Ok(act),
        Auth::Login if act.route.path == TOKENS && subject.text.is_some() => Ok(act),
        Auth::Login if act.route.path == TOKENS => {
            Err(wrong("subject", "must be a token that is to be exchanged for another one"))
        }
        Auth::Login | Auth::Optional | Auth::Public => {
            Err(wrong("path", "is of a request that is decided by something else than a token"))
        }
    }
}

fn of_path(desk: Desk<'_>, method: &Method, path: &str, target: &Target) -> Result<Act> {
    let uri = Uri::from_str(path).ok().filter(|uri| uri.host().is_none());
    let uri = uri.ok_or_else(|| wrong("path", "is no path"))?;
    let (route, params) = find_route(desk.routes, method, uri.path())
        .ok_or_else(|| wrong("path", "no route of this API has this path and this method"))?;
    let decoded = params.into_iter().map(|(name, part)| {
        let part = percent_encoding::percent_decode_str(part).decode_utf8();
        Ok((name, part.map_err(|_| wrong("path", "is not UTF-8"))?.into_owned()))
    });
    Ok(Act {
        route,
        operation: route.declared.ops.first().map(|op| op.row()),
        method: method.clone(),
        params: decoded.collect::<Result<_>>()?,
        written: Some(uri.path().to_owned()),
        query: uri.query().unwrap_or_default().to_owned(),
        target: target.clone(),
    })
}

/// The route of those that ask for an operation whose path the ids fill best.
fn of_operation(
    desk: Desk<'_>,
    subject: &Subject,
    operation: &'static Operation,
    target: &Target,
) -> Result<Act> {
    let own = |name: &str| {
        let token = subject.token()?;
        match name {
            "user_id" => Some(token.user.id.as_str()),
            "project_id" => token.project().map(|project| project.id.as_str()),
            "trust_id" => token.trust_id(),
            _ => None,
        }
    };
    let value = |name: &str| target.get(name).map(String::as_str).or_else(|| own(name));
    let all = || desk.routes.iter().filter(|route| route.declared.ops.contains(&operation.op));
    let filled = |route: &&Route| route.params().all(|name| value(name).is_some());
    // Those that ask for it first, and of them those that name the most.
    let fits = |route: &&Route| {
        let named = route.params().filter(|name| target.contains_key(*name)).count();
        (route.declared.ops.first() == Some(&operation.op), named)
    };
    let route = all().filter(filled).first_max(fits).ok_or_else(|| match all().next() {
        None => wrong("operation", "no route asks for it"),
        Some(route) => {
            let lacking: Vec<&str> = route.params().filter(|name| value(name).is_none()).collect();
            wrong("target", &format!("must name {} for {}", lacking.join(" and "), operation.name))
        }
    })?;
    let params: Vec<(&'static str, String)> =
        route.params().filter_map(|name| Some((name, value(name)?.to_owned()))).collect();
    let mut rest = target.clone();
    rest.retain(|name, _| params.iter().all(|(own, _)| own != name));
    // What the query can say is said there.
    let queried = route.declared.query.map(|schema| schema().json());
    let in_query = |name: &str| queried.is_some_and(|json| json["properties"].get(name).is_some());
    let mut query = form_urlencoded::Serializer::new(String::new());
    if operation.name == "vicar:renounce_trust" {
        query.append_pair("renounce", "true");
    }
    for (name, id) in rest.iter().filter(|(name, _)| in_query(name)) {
        query.append_pair(name, id);
    }
    Ok(Act {
        route,
        operation: Some(operation),
        method: route.method.clone(),
        params,
        written: None,
        query: query.finish(),
        target: rest,
    })
}

/// The first of those with the most.
trait FirstMax: Iterator + Sized {
    fn first_max<K: Ord>(self, by: impl Fn(&Self::Item) -> K) -> Option<Self::Item> {
        self.fold(None, |best, one| match best {
            Some(best) if by(&best) >= by(&one) => Some(best),
            _ => Some(one),
        })
    }
}

impl<I: Iterator> FirstMax for I {}

/// A body for the request: the least that it takes, with the ids of the target.
///
/// # Errors
/// 400 that names what the target lacks.
pub(super) fn body(desk: Desk<'_>, subject: &Subject, act: &Act, trustee: &str) -> Result<Option<Value>> {
    let Some(declared) = &act.route.declared.body else { return Ok(None) };
    if act.route.path == TOKENS {
        return Ok(Some(login(subject, &act.target)));
    }
    let token = subject.token();
    let of = |name: &str| act.target.get(name).cloned();
    let project = of("project_id").or_else(|| token?.project().map(|project| project.id.clone()));
    if act.is_trust() {
        let project = project.ok_or_else(|| wrong("target", "must name project_id"))?;
        return Ok(Some(trust(desk, subject, act, (project, trustee))?));
    }
    if act.route.path == KEYPAIRS {
        let project = project.ok_or_else(|| wrong("target", "must name project_id"))?;
        return Ok(Some(json!({"tenant_id": project})));
    }
    let schema = (declared.schema)();
    let mut made = least(schema.json(), &with_own(subject, act, schema.json()));
    // A change of nothing is refused to nobody.
    if act.method == Method::PATCH && made.as_object().is_some_and(Map::is_empty) {
        let known = ["description", "name"];
        if let Some(name) = known.into_iter().find(|name| schema.json()["properties"].get(name).is_some()) {
            extra::set(&mut made, name, "explained");
        }
    }
    Ok(Some(match declared.member {
        Some(name) => json!({ name: made }),
        None => made,
    }))
}

/// The ids of the target, and those of the subject's own user, project and domain where a body has to have such.
fn with_own(subject: &Subject, act: &Act, schema: &Value) -> Target {
    let mut ids = act.target.clone();
    if act.method != Method::POST {
        return ids;
    }
    let token = subject.token();
    let project = token.and_then(Token::project);
    let domain = token.and_then(|token| match &token.scope {
        TokenScope::Domain(domain) => Some(domain.id.clone()),
        TokenScope::Project(project) => project.domain_id.clone(),
        TokenScope::Unscoped | TokenScope::System => Some(token.user.domain_id.clone()),
    });
    // In these it is the token's when it is not said.
    let has_domain = matches!(act.route.path, "/v3/users" | "/v3/groups" | "/v3/projects");
    let required = |name: &str| {
        schema["required"].as_array().is_some_and(|all| all.iter().any(|required| required == name))
    };
    for (name, own) in [
        ("user_id", Some(subject.caller.user_id().to_owned())),
        ("project_id", project.map(|project| project.id.clone())),
        ("domain_id", domain),
    ] {
        if let Some(own) = own.filter(|_| required(name) || (has_domain && name == "domain_id")) {
            ids.entry(name.to_owned()).or_insert(own);
        }
    }
    ids
}

/// The smallest trust that there is: of a second, without impersonation.
fn trust(desk: Desk<'_>, subject: &Subject, act: &Act, (project, trustee): (String, &str)) -> Result<Value> {
    let token = subject.token();
    let on_token = token.and_then(Token::project).is_some_and(|own| own.id == project);
    let roles: Vec<Value> = match (act.target.get("role_id"), token.filter(|_| on_token)) {
        (Some(id), _) => vec![json!({"id": id})],
        (None, Some(token)) => token.roles.iter().map(|role| json!({"id": role.id})).collect(),
        (None, None) => return Err(wrong("target", "must name role_id, as the token has no role there")),
    };
    let soon = desk.now().saturating_add(clock::SECOND);
    let until = token.and_then(|token| token.trust.as_ref()?.chain().until().to_option());
    let until = until
        .into_iter()
        .chain(token.and_then(|t| t.application_credential.as_ref()?.credential.until.to_option()))
        .fold(soon, i64::min);
    Ok(json!({"trust": {
        "trustor_user_id": subject.caller.user_id(),
        "trustee_user_id": trustee,
        "project_id": project,
        "impersonation": false,
        "roles": roles,
        "expires_at": clock::iso(until),
    }}))
}

/// An exchange of the token for one of another scope.
fn login(subject: &Subject, target: &Target) -> Value {
    let mut auth = json!({"identity": {"methods": ["token"], "token": {"id": subject.text}}});
    let of = |name: &str| target.get(name);
    let scope = match (of("trust_id"), of("project_id"), of("domain_id")) {
        (Some(id), _, _) => {
            let mut own = json!({"id": id});
            if let Some(external) = of(EXTERNAL) {
                extra::set(&mut own, EXTERNAL, external.as_str());
            }
            json!({"OS-TRUST:trust": own})
        }
        (None, Some(id), _) => json!({"project": {"id": id}}),
        (None, None, Some(id)) => json!({"domain": {"id": id}}),
        (None, None, None) => json!("unscoped"),
    };
    extra::set(&mut auth, "scope", scope);
    json!({ "auth": auth })
}

/// The least that a schema takes, with these ids.
fn least(schema: &Value, target: &Target) -> Value {
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.first().and_then(Value::as_str),
        kind => kind.as_str(),
    };
    if let Some(first) = schema["enum"].get(0) {
        return first.clone();
    }
    match kind {
        Some("object") => {
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let properties = schema["properties"].as_object();
            let known = properties.into_iter().flat_map(Map::keys).map(String::as_str);
            let mut out = Map::new();
            for name in required.chain(known.filter(|name| target.contains_key(*name))) {
                let value = match target.get(name) {
                    Some(id) => id.as_str().into(),
                    None => {
                        properties.and_then(|all| all.get(name)).map_or(Value::Null, |own| least(own, target))
                    }
                };
                out.insert(name.to_owned(), value);
            }
            Value::Object(out)
        }
        Some("array") => match schema["minItems"].as_u64() {
            Some(1..) => json!([least(&schema["items"], target)]),
            _ => json!([]),
        },
        Some("boolean") => json!(false),
        Some("integer" | "number") => schema["minimum"].as_i64().unwrap_or(0).into(),
        _ => json!("explained"),
    }
}
