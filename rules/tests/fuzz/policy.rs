//! The language of policies: whatever is written is read without a panic and within bounds, is the same when it is printed and
//! read again, and is judged as the plain evaluator of this file judges it.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use vicar_rules::policy::{
    Check, Credential, Decision, Fact, Facts, Op, Override, Policy, Scope, Subject, Trait,
};

use crate::drive::{Cases, drive};

/// The rules of a case refer to each other by these names; the last one is not there.
const NAMES: [&str; 5] = ["identity:get_user", "fuzz_1", "fuzz_2", "fuzz_3", "fuzz_missing"];

/// What stands right of a colon.
#[derive(Debug, Clone)]
enum Piece {
    Text(String),
    Fact(Fact),
}

#[derive(Debug, Clone)]
enum Rule {
    Everybody,
    Nobody,
    Ref(usize),
    Role(Vec<Piece>),
    Credential(&'static str, Vec<Piece>),
    Literal(String, Vec<Piece>),
    AdminToken,
    ReaderOnly,
    AnyRole,
    Unknown(&'static str),
    Not(Box<Rule>),
    All(Vec<Rule>),
    Any(Vec<Rule>),
}

const TRAITS: [(Trait, &str); 4] = [
    (Trait::UserDomain, "token.user.domain.id"),
    (Trait::UserName, "token.user.name"),
    (Trait::RoleIds, "token.roles.id"),
    (Trait::Methods, "token.methods"),
];
/// Facts of two objects, of the path and of a list.
const FACTS: [Fact; 7] = [
    Fact::UserId,
    Fact::UserDomain,
    Fact::UserEnabled,
    Fact::TrustTrustor,
    Fact::TrustTrustee,
    Fact::PathUser,
    Fact::ListDomain,
];
const VALUES: [&str; 9] = ["a", "b", "ab", "reader", "Admin", "None", "True", "all", "100%"];

/// What the token and the object are, as plain data.
#[derive(Debug, Clone)]
struct Facing {
    user: &'static str,
    roles: Vec<&'static str>,
    scope: Scope,
    admin_token: bool,
    traits: BTreeMap<&'static str, Vec<&'static str>>,
    facts: BTreeMap<&'static str, Vec<&'static str>>,
}

fn value() -> impl Strategy<Value = &'static str> {
    select(&VALUES[..])
}

fn facing() -> impl Strategy<Value = Facing> {
    let project = (value(), prop::option::of(value()))
        .prop_map(|(id, domain)| Scope::Project { id: id.into(), domain: domain.map(str::to_owned) });
    let scope = prop_oneof![
        Just(Scope::Unscoped),
        Just(Scope::System),
        value().prop_map(|id| Scope::Domain(id.to_owned())),
        project,
    ];
    let facts = btree_map(select(&FACTS[..]).prop_map(Fact::key), vec(value(), 0..3), 0..5);
    let traits = btree_map(select(&TRAITS[..]).prop_map(|(_, key)| key), vec(value(), 0..3), 0..3);
    (value(), vec(value(), 0..3), scope, prop::bool::weighted(0.1), traits, facts).prop_map(
        |(user, roles, scope, admin_token, traits, facts)| Facing {
            user,
            roles,
            scope,
            admin_token,
            traits,
            facts,
        },
    )
}

impl Facing {
    fn subject(&self) -> Subject {
        let roles = self.roles.iter().map(|r| (*r).to_owned()).collect();
        let mut subject = Subject::new(self.user, roles, self.scope.clone());
        subject.admin_token = self.admin_token;
        for (which, key) in TRAITS {
            if let Some(values) = self.traits.get(key) {
                subject = subject.with(which, values.iter().copied());
            }
        }
        subject
    }

    fn facts(&self) -> Facts {
        self.facts.iter().fold(Facts::none(), |facts, (key, values)| {
            facts.with_all(Fact::named(key).expect("a fact"), values.iter().copied())
        })
    }

