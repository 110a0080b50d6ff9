//! Our own RESP connections to one Redis server: what the actors need of them, and nothing more.
//!
//! A link is dialled once and never mends itself: when it ends, the actor drops it and dials anew,
//! so that start-up and recovery are one code path. Dropping a link closes its connection.
//!
//! The layers inside, each of which may use only those above it in this list:
//!
//! 0. `mod` `credentials` `cursor`: what is asked and what arrives; user and password, which may
//!    change; the parts of RESP
//! 1. `value` `skip` `token` `redactor` `addresses` `dial_settings`: small answers; what is not kept;
//!    RESP one token at a time; Redis's errors without the password; names and their addresses; what a
//!    dial needs to know
//! 2. `resp`: bytes → events
//! 3. `read_buffer`: what was received
//! 4. `buffered_stream` `entry` `fuzz`: a stream with its read and write buffers; tokens → entries of a
//!    stream; a fuzz target
//! 5. `connection` `facts`: what was asked, and what came of it; tokens → what XINFO says
//! 6. `login` `command_link`: HELLO, AUTH, SETNAME, SELECT, PING; the connection for commands with small
//!    answers
//! 7. `stream_link`: the connection for streams
//! 8. `dial`: TCP, unix socket or TLS, then the login

mod addresses;
mod buffered_stream;
mod command_link;
mod connection;
mod credentials;
mod cursor;
mod dial;
mod dial_settings;
mod entry;
mod facts;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod login;
mod read_buffer;
mod redactor;
mod resp;
mod skip;
mod stream_link;
mod token;
mod value;

#[cfg(any(test, fuzzing))]
pub(crate) use stream_link::fuzz as stream_fuzz;

pub use credentials::{Credentials, Login};
pub(super) use {
    addresses::{Turns, race, resolve},
    command_link::{CommandArrival, CommandLink, role_of},
    connection::Connection,
    dial::Dialler,
    dial_settings::{DialSettings, silent},
    redactor::Redactor,
    stream_link::{Entries, StreamArrival, StreamCommand, StreamLink},
    value::Value,
};

use std::{fmt, future::Future, pin::Pin};

/// A dial or a command that is under way.
pub(super) type Pending<T> = Pin<Box<dyn Future<Output = Result<T, LinkError>> + Send>>;

/// One connection that subscribes.
///
/// Commands may be pipelined. Redis answers them in order, and the link knows what it asked: an
/// error belongs to the oldest command that is not answered yet.
pub(super) trait Link: Send + 'static {
    /// Queues a command; never waits. It is written by [`Link::ready`] and [`Link::flush`].
    fn send(&mut self, command: Command);

    /// Writes what is queued, as far as the socket takes it, without waiting.
    fn flush(&mut self);

    /// Waits until [`Link::try_next`] has something, and writes what is queued meanwhile.
    /// Cancel-safe.
    fn ready(&mut self) -> impl Future<Output = ()> + Send;

    /// What has arrived already, if anything: from the buffer, or by a read that does not wait.
    /// Everything received before the end comes before [`Arrival::Ended`], after which nothing comes.
    fn try_next(&mut self) -> Option<Arrival<'_>>;

    /// How many bytes have been received: any of them proves that the other side lives, though it
    /// takes many to make an arrival.
    fn received(&self) -> u64;
}

/// A command on a connection that subscribes. Channels and patterns are named as Redis knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    /// Answered by [`Arrival::Pong`], or by an error that proves the connection all the same.
    Ping,
    /// Answered by [`Arrival::Role`].
    Role,
    /// Answered by an [`Arrival::Confirmed`] for each channel, or by one [`Arrival::Rejected`] for all.
    Subscribe(Vec<Box<str>>),
    /// Answered by an [`Arrival::Released`] for each channel, or by one [`Arrival::Rejected`] for all.
    Unsubscribe(Vec<Box<str>>),
}

