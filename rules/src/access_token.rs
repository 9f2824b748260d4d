//! OAuth1 access tokens: what a user may authorize, and what an access token is worth now.
//!
//! It is a delegation of one link: a user lets a consumer act in their name, with roles of theirs, on one project. Its
//! worth is the [`meet`](Authority::meet) of what was authorized with what the user holds now, so it can only narrow.
//! Nothing can be made below it.

use crate::Micros;
use crate::delegation::{Authority, Broken, Ended, Presence, Suspended, TrustStatus, Until};
use crate::roles::{Implications, RoleSet};
use crate::terms::Terms;

/// A stored access token, as plain data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessToken {
    /// Its id.
    pub id: String,
    /// The consumer that may use it.
    pub consumer: String,
    /// The user who authorized it, whom its tokens speak for.
    pub user: String,
    /// Where.
    pub project: String,
    /// The roles as authorized; what they imply is resolved at use.
    pub roles: RoleSet,
    /// Its end.
    pub until: Until,
}

/// The facts of this instant that an access token is judged by.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// The instant.
    pub now: Micros,
    /// The implied-role relation.
    pub implications: &'a Implications,
    /// Effective roles of the user on the project.
    pub held: &'a RoleSet,
    /// How the user stands.
    pub user: Presence,
    /// How the project stands.
    pub project: Presence,
}

/// The role that a user cannot authorize, as they do not hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotHeld(pub String);

/// Whether a user may authorize these roles: no more than they hold on the project, with all that is implied.
///
/// # Errors
/// The first role that they do not hold.
pub fn authorize(asked: &RoleSet, held: &RoleSet, implications: &Implications) -> Result<(), NotHeld> {
    match implications.closure(asked).into_iter().find(|role| !held.contains(role)) {
        Some(role) => Err(NotHeld(role)),
        None => Ok(()),
    }
}

