//! Two rules compared, and one looked through, whatever the token and the object are.
//!
//! Each check that compares something is true or false by itself, but for a few that exclude each other: a token
//! has one scope. So what is found may need a token or an object that nobody has; what is not found is not there.

use std::collections::BTreeMap;

use super::check::Check;
use super::subject::Credential;
use super::table::Op;
use super::{Policy, resolve};

/// So many steps are taken; a rule that needs more is not judged.
const MOST_STEPS: usize = 200_000;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing is.
    Nothing,
    /// The checks that hold in an example, as few as were needed.
    Example(Vec<String>),
    /// Too much to look through.
    TooMuch,
}

impl Policy {
    /// Whether the rule of an operation allows something that another policy's refuses.
    pub fn allows_more_than(&self, other: &Self, op: Op) -> Found {
        let mut atoms = Atoms::default();
        let ours = self.formula(op.row().name, &mut atoms, 0);
        let theirs = other.formula(op.row().name, &mut atoms, 0);
        let more = Formula::All(vec![ours, Formula::Not(Box::new(theirs))]);
        atoms.example(&more, op.row().scopes)
    }

    /// Whether somebody could pass the rule of an operation.
    pub fn can_be_passed(&self, op: Op) -> Found {
        let mut atoms = Atoms::default();
        let rule = self.formula(op.row().name, &mut atoms, 0);
        atoms.example(&rule, op.row().scopes)
    }

    fn formula(&self, name: &str, atoms: &mut Atoms, depth: usize) -> Formula {
        let found = resolve(&self.checks, &self.default_rule, name);
        match found
            .filter(|found| depth < 20 && !self.refusing.contains(*found))
            .and_then(|f| self.checks.get(f))
        {
            Some(check) => self.formula_of(check, atoms, depth + 1),
            None => Formula::Is(false),
        }
    }

    fn formula_of(&self, check: &Check, atoms: &mut Atoms, depth: usize) -> Formula {
        let mut all =
            |parts: &[Check]| parts.iter().map(|part| self.formula_of(part, atoms, depth)).collect();
        match check {
            Check::Everybody => Formula::Is(true),
            // The admin token is not judged by rules.
            Check::Nobody | Check::Unknown(_) | Check::AdminToken => Formula::Is(false),
            Check::Not(inner) => Formula::Not(Box::new(self.formula_of(inner, atoms, depth))),
            Check::All(parts) => Formula::All(all(parts)),
            Check::Any(parts) => Formula::Any(all(parts)),
            Check::Rule(name) => self.formula(name, atoms, depth),
            other => Formula::Atom(atoms.of(other)),
        }
    }
}

#[derive(Debug)]
enum Formula {
    Is(bool),
    Atom(usize),
    Not(Box<Formula>),
    All(Vec<Formula>),
    Any(Vec<Formula>),
}

impl Formula {
    /// What it comes to where some atoms are known.
    fn eval(&self, known: &[Option<bool>]) -> Option<bool> {
        match self {
            Self::Is(value) => Some(*value),
            Self::Atom(n) => known.get(*n).copied().flatten(),
            Self::Not(inner) => inner.eval(known).map(|value| !value),
            Self::All(parts) => super::unless(false, parts.iter().map(|part| part.eval(known))),
            Self::Any(parts) => super::unless(true, parts.iter().map(|part| part.eval(known))),
        }
    }
}

/// The scope of a token that a check needs to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    System,
    Domain,
    Project,
    Nothing,
}

/// Single checks, each once however often it is written.
#[derive(Debug, Default)]
struct Atoms {
    by_text: BTreeMap<String, usize>,
    all: Vec<(String, Needs)>,
}

