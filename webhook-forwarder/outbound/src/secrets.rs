//! Reads secrets from AWS Secrets Manager, and keeps their text for some minutes.
//!
//! The client is for the function's own role.

use std::time::{Duration, Instant};

use aws_sdk_secretsmanager::Client;
use tokio::sync::Mutex;

use crate::aws::{Missing, config, said};

/// A rotated secret counts after this time at the latest; asking costs 0.05 USD in ten thousand.
const KEPT: Duration = Duration::from_secs(300);

/// Why there is no secret. Names it, and never quotes it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error(transparent)]
    Environment(#[from] Missing),
    #[error("the secret {id} cannot be read: {reason}")]
    Unreadable { id: String, reason: String },
    #[error("the secret {0} holds no text")]
    NoText(String),
}

pub fn client() -> Result<Client, Missing> {
    Ok(Client::new(&config("SECRETS_MANAGER")?))
}

/// One secret's current text. It has no `Debug`.
pub struct StoredText {
    id: String,
    kept: Mutex<Option<(Instant, String)>>,
}

impl StoredText {
    pub fn new(id: &str) -> Self {
        Self { id: id.to_owned(), kept: Mutex::new(None) }
    }

    /// The text, at most [`KEPT`] old. Where it can no longer be read, the old one still serves.
    pub async fn get(&self) -> Result<String, SecretError> {
        let mut kept = self.kept.lock().await;
        if let Some((when, text)) = kept.as_ref().filter(|(when, _)| when.elapsed() < KEPT) {
            tracing::trace!(age = ?when.elapsed(), "the secret is kept");
            return Ok(text.clone());
        }
        match (self.read().await, kept.take()) {
            (Ok(text), _) => Ok(kept.insert((Instant::now(), text)).1.clone()),
            (Err(error), Some((_, old))) => {
                tracing::warn!(%error, "the secret as it was last read still serves");
                Ok(kept.insert((Instant::now(), old)).1.clone())
            }
            (Err(error), None) => Err(error),
        }
    }

    async fn read(&self) -> Result<String, SecretError> {
        let request = client()?.get_secret_value().secret_id(&self.id).version_stage("AWSCURRENT");
        let unreadable = |reason| SecretError::Unreadable { id: self.id.clone(), reason };
        let answer = request.send().await.map_err(|error| unreadable(said(&error)))?;
        answer.secret_string().map(str::to_owned).ok_or_else(|| SecretError::NoText(self.id.clone()))
    }
}
