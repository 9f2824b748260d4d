//! oslo.policy's rule language: `rule:x or (role:reader and domain_id:%(target.user.domain_id)s)`.

use super::Fact;

/// A parsed rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// `@` or the empty rule.
    Everybody,
    /// `!`
    Nobody,
    /// `not x`
    Not(Box<Check>),
    /// `x and y`
    All(Vec<Check>),
    /// `x or y`
    Any(Vec<Check>),
    /// `rule:name`
    Rule(String),
    /// `role:name`, compared without case
    Role(String),
    /// `system_scope:all`
    SystemScope(String),
    /// `is_admin:1`: the configured admin token
    AdminToken,
    /// `reader_only:True`: all that the token holds is the role `reader` (ours)
    ReaderOnly,
    /// `any_role:True`: the token holds a role at all (ours)
    AnyRole,
    /// `user_id:…`
    User(Right),
    /// `project_id:…`
    Project(Right),
    /// `domain_id:…` and `token.domain.id:…`: the domain that the token is scoped to
    Domain(Right),
    /// `token.project.domain.id:…`
    ProjectDomain(Right),
    /// `'text':%(fact)s`
    Literal(String, Fact),
    /// `None:%(fact)s`
    Absent(Fact),
}

/// What stands right of the colon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Right {
    /// `%(key)s`
    Fact(Fact),
    /// A word.
    Literal(String),
    /// `None`
    None,
}

/// A rule that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError(pub String);

impl std::fmt::Display for ParseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ParseError {}

impl Check {
    /// Reads a rule. A check of an unknown kind or fact is an error, not a guess.
    pub fn parse(rule: &str) -> Result<Self, ParseError> {
        let words = words(rule);
        if words.is_empty() {
            return Ok(Self::Everybody);
        }
        let mut parser = Parser { words: &words, at: 0, depth: 0 };
        let check = parser.any()?;
        match parser.peek() {
            None => Ok(check),
            Some(word) => Err(ParseError(format!("`{word}` is not expected in `{rule}`"))),
        }
    }
}

/// Splits into words and parentheses; parentheses inside `%(…)s` belong to their word.
fn words(rule: &str) -> Vec<String> {
    let mut out = Vec::new();
    for raw in rule.split_whitespace() {
        let mut word = raw;
        while let Some(rest) = word.strip_prefix('(') {
            out.push("(".to_owned());
            word = rest;
        }
        // Those that the word itself does not open.
        let surplus = word.matches(')').count().saturating_sub(word.matches('(').count());
        let closing = surplus.min(word.len() - word.trim_end_matches(')').len());
        word = &word[..word.len() - closing];
        if !word.is_empty() {
            out.push(word.to_owned());
        }
        out.extend(std::iter::repeat_n(")".to_owned(), closing));
    }
    out
}

struct Parser<'a> {
    words: &'a [String],
    at: usize,
    depth: u8,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&str> {
        self.words.get(self.at).map(String::as_str)
    }

    fn take(&mut self, word: &str) -> bool {
        let hit = self.peek().is_some_and(|w| w.eq_ignore_ascii_case(word));
        self.at += usize::from(hit);
        hit
    }

    fn any(&mut self) -> Result<Check, ParseError> {
        let mut parts = vec![self.all()?];
        while self.take("or") {
            parts.push(self.all()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Check::Any(parts) })
    }

    fn all(&mut self) -> Result<Check, ParseError> {
        let mut parts = vec![self.one()?];
        while self.take("and") {
            parts.push(self.one()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Check::All(parts) })
    }

    fn one(&mut self) -> Result<Check, ParseError> {
        if self.depth > 60 {
            return Err(ParseError("nested too deep".into()));
        }
        self.depth += 1;
        let check = if self.take("not") {
            Check::Not(Box::new(self.one()?))
        } else if self.take("(") {
            let inner = self.any()?;
            if !self.take(")") {
                return Err(ParseError("a parenthesis is not closed".into()));
            }
            inner
        } else {
            let word = self.peek().ok_or_else(|| ParseError("the rule ends too early".into()))?.to_owned();
            self.at += 1;
            atom(&word)?
        };
        self.depth -= 1;
        Ok(check)
    }
}

