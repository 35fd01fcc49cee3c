//! A table of the names that settings had before, and of settings that are gone. `config.rs` still
//! reads them, so that an update does not stop a server, and warns about each.

/// A former name of a setting, or a setting that is gone.
pub(super) struct Former {
    pub(super) name: &'static str,
    /// What the setting is called now; nothing if it is gone.
    pub(super) now: Option<&'static str>,
}

pub(super) const FORMER: &[Former] = &[
    Former {
        name: "hosts",
        now: Some("allowed_hosts"),
    },
    Former {
        name: "log_days",
        now: Some("retention_days"),
    },
    Former {
        name: "lane_width",
        now: Some("max_concurrency_per_webhook"),
    },
    Former {
        name: "flights_max",
        now: Some("max_in_flight"),
    },
    Former {
        name: "connections_max",
        now: Some("max_connections"),
    },
    Former {
        name: "own_processors",
        now: None,
    },
];

impl Former {
    /// What to say where `place` has this name, such as `the flag --hosts`.
    pub(super) fn warning(&self, place: &str) -> String {
        let Self { name, now } = self;
        let words = match now {
            Some(now) => format!("is called {now} now; the old name still works"),
            None => "has no effect any more; remove it".to_owned(),
        };
        format!("the setting {name} (from {place}) {words}")
    }
}
