//! JSON Web Tokens, by a key of our own or those of an issuer.
//!
//! The `decode` of `jsonwebtoken` reads the system clock, so no edge of a time could be tested; it takes
//! some claims more leniently than we promise (an `iss` that is a list, a duplicate of a claim, an `nbf` that
//! is not checked); and it parses a public key anew for each token. What a token says is therefore read
//! here, strictly.
//!
//! Nothing in a token chooses how it is verified: `alg` only selects among the configured algorithms, `kid`
//! only among the keys that the configured issuer published, and `jku`, `jwk`, `x5u` and `x5c` are not even
//! looked at.

use super::{
    Algorithm, KeyError, KeySet, KeySource, TokenError, key_set::Lookup,
    verifying_key::VerifyingKey,
};
use crate::identity::Identity;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// `[auth.jwt]`, checked one by one; [`JwtVerifier::new`] checks them against each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtSettings {
    /// At least one; all of the same kind as the key. An issuer may have keys of several kinds.
    pub algorithms: Vec<Algorithm>,
    /// Empty: `aud` is not checked.
    pub audience: Vec<String>,
    /// Empty: `iss` is not checked.
    pub issuer: Vec<String>,
    /// The claim that names the user.
    pub user_claim: String,
    /// How far the clocks of issuer and gateway may differ.
    pub leeway: Duration,
    pub key: KeySource,
}

/// Verifies tokens.
#[derive(Debug)]
pub struct JwtVerifier {
    settings: JwtSettings,
    keys: Keys,
}

#[derive(Debug)]
enum Keys {
    Own(VerifyingKey),
    Issuer(Arc<KeySet>),
}

impl JwtVerifier {
    /// Checks that the key serves every algorithm. Keys of an issuer are not fetched here.
    ///
    /// # Errors
    /// When it does not; the error names the algorithm.
    pub fn new(settings: JwtSettings) -> Result<Self, KeyError> {
        let own = settings.key.verifying_key(&settings.algorithms)?;
        let keys = match (own, &settings.key) {
            (None, KeySource::Jwks(url)) => {
                Keys::Issuer(Arc::new(KeySet::new(url.clone(), settings.algorithms.clone())))
            }
            (own, _) => Keys::Own(own.ok_or(KeyError::UnknownKind)?),
        };
        Ok(Self { settings, keys })
    }

    /// The settings it was made from.
    #[must_use]
    pub fn settings(&self) -> &JwtSettings {
        &self.settings
    }

    /// The keys of the issuer, when there is one.
    pub(super) fn key_set(&self) -> Option<&Arc<KeySet>> {
        match &self.keys {
            Keys::Own(_) => None,
            Keys::Issuer(keys) => Some(keys),
        }
    }

    /// The same with these keys, which may have been fetched already; `None` when they are not those
    /// that it would fetch itself.
    pub(super) fn with_keys(&self, keys: &Arc<KeySet>) -> Option<Self> {
        let same = self.key_set()?.is_of_same(keys);
        same.then(|| Self { settings: self.settings.clone(), keys: Keys::Issuer(Arc::clone(keys)) })
    }

    /// Finds out who a token says the client is. `exp` is judged last, so that [`TokenError::Expired`]
    /// is only said of tokens that were once right.
    pub(super) fn verify(&self, token: &str, now: SystemTime) -> Result<Identity, TokenError> {
        let claims = self.proven_claims(token)?;
        let identity = self.identity(claims, now).ok_or(TokenError::Invalid)?;
        match identity.expires {
            Some(expires) if now < expires => Ok(identity),
            _ => Err(TokenError::Expired),
        }
    }

    /// The claims, when the signature verify_signature them.
    fn proven_claims(&self, token: &str) -> Result<Claims, TokenError> {
        let parts = Parts::of(token).ok_or(TokenError::Invalid)?;
        let algorithm = self.algorithm(&parts.header).ok_or(TokenError::Invalid)?;
        let verify_signature = |key: &VerifyingKey| {
            key.verify_signature(algorithm, parts.message.as_bytes(), &parts.signature)
        };
        let proven = match &self.keys {
            Keys::Own(key) => verify_signature(key),
            Keys::Issuer(keys) => {
                let kid = parts.header.key_id().ok_or(TokenError::Invalid)?;
                match keys.with_key(kid, algorithm, verify_signature) {
                    Lookup::Found(proven) => proven,
                    Lookup::Unknown => return Err(TokenError::KeyUnknown),
                    Lookup::RuledOut => false,
                }
            }
        };
        let claims = if proven { Claims::decode(parts.claims) } else { None };
        claims.ok_or(TokenError::Invalid)
    }

