//! Key repositories as Keystone lays them out: files named by numbers; the highest is primary, 0 is
//! staged, all decrypt. They are read again when the directory changes, without a restart.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use fernet::Fernet;
use sha1::Digest;

use crate::ids;

/// The keys of one reading, newest first.
#[derive(Clone)]
pub struct Keys {
    fernets: Vec<Fernet>,
    hashes: Vec<String>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} keys", self.fernets.len())
    }
}

impl Keys {
    /// Encrypts with the primary key, at a time in whole seconds since the epoch.
    pub fn encrypt(&self, plain: &[u8], at_seconds: u64) -> Option<String> {
        self.fernets.first().map(|f| f.encrypt_at_time(plain, at_seconds))
    }

    /// Decrypts with whichever key fits.
    pub fn decrypt(&self, token: &str) -> Option<Vec<u8>> {
        // The age is judged by our own clock, after decoding: here no token is too new.
        const LATE: u64 = u64::MAX / 2;
        self.fernets.iter().find_map(|f| f.decrypt_at_time(token, None, LATE).ok())
    }

    /// SHA-1 of the primary key's text, as Keystone placeholders credentials with (`key_hash`).
    pub fn primary_hash(&self) -> Option<&str> {
        self.hashes.first().map(String::as_str)
    }
}

/// How long a directory is trusted before it is looked at again.
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[derive(Debug)]
struct Cached {
    keys: Arc<Keys>,
    stamp: Option<SystemTime>,
    looked: Instant,
}

/// A key repository that is followed.
#[derive(Debug)]
pub struct KeyRing {
    dir: PathBuf,
    null_key: bool,
    cached: Mutex<Option<Cached>>,
}

impl KeyRing {
    /// Over a directory. `null_key` adds the key of zeros for reading, as Keystone does for credentials.
    pub fn new(dir: PathBuf, null_key: bool) -> Self {
        Self { dir, null_key, cached: Mutex::new(None) }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The keys as they are now; at most half a second old.
    pub fn current(&self) -> Result<Arc<Keys>, String> {
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(c) = cached.as_mut() {
            if c.looked.elapsed() < LOOK_EVERY {
                return Ok(Arc::clone(&c.keys));
            }
            c.looked = Instant::now();
            if stamp(&self.dir) == c.stamp {
                return Ok(Arc::clone(&c.keys));
            }
        }
        let stamp = stamp(&self.dir);
        match load(&self.dir, self.null_key) {
            Ok(keys) => {
                let keys = Arc::new(keys);
                *cached = Some(Cached { keys: Arc::clone(&keys), stamp, looked: Instant::now() });
                Ok(keys)
            }
            // In the middle of a rotation a file may be away for a moment: go on with what was read.
            Err(e) => cached.as_ref().map(|c| Arc::clone(&c.keys)).ok_or(e),
        }
    }
}

fn stamp(dir: &Path) -> Option<SystemTime> {
    std::fs::metadata(dir).and_then(|m| m.modified()).ok()
}

/// The key files by number, newest first.
pub fn files(dir: &Path) -> Result<Vec<(u64, PathBuf)>, String> {
    let entries = std::fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let mut out: Vec<(u64, PathBuf)> = entries
        .filter_map(|e| {
            let e = e.ok()?;
            Some((e.file_name().to_str()?.parse().ok()?, e.path()))
        })
        .collect();
    out.sort_unstable_by_key(|e| std::cmp::Reverse(e.0));
    Ok(out)
}

fn load(dir: &Path, null_key: bool) -> Result<Keys, String> {
    let mut texts = Vec::new();
    for (_, path) in files(dir)? {
        let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        // Keystone skips empty files too: a copy may be under way.
        if !text.trim().is_empty() {
            texts.push((text.trim().to_owned(), path));
        }
    }
    if texts.is_empty() {
        return Err(format!("{}: no keys; `vicar keys setup` makes them", dir.display()));
    }
    let mut keys = Keys { fernets: Vec::new(), hashes: Vec::new() };
    for (text, path) in texts {
        let fernet = Fernet::new(&text).ok_or_else(|| format!("{}: not a Fernet key", path.display()))?;
        keys.fernets.push(fernet);
        keys.hashes.push(hex::encode(sha1::Sha1::digest(text.as_bytes())));
    }
    if null_key {
        use base64::Engine;
        let text = base64::engine::general_purpose::URL_SAFE.encode([0; 32]);
        keys.fernets.extend(Fernet::new(&text));
    }
    Ok(keys)
}

fn write_key(dir: &Path) -> Result<(), String> {
    use std::io::Write;
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let tmp = dir.join("0.tmp");
    let io = |e: std::io::Error| format!("{}: {e}", tmp.display());
    match std::fs::remove_file(&tmp) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(io(e)),
        _ => {}
    }
    // A new file, never one that somebody has put there, nor what a link leads to.
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&tmp).map_err(io)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600)).map_err(io)?;
    file.write_all(ids::fernet_key().as_bytes()).map_err(io)?;
    chown_like_parent(&file, dir);
    file.sync_all().map_err(io)?;
    std::fs::rename(&tmp, dir.join("0")).map_err(io)
}

