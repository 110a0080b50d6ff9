//! The public port's certificate and key, checked against each other before anyone connects.
//!
//! Messages say what is wrong with the files and never show what is in them.

use rustls::{
    InconsistentKeys, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject as _},
    server::NoServerSessionStorage,
};
use std::{fmt, sync::Arc};

/// `[server.tls]`: certificate and key of new connections.
#[derive(Clone)]
pub struct Tls {
    chain: Vec<CertificateDer<'static>>,
    config: Arc<ServerConfig>,
}

impl Tls {
    /// Puts a chain (the server's own certificate first) and its key together.
    ///
    /// # Errors
    /// When the key is not the certificate's, or of a kind that TLS cannot use.
    pub(super) fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, String> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_no_client_auth()
            .with_single_cert(chain.clone(), key)
            .map_err(|error| mismatch(&error))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Resumption costs no memory here: the client keeps the state, sealed, in one ticket.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(|error| error.to_string())?;
        config.send_tls13_tickets = 1;
        Ok(Self { chain, config: Arc::new(config) })
    }

    /// The TLS settings of new connections.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// The server's own certificate, as DER.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        self.chain.first().map_or(&[], |first| first)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("certificates", &self.chain.len()).finish_non_exhaustive()
    }
}

/// The certificates of a PEM file, in their order.
pub(super) fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err("holds no certificate in PEM".to_owned()),
        Ok(chain) => Ok(chain),
        Err(_) => Err("is not correct PEM".to_owned()),
    }
}

/// The first private key of a PEM file.
pub(super) fn key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        pem::Error::NoItemsFound if is_encrypted(pem) => {
            "holds an encrypted private key; Sockway has nobody to ask for its password".to_owned()
        }
        pem::Error::NoItemsFound => "holds no private key in PEM".to_owned(),
        _ => "is not correct PEM".to_owned(),
    })
}

fn is_encrypted(pem: &[u8]) -> bool {
    const LABEL: &[u8] = b"BEGIN ENCRYPTED PRIVATE KEY";
    pem.windows(LABEL.len()).any(|window| window == LABEL)
}

pub(super) fn mismatch(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            "is not the key of the first certificate in cert_file".to_owned()
        }
        rustls::Error::InvalidCertificate(_) => {
            "the first certificate in cert_file cannot be read".to_owned()
        }
        // Of a key that cannot be used rustls tells the kinds it knows, and nothing of the key.
        other => format!("cannot be used with cert_file: {other}"),
    }
}