    /// The algorithm that a header asks for, when it is one of ours.
    fn algorithm(&self, header: &Claims) -> Option<Algorithm> {
        // `crit` lists extensions that must be understood, and we understand none.
        if header.0.contains_key("crit") {
            return None;
        }
        let name = header.0.get("alg")?.as_str()?;
        self.settings.algorithms.iter().copied().find(|algorithm| algorithm.name() == name)
    }

    fn identity(&self, claims: Claims, now: SystemTime) -> Option<Identity> {
        let settings = &self.settings;
        let expires = claims.date("exp")??.checked_add(settings.leeway)?;
        let too_early = |begins: SystemTime| {
            begins.duration_since(now).is_ok_and(|wait| wait > settings.leeway)
        };
        let accepted = !claims.date("nbf")?.is_some_and(too_early)
            && claims.is_from(&settings.issuer)
            && claims.is_for(&settings.audience);
        let user = claims.user(&settings.user_claim)?;
        let claims = claims.texts();
        let token_id = claims.get("jti").map(|id| Arc::from(id.as_str()));
        accepted.then_some(Identity {
            user,
            claims,
            token_id,
            static_token: None,
            expires: Some(expires),
        })
    }
}

/// A token, taken apart.
struct Parts<'a> {
    header: Claims,
    /// Not to be read before the signature has proven it.
    claims: &'a str,
    /// What is signed.
    message: &'a str,
    signature: Vec<u8>,
}

impl<'a> Parts<'a> {
    fn of(token: &'a str) -> Option<Self> {
        let (message, signature) = token.rsplit_once('.')?;
        let (header, claims) = message.split_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        Some(Self { header: Claims::decode(header)?, claims, message, signature })
    }
}

/// A JSON object in which no name is there twice: of two, the issuer might have meant the one and we
/// take the other.
struct Claims(BTreeMap<String, Value>);

/// The last second of the year 9999. A later `exp` is a mistake of the issuer, milliseconds for seconds as a
/// rule, and would make a token that never expires.
pub(super) const LAST_DATE_SECONDS: u64 = 253_402_300_799;

impl Claims {
    fn decode(part: &str) -> Option<Self> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
    }

    /// A date in seconds since 1970. `None`: it is there but no date; `Some(None)`: it is not there.
    #[allow(clippy::option_option)]
    fn date(&self, name: &str) -> Option<Option<SystemTime>> {
        let Some(value) = self.0.get(name) else { return Some(None) };
        // Every whole second up to the bound is exact in an `f64`.
        let seconds =
            value.as_f64().filter(|seconds| (0.0..=LAST_DATE_SECONDS as f64).contains(seconds))?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs_f64(seconds)).map(Some)
    }

    /// The `kid` of a header. `None`: it is there but no name; `Some(None)`: it is not there.
    #[allow(clippy::option_option)]
    fn key_id(&self) -> Option<Option<&str>> {
        self.0.get("kid").map_or(Some(None), |kid| kid.as_str().map(Some))
    }

    fn is_from(&self, issuers: &[String]) -> bool {
        let issuer = || self.0.get("iss").and_then(Value::as_str);
        issuers.is_empty() || issuer().is_some_and(|issuer| issuers.iter().any(|one| one == issuer))
    }

    fn is_for(&self, audience: &[String]) -> bool {
        let names_us = |value: &Value| {
            value.as_str().is_some_and(|name| audience.iter().any(|one| one == name))
        };
        match self.0.get("aud") {
            _ if audience.is_empty() => true,
            Some(Value::Array(names)) => {
                names.iter().all(Value::is_string) && names.iter().any(names_us)
            }
            Some(name) => names_us(name),
            None => false,
        }
    }

    fn user(&self, name: &str) -> Option<Arc<str>> {
        match self.0.get(name)? {
            Value::Bool(_) => None,
            value => text(value).filter(|user| !user.is_empty()).map(Arc::from),
        }
    }

    fn texts(self) -> BTreeMap<String, String> {
        self.0.into_iter().filter_map(|(name, value)| Some((name, text(&value)?))).collect()
    }
}

/// A claim as text: strings as they are, integers in decimal, booleans. Not floats: `1e2` and `100` would be
/// one number and two texts.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ClaimsVisitor)
    }
}

struct ClaimsVisitor;

