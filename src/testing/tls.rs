//! Both ends of TLS, with a certificate made for one test.

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use std::{
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

/// A server and a client that trusts it and speaks one version.
pub(crate) struct TlsEnds {
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) client: ClientConnection,
}

pub(crate) fn tls_ends(version: &'static SupportedProtocolVersion) -> TlsEnds {
    let directory = tempfile::tempdir().unwrap();
    openssl(directory.path());
    let chain = CertificateDer::from_pem_file(directory.path().join("cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(directory.path().join("key.pem")).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![chain.clone()], key)
        .unwrap();
    // A ticket is a record that nobody asked for, and these tests count records.
    server.send_tls13_tickets = 0;
    let mut roots = RootCertStore::empty();
    roots.add(chain).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let client = ClientConnection::new(Arc::new(client), name).unwrap();
    TlsEnds { server: Arc::new(server), client }
}

fn openssl(directory: &Path) {
    let made = Command::new("openssl")
        .current_dir(directory)
        .args(["req", "-x509", "-nodes", "-subj", "/CN=test", "-newkey", "ec", "-pkeyopt"])
        .args(["ec_paramgen_curve:prime256v1", "-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .stderr(Stdio::null())
        .status();
    assert!(made.expect("openssl is installed").success());
}
