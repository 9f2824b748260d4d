//! Where log lines go: to standard error, and what concerns security to a file of its own if one is named. Both have a
//! queue, so that no request waits for a file; `log_queue.rs` says what that promises.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use clap::{Args, ValueEnum};
use prometheus_client::metrics::counter::Counter;
use tracing::Metadata;
use tracing_subscriber::filter::{EnvFilter, FilterExt, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt, reload};

use super::failure::Failure;
use super::log_queue::{Line, Out, Queue};
use super::log_time;
use crate::config::Config;
use crate::security;

/// The options of the log.
#[derive(Debug, Args)]
pub(super) struct LogOptions {
    /// The form of the log lines on standard error [default: text]
    #[arg(long, value_enum, env = "VICAR_LOG_FORMAT")]
    log_format: Option<LogFormat>,
    /// off, error, warn, info, debug, trace; also per part, like `warn,vicar::http=info`. Without it, `info`, or
    /// `debug` if `[DEFAULT] debug` says so
    #[arg(long, value_name = "LEVEL", env = "VICAR_LOG_LEVEL", value_parser = Level::from_str)]
    log_level: Option<Level>,
    /// A file that is appended to and in which each event of security is a line of JSON, or `off`. Without it they are
    /// among the other log lines, in the part vicar::security
    #[arg(long, value_name = "FILE|off", env = "VICAR_SECURITY_LOG")]
    security_log: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    Json,
    Text,
}

/// A level for everything, or for parts, which are checked: a misspelt one would silence the log.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Level(String);

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// What besides this program writes log lines.
const OTHERS: [&str; 4] = ["sqlx", "sqlx_core", "sqlx_mysql", "sqlx_postgres"];

/// Where the parts of this program are named: their modules, as far down as they are checked.
const PARTS: &[(&str, &str)] = &[
    ("", include_str!("../lib.rs")),
    ("auth", include_str!("../auth/mod.rs")),
    ("authz", include_str!("../authz/mod.rs")),
    ("cli", include_str!("mod.rs")),
    ("config", include_str!("../config/mod.rs")),
    ("crypto", include_str!("../crypto/mod.rs")),
    ("directory", include_str!("../directory/mod.rs")),
    ("dispatch", include_str!("../dispatch/mod.rs")),
    ("explain", include_str!("../explain/mod.rs")),
    ("facts", include_str!("../facts/mod.rs")),
    ("http", include_str!("../http/mod.rs")),
    ("notifications", include_str!("../notifications/mod.rs")),
    ("oidc", include_str!("../oidc/mod.rs")),
    ("policy_file", include_str!("../policy_file/mod.rs")),
    ("resource", include_str!("../resource/mod.rs")),
    ("resources", include_str!("../resources/mod.rs")),
    ("store", include_str!("../store/mod.rs")),
];

/// The modules that a source file declares.
fn modules(code: &str) -> impl Iterator<Item = &str> {
    code.lines().filter_map(|line| {
        let line = line.strip_prefix("pub ").or_else(|| line.strip_prefix("pub(crate) ")).unwrap_or(line);
        line.strip_prefix("mod ")?.strip_suffix(';')
    })
}

/// Checks that a part of a log level can have log lines.
fn check_part(part: &str) -> Result<(), String> {
    let mut names = part.split("::");
    match names.next() {
        Some("vicar") => {}
        Some(other) if OTHERS.contains(&other) => return Ok(()),
        _ => return Err(format!("there is no part `{part}`; there are vicar, {}", OTHERS.join(", "))),
    }
    let (first, second) = (names.next(), names.next());
    for (above, name) in [(Some(""), first), (first, second)] {
        let (Some(above), Some(name)) = (above, name) else { break };
        let Some((_, code)) = PARTS.iter().find(|(part, _)| *part == above) else { continue };
        if !modules(code).any(|known| known == name) {
            let known: Vec<&str> = modules(code).collect();
            let above = if above.is_empty() { "vicar".to_owned() } else { format!("vicar::{above}") };
            return Err(format!("there is no part `{part}`; below {above} there are {}", known.join(", ")));
        }
    }
    Ok(())
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut seen = Vec::new();
        for directive in text.split(',').map(str::trim) {
            let (part, level) = match directive.split_once('=') {
                Some((part, level)) => (Some(part), level),
                None => (None, directive),
            };
            let level = level.to_ascii_lowercase();
            if !LEVELS.contains(&level.as_str()) {
                return Err(format!(
                    "`{directive}` is no level; possible are {}, alone or for a part, like `warn,vicar::http=info`",
                    LEVELS.join(", ")
                ));
            }
            if let Some(part) = part {
                check_part(part)?;
            }
            seen.push(part.map_or_else(|| level.clone(), |part| format!("{part}={level}")));
        }
        let seen = seen.join(",");
        EnvFilter::try_new(&seen).map_err(|e| e.to_string())?;
        Ok(Self(seen))
    }
}

