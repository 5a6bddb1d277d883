//! Tests Java, whose sockets take `-DsocksProxyHost`.

use crate::scene::{Scene, assert_printed, page, report};

#[test]
fn java_over_socks() {
    let scene = Scene::web().ready();
    assert_printed("java-socks", &scene.run("java-socks"), &[page(), report()]);
}

/// It asks each target for HTTP/2 over the same connection, which it would use for others.
#[test]
fn javas_http_client_over_http() {
    let scene = Scene::web().ready();
    assert_printed("java-client", &scene.run("java-client"), &[page(), report()]);
}

#[test]
fn java_over_http_and_https() {
    let scene = Scene::web().ready();
    assert_printed("java-http", &scene.run("java-http"), &[page()]);
    assert_printed("java-https", &scene.run("java-https"), &[page()]);
}
