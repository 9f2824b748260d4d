//! Why the policy decides as it does: the rule as a tree of checks, each with what it came to.

use super::check::{Check, Template};
use super::facts::{Facts, Known};
use super::subject::{Said, Scope, Subject};
use super::table::Op;
use super::{Answers, Decision, Judge, Policy, resolve, unless};

/// A decision with its reasons.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// What the policy says.
    pub decision: Decision,
    /// Why the rule was not read: the token may everything, or has a scope that the operation does not take.
    pub before: Option<String>,
    /// The operation's rule.
    pub rule: Reason,
}

/// One check of a rule, and what it came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The check as it is written, or `all of` and `one of` above several.
    pub check: String,
    /// Whether it holds; nothing when that cannot be told.
    pub holds: Option<bool>,
    /// What was compared.
    pub because: String,
    /// The checks that it is made of.
    pub of: Vec<Reason>,
}

impl Policy {
    /// What [`Policy::decide`] says, and why.
    pub fn explain(&self, op: Op, subject: &Subject, facts: &Facts, answers: Answers<'_>) -> Explanation {
        let row = op.row();
        let decision = self.decide(op, subject, facts, answers);
        let in_any_scope = self.decide_in_any_scope(op, subject, facts, answers);
        let before = if subject.admin_token {
            Some("the token is [DEFAULT] admin_token, which may do everything".to_owned())
        } else if decision != in_any_scope {
            Some(format!(
                "the token is {}, and the operation takes {}",
                scope_word(&subject.scope),
                row.scope_words()
            ))
        } else {
            None
        };
        let mut judge = Judge::new(self, subject, facts, answers);
        let mut rule = judge.reason_of_rule(row.name, &mut Vec::new(), &mut { MOST_REASONS });
        if self.refusing.contains(row.name) {
            rule.holds = None;
            "something in it is not understood, so it allows nothing".clone_into(&mut rule.because);
        }
        Explanation { decision, before, rule }
    }
}

fn scope_word(scope: &Scope) -> &'static str {
    match scope {
        Scope::Unscoped => "one without a scope",
        Scope::Project { .. } => "one of a project",
        Scope::Domain(_) => "one of a domain",
        Scope::System => "one of the system",
    }
}

/// Rules that refer to each other are followed so far; those that do so further, or in a circle, allow nothing.
const DEEPEST: usize = 20;

/// So many reasons are given before rules are no longer followed.
const MOST_REASONS: usize = 2_000;

impl<'p> Judge<'p> {
    /// `above` are the rules that led here, `room` how many reasons may still be given.
    fn reason_of_rule(&mut self, name: &'p str, above: &mut Vec<&'p str>, room: &mut usize) -> Reason {
        let check = format!("rule:{name}");
        let Policy { checks, default_rule, refusing, .. } = self.policy;
        let found = resolve(checks, default_rule, name);
        let Some((found, below)) = found.and_then(|found| checks.get_key_value(found)) else {
            return Reason { check, holds: Some(false), because: "there is no such rule".into(), of: vec![] };
        };
        let cut_off = |holds, because: &str| Reason {
            check: check.clone(),
            holds,
            because: because.into(),
            of: vec![],
        };
        if above.contains(&found.as_str()) {
            return cut_off(None, "it refers to itself");
        }
        if above.len() == DEEPEST {
            return cut_off(None, "too many rules refer to each other in a row");
        }
        if *room == 0 {
            let holds = if refusing.contains(found) { None } else { self.rule(name) };
            return cut_off(holds, "there is too much in it to show here");
        }
        let because = match found {
            found if found != name => format!("there is no such rule, so `{found}` takes its place"),
            _ => String::new(),
        };
        above.push(found);
        let below = self.reason(below, above, room);
        above.pop();
        Reason { check, holds: below.holds, because, of: vec![below] }
    }

    fn reason(&mut self, check: &'p Check, above: &mut Vec<&'p str>, room: &mut usize) -> Reason {
        *room = room.saturating_sub(1);
        let parts = match check {
            Check::Rule(name) => return self.reason_of_rule(name, above, room),
            Check::Not(inner) => std::slice::from_ref(&**inner),
            Check::All(parts) | Check::Any(parts) => parts.as_slice(),
            other => {
                let (holds, because) = (self.eval(other), self.compared(other));
                return Reason { check: head(check), holds, because, of: Vec::new() };
            }
        };
        let of: Vec<Reason> = parts.iter().map(|part| self.reason(part, above, room)).collect();
        let mut each = of.iter().map(|part| part.holds);
        let holds = match check {
            Check::All(_) => unless(false, each),
            Check::Any(_) => unless(true, each),
            _ => each.next().flatten().map(|holds| !holds),
        };
        Reason { check: head(check), holds, because: String::new(), of }
    }

