//! `/metrics` as a whole: what must be there from the start, and what a label may say.

use super::Metrics;
use crate::carrier::Carrier;
use crate::reason::{
    CloseReason, GapReason, MissedReason, PublishResult, RefreshResult, Refusal, ReplayResult,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What others rely on: the sample's name, its labels, and how many samples there are from the start
/// with two endpoints.
fn promised() -> Vec<(&'static str, &'static [&'static str], usize)> {
    vec![
        ("sockway_sessions", &["endpoint"], 2),
        ("sockway_sessions_opened_total", &["endpoint", "transport"], 4),
        ("sockway_sessions_closed_total", &["endpoint", "reason"], 2 * CloseReason::ALL.len()),
        ("sockway_session_seconds_count", &[], 1),
        ("sockway_handshakes_refused_total", &["reason"], Refusal::ALL.len()),
        ("sockway_handshake_seconds_count", &[], 1),
        ("sockway_redis_messages_total", &[], 1),
        ("sockway_redis_message_bytes_total", &[], 1),
        ("sockway_deliveries_total", &["endpoint"], 2),
        ("sockway_delivered_bytes_total", &["endpoint"], 2),
        ("sockway_delivery_seconds_count", &[], 1),
        ("sockway_missed_messages_total", &["endpoint", "reason"], 2 * MissedReason::ALL.len()),
        ("sockway_gaps_total", &["reason"], GapReason::ALL.len()),
        ("sockway_refreshes_total", &["result"], RefreshResult::ALL.len()),
        // Two results are of HTTP alone, and three of clients.
        ("sockway_publishes_total", &["result", "source"], 2 * PublishResult::ALL.len() - 5),
        ("sockway_client_messages_ignored_total", &["endpoint"], 2),
        ("sockway_queued_bytes", &[], 1),
        ("sockway_channels", &["state"], 2),
        ("sockway_patterns", &[], 1),
        ("sockway_redis_up", &[], 1),
        ("sockway_redis_last_verified_timestamp_seconds", &[], 1),
        ("sockway_redis_reconnects_total", &[], 1),
        ("sockway_revocation_gaps_total", &[], 1),
        ("sockway_redis_read_pauses_total", &[], 1),
        ("sockway_redis_stale_messages_total", &[], 1),
        ("sockway_redis_outage_seconds_total", &[], 1),
        ("sockway_redis_resubscribe_seconds_count", &[], 1),
        ("sockway_presence_rooms", &[], 1),
        ("sockway_presence_members", &[], 1),
        ("sockway_presence_swept_total", &[], 1),
        ("sockway_config_reloads_total", &["result"], 2),
        ("sockway_jwks_fetches_total", &["result"], 2),
        ("sockway_log_records_dropped_total", &[], 1),
    ]
}

const PROCESS: [&str; 7] = [
    "process_cpu_seconds_total",
    "process_open_fds",
    "process_max_fds",
    "process_resident_memory_bytes",
    "process_virtual_memory_bytes",
    "process_start_time_seconds",
    "process_threads",
];

/// One line of the text format.
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Sample {
    fn parse(line: &str) -> Self {
        let (series, value) = line.rsplit_once(' ').expect(line);
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').expect(line)),
            None => (series, ""),
        };
        let pair = |pair: &str| {
            let (label, value) = pair.split_once('=').expect(line);
            let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).expect(line);
            (label.to_owned(), value.to_owned())
        };
        Self {
            name: name.to_owned(),
            labels: labels.split(',').filter(|pair| !pair.is_empty()).map(pair).collect(),
            value: value.parse().expect(line),
        }
    }

    /// The family that the sample belongs to.
    fn family(&self) -> &str {
        ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|suffix| self.name.strip_suffix(suffix))
            .unwrap_or(&self.name)
    }
}

fn fresh() -> String {
    let endpoints: [Arc<str>; 2] = ["notifications".into(), "rooms".into()];
    Metrics::new(3, &endpoints).render()
}

fn samples(text: &str) -> Vec<Sample> {
    text.lines().filter(|line| !line.starts_with('#')).map(Sample::parse).collect()
}

#[test]
fn every_promised_series_exists_from_the_start_at_zero() {
    let samples = samples(&fresh());
    for (name, labels, count) in promised() {
        let found: Vec<_> = samples.iter().filter(|sample| sample.name == name).collect();
        assert_eq!(found.len(), count, "{name}");
        for sample in found {
            assert_eq!(sample.value.to_bits(), 0.0_f64.to_bits(), "{name}");
            assert!(sample.labels.keys().eq(labels), "{name} has {:?}", sample.labels);
        }
    }
}

#[test]
fn the_build_and_the_process_are_described() {
    let samples = samples(&fresh());
    let build = samples.iter().find(|sample| sample.name == "sockway_build_info").unwrap();
    assert_eq!(build.labels["version"], crate::VERSION);
    assert_eq!(build.labels["revision"], crate::REVISION);
    for name in PROCESS {
        assert_eq!(samples.iter().filter(|sample| sample.name == name).count(), 1, "{name}");
    }
}

#[test]
fn the_text_is_valid_every_family_has_help_and_type_and_no_series_stands_twice() {
    let text = fresh();
    let (mut described, mut types) = (BTreeSet::new(), BTreeMap::new());
    let mut seen = BTreeSet::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').expect(line);
            assert!(help.ends_with('.'), "help text of {name} is a sentence");
            assert!(described.insert(name), "{name} is described twice");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect(line);
            types.insert(name, kind);
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
        } else {
            let sample = Sample::parse(line);
            let known = described.contains(sample.family()) && types.contains_key(sample.family());
            assert!(known, "{line} comes before its help and type");
            assert!(seen.insert(line.rsplit_once(' ').unwrap().0), "{line} stands twice");
            assert!(sample.value.is_finite(), "{line}");
        }
    }
}

#[test]
fn labels_come_from_the_configuration_or_a_closed_set() {
    let reasons: BTreeSet<_> = CloseReason::ALL
        .iter()
        .map(|reason| reason.label())
        .chain(Refusal::ALL.iter().map(|reason| reason.label()))
        .chain(GapReason::ALL.iter().map(|reason| reason.label()))
        .chain(MissedReason::ALL.iter().map(|reason| reason.label()))
        .collect();
    let results: BTreeSet<_> = RefreshResult::ALL
        .iter()
        .map(|result| result.label())
        .chain(ReplayResult::ALL.iter().map(|result| result.label()))
        .chain(PublishResult::ALL.iter().map(|result| result.label()))
        .chain(["applied", "refused", "fetched", "failed"])
        .collect();
    for sample in samples(&fresh()) {
        for (label, value) in &sample.labels {
            let closed = match label.as_str() {
                "endpoint" => ["notifications", "rooms"].contains(&value.as_str()),
                "reason" => reasons.contains(value.as_str()),
                "transport" => Carrier::ALL.iter().any(|carrier| carrier.label() == value),
                "state" => ["wanted", "subscribed"].contains(&value.as_str()),
                "source" => ["push", "poll", "canary", "fruitless", "client", "http"]
                    .contains(&value.as_str()),
                "result" => results.contains(value.as_str()),
                "version" | "revision" => sample.name == "sockway_build_info",
                "le" => value == "+Inf" || value.parse::<f64>().is_ok(),
                _ => false,
            };
            assert!(closed, "{} has {label}={value}", sample.name);
        }
    }
}
