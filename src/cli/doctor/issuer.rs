//! The issuer's keys (`auth.jwt.jwks_url`), fetched once as the gateway will fetch them.

use super::report::{Report, count};
use crate::{
    auth::{JwksError, KeySet, SkippedKey},
    config::Config,
    error_chain::error_chain,
    jwks::{self, FetchError, NoKeys},
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
    let replaced = match jwks::try_once(keys).await {
        Ok(replaced) => replaced,
        Err(error) => {
            let said = format!("{}: {}", keys.url(), error_chain(&error));
            return report.fail(SUBJECT, &said, advice(&error));
        }
    };
    let found = count((replaced.used + replaced.passed_over.len()) as u64, "key");
    let time = started.elapsed().as_secs_f64() * 1e3;
    let said = format!("{}: {found}, {} usable, in {time:.1} ms", keys.url(), replaced.used);
    report.ok(SUBJECT, &said);
    for SkippedKey { kid, reason } in
        replaced.passed_over.iter().filter(|it| !it.reason.is_ordinary())
    {
        let advice = "tokens of this key are refused; tell whoever runs the issuer";
        report.warn(SUBJECT, &format!("{kid} is not used: {reason}"), advice);
    }
}

fn advice(error: &NoKeys) -> &'static str {
    match error {
        NoKeys::NotFetched(FetchError::Tls(_) | FetchError::Name | FetchError::NoRoots) => {
            "its certificate must be valid, for this host name, and from an authority that this \
             machine trusts; the environment variable SSL_CERT_FILE names others (PEM)"
        }
        NoKeys::NotFetched(
            FetchError::Redirect(_) | FetchError::Status(_) | FetchError::TooLarge,
        )
        | NoKeys::NotUsable(JwksError::NotKeySet) => {
            "auth.jwt.jwks_url must be that of the key set itself: `jwks_uri` in the issuer's \
             /.well-known/openid-configuration"
        }
        NoKeys::NotUsable(JwksError::NoKey) => {
            "auth.jwt.algorithms must name those that the issuer's keys are for (`alg`, or `kty` and `crv`)"
        }
        NoKeys::NotFetched(_) => {
            "is auth.jwt.jwks_url right, and may this machine reach it? Until keys were fetched \
             once, the gateway is not ready and answers tokens with 503"
        }
    }
}
