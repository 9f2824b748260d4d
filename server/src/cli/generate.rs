//! `vicar generate`: what packages install beside the program, made from the command line's own description.

use std::path::PathBuf;

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::Shell;

use super::Cli;
use super::failure::Failure;

#[derive(Debug, Args)]
pub(super) struct Generate {
    /// What to make
    kind: Kind,
    /// An existing directory for it
    directory: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// A manual page of the program, and of each command
    Man,
    /// Completions for bash, zsh and fish
    Completions,
}

impl Generate {
    /// Writes the files.
    pub(super) fn run(self) -> Result<(), Failure> {
        let dir = &self.directory;
        let mut command = Cli::command();
        let written = match self.kind {
            Kind::Man => clap_mangen::generate_to(command, dir),
            Kind::Completions => [Shell::Bash, Shell::Zsh, Shell::Fish]
                .into_iter()
                .try_for_each(|s| clap_complete::generate_to(s, &mut command, "vicar", dir).map(drop)),
        };
        written.map_err(|e| Failure::Io(format!("{}: {e}", dir.display())))
    }
}
