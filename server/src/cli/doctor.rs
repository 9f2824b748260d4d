//! `vicar doctor`: checks an installation and changes nothing.

use clap::Args;
use vicar_rules::Micros;

use super::checks::{Expected, is_open};
use super::config::{Accept, unknown};
use super::failure::Failure;
use super::installation::{self, Installation};
use super::progress::Progress;
use super::report::{Report, Verdict};
use super::terminal::Screen;
use super::tls::Tls;
use super::{checks, doubts, files, keys as cli_keys, left_behind, print};
use crate::args;
use crate::clock::{SECOND, iso};
use crate::config::foreign::{self, Effect};
use crate::config::{Config, Ini};
use crate::crypto::keys::KeyRing;
use crate::deleted;
use crate::facts::ceilings as stored_ceilings;
use crate::oidc::Providers;
use crate::policy_file;
use crate::resources::trusts::flush;
use crate::store::url::Location;
use crate::store::{DateTime, Store, Tx, memory, migrate};

#[derive(Debug, Args)]
pub(super) struct Doctor {
    #[command(flatten)]
    pub(super) at: Installation,
    #[command(flatten)]
    accept: Accept,
    /// Check a Keystone's configuration (--config-file), database and keys: what will work here, what differs, and
    /// what to do before the switch. Nothing is changed
    #[arg(long)]
    pub(super) adopt: bool,
    /// Print JSON
    #[arg(long, requires = "adopt")]
    pub(super) json: bool,
    #[command(flatten)]
    tls: Tls,
}

const KEYS: Expected = Expected {
    without: "the server will not start; restore the keys from a backup. New ones (`vicar keys setup`) are for a new installation: they open no token and no stored credential of this one",
    advice: Verdict::Warn,
    mask: 0o077,
    who: "other users",
    chmod: "chmod go=",
};

const RECEIPT_KEYS: Expected =
    Expected { without: "the server will not start; `vicar keys setup --receipt` makes them", ..KEYS };

impl Doctor {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let mut r = Report::default();
        match self.at.read() {
            Err(e) => r.fail("configuration", format_args!("{e}; nothing else was checked")),
            Ok((ini, mut config)) => {
                config.policy.may_be_absent = self.accept.has(foreign::POLICY_FILE);
                r.group("Configuration");
                configuration(&mut r, &ini, &config, &self.accept);
                policy(&mut r, &config);
                for (about, text) in doubts::configured(&config) {
                    r.warn(&about, text);
                }
                providers(&mut r, &config);
                r.group("Keys");
                checks::key_repository(&mut r, "token keys", &config.fernet_keys, false, &KEYS);
                checks::key_repository(&mut r, "credential keys", &config.credential_keys, true, &KEYS);
                if config.has_receipt_keys() {
                    checks::key_repository(
                        &mut r,
                        "receipt keys",
                        &config.receipt_keys,
                        false,
                        &RECEIPT_KEYS,
                    );
                }
                r.group("TLS");
                match self.tls.or(&config) {
                    Ok(tls) => tls.check(&mut r, config.public_endpoint.as_deref()),
                    Err(e) => r.fail("TLS", e),
                }
                r.group("Database");
                let progress = Progress::begin("checking the database");
                database(&mut r, &ini, &config, &self.accept).await;
                drop(progress);
            }
        }
        let screen = Screen::here();
        if !screen.is_terminal() {
            // Others read these lines.
            r.ungroup();
        }
        r.lines("FAIL".len(), screen).into_iter().for_each(print);
        match r.count(Verdict::Fail) {
            0 => Ok(()),
            n => Err(Failure::ChecksFailed(n)),
        }
    }
}

fn configuration(r: &mut Report, ini: &Ini, config: &Config, accept: &Accept) {
    let found = foreign::judge(ini, config);
    if found.foreign.is_empty() && found.unknown.is_empty() && config.unknown.is_empty() {
        r.ok("configuration", "nothing that is set would be missed here");
    }
    for f in &found.foreign {
        let verdict = match f.effect {
            Effect::Refused(name, _) if !accept.has(name) => Verdict::Fail,
            _ => Verdict::Warn,
        };
        r.add(verdict, &f.option, &f.text);
    }
    for (option, meant) in &found.unknown {
        r.warn(option, unknown(meant.as_deref()));
    }
    for name in &config.unknown {
        r.warn(name, "is not understood, and left out");
    }
    r.judge(
        config.auth_methods.iter().any(|m| m == "ec2credential"),
        Verdict::Warn,
        "[auth] methods",
        "ec2credential is among them",
        "ec2credential is missing, so ec2tokens and s3tokens answer 503; add it at the end of the list",
    );
    r.judge(
        config.token_expiration > 0 && config.auth_ttl > 0,
        Verdict::Fail,
        "lifetimes",
        format_args!("a token lives {} s", config.token_expiration / SECOND),
        "[token] expiration and [credential] auth_ttl must be greater than 0, else everything is born expired",
    );
    if config.admin_token.is_some() {
        let text = "[DEFAULT] admin_token is set: whoever knows it is an administrator; remove it after use";
        r.warn("admin token", text);
    }
}

