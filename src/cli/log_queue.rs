//! Log lines on their way to stderr, by a thread of their own: a reader that stalls costs lines, never time. Bounded
//! by bytes, in order, with a word on what was lost, and with the last line behind all others. tracing-appender
//! bounds by lines, tells nobody of the loss, and complains of a stalled reader on stdout, which belongs to the
//! command of `exec`.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow};
use tracing_subscriber::fmt::MakeWriter;

/// Lines of some 150 bytes: some 3 000 of them.
const ROOM: usize = 512 << 10;

/// The queue. Clones share it.
#[derive(Clone, Default)]
pub struct LogQueue(Arc<Shared>);

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

enum Entry {
    Line(Vec<u8>),
    /// So many lines found no room here.
    Lost(u64),
}

#[derive(Default)]
struct Queue {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// The thread has a line in its hands.
    writing: bool,
}

impl LogQueue {
    /// Starts the thread; `of_loss` is the line about a number of lost ones. The thread takes no signals, and starts no
    /// children: they would end with it, not with the daemon.
    pub fn start(writer: impl Write + Send + 'static, of_loss: fn(u64) -> String) -> io::Result<Self> {
        let queue = Self::default();
        let shared = Arc::clone(&queue.0);
        let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        let started = thread::Builder::new().name("log".into()).spawn(move || shared.write_to(writer, of_loss));
        before.thread_set_mask()?;
        started.map(|_| queue)
    }

    fn push(&self, line: &[u8]) {
        let mut queue = self.0.lock();
        if queue.bytes + line.len() <= ROOM {
            queue.bytes += line.len();
            queue.entries.push_back(Entry::Line(line.to_vec()));
        } else if let Some(Entry::Lost(lost)) = queue.entries.back_mut() {
            *lost += 1;
        } else {
            queue.entries.push_back(Entry::Lost(1));
        }
        self.0.changed.notify_all();
    }

    /// Puts the last line behind all others, whatever the room, and waits at most `patience` until all are written.
    pub fn finish(&self, last: Option<&str>, patience: Duration) {
        let mut queue = self.0.lock();
        queue.entries.extend(last.map(|line| Entry::Line(format!("{line}\n").into_bytes())));
        self.0.changed.notify_all();
        let unwritten = |queue: &mut Queue| queue.writing || !queue.entries.is_empty();
        drop(self.0.changed.wait_timeout_while(queue, patience, unwritten));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_to(&self, mut writer: impl Write, of_loss: fn(u64) -> String) {
        loop {
            let line = match self.next() {
                Entry::Line(line) => line,
                Entry::Lost(lost) => format!("{}\n", of_loss(lost)).into_bytes(),
            };
            // A reader that is gone loses what it does not want.
            let _ = writer.write_all(&line);
            self.lock().writing = false;
            self.changed.notify_all();
        }
    }

    fn next(&self) -> Entry {
        let nothing = |queue: &mut Queue| queue.entries.is_empty();
        let (mut queue, entry) = loop {
            let mut queue = self.changed.wait_while(self.lock(), nothing).unwrap_or_else(PoisonError::into_inner);
            if let Some(entry) = queue.entries.pop_front() {
                break (queue, entry);
            }
        };
        queue.writing = true;
        if let Entry::Line(line) = &entry {
            queue.bytes = queue.bytes.saturating_sub(line.len());
        }
        entry
    }
}

/// A write is a line: the subscriber writes each at once.
impl Write for LogQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogQueue {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Read, pipe};
    use std::time::Instant;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn of_loss(lost: u64) -> String {
        format!("{lost} lost")
    }

    #[test]
    fn a_stalled_reader_costs_lines_and_no_time_and_the_last_line_is_last() {
        let (reader, writer) = pipe().expect("a pipe");
        let mut queue = LogQueue::start(writer, of_loss).expect("starts");
        let begun = Instant::now();
        for number in 0..100_000 {
            queue.write_all(format!("line {number:0100}\n").as_bytes()).expect("never fails");
        }
        queue.finish(None, Duration::from_millis(10));
        assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
        assert!(queue.0.lock().bytes <= ROOM);
        let reading = thread::spawn(move || {
            let lines = BufReader::new(reader).lines().map(|line| line.expect("text"));
            lines.take_while(|line| line != "the reason").collect::<Vec<String>>()
        });
        queue.finish(Some("the reason"), PATIENCE);
        let (mut number, mut lost) = (0, 0);
        // Where the thread gets its turn late, room comes and goes, and each gap has its word.
        for line in reading.join().expect("reads") {
            match line.strip_suffix(" lost") {
                Some(gap) => lost += gap.parse::<u64>().expect("a number"),
                None => {
                    assert_eq!(line, format!("line {:0100}", number + lost), "in order, and as many lost as was said");
                    number += 1;
                }
            }
        }
        assert_eq!(number + lost, 100_000);
        assert!(lost > 0, "the reader stalled");
    }

    #[test]
    fn a_reader_that_is_gone_holds_nothing_up() {
        let (reader, writer) = pipe().expect("a pipe");
        drop(reader);
        let mut queue = LogQueue::start(writer, of_loss).expect("starts");
        queue.write_all(b"unheard\n").expect("never fails");
        let begun = Instant::now();
        queue.finish(Some("the reason"), PATIENCE);
        assert!(begun.elapsed() < PATIENCE);
    }

    #[test]
    fn what_is_written_before_the_end_arrives() {
        let (mut reader, writer) = pipe().expect("a pipe");
        let mut queue = LogQueue::start(writer, of_loss).expect("starts");
        queue.write_all(b"one\n").expect("never fails");
        queue.finish(Some("two"), PATIENCE);
        let mut text = [0; 8];
        reader.read_exact(&mut text).expect("is there");
        assert_eq!(&text, b"one\ntwo\n");
    }
}
