//! Makes the two connections to a Redis server: our own link for what is subscribed, and one for every
//! other command.

use super::{
    link::{Connection, Credentials, Dialler, Link, Reply},
    publish::{CommandConnection, CommandDialler, PublishConnection},
    pubsub::Target,
};
use crate::config;

/// Makes connections. Each is authenticated when its dial succeeds.
pub(super) trait Connect: Send + 'static {
    type Link: Link;
    type Publisher: PublishConnection;

    /// Dials the connection that subscribes.
    fn link(&self, target: &Target) -> Reply<Self::Link>;

    /// Dials the connection for every other command.
    fn publisher(&self, target: &Target) -> Reply<Self::Publisher>;
}

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