fn atom(word: &str) -> Result<Check, ParseError> {
    match word {
        "@" => return Ok(Check::Everybody),
        "!" => return Ok(Check::Nobody),
        _ => {}
    }
    let unknown = || ParseError(format!("`{word}` is no check that is known here"));
    let (kind, right) = split(word).ok_or_else(unknown)?;
    Ok(match kind {
        "rule" => Check::Rule(right.to_owned()),
        "role" => Check::Role(right.to_owned()),
        "system_scope" => Check::SystemScope(right.to_owned()),
        "is_admin" => Check::AdminToken,
        "reader_only" => Check::ReaderOnly,
        "any_role" => Check::AnyRole,
        "user_id" => Check::User(value(right)?),
        "project_id" => Check::Project(value(right)?),
        "domain_id" | "token.domain.id" => Check::Domain(value(right)?),
        "token.project.domain.id" => Check::ProjectDomain(value(right)?),
        "None" => Check::Absent(fact(right).ok_or_else(unknown)??),
        _ => match kind.strip_prefix('\'').and_then(|k| k.strip_suffix('\'')) {
            Some(text) => Check::Literal(text.to_owned(), fact(right).ok_or_else(unknown)??),
            None => return Err(unknown()),
        },
    })
}

/// Splits `kind:right`; the kind itself never holds a colon.
fn split(word: &str) -> Option<(&str, &str)> {
    word.split_once(':').filter(|(k, r)| !k.is_empty() && !r.is_empty())
}

/// `%(key)s` → the fact; nothing when it is no such reference.
fn fact(right: &str) -> Option<Result<Fact, ParseError>> {
    let key = right.strip_prefix("%(")?.strip_suffix(")s")?;
    let found = Fact::ALL.iter().find(|(name, _)| *name == key).map(|(_, f)| *f);
    Some(found.ok_or_else(|| ParseError(format!("`{key}` is no fact that policy can see here"))))
}

