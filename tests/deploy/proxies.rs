//! The reverse proxies' files, validated by the proxies themselves. `tests/it` sends sessions
//! through them.

use crate::tools::{assert_accepted, path, program, read};
use std::{fs, process::Command};

#[test]
fn nginx_accepts_its_file() {
    let Some(mut nginx) = program("nginx", &["-v"]) else { return };
    let Some(mut openssl) = program("openssl", &["version"]) else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path().display().to_string();
    let arguments = "req -x509 -nodes -newkey rsa:2048 -days 1 -subj /CN=example.com -keyout";
    openssl.args(arguments.split(' ')).arg(format!("{place}/example.com.key"));
    assert_accepted(openssl.arg("-out").arg(format!("{place}/example.com.pem")));

    let text = read("deploy/nginx/sockway.conf")
        .replace("/etc/ssl/certs", &place)
        .replace("/etc/ssl/private", &place)
        .replace("/var/log/nginx", &place);
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {place}/{name};"))
        .join("\n");
    let whole =
        format!("pid {place}/pid; events {{}}\nhttp {{ access_log off;\n{temporary}\n{text} }}");
    let file = directory.path().join("nginx.conf");
    fs::write(&file, whole).expect("a file");
    nginx.arg("-t").arg("-e").arg(format!("{place}/error.log")).arg("-c").arg(&file);
    assert_accepted(&mut nginx);
}

#[test]
fn caddy_accepts_its_file() {
    let Some(mut caddy) = program("caddy", &["version"]) else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let in_directory = |caddy: &mut Command| {
        caddy.env("XDG_DATA_HOME", directory.path()).env("XDG_CONFIG_HOME", directory.path());
    };
    in_directory(&mut caddy);
    let file = path("deploy/caddy/Caddyfile");
    assert_accepted(caddy.args(["validate", "--adapter", "caddyfile", "--config"]).arg(file));
}
