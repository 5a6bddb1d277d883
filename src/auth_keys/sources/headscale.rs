//! Makes a pre-auth key with an API key, by Headscale's API.
//!
//! A key with tags belongs to no user; without tags it is for the only user of the server.
//! <https://headscale.net/stable/ref/api/>

use std::time::{Duration, SystemTime};

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::json;

use crate::auth_keys::context::KeyContext;
use crate::auth_keys::credential::Credential;
use crate::auth_keys::error::KeyError;
use crate::auth_keys::fetched::{Fetched, KEY_SECONDS, KeyTimes};
use crate::auth_keys::https::Https;
use crate::auth_keys::https::json_api::{ApiRequest, RequestBody, call_api, parse_response};
use crate::config::types::address::ControlUrl;
use crate::secret::Secret;
use crate::secret::redactor::Redactor;

const WHOM: &str = "Headscale's API";

/// A client of Headscale's API that makes pre-auth keys.
#[derive(Clone)]
pub struct Headscale {
    https: Https,
    /// Address of the control server; `None` when none is set.
    url: Option<String>,
    /// Tags that keys are made with.
    tags: Vec<String>,
    redactor: Redactor,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Created {
    pre_auth_key: PreAuthKey,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PreAuthKey {
    key: Secret,
    created_at: Option<String>,
    expiration: Option<String>,
}

#[derive(Deserialize)]
struct Users {
    users: Vec<User>,
}

/// A user of Headscale. Its id is a string, as all 64-bit numbers are in the JSON of protocol buffers.
#[derive(Deserialize)]
struct User {
    id: String,
}

impl Headscale {
    pub fn new(context: &KeyContext<'_>, https: &Https) -> Self {
        Self {
            https: https.clone(),
            url: context.control_url.map(str::to_owned),
            tags: context.tags.clone(),
            redactor: context.redactor.clone(),
        }
    }

    /// Makes a pre-auth key that can be used once, with the tags, or without tags for the only user.
    pub async fn create_key(&self, api_key: Credential) -> Result<Fetched, KeyError> {
        self.redactor.learn(&api_key.secret);
        let url = self.url.as_deref().ok_or_else(|| {
            let text = "the secret is an API key of Headscale: set control_url to Headscale's address";
            KeyError::Misconfigured(text.into())
        })?;
        if ControlUrl(url.to_owned()).is_in_the_clear() {
            let text =
                "the secret is an API key of Headscale, which control_url would send in the clear: use https:// there";
            return Err(KeyError::Misconfigured(text.into()));
        }
        let expires = SystemTime::now() + Duration::from_secs(KEY_SECONDS);
        let mut body = json!({
            "reusable": false,
            "ephemeral": api_key.options.ephemeral,
            "expiration": humantime::format_rfc3339_seconds(expires).to_string(),
        });
        if self.tags.is_empty() {
            body["user"] = self.only_user(url, &api_key.secret).await?.into();
        } else {
            body["aclTags"] = self.tags.clone().into();
        }
        let request =
            ApiRequest::post(format!("{url}/api/v1/preauthkey"), RequestBody::Json(body)).bearer(&api_key.secret);
        let body = call_api(&self.https, request, WHOM, explain_status).await?;
        let key = parse_response::<Created>(&body, WHOM)?.pre_auth_key;
        let times = KeyTimes { created: key.created_at.as_deref(), expires: key.expiration.as_deref() };
        Ok(Fetched::made(key.key, &times))
    }

    async fn only_user(&self, url: &str, api_key: &Secret) -> Result<String, KeyError> {
        let request = ApiRequest::get(format!("{url}/api/v1/user")).bearer(api_key);
        let body = call_api(&self.https, request, WHOM, explain_status).await?;
        match parse_response::<Users>(&body, WHOM)?.users.as_slice() {
            [user] => Ok(user.id.clone()),
            users => Err(KeyError::Misconfigured(format!(
                "Headscale has {} users, and none is named for this node: set tags, such as tag:web",
                users.len()
            ))),
        }
    }
}

fn explain_status(status: StatusCode) -> Option<KeyError> {
    match status.as_u16() {
        401 | 403 => Some(KeyError::Refused(
            "the API key is not accepted: it may have expired; create one with `headscale apikeys create`".into(),
        )),
        404 => Some(KeyError::Misconfigured("is control_url Headscale's address?".into())),
        _ => None,
    }
}
