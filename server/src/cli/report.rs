//! What `doctor` finds, with and without `--adopt`.

use serde_json::json;

use super::terminal::{Screen, Style};

/// How a finding came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As it must be.
    Ok,
    /// It works, but something should be done.
    Warn,
    /// It works, but not as on a Keystone.
    Differs,
    /// It works when this is done.
    Todo,
    /// Something is broken, or does not work here.
    Fail,
}

impl Verdict {
    /// The word that lines and JSON use for it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Differs => "differs",
            Self::Todo => "todo",
            Self::Fail => "FAIL",
        }
    }

    fn style(self) -> Style {
        match self {
            Self::Ok => Style::Green,
            Self::Warn | Self::Differs | Self::Todo => Style::Yellow,
            Self::Fail => Style::Red,
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

/// All findings, in groups.
#[derive(Debug, Default)]
pub(super) struct Report {
    group: &'static str,
    findings: Vec<Finding>,
}

impl Report {
    /// Begins a group: what is added next belongs to it.
    pub(super) fn group(&mut self, name: &'static str) {
        self.group = name;
    }

    /// Adds a finding.
    pub(super) fn add(&mut self, verdict: Verdict, about: &str, text: impl std::fmt::Display) {
        // A finding is one line, whatever the text of an error contains.
        let text = text.to_string().replace('\n', " ");
        self.findings.push(Finding { group: self.group, verdict, about: about.to_owned(), text });
    }

    pub(super) fn ok(&mut self, about: &str, text: impl std::fmt::Display) {
        self.add(Verdict::Ok, about, text);
    }

    pub(super) fn warn(&mut self, about: &str, text: impl std::fmt::Display) {
        self.add(Verdict::Warn, about, text);
    }

    pub(super) fn differs(&mut self, about: &str, text: impl std::fmt::Display) {
        self.add(Verdict::Differs, about, text);
    }

    pub(super) fn todo(&mut self, about: &str, text: impl std::fmt::Display) {
        self.add(Verdict::Todo, about, text);
    }

    pub(super) fn fail(&mut self, about: &str, text: impl std::fmt::Display) {
        self.add(Verdict::Fail, about, text);
    }

    /// `ok` with one text if `good`, else `bad` with another.
    pub(super) fn judge(
        &mut self,
        good: bool,
        bad: Verdict,
        about: &str,
        fine: impl std::fmt::Display,
        wrong: impl std::fmt::Display,
    ) {
        if good { self.ok(about, fine) } else { self.add(bad, about, wrong) }
    }

    /// `ok` if there are none, else a finding with the number.
    pub(super) fn none_or(&mut self, verdict: Verdict, about: &str, count: i64, meaning: &str) {
        match count {
            0 => self.ok(about, "none"),
            n => self.add(verdict, about, format_args!("{n}: {meaning}")),
        }
    }

    /// The number of findings with a verdict.
    pub(super) fn count(&self, verdict: Verdict) -> usize {
        self.findings.iter().filter(|f| f.verdict == verdict).count()
    }

    /// Takes the names of groups away.
    pub(super) fn ungroup(&mut self) {
        for finding in &mut self.findings {
            finding.group = "";
        }
    }

    /// One line for each finding, below the names of their groups. The words are padded to `width` characters. On a
    /// terminal, long lines go on below their text.
    pub(super) fn lines(&self, width: usize, screen: Screen) -> Vec<String> {
        let mut lines = Vec::new();
        let mut group = "";
        for f in &self.findings {
            if f.group != group {
                if !group.is_empty() {
                    lines.push(String::new());
                }
                group = f.group;
                lines.push(screen.paint(Style::Bold, group));
            }
            let word = screen.paint(f.verdict.style(), &format!("{:<width$}", f.verdict.word()));
            let indent = width + 2;
            let text = screen.wrap(&format!("{}: {}", f.about, f.text), indent);
            for (i, line) in text.into_iter().enumerate() {
                lines.push(match i {
                    0 => format!("{word}  {line}"),
                    _ => format!("{:indent$}{line}", ""),
                });
            }
        }
        lines
    }

    /// The same for programs.
    pub(super) fn json(&self) -> serde_json::Value {
        let findings: Vec<_> = self
            .findings
            .iter()
            .map(|f| json!({"group": f.group, "verdict": f.verdict.word(), "about": f.about, "text": f.text}))
            .collect();
        json!({"findings": findings, "failed": self.count(Verdict::Fail)})
    }
}
