//! Results against their bars: a table for people, JSON for programs.

use std::fmt::Write;

use serde_json::{Value, json};

/// One result, with its bar if it has one.
#[derive(Debug, Clone)]
pub(crate) struct Measure {
    pub(crate) name: &'static str,
    pub(crate) words: String,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    pub(crate) bar: Option<Threshold>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Threshold {
    AtLeast(f64),
    AtMost(f64),
}

/// The results of one scenario.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) title: String,
    pub(crate) measures: Vec<Measure>,
    /// What was left out, and why.
    pub(crate) notes: Vec<String>,
}

/// What the results were measured on, and how busy the machine was.
#[derive(Debug, Clone)]
pub(crate) struct BenchEnvironment {
    pub(crate) cores: usize,
    pub(crate) load_before: String,
    pub(crate) load_after: String,
    pub(crate) quick: bool,
    pub(crate) at: Option<String>,
    /// The nodes of each stage.
    pub(crate) nodes: usize,
    pub(crate) postgres: Option<PostgresFacts>,
}

/// The PostgreSQL that the stores are in.
#[derive(Debug, Clone)]
pub(crate) struct PostgresFacts {
    pub(crate) version: String,
    /// How long it takes to flush 8 kB on its disk, if that is known.
    pub(crate) flush_us: Option<f64>,
}

impl Measure {
    pub(crate) fn new(name: &'static str, words: &str, value: f64, unit: &'static str) -> Self {
        Self {
            name,
            words: words.to_owned(),
            value,
            unit,
            bar: None,
        }
    }

    pub(crate) fn at_least(mut self, bar: f64) -> Self {
        self.bar = Some(Threshold::AtLeast(bar));
        self
    }

    pub(crate) fn at_least_if(mut self, bar: Option<f64>) -> Self {
        self.bar = bar.map(Threshold::AtLeast);
        self
    }

    pub(crate) fn at_most(mut self, bar: f64) -> Self {
        self.bar = Some(Threshold::AtMost(bar));
        self
    }

    pub(crate) fn at_most_if(mut self, bar: Option<f64>) -> Self {
        self.bar = bar.map(Threshold::AtMost);
        self
    }

    fn met(&self) -> Option<bool> {
        self.bar.map(|bar| match bar {
            Threshold::AtLeast(least) => self.value >= least,
            Threshold::AtMost(most) => self.value <= most,
        })
    }
}

impl BenchEnvironment {
    fn profile() -> &'static str {
        if cfg!(debug_assertions) {
            "debug"
        } else {
            "release"
        }
    }

    /// Small sizes and unoptimized code say nothing about speed.
    fn judges(&self) -> bool {
        !self.quick && !cfg!(debug_assertions)
    }

    fn verdict(&self, measure: &Measure) -> &'static str {
        match measure.met() {
            None => "",
            Some(_) if !self.judges() => "not judged",
            Some(true) => "met",
            Some(false) => "NOT met",
        }
    }

    /// Whether every bar is met; true if none is judged.
    pub(crate) fn all_met(&self, scenarios: &[Scenario]) -> bool {
        let mut measures = scenarios.iter().flat_map(|scenario| &scenario.measures);
        !self.judges() || measures.all(|measure| measure.met() != Some(false))
    }

    pub(crate) fn json(&self, scenarios: &[Scenario]) -> Value {
        let scenarios: Vec<Value> = scenarios
            .iter()
            .map(|scenario| {
                let measures = scenario.measures.iter().map(|measure| self.line(measure));
                json!({
                    "name": scenario.name,
                    "title": scenario.title,
                    "measures": measures.collect::<Vec<Value>>(),
                    "notes": scenario.notes,
                })
            })
            .collect();
        json!({
            "willcall": env!("CARGO_PKG_VERSION"),
            "profile": Self::profile(),
            "quick": self.quick,
            "at": self.at,
            "cores": self.cores,
            "nodes": self.nodes,
            "postgres": self.postgres.as_ref().map(|postgres| json!({
                "version": postgres.version,
                "flush_us": postgres.flush_us,
            })),
            "load_before": self.load_before,
            "load_after": self.load_after,
            "scenarios": scenarios,
        })
    }

    fn line(&self, measure: &Measure) -> Value {
        let bar = measure.bar.map(|bar| match bar {
            Threshold::AtLeast(least) => json!({"at_least": least}),
            Threshold::AtMost(most) => json!({"at_most": most}),
        });
        let met = measure.met().filter(|_| self.judges());
        json!({
            "name": measure.name,
            "words": measure.words,
            "value": measure.value,
            "unit": measure.unit,
            "bar": bar,
            "met": met,
        })
    }

    pub(crate) fn head(&self) -> String {
        let server = match &self.at {
            Some(at) => format!("the server at {at}"),
            None => format!(
                "Willcall {} ({})",
                env!("CARGO_PKG_VERSION"),
                Self::profile()
            ),
        };
        let store = self.postgres.as_ref().map_or_else(String::new, |postgres| {
            let nodes = match self.nodes {
                1 => "1 node".to_owned(),
                nodes => format!("{nodes} nodes"),
            };
            let flush = postgres.flush_us.map_or_else(String::new, |us| {
                format!(", where a flush of 8 kB takes {} µs", number(us))
            });
            format!(", {nodes} on PostgreSQL {}{flush}", postgres.version)
        });
        format!(
            "{server}{store}, sender and receiver on {} cores; load of the machine {}",
            self.cores, self.load_before
        )
    }

    /// A scenario as a table.
    pub(crate) fn table(&self, scenario: &Scenario) -> String {
        let lines: Vec<[String; 4]> = scenario
            .measures
            .iter()
            .map(|measure| {
                let bar = measure.bar.map_or_else(String::new, |bar| match bar {
                    Threshold::AtLeast(least) => format!("at least {}", number(least)),
                    Threshold::AtMost(most) => format!("at most {}", number(most)),
                });
                let value = format!("{} {}", number(measure.value), measure.unit);
                [
                    measure.words.clone(),
                    value,
                    bar,
                    self.verdict(measure).to_owned(),
                ]
            })
            .collect();
        let mut widths = [0; 4];
        for line in &lines {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut table = format!("{}: {}\n", scenario.name, scenario.title);
        for line in &lines {
            let mut text = " ".to_owned();
            for (width, cell) in widths.iter().zip(line) {
                // Writing to a `String` cannot fail.
                write!(text, " {cell:<width$} ").ok();
            }
            table.push_str(text.trim_end());
            table.push('\n');
        }
        for note in &scenario.notes {
            writeln!(table, "  {note}").ok();
        }
        table
    }
}

