//! The steps of an explanation, in words and for programs.

use serde_json::{Map, Value, json};
use vicar_rules::policy::{Decision, Explanation as Decided, Facts, Op, Policy, Reason};
use vicar_rules::refusal::Refusal;
use vicar_rules::token::{Act, Kind};

use super::subject::Subject;
use crate::authz::{Asked, Watched};
use crate::extra;
use crate::facts::terms::rules_to_json;

/// One step towards a verdict.
#[derive(Debug)]
pub struct Step {
    /// What it is about: `token`, `trust`, `link`, `condition`, `kind`, `access_rules`, `policy`, `rule`, `target`, `request`.
    pub about: &'static str,
    /// Whether it allows; nothing when it does not decide.
    pub allows: Option<bool>,
    /// In words.
    pub text: String,
    /// Ids and the like.
    pub more: Map<String, Value>,
}

/// A verdict with its reasons, in their order.
#[derive(Debug)]
pub struct Explanation {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Why.
    pub because: Vec<Step>,
}

impl Explanation {
    /// As clients see it.
    pub fn to_json(&self) -> Value {
        let because = self.because.iter().map(|step| {
            let mut out = json!({"step": step.about, "allows": step.allows, "text": step.text});
            extra::add(&mut out, step.more.clone());
            out
        });
        json!({"allowed": self.allowed, "because": because.collect::<Vec<_>>()})
    }
}

/// How much of a decision of the policy is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// The rule, what of it holds, and what was compared.
    All,
    /// The same without what was compared, which is of the object.
    Checks,
    /// Only what was decided: the rule is the operator's own.
    Verdict,
}

/// Steps that are being put together.
#[derive(Debug, Default)]
pub(super) struct Words(Vec<Step>);

impl Words {
    pub(super) fn into_explanation(self, allowed: bool) -> Explanation {
        Explanation { allowed, because: self.0 }
    }

    pub(super) fn say(&mut self, about: &'static str, allows: Option<bool>, text: impl Into<String>) {
        self.say_with(about, allows, text, Value::Null);
    }

    pub(super) fn say_with(
        &mut self,
        about: &'static str,
        allows: Option<bool>,
        text: impl Into<String>,
        more: Value,
    ) {
        let more = match more {
            Value::Object(more) => more,
            _ => Map::new(),
        };
        self.0.push(Step { about, allows, text: text.into(), more });
    }

    /// Whether the access rules of the token allow a request to another service.
    pub(super) fn elsewhere(&mut self, subject: &Subject, service: &str, method: &str, path: &str) -> bool {
        let of = format!("{method} {path} of {service}");
        let allows = match subject.token().map(|token| &token.access) {
            Some(access) if access.is_limited() => {
                let allows = access.allows(service, method, path);
                self.rules(Some(allows), format!("{}: {of}", verdict("the access rules", allows)), subject);
                allows
            }
            _ => {
                self.say("access_rules", None, format!("no access rules limit it: {of}"));
                true
            }
        };
        if allows {
            self.say("request", None, "the service decides by its own policy, with the roles above");
        }
        allows
    }

    /// What the access rules of the token say of a request.
    pub(super) fn rules(&mut self, allows: Option<bool>, text: String, subject: &Subject) {
        let rules = subject.token().and_then(|token| rules_to_json(&token.access));
        self.say_with("access_rules", allows, text, json!({"access_rules": rules}));
    }

    /// What was asked of the table of kinds. All kinds are asked whether they do anything here, which says little.
    pub(super) fn kinds(&mut self, kind: Kind, watched: &Watched) {
        let mut seen: Vec<Act> = Vec::new();
        for (act, answer) in &watched.acts {
            if seen.contains(act) || (*act == Act::Use && answer.is_ok()) {
                continue;
            }
            seen.push(*act);
            self.kind(kind, *act, answer);
        }
    }

