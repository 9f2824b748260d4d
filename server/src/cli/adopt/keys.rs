//! Key repositories.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::super::checks::{self, Expected};
use super::super::report::{Report, Verdict};
use crate::clock::{SECOND, iso};
use crate::config::Config;
use crate::crypto::keys;

/// A Keystone's group may read them; that is how it is often installed.
const KEYS: Expected = Expected {
    without: "they must be the Keystone's own: check the path, and that you are the user that will run the server",
    advice: Verdict::Todo,
    mask: 0o007,
    who: "everybody",
    chmod: "chmod o=",
};

pub(super) fn judge(r: &mut Report, config: &Config) {
    checks::key_repository(r, "token keys", &config.fernet_keys, false, &KEYS);
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
    if config.has_receipt_keys() {
        checks::key_repository(r, "receipt keys", &config.receipt_keys, false, &KEYS);
    }
    if config.credential_keys.exists() {
        checks::key_repository(r, "credential keys", &config.credential_keys, true, &KEYS);
    } else {
        r.fail("credential keys", format_args!("{} is not there, and the server does not start without it: if the Keystone has it elsewhere, bring it here. A Keystone that has none encrypts with a key of zeros, which protects nothing: `vicar keys setup --credential` makes keys; give the Keystone the same ones, and `vicar keys migrate` encrypts anew what is stored", config.credential_keys.display()));
    }
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
