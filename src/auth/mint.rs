//! Makes tokens for `sockway token` and `sockway dev`.

use super::{
    Algorithm, JwtSettings, KeySource, claims::LAST_DATE_SECONDS, verifying_key::hmac_hash,
};
use crate::secret::Secret;
use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};
use std::time::{Duration, SystemTime};

/// Why no token could be made.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    #[error(
        "only a shared secret can sign, and `auth.jwt` has public keys: ask their owner for a token"
    )]
    NotHmac,
    #[error("the user must not be empty")]
    EmptyUser,
    #[error("the claim {0:?} is set by the command itself")]
    ReservedClaim(String),
    #[error("the claim {0:?} is given twice")]
    RepeatedClaim(String),
    #[error("the token would not expire before the year 9999")]
    TimeToLive,
}

/// Makes a token that the same settings accept from `now` on, for `ttl`: with the first configured
/// issuer and audience unless `claims` say otherwise. Values that are integers or `true` or `false` become
/// JSON numbers and booleans, `"…"` in quotes a string without them, and all else a string as it is.
///
/// # Errors
/// When the settings hold no HMAC secret, or a claim cannot be set.
pub fn mint(
    settings: &JwtSettings,
    user: &str,
    ttl: Duration,
    claims: &[(String, String)],
    now: SystemTime,
) -> Result<String, MintError> {
    let KeySource::HmacSecret(secret) = &settings.key else { return Err(MintError::NotHmac) };
    let hmac = settings.algorithms.iter().find_map(|&one| Some((one, hmac_hash(one)?)));
    let (algorithm, hash) = hmac.ok_or(MintError::NotHmac)?;
    let claims = Value::Object(all_claims(settings, user, ttl, claims, now)?);
    Ok(signed(algorithm, hash, secret, &claims.to_string()))
}

fn signed(algorithm: Algorithm, hash: hmac::Algorithm, secret: &Secret, claims: &str) -> String {
    let header = format!(r#"{{"typ":"JWT","alg":"{algorithm}"}}"#);
    let message = [&header, claims].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
    let key = hmac::Key::new(hash, secret.expose().as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, message.as_bytes()));
    format!("{message}.{signature}")
}

fn all_claims(
    settings: &JwtSettings,
    user: &str,
    ttl: Duration,
    claims: &[(String, String)],
    now: SystemTime,
) -> Result<Map<String, Value>, MintError> {
    if user.is_empty() {
        return Err(MintError::EmptyUser);
    }
    let mut all = Map::new();
    for (name, value) in claims {
        if ["exp", "iat", settings.user_claim.as_str()].contains(&name.as_str()) {
            return Err(MintError::ReservedClaim(name.clone()));
        }
        if all.insert(name.clone(), claim(value)).is_some() {
            return Err(MintError::RepeatedClaim(name.clone()));
        }
    }
    all.insert(settings.user_claim.clone(), user.into());
    all.insert("iat".to_owned(), seconds(now)?.into());
    all.insert(
        "exp".to_owned(),
        seconds(now.checked_add(ttl).ok_or(MintError::TimeToLive)?)?.into(),
    );
    for (name, values) in [("iss", &settings.issuer), ("aud", &settings.audience)] {
        if let Some(value) = values.first() {
            all.entry(name).or_insert_with(|| value.as_str().into());
        }
    }
    Ok(all)
}

fn claim(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(value @ (Value::Bool(_) | Value::String(_))) => value,
        // A fraction would be no claim that a template can name; as a string it is one.
        Ok(Value::Number(number)) if !number.is_f64() => number.into(),
        _ => text.into(),
    }
}

fn seconds(time: SystemTime) -> Result<u64, MintError> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).map_err(|_| MintError::TimeToLive)?;
    let seconds = since.as_secs();
    if seconds > LAST_DATE_SECONDS { Err(MintError::TimeToLive) } else { Ok(seconds) }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::keys::verifier, *};
    use Algorithm::*;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn claims(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn what_is_minted_verifies_under_the_same_settings_until_it_expires() {
        for algorithm in [HS256, HS384, HS512] {
            let verifier = verifier(&[algorithm], |settings| {
                settings.issuer = vec!["us".to_owned()];
                settings.audience = vec!["sockway".to_owned()];
                settings.user_claim = "uid".to_owned();
            });
            let given = claims(&[
                ("level", "7"),
                ("admin", "true"),
                ("id", "007"),
                ("ratio", "1.5"),
                ("quoted", "\"8\""),
                ("list", "[1]"),
                ("aud", "sockway"),
            ]);
            let hour = Duration::from_secs(3600);
            let token = mint(verifier.settings(), "42", hour, &given, now()).unwrap();
            let identity = verifier.verify(&token, now()).unwrap();
            assert_eq!(&*identity.user, "42");
            for (name, value) in [
                ("level", "7"),
                ("admin", "true"),
                ("id", "007"),
                ("ratio", "1.5"),
                ("quoted", "8"),
                ("list", "[1]"),
            ] {
                assert_eq!(identity.claims.texts(name).unwrap(), [value]);
            }
            assert!(verifier.verify(&token, now() + hour + Duration::from_secs(29)).is_ok());
            assert!(verifier.verify(&token, now() + hour + Duration::from_secs(30)).is_err());
        }
    }

    #[test]
    fn what_cannot_be_minted_says_why() {
        let mint = |algorithm, user: &str, ttl, pairs: &[(&str, &str)]| {
            let verifier = verifier(&[algorithm], |_| {});
            mint(verifier.settings(), user, Duration::from_secs(ttl), &claims(pairs), now())
                .unwrap_err()
        };
        assert!(matches!(mint(RS256, "42", 60, &[]), MintError::NotHmac));
        assert!(matches!(mint(HS256, "", 60, &[]), MintError::EmptyUser));
        assert!(matches!(mint(HS256, "42", u64::MAX, &[]), MintError::TimeToLive));
        assert!(matches!(mint(HS256, "42", 1 << 40, &[]), MintError::TimeToLive));
        for name in ["sub", "exp", "iat"] {
            let error = mint(HS256, "42", 60, &[(name, "1")]);
            assert!(matches!(error, MintError::ReservedClaim(claim) if claim == name));
        }
        let error = mint(HS256, "42", 60, &[("a", "1"), ("a", "1")]);
        assert!(matches!(error, MintError::RepeatedClaim(claim) if claim == "a"));
    }
}
