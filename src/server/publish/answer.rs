//! How answers look: what came of one message, of several, and problems.

use super::{
    exchange::{AnswerBody, Progress},
    fault::Fault,
};
use crate::{bus::Published, server::response};
use bytes::Bytes;
use hyper::{
    Response, StatusCode,
    header::{
        ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
    },
};
use std::{io::Write as _, rc::Rc};

/// What came of one message.
pub(super) type Outcome = Result<Published, Fault>;

/// A status and its body, before hyper has it.
pub(super) struct Answer {
    pub(super) fault: Option<Fault>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// What came of the one message of a request.
    pub(super) fn to_one(channel: &str, outcome: Outcome) -> Self {
        let mut body = Vec::new();
        match outcome {
            Ok(_) => push_outcome(&mut body, channel, &outcome),
            Err(fault) => return fault.into(),
        }
        Self { fault: None, body }
    }

    /// The response, whose body says when it has been written.
    pub(super) fn into_response(
        self,
        keep: bool,
        is_head: bool,
        progress: Rc<Progress>,
    ) -> Response<AnswerBody> {
        let body = AnswerBody::new(Bytes::from(self.body), !is_head, progress);
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        let kind =
            if self.fault.is_some() { "application/problem+json" } else { "application/json" };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if !keep {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        match self.fault.map(Fault::status) {
            Some(401) => drop(headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            Some(405) => drop(headers.insert(ALLOW, HeaderValue::from_static("POST"))),
            _ => {}
        }
        if let Some(fault) = self.fault {
            if fault.may_be_retried() {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            let status = StatusCode::from_u16(fault.status());
            *response.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        }
        response
    }
}

impl From<Fault> for Answer {
    fn from(fault: Fault) -> Self {
        let body = response::problem(fault.status(), fault.code(), fault.detail());
        Self { fault: Some(fault), body }
    }
}

/// The body of an answer to a batch, made item by item.
pub(super) struct Results {
    body: Vec<u8>,
    failed: usize,
}

impl Results {
    pub(super) fn new() -> Self {
        Self { body: br#"{"results":["#.to_vec(), failed: 0 }
    }

    pub(super) fn push(&mut self, channel: &str, outcome: &Outcome) {
        if !self.body.ends_with(b"[") {
            self.body.push(b',');
        }
        push_outcome(&mut self.body, channel, outcome);
        self.failed += usize::from(outcome.is_err());
    }

    pub(super) fn into_answer(mut self) -> Answer {
        write(&mut self.body, format_args!(r#"],"failed":{}}}"#, self.failed));
        Answer { fault: None, body: self.body }
    }
}

fn push_outcome(body: &mut Vec<u8>, channel: &str, outcome: &Outcome) {
    body.extend_from_slice(br#"{"channel":"#);
    serde_json::to_writer(&mut *body, channel).expect("text always serialises into memory");
    match outcome {
        Ok(Published::Receivers(receivers)) => {
            write(body, format_args!(r#","receivers":{receivers}}}"#));
        }
        Ok(Published::Id(id)) => write(body, format_args!(r#","id":"{id}"}}"#)),
        Err(fault) => write(body, format_args!(r#","error":"{}"}}"#, fault.code())),
    }
}

fn write(body: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    body.write_fmt(text).expect("writing into memory cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream_id::StreamId;
    use serde_json::{Value, json};
    use strum::VariantArray as _;

    #[test]
    fn each_item_of_a_batch_is_told_by_itself_and_the_failed_are_counted() {
        let mut results = Results::new();
        let id = StreamId { milliseconds: 5, sequence: 7 };
        results.push("a\"b", &Ok(Published::Receivers(2)));
        results.push("s", &Ok(Published::Id(id)));
        results.push("d", &Err(Fault::ChannelNotAllowed));
        let body: Value = serde_json::from_slice(&results.into_answer().body).unwrap();
        let expected = json!({
            "results": [
                { "channel": "a\"b", "receivers": 2 },
                { "channel": "s", "id": "5-7" },
                { "channel": "d", "error": "channel_not_allowed" },
            ],
            "failed": 1,
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn a_fault_is_a_problem_with_its_status_and_what_that_status_asks_for() {
        for &fault in Fault::VARIANTS {
            let answer = Answer::from(fault);
            let problem: Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(problem["code"], fault.code());
            assert_eq!(problem["status"], fault.status());
            assert!(problem["detail"].as_str().unwrap().ends_with('.'), "{problem}");
            assert_ne!(problem["title"], "Error", "{problem}");
            let response = answer.into_response(false, false, Rc::default());
            assert_eq!(response.status().as_u16(), fault.status());
            let has = |name: &str| response.headers().contains_key(name);
            assert_eq!(has("retry-after"), [429, 503].contains(&fault.status()), "{problem}");
            assert_eq!(has("www-authenticate"), fault.status() == 401, "{problem}");
            assert_eq!(has("allow"), fault.status() == 405, "{problem}");
            assert_eq!(response.headers()["connection"], "close");
        }
    }
}
