//! `sockway doctor` on certificates and on an issuer's keys.

use crate::{
    doctor::{doctor, doctor_of, settings},
    jwks,
    rig::{Certificate, Gateway, Issuer, Key, Redis, Settings, wait::until},
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::json;
use std::path::Path;
use tempfile::TempDir;

fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn with_tls(redis: &Redis, certificate: &Certificate) -> Settings {
    settings(redis)
        .set("server.tls.cert_file", text(&certificate.certificate))
        .set("server.tls.key_file", text(&certificate.key))
}

#[test]
fn the_public_port_s_certificate_is_told_with_the_days_it_has_left() {
    let (redis, files) = (Redis::start(), directory());
    let lasting = Certificate::make_for(files.path(), "lasting", 30);
    doctor(&with_tls(&redis, &lasting), &[]).assert("ok", "certificate", &["expires in"]);

    let ending = Certificate::make_for(files.path(), "ending", 14);
    let said = doctor(&with_tls(&redis, &ending), &[]);
    assert_eq!((said.status, said.failures()), (0, 0), "{said:#?}");
    said.assert("warn", "certificate", &["expires in 13 days", "-> renew it"]);

    ending.let_expire();
    let said = doctor(&with_tls(&redis, &ending), &[]);
    assert_eq!((said.status, said.failures()), (1, 1), "{said:#?}");
    said.assert("fail", "certificate", &["has expired", "-> renew it"]);
    assert!(doctor(&settings(&redis), &[]).about("certificate").is_empty());
}

#[test]
fn the_way_of_clients_by_tls_is_tried_as_one_who_trusts_the_certificate_and_as_one_who_does_not() {
    let (redis, files) = (Redis::start(), directory());
    let certificate = Certificate::make(files.path(), "private");
    let settings = with_tls(&redis, &certificate);
    let gateway = Gateway::start(&settings);
    let url = format!("wss://localhost:{}/ws/me", gateway.address.port());
    let said_to = |trust| doctor_of(&settings.text(), &["--url", &url], trust);

    let said = said_to(Some(&certificate.certificate));
    assert_eq!((said.status, said.failures()), (0, 0), "{said:#?}");
    said.assert("warn", "url tls", &["trusted by this machine", "expires in 0 days"]);
    said.assert("ok", "url handshake", &["101 in"]);
    said.assert("ok", "url session", &["open and subscribed"]);

    let said = said_to(None);
    assert_eq!((said.status, said.failures()), (1, 1), "{said:#?}");
    said.assert(
        "fail",
        "url tls",
        &["unknown issuer", "-> the certificate must be", "SSL_CERT_FILE"],
    );
    assert_eq!(said.text.matches("unknown issuer").count(), 1, "told twice: {said:#?}");

    certificate.let_expire();
    assert!(gateway.hang_up());
    until("the second in which it expired is over", || {
        let said = said_to(Some(&certificate.certificate));
        let expired = said.about("url tls").iter().any(|line| line.contains("xpired"));
        expired && said.status == 1
    });
}

/// An issuer's server for a certificate.
fn serving(certificate: &Certificate) -> ServerConfig {
    let chain = CertificateDer::from_pem_file(&certificate.certificate).expect("PEM");
    let key = PrivateKeyDer::from_pem_file(&certificate.key).expect("PEM");
    let config = ServerConfig::builder().with_no_client_auth();
    config.with_single_cert(vec![chain], key).expect("a certificate and its key")
}

#[test]
fn the_issuer_s_keys_are_fetched_and_counted_and_a_bad_one_is_named() {
    let redis = Redis::start();
    let issuer = Issuer::of(&[&Key::new("a"), &Key::new("b")]);
    let settings = jwks::settings(&redis, &issuer.url());
    let said = doctor(&settings, &[]);
    assert_eq!((said.status, said.failures()), (0, 0), "{said:#?}");
    said.assert("ok", "issuer keys", &[&issuer.url(), "2 keys, 2 usable, in", " ms"]);

    let secret = json!({ "kty": "oct", "kid": "shared", "k": "unmistakable" });
    // For another purpose, as issuers have them: nothing to warn about.
    let other = json!({ "kty": "RSA", "kid": "other", "use": "enc", "n": "AQAB", "e": "AQAB" });
    let keys = json!({ "keys": [Key::new("a").jwk(), secret, other] });
    issuer.say("200 OK", &keys.to_string());
    let said = doctor(&settings, &[]);
    assert_eq!((said.status, said.failures()), (0, 0), "{said:#?}");
    said.assert("ok", "issuer keys", &["3 keys, 1 usable"]);
    said.assert("warn", "issuer keys", &["shared", "shared secret", "-> tokens of this key"]);
    assert_eq!(said.about("issuer keys").len(), 2, "{said:#?}");
    assert!(!said.text.contains("unmistakable"), "{said:#?}");
    assert!(doctor(&crate::doctor::settings(&redis), &[]).about("issuer keys").is_empty());
}

#[test]
fn an_issuer_that_gives_no_keys_is_a_failure_with_its_reason_and_what_to_do() {
    let redis = Redis::start();
    let issuer = Issuer::down();
    let settings = jwks::settings(&redis, &issuer.url());
    let failure = |words: &[&str]| {
        let said = doctor(&settings, &[]);
        assert_eq!((said.status, said.failures()), (1, 1), "{said:#?}");
        said.assert("fail", "issuer keys", words);
        said.assert("ok", "redis login", &[]);
    };
    failure(&["not HTTP", "-> is auth.jwt.jwks_url right"]);
    issuer.say_nothing();
    failure(&["no answer within 2 s", "-> is auth.jwt.jwks_url right"]);
    issuer.say("404 Not Found", "");
    failure(&["404", "-> auth.jwt.jwks_url must be that of the key set itself"]);
    issuer.say("302 Found\r\nLocation: /elsewhere", "");
    failure(&["redirect", "-> auth.jwt.jwks_url must be that of the key set itself"]);
    issuer.say("200 OK", "<html>");
    failure(&["not a JSON Web Key Set", "openid-configuration"]);
    issuer.say("200 OK", r#"{"keys":[]}"#);
    failure(&["no key that can be used", "-> auth.jwt.algorithms"]);
}

#[test]
fn an_issuer_whose_certificate_is_not_trusted_is_told_as_such_and_one_that_is_gives_its_keys() {
    let (redis, files) = (Redis::start(), directory());
    let certificate = Certificate::make(files.path(), "issuer");
    let issuer = Issuer::with_tls(serving(&certificate), &[&Key::new("a")]);
    let settings = jwks::settings(&redis, &issuer.url()).text();
    let said = doctor_of(&settings, &[], None);
    assert_eq!((said.status, said.failures()), (1, 1), "{said:#?}");
    said.assert("fail", "issuer keys", &["unknown issuer", "-> its certificate", "SSL_CERT_FILE"]);
    let said = doctor_of(&settings, &[], Some(&certificate.certificate));
    assert_eq!((said.status, said.failures()), (0, 0), "{said:#?}");
    said.assert("ok", "issuer keys", &["1 key, 1 usable"]);
}
