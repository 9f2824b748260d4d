//! EC2 keypairs: where they come from, what they may carry, what an exchange yields.

use crate::Micros;
use crate::access_rule::Access;
use crate::ceiling::{Ceilings, Delegated};
use crate::delegation::{Authority, Evaluated, Until};
use crate::origin::Origin;
use crate::refusal::Refusal;
use crate::roles::{Implications, RoleSet};
use crate::terms::Terms;

/// What a caller asks of a new keypair. Roles are ids already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeypairRequest {
    /// The project that it is for (`tenant_id`).
    pub project: String,
    /// Only these of the trust's roles.
    pub roles: Option<RoleSet>,
    /// Not as long as the trust.
    pub until: Option<Micros>,
    /// For these requests only.
    pub access: Access,
}

/// A keypair that passed the rules; only [`bind`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    trust: Option<String>,
    roles: Option<RoleSet>,
    until: Until,
    access: Access,
    origin: Origin,
}

impl Bound {
    /// The trust that it is bound to for life, taken from the presented token alone.
    pub fn trust(&self) -> Option<&str> {
        self.trust.as_deref()
    }

    /// Its narrowed roles, when it was narrowed.
    pub fn roles(&self) -> Option<&RoleSet> {
        self.roles.as_ref()
    }

    /// Its own end.
    pub fn until(&self) -> Until {
        self.until
    }

    /// The requests that it is limited to by itself.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// What the token that made it said of the beginning, and its trust does not.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
}

/// Binds a new keypair to what the presented token stands on (rule 38): a trust's chain, or nothing for
/// a plain login, whose keypair follows its owner's current roles. Ceilings are for what is delegated: a trust's keypair is held
/// against those of its chain as if it were a link that is made now.
///
/// # Errors
///
/// The first rule that forbids it.
pub fn bind(
    ask: &KeypairRequest,
    parent: Option<&Evaluated>,
    implications: &Implications,
    ceilings: &Ceilings,
    now: Micros,
) -> Result<Bound, Refusal> {
    let Some(parent) = parent else {
        // Narrowing of one's own keypair would need a record that Keystone honours too; it has none.
        return if ask.roles.is_some() || ask.until.is_some() || ask.access.is_limited() {
            Err(Refusal::NarrowingNeedsTrust)
        } else {
            let (access, origin) = (Access::default(), Origin::default());
            Ok(Bound { trust: None, roles: None, until: Until::Never, access, origin })
        };
    };
    let above = parent.above()?;
    let leaf = parent.chain().leaf();
    if leaf.binding.is_some() {
        return Err(Refusal::KeypairOfWorkload);
    }
    if leaf.project.as_deref() != Some(&ask.project) {
        return Err(Refusal::KeypairOtherProject);
    }
    if let Some(roles) = &ask.roles {
        let wanted = implications.closure(roles);
        if let Some(role) = wanted.iter().find(|r| !above.roles.contains(*r)) {
            return Err(Refusal::KeypairRoleOutside(role.clone()));
        }
        if roles.is_empty() {
            return Err(Refusal::NoRoles);
        }
    }
    let until = match ask.until {
        Some(t) if t <= now => return Err(Refusal::ExpiryPast),
        Some(t) if Until::At(t) > above.until => return Err(Refusal::KeypairOutlives),
        other => Until::from_option(other),
    };
    if ask.access.allows_nothing() {
        return Err(Refusal::NoAccessRules);
    }
    let terms = Terms { access: ask.access.clone(), ..Terms::default() }.below(&above.terms)?;
    let (mut roles, mut access) = (ask.roles.clone(), ask.access.clone());
    // A keypair lives longer than the token that makes it. What that asked for less of, the keypair has less of for good.
    if parent.is_narrowed() {
        roles = roles.or_else(|| Some(above.roles.clone()));
        access = terms.access;
    }
    let of_trust = parent.chain().origin();
    let origin = if *parent.origin() == of_trust { Origin::default() } else { parent.origin().clone() };
    let what = Delegated {
        roles: &roles.as_ref().map_or_else(|| above.roles.clone(), |roles| implications.closure(roles)),
        until: until.min(above.until),
        impersonation: above.impersonate,
        link: None,
    };
    ceilings.check(Some(parent.chain()), what, now)?;
    Ok(Bound { trust: Some(leaf.id.clone()), roles, until, access, origin })
}

