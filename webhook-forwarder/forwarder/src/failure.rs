//! The reasons why a request was not forwarded.
//!
//! Each has the status that the caller gets, what it is told, and what only the log says.

use crate::request::Malformed;
use crate::signature::Rejected;

#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("the request is malformed: {0}")]
    Malformed(#[from] Malformed),
    #[error("the request is not its sender's: {0}")]
    Rejected(#[from] Rejected),
    #[error("the signature cannot be checked: {0}")]
    NoSecret(String),
    #[error("the target cannot be reached: {0}")]
    Unreachable(String),
    #[error("the target has not answered before the function's own timeout: {0}")]
    TooSlow(&'static str),
    #[error("the connection to the target broke: {0}")]
    Broken(String),
    #[error("the target's answer is larger than Lambda lets through: {size} bytes, and {limit} are the limit")]
    TooLarge { size: String, limit: usize },
    #[error("the request is larger than a message of SQS: {size} bytes, and {limit} are the limit")]
    TooLargeForQueue { size: usize, limit: usize },
    #[error("the request was not put on the queue: {0}")]
    NotQueued(String),
    #[error("the target answered {0}")]
    Refused(u16),
    #[error("TS_TARGET is not set, and this is no request to put on the queue")]
    NoTarget,
}

impl Failure {
    pub fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            Self::Rejected(_) => 401,
            Self::TooLargeForQueue { .. } => 413,
            Self::NoTarget => 500,
            Self::TooSlow(_) => 504,
            // The sender is to try again: none of them is its fault.
            Self::NoSecret(_) | Self::NotQueued(_) => 503,
            Self::Unreachable(_) | Self::Broken(_) | Self::TooLarge { .. } | Self::Refused(_) => 502,
        }
    }

    /// For the caller: the endpoint is public, names and addresses behind it are not.
    pub fn told(&self) -> String {
        match self {
            Self::NoSecret(_) => "the signature cannot be checked".into(),
            Self::Unreachable(_) => "the target cannot be reached".into(),
            Self::Broken(_) => "the connection to the target broke".into(),
            Self::NotQueued(_) => "the request was not accepted".into(),
            Self::NoTarget => "the function is not configured".into(),
            told => told.to_string(),
        }
    }
}
