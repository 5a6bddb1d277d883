//! AWS: which region, and whose credentials, by the SDK's standard chain. The instance metadata service comes last in
//! it and is not asked in Lambda and ECS, whose own credentials come another way.

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

use crate::auth_keys::error::KeyError;
use crate::auth_keys::https::aws::AwsHttp;
use crate::auth_keys::https::{Https, HttpsError};
use crate::secret::Secret;
use crate::secret::redactor::Redactor;

/// For one operation, the answer included.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(10);
/// For region and credentials: programs of `credential_process` and roles that lead to others take their time.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(20);

/// How AWS is reached from here.
#[derive(Clone)]
pub struct AwsConfig {
    pub https: Https,
    /// Whether the instance metadata service may be what this place gets its credentials from.
    pub imds: bool,
    pub redactor: Redactor,
}

impl AwsConfig {
    /// What a client needs: region, credentials as they are now, and endpoints as environment and profile set them.
    /// The region of an ARN counts more than theirs: a secret is nowhere else.
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
            // The daemon tries again itself, and says so meanwhile.
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
        let provider = config.credentials_provider().ok_or_else(none_found)?;
        let credentials = provider.provide_credentials().await.map_err(|error| no_credentials(&error))?;
        self.learn(&credentials);
        Ok(config.into_builder().credentials_provider(SharedCredentialsProvider::new(credentials)).build())
    }

    /// AWS repeats what was signed in its answer to a wrong signature, a session's token included.
    fn learn(&self, credentials: &Credentials) {
        self.redactor.learn(&Secret::new(credentials.secret_access_key()));
        if let Some(token) = credentials.session_token() {
            self.redactor.learn(&Secret::new(token));
        }
    }
}

fn none_found() -> KeyError {
    KeyError::Misconfigured(
        "no AWS credentials were found: give the function, task or pod a role (or set AWS_ACCESS_KEY_ID and \
         AWS_SECRET_ACCESS_KEY)"
            .into(),
    )
}

fn no_credentials(error: &CredentialsError) -> KeyError {
    let cause = DisplayErrorContext(error).to_string();
    let denied = ["AccessDenied", "InvalidIdentityToken", "ExpiredToken"].iter().find(|code| cause.contains(**code));
    match (error, denied) {
        (CredentialsError::CredentialsNotLoaded(_), _) => none_found(),
        (_, Some(code)) => KeyError::Refused(format!(
            "AWS refused credentials for the role ({code}): check the role's trust policy (sts:AssumeRole; for a pod's \
             service account sts:AssumeRoleWithWebIdentity)"
        )),
        (CredentialsError::InvalidConfiguration(_), _) => {
            KeyError::Misconfigured(format!("the configuration of AWS credentials is unusable: {cause}"))
        }
        _ => of_cause(error, "no AWS credentials yet"),
    }
}

/// For an error of the SDK that is no answer of AWS.
pub fn unanswered<E: Error + 'static>(error: &SdkError<E, HttpResponse>, what: &str) -> KeyError {
    let not_sent = match error {
        SdkError::ConstructionFailure(_) => true,
        // What the connection itself failed for is of another kind.
        SdkError::DispatchFailure(failure) => failure.is_other(),
        _ => false,
    };
    match of_cause(error, what) {
        // Settings that exclude each other, such as FIPS at an endpoint of one's own.
        KeyError::Passing(text) if not_sent => KeyError::Misconfigured(text),
        failure => failure,
    }
}

fn of_cause(error: &(dyn Error + 'static), what: &str) -> KeyError {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let passes = cause.downcast_ref().is_none_or(HttpsError::passes);
    KeyError::no_response(passes, format!("{what}: {cause}"))
}

/// Whether an answer of AWS means that asking later may help.
pub fn is_passing(status: u16, code: &str) -> bool {
    status == 429 || status >= 500 || code.contains("Throttling") || code == "TooManyRequestsException"
}

/// Whether an answer of AWS means that these credentials are of no use.
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
