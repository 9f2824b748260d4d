//! `vicar demo`: hands over to `vicar-demo`, a program of its own that speaks HTTP only.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use clap::Args;

use super::failure::Failure;

/// The program that tells the story.
const PROGRAM: &str = "vicar-demo";
/// The variable in which it finds the server's program.
const SERVER: &str = "VICAR_DEMO_SERVER";

#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(super) struct Demo {
    /// Options of `vicar-demo`; `vicar demo --help` lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTIONS")]
    options: Vec<OsString>,
}

impl Demo {
    /// Becomes the other program. Returns only if that is impossible.
    pub(super) fn run(self) -> Failure {
        let own = std::env::current_exe().ok();
        let beside = own.as_ref().map(|own| own.with_file_name(PROGRAM)).filter(|p| p.is_file());
        let program = beside.unwrap_or_else(|| PathBuf::from(PROGRAM));
        let mut command = Command::new(&program);
        command.args(self.options);
        // The story is told to this version of the server, wherever the other program lies.
        if let (None, Some(own)) = (std::env::var_os(SERVER), own) {
            command.env(SERVER, own);
        }
        let error = command.exec();
        let hint = if error.kind() == std::io::ErrorKind::NotFound {
            "; install `vicar-demo` beside this program (in the sources: `cargo build --release -p vicar-demo`)"
        } else {
            ""
        };
        Failure::Failed(format!("{}: {error}{hint}", program.display()))
    }
}
