//! The auth key from Secrets Manager, by the function's own credentials.

use serde_json::json;
use testbed::KeyOptions;
use testbed::lambda::{Builder, Environment};
use testbed::moto::{Moto, REGION};

use crate::scene::{Scene, URL};

/// A function whose key is to come from the secret `name`.
fn function(scene: &Scene, moto: &Moto, name: &str) -> Builder {
    scene
        .python()
        .env_remove("TETHERD_AUTH_KEY")
        .env("TETHERD_AUTH_SECRET", name)
        .env("TETHERD_CA_FILE", "/opt/ssl/control.pem")
        .env("AWS_REGION", REGION)
        .env("AWS_ACCESS_KEY_ID", "ASIAFUNCTION")
        .env("AWS_SECRET_ACCESS_KEY", "the-functions-own-secret")
        .env("AWS_SESSION_TOKEN", "the-functions-own-token")
        .env("AWS_ENDPOINT_URL_SECRETS_MANAGER", &moto.url())
}

/// Whether or not it answers, the secret stays out of the log.
fn invoke(environment: &Environment, secret: &str) -> Option<serde_json::Value> {
    let answer = environment.invoke(&json!({ "get": URL })).ok();
    assert!(!environment.log().contains(secret), "{}", environment.log());
    answer
}

#[test]
fn a_function_joins_with_the_key_in_its_secret() {
    let scene = Scene::new();
    let moto = Moto::start(&scene.tailnet).expect("moto");
    let key = scene.tailnet.auth_key(KeyOptions { reusable: true, ephemeral: true }).expect("a key");
    let arn = moto.store("tailnet-key", &key).expect("stored");
    let environment = function(&scene, &moto, &arn).start().expect("starts");
    let answer = invoke(&environment, &key).expect("answers");
    assert_eq!(answer["status"], 200, "{answer} {}", environment.log());
}

#[test]
fn a_secret_that_is_not_there_is_named_with_the_mend() {
    let scene = Scene::new();
    let moto = Moto::start(&scene.tailnet).expect("moto");
    let environment = function(&scene, &moto, "no-such-secret").start().expect("starts");
    invoke(&environment, "the-functions-own-secret");
    environment.wait_for_log("Extension.InitError").expect("the init fails");
    environment.wait_for_log("no-such-secret").expect("it is named");
}

#[test]
fn a_secret_that_holds_a_wrong_key_is_named() {
    let scene = Scene::new();
    let moto = Moto::start(&scene.tailnet).expect("moto");
    moto.store("tailnet-key", "hskey-auth-0123456789ab-wrong").expect("stored");
    let environment = function(&scene, &moto, "tailnet-key").start().expect("starts");
    invoke(&environment, "hskey-auth-0123456789ab-wrong");
    environment.wait_for_log("refused the auth key").expect("it is named");
}
