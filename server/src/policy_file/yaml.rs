//! The text of a policy file: a mapping of names to rules, as YAML or JSON.
//!
//! A file is JSON if it can be read as that, and otherwise YAML. YAML means here what it means to PyYAML. One
//! thing is stricter: oslo.policy takes a rule that is null, false, zero or an empty list for one that allows
//! everybody, and fails at others that are no string. Here such a rule refuses everybody.

use std::collections::HashMap;
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle};
use vicar_rules::policy::{Check, Override};

/// What a node of a file is worth.
#[derive(Debug, PartialEq)]
enum Node {
    /// A string.
    Text(String),
    /// A list.
    List(Vec<Rc<Node>>),
    /// Null, false, zero: as oslo.policy sees it, nothing. As it is written.
    Nothing(String),
    /// A number, a date, a mapping. As it is written.
    Other(String),
}

/// How deep lists and mappings may be in each other.
const DEEPEST: usize = 64;

/// The rules in a file, in its order.
///
/// # Errors
/// With the line, when it is no YAML, or no mapping of names to rules.
pub(super) fn parse(text: &str) -> Result<Vec<Override>, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // Errors come from the YAML parser: it reads JSON too, and knows the line.
    match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text) {
        Ok(map) => Ok(map.into_iter().map(|(name, rule)| meaning(name, &json(rule))).collect()),
        Err(_) => yaml(text),
    }
}

fn json(value: serde_json::Value) -> Node {
    use serde_json::Value;
    match value {
        Value::String(text) => Node::Text(text),
        Value::Array(items) => Node::List(items.into_iter().map(|i| Rc::new(json(i))).collect()),
        Value::Object(map) if !map.is_empty() => Node::Other("a mapping".to_owned()),
        other => match other.to_string().as_str() {
            written @ ("null" | "false" | "0" | "0.0" | "{}") => Node::Nothing(written.to_owned()),
            written => Node::Other(written.to_owned()),
        },
    }
}

/// What a rule says that is no string, or in lists.
fn meaning(name: String, node: &Node) -> Override {
    let text = written(node);
    let refused = |why: &str| Check::unknown(text.clone(), why);
    let check = match node {
        Node::Text(rule) => Check::read(rule),
        Node::List(items) if items.is_empty() => {
            refused("an empty list is no rule; \"@\" allows everybody, \"!\" nobody, both in quotes")
        }
        Node::List(items) => match lists(items) {
            Some(lists) => Check::of_lists(&lists),
            None => refused("lists of a rule hold strings"),
        },
        Node::Nothing(_) | Node::Other(_) => {
            refused("a rule is a string; \"@\" allows everybody, \"!\" nobody, both in quotes")
        }
    };
    Override { name, check, text, is_string: matches!(node, Node::Text(_)) }
}

/// The old form of a rule: a list of lists, or of strings.
fn lists(items: &[Rc<Node>]) -> Option<Vec<Vec<String>>> {
    let text = |node: &Rc<Node>| match node.as_ref() {
        Node::Text(text) => Some(text.clone()),
        Node::List(_) | Node::Nothing(_) | Node::Other(_) => None,
    };
    items
        .iter()
        .map(|item| match item.as_ref() {
            Node::Text(check) if check.is_empty() => Some(Vec::new()),
            Node::Text(check) => Some(vec![check.clone()]),
            Node::List(checks) => checks.iter().map(text).collect(),
            Node::Nothing(_) => Some(Vec::new()),
            Node::Other(_) => None,
        })
        .collect()
}

/// A node as a rule is shown; of lists two levels.
fn written(node: &Node) -> String {
    shown(node, 2)
}

fn shown(node: &Node, levels: u8) -> String {
    match node {
        Node::Text(text) | Node::Nothing(text) | Node::Other(text) => text.clone(),
        Node::List(_) if levels == 0 => "[…]".to_owned(),
        Node::List(items) => {
            let items: Vec<String> = items
                .iter()
                .map(|item| match item.as_ref() {
                    Node::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
                    other => shown(other, levels - 1),
                })
                .collect();
            format!("[{}]", items.join(", "))
        }
    }
}

/// A list or mapping that is being read.
enum Open {
    List(usize, Vec<Rc<Node>>),
    /// Of what is in a mapping inside a rule only the number is kept.
    Mapping(usize, usize),
}

/// What is expected next of the file itself.
enum Expected {
    Mapping,
    Name,
    Rule(Node),
    End,
}

