//! Tests tetherd's calls inside tailscaled, asked directly as with curl.

use serde_json::Value;
use testbed::node::Node;

use crate::scene::{READY, Scene};

fn asked(node: &Node, path: &str) -> (u16, Value) {
    let (status, text) = node.local_api("GET", path, "").expect("answers");
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

#[test]
fn tailscaled_says_which_calls_it_has() {
    let scene = Scene::new();
    let (status, info) = asked(&scene.web, "/localapi/v0/tetherd-v1-info");
    assert_eq!((status, info["Marker"].as_str()), (200, Some("tetherd calls: version 2")));
    for call in info["Calls"].as_array().expect("names") {
        let path = format!("/localapi/v0/{}", call.as_str().expect("a name"));
        assert_ne!(asked(&scene.web, &path).0, 404, "{path}");
    }
}

#[test]
fn a_node_and_the_path_to_a_peer_are_told_without_the_whole_network_map() {
    let scene = Scene::new();
    let daemon = scene.ready();
    let (status, own) = asked(&scene.web, "/localapi/v0/tetherd-v1-node");
    assert_eq!((status, &own["Name"], &own["Suffix"]), (200, &"web.tail.test".into(), &"tail.test".into()));
    let known = testbed::wait::wait_until("web knows app", READY, || {
        let (status, peer) = asked(&scene.web, "/localapi/v0/tetherd-v1-node?peer=app&ping=true");
        (status == 200 && peer["Path"]["RoundTripMilliseconds"].as_f64().is_some_and(|time| time > 0.0)).then_some(peer)
    });
    let peer = known.unwrap_or_else(|error| panic!("{error}: {}", daemon.output()));
    assert_eq!((&peer["Name"], &peer["Online"]), (&"app.tail.test".into(), &true.into()), "{peer}");
    let address = peer["Addresses"][0].as_str().expect("an address");
    for other in [address, "app.tail.test", "APP.tail.test."] {
        let (status, same) = asked(&scene.web, &format!("/localapi/v0/tetherd-v1-node?peer={other}"));
        assert_eq!((status, &same["Name"]), (200, &peer["Name"]), "{other}");
    }
    assert_eq!(asked(&scene.web, "/localapi/v0/tetherd-v1-node?peer=nobody").0, 404);
}
