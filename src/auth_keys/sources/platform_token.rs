//! Gets an identity token from GitHub Actions, AWS or Google's metadata server.
//!
//! The token is for one audience. The environment tells which platform it is. Where it does not, Google's metadata
//! server is looked up, then AWS asked (`sts:GetWebIdentityToken`).

use std::time::Duration;

use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::get_web_identity_token::GetWebIdentityTokenError;
use serde::Deserialize;
use tokio::net::lookup_host;
use tokio::time::timeout;

use crate::auth_keys::error::KeyError;
use crate::auth_keys::https::json_api::{ApiRequest, call_api, parse_response};
use crate::auth_keys::sources::aws_config::{AwsConfig, is_about_credentials, is_passing, unanswered};
use crate::config::types::address::ControlUrl;
use crate::environment::Environment;
use crate::secret::Secret;
use crate::secret::redactor::Redactor;
use crate::text::percent_encoded;

/// Host of Google's metadata server, unless `GCE_METADATA_HOST` is set. Only Google's name servers know the name.
const GOOGLE: &str = "metadata.google.internal";

/// Longest time for the look-up of Google's metadata server.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Seconds for which an identity token of AWS is valid. It is exchanged immediately.
const AWS_TOKEN_SECONDS: i32 = 300;

/// Environment variables, each of which shows that AWS gives credentials to this process.
const AWS_SIGNS: [&str; 6] = [
    "AWS_LAMBDA_RUNTIME_API",
    "ECS_CONTAINER_METADATA_URI_V4",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ACCESS_KEY_ID",
];

/// A platform that issues identity tokens.
enum Issuer {
    /// GitHub Actions: address and credential of its token service.
    GitHub {
        url: String,
        token: Secret,
    },
    Aws,
    /// Google's metadata server, by its host.
    Google(String),
    /// Not known from the environment.
    Unknown,
}

/// Gets identity tokens from the platform.
pub struct PlatformToken {
    issuer: Issuer,
    aws: AwsConfig,
}

#[derive(Deserialize)]
struct GitHubToken {
    value: Secret,
}

impl PlatformToken {
    pub fn new(environment: &Environment, aws: AwsConfig) -> Self {
        let get = |name: &str| environment.get(name).filter(|value| !value.is_empty());
        let issuer = if let Some((url, token)) = github_service(environment) {
            Issuer::GitHub { url, token }
        } else if let Some(host) = get("GCE_METADATA_HOST") {
            Issuer::Google(host.clone())
        } else if AWS_SIGNS.iter().any(|name| get(name).is_some()) {
            Issuer::Aws
        } else {
            Issuer::Unknown
        };
        Self { issuer, aws }
    }

    /// Gets an identity token for `audience`.
    pub async fn get(&self, audience: &str) -> Result<Secret, KeyError> {
        let token = match &self.issuer {
            Issuer::GitHub { url, token } => self.github(url, token, audience).await?,
            Issuer::Aws => self.aws(audience).await?,
            Issuer::Google(host) => self.google(host, audience).await?,
            Issuer::Unknown => self.google_or_aws(audience).await?,
        };
        if token.expose().is_empty() {
            return Err(KeyError::Passing("the platform answered with an empty identity token".into()));
        }
        Ok(token)
    }

    async fn google_or_aws(&self, audience: &str) -> Result<Secret, KeyError> {
        let resolved = timeout(LOOKUP_TIMEOUT, lookup_host((GOOGLE, 80))).await;
        if let Ok(Ok(_)) = resolved {
            return self.google(GOOGLE, audience).await;
        }
        self.aws(audience).await.map_err(|failure| match failure {
            // A container's DNS may come up later than the container.
            KeyError::Misconfigured(_) if !matches!(&resolved, Ok(Err(error)) if is_unknown_name(error)) => {
                KeyError::Passing(format!("no identity token yet: {GOOGLE} cannot be looked up, and AWS has none"))
            }
            KeyError::Misconfigured(_) => no_issuer(),
            other => other,
        })
    }

