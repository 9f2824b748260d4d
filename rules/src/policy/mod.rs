//! Who may call an operation: one table ([`table`]), one small language ([`check`]).
//!
//! The language is oslo.policy's, so that an operator's `policy.yaml` reads on. What a check can see
//! is fixed: the [`Subject`] (the token) and [`Facts`] about the object, built from stored rows by
//! the server. A request's body or query is no fact, so nothing that a client sends can shift a
//! decision. Two absent values never match.

mod check;
mod table;

use std::collections::BTreeMap;

pub use check::{Check, ParseError};
pub use table::{NAMED, OPERATIONS, Op, Operation};

/// Where a token is scoped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Nowhere.
    Unscoped,
    /// On a project.
    Project {
        /// The project.
        id: String,
        /// Its domain; a project that acts as a domain has none.
        domain: Option<String>,
    },
    /// On a domain.
    Domain(String),
    /// On the system.
    System,
}

/// The caller, as far as policy may know them.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The token's user.
    pub user: String,
    /// Names of the token's roles.
    pub roles: Vec<String>,
    /// Its scope.
    pub scope: Scope,
    /// The configured admin token: everything is allowed.
    pub admin_token: bool,
}

/// The facts about objects that checks may name. The text is the key in oslo.policy's language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fact {
    /// `user_id`: the user that the path names.
    PathUser,
    /// `target.user.id`
    UserId,
    /// `target.user.domain_id`
    UserDomain,
    /// `target.group.domain_id`
    GroupDomain,
    /// `target.project.id`
    ProjectId,
    /// `target.project.domain_id`
    ProjectDomain,
    /// `target.domain.id`
    DomainId,
    /// `target.domain_id`: the domain that a list is limited to.
    ListDomain,
    /// `target.role.name`
    RoleName,
    /// `target.role.domain_id`
    RoleDomain,
    /// `target.credential.user_id`
    CredentialUser,
    /// `target.credential.delegators`: trustee of the keypair's trust, and every trustor above it.
    CredentialDelegators,
    /// `target.token.user_id`: the subject token's user and, on a chain, who else is its subject.
    TokenUser,
    /// `target.trust.trustor_user_id`: the trustor, and every trustor above.
    TrustTrustor,
    /// `target.trust.trustee_user_id`
    TrustTrustee,
    /// `target.limit.project_id`
    LimitProject,
    /// `target.limit.project.domain_id`: the domain of that project.
    LimitProjectDomain,
    /// `target.limit.domain.id`
    LimitDomain,
}

impl Fact {
    /// Every fact with its key.
    pub const ALL: &'static [(&'static str, Fact)] = &[
        ("user_id", Fact::PathUser),
        ("target.user.id", Fact::UserId),
        ("target.user.domain_id", Fact::UserDomain),
        ("target.group.domain_id", Fact::GroupDomain),
        ("target.project.id", Fact::ProjectId),
        ("target.project.domain_id", Fact::ProjectDomain),
        ("target.domain.id", Fact::DomainId),
        ("target.domain_id", Fact::ListDomain),
        ("target.role.name", Fact::RoleName),
        ("target.role.domain_id", Fact::RoleDomain),
        ("target.credential.user_id", Fact::CredentialUser),
        ("target.credential.delegators", Fact::CredentialDelegators),
        ("target.token.user_id", Fact::TokenUser),
        ("target.trust.trustor_user_id", Fact::TrustTrustor),
        ("target.trust.trustee_user_id", Fact::TrustTrustee),
        ("target.limit.project_id", Fact::LimitProject),
        ("target.limit.project.domain_id", Fact::LimitProjectDomain),
        ("target.limit.domain.id", Fact::LimitDomain),
    ];
}

/// Facts about the object of a call, from stored rows. A fact may have several values ("one of").
#[derive(Debug, Clone, Default)]
pub struct Facts(BTreeMap<Fact, Vec<String>>);

impl Facts {
    /// No facts.
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds a value.
    #[must_use]
    pub fn with(mut self, fact: Fact, value: impl Into<String>) -> Self {
        self.0.entry(fact).or_default().push(value.into());
        self
    }

    /// Adds a value if there is one.
    #[must_use]
    pub fn with_opt(self, fact: Fact, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(v) => self.with(fact, v),
            None => self,
        }
    }

    /// Adds several values.
    #[must_use]
    pub fn with_all<S: Into<String>>(mut self, fact: Fact, values: impl IntoIterator<Item = S>) -> Self {
        for v in values {
            self = self.with(fact, v);
        }
        self
    }

    fn get(&self, fact: Fact) -> &[String] {
        self.0.get(&fact).map(Vec::as_slice).unwrap_or_default()
    }
}

/// The rules in force: the table, with an operator's overrides.
#[derive(Debug, Clone)]
pub struct Policy {
    checks: BTreeMap<String, Check>,
    /// `[oslo_policy] enforce_scope`
    pub enforce_scope: bool,
}

impl Policy {
    /// The table as it ships. Fails only if the table itself is wrong, which a test excludes.
    pub fn shipped() -> Result<Self, ParseError> {
        Self::with_overrides(std::iter::empty())
    }

    /// The table with `name: rule` overrides as in `policy.yaml`. Names that the table does not know
    /// are kept: other rules may refer to them.
    pub fn with_overrides<'a>(
        overrides: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, ParseError> {
        let shipped = NAMED.iter().copied().chain(OPERATIONS.iter().map(|o| (o.name, o.rule)));
        let mut checks = BTreeMap::new();
        for (name, rule) in shipped.chain(overrides) {
            checks.insert(name.to_owned(), Check::parse(rule)?);
        }
        Ok(Self { checks, enforce_scope: true })
    }

