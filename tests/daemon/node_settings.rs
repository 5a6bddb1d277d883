//! Tests the node's settings: serve_config, shields, tags, routes, exit node.
//!
//! They say what the node is and offers in its tailnet. Tailscale's own names for all of it are in `tailscale_names`.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testbed::daemon::Daemon;
use testbed::server::{PAGE, Server};
use testbed::wait::wait_until;
use testbed::{Node, NodeOptions, http};

use crate::scene::{END, OUTSIDE, READY, Scene, connect, outside, reply_code, start_ready};

/// Two ports of the node: one forwarded to a server on its loopback, one that answers by itself or by a proxy.
fn serve_config(text: &str) -> String {
    format!(
        r#"{{"TCP": {{"8000": {{"TCPForward": "127.0.0.1:9100"}}, "80": {{"HTTP": true}}}},
            "Web": {{"${{TS_CERT_DOMAIN}}:80": {{"Handlers": {{
                "/": {{"Text": "{text}"}}, "/page": {{"Proxy": "http://127.0.0.1:9100/"}}}}}}}}}}"#
    )
}

/// What the second node gets from the daemon's node.
fn fetched(web: &Node, port: u16, path: &str) -> Option<String> {
    let stream = web.dial("app", port).ok()?;
    let answer = http::get(stream, "app.tail.test", path).ok()?;
    (answer.head.status == 200).then(|| answer.text())
}

fn until_fetched(scene: &Scene, port: u16, path: &str, is: &str) {
    let got = || fetched(&scene.web, port, path).filter(|text| text == is);
    wait_until(&format!("{path} of port {port} is {is:?}"), READY, got).expect("is served");
}

/// A directory as Kubernetes mounts it: the file is a link into a directory behind the link `..data`.
fn publish(mount: &Path, version: &str, text: &str) {
    fs::create_dir(mount.join(version)).expect("directory");
    fs::write(mount.join(version).join("serve.json"), text).expect("written");
    std::os::unix::fs::symlink(version, mount.join("..new")).expect("link");
    fs::rename(mount.join("..new"), mount.join("..data")).expect("renamed");
    if !mount.join("serve.json").is_symlink() {
        std::os::unix::fs::symlink("..data/serve.json", mount.join("serve.json")).expect("link");
    }
}

#[test]
fn serve_config_is_served_followed_and_applied_again() {
    let scene = Scene::new();
    let _server = Server::http(9100).expect("server");
    let mount = tempfile::tempdir().expect("directory");
    publish(mount.path(), "..1", &serve_config("first"));
    let file = mount.path().join("serve.json");
    let daemon = start_ready(scene.daemon().env("TETHERD_SERVE_CONFIG", file.to_str().expect("UTF-8")));
    until_fetched(&scene, 80, "/", "first");
    until_fetched(&scene, 8000, "/", PAGE);
    until_fetched(&scene, 80, "/page", PAGE);

    publish(mount.path(), "..2", &serve_config("second"));
    until_fetched(&scene, 80, "/", "second");

    publish(mount.path(), "..3", "{ not JSON");
    let warned = || daemon.stderr().contains("is not a serve configuration").then_some(());
    wait_until("the malformed file is warned of", READY, warned).expect("is warned of");
    assert_eq!(fetched(&scene.web, 80, "/").as_deref(), Some("second"), "what was there stays");

    let tailscaled = daemon.tailscaled_pid().expect("runs");
    kill(Pid::from_raw(tailscaled), Signal::SIGKILL).expect("killed");
    until_fetched(&scene, 80, "/", "second");
}

#[test]
fn serve_config_is_applied_again_when_tailscaled_has_lost_its_state() {
    let scene = Scene::new();
    let file = tempfile::NamedTempFile::new().expect("file");
    fs::write(file.path(), serve_config("kept")).expect("written");
    let key = scene.tailnet.auth_key(testbed::KeyOptions { reusable: true, ephemeral: true }).expect("key");
    let builder = scene.daemon().env("TETHERD_AUTH_KEY", &key).env("TETHERD_TAILSCALED_ARGS", "--state=mem:");
    let daemon = start_ready(builder.env("TETHERD_SERVE_CONFIG", file.path().to_str().expect("UTF-8")));
    until_fetched(&scene, 80, "/", "kept");
    // So that the new node gets the same name.
    scene.tailnet.delete_node("app").expect("deleted");
    let tailscaled = daemon.tailscaled_pid().expect("runs");
    kill(Pid::from_raw(tailscaled), Signal::SIGKILL).expect("killed");
    until_fetched(&scene, 80, "/", "kept");
}

#[test]
fn a_malformed_serve_config_at_the_start_ends_with_78() {
    let file = tempfile::NamedTempFile::new().expect("file");
    fs::write(file.path(), r#"{"Tpc": {}}"#).expect("written");
    let path = file.path().to_str().expect("UTF-8");
    let output = crate::scene::command(&["run"]).env("TS_SERVE_CONFIG", path).output().expect("runs");
    assert_eq!(output.status.code(), Some(78));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    for part in ["serve_config (from TS_SERVE_CONFIG)", path, "unknown field `Tpc`", "`TCP`"] {
        assert!(text.contains(part), "{part:?} is missing in {text:?}");
    }
}

#[test]
fn shields_block_what_comes_in_unless_they_are_down() {
    let scene = Scene::new();
    let _server = Server::echo(9101).expect("server");
    let echoed = || {
        let mut stream = scene.web.dial("app", 9101).ok()?;
        stream.write_all(b"ping").ok()?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).ok()?;
        (&answer == b"ping").then_some(())
    };
    let mut daemon = scene.ready();
    assert_eq!(echoed(), None, "shields are up by default");
    daemon.terminate().expect("SIGTERM");
    daemon.wait_exit(END).expect("ends");
    let _daemon = start_ready(scene.daemon().env("TETHERD_SHIELDS_UP", "false"));
    wait_until("loopback is reached", READY, echoed).expect("shields are down");
}

