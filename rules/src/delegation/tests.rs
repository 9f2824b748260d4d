//! One small test for each sentence that these functions decide; the laws over random histories are in
//! `tests/laws/`.

use super::*;
use crate::access_rule::Access;
use crate::access_rule::tests::limited as rules;
use crate::ceiling::{Ceiling, Holder, Limit};

mod acts;
mod ceilings;
mod credentials;
mod terms;

const NOW: Micros = 1_000;
const LIMITS: Limits = Limits { allow_redelegation: true, max_redelegation_count: 3 };

fn set(roles: &[&str]) -> RoleSet {
    roles.iter().map(|r| (*r).to_owned()).collect()
}

/// admin → member → reader
fn implied() -> Implications {
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    Implications::new([pair("admin", "member"), pair("member", "reader")])
}

/// Alice lets Bob be a member of p under her name, and pass it on.
fn ask() -> TrustRequest {
    TrustRequest {
        trustor: "alice".into(),
        trustee: "bob".into(),
        project: Some("p".into()),
        impersonation: true,
        roles: set(&["member"]),
        until: None,
        uses: None,
        allow_redelegation: true,
        count: None,
        terms: Terms::default(),
        external_id: None,
        binding: None,
        origin: Origin::default(),
    }
}

fn child() -> TrustRequest {
    TrustRequest { trustee: "carol".into(), ..ask() }
}

/// What Alice holds: an admin's closure.
struct World {
    roles: RoleSet,
    implications: Implications,
    project: Presence,
    away: Vec<(&'static str, Presence)>,
    now: Micros,
    limits: Limits,
    ceilings: Ceilings,
}

impl Default for World {
    fn default() -> Self {
        Self {
            roles: set(&["admin", "member", "reader"]),
            implications: implied(),
            project: Presence::Active,
            away: Vec::new(),
            now: NOW,
            limits: LIMITS,
            ceilings: Ceilings::default(),
        }
    }
}

impl World {
    fn parties<'a>(&'a self, token_user: &'a str) -> Parties<'a> {
        Parties {
            token_user,
            trustee_exists: true,
            project: self.project,
            root_roles: &self.roles,
            implications: &self.implications,
            ceilings: &self.ceilings,
            presented: Presented::default(),
            now: self.now,
        }
    }

    fn grant(&self, ask: &TrustRequest) -> Result<Trust, Refusal> {
        grant(ask, &self.parties("alice"), self.limits).map(|g| g.trust)
    }

    fn status(&self, chain: &Chain) -> TrustStatus {
        self.evaluate(chain).status().clone()
    }

    fn evaluate(&self, chain: &Chain) -> Evaluated {
        self.evaluate_with(chain, None)
    }

    fn evaluate_with(&self, chain: &Chain, credential: Option<&TrustStatus>) -> Evaluated {
        let mut agents: BTreeMap<String, Presence> =
            ["alice", "bob", "carol", "dave"].map(|u| (u.to_owned(), Presence::Active)).into();
        for (user, presence) in &self.away {
            agents.insert((*user).to_owned(), *presence);
        }
        let facts = ChainFacts {
            now: self.now,
            implications: &self.implications,
            root_roles: &self.roles,
            agents: &agents,
            project: self.project,
            credential,
            ceilings: &self.ceilings,
        };
        let evaluated = evaluate(chain.clone(), &facts);
        // What is said of each link comes to what the chain is worth.
        let links = passes(chain, &facts);
        let lacking = links.iter().find_map(|link| link.lacks.first());
        match evaluated.status() {
            TrustStatus::Live(authority) => {
                assert_eq!(lacking, None);
                assert_eq!(links.last().map(|link| &link.passes), Some(&authority.roles));
            }
            TrustStatus::Suspended(Suspended::Role(role)) => assert_eq!(lacking, Some(role)),
            TrustStatus::Suspended(Suspended::Credential(_)) => assert_eq!(links, []),
            TrustStatus::Suspended(_) | TrustStatus::Ended(_) => {}
        }
        evaluated
    }

    fn passes(&self, chain: &Chain) -> Vec<Passes> {
        let facts = ChainFacts {
            now: self.now,
            implications: &self.implications,
            root_roles: &self.roles,
            agents: &BTreeMap::new(),
            project: self.project,
            credential: None,
            ceilings: &self.ceilings,
        };
        passes(chain, &facts)
    }

