//! What a mapping comes to.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Map, Value, json};

use super::document::check_projects_json;
use super::{Fault, Mapping, Requirement, Test, Version, literal, pattern, template};

type Result<T> = std::result::Result<T, Fault>;

/// Who somebody is here, by a mapping.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapped {
    /// The user: `name`, `id`, `email`, `domain`, `type`.
    pub user: Map<String, Value>,
    /// Ids of groups, each once.
    pub group_ids: Vec<Value>,
    /// Groups by name and domain.
    pub group_names: Vec<Value>,
    /// Projects, each with its roles.
    pub projects: Vec<Value>,
}

impl Mapped {
    /// As Keystone's own tool prints it.
    pub fn to_json(&self) -> Value {
        json!({
            "user": self.user,
            "group_ids": self.group_ids,
            "group_names": self.group_names,
            "projects": self.projects,
        })
    }
}

impl Mapping {
    /// Evaluates it for attributes by name. A semicolon separates several values of one.
    ///
    /// # Errors
    /// [`Fault`] when it comes to nothing.
    pub fn evaluate(&self, attributes: &BTreeMap<String, String>) -> Result<Mapped> {
        let mut said = Vec::new();
        for rule in &self.rules {
            let Some(found) = found(&rule.remote, attributes)? else { continue };
            for local in &rule.local {
                said.push(self.fill(local, &found)?);
            }
        }
        self.gather(said)
    }

    /// A local part with values in the place of `{0}`.
    fn fill(&self, local: &Map<String, Value>, found: &[Vec<String>]) -> Result<Map<String, Value>> {
        let mut filled = Map::new();
        for (name, value) in local {
            let value = match value {
                Value::String(text) if name == "projects_json" && self.version >= Version::V3 => {
                    projects_json(text, found)?
                }
                other => fill_value(other, found)?,
            };
            filled.insert(name.clone(), value);
        }
        Ok(filled)
    }

    fn gather(&self, said: Vec<Map<String, Value>>) -> Result<Mapped> {
        let Some(last) = said.last() else { return Err(Fault::NothingMapped) };
        let last_domain = last.get("domain").cloned();
        let mut user = Map::new();
        let (mut group_ids, mut group_names, mut projects) = (Vec::new(), Vec::new(), Vec::new());
        let mut by_domain: Vec<(Value, Vec<Value>)> = Vec::new();
        for one in said {
            if let (true, Some(Value::Object(first))) = (user.is_empty(), one.get("user")) {
                user = first.clone();
            }
            if let Some(group) = one.get("group") {
                match group.get("id") {
                    Some(id) => add_once(&mut group_ids, id.clone()),
                    None => group_names.extend(with_group(&mut by_domain, group)),
                }
            }
            if let Some(Value::String(groups)) = one.get("groups") {
                group_names.extend(named_groups(groups, one.get("domain"))?);
            }
            if let Some(Value::String(ids)) = one.get("group_ids") {
                for id in list_or_one(ids) {
                    if id.is_array() || id.is_object() {
                        return Err(Fault::GroupIds);
                    }
                    add_once(&mut group_ids, id);
                }
            }
            if one.contains_key("projects") || one.contains_key("projects_json") {
                projects = self.projects_of(&one);
            }
        }
        if user.get("type").is_none_or(Value::is_null) {
            user.insert("type".into(), "ephemeral".into());
        }
        if self.version >= Version::V2 {
            set_domain(&mut user, last_domain.as_ref());
        }
        Ok(Mapped { user, group_ids, group_names, projects })
    }

    /// The projects of one local part.
    fn projects_of(&self, one: &Map<String, Value>) -> Vec<Value> {
        let of = |name: &str| one.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
        let mut projects = of("projects");
        if self.version >= Version::V3 {
            projects.extend(of("projects_json"));
        }
        if self.version >= Version::V2 {
            for project in projects.iter_mut().filter_map(Value::as_object_mut) {
                set_domain(project, one.get("domain"));
            }
        }
        projects
    }
}

/// Sets the domain of a local part where there is no other; null if the part has none.
fn set_domain(object: &mut Map<String, Value>, domain: Option<&Value>) {
    let has_own = object.get("domain").and_then(Value::as_object).is_some_and(|own| !own.is_empty());
    if !has_own {
        object.insert("domain".into(), domain.cloned().unwrap_or_default());
    }
}

fn fill_value(value: &Value, found: &[Vec<String>]) -> Result<Value> {
    Ok(match value {
        Value::String(text) => template::fill(text, found)?.into(),
        Value::Array(items) => {
            items.iter().map(|item| fill_value(item, found)).collect::<Result<Vec<_>>>()?.into()
        }
        Value::Object(members) => {
            let filled = members.iter().map(|(name, value)| Ok((name.clone(), fill_value(value, found)?)));
            filled.collect::<Result<Map<_, _>>>()?.into()
        }
        other => other.clone(),
    })
}

/// The projects that an attribute says: `{0}` or `0` is its number.
fn projects_json(text: &str, found: &[Vec<String>]) -> Result<Value> {
    let number = text.strip_prefix('{').unwrap_or(text);
    let end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    let number = number.get(..end).and_then(|n| n.parse::<usize>().ok());
    let number = number.ok_or_else(|| Fault::ProjectsJson(format!("{text:?} is no number in braces")))?;
    let projects: Value = match found.get(number).map(Vec::as_slice) {
        None => return Err(Fault::NoSuchMatch(text.to_owned())),
        Some([one]) => serde_json::from_str(one).map_err(|_| Fault::ProjectsJson("is no JSON".into()))?,
        Some(several) => several.into(),
    };
    check_projects_json(&projects).map_err(|malformed| Fault::ProjectsJson(malformed.to_string()))?;
    Ok(projects)
}