    /// What the token says: nothing when it has no such part; no values are null.
    fn says(&self, key: &str) -> Option<Vec<&str>> {
        let (project, project_domain) = match &self.scope {
            Scope::Project { id, domain } => (Some(id.as_str()), domain.as_deref()),
            _ => (None, None),
        };
        let domain = match &self.scope {
            Scope::Domain(id) => Some(id.as_str()),
            _ => None,
        };
        let system = self.scope == Scope::System;
        let null = |value: Option<&'_ str>| Some(value.into_iter().map(str::to_owned).collect::<Vec<_>>());
        let part = |value: Option<&'_ str>| value.map(|value| vec![value.to_owned()]);
        let said = match key {
            "user_id" | "token.user.id" => part(Some(self.user)),
            "user_domain_id" => {
                null(self.traits.get("token.user.domain.id").and_then(|v| v.first()).copied())
            }
            "project_id" => null(project),
            "token.project.id" => part(project),
            "project_domain_id" => null(project_domain),
            "token.project.domain.id" => part(project_domain),
            "domain_id" => null(domain),
            "token.domain.id" => part(domain),
            "system_scope" => null(system.then_some("all")),
            "system" => part(system.then_some("all")),
            "token.system.all" => part(system.then_some("True")),
            "is_admin_project" => part(Some(if domain.is_some() { "False" } else { "True" })),
            "roles" | "token.roles.name" => return Some(self.roles.clone()),
            other => return self.traits.get(other).cloned(),
        };
        // Every word that is said is one of these.
        said.map(|all| {
            all.iter()
                .map(|word| *VALUES.iter().chain(&["False"]).find(|v| *v == word).expect("known"))
                .collect()
        })
    }

    /// Whether a credential is absent when it is null, rather than a list without anything in it.
    fn is_null(key: &str) -> bool {
        ["user_domain_id", "project_id", "project_domain_id", "domain_id", "system_scope"].contains(&key)
    }

    /// What a text comes to: a value, null, or a reason why that cannot be told (`None`) or is false.
    fn fill(&self, right: &[Piece]) -> Result<Option<BTreeSet<String>>, Option<bool>> {
        let mut all = vec![String::new()];
        for piece in right {
            let values: Vec<String> = match piece {
                Piece::Text(text) => vec![text.clone()],
                Piece::Fact(fact) => {
                    let key = fact.key();
                    let object = key.rsplit_once('.').map(|(object, _)| object).filter(|o| *o != "target");
                    let same =
                        |k: &&&str| object.is_some_and(|o| k.rsplit_once('.').map(|(of, _)| of) == Some(o));
                    match self.facts.get(key) {
                        Some(values) if values.is_empty() && right.len() == 1 => return Ok(None),
                        Some(values) if values.is_empty() => vec!["None".into()],
                        Some(values) => values.iter().map(|v| (*v).to_owned()).collect(),
                        None if self.facts.keys().any(|k| same(&k)) => return Err(None),
                        None => return Err(Some(false)),
                    }
                }
            };
            if right.len() > 1 && all.len() * values.len() > 64 {
                return Err(None);
            }
            all = all.iter().flat_map(|before| values.iter().map(move |v| format!("{before}{v}"))).collect();
        }
        Ok(Some(all.into_iter().collect()))
    }
}

/// All rules of a case.
struct Rules<'a>(&'a [Rule], &'a Facing);

impl Rules<'_> {
    fn refs(rule: &Rule) -> BTreeSet<usize> {
        match rule {
            Rule::Ref(n) => [*n].into(),
            Rule::Not(inner) => Self::refs(inner),
            Rule::All(parts) | Rule::Any(parts) => parts.iter().flat_map(Self::refs).collect(),
            _ => BTreeSet::new(),
        }
    }

    /// The rules that these lead to, themselves included.
    fn reach(&self, mut from: BTreeSet<usize>) -> BTreeSet<usize> {
        for _ in NAMES {
            let more: Vec<usize> = from.iter().filter_map(|n| self.0.get(*n)).flat_map(Self::refs).collect();
            from.extend(more);
        }
        from
    }

    /// Whether something in it has no meaning: what is unknown, or the opposite of what is not there.
    fn is_broken(&self, rule: &Rule) -> bool {
        match rule {
            Rule::Unknown(_) => true,
            Rule::Not(inner) => {
                self.is_broken(inner) || self.reach(Self::refs(inner)).contains(&(NAMES.len() - 1))
            }
            Rule::All(parts) | Rule::Any(parts) => parts.iter().any(|part| self.is_broken(part)),
            _ => false,
        }
    }

    fn allows(&self, n: usize) -> bool {
        let below = self.reach([n].into());
        let is_bad = |n: &usize| {
            self.0
                .get(*n)
                .is_some_and(|rule| self.is_broken(rule) || self.reach(Self::refs(rule)).contains(n))
        };
        !below.iter().any(is_bad) && self.judge(&self.0[n]) == Some(true)
    }

