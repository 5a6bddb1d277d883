//! Reads secrets from AWS Secrets Manager, and keeps their text for some minutes.
//!
//! The client is for the function's own role. No text serves for more than an hour after it was read.

use std::time::{Duration, Instant, SystemTime};

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::ProvideErrorMetadata;
use tokio::sync::Mutex;

use crate::aws::{AwsConfigError, config, said};

/// A rotated secret counts after this time at the latest; asking costs 0.05 USD in ten thousand.
const KEPT: Duration = Duration::from_secs(300);
/// For this long after it was last read a secret serves while Secrets Manager cannot be asked.
const LONGEST: Duration = Duration::from_secs(3600);
/// Answers that say that the secret is no longer the function's: deleted, not to be read, its key disabled.
const WITHDRAWN: [&str; 4] =
    ["ResourceNotFoundException", "AccessDeniedException", "InvalidRequestException", "DecryptionFailure"];

/// Why there is no secret. Names it, and never quotes it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error(transparent)]
    Environment(#[from] AwsConfigError),
    #[error("the secret {id} cannot be read: {reason}")]
    Unreadable { id: String, reason: String },
    #[error("the secret {id} is withdrawn, and serves no longer: {reason}")]
    Withdrawn { id: String, reason: String },
    #[error("the secret {0} holds no text")]
    NoText(String),
}

pub fn client() -> Result<Client, AwsConfigError> {
    Ok(Client::new(&config("SECRETS_MANAGER")?))
}

/// One secret's current text. It has no `Debug`.
pub struct StoredText {
    id: String,
    kept: Mutex<Option<Kept>>,
}

/// The text as it was last read.
#[derive(Clone)]
struct Kept {
    text: String,
    read: Moment,
    /// When it was last asked for, with or without an answer.
    asked: Moment,
}

/// By both clocks: one of them may stand still while the environment is frozen, the other may be set.
#[derive(Clone, Copy)]
struct Moment {
    monotonic: Instant,
    wall: SystemTime,
}

impl StoredText {
    pub fn new(id: &str) -> Self {
        Self { id: id.to_owned(), kept: Mutex::new(None) }
    }

    /// The text, at most [`KEPT`] old, or up to [`LONGEST`] while Secrets Manager gives no answer.
    pub async fn get(&self) -> Result<String, SecretError> {
        let mut kept = self.kept.lock().await;
        let now = Moment::now();
        if let Some(kept) = kept.as_ref().filter(|kept| kept.is_fresh(now)) {
            tracing::trace!(age = ?kept.read.until(now), "the secret is kept");
            return Ok(kept.text.clone());
        }
        // Read first: a caller that gives up while it waits leaves what is kept.
        let answer = self.read().await;
        let settled = settle(kept.take(), answer, Moment::now())?;
        Ok(kept.insert(settled).text.clone())
    }

    async fn read(&self) -> Result<String, SecretError> {
        let request = client()?.get_secret_value().secret_id(&self.id).version_stage("AWSCURRENT");
        let answer = request.send().await.map_err(|error| {
            let (id, reason) = (self.id.clone(), said(&error));
            match error.code() {
                Some(code) if WITHDRAWN.contains(&code) => SecretError::Withdrawn { id, reason },
                _ => SecretError::Unreadable { id, reason },
            }
        })?;
        answer.secret_string().map(str::to_owned).ok_or_else(|| SecretError::NoText(self.id.clone()))
    }
}

/// What serves after an answer. An error that says nothing about the secret leaves the old one in its place for a while.
fn settle(kept: Option<Kept>, answer: Result<String, SecretError>, now: Moment) -> Result<Kept, SecretError> {
    match (answer, kept) {
        (Ok(text), _) => Ok(Kept { text, read: now, asked: now }),
        (Err(error @ (SecretError::Unreadable { .. } | SecretError::Environment(_))), Some(kept))
            if kept.may_serve(now) =>
        {
            tracing::warn!(%error, "the secret as it was last read still serves");
            Ok(Kept { asked: now, ..kept })
        }
        (Err(error), _) => Err(error),
    }
}

impl Kept {
    fn is_fresh(&self, now: Moment) -> bool {
        self.asked.until(now) < KEPT && self.may_serve(now)
    }

    fn may_serve(&self, now: Moment) -> bool {
        self.read.until(now) < LONGEST
    }
}

impl Moment {
    fn now() -> Self {
        Self { monotonic: Instant::now(), wall: SystemTime::now() }
    }

    /// The longer of the two.
    fn until(self, now: Self) -> Duration {
        let wall = now.wall.duration_since(self.wall).unwrap_or_default();
        now.monotonic.saturating_duration_since(self.monotonic).max(wall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn kept(at: Moment) -> Option<Kept> {
        Some(Kept { text: "old".into(), read: at, asked: at })
    }

    fn unreadable() -> SecretError {
        SecretError::Unreadable { id: "hook".into(), reason: "dispatch failure".into() }
    }

    /// After so long by one clock, by the other, and by both.
    fn later(start: Moment, by: Duration) -> [Moment; 3] {
        let (monotonic, wall) = (start.monotonic + by, start.wall + by);
        [Moment { monotonic, ..start }, Moment { wall, ..start }, Moment { monotonic, wall }]
    }

    #[test]
    fn a_secret_that_cannot_be_asked_for_serves_for_an_hour_after_it_was_read() {
        let start = Moment::now();
        for now in later(start, 59 * MINUTE) {
            assert_eq!(settle(kept(start), Err(unreadable()), now).ok().map(|kept| kept.text).as_deref(), Some("old"));
        }
        for now in later(start, 60 * MINUTE) {
            assert!(settle(kept(start), Err(unreadable()), now).is_err());
        }
        // Each failure puts the next question off, and the hour goes on.
        let mut serving = kept(start);
        for minutes in (5..60).step_by(5) {
            serving = settle(serving, Err(unreadable()), later(start, minutes * MINUTE)[2]).ok();
        }
        let serving = serving.expect("within the hour");
        assert!(serving.is_fresh(later(start, 59 * MINUTE)[2]) && !serving.is_fresh(later(start, 60 * MINUTE)[2]));
    }

    #[test]
    fn a_withdrawn_secret_stops_with_the_answer_that_says_so() {
        let start = Moment::now();
        let reason = String::new;
        for error in
            [SecretError::Withdrawn { id: "hook".into(), reason: reason() }, SecretError::NoText("hook".into())]
        {
            assert!(settle(kept(start), Err(error), later(start, MINUTE)[2]).is_err());
        }
        let new = settle(kept(start), Ok("new".into()), later(start, 6 * MINUTE)[2]).ok().map(|kept| kept.text);
        assert_eq!(new.as_deref(), Some("new"));
    }

    #[test]
    fn a_secret_is_asked_for_again_after_five_minutes_by_either_clock() {
        let start = Moment::now();
        let kept = kept(start).expect("one");
        assert!(later(start, 4 * MINUTE).into_iter().all(|now| kept.is_fresh(now)));
        assert!(!later(start, 5 * MINUTE).into_iter().any(|now| kept.is_fresh(now)));
    }
}
