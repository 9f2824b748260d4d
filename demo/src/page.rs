//! What the reader sees: one line for each step, what was checked below it, and a count in the end.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::Write;

use crate::client::Answer;

/// Lines are at most this wide.
const WIDTH: usize = 80;
/// Where what is told of a step begins, after the mark and the name of who acts.
const MARGIN: usize = 11;

/// The characters that a terminal can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Letters {
    Unicode,
    Ascii,
}

impl Letters {
    /// As the locale says, in the order in which POSIX asks for it.
    fn of_locale() -> Self {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .iter()
            .filter_map(|name| std::env::var(name).ok())
            .find(|value| !value.is_empty())
            .unwrap_or_default()
            .to_ascii_lowercase();
        if locale.contains("utf-8") || locale.contains("utf8") { Self::Unicode } else { Self::Ascii }
    }

    fn mark(self, well: bool) -> &'static str {
        match (self, well) {
            (Self::Unicode, true) => "✓",
            (Self::Unicode, false) => "✗",
            (Self::Ascii, true) => "+",
            (Self::Ascii, false) => "X",
        }
    }

    /// Text as this terminal can show it.
    fn render(self, text: &str) -> String {
        match self {
            Self::Unicode => text.to_owned(),
            Self::Ascii => {
                let mut out = String::with_capacity(text.len());
                for c in text.chars() {
                    match c {
                        '├' => out.push('|'),
                        '└' => out.push('`'),
                        '─' => out.push('-'),
                        '│' => out.push('|'),
                        '→' => out.push_str("->"),
                        '≤' => out.push_str("<="),
                        c if c.is_ascii() => out.push(c),
                        _ => out.push('?'),
                    }
                }
                out
            }
        }
    }
}

/// Prints, and counts what was checked.
#[derive(Debug)]
pub(crate) struct Page {
    letters: Letters,
    /// Ids by the names under which the story knows them.
    names: BTreeMap<String, String>,
    chapters: usize,
    checks: usize,
    failed: usize,
}

impl Page {
    pub(crate) fn new() -> Self {
        Self { letters: Letters::of_locale(), names: BTreeMap::new(), chapters: 0, checks: 0, failed: 0 }
    }

    /// From now on `id` is shown as `name`.
    pub(crate) fn name(&mut self, id: &str, name: &str) {
        self.names.insert(id.to_owned(), name.to_owned());
    }

    /// The name of an id; an unknown one stays as it is.
    pub(crate) fn named<'a>(&'a self, id: &'a str) -> &'a str {
        self.names.get(id).map_or(id, String::as_str)
    }

    /// The names of ids, in their order.
    pub(crate) fn list<'a>(&self, ids: impl IntoIterator<Item = &'a str>) -> String {
        let mut names: Vec<&str> = ids.into_iter().map(|id| self.named(id)).collect();
        names.sort_unstable();
        names.join(" ")
    }

    /// The first lines: what is told, where, and how to read it.
    pub(crate) fn title(&mut self, place: &str) {
        let (well, wrong) = (self.letters.mark(true), self.letters.mark(false));
        self.line("The story of delegated authority");
        self.line("");
        self.paragraph(
            "Alice lets services act for her. Each may hand on what it was given, never more, and a program
             gets a key. One gets what a single task needs, and is paused. Then she takes it all back with one
             deletion, and a colleague takes over what has to go on when she leaves.",
        );
        self.line("");
        self.paragraph(&format!("Played {place}. Times are UTC."));
        self.paragraph(&format!(
            "Each line: who does what, and the server's answer. {well} is as it must be, {wrong} is not."
        ));
    }

    fn paragraph(&mut self, text: &str) {
        for line in wrap(text, WIDTH) {
            self.line(&line);
        }
    }

    /// The title of a chapter.
    pub(crate) fn chapter(&mut self, title: &str) {
        self.chapters += 1;
        self.line("");
        self.line(&format!("{}. {title}", self.chapters));
    }

    /// A step with what was checked.
    pub(crate) fn step(&mut self, step: Step) {
        self.checks += step.checks;
        self.failed += step.wrong.len();
        let mark = self.letters.mark(step.wrong.is_empty());
        let verdict = match step.status {
            None => String::new(),
            Some(status @ 200..=299) => format!("allowed {status}"),
            Some(404) => "gone 404".to_owned(),
            Some(status) => format!("refused {status}"),
        };
        let what = self.readable(&step.what);
        let room = WIDTH - MARGIN - verdict.len() - 1;
        let mut lines = wrap(&what, room).into_iter();
        let first = lines.next().unwrap_or_default();
        self.line(&format!("{mark} {:<8} {} {verdict}", step.who, pad(&first, room)));
        let facts: Vec<String> = step.facts.iter().map(|f| self.readable(f)).collect();
        let mut below: Vec<String> = lines.collect();
        below.extend(flow(&facts, WIDTH - MARGIN));
        below.extend(step.wrong.iter().flat_map(|w| wrap(&self.readable(w), WIDTH - MARGIN)));
        for line in below {
            self.line(&format!("{:MARGIN$}{line}", ""));
        }
    }

    /// A line as it is.
    pub(crate) fn line(&mut self, line: &str) {
        // Nobody reading any more is no reason to leave things behind on a server.
        let _ = writeln!(std::io::stdout(), "{}", self.letters.render(line.trim_end()));
    }

    /// The last line.
    pub(crate) fn end(&mut self, told: bool) {
        let broken_off = if told { "" } else { "The story breaks off here. " };
        let well = match self.failed {
            0 if self.checks == 0 => return self.line(&format!("{broken_off}Nothing was checked.")),
            0 if !told => "as it must be so far".to_owned(),
            0 => "all as it must be".to_owned(),
            n => format!("{n} NOT as it must be"),
        };
        self.line("");
        self.line(&format!("{broken_off}{} checks, {well}.", self.checks));
    }

    /// How many checks failed.
    pub(crate) fn failed(&self) -> usize {
        self.failed
    }

    /// A text with names in the place of ids.
    pub(crate) fn readable(&self, text: &str) -> String {
        self.names.iter().fold(text.to_owned(), |text, (id, name)| text.replace(id.as_str(), name))
    }
}

