//! `vicar doctor`: looks, says, and changes nothing.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use clap::Args;
use vicar_rules::Micros;

use super::failure::Failure;
use super::installation::{self, Installation};
use super::{adopt, keys as cli_keys, print};
use crate::args;
use crate::auth::keys::{self, KeyRing};
use crate::clock::{SECOND, iso};
use crate::config::Config;
use crate::resources::trusts::flush;
use crate::store::url::Location;
use crate::store::{DateTime, Store, Tx, migrate};

#[derive(Debug, Args)]
pub(super) struct Doctor {
    #[command(flatten)]
    at: Installation,
    /// Look at a Keystone's configuration (--config-file), database and keys, and say what will work here, what
    /// differs and what to do, before anything is changed
    #[arg(long)]
    adopt: bool,
    /// Say it as JSON
    #[arg(long, requires = "adopt")]
    json: bool,
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

/// The findings, printed as they come.
#[derive(Debug, Default)]
struct Findings {
    failed: usize,
}

impl Findings {
    fn add(&mut self, verdict: Verdict, about: &str, text: impl std::fmt::Display) {
        let word = match verdict {
            Verdict::Ok => "ok  ",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
        };
        if verdict == Verdict::Fail {
            self.failed += 1;
        }
        // A check is one line, whatever an error's text brings along.
        print(format_args!("{word}  {about}: {}", text.to_string().replace('\n', " ")));
    }

    /// `ok` with one text, or `bad` with another.
    fn judge(
        &mut self,
        good: bool,
        bad: Verdict,
        about: &str,
        fine: impl std::fmt::Display,
        wrong: impl std::fmt::Display,
    ) {
        if good { self.add(Verdict::Ok, about, fine) } else { self.add(bad, about, wrong) }
    }
}

impl Doctor {
    pub(super) async fn run(self) -> Result<(), Failure> {
        if self.adopt {
            return adopt::run(&self.at, self.json).await;
        }
        let mut f = Findings::default();
        match self.at.config() {
            Err(e) => f.add(Verdict::Fail, "configuration", format_args!("{e}; nothing else was looked at")),
            Ok(config) => {
                configuration(&mut f, &config);
                policy(&mut f, &config);
                key_repository(&mut f, "token keys", &config.fernet_keys, false);
                key_repository(&mut f, "credential keys", &config.credential_keys, true);
                database(&mut f, &config).await;
            }
        }
        if f.failed == 0 { Ok(()) } else { Err(Failure::ChecksFailed(f.failed)) }
    }
}

fn configuration(f: &mut Findings, config: &Config) {
    f.judge(
        config.unknown.is_empty(),
        Verdict::Warn,
        "configuration",
        "every option has a meaning here",
        format_args!(
            "no meaning here: {}; remove them, or know that they do nothing",
            config.unknown.join(", ")
        ),
    );
    f.judge(
        config.auth_methods.iter().any(|m| m == "ec2credential"),
        Verdict::Warn,
        "[auth] methods",
        "ec2credential is among them",
        "ec2credential is missing, so ec2tokens and s3tokens answer 503; add it at the end of the list",
    );
    f.judge(
        config.token_expiration > 0 && config.auth_ttl > 0,
        Verdict::Fail,
        "lifetimes",
        format_args!("a token lives {} s", config.token_expiration / SECOND),
        "[token] expiration and [credential] auth_ttl must be greater than 0, else everything is born expired",
    );
    if config.admin_token.is_some() {
        let text = "[DEFAULT] admin_token is set: whoever knows it is an administrator; remove it after use";
        f.add(Verdict::Warn, "admin token", text);
    }
}

fn policy(f: &mut Findings, config: &Config) {
    let Some(file) = &config.policy_file else {
        return f.add(Verdict::Ok, "policy", "the shipped one");
    };
    match crate::policy_file::load(file) {
        Ok(_) if !file.exists() => f.add(
            Verdict::Warn,
            "policy",
            format_args!("{} is not there, so the shipped policy holds", file.display()),
        ),
        Ok(_) => f.add(Verdict::Ok, "policy", format_args!("{} is understood", file.display())),
        Err(e) => f.add(Verdict::Fail, "policy", format_args!("{e}; the server will not start")),
    }
    if !config.enforce_scope {
        f.add(
            Verdict::Warn,
            "scope",
            "[oslo_policy] enforce_scope is off: an admin somewhere is an admin everywhere",
        );
    }
}

/// May others than the owner read it?
pub(super) fn is_open(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|m| m.mode() & 0o077 != 0)
}

fn key_repository(f: &mut Findings, about: &str, dir: &Path, null_key: bool) {
    if let Err(e) = KeyRing::new(dir.to_owned(), null_key).current() {
        let todo = "the server will not start; bring the keys back, or `vicar keys setup` for new ones";
        return f.add(Verdict::Fail, about, format_args!("{e}; {todo}"));
    }
    let files = keys::files(dir).unwrap_or_default();
    let primary = files.first().map_or(0, |k| k.0);
    f.add(
        Verdict::Ok,
        about,
        format_args!("{} keys in {}, {primary} is primary", files.len(), dir.display()),
    );
    let open: Vec<String> = std::iter::once(dir)
        .chain(files.iter().map(|k| k.1.as_path()))
        .filter(|p| is_open(p))
        .map(|p| p.display().to_string())
        .collect();
    f.judge(
        open.is_empty(),
        Verdict::Warn,
        &format!("{about}, permissions"),
        "for their owner alone",
        format_args!("others can read {}; chmod go= them, and rotate if somebody may have", open.join(" ")),
    );
    if !files.iter().any(|k| k.0 == 0) {
        f.add(
            Verdict::Warn,
            about,
            "no staged key (0), so the next rotation fails; restore it or set up new keys",
        );
    }
}

