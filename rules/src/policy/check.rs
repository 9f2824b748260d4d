//! oslo.policy's rule language: `rule:x or (role:reader and domain_id:%(target.user.domain_id)s)`.

use super::facts::{Fact, Facts, Known};
use super::subject::{Credential, Said};

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
    Role(Template),
    /// `user_id:…` and other credentials of the token
    Credential(Credential, Template),
    /// `'text':%(fact)s`, `None:%(fact)s`, `True:%(fact)s`
    Literal(String, Template),
    /// `is_admin:1`: the configured admin token
    AdminToken,
    /// `reader_only:True`: all that the token holds is the role `reader` (ours)
    ReaderOnly,
    /// `any_role:True`: the token holds a role at all (ours)
    AnyRole,
    /// `http://…`, `https://…`: what another server says
    Remote(Template),
    /// What has no meaning here. A rule with it allows nothing.
    Unknown(Unknown),
}

/// A part of a rule that has no meaning here.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unknown {
    /// As it is written.
    pub check: String,
    /// Why it has none.
    pub why: String,
}

impl std::fmt::Display for Unknown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}`: {}", self.check, self.why)
    }
}

impl std::fmt::Display for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let joined = |f: &mut std::fmt::Formatter<'_>, parts: &[Check], word: &str| {
            for (n, part) in parts.iter().enumerate() {
                if n > 0 {
                    write!(f, " {word} ")?;
                }
                match part {
                    Self::All(_) | Self::Any(_) => write!(f, "({part})")?,
                    _ => write!(f, "{part}")?,
                }
            }
            Ok(())
        };
        match self {
            Self::Everybody => f.write_str("@"),
            Self::Nobody => f.write_str("!"),
            Self::Not(inner) => match **inner {
                Self::All(_) | Self::Any(_) => write!(f, "not ({inner})"),
                _ => write!(f, "not {inner}"),
            },
            Self::All(parts) => joined(f, parts, "and"),
            Self::Any(parts) => joined(f, parts, "or"),
            Self::Rule(name) => write!(f, "rule:{name}"),
            Self::Role(right) => write!(f, "role:{right}"),
            Self::Credential(left, right) => write!(f, "{}:{right}", left.key()),
            Self::Literal(left, right) if matches!(left.as_str(), "True" | "False" | "None") => {
                write!(f, "{left}:{right}")
            }
            Self::Literal(left, right) => {
                let quote = if left.contains('\'') { '"' } else { '\'' };
                write!(f, "{quote}{left}{quote}:{right}")
            }
            Self::AdminToken => f.write_str("is_admin:1"),
            Self::ReaderOnly => f.write_str("reader_only:True"),
            Self::AnyRole => f.write_str("any_role:True"),
            Self::Remote(url) => write!(f, "{url}"),
            Self::Unknown(unknown) => f.write_str(&unknown.check),
        }
    }
}

impl std::fmt::Display for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(&text.replace('%', "%%")),
            Part::Fact(fact) => write!(f, "%({})s", fact.key()),
        })
    }
}

/// What stands right of the colon: text with facts in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// `%(key)s`
    Fact(Fact),
}

/// What a template comes to.
enum Filled<'a> {
    /// It names an object that is not there.
    Nothing,
    /// It names what is not told of its object.
    Untold,
    /// It is one fact, which is null.
    Null,
    /// One of these.
    One(Vec<std::borrow::Cow<'a, str>>),
}

/// How many values a text with several facts may have.
const MOST_VALUES: usize = 64;

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
    /// Parses a rule. A check of an unknown kind or fact becomes [`Check::Unknown`].
    ///
    /// # Errors
    /// The words are in no order that is a rule.
    pub fn parse(rule: &str) -> Result<Self, ParseError> {
        if rule.is_empty() {
            return Ok(Self::Everybody);
        }
        let words = words(rule);
        let mut parser = Parser { words: &words, at: 0, depth: 0 };
        let check = parser.any()?;
        match parser.peek() {
            None => Ok(check),
            Some(word) => Err(ParseError(format!("`{word}` is not expected"))),
        }
    }

    /// The same; what cannot be parsed is one large unknown.
    pub fn read(rule: &str) -> Self {
        Self::parse(rule).unwrap_or_else(|e| Self::unknown(rule, e.0))
    }

    /// A rule in oslo.policy's old form: one of these lists must hold, and in it every check.
    pub fn of_lists(lists: &[Vec<String>]) -> Self {
        let mut any: Vec<Self> = lists
            .iter()
            .filter(|all| !all.is_empty())
            .map(|all| match all.as_slice() {
                [one] => atom(one),
                all => Self::All(all.iter().map(|word| atom(word)).collect()),
            })
            .collect();
        match any.len() {
            0 => Self::Nobody,
            1 => any.remove(0),
            _ => Self::Any(any),
        }
    }

    /// A check without a meaning.
    pub fn unknown(check: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Unknown(Unknown { check: check.into(), why: why.into() })
    }

    /// The check and all below it, in their order.
    pub(super) fn visit<'a>(&'a self, see: &mut impl FnMut(&'a Check)) {
        see(self);
        match self {
            Self::Not(inner) => inner.visit(see),
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.visit(see)),
            _ => {}
        }
    }
}

/// Splits into words and parentheses. Those inside a word, as in `%(…)s`, belong to it.
fn words(rule: &str) -> Vec<&str> {
    let mut out = Vec::new();
    for raw in rule.split_whitespace() {
        let inner = raw.trim_start_matches('(');
        out.extend(std::iter::repeat_n("(", raw.len() - inner.len()));
        let word = inner.trim_end_matches(')');
        if !word.is_empty() {
            out.push(word);
        }
        out.extend(std::iter::repeat_n(")", inner.len() - word.len()));
    }
    out
}

struct Parser<'a> {
    words: &'a [&'a str],
    at: usize,
    depth: u8,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&str> {
        self.words.get(self.at).copied()
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
            return Err(ParseError("it is nested too deep".into()));
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
            match self.peek() {
                None => return Err(ParseError("it ends too early".into())),
                Some(word) if is_operator(word) => {
                    return Err(ParseError(format!("`{word}` is not expected")));
                }
                Some(word) => {
                    let check = atom(word);
                    self.at += 1;
                    check
                }
            }
        };
        self.depth -= 1;
        Ok(check)
    }
}

fn is_operator(word: &str) -> bool {
    word == ")" || ["and", "or", "not"].iter().any(|o| word.eq_ignore_ascii_case(o))
}

/// One check, whatever characters are in it.
fn atom(word: &str) -> Check {
    match word {
        "@" => return Check::Everybody,
        "!" => return Check::Nobody,
        _ => {}
    }
    known(word).unwrap_or_else(|why| Check::unknown(word, why))
}

fn known(word: &str) -> Result<Check, String> {
    // For oslo.policy a word in quotes is no check, whatever is in it.
    if word.len() > 1 && ['"', '\''].iter().any(|q| word.starts_with(*q) && word.ends_with(*q)) {
        return Err("a check is not written in quotes".into());
    }
    let (kind, right) = word.split_once(':').ok_or("a check has the form `kind:value`")?;
    if right.is_empty() {
        return Err("nothing is named after the colon".into());
    }
    Ok(match kind {
        "rule" => Check::Rule(right.to_owned()),
        "role" => Check::Role(Template::parse(right)?),
        // Another value would ask for the opposite, and nothing does.
        "is_admin" if matches!(right, "1" | "True") => Check::AdminToken,
        "reader_only" if right == "True" => Check::ReaderOnly,
        "any_role" if right == "True" => Check::AnyRole,
        "is_admin" | "reader_only" | "any_role" => return Err(format!("`{kind}` is asked for `True` alone")),
        "http" | "https" => Check::Remote(Template::parse(word)?),
        _ => match (literal(kind), Credential::named(kind)) {
            (Some(text), _) => Check::Literal(text, Template::parse(right)?),
            (None, Some(credential)) => Check::Credential(credential, Template::parse(right)?),
            (None, None) => return Err(format!("`{kind}` is nothing that policy knows of a token here")),
        },
    })
}

/// What a Python literal is as a string: in quotes, a whole number, True, False or None.
fn literal(kind: &str) -> Option<String> {
    if matches!(kind, "True" | "False" | "None") {
        return Some(kind.to_owned());
    }
    let digits = kind.strip_prefix('-').unwrap_or(kind);
    if digits == "0" && kind == digits
        || !digits.is_empty() && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit())
    {
        return Some(kind.to_owned());
    }
    ['"', '\''].iter().find_map(|quote| {
        let text = kind.strip_prefix(*quote)?.strip_suffix(*quote)?;
        (!text.contains(['\\', *quote])).then(|| text.to_owned())
    })
}

impl Template {
    fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            plain.push_str(before);
            if let Some(after) = after.strip_prefix('%') {
                plain.push('%');
                rest = after;
                continue;
            }
            let (key, after) = after
                .strip_prefix('(')
                .and_then(|after| after.split_once(")s"))
                .ok_or("a `%` is followed by `(name)s`")?;
            let fact =
                Fact::named(key).ok_or_else(|| format!("`{key}` is no fact that policy can see here"))?;
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(Part::Fact(fact));
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self(parts))
    }

    fn fill<'a>(&'a self, facts: &'a Facts) -> Filled<'a> {
        match self.0.as_slice() {
            [Part::Text(text)] => return Filled::One(vec![text.into()]),
            [Part::Fact(fact)] => {
                return match facts.get(*fact) {
                    Known::Nothing => Filled::Nothing,
                    Known::Untold => Filled::Untold,
                    Known::Values([]) => Filled::Null,
                    Known::Values(values) => Filled::One(values.iter().map(|v| v.into()).collect()),
                };
            }
            _ => {}
        }
        let mut texts = vec![String::new()];
        for part in &self.0 {
            let null = ["None".to_owned()];
            let values = match part {
                Part::Text(text) => std::slice::from_ref(text),
                Part::Fact(fact) => match facts.get(*fact) {
                    Known::Nothing => return Filled::Nothing,
                    Known::Untold => return Filled::Untold,
                    Known::Values([]) => &null,
                    Known::Values(values) => values,
                },
            };
            if texts.len().saturating_mul(values.len()) > MOST_VALUES {
                return Filled::Untold;
            }
            texts = texts.iter().flat_map(|t| values.iter().map(move |v| format!("{t}{v}"))).collect();
        }
        Filled::One(texts.into_iter().map(Into::into).collect())
    }

    /// The facts that it names.
    pub(super) fn facts(&self) -> impl Iterator<Item = Fact> {
        self.0.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Fact(fact) => Some(*fact),
        })
    }

    pub(super) fn has_scheme(&self, scheme: &str) -> bool {
        matches!(self.0.first(), Some(Part::Text(text)) if text.split(':').next() == Some(scheme))
    }

    /// The URL that it comes to; nothing when that cannot be told. What is put into it cannot lead elsewhere.
    pub(super) fn url(&self, facts: &Facts) -> Option<String> {
        let mut url = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => url.push_str(text),
                Part::Fact(fact) => match facts.get(*fact) {
                    Known::Values([value]) => url.extend(value.bytes().map(escaped)),
                    Known::Values([]) => url.push_str("None"),
                    Known::Nothing | Known::Untold | Known::Values(_) => return None,
                },
            }
        }
        // Whoever reads the URL goes up at these.
        let path = url.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase().replace("%2e", ".");
        (!path.split('/').any(|segment| matches!(segment, "." | ".."))).then_some(url)
    }

    /// Whether one of the roles is named so; nothing when that cannot be told.
    pub(super) fn names_role(&self, roles: &[String], facts: &Facts) -> Option<bool> {
        match self.fill(facts) {
            Filled::Untold => None,
            Filled::Nothing | Filled::Null => Some(false),
            Filled::One(names) => Some(roles.iter().any(|r| names.iter().any(|n| is_same_role(r, n)))),
        }
    }

    /// Whether it is what the token says; nothing when that cannot be told.
    pub(super) fn is_said(&self, says: &Said<'_>, facts: &Facts) -> Option<bool> {
        match (says, self.fill(facts)) {
            (Said::Nothing, _) | (_, Filled::Nothing) => Some(false),
            // Absent on both sides is no match, and no mismatch either …
            (_, Filled::Untold) | (Said::Null, Filled::Null) => None,
            (Said::Values(_), Filled::Null) => Some(false),
            // … but a rule may ask for absence by name.
            (Said::Null, Filled::One(texts)) => Some(texts.iter().any(|t| t == "None")),
            (Said::Values(said), Filled::One(texts)) => {
                Some(said.iter().any(|s| texts.iter().any(|t| t == s)))
            }
        }
    }

    /// Whether it comes to this text; null is `None`. Nothing when that cannot be told.
    pub(super) fn is_text(&self, text: &str, facts: &Facts) -> Option<bool> {
        match self.fill(facts) {
            Filled::Untold => None,
            Filled::Nothing => Some(false),
            Filled::Null => Some(text == "None"),
            Filled::One(texts) => Some(texts.iter().any(|t| t == text)),
        }
    }
}

/// A byte as it may be part of a URL's segment.
fn escaped(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}

fn is_same_role(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
        || !(one.is_ascii() && other.is_ascii()) && one.to_lowercase() == other.to_lowercase()
}

#[cfg(test)]
mod tests {
    /// As explanations show it.
    #[test]
    fn a_rule_is_read_again_as_it_is_written() {
        let shipped = crate::policy::OPERATIONS.iter().map(|o| o.rule);
        let named = crate::policy::NAMED.iter().map(|(_, rule)| *rule);
        let others = [
            "not (@ or !)",
            "'x':%(target.user.id)s",
            "\"a'b\":%(user_id)s",
            "7:%(user_id)s",
            "http://x/%(user_id)s%%",
            "group:ops",
        ];
        for rule in shipped.chain(named).chain(others) {
            let check = Check::read(rule);
            assert_eq!(Check::read(&check.to_string()), check, "{rule}: {check}");
        }
    }

    use proptest::prelude::*;
    use proptest::{collection, sample};

    use super::*;

    /// What is put into a URL does not lead out of where the rule asks.
    #[test]
    fn a_fact_does_not_lead_elsewhere() {
        let url = |rule: &str, value: &str| {
            Template::parse(rule).expect("parses").url(&Facts::none().with(Fact::PathUser, value))
        };
        let rule = "http://h/deny/%(user_id)s/x?a=%(user_id)s";
        assert_eq!(url(rule, "a/b").as_deref(), Some("http://h/deny/a%2Fb/x?a=a%2Fb"));
        assert_eq!(url(rule, "...").as_deref(), Some("http://h/deny/.../x?a=..."));
        for value in [".", ".."] {
            assert_eq!(url(rule, value), None, "{value}");
            assert_eq!(url("http://h/deny/%(user_id)s", value), None, "{value}");
            assert!(url("http://h/deny?a=/%(user_id)s/", value).is_some(), "{value}");
        }
    }

    #[test]
    fn what_is_asked_of_a_token_has_one_value() {
        for (rule, is_known) in [
            ("any_role:True", true),
            ("any_role:False", false),
            ("reader_only:True", true),
            ("reader_only:true", false),
            ("is_admin:1", true),
            ("is_admin:True", true),
            ("is_admin:False", false),
            ("is_admin:0", false),
        ] {
            assert_eq!(known(rule).is_ok(), is_known, "{rule}");
        }
    }

    #[test]
    fn precedence_and_parentheses() {
        let check = Check::parse("rule:a or (role:b and not (role:c))").expect("parses");
        assert_eq!(
            check,
            Check::Any(vec![
                Check::Rule("a".into()),
                Check::All(vec![Check::Role(text("b")), Check::Not(Box::new(Check::Role(text("c"))))]),
            ])
        );
    }

    fn unknowns(check: &Check) -> Vec<String> {
        let mut found = Vec::new();
        check.visit(&mut |part| {
            if let Check::Unknown(unknown) = part {
                found.push(unknown.check.clone());
            }
        });
        found
    }

    #[test]
    fn what_is_unknown_has_no_meaning() {
        for word in [
            "foo",
            "foo:bar",
            "group:ops",
            "role:",
            ":a",
            "http://h/%(target.secret)s",
            "user_id:%(target.secret)s",
            "user_id:%(request_body.user.id)s",
            "user_id:%(filter_attr.user_id)s",
            "user_id:%(user_id)d",
            "user_id:%user_id",
            "role:50%",
            "token.catalog:x",
            "service_roles:service",
            "01:%(user_id)s",
            "'a\\x':%(user_id)s",
            "'a':'b'",
            "\"role:a\"",
        ] {
            assert_eq!(unknowns(&Check::read(word)), [word], "{word}");
            let long = Check::read(&format!("role:a or (role:b and not {word})"));
            assert_eq!(unknowns(&long), [word], "{word}");
        }
        for rule in [
            "(role:a",
            "role:a)",
            "role:a role:b",
            "and",
            "not",
            "role:a or",
            "()",
            " ",
            "\n",
            "role:a or and",
        ] {
            assert!(Check::parse(rule).is_err(), "{rule}");
            assert_eq!(unknowns(&Check::read(rule)), [rule], "{rule}");
        }
        let Check::Unknown(unknown) = Check::read("user_id:%(target.secret)s") else {
            panic!("it is unknown")
        };
        assert_eq!(
            unknown.to_string(),
            "`user_id:%(target.secret)s`: `target.secret` is no fact that policy can see here"
        );
    }

    /// Each of these was given to oslo.policy, which reads the same.
    #[test]
    fn lists_of_lists() {
        let of = |lists: &[&[&str]]| {
            let lists: Vec<Vec<String>> =
                lists.iter().map(|all| all.iter().map(|c| (*c).to_owned()).collect()).collect();
            Check::of_lists(&lists)
        };
        assert_eq!(of(&[&["role:x"], &["rule:y"]]), Check::read("role:x or rule:y"));
        assert_eq!(of(&[&["role:x", "role:z"], &["rule:y"]]), Check::read("(role:x and role:z) or rule:y"));
        assert_eq!(of(&[&["role:x"]]), Check::read("role:x"));
        assert_eq!(of(&[&[]]), Check::Nobody);
        assert_eq!(of(&[&[], &["@"]]), Check::Everybody);
        assert_eq!(unknowns(&of(&[&["not role:x"], &["role:y"]])), ["not role:x"]);
    }

    #[test]
    fn python_literals() {
        for (text, wanted) in [
            ("'member'", Some("member")),
            ("\"member\"", Some("member")),
            ("''", Some("")),
            ("'", None),
            ("'a'b'", None),
            ("None", Some("None")),
            ("True", Some("True")),
            ("0", Some("0")),
            ("-7", Some("-7")),
            ("-0", None),
            ("-", None),
            ("1.5", None),
            ("none", None),
        ] {
            assert_eq!(literal(text).as_deref(), wanted, "{text}");
        }
    }

    #[test]
    fn a_text_may_hold_several_facts() {
        let facts = Facts::none()
            .with(Fact::UserId, "u")
            .with_all(Fact::TrustTrustor, ["a", "b"])
            .with_opt(Fact::UserDefaultProject, None::<&str>);
        let is = |right: &str, text: &str| Template::parse(right).expect("parses").is_text(text, &facts);
        let both = "x-%(target.user.id)s-%(target.trust.trustor_user_id)s-100%%";
        assert_eq!(is(both, "x-u-b-100%"), Some(true));
        assert_eq!(is(both, "x-u-c-100%"), Some(false));
        assert_eq!(is("x%(target.user.default_project_id)s", "xNone"), Some(true));
        assert_eq!(is("%(target.user.default_project_id)s", "None"), Some(true));
        assert_eq!(is("%(target.user.name)s", "n"), None);
        assert_eq!(is("x%(target.user.name)s", "n"), None);
        assert_eq!(is("%(target.group.name)s", "n"), Some(false));
        assert_eq!(is("x%(target.group.name)s", "n"), Some(false));
        let many = Facts::none().with_all(Fact::TrustTrustor, (0..9).map(|n| n.to_string()));
        let cube = "%(target.trust.trustor_user_id)s".repeat(3);
        assert_eq!(Template::parse(&cube).expect("parses").is_text("123", &many), None, "it has a bound");
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

    fn text(word: &str) -> Template {
        Template(vec![Part::Text(word.to_owned())])
    }

    /// A check with no parts, and how it is written.
    fn atoms() -> impl Strategy<Value = (Check, String)> {
        let word = "[a-z_]{1,8}";
        let fact = || sample::select(Fact::ALL);
        let keys: Vec<&str> = Credential::keys().collect();
        prop_oneof![
            Just((Check::Everybody, "@".to_owned())),
            Just((Check::Nobody, "!".to_owned())),
            Just((Check::AdminToken, "is_admin:1".to_owned())),
            Just((Check::ReaderOnly, "reader_only:True".to_owned())),
            Just((Check::AnyRole, "any_role:True".to_owned())),
            word.prop_map(|w| (Check::Rule(w.clone()), format!("rule:{w}"))),
            word.prop_map(|w| (Check::Role(text(&w)), format!("role:{w}"))),
            word.prop_map(|w| (Check::Credential(Credential::User, text(&w)), format!("user_id:{w}"))),
            (sample::select(keys), fact()).prop_map(|(left, (key, f))| {
                let right = Template(vec![Part::Fact(f)]);
                let left_is = Credential::named(left).expect("a key");
                (Check::Credential(left_is, right), format!("{left}:%({key})s"))
            }),
            (word, fact()).prop_map(|(w, (key, f))| {
                (Check::Literal(w.clone(), Template(vec![Part::Fact(f)])), format!("'{w}':%({key})s"))
            }),
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
