//! Who may call an operation: one table ([`table`]), one small language ([`check`]).
//!
//! The language is oslo.policy's, so that an operator's `policy.yaml` reads on. What a check can see
//! is fixed: the [`Subject`] (the token) and [`Facts`] about the object, built from stored rows by
//! the server. A request's body or query is no fact, so nothing that a client sends can shift a
//! decision. Two absent values never match.
//!
//! A rule that names something else, or that cannot be read, allows nothing, and neither does a rule that refers
//! to it: what is not understood cannot be turned into a permission, with `not` or otherwise.

mod check;
mod compare;
mod explain;
mod facts;
mod faults;
mod subject;
mod table;

use std::collections::{BTreeMap, BTreeSet};

pub use check::{Check, ParseError, Template, Unknown};
pub use compare::Found;
pub use explain::{Explanation, Reason};
pub use facts::{Fact, Facts};
pub use subject::{Credential, Said, Scope, Subject, Trait};
pub use table::{NAMED, OPERATIONS, Op, Operation};

/// The rule that is asked when a rule refers to one that is not there.
const DEFAULT_RULE: &str = "default";

/// An operator's rule.
#[derive(Debug, Clone)]
pub struct Override {
    /// The name that it has.
    pub name: String,
    /// What it says.
    pub check: Check,
    /// The same as it is written.
    pub text: String,
    /// Whether it is written as one string.
    pub is_string: bool,
}

impl Override {
    /// A rule that is written as one string.
    pub fn of(name: impl Into<String>, rule: impl Into<String>) -> Self {
        let text = rule.into();
        Self { name: name.into(), check: Check::read(&text), text, is_string: true }
    }
}

/// A rule in force, to look at.
#[derive(Debug)]
pub struct Effective<'a> {
    /// Its name.
    pub name: &'a str,
    /// As it is written.
    pub text: &'a str,
    /// Whether it is written as one string.
    pub is_string: bool,
    /// Whether an operator wrote it.
    pub overridden: bool,
    /// Whether an operation asks for it, directly or through other rules.
    pub asked: bool,
    /// Whether it allows nothing because of something without a meaning, in it or in a rule that it refers to.
    pub refuses: bool,
    /// What has no meaning in it.
    pub unknown: Vec<&'a Unknown>,
    /// The names in it that no rule has, nor the default rule in its place. They hold for nobody.
    pub missing: BTreeSet<&'a str>,
}

/// The rules in force: the table, with an operator's overrides.
#[derive(Debug, Clone)]
pub struct Policy {
    checks: BTreeMap<String, Check>,
    /// An operator's rules as they are written, and whether as strings.
    overrides: BTreeMap<String, (String, bool)>,
    default_rule: String,
    faults: faults::Faults,
    refusing: BTreeSet<String>,
    /// `[resource] admin_project_name` and `admin_project_domain_name`
    pub admin_project: Option<(String, String)>,
}

fn shipped_rules() -> impl Iterator<Item = (&'static str, &'static str)> {
    NAMED.iter().copied().chain(OPERATIONS.iter().map(|o| (o.name, o.rule)))
}

impl Policy {
    /// The table as it ships. Fails only if the table itself is wrong, which a test excludes.
    ///
    /// # Errors
    /// What is wrong in it.
    pub fn shipped() -> Result<Self, ParseError> {
        let policy = Self::with([], DEFAULT_RULE);
        match policy.faults.keys().next() {
            Some(fault) => Err(ParseError(fault.to_string())),
            None => Ok(policy),
        }
    }

