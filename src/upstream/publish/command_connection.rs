//! The connection for commands, made of fred.
//!
//! Aborting fred's task drops its socket; nothing of a client outlives its connection. After a drop
//! fred takes commands and never answers them, so the end of its task is watched.

use crate::{
    error_chain::spell,
    upstream::{
        connect::PublishConnection,
        link::{LinkError, Pending, Redactor, resolve},
    },
};
use fred::{
    clients::Client,
    error::{Error, ErrorKind},
    interfaces::{ClientInterface, ClientLike, PubsubInterface},
    types::{ClusterHash, CustomCommand, FromValue},
};
use std::{net::SocketAddr, time::Duration};
use tokio_util::task::AbortOnDropHandle;

/// How long a PUBLISH waits to know where its name leads now.
const RESOLVE_PATIENCE: Duration = Duration::from_millis(500);

/// The kinds of I/O errors, as fred shows them, after which no connection was made.
const UNREACHABLE: [&str; 7] = [
    "ConnectionRefused",
    "NotFound",
    "HostUnreachable",
    "NetworkUnreachable",
    "TimedOut",
    "PermissionDenied",
    "failed to lookup",
];

/// A connected client and its task. Dropping it closes the connection.
pub(in crate::upstream) struct CommandConnection {
    client: Client,
    task: AbortOnDropHandle<Result<(), Error>>,
    redactor: Redactor,
    /// Where its name led; `None` where there is no name.
    pub(super) place: Option<Place>,
}

/// Where a name led.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) address: SocketAddr,
}

impl CommandConnection {
    /// Has a client connect and log in.
    ///
    /// # Errors
    /// As [`CommandDialler::dial`](super::CommandDialler::dial).
    pub(super) async fn make(client: Client, redactor: Redactor) -> Result<Self, LinkError> {
        let mut task = AbortOnDropHandle::new(client.connect());
        let connected = tokio::select! {
            biased;
            ended = &mut task => Err(why(ended)),
            connected = client.wait_for_connect() => connected,
        };
        connected.map_err(|error| login_in_words(&error, &redactor))?;
        // For those who look at CLIENT LIST. An ACL may forbid it, and that is no harm.
        let _: Result<(), Error> = client.client_setname(env!("CARGO_PKG_NAME")).await;
        Ok(Self { client, task, redactor, place: None })
    }

    /// Any other command.
    pub(in crate::upstream) fn ask<T: FromValue + Send + 'static>(
        &self,
        command: &'static str,
        arguments: &[&str],
    ) -> Pending<T> {
        let (client, redactor) = (self.client.clone(), self.redactor.clone());
        let arguments: Vec<_> = arguments.iter().map(|&word| word.to_owned()).collect();
        Box::pin(async move {
            let command = CustomCommand::new_static(command, ClusterHash::Random, false);
            client.custom(command, arguments).await.map_err(|error| in_words(&error, &redactor))
        })
    }
}

impl PublishConnection for CommandConnection {
    fn publish(&self, channel: &str, payload: &str) -> Pending<()> {
        let (client, redactor, place) =
            (self.client.clone(), self.redactor.clone(), self.place.clone());
        let (channel, payload) = (channel.to_owned(), payload.to_owned());
        Box::pin(async move {
            if let Some(place) = place
                && place.is_left().await
            {
                let text = format!("{} leads elsewhere now", place.host);
                return Err(LinkError::Lost(text));
            }
            client
                .publish::<(), _, _>(channel, payload)
                .await
                .map_err(|error| in_words(&error, &redactor))
        })
    }

    async fn closed(&mut self) {
        if !self.task.is_finished() {
            // Why it ended is of no interest: it is dialled anew.
            let _ = (&mut self.task).await;
        }
    }
}

impl Place {
    /// Whether the name now leads to other addresses only: the primary may be there.
    async fn is_left(&self) -> bool {
        if self.host.parse::<std::net::IpAddr>().is_ok() {
            return false;
        }
        // A resolver that says nothing says nothing about Redis.
        let found = resolve(&self.host, self.port, RESOLVE_PATIENCE).await;
        found.is_ok_and(|addresses| !addresses.contains(&self.address))
    }
}

/// Why fred's task has ended.
fn why(ended: Result<Result<(), Error>, tokio::task::JoinError>) -> Error {
    match ended {
        Ok(Err(error)) => error,
        Ok(Ok(())) => Error::new(ErrorKind::IO, "the connection is closed"),
        Err(_) => Error::new(ErrorKind::IO, "the Redis client's task has panicked"),
    }
}

/// Puts one of fred's errors into our words, without secrets.
fn in_words(error: &Error, redactor: &Redactor) -> LinkError {
    worded(error.kind(), redactor.text(error.details()))
}

/// As [`in_words`], for one that ended the login: what the server says of that may repeat the password.
fn login_in_words(error: &Error, redactor: &Redactor) -> LinkError {
    match error.kind() {
        ErrorKind::Timeout
        | ErrorKind::IO
        | ErrorKind::Canceled
        | ErrorKind::Routing
        | ErrorKind::Tls => in_words(error, redactor),
        kind => worded(kind, redactor.login_text(error.details())),
    }
}

fn worded(kind: &ErrorKind, text: String) -> LinkError {
    match kind {
        ErrorKind::Timeout => LinkError::Unreachable(text),
        ErrorKind::IO if UNREACHABLE.iter().any(|kind| text.contains(kind)) => {
            LinkError::Unreachable(system_text(&text))
        }
        ErrorKind::IO | ErrorKind::Canceled | ErrorKind::Routing | ErrorKind::Tls => {
            LinkError::Lost(system_text(&text))
        }
        _ => LinkError::Answered(text),
    }
}

/// fred shows an I/O error as `Os { …, message: "Connection refused" }` or `Custom { …, error:
/// InvalidCertificate(UnknownIssuer) }`: the message, or the error in words, is enough.
fn system_text(text: &str) -> String {
    let message = text.split_once("message: \"").and_then(|(_, rest)| rest.split_once('"'));
    let custom = text.strip_prefix("Custom {").and_then(|rest| rest.split_once("error: "));
    match (message, custom) {
        (Some((message, _)), _) => message.to_owned(),
        (None, Some((_, error))) => spell(error.trim_end_matches([' ', '}']).trim_matches('"')),
        (None, None) => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    #[test]
    fn a_password_never_leaves_in_an_error() {
        let password = Some(Secret::new("hunter2".to_owned()));
        let redactor = Redactor::new(password);
        for text in [
            "ERR unknown command 'AUTH', with args beginning with: 'default' 'hunter2'",
            "ERR bad hunter2 here",
        ] {
            let error = in_words(&Error::new(ErrorKind::Unknown, text), &redactor);
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
