//! Regular expressions as Python's `re` reads them, for an engine that needs no more time than the string is long.
//!
//! What that engine has no way to do (to look around, to refer back, to give nothing back) is refused, and named.

use std::collections::BTreeSet;
use std::fmt::{self, Write};

use regex::{Regex, RegexBuilder};

/// Why an expression is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PatternFault {
    /// Python's `re` does not take it either.
    Wrong(&'static str),
    /// Python's `re` takes it, and this server does not.
    NotHere(&'static str),
}

impl fmt::Display for PatternFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrong(what) => write!(f, "is no regular expression: {what}"),
            Self::NotHere(what) => write!(f, "has {what}, which is not done here"),
        }
    }
}

type Result<T> = std::result::Result<T, PatternFault>;

/// Characters of an expression. A letter of Unicode (`\w`) takes twenty kilobytes before any other limit counts.
const LONGEST: usize = 1_000;
/// Groups within groups.
const DEEPEST: usize = 100;
/// What may lie within each other once it is translated.
const NESTING: u32 = 250;
/// Bytes of a compiled expression.
const LARGEST: usize = 1 << 20;

/// What Python calls a letter, a digit or the underscore.
const WORD: &str = r"\p{L}\p{N}_";
/// What Python calls white space.
const SPACE: &str = r"\s\x{1c}-\x{1f}";

/// The expression, to search with.
///
/// # Errors
/// [`PatternFault`] when it is none, or none for this engine.
pub fn compile(python: &str) -> Result<Regex> {
    if python.chars().nth(LONGEST).is_some() {
        return Err(PatternFault::NotHere("more than 1,000 characters"));
    }
    let translated = translate(python)?;
    let built = RegexBuilder::new(&translated).nest_limit(NESTING).size_limit(LARGEST).build();
    built.map_err(|e| match e {
        regex::Error::CompiledTooBig(_) => PatternFault::NotHere("more repetitions than fit"),
        _ => PatternFault::NotHere("something that its engine does not know"),
    })
}

/// What an error shows of an expression.
pub(super) fn shown(python: &str) -> String {
    const MOST: usize = 100;
    match python.char_indices().nth(MOST) {
        Some((end, _)) => format!("{:?}...", python.get(..end).unwrap_or_default()),
        None => format!("{python:?}"),
    }
}

