//! Certificates made for one test by the `openssl` command: self-signed, for `localhost`.

use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

/// A certificate and its key, in files.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Certificate {
    /// Makes `NAME.pem` and `NAME.key` in a directory.
    #[track_caller]
    pub(crate) fn make(directory: &Path, name: &str) -> Self {
        Self::make_for(directory, name, 1)
    }

    /// … valid for this many days.
    #[track_caller]
    pub(crate) fn make_for(directory: &Path, name: &str, days: u32) -> Self {
        let made = Self {
            certificate: directory.join(format!("{name}.pem")),
            key: directory.join(format!("{name}.key")),
        };
        let status = Command::new("openssl")
            .args(["req", "-x509", "-nodes", "-days", &days.to_string(), "-subj"])
            .arg(format!("/CN={name}"))
            .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-addext", "subjectAltName=DNS:localhost"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .arg("-keyout")
            .arg(&made.key)
            .arg("-out")
            .arg(&made.certificate)
            .stderr(Stdio::null())
            .status();
        assert!(status.expect("openssl is installed").success());
        made
    }

    /// Signs it again with a validity that starts and ends now.
    #[track_caller]
    pub(crate) fn let_expire(&self) {
        let status = Command::new("openssl")
            .args(["x509", "-days", "0", "-in"])
            .arg(&self.certificate)
            .arg("-signkey")
            .arg(&self.key)
            .arg("-out")
            .arg(&self.certificate)
            .stderr(Stdio::null())
            .status();
        assert!(status.expect("openssl is installed").success());
    }

    /// A client configuration that trusts only this certificate.
    pub(crate) fn trusted(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        Self::all_trusted(&[self], versions)
    }

    /// A client configuration that trusts these.
    pub(crate) fn all_trusted(
        certificates: &[&Self],
        versions: &[&'static SupportedProtocolVersion],
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        for one in certificates {
            let certificate = CertificateDer::from_pem_file(&one.certificate).expect("PEM");
            roots.add(certificate).expect("a certificate");
        }
        ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .expect("known versions")
            .with_root_certificates(roots)
            .with_no_client_auth()
    }
}
