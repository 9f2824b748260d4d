//! `vicar policy`: what an operator's rules come to here.

use std::io::BufRead;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use vicar_rules::policy::{Effective, Fact, Facts, OPERATIONS, Scope, Subject, Trait, Unknown};

use super::failure::Failure;
use super::installation::Installation;
use super::{EXIT_CODES, print};
use crate::policy_file::{self, Loaded};

#[derive(Debug, Subcommand)]
pub(super) enum Policy {
    /// Say of each rule of the policy files what it comes to here: understood, guards nothing, or refuses everybody
    #[command(after_help = EXIT_CODES)]
    Check(Which),
    /// Show all rules in force, with where they are from. The output is a policy file
    List(Which),
    /// Decide questions on standard input, one a line: `{"rule": NAME, "token": {…}, "target": {…}}`. The token is as
    /// clients see it; the kinds of scope of the operation are looked at too
    Ask(Which),
}

#[derive(Debug, Args)]
pub(super) struct Which {
    #[command(flatten)]
    at: Installation,
    /// A policy file, in the place of those that the configuration leads to
    file: Option<PathBuf>,
    /// JSON for programs
    #[arg(long)]
    json: bool,
}

impl Policy {
    pub(super) fn run(&self) -> Result<(), Failure> {
        match self {
            Self::Check(which) => check(which),
            Self::List(which) => list(which),
            Self::Ask(which) => ask(which),
        }
    }
}

impl Which {
    fn load(&self) -> Result<Loaded, Failure> {
        let options = self.at.config()?.policy;
        let loaded = match &self.file {
            Some(file) => policy_file::load_file(file, &options),
            None => policy_file::load(&options),
        };
        loaded.map_err(Failure::Config)
    }
}

/// What a rule comes to.
fn meaning(rule: &Effective<'_>) -> (&'static str, String) {
    let mut text: Vec<String> = rule.unknown.iter().map(|unknown| unknown.to_string()).collect();
    if rule.refuses && text.is_empty() {
        text.push("it refers to a rule that refuses everybody".to_owned());
    }
    if !rule.asked {
        text.push("nothing here asks for it, so it guards nothing".to_owned());
    }
    let word = match (rule.refuses, rule.asked) {
        (true, _) => "refuses",
        (false, false) => "idle",
        (false, true) => "ok",
    };
    (word, if text.is_empty() { "understood".to_owned() } else { text.join("; ") })
}

fn check(which: &Which) -> Result<(), Failure> {
    let loaded = which.load()?;
    let rules = loaded.policy.effective();
    // Shipped ones are of interest when an operator's rule takes something from them.
    let shown: Vec<&Effective<'_>> = rules.iter().filter(|r| r.overridden || r.refuses).collect();
    let count = |word: &str| shown.iter().filter(|r| meaning(r).0 == word).count();
    let (ok, idle, refuses) = (count("ok"), count("idle"), count("refuses"));
    if which.json {
        let rules: Vec<Value> = shown.iter().map(|rule| to_json(&loaded, rule)).collect();
        print(json!({"files": loaded.files, "rules": rules, "refuses": refuses}));
    } else {
        for rule in &shown {
            let (word, text) = meaning(rule);
            print(format_args!("{word:<7}  {}: {}", rule.name, text.replace('\n', " ")));
        }
        match loaded.files.as_slice() {
            [] if loaded.searched.is_empty() => print("no policy file: the shipped rules hold"),
            [] => print(format_args!(
                "no policy file: the shipped rules hold; looked in {}",
                policy_file::list(&loaded.searched)
            )),
            files => print(format_args!(
                "{}: {ok} understood, {idle} guard nothing, {refuses} refuse everybody",
                policy_file::list(files)
            )),
        }
        for name in &loaded.absent {
            print(format_args!("[oslo_policy] policy_dirs: {name} is not there"));
        }
    }
    if refuses == 0 { Ok(()) } else { Err(Failure::ChecksFailed(refuses)) }
}

fn list(which: &Which) -> Result<(), Failure> {
    let loaded = which.load()?;
    let rules = loaded.policy.effective();
    if which.json {
        print(Value::Array(rules.iter().map(|rule| to_json(&loaded, rule)).collect()));
        return Ok(());
    }
    for rule in rules {
        // A JSON text is a YAML text.
        let name = Value::from(rule.name);
        let text = if rule.is_string { Value::from(rule.text).to_string() } else { rule.text.to_owned() };
        print(format_args!("{name}: {text}  # {}", source(&loaded, rule.name)));
    }
    Ok(())
}

fn source(loaded: &Loaded, name: &str) -> String {
    loaded.sources.get(name).map_or_else(|| "shipped".to_owned(), |file| file.display().to_string())
}

fn to_json(loaded: &Loaded, rule: &Effective<'_>) -> Value {
    let unknown = |u: &&Unknown| json!({"check": u.check, "why": u.why});
    json!({
        "name": rule.name,
        "rule": rule.text,
        "source": source(loaded, rule.name),
        "meaning": meaning(rule).0,
        "asked": rule.asked,
        "refuses": rule.refuses,
        "unknown": rule.unknown.iter().map(unknown).collect::<Vec<_>>(),
    })
}

