//! Tests which exit node is used, and what is reached past it.

use std::time::Duration;

use testbed::netns::OWN_ADDRESS;
use testbed::process::Process;
use testbed::wait::wait_until;
use testbed::{Daemon, Node, NodeOptions};

use crate::dns_scene::name_server;
use crate::policy_by_every_way::end;
use crate::scene::{OUTSIDE, READY, Scene, connect, outside, reply_code, start_ready};
use crate::tailnet_names::container_resolvers;
use crate::ways::{Servers, Verdict, assert_all};

const PORT: u16 = 4242;
/// Four times what passes between two looks at the exit node.
const STEADY: Duration = Duration::from_secs(4);

/// An approved exit node of this name.
fn exit_node(scene: &Scene, name: &str) -> Node {
    let node = Node::join_with(&scene.tailnet, name, NodeOptions::default()).expect("joins");
    let routes = r#"{"AdvertiseRoutesSet": true, "AdvertiseRoutes": ["0.0.0.0/0", "::/0"]}"#;
    let (status, text) = node.local_api("PATCH", "/localapi/v0/prefs", routes).expect("answers");
    assert_eq!(status, 200, "{text}");
    let offered = || (scene.tailnet.node(name).ok()??.routes.len() == 2).then_some(());
    wait_until("the exit route is offered", READY, offered).expect("is offered");
    scene.tailnet.approve_routes(name, "0.0.0.0/0,::/0").expect("approved");
    node
}

/// The exit node that the daemon has chosen last.
fn chosen(daemon: &Daemon) -> String {
    let log = daemon.stderr();
    let line = log.lines().rfind(|line| line.contains("exit node chosen")).unwrap_or_default();
    let (_, name) = line.split_once("node=").and_then(|(_, rest)| rest.split_once("node=")).unwrap_or_default();
    name.trim_matches('"').split('.').next().unwrap_or_default().to_owned()
}

/// Whether other nodes are told that they may use the exit node of this name.
fn is_offered(scene: &Scene, name: &str) -> bool {
    let (_, text) = scene.web.local_api("GET", "/localapi/v0/status", "").expect("answers");
    let status: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let mut peers = status["Peer"].as_object().into_iter().flatten().map(|(_, peer)| peer);
    peers.any(|peer| peer["HostName"] == name && peer["ExitNodeOption"] == true)
}

#[test]
fn exit_node_auto_any_takes_the_next_when_the_one_in_use_goes() {
    let scene = Scene::new();
    let port = outside();
    let mut nodes = ["gw1", "gw2", "gw3"].map(|name| Some(exit_node(&scene, name)));
    let auto = scene.daemon().env("TS_EXIT_NODE", "auto:any").env("TETHERD_EXIT_NODE_REQUIRED", "true");
    let daemon = start_ready(auto);
    assert_eq!(chosen(&daemon), "gw1");
    connect(OUTSIDE, port).expect("by the first");
    scene.tailnet.approve_routes("gw1", "").expect("taken back");
    wait_until("the second is used", READY, || (chosen(&daemon) == "gw2").then_some(())).expect("is used");
    wait_until("it leads outside", READY, || connect(OUTSIDE, port).ok()).expect("does");
    nodes[1] = None;
    wait_until("the third is used", READY, || (chosen(&daemon) == "gw3").then_some(()))
        .unwrap_or_else(|error| panic!("{error}: {}", daemon.output()));
    wait_until("it leads outside", READY, || connect(OUTSIDE, port).ok()).expect("does");
    scene.tailnet.approve_routes("gw1", "0.0.0.0/0,::/0").expect("approved");
    wait_until("the first can be used again", READY, || is_offered(&scene, "gw1").then_some(())).expect("can be");
    let changed = wait_until("another is used", STEADY, || (chosen(&daemon) != "gw3").then_some(()));
    assert!(changed.is_err(), "the one in use is kept");
    connect(OUTSIDE, port).expect("by that");
}

#[test]
fn exit_node_at_a_place_where_none_is_says_so_and_nothing_leaves() {
    let scene = Scene::new();
    let port = outside();
    let _node = exit_node(&scene, "gw");
    let place = scene.daemon().env("TETHERD_EXIT_NODE", "location:SE-got").env("TETHERD_CONNECT_TIMEOUT", "5s");
    let daemon = start_ready(place);
    assert_eq!(reply_code(OUTSIDE, port), 3);
    let said = || daemon.stderr().contains("no exit node fits location:SE-got").then_some(());
    wait_until("it is said", READY, said).unwrap_or_else(|error| panic!("{error}: {}", daemon.output()));
}

#[test]
fn exit_node_and_the_containers_own_network() {
    let scene = Scene::new();
    let port = outside();
    let _servers = Servers::at(PORT, &[OWN_ADDRESS]);
    let records = [format!("--host-record=neighbour.test,{OWN_ADDRESS}")];
    let _names: Vec<Process> = container_resolvers().iter().map(|address| name_server(address, &records)).collect();
    let _node = exit_node(&scene, "gw");
    let by_exit_node = || scene.daemon().env("TETHERD_EXIT_NODE", "gw").env("TETHERD_EXIT_NODE_REQUIRED", "true");
    let daemon = start_ready(by_exit_node().env("TETHERD_CONNECT_TIMEOUT", "3s"));
    for host in [OWN_ADDRESS, "neighbour.test"] {
        assert!(connect(host, PORT).is_err(), "{host} goes by the exit node, which gives no access to its own network");
    }
    connect(OUTSIDE, port).expect("by the exit node");
    end(daemon);

    let past_it = || by_exit_node().env("TETHERD_EXIT_NODE_ALLOW_LAN_ACCESS", "true");
    let daemon = start_ready(past_it());
    for host in [OWN_ADDRESS, "neighbour.test", "127.0.0.1", "web"] {
        assert_all(host, PORT, Verdict::Reached);
    }
    connect(OUTSIDE, port).expect("by the exit node");
    assert!(connect("10.78.0.1", PORT).is_err(), "another network is none of this machine's");
    end(daemon);

    let _daemon = start_ready(past_it().env("TETHERD_DIRECT", "deny"));
    for host in [OWN_ADDRESS, "neighbour.test"] {
        assert_all(host, PORT, Verdict::Refused);
    }
}