    fn judge(&self, rule: &Rule) -> Option<bool> {
        let who = self.1;
        match rule {
            Rule::Everybody => Some(true),
            Rule::Nobody => Some(false),
            Rule::Ref(n) => self.0.get(*n).map_or(Some(false), |rule| self.judge(rule)),
            Rule::AdminToken => Some(who.admin_token),
            Rule::ReaderOnly => Some(!who.roles.is_empty() && who.roles.iter().all(|role| *role == "reader")),
            Rule::AnyRole => Some(!who.roles.is_empty()),
            Rule::Unknown(_) => None,
            Rule::Not(inner) => self.judge(inner).map(|holds| !holds),
            Rule::All(parts) => {
                let all: Vec<_> = parts.iter().map(|part| self.judge(part)).collect();
                if all.contains(&Some(false)) { Some(false) } else { (!all.contains(&None)).then_some(true) }
            }
            Rule::Any(parts) => {
                let all: Vec<_> = parts.iter().map(|part| self.judge(part)).collect();
                if all.contains(&Some(true)) { Some(true) } else { (!all.contains(&None)).then_some(false) }
            }
            Rule::Role(right) => match who.fill(right) {
                Err(verdict) => verdict,
                Ok(None) => Some(false),
                Ok(Some(names)) => {
                    Some(names.iter().any(|n| who.roles.iter().any(|r| r.to_lowercase() == n.to_lowercase())))
                }
            },
            Rule::Literal(text, right) => match who.fill(right) {
                Err(verdict) => verdict,
                Ok(None) => Some(text == "None"),
                Ok(Some(values)) => Some(values.contains(text)),
            },
            Rule::Credential(key, right) => {
                let Some(said) = who.says(key) else { return Some(false) };
                let null = said.is_empty() && Facing::is_null(key);
                match who.fill(right) {
                    Err(verdict) => verdict,
                    Ok(None) => (!null).then_some(false),
                    Ok(Some(values)) if null => Some(values.contains("None")),
                    Ok(Some(values)) => Some(said.iter().any(|word| values.contains(*word))),
                }
            }
        }
    }
}

fn right() -> impl Strategy<Value = Vec<Piece>> {
    let text = prop_oneof![3 => value().prop_map(str::to_owned), 1 => "[a-zA-Z0-9_.:é%'\"-]{1,6}"];
    let fact = select(&FACTS[..]).prop_map(Piece::Fact);
    let pieces = vec(prop_oneof![2 => fact, 1 => text.prop_map(Piece::Text)], 1..4);
    pieces.prop_map(|pieces| {
        // Two texts in a row are one.
        let mut out: Vec<Piece> = Vec::new();
        for piece in pieces {
            match (out.last_mut(), piece) {
                (Some(Piece::Text(before)), Piece::Text(text)) => before.push_str(&text),
                (_, piece) => out.push(piece),
            }
        }
        out
    })
}

/// A literal in quotation marks. A word that ends with one, too, is no check.
fn compared(text: String, mut right: Vec<Piece>) -> Rule {
    if let Some(Piece::Text(last)) = right.last_mut()
        && last.ends_with('\'')
    {
        last.push('x');
    }
    Rule::Literal(text, right)
}

fn rule() -> impl Strategy<Value = Rule> {
    let keys: Vec<&str> = Credential::keys()
        .filter(|key| {
            !key.starts_with("token.") || TRAITS.iter().any(|(_, k)| k == key) || !key.contains("name")
        })
        .collect();
    let literal = prop_oneof![value().prop_map(str::to_owned), "[a-z0-9_.%-]{0,4}"];
    const UNKNOWN: [&str; 6] = ["foo", "group:ops", "user_id:%(nope)s", "role:", "target.x:y", "role:50%"];
    let atom = prop_oneof![
        1 => Just(Rule::Everybody),
        1 => Just(Rule::Nobody),
        4 => (0..NAMES.len()).prop_map(Rule::Ref),
        4 => right().prop_map(Rule::Role),
        6 => (select(keys), right()).prop_map(|(key, right)| Rule::Credential(key, right)),
        3 => (literal, right()).prop_map(|(text, right)| compared(text, right)),
        1 => select(&[Rule::AdminToken, Rule::ReaderOnly, Rule::AnyRole][..]),
        1 => select(&UNKNOWN[..]).prop_map(Rule::Unknown),
    ];
    atom.prop_recursive(5, 24, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(|rule| Rule::Not(Box::new(rule))),
            vec(inner.clone(), 2..4).prop_map(Rule::All),
            vec(inner, 2..4).prop_map(Rule::Any),
        ]
    })
}

