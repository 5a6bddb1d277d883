//! Addresses by plain HTTP: no credential is sent there.
//!
//! They are named by something else than the settings.

use std::net::SocketAddr;

use serde_json::json;
use testbed::api::Api;
use testbed::netns::OWN_ADDRESS;
use testbed::tailscale_api::{CLIENT_SECRET, TAG};

use super::{Case, HIDDEN, MISCONFIGURED, always};
use crate::scene::{AWS_SECRET, AWS_SESSION};

/// Settings by which AWS gives `secret`, as those of Lambda are.
fn stored(secret: &str) -> Vec<(&'static str, String)> {
    let answer = json!({ "ARN": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:ts", "SecretString": secret });
    in_aws(always((200, answer.to_string())))
}

fn in_aws(endpoint: String) -> Vec<(&'static str, String)> {
    vec![
        ("TETHERD_AUTH_SECRET", "ts".into()),
        ("TETHERD_TAGS", TAG.into()),
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_REGION", "eu-west-1".into()),
        ("AWS_ACCESS_KEY_ID", "AKIA".into()),
        ("AWS_SECRET_ACCESS_KEY", AWS_SECRET.into()),
        ("AWS_SESSION_TOKEN", AWS_SESSION.into()),
    ]
}

#[test]
fn a_credential_is_never_sent_and_the_daemon_ends_at_once_and_says_what_to_change() {
    testbed::netns::enter_new().expect("a network namespace");
    let address: SocketAddr = format!("{OWN_ADDRESS}:0").parse().expect("an address");
    let network = Api::start_at(address, "", |_| (200, "{}".into())).expect("an API that others could be");
    let url = network.url();
    let with = |mut settings: Vec<(&'static str, String)>, name: &'static str, value: &str| {
        settings.push((name, value.to_owned()));
        settings
    };
    let workflow = vec![
        ("ACTIONS_ID_TOKEN_REQUEST_URL", format!("{url}/token?v=1")),
        ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", HIDDEN.to_owned()),
        ("TS_AUDIENCE", "api.tailscale.com/x".to_owned()),
        ("TETHERD_OAUTH_CLIENT_ID", "T1/k".to_owned()),
        ("TETHERD_TAGS", TAG.to_owned()),
    ];
    let machine = vec![
        ("GCE_METADATA_HOST", url.replace("http://", "")),
        ("TS_AUDIENCE", "api.tailscale.com/x".to_owned()),
        ("TETHERD_OAUTH_CLIENT_ID", "T1/k".to_owned()),
        ("TETHERD_TAGS", TAG.to_owned()),
    ];
    let api_key = format!("hskey-api-{HIDDEN}");
    for (name, settings, parts) in [
        ("Secrets Manager", in_aws(url.clone()), vec!["auth_secret ts", "plain HTTP", "https://"]),
        ("GitHub", workflow, vec!["ACTIONS_ID_TOKEN_REQUEST_URL", "in the clear", "https://"]),
        ("Google", machine, vec!["Google's metadata server", "plain HTTP"]),
        ("a suffix", stored(&format!("{CLIENT_SECRET}?baseURL={url}")), vec!["baseURL", "in the clear", "https://"]),
        (
            "Headscale",
            with(stored(&api_key), "TETHERD_CONTROL_URL", &url),
            vec!["control_url", "in the clear", "https://"],
        ),
    ] {
        Case { name, settings, ends: MISCONFIGURED, parts }.run();
        assert!(network.seen().is_empty(), "{name}: {:?}", network.seen().first().map(|request| request.path.clone()));
    }
}