fn policy(r: &mut Report, config: &Config) {
    let found = policy_file::find(&config.policy).unwrap_or_default().files;
    if let Some(e) = found.iter().find_map(|f| files::check_readable(f).err()) {
        return r.fail("policy", e);
    }
    match policy_file::load(&config.policy) {
        Ok(loaded) => {
            for (good, text) in super::policy::findings(&loaded) {
                r.judge(good, Verdict::Warn, "policy", &text, &text);
            }
        }
        Err(e) => r.fail("policy", format_args!("{e}; the server will not start")),
    }
}

/// The files of identity providers. None of them is asked.
fn providers(r: &mut Report, config: &Config) {
    for options in &config.oidc {
        let about = format!("[oidc.{}]", options.provider);
        if let Some(e) = options.files().find_map(|file| files::check_readable(file).err()) {
            r.fail(&about, e);
            continue;
        }
        if options.keys_file().is_some_and(|file| is_open(file, 0o022)) {
            r.warn(&about, "others can write the file with its keys, and so log in as anybody who comes from it; chmod go-w it");
        }
        match Providers::new(std::slice::from_ref(options)) {
            Ok(_) if options.keys_file().is_some() => {
                r.ok(&about, format_args!("the keys of {} are pinned, and can be used", options.issuer));
            }
            Ok(_) => {
                r.ok(&about, format_args!("{} is asked for its keys when somebody comes", options.issuer))
            }
            Err(e) => r.fail(&about, format_args!("{e}; the server will not start")),
        }
    }
}

async fn database(r: &mut Report, ini: &Ini, config: &Config, accept: &Accept) {
    if let Location::Sqlite(path) = &config.database.location {
        match files::is_there(path) {
            Err(e) => return r.fail("database", e),
            Ok(false) => {
                let text = format!(
                    "{} is not there. If there was one, bring it back or correct [database] connection; for a new installation `vicar serve` makes it",
                    path.display()
                );
                return r.fail("database", text);
            }
            Ok(true) => {}
        }
        if let Err(e) = installation::check_readable(path) {
            return r.fail("database", e);
        }
        r.judge(
            !is_open(path, 0o077),
            Verdict::Warn,
            "database, permissions",
            "for its owner alone",
            format_args!("others can open {}; chmod 600 it", path.display()),
        );
    }
    if let Location::Server(at) = &config.database.location {
        for file in [&at.tls.ca, &at.tls.cert, &at.tls.key].into_iter().flatten() {
            if let Err(e) = files::check_readable(file) {
                return r.fail("database", e);
            }
        }
    }
    let store = match installation::open_read_only(&config.database).await {
        Ok(store) => store,
        Err(e) => return r.fail("database", e),
    };
    if let Err(e) = contents(r, ini, config, accept, &store).await {
        r.fail("database", e);
    }
}

async fn contents(
    r: &mut Report,
    ini: &Ini,
    config: &Config,
    accept: &Accept,
    store: &Store,
) -> Result<(), Failure> {
    let mut tx = store.read().await?;
    match tx.fault().await? {
        None => {
            let how = match config.database.location {
                Location::Sqlite(_) => "is whole",
                Location::Server(_) => "answers",
            };
            r.ok("database", format_args!("{} {how}", config.database.location));
        }
        Some(fault) => {
            let text = format!("{fault}; stop the server and restore a backup");
            r.fail("database", text);
            return Ok(());
        }
    }
    let state = migrate::state(&mut tx).await?;
    if let Err(e) = migrate::refuse(&state) {
        r.fail("schema", e);
        return Ok(());
    }
    let Ok(release) = state.release() else {
        r.fail("schema", "there are no tables yet; `vicar db sync` makes them");
        return Ok(());
    };
    r.judge(
        state.is_current(),
        Verdict::Fail,
        "schema",
        format_args!("Keystone {}, and ours in version {}", release.releases, migrate::VERSION),
        format_args!("Keystone {}, and ours not current; `vicar db sync` brings it there", release.releases),
    );
    if !state.is_current() {
        return Ok(());
    }
    if let Some(lacking) = checks::lacking(&release) {
        r.ok("indexes", lacking);
    }
    if config.remembers {
        r.judge(
            memory::is_written(store).await?,
            Verdict::Warn,
            "memory",
            "the journal of changes is written",
            "[cache] enabled is true, and nothing is remembered: the triggers of the journal are missing. `vicar db sync` makes them, or says why it cannot",
        );
    }
    for text in left_behind::found(&mut tx, ini, accept, true).await? {
        r.fail("stored, and not there here", text);
    }
    if let Some(text) = checks::weakened_rules(&checks::multi_factor_rules(&mut tx).await?, config) {
        r.warn("multi-factor rules", text);
    }
    for (about, text) in doubts::stored(&mut tx, config).await? {
        r.warn(&about, text);
    }
    let now = installation::clock().now();
    clock(r, config, &mut tx, now).await?;
    terms(r, &mut tx).await?;
    ceilings(r, &mut tx).await?;
    credentials(r, config, &mut tx).await?;
    delegations(r, config, &mut tx, now).await
}

