//! Logs tailscaled's own lines again, with a level.
//!
//! tailscaled's routine lines get the level debug, those that a person must see a higher one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

use crate::secret::redactor::Redactor;
use crate::sync::IgnorePoison;
use crate::text::printable;

/// Number of last lines that are kept to explain a crash.
const LINES_KEPT: usize = 12;

/// Longest line, in bytes. A longer one is cut, since a line without end must not take memory without end.
const LONGEST_LINE: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Error,
    Debug,
    Trace,
}

/// Lines that explain the end of one run: the first that names an error, and the last ones. Clones share them.
#[derive(Clone, Default)]
pub struct LastLines(Arc<Mutex<Lines>>);

#[derive(Default)]
struct Lines {
    error: Option<String>,
    last: VecDeque<String>,
}

impl LastLines {
    fn push(&self, line: &str) {
        let mut lines = self.0.lock().ignore_poison();
        if level(line) == Level::Error && lines.error.is_none() {
            lines.error = Some(line.to_owned());
        }
        if lines.last.len() == LINES_KEPT {
            lines.last.pop_front();
        }
        lines.last.push_back(line.to_owned());
    }

    /// Returns the line that names the panic or fatal error, if there is one.
    pub fn error(&self) -> Option<String> {
        self.0.lock().ignore_poison().error.clone()
    }

    /// Returns the last line, if there is one.
    pub fn last(&self) -> Option<String> {
        self.0.lock().ignore_poison().last.back().cloned()
    }
}

/// Logs the lines of `stream` until it ends, without secrets, and keeps them in `last_lines`.
pub async fn forward_lines(stream: impl AsyncRead + Unpin, redactor: Redactor, last_lines: LastLines) {
    let mut reader = BufReader::new(stream);
    let mut line = Line::default();
    while matches!(read_line(&mut reader, &mut line).await, Ok(true)) {
        let text = String::from_utf8_lossy(&line.start);
        let text = if line.is_cut { redactor.redact_start(&text) } else { redactor.redact(&text) };
        let text = printable(without_time(text.trim_end()));
        if text.is_empty() {
            continue;
        }
        last_lines.push(&text);
        match level(&text) {
            Level::Error => tracing::error!(target: "tailscaled", "{text}"),
            Level::Debug => tracing::debug!(target: "tailscaled", "{text}"),
            Level::Trace => tracing::trace!(target: "tailscaled", "{text}"),
        }
    }
}

/// A line, or the first [`LONGEST_LINE`] bytes of one.
#[derive(Default)]
struct Line {
    start: Vec<u8>,
    is_cut: bool,
}

/// Reads one line into `line`, of which at most [`LONGEST_LINE`] bytes are kept. `false` at the end of the stream.
async fn read_line(reader: &mut BufReader<impl AsyncRead + Unpin>, line: &mut Line) -> std::io::Result<bool> {
    line.start.clear();
    line.is_cut = false;
    loop {
        let buffer = reader.fill_buf().await?;
        if buffer.is_empty() {
            return Ok(!line.start.is_empty());
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(buffer.len(), |end| end + 1);
        let kept = end.unwrap_or(taken).min(LONGEST_LINE.saturating_sub(line.start.len()));
        line.start.extend_from_slice(&buffer[..kept]);
        line.is_cut |= kept < end.unwrap_or(taken);
        reader.consume(taken);
        if end.is_some() {
            return Ok(true);
        }
    }
}

/// Returns `line` without the `2026/11/23 19:00:00 ` that Go's logger puts first.
fn without_time(line: &str) -> &str {
    let is_time =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'/' | b':' | b'.' | b' '));
    match line.split_at_checked(20) {
        Some((time, rest)) if is_time(time) && time.contains('/') => rest,
        _ => line,
    }
}

/// Returns the level at which `line` is logged.
fn level(line: &str) -> Level {
    if line.starts_with("panic:") || line.starts_with("fatal error:") || is_usage_error(line) {
        Level::Error
    } else if line.contains("[v1]") || line.contains("[v2]") {
        Level::Trace
    } else {
        Level::Debug
    }
}

/// Whether Go's flag package refuses an argument by this line. The lines that follow list all flags.
pub fn is_usage_error(line: &str) -> bool {
    let starts =
        ["flag provided but not defined:", "invalid value ", "invalid boolean value ", "flag needs an argument:"];
    starts.iter().any(|start| line.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    async fn tail_of(text: &[u8]) -> Vec<String> {
        let redactor = Redactor::default();
        redactor.learn(&Secret::new("0123456789abcdef"));
        let tail = LastLines::default();
        forward_lines(text, redactor, tail.clone()).await;
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
        assert_eq!(lines[0].len(), LONGEST_LINE);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_secret_across_the_cut_is_masked_wherever_it_begins() {
        // The one that is known, one that looks like a key, one in an address, and one beside others that make the line shorter.
        let key = format!("tskey-auth-{}", "k".repeat(40));
        let many = "0123456789abcdef ".repeat(LONGEST_LINE / 17 - 1);
        for (before, secret, shown) in [
            ("", "0123456789abcdef", "0123"),
            ("", key.as_str(), "tskey-auth"),
            ("http://user:", "pa55word@h:1", "pa5"),
            (many.as_str(), "0123456789abcdef", "0123"),
        ] {
            for at in (LONGEST_LINE - 60)..(LONGEST_LINE + 4) {
                let filled = format!("{before:x>at$}{secret} and more {}", "b".repeat(9000));
                let lines = tail_of(filled.as_bytes()).await;
                assert!(!lines[0].contains(shown), "{at}: {}", &lines[0][lines[0].len().saturating_sub(80)..]);
                assert!(lines[0].len() <= LONGEST_LINE);
            }
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_cause_of_a_crash_is_its_panic() {
        let tail = LastLines::default();
        let lines = format!("starting\npanic: boom\n{}", "main.go:1\n".repeat(2 * LINES_KEPT));
        forward_lines(lines.as_bytes(), Redactor::default(), tail.clone()).await;
        assert_eq!(tail.error().as_deref(), Some("panic: boom"));
        assert_eq!(tail.last().as_deref(), Some("main.go:1"));
    }
}
