//! Moods: what receivers do, each for a time.

use std::net::{IpAddr, Ipv4Addr};

/// What a receiver does with requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// 200 within some milliseconds.
    Good,
    /// 200 after seconds.
    Slow,
    /// One error after the other.
    Failing,
    /// Anything.
    Flaky,
    /// Takes requests and never answers.
    Hanging,
    /// Refuses connections.
    Refusing,
    /// Its machine does not answer.
    Gone,
    /// Resets connections in the middle.
    Resetting,
    /// Answers 200, and the body breaks off.
    Lying,
    /// Ends kept connections at the worst moment.
    HalfClosing,
    /// 429 or 503 with `Retry-After`.
    Busy,
    /// 410 Gone.
    Quitting,
    /// Its name is not there.
    Nameless,
    /// Nobody answers for its name.
    NameHangs,
    /// Its name leads to an address that may not be called.
    Private,
}

impl Mood {
    /// What trouble there is, by how often it is drawn.
    pub(crate) const TROUBLE: &[(u64, Self)] = &[
        (8, Self::Slow),
        (14, Self::Failing),
        (14, Self::Flaky),
        (8, Self::Hanging),
        (8, Self::Refusing),
        (6, Self::Gone),
        (8, Self::Resetting),
        (8, Self::Lying),
        (12, Self::HalfClosing),
        (6, Self::Busy),
        (1, Self::Quitting),
        (3, Self::Nameless),
        (3, Self::NameHangs),
        (4, Self::Private),
    ];

    /// Whether calls succeed at once.
    pub(crate) fn is_good(self) -> bool {
        self == Self::Good
    }
}

/// What a look-up of its name finds.
pub(crate) enum NameAnswer {
    Found(IpAddr),
    NoSuchName,
    Hangs,
}

pub(crate) struct Receiver {
    pub(crate) name: String,
    pub(crate) address: IpAddr,
    /// Its moods, each from its time on.
    pub(crate) moods: Vec<(i64, Mood)>,
    /// After so long it ends an idle connection.
    pub(crate) idle_ms: i64,
    /// Its mood when all else is calm.
    pub(crate) end: Mood,
}

impl Receiver {
    pub(crate) fn new(number: usize, moods: Vec<(i64, Mood)>, idle_ms: i64, end: Mood) -> Self {
        let number = u8::try_from(number % 250).unwrap_or(0);
        Self {
            name: format!("r{number}.example"),
            address: IpAddr::V4(Ipv4Addr::new(20, 0, 0, number + 1)),
            moods,
            idle_ms,
            end,
        }
    }

    pub(crate) fn is_at(&self, address: IpAddr) -> bool {
        self.address == address
    }

    pub(crate) fn mood_at(&self, at: i64) -> Mood {
        let mood = self.moods.iter().rev().find(|(from, _)| *from <= at);
        mood.map_or(Mood::Good, |(_, mood)| *mood)
    }

    /// Since when it has been in its present mood.
    pub(crate) fn since(&self, at: i64) -> i64 {
        let mood = self.moods.iter().rev().find(|(from, _)| *from <= at);
        mood.map_or(0, |(from, _)| *from)
    }
}
