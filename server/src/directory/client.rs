//! Connections to the servers of one directory: made, kept, and given up in time. Every question has a deadline, no server's
//! word leads to another one (referrals are not followed), and its certificate is always verified.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ldap3::adapters::{Adapter, EntriesOnly, PagedResults};
use ldap3::{
    DerefAliases, Ldap, LdapConnAsync, LdapConnSettings, LdapError, Scope, SearchEntry, SearchOptions,
    StdStream,
};
use tokio::sync::Semaphore;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use url::Url;

use super::wire;
use crate::config::directory::{Aliases, Directory};

/// Why nothing is known: in words for the log, without anything secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Away {
    /// No server is reached, so that whoever asks next would wait in vain.
    Unreached(String),
    /// A server is there, and did not say what was asked for; it may well say something else.
    Unanswered(String),
    /// The directory said it, and the database did not take it.
    Unstored(String),
}

impl Away {
    /// Why.
    pub fn why(self) -> String {
        match self {
            Self::Unreached(why) | Self::Unanswered(why) | Self::Unstored(why) => why,
        }
    }
}

type Result<T, E = Away> = std::result::Result<T, E>;

/// How long a question about a few entries may take, from the first connection on.
pub const WITHIN: Duration = Duration::from_secs(10);

/// How long the whole of a directory may take to be read.
pub const WHOLE_WITHIN: Duration = Duration::from_secs(60);

/// A connection that nobody used for this long is not used again: whatever is in between may have forgotten it, and tells nobody.
const IDLE: Duration = Duration::from_secs(30);

/// So many entries are read at most.
const MOST_ENTRIES: usize = 100_000;

/// And so much text of them.
const MOST_BYTES: usize = 256 << 20;

/// A result code: what was asked for is not there.
const NO_SUCH_OBJECT: u32 = 32;

/// Another one: there is more than is shown.
const SIZE_LIMIT: u32 = 4;

/// Those that say something of the server, and nothing of whoever binds.
const SERVERS_OWN: [u32; 12] = [1, 2, 3, 7, 8, 10, 11, 13, 51, 52, 54, 80];

/// An entry, with the values of attributes by their names in small letters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub dn: String,
    values: BTreeMap<String, Vec<String>>,
}

impl Entry {
    /// All values of an attribute.
    pub fn all(&self, attribute: &str) -> &[String] {
        self.values.get(&attribute.to_ascii_lowercase()).map(Vec::as_slice).unwrap_or_default()
    }

    /// The first one.
    pub fn first(&self, attribute: &str) -> Option<&str> {
        self.all(attribute).first().map(String::as_str)
    }

    /// How long its texts are together.
    fn size(&self) -> usize {
        let of = |text: &String| text.len() + OF_ITSELF;
        of(&self.dn)
            + self
                .values
                .iter()
                .map(|(name, all)| of(name) + all.iter().map(of).sum::<usize>())
                .sum::<usize>()
    }

    /// For tests.
    #[cfg(test)]
    pub fn of(dn: &str, values: &[(&str, &[&str])]) -> Self {
        let own = |all: &[&str]| all.iter().map(|v| (*v).to_owned()).collect();
        let values = values.iter().map(|(name, all)| (name.to_ascii_lowercase(), own(all))).collect();
        Self { dn: dn.to_owned(), values }
    }

    fn read(found: SearchEntry) -> Self {
        let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, all) in found.attrs {
            values.entry(name.to_ascii_lowercase()).or_default().extend(all);
        }
        for (name, all) in found.bin_attrs {
            values.entry(name.to_ascii_lowercase()).or_default().extend(all.iter().filter_map(|v| text(v)));
        }
        // No database keeps a NUL.
        values.values_mut().for_each(|all| all.retain(|value| !value.contains('\0')));
        Self { dn: found.dn, values }
    }
}

