//! Ends the process when one input takes too long, and says which: a test that hangs tells nothing.

use std::io::{Write as _, stderr};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;
use std::time::Duration;

/// What one input may take, on a machine that does other things, too.
const LIMIT: Duration = Duration::from_secs(120);

/// Characters of an input that are shown.
const SHOWN_CHARS_MAX: usize = 1_500;

pub(crate) struct Watchdog {
    current: Arc<Mutex<Vec<u8>>>,
    alive: Sender<()>,
}

impl Watchdog {
    /// Watches until it is dropped.
    pub(crate) fn begin(target: &str) -> Self {
        let (alive, signs) = channel();
        let current = Arc::new(Mutex::new(Vec::new()));
        let (seen, target) = (Arc::clone(&current), target.to_owned());
        let watch = move || {
            loop {
                match signs.recv_timeout(LIMIT) {
                    Ok(()) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) => {
                        let input = seen.lock().unwrap_or_else(PoisonError::into_inner);
                        let shown = shown(&input);
                        // Not by a macro: what those print is kept for the end of the test.
                        writeln!(stderr(), "{target}: hangs. Input: {shown}").ok();
                        std::process::abort();
                    }
                }
            }
        };
        // It ends when the sender is gone, so nobody waits for it.
        drop(Builder::new().name("watchdog".to_owned()).spawn(watch));
        Self { current, alive }
    }

    /// Another input begins.
    pub(crate) fn sees(&self, input: &[u8]) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.clear();
        current.extend_from_slice(input);
        drop(current);
        self.alive.send(()).ok();
    }
}

/// An input as a byte string of Rust, cut if it is long.
pub(crate) fn shown(input: &[u8]) -> String {
    let text = input.escape_ascii().to_string();
    match text.get(..SHOWN_CHARS_MAX) {
        Some(begin) => format!("b\"{begin}…\", {} bytes in all", input.len()),
        None => format!("b\"{text}\""),
    }
}
