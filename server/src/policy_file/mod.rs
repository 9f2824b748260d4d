//! An operator's policy: where it is found, and what it is put together from.
//!
//! As with oslo.policy, the rules of the file `[oslo_policy] policy_file` are laid over the shipped ones, and over
//! them those in the directories `policy_dirs`, file by file. One thing is stricter: a file that the configuration
//! names and that is not there is an error, as its rules are missing.

mod find;
mod yaml;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use vicar_rules::policy::{Override, Policy};

use crate::config::PolicyOptions;

/// What is looked for when no file is named. The second is what older releases read.
const DEFAULT_FILES: [&str; 2] = ["policy.yaml", "policy.json"];

/// A policy, with what it was put together from.
#[derive(Debug)]
pub struct Loaded {
    /// The rules in force.
    pub policy: Policy,
    /// The files that hold an operator's rules, in their order: later ones win.
    pub files: Vec<PathBuf>,
    /// The file of each of these rules.
    pub sources: BTreeMap<String, PathBuf>,
    /// The directories in which relative names were searched.
    pub searched: Vec<PathBuf>,
    /// Directories of policies that the configuration names and that are not there.
    pub absent: Vec<String>,
    /// Whether the configuration names a file.
    pub named: bool,
}

/// The files that hold a policy, before they are read.
#[derive(Debug, Default)]
pub struct Found {
    /// In their order: later ones win.
    pub files: Vec<PathBuf>,
    searched: Vec<PathBuf>,
    absent: Vec<String>,
    named: bool,
}

/// Finds the files of a policy.
///
/// # Errors
/// A sentence for the operator: a file that is named is not there, or a directory cannot be read.
pub fn find(options: &PolicyOptions) -> Result<Found, String> {
    let searched = find::directories(&options.config_files);
    let mut files = Vec::new();
    match &options.file {
        Some(name) => match find::find(name, &searched) {
            Some(file) => files.push(file),
            None if options.may_be_absent => {}
            None => return Err(missing(name, &searched)),
        },
        None => files.extend(DEFAULT_FILES.iter().find_map(|name| find::find(name, &searched))),
    }
    let mut absent = Vec::new();
    for name in &options.dirs {
        match find::find(name, &searched) {
            Some(dir) => files.extend(
                find::files_of(&dir)
                    .map_err(|e| format!("[oslo_policy] policy_dirs: {}: {e}", dir.display()))?,
            ),
            None if options.dirs_named => absent.push(name.clone()),
            None => {}
        }
    }
    let named = options.file.is_some();
    Ok(Found { files, searched, absent, named })
}

/// Finds and reads the policy of a configuration.
///
/// # Errors
/// As [`find`], and when a file cannot be read.
pub fn load(options: &PolicyOptions) -> Result<Loaded, String> {
    let Found { files, searched, absent, named } = find(options)?;
    let loaded = load_files(files, options)?;
    Ok(Loaded { searched, absent, named, ..loaded })
}

/// The policy of one file.
///
/// # Errors
/// As [`load`].
pub fn load_file(file: &Path, options: &PolicyOptions) -> Result<Loaded, String> {
    load_files(vec![file.to_owned()], options)
}

fn load_files(files: Vec<PathBuf>, options: &PolicyOptions) -> Result<Loaded, String> {
    let (mut rules, mut sources) = (Vec::new(), BTreeMap::new());
    for file in &files {
        let more = read(file)?;
        sources.extend(more.iter().map(|rule| (rule.name.clone(), file.clone())));
        rules.extend(more);
    }
    let mut policy = Policy::with(rules, &options.default_rule);
    policy.admin_project.clone_from(&options.admin_project);
    Ok(Loaded { policy, files, sources, searched: Vec::new(), absent: Vec::new(), named: true })
}

fn read(file: &Path) -> Result<Vec<Override>, String> {
    std::fs::read_to_string(file)
        .map_err(|e| e.to_string())
        .and_then(|text| yaml::parse(&text))
        .map_err(|e| format!("{}: {e}", file.display()))
}

const ACCEPT: &str = ". To start all the same: --accept policy-file";

fn missing(name: &str, searched: &[PathBuf]) -> String {
    let option = "[oslo_policy] policy_file";
    if Path::new(name).is_absolute() {
        return format!("{option}: {name} is not there{ACCEPT}");
    }
    if searched.is_empty() {
        return format!(
            "{option}: {name} cannot be looked for, as there is no configuration file to look beside"
        );
    }
    format!("{option}: {name} is not there; it was looked for in {}{ACCEPT}", list(searched))
}

/// Paths in a sentence.
pub fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ")
}

impl Loaded {
    /// Logs which rules are in force, and which of them refuse everybody.
    pub fn log(&self) {
        let default = DEFAULT_FILES[0];
        if !self.files.is_empty() {
            tracing::info!(files = list(&self.files), "policy: these files hold an operator's rules");
        } else if self.named {
            tracing::warn!(
                searched = list(&self.searched),
                "policy: the shipped rules, as the file of [oslo_policy] policy_file is not there"
            );
        } else if self.searched.is_empty() {
            tracing::info!("policy: the shipped rules");
        } else {
            tracing::info!(
                looked_for = default,
                searched = list(&self.searched),
                "policy: the shipped rules, as there is no file with others"
            );
        }
        for name in &self.absent {
            tracing::warn!(
                directory = name,
                "policy: this directory of `[oslo_policy] policy_dirs` is not there"
            );
        }
        for (unknown, rules) in self.policy.unknown() {
            let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
            tracing::warn!(
                check = unknown.check,
                why = unknown.why,
                rules = rules.join(", "),
                "policy: this has no meaning here, so these rules refuse everybody"
            );
        }
    }
}
