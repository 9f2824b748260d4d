//! What a running server reads again: at SIGHUP, and when one of the files changes. What cannot be used is logged, and
//! what was read before stays in force.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;

use super::installation::Installation;
use super::log::Log;
use crate::app::{App, Rules};
use crate::config::options::{self, Change};
use crate::config::{Config, Ini};
use crate::http::tls::Certificate;
use crate::security::{self, Event, Outcome};
use crate::{notify, policy_file};

/// How often the files are looked at. A change counts once it has been the same for two looks: by then it is whole.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What can be read again, and from where.
pub(super) struct Reloader {
    at: Installation,
    app: Arc<App>,
    log: Log,
    certificate: Option<Arc<Certificate>>,
    /// The configuration that the server started with.
    started_with: Ini,
    /// What of the configuration is in force.
    config: Config,
    watched: Watched,
}

impl Reloader {
    pub(super) fn new(
        at: Installation,
        app: Arc<App>,
        log: Log,
        certificate: Option<Arc<Certificate>>,
        (started_with, watched): (Ini, Watched),
    ) -> Self {
        let config = app.config.clone();
        Self { at, app, log, certificate, started_with, config, watched }
    }

    fn files(&self) -> Vec<(Kind, PathBuf)> {
        // A file that is named and gone is followed still: it may come back.
        let in_force = || self.app.rules().loaded.files.clone();
        files(
            &self.config,
            in_force,
            self.certificate.iter().flat_map(|c| c.files()),
            self.app.providers.files(),
        )
    }

    /// Reads everything again that can be.
    pub(super) fn reload(&mut self) {
        notify::reloading();
        tracing::info!("SIGHUP: configuration, policy, certificate, keys and logs are read or opened again");
        self.log.reopen();
        match self.at.read() {
            Ok((ini, config)) => {
                let changed = self.started_with.changed(&ini);
                let kept: Vec<String> = changed
                    .into_iter()
                    .filter(|(section, name)| !is_reloaded(section, name))
                    .map(|(section, name)| format!("[{section}] {name}"))
                    .collect();
                if !kept.is_empty() {
                    tracing::warn!(
                        options = kept.join(", "),
                        "configuration: these options have changed and count from the next start on"
                    );
                }
                self.log.configure(&config);
                let may_be_absent = self.config.policy.may_be_absent;
                self.config = config;
                self.config.policy.may_be_absent = may_be_absent;
            }
            Err(error) => tracing::error!(%error, "the configuration cannot be read; nothing of it changes"),
        }
        // Before they are read: what changes meanwhile is seen later.
        self.watched = Watched::settled(self.files());
        // Whoever sends the signal means what is there, as at a start.
        if let Some(lost) = self.lost() {
            tracing::warn!(file = %lost.display(), "the policy file is gone or empty, and so are its rules");
        }
        self.reload_policy();
        self.reload_certificate();
        self.reload_keys();
        notify::ready();
    }

    /// A file in force that is gone, or empty though it held rules: a slip, or a full disk. As long as nobody says
    /// otherwise, rules are not taken back for that.
    fn lost(&self) -> Option<PathBuf> {
        let loaded = &self.app.rules().loaded;
        let is_lost = |file: &&PathBuf| match std::fs::metadata(file) {
            Ok(m) => m.len() == 0 && loaded.sources.values().any(|source| source == *file),
            Err(_) => true,
        };
        loaded.files.iter().find(is_lost).cloned()
    }

    fn reload_policy(&self) {
        match Rules::read(&self.config) {
            Ok(rules) => {
                let files = match rules.loaded.files.as_slice() {
                    [] => "the shipped rules".to_owned(),
                    files => policy_file::list(files),
                };
                rules.loaded.log();
                self.app.set_rules(rules);
                tracing::info!(policy = files, "the policy was read again");
                security::server(Event::PolicyReload, Outcome::Success, &files);
            }
            Err(error) => {
                tracing::error!(error, "the policy cannot be read; the old rules stay in force");
                security::server(Event::PolicyReload, Outcome::Failed, &error);
            }
        }
    }

    fn reload_certificate(&self) {
        let Some(certificate) = &self.certificate else { return };
        let file = certificate.file();
        match certificate.reload() {
            Ok(()) => {
                let file = file.display().to_string();
                tracing::info!(certificate = file, "the TLS certificate was read again");
                security::server(Event::CertificateReload, Outcome::Success, &file);
            }
            Err(error) => {
                tracing::error!(error, "the TLS certificate cannot be read; the old one is served on");
                security::server(Event::CertificateReload, Outcome::Failed, &error);
            }
        }
    }

    /// The pinned keys of identity providers.
    fn reload_keys(&self) {
        let files: Vec<String> = self.app.providers.files().map(|file| file.display().to_string()).collect();
        if files.is_empty() {
            return;
        }
        match self.app.providers.reload() {
            Ok(()) => {
                let files = files.join(", ");
                tracing::info!(files, "the pinned keys of identity providers were read again");
                security::server(Event::PinnedKeysReload, Outcome::Success, &files);
            }
            Err(errors) => {
                let error = errors.join("; ");
                tracing::error!(
                    error,
                    "pinned keys cannot be read; the old ones of that provider stay in force"
                );
                security::server(Event::PinnedKeysReload, Outcome::Failed, &error);
            }
        }
    }

