//! tailscaled's own lines, logged again with a level. What it says all day is debug; what a person must see is not.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

use crate::secret::redactor::Redactor;
use crate::text::printable;

/// As many last lines are kept to explain a crash.
const KEPT: usize = 12;

/// A longer line is cut: a line without end must not become memory without end.
const LONGEST: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Error,
    Debug,
    Trace,
}

/// What explains the end of one run: its first line that names an error, and its last lines.
#[derive(Clone, Default)]
pub struct Tail(Arc<Mutex<Lines>>);

#[derive(Default)]
struct Lines {
    error: Option<String>,
    last: VecDeque<String>,
}

impl Tail {
    fn push(&self, line: &str) {
        let mut lines = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if level(line) == Level::Error && lines.error.is_none() {
            lines.error = Some(line.to_owned());
        }
        if lines.last.len() == KEPT {
            lines.last.pop_front();
        }
        lines.last.push_back(line.to_owned());
    }

    /// The line that names the panic or fatal error.
    pub fn error(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).error.clone()
    }

    /// The last line.
    pub fn last(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).last.back().cloned()
    }
}

/// Reads lines until the stream ends.
pub async fn relog(stream: impl AsyncRead + Unpin, redactor: Redactor, tail: Tail) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    while matches!(read_line(&mut reader, &mut line).await, Ok(true)) {
        let text = redactor.redact(&String::from_utf8_lossy(&line));
        let text = printable(without_time(text.trim_end()));
        if text.is_empty() {
            continue;
        }
        tail.push(&text);
        match level(&text) {
            Level::Error => tracing::error!(target: "tailscaled", "{text}"),
            Level::Debug => tracing::debug!(target: "tailscaled", "{text}"),
            Level::Trace => tracing::trace!(target: "tailscaled", "{text}"),
        }
    }
}

/// Reads one line into `line`, of which at most [`LONGEST`] bytes are kept. `false` at the end of the stream.
async fn read_line(reader: &mut BufReader<impl AsyncRead + Unpin>, line: &mut Vec<u8>) -> std::io::Result<bool> {
    line.clear();
    loop {
        let buffer = reader.fill_buf().await?;
        if buffer.is_empty() {
            return Ok(!line.is_empty());
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(buffer.len(), |end| end + 1);
        let kept = taken.min(LONGEST.saturating_sub(line.len()));
        line.extend_from_slice(&buffer[..kept]);
        reader.consume(taken);
        if end.is_some() {
            return Ok(true);
        }
    }
}

/// Without the `2026/11/23 19:00:00 ` that Go's logger puts first.
fn without_time(line: &str) -> &str {
    let is_time =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'/' | b':' | b'.' | b' '));
    match line.split_at_checked(20) {
        Some((time, rest)) if is_time(time) && time.contains('/') => rest,
        _ => line,
    }
}

fn level(line: &str) -> Level {
    if line.starts_with("panic:")
        || line.starts_with("fatal error:")
        || line.starts_with("flag provided but not defined")
    {
        Level::Error
    } else if line.contains("[v1]") || line.contains("[v2]") {
        Level::Trace
    } else {
        Level::Debug
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    async fn tail_of(text: &[u8]) -> Vec<String> {
        let redactor = Redactor::default();
        redactor.learn(&Secret::new("0123456789abcdef"));
        let tail = Tail::default();
        relog(text, redactor, tail.clone()).await;
        tail.0.lock().expect("not poisoned").last.iter().cloned().collect()
    }

    #[tokio::test(flavor = "current_thread")]
    async fn lines_lose_their_time_and_their_secrets() {
        let lines = tail_of(b"2026/11/23 19:00:00 key 0123456789abcdef\n\nno time\n").await;
        assert_eq!(lines, ["key ***", "no time"]);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_line_without_end_is_cut() {
        let lines = tail_of(&[b'a'; 100_000]).await;
        assert_eq!(lines[0].len(), LONGEST);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_cause_of_a_crash_is_its_panic() {
        let tail = Tail::default();
        let lines = format!("starting\npanic: boom\n{}", "main.go:1\n".repeat(2 * KEPT));
        relog(lines.as_bytes(), Redactor::default(), tail.clone()).await;
        assert_eq!(tail.error().as_deref(), Some("panic: boom"));
        assert_eq!(tail.last().as_deref(), Some("main.go:1"));
    }
}
