//! The Prometheus text format, read back.

use std::collections::BTreeMap;

/// One scrape: series → value. A series is written as Prometheus writes it, labels in any order:
/// `sockway_sessions{endpoint="rooms"}`.
#[derive(Debug)]
pub(crate) struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    #[track_caller]
    pub(crate) fn parse(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self(samples.map(sample).collect())
    }

    /// # Panics
    /// When there is no such series: every series exists from the start.
    #[track_caller]
    pub(crate) fn get(&self, series: &str) -> f64 {
        let found = self.0.get(&normal(series)).copied();
        found.unwrap_or_else(|| panic!("no series {series} among {:?}", self.0.keys()))
    }

    /// The sum over all series of one name.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        self.all(name).map(|(_, value)| value).sum()
    }

    /// Nothing is unaccounted for (I8): every session that was opened is closed for a reason or
    /// open, and, where each channel has one session, every message that came from Redis was
    /// delivered or missed for a reason.
    #[track_caller]
    pub(crate) fn assert_balanced(&self) {
        let [opened, closed, open] = ["opened_total", "closed_total", ""].map(|what| match what {
            "" => self.sum("sockway_sessions"),
            what => self.sum(&format!("sockway_sessions_{what}")),
        });
        assert_eq!(opened, closed + open, "opened = closed by reason + open");
        let received = self.get("sockway_redis_messages_total");
        let delivered = self.sum("sockway_deliveries_total");
        let missed = self.sum("sockway_missed_messages_total");
        assert_eq!(received, delivered + missed, "received = delivered + missed by reason");
    }

    /// All series of one name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.0
            .iter()
            .filter(move |(series, _)| series.split('{').next() == Some(name))
            .map(|(series, value)| (series.as_str(), *value))
    }
}

#[track_caller]
fn sample(line: &str) -> (String, f64) {
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("not a sample: {line}"));
    (normal(series), value.parse().unwrap_or_else(|_| panic!("not a number: {line}")))
}

/// The series with its labels in order. No label value here contains a comma.
fn normal(series: &str) -> String {
    let Some((name, labels)) = series.trim_end_matches('}').split_once('{') else {
        return series.to_owned();
    };
    let mut labels: Vec<&str> = labels.split(',').collect();
    labels.sort_unstable();
    format!("{name}{{{}}}", labels.join(","))
}
