//! Which keys serve which algorithms, and what is said of a file that holds no single public key.

use super::{super::tests::keys::TestKeys, *};
use Algorithm::*;
use base64::{Engine, engine::general_purpose::STANDARD};

fn secret(secret: &str) -> KeySource {
    KeySource::HmacSecret(Secret::new(secret.to_owned()))
}

fn error(key: &KeySource, algorithms: &[Algorithm]) -> Option<KeyError> {
    key.verifying_key(algorithms).err()
}

#[test]
fn a_key_serves_exactly_the_algorithms_of_its_kind() {
    let keys = TestKeys::shared();
    for algorithm in Algorithm::ALL {
        for other in Algorithm::ALL {
            let serves = error(&keys.source(algorithm), &[other]).is_none();
            assert_eq!(serves, algorithm.key_kind() == other.key_kind(), "{algorithm} {other}");
        }
    }
}

#[test]
fn the_error_names_the_algorithm_that_the_key_cannot_serve() {
    let keys = TestKeys::shared();
    let wrong = |algorithm, found| Some(KeyError::WrongKind { algorithm, found });
    assert_eq!(error(&keys.source(RS256), &[RS256, PS512, ES256]), wrong(ES256, KeyKind::Rsa));
    assert_eq!(error(&keys.source(ES256), &[ES256, ES384]), wrong(ES384, KeyKind::P256));
    assert_eq!(error(&keys.source(EdDSA), &[RS256]), wrong(RS256, KeyKind::Ed25519));
    assert_eq!(error(&keys.source(RS256), &[RS256, HS256]), Some(KeyError::NeedsSecret(HS256)));
    assert_eq!(error(&secret("s"), &[HS256, RS256]), Some(KeyError::NeedsPublicKey(RS256)));
    assert_eq!(error(&secret(""), &[HS256]), Some(KeyError::EmptySecret));
    assert_eq!(error(&secret("s"), &[]), Some(KeyError::NoAlgorithm));
    let text = wrong(ES384, KeyKind::P256).map(|error| error.to_string());
    let expected = "ES384 needs an EC key on P-384, but the key is an EC key on P-256";
    assert_eq!(text.as_deref(), Some(expected));
}

#[test]
fn a_file_that_is_no_single_public_key_is_refused_by_what_it_is() {
    let keys = TestKeys::shared();
    let good = keys.public_pem(ES256);
    let body = good.lines().nth(1).unwrap().to_owned();
    let block = |label: &str, body: &str| {
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
    };
    for (pem, expected) in [
        (String::new(), KeyError::NotPem),
        ("hello".to_owned(), KeyError::NotPem),
        (body.clone(), KeyError::NotPem),
        (good.replace("-----END", "-----"), KeyError::NotPem),
        (good.replace("PUBLIC", "PGP PUBLIC"), KeyError::NotPem),
        (good.repeat(2), KeyError::NotPem),
        (block("PUBLIC KEY", "AAA*"), KeyError::NotPem),
        (block("PUBLIC KEY", ""), KeyError::UnknownKind),
        (block("PUBLIC KEY", "BgA="), KeyError::UnknownKind),
        (block("PUBLIC KEY", &STANDARD.encode([0x30; 91])), KeyError::UnknownKind),
        (block("PUBLIC KEY", &STANDARD.encode(keys.small_rsa())), KeyError::RsaSize),
        (block("PRIVATE KEY", &body), KeyError::PrivateKey),
        (block("ENCRYPTED PRIVATE KEY", &body), KeyError::PrivateKey),
        (good.clone() + &block("EC PRIVATE KEY", &body), KeyError::PrivateKey),
        (block("CERTIFICATE", &body), KeyError::Certificate),
    ] {
        let source = KeySource::PublicKeyPem(pem.clone().into_bytes());
        assert_eq!(error(&source, &[ES256]), Some(expected), "{pem}");
    }
    assert_eq!(error(&KeySource::PublicKeyPem(vec![0xff; 64]), &[ES256]), Some(KeyError::NotPem));
    let framed = format!("key of the issuer\r\n{}\r\n", good.replace('\n', "\r\n"));
    assert_eq!(error(&KeySource::PublicKeyPem(framed.into_bytes()), &[ES256]), None);
}

#[test]
fn an_rsa_key_is_read_in_both_forms_that_openssl_writes() {
    let der = TestKeys::shared().public_der(RS256);
    // PKCS #1 is what `SubjectPublicKeyInfo` wraps: 270 bytes for 2048 bits.
    let body = STANDARD.encode(&der[der.len() - 270..]);
    let pem = format!("-----BEGIN RSA PUBLIC KEY-----\n{body}\n-----END RSA PUBLIC KEY-----\n");
    assert_eq!(error(&KeySource::PublicKeyPem(pem.into_bytes()), &[RS256, PS256]), None);
}

#[test]
fn no_damaged_key_panics() {
    let keys = TestKeys::shared();
    let mut random = fastrand::Rng::with_seed(7);
    for algorithm in [RS256, ES256, ES384, EdDSA] {
        for _ in 0..300 {
            let mut pem = keys.public_pem(algorithm).into_bytes();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..pem.len());
                pem[at] = random.u8(..);
            }
            let _ = KeySource::PublicKeyPem(pem).verifying_key(&[algorithm]);
        }
    }
}

#[test]
fn a_key_never_prints() {
    let private = KeySource::PublicKeyPem(b"-----BEGIN PRIVATE KEY-----".to_vec());
    let text = format!("{:?} {private:?}", secret("hunter2"));
    assert!(
        !text.contains("hunter2") && !text.contains("PRIVATE") && !text.contains("45"),
        "{text}"
    );
}
