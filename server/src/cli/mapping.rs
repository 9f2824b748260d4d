//! `vicar mapping`: what the rules of a mapping come to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Map, Value};
use vicar_rules::mapping::{Mapping, Version};

use super::failure::Failure;
use super::{EXIT_CODES, print};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Evaluate rules for what an identity provider says of somebody, and print who that is here, as JSON
    #[command(after_help = EXIT_CODES)]
    Test(Test),
}

#[derive(Debug, Args)]
pub(super) struct Test {
    /// The rules: JSON with `rules`, or their list alone
    #[arg(long, value_name = "FILE")]
    rules: PathBuf,
    /// The attributes, one a line: `NAME: VALUE`, with semicolons between several values
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Only attributes whose names begin so
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,
    /// The version of the language, over that of the file; 1.0 without either
    #[arg(long, value_name = "VERSION")]
    mapping_schema_version: Option<String>,
}

impl Command {
    pub(super) fn run(&self) -> Result<(), Failure> {
        match self {
            Self::Test(test) => test.run(),
        }
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|e| Failure::Io(format!("{}: {e}", path.display())))
}

impl Test {
    fn run(&self) -> Result<(), Failure> {
        let wrong =
            |what: &dyn std::fmt::Display| Failure::Failed(format!("{}: {what}", self.rules.display()));
        let document: Value = serde_json::from_str(&read(&self.rules)?).map_err(|e| wrong(&e))?;
        let document = match document {
            Value::Object(document) => document,
            rules => Map::from_iter([("rules".to_owned(), rules)]),
        };
        let named = document.get("schema_version").and_then(Value::as_str);
        let named = self.mapping_schema_version.as_deref().or(named).unwrap_or("1.0");
        let version =
            Version::named(named).ok_or_else(|| wrong(&format_args!("there is no version {named}")))?;
        let mapping = Mapping::parse(&document, version).map_err(|e| wrong(&e))?;
        mapping.check_patterns().map_err(|e| wrong(&e))?;
        let mapped = mapping.evaluate(&self.attributes()?).map_err(|e| wrong(&e))?;
        print(format_args!("{:#}", mapped.to_json()));
        Ok(())
    }

    fn attributes(&self) -> Result<BTreeMap<String, String>, Failure> {
        let mut all = BTreeMap::new();
        for (n, line) in read(&self.input)?.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let Some((name, value)) = line.split_once(':') else {
                return Err(Failure::Failed(format!("{}: line {}: no colon", self.input.display(), n + 1)));
            };
            let (name, value) = (name.trim(), value.trim());
            if self.prefix.as_ref().is_none_or(|prefix| name.starts_with(prefix.as_str())) {
                all.insert(name.to_owned(), value.to_owned());
            }
        }
        Ok(all)
    }
}
