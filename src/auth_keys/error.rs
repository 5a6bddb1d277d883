//! Why there is no auth key: whether waiting helps, whose answer it is, and what to do. Never holds a secret.

use thiserror::Error;

use crate::exit_reason::ExitReason;

/// No auth key could be had.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    /// Passes by itself: the network, throttling, a server in trouble.
    #[error("{0}")]
    Passing(String),
    /// Whoever was asked says no to these credentials.
    #[error("{0}")]
    Refused(String),
    /// What was asked for is not there, or not of use.
    #[error("{0}")]
    Misconfigured(String),
}

impl KeyError {
    /// The reason to end at a start; `None` when trying again may help.
    pub fn fatal(&self) -> Option<ExitReason> {
        match self {
            Self::Passing(_) => None,
            Self::Refused(text) => Some(ExitReason::KeyRefused(text.clone())),
            Self::Misconfigured(text) => Some(ExitReason::Configuration(text.clone())),
        }
    }

    /// Of an exchange that did not come about.
    pub fn of_exchange(passes: bool, text: String) -> Self {
        if passes { Self::Passing(text) } else { Self::Misconfigured(text) }
    }

    /// The same with its text changed.
    pub fn map(self, change: impl FnOnce(&str) -> String) -> Self {
        match self {
            Self::Passing(text) => Self::Passing(change(&text)),
            Self::Refused(text) => Self::Refused(change(&text)),
            Self::Misconfigured(text) => Self::Misconfigured(change(&text)),
        }
    }
}
