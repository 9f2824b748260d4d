//! The releases of Keystone, as what their migrations leave in `alembic_version`: one mark of the expand branch and
//! one of the contract branch.
//!
//! A database is served when nothing but indexes is missing in it of what [`KEYSTONE`](super::KEYSTONE) describes.
//! A new release of Keystone adds a line here, and its tables there.

use super::{Index, table};

/// A mark, in the order in which the migrations of a branch leave them.
#[derive(Debug)]
struct Mark {
    id: &'static str,
    /// The releases that end there, where there are any.
    releases: &'static str,
    /// The indexes that its migration adds, as (table, index), where it does nothing else.
    adds: Option<&'static [(&'static str, &'static str)]>,
}

/// The releases that are served.
pub const SERVED: &str = "25 to 30";

// Keystone 28 ships the migration `e8725d6fa226` in a folder where it does not look for it: 29 is the first that
// applies it, and leaves it behind at once.
const EXPAND: &[Mark] = &[
    Mark { id: "29e87d24a316", releases: "21 to 23", adds: None },
    Mark { id: "b4f8b3f584e0", releases: "", adds: None },
    Mark { id: "11c3b243b4cb", releases: "24", adds: None },
    Mark { id: "47147121", releases: "25 to 28", adds: None },
    Mark {
        id: "e8725d6fa226",
        releases: "28 on the way to 29",
        adds: Some(&[("project_endpoint_group", "idx_project_id")]),
    },
    Mark {
        id: "742c857f1dfb",
        releases: "29 and 30",
        adds: Some(&[
            ("revocation_event", "ix_revocation_event_project_id_user_id"),
            ("revocation_event", "ix_revocation_event_composite"),
        ]),
    },
];

const CONTRACT: &[Mark] = &[
    Mark { id: "e25ffa003242", releases: "21 to 23", adds: None },
    Mark { id: "99de3849d860", releases: "", adds: None },
    Mark { id: "c88cdce8f248", releases: "24 and later", adds: None },
];

const fn last(marks: &[Mark]) -> &'static str {
    match marks {
        [.., last] => last.id,
        [] => "",
    }
}

/// The marks of the newest release: what a new database gets.
pub const ALEMBIC_HEADS: &[&str] = &[NEWEST_EXPAND, last(CONTRACT)];

/// The mark of the newest release's expand branch.
pub const NEWEST_EXPAND: &str = last(EXPAND);

/// A schema of Keystone's that is served.
#[derive(Debug, Clone)]
pub struct Release {
    /// The numbers of the releases that have it.
    pub releases: &'static str,
    /// Its mark of the expand branch.
    pub expand: &'static str,
    /// The indexes of the newest release that it lacks, each with its table.
    pub lacks: Vec<(&'static str, &'static Index)>,
}

/// Reads the marks of a database.
///
/// # Errors
/// A sentence for the operator, when it is not the schema of a release that is served.
pub fn read(marks: &[String]) -> Result<Release, String> {
    let place = |branch: &[Mark]| branch.iter().position(|mark| marks.iter().any(|found| found == mark.id));
    let (expand, contract) = (place(EXPAND), place(CONTRACT));
    let shown = marks.join(", ");
    if marks.len() > usize::from(expand.is_some()) + usize::from(contract.is_some()) {
        return Err(format!(
            "the database is at {shown}, which is no release of Keystone up to 30: a newer one is served by a newer version of this program only, and nothing is known of one that was changed. Served are {SERVED}"
        ));
    }
    let contracted = contract == CONTRACT.len().checked_sub(1);
    let found = expand.and_then(|place| EXPAND.get(place));
    // All that is newer adds indexes, and nothing else.
    let newer: Option<Vec<_>> = expand
        .and_then(|place| EXPAND.get(place + 1..))
        .and_then(|newer| newer.iter().map(|m| m.adds).collect());
    match (found, newer) {
        (Some(found), Some(newer)) if contracted => {
            let lacks =
                newer.into_iter().flatten().filter_map(|(t, name)| Some((*t, index(t, name)?))).collect();
            Ok(Release { releases: found.releases, expand: found.id, lacks })
        }
        (Some(found), _) if !found.releases.is_empty() && is_finished(found, contract) => Err(format!(
            "the database is of Keystone {} ({shown}), and served are those of {SERVED}: upgrade the Keystone first (`keystone-manage db_sync` of a newer one)",
            found.releases
        )),
        _ => Err(format!(
            "an upgrade of the Keystone was begun and is not finished (the database is at {shown}): finish it first (`keystone-manage db_sync`, or `--expand` and `--contract`)"
        )),
    }
}

/// Whether the contract branch is where the releases of this mark leave it.
fn is_finished(expand: &Mark, contract: Option<usize>) -> bool {
    let first = EXPAND.first().is_some_and(|first| first.id == expand.id);
    contract == if first { Some(0) } else { CONTRACT.len().checked_sub(1) }
}

fn index(of: &str, name: &str) -> Option<&'static Index> {
    table(of)?.indexes.iter().find(|index| index.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(marks: &[&str]) -> Result<Release, String> {
        read(&marks.iter().map(|mark| (*mark).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn what_lacks_indexes_only_is_served() {
        let names = |mark: &str| {
            // The order of the rows is the database's.
            let release = at(&["c88cdce8f248", mark]).expect("served");
            assert_eq!(release.expand, mark);
            release.lacks.iter().map(|(_, index)| index.name).collect::<Vec<_>>()
        };
        let newest = ["ix_revocation_event_project_id_user_id", "ix_revocation_event_composite"];
        assert_eq!(names("742c857f1dfb"), [""; 0]);
        assert_eq!(names("e8725d6fa226"), newest);
        assert_eq!(names("47147121"), ["idx_project_id", newest[0], newest[1]]);
    }

    #[test]
    fn every_index_is_one_of_keystone_s_tables() {
        for (of, name) in EXPAND.iter().filter_map(|mark| mark.adds).flatten() {
            assert!(index(of, name).is_some(), "{name}");
        }
    }

    #[test]
    fn what_is_not_served_is_named_with_what_to_do() {
        for (marks, says) in [
            (&["29e87d24a316", "e25ffa003242"][..], "of Keystone 21 to 23 (29e87d24a316, e25ffa003242)"),
            (&["11c3b243b4cb", "c88cdce8f248"], "of Keystone 24 "),
            (&["11c3b243b4cb", "c88cdce8f248"], "upgrade the Keystone first (`keystone-manage db_sync`"),
            (
                &["742c857f1dfb", "e25ffa003242"],
                "begun and is not finished (the database is at 742c857f1dfb, e25",
            ),
            (&["47147121", "99de3849d860"], "or `--expand` and `--contract`"),
            (&["b4f8b3f584e0", "e25ffa003242"], "not finished"),
            (&["b4f8b3f584e0", "c88cdce8f248"], "not finished"),
            (&["29e87d24a316", "c88cdce8f248"], "not finished"),
            (&["742c857f1dfb"], "not finished"),
            (&["c88cdce8f248"], "not finished"),
            (&["0123456789ab", "c88cdce8f248"], "no release of Keystone up to 30: a newer one"),
            (&["742c857f1dfb", "c88cdce8f248", "0123456789ab"], "no release of Keystone"),
            (&["742c857f1dfb", "47147121"], "no release of Keystone"),
            (&["27e647c0fad4"], "no release of Keystone"),
        ] {
            let said = at(marks).expect_err("refused");
            assert!(said.contains(says), "{marks:?}: {said}");
        }
    }
}
