//! What ends the program, and with which code.

use std::process::ExitCode;

use super::terminal::{Screen, Style};
use crate::config::ConfigError;
use crate::error::Error;
use crate::store;

/// Why a command did not do what it was asked to. The codes are listed in `--help` and docs/operations.md.
#[derive(Debug)]
pub(super) enum Failure {
    /// Anything else.
    Failed(String),
    /// `doctor` or `demo` found so many things wrong, and has said which.
    ChecksFailed(usize),
    /// `why` has said that something is refused, and why.
    Refused,
    /// The command line, where clap cannot see what it lacks.
    Usage(String),
    /// Configuration, policy or TLS files.
    Config(String),
    /// Directories and files that are to be made or written.
    Io(String),
    /// The database.
    Database(String),
    /// Keys.
    Keys(String),
    /// The address to listen on.
    Address(String),
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Self::Failed(_) | Self::ChecksFailed(_) | Self::Refused => 1,
            Self::Usage(_) => 2,
            Self::Config(_) => 3,
            Self::Io(_) => 4,
            Self::Database(_) => 5,
            Self::Keys(_) => 6,
            Self::Address(_) => 7,
        }
    }

    /// One line on standard error, and the code.
    pub(super) fn report(&self) -> ExitCode {
        let name = Screen::error().paint(Style::Red, "vicar:");
        super::print_error(format_args!("{name} {}", self.to_string().replace('\n', " ")));
        ExitCode::from(self.code())
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failed(text)
            | Self::Usage(text)
            | Self::Config(text)
            | Self::Io(text)
            | Self::Database(text)
            | Self::Keys(text)
            | Self::Address(text) => f.write_str(text),
            Self::Refused => f.write_str("it is refused, as said above"),
            Self::ChecksFailed(n) => write!(f, "{n} of the checks above failed"),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(e: ConfigError) -> Self {
        Self::Config(format!("configuration: {e}"))
    }
}

impl From<store::Error> for Failure {
    fn from(e: store::Error) -> Self {
        Self::Database(e.to_string())
    }
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        match e {
            Error::Internal(detail) | Error::Unavailable(detail, _) | Error::Retry(detail) => {
                Self::Database(detail)
            }
            other => Self::Failed(other.message()),
        }
    }
}
