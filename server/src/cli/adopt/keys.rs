//! Key repositories.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Report;
use crate::clock::{SECOND, iso};
use crate::config::Config;
use crate::crypto::keys::{self, KeyRing};

pub(super) fn judge(r: &mut Report, config: &Config) {
    repository(r, "token keys", &config.fernet_keys, false);
    let files = keys::files(&config.fernet_keys).unwrap_or_default();
    let most = config.fernet_max_active_keys;
    if files.len() > most {
        r.todo("token keys", format_args!("{} keys, though [fernet_tokens] max_active_keys is {most}: the next rotation removes {}, and what they encrypted", files.len(), files.len() - most));
    }
    if let Some(staged) = files.iter().find(|k| k.0 == 0).and_then(|k| modified(&k.1)) {
        r.ok(
            "token keys",
            format_args!("last rotated {}; from now on by one program only, theirs or ours", iso(staged)),
        );
    }
    repository(r, "credential keys", &config.credential_keys, true);
    if same(&config.fernet_keys, &config.credential_keys) {
        r.todo("keys", "tokens and credentials share one repository: a rotation for the one loses the other");
    }
}

fn same(a: &Path, b: &Path) -> bool {
    matches!((std::fs::canonicalize(a), std::fs::canonicalize(b)), (Ok(a), Ok(b)) if a == b)
}

/// In microseconds since the epoch.
fn modified(path: &Path) -> Option<i64> {
    let m = std::fs::metadata(path).ok()?;
    Some(m.mtime().saturating_mul(SECOND))
}

fn repository(r: &mut Report, about: &str, dir: &Path, null_key: bool) {
    if let Err(e) = KeyRing::new(dir.to_owned(), null_key).current() {
        return r.fail(about, format_args!("{e}. They must be the Keystone's own: look whether the path is right, and whether you are the user that the server will be"));
    }
    let files = keys::files(dir).unwrap_or_default();
    let primary = files.first().map_or(0, |k| k.0);
    r.ok(about, format_args!("{} keys in {}, {primary} is primary", files.len(), dir.display()));
    if !files.iter().any(|k| k.0 == 0) {
        r.todo(about, "no staged key (0), so the next rotation fails; restore it before");
    }
    let open: Vec<String> = std::iter::once(dir)
        .chain(files.iter().map(|k| k.1.as_path()))
        .filter(|p| std::fs::metadata(p).is_ok_and(|m| m.mode() & 0o007 != 0))
        .map(|p| p.display().to_string())
        .collect();
    if !open.is_empty() {
        r.todo(
            about,
            format_args!(
                "anybody can read {}; chmod o= them, and rotate if somebody may have",
                open.join(" ")
            ),
        );
    }
}