    /// The table with `name: rule` overrides. Names that the table does not know are kept: other rules may refer
    /// to them.
    pub fn with_overrides<'a>(overrides: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self::with(overrides.into_iter().map(|(name, rule)| Override::of(name, rule)), DEFAULT_RULE)
    }

    /// The same with rules that were read already, of which later ones win. `default_rule` is the name of the
    /// rule that takes the place of those that are referred to and not there.
    pub fn with(overrides: impl IntoIterator<Item = Override>, default_rule: &str) -> Self {
        let mut checks: BTreeMap<String, Check> =
            shipped_rules().map(|(name, rule)| (name.to_owned(), Check::read(rule))).collect();
        let mut texts = BTreeMap::new();
        for Override { name, check, text, is_string } in overrides {
            checks.insert(name.clone(), check);
            texts.insert(name, (text, is_string));
        }
        let (faults, refusing) = faults::find(&checks, |name| resolve(&checks, default_rule, name));
        Self {
            default_rule: default_rule.to_owned(),
            overrides: texts,
            admin_project: None,
            faults,
            refusing,
            checks,
        }
    }

    /// What a token says of one credential.
    pub fn said<'a>(&self, subject: &'a Subject, credential: Credential) -> Said<'a> {
        subject.says(credential, self.admin_project.as_ref())
    }

    /// Whether a rule asks another server by this scheme.
    pub fn asks(&self, scheme: &str) -> bool {
        let mut asks = false;
        for check in self.checks.values() {
            check.visit(&mut |part| {
                asks |= matches!(part, Check::Remote(url) if url.has_scheme(scheme));
            });
        }
        asks
    }

    /// What has no meaning here, each with the rules in which it is written.
    pub fn unknown(&self) -> impl Iterator<Item = (&Unknown, &BTreeSet<String>)> {
        self.faults.iter()
    }

    /// All rules in force, by name.
    pub fn effective(&self) -> Vec<Effective<'_>> {
        let mut asked = BTreeSet::new();
        let mut todo: Vec<&str> = OPERATIONS.iter().map(|o| o.name).collect();
        while let Some(name) = todo.pop() {
            let Some(check) = self.checks.get(name) else { continue };
            if asked.insert(name) {
                check.visit(&mut |part| {
                    if let Check::Rule(to) = part {
                        todo.extend(resolve(&self.checks, &self.default_rule, to));
                    }
                });
            }
        }
        let shipped: BTreeMap<&str, &str> = shipped_rules().collect();
        self.checks
            .iter()
            .map(|(name, check)| Effective {
                name,
                missing: self.missing(check),
                is_string: self.overrides.get(name).is_none_or(|(_, is_string)| *is_string),
                text: match self.overrides.get(name) {
                    Some((text, _)) => text,
                    None => shipped.get(name.as_str()).copied().unwrap_or_default(),
                },
                overridden: self.overrides.contains_key(name),
                asked: asked.contains(name.as_str()),
                refuses: self.refusing.contains(name),
                unknown: self.faults.iter().filter(|(_, rules)| rules.contains(name)).map(|f| f.0).collect(),
            })
            .collect()
    }

    /// Whether a rule is an operator's own.
    pub fn is_overridden(&self, name: &str) -> bool {
        self.overrides.contains_key(name)
    }

    /// Whether nothing of what decides an operation is an operator's own: neither its rule nor one that it refers to.
    pub fn is_shipped(&self, op: Op) -> bool {
        let mut seen = BTreeSet::new();
        let mut todo = vec![op.row().name];
        while let Some(name) = todo.pop() {
            let Some(check) = self.checks.get(name) else { continue };
            if seen.insert(name) {
                check.visit(&mut |part| {
                    if let Check::Rule(to) = part {
                        todo.extend(resolve(&self.checks, &self.default_rule, to));
                    }
                });
            }
        }
        !seen.iter().any(|name| self.is_overridden(name))
    }

    /// The names in a check that no rule has.
    fn missing<'a>(&'a self, check: &'a Check) -> BTreeSet<&'a str> {
        let mut missing = BTreeSet::new();
        check.visit(&mut |part| {
            if let Check::Rule(to) = part
                && resolve(&self.checks, &self.default_rule, to).is_none()
            {
                missing.insert(to.as_str());
            }
        });
        missing
    }

    /// Whether the subject may do this to the object that the facts describe. No other server is asked.
    pub fn allows(&self, op: Op, subject: &Subject, facts: &Facts) -> bool {
        self.decide(op, subject, facts, &|_| Some(None)) == Decision::Allowed
    }

    /// The same; `answers` is what other servers say.
    pub fn decide(&self, op: Op, subject: &Subject, facts: &Facts, answers: Answers<'_>) -> Decision {
        let row = op.row();
        if !subject.admin_token && !row.scopes.is_empty() {
            // A token without a scope counts as project-scoped, as in oslo.policy.
            let letter = match subject.scope {
                Scope::System => 's',
                Scope::Domain(_) => 'd',
                Scope::Project { .. } | Scope::Unscoped => 'p',
            };
            if !row.scopes.contains(letter) {
                return Decision::Refused;
            }
        }
        self.decide_in_any_scope(op, subject, facts, answers)
    }

    /// The rule of an operation alone, without its kinds of scope: for another door to the same thing,
    /// which has kinds of its own.
    pub fn decide_in_any_scope(
        &self,
        op: Op,
        subject: &Subject,
        facts: &Facts,
        answers: Answers<'_>,
    ) -> Decision {
        if subject.admin_token {
            return Decision::Allowed;
        }
        self.decide_rule(op.row().name, subject, facts, answers)
    }

    /// Whether a rule holds, whatever it is for. No other server is asked.
    pub fn holds(&self, name: &str, subject: &Subject, facts: &Facts) -> bool {
        self.decide_rule(name, subject, facts, &|_| Some(None)) == Decision::Allowed
    }

    fn decide_rule(&self, name: &str, subject: &Subject, facts: &Facts, answers: Answers<'_>) -> Decision {
        // Those that refer to each other in a circle are among the refusing ones.
        if self.refusing.contains(name) {
            return Decision::Refused;
        }
        let mut judge = Judge::new(self, subject, facts, answers);
        match (judge.rule(name), judge.open) {
            (Some(true), _) => Decision::Allowed,
            (None, Some(url)) => Decision::Ask(url),
            (Some(false), _) | (None, None) => Decision::Refused,
        }
    }
}

