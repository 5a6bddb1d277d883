//! Tests Go's net/http, which finds the proxy by the variables.

use crate::scene::{Scene, assert_printed, page, report};

#[test]
fn go_net_http_over_socks5() {
    let scene = Scene::web().ready();
    assert_printed("go", &scene.run("go"), &[page(), report()]);
}

#[test]
fn go_net_http_by_the_variables_of_tetherd_env() {
    let scene = Scene::web().set("TETHERD_SOCKS_USER", "app").set("TETHERD_SOCKS_PASSWORD", "p@ss word").ready();
    assert_printed("env-go", &scene.run("env-go"), &[page(), report()]);
}
