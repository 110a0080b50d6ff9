//! What `listen --publish` sends: every line of stdin is a message.
//!
//! On a json endpoint each is a `publish` frame with a `ref` of its own, and the next line is sent when it is answered; one
//! that is refused as `rate_limited` is sent again when the gateway says so. So a file of any length goes through at the
//! pace that the endpoint allows. On a raw endpoint nothing is answered, and every line goes as it is.

use crate::cli::{Failure, input::Lines};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::{future::pending, time::Duration};
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::tungstenite::Message;

/// What a line becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Form {
    /// A `publish` frame: for json endpoints
    Json,
    /// The line as it is: for raw endpoints, and for frames written by hand
    Raw,
}

/// Reads stdin and makes messages of it.
pub(super) struct Publisher {
    lines: Lines,
    form: Form,
    /// The channel that each frame names, for endpoints with `{any}`.
    channel: Option<String>,
    under_way: Option<UnderWay>,
    is_at_end: bool,
}

struct UnderWay {
    frame: String,
    reference: String,
    /// When it is to be sent again, after `rate_limited`.
    again: Option<Instant>,
}

impl Publisher {
    pub(super) fn new(form: Form, channel: Option<String>) -> Self {
        let lines = Lines::of_stdin();
        Self { lines, form, channel, under_way: None, is_at_end: false }
    }

    /// What is to be sent next; behind the end of stdin, never. Cancel-safe.
    ///
    /// # Errors
    /// When stdin cannot be read, or a line cannot stand in a frame.
    pub(super) async fn next(&mut self) -> Result<Message, Failure> {
        if let Some(under_way) = &mut self.under_way {
            let Some(again) = under_way.again else { return pending().await };
            sleep_until(again).await;
            under_way.again = None;
            return Ok(Message::text(under_way.frame.clone()));
        }
        if self.is_at_end {
            return pending().await;
        }
        let unread = |error| Failure::Running(format!("cannot read stdin: {error}"));
        let Some(line) = self.lines.next().await.map_err(unread)? else {
            self.is_at_end = true;
            return pending().await;
        };
        self.message(line)
    }

    fn message(&mut self, line: Vec<u8>) -> Result<Message, Failure> {
        let text = match (String::from_utf8(line), self.form) {
            (Ok(text), Form::Raw) => return Ok(Message::text(text)),
            (Err(bytes), Form::Raw) => return Ok(Message::binary(bytes.into_bytes())),
            (Ok(text), Form::Json) => text,
            (Err(_), Form::Json) => {
                let number = self.lines.number;
                return Err(Failure::Running(format!("line {number} of stdin is not UTF-8")));
            }
        };
        let reference = self.lines.number.to_string();
        let frame = frame(self.channel.as_deref(), &text, &reference);
        self.under_way = Some(UnderWay { frame: frame.clone(), reference, again: None });
        Ok(Message::text(frame))
    }

    /// Takes in what has arrived: it may be the answer to what is under way.
    pub(super) fn heard(&mut self, text: &str) {
        #[derive(Deserialize)]
        struct Answer<'a> {
            r#type: &'a str,
            r#ref: &'a str,
            code: Option<&'a str>,
            retry_after_ms: Option<u64>,
        }
        let (Some(under_way), Ok(answer)) =
            (&mut self.under_way, serde_json::from_str::<Answer<'_>>(text))
        else {
            return;
        };
        if answer.r#ref != under_way.reference || !matches!(answer.r#type, "published" | "refused")
        {
            return;
        }
        match (answer.code, answer.retry_after_ms) {
            (Some("rate_limited"), Some(after)) => {
                under_way.again = Some(Instant::now() + Duration::from_millis(after));
            }
            _ => self.under_way = None,
        }
    }
}

/// A line that is JSON is the data as it stands there; any other is a string.
fn frame(channel: Option<&str>, line: &str, reference: &str) -> String {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let channel = channel.map(|channel| format!(r#""channel":{},"#, text(channel)));
    let is_json = serde_json::from_str::<&RawValue>(line).is_ok();
    let data = if is_json { line.trim().to_owned() } else { text(line) };
    format!(
        r#"{{"type":"publish",{}"data":{data},"ref":"{reference}"}}"#,
        channel.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_json_stands_in_the_frame_as_it_is_and_any_other_as_a_string() {
        for (channel, line, expected) in [
            (
                None,
                r#" {"a":1.0,"a":2} "#,
                r#"{"type":"publish","data":{"a":1.0,"a":2},"ref":"3"}"#,
            ),
            (
                None,
                "12345678901234567890",
                r#"{"type":"publish","data":12345678901234567890,"ref":"3"}"#,
            ),
            (None, "hi \"all\"", r#"{"type":"publish","data":"hi \"all\"","ref":"3"}"#),
            (None, "", r#"{"type":"publish","data":"","ref":"3"}"#),
            (None, "1} ,", r#"{"type":"publish","data":"1} ,","ref":"3"}"#),
            (Some("a\"b"), "[]", r#"{"type":"publish","channel":"a\"b","data":[],"ref":"3"}"#),
        ] {
            assert_eq!(frame(channel, line, "3"), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_line_waits_for_the_answer_and_a_limit_sends_the_same_again() {
        let mut publisher = Publisher::new(Form::Json, None);
        let sent = publisher.message(b"hi".to_vec()).unwrap();
        let soon = Duration::from_millis(100);
        for other in [
            r#"{"type":"message","data":{"type":"published","ref":"0"}}"#,
            r#"{"type":"subscribed","ref":"0"}"#,
            r#"{"type":"published","ref":"1"}"#,
            "no JSON",
        ] {
            publisher.heard(other);
            assert!(tokio::time::timeout(soon, publisher.next()).await.is_err(), "{other}");
        }
        publisher
            .heard(r#"{"type":"refused","ref":"0","code":"rate_limited","retry_after_ms":200}"#);
        assert!(tokio::time::timeout(soon, publisher.next()).await.is_err(), "not yet");
        assert_eq!(publisher.next().await.unwrap(), sent);
        publisher.heard(r#"{"type":"published","ref":"0","receivers":1}"#);
        assert!(publisher.under_way.is_none());
    }
}
