//! Which server is dialled: the configured one, or the primary that it names once it is demoted.
//!
//! ROLE is asked with every probe. A server that was the primary and is a replica now has been
//! demoted; what backends publish goes elsewhere, and it says where. That address is dialled; when it
//! cannot be had, or is lost, the configured one is next. A server that never was the primary is
//! left alone: somebody wants a replica.
//!
//! Pure: it sends nothing.

use crate::{
    config::RedisAddress,
    upstream::link::{Role, Target},
};
use tracing::warn;

/// What is known of the primary.
#[derive(Debug)]
pub(super) struct Primary {
    target: Target,
    /// A primary has answered, in the life of this process.
    seen: bool,
    /// Whether ROLE makes sense on the present link.
    asks: bool,
    /// Over a unix socket nobody is followed: whether the way to elsewhere is private, only the
    /// configuration could say.
    can_follow: bool,
    warned: bool,
}

impl Primary {
    pub(super) fn new(configured: &RedisAddress) -> Self {
        let can_follow = matches!(configured, RedisAddress::Tcp { .. });
        Self { target: Target::default(), seen: false, asks: false, can_follow, warned: false }
    }

    /// The server to dial, and to publish to.
    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// A link was made.
    pub(super) fn linked(&mut self) {
        self.asks = self.can_follow;
    }

    /// Whether ROLE is to be asked with the next PING.
    pub(super) fn asks(&self) -> bool {
        self.asks
    }

    /// Takes in the answer to ROLE. Returns why the link must be given up, if it must: the next
    /// dial goes to the primary.
    pub(super) fn observe(&mut self, role: Role) -> Option<String> {
        match role {
            Role::Primary => self.seen = true,
            Role::Replica { host, port } if self.seen => {
                self.target = Target::Named { host, port };
                return Some(format!("Redis is no longer the primary; it names {}", self.target));
            }
            Role::Replica { .. } => {}
            Role::Unknown => {
                self.asks = false;
                if !std::mem::replace(&mut self.warned, true) {
                    warn!("Redis does not answer ROLE: a primary that is demoted is not noticed");
                }
            }
        }
        None
    }

    /// The dial has failed, or the link was lost without a word of another primary.
    pub(super) fn lost(&mut self) {
        self.target = Target::Configured;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn primary(configured: &RedisAddress) -> Primary {
        let mut primary = Primary::new(configured);
        primary.linked();
        primary
    }

    fn tcp() -> Primary {
        primary(&RedisAddress::Tcp { host: "redis".to_owned(), port: 6379, tls: false })
    }

    fn replica() -> Role {
        Role::Replica { host: "10.0.0.2".to_owned(), port: 6380 }
    }

    #[test]
    fn a_demoted_primary_is_left_for_the_one_it_names_and_a_replica_from_the_start_is_not() {
        let mut primary = tcp();
        assert_eq!(primary.observe(replica()), None);
        assert_eq!(*primary.target(), Target::Configured);
        assert_eq!(primary.observe(Role::Primary), None);
        assert!(primary.observe(replica()).unwrap().contains("10.0.0.2:6380"));
        assert_eq!(primary.target().to_string(), "10.0.0.2:6380");
    }

    #[test]
    fn the_configured_server_is_next_when_the_named_one_is_lost() {
        let mut primary = tcp();
        primary.observe(Role::Primary);
        primary.observe(replica());
        primary.lost();
        assert_eq!(*primary.target(), Target::Configured);
        primary.linked();
        assert!(primary.observe(replica()).is_some(), "the name may still lead to the old one");
    }

    #[test]
    fn without_an_answer_it_is_not_asked_again_on_this_link() {
        let mut primary = tcp();
        assert!(primary.asks());
        assert_eq!(primary.observe(Role::Unknown), None);
        assert!(!primary.asks());
        primary.linked();
        assert!(primary.asks());
    }

    #[test]
    fn nobody_is_followed_away_from_a_unix_socket() {
        assert!(!primary(&RedisAddress::Unix("redis.sock".into())).asks());
    }
}
