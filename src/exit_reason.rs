//! The reasons for which the daemon ends with a failure, and their exit codes.
//!
//! No other code knows them; help texts repeat some.

use thiserror::Error;

/// Why the daemon ends other than cleanly. The text is one sentence saying what happened and what to do.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum ExitReason {
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    NotReady(String),
    #[error("{0}")]
    TailscaledUnusable(String),
    #[error("{0}")]
    KeyRefused(String),
    #[error("{0}")]
    Configuration(String),
    /// `exec`: the command cannot be run.
    #[error("{0}")]
    CommandNotExecutable(String),
    /// `exec`: there is no such command.
    #[error("{0}")]
    CommandNotFound(String),
    /// The daemon of one of several tailnets has ended with this exit code.
    #[error("tailnet {name}: {reason}")]
    OfTailnet { name: String, reason: String, code: u8 },
}

impl ExitReason {
    /// Returns the process's exit code, after sysexits(3); for a command that cannot be run after env(1).
    pub fn exit_code(&self) -> u8 {
        match self {
            ExitReason::Usage(_) => 64,
            ExitReason::NotReady(_) => 69,
            ExitReason::TailscaledUnusable(_) => 70,
            ExitReason::KeyRefused(_) => 77,
            ExitReason::Configuration(_) => 78,
            ExitReason::CommandNotExecutable(_) => 126,
            ExitReason::CommandNotFound(_) => 127,
            ExitReason::OfTailnet { code, .. } => *code,
        }
    }
}
