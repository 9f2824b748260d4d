//! `[oslo_policy] policy_file`: a mapping of names to rules, as YAML or JSON.
//!
//! As with oslo.policy, a file is JSON if it can be read as that, and otherwise YAML. YAML means here what it
//! means to PyYAML. One thing is stricter: oslo.policy takes a rule that is null or an empty list for one that
//! allows everybody. Here a rule is a string, or the file is refused.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use saphyr_parser::{Event, Parser, ScalarStyle};
use vicar_rules::policy::{Check, Policy};

/// Reads overrides and lays them over the shipped table. A file that is not there overrides nothing,
/// as with oslo.policy.
///
/// # Errors
/// A sentence for the operator, with the file's name, when the file or a rule in it cannot be read.
pub fn load(file: &Path) -> Result<Policy, String> {
    let rules = match std::fs::read_to_string(file) {
        Ok(text) => parse(&text),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(e) => Err(e.to_string()),
    };
    rules
        .and_then(|rules| {
            for (name, rule) in &rules {
                Check::parse(rule).map_err(|e| format!("{name}: {e}"))?;
            }
            Policy::with_overrides(rules.iter().map(|(k, v)| (k.as_str(), v.as_str())))
                .map_err(|e| e.to_string())
        })
        .map_err(|e| format!("{}: {e}", file.display()))
}

/// The names that a file overrides.
///
/// # Errors
/// As [`load`], and when the file is not there.
pub fn names(file: &Path) -> Result<Vec<String>, String> {
    load(file)?;
    let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
    Ok(parse(&text)?.into_keys().collect())
}

/// The rules in a file by name. The last of a name counts.
fn parse(text: &str) -> Result<BTreeMap<String, String>, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // Errors come from the YAML parser: it reads JSON too, and knows the line.
    serde_json::from_str(text).or_else(|_| yaml(text))
}

/// What is expected next.
enum Expected {
    Mapping,
    Name,
    Rule(String),
    End,
}

fn yaml(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut rules = BTreeMap::new();
    let mut anchors = HashMap::new();
    let mut expected = Expected::Mapping;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|e| format!("line {}: {}", e.marker().line(), e.info()))?;
        let wrong = |what: &str| format!("line {}: {what}", span.start.line());
        let scalar = match &event {
            Event::Scalar(value, style, anchor, tag) => {
                let tag = tag.as_ref().map(|tag| (tag.handle.as_str(), tag.suffix.as_str()));
                let value = string(value, *style, tag);
                if let (Some(value), 1..) = (value, *anchor) {
                    anchors.insert(*anchor, value.to_owned());
                }
                value.map(str::to_owned)
            }
            Event::Alias(anchor) => anchors.get(anchor).cloned(),
            _ => None,
        };
        expected = match (expected, event) {
            (now, Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd) => now,
            (Expected::End, _) => return Err(wrong("a second document; one is expected")),
            (now @ Expected::Mapping, Event::DocumentStart(_)) => now,
            // A file without anything in it but comments.
            (Expected::Mapping, Event::Scalar(value, ScalarStyle::Plain, _, None)) if value.is_empty() => {
                Expected::End
            }
            (Expected::Mapping, Event::MappingStart(..)) => Expected::Name,
            (Expected::Mapping, _) => return Err(wrong("a mapping of names to rules is expected")),
            (Expected::Name, Event::MappingEnd) => Expected::End,
            (Expected::Name, _) => match scalar {
                Some(name) => Expected::Rule(name),
                None => return Err(wrong("the name of a rule must be a string")),
            },
            (Expected::Rule(name), _) => match scalar {
                Some(rule) => {
                    rules.insert(name, rule);
                    Expected::Name
                }
                None => {
                    return Err(wrong(&format!(
                        "{name}: the rule must be a string; \"\" allows everybody, \"!\" nobody, both in quotes"
                    )));
                }
            },
        };
    }
    Ok(rules)
}

/// What a scalar is worth, if PyYAML takes it for a string. The tag is its handle and its suffix.
fn string<'a>(value: &'a str, style: ScalarStyle, tag: Option<(&str, &str)>) -> Option<&'a str> {
    let plain = match tag {
        None => style == ScalarStyle::Plain,
        Some(("tag:yaml.org,2002:", "str")) => false,
        // A lone `!` names no type. PyYAML then takes even a quoted scalar for a plain one.
        Some(("" | "!", "" | "!")) => true,
        Some(_) => return None,
    };
    let lower = value.to_ascii_lowercase();
    let other = matches!(lower.as_str(), "" | "~" | "null" | "true" | "false" | "yes" | "no" | "on" | "off")
        || matches!(value, "=" | "<<" | "!" | "&" | "*")
        || number(value);
    (!plain || !other).then_some(value)
}

