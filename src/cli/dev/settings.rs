//! The demo configuration, as the text that a user could have written.

use crate::app::BindError;
use aws_lc_rs::rand;
use std::io;

/// The ports that the documentation speaks of.
const PORT: u16 = 8080;
const ADMIN_PORT: u16 = 9090;

/// Where to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ports {
    public: Port,
    admin: Port,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Port {
    Asked(u16),
    Usual(u16),
    /// The system picks one.
    Any,
}

impl Ports {
    /// Those that were asked for, else the usual ones.
    pub(super) fn of(public: Option<u16>, admin: Option<u16>) -> Self {
        let port = |asked: Option<u16>, usual| asked.map_or(Port::Usual(usual), Port::Asked);
        Self { public: port(public, PORT), admin: port(admin, ADMIN_PORT) }
    }

    /// Leaves a usual port to the program that has it. `false`: that was not why it could not be bound, or
    /// this very port was asked for.
    pub(super) fn give_way(&mut self, error: &BindError) -> bool {
        let (port, source) = match error {
            BindError::Public { source, .. } => (&mut self.public, source),
            BindError::Admin { source, .. } => (&mut self.admin, source),
            BindError::Publish { .. } | BindError::Shard(_) => return false,
        };
        let gives = source.kind() == io::ErrorKind::AddrInUse && matches!(port, Port::Usual(_));
        if gives {
            *port = Port::Any;
        }
        gives
    }
}

impl Port {
    fn number(self) -> u16 {
        match self {
            Self::Asked(port) | Self::Usual(port) => port,
            Self::Any => 0,
        }
    }
}

/// The whole file. The secret in it is made up anew at each call.
pub(super) fn text(ports: Ports, redis_port: u16) -> String {
    let (port, admin_port) = (ports.public.number(), ports.admin.number());
    let secret = secret();
    format!(
        r#"
[server]
listen = "127.0.0.1:{port}"
max_connections = 500

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

[[endpoint]]
name = "chat"
path = "/ws/chat/{{room}}"
streams = ["chat:{{path.room}}"]
format = "json"
replay_last = 10
sse = true

[endpoint.publish]
stream = "chat:{{path.room}}"
keep_entries = 1000
expire_after = "1h"

[endpoint.presence]
channel = "chat:{{path.room}}"

[shutdown]
spread = "200ms"
timeout = "5s"
"#
    )
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
        let loaded = config::parse(&text(Ports::of(Some(0), None), 6379), "dev")
            .map_err(|error| error.report());
        let loaded = loaded.unwrap();
        assert!(
            loaded.warnings.iter().all(|one| one.contains("audience")),
            "{:?}",
            loaded.warnings
        );
        assert_eq!(loaded.config.endpoints.len(), 3);
        assert!(loaded.config.auth.jwt_settings().is_some());
    }

    fn public_port_fails(kind: io::ErrorKind) -> BindError {
        BindError::Public { address: "127.0.0.1:8080".to_owned(), source: kind.into() }
    }

    #[test]
    fn a_usual_port_that_is_taken_is_left_to_the_program_that_has_it() {
        let mut ports = Ports::of(None, None);
        assert!(ports.give_way(&public_port_fails(io::ErrorKind::AddrInUse)));
        assert_eq!(ports, Ports { public: Port::Any, admin: Port::Usual(ADMIN_PORT) });
        assert!(!ports.give_way(&public_port_fails(io::ErrorKind::AddrInUse)), "once is enough");
    }

    #[test]
    fn a_port_that_was_asked_for_and_any_other_failure_end_it() {
        let mut ports = Ports::of(Some(PORT), None);
        assert!(!ports.give_way(&public_port_fails(io::ErrorKind::AddrInUse)));
        assert!(
            !Ports::of(None, None).give_way(&public_port_fails(io::ErrorKind::PermissionDenied))
        );
    }

    #[test]
    fn the_secret_is_new_each_time() {
        assert_eq!(secret().len(), 64);
        assert_ne!(secret(), secret());
    }
}
