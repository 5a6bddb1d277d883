//! Stands in for AWS's credential endpoints and for a strict Secrets Manager.
//!
//! It imitates what gives out credentials (STS, containers' and instances' endpoints) and a Secrets Manager that wants
//! to know who asks: strict about every request. Where nobody's identity matters, moto is the AWS.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use serde_json::json;

use crate::api::{Api, Reply, Request};
use crate::region::REGION;

pub const ROLE: &str = "arn:aws:iam::123456789012:role/app";
/// An instance's metadata service says with its token how long that lives.
const TOKEN_LIVES: &str = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds: 21600\r\n";
/// Where a task of ECS finds its credentials.
pub const TASK_PATH: &str = "/v2/credentials/7a3c0000-task";
pub const POD_PATH: &str = "/v1/credentials";
/// Of whoever asks for an identity token.
pub const AUDIENCE: &str = "api.tailscale.com/kFederated1CNTRL";

/// The access key of each source of credentials.
pub const PROFILE: &str = "AKIAPROFILE000000001";
pub const PROCESS: &str = "AKIAPROCESS000000001";
pub const ASSUMED: &str = "ASIAASSUMED000000001";
pub const WEB_IDENTITY: &str = "ASIAWEBIDENT00000001";
pub const TASK: &str = "ASIATASK000000000001";
pub const POD: &str = "ASIAPOD0000000000001";
pub const INSTANCE: &str = "ASIAINSTANCE00000001";

/// The secret half of an access key.
pub fn secret_of(access_key: &str) -> String {
    format!("secret-{access_key}-wJalrXUtnFEMIK7MDENG")
}

/// Temporary credentials come with one.
pub fn session_of(access_key: &str) -> Option<String> {
    access_key.starts_with("ASIA").then(|| format!("session-{access_key}-FwoGZXIvYXdzEBY"))
}

#[derive(Default)]
struct State {
    /// Auth keys, handed out one a question.
    keys: Vec<String>,
    /// Who asked for one.
    signers: Vec<String>,
    /// What proves a pod's identity now.
    token: String,
    identity_token: String,
}

/// A running AWS.
#[derive(Clone)]
pub struct Aws {
    pub api: Api,
    state: Arc<Mutex<State>>,
}

impl Aws {
    /// Its Secrets Manager hands out `keys`.
    pub fn start(keys: Vec<String>) -> Result<Self> {
        let state = Arc::new(Mutex::new(State { keys, ..State::default() }));
        let shared = Arc::clone(&state);
        Ok(Self { api: Api::start(move |request| answer(request, &mut locked(&shared)))?, state })
    }

    /// Answers at this address as well.
    pub fn also_at(&self, address: SocketAddr) -> Result<Api> {
        let shared = Arc::clone(&self.state);
        Api::start_at(address, TOKEN_LIVES, move |request| answer(request, &mut locked(&shared)))
            .with_context(|| format!("cannot listen at {address}"))
    }

    /// From now on a pod proves its identity with this token alone.
    pub fn accept(&self, token: &str) {
        token.clone_into(&mut locked(&self.state).token);
    }

    /// What STS gives as an identity token.
    pub fn vouch_with(&self, token: &str) {
        token.clone_into(&mut locked(&self.state).identity_token);
    }

