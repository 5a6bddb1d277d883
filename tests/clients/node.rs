//! Tests Node.js: undici, and socks-proxy-agent under node:http and node:https.

use crate::documented;
use crate::scene::{Scene, assert_printed, page, report};

#[test]
fn undici_over_http_and_over_socks5() {
    let scene = Scene::web().ready();
    assert_printed("undici-http", &scene.run("undici-http"), &[page(), report()]);
    assert_printed("undici-socks", &scene.run("undici-socks"), &[page()]);
}

#[test]
fn undici_by_the_variables() {
    let scene = Scene::web().set("TETHERD_SOCKS_USER", "app").set("TETHERD_SOCKS_PASSWORD", "p@ss word").ready();
    let (_, program) = documented::block("env-undici");
    let line = format!("eval \"$(tetherd env)\"\nnode --input-type=module --eval \"{program}\"");
    assert_printed("env-undici", &scene.run_text("env-undici", "sh", &line), &[page()]);
}

#[test]
fn socks_proxy_agent_under_node_http_and_https() {
    let scene = Scene::web().ready();
    assert_printed("socks-proxy-agent", &scene.run("socks-proxy-agent"), &[page(), report()]);
}
