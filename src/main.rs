//! The binary; everything is in the library.

use std::process::ExitCode;

/// Sessions come and go in their thousands and small things are made and dropped for each message;
/// docs/performance.md says what this allocator saves over the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // With huge pages a few sessions left over keep megabytes; see docs/performance.md. Where there
    // are none to disable, nothing is lost.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    // First of all: every later use of TLS must find one provider, and the same one. It can only
    // fail when there already is one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    sockway::cli::main()
}
