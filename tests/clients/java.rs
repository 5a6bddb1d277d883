//! Tests Java, whose sockets take `-DsocksProxyHost`.

use crate::scene::{Scene, assert_printed, page, report};

#[test]
fn java_over_socks() {
    let scene = Scene::web().ready();
    assert_printed("java-socks", &scene.run("java-socks"), &[page(), report()]);
}

#[test]
fn java_over_http_and_https() {
    let scene = Scene::web().ready();
    assert_printed("java-http", &scene.run("java-http"), &[page()]);
    assert_printed("java-https", &scene.run("java-https"), &[page()]);
}
