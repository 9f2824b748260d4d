//! `{0}`, `{1}`: where a rule's local part takes what its remote part found.

use super::Fault;
use super::literal::list_repr;

/// Puts found values into a string, as Python's `str.format` does: one value as it is, several as a list. More of
/// that language (attributes, items, widths) is not done here.
pub(super) fn fill(text: &str, found: &[Vec<String>]) -> Result<String, Fault> {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    let (mut counted, mut numbered) = (0_usize, false);
    let wrong = || Fault::Template(text.to_owned());
    while let Some(c) = chars.next() {
        match c {
            '{' | '}' if chars.peek() == Some(&c) => {
                chars.next();
                out.push(c);
            }
            '}' => return Err(wrong()),
            '{' => {
                let mut field = String::new();
                loop {
                    match chars.next() {
                        Some('}') => break,
                        Some(c) => field.push(c),
                        None => return Err(wrong()),
                    }
                }
                let index = if field.is_empty() && !numbered {
                    counted += 1;
                    counted - 1
                } else if counted == 0 && field.bytes().all(|b| b.is_ascii_digit()) && !field.is_empty() {
                    numbered = true;
                    field.parse().map_err(|_| wrong())?
                } else {
                    return Err(wrong());
                };
                let values = found.get(index).ok_or_else(|| Fault::NoSuchMatch(text.to_owned()))?;
                match values.as_slice() {
                    [one] => out.push_str(one),
                    several => out.push_str(&list_repr(several)),
                }
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_take_their_places() {
        let found = [vec!["a".to_owned()], vec!["b".to_owned(), "c".to_owned()], Vec::new()];
        for (text, filled) in [
            ("x", "x"),
            ("{0}-{0}", "a-a"),
            ("{1}", "['b', 'c']"),
            ("{2}", "[]"),
            ("{}{}", "a['b', 'c']"),
            ("{{0}}", "{0}"),
            ("{{{0}}}", "{a}"),
            ("{00}", "a"),
        ] {
            assert_eq!(fill(text, &found), Ok(filled.to_owned()), "{text}");
        }
        for text in
            ["{", "}", "{0", "{a}", "{0.x}", "{0[0]}", "{0!r}", "{0:>9}", "{}{0}", "{0}{}", "{-1}", "a}b"]
        {
            assert_eq!(fill(text, &found), Err(Fault::Template(text.to_owned())), "{text}");
        }
        assert_eq!(fill("{3}", &found), Err(Fault::NoSuchMatch("{3}".to_owned())));
    }
}
