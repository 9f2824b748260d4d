//! Directories (LDAP) that users of domains come from. They are asked between two runs of a handler, while nothing is held,
//! and what they say is written into the database ([`mirror`]) before the handler runs again: decisions rest on stored
//! facts alone. See docs/decisions/0020-directories.md.

pub mod client;
pub mod entries;
pub mod message;
pub mod mirror;
pub mod wire;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::task::JoinSet;
use vicar_rules::Micros;
use vicar_rules::directory::{Kind, public_id, same_dn};

use self::client::{Away, Client, WHOLE_WITHIN, WITHIN, timed};
use self::entries::{Group, User};
use self::mirror::Reads;
use crate::args;
use crate::clock::Clock;
use crate::config::directory::{Directories, Directory};
use crate::facts;
use crate::store::{self, Backoff, Id, Outcome, Store, Tx, Unread};

/// Whom a login names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// By the id in the directory.
    Local(String),
    /// By the name.
    Named(String),
}

/// What became of a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// The password is that of the user with this id, whose entry is stored.
    Right(String),
    /// It is not that of the user with this id.
    Wrong(String),
    /// There is no such user, or no only one.
    Nobody,
    /// Nothing is known.
    Away,
}

/// After a directory was away, whoever comes within this time is told so at once.
const PAUSE: Duration = Duration::from_secs(1);

/// What is known of the directory of a domain.
#[derive(Default)]
struct Known {
    client: Option<Arc<Client>>,
    away: Option<Instant>,
    /// When all of it could not be read, which says nothing of single users.
    no_whole: Option<Instant>,
    /// Whoever reads all of it has this.
    whole: Arc<tokio::sync::Mutex<()>>,
    /// Whoever reads the certificates.
    making: Arc<tokio::sync::Mutex<()>>,
}

/// All directories.
pub struct Service {
    configured: Directories,
    are_stored: bool,
    clock: Clock,
    known: Mutex<HashMap<String, Known>>,
    /// Whoever reads one user has theirs, so that of many requests of a user one asks and writes.
    turns: Mutex<HashMap<String, Weak<Turn>>>,
}

type Turn = tokio::sync::Mutex<()>;

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("configured", &self.configured).finish_non_exhaustive()
    }
}

type Said<T> = Result<T, Away>;

fn nobody() -> Away {
    Away::Unanswered("it shows nobody at all, and it had users: is its tree or filter another, or what its reader may see?".into())
}

fn broken(e: store::Error) -> Away {
    Away::Unstored(e.to_string())
}

impl Service {
    /// Of what is configured.
    pub fn new(configured: Directories, are_stored: bool, clock: Clock) -> Arc<Self> {
        Arc::new(Self { configured, are_stored, clock, known: Mutex::default(), turns: Mutex::default() })
    }

    /// What transactions are to know, if a domain can have a directory.
    pub fn for_store(configured: &Directories, are_stored: bool) -> Option<store::Directories> {
        let names =
            configured.by_name.iter().filter(|(_, found)| found.is_ok()).map(|(name, _)| name.clone());
        (are_stored || configured.are_there()).then(|| store::Directories {
            names: names.collect(),
            are_stored,
            span: configured.span,
        })
    }

    /// Reads what a handler could not go on without, and stores it. Ends whatever becomes of who asked.
    pub async fn read(self: &Arc<Self>, store: &Store, what: Unread, asked: &mut store::Asked) {
        let (service, store, question) = (Arc::clone(self), store.without_memory(), what.clone());
        let done = tokio::spawn(async move {
            match question {
                Unread::Users(mut ids) => match (ids.pop(), ids.is_empty()) {
                    (Some(id), true) => service.user(&store, id).await,
                    (last, _) => {
                        ids.extend(last);
                        service.users(&store, ids).await
                    }
                },
                Unread::Whole(domain) => {
                    let outcome = service.whole(&store, &domain).await;
                    BTreeMap::from([(domain, outcome)])
                }
            }
        });
        let done = done.await.unwrap_or_default();
        let outcome = |id: &String| done.get(id).copied().unwrap_or(Outcome::Away);
        match what {
            Unread::Users(ids) => asked.users.extend(ids.into_iter().map(|id| (id.clone(), outcome(&id)))),
            Unread::Whole(id) => drop(asked.domains.insert(id.clone(), outcome(&id))),
        }
    }

