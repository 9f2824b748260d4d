//! `/v3/domains/{domain_id}/config`: options that a domain has otherwise than the rest. Keystone's drivers read them;
//! here `[identity] list_limit` is looked at, and the others are kept.

pub mod http;
pub mod sql;

use serde_json::{Map, Value};
use vicar_rules::policy::Facts;

use crate::authz::{Caller, Object};
use crate::config::domain::{DomainOptions, Kept};
use crate::error::{Error, Result};

/// The configuration of a domain, as an object. What rules may know of it is in the path.
#[derive(Debug)]
pub struct DomainConfig {
    /// The id of the domain.
    pub domain_id: String,
}

impl Object for DomainConfig {
    fn facts(&self, _caller: &Caller) -> Result<Facts> {
        Ok(Facts::none())
    }
}

/// A stored option.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// Its group.
    pub group: String,
    /// Its name.
    pub option: String,
    /// Its value.
    pub value: Value,
    /// How it is kept.
    pub kept: Kept,
}

/// What every engine stores of a value.
const LONGEST: usize = 65_535;

/// Of which part of a configuration a path speaks.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// The group; the whole without one.
    pub group: Option<&'a str>,
    /// The option of the group; all of them without one.
    pub option: Option<&'a str>,
}

impl Part<'_> {
    /// Checks that a domain can have it.
    ///
    /// # Errors
    /// 403 when it cannot.
    pub fn check(&self, options: &DomainOptions) -> Result<()> {
        match (self.group, self.option) {
            (Some(group), Some(option)) => known(options, group, option).map(drop),
            (Some(group), None) if !options.has_group(group) => Err(no_group(group)),
            _ => Ok(()),
        }
    }

    /// 404: nothing is stored of it.
    pub fn missing(&self, domain: &str) -> Error {
        let what = match (self.group, self.option) {
            (Some(group), Some(option)) => format!("option {option} in group {group}"),
            (Some(group), None) => format!("group {group}"),
            _ => "any options".to_owned(),
        };
        Error::NotFoundBecause(format!("Could not find {what} in domain configuration for domain {domain}."))
    }

    /// The options of a body, whose form is that of the part: of one option only that, of one group only that.
    ///
    /// # Errors
    /// 403 for what a domain cannot have, or is not of the part.
    pub fn read(&self, body: &Map<String, Value>, options: &DomainOptions) -> Result<Vec<Setting>> {
        let Part { group: Some(group), option: Some(option) } = *self else {
            if body.is_empty() {
                return Err(invalid("No options specified"));
            }
            let settings = read_groups(body, options)?;
            return match self.group {
                Some(group) if body.len() != 1 || !body.contains_key(group) => {
                    Err(invalid(&format!("only the group {group} can be changed there")))
                }
                _ => Ok(settings),
            };
        };
        let settings = read_group(group, body, options)?;
        match settings.as_slice() {
            [only] if only.option == option => Ok(settings),
            _ => Err(invalid(&format!("only the option {option} in group {group} can be changed there"))),
        }
    }
}

fn read_groups(body: &Map<String, Value>, options: &DomainOptions) -> Result<Vec<Setting>> {
    let mut all = Vec::new();
    for (group, of_group) in body {
        match of_group.as_object().filter(|o| !o.is_empty()) {
            Some(of_group) => all.extend(read_group(group, of_group, options)?),
            None => return Err(invalid(&format!("the group {group} must be an object of options"))),
        }
    }
    Ok(all)
}

fn read_group(group: &str, body: &Map<String, Value>, options: &DomainOptions) -> Result<Vec<Setting>> {
    let one = |(option, value): (&String, &Value)| {
        let kept = known(options, group, option)?;
        if value.to_string().len() > LONGEST {
            return Err(Error::field(&format!("config.{group}.{option}"), "is longer than 65535 bytes"));
        }
        Ok(Setting { group: group.to_owned(), option: option.clone(), value: value.clone(), kept })
    };
    if body.is_empty() {
        return Err(invalid("No options specified"));
    }
    body.iter().map(one).collect()
}

fn known(options: &DomainOptions, group: &str, option: &str) -> Result<Kept> {
    if !options.has_group(group) {
        return Err(no_group(group));
    }
    options.kept(group, option).ok_or_else(|| {
        invalid(&format!(
            "Option {option} in group {group} is not supported for domain specific configurations"
        ))
    })
}

fn no_group(group: &str) -> Error {
    invalid(&format!("Group {group} is not supported for domain specific configurations"))
}

/// 403 as Keystone has it.
pub(crate) fn invalid(why: &str) -> Error {
    Error::Forbidden(format!("Invalid domain specific configuration: {why}."))
}

/// Settings as clients see them: by group, or those of the one option that was asked for.
pub(crate) fn to_json(settings: Vec<Setting>, part: Part<'_>) -> Value {
    let mut shown = Map::new();
    for setting in settings {
        if part.option.is_some() {
            shown.insert(setting.option, setting.value);
            continue;
        }
        let of_group = shown.entry(setting.group).or_insert_with(|| Value::Object(Map::new()));
        if let Some(of_group) = of_group.as_object_mut() {
            of_group.insert(setting.option, setting.value);
        }
    }
    shown.into()
}