    /// What a single check compares, in words.
    fn compared(&self, check: &Check) -> String {
        let roles = || match self.subject.roles.as_slice() {
            [] => "the token has no role".to_owned(),
            roles => format!("the token has {}", roles.join(", ")),
        };
        match check {
            Check::Role(right) => with_facts(roles(), right, self.facts),
            Check::AnyRole | Check::ReaderOnly => roles(),
            Check::Credential(left, right) => {
                let says = self.subject.says(*left, self.policy.admin_project.as_ref());
                with_facts(format!("the token says {}", said(&says)), right, self.facts)
            }
            Check::Literal(_, right) => with_facts(String::new(), right, self.facts),
            Check::AdminToken => "it is [DEFAULT] admin_token alone".into(),
            Check::Remote(url) => match url.url(self.facts) {
                Some(url) => match (self.answers)(&url) {
                    None => format!("{url} was not asked"),
                    Some(None) => format!("{url} did not answer"),
                    Some(Some(yes)) => format!("{url} said {}", if yes { "True" } else { "no" }),
                },
                None => with_facts(String::new(), url, self.facts),
            },
            Check::Unknown(unknown) => unknown.why.clone(),
            _ => String::new(),
        }
    }
}

fn said(says: &Said<'_>) -> String {
    match says {
        Said::Nothing => "nothing of it".into(),
        Said::Null => "null".into(),
        Said::Values(values) => list(values.iter().copied()),
    }
}

fn list<'a>(values: impl Iterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = values.map(|v| format!("`{v}`")).collect();
    if quoted.is_empty() { "null".into() } else { quoted.join(" or ") }
}

/// The facts that a template names, with their values.
fn with_facts(before: String, template: &Template, facts: &Facts) -> String {
    let known = template.facts().map(|fact| {
        let key = fact.key();
        match facts.get(fact) {
            Known::Nothing => format!("there is no {key}"),
            Known::Untold => format!("{key} is not known here"),
            Known::Values(values) => format!("{key} is {}", list(values.iter().map(String::as_str))),
        }
    });
    let all: Vec<String> = Some(before).filter(|b| !b.is_empty()).into_iter().chain(known).collect();
    all.join("; ")
}

