//! Reads a JSON Web Key Set (RFC 7517) and picks the keys that can be used.
//!
//! One key that cannot be used never spoils the others, and each is named with the reason. A key is used
//! in every form in which issuers write it (padded, plain or wrapped base64, numbers with or without leading zeros).
//! It is used only for what the
//! configuration lists and what the key itself allows; a secret (`oct`), or a key whose private half
//! was published with it, is never used, since everybody knows it.

use crate::{
    auth::{Algorithm, KeyKind, keys, verifying_key::VerifyingKey},
    json_object::Object,
};
use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    signature::RsaPublicKeyComponents,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;
use std::fmt::Write as _;

/// A key of the issuer that tokens can be verified with.
#[derive(Debug)]
pub(super) struct IssuerKey {
    pub(super) kid: Option<String>,
    pub(super) key: VerifyingKey,
}

/// A key of the issuer that is not used. Prints as `key 2 ("2024-10"): it is not a well-formed key`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("key {position} ({kid}): {reason}")]
pub struct SkippedKey {
    /// In its document, from 1.
    pub position: usize,
    /// Its `kid` as far as it has one: escaped and cut, since it goes into the log.
    pub kid: String,
    pub reason: SkipReason,
}

/// Why a key of the issuer is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SkipReason {
    #[error("it is not for signatures of the configured algorithms")]
    OtherUse,
    #[error("its member {0:?} is empty, or in other letters than it must be")]
    Odd(&'static str),
    #[error("it is not a JSON object with the members of a key")]
    Malformed,
    #[error("its member {0:?} is missing, or not in base64, or not of the right length")]
    Member(&'static str),
    #[error("its members are well-formed, but no public key of its kind")]
    NotOfKind,
    #[error("it is a shared secret, which is none once it is published")]
    Secret,
    #[error("its private half was published with it")]
    Private,
    #[error("the RSA key must have 2048 to 8192 bits")]
    RsaSize,
    #[error("an earlier key of the set has the same kid and algorithm")]
    Duplicate,
}

impl SkipReason {
    /// Whether this is nothing to worry about: issuers publish keys for other purposes too.
    #[must_use]
    pub const fn is_ordinary(self) -> bool {
        matches!(self, Self::OtherUse)
    }
}

/// Why a document gives no keys at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    #[error("the answer is not a JSON Web Key Set")]
    NotKeySet,
    #[error("the key set has no key that can be used{}", reasons(.0))]
    NoKey(Vec<SkippedKey>),
}

/// The first few: one of them is the key that the operator is after, as a rule.
fn reasons(skipped: &[SkippedKey]) -> String {
    const SHOWN: usize = 5;
    let mut text = String::new();
    for (number, key) in skipped.iter().take(SHOWN).enumerate() {
        let _ = write!(text, "{} {key}", if number == 0 { ":" } else { ";" });
    }
    if skipped.len() > SHOWN {
        let _ = write!(text, "; and {} more", skipped.len() - SHOWN);
    }
    text
}

/// The keys of a document that can be used, and those that cannot.
#[derive(Debug)]
pub(super) struct KeyList {
    pub(super) keys: Vec<IssuerKey>,
    pub(super) skipped: Vec<SkippedKey>,
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    r#use: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    d: Option<IgnoredAny>,
}

impl KeyList {
    /// Reads a document, each key by itself.
    pub(super) fn read(document: &[u8], algorithms: &[Algorithm]) -> Result<Self, JwksError> {
        // A byte order mark says nothing, and some servers put one before every text.
        let document = document.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(document);
        let Object(document): Object<Document<'_>> =
            serde_json::from_slice(document).map_err(|_| JwksError::NotKeySet)?;
        let mut list = Self { keys: Vec::new(), skipped: Vec::new() };
        for (position, text) in (1..).zip(document.keys) {
            match read_key(text.get(), algorithms).and_then(|key| list.unless_duplicate(key)) {
                Ok(key) => list.keys.push(key),
                Err(reason) => {
                    let kid = shown_kid(text);
                    list.skipped.push(SkippedKey { position, kid, reason });
                }
            }
        }
        if list.keys.is_empty() { Err(JwksError::NoKey(list.skipped)) } else { Ok(list) }
    }

    fn unless_duplicate(&self, new: IssuerKey) -> Result<IssuerKey, SkipReason> {
        let clashes = |old: &IssuerKey| {
            old.kid == new.kid && new.key.algorithms().any(|algorithm| old.key.serves(algorithm))
        };
        // Keys without a kid can be told apart by nobody; how many there are matters per token.
        let duplicate = new.kid.is_some() && self.keys.iter().any(clashes);
        if duplicate { Err(SkipReason::Duplicate) } else { Ok(new) }
    }
}