/// A value that is not all text. As Keystone has it, 16 bytes are a UUID of Active Directory.
fn text(value: &[u8]) -> Option<String> {
    if let Ok(text) = std::str::from_utf8(value) {
        return Some(text.to_owned());
    }
    let bytes: [u8; 16] = value.try_into().ok()?;
    let [a, b, c, d, e, f, g, h, rest @ ..] = bytes;
    let ordered = [d, c, b, a, f, e, h, g];
    let hex = |part: &[u8]| part.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (one, two, three) = (hex(&ordered[..4]), hex(&ordered[4..6]), hex(&ordered[6..]));
    Some(format!("{one}-{two}-{three}-{}-{}", hex(&rest[..2]), hex(&rest[2..])))
}

/// What is none of the servers.
const NO_SERVER: usize = usize::MAX;

/// What a text takes besides its letters, in bytes: some 32, with what allocators add.
const OF_ITSELF: usize = 64;

/// A connection that somebody reads by.
struct Reading {
    ldap: Ldap,
    since: Instant,
    used: Instant,
    is_new: bool,
    /// With which server.
    at: usize,
}

/// A directory, and the connections to it.
pub struct Client {
    /// How it is configured.
    pub directory: Arc<Directory>,
    tls: Option<Arc<ClientConfig>>,
    idle: Mutex<Vec<Reading>>,
    readers: Semaphore,
    logins: Semaphore,
    /// Which server is tried first, by its place among the URLs.
    first: AtomicUsize,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl Client {
    /// Reads the certificates, if there is to be TLS.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn new(directory: Arc<Directory>) -> Result<Self> {
        let has_tls = directory.start_tls || directory.urls.iter().any(|url| url.scheme() == "ldaps");
        let tls = if has_tls { Some(Arc::new(trusting(&directory)?)) } else { None };
        let first = match directory.randomize {
            true => usize::from_str_radix(crate::ids::uuid().get(..4).unwrap_or_default(), 16).unwrap_or(0),
            false => 0,
        };
        let first = first % directory.urls.len().max(1);
        Ok(Self {
            tls,
            idle: Mutex::default(),
            readers: Semaphore::new(directory.pool_size),
            logins: Semaphore::new(directory.logins_at_once),
            first: AtomicUsize::new(first),
            directory,
        })
    }

    /// Entries below `base`, or right below it, by a filter; nothing when there is no `base`.
    ///
    /// # Errors
    /// When no server says all.
    pub async fn search(
        &self,
        (base, scope): (&str, Depth),
        filter: &str,
        attributes: &[&str],
        size: Size,
    ) -> Result<Option<Vec<Entry>>> {
        let within = if size == Size::Whole { WHOLE_WITHIN } else { WITHIN };
        let most = if size == Size::One { 1 } else { 0 };
        let with = AtomicUsize::new(NO_SERVER);
        let asked = async {
            let _place = self.readers.acquire().await.map_err(|e| Away::Unanswered(e.to_string()))?;
            loop {
                let mut reading = Box::pin(self.reading(&with)).await?;
                let (is_new, at) = (reading.is_new, reading.at);
                // What few ask for a server that is there says at once.
                let patience =
                    if is_new || size == Size::Whole { within } else { self.directory.connect_within };
                let said = Box::pin(self.ask(&mut reading.ldap, (base, scope), filter, attributes, most));
                match tokio::time::timeout(patience, said).await {
                    Ok(Ok(found)) => {
                        // One on which more would come is not kept.
                        if found.is_ok() {
                            self.keep(reading);
                        }
                        return found;
                    }
                    // A server ends a connection that nobody used for long; or it went away without a word.
                    Ok(Err(_)) | Err(_) if !is_new => self.forget(),
                    // A list that takes too long, or ends half-way, is the list's fault: there was a connection.
                    Ok(Err(e)) if size == Size::Whole => return Err(Away::Unanswered(gone(&e).why())),
                    Err(_) if size == Size::Whole => return Err(Away::Unanswered(late().why())),
                    Ok(Err(e)) => return Err(gone(&e)),
                    Err(_) => {
                        self.pass_over(at);
                        return Err(late());
                    }
                }
            }
        };
        let found = match tokio::time::timeout(within, asked).await {
            Ok(found) => found,
            Err(_) if size == Size::Whole => Err(Away::Unanswered(late().why())),
            Err(_) => {
                self.pass_over(with.load(Ordering::Relaxed));
                Err(late())
            }
        };
        if found.is_err() {
            self.forget();
        }
        found
    }

