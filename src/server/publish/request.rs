//! From one request to its answer: the token, the body, what is published, what came of it.

use super::{
    answer::{Answer, Outcome, Results},
    authority::Authority,
    body::{self, Item},
    exchange::{AnswerBody, Progress},
    fault::Fault,
    length::Length,
    receive,
};
use crate::{
    bus::{Destination, Publication},
    config::PublishToken,
    endpoint::{PublishAddress, channel_name},
    phase::Phase,
    reason::{PublishResult, PublishSource},
    shard::Shard,
};
use bytes::Bytes;
use hyper::{
    Method, Request, Response, Version,
    body::Incoming,
    header::{CONNECTION, CONTENT_ENCODING, TRANSFER_ENCODING},
    http::request::Parts,
};
use std::{rc::Rc, sync::Arc};
use tokio::{sync::watch, task::yield_now, time::Instant};

/// Items of a batch that are handled before the shard's sessions get their turn.
const SLICE: usize = 256;

/// What one exchange needs.
pub(super) struct Exchange {
    pub(super) authority: Arc<Authority>,
    pub(super) shard: Shard,
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) length: Length,
    /// Until when the body must be complete.
    pub(super) deadline: Instant,
    pub(super) progress: Rc<Progress>,
}

impl Exchange {
    /// Answers a request.
    pub(super) async fn answer(self, request: Request<Incoming>) -> Response<AnswerBody> {
        let (head, body) = request.into_parts();
        let (answer, is_known) = match self.publish(&head, body).await {
            Ok(answer) => (answer, true),
            Err(fault) => {
                self.count(Err(fault));
                (fault.into(), fault.is_of_known())
            }
        };
        // A caller without a token may not keep the connection: only `max_connections` would bound those.
        let keep = is_known && self.keeps(&head);
        self.progress.keep.set(keep);
        answer.into_response(keep, head.method == Method::HEAD, self.progress)
    }

    /// Whether another request may come on this connection.
    fn keeps(&self, head: &Parts) -> bool {
        let no_body = self.length.is_empty();
        let lines = head.headers.get_all(CONNECTION).iter().filter_map(|line| line.to_str().ok());
        let mut options = lines.flat_map(|line| line.split(','));
        head.version == Version::HTTP_11
            && (no_body || self.progress.body_read.get())
            && !options.any(|option| option.trim().eq_ignore_ascii_case("close"))
            && *self.phase.borrow() < Phase::Draining
    }

    async fn publish(&self, head: &Parts, body: Incoming) -> Result<Answer, Fault> {
        let config = &self.authority.config;
        let address = config.paths.find(head.uri.path()).ok_or(Fault::NotFound)?;
        if head.method != Method::POST {
            return Err(Fault::MethodNotAllowed);
        }
        let token = self.authority.admit(&head.headers, Instant::now().into_std())?;
        let largest = config.max_body.get();
        check_body(head, self.length, largest)?;
        let body = receive::body(body, largest, self.deadline, &self.progress).await?;
        match address {
            PublishAddress::Path(channel) => {
                let channel = channel.ok_or(Fault::ChannelInvalid)?;
                let to = self.authority.destination(token, channel.clone())?;
                let outcome = self.one(Publication { to, payload: body }).await;
                if outcome.is_ok() {
                    self.count(outcome);
                }
                Ok(Answer::to_one(&channel, Ok(outcome?)))
            }
            PublishAddress::Body => self.batch(token, &body).await,
        }
    }

    async fn one(&self, publication: Publication) -> Outcome {
        let answers = self.shard.publisher().publish(vec![publication]).await;
        let answer = answers.into_iter().next().ok_or(Fault::OutcomeUnknown)?;
        answer.map_err(Fault::from)
    }

