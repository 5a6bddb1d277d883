//! Makes auth keys by Tailscale's API, with an access token of an OAuth client.
//!
//! <https://tailscale.com/api#tag/keys>

use std::time::SystemTime;

use hyper::Method;
use serde::Deserialize;
use serde_json::json;
use webhook_outbound::https::TlsError;

use crate::api::{Api, ApiError, Auth, Body, Question, escaped};
use crate::credentials::Credentials;
use crate::key::{KeyState, LIFETIME, StoredKey, Wanted};

const WHOM: &str = "Tailscale's API";

pub struct Tailscale {
    api: Api,
    keys: String,
}

#[derive(Deserialize)]
struct Token {
    access_token: String,
}

#[derive(Deserialize)]
struct Key {
    id: String,
    #[serde(default)]
    key: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    created: String,
    #[serde(default)]
    expires: String,
    revoked: Option<String>,
    #[serde(default)]
    invalid: bool,
    #[serde(default)]
    capabilities: Capabilities,
}

#[derive(Default, Deserialize)]
struct Capabilities {
    #[serde(default)]
    devices: Devices,
}

#[derive(Default, Deserialize)]
struct Devices {
    #[serde(default)]
    create: Create,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Create {
    reusable: bool,
    ephemeral: bool,
    tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Keys {
    keys: Vec<Key>,
}

impl Tailscale {
    pub fn new(url: &str, tailnet: &str) -> Result<Self, TlsError> {
        Ok(Self { api: Api::new(WHOM, url)?, keys: format!("/api/v2/tailnet/{}/keys", escaped(tailnet)) })
    }

    async fn token(&self, credentials: &Credentials) -> Result<String, ApiError> {
        let (id, secret) = (escaped(&credentials.id), escaped(&credentials.key));
        let body = Body::Form(format!("client_id={id}&client_secret={secret}&grant_type=client_credentials"));
        let path = "/api/v2/oauth/token".into();
        let question = Question {
            what: "the OAuth client",
            method: Method::POST,
            path,
            auth: Auth::InBody(&credentials.key),
            body,
        };
        Ok(self.api.ask::<Token>(question).await?.access_token)
    }

    pub async fn create(&self, credentials: &Credentials, wanted: &Wanted) -> Result<StoredKey, ApiError> {
        let token = self.token(credentials).await?;
        let create = json!({
            "reusable": wanted.purpose.is_reusable(),
            "ephemeral": true,
            "preauthorized": true,
            "tags": [wanted.tag],
        });
        let body = Body::Json(json!({
            "capabilities": { "devices": { "create": create } },
            "expirySeconds": LIFETIME.as_secs(),
            "description": wanted.mark,
        }));
        let (path, auth) = (self.keys.clone(), Auth::Bearer(&token));
        let question =
            Question { what: "a new key (is the tag the client's own?)", method: Method::POST, path, auth, body };
        let key: Key = self.api.ask(question).await?;
        Ok(StoredKey { id: key.id, key: key.key, created: key.created, expires: key.expires })
    }

    pub async fn state(&self, credentials: &Credentials, id: &str) -> Result<Option<KeyState>, ApiError> {
        let token = self.token(credentials).await?;
        let question = self.about("the state of a key", Method::GET, id, &token);
        let Some(key) = self.api.find::<Key>(question).await? else { return Ok(None) };
        let create = key.capabilities.devices.create;
        Ok(Some(KeyState {
            expires: humantime::parse_rfc3339(&key.expires).unwrap_or(SystemTime::UNIX_EPOCH),
            // A used single-use key is invalid, as an expired one is, which is told from its time.
            revoked: key.revoked.is_some(),
            used: key.invalid,
            reusable: create.reusable,
            ephemeral: create.ephemeral,
            tags: create.tags.unwrap_or_default(),
        }))
    }

    pub async fn delete(&self, credentials: &Credentials, id: &str) -> Result<(), ApiError> {
        let token = self.token(credentials).await?;
        self.api.tell(self.about("the deletion of a key", Method::DELETE, id, &token)).await
    }

    pub async fn delete_marked(&self, credentials: &Credentials, mark: &str) -> Result<(), ApiError> {
        let token = self.token(credentials).await?;
        let (path, body) = (format!("{}?all=true", self.keys), Body::None);
        let question =
            Question { what: "the list of keys", method: Method::GET, path, auth: Auth::Bearer(&token), body };
        let keys = self.api.ask::<Keys>(question).await?.keys;
        for key in keys.into_iter().filter(|key| key.description == mark && key.revoked.is_none()) {
            self.api.tell(self.about("the deletion of a key", Method::DELETE, &key.id, &token)).await?;
            tracing::warn!(key = key.id, "a key of an earlier attempt was deleted: it was never stored");
        }
        Ok(())
    }

    fn about<'a>(&self, what: &'static str, method: Method, id: &str, token: &'a str) -> Question<'a> {
        let path = format!("{}/{}", self.keys, escaped(id));
        Question { what, method, path, auth: Auth::Bearer(token), body: Body::None }
    }
}
