//! `/metrics` of a running server against the conventions of Prometheus
//! (<https://prometheus.io/docs/practices/naming/>).

use std::collections::{BTreeMap, BTreeSet};

use crate::harness::{API, Server, TENANT, apply};

/// What is measured is given in these, and their name is the last word of the metric's.
const BASE_UNITS: [&str; 2] = ["bytes", "seconds"];

/// Words of times and sizes in another unit, and of no unit at all.
const OTHER_UNITS: [&str; 16] = [
    "days",
    "gib",
    "hours",
    "kb",
    "kib",
    "mb",
    "mib",
    "micros",
    "microseconds",
    "millis",
    "milliseconds",
    "minutes",
    "ms",
    "ns",
    "percent",
    "us",
];

/// A metric as a scrape describes it.
#[derive(Default)]
struct Metric {
    /// Each `TYPE` of this name.
    kinds: Vec<String>,
    /// Each `HELP` of this name.
    helps: Vec<String>,
    unit: Option<String>,
}

/// The metrics of a scrape by name, and the names of its samples with their labels.
pub(crate) struct Scrape {
    metrics: BTreeMap<String, Metric>,
    pub(crate) samples: BTreeSet<(String, String)>,
}

impl Scrape {
    fn parse(text: &str) -> Self {
        let (mut metrics, mut samples) = (BTreeMap::<String, Metric>::new(), BTreeSet::new());
        for line in text.lines().filter(|line| *line != "# EOF") {
            let Some(comment) = line.strip_prefix("# ") else {
                let (series, _) = line.rsplit_once(' ').expect("a value");
                let (name, labels) = series.split_once('{').unwrap_or((series, ""));
                samples.insert((name.to_owned(), labels.to_owned()));
                continue;
            };
            let mut words = comment.splitn(3, ' ').map(str::to_owned);
            let mut word = || words.next().expect("a word, a name and a text");
            let (what, name, value) = (word(), word(), word());
            let metric = metrics.entry(name).or_default();
            match what.as_str() {
                "TYPE" => metric.kinds.push(value),
                "HELP" => metric.helps.push(value),
                "UNIT" => metric.unit = Some(value),
                other => panic!("{other}: {line}"),
            }
        }
        Self { metrics, samples }
    }

    /// Names as a query has them: counters end in `_total`.
    fn exposed(&self) -> BTreeSet<String> {
        let exposed = |(name, metric): (&String, &Metric)| match metric.is("counter") {
            true => format!("{name}_total"),
            false => name.clone(),
        };
        self.metrics.iter().map(exposed).collect()
    }
}

impl Metric {
    fn is(&self, kind: &str) -> bool {
        self.kinds == [kind]
    }

    /// The suffixes of its samples.
    fn suffixes(&self) -> &'static [&'static str] {
        match self.kinds.first().map(String::as_str) {
            Some("counter") => &["_total"],
            Some("gauge") => &[""],
            Some("histogram") => &["_bucket", "_count", "_sum"],
            other => panic!("{other:?} is no kind of ours"),
        }
    }

    /// What is wrong with it under this name.
    fn faults(&self, name: &str) -> Vec<&'static str> {
        let words: Vec<&str> = name.split('_').collect();
        let last = words.last().copied().unwrap_or_default();
        let units = words.iter().filter(|word| BASE_UNITS.contains(word));
        let has_base_unit = BASE_UNITS.contains(&last);
        let is_time = words.contains(&"duration") || words.contains(&"age");
        let is_lower = |word: &&str| {
            !word.is_empty()
                && word
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        };
        let is_sentence = |help: &String| help.len() > 10 && help.ends_with('.');
        [
            (self.kinds.len() != 1, "it is not unique"),
            (
                self.helps.len() != 1 || !self.helps.iter().all(is_sentence),
                "it needs one HELP of whole sentences",
            ),
            (words.first() != Some(&"willcall"), "no prefix willcall_"),
            (!words.iter().all(is_lower), "it is no lower snake case"),
            (
                words.contains(&"total"),
                "only counters end in _total, and once",
            ),
            (
                words.iter().any(|word| OTHER_UNITS.contains(word)),
                "it is not in a base unit",
            ),
            (
                units.count() != usize::from(has_base_unit),
                "the unit is not its last word, or comes twice",
            ),
            (is_time && last != "seconds", "a time is not in seconds"),
            (
                self.unit.as_deref() != has_base_unit.then_some(last),
                "UNIT is not that of the name",
            ),
        ]
        .into_iter()
        .filter_map(|(is_wrong, words)| is_wrong.then_some(words))
        .collect()
    }
}

/// The metrics of a server that was asked for something of each kind.
pub(crate) fn scrape() -> Scrape {
    let folder = tempfile::tempdir().unwrap();
    assert!(apply(folder.path(), TENANT).status.success());
    let server = Server::start(folder.path(), &[]);
    let client = server.client();
    let notification = r#"{"event":"democon","action":"pretix.event.order.paid","code":"A"}"#;
    let (status, answer) = client.post(&format!("{API}/notifications/"), notification);
    assert_eq!(status, 201, "{answer}");
    let (status, text) = client.get("/metrics");
    assert_eq!(status, 200);
    Scrape::parse(text.as_str().unwrap())
}

#[test]
fn metrics_follow_the_conventions_of_prometheus() {
    let Scrape { metrics, samples } = scrape();
    assert!(metrics.len() > 40, "{} metrics", metrics.len());
    let mut owners = BTreeMap::new();
    for (name, metric) in &metrics {
        let faults = metric.faults(name);
        assert!(faults.is_empty(), "{name}: {faults:?}");
        for suffix in metric.suffixes() {
            let sample = format!("{name}{suffix}");
            assert!(samples.iter().any(|(name, _)| *name == sample), "{sample}");
            let other = owners.insert(sample, name);
            assert!(other.is_none(), "{name} has the samples of {other:?}");
        }
    }
    for (name, labels) in samples {
        assert!(owners.contains_key(&name), "{name} belongs to no metric");
        for label in labels.trim_end_matches('}').split("\",") {
            let (label, _) = label.split_once('=').unwrap_or_default();
            let is_good = label.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            assert!(is_good, "{label} of {name}");
        }
    }
}

#[test]
fn the_operators_guide_names_metrics_that_exist() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operating.md");
    let guide = std::fs::read_to_string(path).unwrap();
    let is_of_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let named: BTreeSet<String> = guide
        .split(|c| !is_of_name(c))
        .filter(|word| word.starts_with("willcall_"))
        .map(str::to_owned)
        .collect();
    assert!(named.len() > 30, "{named:?}");
    let mut exposed = scrape().exposed();
    exposed.extend(on_postgres());
    let missing: Vec<_> = named.difference(&exposed).collect();
    assert!(missing.is_empty(), "{missing:?} of {exposed:#?}");
}

/// The names of a store's metrics where it is in a database.
pub(crate) fn on_postgres() -> BTreeSet<String> {
    let mut registry = prometheus_client::registry::Registry::default();
    store::probe::postgres_metrics(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let name = |line: &str| line.split(['{', ' ']).next().unwrap().to_owned();
    samples.map(name).collect()
}
