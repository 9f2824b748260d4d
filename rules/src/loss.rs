//! Roles that were taken away, and which tokens end with them.
//!
//! **A token ends for good when, by an act, its user loses in its place an effective role that the
//! token carries, and by nothing else.** For a token of a trust the user is the trustor of the first
//! trust of the chain, whose authority the whole chain passes on.
//!
//! An act is whatever takes roles away: a grant that is removed, a group membership, an implied role,
//! a role itself. The server computes for everybody whom the act can touch the effective roles before
//! and after it ([`lost`]), and stores one [`Lost`] for each user and place, in the transaction of the
//! act. A token is checked against the stored records with [`ends`].
//!
//! Roles that are given later end no record: they are for tokens that are issued later.

use std::collections::BTreeMap;

use crate::Micros;
use crate::roles::{Implications, RoleSet};

/// Where roles are held.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A project, by id.
    Project(String),
    /// A domain itself, by id; not the projects in it.
    Domain(String),
    /// The system.
    System,
}

/// Where roles were lost.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum LostPlace {
    /// In exactly this place.
    At(Place),
    /// In every project below this project or domain, but not in itself. An inherited grant that is
    /// removed needs one such record, and not one for each project of the domain.
    Below(String),
}

/// What one user lost in one place by one act.
///
/// Among the records of one act and user the closest one decides for a project: the record for the
/// project itself, else the `Below` of what is nearest above it. So a record whose roles are empty says
/// that in its place nothing was lost, whatever a record further up says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The user.
    pub user: String,
    /// The place.
    pub place: LostPlace,
    /// What [`lost`] returned; empty when nothing was lost here.
    pub roles: RoleSet,
    /// When.
    pub at: Micros,
    /// The act; the same string for all of its records, and for no other act's.
    pub act: String,
}

/// The roles to record as lost: those of `before` that are not in `after`, and every role that implied
/// one of them before the act. Nothing when no role was lost.
///
/// `before` and `after` are effective roles of one user in one place, `implied` the relation before the
/// act. Domain-specific roles count, although tokens do not show them: a trust may delegate one.
///
/// The roles that imply a lost one are recorded with it because the relation may be another one when
/// the record is read: so a delegation matches by its own roles, as they are stored, and what they
/// implied at the time does not have to be known any more.
pub fn lost(before: &RoleSet, after: &RoleSet, implied: &Implications) -> Option<RoleSet> {
    let gone: RoleSet = before.difference(after).cloned().collect();
    (!gone.is_empty()).then(|| implied.with_priors(&gone))
}

/// Which roles a token carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carries {
    /// All that its user holds in its place: a login, or the token of a login's keypair. Every loss
    /// there ends it.
    All,
    /// What these roles imply: the roles of the chain's last trust, of a keypair that is narrower than
    /// its trust, or of an application credential. They are as stored, and not closed under the
    /// implications of now, which may have changed since a role was lost.
    These(RoleSet),
}

/// What must be known of a token to tell whether a loss ended it.
#[derive(Debug, Clone)]
pub struct Carried<'a> {
    /// Whose roles it rests on: its user; for a trust's token the trustor of the first trust; for the
    /// token of a login's keypair or of an application credential the owner.
    pub holder: &'a str,
    /// Where.
    pub place: &'a Place,
    /// The ids of the projects above the project and of its domain, nearest first. Empty for a domain
    /// and for the system.
    pub above: &'a [String],
    /// Its roles.
    pub roles: Carries,
    /// When it was issued. Tokens tell whole seconds.
    pub issued: Micros,
}

/// Whether one of the recorded losses ended the token.
///
/// A token that was issued in the second of a loss ends too: it does not tell whether it came before.
pub fn ends<'a>(records: impl IntoIterator<Item = &'a Lost>, token: &Carried<'_>) -> bool {
    ended_at(records, token).is_some()
}

