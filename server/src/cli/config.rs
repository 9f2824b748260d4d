//! `vicar config`, and what a start says of the configuration.

use std::collections::BTreeSet;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::failure::Failure;
use super::installation::Installation;
use super::{doubts, left_behind, policy, print};
use crate::config::foreign::{self, Effect, Findings};
use crate::config::options::{self, Kind, Opt};
use crate::config::{Base, Config, Ini};
use crate::oidc::Providers;
use crate::policy_file;
use crate::store::url::Location;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check the configuration files as a start of the server does: what is wrong, what does nothing, what may be misspelt
    Check(Check),
    /// Show what is in effect, and whence it is: a file with its line, a variable, or the default
    Show(Show),
}

#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    at: Installation,
    #[command(flatten)]
    accept: Accept,
}

#[derive(Debug, Args)]
pub(super) struct Show {
    #[command(flatten)]
    at: Installation,
    /// Only what is not the default
    #[arg(long)]
    set: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What an operator knows to be missing here.
#[derive(Debug, Clone, Args)]
pub(super) struct Accept {
    /// Start although a configured thing is not there; the refusal says its NAME. May be given several times
    #[arg(long, value_name = "NAME", env = "VICAR_ACCEPT", value_delimiter = ',', value_parser = known_name)]
    accept: Vec<String>,
}

fn known_name(text: &str) -> Result<String, String> {
    let mut names = foreign::acceptable();
    names.extend(left_behind::names());
    names.sort_unstable();
    names.dedup();
    // An empty variable names nothing.
    if text.is_empty() || names.contains(&text) {
        Ok(text.to_owned())
    } else {
        Err(format!("expected one of {}", names.join(", ")))
    }
}

impl Accept {
    /// Whether the absence of this was accepted.
    pub(super) fn has(&self, name: &str) -> bool {
        self.accept.iter().any(|a| a == name)
    }

    /// Refuses a configuration in which something is named that is not there here, and that logins or rules rely on.
    pub(super) fn check(&self, findings: &Findings) -> Result<(), Failure> {
        let refused: Vec<String> = findings
            .refused(&self.accept)
            .map(|(name, f)| format!("{} {}. To start all the same: --accept {name}", f.option, f.text))
            .collect();
        if refused.is_empty() { Ok(()) } else { Err(Failure::Config(refused.join("; "))) }
    }
}

/// Writes to the log what the configuration names and what does not work here: a line each.
pub(super) fn log(ini: &Ini, config: &Config, findings: &Findings) {
    let files: Vec<String> = ini.files().iter().map(|f| f.display().to_string()).collect();
    if !files.is_empty() {
        tracing::info!(files = files.join(", "), "configuration");
    }
    for f in &findings.foreign {
        tracing::warn!(option = f.option, "configuration: {}", f.text);
    }
    for (option, meant) in &findings.unknown {
        tracing::warn!(option, "configuration: {}", unknown(meant.as_deref()));
    }
    for name in &config.unknown {
        tracing::warn!(option = name, "configuration: this is not understood, and left out");
    }
    for (about, text) in doubts::configured(config) {
        tracing::warn!(about, "configuration: {text}");
    }
    if !findings.idle.is_empty() {
        tracing::info!(options = findings.idle.join(", "), "configuration: nothing follows from these here");
    }
}

/// What is to be said of an option that is not known.
pub(super) fn unknown(meant: Option<&str>) -> String {
    match meant {
        Some(meant) => format!("there is no such option, so it does nothing; is {meant} meant?"),
        None => "there is no such option, so it does nothing".to_owned(),
    }
}

impl Command {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Check(c) => c.run(),
            Self::Show(c) => c.run(),
        }
    }
}