/// A trust with terms whose row says that nobody deleted it: somebody wrote that by hand. It is a trust without terms then, to
/// a Keystone too.
async fn terms(r: &mut Report, tx: &mut Tx) -> Result<(), Failure> {
    let lost: Vec<String> = tx
        .column(
            "SELECT t.id FROM vicar_trust_terms x JOIN trust t ON t.id = x.trust_id
              WHERE t.deleted_at IS NULL ORDER BY t.id LIMIT 10",
            &[],
        )
        .await?;
    r.judge(
        lost.is_empty(),
        Verdict::Fail,
        "terms of trusts",
        "none is lost",
        format_args!(
            "not looked at, as somebody has set `deleted_at` to null: {}. Delete these trusts",
            lost.join(", ")
        ),
    );
    Ok(())
}

/// A delegation policy that is of a newer version, or spoilt: nothing can be delegated below it.
async fn ceilings(r: &mut Report, tx: &mut Tx) -> Result<(), Failure> {
    let sql =
        "SELECT p.kind, p.holder_id, p.policy FROM vicar_delegation_policy p ORDER BY p.kind, p.holder_id";
    let all: Vec<[String; 3]> = tx.map(sql, &[], |r| Ok([r.take()?, r.take()?, r.take()?])).await?;
    let unread = all.iter().filter(|[.., policy]| stored_ceilings::read(policy).is_none());
    let unread: Vec<String> = unread.map(|[kind, id, _]| format!("{kind} {id}")).take(10).collect();
    r.judge(
        unread.is_empty(),
        Verdict::Fail,
        "delegation policies",
        format_args!("{}", all.len()),
        format_args!(
            "cannot be read, so that nothing can be delegated below these: {}. Set them anew, or start the version that wrote them",
            unread.join(", ")
        ),
    );
    Ok(())
}

async fn clock(r: &mut Report, config: &Config, tx: &mut Tx, now: Micros) -> Result<(), Failure> {
    r.judge(
        now >= checks::NOT_BEFORE,
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
            concat!(
                "SELECT COUNT(*) FROM trust t LEFT JOIN vicar_trust_state s ON s.trust_id = t.id
                  WHERE (t.deleted_at > ? AND ",
                deleted!("t"),
                ") OR s.ended_at > ? OR s.created_at > ?"
            ),
            args![DateTime(soon), soon, soon],
        )
        .await?;
    let (events, trusts) = (events.first().copied().unwrap_or(0), trusts.first().copied().unwrap_or(0));
    r.judge(
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

async fn credentials(r: &mut Report, config: &Config, tx: &mut Tx) -> Result<(), Failure> {
    // A repository that cannot be used has been reported already.
    let Ok(ring) = KeyRing::new(config.credential_keys.clone(), true).current() else {
        return Ok(());
    };
    let behind = cli_keys::behind(tx, ring.primary_hash().unwrap_or_default()).await?;
    let lost = behind.iter().filter(|(_, blob)| ring.decrypt(blob).is_none()).count();
    if lost > 0 {
        let text = format!("{lost} fit none of the keys: bring the key back that they were encrypted with");
        r.fail("credentials", text);
    } else {
        r.judge(
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

async fn delegations(r: &mut Report, config: &Config, tx: &mut Tx, now: Micros) -> Result<(), Failure> {
    let dead = flush::count(tx, now).await?;
    let unended = dead.trusts() - dead.deleted + dead.keypairs;
    r.judge(
        unended == 0,
        Verdict::Warn,
        "dead delegations",
        format_args!("{} ended trusts are kept for their history", dead.deleted),
        format_args!(
            "{} trusts expired, {} used up, {} without what they hang on, {} keypairs without their trust; they yield nothing, and the server's reaper or `vicar trust flush` removes them, once no directory can bring back whom they hang on",
            dead.expired, dead.exhausted, dead.broken, dead.keypairs
        ),
    );
    if config.reap_interval <= 0 {
        r.warn("reaper", "[delegation] reap_interval is 0, so nothing is reaped; run `vicar trust flush`");
    }
    Ok(())
}