/// The words above several checks, or one check as it is written.
fn head(check: &Check) -> String {
    match check {
        Check::All(_) => "all of".into(),
        Check::Any(_) => "one of".into(),
        Check::Not(_) => "not".into(),
        single => single.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Fact, OPERATIONS};
    use super::*;

    fn explained(rule: &str, subject: &Subject, facts: &Facts) -> Explanation {
        let policy = Policy::with_overrides([("identity:get_user", rule)]);
        policy.explain(Op::GetUser, subject, facts, &|_| None)
    }

    fn reader(scope: Scope) -> Subject {
        Subject::new("alice", vec!["reader".into()], scope)
    }

    #[test]
    fn each_check_says_what_it_compared() {
        let facts = Facts::none().with(Fact::UserId, "bob").with_opt(Fact::UserDomain, None::<&str>);
        let rule = "role:admin or (user_id:%(target.user.id)s and not domain_id:%(target.user.domain_id)s) or rule:x";
        let found = explained(rule, &reader(Scope::Unscoped), &facts);
        assert_eq!(found.decision, Decision::Refused);
        let any = &found.rule.of[0];
        assert_eq!((any.check.as_str(), any.holds, any.of.len()), ("one of", Some(false), 3));
        assert_eq!(
            (any.of[0].check.as_str(), any.of[0].because.as_str()),
            ("role:admin", "the token has reader")
        );
        let all = &any.of[1];
        assert_eq!(all.check, "all of");
        assert_eq!(all.of[0].check, "user_id:%(target.user.id)s");
        assert_eq!(all.of[0].because, "the token says `alice`; target.user.id is `bob`");
        assert_eq!((all.of[1].check.as_str(), all.of[1].holds), ("not", None));
        assert_eq!(all.of[1].of[0].because, "the token says null; target.user.domain_id is null");
        assert_eq!(
            (any.of[2].check.as_str(), any.of[2].because.as_str()),
            ("rule:x", "there is no such rule")
        );
    }

    #[test]
    fn what_is_decided_before_the_rule_is_said() {
        let policy = Policy::with_overrides([]);
        let explain = |op, subject: &Subject| policy.explain(op, subject, &Facts::none(), &|_| None);
        let trust = explain(Op::CreateTrust, &Subject::new("a", vec!["admin".into()], Scope::System));
        assert_eq!(trust.decision, Decision::Refused);
        // The rule alone refuses too, so the scope is not the reason.
        assert_eq!(trust.before, None);
        let list =
            explain(Op::ListTrusts, &Subject::new("a", vec!["admin".into()], Scope::Domain("d".into())));
        assert_eq!((&list.decision, list.rule.holds), (&Decision::Refused, Some(true)));
        let before = list.before.unwrap_or_default();
        assert!(
            before.starts_with("the token is one of a domain, and the operation takes system"),
            "{before}"
        );
        let admin = explain(Op::CreateTrust, &Subject::admin_token());
        assert!(admin.decision == Decision::Allowed && admin.before.is_some());
    }

    #[test]
    fn what_is_not_understood_is_the_reason() {
        let found = explained("group:ops or role:reader", &reader(Scope::System), &Facts::none());
        assert_eq!((found.decision, found.rule.holds), (Decision::Refused, None));
        assert!(found.rule.because.starts_with("something in it is not understood"));
        assert!(found.rule.of[0].of[0].because.contains("`group`"));
    }

    /// Whatever an operator wrote, an explanation ends, and so does a decision.
    #[test]
    fn rules_in_a_circle_and_rules_that_grow_are_explained_in_bounds() {
        let subject = reader(Scope::System);
        let circle = [
            ("identity:get_user", "rule:a or role:reader"),
            ("a", "role:x or rule:b and rule:b"),
            ("b", "not rule:a or rule:b"),
        ];
        let policy = Policy::with_overrides(circle);
        let found = policy.explain(Op::GetUser, &subject, &Facts::none(), &|_| None);
        assert_eq!((found.decision, found.rule.holds), (Decision::Refused, None));
        let inner = &found.rule.of[0].of[0].of[0].of[1].of[0].of[0].of[0].of[0];
        assert_eq!((inner.check.as_str(), inner.because.as_str()), ("rule:a", "it refers to itself"));

        let names: Vec<String> = (0..14).map(|n| format!("r{n}")).collect();
        let of = |n: usize, last: &str| match names.get(n + 1) {
            Some(next) => vec![format!("rule:{next}"); 10].join(" and "),
            None => last.to_owned(),
        };
        for (last, decision) in [("@", Decision::Refused), ("!", Decision::Refused)] {
            let texts: Vec<String> = (0..names.len()).map(|n| of(n, last)).collect();
            let all = names.iter().zip(&texts).map(|(name, text)| (name.as_str(), text.as_str()));
            let policy = Policy::with_overrides(all.chain([("identity:get_user", "rule:r0")]));
            let found = policy.explain(Op::GetUser, &subject, &Facts::none(), &|_| None);
            assert_eq!(found.decision, decision, "{last}");
            fn count(reason: &Reason) -> usize {
                1 + reason.of.iter().map(count).sum::<usize>()
            }
            assert!((1..10_000).contains(&count(&found.rule)));
        }
    }

    #[test]
    fn what_decides_is_shipped_or_an_operators_own() {
        let policy = Policy::with_overrides([("service_role", "role:helper"), ("identity:get_user", "@")]);
        assert!(policy.is_overridden("service_role") && !policy.is_overridden("owner"));
        // By itself, and through other rules.
        assert!(!policy.is_shipped(Op::GetUser) && !policy.is_shipped(Op::Ec2tokensValidate));
        assert!(policy.is_shipped(Op::DeleteUser) && policy.is_shipped(Op::ListRegions));
    }

    /// The explanation of each shipped rule comes to what the policy decides.
    #[test]
    fn explanations_and_decisions_agree() {
        let policy = Policy::with_overrides([]);
        let facts = Facts::none()
            .with(Fact::UserId, "alice")
            .with(Fact::UserDomain, "d")
            .with(Fact::PathUser, "alice");
        for scope in [Scope::Unscoped, Scope::System, Scope::Domain("d".into())] {
            for roles in [vec![], vec!["reader".to_owned()], vec!["admin".to_owned()]] {
                let subject = Subject::new("alice", roles, scope.clone());
                for row in OPERATIONS {
                    let found = policy.explain(row.op, &subject, &facts, &|_| None);
                    let is_allowed = found.rule.holds == Some(true) && found.before.is_none();
                    assert_eq!(found.decision == Decision::Allowed, is_allowed, "{}", row.name);
                }
            }
        }
    }
}