fn ask(which: &Which) -> Result<(), Failure> {
    let loaded = which.load()?;
    for (i, line) in std::io::stdin().lock().lines().enumerate() {
        let wrong = |e: String| Failure::Failed(format!("question {}: {e}", i + 1));
        let line = line.map_err(|e| wrong(e.to_string()))?;
        let question: Value = serde_json::from_str(&line).map_err(|e| wrong(e.to_string()))?;
        let rule = text(&question, "/rule").ok_or_else(|| wrong("`rule` is missing".into()))?;
        let subject = subject(&question).map_err(wrong)?;
        let facts = facts(question.get("target")).map_err(wrong)?;
        let allowed = match OPERATIONS.iter().find(|o| o.name == rule) {
            Some(row) => loaded.policy.allows(row.op, &subject, &facts),
            None => loaded.policy.holds(&rule, &subject, &facts),
        };
        print(allowed);
    }
    Ok(())
}

fn text(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
}

/// The caller with a token as clients see it.
fn subject(question: &Value) -> Result<Subject, String> {
    let at = |pointer: &str| text(question, &format!("/token{pointer}"));
    let all = |list: &str, field: &str| -> Vec<String> {
        let items = question.pointer(&format!("/token/{list}")).and_then(Value::as_array);
        items.into_iter().flatten().filter_map(|item| text(item, field)).collect()
    };
    let scope = match (at("/project/id"), at("/domain/id"), question.pointer("/token/system/all")) {
        (Some(id), None, None) => Scope::Project { id, domain: at("/project/domain/id") },
        (None, Some(id), None) => Scope::Domain(id),
        (None, None, Some(Value::Bool(true))) => Scope::System,
        (None, None, None) => Scope::Unscoped,
        _ => return Err("`token` has more than one scope".into()),
    };
    let user = at("/user/id").ok_or("`token.user.id` is missing")?;
    let mut subject = Subject::new(user, all("roles", "/name"), scope)
        .with(Trait::RoleIds, all("roles", "/id"))
        .with(Trait::Methods, all("methods", ""));
    for (which, pointer) in [
        (Trait::UserName, "/user/name"),
        (Trait::UserDomain, "/user/domain/id"),
        (Trait::UserDomainName, "/user/domain/name"),
        (Trait::ProjectName, "/project/name"),
        (Trait::ProjectDomainName, "/project/domain/name"),
        (Trait::DomainName, "/domain/name"),
        (Trait::ApplicationCredential, "/application_credential/id"),
        (Trait::ApplicationCredentialName, "/application_credential/name"),
    ] {
        if let Some(value) = at(pointer) {
            subject = subject.with(which, [value]);
        }
    }
    for (which, pointer) in [
        (Trait::ProjectIsDomain, "/token/is_domain"),
        (Trait::ApplicationCredentialRestricted, "/token/application_credential/restricted"),
    ] {
        if let Some(flag) = question.pointer(pointer).and_then(Value::as_bool) {
            subject = subject.with_flag(which, flag);
        }
    }
    Ok(subject)
}

fn facts(target: Option<&Value>) -> Result<Facts, String> {
    let empty = Map::new();
    let map = target.and_then(Value::as_object).unwrap_or(&empty);
    let mut facts = Facts::none();
    for (key, value) in map {
        let fact = Fact::named(key).ok_or_else(|| format!("`{key}` is no fact that policy can see here"))?;
        facts = match value {
            Value::Null => facts.with_opt(fact, None::<&str>),
            Value::Bool(flag) => facts.with_flag(fact, *flag),
            Value::String(text) => facts.with(fact, text),
            Value::Array(all) => facts.with_all(fact, all.iter().filter_map(Value::as_str)),
            Value::Number(_) | Value::Object(_) => {
                return Err(format!("`{key}` has a value that no fact has"));
            }
        };
    }
    Ok(facts)
}

/// What `doctor` says of the policy: the fault that keeps the server from starting, or what holds.
pub(super) fn findings(loaded: &Loaded) -> Vec<(bool, String)> {
    let rules = loaded.policy.effective();
    let own = rules.iter().filter(|r| r.overridden);
    let (asked, idle): (Vec<_>, Vec<_>) = own.partition(|r| r.asked);
    let mut found = Vec::new();
    match loaded.files.as_slice() {
        [] => found.push((true, "no policy file, so the shipped rules hold".to_owned())),
        files => found.push((
            true,
            format!(
                "read from {}; {} of the rules there are asked for",
                policy_file::list(files),
                asked.len()
            ),
        )),
    }
    if !idle.is_empty() {
        let names: Vec<&str> = idle.iter().map(|r| r.name).collect();
        found.push((true, format!("nothing here asks for {}; they guard nothing", names.join(", "))));
    }
    for (unknown, rules) in loaded.policy.unknown() {
        let names: Vec<&str> = rules.iter().map(String::as_str).collect();
        found.push((
            false,
            format!(
                "{} refuse everybody, with all that refer to them, because of {unknown}",
                names.join(", ")
            ),
        ));
    }
    for name in &loaded.absent {
        found.push((false, format!("[oslo_policy] policy_dirs: {name} is not there")));
    }
    found
}
