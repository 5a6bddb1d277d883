//! Makes an auth key by Tailscale's API, as far as auth keys need that API.
//!
//! An OAuth client's secret or an identity token gets an access token, and that one auth key, valid for minutes.
//! <https://tailscale.com/api>

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::json;

use crate::auth_keys::context::KeyContext;
use crate::auth_keys::credential::{Credential, KeyOptions};
use crate::auth_keys::error::KeyError;
use crate::auth_keys::fetched::{Fetched, KEY_SECONDS, KeyTimes};
use crate::auth_keys::https::Https;
use crate::auth_keys::https::json_api::{ApiRequest, RequestBody, call_api, parse_response};
use crate::secret::Secret;
use crate::secret::redactor::{CLIENT_SECRET_PREFIX, Redactor};
use crate::text::percent_encoded;

/// Name for the tailnet that the credential belongs to.
const OWN_TAILNET: &str = "-";

const WHOM: &str = "Tailscale's API";

/// A client of Tailscale's API that makes auth keys.
#[derive(Clone)]
pub struct TailscaleApi {
    https: Https,
    /// Base address of the API, without a slash at its end.
    url: String,
    /// Tailnet that keys are made for.
    tailnet: String,
    /// Tags that keys are made with.
    tags: Vec<String>,
    pub redactor: Redactor,
}

#[derive(Deserialize)]
struct Token {
    access_token: Secret,
}

#[derive(Deserialize)]
struct NewKey {
    key: Secret,
    created: Option<String>,
    expires: Option<String>,
}

impl TailscaleApi {
    pub fn new(context: &KeyContext<'_>, https: &Https) -> Self {
        Self {
            https: https.clone(),
            url: context.api_url.to_owned(),
            tailnet: context.tailnet.to_owned(),
            tags: context.tags.clone(),
            redactor: context.redactor.clone(),
        }
    }

    /// Makes an auth key with an OAuth client's secret. `id` is the client's; without it, the part of the secret that
    /// names the client is used.
    pub async fn key_by_client(&self, id: Option<&str>, credential: Credential) -> Result<Fetched, KeyError> {
        self.require_tags("an OAuth client")?;
        self.redactor.learn(&credential.secret);
        let secret = &credential.secret;
        let id =
            id.or_else(|| secret.expose().strip_prefix(CLIENT_SECRET_PREFIX)?.split('-').next()).unwrap_or_default();
        let fields = vec![
            ("client_id", Secret::new(id)),
            ("client_secret", secret.clone()),
            ("grant_type", Secret::new("client_credentials")),
        ];
        let request =
            ApiRequest::post(self.address(&credential.options, "/api/v2/oauth/token"), RequestBody::Form(fields));
        let token = self.access_token(request, client_refused).await?;
        self.create_key(&token, &credential.options).await
    }

    /// Makes an auth key with an identity token. `client` is the id of the federated identity, perhaps with suffixes.
    pub async fn key_by_identity(&self, client: Credential, token: &Secret) -> Result<Fetched, KeyError> {
        self.require_tags("a federated identity")?;
        self.redactor.learn(token);
        let fields = vec![("client_id", client.secret.clone()), ("jwt", token.clone())];
        let request =
            ApiRequest::post(self.address(&client.options, "/api/v2/oauth/token-exchange"), RequestBody::Form(fields));
        let token = self.access_token(request, identity_refused).await?;
        self.create_key(&token, &client.options).await
    }

    async fn access_token(
        &self,
        request: ApiRequest,
        explain: impl FnOnce(StatusCode) -> Option<KeyError>,
    ) -> Result<Secret, KeyError> {
        let body = call_api(&self.https, request, WHOM, explain).await?;
        let token = parse_response::<Token>(&body, WHOM)?.access_token;
        self.redactor.learn(&token);
        Ok(token)
    }

    async fn create_key(&self, token: &Secret, options: &KeyOptions) -> Result<Fetched, KeyError> {
        let create = json!({
            "reusable": false,
            "ephemeral": options.ephemeral,
            "preauthorized": options.preauthorized,
            "tags": self.tags,
        });
        let body = json!({
            "capabilities": { "devices": { "create": create } },
            "expirySeconds": KEY_SECONDS,
            "description": "tetherd",
        });
        let path = format!("/api/v2/tailnet/{}/keys", percent_encoded(&self.tailnet));
        let request = ApiRequest::post(self.address(options, &path), RequestBody::Json(body)).bearer(token);
        let body = call_api(&self.https, request, WHOM, |status| self.key_refused(status)).await?;
        let key: NewKey = parse_response(&body, WHOM)?;
        tracing::debug!(expires = key.expires, "an auth key was made by Tailscale's API");
        let times = KeyTimes { created: key.created.as_deref(), expires: key.expires.as_deref() };
        Ok(Fetched::made(key.key, &times))
    }

    fn address(&self, options: &KeyOptions, path: &str) -> String {
        format!("{}{path}", options.api_url.as_ref().unwrap_or(&self.url))
    }

    fn require_tags(&self, what: &str) -> Result<(), KeyError> {
        if !self.tags.is_empty() {
            return Ok(());
        }
        let text = format!("keys made by {what} need tags: set tags to those that the client owns, such as tag:web");
        Err(KeyError::Misconfigured(text))
    }

    fn key_refused(&self, status: StatusCode) -> Option<KeyError> {
        let tags = self.tags.join(",");
        match status.as_u16() {
            400 => Some(KeyError::Misconfigured(format!(
                "the tags {tags} must be owned by the OAuth client or federated identity (tagOwners in the tailnet policy)"
            ))),
            401 | 403 => Some(KeyError::Refused(format!(
                "give the OAuth client or federated identity the scope auth_keys for writing, with the tags {tags}"
            ))),
            404 if self.tailnet == OWN_TAILNET => Some(KeyError::Misconfigured("check api_url".into())),
            404 => {
                let text = format!("there is no tailnet {} for it: leave out tailnet", self.tailnet);
                Some(KeyError::Misconfigured(text))
            }
            _ => None,
        }
    }
}

fn client_refused(status: StatusCode) -> Option<KeyError> {
    token_refused(
        status,
        "the OAuth client is not known: it may have been revoked; create one with the scope auth_keys and put its secret \
         in the place of this one",
    )
}

fn identity_refused(status: StatusCode) -> Option<KeyError> {
    token_refused(
        status,
        "the identity token is not accepted: check oauth_client_id, and that issuer, subject and audience of the token \
         are those of the federated identity",
    )
}

fn token_refused(status: StatusCode, meaning: &str) -> Option<KeyError> {
    match status.as_u16() {
        400 | 401 | 403 => Some(KeyError::Refused(meaning.into())),
        404 => Some(KeyError::Misconfigured("check api_url".into())),
        _ => None,
    }
}
