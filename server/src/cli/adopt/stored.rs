//! What is in the database.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;
use vicar_rules::Micros;

use super::super::doctor::{NOT_BEFORE, is_open};
use super::super::{failure::Failure, installation};
use super::{Report, Verdict};
use crate::args;
use crate::auth::keys::KeyRing;
use crate::auth::login;
use crate::clock::{SECOND, iso};
use crate::config::Config;
use crate::store::schema::{ALEMBIC_HEADS, Dialect, OWN, OWN_INDEXES};
use crate::store::url::Location;
use crate::store::{DateTime, Tx, Value, migrate};

type Result<T = ()> = std::result::Result<T, Failure>;

pub(super) async fn judge(r: &mut Report, config: &Config) {
    r.group("Database");
    if let Err(e) = look(r, config).await {
        r.fail("database", e);
    }
}

async fn look(r: &mut Report, config: &Config) -> Result {
    if let Location::Sqlite(path) = &config.database.location
        && path.exists()
        && is_open(path)
    {
        r.todo("database", format_args!("others than its owner can open {}; chmod 600 it", path.display()));
    }
    let store = installation::look(&config.database).await?;
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

/// Is it a schema that everything else can be asked of?
async fn schema(r: &mut Report, tx: &mut Tx, dialect: Dialect) -> Result<bool> {
    let state = migrate::state(tx).await?;
    if !state.is_known() {
        let found =
            if state.keystone.is_empty() { "no Keystone's".to_owned() } else { state.keystone.join(", ") };
        let known = ALEMBIC_HEADS.join(", ");
        r.fail("schema", format_args!("{found}; Keystone 30.0.0's is {known}. Upgrade the Keystone first (keystone-manage db_sync); nothing else in it was looked at"));
        return Ok(false);
    }
    r.ok("schema", format_args!("{} (30.0.0)", state.keystone.join(", ")));
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

/// May the database's user do what `vicar db sync` does?
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
    if count(tx, root, args![migrate::ROOT_DOMAIN]).await? == 0 {
        r.fail("root domain", "its row is missing; the Keystone's own migration makes it");
    }
    let default = &config.default_domain_id;
    match count(tx, root, args![default]).await? {
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
    // The newest password of each is the one that counts.
    let hashes = tx
        .map(
            &format!(
                "SELECT {HASHES} AS kind, COUNT(*) FROM password p
                  WHERE p.password_hash IS NOT NULL AND NOT EXISTS (
                        SELECT 1 FROM password n WHERE n.local_user_id = p.local_user_id
                           AND n.created_at_int > p.created_at_int)
                  GROUP BY {HASHES} ORDER BY 1"
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
    mapped(r, tx).await?;
    let federated = count(tx, "SELECT COUNT(DISTINCT user_id) FROM federated_user", &[]).await?;
    r.none_or(Verdict::Fail, "federated users", federated, "they cannot log in here, and their federated tokens are refused. Keep the Keystone for them, or give them passwords");
    let passing = count(tx, "SELECT COUNT(*) FROM expiring_user_group_membership", &[]).await?;
    r.none_or(Verdict::Fail, "memberships by federation", passing, "they give no roles here");
    second_factor(r, tx, config).await
}

async fn mapped(r: &mut Report, tx: &mut Tx) -> Result {
    let domains = tx
        .map(
            "SELECT p.name, COUNT(*) FROM id_mapping m LEFT JOIN project p ON p.id = m.domain_id
              WHERE m.entity_type = 'user' GROUP BY p.name ORDER BY p.name",
            &[],
            |row| Ok((row.take::<Option<String>>()?.unwrap_or_else(|| "?".into()), row.take::<i64>()?)),
        )
        .await?;
    if domains.is_empty() {
        r.ok("users of LDAP", "none");
    }
    for (domain, n) in domains {
        r.fail("users of LDAP", format_args!("{n} in the domain {domain}: no LDAP is asked here, so they cannot log in. Keep the Keystone for that domain, or give them passwords"));
    }
    Ok(())
}

async fn second_factor(r: &mut Report, tx: &mut Tx, config: &Config) -> Result {
    let rules: Vec<Option<String>> = tx
        .column(
            "SELECT o.option_value FROM user_option o WHERE o.option_id = 'MFAR' AND NOT EXISTS (
                SELECT 1 FROM user_option e WHERE e.user_id = o.user_id AND e.option_id = 'MFAE'
                   AND e.option_value = 'false')",
            &[],
        )
        .await?;
    let proven = ["password".to_owned()];
    let locked_out = rules
        .iter()
        .filter_map(|text| serde_json::from_str::<Json>(text.as_deref()?).ok())
        .filter(|rules| !login::fit(rules, &proven, &config.auth_methods))
        .count();
    let locked_out = i64::try_from(locked_out).unwrap_or(i64::MAX);
    r.none_or(
        Verdict::Fail,
        "users who need a second factor",
        locked_out,
        "no one-time passwords are served here, so they cannot log in",
    );
    Ok(())
}

/// Tables that are not served, or not all of them, with what their rows mean.
const UNSERVED: &[(&str, &str, Verdict, &str)] = &[
    (
        "application credentials",
        "SELECT COUNT(*) FROM application_credential",
        Verdict::Fail,
        "nobody logs in with them here, and nobody manages them; tokens that the Keystone made with them are good here. Keep the Keystone for their holders, or give them trusts or users of their own",
    ),
    (
        "access rules",
        "SELECT COUNT(*) FROM access_rule",
        Verdict::Differs,
        "shown in tokens of application credentials, as there; not managed here",
    ),
    (
        "identity providers",
        "SELECT COUNT(*) FROM identity_provider",
        Verdict::Fail,
        "nobody comes in through them here",
    ),
    ("mappings", "SELECT COUNT(*) FROM mapping", Verdict::Differs, "they stay, and are not used here"),
    (
        "federation protocols",
        "SELECT COUNT(*) FROM federation_protocol",
        Verdict::Differs,
        "they stay, and are not used here",
    ),
    (
        "service providers",
        "SELECT COUNT(*) FROM service_provider",
        Verdict::Differs,
        "tokens do not name them here, and no assertions are made",
    ),
    (
        "registered limits",
        "SELECT COUNT(*) FROM registered_limit",
        Verdict::Fail,
        "services that ask for limits get 404 here; keep the Keystone for /v3/limits and /v3/registered_limits",
    ),
    ("limits of projects", "SELECT COUNT(*) FROM \"limit\"", Verdict::Fail, "as above"),
    (
        "endpoint groups",
        "SELECT COUNT(*) FROM endpoint_group",
        Verdict::Differs,
        "honoured in the catalog; managed on a Keystone only",
    ),
    (
        "endpoints of projects",
        "SELECT COUNT(*) FROM project_endpoint",
        Verdict::Differs,
        "honoured in the catalog; managed on a Keystone only",
    ),
    (
        "configurations of domains",
        "SELECT COUNT(DISTINCT domain_id) FROM whitelisted_config",
        Verdict::Differs,
        "not looked at, and not managed here",
    ),
    ("OAuth1 consumers", "SELECT COUNT(*) FROM consumer", Verdict::Differs, "not managed here"),
    (
        "OAuth1 access tokens",
        "SELECT COUNT(*) FROM access_token",
        Verdict::Fail,
        "nobody logs in with them here, and tokens of such logins are refused",
    ),
    (
        "policies in the database",
        "SELECT COUNT(*) FROM policy",
        Verdict::Differs,
        "not managed here; nothing asks for them",
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
            format_args!("{n} secrets are kept, and nobody logs in with them here"),
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

/// A trust that nobody deleted.
#[derive(Debug)]
struct Link {
    project: Option<String>,
    impersonation: bool,
    /// Nothing is for ever.
    until: Option<Micros>,
    uses: Option<i64>,
    parent: Option<String>,
    hops: i64,
    roles: BTreeSet<String>,
}

impl Link {
    fn is_over(&self, now: Micros) -> bool {
        self.until.is_some_and(|t| t <= now) || self.uses.is_some_and(|n| n <= 0)
    }

    /// Does it claim more than what it was made from?
    fn is_wider(&self, parent: &Self, implied: &BTreeMap<String, BTreeSet<String>>) -> bool {
        let later = match (self.until, parent.until) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(own), Some(end)) => own > end,
        };
        let given: BTreeSet<&String> =
            parent.roles.iter().chain(parent.roles.iter().filter_map(|r| implied.get(r)).flatten()).collect();
        later
            || self.project != parent.project
            || (self.impersonation && !parent.impersonation)
            || self.hops >= parent.hops
            || !self.roles.iter().all(|role| given.contains(role))
    }
}

async fn links(tx: &mut Tx) -> Result<BTreeMap<String, Link>> {
    let mut links: BTreeMap<String, Link> = tx
        .map(
            "SELECT id, project_id, impersonation, expires_at_int, expires_at, remaining_uses,
                    redelegated_trust_id, redelegation_count
               FROM trust WHERE deleted_at IS NULL",
            &[],
            |row| {
                let id: String = row.take()?;
                let (project, impersonation) = (row.take()?, row.take()?);
                let (exact, legacy): (Option<i64>, Option<DateTime>) = (row.take()?, row.take()?);
                let until = exact.filter(|t| *t != 0).or(legacy.map(|t| t.0));
                let uses = row.take()?;
                let parent = row.take()?;
                let hops = row.take::<Option<i64>>()?.unwrap_or(0);
                Ok((id, Link { project, impersonation, until, uses, parent, hops, roles: BTreeSet::new() }))
            },
        )
        .await?
        .into_iter()
        .collect();
    let roles = tx
        .map("SELECT trust_id, role_id FROM trust_role", &[], |row| {
            Ok((row.take::<String>()?, row.take::<String>()?))
        })
        .await?;
    for (trust, role) in roles {
        if let Some(link) = links.get_mut(&trust) {
            link.roles.insert(role);
        }
    }
    Ok(links)
}

/// For each role all that it implies, however far.
async fn implications(tx: &mut Tx) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let pairs = tx
        .map("SELECT prior_role_id, implied_role_id FROM implied_role", &[], |row| {
            Ok((row.take::<String>()?, row.take::<String>()?))
        })
        .await?;
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (prior, _) in &pairs {
        let mut found = BTreeSet::new();
        let mut open = vec![prior];
        while let Some(role) = open.pop() {
            for (_, next) in pairs.iter().filter(|p| p.0 == *role) {
                if found.insert(next.clone()) {
                    open.push(next);
                }
            }
        }
        all.insert(prior.clone(), found);
    }
    Ok(all)
}

/// Links from this one up to its root, both counted; nothing when the way up is broken.
fn height<'a>(links: &'a BTreeMap<String, Link>, mut link: &'a Link, now: Micros) -> Option<usize> {
    for n in 1..=links.len() {
        if link.is_over(now) && n > 1 {
            return None;
        }
        match &link.parent {
            None => return Some(n),
            Some(parent) => link = links.get(parent)?,
        }
    }
    // In a circle.
    None
}

async fn delegations(r: &mut Report, tx: &mut Tx, config: &Config, now: Micros) -> Result {
    let links = links(tx).await?;
    let implied = implications(tx).await?;
    let (over, open): (Vec<_>, Vec<_>) = links.values().partition(|l| l.is_over(now));
    let heights: Vec<Option<usize>> = open.iter().map(|l| height(&links, l, now)).collect();
    let living = heights.iter().flatten().count();
    let longest = heights.iter().flatten().max().copied().unwrap_or(0);
    r.ok(
        "trusts",
        format_args!(
            "{living} live, {} of them made from others; the longest chain has {longest} links",
            heights.iter().flatten().filter(|h| **h > 1).count()
        ),
    );
    let counted = open.iter().filter(|l| l.uses.is_some()).count();
    if counted > 0 {
        r.ok("trusts that count uses", format_args!("{counted}; counted on here from where they stand"));
    }
    let broken = heights.len() - living;
    if broken > 0 {
        r.differs("broken chains", format_args!("{broken} trusts hang on one that is deleted, gone or over: they yield nothing here, and are ended"));
    }
    let wider = links
        .values()
        .filter(|l| l.parent.as_ref().and_then(|p| links.get(p)).is_some_and(|p| l.is_wider(p, &implied)))
        .count();
    if wider > 0 {
        r.differs("wider than their parent", format_args!("{wider} trusts claim more roles, time, depth, impersonation or another project than the trust they were made from: here they are worth what all of their chain gives"));
    }
    let deep = links.values().filter(|l| l.hops > i64::from(config.trust.max_redelegation_count)).count();
    if deep > 0 {
        r.ok("depth", format_args!("{deep} trusts may be passed on more often than [trust] max_redelegation_count says: the setting holds for new ones only"));
    }
    let deleted = count(tx, "SELECT COUNT(*) FROM trust WHERE deleted_at IS NOT NULL", &[]).await?;
    if deleted > 0 || !over.is_empty() {
        r.differs(
            "dead trusts",
            format_args!(
                "{deleted} deleted and {} over: the reaper ends these, and removes what ended longer than {} days ago ([delegation] retention, reap_interval)",
                over.len(),
                config.retention / (86_400 * SECOND)
            ),
        );
    }
    Ok(())
}
