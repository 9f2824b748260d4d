//! `vicar doctor --adopt`: what it means to serve a Keystone's users from its own configuration, database
//! and keys, said before anything is changed.
//!
//! `options` judges the configuration file, `keys` the key repositories, `stored` what is in the database,
//! `beside` what holds while the Keystone goes on serving.

mod beside;
mod keys;
mod options;
mod stored;

use super::failure::Failure;
use super::files;
use super::installation::{self, Installation};
use super::print;
use super::progress::Progress;
use super::report::{Report, Verdict};
use super::terminal::Screen;
use crate::policy_file;

/// Checks everything and prints the findings.
pub(super) async fn run(at: &Installation, as_json: bool) -> Result<(), Failure> {
    let mut r = Report::default();
    let progress = Progress::begin("looking at the Keystone's database");
    inspect(&mut r, at).await;
    drop(progress);
    if as_json {
        print(r.json());
    } else {
        r.lines("differs".len(), Screen::here()).into_iter().for_each(print);
        print("");
        print(format_args!(
            "{} ok, {} differ, {} to do, {} failed; nothing was changed",
            r.count(Verdict::Ok),
            r.count(Verdict::Differs),
            r.count(Verdict::Todo),
            r.count(Verdict::Fail)
        ));
    }
    match r.count(Verdict::Fail) {
        0 => Ok(()),
        n => Err(Failure::ChecksFailed(n)),
    }
}

async fn inspect(r: &mut Report, at: &Installation) {
    r.group("Configuration");
    if !at.is_configured() {
        return r.fail("files", "none: name the Keystone's with --config-file /etc/keystone/keystone.conf");
    }
    let (ini, config) = match at.read() {
        Ok(both) => both,
        Err(e) => return r.fail("files", format_args!("{e}; nothing else was checked")),
    };
    let policy = policy_file::find(&config.policy).unwrap_or_default().files;
    if let Some(e) = policy.iter().find_map(|f| files::check_readable(f).err()) {
        r.fail("rules", e);
    }
    options::judge(r, &ini, &config);
    r.group("Keys");
    keys::judge(r, &config);
    stored::judge(r, &config).await;
    r.group("Beside the Keystone");
    beside::judge(r, &ini, &config, installation::clock().now());
}
