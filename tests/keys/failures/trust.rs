//! Tests the certificate of an authority that is not trusted.
//!
//! The setting that fixes it is named, and waiting would not help.

use testbed::moto::Moto;
use testbed::tailscale_api::{CLIENT_SECRET, TAG};

use super::{Case, HIDDEN, MISCONFIGURED};
use crate::scene::{AWS_SECRET, tailnet};

#[test]
fn an_unknown_authority_is_named_at_once() {
    let tailnet = tailnet();
    let moto = Moto::start(&tailnet).expect("moto");
    let secrets_manager = vec![
        ("TETHERD_AUTH_SECRET", "ts".to_owned()),
        ("AWS_ENDPOINT_URL", moto.url()),
        ("AWS_REGION", "eu-west-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "AKIA".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", AWS_SECRET.to_owned()),
    ];
    let api = vec![
        ("TETHERD_OAUTH_CLIENT_SECRET", CLIENT_SECRET.to_owned()),
        ("TETHERD_API_URL", moto.url()),
        ("TETHERD_TAGS", TAG.to_owned()),
    ];
    let headscale =
        vec![("TETHERD_AUTH_KEY", format!("hskey-api-{HIDDEN}")), ("TETHERD_CONTROL_URL", tailnet.control_url())];
    for (name, settings, part) in [
        ("Secrets Manager", secrets_manager, "Secrets Manager cannot be asked"),
        ("Tailscale's API", api, "Tailscale's API at 127.0.0.1:443"),
        ("Headscale's API", headscale, "Headscale's API at 127.0.0.1:8443"),
    ] {
        Case { name, settings, ends: MISCONFIGURED, parts: vec![part, "not trusted", "set ca_file"] }.run();
    }
}
