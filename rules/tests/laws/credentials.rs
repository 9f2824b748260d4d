//! Application credentials: a history in which everything is made with the token of something else.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;

use vicar_rules::Micros;
use vicar_rules::access_rule::{AccessRule, path_matches};
use vicar_rules::application_credential::{
    ApplicationCredential, CredentialFacts, CredentialRequest, MayDelegate, delegable, evaluate, grant,
};
use vicar_rules::ceiling::Ceilings;
use vicar_rules::delegation::{
    self, Authority, Broken, Chain, ChainFacts, Ended, Limits, Parties, Presence, TrustRequest, TrustStatus,
    Until,
};
use vicar_rules::origin::Origin;
use vicar_rules::token::{Act, Kind, Switches, may, with_credential};

use crate::config;
use crate::names::*;

/// Paths of requests, and patterns that rules may have.
const PATHS: [&str; 5] = ["/a", "/a/b", "/a/b/c", "/b", "/b/c"];
const PATTERNS: [&str; 7] = ["/a", "/a/*", "/a/**", "/**", "/{x}", "/b/c", "/*/b"];
const SERVICES: [&str; 2] = ["compute", "identity"];

fn rule() -> impl Strategy<Value = AccessRule> {
    (0..SERVICES.len(), 0..PATTERNS.len()).prop_map(|(service, path)| AccessRule {
        service: SERVICES[service].to_owned(),
        method: "GET".to_owned(),
        path: PATTERNS[path].to_owned(),
    })
}

/// What is asked for, and with the token of which credential; the first has no parent.
#[derive(Debug, Clone)]
struct Step {
    with: usize,
    roles: Mask,
    until: Option<Micros>,
    unrestricted: bool,
    rules: BTreeSet<AccessRule>,
    /// What the owner holds from then on.
    held: Mask,
    /// What their login carries besides, by groups that an identity provider told of.
    told: Mask,
    wait: Micros,
}

fn step() -> impl Strategy<Value = Step> {
    (
        any::<usize>(),
        prop_oneof![2 => Just(0), 3 => 0..=ALL],
        prop_oneof![2 => Just(None), 3 => (1..100_i64).prop_map(Some)],
        prop::bool::weighted(0.8),
        vec(rule(), 0..3),
        prop_oneof![1 => Just(ALL), 1 => 0..=ALL],
        prop_oneof![2 => Just(0), 1 => 0..=ALL],
        0..8_i64,
    )
        .prop_map(|(with, roles, until, unrestricted, rules, held, told, wait)| Step {
            with,
            roles,
            until,
            unrestricted,
            rules: rules.into_iter().collect(),
            held,
            told,
            wait,
        })
}

/// A stored credential with the one whose token made it.
struct Made {
    parent: Option<usize>,
    row: ApplicationCredential,
}

struct World {
    now: Micros,
    held: Mask,
    pairs: BTreeSet<(usize, usize)>,
    all: Vec<Made>,
}

impl World {
    /// What one gives now.
    fn worth(&self, n: usize) -> Option<Authority> {
        let held = set(close(&self.pairs, self.held)).clone();
        let (user, project) = (Presence::Active, Presence::Active);
        let facts = CredentialFacts { now: self.now, held: &held, user, project };
        evaluate(&self.all[n].row, &facts).live().cloned()
    }

    fn allows(&self, n: usize, service: &str, path: &str) -> bool {
        match &self.all[n].row.access_rules {
            None => true,
            Some(rules) => rules.iter().any(|rule| rule.allows(service, "GET", path)),
        }
    }

    fn apply(&mut self, step: &Step) -> Result<(), TestCaseError> {
        self.now += step.wait;
        self.held = step.held;
        let parent =
            (!self.all.is_empty()).then(|| step.with % (self.all.len() + 1)).filter(|n| *n < self.all.len());
        // The roles of the presented token: those of the login, or what the credential gives.
        let token_roles = match parent {
            None => set(close(&self.pairs, self.held | step.told)).clone(),
            Some(n) => match self.worth(n) {
                Some(authority) => authority.roles,
                None => return Ok(()),
            },
        };
        let above = parent.map(|n| self.all[n].row.clone());
        let kind = match &above {
            None => Kind::Login,
            Some(row) => with_credential(Kind::ApplicationCredential, row.unrestricted),
        };
        let ask = CredentialRequest {
            roles: set(step.roles).clone(),
            until: step.until.map(|t| self.now + t - 20),
            unrestricted: step.unrestricted,
            access_rules: step.rules.clone(),
            may_delegate: None,
        };
        let implications = implications(&self.pairs);
        let held = set(close(&self.pairs, self.held)).clone();
        let granted = grant(&ask, above.as_ref(), &token_roles, &held, &implications, self.now);
        let restricted = above.as_ref().is_some_and(|row| !row.unrestricted);
        prop_assert_eq!(may(kind, Act::ApplicationCredentials, Switches::default()).is_err(), restricted);
        prop_assert!(!(restricted && granted.is_ok()), "a restricted one gave birth");
        let Ok(granted) = granted else { return Ok(()) };
        prop_assert!(!granted.until().passed(self.now), "it was born dead");
        prop_assert!(granted.roles().is_subset(&token_roles), "it carries more than the token");
        prop_assert!(granted.roles().is_subset(&held), "it carries what its owner does not hold");
        let asked = close(&self.pairs, step.roles);
        prop_assert!(step.roles == 0 || mask(granted.roles()) == asked, "it is not what was asked");
        let rules = granted.access_rules().clone();
        self.all.push(Made {
            parent,
            row: ApplicationCredential {
                id: format!("c{}", self.all.len()),
                user: USERS[0].to_owned(),
                project: Some(PROJECTS[0].to_owned()),
                roles: granted.roles().clone(),
                until: granted.until(),
                unrestricted: granted.unrestricted(),
                access_rules: (!rules.is_empty()).then_some(rules),
                may_delegate: None,
            },
        });
        Ok(())
    }

