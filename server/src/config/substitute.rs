//! Other options' values in the place of `$name`, as oslo.config puts them there.

/// How deep values may refer to others.
const DEEPEST: usize = 16;

/// Replaces `$name`, `${name}`, `$section.name` and `${section.name}` by what `lookup` returns for it; `$$` and
/// `\$` are a `$`. A `$` that begins no name remains, as the one at the end of a regular expression.
///
/// # Errors
/// What `lookup` says of a name that is not there, or that values refer to each other without end.
pub(super) fn substitute(
    value: &str,
    depth: usize,
    lookup: &dyn Fn(&str, usize) -> Result<String, String>,
) -> Result<String, String> {
    if depth > DEEPEST {
        return Err("its value refers to others too deep, or to itself".to_owned());
    }
    let value = value.replace(r"\$", "$$");
    let mut out = String::with_capacity(value.len());
    let mut rest = value.as_str();
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = name(after) {
            out.push_str(&lookup(name, depth + 1)?);
            rest = after;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// The name at the beginning, with or without braces, and what follows.
fn name(text: &str) -> Option<(&str, &str)> {
    let (inner, braces) = match text.strip_prefix('{') {
        Some(inner) => (inner, true),
        None => (text, false),
    };
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    let end = inner.find(|c| !is_part(c)).unwrap_or(inner.len());
    let (name, rest) = inner.split_at(end);
    if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        return None;
    }
    if braces { rest.strip_prefix('}').map(|rest| (name, rest)) } else { Some((name, rest)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(value: &str) -> Result<String, String> {
        substitute(value, 0, &|name, _| match name {
            "a" => Ok("1".to_owned()),
            "s.b" => Ok("2".to_owned()),
            "none" => Ok(String::new()),
            _ => Err(format!("`{name}`")),
        })
    }

    /// Each of these was given to oslo.config, which returns the same.
    #[test]
    fn what_oslo_replaces() {
        for (value, wanted) in [
            ("plain", "plain"),
            ("$a", "1"),
            ("${a}", "1"),
            ("x$a-y", "x1-y"),
            ("$s.b/${s.b}", "2/2"),
            ("$none!", "!"),
            ("$$a", "$a"),
            (r"\$a", "$a"),
            ("pa$$word", "pa$word"),
            ("$$$a", "$1"),
            ("^x$", "^x$"),
            ("$ a", "$ a"),
            ("$1", "$1"),
            ("${a", "${a"),
            ("${}", "${}"),
            ("(a|b)$|c", "(a|b)$|c"),
            ("é$a", "é1"),
        ] {
            assert_eq!(result(value).as_deref(), Ok(wanted), "{value}");
        }
        for value in ["$x", "pa$word", "$a.", "$a_", "${s.c}"] {
            assert!(result(value).is_err(), "{value}");
        }
    }

    #[test]
    fn what_refers_to_itself_is_an_error() {
        fn look(name: &str, depth: usize) -> Result<String, String> {
            substitute(&format!("${name}"), depth, &look)
        }
        assert!(substitute("$a", 0, &look).is_err());
    }

    proptest::proptest! {
        #[test]
        fn never_panics(value in "[a.${}\\\\é]{0,30}") {
            let _ = result(&value);
        }
    }
}