    pub(super) fn kind(&mut self, kind: Kind, act: Act, answer: &Result<(), Refusal>) {
        let text = match answer {
            Ok(()) => format!("a token of {} may {}", kind.in_words(), act.in_words()),
            Err(refusal) => format!("{refusal}: it is one of {}", kind.in_words()),
        };
        self.say("kind", Some(answer.is_ok()), text);
    }

    /// What was asked of the policy, each question once.
    pub(super) fn policy(&mut self, policy: &Policy, watched: &Watched, detail: impl Fn(Op) -> Detail) {
        let mut seen: Vec<(Op, &Decision)> = Vec::new();
        for Asked { op, facts, explanation } in &watched.asked {
            let key = (*op, &explanation.decision);
            if !seen.contains(&key) {
                seen.push(key);
                self.decided(policy, *op, facts, explanation, detail(*op));
            }
        }
    }

    pub(super) fn decided(&mut self, policy: &Policy, op: Op, facts: &Facts, why: &Decided, detail: Detail) {
        let name = op.row().name;
        let allows = why.decision == Decision::Allowed;
        let text = match (&why.before, detail) {
            (Some(before), _) => format!("{}: {before}", verdict(name, allows)),
            (None, Detail::Verdict) => {
                format!("{} by the operator's own rule, which only operators see", verdict(name, allows))
            }
            (None, _) => format!("{}: {}", verdict(name, allows), in_words(&why.rule)),
        };
        let mut more = json!({"operation": name, "overridden": !policy.is_shipped(op)});
        if detail != Detail::Verdict {
            extra::set(&mut more, "rule", tree(policy, &why.rule, detail));
        }
        if detail == Detail::All {
            let all = facts.iter().map(|(fact, values)| (fact.key().to_owned(), json!(values)));
            extra::set(&mut more, "facts", all.collect::<Map<_, _>>());
        }
        self.say_with("policy", Some(allows), text, more);
    }
}

/// That something allows or does not.
pub(super) fn verdict(what: &str, allows: bool) -> String {
    if what.contains(':') {
        format!("{what} is {}", if allows { "allowed" } else { "refused" })
    } else {
        format!("{what} {} it", if allows { "allow" } else { "do not allow" })
    }
}

/// Which of the alternatives of a rule hold.
fn in_words(rule: &Reason) -> String {
    let alternatives = match rule.of.as_slice() {
        [one] if one.check == "one of" => one.of.as_slice(),
        all => all,
    };
    let holding: Vec<String> = alternatives.iter().filter(|r| r.holds == Some(true)).map(short).collect();
    match (rule.holds, holding.as_slice()) {
        (None, _) if !rule.because.is_empty() => rule.because.clone(),
        (_, []) => {
            let all: Vec<String> = alternatives.iter().map(short).collect();
            format!("none of these holds: {}", all.join(", "))
        }
        (_, some) => format!("{} holds", some.join(", ")),
    }
}

/// A check on one line.
fn short(reason: &Reason) -> String {
    let parts: Vec<String> = match reason.check.as_str() {
        "all of" | "one of" | "not" => reason.of.iter().map(short).collect(),
        _ => return reason.check.clone(),
    };
    match reason.check.as_str() {
        "all of" => format!("({})", parts.join(" and ")),
        "one of" => format!("({})", parts.join(" or ")),
        _ => format!("not {}", parts.join(" ")),
    }
}

/// A rule as a tree of checks.
fn tree(policy: &Policy, reason: &Reason, detail: Detail) -> Value {
    let mut out = json!({"check": reason.check, "holds": reason.holds});
    if detail == Detail::All {
        extra::set(&mut out, "because", reason.because.as_str());
    }
    if let Some(name) = reason.check.strip_prefix("rule:") {
        extra::set(&mut out, "overridden", policy.is_overridden(name));
    }
    if !reason.of.is_empty() {
        let of: Vec<Value> = reason.of.iter().map(|below| tree(policy, below, detail)).collect();
        extra::set(&mut out, "of", of);
    }
    out
}