/// What other servers say, by the URL that they are asked at. Nothing: they were not asked yet. Nothing in
/// something: they did not answer.
pub type Answers<'a> = &'a dyn Fn(&str) -> Option<Option<bool>>;

/// What the policy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is allowed.
    Allowed,
    /// It is not.
    Refused,
    /// The server at this URL is to be asked first.
    Ask(String),
}

struct Judge<'a> {
    policy: &'a Policy,
    subject: &'a Subject,
    facts: &'a Facts,
    answers: Answers<'a>,
    /// The first question without an answer.
    open: Option<String>,
    /// So many checks may still be looked at.
    left: u32,
}

/// So many checks are looked at for one decision. Rules that refer to others several times, and these again, come to more; then
/// nothing can be told.
const MOST_CHECKS: u32 = 100_000;

impl<'a> Judge<'a> {
    fn new(policy: &'a Policy, subject: &'a Subject, facts: &'a Facts, answers: Answers<'a>) -> Self {
        Self { policy, subject, facts, answers, open: None, left: MOST_CHECKS }
    }

    fn rule(&mut self, name: &str) -> Option<bool> {
        let Policy { checks, default_rule, .. } = self.policy;
        match resolve(checks, default_rule, name).and_then(|name| checks.get(name)) {
            Some(check) => self.eval(check),
            None => Some(false),
        }
    }

    /// Nothing when it cannot be told.
    fn eval(&mut self, check: &Check) -> Option<bool> {
        self.left = self.left.checked_sub(1)?;
        let (s, f) = (self.subject, self.facts);
        match check {
            Check::Everybody => Some(true),
            Check::Nobody => Some(false),
            Check::Not(c) => self.eval(c).map(|holds| !holds),
            Check::All(cs) => unless(false, cs.iter().map(|c| self.eval(c))),
            Check::Any(cs) => unless(true, cs.iter().map(|c| self.eval(c))),
            Check::Rule(name) => self.rule(name),
            Check::Role(right) => right.names_role(&s.roles, f),
            Check::Credential(left, right) => {
                right.is_said(&s.says(*left, self.policy.admin_project.as_ref()), f)
            }
            Check::Literal(left, right) => right.is_text(left, f),
            Check::AdminToken => Some(s.admin_token),
            Check::ReaderOnly => Some(!s.roles.is_empty() && s.roles.iter().all(|r| r == "reader")),
            Check::AnyRole => Some(!s.roles.is_empty()),
            Check::Remote(url) => {
                let url = url.url(f)?;
                let answer = (self.answers)(&url);
                if answer.is_none() {
                    self.open.get_or_insert(url);
                }
                answer.flatten()
            }
            Check::Unknown(_) => None,
        }
    }
}

/// The rule that a name refers to, as oslo.policy finds it.
fn resolve<'a>(checks: &'a BTreeMap<String, Check>, default: &'a str, name: &'a str) -> Option<&'a str> {
    [name, default].into_iter().find(|name| checks.contains_key(*name))
}