/// Evaluates an access token. What the user does not hold any more is not given; without any role it is suspended.
/// Ends come before suspensions.
pub fn evaluate(token: &AccessToken, facts: &Facts<'_>) -> TrustStatus {
    if token.until.passed(facts.now) {
        return TrustStatus::Ended(Ended::Expired);
    }
    if facts.user == Presence::Missing {
        return TrustStatus::Ended(Ended::Broken(Broken::AgentGone(token.user.clone())));
    }
    if facts.project == Presence::Missing {
        return TrustStatus::Ended(Ended::Broken(Broken::ProjectGone));
    }
    if facts.user != Presence::Active {
        return TrustStatus::Suspended(Suspended::Agent(token.user.clone()));
    }
    if facts.project != Presence::Active {
        return TrustStatus::Suspended(Suspended::Project);
    }
    let authority = |until, roles| Authority {
        until,
        roles,
        project: token.project.clone(),
        impersonate: true,
        // A leaf is a leaf.
        hops: 0,
        keypairs: true,
        terms: Terms::default(),
    };
    let authorized = authority(token.until, facts.implications.closure(&token.roles));
    let holds = authority(Until::Never, facts.held.clone());
    match authorized.meet(&holds).filter(|worth| !worth.roles.is_empty()) {
        Some(worth) => TrustStatus::Live(worth),
        None => TrustStatus::Suspended(Suspended::Role(
            token.roles.first().cloned().unwrap_or_else(|| "of any name".to_owned()),
        )),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Micros = 1_000;

    fn set(roles: &[&str]) -> RoleSet {
        roles.iter().map(|r| (*r).to_owned()).collect()
    }

    /// admin → member → reader
    fn implied() -> Implications {
        Implications::new(
            [("admin", "member"), ("member", "reader")].map(|(a, b)| (a.to_owned(), b.to_owned())),
        )
    }

    fn token() -> AccessToken {
        AccessToken {
            id: "t".into(),
            consumer: "c".into(),
            user: "alice".into(),
            project: "p".into(),
            roles: set(&["member"]),
            until: Until::At(NOW + 50),
        }
    }

    fn worth(
        token: &AccessToken,
        held: &[&str],
        user: Presence,
        project: Presence,
        now: Micros,
    ) -> TrustStatus {
        evaluate(token, &Facts { now, implications: &implied(), held: &set(held), user, project })
    }

    fn roles(held: &[&str]) -> Option<RoleSet> {
        let status = worth(&token(), held, Presence::Active, Presence::Active, NOW);
        status.live().map(|a| a.roles.clone())
    }

    #[test]
    fn nobody_authorizes_what_they_do_not_hold() {
        let may = |asked: &[&str], held: &[&str]| authorize(&set(asked), &set(held), &implied());
        assert_eq!(may(&["reader"], &["member", "reader"]), Ok(()));
        assert_eq!(may(&["admin"], &["member", "reader"]), Err(NotHeld("admin".into())));
        assert_eq!(may(&["other"], &["member", "reader"]), Err(NotHeld("other".into())));
        // What a role implies is authorized with it.
        assert_eq!(may(&["member"], &["member"]), Err(NotHeld("reader".into())));
        assert_eq!(may(&["reader"], &[]), Err(NotHeld("reader".into())));
    }

    #[test]
    fn it_gives_what_was_authorized_and_is_held_now() {
        assert_eq!(roles(&["admin", "member", "reader"]), Some(set(&["member", "reader"])));
        assert_eq!(roles(&["reader"]), Some(set(&["reader"])));
        assert_eq!(roles(&["other"]), None);
        let nothing = worth(&token(), &["other"], Presence::Active, Presence::Active, NOW);
        assert_eq!((nothing.word(), nothing.reason()), ("suspended", Some("role member is not held".into())));
        let empty = AccessToken { roles: RoleSet::new(), ..token() };
        assert!(worth(&empty, &["admin"], Presence::Active, Presence::Active, NOW).live().is_none());
    }

    #[test]
    fn ends_come_before_suspensions() {
        use Presence::*;
        let word = |user, project, now| worth(&token(), &["member"], user, project, now).word();
        assert_eq!(word(Active, Active, NOW + 49), "live");
        assert_eq!(word(Active, Active, NOW + 50), "expired");
        assert_eq!(word(Disabled, Active, NOW + 50), "expired");
        assert_eq!(word(Missing, Disabled, NOW), "broken");
        assert_eq!(word(Disabled, Missing, NOW), "broken");
        for off in [Disabled, DomainDisabled] {
            assert_eq!([word(off, Active, NOW), word(Active, off, NOW)], ["suspended"; 2]);
        }
    }

    fn any_roles() -> impl Strategy<Value = RoleSet> {
        let names = prop::sample::subsequence(vec!["admin", "member", "reader", "other"], 0..=4);
        names.prop_map(|names| set(&names))
    }

    fn any_until() -> impl Strategy<Value = Until> {
        prop_oneof![Just(Until::Never), (NOW - 10..NOW + 10).prop_map(Until::At)]
    }

    proptest! {
        #[test]
        fn it_is_never_worth_more_than_its_parts(
            authorized in any_roles(), held in any_roles(), later in any_roles(), until in any_until(),
        ) {
            let held = implied().closure(&held);
            let token = AccessToken { roles: authorized.clone(), until, ..token() };
            let at = |held: &RoleSet| {
                let (user, project) = (Presence::Active, Presence::Active);
                let facts = Facts { now: NOW, implications: &implied(), held, user, project };
                evaluate(&token, &facts).live().cloned()
            };
            let Some(worth) = at(&held) else { return Ok(()) };
            prop_assert!(worth.roles.is_subset(&held));
            prop_assert!(worth.roles.is_subset(&implied().closure(&authorized)));
            prop_assert!(worth.until <= until && !worth.until.passed(NOW));
            prop_assert_eq!((worth.project.as_str(), worth.hops), ("p", 0));
            // Losing roles only narrows.
            let less: RoleSet = held.intersection(&later).cloned().collect();
            if let Some(less) = at(&less) {
                prop_assert!(less.le(&worth));
            }
            // What may be authorized is given whole.
            if authorize(&authorized, &held, &implied()).is_ok() {
                prop_assert_eq!(worth.roles, implied().closure(&authorized));
            }
        }
    }
}
