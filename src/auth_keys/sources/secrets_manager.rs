//! Reads the auth key from a secret of AWS Secrets Manager (`auth_secret`).
//!
//! The key is the secret's text, or a field of it when it is JSON. Errors name the ARN and the permission that is
//! missing.

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueOutput;
use futures_util::future::BoxFuture;
use serde_json::Value;

use crate::auth_keys::error::KeyError;
use crate::auth_keys::expiry::expiry_of;
use crate::auth_keys::fetched::Fetched;
use crate::auth_keys::key_source::KeySource;
use crate::auth_keys::sources::aws_config::{AwsConfig, is_about_credentials, is_passing, unanswered};
use crate::config::sections::auth::StoredSecret;
use crate::secret::{Secret, SecretJson, trim_secret};

/// The setting that names the secret.
pub const SETTING: &str = "auth_secret";

/// Field of a JSON secret that holds the key, unless `auth_secret_field` names another.
const DEFAULT_FIELD: &str = "key";

/// Staging label of the version that is in use, which counts unless `auth_secret_stage` names another.
const CURRENT: &str = "AWSCURRENT";

type Failure = SdkError<GetSecretValueError>;

/// A secret of AWS Secrets Manager, asked for anew at each fetch.
pub struct SecretsManager {
    aws: AwsConfig,
    secret: SecretVersion,
}

/// Where in AWS Secrets Manager the key is.
struct SecretVersion {
    /// Name or ARN of the secret.
    id: String,
    /// Field that holds the key, when the secret is JSON.
    field: String,
    /// Staging label of the version.
    stage: String,
}

impl SecretsManager {
    pub fn new(secret: StoredSecret, aws: AwsConfig) -> Self {
        let option = |name: &str, default: &str| secret.options.get(name).map_or(default, String::as_str).to_owned();
        let (field, stage) = (option("field", DEFAULT_FIELD), option("stage", CURRENT));
        Self { aws, secret: SecretVersion { id: secret.id, field, stage } }
    }

    async fn read(&self) -> Result<Fetched, KeyError> {
        let name = &self.secret.id;
        let config = self.aws.config(arn_region(name)).await;
        let config = config.map_err(|failure| failure.map(|text| format!("auth_secret {name}: {text}")))?;
        let request = Client::new(&config).get_secret_value().secret_id(name).version_stage(&self.secret.stage);
        let response = request.send().await.map_err(|error| read_failure(&error, &self.secret))?;
        let fetched = key_in(response, &self.secret)?;
        self.aws.redactor.learn(&fetched.secret);
        Ok(fetched)
    }
}

impl KeySource for SecretsManager {
    fn fetch(&self) -> BoxFuture<'_, Result<Fetched, KeyError>> {
        Box::pin(self.read())
    }

    fn needs_network(&self) -> bool {
        true
    }

    fn origin(&self) -> String {
        format!("{SETTING} {}", self.secret.id)
    }
}

/// Returns the region in an ARN: `arn:aws:secretsmanager:REGION:…`.
fn arn_region(id: &str) -> Option<&str> {
    let mut parts = id.split(':');
    (parts.next() == Some("arn")).then(|| parts.nth(2)).flatten().filter(|region| !region.is_empty())
}

/// Takes the key, and its expiry if there is one, out of what Secrets Manager sent.
fn key_in(response: GetSecretValueOutput, secret: &SecretVersion) -> Result<Fetched, KeyError> {
    let name = response.arn.as_ref().unwrap_or(&secret.id);
    let wrong = |text: &str| KeyError::Misconfigured(format!("auth_secret {name} {text}"));
    let Some(text) = response.secret_string.map(Secret::new) else {
        return Err(wrong("is binary: store the key as text, or as JSON with a field \"key\""));
    };
    let text = trim_secret(text.expose());
    let (field, given) = (secret.field.as_str(), secret.field != DEFAULT_FIELD);
    if !text.starts_with('{') {
        return match text {
            _ if given => Err(wrong("is no JSON object: leave auth_secret_field out, or store one")),
            "" => Err(wrong("is empty: store the key in it")),
            _ if text.starts_with(['[', '"']) => {
                Err(wrong("is JSON, but no object: store the key as text, or {\"key\": …}"))
            }
            text => Ok(Fetched::kept(Secret::new(text), None)),
        };
    }
    let document = serde_json::from_str(text)
        .map_err(|error| wrong(&format!("is no valid JSON (line {}, column {})", error.line(), error.column())))?;
    let document = SecretJson::new(document);
    let object = document.expose();
    let expires = object["expires"].as_str().and_then(expiry_of);
    match object[field].as_str().map(str::trim).filter(|text| !text.is_empty()) {
        Some(text) => Ok(Fetched::kept(Secret::new(text), expires)),
        None => Err(wrong(&format!(
            "has no text in its field \"{field}\": it has {}; set auth_secret_field to the one that holds the key",
            field_names(object)
        ))),
    }
}

