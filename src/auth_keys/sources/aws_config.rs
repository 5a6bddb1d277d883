//! Configures AWS clients: region and credentials, by the SDK's standard chain.
//!
//! The instance metadata service comes last in the chain and is not asked in Lambda and ECS, whose credentials come
//! another way.

use std::error::Error;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, error::CredentialsError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::display::DisplayErrorContext;
use tokio::time::timeout;

use crate::auth_keys::context::KeyContext;
use crate::auth_keys::error::KeyError;
use crate::auth_keys::https::aws::AwsHttp;
use crate::auth_keys::https::{Https, HttpsError};
use crate::secret::Secret;
use crate::secret::redactor::Redactor;

/// Longest time for one operation, its response included.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time to find region and credentials: programs of `credential_process` and chains of roles take their time.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(20);

/// Makes configurations for AWS clients.
#[derive(Clone)]
pub struct AwsConfig {
    pub https: Https,
    /// Whether the instance metadata service may be asked for credentials.
    pub imds: bool,
    pub redactor: Redactor,
}

impl AwsConfig {
    pub fn new(context: &KeyContext<'_>, https: &Https) -> Self {
        Self { https: https.clone(), imds: context.imds, redactor: context.redactor.clone() }
    }

    /// Finds what a client needs: region, current credentials, and endpoints as environment and profile set them. The
    /// region of an ARN, if there is one, wins over all others, since the secret is in that region alone.
    pub async fn config(&self, arn_region: Option<&str>) -> Result<SdkConfig, KeyError> {
        timeout(CREDENTIALS_TIMEOUT, self.load(arn_region)).await.unwrap_or_else(|_| {
            let seconds = CREDENTIALS_TIMEOUT.as_secs();
            Err(KeyError::Passing(format!("no AWS credentials within {seconds} s")))
        })
    }

    async fn load(&self, arn_region: Option<&str>) -> Result<SdkConfig, KeyError> {
        let timeouts = TimeoutConfig::builder().operation_timeout(OPERATION_TIMEOUT).build();
        let loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(AwsHttp { https: self.https.clone(), imds: self.imds })
            // The daemon retries by itself, and reports each failure.
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts);
        let loader = match arn_region {
            Some(region) => loader.region(Region::new(region.to_owned())),
            None => loader,
        };
        let config = loader.load().await;
        if config.region().is_none() {
            let text = "the AWS region is not known: set AWS_REGION, or name the secret by its whole ARN";
            return Err(KeyError::Misconfigured(text.into()));
        }
        let provider = config.credentials_provider().ok_or_else(no_credentials_found)?;
        let credentials = provider.provide_credentials().await.map_err(|error| credentials_refused(&error))?;
        self.learn(&credentials);
        Ok(config.into_builder().credentials_provider(SharedCredentialsProvider::new(credentials)).build())
    }

    /// Masks the credentials from now on: AWS repeats what was signed in its response to a wrong signature, a session's
    /// token included.
    fn learn(&self, credentials: &Credentials) {
        self.redactor.learn(&Secret::new(credentials.secret_access_key()));
        if let Some(token) = credentials.session_token() {
            self.redactor.learn(&Secret::new(token));
        }
    }
}

fn no_credentials_found() -> KeyError {
    KeyError::Misconfigured(
        "no AWS credentials were found: give the function, task or pod a role (or set AWS_ACCESS_KEY_ID and \
         AWS_SECRET_ACCESS_KEY)"
            .into(),
    )
}

fn credentials_refused(error: &CredentialsError) -> KeyError {
    let cause = DisplayErrorContext(error).to_string();
    let denied = ["AccessDenied", "InvalidIdentityToken", "ExpiredToken"].iter().find(|code| cause.contains(**code));
    match (error, denied) {
        (CredentialsError::CredentialsNotLoaded(_), _) => no_credentials_found(),
        (_, Some(code)) => KeyError::Refused(format!(
            "AWS refused credentials for the role ({code}): check the role's trust policy (sts:AssumeRole; for a pod's \
             service account sts:AssumeRoleWithWebIdentity)"
        )),
        (CredentialsError::InvalidConfiguration(_), _) => {
            KeyError::Misconfigured(format!("the configuration of AWS credentials is unusable: {cause}"))
        }
        _ => key_error_of_cause(error, "no AWS credentials yet"),
    }
}

/// Makes the error for a request that got no response from AWS; `what` names the request.
pub fn unanswered<E: Error + 'static>(error: &SdkError<E, HttpResponse>, what: &str) -> KeyError {
    let not_sent = match error {
        SdkError::ConstructionFailure(_) => true,
        // Errors of the connection itself are of other kinds.
        SdkError::DispatchFailure(failure) => failure.is_other(),
        _ => false,
    };
    match key_error_of_cause(error, what) {
        // Settings that exclude each other, such as FIPS at an endpoint of one's own.
        KeyError::Passing(text) if not_sent => KeyError::Misconfigured(text),
        failure => failure,
    }
}

fn key_error_of_cause(error: &(dyn Error + 'static), what: &str) -> KeyError {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let passes = cause.downcast_ref().is_none_or(HttpsError::passes);
    KeyError::no_response(passes, format!("{what}: {cause}"))
}

/// Whether an error response of AWS means that trying again later may help.
pub fn is_passing(status: u16, code: &str) -> bool {
    status == 429 || status >= 500 || code.contains("Throttling") || code == "TooManyRequestsException"
}

/// Whether an error response of AWS means that it does not accept the credentials.
pub fn is_about_credentials(code: &str) -> bool {
    matches!(
        code,
        "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "ExpiredToken"
            | "ExpiredTokenException"
            | "InvalidSignatureException"
            | "SignatureDoesNotMatch"
            | "IncompleteSignature"
            | "MissingAuthenticationToken"
    )
}