    async fn github(&self, url: &str, token: &Secret, audience: &str) -> Result<Secret, KeyError> {
        if ControlUrl(url.to_owned()).is_in_the_clear() {
            let text =
                "ACTIONS_ID_TOKEN_REQUEST_URL would send the workflow's credential in the clear: use https:// there";
            return Err(KeyError::Misconfigured(text.into()));
        }
        let joint = if url.contains('?') { '&' } else { '?' };
        let request = ApiRequest::get(format!("{url}{joint}audience={}", percent_encoded(audience))).bearer(token);
        let body = call_api(&self.aws.https, request, "GitHub's token service", |_| {
            Some(KeyError::Refused("give the workflow the permission id-token: write".into()))
        });
        Ok(parse_response::<GitHubToken>(&body.await?, "GitHub's token service")?.value)
    }

    async fn google(&self, host: &str, audience: &str) -> Result<Secret, KeyError> {
        let path = "computeMetadata/v1/instance/service-accounts/default/identity";
        let mut request =
            ApiRequest::get(format!("http://{host}/{path}?audience={}&format=full", percent_encoded(audience)));
        request.headers = &[("Metadata-Flavor", "Google")];
        let body = call_api(&self.aws.https, request, "Google's metadata server", |_| {
            Some(KeyError::Misconfigured("the workload has no service account".into()))
        });
        Ok(Secret::new(String::from_utf8_lossy(&body.await?).trim()))
    }

    async fn aws(&self, audience: &str) -> Result<Secret, KeyError> {
        let client = aws_sdk_sts::Client::new(&self.aws.config(None).await?);
        let request = client.get_web_identity_token().audience(audience).signing_algorithm("ES384");
        let request = request.duration_seconds(AWS_TOKEN_SECONDS);
        let answer = request.send().await.map_err(|error| refused_by_sts(&error))?;
        Ok(answer.web_identity_token.map_or_else(|| Secret::new(""), Secret::new))
    }
}

/// Address and credential of GitHub Actions' token service, where this process is part of a workflow.
fn github_service(environment: &Environment) -> Option<(String, Secret)> {
    let get = |name: &str| environment.get(name).filter(|value| !value.is_empty());
    let (url, token) = (get("ACTIONS_ID_TOKEN_REQUEST_URL")?, get("ACTIONS_ID_TOKEN_REQUEST_TOKEN")?);
    Some((url.clone(), Secret::new(token.as_str())))
}

/// Masks the credential of GitHub Actions' token service from now on, whichever source of auth keys is used.
pub fn learn_request_token(environment: &Environment, redactor: &Redactor) {
    if let Some((_, token)) = github_service(environment) {
        redactor.learn(&token);
    }
}

fn refused_by_sts(error: &SdkError<GetWebIdentityTokenError>) -> KeyError {
    let SdkError::ServiceError(answer) = error else { return unanswered(error, "AWS STS cannot be asked") };
    let code = answer.err().code().unwrap_or("unknown");
    let status = answer.raw().status().as_u16();
    if is_passing(status, code) {
        return KeyError::Passing(format!("AWS STS answers {status} {code}; trying again"));
    }
    if is_about_credentials(code) {
        return KeyError::Refused(format!("AWS STS does not accept the credentials ({code})"));
    }
    KeyError::Refused(format!(
        "AWS gives no identity token ({code}): allow the role sts:GetWebIdentityToken, and switch outbound identity \
         federation on for the account"
    ))
}

/// Whether a look-up failed because there is no such name, rather than because no name server answered. Only the text
/// of the resolver's error tells.
fn is_unknown_name(error: &std::io::Error) -> bool {
    !error.to_string().contains("Temporary failure")
}

fn no_issuer() -> KeyError {
    let text = "no identity token for id_token_audience is to be had here: neither GitHub Actions, nor AWS, nor Google \
                gives one; mount one and set id_token_file";
    KeyError::Misconfigured(text.into())
}
