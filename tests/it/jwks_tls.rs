//! An issuer that is reached over TLS, and the roots by which it is trusted.

use crate::{
    jwks::settings,
    rig::{
        Gateway, Issuer, Key, Redis,
        gateway::spawn,
        process::{Process, sockway},
    },
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::{
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

/// Writes a certificate for `localhost` to the file; returns a server's configuration with it.
fn certified(file: &Path) -> ServerConfig {
    let key = file.with_extension("key");
    let status = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-days", "1", "-subj", "/CN=localhost"])
        .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args([Path::new("-keyout"), &key, Path::new("-out"), file])
        .stderr(Stdio::null())
        .status();
    assert!(status.expect("openssl is installed").success());
    let certificate = CertificateDer::from_pem_file(file).expect("PEM");
    let key = PrivateKeyDer::from_pem_file(key).expect("PEM");
    let config = ServerConfig::builder().with_no_client_auth();
    config.with_single_cert(vec![certificate], key).expect("a certificate and its key")
}

#[test]
fn over_tls_the_issuer_must_be_whom_the_systems_roots_vouch_for() {
    let key = Key::new("a");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (file, roots) = (directory.path().join("s.toml"), directory.path().join("roots.pem"));
    let issuer = Issuer::with_tls(certified(&roots), &[&key]);
    let redis = Redis::start();
    std::fs::write(&file, settings(&redis, &issuer.url()).text()).expect("written");

    let mut serve = sockway();
    serve.arg("serve").arg("--config").arg(&file).env("SSL_CERT_FILE", &roots);
    let trusting = Gateway::from_command(&mut serve, directory);
    trusting.wait_ready();
    trusting.open_with(&key.token("ann"), "/ws/me");

    let (process, _directory) = spawn(&settings(&redis, &issuer.url()));
    process.stderr.wait_for("it is not trusted", |line| line.contains("TLS failed").then_some(()));
}

/// A file of certificates that is a pipe is read as slowly as it is written.
#[test]
fn roots_that_take_longer_to_read_than_an_issuer_may_take_are_waited_for() {
    let key = Key::new("a");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name);
    let (file, roots, pipe) = (path("sockway.toml"), path("roots.pem"), path("pipe"));
    let issuer = Issuer::with_tls(certified(&roots), &[&key]);
    let redis = Redis::start();
    std::fs::write(&file, settings(&redis, &issuer.url()).text()).expect("written");
    assert_eq!(Process::start(Command::new("mkfifo").arg(&pipe)).exit_code(), 0);

    let mut serve = sockway();
    serve.arg("serve").arg("--config").arg(&file).env("SSL_CERT_FILE", &pipe);
    let roots = std::fs::read(roots).expect("there");
    let gateway = Gateway::from_command(&mut serve, directory);
    // Not a wait for something: longer than the two seconds of a fetch.
    thread::sleep(Duration::from_secs(3));
    std::fs::write(pipe, roots).expect("somebody reads");
    gateway.wait_ready();
    gateway.open_with(&key.token("ann"), "/ws/me");
    let failed = "sockway_jwks_fetches_total{result=\"failed\"}";
    assert_eq!(gateway.metrics().get(failed), 0.0);
}
