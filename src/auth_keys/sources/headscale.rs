//! Headscale's API: a pre-auth key made with an API key. Tagged keys belong to nobody; without tags the key is for the
//! one user that there is. <https://headscale.net/stable/ref/api/>

use std::time::{Duration, SystemTime};

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::json;

use crate::auth_keys::Fetched;
use crate::auth_keys::credential::Credential;
use crate::auth_keys::error::KeyError;
use crate::auth_keys::https::Https;
use crate::auth_keys::https::json_api::{ApiRequest, RequestBody, call_api, parse_response};
use crate::auth_keys::sources::oauth::KEY_SECONDS;
use crate::secret::Secret;
use crate::secret::redactor::Redactor;

const WHOM: &str = "Headscale's API";

/// What keys are made with.
#[derive(Clone)]
pub struct Headscale {
    pub https: Https,
    /// `None` where no control server is set.
    pub url: Option<String>,
    pub tags: Vec<String>,
    pub redactor: Redactor,
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

/// Numbers are texts, as protocol buffers have them in JSON.
#[derive(Deserialize)]
struct User {
    id: String,
}

impl Headscale {
    pub async fn create_key(&self, api_key: Credential) -> Result<Fetched, KeyError> {
        self.redactor.learn(&api_key.secret);
        let url = self.url.as_deref().ok_or_else(|| {
            let text = "the secret is an API key of Headscale: set control_url to Headscale's address";
            KeyError::Misconfigured(text.into())
        })?;
        let expires = SystemTime::now() + Duration::from_secs(KEY_SECONDS);
        let mut body = json!({
            "reusable": false,
            "ephemeral": api_key.wanted.ephemeral,
            "expiration": humantime::format_rfc3339_seconds(expires).to_string(),
        });
        if self.tags.is_empty() {
            body["user"] = self.only_user(url, &api_key.secret).await?.into();
        } else {
            body["aclTags"] = self.tags.clone().into();
        }
        let question =
            ApiRequest::post(format!("{url}/api/v1/preauthkey"), RequestBody::Json(body)).bearer(&api_key.secret);
        let body = call_api(&self.https, question, WHOM, refused).await?;
        let key = parse_response::<Created>(&body, WHOM)?.pre_auth_key;
        Ok(Fetched::made(key.key, [key.created_at.as_deref(), key.expiration.as_deref()]))
    }

    async fn only_user(&self, url: &str, api_key: &Secret) -> Result<String, KeyError> {
        let question = ApiRequest::get(format!("{url}/api/v1/user")).bearer(api_key);
        let body = call_api(&self.https, question, WHOM, refused).await?;
        match parse_response::<Users>(&body, WHOM)?.users.as_slice() {
            [user] => Ok(user.id.clone()),
            users => Err(KeyError::Misconfigured(format!(
                "Headscale has {} users, and none is named for this node: set tags, such as tag:web",
                users.len()
            ))),
        }
    }
}

fn refused(status: StatusCode) -> Option<KeyError> {
    match status.as_u16() {
        401 | 403 => Some(KeyError::Refused(
            "the API key is not accepted: it may have expired; create one with `headscale apikeys create`".into(),
        )),
        404 => Some(KeyError::Misconfigured("is control_url Headscale's address?".into())),
        _ => None,
    }
}
