//! The program; see [`vicar::cli`].

fn main() -> std::process::ExitCode {
    vicar::cli::main()
}