/// Lists the names of the fields for an error message, without their values, which are secret.
fn field_names(object: &Value) -> String {
    let names: Vec<String> = object.as_object().into_iter().flatten().map(|(name, _)| format!("\"{name}\"")).collect();
    if names.is_empty() { "no fields".into() } else { names.join(", ") }
}

fn read_failure(error: &Failure, secret: &SecretVersion) -> KeyError {
    let name = &secret.id;
    let SdkError::ServiceError(response) = error else {
        return unanswered(error, &format!("auth_secret {name}: Secrets Manager cannot be asked"));
    };
    let (code, message) = (response.err().code().unwrap_or("unknown"), response.err().message().unwrap_or_default());
    let status = response.raw().status().as_u16();
    let refused = |text: &str| KeyError::Refused(format!("auth_secret {name}: {text}"));
    let wrong = |text: String| KeyError::Misconfigured(format!("auth_secret {name}: {text}"));
    match code {
        "AccessDeniedException" if message.to_lowercase().contains("kms") => no_decrypt(name),
        "DecryptionFailure" => no_decrypt(name),
        "AccessDeniedException" => refused(
            "access is denied: allow the role secretsmanager:GetSecretValue on this secret (AccessDeniedException)",
        ),
        "ResourceNotFoundException" if message.contains("secret value") => {
            let stage = &secret.stage;
            wrong(format!("it has no version {stage}: put the key in, or set auth_secret_stage to a version it has"))
        }
        "ResourceNotFoundException" if secret.stage != CURRENT => wrong(format!(
            "there is no such secret, or it has no version {}: check its name, the region, the account and \
             auth_secret_stage (ResourceNotFoundException)",
            secret.stage
        )),
        "ResourceNotFoundException" => wrong(
            "there is no such secret: check its name, the region and the account (ResourceNotFoundException)".into(),
        ),
        _ if is_about_credentials(code) => refused(&format!("AWS does not accept the credentials ({code}): {message}")),
        _ if is_passing(status, code) => {
            KeyError::Passing(format!("auth_secret {name}: Secrets Manager answers {status} {code}; trying again"))
        }
        _ => wrong(format!("Secrets Manager answers {status} {code}: {message}")),
    }
}

fn no_decrypt(name: &str) -> KeyError {
    KeyError::Refused(format!(
        "auth_secret {name}: it cannot be decrypted: allow the role kms:Decrypt on the secret's KMS key"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_names_its_region() {
        assert_eq!(arn_region("arn:aws:secretsmanager:eu-west-1:123456789012:secret:ts-AbCdEf"), Some("eu-west-1"));
        assert_eq!(arn_region("tailscale/key"), None);
    }

    fn of(text: &str, field: &str) -> Result<String, String> {
        let secret = SecretVersion { id: "ts".into(), field: field.into(), stage: CURRENT.into() };
        let response = GetSecretValueOutput::builder().secret_string(text).build();
        let fetched = key_in(response, &secret).map_err(|failure| failure.to_string());
        fetched.map(|fetched| fetched.secret.expose().to_owned())
    }

    #[test]
    fn plain_text_and_fields_are_read_and_faults_name_fields_and_no_values() {
        assert_eq!(of(" plain-key\n", "key").as_deref(), Ok("plain-key"));
        assert_eq!(of("\u{feff}{\"key\":\"k1\"}\r\n", "key").as_deref(), Ok("k1"));
        assert_eq!(of(r#"{"key":"k1","other":"k2"}"#, "key").as_deref(), Ok("k1"));
        assert_eq!(of(r#"{"key":"k1","other":"k2"}"#, "other").as_deref(), Ok("k2"));
        for (text, field, part) in [
            (r#"{"authkey":"hidden"}"#, "key", "it has \"authkey\""),
            (r#"{"key":7}"#, "key", "no text in its field \"key\""),
            (r#"{"key":"hidden""#, "key", "no valid JSON"),
            ("hidden", "other", "is no JSON object"),
            ("", "key", "is empty"),
            (r#"["hidden"]"#, "key", "is JSON, but no object"),
            (r#""hidden""#, "key", "is JSON, but no object"),
            (r#"{"key":null}"#, "key", "no text in its field"),
            (r#"{"key":["hidden"]}"#, "key", "no text in its field"),
            (r#"{"key":{"key":"hidden"}}"#, "key", "no text in its field"),
        ] {
            let fault = of(text, field).expect_err(text);
            assert!(fault.contains(part) && !fault.contains("hidden"), "{fault}");
        }
    }

    #[test]
    fn an_expiry_beside_the_key_is_read() {
        let secret = SecretVersion { id: "ts".into(), field: "key".into(), stage: CURRENT.into() };
        let text = r#"{"key":"k","expires":"2027-01-01T00:00:00Z"}"#;
        let response = GetSecretValueOutput::builder().secret_string(text).build();
        let expires = key_in(response, &secret).expect("is read").expires.expect("is there");
        assert_eq!(humantime::format_rfc3339_seconds(expires).to_string(), "2027-01-01T00:00:00Z");
    }
}
