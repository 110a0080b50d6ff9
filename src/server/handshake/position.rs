//! Where a client says that it left off: `since`, `last` and `last_event_id` of the query, and the header
//! `Last-Event-ID`.
//!
//! The header comes first, since a browser repeats its first URL, stale positions and all, and sends the
//! header beside it. What a browser repeats by itself is never refused: nobody could correct it.

use crate::{
    endpoint::{percent, query_values},
    reason::Refusal,
    server::head::RequestHead,
    shard::{Resume, Since},
    stream_id::StreamId,
};
use std::collections::HashMap;

/// The longest `since`, decoded, in bytes.
const MAX_SINCE: usize = 4 * 1024;

const LAST_EVENT_ID: &str = "last-event-id";

/// Reads what a request asks for from before its session. `has_streams`: whether the endpoint has any;
/// `streams`: how many the session has.
///
/// # Errors
/// [`Refusal::SinceInvalid`], [`Refusal::SinceNotSupported`].
pub(super) fn resume(
    request: &RequestHead,
    has_streams: bool,
    streams: usize,
) -> Result<Resume, Refusal> {
    let query = request.uri.query().unwrap_or_default();
    let (since, last) = (single(query, "since")?, single(query, "last")?);
    if !has_streams {
        let is_asked = since.is_some() || last.is_some();
        return if is_asked { Err(Refusal::SinceNotSupported) } else { Ok(Resume::default()) };
    }
    let since = since.map(|text| parse_since(&text, streams).ok_or(Refusal::SinceInvalid));
    let last = last.map(|text| parse_last(&text).ok_or(Refusal::SinceInvalid));
    let (since, last) = (since.transpose()?, last.transpose()?);
    let repeated = last_event_id(request).map(|text| match StreamId::parse(&text) {
        Some(position) if streams <= 1 => Since::At(position),
        _ => Since::Malformed,
    });
    Ok(Resume { since: repeated.or(since).unwrap_or_default(), last })
}

/// The value of a name that may stand in a query once; `None`: it does not.
fn single(query: &str, name: &str) -> Result<Option<String>, Refusal> {
    let mut values = query_values(query, name);
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => percent::decode_query(value).map(Some).ok_or(Refusal::SinceInvalid),
        (Some(_), Some(_)) => Err(Refusal::SinceInvalid),
    }
}

/// One position for all, or `CHANNEL@ID,CHANNEL@ID`.
fn parse_since(text: &str, streams: usize) -> Option<Since> {
    if text.len() > MAX_SINCE {
        return None;
    }
    if !text.contains('@') {
        return StreamId::parse(text).filter(|_| streams <= 1).map(Since::At);
    }
    let mut positions = HashMap::new();
    for item in text.split(',') {
        let (stream, id) = item.rsplit_once('@')?;
        let stream = percent::decode(stream).filter(|stream| !stream.is_empty())?;
        if positions.insert(stream, StreamId::parse(id)?).is_some() {
            return None;
        }
    }
    Some(Since::Each(positions))
}

/// A number from 0, as large as it likes.
fn parse_last(text: &str) -> Option<usize> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(usize::MAX))
}

