//! AWS: which region, and whose credentials. The SDK's standard chain, but for the instance metadata service: it is
//! asked last, never in Lambda and ECS, whose own credentials come another way, and waited for one second at most.

use std::time::Duration;

use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::{EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider};
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::imds::region::ImdsRegionProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig, imds};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, error::CredentialsError};
use aws_smithy_types::error::display::DisplayErrorContext;

use super::aws_http::AwsHttp;
use super::failure::KeyFailure;
use super::https::Https;

/// It answers within milliseconds where it is there at all; in a container behind a hop limit it never does.
const IMDS_TIMEOUT: Duration = Duration::from_secs(1);
/// For one operation, the answer included.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(10);

/// How AWS is reached from here.
#[derive(Clone)]
pub(super) struct Aws {
    pub https: Https,
    /// Whether the instance metadata service may be what this place gets its credentials from.
    pub imds: bool,
}

impl Aws {
    /// What a client needs: region, credentials as they are now, and endpoints as the environment sets them. The
    /// region of an ARN counts more than the environment's: a secret is nowhere else.
    pub(super) async fn config(&self, arn_region: Option<&str>) -> Result<SdkConfig, KeyFailure> {
        let http = AwsHttp(self.https.clone());
        let provider = ProviderConfig::without_region().with_http_client(http.clone());
        let region = self.region(arn_region, &provider).await?;
        let credentials = self.credentials(&provider.with_region(Some(region.clone()))).await?;
        let timeouts = TimeoutConfig::builder().operation_timeout(OPERATION_TIMEOUT).build();
        let config = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http)
            .region(region)
            .credentials_provider(credentials)
            // The daemon tries again itself, and says so meanwhile.
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts);
        Ok(config.load().await)
    }

    async fn region(&self, arn: Option<&str>, provider: &ProviderConfig) -> Result<Region, KeyFailure> {
        let chain = RegionProviderChain::first_try(arn.map(|region| Region::new(region.to_owned())))
            .or_else(EnvironmentVariableRegionProvider::new())
            .or_else(ProfileFileRegionProvider::builder().configure(provider).build());
        let chain = if self.imds {
            chain.or_else(ImdsRegionProvider::builder().imds_client(instance_metadata(provider)).build())
        } else {
            chain
        };
        chain.region().await.ok_or_else(|| {
            let text = "the AWS region is not known: set AWS_REGION, or give auth_secret as a whole ARN";
            KeyFailure::Misconfigured(text.into())
        })
    }

    async fn credentials(&self, provider: &ProviderConfig) -> Result<Credentials, KeyFailure> {
        let chain = CredentialsProviderChain::first_try("Environment", EnvironmentVariableCredentialsProvider::new())
            .or_else("Profile", ProfileFileCredentialsProvider::builder().configure(provider).build())
            .or_else("WebIdentity", WebIdentityTokenCredentialsProvider::builder().configure(provider).build())
            .or_else("Container", EcsCredentialsProvider::builder().configure(provider).build());
        let chain = if self.imds {
            let instance = ImdsCredentialsProvider::builder().configure(provider);
            chain.or_else("Instance", instance.imds_client(instance_metadata(provider)).build())
        } else {
            chain
        };
        chain.provide_credentials().await.map_err(|error| no_credentials(&error))
    }
}

fn instance_metadata(provider: &ProviderConfig) -> imds::Client {
    let client = imds::Client::builder().configure(provider).max_attempts(1);
    client.connect_timeout(IMDS_TIMEOUT).read_timeout(IMDS_TIMEOUT).build()
}

fn no_credentials(error: &CredentialsError) -> KeyFailure {
    let cause = DisplayErrorContext(error).to_string();
    let denied = ["AccessDenied", "InvalidIdentityToken", "ExpiredToken"].iter().find(|code| cause.contains(**code));
    match (error, denied) {
        (CredentialsError::CredentialsNotLoaded(_), _) => KeyFailure::Misconfigured(
            "no AWS credentials were found: give the function, task or pod a role (or set AWS_ACCESS_KEY_ID and \
             AWS_SECRET_ACCESS_KEY)"
                .into(),
        ),
        (_, Some(code)) => KeyFailure::Refused(format!(
            "AWS refused credentials for the role ({code}): check the role's trust policy against the pod's service \
             account (sts:AssumeRoleWithWebIdentity)"
        )),
        (CredentialsError::InvalidConfiguration(_), _) => {
            KeyFailure::Misconfigured(format!("the configuration of AWS credentials is unusable: {cause}"))
        }
        _ => KeyFailure::Passing(format!("no AWS credentials yet: {}", cause_of(error))),
    }
}

/// The innermost cause that an SDK error names.
pub(super) fn cause_of(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
