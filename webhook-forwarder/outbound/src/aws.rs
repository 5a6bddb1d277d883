//! AWS from within a function: region and credentials are in the environment, where Lambda puts those of the role. The
//! SDK's chain would look for profiles, containers and instances, and bring their code, for nothing.

use std::env;
use std::error::Error;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

pub use aws_sdk_secretsmanager::config::{BehaviorVersion, Region, SharedHttpClient, timeout::TimeoutConfig};

/// For one operation, its retries included.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(10);

/// What every client is configured with.
pub struct Access {
    pub region: Region,
    pub credentials: Credentials,
    pub http: SharedHttpClient,
    pub timeouts: TimeoutConfig,
}

/// A variable that Lambda always sets is not there.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not set: Lambda sets it for every function with a role")]
pub struct Missing(&'static str);

impl Access {
    pub fn of_the_function() -> Result<Self, Missing> {
        let get = |name: &'static str| env::var(name).ok().filter(|text| !text.is_empty()).ok_or(Missing(name));
        let region = Region::new(get("AWS_REGION")?);
        let (id, secret) = (get("AWS_ACCESS_KEY_ID")?, get("AWS_SECRET_ACCESS_KEY")?);
        let credentials = Credentials::new(id, secret, env::var("AWS_SESSION_TOKEN").ok(), None, "Lambda");
        let http = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
        let timeouts = TimeoutConfig::builder().operation_timeout(OPERATION_TIMEOUT).build();
        Ok(Self { region, credentials, http, timeouts })
    }
}

/// Another endpoint than the region's: `AWS_ENDPOINT_URL_<SERVICE>`, then `AWS_ENDPOINT_URL`, as in every SDK.
pub fn endpoint(service: &str) -> Option<String> {
    let of_service = env::var(format!("AWS_ENDPOINT_URL_{service}")).ok();
    of_service.or_else(|| env::var("AWS_ENDPOINT_URL").ok()).filter(|url| !url.is_empty())
}

/// The innermost cause, which is what says something: the outer ones say "service error" and "dispatch failure".
pub fn cause(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
