//! Key repositories as Keystone lays them out: files named by numbers; the highest is primary, 0 is
//! staged, all decrypt. They are read again when the directory changes, without a restart.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use fernet::Fernet;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Digest;
use sha2::Sha256;
use tokio::runtime::Handle;

use crate::ids;
use crate::security::{self, Event, Outcome};

/// The keys of one reading, newest first.
#[derive(Clone)]
pub struct Keys {
    fernets: Vec<Fernet>,
    hashes: Vec<String>,
    /// Keyed by chance, so of this reading alone.
    seal: Hmac<Sha256>,
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

    /// A keyed hash of a text, under which something may be kept that was found with these keys. Once they are read
    /// again, the same text has another.
    pub fn seal(&self, text: &str, variant: u8) -> [u8; 32] {
        let mut mac = self.seal.clone();
        mac.update(&[variant]);
        mac.update(text.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// SHA-1 of the primary key's text, as Keystone placeholders credentials with (`key_hash`).
    pub fn primary_hash(&self) -> Option<&str> {
        self.hashes.first().map(String::as_str)
    }
}

/// How often a directory is looked at. A rotation must be noticed within half a second.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A key repository that is followed. Copies follow it together.
#[derive(Debug, Clone)]
pub struct KeyRing {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    null_key: bool,
    /// The last reading. The lock is held to copy a pointer, never over I/O.
    published: RwLock<Option<Result<Arc<Keys>, String>>>,
    is_followed: AtomicBool,
}

impl KeyRing {
    /// Over a directory. `null_key` adds the key of zeros for reading, as Keystone does for credentials.
    pub fn new(dir: PathBuf, null_key: bool) -> Self {
        let (published, is_followed) = (RwLock::new(None), AtomicBool::new(false));
        Self { shared: Arc::new(Shared { dir, null_key, published, is_followed }) }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.shared.dir
    }

    /// The keys as they are now; at most half a second old. The first call reads them; from then on the
    /// directory is followed in the background, if there is a runtime to do that.
    ///
    /// # Errors
    /// In words for the operator, when the keys cannot be read and never could.
    pub fn current(&self) -> Result<Arc<Keys>, String> {
        let shared = &self.shared;
        let runtime = Handle::try_current().ok();
        if let Some(runtime) = &runtime
            && !shared.is_followed.swap(true, Ordering::AcqRel)
        {
            let (stamp, keys) = read(&shared.dir, shared.null_key);
            let stamp = if keys.is_ok() { stamp } else { Err(ErrorKind::Other) };
            shared.publish(keys);
            runtime.spawn(follow(Arc::downgrade(shared), Following::new(shared), stamp));
        }
        let published = shared.published.read().unwrap_or_else(PoisonError::into_inner).clone();
        // A thread without a runtime reads for itself: it serves nobody. So does the first to ask, if another
        // one is about to publish what it has read.
        match published {
            Some(keys) if runtime.is_some() => keys,
            _ => load(&shared.dir, shared.null_key).map(Arc::new),
        }
    }
}

impl Shared {
    fn publish(&self, keys: Result<Keys, String>) {
        let mut published = self.published.write().unwrap_or_else(PoisonError::into_inner);
        match keys {
            Ok(keys) => *published = Some(Ok(Arc::new(keys))),
            // In the middle of a rotation a file may be away for a moment: go on with what was read.
            Err(_) if matches!(*published, Some(Ok(_))) => {}
            Err(e) => *published = Some(Err(e)),
        }
    }
}

/// Notes when nobody follows a ring any more, as its runtime has ended.
struct Following(Weak<Shared>);

impl Following {
    fn new(shared: &Arc<Shared>) -> Self {
        Self(Arc::downgrade(shared))
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        if let Some(shared) = self.0.upgrade() {
            shared.is_followed.store(false, Ordering::Release);
        }
    }
}

/// Looks at a directory until its ring is gone, and publishes what changes.
async fn follow(ring: Weak<Shared>, _following: Following, mut last: Stamp) {
    let mut failed = None;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(shared) = ring.upgrade() else { return };
        let (dir, null_key, known) = (shared.dir.clone(), shared.null_key, last.clone());
        drop(shared);
        let looked = tokio::task::spawn_blocking(move || {
            let now = stamp(&dir);
            // What could not be read is tried again.
            (now.is_err() || now != known).then(|| read(&dir, null_key))
        });
        let Ok(Some((now, keys))) = looked.await else { continue };
        let Some(shared) = ring.upgrade() else { return };
        let error = keys.as_ref().err().cloned();
        match &error {
            None => {
                let dir = shared.dir.display().to_string();
                tracing::info!(dir, "the keys have been read again");
                security::server(Event::KeysReload, Outcome::Success, &dir);
            }
            Some(e) if error != failed => {
                tracing::error!(error = e, "the keys cannot be read; the old ones stay");
                security::server(Event::KeysReload, Outcome::Failed, e);
            }
            Some(_) => {}
        }
        // A reading that failed is no reading: the next look must not find it done.
        last = if error.is_none() { now } else { Err(ErrorKind::Other) };
        failed = error;
        shared.publish(keys);
    }
}

/// What tells one state of a directory from another: number, inode, length and change of each key file.
type Stamp = Result<Vec<(u64, u64, u64, i64, i64)>, ErrorKind>;

fn stamp(dir: &Path) -> Stamp {
    use std::os::unix::fs::MetadataExt;
    let files = files(dir).map_err(|_| ErrorKind::NotFound)?;
    let of = |(number, path): (u64, PathBuf)| {
        let m = std::fs::metadata(path).map_err(|e| e.kind())?;
        Ok((number, m.ino(), m.len(), m.ctime(), m.ctime_nsec()))
    };
    files.into_iter().map(of).collect()
}

/// Reads a directory. The stamp is from before: a change in between is seen at the next look.
fn read(dir: &Path, null_key: bool) -> (Stamp, Result<Keys, String>) {
    (stamp(dir), load(dir, null_key))
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
    let seal = Hmac::new_from_slice(ids::secret().as_bytes()).map_err(|e| e.to_string())?;
    let mut keys = Keys { fernets: Vec::new(), hashes: Vec::new(), seal };
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

/// Makes the owner of the directory the owner of a new key: a rotation by root must not lock the server out. It fails for
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

    #[tokio::test]
    async fn a_rotation_is_noticed_and_a_failed_read_keeps_the_keys() {
        let dir = std::env::temp_dir().join(format!("vicar-keys-{}", ids::uuid()));
        let ring = KeyRing::new(dir.clone(), false);
        assert!(ring.current().is_err(), "there is nothing yet");
        setup(&dir).expect("made");
        let until = async |condition: &dyn Fn() -> bool| {
            for _ in 0..3000 {
                if condition() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            panic!("never noticed");
        };
        until(&|| ring.current().is_ok()).await;
        let old = ring.current().expect("keys");
        let token = old.encrypt(b"x", 5).expect("encrypts");
        // In the same tick of the file system's clock, and as often as it likes.
        rotate(&dir, 3).expect("rotated");
        rotate(&dir, 3).expect("rotated");
        until(&|| ring.current().is_ok_and(|keys| keys.primary_hash() != old.primary_hash())).await;
        until(&|| ring.current().is_ok_and(|keys| keys.decrypt(&token).is_none())).await;
        let kept = ring.current().expect("keys");
        std::fs::remove_dir_all(&dir).expect("removed");
        // Two looks later nothing has changed.
        tokio::time::sleep(LOOK_EVERY * 2).await;
        assert_eq!(ring.current().expect("keys").primary_hash(), kept.primary_hash());
        setup(&dir).expect("made");
        until(&|| ring.current().is_ok_and(|keys| keys.primary_hash() != kept.primary_hash())).await;
        let _ = std::fs::remove_dir_all(&dir);
    }
}
