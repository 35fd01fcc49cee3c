//! Writes lines on a thread of its own, so that nobody who logs waits for the reader, be it a full
//! pipe, a stopped terminal or a full disk.
//!
//! The buffer is bounded. A line that does not fit is dropped and counted, and a notice says so as
//! soon as lines are written again.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::mem;
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use prometheus_client::metrics::counter::Counter;
use rustix::event::{PollFd, PollFlags, poll};

use crate::sync;

/// Size of the buffer: some thousand lines, enough to restart a reader at a busy time. As much
/// again may be in the write that runs.
const BYTES_MAX: usize = 1024 * 1024;

/// Extra space for urgent lines: a fault, and why the process ends.
const URGENT_BYTES_MAX: usize = 64 * 1024;

/// Memory that is kept from one burst of lines to the next.
const SPARE_BYTES: usize = 64 * 1024;

/// Called with the number of dropped lines, once lines are written again.
pub(crate) type DropNotice = Box<dyn Fn(u64) + Send>;

/// A buffer of lines and the thread that writes them. Clones share one buffer.
#[derive(Clone)]
pub(crate) struct BackgroundWriter {
    queue: Arc<LineQueue>,
    dropped: Counter,
}

#[derive(Default)]
struct LineQueue {
    waiting: Mutex<LineBuffer>,
    /// Notified when a line came, and when all lines are written.
    changed: Condvar,
}

#[derive(Default)]
struct LineBuffer {
    bytes: Vec<u8>,
    /// Lines in `bytes`.
    count: u64,
    /// A write is running.
    writes: bool,
    /// Dropped lines that no notice has reported yet.
    unsaid: u64,
}

impl BackgroundWriter {
    /// Starts the thread. It writes to `out`, which may block for any time.
    ///
    /// # Errors
    /// If the operating system gives no thread.
    pub(crate) fn begin(out: impl Write + Send + 'static, notice: DropNotice) -> Result<Self> {
        let writer = Self {
            queue: Arc::default(),
            dropped: Counter::default(),
        };
        let own = writer.clone();
        let thread = std::thread::Builder::new().name("lines".to_owned());
        thread
            .spawn(move || own.write_all(out, &notice))
            .context("the operating system gives no thread")?;
        Ok(writer)
    }

    /// Adds a line, with its line break, if there is space. Never blocks on the reader.
    pub(crate) fn put(&self, line: &[u8], urgent: bool) {
        let reserve = if urgent { URGENT_BYTES_MAX } else { 0 };
        let mut waiting = self.queue.lock();
        if waiting.bytes.len() + line.len() > BYTES_MAX + reserve {
            waiting.unsaid += 1;
            self.dropped.inc();
            return;
        }
        waiting.bytes.extend_from_slice(line);
        waiting.count += 1;
        drop(waiting);
        self.queue.changed.notify_all();
    }

    /// Waits until every line is written, at most for `limit` if there is one. Returns whether they
    /// are.
    pub(crate) fn flush(&self, limit: Option<Duration>) -> bool {
        let waits = |waiting: &mut LineBuffer| waiting.writes || !waiting.bytes.is_empty();
        let waiting = self.queue.lock();
        let changed = &self.queue.changed;
        match limit {
            Some(limit) => {
                let waited = changed.wait_timeout_while(waiting, limit, waits);
                !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
            }
            None => {
                drop(changed.wait_while(waiting, waits));
                true
            }
        }
    }

    /// Counts dropped lines.
    pub(crate) fn dropped(&self) -> &Counter {
        &self.dropped
    }

    fn write_all(&self, mut out: impl Write, notice: &DropNotice) {
        let mut bytes = Vec::new();
        loop {
            let count = self.queue.take(&mut bytes);
            let written = out.write_all(&bytes).and_then(|()| out.flush()).is_ok();
            bytes.clear();
            bytes.shrink_to(SPARE_BYTES);
            let mut waiting = self.queue.lock();
            let unsaid = if written {
                mem::take(&mut waiting.unsaid)
            } else {
                waiting.unsaid += count;
                self.dropped.inc_by(count);
                0
            };
            drop(waiting);
            if unsaid > 0 {
                notice(unsaid);
            }
            self.queue.lock().writes = false;
            self.queue.changed.notify_all();
        }
    }
}

