//! Tests failures of a real headscale's API, and of a server that is none.

use testbed::tailnet::Tailnet;

use super::{Case, Ends, HIDDEN, MISCONFIGURED, REFUSED, always, fault};
use crate::scene::tailnet;

fn case(name: &'static str, tailnet: &Tailnet, api_key: &str, ends: Ends, parts: &[&'static str]) -> Case {
    let settings = vec![
        ("TETHERD_CONTROL_URL", tailnet.control_url()),
        ("TETHERD_CA_FILE", tailnet.ca_file().to_string_lossy().into_owned()),
        ("TETHERD_AUTH_KEY", api_key.to_owned()),
    ];
    Case { name, settings, ends, parts: parts.to_vec() }
}

#[test]
fn headscale_says_no() {
    let tailnet = tailnet();
    let api_key = tailnet.create_api_key().expect("API key");
    let unknown = format!("hskey-api-abcdefghijkl-{HIDDEN}");
    case("unknown", &tailnet, &unknown, REFUSED, &["401", "not accepted", "headscale apikeys create"]).run();
    tailnet.create_another_user("second").expect("a user");
    case("many users", &tailnet, &api_key, MISCONFIGURED, &["Headscale has 2 users", "set tags"]).run();
    for user in ["second", "tester"] {
        tailnet.destroy_user(user).expect("gone");
    }
    case("no user", &tailnet, &api_key, MISCONFIGURED, &["Headscale has 0 users", "set tags"]).run();
}

#[test]
fn another_program_or_trouble_in_its_place() {
    testbed::netns::enter_new().expect("a network namespace");
    for (name, reply, ends, parts) in [
        ("no Headscale", fault(404, "not found"), MISCONFIGURED, vec!["404", "control_url"]),
        ("throttled", fault(429, "slow down"), Ends::Late, vec!["429", "slow down"]),
        ("in trouble", fault(500, &format!("hskey-api-{HIDDEN}")), Ends::Late, vec!["500", "***"]),
        ("a page", (200, "<html>".into()), Ends::Late, vec!["not understood"]),
    ] {
        let key = ("TETHERD_AUTH_KEY", format!("hskey-api-{HIDDEN}"));
        let settings = vec![key, ("TETHERD_CONTROL_URL", always(reply))];
        Case { name, settings, ends, parts }.run();
    }
}