impl Atoms {
    fn of(&mut self, check: &Check) -> usize {
        // Roles are compared without case.
        let text = match check {
            Check::Role(_) => check.to_string().to_lowercase(),
            _ => check.to_string(),
        };
        let next = self.all.len();
        let n = *self.by_text.entry(text.clone()).or_insert(next);
        if n == next {
            let null = text.ends_with(":None");
            let needs = match check {
                _ if null => Needs::Nothing,
                Check::Credential(
                    Credential::SystemScope | Credential::System | Credential::TokenSystem,
                    _,
                ) => Needs::System,
                Check::Credential(Credential::Domain | Credential::TokenDomain, _) => Needs::Domain,
                Check::Credential(
                    Credential::Project
                    | Credential::TokenProject
                    | Credential::ProjectDomain
                    | Credential::TokenProjectDomain,
                    _,
                ) => Needs::Project,
                _ => Needs::Nothing,
            };
            self.all.push((text, needs));
        }
        n
    }

    /// An example that makes a formula true, with a token of one of these scopes.
    fn example(&self, formula: &Formula, scopes: &str) -> Found {
        let mut steps = MOST_STEPS;
        let kinds = [(Needs::Project, 'p'), (Needs::Domain, 'd'), (Needs::System, 's')];
        for (kind, _) in kinds.iter().filter(|(_, letter)| scopes.is_empty() || scopes.contains(*letter)) {
            let mut known: Vec<Option<bool>> = self
                .all
                .iter()
                .map(|(_, needs)| (*needs != Needs::Nothing && needs != kind).then_some(false))
                .collect();
            // A token of the system says nothing else of it.
            for (value, (text, needs)) in known.iter_mut().zip(&self.all) {
                let is_all = text.ends_with(":all") || text.ends_with(":True");
                if *needs == Needs::System && (!is_all || *kind == Needs::System) {
                    *value = Some(is_all && *kind == Needs::System);
                }
            }
            match self.search(formula, &mut known, &mut steps) {
                Some(true) => {
                    let holding = self.all.iter().zip(&known).filter(|(_, value)| **value == Some(true));
                    return Found::Example(holding.map(|((text, _), _)| text.clone()).collect());
                }
                Some(false) => {}
                None => return Found::TooMuch,
            }
        }
        Found::Nothing
    }

    /// Tries what is not known, false first. Nothing when the steps have run out.
    fn search(&self, formula: &Formula, known: &mut Vec<Option<bool>>, steps: &mut usize) -> Option<bool> {
        if !self.fits(known) {
            return Some(false);
        }
        let Some(open) = known.iter().position(Option::is_none) else {
            return Some(formula.eval(known) == Some(true));
        };
        match formula.eval(known) {
            Some(false) => return Some(false),
            // What is left does not matter, so it is false, unless that cannot be.
            Some(true) => {
                let mut rest = known.clone();
                rest.iter_mut().for_each(|value| *value = Some(*value == Some(true)));
                if self.fits(&rest) {
                    *known = rest;
                    return Some(true);
                }
            }
            None => {}
        }
        for value in [false, true] {
            *steps = steps.checked_sub(1)?;
            if let Some(place) = known.get_mut(open) {
                *place = Some(value);
            }
            let before = known.clone();
            if self.search(formula, known, steps)? {
                return Some(true);
            }
            *known = before;
        }
        if let Some(place) = known.get_mut(open) {
            *place = None;
        }
        Some(false)
    }

