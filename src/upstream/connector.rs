//! Makes the two connections to the real Redis: our own link for what is subscribed, and one for
//! every other command.

use super::{
    connect::Connect,
    link::{Connection, Credentials, Dialler, Reply, Target},
    publish::{CommandConnection, CommandDialler},
};
use crate::config;

/// Dials as the configuration says, with the login of the moment.
pub(super) struct Connector {
    links: Dialler,
    commands: CommandDialler,
}

impl Connector {
    pub(super) fn new(settings: &config::Redis, credentials: Credentials) -> Self {
        let commands = CommandDialler::new(settings, credentials.clone());
        Self { links: Dialler::new(settings, credentials), commands }
    }
}

impl Connect for Connector {
    type Link = Connection;
    type Publisher = CommandConnection;

    fn link(&self, target: &Target) -> Reply<Connection> {
        match target {
            Target::Configured => self.links.dial(),
            Target::Named { host, port } => self.links.follow(host.clone(), *port).dial(),
        }
    }

    fn publisher(&self, target: &Target) -> Reply<CommandConnection> {
        match target {
            Target::Configured => self.commands.dial(),
            Target::Named { host, port } => self.commands.follow(host.clone(), *port).dial(),
        }
    }
}
