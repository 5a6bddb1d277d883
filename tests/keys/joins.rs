//! Tests that a key of each source joins the real headscale.

use serde_json::json;
use testbed::moto::Moto;
use testbed::tailscale_api::{CLIENT_ID, CLIENT_SECRET, TAG, TailscaleApi};

use crate::scene::{READY, in_aws, key, keyless, live, stored, tailnet, with_api};

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

/// A version that is being rotated in can be chosen.
#[test]
fn a_pending_version_is_used_where_it_is_asked_for() {
    let tailnet = tailnet();
    let moto = Moto::start(&tailnet).expect("moto");
    moto.store("ts", "still in use").expect("stored");
    moto.propose("ts", &key(&tailnet)).expect("proposed");
    let builder = stored(keyless(&tailnet, "pending"), &moto, "ts").env("TETHERD_AUTH_SECRET_STAGE", "AWSPENDING");
    let mut daemon = builder.start().expect("starts");
    daemon.wait_ready(READY).unwrap_or_else(|error| panic!("{error}\n{}", tailnet.log()));
}