    /// Whether the subject may do this to the object that the facts describe.
    pub fn allows(&self, op: Op, subject: &Subject, facts: &Facts) -> bool {
        if subject.admin_token {
            return true;
        }
        let row = op.row();
        if self.enforce_scope && !row.scopes.is_empty() {
            // A token without a scope counts as project-scoped, as in oslo.policy.
            let letter = match subject.scope {
                Scope::System => 's',
                Scope::Domain(_) => 'd',
                Scope::Project { .. } | Scope::Unscoped => 'p',
            };
            if !row.scopes.contains(letter) {
                return false;
            }
        }
        self.rule(row.name, subject, facts, 0)
    }

    /// The rule of an operation alone, without its kinds of scope: for another door to the same thing,
    /// which has kinds of its own.
    pub fn allows_in_any_scope(&self, op: Op, subject: &Subject, facts: &Facts) -> bool {
        subject.admin_token || self.rule(op.row().name, subject, facts, 0)
    }

    fn rule(&self, name: &str, subject: &Subject, facts: &Facts, depth: u8) -> bool {
        // Rules that refer to each other in a circle allow nothing.
        match self.checks.get(name) {
            Some(check) if depth < 16 => self.eval(check, subject, facts, depth),
            Some(_) | None => false,
        }
    }

    fn eval(&self, check: &Check, s: &Subject, f: &Facts, depth: u8) -> bool {
        let user = Some(s.user.as_str());
        let (project, domain, project_domain) = match &s.scope {
            Scope::Unscoped | Scope::System => (None, None, None),
            Scope::Project { id, domain } => (Some(id.as_str()), None, domain.as_deref()),
            Scope::Domain(id) => (None, Some(id.as_str()), None),
        };
        match check {
            Check::Everybody => true,
            Check::Nobody => false,
            Check::Not(c) => !self.eval(c, s, f, depth),
            Check::All(cs) => cs.iter().all(|c| self.eval(c, s, f, depth)),
            Check::Any(cs) => cs.iter().any(|c| self.eval(c, s, f, depth)),
            Check::Rule(name) => self.rule(name, s, f, depth + 1),
            Check::Role(name) => s.roles.iter().any(|r| r.eq_ignore_ascii_case(name)),
            Check::SystemScope(which) => s.scope == Scope::System && which == "all",
            Check::AdminToken => s.admin_token,
            Check::ReaderOnly => !s.roles.is_empty() && s.roles.iter().all(|r| r == "reader"),
            Check::AnyRole => !s.roles.is_empty(),
            Check::User(right) => right.matches(user, f),
            Check::Project(right) => right.matches(project, f),
            Check::Domain(right) => right.matches(domain, f),
            Check::ProjectDomain(right) => right.matches(project_domain, f),
            Check::Literal(left, fact) => f.get(*fact).iter().any(|v| v == left),
            Check::Absent(fact) => f.get(*fact).is_empty(),
        }
    }
}

impl check::Right {
    fn matches(&self, left: Option<&str>, facts: &Facts) -> bool {
        match (self, left) {
            (check::Right::Fact(fact), Some(l)) => facts.get(*fact).iter().any(|v| v == l),
            (check::Right::Literal(text), Some(l)) => text == l,
            // Absent on either side never matches …
            (check::Right::Fact(_) | check::Right::Literal(_), None) => false,
            // … but a rule may ask for absence by name.
            (check::Right::None, l) => l.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(roles: &[&str], scope: Scope) -> Subject {
        Subject {
            user: "alice".into(),
            roles: roles.iter().map(|r| (*r).to_owned()).collect(),
            scope,
            admin_token: false,
        }
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
        let policy = Policy::with_overrides([("admin_required", "role:admin and system_scope:all")])
            .expect("the override parses");
        let admin = subject(&["admin"], Scope::Domain("d".into()));
        let grant = |user: &str, project: &str| {
            Facts::none().with(Fact::UserDomain, user).with(Fact::ProjectDomain, project)
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
        Policy::with_overrides(rules.iter().copied()).expect("the overrides parse")
    }

    #[test]
    fn a_rule_alone_is_judged_without_its_scopes() {
        let policy = Policy::shipped().expect("the table parses");
        let admin = subject(&["admin"], Scope::Domain("d".into()));
        assert!(policy.allows_in_any_scope(Op::ListTrusts, &admin, &Facts::none()));
        let nobody = subject(&[], Scope::System);
        assert!(!policy.allows_in_any_scope(Op::ListTrusts, &nobody, &Facts::none()));
        let token = Subject { admin_token: true, ..nobody };
        let closed = overridden(&[("identity:list_trusts", "!")]);
        assert!(closed.allows_in_any_scope(Op::ListTrusts, &token, &Facts::none()));
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

    #[test]
    fn an_optional_fact_adds_to_those_that_are_there() {
        let facts = Facts::none().with(Fact::UserId, "a").with_opt(Fact::ProjectId, Some("p"));
        let facts = facts.with_opt(Fact::DomainId, None::<&str>);
        let of = |fact| facts.get(fact).to_vec();
        assert_eq!(of(Fact::UserId), ["a"]);
        assert_eq!(of(Fact::ProjectId), ["p"]);
        assert!(of(Fact::DomainId).is_empty());
    }
}
