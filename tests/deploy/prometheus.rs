//! Alert rules, checked by promtool; rules and dashboard, checked against the gateway's own series.

use crate::tools::{assert_accepted, path, program, read};
use serde_json::Value;
use sockway::metrics::Metrics;
use std::collections::{BTreeMap, BTreeSet};

/// Labels that Prometheus itself adds.
const ADDED: [&str; 4] = ["alertname", "instance", "job", "le"];

#[test]
fn alert_rules_are_valid_and_fire_when_they_should() {
    let Some(mut promtool) = program("promtool", &["--version"]) else { return };
    assert_accepted(promtool.arg("check").arg("rules").arg(path("deploy/prometheus/alerts.yml")));
    let Some(mut promtool) = program("promtool", &["--version"]) else { return };
    let tests = path("deploy/prometheus/alerts.test.yml");
    assert_accepted(promtool.arg("test").arg("rules").arg(tests));
}

#[test]
fn every_alert_has_a_test_in_which_it_is_quiet_and_one_in_which_it_fires() {
    let (rules, tests) =
        (read("deploy/prometheus/alerts.yml"), read("deploy/prometheus/alerts.test.yml"));
    let names = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    assert!(names.clone().count() > 10, "the test looks at nothing");
    for name in names {
        assert!(tests.contains(&format!("alertname: {name} }}")), "{name} is never quiet");
        assert!(tests.contains(&format!("alertname=\"{name}\"")), "{name} never fires");
    }
}

/// The labels of each series, and the values of each label.
type Series = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

fn real_series() -> Series {
    let mut series = Series::new();
    for line in Metrics::new(1, &["notifications".into()]).render().lines() {
        let Some((head, _)) = line.rsplit_once(' ').filter(|_| !line.starts_with('#')) else {
            continue;
        };
        let (name, labels) = head.split_once('{').unwrap_or((head, ""));
        let known = series.entry(name.to_owned()).or_default();
        for (label, value) in matchers(labels) {
            known.entry(label).or_default().insert(value);
        }
    }
    series
}

/// The labels and values inside a selector's braces, whatever the operator between them.
fn matchers(inside: &str) -> Vec<(String, String)> {
    let inside = inside.split('}').next().unwrap_or_default();
    let mut parts = inside.split('"');
    let mut found = Vec::new();
    while let (Some(left), Some(value)) = (parts.next(), parts.next()) {
        let label = left.trim_matches([',', ' ', '=', '~', '!']);
        found.push((label.to_owned(), value.to_owned()));
    }
    found
}

/// The problems of an expression: series, labels or values that do not exist.
fn problems(expression: &str, series: &Series) -> Vec<String> {
    let mut found = Vec::new();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for (at, _) in expression.match_indices(|c: char| c.is_ascii_lowercase()) {
        let starts = !expression[..at].ends_with(is_word);
        let word: String = expression[at..].chars().take_while(|&c| is_word(c)).collect();
        let ours = word.starts_with("sockway_") || word.starts_with("process_");
        if !starts || !ours {
            continue;
        }
        let Some(labels) = series.get(&word) else {
            found.push(format!("{word} does not exist"));
            continue;
        };
        let rest = &expression[at + word.len()..];
        for (label, value) in rest.strip_prefix('{').map(matchers).unwrap_or_default() {
            found.extend(problem(&word, labels, &label, &value));
        }
    }
    for by in expression.split("by (").skip(1) {
        let names = by.split(')').next().unwrap_or_default().split(", ");
        let known =
            |name: &&str| ADDED.contains(name) || series.values().any(|it| it.contains_key(*name));
        found.extend(names.filter(|name| !known(name)).map(|name| format!("no label {name}")));
    }
    found
}

fn problem(
    name: &str,
    labels: &BTreeMap<String, BTreeSet<String>>,
    label: &str,
    value: &str,
) -> Option<String> {
    let Some(values) = labels.get(label) else {
        return (!ADDED.contains(&label)).then(|| format!("{name} has no label {label}"));
    };
    // Endpoint names and bucket bounds vary; all other labels have a fixed set of values.
    let open = label == "endpoint" || label == "le";
    let unknown = value.split('|').find(|one| !values.contains(*one))?;
    (!open).then(|| format!("{name} is never {label}=\"{unknown}\""))
}

/// Every expression of the dashboard.
fn dashboard() -> Vec<String> {
    let dashboard: Value =
        serde_json::from_str(&read("deploy/grafana/sockway.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().expect("targets"));
    targets.map(|target| target["expr"].as_str().expect("an expression").to_owned()).collect()
}

/// The alert rules as text. Lines that are not expressions name no series, so they do no harm.
fn alerts() -> Vec<String> {
    ["deploy/prometheus/alerts.yml", "deploy/prometheus/alerts.test.yml"].map(read).to_vec()
}

#[test]
fn rules_and_dashboard_name_series_labels_and_values_that_exist() {
    let series = real_series();
    let expressions = [dashboard(), alerts()].concat();
    assert!(expressions.len() > 20, "the test looks at nothing");
    let wrong: Vec<_> = expressions.iter().flat_map(|it| problems(it, &series)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn wrong_series_labels_and_values_are_found() {
    let series = real_series();
    let wrong = [
        "rate(sockway_gap_total[5m])",
        r#"sockway_gaps_total{cause="redis_reconnected"}"#,
        r#"sockway_gaps_total{instance="a",reason=~"redis_reconnected|redis_gone"}"#,
        "sum by (reasons) (sockway_gaps_total)",
    ];
    for expression in wrong {
        assert_eq!(problems(expression, &series).len(), 1, "{expression}");
    }
}

#[test]
fn dashboard_shows_every_series_that_an_operator_has() {
    let shown = dashboard().join("\n");
    let kept_for_questions =
        ["session_seconds", "resubscribe_seconds", "config_reloads", "build_info"];
    for name in real_series().keys().filter(|name| name.starts_with("sockway_")) {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let left_out = kept_for_questions.iter().any(|part| name.contains(part));
        assert!(left_out || shown.contains(base.unwrap_or(name)), "{name}");
    }
}
