//! What this process or its machine runs out of. No receiver is to blame: an attempt that meets a
//! shortage counts as not made.
//!
//! It waits a little, longer each time, and fewer attempts begin until none has met the shortage
//! for some time. It is logged once, and health says so for as long as it lasts.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use model::attempt::{Failure, FailureKind, Outcome};
use rustix::io::Errno;
use tokio::time::Instant;

use crate::concurrency::FAST_MS;
use crate::sync::lock;

/// How long an attempt that meets a shortage waits, at first and at most. In flight for longer than
/// `FAST_MS` it would count as slow, which the receiver is not.
const WAIT_FIRST: Duration = Duration::from_millis(250);
const WAIT_MAX: Duration = Duration::from_millis(1_500);

const _: () = assert!(WAIT_MAX.as_millis() < FAST_MS as u128);

/// After this long without a shortage twice as many attempts may be in flight.
const QUIET: Duration = Duration::from_secs(10);

/// A shortage of this length means that deliveries do not flow.
const LASTS_AFTER: Duration = Duration::from_secs(60);

/// Least time between two lines about what is short: it may come and go.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// What is short at the moment, if anything is.
#[derive(Debug, Default)]
pub(crate) struct Shortage {
    told_at: Mutex<Option<Instant>>,
    /// So that asking costs nothing while nothing is short.
    lasts: AtomicBool,
    state: Mutex<Option<ShortageState>>,
}

#[derive(Debug)]
struct ShortageState {
    since: Instant,
    latest: Instant,
    /// When the wait was last lengthened, or more attempts were allowed.
    stepped: Instant,
    wait: Duration,
    /// It is short for all receivers. Ports are short for one, and a proxy has its own measure.
    is_general: bool,
    max_in_flight: usize,
    what: String,
    /// It was logged, and its end is to be.
    is_told: bool,
}

impl Shortage {
    /// An attempt met it; returns how long it waits now.
    pub(crate) fn meet(&self, what: &str) -> Duration {
        let now = Instant::now();
        let mut state = self.lock();
        let short = state.get_or_insert_with(|| ShortageState {
            since: now,
            latest: now,
            stepped: now,
            wait: WAIT_FIRST,
            is_general: false,
            max_in_flight: usize::MAX,
            what: what.to_owned(),
            is_told: false,
        });
        if !short.is_told && self.may_tell(now) {
            short.is_told = true;
            tracing::warn!(
                "Willcall runs short of {what}: attempts wait until that is over; it takes nothing \
                 from their schedules"
            );
        }
        short.latest = now;
        short.is_general |= is_general(what);
        if short.what != what {
            what.clone_into(&mut short.what);
        }
        // Attempts in flight at the same moment meet it together: that counts once.
        if now - short.stepped >= short.wait {
            short.wait = (short.wait * 2).min(WAIT_MAX);
            short.stepped = now;
        }
        self.lasts.store(true, Ordering::Relaxed);
        short.wait
    }

    /// How many attempts may be in flight, of so many that are and so many that may be.
    pub(crate) fn max_in_flight(&self, in_flight_count: usize, most: usize) -> usize {
        if !self.lasts.load(Ordering::Relaxed) {
            return most;
        }
        let now = Instant::now();
        let mut state = self.lock();
        let Some(short) = state.as_mut() else {
            return most;
        };
        if short.max_in_flight == usize::MAX && short.is_general {
            // Those that had what they needed, and some that had not.
            short.max_in_flight = (in_flight_count / 2).max(1);
        }
        if now - short.latest >= QUIET && now - short.stepped >= QUIET {
            short.max_in_flight = short.max_in_flight.saturating_mul(2);
            short.stepped = now;
            if short.max_in_flight >= most {
                let (what, seconds) = (&short.what, (now - short.since).as_secs());
                if short.is_told {
                    tracing::info!("Willcall is no longer short of {what}, after {seconds} s");
                }
                *state = None;
                self.lasts.store(false, Ordering::Relaxed);
                return most;
            }
        }
        short.max_in_flight.min(most)
    }

    /// What is short, and whether for so long that deliveries do not flow.
    pub(crate) fn words(&self) -> Option<(String, bool)> {
        let now = Instant::now();
        let state = self.lock();
        let short = state.as_ref()?;
        let lasts = short.latest - short.since >= LASTS_AFTER && now - short.latest < QUIET;
        let (what, seconds) = (&short.what, (now - short.since).as_secs());
        let words = format!(
            "Willcall has been short of {what} for {seconds} s: attempts wait; that uses up no \
             schedule."
        );
        Some((words, lasts))
    }

    fn may_tell(&self, now: Instant) -> bool {
        let mut told_at = lock(&self.told_at);
        let is_early = told_at.is_some_and(|told| now.duration_since(told) < TOLD_EVERY);
        if !is_early {
            *told_at = Some(now);
        }
        !is_early
    }

    fn lock(&self) -> MutexGuard<'_, Option<ShortageState>> {
        lock(&self.state)
    }
}

const PORTS: &str = "ports for one receiver (`net.ipv4.ip_local_port_range`)";

const PROXY: &str = "a proxy that works";

/// The shortage of a proxy, of which `why` says what is wrong.
pub(crate) fn no_proxy_words(why: &str) -> String {
    format!("{PROXY} ({why})")
}

/// What Willcall itself was short of, if that is why the attempt was not made.
pub(crate) fn shortage_of(outcome: &Outcome) -> Option<&str> {
    match outcome {
        Outcome::Failed(failure) => shortage_in(failure),
        Outcome::Answered(_) => None,
    }
}