    /// Whether this is the password of the entry. An empty one never is: a server would take the question for no login at all.
    ///
    /// # Errors
    /// When no server says.
    pub async fn is_password(&self, dn: &str, password: &str) -> Result<bool> {
        if dn.is_empty() || password.is_empty() {
            return Ok(false);
        }
        let with = AtomicUsize::new(NO_SERVER);
        let asked = async {
            let _place = self.logins.acquire().await.map_err(|e| Away::Unanswered(e.to_string()))?;
            // A new one: a connection belongs to whoever logged in by it last.
            let (mut ldap, at) = Box::pin(self.connect()).await?;
            with.store(at, Ordering::Relaxed);
            let said = Box::pin(ldap.simple_bind(dn, password)).await.map_err(|e| gone(&e))?;
            let _ = ldap.unbind().await;
            match said.rc {
                0 => Ok(true),
                rc if SERVERS_OWN.contains(&rc) => {
                    Err(Away::Unanswered(format!("a login was answered with {}", named(rc))))
                }
                _ => Ok(false),
            }
        };
        match tokio::time::timeout(WITHIN, asked).await {
            Ok(said) => said,
            Err(_) => {
                self.pass_over(with.load(Ordering::Relaxed));
                Err(late())
            }
        }
    }

    async fn ask(
        &self,
        ldap: &mut Ldap,
        (base, depth): (&str, Depth),
        filter: &str,
        attributes: &[&str],
        most: i32,
    ) -> std::result::Result<Result<Option<Vec<Entry>>>, LdapError> {
        let aliases = match self.directory.aliases {
            Aliases::Never => DerefAliases::Never,
            Aliases::Searching => DerefAliases::Searching,
            Aliases::Finding => DerefAliases::Finding,
            Aliases::Always => DerefAliases::Always,
        };
        let scope = match depth {
            Depth::Itself => Scope::Base,
            Depth::Tree if self.directory.whole_tree => Scope::Subtree,
            Depth::Tree => Scope::OneLevel,
        };
        let mut adapters: Vec<Box<dyn Adapter<'_, &str, Vec<&str>>>> = vec![Box::new(EntriesOnly::new())];
        if self.directory.page_size > 0 && depth == Depth::Tree && most == 0 {
            adapters.push(Box::new(PagedResults::new(self.directory.page_size)));
        }
        let ldap = ldap.with_search_options(SearchOptions::new().deref(aliases).sizelimit(most));
        let mut stream =
            ldap.streaming_search_with(adapters, base, scope, filter, attributes.to_vec()).await?;
        let (mut found, mut size) = (Vec::new(), 0);
        while let Some(entry) = stream.next().await? {
            let entry = Entry::read(SearchEntry::construct(entry));
            size += entry.size();
            if found.len() >= MOST_ENTRIES || size > MOST_BYTES {
                let all = format!(
                    "there are more than {MOST_ENTRIES} entries, or {} MiB of them",
                    MOST_BYTES >> 20
                );
                return Ok(Err(Away::Unanswered(all)));
            }
            found.push(entry);
        }
        let said = stream.finish().await;
        Ok(match said.rc {
            0 => Ok(Some(found)),
            // More than were asked for are there.
            SIZE_LIMIT if most > 0 && !found.is_empty() => Ok(Some(found)),
            NO_SUCH_OBJECT => Ok(None),
            // Of some entries nothing would be known, which is not that they are gone.
            rc => Err(Away::Unanswered(format!("a search was answered with {}", named(rc)))),
        })
    }