fn yaml(text: &str) -> Result<Vec<Override>, String> {
    let mut rules = Vec::new();
    let mut anchors: HashMap<usize, Rc<Node>> = HashMap::new();
    let mut open: Vec<Open> = Vec::new();
    let mut expected = Expected::Mapping;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|e| format!("line {}: {}", e.marker().line(), e.info()))?;
        let wrong = |what: &str| Err(format!("line {}: {what}", span.start.line()));
        let mut keep = |anchor: usize, node: Node| {
            let node = Rc::new(node);
            if anchor > 0 {
                anchors.insert(anchor, Rc::clone(&node));
            }
            node
        };
        let node = match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => continue,
            _ if matches!(expected, Expected::End) => return wrong("a second document; one is expected"),
            Event::DocumentStart(_) => continue,
            Event::MappingStart(..) if matches!(expected, Expected::Mapping) => {
                expected = Expected::Name;
                continue;
            }
            Event::MappingEnd if open.is_empty() && matches!(expected, Expected::Name) => {
                expected = Expected::End;
                continue;
            }
            // A file without anything in it but comments.
            Event::Scalar(value, ScalarStyle::Plain, _, None)
                if value.is_empty() && matches!(expected, Expected::Mapping) =>
            {
                expected = Expected::End;
                continue;
            }
            _ if matches!(expected, Expected::Mapping) => {
                return wrong("a mapping of names to rules is expected");
            }
            Event::SequenceStart(..) | Event::MappingStart(..) if open.len() >= DEEPEST => {
                return wrong("it is nested too deep");
            }
            Event::SequenceStart(anchor, _) => {
                open.push(Open::List(anchor, Vec::new()));
                continue;
            }
            Event::MappingStart(anchor, _) => {
                open.push(Open::Mapping(anchor, 0));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open::List(anchor, items)) => keep(anchor, Node::List(items)),
                Some(Open::Mapping(anchor, 0)) => keep(anchor, Node::Nothing("{}".to_owned())),
                Some(Open::Mapping(anchor, _)) => keep(anchor, Node::Other("a mapping".to_owned())),
                None => return wrong("it ends too early"),
            },
            Event::Scalar(value, style, anchor, tag) => {
                let tag = tag.as_ref().map(|tag| (tag.handle.as_str(), tag.suffix.as_str()));
                keep(anchor, scalar(&value, style, tag))
            }
            Event::Alias(anchor) => match anchors.get(&anchor) {
                Some(node) => Rc::clone(node),
                None => return wrong("it refers to something that it is a part of"),
            },
        };
        match open.last_mut() {
            Some(Open::List(_, items)) => {
                items.push(node);
                continue;
            }
            Some(Open::Mapping(_, count)) => {
                *count += 1;
                continue;
            }
            None => {}
        }
        expected = match (expected, node.as_ref()) {
            (Expected::Name, Node::Text(name)) => Expected::Rule(Node::Text(name.clone())),
            (Expected::Name, Node::Other(name)) if name == "<<" => {
                return wrong("mappings are not merged here; write the rules themselves");
            }
            (Expected::Name, Node::Nothing(name) | Node::Other(name)) if name != "a mapping" => {
                Expected::Rule(Node::Other(name.clone()))
            }
            (Expected::Rule(Node::Text(name)), rule) => {
                rules.push(meaning(name, rule));
                Expected::Name
            }
            (Expected::Rule(name), _) => {
                let name = written(&name);
                let check =
                    Check::unknown(name.clone(), "for YAML the name is no string; write it in quotes");
                rules.push(Override { name, check, text: written(&node), is_string: true });
                Expected::Name
            }
            _ => return wrong("the name of a rule must be a string"),
        };
    }
    Ok(rules)
}