/// `decisive` as soon as one part is; otherwise the opposite, if all parts can be told.
fn unless(decisive: bool, parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut told = true;
    for part in parts {
        match part {
            Some(holds) if holds == decisive => return Some(decisive),
            Some(_) => {}
            None => told = false,
        }
    }
    told.then_some(!decisive)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(roles: &[&str], scope: Scope) -> Subject {
        Subject::new("alice", roles.iter().map(|r| (*r).to_owned()).collect(), scope)
    }

    #[test]
    fn every_operation_parses_and_stands_in_the_order_of_the_table() {
        let policy = Policy::shipped().expect("the table parses");
        for (i, row) in OPERATIONS.iter().enumerate() {
            assert_eq!(row.op as usize, i, "{} is out of order", row.name);
            assert!(policy.checks.contains_key(row.name));
        }
        assert_eq!(policy.checks.len(), OPERATIONS.len() + NAMED.len(), "a name appears twice");
    }

    #[test]
    fn absent_never_equals_absent() {
        let policy = Policy::shipped().expect("the table parses");
        let project = Scope::Project { id: "p".into(), domain: None };
        // Neither the token nor the object has a domain.
        let reader = subject(&["reader", "manager"], project);
        assert!(!policy.allows(Op::GetProject, &reader, &Facts::none()));
        assert!(!policy.allows(Op::UpdateProject, &reader, &Facts::none()));
        assert!(!policy.allows(Op::ListRoleAssignments, &reader, &Facts::none()));
    }

    #[test]
    fn scope_is_part_of_the_row() {
        let policy = Policy::shipped().expect("the table parses");
        let admin = |scope| subject(&["admin"], scope);
        assert!(policy.allows(Op::ListTrusts, &admin(Scope::System), &Facts::none()));
        assert!(!policy.allows(Op::ListTrusts, &admin(Scope::Domain("d".into())), &Facts::none()));
        let trustor = Facts::none().with(Fact::TrustTrustor, "alice");
        assert!(!policy.allows(Op::CreateTrust, &admin(Scope::System), &trustor));
        assert!(policy.allows(Op::CreateTrust, &subject(&[], Scope::Unscoped), &trustor));
    }

    #[test]
    fn a_domain_admin_grants_in_his_domain_also_where_administrators_are_of_the_system() {
        let policy = Policy::with_overrides([("admin_required", "role:admin and system_scope:all")]);
        let admin = subject(&["admin"], Scope::Domain("d".into()));
        let grant = |user: &str, project: &str| {
            Facts::none()
                .with(Fact::UserDomain, user)
                .with(Fact::ProjectDomain, project)
                .with_opt(Fact::RoleDomain, None::<&str>)
        };
        for op in [Op::CreateGrant, Op::RevokeGrant] {
            assert!(policy.allows(op, &admin, &grant("d", "d")));
            assert!(policy.allows(op, &admin, &grant("d", "d").with(Fact::RoleDomain, "d")));
            assert!(!policy.allows(op, &admin, &grant("d", "d").with(Fact::RoleDomain, "e")));
            assert!(!policy.allows(op, &admin, &grant("e", "d")));
            assert!(!policy.allows(op, &admin, &grant("d", "e")));
        }
    }

    fn overridden(rules: &[(&str, &str)]) -> Policy {
        Policy::with_overrides(rules.iter().copied())
    }

    #[test]
    fn a_rule_alone_is_judged_without_its_scopes() {
        let policy = Policy::shipped().expect("the table parses");
        let admin = subject(&["admin"], Scope::Domain("d".into()));
        let allows = |policy: &Policy, who: &Subject| {
            let decision = policy.decide_in_any_scope(Op::ListTrusts, who, &Facts::none(), &|_| None);
            decision == Decision::Allowed
        };
        assert!(allows(&policy, &admin));
        assert!(!allows(&policy, &subject(&[], Scope::System)));
        let closed = overridden(&[("identity:list_trusts", "!")]);
        assert!(allows(&closed, &Subject::admin_token()));
        assert!(!allows(&closed, &admin));
    }

    #[test]
    fn rules_refer_to_each_other_to_a_depth() {
        let anybody = subject(&[], Scope::System);
        let allows = |policy: Policy| policy.allows(Op::ListTrusts, &anybody, &Facts::none());
        let circle = [("identity:list_trusts", "rule:a"), ("a", "rule:b"), ("b", "rule:a")];
        assert!(!allows(overridden(&circle)));
        assert!(!allows(overridden(&[("identity:list_trusts", "rule:nowhere")])));
        let chain = |links: u8| {
            let rules: Vec<(String, String)> = (1..links)
                .map(|n| (format!("r{n}"), format!("rule:r{}", n + 1)))
                .chain([
                    (format!("r{links}"), "@".to_owned()),
                    ("identity:list_trusts".into(), "rule:r1".into()),
                ])
                .collect();
            let rules: Vec<(&str, &str)> = rules.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
            overridden(&rules)
        };
        assert!(allows(chain(15)));
        assert!(!allows(chain(16)));
    }

    #[test]
    fn a_rule_may_name_a_value() {
        let open = |rule, who: &Subject, facts: &Facts| {
            overridden(&[("identity:list_trusts", rule)]).allows(Op::ListTrusts, who, facts)
        };
        let alice = subject(&["reader", "heat"], Scope::System);
        let none = &Facts::none();
        assert!(open("user_id:alice", &alice, none));
        assert!(!open("user_id:bob", &alice, none));
        assert!(open("system_scope:all", &alice, none));
        assert!(!open("system_scope:some", &alice, none));
        assert!(!open("reader_only:True", &alice, none));
        assert!(open("reader_only:True", &subject(&["reader"], Scope::System), none));
        let role = |name: &str| Facts::none().with(Fact::RoleName, name);
        assert!(open("'member':%(target.role.name)s", &alice, &role("member")));
        assert!(!open("'member':%(target.role.name)s", &alice, &role("admin")));
    }
}
