//! Directories and files that hold secrets: whether other users can change them, or could have put something
//! there before, and how new ones are made.

use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::failure::Failure;
use crate::ids;

/// Group and others may write.
const GROUP_WRITE: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
/// In such a directory users remove and rename only what is their own.
const STICKY: u32 = 0o1000;

/// What is wrong with a path, for an operator. Without permission it says who has none, and where the way ends.
pub(super) fn trouble(path: &Path, e: &std::io::Error) -> String {
    trouble_to(path, "read", e)
}

fn trouble_to(path: &Path, verb: &str, e: &std::io::Error) -> String {
    let shown = path.display();
    if e.kind() != ErrorKind::PermissionDenied {
        return format!("{shown}: {e}");
    }
    let uid = rustix::process::geteuid().as_raw();
    let path = absolute(path);
    // The innermost thing that can be looked at is what keeps us out, or what keeps itself to itself.
    let found = path.ancestors().find_map(|p| std::fs::metadata(p).ok().map(|m| (p, m)));
    let why = found.map_or_else(String::new, |(p, m)| {
        let verb = if p != path { "entered" } else { verb };
        let what = if p == path { "it".to_owned() } else { p.display().to_string() };
        format!(
            ": {what} belongs to user {} and cannot be {verb} by others (mode {:04o})",
            user(m.uid()),
            m.mode() & 0o7777
        )
    });
    format!(
        "{shown}: permission denied for user {}{why}; run this as the user who runs the server",
        user(uid)
    )
}

/// A user by name, where the system's file has one, and number.
fn user(uid: u32) -> String {
    let number = uid.to_string();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == number).then_some(name)
    });
    name.map_or_else(|| number.clone(), |name| format!("{name} ({number})"))
}

/// Whether there is something at a path. Not being allowed to look is no "no".
///
/// # Errors
/// It cannot be told.
pub(super) fn is_there(path: &Path) -> Result<bool, Failure> {
    match std::fs::metadata(path) {
        Ok(_) => Ok(true),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(false),
        Err(e) => Err(Failure::Io(trouble(path, &e))),
    }
}

/// Checks that what is at a path may be read: a file, or the names in a directory. Something that is not there is no
/// matter of permission.
///
/// # Errors
/// A sentence that says who may not.
pub(super) fn check_readable(path: &Path) -> Result<(), String> {
    let tried = match std::fs::metadata(path) {
        Ok(m) if m.is_dir() => std::fs::read_dir(path).map(drop),
        // To open something else than a file may wait for somebody.
        Ok(m) if m.is_file() => File::open(path).map(drop),
        other => other.map(drop),
    };
    match tried {
        Err(e) if e.kind() == ErrorKind::PermissionDenied => Err(trouble(path, &e)),
        _ => Ok(()),
    }
}

/// Checks that a database's file may be written, and that others can be made beside it.
///
/// # Errors
/// A sentence that says who may not.
pub(super) fn check_writable(path: &Path) -> Result<(), String> {
    use rustix::fs::{Access as May, AtFlags, CWD, accessat};
    let path = absolute(path);
    for part in [Some(path.as_path()), path.parent()].into_iter().flatten() {
        if let Err(e) = accessat(CWD, part, May::WRITE_OK, AtFlags::EACCESS) {
            let e = std::io::Error::from(e);
            if matches!(e.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) {
                return Err(trouble_to(part, "written", &e));
            }
        }
    }
    Ok(())
}

/// A path as it is seen from every directory.
pub(super) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// The user of this process, and whoever owns the root of the file system, who can do everything anyway.
#[derive(Debug, Clone, Copy)]
struct Trusted {
    uid: u32,
    gid: u32,
    root: u32,
}

/// What decides about a directory or file.
#[derive(Debug, Clone, Copy)]
struct Access {
    uid: u32,
    gid: u32,
    mode: u32,
}

impl From<&Metadata> for Access {
    fn from(m: &Metadata) -> Self {
        Self { uid: m.uid(), gid: m.gid(), mode: m.mode() }
    }
}

impl Trusted {
    fn here() -> Self {
        Self {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            root: std::fs::metadata("/").map_or(0, |m| m.uid()),
        }
    }

