//! Each source joins the real headscale.

use std::fs;

use serde_json::json;
use testbed::api::Api;
use testbed::moto::Moto;
use testbed::tailscale_api::{CLIENT_ID, CLIENT_SECRET, FEDERATED_ID, ID_TOKEN, TAG, TailscaleApi};
use testbed::wait::wait_until;

use crate::scene::{AWS_SECRET, READY, in_aws, key, keyless, live, stored, tailnet, with_api};

#[test]
fn a_secret_of_secrets_manager_as_text_and_as_json() {
    let tailnet = tailnet();
    let moto = Moto::start(&tailnet).expect("moto");
    let arn = moto.store("plain", &key(&tailnet)).expect("stored");
    moto.store("json", &json!({ "key": key(&tailnet), "expires": "2030-01-01T00:00:00Z" }).to_string())
        .expect("stored");
    moto.store("field", &json!({ "authkey": key(&tailnet) }).to_string()).expect("stored");
    live(&tailnet, stored(keyless(&tailnet, "plain"), &moto, &arn).env("AWS_REGION", "us-east-1"), "plain");
    let builder = keyless(&tailnet, "lambda").env("SECRET_NAME", "json");
    live(&tailnet, crate::scene::with_credentials(in_aws(builder, &moto)), "lambda");
    let builder = stored(keyless(&tailnet, "field"), &moto, "field").env("TETHERD_AUTH_SECRET_FIELD", "authkey");
    live(&tailnet, builder, "field");
}

#[test]
fn a_secret_by_the_credentials_of_an_ecs_task_and_of_a_pod() {
    let tailnet = tailnet();
    let moto = Moto::start(&tailnet).expect("moto");
    let endpoint = Api::start(|request| match request.header("Authorization") {
        Some("task-token-0123456789") => {
            let credentials = json!({ "AccessKeyId": "ASIAEXAMPLE", "SecretAccessKey": AWS_SECRET,
                "Token": "session-token-0123456789", "Expiration": "2099-01-01T00:00:00Z" });
            (200, credentials.to_string())
        }
        _ => (401, "{}".into()),
    });
    let endpoint = endpoint.expect("endpoint");
    moto.store("ecs", &key(&tailnet)).expect("stored");
    let builder = in_aws(keyless(&tailnet, "ecs"), &moto).env("TETHERD_AUTH_SECRET", "ecs");
    let builder = builder.env("AWS_CONTAINER_CREDENTIALS_FULL_URI", &format!("{}/credentials", endpoint.url()));
    live(&tailnet, builder.env("AWS_CONTAINER_AUTHORIZATION_TOKEN", "task-token-0123456789"), "ecs");
    assert_eq!(endpoint.seen()[0].path, "/credentials");

    moto.store("irsa", &key(&tailnet)).expect("stored");
    let token = tempfile::NamedTempFile::new().expect("file");
    fs::write(token.path(), ID_TOKEN).expect("written");
    let builder = in_aws(keyless(&tailnet, "irsa"), &moto).env("TETHERD_AUTH_SECRET", "irsa");
    let builder = builder.env("AWS_WEB_IDENTITY_TOKEN_FILE", &token.path().to_string_lossy());
    live(&tailnet, builder.env("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/app"), "irsa");
}

#[test]
fn an_oauth_client_by_its_settings_and_as_an_auth_key() {
    let tailnet = tailnet();
    let api = TailscaleApi::start(vec![key(&tailnet), key(&tailnet), key(&tailnet)]).expect("API");
    let builder = with_api(keyless(&tailnet, "client"), &api).env("TS_CLIENT_ID", CLIENT_ID);
    live(&tailnet, builder.env("TS_CLIENT_SECRET", CLIENT_SECRET), "client");
    let builder = with_api(keyless(&tailnet, "as-key"), &api);
    live(&tailnet, builder.env("TS_AUTHKEY", &format!("{CLIENT_SECRET}?preauthorized=false")), "as-key");
    let made: Vec<_> = api.created().iter().map(|body| body["capabilities"]["devices"]["create"].clone()).collect();
    let create =
        |preauthorized| json!({ "reusable": false, "ephemeral": true, "preauthorized": preauthorized, "tags": [TAG] });
    assert_eq!(made, [create(true), create(false)]);
    assert_eq!(api.created()[0]["expirySeconds"], 300);
}

#[test]
fn a_federated_identity_by_its_token_file_and_by_github() {
    let tailnet = tailnet();
    let api = TailscaleApi::start(vec![key(&tailnet), key(&tailnet)]).expect("API");
    let token = tempfile::NamedTempFile::new().expect("file");
    fs::write(token.path(), ID_TOKEN).expect("written");
    let federated = |name| with_api(keyless(&tailnet, name), &api).env("TETHERD_OAUTH_CLIENT_ID", FEDERATED_ID);
    let file = token.path().to_string_lossy();
    live(&tailnet, federated("pod").env("TETHERD_ID_TOKEN_FILE", &file), "pod");

    let github = Api::start(|request| match (request.path.as_str(), request.header("Authorization")) {
        ("/token?v=1&audience=api.tailscale.com%2FkFederated1CNTRL", Some("Bearer workflow-token-0123456789")) => {
            (200, json!({ "value": ID_TOKEN }).to_string())
        }
        _ => (403, "{}".into()),
    });
    let url = format!("{}/token?v=1", github.expect("GitHub").url());
    let builder = federated("workflow").env("ACTIONS_ID_TOKEN_REQUEST_URL", &url);
    let builder = builder.env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "workflow-token-0123456789");
    live(&tailnet, builder.env("TS_AUDIENCE", "api.tailscale.com/kFederated1CNTRL"), "workflow");
}

#[test]
fn an_api_key_of_headscale_with_tags_and_for_the_one_user() {
    let tailnet = tailnet();
    let api_key = tailnet.create_api_key().expect("API key");
    live(&tailnet, keyless(&tailnet, "user").env("TETHERD_AUTH_KEY", &api_key), "user");
    let moto = Moto::start(&tailnet).expect("moto");
    moto.store("api-key", &api_key).expect("stored");
    let builder = stored(keyless(&tailnet, "tagged"), &moto, "api-key").env("TETHERD_TAGS", TAG);
    let mut daemon = builder.start().expect("starts");
    daemon.wait_ready(READY).unwrap_or_else(|error| panic!("{error}\n{}", tailnet.log()));
    let node = tailnet.node("tagged").expect("nodes").expect("is there");
    assert_eq!(node.tags, [TAG]);
}

#[test]
fn a_login_that_is_needed_again_takes_the_key_as_it_is_then() {
    let tailnet = tailnet();
    let moto = Moto::start(&tailnet).expect("moto");
    moto.store("rotated", &key(&tailnet)).expect("stored");
    let mut daemon = stored(keyless(&tailnet, "rotated"), &moto, "rotated").start().expect("starts");
    daemon.wait_ready(READY).expect("gets ready");
    moto.replace("rotated", &key(&tailnet)).expect("replaced");
    tailnet.expire_node("rotated").expect("expired");
    wait_until("it notices", READY, || (daemon.readyz().ok()?.0 == 503).then_some(())).expect("notices");
    daemon.wait_ready(READY).unwrap_or_else(|error| panic!("{error}\n{}", tailnet.log()));
}
