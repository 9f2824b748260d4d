//! Files in the form that oslo.config reads.
//!
//! Three things are more lenient than there: options before the first section belong to `[DEFAULT]`, a `-` in
//! the name of an option is a `_`, and a file may begin with a byte order mark.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::ConfigError;

/// Options by section and name. The last value of a name counts, except for options that may have several.
#[derive(Default)]
pub struct Ini {
    values: BTreeMap<(String, String), Vec<String>>,
    files: Vec<PathBuf>,
}

/// Names only: values may be secrets.
impl std::fmt::Debug for Ini {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

impl Ini {
    /// Reads files in their order; later ones win.
    ///
    /// # Errors
    /// A sentence with the file and the line: it cannot be read, or oslo.config would not parse it.
    pub fn of(files: &[PathBuf]) -> Result<Self, ConfigError> {
        let mut ini = Self::default();
        for file in files {
            let wrong = |e: String| ConfigError(format!("{}: {e}", file.display()));
            let text = std::fs::read_to_string(file).map_err(|e| wrong(e.to_string()))?;
            ini.read(&text).map_err(wrong)?;
        }
        ini.files = files.to_vec();
        Ok(ini)
    }

    /// What an option is set to. An empty value counts as not set.
    pub fn value(&self, section: &str, option: &str) -> Option<&str> {
        let values = self.values.get(&(section.to_owned(), option.to_owned()))?;
        values.last().map(String::as_str).filter(|v| !v.is_empty())
    }

    /// All that an option is set to, of those that may be set several times.
    pub fn values(&self, section: &str, option: &str) -> Vec<String> {
        let values = self.values.get(&(section.to_owned(), option.to_owned()));
        values.into_iter().flatten().filter(|v| !v.is_empty()).cloned().collect()
    }

    /// The files that were read.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// All that is set, as section and option.
    pub fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.keys().map(|(section, option)| (section.as_str(), option.as_str()))
    }

    /// Reads one file's text over what is there. Errors name the line, and nothing of it.
    pub(super) fn read(&mut self, text: &str) -> Result<(), String> {
        let mut section = String::from("DEFAULT");
        // The option that an indented line goes on with.
        let mut open: Option<(String, String)> = None;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (i, line) in text.lines().enumerate() {
            let wrong = |what: &str| format!("line {}: {what}", i + 1);
            let line = line.trim_end();
            if line.starts_with([' ', '\t']) {
                let key = open.as_ref().ok_or_else(|| wrong("nothing to continue"))?;
                if let Some(value) = self.values.entry(key.clone()).or_default().last_mut() {
                    value.push('\n');
                    value.push_str(line.trim_start());
                }
                continue;
            }
            open = None;
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(name) = line.strip_prefix('[') {
                let name =
                    name.strip_suffix(']').ok_or_else(|| wrong("the section's bracket is not closed"))?;
                section = match name {
                    "" => return Err(wrong("the section has no name")),
                    "DEFAULT" => name.to_owned(),
                    _ => name.to_lowercase(),
                };
                continue;
            }
            let (name, value) =
                line.split_once(['=', ':']).ok_or_else(|| wrong("neither a section nor `key = value`"))?;
            let name = name.trim_end();
            if name.is_empty() {
                return Err(wrong("the option has no name"));
            }
            let key = (section.clone(), name.replace('-', "_"));
            self.values.entry(key.clone()).or_default().push(unquoted(value.trim()).to_owned());
            open = Some(key);
        }
        Ok(())
    }
}

