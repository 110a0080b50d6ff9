//! Which server is dialled: the configured one, or the primary that it names once it is demoted.
//!
//! ROLE is asked with every probe. A server that was the primary and is a replica now has been
//! demoted; what backends publish goes elsewhere, and it says where. That address is dialled. A server
//! that never was the primary is left alone: somebody wants a replica.
//!
//! After a lost link, the server that was the primary last is dialled first, then the configured one,
//! and so on by turns. Whichever answers, ROLE decides whether it is stayed with.
//!
//! Pure: it sends nothing.

use super::link::{Role, Target};
use crate::config::RedisAddress;
use tracing::warn;

/// What is known of the primary.
#[derive(Debug)]
pub(super) struct Primary {
    target: Target,
    /// The server that was the primary last.
    last: Target,
    /// A primary has answered, in the life of this process.
    seen: bool,
    /// The server of the present link is the primary.
    is_found: bool,
    /// A server was left for the one that it names, and no primary has answered since.
    is_moving: bool,
    /// Whether ROLE makes sense on the present link.
    asks: bool,
    /// Over a unix socket nobody is followed: whether the way to elsewhere is private, only the
    /// configuration could say.
    can_follow: bool,
    warned: bool,
}

impl Primary {
    pub(super) fn new(configured: &RedisAddress) -> Self {
        Self {
            target: Target::default(),
            last: Target::default(),
            seen: false,
            is_found: false,
            is_moving: false,
            asks: false,
            can_follow: matches!(configured, RedisAddress::Tcp { .. }),
            warned: false,
        }
    }

    /// The server to dial, and to publish to.
    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// A link was made.
    pub(super) fn linked(&mut self) {
        (self.asks, self.is_found) = (self.can_follow, false);
    }

    /// Whether ROLE is to be asked with the next PING.
    pub(super) fn asks(&self) -> bool {
        self.asks
    }

    /// Whether sessions' channels must wait for the answer to ROLE: replicas that name each other
    /// would confirm them again and again, and each time tell a gap that ends nothing.
    pub(super) fn is_awaited(&self) -> bool {
        self.asks && self.is_moving
    }

    /// Takes in the answer to ROLE. Returns why the link must be given up, if it must: the next
    /// dial goes to the primary.
    pub(super) fn observe(&mut self, role: Role) -> Option<String> {
        match role {
            Role::Primary => {
                (self.seen, self.is_found) = (true, true);
                self.last = self.target.clone();
            }
            Role::Replica { host, port } if self.seen => {
                self.target = Target::Named { host, port };
                self.is_moving = true;
                return Some(format!("Redis is no longer the primary; it names {}", self.target));
            }
            Role::Replica { .. } | Role::Unknown => {}
            Role::Refused => self.role_refused(),
        }
        self.is_moving = false;
        None
    }

    fn role_refused(&mut self) {
        self.asks = false;
        if !std::mem::replace(&mut self.warned, true) {
            warn!("Redis does not answer ROLE: a primary that is demoted is not noticed");
        }
    }

    /// The dial has failed, or the link was lost without a word of another primary.
    pub(super) fn lost(&mut self) {
        let was_found = std::mem::take(&mut self.is_found);
        self.target = match self.target {
            _ if was_found => self.last.clone(),
            Target::Configured => self.last.clone(),
            Target::Named { .. } => Target::Configured,
        };
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
    fn the_configured_server_is_next_when_the_named_one_was_never_had() {
        let mut primary = tcp();
        primary.observe(Role::Primary);
        primary.observe(replica());
        for _ in 0..3 {
            primary.lost();
            assert_eq!(*primary.target(), Target::Configured);
        }
        primary.linked();
        assert!(primary.observe(replica()).is_some(), "the name may still lead to the old one");
    }

    #[test]
    fn the_last_primary_and_the_configured_server_are_dialled_by_turns() {
        let mut primary = tcp();
        primary.observe(Role::Primary);
        primary.observe(replica());
        primary.linked();
        primary.observe(Role::Primary);
        let named = primary.target().clone();
        for _ in 0..3 {
            primary.lost();
            assert_eq!(*primary.target(), named);
            primary.lost();
            assert_eq!(*primary.target(), Target::Configured);
        }
        primary.linked();
        primary.observe(Role::Primary);
        primary.lost();
        primary.lost();
        assert_eq!(*primary.target(), Target::Configured, "it is the last primary now");
    }

    #[test]
    fn channels_wait_for_role_from_a_move_until_any_answer_that_is_no_other_move() {
        let mut primary = tcp();
        primary.observe(Role::Primary);
        assert!(!primary.is_awaited());
        for answer in [Role::Primary, Role::Unknown, Role::Refused] {
            primary.linked();
            primary.observe(replica());
            primary.linked();
            assert!(primary.is_awaited());
            primary.observe(answer);
            assert!(!primary.is_awaited());
        }
    }

    #[test]
    fn an_error_that_passes_does_not_end_the_asking() {
        let mut primary = tcp();
        primary.observe(Role::Unknown);
        assert!(primary.asks());
    }

    #[test]
    fn without_an_answer_it_is_not_asked_again_on_this_link() {
        let mut primary = tcp();
        assert!(primary.asks());
        assert_eq!(primary.observe(Role::Refused), None);
        assert!(!primary.asks());
        primary.linked();
        assert!(primary.asks());
    }

    #[test]
    fn nobody_is_followed_away_from_a_unix_socket() {
        assert!(!primary(&RedisAddress::Unix("redis.sock".into())).asks());
    }
}