    /// Reads what has changed.
    fn look(&mut self) {
        self.log.report_lost();
        let changes = self.watched.look(self.files());
        if changes.iter().any(|(kind, _)| *kind == Kind::Policy) {
            match self.lost() {
                Some(lost) => tracing::error!(
                    file = %lost.display(),
                    "the policy file is gone or empty; all rules stay in force as they are until SIGHUP or the next start"
                ),
                None => self.reload_policy(),
            }
        }
        if changes.iter().any(|(kind, _)| *kind == Kind::Certificate) {
            self.reload_certificate();
        }
        if changes.iter().any(|(kind, _)| *kind == Kind::Keys) {
            self.reload_keys();
        }
    }

    /// Reloads at each SIGHUP and after each change of a file, until it is dropped.
    pub(super) async fn follow(mut self, mut hangup: Signal) {
        loop {
            let is_hangup = tokio::select! {
                signal = hangup.recv() => signal.is_some(),
                () = tokio::time::sleep(LOOK_EVERY) => false,
            };
            // Reading takes a thread that no request waits for.
            let work = tokio::task::spawn_blocking(move || {
                if is_hangup {
                    self.reload()
                } else {
                    self.look()
                }
                self
            });
            match work.await {
                Ok(reloader) => self = reloader,
                Err(e) => {
                    tracing::error!(error = %e, "nothing is read again any more");
                    return;
                }
            }
        }
    }
}

/// The files that are followed.
fn files<'a>(
    config: &Config,
    in_force: impl FnOnce() -> Vec<PathBuf>,
    certificate: impl Iterator<Item = &'a Path>,
    keys: impl Iterator<Item = &'a Path>,
) -> Vec<(Kind, PathBuf)> {
    let policy = policy_file::find(&config.policy).map_or_else(|_| in_force(), |found| found.files);
    let policy = policy.into_iter().map(|path| (Kind::Policy, path));
    let keys = keys.map(|path| (Kind::Keys, path.to_owned()));
    policy.chain(certificate.map(|path| (Kind::Certificate, path.to_owned()))).chain(keys).collect()
}

fn is_reloaded(section: &str, name: &str) -> bool {
    options::find(section, name).is_some_and(|o| o.change == Change::Reload)
}

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Policy,
    Certificate,
    Keys,
}

/// What tells one state of a file from another, behind all links that lead to it: nothing when it is not there.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

fn stamp(path: &Path) -> Stamp {
    let m = std::fs::metadata(path).ok()?;
    Some((m.dev(), m.ino(), m.len(), m.ctime(), m.ctime_nsec()))
}

/// Files with the state in which they were read last, and the one that they were seen in last.
#[derive(Debug)]
pub(super) struct Watched(BTreeMap<(Kind, PathBuf), (Stamp, Stamp)>);

impl Watched {
    /// The files of a configuration and a certificate, in the state that they are in. To be called before they are
    /// read.
    pub(super) fn of(config: &Config, certificate: &[Option<PathBuf>]) -> Self {
        let keys = config.oidc.iter().filter_map(|provider| provider.keys_file());
        Self::settled(files(config, Vec::new, certificate.iter().flatten().map(PathBuf::as_path), keys))
    }

    fn settled(files: Vec<(Kind, PathBuf)>) -> Self {
        let all = files.into_iter().map(|file| {
            let now = stamp(&file.1);
            (file, (now, now))
        });
        Self(all.collect())
    }

    /// The files that are in another state than when they were read, and were so at the last look already. They
    /// count as read from now on.
    fn look(&mut self, files: Vec<(Kind, PathBuf)>) -> Vec<(Kind, PathBuf)> {
        let mut changed = Vec::new();
        // One in a directory that is gone is not found any more.
        let gone: Vec<_> = self.0.keys().filter(|file| !files.contains(file)).cloned().collect();
        for file in files.into_iter().chain(gone) {
            let now = stamp(&file.1);
            // One that is new has not been read.
            let (read, seen) = self.0.entry(file.clone()).or_insert((None, None));
            if now == *seen && now != *read {
                *read = now;
                changed.push(file);
            }
            *seen = now;
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_once_it_has_settled() {
        let dir = std::env::temp_dir().join(format!("vicar-watch-{}", crate::ids::uuid()));
        for version in ["one", "two"] {
            std::fs::create_dir_all(dir.join(version)).expect("a directory");
            std::fs::write(dir.join(version).join("policy"), version).expect("written");
        }
        // As a volume of Kubernetes: the file is a link through a link that is exchanged.
        std::os::unix::fs::symlink("one", dir.join("data")).expect("a link");
        let file = dir.join("policy");
        std::os::unix::fs::symlink("data/policy", &file).expect("a link");
        let all = || vec![(Kind::Policy, file.clone())];
        let mut watched = Watched::settled(all());
        assert!(watched.look(all()).is_empty());
        std::os::unix::fs::symlink("two", dir.join("next")).expect("a link");
        std::fs::rename(dir.join("next"), dir.join("data")).expect("renamed");
        assert!(watched.look(all()).is_empty(), "it may change again");
        assert_eq!(watched.look(all()), all());
        assert!(watched.look(all()).is_empty(), "once");
        // Written in place, twice: the first state is never read.
        std::fs::write(&file, "a part").expect("written");
        assert!(watched.look(all()).is_empty());
        std::fs::write(&file, "a part, and the rest").expect("written");
        assert!(watched.look(all()).is_empty());
        assert_eq!(watched.look(all()), all());
        // Renamed over.
        std::fs::remove_file(&file).expect("removed");
        assert!(watched.look(all()).is_empty());
        std::fs::write(dir.join("new"), "three").expect("written");
        std::fs::rename(dir.join("new"), &file).expect("renamed");
        assert!(watched.look(all()).is_empty());
        assert_eq!(watched.look(all()), all());
        std::fs::remove_dir_all(&dir).expect("removed");
    }
}
