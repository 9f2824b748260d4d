//! The program; see [`vicar::cli`].

/// A request allocates hundreds of small things on one thread and frees them on another: with the C library's allocator
/// that was a fifth of a token's validation.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    vicar::cli::main()
}
