//! `vicar-demo --generate`: what packages install beside the program, made from the command line's own description.

use std::path::Path;

use clap::{CommandFactory, ValueEnum};
use clap_complete::Shell;

use crate::Options;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    Man,
    Completions,
}

/// Writes the files to the working directory.
///
/// # Errors
/// When they cannot be written.
pub(crate) fn run(kind: Kind) -> Result<(), String> {
    let (mut command, here) = (Options::command(), Path::new("."));
    let written = match kind {
        Kind::Man => clap_mangen::generate_to(command, here),
        Kind::Completions => [Shell::Bash, Shell::Zsh, Shell::Fish]
            .into_iter()
            .try_for_each(|s| clap_complete::generate_to(s, &mut command, "vicar-demo", here).map(drop)),
    };
    written.map_err(|e| format!("the files cannot be written here: {e}"))
}