    /// Why somebody else could exchange it or what is in it, if that is so.
    fn complaint(self, of: Access) -> Option<String> {
        if ![self.uid, 0, self.root].contains(&of.uid) {
            return Some(format!("it belongs to user {}, and user {} runs this program", of.uid, self.uid));
        }
        // Many systems give each user a group of the same number, in which nobody else is.
        let is_private_group = of.gid == self.gid && self.gid == self.uid;
        let writable = of.mode & OTHERS_WRITE != 0 || (of.mode & GROUP_WRITE != 0 && !is_private_group);
        writable.then(|| format!("other users can write to it (mode {:04o})", of.mode & 0o7777))
    }

    /// The same for a directory on the way to another one.
    fn complaint_of_parent(self, of: Access) -> Option<String> {
        let mode = if of.mode & STICKY == 0 { of.mode } else { of.mode & !(GROUP_WRITE | OTHERS_WRITE) };
        self.complaint(Access { mode, ..of })
    }
}

fn refuse(path: &Path, why: &str) -> Failure {
    let path = path.display();
    Failure::Io(format!(
        "{path}: {why}, so nothing secret is put there; choose a directory of your own with --data-dir, or mend this one (chown, `chmod go-w {path}`) once you have looked at what is in it"
    ))
}

/// Checks that nobody else can write to an existing directory, or exchange it, or one on the way to it.
pub(super) fn check_directory(path: &Path) -> Result<(), Failure> {
    check_way(path, true)?;
    // Links lead elsewhere: there it must be the same.
    match std::fs::canonicalize(path) {
        Ok(real) => check_way(&real, true),
        Err(e) => Err(Failure::Io(trouble(path, &e))),
    }
}

/// Checks each component of a path; the last one is the directory itself, or one more parent.
fn check_way(path: &Path, is_itself: bool) -> Result<(), Failure> {
    let trusted = Trusted::here();
    let path = absolute(path);
    for (i, part) in path.ancestors().enumerate() {
        let found = std::fs::symlink_metadata(part);
        let found = found.map_err(|e| Failure::Io(trouble(part, &e)))?;
        let mut access = Access::from(&found);
        if found.file_type().is_symlink() {
            // Anyone may "write" to a link; its directory decides who may replace it.
            access.mode = 0;
        }
        let why =
            if i == 0 && is_itself { trusted.complaint(access) } else { trusted.complaint_of_parent(access) };
        if let Some(why) = why {
            return Err(refuse(part, &why));
        }
    }
    Ok(())
}

/// Makes a directory that only its owner may enter, with those above it. One that exists stays as it is.
pub(super) fn make_directory(path: &Path) -> Result<(), Failure> {
    let path = absolute(path);
    if path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.ancestors().skip(1).find(|p| p.is_dir()) {
        check_way(above, false)?;
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&path)
        .map_err(|e| Failure::Io(format!("{}: the directory cannot be made: {e}", path.display())))?;
    // Somebody may have been quicker.
    check_directory(&path)
}

/// Makes a new file that only its owner may read. It is an error if anything is there, even a link that leads
/// nowhere.
pub(super) fn create_private(path: &Path) -> std::io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

/// Writes a file that only its owner may read. It replaces an older one at once or not at all.
pub(super) fn write_private(path: &Path, text: &str) -> Result<(), Failure> {
    write_as(path, text, None)
}

/// Replaces a file that is there by one of the same owner. Nobody else may have put it there, or could exchange it: it is
/// to hold secrets.
pub(super) fn rewrite_private(path: &Path, text: &str) -> Result<(), Failure> {
    let wrong = |e: std::io::Error| Failure::Io(trouble(path, &e));
    let dir = std::fs::metadata(path.parent().unwrap_or(Path::new("/"))).map_err(wrong)?;
    let file = std::fs::symlink_metadata(path).map_err(wrong)?;
    let me = Trusted::here();
    // Root does this for the directory's owner.
    let owner = if me.uid == 0 { Trusted { uid: dir.uid(), gid: dir.gid(), ..me } } else { me };
    let why = if !file.file_type().is_file() {
        Some("it is not a regular file".to_owned())
    } else {
        owner
            .complaint(Access::from(&dir))
            .or_else(|| owner.complaint(Access { mode: 0, ..Access::from(&file) }))
    };
    match why {
        Some(why) => Err(Failure::Io(format!("{}: {why}, so no secret is put there", path.display()))),
        None => write_as(path, text, Some((file.uid(), file.gid()))),
    }
}

