//! Root certificates and client certificate of TLS connections to Redis, checked at start.

use super::tls::mismatch;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use std::{fmt, sync::Arc};

/// `[redis.tls]`. By default the system's roots and no client certificate.
#[derive(Clone, Default)]
pub struct RedisTls {
    /// `None`: the system's.
    roots: Option<Vec<CertificateDer<'static>>>,
    identity: Option<Arc<Identity>>,
}

/// A client certificate, its chain and its key.
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl RedisTls {
    /// Checks the root certificates, and that the key matches the client certificate.
    ///
    /// # Errors
    /// The key of the configuration that is wrong, and why.
    pub(super) fn new(
        roots: Option<Vec<CertificateDer<'static>>>,
        identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    ) -> Result<Self, (&'static str, String)> {
        let identity = identity.map(|(chain, key)| Arc::new(Identity { chain, key }));
        let tls = Self { roots, identity };
        let roots = tls.own_roots().map_err(|problem| ("ca_file", problem))?;
        tls.config_with(roots.unwrap_or_else(RootCertStore::empty))
            .map_err(|problem| ("key_file", problem))?;
        Ok(tls)
    }

    /// What a connection is made with. Where the system's roots are trusted, they are read now: some
    /// hundred files.
    ///
    /// # Errors
    /// When the system has no root certificates.
    pub fn client_config(&self) -> Result<Arc<ClientConfig>, String> {
        let roots = match self.own_roots()? {
            Some(roots) => roots,
            None => system_roots()?,
        };
        self.config_with(roots).map(Arc::new)
    }

    fn own_roots(&self) -> Result<Option<RootCertStore>, String> {
        let Some(certificates) = &self.roots else { return Ok(None) };
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            let unreadable = |_| "holds a certificate that cannot be read".to_owned();
            roots.add(certificate.clone()).map_err(unreadable)?;
        }
        Ok(Some(roots))
    }

    fn config_with(&self, roots: RootCertStore) -> Result<ClientConfig, String> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots);
        match &self.identity {
            None => Ok(config.with_no_client_auth()),
            Some(identity) => config
                .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())
                .map_err(|error| mismatch(&error)),
        }
    }
}

impl fmt::Debug for RedisTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisTls")
            .field("own_roots", &self.roots.as_ref().map(Vec::len))
            .field("client_certificate", &self.identity.is_some())
            .finish_non_exhaustive()
    }
}

fn system_roots() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    match roots.is_empty() {
        true => Err("the system has no root certificates; name some in redis.tls.ca_file".into()),
        false => Ok(roots),
    }
}
