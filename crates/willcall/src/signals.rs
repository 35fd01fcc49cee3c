//! Signals: which ask for an orderly stop, which for an immediate one, and which are ignored.
//!
//! Signals often come in pairs: `timeout` signals its child and then the whole group, and when a
//! terminal closes the shell sends one more. So a second signal counts only a second after the
//! first. No signal that other programs use for something ends the process without a log line.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::tasks;

/// A signal within this time after the first belongs to it.
const SAME_LIMIT: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SignalAction {
    /// Stop in order; the second time, at once.
    Stop,
    /// Stop in order, however often it comes: nobody is there to press a key a second time.
    HangUp,
    /// A file has reached its size limit. The write fails as well.
    TooLarge,
    /// Ignored, with a log line.
    Nothing,
}

const HEARD: [(Signal, &str, SignalAction); 8] = [
    (Signal::TERM, "SIGTERM", SignalAction::Stop),
    (Signal::INT, "SIGINT", SignalAction::Stop),
    (Signal::QUIT, "SIGQUIT", SignalAction::Stop),
    (Signal::HUP, "SIGHUP", SignalAction::HangUp),
    (Signal::XFSZ, "SIGXFSZ", SignalAction::TooLarge),
    (Signal::USR1, "SIGUSR1", SignalAction::Nothing),
    (Signal::USR2, "SIGUSR2", SignalAction::Nothing),
    (Signal::ALARM, "SIGALRM", SignalAction::Nothing),
];

/// The stops asked for so far.
#[derive(Debug, Clone, Copy, Default)]
struct StopRequests {
    stop: Option<(&'static str, Instant)>,
    cut: Option<&'static str>,
}

/// Receives signals.
pub(crate) struct Signals(watch::Receiver<StopRequests>);

impl Signals {
    /// Installs the handlers. From here on only SIGKILL ends the process by itself.
    pub(crate) fn listen() -> Result<Self> {
        let (sender, receiver) = watch::channel(StopRequests::default());
        let sender = Arc::new(sender);
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        for (number, name, action) in HEARD {
            match action {
                // Started by `nohup`: stay when the terminal closes.
                SignalAction::HangUp if ignores(&status, number) => {
                    tracing::info!("{name} is ignored, because it was when Willcall was started");
                    continue;
                }
                // Child processes inherit it as ignored, too.
                SignalAction::TooLarge if ignores(&status, number) => continue,
                SignalAction::Stop
                | SignalAction::HangUp
                | SignalAction::TooLarge
                | SignalAction::Nothing => {}
            }
            let mut comes = signal(SignalKind::from_raw(number.as_raw()))
                .with_context(|| format!("cannot wait for {name}"))?;
            let sender = Arc::clone(&sender);
            tasks::spawn(async move {
                while comes.recv().await.is_some() {
                    sender.send_if_modified(|asked| asked.hear(name, action, Instant::now()));
                }
            });
        }
        Ok(Self(receiver))
    }

    /// Waits for an orderly stop; returns the name of the signal.
    pub(crate) async fn stop(&mut self) -> &'static str {
        self.first(|asked| asked.stop.map(|(name, _)| name)).await
    }

    /// Waits for an immediate stop; returns the name of the signal.
    pub(crate) async fn cut(&mut self) -> &'static str {
        self.first(|asked| asked.cut).await
    }

    async fn first(&mut self, of: impl Fn(&StopRequests) -> Option<&'static str>) -> &'static str {
        loop {
            if let Some(name) = of(&self.0.borrow_and_update()) {
                return name;
            }
            if self.0.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

impl StopRequests {
    /// Takes a signal in. Returns whether it asks for more than was asked for before.
    fn hear(&mut self, name: &'static str, action: SignalAction, at: Instant) -> bool {
        match (action, self.stop) {
            (SignalAction::Nothing, _) => {
                tracing::info!("{name} has no meaning for Willcall and is ignored");
                false
            }
            (SignalAction::TooLarge, _) => {
                tracing::warn!(
                    "{name}: a file has reached the largest size that the operating system allows \
                     this process (`ulimit -f`)"
                );
                false
            }
            (SignalAction::Stop | SignalAction::HangUp, None) => {
                self.stop = Some((name, at));
                true
            }
            (SignalAction::Stop, Some((_, since))) if at.duration_since(since) >= SAME_LIMIT => {
                self.cut = Some(name);
                true
            }
            (SignalAction::Stop | SignalAction::HangUp, Some((first, _))) => {
                tracing::info!("{name} changes nothing: already stopping because of {first}");
                false
            }
        }
    }
}

/// Makes a write beyond the file size limit fail instead of ending the process.
pub(crate) fn outlast_large_files() -> Result<()> {
    // Having a handler is enough; what it receives is not needed.
    drop(signal(SignalKind::from_raw(Signal::XFSZ.as_raw())).context("cannot wait for SIGXFSZ")?);
    Ok(())
}

/// Whether a process with this `/proc/self/status` ignores the signal.
fn ignores(status: &str, number: Signal) -> bool {
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (number.as_raw() - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(heard: &[(SignalAction, u64)]) -> StopRequests {
        let mut asked = StopRequests::default();
        let begin = Instant::now();
        for (action, ms) in heard {
            asked.hear("SIGTEST", *action, begin + Duration::from_millis(*ms));
        }
        asked
    }

    #[test]
    fn a_second_signal_counts_only_after_a_second() {
        use SignalAction::Stop;
        assert!(after(&[]).stop.is_none());
        assert!(after(&[(Stop, 0)]).stop.is_some());
        assert!(after(&[(Stop, 0), (Stop, 1), (Stop, 999)]).cut.is_none());
        assert!(after(&[(Stop, 0), (Stop, 1_000)]).cut.is_some());
        // Signals that belong to the first do not restart the second.
        assert!(
            after(&[(Stop, 0), (Stop, 600), (Stop, 1_200)])
                .cut
                .is_some()
        );
    }

    #[test]
    fn a_terminal_that_closes_asks_for_a_stop_in_order_however_often() {
        use SignalAction::{HangUp, Stop};
        let asked = after(&[(HangUp, 0), (HangUp, 5_000)]);
        assert!(asked.stop.is_some() && asked.cut.is_none());
        assert!(after(&[(HangUp, 0), (Stop, 5_000)]).cut.is_some());
        assert!(after(&[(Stop, 0), (HangUp, 5_000)]).cut.is_none());
    }

    #[test]
    fn what_means_nothing_asks_for_nothing() {
        use SignalAction::{Nothing, TooLarge};
        let asked = after(&[(Nothing, 0), (TooLarge, 2_000), (Nothing, 4_000)]);
        assert!(asked.stop.is_none() && asked.cut.is_none());
    }

    #[test]
    fn a_signal_that_was_ignored_at_the_start_is_known() {
        let status = "Name:\twillcall\nSigBlk:\t0000000000000001\nSigIgn:\t0000000000001001\n";
        assert!(ignores(status, Signal::HUP));
        assert!(ignores(status, Signal::PIPE));
        assert!(!ignores(status, Signal::INT));
        assert!(!ignores("", Signal::HUP));
        assert!(!ignores("SigIgn:\tnone\n", Signal::HUP));
    }
}
