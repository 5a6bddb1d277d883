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

use crate::message::presentable;
use crate::url::{UrlError, for_credentials};

/// For one operation, its retries included.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(10);

/// Codes whose messages name the caller, the resource and the reason. Those of a signature that is wrong quote the whole request, its
/// session token as well, and those of a bad parameter its value: of them the code is enough.
const SAFE_TO_REPEAT: [&str; 13] = [
    "AWS.SimpleQueueService.NonExistentQueue",
    "AccessDenied",
    "AccessDeniedException",
    "DecryptionFailure",
    "EncryptionFailure",
    "InternalServiceError",
    "InvalidRequestException",
    "KMS.AccessDeniedException",
    "KmsAccessDenied",
    "LimitExceededException",
    "QueueDoesNotExist",
    "ResourceNotFoundException",
    "ThrottlingException",
];
/// The function's credentials, which no message may hold.
const CREDENTIALS: [&str; 3] = ["AWS_SESSION_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"];

/// Why AWS cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum AwsConfigError {
    #[error("{0} is not set: Lambda sets it for every function with a role")]
    Missing(&'static str),
    #[error("{0} cannot be used: {1}")]
    Endpoint(String, UrlError),
}

/// How a client of `service` is configured: with the function's own role. Another endpoint than the region's comes from
/// `AWS_ENDPOINT_URL_<SERVICE>`, then `AWS_ENDPOINT_URL`, as in every SDK.
pub fn config(service: &str) -> Result<SdkConfig, AwsConfigError> {
    let get = |name: &'static str| set(name).ok_or(AwsConfigError::Missing(name));
    let region = Region::new(get("AWS_REGION")?);
    let (id, secret) = (get("AWS_ACCESS_KEY_ID")?, get("AWS_SECRET_ACCESS_KEY")?);
    let credentials = Credentials::new(id, secret, set("AWS_SESSION_TOKEN"), None, "Lambda");
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(region)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https())
        .timeout_config(TimeoutConfig::builder().operation_timeout(OPERATION_TIMEOUT).build());
    config.set_endpoint_url(endpoint(service)?);
    Ok(config.build())
}

/// Requests bear a session token, and answers secrets.
fn endpoint(service: &str) -> Result<Option<String>, AwsConfigError> {
    let names = [format!("AWS_ENDPOINT_URL_{service}"), "AWS_ENDPOINT_URL".to_owned()];
    let Some((name, url)) = names.into_iter().find_map(|name| Some((set(&name)?, name))).map(|(url, name)| (name, url))
    else {
        return Ok(None);
    };
    for_credentials(&url).map(Some).map_err(|error| AwsConfigError::Endpoint(name, error))
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
    let credentials: Vec<String> = CREDENTIALS.into_iter().filter_map(set).collect();
    match error.code() {
        Some(code) => repeated(code, error.message().unwrap_or_default(), &credentials),
        None => presentable(&cause(error), &credentials.iter().map(String::as_str).collect::<Vec<_>>()),
    }
}

fn repeated(code: &str, message: &str, credentials: &[String]) -> String {
    let text = match SAFE_TO_REPEAT.contains(&code) {
        true => format!("{code}: {message}"),
        false => format!("{code} (the rest of the message may quote the request, and is left out)"),
    };
    presentable(&text, &credentials.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The innermost cause, which is what says something: the outer ones say "service error" and "dispatch failure".
pub fn cause(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "IQoJb3JpZ2luX2VjEXAMPLETOKEN//////////wEaCWV1LXdlc3QtMSJHMEUCIQ==";

    #[test]
    fn a_message_that_can_quote_the_session_token_is_not_repeated() {
        let quoting = format!("The Canonical String should have been\n'POST\n/\n\nx-amz-security-token:{TOKEN}\n'");
        let codes = [
            "InvalidSignatureException",
            "SignatureDoesNotMatch",
            "IncompleteSignatureException",
            "IncompleteSignature",
            "UnrecognizedClientException",
            "InvalidClientTokenId",
            "ExpiredTokenException",
            "ValidationException",
            "InvalidParameterException",
            "SerializationException",
            "SomethingNew",
        ];
        for code in codes {
            let said = repeated(code, &quoting, &[]);
            assert!(said.starts_with(code) && !said.contains(TOKEN) && !said.contains("POST"), "{said}");
        }
        // Whatever the code: what is known to be a credential is masked.
        for code in SAFE_TO_REPEAT {
            let said = repeated(code, &quoting, &[TOKEN.to_owned()]);
            assert!(said.starts_with(code) && !said.contains(TOKEN) && said.contains("***"), "{said}");
        }
    }

    #[test]
    fn what_helps_is_repeated() {
        let message = "Secrets Manager can't find the specified secret.";
        assert_eq!(
            repeated("ResourceNotFoundException", message, &[]),
            format!("ResourceNotFoundException: {message}")
        );
    }
}