/// Formats a number with about three significant digits, and thousands with commas.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 || size.fract().abs() < f64::EPSILON => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    let plain = format!("{value:.digits$}");
    let (whole, rest) = plain.split_once('.').unwrap_or((&plain, ""));
    let count = whole.chars().count();
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (count - index) % 3 == 0 && digit.is_ascii_digit() {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if rest.is_empty() {
        grouped
    } else {
        format!("{grouped}.{rest}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(quick: bool) -> BenchEnvironment {
        BenchEnvironment {
            cores: 2,
            load_before: "0.00 0.00 0.00".to_owned(),
            load_after: String::new(),
            quick,
            at: None,
            nodes: 1,
            postgres: None,
        }
    }

    #[test]
    fn what_is_below_the_numbers_is_told_first() {
        let mut environment = environment(true);
        let head = environment.head();
        assert!(head.contains("), sender and receiver on 2 cores"), "{head}");
        assert_eq!(environment.json(&[])["postgres"], Value::Null);
        environment.nodes = 2;
        environment.postgres = Some(PostgresFacts {
            version: "15.18".to_owned(),
            flush_us: Some(140.4),
        });
        let head = environment.head();
        let words = "2 nodes on PostgreSQL 15.18, where a flush of 8 kB takes 140 µs, sender";
        assert!(head.contains(words), "{head}");
        let json = environment.json(&[]);
        assert_eq!(
            (&json["nodes"], &json["postgres"]["version"]),
            (&2.into(), &"15.18".into())
        );
    }

    fn scenario() -> Scenario {
        Scenario {
            name: "fan-out",
            title: "much".to_owned(),
            measures: vec![
                Measure::new("ratio", "of raw", 0.5, "of raw").at_least(0.45),
                Measure::new("cpu", "CPU", 1_234.5, "µs").at_most(20.0),
                Measure::new("rate", "deliveries", 12.3, "/s"),
            ],
            notes: vec!["left out: more, because it is late".to_owned()],
        }
    }

    #[test]
    fn numbers_have_the_digits_that_mean_something() {
        let cases = [
            (0.2046, "0.205"),
            (2.5, "2.50"),
            (17.04, "17.0"),
            (700.0, "700"),
            (1_234_567.8, "1,234,568"),
            (0.0, "0"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_table_has_its_columns_below_one_another() {
        let table = environment(true).table(&scenario());
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "fan-out: much");
        assert_eq!(
            lines[1],
            "  of raw      0.500 of raw  at least 0.450  not judged"
        );
        assert_eq!(lines[3], "  deliveries  12.3 /s");
        assert_eq!(lines[4..], ["  left out: more, because it is late"]);
    }

    #[test]
    fn nothing_is_judged_by_small_sizes_or_in_a_debug_build() {
        let json = environment(true).json(&[scenario()]);
        let first = &json["scenarios"][0]["measures"][0];
        assert_eq!(first["met"], Value::Null);
        assert_eq!(first["bar"]["at_least"], 0.45);
        let notes = &json["scenarios"][0]["notes"];
        assert_eq!(notes[0], "left out: more, because it is late");
        assert!(environment(true).all_met(&[scenario()]));
        let [ratio, cpu, rate] = <[Measure; 3]>::try_from(scenario().measures).unwrap();
        assert_eq!(
            (ratio.met(), cpu.met(), rate.met()),
            (Some(true), Some(false), None)
        );
    }
}
