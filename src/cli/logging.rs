//! Log lines on stderr, as text or as JSON, and the last line of a failed end.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, Write, stderr};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::cli::log_queue::LogQueue;
use crate::cli::output::complain;
use crate::config::types::enums::{LogFormat, LogLevel};

/// Queue of the log lines; as global as the subscriber that writes to it.
static QUEUE: OnceLock<LogQueue> = OnceLock::new();

/// Longest wait of a clean end for a reader of stderr that has stalled.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest wait of a failed end, whose reason is to be read.
const FLUSH_TIMEOUT_OF_A_FAILURE: Duration = Duration::from_secs(5);

/// Name of the tailnet whose lines these are, where there are several.
static TAILNET: OnceLock<String> = OnceLock::new();

/// Starts logging. Each line has the field `tailnet` where that is given. Libraries that log by the `log` crate stay silent.
pub fn start(level: LogLevel, format: LogFormat, tailnet: Option<&str>) {
    tailnet.map(|name| TAILNET.get_or_init(|| name.to_owned()));
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let of_loss = match format {
        LogFormat::Text => |lost| text_line(&of_loss(lost)),
        LogFormat::Json => |lost| json_line("WARN", &of_loss(lost)),
    };
    // Where the system allows no further thread, each line is written by the thread that logs it.
    let mark = match format {
        LogFormat::Text => |line: &[u8]| with_field(line, TAILNET.get(), LogFormat::Text),
        LogFormat::Json => |line: &[u8]| with_field(line, TAILNET.get(), LogFormat::Json),
    };
    let writer = match LogQueue::start(Marking { stream: stderr(), mark }, of_loss) {
        Ok(queue) => BoxMakeWriter::new(QUEUE.get_or_init(|| queue).clone()),
        Err(_) => BoxMakeWriter::new(move || Marking { stream: stderr(), mark }),
    };
    let subscriber = tracing_subscriber::fmt().log_internal_errors(false).with_max_level(level).with_writer(writer);
    // Libraries that log by `tracing` stay silent as well: the AWS SDK logs requests and responses.
    let own = Targets::new().with_target("tetherd", level).with_target("tailscaled", level);
    match format {
        LogFormat::Text => subscriber.finish().with(own).init(),
        LogFormat::Json => subscriber.json().flatten_event(true).finish().with(own).init(),
    }
    // Rust's own hook would write to stderr itself, and wait for a reader that has stalled.
    std::panic::set_hook(Box::new(|panic| {
        let backtrace = Backtrace::capture();
        let backtrace =
            if backtrace.status() == BacktraceStatus::Captured { backtrace.to_string() } else { String::new() };
        tracing::error!("{panic}; please report this {backtrace}");
    }));
}

/// Has the thread that writes the log do `job`, before its next line; this one where there is no such thread.
pub fn run_on_thread(job: Box<dyn FnOnce() + Send>) {
    match QUEUE.get() {
        Some(queue) => queue.run(job),
        None => job(),
    }
}

/// Logs why the daemon ends, in the format of the other lines and behind all of them.
pub fn last_line(format: Option<LogFormat>, line: &str) {
    let line = if format == Some(LogFormat::Json) { json_line("ERROR", line) } else { text_line(line) };
    match QUEUE.get() {
        Some(queue) => queue.finish(Some(&line), FLUSH_TIMEOUT_OF_A_FAILURE),
        None => complain(&line),
    }
}

/// Waits until the lines of a clean end are written.
pub fn finish() {
    if let Some(queue) = QUEUE.get() {
        queue.finish(None, FLUSH_TIMEOUT);
    }
}

/// Writes to `stream` what `mark` makes of each line. Each write is one line.
struct Marking<W> {
    stream: W,
    mark: fn(&[u8]) -> Vec<u8>,
}

impl<W: Write> Write for Marking<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.stream.write_all(&(self.mark)(line))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Adds the field `tailnet` to a line: first of a JSON object, last of a text. The name is a plain word.
fn with_field(line: &[u8], tailnet: Option<&String>, format: LogFormat) -> Vec<u8> {
    let Some(name) = tailnet.filter(|_| !line.is_empty()) else { return line.to_vec() };
    match (format, line) {
        (LogFormat::Json, [b'{', rest @ ..]) => [format!("{{\"tailnet\":\"{name}\",").as_bytes(), rest].concat(),
        (_, [text @ .., b'\n']) => [text, format!(" tailnet={name}\n").as_bytes()].concat(),
        (_, text) => text.to_vec(),
    }
}

fn of_loss(lost: u64) -> String {
    format!("{lost} log lines were lost, because stderr was not read in time")
}

fn text_line(line: &str) -> String {
    format!("tetherd: {line}")
}

fn json_line(level: &str, line: &str) -> String {
    let timestamp = humantime::format_rfc3339_micros(SystemTime::now()).to_string();
    serde_json::json!({ "timestamp": timestamp, "level": level, "message": line, "target": "tetherd" }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_the_tailnet_as_a_field_where_there_are_several() {
        let office = "office".to_owned();
        for (line, format, marked) in [
            ("a b=1\n", LogFormat::Text, "a b=1 tailnet=office\n"),
            ("{\"a\":1}\n", LogFormat::Json, "{\"tailnet\":\"office\",\"a\":1}\n"),
            ("", LogFormat::Text, ""),
        ] {
            assert_eq!(String::from_utf8_lossy(&with_field(line.as_bytes(), Some(&office), format)), marked);
            assert_eq!(String::from_utf8_lossy(&with_field(line.as_bytes(), None, format)), line);
        }
    }
}