    /// A connection that was used lately, or a new one; `with` gets the server that is waited for.
    async fn reading(&self, with: &AtomicUsize) -> Result<Reading> {
        let kept = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            let lifetime = self.directory.pool_lifetime;
            idle.retain_mut(|r| {
                r.since.elapsed() < lifetime && r.used.elapsed() < IDLE && !r.ldap.is_closed()
            });
            idle.pop()
        };
        if let Some(kept) = kept {
            with.store(kept.at, Ordering::Relaxed);
            return Ok(kept);
        }
        let mut tries = self.directory.urls.len();
        let (ldap, at, said) = loop {
            tries = tries.saturating_sub(1);
            let (mut ldap, at) = self.connect().await?;
            with.store(at, Ordering::Relaxed);
            let Some((user, password)) = &self.directory.reader else { break (ldap, at, None) };
            let said = ldap.simple_bind(user, &password.0);
            match tokio::time::timeout(self.directory.connect_within, said).await {
                Ok(Ok(said)) => break (ldap, at, Some(said)),
                // One that takes connections and says nothing is no better than one that takes none.
                Ok(Err(_)) | Err(_) if tries > 0 => self.pass_over(at),
                Ok(Err(e)) => return Err(gone(&e)),
                Err(_) => {
                    self.pass_over(at);
                    return Err(late());
                }
            }
        };
        if let Some(said) = said {
            match said.rc {
                0 => {}
                49 => return Err(Away::Unreached("[ldap] user and password are not taken".into())),
                rc => {
                    let answered = format!("the login of [ldap] user was answered with {}", named(rc));
                    return Err(Away::Unreached(answered));
                }
            }
        }
        let now = Instant::now();
        Ok(Reading { ldap, since: now, used: now, is_new: true, at })
    }

    /// From now on the server after this one is tried first; unless another one is already, since somebody else has found so.
    fn pass_over(&self, at: usize) {
        let next = (at.wrapping_add(1)) % self.directory.urls.len().max(1);
        let _ = self.first.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn keep(&self, reading: Reading) {
        if self.directory.pool_lifetime.is_zero() {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.directory.pool_size {
            idle.push(Reading { is_new: false, used: Instant::now(), ..reading });
        }
    }

    /// When one connection has gone, the others mostly have too.
    fn forget(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// A connection to the first server that takes one, and which it is.
    async fn connect(&self) -> Result<(Ldap, usize)> {
        let urls = &self.directory.urls;
        let first = self.first.load(Ordering::Relaxed);
        let mut why = String::new();
        for n in 0..urls.len() {
            let at = first.wrapping_add(n) % urls.len().max(1);
            let Some(url) = urls.get(at) else { continue };
            match tokio::time::timeout(self.directory.connect_within, self.connect_to(url)).await {
                Ok(Ok(ldap)) => {
                    // Meanwhile somebody may have passed over one that takes connections.
                    let _ = self.first.compare_exchange(first, at, Ordering::Relaxed, Ordering::Relaxed);
                    return Ok((ldap, at));
                }
                Ok(Err(e)) => why = format!("{}: {e}", url.host_str().unwrap_or_default()),
                Err(_) => why = format!("{}: it did not answer in time", url.host_str().unwrap_or_default()),
            }
        }
        Err(Away::Unreached(why))
    }

    async fn connect_to(&self, url: &Url) -> std::result::Result<Ldap, LdapError> {
        let tls = match &self.tls {
            Some(config) if url.scheme() == "ldaps" => wire::Tls::AtOnce(Arc::clone(config)),
            Some(config) if self.directory.start_tls => wire::Tls::Asked(Arc::clone(config)),
            _ => wire::Tls::None,
        };
        let stream = wire::connect(url, tls).await?;
        let settings = LdapConnSettings::new().set_std_stream(StdStream::Unix(stream));
        // The library has no name for a pair; it is told of none that it would look for.
        let (connection, ldap) = LdapConnAsync::with_settings(settings, "ldapi:///").await?;
        // Ends with the last handle.
        tokio::spawn(async move {
            if let Err(e) = connection.drive().await {
                tracing::debug!(error = %e, "a connection to a directory ended");
            }
        });
        Ok(ldap)
    }
}

/// How deep a search goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// The entry alone.
    Itself,
    /// Below it, as far as `query_scope` says.
    Tree,
}

/// How much is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// Any entry.
    One,
    /// A few entries.
    Few,
    /// All that there are.
    Whole,
}