/// What a browser repeats by itself: the header, else the query. An empty one says nothing; what is no text
/// is no position either.
fn last_event_id(request: &RequestHead) -> Option<String> {
    let header = request.headers.get(LAST_EVENT_ID);
    let header = header.map(|value| value.to_str().unwrap_or("?").trim().to_owned());
    let query = || {
        let query = request.uri.query().unwrap_or_default();
        let value = query_values(query, "last_event_id").next()?;
        Some(percent::decode_query(value).unwrap_or_else(|| "?".to_owned()))
    };
    let said = |text: &String| !text.is_empty();
    header.filter(said).or_else(query).filter(said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream_id::id;
    use hyper::Request;

    fn request(query: &str, header: Option<&str>) -> RequestHead {
        let mut request = Request::get(format!("/ws?{query}"));
        if let Some(value) = header {
            request = request.header("Last-Event-ID", value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn at(milliseconds: u64) -> Since {
        Since::At(id(milliseconds))
    }

    fn each(positions: &[(&str, u64)]) -> Since {
        Since::Each(positions.iter().map(|&(stream, at)| (stream.to_owned(), id(at))).collect())
    }

    #[test]
    fn since_is_a_position_or_one_for_each_stream() {
        let long = format!("since=a%40{}-0", "1".repeat(5_000));
        let many = format!("since={}", "a%405-0,".repeat(600));
        for (query, streams, expected) in [
            ("", 1, Some(Since::Unsaid)),
            ("since=5-0", 1, Some(at(5))),
            ("%73ince=5-0&room=7", 1, Some(at(5))),
            ("since=5-0", 0, Some(at(5))),
            ("since=5-0", 2, None),
            ("since=", 1, None),
            ("since", 1, None),
            ("since=5", 1, None),
            ("since=5-0&since=5-0", 1, None),
            ("since=5-0,6-0", 1, None),
            ("since=%zz", 1, None),
            ("since=a@5-0", 1, Some(each(&[("a", 5)]))),
            ("since=a%405-0%2Cb%406-0", 2, Some(each(&[("a", 5), ("b", 6)]))),
            ("since=a%252Cb%405-0", 2, Some(each(&[("a,b", 5)]))),
            ("since=a%2540b@5-0", 2, Some(each(&[("a@b", 5)]))),
            ("since=a@b@5-0", 2, Some(each(&[("a@b", 5)]))),
            ("since=a@5-0,a@5-0", 2, None),
            ("since=a@5-0,5-0", 2, None),
            ("since=a@5-0,", 2, None),
            ("since=@5-0", 2, None),
            ("since=a@", 2, None),
            (&long, 1, None),
            (&many, 1, None),
        ] {
            let resume = resume(&request(query, None), true, streams);
            let since = expected.ok_or(Refusal::SinceInvalid);
            assert_eq!(resume.map(|resume| resume.since), since, "{query}");
        }
    }

    #[test]
    fn last_is_a_number_from_0() {
        for (query, expected) in [
            ("", Ok(None)),
            ("last=0", Ok(Some(0))),
            ("last=20", Ok(Some(20))),
            ("last=99999999999999999999999", Ok(Some(usize::MAX))),
            ("last=", Err(Refusal::SinceInvalid)),
            ("last=-1", Err(Refusal::SinceInvalid)),
            ("last=%2B1", Err(Refusal::SinceInvalid)),
            ("last=1&last=1", Err(Refusal::SinceInvalid)),
        ] {
            let resume = resume(&request(query, None), true, 1);
            assert_eq!(resume.map(|resume| resume.last), expected, "{query}");
        }
    }

    #[test]
    fn what_a_browser_repeats_comes_first_and_is_never_refused() {
        for (query, header, expected) in [
            ("since=5-0", Some("6-0"), at(6)),
            ("since=5-0&last_event_id=7-0", Some("6-0"), at(6)),
            ("since=5-0&last_event_id=7-0", None, at(7)),
            ("since=5-0&last_event_id=7-0", Some(""), at(7)),
            ("since=5-0&last_event_id=", None, at(5)),
            ("since=5-0", Some("latest"), Since::Malformed),
            ("last_event_id=%ff", None, Since::Malformed),
            ("last_event_id=a@5-0", None, Since::Malformed),
        ] {
            let resume = resume(&request(query, header), true, 1).unwrap();
            assert_eq!(resume.since, expected, "{query} {header:?}");
        }
        let bare = resume(&request("", Some("6-0")), true, 2).unwrap();
        assert_eq!(bare.since, Since::Malformed, "of two streams it is no position");
    }

    #[test]
    fn an_endpoint_without_streams_says_so_but_not_to_what_a_browser_repeats() {
        for query in ["since=5-0", "last=1"] {
            let refused = resume(&request(query, None), false, 0);
            assert_eq!(refused, Err(Refusal::SinceNotSupported));
        }
        let ignored = resume(&request("last_event_id=5-0", Some("5-0")), false, 0);
        assert_eq!(ignored, Ok(Resume::default()));
    }
}