fn template(right: &[Piece]) -> String {
    let one = |piece: &Piece| match piece {
        Piece::Text(text) => text.replace('%', "%%"),
        Piece::Fact(fact) => format!("%({})s", fact.key()),
    };
    right.iter().map(one).collect()
}

/// A rule as somebody writes it: the choices say with how many spaces and parentheses.
fn write(rule: &Rule, choices: &mut impl Iterator<Item = u8>) -> String {
    let mut next = || choices.next().unwrap_or_default();
    let (space, extra) = ([" ", "  ", "\n", "\t"][usize::from(next() % 4)], usize::from(next() % 3));
    let (and, or, not) = if next() % 2 == 0 { ("and", "or", "not") } else { ("AND", "Or", "nOt") };
    let own = usize::from(matches!(rule, Rule::Not(_) | Rule::All(_) | Rule::Any(_)));
    let text = match rule {
        Rule::Everybody => "@".into(),
        Rule::Nobody => "!".into(),
        Rule::Ref(n) => format!("rule:{}", NAMES[*n]),
        Rule::Role(right) => format!("role:{}", template(right)),
        Rule::Credential(key, right) => format!("{key}:{}", template(right)),
        Rule::Literal(text, right) => format!("'{text}':{}", template(right)),
        Rule::AdminToken => "is_admin:1".into(),
        Rule::ReaderOnly => "reader_only:True".into(),
        Rule::AnyRole => "any_role:True".into(),
        Rule::Unknown(word) => (*word).into(),
        Rule::Not(inner) => format!("{not}{space}{}", write(inner, choices)),
        Rule::All(parts) => join(parts, &format!("{space}{and} "), choices),
        Rule::Any(parts) => join(parts, &format!("{space}{or} "), choices),
    };
    format!("{}{text}{}", "(".repeat(extra + own), ")".repeat(extra + own))
}

fn join(parts: &[Rule], word: &str, choices: &mut impl Iterator<Item = u8>) -> String {
    parts.iter().map(|part| write(part, choices)).collect::<Vec<_>>().join(word)
}

/// How many checks there are, and how deep the deepest is.
fn size(check: &Check) -> (usize, usize) {
    let below = |parts: &[Check]| {
        parts.iter().map(size).fold((1, 0), |(n, deep), (more, deeper)| (n + more, deep.max(deeper)))
    };
    let (n, deep) = match check {
        Check::Not(inner) => below(std::slice::from_ref(inner)),
        Check::All(parts) | Check::Any(parts) => below(parts),
        _ => (1, 0),
    };
    (n, deep + 1)
}

/// What is read is printed and read again as itself, and is no larger than what was written.
fn same_again(text: &str) -> Result<Check, TestCaseError> {
    let check = Check::read(text);
    let (n, deep) = size(&check);
    prop_assert!(n <= text.len() + 1 && deep <= 125, "{} checks, {} deep, of {} bytes", n, deep, text.len());
    let printed = check.to_string();
    prop_assert_eq!(&Check::read(&printed), &check, "{}", printed);
    Ok(check)
}

fn decided(policy: &Policy, facing: &Facing) -> Result<(), TestCaseError> {
    let (subject, facts) = (facing.subject(), facing.facts());
    let op = Op::GetUser;
    let decision = policy.decide(op, &subject, &facts, &|_| None);
    let explained = policy.explain(op, &subject, &facts, &|_| None);
    prop_assert_eq!(&explained.decision, &decision);
    if decision == Decision::Allowed && !facing.admin_token {
        prop_assert_eq!(explained.rule.holds, Some(true));
    }
    Ok(())
}