fn read_key(text: &str, algorithms: &[Algorithm]) -> Result<IssuerKey, SkipReason> {
    let Object(jwk): Object<Jwk> = serde_json::from_str(text).map_err(|_| SkipReason::Malformed)?;
    if jwk.kty == "oct" {
        return Err(SkipReason::Secret);
    }
    if jwk.d.is_some() {
        return Err(SkipReason::Private);
    }
    let kind = jwk.kind().ok_or(SkipReason::OtherUse)?;
    jwk.check_spelling()?;
    let algorithms = jwk.allowed(kind, algorithms);
    if algorithms.is_empty() || !jwk.is_for_signatures() {
        return Err(SkipReason::OtherUse);
    }
    let bytes = jwk.bytes(kind)?;
    if kind == KeyKind::Rsa && !keys::has_right_size(&bytes) {
        return Err(SkipReason::RsaSize);
    }
    let key = VerifyingKey::from_public(&bytes, kind, &algorithms).ok_or(SkipReason::NotOfKind)?;
    Ok(IssuerKey { kid: jwk.kid, key })
}

impl Jwk {
    /// `None`: of a kind that we do not know.
    fn kind(&self) -> Option<KeyKind> {
        match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => Some(KeyKind::Rsa),
            ("EC", Some("P-256")) => Some(KeyKind::P256),
            ("EC", Some("P-384")) => Some(KeyKind::P384),
            ("OKP", Some("Ed25519")) => Some(KeyKind::Ed25519),
            _ => None,
        }
    }

    /// Refuses what looks like a key for signatures and is none by the letter: a mistake of the issuer, where
    /// any other purpose is no mistake.
    fn check_spelling(&self) -> Result<(), SkipReason> {
        let is_near = |text: &str, meant: &str| text != meant && text.eq_ignore_ascii_case(meant);
        let near = |text: &str| Algorithm::ALL.iter().any(|one| is_near(text, one.name()));
        match (self.r#use.as_deref(), self.alg.as_deref()) {
            (Some(purpose), _) if purpose.is_empty() || is_near(purpose, "sig") => {
                Err(SkipReason::Odd("use"))
            }
            (_, Some(alg)) if alg.is_empty() || near(alg) => Err(SkipReason::Odd("alg")),
            _ => Ok(()),
        }
    }

    /// Those of the configured algorithms that the key may be used for.
    fn allowed(&self, kind: KeyKind, algorithms: &[Algorithm]) -> Vec<Algorithm> {
        let is_allowed = |algorithm: &Algorithm| {
            algorithm.key_kind() == Some(kind)
                && self
                    .alg
                    .as_deref()
                    .is_none_or(|alg| Algorithm::from_alg(alg) == Some(*algorithm))
        };
        algorithms.iter().copied().filter(is_allowed).collect()
    }

    fn is_for_signatures(&self) -> bool {
        self.r#use.as_deref().is_none_or(|purpose| purpose == "sig")
            && self.key_ops.as_ref().is_none_or(|all| all.iter().any(|one| one == "verify"))
    }

    /// The public key: in DER, or the bare point of an elliptic curve.
    fn bytes(&self, kind: KeyKind) -> Result<Vec<u8>, SkipReason> {
        match kind {
            KeyKind::Rsa => {
                let (n, e) = (number("n", &self.n)?, number("e", &self.e)?);
                let components = RsaPublicKeyComponents { n, e };
                let der: PublicKeyX509Der<'_> =
                    components.as_der().map_err(|_| SkipReason::NotOfKind)?;
                Ok(der.as_ref().to_vec())
            }
            KeyKind::P256 => self.point(32),
            KeyKind::P384 => self.point(48),
            KeyKind::Ed25519 => match decode("x", &self.x)? {
                x if x.len() == 32 => Ok(x),
                _ => Err(SkipReason::Member("x")),
            },
        }
    }

    /// An uncompressed point (SEC 1, 2.3.3): each coordinate in its full length.
    fn point(&self, length: usize) -> Result<Vec<u8>, SkipReason> {
        let mut point = vec![4];
        for (name, value) in [("x", &self.x), ("y", &self.y)] {
            let coordinate = number(name, value)?;
            let zeros = length.checked_sub(coordinate.len()).ok_or(SkipReason::Member(name))?;
            point.resize(point.len() + zeros, 0);
            point.extend(coordinate);
        }
        Ok(point)
    }
}

/// A number without leading zeros. Issuers write some for a sign, and leave out those of a full length.
fn number(name: &'static str, value: &Option<String>) -> Result<Vec<u8>, SkipReason> {
    let bytes = decode(name, value)?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    if zeros == bytes.len() { Err(SkipReason::Member(name)) } else { Ok(bytes[zeros..].to_vec()) }
}

/// The bytes of a member in base64: of either alphabet, padded or not, on one line or wrapped.
fn decode(name: &'static str, value: &Option<String>) -> Result<Vec<u8>, SkipReason> {
    let text = value.as_deref().ok_or(SkipReason::Member(name))?;
    let text: String = text.split_ascii_whitespace().collect();
    let text = text.trim_end_matches('=').replace('+', "-").replace('/', "_");
    URL_SAFE_NO_PAD.decode(text).map_err(|_| SkipReason::Member(name))
}

fn shown_kid(key: &RawValue) -> String {
    const LONGEST: usize = 64;
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        kid: &'a RawValue,
    }
    let Ok(Object(Named { kid })) = serde_json::from_str(key.get()) else {
        return "no kid".to_owned();
    };
    // A kid that is no text is shown as it is written.
    let kid = serde_json::from_str(kid.get()).unwrap_or_else(|_| kid.get().to_owned());
    kid.chars().take(LONGEST).flat_map(char::escape_default).collect()
}

#[cfg(test)]
mod tests;
