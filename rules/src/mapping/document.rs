//! Which documents are mappings.

use serde_json::{Map, Value};

use super::{Malformed, Mapping, Requirement, Rule, Test, Version, pattern};

type Result<T> = std::result::Result<T, Malformed>;

/// Regular expressions of one mapping: each takes a millisecond or more to be read.
const MOST_PATTERNS: usize = 200;

/// Where in a document something is.
#[derive(Debug, Clone)]
struct At(String);

impl At {
    fn item(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    fn member(&self, name: &str) -> Self {
        Self(if self.0.is_empty() { name.to_owned() } else { format!("{}.{name}", self.0) })
    }

    fn wrong<T>(&self, problem: impl Into<String>) -> Result<T> {
        let at = if self.0.is_empty() { "mapping" } else { &self.0 };
        Err(Malformed { at: at.to_owned(), problem: problem.into() })
    }

    fn object<'v>(&self, value: &'v Value) -> Result<&'v Map<String, Value>> {
        value.as_object().map_or_else(|| self.wrong("must be an object"), Ok)
    }

    fn list<'v>(&self, value: &'v Value) -> Result<&'v Vec<Value>> {
        value.as_array().map_or_else(|| self.wrong("must be a list"), Ok)
    }

    fn string<'v>(&self, value: &'v Value) -> Result<&'v str> {
        value.as_str().map_or_else(|| self.wrong("must be a string"), Ok)
    }

    fn only(&self, object: &Map<String, Value>, names: &[&str]) -> Result<()> {
        match object.keys().find(|name| !names.contains(&name.as_str())) {
            Some(other) => {
                self.member(other).wrong(format!("is not known here; known are {}", names.join(", ")))
            }
            None => Ok(()),
        }
    }

    fn required<'v>(&self, object: &'v Map<String, Value>, name: &str) -> Result<&'v Value> {
        object.get(name).map_or_else(|| self.member(name).wrong("is required"), Ok)
    }

    /// An object whose members are strings of these names.
    fn strings(&self, value: &Value, names: &[&str]) -> Result<()> {
        let object = self.object(value)?;
        self.only(object, names)?;
        for (name, value) in object {
            self.member(name).string(value)?;
        }
        Ok(())
    }
}

impl Mapping {
    /// Reads a document that has `rules`. A version that it names itself does not count: give the one that does.
    ///
    /// # Errors
    /// Where it is no mapping of that version.
    pub fn parse(document: &Map<String, Value>, version: Version) -> Result<Self> {
        let at = At(String::new());
        let given = at.required(document, "rules")?;
        let at = at.member("rules");
        let rules = at.list(given)?;
        if rules.is_empty() {
            return at.wrong("must not be empty");
        }
        let rules = rules.iter().enumerate().map(|(n, rule)| read_rule(&at.item(n), rule, version));
        Ok(Self { version, rules: rules.collect::<Result<_>>()? })
    }

    /// Checks that this server's engine takes all regular expressions.
    ///
    /// # Errors
    /// The first that it does not.
    pub fn check_patterns(&self) -> Result<()> {
        let all = self.rules.iter().flat_map(|rule| &rule.remote).filter(|r| r.regex);
        if all.map(|r| r.test.values().len()).sum::<usize>() > MOST_PATTERNS {
            return At("rules".to_owned())
                .wrong(format!("have more than {MOST_PATTERNS} regular expressions"));
        }
        for (n, rule) in self.rules.iter().enumerate() {
            for (m, requirement) in rule.remote.iter().enumerate().filter(|(_, r)| r.regex) {
                let at = At(format!("rules[{n}].remote[{m}]"));
                for value in requirement.test.values() {
                    let Some(text) = value.as_str() else {
                        return at.wrong("a regular expression must be a string");
                    };
                    if let Err(fault) = pattern::compile(text) {
                        return at.wrong(format!("{} {fault}", pattern::shown(text)));
                    }
                }
            }
        }
        Ok(())
    }
}

fn read_rule(at: &At, rule: &Value, version: Version) -> Result<Rule> {
    let object = at.object(rule)?;
    at.only(object, &["local", "remote"])?;
    let (local, remote) = (at.required(object, "local")?, at.required(object, "remote")?);
    let at_local = at.member("local");
    let mut locals = Vec::new();
    for (n, value) in at_local.list(local)?.iter().enumerate() {
        let at = at_local.item(n);
        let object = at.object(value)?;
        check_local(&at, object, version)?;
        locals.push(object.clone());
    }
    let at_remote = at.member("remote");
    let remotes = at_remote.list(remote)?;
    if remotes.is_empty() {
        return at_remote.wrong("must not be empty");
    }
    let remote = remotes.iter().enumerate().map(|(n, value)| requirement(&at_remote.item(n), value));
    Ok(Rule { local: locals, remote: remote.collect::<Result<_>>()? })
}