/// Gives a new key to the owner of its directory: a rotation by root must not lock the server out. It fails for
/// everybody else, who is the owner already.
fn chown_like_parent(file: &std::fs::File, dir: &Path) {
    use std::os::unix::fs::MetadataExt;
    if let Ok(owner) = std::fs::metadata(dir) {
        let _ = std::os::unix::fs::fchown(file, Some(owner.uid()), Some(owner.gid()));
    }
}

/// Makes a repository with a primary and a staged key. One that exists is left alone; says whether
/// anything was done.
pub fn setup(dir: &Path) -> Result<bool, String> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|e| format!("{}: {e}", dir.display()))?;
    if dir.join("0").exists() {
        return Ok(false);
    }
    write_key(dir)?;
    rotate(dir, usize::MAX)?;
    Ok(true)
}

/// Promotes the staged key, stages a new one, removes the oldest beyond `max_active`. Gives the
/// number of the new primary key.
pub fn rotate(dir: &Path, max_active: usize) -> Result<u64, String> {
    let present = files(dir)?;
    let primary = present.first().map(|f| f.0).ok_or_else(|| format!("{}: no keys", dir.display()))?;
    let next = primary + 1;
    let staged = dir.join("0");
    std::fs::rename(&staged, dir.join(next.to_string())).map_err(|e| format!("{}: {e}", staged.display()))?;
    write_key(dir)?;
    let mut secondary: Vec<_> = files(dir)?.into_iter().filter(|f| f.0 != 0).collect();
    while secondary.len() + 1 > max_active.max(2) {
        let Some((_, oldest)) = secondary.pop() else {
            break;
        };
        std::fs::remove_file(&oldest).map_err(|e| format!("{}: {e}", oldest.display()))?;
    }
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_lives_like_keystones() {
        let dir = std::env::temp_dir().join(format!("vicar-keys-{}", ids::uuid()));
        assert_eq!(setup(&dir), Ok(true));
        assert_eq!(setup(&dir), Ok(false));
        let names = || {
            let mut n: Vec<u64> = files(&dir).expect("listed").into_iter().map(|f| f.0).collect();
            n.sort_unstable();
            n
        };
        assert_eq!(names(), [0, 1]);
        let ring = KeyRing::new(dir.clone(), false);
        let token = ring.current().expect("keys").encrypt(b"x", 5).expect("encrypts");
        assert_eq!(rotate(&dir, 3), Ok(2));
        assert_eq!(names(), [0, 1, 2]);
        assert_eq!(rotate(&dir, 3), Ok(3));
        assert_eq!(names(), [0, 2, 3]);
        let old = KeyRing::new(dir.clone(), false);
        assert!(old.current().expect("keys").decrypt(&token).is_none(), "the key was rotated out");
        let _ = std::fs::remove_dir_all(&dir);
    }
}
