//! Checks that the running gateway answers HTTP publish, and answers 401 without a token.

use super::{listen::reachable, own_certificate, report::Report};
use crate::config::{Config, ListenAddress, Tls};
use serde_json::Value;
use std::{io, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    time::timeout,
};

const SUBJECT: &str = "http publish";

/// For the whole exchange.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Largest answer that is read, in bytes.
const MAX_ANSWER: u64 = 64 * 1024;

/// Does nothing without `[http_publish]`; where no gateway runs yet, it only says so.
pub(super) async fn examine(config: &Config, report: &mut Report) {
    let Some(publish) = &config.http_publish else { return };
    let path = publish.paths.base().as_str();
    let (place, certificate) = match &publish.listen {
        Some(own) => (own, None),
        None => (&config.server.listen, config.server.tls.as_ref().map(Tls::certificate)),
    };
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}"
    );
    let answer = match place {
        ListenAddress::Tcp(address) => {
            exchange(TcpStream::connect(reachable(*address)), certificate, &request).await
        }
        ListenAddress::Unix(path) => {
            exchange(UnixStream::connect(path), certificate, &request).await
        }
    };
    tell(&format!("{place}, {path}"), answer, report);
}

fn tell(place: &str, answer: io::Result<String>, report: &mut Report) {
    const OTHER: &str = "what runs there has another configuration: reload it, or restart it where listen has \
                         changed; or it is no sockway";
    match answer {
        Err(error) if is_absent(&error) => {
            report.ok(SUBJECT, &format!("{place}: nothing runs there yet; not tried"));
        }
        Err(error) if own_certificate::is_another(&error) => {
            let said = format!("{place}: it has another certificate than server.tls.cert_file");
            report.warn(SUBJECT, &said, OTHER);
        }
        Err(error) => report.warn(SUBJECT, &format!("{place}: {error}"), OTHER),
        Ok(answer) => match status(&answer) {
            (401, Some(code)) if code == "token_missing" => {
                report.ok(SUBJECT, &format!("{place}: 401 without a token"));
            }
            (status, code) => {
                let code = code.map(|code| format!(" {code}")).unwrap_or_default();
                report.warn(SUBJECT, &format!("{place}: {status}{code}"), OTHER);
            }
        },
    }
}

/// Whether there is nobody.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
}

/// The status of an answer, and the code of its problem body.
fn status(answer: &str) -> (u16, Option<String>) {
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let problem: Value = serde_json::from_str(body).unwrap_or_default();
    (status, problem["code"].as_str().map(str::to_owned))
}

/// One request, and all that comes until the connection ends. `certificate`: by TLS, with a server that has it.
async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    connect: impl Future<Output = io::Result<S>>,
    certificate: Option<&[u8]>,
    request: &str,
) -> io::Result<String> {
    let talk = async {
        let stream = connect.await?;
        match certificate {
            None => ask(stream, request).await,
            Some(one) => ask(own_certificate::begin(stream, one).await?, request).await,
        }
    };
    timeout(TIMEOUT, talk).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> io::Result<String> {
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_told_by_its_status_and_its_code() {
        let head = "HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n\r\n";
        let missing = format!("{head}{{\"code\":\"token_missing\"}}");
        assert_eq!(status(&missing), (401, Some("token_missing".to_owned())));
        assert_eq!(status(head), (401, None));
        assert_eq!(status("SSH-2.0-OpenSSH\r\n"), (0, None));
    }
}