impl<'de> Visitor<'de> for ClaimsVisitor {
    type Value = Claims;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Claims, A::Error> {
        let mut claims = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            if claims.insert(name, value).is_some() {
                return Err(A::Error::custom("a name is there twice"));
            }
        }
        Ok(Claims(claims))
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::test_keys::{TestKeys, verifier},
        *,
    };
    use Algorithm::*;

    const NOW: u64 = 1_800_000_000;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn verify(verifier: &JwtVerifier, claims: &str) -> Result<Identity, TokenError> {
        let algorithm = verifier.settings.algorithms[0];
        verifier.verify(&TestKeys::shared().token(algorithm, claims), at(NOW))
    }

    /// What becomes of an HS256 token that is good but for these additional members.
    fn with(members: &str) -> Result<Identity, TokenError> {
        verify(&verifier(&[HS256], |_| {}), &format!(r#"{{"exp":{},{members}}}"#, NOW + 60))
    }

    #[test]
    fn a_right_token_of_every_algorithm_says_who_the_client_is() {
        let claims = format!(
            r#"{{"sub":"42","exp":{},"nbf":{NOW},"iat":9999999999,"jti":"t1","tenant":"acme","level":-7,"admin":true,
            "ratio":1.5,"roles":["a"],"address":{{"x":1}},"nothing":null}}"#,
            NOW + 60
        );
        for algorithm in Algorithm::ALL {
            let identity = verify(&verifier(&[algorithm], |_| {}), &claims).unwrap();
            assert_eq!(&*identity.user, "42", "{algorithm}");
            assert_eq!(identity.token_id.as_deref(), Some("t1"));
            assert_eq!(identity.expires, Some(at(NOW + 90)));
            let texts: Vec<_> = identity.claims.iter().map(|(k, v)| format!("{k}={v}")).collect();
            let (exp, nbf) = (format!("exp={}", NOW + 60), format!("nbf={NOW}"));
            let expected = [
                "admin=true",
                &exp,
                "iat=9999999999",
                "jti=t1",
                "level=-7",
                &nbf,
                "sub=42",
                "tenant=acme",
            ];
            assert_eq!(texts, expected);
        }
    }

    #[test]
    fn every_listed_algorithm_is_taken_and_no_other() {
        let verifier = verifier(&[RS256, PS384], |_| {});
        let claims = format!(r#"{{"sub":"42","exp":{}}}"#, NOW + 60);
        for algorithm in Algorithm::ALL {
            let token = TestKeys::shared().token(algorithm, &claims);
            let taken = verifier.verify(&token, at(NOW)).is_ok();
            assert_eq!(taken, [RS256, PS384].contains(&algorithm), "{algorithm}");
        }
    }

    #[test]
    fn expiry_is_exact_at_the_edge_of_the_leeway() {
        for (exp, expected) in [
            (NOW - 31, Err(TokenError::Expired)),
            (NOW - 30, Err(TokenError::Expired)),
            (NOW - 29, Ok(at(NOW + 1))),
            (NOW, Ok(at(NOW + 30))),
            (0, Err(TokenError::Expired)),
            (253_402_300_799, Ok(at(253_402_300_829))),
            (253_402_300_800, Err(TokenError::Invalid)),
            (u64::MAX, Err(TokenError::Invalid)),
        ] {
            let claims = format!(r#"{{"sub":"42","exp":{exp}}}"#);
            let verified = verify(&verifier(&[HS256], |_| {}), &claims);
            assert_eq!(verified.map(|identity| identity.expires.unwrap()), expected, "exp {exp}");
        }
    }

    #[test]
    fn not_before_is_exact_at_the_edge_of_the_leeway() {
        for (nbf, accepted) in [(NOW, true), (NOW + 29, true), (NOW + 30, true), (NOW + 31, false)]
        {
            let verified = with(&format!(r#""sub":"42","nbf":{nbf}"#));
            assert_eq!(verified.is_ok(), accepted, "nbf {nbf}");
        }
        let claims = format!(r#"{{"sub":"42","exp":{},"nbf":{}}}"#, NOW - 99, NOW + 99);
        assert_eq!(verify(&verifier(&[HS256], |_| {}), &claims), Err(TokenError::Invalid));
    }

    #[test]
    fn dates_are_numbers_of_this_era_and_exp_must_be_there() {
        for claims in [
            r#"{"sub":"42"}"#,
            r#"{"sub":"42","exp":null}"#,
            r#"{"sub":"42","exp":"1800000060"}"#,
            r#"{"sub":"42","exp":-1}"#,
            r#"{"sub":"42","exp":1e300}"#,
            r#"{"sub":"42","exp":[1800000060]}"#,
            r#"{"sub":"42","exp":true}"#,
            r#"{"sub":"42","exp":1800000060000}"#,
            r#"{"sub":"42","exp":1800000060,"nbf":"1800000000"}"#,
            r#"{"sub":"42","exp":1800000060,"nbf":null}"#,
            r#"{"sub":"42","exp":1800000060,"nbf":-1e9}"#,
        ] {
            let verified = verify(&verifier(&[HS256], |_| {}), claims);
            assert_eq!(verified, Err(TokenError::Invalid), "{claims}");
        }
        let half = verify(&verifier(&[HS256], |_| {}), r#"{"sub":"42","exp":1800000060.5}"#);
        assert_eq!(half.unwrap().expires, Some(at(NOW + 90) + Duration::from_millis(500)));
    }

    #[test]
    fn issuer_and_audience_are_required_once_they_are_configured() {
        let strict = verifier(&[HS256], |settings| {
            settings.issuer = vec!["us".to_owned(), "them".to_owned()];
            settings.audience = vec!["sockway".to_owned()];
        });
        let good = r#""iss":"us","aud":"sockway""#;
        for (members, accepted) in [
            (good, true),
            (r#""iss":"them","aud":["other","sockway"]"#, true),
            (r#""iss":"us""#, false),
            (r#""aud":"sockway""#, false),
            (r#""iss":"other","aud":"sockway""#, false),
            (r#""iss":"US","aud":"sockway""#, false),
            (r#""iss":["us"],"aud":"sockway""#, false),
            (r#""iss":"","aud":"sockway""#, false),
            (r#""iss":null,"aud":"sockway""#, false),
            (r#""iss":"us","aud":"other""#, false),
            (r#""iss":"us","aud":"sockway2""#, false),
            (r#""iss":"us","aud":[]"#, false),
            (r#""iss":"us","aud":null"#, false),
            (r#""iss":"us","aud":["sockway",1]"#, false),
            (r#""iss":"us","aud":[["sockway"]]"#, false),
            (r#""iss":"us","aud":{"sockway":1}"#, false),
        ] {
            let claims = format!(r#"{{"sub":"42","exp":{},{members}}}"#, NOW + 60);
            assert_eq!(verify(&strict, &claims).is_ok(), accepted, "{members}");
        }
        assert!(with(&format!(r#""sub":"42",{good}"#)).is_ok(), "not configured, so not checked");
        let expired = format!(r#"{{"sub":"42","exp":1,{}}}"#, good.replace("us", "other"));
        assert_eq!(
            verify(&strict, &expired),
            Err(TokenError::Invalid),
            "a stranger learns nothing"
        );
    }

    #[test]
    fn the_user_is_a_text_or_a_whole_number() {
        for (sub, user) in [
            (r#""42""#, "42"),
            ("42", "42"),
            ("-1", "-1"),
            ("18446744073709551615", "18446744073709551615"),
            (r#""ü""#, "ü"),
        ] {
            assert_eq!(&*with(&format!(r#""sub":{sub}"#)).unwrap().user, user, "{sub}");
        }
        for sub in [
            r#""""#,
            "1.0",
            "1e3",
            "18446744073709551616",
            "true",
            "null",
            r#"["42"]"#,
            r#"{"id":"42"}"#,
        ] {
            assert_eq!(with(&format!(r#""sub":{sub}"#)), Err(TokenError::Invalid), "{sub}");
        }
        assert_eq!(with(r#""name":"42""#), Err(TokenError::Invalid), "no sub");
        let by_id = verifier(&[HS256], |settings| settings.user_claim = "uid".to_owned());
        let claims = format!(r#"{{"sub":"42","uid":7,"exp":{}}}"#, NOW + 60);
        assert_eq!(&*verify(&by_id, &claims).unwrap().user, "7");
    }

    #[test]
    fn a_claim_that_is_there_twice_spoils_the_token() {
        for members in [
            r#""sub":"42","sub":"1""#,
            r#""sub":"42","sub":"42""#,
            r#""sub":"42","exp":1800000060"#,
            r#""sub":"42","tenant":"a","tenant":"b""#,
            r#""sub":"42","\u0073ub":"1""#,
        ] {
            assert_eq!(with(members), Err(TokenError::Invalid), "{members}");
        }
    }
}
