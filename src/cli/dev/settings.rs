//! The demo configuration, as the text that a user could have written.

use aws_lc_rs::rand;
use std::net::TcpListener;

/// The ports that the documentation speaks of.
const PORT: u16 = 8080;
const ADMIN_PORT: u16 = 9090;

/// The whole file. The secret in it is made up anew at each call.
pub(super) fn text(port: Option<u16>, redis_port: u16) -> String {
    let port = port.unwrap_or_else(|| free_or_any(PORT));
    let admin_port = free_or_any(ADMIN_PORT);
    let secret = secret();
    format!(
        r#"
[server]
listen = "127.0.0.1:{port}"

[admin]
listen = "127.0.0.1:{admin_port}"

[redis]
url = "redis://127.0.0.1:{redis_port}/0"
probe_interval = "1s"
probe_timeout = "500ms"

[auth.jwt]
algorithms = ["HS256"]
secret = "{secret}"

[[endpoint]]
name = "notifications"
path = "/ws/notifications"
channels = ["user:{{user}}:notifications", "notifications:global"]

[[endpoint]]
name = "rooms"
path = "/ws/rooms/{{room}}"
channels = ["room:{{path.room}}"]
auth = "none"

[shutdown]
spread = "200ms"
timeout = "5s"
"#
    )
}

/// The port when it is free, else 0, by which the system picks one.
fn free_or_any(port: u16) -> u16 {
    TcpListener::bind(("127.0.0.1", port)).map_or(0, |_| port)
}

/// 256 random bits, in hexadecimal.
fn secret() -> String {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).expect("the system has random numbers");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn the_demo_configuration_is_valid_and_warns_of_nothing_but_the_audience() {
        let loaded = config::parse(&text(Some(0), 6379), "dev").map_err(|error| error.report());
        let loaded = loaded.unwrap();
        assert!(
            loaded.warnings.iter().all(|one| one.contains("audience")),
            "{:?}",
            loaded.warnings
        );
        assert_eq!(loaded.config.endpoints.len(), 2);
        assert!(loaded.config.auth.jwt_settings().is_some());
    }

    #[test]
    fn a_port_that_is_taken_is_left_to_whoever_has_it() {
        let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        assert_eq!(free_or_any(taken.local_addr().unwrap().port()), 0);
    }

    #[test]
    fn the_secret_is_new_each_time() {
        assert_eq!(secret().len(), 64);
        assert_ne!(secret(), secret());
    }
}
