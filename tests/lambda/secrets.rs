//! Tests the auth key from Secrets Manager in a function.
//!
//! It is asked at the address that AWS has, by the function's own credentials, over TLS that is trusted for the sake of
//! `/opt/ssl` alone.

use serde_json::json;
use testbed::KeyOptions;
use testbed::api::Api;
use testbed::lambda::{Builder, Environment};
use testbed::moto::Moto;
use testbed::region::{REGION, secrets_manager_host};

use crate::scene::{Scene, URL};

const OWN_SECRET: &str = "the-functions-own-secret";

/// A function whose key is to come from the secret `name`.
fn function(scene: &Scene, name: &str) -> Builder {
    scene
        .python()
        .env_remove("TETHERD_AUTH_KEY")
        .env("TETHERD_AUTH_SECRET", name)
        .env("AWS_REGION", REGION)
        .env("AWS_ACCESS_KEY_ID", "ASIAFUNCTION")
        .env("AWS_SECRET_ACCESS_KEY", OWN_SECRET)
        .env("AWS_SESSION_TOKEN", "the-functions-own-token")
        .host(&secrets_manager_host())
}

/// Whether or not it answers, the secret stays out of the log.
fn invoke(environment: &Environment, secret: &str) -> Option<serde_json::Value> {
    let answer = environment.invoke(&json!({ "get": URL })).ok();
    assert!(!environment.log().contains(secret), "{}", environment.log());
    answer
}

/// The init fails, the log says what mends it, and does not have `secret`.
fn fails(builder: Builder, secret: &str, mend: &str) {
    let environment = builder.start().expect("starts");
    invoke(&environment, secret);
    environment.wait_for_log("Extension.InitError").expect("the init fails");
    environment.wait_for_log(mend).expect("it is named");
}

#[test]
fn a_function_joins_with_the_key_in_its_secret() {
    let scene = Scene::new();
    let moto = Moto::start(&scene.tailnet).expect("moto");
    let key = scene.tailnet.auth_key(KeyOptions { reusable: true, ephemeral: true }).expect("a key");
    let arn = moto.store("tailnet-key", &key).expect("stored");
    let environment = function(&scene, &arn).start().expect("starts");
    let answer = invoke(&environment, &key).expect("answers");
    assert_eq!(answer["status"], 200, "{answer} {}", environment.log());
}

#[test]
fn an_aws_that_no_root_vouches_for_is_not_asked_and_the_mend_is_named() {
    let scene = Scene::new();
    let moto = Moto::start(&scene.tailnet).expect("moto");
    moto.store("tailnet-key", "hskey-auth-0123456789ab-unseen").expect("stored");
    let builder = function(&scene, "tailnet-key").env("TETHERD_START_TIMEOUT", "2s");
    std::fs::remove_file(builder.layer().join("ssl/control.pem")).expect("removed");
    let mend = "from an authority that is not trusted: set ca_file if that is your own";
    fails(builder, "hskey-auth-0123456789ab-unseen", mend);
}

/// AWS, which answers nothing but this fault. moto's own access control answers in the words of another protocol.
fn refusing(code: &str, message: &str) -> Api {
    let body = json!({ "__type": code, "Message": message }).to_string();
    Api::start(move |_| (400, body.clone())).expect("an API")
}

const DENIED: &str = "User: arn:aws:sts::123456789012:assumed-role/function/my_function is not authorized to perform: \
                      secretsmanager:GetSecretValue on resource: tailnet-key because no identity-based policy allows \
                      the secretsmanager:GetSecretValue action";

#[test]
fn a_denied_secret_is_named_with_the_mend() {
    let scene = Scene::new();
    let api = refusing("AccessDeniedException", DENIED);
    let builder = function(&scene, "tailnet-key").env("AWS_ENDPOINT_URL_SECRETS_MANAGER", &api.url());
    let mend = "auth_secret tailnet-key: access is denied: allow the role secretsmanager:GetSecretValue";
    fails(builder, OWN_SECRET, mend);
}

#[test]
fn with_continue_a_denied_secret_leaves_the_function_running_and_its_connections_told() {
    let scene = Scene::new();
    let api = refusing("AccessDeniedException", DENIED);
    let builder = function(&scene, "tailnet-key").env("AWS_ENDPOINT_URL_SECRETS_MANAGER", &api.url());
    let environment = builder.env("TETHERD_LAMBDA_ON_FAILURE", "continue").start().expect("starts");
    let answer = invoke(&environment, OWN_SECRET).expect("answers");
    assert_eq!(answer["status"], 502, "{answer}");
    assert!(answer["body"].as_str().expect("text").contains("secretsmanager:GetSecretValue"), "{answer}");
    environment.shut_down().expect("ends");
}

/// As the template makes it.
#[test]
fn a_secret_that_holds_no_key_yet_is_named_with_the_mend() {
    let scene = Scene::new();
    let message = "Secrets Manager can't find the specified secret value for staging label: AWSCURRENT";
    let api = refusing("ResourceNotFoundException", message);
    let builder = function(&scene, "tailnet-key").env("AWS_ENDPOINT_URL_SECRETS_MANAGER", &api.url());
    fails(builder, OWN_SECRET, "tailnet-key: it has no version AWSCURRENT: put the key in");
}

#[test]
fn a_secret_that_is_not_there_is_named_with_the_mend() {
    let scene = Scene::new();
    let _moto = Moto::start(&scene.tailnet).expect("moto");
    let builder = function(&scene, "no-such-secret");
    fails(builder, OWN_SECRET, "no-such-secret: there is no such secret: check its name");
}

#[test]
fn a_secret_that_holds_a_wrong_key_is_named() {
    let scene = Scene::new();
    let moto = Moto::start(&scene.tailnet).expect("moto");
    moto.store("tailnet-key", "hskey-auth-0123456789ab-wrong").expect("stored");
    let environment = function(&scene, "tailnet-key").start().expect("starts");
    invoke(&environment, "hskey-auth-0123456789ab-wrong");
    environment.wait_for_log("refused the auth key").expect("it is named");
    environment.wait_for_log("create a new key").expect("with the mend");
}
