//! Checks that `doctor` makes with and without `--adopt`.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::Value as Json;
use vicar_rules::Micros;

use super::failure::Failure;
use super::files;
use super::report::{Report, Verdict};
use crate::auth::factors;
use crate::clock::SECOND;
use crate::config::Config;
use crate::crypto::keys::{self, KeyRing};
use crate::store::Tx;
use crate::store::schema::releases::Release;

/// 2026-01-01 UTC: a clock that is right shows no less.
pub(super) const NOT_BEFORE: Micros = 1_767_225_600 * SECOND;

/// Which indexes of the newest Keystone an older one's tables lack, if they lack any, and what follows.
pub(super) fn lacking(release: &Release) -> Option<String> {
    let names: Vec<String> =
        release.lacks.iter().map(|(table, index)| format!("{} ({table})", index.name)).collect();
    (!names.is_empty()).then(|| {
        format!(
            "{} of Keystone 30 are not there: {}. Nothing here needs them; the Keystone's own upgrade makes them, or `vicar db sync --keystone-indexes` when no upgrade to a Keystone before 29 is to come",
            names.len(),
            names.join(", ")
        )
    })
}

/// Whether users whose bits are in `mask` may do anything with a file.
pub(super) fn is_open(path: &Path, mask: u32) -> bool {
    std::fs::metadata(path).is_ok_and(|m| m.mode() & mask != 0)
}

/// What is expected of a key repository.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    /// What follows when there are no keys that can be used.
    pub(super) without: &'static str,
    /// The verdict on what works, but should be mended.
    pub(super) advice: Verdict,
    /// The bits of the mode that must not be set.
    pub(super) mask: u32,
    /// Whose bits these are.
    pub(super) who: &'static str,
    /// What takes them away.
    pub(super) chmod: &'static str,
}

/// Checks the keys in a directory. `null_key` adds the key of zeros, as for credentials.
pub(super) fn key_repository(r: &mut Report, about: &str, dir: &Path, null_key: bool, expected: &Expected) {
    let denied = files::check_readable(dir).and_then(|()| {
        let keys = keys::files(dir).unwrap_or_default();
        keys.iter().try_for_each(|(_, key)| files::check_readable(key))
    });
    if let Err(e) = denied {
        return r.fail(about, e);
    }
    if let Err(e) = KeyRing::new(dir.to_owned(), null_key).current() {
        return r.fail(about, format_args!("{e}; {}", expected.without));
    }
    let files = keys::files(dir).unwrap_or_default();
    let primary = files.first().map_or(0, |k| k.0);
    r.ok(about, format_args!("{} keys in {}, {primary} is primary", files.len(), dir.display()));
    let open: Vec<String> = std::iter::once(dir)
        .chain(files.iter().map(|k| k.1.as_path()))
        .filter(|p| is_open(p, expected.mask))
        .map(|p| p.display().to_string())
        .collect();
    r.judge(
        open.is_empty(),
        expected.advice,
        &format!("{about}, permissions"),
        format_args!("{} cannot read them", expected.who),
        format_args!(
            "{} can read {}; {} them, and rotate if somebody may have",
            expected.who,
            open.join(" "),
            expected.chmod
        ),
    );
    if !files.iter().any(|k| k.0 == 0) {
        r.add(
            expected.advice,
            about,
            "no staged key (0), so the next rotation fails; restore it, or set up new keys",
        );
    }
}

/// The multi-factor rules of users for whom they count.
pub(super) async fn multi_factor_rules(tx: &mut Tx) -> Result<Vec<Json>, Failure> {
    let rules: Vec<Option<String>> = tx
        .column(
            "SELECT o.option_value FROM user_option o WHERE o.option_id = 'MFAR' AND NOT EXISTS (
                SELECT 1 FROM user_option e WHERE e.user_id = o.user_id AND e.option_id = 'MFAE'
                   AND e.option_value = 'false')",
            &[],
        )
        .await?;
    Ok(rules.iter().filter_map(|text| serde_json::from_str(text.as_deref()?).ok()).collect())
}

/// What is to be said where rules ask for less than they say.
pub(super) fn weakened_rules(rules: &[Json], config: &Config) -> Option<String> {
    let weakened = rules.iter().filter(|rules| factors::is_weakened(rules, &config.auth_methods)).count();
    (weakened > 0).then(|| {
        format!("{weakened} users have rules with a method that is not among [auth] methods: it is left out of them, as in a Keystone, so they log in with less")
    })
}