/// Without quotes around the whole. A quote that is all there is counts as a pair.
fn unquoted(value: &str) -> &str {
    let inner = ['"', '\''].iter().find_map(|quote| {
        let rest = value.strip_prefix(*quote)?;
        if rest.is_empty() { Some(rest) } else { rest.strip_suffix(*quote) }
    });
    inner.unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, String> {
        let mut ini = Ini::default();
        ini.read(text)?;
        let last = |(key, values): ((String, String), Vec<String>)| {
            (format!("{}.{}", key.0, key.1), values.last().cloned().unwrap_or_default())
        };
        Ok(ini.values.into_iter().map(last).collect())
    }

    /// Each of these was given to oslo.config's parser, which reads the same.
    #[test]
    fn what_oslo_reads() {
        for (text, wanted) in [
            ("[DEFAULT]\na = b", &[("DEFAULT.a", "b")][..]),
            ("[s]\na=b", &[("s.a", "b")]),
            ("[s]\na: b", &[("s.a", "b")]),
            ("[s]\na = b:c", &[("s.a", "b:c")]),
            ("[s]\na : b=c", &[("s.a", "b=c")]),
            ("[s]\na=b=c", &[("s.a", "b=c")]),
            ("[s]\na = \"b\"", &[("s.a", "b")]),
            ("[s]\na = 'b'", &[("s.a", "b")]),
            ("[s]\na = \"b'", &[("s.a", "\"b'")]),
            ("[s]\na = \"b\" # c", &[("s.a", "\"b\" # c")]),
            ("[s]\na = '\"b\"'", &[("s.a", "\"b\"")]),
            ("[s]\na = \" b \"", &[("s.a", " b ")]),
            ("[s]\na = \"", &[("s.a", "")]),
            ("[s]\na = \"\"", &[("s.a", "")]),
            ("[s]\na =", &[("s.a", "")]),
            ("[s]\na = b # c", &[("s.a", "b # c")]),
            ("[s]\na = b\n  c\n\td", &[("s.a", "b\nc\nd")]),
            ("[s]\na = \"b\n  c\"", &[("s.a", "\"b\nc\"")]),
            ("[s]\na =\n  b\n  c", &[("s.a", "\nb\nc")]),
            ("[s]\na = b\n  # c", &[("s.a", "b\n# c")]),
            ("[s]\na = 1\na = 2", &[("s.a", "2")]),
            ("[s]\na = 1\n  2\na = 3", &[("s.a", "3")]),
            ("[S]\na=b", &[("s.a", "b")]),
            ("[S]\nA=b", &[("s.A", "b")]),
            ("[ s ]\na=b", &[(" s .a", "b")]),
            ("[s]x]\na=b", &[("s]x.a", "b")]),
            (
                "[DEFAULT]\na=b\n[s]\na=c\n[DEFAULT]\nd=e",
                &[("DEFAULT.a", "b"), ("DEFAULT.d", "e"), ("s.a", "c")],
            ),
            ("[default]\na=b", &[("default.a", "b")]),
            ("; c\n# c\n\n[s]\n# c\na=b\n\n", &[("s.a", "b")]),
            ("[s]\r\na = b\r\n  c\r\n", &[("s.a", "b\nc")]),
            ("[s]\na = é  \n", &[("s.a", "é")]),
            ("", &[]),
        ] {
            let wanted: Vec<_> = wanted.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            assert_eq!(read(text), Ok(wanted), "{text:?}");
        }
    }

    #[test]
    fn what_oslo_refuses_with_its_line() {
        for (text, line) in [
            ("[s]\na = b\n\n  c", 4),
            ("[s]\na = b\n   \n  c", 4),
            ("[s]\na = b\n# x\n  c", 4),
            ("[s]\na = b\n[t]\n  c", 4),
            ("  a = b", 1),
            ("[s]\n  a = topsecret", 2),
            ("[s]\ntopsecret", 2),
            ("[s]\n= topsecret", 2),
            ("[s", 1),
            ("[]", 1),
            ("[s] # c", 1),
        ] {
            let e = read(text).expect_err(text);
            assert!(e.starts_with(&format!("line {line}: ")) && !e.contains("topsecret"), "{text:?}: {e}");
        }
    }

    #[test]
    fn what_is_more_lenient_than_oslo() {
        let wanted = |key: &str| Ok(vec![(key.to_owned(), "c".to_owned())]);
        assert_eq!(read("a = c"), wanted("DEFAULT.a"));
        assert_eq!(read("[s]\na-b = c"), wanted("s.a_b"));
        assert_eq!(read("\u{feff}[s]\na = c"), wanted("s.a"));
    }

    #[test]
    fn values_are_not_shown() {
        let mut ini = Ini::default();
        ini.read("admin_token = topsecret").expect("reads");
        assert!(!format!("{ini:?}").contains("topsecret"));
    }
}
