//! Login on a fresh connection: HELLO 3, or AUTH and SETNAME where HELLO is unknown; SELECT; PING.

use super::{
    LinkError, buffered_stream::BufferedStream, connection::pong, credentials::Login,
    redactor::Redactor, value::Value,
};

/// How we show in CLIENT LIST.
const NAME: &[u8] = b"sockway";

/// Redis's user when none is named.
const DEFAULT_USER: &str = "default";

/// The version of the protocol that a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Resp2,
    Resp3,
}

/// Logs in and proves that Redis answers.
///
/// # Errors
/// [`LinkError::Answered`] when Redis refuses; [`LinkError::Lost`] when it hangs up.
pub(super) async fn log_in(
    stream: &mut BufferedStream,
    login: &Login,
    database: u8,
    redactor: &Redactor,
) -> Result<Protocol, LinkError> {
    let greeted = greet(stream, login, redactor).await;
    stream.wipe();
    let protocol = greeted?;
    // Not asked for when it is the default, so that the smallest ACL needs no SELECT.
    if database != 0 {
        expect(stream, &[b"SELECT", database.to_string().as_bytes()], redactor).await?;
    }
    // Connected is not enough: a Redis that wants a password says so only here.
    let answer = stream.ask(&[b"PING"]).await?;
    pong(answer, redactor)?;
    Ok(protocol)
}

/// RESP3 where it is known: there, other commands may share a connection with subscriptions.
async fn greet(
    stream: &mut BufferedStream,
    login: &Login,
    redactor: &Redactor,
) -> Result<Protocol, LinkError> {
    let user = login.username.as_deref().unwrap_or(DEFAULT_USER);
    let mut words: Vec<&[u8]> = vec![b"HELLO", b"3"];
    if let Some(password) = &login.password {
        words.extend([b"AUTH".as_slice(), user.as_bytes(), password.expose().as_bytes()]);
    }
    words.extend([b"SETNAME".as_slice(), NAME]);
    match stream.ask(&words).await? {
        Value::Error(text) if concerns_hello(&text) => {
            match greet_resp2(stream, login, redactor).await {
                // It hangs up behind such an error when it has too many clients.
                Err(LinkError::Lost(_)) => Err(redactor.login_refused(&text)),
                greeted => greeted.map(|()| Protocol::Resp2),
            }
        }
        Value::Error(text) => Err(redactor.login_refused(&text)),
        _ => Ok(Protocol::Resp3),
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
        if let Value::Error(text) = stream.ask(&words).await? {
            return Err(redactor.login_refused(&text));
        }
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

/// Whether an error is about HELLO itself, which servers that do not know it, or only some of it, or do not
/// let us use it, put into words of their own. Whether the password is good is then for AUTH to say.
fn concerns_hello(error: &str) -> bool {
    let code = error.split(' ').next().unwrap_or_default();
    ["ERR", "NOPROTO", "NOPERM"].iter().any(|it| code.eq_ignore_ascii_case(it))
}