async fn database(f: &mut Findings, config: &Config) {
    if let Location::Sqlite(path) = &config.database.location {
        if !path.exists() {
            let text = format!("{} is not there; `vicar serve` or `vicar db sync` makes it", path.display());
            return f.add(Verdict::Fail, "database", text);
        }
        f.judge(
            !is_open(path),
            Verdict::Warn,
            "database, permissions",
            "for its owner alone",
            format_args!("others can open {}; chmod 600 it", path.display()),
        );
    }
    let store = match installation::look(&config.database).await {
        Ok(store) => store,
        Err(e) => return f.add(Verdict::Fail, "database", e),
    };
    if let Err(e) = contents(f, config, &store).await {
        f.add(Verdict::Fail, "database", e);
    }
}

async fn contents(f: &mut Findings, config: &Config, store: &Store) -> Result<(), Failure> {
    let mut tx = store.read().await?;
    match tx.fault().await? {
        None => {
            let how = match config.database.location {
                Location::Sqlite(_) => "is whole",
                Location::Server(_) => "answers",
            };
            f.add(Verdict::Ok, "database", format_args!("{} {how}", config.database.location));
        }
        Some(fault) => {
            let text = format!("{fault}; stop the server and restore a backup");
            f.add(Verdict::Fail, "database", text);
            return Ok(());
        }
    }
    let state = migrate::state(&mut tx).await?;
    f.judge(
        state.is_current(),
        Verdict::Fail,
        "schema",
        format_args!("Keystone 30.0.0, and ours in version {}", migrate::VERSION),
        "not current; `vicar db sync` brings it there, or says why not",
    );
    if !state.is_current() {
        return Ok(());
    }
    let now = installation::clock().now();
    clock(f, config, &mut tx, now).await?;
    credentials(f, config, &mut tx).await?;
    delegations(f, config, &mut tx, now).await
}

/// 2026-01-01: no clock that is right shows less.
pub(super) const NOT_BEFORE: Micros = 1_767_225_600 * SECOND;

async fn clock(f: &mut Findings, config: &Config, tx: &mut Tx, now: Micros) -> Result<(), Failure> {
    f.judge(
        now >= NOT_BEFORE,
        Verdict::Fail,
        "clock",
        format_args!(
            "{}; a token issued now expires {}",
            iso(now),
            iso(now.saturating_add(config.token_expiration))
        ),
        format_args!("{}, which lies in the past; set it, and keep it with NTP", iso(now)),
    );
    // Other servers' clocks differ by a little.
    let soon = now + 5 * SECOND;
    let events: Vec<i64> = tx
        .column(
            "SELECT COUNT(*) FROM revocation_event WHERE issued_before > ? OR revoked_at > ?",
            args![DateTime(soon), DateTime(soon)],
        )
        .await?;
    let trusts: Vec<i64> = tx
        .column(
            "SELECT COUNT(*) FROM trust t LEFT JOIN vicar_trust_state s ON s.trust_id = t.id
              WHERE t.deleted_at > ? OR s.ended_at > ? OR s.created_at > ?",
            args![DateTime(soon), soon, soon],
        )
        .await?;
    let (events, trusts) = (events.first().copied().unwrap_or(0), trusts.first().copied().unwrap_or(0));
    f.judge(
        events == 0 && trusts == 0,
        Verdict::Fail,
        "rows from the future",
        "none",
        format_args!(
            "{events} revocations, {trusts} trusts: a clock was wrong, here or on another server. New tokens that such a revocation covers are refused until its time has come"
        ),
    );
    Ok(())
}

async fn credentials(f: &mut Findings, config: &Config, tx: &mut Tx) -> Result<(), Failure> {
    // A repository that cannot be used has been reported already.
    let Ok(ring) = KeyRing::new(config.credential_keys.clone(), true).current() else {
        return Ok(());
    };
    let behind = cli_keys::behind(tx, ring.primary_hash().unwrap_or_default()).await?;
    let lost = behind.iter().filter(|(_, blob)| ring.decrypt(blob).is_none()).count();
    if lost > 0 {
        let text = format!("{lost} fit none of the keys: bring the key back that they were encrypted with");
        f.add(Verdict::Fail, "credentials", text);
    } else {
        f.judge(
            behind.is_empty(),
            Verdict::Warn,
            "credentials",
            "all encrypted with the primary key",
            format_args!(
                "{} are encrypted with an older key; `vicar keys migrate` before the next rotation",
                behind.len()
            ),
        );
    }
    Ok(())
}

async fn delegations(f: &mut Findings, config: &Config, tx: &mut Tx, now: Micros) -> Result<(), Failure> {
    let dead = flush::count(tx, now).await?;
    let unended = dead.trusts() - dead.deleted + dead.keypairs;
    f.judge(
        unended == 0,
        Verdict::Warn,
        "dead delegations",
        format_args!("{} ended trusts are kept for their history", dead.deleted),
        format_args!(
            "{} trusts expired, {} used up, {} without what they hang on, {} keypairs without their trust; they yield nothing, and the server's reaper or `vicar trust flush` removes them",
            dead.expired, dead.exhausted, dead.broken, dead.keypairs
        ),
    );
    if config.reap_interval <= 0 {
        f.add(
            Verdict::Warn,
            "reaper",
            "[delegation] reap_interval is 0, so nothing is reaped; run `vicar trust flush`",
        );
    }
    Ok(())
}
