//! `vicar-demo`: the story of delegated authority, told to an identity server over HTTP and checked at every
//! step.
//!
//! Without an address it is told to a fresh server, a child process whose data is removed afterwards.

// It tells what it found to a reader; nobody depends on it.
#![allow(clippy::indexing_slicing)]

mod client;
mod cloud;
mod generate;
mod page;
mod random;
mod server;
mod stage;
mod story;
mod time;
mod tree;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{CommandFactory, Parser};

use client::Client;
use cloud::{Login, Password};
use page::Page;
use server::Server;
use stage::Admin;

/// Play the story of delegated authority on a fresh server, or on a running one, and check each step
#[derive(Debug, Parser)]
#[command(
    name = "vicar-demo",
    version,
    after_help = "\
On a running server, the name of everything that is created begins with `vicar-demo-`. All of it is removed in
the end, also when the story breaks off. So is a role member, reader or service if it was missing.

Exit codes:
  0  everything was as it must be
  1  something was not, or the story could not be told to its end
  2  the command line cannot be understood"
)]
struct Options {
    /// The server's program, which is started for this story [default: $VICAR_DEMO_SERVER, or `vicar` beside this
    /// program, or in PATH]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["url", "os_cloud"])]
    server: Option<PathBuf>,
    /// Play on this running server, as the user `admin` on the project `admin`
    #[arg(long, value_name = "URL", conflicts_with = "os_cloud")]
    url: Option<String>,
    /// The password of that user (better in the variable: other users can read a command line)
    #[arg(long, value_name = "PASSWORD", env = PASSWORDS[0], hide_env_values = true)]
    #[arg(value_parser = |text: &str| Ok::<_, std::convert::Infallible>(Password(text.to_owned())))]
    password: Option<Password>,
    /// Play on this cloud of clouds.yaml, as its user, who must be an administrator
    #[arg(long, value_name = "NAME")]
    os_cloud: Option<String>,
    /// Make manual pages or completions in the working directory, for packages
    #[arg(long, hide = true, exclusive = true, value_enum)]
    generate: Option<generate::Kind>,
}

/// The variables with the password. The first that is set counts; the others are older names.
const PASSWORDS: [&str; 3] = ["OS_BOOTSTRAP_PASSWORD", "VICAR_BOOTSTRAP_PASSWORD", "VICAR_DEMO_PASSWORD"];

impl Options {
    /// The password, if it is given in any way.
    fn password(&self) -> Option<Password> {
        let given = self.password.clone().filter(|p| !p.0.is_empty());
        let set = |name| std::env::var(name).ok().filter(|p: &String| !p.is_empty()).map(Password);
        given.or_else(|| PASSWORDS.into_iter().find_map(set))
    }
}

/// Why the story is not told to its end, in words.
#[derive(Debug)]
struct Stop(String);

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(kind) = options.generate {
        return generate::run(kind).map_or_else(|why| complain(&why), |()| ExitCode::SUCCESS);
    }
    if options.url.is_some() && options.password().is_none() {
        let lacks = format!(
            "--url needs the password of `admin`: --password, or better the variable {}",
            PASSWORDS[0]
        );
        Options::command().error(clap::error::ErrorKind::MissingRequiredArgument, lacks).exit();
    }
    match run(&options) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(wrong) => complain(&format!("{wrong} of the checks above failed")),
        Err(why) => complain(&why),
    }
}

/// Writes one line on standard error.
fn complain(why: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "vicar-demo: {}", why.replace('\n', " "));
    ExitCode::FAILURE
}

/// Runs the story and prints it. Returns the number of checks that failed.
///
/// # Errors
/// Why the story could not be told to its end.
fn run(options: &Options) -> Result<usize, String> {
    let mut page = Page::new();
    let told = tell(options, &mut page);
    page.end(told.is_ok());
    match told {
        Ok(()) => Ok(page.failed()),
        Err(Stop(why)) => Err(page.readable(&why)),
    }
}

fn tell(options: &Options, page: &mut Page) -> Result<(), Stop> {
    let stop = watch_signals()?;
    match (&options.url, options.password(), &options.os_cloud) {
        (Some(url), Some(password), _) => there(page, &Login::admin(url, &password), &stop),
        (_, _, Some(cloud)) => there(page, &Login::of_cloud(cloud)?, &stop),
        _ => here(page, options, &stop),
    }
}

/// On a server of its own, which is gone afterwards.
fn here(page: &mut Page, options: &Options, stop: &Arc<AtomicBool>) -> Result<(), Stop> {
    let named = std::env::var_os("VICAR_DEMO_SERVER").filter(|name| !name.is_empty()).map(PathBuf::from);
    let server = Server::start(options.server.as_deref().or(named.as_deref()))?;
    let login = server.login()?;
    let client = Client::new(&login.url, &login.trust, Arc::clone(stop))?;
    page.title(&format!("on a fresh server at {}", login.url));
    let mut admin = Admin::enter(&client, page, &login, "")?;
    story::tell(&client, page, &mut admin)
}

/// On a running server, which is left as it was found.
fn there(page: &mut Page, login: &Login, stop: &Arc<AtomicBool>) -> Result<(), Stop> {
    let client = Client::new(&login.url, &login.trust, Arc::clone(stop))?;
    let prefix: String = random::hex().chars().take(6).collect();
    let prefix = format!("vicar-demo-{prefix}-");
    page.title(&format!("on the server at {}, where all names begin with {prefix}", login.url));
    let mut admin = Admin::enter(&client, page, login, &prefix)?;
    let told = story::tell(&client, page, &mut admin);
    // The first signal ended the story. A second one ends the clean-up too.
    stop.store(false, Ordering::SeqCst);
    let cleaned = admin.clean_up(&client, page);
    told.and(cleaned)
}

/// A flag that a signal raises: the request under way is finished, the next one is not begun.
fn watch_signals() -> Result<Arc<AtomicBool>, Stop> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let raised = Arc::new(AtomicBool::new(false));
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&raised))
            .map_err(|e| Stop(format!("signals: {e}")))?;
    }
    Ok(raised)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Options::command().debug_assert();
    }
}
