//! Tests the tailnet of the test bed.
//!
//! Two nodes reach each other by name, and the control server does as told.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use testbed::{KeyOptions, Node, NodeOptions, Server, Tailnet, http, netns, wait_until};

const SOON: Duration = Duration::from_secs(10);

#[test]
fn a_node_reaches_another_by_name() {
    netns::enter_new().unwrap();
    let start = Instant::now();
    let tailnet = Tailnet::start().unwrap();
    println!("tailnet up in {:?}", start.elapsed());
    let web = Node::join(&tailnet, "web").unwrap();
    let client = Node::join(&tailnet, "client").unwrap();
    println!("joined in {:?} and {:?}", web.join_time(), client.join_time());
    let server = Server::http(80).unwrap();
    for host in ["web", "web.tail.test", &web.addresses().0.to_string(), &web.addresses().1.to_string()] {
        let start = Instant::now();
        let answer = http::get(client.dial(host, 80).unwrap(), "web", "/").unwrap();
        assert_eq!(answer.text(), testbed::server::PAGE);
        println!("fetched from {host} in {:?}", start.elapsed());
    }
    drop(server);
    assert!(client.dial("web", 80).is_err());
}

#[test]
fn the_control_server_lists_nodes_and_forgets_an_ephemeral_one_at_logout() {
    netns::enter_new().unwrap();
    let tailnet = Tailnet::start().unwrap();
    let key = KeyOptions { ephemeral: true, ..KeyOptions::default() };
    let one = Node::join_with(&tailnet, "one", NodeOptions { key, ..NodeOptions::default() }).unwrap();
    let _two = Node::join(&tailnet, "two").unwrap();
    let nodes = wait_until("both nodes are online", SOON, || {
        Some(tailnet.nodes().unwrap()).filter(|nodes| nodes.iter().all(|node| node.online))
    })
    .unwrap();
    let names: Vec<_> = nodes.iter().map(|node| (node.name.as_str(), node.is_ephemeral())).collect();
    assert_eq!(names, [("one", true), ("two", false)]);
    let (v4, v6) = one.addresses();
    assert_eq!(nodes[0].addresses, [IpAddr::V4(v4), IpAddr::V6(v6)]);

    assert_eq!(one.local_api("POST", "/localapi/v0/logout", "").unwrap().0, 204);
    wait_until("the ephemeral node is gone", SOON, || tailnet.node("one").unwrap().is_none().then_some(())).unwrap();
}

#[test]
fn an_expired_node_is_told_and_a_deleted_one_is_unknown() {
    netns::enter_new().unwrap();
    let tailnet = Tailnet::start().unwrap();
    let two = Node::join(&tailnet, "two").unwrap();
    tailnet.expire_node("two").unwrap();
    wait_until("the expired node notices", SOON, || {
        let (_, status) = two.local_api("GET", "/localapi/v0/status?peers=false", "").unwrap();
        status.contains("NeedsLogin").then_some(())
    })
    .unwrap();
    tailnet.delete_node("two").unwrap();
    assert!(tailnet.nodes().unwrap().is_empty());
}

#[test]
fn a_used_or_expired_key_joins_nobody() {
    netns::enter_new().unwrap();
    let tailnet = Tailnet::start().unwrap();
    let key = tailnet.create_key(KeyOptions { reusable: true, ..KeyOptions::default() }).unwrap();
    Node::join_with_key(&tailnet, "one", &key.key, NodeOptions::default()).unwrap();
    tailnet.expire_key(key.id).unwrap();
    let refused = Node::join_with_key(&tailnet, "two", &key.key, NodeOptions::default());
    assert!(format!("{:#}", refused.err().unwrap()).contains("authkey expired"));
}

#[test]
fn the_control_server_goes_away_and_comes_back_with_its_nodes() {
    netns::enter_new().unwrap();
    let mut tailnet = Tailnet::start().unwrap();
    let node = Node::join(&tailnet, "node").unwrap();
    tailnet.stop_control();
    assert!(tailnet.nodes().is_err());
    let start = Instant::now();
    tailnet.start_control().unwrap();
    println!("control server back in {:?}", start.elapsed());
    assert_eq!(tailnet.nodes().unwrap()[0].addresses[0], node.addresses().0);
    let second = Node::join(&tailnet, "second").unwrap();
    assert_ne!(second.addresses(), node.addresses());
}
