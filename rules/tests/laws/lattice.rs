//! Authority is a meet-semilattice, and so are ceilings.

use proptest::prelude::*;

use vicar_rules::access_rule::Access;
use vicar_rules::ceiling::{Ceiling, Delegated};
use vicar_rules::delegation::{Authority, Until};
use vicar_rules::terms::Terms;

use crate::config;
use crate::names::*;

fn authority() -> impl Strategy<Value = Authority> {
    (
        prop::option::of(0..3_i64),
        0..8_u8,
        prop_oneof![4 => Just(0_usize), 1 => Just(1)],
        any::<[bool; 2]>(),
        0..3_u32,
        terms(),
    )
        .prop_map(|(until, roles, project, [impersonate, keypairs], hops, terms)| Authority {
            until: Until::from_option(until),
            roles: set(roles).clone(),
            project: PROJECTS[project].to_owned(),
            impersonate,
            hops,
            keypairs,
            terms,
        })
}

fn terms() -> impl Strategy<Value = Terms> {
    let rules = 0..1_u8 << RULES.len();
    let lists = prop_oneof![2 => Just(Vec::new()), 3 => proptest::collection::vec(rules, 1..3)];
    let span = prop::option::of(0..3_i64);
    let methods = proptest::sample::subsequence(vec!["password", "totp"], 0..=2);
    let all = (lists, span.clone(), span.clone(), span, methods);
    all.prop_map(|(lists, not_before, max_token_ttl, max_login_age, methods)| Terms {
        access: lists.into_iter().fold(Access::default(), |all, list| all.meet(&access(list))),
        not_before,
        max_token_ttl,
        max_login_age,
        required_methods: methods.into_iter().map(str::to_owned).collect(),
    })
}

fn ceiling() -> impl Strategy<Value = Ceiling> {
    let trustees = prop::option::of(proptest::sample::subsequence(USERS[..3].to_vec(), 0..=3));
    let all = (prop::option::of(0..5_i64), prop::option::of(0..3_u32), 0..8_u8, trustees, any::<[bool; 4]>());
    all.prop_map(|(max_life, max_depth, never, trustees, [impersonation, end_required, keypairs, old])| {
        Ceiling {
            max_life,
            max_depth,
            never_roles: set(never).clone(),
            trustees: trustees.map(|users| users.into_iter().map(str::to_owned).collect()),
            impersonation,
            end_required,
            keypairs,
            applies_to_existing: old,
        }
    })
}

fn shorter(a: Option<i64>, b: Option<i64>) -> Option<i64> {
    a.map_or(b, |own| Some(b.map_or(own, |other| own.min(other))))
}

/// One that is below `a`, so that the laws about lower bounds have something to say.
fn lower(a: &Authority, by: &Authority) -> Authority {
    Authority {
        project: a.project.clone(),
        until: a.until.min(by.until),
        roles: a.roles.intersection(&by.roles).cloned().collect(),
        impersonate: a.impersonate && by.impersonate,
        hops: a.hops.min(by.hops),
        keypairs: a.keypairs && by.keypairs,
        terms: Terms {
            access: a.terms.access.meet(&by.terms.access),
            not_before: a.terms.not_before.max(by.terms.not_before),
            max_token_ttl: shorter(a.terms.max_token_ttl, by.terms.max_token_ttl),
            max_login_age: shorter(a.terms.max_login_age, by.terms.max_login_age),
            required_methods: &a.terms.required_methods | &by.terms.required_methods,
        },
    }
}

proptest! {
    #![proptest_config(config(4_000))]

    #[test]
    fn le_is_a_partial_order(a in authority(), b in authority(), c in authority()) {
        prop_assert!(a.le(&a));
        prop_assert!(!(a.le(&b) && b.le(&a)) || a == b);
        prop_assert!(!(a.le(&b) && b.le(&c)) || a.le(&c));
        let (b, c) = (lower(&a, &b), lower(&lower(&a, &b), &c));
        prop_assert!(b.le(&a) && c.le(&b) && c.le(&a));
        prop_assert!(!a.le(&b) || a == b);
    }

    #[test]
    fn meet_is_commutative_associative_and_idempotent(
        a in authority(), b in authority(), c in authority()
    ) {
        prop_assert_eq!(a.meet(&b), b.meet(&a));
        prop_assert_eq!(a.meet(&a), Some(a.clone()));
        let left = a.meet(&b).and_then(|m| m.meet(&c));
        let right = b.meet(&c).and_then(|m| a.meet(&m));
        prop_assert_eq!(left, right);
    }

    #[test]
    fn meet_is_the_greatest_lower_bound(a in authority(), b in authority(), c in authority()) {
        match a.meet(&b) {
            Some(m) => {
                prop_assert!(m.le(&a) && m.le(&b));
                for c in [c.clone(), lower(&a, &c), lower(&m, &c)] {
                    prop_assert_eq!(c.le(&a) && c.le(&b), c.le(&m));
                }
            }
            // On different projects nothing is below both.
            None => prop_assert!(!(c.le(&a) && c.le(&b)) && a.project != b.project),
        }
        prop_assert_eq!(a.le(&b), a.meet(&b) == Some(a.clone()));
    }

    #[test]
    fn ceilings_are_ordered_and_meet_in_the_greatest_lower_bound(
        a in ceiling(), b in ceiling(), c in ceiling()
    ) {
        prop_assert!(a.le(&a) && (!(a.le(&b) && b.le(&a)) || a == b) && (!(a.le(&b) && b.le(&c)) || a.le(&c)));
        let m = a.meet(&b);
        prop_assert!(m == b.meet(&a) && a.meet(&a) == a && m.meet(&c) == a.meet(&b.meet(&c)));
        prop_assert!(m.le(&a) && m.le(&b) && a.le(&Ceiling::default()));
        for c in [c.clone(), a.meet(&c), m.meet(&c)] {
            prop_assert_eq!(c.le(&a) && c.le(&b), c.le(&m));
        }
        prop_assert_eq!(a.le(&b), m == a);
    }

    #[test]
    fn within_some_ceilings_is_within_their_meet(
        a in ceiling(), b in ceiling(), until in prop::option::of(0..9_i64), roles in 0..8_u8,
        imp in any::<bool>(), link in prop::option::of((0..3_usize, 0..4_u32))
    ) {
        let what = Delegated {
            roles: set(roles),
            until: Until::from_option(until),
            impersonation: imp,
            link: link.map(|(trustee, depth)| (USERS[trustee], depth)),
        };
        let within = |c: &Ceiling| c.exceeded(what, 3).is_none();
        prop_assert_eq!(within(&a) && within(&b), within(&a.meet(&b)));
        prop_assert!(!a.le(&b) || !within(&a) || within(&b));
        // What is narrower in everything is within it too, and so is the same thing later.
        prop_assert!(!within(&a) || a.exceeded(what, 4).is_none());
        let narrower = Delegated { impersonation: false, roles: set(roles & 0b101), ..what };
        prop_assert!(!within(&a) || a.exceeded(narrower, 3).is_none());
    }
}
