//! `[auth.jwt]`.

use super::{any_text, not_yet, some_text};
use crate::{
    auth::{Algorithm, JwtSettings, JwtVerifier, KeySource},
    config::{
        files,
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
    let leeway = table.text("leeway", "30s", units::wait);
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
    let public_key = table.file("public_key_file", files::key);
    let jwks_url = table.text("jwks_url", "", any_text);
    if jwks_url.is_some_and(|url| !url.is_empty()) {
        table.problem("jwks_url", not_yet("fetching keys (JWKS)"));
        return None;
    }
    match (secret?, public_key?) {
        (Some((name, secret)), None) => Some((name, KeySource::HmacSecret(secret))),
        (None, Some(pem)) => Some(("public_key_file", KeySource::PublicKeyPem(pem))),
        (Some((name, _)), Some(_)) => {
            table.problem("public_key_file", format_args!("give either this or {name}, not both"));
            None
        }
        (None, None) => {
            table.problem("secret_file", "a key is missing: give secret_file or public_key_file");
            None
        }
    }
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
            KeySource::HmacSecret(_) if !algorithm.is_hmac() => {
                Some(format!("{} needs public_key_file, not a secret", algorithm.name()))
            }
            KeySource::PublicKeyPem(_) if algorithm.is_hmac() => {
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
