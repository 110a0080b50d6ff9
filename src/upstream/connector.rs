//! Makes the two connections to the real Redis: our own link for what is subscribed, and one for
//! every other command.

use super::{
    connect::Connect,
    link::{Connection, Credentials, DialSettings, Dialler, Pending, Target},
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
        let dial = DialSettings::new(settings, credentials);
        let links = Dialler::new(dial.clone(), settings.max_payload.get());
        Self { links, commands: CommandDialler::new(dial) }
    }

    /// Dials connections of our own.
    pub(super) fn links(&self) -> Dialler {
        self.links.clone()
    }
}

impl Connect for Connector {
    type Link = Connection;
    type Publisher = CommandConnection;

    fn link(&self, target: &Target) -> Pending<Connection> {
        self.links.dial(target)
    }

    fn publisher(&self, target: &Target) -> Pending<CommandConnection> {
        self.commands.dial(target)
    }
}