    /// With a token of the chain, so under the name that it speaks for.
    fn redelegate(&self, ask: &TrustRequest, chain: &Chain) -> Result<Trust, Refusal> {
        let parties = self.parties(chain.speaks_for());
        redelegate(ask, &self.evaluate(chain), &parties, self.limits).map(|g| g.trust)
    }
}

fn named(id: &str, trust: Trust) -> Trust {
    Trust { id: id.into(), ..trust }
}

fn one(trust: Trust) -> Chain {
    let trust = named("t0", trust);
    Chain::assemble("t0", [trust]).expect("it is there")
}

fn root(ask: &TrustRequest) -> Chain {
    one(World::default().grant(ask).expect("lawful"))
}

fn two(above: &TrustRequest, below: &TrustRequest) -> Chain {
    let parent = root(above);
    let child = World::default().redelegate(below, &parent).expect("lawful");
    Chain::assemble("t1", [named("t1", child), parent.leaf().clone()]).expect("it is there")
}

/// Alice → Bob → Carol, both under Alice's name.
fn pair() -> Chain {
    two(&ask(), &child())
}

fn without_impersonation() -> TrustRequest {
    TrustRequest { impersonation: false, ..ask() }
}

#[test]
fn rule_3_only_the_caller_himself_delegates() {
    let foreign = TrustRequest { trustor: "carol".into(), ..ask() };
    assert_eq!(World::default().grant(&foreign), Err(Refusal::NotTheTrustor));
}

#[test]
fn rule_6_an_unknown_trustee_is_refused() {
    let world = World::default();
    let parties = Parties { trustee_exists: false, ..world.parties("alice") };
    assert_eq!(grant(&ask(), &parties, LIMITS), Err(Refusal::TrusteeUnknown("bob".into())));
}

#[test]
fn rule_6_one_may_trust_oneself() {
    let own = TrustRequest { trustee: "alice".into(), ..ask() };
    assert!(World::default().grant(&own).is_ok());
}

#[test]
fn rule_7_project_and_roles_go_together() {
    let grant = |project: Option<&str>, roles: &[&str]| {
        World::default().grant(&TrustRequest {
            project: project.map(str::to_owned),
            roles: set(roles),
            ..ask()
        })
    };
    assert_eq!(grant(Some("p"), &[]), Err(Refusal::NoRoles));
    assert_eq!(grant(None, &["member"]), Err(Refusal::RolesWithoutProject));
    assert_eq!(grant(None, &[]), Err(Refusal::NothingDelegated));
}

#[test]
fn rule_8_an_unknown_project_is_refused_and_a_disabled_one_is_not() {
    let on = |project| World { project, ..World::default() };
    assert_eq!(on(Presence::Missing).grant(&ask()), Err(Refusal::ProjectUnknown("p".into())));
    assert!(on(Presence::Disabled).grant(&ask()).is_ok());
}

#[test]
fn rule_8_a_role_must_be_held_with_all_that_it_implies() {
    let holding = |roles| World { roles, ..World::default() };
    assert!(holding(set(&["member", "reader"])).grant(&ask()).is_ok());
    assert_eq!(holding(set(&["reader"])).grant(&ask()), Err(Refusal::RoleNotHeld("member".into())));
    assert_eq!(holding(set(&["member"])).grant(&ask()), Err(Refusal::RoleNotHeld("reader".into())));
}

#[test]
fn rule_9_uses_are_at_least_one_and_countable() {
    let grant =
        |uses| World::default().grant(&TrustRequest { uses: Some(uses), allow_redelegation: false, ..ask() });
    for right in [1, 3, i32::MAX] {
        let uses = grant(i64::from(right)).expect("lawful").remaining_uses;
        assert_eq!(uses.map(i64::from), Some(i64::from(right)));
    }
    for wrong in [0, -1, i64::MIN, i64::from(i32::MAX) + 1, i64::MAX] {
        assert_eq!(grant(wrong), Err(Refusal::UsesNotPositive), "{wrong}");
    }
}

#[test]
fn rule_9_uses_are_refused_where_redelegation_is_allowed() {
    let counted = TrustRequest { uses: Some(3), ..ask() };
    assert_eq!(World::default().grant(&counted), Err(Refusal::UsesOnRedelegable));
}

#[test]
fn rule_10_the_end_lies_in_the_future() {
    let grant = |until| World::default().grant(&TrustRequest { until: Some(until), ..ask() });
    assert_eq!(grant(NOW), Err(Refusal::ExpiryPast));
    assert_eq!(grant(NOW + 1).expect("lawful").until, Until::At(NOW + 1));
}

#[test]
fn rule_11_the_depth_follows_from_what_is_allowed_and_stated() {
    let hops = |allow_redelegation, count| {
        let ask = TrustRequest { allow_redelegation, count, ..ask() };
        World::default().grant(&ask).map(|t| t.hops)
    };
    assert_eq!(hops(false, None), Ok(0));
    assert_eq!(hops(false, Some(9)), Ok(0));
    assert_eq!(hops(true, None), Ok(3));
    assert_eq!(hops(true, Some(0)), Ok(0));
    assert_eq!(hops(true, Some(2)), Ok(2));
    assert_eq!(hops(true, Some(3)), Ok(3));
    assert_eq!(hops(true, Some(4)), Err(Refusal::DepthAboveMaximum { asked: 4, maximum: 3 }));
}

#[test]
fn rule_11_redelegation_can_be_off_on_the_whole_server() {
    let off = World { limits: Limits { allow_redelegation: false, ..LIMITS }, ..World::default() };
    assert_eq!(off.grant(&ask()), Err(Refusal::RedelegationOff));
    let leaf = TrustRequest { allow_redelegation: false, ..ask() };
    assert!(off.grant(&leaf).is_ok());
    // Nor below what was made before it was switched off.
    assert_eq!(off.redelegate(&leaf, &root(&ask())), Err(Refusal::RedelegationOff));
}

#[test]
fn rule_22_a_trust_gives_its_roles_and_what_they_imply() {
    let gives = World::default().status(&root(&ask()));
    assert_eq!(gives.live().expect("live").roles, set(&["member", "reader"]));
}

#[test]
fn rule_23_a_role_that_the_root_lost_suspends_the_whole_chain() {
    let lost = World { roles: set(&["reader"]), ..World::default() };
    for chain in [root(&ask()), pair()] {
        assert_eq!(lost.status(&chain), TrustStatus::Suspended(Suspended::Role("member".into())));
    }
}

#[test]
fn each_link_says_which_roles_it_passes_on_and_which_it_takes_away() {
    let chain = two(&ask(), &TrustRequest { roles: set(&["reader"]), ..child() });
    let none = RoleSet::new();
    let says = |world: &World| {
        world
            .passes(&chain)
            .into_iter()
            .map(|p| (p.trust, p.passes, p.withholds, p.lacks))
            .collect::<Vec<_>>()
    };
    let first = |passes: &[&str], withholds: &[&str], lacks: &[&str]| {
        ("t0".to_owned(), set(passes), set(withholds), set(lacks))
    };
    let second = || ("t1".to_owned(), set(&["reader"]), set(&["member"]), none.clone());
    assert_eq!(says(&World::default()), [first(&["member", "reader"], &["admin"], &[]), second()]);
    let lost = World { roles: set(&["reader"]), ..World::default() };
    assert_eq!(says(&lost), [first(&["reader"], &[], &["member"]), second()]);
}

#[test]
fn rule_23_any_disabled_agent_suspends_and_any_deleted_one_ends() {
    let chain = pair();
    for user in ["alice", "bob", "carol"] {
        let world = |presence| World { away: vec![(user, presence)], ..World::default() };
        for off in [Presence::Disabled, Presence::DomainDisabled] {
            assert_eq!(world(off).status(&chain), TrustStatus::Suspended(Suspended::Agent(user.into())));
        }
        assert_eq!(
            world(Presence::Missing).status(&chain),
            TrustStatus::Ended(Ended::Broken(Broken::AgentGone(user.into())))
        );
    }
}

#[test]
fn rule_23_a_disabled_project_suspends_and_a_deleted_one_ends() {
    let on = |project| World { project, ..World::default() }.status(&pair());
    for off in [Presence::Disabled, Presence::DomainDisabled] {
        assert_eq!(on(off), TrustStatus::Suspended(Suspended::Project));
    }
    assert_eq!(on(Presence::Missing), TrustStatus::Ended(Ended::Broken(Broken::ProjectGone)));
}

#[test]
fn rule_23_a_trust_without_a_project_gives_nothing() {
    let nowhere = Trust { project: None, ..root(&ask()).leaf().clone() };
    assert_eq!(
        World::default().status(&one(nowhere)),
        TrustStatus::Ended(Ended::Broken(Broken::ProjectGone))
    );
}

#[test]
fn rule_23_what_is_below_an_ended_trust_has_ended() {
    let chain = pair();
    let change = |parent: fn(&mut Trust)| {
        let mut above = chain.root().clone();
        parent(&mut above);
        let rows = [above, chain.leaf().clone()];
        World::default().status(&Chain::assemble("t1", rows).expect("it is there"))
    };
    let gone = TrustStatus::Ended(Ended::Broken(Broken::AncestorEnded("t0".into())));
    assert_eq!(change(|t| t.deleted_at = Some(1)), gone);
    assert_eq!(change(|t| t.until = Until::At(NOW)), gone);
    assert_eq!(change(|t| t.remaining_uses = Some(0)), gone);
}

#[test]
fn rule_23_a_missing_ancestor_breaks_the_chain() {
    let orphan = Chain::assemble("t1", [pair().leaf().clone()]).expect("it is there");
    assert_eq!(
        World::default().status(&orphan),
        TrustStatus::Ended(Ended::Broken(Broken::AncestorMissing("t0".into())))
    );
}

#[test]
fn rule_24_a_chain_ends_with_its_earliest_link() {
    let parent = TrustRequest { until: Some(NOW + 50), ..ask() };
    let below = TrustRequest { until: Some(NOW + 20), ..child() };
    let chain = two(&parent, &below);
    let at = |now| World { now, ..World::default() }.status(&chain);
    assert_eq!(chain.until(), Until::At(NOW + 20));
    assert_eq!(at(NOW).live().expect("live").until, Until::At(NOW + 20));
    assert!(at(NOW + 19).live().is_some());
    assert_eq!(at(NOW + 20), TrustStatus::Ended(Ended::Expired));
}

#[test]
fn rule_24_a_row_that_outlives_its_parent_gains_nothing() {
    let parent = TrustRequest { until: Some(NOW + 50), ..ask() };
    let chain = two(&parent, &child());
    let longer = Trust { until: Until::Never, ..chain.leaf().clone() };
    let chain = Chain::assemble("t1", [chain.root().clone(), longer]).expect("it is there");
    let gives = World::default().status(&chain);
    assert_eq!(gives.live().expect("live").until, Until::At(NOW + 50));
}

#[test]
fn rule_30_the_child_is_in_the_name_that_the_token_speaks_for() {
    let world = World::default();
    let by = |trustor: &str| TrustRequest { trustor: trustor.into(), impersonation: false, ..child() };
    let imp = root(&ask());
    assert!(world.redelegate(&by("alice"), &imp).is_ok());
    assert_eq!(world.redelegate(&by("bob"), &imp), Err(Refusal::NotTheTrustor));
    let plain = root(&without_impersonation());
    assert!(world.redelegate(&by("bob"), &plain).is_ok());
    assert_eq!(world.redelegate(&by("alice"), &plain), Err(Refusal::NotTheTrustor));
}

#[test]
fn rule_30_the_name_comes_from_the_chain_and_not_from_the_caller() {
    let world = World::default();
    let chain = root(&ask());
    let foreign = TrustRequest { trustor: "dave".into(), ..child() };
    let live = world.evaluate(&chain);
    assert_eq!(redelegate(&foreign, &live, &world.parties("dave"), LIMITS), Err(Refusal::NotTheTrustor));
}

#[test]
fn rule_30_the_parent_comes_from_the_chain_alone() {
    assert_eq!(pair().leaf().parent.as_deref(), Some("t0"));
}

#[test]
fn rule_30_nothing_is_made_below_what_gives_nothing() {
    let chain = root(&ask());
    let off = World { away: vec![("bob", Presence::Disabled)], ..World::default() };
    let later = World { now: NOW + 50, ..World::default() };
    let short = root(&TrustRequest { until: Some(NOW + 50), ..ask() });
    for refused in [off.redelegate(&child(), &chain), later.redelegate(&child(), &short)] {
        let refusal = refused.expect_err("refused");
        assert!(matches!(refusal, Refusal::ParentNotLive(_)));
        // A dead thing is absent, never forbidden, whatever else is wrong with the request.
        assert_eq!(refusal.class(), crate::refusal::Class::Absent);
    }
}

#[test]
fn rule_31_counts_go_3_2_1_0_and_no_further() {
    let world = World::default();
    let mut chain = root(&ask());
    let mut counts = vec![chain.leaf().hops];
    while let Ok(next) = world.redelegate(&child(), &chain) {
        counts.push(next.hops);
        let id = format!("t{}", chain.links().len());
        let rows = chain.links().iter().cloned().chain([named(&id, next)]);
        chain = Chain::assemble(&id, rows).expect("it is there");
    }
    assert_eq!(counts, [3, 2, 1, 0]);
    assert_eq!(world.redelegate(&child(), &chain), Err(Refusal::DepthExhausted));
}

#[test]
fn rule_31_a_stated_count_must_be_the_parents_minus_one() {
    let state = |count| {
        let ask = TrustRequest { count: Some(count), ..child() };
        World::default().redelegate(&ask, &root(&super::tests::ask()))
    };
    assert_eq!(state(2).expect("lawful").hops, 2);
    assert_eq!(state(0).expect("a leaf").hops, 0);
    for other in [1, 3, 4] {
        assert_eq!(state(other), Err(Refusal::DepthStated { possible: 2 }));
    }
}

#[test]
fn rule_31_lowering_the_maximum_breaks_no_living_chain() {
    let lowered = World { limits: Limits { max_redelegation_count: 1, ..LIMITS }, ..World::default() };
    let chain = root(&ask());
    assert!(lowered.status(&chain).live().is_some());
    assert_eq!(lowered.redelegate(&child(), &chain).expect("lawful").hops, 2);
}

#[test]
fn rule_32_uses_are_counted_on_a_leaf_only() {
    let counted = |allow_redelegation| {
        let ask = TrustRequest { uses: Some(2), allow_redelegation, ..child() };
        World::default().redelegate(&ask, &root(&super::tests::ask()))
    };
    assert_eq!(counted(false).expect("a leaf").remaining_uses, Some(2));
    assert_eq!(counted(true), Err(Refusal::UsesOnRedelegable));
}

#[test]
fn rule_33_an_omitted_end_is_the_parents_and_a_later_one_is_refused() {
    let parent = root(&TrustRequest { until: Some(NOW + 50), ..ask() });
    let ends = |until| {
        let ask = TrustRequest { until, ..child() };
        World::default().redelegate(&ask, &parent).map(|t| t.until)
    };
    assert_eq!(ends(None), Ok(Until::At(NOW + 50)));
    assert_eq!(ends(Some(NOW + 50)), Ok(Until::At(NOW + 50)));
    assert_eq!(ends(Some(NOW + 51)), Err(Refusal::OutlivesParent));
    assert_eq!(ends(Some(NOW)), Err(Refusal::ExpiryPast));
}

#[test]
fn rule_33_an_end_may_be_given_where_the_parent_has_none() {
    let ask = TrustRequest { until: Some(NOW + 5), ..child() };
    let made = World::default().redelegate(&ask, &root(&super::tests::ask()));
    assert_eq!(made.expect("lawful").until, Until::At(NOW + 5));
}

#[test]
fn rule_34_only_roles_of_the_parents_closure() {
    let pass_on = |role: &str| {
        let ask = TrustRequest { roles: set(&[role]), ..child() };
        World::default().redelegate(&ask, &root(&super::tests::ask()))
    };
    // Implied by what was delegated.
    assert!(pass_on("reader").is_ok());
    // Held by Alice, and not delegated.
    assert_eq!(pass_on("admin"), Err(Refusal::RoleOutsideParent("admin".into())));
}

#[test]
fn rule_34_no_other_project_and_not_none() {
    for project in [Some("q".to_owned()), None] {
        let ask = TrustRequest { project, ..child() };
        assert_eq!(
            World::default().redelegate(&ask, &root(&super::tests::ask())),
            Err(Refusal::OtherProject)
        );
    }
}

#[test]
fn rule_34_impersonation_may_be_dropped_and_not_gained() {
    let dropped = TrustRequest { impersonation: false, ..child() };
    let chain = two(&ask(), &dropped);
    assert!(!World::default().status(&chain).live().expect("live").impersonate);
    let gained = TrustRequest { trustor: "bob".into(), ..child() };
    assert_eq!(
        World::default().redelegate(&gained, &root(&without_impersonation())),
        Err(Refusal::ImpersonationGained)
    );
}

#[test]
fn rule_34_a_role_that_the_link_above_no_longer_implies_is_not_given() {
    let chain = two(&ask(), &TrustRequest { roles: set(&["reader"]), ..child() });
    let unlinked = World { implications: Implications::default(), ..World::default() };
    assert_eq!(unlinked.status(&chain), TrustStatus::Suspended(Suspended::Role("reader".into())));
}

#[test]
fn rows_that_no_redelegation_makes_are_unlawful() {
    let plain =
        two(&without_impersonation(), &TrustRequest { trustor: "bob".into(), ..without_impersonation() });
    let change = |child: fn(&mut Trust)| {
        let mut below = plain.leaf().clone();
        child(&mut below);
        let chain = Chain::assemble("t1", [plain.root().clone(), below]).expect("it is there");
        World::default().status(&chain)
    };
    assert!(change(|_| {}).live().is_some());
    let unlawful = TrustStatus::Ended(Ended::Broken(Broken::Unlawful("t1".into())));
    assert_eq!(change(|t| t.project = Some("q".into())), unlawful);
    assert_eq!(change(|t| t.hops = 3), unlawful);
    assert_eq!(change(|t| t.impersonation = true), unlawful);
    assert_eq!(change(|t| t.trustor = "alice".into()), unlawful);
}

#[test]
fn every_trustor_above_owns_what_is_below() {
    let chain = two(
        &without_impersonation(),
        &TrustRequest { trustor: "bob".into(), impersonation: false, ..child() },
    );
    assert!(chain.has_trustor("alice") && chain.has_trustor("bob"));
    assert!(!chain.has_trustor("carol"));
}

#[test]
fn rule_35_to_oneself_and_back_to_alice() {
    for trustee in ["bob", "alice"] {
        let chain = two(&ask(), &TrustRequest { trustee: trustee.into(), ..ask() });
        assert!(World::default().status(&chain).live().is_some());
    }
}

#[test]
fn rule_35_a_circle_of_rows_gives_nothing_and_ends_every_walk() {
    let chain = pair();
    let closed = Trust { parent: Some("t1".into()), ..chain.root().clone() };
    let rows = [closed, chain.leaf().clone()];
    for id in ["t0", "t1"] {
        let chain = Chain::assemble(id, rows.clone()).expect("it is there");
        assert_eq!(chain.links().len(), 2);
        assert!(chain.has_trustor("alice"));
        assert!(matches!(
            World::default().status(&chain),
            TrustStatus::Ended(Ended::Broken(Broken::Unlawful(_)))
        ));
        let falls: Vec<&str> = subtree(id, &rows).iter().map(|t| t.id.as_str()).collect();
        assert_eq!(falls, if id == "t0" { ["t0", "t1"] } else { ["t1", "t0"] });
    }
}

#[test]
fn a_use_is_taken_until_none_is_left() {
    let leaf = TrustRequest { uses: Some(2), allow_redelegation: false, ..ask() };
    let two = World::default().grant(&leaf).expect("lawful");
    assert_eq!(consume(&two), Ok(Use::Counted { before: 2, after: 1 }));
    let left = |uses| Trust { remaining_uses: uses, ..two.clone() };
    assert_eq!(consume(&left(Some(1))), Ok(Use::Counted { before: 1, after: 0 }));
    assert_eq!(consume(&left(Some(0))), Err(Spent));
    assert_eq!(consume(&left(None)), Ok(Use::Uncounted));
    assert_eq!(World::default().status(&one(left(Some(0)))), TrustStatus::Ended(Ended::Exhausted));
}

#[test]
fn a_subtree_is_all_that_is_below_and_nothing_beside() {
    let base = root(&ask()).leaf().clone();
    let row = |id: &str, parent: Option<&str>| Trust {
        id: id.into(),
        parent: parent.map(str::to_owned),
        ..base.clone()
    };
    let rows =
        [row("c", Some("b")), row("d", Some("a")), row("b", Some("a")), row("e", None), row("a", None)];
    let falls = |id| subtree(id, &rows).iter().map(|t| t.id.as_str()).collect::<Vec<_>>();
    // Parents before children.
    assert_eq!(falls("a"), ["a", "b", "d", "c"]);
    assert_eq!(falls("b"), ["b", "c"]);
    assert_eq!(falls("nowhere"), Vec::<&str>::new());
    // A row whose parent is not there.
    assert_eq!(subtree("c", &rows[..1]), [&rows[0]]);
}

#[test]
fn a_status_has_a_word_and_a_reason() {
    let live = World::default().status(&root(&ask()));
    let id = || "x".to_owned();
    let suspended = |why| (TrustStatus::Suspended(why), "suspended");
    let broken = |why| (TrustStatus::Ended(Ended::Broken(why)), "broken");
    for ((status, word), reason) in [
        ((live, "live"), None),
        ((TrustStatus::Ended(Ended::Deleted), "deleted"), None),
        ((TrustStatus::Ended(Ended::Expired), "expired"), None),
        ((TrustStatus::Ended(Ended::Exhausted), "exhausted"), None),
        (suspended(Suspended::Agent(id())), Some("user x is disabled")),
        (suspended(Suspended::Project), Some("the project is disabled")),
        (suspended(Suspended::Role(id())), Some("role x is not held")),
        (
            suspended(Suspended::Ceiling(id(), Above { limit: Limit::End, holder: Holder::User(id()) })),
            Some("trust x is above a ceiling: expires_at: expiry_required is set for user x"),
        ),
        (broken(Broken::AncestorEnded(id())), Some("trust x above it ended")),
        (broken(Broken::AncestorMissing(id())), Some("trust x above it is gone")),
        (broken(Broken::AgentGone(id())), Some("user x is gone")),
        (broken(Broken::ProjectGone), Some("the project is gone")),
        (broken(Broken::Unlawful(id())), Some("trust x contradicts the trust above it")),
    ] {
        assert_eq!((status.word(), status.reason().as_deref()), (word, reason));
        assert_eq!(status.ended(), matches!(status, TrustStatus::Ended(_)));
    }
}

fn only(paths: &[&str]) -> TrustRequest {
    TrustRequest { terms: Terms { access: rules(paths), ..Terms::default() }, ..ask() }
}

fn adoption(by: &str) -> Adoption {
    let trustor = Name { name: "Alice".into(), domain_id: "d".into(), domain_name: "D".into() };
    Adoption { by: by.to_owned(), at: NOW, trustor }
}

/// A chain of two, whose first trust was adopted.
fn adopted(by: &str) -> Chain {
    let links = pair().links().to_vec();
    let rows = links.into_iter().map(|t| Trust { adoption: (t.id == "t0").then(|| adoption(by)), ..t });
    Chain::assemble("t1", rows).expect("it is there")
}

/// Dave, and nobody else, wants to take over what Alice has left behind, but for what `change` says.
fn succession<'a>(w: &'a World, held: &'a RoleSet, none: &'a RoleSet) -> Succession<'a> {
    Succession {
        adopter: "dave",
        held,
        is_decided: false,
        holder: Presence::Active,
        holder_roles: none,
        implications: &w.implications,
        ceilings: &w.ceilings,
        now: NOW,
    }
}

fn under(holder: Holder, ceiling: Ceiling) -> World {
    let ceilings = Ceilings { levels: vec![(holder, Some(ceiling))], ..Ceilings::default() };
    World { ceilings, ..World::default() }
}

fn refusal(limit: Limit, holder: Holder) -> Refusal {
    Refusal::AboveCeiling(Above { limit, holder })
}
