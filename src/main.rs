//! The binary; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    // First of all: whoever needs TLS later must find one provider, and the same one. It can only
    // fail when there already is one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    sockway::cli::main()
}