    /// Tries a password, if there is one; without, somebody else has said who it is. Whoever it is, is stored as they are now.
    pub async fn log_in(
        self: &Arc<Self>,
        store: &Store,
        domain: &str,
        who: Who,
        password: Option<&str>,
    ) -> Login {
        let (service, store) = (Arc::clone(self), store.without_memory());
        let password = password.map(|password| crate::secret::Secret(password.to_owned()));
        let domain = domain.to_owned();
        let done = tokio::spawn(async move {
            if service.is_paused(&domain) {
                return None;
            }
            let password = password.as_ref().map(|password| password.0.as_str());
            let done = service.try_login(&store, &domain, who, password).await;
            service.said(&domain, done)
        });
        done.await.ok().flatten().unwrap_or(Login::Away)
    }

    /// Logs that something is not known; and notes it when a directory is not reached, so that nobody waits for it in vain.
    fn said<T>(&self, domain: &str, said: Said<T>) -> Option<T> {
        match said {
            Ok(said) => return Some(said),
            Err(Away::Unstored(why)) => {
                tracing::error!(
                    domain,
                    why,
                    "what a directory says cannot be stored, or the database is away"
                );
            }
            Err(Away::Unanswered(why)) => {
                tracing::warn!(domain, why, "a directory does not say what has to be known");
            }
            Err(Away::Unreached(why)) => {
                tracing::warn!(domain, why, "a directory is away");
                self.with(domain, |known| known.away = Some(Instant::now()));
            }
        }
        None
    }

    /// Whether the directory was away a moment ago. Whoever is told so has not asked it, so that does not go on for longer by them.
    fn is_paused(&self, domain: &str) -> bool {
        self.with(domain, |known| known.away.is_some_and(|at| at.elapsed() < PAUSE))
    }

    fn with<T>(&self, domain: &str, work: impl FnOnce(&mut Known) -> T) -> T {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        work(known.entry(domain.to_owned()).or_default())
    }

    /// The directory of a domain, if it has one.
    async fn client(&self, store: &Store, domain: &str) -> Said<Option<Arc<Client>>> {
        let mut tx = store.read().await.map_err(broken)?;
        let Some(directory) = self.configured(&mut tx, domain).await? else { return Ok(None) };
        drop(tx);
        let known = || self.with(domain, |known| known.client.clone());
        let is_it = |client: &Arc<Client>| client.directory == directory;
        if let Some(client) = known().filter(is_it) {
            return Ok(Some(client));
        }
        // Files are read, which may hang: by one thread for a domain, and nobody waits for longer than for a server.
        let making = self.with(domain, |known| Arc::clone(&known.making));
        let made = async {
            let making = making.lock_owned().await;
            if let Some(client) = known().filter(is_it) {
                return Ok(client);
            }
            let directory = Arc::clone(&directory);
            let made = tokio::task::spawn_blocking(move || {
                let _making = making;
                Client::new(directory)
            });
            made.await.map_err(|e| Away::Unanswered(e.to_string()))?.map(Arc::new)
        };
        let client = timed(WITHIN, made).await?;
        self.with(domain, |known| known.client = Some(Arc::clone(&client)));
        Ok(Some(client))
    }

    async fn configured(&self, tx: &mut Tx, domain: &str) -> Said<Option<Arc<Directory>>> {
        if self.are_stored {
            return stored(tx, domain).await;
        }
        let Some(found) = facts::domain(tx, domain).await.map_err(broken)? else { return Ok(None) };
        match self.configured.by_name.get(&found.name) {
            Some(Ok(directory)) => Ok(Some(Arc::clone(directory))),
            Some(Err(_)) | None => Ok(None),
        }
    }

