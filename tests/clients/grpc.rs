//! Tests gRPC by the variables: Go's library, and grpcurl.
//!
//! grpcurl also through a forward. Python's library is in the table of by_variables.rs.

use std::process::Command;

use crate::documented;
use crate::scene::{Scene, assert_printed, client, report};

/// With an echo over gRPC on the second node: plain, and by TLS.
fn scene() -> Scene {
    let mut scene = Scene::web();
    let (certificate, key) = scene.tailnet.certificate();
    let mut server = Command::new(client("bin/echo-server"));
    server.args([certificate, key]);
    scene.serve(server, 50051);
    std::fs::write(scene.path("question.json"), format!("\"{}\"", report())).expect("written");
    scene
}

#[test]
fn grpc_of_go_by_the_variables() {
    let scene = scene().set("TETHERD_SOCKS_USER", "app").set("TETHERD_SOCKS_PASSWORD", "p@ss word").ready();
    assert_printed("env-grpc", &scene.run("env-grpc"), &[report(), report()]);
}

#[test]
fn grpcurl_by_the_variables_and_through_a_forward() {
    let (name, value) = documented::setting("grpcurl-setting");
    let scene = scene().set(&name, &value).ready();
    let printed = scene.run("env-grpcurl");
    let names = "echo.Echo\ngrpc.health.v1.Health\ngrpc.reflection.v1.ServerReflection\n\
                 grpc.reflection.v1alpha.ServerReflection\n";
    let echoed = printed.strip_prefix(names).unwrap_or_else(|| panic!("{}", &printed[..printed.len().min(300)]));
    assert_printed("env-grpcurl", echoed, &[format!("\"{}\"", report())]);
    let health = scene.run("grpcurl-forward");
    assert!(health.contains("SERVING"), "{health}");
}