fn add_once(all: &mut Vec<Value>, one: Value) {
    if !all.contains(&one) {
        all.push(one);
    }
}

/// Adds a group to those of its domain, and returns all that there are by now: those of one domain by their names,
/// each where the first of its name was, as the last of them says.
fn with_group(by_domain: &mut Vec<(Value, Vec<Value>)>, group: &Value) -> Vec<Value> {
    let domain = &group["domain"];
    let name = domain.get("name").filter(|name| name.as_str() != Some(""));
    let key = name.or(domain.get("id")).cloned().unwrap_or_default();
    match by_domain.iter_mut().find(|(domain, _)| *domain == key) {
        Some((_, groups)) => match groups.iter_mut().find(|known| known["name"] == group["name"]) {
            Some(known) => *known = group.clone(),
            None => groups.push(group.clone()),
        },
        None => by_domain.push((key, vec![group.clone()])),
    }
    by_domain.iter().flat_map(|(_, groups)| groups.clone()).collect()
}

/// A list in Python's spelling, or a single value.
fn list_or_one(text: &str) -> Vec<Value> {
    literal::list(text).unwrap_or_else(|| vec![text.into()])
}

/// What `groups` says: names, to which the domain belongs, or objects that have both.
fn named_groups(groups: &str, domain: Option<&Value>) -> Result<Vec<Value>> {
    let names = list_or_one(groups);
    if !groups.contains("name") {
        let domain = domain.ok_or(Fault::GroupsWithoutDomain)?;
        return Ok(names.into_iter().map(|name| json!({"name": name, "domain": domain})).collect());
    }
    let mut all = Vec::new();
    for name in names {
        let Value::String(text) = name else { return Err(Fault::Groups) };
        let group = match text.strip_prefix("JSON:") {
            // As Keystone has it: whatever letters of the mark begin the rest, too.
            Some(rest) => {
                let json = rest.trim_start_matches(['J', 'S', 'O', 'N', ':']);
                serde_json::from_str(json).map_err(|_| Fault::Groups)?
            }
            None => Value::String(text),
        };
        let has_domain = match &group {
            Value::String(text) => text.contains("domain"),
            Value::Object(members) => members.contains_key("domain"),
            Value::Array(items) => items.iter().any(|item| item == "domain"),
            _ => return Err(Fault::Groups),
        };
        if !has_domain {
            return Err(Fault::GroupsWithoutDomain);
        }
        all.push(group);
    }
    Ok(all)
}

/// What the remote part of a rule finds; nothing when the rule does not fit.
fn found(remote: &[Requirement], attributes: &BTreeMap<String, String>) -> Result<Option<Vec<Vec<String>>>> {
    let mut found = Vec::new();
    for requirement in remote {
        let Some(text) = attributes.get(&requirement.attribute) else { return Ok(None) };
        let values: Vec<String> = text.split(';').map(str::to_owned).collect();
        if requirement.test == Test::Present {
            found.push(values);
            continue;
        }
        let listed = Listed::of(requirement)?;
        let has_any = || values.iter().any(|v| listed.has(v));
        match requirement.test {
            Test::AnyOneOf(_) if !has_any() => return Ok(None),
            Test::NotAnyOf(_) if has_any() => return Ok(None),
            Test::Blacklist(_) => found.push(each_once(values.into_iter().filter(|v| !listed.has(v)))),
            Test::Whitelist(_) => {
                let those = values.into_iter().filter(|v| listed.has(v));
                found.push(if requirement.regex { those.collect() } else { each_once(those) });
            }
            Test::AnyOneOf(_) | Test::NotAnyOf(_) | Test::Present => {}
        }
    }
    Ok(Some(found))
}

fn each_once(values: impl Iterator<Item = String>) -> Vec<String> {
    let mut once: Vec<String> = Vec::new();
    for value in values {
        if !once.contains(&value) {
            once.push(value);
        }
    }
    once
}

/// What values are compared with.
enum Listed<'r> {
    Strings(&'r [Value]),
    Patterns(Vec<Regex>),
}

impl<'r> Listed<'r> {
    fn of(requirement: &'r Requirement) -> Result<Self> {
        let values = requirement.test.values();
        if !requirement.regex {
            let comparable = !values.iter().any(|v| v.is_array() || v.is_object());
            return if comparable { Ok(Self::Strings(values)) } else { Err(Fault::Value) };
        }
        let compiled = values.iter().map(|value| {
            let text = value.as_str().ok_or(Fault::Value)?;
            pattern::compile(text).map_err(|fault| Fault::Pattern(text.to_owned(), fault))
        });
        Ok(Self::Patterns(compiled.collect::<Result<_>>()?))
    }

    fn has(&self, value: &str) -> bool {
        match self {
            Self::Strings(all) => all.iter().any(|listed| listed == value),
            Self::Patterns(all) => all.iter().any(|pattern| pattern.is_match(value)),
        }
    }
}
