//! The words are those that alerts and clients select on, and docs/protocol.md lists them.

use super::*;
use std::collections::BTreeSet;

#[track_caller]
fn assert_labels<T: Copy>(all: &[T], label: fn(T) -> &'static str, expected: &str) {
    let labels: Vec<_> = all.iter().map(|&word| label(word)).collect();
    assert_eq!(labels, expected.split_whitespace().collect::<Vec<_>>());
}

#[test]
fn labels_are_what_alerts_and_clients_select_on() {
    assert_labels(
        CloseReason::ALL,
        CloseReason::label,
        "bye peer_gone unexpected_message protocol_error invalid_utf8 rate_limited \
         message_too_big internal_error restarting token_missing token_invalid token_expired \
         revoked forbidden ping_timeout write_timeout slow_consumer gap reconfigured \
         replaced channel_refused",
    );
    assert_labels(
        Refusal::ALL,
        Refusal::label,
        "bad_handshake token_conflict token_missing token_invalid token_expired \
         origin_not_allowed claim_missing claim_unusable value_not_allowed too_many_values \
         not_found method_not_allowed upgrade_required request_timeout uri_too_long headers_too_large address_limit \
         user_limit at_capacity draining redis_unavailable channel_refused stream_limit pattern_limit \
         tracking_refused since_invalid since_not_supported subscription_timeout keys_unavailable \
         internal_error",
    );
    assert_labels(
        GapReason::ALL,
        GapReason::label,
        "redis_reconnected redis_moved shard_lagged payload_too_large stream_trimmed stream_reset \
         slow_consumer",
    );
    assert_labels(
        MissedReason::ALL,
        MissedReason::label,
        "slow_consumer skipped replaced payload_too_large session_ended",
    );
    assert_labels(
        RefreshResult::ALL,
        RefreshResult::label,
        "accepted unchanged superseded rejected key_unknown",
    );
    assert_labels(PublishSource::ALL, PublishSource::label, "client http");
    assert_labels(
        PublishResult::ALL,
        PublishResult::label,
        "published frame_invalid data_invalid not_permitted channel_not_allowed channel_not_found \
         rate_limited redis_unavailable redis_refused outcome_unknown channel_invalid request_invalid",
    );
    assert_labels(ReplayResult::ALL, ReplayResult::label, "recovered trimmed too_many reset");
    assert_labels(
        NotReadyReason::VARIANTS,
        NotReadyReason::label,
        "draining starting redis_link_down redis_proof_expired keys_unavailable control_refused tracking_refused",
    );
}

#[test]
fn every_word_stands_at_its_index() {
    fn check<T: Copy>(all: &[T], index: fn(T) -> usize) {
        assert!(all.iter().enumerate().all(|(at, &word)| index(word) == at));
    }
    check(CloseReason::ALL, CloseReason::index);
    check(Refusal::ALL, Refusal::index);
    check(GapReason::ALL, GapReason::index);
    check(MissedReason::ALL, MissedReason::index);
    check(RefreshResult::ALL, RefreshResult::index);
    check(ReplayResult::ALL, ReplayResult::index);
    check(PublishSource::ALL, PublishSource::index);
    check(PublishResult::ALL, PublishResult::index);
}

#[test]
fn reserved_close_codes_are_never_sent() {
    for code in CloseReason::ALL.iter().filter_map(|reason| reason.code()) {
        assert!(![1004, 1005, 1006, 1015].contains(&code), "{code} is reserved");
    }
}

#[test]
fn answers_that_ask_to_wait_say_how_long() {
    for refusal in Refusal::ALL {
        let waits = matches!(refusal.status(), 429 | 503);
        assert_eq!(refusal.retry_after().is_some(), waits, "{}", refusal.label());
    }
}

/// The first columns of the table below a heading of `docs/protocol.md`, without backticks.
fn documented(heading: &str, columns: usize) -> BTreeSet<String> {
    let text = include_str!("../../docs/protocol.md");
    let (_, section) = text.split_once(&format!("\n## {heading}\n")).expect("the heading is there");
    let section = section.split("\n## ").next().unwrap_or(section);
    let rows = section.lines().filter(|line| line.starts_with("| ")).skip(1);
    let cells = |row: &str| {
        let cells = row.trim_matches('|').split('|').take(columns);
        cells.map(|cell| cell.trim().replace('`', "")).collect::<Vec<_>>().join(" ")
    };
    rows.map(cells).collect()
}

#[test]
fn protocol_lists_every_refusal_with_its_status() {
    let real =
        Refusal::ALL.iter().map(|refusal| format!("{} {}", refusal.status(), refusal.label()));
    assert_eq!(documented("The handshake", 2), real.collect());
}

#[test]
fn protocol_lists_every_close_code_with_its_reasons() {
    let sent = CloseReason::ALL.iter().filter_map(|reason| Some((reason.code()?, reason)));
    let real = sent.map(|(code, reason)| format!("{code} {}", reason.label())).collect();
    assert_eq!(documented("Close codes", 2), real);
}

#[test]
fn protocol_lists_every_gap_reason() {
    let real = GapReason::ALL.iter().map(|reason| reason.label().to_owned());
    assert_eq!(documented("Gaps", 1), real.collect());
}
