//! Files in the form that oslo.config reads, and the variables that it looks at.
//!
//! Three things are more lenient than there: options before the first section belong to `[DEFAULT]`, a `-` in
//! the name of an option is a `_`, and a file may begin with a byte order mark.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::substitute::substitute;
use super::{ConfigError, known};

/// Whence a value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A line of a file; the first is 1.
    File(Arc<Path>, usize),
    /// A variable of the environment.
    Variable(String),
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

/// One value, as it is written.
struct Set {
    text: String,
    source: Source,
}

/// What an option is set to.
struct Value {
    /// All that it was set to, in the order of the files.
    all: Vec<Set>,
    /// The last of them, with the values of other options in it.
    resolved: Result<String, String>,
}

/// Options by section and name. The last value of a name counts.
#[derive(Default)]
pub struct Ini {
    files: Vec<PathBuf>,
    values: BTreeMap<(String, String), Value>,
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
        Self::with_variables(files, |_| None)
    }

    /// The same, with variables of the environment over the files: `OS_<SECTION>__<OPTION>`, as oslo.config
    /// looks for them.
    ///
    /// # Errors
    /// As [`Ini::of`].
    pub fn with_variables(
        files: &[PathBuf],
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let mut ini = Self::default();
        for file in files {
            let wrong = |e: String| ConfigError(format!("{}: {e}", file.display()));
            let text = std::fs::read_to_string(file).map_err(|e| wrong(e.to_string()))?;
            ini.parse(&text, &Arc::from(file.as_path())).map_err(wrong)?;
        }
        ini.files = files.to_vec();
        for (section, option) in known::all() {
            let name = format!("OS_{}__{}", section.to_uppercase(), option.to_uppercase());
            if let Some(text) = variable(&name) {
                ini.set(section, option, Set { text, source: Source::Variable(name) });
            }
        }
        ini.resolve();
        Ok(ini)
    }

    /// The files, in the order in which they were read.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    fn get(&self, section: &str, option: &str) -> Option<&Value> {
        self.values.get(&(section.to_owned(), option.to_owned()))
    }

    /// What an option is set to. An empty value counts as not set. In a value that refers to an option which is
    /// not there, the reference remains; see [`Ini::trouble`].
    pub fn value(&self, section: &str, option: &str) -> Option<&str> {
        let value = self.get(section, option)?;
        let raw = value.all.last().map(|set| set.text.as_str());
        value.resolved.as_deref().ok().or(raw).filter(|v| !v.is_empty())
    }

    /// All values of an option that may be given several times, as they are written.
    pub fn values(&self, section: &str, option: &str) -> impl Iterator<Item = &str> {
        self.get(section, option).into_iter().flat_map(|v| &v.all).map(|set| set.text.as_str())
    }

    /// Whence the value is that counts.
    pub fn source(&self, section: &str, option: &str) -> Option<&Source> {
        self.get(section, option)?.all.last().map(|set| &set.source)
    }

    /// Why the values of other options could not be put into an option's value.
    pub fn trouble(&self, section: &str, option: &str) -> Option<&str> {
        self.get(section, option)?.resolved.as_ref().err().map(String::as_str)
    }

    /// All that is set, as section and option.
    pub fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.keys().map(|(section, option)| (section.as_str(), option.as_str()))
    }

    /// Reads one file's text over what is there. Errors name the line, and nothing of it.
    pub(super) fn read(&mut self, text: &str) -> Result<(), String> {
        self.parse(text, &Arc::from(Path::new("the text")))?;
        self.resolve();
        Ok(())
    }

    fn set(&mut self, section: &str, option: &str, set: Set) {
        let key = (section.to_owned(), option.to_owned());
        let value =
            self.values.entry(key).or_insert_with(|| Value { all: Vec::new(), resolved: Ok(String::new()) });
        value.all.push(set);
    }

    fn resolve(&mut self) {
        let keys: Vec<(String, String)> = self.values.keys().cloned().collect();
        for (section, option) in keys {
            let resolved = self.resolved(&section, &option, 0);
            if let Some(value) = self.values.get_mut(&(section, option)) {
                value.resolved = resolved;
            }
        }
    }

    /// A set value with the values of other options in it.
    fn resolved(&self, section: &str, option: &str, depth: usize) -> Result<String, String> {
        let raw = self.get(section, option).and_then(|v| v.all.last()).map_or("", |set| set.text.as_str());
        substitute(raw, depth, &|name, depth| self.referred(section, name, depth))
    }

    /// What `$name` is in a value of a section.
    fn referred(&self, section: &str, name: &str, depth: usize) -> Result<String, String> {
        let (of, option) = name.split_once('.').unwrap_or((section, name));
        for (of, option) in [(of, option), ("DEFAULT", name)] {
            if self.get(of, option).is_some() {
                return self.resolved(of, option, depth);
            }
            if let Some(default) = known::default(of, option) {
                return Ok(default);
            }
        }
        Err(format!("`${name}` is the name of no option; a `$` itself is written `$$`"))
    }

    fn parse(&mut self, text: &str, file: &Arc<Path>) -> Result<(), String> {
        let mut section = String::from("DEFAULT");
        // The option that an indented line goes on with.
        let mut open: Option<(String, String)> = None;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (i, line) in text.lines().enumerate() {
            let wrong = |what: &str| format!("line {}: {what}", i + 1);
            let line = line.trim_end();
            if line.starts_with([' ', '\t']) {
                let key = open.as_ref().ok_or_else(|| wrong("nothing to continue"))?;
                if let Some(set) = self.values.get_mut(key).and_then(|v| v.all.last_mut()) {
                    set.text.push('\n');
                    set.text.push_str(line.trim_start());
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
            let name = name.trim_end().replace('-', "_");
            if name.is_empty() {
                return Err(wrong("the option has no name"));
            }
            let source = Source::File(Arc::clone(file), i + 1);
            self.set(&section, &name, Set { text: unquoted(value.trim()).to_owned(), source });
            open = Some((section.clone(), name));
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
        let names: Vec<_> = ini.values.keys().cloned().collect();
        let value = |s: &str, o: &str| ini.value(s, o).unwrap_or_default().to_owned();
        Ok(names.into_iter().map(|(s, o)| (format!("{s}.{o}"), value(&s, &o))).collect())
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
    fn values_refer_to_others() {
        let mut ini = Ini::default();
        ini.read("[DEFAULT]\nhost = h\nround = $round\n[token]\nexpiration = 60\n[s]\na = $host/${token.expiration}\nb = $a\n\
                  c = $$a\nd = pa$word\ne = $fernet_tokens.key_repository\nf = $log_dir.\ng = ${trust.max_redelegation_count}\n")
            .expect("reads");
        for (option, wanted) in [
            ("a", "h/60"),
            ("b", "h/60"),
            ("c", "$a"),
            ("d", "pa$word"),
            ("e", "/etc/keystone/fernet-keys/"),
            ("g", "3"),
        ] {
            assert_eq!(ini.value("s", option), Some(wanted), "{option}");
        }
        assert_eq!(ini.trouble("s", "a"), None);
        assert!(ini.trouble("s", "d").is_some_and(|e| e.contains("`$word` is the name of no option")));
        assert!(ini.trouble("DEFAULT", "round").is_some_and(|e| e.contains("to itself")));
        assert!(ini.trouble("s", "f").is_some());
    }

    #[test]
    fn variables_are_over_the_files() {
        let set = |name: &str| {
            [("OS_TOKEN__EXPIRATION", "60"), ("OS_DEFAULT__LIST_LIMIT", "7"), ("OS_USERNAME", "x")]
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, value)| (*value).to_owned())
        };
        let ini = Ini::with_variables(&[], set).expect("no files");
        assert_eq!(ini.value("token", "expiration"), Some("60"));
        assert_eq!(ini.names().count(), 2);
        assert_eq!(
            ini.source("DEFAULT", "list_limit").map(ToString::to_string).as_deref(),
            Some("OS_DEFAULT__LIST_LIMIT")
        );
    }

    #[test]
    fn values_know_their_line() {
        let mut ini = Ini::default();
        ini.read("# c\n[s]\na = 1\na = 2\n").expect("reads");
        assert_eq!(ini.source("s", "a").map(ToString::to_string).as_deref(), Some("the text:4"));
        assert_eq!(ini.values("s", "a").collect::<Vec<_>>(), ["1", "2"]);
    }

    #[test]
    fn values_are_not_shown() {
        let mut ini = Ini::default();
        ini.read("admin_token = topsecret").expect("reads");
        assert!(!format!("{ini:?}").contains("topsecret"));
    }
}