/// What is said in time.
///
/// # Errors
/// When nothing is known by then.
pub async fn timed<T>(within: Duration, asked: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(within, asked).await {
        Ok(said) => said,
        Err(_) => Err(late()),
    }
}

fn late() -> Away {
    Away::Unreached("it did not answer in time".into())
}

/// An error of the connection. What a server says of a login may repeat what was sent, so it is not in it.
fn gone(e: &LdapError) -> Away {
    match e {
        LdapError::LdapResult { result } => {
            Away::Unanswered(format!("it answered with {}", named(result.rc)))
        }
        other => Away::Unreached(other.to_string()),
    }
}

/// The code of an answer with its name (RFC 4511, appendix A), where what is asked here may get it.
fn named(code: u32) -> String {
    let name = match code {
        1 => "operationsError",
        2 => "protocolError",
        3 => "timeLimitExceeded",
        4 => "sizeLimitExceeded",
        7 => "authMethodNotSupported",
        8 => "strongerAuthRequired",
        10 => "referral",
        11 => "adminLimitExceeded",
        12 => "unavailableCriticalExtension",
        13 => "confidentialityRequired",
        18 => "inappropriateMatching",
        32 => "noSuchObject",
        34 => "invalidDNSyntax",
        48 => "inappropriateAuthentication",
        49 => "invalidCredentials",
        50 => "insufficientAccessRights",
        51 => "busy",
        52 => "unavailable",
        53 => "unwillingToPerform",
        _ => return format!("code {code}"),
    };
    format!("code {code}, {name}")
}