/// When the latest of the losses that ended the token happened. Nothing when none did.
///
/// Records of other users and places, and those from before the token, may be among `records` or not;
/// but of the records of one act that concern the token, all must be.
pub fn ended_at<'a>(records: impl IntoIterator<Item = &'a Lost>, token: &Carried<'_>) -> Option<Micros> {
    // The closest place of each act, and what was lost there.
    let mut acts: BTreeMap<&str, (usize, Option<Micros>)> = BTreeMap::new();
    for record in records {
        if record.user != token.holder || second(record.at) < second(token.issued) {
            continue;
        }
        let Some(distance) = distance(&record.place, token) else { continue };
        let hit = match &token.roles {
            Carries::All => !record.roles.is_empty(),
            Carries::These(own) => !record.roles.is_disjoint(own),
        };
        let hit = hit.then_some(record.at);
        acts.entry(&record.act)
            .and_modify(|known| match distance.cmp(&known.0) {
                std::cmp::Ordering::Less => *known = (distance, hit),
                std::cmp::Ordering::Equal => known.1 = known.1.max(hit),
                std::cmp::Ordering::Greater => {}
            })
            .or_insert((distance, hit));
    }
    acts.into_values().filter_map(|(_, hit)| hit).max()
}

/// How far above the token's place a record's place is; nothing when it is elsewhere.
fn distance(place: &LostPlace, token: &Carried<'_>) -> Option<usize> {
    match place {
        LostPlace::At(at) => (at == token.place).then_some(0),
        LostPlace::Below(id) => match token.place {
            Place::Project(_) => token.above.iter().position(|above| above == id).map(|n| n + 1),
            Place::Domain(_) | Place::System => None,
        },
    }
}

