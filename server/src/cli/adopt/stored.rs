//! What is in the database.

use std::collections::BTreeSet;

use vicar_rules::Micros;
use vicar_rules::delegation::{Broken, Ended, TrustStatus};

use super::super::checks::{self, NOT_BEFORE, is_open};
use super::super::report::{Report, Verdict};
use super::super::{failure::Failure, installation};
use crate::args;
use crate::auth::factors;
use crate::clock::{SECOND, iso};
use crate::config::Config;
use crate::crypto::keys::KeyRing;
use crate::facts::{self, EvaluatedTrust};
use crate::store::schema::{Dialect, OWN, OWN_INDEXES};
use crate::store::url::Location;
use crate::store::{DateTime, Id, Tx, Value, migrate};
use crate::{deleted, living};

type Result<T = ()> = std::result::Result<T, Failure>;

pub(super) async fn judge(r: &mut Report, config: &Config) {
    r.group("Database");
    if let Err(e) = check(r, config).await {
        r.fail("database", e);
    }
}

async fn check(r: &mut Report, config: &Config) -> Result {
    if let Location::Sqlite(path) = &config.database.location
        && path.exists()
        && is_open(path, 0o077)
    {
        r.todo("database", format_args!("others than its owner can open {}; chmod 600 it", path.display()));
    }
    let store = installation::open_read_only(&config.database).await?;
    let mut tx = store.read().await?;
    if let Some(fault) = tx.fault().await? {
        r.fail("database", format_args!("{fault}; restore a backup first"));
        return Ok(());
    }
    r.ok("database", format_args!("{} can be read", config.database.location));
    if !schema(r, &mut tx, store.dialect()).await? {
        return Ok(());
    }
    let now = installation::clock().now();
    ground(r, &mut tx, config).await?;
    times(r, &mut tx, now).await?;
    r.group("Users");
    users(r, &mut tx, config).await?;
    r.group("What is not served here");
    unserved(r, &mut tx).await?;
    r.group("Credentials");
    credentials(r, &mut tx, config).await?;
    r.group("Delegations");
    delegations(r, &mut tx, config, now).await
}

async fn count(tx: &mut Tx, sql: &str, args: &[Value]) -> Result<i64> {
    Ok(tx.first(sql, args, |row| row.take()).await?.unwrap_or(0))
}

/// Whether it is a schema that the other checks can read.
async fn schema(r: &mut Report, tx: &mut Tx, dialect: Dialect) -> Result<bool> {
    let state = migrate::state(tx).await?;
    let release = match state.release() {
        Ok(release) => release,
        Err(why) => {
            r.fail("schema", format_args!("{why}; nothing else in it was looked at"));
            return Ok(false);
        }
    };
    r.ok("schema", format_args!("{} (Keystone {})", state.keystone.join(", "), release.releases));
    if let Some(lacking) = checks::lacking(&release) {
        r.differs("indexes", lacking);
    }
    match state.own {
        Some(_) if state.is_current() => {
            r.ok("our own tables", "are there; `vicar db sync` has nothing to do")
        }
        Some(_) if state.is_too_new() => {
            r.fail("our own tables", "were made by a newer Vicar, which removed what this one needs")
        }
        _ => {
            let indexes = OWN_INDEXES.iter().filter(|own| own.1.scope.covers(dialect)).count();
            r.todo("our own tables", format_args!("are not there; `vicar db sync` adds {} tables (vicar_*) and {indexes} indexes (ix_vicar_*), and changes nothing of the Keystone's", OWN.len()));
            rights(r, tx, dialect).await?;
        }
    }
    Ok(true)
}