fn value(right: &str) -> Result<Right, ParseError> {
    match fact(right) {
        Some(f) => Ok(Right::Fact(f?)),
        None if right == "None" => Ok(Right::None),
        None => Ok(Right::Literal(right.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::{collection, sample};

    use super::*;

    #[test]
    fn precedence_and_parentheses() {
        let check = Check::parse("rule:a or (role:b and not (role:c))").expect("parses");
        assert_eq!(
            check,
            Check::Any(vec![
                Check::Rule("a".into()),
                Check::All(vec![Check::Role("b".into()), Check::Not(Box::new(Check::Role("c".into())))]),
            ])
        );
    }

    #[test]
    fn what_is_unknown_is_an_error() {
        for rule in [
            "foo",
            "foo:bar",
            "role:",
            ":a",
            "user_id:%(target.secret)s",
            "(role:a",
            "role:a role:b",
            "and",
            "not",
        ] {
            assert!(Check::parse(rule).is_err(), "{rule}");
        }
        let error = Check::parse("user_id:%(target.secret)s").expect_err("unknown");
        assert_eq!(error.to_string(), "`target.secret` is no fact that policy can see here");
    }

    /// Parts of rules, whole and broken, and what stands between them.
    const PARTS: &[&str] = &[
        "(",
        ")",
        "((",
        "))",
        "not",
        "and",
        "or",
        "NOT",
        "And",
        "oR",
        "@",
        "!",
        ":",
        "%",
        "%(",
        ")s",
        "'",
        "None",
        "rule:a",
        "role:x",
        "system_scope:all",
        "is_admin:1",
        "reader_only:True",
        "any_role:True",
        "user_id:",
        "user_id:%(user_id)s",
        "user_id:%(nope)s",
        "project_id:None",
        "domain_id:x:y",
        "token.domain.id:%(",
        "token.project.domain.id:%(target.project.domain_id)s",
        "None:%(target.role.domain_id)s",
        "None:x",
        "'a':%(target.role.name)s",
        "'':%(user_id)s",
        "'é:%(user_id)s",
        "http://h/%(x)s",
        "é",
        "\u{3000}",
        "\0",
        " ",
        "\n",
        "\t",
        "",
    ];

    /// A check with no parts, and how it is written.
    fn atoms() -> impl Strategy<Value = (Check, String)> {
        let word = "[a-z_]{1,8}";
        let fact = || sample::select(Fact::ALL);
        prop_oneof![
            Just((Check::Everybody, "@".to_owned())),
            Just((Check::Nobody, "!".to_owned())),
            Just((Check::AdminToken, "is_admin:1".to_owned())),
            Just((Check::ReaderOnly, "reader_only:True".to_owned())),
            Just((Check::AnyRole, "any_role:True".to_owned())),
            word.prop_map(|w| (Check::Rule(w.clone()), format!("rule:{w}"))),
            word.prop_map(|w| (Check::Role(w.clone()), format!("role:{w}"))),
            word.prop_map(|w| (Check::User(Right::Literal(w.clone())), format!("user_id:{w}"))),
            Just((Check::Domain(Right::None), "domain_id:None".to_owned())),
            fact().prop_map(|(key, f)| (Check::Project(Right::Fact(f)), format!("project_id:%({key})s"))),
            fact().prop_map(|(key, f)| (Check::Absent(f), format!("None:%({key})s"))),
            (word, fact())
                .prop_map(|(w, (key, f))| (Check::Literal(w.clone(), f), format!("'{w}':%({key})s"))),
        ]
    }

    /// A check, and how it is written. Each part that has parts of its own is in parentheses.
    fn checks() -> impl Strategy<Value = (Check, String)> {
        fn many(parts: Vec<(Check, String)>, word: &str, all: fn(Vec<Check>) -> Check) -> (Check, String) {
            let (checks, texts): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
            (all(checks), format!("({})", texts.join(word)))
        }
        atoms().prop_recursive(8, 64, 4, |inner| {
            prop_oneof![
                inner.clone().prop_map(|(c, text)| (Check::Not(Box::new(c)), format!("(not {text})"))),
                collection::vec(inner.clone(), 2..5).prop_map(|p| many(p, " and ", Check::All)),
                collection::vec(inner, 2..5).prop_map(|p| many(p, "  OR ", Check::Any)),
            ]
        })
    }

    proptest! {
        #[test]
        fn never_panics(rule in ".{0,200}") {
            let _ = Check::parse(&rule);
        }

        #[test]
        fn parts_of_rules_never_panic(
            parts in collection::vec((sample::select(PARTS), sample::select(&["", " "][..])), 0..60),
        ) {
            let rule: String = parts.iter().flat_map(|(part, space)| [*part, *space]).collect();
            let _ = Check::parse(&rule);
        }

        #[test]
        fn a_rule_is_read_as_it_is_written((check, text) in checks()) {
            prop_assert_eq!(Check::parse(&text), Ok(check), "{}", text);
        }
    }

    #[test]
    fn depth_has_a_bound() {
        for n in [50, 60, 61, 100, 100_000] {
            let rules = [
                format!("{}role:a{}", "(".repeat(n), ")".repeat(n)),
                format!("{}role:a", "not ".repeat(n)),
                format!("{}role:a", "(not ".repeat(n)) + &")".repeat(n),
            ];
            for (i, rule) in rules.iter().enumerate() {
                let deep = n > 60 || (n > 30 && i == 2);
                assert_eq!(Check::parse(rule).is_err(), deep, "{n} {i}");
            }
        }
        // What is beside is not below.
        assert!(Check::parse(&["(role:a)"; 1_000].join(" and ")).is_ok());
    }
}