fn translate(python: &str) -> Result<String> {
    let mut t = Translator {
        rest: python.chars().collect::<Vec<_>>(),
        at: 0,
        out: String::new(),
        flags: Flags::default(),
        names: BTreeSet::new(),
    };
    t.leading_flags()?;
    t.alternatives(0)?;
    match t.peek() {
        None => Ok(t.out),
        Some(_) => Err(PatternFault::Wrong("unbalanced parenthesis")),
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Flags {
    multi_line: bool,
    dot_all: bool,
}

struct Translator {
    rest: Vec<char>,
    at: usize,
    out: String,
    flags: Flags,
    names: BTreeSet<String>,
}

/// What was read before a quantifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Atom {
    Repeatable,
    Anchor,
    /// A comment, which is nothing.
    Nothing,
}

/// One member of a class.
#[derive(Debug, Clone, Copy)]
enum Member {
    Char(char),
    Category(char),
}

impl Translator {
    fn peek(&self) -> Option<char> {
        self.ahead(0)
    }

    fn ahead(&self, by: usize) -> Option<char> {
        self.rest.get(self.at + by).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        Some(c)
    }

    fn take(&mut self, c: char) -> bool {
        let is = self.peek() == Some(c);
        if is {
            self.at += 1;
        }
        is
    }

    fn push(&mut self, text: &str) {
        self.out.push_str(text);
    }

    fn literal(&mut self, c: char) {
        if c.is_ascii_alphanumeric() || !c.is_ascii() {
            self.out.push(c);
        } else {
            let _ = write!(self.out, r"\x{{{:x}}}", u32::from(c));
        }
    }

    /// `(?ims)` at the beginning is about all of it.
    fn leading_flags(&mut self) -> Result<()> {
        loop {
            let start = self.at;
            if self.peek() != Some('(') || self.ahead(1) != Some('?') {
                return Ok(());
            }
            self.at += 2;
            let read = self.flag_letters();
            match read {
                Ok((on, None)) if !on.is_empty() && self.take(')') => {
                    if on.contains('i') {
                        self.push("(?i)");
                    }
                    self.flags.multi_line |= on.contains('m');
                    self.flags.dot_all |= on.contains('s');
                }
                Err(fault) if self.is_global_end() => return Err(fault),
                _ => {
                    self.at = start;
                    return Ok(());
                }
            }
        }
    }

    /// Whether the letters of flags from here on end in a parenthesis.
    fn is_global_end(&self) -> bool {
        let rest = self.rest.get(self.at..).unwrap_or_default();
        rest.iter().find(|c| !c.is_ascii_alphabetic()) == Some(&')')
    }

    /// Letters of flags, and those after a minus.
    fn flag_letters(&mut self) -> Result<(String, Option<String>)> {
        let mut read = |allowed: &str| -> Result<String> {
            let mut letters = String::new();
            while let Some(c) = self.peek().filter(|c| c.is_ascii_alphabetic()) {
                if !allowed.contains(c) {
                    return Err(PatternFault::Wrong("unknown flag"));
                }
                if "aLx".contains(c) {
                    return Err(PatternFault::NotHere("a flag other than i, m, s and u"));
                }
                self.at += 1;
                letters.push(c);
            }
            Ok(letters)
        };
        let on = read("aiLmsux")?;
        if self.peek() != Some('-') {
            return Ok((on, None));
        }
        self.at += 1;
        let mut off = String::new();
        while let Some(c) = self.peek().filter(|c| c.is_ascii_alphabetic()) {
            match c {
                'i' | 'm' | 's' => off.push(c),
                'x' => return Err(PatternFault::NotHere("a flag other than i, m, s and u")),
                _ => return Err(PatternFault::Wrong("unknown flag")),
            }
            self.at += 1;
        }
        if off.is_empty() {
            return Err(PatternFault::Wrong("missing flag"));
        }
        Ok((on, Some(off)))
    }

    fn alternatives(&mut self, depth: usize) -> Result<()> {
        if depth > DEEPEST {
            return Err(PatternFault::NotHere("too many groups within groups"));
        }
        while let Some(c) = self.peek() {
            match c {
                ')' => return Ok(()),
                '|' => {
                    self.at += 1;
                    self.push("|");
                }
                _ => {
                    let begin = self.out.len();
                    let atom = self.atom(depth)?;
                    self.quantifier(atom, begin)?;
                }
            }
        }
        Ok(())
    }

    fn atom(&mut self, depth: usize) -> Result<Atom> {
        let Some(c) = self.next() else { return Ok(Atom::Nothing) };
        match c {
            '.' if self.flags.dot_all => self.push("(?s:.)"),
            '.' => self.push(r"[^\n]"),
            '^' | '$' => {
                self.push(match (c, self.flags.multi_line) {
                    ('^', false) => r"\A",
                    ('^', true) => "(?m:^)",
                    // Before a newline at the very end, too.
                    (_, false) => r"(?:\n?\z)",
                    (_, true) => "(?m:$)",
                });
                return Ok(Atom::Anchor);
            }
            '(' => return self.group(depth),
            '[' => self.class()?,
            '\\' => return self.escape(),
            '*' | '+' | '?' => return Err(PatternFault::Wrong("nothing to repeat")),
            '{' => {
                self.at -= 1;
                if self.bounds()?.is_some() {
                    return Err(PatternFault::Wrong("nothing to repeat"));
                }
                self.at += 1;
                self.literal('{');
            }
            c => self.literal(c),
        }
        Ok(Atom::Repeatable)
    }

    /// `{2}`, `{2,}`, `{,3}`, `{2,3}`; anything else in braces is itself.
    fn bounds(&mut self) -> Result<Option<String>> {
        let start = self.at;
        if !self.take('{') || self.peek() == Some('}') {
            self.at = start;
            return Ok(None);
        }
        let (low, has_comma) = (self.digits(), self.take(','));
        let high = if has_comma { self.digits() } else { low.clone() };
        if !self.take('}') {
            self.at = start;
            return Ok(None);
        }
        let number =
            |text: &str| text.parse::<u32>().map_err(|_| PatternFault::NotHere("more repetitions than fit"));
        let least = if low.is_empty() { 0 } else { number(&low)? };
        if high.is_empty() {
            return Ok(Some(format!("{{{least},}}")));
        }
        let most = number(&high)?;
        if most < least {
            return Err(PatternFault::Wrong("min repeat greater than max repeat"));
        }
        Ok(Some(format!("{{{least},{most}}}")))
    }

    fn digits(&mut self) -> String {
        let mut digits = String::new();
        while let Some(c) = self.peek().filter(char::is_ascii_digit) {
            digits.push(c);
            self.at += 1;
        }
        digits
    }

    fn any_quantifier(&mut self) -> Result<Option<String>> {
        Ok(match self.peek() {
            Some(c @ ('*' | '+' | '?')) => {
                self.at += 1;
                Some(c.to_string())
            }
            Some('{') => self.bounds()?,
            _ => None,
        })
    }

    fn quantifier(&mut self, atom: Atom, begin: usize) -> Result<()> {
        if atom == Atom::Nothing {
            return Ok(());
        }
        let Some(how) = self.any_quantifier()? else { return Ok(()) };
        if atom == Atom::Anchor {
            return Err(PatternFault::Wrong("nothing to repeat"));
        }
        if self.take('+') {
            return Err(PatternFault::NotHere("a possessive quantifier"));
        }
        // Whether it takes as few as it can makes no difference to whether it is found.
        self.take('?');
        // What was an atom may be several things here.
        self.out.insert_str(begin, "(?:");
        self.push(")");
        self.push(&how);
        if self.any_quantifier()?.is_some() {
            return Err(PatternFault::Wrong("multiple repeat"));
        }
        Ok(())
    }

    fn group(&mut self, depth: usize) -> Result<Atom> {
        let before = self.flags;
        let mut begins = "(?:".to_owned();
        if self.take('?') {
            match self.next() {
                Some(':') => {}
                Some('P') if self.take('<') => self.name()?,
                Some('P') if self.peek() == Some('=') => {
                    return Err(PatternFault::NotHere("a reference to a group"));
                }
                Some('#') => {
                    while let Some(c) = self.next() {
                        if c == ')' {
                            return Ok(Atom::Nothing);
                        }
                    }
                    return Err(PatternFault::Wrong("missing ), unterminated comment"));
                }
                Some('=' | '!') => return Err(PatternFault::NotHere("a look ahead")),
                Some('<') if matches!(self.peek(), Some('=' | '!')) => {
                    return Err(PatternFault::NotHere("a look behind"));
                }
                Some('>') => return Err(PatternFault::NotHere("an atomic group")),
                Some('(') => return Err(PatternFault::NotHere("a group that depends on another")),
                Some(c) if c.is_ascii_alphabetic() || c == '-' => {
                    self.at -= 1;
                    let (on, off) = self.flag_letters()?;
                    if !self.take(':') {
                        return Err(PatternFault::Wrong("global flags not at the start"));
                    }
                    let off = off.unwrap_or_default();
                    if on.chars().any(|c| off.contains(c)) {
                        return Err(PatternFault::Wrong("flag turned on and off"));
                    }
                    self.flags.multi_line = (before.multi_line || on.contains('m')) && !off.contains('m');
                    self.flags.dot_all = (before.dot_all || on.contains('s')) && !off.contains('s');
                    if on.contains('i') {
                        begins = "(?i:".to_owned();
                    } else if off.contains('i') {
                        begins = "(?-i:".to_owned();
                    }
                }
                _ => return Err(PatternFault::Wrong("unknown extension")),
            }
        }
        self.push(&begins);
        self.alternatives(depth + 1)?;
        if !self.take(')') {
            return Err(PatternFault::Wrong("missing ), unterminated subpattern"));
        }
        self.push(")");
        self.flags = before;
        Ok(Atom::Repeatable)
    }

    fn name(&mut self) -> Result<()> {
        let mut name = String::new();
        while let Some(c) = self.next() {
            if c == '>' {
                let starts = name.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_');
                if !starts || !name.chars().all(|c| c.is_alphanumeric() || c == '_') {
                    return Err(PatternFault::Wrong("bad character in group name"));
                }
                if !self.names.insert(name) {
                    return Err(PatternFault::Wrong("redefinition of a group name"));
                }
                return Ok(());
            }
            name.push(c);
        }
        Err(PatternFault::Wrong("missing >, unterminated name"))
    }

    fn escape(&mut self) -> Result<Atom> {
        let Some(c) = self.next() else { return Err(PatternFault::Wrong("bad escape at its end")) };
        match c {
            'A' => self.push(r"\A"),
            'Z' => self.push(r"\z"),
            'b' => self.push(r"\b"),
            'B' => self.push(r"\B"),
            'd' | 'D' | 'w' | 'W' | 's' | 'S' => {
                self.push("[");
                self.category(c);
                self.push("]");
                return Ok(Atom::Repeatable);
            }
            '1'..='9' => {
                let digit = |by| self.ahead(by).and_then(|c: char| c.to_digit(8));
                match (c.to_digit(8), digit(0), digit(1)) {
                    (Some(a), Some(b), Some(c)) => {
                        self.at += 2;
                        self.code(a * 64 + b * 8 + c)?;
                    }
                    _ => return Err(PatternFault::NotHere("a reference to a group")),
                }
                return Ok(Atom::Repeatable);
            }
            c => {
                let c = self.character(c)?;
                self.literal(c);
                return Ok(Atom::Repeatable);
            }
        }
        Ok(Atom::Anchor)
    }

    fn code(&mut self, code: u32) -> Result<()> {
        let c = octal(code)?;
        self.literal(c);
        Ok(())
    }

    fn category(&mut self, c: char) {
        self.push(&match c {
            'd' | 'D' => format!(r"\{c}"),
            'w' => WORD.to_owned(),
            'W' => format!("[^{WORD}]"),
            's' => SPACE.to_owned(),
            _ => format!("[^{SPACE}]"),
        });
    }

    /// The character that an escape stands for, in a class or outside.
    fn character(&mut self, c: char) -> Result<char> {
        Ok(match c {
            'a' => '\x07',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            '0' => {
                let mut code = 0;
                for _ in 0..2 {
                    let Some(digit) = self.peek().and_then(|c| c.to_digit(8)) else { break };
                    code = code * 8 + digit;
                    self.at += 1;
                }
                octal(code)?
            }
            'x' => self.hex(2)?,
            'u' => self.hex(4)?,
            'U' => self.hex(8)?,
            'N' => return Err(PatternFault::NotHere("a character by its name")),
            c if c.is_ascii_alphanumeric() => return Err(PatternFault::Wrong("bad escape")),
            c => c,
        })
    }

    fn hex(&mut self, digits: usize) -> Result<char> {
        let mut code = 0_u32;
        for _ in 0..digits {
            let digit =
                self.next().and_then(|c| c.to_digit(16)).ok_or(PatternFault::Wrong("incomplete escape"))?;
            code = code
                .checked_mul(16)
                .and_then(|c| c.checked_add(digit))
                .ok_or(PatternFault::Wrong("bad escape"))?;
        }
        match char::from_u32(code) {
            Some(c) => Ok(c),
            None if code > 0x0010_ffff => Err(PatternFault::Wrong("bad escape")),
            None => Err(PatternFault::NotHere("half a character")),
        }
    }

    fn class(&mut self) -> Result<()> {
        self.push("[");
        if self.take('^') {
            self.push("^");
        }
        let mut is_first = true;
        loop {
            let Some(c) = self.next() else { return Err(PatternFault::Wrong("unterminated character set")) };
            if c == ']' && !is_first {
                self.push("]");
                return Ok(());
            }
            is_first = false;
            let low = self.member(c)?;
            if self.peek() == Some('-') && self.ahead(1).is_some_and(|c| c != ']') {
                self.at += 1;
                let Some(c) = self.next() else {
                    return Err(PatternFault::Wrong("unterminated character set"));
                };
                match (low, self.member(c)?) {
                    (Member::Char(low), Member::Char(high)) if low <= high => {
                        self.literal(low);
                        self.push("-");
                        self.literal(high);
                    }
                    _ => return Err(PatternFault::Wrong("bad character range")),
                }
                continue;
            }
            match low {
                Member::Char(c) => self.literal(c),
                Member::Category(c) => self.category(c),
            }
        }
    }

    fn member(&mut self, c: char) -> Result<Member> {
        if c != '\\' {
            return Ok(Member::Char(c));
        }
        let Some(c) = self.next() else { return Err(PatternFault::Wrong("bad escape at its end")) };
        Ok(match c {
            'd' | 'D' | 'w' | 'W' | 's' | 'S' => Member::Category(c),
            'b' => Member::Char('\x08'),
            '1'..='7' => {
                let mut code = c.to_digit(8).unwrap_or_default();
                for _ in 0..2 {
                    let Some(digit) = self.peek().and_then(|c| c.to_digit(8)) else { break };
                    code = code * 8 + digit;
                    self.at += 1;
                }
                Member::Char(octal(code)?)
            }
            c => Member::Char(self.character(c)?),
        })
    }
}

fn octal(code: u32) -> Result<char> {
    let c =
        u8::try_from(code).map_err(|_| PatternFault::Wrong("octal escape value outside of range 0-0o377"))?;
    Ok(char::from(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_is_what_python_finds() {
        for (pattern, found, not) in [
            ("", &["", "a"][..], &[][..]),
            ("a$", &["a", "ba", "a\n"], &["ab", "a\nb"]),
            ("^a|b$", &["ax", "xb"], &["xa"]),
            ("(?m)^b$", &["a\nb\nc"], &["ab"]),
            (r"\Ab\Z", &["b"], &["b\n", "ab"]),
            ("a.c", &["abc", "a\rc"], &["a\nc"]),
            ("(?s)a.c", &["a\nc"], &["ac"]),
            ("(?i)straSSe", &["STRASSE"], &["street"]),
            ("(?i:A)b", &["ab", "Ab"], &["aB"]),
            ("(?is-m:a.b)c", &["A\nBc"], &["A\nBC"]),
            ("(?P<x>a)+?", &["a"], &["b"]),
            ("a{2}", &["aa"], &["a"]),
            ("a{,2}b", &["b"], &["a"]),
            ("^a{2,}$", &["aaa"], &["a"]),
            ("a{x}", &["a{x}"], &["a"]),
            ("{", &["{"], &["a"]),
            ("{}", &["{}"], &["a"]),
            ("a{,}", &["", "aa"], &[]),
            ("[]a]", &["]", "a"], &["b"]),
            ("[^]a]", &["b"], &["]", "a"]),
            ("[-[&&~~a]", &["[", "&", "~", "-", "a"], &["b"]),
            ("[a-]", &["-", "a"], &["b"]),
            (r"[\w-]", &["_", "-", "é", "٣"], &["\u{301}", " "]),
            (r"^[\W\d]$", &["1", " "], &["a"]),
            (r"[\b]", &["\x08"], &["b"]),
            (r"\bcat\b", &["a cat!"], &["cats"]),
            (r"\s", &["\x1c", "\u{a0}"], &["x"]),
            (r"\S", &["x"], &["\x1c"]),
            (r"\x41\u0042\U00000043", &["ABC"], &["abc"]),
            (r"\101\0\07", &["A\0\x07"], &["A"]),
            (r"[\101-\103]", &["B"], &["D"]),
            (r"\.\<\@\ \#", &[".<@ #"], &["x"]),
            ("a(?#no)b", &["ab"], &["a"]),
            ("ab*", &["a", "abb"], &["b"]),
            ("^(?:ab)*$", &["abab", ""], &["aba"]),
        ] {
            let regex = compile(pattern).unwrap_or_else(|e| panic!("{pattern}: {e}"));
            found.iter().for_each(|text| assert!(regex.is_match(text), "{pattern} in {text:?}"));
            not.iter().for_each(|text| assert!(!regex.is_match(text), "{pattern} in {text:?}"));
        }
    }

    #[test]
    fn what_is_not_done_here_is_named() {
        for (pattern, named) in [
            ("a(?=b)", "a look ahead"),
            ("^(?!admin)", "a look ahead"),
            ("(?<=a)b", "a look behind"),
            ("(?<!a)b", "a look behind"),
            (r"(a)\1", "a reference to a group"),
            ("(?P<a>x)(?P=a)", "a reference to a group"),
            ("(?>a)", "an atomic group"),
            ("a++", "a possessive quantifier"),
            ("a{2}+", "a possessive quantifier"),
            ("(a)?(?(1)b|c)", "a group that depends on another"),
            ("(?x) a", "a flag other than i, m, s and u"),
            ("(?a:a)", "a flag other than i, m, s and u"),
            (r"\N{DIGIT ONE}", "a character by its name"),
            ("(?:a{999}){999}", "more repetitions than fit"),
            ("a{99999999999}", "more repetitions than fit"),
            (&r"\w".repeat(501), "more than 1,000 characters"),
        ] {
            assert_eq!(compile(pattern).err(), Some(PatternFault::NotHere(named)), "{pattern}");
        }
        let deep = format!("{}a{}", "(".repeat(200), ")".repeat(200));
        assert!(matches!(compile(&deep), Err(PatternFault::NotHere(_))));
    }

    #[test]
    fn what_is_no_expression() {
        for pattern in [
            "(",
            ")",
            "a)",
            "[",
            "[a",
            "*",
            "a**",
            "a{2}{3}",
            "+a",
            "^*",
            "$+",
            r"\b?",
            "a{3,2}",
            "[b-a]",
            r"[\d-z]",
            r"\",
            r"\q",
            r"[\q]",
            r"\x4",
            r"\u12",
            "(?",
            "(?P<a",
            "(?P<1>a)",
            "(?P<a>x)(?P<a>y)",
            "(?#",
            "a(?i)",
            "(?z)",
            "(?-:a)",
            "(?i-i:a)",
            r"\400",
            r"[\8]",
            "(?P",
            "{2}",
        ] {
            assert!(
                matches!(compile(pattern), Err(PatternFault::Wrong(_))),
                "{pattern}: {:?}",
                compile(pattern)
            );
        }
    }
}
