//! A separate network namespace for clients, joined to ours by one virtual cable that can be cut.
//! Needs root.

use std::{net::Ipv4Addr, process::Command};

/// A network namespace with one end of a veth pair in it. Deleted at drop.
pub(crate) struct Wire {
    name: String,
    /// Our end.
    card: String,
    /// The address of our end, where a gateway can listen.
    pub(crate) ours: Ipv4Addr,
}

impl Wire {
    /// Creates the namespace and the pair.
    ///
    /// # Errors
    /// The output of `ip` where this is not permitted or not available.
    pub(crate) fn lay() -> Result<Self, String> {
        // From the network reserved for benchmarks, at random: two test runs should not collide.
        let [third, fourth] = [fastrand::u8(..), fastrand::u8(..) & 0xFC];
        let address = |last: u8| Ipv4Addr::new(198, 18, third, fourth | last);
        let name = format!("sockway-{}-{third}-{fourth}", std::process::id());
        let card = format!("sw{third}-{fourth}");
        ip(&format!("netns add {name}"))?;
        // From here on, whatever was created is deleted at drop, even if a later step fails.
        let wire = Self { name, card, ours: address(1) };
        let Self { name, card, .. } = &wire;
        ip(&format!("link add {card} type veth peer name wire netns {name}"))?;
        ip(&format!("address add {}/30 dev {card}", address(1)))?;
        ip(&format!("link set {card} up"))?;
        ip(&format!("-n {name} address add {}/30 dev wire", address(2)))?;
        ip(&format!("-n {name} link set wire up"))?;
        Ok(wire)
    }

    /// A command that runs in the namespace.
    pub(crate) fn far(&self, command: &Command) -> Command {
        let mut far = Command::new("ip");
        far.args(["netns", "exec", &self.name]).arg(command.get_program());
        far.args(command.get_args());
        far
    }

    /// From now on nothing arrives in either direction, and neither side is told.
    #[track_caller]
    pub(crate) fn pull(&self) {
        ip(&format!("-n {} link set wire down", self.name)).expect("it was laid");
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // Deletes both interfaces, which the namespace alone would keep while a connection in it is
        // open. If this fails, they stay until the next reboot.
        let _ = ip(&format!("link delete {}", self.card));
        let _ = ip(&format!("netns delete {}", self.name));
    }
}

fn ip(arguments: &str) -> Result<(), String> {
    let done = Command::new("ip").args(arguments.split(' ')).output();
    let done = done.map_err(|error| format!("ip: {error}"))?;
    let said = || format!("ip {arguments}: {}", String::from_utf8_lossy(&done.stderr).trim());
    if done.status.success() { Ok(()) } else { Err(said()) }
}