/// Whether a plain scalar could be a number or a date, in the many forms of YAML 1.1.
fn number(value: &str) -> bool {
    let digits = value.trim_start_matches(['+', '-']);
    match digits.strip_prefix("0x") {
        Some(hex) => hex.bytes().all(|b| b.is_ascii_hexdigit() || b == b'_'),
        None => {
            digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
                && digits.bytes().all(|b| b.is_ascii_digit() || b"_.:+-eEb".contains(&b))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same as a list, for comparison.
    fn read(text: &str) -> Vec<(String, String)> {
        parse(text).unwrap_or_else(|e| panic!("{text:?}: {e}")).into_iter().collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn yaml_and_json() {
        let yaml = "# c\n\"identity:get_user\": \"role:auditor or rule:admin_required\"\n\"identity:list_users\": \"!\"\n";
        let json =
            r#"{"identity:get_user": "role:auditor or rule:admin_required", "identity:list_users": "!"}"#;
        assert_eq!(read(yaml), read(json));
        assert_eq!(read(yaml).len(), 2);
        // oslo.policy tries JSON first, so tabs are no error there.
        assert_eq!(read("{\n\t\"a\": \"@\"\n}"), pairs(&[("a", "@")]));
        assert!(parse("nonsense").is_err());
    }

    /// Each of these was given to PyYAML 6.0.3, which reads the same.
    #[test]
    fn what_pyyaml_reads() {
        for (text, wanted) in [
            ("a: '!' # nobody", &[("a", "!")][..]),
            ("a: \"x\" # c\nb: role:y # c\nc: role:y#z\n", &[("a", "x"), ("b", "role:y"), ("c", "role:y#z")]),
            ("\"a:b\": 'role:x or ''y'':%(user_id)s'\n", &[("a:b", "role:x or 'y':%(user_id)s")]),
            ("a: >\n  role:x\n  or role:y\nb: \"@\"\n", &[("a", "role:x or role:y\n"), ("b", "@")]),
            ("a: >-\n  role:x\n\n  or role:y\n", &[("a", "role:x\nor role:y")]),
            ("a: |\n  role:x\n  or role:y\n", &[("a", "role:x\nor role:y\n")]),
            ("a:\n  role:x\n", &[("a", "role:x")]),
            ("a: role:x or\n   role:y\n", &[("a", "role:x or role:y")]),
            ("\"a\": \"role:x\n  or role:y\"\n", &[("a", "role:x or role:y")]),
            ("a: \"x\\\n  y\"\n", &[("a", "xy")]),
            ("a: \"role:\\u0078\"\n", &[("a", "role:x")]),
            ("identity:get_user: role:x\n", &[("identity:get_user", "role:x")]),
            ("a: (role:x and not role:y)\n", &[("a", "(role:x and not role:y)")]),
            ("a: role:x\nb: role:y\na: role:z\n", &[("a", "role:z"), ("b", "role:y")]),
            ("\u{feff}a: role:x\nb: role:y\n", &[("a", "role:x"), ("b", "role:y")]),
            ("\u{feff}{\"a\": \"role:x\"}", &[("a", "role:x")]),
            ("%YAML 1.1\n--- # c\na: role:x\n...\n", &[("a", "role:x")]),
            ("a: role:x\r\nb: role:y\r\n", &[("a", "role:x"), ("b", "role:y")]),
            ("{a: role:x, b: \"@\",}", &[("a", "role:x"), ("b", "@")]),
            ("? a\n: role:x\n", &[("a", "role:x")]),
            ("2fa: role:2\n", &[("2fa", "role:2")]),
            ("a: &x role:y\nb: *x\n", &[("a", "role:y"), ("b", "role:y")]),
            ("a: !!str 1\nb: ! role:x\nc: ! 'x'\n", &[("a", "1"), ("b", "role:x"), ("c", "x")]),
            ("a: ''\nb: \"\"\n", &[("a", ""), ("b", "")]),
            ("", &[]),
            ("# c\n", &[]),
            ("---\n", &[]),
            ("{}", &[]),
        ] {
            assert_eq!(read(text), pairs(wanted), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_string_is_refused_with_its_line() {
        for rule in [
            "!",
            "! '!'",
            "! ''",
            "",
            "~",
            "null",
            "Null",
            "yes",
            "off",
            "true",
            "1",
            "1.5",
            "0x1F",
            "1:30",
            "2001-01-01",
            "[role:x]",
            "[]",
            "{b: c}",
            "!foo x",
            "!!null x",
            "*x",
            "@",
            "%x",
            "=",
            "- role:x",
            "x: y",
        ] {
            let e = parse(&format!("# c\na: role:x\nb: {rule}\n")).expect_err(rule);
            assert!(e.starts_with("line 3: ") || e.starts_with("line 4: "), "{rule}: {e}");
        }
        let e = parse("a: role:x\nb: !\n").expect_err("null in YAML");
        assert!(e.starts_with("line 2: b: the rule must be a string"), "{e}");
        for json in ["{\"a\": \"role:x\",\n\"b\": null}", "{\"a\": \"role:x\",\n\"b\": [\"role:y\"]}"] {
            assert!(parse(json).expect_err("no string").starts_with("line 2: b: "), "{json}");
        }
        for other in ["- a: role:x", "role:x", "1: role:x", "on: role:x", "a: role:x\n---\nb: role:y", "[]"] {
            assert!(parse(other).expect_err(other).starts_with("line "), "{other}");
        }
    }

    #[test]
    fn errors_name_the_file_and_the_rule() {
        let file = std::env::temp_dir().join(format!("vicar-policy-{}.yaml", crate::ids::uuid()));
        assert!(load(&file).is_ok() && names(&file).is_err(), "no file overrides nothing");
        std::fs::write(&file, "\u{feff}identity:get_user: role:x or (\nother: role:y\n").expect("written");
        let e = load(&file).expect_err("not closed");
        assert!(e.contains(".yaml: identity:get_user: "), "{e}");
        std::fs::write(&file, "\u{feff}identity:get_user: '!'\nother: role:y\n").expect("written");
        assert_eq!(names(&file), Ok(vec!["identity:get_user".to_owned(), "other".to_owned()]));
        std::fs::remove_file(&file).expect("removed");
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "[a\"'!&*|>%:{}\\[\\], \n\t#~-]{0,60}|.{0,60}") {
            let _ = parse(&text);
        }
    }
}
