//! `vicar policy`: what an operator's rules come to here.

use std::io::BufRead;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use vicar_rules::policy::{Effective, Fact, Facts, Found, OPERATIONS, Scope, Subject, Trait, Unknown};

use super::explain;
use super::failure::Failure;
use super::installation::Installation;
use super::{EXIT_CODES, nearest, print};
use crate::policy_file::{self, Loaded};

#[derive(Debug, Subcommand)]
pub(super) enum Policy {
    /// Say of each rule of the policy files what it comes to here: understood, guards nothing, refuses everybody, allows
    /// more than the shipped rule, can be passed by nobody, or seems to be misspelt
    #[command(after_help = EXIT_CODES)]
    Check(Which),
    /// Show each operation with its rule, the scopes of tokens that may ask for it, where the rule is from, and the routes
    #[command(after_help = EXIT_CODES)]
    Show(explain::Show),
    /// Say why a caller may do something or not: which rule decides, with which facts, and what each check comes to. It
    /// looks into the database and the keys, and writes nothing
    #[command(after_help = EXIT_CODES)]
    Explain(explain::Explain),
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
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Check(which) => check(&which),
            Self::Show(show) => show.run(),
            Self::Explain(explain) => explain.run().await,
            Self::List(which) => list(&which),
            Self::Ask(which) => ask(&which),
        }
    }
}

impl Which {
    fn load(&self) -> Result<Loaded, Failure> {
        load(&self.at, self.file.as_deref())
    }
}

/// The policy of a file, or of the configuration.
pub(super) fn load(at: &Installation, file: Option<&Path>) -> Result<Loaded, Failure> {
    let options = at.config()?.policy;
    let loaded = match file {
        Some(file) => policy_file::load_file(file, &options),
        None => policy_file::load(&options),
    };
    loaded.map_err(Failure::Config)
}

/// What is found in a rule by comparison with the shipped one, and by looking for somebody who passes it.
#[derive(Debug, Default)]
struct Compared {
    /// Checks that hold in an example of what it allows and the shipped rule does not.
    wider: Option<Vec<String>>,
    /// Nobody passes it.
    nobody: bool,
    /// The name that it may be meant to have.
    nearest: Option<&'static str>,
}

impl Compared {
    fn of(loaded: &Loaded, shipped: &vicar_rules::policy::Policy, rule: &Effective<'_>) -> Self {
        let Some(row) = OPERATIONS.iter().find(|row| row.name == rule.name) else {
            let nearest = nearest::operation(rule.name).filter(|_| !rule.asked);
            return Self { nearest, ..Self::default() };
        };
        if rule.refuses {
            return Self::default();
        }
        let wider = match loaded.policy.allows_more_than(shipped, row.op) {
            Found::Example(checks) => Some(checks),
            Found::Nothing | Found::TooMuch => None,
        };
        let nobody = rule.overridden && loaded.policy.can_be_passed(row.op) == Found::Nothing;
        Self { wider, nobody, nearest: None }
    }

    fn texts(&self) -> Vec<String> {
        let mut texts = Vec::new();
        match self.wider.as_deref() {
            None => {}
            Some([]) => texts.push("it allows what the shipped rule refuses, with any token".to_owned()),
            Some(checks) => texts.push(format!(
                "it allows what the shipped rule refuses, for example with {}",
                checks.join(" and ")
            )),
        }
        if self.nobody {
            texts.push("nobody can pass it".to_owned());
        }
        if let Some(name) = self.nearest {
            texts.push(format!("did you mean {name}?"));
        }
        texts
    }
}

/// What a rule comes to.
fn meaning(rule: &Effective<'_>, compared: &Compared) -> (&'static str, String) {
    let mut text: Vec<String> = rule.unknown.iter().map(|unknown| unknown.to_string()).collect();
    // One that is denied is named already.
    if rule.unknown.is_empty() {
        let missing = rule.missing.iter();
        text.extend(missing.map(|name| format!("`rule:{name}` holds for nobody, as there is no such rule")));
    }
    if rule.refuses && text.is_empty() {
        text.push("it refers to a rule that refuses everybody".to_owned());
    }
    if !rule.asked {
        text.push("nothing here asks for it, so it guards nothing".to_owned());
    }
    text.extend(compared.texts());
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
    let shipped = vicar_rules::policy::Policy::with([], &which.at.config()?.policy.default_rule);
    let compared = rules.iter().map(|rule| (rule, Compared::of(&loaded, &shipped, rule)));
    let shown: Vec<(&Effective<'_>, Compared)> =
        compared.filter(|(r, c)| r.overridden || r.refuses || c.wider.is_some()).collect();
    let count = |word: &str| shown.iter().filter(|(r, c)| meaning(r, c).0 == word).count();
    let (ok, idle, refuses) = (count("ok"), count("idle"), count("refuses"));
    if which.json {
        let rules: Vec<Value> =
            shown.iter().map(|(rule, compared)| to_json(&loaded, rule, compared)).collect();
        print(json!({"files": loaded.files, "rules": rules, "refuses": refuses}));
    } else {
        for (rule, compared) in &shown {
            let (word, text) = meaning(rule, compared);
            print(format_args!("{word:<7}  {}: {}", rule.name, text.replace('\n', " ")));
        }
        match loaded.files.as_slice() {
            [] if loaded.searched.is_empty() => print("no policy file: the shipped rules hold"),
            [] => print(format_args!(
                "no policy file: the shipped rules hold; looked in {}",
                policy_file::list(&loaded.searched)
            )),
            files => print(format_args!(
                "{}: {ok} understood, {idle} guard nothing, {refuses} refuse everybody{}",
                policy_file::list(files),
                more(&shown)
            )),
        }
        for name in &loaded.absent {
            print(format_args!("[oslo_policy] policy_dirs: {name} is not there"));
        }
    }
    if refuses == 0 { Ok(()) } else { Err(Failure::ChecksFailed(refuses)) }
}

/// What else is counted, where there is some.
fn more(shown: &[(&Effective<'_>, Compared)]) -> String {
    let wider = shown.iter().filter(|(_, c)| c.wider.is_some()).count();
    let nobody = shown.iter().filter(|(_, c)| c.nobody).count();
    let mut text = String::new();
    for (n, what) in [(wider, "allow more than the shipped rules"), (nobody, "can be passed by nobody")] {
        if n > 0 {
            text.push_str(&format!(", {n} {what}"));
        }
    }
    text
}

fn list(which: &Which) -> Result<(), Failure> {
    let loaded = which.load()?;
    let rules = loaded.policy.effective();
    if which.json {
        print(Value::Array(rules.iter().map(|rule| to_json(&loaded, rule, &Compared::default())).collect()));
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

/// The file that a rule is from.
pub(super) fn source(loaded: &Loaded, name: &str) -> String {
    loaded.sources.get(name).map_or_else(|| "shipped".to_owned(), |file| file.display().to_string())
}

fn to_json(loaded: &Loaded, rule: &Effective<'_>, compared: &Compared) -> Value {
    let unknown = |u: &&Unknown| json!({"check": u.check, "why": u.why});
    json!({
        "name": rule.name,
        "rule": rule.text,
        "source": source(loaded, rule.name),
        "meaning": meaning(rule, compared).0,
        "asked": rule.asked,
        "refuses": rule.refuses,
        "missing": rule.missing,
        "unknown": rule.unknown.iter().map(unknown).collect::<Vec<_>>(),
        "wider": compared.wider,
        "nobody": compared.nobody,
        "nearest": compared.nearest,
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
