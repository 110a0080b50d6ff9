//! The issuer's keys (`auth.jwt.jwks_url`), fetched once as the gateway will fetch them.

use super::report::{Report, count};
use crate::{
    auth::{FetchError, FetchKeysError, JwksError, KeySet, SkippedKey, fetch_keys_once},
    config::Config,
    error_chain::error_chain,
};
use std::time::Instant;

const SUBJECT: &str = "issuer keys";

/// Says nothing where tokens are not verified by an issuer's keys.
pub(super) async fn examine(config: &Config, report: &mut Report) {
    if let Some(keys) = config.auth.key_set() {
        fetch(keys, report).await;
    }
}

async fn fetch(keys: &KeySet, report: &mut Report) {
    let started = Instant::now();
    let replaced = match fetch_keys_once(keys).await {
        Ok(replaced) => replaced,
        Err(error) => {
            let said = format!("{}: {}", keys.url(), error_chain(&error));
            return report.fail(SUBJECT, &said, advice(&error));
        }
    };
    let found = count((replaced.used + replaced.skipped.len()) as u64, "key");
    let time = started.elapsed().as_secs_f64() * 1e3;
    let said = format!("{}: {found}, {} usable, in {time:.1} ms", keys.url(), replaced.used);
    report.ok(SUBJECT, &said);
    for SkippedKey { position, kid, reason } in
        replaced.skipped.iter().filter(|it| !it.reason.is_ordinary())
    {
        let advice = "tokens of this key are refused; tell the issuer's operator";
        report.warn(SUBJECT, &format!("key {position} ({kid}) is not used: {reason}"), advice);
    }
}

fn advice(error: &FetchKeysError) -> &'static str {
    match error {
        FetchKeysError::Fetch(
            FetchError::Tls(_) | FetchError::Name | FetchError::NoRoots | FetchError::RootsTimeout,
        ) => {
            "its certificate must be valid, for this host name, and from an authority that this \
             machine trusts; the environment variable SSL_CERT_FILE names others (PEM)"
        }
        FetchKeysError::Fetch(
            FetchError::Redirect(_) | FetchError::Status(_) | FetchError::TooLarge,
        )
        | FetchKeysError::Document(JwksError::NotKeySet) => {
            "auth.jwt.jwks_url must be that of the key set itself: `jwks_uri` in the issuer's \
             /.well-known/openid-configuration"
        }
        FetchKeysError::Document(JwksError::NoKey(_)) => {
            "auth.jwt.algorithms must name those that the issuer's keys are for (`alg`, or `kty` and `crv`)"
        }
        FetchKeysError::Fetch(_) => {
            "is auth.jwt.jwks_url right, and may this machine reach it? Until keys were fetched \
             once, the gateway is not ready and answers tokens with 503"
        }
    }
}