fn check_local(at: &At, local: &Map<String, Value>, version: Version) -> Result<()> {
    for (name, value) in local {
        let at = at.member(name);
        match name.as_str() {
            "user" => check_user(&at, value)?,
            "projects" => check_projects(&at, value, version)?,
            "group" => check_group(&at, value)?,
            "groups" | "group_ids" => drop(at.string(value)?),
            "domain" => domain(&at, value)?,
            "projects_json" if version >= Version::V3 => drop(at.string(value)?),
            _ => {
                return at
                    .wrong("is not known here; known are user, projects, group, groups, group_ids, domain");
            }
        }
    }
    Ok(())
}

fn domain(at: &At, value: &Value) -> Result<()> {
    at.strings(value, &["id", "name"])
}

fn check_user(at: &At, value: &Value) -> Result<()> {
    let user = at.object(value)?;
    at.only(user, &["id", "name", "email", "domain", "type"])?;
    for (name, value) in user {
        let at = at.member(name);
        match name.as_str() {
            "domain" => domain(&at, value)?,
            "type" if !matches!(at.string(value)?, "ephemeral" | "local") => {
                return at.wrong("must be ephemeral or local");
            }
            _ => drop(at.string(value)?),
        }
    }
    Ok(())
}

/// By its id alone, or by its name and domain.
fn check_group(at: &At, value: &Value) -> Result<()> {
    let group = at.object(value)?;
    if group.contains_key("id") {
        return at.strings(value, &["id"]);
    }
    at.only(group, &["name", "domain"])?;
    at.member("name").string(at.required(group, "name")?)?;
    domain(&at.member("domain"), at.required(group, "domain")?)
}

/// Checks a list of projects with roles.
fn check_projects(at: &At, value: &Value, version: Version) -> Result<()> {
    for (n, project) in at.list(value)?.iter().enumerate() {
        let at = at.item(n);
        let project = at.object(project)?;
        let known: &[&str] =
            if version >= Version::V2 { &["name", "roles", "domain"] } else { &["name", "roles"] };
        at.only(project, known)?;
        at.member("name").string(at.required(project, "name")?)?;
        if let Some(value) = project.get("domain") {
            domain(&at.member("domain"), value)?;
        }
        let at_roles = at.member("roles");
        for (n, role) in at_roles.list(at.required(project, "roles")?)?.iter().enumerate() {
            let at = at_roles.item(n);
            at.required(at.object(role)?, "name")?;
            at.strings(role, &["name"])?;
        }
    }
    Ok(())
}

/// The same of what an attribute says.
pub(super) fn check_projects_json(value: &Value) -> Result<()> {
    check_projects(&At("projects".to_owned()), value, Version::V2)
}

fn requirement(at: &At, value: &Value) -> Result<Requirement> {
    const TESTS: [&str; 4] = ["any_one_of", "not_any_of", "blacklist", "whitelist"];
    let object = at.object(value)?;
    at.only(object, &["type", "any_one_of", "not_any_of", "blacklist", "whitelist", "regex"])?;
    let attribute = at.member("type").string(at.required(object, "type")?)?.to_owned();
    let given: Vec<&str> = TESTS.into_iter().filter(|name| object.contains_key(*name)).collect();
    let regex = match object.get("regex") {
        None => false,
        Some(Value::Bool(regex)) => *regex,
        Some(_) => return at.member("regex").wrong("must be true or false"),
    };
    let (name, values) = match given.as_slice() {
        [] if object.contains_key("regex") => return at.member("regex").wrong("is about no values"),
        [] => return Ok(Requirement { attribute, test: Test::Present, regex }),
        [name] => (*name, at.member(name).list(at.required(object, name)?)?.clone()),
        several => return at.wrong(format!("can have one of {}", several.join(", "))),
    };
    let test = match name {
        "any_one_of" => Test::AnyOneOf(values),
        "not_any_of" => Test::NotAnyOf(values),
        "blacklist" => Test::Blacklist(values),
        _ => Test::Whitelist(values),
    };
    Ok(Requirement { attribute, test, regex })
}
