//! Log lines on stderr, as text or as JSON, and the last line of a failed end.

use std::io::stderr;
use std::time::SystemTime;

use tracing_subscriber::filter::LevelFilter;

use super::output::complain;
use crate::config::value::{LogFormat, LogLevel};

/// Starts logging. Libraries that log by the `log` crate stay silent: fast-socks5 logs passwords.
pub(super) fn start(level: LogLevel, format: LogFormat) {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let subscriber = tracing_subscriber::fmt().log_internal_errors(false).with_max_level(level).with_writer(stderr);
    match format {
        LogFormat::Text => subscriber.init(),
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
}

/// Says why the daemon ends, in the form of the other lines.
pub(super) fn last_line(format: Option<LogFormat>, line: &str) {
    if format == Some(LogFormat::Json) {
        let timestamp = humantime::format_rfc3339_micros(SystemTime::now()).to_string();
        let event =
            serde_json::json!({ "timestamp": timestamp, "level": "ERROR", "message": line, "target": "tetherd" });
        complain(&event.to_string());
    } else {
        complain(&format!("tetherd: {line}"));
    }
}
