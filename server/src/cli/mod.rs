//! The command line: what an operator does with the program.

mod adopt;
mod backup;
mod before;
mod bootstrap;
mod checks;
mod clouds;
mod config;
mod db;
mod demo;
mod doctor;
mod doubts;
mod explain;
mod failure;
mod files;
mod generate;
mod installation;
mod keys;
mod left_behind;
mod log;
mod log_queue;
mod log_time;
mod mapping;
mod nearest;
mod policy;
mod progress;
mod reload;
mod report;
mod serve;
mod start;
mod status;
mod terminal;
mod tls;
mod trust;
mod why;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::Failure;

/// The table at the end of every help text.
const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the operation failed, `doctor` or `demo` found something that is wrong, or `why` says that it is refused
  2  the command line cannot be understood
  3  the configuration, the policy file or the TLS files cannot be used
  4  a directory or file cannot be entered, read, made or written, or other users can write to it
  5  the database is damaged, busy, empty beside keys, or of a version that this program does not know
  6  keys are missing, cannot be read, or are no keys
  7  the address cannot be listened on, because it is in use or not ours";

#[derive(Debug, Parser)]
#[command(
    name = "vicar",
    version,
    about = "Vicar, an identity service with delegated authority at its heart. It speaks OpenStack Identity v3.",
    after_help = EXIT_CODES,
    subcommand_required = true,
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Play the story of delegated authority on a fresh server, or on a running one, and check each step (runs `vicar-demo`)
    Demo(demo::Demo),
    /// Run the server. An empty data directory is filled first, so no other command is needed before
    Serve(serve::Serve),
    /// Create the first objects (domain, roles, administrator, catalog), give the administrator a new password, or move the service to another URL
    Bootstrap(bootstrap::Bootstrap),
    /// The database's schema
    #[command(subcommand)]
    Db(db::Db),
    /// The keys of tokens (fernet) and of stored credentials (credential)
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Look for what is wrong or soon will be: keys, files, schema, clock, configuration, dead delegations
    Doctor(doctor::Doctor),
    /// What is configured, and what of it has a meaning here
    #[command(subcommand)]
    Config(config::Command),
    /// Ask a running server how it is: what it serves, from which database, with which keys, and whether it is ready
    Status(status::Status),
    /// The rules of policy files
    #[command(subcommand)]
    Policy(policy::Policy),
    /// Mappings: who somebody is here whom an identity provider describes
    #[command(subcommand)]
    Mapping(mapping::Command),
    /// Ended and expired trusts, and delegations that nobody uses
    #[command(subcommand)]
    Trust(trust::Trust),
    /// Say why a token, or whoever uses a trust, may do something or not: what it rests on, what its kind, its access rules and the
    /// policy say. It looks into the database and the keys, and writes nothing
    Why(why::Why),
    /// Make manual pages or completions, for packages
    #[command(hide = true)]
    Generate(generate::Generate),
}

/// What a start refuses of what is stored: rows of a table of docs/configuration.md.
#[cfg(test)]
pub(crate) fn stored_refusals() -> impl Iterator<Item = String> {
    left_behind::rows()
}

/// Runs the program. Errors are one line on standard error, and a code that tells their kind.
pub fn main() -> ExitCode {
    let command = match Cli::parse().command {
        // Another program takes the place of this one, so nothing is started before.
        Command::Demo(c) => return c.run().report(),
        Command::Generate(c) => return c.run().map_or_else(|e| e.report(), |()| ExitCode::SUCCESS),
        command => command,
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(crate::app::threads())
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(e) => return Failure::Failed(format!("threads: {e}")).report(),
    };
    let done = runtime.block_on(async {
        match command {
            Command::Demo(c) => Err(c.run()),
            Command::Generate(c) => c.run(),
            Command::Serve(c) => c.run().await,
            Command::Bootstrap(c) => c.run().await,
            Command::Db(c) => c.run().await,
            Command::Keys(c) => c.run().await,
            Command::Doctor(c) if c.adopt => adopt::run(&c.at, c.json).await,
            Command::Doctor(c) => c.run().await,
            Command::Config(c) => c.run(),
            Command::Status(c) => c.run().await,
            Command::Policy(c) => c.run().await,
            Command::Mapping(c) => c.run(),
            Command::Trust(c) => c.run().await,
            Command::Why(c) => c.run().await,
        }
    });
    // A handler that is stuck in a thread of its own must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    log::finish();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// Writes a line for the operator. Nobody listening any more is no reason to fail.
fn print(line: impl std::fmt::Display) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// The same on standard error.
fn print_error(line: impl std::fmt::Display) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
