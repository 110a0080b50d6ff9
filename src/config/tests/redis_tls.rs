//! `[redis.tls]`: files that belong together, and only where there is TLS.

use super::LEAST;
use crate::config::parse_with;
use std::{
    path::Path,
    process::{Command, Stdio},
};

fn make_certificate(directory: &Path, name: &str) {
    let status = Command::new("openssl")
        .current_dir(directory)
        .args(["req", "-x509", "-nodes", "-subj", "/CN=test", "-newkey", "ec"])
        .args(["-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-keyout", &format!("{name}.key"), "-out", &format!("{name}.pem")])
        .stderr(Stdio::null())
        .status();
    assert!(status.expect("openssl is installed").success());
}

/// What is wrong with these lines below `[redis]`.
fn problems(directory: &Path, url: &str, tls: &str) -> Vec<String> {
    let text = format!("[redis]\nurl = \"{url}\"\n[redis.tls]\n{tls}\n{LEAST}");
    let name = directory.join("FILE");
    let name = name.to_str().unwrap();
    match parse_with(&text, name, &|_| None) {
        Ok(_) => Vec::new(),
        Err(error) => {
            error.problems().iter().map(|it| it.to_string().replace(name, "FILE")).collect()
        }
    }
}

#[test]
fn the_files_of_redis_tls_must_belong_together() {
    let directory = tempfile::tempdir().unwrap();
    ["one", "two"].iter().for_each(|name| make_certificate(directory.path(), name));
    let problems = |tls: &str| problems(directory.path(), "rediss://host", tls);
    let none: [&str; 0] = [];
    assert_eq!(problems("ca_file = \"one.pem\""), none);
    assert_eq!(problems("cert_file = \"one.pem\"\nkey_file = \"one.key\""), none);
    assert_eq!(problems("ca_file = \"\"\ncert_file = \"\"\nkey_file = \"\""), none);
    assert_eq!(
        problems("cert_file = \"one.pem\""),
        ["FILE:3:1 redis.tls.key_file: is missing: the key of cert_file"]
    );
    assert_eq!(
        problems("key_file = \"one.key\""),
        ["FILE:3:1 redis.tls.cert_file: is missing: the certificate of key_file"]
    );
    assert_eq!(
        problems("cert_file = \"one.pem\"\nkey_file = \"two.key\""),
        ["FILE:5:1 redis.tls.key_file: is not the key of the first certificate in cert_file"]
    );
    assert_eq!(
        problems("ca_file = \"one.key\""),
        ["FILE:4:1 redis.tls.ca_file: holds no certificate in PEM"]
    );
}

#[test]
fn certificates_without_tls_are_refused_at_each_key() {
    let directory = tempfile::tempdir().unwrap();
    make_certificate(directory.path(), "one");
    let tls = "ca_file = \"one.pem\"\ncert_file = \"one.pem\"\nkey_file = \"one.key\"";
    for url in ["redis://host", "redis+unix:///redis.sock"] {
        assert_eq!(
            problems(directory.path(), url, tls),
            [
                "FILE:4:1 redis.tls.ca_file: only a rediss:// URL has TLS",
                "FILE:5:1 redis.tls.cert_file: only a rediss:// URL has TLS",
                "FILE:6:1 redis.tls.key_file: only a rediss:// URL has TLS",
            ]
        );
    }
    // A URL that is wrong is told alone.
    assert_eq!(problems(directory.path(), "http://host", tls).len(), 1);
}