/// Changes the log of a running server.
#[derive(Debug)]
pub(super) struct Log {
    filter: reload::Handle<EnvFilter, Registry>,
    /// Whether the level was given on the command line or by the environment, and so stays.
    is_fixed: bool,
    file: Option<(Appended, Queue)>,
    lines: Queue,
    dropped: Counter,
    /// How many dropped lines were said.
    said: u64,
}

/// The queues of this process, which are written to the end before it ends.
static QUEUES: OnceLock<Vec<Queue>> = OnceLock::new();

/// How long nothing at all may be written until the rest is given up: when the program ends, and at a panic.
const PATIENCE_AT_END: Duration = Duration::from_secs(5);
const PATIENCE_AT_PANIC: Duration = Duration::from_secs(1);

fn flush(patience: Duration) {
    for queue in QUEUES.get().into_iter().flatten() {
        queue.flush(patience);
    }
}

/// Waits until what was logged by now is written.
pub(super) fn finish() {
    flush(PATIENCE_AT_END);
}

/// The same after the line of a panic, which may be the last one.
pub(super) fn finish_panic() {
    flush(PATIENCE_AT_PANIC);
}

/// A file that is appended to. One that was renamed is left when it is opened again.
#[derive(Debug, Clone)]
struct Appended {
    path: Arc<PathBuf>,
    /// Held for the time that it takes to copy the pointer, never over I/O.
    file: Arc<RwLock<Arc<File>>>,
    lost: Arc<Lost>,
}

/// How many lines could not be written since that was said last, and why the last one was not.
#[derive(Debug, Default)]
struct Lost(Mutex<Option<(u64, std::io::Error)>>);

impl Lost {
    fn lock(&self) -> MutexGuard<'_, Option<(u64, std::io::Error)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Appended {
    fn open(path: PathBuf) -> std::io::Result<Self> {
        let file = Arc::new(RwLock::new(Arc::new(Self::appending(&path)?)));
        Ok(Self { path: Arc::new(path), file, lost: Arc::default() })
    }

    fn appending(path: &PathBuf) -> std::io::Result<File> {
        std::fs::OpenOptions::new().append(true).create(true).mode(0o640).open(path)
    }

    fn reopen(&self) -> std::io::Result<()> {
        let file = Arc::new(Self::appending(&self.path)?);
        *self.file.write().unwrap_or_else(PoisonError::into_inner) = file;
        Ok(())
    }
}

impl Out for Appended {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let file = Arc::clone(&self.file.read().unwrap_or_else(PoisonError::into_inner));
        (&*file).write(bytes)
    }

    fn lost(&mut self, lines: u64, why: &std::io::Error) {
        let mut lost = self.lost.lock();
        let before = lost.take().map_or(0, |(count, _)| count);
        let why = why.raw_os_error().map_or_else(|| why.kind().into(), std::io::Error::from_raw_os_error);
        *lost = Some((before + lines, why));
    }
}

/// Standard error.
struct Console;

impl Out for Console {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        std::io::stderr().write(bytes)
    }

    /// There is no other place to say so; the metrics count it.
    fn lost(&mut self, _: u64, _: &std::io::Error) {}
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        self.line(false)
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> Line<'a> {
        self.line(is_security(event))
    }
}

