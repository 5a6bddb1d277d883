//! The four steps of a rotation.
//!
//! Each looks first at what is there already, so that it may be repeated, and a rotation that was killed anywhere goes
//! on where it was.

use std::collections::BTreeSet;
use std::time::SystemTime;

use aws_sdk_secretsmanager::Client;
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;
use webhook_outbound::aws::AwsConfigError;
use webhook_outbound::https::TlsError;
use webhook_outbound::secrets;

use crate::api::ApiError;
use crate::credentials::Credentials;
use crate::expiry;
use crate::key::{Purpose, Unfit, Wanted};
use crate::maker::Maker;
use crate::settings::Settings;
use crate::step::{Event, Step, VersionStep};
use crate::store::{CURRENT, Description, PENDING, Store, StoreError};

#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    #[error(transparent)]
    Environment(#[from] AwsConfigError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error("rotation is not switched on for this secret")]
    NotRotating,
    #[error("the version {0} does not belong to this rotation: it has no stage AWSPENDING")]
    NotPending(String),
    #[error("the secret has no tag Purpose, or another than Cattle (reusable key) or Pet (single-use key)")]
    NoPurpose,
    #[error("the secret of OAUTH_SECRET_ARN has no current text of the form {{\"id\":…,\"key\":…}}")]
    NoCredentials,
    #[error("the version {0} holds no key: createSecret comes first")]
    NoKey(String),
    #[error("the version {0} holds what is current already: createSecret has made no new key for it")]
    NothingNew(String),
    #[error("the control server knows no such key as the new version holds: the next rotation makes another")]
    Unknown,
    #[error("the new key must not be used: {0}; the next rotation makes another")]
    Unfit(#[from] Unfit),
}

/// What outlives an invocation.
pub struct Rotation {
    settings: Settings,
    maker: Maker,
    client: OnceCell<Client>,
}

impl Rotation {
    pub fn new(settings: Settings) -> Result<Self, TlsError> {
        Ok(Self { maker: Maker::new(&settings.control)?, settings, client: OnceCell::new() })
    }

    /// Says in a word what was done, for the log.
    pub async fn run(&self, event: &Event) -> Result<&'static str, RotationError> {
        let client = self.client.get_or_try_init(|| async { secrets::client() }).await?;
        let store = Store { client, secret: &event.secret_id };
        match event.step {
            Step::CheckKey => self.check(&store).await,
            Step::Rotate(step) => self.rotate(&store, step, &event.client_request_token).await,
        }
    }

    async fn rotate(&self, store: &Store<'_>, step: VersionStep, version: &str) -> Result<&'static str, RotationError> {
        let description = store.describe().await?;
        if !description.rotates {
            return Err(RotationError::NotRotating);
        }
        match step {
            VersionStep::Finish => self.finish(store, version, &description).await,
            _ if description.has(version, CURRENT) => Ok("the version is current already"),
            _ if !description.has(version, PENDING) => Err(RotationError::NotPending(version.to_owned())),
            VersionStep::Create => self.create(store, version, &description).await,
            // A key is known to the control server from its making on.
            VersionStep::Set => match store.key(version).await? {
                Some(_) => Ok("nothing is to be set"),
                None => Err(RotationError::NoKey(version.to_owned())),
            },
            VersionStep::Test => self.test(store, version, &description).await,
        }
    }

    async fn create(
        &self,
        store: &Store<'_>,
        version: &str,
        secret: &Description,
    ) -> Result<&'static str, RotationError> {
        if store.read(version).await?.is_some() {
            return Ok("the version holds a key already");
        }
        let (credentials, purpose) = (self.credentials(store.client).await?, purpose(secret)?);
        let wanted = Wanted { purpose, tag: self.settings.tag.clone(), mark: mark(&secret.arn, version) };
        self.maker.delete_lost(&credentials, &wanted.mark).await;
        let key = self.maker.create(&credentials, &wanted).await?;
        if store.put_pending(version, &key).await? {
            return Ok("a new key is stored");
        }
        // Somebody else was quicker with the same version: its key counts.
        self.maker.delete(&credentials, &key.id).await?;
        Ok("the version was stored meanwhile")
    }

    async fn test(
        &self,
        store: &Store<'_>,
        version: &str,
        secret: &Description,
    ) -> Result<&'static str, RotationError> {
        let pending = store.read(version).await?;
        if pending.is_some() && pending == store.current().await? {
            // Rotation was switched on, or its schedule changed: Secrets Manager has this step tried with the current
            // value, which may be old, or empty still.
            return Ok("the value is the current one: nothing new is to be tested");
        }
        let key = store.key(version).await?.ok_or_else(|| RotationError::NoKey(version.to_owned()))?;
        let credentials = self.credentials(store.client).await?;
        let state = self.maker.state(&credentials, &key.id).await?;
        let (purpose, tag) = (purpose(secret)?, &self.settings.tag);
        let verdict = match state {
            Some(state) => state.check(purpose, tag, SystemTime::now()).map_err(RotationError::Unfit),
            None => Err(RotationError::Unknown),
        };
        if verdict.is_err() {
            // No repetition makes it good, and no other rotation begins while a version is pending. A later one deletes
            // its key with the old ones.
            store.drop_pending(version).await?;
        }
        verdict.map(|()| "the key is good")
    }

    /// Asks the control server, which alone knows of a key that somebody has revoked.
    async fn check(&self, store: &Store<'_>) -> Result<&'static str, RotationError> {
        let state = match store.current_key().await? {
            Some(key) => self.maker.state(&self.credentials(store.client).await?, &key.id).await?,
            None => None,
        };
        let now = SystemTime::now();
        println!("{}", expiry::line(&self.settings.function, expiry::days_left(state.as_ref(), now), now));
        Ok("the days that are left are written")
    }

    async fn finish(
        &self,
        store: &Store<'_>,
        version: &str,
        secret: &Description,
    ) -> Result<&'static str, RotationError> {
        if !secret.has(version, CURRENT) {
            if !secret.has(version, PENDING) {
                return Err(RotationError::NotPending(version.to_owned()));
            }
            // An empty version, or the old key once more, must not become current, whatever was skipped.
            let pending = store.key(version).await?.ok_or_else(|| RotationError::NoKey(version.to_owned()))?;
            if store.current_key().await?.is_some_and(|current| current.id == pending.id) {
                return Err(RotationError::NothingNew(version.to_owned()));
            }
            store.make_current(version, secret.version_with(CURRENT)).await?;
        }
        let secret = store.describe().await?;
        if secret.has(version, PENDING) {
            store.drop_pending(version).await?;
        }
        self.delete_old(store, &secret).await?;
        Ok("the version is current")
    }

    /// Deletes the keys of versions without a stage. The current key and the one before it stay: nodes that start just
    /// now may have read that one.
    async fn delete_old(&self, store: &Store<'_>, secret: &Description) -> Result<(), RotationError> {
        let mut kept = BTreeSet::new();
        for (version, _) in secret.stages.iter().filter(|(_, stages)| !stages.is_empty()) {
            kept.extend(store.key(version).await?.map(|key| key.id));
        }
        let old = store.old_versions().await?;
        if old.is_empty() {
            return Ok(());
        }
        let credentials = self.credentials(store.client).await?;
        for version in old {
            let Some(key) = store.key(&version).await? else { continue };
            if !kept.contains(&key.id) {
                self.maker.delete(&credentials, &key.id).await?;
            }
        }
        Ok(())
    }

    async fn credentials(&self, client: &Client) -> Result<Credentials, RotationError> {
        let store = Store { client, secret: &self.settings.credentials };
        let text = store.current().await?.ok_or(RotationError::NoCredentials)?;
        serde_json::from_str(&text).map_err(|_| RotationError::NoCredentials)
    }
}

fn purpose(secret: &Description) -> Result<Purpose, RotationError> {
    secret.purpose.ok_or(RotationError::NoPurpose)
}

/// At most 50 letters, digits, spaces and hyphens: which secret and which version of it.
fn mark(arn: &str, version: &str) -> String {
    let digest = Sha256::digest(arn);
    let secret: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let version: String = version.chars().filter(char::is_ascii_alphanumeric).take(32).collect();
    format!("tetherd {secret} {version}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_fits_into_a_description_and_differs_by_secret_and_version() {
        let [arn, other] =
            ["ts-AbCdEf", "ts-GhIjKl"].map(|name| format!("arn:aws:secretsmanager:eu-west-1:1:secret:{name}"));
        let version = "51f72378-6a5d-5dc7-8fd8-29e4319f482a";
        let own = mark(&arn, version);
        assert!(own.len() <= 50 && own.chars().all(|c| c.is_ascii_alphanumeric() || c == ' '), "{own}");
        assert_ne!(own, mark(&other, version));
        assert_ne!(own, mark(&arn, "51f72378-6a5d-5dc7-8fd8-29e4319f482b"));
    }
}