/// What a scalar is worth to PyYAML. The tag is its handle and its suffix.
fn scalar(value: &str, style: ScalarStyle, tag: Option<(&str, &str)>) -> Node {
    match string(value, style, tag) {
        Some(text) => Node::Text(text.to_owned()),
        None => match value.to_ascii_lowercase().as_str() {
            "" => Node::Nothing("null".to_owned()),
            "~" | "null" | "false" | "no" | "off" | "0" => Node::Nothing(value.to_owned()),
            _ => Node::Other(value.to_owned()),
        },
    }
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

    /// Names and rules as they are written, sorted; the last of a name counts.
    fn read(text: &str) -> Vec<(String, String)> {
        let rules = parse(text).unwrap_or_else(|e| panic!("{text:?}: {e}"));
        let map: std::collections::BTreeMap<_, _> = rules.into_iter().map(|r| (r.name, r.text)).collect();
        map.into_iter().collect()
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

    /// The one unknown of a rule `b`, as it is written.
    fn unknown(text: &str) -> String {
        let rules = parse(text).unwrap_or_else(|e| panic!("{text:?}: {e}"));
        let found: Vec<&Override> = rules.iter().filter(|r| r.name == "b").collect();
        match found.as_slice() {
            [Override { check: Check::Unknown(unknown), .. }] => unknown.check.clone(),
            other => panic!("{text:?}: {other:?}"),
        }
    }

    /// What each of these is to oslo.policy is in the second column: most allow everybody, or stop it.
    #[test]
    fn what_is_no_string_refuses_its_rule_alone() {
        for (rule, written) in [
            ("!", "null"),
            ("! '!'", "!"),
            ("! ''", "null"),
            ("", "null"),
            ("~", "~"),
            ("null", "null"),
            ("Null", "Null"),
            ("yes", "yes"),
            ("off", "off"),
            ("true", "true"),
            ("0", "0"),
            ("1", "1"),
            ("1.5", "1.5"),
            ("0x1F", "0x1F"),
            ("1:30", "1:30"),
            ("2001-01-01", "2001-01-01"),
            ("[]", "[]"),
            ("{}", "{}"),
            ("{b: c}", "a mapping"),
            ("[1]", "[1]"),
            ("[[1]]", "[[1]]"),
            ("[[[role:x]]]", "[[[…]]]"),
            ("[{b: c}]", "[a mapping]"),
            ("!foo x", "x"),
            ("!!null x", "x"),
            ("!!int 1", "1"),
            ("=", "="),
            ("\n  b: c", "a mapping"),
        ] {
            let text = format!("# c\na: role:x\nb: {rule}\nc: role:y\n");
            assert_eq!(unknown(&text), written, "{rule}");
            assert_eq!(parse(&text).expect("read").len(), 3, "{rule}");
        }
        for (rule, written) in [
            ("null", "null"),
            ("false", "false"),
            ("true", "true"),
            ("0", "0"),
            ("1.5", "1.5"),
            ("[]", "[]"),
            ("{}", "{}"),
            ("{\"a\": \"@\"}", "a mapping"),
            ("[[null]]", "[[null]]"),
        ] {
            assert_eq!(unknown(&format!("{{\"a\": \"role:x\", \"b\": {rule}}}")), written, "{rule}");
        }
        assert_eq!(unknown("1: role:x\nb: ~\n"), "~");
        let rules = parse("on: role:x\na: rule:on\n").expect("read");
        assert!(matches!(rules[0].check, Check::Unknown(_)), "PyYAML has no rule `on` there");
    }

    #[test]
    fn lists_are_the_old_form_of_a_rule() {
        for (text, wanted) in [
            ("a: [[role:x], [rule:y]]", "role:x or rule:y"),
            ("a: [role:x, rule:y]", "role:x or rule:y"),
            ("a:\n- - role:x\n  - role:z\n- - rule:y\n", "(role:x and role:z) or rule:y"),
            ("a: [[role:x]]", "role:x"),
            ("a: [role:x, [], '', ~, false]", "role:x"),
            ("a: [[]]", "!"),
            ("a: &l [role:x]\nb: [*l, rule:y]\n", "role:x"),
            ("{\"a\": [[\"role:x\"], [\"rule:y\"]]}", "role:x or rule:y"),
        ] {
            let rules = parse(text).expect(text);
            assert_eq!(rules[0].check, Check::read(wanted), "{text}");
        }
        let rules = parse("a: &l [role:x]\nb: [*l, rule:y]\n").expect("read");
        assert_eq!(rules[1].check, Check::read("role:x or rule:y"));
        assert_eq!(rules[1].text, "[[\"role:x\"], \"rule:y\"]");
    }

    #[test]
    fn what_is_no_policy_is_refused_with_its_line() {
        for broken in
            ["b: *x", "b: @", "b: %x", "b: \"x", "b: 'x", "b: [x", "b: {x", "b: - x", "b: x: y", "<<: {b: x}"]
        {
            let e = parse(&format!("# c\na: role:x\n{broken}\n")).expect_err(broken);
            assert!(e.starts_with("line 3: ") || e.starts_with("line 4: "), "{broken}: {e}");
        }
        for other in
            ["- a: role:x", "role:x", "? [a]\n: role:x", "a: role:x\n---\nb: role:y", "[]", "a: &a [*a]"]
        {
            assert!(parse(other).expect_err(other).starts_with("line "), "{other}");
        }
        let deep = format!("a: {}{}", "[".repeat(100), "]".repeat(100));
        assert!(parse(&deep).is_err());
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "[a\"'!&*|>%:{}\\[\\], \n\t#~-]{0,60}|.{0,60}") {
            let _ = parse(&text);
        }
    }
}