    /// Publishes what a JSON body names, in one pipeline.
    async fn batch(&self, token: &PublishToken, body: &Bytes) -> Result<Answer, Fault> {
        let items = body::items(body, self.authority.config.max_batch.get())?;
        let (mut publications, mut refused) = (Vec::with_capacity(items.len()), Vec::new());
        for slice in items.chunks(SLICE) {
            for item in slice {
                let to = self.destination(token, item);
                let publication = to.map(|to| Publication { to, payload: item.payload.clone() });
                refused.push(publication.map(|it| publications.push(it)).err());
            }
            yield_now().await;
        }
        let mut published = self.shard.publisher().publish(publications).await.into_iter();
        let mut results = Results::new();
        for (slice, refused) in items.chunks(SLICE).zip(refused.chunks(SLICE)) {
            for (item, refused) in slice.iter().zip(refused) {
                let outcome = match refused {
                    Some(fault) => Err(*fault),
                    None => published.next().map_or(Err(Fault::OutcomeUnknown), |it| Ok(it?)),
                };
                self.count(outcome);
                results.push(&item.channel, &outcome);
            }
            yield_now().await;
        }
        Ok(results.into_answer())
    }

    fn destination(&self, token: &PublishToken, item: &Item) -> Result<Destination, Fault> {
        let channel = channel_name(&item.channel).ok_or(Fault::ChannelInvalid)?;
        self.authority.destination(token, channel)
    }

    fn count(&self, outcome: Outcome) {
        let result = outcome.map_or_else(result, |_| PublishResult::Published);
        self.shard.metrics().published(PublishSource::Http, result);
    }
}

/// Whether a body may be read at all.
fn check_body(head: &Parts, length: Length, largest: usize) -> Result<(), Fault> {
    let coding = head.headers.get(TRANSFER_ENCODING);
    let is_coded = coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    if is_coded || head.headers.contains_key(CONTENT_ENCODING) {
        return Err(Fault::EncodingNotSupported);
    }
    match length {
        Length::None => Err(Fault::LengthRequired),
        Length::Known(length) if length > largest as u64 => Err(Fault::BodyTooLarge),
        Length::Known(_) | Length::Chunked => Ok(()),
    }
}

/// What a fault counts as.
fn result(fault: Fault) -> PublishResult {
    match fault {
        Fault::TokenMissing | Fault::TokenInvalid => PublishResult::NotPermitted,
        Fault::ChannelNotAllowed => PublishResult::ChannelNotAllowed,
        Fault::ChannelInvalid => PublishResult::ChannelInvalid,
        Fault::RateLimited => PublishResult::RateLimited,
        Fault::RedisRefused => PublishResult::RedisRefused,
        Fault::RedisUnavailable => PublishResult::RedisUnavailable,
        Fault::OutcomeUnknown => PublishResult::OutcomeUnknown,
        Fault::BodyInvalid
        | Fault::NotFound
        | Fault::MethodNotAllowed
        | Fault::RequestTimeout
        | Fault::LengthRequired
        | Fault::BodyTooLarge
        | Fault::EncodingNotSupported => PublishResult::RequestInvalid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::NotPublished;
    use strum::VariantArray as _;

    #[test]
    fn the_results_that_have_a_series_by_http_are_those_that_a_request_can_come_to() {
        let faults = Fault::VARIANTS.iter().copied();
        let mut of_requests: Vec<_> = faults.map(result).collect();
        of_requests.push(PublishResult::Published);
        for result in PublishResult::ALL {
            let has_series = PublishSource::Http.can_come_to(*result);
            assert_eq!(has_series, of_requests.contains(result), "{}", result.label());
        }
    }

    #[test]
    fn whatever_redis_did_with_a_message_has_a_series_for_both_who_may_have_sent_it() {
        use NotPublished::{NotFound, Refused, Unavailable, Unknown};
        for why in [Unavailable, Refused, NotFound, Unknown] {
            assert!(PublishSource::Http.can_come_to(result(why.into())), "{why:?}");
            assert!(PublishSource::Client.can_come_to(why.into()), "{why:?}");
        }
    }
}
