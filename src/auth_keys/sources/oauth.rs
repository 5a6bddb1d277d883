//! Tailscale's API, as far as keys need it: an access token for an OAuth client or for an identity token, and with it
//! one auth key that lives for minutes. <https://tailscale.com/api>

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::json;

use crate::auth_keys::Fetched;
use crate::auth_keys::credential::{Credential, Wanted};
use crate::auth_keys::error::KeyError;
use crate::auth_keys::https::Https;
use crate::auth_keys::https::json_api::{ApiRequest, RequestBody, call_api, parse_response};
use crate::secret::Secret;
use crate::secret::redactor::{CLIENT_SECRET_PREFIX, Redactor};
use crate::text::percent_encoded;

/// The key is used at once; a start may take its time.
pub const KEY_SECONDS: u64 = 300;

/// The one that the credential belongs to.
const OWN_TAILNET: &str = "-";

const WHOM: &str = "Tailscale's API";

/// What keys are made with.
#[derive(Clone)]
pub struct TailscaleApi {
    pub https: Https,
    pub url: String,
    pub tailnet: String,
    pub tags: Vec<String>,
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
    /// By an OAuth client. Its id is part of the secret.
    pub async fn by_client(&self, id: Option<&str>, credential: Credential) -> Result<Fetched, KeyError> {
        self.tagged("an OAuth client")?;
        self.redactor.learn(&credential.secret);
        let secret = &credential.secret;
        let id =
            id.or_else(|| secret.expose().strip_prefix(CLIENT_SECRET_PREFIX)?.split('-').next()).unwrap_or_default();
        let fields = vec![
            ("client_id", Secret::new(id)),
            ("client_secret", secret.clone()),
            ("grant_type", Secret::new("client_credentials")),
        ];
        let question = ApiRequest::post(self.at(&credential.wanted, "/api/v2/oauth/token"), RequestBody::Form(fields));
        let token = self.token(question, client_refused).await?;
        self.create_key(&token, &credential.wanted).await
    }

    /// By a federated identity: `client` is its id, perhaps with suffixes.
    pub async fn by_identity(&self, client: Credential, token: &Secret) -> Result<Fetched, KeyError> {
        self.tagged("a federated identity")?;
        self.redactor.learn(token);
        let fields = vec![("client_id", client.secret.clone()), ("jwt", token.clone())];
        let question =
            ApiRequest::post(self.at(&client.wanted, "/api/v2/oauth/token-exchange"), RequestBody::Form(fields));
        let token = self.token(question, identity_refused).await?;
        self.create_key(&token, &client.wanted).await
    }

    async fn token(
        &self,
        question: ApiRequest,
        explain: impl FnOnce(StatusCode) -> Option<KeyError>,
    ) -> Result<Secret, KeyError> {
        let body = call_api(&self.https, question, WHOM, explain).await?;
        let token = parse_response::<Token>(&body, WHOM)?.access_token;
        self.redactor.learn(&token);
        Ok(token)
    }

    async fn create_key(&self, token: &Secret, wanted: &Wanted) -> Result<Fetched, KeyError> {
        let create = json!({
            "reusable": false,
            "ephemeral": wanted.ephemeral,
            "preauthorized": wanted.preauthorized,
            "tags": self.tags,
        });
        let body = json!({
            "capabilities": { "devices": { "create": create } },
            "expirySeconds": KEY_SECONDS,
            "description": "tetherd",
        });
        let path = format!("/api/v2/tailnet/{}/keys", percent_encoded(&self.tailnet));
        let question = ApiRequest::post(self.at(wanted, &path), RequestBody::Json(body)).bearer(token);
        let body = call_api(&self.https, question, WHOM, |status| self.key_refused(status)).await?;
        let key: NewKey = parse_response(&body, WHOM)?;
        tracing::debug!(expires = key.expires, "an auth key was made by Tailscale's API");
        Ok(Fetched::made(key.key, [key.created.as_deref(), key.expires.as_deref()]))
    }

    fn at(&self, wanted: &Wanted, path: &str) -> String {
        format!("{}{path}", wanted.api_url.as_ref().unwrap_or(&self.url))
    }

    fn tagged(&self, what: &str) -> Result<(), KeyError> {
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