impl LineQueue {
    fn lock(&self) -> MutexGuard<'_, LineBuffer> {
        sync::lock(&self.waiting)
    }

    /// Waits for lines and takes all of them; returns their number.
    fn take(&self, bytes: &mut Vec<u8>) -> u64 {
        let idle = |waiting: &mut LineBuffer| waiting.bytes.is_empty();
        let waiting = self.changed.wait_while(self.lock(), idle);
        let mut waiting = waiting.unwrap_or_else(PoisonError::into_inner);
        mem::swap(&mut waiting.bytes, bytes);
        waiting.writes = true;
        mem::take(&mut waiting.count)
    }
}

/// A file descriptor, written to without the standard library's lock on it: a blocked writer that
/// held that lock would block everybody else who prints.
pub(crate) struct RawDescriptor(File);

impl RawDescriptor {
    pub(crate) fn of(descriptor: impl AsFd) -> io::Result<Self> {
        let own = descriptor.as_fd().try_clone_to_owned()?;
        Ok(Self(own.into()))
    }
}

impl Write for RawDescriptor {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.0.write(bytes) {
                // Another program that shares the descriptor may have set O_NONBLOCK.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    poll(&mut [PollFd::new(&self.0, PollFlags::OUT)], None)?;
                }
                written => return written,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// A writer that goes on only when the test lets it.
    struct Slow {
        let_go: Receiver<()>,
        begun: Sender<()>,
        took: Arc<Mutex<Vec<u8>>>,
        fails: Arc<Mutex<bool>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.begun.send(()).ok();
            self.let_go.recv().ok();
            if *self.fails.lock().unwrap() {
                return Err(ErrorKind::BrokenPipe.into());
            }
            self.took.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Given {
        writer: BackgroundWriter,
        let_go: Sender<()>,
        begun: Receiver<()>,
        took: Arc<Mutex<Vec<u8>>>,
        fails: Arc<Mutex<bool>>,
        said: Receiver<u64>,
    }

    fn given() -> Given {
        let ((let_go, lets), (begins, begun), (says, said)) = (channel(), channel(), channel());
        let (took, fails) = (Arc::default(), Arc::default());
        let slow = Slow {
            let_go: lets,
            begun: begins,
            took: Arc::clone(&took),
            fails: Arc::clone(&fails),
        };
        let notice: DropNotice = Box::new(move |count| says.send(count).unwrap());
        let writer = BackgroundWriter::begin(slow, notice).unwrap();
        Given {
            writer,
            let_go,
            begun,
            took,
            fails,
            said,
        }
    }

    #[test]
    fn nobody_waits_for_a_reader_who_takes_nothing_and_what_was_dropped_is_said() {
        let given = given();
        given.writer.put(b"first\n", false);
        given.begun.recv_timeout(LONG).unwrap();
        // The write has begun and blocks.
        let line = [b'x'; 1_024];
        for _ in 0..BYTES_MAX / line.len() + 10 {
            given.writer.put(&line, false);
        }
        assert_eq!(given.writer.dropped().get(), 10);
        given.writer.put(b"why it ends\n", true);
        assert_eq!(
            given.writer.dropped().get(),
            10,
            "there is space for urgent lines"
        );
        assert!(!given.writer.flush(Some(Duration::ZERO)));

        given.let_go.send(()).unwrap();
        given.let_go.send(()).unwrap();
        assert_eq!(given.said.recv_timeout(LONG), Ok(10));
        assert!(given.writer.flush(None));
        let took = given.took.lock().unwrap();
        assert!(took.starts_with(b"first\nxxx"));
        assert!(took.ends_with(b"xxxwhy it ends\n"));
        assert_eq!(took.len(), 6 + BYTES_MAX + 12);
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_said_once_they_can() {
        let given = given();
        *given.fails.lock().unwrap() = true;
        given.let_go.send(()).unwrap();
        given.writer.put(b"lost\n", false);
        assert!(given.writer.flush(None));
        assert_eq!(given.writer.dropped().get(), 1);
        *given.fails.lock().unwrap() = false;
        given.let_go.send(()).unwrap();
        given.writer.put(b"kept\n", false);
        assert_eq!(given.said.recv_timeout(LONG), Ok(1));
        assert!(given.writer.flush(None));
        assert_eq!(*given.took.lock().unwrap(), b"kept\n");
    }

    #[test]
    fn everything_is_written_before_the_end() {
        let given = given();
        for number in 0..100 {
            given.writer.put(format!("{number}\n").as_bytes(), false);
        }
        (0..100).for_each(|_| given.let_go.send(()).unwrap());
        assert!(given.writer.flush(None));
        let wanted: String = (0..100).map(|number| format!("{number}\n")).collect();
        assert_eq!(*given.took.lock().unwrap(), wanted.as_bytes());
        assert_eq!(given.writer.dropped().get(), 0);
    }
}
