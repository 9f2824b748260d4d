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
use super::installation::{self, Installation};
use super::print;
use super::report::{Report, Verdict};

/// Checks everything and prints the findings.
pub(super) async fn run(at: &Installation, as_json: bool) -> Result<(), Failure> {
    let mut r = Report::default();
    inspect(&mut r, at).await;
    if as_json {
        print(r.json());
    } else {
        r.lines("differs".len()).into_iter().for_each(print);
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
    options::judge(r, &ini, &config);
    r.group("Keys");
    keys::judge(r, &config);
    stored::judge(r, &config).await;
    r.group("Beside the Keystone");
    beside::judge(r, &ini, &config, installation::clock().now());
}
