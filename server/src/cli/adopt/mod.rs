//! `vicar doctor --adopt`: what it means to serve a Keystone's users from its own configuration, database
//! and keys, said before anything is changed.
//!
//! `options` judges the configuration file, `keys` the key repositories, `stored` what is in the database,
//! `beside` what holds while the Keystone goes on serving.

mod beside;
mod keys;
mod options;
mod stored;

use serde_json::json;

use super::failure::Failure;
use super::installation::{self, Installation};
use super::print;
use crate::config::{Config, Ini};

/// How a finding came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// It works here as it does there.
    Ok,
    /// It works, but otherwise.
    Differs,
    /// It works when this is done.
    Todo,
    /// Somebody or something that works there does not work here.
    Fail,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Differs => "differs",
            Self::Todo => "todo",
            Self::Fail => "FAIL",
        }
    }
}

#[derive(Debug)]
struct Finding {
    group: &'static str,
    verdict: Verdict,
    about: String,
    text: String,
}

/// All that was found, in groups.
#[derive(Debug, Default)]
struct Report {
    group: &'static str,
    findings: Vec<Finding>,
}

impl Report {
    /// What comes next is about this.
    fn group(&mut self, name: &'static str) {
        self.group = name;
    }

    fn add(&mut self, verdict: Verdict, about: &str, text: impl std::fmt::Display) {
        // A finding is one line, whatever an error's text brings along.
        let text = text.to_string().replace('\n', " ");
        self.findings.push(Finding { group: self.group, verdict, about: about.to_owned(), text });
    }

    fn ok(&mut self, about: &str, text: impl std::fmt::Display) {
        self.add(Verdict::Ok, about, text);
    }

    fn differs(&mut self, about: &str, text: impl std::fmt::Display) {
        self.add(Verdict::Differs, about, text);
    }

    fn todo(&mut self, about: &str, text: impl std::fmt::Display) {
        self.add(Verdict::Todo, about, text);
    }

    fn fail(&mut self, about: &str, text: impl std::fmt::Display) {
        self.add(Verdict::Fail, about, text);
    }

    /// `ok` when there are none, else a finding that says how many.
    fn none_or(&mut self, verdict: Verdict, about: &str, count: i64, meaning: &str) {
        match count {
            0 => self.ok(about, "none"),
            n => self.add(verdict, about, format_args!("{n}: {meaning}")),
        }
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.findings.iter().filter(|f| f.verdict == verdict).count()
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut group = "";
        for f in &self.findings {
            if f.group != group {
                if !group.is_empty() {
                    lines.push(String::new());
                }
                group = f.group;
                lines.push(group.to_owned());
            }
            lines.push(format!("{:<7}  {}: {}", f.verdict.word(), f.about, f.text));
        }
        lines.push(String::new());
        lines.push(format!(
            "{} ok, {} differ, {} to do, {} failed; nothing was changed",
            self.count(Verdict::Ok),
            self.count(Verdict::Differs),
            self.count(Verdict::Todo),
            self.count(Verdict::Fail)
        ));
        lines
    }

    fn json(&self) -> serde_json::Value {
        let findings: Vec<_> = self
            .findings
            .iter()
            .map(|f| json!({"group": f.group, "verdict": f.verdict.word(), "about": f.about, "text": f.text}))
            .collect();
        json!({"findings": findings, "failed": self.count(Verdict::Fail)})
    }
}

/// Looks at everything and says it.
pub(super) async fn run(at: &Installation, as_json: bool) -> Result<(), Failure> {
    let mut r = Report::default();
    inspect(&mut r, at).await;
    if as_json {
        print(r.json());
    } else {
        r.lines().into_iter().for_each(print);
    }
    match r.count(Verdict::Fail) {
        0 => Ok(()),
        n => Err(Failure::ChecksFailed(n)),
    }
}

async fn inspect(r: &mut Report, at: &Installation) {
    r.group("Configuration");
    if at.config_files.is_empty() {
        return r.fail("files", "none: name the Keystone's with --config-file /etc/keystone/keystone.conf");
    }
    let read = Ini::of(&at.config_files).map_err(Failure::from).and_then(|ini| {
        let config = Config::from_ini(&ini, &at.data_dir)?;
        Ok((ini, config))
    });
    let (ini, config) = match read {
        Ok(both) => both,
        Err(e) => return r.fail("files", format_args!("{e}; nothing else was looked at")),
    };
    options::judge(r, at, &ini, &config);
    r.group("Keys");
    keys::judge(r, &config);
    stored::judge(r, &config).await;
    r.group("Beside the Keystone");
    beside::judge(r, &ini, &config, installation::clock().now());
}
