//! Documents and what they come to. Compared with Keystone itself in `tests/world/mapping_rules.py`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;

fn parse(version: Version, document: &Value) -> Result<Mapping, Malformed> {
    Mapping::parse(document.as_object().expect("an object"), version)
}

fn rules(local: Value, remote: Value) -> Value {
    json!({"rules": [{"local": local, "remote": remote}]})
}

fn attributes(all: &[(&str, &str)]) -> BTreeMap<String, String> {
    all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn mapped(version: Version, document: &Value, all: &[(&str, &str)]) -> Result<Mapped, Fault> {
    parse(version, document).expect("a mapping").evaluate(&attributes(all))
}

#[test]
fn what_is_no_mapping_is_told_where() {
    let remote = || json!([{"type": "a"}]);
    let local = |value: Value| rules(json!([value]), remote());
    let of = |value: Value| rules(json!([]), json!([value]));
    for (document, at) in [
        (json!({}), "rules"),
        (json!({"rules": {}}), "rules"),
        (json!({"rules": []}), "rules"),
        (json!({"rules": [1]}), "rules[0]"),
        (json!({"rules": [{"local": []}]}), "rules[0].remote"),
        (json!({"rules": [{"remote": []}]}), "rules[0].local"),
        (json!({"rules": [{"local": [], "remote": [], "x": 1}]}), "rules[0].x"),
        (rules(json!([]), json!([])), "rules[0].remote"),
        (rules(json!({}), remote()), "rules[0].local"),
        (local(json!("x")), "rules[0].local[0]"),
        (local(json!({"x": 1})), "rules[0].local[0].x"),
        (local(json!({"projects_json": "{0}"})), "rules[0].local[0].projects_json"),
        (local(json!({"user": "x"})), "rules[0].local[0].user"),
        (local(json!({"user": {"x": "y"}})), "rules[0].local[0].user.x"),
        (local(json!({"user": {"name": 1}})), "rules[0].local[0].user.name"),
        (local(json!({"user": {"type": "other"}})), "rules[0].local[0].user.type"),
        (local(json!({"user": {"domain": {"x": "y"}}})), "rules[0].local[0].user.domain.x"),
        (local(json!({"domain": []})), "rules[0].local[0].domain"),
        (local(json!({"group": {}})), "rules[0].local[0].group.name"),
        (local(json!({"group": {"name": "x"}})), "rules[0].local[0].group.domain"),
        (local(json!({"group": {"id": "x", "name": "y", "domain": {}}})), "rules[0].local[0].group.name"),
        (local(json!({"groups": ["x"]})), "rules[0].local[0].groups"),
        (local(json!({"group_ids": ["x"]})), "rules[0].local[0].group_ids"),
        (local(json!({"projects": {}})), "rules[0].local[0].projects"),
        (local(json!({"projects": [{"name": "p"}]})), "rules[0].local[0].projects[0].roles"),
        (local(json!({"projects": [{"roles": []}]})), "rules[0].local[0].projects[0].name"),
        (
            local(json!({"projects": [{"name": "p", "roles": [{}]}]})),
            "rules[0].local[0].projects[0].roles[0].name",
        ),
        (
            local(json!({"projects": [{"name": "p", "roles": [{"name": "r", "id": "i"}]}]})),
            "rules[0].local[0].projects[0].roles[0].id",
        ),
        (
            local(json!({"projects": [{"name": "p", "roles": [], "domain": {}}]})),
            "rules[0].local[0].projects[0].domain",
        ),
        (of(json!("x")), "rules[0].remote[0]"),
        (of(json!({})), "rules[0].remote[0].type"),
        (of(json!({"type": 1})), "rules[0].remote[0].type"),
        (of(json!({"type": "a", "x": 1})), "rules[0].remote[0].x"),
        (of(json!({"type": "a", "regex": true})), "rules[0].remote[0].regex"),
        (of(json!({"type": "a", "any_one_of": [], "regex": 1})), "rules[0].remote[0].regex"),
        (of(json!({"type": "a", "any_one_of": "x"})), "rules[0].remote[0].any_one_of"),
        (of(json!({"type": "a", "any_one_of": [], "whitelist": []})), "rules[0].remote[0]"),
    ] {
        assert_eq!(parse(Version::V1, &document).expect_err("no mapping").at, at, "{document}");
    }
    let with_domain = local(json!({"projects": [{"name": "p", "roles": [], "domain": {"id": "d"}}]}));
    assert!(parse(Version::V2, &with_domain).is_ok());
    assert!(parse(Version::V2, &local(json!({"projects_json": "{0}"}))).is_err());
    assert!(parse(Version::V3, &local(json!({"projects_json": "{0}"}))).is_ok());
    assert!(parse(Version::V1, &of(json!({"type": "a", "any_one_of": [1, null, {}]}))).is_ok());
}

#[test]
fn expressions_are_looked_at_before_they_are_kept() {
    let of = |values: Value, regex: bool| {
        parse(
            Version::V1,
            &rules(json!([]), json!([{"type": "a"}, {"type": "b", "any_one_of": values, "regex": regex}])),
        )
        .expect("a mapping")
        .check_patterns()
    };
    assert_eq!(of(json!(["^a.*$", "b"]), true), Ok(()));
    assert_eq!(of(json!(["(?=a)"]), false), Ok(()));
    let refused = of(json!(["a", "(?=a)"]), true).expect_err("is refused");
    assert_eq!(
        refused.to_string(),
        r#"rules[0].remote[1]: "(?=a)" has a look ahead, which is not done here"#
    );
    assert!(of(json!(["("]), true).is_err());
    assert!(of(json!([1]), true).is_err());
}

#[test]
fn a_rule_fits_when_all_that_it_wants_is_there() {
    let user = || json!([{"user": {"name": "{0}"}}]);
    let of = |test: Value, values: &str| {
        let remote = json!([{"type": "name"}, test]);
        mapped(Version::V1, &rules(user(), remote), &[("name", "ann"), ("of", values)]).is_ok()
    };
    assert!(of(json!({"type": "of"}), ""));
    assert!(!of(json!({"type": "other"}), ""));
    assert!(of(json!({"type": "of", "any_one_of": ["b", "c"]}), "a;b"));
    assert!(!of(json!({"type": "of", "any_one_of": ["b", 1]}), "a;bb;1"));
    assert!(!of(json!({"type": "of", "any_one_of": []}), "a"));
    assert!(of(json!({"type": "of", "not_any_of": ["b"]}), "a"));
    assert!(!of(json!({"type": "of", "not_any_of": ["b"]}), "a;b"));
    assert!(of(json!({"type": "of", "any_one_of": ["^b"], "regex": true}), "a;bb"));
    assert!(!of(json!({"type": "of", "not_any_of": ["b$"], "regex": true}), "a;ab"));
    assert!(of(json!({"type": "of", "any_one_of": ["^b"], "regex": false}), "^b"));
    let unknown = rules(user(), json!([{"type": "name", "any_one_of": [{}]}]));
    assert_eq!(mapped(Version::V1, &unknown, &[("name", "a")]), Err(Fault::Value));
}

#[test]
fn what_is_found_is_put_in() {
    let remote = json!([
        {"type": "name"},
        {"type": "groups", "blacklist": ["x"]},
        {"type": "kind", "any_one_of": ["staff"]},
        {"type": "groups", "whitelist": ["a", "x"]},
        {"type": "groups", "whitelist": ["^b"], "regex": true},
    ]);
    let local = json!([
        {"user": {"name": "{0}", "email": "{0}@{2}", "domain": {"name": "D"}}},
        {"groups": "{1}", "domain": {"id": "d"}},
        {"group_ids": "{3}"},
        {"group": {"id": "g"}},
        {"group": {"name": "n", "domain": {"name": "D"}}},
        {"projects": [{"name": "of {0}", "roles": [{"name": "member"}]}]},
    ]);
    let all = [("name", "ann"), ("kind", "staff;x"), ("groups", "x;a;b;bb;b;a")];
    let found = mapped(Version::V1, &rules(local, remote), &all).expect("is mapped");
    let by_name = |name: &str| json!({"name": name, "domain": {"id": "d"}});
    assert_eq!(
        found.to_json(),
        json!({
            "user": {"name": "ann", "email": "ann@['x', 'a']", "domain": {"name": "D"}, "type": "ephemeral"},
            "group_ids": ["b", "bb", "g"],
            "group_names": [by_name("a"), by_name("b"), by_name("bb"), {"name": "n", "domain": {"name": "D"}}],
            "projects": [{"name": "of ann", "roles": [{"name": "member"}]}],
        })
    );
}

#[test]
fn rules_add_up_and_the_first_user_counts() {
    let document = json!({"rules": [
        {"local": [{"user": {"name": "{0}", "type": "local"}}], "remote": [{"type": "a"}]},
        {"local": [{"user": {"name": "other"}}, {"group": {"id": "1"}}], "remote": [{"type": "a"}]},
        {"local": [{"group": {"id": "1"}}, {"group": {"id": "2"}}], "remote": [{"type": "b"}]},
    ]});
    let found = mapped(Version::V1, &document, &[("a", "ann")]).expect("is mapped");
    assert_eq!(json!(found.user), json!({"name": "ann", "type": "local"}));
    assert_eq!(found.group_ids, ["1"]);
    assert_eq!(mapped(Version::V1, &document, &[("b", "")]).expect("is mapped").group_ids, ["1", "2"]);
    assert_eq!(mapped(Version::V1, &document, &[("c", "")]), Err(Fault::NothingMapped));
    let nothing = rules(json!([]), json!([{"type": "a"}]));
    assert_eq!(mapped(Version::V1, &nothing, &[("a", "")]), Err(Fault::NothingMapped));
    let beyond = rules(json!([{"user": {"name": "{1}"}}]), json!([{"type": "a"}]));
    assert_eq!(mapped(Version::V1, &beyond, &[("a", "x")]), Err(Fault::NoSuchMatch("{1}".into())));
}

#[test]
fn groups_are_named_in_several_ways() {
    let of = |local: Value, value: &str| {
        mapped(Version::V1, &rules(json!([local]), json!([{"type": "g"}])), &[("g", value)])
            .map(|m| json!(m.group_names))
    };
    let with_domain = || json!({"groups": "{0}", "domain": {"name": "D"}});
    let named = |names: &[&str]| {
        json!(names.iter().map(|n| json!({"name": n, "domain": {"name": "D"}})).collect::<Vec<_>>())
    };
    assert_eq!(of(with_domain(), "a"), Ok(named(&["a"])));
    assert_eq!(of(with_domain(), "a;b"), Ok(named(&["a", "b"])));
    assert_eq!(of(with_domain(), "['a', 'b']"), Ok(named(&["a", "b"])));
    assert_eq!(of(json!({"groups": "{0}"}), "a"), Err(Fault::GroupsWithoutDomain));
    assert_eq!(of(with_domain(), "surname"), Err(Fault::GroupsWithoutDomain));
    let json = r#"JSON:{"name":"x","domain":{"id":"d"}}"#;
    assert_eq!(of(json!({"groups": "{0}"}), json), Ok(json!([{"name": "x", "domain": {"id": "d"}}])));
    let two = format!("{json};{json}");
    assert_eq!(of(json!({"groups": "{0}"}), &two).map(|v| v.as_array().map(Vec::len)), Ok(Some(2)));
    assert_eq!(of(json!({"groups": "{0}"}), r#"JSON:{"name":"x"}"#), Err(Fault::GroupsWithoutDomain));
    assert_eq!(of(json!({"groups": "{0}"}), "JSON:{name"), Err(Fault::Groups));
}

#[test]
fn the_domain_of_a_local_part_is_that_of_its_user_and_projects() {
    let local = json!([{
        "user": {"name": "a"},
        "projects": [{"name": "p", "roles": []}, {"name": "q", "roles": []}],
        "domain": {"id": "d"},
    }]);
    let of = |version| {
        mapped(version, &rules(local.clone(), json!([{"type": "a"}])), &[("a", "")]).expect("is mapped")
    };
    assert_eq!(of(Version::V1).user.get("domain"), None);
    let second = of(Version::V2);
    assert_eq!(second.user["domain"], json!({"id": "d"}));
    assert!(second.projects.iter().all(|p| p["domain"] == json!({"id": "d"})));
    let bare = rules(json!([{"user": {"name": "a"}}]), json!([{"type": "a"}]));
    assert_eq!(mapped(Version::V2, &bare, &[("a", "")]).expect("is mapped").user["domain"], Value::Null);
}

#[test]
fn rules_are_evaluated_as_those_of_another_version() {
    let local = json!([{"user": {"name": "{0}"}, "domain": {"id": "d"}}]);
    let document = rules(local, json!([{"type": "A"}]));
    let later = parse(Version::V2, &document).expect("a mapping");
    let domain = |mapping: &Mapping| {
        mapping.evaluate(&attributes(&[("A", "ann")])).expect("maps").user.get("domain").cloned()
    };
    assert_eq!(domain(&later), Some(json!({"id": "d"})));
    assert_eq!(domain(&later.evaluated_as(Version::V1)), None);
}

#[test]
fn projects_are_read_out_of_an_attribute() {
    let local = json!([{"projects_json": "{0}", "projects": [{"name": "q", "roles": []}]}]);
    let of = |value: &str| {
        mapped(Version::V3, &rules(local.clone(), json!([{"type": "p"}])), &[("p", value)])
            .map(|m| json!(m.projects))
    };
    let read = of(r#"[{"name": "p", "roles": [{"name": "r"}], "domain": {"id": "d"}}]"#);
    assert_eq!(
        read,
        Ok(json!([
            {"name": "q", "roles": [], "domain": null},
            {"name": "p", "roles": [{"name": "r"}], "domain": {"id": "d"}},
        ]))
    );
    for wrong in ["", "x", "{}", "[1]", "a;b", r#"[{"name": "p"}]"#] {
        assert!(matches!(of(wrong), Err(Fault::ProjectsJson(_))), "{wrong}");
    }
}
