//! Writes log lines to stderr by a thread: a stalled reader costs lines, not time.
//!
//! The queue is bounded by bytes and keeps its order; a line tells how many were lost, and the last line comes behind
//! all others. tracing-appender bounds by lines, tells nobody of the loss, and complains of a stalled reader on stdout,
//! which belongs to the command of `exec`.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow};
use tracing_subscriber::fmt::MakeWriter;

use crate::sync::IgnorePoison;

/// Most bytes that wait: some 3 000 lines of some 150 bytes.
const CAPACITY: usize = 512 << 10;

/// Queue of log lines. Clones share it.
#[derive(Clone, Default)]
pub struct LogQueue(Arc<Shared>);

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

enum QueuedLine {
    Line(Vec<u8>),
    /// Something that the thread does, and no line.
    Job(Box<dyn FnOnce() + Send>),
    /// Number of lines that were dropped at this place of the queue for lack of room.
    Lost(u64),
}

#[derive(Default)]
struct Queue {
    entries: VecDeque<QueuedLine>,
    bytes: usize,
    /// Whether the thread is writing a line.
    writing: bool,
}

impl LogQueue {
    /// Starts the thread; `of_loss` makes the line about a number of lost ones. The thread takes no signals, and starts
    /// no child processes: those would be killed at its end, not at the daemon's.
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
        if queue.bytes + line.len() <= CAPACITY {
            queue.bytes += line.len();
            queue.entries.push_back(QueuedLine::Line(line.to_vec()));
        } else if let Some(QueuedLine::Lost(lost)) = queue.entries.back_mut() {
            *lost += 1;
        } else {
            queue.entries.push_back(QueuedLine::Lost(1));
        }
        self.0.changed.notify_all();
    }

    /// Has the thread do `job` before it writes the next line. Does not wait for that.
    pub fn run(&self, job: Box<dyn FnOnce() + Send>) {
        self.0.lock().entries.push_front(QueuedLine::Job(job));
        self.0.changed.notify_all();
    }

    /// Puts the last line behind all others, even where the queue is full, and waits at most `limit` until all are
    /// written.
    pub fn finish(&self, last: Option<&str>, limit: Duration) {
        let mut queue = self.0.lock();
        queue.entries.extend(last.map(|line| QueuedLine::Line(format!("{line}\n").into_bytes())));
        self.0.changed.notify_all();
        let unwritten = |queue: &mut Queue| queue.writing || !queue.entries.is_empty();
        drop(self.0.changed.wait_timeout_while(queue, limit, unwritten));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().ignore_poison()
    }

    fn write_to(&self, mut writer: impl Write, of_loss: fn(u64) -> String) {
        loop {
            let line = match self.next() {
                QueuedLine::Line(line) => line,
                QueuedLine::Lost(lost) => format!("{}\n", of_loss(lost)).into_bytes(),
                QueuedLine::Job(job) => {
                    job();
                    Vec::new()
                }
            };
            // An error means that the reader is gone: nobody is left to report it to.
            let _ = writer.write_all(&line);
            self.lock().writing = false;
            self.changed.notify_all();
        }
    }

    fn next(&self) -> QueuedLine {
        let nothing = |queue: &mut Queue| queue.entries.is_empty();
        let (mut queue, entry) = loop {
            let mut queue = self.changed.wait_while(self.lock(), nothing).ignore_poison();
            if let Some(entry) = queue.entries.pop_front() {
                break (queue, entry);
            }
        };
        queue.writing = true;
        if let QueuedLine::Line(line) = &entry {
            queue.bytes = queue.bytes.saturating_sub(line.len());
        }
        entry
    }
}

/// Takes each write for one line: the subscriber writes each line whole.
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

    const LONGEST_WAIT: Duration = Duration::from_secs(20);

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
        assert!(begun.elapsed() < LONGEST_WAIT, "{:?}", begun.elapsed());
        assert!(queue.0.lock().bytes <= CAPACITY);
        let reading = thread::spawn(move || {
            let lines = BufReader::new(reader).lines().map(|line| line.expect("text"));
            lines.take_while(|line| line != "the reason").collect::<Vec<String>>()
        });
        queue.finish(Some("the reason"), LONGEST_WAIT);
        let (mut number, mut lost) = (0, 0);
        // When the thread is scheduled late, the queue fills up several times, and each loss gets a line of its own.
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
        queue.finish(Some("the reason"), LONGEST_WAIT);
        assert!(begun.elapsed() < LONGEST_WAIT);
    }

    #[test]
    fn what_is_written_before_the_end_arrives() {
        let (mut reader, writer) = pipe().expect("a pipe");
        let mut queue = LogQueue::start(writer, of_loss).expect("starts");
        queue.write_all(b"one\n").expect("never fails");
        queue.finish(Some("two"), LONGEST_WAIT);
        let mut text = [0; 8];
        reader.read_exact(&mut text).expect("is there");
        assert_eq!(&text, b"one\ntwo\n");
    }
}
