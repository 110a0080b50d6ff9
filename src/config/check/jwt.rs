//! `[auth.jwt]`.

use super::some_text;
use crate::{
    auth::{Algorithm, JwksUrl, JwksUrlError, JwtSettings, JwtVerifier, KeySource},
    config::{
        files, mask,
        reader::{At, Table},
        units,
    },
    secret::Secret,
};

/// A key, and the key of the configuration that named it.
type NamedKey = (&'static str, KeySource);

pub(super) fn jwt(table: &mut Table<'_, '_>) -> Option<JwtVerifier> {
    let algorithms = table.filled_list("algorithms", &["HS256"], str::parse::<Algorithm>);
    let key = key(table);
    let audience = table.list("audience", &[], some_text);
    let issuer = table.list("issuer", &[], some_text);
    let user_claim = table.text("user_claim", "sub", some_text);
    let leeway = table.amount("leeway", "30s", units::wait);
    if audience.is_empty() {
        table.warning("audience", "is empty: tokens made for other services are accepted too");
    }
    let (name, key) = key?;
    fits(table, &algorithms, name, &key)?;
    let settings = JwtSettings {
        algorithms: values(algorithms),
        audience: values(audience),
        issuer: values(issuer),
        user_claim: user_claim?,
        leeway: leeway?,
        key,
    };
    JwtVerifier::new(settings).map_err(|error| table.problem(name, error)).ok()
}

/// The one key; `None` after a problem was recorded.
fn key(table: &mut Table<'_, '_>) -> Option<NamedKey> {
    let secret = table.secret("secret", "secret_file");
    let public_key = table.file("public_key_file", files::key, Ok);
    let jwks_url = table.secret_text("jwks_url", "", mask::mask_query, jwks_url);
    let secret = secret?.map(|(name, secret)| (name, KeySource::HmacSecret(secret)));
    let public_key = public_key?.map(|pem| ("public_key_file", KeySource::PublicKeyPem(pem)));
    let jwks_url = jwks_url?.map(|url| ("jwks_url", KeySource::Jwks(url)));
    let mut given = [secret, public_key, jwks_url].into_iter().flatten();
    match (given.next(), given.next()) {
        (Some(key), None) => Some(key),
        (Some((first, _)), Some((second, _))) => {
            table.problem(second, format_args!("give either this or {first}, not both"));
            None
        }
        (None, _) => {
            let missing = "a key is missing: give secret_file, public_key_file or jwks_url";
            table.problem("secret_file", missing);
            None
        }
    }
}

/// `None`: there is none. Nothing is fetched here: a configuration can be checked anywhere.
fn jwks_url(text: &str) -> Result<Option<JwksUrl>, JwksUrlError> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some) }
}

/// Whether every algorithm can use this kind of key, and safely.
fn fits(
    table: &mut Table<'_, '_>,
    algorithms: &[At<Algorithm>],
    name: &'static str,
    key: &KeySource,
) -> Option<()> {
    // None is left only after a problem with each was recorded.
    let mut fits = (!algorithms.is_empty()).then_some(());
    for At { place, value: algorithm } in algorithms {
        let problem = match key {
            KeySource::HmacSecret(_) if !algorithm.is_hmac() => Some(format!(
                "{} needs public_key_file or jwks_url, not a secret",
                algorithm.name()
            )),
            KeySource::PublicKeyPem(_) | KeySource::Jwks(_) if algorithm.is_hmac() => {
                Some(format!("{} needs secret_file, not a public key", algorithm.name()))
            }
            _ => None,
        };
        if let Some(problem) = problem {
            table.problem_at(place, problem);
            fits = None;
        }
    }
    if let KeySource::HmacSecret(secret) = key
        && let Some(problem) = too_short(secret, algorithms)
    {
        table.problem(name, problem);
        fits = None;
    }
    fits
}

/// A shorter secret than the hash is wide can be guessed offline from one token (RFC 7518, 3.2).
fn too_short(secret: &Secret, algorithms: &[At<Algorithm>]) -> Option<String> {
    let needs = |algorithm: Algorithm| match algorithm {
        Algorithm::HS256 => 32,
        Algorithm::HS384 => 48,
        Algorithm::HS512 => 64,
        _ => 0,
    };
    let most = algorithms.iter().map(|it| it.value).max_by_key(|algorithm| needs(*algorithm))?;
    let short = secret.expose().len() < needs(most);
    short.then(|| format!("{} needs a secret of at least {} bytes", most.name(), needs(most)))
}

fn values<T>(list: Vec<At<T>>) -> Vec<T> {
    list.into_iter().map(|element| element.value).collect()
}
