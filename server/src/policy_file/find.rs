//! Where an operator's policy is looked for: where oslo.config's `find_file` does.

use std::path::{Path, PathBuf};

/// The name of the service, as part of paths.
const PROJECT: &str = "keystone";

/// The directories in which relative names are searched, in their order: beside the configuration files, the last
/// of which comes first, and the usual places. Without a configuration file there are none.
pub(super) fn directories(config_files: &[PathBuf]) -> Vec<PathBuf> {
    usual(config_files, std::env::home_dir().as_deref(), |name| std::env::var_os(name).map(PathBuf::from))
}

fn usual(
    config_files: &[PathBuf],
    home: Option<&Path>,
    variable: impl Fn(&str) -> Option<PathBuf>,
) -> Vec<PathBuf> {
    if config_files.is_empty() {
        return Vec::new();
    }
    let beside = config_files.iter().rev().filter_map(|file| {
        let file = std::path::absolute(file).ok()?;
        file.parent().map(Path::to_owned)
    });
    let home = home.into_iter().flat_map(|home| [home.join(format!(".{PROJECT}")), home.to_owned()]);
    let snaps = ["SNAP_COMMON", "SNAP"].into_iter().filter_map(variable);
    let mut found: Vec<PathBuf> = Vec::new();
    for dir in beside
        .chain(home)
        .chain([Path::new("/etc").join(PROJECT), PathBuf::from("/etc")])
        .chain(snaps.map(|dir| dir.join("etc").join(PROJECT)))
    {
        if !found.contains(&dir) {
            found.push(dir);
        }
    }
    found
}

/// The first that is there. An absolute name is looked for as it is.
pub(super) fn find(name: &str, directories: &[PathBuf]) -> Option<PathBuf> {
    // A link that leads nowhere is found, so that it is told.
    let is_there = |path: &PathBuf| path.symlink_metadata().is_ok();
    if Path::new(name).is_absolute() {
        return Some(PathBuf::from(name)).filter(is_there);
    }
    directories.iter().map(|dir| dir.join(name)).find(is_there)
}

/// The files of a directory of policies, sorted by name. Hidden ones and directories are none.
///
/// # Errors
/// It cannot be read, or is no directory.
pub(super) fn files_of(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && !path.is_dir() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_find_file_of_oslo_config() {
        let files = [PathBuf::from("/a/k.conf"), PathBuf::from("/b/x.conf"), PathBuf::from("/a/y.conf")];
        let dirs = usual(&files, Some(Path::new("/root")), |name| match name {
            "SNAP" => Some(PathBuf::from("/snap/k")),
            _ => None,
        });
        let dirs: Vec<&str> = dirs.iter().filter_map(|d| d.to_str()).collect();
        assert_eq!(
            dirs,
            ["/a", "/b", "/root/.keystone", "/root", "/etc/keystone", "/etc", "/snap/k/etc/keystone"]
        );
        assert_eq!(usual(&[], Some(Path::new("/root")), |_| None), [] as [PathBuf; 0]);
        let relative = usual(&[PathBuf::from("k.conf")], None, |_| None);
        assert_eq!(relative.first(), std::env::current_dir().ok().as_ref());
    }
}