    /// Whether what is known of roles can be: `any_role` and `reader_only` follow from them.
    fn fits(&self, known: &[Option<bool>]) -> bool {
        let value = |text: &str| self.by_text.get(text).and_then(|n| known.get(*n).copied().flatten());
        let has_other = self.all.iter().zip(known).any(|((text, _), value)| {
            *value == Some(true) && text.starts_with("role:") && text != "role:reader" && !text.contains('%')
        });
        let reader = value("role:reader");
        let has_role = has_other || reader == Some(true);
        let (any, only) = (value("any_role:True"), value("reader_only:True"));
        !(any == Some(false) && (has_role || only == Some(true))
            || only == Some(true) && (has_other || reader == Some(false)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{OPERATIONS, Policy};
    use super::*;

    fn shipped() -> Policy {
        Policy::with_overrides([])
    }

    fn with(op: Op, rule: &str) -> Policy {
        Policy::with_overrides([(op.row().name, rule)])
    }

    fn example(checks: &[&str]) -> Found {
        Found::Example(checks.iter().map(|c| (*c).to_owned()).collect())
    }

    #[test]
    fn a_shipped_rule_allows_what_it_allows_and_somebody_passes_it() {
        let policy = Policy::with_overrides([]);
        for row in OPERATIONS {
            assert_eq!(policy.allows_more_than(&shipped(), row.op), Found::Nothing, "{}", row.name);
            if row.rule != "!" {
                assert!(matches!(policy.can_be_passed(row.op), Found::Example(_)), "{}", row.name);
            }
        }
    }

    #[test]
    fn a_wider_rule_is_shown_by_an_example() {
        let more = |op, rule| with(op, rule).allows_more_than(&shipped(), op);
        assert_eq!(more(Op::CreateRegion, "role:admin or role:member"), example(&["role:member"]));
        assert_eq!(more(Op::CreateRegion, "@"), example(&[]));
        assert_eq!(more(Op::CreateRegion, "role:ADMIN and system_scope:all"), Found::Nothing);
        assert_eq!(more(Op::CreateRegion, "rule:admin_required"), Found::Nothing);
        assert_eq!(more(Op::CreateRegion, "!"), Found::Nothing);
        assert_eq!(more(Op::CreateRegion, "not role:admin"), example(&[]));
        let example_of = more(Op::ListServices, "role:reader");
        assert!(matches!(&example_of, Found::Example(e) if e == &["role:reader"]), "{example_of:?}");
        // A rule that others refer to widens them.
        let policy = Policy::with_overrides([("admin_required", "role:admin or role:ops")]);
        assert_eq!(policy.allows_more_than(&shipped(), Op::CreateRegion), example(&["role:ops"]));
        assert!(matches!(policy.allows_more_than(&shipped(), Op::DeleteUser), Found::Example(_)));
    }

    #[test]
    fn a_rule_that_nobody_passes_is_found() {
        let passed = |op, rule| with(op, rule).can_be_passed(op);
        for rule in [
            "!",
            "role:a and not role:A",
            "system_scope:all and project_id:%(target.user.id)s",
            "system_scope:all and domain_id:x",
            "project_id:x and domain_id:x",
            "system_scope:some",
            "reader_only:True and role:member",
            "role:x and not any_role:True",
            "group:ops",
            "rule:nowhere",
        ] {
            assert_eq!(passed(Op::GetUser, rule), Found::Nothing, "{rule}");
        }
        assert_eq!(passed(Op::GetUser, "role:a and not role:b"), example(&["role:a"]));
        assert_eq!(
            passed(Op::GetUser, "domain_id:None and system_scope:all"),
            example(&["domain_id:None", "system_scope:all"])
        );
        // An operation that takes no tokens of the system.
        assert_eq!(Op::CreateTrust.row().scopes, "p");
        assert_eq!(passed(Op::CreateTrust, "system_scope:all"), Found::Nothing);
        assert_eq!(passed(Op::CreateTrust, "role:a"), example(&["role:a"]));
    }

    #[test]
    fn a_rule_of_many_checks_ends() {
        let many: Vec<String> = (0..40).map(|n| format!("(role:a{n} and not role:b{n})")).collect();
        let all = with(Op::GetUser, &many.join(" and "));
        assert!(matches!(all.can_be_passed(Op::GetUser), Found::Example(e) if e.len() == 40));
        let odd: Vec<String> = (0..30)
            .map(|n| format!("((role:a{n} and not role:a{}) or (not role:a{n} and role:a{}))", n + 1, n + 1))
            .collect();
        let odd = with(Op::GetUser, &format!("{} and role:a0 and role:a29 and role:a28", odd.join(" and ")));
        assert!(matches!(odd.can_be_passed(Op::GetUser), Found::TooMuch | Found::Nothing));
    }
}