const TIME: fn(&mut Writer<'_>) -> std::fmt::Result = log_time::write;

fn is_security(event: &Metadata<'_>) -> bool {
    event.target() == security::TARGET
}

/// The level that a configuration asks for.
fn configured(config: &Config) -> Result<EnvFilter, Failure> {
    let usual = if config.debug { "debug" } else { "info" };
    let level = match &config.serving.log_level {
        None => usual.to_owned(),
        Some(text) => {
            let wrong = |e| Failure::Config(format!("configuration: [vicar] log_level: {e}"));
            text.parse::<Level>().map_err(wrong)?.0
        }
    };
    Ok(EnvFilter::new(level))
}

impl LogOptions {
    /// Begins to log.
    pub(super) fn start(self, config: &Config) -> Result<Log, Failure> {
        let is_fixed = self.log_level.is_some();
        let filter = match self.log_level {
            Some(level) => EnvFilter::new(level.0),
            None => configured(config)?,
        };
        let usual = match config.serving.log_format.as_deref() {
            Some("json") => LogFormat::Json,
            _ => LogFormat::Text,
        };
        let security_log = self.security_log.or_else(|| config.serving.security_log.clone());
        let (filter, handle) = reload::Layer::new(filter);
        let dropped = Counter::default();
        let queue =
            |out: Result<Queue, std::io::Error>| out.map_err(|e| Failure::Failed(format!("log: {e}")));
        let console = queue(Queue::start(Console, dropped.clone()))?;
        let lines = fmt::layer().with_timer(TIME).with_writer(console.clone());
        let apart = security_log.is_some();
        let filter = filter.and(filter_fn(move |event| !(apart && is_security(event))));
        let lines: Box<dyn Layer<Registry> + Send + Sync> = match self.log_format.unwrap_or(usual) {
            LogFormat::Json => {
                let lines = lines.json().flatten_event(true);
                Box::new(lines.with_current_span(false).with_span_list(false).with_filter(filter))
            }
            LogFormat::Text => Box::new(lines.with_filter(filter)),
        };
        let file = match security_log {
            Some(path) if path.as_os_str() != "off" => {
                let wrong =
                    |e| Failure::Io(format!("{}: the security log cannot be opened: {e}", path.display()));
                Some(Appended::open(path.clone()).map_err(wrong)?)
            }
            _ => None,
        };
        let file = match file {
            Some(file) => Some((file.clone(), queue(Queue::start(file, dropped.clone()))?)),
            None => None,
        };
        let events = file.as_ref().map(|(_, queue)| queue.clone());
        let queues = std::iter::once(&console).chain(&events).cloned().collect();
        let events = events.map(|queue| {
            fmt::layer()
                .json()
                .flatten_event(true)
                .with_current_span(false)
                .with_span_list(false)
                .with_level(false)
                .with_target(false)
                .with_timer(TIME)
                .with_writer(queue)
                .with_filter(filter_fn(is_security))
        });
        // A subscriber that is there already means a second start in one process.
        tracing_subscriber::registry()
            .with(lines)
            .with(events)
            .try_init()
            .map_err(|e| Failure::Failed(format!("log: {e}")))?;
        let _ = QUEUES.set(queues);
        Ok(Log { filter: handle, is_fixed, file, lines: console, dropped, said: 0 })
    }
}

impl Log {
    /// Sets the level that the configuration asks for, unless the command line or the environment say one.
    pub(super) fn configure(&self, config: &Config) {
        if self.is_fixed {
            return;
        }
        let changed = configured(config)
            .map_err(|e| e.to_string())
            .and_then(|f| self.filter.reload(f).map_err(|e| e.to_string()));
        if let Err(error) = changed {
            tracing::error!(error, "the log level could not be changed");
        }
    }

    /// How many lines were dropped, of either log.
    pub(super) fn dropped(&self) -> &Counter {
        &self.dropped
    }

    /// Logs how many lines were dropped since the last call, once there is room again to say so, and how many of the
    /// security log could not be written.
    pub(super) fn report_lost(&mut self) {
        let dropped = self.dropped.get();
        if dropped > self.said && self.lines.has_room() {
            tracing::warn!(
                count = dropped - self.said,
                "log lines were dropped: they are written too slowly"
            );
            self.said = dropped;
        }
        if let Some((file, _)) = &self.file
            && let Some((count, error)) = file.lost.lock().take()
        {
            tracing::error!(file = %file.path.display(), count, %error, "the security log cannot be written");
        }
    }

    /// Opens the security log again, which may have been renamed. One that cannot be opened goes on in the old file.
    pub(super) fn reopen(&self) {
        let Some((file, queue)) = &self.file else { return };
        // What was logged before belongs into the old file.
        queue.flush(PATIENCE_AT_END);
        if let Err(e) = file.reopen() {
            tracing::error!(file = %file.path.display(), error = %e, "the security log cannot be opened again; the old file is written on");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_for_everything_and_for_parts() {
        for (good, means) in [
            ("info", "info"),
            ("WARN", "warn"),
            ("off", "off"),
            (" warn , vicar::http=info ", "warn,vicar::http=info"),
            (
                "warn,vicar::http::serve=trace,vicar::security=info",
                "warn,vicar::http::serve=trace,vicar::security=info",
            ),
            ("vicar=debug,sqlx::query=off", "vicar=debug,sqlx::query=off"),
            ("vicar::resources::users::http=debug", "vicar::resources::users::http=debug"),
        ] {
            assert_eq!(good.parse(), Ok(Level(means.to_owned())), "{good}");
        }
    }

    #[test]
    fn what_is_misspelt_is_refused_with_the_words_that_are_possible() {
        for (bad, says) in [
            ("verbose", "`verbose` is no level; possible are off, error, warn, info, debug, trace"),
            ("inf", "`inf` is no level"),
            ("", "`` is no level"),
            ("info,", "`` is no level"),
            ("3", "`3` is no level"),
            ("vicar", "`vicar` is no level"),
            ("vicar::http", "`vicar::http` is no level"),
            ("vicar::http=verbose", "`vicar::http=verbose` is no level"),
            ("warn,vicar::http=", "`vicar::http=` is no level"),
            ("info;debug", "is no level"),
            ("info debug", "is no level"),
            ("[span]=debug", "there is no part `[span]`"),
            ("=debug", "there is no part ``; there are vicar, sqlx"),
            ("vicr=debug", "there is no part `vicr`; there are vicar, sqlx"),
            ("vicar::htp=debug", "there is no part `vicar::htp`; below vicar there are app, auth"),
            ("vicar::http::srve=debug", "below vicar::http there are"),
            ("vicar::http =debug", "there is no part"),
            ("vicar=http=debug", "is no level"),
        ] {
            let said = bad.parse::<Level>().expect_err(bad);
            assert!(said.contains(says), "{bad}: {said}");
        }
    }

    /// What `whatever_was_logged_before_a_panic_is_written` runs in a process of its own.
    #[test]
    #[ignore = "it ends the process"]
    fn log_and_panic() {
        let config = Config::defaults(std::path::Path::new("/d")).expect("defaults");
        let options = LogOptions { log_format: None, log_level: None, security_log: None };
        let _log = options.start(&config).expect("starts");
        crate::http::layers::log_panics(finish_panic);
        for number in 0..5000 {
            tracing::info!(number, "a line");
        }
        let _ = std::panic::catch_unwind(|| panic!("it quotes a secret"));
        std::process::abort();
    }

    #[test]
    fn whatever_was_logged_before_a_panic_is_written() {
        let program = std::env::current_exe().expect("this one");
        let output = std::process::Command::new(program)
            .args(["--exact", "cli::log::tests::log_and_panic", "--ignored", "--nocapture"])
            .output()
            .expect("runs");
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said.lines().filter(|line| line.contains("a line")).count(), 5000, "{said}");
        assert!(
            said.contains("ERROR") && said.contains("panic place=") && !said.contains("secret"),
            "{said}"
        );
    }

    #[test]
    fn each_folder_is_among_the_parts() {
        let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        for entry in std::fs::read_dir(source).expect("listed").flatten() {
            let name = entry.file_name().into_string().expect("text");
            if entry.path().join("mod.rs").exists() {
                assert!(PARTS.iter().any(|(part, _)| *part == name), "{name}");
            }
        }
        assert!(modules(include_str!("../lib.rs")).any(|m| m == "policy_file"), "private ones too");
    }
}