#[test]
fn tags_are_asked_for_at_the_control_server() {
    let scene = Scene::new();
    let policy =
        r#"{"tagOwners": {"tag:web": ["tester@"]}, "acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}]}"#;
    scene.tailnet.set_policy(policy).expect("policy");
    // With an auth key headscale takes tags from the key alone; so this node is let in by an administrator.
    let builder = scene.daemon().env_remove("TETHERD_AUTH_KEY").env("TETHERD_TAGS", "tag:web");
    let mut daemon = builder.start().expect("starts");
    let log = || daemon.stderr().split_whitespace().find_map(|word| word.strip_prefix("address=").map(str::to_owned));
    let address = wait_until("a login is asked for", READY, log).expect("is asked for");
    scene.tailnet.register(address.trim_matches('"')).expect("registered");
    daemon.wait_ready(READY).expect("gets ready");
    assert_eq!(scene.tailnet.node("app").expect("nodes").expect("is there").tags, ["tag:web"]);
}

#[test]
fn advertised_routes_arrive_at_the_control_server() {
    let scene = Scene::new();
    let _daemon = start_ready(scene.daemon().env("TETHERD_ADVERTISE_ROUTES", "10.8.0.0/16,fd00:8::/64"));
    let routes = || {
        let mut routes = scene.tailnet.node("app").ok()??.routes;
        routes.sort_unstable();
        (routes == ["10.8.0.0/16", "fd00:8::/64"]).then_some(())
    };
    wait_until("the routes are offered", READY, routes).expect("are offered");
}

/// A node that offers to be an exit node.
pub fn gateway(scene: &Scene) -> Node {
    let node = Node::join_with(&scene.tailnet, "gw", NodeOptions::default()).expect("joins");
    let routes = r#"{"AdvertiseRoutesSet": true, "AdvertiseRoutes": ["0.0.0.0/0", "::/0"]}"#;
    let (status, text) = node.local_api("PATCH", "/localapi/v0/prefs", routes).expect("answers");
    assert_eq!(status, 200, "{text}");
    let offered = || (scene.tailnet.node("gw").ok()??.routes.len() == 2).then_some(());
    wait_until("the exit route is offered", READY, offered).expect("is offered");
    node
}

/// The reason of not being ready, once it holds `part`.
fn until_not_ready(daemon: &Daemon, part: &str) {
    let told = || {
        let (status, body) = daemon.readyz().ok()?;
        (status == 503 && body["reason"].as_str()?.contains(part)).then_some(())
    };
    wait_until(&format!("not ready: {part}"), READY, told)
        .unwrap_or_else(|error| panic!("{error}: {}", daemon.output()));
}

fn until_ready(daemon: &Daemon) {
    let ready = || (daemon.readyz().ok()?.0 == 200).then_some(());
    wait_until("ready", READY, ready).unwrap_or_else(|error| panic!("{error}: {}", daemon.output()));
}

#[test]
fn a_required_exit_node_decides_whether_the_daemon_is_ready() {
    let scene = Scene::new();
    let port = outside();
    let own = Server::http(0).expect("server");
    let builder = scene.daemon().env("TETHERD_EXIT_NODE", "gw").env("TETHERD_EXIT_NODE_REQUIRED", "true");
    let daemon = builder.start().expect("starts");
    until_not_ready(&daemon, "exit node gw is not in the tailnet");
    let gateway = gateway(&scene);
    until_not_ready(&daemon, "nobody has approved it");
    scene.tailnet.approve_routes("gw", "0.0.0.0/0,::/0").expect("approved");
    until_ready(&daemon);
    let mut text = String::new();
    connect(OUTSIDE, port).expect("by the exit node").read_to_string(&mut text).expect("answers");
    assert_eq!(text, "outside");

    connect("127.0.0.1", own.port()).expect("loopback is this machine's");

    let tailscaled = daemon.tailscaled_pid().expect("runs");
    kill(Pid::from_raw(tailscaled), Signal::SIGKILL).expect("killed");
    connect(OUTSIDE, port).expect("by the exit node again");

    scene.tailnet.approve_routes("gw", "").expect("taken back");
    until_not_ready(&daemon, "nobody has approved it");
    scene.tailnet.approve_routes("gw", "0.0.0.0/0,::/0").expect("approved");
    until_ready(&daemon);
    drop(gateway);
    scene.tailnet.delete_node("gw").expect("deleted");
    until_not_ready(&daemon, "exit node gw");
}

#[test]
fn without_its_exit_node_nothing_leaves_for_the_outside() {
    let scene = Scene::new();
    let port = outside();
    let _server = Server::http(80).expect("server");
    let builder = scene.daemon().env("TETHERD_EXIT_NODE", "100.64.99.99").env("TETHERD_CONNECT_TIMEOUT", "5s");
    let _daemon = start_ready(builder);
    for _ in 0..2 {
        assert_eq!(reply_code(OUTSIDE, port), 3, "what tailscaled said before changes nothing");
    }
    connect("127.0.0.1", 80).expect("loopback is not outside");
    connect("web", 80).expect("the tailnet is there");
    drop(_daemon);
    let _daemon = start_ready(scene.daemon());
    connect(OUTSIDE, port).expect("directly, where no exit node is set");
}
