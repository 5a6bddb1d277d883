//! The error for a missing auth key: whether waiting helps, and what to do.
//!
//! It never holds a secret.

use thiserror::Error;

use crate::exit_reason::ExitReason;

/// An auth key could not be fetched or made. The text says why, and what to do.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    /// A failure that may pass by itself: the network, throttling, a server with a problem.
    #[error("{0}")]
    Passing(String),
    /// The API refuses the credentials.
    #[error("{0}")]
    Refused(String),
    /// The settings are wrong: what they name does not exist or cannot be used.
    #[error("{0}")]
    Misconfigured(String),
}

impl KeyError {
    /// The reason to exit with when this happens at a start; `None` when trying again may help.
    pub fn fatal(&self) -> Option<ExitReason> {
        match self {
            Self::Passing(_) => None,
            Self::Refused(text) => Some(ExitReason::KeyRefused(text.clone())),
            Self::Misconfigured(text) => Some(ExitReason::Configuration(text.clone())),
        }
    }

    /// Makes the error for a request that got no response; `passes` says whether trying again may help.
    pub fn no_response(passes: bool, text: String) -> Self {
        if passes { Self::Passing(text) } else { Self::Misconfigured(text) }
    }

    /// Returns the same kind of error with its text changed.
    pub fn map(self, change: impl FnOnce(&str) -> String) -> Self {
        match self {
            Self::Passing(text) => Self::Passing(change(&text)),
            Self::Refused(text) => Self::Refused(change(&text)),
            Self::Misconfigured(text) => Self::Misconfigured(change(&text)),
        }
    }
}
