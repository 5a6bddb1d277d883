//! Makes pre-auth keys with an API key, by Headscale's API.
//!
//! <https://headscale.net/stable/ref/api/>

use std::time::SystemTime;

use hyper::Method;
use serde::Deserialize;
use serde_json::json;
use webhook_outbound::https::TlsError;

use crate::api::{Api, ApiError, Auth, Body, Question, escaped};
use crate::credentials::Credentials;
use crate::key::{KeyState, LIFETIME, StoredKey, Wanted};

const WHOM: &str = "Headscale's API";
const PATH: &str = "/api/v1/preauthkey";

pub struct Headscale {
    api: Api,
}

/// Numbers are texts, as protocol buffers have them in JSON.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PreAuthKey {
    id: String,
    #[serde(default)]
    key: String,
    #[serde(default)]
    reusable: bool,
    #[serde(default)]
    ephemeral: bool,
    #[serde(default)]
    used: bool,
    expiration: Option<String>,
    created_at: Option<String>,
    #[serde(default)]
    acl_tags: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Created {
    pre_auth_key: PreAuthKey,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    #[serde(default)]
    pre_auth_keys: Vec<PreAuthKey>,
}

impl Headscale {
    pub fn new(url: &str) -> Result<Self, TlsError> {
        Ok(Self { api: Api::new(WHOM, url)? })
    }

    pub async fn create(&self, credentials: &Credentials, wanted: &Wanted) -> Result<StoredKey, ApiError> {
        let expires = humantime::format_rfc3339_seconds(SystemTime::now() + LIFETIME).to_string();
        // A tagged key belongs to no user.
        let body = Body::Json(json!({
            "reusable": wanted.purpose.is_reusable(),
            "ephemeral": true,
            "expiration": expires,
            "aclTags": [wanted.tag],
        }));
        let question = ask("a new key", Method::POST, PATH.into(), credentials, body);
        let key = self.api.ask::<Created>(question).await?.pre_auth_key;
        let created =
            key.created_at.unwrap_or_else(|| humantime::format_rfc3339_seconds(SystemTime::now()).to_string());
        Ok(StoredKey { id: key.id, key: key.key, created, expires: key.expiration.unwrap_or(expires) })
    }

    pub async fn state(&self, credentials: &Credentials, id: &str) -> Result<Option<KeyState>, ApiError> {
        let question = ask("the list of keys", Method::GET, PATH.into(), credentials, Body::None);
        let keys = self.api.ask::<Listed>(question).await?.pre_auth_keys;
        Ok(keys.into_iter().find(|key| key.id == id).map(|key| KeyState {
            expires: expiry(key.expiration.as_deref()),
            // A revoked key is one that expired at that time.
            revoked: false,
            used: key.used,
            reusable: key.reusable,
            ephemeral: key.ephemeral,
            tags: key.acl_tags,
        }))
    }

    pub async fn delete(&self, credentials: &Credentials, id: &str) -> Result<(), ApiError> {
        // Deleting what is not there is an error of the database, 500.
        if self.state(credentials, id).await?.is_none() {
            return Ok(());
        }
        let path = format!("{PATH}?id={}", escaped(id));
        self.api.tell(ask("the deletion of a key", Method::DELETE, path, credentials, Body::None)).await
    }
}

fn ask<'a>(what: &'static str, method: Method, path: String, credentials: &'a Credentials, body: Body) -> Question<'a> {
    Question { what, method, path, auth: Auth::Bearer(&credentials.key), body }
}

/// No expiration is long ago: such a key joins nothing.
fn expiry(text: Option<&str>) -> SystemTime {
    text.and_then(|text| humantime::parse_rfc3339(text).ok()).unwrap_or(SystemTime::UNIX_EPOCH)
}
