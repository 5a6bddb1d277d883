//! An identity token from the platform, for an audience: GitHub Actions, AWS (sts:GetWebIdentityToken), Google's
//! metadata server. The environment tells which; where it says nothing, Google's is asked, then AWS.

use aws_sdk_sts::error::ProvideErrorMetadata;
use serde::Deserialize;

use super::answers::{Question, ask, encoded, understand};
use super::aws::{Aws, cause_of};
use super::failure::KeyFailure;
use crate::config::Environment;
use crate::secret::Secret;

/// Where Google's metadata server is, unless `GCE_METADATA_HOST` says so.
const GOOGLE: &str = "metadata.google.internal";

/// Any of these means that AWS gives out credentials here.
const AWS_SIGNS: [&str; 6] = [
    "AWS_LAMBDA_RUNTIME_API",
    "ECS_CONTAINER_METADATA_URI_V4",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ACCESS_KEY_ID",
];

/// Which platform is asked.
#[derive(Clone)]
enum Platform {
    GitHub { url: String, token: Secret },
    Aws,
    Google(String),
}

/// Gets tokens.
#[derive(Clone)]
pub(super) struct PlatformToken {
    platform: Platform,
    aws: Aws,
}

#[derive(Deserialize)]
struct GitHubToken {
    value: String,
}

impl PlatformToken {
    pub(super) fn new(environment: &Environment, aws: Aws) -> Self {
        let get = |name: &str| environment.get(name).filter(|value| !value.is_empty());
        let github = (get("ACTIONS_ID_TOKEN_REQUEST_URL"), get("ACTIONS_ID_TOKEN_REQUEST_TOKEN"));
        let platform = if let (Some(url), Some(token)) = github {
            Platform::GitHub { url: url.clone(), token: Secret::new(token.as_str()) }
        } else if get("GCE_METADATA_HOST").is_none() && AWS_SIGNS.iter().any(|name| get(name).is_some()) {
            Platform::Aws
        } else {
            Platform::Google(get("GCE_METADATA_HOST").map_or(GOOGLE, String::as_str).to_owned())
        };
        Self { platform, aws }
    }

    pub(super) async fn get(&self, audience: &str) -> Result<Secret, KeyFailure> {
        match &self.platform {
            Platform::GitHub { url, token } => self.github(url, token, audience).await,
            Platform::Aws => self.aws(audience).await,
            Platform::Google(host) => match self.google(host, audience).await {
                Err(KeyFailure::Passing(_)) if host == GOOGLE => self.aws(audience).await.map_err(|_| nowhere()),
                result => result,
            },
        }
    }

    async fn github(&self, url: &str, token: &Secret, audience: &str) -> Result<Secret, KeyFailure> {
        let joint = if url.contains('?') { '&' } else { '?' };
        let question = Question::get(format!("{url}{joint}audience={}", encoded(audience))).bearer(token);
        let body = ask(&self.aws.https, question, "GitHub's token service", |_| {
            Some(KeyFailure::Refused("give the workflow the permission id-token: write".into()))
        });
        Ok(Secret::new(understand::<GitHubToken>(&body.await?, "GitHub's token service")?.value))
    }

    async fn google(&self, host: &str, audience: &str) -> Result<Secret, KeyFailure> {
        let path = "computeMetadata/v1/instance/service-accounts/default/identity";
        let mut question = Question::get(format!("http://{host}/{path}?audience={}&format=full", encoded(audience)));
        question.headers = &[("Metadata-Flavor", "Google")];
        let body = ask(&self.aws.https, question, "Google's metadata server", |_| {
            Some(KeyFailure::Misconfigured("the workload has no service account".into()))
        });
        Ok(Secret::new(String::from_utf8_lossy(&body.await?).trim()))
    }

    async fn aws(&self, audience: &str) -> Result<Secret, KeyFailure> {
        let client = aws_sdk_sts::Client::new(&self.aws.config(None).await?);
        let request = client.get_web_identity_token().audience(audience).signing_algorithm("ES384");
        let answer = request.duration_seconds(300).send().await.map_err(|error| match error.as_service_error() {
            Some(refusal) => KeyFailure::Refused(format!(
                "AWS gives no identity token ({}): allow the role sts:GetWebIdentityToken, and switch outbound identity \
                 federation on for the account",
                refusal.code().unwrap_or("unknown")
            )),
            None => KeyFailure::Passing(format!("AWS STS cannot be asked: {}", cause_of(&error))),
        })?;
        answer.web_identity_token().map(Secret::new).ok_or_else(nowhere)
    }
}

fn nowhere() -> KeyFailure {
    let text = "no identity token for id_token_audience is to be had here: neither GitHub Actions, nor AWS, nor Google \
                gives one; mount one and set id_token_file";
    KeyFailure::Misconfigured(text.into())
}
