//! Names that settings had before. They are still read, so that an update does not stop a server;
//! `config.rs` warns about each.

/// A former name of a setting.
pub(super) struct Former {
    pub(super) name: &'static str,
    /// What the setting is called now.
    pub(super) now: &'static str,
}

pub(super) const FORMER: &[Former] = &[
    Former {
        name: "hosts",
        now: "allowed_hosts",
    },
    Former {
        name: "log_days",
        now: "retention_days",
    },
    Former {
        name: "lane_width",
        now: "max_concurrency_per_webhook",
    },
    Former {
        name: "flights_max",
        now: "max_in_flight",
    },
    Former {
        name: "connections_max",
        now: "max_connections",
    },
];

impl Former {
    /// What to say where `place` has this name, such as `the flag --hosts`.
    pub(super) fn warning(&self, place: &str) -> String {
        let Self { name, now } = self;
        format!("the setting {name} (from {place}) is called {now} now; the old name still works")
    }
}