fn second(at: Micros) -> Micros {
    at.div_euclid(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Micros = 1_000_000;

    fn set(roles: &[&str]) -> RoleSet {
        roles.iter().map(|r| (*r).to_owned()).collect()
    }

    /// admin → member → reader
    fn implied() -> Implications {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        Implications::new([pair("admin", "member"), pair("member", "reader")])
    }

    fn project(id: &str) -> LostPlace {
        LostPlace::At(Place::Project(id.into()))
    }

    /// Alice lost this, at second 10, by the act "x".
    fn record(place: LostPlace, roles: &[&str]) -> Lost {
        Lost { user: "alice".into(), place, roles: set(roles), at: 10 * SECOND, act: "x".into() }
    }

    /// A token of Alice's on the project p, which is below q in the domain d, from second 10.
    struct Token {
        place: Place,
        roles: Carries,
        issued: Micros,
    }

    impl Token {
        fn ends(&self, records: &[Lost]) -> bool {
            let above = ["q".to_owned(), "d".to_owned()];
            let token = Carried {
                holder: "alice",
                place: &self.place,
                above: if matches!(self.place, Place::Project(_)) { &above } else { &[] },
                roles: self.roles.clone(),
                issued: self.issued,
            };
            assert_eq!(ends(records, &token), ended_at(records, &token).is_some());
            ends(records, &token)
        }
    }

    fn login() -> Token {
        Token { place: Place::Project("p".into()), roles: Carries::All, issued: 10 * SECOND }
    }

    fn trust(roles: &[&str]) -> Token {
        Token { roles: Carries::These(set(roles)), ..login() }
    }

    #[test]
    fn what_is_still_held_is_not_lost() {
        let all = set(&["admin", "member", "reader"]);
        assert_eq!(lost(&all, &all, &implied()), None);
        assert_eq!(lost(&set(&["reader"]), &all, &implied()), None);
        assert_eq!(lost(&RoleSet::new(), &RoleSet::new(), &implied()), None);
    }

    #[test]
    fn what_is_lost_is_recorded_with_all_that_implied_it() {
        let gone = lost(&set(&["heat", "reader"]), &set(&["heat"]), &implied());
        assert_eq!(gone, Some(set(&["admin", "member", "reader"])));
        let gone = lost(&set(&["admin", "member", "reader"]), &set(&["reader"]), &implied());
        assert_eq!(gone, Some(set(&["admin", "member"])));
    }

    #[test]
    fn a_login_ends_with_any_loss_in_its_place() {
        assert!(login().ends(&[record(project("p"), &["heat"])]));
        assert!(!login().ends(&[record(project("q"), &["heat"])]));
        assert!(!login().ends(&[record(project("p"), &[])]));
        assert!(!login().ends(&[]));
    }

    #[test]
    fn a_delegation_ends_with_its_own_roles_only() {
        let token = trust(&["member"]);
        assert!(token.ends(&[record(project("p"), &["member", "heat"])]));
        assert!(!token.ends(&[record(project("p"), &["heat"])]));
        // An implication was removed, and with it the reader: the record names who implied it.
        let gone = lost(&set(&["member", "reader"]), &set(&["member"]), &implied()).expect("lost");
        assert!(token.ends(&[Lost { roles: gone, ..record(project("p"), &[]) }]));
    }

    #[test]
    fn nobody_elses_loss_ends_a_token() {
        let bob = Lost { user: "bob".into(), ..record(project("p"), &["member"]) };
        assert!(!login().ends(std::slice::from_ref(&bob)));
        assert!(!trust(&["member"]).ends(&[bob]));
    }

    #[test]
    fn a_domain_is_not_the_projects_in_it_nor_the_system() {
        let domain = |id: &str| LostPlace::At(Place::Domain(id.into()));
        let on = |place| Token { place, ..login() };
        for (record, hits) in [
            (record(domain("d"), &["member"]), [false, true, false]),
            (record(domain("e"), &["member"]), [false, false, false]),
            (record(project("d"), &["member"]), [false, false, false]),
            (record(LostPlace::At(Place::System), &["member"]), [false, false, true]),
            (record(LostPlace::Below("d".into()), &["member"]), [true, false, false]),
        ] {
            let places = [Place::Project("p".into()), Place::Domain("d".into()), Place::System];
            assert_eq!(places.map(|p| on(p).ends(std::slice::from_ref(&record))), hits, "{record:?}");
        }
    }

    #[test]
    fn an_inherited_loss_is_below_and_not_in_its_own_place() {
        let below = |id: &str| [record(LostPlace::Below(id.into()), &["member"])];
        assert!(login().ends(&below("q")));
        assert!(login().ends(&below("d")));
        assert!(!login().ends(&below("p")));
        assert!(!login().ends(&below("e")));
    }

    #[test]
    fn the_closest_record_of_an_act_decides() {
        let domain = record(LostPlace::Below("d".into()), &["member"]);
        let above = record(LostPlace::Below("q".into()), &[]);
        let exact = record(project("p"), &["heat"]);
        // Above it nothing was lost: there is another grant that is inherited from there.
        for records in [[domain.clone(), above.clone()], [above.clone(), domain.clone()]] {
            assert!(!login().ends(&records));
        }
        for records in [[domain.clone(), exact.clone()], [exact.clone(), domain.clone()]] {
            assert!(!trust(&["member"]).ends(&records));
            assert!(trust(&["heat"]).ends(&records));
        }
        for far in [&domain, &record(LostPlace::Below("q".into()), &["member"])] {
            assert!(!login().ends(&[far.clone(), record(project("p"), &[])]));
        }
        // Another act's record overrides nothing, nor does another user's.
        let later = Lost { act: "y".into(), ..record(project("p"), &[]) };
        assert!(login().ends(&[domain.clone(), later]));
        let bob = Lost { user: "bob".into(), ..record(project("p"), &[]) };
        assert!(login().ends(&[domain.clone(), bob]));
        // Two that are as close add up.
        assert!(trust(&["heat"]).ends(&[record(project("p"), &[]), exact.clone()]));
        assert!(trust(&["heat"]).ends(&[exact, record(project("p"), &[])]));
    }

    #[test]
    fn only_what_was_issued_by_then_ends() {
        let records = [record(project("p"), &["member"])];
        let issued = |issued| Token { issued, ..login() };
        assert!(issued(9 * SECOND).ends(&records));
        assert!(issued(10 * SECOND).ends(&records));
        assert!(issued(11 * SECOND - 1).ends(&records));
        assert!(!issued(11 * SECOND).ends(&records));
    }

    #[test]
    fn the_latest_loss_is_told() {
        let later = Lost { at: 12 * SECOND, act: "y".into(), ..record(project("p"), &["member"]) };
        let nothing = Lost { at: 14 * SECOND, act: "z".into(), ..record(project("p"), &[]) };
        let records = [later, record(project("p"), &["member"]), nothing];
        let place = Place::Project("p".into());
        let token = Carried { holder: "alice", place: &place, above: &[], roles: Carries::All, issued: 0 };
        assert_eq!(ended_at(&records, &token), Some(12 * SECOND));
    }
}