fn trusting(directory: &Directory) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let mut add = |file: &Path| {
        let fault = |e: &dyn std::fmt::Display| Away::Unreached(format!("{}: {e}", file.display()));
        // Whoever opens a pipe waits for somebody to write.
        if !std::fs::metadata(file).map_err(|e| fault(&e))?.is_file() {
            return Err(fault(&"is not a file"));
        }
        let found: Vec<CertificateDer<'static>> =
            CertificateDer::pem_file_iter(file).and_then(|found| found.collect()).map_err(|e| fault(&e))?;
        found.into_iter().try_for_each(|one| roots.add(one).map_err(|e| fault(&e)))
    };
    if let Some(file) = &directory.ca_file {
        add(file)?;
    }
    if let Some(dir) = &directory.ca_dir {
        let files = std::fs::read_dir(dir).map_err(|e| Away::Unreached(format!("{}: {e}", dir.display())))?;
        for file in files.flatten().map(|entry| entry.path()).filter(|path| path.is_file()) {
            // There are others than certificates.
            let _ = add(&file);
        }
    }
    if directory.ca_file.is_none() && directory.ca_dir.is_none() {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_bytes_are_a_uuid() {
        let id = *b"\x33\x22\x11\x00\x55\x44\x77\x66\x88\x99\xaa\xbb\xcc\xdd\xee\xff";
        assert_eq!(text(&id).as_deref(), Some("00112233-4455-6677-8899-aabbccddeeff"));
        assert_eq!((text(b"\xff\xfe"), text("ü".as_bytes())), (None, Some("ü".to_owned())));
    }

    fn directory(url: &str) -> Arc<Directory> {
        let set = |name: &str| match name {
            "url" => Some(url.to_owned()),
            "connection_timeout" => Some("1".to_owned()),
            _ => None,
        };
        Arc::new(Directory::read(&set).expect("reads"))
    }

    #[test]
    fn certificates_are_read_from_files_alone() {
        // Whoever opens a pipe, or reads a device, may never come back.
        for file in ["/dev/null", "/", "/nowhere"] {
            let set = |name: &str| match name {
                "url" => Some("ldaps://127.0.0.1:1".to_owned()),
                "tls_cacertfile" => Some(file.to_owned()),
                _ => None,
            };
            let directory = Arc::new(Directory::read(&set).expect("reads"));
            let made = Client::new(directory).map(drop);
            assert!(matches!(made, Err(Away::Unreached(_))), "{file}: {made:?}");
        }
    }

    #[tokio::test]
    async fn a_list_that_is_refused_says_nothing_of_the_server() {
        // The size limit is exceeded; the server does not listen.
        let limit = b"\x30\x0c\x02\x01\x01\x65\x07\x0a\x01\x04\x04\x00\x04\x00".to_vec();
        let list = async |client: Client| {
            let found = client.search(("ou=x", Depth::Tree), "(a=b)", &["a"], Size::Whole).await;
            found.map(drop).expect_err("no list")
        };
        assert!(matches!(list(server_that_says(limit).await).await, Away::Unanswered(_)));
        let nobody = Client::new(directory("ldap://127.0.0.1:1")).expect("made");
        assert!(matches!(list(nobody).await, Away::Unreached(_)));
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_away() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let client = Client::new(directory(&format!("ldap://127.0.0.1:{port}"))).expect("made");
        let found = client.search(("ou=x", Depth::Tree), "(a=b)", &["a"], Size::Few).await;
        assert!(found.is_err(), "{found:?}");
        assert!(client.is_password("cn=a", "p").await.is_err());
        assert_eq!(client.is_password("cn=a", "").await, Ok(false), "nobody is asked");
        assert_eq!(client.is_password("", "p").await, Ok(false), "nobody is asked");
    }

    #[tokio::test]
    async fn a_server_that_talks_of_something_else_is_away() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move {
            use tokio::io::AsyncWriteExt;
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n\x30\x84\xff\xff\xff\xff").await;
            }
        });
        let client = Client::new(directory(&format!("ldap://127.0.0.1:{port}"))).expect("made");
        assert!(client.is_password("cn=a", "p").await.is_err());
    }

    /// The messages that a server answers each connection with, whatever is asked.
    async fn server_that_says(answer: Vec<u8>) -> Client {
        server(answer, true).await
    }

    /// The same; then it hangs up.
    async fn server_that_says_and_ends(answer: Vec<u8>) -> Client {
        server(answer, false).await
    }

    async fn server(answer: Vec<u8>, stays: bool) -> Client {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut question = [0; 1024];
                let _ = stream.read(&mut question).await;
                let _ = stream.write_all(&answer).await;
                while stays && stream.read(&mut question).await.is_ok_and(|n| n > 0) {}
            }
        });
        Client::new(directory(&format!("ldap://127.0.0.1:{port}"))).expect("made")
    }

    /// A value of ASN.1 in at most 127 bytes.
    fn ber(tag: u8, content: &[u8]) -> Vec<u8> {
        [&[tag, u8::try_from(content.len()).expect("short")], content].concat()
    }

    #[tokio::test]
    async fn nobody_goes_where_a_server_refers_to() {
        let elsewhere = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        elsewhere.set_nonblocking(true).expect("may");
        let url = format!("ldap://{}/ou=x", elsewhere.local_addr().expect("an address"));
        let url = ber(0x04, url.as_bytes());
        let message = |of: Vec<u8>| ber(0x30, &[&[2, 1, 1], of.as_slice()].concat());
        // As one of the answers it is passed over, as the whole answer it is none.
        let part = message(ber(0x73, &url));
        let end = message(ber(0x65, b"\x0a\x01\x00\x04\x00\x04\x00"));
        let whole =
            message(ber(0x65, &[b"\x0a\x01\x0a\x04\x00\x04\x00", ber(0xa3, &url).as_slice()].concat()));
        for (answer, is_none) in [([part, end].concat(), false), (whole, true)] {
            let client = server_that_says(answer).await;
            let found = client.search(("ou=x", Depth::Itself), "(a=b)", &["a"], Size::Few).await;
            assert_eq!((found.is_err(), found.unwrap_or_default()), (is_none, (!is_none).then(Vec::new)));
        }
        let bound =
            message(ber(0x61, &[b"\x0a\x01\x0a\x04\x00\x04\x00", ber(0xa3, &url).as_slice()].concat()));
        assert!(server_that_says(bound).await.is_password("cn=a", "p").await.is_err());
        let came = elsewhere.accept().map_err(|e| e.kind());
        assert_eq!(came.expect_err("nobody came"), std::io::ErrorKind::WouldBlock);
    }

    #[tokio::test]
    async fn no_bit_of_an_answer_stops_who_reads_it() {
        use super::super::message::{Answer, header};
        let message = |of: &[u8]| ber(0x30, &[&[2, 1, 1], of].concat());
        let value = ber(0x31, &[ber(4, b"alice"), ber(4, b"\xff")].concat());
        let attributes = ber(0x30, &ber(0x30, &[ber(4, b"cn"), value].concat()));
        let entry = message(&ber(0x64, &[ber(4, b"cn=alice"), attributes].concat()));
        let page =
            ber(0x30, &[ber(4, b"1.2.840.113556.1.4.319"), ber(4, b"\x30\x05\x02\x01\x00\x04\x00")].concat());
        let end = b"\x65\x07\x0a\x01\x00\x04\x00\x04\x00";
        let last = message(&[end.as_slice(), &ber(0xa0, &page)].concat());
        for (first, second) in [(&entry, true), (&last, false)] {
            let after = if second { message(end) } else { Vec::new() };
            for (n, bit) in (0..first.len()).flat_map(|n| (0..8).map(move |bit| (n, bit))) {
                let mut said = first.clone();
                said[n] ^= 1 << bit;
                let is_handed_on = n > 1 && Answer::of(&said[2..]).is_ok_and(|answer| answer.is_to(1));
                assert_eq!(header(&said).is_ok_and(|h| h == header(first).expect("whole")), n > 1);
                let client = server_that_says_and_ends([said.as_slice(), &after].concat()).await;
                let found = client.search(("ou=x", Depth::Tree), "(a=b)", &["a"], Size::Few).await;
                // What the library cannot take ends its connection.
                let is_taken = !matches!(found, Err(Away::Unreached(_)));
                assert!(is_taken || !is_handed_on, "bit {bit} of byte {n} of {first:02x?}: {found:?}");
            }
        }
    }

    #[tokio::test]
    async fn messages_without_end_are_not_read() {
        // Each in another one, and nothing in the last.
        let level = |inner: u32| [&[0x30, 0x84], (6 * inner).to_be_bytes().as_slice()].concat();
        let deep = (0..170_000).rev().flat_map(level).collect();
        let long = [b"\x30\x84\x7f\xff\xff\xff\x02\x01\x01".as_slice(), &[0; 1 << 20]].concat();
        for said in
            [deep, long, b"\x30\x80\x02\x01\x01".to_vec(), b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()]
        {
            let client = server_that_says(said).await;
            let found = client.search(("ou=x", Depth::Itself), "(a=b)", &["a"], Size::Few).await;
            assert!(matches!(found, Err(Away::Unreached(_))), "{found:?}");
            assert!(client.is_password("cn=a", "p").await.is_err());
        }
    }

    #[tokio::test]
    async fn a_connection_that_says_nothing_any_more_is_replaced() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    let mut question = [0; 1024];
                    let _ = stream.read(&mut question).await;
                    // The end of the first search: message 1, success. Nothing is said to what comes then.
                    let end = b"\x30\x0c\x02\x01\x01\x65\x07\x0a\x01\x00\x04\x00\x04\x00";
                    let _ = stream.write_all(end).await;
                    while stream.read(&mut question).await.is_ok_and(|n| n > 0) {}
                });
            }
        });
        let client = Client::new(directory(&format!("ldap://127.0.0.1:{port}"))).expect("made");
        for n in 1..=2 {
            let found = client.search(("ou=x", Depth::Itself), "(a=b)", &["a"], Size::Few).await;
            assert_eq!(found, Ok(Some(vec![])));
            assert_eq!(connections.load(Ordering::Relaxed), n);
        }
    }
}
