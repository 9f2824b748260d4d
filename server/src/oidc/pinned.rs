//! Keys of providers that the configuration pins, and what the trust domains of SPIFFE have of their own.

use std::borrow::Cow;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, PoisonError};

use serde_json::{Map, Value};

use super::jws::Key;
use super::{Known, Providers};
use crate::config::oidc::Oidc;

/// The longest file that is read, in bytes.
const LONGEST: u64 = 512 << 10;

/// How keys are marked that sign a trust domain's tokens; those of its certificates are marked otherwise.
const SPIFFE_USE: &str = "jwt-svid";

/// What keys have to be marked for, where that is not signatures of any kind.
pub(super) fn own_use(options: &Oidc) -> Option<&'static str> {
    options.trust_domain().map(|_| SPIFFE_USE)
}

/// The keys in a file.
///
/// # Errors
/// A sentence for the operator, with the file's name: it cannot be read, or holds no key by which a token could be verified.
pub(super) fn read(file: &Path, options: &Oidc) -> Result<Vec<Key>, String> {
    let wrong = |e: &dyn std::fmt::Display| format!("{}: {e}", file.display());
    // Whoever opens a pipe waits for somebody to write.
    if !std::fs::metadata(file).map_err(|e| wrong(&e))?.is_file() {
        return Err(wrong(&"is not a file"));
    }
    let mut text = Vec::new();
    let open = std::fs::File::open(file).map_err(|e| wrong(&e))?;
    open.take(LONGEST + 1).read_to_end(&mut text).map_err(|e| wrong(&e))?;
    if text.len() as u64 > LONGEST {
        return Err(wrong(&"is longer than 512 KiB"));
    }
    let set: Value = serde_json::from_slice(&text).map_err(|_| wrong(&"is no JSON"))?;
    let keys = Key::all(&set, own_use(options)).map_err(|why| wrong(&why))?;
    if keys.is_empty() { Err(wrong(&"holds no key that tokens are signed with")) } else { Ok(keys) }
}

/// Claims with who has signed them. A token of SPIFFE need not say it, and what it says means nothing there: its keys and its
/// subject tell the trust domain.
pub(super) fn named<'c>(claims: &'c Map<String, Value>, options: &Oidc) -> Cow<'c, Map<String, Value>> {
    let Some(domain) = options.trust_domain() else { return Cow::Borrowed(claims) };
    let mut own = claims.clone();
    own.insert("iss".to_owned(), domain.into());
    Cow::Owned(own)
}

/// Whether a name of SPIFFE is one within a trust domain, which is given with the scheme.
pub(super) fn is_within(domain: &str, name: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let is_part = |part: &str| !matches!(part, "" | "." | "..") && part.chars().all(is_letter);
    let path = name.strip_prefix(domain).and_then(|rest| rest.strip_prefix('/'));
    path.is_some_and(|path| path.split('/').all(is_part))
}

impl Providers {
    /// The files that keys are read from.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().filter_map(|provider| provider.options.keys_file())
    }

    /// Reads the keys in files again. What comes from now on is judged by these; those of a file that cannot be used stay as they are.
    ///
    /// # Errors
    /// Sentences for the operator, one for each file that cannot be used.
    pub fn reload(&self) -> Result<(), Vec<String>> {
        let mut wrong = Vec::new();
        for provider in &self.0 {
            let Some(file) = provider.options.keys_file() else { continue };
            match read(file, &provider.options) {
                Ok(keys) => {
                    let known = Known { keys: Arc::new(keys), ..Known::default() };
                    *provider.known.lock().unwrap_or_else(PoisonError::into_inner) = known;
                }
                Err(why) => wrong.push(why),
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }
}
