//! Tests rotation with a real headscale.
//!
//! A node joins with what nodes read from the secret.

use serde_json::json;
use testbed::node::{Node, NodeOptions};

use crate::scene::{STEPS, Scene, step};

#[test]
fn a_node_joins_with_each_current_key_and_the_key_before_the_previous_is_gone() {
    let scene = Scene::new();
    let policy = r#"{"tagOwners":{"tag:web":["tester@"]},"acls":[{"action":"accept","src":["*"],"dst":["*:*"]}]}"#;
    scene.tailnet.set_policy(policy).expect("a policy");
    let api_key = scene.tailnet.create_api_key().expect("an API key");
    let mut scene = scene.stored(json!({ "key": api_key }), "Cattle");
    let function = scene.function().env("CONTROL_URL", &scene.tailnet.control_url()).start().expect("starts");
    let mut keys = Vec::new();
    for round in 0..3 {
        let version = scene.begin();
        for name in STEPS {
            for _ in 0..2 {
                step(&function, name, &version).unwrap_or_else(|error| panic!("{name}: {error}\n{}", function.log()));
            }
        }
        let key = scene.current_key()["key"].as_str().expect("a key").to_owned();
        let name = format!("node-{round}");
        let node = Node::join_with_key(&scene.tailnet, &name, &key, NodeOptions::default()).expect("joins");
        let seen = scene.tailnet.node(&name).expect("nodes").expect("the node");
        assert!(seen.is_ephemeral() && seen.tags == ["tag:web"], "{seen:?}");
        drop(node);
        keys.push(key);
    }
    let joins = |key: &str| Node::join_with_key(&scene.tailnet, "late", key, NodeOptions::default()).is_ok();
    assert!(joins(&keys[1]), "the previous key still works");
    assert!(!joins(&keys[0]), "the one before is gone");
    assert!(!function.log().contains(&api_key), "{}", function.log());
}