/// Whether the database's user may do what `vicar db sync` does.
async fn rights(r: &mut Report, tx: &mut Tx, dialect: Dialect) -> Result {
    let missing: Vec<String> = match dialect {
        Dialect::Sqlite => return Ok(()),
        Dialect::Postgres => {
            let indexed: BTreeSet<&str> = OWN_INDEXES.iter().map(|own| own.0).collect();
            let foreign: Vec<String> = tx
                .column(
                    "SELECT CAST(tablename AS VARCHAR) FROM pg_tables
                      WHERE schemaname = current_schema() AND NOT pg_has_role(tableowner, 'USAGE')",
                    &[],
                )
                .await?;
            let makes = "SELECT CAST(has_schema_privilege(current_schema(), 'CREATE') AS INTEGER)";
            let schema = (count(tx, makes, &[]).await? == 0).then(|| "CREATE on the schema".to_owned());
            let indexes = foreign.iter().filter(|t| indexed.contains(t.as_str()));
            let indexes = indexes.map(|t| format!("ownership of {t} (for an index)"));
            schema.into_iter().chain(indexes).collect()
        }
        Dialect::Mysql => {
            let me = "grantee = CONCAT('''', REPLACE(CURRENT_USER(), '@', '''@'''), '''')";
            let held: Vec<String> = tx
                .column(
                    &format!(
                        "SELECT privilege_type FROM information_schema.user_privileges WHERE {me}
                         UNION SELECT privilege_type FROM information_schema.schema_privileges
                          WHERE {me} AND DATABASE() LIKE table_schema"
                    ),
                    &[],
                )
                .await?;
            let needed = ["SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "INDEX"];
            needed.into_iter().filter(|n| !held.iter().any(|h| h == n)).map(str::to_owned).collect()
        }
    };
    if missing.is_empty() {
        r.ok("rights", "the database's user may make our tables and indexes");
    } else {
        r.todo(
            "rights",
            format_args!(
                "the database's user lacks, as far as can be seen, {}; have `vicar db sync` done by one who has it",
                missing.join(", ")
            ),
        );
    }
    Ok(())
}

/// What a Keystone's own bootstrap leaves, and what is needed here.
async fn ground(r: &mut Report, tx: &mut Tx, config: &Config) -> Result {
    let root = "SELECT COUNT(*) FROM project WHERE id = ?";
    if count(tx, root, args![Id(migrate::ROOT_DOMAIN)]).await? == 0 {
        r.fail("root domain", "its row is missing; the Keystone's own migration makes it");
    }
    let default = &config.default_domain_id;
    match count(tx, root, args![Id(default)]).await? {
        0 => r.todo(
            "default domain",
            format_args!("there is no domain {default}, which [identity] default_domain_id names"),
        ),
        _ => r.ok("default domain", default),
    }
    let roles: Vec<String> = tx.column("SELECT name FROM role WHERE domain_id = '<<null>>'", &[]).await?;
    let missing: Vec<&str> = ["admin", "manager", "member", "reader", "service"]
        .into_iter()
        .filter(|n| !roles.iter().any(|r| r == n))
        .collect();
    if missing.is_empty() {
        r.ok("roles", "all that the rules name are there");
    } else {
        r.todo("roles", format_args!("{} missing, which the rules name (services exchange signatures with `service`); `keystone-manage bootstrap` makes them", missing.join(", ")));
    }
    let urls: Vec<String> = tx
        .column(
            "SELECT e.url FROM endpoint e JOIN service s ON s.id = e.service_id
              WHERE s.type = 'identity' AND e.interface = 'public' ORDER BY e.url",
            &[],
        )
        .await?;
    if urls.is_empty() {
        r.todo(
            "catalog",
            "has no public endpoint of type identity; clients that follow the catalog find nobody",
        );
    } else {
        r.ok(
            "catalog",
            format_args!(
                "sends clients to {}: the name that has to lead here after the switch",
                urls.join(", ")
            ),
        );
    }
    Ok(())
}

async fn times(r: &mut Report, tx: &mut Tx, now: Micros) -> Result {
    if now < NOT_BEFORE {
        r.fail("clock", format_args!("{}, which lies in the past; set it, and keep it with NTP", iso(now)));
    }
    let soon = DateTime(now + 5 * SECOND);
    let n = count(
        tx,
        "SELECT COUNT(*) FROM revocation_event WHERE issued_before > ? OR revoked_at > ?",
        args![soon, soon],
    )
    .await?;
    r.none_or(Verdict::Fail, "revocations from the future", n, "a clock was wrong, here or there; logins that such a revocation covers are refused until its time has come");
    Ok(())
}

/// How a hash is named by its first letters. What an unknown one begins with is not shown.
const HASHES: &str = "CASE WHEN p.password_hash LIKE '$2%' THEN 'bcrypt'
          WHEN p.password_hash LIKE '$bcrypt-sha256$%' THEN 'bcrypt_sha256'
          WHEN p.password_hash LIKE '$scrypt$%' THEN 'scrypt'
          WHEN p.password_hash LIKE '$pbkdf2-sha512$%' THEN 'pbkdf2_sha512'
          ELSE 'unknown' END";

async fn users(r: &mut Report, tx: &mut Tx, config: &Config) -> Result {
    let all = count(tx, "SELECT COUNT(*) FROM \"user\"", &[]).await?;
    let local = count(tx, "SELECT COUNT(*) FROM local_user", &[]).await?;
    r.ok("users", format_args!("{all}, of whom {local} have a name and a password here"));
    // The newest password of each is the one that counts. On SQLite a Keystone has no index by which it is found.
    let hashes = tx
        .map(
            &format!(
                "SELECT {HASHES} AS kind, COUNT(*)
                   FROM (SELECT local_user_id, MAX(created_at_int) AS newest FROM password GROUP BY local_user_id) n
                   JOIN password p ON p.local_user_id = n.local_user_id AND p.created_at_int = n.newest
                  WHERE p.password_hash IS NOT NULL GROUP BY {HASHES} ORDER BY 1"
            ),
            &[],
            |row| Ok((row.take::<String>()?, row.take::<i64>()?)),
        )
        .await?;
    let known: Vec<String> =
        hashes.iter().filter(|h| h.0 != "unknown").map(|(kind, n)| format!("{n} {kind}")).collect();
    if !known.is_empty() {
        r.ok(
            "passwords",
            format_args!(
                "{}: verified here; a new password is stored as bcrypt, which a Keystone verifies",
                known.join(", ")
            ),
        );
    }
    for (_, n) in hashes.iter().filter(|h| h.0 == "unknown") {
        r.fail(
            "passwords",
            format_args!(
                "{n} with a hash that neither a Keystone 30.0.0 nor this server verifies: set them anew"
            ),
        );
    }
    mapped(r, tx, config).await?;
    let federated = count(tx, "SELECT COUNT(DISTINCT user_id) FROM federated_user", &[]).await?;
    r.none_or(
        Verdict::Fail,
        "federated users",
        federated,
        "they log in here once `[vicar] assertion_headers` or `[oidc.NAME]` says how; their tokens are good",
    );
    let passing = count(tx, "SELECT COUNT(*) FROM expiring_user_group_membership", &[]).await?;
    r.none_or(
        Verdict::Differs,
        "memberships by federation",
        passing,
        "they count until they expire; a login renews them, here or there",
    );
    second_factor(r, tx, config).await
}

async fn mapped(r: &mut Report, tx: &mut Tx, config: &Config) -> Result {
    let domains = tx
        .map(
            "SELECT p.name, COUNT(*), (SELECT MIN(c.value) FROM whitelisted_config c WHERE c.domain_id = m.domain_id
                        AND c.\"group\" = 'identity' AND c.\"option\" = 'driver')
               FROM id_mapping m LEFT JOIN project p ON p.id = m.domain_id
              WHERE m.entity_type = 'user' GROUP BY p.name, m.domain_id ORDER BY p.name",
            &[],
            |row| {
                let name = row.take::<Option<String>>()?.unwrap_or_else(|| "?".into());
                Ok((name, row.take::<i64>()?, row.take::<Option<String>>()?))
            },
        )
        .await?;
    if domains.is_empty() {
        r.ok("users of LDAP", "none");
    }
    for (domain, n, stored) in domains {
        let is_served = match config.stored_domain_options {
            true => stored.is_some_and(|driver| driver == "\"ldap\""),
            false => matches!(config.directories.by_name.get(&domain), Some(Ok(_))),
        };
        if is_served {
            r.ok(
                "users of LDAP",
                format_args!("{n} in the domain {domain}, whose directory is asked; they keep their ids"),
            );
            continue;
        }
        r.fail("users of LDAP", format_args!("{n} in the domain {domain}: no LDAP is asked for it here, so they cannot log in. Keep the Keystone for that domain, or give them passwords"));
    }
    Ok(())
}

async fn second_factor(r: &mut Report, tx: &mut Tx, config: &Config) -> Result {
    let rules = checks::multi_factor_rules(tx).await?;
    let mut proven: Vec<String> = ["password", "totp"].map(str::to_owned).into();
    if config.remote_user.is_some() {
        proven.extend(["external", "kerberos"].map(str::to_owned));
    }
    let locked_out = rules.iter().filter(|rules| !factors::satisfies(rules, &proven, &config.auth_methods));
    match locked_out.count() {
        0 if rules.is_empty() => r.ok("users who need a second factor", "none"),
        0 => r.ok("users who need a second factor", format_args!("{}, and their methods are served", rules.len())),
        n => r.fail(
            "users who need a second factor",
            format_args!("{n}: their multi-factor rules ask for a method that is not served here, so they cannot log in"),
        ),
    }
    if let Some(text) = checks::weakened_rules(&rules, config) {
        r.differs("multi-factor rules", text);
    }
    Ok(())
}

/// Tables that are not served, or not all of them, with what their rows mean.
const UNSERVED: &[(&str, &str, Verdict, &str)] = &[
    (
        "identity providers",
        "SELECT COUNT(*) FROM identity_provider",
        Verdict::Fail,
        "who logs in through them does so once `[vicar] assertion_headers` or `[oidc.NAME]` says how; where one has a protocol, the first start takes that or --accept federation",
    ),
    (
        "mappings",
        "SELECT COUNT(*) FROM mapping",
        Verdict::Differs,
        "logins use them once `[vicar] assertion_headers` or `[oidc.NAME]` is set",
    ),
    (
        "federation protocols",
        "SELECT COUNT(*) FROM federation_protocol",
        Verdict::Differs,
        "logins use them once `[vicar] assertion_headers` or `[oidc.NAME]` is set",
    ),
    (
        "service providers",
        "SELECT COUNT(*) FROM service_provider",
        Verdict::Differs,
        "tokens name them as there, and no assertions are made",
    ),
    (
        "domains with another driver stored",
        "SELECT COUNT(DISTINCT domain_id) FROM whitelisted_config
          WHERE \"group\" = 'identity' AND \"option\" = 'driver' AND value NOT IN ('\"sql\"', '\"ldap\"')",
        Verdict::Differs,
        "with `[identity] domain_configurations_from_database` their users cannot log in here",
    ),
];

async fn unserved(r: &mut Report, tx: &mut Tx) -> Result {
    let mut none = Vec::new();
    for (about, sql, verdict, meaning) in UNSERVED {
        match count(tx, sql, &[]).await? {
            0 => none.push(*about),
            n => r.none_or(*verdict, about, n, meaning),
        }
    }
    if !none.is_empty() {
        r.ok("not in use", none.join(", "));
    }
    Ok(())
}

async fn credentials(r: &mut Report, tx: &mut Tx, config: &Config) -> Result {
    let kinds = tx
        .map("SELECT type, COUNT(*) FROM credential GROUP BY type ORDER BY type", &[], |row| {
            Ok((row.take::<String>()?, row.take::<i64>()?))
        })
        .await?;
    let list: Vec<String> = kinds.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
    r.ok("stored", if list.is_empty() { "none".to_owned() } else { list.join(", ") });
    if let Some((_, n)) = kinds.iter().find(|k| k.0 == "totp") {
        r.differs(
            "one-time passwords",
            format_args!("{n} secrets; a passcode logs in once here, and a Keystone takes it again within its minute. `[totp] refuse_reuse = false` is as there"),
        );
    }
    // A repository that cannot be used has been reported already.
    let Ok(ring) = KeyRing::new(config.credential_keys.clone(), true).current() else {
        return Ok(());
    };
    let blobs = tx
        .map("SELECT key_hash, encrypted_blob FROM credential", &[], |row| {
            Ok((row.take::<String>()?, row.take::<String>()?))
        })
        .await?;
    let lost = blobs.iter().filter(|(_, blob)| ring.decrypt(blob).is_none()).count();
    if lost > 0 {
        r.fail("keys", format_args!("{lost} fit none of the credential keys, and are lost until their key is back. The Keystone cannot read them either if it has these keys"));
    }
    let primary = ring.primary_hash().unwrap_or_default();
    match blobs.iter().filter(|(hash, _)| hash != primary).count().saturating_sub(lost) {
        0 if lost == 0 => r.ok("keys", "all are encrypted with the primary key"),
        0 => {}
        old => r.todo("keys", format_args!("{old} are encrypted with an older key: `keystone-manage credential_migrate` or `vicar keys migrate` before the next rotation")),
    }
    Ok(())
}

/// How many trusts are judged at once.
const BATCH: usize = 500;

/// What the rules say of all trusts that nobody deleted.
#[derive(Debug, Default)]
struct Tally {
    live: usize,
    redelegated: usize,
    longest: usize,
    suspended: usize,
    over: usize,
    below_ended: usize,
    without_user: usize,
    without_project: usize,
    unlawful: usize,
    late: usize,
    counted: usize,
    deep: usize,
}

impl Tally {
    fn add(&mut self, trust: &EvaluatedTrust, config: &Config) {
        let leaf = trust.chain().leaf();
        let alive = matches!(trust.status(), TrustStatus::Live(_) | TrustStatus::Suspended(_));
        match trust.status() {
            TrustStatus::Live(_) => {
                let links = trust.chain().links().len();
                self.live += 1;
                self.redelegated += usize::from(links > 1);
                self.longest = self.longest.max(links);
            }
            TrustStatus::Suspended(_) => self.suspended += 1,
            TrustStatus::Ended(Ended::Broken(why)) => match why {
                Broken::AncestorEnded(_) | Broken::AncestorMissing(_) | Broken::CredentialGone(_) => {
                    self.below_ended += 1;
                }
                Broken::AgentGone(_) => self.without_user += 1,
                Broken::ProjectGone => self.without_project += 1,
                Broken::Unlawful(_) => self.unlawful += 1,
            },
            TrustStatus::Ended(Ended::Deleted | Ended::Expired | Ended::Exhausted) => self.over += 1,
        }
        self.late += usize::from(alive && leaf.until > trust.chain().until());
        self.counted += usize::from(alive && leaf.remaining_uses.is_some());
        self.deep += usize::from(alive && leaf.hops > config.trust.max_redelegation_count);
    }
}

/// Asks the rules about every trust that nobody deleted. They are the same that the server asks.
async fn tally(tx: &mut Tx, config: &Config, now: Micros) -> Result<Tally> {
    let ids: Vec<String> =
        tx.column(concat!("SELECT t.id FROM trust t WHERE ", living!("t"), " ORDER BY t.id"), &[]).await?;
    let implications = facts::implications(tx).await?;
    let mut tally = Tally::default();
    for batch in ids.chunks(BATCH) {
        let batch: Vec<&str> = batch.iter().map(String::as_str).collect();
        let chains = facts::chains(tx, &batch).await?;
        for trust in facts::evaluate_keystones(tx, chains, now, &implications).await? {
            tally.add(&trust, config);
        }
    }
    Ok(tally)
}

async fn delegations(r: &mut Report, tx: &mut Tx, config: &Config, now: Micros) -> Result {
    let t = tally(tx, config, now).await?;
    r.ok(
        "trusts",
        format_args!(
            "{} live, {} of them made from others; the longest chain has {} links",
            t.live, t.redelegated, t.longest
        ),
    );
    if t.counted > 0 {
        r.ok("trusts that count uses", format_args!("{}; counted on here from where they are", t.counted));
    }
    let mut some = |verdict, about, n: usize, meaning: &str| {
        if n > 0 {
            r.add(verdict, about, format_args!("{n} {meaning}"));
        }
    };
    some(
        Verdict::Ok,
        "suspended trusts",
        t.suspended,
        "trusts yield nothing for now: a user or project is disabled, or a role is not held",
    );
    some(
        Verdict::Differs,
        "broken chains",
        t.below_ended,
        "trusts hang on one that is deleted, gone or over: they yield nothing here, and are ended",
    );
    some(
        Verdict::Differs,
        "trusts without a user",
        t.without_user,
        "trusts name a user, in them or in a trust above, who was deleted: they yield nothing here",
    );
    some(
        Verdict::Differs,
        "trusts without a project",
        t.without_project,
        "trusts have no project, or one that was deleted: they yield nothing here",
    );
    some(
        Verdict::Differs,
        "wider than their parent",
        t.unlawful,
        "trusts contradict a trust that they were made from, in project, depth, impersonation or trustor: they yield nothing here",
    );
    some(
        Verdict::Differs,
        "later than their parent",
        t.late,
        "trusts end later than a trust that they were made from: here they end with it",
    );
    some(
        Verdict::Ok,
        "depth",
        t.deep,
        "trusts may be passed on more often than [trust] max_redelegation_count says: the setting holds for new ones only",
    );
    let deleted = count(tx, concat!("SELECT COUNT(*) FROM trust t WHERE ", deleted!("t")), &[]).await?;
    if deleted > 0 || t.over > 0 {
        r.differs(
            "dead trusts",
            format_args!(
                "{deleted} deleted and {} over: the reaper ends these, and removes what ended longer than {} days ago ([delegation] retention, reap_interval)",
                t.over,
                config.retention / (86_400 * SECOND)
            ),
        );
    }
    Ok(())
}