    fn reads<'a>(&self, domain: &'a str, at: Micros) -> Reads<'a> {
        Reads { domain, at, span: self.configured.span, is_whole: false }
    }

    fn turn(&self, user: &str) -> Arc<Turn> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(user).and_then(Weak::upgrade) {
            return turn;
        }
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::<Turn>::default();
        turns.insert(user.to_owned(), Arc::downgrade(&turn));
        turn
    }

    /// One user, unless somebody has just read them.
    async fn user(&self, store: &Store, id: String) -> BTreeMap<String, Outcome> {
        let turn = self.turn(&id);
        let Ok(_turn) = tokio::time::timeout(WITHIN, turn.lock()).await else { return BTreeMap::new() };
        let is_known = async { facts::directories::is_known(&mut store.read().await?, &id).await };
        match is_known.await {
            Ok(true) => BTreeMap::from([(id, Outcome::Read)]),
            _ => self.users(store, vec![id]).await,
        }
    }

    async fn users(&self, store: &Store, ids: Vec<String>) -> BTreeMap<String, Outcome> {
        let mut out = BTreeMap::new();
        let all: Vec<&str> = ids.iter().map(String::as_str).collect();
        let mapped = async { facts::directories::mapped(&mut store.read().await?, &all).await };
        let Some(mapped) = self.said("", mapped.await.map_err(broken)) else { return out };
        let mut by_domain: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
        for id in ids {
            match mapped.get(&id) {
                Some((domain, local)) => {
                    by_domain.entry(domain.clone()).or_default().push((id, local.clone()));
                }
                None => drop(out.insert(id, Outcome::Nobodys)),
            }
        }
        for (domain, users) in by_domain {
            let done = match self.is_paused(&domain) {
                true => None,
                false => self.said(&domain, self.users_of(store, &domain, &users).await),
            };
            let outcome = match done {
                Some(true) => Outcome::Read,
                Some(false) => Outcome::Nobodys,
                None => Outcome::Away,
            };
            out.extend(users.into_iter().map(|(id, _)| (id, outcome)));
        }
        out
    }

    /// Whether there is a directory that was read.
    async fn users_of(&self, store: &Store, domain: &str, users: &[(String, String)]) -> Said<bool> {
        let Some(client) = self.client(store, domain).await? else { return Ok(false) };
        let at = self.clock.now();
        let locals: Vec<String> = users.iter().map(|(_, local)| local.clone()).collect();
        let found = timed(WITHIN, with_groups(&client, &locals)).await?;
        // Whoever asked was known: one alone may have left.
        if found.is_empty() && !client.has_users().await? {
            return Err(nobody());
        }
        let is_there = |local: &String| found.iter().any(|(user, _)| user.local == *local);
        let gone: Vec<String> =
            users.iter().filter(|(_, local)| !is_there(local)).map(|(id, _)| id.clone()).collect();
        again(|| async { self.reads(domain, at).users(store, &found, &gone).await }).await?;
        Ok(true)
    }

    async fn whole(&self, store: &Store, domain: &str) -> Outcome {
        let turn = self.with(domain, |known| Arc::clone(&known.whole));
        let _turn = turn.lock().await;
        let failed = self.with(domain, |known| known.no_whole.is_some_and(|at| at.elapsed() < PAUSE));
        if failed || self.is_paused(domain) {
            return Outcome::Away;
        }
        match self.said(domain, self.whole_of(store, domain).await) {
            Some(true) => Outcome::Read,
            Some(false) => Outcome::Nobodys,
            None => {
                self.with(domain, |known| known.no_whole = Some(Instant::now()));
                Outcome::Away
            }
        }
    }

    async fn whole_of(&self, store: &Store, domain: &str) -> Said<bool> {
        let Some(client) = self.client(store, domain).await? else { return Ok(false) };
        let at = self.clock.now();
        let mut tx = store.read().await.map_err(broken)?;
        let sql = "SELECT read_at FROM vicar_directory WHERE domain_id = ?";
        let read: Option<i64> = tx.first(sql, args![Id(domain)], |r| r.take()).await.map_err(broken)?;
        // Somebody was first.
        if read.is_some_and(|read| read.saturating_add(self.configured.span) > at) {
            return Ok(true);
        }
        let sql = "SELECT 1 FROM nonlocal_user WHERE domain_id = ? LIMIT 1";
        let has_users = tx.exists(sql, args![Id(domain)]).await.map_err(broken)?;
        drop(tx);
        // With nested groups it is many questions.
        let late = |_| Away::Unanswered("all of it did not come in time".into());
        let whole = tokio::time::timeout(WHOLE_WITHIN, client.whole()).await.map_err(late)??;
        if whole.users.is_empty() && has_users {
            return Err(nobody());
        }
        let reads = Reads { is_whole: true, ..self.reads(domain, at) };
        again(|| async { reads.whole(store, whole.clone()).await }).await?;
        Ok(true)
    }

    async fn try_login(&self, store: &Store, domain: &str, who: Who, password: Option<&str>) -> Said<Login> {
        let Some(client) = self.client(store, domain).await? else { return Ok(Login::Nobody) };
        let at = self.clock.now();
        let asked = async {
            let mut found = match &who {
                Who::Local(id) => client.users(std::slice::from_ref(id)).await?,
                Who::Named(name) => client.users_named(name).await?,
            };
            // A server may take other letters, or blanks, for the same. That counts for whoever knows the password.
            if let (Who::Named(name), None) = (&who, password) {
                found.retain(|user| user.name == *name);
            }
            let (Some(user), None) = (found.pop(), found.pop()) else {
                if password.is_some() {
                    client.nobodys_password().await?;
                }
                return Ok(Err(Login::Nobody));
            };
            if let Some(password) = password
                && !client.is_password(&user.dn, password).await?
            {
                return Ok(Err(Login::Wrong(public_id(domain, Kind::User, &user.local))));
            }
            // Who else has the id would have what is theirs.
            let holders = client.users(std::slice::from_ref(&user.local)).await?;
            if holders.first().is_none_or(|holder| same_dn(&holder.dn) != same_dn(&user.dn)) {
                return Ok(Err(Login::Nobody));
            }
            let groups = client.groups_of(&user).await?;
            Ok(Ok((user, groups)))
        };
        let found = match timed(WITHIN, asked).await? {
            Ok(found) => [found],
            Err(login) => return Ok(login),
        };
        let ids = again(|| async { self.reads(domain, at).users(store, &found, &[]).await }).await?;
        Ok(ids.into_values().next().map_or(Login::Nobody, Login::Right))
    }
}

