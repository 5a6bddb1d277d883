//! Tests redis-cli through a forward to Redis on the second node.

use std::process::Command;

use crate::documented;
use crate::scene::{Scene, assert_printed, report};

#[test]
fn redis_cli_reaches_redis_through_a_forward() {
    let mut scene = Scene::node("cache");
    let mut server = Command::new("redis-server");
    server.args(["--bind", "127.0.0.1", "--port", "6379", "--save", "", "--dir"]).arg(scene.path("."));
    scene.serve(server, 6379);
    let (name, value) = documented::setting("redis-setting");
    let scene = scene.set(&name, &value).ready();
    assert_printed("redis", &scene.run("redis"), &["OK".to_owned(), report()]);
}