/// The same of a failure.
pub(crate) fn shortage_in(failure: &Failure) -> Option<&str> {
    (failure.kind == FailureKind::Short).then_some(&*failure.detail)
}

/// Whether it is short for all receivers: then fewer calls and fewer kept connections help. With a
/// proxy they do not: open tunnels may go on to work, and other calls go past it.
pub(crate) fn is_general(what: &str) -> bool {
    what != PORTS && !what.starts_with(PROXY)
}

/// What this machine is short of, if that is why there is no connection to this address.
pub(crate) fn lack(error: &io::Error, address: SocketAddr) -> Option<&'static str> {
    match Errno::from_io_error(error)? {
        Errno::MFILE => Some("file descriptors (`LimitNOFILE`, `ulimit -n`)"),
        Errno::NFILE => Some("file descriptors of the whole machine (`fs.file-max`)"),
        Errno::NOMEM | Errno::NOBUFS => Some("memory for connections"),
        Errno::ADDRNOTAVAIL if has_address_for(address) => Some(PORTS),
        _ => None,
    }
}

/// Whether this machine has an address to call that one from. Then it was a port that it had not:
/// a datagram socket needs the same address, but no port of TCP.
fn has_address_for(address: SocketAddr) -> bool {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    // Connecting one sends nothing.
    UdpSocket::bind(any).is_ok_and(|socket| socket.connect(address).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(errno: Errno, address: &str) -> Option<&'static str> {
        lack(&errno.into(), address.parse().unwrap())
    }

    #[test]
    fn what_we_lack_is_told_from_what_a_receiver_does() {
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS] {
            assert!(of(errno, "192.0.2.1:80").is_some(), "{errno:?}");
        }
        for errno in [
            Errno::CONNREFUSED,
            Errno::HOSTUNREACH,
            Errno::NETUNREACH,
            Errno::TIMEDOUT,
        ] {
            assert!(of(errno, "127.0.0.1:80").is_none(), "{errno:?}");
        }
        assert!(of(Errno::ADDRNOTAVAIL, "127.0.0.1:80").is_some());
        // Nobody can be called there from anywhere, which no waiting changes.
        assert!(of(Errno::ADDRNOTAVAIL, "255.255.255.255:80").is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_grows_with_each_wave_and_not_with_each_attempt() {
        let shortage = Shortage::default();
        for _ in 0..1_000 {
            assert_eq!(shortage.meet("descriptors"), WAIT_FIRST);
        }
        for wait in [500, 1_000, 1_500, 1_500] {
            tokio::time::advance(WAIT_MAX).await;
            assert_eq!(shortage.meet("descriptors"), Duration::from_millis(wait));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn fewer_are_in_the_air_until_it_is_over() {
        let shortage = Shortage::default();
        assert_eq!(shortage.max_in_flight(1_000, 1_024), 1_024);
        shortage.meet("descriptors");
        assert_eq!(shortage.max_in_flight(1_000, 1_024), 500);
        assert!(shortage.words().unwrap().0.contains("short of descriptors"));
        tokio::time::advance(QUIET).await;
        assert_eq!(shortage.max_in_flight(500, 1_024), 1_000);
        tokio::time::advance(QUIET).await;
        assert_eq!(shortage.max_in_flight(700, 1_024), 1_024);
        assert!(shortage.words().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_lasts_keeps_deliveries_from_flowing() {
        let shortage = Shortage::default();
        shortage.meet("descriptors");
        assert!(!shortage.words().unwrap().1);
        tokio::time::advance(LASTS_AFTER).await;
        shortage.meet("descriptors");
        assert!(shortage.words().unwrap().1);
        tokio::time::advance(QUIET).await;
        assert!(!shortage.words().unwrap().1);
    }

    #[tokio::test(start_paused = true)]
    async fn ports_for_one_receiver_keep_nobody_else_out_of_the_air() {
        let shortage = Shortage::default();
        let what = of(Errno::ADDRNOTAVAIL, "127.0.0.1:80").unwrap();
        assert!(!is_general(what));
        assert_eq!(shortage.meet(what), WAIT_FIRST);
        assert_eq!(shortage.max_in_flight(1_000, 1_024), 1_024);
        assert!(shortage.words().unwrap().0.contains(what));
        // Until something else is short, too.
        shortage.meet(of(Errno::MFILE, "127.0.0.1:80").unwrap());
        assert_eq!(shortage.max_in_flight(1_000, 1_024), 500);
        for _ in 0..2 {
            tokio::time::advance(QUIET).await;
            shortage.max_in_flight(1_000, 1_024);
        }
        assert!(shortage.words().is_none());
        // And it is over as any other.
        shortage.meet(what);
        tokio::time::advance(QUIET).await;
        assert_eq!(shortage.max_in_flight(1_000, 1_024), 1_024);
        assert!(shortage.words().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_comes_and_goes_is_told_once_a_minute_and_one_that_lasts_is_told_late() {
        let shortage = Shortage::default();
        let is_told = || shortage.lock().as_ref().map(|short| short.is_told);
        shortage.meet(PORTS);
        assert_eq!(is_told(), Some(true));
        tokio::time::advance(QUIET).await;
        shortage.max_in_flight(1, 1_024);
        assert_eq!(is_told(), None);
        shortage.meet(PORTS);
        assert_eq!(is_told(), Some(false));
        tokio::time::advance(TOLD_EVERY).await;
        shortage.meet(PORTS);
        assert_eq!(is_told(), Some(true));
    }
}