/// What arrives. Names and payloads borrow the link's read buffer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrival<'a> {
    Message {
        channel: &'a [u8],
        pattern: Option<&'a [u8]>,
        payload: &'a [u8],
    },
    /// A message above the cap: its payload was skipped as it came, never buffered.
    Oversized {
        channel: &'a [u8],
        pattern: Option<&'a [u8]>,
        bytes: u64,
    },
    /// Redis has confirmed one channel: every message behind this arrives.
    Confirmed(&'a [u8]),
    /// Redis has let go of one channel. Also when nobody asked (a cluster's `sunsubscribe`).
    Released(&'a [u8]),
    /// The oldest unanswered command is refused as a whole.
    Rejected(Command, LinkError),
    /// The answer to the oldest PING; `warning` is Redis's error text where it answers with one that
    /// does not end the connection's use (MISCONF, LOADING, NOPERM …).
    Pong {
        warning: Option<LinkError>,
    },
    /// The answer to the oldest ROLE.
    Role(Role),
    Ended(LinkError),
}

/// What a Redis server says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Role {
    Primary,
    /// With the address of its primary, as it names it.
    Replica {
        host: String,
        port: u16,
    },
    /// Nothing is known for now: an error that passes, or an answer that was not understood.
    Unknown,
    /// ROLE is not allowed here, or not known: asking again is of no use.
    Refused,
}

/// The server to dial.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Target {
    #[default]
    Configured,
    /// The primary, as a replica has named it.
    Named { host: String, port: u16 },
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configured => f.write_str("the configured server"),
            Self::Named { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Named { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// Why a dial or a command failed. The texts never hold a secret, so they stand in for a `source`,
/// which could hold one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Redis refuses a channel of this very command; the connection is fine.
    #[error("{0}")]
    ChannelRefused(String),
    /// Redis answers, but with an error that concerns the whole connection.
    #[error("Redis answers: {0}")]
    Answered(String),
    /// Nobody is there: no connection was made.
    #[error("{0}")]
    Unreachable(String),
    /// There was a connection, and it is gone or of no use.
    #[error("{0}")]
    Lost(String),
}

impl LinkError {
    /// Whether Redis gives an error that passes by itself, and says nothing of what was asked.
    pub(super) fn passes(&self) -> bool {
        const CODES: [&str; 11] = [
            "BUSY",
            "CLUSTERDOWN",
            "LOADING",
            "MASTERDOWN",
            "MISCONF",
            // It is about the connection; the next PING ends that.
            "NOAUTH",
            "NOREPLICAS",
            "OOM",
            "READONLY",
            "TRYAGAIN",
            "UNKILLABLE",
        ];
        matches!(self, Self::Answered(text) if cause(text).split(' ').next().is_some_and(|code| CODES.contains(&code)))
    }

    /// Whether the account may not use the command at all, whatever the key. A key that it may not use is
    /// said by other words: "No permissions to access a key".
    pub(super) fn is_command_refused(&self) -> bool {
        matches!(self, Self::Answered(text) if cause(text).starts_with("NOPERM ") && text.contains("' command"))
    }
}

/// What an error says, or what it says that a transaction was discarded for.
fn cause(text: &str) -> &str {
    text.strip_prefix("EXECABORT Transaction discarded because of: ").unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_is_refused_is_told_from_a_key() {
        for (text, expected) in [
            ("NOPERM User u has no permissions to run the 'multi' command", true),
            (
                "NOPERM this user has no permissions to run the 'multi' command or its subcommand",
                true,
            ),
            (
                "EXECABORT Transaction discarded because of: NOPERM this user has no permissions \
                 to run the 'exec' command",
                true,
            ),
            ("NOPERM No permissions to access a key", false),
            ("NOPERM User u has no permissions to access the 'a command' key", false),
            (
                "NOPERM this user has no permissions to access one of the keys used as arguments",
                false,
            ),
            ("ERR unknown 'multi' command", false),
        ] {
            assert_eq!(
                LinkError::Answered(text.to_owned()).is_command_refused(),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn only_known_errors_pass_by_themselves() {
        let passes = |text: &str| LinkError::Answered(text.to_owned()).passes();
        for code in ["BUSY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "OOM", "MISCONF"] {
            assert!(passes(&format!("{code} for now")));
        }
        assert!(passes("BUSY"));
        assert!(passes("EXECABORT Transaction discarded because of: BUSY Redis is busy"));
        assert!(!passes("EXECABORT Transaction discarded because of previous errors."));
        for text in ["ERR BUSY", "BUSYGROUP x", "NOPERM no", "noperm no", "ERR not allowed", ""] {
            assert!(!passes(text), "{text}");
        }
        assert!(!LinkError::ChannelRefused("NOPERM x".to_owned()).passes());
        assert!(!LinkError::Lost("BUSY".to_owned()).passes());
    }
}
