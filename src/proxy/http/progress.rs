//! How far the requests of one HTTP client's connection have come.
//!
//! It tells whether the client waits, and how an end of its connection is counted.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::proxy::metrics::labels::Outcome;

/// The requests of one connection, and what has become of them.
#[derive(Debug, Default)]
pub struct Progress {
    /// How many requests have come.
    requests: AtomicU64,
    /// How many of the requests have their response.
    responses: AtomicU64,
    /// Whether the last request has a body, which may be on its way to the target still.
    has_body: AtomicBool,
    /// Whether a request was refused for want of the right password.
    was_refused: AtomicBool,
    /// Whether a request was refused while its body was on its way.
    left_body: AtomicBool,
}

impl Progress {
    /// Notes a request.
    pub fn begin(&self, has_body: bool) {
        self.has_body.store(has_body, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes the response to the last request.
    pub fn end(&self) {
        self.responses.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes a request without the right password. Returns whether there was one before.
    pub fn note_refused(&self) -> bool {
        self.was_refused.swap(true, Ordering::Relaxed)
    }

    /// Whether a request was refused for want of the right password.
    pub fn was_refused(&self) -> bool {
        self.was_refused.load(Ordering::Relaxed)
    }

    /// Notes that the body of the last request is not read any more. Returns whether it has one.
    pub fn leave_body(&self) -> bool {
        let has_body = self.has_body.load(Ordering::Relaxed);
        self.left_body.fetch_or(has_body, Ordering::Relaxed);
        has_body
    }

    /// Whether the body of a request was left unread.
    pub fn has_left_body(&self) -> bool {
        self.left_body.load(Ordering::Relaxed)
    }

    fn has_no_request(&self) -> bool {
        self.requests.load(Ordering::Relaxed) == 0
    }

    /// Whether a request has no response yet.
    pub fn has_unanswered_request(&self) -> bool {
        self.requests.load(Ordering::Relaxed) > self.responses.load(Ordering::Relaxed)
    }

    /// Whether a request that was sent whole has no response yet.
    pub fn waits(&self) -> bool {
        self.has_unanswered_request() && !self.has_body.load(Ordering::Relaxed)
    }

    /// Returns how an end with `error` is counted; `None` where the client has had its response, or has left within it.
    pub fn outcome_of(&self, error: &hyper::Error) -> Option<Outcome> {
        if error.is_parse() {
            return Some(Outcome::Malformed);
        }
        let outcome = if error.is_timeout() { Outcome::TooSlow } else { Outcome::Malformed };
        self.has_no_request().then_some(outcome)
    }

    /// Returns how an end for `reason` is counted; `None` where the client has had its response.
    pub fn unanswered(&self, reason: &str) -> Option<(Outcome, String)> {
        (self.has_unanswered_request() || self.has_no_request()).then(|| (Outcome::Failed, reason.to_owned()))
    }
}