    /// At every instant, whatever is held: nothing is more than what made it.
    fn check(&self) -> Result<(), TestCaseError> {
        for (n, made) in self.all.iter().enumerate() {
            let now = self.worth(n);
            if let Some(authority) = &now {
                prop_assert!(authority.roles.is_subset(&made.row.roles));
                prop_assert!(within(mask(&authority.roles), close(&self.pairs, self.held)));
                prop_assert!(authority.until <= made.row.until && authority.hops == 0);
            }
            let Some(parent) = made.parent else { continue };
            let above = &self.all[parent].row;
            prop_assert!(made.row.roles.is_subset(&above.roles), "roles were gained");
            prop_assert!(made.row.until <= above.until, "it outlives what made it");
            prop_assert!(above.unrestricted, "a restricted one gave birth");
            if let (Some(own), Some(above)) = (&now, self.worth(parent)) {
                prop_assert!(own.le(&above), "{own:?} is above {above:?}");
            }
            for service in SERVICES {
                for path in PATHS {
                    prop_assert!(
                        !self.allows(n, service, path) || self.allows(parent, service, path),
                        "{service} {path} was gained"
                    );
                }
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(config(3_000))]

    #[test]
    fn what_a_credential_makes_is_never_more_than_itself(
        pairs in vec((0..ROLES.len(), 0..ROLES.len()), 0..4),
        steps in vec(step(), 1..14),
    ) {
        let mut w = World { now: 1_000, held: ALL, pairs: pairs.into_iter().collect(), all: Vec::new() };
        for step in &steps {
            w.apply(step)?;
            w.check()?;
        }
    }

    #[test]
    fn a_credential_of_a_pattern_matches_what_its_parts_say(
        segments in vec(prop_oneof![Just("a"), Just("*"), Just("{id}"), Just("**")], 1..5),
        path in vec(prop_oneof![Just("a"), Just("b")], 1..5),
    ) {
        // Segment by segment, where `**` is any number of them, at least one.
        fn fits(pattern: &[&str], path: &[&str]) -> bool {
            match (pattern, path) {
                ([], []) => true,
                (["**"], [_, ..]) => true,
                (["**", rest @ ..], path) => (1..=path.len()).any(|n| fits(rest, &path[n..])),
                ([first, rest @ ..], [segment, more @ ..]) => {
                    (*first != "a" || segment == first) && fits(rest, more)
                }
                _ => false,
            }
        }
        let joined = |parts: &[&str]| format!("/{}", parts.join("/"));
        prop_assert_eq!(path_matches(&joined(&segments), &joined(&path)), fits(&segments, &path));
    }

    /// A credential delegates, now and with other facts: never more than it may, and nothing without it.
    #[test]
    fn what_a_credential_delegates_is_never_more_than_it_may(
        pairs in vec((0..ROLES.len(), 0..ROLES.len()), 0..3),
        [held, later, roles, may, asked] in proptest::array::uniform5(0..=ALL),
        depths in (0..4_u32, prop::option::of(0..4_u32)),
        ends in (prop::option::of(1_001..1_020_i64), prop::option::of(1_001..1_020_i64)),
        rules in (vec(rule(), 0..3), vec(rule(), 0..3)),
        trustee in 1..3_usize,
        imp in any::<bool>(),
        gone in prop::bool::weighted(0.2),
        now in 1_000..1_020_i64,
    ) {
        let pairs: BTreeSet<_> = pairs.into_iter().collect();
        let implications = implications(&pairs);
        let holds = |roles: Mask| set(close(&pairs, roles)).clone();
        let row = ApplicationCredential {
            id: "c".into(),
            user: USERS[0].to_owned(),
            project: Some(PROJECTS[0].to_owned()),
            roles: holds(roles),
            until: Until::from_option(ends.0),
            unrestricted: false,
            access_rules: (!rules.0.is_empty()).then(|| rules.0.iter().cloned().collect()),
            may_delegate: Some(MayDelegate {
                trustees: [USERS[1].to_owned()].into(),
                roles: set(may & close(&pairs, roles)).clone(),
                max_depth: depths.0,
            }),
        };
        let may_now = |held: &_, now| {
            let (user, project) = (Presence::Active, Presence::Active);
            delegable(&row, &implications, &CredentialFacts { now, held, user, project })
        };
        let held = holds(held);
        let before = may_now(&held, 1_000);
        let Some(above) = before.live() else { return Ok(()) };
        let ask = TrustRequest {
            trustor: USERS[0].to_owned(),
            trustee: USERS[trustee].to_owned(),
            project: Some(PROJECTS[0].to_owned()),
            impersonation: imp,
            roles: set(asked).clone(),
            until: ends.1,
            uses: None,
            allow_redelegation: depths.1.is_some(),
            count: depths.1,
            terms: vicar_rules::terms::Terms {
                access: if rules.1.is_empty() { Default::default() } else { vicar_rules::access_rule::Access::only(&rules.1.iter().cloned().collect()) },
                ..Default::default()
            },
            external_id: None,
            binding: None,
            origin: Origin::default(),
        };
        let parties = Parties {
            token_user: USERS[0],
            trustee_exists: true,
            project: Presence::Active,
            root_roles: &held,
            implications: &implications,
            ceilings: &Ceilings::default(),
            presented: Default::default(),
            now: 1_000,
        };
        let limits = Limits { allow_redelegation: true, max_redelegation_count: 3 };
        let Ok(granted) = delegation::grant_by_credential(&ask, &row, above, &parties, limits) else {
            return Ok(());
        };
        let trust = delegation::Trust { id: "t".into(), ..granted.trust().clone() };
        prop_assert_eq!(trust.trustee.as_str(), USERS[1], "to somebody else");
        prop_assert!(trust.until <= above.until && trust.hops <= depths.0);
        prop_assert!(implications.closure(&trust.roles).is_subset(&above.roles));
        // Whatever is held later, and whenever.
        let later = holds(later);
        let may_later = may_now(&later, now);
        let agents = [(USERS[0].to_owned(), Presence::Active), (USERS[1].to_owned(), Presence::Active)].into();
        let facts = ChainFacts {
            now,
            implications: &implications,
            root_roles: &later,
            agents: &agents,
            project: Presence::Active,
            ceilings: &Ceilings::default(),
            credential: (!gone).then_some(&may_later),
        };
        let chain = Chain::assemble("t", [trust]).expect("it is there");
        let worth = delegation::evaluate(chain, &facts);
        match worth.status() {
            TrustStatus::Live(a) => {
                prop_assert!(!gone);
                prop_assert!(may_later.live().is_some_and(|above| a.le(above)), "{a:?} is above {may_later:?}");
            }
            TrustStatus::Ended(Ended::Broken(Broken::CredentialGone(_))) => {
                prop_assert!(gone || may_later.ended());
            }
            TrustStatus::Ended(_) | TrustStatus::Suspended(_) => {}
        }
    }

    #[test]
    fn a_credential_is_below_its_owner(held in 0..=ALL, roles in 1..=ALL, until in prop::option::of(990..1_010_i64)) {
        let row = ApplicationCredential {
            id: "c".into(),
            user: USERS[0].to_owned(),
            project: Some(PROJECTS[0].to_owned()),
            roles: set(roles).clone(),
            until: Until::from_option(until),
            unrestricted: false,
            access_rules: None,
            may_delegate: None,
        };
        for user in [Presence::Active, Presence::Disabled, Presence::DomainDisabled, Presence::Missing] {
            for project in [Presence::Active, Presence::Disabled, Presence::DomainDisabled, Presence::Missing] {
                let held = set(held).clone();
                let status = evaluate(&row, &CredentialFacts { now: 1_000, held: &held, user, project });
                let is_on = user == Presence::Active && project == Presence::Active;
                let due = is_on && !row.until.passed(1_000) && held.intersection(&row.roles).next().is_some();
                prop_assert_eq!(status.live().is_some(), due);
                prop_assert!(status.live().is_none_or(|a| a.roles.is_subset(&held) && a.until == row.until));
                // What is gone for good is not said to sleep, and the other way round.
                let over = user == Presence::Missing || project == Presence::Missing || row.until.passed(1_000);
                prop_assert_eq!(status.ended(), over);
            }
        }
    }
}