/// What a stored keypair narrows its trust to.
#[derive(Debug, Clone, Copy)]
pub struct Narrowing<'a> {
    /// Its roles; nothing for all of the trust.
    pub roles: Option<&'a RoleSet>,
    /// Its own end.
    pub until: Until,
    /// The requests that it is limited to.
    pub access: &'a Access,
}

/// What an exchange of a trust's keypair yields now: the trust's worth, met with the keypair's own
/// narrowing. Nothing when the keypair's time is over, a ceiling lets keypairs give nothing, or no role is left.
pub fn exchange(
    authority: &Authority,
    own: Narrowing<'_>,
    implications: &Implications,
    now: Micros,
) -> Option<Authority> {
    let Narrowing { roles, until, access } = own;
    if until.passed(now) || !authority.keypairs {
        return None;
    }
    let own = Authority {
        until,
        roles: roles.map_or_else(|| authority.roles.clone(), |r| implications.closure(r)),
        project: authority.project.clone(),
        impersonate: authority.impersonate,
        // A leaf is a leaf: a keypair creates nothing.
        hops: 0,
        keypairs: authority.keypairs,
        terms: Terms { access: access.clone(), ..Terms::default() },
    };
    authority.meet(&own).filter(|a| !a.roles.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    use crate::access_rule::tests::limited as rules;
    use crate::delegation::{Chain, ChainFacts, Presence, Trust, evaluate};

    const NOW: Micros = 1_000;

    fn set(roles: &[&str]) -> RoleSet {
        roles.iter().map(|r| (*r).to_owned()).collect()
    }

    /// member → reader
    fn implied() -> Implications {
        Implications::new([("member".to_owned(), "reader".to_owned())])
    }

    /// Bob is a member and Heat's stack user of p, for Alice, for 50 more.
    fn authority() -> Authority {
        Authority {
            until: Until::At(NOW + 50),
            roles: set(&["member", "reader", "heat_stack_user"]),
            project: "p".into(),
            impersonate: true,
            hops: 2,
            keypairs: true,
            terms: Terms { access: rules(&["/a/*", "/b"]), ..Terms::default() },
        }
    }

    fn chain() -> Chain {
        let trust = Trust {
            id: "t0".into(),
            trustor: "alice".into(),
            trustee: "bob".into(),
            project: Some("p".into()),
            impersonation: true,
            roles: set(&["member", "heat_stack_user"]),
            until: Until::At(NOW + 50),
            remaining_uses: None,
            hops: 2,
            parent: None,
            deleted_at: None,
            terms: Some(Terms { access: rules(&["/a/*", "/b"]), ..Terms::default() }),
            external_id: None,
            binding: None,
            origin: Origin::default(),
            suspension: None,
            adoption: None,
            credential: None,
        };
        Chain::assemble("t0", [trust]).expect("it is there")
    }

    fn ask() -> KeypairRequest {
        KeypairRequest { project: "p".into(), roles: None, until: None, access: Access::default() }
    }

    fn parent(bob: Presence) -> Evaluated {
        let agents: BTreeMap<String, Presence> =
            [("alice".into(), Presence::Active), ("bob".into(), bob)].into();
        let facts = ChainFacts {
            now: NOW,
            implications: &implied(),
            root_roles: &authority().roles,
            agents: &agents,
            project: Presence::Active,
            credential: None,
            ceilings: &Ceilings::default(),
        };
        evaluate(chain(), &facts)
    }

    fn bind_to_trust(ask: &KeypairRequest) -> Result<Bound, Refusal> {
        let live = parent(Presence::Active);
        assert_eq!(live.live(), Some(&authority()));
        bind(ask, Some(&live), &implied(), &Ceilings::default(), NOW)
    }

    fn yields(roles: Option<&RoleSet>, until: Until) -> Option<Authority> {
        let access = &Access::default();
        exchange(&authority(), Narrowing { roles, until, access }, &implied(), NOW)
    }

    #[test]
    fn rule_38_a_logins_keypair_is_bound_to_no_trust_and_not_narrowed() {
        let bound = bind(&ask(), None, &implied(), &Ceilings::default(), NOW).expect("lawful");
        assert_eq!(bound.trust(), None);
        assert_eq!((bound.roles(), bound.until()), (None, Until::Never));
    }

    #[test]
    fn rule_38_a_logins_keypair_cannot_be_narrowed() {
        let roles = KeypairRequest { roles: Some(set(&["reader"])), ..ask() };
        let until = KeypairRequest { until: Some(NOW + 5), ..ask() };
        let access = KeypairRequest { access: rules(&["/b"]), ..ask() };
        for ask in [roles, until, access] {
            assert_eq!(
                bind(&ask, None, &implied(), &Ceilings::default(), NOW),
                Err(Refusal::NarrowingNeedsTrust)
            );
        }
    }

    #[test]
    fn rule_38_a_trusts_keypair_is_bound_to_the_trust_of_the_token() {
        let bound = bind_to_trust(&ask()).expect("lawful");
        assert_eq!(bound.trust(), Some("t0"));
    }

    #[test]
    fn rule_38_a_trusts_keypair_is_on_the_trusts_project() {
        let elsewhere = KeypairRequest { project: "q".into(), ..ask() };
        assert_eq!(bind_to_trust(&elsewhere), Err(Refusal::KeypairOtherProject));
    }

    #[test]
    fn rule_38_nothing_is_bound_to_what_gives_nothing() {
        let off = parent(Presence::Disabled);
        let elsewhere = KeypairRequest { project: "q".into(), ..ask() };
        for ask in [ask(), elsewhere] {
            let refusal = bind(&ask, Some(&off), &implied(), &Ceilings::default(), NOW).expect_err("refused");
            assert!(matches!(refusal, Refusal::ParentNotLive(_)));
            assert_eq!(refusal.class(), crate::refusal::Class::Absent);
        }
    }

    #[test]
    fn rule_38_narrowing_stays_inside_the_trusts_closure() {
        let narrow = |roles: &[&str]| bind_to_trust(&KeypairRequest { roles: Some(set(roles)), ..ask() });
        // Implied by what was delegated.
        let bound = narrow(&["reader"]).expect("lawful");
        assert_eq!(bound.roles(), Some(&set(&["reader"])));
        assert_eq!(narrow(&["admin", "reader"]), Err(Refusal::KeypairRoleOutside("admin".into())));
        assert_eq!(narrow(&[]), Err(Refusal::NoRoles));
    }

    #[test]
    fn rule_38_a_keypair_ends_no_later_than_its_trust() {
        let end = |at| bind_to_trust(&KeypairRequest { until: Some(at), ..ask() }).map(|b| b.until());
        assert_eq!(end(NOW + 50), Ok(Until::At(NOW + 50)));
        assert_eq!(end(NOW + 51), Err(Refusal::KeypairOutlives));
        assert_eq!(end(NOW), Err(Refusal::ExpiryPast));
    }

    #[test]
    fn a_keypair_is_good_for_no_more_requests_than_its_trust() {
        let bound = |paths: &[&str]| {
            bind_to_trust(&KeypairRequest { access: rules(paths), ..ask() }).map(|b| b.access().clone())
        };
        assert_eq!(bound(&["/a/x"]), Ok(rules(&["/a/x"])));
        let outside = Refusal::RuleOutsideParent("GET /c of compute".into());
        assert_eq!(bound(&["/b", "/c"]), Err(outside));
        assert_eq!(bound(&[]), Err(Refusal::NoAccessRules));
        let gives = |access: &Access| {
            let own = Narrowing { roles: None, until: Until::Never, access };
            exchange(&authority(), own, &implied(), NOW).map(|a| a.terms.access)
        };
        assert_eq!(gives(&rules(&["/a/x"])), Some(rules(&["/a/x"])));
        assert_eq!(gives(&Access::default()), Some(authority().terms.access));
        // Whatever a row says.
        let wider = gives(&rules(&["/b", "/c"])).expect("live");
        assert!(wider.allows("compute", "GET", "/b") && !wider.allows("compute", "GET", "/c"));
    }

    #[test]
    fn a_keypair_of_a_narrower_token_stays_narrow() {
        use crate::delegation::Narrower;
        let origin = Origin { source_identity: Some("alice".into()), ..Origin::default() };
        let own = Narrower { roles: Some(set(&["reader"])), access: rules(&["/b"]), life: None, origin };
        let token = parent(Presence::Active).narrowed(&own, &implied()).expect("something is left");
        let of_token = |ask: &KeypairRequest| bind(ask, Some(&token), &implied(), &Ceilings::default(), NOW);
        let bound = of_token(&ask()).expect("lawful");
        assert_eq!((bound.roles(), bound.access()), (Some(&set(&["reader"])), &rules(&["/b"])));
        assert_eq!(bound.origin().source_identity.as_deref(), Some("alice"));
        let wider = KeypairRequest { roles: Some(set(&["member"])), ..ask() };
        assert_eq!(of_token(&wider), Err(Refusal::KeypairRoleOutside("member".into())));
        let wider = KeypairRequest { access: rules(&["/a/x"]), ..ask() };
        assert_eq!(of_token(&wider), Err(Refusal::RuleOutsideParent("GET /a/x of compute".into())));
    }

    #[test]
    fn a_keypair_is_within_the_ceilings_of_its_chain() {
        use crate::ceiling::{Above, Ceiling, Holder, Limit};
        let holder = || Holder::Project("p".into());
        let live = parent(Presence::Active);
        let bound = |ask: &KeypairRequest, ceiling: Ceiling| {
            let ceilings = Ceilings { levels: vec![(holder(), Some(ceiling))], ..Ceilings::default() };
            bind(ask, Some(&live), &implied(), &ceilings, NOW).map(|_| ())
        };
        let refused = |limit| Err(Refusal::AboveCeiling(Above { limit, holder: holder() }));
        let none = Ceiling::default();
        let off = Ceiling { keypairs: false, ..none.clone() };
        assert_eq!(bound(&ask(), off.clone()), refused(Limit::Keypairs));
        // Without roles or an end of its own it has the trust's.
        let never = Ceiling { never_roles: set(&["reader"]), ..none.clone() };
        assert_eq!(bound(&ask(), never.clone()), refused(Limit::Role("reader".into())));
        let heat = KeypairRequest { roles: Some(set(&["heat_stack_user"])), ..ask() };
        assert_eq!(bound(&heat, never), Ok(()));
        let life = Ceiling { max_life: Some(20), ..none.clone() };
        assert_eq!(bound(&ask(), life.clone()), refused(Limit::Life(20)));
        assert_eq!(bound(&KeypairRequest { until: Some(NOW + 20), ..ask() }, life), Ok(()));
        assert_eq!(bound(&ask(), Ceiling { impersonation: false, ..none }), refused(Limit::Impersonation));
        // One of a login is its owner's own.
        let ceilings = Ceilings { levels: vec![(holder(), Some(off))], ..Ceilings::default() };
        assert!(bind(&ask(), None, &implied(), &ceilings, NOW).is_ok());
        let quiet = Authority { keypairs: false, ..authority() };
        let own = Narrowing { roles: None, until: Until::Never, access: &Access::default() };
        assert_eq!(exchange(&quiet, own, &implied(), NOW), None);
    }

    #[test]
    fn rule_38_an_exchange_yields_what_the_trust_gives_then() {
        let gives = yields(None, Until::Never).expect("live");
        assert_eq!(gives, Authority { hops: 0, ..authority() });
    }

    #[test]
    fn rule_38_a_narrowed_keypair_yields_only_its_roles_and_what_they_imply() {
        let heat = set(&["heat_stack_user"]);
        let gives = yields(Some(&heat), Until::Never).expect("live");
        assert_eq!(gives.roles, heat);
        let gives = yields(Some(&set(&["member"])), Until::Never).expect("live");
        assert_eq!(gives.roles, set(&["member", "reader"]));
    }

    #[test]
    fn rule_38_a_role_that_the_trust_does_not_give_is_not_yielded() {
        let gives = yields(Some(&set(&["admin", "reader"])), Until::Never).expect("live");
        assert_eq!(gives.roles, set(&["reader"]));
        assert_eq!(yields(Some(&set(&["admin"])), Until::Never), None);
    }

    #[test]
    fn rule_38_an_exchange_is_capped_by_the_keypair_and_by_the_trust() {
        let end = |until| yields(None, until).map(|a| a.until);
        assert_eq!(end(Until::At(NOW + 5)), Some(Until::At(NOW + 5)));
        assert_eq!(end(Until::At(NOW + 99)), Some(Until::At(NOW + 50)));
        assert_eq!(end(Until::At(NOW)), None);
    }
}
