//! Why the daemon ends other than cleanly, and the exit code of each reason. The only place that knows the codes.

use thiserror::Error;

/// A reason to end. Its text is one sentence saying what happened and what to do.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum Fatal {
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
    /// By `exec`.
    #[error("{0}")]
    CommandNotExecutable(String),
    /// By `exec`.
    #[error("{0}")]
    CommandNotFound(String),
}

impl Fatal {
    /// The process's exit code, after sysexits(3); for a command that cannot be run after env(1).
    pub fn exit_code(&self) -> u8 {
        match self {
            Fatal::Usage(_) => 64,
            Fatal::NotReady(_) => 69,
            Fatal::TailscaledUnusable(_) => 70,
            Fatal::KeyRefused(_) => 77,
            Fatal::Configuration(_) => 78,
            Fatal::CommandNotExecutable(_) => 126,
            Fatal::CommandNotFound(_) => 127,
        }
    }
}
