//! The alert rules and the dashboard that operators are given, against the metrics of a running
//! server and by Prometheus' own `promtool`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::metrics::{Scrape, on_postgres, scrape};

const ALERTS: &str = include_str!("../../../../packaging/monitoring/alerts.yml");
const DASHBOARD: &str = include_str!("../../../../packaging/monitoring/grafana-dashboard.json");

/// Labels that Prometheus adds itself, and that of a histogram's buckets.
const NOT_OURS: [&str; 4] = ["instance", "job", "le", "__name__"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/monitoring")
}

/// The expressions of the rules; each is on one line.
fn of_alerts() -> Vec<String> {
    let lines = ALERTS.lines().map(str::trim);
    let expressions = lines.filter_map(|line| line.strip_prefix("expr: "));
    expressions.map(str::to_owned).collect()
}

/// All expressions of the dashboard's panels.
fn of_dashboard() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array());
    let expressions = targets
        .flatten()
        .map(|target| target["expr"].as_str().unwrap());
    expressions.map(str::to_owned).collect()
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The labels of a metric as the scrape has them: names, and pairs with their values.
fn labels(scrape: &Scrape, sample: &str) -> BTreeSet<String> {
    let series = scrape.samples.iter().filter(|(name, _)| name == sample);
    let pairs = series.flat_map(|(_, labels)| labels.trim_end_matches('}').split(','));
    let both = pairs.flat_map(|pair| {
        let (name, _) = pair.split_once('=').unwrap_or_default();
        [name.to_owned(), pair.to_owned()]
    });
    both.collect()
}

/// What is wrong with an expression: names that no metric has, labels that its metrics do not have.
fn faults(scrape: &Scrape, postgres: &BTreeSet<String>, expression: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut known = BTreeSet::new();
    let starts = expression.match_indices("willcall_").map(|(at, _)| at);
    for at in starts {
        let rest = &expression[at..];
        let name: String = rest.chars().take_while(|c| is_of_name(*c)).collect();
        let is_sample = scrape.samples.iter().any(|(sample, _)| *sample == name);
        if !is_sample && !postgres.contains(&name) {
            faults.push(format!("no metric has the sample {name}"));
        }
        let own = labels(scrape, &name);
        if let Some(selector) = rest[name.len()..].strip_prefix('{') {
            let (selector, _) = selector.split_once('}').unwrap();
            for pair in selector.split(',').map(str::trim) {
                let label: String = pair.chars().take_while(|c| is_of_name(*c)).collect();
                if !NOT_OURS.contains(&label.as_str()) && !own.contains(pair) {
                    faults.push(format!("{name} has no series with {pair}"));
                }
            }
        }
        known.extend(own);
    }
    for by in expression.split("by (").skip(1) {
        let (by, _) = by.split_once(')').unwrap();
        for label in by.split(',').map(str::trim) {
            if !NOT_OURS.contains(&label) && !known.contains(label) {
                faults.push(format!("no label {label}"));
            }
        }
    }
    faults
}

#[test]
fn alerts_and_dashboard_ask_for_metrics_and_labels_that_a_server_has() {
    let (scrape, postgres) = (scrape(), on_postgres());
    let (alerts, panels) = (of_alerts(), of_dashboard());
    assert!(
        alerts.len() > 10 && panels.len() > 20,
        "{} {}",
        alerts.len(),
        panels.len()
    );
    for expression in alerts.iter().chain(&panels) {
        let faults = faults(&scrape, &postgres, expression);
        assert!(faults.is_empty(), "{expression}: {faults:?}");
    }
}

#[test]
fn alerts_come_when_they_should_as_promtool_sees_it() {
    for arguments in [
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts_test.yml"],
    ] {
        let output = Command::new("promtool")
            .args(arguments)
            .current_dir(folder())
            .output()
            .expect("promtool, which test.sh installs");
        assert!(output.status.success(), "{output:?}");
    }
}