impl Check {
    fn run(self) -> Result<(), Failure> {
        let (ini, mut config) = self.at.read()?;
        let findings = foreign::judge(&ini, &config);
        for file in ini.files() {
            print(format_args!("read    {}", file.display()));
        }
        let read = ini.names().filter(|(s, o)| options::find(s, o).is_some()).count();
        print(format_args!("ok      {read} options are honoured"));
        if !findings.idle.is_empty() {
            print(format_args!("ok      nothing follows here from {}", findings.idle.join(", ")));
        }
        for f in &findings.foreign {
            let (word, more) = match f.effect {
                Effect::Refused(name, _) if self.accept.has(name) => ("accepted", String::new()),
                Effect::Refused(name, _) => ("refused", format!(" (--accept {name})")),
                Effect::Todo(_) => ("todo   ", String::new()),
                Effect::Differs(_) | Effect::Nothing => ("differs", String::new()),
            };
            print(format_args!("{word} {} {}{more}", f.option, f.text));
        }
        for (option, meant) in &findings.unknown {
            print(format_args!("unknown {option}: {}", unknown(meant.as_deref())));
        }
        for name in &config.unknown {
            print(format_args!("unknown {name}: is not understood, and left out"));
        }
        self.accept.check(&findings)?;
        config.policy.may_be_absent = self.accept.has(foreign::POLICY_FILE);
        let loaded = policy_file::load(&config.policy).map_err(Failure::Config)?;
        for (good, text) in policy::findings(&loaded) {
            print(format_args!("{} policy: {text}", if good { "ok     " } else { "todo   " }));
        }
        for (about, text) in doubts::configured(&config) {
            print(format_args!("todo    {about}: {text}"));
        }
        Providers::new(&config.oidc).map_err(Failure::Config)?;
        Ok(())
    }
}

/// One line of `config show`.
struct Row {
    name: String,
    value: Option<String>,
    whence: String,
}

impl Show {
    fn run(self) -> Result<(), Failure> {
        // What cannot be used is said before anything is shown.
        let (ini, config) = self.at.read()?;
        let rows: Vec<Row> = shown(&ini)
            .filter(|(section, o)| !self.set || ini.value(section, o.name).is_some())
            .map(|(section, o)| row((section, o), &ini, &config, self.at.base(&ini)))
            .collect();
        if self.json {
            let all: Vec<Value> =
                rows.iter().map(|r| json!({"option": r.name, "value": r.value, "from": r.whence})).collect();
            print(Value::from(all));
            return Ok(());
        }
        for r in rows {
            print(format_args!(
                "{} = {}    # {}",
                r.name,
                r.value.as_deref().unwrap_or("(not set)"),
                r.whence
            ));
        }
        Ok(())
    }
}

/// The table, and its rows once more for each section like `[oidc.campus]`.
fn shown(ini: &Ini) -> impl Iterator<Item = (&str, &'static Opt)> {
    let below: BTreeSet<&str> = ini.names().map(|(section, _)| section).filter(|s| s.contains('.')).collect();
    let below = below.into_iter().flat_map(|section| {
        let is_its =
            move |o: &&Opt| options::find(section, o.name).is_some_and(|its| its.section == o.section);
        options::OPTIONS.iter().filter(is_its).map(move |o| (section, o))
    });
    options::OPTIONS.iter().map(|o| (o.section, o)).chain(below)
}

fn row((section, o): (&str, &Opt), ini: &Ini, config: &Config, base: Base<'_>) -> Row {
    let name = format!("[{section}] {}", o.name);
    let section = if ini.value(section, o.name).is_some() { section } else { o.section };
    let set = ini.value(section, o.name);
    let value = match set {
        Some(_) if o.is_secret() => Some("(set, not shown)".to_owned()),
        // Without its password.
        Some(_) if (o.section, o.name) == ("database", "connection") => {
            Some(match &config.database.location {
                Location::Sqlite(path) => format!("sqlite:///{}", path.display()),
                server => server.to_string(),
            })
        }
        Some(text) => Some(text.replace('\n', ",")),
        None => default(o.kind, base),
    };
    let whence = match ini.source(section, o.name).filter(|_| set.is_some()) {
        Some(source) => source.to_string(),
        None => "default".to_owned(),
    };
    Row { name, value, whence }
}

fn default(kind: Kind, base: Base<'_>) -> Option<String> {
    match (kind, base) {
        (Kind::InData(name, _), Base::Data(dir)) => Some(dir.join(name).display().to_string()),
        (Kind::InData(_, theirs), Base::Keystone) => theirs.map(str::to_owned),
        _ => kind.default_text(),
    }
}