/// So many users' groups are asked for at once, so that others find a connection.
const AT_ONCE: usize = 4;

/// Users by their ids in the directory, each with their groups.
async fn with_groups(client: &Arc<Client>, locals: &[String]) -> Said<Vec<(User, Vec<Group>)>> {
    let mut found = Vec::new();
    for some in client.users(locals).await?.chunks(AT_ONCE) {
        let mut asked = JoinSet::new();
        for user in some.iter().cloned() {
            let client = Arc::clone(client);
            asked.spawn(async move { client.groups_of(&user).await.map(|groups| (user, groups)) });
        }
        while let Some(done) = asked.join_next().await {
            found.push(done.map_err(|e| Away::Unanswered(e.to_string()))??);
        }
    }
    Ok(found)
}

/// Stores, and again when another transaction was in the way.
async fn again<T, F: Future<Output = store::Result<T>>>(work: impl Fn() -> F) -> Said<T> {
    let mut backoff = Backoff::default();
    loop {
        match work().await {
            // Whoever was first has made the same rows.
            Err(store::Error::Retry(_) | store::Error::Duplicate) if backoff.again().await => {}
            done => return done.map_err(broken),
        }
    }
}

/// The directory of a domain by what is stored for it.
async fn stored(tx: &mut Tx, domain: &str) -> Said<Option<Arc<Directory>>> {
    let mut options: BTreeMap<(String, String), String> = BTreeMap::new();
    for table in ["sensitive_config", "whitelisted_config"] {
        let sql = format!("SELECT c.\"group\", c.\"option\", c.value FROM {table} c WHERE c.domain_id = ?");
        let rows = tx
            .map(&sql, args![Id(domain)], |r| {
                Ok(((r.take()?, r.take()?), r.take::<Option<String>>()?.unwrap_or_default()))
            })
            .await;
        options.extend(rows.map_err(broken)?);
    }
    let text = |group: &str, name: &str| {
        let stored = options.get(&(group.to_owned(), name.to_owned()))?;
        match serde_json::from_str(stored).ok()? {
            Value::String(text) => Some(text),
            Value::Array(words) => {
                let words = words.iter().map(|w| w.as_str().map_or_else(|| w.to_string(), str::to_owned));
                Some(words.collect::<Vec<_>>().join(","))
            }
            Value::Null => None,
            other => Some(other.to_string()),
        }
    };
    if text("identity", "driver").as_deref() != Some("ldap") {
        return Ok(None);
    }
    // As Keystone has it, a shown option may refer to one that is not.
    let whole = |name: &str| {
        let value = text("ldap", name)?;
        match text("ldap", "password") {
            Some(password) if name != "password" => Some(value.replace("%(password)s", &password)),
            _ => Some(value),
        }
    };
    let read = Directory::read(&whole).map(|directory| Some(Arc::new(directory)));
    let password = text("ldap", "password").filter(|password| !password.is_empty());
    // What is wrong is told with its value, which the password may be put into.
    read.map_err(|fault| {
        Away::Unanswered(password.map_or(fault.clone(), |password| fault.replace(&password, "***")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::migrate;

    #[tokio::test]
    async fn whoever_comes_in_a_pause_does_not_make_it_longer() {
        let url = |name: &str| (name == "url").then(|| "ldap://127.0.0.1:1".to_owned());
        let directory = Directory::read(&url).map(Arc::new);
        let by_name = BTreeMap::from([("People".to_owned(), directory)]);
        let configured = Directories { by_name, span: crate::clock::SECOND, ..Directories::default() };
        let service = Service::new(configured, false, Clock::system());
        let store = Store::memory().expect("opens");
        migrate::sync(&store, 0).await.expect("makes it");
        let mut tx = store.write().await.expect("begins");
        let domain = store::Insert::into("project")
            .set("id", "d")
            .set("name", "People")
            .set("enabled", true)
            .set("domain_id", migrate::ROOT_DOMAIN)
            .set("is_domain", true);
        tx.execute(&crate::system::System::CommandLine, &domain).await.expect("inserts");
        tx.commit().await.expect("commits");
        let since = || service.with("d", |known| known.away);
        let log_in = || service.log_in(&store, "d", Who::Named("a".into()), Some("p"));
        assert_eq!(log_in().await, Login::Away);
        let first = since().expect("it was asked");
        assert_eq!(log_in().await, Login::Away);
        assert_eq!(since(), Some(first));
        // Before the pause is over nobody is asked; then somebody is.
        let past = Instant::now().checked_sub(PAUSE).expect("a moment");
        service.with("d", |known| known.away = Some(past));
        assert_eq!(log_in().await, Login::Away);
        assert!(since() > Some(past));
        // What is not the server's being away keeps nobody else waiting.
        service.with("d", |known| known.away = None);
        for fault in [Away::Unanswered("a size limit".into()), Away::Unstored("a text".into())] {
            assert_eq!(service.said::<()>("d", Err(fault)), None);
            assert_eq!(since(), None);
        }
    }
}
