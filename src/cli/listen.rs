//! `sockway listen`: a client that prints what arrives, by WebSocket or by Server-Sent Events, and publishes what
//! is typed.

use super::{Failure, output, runtime};
use crate::{lifecycle, secret::Secret};
use publisher::{Form, Publisher};
use serde_json::Value;
use std::{env, io, ops::ControlFlow, time::Duration};
use target::Target;

mod event;
mod publisher;
mod sse;
mod target;
mod watched;
mod websocket;

/// Open a session and print every message on a line of its own.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_STATUS)]
pub(super) struct Args {
    /// ws:// or wss://; with --sse also http:// or https://. A certificate of your own authority is trusted when the
    /// environment variable `SSL_CERT_FILE` names that (PEM)
    url: String,
    /// Sent as `Authorization: Bearer …`; the environment variable `SOCKWAY_TOKEN` does the same
    /// and is not seen by other users of this machine
    #[arg(long)]
    token: Option<String>,
    /// Begin after this entry of the stream: the id of the last message seen, or what XADD returned. For several
    /// streams CHANNEL@ID,CHANNEL@ID, where `%`, `,` and `@` in CHANNEL are percent-encoded
    #[arg(long, value_name = "ID")]
    since: Option<String>,
    /// Begin with the newest N entries of each stream, where there is no --since, or the gateway cannot go on from it
    #[arg(long, value_name = "N")]
    last: Option<u64>,
    /// Server-Sent Events in place of a WebSocket, for endpoints with `sse = true`
    #[arg(long, conflicts_with = "publish")]
    sse: bool,
    /// Publish every line of stdin, where the endpoint has `[endpoint.publish]`, and go on printing: answers come like
    /// messages. As `--publish=json`, in a `publish` frame: what is JSON as it stands there, all else as a string, the next
    /// line when the one before is answered, at the pace that the endpoint allows. As `--publish=raw` as it is
    #[arg(long, value_name = "FORM", num_args = 0..=1, require_equals = true, default_missing_value = "json")]
    publish: Option<Form>,
    /// For --publish, where the endpoint publishes to a channel that each message names
    #[arg(long, requires = "publish")]
    channel: Option<String>,
}

const EXIT_STATUS: &str = "Exit status: 0 when you end it (Ctrl-C, SIGTERM, or the reader of its \
output leaves), 1 when it is refused, when the server closes the session, whatever the code (a revoked \
token: `closed: 3000 revoked`), or when the connection breaks or falls silent (by WebSocket: not even a ping is answered); \
the reason is the last line of stderr. 64 for wrong usage.";

/// Until the server has answered the handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

/// Less proves nothing: the gateway keeps time by tenths of a second, and networks have delays.
const SHORTEST_SILENCE: Duration = Duration::from_secs(1);

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let token = args.token.clone().or_else(|| env::var("SOCKWAY_TOKEN").ok()).map(Secret::new);
    let target = Target::new(&args.url, args.since.as_deref(), args.last, token.as_ref())?;
    runtime::block_on(async {
        let asked = lifecycle::end_asked().map_err(|error| Failure::running(&error))?;
        tokio::select! {
            result = listen(target, args) => result,
            _ = asked => Ok(()),
            () = output::reader_left() => Ok(()), // `sockway listen … | head`
        }
    })
}

async fn listen(target: Target, args: &Args) -> Result<(), Failure> {
    if args.sse {
        let events = sse::connect(target).await?;
        connected(sse::print_all(events)).await
    } else {
        let socket = websocket::connect(target).await?;
        let publisher = args.publish.map(|form| Publisher::new(form, args.channel.clone()));
        connected(websocket::print_all(socket, publisher)).await
    }
}

/// Says that it is connected, and prints to the end.
async fn connected(printing: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let noted = output::note_later("connected");
    let result = printing.await;
    noted.await; // The reason is the last line.
    result
}

/// Prints a message; breaks when nobody reads any more.
async fn print(message: impl AsRef<[u8]>) -> Result<ControlFlow<()>, Failure> {
    match output::line_later(message).await {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(error) => Err(Failure::Running(format!("cannot write to stdout: {error}"))),
    }
}

/// `refused: 401 token_missing`, with what else the problem body says.
fn refusal(status: u16, body: &[u8]) -> Failure {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    let mut text = format!("refused: {status}");
    for field in ["code", "detail"] {
        if let Some(value) = problem[field].as_str() {
            text.push(' ');
            text.push_str(value);
        }
    }
    Failure::Running(text)
}

fn no_answer() -> Failure {
    Failure::Running("cannot connect: no answer in time".to_owned())
}
