//! Strings and lists as Python writes and reads them: where several values are put into a string, the string is
//! Python's list of them, and it is read again where a list is wanted.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Number, Value};

/// Lists within lists.
const DEEPEST: usize = 100;

/// A list of strings, as Python prints it.
pub(super) fn list_repr(values: &[String]) -> String {
    let all: Vec<String> = values.iter().map(|v| repr(v)).collect();
    format!("[{}]", all.join(", "))
}

/// A string, as Python prints it within a list.
fn repr(text: &str) -> String {
    // Anything of these but the space is written by its number.
    static HIDDEN: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^[\p{C}\p{Z}--\x20]$").ok());
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for c in text.chars() {
        let code = u32::from(c);
        match c {
            '\\' => out.push_str(r"\\"),
            '\n' => out.push_str(r"\n"),
            '\r' => out.push_str(r"\r"),
            '\t' => out.push_str(r"\t"),
            c if c == quote => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            c if HIDDEN.as_ref().is_some_and(|hidden| hidden.is_match(c.encode_utf8(&mut [0; 4]))) => {
                out.push_str(&match code {
                    0..=0xff => format!(r"\x{code:02x}"),
                    0x100..=0xffff => format!(r"\u{code:04x}"),
                    _ => format!(r"\U{code:08x}"),
                });
            }
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

/// The list that a string is in Python's spelling; nothing when it is anything else.
pub(super) fn list(text: &str) -> Option<Vec<Value>> {
    let mut reader = Reader { rest: text };
    reader.skip();
    let read = reader.value(0)?;
    reader.skip();
    match read {
        Read::List(items) if reader.rest.is_empty() => Some(items),
        _ => None,
    }
}

enum Read {
    List(Vec<Value>),
    Other(Value),
}

impl Read {
    fn into_value(self) -> Value {
        match self {
            Self::List(items) => items.into(),
            Self::Other(value) => value,
        }
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn skip(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r', '\x0c']);
    }

    fn take(&mut self, what: &str) -> bool {
        let after = self.rest.strip_prefix(what);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = self.rest.get(c.len_utf8()..)?;
        Some(c)
    }

    fn value(&mut self, depth: usize) -> Option<Read> {
        if depth > DEEPEST {
            return None;
        }
        if self.take("[") {
            return Some(Read::List(self.items("]", depth)?.0));
        }
        if self.take("(") {
            let (mut items, is_tuple) = self.items(")", depth)?;
            return match (is_tuple || items.is_empty(), items.pop()) {
                (false, Some(Value::Array(list))) => Some(Read::List(list)),
                (false, Some(other)) => Some(Read::Other(other)),
                (true, last) => {
                    items.extend(last);
                    Some(Read::Other(items.into()))
                }
                (false, None) => None,
            };
        }
        if self.take("{") {
            return Some(Read::Other(self.dictionary(depth)?));
        }
        for (word, value) in
            [("True", Value::Bool(true)), ("False", Value::Bool(false)), ("None", Value::Null)]
        {
            if self.take(word) {
                let ends = !self.rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
                return ends.then_some(Read::Other(value));
            }
        }
        match self.rest.chars().next()? {
            '-' | '+' | '.' | '0'..='9' => self.number().map(Read::Other),
            _ => self.strings().map(|text| Read::Other(text.into())),
        }
    }

    /// Items up to a bracket, and whether there was a comma.
    fn items(&mut self, end: &str, depth: usize) -> Option<(Vec<Value>, bool)> {
        let (mut items, mut has_comma) = (Vec::new(), false);
        loop {
            self.skip();
            if self.take(end) {
                return Some((items, has_comma));
            }
            if !items.is_empty() && !has_comma {
                return None;
            }
            items.push(self.value(depth + 1)?.into_value());
            self.skip();
            if self.take(end) {
                return Some((items, has_comma));
            }
            if !self.take(",") {
                return None;
            }
            has_comma = true;
        }
    }

    fn dictionary(&mut self, depth: usize) -> Option<Value> {
        let mut map = Map::new();
        loop {
            self.skip();
            if self.take("}") {
                return Some(map.into());
            }
            let key = match self.value(depth + 1)?.into_value() {
                Value::String(key) => key,
                Value::Number(number) => number.to_string(),
                _ => return None,
            };
            self.skip();
            if !self.take(":") {
                return None;
            }
            self.skip();
            let value = self.value(depth + 1)?.into_value();
            map.insert(key, value);
            self.skip();
            if !self.take(",") {
                self.skip();
                return self.take("}").then_some(map.into());
            }
        }
    }

    fn number(&mut self) -> Option<Value> {
        let mut minus = false;
        while self.rest.starts_with(['-', '+']) {
            minus ^= self.next() == Some('-');
            self.skip();
        }
        let is_of_number = |c: char| c.is_alphanumeric() || c == '.' || c == '_';
        let mut end = self.rest.find(|c| !is_of_number(c)).unwrap_or(self.rest.len());
        // The sign of an exponent.
        let has_exponent =
            self.rest.get(..end).is_some_and(|t| t.ends_with(['e', 'E']) && !t.starts_with("0x"));
        if has_exponent && self.rest.get(end..).is_some_and(|t| t.starts_with(['-', '+'])) {
            let more = self.rest.get(end + 1..)?;
            end += 1 + more.find(|c| !is_of_number(c)).unwrap_or(more.len());
        }
        let text = self.rest.get(..end)?;
        self.rest = self.rest.get(end..)?;
        let text = text.replace('_', "");
        let is_whole = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let is_zero = is_whole && text.bytes().all(|b| b == b'0');
        if is_whole && !is_zero && text.starts_with('0')
            || !text.starts_with(|c: char| c == '.' || c.is_ascii_digit())
        {
            return None;
        }
        let signed = format!("{}{text}", if minus && !is_zero { "-" } else { "" });
        if is_whole && let Ok(n) = signed.parse::<i64>() {
            return Some(n.into());
        }
        let decimal = text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
        let float = signed.parse::<f64>().ok().filter(|_| decimal)?;
        Number::from_f64(float).map(Value::Number)
    }

    /// One string, or several in a row, which are one.
    fn strings(&mut self) -> Option<String> {
        let mut all = self.string()?;
        loop {
            self.skip();
            if !self.rest.starts_with(['\'', '"', 'r', 'R', 'u', 'U']) {
                return Some(all);
            }
            all.push_str(&self.string()?);
        }
    }

    fn string(&mut self) -> Option<String> {
        let is_raw = self.take("r") || self.take("R");
        if !is_raw {
            let _ = self.take("u") || self.take("U");
        }
        let quote = ["'''", "\"\"\"", "'", "\""].into_iter().find(|quote| self.take(quote))?;
        let mut out = String::new();
        loop {
            if self.take(quote) {
                return Some(out);
            }
            match self.next()? {
                '\n' if quote.len() == 1 => return None,
                '\\' if is_raw => {
                    out.push('\\');
                    out.push(self.next()?);
                }
                '\\' => self.escape(&mut out)?,
                c => out.push(c),
            }
        }
    }

    fn escape(&mut self, out: &mut String) -> Option<()> {
        let c = self.next()?;
        let digits = match c {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            'N' => return None,
            _ => 0,
        };
        if digits > 0 {
            let code = u32::from_str_radix(self.rest.get(..digits)?, 16).ok()?;
            self.rest = self.rest.get(digits..)?;
            out.push(char::from_u32(code)?);
            return Some(());
        }
        match c {
            '\n' => {}
            '\\' | '\'' | '"' => out.push(c),
            'a' => out.push('\x07'),
            'b' => out.push('\x08'),
            'f' => out.push('\x0c'),
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            't' => out.push('\t'),
            'v' => out.push('\x0b'),
            '0'..='7' => {
                let mut code = c.to_digit(8)?;
                for _ in 0..2 {
                    let Some(digit) = self.rest.chars().next().and_then(|c| c.to_digit(8)) else { break };
                    code = code * 8 + digit;
                    self.next();
                }
                out.push(char::from_u32(code)?);
            }
            other => out.extend(['\\', other]),
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn several_values_are_a_list_in_python() {
        let of = |values: &[&str]| list_repr(&values.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&["a", "b c"]), "['a', 'b c']");
        assert_eq!(of(&["it's", "\"", "'\""]), r#"["it's", '"', '\'"']"#);
        assert_eq!(
            of(&["\\ \n\t\r\0\u{7f}\u{a0}é\u{200b}\u{2028}\u{e0001}ß"]),
            r"['\\ \n\t\r\x00\x7f\xa0é\u200b\u2028\U000e0001ß']"
        );
        assert_eq!(of(&[]), "[]");
    }

    #[test]
    fn what_was_written_is_read() {
        let values = ["a", "it's", "\"'", "\\n\n", "ü\u{200b}\u{e0001}"].map(str::to_owned);
        let read = list(&list_repr(&values)).expect("a list");
        assert_eq!(json!(read), json!(values));
    }

    #[test]
    fn a_list_is_read_as_python_reads_it() {
        for (text, value) in [
            ("[]", json!([])),
            (" [1, -2, +3, 1.5, 1e3, 1e-1, 0, 00, 1_000,]", json!([1, -2, 3, 1.5, 1000.0, 0.1, 0, 0, 1000])),
            ("[True, False, None]", json!([true, false, null])),
            (
                r#"['a' "b", u'c', r'\d', '''x
y''']"#,
                json!(["ab", "c", r"\d", "x\ny"]),
            ),
            (r"['\x41\u00e9\101\q\'']", json!(["AéA\\q'"])),
            ("[[1], (2,), (3), {'a': 1, 2: [3]}, ()]", json!([[1], [2], 3, {"a": 1, "2": [3]}, []])),
            ("([1])", json!([1])),
        ] {
            assert_eq!(list(text).map(Value::Array), Some(value), "{text}");
        }
        for text in [
            "",
            "a",
            "[a]",
            "[1",
            "[1]x",
            "[1,,2]",
            "[1 2]",
            "[,]",
            "1, 2",
            "(1,)",
            "'a'",
            "{'a': 1}",
            "['a\n']",
            "[01]",
            "[0x1]",
            "['a]",
            "[1], ",
            "[Truex]",
            r"['\x4']",
            "[1]+[2]",
            "['\\N{DIGIT ONE}']",
            "[1j]",
            "[{1}]",
        ] {
            assert_eq!(list(text), None, "{text}");
        }
        let deep = format!("{}{}", "[".repeat(300), "]".repeat(300));
        assert_eq!(list(&deep), None);
    }
}
