//! The name that somebody may have meant.

use vicar_rules::policy::OPERATIONS;

/// How much alike two names are at least, from 0 to 1.
const ALIKE: f64 = 0.8;

/// The operation whose name is most like this one; nothing when none is.
pub(super) fn operation(name: &str) -> Option<&'static str> {
    let alike = |known: &str| {
        let (_, known) = known.split_once(':').unwrap_or(("", known));
        let (_, name) = name.split_once(':').unwrap_or(("", name));
        strsim::normalized_damerau_levenshtein(known, name)
    };
    let all = OPERATIONS.iter().map(|row| (alike(row.name), row.name));
    all.filter(|(how, _)| *how >= ALIKE).max_by(|one, other| one.0.total_cmp(&other.0)).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_seen_and_another_name_is_not() {
        assert_eq!(operation("identity:get_usr"), Some("identity:get_user"));
        assert_eq!(operation("get_user"), Some("identity:get_user"));
        assert_eq!(operation("identity:udpate_project"), Some("identity:update_project"));
        assert_eq!(operation("compute:start"), None);
        assert_eq!(operation(""), None);
    }
}
