//! AWS's region and credentials from within a Lambda function.
//!
//! They are in the environment, where Lambda puts those of the role. The SDK's chain would look for profiles,
//! containers and instances, and bring their code, for nothing.

use std::error::Error;
use std::time::Duration;
use std::{env, fmt};

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_secretsmanager::config::BehaviorVersion;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SdkConfig;
use aws_types::region::Region;

/// For one operation, its retries included.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(10);

/// A variable that Lambda always sets is not there.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not set: Lambda sets it for every function with a role")]
pub struct Missing(&'static str);

/// How a client of `service` is configured: with the function's own role. Another endpoint than the region's comes from
/// `AWS_ENDPOINT_URL_<SERVICE>`, then `AWS_ENDPOINT_URL`, as in every SDK.
pub fn config(service: &str) -> Result<SdkConfig, Missing> {
    let get = |name: &'static str| set(name).ok_or(Missing(name));
    let region = Region::new(get("AWS_REGION")?);
    let (id, secret) = (get("AWS_ACCESS_KEY_ID")?, get("AWS_SECRET_ACCESS_KEY")?);
    let credentials = Credentials::new(id, secret, set("AWS_SESSION_TOKEN"), None, "Lambda");
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(region)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https())
        .timeout_config(TimeoutConfig::builder().operation_timeout(OPERATION_TIMEOUT).build());
    config.set_endpoint_url(set(&format!("AWS_ENDPOINT_URL_{service}")).or_else(|| set("AWS_ENDPOINT_URL")));
    Ok(config.build())
}

fn set(name: &str) -> Option<String> {
    env::var(name).ok().filter(|text| !text.is_empty())
}

/// What a service has said, or else why it could not be asked.
pub fn said<E, R>(error: &SdkError<E, R>) -> String
where
    E: Error + ProvideErrorMetadata + 'static,
    R: fmt::Debug + 'static,
{
    let code = error.code().map(|code| format!("{code}: {}", error.message().unwrap_or_default()));
    code.unwrap_or_else(|| cause(error))
}

/// The innermost cause, which is what says something: the outer ones say "service error" and "dispatch failure".
pub fn cause(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
