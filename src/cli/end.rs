//! The end of a command: its exit code, and the last line of a failure.

use std::io::Write;
use std::process::ExitCode;

use crate::cli::logging;
use crate::config::types::enums::LogFormat;
use crate::exit_reason::ExitReason;
use crate::platform::interface::Platform;
use crate::secret::redactor::mask_secrets;

/// Turns the end into an exit code. After a failure the last line on stderr says why and what to do.
pub fn end_with(platform: &dyn Platform, format: Option<LogFormat>, result: Result<u8, ExitReason>) -> ExitCode {
    let fatal = match result {
        Ok(code) => {
            logging::finish();
            return ExitCode::from(code);
        }
        Err(fatal) => fatal,
    };
    let line = mask_secrets(&fatal.to_string().replace('\n', " "));
    if let Some(path) = platform.termination_log() {
        // The file is there only where a kubelet has put it; elsewhere the reason goes to stderr alone.
        let file = std::fs::OpenOptions::new().write(true).truncate(true).open(path);
        let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
    }
    logging::last_line(format, &line);
    ExitCode::from(fatal.exit_code())
}