    /// The access keys by which secrets were asked for.
    pub fn signers(&self) -> Vec<String> {
        locked(&self.state).signers.clone()
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer(request: &Request, state: &mut State) -> Reply {
    match (request.method.as_str(), request.path.as_str()) {
        ("POST", "/") if request.header("X-Amz-Target") == Some("secretsmanager.GetSecretValue") => {
            secret(request, state)
        }
        ("POST", "/") => sts(request, state),
        ("GET", TASK_PATH) => (200, container_credentials(TASK)),
        ("GET", POD_PATH) if request.header("Authorization") == Some(state.token.as_str()) => {
            (200, container_credentials(POD))
        }
        ("GET", POD_PATH) => (401, json!({ "message": "the token is not accepted" }).to_string()),
        (_, path) if path.starts_with("/latest/") => instance(request),
        _ => (404, String::new()),
    }
}

/// The access key that a request is signed with for this service, with its session's token.
fn signer(request: &Request, service: &str) -> Option<String> {
    let credential = request.header("Authorization")?.strip_prefix("AWS4-HMAC-SHA256 Credential=")?;
    let parts: Vec<&str> = credential.split_once(',')?.0.split('/').collect();
    let [access_key, _, REGION, wanted, "aws4_request"] = parts.as_slice() else { return None };
    let token = request.header("X-Amz-Security-Token").map(str::to_owned);
    (*wanted == service && token == session_of(access_key)).then(|| (*access_key).to_owned())
}

fn secret(request: &Request, state: &mut State) -> Reply {
    let Some(signer) = signer(request, "secretsmanager") else {
        let fault = json!({ "__type": "UnrecognizedClientException", "Message": "who asks?" });
        return (400, fault.to_string());
    };
    state.signers.push(signer);
    match state.keys.pop() {
        Some(key) => (200, json!({ "ARN": "arn", "Name": "ts", "VersionId": "v", "SecretString": key }).to_string()),
        None => (500, json!({ "__type": "InternalServiceError", "Message": "no more keys" }).to_string()),
    }
}

fn sts(request: &Request, state: &State) -> Reply {
    let field = |name| request.field(name).unwrap_or_default();
    match field("Action").as_str() {
        "AssumeRole" if field("RoleArn") == ROLE && signer(request, "sts").as_deref() == Some(PROFILE) => {
            (200, sts_credentials("AssumeRole", ASSUMED))
        }
        "AssumeRoleWithWebIdentity" if field("RoleArn") == ROLE && field("WebIdentityToken") == state.token => {
            (200, sts_credentials("AssumeRoleWithWebIdentity", WEB_IDENTITY))
        }
        "GetWebIdentityToken" if asks_for_identity(request) && signer(request, "sts").is_some() => {
            let token = &state.identity_token;
            (200, result("GetWebIdentityToken", &format!("<WebIdentityToken>{token}</WebIdentityToken>")))
        }
        _ => (403, "<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>".into()),
    }
}

fn asks_for_identity(request: &Request) -> bool {
    let is = |name, value: &str| request.field(name).as_deref() == Some(value);
    is("Audience.member.1", AUDIENCE) && is("SigningAlgorithm", "ES384") && is("DurationSeconds", "300")
}

fn sts_credentials(action: &str, access_key: &str) -> String {
    let (secret, session) = (secret_of(access_key), session_of(access_key).unwrap_or_default());
    let credentials = format!(
        "<Credentials><AccessKeyId>{access_key}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>\
         <SessionToken>{session}</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>"
    );
    result(action, &credentials)
}

fn result(action: &str, body: &str) -> String {
    format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result>{body}</{action}Result>\
         </{action}Response>"
    )
}

fn container_credentials(access_key: &str) -> String {
    let credentials = json!({
        "Code": "Success",
        "AccessKeyId": access_key,
        "SecretAccessKey": secret_of(access_key),
        "Token": session_of(access_key),
        "Expiration": "2099-01-01T00:00:00Z",
    });
    credentials.to_string()
}

/// An instance's metadata, version 2.
fn instance(request: &Request) -> Reply {
    const TOKEN: &str = "metadata-token-0123456789";
    let is_known = request.header("X-Aws-Ec2-Metadata-Token") == Some(TOKEN);
    match (request.method.as_str(), request.path.strip_prefix("/latest/").unwrap_or_default()) {
        ("PUT", "api/token") if request.header("X-Aws-Ec2-Metadata-Token-Ttl-Seconds").is_some() => {
            (200, TOKEN.to_owned())
        }
        _ if !is_known => (401, String::new()),
        ("GET", "meta-data/placement/region") => (200, REGION.to_owned()),
        ("GET", "meta-data/iam/security-credentials/") => (200, "app".to_owned()),
        ("GET", "meta-data/iam/security-credentials/app") => (200, container_credentials(INSTANCE)),
        _ => (404, String::new()),
    }
}