/// Something that somebody does, how it was answered, and what was checked about that.
#[derive(Debug)]
pub(crate) struct Step {
    who: &'static str,
    what: String,
    status: Option<u16>,
    checks: usize,
    facts: Vec<String>,
    wrong: Vec<String>,
}

impl Step {
    pub(crate) fn by(who: &'static str, what: impl Into<String>) -> Self {
        Self { who, what: what.into(), status: None, checks: 0, facts: Vec::new(), wrong: Vec::new() }
    }

    /// Checks the status.
    pub(crate) fn answered(mut self, answer: &Answer, expected: u16) -> Self {
        self.checks += 1;
        self.status = Some(answer.status);
        if answer.status != expected {
            let why = answer.reason().map(|r| format!(" ({r})")).unwrap_or_default();
            self.wrong.push(format!("status: expected {expected}, got {}{why}", answer.status));
        }
        self
    }

    /// Checks the status of a refusal, and shows the server's words for it.
    pub(crate) fn refused(self, answer: &Answer, expected: u16) -> Self {
        let words = answer.reason().unwrap_or_default().trim_end_matches('.');
        let step = self.answered(answer, expected);
        if answer.status == expected && !words.is_empty() { step.says(format!("\"{words}\"")) } else { step }
    }

    /// Checks that two things are the same, and shows it.
    pub(crate) fn is(mut self, label: &str, expected: impl Display, got: impl Display) -> Self {
        let (expected, got) = (expected.to_string(), got.to_string());
        self.checks += 1;
        if expected == got {
            self.facts.push(format!("{label} {got}"));
        } else {
            let got = if got.is_empty() { "nothing" } else { &got };
            self.wrong.push(format!("{label}: expected {expected}, got {got}"));
        }
        self
    }

    /// Checks anything else, and shows it.
    pub(crate) fn holds(mut self, fact: impl Into<String>, true_: bool) -> Self {
        self.checks += 1;
        if true_ {
            self.facts.push(fact.into());
        } else {
            self.wrong.push(format!("expected: {}; it is not so", fact.into()));
        }
        self
    }

    /// Shows without checking.
    pub(crate) fn says(mut self, fact: impl Into<String>) -> Self {
        self.facts.push(fact.into());
        self
    }
}

fn pad(text: &str, width: usize) -> String {
    let filled = text.chars().count();
    format!("{text}{}", " ".repeat(width.saturating_sub(filled)))
}

/// Breaks a text at its blanks. A word that is longer than a line stays whole.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Lines of facts, with a semicolon between two. A fact is broken only if it is longer than a line.
fn flow(facts: &[String], width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for (i, fact) in facts.iter().enumerate() {
        let fact = if i + 1 < facts.len() { format!("{fact};") } else { fact.clone() };
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + fact.chars().count() <= width => {
                line.push(' ');
                line.push_str(&fact);
            }
            _ => lines.extend(wrap(&fact, width)),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_broken_at_blanks() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("", 7), Vec::<String>::new());
        assert_eq!(wrap("unbreakable a", 3), ["unbreakable", "a"]);
    }

    #[test]
    fn facts_stay_whole_where_they_can() {
        let facts = ["one two", "three", "four five six seven"].map(str::to_owned);
        assert_eq!(flow(&facts, 14), ["one two;", "three;", "four five six", "seven"]);
        assert_eq!(flow(&facts, 15), ["one two; three;", "four five six", "seven"]);
    }

    #[test]
    fn a_terminal_without_unicode_gets_ascii() {
        let shown = Letters::Ascii.render("├─ a → b └─ ≤ é");
        assert_eq!(shown, "|- a -> b `- <= ?");
    }

    #[test]
    fn a_difference_is_told_and_counted() {
        let step =
            Step::by("x", "does it").is("user", "alice", "bob").is("role", "a", "a").holds("late", false);
        assert_eq!(step.checks, 3);
        assert_eq!(step.wrong, ["user: expected alice, got bob", "expected: late; it is not so"]);
        assert_eq!(step.facts, ["role a"]);
    }
}