fn generated(
    rules: &[Rule],
    texts: &[String],
    facing: &Facing,
    held: &Cell<u64>,
) -> Result<(), TestCaseError> {
    let read = |texts: &[String]| {
        Policy::with(NAMES.iter().zip(texts).map(|(name, text)| Override::of(*name, text)), "default")
    };
    let mut printed = Vec::new();
    for text in texts {
        prop_assert!(Check::parse(text).is_ok(), "{}", text);
        printed.push(same_again(text)?.to_string());
    }
    let (subject, facts) = (facing.subject(), facing.facts());
    let (policy, again) = (read(texts), read(&printed));
    for (n, name) in NAMES.iter().enumerate().take(rules.len()) {
        let allowed = Rules(rules, facing).allows(n);
        held.set(held.get() + u64::from(allowed));
        prop_assert_eq!(policy.holds(name, &subject, &facts), allowed, "{}: {}", name, &texts[n]);
        prop_assert_eq!(again.holds(name, &subject, &facts), allowed, "{}: {}", name, &printed[n]);
    }
    prop_assert!(!policy.holds(NAMES[NAMES.len() - 1], &subject, &facts));
    decided(&policy, facing)
}

/// Parts of rules, whole and broken.
const PARTS: &[&str] = &[
    "(",
    ")",
    "((",
    "))",
    "not",
    "and",
    "or",
    "NOT",
    "oR",
    "@",
    "!",
    ":",
    "%",
    "%(",
    ")s",
    "'",
    "\"",
    "None",
    "None:",
    "True:",
    "7:",
    "-0:",
    "rule:fuzz_1",
    "rule:identity:get_user",
    "rule:",
    "role:x",
    "role:%(user_id)s",
    "system_scope:all",
    "is_admin:1",
    "is_admin:0",
    "reader_only:True",
    "any_role:True",
    "user_id:",
    "user_id:%(user_id)s",
    "user_id:%(nope)s",
    "domain_id:x:y",
    "'a':%(target.user.id)s",
    "\"a'b\":%(user_id)s",
    "'a\"b':x",
    "'\\':x",
    "'':%(user_id)s",
    "http://h/%(user_id)s",
    "https:x",
    "é",
    "\u{3000}",
    "\0",
    " ",
    "\n",
    "\t",
    "%%",
    "%(user_id)s",
    "{",
    "'a b':x",
];

fn written() -> impl Strategy<Value = String> {
    let parts = vec((select(PARTS), select(&["", " ", " "][..])), 0..30)
        .prop_map(|parts| parts.iter().flat_map(|(part, space)| [*part, *space]).collect());
    let deep = (select(&["(", "not ", "(not ", "rule:x or (", "((@) and "][..]), 0..80_usize)
        .prop_map(|(open, n)| format!("{}@{}", open.repeat(n), ")".repeat(open.matches('(').count() * n)));
    prop_oneof![6 => parts, 1 => ".{0,60}", 1 => deep]
}

#[derive(Debug, Clone)]
enum Case {
    Rules(Vec<Rule>, Vec<String>, Facing),
    Text(String, String, Facing),
}

fn case() -> impl Strategy<Value = Case> {
    let rules = (vec(rule(), NAMES.len() - 1), vec(any::<u8>(), 40), facing()).prop_map(
        |(rules, choices, facing)| {
            let mut choices = choices.into_iter().cycle();
            let texts = rules.iter().map(|rule| write(rule, &mut choices)).collect();
            Case::Rules(rules, texts, facing)
        },
    );
    let text =
        (written(), written(), facing()).prop_map(|(one, other, facing)| Case::Text(one, other, facing));
    prop_oneof![3 => rules, 2 => text]
}

#[test]
fn policy() {
    let held = Cell::new(0);
    let done = drive(
        "policy",
        Cases { short: 600, batch: 1_000 },
        &case(),
        || (),
        |(), case| match case {
            Case::Rules(rules, texts, facing) => generated(&rules, &texts, &facing, &held),
            Case::Text(one, other, facing) => {
                let policy = Policy::with_overrides([(NAMES[0], one.as_str()), (NAMES[1], &other)]);
                let (subject, facts) = (facing.subject(), facing.facts());
                for (name, text) in [(NAMES[0], &one), (NAMES[1], &other)] {
                    let check = same_again(text)?;
                    let mut is_known = true;
                    let mut todo = vec![&check];
                    while let Some(check) = todo.pop() {
                        match check {
                            Check::Unknown(_) => is_known = false,
                            Check::Not(inner) => todo.push(inner),
                            Check::All(parts) | Check::Any(parts) => todo.extend(parts),
                            _ => {}
                        }
                    }
                    prop_assert!(is_known || !policy.holds(name, &subject, &facts), "{}", text);
                }
                decided(&policy, &facing)
            }
        },
    );
    assert!(held.get() > done / 10, "{} of {done} hold", held.get());
}
