//! The secret with its versions, in AWS Secrets Manager.
//!
//! Every call may be repeated.

use std::collections::BTreeMap;

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueOutput;
use webhook_outbound::aws::said;

use crate::key::{Purpose, StoredKey};

pub const CURRENT: &str = "AWSCURRENT";
pub const PENDING: &str = "AWSPENDING";

#[derive(Debug, thiserror::Error)]
#[error("Secrets Manager refuses {what}: {reason}")]
pub struct StoreError {
    what: &'static str,
    reason: String,
}

/// What is known of the secret without reading it.
pub struct Description {
    pub arn: String,
    pub rotates: bool,
    /// `None` where the tag is missing or says something else.
    pub purpose: Option<Purpose>,
    pub stages: BTreeMap<String, Vec<String>>,
}

impl Description {
    pub fn has(&self, version: &str, stage: &str) -> bool {
        self.stages.get(version).is_some_and(|stages| stages.iter().any(|found| found == stage))
    }

    pub fn version_with(&self, stage: &str) -> Option<&str> {
        self.stages.keys().map(String::as_str).find(|version| self.has(version, stage))
    }
}

/// Secrets Manager, for one secret.
pub struct Store<'a> {
    pub client: &'a Client,
    pub secret: &'a str,
}

impl Store<'_> {
    pub async fn describe(&self) -> Result<Description, StoreError> {
        let answer = self.client.describe_secret().secret_id(self.secret).send().await;
        let answer = answer.map_err(|error| failed("its description", &error))?;
        let tag = answer.tags().iter().find(|tag| tag.key() == Some("Purpose")).and_then(|tag| tag.value());
        Ok(Description {
            arn: answer.arn().unwrap_or(self.secret).to_owned(),
            rotates: answer.rotation_enabled() == Some(true),
            purpose: tag.and_then(|value| value.parse().ok()),
            stages: answer.version_ids_to_stages.into_iter().flatten().collect(),
        })
    }

    /// The text of one version, `None` where there is none yet.
    pub async fn read(&self, version: &str) -> Result<Option<String>, StoreError> {
        let request = self.client.get_secret_value().secret_id(self.secret).version_id(version);
        text(request.send().await, "the value of a version")
    }

    /// The current text, `None` where there is none yet.
    pub async fn current(&self) -> Result<Option<String>, StoreError> {
        let request = self.client.get_secret_value().secret_id(self.secret).version_stage(CURRENT);
        text(request.send().await, "the current value")
    }

    /// The key in a version; `None` as well for what somebody has put there by hand.
    pub async fn key(&self, version: &str) -> Result<Option<StoredKey>, StoreError> {
        Ok(self.read(version).await?.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// The same of the current version.
    pub async fn current_key(&self) -> Result<Option<StoredKey>, StoreError> {
        Ok(self.current().await?.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// False when the version holds another value already.
    pub async fn put_pending(&self, version: &str, key: &StoredKey) -> Result<bool, StoreError> {
        let text = serde_json::to_string(key)
            .map_err(|error| StoreError { what: "a new version", reason: error.to_string() })?;
        let request = self.client.put_secret_value().secret_id(self.secret).client_request_token(version);
        match request.secret_string(text).version_stages(PENDING).send().await {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some("ResourceExistsException") => Ok(false),
            Err(error) => Err(failed("a new version", &error)),
        }
    }

    /// Moves a stage to a version and, where it was on one, from that.
    pub async fn make_current(&self, version: &str, from: Option<&str>) -> Result<(), StoreError> {
        let request = self.client.update_secret_version_stage().secret_id(self.secret).version_stage(CURRENT);
        let request = request.move_to_version_id(version).set_remove_from_version_id(from.map(str::to_owned));
        request.send().await.map(drop).map_err(|error| failed("to move AWSCURRENT", &error))
    }

    pub async fn drop_pending(&self, version: &str) -> Result<(), StoreError> {
        let request = self.client.update_secret_version_stage().secret_id(self.secret).version_stage(PENDING);
        request
            .remove_from_version_id(version)
            .send()
            .await
            .map(drop)
            .map_err(|error| failed("to take AWSPENDING off", &error))
    }

    /// Versions without a stage: Secrets Manager keeps some of them for a while.
    pub async fn old_versions(&self) -> Result<Vec<String>, StoreError> {
        let request = self.client.list_secret_version_ids().secret_id(self.secret).include_deprecated(true);
        let answer = request.max_results(100).send().await.map_err(|error| failed("the list of versions", &error))?;
        let old = answer.versions().iter().filter(|version| version.version_stages().is_empty());
        Ok(old.filter_map(|version| version.version_id()).map(str::to_owned).collect())
    }
}

fn text<E, R>(
    answer: Result<GetSecretValueOutput, SdkError<E, R>>,
    what: &'static str,
) -> Result<Option<String>, StoreError>
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
    R: std::fmt::Debug + 'static,
{
    match answer {
        Ok(answer) => Ok(answer.secret_string().map(str::to_owned)),
        Err(error) if error.code() == Some("ResourceNotFoundException") => Ok(None),
        Err(error) => Err(failed(what, &error)),
    }
}

fn failed<E, R>(what: &'static str, error: &SdkError<E, R>) -> StoreError
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
    R: std::fmt::Debug + 'static,
{
    StoreError { what, reason: said(error) }
}
