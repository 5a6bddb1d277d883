//! Why a request has no response from its target, and what the client is told.

use hyper::StatusCode;
use thiserror::Error;

use crate::proxy::http::message_rules::BrokenRule;
use crate::proxy::http::responses::status_of;
use crate::proxy::metrics::labels::Outcome;
use crate::target::dial::DialError;

/// Why a request has no response from its target.
#[derive(Debug, Error)]
pub enum ForwardError {
    #[error("{0}")]
    Dial(#[from] DialError),
    #[error("the target broke off: {0}")]
    Broken(#[from] hyper::Error),
    #[error("the target switched to another protocol, for which nobody had asked")]
    Switched,
    #[error("the target's answer: {0}")]
    Answer(BrokenRule),
    #[error("the request cannot be sent on: {0}")]
    Malformed(#[from] hyper::http::Error),
}

impl ForwardError {
    /// Returns the status that tells the client the truth.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Dial(error) => status_of(error),
            Self::Broken(_) | Self::Switched | Self::Answer(_) => StatusCode::BAD_GATEWAY,
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
        }
    }

    /// Returns the label that the failure is counted by.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Dial(error) => Outcome::from(error),
            Self::Broken(_) | Self::Switched | Self::Answer(_) => Outcome::Failed,
            Self::Malformed(_) => Outcome::Malformed,
        }
    }
}
