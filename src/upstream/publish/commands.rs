//! A connection for commands, made of fred.
//!
//! Aborting fred's task drops its socket; nothing of a client outlives its connection. After a drop
//! fred takes commands and never answers them, so the end of its task is watched.

use crate::{
    error_chain::spell,
    upstream::{
        connect::PublishConnection,
        link::{LinkError, Login, Reply},
    },
};
use fred::{
    clients::Client,
    error::{Error, ErrorKind},
    interfaces::{ClientInterface, ClientLike, PubsubInterface},
    types::{ClusterHash, CustomCommand, FromValue},
};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::lookup_host, time::timeout};
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
    mask: Mask,
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

/// Takes the password out of what Redis says.
#[derive(Clone, Default)]
pub(super) struct Mask(Option<Arc<Login>>);

impl CommandConnection {
    /// Has a client connect and log in.
    ///
    /// # Errors
    /// As [`CommandDialler::dial`](super::CommandDialler::dial).
    pub(super) async fn make(client: Client, mask: Mask) -> Result<Self, LinkError> {
        let mut task = AbortOnDropHandle::new(client.connect());
        let connected = tokio::select! {
            biased;
            ended = &mut task => Err(why(ended)),
            connected = client.wait_for_connect() => connected,
        };
        connected.map_err(|error| mask.error(&error))?;
        // For those who look at CLIENT LIST. An ACL may forbid it, and that is no harm.
        let _: Result<(), Error> = client.client_setname(env!("CARGO_PKG_NAME")).await;
        Ok(Self { client, task, mask, place: None })
    }

    /// Any other command.
    pub(in crate::upstream) fn ask<T: FromValue + Send + 'static>(
        &self,
        command: &'static str,
        arguments: &[&str],
    ) -> Reply<T> {
        let (client, mask) = (self.client.clone(), self.mask.clone());
        let arguments: Vec<_> = arguments.iter().map(|&word| word.to_owned()).collect();
        Box::pin(async move {
            let command = CustomCommand::new_static(command, ClusterHash::Random, false);
            client.custom(command, arguments).await.map_err(|error| mask.error(&error))
        })
    }
}

impl PublishConnection for CommandConnection {
    fn publish(&self, channel: &str, payload: &str) -> Reply<()> {
        let (client, mask, place) = (self.client.clone(), self.mask.clone(), self.place.clone());
        let (channel, payload) = (channel.to_owned(), payload.to_owned());
        Box::pin(async move {
            if let Some(place) = place
                && place.is_left().await
            {
                let text = format!("{} leads elsewhere now", place.host);
                return Err(LinkError::Lost(text));
            }
            client.publish::<(), _, _>(channel, payload).await.map_err(|error| mask.error(&error))
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
        let found = timeout(RESOLVE_PATIENCE, resolve(&self.host, self.port)).await;
        let addresses = found.unwrap_or_default();
        !addresses.is_empty() && !addresses.contains(&self.address)
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

impl Mask {
    pub(super) fn new(login: Login) -> Self {
        Self(Some(Arc::new(login)))
    }

    /// Puts one of fred's errors into our words, without secrets.
    fn error(&self, error: &Error) -> LinkError {
        let text = self.text(error.details());
        match error.kind() {
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

    fn text(&self, text: &str) -> String {
        let text = text.split(", with args beginning with").next().unwrap_or_default();
        let password = self.0.as_ref().and_then(|login| login.password.as_ref());
        match password {
            Some(secret) if !secret.expose().is_empty() => text.replace(secret.expose(), "***"),
            _ => text.to_owned(),
        }
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

/// The addresses of a name, each once; none where it cannot be resolved.
pub(super) async fn resolve(host: &str, port: u16) -> Vec<SocketAddr> {
    let mut addresses: Vec<_> =
        lookup_host((host, port)).await.map(Iterator::collect).unwrap_or_default();
    // Sorted, for a resolver that turns them too would undo the turns of our own.
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    #[test]
    fn a_password_never_leaves_in_an_error() {
        let password = Some(Secret::new("hunter2".to_owned()));
        let mask = Mask::new(Login { username: None, password });
        for text in [
            "ERR unknown command 'AUTH', with args beginning with: 'default' 'hunter2'",
            "ERR bad hunter2 here",
        ] {
            let error = mask.error(&Error::new(ErrorKind::Unknown, text));
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