fn write_as(path: &Path, text: &str, owner: Option<(u32, u32)>) -> Result<(), Failure> {
    let wrong = |e: std::io::Error| Failure::Io(format!("{}: cannot be written: {e}", path.display()));
    let tmp = path.with_extension("tmp");
    match std::fs::remove_file(&tmp) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(wrong(e)),
        _ => {}
    }
    let mut file = create_private(&tmp).map_err(wrong)?;
    if let Some((uid, gid)) = owner {
        // Only root can, and only for root is it another.
        let _ = std::os::unix::fs::fchown(&file, Some(uid), Some(gid));
    }
    file.write_all(text.as_bytes()).map_err(wrong)?;
    file.sync_all().map_err(wrong)?;
    std::fs::rename(&tmp, path).map_err(wrong)
}

/// Checks that [`write_private`] can write there, and leaves no file behind. Its directory is made.
pub(super) fn check_can_write(path: &Path) -> Result<(), Failure> {
    let wrong = |e: std::io::Error| Failure::Io(format!("{}: cannot be written: {e}", path.display()));
    let dir = path.parent().unwrap_or(Path::new("/"));
    make_directory(dir)?;
    check_directory(dir)?;
    if path.is_dir() {
        return Err(wrong(ErrorKind::IsADirectory.into()));
    }
    let probe = dir.join(format!(".{}.probe", ids::uuid()));
    create_private(&probe).map(drop).and_then(|()| std::fs::remove_file(&probe)).map_err(wrong)
}

/// Checks that a file which is about to hold secrets is one that only this user can open.
pub(super) fn check_private_file(path: &Path) -> Result<(), Failure> {
    let found = std::fs::symlink_metadata(path);
    let found = found.map_err(|e| Failure::Io(trouble(path, &e)))?;
    let why = if !found.file_type().is_file() {
        Some("it is not a regular file".to_owned())
    } else if found.mode() & 0o077 != 0 {
        Some(format!("other users can open it (mode {:04o})", found.mode() & 0o7777))
    } else {
        Trusted::here().complaint(Access::from(&found))
    };
    match why {
        None => Ok(()),
        Some(why) => Err(Failure::Io(format!(
            "{}: {why}, so nothing secret is put there; remove it if you do not know where it comes from",
            path.display()
        ))),
    }
}

/// Whether anything is at a path, even a link that leads nowhere.
pub(super) fn is_taken(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_can_change_is_not_trusted() {
        let me = Trusted { uid: 1000, gid: 1000, root: 0 };
        let at = |uid, gid, mode| Access { uid, gid, mode };
        for good in [at(1000, 1000, 0o700), at(1000, 1000, 0o755), at(0, 0, 0o755), at(1000, 1000, 0o775)] {
            assert_eq!(me.complaint(good), None, "{good:?}");
        }
        for (bad, says) in [
            (at(1001, 1000, 0o700), "belongs to user 1001"),
            (at(1000, 1000, 0o777), "mode 0777"),
            (at(1000, 1000, 0o1777), "mode 1777"),
            (at(1000, 100, 0o770), "mode 0770"),
        ] {
            assert!(me.complaint(bad).expect("refused").contains(says), "{bad:?}");
        }
        // A group that several users share is not private, though it is this user's own.
        let shared = Trusted { uid: 1000, gid: 100, root: 0 };
        assert!(shared.complaint(at(1000, 100, 0o775)).is_some());
    }

    #[test]
    fn above_it_a_sticky_directory_is_good_enough() {
        let me = Trusted { uid: 1000, gid: 1000, root: 65534 };
        let at = |uid, mode| Access { uid, gid: 0, mode };
        assert_eq!(me.complaint_of_parent(at(0, 0o1777)), None);
        assert_eq!(
            me.complaint_of_parent(at(65534, 0o755)),
            None,
            "as in a container, where / belongs to `nobody`"
        );
        assert!(me.complaint_of_parent(at(0, 0o777)).is_some());
        assert!(me.complaint_of_parent(at(1001, 0o1777)).is_some(), "its owner can rename everything");
    }
}
