//! Login on a fresh connection: HELLO 3, or AUTH and SETNAME where HELLO is unknown; SELECT; PING.

use super::{
    LinkError, buffered_stream::BufferedStream, connection::pong, credentials::Login,
    redactor::Redactor, value::Value,
};

/// How we show in CLIENT LIST.
const NAME: &[u8] = b"sockway";

/// Redis's user when none is named.
const DEFAULT_USER: &str = "default";

/// Logs in and proves that Redis answers.
///
/// # Errors
/// [`LinkError::Answered`] when Redis refuses; [`LinkError::Lost`] when it hangs up.
pub(super) async fn log_in(
    stream: &mut BufferedStream,
    login: &Login,
    database: u8,
    redactor: &Redactor,
) -> Result<(), LinkError> {
    let greeted = greet(stream, login, redactor).await;
    stream.wipe();
    greeted?;
    // Not asked for when it is the default, so that the smallest ACL needs no SELECT.
    if database != 0 {
        expect(stream, &[b"SELECT", database.to_string().as_bytes()], redactor).await?;
    }
    // Connected is not enough: a Redis that wants a password says so only here.
    let answer = stream.ask(&[b"PING"]).await?;
    pong(answer, redactor).map(drop)
}

/// RESP3 where it is known: there, other commands may share a connection with subscriptions.
async fn greet(
    stream: &mut BufferedStream,
    login: &Login,
    redactor: &Redactor,
) -> Result<(), LinkError> {
    let user = login.username.as_deref().unwrap_or(DEFAULT_USER);
    let mut words: Vec<&[u8]> = vec![b"HELLO", b"3"];
    if let Some(password) = &login.password {
        words.extend([b"AUTH".as_slice(), user.as_bytes(), password.expose().as_bytes()]);
    }
    words.extend([b"SETNAME".as_slice(), NAME]);
    match stream.ask(&words).await? {
        Value::Error(text) if is_hello_unknown(&text) => greet_resp2(stream, login, redactor).await,
        Value::Error(text) => Err(redactor.answered(&text)),
        _ => Ok(()),
    }
}

async fn greet_resp2(
    stream: &mut BufferedStream,
    login: &Login,
    redactor: &Redactor,
) -> Result<(), LinkError> {
    if let Some(password) = &login.password {
        let mut words: Vec<&[u8]> = vec![b"AUTH"];
        words.extend(login.username.as_deref().map(str::as_bytes));
        words.push(password.expose().as_bytes());
        expect(stream, &words, redactor).await?;
    }
    // Only shows in CLIENT LIST, so an ACL may forbid it and a server may not know it.
    stream.ask(&[b"CLIENT", b"SETNAME", NAME]).await.map(drop)
}

async fn expect(
    stream: &mut BufferedStream,
    words: &[&[u8]],
    redactor: &Redactor,
) -> Result<(), LinkError> {
    match stream.ask(words).await? {
        Value::Error(text) => Err(redactor.answered(&text)),
        _ => Ok(()),
    }
}

/// Whether the server does not know HELLO, or not all of it, or does not let us use it.
pub(in crate::upstream) fn is_hello_unknown(error: &str) -> bool {
    ["ERR unknown command", "ERR Syntax error in HELLO", "NOPROTO", "NOPERM"]
        .iter()
        .any(|start| error.get(..start.len()).is_some_and(|it| it.eq_ignore_ascii_case(start)))
}
